//! Which lines a page has, in the order in which they stand there.

use std::sync::Arc;

use hashbrown::HashMap;

use crate::batch::{Kind, Level};
use crate::prometheus::{Form, Mapped, info, mapped};
use crate::store::{Snapshot, Values};

/// The place of the series that describes an entity.
const INFO: u32 = u32::MAX;

/// A family.
#[derive(Debug, Clone)]
pub enum Family {
    /// Of a metric.
    Metric(Mapped),
    /// Of what describes entities of one level.
    Info(String),
}

impl Family {
    /// Its name in OpenMetrics, which has neither `_total` nor `_info`.
    pub fn name(&self) -> &str {
        match self {
            Self::Metric(mapped) => &mapped.name,
            Self::Info(name) => name,
        }
    }

    /// Sorts families of one name: of two types the first is written.
    fn form(&self) -> Option<Form> {
        match self {
            Self::Metric(mapped) => Some(mapped.form),
            Self::Info(_) => None,
        }
    }
}

/// Where a line comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Line {
    pub family: u32,
    pub source: u32,
    pub entity: u32,
    place: u32,
}

impl Line {
    /// The place among the entity's metrics; `None`: the line describes the entity.
    pub fn place(&self) -> Option<usize> {
        (self.place != INFO).then_some(self.place as usize)
    }
}

/// All lines of a cycle.
pub struct Plan {
    pub snapshot: Arc<Snapshot>,
    pub families: Vec<Family>,
    /// Sorted by the names of families.
    pub lines: Vec<Line>,
    /// Of each source.
    pub values: Vec<Option<Values>>,
    /// Points whose name belongs to a family of another type, or to none.
    pub left_out: u64,
}

impl Plan {
    /// Of the newest cycle.
    pub fn of(snapshot: Arc<Snapshot>) -> Self {
        let Found { families, mut lines, values, mut left_out } = Found::in_cycle(&snapshot);
        let order = order(&families);
        lines.retain_mut(|line| match order[line.family as usize] {
            Some(rank) => {
                line.family = rank;
                true
            }
            None => {
                left_out += 1;
                false
            }
        });
        lines.sort_unstable();
        let ranked = families.into_iter().zip(order).filter_map(|(family, rank)| Some((rank?, family)));
        let mut ranked: Vec<(u32, Family)> = ranked.collect();
        ranked.sort_by_key(|(rank, _)| *rank);
        let families = ranked.into_iter().map(|(_, family)| family).collect();
        Self { snapshot, families, lines, values, left_out }
    }
}

/// The same in the order of the store.
struct Found {
    families: Vec<Family>,
    lines: Vec<Line>,
    values: Vec<Option<Values>>,
    left_out: u64,
}

impl Found {
    fn in_cycle(snapshot: &Snapshot) -> Self {
        let (mut families, mut lines, mut left_out) = (Families::default(), Vec::new(), 0);
        let mut values = Vec::with_capacity(snapshot.sources());
        for source in 0..snapshot.sources() {
            let batch = snapshot.nth(source, 0);
            values.push(batch.map(|batch| batch.values()));
            let Some(batch) = batch else { continue };
            for place in 0..batch.entity_places() {
                let Some(entity) = batch.entity(place) else { continue };
                let level = entity.level();
                let line = |family, at| Line { family, source: source as u32, entity: place as u32, place: at };
                if let Some((name, _)) = info(level, entity.labels()) {
                    lines.push(line(families.info(level, name), INFO));
                }
                for (at, sample) in entity.places() {
                    match families.of((level, sample.metric, sample.kind), sample.unit) {
                        Some(family) => lines.push(line(family, at as u32)),
                        None => left_out += 1,
                    }
                }
            }
        }
        Self { families: families.all, lines, values, left_out }
    }
}

/// The place of each family in the order of names; `None` where another type has the name.
fn order(families: &[Family]) -> Vec<Option<u32>> {
    let mut sorted: Vec<usize> = (0..families.len()).collect();
    sorted.sort_by_key(|at| (families[*at].name(), families[*at].form()));
    let mut order = vec![None; families.len()];
    let (mut first, mut rank) = (None::<&Family>, 0);
    for at in sorted {
        let family = &families[at];
        let leader = *first.filter(|first| first.name() == family.name()).get_or_insert(family);
        first = Some(leader);
        if leader.form() == family.form() {
            order[at] = Some(rank);
            rank += 1;
        }
    }
    order
}

/// The families that have been met.
#[derive(Default)]
struct Families<'s> {
    all: Vec<Family>,
    metrics: HashMap<(Level, &'s str, Kind), Option<u32>>,
    info: HashMap<Level, u32>,
}

impl<'s> Families<'s> {
    /// The family of a metric; `None`: it has no name.
    fn of(&mut self, key: (Level, &'s str, Kind), unit: &str) -> Option<u32> {
        let (all, (level, metric, kind)) = (&mut self.all, key);
        *self.metrics.entry(key).or_insert_with(|| {
            all.push(Family::Metric(mapped(level, metric, kind, unit)?));
            u32::try_from(all.len() - 1).ok()
        })
    }

    /// The family of what describes entities of a level.
    fn info(&mut self, level: Level, name: String) -> u32 {
        let all = &mut self.all;
        *self.info.entry(level).or_insert_with(|| {
            all.push(Family::Info(name));
            (all.len() - 1) as u32
        })
    }
}
