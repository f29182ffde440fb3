//! Sends chunks, and decides what becomes of those that failed.
//!
//! How many requests go out at a time follows the server: half as many after a failure, one more
//! after as many successes as there are now.

use std::panic::AssertUnwindSafe;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use futures::FutureExt;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::sinks::backoff::{Backoff, LONGEST};
use crate::sinks::chunk::Chunk;
use crate::sinks::ledger::Dropped;
use crate::sinks::queue::ChunkId;
use crate::sinks::spool::{Loaded, Spool, SpoolError};
use crate::sinks::{AttemptError, DropReason};
use crate::text::{MESSAGE_BYTES, tame};
use crate::throttle::Throttle;

use super::Shared;

/// While the process wants to end, no wait is longer.
const LONGEST_WAIT_AT_SHUTDOWN: Duration = Duration::from_secs(1);

/// Whether what the writes need is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Prepared {
    No,
    UnderWay,
    Yes,
}

/// What a task of the set has done.
enum Done {
    Prepare(Result<(), AttemptError>),
    Attempt(ChunkId, Chunk, Result<(), AttemptError>),
    /// The server found it too large: its halves, if it has any.
    Split(ChunkId, Chunk, Option<[Chunk; 2]>),
    /// The spool was read; `None`: that has panicked.
    Load(Option<Result<Loaded, SpoolError>>),
    /// The server took some of it: what is left, and the error that says so.
    Kept(ChunkId, Chunk, Option<Chunk>, AttemptError),
}

impl Done {
    /// The chunk that is delivered or given up by this and will not be sent again.
    fn settles(&self) -> Option<&Chunk> {
        use AttemptError::{Partial, Permanent};
        match self {
            Self::Attempt(_, chunk, Ok(()) | Err(Permanent { .. } | Partial { .. }))
            | Self::Split(_, chunk, None)
            | Self::Kept(_, chunk, None, _) => Some(chunk),
            _ => None,
        }
    }
}

struct Sender {
    shared: Arc<Shared>,
    running: JoinSet<Done>,
    prepared: Prepared,
    backoff: Backoff,
    /// How many requests the server seems to bear at a time.
    window: usize,
    /// Successes since the window last changed.
    good: usize,
    /// No request before this.
    gate: Option<Instant>,
    failures: Throttle,
    recoveries: Throttle,
    drops: Throttle,
}

pub(super) async fn run(shared: Arc<Shared>) {
    let mut sender = Sender {
        shared: shared.clone(),
        running: JoinSet::new(),
        prepared: Prepared::No,
        backoff: Backoff::default(),
        window: shared.policy.concurrency.max(1),
        good: 0,
        gate: None,
        failures: Throttle::default(),
        recoveries: Throttle::default(),
        drops: Throttle::default(),
    };
    loop {
        sender.start();
        let gate = sender.gate;
        tokio::select! {
            Some(done) = sender.running.join_next(), if !sender.running.is_empty() => {
                // An error is a task that was aborted, and nobody aborts one but by dropping all.
                if let Ok(done) = done {
                    sender.settle(done);
                }
            }
            () = shared.chunks_ready.notified() => sender.hurry_at_shutdown(),
            () = tokio::time::sleep_until(gate.unwrap_or_else(Instant::now)), if gate.is_some() => {
                sender.gate = None;
            }
        }
        shared.settled.notify_waiters();
    }
}

impl Sender {
    /// Starts what may be started now.
    fn start(&mut self) {
        if self.gate.is_some() {
            return;
        }
        if self.prepared == Prepared::No && self.running.is_empty() {
            self.prepared = Prepared::UnderWay;
            self.running.spawn(prepare(self.shared.clone()));
        }
        self.load();
        let most = if self.backoff.is_failing() { 1 } else { self.window };
        while self.prepared == Prepared::Yes && self.running.len() < most {
            let Some((id, chunk)) = self.shared.queue().next_chunk() else { break };
            self.running.spawn(attempt(self.shared.clone(), id, chunk));
        }
        // The next one is read while this one is on its way.
        self.load();
    }

    /// Reads a chunk of the backlog where none waits.
    fn load(&mut self) {
        if self.shared.queue().next_load() {
            self.running.spawn(load(self.shared.clone()));
        }
    }

