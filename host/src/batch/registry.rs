//! The value type of every metric name that the process has met.
//!
//! Names come from three sides with room of their own, so that what a workload or an object invents
//! never takes the place of what a rule writes. A name that finds no room costs its own points,
//! nothing else. When a side's room is full, names that it has not used for a day are forgotten.

use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use hashbrown::HashMap;
use tracing::warn;

use super::types::ValueType;

/// Who brings a metric's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NamedBy {
    /// This program: its table of facts. Bounded by the table, and never forgotten.
    Host,
    /// A rule.
    Rule,
    /// A workload: its own metrics, as the kubelet passes them on.
    Workload,
    /// An object of the API server: the resources it names. Rules make names of them, so this room
    /// is the smaller one.
    Object,
}

impl NamedBy {
    /// How many names this side may have at one time.
    const fn room(self) -> usize {
        match self {
            Self::Host => usize::MAX,
            Self::Rule => 10_000,
            Self::Workload => 6_000,
            Self::Object => 4_000,
        }
    }
}

/// A metric's name is refused.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum TypeConflict {
    /// One name has one value type: databases refuse a second for ever.
    #[error("metric `{name}` is {had:?} since it was first seen, and came as {got:?}; use another name")]
    Changed {
        /// The metric's name.
        name: String,
        /// The type it was first seen with.
        had: ValueType,
        /// The type it came with now.
        got: ValueType,
    },
    /// The side that brings it has as many names as it may have.
    #[error("more than {0} metric names; `{1}` is refused")]
    TooMany(usize, String),
}

/// Hours after which a name that nobody used may be forgotten.
const FORGOTTEN_AFTER: u32 = 24;

/// The value type of every metric name in use.
#[derive(Debug)]
pub struct TypeRegistry {
    started: Instant,
    table: Mutex<Table>,
}

#[derive(Debug, Clone, Default)]
struct Table {
    known: HashMap<Box<str>, Known>,
    /// Names of each side.
    names: [usize; 4],
    /// Hour from which on each side's room may be cleared, and a lack of it told, again.
    next: [u32; 4],
}

#[derive(Debug, Clone, Copy)]
struct Known {
    value: ValueType,
    by: NamedBy,
    /// Hour in which it was used last.
    used: u32,
}

impl Default for TypeRegistry {
    fn default() -> Self {
        Self { started: Instant::now(), table: Mutex::default() }
    }
}

impl Clone for TypeRegistry {
    /// The names as they are now; what is checked afterwards is no matter of the other's.
    fn clone(&self) -> Self {
        let table = self.table.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Self { started: self.started, table: Mutex::new(table) }
    }
}

impl TypeRegistry {
    /// Remembers `name` with its type.
    ///
    /// # Errors
    /// [`TypeConflict`] if the name is known with another type, or if its side has no room left.
    pub fn check(&self, name: &str, got: ValueType, by: NamedBy) -> Result<(), TypeConflict> {
        let hour = self.hour();
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        if table.agrees(name, got, hour)? || table.remember(name, got, by, hour) {
            Ok(())
        } else {
            Err(TypeConflict::TooMany(by.room(), name.to_owned()))
        }
    }

    /// Remembers all of a rule's `metrics`, or none of them: what is refused takes no room from
    /// others. Answers the places of those that there is no room for.
    ///
    /// # Errors
    /// [`TypeConflict::Changed`] if one of the names is known with another type, or stands there
    /// with two types.
    pub fn check_all<'n>(
        &self,
        metrics: impl Iterator<Item = (&'n str, ValueType)> + Clone,
    ) -> Result<Vec<usize>, TypeConflict> {
        let hour = self.hour();
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        let mut new: HashMap<&str, ValueType> = HashMap::new();
        for (name, got) in metrics.clone() {
            if !table.agrees(name, got, hour)? {
                let had = *new.entry(name).or_insert(got);
                if had != got {
                    return Err(TypeConflict::Changed { name: name.to_owned(), had, got });
                }
            }
        }
        if new.is_empty() {
            return Ok(Vec::new());
        }
        let mut refused = Vec::new();
        for (place, (name, got)) in metrics.enumerate() {
            if new.contains_key(name) && !table.remember(name, got, NamedBy::Rule, hour) {
                refused.push(place);
            }
        }
        Ok(refused)
    }

