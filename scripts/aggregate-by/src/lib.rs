//! Aggregates chosen metrics by chosen labels, over all nodes, once a cycle.
//!
//! | setting | default | |
//! |---|---|---|
//! | `by` | | the labels to group by: `name`, or `new=name`; an entity that has none of them is not counted |
//! | `metrics` | | patterns of metrics: `*` any text, `?` any one character |
//! | `levels` | `["pod"]` | the entities to count; of pods *and* containers most values would count twice |
//! | `functions` | `["sum"]` | any of `sum`, `min`, `max`, `count`, `avg` |
//! | `quantiles` | none | such as `[0.5, 0.99]`: metrics `…/p50` and `…/p99` |
//! | `max-groups` | 10000 | over it, the rest of the cycle's groups count as one, with `other` as every label |
//!
//! A group is an entity of level `other` with the labels of `by`; a label that is missing is empty. Its
//! metrics are called `METRIC/FUNCTION`, such as `memory/usage/max`. Points with labels of their own
//! (a filesystem's `resource_id`) are added up without them.
//!
//! `sum`, `min`, `max` and `count` are mergeable: their metrics say how two halves become one whole. **`avg`
//! and the quantiles are not**: no later rule can aggregate them further, and where two values of one
//! series meet the larger one stays. Quantiles are exact up to 256 values a group, then at most 0.4 %
//! off.
//!
//! After `heapster` (50) it can aggregate rates. In a number above 50 it also sees the namespaces and the
//! cluster that `heapster` adds up, if `levels` names them.
//!
//! ```toml
//! [settings]
//! by = ["namespace_name", "app=__label_app"]     # the pods' own label `app`, under the name `app`
//! metrics = ["cpu/usage_rate", "memory/usage"]
//! functions = ["sum", "max", "count"]
//! quantiles = [0.99]
//! ```

mod settings;

use millrace_sdk::prelude::*;
use millrace_sdk::{GroupBy, Kind, Merge, OwnedDescriptor, Quantiles, Stats, ValueType, host};

pub use settings::{Function, Settings};

/// What the group of all that found no room is called.
const OTHER: &str = "other";
/// Metrics that one rule aggregates; the host's names are a few dozen.
const MOST_METRICS: usize = 1000;

/// The rule.
pub struct AggregateBy {
    settings: Settings,
    cycle: u64,
    /// The metrics met in this cycle; groups have theirs by place in this list.
    metrics: Vec<OwnedDescriptor>,
    groups: GroupBy<Group>,
    /// All that found no room.
    other: Group,
}

/// What one group has of each metric.
#[derive(Debug, Default)]
struct Group {
    of_metric: Vec<Option<Aggregate>>,
}

#[derive(Debug, Default)]
struct Aggregate {
    stats: Stats,
    /// Only where quantiles are asked for: they take room.
    quantiles: Option<Quantiles>,
}

impl Group {
    fn add(&mut self, metric: usize, value: Value, with_quantiles: bool) {
        if self.of_metric.len() <= metric {
            self.of_metric.resize_with(metric + 1, || None);
        }
        let aggregate = self.of_metric[metric].get_or_insert_default();
        aggregate.stats.add(value);
        if with_quantiles {
            aggregate.quantiles.get_or_insert_default().add(value);
        }
    }
}

impl Rule for AggregateBy {
    type Settings = Settings;
    const SETTINGS_SCHEMA: &'static str = settings::SCHEMA;

    fn configure(settings: Settings) -> Result<Self, Refusal> {
        settings.check()?;
        let groups = GroupBy::from_settings("by", &settings.by)?.at_most(settings.max_groups);
        Ok(Self { settings, cycle: 0, metrics: Vec::new(), groups, other: Group::default() })
    }

    fn process(&mut self, batch: &Batch, _: &mut Edit) -> Result<(), Refusal> {
        if self.cycle != batch.cycle().number {
            // A cycle that never came to its end leaves nothing to the next.
            self.cycle = batch.cycle().number;
            self.forget();
        }
        let places = self.places(batch);
        if places.iter().all(Option::is_none) {
            return Ok(());
        }
        let with_quantiles = !self.settings.quantiles.is_empty();
        let mut groups = self.groups.batch(batch);
        for entity in batch.all().filter(|entity| self.settings.levels.contains(&entity.level())) {
            let mut points =
                entity.points().filter_map(|point| Some((places[point.metric().index()]?, point.value()))).peekable();
            // No group for an entity that has nothing to count.
            if points.peek().is_none() || !groups.has(entity) {
                continue;
            }
            let group = groups.of(entity).unwrap_or(&mut self.other);
            points.for_each(|(metric, value)| group.add(metric, value, with_quantiles));
        }
        Ok(())
    }

