//! Holds an edit against the batch it answers. Nothing of an edit is believed: every index, string,
//! level and float comes from a rule that may be hostile. No check takes longer than the edit's
//! bytes and the batch's rows allow: the time limits of calls do not cover it.

use super::bounds::{EditBounds, LABELS_IN_A_ROW, METRICS, NAME_BYTES, SET_BYTES};
use super::columns::{Batch, Points, span};
use super::edit::{Edit, EditError};
use super::registry::TypeRegistry;
use super::strings::{NewStrings, Stamps};
use super::types::{Kind, Level, Merge, ValueType};

/// How many rows each table has with the edit's rows added.
struct Sizes {
    symbols: usize,
    metrics: usize,
    label_sets: usize,
    entities: usize,
}

/// What the checks found out, for carrying the edit out.
pub(super) struct Checked {
    /// The edit's new strings under their ids in the batch.
    pub strings: NewStrings,
    /// Rows of new metrics that there is no room for, rising: their points are left out.
    pub refused: Vec<usize>,
}

/// What every check needs.
struct Checker<'e> {
    batch: &'e Batch,
    edit: &'e Edit,
    text: &'e str,
    strings: NewStrings,
    sizes: Sizes,
}

/// Checks `edit` against the batch it answers, in time that grows with its bytes alone. The value
/// types of its metrics are remembered if nothing is wrong with it, and not otherwise.
///
/// # Errors
/// The first thing that is wrong.
pub(super) fn check(
    batch: &Batch,
    edit: &Edit,
    bounds: &EditBounds,
    types: &TypeRegistry,
) -> Result<Checked, EditError> {
    too_much("points", edit.added.len() + edit.new_points.len(), bounds.points)?;
    too_much("entities", edit.new_entities.len(), bounds.entities)?;
    too_much("bytes of text", edit.new_text.len(), bounds.text_bytes)?;
    too_much("metrics", edit.new_metrics.len(), METRICS)?;
    too_much("label sets", edit.new_label_sets.ends.len(), bounds.points)?;
    let labels = edit.new_entities.label_names.len() + edit.new_label_sets.names.len() + edit.relabel_entity.len();
    too_much("labels", labels, bounds.labels)?;

    let text = check_text(edit)?;
    let sizes = Sizes {
        symbols: batch.symbols.len() + edit.new_text_ends.len(),
        metrics: batch.metrics.len() + edit.new_metrics.len(),
        label_sets: batch.label_sets.ends.len() + edit.new_label_sets.ends.len(),
        entities: batch.entities.len(),
    };
    let checker = Checker { batch, edit, text, strings: NewStrings::of(&batch.symbols, text, edit), sizes };
    checker.masks()?;
    checker.metrics()?;
    let mut stamps = Stamps::new(checker.strings.count());
    checker.label_sets(&mut stamps)?;
    checker.relabelling()?;
    checker.new_entities(&mut stamps)?;
    checker.label_bytes(bounds.label_bytes)?;
    checker.points("new-points", &edit.new_points)?;
    checker.added()?;
    // Last: a refused edit leaves no trace.
    let named = (0..edit.new_metrics.len()).map(|row| {
        let value = ValueType::from_byte(edit.new_metrics.value[row]).unwrap_or(ValueType::Int);
        (checker.string(edit.new_metrics.name[row]), value)
    });
    let refused = types.check_all(named)?;
    Ok(Checked { strings: checker.strings, refused })
}

fn too_much(what: &'static str, got: usize, bound: usize) -> Result<(), EditError> {
    if got > bound { Err(EditError::TooMuch(what, got, bound)) } else { Ok(()) }
}

fn length(column: &'static str, got: usize, want: usize) -> Result<(), EditError> {
    if got == want { Ok(()) } else { Err(EditError::Length(column, got, want)) }
}

fn indexes(column: &'static str, ids: &[u32], rows: usize) -> Result<(), EditError> {
    match ids.iter().max() {
        Some(&worst) if worst as usize >= rows => Err(EditError::Index(column, worst, rows)),
        _ => Ok(()),
    }
}

