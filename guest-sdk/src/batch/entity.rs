//! Rows of a batch: entities and their points. Each is a reference and a row number, and copies as
//! such.

use super::{Batch, Metric, Symbol, UNKNOWN_AT, span};
use crate::types::{Level, Value};

/// One monitored thing: a node, a pod, a container…
///
/// ```
/// use millrace_sdk::{Level, testing};
///
/// let batch = testing::sample();
/// let pod = batch.entities(Level::Pod).next().unwrap();
/// assert_eq!(pod.label("pod_name"), Some("web"));
/// assert_eq!(pod.int("memory/usage"), Some(30));
/// ```
#[derive(Debug, Clone, Copy)]
pub struct Entity<'a> {
    pub(crate) batch: &'a Batch,
    pub(crate) row: u32,
}

impl<'a> Entity<'a> {
    /// Its place in the batch, for tables with a place for each entity.
    ///
    /// ```
    /// let batch = millrace_sdk::testing::sample();
    /// assert_eq!(batch.all().map(|entity| entity.index()).collect::<Vec<_>>(), [0, 1, 2, 3]);
    /// ```
    #[must_use]
    #[inline]
    pub fn index(self) -> usize {
        self.row as usize
    }

    /// Its level.
    ///
    /// ```
    /// let batch = millrace_sdk::testing::sample();
    /// assert_eq!(batch.all().next().unwrap().level(), millrace_sdk::Level::Node);
    /// ```
    #[must_use]
    #[inline]
    pub fn level(self) -> Level {
        Level::from_byte(self.batch.raw.entities.level[self.index()]).unwrap_or(Level::Other)
    }

    /// When it started, ns since the epoch; `None` if unknown.
    ///
    /// ```
    /// use millrace_sdk::{Level, testing};
    ///
    /// let batch = testing::batch("n").entity(Level::Pod, &[]).started_at(7).entity(Level::Pod, &[]).build();
    /// assert_eq!(batch.all().map(|pod| pod.started_at()).collect::<Vec<_>>(), [Some(7), None]);
    /// ```
    #[must_use]
    #[inline]
    pub fn started_at(self) -> Option<i64> {
        let ns = self.batch.raw.entities.started_at[self.index()];
        (ns != 0).then_some(ns)
    }

