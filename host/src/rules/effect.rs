//! What a rule in the shadow would do to the points of one cycle: how many of which metric, how many
//! series, how many values of each label. Counts what it is shown and keeps no row.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};

use cardinality_estimator::CardinalityEstimator;
use serde::Serialize;

use crate::batch::Batch;

/// Metrics that are counted one by one; the others are counted under [`OTHERS`].
const MAX_METRICS: usize = 1_000;
/// Labels that are counted one by one; the others are left out.
const MAX_LABELS: usize = 200;
/// Where metrics over the bound are counted.
const OTHERS: &str = "(others)";

/// Numbers of different things; exact up to 128 of them, then within about 2 %.
#[derive(Default)]
struct Distinct(CardinalityEstimator<u64>);

impl Distinct {
    fn add(&mut self, hash: u64) {
        self.0.insert_hash(hash);
    }

    fn count(&self) -> u64 {
        self.0.estimate() as u64
    }
}

/// A pair of figures: of what goes into the rule, and of what would come out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Sides {
    /// As the chain has it at the rule's place.
    pub before: u64,
    /// As the rule would hand it on.
    pub after: u64,
}

/// One metric in a cycle, or one label.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Named<T> {
    /// Its name.
    pub name: String,
    /// What was counted.
    #[serde(flatten)]
    pub counts: T,
}

/// What was counted of one label.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct LabelCounts {
    /// Entities and label sets that have it.
    pub holders: Sides,
    /// Its different values.
    pub values: Sides,
}

/// What a rule would have made of one cycle.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct EffectReport {
    /// The cycle's number.
    pub cycle: u64,
    /// Batches shown, the totals of the rules before it among them.
    pub batches: u64,
    /// Those that would have come out different.
    pub batches_changed: u64,
    /// Points.
    pub points: Sides,
    /// Different series: entity, metric and labels.
    pub series: Sides,
    /// Points by metric: the changed ones first, then by name.
    pub metrics: Vec<Named<Sides>>,
    /// Labels: those whose figures change first, then by name.
    pub labels: Vec<Named<LabelCounts>>,
}

/// Counts one cycle.
#[derive(Default)]
pub(super) struct Effect {
    hasher: RandomState,
    batches: u64,
    batches_changed: u64,
    points: Sides,
    series: [Distinct; 2],
    metrics: BTreeMap<String, Sides>,
    labels: BTreeMap<String, (Sides, [Distinct; 2])>,
}

/// Which side of the rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    Before,
    After,
}

impl Sides {
    fn add(&mut self, side: Side, by: u64) {
        match side {
            Side::Before => self.before += by,
            Side::After => self.after += by,
        }
    }
}

impl Effect {
    /// One batch as it came, and what would have become of it; `None`: nothing.
    pub(super) fn see(&mut self, before: Option<&Batch>, after: Option<&Batch>) {
        let sums = [(Side::Before, before), (Side::After, after)]
            .map(|(side, batch)| batch.map_or(0, |batch| self.count(side, batch)));
        self.batches += 1;
        self.batches_changed += u64::from(sums[0] != sums[1]);
    }

    /// Counts one side; a sum over all its points with their labels, times and values.
    fn count(&mut self, side: Side, batch: &Batch) -> u64 {
        let hashes = Hashes::of(&self.hasher, batch);
        let mut per_metric = vec![0_u64; batch.metrics.len()];
        let sum = hashes.points(batch, |series, metric| {
            self.series[side as usize].add(mixed(series));
            per_metric[metric as usize] += 1;
        });
        self.points.add(side, batch.points.len() as u64);
        for (row, count) in per_metric.into_iter().enumerate().filter(|(_, count)| *count > 0) {
            let name = batch.symbols.get(batch.metrics.name[row]);
            metric(&mut self.metrics, name).add(side, count);
        }
        self.count_labels(side, batch, &hashes, &batch.entities.label_names, &batch.entities.label_values);
        self.count_labels(side, batch, &hashes, &batch.label_sets.names, &batch.label_sets.values);
        sum
    }

