//! Builds a rule's answer. What is not mentioned stays as it was.

mod columns;

use hashbrown::{DefaultHashBuilder, HashTable};
use std::hash::BuildHasher;

use crate::batch::{Batch, Entity, Metric, Point, Symbol, UNKNOWN_AT, span};
use crate::types::{Descriptor, Level, Value, ValueType};
use crate::wit;

/// A string that a rule hands to an edit: text of its own, or a symbol of the batch.
///
/// ```
/// use millrace_sdk::testing;
///
/// let batch = testing::sample();
/// let shop = batch.symbol("shop").unwrap();
/// let rows = testing::edit(&batch, |edit| {
///     let pod = batch.all().nth(1).unwrap();
///     edit.set_label(pod, "app", shop);
///     edit.set_label(pod, "team", "blue");
/// });
/// assert_eq!(rows[1], "pod {__label_app=shop,app=shop,namespace_name=default,pod_name=web,team=blue} memory/usage = 30");
/// ```
#[derive(Debug, Clone, Copy)]
pub enum Text<'a> {
    /// Text of the rule's own.
    Own(&'a str),
    /// A string that the batch or this edit has already.
    Known(Symbol),
}

impl<'a> From<&'a str> for Text<'a> {
    #[inline]
    fn from(text: &'a str) -> Self {
        Self::Own(text)
    }
}

impl<'a> From<&'a String> for Text<'a> {
    #[inline]
    fn from(text: &'a String) -> Self {
        Self::Own(text)
    }
}

impl From<Symbol> for Text<'_> {
    #[inline]
    fn from(symbol: Symbol) -> Self {
        Self::Known(symbol)
    }
}

/// A rule's answer to one batch, or to the end of a cycle.
///
/// ```
/// use millrace_sdk::{Descriptor, Level, testing};
///
/// let batch = testing::sample();
/// let rows = testing::edit(&batch, |edit| {
///     let free = edit.metric(Descriptor::gauge("memory/free", "bytes"));
///     for entity in batch.all() {
///         match entity.level() {
///             Level::Node => edit.add(entity, free, 900),
///             _ => edit.drop_entity(entity),
///         }
///     }
/// });
/// assert_eq!(rows, ["node {nodename=node-a} memory/usage = 100", "node {nodename=node-a} memory/free = 900"]);
/// ```
#[derive(Debug)]
pub struct Edit {
    raw: wit::Edit,
    entities: usize,
    points: usize,
    symbols: u32,
    metrics: u32,
    label_sets: u32,
    /// Value type of every metric, the batch's and then the added ones, for conversions.
    types: Vec<u8>,
    /// Points added to entities of the batch, in the order they came.
    added: Vec<Added>,
    index: HashTable<u32>,
    hasher: DefaultHashBuilder,
}

/// A point added to an entity of the batch.
#[derive(Debug, Clone, Copy)]
struct Added {
    entity: u32,
    metric: u32,
    labels: u32,
    at: i32,
    bits: u64,
}

impl Edit {
    pub(crate) fn for_batch(batch: &Batch) -> Self {
        let raw = &batch.raw;
        Self {
            entities: raw.entities.level.len(),
            points: raw.points.metric.len(),
            symbols: raw.symbols.ends.len() as u32,
            metrics: raw.metrics.name.len() as u32,
            label_sets: raw.label_sets.ends.len() as u32,
            types: raw.metrics.value.clone(),
            ..Self::for_totals()
        }
    }

    pub(crate) fn for_totals() -> Self {
        Self {
            raw: columns::empty(),
            entities: 0,
            points: 0,
            symbols: 0,
            metrics: 0,
            // An empty batch still has the empty set.
            label_sets: 1,
            types: Vec::new(),
            added: Vec::new(),
            index: HashTable::new(),
            hasher: DefaultHashBuilder::default(),
        }
    }

    /// Drops an entity with all its points.
    ///
    /// ```
    /// use millrace_sdk::{Level, testing};
    ///
    /// let batch = testing::sample();
    /// let rows = testing::edit(&batch, |edit| batch.entities(Level::Container).for_each(|it| edit.drop_entity(it)));
    /// assert_eq!(rows.len(), 2, "the node's point and the pod's");
    /// ```
    #[inline]
    pub fn drop_entity(&mut self, entity: Entity<'_>) {
        if self.raw.keep_entities.is_empty() {
            self.raw.keep_entities = vec![1; self.entities];
        }
        self.raw.keep_entities[entity.index()] = 0;
    }

