//! A new set of rules in its shadow cycle: its new rules run beside the chain for one whole cycle, and
//! take over with warm state unless one of them fails.

use super::Problem;
use super::candidate::{Candidate, Entry};
use super::rule::{Rule, Version};
use super::shadow::Shadow;
use crate::batch::{Batch, TypeRegistry};

/// What became of a candidate.
#[derive(Debug, Clone)]
pub enum Verdict {
    /// It is the chain from the cycle after this one on.
    TookOver {
        /// Number of its shadow cycle, or of the cycle before which it took over.
        cycle: u64,
        /// What the rules are made of now.
        versions: Vec<Version>,
        /// What its new rules made of the batches, compared with the rules in whose place they are.
        differences: Vec<String>,
    },
    /// It made room for a newer one, before each of its rules had been shown a batch.
    Overtaken,
    /// One of its rules failed; the chain is as it was.
    Refused {
        /// Number of the cycle.
        cycle: u64,
        /// Which rule, and how.
        problem: Problem,
    },
}

/// A new set of rules in its shadow cycle.
#[derive(Debug)]
pub(super) struct Trial {
    /// New rules of the chain, in order.
    pub(super) rules: Vec<Shadow>,
    /// Where they belong; `None` is one of them.
    chain: Vec<Option<Entry>>,
    /// Rules that are to stand beside the chain.
    shadows: Vec<Entry>,
}

impl Trial {
    /// Puts the candidate's new rules beside those that run.
    pub(super) fn new(candidate: Candidate, running: &[Rule], types: &TypeRegistry) -> Self {
        let mut rules = Vec::new();
        let chain = candidate.chain.into_iter().map(|entry| match entry {
            Entry::New(rule) => {
                let at = running.partition_point(|other| other.slot() < rule.slot());
                rules.push(Shadow::new(*rule, at, types, false));
                None
            }
            kept @ Entry::Keep(_) => Some(kept),
        });
        let chain = chain.collect();
        Self { rules, chain, shadows: candidate.shadows }
    }

    /// Visits the new rules at this place, until one has failed.
    pub(super) fn visit(&mut self, at: usize, mut visit: impl FnMut(&mut Shadow)) {
        if self.failure().is_none() {
            self.rules.iter_mut().filter(|shadow| shadow.at == at).for_each(&mut visit);
        }
    }

    /// What the new version of this rule, in this place, made of the batch at hand.
    pub(super) fn take_made(&mut self, at: usize, slot: &str) -> Option<Batch> {
        self.rules.iter_mut().find(|shadow| shadow.at == at && shadow.rule.slot() == slot)?.take_made()
    }

    /// Whether each of its rules has been shown a batch of a node.
    pub(super) fn is_tested(&self) -> bool {
        self.rules.iter().all(Shadow::is_tested)
    }

    /// The first failure of one of its rules.
    pub(super) fn failure(&self) -> Option<Problem> {
        self.rules.iter().find_map(|shadow| {
            let why = shadow.failure()?;
            Some(Problem::new(shadow.rule.path().display(), format!("failed in its shadow cycle: {why}")))
        })
    }

    /// The candidate again, its rules warm now, and what they did differently.
    pub(super) fn settle(self) -> (Candidate, Vec<String>) {
        let differences = self.rules.iter().map(Shadow::difference).collect();
        let mut rules = self.rules.into_iter().map(|shadow| Entry::New(Box::new(shadow.rule)));
        let chain = self.chain.into_iter().filter_map(|entry| entry.or_else(|| rules.next())).collect();
        (Candidate { chain, shadows: self.shadows }, differences)
    }
}
