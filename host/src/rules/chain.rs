//! The rules in their order. One batch at a time goes through all of them.

use std::sync::Arc;

use super::Problem;
use super::directory::RuleSet;
use super::engine::RuleEngine;
use super::rule::Rule;
use super::stats::RuleStatus;
use crate::batch::{Batch, Cycle, TypeRegistry};

/// The rules in file-name order, each with its instance and state.
#[derive(Debug)]
pub struct Chain {
    rules: Vec<Rule>,
    types: Arc<TypeRegistry>,
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
        if problems.is_empty() { Ok(Self { rules, types }) } else { Err(problems) }
    }

    /// Runs a batch through every rule. None if a rule that failed held it back; the rule's
    /// status counts its points then.
    pub fn process(&mut self, cycle: &Cycle, batch: Batch) -> Option<Batch> {
        self.process_from(0, cycle, batch)
    }

    /// Ends a cycle: what each rule's `finish` makes goes through the rules after it, and to `emit`.
    pub fn finish(&mut self, cycle: &Cycle, emit: &mut dyn FnMut(Batch)) {
        for at in 0..self.rules.len() {
            if let Some(totals) = self.rules[at].finish(cycle, &self.types)
                && let Some(totals) = self.process_from(at + 1, cycle, totals)
            {
                emit(totals);
            }
        }
        self.rules.iter_mut().for_each(|rule| rule.end_cycle(cycle));
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

    fn process_from(&mut self, first: usize, cycle: &Cycle, batch: Batch) -> Option<Batch> {
        self.rules[first..].iter_mut().try_fold(batch, |batch, rule| rule.process(cycle, batch, &self.types))
    }
}
