//! The columns themselves, and what can be said about a whole batch.

use super::symbols::Symbols;
use super::types::{UNKNOWN_AT, ValueType};

/// Whose batch it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// A node's, by its name at the API server.
    Node(String),
    /// What a rule's `finish` made, by the rule's name.
    Totals(String),
}

impl Origin {
    /// The node's or the rule's name.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Node(name) | Self::Totals(name) => name,
        }
    }
}

/// Descriptors, one row a metric; each name stands once.
#[derive(Debug, Clone, Default)]
pub struct Metrics {
    /// Symbol of the name.
    pub name: Vec<u32>,
    /// Symbol of the unit.
    pub unit: Vec<u32>,
    /// [`super::Kind`] as a byte.
    pub kind: Vec<u8>,
    /// [`super::ValueType`] as a byte.
    pub value: Vec<u8>,
    /// [`super::Merge`] as a byte.
    pub merge: Vec<u8>,
}

impl Metrics {
    /// How many metrics the batch describes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.name.len()
    }

    /// Whether it describes none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.name.is_empty()
    }

    /// How the values of metric `row` are read.
    #[must_use]
    pub fn value_type(&self, row: u32) -> ValueType {
        match self.value.get(row as usize) {
            Some(1) => ValueType::Float,
            _ => ValueType::Int,
        }
    }
}

/// Extra labels of points. Set 0 is empty; set `i` stands in `ends[i-1]..ends[i]`.
#[derive(Debug, Clone, Default)]
pub struct LabelSets {
    /// End of each set in the two flat columns.
    pub ends: Vec<u32>,
    /// Symbols of the names.
    pub names: Vec<u32>,
    /// Symbols of the values.
    pub values: Vec<u32>,
}

/// One row an entity: the node, its system containers, then each pod followed by its containers.
#[derive(Debug, Clone, Default)]
pub struct Entities {
    /// [`super::Level`] as a byte.
    pub level: Vec<u8>,
    /// End of each entity's labels in the two flat columns.
    pub label_ends: Vec<u32>,
    /// Symbols of the labels' names.
    pub label_names: Vec<u32>,
    /// Symbols of the labels' values.
    pub label_values: Vec<u32>,
    /// ns since the epoch; 0 = unknown.
    pub started_at: Vec<i64>,
    /// End of each entity's points.
    pub point_ends: Vec<u32>,
}

impl Entities {
    /// How many entities there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.level.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.level.is_empty()
    }
}

/// The points, one row each; those of one entity stand together.
#[derive(Debug, Clone, Default)]
pub struct Points {
    /// Row in [`Metrics`].
    pub metric: Vec<u32>,
    /// Label set; 0 is the empty one.
    pub labels: Vec<u32>,
    /// When it was measured, ms relative to the batch's base; [`UNKNOWN_AT`] = unknown.
    pub at: Vec<i32>,
    /// An i64, or the bits of a finite f64, as the metric says.
    pub bits: Vec<u64>,
}

impl Points {
    /// How many points there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.metric.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.metric.is_empty()
    }

    /// Adds one row.
    pub fn push(&mut self, metric: u32, labels: u32, at: i32, bits: u64) {
        self.metric.push(metric);
        self.labels.push(labels);
        self.at.push(at);
        self.bits.push(bits);
    }
}

/// What one node gave in one cycle, or what a rule's `finish` made.
#[derive(Debug, Clone)]
pub struct Batch {
    /// Whose it is.
    pub origin: Origin,
    /// What the points' `at` counts from: a time of the node's own clock; for totals the cycle's
    /// time. ns since the epoch.
    pub base: i64,
    /// Every string.
    pub symbols: Symbols,
    /// The descriptors used.
    pub metrics: Metrics,
    /// Extra labels of points.
    pub label_sets: LabelSets,
    /// The monitored things.
    pub entities: Entities,
    /// Their values.
    pub points: Points,
}

impl Batch {
    /// A batch with nothing in it.
    #[must_use]
    pub fn empty(origin: Origin, base: i64) -> Self {
        Self {
            origin,
            base,
            symbols: Symbols::default(),
            metrics: Metrics::default(),
            label_sets: LabelSets { ends: vec![0], ..LabelSets::default() },
            entities: Entities::default(),
            points: Points::default(),
        }
    }

    /// The rows of `points` that belong to entity `row`.
    #[must_use]
    pub fn points_of(&self, row: usize) -> std::ops::Range<usize> {
        span(&self.entities.point_ends, row)
    }

    /// The places of entity `row`'s labels in the flat label columns.
    #[must_use]
    pub fn labels_of(&self, row: usize) -> std::ops::Range<usize> {
        span(&self.entities.label_ends, row)
    }

    /// The places of label set `set` in its flat columns.
    #[must_use]
    pub fn label_set(&self, set: u32) -> std::ops::Range<usize> {
        span(&self.label_sets.ends, set as usize)
    }

    /// When point `row` was measured, ns since the epoch.
    #[must_use]
    pub fn measured_at(&self, row: usize) -> Option<i64> {
        let at = *self.points.at.get(row)?;
        (at != UNKNOWN_AT).then(|| self.base.saturating_add(i64::from(at) * 1_000_000))
    }

    /// Bytes held by the columns, for the bounds of queues.
    #[must_use]
    pub fn size_bytes(&self) -> usize {
        let points = self.points.metric.capacity() * 4
            + self.points.labels.capacity() * 4
            + self.points.at.capacity() * 4
            + self.points.bits.capacity() * 8;
        let entities = self.entities.level.capacity() * (1 + 4 + 8 + 4) + self.entities.label_names.capacity() * 8;
        let metrics = self.metrics.name.capacity() * 11;
        let sets = self.label_sets.ends.capacity() * 4 + self.label_sets.names.capacity() * 8;
        self.symbols.size_bytes() + points + entities + metrics + sets + size_of::<Self>()
    }
}

/// `ends[row-1]..ends[row]`, and nothing for a row that is not there.
pub(crate) fn span(ends: &[u32], row: usize) -> std::ops::Range<usize> {
    let end = ends.get(row).copied().unwrap_or(0) as usize;
    let start = if row == 0 { 0 } else { ends.get(row - 1).copied().unwrap_or(0) as usize };
    start.min(end)..end
}
