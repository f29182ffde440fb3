//! What a rule answers: what it drops, relabels and adds. Here it is only described and checked;
//! `apply` carries it out.

use super::columns::{Entities, LabelSets, Metrics, Points};

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
}
