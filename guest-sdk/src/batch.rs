//! Row-like views over a batch's columns. Nothing is copied: an entity is a row number, a label
//! is two symbol ids.

mod entity;

use std::cell::RefCell;

use crate::types::{Cycle, Descriptor, Kind, Level, Merge, ValueType};
use crate::wit;
pub use entity::{Entity, Point};

/// `at` of a point whose time of measurement is unknown.
pub(crate) const UNKNOWN_AT: i32 = i32::MIN;

/// A string of the batch, or one that an edit adds. Equal strings of one batch have equal symbols,
/// so comparing symbols is comparing strings.
///
/// ```
/// let batch = millrace_sdk::testing::sample();
/// let namespace = batch.symbol("namespace_name").unwrap();
/// let default = batch.symbol("default").unwrap();
/// let pods = batch.all().filter(|entity| entity.label_symbol(namespace) == Some(default));
/// assert_eq!(pods.count(), 3, "a pod and its two containers");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Symbol(pub(crate) u32);

impl Symbol {
    /// A small number, for tables with a place for each string of a batch.
    ///
    /// ```
    /// let batch = millrace_sdk::testing::sample();
    /// let symbol = batch.symbol("default").unwrap();
    /// assert!(symbol.index() < 100);
    /// ```
    #[must_use]
    #[inline]
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// A metric of the batch, or one that an edit adds.
///
/// ```
/// let batch = millrace_sdk::testing::sample();
/// let memory = batch.metric("memory/usage").unwrap();
/// assert_eq!(batch.metric_name(memory), "memory/usage");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Metric(pub(crate) u32);

impl Metric {
    /// A small number, for tables with a place for each metric of a batch.
    ///
    /// ```
    /// let batch = millrace_sdk::testing::sample();
    /// let mut points_of_metric = vec![0; batch.metrics().count()];
    /// for point in batch.all().flat_map(|entity| entity.points()) {
    ///     points_of_metric[point.metric().index()] += 1;
    /// }
    /// assert_eq!(points_of_metric.iter().sum::<i32>(), 7);
    /// ```
    #[must_use]
    #[inline]
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// What one node gave in one cycle, or what an earlier rule's `finish` made.
///
/// ```
/// use millrace_sdk::{Level, testing};
///
/// let batch = testing::sample();
/// for container in batch.entities(Level::Container) {
///     println!("{:?} uses {:?} bytes", container.label("container_name"), container.int("memory/usage"));
/// }
/// ```
#[derive(Debug)]
pub struct Batch {
    cycle: Cycle,
    /// All columns but the text of the symbols.
    pub(crate) raw: wit::Batch,
    /// That text, looked through for UTF-8 once and not at every use.
    text: String,
    /// Names looked up before. Most rules ask for the same few, once an entity.
    asked: RefCell<Vec<(Box<str>, Option<Symbol>)>>,
}

impl Batch {
    pub(crate) fn new(cycle: Cycle, mut raw: wit::Batch) -> Self {
        // The contract says UTF-8. From a host that breaks it, other bytes become question marks.
        let text = String::from_utf8(std::mem::take(&mut raw.symbols.text)).unwrap_or_else(|broken| {
            broken.into_bytes().into_iter().map(|byte| if byte.is_ascii() { char::from(byte) } else { '?' }).collect()
        });
        Self { cycle, raw, text, asked: RefCell::default() }
    }

    /// The cycle this batch belongs to.
    ///
    /// ```
    /// assert_eq!(millrace_sdk::testing::sample().cycle().number, 1);
    /// ```
    #[must_use]
    pub fn cycle(&self) -> &Cycle {
        &self.cycle
    }

    /// The node's name at the API server; `None` for totals that a rule made.
    ///
    /// ```
    /// assert_eq!(millrace_sdk::testing::sample().node(), Some("node-a"));
    /// ```
    #[must_use]
    pub fn node(&self) -> Option<&str> {
        match &self.raw.origin {
            wit::Origin::Node(name) => Some(name),
            wit::Origin::Totals(_) => None,
        }
    }

