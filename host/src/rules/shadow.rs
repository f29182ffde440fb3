//! A rule that runs beside the chain: it is shown what the chain has at its place, its answers are
//! checked, carried out on a copy, compared, counted, and forgotten. Nothing it does reaches a
//! batch, a total or another rule.

use std::hash::RandomState;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use serde::Serialize;

use super::effect::{Effect, EffectReport, Sides, fingerprint};
use super::rule::Rule;
use super::stats::RuleStatus;
use crate::batch::{Batch, BatchBounds, Cycle, Origin, TypeRegistry};

/// A rule beside the chain.
pub(super) struct Shadow {
    pub(super) rule: Rule,
    /// It sees what the rule of this place gets; the number of rules: what goes out.
    pub(super) at: usize,
    /// The metrics' types as they would be if its answers counted.
    types: TypeRegistry,
    hasher: RandomState,
    /// The first whole cycle that it has seen from its beginning.
    since: Option<u64>,
    cycles: u64,
    /// Counted in detail where the operator asked for a shadow; a trial is only compared.
    effect: Option<Effect>,
    last: Option<EffectReport>,
    /// What it made of the batch at hand.
    made: Option<Batch>,
    /// Batches of nodes that it was shown.
    seen: u64,
    /// Time that its calls may take in all in this cycle, and what is left of it.
    budget: Duration,
    left: Duration,
    /// Batches that it was not shown, since its time was over.
    left_out: u64,
    /// Batches that the running version of the rule was asked about, too; those of which it made
    /// something else.
    compared: Sides,
    batches: u64,
    different: u64,
    compared_any: bool,
    /// A call of it ended in a defect of ours.
    broke: bool,
}

/// A rule beside the chain, as pages show it.
#[derive(Debug, Clone, Serialize)]
pub struct ShadowStatus {
    /// The rule. Its counters are of the shadow alone: nothing of it was done.
    #[serde(flatten)]
    pub rule: RuleStatus,
    /// Name of the running rule that is compared with it: the one in the same slot.
    pub compared_with: Option<String>,
    /// Number of the first cycle that it saw.
    pub since_cycle: Option<u64>,
    /// Whole cycles that it saw.
    pub cycles: u64,
    /// Batches that it was not shown, since its calls had taken the time that shadows may take in a cycle.
    pub batches_left_out_for_time: u64,
    /// Batches that both were asked about.
    pub batches_compared: u64,
    /// Those of which the running rule made something else.
    pub batches_different: u64,
    /// Points of these batches, as the running rule handed them on (before) and as this one would (after).
    pub points_compared: Sides,
    /// What it would have made of the last whole cycle.
    pub last_cycle: Option<EffectReport>,
}

impl Shadow {
    /// A rule whose place among the running ones is `at`. With `detailed` its effect is counted by
    /// metric and label.
    pub(super) fn new(mut rule: Rule, at: usize, types: &TypeRegistry, detailed: bool) -> Self {
        rule.step_aside();
        Self {
            rule,
            at,
            types: types.clone(),
            hasher: RandomState::new(),
            since: None,
            cycles: 0,
            effect: detailed.then(Effect::default),
            last: None,
            made: None,
            seen: 0,
            budget: Duration::ZERO,
            left: Duration::ZERO,
            left_out: 0,
            compared: Sides::default(),
            batches: 0,
            different: 0,
            compared_any: false,
            broke: false,
        }
    }

    /// A cycle begins, in which its calls may take this long: the chain waits meanwhile. Names that the chain has
    /// learned are known here, too.
    pub(super) fn begin(&mut self, cycle: &Cycle, types: &TypeRegistry, budget: Duration) {
        self.since.get_or_insert(cycle.number);
        (self.budget, self.left) = (budget, budget);
        self.types = types.clone();
    }

    /// Why it must not take over, if there is a reason.
    pub(super) fn failure(&self) -> Option<String> {
        let fault = self.rule.last_fault().map(|fault| format!("{}: {}", fault.kind.as_str(), fault.text));
        let slow = self.left_out > 0 || (self.since.is_some() && self.left.is_zero());
        let slow = slow.then(|| {
            let most = self.budget.as_millis();
            format!("its calls took more than {most} ms, the share of the resolution that they may take")
        });
        self.broke.then(|| "a call of it ended in a defect of the host".to_owned()).or(fault).or(slow)
    }