    fn finish(&mut self, _: &Cycle, edit: &mut Edit) -> Result<(), Refusal> {
        let refused = self.groups.refused();
        if refused > 0 {
            host::count("entities_without_a_group", refused);
            host::warn(&format!(
                "more than {} groups: {refused} entities count as `{OTHER}`; raise `max-groups`, or group by labels of fewer values",
                self.settings.max_groups
            ));
        }
        let outputs: Vec<Outputs> =
            self.metrics.iter().map(|metric| Outputs::of(metric, &self.settings, edit)).collect();
        let names: Vec<String> = self.groups.names().map(str::to_owned).collect();
        for (values, group) in self.groups.drain() {
            let labels: Vec<(&str, &str)> =
                names.iter().map(String::as_str).zip(values.iter().map(|value| &**value)).collect();
            emit(edit, &labels, &group, &outputs);
        }
        if !self.other.of_metric.is_empty() {
            let labels: Vec<(&str, &str)> = names.iter().map(|name| (&**name, OTHER)).collect();
            emit(edit, &labels, &self.other, &outputs);
        }
        self.forget();
        Ok(())
    }
}

impl AggregateBy {
    fn forget(&mut self) {
        drop(self.groups.drain());
        self.metrics.clear();
        self.other = Group::default();
    }

    /// The place in `metrics` of each metric of the batch that is chosen.
    fn places(&mut self, batch: &Batch) -> Vec<Option<usize>> {
        let chosen = self.settings.metrics.metrics(batch);
        let place = |(metric, chosen): (millrace_sdk::Metric, bool)| {
            let descriptor = batch.descriptor(metric);
            if !chosen {
                return None;
            }
            let known = self.metrics.iter().position(|known| known.borrowed().name == descriptor.name);
            if known.is_none() && self.metrics.len() < MOST_METRICS {
                self.metrics.push(descriptor.into_owned());
                return Some(self.metrics.len() - 1);
            }
            known
        };
        batch.metrics().zip(chosen).map(place).collect()
    }
}

/// The metrics that one metric becomes.
struct Outputs {
    functions: Vec<(Function, millrace_sdk::Metric)>,
    quantiles: Vec<(f64, millrace_sdk::Metric)>,
}

impl Outputs {
    fn of(metric: &OwnedDescriptor, settings: &Settings, edit: &mut Edit) -> Self {
        let source = metric.borrowed();
        let mut output = |suffix: &str, kind, value, merge, unit| {
            let name = format!("{}/{suffix}", source.name);
            edit.metric(Descriptor { name: &name, unit, kind, value, merge })
        };
        let functions = settings.functions.iter().map(|&function| {
            let metric = match function {
                // A group loses members from one cycle to the next, so its sum may fall.
                Function::Sum => output("sum", Kind::Gauge, source.value, Merge::Sum, source.unit),
                Function::Min => output("min", Kind::Gauge, source.value, Merge::Min, source.unit),
                Function::Max => output("max", Kind::Gauge, source.value, Merge::Max, source.unit),
                Function::Count => output("count", Kind::Gauge, ValueType::Int, Merge::Sum, ""),
                Function::Avg => output("avg", Kind::Gauge, ValueType::Float, Merge::Max, source.unit),
            };
            (function, metric)
        });
        let functions = functions.collect();
        let quantiles = settings.quantiles.iter().map(|&quantile| {
            let suffix = format!("p{}", settings::percent(quantile));
            (quantile, output(&suffix, Kind::Gauge, ValueType::Float, Merge::Max, source.unit))
        });
        Self { functions, quantiles: quantiles.collect() }
    }
}

fn emit(edit: &mut Edit, labels: &[(&str, &str)], group: &Group, outputs: &[Outputs]) {
    let mut entity = edit.add_entity(Level::Other, labels);
    for (aggregate, outputs) in group.of_metric.iter().zip(outputs) {
        let Some(Aggregate { stats, quantiles }) = aggregate else {
            continue;
        };
        for &(function, metric) in &outputs.functions {
            let value = match function {
                Function::Sum => stats.sum(),
                Function::Min => stats.min(),
                Function::Max => stats.max(),
                Function::Count => Some(Value::Int(i64::try_from(stats.count()).unwrap_or(i64::MAX))),
                Function::Avg => stats.avg().map(Value::Float),
            };
            if let Some(value) = value {
                entity = entity.point(metric, value);
            }
        }
        for &(quantile, metric) in &outputs.quantiles {
            if let Some(value) = quantiles.as_ref().and_then(|quantiles| quantiles.at(quantile)) {
                entity = entity.point(metric, value);
            }
        }
    }
}

millrace_sdk::register_rule!(AggregateBy);

#[cfg(test)]
mod tests;
