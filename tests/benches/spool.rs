//! What a queue on disk costs: bytes written for a byte kept, with and without waiting for the disk;
//! how long a gibibyte takes to be sent once the server is back, and the memory meanwhile.
//!
//! The sink takes bodies that don't compress and does nothing with them, so that the figures are the
//! spool's.

#![allow(clippy::print_stdout, reason = "figures are what a bench is for")]

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use async_trait::async_trait;
use bytes::Bytes;
use millrace::batch::{Batch, BatchBuilder, Cycle, Descriptor, Level, Origin};
use millrace::sinks::chunk::Limits;
use millrace::sinks::{AttemptError, Chunker, Policy, Published, Sink, SinkHandle, Spool, SpoolConfig};

/// Length of a chunk, bytes: some 10,000 points for InfluxDB, compressed.
const CHUNK: usize = 200_000;
/// Chunks for the cost of writing.
const WRITTEN: u64 = 1_000;
/// What is drained, bytes.
const BACKLOG: u64 = 1 << 30;

/// Takes everything, or nothing.
struct Hole {
    up: AtomicBool,
    taken: AtomicU64,
    noise: Vec<u8>,
}

#[async_trait]
impl Sink for Hole {
    fn encode(&self, cycle: &Cycle, batch: &Batch, out: &mut Chunker) {
        let start = usize::try_from(cycle.number * 997).unwrap_or(0) % CHUNK;
        let records = batch.points.len();
        for record in 0..records {
            let at = start + record * CHUNK / records;
            out.body().extend_from_slice(&self.noise[at..at + CHUNK / records]);
            out.end_record(1);
        }
    }

    async fn attempt(&self, body: Bytes) -> Result<(), AttemptError> {
        if self.up.load(Ordering::Relaxed) {
            self.taken.fetch_add(body.len() as u64, Ordering::Relaxed);
            return Ok(());
        }
        Err(AttemptError::Transient { reason: "down".to_owned(), retry_after: None })
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    // Beside the program's build, since a temporary folder may be memory.
    let place = millrace_tests::fixtures::process::build_folder();
    for fsync in [true, false] {
        let folder = tempfile::tempdir_in(&place)?;
        write(folder.path(), fsync).await?;
    }
    for concurrency in [1, 4] {
        let folder = tempfile::tempdir_in(&place)?;
        drain(folder.path(), concurrency).await?;
    }
    Ok(())
}

/// What one chunk after the other costs while the server takes none.
async fn write(folder: &Path, fsync: bool) -> anyhow::Result<()> {
    let (hole, sink) = start(folder, false, fsync, 1)?;
    let (began, before) = (Instant::now(), written()?);
    let mut times = Vec::new();
    for number in 0..WRITTEN {
        let began = Instant::now();
        give(&sink, number);
        kept(&sink, number + 1).await;
        times.push(began.elapsed());
    }
    let took = began.elapsed();
    anyhow::ensure!(std::process::Command::new("sync").status()?.success(), "sync");
    let bytes = WRITTEN as f64 * CHUNK as f64;
    let factor = (written()? - before) as f64 / bytes;
    times.sort();
    let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize].as_secs_f64() * 1e3;
    println!(
        "fsync {fsync:<5}  {:>6.0} MB/s   a chunk of {} KB: p50 {:.2} ms, p99 {:.2} ms   {factor:.2} bytes written for each",
        bytes / took.as_secs_f64() / 1e6,
        CHUNK / 1000,
        at(0.5),
        at(0.99),
    );
    drop((hole, sink));
    Ok(())
}

/// Fills the spool, starts anew, and lets the server take it all.
async fn drain(folder: &Path, concurrency: usize) -> anyhow::Result<()> {
    let (_, sink) = start(folder, false, false, concurrency)?;
    for number in 0..BACKLOG / CHUNK as u64 {
        give(&sink, number);
        kept(&sink, number + 1).await;
    }
    sink.drain(tokio::time::Instant::now() + Duration::from_secs(5)).await;
    drop(sink);
    let before = resident()?;
    let began = Instant::now();
    let (hole, sink) = loop {
        // The tasks of the one before let go of its lock when they end.
        match start(folder, true, false, concurrency) {
            Ok(started) => break started,
            Err(error) if began.elapsed() > Duration::from_secs(10) => return Err(error),
            Err(_) => tokio::time::sleep(Duration::from_millis(5)).await,
        }
    };
    let opened = began.elapsed();
    let mut most = 0;
    while sink.ledger().queued > 0 {
        most = most.max(resident()?);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let took = began.elapsed().as_secs_f64();
    let taken = hole.taken.load(Ordering::Relaxed);
    anyhow::ensure!(taken == BACKLOG / CHUNK as u64 * CHUNK as u64, "all of it, not {taken}");
    println!(
        "1 GiB, {concurrency} at a time: opened in {:.0} ms, sent in {took:.1} s ({:.0} MB/s), {} MiB more memory at most",
        opened.as_secs_f64() * 1e3,
        taken as f64 / took / 1e6,
        most.saturating_sub(before) >> 20,
    );
    Ok(())
}

fn start(folder: &Path, up: bool, fsync: bool, concurrency: usize) -> anyhow::Result<(Arc<Hole>, SinkHandle)> {
    let mut noise = vec![0; 2 * CHUNK];
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    for byte in &mut noise {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        *byte = state.to_le_bytes()[0];
    }
    let hole = Arc::new(Hole { up: up.into(), taken: AtomicU64::new(0), noise });
    let config = SpoolConfig { fsync, max_bytes: 4 << 30, ..SpoolConfig::at(folder.to_owned()) };
    let limits = Limits { records: usize::MAX, bytes: usize::MAX };
    let policy = Policy { queue: 16 << 20, concurrency, timeout: None, chunk: limits };
    let spool = Spool::open(&config, "hole").context("the spool")?;
    Ok((hole.clone(), SinkHandle::spooling("hole", hole, policy, Some(spool))))
}

/// One chunk of a hundred points.
fn give(sink: &SinkHandle, number: u64) {
    let mut builder = BatchBuilder::new(Origin::Node("n".to_owned()), 0);
    let metric = builder.metric(Descriptor::gauge("m", ""));
    builder.entity(Level::Node, 0);
    (0..100).for_each(|value| builder.point(metric, 0, 0, value));
    let cycle = Cycle { number, time: 0, window: 0, nodes_asked: 1, nodes_answered: 1 };
    sink.offer(Arc::new(Published { cycle, batch: builder.build() }));
    sink.end_of_cycle(number);
}

/// Waits until so many chunks are on the disk.
async fn kept(sink: &SinkHandle, chunks: u64) {
    loop {
        let ledger = sink.ledger();
        if ledger.spool_bytes >= chunks * CHUNK as u64 && ledger.offered == chunks * 100 {
            return;
        }
        tokio::task::yield_now().await;
    }
}

/// Bytes that this process has had written.
fn written() -> anyhow::Result<u64> {
    let text = fs::read_to_string("/proc/self/io")?;
    let line = text.lines().find_map(|line| line.strip_prefix("write_bytes: ")).context("write_bytes")?;
    Ok(line.parse()?)
}

/// Memory of this process, bytes.
fn resident() -> anyhow::Result<u64> {
    let text = fs::read_to_string("/proc/self/statm")?;
    let pages: u64 = text.split(' ').nth(1).context("pages")?.parse()?;
    Ok(pages * rustix::param::page_size() as u64)
}
