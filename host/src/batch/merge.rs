//! Equal entities become one, equal points become one; and what only rules may see is taken away.
//!
//! Two entities are equal when level and labels are, labels that begin with `__` left out. Two
//! points of an entity are equal when metric and label set are.

use std::hash::BuildHasher;
use std::ops::Range;

use hashbrown::hash_table::Entry;
use hashbrown::{DefaultHashBuilder, HashMap, HashTable};

use super::columns::{Batch, Entities, Points};
use super::symbols::Symbols;
use super::types::{Merge, UNKNOWN_AT, ValueType};

/// Labels and metrics whose names begin so are for rules only and never reach a sink or the store.
pub const PRIVATE: &str = "__";

/// Unites equal entities (only if `labels_changed`), then merges equal points of the `touched`
/// rows. Answers how many points were merged into another.
pub(super) fn unite(batch: &mut Batch, labels_changed: bool, touched: &[u32]) -> u64 {
    let visible = Visible::of(&batch.symbols);
    let sets = canonical_sets(batch, &visible);
    if labels_changed && let Some(targets) = equal_entities(batch, &visible) {
        regroup(batch, &targets);
        let all: Vec<u32> = (0..batch.entities.len() as u32).collect();
        return merge_points(batch, &all, &sets);
    }
    merge_points(batch, touched, &sets)
}

/// Takes away what only rules may see, and answers how many points that was. A batch goes to the
/// sinks after this.
#[must_use]
pub fn strip_private(mut batch: Batch) -> (Batch, u64) {
    let before = batch.points.len();
    let visible = Visible::of(&batch.symbols);
    let keep: Vec<bool> = batch.metrics.name.iter().map(|&name| visible.is(name)).collect();

    let labels = batch.entities.label_names.len();
    let mut entities = Entities {
        label_names: Vec::with_capacity(labels),
        label_values: Vec::with_capacity(labels),
        label_ends: Vec::with_capacity(batch.entities.len()),
        point_ends: Vec::with_capacity(batch.entities.len()),
        ..Entities::default()
    };
    let mut to = 0;
    for row in 0..batch.entities.len() {
        for label in batch.labels_of(row) {
            let name = batch.entities.label_names[label];
            if visible.is(name) {
                entities.label_names.push(name);
                entities.label_values.push(batch.entities.label_values[label]);
            }
        }
        entities.label_ends.push(entities.label_names.len() as u32);
        let range = batch.points_of(row);
        let mut from = range.start;
        while let Some(run) = next_run(from..range.end, |at| keep[batch.points.metric[at] as usize]) {
            from = run.end;
            to += move_points(&mut batch.points, run, to);
        }
        entities.point_ends.push(to as u32);
    }
    truncate(&mut batch.points, to);
    entities.level = std::mem::take(&mut batch.entities.level);
    entities.started_at = std::mem::take(&mut batch.entities.started_at);
    batch.entities = entities;
    strip_sets(&mut batch, |name| !visible.is(name));
    batch.symbols.seal();
    (batch, (before - to) as u64)
}

/// The first rows in `range` that are to be kept and stand together.
pub(super) fn next_run(mut range: Range<usize>, keep: impl Fn(usize) -> bool) -> Option<Range<usize>> {
    let start = range.find(|&at| keep(at))?;
    let end = range.find(|&at| !keep(at)).unwrap_or(range.end);
    Some(start..end)
}

/// Moves rows to a place before them, and answers how many.
fn move_points(points: &mut Points, run: Range<usize>, to: usize) -> usize {
    if run.start != to {
        points.metric.copy_within(run.clone(), to);
        points.labels.copy_within(run.clone(), to);
        points.at.copy_within(run.clone(), to);
        points.bits.copy_within(run.clone(), to);
    }
    run.len()
}

fn strip_sets(batch: &mut Batch, is_private: impl Fn(u32) -> bool) {
    if !batch.label_sets.names.iter().any(|&name| is_private(name)) {
        return;
    }
    let old = std::mem::take(&mut batch.label_sets);
    let mut start = 0;
    for &end in &old.ends {
        for at in start..end as usize {
            if !is_private(old.names[at]) {
                batch.label_sets.names.push(old.names[at]);
                batch.label_sets.values.push(old.values[at]);
            }
        }
        batch.label_sets.ends.push(batch.label_sets.names.len() as u32);
        start = end as usize;
    }
}

