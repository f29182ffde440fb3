//! A batch as Kafka messages: Heapster's, one a value, or one an entity. See `docs/KAFKA.md`.
//!
//! What an entity's messages share is built once for the entity, what a metric's share once for the
//! batch; nothing is allocated for a point.

use crate::batch::{Batch, Cycle, EntityView, Kind, ValueType, level_word};
use crate::sinks::Chunker;
use crate::sinks::log::key;

use super::config::{Format, KafkaConfig, MessageKey};
use super::{json, records};

/// The version that messages of the batched form bear. A consumer may ignore keys that it does not
/// know; anything else that changes, changes the version.
pub const VERSION: u32 = 1;

/// What the settings say of messages.
#[derive(Debug, Clone, Copy)]
pub struct Schema {
    format: Format,
    with_key: bool,
}

impl Schema {
    /// The part of the settings that is for messages.
    pub fn new(config: &KafkaConfig) -> Self {
        Self { format: config.format, with_key: config.message_key == MessageKey::Entity }
    }
}

/// Writes every point of the batch.
pub fn encode(schema: Schema, cycle: &Cycle, batch: &Batch, out: &mut Chunker) {
    let time = jiff::Timestamp::from_nanosecond(i128::from(cycle.time)).unwrap_or_default();
    let mut encoder = Encoder {
        batch,
        time: time.to_string(),
        time_ms: time.as_millisecond(),
        names: Names::new(batch),
        key: Vec::new(),
        labels: Labels::default(),
        int: itoa::Buffer::new(),
    };
    for entity in batch.iter() {
        if batch.points_of(entity.row()).is_empty() {
            continue;
        }
        // The path is the entity's name in a message of the batched form, with a key or without.
        let path = key(&entity);
        encoder.key.clear();
        if schema.with_key {
            encoder.key.extend_from_slice(path.as_bytes());
        }
        match schema.format {
            Format::HeapsterJson => encoder.values(&entity, out),
            Format::BatchJson => encoder.entity(&entity, &path, out),
        }
    }
}

/// The batch's metrics as JSON texts.
struct Names(Vec<Vec<u8>>);

impl Names {
    fn new(batch: &Batch) -> Self {
        let text = |&name: &u32| {
            let mut out = Vec::new();
            json::push_text(&mut out, batch.symbols.get(name));
            out
        };
        Self(batch.metrics.name.iter().map(text).collect())
    }

    fn of(&self, metric: u32) -> &[u8] {
        self.0.get(metric as usize).map_or(b"\"\"", Vec::as_slice)
    }
}

/// Labels as the members of a JSON object, in the order of their names.
#[derive(Default)]
struct Labels {
    text: Vec<u8>,
}

impl Labels {
    /// Of two labels of one name the later counts.
    fn set<'a>(&mut self, labels: impl Iterator<Item = (&'a str, &'a str)>) {
        let mut labels: Vec<_> = labels.collect();
        labels.sort_by_key(|(name, _)| *name);
        self.text.clear();
        self.text.push(b'{');
        for (at, (name, value)) in labels.iter().enumerate() {
            if labels.get(at + 1).is_some_and(|(next, _)| next == name) {
                continue;
            }
            if self.text.len() > 1 {
                self.text.push(b',');
            }
            json::push_text(&mut self.text, name);
            self.text.push(b':');
            json::push_text(&mut self.text, value);
        }
        self.text.push(b'}');
    }
}

/// One batch on its way into the chunker.
struct Encoder<'a> {
    batch: &'a Batch,
    time: String,
    time_ms: i64,
    names: Names,
    key: Vec<u8>,
    labels: Labels,
    int: itoa::Buffer,
}