    /// The name of the rule whose totals these are.
    ///
    /// ```
    /// let totals = millrace_sdk::testing::totals("heapster").build();
    /// assert_eq!(totals.totals_of(), Some("heapster"));
    /// assert_eq!(totals.node(), None);
    /// ```
    #[must_use]
    pub fn totals_of(&self) -> Option<&str> {
        match &self.raw.origin {
            wit::Origin::Node(_) => None,
            wit::Origin::Totals(rule) => Some(rule),
        }
    }

    /// All entities: the node, its system containers, then each pod followed by its containers.
    ///
    /// ```
    /// let batch = millrace_sdk::testing::sample();
    /// let levels: Vec<&str> = batch.all().map(|entity| entity.level().name()).collect();
    /// assert_eq!(levels, ["node", "pod", "container", "container"]);
    /// ```
    #[inline]
    pub fn all(&self) -> impl Iterator<Item = Entity<'_>> + '_ {
        (0..self.raw.entities.level.len() as u32).map(move |row| Entity { batch: self, row })
    }

    /// The entities of one level.
    ///
    /// ```
    /// use millrace_sdk::{Level, testing};
    ///
    /// assert_eq!(testing::sample().entities(Level::Container).count(), 2);
    /// ```
    #[inline]
    pub fn entities(&self, level: Level) -> impl Iterator<Item = Entity<'_>> + '_ {
        self.all().filter(move |entity| entity.level() == level)
    }

    /// How many entities there are.
    ///
    /// ```
    /// assert_eq!(millrace_sdk::testing::sample().len(), 4);
    /// ```
    #[must_use]
    pub fn len(&self) -> usize {
        self.raw.entities.level.len()
    }

    /// Whether there are none.
    ///
    /// ```
    /// assert!(millrace_sdk::testing::batch("node-a").build().is_empty());
    /// ```
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.raw.entities.level.is_empty()
    }

    /// The symbol of a string, if the batch has it. Asking again costs little.
    ///
    /// ```
    /// let batch = millrace_sdk::testing::sample();
    /// assert!(batch.symbol("pod_name").is_some());
    /// assert_eq!(batch.symbol("never heard of"), None);
    /// ```
    #[must_use]
    pub fn symbol(&self, string: &str) -> Option<Symbol> {
        let mut asked = self.asked.borrow_mut();
        if let Some((_, symbol)) = asked.iter().find(|(known, _)| **known == *string) {
            return *symbol;
        }
        let symbol = self.search(string);
        // A rule that asks for ever other strings must not make this list long.
        if asked.len() < 32 {
            asked.push((string.into(), symbol));
        }
        symbol
    }

    /// The string of a symbol of this batch.
    ///
    /// ```
    /// let batch = millrace_sdk::testing::sample();
    /// assert_eq!(batch.text(batch.symbol("default").unwrap()), "default");
    /// ```
    #[must_use]
    #[inline]
    pub fn text(&self, symbol: Symbol) -> &str {
        self.text.get(span(&self.raw.symbols.ends, symbol.index())).unwrap_or("")
    }

    /// The metric of this name, if the batch has it.
    ///
    /// ```
    /// let batch = millrace_sdk::testing::sample();
    /// assert!(batch.metric("memory/usage").is_some());
    /// assert!(batch.metric("pod_name").is_none(), "a label's name is no metric");
    /// ```
    #[must_use]
    #[inline]
    pub fn metric(&self, name: &str) -> Option<Metric> {
        let symbol = self.symbol(name)?;
        self.raw.metrics.name.iter().position(|&other| other == symbol.0).map(|row| Metric(row as u32))
    }

    /// All metrics of the batch.
    ///
    /// ```
    /// let batch = millrace_sdk::testing::sample();
    /// assert!(batch.metrics().any(|metric| batch.metric_name(metric) == "memory/usage"));
    /// ```
    pub fn metrics(&self) -> impl Iterator<Item = Metric> + use<> {
        (0..self.raw.metrics.name.len() as u32).map(Metric)
    }

    /// A metric's name.
    ///
    /// ```
    /// let batch = millrace_sdk::testing::sample();
    /// let names: Vec<&str> = batch.metrics().map(|metric| batch.metric_name(metric)).collect();
    /// assert_eq!(names, ["memory/usage", "cpu/usage_rate", "filesystem/usage"]);
    /// ```
    #[must_use]
    pub fn metric_name(&self, metric: Metric) -> &str {
        self.raw.metrics.name.get(metric.index()).map_or("", |&name| self.text(Symbol(name)))
    }

