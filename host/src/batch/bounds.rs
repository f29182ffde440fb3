//! How large a batch may become on its way through the rules, and how much one edit may add.

use super::columns::Batch;

/// New metrics of one edit.
pub(super) const METRICS: usize = 10_000;
/// Labels of one new entity or label set, and label changes of one entity.
pub(super) const LABELS_IN_A_ROW: usize = 256;
/// A metric's name or unit, bytes: sinks write it for each point.
pub(super) const NAME_BYTES: usize = 1 << 10;
/// Text of one label set, bytes: sinks write it for each point.
pub(super) const SET_BYTES: usize = 8 << 10;
/// Text of the labels of one edit's rows, as sinks write it, bytes.
const LABEL_BYTES: usize = 512 << 20;

/// How much one edit may add.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EditBounds {
    /// Added points, to old and new entities together.
    pub points: usize,
    /// New entities.
    pub entities: usize,
    /// Text of new strings, bytes.
    pub text_bytes: usize,
    /// Labels of new entities and label sets, and label changes.
    pub labels: usize,
    /// Their text, counted on every row that has it, bytes.
    pub label_bytes: usize,
}

/// How large a batch may be when it leaves a rule. It is the same for every rule of the chain, so
/// that rules one after the other can't multiply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchBounds {
    points: usize,
    entities: usize,
    text_bytes: usize,
    labels: usize,
}

impl BatchBounds {
    /// What a batch of a node may grow to, measured as it comes from the host: five times itself
    /// and 10,000 points and entities, and never over [`BatchBounds::totals`].
    #[must_use]
    pub fn growing_from(batch: &Batch) -> Self {
        let most = Self::totals();
        let (points, entities, text, labels) = sizes(batch);
        Self {
            points: (5 * points + 10_000).min(most.points),
            entities: (5 * entities + 10_000).min(most.entities),
            // A pod's labels are joined to one text: more than what the batch has of each once.
            text_bytes: (5 * text + (8 << 20)).min(most.text_bytes),
            labels: (5 * labels + 80 * entities + 340_000).min(most.labels),
        }
    }

    /// The bounds of what `finish` makes: it has no batch to be measured by, and a rule that sums
    /// by pod has as many rows as the cluster has pods.
    #[must_use]
    pub fn totals() -> Self {
        Self { points: 4_000_000, entities: 400_000, text_bytes: 64 << 20, labels: 8_000_000 }
    }

    /// What an edit may add to `batch`.
    #[must_use]
    pub fn room(&self, batch: &Batch) -> EditBounds {
        let (points, entities, text, labels) = sizes(batch);
        EditBounds {
            points: self.points.saturating_sub(points),
            entities: self.entities.saturating_sub(entities),
            text_bytes: self.text_bytes.saturating_sub(text),
            labels: self.labels.saturating_sub(labels),
            label_bytes: LABEL_BYTES,
        }
    }
}

/// Points, entities, bytes of text, labels.
fn sizes(batch: &Batch) -> (usize, usize, usize, usize) {
    let labels = batch.entities.label_names.len() + batch.label_sets.names.len();
    (batch.points.len(), batch.entities.len(), batch.symbols.text().len(), labels)
}