    fn settle(&mut self, done: Done) {
        match done {
            Done::Prepare(result) => self.settle_prepare(result),
            Done::Attempt(id, chunk, Ok(())) => {
                self.count(|attempts| &mut attempts.ok);
                self.shared.queue().written(id, 0, DropReason::Partial);
                self.shared.spares.give_sent(chunk);
                self.succeeded();
            }
            Done::Attempt(id, chunk, Err(error)) => self.settle_failure(id, &chunk, &error),
            Done::Split(id, chunk, halves) => self.settle_split(id, &chunk, halves),
            Done::Load(Some(Ok(Loaded { chunk, toll }))) => self.shared.queue().loaded(chunk, &toll),
            Done::Load(failed) => {
                self.shared.queue().load_failed();
                let error = failed.and_then(Result::err).map(|error| error.to_string());
                let reason = error.unwrap_or_else(|| "reading the spool has panicked".to_owned());
                self.wait(&AttemptError::Transient { reason, retry_after: None });
            }
            Done::Kept(id, chunk, kept, error) => self.settle_unfinished(id, &chunk, kept, &error),
        }
    }

    fn settle_prepare(&mut self, result: Result<(), AttemptError>) {
        match result {
            Ok(()) => self.prepared = Prepared::Yes,
            // Whoever may not create a database may still be allowed to write to it.
            Err(
                error @ (AttemptError::Refused { .. } | AttemptError::Permanent { .. } | AttemptError::Partial { .. }),
            ) => {
                self.prepared = Prepared::Yes;
                let text = said(&error);
                if let Some(more) = self.failures.pass() {
                    let sink = &self.shared.name;
                    tracing::warn!(sink, error = text, more, "preparing failed; writes are tried");
                }
                self.shared.queue().ledger.error(text);
            }
            Err(error) => {
                self.prepared = Prepared::No;
                self.wait(&error);
            }
        }
    }

    fn settle_failure(&mut self, id: ChunkId, chunk: &Chunk, error: &AttemptError) {
        match error {
            AttemptError::Transient { .. } => self.count(|attempts| &mut attempts.transient),
            AttemptError::Refused { .. } => self.count(|attempts| &mut attempts.refused),
            AttemptError::Unprepared { .. } => {
                self.count(|attempts| &mut attempts.unprepared);
                self.prepared = Prepared::No;
            }
            AttemptError::Permanent { .. } => {
                self.count(|attempts| &mut attempts.permanent);
                self.shared.queue().drop_chunk(id, DropReason::Rejected);
                self.dropped(chunk.points(), error);
                self.succeeded();
                return;
            }
            AttemptError::Partial { records, why, .. } => {
                self.count(|attempts| &mut attempts.partial);
                let refused = chunk.points_of(*records);
                self.shared.queue().written(id, refused, *why);
                self.dropped(refused, error);
                self.succeeded();
                return;
            }
            // Never comes here: `attempt` has answered it with `Done::Split`.
            AttemptError::TooLarge => return self.settle_split(id, chunk, None),
            // Nor this: it has been answered with `Done::Kept`.
            AttemptError::Unfinished { .. } => return self.settle_unfinished(id, chunk, None, error),
        }
        self.shared.queue().requeue(id);
        self.wait(error);
    }

    fn settle_split(&mut self, id: ChunkId, chunk: &Chunk, halves: Option<[Chunk; 2]>) {
        self.count(|attempts| &mut attempts.too_large);
        match halves {
            Some(halves) => {
                self.shared.shrink(chunk.raw_len());
                self.shared.queue().replace(id, halves);
            }
            None => {
                self.shared.queue().drop_chunk(id, DropReason::TooLarge);
                self.dropped(chunk.points(), &AttemptError::TooLarge);
            }
        }
        self.succeeded();
    }

    /// Some records are written, some wait, some are lost; those that wait are tried again later.
    fn settle_unfinished(&mut self, id: ChunkId, chunk: &Chunk, kept: Option<Chunk>, error: &AttemptError) {
        let AttemptError::Unfinished { left, lost, .. } = error else { return };
        let mut dropped = Dropped::default();
        for &(record, why) in lost {
            dropped.add(why, chunk.points_at(record));
        }
        let waits = kept.is_some();
        if !waits {
            // A chunk that can't be read again is lost with what was left in it.
            left.iter().for_each(|&record| dropped.add(DropReason::Rejected, chunk.points_at(record)));
        }
        self.shared.queue().unfinished(id, kept, &dropped);
        if dropped.total() > 0 {
            self.dropped(dropped.total(), error);
        }
        if waits {
            self.count(|attempts| &mut attempts.transient);
            self.wait(error);
        } else {
            self.count(|attempts| &mut attempts.partial);
            self.succeeded();
        }
    }

    fn count(&self, of: fn(&mut crate::sinks::ledger::Attempts) -> &mut u64) {
        *of(&mut self.shared.queue().ledger.attempts) += 1;
    }

    /// The server answers again, whatever it thinks of the data.
    fn succeeded(&mut self) {
        if self.backoff.succeeded()
            && let Some(more) = self.recoveries.pass()
        {
            tracing::info!(sink = self.shared.name, more, "the sink answers again");
        }
        self.good += 1;
        if self.good >= self.window && self.window < self.shared.policy.concurrency {
            self.window += 1;
            self.good = 0;
        }
        self.shared.queue().failing = false;
    }

