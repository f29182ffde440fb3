//! The runner with a spool: a scripted sink under a paused clock, real files.

use std::fs;
use std::path::Path;

use tempfile::TempDir;

use super::tests::{Answer, Scripted, at_rest, partial, permanent, policy, published, scripted, transient};
use super::*;
use crate::sinks::SpoolConfig;
use crate::sinks::ledger::Dropped;
use crate::sinks::spool::{Kept, Toll};

fn spool(folder: &Path) -> Spool {
    let config = SpoolConfig { fsync: false, max_bytes: 8 << 20, ..SpoolConfig::at(folder.to_owned()) };
    Spool::open(&config, "test").unwrap()
}

fn start(sink: Scripted, folder: &Path, policy: Policy) -> (Arc<Scripted>, SinkHandle) {
    let sink = Arc::new(sink);
    (sink.clone(), SinkHandle::spooling("test", sink, policy, Some(spool(folder))))
}

/// Never takes anything.
fn down() -> Scripted {
    scripted(std::iter::repeat_n(transient(), 10_000))
}

/// As much of a kill as there can be within one process.
fn kill(handle: &SinkHandle) {
    handle.stop();
    handle.shared.spool.as_ref().unwrap().lock().unwrap().forget();
}

/// Waits until what was offered is encoded, and so in the spool.
async fn encoded(handle: &SinkHandle) -> LedgerSnapshot {
    handle.shared.until(|queue| queue.is_encoded()).await;
    let ledger = handle.ledger();
    assert_eq!(ledger.imbalance, 0, "{ledger:?}");
    ledger
}

/// The points that the server has taken, by their batch.
fn lines(sink: &Scripted) -> Vec<String> {
    let taken = sink.taken.lock().unwrap();
    taken.iter().flat_map(|body| body.lines().map(str::to_owned).collect::<Vec<_>>()).collect()
}

