//! Carries out an edit: masks, then relabelling, then additions; then equal entities become one,
//! and equal points are merged by their metric's `merge`.
//!
//! The columns are rebuilt in one pass; strings and descriptors are moved, never copied.

use super::columns::{Batch, Entities, Points, span};
use super::edit::{Edit, EditBounds, EditError, check};
use super::merge;
use super::types::TypeRegistry;

/// What an edit did, in points and entities.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct EditStats {
    /// Points dropped by a mask, with their entity or alone.
    pub dropped_points: u64,
    /// Entities dropped.
    pub dropped_entities: u64,
    /// Labels set or removed.
    pub relabelled: u64,
    /// Points added to old and new entities.
    pub added_points: u64,
    /// Entities added.
    pub added_entities: u64,
    /// Points that were merged into an equal one.
    pub merged_points: u64,
}

/// Applies `edit` to the batch it answers.
///
/// # Errors
/// The untouched batch and what is wrong with the edit.
pub fn apply(
    batch: Batch,
    edit: &Edit,
    bounds: &EditBounds,
    types: &TypeRegistry,
) -> Result<(Batch, EditStats), Box<(Batch, EditError)>> {
    if let Err(error) = check(&batch, edit, bounds, types) {
        return Err(Box::new((batch, error)));
    }
    if edit.is_empty() {
        return Ok((batch, EditStats::default()));
    }
    Ok(apply_checked(batch, edit))
}

fn apply_checked(mut batch: Batch, edit: &Edit) -> (Batch, EditStats) {
    let ids = Ids::add(&mut batch, edit);
    let mut stats = EditStats::default();
    let relabels = Relabels::new(edit, batch.entities.len());
    let mut out = Columns::with_room_for(&batch, edit);
    let mut touched = Vec::new();
    let mut added = 0;

    for row in 0..batch.entities.len() {
        if edit.keep_entities.get(row) == Some(&0) {
            stats.dropped_entities += 1;
            stats.dropped_points += batch.points_of(row).len() as u64;
            continue;
        }
        stats.relabelled += out.copy_entity(&batch, edit, &relabels, &ids, row);
        stats.dropped_points += out.copy_points(&batch, edit, row);
        let first = added;
        while edit.added_entity.get(added) == Some(&(row as u32)) {
            out.add_point(&edit.added, added, &ids);
            added += 1;
        }
        if added > first {
            touched.push(out.entities.len() as u32 - 1);
        }
        out.end_entity();
    }
    for row in 0..edit.new_entities.len() {
        out.add_entity(edit, row, &ids);
        touched.push(out.entities.len() as u32 - 1);
    }
    stats.added_points = (edit.added.len() + edit.new_points.len()) as u64;
    stats.added_entities = edit.new_entities.len() as u64;
    batch.entities = out.entities;
    batch.points = out.points;

    let labels_changed = !edit.relabel_entity.is_empty() || !edit.new_entities.is_empty();
    stats.merged_points = merge::unite(&mut batch, labels_changed, &touched);
    (batch, stats)
}

/// What the edit's ids are called in the batch.
struct Ids {
    old_symbols: usize,
    symbols: Vec<u32>,
    old_metrics: usize,
    metrics: Vec<u32>,
    old_sets: usize,
    sets: Vec<u32>,
}

impl Ids {
    /// Interns the edit's strings, descriptors and label sets into the batch.
    fn add(batch: &mut Batch, edit: &Edit) -> Self {
        let (old_symbols, old_metrics, old_sets) =
            (batch.symbols.len(), batch.metrics.len(), batch.label_sets.ends.len());
        let text = std::str::from_utf8(&edit.new_text).unwrap_or("");
        let symbols = (0..edit.new_text_ends.len())
            .map(|row| batch.symbols.intern(text.get(span(&edit.new_text_ends, row)).unwrap_or("")))
            .collect();
        let mut ids = Self { old_symbols, symbols, old_metrics, metrics: Vec::new(), old_sets, sets: Vec::new() };
        ids.metrics = (0..edit.new_metrics.len()).map(|row| ids.add_metric(batch, edit, row)).collect();
        ids.sets = (0..edit.new_label_sets.ends.len()).map(|row| ids.add_set(batch, edit, row)).collect();
        ids
    }

