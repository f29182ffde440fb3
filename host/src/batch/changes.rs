//! What an edit asks for, for people who look at a rule at work: what it drops, which labels it
//! changes, what it adds. Reads the edit and its batch as they are; it carries nothing out, and what
//! becomes one by merging is not its affair.

use super::columns::{Batch, Points, span};
use super::edit::Edit;
use super::types::{Level, ValueType};
use super::view::{EntityView, PointView, Value};

/// An edit that was held against its batch and not refused. Of any other it says what it can.
#[derive(Debug)]
pub struct Changes<'a> {
    batch: &'a Batch,
    edit: &'a Edit,
    /// Entities whose labels change, with the rows of the changes in order.
    relabels: Vec<(u32, usize)>,
}

/// A label that changes: its name, what it was and what it becomes; `None` is no such label.
pub type LabelChange<'a> = (&'a str, Option<&'a str>, Option<&'a str>);

/// An entity that gets points, or is new.
#[derive(Debug, Clone)]
pub struct Added<'a> {
    /// Its level.
    pub level: Level,
    /// Its labels after the edit, by name and value.
    pub labels: Vec<(&'a str, &'a str)>,
    /// The points that are added.
    pub points: Vec<AddedPoint<'a>>,
}

/// A point that is added.
#[derive(Debug, Clone)]
pub struct AddedPoint<'a> {
    /// Its metric's name.
    pub metric: &'a str,
    /// Labels of its own.
    pub labels: Vec<(&'a str, &'a str)>,
    /// Its value.
    pub value: Value,
}

impl<'a> Changes<'a> {
    /// What `edit` asks for, which answers `batch`.
    #[must_use]
    pub fn new(batch: &'a Batch, edit: &'a Edit) -> Self {
        let mut relabels: Vec<_> = edit.relabel_entity.iter().copied().zip(0..).collect();
        relabels.sort_unstable();
        Self { batch, edit, relabels }
    }

    /// Entities that lose points, with these; an entity that is dropped without any has none.
    pub fn dropped(&self) -> impl Iterator<Item = (EntityView<'a>, Vec<PointView<'a>>)> {
        self.batch.iter().filter_map(move |entity| {
            let whole = self.edit.keep_entities.get(entity.row()) == Some(&0);
            let gone = |point: &PointView<'_>| whole || self.edit.keep_points.get(point.row()) == Some(&0);
            let points: Vec<_> = entity.points().filter(gone).collect();
            (whole || !points.is_empty()).then_some((entity, points))
        })
    }

    /// Entities whose labels change, with the changes that make a difference.
    pub fn relabelled(&self) -> impl Iterator<Item = (EntityView<'a>, Vec<LabelChange<'a>>)> {
        self.batch.iter().filter(|entity| !self.changes_of(*entity).is_empty()).filter_map(|entity| {
            let after = self.labels_after(entity);
            let now = |name: &str| after.iter().find(|(other, _)| *other == name).map(|(_, value)| *value);
            let gone =
                entity.labels().filter(|(name, _)| now(name).is_none()).map(|(name, was)| (name, Some(was), None));
            let come = after.iter().map(|&(name, value)| (name, entity.label(name), Some(value)));
            let changes: Vec<_> = gone.chain(come).filter(|(_, was, is)| was != is).collect();
            (!changes.is_empty()).then_some((entity, changes))
        })
    }

