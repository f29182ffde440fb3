//! The rules in their order. One batch at a time goes through all of them.

use std::sync::Arc;

use super::Problem;
use super::directory::RuleSet;
use super::engine::RuleEngine;
use super::rule::Rule;
use super::stats::RuleStatus;
use crate::batch::{Batch, BatchBounds, Cycle, TypeRegistry};

/// The rules in file-name order, each with its instance and state.
#[derive(Debug)]
pub struct Chain {
    rules: Vec<Rule>,
    types: Arc<TypeRegistry>,
    /// Points of the batch that a rule works on.
    in_hand: u64,
}

impl Chain {
    /// Compiles and configures every rule of a set.
    ///
    /// # Errors
    /// Every [`Problem`] of every rule.
    pub fn start(engine: &RuleEngine, set: &RuleSet, types: Arc<TypeRegistry>) -> Result<Self, Vec<Problem>> {
        let (mut rules, mut problems) = (Vec::new(), Vec::new());
        for file in &set.files {
            match Rule::start(engine, file) {
                Ok(rule) => rules.push(rule),
                Err(problem) => problems.push(problem),
            }
        }
        if problems.is_empty() { Ok(Self { rules, types, in_hand: 0 }) } else { Err(problems) }
    }

    /// Runs a batch through every rule. None if a rule that failed held it back; the rule's
    /// status counts its points then.
    pub fn process(&mut self, cycle: &Cycle, batch: Batch) -> Option<Batch> {
        let bounds = BatchBounds::growing_from(&batch);
        self.process_from(0, cycle, batch, &bounds)
    }

    /// Ends a cycle: what each rule's `finish` makes goes through the rules after it, and to `emit`.
    pub fn finish(&mut self, cycle: &Cycle, emit: &mut dyn FnMut(Batch)) {
        for at in 0..self.rules.len() {
            if let Some(totals) = self.rules[at].finish(cycle, &self.types)
                && let Some(totals) = self.process_from(at + 1, cycle, totals, &BatchBounds::totals())
            {
                emit(totals);
            }
        }
        self.rules.iter_mut().for_each(|rule| rule.end_cycle(cycle));
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

    /// The rules in order.
    #[must_use]
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// Every rule has the same `bounds`, those of the batch as it came.
    fn process_from(&mut self, first: usize, cycle: &Cycle, batch: Batch, bounds: &BatchBounds) -> Option<Batch> {
        let Self { rules, types, in_hand } = self;
        let done = rules[first..].iter_mut().try_fold(batch, |batch, rule| {
            *in_hand = batch.points.len() as u64;
            rule.process(cycle, batch, bounds, types)
        });
        *in_hand = 0;
        done
    }
}
