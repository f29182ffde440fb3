//! The rules in their order, and those that run beside them. One batch at a time goes through all
//! of them; between two cycles a new set takes the place of the old one.

use std::sync::Arc;
use std::time::Duration;

use tracing::info;

use super::Problem;
use super::candidate::{Candidate, Entry};
use super::directory::RuleSet;
use super::engine::RuleEngine;
use super::rule::{Rule, Version};
use super::shadow::{Shadow, ShadowStatus};
use super::stats::{RuleStats, RuleStatus};
use super::trial::{Trial, Verdict};
use crate::batch::{Batch, BatchBounds, Cycle, TypeRegistry};

/// The rules in file-name order, each with its instance and state.
#[derive(Debug)]
pub struct Chain {
    rules: Vec<Rule>,
    /// Rules that the operator wants to see beside the chain.
    shadows: Vec<Shadow>,
    /// Rules that are to take over after this cycle.
    trial: Option<Trial>,
    types: Arc<TypeRegistry>,
    /// What rules did that are no longer there.
    former: RuleStats,
    /// Points of the batch that a rule works on.
    in_hand: u64,
}

impl Chain {
    /// Compiles and configures every rule of a set.
    ///
    /// # Errors
    /// Every [`Problem`] of every rule.
    pub fn start(engine: &RuleEngine, set: &RuleSet, types: Arc<TypeRegistry>) -> Result<Self, Vec<Problem>> {
        let (rules, shadows, former) = (Vec::new(), Vec::new(), RuleStats::default());
        let mut chain = Self { rules, shadows, trial: None, types, former, in_hand: 0 };
        if let Some(candidate) = Candidate::prepare(engine, set, &[], &[])? {
            chain.rearrange(candidate);
        }
        Ok(chain)
    }

    /// Runs a batch through every rule. None if a rule that failed held it back; the rule's
    /// status counts its points then.
    pub fn process(&mut self, cycle: &Cycle, batch: Batch) -> Option<Batch> {
        let bounds = BatchBounds::growing_from(&batch);
        self.process_from(0, cycle, batch, &bounds)
    }

    /// Ends a cycle: what each rule's `finish` makes goes through the rules after it, and to `emit`.
    pub fn finish(&mut self, cycle: &Cycle, emit: &mut dyn FnMut(Batch)) {
        for at in 0..=self.rules.len() {
            self.beside(at, |shadow| shadow.finish(cycle));
            let Some(rule) = self.rules.get_mut(at) else { break };
            let totals = rule.finish(cycle, &self.types);
            self.compare(at, totals.as_ref());
            if let Some(totals) = totals
                && let Some(totals) = self.process_from(at + 1, cycle, totals, &BatchBounds::totals())
            {
                emit(totals);
            }
        }
        self.rules.iter_mut().for_each(|rule| rule.end_cycle(cycle));
    }

    /// A cycle begins. If no set of rules is being tried, `next` says whether there is one to be tried; one
    /// without a new rule takes over at once.
    pub fn begin(&mut self, cycle: &Cycle, next: impl FnOnce() -> Option<Candidate>) -> Option<Verdict> {
        let mut verdict = None;
        if self.trial.is_none()
            && let Some(candidate) = next()
        {
            if candidate.needs_trial() {
                self.trial = Some(Trial::new(candidate, &self.rules, &self.types));
            } else {
                self.rearrange(candidate);
                verdict = Some(self.took_over(cycle, Vec::new()));
            }
        }
        let beside = self.shadows.len() + self.trial.as_ref().map_or(0, |trial| trial.rules.len());
        let budget = shadow_time(cycle) / u32::try_from(beside.max(1)).unwrap_or(u32::MAX);
        let trial = self.trial.iter_mut().flat_map(|trial| &mut trial.rules);
        self.shadows.iter_mut().chain(trial).for_each(|shadow| shadow.begin(cycle, &self.types, budget));
        verdict
    }

    /// Between two cycles: what became of the set that is tried, if that is decided. It takes over after a
    /// whole cycle in which each of its rules was shown a batch, and none has failed.
    pub fn decide(&mut self, cycle: &Cycle, newer_waits: bool) -> Option<Verdict> {
        let trial = self.trial.take()?;
        if let Some(problem) = trial.failure() {
            return Some(Verdict::Refused { cycle: cycle.number, problem });
        }
        if !trial.is_tested() {
            // It may be the newer one that mends what keeps batches from this one.
            if newer_waits {
                return Some(Verdict::Overtaken);
            }
            self.trial = Some(trial);
            return None;
        }
        let (candidate, differences) = trial.settle();
        self.rearrange(candidate);
        Some(self.took_over(cycle, differences))
    }

    fn took_over(&self, cycle: &Cycle, differences: Vec<String>) -> Verdict {
        Verdict::TookOver { cycle: cycle.number, versions: self.versions(), differences }
    }

    /// Points of the batch that was lost if a call of this chain panicked, which is a defect of ours.
    pub fn take_lost(&mut self) -> u64 {
        std::mem::take(&mut self.in_hand)
    }

    /// Every rule's state, in order, for pages and metrics.
    #[must_use]
    pub fn status(&self) -> Vec<RuleStatus> {
        self.rules.iter().map(Rule::status).collect()
    }