    /// Drops one point.
    ///
    /// ```
    /// use millrace_sdk::testing;
    ///
    /// let batch = testing::sample();
    /// let rows = testing::edit(&batch, |edit| {
    ///     let labelled = batch.all().flat_map(|entity| entity.points()).filter(|point| point.is_labelled());
    ///     labelled.for_each(|point| edit.drop_point(point));
    /// });
    /// assert!(!rows.iter().any(|row| row.contains("filesystem")));
    /// ```
    #[inline]
    pub fn drop_point(&mut self, point: Point<'_>) {
        if self.raw.keep_points.is_empty() {
            self.raw.keep_points = vec![1; self.points];
        }
        self.raw.keep_points[point.row as usize] = 0;
    }

    /// Sets a label of an entity, whether it had it or not.
    ///
    /// ```
    /// use millrace_sdk::testing;
    ///
    /// let batch = testing::sample();
    /// let rows = testing::edit(&batch, |edit| batch.all().for_each(|entity| edit.set_label(entity, "cluster", "test")));
    /// assert_eq!(rows[0], "node {cluster=test,nodename=node-a} memory/usage = 100");
    /// ```
    #[inline]
    pub fn set_label<'t>(&mut self, entity: Entity<'_>, name: impl Into<Text<'t>>, value: impl Into<Text<'t>>) {
        let (name, value) = (self.symbol(name), self.symbol(value));
        self.relabel(entity, name.0, value.0);
    }

    /// Removes a label of an entity, if it has it.
    ///
    /// ```
    /// use millrace_sdk::testing;
    ///
    /// let batch = testing::sample();
    /// let rows = testing::edit(&batch, |edit| batch.all().for_each(|entity| edit.remove_label(entity, "nodename")));
    /// assert_eq!(rows[0], "node {} memory/usage = 100");
    /// ```
    pub fn remove_label<'t>(&mut self, entity: Entity<'_>, name: impl Into<Text<'t>>) {
        let name = self.symbol(name);
        self.relabel(entity, name.0, u32::MAX);
    }

    /// Gives a label of an entity another name, if it has it.
    ///
    /// ```
    /// use millrace_sdk::testing;
    ///
    /// let batch = testing::sample();
    /// let rows = testing::edit(&batch, |edit| batch.all().for_each(|it| edit.rename_label(it, "nodename", "host")));
    /// assert_eq!(rows[0], "node {host=node-a} memory/usage = 100");
    /// ```
    pub fn rename_label<'t>(&mut self, entity: Entity<'_>, from: &str, to: impl Into<Text<'t>>) {
        if let Some(name) = entity.batch.symbol(from)
            && let Some(value) = entity.label_symbol(name)
        {
            self.remove_label(entity, name);
            self.set_label(entity, to, value);
        }
    }

    /// The symbol of a string. For strings that are used many times in one edit.
    ///
    /// ```
    /// use millrace_sdk::testing;
    ///
    /// let batch = testing::sample();
    /// testing::edit(&batch, |edit| {
    ///     let (name, value) = (edit.symbol("cluster"), edit.symbol("test"));
    ///     batch.all().for_each(|entity| edit.set_label(entity, name, value));
    /// });
    /// ```
    pub fn symbol<'t>(&mut self, text: impl Into<Text<'t>>) -> Symbol {
        let text = match text.into() {
            Text::Known(symbol) => return symbol,
            Text::Own(text) => text,
        };
        let hash = self.hasher.hash_one(text.as_bytes());
        let (bytes, ends, hasher) = (&mut self.raw.new_symbols.text, &mut self.raw.new_symbols.ends, &self.hasher);
        if let Some(&row) = self.index.find(hash, |&row| same(&bytes[span(ends, row as usize)], text.as_bytes())) {
            return Symbol(self.symbols + row);
        }
        let row = ends.len() as u32;
        bytes.extend_from_slice(text.as_bytes());
        ends.push(bytes.len() as u32);
        let (bytes, ends) = (&*bytes, &*ends);
        self.index.insert_unique(hash, row, |&row| hasher.hash_one(&bytes[span(ends, row as usize)]));
        Symbol(self.symbols + row)
    }

    /// The metric of a descriptor, added once. Ask once an edit, not once a point.
    ///
    /// ```
    /// use millrace_sdk::{Descriptor, testing};
    ///
    /// let batch = testing::sample();
    /// testing::edit(&batch, |edit| {
    ///     let free = edit.metric(Descriptor::gauge("memory/free", "bytes"));
    ///     assert_eq!(free, edit.metric(Descriptor::gauge("memory/free", "bytes")));
    /// });
    /// ```
    pub fn metric(&mut self, descriptor: Descriptor<'_>) -> Metric {
        let name = self.symbol(descriptor.name);
        if let Some(row) = self.raw.new_metrics.name.iter().position(|&other| other == name.0) {
            return Metric(self.metrics + row as u32);
        }
        let unit = self.symbol(descriptor.unit);
        let metrics = &mut self.raw.new_metrics;
        metrics.name.push(name.0);
        metrics.unit.push(unit.0);
        metrics.kind.push(descriptor.kind as u8);
        metrics.value.push(descriptor.value as u8);
        metrics.merge.push(descriptor.merge as u8);
        self.types.push(descriptor.value as u8);
        Metric(self.metrics + metrics.name.len() as u32 - 1)
    }

    /// A set of labels for points; the empty slice is the empty set.
    ///
    /// ```
    /// use millrace_sdk::{Descriptor, testing};
    ///
    /// let batch = testing::sample();
    /// let rows = testing::edit(&batch, |edit| {
    ///     let used = edit.metric(Descriptor::gauge("disk/used", "bytes"));
    ///     let root = edit.label_set(&[("disk", "/")]);
    ///     edit.add_labelled(batch.all().next().unwrap(), used, root, 5);
    /// });
    /// assert_eq!(rows[1], "node {nodename=node-a} disk/used{disk=/} = 5");
    /// ```
    pub fn label_set(&mut self, labels: &[(&str, &str)]) -> usize {
        if labels.is_empty() {
            return 0;
        }
        for (name, value) in labels {
            let (name, value) = (self.symbol(*name), self.symbol(*value));
            self.raw.new_label_sets.names.push(name.0);
            self.raw.new_label_sets.values.push(value.0);
        }
        let sets = &mut self.raw.new_label_sets;
        sets.ends.push(sets.names.len() as u32);
        self.label_sets as usize + sets.ends.len() - 1
    }

    /// Makes room for this many points more that are added to entities of the batch.
    ///
    /// ```
    /// use millrace_sdk::testing;
    ///
    /// let batch = testing::sample();
    /// testing::edit(&batch, |edit| edit.reserve(batch.len()));
    /// ```
    pub fn reserve(&mut self, points: usize) {
        self.added.reserve(points);
    }

    /// Adds a point to an entity of the batch.
    ///
    /// ```
    /// use millrace_sdk::{Descriptor, testing};
    ///
    /// let batch = testing::sample();
    /// let rows = testing::edit(&batch, |edit| {
    ///     let free = edit.metric(Descriptor::gauge("memory/free", "bytes"));
    ///     edit.add(batch.all().next().unwrap(), free, 900);
    /// });
    /// assert_eq!(rows[1], "node {nodename=node-a} memory/free = 900");
    /// ```
    #[inline]
    pub fn add(&mut self, entity: Entity<'_>, metric: Metric, value: impl Into<Value>) {
        self.add_row(entity, metric, 0, UNKNOWN_AT, value.into());
    }

    /// Adds a point to an entity of the batch, measured when `like` was: a rate, a share, a copy
    /// under another name.
    ///
    /// ```
    /// use millrace_sdk::{Descriptor, Level, testing};
    ///
    /// let batch = testing::sample();
    /// let rows = testing::edit(&batch, |edit| {
    ///     let cores = edit.metric(Descriptor::gauge("cpu/cores", "").float());
    ///     for entity in batch.entities(Level::Container) {
    ///         if let Some(point) = entity.point("cpu/usage_rate") {
    ///             edit.add_measured(entity, cores, point.value().as_f64() / 1000.0, point);
    ///         }
    ///     }
    /// });
    /// assert!(rows[5].ends_with(" cpu/cores = 0.05"), "{rows:?}");
    /// ```
    #[inline]
    pub fn add_measured(&mut self, entity: Entity<'_>, metric: Metric, value: impl Into<Value>, like: Point<'_>) {
        self.add_row(entity, metric, 0, like.at(), value.into());
    }

    /// Adds a point with labels of its own; `labels` from [`Edit::label_set`] or
    /// [`Point::label_set`].
    ///
    /// ```
    /// use millrace_sdk::{Descriptor, testing};
    ///
    /// let batch = testing::sample();
    /// let rows = testing::edit(&batch, |edit| {
    ///     let ready = edit.metric(Descriptor::gauge("ready", ""));
    ///     let probe = edit.label_set(&[("probe", "http")]);
    ///     edit.add_labelled(batch.all().next().unwrap(), ready, probe, 1);
    /// });
    /// assert_eq!(rows[1], "node {nodename=node-a} ready{probe=http} = 1");
    /// ```
    pub fn add_labelled(&mut self, entity: Entity<'_>, metric: Metric, labels: usize, value: impl Into<Value>) {
        self.add_row(entity, metric, labels, UNKNOWN_AT, value.into());
    }

    /// Adds a point that differs from `like` in metric and value only: it has its labels and was
    /// measured when it was. A metric under another name, or in another unit.
    ///
    /// ```
    /// use millrace_sdk::{Descriptor, testing};
    ///
    /// let batch = testing::sample();
    /// let rows = testing::edit(&batch, |edit| {
    ///     let renamed = edit.metric(Descriptor::gauge("disk/usage", "bytes"));
    ///     let old = batch.metric("filesystem/usage").unwrap();
    ///     for entity in batch.all() {
    ///         for point in entity.points_of(old) {
    ///             edit.drop_point(point);
    ///             edit.add_like(entity, renamed, point.value(), point);
    ///         }
    ///     }
    /// });
    /// assert!(rows[4].ends_with(" disk/usage{resource_id=/} = 7"), "{rows:?}");
    /// ```
    pub fn add_like(&mut self, entity: Entity<'_>, metric: Metric, value: impl Into<Value>, like: Point<'_>) {
        self.add_row(entity, metric, like.label_set(), like.at(), value.into());
    }

    /// Adds an entity. Label names must differ.
    ///
    /// ```
    /// use millrace_sdk::{Descriptor, Level, testing};
    ///
    /// let rows = testing::edit(&testing::batch("node-a").build(), |edit| {
    ///     let pods = edit.metric(Descriptor::gauge("pods", ""));
    ///     edit.add_entity(Level::Other, &[("team", "blue")]).point(pods, 3);
    /// });
    /// assert_eq!(rows, ["other {team=blue} pods = 3"]);
    /// ```
    pub fn add_entity(&mut self, level: Level, labels: &[(&str, &str)]) -> NewEntity<'_> {
        for (name, value) in labels {
            let (name, value) = (self.symbol(*name), self.symbol(*value));
            self.raw.new_entities.label_names.push(name.0);
            self.raw.new_entities.label_values.push(value.0);
        }
        let entities = &mut self.raw.new_entities;
        entities.level.push(level as u8);
        entities.started_at.push(0);
        entities.label_ends.push(entities.label_names.len() as u32);
        entities.point_ends.push(self.raw.new_points.metric.len() as u32);
        NewEntity { edit: self }
    }

    #[inline]
    fn relabel(&mut self, entity: Entity<'_>, name: u32, value: u32) {
        self.raw.relabel_entity.push(entity.row);
        self.raw.relabel_name.push(name);
        self.raw.relabel_value.push(value);
    }

    #[inline]
    fn add_row(&mut self, entity: Entity<'_>, metric: Metric, labels: usize, at: i32, value: Value) {
        let bits = value.bits_as(self.value_type(metric));
        self.added.push(Added { entity: entity.row, metric: metric.0, labels: labels as u32, at, bits });
    }

    #[inline]
    fn value_type(&self, metric: Metric) -> ValueType {
        self.types.get(metric.index()).and_then(|&byte| ValueType::from_byte(byte)).unwrap_or(ValueType::Int)
    }
}

