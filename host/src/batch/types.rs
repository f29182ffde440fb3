//! The small words of a batch: levels, kinds, value types, and the cycle.

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