impl Encoder<'_> {
    /// Heapster's form: a message a value, with the entity's labels and the point's own.
    fn values(&mut self, entity: &EntityView<'_>, out: &mut Chunker) {
        self.labels.set(entity.labels());
        let mut merged_set = 0;
        for point in entity.points() {
            if point.label_set() != merged_set {
                merged_set = point.label_set();
                self.labels.set(entity.labels().chain(point.labels()));
            }
            let start = records::begin(out.body(), &self.key, self.time_ms);
            let body = out.body();
            body.extend_from_slice(b"{\"MetricsName\":");
            body.extend_from_slice(self.names.of(point.metric_row()));
            body.extend_from_slice(b",\"MetricsValue\":{\"value\":");
            let is_number = self.value(point.row(), body);
            body.extend_from_slice(b"},\"MetricsTimestamp\":\"");
            body.extend_from_slice(self.time.as_bytes());
            body.extend_from_slice(b"\",\"MetricsTags\":");
            body.extend_from_slice(&self.labels.text);
            body.push(b'}');
            if is_number && records::end(body, start) {
                out.end_record(1);
            } else {
                out.discard_record();
            }
        }
    }

    /// The batched form: a message an entity.
    fn entity(&mut self, entity: &EntityView<'_>, path: &str, out: &mut Chunker) {
        let start = records::begin(out.body(), &self.key, self.time_ms);
        let body = out.body();
        body.extend_from_slice(b"{\"version\":");
        body.extend_from_slice(self.int.format(VERSION).as_bytes());
        body.extend_from_slice(b",\"timestamp\":\"");
        body.extend_from_slice(self.time.as_bytes());
        body.extend_from_slice(b"\",\"entity\":");
        json::push_text(body, path);
        body.extend_from_slice(b",\"level\":\"");
        body.extend_from_slice(level_word(entity.level()).as_bytes());
        body.extend_from_slice(b"\",\"labels\":");
        self.labels.set(entity.labels());
        body.extend_from_slice(&self.labels.text);
        body.extend_from_slice(b",\"metrics\":[");
        let mut points = 0;
        for point in entity.points() {
            let before = body.len();
            body.extend_from_slice(if points == 0 { b"{\"name\":" } else { b",{\"name\":" });
            body.extend_from_slice(self.names.of(point.metric_row()));
            self.descriptor(point.metric_row(), body);
            if point.is_labelled() {
                self.labels.set(point.labels());
                body.extend_from_slice(b",\"labels\":");
                body.extend_from_slice(&self.labels.text);
            }
            body.extend_from_slice(b",\"value\":");
            if self.value(point.row(), body) {
                body.push(b'}');
                points += 1;
            } else {
                body.truncate(before);
            }
        }
        body.extend_from_slice(b"]}");
        if points > 0 && records::end(body, start) {
            out.end_record(points);
        } else {
            out.discard_record();
        }
    }

    /// Kind and unit of a metric.
    fn descriptor(&self, metric: u32, body: &mut Vec<u8>) {
        let metrics = &self.batch.metrics;
        let metric = metric as usize;
        let cumulative = metrics.kind.get(metric).is_some_and(|&kind| kind == Kind::Cumulative as u8);
        body.extend_from_slice(if cumulative { b",\"kind\":\"cumulative\"" } else { b",\"kind\":\"gauge\"" });
        let unit = metrics.unit.get(metric).map_or("", |&unit| self.batch.symbols.get(unit));
        if !unit.is_empty() {
            body.extend_from_slice(b",\"unit\":");
            json::push_text(body, unit);
        }
    }

    /// A point's value; whether JSON has a number for it.
    fn value(&mut self, row: usize, body: &mut Vec<u8>) -> bool {
        let points = &self.batch.points;
        let (bits, metric) = (points.bits[row], points.metric[row]);
        match self.batch.metrics.value_type(metric) {
            ValueType::Int => {
                body.extend_from_slice(self.int.format(bits.cast_signed()).as_bytes());
                true
            }
            ValueType::Float => json::push_float(body, f64::from_bits(bits)),
        }
    }
}

#[cfg(test)]
#[path = "encode_tests.rs"]
mod tests;
