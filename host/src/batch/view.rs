//! Row-like views over the columns, for sinks, the live table and tests.

use super::columns::Batch;
use super::types::{Level, ValueType};

/// A point's value.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Value {
    /// A signed integer.
    Int(i64),
    /// A finite float.
    Float(f64),
}

/// One entity of a batch.
#[derive(Debug, Clone, Copy)]
pub struct EntityView<'a> {
    batch: &'a Batch,
    row: usize,
}

/// One point of an entity.
#[derive(Debug, Clone, Copy)]
pub struct PointView<'a> {
    batch: &'a Batch,
    row: usize,
}

impl Batch {
    /// All entities in order.
    pub fn iter(&self) -> impl Iterator<Item = EntityView<'_>> + '_ {
        (0..self.entities.len()).map(move |row| EntityView { batch: self, row })
    }
}

impl<'a> EntityView<'a> {
    /// Its row.
    #[must_use]
    pub fn row(&self) -> usize {
        self.row
    }

    /// Its level.
    #[must_use]
    pub fn level(&self) -> Level {
        Level::from_byte(self.batch.entities.level[self.row]).unwrap_or(Level::Other)
    }

    /// When it started, ns since the epoch; 0 = unknown.
    #[must_use]
    pub fn started_at(&self) -> i64 {
        self.batch.entities.started_at[self.row]
    }

    /// Names and values of its labels, in the batch's order.
    pub fn labels(&self) -> impl Iterator<Item = (&'a str, &'a str)> + Clone + use<'a> {
        let batch = self.batch;
        batch.labels_of(self.row).map(move |at| {
            let entities = &batch.entities;
            (batch.symbols.get(entities.label_names[at]), batch.symbols.get(entities.label_values[at]))
        })
    }

    /// The value of one label.
    #[must_use]
    pub fn label(&self, name: &str) -> Option<&'a str> {
        self.labels().find_map(|(key, value)| (key == name).then_some(value))
    }

    /// Its points in order.
    pub fn points(&self) -> impl Iterator<Item = PointView<'a>> + use<'a> {
        let batch = self.batch;
        batch.points_of(self.row).map(move |row| PointView { batch, row })
    }

    /// The value of one metric without extra labels.
    #[must_use]
    pub fn value(&self, metric: &str) -> Option<Value> {
        self.points().find_map(|point| (!point.is_labelled() && point.metric() == metric).then(|| point.value()))
    }
}

impl<'a> PointView<'a> {
    /// Its row.
    #[must_use]
    pub fn row(&self) -> usize {
        self.row
    }

    /// Row of its metric.
    #[must_use]
    pub fn metric_row(&self) -> u32 {
        self.batch.points.metric[self.row]
    }

    /// Its metric's name.
    #[must_use]
    pub fn metric(&self) -> &'a str {
        self.batch.symbols.get(self.batch.metrics.name[self.metric_row() as usize])
    }

    /// Its value.
    #[must_use]
    pub fn value(&self) -> Value {
        let bits = self.batch.points.bits[self.row];
        match self.batch.metrics.value_type(self.metric_row()) {
            ValueType::Int => Value::Int(bits.cast_signed()),
            ValueType::Float => Value::Float(f64::from_bits(bits)),
        }
    }

    /// Whether it carries labels of its own.
    #[must_use]
    pub fn is_labelled(&self) -> bool {
        !self.batch.label_set(self.batch.points.labels[self.row]).is_empty()
    }

    /// Its label set's id.
    #[must_use]
    pub fn label_set(&self) -> u32 {
        self.batch.points.labels[self.row]
    }

    /// Its own labels.
    pub fn labels(&self) -> impl Iterator<Item = (&'a str, &'a str)> + use<'a> {
        let batch = self.batch;
        batch.label_set(batch.points.labels[self.row]).map(move |at| {
            let sets = &batch.label_sets;
            (batch.symbols.get(sets.names[at]), batch.symbols.get(sets.values[at]))
        })
    }

    /// When it was measured, ns since the epoch.
    #[must_use]
    pub fn measured_at(&self) -> Option<i64> {
        self.batch.measured_at(self.row)
    }
}
