//! Sinks: the places where batches go.
//!
//! A sink has three parts: `encode` (pure, batch → records of bytes), `attempt` (one request), and
//! the policy around them (queue, retry, ledger), which is written once, in [`runner`]. A sink
//! never sees another sink, and none of them ever makes the pipeline wait.

pub mod backoff;
pub mod chunk;
pub mod influxdb;
pub mod kafka;
pub mod ledger;
pub mod log;
pub mod pick;
pub mod prometheus;
pub mod queue;
pub mod runner;
pub mod spool;
pub(crate) mod web;

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

use crate::batch::{Batch, Cycle};

pub use chunk::Chunker;
pub use ledger::{DropReason, LedgerSnapshot};
pub use pick::Selection;
pub use runner::{LedgerReader, Policy, SinkHandle};
pub use spool::{Spool, SpoolConfig, SpoolError};

/// What the settings of every kind of sink have in common, ready to be used.
#[derive(Debug, Default)]
pub struct Common {
    /// What the sink gets.
    pub selection: Selection,
    /// Where its queue is kept on disk.
    pub spool: Option<Spool>,
}

/// A batch that has passed the chain, without the labels and metrics that are for rules only.
/// Nobody changes it any more; all sinks share it.
#[derive(Debug)]
pub struct Published {
    /// The cycle it belongs to.
    pub cycle: Cycle,
    /// The batch.
    pub batch: Batch,
}

/// Why one attempt failed; each variant is another decision of the runner.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AttemptError {
    /// The same bytes may succeed soon: connection refused, time-out, 503.
    #[error("{reason}")]
    Transient {
        /// What happened.
        reason: String,
        /// How long the server asks to be left alone.
        retry_after: Option<Duration>,
    },
    /// The same bytes will succeed once an operator has acted: 401, 403.
    #[error("{reason}")]
    Refused {
        /// What happened and what to do.
        reason: String,
    },
    /// What [`Sink::prepare`] makes is gone: it runs again, then the same bytes are sent again.
    #[error("{reason}")]
    Unprepared {
        /// What is missing.
        reason: String,
    },
    /// The same bytes will never succeed; they are dropped.
    #[error("{reason}")]
    Permanent {
        /// What happened.
        reason: String,
    },
    /// The server has taken all but some records, and won't ever take those.
    #[error("{reason}")]
    Partial {
        /// What happened.
        reason: String,
        /// How many records it refused.
        records: u64,
        /// What they are counted as.
        why: DropReason,
    },
    /// The server has taken some records of the chunk; each of the others waits or is lost.
    #[error("{reason}")]
    Unfinished {
        /// What happened.
        reason: String,
        /// How long the server asks to be left alone.
        retry_after: Option<Duration>,
        /// Records that may be taken later, and only they are sent again: places in the chunk, ascending.
        left: Vec<usize>,
        /// Records that it won't ever take, and what each is counted as.
        lost: Vec<(usize, DropReason)>,
    },
    /// Too large for the server: it is split in two and each half tried.
    #[error("the body is too large for the server")]
    TooLarge,
}

/// A place where batches go.
#[async_trait]
pub trait Sink: Send + Sync + 'static {
    /// Writes the batch into `out`, record by record. Pure. A point that it neither records nor
    /// drops by a reason of its own is counted as [`DropReason::Unencodable`].
    fn encode(&self, cycle: &Cycle, batch: &Batch, out: &mut Chunker);

    /// What a full chunk becomes on the wire and in the queue: compressed, for instance. What it
    /// leaves of `body` is used again.
    fn pack(&self, body: &mut Vec<u8>) -> Bytes {
        std::mem::take(body).into()
    }

    /// Undoes [`Sink::pack`], so that a chunk can be split; `None` when it can't.
    fn unpack(&self, body: &Bytes) -> Option<Vec<u8>> {
        Some(body.to_vec())
    }

    /// Makes what the writes need, before the first and whenever it turns out to be gone.
    ///
    /// # Errors
    /// As [`Sink::attempt`]; [`AttemptError::Refused`] and [`AttemptError::Permanent`] do not keep
    /// the runner from trying to write.
    async fn prepare(&self) -> Result<(), AttemptError> {
        Ok(())
    }

    /// What keeps attempts that are under way from coming to an end, for a sink whose client library
    /// tries again by itself.
    fn trouble(&self) -> Option<String> {
        None
    }

    /// Sends one chunk, once.
    ///
    /// # Errors
    /// [`AttemptError`] says what is to be done with it.
    async fn attempt(&self, body: Bytes) -> Result<(), AttemptError>;
}
