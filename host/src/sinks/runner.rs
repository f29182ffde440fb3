//! Runs a sink: encodes batches as they come, sends chunks, tries again, and keeps the ledger.
//! The same for all sinks; what a request looks like is the sink's affair.
//!
//! Two tasks a sink. One encodes on a blocking thread. The other sends: while all is well up to
//! `concurrency` requests at a time; after a failure none until the backoff is over, then one at a
//! time until one succeeds, then more and more, so that a server that comes back is not run over.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::chunk::{Limits, Spares};
use super::ledger::{DropReason, LastError, LedgerSnapshot};
use super::queue::Queue;
use super::spool::{Spool, SpoolError};
use super::{Published, Sink};
use crate::text::{MESSAGE_BYTES, tame};
use crate::throttle::Throttle;

mod encoder;
mod sender;
#[cfg(test)]
mod spool_tests;
#[cfg(test)]
mod tests;

/// How often it is looked whether what is waited for has come about.
const LOOK: Duration = Duration::from_millis(250);

/// How a sink is run.
#[derive(Debug, Clone, Copy)]
pub struct Policy {
    /// Bound of everything that waits or is on its way, bytes.
    pub queue: usize,
    /// Requests at a time.
    pub concurrency: usize,
    /// Time for one attempt; `None` where the sink can't be interrupted.
    pub timeout: Option<Duration>,
    /// Bounds of one chunk.
    pub chunk: Limits,
}

impl Policy {
    /// The bounds of a chunk, small enough that all that can be on its way fits into the queue
    /// together with as much again that waits.
    fn limits(&self) -> Limits {
        let share = self.queue / (2 * (self.concurrency + 1));
        Limits { records: self.chunk.records.max(1), bytes: self.chunk.bytes.min(share).max(1) }
    }
}

/// What the handle and the two tasks share.
struct Shared {
    name: String,
    sink: Arc<dyn Sink>,
    policy: Policy,
    queue: Mutex<Queue>,
    /// Locked before the queue, never after it, and on blocking threads alone.
    spool: Option<Mutex<Spool>>,
    spares: Arc<Spares>,
    /// The chunks' bounds; they shrink when a server finds a chunk too large.
    limits: Mutex<Limits>,
    overflow: Mutex<Overflow>,
    spool_failures: Mutex<Throttle>,
    intake_ready: Notify,
    chunks_ready: Notify,
    /// Woken after every change that may have emptied the queue.
    settled: Notify,
}

/// What the log has said of a queue that was full.
#[derive(Default)]
struct Overflow {
    /// Points.
    told: u64,
    lines: Throttle,
}

impl Shared {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn limits(&self) -> Limits {
        *self.limits.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Chunks of `raw_len` bytes are too large: later ones are made half as large at most.
    fn shrink(&self, raw_len: usize) {
        let mut limits = self.limits.lock().unwrap_or_else(PoisonError::into_inner);
        limits.bytes = limits.bytes.min((raw_len / 2).max(1));
    }

    /// Says now and then how much a full queue has cost.
    fn tell_overflow(&self) {
        let (lost, failing) = {
            let queue = self.queue();
            (queue.ledger.dropped.of(DropReason::QueueFull), queue.failing)
        };
        let mut overflow = self.overflow.lock().unwrap_or_else(PoisonError::into_inner);
        if lost == overflow.told || overflow.lines.pass().is_none() {
            return;
        }
        let points = lost - std::mem::replace(&mut overflow.told, lost);
        tracing::warn!(
            sink = self.name,
            points,
            failing,
            queue_bytes = self.policy.queue,
            "queue full, points dropped since the last such line; if the server is up, it takes less than comes \
             in: a faster one, a larger `queue` or (influxdb) more `concurrency` helps"
        );
    }

    /// The spool can't be written or read.
    fn spool_failed(&self, error: &SpoolError) {
        let error = tame(&error.to_string(), MESSAGE_BYTES);
        let more = self.spool_failures.lock().unwrap_or_else(PoisonError::into_inner).pass();
        if let Some(more) = more {
            tracing::warn!(sink = self.name, error, more, "the spool fails; what comes now waits in memory");
        }
        self.queue().ledger.error(error);
    }

