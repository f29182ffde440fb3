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

use millrace_sdk::Rates;
use millrace_sdk::prelude::*;

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

/// All that the work on one batch shares.
struct Work<'b, 'r> {
    batch: &'b Batch,
    edit: &'r mut Edit,
    metrics: Metrics,
    labels: Labels,
    settings: &'r Settings,
    rates: &'r mut Rates<SLOTS>,
    totals: &'r mut Totals,
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
        edit.reserve(batch.len() * 24);
        let mut work = Work {
            batch,
            metrics: Metrics::of(batch, edit, self.settings.extras),
            labels: Labels::of(edit),
            edit,
            settings: &self.settings,
            rates: &mut self.rates,
            totals: &mut self.totals,
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
        // Its sums are known only after its pods.
        if let Some(node) = node {
            self.node(node, &requests);
        }
    }

    fn add(&mut self, entity: Entity<'b>, output: metrics::Output, value: impl Into<Value>) {
        let metric = self.metrics.output(output, self.edit);
        self.edit.add(entity, metric, value);
    }
}

millrace_sdk::register_rule!(Heapster);

#[cfg(test)]
mod tests;