    fn symbol(&self, id: u32) -> u32 {
        translate(id, self.old_symbols, &self.symbols)
    }

    fn metric(&self, id: u32) -> u32 {
        translate(id, self.old_metrics, &self.metrics)
    }

    fn set(&self, id: u32) -> u32 {
        translate(id, self.old_sets, &self.sets)
    }

    fn add_metric(&self, batch: &mut Batch, edit: &Edit, row: usize) -> u32 {
        let name = self.symbol(edit.new_metrics.name[row]);
        let metrics = &mut batch.metrics;
        if let Some(known) = metrics.name.iter().position(|&other| other == name) {
            return known as u32;
        }
        metrics.name.push(name);
        metrics.unit.push(self.symbol(edit.new_metrics.unit[row]));
        metrics.kind.push(edit.new_metrics.kind[row]);
        metrics.value.push(edit.new_metrics.value[row]);
        metrics.merge.push(edit.new_metrics.merge[row]);
        metrics.name.len() as u32 - 1
    }

    fn add_set(&self, batch: &mut Batch, edit: &Edit, row: usize) -> u32 {
        let range = span(&edit.new_label_sets.ends, row);
        if range.is_empty() {
            return 0;
        }
        let sets = &mut batch.label_sets;
        sets.names.extend(edit.new_label_sets.names[range.clone()].iter().map(|&id| self.symbol(id)));
        sets.values.extend(edit.new_label_sets.values[range].iter().map(|&id| self.symbol(id)));
        sets.ends.push(sets.names.len() as u32);
        sets.ends.len() as u32 - 1
    }
}

fn translate(id: u32, old: usize, new: &[u32]) -> u32 {
    match (id as usize).checked_sub(old) {
        None => id,
        Some(row) => new[row],
    }
}

/// The label changes of each entity, in the order the rule gave them.
struct Relabels {
    first: Vec<u32>,
    next: Vec<u32>,
}

impl Relabels {
    fn new(edit: &Edit, entities: usize) -> Self {
        if edit.relabel_entity.is_empty() {
            return Self { first: Vec::new(), next: Vec::new() };
        }
        let mut first = vec![u32::MAX; entities];
        let mut next = vec![u32::MAX; edit.relabel_entity.len()];
        for (change, &entity) in edit.relabel_entity.iter().enumerate().rev() {
            next[change] = std::mem::replace(&mut first[entity as usize], change as u32);
        }
        Self { first, next }
    }

    fn of(&self, entity: usize) -> impl Iterator<Item = usize> + '_ {
        let mut at = self.first.get(entity).copied().unwrap_or(u32::MAX);
        std::iter::from_fn(move || {
            let change = (at != u32::MAX).then_some(at as usize)?;
            at = self.next[change];
            Some(change)
        })
    }
}

/// The entity and point columns under construction.
struct Columns {
    entities: Entities,
    points: Points,
}

impl Columns {
    fn with_room_for(batch: &Batch, edit: &Edit) -> Self {
        let entities = batch.entities.len() + edit.new_entities.len();
        let labels = batch.entities.label_names.len() + edit.new_entities.label_names.len() + edit.relabel_entity.len();
        let points = if edit.keep_points.is_empty() {
            batch.points.len()
        } else {
            edit.keep_points.iter().filter(|&&keep| keep != 0).count()
        } + edit.added.len()
            + edit.new_points.len();
        Self {
            entities: Entities {
                level: Vec::with_capacity(entities),
                label_ends: Vec::with_capacity(entities),
                label_names: Vec::with_capacity(labels),
                label_values: Vec::with_capacity(labels),
                started_at: Vec::with_capacity(entities),
                point_ends: Vec::with_capacity(entities),
            },
            points: Points {
                metric: Vec::with_capacity(points),
                labels: Vec::with_capacity(points),
                at: Vec::with_capacity(points),
                bits: Vec::with_capacity(points),
            },
        }
    }

