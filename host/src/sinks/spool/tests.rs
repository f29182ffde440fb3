//! The spool on real files: what was put in comes out or is counted, whatever happens to the files.

use std::fs;
use std::path::Path;

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use tempfile::TempDir;

use super::*;
use crate::sinks::Chunker;
use crate::sinks::chunk::{Limits, Spares};

struct Plain;

#[async_trait::async_trait]
impl crate::sinks::Sink for Plain {
    fn encode(&self, _: &crate::batch::Cycle, _: &crate::batch::Batch, _: &mut Chunker) {}

    async fn attempt(&self, _: bytes::Bytes) -> Result<(), crate::sinks::AttemptError> {
        Ok(())
    }
}

/// A chunk of `points` records, `bytes` long in all, that no two numbers share.
fn chunk(number: u64, points: u64, bytes: usize) -> Chunk {
    let mut random = SmallRng::seed_from_u64(number);
    let mut chunker = Chunker::new(Limits { records: usize::MAX, bytes: usize::MAX });
    for _ in 0..points {
        chunker.body().extend((0..bytes / points as usize).map(|_| random.random::<u8>()));
        chunker.end_record(1);
    }
    chunker.close();
    chunker.take_closed().remove(0).pack(&Plain, &Spares::default())
}

fn config(folder: &Path) -> SpoolConfig {
    SpoolConfig { fsync: false, max_bytes: 64 << 20, ..SpoolConfig::at(folder.to_owned()) }
}

fn open(folder: &Path) -> Spool {
    Spool::open(&config(folder), "test").unwrap()
}

/// Puts chunks in, the first with one point, the next with two…, and says how many points that is.
fn fill(spool: &mut Spool, numbers: std::ops::RangeInclusive<u64>, bytes: usize) -> u64 {
    for number in numbers.clone() {
        let (toll, kept) = spool.append(chunk(number, number, bytes), false);
        assert_eq!(toll.lost.total(), 0);
        assert!(matches!(kept.unwrap(), Kept::Disk(points) if points == number));
    }
    numbers.sum()
}

/// Reads all that is left: the numbers of the chunks, which must be as they were put in, and the
/// points that are lost.
fn read(spool: &mut Spool, bytes: usize) -> (Vec<u64>, Dropped) {
    let (mut numbers, mut lost) = (Vec::new(), Dropped::default());
    loop {
        let Loaded { chunk: found, toll } = spool.load().unwrap();
        lost.add_all(&toll.lost);
        let Some(found) = found else { return (numbers, lost) };
        let number = found.points();
        let want = chunk(number, number, bytes);
        assert_eq!((found.body(), found.records(), found.raw_len()), (want.body(), want.records(), want.raw_len()));
        let (seq, points) = found.settled().unwrap();
        spool.done(seq, points);
        numbers.push(number);
    }
}

fn files(folder: &Path, end: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder.join("test")).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> = entries.filter(|path| path.to_str().unwrap().ends_with(end)).collect();
    files.sort();
    files
}

#[test]
fn what_one_process_leaves_the_next_one_finds_in_order() {
    let folder = TempDir::new().unwrap();
    let total = fill(&mut open(folder.path()), 1..=20, 3000);
    let mut spool = open(folder.path());
    assert_eq!(spool.left(), total);
    let more = fill(&mut spool, 21..=30, 3000);
    assert_eq!(spool.left(), total + more);
    let (numbers, lost) = read(&mut spool, 3000);
    assert_eq!((numbers, lost.total()), ((1..=30).collect(), 0));
    assert_eq!(spool.left(), 0);
    drop(spool);
    let mut spool = open(folder.path());
    assert_eq!((spool.left(), read(&mut spool, 3000).0.len()), (0, 0));
    assert_eq!(files(folder.path(), ".chunks"), Vec::<PathBuf>::new());
}

