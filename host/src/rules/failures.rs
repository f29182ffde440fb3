//! The batches that rules failed on last, so that `millrace rule replay` can run them again on a desk.
//!
//! Kept as bytes, each as it came to the rule, under bounds of their own. Nothing is kept while
//! nothing fails. A rule's state is not kept: what fails only after other batches may not fail again.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use serde::Serialize;

use super::component::Digest;
use super::fault::{Fault, FaultKind};
use super::tame;
use crate::batch::{Batch, Cycle, wire};

/// Failures that are kept of one rule.
pub const MAX_FAILURES: usize = 8;
/// Batches that are kept of one rule, bytes.
const MAX_RULE_BYTES: usize = 8 << 20;
/// Batches that are kept of all rules, bytes.
const MAX_BYTES: usize = 64 << 20;
/// Rules that anything is kept of: names come and go with reloads.
const MAX_RULES: usize = 128;
/// Longest text of a fault, bytes.
const TEXT_BYTES: usize = 2000;
/// Longest name of what failed, bytes.
const NAME_BYTES: usize = 300;

/// The last failures of every rule that failed on a batch.
#[derive(Debug, Default)]
pub struct Failures {
    /// Batches leave the process by no way: keeping them is of no use.
    without_batches: AtomicBool,
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    rules: BTreeMap<String, OfRule>,
    /// Failures so far; each one's number is its age.
    count: u64,
    bytes: usize,
}

#[derive(Debug, Default)]
struct OfRule {
    count: u64,
    last: VecDeque<Failure>,
    bytes: usize,
}

/// One batch that a rule failed on.
#[derive(Debug, Clone, Serialize)]
pub struct Failure {
    /// The cycle's number.
    pub cycle: u64,
    /// The cycle's time, ns since the epoch.
    pub time: i64,
    /// The node, or the rule whose totals they are.
    pub of: String,
    /// What sort of failure.
    pub kind: FaultKind,
    /// What happened.
    pub error: String,
    /// The rule's code.
    pub digest: String,
    /// Points of the batch.
    pub points: u64,
    /// Whether the batch itself is kept.
    pub kept: bool,
    #[serde(skip)]
    number: u64,
    #[serde(skip)]
    of_cycle: Cycle,
    #[serde(skip)]
    batch: Bytes,
}

/// What is known of one rule's failures on batches.
#[derive(Debug, Clone, Default, Serialize)]
pub struct FailuresOfRule {
    /// All since the process began.
    pub failures: u64,
    /// The last of them, the newest last.
    pub last: Vec<Failure>,
}

impl Failures {
    /// From now on batches are kept no more, and those that are kept are forgotten.
    pub fn keep_no_batches(&self) {
        self.without_batches.store(true, Ordering::SeqCst);
        *self.lock() = Kept::default();
    }

    /// A rule has failed on a batch, which is as it came to it.
    pub(super) fn add(&self, rule: &str, digest: Digest, cycle: &Cycle, batch: &Batch, fault: &Fault) {
        let bytes = if self.without_batches.load(Ordering::SeqCst) { Bytes::new() } else { bytes_of(cycle, batch) };
        let failure = Failure {
            cycle: cycle.number,
            time: cycle.time,
            of: tame(batch.origin.name(), NAME_BYTES),
            kind: fault.kind(),
            error: tame(&fault.to_string(), TEXT_BYTES),
            digest: digest.to_string(),
            points: batch.points.len() as u64,
            kept: !bytes.is_empty(),
            number: 0,
            of_cycle: *cycle,
            batch: bytes,
        };
        self.lock().add(rule, failure);
    }

    /// What is known of a rule; `None` if it has never failed on a batch.
    #[must_use]
    pub fn of(&self, rule: &str) -> Option<FailuresOfRule> {
        let kept = self.lock();
        let rule = kept.rules.get(rule)?;
        Some(FailuresOfRule { failures: rule.count, last: rule.last.iter().cloned().collect() })
    }