    /// Whether it has been shown a batch of a node.
    pub(super) fn is_tested(&self) -> bool {
        self.seen > 0
    }

    /// Shows it a batch on the way into its place.
    pub(super) fn see(&mut self, cycle: &Cycle, batch: &Batch, bounds: &BatchBounds) {
        if self.left.is_zero() {
            self.left_out += 1;
            self.made = None;
            return;
        }
        self.seen += u64::from(matches!(batch.origin, Origin::Node(_)));
        let copy = batch.clone();
        let made = self.guarded(|rule, types| rule.process(cycle, copy, bounds, types));
        self.note(Some(batch), made);
    }

    /// Ends a cycle for it; what it would add goes nowhere.
    pub(super) fn finish(&mut self, cycle: &Cycle) {
        self.made = None;
        let totals = self.guarded(|rule, types| rule.finish(cycle, types));
        if totals.is_some() {
            self.note(None, totals);
        }
        self.rule.end_cycle(cycle);
        self.cycles += 1;
        if let Some(effect) = &mut self.effect {
            self.last = Some(std::mem::take(effect).report(cycle.number));
        }
    }

    /// A defect of ours must cost the shadow, not the batch beside it. Its time is counted.
    fn guarded(&mut self, work: impl FnOnce(&mut Rule, &TypeRegistry) -> Option<Batch>) -> Option<Batch> {
        let started = Instant::now();
        let (rule, types) = (&mut self.rule, &self.types);
        let done = catch_unwind(AssertUnwindSafe(|| work(rule, types)));
        self.broke |= done.is_err();
        self.left = self.left.saturating_sub(started.elapsed());
        done.unwrap_or_default()
    }

    fn note(&mut self, before: Option<&Batch>, made: Option<Batch>) {
        if let Some(effect) = &mut self.effect {
            effect.see(before, made.as_ref());
        }
        self.compared.after += made.as_ref().map_or(0, |batch| batch.points.len() as u64);
        self.made = made;
    }

    /// What it made of the batch at hand.
    pub(super) fn take_made(&mut self) -> Option<Batch> {
        self.made.take()
    }

    /// What the running version of the rule made of the same batch, or of the same cycle's end.
    pub(super) fn compare(&mut self, theirs: Option<&Batch>) {
        self.compared_any = true;
        if self.made.is_none() && theirs.is_none() {
            return;
        }
        let ours = fingerprint(&self.hasher, self.made.as_ref());
        self.batches += 1;
        self.compared.before += theirs.map_or(0, |batch| batch.points.len() as u64);
        self.different += u64::from(ours != fingerprint(&self.hasher, theirs));
    }

    /// A snapshot for pages.
    pub(super) fn status(&self, compared_with: Option<String>) -> ShadowStatus {
        ShadowStatus {
            rule: self.rule.status(),
            since_cycle: self.since,
            cycles: self.cycles,
            batches_left_out_for_time: self.left_out,
            batches_compared: if compared_with.is_some() { self.batches } else { 0 },
            batches_different: if compared_with.is_some() { self.different } else { 0 },
            points_compared: if compared_with.is_some() { self.compared } else { Sides::default() },
            compared_with,
            last_cycle: self.last.clone(),
        }
    }

    /// What it made of the batches, in words.
    pub(super) fn difference(&self) -> String {
        let (stats, name) = (self.rule.stats(), self.rule.name());
        let Sides { before, after } = self.compared;
        if self.compared_any {
            let (all, other) = (self.batches, self.different);
            return format!(
                "{name}: {other} of {all} batches different, {after} points where the old one has {before}"
            );
        }
        let (points, dropped, added, relabelled) =
            (stats.points_in, stats.points_dropped, stats.points_added, stats.relabelled);
        format!("{name}: of {points} points {dropped} dropped, {added} added, {relabelled} labels changed")
    }
}

impl std::fmt::Debug for Shadow {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shadow").field("rule", &self.rule).field("at", &self.at).finish_non_exhaustive()
    }
}