/// Whether two strings are equal, eight bytes at a time: Wasm has no instruction for it, and the
/// compiler's own function goes byte by byte.
pub(crate) fn same(a: &[u8], b: &[u8]) -> bool {
    let word = |bytes: &[u8; 8]| u64::from_le_bytes(*bytes);
    let equal = |(a, b): (&[u8; 8], &[u8; 8])| word(a) == word(b);
    match (a.last_chunk::<8>(), b.last_chunk::<8>()) {
        _ if a.len() != b.len() => false,
        // The last eight overlap those before them.
        (Some(a_end), Some(b_end)) => {
            word(a_end) == word(b_end) && a.as_chunks::<8>().0.iter().zip(b.as_chunks::<8>().0).all(equal)
        }
        _ => a.iter().zip(b).all(|(a, b)| a == b),
    }
}

/// An entity that an edit adds, while its points are added.
///
/// ```
/// use millrace_sdk::{Descriptor, Level, testing};
///
/// let rows = testing::edit(&testing::batch("node-a").build(), |edit| {
///     let (least, most) = (edit.metric(Descriptor::gauge("least", "")), edit.metric(Descriptor::gauge("most", "")));
///     edit.add_entity(Level::Cluster, &[]).point(least, 1).point(most, 9);
/// });
/// assert_eq!(rows, ["cluster {} least = 1", "cluster {} most = 9"]);
/// ```
#[derive(Debug)]
pub struct NewEntity<'e> {
    edit: &'e mut Edit,
}