fn ends(column: &'static str, ends: &[u32], to: usize) -> Result<(), EditError> {
    let rises = ends.windows(2).all(|pair| pair[0] <= pair[1]);
    if rises && ends.last().copied().unwrap_or(0) as usize == to { Ok(()) } else { Err(EditError::Ends(column, to)) }
}

fn check_text(edit: &Edit) -> Result<&str, EditError> {
    let text = std::str::from_utf8(&edit.new_text).map_err(|_| EditError::Utf8)?;
    ends("new-symbols.ends", &edit.new_text_ends, text.len())?;
    if edit.new_text_ends.iter().all(|&end| text.is_char_boundary(end as usize)) {
        Ok(text)
    } else {
        Err(EditError::Utf8)
    }
}

/// A string for a message: a rule's strings may be long.
fn short(string: &str) -> String {
    string.chars().take(200).collect()
}

fn kept(edit: &Edit, entity: u32) -> bool {
    edit.keep_entities.get(entity as usize).is_none_or(|&keep| keep != 0)
}

impl<'e> Checker<'e> {
    fn masks(&self) -> Result<(), EditError> {
        let (edit, batch) = (self.edit, self.batch);
        if !edit.keep_entities.is_empty() {
            length("keep-entities", edit.keep_entities.len(), batch.entities.len())?;
        }
        if !edit.keep_points.is_empty() {
            length("keep-points", edit.keep_points.len(), batch.points.len())?;
        }
        Ok(())
    }