    /// Waits until `done` says that it is.
    async fn until(&self, done: impl Fn(&Queue) -> bool) {
        loop {
            let settled = self.settled.notified();
            if done(&self.queue()) {
                return;
            }
            // Not everything that a sink gets into is told.
            drop(tokio::time::timeout(LOOK, settled).await);
        }
    }
}

/// A running sink. When it goes out of scope the sink stops at once; see [`SinkHandle::drain`].
pub struct SinkHandle {
    shared: Arc<Shared>,
    tasks: [JoinHandle<()>; 2],
}

/// Reads a sink's ledger, also after the handle has gone.
#[derive(Clone)]
pub struct LedgerReader(Arc<Shared>);

impl LedgerReader {
    /// The ledger as it is now.
    #[must_use]
    pub fn snapshot(&self) -> LedgerSnapshot {
        let mut ledger = self.0.queue().snapshot(&self.0.name);
        if let Some(message) = self.0.sink.trouble() {
            (ledger.failing, ledger.last_error) = (true, Some(LastError::now(message)));
        }
        ledger
    }
}

impl SinkHandle {
    /// Starts a sink; `name` is what logs, metrics and the status page call it. Needs a tokio
    /// runtime with a clock.
    #[must_use]
    pub fn start(name: impl Into<String>, sink: Arc<dyn Sink>, policy: Policy) -> Self {
        Self::spooling(name, sink, policy, None)
    }

    /// The same with a queue on disk, if there is one: what is in it is sent first.
    #[must_use]
    pub fn spooling(name: impl Into<String>, sink: Arc<dyn Sink>, policy: Policy, spool: Option<Spool>) -> Self {
        let name = name.into();
        let mut queue = Queue::new(policy.queue);
        if let Some(spool) = &spool {
            let (points, bytes) = (spool.left(), spool.bytes());
            if points > 0 {
                tracing::info!(sink = name, points, bytes, "found in the spool; they are sent first");
            }
            queue.spooling(points, bytes, spool.bound());
        }
        let shared = Arc::new(Shared {
            name,
            sink,
            policy,
            queue: Mutex::new(queue),
            spool: spool.map(Mutex::new),
            spares: Arc::default(),
            limits: Mutex::new(policy.limits()),
            overflow: Mutex::default(),
            spool_failures: Mutex::default(),
            intake_ready: Notify::new(),
            chunks_ready: Notify::new(),
            settled: Notify::new(),
        });
        let tasks = [tokio::spawn(encoder::run(shared.clone())), tokio::spawn(sender::run(shared.clone()))];
        Self { shared, tasks }
    }

    /// The sink's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.shared.name
    }

    /// Hands a batch over. Never waits: over the queue's bound the oldest that waits is dropped.
    pub fn offer(&self, published: Arc<Published>) {
        if published.batch.points.is_empty() && published.batch.entities.is_empty() {
            return;
        }
        self.shared.queue().offer(published);
        self.shared.intake_ready.notify_one();
        self.shared.tell_overflow();
    }

    /// Says that cycle `number` has no more batches, so that what was collected is sent.
    pub fn end_of_cycle(&self, number: u64) {
        tracing::trace!(sink = self.shared.name, cycle = number, "end of cycle");
        self.shared.queue().flush();
        self.shared.intake_ready.notify_one();
        // What the encoder and the sender found too much, and what was dropped within the minute.
        self.shared.tell_overflow();
    }

    /// The ledger as it is now.
    #[must_use]
    pub fn ledger(&self) -> LedgerSnapshot {
        self.reader().snapshot()
    }

    /// For whoever shows the ledger later on.
    #[must_use]
    pub fn reader(&self) -> LedgerReader {
        LedgerReader(self.shared.clone())
    }

    /// Sends what is left, until `deadline` at most; the rest is dropped and counted, unless it is in
    /// the spool: then it stays there, and a sink that fails is not waited for. Offers that come later
    /// are dropped and counted too. Returns the final ledger.
    pub async fn drain(&self, deadline: Instant) -> LedgerSnapshot {
        self.shared.queue().close();
        self.shared.intake_ready.notify_one();
        self.shared.chunks_ready.notify_one();
        let sink = &self.shared.sink;
        let is_safe = |queue: &Queue| queue.is_safe() && (queue.failing || sink.trouble().is_some());
        let done = self.shared.until(|queue| queue.is_idle() || is_safe(queue));
        let drained = tokio::time::timeout_at(deadline, done).await.is_ok();
        self.stop();
        self.shared.queue().give_up();
        let ledger = self.ledger();
        if ledger.spooled > 0 {
            let points = ledger.spooled;
            tracing::info!(sink = self.shared.name, points, "points stay in the spool; the next start sends them");
        }
        if !drained && ledger.dropped_by(DropReason::Shutdown) > 0 {
            let dropped = ledger.dropped_by(DropReason::Shutdown);
            tracing::warn!(sink = self.shared.name, dropped, "points dropped at shutdown");
        }
        ledger
    }

    fn stop(&self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

impl Drop for SinkHandle {
    fn drop(&mut self) {
        self.stop();
    }
}
