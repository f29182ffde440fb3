//! Whether a batch fits a shape, and which row each of its points has there.
//!
//! A batch fits if all that it has is in the shape, in whatever order: kubelets list pods and volumes
//! in another order each time. What the shape has and the batch has not is absent in that cycle: a
//! rate with a gap, a pod that went. Too much of that, and a new shape is better.

use std::hash::{BuildHasher, Hash, Hasher};

use hashbrown::{DefaultHashBuilder, HashMap};

use super::code::Bits;
use super::shape::{Entity, Shape};
use crate::batch::{Batch, ValueType};

/// Points are searched for in an entity's list up to this length; a longer one must keep its order.
pub(super) const SEARCHED: usize = 512;

/// A batch's values in the rows of a shape.
#[derive(Debug)]
pub(super) struct Fitted {
    /// Rows that the batch has.
    pub present: Vec<bool>,
    /// How many of them.
    pub count: usize,
    /// Whether the batch has at least half of what the shape has.
    pub is_enough: bool,
}

impl Fitted {
    /// Rows that the batch has not; `None`: it has all.
    pub fn absent(&self) -> Option<Bits> {
        let all = self.count == self.present.len();
        (!all).then(|| Bits::of(self.present.iter().map(|present| !present)))
    }
}

/// Puts the batch's values into `values`, one a row of the shape; those of absent rows are left.
/// `None`, with `values` in no order at all, if the batch has something that the shape has not.
pub(super) fn fit(batch: &Batch, shape: &Shape, values: &mut [u64]) -> Option<Fitted> {
    let mut fit = Fit::new(batch, shape);
    let mut fitted = Fitted { present: vec![false; shape.rows()], count: 0, is_enough: false };
    let (mut guess, mut found) = (0, 0);
    for entity in batch.iter() {
        let at = fit.entity(entity.row(), guess)?;
        guess = at + 1;
        found += 1;
        let theirs = &shape.entities()[at];
        let (list, start) = (shape.list(theirs), theirs.rows as usize);
        let mut next = 0;
        for point in batch.points_of(entity.row()) {
            let wanted =
                (fit.metrics[batch.points.metric[point] as usize], fit.sets[batch.points.labels[point] as usize]);
            let place = if list.get(next) == Some(&wanted) {
                next
            } else if list.len() <= SEARCHED {
                list.iter().position(|row| *row == wanted)?
            } else {
                return None;
            };
            next = place + 1;
            let row = start + place;
            fitted.count += usize::from(!fitted.present[row]);
            fitted.present[row] = true;
            values[row] = batch.points.bits[point];
        }
    }
    let enough = |has: usize, of: usize| has >= of / 2;
    fitted.is_enough =
        enough(fitted.count, shape.rows()) && enough(found, shape.entities().len()) && fit.no_empty_missing(found);
    Some(fitted)
}

/// The place in the shape of each of the batch's entities that it has.
pub(super) fn entities(batch: &Batch, shape: &Shape) -> Vec<Option<usize>> {
    let (mut fit, mut guess) = (Fit::new(batch, shape), 0);
    let place = |row| {
        let place = fit.entity(row, guess);
        guess = place.map_or(guess, |place| place + 1);
        place
    };
    (0..batch.entities.len()).map(place).collect()
}

struct Fit<'a> {
    batch: &'a Batch,
    shape: &'a Shape,
    /// The shape's string for each of the batch's; `u32::MAX` = not known.
    strings: Vec<u32>,
    metrics: Vec<u32>,
    sets: Vec<u32>,
    /// By what it is, for batches in another order.
    index: Option<(DefaultHashBuilder, HashMap<u64, u32>)>,
}

impl<'a> Fit<'a> {
    fn new(batch: &'a Batch, shape: &'a Shape) -> Self {
        let strings = vec![u32::MAX; batch.symbols.len()];
        let mut fit = Self { batch, shape, strings, metrics: Vec::new(), sets: Vec::new(), index: None };
        let named: HashMap<&str, u32> = shape.metric_names().collect();
        for row in 0..batch.metrics.len() {
            let at = named.get(batch.symbols.get(batch.metrics.name[row])).copied();
            let same = at.filter(|&at| shape.metric(at).is_some_and(|metric| same_type(batch, row, metric.value)));
            // One that no point uses need not be there.
            fit.metrics.push(same.unwrap_or(u32::MAX));
        }
        let sets: HashMap<Vec<(&str, &str)>, u32> = shape.all_sets().collect();
        for set in 0..batch.label_sets.ends.len() as u32 {
            let labels: Vec<(&str, &str)> = batch
                .label_set(set)
                .map(|at| {
                    let label_sets = &batch.label_sets;
                    (batch.symbols.get(label_sets.names[at]), batch.symbols.get(label_sets.values[at]))
                })
                .collect();
            fit.sets.push(sets.get(&labels).copied().unwrap_or(u32::MAX));
        }
        fit
    }

    /// The batch's entity in the shape.
    fn entity(&mut self, row: usize, guess: usize) -> Option<usize> {
        if self.shape.entities().get(guess).is_some_and(|entity| self.equal(row, entity)) {
            return Some(guess);
        }
        let (shape, batch) = (self.shape, self.batch);
        let (hasher, index) = self.index.get_or_insert_with(|| {
            let hasher = DefaultHashBuilder::default();
            let all = shape.entities().iter().zip(0..);
            let index = all.map(|(entity, at)| (hash(&hasher, shape.label_texts(entity)), at)).collect();
            (hasher, index)
        });
        let labels = batch.labels_of(row).map(|at| {
            let entities = &batch.entities;
            (batch.symbols.get(entities.label_names[at]), batch.symbols.get(entities.label_values[at]))
        });
        let at = *index.get(&hash(hasher, labels))? as usize;
        self.shape.entities().get(at).is_some_and(|entity| self.equal(row, entity)).then_some(at)
    }

    fn equal(&mut self, row: usize, entity: &Entity) -> bool {
        let entities = &self.batch.entities;
        let (labels, theirs) = (self.batch.labels_of(row), self.shape.labels(entity));
        if entities.level[row] != entity.level as u8
            || entities.started_at[row] != entity.started_at
            || labels.len() != theirs.clone().count()
        {
            return false;
        }
        labels.zip(theirs).all(|(at, (name, value))| {
            self.is(entities.label_values[at], value) && self.is(entities.label_names[at], name)
        })
    }

    /// Whether the batch's string is the shape's; compares their text once.
    fn is(&mut self, symbol: u32, string: u32) -> bool {
        let Some(known) = self.strings.get_mut(symbol as usize) else { return false };
        if *known != u32::MAX {
            return *known == string;
        }
        let same = self.batch.symbols.get(symbol) == self.shape.string(string);
        if same {
            *known = string;
        }
        same
    }

    /// An entity without points is there or not; no row says so.
    fn no_empty_missing(&self, found: usize) -> bool {
        let entities = self.shape.entities();
        found == entities.len() || entities.iter().all(|entity| !self.shape.list(entity).is_empty())
    }
}

fn same_type(batch: &Batch, row: usize, value: ValueType) -> bool {
    batch.metrics.value_type(row as u32) == value
}

fn hash<'l>(hasher: &DefaultHashBuilder, labels: impl Iterator<Item = (&'l str, &'l str)>) -> u64 {
    let mut state = hasher.build_hasher();
    labels.for_each(|label| label.hash(&mut state));
    state.finish()
}
