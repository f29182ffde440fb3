//! The figures of a measurement: as a table, as JSON, and beside those of another one.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::super::console::{Console, Paint};
use super::{change, memory, time};

/// Times differ by so many per cent from run to run without a reason.
const NOISE: f64 = 10.0;
/// Instructions do not, but for hash seeds and the like.
const EXACT: f64 = 0.5;

/// What was measured of a rule.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct Figures {
    /// The rule's file.
    pub file: String,
    /// Its digest.
    pub digest: String,
    /// One for each input.
    pub inputs: Vec<Measured>,
}

/// What was measured on one input.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct Measured {
    /// `facts` or `after heapster`.
    pub name: String,
    /// What it was measured on.
    pub about: String,
    /// On average.
    pub points_a_batch: usize,
    /// Of one pass.
    pub batches: usize,
    /// Calls of `process` that were measured.
    pub samples: usize,
    /// `process`, with crossing over and back.
    pub ns_a_point: Spread,
    /// The same for a whole batch.
    pub ns_a_batch: Spread,
    /// The host's part: checking and carrying out the edit.
    pub apply_ns_a_point: Spread,
    /// `finish`, once a cycle.
    pub ns_a_finish: Spread,
    /// Wasm instructions, `finish` among them.
    pub instructions_a_point: f64,
    /// The most memory that an instance held.
    pub memory_bytes: u64,
}

/// Where the samples lie.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub(super) struct Spread {
    /// A tenth lies below.
    pub p10: f64,
    /// The middle.
    pub median: f64,
    /// A tenth lies above.
    pub p90: f64,
}

impl Spread {
    pub(super) fn of(mut samples: Vec<f64>) -> Self {
        samples.sort_by(f64::total_cmp);
        let at = |share: f64| samples.get((samples.len().saturating_sub(1) as f64 * share) as usize).copied();
        let at = |share: f64| at(share).unwrap_or(0.0);
        Self { p10: at(0.1), median: at(0.5), p90: at(0.9) }
    }
}

impl Figures {
    fn same(&self, name: &str) -> Option<&Measured> {
        self.inputs.iter().find(|input| input.name == name)
    }

    /// By how many per cent instructions rose, at the worst input.
    pub(super) fn instructions_rose(&self, before: &Self) -> f64 {
        let rose = self.inputs.iter().filter_map(|now| {
            let before = before.same(&now.name)?.instructions_a_point;
            (before > 0.0).then(|| (now.instructions_a_point / before - 1.0) * 100.0)
        });
        rose.fold(0.0, f64::max)
    }

    pub(super) fn json(&self, before: Option<&Self>) -> Value {
        // Figures are numbers and names.
        let mut shown = serde_json::to_value(self).unwrap_or_default();
        if let Some(before) = before {
            shown["baseline"] = serde_json::to_value(before).unwrap_or_default();
            shown["instructions-rose-percent"] = json!(self.instructions_rose(before));
        }
        shown
    }

    pub(super) fn tell(&self, before: Option<&Self>, console: &Console) {
        console.line(console.paint(Paint::Bold, &self.file));
        if let Some(before) = before {
            let same = if before.digest == self.digest { "the same file" } else { &before.digest };
            console.line(format!("compared with {same}"));
        }
        for input in &self.inputs {
            input.tell(before.and_then(|before| before.same(&input.name)), console);
        }
    }
}

impl Measured {
    fn tell(&self, before: Option<&Self>, console: &Console) {
        console.line(format!(
            "\n{} ({}; {} points a batch, {} calls measured)",
            console.paint(Paint::Bold, &self.name),
            self.about,
            self.points_a_batch,
            self.samples
        ));
        if before.is_some_and(|before| before.about != self.about || before.points_a_batch != self.points_a_batch) {
            console.warn("the baseline was measured on another input");
        }
        console.line(console.paint(Paint::Dim, format!("  {:<22} {:>10}   {:<24}", "", "median", "from 10 % to 90 %")));
        let spread = |name: &str, now: Spread, old: Option<Spread>| {
            let range = format!("{} to {}", time(now.p10), time(now.p90));
            let changed = old.map(|old| change(old.median, now.median, NOISE, console)).unwrap_or_default();
            let line = format!("  {name:<22} {:>10}   {range:<24} {changed}", time(now.median));
            console.line(line.trim_end());
        };
        spread("process, a point", self.ns_a_point, before.map(|before| before.ns_a_point));
        spread("process, a batch", self.ns_a_batch, before.map(|before| before.ns_a_batch));
        spread("host's edit, a point", self.apply_ns_a_point, before.map(|before| before.apply_ns_a_point));
        spread("finish, a cycle", self.ns_a_finish, before.map(|before| before.ns_a_finish));
        let exact = |name: &str, now: String, changed: Option<String>, about: &str| {
            let line = format!("  {name:<22} {now:>10}   {about:<24} {}", changed.unwrap_or_default());
            console.line(line.trim_end());
        };
        let rose = |of: fn(&Self) -> f64| before.map(|before| change(of(before), of(self), EXACT, console));
        let instructions = format!("{:.1}", self.instructions_a_point);
        exact("instructions, a point", instructions, rose(|it| it.instructions_a_point), "no noise");
        exact("memory", memory(self.memory_bytes), rose(|it| it.memory_bytes as f64), "at most");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spread_is_where_the_samples_lie() {
        let spread = Spread::of((0..=100).rev().map(f64::from).collect());
        assert_eq!((spread.p10, spread.median, spread.p90), (10.0, 50.0, 90.0));
        assert_eq!(Spread::of(vec![]).median, 0.0);
    }
}
