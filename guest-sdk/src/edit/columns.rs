//! Makes of an edit what the contract wants: nothing that touches what is dropped, and additions in
//! the order of their entities.

use super::Edit;
use crate::wit;

impl Edit {
    /// The columns that go to the host. What was done to an entity that was dropped as well goes with
    /// it, in whatever order the rule said so.
    ///
    /// ```
    /// use millrace_sdk::glue::Slot;
    /// use millrace_sdk::{NoSettings, Refusal, Rule};
    ///
    /// struct Nothing;
    /// impl Rule for Nothing {
    ///     type Settings = NoSettings;
    ///     fn configure(_: NoSettings) -> Result<Self, Refusal> { Ok(Self) }
    /// }
    ///
    /// // What the host gets of a rule that does nothing: an edit that says nothing.
    /// let slot = Slot::<Nothing>::new();
    /// slot.configure("{}").unwrap();
    /// let edit = slot.finish(millrace_sdk::testing::cycle(1)).unwrap();
    /// assert!(edit.keep_entities.is_empty() && edit.new_entities.level.is_empty());
    /// ```
    #[must_use]
    pub fn into_wit(mut self) -> wit::Edit {
        self.forget_dropped();
        if !self.sorted {
            self.sort_added();
        }
        self.raw
    }

    /// The contract forbids to touch what is dropped.
    fn forget_dropped(&mut self) {
        let raw = &mut self.raw;
        if raw.keep_entities.is_empty() {
            return;
        }
        let kept = |&entity: &u32| raw.keep_entities.get(entity as usize) != Some(&0);
        if !raw.relabel_entity.iter().all(kept) {
            let rows: Vec<bool> = raw.relabel_entity.iter().map(kept).collect();
            retain(&rows, &mut raw.relabel_entity);
            retain(&rows, &mut raw.relabel_name);
            retain(&rows, &mut raw.relabel_value);
        }
        if !raw.added_entity.iter().all(kept) {
            let rows: Vec<bool> = raw.added_entity.iter().map(kept).collect();
            retain(&rows, &mut raw.added_entity);
            retain(&rows, &mut raw.added.metric);
            retain(&rows, &mut raw.added.labels);
            retain(&rows, &mut raw.added.at);
            retain(&rows, &mut raw.added.bits);
        }
    }

    /// The contract wants added points in the order of their entities.
    fn sort_added(&mut self) {
        let mut order: Vec<usize> = (0..self.raw.added_entity.len()).collect();
        order.sort_by_key(|&row| self.raw.added_entity[row]);
        let (entity, points) = (&self.raw.added_entity, &self.raw.added);
        self.raw.added_entity = order.iter().map(|&row| entity[row]).collect();
        self.raw.added = wit::Points {
            metric: order.iter().map(|&row| points.metric[row]).collect(),
            labels: order.iter().map(|&row| points.labels[row]).collect(),
            at: order.iter().map(|&row| points.at[row]).collect(),
            bits: order.iter().map(|&row| points.bits[row]).collect(),
        };
    }
}

/// Keeps the rows of a column that are marked.
fn retain<T>(rows: &[bool], column: &mut Vec<T>) {
    let mut rows = rows.iter();
    column.retain(|_| rows.next() != Some(&false));
}

/// An edit that says nothing.
pub(super) fn empty() -> wit::Edit {
    let points = || wit::Points { metric: vec![], labels: vec![], at: vec![], bits: vec![] };
    wit::Edit {
        keep_entities: vec![],
        keep_points: vec![],
        relabel_entity: vec![],
        relabel_name: vec![],
        relabel_value: vec![],
        new_symbols: wit::Symbols { text: vec![], ends: vec![] },
        new_metrics: wit::Metrics { name: vec![], unit: vec![], kind: vec![], value: vec![], merge: vec![] },
        new_label_sets: wit::LabelSets { ends: vec![], names: vec![], values: vec![] },
        new_entities: wit::Entities {
            level: vec![],
            label_ends: vec![],
            label_names: vec![],
            label_values: vec![],
            started_at: vec![],
            point_ends: vec![],
        },
        new_points: points(),
        added_entity: vec![],
        added: points(),
    }
}