    fn count_labels(&mut self, side: Side, batch: &Batch, hashes: &Hashes, names: &[u32], values: &[u32]) {
        let mut pairs: Vec<(u32, u32)> = names.iter().copied().zip(values.iter().copied()).collect();
        pairs.sort_unstable();
        for pairs in pairs.chunk_by(|one, next| one.0 == next.0) {
            let name = batch.symbols.get(pairs[0].0);
            if !self.labels.contains_key(name) && self.labels.len() >= MAX_LABELS {
                continue;
            }
            let (holders, distinct) = self.labels.entry(name.to_owned()).or_default();
            holders.add(side, pairs.len() as u64);
            for (_, value) in pairs {
                distinct[side as usize].add(mixed(hashes.symbols[*value as usize]));
            }
        }
    }

    /// What was counted, with the number of its cycle.
    pub(super) fn report(self, cycle: u64) -> EffectReport {
        let both = |[before, after]: [Distinct; 2]| Sides { before: before.count(), after: after.count() };
        let named = |(name, counts): (String, Sides)| Named { name, counts };
        let mut metrics: Vec<_> = self.metrics.into_iter().map(named).collect();
        metrics.sort_by_key(|metric| metric.counts.before == metric.counts.after);
        let labels = self
            .labels
            .into_iter()
            .map(|(name, (holders, values))| Named { name, counts: LabelCounts { holders, values: both(values) } });
        let mut labels: Vec<_> = labels.collect();
        let same = |sides: Sides| sides.before == sides.after;
        labels.sort_by_key(|label| same(label.counts.holders) && same(label.counts.values));
        EffectReport {
            cycle,
            batches: self.batches,
            batches_changed: self.batches_changed,
            points: self.points,
            series: both(self.series),
            metrics,
            labels,
        }
    }
}

fn metric<'m>(metrics: &'m mut BTreeMap<String, Sides>, name: &str) -> &'m mut Sides {
    let name = if metrics.contains_key(name) || metrics.len() < MAX_METRICS { name } else { OTHERS };
    metrics.entry(name.to_owned()).or_default()
}

/// A number that is the same for equal points in whatever order and under whatever symbols; with
/// `hasher`, equal for equal batches. For comparing what two versions of a rule answer.
pub(super) fn fingerprint(hasher: &RandomState, batch: Option<&Batch>) -> u64 {
    batch.map_or(0, |batch| Hashes::of(hasher, batch).points(batch, |_, _| ()))
}

/// The hash of every string of a batch.
struct Hashes {
    symbols: Vec<u64>,
}

impl Hashes {
    fn of(hasher: &RandomState, batch: &Batch) -> Self {
        let ids = 0..batch.symbols.len() as u32;
        Self { symbols: ids.map(|id| hasher.hash_one(batch.symbols.get(id))).collect() }
    }

    /// Labels in any order.
    fn labels(&self, names: &[u32], values: &[u32]) -> u64 {
        let pairs = names.iter().zip(values);
        pairs
            .map(|(name, value)| mixed(self.symbols[*name as usize].rotate_left(21) ^ self.symbols[*value as usize]))
            .fold(0, u64::wrapping_add)
    }

    /// Visits every point with its series' hash and its metric; the sum of all points' hashes.
    fn points(&self, batch: &Batch, mut visit: impl FnMut(u64, u32)) -> u64 {
        let sets: Vec<u64> = (0..batch.label_sets.ends.len() as u32)
            .map(|set| {
                let range = batch.label_set(set);
                self.labels(&batch.label_sets.names[range.clone()], &batch.label_sets.values[range])
            })
            .collect();
        let (entities, points) = (&batch.entities, &batch.points);
        let mut sum = 0_u64;
        for row in 0..entities.len() {
            let range = batch.labels_of(row);
            let labels = self.labels(&entities.label_names[range.clone()], &entities.label_values[range]);
            let entity = mixed(labels ^ u64::from(entities.level[row]) << 56);
            for point in batch.points_of(row) {
                let metric = points.metric[point];
                let name = self.symbols[batch.metrics.name[metric as usize] as usize];
                let series = entity ^ mixed(name) ^ sets[points.labels[point] as usize].rotate_left(32);
                visit(series, metric);
                let at = batch.measured_at(point).unwrap_or(i64::MIN) as u64;
                sum = sum.wrapping_add(mixed(series ^ mixed(points.bits[point]).rotate_left(16) ^ mixed(at)));
            }
        }
        sum
    }
}

