//! The small words of a batch.

pub use crate::wit::Cycle;

macro_rules! byte_enum {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $byte:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u8)]
        pub enum $name { $($(#[$vdoc])* $variant = $byte),+ }

        impl $name {
            /// The value for a byte of a column; `None` for a byte that means nothing.
            #[must_use]
            #[inline]
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
    /// How a metric's values are stored. One name has one type for ever.
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

/// A point's value.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Value {
    /// A signed integer.
    Int(i64),
    /// A finite float.
    Float(f64),
}

impl Value {
    #[inline]
    pub(crate) fn from_bits(bits: u64, value: ValueType) -> Self {
        match value {
            ValueType::Int => Self::Int(bits.cast_signed()),
            ValueType::Float => Self::Float(f64::from_bits(bits)),
        }
    }

    /// The value as a float; integers above 2^53 lose their last digits.
    #[must_use]
    #[inline]
    pub fn as_f64(self) -> f64 {
        match self {
            Self::Int(value) => value as f64,
            Self::Float(value) => value,
        }
    }

    /// The bits of this value in a column of `want`: integers become floats, floats are cut to
    /// integers, and what is not finite becomes 0.
    #[inline]
    pub(crate) fn bits_as(self, want: ValueType) -> u64 {
        match (self, want) {
            (Self::Int(value), ValueType::Int) => value.cast_unsigned(),
            (Self::Float(value), ValueType::Int) => (value as i64).cast_unsigned(),
            (value, ValueType::Float) => {
                let float = value.as_f64();
                if float.is_finite() { float.to_bits() } else { 0 }
            }
        }
    }
}

impl From<i64> for Value {
    #[inline]
    fn from(value: i64) -> Self {
        Self::Int(value)
    }
}

impl From<f64> for Value {
    #[inline]
    fn from(value: f64) -> Self {
        Self::Float(value)
    }
}

/// A metric as a rule spells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Descriptor<'a> {
    /// Its name, such as `cpu/usage_rate`. Names that begin with `__` reach later rules only.
    pub name: &'a str,
    /// Its unit, such as `bytes`; may be empty.
    pub unit: &'a str,
    /// Gauge or cumulative.
    pub kind: Kind,
    /// Integer or float.
    pub value: ValueType,
    /// How two values of one series combine.
    pub merge: Merge,
}

impl<'a> Descriptor<'a> {
    /// An integer gauge that sums.
    #[must_use]
    pub const fn gauge(name: &'a str, unit: &'a str) -> Self {
        Self { name, unit, kind: Kind::Gauge, value: ValueType::Int, merge: Merge::Sum }
    }

    /// An integer counter that sums.
    #[must_use]
    pub const fn cumulative(name: &'a str, unit: &'a str) -> Self {
        Self { name, unit, kind: Kind::Cumulative, value: ValueType::Int, merge: Merge::Sum }
    }

    /// The same with float values.
    #[must_use]
    pub const fn float(mut self) -> Self {
        self.value = ValueType::Float;
        self
    }

    /// The same with another way to combine two values.
    #[must_use]
    pub const fn merged_by(mut self, merge: Merge) -> Self {
        self.merge = merge;
        self
    }
}
