//! A shape: everything of a batch but its values, as long as it stays the same from cycle to cycle.
//!
//! Strings, sequences of label names and lists of (metric, label set) stand in it once: what the
//! containers of a node differ by is a few labels. A shape is immutable; the cycles that have it
//! share it.

use std::ops::Range;

use hashbrown::HashMap;

use super::code::Bits;
use super::fit::{SEARCHED, entities};
use crate::batch::{Batch, Kind, Level, Symbols, ValueType};

/// One metric of a shape.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Metric {
    /// String of the name.
    pub name: u32,
    /// String of the unit.
    pub unit: u32,
    /// Gauge or cumulative.
    pub kind: Kind,
    /// How values are read.
    pub value: ValueType,
}

/// One monitored thing of a shape.
#[derive(Debug, Clone, Copy)]
pub(super) struct Entity {
    pub level: Level,
    /// Sequence of label names.
    pub names: u32,
    /// First of its labels' values.
    pub values: u32,
    /// List of (metric, label set).
    pub list: u32,
    /// First of its rows.
    pub rows: u32,
    /// ns since the epoch; 0 = unknown.
    pub started_at: i64,
}

/// Sequences of different lengths, one after the other.
#[derive(Debug, Default)]
struct Sequences<T> {
    ends: Vec<u32>,
    items: Vec<T>,
}

impl<T> Sequences<T> {
    fn get(&self, at: u32) -> &[T] {
        let end = |at: u32| self.ends.get(at as usize).map_or(self.items.len(), |&end| end as usize);
        let start = if at == 0 { 0 } else { end(at - 1) };
        self.items.get(start..end(at)).unwrap_or_default()
    }

    fn len(&self) -> usize {
        self.ends.len()
    }

    fn size_bytes(&self) -> usize {
        self.ends.len() * 4 + self.items.len() * size_of::<T>()
    }

    fn shrink(mut self) -> Self {
        self.ends.shrink_to_fit();
        self.items.shrink_to_fit();
        self
    }
}

impl<T: Copy + Eq + std::hash::Hash> Sequences<T> {
    fn intern(&mut self, known: &mut HashMap<Box<[T]>, u32>, sequence: &[T]) -> u32 {
        if let Some(&at) = known.get(sequence) {
            return at;
        }
        let at = self.len() as u32;
        self.items.extend_from_slice(sequence);
        self.ends.push(self.items.len() as u32);
        known.insert(sequence.into(), at);
        at
    }
}

/// The shape of a batch.
#[derive(Debug)]
pub(super) struct Shape {
    strings: Symbols,
    metrics: Box<[Metric]>,
    /// Label sets of points, as strings of names and values; 0 is empty.
    sets: Sequences<(u32, u32)>,
    /// Sequences of label names.
    names: Sequences<u32>,
    /// Lists of metrics and label sets.
    lists: Sequences<(u32, u32)>,
    entities: Box<[Entity]>,
    /// Values of all entities' labels.
    values: Box<[u32]>,
    rows: usize,
    /// Rows of floats.
    pub floats: Bits,
}

/// A row of the shape before, in the numbers of the one that is made.
fn carry(
    before: &Shape,
    (metric, set): (u32, u32),
    strings: &mut Symbols,
    metrics: &mut Vec<Metric>,
    intern: impl FnOnce(&[(u32, u32)]) -> u32,
) -> (u32, u32) {
    let old = before.metrics[metric as usize];
    let name = strings.intern(before.string(old.name));
    let place = metrics.iter().position(|known| known.name == name).unwrap_or_else(|| {
        let unit = strings.intern(before.string(old.unit));
        metrics.push(Metric { name, unit, ..old });
        metrics.len() - 1
    });
    let labels: Vec<(u32, u32)> =
        before.set_texts(set).map(|(name, value)| (strings.intern(name), strings.intern(value))).collect();
    (place as u32, intern(&labels))
}

/// What a batch's numbers are called in a shape.
struct Renumber<'b> {
    batch: &'b Batch,
    strings: Symbols,
    of: Vec<u32>,
}

impl Renumber<'_> {
    fn string(&mut self, symbol: u32) -> u32 {
        match self.of.get(symbol as usize) {
            Some(&known) if known != u32::MAX => known,
            _ => {
                let id = self.strings.intern(self.batch.symbols.get(symbol));
                if let Some(known) = self.of.get_mut(symbol as usize) {
                    *known = id;
                }
                id
            }
        }
    }
}

impl Shape {
    /// The shape of this batch, rows in the batch's order.
    pub fn of(batch: &Batch) -> Self {
        Self::extending(batch, None)
    }

