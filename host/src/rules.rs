//! The rule runtime: loads rules from directories, compiles them, and runs every batch through them.
//!
//! A rule is a guest that may be hostile. It gets memory, time, log lines and an answer's size by
//! the measure of its [`Limits`], and nothing else; whatever it does is one of the [`Fault`]s and
//! costs no more than its own effect on one batch. What an edit may say is checked by
//! [`crate::batch::apply`], not here; where batches come from and go to is `app`'s.

pub mod anatomy;
mod bindings;
mod breaker;
pub mod candidate;
pub mod case;
pub mod chain;
mod clock;
pub mod component;
pub mod desk;
pub mod directory;
pub mod effect;
pub mod engine;
pub mod failures;
pub mod fault;
pub mod host;
mod inspect;
pub mod instance;
pub mod limits;
pub mod manifest;
pub mod rule;
pub mod shadow;
pub mod stats;
pub mod trial;
pub mod watch;

pub use anatomy::Anatomy;
pub use candidate::Candidate;
pub use case::Case;
pub use chain::Chain;
pub use component::{CompiledRule, Digest, LoadError};
pub use desk::Desk;
pub use directory::{RuleFile, RuleSet, RuleSources};
pub use engine::RuleEngine;
pub use failures::Failures;
pub use fault::{Call, Fault, FaultKind};
pub use instance::{Description, Instance};
pub use limits::Limits;
pub use manifest::{Manifest, OnError};
pub use rule::{Rule, Version};
pub use shadow::ShadowStatus;
pub use stats::{Durations, RuleState, RuleStats, RuleStatus};
pub use trial::Verdict;
pub use watch::Watch;

pub(crate) use crate::text::tame;

/// The version of the package `millrace:rule` that this host runs.
pub const INTERFACE_VERSION: &str = "0.1.0";

/// Something that keeps a rule set from being used. All of a set's problems are reported at once.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {what}")]
pub struct Problem {
    /// The file or directory it is about.
    pub place: String,
    /// What is wrong, with the remedy.
    pub what: String,
}

impl Problem {
    pub(crate) fn new(place: impl std::fmt::Display, what: impl std::fmt::Display) -> Self {
        Self { place: place.to_string(), what: what.to_string() }
    }
}