    /// Whether a metric is a gauge or cumulative.
    ///
    /// ```
    /// use millrace_sdk::{Kind, testing};
    ///
    /// let batch = testing::sample();
    /// assert_eq!(batch.metric_kind(batch.metric("memory/usage").unwrap()), Kind::Gauge);
    /// ```
    #[must_use]
    pub fn metric_kind(&self, metric: Metric) -> Kind {
        self.raw.metrics.kind.get(metric.index()).and_then(|&byte| Kind::from_byte(byte)).unwrap_or(Kind::Gauge)
    }

    /// Whether a metric is integer or float.
    ///
    /// ```
    /// use millrace_sdk::{ValueType, testing};
    ///
    /// let batch = testing::sample();
    /// assert_eq!(batch.metric_type(batch.metric("memory/usage").unwrap()), ValueType::Int);
    /// ```
    #[must_use]
    #[inline]
    pub fn metric_type(&self, metric: Metric) -> ValueType {
        let byte = self.raw.metrics.value.get(metric.index());
        byte.and_then(|&byte| ValueType::from_byte(byte)).unwrap_or(ValueType::Int)
    }

    /// How two values of one series of a metric combine.
    ///
    /// ```
    /// use millrace_sdk::{Merge, testing};
    ///
    /// let batch = testing::sample();
    /// assert_eq!(batch.metric_merge(batch.metric("memory/usage").unwrap()), Merge::Sum);
    /// ```
    #[must_use]
    pub fn metric_merge(&self, metric: Metric) -> Merge {
        self.raw.metrics.merge.get(metric.index()).and_then(|&byte| Merge::from_byte(byte)).unwrap_or(Merge::Sum)
    }

    /// A metric's unit; may be empty.
    ///
    /// ```
    /// use millrace_sdk::{Descriptor, Level, testing};
    ///
    /// let batch = testing::batch("node-a")
    ///     .metric(Descriptor::gauge("memory/usage", "bytes"))
    ///     .entity(Level::Node, &[]).int("memory/usage", 1)
    ///     .build();
    /// assert_eq!(batch.metric_unit(batch.metric("memory/usage").unwrap()), "bytes");
    /// ```
    #[must_use]
    pub fn metric_unit(&self, metric: Metric) -> &str {
        self.raw.metrics.unit.get(metric.index()).map_or("", |&unit| self.text(Symbol(unit)))
    }

    /// All that is known of a metric: for adding one like it, or the same in `finish`.
    ///
    /// ```
    /// use millrace_sdk::{Descriptor, testing};
    ///
    /// let batch = testing::sample();
    /// let memory = batch.metric("memory/usage").unwrap();
    /// let peak = Descriptor { name: "memory/peak", ..batch.descriptor(memory) };
    /// assert_eq!(peak, Descriptor::gauge("memory/peak", ""));
    /// ```
    #[must_use]
    pub fn descriptor(&self, metric: Metric) -> Descriptor<'_> {
        Descriptor {
            name: self.metric_name(metric),
            unit: self.metric_unit(metric),
            kind: self.metric_kind(metric),
            value: self.metric_type(metric),
            merge: self.metric_merge(metric),
        }
    }

    fn search(&self, string: &str) -> Option<Symbol> {
        let (text, mut start) = (self.text.as_bytes(), 0);
        for (id, &end) in self.raw.symbols.ends.iter().enumerate() {
            // The length first: it tells nearly all others apart without touching the text.
            if (end - start) as usize == string.len() && &text[start as usize..end as usize] == string.as_bytes() {
                return Some(Symbol(id as u32));
            }
            start = end;
        }
        None
    }
}

/// `ends[row-1]..ends[row]`.
#[inline]
pub(crate) fn span(ends: &[u32], row: usize) -> std::ops::Range<usize> {
    let end = ends.get(row).copied().unwrap_or(0) as usize;
    let start = if row == 0 { 0 } else { ends.get(row - 1).copied().unwrap_or(0) as usize };
    start.min(end)..end
}
