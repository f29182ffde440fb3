//! Row-like views over a batch's columns. Nothing is copied: an entity is a row number, a label
//! is two symbol ids.

use std::cell::RefCell;

use crate::types::{Cycle, Kind, Level, Value, ValueType};
use crate::wit;

/// `at` of a point whose time of measurement is unknown.
pub(crate) const UNKNOWN_AT: i32 = i32::MIN;

/// A string of the batch, or one that an edit adds. Equal strings of one batch have equal symbols,
/// so comparing symbols is comparing strings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Symbol(pub(crate) u32);

impl Symbol {
    /// A small number, for tables with a place for each string of a batch.
    #[must_use]
    #[inline]
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// A metric of the batch, or one that an edit adds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Metric(pub(crate) u32);

impl Metric {
    /// A small number, for tables with a place for each metric of a batch.
    #[must_use]
    #[inline]
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// What one node gave in one cycle, or what an earlier rule's `finish` made.
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
    #[must_use]
    pub fn cycle(&self) -> &Cycle {
        &self.cycle
    }

    /// The node's name at the API server; `None` for totals that a rule made.
    #[must_use]
    pub fn node(&self) -> Option<&str> {
        match &self.raw.origin {
            wit::Origin::Node(name) => Some(name),
            wit::Origin::Totals(_) => None,
        }
    }

    /// The name of the rule whose totals these are.
    #[must_use]
    pub fn totals_of(&self) -> Option<&str> {
        match &self.raw.origin {
            wit::Origin::Node(_) => None,
            wit::Origin::Totals(rule) => Some(rule),
        }
    }

    /// All entities: the node, its system containers, then each pod followed by its containers.
    #[inline]
    pub fn all(&self) -> impl Iterator<Item = Entity<'_>> + '_ {
        (0..self.raw.entities.level.len() as u32).map(move |row| Entity { batch: self, row })
    }

    /// The entities of one level.
    #[inline]
    pub fn entities(&self, level: Level) -> impl Iterator<Item = Entity<'_>> + '_ {
        self.all().filter(move |entity| entity.level() == level)
    }

    /// How many entities there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.raw.entities.level.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.raw.entities.level.is_empty()
    }

    /// The symbol of a string, if the batch has it. Asking again costs little.
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
    #[must_use]
    #[inline]
    pub fn text(&self, symbol: Symbol) -> &str {
        self.text.get(span(&self.raw.symbols.ends, symbol.index())).unwrap_or("")
    }

    /// The metric of this name, if the batch has it.
    #[must_use]
    #[inline]
    pub fn metric(&self, name: &str) -> Option<Metric> {
        let symbol = self.symbol(name)?;
        self.raw.metrics.name.iter().position(|&other| other == symbol.0).map(|row| Metric(row as u32))
    }

    /// All metrics of the batch.
    pub fn metrics(&self) -> impl Iterator<Item = Metric> + use<> {
        (0..self.raw.metrics.name.len() as u32).map(Metric)
    }

    /// A metric's name.
    #[must_use]
    pub fn metric_name(&self, metric: Metric) -> &str {
        self.raw.metrics.name.get(metric.index()).map_or("", |&name| self.text(Symbol(name)))
    }

    /// Whether a metric is a gauge or cumulative.
    #[must_use]
    pub fn metric_kind(&self, metric: Metric) -> Kind {
        self.raw.metrics.kind.get(metric.index()).and_then(|&byte| Kind::from_byte(byte)).unwrap_or(Kind::Gauge)
    }

    /// Whether a metric is integer or float.
    #[must_use]
    #[inline]
    pub fn metric_type(&self, metric: Metric) -> ValueType {
        let byte = self.raw.metrics.value.get(metric.index());
        byte.and_then(|&byte| ValueType::from_byte(byte)).unwrap_or(ValueType::Int)
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

/// One monitored thing: a node, a pod, a container…
#[derive(Debug, Clone, Copy)]
pub struct Entity<'a> {
    pub(crate) batch: &'a Batch,
    pub(crate) row: u32,
}

impl<'a> Entity<'a> {
    /// Its place in the batch, for tables with a place for each entity.
    #[must_use]
    #[inline]
    pub fn index(self) -> usize {
        self.row as usize
    }

    /// Its level.
    #[must_use]
    #[inline]
    pub fn level(self) -> Level {
        Level::from_byte(self.batch.raw.entities.level[self.index()]).unwrap_or(Level::Other)
    }

    /// When it started, ns since the epoch; `None` if unknown.
    #[must_use]
    #[inline]
    pub fn started_at(self) -> Option<i64> {
        let ns = self.batch.raw.entities.started_at[self.index()];
        (ns != 0).then_some(ns)
    }