    fn hour(&self) -> u32 {
        u32::try_from(self.started.elapsed().as_secs() / 3600).unwrap_or(u32::MAX)
    }
}

impl Table {
    /// Whether the name is known, with this type.
    fn agrees(&mut self, name: &str, got: ValueType, hour: u32) -> Result<bool, TypeConflict> {
        match self.known.get_mut(name) {
            None => Ok(false),
            Some(known) if known.value == got => {
                known.used = hour;
                Ok(true)
            }
            Some(known) => Err(TypeConflict::Changed { name: name.to_owned(), had: known.value, got }),
        }
    }

    /// Remembers a name, unless its side has no room.
    fn remember(&mut self, name: &str, value: ValueType, by: NamedBy, hour: u32) -> bool {
        if self.known.contains_key(name) {
            return true;
        }
        let side = by as usize;
        if self.names[side] >= by.room() {
            if hour < self.next[side] {
                return false;
            }
            self.next[side] = hour + 1;
            self.forget(by, hour);
            if self.names[side] >= by.room() {
                warn!(by = ?by, names = by.room(), "too many metric names; those that are new are left out");
                return false;
            }
        }
        self.names[side] += 1;
        self.known.insert(name.into(), Known { value, by, used: hour });
        true
    }

    fn forget(&mut self, by: NamedBy, hour: u32) {
        self.known.retain(|_, known| known.by != by || hour < known.used.saturating_add(FORGOTTEN_AFTER));
        self.names[by as usize] = self.known.values().filter(|known| known.by == by).count();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_type_of_a_name_is_refused() {
        let types = TypeRegistry::default();
        assert_eq!(types.check("a", ValueType::Int, NamedBy::Rule), Ok(()));
        assert_eq!(types.check("a", ValueType::Int, NamedBy::Workload), Ok(()));
        assert!(types.check("a", ValueType::Float, NamedBy::Rule).is_err());
    }

    #[test]
    fn of_what_is_refused_nothing_is_remembered() {
        let types = TypeRegistry::default();
        let twice = [("a", ValueType::Int), ("b", ValueType::Int), ("a", ValueType::Float)];
        assert!(types.check_all(twice.into_iter()).is_err());
        let other = [("a", ValueType::Float), ("b", ValueType::Float)];
        assert_eq!(types.check_all(other.into_iter()), Ok(vec![]));
    }

    #[test]
    fn names_from_outside_take_no_room_from_rules_nor_from_each_other() {
        let types = TypeRegistry::default();
        for by in [NamedBy::Workload, NamedBy::Object] {
            let taken = (0..30_000).filter(|at| types.check(&format!("{by:?}{at}"), ValueType::Int, by).is_ok());
            assert_eq!(taken.count(), by.room());
        }
        assert_eq!(types.check_all([("uptime", ValueType::Int)].into_iter()), Ok(vec![]));
        assert!(types.check("Workload1", ValueType::Int, NamedBy::Workload).is_ok(), "a known name is known still");
    }

    #[test]
    fn of_a_rules_metrics_only_those_over_its_room_are_refused() {
        let types = TypeRegistry::default();
        let room = NamedBy::Rule.room();
        let names: Vec<String> = (0..room + 2).map(|number| format!("m{number}")).collect();
        let all = names.iter().map(|name| (name.as_str(), ValueType::Int));
        assert_eq!(types.check_all(all), Ok(vec![room, room + 1]));
        assert!(types.check("m0", ValueType::Int, NamedBy::Rule).is_ok());
    }

    #[test]
    fn names_that_nobody_used_for_a_day_make_room_when_there_is_none() {
        let mut table = Table::default();
        let room = NamedBy::Object.room();
        for number in 0..room {
            assert!(table.remember(&format!("m{number}"), ValueType::Int, NamedBy::Object, 0));
        }
        assert!(!table.remember("new", ValueType::Int, NamedBy::Object, 23));
        assert_eq!(table.agrees("m1", ValueType::Int, 23), Ok(true));
        assert!(table.remember("new", ValueType::Int, NamedBy::Object, 24));
        assert_eq!((table.known.len(), table.names[NamedBy::Object as usize]), (2, 2), "m1 and the new one");
    }
}
