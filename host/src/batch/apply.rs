//! Carries out an edit: masks, then relabelling, then additions; then equal entities become one,
//! and equal points are merged by their metric's `merge`.
//!
//! The columns are rebuilt in one pass; strings and descriptors are moved, never copied.

use std::ops::Range;

use super::bounds::EditBounds;
use super::check::{Checked, check};
use super::columns::{Batch, Entities, Points, span};
use super::edit::{Edit, EditError};
use super::merge;
use super::registry::TypeRegistry;
use super::strings::NewStrings;

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
    /// Points that were to be added, of metrics that there is no room for.
    pub refused_points: u64,
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
    let checked = match check(&batch, edit, bounds, types) {
        Ok(checked) => checked,
        Err(error) => return Err(Box::new((batch, error))),
    };
    if edit.is_empty() {
        return Ok((batch, EditStats::default()));
    }
    Ok(apply_checked(batch, edit, checked))
}

fn apply_checked(mut batch: Batch, edit: &Edit, checked: Checked) -> (Batch, EditStats) {
    let ids = Ids::add(&mut batch, edit, checked);
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
            added += 1;
        }
        if added > first {
            out.add_points(&edit.added, first..added, &ids);
            touched.push(out.entities.len() as u32 - 1);
        }
        out.end_entity();
    }
    for row in 0..edit.new_entities.len() {
        out.add_entity(edit, row, &ids);
        touched.push(out.entities.len() as u32 - 1);
    }
    stats.refused_points = out.refused;
    stats.added_points = (edit.added.len() + edit.new_points.len()) as u64 - out.refused;
    stats.added_entities = edit.new_entities.len() as u64;
    batch.entities = out.entities;
    batch.points = out.points;

    let labels_changed = !edit.relabel_entity.is_empty() || !edit.new_entities.is_empty();
    stats.merged_points = merge::unite(&mut batch, labels_changed, &touched);
    (batch, stats)
}

/// A new metric that there is no room for.
const REFUSED: u32 = u32::MAX;

/// What the edit's ids are called in the batch.
struct Ids {
    strings: NewStrings,
    old_metrics: usize,
    metrics: Vec<u32>,
    old_sets: usize,
    sets: Vec<u32>,
}

impl Ids {
    /// Puts the edit's strings, descriptors and label sets into the batch.
    fn add(batch: &mut Batch, edit: &Edit, Checked { strings, refused }: Checked) -> Self {
        strings.add_to(&mut batch.symbols, edit);
        let (old_metrics, old_sets) = (batch.metrics.len(), batch.label_sets.ends.len());
        let mut ids = Self { strings, old_metrics, metrics: Vec::new(), old_sets, sets: Vec::new() };
        ids.add_metrics(batch, edit, &refused);
        ids.sets = (0..edit.new_label_sets.ends.len()).map(|row| ids.add_set(batch, edit, row)).collect();
        ids
    }

    fn symbol(&self, id: u32) -> u32 {
        self.strings.id(id)
    }

    fn metric(&self, id: u32) -> u32 {
        translate(id, self.old_metrics, &self.metrics)
    }

    fn set(&self, id: u32) -> u32 {
        translate(id, self.old_sets, &self.sets)
    }

    fn add_metrics(&mut self, batch: &mut Batch, edit: &Edit, refused: &[usize]) {
        let new = &edit.new_metrics;
        if new.is_empty() {
            return;
        }
        let metrics = &mut batch.metrics;
        let mut row_of = vec![REFUSED; batch.symbols.len()];
        for (row, &name) in metrics.name.iter().enumerate() {
            row_of[name as usize] = row as u32;
        }
        for row in 0..new.len() {
            let name = self.symbol(new.name[row]);
            let at = &mut row_of[name as usize];
            if *at == REFUSED && refused.binary_search(&row).is_err() {
                *at = metrics.name.len() as u32;
                metrics.name.push(name);
                metrics.unit.push(self.symbol(new.unit[row]));
                metrics.kind.push(new.kind[row]);
                metrics.value.push(new.value[row]);
                metrics.merge.push(new.merge[row]);
            }
            self.metrics.push(*at);
        }
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
    /// Points left out, since there is no room for their metrics.
    refused: u64,
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
            refused: 0,
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
        let (before, mut next) = (points.len(), range.start);
        while let Some(run) = merge::next_run(next..range.end, |at| edit.keep_points[at] != 0) {
            next = run.end;
            points.metric.extend_from_slice(&from.metric[run.clone()]);
            points.labels.extend_from_slice(&from.labels[run.clone()]);
            points.at.extend_from_slice(&from.at[run.clone()]);
            points.bits.extend_from_slice(&from.bits[run]);
        }
        (range.len() - (points.len() - before)) as u64
    }

    /// Adds rows of the edit's points.
    fn add_points(&mut self, from: &Points, rows: Range<usize>, ids: &Ids) {
        if ids.metrics.contains(&REFUSED) {
            for row in rows {
                match ids.metric(from.metric[row]) {
                    REFUSED => self.refused += 1,
                    metric => self.points.push(metric, ids.set(from.labels[row]), from.at[row], from.bits[row]),
                }
            }
            return;
        }
        self.points.metric.extend(from.metric[rows.clone()].iter().map(|&id| ids.metric(id)));
        self.points.labels.extend(from.labels[rows.clone()].iter().map(|&id| ids.set(id)));
        self.points.at.extend_from_slice(&from.at[rows.clone()]);
        self.points.bits.extend_from_slice(&from.bits[rows]);
    }

    fn add_entity(&mut self, edit: &Edit, row: usize, ids: &Ids) {
        let new = &edit.new_entities;
        self.entities.level.push(new.level[row]);
        self.entities.started_at.push(new.started_at[row]);
        for at in span(&new.label_ends, row) {
            self.entities.label_names.push(ids.symbol(new.label_names[at]));
            self.entities.label_values.push(ids.symbol(new.label_values[at]));
        }
        self.add_points(&edit.new_points, span(&new.point_ends, row), ids);
        self.end_entity();
    }

    fn end_entity(&mut self) {
        self.entities.label_ends.push(self.entities.label_names.len() as u32);
        self.entities.point_ends.push(self.points.len() as u32);
    }
}

#[cfg(test)]
mod tests;
