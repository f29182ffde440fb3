//! What a rule answers: what it drops, relabels and adds, and what can be wrong with it. `check`
//! holds it against its batch, `apply` carries it out.

use super::columns::{Entities, LabelSets, Metrics, Points};
use super::registry::TypeConflict;

/// A rule's answer, as columns; see `guest-sdk/wit/rule.wit` for what each column means.
#[derive(Debug, Clone, Default)]
pub struct Edit {
    /// One byte an entity, 0 drops it and its points; empty keeps all.
    pub keep_entities: Vec<u8>,
    /// One byte a point, 0 drops it; empty keeps all.
    pub keep_points: Vec<u8>,
    /// Entities whose labels change, in order.
    pub relabel_entity: Vec<u32>,
    /// The labels' names.
    pub relabel_name: Vec<u32>,
    /// The new values; u32::MAX removes the label.
    pub relabel_value: Vec<u32>,
    /// UTF-8 text of new strings.
    pub new_text: Vec<u8>,
    /// End of each new string.
    pub new_text_ends: Vec<u32>,
    /// New descriptors.
    pub new_metrics: Metrics,
    /// New label sets; row 0 is the first new one.
    pub new_label_sets: LabelSets,
    /// New entities.
    pub new_entities: Entities,
    /// The new entities' points.
    pub new_points: Points,
    /// Entities of the input that get more points; rising.
    pub added_entity: Vec<u32>,
    /// Those points.
    pub added: Points,
}

impl Edit {
    /// Whether it leaves everything as it was.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.keep_entities.is_empty()
            && self.keep_points.is_empty()
            && self.relabel_entity.is_empty()
            && self.new_entities.is_empty()
            && self.added_entity.is_empty()
    }

    /// Bytes held by the large columns, for the bounds of queues.
    #[must_use]
    pub fn size_bytes(&self) -> usize {
        let (entities, points) = (&self.new_entities, self.new_points.len() + self.added.len());
        let masks = self.keep_entities.len() + self.keep_points.len();
        let labels = self.relabel_entity.len() * 12 + entities.label_names.len() * 8;
        let sets = self.new_label_sets.ends.len() * 4 + self.new_label_sets.names.len() * 8;
        let text = self.new_text.len() + self.new_text_ends.len() * 4;
        masks
            + labels
            + sets
            + text
            + entities.len() * 17
            + points * 24
            + self.new_metrics.len() * 11
            + size_of::<Self>()
    }
}

/// Why an edit is refused. The batch stays as it was.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum EditError {
    /// Columns of one table differ in length, or a mask does not fit.
    #[error("column `{0}` has {1} rows where {2} belong")]
    Length(&'static str, usize, usize),
    /// An index is past its table's end.
    #[error("`{0}` holds {1}, past the last of {2} rows")]
    Index(&'static str, u32, usize),
    /// Ends must rise and stop at the table's end.
    #[error("`{0}` does not rise to {1}")]
    Ends(&'static str, usize),
    /// The text of new strings is no UTF-8, or a string ends inside a character.
    #[error("the new strings are not UTF-8")]
    Utf8,
    /// A byte that stands for no level, kind, value type or merge.
    #[error("`{0}` holds {1}, which means nothing")]
    Byte(&'static str, u8),
    /// A float that is NaN or infinite.
    #[error("metric `{0}` has a value that is not finite")]
    NotFinite(String),
    /// A dropped entity is relabelled or added to.
    #[error("entity {0} is dropped, and `{1}` touches it")]
    Dropped(u32, &'static str),
    /// A label name stands twice in one entity or label set.
    #[error("label `{0}` stands twice in one {1}")]
    Twice(String, &'static str),
    /// More than an edit may add.
    #[error("adds {1} {0}, more than {2}")]
    TooMuch(&'static str, usize, usize),
    /// A metric changed its value type.
    #[error(transparent)]
    Type(#[from] TypeConflict),
}