#[tokio::test(start_paused = true)]
async fn what_a_dead_server_did_not_take_the_next_process_sends() {
    let folder = TempDir::new().unwrap();
    let (_, handle) = start(down(), folder.path(), policy());
    handle.offer(published("a", 8));
    handle.end_of_cycle(1);
    let began = Instant::now();
    while !handle.ledger().failing {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let ledger = handle.drain(Instant::now() + Duration::from_secs(30)).await;
    assert!(began.elapsed() < Duration::from_secs(5), "a sink that fails is not waited for");
    assert_eq!((ledger.queued, ledger.spooled, ledger.imbalance), (8, 8, 0), "{ledger:?}");
    kill(&handle);

    let (sink, handle) = start(Scripted::default(), folder.path(), policy());
    let ledger = at_rest(&handle).await;
    assert_eq!((ledger.recovered, ledger.offered, ledger.written), (8, 0, 8), "{ledger:?}");
    assert_eq!(lines(&sink), vec!["a"; 8]);
}

#[tokio::test(start_paused = true)]
async fn a_process_that_is_killed_loses_nothing_that_was_encoded() {
    let folder = TempDir::new().unwrap();
    let (_, handle) = start(down(), folder.path(), policy());
    handle.offer(published("a", 8));
    handle.end_of_cycle(1);
    let ledger = encoded(&handle).await;
    assert_eq!((ledger.queued, ledger.unsaved), (8, 0), "{ledger:?}");
    kill(&handle);
    let (sink, handle) = start(Scripted::default(), folder.path(), policy());
    assert_eq!(at_rest(&handle).await.written, 8);
    assert_eq!(lines(&sink), vec!["a"; 8]);
}

#[tokio::test(start_paused = true)]
async fn more_than_memory_holds_waits_on_the_disk_and_is_sent_in_order_and_once() {
    let folder = TempDir::new().unwrap();
    let script = std::iter::repeat_n(transient(), 6);
    let small = Policy { queue: 6_000, concurrency: 2, ..policy() };
    let (sink, handle) = start(scripted(script), folder.path(), small);
    let mut most = 0;
    for cycle in 0..60 {
        handle.offer(published(&format!("{cycle:03}"), 8));
        handle.end_of_cycle(cycle);
        let ledger = encoded(&handle).await;
        most = most.max(ledger.spooled);
        assert!(ledger.queued_bytes <= ledger.queue_bound_bytes, "{ledger:?}");
    }
    assert!(most > 300, "{most} points were on the disk alone");
    let ledger = at_rest(&handle).await;
    assert_eq!((ledger.written, ledger.offered), (480, 480), "{ledger:?}");
    let mut got = lines(&sink);
    let want: Vec<_> = (0..60).flat_map(|cycle| std::iter::repeat_n(format!("{cycle:03}"), 8)).collect();
    got.sort();
    assert_eq!(got, want);
}

#[tokio::test(start_paused = true)]
async fn a_backlog_is_sent_by_as_many_requests_as_are_allowed() {
    let folder = TempDir::new().unwrap();
    let (_, handle) = start(down(), folder.path(), policy());
    for cycle in 1..10 {
        handle.offer(published("a", 8));
        handle.end_of_cycle(cycle);
    }
    encoded(&handle).await;
    kill(&handle);
    let slow = scripted(std::iter::repeat_with(|| Answer::Hang).take(100));
    let (_, handle) = start(slow, folder.path(), Policy { timeout: None, concurrency: 4, ..policy() });
    let all = handle.shared.until(|queue| queue.snapshot("").in_flight == 4);
    tokio::time::timeout(Duration::from_secs(60), all).await.expect("four are on their way");
}

#[test]
fn nothing_is_read_while_something_is_read() {
    let mut queue = Queue::new(1 << 20);
    queue.spooling(2, 100, 1000);
    assert!(queue.next_load());
    queue.encoded(vec![Kept::Disk(1)], &Dropped::default(), 0);
    assert!(!queue.next_load(), "it might be there before the first");
    queue.loaded(None, &Toll::default());
    assert!(queue.next_load());
}

#[tokio::test(start_paused = true)]
async fn what_is_given_up_does_not_come_again() {
    let folder = TempDir::new().unwrap();
    let script = [permanent(), partial(3), Answer::Take];
    let (_, handle) = start(Scripted { max_body: Some(5), ..scripted(script) }, folder.path(), policy());
    handle.offer(published("a", 16));
    handle.end_of_cycle(1);
    let ledger = at_rest(&handle).await;
    assert!(ledger.dropped_by(DropReason::Rejected) > 0 && ledger.attempts.too_large > 0, "{ledger:?}");
    handle.drain(Instant::now() + Duration::from_secs(1)).await;
    kill(&handle);
    let (sink, handle) = start(Scripted::default(), folder.path(), policy());
    assert_eq!((at_rest(&handle).await.recovered, lines(&sink).len()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_spool_that_cannot_be_written_is_told_and_memory_takes_its_place() {
    let folder = TempDir::new().unwrap();
    let (sink, handle) = start(Scripted::default(), folder.path(), policy());
    fs::remove_dir_all(folder.path()).unwrap();
    handle.offer(published("a", 8));
    handle.end_of_cycle(1);
    let ledger = at_rest(&handle).await;
    assert_eq!((ledger.written, ledger.spool_errors), (8, 2), "{ledger:?}");
    assert!(ledger.last_error.unwrap().message.contains("the spool's file"));
    assert_eq!(lines(&sink).len(), 8);

    let folder = TempDir::new().unwrap();
    let (_, handle) = start(down(), folder.path(), policy());
    fs::remove_dir_all(folder.path()).unwrap();
    handle.offer(published("a", 8));
    handle.end_of_cycle(1);
    let ledger = encoded(&handle).await;
    assert_eq!((ledger.queued, ledger.unsaved), (8, 8), "it would go with the process: {ledger:?}");
}

#[tokio::test(start_paused = true)]
async fn a_damaged_spool_costs_its_damage_and_the_ledger_balances() {
    let folder = TempDir::new().unwrap();
    let (_, handle) = start(down(), folder.path(), policy());
    for cycle in 0..20 {
        handle.offer(published("a", 8));
        handle.end_of_cycle(cycle);
    }
    encoded(&handle).await;
    kill(&handle);
    let entries = fs::read_dir(folder.path().join("test")).unwrap().map(|entry| entry.unwrap().path());
    let file = entries.into_iter().find(|path| path.extension().is_some_and(|end| end == "chunks")).unwrap();
    let mut bytes = fs::read(&file).unwrap();
    let at = bytes.len() - 40;
    bytes[at] ^= 1;
    bytes.truncate(at + 1);
    fs::write(&file, bytes).unwrap();
    let (sink, handle) = start(Scripted::default(), folder.path(), policy());
    let ledger = at_rest(&handle).await;
    assert_eq!(ledger.recovered, 160);
    let damaged = ledger.dropped_by(DropReason::SpoolDamaged);
    assert!((4..=156).contains(&damaged), "{damaged}");
    assert_eq!(ledger.written, lines(&sink).len() as u64);
}

#[tokio::test(start_paused = true)]
async fn what_the_spool_has_dropped_is_not_said_to_be_in_it() {
    let folder = TempDir::new().unwrap();
    let (_, handle) = start(down(), folder.path(), policy());
    for cycle in 0..4 {
        handle.offer(published("a", 8));
        handle.end_of_cycle(cycle);
    }
    encoded(&handle).await;
    let shared = &handle.shared;
    // As when it is full: all of it goes, though memory has it all.
    let toll = shared.spool.as_ref().unwrap().lock().unwrap().drop_all();
    shared.queue().pay(&toll);
    let ledger = handle.drain(Instant::now()).await;
    assert_eq!((ledger.spooled, ledger.queued, ledger.imbalance), (0, 0, 0), "{ledger:?}");
    assert_eq!(ledger.dropped_by(DropReason::Shutdown), 32, "{ledger:?}");
    kill(&handle);
    let (_, handle) = start(Scripted::default(), folder.path(), policy());
    assert_eq!(at_rest(&handle).await.recovered, 0);
}

#[tokio::test(start_paused = true)]
async fn what_is_too_old_is_not_sent_from_memory_either() {
    let folder = TempDir::new().unwrap();
    let (sink, handle) = start(down(), folder.path(), policy());
    handle.offer(published("old", 8));
    handle.end_of_cycle(1);
    encoded(&handle).await;
    let shared = &handle.shared;
    let toll = {
        let mut spool = shared.spool.as_ref().unwrap().lock().unwrap();
        spool.age(Duration::from_secs(48 * 3600));
        spool.expire()
    };
    shared.queue().pay(&toll);
    sink.script.lock().unwrap().clear();
    let ledger = at_rest(&handle).await;
    // One chunk may have been on its way.
    assert!(ledger.dropped_by(DropReason::SpoolAge) >= 4, "{ledger:?}");
    assert_eq!(ledger.written + ledger.dropped_by(DropReason::SpoolAge), 8, "{ledger:?}");
}