    /// The value of one label.
    ///
    /// ```
    /// let batch = millrace_sdk::testing::sample();
    /// let pod = batch.entities(millrace_sdk::Level::Pod).next().unwrap();
    /// assert_eq!(pod.label("namespace_name"), Some("default"));
    /// assert_eq!(pod.label("container_name"), None);
    /// ```
    #[must_use]
    pub fn label(self, name: &str) -> Option<&'a str> {
        self.label_symbol(self.batch.symbol(name)?).map(|symbol| self.batch.text(symbol))
    }

    /// The value of one label, both as symbols: for loops over many entities.
    ///
    /// ```
    /// let batch = millrace_sdk::testing::sample();
    /// let pod = batch.entities(millrace_sdk::Level::Pod).next().unwrap();
    /// let name = batch.symbol("pod_name").unwrap();
    /// assert_eq!(pod.label_symbol(name), batch.symbol("web"));
    /// ```
    #[must_use]
    #[inline]
    pub fn label_symbol(self, name: Symbol) -> Option<Symbol> {
        let entities = &self.batch.raw.entities;
        let range = span(&entities.label_ends, self.index());
        let at = entities.label_names[range.clone()].iter().position(|&other| other == name.0)?;
        Some(Symbol(entities.label_values[range.start + at]))
    }

    /// Names and values of all its labels, as symbols.
    ///
    /// ```
    /// let batch = millrace_sdk::testing::sample();
    /// let pod = batch.entities(millrace_sdk::Level::Pod).next().unwrap();
    /// let private = |name| batch.text(name).starts_with("__");
    /// assert_eq!(pod.label_symbols().filter(|&(name, _)| private(name)).count(), 1);
    /// ```
    #[inline]
    pub fn label_symbols(self) -> impl Iterator<Item = (Symbol, Symbol)> + use<'a> {
        let entities = &self.batch.raw.entities;
        span(&entities.label_ends, self.index())
            .map(move |at| (Symbol(entities.label_names[at]), Symbol(entities.label_values[at])))
    }

    /// Names and values of all its labels.
    ///
    /// ```
    /// let batch = millrace_sdk::testing::sample();
    /// let pod = batch.entities(millrace_sdk::Level::Pod).next().unwrap();
    /// let labels: Vec<_> = pod.labels().collect();
    /// assert_eq!(labels, [("namespace_name", "default"), ("pod_name", "web"), ("__label_app", "shop")]);
    /// ```
    pub fn labels(self) -> impl Iterator<Item = (&'a str, &'a str)> + use<'a> {
        let batch = self.batch;
        self.label_symbols().map(move |(name, value)| (batch.text(name), batch.text(value)))
    }

    /// Its points.
    ///
    /// ```
    /// let batch = millrace_sdk::testing::sample();
    /// let container = batch.entities(millrace_sdk::Level::Container).next().unwrap();
    /// let points: Vec<_> = container.points().map(|point| (point.name(), point.value().as_f64())).collect();
    /// assert_eq!(points, [("cpu/usage_rate", 50.0), ("memory/usage", 20.0), ("filesystem/usage", 7.0)]);
    /// ```
    #[inline]
    pub fn points(self) -> impl Iterator<Item = Point<'a>> + use<'a> {
        let batch = self.batch;
        span(&batch.raw.entities.point_ends, self.index()).map(move |row| Point { batch, row: row as u32 })
    }

    /// The point of one metric that has no labels of its own.
    ///
    /// ```
    /// let batch = millrace_sdk::testing::sample();
    /// let container = batch.entities(millrace_sdk::Level::Container).next().unwrap();
    /// assert!(container.point("memory/usage").is_some());
    /// assert!(container.point("filesystem/usage").is_none(), "it has labels of its own");
    /// ```
    #[must_use]
    pub fn point(self, metric: &str) -> Option<Point<'a>> {
        let metric = self.batch.metric(metric)?;
        self.points().find(|point| point.metric() == metric && !point.is_labelled())
    }

    /// All its points of one metric, those with labels of their own as well.
    ///
    /// ```
    /// let batch = millrace_sdk::testing::sample();
    /// let container = batch.entities(millrace_sdk::Level::Container).next().unwrap();
    /// let filesystem = batch.metric("filesystem/usage").unwrap();
    /// let disks: Vec<_> = container.points_of(filesystem).filter_map(|point| point.label("resource_id")).collect();
    /// assert_eq!(disks, ["/"]);
    /// ```
    pub fn points_of(self, metric: Metric) -> impl Iterator<Item = Point<'a>> + use<'a> {
        self.points().filter(move |point| point.metric() == metric)
    }

    /// Writes what tells this entity from all others, in this cycle and the next ones, behind what
    /// `key` holds: its level, and its labels but those that begin with `__`. For the keys of
    /// [`Rates`](crate::Rates) and of a rule's own state.
    ///
    /// ```
    /// let batch = millrace_sdk::testing::sample();
    /// let pod = batch.entities(millrace_sdk::Level::Pod).next().unwrap();
    /// let mut key = String::new();
    /// pod.write_key(&mut key);
    /// assert_eq!(key, "pod 14:namespace_name 7:default 8:pod_name 3:web");
    /// ```
    pub fn write_key(self, key: &mut String) {
        use std::fmt::Write as _;
        key.push_str(self.level().name());
        let mut labels: Vec<(&str, &str)> = Vec::new();
        for label in self.labels().filter(|(name, _)| !name.starts_with("__")) {
            // In order already, or nearly; a sort would make the rule 6 KB larger.
            let before = labels.iter().rev().take_while(|&&other| other > label).count();
            labels.insert(labels.len() - before, label);
        }
        for (name, value) in labels {
            // With its length before it, no value can pretend to be two.
            let _ = write!(key, " {}:{name} {}:{value}", name.len(), value.len());
        }
    }

    /// The value of one metric without own labels, if it is an integer.
    ///
    /// ```
    /// let batch = millrace_sdk::testing::sample();
    /// let container = batch.entities(millrace_sdk::Level::Container).next().unwrap();
    /// assert_eq!(container.int("cpu/usage_rate"), Some(50));
    /// assert_eq!(container.int("cpu/limit"), None);
    /// ```
    #[must_use]
    pub fn int(self, metric: &str) -> Option<i64> {
        match self.point(metric)?.value() {
            Value::Int(value) => Some(value),
            Value::Float(_) => None,
        }
    }

    /// The value of one metric without own labels, as a float.
    ///
    /// ```
    /// let batch = millrace_sdk::testing::sample();
    /// let container = batch.entities(millrace_sdk::Level::Container).next().unwrap();
    /// assert_eq!(container.float("cpu/usage_rate"), Some(50.0));
    /// ```
    #[must_use]
    pub fn float(self, metric: &str) -> Option<f64> {
        self.point(metric).map(|point| point.value().as_f64())
    }
}

/// One value of an entity.
///
/// ```
/// let batch = millrace_sdk::testing::sample();
/// let container = batch.entities(millrace_sdk::Level::Container).next().unwrap();
/// let point = container.points().next().unwrap();
/// assert_eq!((point.name(), point.value()), ("cpu/usage_rate", millrace_sdk::Value::Int(50)));
/// ```
#[derive(Debug, Clone, Copy)]
pub struct Point<'a> {
    pub(crate) batch: &'a Batch,
    pub(crate) row: u32,
}

impl<'a> Point<'a> {
    #[inline]
    fn index(self) -> usize {
        self.row as usize
    }