    /// The value of one label.
    #[must_use]
    pub fn label(self, name: &str) -> Option<&'a str> {
        self.label_symbol(self.batch.symbol(name)?).map(|symbol| self.batch.text(symbol))
    }

    /// The value of one label, both as symbols: for loops over many entities.
    #[must_use]
    #[inline]
    pub fn label_symbol(self, name: Symbol) -> Option<Symbol> {
        let entities = &self.batch.raw.entities;
        let range = span(&entities.label_ends, self.index());
        let at = entities.label_names[range.clone()].iter().position(|&other| other == name.0)?;
        Some(Symbol(entities.label_values[range.start + at]))
    }

    /// Names and values of all its labels, as symbols.
    #[inline]
    pub fn label_symbols(self) -> impl Iterator<Item = (Symbol, Symbol)> + use<'a> {
        let entities = &self.batch.raw.entities;
        span(&entities.label_ends, self.index())
            .map(move |at| (Symbol(entities.label_names[at]), Symbol(entities.label_values[at])))
    }

    /// Names and values of all its labels.
    pub fn labels(self) -> impl Iterator<Item = (&'a str, &'a str)> + use<'a> {
        let batch = self.batch;
        self.label_symbols().map(move |(name, value)| (batch.text(name), batch.text(value)))
    }

    /// Its points.
    #[inline]
    pub fn points(self) -> impl Iterator<Item = Point<'a>> + use<'a> {
        let batch = self.batch;
        span(&batch.raw.entities.point_ends, self.index()).map(move |row| Point { batch, row: row as u32 })
    }

    /// The point of one metric that has no labels of its own.
    #[must_use]
    pub fn point(self, metric: &str) -> Option<Point<'a>> {
        let metric = self.batch.metric(metric)?;
        self.points().find(|point| point.metric() == metric && !point.is_labelled())
    }

    /// The value of one metric without own labels, if it is an integer.
    #[must_use]
    pub fn int(self, metric: &str) -> Option<i64> {
        match self.point(metric)?.value() {
            Value::Int(value) => Some(value),
            Value::Float(_) => None,
        }
    }

    /// The value of one metric without own labels, as a float.
    #[must_use]
    pub fn float(self, metric: &str) -> Option<f64> {
        self.point(metric).map(|point| point.value().as_f64())
    }
}

/// One value of an entity.
#[derive(Debug, Clone, Copy)]
pub struct Point<'a> {
    batch: &'a Batch,
    pub(crate) row: u32,
}

impl<'a> Point<'a> {
    #[inline]
    fn index(self) -> usize {
        self.row as usize
    }

    /// Its metric.
    #[must_use]
    #[inline]
    pub fn metric(self) -> Metric {
        Metric(self.batch.raw.points.metric[self.index()])
    }

    /// Its metric's name.
    #[must_use]
    pub fn name(self) -> &'a str {
        self.batch.metric_name(self.metric())
    }

    /// Its value.
    #[must_use]
    #[inline]
    pub fn value(self) -> Value {
        Value::from_bits(self.bits(), self.batch.metric_type(self.metric()))
    }

    /// Its 64 bits: an i64, or those of an f64, as the metric's type says.
    #[must_use]
    #[inline]
    pub fn bits(self) -> u64 {
        self.batch.raw.points.bits[self.index()]
    }

    /// When it was measured by the node's own clock, ns since the epoch.
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
    #[must_use]
    #[inline]
    pub fn is_labelled(self) -> bool {
        self.batch.raw.points.labels[self.index()] != 0
    }

    /// A number that is equal for points with the same label set; 0 is the empty set.
    #[must_use]
    #[inline]
    pub fn label_set(self) -> usize {
        self.batch.raw.points.labels[self.index()] as usize
    }

    /// Its own labels.
    pub fn labels(self) -> impl Iterator<Item = (&'a str, &'a str)> + use<'a> {
        let (batch, sets) = (self.batch, &self.batch.raw.label_sets);
        span(&sets.ends, self.label_set())
            .map(move |at| (batch.text(Symbol(sets.names[at])), batch.text(Symbol(sets.values[at]))))
    }

    /// The value of one of its own labels.
    #[must_use]
    pub fn label(self, name: &str) -> Option<&'a str> {
        self.labels().find_map(|(key, value)| (key == name).then_some(value))
    }
}

/// `ends[row-1]..ends[row]`.
#[inline]
pub(crate) fn span(ends: &[u32], row: usize) -> std::ops::Range<usize> {
    let end = ends.get(row).copied().unwrap_or(0) as usize;
    let start = if row == 0 { 0 } else { ends.get(row - 1).copied().unwrap_or(0) as usize };
    start.min(end)..end
}