/// The finalizer of SplitMix64: every bit of the result depends on every bit of the number.
fn mixed(number: u64) -> u64 {
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::{BatchBuilder, Descriptor, Level, Origin};

    /// A batch of pods, each with its labels and one point.
    fn pods(names: &[&str], metric: &str, labels: &[(&str, &str)]) -> Batch {
        let mut builder = BatchBuilder::new(Origin::Node("a".to_owned()), 0);
        let metric = builder.metric(Descriptor::gauge(metric, ""));
        for name in names {
            builder.entity(Level::Pod, 0);
            for (key, value) in labels.iter().chain(&[("pod_name", *name)]) {
                let (key, value) = (builder.symbol(key), builder.symbol(value));
                builder.label(key, value);
            }
            builder.point(metric, 0, 0, 7);
        }
        builder.build()
    }

    #[test]
    fn what_would_be_dropped_added_and_relabelled_is_counted() {
        let names: Vec<String> = (0..100).map(|number| format!("pod-{number}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let mut effect = Effect::default();
        effect.see(Some(&pods(&names, "m", &[("hash", "x")])), Some(&pods(&names[..40], "m", &[])));
        effect.see(Some(&pods(&["b"], "m", &[])), Some(&pods(&["b"], "m", &[])));
        effect.see(Some(&pods(&["c"], "m", &[])), None);
        effect.see(None, Some(&pods(&["sum"], "n", &[])));
        let report = effect.report(7);
        assert_eq!((report.cycle, report.batches, report.batches_changed), (7, 4, 3));
        assert_eq!(report.points, Sides { before: 102, after: 42 });
        assert_eq!(report.series, Sides { before: 102, after: 42 });
        let metrics: Vec<_> = report.metrics.iter().map(|it| (&*it.name, it.counts.before, it.counts.after)).collect();
        assert_eq!(metrics, [("m", 102, 41), ("n", 0, 1)]);
        let labels: Vec<_> = report.labels.iter().map(|it| (&*it.name, it.counts.holders, it.counts.values)).collect();
        let sides = |before, after| Sides { before, after };
        assert_eq!(labels, [("hash", sides(100, 0), sides(1, 0)), ("pod_name", sides(102, 42), sides(102, 42))]);
    }

    #[test]
    fn batches_are_compared_by_what_they_say_not_by_their_symbols() {
        let hasher = RandomState::new();
        let print = |batch: &Batch| fingerprint(&hasher, Some(batch));
        let one = print(&pods(&["a", "b"], "m", &[("x", "1"), ("y", "2")]));
        assert_eq!(one, print(&pods(&["b", "a"], "m", &[("y", "2"), ("x", "1")])));
        for other in [
            pods(&["a", "b"], "m", &[("x", "2"), ("y", "1")]),
            pods(&["a", "b"], "n", &[("x", "1"), ("y", "2")]),
            pods(&["a", "c"], "m", &[("x", "1"), ("y", "2")]),
            pods(&["a"], "m", &[("x", "1"), ("y", "2")]),
        ] {
            assert_ne!(one, print(&other));
        }
        assert_eq!(fingerprint(&hasher, None), 0);
    }

    #[test]
    fn names_without_end_cost_a_bounded_table() {
        let mut effect = Effect::default();
        for number in 0..MAX_METRICS + 50 {
            let label = format!("l{number}");
            effect.see(None, Some(&pods(&["a"], &format!("m{number}"), &[(&label, "x")])));
        }
        let report = effect.report(1);
        assert_eq!((report.metrics.len(), report.labels.len()), (MAX_METRICS + 1, MAX_LABELS));
        let others = report.metrics.iter().find(|metric| metric.name == OTHERS).unwrap();
        assert_eq!(others.counts.after, 50);
    }
}
