//! Runs a rule natively: build a batch from rows, process it, compare rows.

use std::collections::BTreeMap;

use crate::batch::{Symbol, UNKNOWN_AT, span};
use crate::types::{Cycle, Level, Value, ValueType};
use crate::{Batch, Edit, Refusal, Rule, wit};

/// Starts a batch of one node, in cycle 1.
#[must_use]
pub fn batch(node: &str) -> BatchRows {
    BatchRows {
        cycle: cycle(1),
        node: node.to_owned(),
        strings: Vec::new(),
        symbols: wit::Symbols { text: vec![], ends: vec![] },
        metrics: wit::Metrics { name: vec![], unit: vec![], kind: vec![], value: vec![], merge: vec![] },
        sets: wit::LabelSets { ends: vec![0], names: vec![], values: vec![] },
        entities: wit::Entities {
            level: vec![],
            label_ends: vec![],
            label_names: vec![],
            label_values: vec![],
            started_at: vec![],
            point_ends: vec![],
        },
        points: wit::Points { metric: vec![], labels: vec![], at: vec![], bits: vec![] },
    }
}

/// A cycle by its number: a minute long, the first one at 60 s since the epoch.
#[must_use]
pub fn cycle(number: u64) -> Cycle {
    const MINUTE: i64 = 60_000_000_000;
    Cycle { number, time: number as i64 * MINUTE, window: MINUTE, nodes_asked: 1, nodes_answered: 1 }
}

/// A batch under construction. Labels and points go to the entity opened last.
#[derive(Debug)]
pub struct BatchRows {
    cycle: Cycle,
    node: String,
    strings: Vec<String>,
    symbols: wit::Symbols,
    metrics: wit::Metrics,
    sets: wit::LabelSets,
    entities: wit::Entities,
    points: wit::Points,
}

impl BatchRows {
    /// Puts the batch into another cycle.
    #[must_use]
    pub fn cycle(mut self, number: u64) -> Self {
        self.cycle = cycle(number);
        self
    }

    /// Opens an entity.
    #[must_use]
    pub fn entity(mut self, level: Level, labels: &[(&str, &str)]) -> Self {
        for (name, value) in labels {
            let (name, value) = (self.symbol(name), self.symbol(value));
            self.entities.label_names.push(name);
            self.entities.label_values.push(value);
        }
        self.entities.level.push(level as u8);
        self.entities.started_at.push(0);
        self.entities.label_ends.push(self.entities.label_names.len() as u32);
        self.entities.point_ends.push(self.points.metric.len() as u32);
        self
    }

    /// Says when the entity started, ns since the epoch.
    #[must_use]
    pub fn started_at(mut self, ns: i64) -> Self {
        if let Some(started) = self.entities.started_at.last_mut() {
            *started = ns;
        }
        self
    }

    /// An integer point.
    #[must_use]
    pub fn int(self, metric: &str, value: i64) -> Self {
        self.point(metric, &[], None, Value::Int(value))
    }

    /// A float point.
    #[must_use]
    pub fn float(self, metric: &str, value: f64) -> Self {
        self.point(metric, &[], None, Value::Float(value))
    }

    /// Any point: with labels of its own, and the time it was measured, ms after the epoch.
    #[must_use]
    pub fn point(mut self, metric: &str, labels: &[(&str, &str)], at_ms: Option<i32>, value: Value) -> Self {
        let (value, bits) = match value {
            Value::Int(value) => (ValueType::Int, value.cast_unsigned()),
            Value::Float(value) => (ValueType::Float, value.to_bits()),
        };
        let metric = self.metric(metric, value);
        let set = self.set(labels);
        self.points.metric.push(metric);
        self.points.labels.push(set);
        self.points.at.push(at_ms.unwrap_or(UNKNOWN_AT));
        self.points.bits.push(bits);
        if let Some(end) = self.entities.point_ends.last_mut() {
            *end += 1;
        }
        self
    }

    /// The batch.
    #[must_use]
    pub fn build(self) -> Batch {
        Batch::new(
            self.cycle,
            wit::Batch {
                origin: wit::Origin::Node(self.node),
                base: 0,
                symbols: self.symbols,
                metrics: self.metrics,
                label_sets: self.sets,
                entities: self.entities,
                points: self.points,
            },
        )
    }

    fn symbol(&mut self, string: &str) -> u32 {
        if let Some(id) = self.strings.iter().position(|known| known == string) {
            return id as u32;
        }
        self.strings.push(string.to_owned());
        self.symbols.text.extend_from_slice(string.as_bytes());
        self.symbols.ends.push(self.symbols.text.len() as u32);
        self.strings.len() as u32 - 1
    }

    fn metric(&mut self, name: &str, value: ValueType) -> u32 {
        let (name, unit) = (self.symbol(name), self.symbol(""));
        if let Some(row) = self.metrics.name.iter().position(|&known| known == name) {
            return row as u32;
        }
        self.metrics.name.push(name);
        self.metrics.unit.push(unit);
        self.metrics.kind.push(0);
        self.metrics.value.push(value as u8);
        self.metrics.merge.push(0);
        self.metrics.name.len() as u32 - 1
    }

