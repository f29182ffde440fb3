//! Sums of metrics over containers and over pods.

use millrace_sdk::Metric;
use millrace_sdk::prelude::*;

use crate::metrics::{Output, SUMMABLE};

/// One sum for each output that was met, and for each user's own metric.
#[derive(Debug)]
pub struct Sums {
    known: [Option<Value>; SUMMABLE],
    other: Vec<(Metric, Value)>,
}

impl Default for Sums {
    fn default() -> Self {
        Self { known: [None; SUMMABLE], other: Vec::new() }
    }
}

impl Sums {
    /// Adds to an output's sum.
    pub fn add(&mut self, output: Output, value: impl Into<Value>) {
        add(&mut self.known[output as usize], value.into());
    }

    /// Puts an output's value in place of its sum.
    pub fn set(&mut self, output: Output, value: Value) {
        self.known[output as usize] = Some(value);
    }

    /// Adds to the sum of a metric that has no output: `custom/…`, `<resource>/request`.
    pub fn add_other(&mut self, metric: Metric, value: Value) {
        match self.other.iter_mut().find(|(known, _)| *known == metric) {
            Some((_, sum)) => *sum = sum.plus(value),
            None => self.other.push((metric, value)),
        }
    }

    /// An output's sum, if anything was added to it.
    pub fn get(&self, output: Output) -> Option<Value> {
        self.known[output as usize]
    }

    /// An output's sum, if it is an integer.
    pub fn int(&self, output: Output) -> Option<i64> {
        self.get(output)?.as_int()
    }

    /// The sums without an output.
    pub fn others(&self) -> &[(Metric, Value)] {
        &self.other
    }
}

fn add(sum: &mut Option<Value>, value: Value) {
    *sum = Some(sum.map_or(value, |sum| sum.plus(value)));
}
