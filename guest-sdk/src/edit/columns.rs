//! Makes of an edit what the contract wants: nothing that touches what is dropped, and additions in
//! the order of their entities.

use super::{Added, Edit};
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
        (self.raw.added_entity, self.raw.added) = by_entity(&self.added, self.entities);
        self.raw
    }

    /// The contract forbids to touch what is dropped.
    fn forget_dropped(&mut self) {
        let raw = &mut self.raw;
        if raw.keep_entities.is_empty() {
            return;
        }
        let kept = |entity: u32| raw.keep_entities.get(entity as usize) != Some(&0);
        self.added.retain(|row| kept(row.entity));
        let rows: Vec<bool> = raw.relabel_entity.iter().map(|&entity| kept(entity)).collect();
        if rows.contains(&false) {
            retain(&rows, &mut raw.relabel_entity);
            retain(&rows, &mut raw.relabel_name);
            retain(&rows, &mut raw.relabel_value);
        }
    }
}

/// Keeps the rows of a column that are marked.
fn retain(rows: &[bool], column: &mut Vec<u32>) {
    let mut rows = rows.iter();
    column.retain(|_| rows.next() != Some(&false));
}

/// The contract wants added points in the order of their entities; those of one stay as they came.
/// Counting places is several times cheaper than comparing rows.
fn by_entity(rows: &[Added], entities: usize) -> (Vec<u32>, wit::Points) {
    let mut places = vec![0u32; entities];
    for row in rows {
        places[row.entity as usize] += 1;
    }
    let mut next = 0;
    for place in &mut places {
        next += std::mem::replace(place, next);
    }
    let count = rows.len();
    let (mut entity, mut metric, mut labels) = (vec![0; count], vec![0; count], vec![0; count]);
    let (mut at, mut bits) = (vec![0; count], vec![0; count]);
    for row in rows {
        let place = &mut places[row.entity as usize];
        let to = *place as usize;
        *place += 1;
        // One check in the place of five.
        if to < count {
            entity[to] = row.entity;
            metric[to] = row.metric;
            labels[to] = row.labels;
            at[to] = row.at;
            bits[to] = row.bits;
        }
    }
    (entity, wit::Points { metric, labels, at, bits })
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