impl NewEntity<'_> {
    /// Adds a point to it.
    ///
    /// ```
    /// use millrace_sdk::{Descriptor, Level, testing};
    ///
    /// let rows = testing::edit(&testing::batch("node-a").build(), |edit| {
    ///     let share = edit.metric(Descriptor::gauge("share", "").float());
    ///     edit.add_entity(Level::Cluster, &[]).point(share, 0.25);
    /// });
    /// assert_eq!(rows, ["cluster {} share = 0.25"]);
    /// ```
    pub fn point(self, metric: Metric, value: impl Into<Value>) -> Self {
        self.labelled(metric, 0, value)
    }

    /// Adds a point with labels of its own; `labels` from [`Edit::label_set`].
    ///
    /// ```
    /// use millrace_sdk::{Descriptor, Level, testing};
    ///
    /// let rows = testing::edit(&testing::batch("node-a").build(), |edit| {
    ///     let pods = edit.metric(Descriptor::gauge("pods", ""));
    ///     let running = edit.label_set(&[("phase", "Running")]);
    ///     edit.add_entity(Level::Cluster, &[]).labelled(pods, running, 3);
    /// });
    /// assert_eq!(rows, ["cluster {} pods{phase=Running} = 3"]);
    /// ```
    pub fn labelled(self, metric: Metric, labels: usize, value: impl Into<Value>) -> Self {
        let bits = value.into().bits_as(self.edit.value_type(metric));
        push(&mut self.edit.raw.new_points, metric, labels, UNKNOWN_AT, bits);
        if let Some(end) = self.edit.raw.new_entities.point_ends.last_mut() {
            *end += 1;
        }
        self
    }

    /// Says when it started, ns since the epoch.
    ///
    /// ```
    /// use millrace_sdk::{Level, testing};
    ///
    /// testing::edit(&testing::batch("node-a").build(), |edit| {
    ///     edit.add_entity(Level::Other, &[("team", "blue")]).started_at(1_767_225_600_000_000_000);
    /// });
    /// ```
    pub fn started_at(self, ns: i64) -> Self {
        if let Some(started) = self.edit.raw.new_entities.started_at.last_mut() {
            *started = ns;
        }
        self
    }
}

fn push(points: &mut wit::Points, metric: Metric, labels: usize, at: i32, bits: u64) {
    points.metric.push(metric.0);
    points.labels.push(labels as u32);
    points.at.push(at);
    points.bits.push(bits);
}