    /// The rules beside the chain, in order.
    #[must_use]
    pub fn shadows(&self) -> Vec<ShadowStatus> {
        let trial = self.trial.iter().flat_map(|trial| &trial.rules);
        let mut shadows: Vec<ShadowStatus> = self
            .shadows
            .iter()
            .chain(trial)
            .map(|shadow| {
                let rival = self.rules.get(shadow.at).filter(|rule| rule.slot() == shadow.rule.slot());
                shadow.status(rival.map(|rule| rule.name().to_owned()))
            })
            .collect();
        shadows.sort_by(|a, b| a.rule.slot.cmp(&b.rule.slot));
        shadows
    }

    /// What rules did that are no longer there, all together.
    #[must_use]
    pub fn former(&self) -> &RuleStats {
        &self.former
    }

    /// The rules in order.
    #[must_use]
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// What all rules were made of, those in the shadow among them.
    #[must_use]
    pub fn versions(&self) -> Vec<Version> {
        let shadows = self.shadows.iter().map(|shadow| &shadow.rule);
        self.rules.iter().chain(shadows).map(Rule::version).collect()
    }

    /// Every rule has the same `bounds`, those of the batch as it came.
    fn process_from(&mut self, first: usize, cycle: &Cycle, mut batch: Batch, bounds: &BatchBounds) -> Option<Batch> {
        for at in first..self.rules.len() {
            self.in_hand = batch.points.len() as u64;
            self.beside(at, |shadow| shadow.see(cycle, &batch, bounds));
            let done = self.rules[at].process(cycle, batch, bounds, &self.types);
            self.compare(at, done.as_ref());
            let Some(done) = done else {
                self.in_hand = 0;
                self.go_on_beside(at, cycle, bounds);
                return None;
            };
            batch = done;
        }
        let end = self.rules.len();
        self.beside(end, |shadow| shadow.see(cycle, &batch, bounds));
        self.in_hand = 0;
        Some(batch)
    }

    /// A batch that the rule at `held` keeps back goes on to the rules that are tried after it, as the new version
    /// of that rule hands it on: else what mends a halted chain could never be tried together.
    fn go_on_beside(&mut self, held: usize, cycle: &Cycle, bounds: &BatchBounds) {
        let Some(trial) = &mut self.trial else { return };
        let mut batch = trial.take_made(held, self.rules[held].slot());
        for at in held + 1..=self.rules.len() {
            let Some(shown) = &batch else { return };
            trial.visit(at, |shadow| shadow.see(cycle, shown, bounds));
            if let Some(made) = self.rules.get(at).and_then(|rule| trial.take_made(at, rule.slot())) {
                batch = Some(made);
            }
        }
    }

    /// Visits the rules that stand beside the one at `at`. A set that is tried and has failed is not asked again.
    fn beside(&mut self, at: usize, mut visit: impl FnMut(&mut Shadow)) {
        self.shadows.iter_mut().filter(|shadow| shadow.at == at).for_each(&mut visit);
        if let Some(trial) = &mut self.trial {
            trial.visit(at, visit);
        }
    }

    fn compare(&mut self, at: usize, done: Option<&Batch>) {
        let Some(slot) = self.rules.get(at).map(Rule::slot) else { return };
        let trial = self.trial.iter_mut().flat_map(|trial| &mut trial.rules);
        let same = |shadow: &&mut Shadow| shadow.at == at && shadow.rule.slot() == slot;
        self.shadows.iter_mut().chain(trial).filter(same).for_each(|shadow| shadow.compare(done));
    }

    /// Makes the chain what the candidate says, between two cycles.
    fn rearrange(&mut self, candidate: Candidate) {
        let mut old = std::mem::take(&mut self.rules);
        let take = |old: &mut Vec<Rule>, slot: &str| {
            let at = old.iter().position(|rule| rule.slot() == slot)?;
            Some(old.remove(at))
        };
        for entry in candidate.chain {
            let rule = match entry {
                Entry::Keep(slot) => take(&mut old, &slot),
                Entry::New(mut rule) => {
                    rule.take_over(take(&mut old, rule.slot()).as_ref());
                    Some(*rule)
                }
            };
            self.rules.extend(rule);
        }
        for gone in &old {
            info!(rule = gone.name(), "rule has left the chain");
            self.former.add(gone.stats());
        }
        let mut beside = std::mem::take(&mut self.shadows);
        for entry in candidate.shadows {
            let shadow = match entry {
                Entry::Keep(slot) => beside.iter().position(|it| it.rule.slot() == slot).map(|at| beside.remove(at)),
                Entry::New(rule) => {
                    info!(rule = rule.name(), "rule runs beside the chain from now on, without any effect");
                    Some(Shadow::new(*rule, 0, &self.types, true))
                }
            };
            self.shadows.extend(shadow);
        }
        for shadow in &mut self.shadows {
            shadow.at = self.rules.partition_point(|rule| rule.slot() < shadow.rule.slot());
        }
    }
}

/// How long the chain may wait in one cycle for the rules beside it: a quarter of the resolution.
fn shadow_time(cycle: &Cycle) -> Duration {
    const SHORTEST: Duration = Duration::from_millis(250);
    Duration::from_nanos(u64::try_from(cycle.window / 4).unwrap_or(0)).max(SHORTEST)
}
