//! The ledger: where every point went.
//!
//! Counts only. What is queued is not kept here but added up from the queue itself, so that the
//! two sides can be compared.

use std::collections::BTreeMap;

use serde::Serialize;

/// Why points did not reach the sink's server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DropReason {
    /// The queue was full and these were the oldest.
    QueueFull,
    /// The server refused the request for good.
    Rejected,
    /// The server took the request but not these records.
    Partial,
    /// The server found them older than it keeps.
    Expired,
    /// A single record is too large for the server.
    TooLarge,
    /// The sink's format can't hold them.
    Unencodable,
    /// The sink's settings leave them out.
    Filtered,
    /// The process ended before they were sent.
    Shutdown,
    /// The spool was full, or its disk, and these were the oldest.
    SpoolFull,
    /// They were older than the spool keeps anything.
    SpoolAge,
    /// They can't be read back from the spool.
    SpoolDamaged,
}

/// How many reasons there are.
const REASONS: usize = 11;

impl DropReason {
    /// All of them.
    pub const ALL: [Self; REASONS] = [
        Self::QueueFull,
        Self::Rejected,
        Self::Partial,
        Self::Expired,
        Self::TooLarge,
        Self::Unencodable,
        Self::Filtered,
        Self::Shutdown,
        Self::SpoolFull,
        Self::SpoolAge,
        Self::SpoolDamaged,
    ];

    /// As it is spelled in metrics and on the status page.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::QueueFull => "queue_full",
            Self::Rejected => "rejected",
            Self::Partial => "partial",
            Self::Expired => "expired",
            Self::TooLarge => "too_large",
            Self::Unencodable => "unencodable",
            Self::Filtered => "filtered",
            Self::Shutdown => "shutdown",
            Self::SpoolFull => "spool_full",
            Self::SpoolAge => "spool_age",
            Self::SpoolDamaged => "spool_damaged",
        }
    }
}

/// Points by reason.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Dropped([u64; REASONS]);

impl Dropped {
    /// Counts points.
    pub fn add(&mut self, reason: DropReason, points: u64) {
        self.0[reason as usize] += points;
    }

    /// Counts all that `other` has counted.
    pub fn add_all(&mut self, other: &Self) {
        for (mine, others) in self.0.iter_mut().zip(other.0) {
            *mine += others;
        }
    }

    /// Points of one reason.
    #[must_use]
    pub fn of(&self, reason: DropReason) -> u64 {
        self.0[reason as usize]
    }

    /// Points of all reasons.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.0.iter().sum()
    }
}

/// What kinds of failure there were, in requests.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Attempts {
    /// The server took all of it.
    pub ok: u64,
    /// Tried again later.
    pub transient: u64,
    /// Tried again later, but an operator has to act.
    pub refused: u64,
    /// The database was missing and is made anew.
    pub unprepared: u64,
    /// Dropped.
    pub permanent: u64,
    /// Taken but for some records.
    pub partial: u64,
    /// Split in two.
    pub too_large: u64,
}

/// The last thing that went wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LastError {
    /// When, RFC 3339.
    pub at: String,
    /// What.
    pub message: String,
}

impl LastError {
    /// One of this moment.
    #[must_use]
    pub fn now(message: String) -> Self {
        Self { at: now(), message }
    }
}

/// Everything a sink has counted since it was started.
#[derive(Debug, Clone, Default)]
pub struct Ledger {
    /// Points handed to the sink.
    pub offered: u64,
    /// Points that an earlier process has left in the spool.
    pub recovered: u64,
    /// Points its server has taken.
    pub written: u64,
    /// Points that were given up.
    pub dropped: Dropped,
    /// Requests.
    pub attempts: Attempts,
    /// How often the spool couldn't be written or read.
    pub spool_errors: u64,
    /// Time spent on encoding and compressing, ns.
    pub encode_ns: u64,
    /// The last failure, if there ever was one.
    pub last_error: Option<LastError>,
    /// When the server last took something, RFC 3339.
    pub last_written_at: Option<String>,
}

impl Ledger {
    /// Remembers a failure with the time of now.
    pub fn error(&mut self, message: String) {
        self.last_error = Some(LastError::now(message));
    }

    /// Counts points that the server has taken.
    pub fn written(&mut self, points: u64) {
        self.written += points;
        self.last_written_at = Some(now());
    }
}

/// One moment of a sink's ledger. `offered + recovered = written + dropped + queued`, always.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LedgerSnapshot {
    /// The sink's name.
    pub sink: String,
    /// Points handed to the sink.
    pub offered: u64,
    /// Points that an earlier process has left in the spool.
    pub recovered: u64,
    /// Points its server has taken.
    pub written: u64,
    /// Points that were given up, by [`DropReason::name`].
    pub dropped: BTreeMap<&'static str, u64>,
    /// Points that wait or are on their way, added up from the queue and the spool.
    pub queued: u64,
    /// Those of them that are in the spool alone.
    pub spooled: u64,
    /// Those of them that would go with the process: not in a spool, for want of one or since it can't be written.
    pub unsaved: u64,
    /// offered + recovered − written − dropped − queued. Anything but 0 is a defect of this program.
    pub imbalance: i64,
    /// Memory of the queue, bytes.
    pub queued_bytes: u64,
    /// Its bound, bytes.
    pub queue_bound_bytes: u64,
    /// Length of the spool's files, bytes; of them all that is delivered is deleted by and by.
    pub spool_bytes: u64,
    /// Their bound, bytes; 0 where there is no spool.
    pub spool_bound_bytes: u64,
    /// How often the spool couldn't be written or read.
    pub spool_errors: u64,
    /// Requests that are on their way.
    pub in_flight: u64,
    /// Whether the last request failed, so that the sink waits before the next.
    pub failing: bool,
    /// Requests by outcome.
    pub attempts: Attempts,
    /// Time spent on encoding and compressing, ns.
    pub encode_ns: u64,
    /// The last failure, if there ever was one.
    pub last_error: Option<LastError>,
    /// When the server last took something, RFC 3339.
    pub last_written_at: Option<String>,
}

impl LedgerSnapshot {
    /// Points given up for one reason.
    #[must_use]
    pub fn dropped_by(&self, reason: DropReason) -> u64 {
        self.dropped.get(reason.name()).copied().unwrap_or(0)
    }
}

/// Counts as the status page shows them.
#[must_use]
pub fn by_name(dropped: &Dropped) -> BTreeMap<&'static str, u64> {
    DropReason::ALL.iter().map(|&reason| (reason.name(), dropped.of(reason))).collect()
}

fn now() -> String {
    jiff::Timestamp::now().to_string()
}