#[test]
fn what_is_done_with_does_not_come_again_and_what_was_not_does() {
    let folder = TempDir::new().unwrap();
    let mut spool = open(folder.path());
    let total = fill(&mut spool, 1..=9, 2000);
    let chunks: Vec<_> = (0..9).map(|_| spool.load().unwrap().chunk.unwrap()).collect();
    for at in [0, 3, 4, 8] {
        let (seq, points) = chunks[at].settled().unwrap();
        spool.done(seq, points);
    }
    drop(spool);
    let mut spool = open(folder.path());
    assert_eq!(spool.left(), total - (1 + 4 + 5 + 9));
    assert_eq!(read(&mut spool, 2000).0, [2, 3, 6, 7, 8]);
}

#[test]
fn a_chunk_stays_in_memory_only_while_nothing_older_waits_on_the_disk() {
    let folder = TempDir::new().unwrap();
    let mut spool = open(folder.path());
    let append = |spool: &mut Spool, number, room| match spool.append(chunk(number, 1, 100), room).1.unwrap() {
        Kept::Memory(chunk) => Some(chunk),
        Kept::Disk(_) => None,
    };
    let first = append(&mut spool, 1, true).unwrap();
    assert!(append(&mut spool, 2, false).is_none());
    assert!(append(&mut spool, 3, true).is_none(), "2 is older");
    for _ in 0..2 {
        assert!(spool.load().unwrap().chunk.is_some());
    }
    assert!(spool.load().unwrap().chunk.is_none());
    assert!(append(&mut spool, 4, true).is_some());
    assert_eq!(first.settled(), Some((0, 1)));
}

#[test]
fn halves_of_a_chunk_are_done_when_both_are() {
    let folder = TempDir::new().unwrap();
    let mut spool = open(folder.path());
    fill(&mut spool, 4..=4, 400);
    let whole = spool.load().unwrap().chunk.unwrap();
    let [first, second] = whole.split(&Plain).unwrap();
    let [second, third] = second.split(&Plain).unwrap();
    assert_eq!((second.settled(), first.settled(), third.settled()), (None, None, Some((0, 4))));
}

#[test]
fn the_oldest_goes_when_the_spool_is_full_and_is_counted() {
    let folder = TempDir::new().unwrap();
    let config = SpoolConfig { max_bytes: 8 << 20, ..config(folder.path()) };
    let mut spool = Spool::open(&config, "test").unwrap();
    let mut lost = Dropped::default();
    for number in 1..=100 {
        let (toll, kept) = spool.append(chunk(number, number, 200_000), false);
        assert!(kept.is_ok() && toll.bytes <= 8 << 20, "{}", toll.bytes);
        lost.add_all(&toll.lost);
    }
    assert_eq!(lost.of(DropReason::SpoolFull), lost.total());
    assert_eq!(spool.left() + lost.total(), (1..=100).sum::<u64>());
    let (numbers, none) = read(&mut spool, 200_000);
    assert_eq!(none.total(), 0);
    let first = numbers[0];
    assert!((60..=75).contains(&first), "{first}");
    assert_eq!(numbers, (first..=100).collect::<Vec<_>>());
    assert_eq!(lost.total(), (1..first).sum::<u64>());
}

#[test]
fn what_is_too_old_goes_and_is_counted() {
    let folder = TempDir::new().unwrap();
    let mut spool = open(folder.path());
    fill(&mut spool, 1..=4, 2000);
    spool.load().unwrap().chunk.unwrap();
    assert_eq!(spool.expire().lost.total(), 0);
    spool.began.1 += millis(config(folder.path()).max_age) / 2;
    fill(&mut spool, 5..=6, 2000);
    spool.began.1 += millis(config(folder.path()).max_age) / 2 + 60_000;
    assert_eq!(spool.expire().lost.of(DropReason::SpoolAge), 2 + 3 + 4, "the first was read");
    assert_eq!(read(&mut spool, 2000).0, [5, 6]);
    fill(&mut spool, 7..=7, 2000);
    spool.began.1 += 2 * millis(config(folder.path()).max_age);
    let Loaded { chunk, toll } = spool.load().unwrap();
    assert!(chunk.is_none());
    assert_eq!(toll.lost.of(DropReason::SpoolAge), 7, "not sent though nobody has looked yet");
}

