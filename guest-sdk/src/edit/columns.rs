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

    /// The contract wants added points in the order of their entities. Counted into place: it takes
    /// one look at each row, and no sort, which would make every rule 6 KB larger.
    fn sort_added(&mut self) {
        let (entity, points) = (&self.raw.added_entity, &self.raw.added);
        // Where the rows of each entity begin.
        let mut begin = vec![0_u32; self.entities + 1];
        for &row in entity {
            begin[row as usize + 1] += 1;
        }
        for at in 1..begin.len() {
            begin[at] += begin[at - 1];
        }
        let mut order = vec![0_u32; entity.len()];
        for (row, &of) in entity.iter().enumerate() {
            let place = &mut begin[of as usize];
            order[*place as usize] = row as u32;
            *place += 1;
        }
        self.raw.added = wit::Points {
            metric: in_order(&order, &points.metric),
            labels: in_order(&order, &points.labels),
            at: in_order(&order, &points.at),
            bits: in_order(&order, &points.bits),
        };
        self.raw.added_entity = in_order(&order, entity);
    }
}

fn in_order<T: Copy>(order: &[u32], column: &[T]) -> Vec<T> {
    order.iter().map(|&row| column[row as usize]).collect()
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

#[cfg(test)]
mod tests {
    use crate::{Descriptor, testing};

    #[test]
    fn additions_stand_in_the_order_of_entities_and_of_the_rule() {
        let batch = testing::sample();
        let entities: Vec<_> = batch.all().collect();
        let mut edit = crate::Edit::for_batch(&batch);
        let metric = edit.metric(Descriptor::gauge("m", ""));
        for (value, at) in [(0, 3), (1, 1), (2, 3), (3, 0), (4, 1)] {
            edit.add(entities[at], metric, value);
        }
        edit.drop_entity(entities[0]);
        let raw = edit.into_wit();
        assert_eq!(raw.added_entity, [1, 1, 3, 3]);
        assert_eq!(raw.added.bits, [1, 4, 0, 2]);
        assert_eq!(raw.added.metric.len(), 4);
    }

    #[test]
    fn what_is_done_to_the_dropped_goes_with_it() {
        let batch = testing::sample();
        let rows = testing::edit(&batch, |edit| {
            let metric = edit.metric(Descriptor::gauge("m", ""));
            for entity in batch.all() {
                edit.set_label(entity, "new", "x");
                edit.add(entity, metric, 1);
                if entity.index() != 1 {
                    edit.drop_entity(entity);
                }
            }
        });
        let pod = "pod {__label_app=shop,namespace_name=default,new=x,pod_name=web}";
        assert_eq!(rows, [format!("{pod} memory/usage = 30"), format!("{pod} m = 1")]);
    }
}