    /// Copies an entity's row and labels, changed as the rule says; answers how many changes.
    fn copy_entity(&mut self, batch: &Batch, edit: &Edit, relabels: &Relabels, ids: &Ids, row: usize) -> u64 {
        self.entities.level.push(batch.entities.level[row]);
        self.entities.started_at.push(batch.entities.started_at[row]);
        let start = self.entities.label_names.len();
        let range = batch.labels_of(row);
        self.entities.label_names.extend_from_slice(&batch.entities.label_names[range.clone()]);
        self.entities.label_values.extend_from_slice(&batch.entities.label_values[range]);
        let mut changes = 0;
        for change in relabels.of(row) {
            let name = ids.symbol(edit.relabel_name[change]);
            self.relabel(start, name, edit.relabel_value[change], ids);
            changes += 1;
        }
        changes
    }

    fn relabel(&mut self, start: usize, name: u32, value: u32, ids: &Ids) {
        let entities = &mut self.entities;
        let found = entities.label_names[start..].iter().position(|&other| other == name);
        match (found, value) {
            (Some(at), u32::MAX) => {
                entities.label_names.remove(start + at);
                entities.label_values.remove(start + at);
            }
            (Some(at), value) => entities.label_values[start + at] = ids.symbol(value),
            (None, u32::MAX) => {}
            (None, value) => {
                entities.label_names.push(name);
                entities.label_values.push(ids.symbol(value));
            }
        }
    }

    /// Copies the points that the mask keeps; answers how many it drops.
    fn copy_points(&mut self, batch: &Batch, edit: &Edit, row: usize) -> u64 {
        let range = batch.points_of(row);
        let (from, points) = (&batch.points, &mut self.points);
        if edit.keep_points.is_empty() {
            points.metric.extend_from_slice(&from.metric[range.clone()]);
            points.labels.extend_from_slice(&from.labels[range.clone()]);
            points.at.extend_from_slice(&from.at[range.clone()]);
            points.bits.extend_from_slice(&from.bits[range]);
            return 0;
        }
        let mut dropped = 0;
        for at in range {
            if edit.keep_points[at] == 0 {
                dropped += 1;
            } else {
                points.push(from.metric[at], from.labels[at], from.at[at], from.bits[at]);
            }
        }
        dropped
    }

    fn add_point(&mut self, from: &Points, row: usize, ids: &Ids) {
        self.points.push(ids.metric(from.metric[row]), ids.set(from.labels[row]), from.at[row], from.bits[row]);
    }

    fn add_entity(&mut self, edit: &Edit, row: usize, ids: &Ids) {
        let new = &edit.new_entities;
        self.entities.level.push(new.level[row]);
        self.entities.started_at.push(new.started_at[row]);
        for at in span(&new.label_ends, row) {
            self.entities.label_names.push(ids.symbol(new.label_names[at]));
            self.entities.label_values.push(ids.symbol(new.label_values[at]));
        }
        for at in span(&new.point_ends, row) {
            self.add_point(&edit.new_points, at, ids);
        }
        self.end_entity();
    }

