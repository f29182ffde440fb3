//! The runner with a scripted sink under a paused clock.

use std::collections::VecDeque;

use async_trait::async_trait;
use bytes::Bytes;

use super::*;
use crate::batch::{Batch, BatchBuilder, Cycle, Descriptor, Level, Origin};
use crate::sinks::{AttemptError, Chunker, DropReason};

const CYCLE: Cycle = Cycle { number: 1, time: 0, window: 0, nodes_asked: 1, nodes_answered: 1 };

/// What the scripted server does with the next request.
#[derive(Debug, Clone)]
pub(super) enum Answer {
    Take,
    Fail(AttemptError),
    /// Never answers.
    Hang,
    Panic,
}

/// Answers as the script says, and takes everything once the script has ended.
#[derive(Default)]
pub(super) struct Scripted {
    pub script: Mutex<VecDeque<Answer>>,
    /// 413 over this.
    pub max_body: Option<usize>,
    pub taken: Mutex<Vec<String>>,
    pub prepared: Mutex<u32>,
    pub prepare_script: Mutex<VecDeque<AttemptError>>,
    pub times: Mutex<Vec<Instant>>,
    pub panics_on: Option<&'static str>,
}

#[async_trait]
impl Sink for Scripted {
    /// A line a point: the origin's name.
    fn encode(&self, _: &Cycle, batch: &Batch, out: &mut Chunker) {
        for _ in 0..batch.points.len() {
            out.body().extend_from_slice(batch.origin.name().as_bytes());
            assert_ne!(self.panics_on, Some(batch.origin.name()), "as the test wants");
            out.body().push(b'\n');
            out.end_record(1);
        }
    }

    async fn prepare(&self) -> Result<(), AttemptError> {
        *self.prepared.lock().unwrap() += 1;
        self.prepare_script.lock().unwrap().pop_front().map_or(Ok(()), Err)
    }

    async fn attempt(&self, body: Bytes) -> Result<(), AttemptError> {
        self.times.lock().unwrap().push(Instant::now());
        let body = String::from_utf8(body.to_vec()).unwrap();
        if self.max_body.is_some_and(|most| body.len() > most) {
            return Err(AttemptError::TooLarge);
        }
        let answer = self.script.lock().unwrap().pop_front().unwrap_or(Answer::Take);
        match answer {
            Answer::Take => {
                self.taken.lock().unwrap().push(body);
                Ok(())
            }
            Answer::Fail(error) => Err(error),
            Answer::Hang => std::future::pending().await,
            Answer::Panic => panic!("as the test wants"),
        }
    }
}

pub(super) fn transient() -> Answer {
    Answer::Fail(AttemptError::Transient { reason: "503".to_owned(), retry_after: None })
}

pub(super) fn permanent() -> Answer {
    Answer::Fail(AttemptError::Permanent { reason: "400".to_owned() })
}

fn refused() -> AttemptError {
    AttemptError::Refused { reason: "401".to_owned() }
}

fn unprepared() -> Answer {
    Answer::Fail(AttemptError::Unprepared { reason: "404".to_owned() })
}

pub(super) fn partial(records: u64) -> Answer {
    let (reason, why) = ("partial write".to_owned(), DropReason::Partial);
    Answer::Fail(AttemptError::Partial { reason, records, why })
}

fn unfinished(left: &[usize], lost: &[(usize, DropReason)]) -> Answer {
    let (left, lost) = (left.to_vec(), lost.to_vec());
    Answer::Fail(AttemptError::Unfinished { reason: "some".to_owned(), retry_after: None, left, lost })
}

pub(super) fn published(name: &str, points: usize) -> Arc<Published> {
    let mut builder = BatchBuilder::new(Origin::Node(name.to_owned()), 0);
    let metric = builder.metric(Descriptor::gauge("m", ""));
    builder.entity(Level::Node, 0);
    for value in 0..points {
        builder.point(metric, 0, 0, value as u64);
    }
    Arc::new(Published { cycle: CYCLE, batch: builder.build() })
}

pub(super) fn policy() -> Policy {
    Policy {
        queue: 1 << 20,
        concurrency: 2,
        timeout: Some(Duration::from_secs(5)),
        chunk: Limits { records: 4, bytes: 1 << 16 },
    }
}

/// Waits until the sink has nothing left. The clock is paused, so this takes no time.
pub(super) async fn at_rest(handle: &SinkHandle) -> LedgerSnapshot {
    let idle = handle.shared.until(Queue::is_idle);
    tokio::time::timeout(Duration::from_secs(3600), idle).await.expect("the sink comes to rest");
    let ledger = handle.ledger();
    assert_eq!((ledger.queued, ledger.imbalance, ledger.in_flight), (0, 0, 0), "{ledger:?}");
    ledger
}

