//! A batch as time series of a write request.
//!
//! The messages are few and of five fields, so they are written straight into the chunk: a series is a record, and
//! records one after the other are a request. Nothing is allocated for a point without labels of its own.

use std::borrow::Cow;
use std::hash::BuildHasher as _;

use hashbrown::{DefaultHashBuilder, HashMap, HashSet};

use crate::batch::{Batch, Cycle, EntityView, Kind, Level};
use crate::prometheus::{Labels, Mapped, info, mapped};
use crate::sinks::Chunker;

const NAME: &str = "__name__";
/// Field 1 of a request, of a series and of a label: a length and bytes. In this order a series, a label, a name.
const FIRST: u8 = 0x0a;
/// Field 2 of a series and of a label: a length and bytes. A sample, a value.
const SECOND: u8 = 0x12;
/// Field 1 of a sample: eight bytes.
const VALUE: u8 = 0x09;
/// Field 2 of a sample: a number.
const TIME: u8 = 0x10;

/// Series that a cycle has already.
#[derive(Debug, Default)]
pub struct Seen {
    cycle: u64,
    hashes: HashSet<u64>,
    hasher: DefaultHashBuilder,
}

impl Seen {
    /// Whether the cycle had it not yet.
    fn is_new(&mut self, labels: &[u8]) -> bool {
        self.hashes.insert(self.hasher.hash_one(labels))
    }
}

/// Writes every point of the batch as a series with one sample. A series that the cycle has already is left out, and
/// so is a metric without a name: the format can't hold them.
pub fn encode(external: &[(String, String)], cycle: &Cycle, batch: &Batch, seen: &mut Seen, out: &mut Chunker) {
    if seen.cycle != cycle.number {
        seen.cycle = cycle.number;
        seen.hashes.clear();
    }
    let time = cycle.time.div_euclid(1_000_000);
    let mut encoder = Encoder { out, seen, time, series: Vec::new(), label: Vec::new() };
    let mut names = Names { batch, known: HashMap::new() };
    for entity in batch.iter() {
        encoder.entity(external, &mut names, &entity);
    }
}

/// What the batch's metrics are called.
struct Names<'b> {
    batch: &'b Batch,
    known: HashMap<(Level, u32), Option<(Mapped, String)>>,
}

impl Names<'_> {
    /// What a metric becomes, and the name of its series; `None`: it has no name.
    fn of(&mut self, level: Level, metric: u32) -> Option<&(Mapped, String)> {
        let (columns, symbols) = (&self.batch.metrics, &self.batch.symbols);
        let named = || {
            let row = metric as usize;
            let (name, unit) = (symbols.get(*columns.name.get(row)?), symbols.get(*columns.unit.get(row)?));
            let mapped = mapped(level, name, Kind::from_byte(*columns.kind.get(row)?)?, unit)?;
            let series = mapped.series();
            Some((mapped, series))
        };
        self.known.entry((level, metric)).or_insert_with(named).as_ref()
    }
}

struct Encoder<'a> {
    out: &'a mut Chunker,
    seen: &'a mut Seen,
    /// Of the cycle, ms.
    time: i64,
    series: Vec<u8>,
    label: Vec<u8>,
}

impl Encoder<'_> {
    fn entity(&mut self, external: &[(String, String)], names: &mut Names<'_>, entity: &EntityView<'_>) {
        let mut labels = Labels::of_entity(entity.labels());
        for (name, value) in external {
            labels.put(Cow::Borrowed(name), value, false);
        }
        let mut has_points = false;
        for point in entity.points() {
            let Some((mapped, series)) = names.of(entity.level(), point.metric_row()) else { continue };
            let value = mapped.value(point.value());
            has_points |= if point.is_labelled() {
                self.record(series, &labels.with(point.labels()), value, 1)
            } else {
                self.record(series, &labels, value, 1)
            };
        }
        if has_points && let Some((name, mut described)) = info(entity.level(), entity.labels()) {
            for (name, value) in external {
                described.put(Cow::Borrowed(name), value, false);
            }
            // It is no point, and counts as none.
            self.record(&format!("{name}_info"), &described, 1.0, 0);
        }
    }

    /// A record of one series with one sample.
    fn record(&mut self, name: &str, labels: &Labels<'_>, value: f64, points: u32) -> bool {
        let mut series = std::mem::take(&mut self.series);
        series.clear();
        let mut named = false;
        for (label, text) in labels.iter() {
            // Sorted by their bytes, and capitals come first.
            if !named && label > NAME {
                self.put_label(NAME, name, &mut series);
                named = true;
            }
            self.put_label(label, text, &mut series);
        }
        if !named {
            self.put_label(NAME, name, &mut series);
        }
        let is_new = self.seen.is_new(&series);
        if is_new {
            self.label.clear();
            self.label.push(VALUE);
            self.label.extend_from_slice(&value.to_le_bytes());
            self.label.push(TIME);
            varint(self.time.cast_unsigned(), &mut self.label);
            message(SECOND, &self.label, &mut series);
            message(FIRST, &series, self.out.body());
            self.out.end_record(points);
        }
        self.series = series;
        is_new
    }

    fn put_label(&mut self, name: &str, value: &str, series: &mut Vec<u8>) {
        self.label.clear();
        message(FIRST, name.as_bytes(), &mut self.label);
        message(SECOND, value.as_bytes(), &mut self.label);
        message(FIRST, &self.label, series);
    }
}

