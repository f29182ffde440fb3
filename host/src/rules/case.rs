//! Cases: what a rule is given and what must come out, as one TOML file each, and running them on
//! the runtime that clusters run. Reads no files; `millrace rule test` does.

mod bless;
mod raw;
mod run;

use std::time::Duration;

use serde_json::{Map, Value};

use crate::batch::Cycle;
use crate::batch::rows::{Descriptors, Detail, Row};

pub use bless::{NotBlessed, bless};
pub use run::{Found, Outcome, Problem, What, run};

/// 2026-01-01T00:00:00Z: cycle `n` is so many windows after it.
const EPOCH: i64 = 1_767_225_600_000_000_000;
/// Cycles of one case.
const MAX_CYCLES: usize = 10_000;
/// Largest file of a case, bytes.
pub const MAX_CASE_BYTES: usize = 16 << 20;

/// One case, checked.
#[derive(Debug, Clone, PartialEq)]
pub struct Case {
    /// What it shows; may be empty.
    pub description: String,
    /// For the rule's `configure`.
    pub settings: Map<String, Value>,
    /// `configure` must refuse, with a reason that contains this.
    pub refused: Option<String>,
    /// Descriptors of metrics that are no integer gauges.
    pub metrics: Descriptors,
    /// In order.
    pub cycles: Vec<CaseCycle>,
    /// Which times its rows name, and so which are shown.
    pub detail: Detail,
}

/// One cycle of a case.
#[derive(Debug, Clone, PartialEq)]
pub struct CaseCycle {
    /// Its number, from 1.
    pub number: u64,
    /// Its length.
    pub window: Duration,
    /// What the nodes gave.
    pub batches: Vec<CaseBatch>,
    /// What `finish` must add, or how it must fail.
    pub finish: Wanted,
}

/// One node's batch.
#[derive(Debug, Clone, PartialEq)]
pub struct CaseBatch {
    /// The node.
    pub node: String,
    /// What it gave.
    pub rows: Vec<Row>,
    /// What must come out; `None` where the case says nothing, which fails.
    pub want: Option<Wanted>,
}

/// What must come of a call.
#[derive(Debug, Clone, PartialEq)]
pub enum Wanted {
    /// These rows, in any order.
    Rows(Vec<Row>),
    /// A failure whose text contains this.
    Error(String),
}

impl Case {
    /// Reads a case.
    ///
    /// # Errors
    /// One text a problem, with the key or line and the remedy.
    pub fn read(text: &str) -> Result<Self, Vec<String>> {
        if text.len() > MAX_CASE_BYTES {
            return Err(vec![format!("is larger than {} MiB; split it", MAX_CASE_BYTES >> 20)]);
        }
        raw::RawCase::read(text)?.check(text)
    }
}

impl CaseCycle {
    /// The cycle as the host would announce it; `answered` only where it is known, in `finish`.
    #[must_use]
    pub fn cycle(&self, answered: bool) -> Cycle {
        let window = i64::try_from(self.window.as_nanos()).unwrap_or(i64::MAX);
        let number = i64::try_from(self.number).unwrap_or(i64::MAX);
        let nodes = u32::try_from(self.batches.len()).unwrap_or(u32::MAX);
        Cycle {
            number: self.number,
            time: EPOCH.saturating_add(number.saturating_mul(window)),
            window,
            nodes_asked: nodes,
            nodes_answered: if answered { nodes } else { 0 },
        }
    }
}

#[cfg(test)]
mod tests;