    /// The same, with rows that entities of the batch had in the shape `before`: what comes and goes, as
    /// rates do where kubelets measure less often than they are asked, has a row to come back to.
    pub fn extending(batch: &Batch, before: Option<&Self>) -> Self {
        let known = before.map_or_else(|| vec![None; batch.entities.len()], |before| entities(batch, before));
        let of = vec![u32::MAX; batch.symbols.len()];
        let mut to = Renumber { batch, strings: Symbols::default(), of };
        let mut metrics: Vec<Metric> = (0..batch.metrics.len())
            .map(|row| Metric {
                name: to.string(batch.metrics.name[row]),
                unit: to.string(batch.metrics.unit[row]),
                kind: Kind::from_byte(batch.metrics.kind[row]).unwrap_or(Kind::Gauge),
                value: batch.metrics.value_type(row as u32),
            })
            .collect();
        let (mut sets, mut known_sets) = (Sequences::default(), HashMap::new());
        let set_of: Vec<u32> = (0..batch.label_sets.ends.len() as u32)
            .map(|set| {
                let labels: Vec<(u32, u32)> = batch
                    .label_set(set)
                    .map(|at| (to.string(batch.label_sets.names[at]), to.string(batch.label_sets.values[at])))
                    .collect();
                sets.intern(&mut known_sets, &labels)
            })
            .collect();
        let (mut names, mut known_names) = (Sequences::default(), HashMap::new());
        let (mut lists, mut known_lists) = (Sequences::default(), HashMap::new());
        let (mut values, mut rows) = (Vec::with_capacity(batch.entities.label_values.len()), 0);
        let (mut own, mut list) = (Vec::new(), Vec::new());
        let mut carried: HashMap<(u32, u32), (u32, u32)> = HashMap::new();
        let entities = batch.iter().map(|entity| {
            let first = values.len() as u32;
            own.clear();
            list.clear();
            for at in batch.labels_of(entity.row()) {
                own.push(to.string(batch.entities.label_names[at]));
                values.push(to.string(batch.entities.label_values[at]));
            }
            for at in batch.points_of(entity.row()) {
                list.push((batch.points.metric[at], set_of[batch.points.labels[at] as usize]));
            }
            if let Some((before, place)) = before.zip(known[entity.row()]) {
                let own = list.len();
                for row in before.list(&before.entities[place]) {
                    let row = *carried.entry(*row).or_insert_with(|| {
                        carry(before, *row, &mut to.strings, &mut metrics, |labels| {
                            sets.intern(&mut known_sets, labels)
                        })
                    });
                    if own <= SEARCHED && !list[..own].contains(&row) {
                        list.push(row);
                    }
                }
            }
            let start = rows;
            rows += list.len() as u32;
            Entity {
                level: entity.level(),
                names: names.intern(&mut known_names, &own),
                values: first,
                list: lists.intern(&mut known_lists, &list),
                rows: start,
                started_at: entity.started_at(),
            }
        });
        let entities: Box<[Entity]> = entities.collect();
        let floats = entities.iter().flat_map(|entity| lists.get(entity.list));
        let floats = Bits::of(floats.map(|&(metric, _): &(u32, u32)| {
            metrics.get(metric as usize).is_some_and(|metric| metric.value == ValueType::Float)
        }));
        to.strings.seal();
        Self {
            strings: to.strings,
            metrics: metrics.into(),
            sets: sets.shrink(),
            names: names.shrink(),
            lists: lists.shrink(),
            entities,
            values: values.into(),
            rows: rows as usize,
            floats,
        }
    }

    /// A string of it.
    pub fn string(&self, id: u32) -> &str {
        self.strings.get(id)
    }

    /// How many rows there are.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// All entities.
    pub fn entities(&self) -> &[Entity] {
        &self.entities
    }

    /// One metric.
    pub fn metric(&self, at: u32) -> Option<&Metric> {
        self.metrics.get(at as usize)
    }

    /// The metric of this name.
    pub fn metric_named(&self, name: &str) -> Option<u32> {
        let at = self.metrics.iter().position(|metric| self.string(metric.name) == name)?;
        u32::try_from(at).ok()
    }

    /// Every metric's name with its number.
    pub fn metric_names(&self) -> impl Iterator<Item = (&str, u32)> {
        self.metrics.iter().map(|metric| self.string(metric.name)).zip(0..)
    }

    /// Every label set with its number.
    pub fn all_sets(&self) -> impl Iterator<Item = (Vec<(&str, &str)>, u32)> {
        (0..self.sets.len() as u32).map(|set| (self.set_texts(set).collect(), set))
    }

    /// The labels of a label set.
    pub fn set_texts(&self, set: u32) -> impl Iterator<Item = (&str, &str)> {
        self.sets.get(set).iter().map(|&(name, value)| (self.string(name), self.string(value)))
    }

    /// The entity's labels.
    pub fn label_texts(&self, entity: &Entity) -> impl Iterator<Item = (&str, &str)> + Clone {
        self.labels(entity).map(|(name, value)| (self.string(name), self.string(value)))
    }

    /// The value of one of the entity's labels.
    pub fn label(&self, entity: &Entity, name: &str) -> Option<&str> {
        self.label_texts(entity).find_map(|(key, value)| (key == name).then_some(value))
    }

    /// Metric and label set of each of the entity's rows.
    pub fn list(&self, entity: &Entity) -> &[(u32, u32)] {
        self.lists.get(entity.list)
    }

    /// The entity's rows.
    pub fn rows_of(&self, entity: &Entity) -> Range<usize> {
        let start = entity.rows as usize;
        start..start + self.list(entity).len()
    }

    /// The entity's label names, and the numbers of their values.
    pub fn labels(&self, entity: &Entity) -> impl Iterator<Item = (u32, u32)> + Clone {
        let names = self.names.get(entity.names);
        let start = entity.values as usize;
        let values = self.values.get(start..start + names.len()).unwrap_or_default();
        names.iter().copied().zip(values.iter().copied())
    }

    /// Memory, bytes.
    pub fn size_bytes(&self) -> usize {
        let entities = self.entities.len() * size_of::<Entity>() + self.values.len() * 4;
        let sequences = self.sets.size_bytes() + self.names.size_bytes() + self.lists.size_bytes();
        let rest = self.metrics.len() * size_of::<Metric>() + self.floats.size_bytes() + size_of::<Self>();
        self.strings.size_bytes() + entities + sequences + rest
    }
}