/// A field with a length.
fn message(key: u8, bytes: &[u8], out: &mut Vec<u8>) {
    out.push(key);
    varint(bytes.len() as u64, out);
    out.extend_from_slice(bytes);
}

/// Seven bits a byte, the lowest first.
fn varint(mut number: u64, out: &mut Vec<u8>) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::{BatchBuilder, Descriptor, Origin};
    use crate::sinks::chunk::Limits;

    const CYCLE: Cycle =
        Cycle { number: 1, time: 1_795_252_090_000_000_000, window: 0, nodes_asked: 1, nodes_answered: 1 };
    const LIMITS: Limits = Limits { records: usize::MAX, bytes: u32::MAX as usize };

    fn number(bytes: &mut &[u8]) -> u64 {
        let (mut value, mut shift) = (0, 0);
        loop {
            let byte = bytes[0];
            *bytes = &bytes[1..];
            value |= u64::from(byte & 0x7f) << shift;
            shift += 7;
            if byte < 0x80 {
                return value;
            }
        }
    }

    /// The next field, whose key must be this.
    fn field<'b>(key: u8, bytes: &mut &'b [u8]) -> &'b [u8] {
        assert_eq!(bytes[0], key);
        *bytes = &bytes[1..];
        let length = number(bytes) as usize;
        let (inner, rest) = bytes.split_at(length);
        *bytes = rest;
        inner
    }

    /// `name{label=value,…} value time`, in the order of the bytes.
    fn read(mut bytes: &[u8]) -> Vec<String> {
        let mut series = Vec::new();
        while !bytes.is_empty() {
            let mut one = field(FIRST, &mut bytes);
            let mut labels = Vec::new();
            while one[0] == FIRST {
                let mut label = field(FIRST, &mut one);
                let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
                labels.push(format!("{}={}", text(field(FIRST, &mut label)), text(field(SECOND, &mut label))));
                assert!(label.is_empty());
            }
            let mut sample = field(SECOND, &mut one);
            assert!(one.is_empty() && sample[0] == VALUE && sample[9] == TIME);
            let value = f64::from_le_bytes(sample[1..9].try_into().unwrap());
            sample = &sample[10..];
            series.push(format!("{} {value} {}", labels.join(","), number(&mut sample)));
            assert!(sample.is_empty());
        }
        series
    }

    #[test]
    fn a_point_is_a_series_with_sorted_labels_and_no_series_stands_twice_in_a_cycle() {
        let mut builder = BatchBuilder::new(Origin::Node("n".to_owned()), 0);
        for _ in 0..2 {
            builder.entity(Level::Pod, 0);
            for (name, value) in [("pod_name", "web"), ("Zone", "z"), ("pod_id", "uid"), ("namespace_name", "")] {
                let (name, value) = (builder.symbol(name), builder.symbol(value));
                builder.label(name, value);
            }
            let usage = builder.metric(Descriptor::cumulative("cpu/usage", "ns"));
            builder.point(usage, 0, 0, 1_500_000_000);
            let nameless = builder.metric(Descriptor::gauge("", ""));
            builder.point(nameless, 0, 0, 1);
            let usage = builder.metric(Descriptor::gauge("filesystem/usage", "bytes"));
            let (name, value) = (builder.symbol("resource_id"), builder.symbol("/"));
            let set = builder.label_set(&[(name, value)]);
            builder.point(usage, set, 0, 300);
        }
        let batch = builder.build();
        let external = [("cluster".to_owned(), "eu".to_owned()), ("pod".to_owned(), "no".to_owned())];
        let (mut seen, mut out) = (Seen::default(), Chunker::new(LIMITS));
        out.begin(LIMITS);
        encode(&external, &CYCLE, &batch, &mut seen, &mut out);
        let want = [
            "Zone=z,__name__=heapster_pod_cpu_usage_seconds_total,cluster=eu,pod=web 1.5 1795252090000",
            "Zone=z,__name__=heapster_pod_filesystem_usage_bytes,cluster=eu,pod=web,resource_id=/ 300 1795252090000",
            "Zone=z,__name__=heapster_pod_info,cluster=eu,pod=web,uid=uid 1 1795252090000",
        ];
        assert_eq!(read(out.body()), want);
        // Two have no name, and two stand twice.
        assert_eq!(out.end(6).total(), 4);
        out.begin(LIMITS);
        encode(&external, &Cycle { number: 2, ..CYCLE }, &batch, &mut seen, &mut out);
        assert_eq!(read(out.body()).len(), 6);
    }
}
