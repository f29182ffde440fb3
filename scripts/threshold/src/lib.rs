//! Turns a breach of a threshold into a metric that is 0 or 1, with hysteresis.
//!
//! `[[settings.checks]]`, one table a check:
//!
//! | setting | default | |
//! |---|---|---|
//! | `metric` | | the metric to watch |
//! | `name` | | the metric to add: 1 while the alarm is raised, else 0, on every entity that has `metric` |
//! | `raise` | | the alarm is raised at this value, or beyond |
//! | `clear` | `raise` | it is cleared when the value comes back past this one. Below `raise` the check is for values that are too high, above it for values that are too low |
//! | `direction` | by `raise` and `clear` | `above` or `below`; needed only where both are equal (then `above`) |
//! | `for-cycles` | 1 | how many cycles in a row must breach `raise` before the alarm |
//! | `clear-cycles` | 1 | how many in a row must be past `clear` before it ends |
//! | `levels` | all | the entities to watch |
//!
//! and in `[settings]`:
//!
//! | setting | default | |
//! |---|---|---|
//! | `max-series` | 100000 | alarms raised or about to be, over all checks; over it a new breach gets no point and is counted |
//!
//! Between `clear` and `raise` the alarm stays as it is. A cycle without a value leaves the counts as they
//! are; an entity that is gone for three cycles is forgotten. Only what breaches takes room. Points with
//! labels of their own are watched each for itself, and their 0 or 1 has the same labels.
//!
//! After `heapster` (50) it can watch rates, utilisations and sums.
//!
//! ```toml
//! [[settings.checks]]
//! metric = "memory/node_utilization"
//! name = "alarm/memory"
//! raise = 0.9
//! clear = 0.8
//! for-cycles = 3
//! ```

mod settings;

use std::collections::HashMap;
use std::collections::hash_map::DefaultHasher;
use std::fmt::Write as _;
use std::hash::Hasher as _;

use millrace_sdk::host;
use millrace_sdk::prelude::*;

pub use settings::{Check, Direction, Settings};

/// How many cycles an alarm outlives its last value.
const KEEP_CYCLES: u64 = 3;

/// The rule.
pub struct Threshold {
    checks: Vec<Check>,
    max_series: usize,
    /// What is not at rest, by the hash of check and series: labels may be long.
    states: HashMap<u64, State>,
    untracked: u64,
}

/// Where one series is on its way. One that is neither raised nor about to be has no state.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct State {
    raised: bool,
    /// Cycles in a row that want the other state.
    cycles: u32,
    /// The cycle of the last value.
    seen: u64,
}

impl State {
    /// The state after one more value.
    fn after(self, check: &Check, value: f64, cycle: u64) -> Self {
        let (wants_change, needed) = if self.raised {
            (check.clears(value), check.clear_cycles)
        } else {
            (check.breaches(value), check.for_cycles)
        };
        let cycles = if wants_change { self.cycles + 1 } else { 0 };
        if cycles >= needed {
            Self { raised: !self.raised, cycles: 0, seen: cycle }
        } else {
            Self { raised: self.raised, cycles, seen: cycle }
        }
    }

    fn at_rest(self) -> bool {
        !self.raised && self.cycles == 0
    }
}

impl Rule for Threshold {
    type Settings = Settings;
    const SETTINGS_SCHEMA: &'static str = settings::SCHEMA;

    fn configure(settings: Settings) -> Result<Self, Refusal> {
        let max_series = settings.max_series;
        Ok(Self { checks: settings.check()?, max_series, states: HashMap::new(), untracked: 0 })
    }

    fn process(&mut self, batch: &Batch, edit: &mut Edit) -> Result<(), Refusal> {
        let mut key = String::new();
        for (number, check) in self.checks.iter().enumerate() {
            let Some(watched) = batch.metric(&check.metric) else {
                continue;
            };
            let alarm = edit.metric(Descriptor::gauge(&check.name, "").merged_by(millrace_sdk::Merge::Max));
            for entity in batch.all() {
                if !check.watches(entity.level()) {
                    continue;
                }
                for point in entity.points_of(watched) {
                    let value = point.value().as_f64();
                    // Nearly all values are at rest, and nothing is known of them: no key is made for them.
                    if self.states.is_empty() && !check.breaches(value) {
                        edit.add_like(entity, alarm, 0, point);
                        continue;
                    }
                    let series = hash_series(&mut key, number, entity, point);
                    let cycle = batch.cycle().number;
                    let known = self.states.get(&series).copied();
                    let state = known.unwrap_or_default().after(check, value, cycle);
                    match (known, state.at_rest()) {
                        (None, true) => {}
                        (Some(_), true) => drop(self.states.remove(&series)),
                        (None, false) if self.states.len() >= self.max_series => {
                            self.untracked += 1;
                            continue;
                        }
                        (_, false) => drop(self.states.insert(series, state)),
                    }
                    edit.add_like(entity, alarm, i64::from(state.raised), point);
                }
            }
        }
        Ok(())
    }

    fn finish(&mut self, cycle: &Cycle, _: &mut Edit) -> Result<(), Refusal> {
        self.states.retain(|_, state| cycle.number.saturating_sub(state.seen) < KEEP_CYCLES);
        if self.untracked > 0 {
            host::count("untracked_breaches", self.untracked);
            host::warn(&format!(
                "more than {} series breach: {} got no alarm; raise `max-series`, or watch fewer",
                self.max_series, self.untracked
            ));
            self.untracked = 0;
        }
        Ok(())
    }
}

/// What a series is known by; `key` is room to write in.
fn hash_series(key: &mut String, check: usize, entity: Entity<'_>, point: Point<'_>) -> u64 {
    key.clear();
    let _ = write!(key, "{check} ");
    entity.write_key(key);
    if point.is_labelled() {
        // Not a label's name: those of the entity come with their length.
        key.push_str(" with");
        for (name, value) in point.labels() {
            let _ = write!(key, " {}:{name} {}:{value}", name.len(), value.len());
        }
    }
    let mut hasher = DefaultHasher::new();
    hasher.write(key.as_bytes());
    hasher.finish()
}

millrace_sdk::register_rule!(Threshold);

#[cfg(test)]
mod tests;