    /// Its metric.
    ///
    /// ```
    /// let batch = millrace_sdk::testing::sample();
    /// let container = batch.entities(millrace_sdk::Level::Container).next().unwrap();
    /// let point = container.point("memory/usage").unwrap();
    /// assert_eq!(Some(point.metric()), batch.metric("memory/usage"));
    /// ```
    #[must_use]
    #[inline]
    pub fn metric(self) -> Metric {
        Metric(self.batch.raw.points.metric[self.index()])
    }

    /// Its metric's name.
    ///
    /// ```
    /// let batch = millrace_sdk::testing::sample();
    /// let container = batch.entities(millrace_sdk::Level::Container).next().unwrap();
    /// assert!(container.points().any(|point| point.name() == "memory/usage"));
    /// ```
    #[must_use]
    pub fn name(self) -> &'a str {
        self.batch.metric_name(self.metric())
    }

    /// Its value.
    ///
    /// ```
    /// let batch = millrace_sdk::testing::sample();
    /// let container = batch.entities(millrace_sdk::Level::Container).next().unwrap();
    /// assert_eq!(container.point("memory/usage").unwrap().value().as_int(), Some(20));
    /// ```
    #[must_use]
    #[inline]
    pub fn value(self) -> Value {
        Value::from_bits(self.bits(), self.batch.metric_type(self.metric()))
    }

    /// Its 64 bits: an i64, or those of an f64, as the metric's type says.
    ///
    /// ```
    /// let batch = millrace_sdk::testing::sample();
    /// let container = batch.entities(millrace_sdk::Level::Container).next().unwrap();
    /// assert_eq!(container.point("memory/usage").unwrap().bits(), 20);
    /// ```
    #[must_use]
    #[inline]
    pub fn bits(self) -> u64 {
        self.batch.raw.points.bits[self.index()]
    }

    /// When it was measured by the node's own clock, ns since the epoch.
    ///
    /// ```
    /// use millrace_sdk::{Level, Value, testing};
    ///
    /// let batch = testing::batch("n").entity(Level::Node, &[]).point("a", &[], Some(3), Value::Int(1)).build();
    /// let point = batch.all().next().unwrap().points().next().unwrap();
    /// assert_eq!(point.measured_at(), Some(3_000_000), "ns");
    /// ```
    #[must_use]
    #[inline]
    pub fn measured_at(self) -> Option<i64> {
        let at = self.at();
        (at != UNKNOWN_AT).then(|| self.batch.raw.base.saturating_add(i64::from(at) * 1_000_000))
    }

    /// The time of measurement as the column holds it, for handing on to added points.
    #[inline]
    pub(crate) fn at(self) -> i32 {
        self.batch.raw.points.at[self.index()]
    }

    /// Whether it has labels of its own, as a filesystem's `resource_id`.
    ///
    /// ```
    /// let batch = millrace_sdk::testing::sample();
    /// let container = batch.entities(millrace_sdk::Level::Container).next().unwrap();
    /// assert_eq!(container.points().filter(|point| point.is_labelled()).count(), 1);
    /// ```
    #[must_use]
    #[inline]
    pub fn is_labelled(self) -> bool {
        self.batch.raw.points.labels[self.index()] != 0
    }

    /// A number that is equal for points with the same label set; 0 is the empty set.
    ///
    /// ```
    /// let batch = millrace_sdk::testing::sample();
    /// let container = batch.entities(millrace_sdk::Level::Container).next().unwrap();
    /// assert_eq!(container.point("memory/usage").unwrap().label_set(), 0);
    /// ```
    #[must_use]
    #[inline]
    pub fn label_set(self) -> usize {
        self.batch.raw.points.labels[self.index()] as usize
    }

    /// Its own labels.
    ///
    /// ```
    /// let batch = millrace_sdk::testing::sample();
    /// let container = batch.entities(millrace_sdk::Level::Container).next().unwrap();
    /// let labels: Vec<_> = container.points().flat_map(|point| point.labels()).collect();
    /// assert_eq!(labels, [("resource_id", "/")]);
    /// ```
    pub fn labels(self) -> impl Iterator<Item = (&'a str, &'a str)> + use<'a> {
        let (batch, sets) = (self.batch, &self.batch.raw.label_sets);
        span(&sets.ends, self.label_set())
            .map(move |at| (batch.text(Symbol(sets.names[at])), batch.text(Symbol(sets.values[at]))))
    }

    /// The value of one of its own labels.
    ///
    /// ```
    /// let batch = millrace_sdk::testing::sample();
    /// let container = batch.entities(millrace_sdk::Level::Container).next().unwrap();
    /// let root = container.points().find(|point| point.label("resource_id") == Some("/")).unwrap();
    /// assert_eq!(root.name(), "filesystem/usage");
    /// ```
    #[must_use]
    pub fn label(self, name: &str) -> Option<&'a str> {
        self.labels().find_map(|(key, value)| (key == name).then_some(value))
    }
}