    fn end_entity(&mut self) {
        self.entities.label_ends.push(self.entities.label_names.len() as u32);
        self.entities.point_ends.push(self.points.len() as u32);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::{BatchBuilder, Descriptor, Level, Origin, Value, strip_private};

    /// Two pods with one metric each, and a private label.
    fn sample() -> Batch {
        let mut builder = BatchBuilder::new(Origin::Node("n".into()), 0);
        let (pod, secret) = (builder.symbol("pod_name"), builder.symbol("__phase"));
        let usage = builder.metric(Descriptor::gauge("memory/usage", "bytes"));
        let request = builder.metric(Descriptor::gauge("__request/cpu", ""));
        for (name, value) in [("a", 1_u64), ("b", 2)] {
            builder.entity(Level::Pod, 0);
            let (name, phase) = (builder.symbol(name), builder.symbol("Running"));
            builder.label(pod, name);
            builder.label(secret, phase);
            builder.point(usage, 0, 5, value);
            builder.point(request, 0, 0, 100);
        }
        builder.build()
    }

    fn rows(batch: &Batch) -> Vec<String> {
        let mut rows = Vec::new();
        for entity in batch.iter() {
            let labels: Vec<_> = entity.labels().map(|(k, v)| format!("{k}={v}")).collect();
            for point in entity.points() {
                let Value::Int(value) = point.value() else {
                    continue;
                };
                rows.push(format!("{} {}={value}", labels.join(","), point.metric()));
            }
        }
        rows
    }

    fn applied(edit: &Edit) -> Result<(Vec<String>, EditStats), EditError> {
        let batch = sample();
        let bounds = EditBounds::for_batch(&batch);
        match apply(batch, edit, &bounds, &TypeRegistry::default()) {
            Ok((batch, stats)) => Ok((rows(&strip_private(batch)), stats)),
            Err(refused) => {
                assert_eq!(rows(&refused.0), rows(&sample()), "a refused edit leaves the batch alone");
                Err(refused.1)
            }
        }
    }

    #[test]
    fn an_empty_edit_keeps_all_but_what_is_private() {
        let (rows, stats) = applied(&Edit::default()).unwrap();
        assert_eq!(rows, ["pod_name=a memory/usage=1", "pod_name=b memory/usage=2"]);
        assert_eq!(stats, EditStats::default());
    }

    #[test]
    fn masks_drop_entities_and_points() {
        let edit = Edit { keep_entities: vec![0, 1], ..Edit::default() };
        let (rows, stats) = applied(&edit).unwrap();
        assert_eq!(rows, ["pod_name=b memory/usage=2"]);
        assert_eq!((stats.dropped_entities, stats.dropped_points), (1, 2));
        let edit = Edit { keep_points: vec![0, 1, 1, 1], ..Edit::default() };
        assert_eq!(applied(&edit).unwrap().0, ["pod_name=b memory/usage=2"]);
    }

    #[test]
    fn entities_that_are_equal_after_relabelling_become_one_and_their_points_merge() {
        let batch = sample();
        let (pod, a) = (batch.symbols.find("pod_name").unwrap(), batch.symbols.find("a").unwrap());
        let edit = Edit { relabel_entity: vec![1], relabel_name: vec![pod], relabel_value: vec![a], ..Edit::default() };
        let (rows, stats) = applied(&edit).unwrap();
        assert_eq!(rows, ["pod_name=a memory/usage=3"]);
        assert_eq!((stats.relabelled, stats.merged_points), (1, 2));
    }

    #[test]
    fn points_are_added_to_old_and_new_entities() {
        let batch = sample();
        let (symbols, metrics) = (batch.symbols.len() as u32, batch.metrics.len() as u32);
        let mut edit = Edit { new_text: "ratex".into(), ..Edit::default() };
        edit.new_text_ends = vec![4, 5];
        edit.new_metrics.name = vec![symbols];
        edit.new_metrics.unit = vec![symbols + 1];
        edit.new_metrics.kind = vec![0];
        edit.new_metrics.value = vec![0];
        edit.new_metrics.merge = vec![0];
        edit.added_entity = vec![0, 0];
        edit.added.push(metrics, 0, 0, 7);
        edit.added.push(0, 0, 9, 10);
        edit.new_entities.level = vec![6];
        edit.new_entities.started_at = vec![0];
        edit.new_entities.label_ends = vec![1];
        edit.new_entities.label_names = vec![symbols + 1];
        edit.new_entities.label_values = vec![symbols + 1];
        edit.new_entities.point_ends = vec![1];
        edit.new_points.push(metrics, 0, 0, 8);
        let (rows, stats) = applied(&edit).unwrap();
        assert_eq!(
            rows,
            ["pod_name=a memory/usage=11", "pod_name=a rate=7", "pod_name=b memory/usage=2", "x=x rate=8"]
        );
        assert_eq!((stats.added_points, stats.added_entities, stats.merged_points), (3, 1, 1));
    }

    #[test]
    fn a_refused_edit_takes_no_metric_name() {
        let (batch, types) = (sample(), TypeRegistry::default());
        let bounds = EditBounds::for_batch(&batch);
        let (name, metric) = (batch.symbols.len() as u32, batch.metrics.len() as u32);
        let mut edit = Edit { new_text: "rate".into(), new_text_ends: vec![4], ..Edit::default() };
        (edit.new_metrics.name, edit.new_metrics.unit) = (vec![name], vec![name]);
        (edit.new_metrics.kind, edit.new_metrics.value, edit.new_metrics.merge) = (vec![0], vec![1], vec![0]);
        edit.added_entity = vec![0];
        edit.added.push(metric, 0, 0, f64::NAN.to_bits());
        assert!(apply(batch, &edit, &bounds, &types).is_err());
        // As an integer it is another metric of the same name: free, since the float was refused.
        edit.new_metrics.value = vec![0];
        assert!(apply(sample(), &edit, &bounds, &types).is_ok());
        edit.new_metrics.value = vec![1];
        edit.added.bits = vec![0];
        assert!(
            matches!(apply(sample(), &edit, &bounds, &types), Err(refused) if matches!(refused.1, EditError::Type(_)))
        );
    }

    type Spoilt = (&'static str, fn(&mut Edit));

    #[test]
    fn every_wrong_column_is_refused_and_the_batch_kept() {
        let wrong: &[Spoilt] = &[
            ("short entity mask", |edit| edit.keep_entities = vec![1]),
            ("long point mask", |edit| edit.keep_points = vec![1; 99]),
            ("relabelled entity past the end", |edit| {
                (edit.relabel_entity, edit.relabel_name, edit.relabel_value) = (vec![9], vec![0], vec![0]);
            }),
            ("relabel columns of two lengths", |edit| edit.relabel_entity = vec![0]),
            ("relabel to an unknown symbol", |edit| {
                (edit.relabel_entity, edit.relabel_name, edit.relabel_value) = (vec![0], vec![0], vec![4_000_000_000]);
            }),
            ("relabel of a dropped entity", |edit| {
                edit.keep_entities = vec![0, 1];
                (edit.relabel_entity, edit.relabel_name, edit.relabel_value) = (vec![0], vec![0], vec![0]);
            }),
            ("new text that is not UTF-8", |edit| {
                (edit.new_text, edit.new_text_ends) = (vec![0xff], vec![1]);
            }),
            ("a string that ends inside a character", |edit| {
                (edit.new_text, edit.new_text_ends) = ("é".into(), vec![1, 2]);
            }),
            ("text ends that fall", |edit| {
                (edit.new_text, edit.new_text_ends) = ("abc".into(), vec![2, 1, 3]);
            }),
            ("added point of an unknown metric", |edit| {
                edit.added_entity = vec![0];
                edit.added.push(99, 0, 0, 0);
            }),
            ("added point of an unknown label set", |edit| {
                edit.added_entity = vec![0];
                edit.added.push(0, 99, 0, 0);
            }),
            ("added entities that fall", |edit| {
                edit.added_entity = vec![1, 0];
                edit.added.push(0, 0, 0, 0);
                edit.added.push(0, 0, 0, 0);
            }),
            ("a level that means nothing", |edit| {
                edit.new_entities.level = vec![77];
                edit.new_entities.started_at = vec![0];
                edit.new_entities.label_ends = vec![0];
                edit.new_entities.point_ends = vec![0];
            }),
            ("a new float that is NaN", |edit| {
                edit.new_metrics.name = vec![0];
                edit.new_metrics.unit = vec![0];
                edit.new_metrics.kind = vec![0];
                edit.new_metrics.value = vec![1];
                edit.new_metrics.merge = vec![0];
                edit.added_entity = vec![0];
                edit.added.push(2, 0, 0, f64::NAN.to_bits());
            }),
            ("too many points", |edit| edit.added.metric = vec![0; 20_000]),
        ];
        for (name, spoil) in wrong {
            let mut edit = Edit::default();
            spoil(&mut edit);
            assert!(applied(&edit).is_err(), "{name}");
        }
    }
}
