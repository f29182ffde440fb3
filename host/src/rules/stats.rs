//! What is counted about each rule, and the snapshot that pages and metrics show.

pub mod durations;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use serde::Serialize;

pub use durations::Durations;

use super::fault::{Fault, FaultKind};
use super::limits::Limits;
use super::manifest::OnError;
use crate::batch::EditStats;

/// Counters one rule may have.
const MAX_COUNTERS: usize = 64;
/// Longest name of one, bytes.
const MAX_COUNTER_NAME: usize = 120;

/// What is counted inside calls. Outlives the instances, which are rebuilt after faults.
#[derive(Debug, Default)]
pub(super) struct Meters {
    /// The most memory that one instance held, bytes.
    pub memory_bytes: AtomicU64,
    /// Log lines over the bound.
    pub lines_dropped: AtomicU64,
    /// Calls of `count` with a name too many, too long, or not of `[a-zA-Z0-9_/.:-]`.
    pub counts_refused: AtomicU64,
    /// Whether the rule only runs beside the chain, which its log lines say.
    pub shadow: AtomicBool,
    counters: Mutex<BTreeMap<String, u64>>,
}

impl Meters {
    pub(super) fn count(&self, name: &str, by: u64) {
        let mut counters = self.counters.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(counter) = counters.get_mut(name) {
            *counter = counter.saturating_add(by);
        } else if counters.len() < MAX_COUNTERS && is_counter_name(name) {
            counters.insert(name.to_owned(), by);
        } else {
            self.counts_refused.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(super) fn counters(&self) -> BTreeMap<String, u64> {
        self.counters.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Goes on counting from where `other` is; what was counted in the shadow had no effect.
    pub(super) fn go_on_from(&self, other: Option<&Self>) {
        let of = |count: fn(&Self) -> &AtomicU64| other.map_or(0, |other| count(other).load(Ordering::Relaxed));
        self.lines_dropped.store(of(|it| &it.lines_dropped), Ordering::Relaxed);
        self.counts_refused.store(of(|it| &it.counts_refused), Ordering::Relaxed);
        let theirs = other.map(Self::counters).unwrap_or_default();
        *self.counters.lock().unwrap_or_else(PoisonError::into_inner) = theirs;
        self.shadow.store(false, Ordering::Relaxed);
    }
}

fn is_counter_name(name: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_/.:-".contains(&byte);
    !name.is_empty() && name.len() <= MAX_COUNTER_NAME && name.bytes().all(allowed)
}

/// A rule's most recent failure.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LastFault {
    /// What sort of failure.
    pub kind: FaultKind,
    /// Its full text.
    pub text: String,
    /// The cycle it happened in.
    pub cycle: u64,
    /// When, ms since the epoch, by the host's clock.
    pub at_ms: u64,
}

/// What one rule did since the process started.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct RuleStats {
    /// Calls of `process`.
    pub process_calls: u64,
    /// Calls of `finish`.
    pub finish_calls: u64,
    /// Time in `process`, with crossing over and back, batch by batch.
    pub process_time: Durations,
    /// Time in `finish`, cycle by cycle.
    pub finish_time: Durations,
    /// Time the host spent on checking and applying the edits, edit by edit.
    pub apply_time: Durations,
    /// Points given to `process`.
    pub points_in: u64,
    /// Points that edits dropped.
    pub points_dropped: u64,
    /// Points that edits added.
    pub points_added: u64,
    /// Points that were to be added and were left out: there is no room for their metrics' names.
    pub points_refused: u64,
    /// Points that became one with an equal one.
    pub points_merged: u64,
    /// Entities that edits dropped.
    pub entities_dropped: u64,
    /// Entities that edits added.
    pub entities_added: u64,
    /// Labels that edits set or removed.
    pub relabelled: u64,
    /// Batches that the rule was not asked about, since it went on failing; they are passed or lost.
    pub batches_left_out: u64,
    /// Batches passed on unchanged since the rule failed on them.
    pub batches_passed: u64,
    /// Batches dropped since the rule failed on them, or since it is halted.
    pub batches_lost: u64,
    /// Points of those batches.
    pub points_lost: u64,
    /// Instances made of the versions that ran. More than one says that state was lost.
    pub instances: u64,
    /// Times that a new version took the rule's place, with its state warm.
    pub take_overs: u64,
    /// Failures by kind.
    pub faults: BTreeMap<FaultKind, u64>,
    /// The most recent failure.
    pub last_fault: Option<LastFault>,
}

impl RuleStats {
    pub(super) fn edited(&mut self, edit: &EditStats) {
        self.points_dropped += edit.dropped_points;
        self.points_added += edit.added_points;
        self.points_refused += edit.refused_points;
        self.points_merged += edit.merged_points;
        self.entities_dropped += edit.dropped_entities;
        self.entities_added += edit.added_entities;
        self.relabelled += edit.relabelled;
    }