#[test]
fn a_torn_end_costs_what_is_torn() {
    let folder = TempDir::new().unwrap();
    let total = fill(&mut open(folder.path()), 1..=20, 20_000);
    let file = files(folder.path(), ".chunks").remove(0);
    let whole = fs::read(&file).unwrap();
    for cut in [1, 5_000, 30_000, 100_000, 300_000, whole.len() - 4096, whole.len() - 100, whole.len()] {
        fs::write(&file, &whole[..whole.len() - cut]).unwrap();
        let _ = fs::remove_file(file.with_extension("done"));
        let mut spool = open(folder.path());
        assert_eq!(spool.left(), total, "cut {cut}");
        let (numbers, lost) = read(&mut spool, 20_000);
        assert_eq!(numbers.iter().sum::<u64>() + lost.of(DropReason::SpoolDamaged), total, "cut {cut}");
        assert_eq!(spool.left(), 0, "cut {cut}");
        // A few pages may hold what all else hangs from; but then, not always.
        assert!(cut > 100_000 || numbers.len() > 10, "cut {cut}: {numbers:?}");
    }
}

#[test]
fn flipped_bits_cost_what_they_hit_and_nothing_false_comes_out() {
    let (mut came, mut all) = (0, 0);
    for seed in 0..60 {
        let mut random = SmallRng::seed_from_u64(seed);
        let folder = TempDir::new().unwrap();
        let mut spool = open(folder.path());
        let mut total = fill(&mut spool, 1..=10, 20_000);
        drop(spool);
        // A second segment.
        let mut spool = open(folder.path());
        total += fill(&mut spool, 11..=20, 20_000);
        drop(spool);
        let mut victims = files(folder.path(), ".chunks");
        victims.push(folder.path().join("test/state"));
        let victim = &victims[random.random_range(0..victims.len())];
        let mut bytes = fs::read(victim).unwrap();
        for _ in 0..random.random_range(1..20) {
            let at = random.random_range(0..bytes.len());
            bytes[at] ^= 1 << random.random_range(0..8);
        }
        fs::write(victim, bytes).unwrap();
        let mut spool = open(folder.path());
        let (numbers, lost) = read(&mut spool, 20_000);
        let sum = numbers.iter().sum::<u64>() + lost.of(DropReason::SpoolDamaged);
        assert_eq!(sum, total, "seed {seed}, {}", victim.display());
        assert_eq!(spool.left(), 0, "seed {seed}");
        came += numbers.len();
        all += 20;
    }
    assert!(came * 4 > all * 3, "{came} of {all} chunks came through");
}

#[test]
fn numbers_of_a_spoiled_last_row_are_not_believed() {
    let folder = TempDir::new().unwrap();
    let total = fill(&mut open(folder.path()), 1..=5, 2000);
    fs::remove_file(folder.path().join("test/state")).unwrap();
    let database = rusqlite::Connection::open(files(folder.path(), ".chunks").remove(0)).unwrap();
    for sql in [
        "update chunk set before = 1 << 40 where seq = 4",
        "insert into chunk select 1 << 50, points, before, raw_len, at, crc, marks, body from chunk where seq = 3",
        "insert into chunk select 4000, 1 << 50, before, raw_len, at, crc, marks, body from chunk where seq = 3",
    ] {
        database.execute(sql, []).unwrap();
    }
    drop(database);
    let mut spool = open(folder.path());
    assert_eq!(spool.left(), total - 5, "the last that can be read is the fourth");
    assert_eq!(fill(&mut spool, 6..=6, 2000), 6);
    assert_eq!(read(&mut spool, 2000).0, [1, 2, 3, 4, 6]);
    assert_eq!(spool.left(), 0);
}

#[test]
fn a_torn_receipt_does_not_spoil_those_after_it_and_orphans_go() {
    let folder = TempDir::new().unwrap();
    let mut spool = open(folder.path());
    fill(&mut spool, 1..=3, 2000);
    let chunks: Vec<_> = (0..3).map(|_| spool.load().unwrap().chunk.unwrap()).collect();
    let done =
        |spool: &mut Spool, at: usize| chunks[at].settled().map(|(seq, points)| spool.done(seq, points)).unwrap();
    done(&mut spool, 0);
    spool.forget();
    let file = files(folder.path(), ".done").remove(0);
    fs::OpenOptions::new()
        .append(true)
        .open(&file)
        .and_then(|mut file| io::Write::write_all(&mut file, b"torn"))
        .unwrap();
    done(&mut spool, 1);
    drop(spool);
    fs::write(folder.path().join("test/0000000000000009-0000000000000009.done"), "").unwrap();
    let mut spool = open(folder.path());
    assert_eq!(read(&mut spool, 2000).0, [3]);
    drop(spool);
    open(folder.path());
    assert_eq!(files(folder.path(), ".done"), Vec::<PathBuf>::new());
}

