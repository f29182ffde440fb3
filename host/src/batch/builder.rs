//! Builds a batch row by row, as the decoder meets things.

use super::columns::{Batch, Origin};
use super::types::{Kind, Level, Merge, ValueType};

/// A metric as code spells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Descriptor<'a> {
    /// Its name, such as `memory/working_set`.
    pub name: &'a str,
    /// Its unit, such as `bytes`; empty where Heapster exported none.
    pub unit: &'a str,
    /// Gauge or cumulative.
    pub kind: Kind,
    /// Integer or float.
    pub value: ValueType,
    /// How two values of one series combine.
    pub merge: Merge,
}

impl<'a> Descriptor<'a> {
    /// An integer gauge that sums.
    #[must_use]
    pub const fn gauge(name: &'a str, unit: &'a str) -> Self {
        Self { name, unit, kind: Kind::Gauge, value: ValueType::Int, merge: Merge::Sum }
    }

    /// An integer counter that sums.
    #[must_use]
    pub const fn cumulative(name: &'a str, unit: &'a str) -> Self {
        Self { name, unit, kind: Kind::Cumulative, value: ValueType::Int, merge: Merge::Sum }
    }

    /// The same with float values.
    #[must_use]
    pub const fn float(mut self) -> Self {
        self.value = ValueType::Float;
        self
    }
}

/// Builds one batch. Labels and points go to the entity opened last.
#[derive(Debug)]
pub struct BatchBuilder {
    batch: Batch,
    /// Row of the metric whose name is symbol i; u32::MAX = none.
    metric_of_symbol: Vec<u32>,
}

impl BatchBuilder {
    /// An empty batch of `origin`; `base` in ns since the epoch.
    #[must_use]
    pub fn new(origin: Origin, base: i64) -> Self {
        Self { batch: Batch::empty(origin, base), metric_of_symbol: Vec::new() }
    }

    /// Makes room for so many points.
    pub fn reserve(&mut self, points: usize) {
        let columns = &mut self.batch.points;
        columns.metric.reserve(points);
        columns.labels.reserve(points);
        columns.at.reserve(points);
        columns.bits.reserve(points);
    }

    /// What the points' `at` counts from, ns since the epoch.
    #[must_use]
    pub fn base(&self) -> i64 {
        self.batch.base
    }

    /// The id of a string.
    pub fn symbol(&mut self, string: &str) -> u32 {
        self.batch.symbols.intern(string)
    }

    /// The row of a metric, added if its name is new. The first descriptor of a name counts.
    pub fn metric(&mut self, descriptor: Descriptor<'_>) -> u32 {
        let name = self.batch.symbols.intern(descriptor.name);
        let at = name as usize;
        if let Some(&row) = self.metric_of_symbol.get(at)
            && row != u32::MAX
        {
            return row;
        }
        let unit = self.batch.symbols.intern(descriptor.unit);
        let metrics = &mut self.batch.metrics;
        let row = metrics.name.len() as u32;
        metrics.name.push(name);
        metrics.unit.push(unit);
        metrics.kind.push(descriptor.kind as u8);
        metrics.value.push(descriptor.value as u8);
        metrics.merge.push(descriptor.merge as u8);
        if self.metric_of_symbol.len() <= at {
            self.metric_of_symbol.resize(at + 1, u32::MAX);
        }
        self.metric_of_symbol[at] = row;
        row
    }

    /// The row of the metric with this name, if the batch has it.
    #[must_use]
    pub fn find_metric(&self, name: &str) -> Option<u32> {
        let symbol = self.batch.symbols.find(name)?;
        self.metric_of_symbol.get(symbol as usize).copied().filter(|&row| row != u32::MAX)
    }

    /// How the values of the metric in `row` are read.
    #[must_use]
    pub fn value_type(&self, row: u32) -> ValueType {
        self.batch.metrics.value_type(row)
    }

    /// A new label set of these symbols. Equal sets may be added twice; sets are compared by content.
    pub fn label_set(&mut self, labels: &[(u32, u32)]) -> u32 {
        if labels.is_empty() {
            return 0;
        }
        let sets = &mut self.batch.label_sets;
        for &(name, value) in labels {
            sets.names.push(name);
            sets.values.push(value);
        }
        sets.ends.push(sets.names.len() as u32);
        sets.ends.len() as u32 - 1
    }

    /// Opens an entity. `started_at` in ns since the epoch, 0 = unknown.
    pub fn entity(&mut self, level: Level, started_at: i64) -> u32 {
        self.close();
        let entities = &mut self.batch.entities;
        entities.level.push(level as u8);
        entities.started_at.push(started_at);
        entities.label_ends.push(entities.label_names.len() as u32);
        entities.point_ends.push(self.batch.points.len() as u32);
        self.batch.entities.len() as u32 - 1
    }

    /// A label of the open entity, by symbols. Names must not repeat within one entity.
    pub fn label(&mut self, name: u32, value: u32) {
        self.batch.entities.label_names.push(name);
        self.batch.entities.label_values.push(value);
    }

    /// A point of the open entity. `at` in ms relative to the base.
    pub fn point(&mut self, metric: u32, labels: u32, at: i32, bits: u64) {
        self.batch.points.push(metric, labels, at, bits);
    }

    /// How many points, entities and bytes of text there are so far, for bounds.
    #[must_use]
    pub fn counts(&self) -> (usize, usize, usize) {
        (self.batch.points.len(), self.batch.entities.len(), self.batch.symbols.text().len())
    }

    /// The batch.
    #[must_use]
    pub fn build(mut self) -> Batch {
        self.close();
        self.batch
    }

    fn close(&mut self) {
        let (labels, points) = (self.batch.entities.label_names.len(), self.batch.points.len());
        if let Some(end) = self.batch.entities.label_ends.last_mut() {
            *end = labels as u32;
        }
        if let Some(end) = self.batch.entities.point_ends.last_mut() {
            *end = points as u32;
        }
    }
}
