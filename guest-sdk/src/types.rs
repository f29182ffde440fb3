//! The small words of a batch.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, de};

/// One round over all nodes; every point of the cycle carries its time.
///
/// ```
/// let cycle = millrace_sdk::testing::cycle(3);
/// assert_eq!(cycle.number, 3);
/// assert_eq!(cycle.window, 60_000_000_000, "ns");
/// ```
pub use crate::wit::Cycle;

macro_rules! byte_enum {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $byte:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u8)]
        pub enum $name { $($(#[$vdoc])* $variant = $byte),+ }

        impl $name {
            /// The value for a byte of a column; `None` for a byte that means nothing.
            ///
            /// ```
            #[doc = concat!("use millrace_sdk::", stringify!($name), ";")]
            ///
            #[doc = concat!("assert!(", stringify!($name), "::from_byte(0).is_some());")]
            #[doc = concat!("assert_eq!(", stringify!($name), "::from_byte(200), None);")]
            /// ```
            #[must_use]
            #[inline]
            pub fn from_byte(byte: u8) -> Option<Self> {
                match byte { $($byte => Some(Self::$variant),)+ _ => None }
            }
        }
    };
}

byte_enum! {
    /// What kind of thing an entity is. In settings and in rows it is written in lower case, and
    /// the fifth `system-container`.
    ///
    /// ```
    /// use millrace_sdk::Level;
    ///
    /// #[derive(serde::Deserialize)]
    /// struct Settings { levels: Vec<Level> }
    /// let settings: Settings = serde_json::from_str(r#"{"levels":["pod","system-container"]}"#).unwrap();
    /// assert_eq!(settings.levels, [Level::Pod, Level::SystemContainer]);
    /// assert_eq!(Level::Pod.to_string(), "pod");
    /// ```
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
    ///
    /// ```
    /// use millrace_sdk::{Descriptor, Kind};
    ///
    /// assert_eq!(Descriptor::cumulative("cpu/usage", "ns").kind, Kind::Cumulative);
    /// ```
    Kind {
        /// A value of now.
        Gauge = 0,
        /// A counter.
        Cumulative = 1,
    }
}

byte_enum! {
    /// How a metric's values are stored. One name has one type for ever.
    ///
    /// ```
    /// use millrace_sdk::{Descriptor, ValueType};
    ///
    /// assert_eq!(Descriptor::gauge("cpu/share", "").float().value, ValueType::Float);
    /// ```
    ValueType {
        /// A signed integer.
        Int = 0,
        /// A finite float.
        Float = 1,
    }
}

byte_enum! {
    /// How two values of one series combine.
    ///
    /// ```
    /// use millrace_sdk::{Merge, Value};
    ///
    /// assert_eq!(Merge::Max.of(Value::Int(3), Value::Int(5)), Value::Int(5));
    /// ```
    Merge {
        /// Their sum.
        Sum = 0,
        /// The smaller one.
        Min = 1,
        /// The larger one.
        Max = 2,
    }
}

impl Level {
    /// Its name: `node`, `system-container`…
    ///
    /// ```
    /// assert_eq!(millrace_sdk::Level::SystemContainer.name(), "system-container");
    /// ```
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Cluster => "cluster",
            Self::Node => "node",
            Self::Namespace => "namespace",
            Self::Pod => "pod",
            Self::Container => "container",
            Self::SystemContainer => "system-container",
            Self::Other => "other",
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Level {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        (0..=6).filter_map(Self::from_byte).find(|level| level.name() == name).ok_or_else(|| {
            format!("`{name}` is no level; use cluster, node, namespace, pod, container, system-container or other")
        })
    }
}

impl<'de> Deserialize<'de> for Level {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

impl Merge {
    /// Combines two values of one series.
    ///
    /// ```
    /// use millrace_sdk::{Merge, Value};
    ///
    /// assert_eq!(Merge::Sum.of(Value::Int(3), Value::Int(5)), Value::Int(8));
    /// ```
    #[must_use]
    pub fn of(self, one: Value, other: Value) -> Value {
        match self {
            Self::Sum => one.plus(other),
            Self::Min => one.smaller(other),
            Self::Max => one.larger(other),
        }
    }
}

/// A point's value.
///
/// ```
/// use millrace_sdk::Value;
///
/// let (whole, part): (Value, Value) = (5_i64.into(), 0.5.into());
/// assert_eq!(whole, Value::Int(5));
/// assert_eq!(part, Value::Float(0.5));
/// ```
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
    ///
    /// ```
    /// assert_eq!(millrace_sdk::Value::Int(5).as_f64(), 5.0);
    /// ```
    #[must_use]
    #[inline]
    pub fn as_f64(self) -> f64 {
        match self {
            Self::Int(value) => value as f64,
            Self::Float(value) => value,
        }
    }

    /// The value if it is an integer.
    ///
    /// ```
    /// use millrace_sdk::Value;
    ///
    /// assert_eq!(Value::Int(5).as_int(), Some(5));
    /// assert_eq!(Value::Float(5.0).as_int(), None);
    /// ```
    #[must_use]
    #[inline]
    pub fn as_int(self) -> Option<i64> {
        match self {
            Self::Int(value) => Some(value),
            Self::Float(_) => None,
        }
    }

    /// The sum. Integers stop at the largest one, and floats at the largest finite one, as the
    /// contract takes no other.
    ///
    /// ```
    /// use millrace_sdk::Value;
    ///
    /// assert_eq!(Value::Int(2).plus(Value::Int(3)), Value::Int(5));
    /// assert_eq!(Value::Int(i64::MAX).plus(Value::Int(3)), Value::Int(i64::MAX));
    /// ```
    #[must_use]
    #[inline]
    pub fn plus(self, other: Self) -> Self {
        match (self, other) {
            (Self::Int(a), Self::Int(b)) => Self::Int(a.saturating_add(b)),
            (a, b) => Self::Float((a.as_f64() + b.as_f64()).clamp(f64::MIN, f64::MAX)),
        }
    }

    /// Whether it is larger than another; integers are compared as integers.
    ///
    /// ```
    /// use millrace_sdk::Value;
    ///
    /// assert!(Value::Int(i64::MAX).exceeds(Value::Int(i64::MAX - 1)));
    /// assert!(!Value::Float(0.5).exceeds(Value::Int(1)));
    /// ```
    #[must_use]
    #[inline]
    pub fn exceeds(self, other: Self) -> bool {
        match (self, other) {
            (Self::Int(a), Self::Int(b)) => a > b,
            (a, b) => a.as_f64() > b.as_f64(),
        }
    }

    pub(crate) fn smaller(self, other: Self) -> Self {
        if self.exceeds(other) { other } else { self }
    }

    pub(crate) fn larger(self, other: Self) -> Self {
        if other.exceeds(self) { other } else { self }
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
///
/// ```
/// use millrace_sdk::{Descriptor, Merge};
///
/// const PEAK: Descriptor<'_> = Descriptor::gauge("memory/peak", "bytes").merged_by(Merge::Max);
/// assert_eq!(PEAK.unit, "bytes");
/// ```
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
    ///
    /// ```
    /// assert_eq!(millrace_sdk::Descriptor::gauge("memory/usage", "bytes").name, "memory/usage");
    /// ```
    #[must_use]
    pub const fn gauge(name: &'a str, unit: &'a str) -> Self {
        Self { name, unit, kind: Kind::Gauge, value: ValueType::Int, merge: Merge::Sum }
    }

    /// An integer counter that sums.
    ///
    /// ```
    /// assert_eq!(millrace_sdk::Descriptor::cumulative("cpu/usage", "ns").unit, "ns");
    /// ```
    #[must_use]
    pub const fn cumulative(name: &'a str, unit: &'a str) -> Self {
        Self { name, unit, kind: Kind::Cumulative, value: ValueType::Int, merge: Merge::Sum }
    }

    /// The same with float values.
    ///
    /// ```
    /// assert_eq!(millrace_sdk::Descriptor::gauge("a", "").float().value, millrace_sdk::ValueType::Float);
    /// ```
    #[must_use]
    pub const fn float(mut self) -> Self {
        self.value = ValueType::Float;
        self
    }

    /// The same with another way to combine two values.
    ///
    /// ```
    /// use millrace_sdk::{Descriptor, Merge};
    /// assert_eq!(Descriptor::gauge("a", "").merged_by(Merge::Min).merge, Merge::Min);
    /// ```
    #[must_use]
    pub const fn merged_by(mut self, merge: Merge) -> Self {
        self.merge = merge;
        self
    }
}

impl Descriptor<'_> {
    /// The same with text of its own, to be kept from one batch to the next.
    ///
    /// ```
    /// use millrace_sdk::{Descriptor, testing};
    ///
    /// let batch = testing::sample();
    /// let kept = batch.descriptor(batch.metric("memory/usage").unwrap()).into_owned();
    /// drop(batch);
    /// assert_eq!(kept.borrowed(), Descriptor::gauge("memory/usage", ""));
    /// ```
    #[must_use]
    pub fn into_owned(self) -> OwnedDescriptor {
        OwnedDescriptor {
            name: self.name.into(),
            unit: self.unit.into(),
            kind: self.kind,
            value: self.value,
            merge: self.merge,
        }
    }
}

/// A [`Descriptor`] with text of its own.
///
/// ```
/// use millrace_sdk::Descriptor;
///
/// let kept = Descriptor::gauge(&format!("{}/max", "cpu"), "millicores").into_owned();
/// assert_eq!(kept.borrowed().name, "cpu/max");
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnedDescriptor {
    name: Box<str>,
    unit: Box<str>,
    kind: Kind,
    value: ValueType,
    merge: Merge,
}

impl OwnedDescriptor {
    /// The descriptor, for [`Edit::metric`](crate::Edit::metric).
    ///
    /// ```
    /// # use millrace_sdk::Descriptor;
    /// assert_eq!(Descriptor::gauge("a", "b").into_owned().borrowed(), Descriptor::gauge("a", "b"));
    /// ```
    #[must_use]
    pub fn borrowed(&self) -> Descriptor<'_> {
        Descriptor { name: &self.name, unit: &self.unit, kind: self.kind, value: self.value, merge: self.merge }
    }
}