    /// The kept batches of a rule in the order of their failures, as a recording. `None` if none is kept.
    #[must_use]
    pub fn recording(&self, rule: &str) -> Option<Vec<Bytes>> {
        let last = self.of(rule)?.last;
        let kept: Vec<&Failure> = last.iter().filter(|failure| failure.kept).collect();
        if kept.is_empty() {
            return None;
        }
        let mut parts = vec![Bytes::from_static(wire::HEADER)];
        for (at, failure) in kept.iter().enumerate() {
            parts.push(failure.batch.clone());
            if kept.get(at + 1).is_none_or(|next| next.cycle != failure.cycle) {
                let mut end = Vec::new();
                wire::write_end(&mut end, &failure.of_cycle);
                parts.push(end.into());
            }
        }
        Some(parts)
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A batch as a record of its own; nothing if it is larger than what is kept of a whole rule.
fn bytes_of(cycle: &Cycle, batch: &Batch) -> Bytes {
    let size = batch.size_bytes();
    if size > 2 * MAX_RULE_BYTES {
        return Bytes::new();
    }
    let mut out = Vec::with_capacity(size);
    wire::write_batch(&mut out, cycle, batch);
    if out.len() > MAX_RULE_BYTES { Bytes::new() } else { out.into_boxed_slice().into() }
}

impl Kept {
    fn add(&mut self, rule: &str, mut failure: Failure) {
        self.count += 1;
        failure.number = self.count;
        if !self.rules.contains_key(rule) && self.rules.len() >= MAX_RULES {
            self.forget_a_rule();
        }
        let of_rule = self.rules.entry(rule.to_owned()).or_default();
        let bytes = failure.batch.len();
        of_rule.count += 1;
        of_rule.bytes += bytes;
        of_rule.last.push_back(failure);
        self.bytes += bytes;
        while of_rule.last.len() > MAX_FAILURES || of_rule.bytes > MAX_RULE_BYTES {
            self.bytes -= of_rule.drop_oldest();
        }
        while self.bytes > MAX_BYTES
            && let Some(oldest) = self.rules.values_mut().min_by_key(|rule| rule.oldest())
        {
            self.bytes -= oldest.drop_oldest();
        }
    }

    /// The one that has not failed for longest.
    fn forget_a_rule(&mut self) {
        let newest = |rule: &OfRule| rule.last.back().map(|failure| failure.number);
        if let Some(name) = self.rules.iter().min_by_key(|(_, rule)| newest(rule)).map(|(name, _)| name.clone())
            && let Some(gone) = self.rules.remove(&name)
        {
            self.bytes -= gone.bytes;
        }
    }
}

impl OfRule {
    fn oldest(&self) -> u64 {
        self.last.front().map_or(u64::MAX, |failure| failure.number)
    }

    /// Drops the oldest failure; the bytes that it had.
    fn drop_oldest(&mut self) -> usize {
        let bytes = self.last.pop_front().map_or(0, |failure| failure.batch.len());
        self.bytes -= bytes;
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::wire::{Decoder, Record};
    use crate::batch::{BatchBuilder, Descriptor, Level, Origin};

    fn cycle(number: u64) -> Cycle {
        Cycle { number, time: 0, window: 0, nodes_asked: 1, nodes_answered: 1 }
    }

    fn batch(node: &str, points: u64) -> Batch {
        let mut builder = BatchBuilder::new(Origin::Node(node.to_owned()), 0);
        let metric = builder.metric(Descriptor::gauge("m", ""));
        builder.entity(Level::Node, 0);
        (0..points).for_each(|value| builder.point(metric, 0, 0, value));
        builder.build()
    }

    fn fail(failures: &Failures, rule: &str, number: u64, batch: &Batch) {
        let fault = Fault::Refused(format!("no {number}"));
        failures.add(rule, Digest::of(b"rule"), &cycle(number), batch, &fault);
    }

    /// What a recording has, a word a record.
    fn words(failures: &Failures, rule: &str) -> String {
        let mut decoder = Decoder::default();
        failures.recording(rule).unwrap_or_default().iter().for_each(|part| decoder.push(part));
        let mut words = Vec::new();
        while let Some(record) = decoder.next_record().unwrap() {
            words.push(match record {
                Record::Batch(cycle, batch) => format!("{}@{}", batch.origin.name(), cycle.number),
                Record::End(cycle) => format!("end@{}", cycle.number),
                Record::Lost(_) => "lost".to_owned(),
            });
        }
        decoder.end().unwrap();
        words.join(" ")
    }

    #[test]
    fn the_last_eight_are_kept_as_a_recording() {
        let failures = Failures::default();
        assert!(failures.of("drop").is_none() && failures.recording("drop").is_none());
        for number in 1..=5 {
            fail(&failures, "drop", number, &batch("a", 1));
            fail(&failures, "drop", number, &batch("b", 2));
        }
        let of = failures.of("drop").unwrap();
        assert_eq!((of.failures, of.last.len()), (10, MAX_FAILURES));
        let last = &of.last[7];
        assert_eq!((last.cycle, last.of.as_str(), last.points, last.kept), (5, "b", 2, true));
        assert_eq!((last.kind, last.error.as_str()), (FaultKind::Refused, "refuses the batch: no 5"));
        let want = "a@2 b@2 end@2 a@3 b@3 end@3 a@4 b@4 end@4 a@5 b@5 end@5";
        assert_eq!(words(&failures, "drop"), want);
        assert!(failures.of("other").is_none());
    }

    #[test]
    fn bytes_are_bounded_and_the_oldest_goes_first() {
        let failures = Failures::default();
        // About 3 MB each: two have room.
        let large = batch("a", 150_000);
        for number in 1..=4 {
            fail(&failures, "drop", number, &large);
        }
        assert_eq!(words(&failures, "drop"), "a@3 end@3 a@4 end@4");
        // One that has no room alone is told of, and not kept.
        fail(&failures, "drop", 5, &batch("b", 1 << 20));
        let of = failures.of("drop").unwrap();
        assert_eq!((of.failures, of.last.len(), of.last[2].kept), (5, 3, false));

        for rule in 0..20 {
            (1..=2).for_each(|number| fail(&failures, &format!("rule-{rule}"), number, &large));
        }
        let kept = failures.lock();
        assert!(kept.bytes <= MAX_BYTES && kept.bytes > MAX_BYTES / 2, "{}", kept.bytes);
        assert_eq!(kept.bytes, kept.rules.values().map(|rule| rule.bytes).sum::<usize>());
        assert!(kept.rules["drop"].last.is_empty() && kept.rules["rule-19"].last.len() == 2);
    }

    #[test]
    fn names_are_bounded_too() {
        let failures = Failures::default();
        (0..1000).for_each(|rule| fail(&failures, &format!("rule-{rule}"), rule, &batch("a", 1)));
        assert_eq!(failures.lock().rules.len(), MAX_RULES);
        assert!(failures.of("rule-999").is_some() && failures.of("rule-0").is_none());
    }

    #[test]
    fn without_batches_failures_are_told_all_the_same() {
        let failures = Failures::default();
        failures.keep_no_batches();
        fail(&failures, "drop", 1, &batch("a", 1));
        assert!(!failures.of("drop").unwrap().last[0].kept);
        assert!(failures.recording("drop").is_none());
        assert_eq!(failures.lock().bytes, 0);
    }
}
