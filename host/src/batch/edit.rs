//! What a rule answers: what it drops, relabels and adds. Here it is described and checked against
//! its batch; `apply` carries it out. Nothing of an edit is believed: every index, string, level
//! and float comes from a rule that may be hostile.

use super::columns::{Batch, Entities, LabelSets, Metrics, Points, span};
use super::types::{Kind, Level, Merge, TypeConflict, TypeRegistry, ValueType};

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

/// How much one edit may add.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EditBounds {
    /// Added points, to old and new entities together.
    pub points: usize,
    /// New entities.
    pub entities: usize,
    /// Text of new strings, bytes.
    pub text_bytes: usize,
}

impl EditBounds {
    /// The default: four times the batch and 10,000; text 1 MiB and four times the batch's.
    #[must_use]
    pub fn for_batch(batch: &Batch) -> Self {
        Self {
            points: 4 * batch.points.len() + 10_000,
            entities: 4 * batch.entities.len() + 10_000,
            text_bytes: (1 << 20) + 4 * batch.symbols.text().len(),
        }
    }

    /// The bound of what `finish` may add: it has no batch to be measured by, and a rule that sums
    /// by pod has as many rows as the cluster has pods.
    #[must_use]
    pub fn for_totals() -> Self {
        Self { points: 4_000_000, entities: 400_000, text_bytes: 64 << 20 }
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

/// How many rows each table has with the edit's rows added.
struct Sizes {
    symbols: usize,
    metrics: usize,
    label_sets: usize,
    entities: usize,
}

/// Checks `edit` against the batch it answers. The value types of its metrics are remembered if
/// nothing is wrong with it, and not otherwise.
///
/// # Errors
/// The first thing that is wrong.
pub fn check(batch: &Batch, edit: &Edit, bounds: &EditBounds, types: &TypeRegistry) -> Result<(), EditError> {
    let added = edit.added.len() + edit.new_points.len();
    too_much("points", added, bounds.points)?;
    too_much("entities", edit.new_entities.len(), bounds.entities)?;
    too_much("bytes of text", edit.new_text.len(), bounds.text_bytes)?;
    too_much("metrics", edit.new_metrics.len(), 10_000)?;
    too_much("label sets", edit.new_label_sets.ends.len(), bounds.points)?;
    let labels = edit.new_entities.label_names.len() + edit.new_label_sets.names.len();
    too_much("labels", labels, 32 * bounds.entities + 2 * bounds.points)?;

    let sizes = Sizes {
        symbols: batch.symbols.len() + edit.new_text_ends.len(),
        metrics: batch.metrics.len() + edit.new_metrics.len(),
        label_sets: batch.label_sets.ends.len() + edit.new_label_sets.ends.len(),
        entities: batch.entities.len(),
    };
    let text = check_text(edit)?;
    check_masks(batch, edit)?;
    check_metrics(edit, &sizes)?;
    check_label_sets(batch, edit, &sizes, text)?;
    check_relabelling(edit, &sizes)?;
    check_new_entities(batch, edit, &sizes, text)?;
    check_points("new-points", batch, edit, &edit.new_points, &sizes, text)?;
    check_added(batch, edit, &sizes, text)?;
    // Last: a refused edit leaves no trace.
    let value = |row: usize| ValueType::from_byte(edit.new_metrics.value[row]);
    let name = |row: usize| string(batch, edit, text, edit.new_metrics.name[row]);
    types.check_all((0..edit.new_metrics.len()).filter_map(|row| Some((name(row), value(row)?))))?;
    Ok(())
}

/// Labels of one new entity or label set, and label changes of one entity: names within one are
/// compared each with each.
const MAX_LABELS: usize = 256;

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

fn check_masks(batch: &Batch, edit: &Edit) -> Result<(), EditError> {
    if !edit.keep_entities.is_empty() {
        length("keep-entities", edit.keep_entities.len(), batch.entities.len())?;
    }
    if !edit.keep_points.is_empty() {
        length("keep-points", edit.keep_points.len(), batch.points.len())?;
    }
    Ok(())
}

/// The string behind an id that may be old or new.
pub(super) fn string<'a>(batch: &'a Batch, edit: &'a Edit, text: &'a str, id: u32) -> &'a str {
    match (id as usize).checked_sub(batch.symbols.len()) {
        None => batch.symbols.get(id),
        Some(new) => text.get(span(&edit.new_text_ends, new)).unwrap_or(""),
    }
}

fn check_metrics(edit: &Edit, sizes: &Sizes) -> Result<(), EditError> {
    let new = &edit.new_metrics;
    for (column, rows) in [
        ("new-metrics.unit", new.unit.len()),
        ("new-metrics.kind", new.kind.len()),
        ("new-metrics.value", new.value.len()),
        ("new-metrics.merge", new.merge.len()),
    ] {
        length(column, rows, new.len())?;
    }
    indexes("new-metrics.name", &new.name, sizes.symbols)?;
    indexes("new-metrics.unit", &new.unit, sizes.symbols)?;
    for row in 0..new.len() {
        ValueType::from_byte(new.value[row]).ok_or(EditError::Byte("new-metrics.value", new.value[row]))?;
        Kind::from_byte(new.kind[row]).ok_or(EditError::Byte("new-metrics.kind", new.kind[row]))?;
        Merge::from_byte(new.merge[row]).ok_or(EditError::Byte("new-metrics.merge", new.merge[row]))?;
    }
    Ok(())
}