    /// Entities of the batch that get points, then the new ones.
    pub fn added(&self) -> impl Iterator<Item = Added<'a>> {
        let edit = self.edit;
        let mut at = 0;
        let old = self.batch.iter().filter_map(move |entity| {
            let first = at;
            while edit.added_entity.get(at).is_some_and(|&row| row as usize == entity.row()) {
                at += 1;
            }
            let points: Vec<_> = (first..at).map(|row| self.point(&edit.added, row)).collect();
            (!points.is_empty()).then(|| Added { level: entity.level(), labels: self.labels_after(entity), points })
        });
        let new = (0..edit.new_entities.len()).map(move |row| {
            let entities = &edit.new_entities;
            let labels = span(&entities.label_ends, row);
            Added {
                level: Level::from_byte(entities.level[row]).unwrap_or(Level::Other),
                labels: self.labels(&entities.label_names, &entities.label_values, labels),
                points: span(&entities.point_ends, row).map(|row| self.point(&edit.new_points, row)).collect(),
            }
        });
        old.chain(new)
    }

    /// The string behind an id that may be the batch's or the edit's.
    fn string(&self, id: u32) -> &'a str {
        match (id as usize).checked_sub(self.batch.symbols.len()) {
            None => self.batch.symbols.get(id),
            Some(new) => {
                let text = self.edit.new_text.get(span(&self.edit.new_text_ends, new)).unwrap_or_default();
                std::str::from_utf8(text).unwrap_or_default()
            }
        }
    }

    fn labels(&self, names: &'a [u32], values: &'a [u32], rows: std::ops::Range<usize>) -> Vec<(&'a str, &'a str)> {
        let (names, values) = (names.get(rows.clone()).unwrap_or_default(), values.get(rows).unwrap_or_default());
        names.iter().zip(values).map(|(&name, &value)| (self.string(name), self.string(value))).collect()
    }

    fn changes_of(&self, entity: EntityView<'_>) -> &[(u32, usize)] {
        let row = u32::try_from(entity.row()).unwrap_or(u32::MAX);
        let first = self.relabels.partition_point(|change| change.0 < row);
        let changes = &self.relabels[first..];
        &changes[..changes.partition_point(|change| change.0 == row)]
    }

    fn labels_after(&self, entity: EntityView<'a>) -> Vec<(&'a str, &'a str)> {
        let edit = self.edit;
        let mut labels: Vec<(&str, &str)> = entity.labels().collect();
        for &(_, row) in self.changes_of(entity) {
            let (Some(&name), Some(&value)) = (edit.relabel_name.get(row), edit.relabel_value.get(row)) else {
                continue;
            };
            let name = self.string(name);
            let place = labels.iter().position(|(other, _)| *other == name);
            match (place, value) {
                (Some(at), u32::MAX) => drop(labels.remove(at)),
                (None, u32::MAX) => {}
                (Some(at), value) => labels[at].1 = self.string(value),
                (None, value) => labels.push((name, self.string(value))),
            }
        }
        labels
    }

    fn point(&self, from: &'a Points, row: usize) -> AddedPoint<'a> {
        let (batch, edit) = (self.batch, self.edit);
        let id = from.metric.get(row).copied().unwrap_or(u32::MAX) as usize;
        let metrics = match id.checked_sub(batch.metrics.len()) {
            None => (&batch.metrics, id),
            Some(new) => (&edit.new_metrics, new),
        };
        let (metrics, at) = metrics;
        let bits = from.bits.get(row).copied().unwrap_or(0);
        let value = match metrics.value_type(u32::try_from(at).unwrap_or(u32::MAX)) {
            ValueType::Int => Value::Int(bits.cast_signed()),
            ValueType::Float => Value::Float(f64::from_bits(bits)),
        };
        let set = from.labels.get(row).copied().unwrap_or(0);
        let labels = match (set as usize).checked_sub(batch.label_sets.ends.len()) {
            None => self.labels(&batch.label_sets.names, &batch.label_sets.values, batch.label_set(set)),
            Some(new) => {
                let sets = &edit.new_label_sets;
                self.labels(&sets.names, &sets.values, span(&sets.ends, new))
            }
        };
        AddedPoint { metric: metrics.name.get(at).map_or("", |&name| self.string(name)), labels, value }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::rows::{Descriptors, build, parse};
    use crate::batch::{Entities, LabelSets, Metrics, Origin};

    fn batch() -> Batch {
        let rows = "pod {a=1,pod_name=web} m = 1\npod {a=1,pod_name=web} n = 2\npod {pod_name=idle} m = 3\n\
                    container {container_name=c} m{disk=x} = 4";
        let rows = parse(rows, &Descriptors::new()).unwrap();
        build(&rows, Origin::Node("node".into()), 0, &Descriptors::new()).unwrap()
    }

    #[test]
    fn drops_are_told_point_by_point() {
        let batch = batch();
        let edit = Edit { keep_entities: vec![1, 0, 1], keep_points: vec![1, 0, 1, 1], ..Edit::default() };
        let dropped: Vec<_> = Changes::new(&batch, &edit)
            .dropped()
            .map(|(entity, points)| (entity.row(), points.iter().map(PointView::metric).collect::<Vec<_>>()))
            .collect();
        assert_eq!(dropped, [(0, vec!["n"]), (1, vec!["m"])]);
        let nothing = Edit::default();
        assert_eq!(Changes::new(&batch, &nothing).dropped().count(), 0);
    }

    #[test]
    fn labels_are_told_with_what_they_were() {
        let batch = batch();
        let (old, new) = (|text: &str| batch.symbols.find(text).unwrap(), batch.symbols.len() as u32);
        let edit = Edit {
            relabel_entity: vec![0, 0, 0, 1, 2],
            relabel_name: vec![old("a"), new, old("pod_name"), old("a"), old("container_name")],
            relabel_value: vec![u32::MAX, new + 1, old("web"), u32::MAX, old("idle")],
            new_text: "teamshop".into(),
            new_text_ends: vec![4, 8],
            ..Edit::default()
        };
        let changes: Vec<_> = Changes::new(&batch, &edit).relabelled().map(|(entity, it)| (entity.row(), it)).collect();
        let first: Vec<LabelChange<'_>> = vec![("a", Some("1"), None), ("team", None, Some("shop"))];
        let last: Vec<LabelChange<'_>> = vec![("container_name", Some("c"), Some("idle"))];
        assert_eq!(changes, [(0, first), (2, last)], "what stays as it was is no change");
    }

    #[test]
    fn additions_have_their_labels_and_values() {
        let batch = batch();
        let (old, new) = (|text: &str| batch.symbols.find(text).unwrap(), batch.symbols.len() as u32);
        let (metrics, sets) = (batch.metrics.len() as u32, batch.label_sets.ends.len() as u32);
        let mut edit = Edit {
            new_text: "ratekshopnamespace_name".into(),
            new_text_ends: vec![4, 5, 9, 23],
            new_metrics: Metrics { name: vec![new], unit: vec![new], kind: vec![0], value: vec![1], merge: vec![0] },
            new_label_sets: LabelSets { ends: vec![1], names: vec![new + 1], values: vec![old("web")] },
            new_entities: Entities {
                level: vec![Level::Namespace as u8],
                label_ends: vec![1],
                label_names: vec![new + 3],
                label_values: vec![new + 2],
                started_at: vec![0],
                point_ends: vec![1],
            },
            added_entity: vec![1],
            ..Edit::default()
        };
        edit.added.push(metrics, sets, 0, 0.5_f64.to_bits());
        edit.new_points.push(0, 0, 0, 7);
        let added: Vec<_> = Changes::new(&batch, &edit).added().collect();
        let (point, total) = (&added[0].points[0], &added[1].points[0]);
        assert_eq!((added.len(), &*added[0].labels), (2, &[("pod_name", "idle")][..]));
        assert_eq!((point.metric, &*point.labels, point.value), ("rate", &[("k", "web")][..], Value::Float(0.5)));
        assert_eq!((added[1].level, &*added[1].labels), (Level::Namespace, &[("namespace_name", "shop")][..]));
        assert_eq!((total.metric, total.value), ("m", Value::Int(7)));
    }
}
