//! Heapster's logic as a rule: rates, enrichment policy, and the aggregates of pods, namespaces,
//! nodes and the cluster. The host supplies facts only; all arithmetic and policy is here.
//!
//! What it does is what Heapster did, in Heapster's order: rates; labels and requests of pods;
//! pods from their containers; nodes from their pods; and at the end of the cycle namespaces from
//! their pods and the cluster from its namespaces. Where it differs on purpose, the README's
//! "Differences from Heapster" says so; the numbers in the comments are that list's.

mod labels;
mod metrics;
mod node;
mod pod;
mod reading;
mod settings;
mod sums;
mod totals;

use millrace_sdk::prelude::*;
use millrace_sdk::{Metric, Rates};

use labels::Labels;
use metrics::{Metrics, SLOTS};
pub use settings::Settings;
use totals::Totals;

/// The rule.
pub struct Heapster {
    settings: Settings,
    rates: Rates<SLOTS>,
    totals: Totals,
}

/// A point to add. They are collected first, because a node's sums are known only after its pods.
#[derive(Clone, Copy)]
struct Addition<'b> {
    entity: Entity<'b>,
    metric: Metric,
    value: Value,
    /// The counter a rate came from: the rate was measured when it was.
    like: Option<Point<'b>>,
}

/// All that the work on one batch shares.
struct Work<'b, 'r> {
    batch: &'b Batch,
    edit: &'r mut Edit,
    metrics: Metrics,
    labels: Labels,
    settings: &'r Settings,
    rates: &'r mut Rates<SLOTS>,
    totals: &'r mut Totals,
    additions: Vec<Addition<'b>>,
    /// The key of an entity's rates, built anew for each entity in the same place.
    key: String,
}

impl Rule for Heapster {
    type Settings = Settings;
    const SETTINGS_SCHEMA: &'static str = settings::SCHEMA;

    fn configure(settings: Settings) -> Result<Self, Refusal> {
        settings.check()?;
        Ok(Self { settings, rates: Rates::new(), totals: Totals::default() })
    }

    fn process(&mut self, batch: &Batch, edit: &mut Edit) -> Result<(), Refusal> {
        // Totals of rules before this one are theirs; there is nothing in them to enrich.
        if batch.node().is_none() {
            return Ok(());
        }
        self.totals.begin(batch.cycle().number);
        let mut work = Work {
            batch,
            metrics: Metrics::of(batch, edit, self.settings.extras),
            labels: Labels::of(batch, edit),
            edit,
            settings: &self.settings,
            rates: &mut self.rates,
            totals: &mut self.totals,
            additions: Vec::with_capacity(batch.len() * 16),
            key: String::new(),
        };
        work.run();
        Ok(())
    }

    fn finish(&mut self, cycle: &Cycle, edit: &mut Edit) -> Result<(), Refusal> {
        self.totals.emit(edit);
        self.rates.purge(cycle.number);
        Ok(())
    }
}

impl<'b> Work<'b, '_> {
    fn run(&mut self) {
        let mut requests = sums::Sums::default();
        let mut node = None;
        let mut entities = self.batch.all().peekable();
        let mut containers = Vec::new();
        while let Some(entity) = entities.next() {
            match entity.level() {
                Level::Node => node = Some(entity),
                Level::SystemContainer => self.system_container(entity),
                Level::Pod => {
                    containers.clear();
                    while let Some(container) = entities.next_if(|next| next.level() == Level::Container) {
                        containers.push(container);
                    }
                    self.pod(entity, &containers, &mut requests);
                }
                _ => {}
            }
        }
        // The node's own points come first in the edit: it is the batch's first entity, and the
        // contract wants additions in the order of entities.
        let pods = std::mem::take(&mut self.additions);
        if let Some(node) = node {
            self.node(node, &requests);
        }
        self.edit.reserve(self.additions.len() + pods.len());
        for addition in self.additions.iter().chain(&pods) {
            match addition.like {
                Some(like) => self.edit.add_measured(addition.entity, addition.metric, addition.value, like),
                None => self.edit.add(addition.entity, addition.metric, addition.value),
            }
        }
    }

    fn add(&mut self, entity: Entity<'b>, output: metrics::Output, value: impl Into<Value>) {
        let metric = self.metrics.output(output, self.edit);
        self.additions.push(Addition { entity, metric, value: value.into(), like: None });
    }
}

millrace_sdk::register_rule!(Heapster);

#[cfg(test)]
mod tests;