fn truncate(points: &mut Points, rows: usize) {
    points.metric.truncate(rows);
    points.labels.truncate(rows);
    points.at.truncate(rows);
    points.bits.truncate(rows);
}

/// What identity is made of: labels without [`PRIVATE`].
struct Visible {
    /// By symbol, whether it is seen outside.
    symbols: Vec<bool>,
    hasher: DefaultHashBuilder,
}

impl Visible {
    fn of(symbols: &Symbols) -> Self {
        let visible = |id| !symbols.get(id).starts_with(PRIVATE);
        Self { symbols: (0..symbols.len() as u32).map(visible).collect(), hasher: DefaultHashBuilder::default() }
    }

    fn is(&self, symbol: u32) -> bool {
        self.symbols.get(symbol as usize).copied().unwrap_or(true)
    }

    fn labels<'l>(&'l self, names: &'l [u32], values: &'l [u32]) -> impl Iterator<Item = (u32, u32)> + 'l {
        names.iter().copied().zip(values.iter().copied()).filter(|&(name, _)| self.is(name))
    }

    /// Equal for equal labels in whatever order. The hasher has a seed of its own in each process,
    /// so nobody can choose labels that look alike.
    fn hash(&self, names: &[u32], values: &[u32]) -> u64 {
        let one = |(name, value): (u32, u32)| self.hasher.hash_one(u64::from(name) << 32 | u64::from(value));
        self.labels(names, values).map(one).fold(0, u64::wrapping_add)
    }

    /// Whether two rows of labels are the same.
    fn equal(&self, a: (&[u32], &[u32]), b: (&[u32], &[u32])) -> bool {
        let sorted = |(names, values)| {
            let mut labels: Vec<(u32, u32)> = self.labels(names, values).collect();
            labels.sort_unstable();
            labels
        };
        a == b || sorted(a) == sorted(b)
    }
}

/// The first set with the same visible content as each set.
fn canonical_sets(batch: &Batch, visible: &Visible) -> Vec<u32> {
    let labels = |set: u32| {
        let range = batch.label_set(set);
        (&batch.label_sets.names[range.clone()], &batch.label_sets.values[range])
    };
    let (sets, hash) = (batch.label_sets.ends.len(), |set| {
        let (names, values) = labels(set);
        visible.hash(names, values)
    });
    firsts(sets, hash, |a, b| visible.equal(labels(a), labels(b)))
}

/// For each entity the row of the first one that equals it; `None` if all differ.
fn equal_entities(batch: &Batch, visible: &Visible) -> Option<Vec<u32>> {
    let entities = &batch.entities;
    let labels = |row: u32| {
        let range = batch.labels_of(row as usize);
        (&entities.label_names[range.clone()], &entities.label_values[range])
    };
    let level = |row: u32| entities.level[row as usize];
    let hash = |row| {
        let (names, values) = labels(row);
        visible.hash(names, values).wrapping_add(u64::from(level(row)))
    };
    let targets = firsts(entities.len(), hash, |a, b| level(a) == level(b) && visible.equal(labels(a), labels(b)));
    let any = targets.iter().zip(0..).any(|(&target, row)| target != row);
    any.then_some(targets)
}

/// For each of `count` rows the first one that equals it.
fn firsts(count: usize, hash: impl Fn(u32) -> u64, equal: impl Fn(u32, u32) -> bool) -> Vec<u32> {
    let mut known: HashTable<(u64, u32)> = HashTable::with_capacity(count);
    (0..count as u32)
        .map(|row| {
            let own = hash(row);
            match known.entry(own, |&(other, first)| other == own && equal(first, row), |&(other, _)| other) {
                Entry::Occupied(first) => first.get().1,
                Entry::Vacant(place) => {
                    place.insert((own, row));
                    row
                }
            }
        })
        .collect()
}

/// Gives the points of equal entities to the first of them.
fn regroup(batch: &mut Batch, targets: &[u32]) {
    let mut members: HashMap<u32, Vec<usize>> = HashMap::new();
    for (row, &target) in targets.iter().enumerate() {
        members.entry(target).or_default().push(row);
    }
    let (mut entities, mut points) = (Entities::default(), Points::default());
    for row in 0..batch.entities.len() {
        let Some(rows) = members.get(&(row as u32)) else {
            continue;
        };
        entities.level.push(batch.entities.level[row]);
        entities.started_at.push(batch.entities.started_at[row]);
        let range = batch.labels_of(row);
        entities.label_names.extend_from_slice(&batch.entities.label_names[range.clone()]);
        entities.label_values.extend_from_slice(&batch.entities.label_values[range]);
        entities.label_ends.push(entities.label_names.len() as u32);
        for at in rows.iter().flat_map(|&member| batch.points_of(member)) {
            let from = &batch.points;
            points.push(from.metric[at], from.labels[at], from.at[at], from.bits[at]);
        }
        entities.point_ends.push(points.len() as u32);
    }
    batch.entities = entities;
    batch.points = points;
}