    /// The string behind an id that may be old or new.
    fn string(&self, id: u32) -> &'e str {
        match (id as usize).checked_sub(self.batch.symbols.len()) {
            None => self.batch.symbols.get(id),
            Some(new) => self.text.get(span(&self.edit.new_text_ends, new)).unwrap_or(""),
        }
    }

    fn metrics(&self) -> Result<(), EditError> {
        let new = &self.edit.new_metrics;
        for (column, rows) in [
            ("new-metrics.unit", new.unit.len()),
            ("new-metrics.kind", new.kind.len()),
            ("new-metrics.value", new.value.len()),
            ("new-metrics.merge", new.merge.len()),
        ] {
            length(column, rows, new.len())?;
        }
        indexes("new-metrics.name", &new.name, self.sizes.symbols)?;
        indexes("new-metrics.unit", &new.unit, self.sizes.symbols)?;
        for row in 0..new.len() {
            ValueType::from_byte(new.value[row]).ok_or(EditError::Byte("new-metrics.value", new.value[row]))?;
            Kind::from_byte(new.kind[row]).ok_or(EditError::Byte("new-metrics.kind", new.kind[row]))?;
            Merge::from_byte(new.merge[row]).ok_or(EditError::Byte("new-metrics.merge", new.merge[row]))?;
            let bytes = self.string(new.name[row]).len().max(self.string(new.unit[row]).len());
            too_much("bytes to a metric's name or unit", bytes, NAME_BYTES)?;
        }
        Ok(())
    }

    fn label_sets(&self, stamps: &mut Stamps) -> Result<(), EditError> {
        let sets = &self.edit.new_label_sets;
        length("new-label-sets.values", sets.values.len(), sets.names.len())?;
        indexes("new-label-sets.names", &sets.names, self.sizes.symbols)?;
        indexes("new-label-sets.values", &sets.values, self.sizes.symbols)?;
        ends("new-label-sets.ends", &sets.ends, sets.names.len())?;
        for row in 0..sets.ends.len() {
            let range = span(&sets.ends, row);
            self.distinct(&sets.names[range.clone()], stamps, "label set")?;
            let bytes = sets.names[range.clone()].iter().chain(&sets.values[range]).map(|&id| self.string(id).len());
            too_much("bytes to one label set", bytes.sum(), SET_BYTES)?;
        }
        Ok(())
    }

    fn distinct(&self, names: &[u32], stamps: &mut Stamps, what: &'static str) -> Result<(), EditError> {
        too_much("labels to one row", names.len(), LABELS_IN_A_ROW)?;
        stamps.next_row();
        match names.iter().find(|&&name| stamps.again(self.strings.id(name))) {
            Some(&name) => Err(EditError::Twice(short(self.string(name)), what)),
            None => Ok(()),
        }
    }

    fn relabelling(&self) -> Result<(), EditError> {
        let edit = self.edit;
        let rows = edit.relabel_entity.len();
        length("relabel-name", edit.relabel_name.len(), rows)?;
        length("relabel-value", edit.relabel_value.len(), rows)?;
        indexes("relabel-entity", &edit.relabel_entity, self.sizes.entities)?;
        indexes("relabel-name", &edit.relabel_name, self.sizes.symbols)?;
        if rows > LABELS_IN_A_ROW {
            let mut changes = vec![0; self.sizes.entities];
            edit.relabel_entity.iter().for_each(|&entity| changes[entity as usize] += 1);
            let most = changes.into_iter().max().unwrap_or(0);
            too_much("label changes to one entity", most, LABELS_IN_A_ROW)?;
        }
        for (&entity, &value) in edit.relabel_entity.iter().zip(&edit.relabel_value) {
            if !kept(edit, entity) {
                return Err(EditError::Dropped(entity, "relabel-entity"));
            }
            if value != u32::MAX {
                indexes("relabel-value", &[value], self.sizes.symbols)?;
            }
        }
        Ok(())
    }

    fn new_entities(&self, stamps: &mut Stamps) -> Result<(), EditError> {
        let new = &self.edit.new_entities;
        for (column, rows) in [
            ("new-entities.label-ends", new.label_ends.len()),
            ("new-entities.started-at", new.started_at.len()),
            ("new-entities.point-ends", new.point_ends.len()),
        ] {
            length(column, rows, new.len())?;
        }
        length("new-entities.label-values", new.label_values.len(), new.label_names.len())?;
        indexes("new-entities.label-names", &new.label_names, self.sizes.symbols)?;
        indexes("new-entities.label-values", &new.label_values, self.sizes.symbols)?;
        ends("new-entities.label-ends", &new.label_ends, new.label_names.len())?;
        ends("new-entities.point-ends", &new.point_ends, self.edit.new_points.len())?;
        for (row, &level) in new.level.iter().enumerate() {
            Level::from_byte(level).ok_or(EditError::Byte("new-entities.level", level))?;
            self.distinct(&new.label_names[span(&new.label_ends, row)], stamps, "entity")?;
        }
        Ok(())
    }

    /// Sinks write a label's text on every row that has it, whatever it costs here.
    fn label_bytes(&self, bound: usize) -> Result<(), EditError> {
        let (edit, new) = (self.edit, &self.edit.new_entities);
        let ids = [&edit.relabel_name, &edit.relabel_value, &new.label_names, &new.label_values];
        let ids = ids.into_iter().flatten().filter(|&&id| id != u32::MAX);
        too_much("bytes of labels", ids.map(|&id| self.string(id).len()).sum(), bound)
    }

    fn points(&self, table: &'static str, points: &Points) -> Result<(), EditError> {
        let (batch, edit) = (self.batch, self.edit);
        length(table, points.labels.len(), points.len())?;
        length(table, points.at.len(), points.len())?;
        length(table, points.bits.len(), points.len())?;
        indexes(table, &points.metric, self.sizes.metrics)?;
        indexes(table, &points.labels, self.sizes.label_sets)?;
        for (&metric, &bits) in points.metric.iter().zip(&points.bits) {
            let (name, value) = match (metric as usize).checked_sub(batch.metrics.len()) {
                None => (batch.metrics.name[metric as usize], batch.metrics.value[metric as usize]),
                Some(new) => (edit.new_metrics.name[new], edit.new_metrics.value[new]),
            };
            if value == ValueType::Float as u8 && !f64::from_bits(bits).is_finite() {
                return Err(EditError::NotFinite(short(self.string(name))));
            }
        }
        Ok(())
    }

    fn added(&self) -> Result<(), EditError> {
        let edit = self.edit;
        length("added-entity", edit.added_entity.len(), edit.added.len())?;
        indexes("added-entity", &edit.added_entity, self.sizes.entities)?;
        self.points("added", &edit.added)?;
        if !edit.added_entity.is_sorted() {
            return Err(EditError::Ends("added-entity", self.sizes.entities));
        }
        match edit.added_entity.iter().find(|&&entity| !kept(edit, entity)) {
            Some(&entity) => Err(EditError::Dropped(entity, "added-entity")),
            None => Ok(()),
        }
    }
}