    /// Adds what another rule did.
    pub(super) fn add(&mut self, other: &Self) {
        let Self {
            process_calls,
            finish_calls,
            process_time,
            finish_time,
            apply_time,
            points_in,
            points_dropped,
            points_added,
            points_refused,
            points_merged,
            entities_dropped,
            entities_added,
            relabelled,
            batches_left_out,
            batches_passed,
            batches_lost,
            points_lost,
            instances,
            take_overs,
            faults,
            last_fault,
        } = other;
        for (sum, more) in [
            (&mut self.process_calls, process_calls),
            (&mut self.finish_calls, finish_calls),
            (&mut self.points_in, points_in),
            (&mut self.points_dropped, points_dropped),
            (&mut self.points_added, points_added),
            (&mut self.points_refused, points_refused),
            (&mut self.points_merged, points_merged),
            (&mut self.entities_dropped, entities_dropped),
            (&mut self.entities_added, entities_added),
            (&mut self.relabelled, relabelled),
            (&mut self.batches_left_out, batches_left_out),
            (&mut self.batches_passed, batches_passed),
            (&mut self.batches_lost, batches_lost),
            (&mut self.points_lost, points_lost),
            (&mut self.instances, instances),
            (&mut self.take_overs, take_overs),
        ] {
            *sum += more;
        }
        self.process_time.add(process_time);
        self.finish_time.add(finish_time);
        self.apply_time.add(apply_time);
        for (kind, count) in faults {
            *self.faults.entry(*kind).or_default() += count;
        }
        self.last_fault = last_fault.clone().or(self.last_fault.take());
    }

    pub(super) fn failed(&mut self, fault: &Fault, cycle: u64) {
        let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        *self.faults.entry(fault.kind()).or_default() += 1;
        self.last_fault = Some(LastFault {
            kind: fault.kind(),
            text: fault.to_string(),
            cycle,
            at_ms: since_epoch.map_or(0, |time| u64::try_from(time.as_millis()).unwrap_or(0)),
        });
    }

    /// Time in all calls, with applying the edits.
    #[must_use]
    pub fn time(&self) -> Duration {
        self.process_time.sum() + self.finish_time.sum() + self.apply_time.sum()
    }

    /// Failures of every kind.
    #[must_use]
    pub fn fault_count(&self) -> u64 {
        self.faults.values().sum()
    }
}

/// What a rule is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum RuleState {
    /// Its edits are carried out.
    Running,
    /// It is left alone for some cycles, since it went on failing.
    Parked,
    /// It failed under `on-error = "halt"`: nothing gets past it.
    Halted,
    /// It runs beside the chain for as long as its settings say `shadow = true`.
    Shadow,
    /// It runs beside the chain for one cycle, and takes its place then unless it fails.
    Trial,
}

/// A rule as pages and metrics show it.
#[derive(Debug, Clone, Serialize)]
pub struct RuleStatus {
    /// Its name.
    pub name: String,
    /// Its file name, which says where in the chain it stands.
    pub slot: String,
    /// Where it was read.
    pub path: String,
    /// `sha256:` and the digest of its file.
    pub digest: String,
    /// What it calls itself; not to be trusted.
    pub described_as: String,
    /// The version that it says it has.
    pub version: String,
    /// The SDK that it says it was built with.
    pub sdk: String,
    /// What it is doing.
    pub state: RuleState,
    /// What becomes of a batch that it fails on.
    pub on_error: OnError,
    /// What it may use.
    pub limits: Limits,
    /// Whether it failed under `on-error = "halt"`: every batch stops here until it is replaced or reloaded.
    pub halted: bool,
    /// While it is left alone since it went on failing, the cycle in which it is tried again.
    pub parked_until: Option<u64>,
    /// What it did.
    pub stats: RuleStats,
    /// The most memory that one of its instances held, bytes.
    pub memory_bytes: u64,
    /// Log lines over the bound.
    pub lines_dropped: u64,
    /// Refused calls of `count`.
    pub counts_refused: u64,
    /// Its own counters.
    pub counters: BTreeMap<String, u64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_bounded_in_number_and_name() {
        let meters = Meters::default();
        for i in 0..70 {
            meters.count(&format!("dropped/{i}"), 2);
        }
        meters.count("dropped/1", u64::MAX);
        meters.count("no spaces", 1);
        let counters = meters.counters();
        assert_eq!(counters.len(), MAX_COUNTERS);
        assert_eq!(counters["dropped/0"], 2);
        assert_eq!(counters["dropped/1"], u64::MAX);
        assert_eq!(meters.counts_refused.load(Ordering::Relaxed), 7);
    }
}
