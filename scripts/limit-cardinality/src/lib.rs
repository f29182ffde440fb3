//! Keeps the largest series of chosen metrics, and sums the rest up as `other`.
//!
//! | setting | default | |
//! |---|---|---|
//! | `metrics` | | patterns of metrics: `*` any text, `?` any one character |
//! | `top` | | how many series of each metric stay in each group |
//! | `by` | none | the labels that make a group: `name`, or `new=name`; without any, the cluster is one group |
//! | `levels` | `["container"]` | the entities whose points count |
//! | `other-labels` | `{ series = "other" }` | the labels of the row that sums the rest, besides those of `by` |
//! | `max-groups` | 10000 | over it, all that the other groups have counts as `other`, with `other` as every label of `by` |
//!
//! A cycle's points come node by node, so which series are the largest is known at its end only: the
//! **last cycle's ranking decides what stays in this one**. In the first cycle after a start everything
//! is `other`, and a series that grows into the top appears a cycle later.
//!
//! The sum is right in every cycle: what stays and `other` together are all. `other` is an entity of
//! level `other`, and the points in it are combined as their metric says: most are summed. Points with
//! labels of their own are series of their own. An entity that has none of the labels of `by` stays as
//! it is.
//!
//! ```toml
//! [settings]
//! metrics = ["memory/*", "cpu/usage_rate"]
//! top = 20
//! by = ["namespace_name"]
//! other-labels = { container_name = "other" }
//! ```

mod ranking;
mod settings;

use std::collections::HashSet;
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash as _, Hasher as _};

use millrace_sdk::prelude::*;
use millrace_sdk::{GroupBy, OwnedDescriptor, host};

use ranking::Ranking;
pub use settings::Settings;

/// What the group of all that found no room is called.
const OTHER: &str = "other";
/// Metrics that one rule ranks; the host's names are a few dozen.
const MOST_METRICS: usize = 1000;

/// The rule.
pub struct LimitCardinality {
    settings: Settings,
    cycle: u64,
    /// The hashes of the series that the last cycle's rankings hold.
    kept: HashSet<u64>,
    /// The metrics met in this cycle; groups have theirs by place in this list.
    metrics: Vec<OwnedDescriptor>,
    groups: GroupBy<Group>,
    /// All that found no room.
    other: Group,
    limited: u64,
}

/// What one group has of each metric.
#[derive(Debug, Default)]
struct Group {
    of_metric: Vec<Share>,
}

#[derive(Debug, Default)]
struct Share {
    ranking: Ranking,
    /// What the series that did not stay have together.
    other: Option<Value>,
}

impl Group {
    fn share(&mut self, metric: usize) -> &mut Share {
        if self.of_metric.len() <= metric {
            self.of_metric.resize_with(metric + 1, Share::default);
        }
        &mut self.of_metric[metric]
    }
}

impl Rule for LimitCardinality {
    type Settings = Settings;
    const SETTINGS_SCHEMA: &'static str = settings::SCHEMA;

    fn configure(settings: Settings) -> Result<Self, Refusal> {
        let groups = GroupBy::from_settings("by", &settings.by)?.at_most(settings.max_groups);
        settings.check(groups.names())?;
        Ok(Self {
            settings,
            cycle: 0,
            kept: HashSet::new(),
            metrics: Vec::new(),
            groups,
            other: Group::default(),
            limited: 0,
        })
    }

    fn process(&mut self, batch: &Batch, edit: &mut Edit) -> Result<(), Refusal> {
        if self.cycle != batch.cycle().number {
            // A cycle that never came to its end leaves nothing but the ranking before it.
            self.cycle = batch.cycle().number;
            self.forget();
        }
        let places = self.places(batch);
        if places.iter().all(Option::is_none) {
            return Ok(());
        }
        let mut key = String::new();
        let mut groups = self.groups.batch(batch);
        for entity in batch.all().filter(|entity| self.settings.levels.contains(&entity.level())) {
            let mut points =
                entity.points().filter_map(|point| Some((places[point.metric().index()]?, point))).peekable();
            // No group for an entity that has nothing to rank.
            if points.peek().is_none() || !groups.has(entity) {
                continue;
            }
            key.clear();
            entity.write_key(&mut key);
            let (group, roomless) = match groups.of(entity) {
                Some(group) => (group, false),
                None => (&mut self.other, true),
            };
            for (place, point) in points {
                let (series, share) = (hash_series(&key, point), group.share(place));
                if !roomless {
                    share.ranking.offer(point.value().as_f64(), series, self.settings.top);
                }
                if roomless || !self.kept.contains(&series) {
                    let merge = batch.metric_merge(point.metric());
                    share.other = Some(share.other.map_or(point.value(), |other| merge.of(other, point.value())));
                    edit.drop_point(point);
                    self.limited += 1;
                }
            }
        }
        Ok(())
    }

    fn finish(&mut self, _: &Cycle, edit: &mut Edit) -> Result<(), Refusal> {
        host::count("limited_points", self.limited);
        let refused = self.groups.refused();
        if refused > 0 {
            host::warn(&format!(
                "more than {} groups: {refused} entities count as `{OTHER}`; raise `max-groups`, or group by labels of fewer values",
                self.settings.max_groups
            ));
        }
        let metrics: Vec<_> = self.metrics.iter().map(|metric| edit.metric(metric.borrowed())).collect();
        let names: Vec<String> = self.groups.names().map(str::to_owned).collect();
        let mut kept = HashSet::new();
        for (values, group) in self.groups.drain() {
            let labels = names.iter().map(String::as_str).zip(values.iter().map(|value| &**value));
            emit(edit, labels.chain(self.settings.other_labels()).collect(), &group, &metrics);
            kept.extend(group.of_metric.iter().flat_map(|share| share.ranking.series()));
        }
        let labels = names.iter().map(|name| (&**name, OTHER));
        emit(edit, labels.chain(self.settings.other_labels()).collect(), &self.other, &metrics);
        self.kept = kept;
        self.forget();
        Ok(())
    }
}

impl LimitCardinality {
    fn forget(&mut self) {
        drop(self.groups.drain());
        self.metrics.clear();
        self.other = Group::default();
        self.limited = 0;
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

/// What a series is known by from one cycle to the next. A hash, because labels may be long.
fn hash_series(entity: &str, point: Point<'_>) -> u64 {
    let mut hasher = DefaultHasher::new();
    (entity, point.name()).hash(&mut hasher);
    point.labels().for_each(|label| label.hash(&mut hasher));
    hasher.finish()
}

/// Adds what a group's series have together that did not stay, if there are any.
fn emit(edit: &mut Edit, labels: Vec<(&str, &str)>, group: &Group, metrics: &[millrace_sdk::Metric]) {
    if group.of_metric.iter().all(|share| share.other.is_none()) {
        return;
    }
    let mut entity = edit.add_entity(Level::Other, &labels);
    for (share, &metric) in group.of_metric.iter().zip(metrics) {
        if let Some(other) = share.other {
            entity = entity.point(metric, other);
        }
    }
}

millrace_sdk::register_rule!(LimitCardinality);

#[cfg(test)]
mod tests;