    /// Data is lost for good.
    fn dropped(&mut self, points: u64, error: &AttemptError) {
        let error = said(error);
        if let Some(more) = self.drops.pass() {
            let sink = &self.shared.name;
            tracing::warn!(sink, points, error, more, "points dropped");
        }
        self.shared.queue().ledger.error(error);
    }

    /// The same is tried again later.
    fn wait(&mut self, error: &AttemptError) {
        let asked = match error {
            AttemptError::Transient { retry_after, .. } | AttemptError::Unfinished { retry_after, .. } => *retry_after,
            _ => None,
        };
        let now = Instant::now();
        let wait = if self.gate.is_some() {
            // One of several that were on their way together: that is one failure, not many.
            asked.unwrap_or_default().min(LONGEST)
        } else {
            self.window = (self.window / 2).max(1);
            self.good = 0;
            self.backoff.failed(asked)
        };
        let until = self.gate.map_or(now + wait, |gate| gate.max(now + wait));
        self.gate = Some(until);
        let error = said(error);
        if let Some(more) = self.failures.pass() {
            let (sink, seconds) = (&self.shared.name, (until - now).as_secs_f32());
            tracing::warn!(sink, error, seconds, more, "writing failed; tried again later");
        }
        let mut queue = self.shared.queue();
        queue.failing = true;
        queue.ledger.error(error);
        drop(queue);
        self.hurry_at_shutdown();
    }

    fn hurry_at_shutdown(&mut self) {
        if let Some(gate) = self.gate
            && self.shared.queue().is_closing()
        {
            self.gate = Some(gate.min(Instant::now() + LONGEST_WAIT_AT_SHUTDOWN));
        }
    }
}

/// An error in the log and in the ledger; most of its text is the server's.
fn said(error: &AttemptError) -> String {
    tame(&error.to_string(), MESSAGE_BYTES)
}

async fn prepare(shared: Arc<Shared>) -> Done {
    Done::Prepare(bounded(&shared, shared.sink.prepare()).await)
}

async fn attempt(shared: Arc<Shared>, id: ChunkId, chunk: Chunk) -> Done {
    let result = bounded(&shared, shared.sink.attempt(chunk.body())).await;
    let done = match result {
        Err(AttemptError::TooLarge) => {
            let (whole, sink) = (chunk.clone(), shared.sink.clone());
            let halves = tokio::task::spawn_blocking(move || whole.split(sink.as_ref())).await;
            Done::Split(id, chunk, halves.unwrap_or(None))
        }
        Err(AttemptError::Unfinished { reason, retry_after, left, lost }) => {
            let (whole, sink, kept) = (chunk.clone(), shared.sink.clone(), left.clone());
            let keeping = tokio::task::spawn_blocking(move || whole.keep(sink.as_ref(), &kept)).await;
            let kept = keeping.unwrap_or_default();
            Done::Kept(id, chunk, kept, AttemptError::Unfinished { reason, retry_after, left, lost })
        }
        result => Done::Attempt(id, chunk, result),
    };
    if let Some((seq, points)) = done.settles().and_then(Chunk::settled) {
        let toll = in_spool(&shared, move |spool| spool.done(seq, points)).await;
        if let Some(toll) = toll {
            shared.queue().pay(&toll);
        }
    }
    done
}

async fn load(shared: Arc<Shared>) -> Done {
    Done::Load(in_spool(&shared, Spool::load).await)
}

/// Does something with the spool, if there is one, on a thread that may wait for the disk.
async fn in_spool<T: Send + 'static>(
    shared: &Arc<Shared>,
    work: impl FnOnce(&mut Spool) -> T + Send + 'static,
) -> Option<T> {
    let shared = shared.clone();
    let work = move || {
        let spool = shared.spool.as_ref()?;
        Some(work(&mut spool.lock().unwrap_or_else(PoisonError::into_inner)))
    };
    // An error is a panic, or the end of the runtime.
    tokio::task::spawn_blocking(work).await.ok().flatten()
}

/// One attempt, within its time. A panic of the sink costs this chunk and nothing else.
async fn bounded(shared: &Shared, attempt: impl Future<Output = Result<(), AttemptError>>) -> Result<(), AttemptError> {
    let attempt = AssertUnwindSafe(attempt).catch_unwind();
    let result = match shared.policy.timeout {
        Some(timeout) => match tokio::time::timeout(timeout, attempt).await {
            Ok(result) => result,
            Err(_) => {
                let reason = format!("no answer within {timeout:?}");
                return Err(AttemptError::Transient { reason, retry_after: None });
            }
        },
        None => attempt.await,
    };
    let panicked = |_| Err(AttemptError::Permanent { reason: "the sink panicked".to_owned() });
    result.unwrap_or_else(panicked)
}
