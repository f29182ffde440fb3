//! Equal entities become one, equal points become one; and what only rules may see is taken away.
//!
//! Two entities are equal when level and labels are, labels that begin with `__` left out. Two
//! points of an entity are equal when metric and label set are.

use hashbrown::HashMap;

use super::columns::{Batch, Entities, Points};
use super::types::{Merge, UNKNOWN_AT, ValueType};

/// Labels and metrics whose names begin so are for rules only and never reach a sink or the store.
pub const PRIVATE: &str = "__";

/// Unites equal entities (only if `labels_changed`), then merges equal points of the `touched`
/// rows. Answers how many points were merged into another.
pub(super) fn unite(batch: &mut Batch, labels_changed: bool, touched: &[u32]) -> u64 {
    let sets = canonical_sets(batch);
    if labels_changed && let Some(targets) = equal_entities(batch) {
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
    let private: Vec<bool> =
        (0..batch.symbols.len()).map(|id| batch.symbols.get(id as u32).starts_with(PRIVATE)).collect();
    let is_private = |id: u32| private.get(id as usize).copied().unwrap_or(false);
    let keep: Vec<bool> = batch.metrics.name.iter().map(|&name| !is_private(name)).collect();

    let mut entities = Entities::default();
    let mut at = 0;
    for row in 0..batch.entities.len() {
        for label in batch.labels_of(row) {
            let name = batch.entities.label_names[label];
            if !is_private(name) {
                entities.label_names.push(name);
                entities.label_values.push(batch.entities.label_values[label]);
            }
        }
        entities.label_ends.push(entities.label_names.len() as u32);
        for point in batch.points_of(row) {
            if keep[batch.points.metric[point] as usize] {
                move_point(&mut batch.points, point, at);
                at += 1;
            }
        }
        entities.point_ends.push(at as u32);
    }
    truncate(&mut batch.points, at);
    entities.level = std::mem::take(&mut batch.entities.level);
    entities.started_at = std::mem::take(&mut batch.entities.started_at);
    batch.entities = entities;
    strip_sets(&mut batch, is_private);
    batch.symbols.seal();
    (batch, (before - at) as u64)
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

fn move_point(points: &mut Points, from: usize, to: usize) {
    points.metric[to] = points.metric[from];
    points.labels[to] = points.labels[from];
    points.at[to] = points.at[from];
    points.bits[to] = points.bits[from];
}

fn truncate(points: &mut Points, rows: usize) {
    points.metric.truncate(rows);
    points.labels.truncate(rows);
    points.at.truncate(rows);
    points.bits.truncate(rows);
}

/// The first set with the same visible content as each set.
fn canonical_sets(batch: &Batch) -> Vec<u32> {
    let mut first: HashMap<Vec<(u32, u32)>, u32> = HashMap::new();
    (0..batch.label_sets.ends.len() as u32)
        .map(|set| {
            let sets = &batch.label_sets;
            let range = batch.label_set(set);
            *first.entry(visible(batch, &sets.names[range.clone()], &sets.values[range])).or_insert(set)
        })
        .collect()
}

/// The labels that count for identity, sorted.
fn visible(batch: &Batch, names: &[u32], values: &[u32]) -> Vec<(u32, u32)> {
    let mut labels: Vec<(u32, u32)> = names
        .iter()
        .zip(values)
        .filter(|&(&name, _)| !batch.symbols.get(name).starts_with(PRIVATE))
        .map(|(&name, &value)| (name, value))
        .collect();
    labels.sort_unstable();
    labels
}

/// For each entity the row of the first one that equals it; `None` if all differ.
fn equal_entities(batch: &Batch) -> Option<Vec<u32>> {
    let mut first: HashMap<(u8, Vec<(u32, u32)>), u32> = HashMap::with_capacity(batch.entities.len());
    let mut any = false;
    let targets = (0..batch.entities.len())
        .map(|row| {
            let range = batch.labels_of(row);
            let entities = &batch.entities;
            let labels = visible(batch, &entities.label_names[range.clone()], &entities.label_values[range]);
            let target = *first.entry((entities.level[row], labels)).or_insert(row as u32);
            any |= target != row as u32;
            target
        })
        .collect();
    any.then_some(targets)
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
    let mut gone: Vec<u32> = Vec::new();
    for &row in rows {
        let start = if row == 0 { 0 } else { entities.point_ends[row as usize - 1] };
        for at in start..entities.point_ends[row as usize] {
            let index = at as usize;
            let place = seen.place(points.metric[index], sets[points.labels[index] as usize]);
            let before = *place;
            if before != u32::MAX && before >= start {
                let value = metrics.value_type(points.metric[index]);
                let merge = Merge::from_byte(metrics.merge[points.metric[index] as usize]);
                let (a, b) = (points.bits[before as usize], points.bits[index]);
                points.bits[before as usize] = combine(value, merge.unwrap_or(Merge::Sum), a, b);
                points.at[before as usize] = newest(points.at[before as usize], points.at[index]);
                gone.push(at);
            } else {
                *place = at;
            }
        }
    }
    remove(entities, points, &gone);
    gone.len() as u64
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

/// Takes the points at `gone` (rising within each entity, entities rising) out of the columns.
fn remove(entities: &mut Entities, points: &mut Points, gone: &[u32]) {
    if gone.is_empty() {
        return;
    }
    let (mut to, mut next, mut row) = (0, 0, 0);
    for from in 0..points.len() {
        while row < entities.point_ends.len() && entities.point_ends[row] as usize <= from {
            entities.point_ends[row] = to as u32;
            row += 1;
        }
        if gone.get(next) == Some(&(from as u32)) {
            next += 1;
        } else {
            move_point(points, from, to);
            to += 1;
        }
    }
    for end in &mut entities.point_ends[row..] {
        *end = to as u32;
    }
    truncate(points, to);
}