/// Merges equal points of the given rows (rising). Points that stand alone are not moved unless
/// something before them went away.
fn merge_points(batch: &mut Batch, rows: &[u32], sets: &[u32]) -> u64 {
    let Batch { metrics, entities, points, .. } = batch;
    let mut seen = Seen::new(metrics.len(), sets.len());
    // The point that stays, and the one that goes.
    let mut equal: Vec<(u32, u32)> = Vec::new();
    for &row in rows {
        let start = if row == 0 { 0 } else { entities.point_ends[row as usize - 1] };
        let range = start as usize..entities.point_ends[row as usize] as usize;
        let columns = points.metric[range.clone()].iter().zip(&points.labels[range]);
        for (at, (&metric, &labels)) in (start..).zip(columns) {
            let place = seen.place(metric, sets[labels as usize]);
            if *place != u32::MAX && *place >= start {
                equal.push((*place, at));
            } else {
                *place = at;
            }
        }
    }
    for &(stays, goes) in &equal {
        let (stays, goes) = (stays as usize, goes as usize);
        let metric = points.metric[goes];
        let merge = Merge::from_byte(metrics.merge[metric as usize]).unwrap_or(Merge::Sum);
        points.bits[stays] = combine(metrics.value_type(metric), merge, points.bits[stays], points.bits[goes]);
        points.at[stays] = newest(points.at[stays], points.at[goes]);
    }
    remove(entities, points, &equal);
    equal.len() as u64
}

/// Where the newest point of (metric, set) stands; valid only if that is in the entity at hand.
enum Seen {
    /// A cell for each pair, where there are few.
    Dense { width: usize, cells: Vec<u32> },
    /// Only the pairs met.
    Sparse(HashMap<(u32, u32), u32>),
}

impl Seen {
    fn new(metrics: usize, sets: usize) -> Self {
        match metrics.checked_mul(sets) {
            Some(cells) if cells <= 1 << 20 => Self::Dense { width: sets, cells: vec![u32::MAX; cells] },
            _ => Self::Sparse(HashMap::new()),
        }
    }

    fn place(&mut self, metric: u32, set: u32) -> &mut u32 {
        match self {
            Self::Dense { width, cells } => &mut cells[metric as usize * *width + set as usize],
            Self::Sparse(cells) => cells.entry((metric, set)).or_insert(u32::MAX),
        }
    }
}

fn newest(a: i32, b: i32) -> i32 {
    // UNKNOWN_AT is the smallest i32, so a known time always wins.
    const { assert!(UNKNOWN_AT == i32::MIN) };
    a.max(b)
}

fn combine(value: ValueType, merge: Merge, a: u64, b: u64) -> u64 {
    match value {
        ValueType::Int => {
            let (a, b) = (a.cast_signed(), b.cast_signed());
            match merge {
                Merge::Sum => a.saturating_add(b),
                Merge::Min => a.min(b),
                Merge::Max => a.max(b),
            }
            .cast_unsigned()
        }
        ValueType::Float => {
            let (a, b) = (f64::from_bits(a), f64::from_bits(b));
            let merged = match merge {
                Merge::Sum => (a + b).clamp(f64::MIN, f64::MAX),
                Merge::Min => a.min(b),
                Merge::Max => a.max(b),
            };
            merged.to_bits()
        }
    }
}

/// Takes the second ones (rising) out of the columns.
fn remove(entities: &mut Entities, points: &mut Points, equal: &[(u32, u32)]) {
    if equal.is_empty() {
        return;
    }
    let (mut to, mut next, mut row) = (0, 0, 0);
    for from in 0..points.len() {
        while row < entities.point_ends.len() && entities.point_ends[row] as usize <= from {
            entities.point_ends[row] = to as u32;
            row += 1;
        }
        if equal.get(next).is_some_and(|&(_, gone)| gone as usize == from) {
            next += 1;
        } else {
            to += move_points(points, from..from + 1, to);
        }
    }
    for end in &mut entities.point_ends[row..] {
        *end = to as u32;
    }
    truncate(points, to);
}