fn check_label_sets(batch: &Batch, edit: &Edit, sizes: &Sizes, text: &str) -> Result<(), EditError> {
    let sets = &edit.new_label_sets;
    length("new-label-sets.values", sets.values.len(), sets.names.len())?;
    indexes("new-label-sets.names", &sets.names, sizes.symbols)?;
    indexes("new-label-sets.values", &sets.values, sizes.symbols)?;
    ends("new-label-sets.ends", &sets.ends, sets.names.len())?;
    (0..sets.ends.len())
        .try_for_each(|row| distinct(batch, edit, text, &sets.names[span(&sets.ends, row)], "label set"))
}

fn distinct(batch: &Batch, edit: &Edit, text: &str, names: &[u32], what: &'static str) -> Result<(), EditError> {
    too_much("labels to one row", names.len(), MAX_LABELS)?;
    for (at, &name) in names.iter().enumerate() {
        let name = string(batch, edit, text, name);
        if names[..at].iter().any(|&other| string(batch, edit, text, other) == name) {
            return Err(EditError::Twice(name.to_owned(), what));
        }
    }
    Ok(())
}

fn kept(edit: &Edit, entity: u32) -> bool {
    edit.keep_entities.get(entity as usize).is_none_or(|&keep| keep != 0)
}

fn check_relabelling(edit: &Edit, sizes: &Sizes) -> Result<(), EditError> {
    let rows = edit.relabel_entity.len();
    length("relabel-name", edit.relabel_name.len(), rows)?;
    length("relabel-value", edit.relabel_value.len(), rows)?;
    indexes("relabel-entity", &edit.relabel_entity, sizes.entities)?;
    indexes("relabel-name", &edit.relabel_name, sizes.symbols)?;
    if rows > MAX_LABELS {
        let mut changes = vec![0; sizes.entities];
        edit.relabel_entity.iter().for_each(|&entity| changes[entity as usize] += 1);
        let most = changes.into_iter().max().unwrap_or(0);
        too_much("label changes to one entity", most, MAX_LABELS)?;
    }
    for (&entity, &value) in edit.relabel_entity.iter().zip(&edit.relabel_value) {
        if !kept(edit, entity) {
            return Err(EditError::Dropped(entity, "relabel-entity"));
        }
        if value != u32::MAX {
            indexes("relabel-value", &[value], sizes.symbols)?;
        }
    }
    Ok(())
}

fn check_new_entities(batch: &Batch, edit: &Edit, sizes: &Sizes, text: &str) -> Result<(), EditError> {
    let new = &edit.new_entities;
    for (column, rows) in [
        ("new-entities.label-ends", new.label_ends.len()),
        ("new-entities.started-at", new.started_at.len()),
        ("new-entities.point-ends", new.point_ends.len()),
    ] {
        length(column, rows, new.len())?;
    }
    length("new-entities.label-values", new.label_values.len(), new.label_names.len())?;
    indexes("new-entities.label-names", &new.label_names, sizes.symbols)?;
    indexes("new-entities.label-values", &new.label_values, sizes.symbols)?;
    ends("new-entities.label-ends", &new.label_ends, new.label_names.len())?;
    ends("new-entities.point-ends", &new.point_ends, edit.new_points.len())?;
    for (row, &level) in new.level.iter().enumerate() {
        Level::from_byte(level).ok_or(EditError::Byte("new-entities.level", level))?;
        distinct(batch, edit, text, &new.label_names[span(&new.label_ends, row)], "entity")?;
    }
    Ok(())
}

fn check_points(
    table: &'static str,
    batch: &Batch,
    edit: &Edit,
    points: &Points,
    sizes: &Sizes,
    text: &str,
) -> Result<(), EditError> {
    length(table, points.labels.len(), points.len())?;
    length(table, points.at.len(), points.len())?;
    length(table, points.bits.len(), points.len())?;
    indexes(table, &points.metric, sizes.metrics)?;
    indexes(table, &points.labels, sizes.label_sets)?;
    for (&metric, &bits) in points.metric.iter().zip(&points.bits) {
        let (name, value) = match (metric as usize).checked_sub(batch.metrics.len()) {
            None => (batch.metrics.name[metric as usize], batch.metrics.value[metric as usize]),
            Some(new) => (edit.new_metrics.name[new], edit.new_metrics.value[new]),
        };
        if value == ValueType::Float as u8 && !f64::from_bits(bits).is_finite() {
            return Err(EditError::NotFinite(string(batch, edit, text, name).to_owned()));
        }
    }
    Ok(())
}

fn check_added(batch: &Batch, edit: &Edit, sizes: &Sizes, text: &str) -> Result<(), EditError> {
    length("added-entity", edit.added_entity.len(), edit.added.len())?;
    indexes("added-entity", &edit.added_entity, sizes.entities)?;
    check_points("added", batch, edit, &edit.added, sizes, text)?;
    if !edit.added_entity.is_sorted() {
        return Err(EditError::Ends("added-entity", sizes.entities));
    }
    match edit.added_entity.iter().find(|&&entity| !kept(edit, entity)) {
        Some(&entity) => Err(EditError::Dropped(entity, "added-entity")),
        None => Ok(()),
    }
}