#[test]
fn files_with_wild_names_cost_no_time() {
    let folder = TempDir::new().unwrap();
    fill(&mut open(folder.path()), 1..=3, 2000);
    fs::write(folder.path().join("test/ffffffffffffff00-ffffffffffffff00.chunks"), "").unwrap();
    fs::create_dir(folder.path().join("test/0000000000000001-0000000000000001.chunks")).unwrap();
    let mut spool = open(folder.path());
    assert_eq!(spool.left(), 6);
    fill(&mut spool, 4..=4, 2000);
    assert_eq!(read(&mut spool, 2000).0, [1, 2, 3, 4]);
}

#[test]
fn receipts_that_are_torn_or_spoiled_bring_a_chunk_again_and_lose_none() {
    let folder = TempDir::new().unwrap();
    let mut spool = open(folder.path());
    fill(&mut spool, 1..=5, 2000);
    for _ in 0..4 {
        let chunk = spool.load().unwrap().chunk.unwrap();
        let (seq, points) = chunk.settled().unwrap();
        spool.done(seq, points);
    }
    drop(spool);
    let file = files(folder.path(), ".done").remove(0);
    let mut receipts = fs::read(&file).unwrap();
    receipts[22] ^= 4;
    receipts.truncate(receipts.len() - 3);
    fs::write(&file, receipts).unwrap();
    let mut spool = open(folder.path());
    assert_eq!(spool.left(), 2 + 4 + 5);
    assert_eq!(read(&mut spool, 2000).0, [2, 4, 5]);
}

#[test]
fn a_spool_without_its_state_or_a_segment_goes_on() {
    let folder = TempDir::new().unwrap();
    for numbers in [1..=3, 4..=6, 7..=9] {
        fill(&mut open(folder.path()), numbers, 2000);
    }
    fs::remove_file(folder.path().join("test/state")).unwrap();
    fs::remove_file(&files(folder.path(), ".chunks")[1]).unwrap();
    let mut spool = open(folder.path());
    assert_eq!(spool.left(), 45);
    fill(&mut spool, 10..=10, 2000);
    let (numbers, lost) = read(&mut spool, 2000);
    assert_eq!((numbers, lost.of(DropReason::SpoolDamaged)), (vec![1, 2, 3, 7, 8, 9, 10], 15));
}

#[test]
fn one_spool_serves_one_process_and_one_type_of_sink() {
    let folder = TempDir::new().unwrap();
    let spool = open(folder.path());
    let refused = |kind| Spool::open(&config(folder.path()), kind).unwrap_err().to_string();
    assert!(refused("test").contains("in use by another process"));
    drop(spool);
    fs::rename(folder.path().join("test"), folder.path().join("other")).unwrap();
    assert!(refused("other").contains("type `test`, not `other`"));
    fs::write(folder.path().join("file"), "").unwrap();
    assert!(refused("file").contains("writable volume"));
}

#[test]
fn names_that_are_no_segments_are_left_alone() {
    let folder = TempDir::new().unwrap();
    let mut spool = open(folder.path());
    fill(&mut spool, 1..=1, 100);
    drop(spool);
    for name in ["x.chunks", "0-0.chunks", "00000000000000ZZ-0000000000000000.chunks", "lost+found"] {
        fs::write(folder.path().join("test").join(name), "mine").unwrap();
    }
    let mut spool = open(folder.path());
    assert_eq!(read(&mut spool, 100).0, [1]);
    drop(spool);
    open(folder.path());
    assert_eq!(files(folder.path(), ".chunks").len(), 3, "those that are not ours");
}
