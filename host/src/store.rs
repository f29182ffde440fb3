//! The store: the last minutes of every series, in memory, for those who ask by HTTP.
//!
//! It is fed like a sink, on a thread of its own: the pipeline never waits, and what the store can't
//! take in time is counted and left out. Readers get the state at the end of a cycle as a whole.
//! What the HTTP routes make of it is not its business.

mod code;
mod fit;
mod shape;
mod snapshot;
mod source;
mod writer;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use serde::Serialize;

use crate::batch::Cycle;
use crate::sinks::Published;
pub use snapshot::{Batches, EntityRef, Key, Sample, Snapshot, Values};
pub use writer::Writer;

/// Batches that wait for the store.
const WAITING: usize = 512;

/// `[store]`, checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoreConfig {
    /// How long points are kept; 0: there is no store. Default 15 minutes.
    pub keep: Duration,
    /// Memory of what is kept, bytes; over it the oldest cycles go first. Default 512 MiB.
    pub max_memory: usize,
}

impl Default for StoreConfig {
    fn default() -> Self {
        Self { keep: Duration::from_secs(15 * 60), max_memory: 512 << 20 }
    }
}

/// What the store holds and what it lost.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct StoreStatus {
    /// Number of the newest cycle that readers see.
    pub cycle: u64,
    /// Cycles kept.
    pub cycles: usize,
    /// Nodes, and rules with totals.
    pub sources: usize,
    /// Points of all kept cycles.
    pub points: u64,
    /// Memory of what is kept, bytes.
    pub bytes: u64,
    /// Its bound.
    pub max_bytes: u64,
    /// For how long a point is kept, s.
    pub keep_seconds: u64,
    /// Cycles that went before their time for want of memory, since the start.
    pub evicted_cycles: u64,
    /// Points that came faster than they could be stored, since the start.
    pub points_missed: u64,
}

/// What readers and the pipeline share.
#[derive(Debug, Default)]
struct Shared {
    current: RwLock<(Arc<Snapshot>, StoreStatus)>,
    points_missed: AtomicU64,
}

/// Reads the store. Clones read the same.
#[derive(Debug, Clone)]
pub struct StoreReader(Arc<Shared>);

impl StoreReader {
    /// The state at the end of the last cycle. It stays as it is for whoever holds it.
    #[must_use]
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.0.current.read().unwrap_or_else(PoisonError::into_inner).0.clone()
    }

    /// What it holds and what it lost.
    #[must_use]
    pub fn status(&self) -> StoreStatus {
        let status = self.0.current.read().unwrap_or_else(PoisonError::into_inner).1;
        StoreStatus { points_missed: self.0.points_missed.load(Ordering::Relaxed), ..status }
    }
}

enum Job {
    Batch(Arc<Published>),
    End(Cycle),
}

/// Feeds the store. The thread ends when all feeders are gone.
#[derive(Debug, Clone)]
pub struct StoreFeeder {
    jobs: SyncSender<Job>,
    shared: Arc<Shared>,
}

impl StoreFeeder {
    /// Hands a batch over; never waits.
    pub fn offer(&self, batch: Arc<Published>) {
        let points = batch.batch.points.len() as u64;
        if self.jobs.try_send(Job::Batch(batch)).is_err() {
            self.shared.points_missed.fetch_add(points, Ordering::Relaxed);
        }
    }

    /// All batches of the cycle were offered: readers may see it; never waits.
    pub fn end_of_cycle(&self, cycle: Cycle) {
        match self.jobs.try_send(Job::End(cycle)) {
            // The first batch of the next cycle ends this one too.
            Ok(()) | Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {}
        }
    }
}

/// Starts the store's thread; `None` if nothing is to be kept.
///
/// # Errors
/// The system has no thread left.
pub fn start(config: &StoreConfig) -> std::io::Result<Option<(StoreFeeder, StoreReader)>> {
    if config.keep.is_zero() {
        return Ok(None);
    }
    let shared = Arc::new(Shared::default());
    let (jobs, waiting) = sync_channel(WAITING);
    let (theirs, writer) = (Arc::clone(&shared), Writer::new(config));
    std::thread::Builder::new().name("store".to_owned()).spawn(move || work(&waiting, writer, &theirs))?;
    Ok(Some((StoreFeeder { jobs, shared: Arc::clone(&shared) }, StoreReader(shared))))
}

fn work(jobs: &Receiver<Job>, mut writer: Writer, shared: &Shared) {
    for job in jobs {
        let ended = match job {
            Job::Batch(published) => writer.batch(&published.cycle, &published.batch),
            Job::End(cycle) => writer.end(&cycle),
        };
        if let Some(ended) = ended {
            let mut current = shared.current.write().unwrap_or_else(PoisonError::into_inner);
            // The old state is freed after the lock.
            let _before = std::mem::replace(&mut *current, ended);
            drop(current);
        }
    }
}

#[cfg(test)]
mod tests;
