//! A chain to be: what a changed set of rules makes of the running chain. Prepared off the chain's
//! thread, since compiling takes long; carried out by [`super::Chain`], between two cycles.

use super::Problem;
use super::component::Digest;
use super::directory::{RuleFile, RuleSet};
use super::engine::RuleEngine;
use super::rule::{Rule, Version};

/// What stands in one place of the chain to be.
#[derive(Debug)]
pub(super) enum Entry {
    /// The running rule in this slot.
    Keep(String),
    /// A new one.
    New(Box<Rule>),
}

/// A chain to be.
#[derive(Debug)]
pub struct Candidate {
    /// The rules in file-name order.
    pub(super) chain: Vec<Entry>,
    /// Rules whose settings say `shadow = true`.
    pub(super) shadows: Vec<Entry>,
}

impl Candidate {
    /// What becomes of the chain made of `running` if it is to be `set`. Compiles and configures what is new;
    /// rules in slots named in `renew` are started anew even if nothing of them has changed. `None` if everything stays
    /// as it is.
    ///
    /// # Errors
    /// Every [`Problem`] of every rule.
    pub fn prepare(
        engine: &RuleEngine,
        set: &RuleSet,
        running: &[Version],
        renew: &[String],
    ) -> Result<Option<Self>, Vec<Problem>> {
        let (mut chain, mut shadows, mut problems) = (Vec::new(), Vec::new(), Vec::new());
        for file in &set.files {
            match entry(engine, file, running, renew) {
                Ok(entry) if file.manifest.shadow => shadows.push(entry),
                Ok(entry) => chain.push(entry),
                Err(problem) => problems.push(problem),
            }
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        let kept = |entry: &Entry| matches!(entry, Entry::Keep(_));
        let unchanged = set.files.len() == running.len() && chain.iter().chain(&shadows).all(kept);
        Ok((!unchanged).then_some(Self { chain, shadows }))
    }

    /// Names of the rules that are new in the chain, or changed.
    #[must_use]
    pub fn changed(&self) -> Vec<String> {
        let name = |entry: &Entry| match entry {
            Entry::Keep(_) => None,
            Entry::New(rule) => Some(rule.name().to_owned()),
        };
        self.chain.iter().chain(&self.shadows).filter_map(name).collect()
    }

    /// Whether a new rule must be tried before it takes its place.
    pub(super) fn needs_trial(&self) -> bool {
        self.chain.iter().any(|entry| matches!(entry, Entry::New(_)))
    }
}

fn entry(engine: &RuleEngine, file: &RuleFile, running: &[Version], renew: &[String]) -> Result<Entry, Problem> {
    let digest = Digest::of(&file.bytes);
    let same = running.iter().any(|version| version.is_of(file, digest));
    if same && !renew.contains(&file.slot) {
        return Ok(Entry::Keep(file.slot.clone()));
    }
    let compiled = running.iter().map(|version| &version.compiled).find(|compiled| compiled.digest() == digest);
    let rule = match compiled {
        Some(compiled) => Rule::with(compiled.clone(), file)?,
        None => Rule::start(engine, file)?,
    };
    Ok(Entry::New(Box::new(rule)))
}
