//! A rule that runs beside the chain: it is shown what the chain has at its place, its answers are
//! checked, carried out on a copy, compared, counted, and forgotten. Nothing it does reaches a
//! batch, a total or another rule.

use std::hash::RandomState;
use std::panic::{AssertUnwindSafe, catch_unwind};

use serde::Serialize;

use super::effect::{Effect, EffectReport, Sides, fingerprint};
use super::rule::Rule;
use super::stats::RuleStatus;
use crate::batch::{Batch, BatchBounds, Cycle, TypeRegistry};

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
    /// What it made of the batch at hand, until the running version has done with it, too.
    answer: Option<u64>,
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
            answer: None,
            compared: Sides::default(),
            batches: 0,
            different: 0,
            compared_any: false,
            broke: false,
        }
    }

    /// A cycle begins: names that the chain has learned meanwhile are known here, too.
    pub(super) fn begin(&mut self, cycle: &Cycle, types: &TypeRegistry) {
        self.since.get_or_insert(cycle.number);
        self.types = types.clone();
    }

    /// Why it must not take over, if there is a reason.
    pub(super) fn failure(&self) -> Option<String> {
        let fault = self.rule.last_fault().map(|fault| format!("{}: {}", fault.kind.as_str(), fault.text));
        self.broke.then(|| "a call of it ended in a defect of the host".to_owned()).or(fault)
    }

    /// Shows it a batch on the way into its place.
    pub(super) fn see(&mut self, cycle: &Cycle, batch: &Batch, bounds: &BatchBounds) {
        let copy = batch.clone();
        let answer = self.guarded(|rule, types| rule.process(cycle, copy, bounds, types));
        self.note(Some(batch), answer.as_ref());
    }

    /// Ends a cycle for it; what it would add goes nowhere.
    pub(super) fn finish(&mut self, cycle: &Cycle) {
        let totals = self.guarded(|rule, types| rule.finish(cycle, types));
        if totals.is_some() {
            self.note(None, totals.as_ref());
        } else {
            self.answer = Some(0);
        }
        self.rule.end_cycle(cycle);
        self.cycles += 1;
        if let Some(effect) = &mut self.effect {
            self.last = Some(std::mem::take(effect).report(cycle.number));
        }
    }

    /// A defect of ours must cost the shadow, not the batch beside it.
    fn guarded(&mut self, work: impl FnOnce(&mut Rule, &TypeRegistry) -> Option<Batch>) -> Option<Batch> {
        let (rule, types) = (&mut self.rule, &self.types);
        let done = catch_unwind(AssertUnwindSafe(|| work(rule, types)));
        self.broke |= done.is_err();
        done.unwrap_or_default()
    }

    fn note(&mut self, before: Option<&Batch>, after: Option<&Batch>) {
        if let Some(effect) = &mut self.effect {
            effect.see(before, after);
        }
        self.answer = Some(fingerprint(&self.hasher, after));
        self.compared.after += after.map_or(0, |batch| batch.points.len() as u64);
    }

    /// What the running version of the rule made of the same batch, or of the same cycle's end.
    pub(super) fn compare(&mut self, theirs: Option<&Batch>) {
        self.compared_any = true;
        let answer = self.answer.take().unwrap_or_default();
        if answer == 0 && theirs.is_none() {
            return;
        }
        self.batches += 1;
        self.compared.before += theirs.map_or(0, |batch| batch.points.len() as u64);
        self.different += u64::from(answer != fingerprint(&self.hasher, theirs));
    }

    /// A snapshot for pages.
    pub(super) fn status(&self, compared_with: Option<String>) -> ShadowStatus {
        ShadowStatus {
            rule: self.rule.status(),
            since_cycle: self.since,
            cycles: self.cycles,
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
