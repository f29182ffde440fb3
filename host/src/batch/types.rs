//! The small words of a batch: levels, kinds, value types, and the cycle.

use std::sync::{Mutex, PoisonError};

use hashbrown::HashMap;

/// `at` of a point whose time of measurement is unknown.
pub const UNKNOWN_AT: i32 = i32::MIN;

/// One round over all nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cycle {
    /// Rises by one each cycle, from 1.
    pub number: u64,
    /// The timestamp that every point of the cycle carries: the end of its window, ns since the epoch.
    pub time: i64,
    /// The window's length, ns.
    pub window: i64,
    /// How many nodes were asked.
    pub nodes_asked: u32,
    /// How many answered; known only when the cycle finishes.
    pub nodes_answered: u32,
}

macro_rules! byte_enum {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $byte:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u8)]
        pub enum $name { $($(#[$vdoc])* $variant = $byte),+ }

        impl $name {
            /// The value for a byte of a column; `None` for a byte that means nothing.
            #[must_use]
            pub fn from_byte(byte: u8) -> Option<Self> {
                match byte { $($byte => Some(Self::$variant),)+ _ => None }
            }
        }
    };
}

byte_enum! {
    /// What kind of thing an entity is.
    Level {
        /// The whole cluster.
        Cluster = 0,
        /// A node.
        Node = 1,
        /// A namespace.
        Namespace = 2,
        /// A pod.
        Pod = 3,
        /// A container of a pod.
        Container = 4,
        /// A container of the node's own: kubelet, runtime, misc, pods.
        SystemContainer = 5,
        /// Anything a rule makes that is none of these.
        Other = 6,
    }
}

byte_enum! {
    /// Whether a metric's value stands for itself or only rises.
    Kind {
        /// A value of now.
        Gauge = 0,
        /// A counter.
        Cumulative = 1,
    }
}

byte_enum! {
    /// How the 64 bits of a value are read.
    ValueType {
        /// A signed integer.
        Int = 0,
        /// A finite float.
        Float = 1,
    }
}

byte_enum! {
    /// How two values of one series combine.
    Merge {
        /// Their sum.
        Sum = 0,
        /// The smaller one.
        Min = 1,
        /// The larger one.
        Max = 2,
    }
}

/// A metric was sent with another value type than it had before.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum TypeConflict {
    /// One name has one value type for the life of the process: databases refuse a second for ever.
    #[error("metric `{name}` is {had:?} since it was first seen, and came as {got:?}; use another name")]
    Changed {
        /// The metric's name.
        name: String,
        /// The type it was first seen with.
        had: ValueType,
        /// The type it came with now.
        got: ValueType,
    },
    /// The bound on the number of names.
    #[error("more than {0} metric names; `{1}` is refused")]
    TooMany(usize, String),
}

/// How many metric names one process knows at most. Custom metrics come from outside.
const MAX_METRIC_NAMES: usize = 20_000;

/// The value type of every metric name seen since the process started.
#[derive(Debug, Default)]
pub struct TypeRegistry {
    known: Mutex<HashMap<Box<str>, ValueType>>,
}

impl TypeRegistry {
    /// Remembers `name` with its type.
    ///
    /// # Errors
    /// [`TypeConflict`] if the name is known with another type, or if there are too many names.
    pub fn check(&self, name: &str, got: ValueType) -> Result<(), TypeConflict> {
        self.check_all([(name, got)])
    }

    /// Remembers all of `metrics`, or none of them: what is refused takes no room from others.
    ///
    /// # Errors
    /// [`TypeConflict`] if one of the names is known with another type, stands there with two
    /// types, or is one too many.
    pub fn check_all<'n>(&self, metrics: impl IntoIterator<Item = (&'n str, ValueType)>) -> Result<(), TypeConflict> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let mut new: HashMap<&str, ValueType> = HashMap::new();
        for (name, got) in metrics {
            match known.get(name).or_else(|| new.get(name)) {
                Some(&had) if had == got => {}
                Some(&had) => return Err(TypeConflict::Changed { name: name.to_owned(), had, got }),
                None if known.len() + new.len() >= MAX_METRIC_NAMES => {
                    return Err(TypeConflict::TooMany(MAX_METRIC_NAMES, name.to_owned()));
                }
                None => drop(new.insert(name, got)),
            }
        }
        known.extend(new.into_iter().map(|(name, value)| (name.into(), value)));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_type_of_a_name_is_refused() {
        let types = TypeRegistry::default();
        assert_eq!(types.check("a", ValueType::Int), Ok(()));
        assert_eq!(types.check("a", ValueType::Int), Ok(()));
        assert!(types.check("a", ValueType::Float).is_err());
    }

    #[test]
    fn of_what_is_refused_nothing_is_remembered() {
        let types = TypeRegistry::default();
        assert!(types.check_all([("a", ValueType::Int), ("b", ValueType::Int), ("a", ValueType::Float)]).is_err());
        assert_eq!(types.check_all([("a", ValueType::Float), ("b", ValueType::Float)]), Ok(()));

        let names: Vec<String> = (0..MAX_METRIC_NAMES).map(|number| format!("m{number}")).collect();
        let all = names.iter().map(|name| (name.as_str(), ValueType::Int));
        assert!(matches!(types.check_all(all.clone()), Err(TypeConflict::TooMany(..))));
        assert_eq!(types.check_all(all.skip(2)), Ok(()));
        assert!(types.check("m0", ValueType::Int).is_err());
    }
}