/// Offers 8 points, two chunks of four, and comes to rest.
async fn run(sink: Scripted) -> (Arc<Scripted>, LedgerSnapshot) {
    let sink = Arc::new(sink);
    let handle = SinkHandle::start("test", sink.clone(), policy());
    handle.offer(published("a", 8));
    handle.end_of_cycle(1);
    let ledger = at_rest(&handle).await;
    assert_eq!(ledger.offered, 8);
    (sink, ledger)
}

pub(super) fn scripted(script: impl IntoIterator<Item = Answer>) -> Scripted {
    Scripted { script: Mutex::new(script.into_iter().collect()), ..Scripted::default() }
}

#[tokio::test(start_paused = true)]
async fn every_outcome_is_in_the_ledger() {
    use DropReason::{Partial, Rejected};
    for (name, script, written, dropped) in [
        ("all is well", vec![], 8, None),
        ("503, then ok", vec![transient()], 8, None),
        ("down for a while", vec![transient(); 12], 8, None),
        ("an operator has to act", vec![Answer::Fail(refused()); 5], 8, None),
        ("no answer", vec![Answer::Hang], 8, None),
        ("a refusal for good costs its chunk", vec![permanent()], 4, Some((Rejected, 4))),
        ("a panic costs its chunk", vec![Answer::Panic], 4, Some((Rejected, 4))),
        ("partial", vec![partial(3)], 5, Some((Partial, 3))),
        ("partial of more than there is", vec![partial(99)], 4, Some((Partial, 4))),
        ("database gone", vec![unprepared(), unprepared()], 8, None),
    ] {
        let (_, ledger) = run(scripted(script)).await;
        assert_eq!(ledger.written, written, "{name}");
        let total: u64 = ledger.dropped.values().sum();
        assert_eq!(total, dropped.map_or(0, |(_, points)| points), "{name}");
        if let Some((reason, points)) = dropped {
            assert_eq!(ledger.dropped_by(reason), points, "{name}");
        }
        assert!(!ledger.failing, "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn records_that_are_left_are_sent_again_without_those_that_were_taken() {
    use DropReason::{Rejected, TooLarge};
    let script = [unfinished(&[1, 3], &[]), Answer::Take, unfinished(&[1], &[(0, TooLarge)])];
    let (sink, ledger) = run(scripted(script)).await;
    assert_eq!((ledger.written, ledger.dropped_by(TooLarge), ledger.attempts.transient), (7, 1, 2));
    let mut taken: Vec<_> = sink.taken.lock().unwrap().iter().map(|body| body.len() / 2).collect();
    taken.sort_unstable();
    assert_eq!(taken, [1, 4], "the last record alone, and the other chunk");

    let (sink, ledger) = run(scripted([unfinished(&[], &[(0, TooLarge), (2, Rejected)])])).await;
    let dropped = [TooLarge, Rejected].map(|why| ledger.dropped_by(why));
    assert_eq!((ledger.written, dropped, ledger.attempts.partial), (6, [1, 1], 1));
    assert_eq!((sink.taken.lock().unwrap().len(), ledger.failing), (1, false));
}

#[tokio::test(start_paused = true)]
async fn what_a_server_says_is_cut_and_stays_on_one_line() {
    let reason = format!("500: \x1b[2Jbusy\nok {}", "x".repeat(1 << 20));
    for answer in [
        AttemptError::Transient { reason: reason.clone(), retry_after: None },
        AttemptError::Permanent { reason: reason.clone() },
    ] {
        let (_, ledger) = run(scripted([Answer::Fail(answer)])).await;
        let told = ledger.last_error.unwrap().message;
        assert!(told.starts_with("500: \\u{1b}[2Jbusy\\nok xxx") && told.len() < 1100, "{told}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_too_large_is_split_until_it_fits() {
    let (sink, ledger) = run(Scripted { max_body: Some(5), ..Scripted::default() }).await;
    assert_eq!((ledger.written, ledger.attempts.too_large), (8, 2));
    assert_eq!(*sink.taken.lock().unwrap(), vec!["a\na\n"; 4]);
}

#[tokio::test(start_paused = true)]
async fn later_chunks_are_made_as_small_as_the_server_wants_them() {
    let sink = Arc::new(Scripted { max_body: Some(5), ..Scripted::default() });
    let handle = SinkHandle::start("test", sink.clone(), policy());
    for cycle in 0..3 {
        handle.offer(published("a", 8));
        handle.end_of_cycle(cycle);
        at_rest(&handle).await;
    }
    assert_eq!((handle.ledger().written, handle.ledger().attempts.too_large), (24, 2));
}

#[tokio::test(start_paused = true)]
async fn a_record_too_large_for_the_server_is_dropped() {
    let (_, ledger) = run(Scripted { max_body: Some(1), ..Scripted::default() }).await;
    assert_eq!((ledger.written, ledger.dropped_by(DropReason::TooLarge)), (0, 8));
}

#[tokio::test(start_paused = true)]
async fn waits_grow_and_honour_the_servers_wish() {
    let asked = Some(Duration::from_secs(20));
    let later = AttemptError::Transient { reason: "503".to_owned(), retry_after: asked };
    let (sink, _) = run(scripted([transient(), transient(), Answer::Fail(later)])).await;
    let times = sink.times.lock().unwrap();
    // The first two go out together and are one failure; from then on one at a time.
    let waits: Vec<_> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(waits[0].is_zero(), "{waits:?}");
    assert!(waits[1] >= Duration::from_millis(250) && waits[1] <= Duration::from_millis(502), "{waits:?}");
    assert!(waits[2] >= Duration::from_secs(20) && waits[2] < Duration::from_secs(21), "{waits:?}");
}

#[tokio::test(start_paused = true)]
async fn what_is_missing_is_made_again() {
    let (sink, ledger) = run(scripted([unprepared()])).await;
    assert_eq!(*sink.prepared.lock().unwrap(), 2);
    assert_eq!(ledger.attempts.unprepared, 1);
}

#[tokio::test(start_paused = true)]
async fn writes_wait_for_a_server_that_is_down_and_go_on_where_it_only_refuses_to_prepare() {
    let down = AttemptError::Transient { reason: "down".to_owned(), retry_after: None };
    let script = VecDeque::from([down, refused()]);
    let sink = Scripted { prepare_script: Mutex::new(script), ..Scripted::default() };
    let (sink, ledger) = run(sink).await;
    assert_eq!((*sink.prepared.lock().unwrap(), ledger.written), (2, 8));
    assert_eq!(ledger.last_error.map(|error| error.message).as_deref(), Some("401"));
}

#[tokio::test(start_paused = true)]
async fn a_full_queue_drops_the_oldest_that_waits() {
    let sink = Arc::new(scripted(vec![transient(); 10_000]));
    let batch = published("a", 1_000).batch.size_bytes();
    let queue = batch * 4;
    let handle = SinkHandle::start("test", sink.clone(), Policy { queue, ..policy() });
    for number in 0..40 {
        handle.offer(published(&format!("node-{number:02}"), 1_000));
        tokio::time::sleep(Duration::from_secs(1)).await;
        let ledger = handle.ledger();
        assert_eq!(ledger.imbalance, 0);
        assert!(ledger.queued_bytes <= ledger.queue_bound_bytes, "{ledger:?}");
    }
    sink.script.lock().unwrap().clear();
    handle.end_of_cycle(1);
    let ledger = at_rest(&handle).await;
    assert_eq!(ledger.offered, 40_000);
    assert!(ledger.dropped_by(DropReason::QueueFull) > 10_000, "{ledger:?}");
    assert_eq!(ledger.written + ledger.dropped_by(DropReason::QueueFull), 40_000);
    let taken = sink.taken.lock().unwrap().concat();
    assert!(taken.ends_with("node-39\n"), "the newest is kept");
}

/// What is logged on this thread.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Log {
    fn write(&mut self, text: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(text);
        Ok(text.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn a_full_queue_is_told_once_a_minute_with_all_that_it_cost() {
    let log = Log::default();
    let writer = log.clone();
    let lines = tracing_subscriber::fmt().json().with_writer(move || writer.clone()).finish();
    let _guard = tracing::subscriber::set_default(lines);

    let sink = Arc::new(scripted([Answer::Hang]));
    let queue = published("a", 1_000).batch.size_bytes() * 4;
    let handle = SinkHandle::start("slow", sink, Policy { queue, timeout: None, concurrency: 1, ..policy() });
    tracing::callsite::rebuild_interest_cache();
    // Offers and no time for the sink, then nothing but the ends of cycles.
    for _ in 0..30 {
        handle.offer(published("a", 1_000));
    }
    for cycle in 0..3 {
        tokio::time::sleep(Duration::from_secs(40)).await;
        // Another test's thread, which has no log, may have been the first to come by the line.
        tracing::callsite::rebuild_interest_cache();
        handle.end_of_cycle(cycle);
    }
    let text = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    let told: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let told: Vec<_> = told.iter().map(|line| &line["fields"]).filter(|line| line["sink"] == "slow").collect();
    let message = |line: &serde_json::Value| line["message"].as_str().unwrap().starts_with("queue full");
    let points: Vec<_> =
        told.iter().filter(|line| message(line)).map(|line| line["points"].as_u64().unwrap()).collect();
    assert_eq!(points.len(), 2, "{text}");
    assert_eq!(points.iter().sum::<u64>(), handle.ledger().dropped_by(DropReason::QueueFull), "{text}");
    assert!(points[1] > points[0] && points[0] > 0, "{text}");
}

#[tokio::test(start_paused = true)]
async fn a_batch_larger_than_the_queue_does_not_push_the_others_out() {
    let sink = Arc::new(Scripted::default());
    let queue = published("a", 100).batch.size_bytes() * 2;
    let handle = SinkHandle::start("test", sink.clone(), Policy { queue, ..policy() });
    handle.offer(published("a", 100));
    handle.offer(published("b", 10_000));
    handle.end_of_cycle(1);
    let ledger = at_rest(&handle).await;
    assert_eq!((ledger.written, ledger.dropped_by(DropReason::QueueFull)), (100, 10_000));
}

#[tokio::test(start_paused = true)]
async fn shutdown_sends_what_it_can_and_counts_the_rest() {
    let sink = Arc::new(Scripted::default());
    let handle = SinkHandle::start("test", sink.clone(), policy());
    handle.offer(published("a", 7));
    let ledger = handle.drain(Instant::now() + Duration::from_secs(30)).await;
    assert_eq!((ledger.written, ledger.queued, ledger.imbalance), (7, 0, 0));
    handle.offer(published("late", 3));
    let ledger = handle.ledger();
    assert_eq!((ledger.dropped_by(DropReason::Shutdown), ledger.imbalance), (3, 0));

    let sink = Arc::new(scripted(vec![transient(); 10_000]));
    let handle = SinkHandle::start("test", sink.clone(), policy());
    handle.offer(published("a", 7));
    let began = Instant::now();
    let ledger = handle.drain(began + Duration::from_secs(30)).await;
    assert_eq!(began.elapsed().as_secs(), 30);
    assert_eq!((ledger.written, ledger.dropped_by(DropReason::Shutdown)), (0, 7));
    assert_eq!((ledger.queued, ledger.imbalance), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_server_that_comes_back_during_shutdown_is_not_waited_for_half_a_minute() {
    let sink = Arc::new(scripted(vec![transient(); 30]));
    let handle = SinkHandle::start("test", sink.clone(), policy());
    handle.offer(published("a", 7));
    handle.end_of_cycle(1);
    tokio::time::sleep(Duration::from_secs(60)).await;
    sink.script.lock().unwrap().clear();
    let began = Instant::now();
    let ledger = handle.drain(began + Duration::from_secs(30)).await;
    assert_eq!(ledger.written, 7);
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_panic_while_encoding_costs_the_rest_of_that_batch() {
    let sink = Arc::new(Scripted { panics_on: Some("bad"), ..Scripted::default() });
    let handle = SinkHandle::start("test", sink.clone(), policy());
    for name in ["good", "bad", "also good"] {
        handle.offer(published(name, 3));
    }
    handle.end_of_cycle(1);
    let ledger = at_rest(&handle).await;
    assert_eq!((ledger.written, ledger.dropped_by(DropReason::Unencodable)), (6, 3));
    let taken = sink.taken.lock().unwrap().concat();
    assert!(!taken.contains("bad"), "{taken}");
}

/// Takes two requests at a time and refuses the others, as a server with a throttle does.
#[derive(Default)]
struct Throttled {
    now: Mutex<u32>,
}

#[async_trait]
impl Sink for Throttled {
    fn encode(&self, cycle: &Cycle, batch: &Batch, out: &mut Chunker) {
        Scripted::default().encode(cycle, batch, out);
    }

    async fn attempt(&self, _: Bytes) -> Result<(), AttemptError> {
        if *self.now.lock().unwrap() == 2 {
            return Err(AttemptError::Transient { reason: "503".to_owned(), retry_after: None });
        }
        *self.now.lock().unwrap() += 1;
        tokio::time::sleep(Duration::from_millis(20)).await;
        *self.now.lock().unwrap() -= 1;
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn a_throttled_server_is_asked_less_at_a_time_and_not_ever_more_seldom() {
    let sink = Arc::new(Throttled::default());
    let handle = SinkHandle::start("test", sink, Policy { concurrency: 8, ..policy() });
    let began = Instant::now();
    handle.offer(published("a", 400));
    handle.end_of_cycle(1);
    let ledger = at_rest(&handle).await;
    assert_eq!((ledger.written, ledger.attempts.ok), (400, 100));
    assert!(ledger.attempts.transient < 60, "{ledger:?}");
    // A hundred requests one after the other would take two seconds without any wait.
    assert!(began.elapsed() < Duration::from_secs(25), "{:?}", began.elapsed());
}