    fn set(&mut self, labels: &[(&str, &str)]) -> u32 {
        if labels.is_empty() {
            return 0;
        }
        for (name, value) in labels {
            let (name, value) = (self.symbol(name), self.symbol(value));
            self.sets.names.push(name);
            self.sets.values.push(value);
        }
        self.sets.ends.push(self.sets.names.len() as u32);
        self.sets.ends.len() as u32 - 1
    }
}

/// Processes a batch and answers its rows as they stand after the edit:
/// `level {label=value,…} metric{label=value} = value`, in the batch's order.
///
/// # Errors
/// The rule's refusal.
pub fn process<R: Rule>(rule: &mut R, batch: &Batch) -> Result<Vec<String>, Refusal> {
    let mut edit = Edit::for_batch(batch);
    rule.process(batch, &mut edit)?;
    Ok(rows(batch, &edit.into_wit()))
}

/// Ends a cycle and answers the rows that the rule adds.
///
/// # Errors
/// The rule's refusal.
pub fn finish<R: Rule>(rule: &mut R, number: u64) -> Result<Vec<String>, Refusal> {
    let mut edit = Edit::for_totals();
    rule.finish(&cycle(number), &mut edit)?;
    let nothing = batch("totals").build();
    Ok(rows(&nothing, &edit.into_wit()))
}

/// Carries an edit out, row by row and without haste.
fn rows(whole: &Batch, edit: &wit::Edit) -> Vec<String> {
    let batch = &whole.raw;
    let names = Names { whole, batch, edit };
    let mut rows = Vec::new();
    for row in 0..batch.entities.level.len() {
        if edit.keep_entities.get(row) == Some(&0) {
            continue;
        }
        let mut labels = names.labels(&batch.entities, row);
        for change in (0..edit.relabel_entity.len()).filter(|&at| edit.relabel_entity[at] as usize == row) {
            let name = names.symbol(edit.relabel_name[change]);
            if edit.relabel_value[change] == u32::MAX {
                labels.remove(&name);
            } else {
                labels.insert(name, names.symbol(edit.relabel_value[change]));
            }
        }
        let head = names.head(batch.entities.level[row], &labels);
        for point in span(&batch.entities.point_ends, row) {
            if edit.keep_points.get(point) != Some(&0) {
                rows.push(format!("{head} {}", names.point(&batch.points, point)));
            }
        }
        for point in (0..edit.added_entity.len()).filter(|&at| edit.added_entity[at] as usize == row) {
            rows.push(format!("{head} {}", names.point(&edit.added, point)));
        }
    }
    for row in 0..edit.new_entities.level.len() {
        let head = names.head(edit.new_entities.level[row], &names.labels(&edit.new_entities, row));
        for point in span(&edit.new_entities.point_ends, row) {
            rows.push(format!("{head} {}", names.point(&edit.new_points, point)));
        }
    }
    rows
}

/// Finds the strings behind ids that may be the batch's or the edit's.
struct Names<'a> {
    whole: &'a Batch,
    batch: &'a wit::Batch,
    edit: &'a wit::Edit,
}

impl Names<'_> {
    fn symbol(&self, id: u32) -> String {
        let old = self.batch.symbols.ends.len();
        let added = &self.edit.new_symbols;
        match (id as usize).checked_sub(old) {
            None => self.whole.text(Symbol(id)).to_owned(),
            Some(row) => String::from_utf8_lossy(&added.text[span(&added.ends, row)]).into_owned(),
        }
    }

    fn labels(&self, entities: &wit::Entities, row: usize) -> BTreeMap<String, String> {
        span(&entities.label_ends, row)
            .map(|at| (self.symbol(entities.label_names[at]), self.symbol(entities.label_values[at])))
            .collect()
    }

    fn head(&self, level: u8, labels: &BTreeMap<String, String>) -> String {
        let level = match Level::from_byte(level) {
            Some(Level::SystemContainer) => "system-container".to_owned(),
            Some(level) => format!("{level:?}").to_lowercase(),
            None => format!("level {level}"),
        };
        let labels: Vec<String> = labels.iter().map(|(name, value)| format!("{name}={value}")).collect();
        format!("{level} {{{}}}", labels.join(","))
    }

    fn point(&self, points: &wit::Points, row: usize) -> String {
        let old = self.batch.metrics.name.len();
        let (metrics, metric) = match (points.metric[row] as usize).checked_sub(old) {
            None => (&self.batch.metrics, points.metric[row] as usize),
            Some(metric) => (&self.edit.new_metrics, metric),
        };
        let value = match Value::from_bits(
            points.bits[row],
            ValueType::from_byte(metrics.value[metric]).unwrap_or(ValueType::Int),
        ) {
            Value::Int(value) => value.to_string(),
            Value::Float(value) => format!("{value:?}"),
        };
        format!("{}{} = {value}", self.symbol(metrics.name[metric]), self.own_labels(points.labels[row]))
    }

    fn own_labels(&self, set: u32) -> String {
        if set == 0 {
            return String::new();
        }
        let old = self.batch.label_sets.ends.len();
        let (sets, row) = match (set as usize).checked_sub(old) {
            None => (&self.batch.label_sets, set as usize),
            Some(row) => (&self.edit.new_label_sets, row),
        };
        let labels: Vec<String> = span(&sets.ends, row)
            .map(|at| format!("{}={}", self.symbol(sets.names[at]), self.symbol(sets.values[at])))
            .collect();
        format!("{{{}}}", labels.join(","))
    }
}
