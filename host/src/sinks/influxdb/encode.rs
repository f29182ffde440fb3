//! A batch in the line protocol.
//!
//! What an entity's lines share is built once for the entity, what a metric's lines share once for
//! the batch; a point then is a few copies and one number. Nothing is allocated for a point.

use std::ops::Range;

use hashbrown::HashMap;

use super::config::Timestamps;
use super::schema::{Column, Columns, Fate, Schema};
use super::tags::{TagTexts, Tags};
use crate::batch::{Batch, Cycle, ValueType};
use crate::sinks::{Chunker, DropReason};

/// InfluxDB refuses a longer series key: measurement, tags, four bytes, and the field's name.
const MAX_KEY: usize = 65_535;
/// The times that InfluxDB can hold, ns since the epoch.
const TIMES: (i64, i64) = (i64::MIN + 2, i64::MAX - 1);

/// Writes every point of the batch as a line, or with others as the fields of one.
pub fn encode(schema: &Schema, cycle: &Cycle, batch: &Batch, out: &mut Chunker) {
    let cycle_time = cycle.time.clamp(TIMES.0, TIMES.1);
    let mut encoder = Encoder {
        schema,
        batch,
        out,
        columns: Columns::new(schema, batch),
        sets: if schema.with_fields { first_of_equal_sets(batch) } else { Vec::new() },
        texts: TagTexts::new(schema, batch),
        entity: Tags::default(),
        own: Tags::default(),
        merged: Vec::new(),
        merged_set: 0,
        cycle_time,
        cycle_end: format!(" {cycle_time}\n").into_bytes(),
        rows: Vec::new(),
        int: itoa::Buffer::new(),
        float: ryu::Buffer::new(),
    };
    for entity in 0..batch.entities.len() {
        encoder.entity(entity);
    }
}

/// A batch may hold the same label set under two numbers.
fn first_of_equal_sets(batch: &Batch) -> Vec<u32> {
    let sets = &batch.label_sets;
    let mut first = HashMap::new();
    let same = |set: u32| {
        let range = batch.label_set(set);
        *first.entry((&sets.names[range.clone()], &sets.values[range])).or_insert(set)
    };
    (0..sets.ends.len() as u32).map(same).collect()
}

/// One batch on its way into the chunker.
struct Encoder<'a> {
    schema: &'a Schema,
    batch: &'a Batch,
    out: &'a mut Chunker,
    columns: Columns,
    /// For each label set the first that is equal to it.
    sets: Vec<u32>,
    texts: TagTexts,
    /// The open entity's tags.
    entity: Tags,
    /// Those of one label set.
    own: Tags,
    /// Both, ready for a line; valid for `merged_set`.
    merged: Vec<u8>,
    merged_set: u32,
    cycle_time: i64,
    /// How a line of that time ends.
    cycle_end: Vec<u8>,
    rows: Vec<Row>,
    int: itoa::Buffer,
    float: ryu::Buffer,
}

/// A point as `withfields` sorts them: what may share a line stands together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Row {
    measurement_id: u32,
    set: u32,
    time: i64,
    field_id: u32,
    row: usize,
}

impl Row {
    fn shares_line_with(&self, other: &Self) -> bool {
        (self.measurement_id, self.set, self.time) == (other.measurement_id, other.set, other.time)
    }
}

impl Encoder<'_> {
    fn entity(&mut self, entity: usize) {
        let points = self.batch.points_of(entity);
        if points.is_empty() {
            return;
        }
        let entities = &self.batch.entities;
        let labels = self.batch.labels_of(entity);
        let (names, values) = (&entities.label_names[labels.clone()], &entities.label_values[labels]);
        self.entity.set(self.batch, &mut self.texts, true, names, values);
        self.merge(0);
        if self.schema.with_fields {
            self.lines_of_fields(points);
        } else {
            self.lines_of_points(points);
        }
    }

    /// The default mode: a line a point.
    fn lines_of_points(&mut self, points: Range<usize>) {
        for row in points {
            let Some(column) = self.written_column(row) else { continue };
            let set = self.batch.points.labels[row];
            if set != self.merged_set {
                self.merge(set);
            }
            if self.begin_line(&column) && self.field(&column, row, b' ') {
                let time = self.time(row);
                self.end_line(time, 1);
            } else {
                self.out.discard_record();
            }
        }
    }

    /// `withfields`: the points of one measurement with equal own labels share a line.
    fn lines_of_fields(&mut self, points: Range<usize>) {
        let mut rows = std::mem::take(&mut self.rows);
        rows.clear();
        for row in points {
            let Some(Column { measurement_id, field_id, .. }) = self.written_column(row) else {
                continue;
            };
            let set = self.batch.points.labels[row];
            let set = self.sets.get(set as usize).copied().unwrap_or(set);
            let time = self.time(row);
            rows.push(Row { measurement_id, set, time, field_id, row });
        }
        rows.sort_unstable();
        for group in rows.chunk_by(Row::shares_line_with) {
            self.line_of_fields(group);
        }
        self.rows = rows;
    }

    fn line_of_fields(&mut self, group: &[Row]) {
        let first = group[0];
        if first.set != self.merged_set {
            self.merge(first.set);
        }
        let Some(column) = self.written_column(first.row) else { return };
        if !self.begin_line(&column) {
            return self.out.discard_record();
        }
        let mut written = 0;
        let mut last_field = None;
        for row in group {
            // `cpu` and `cpu/value` are one field; a line can hold but one of them.
            if last_field == Some(row.field_id) {
                continue;
            }
            let Some(column) = self.written_column(row.row) else { continue };
            let before = if written == 0 { b' ' } else { b',' };
            if self.field(&column, row.row, before) {
                last_field = Some(row.field_id);
                written += 1;
            }
        }
        if written == 0 {
            self.out.discard_record();
        } else {
            self.end_line(first.time, written);
        }
    }

    /// The column of a point that is to be written; the others are counted.
    fn written_column(&mut self, row: usize) -> Option<Column> {
        let column = self.columns.get(self.batch.points.metric[row])?;
        match column.fate {
            Fate::Written => Some(*column),
            Fate::Filtered => {
                self.out.drop_points(DropReason::Filtered, 1);
                None
            }
            Fate::Unencodable => None,
        }
    }

    /// Measurement and tags; whether the server would take them.
    fn begin_line(&mut self, column: &Column) -> bool {
        let measurement = self.columns.text(column.measurement);
        if measurement.len() + self.merged.len() + 4 > MAX_KEY {
            return false;
        }
        let body = self.out.body();
        body.extend_from_slice(measurement);
        body.extend_from_slice(&self.merged);
        true
    }

    /// A field with its value; whether the server would take it.
    fn field(&mut self, column: &Column, row: usize, before: u8) -> bool {
        let field = self.columns.text(column.field);
        let measurement = self.columns.text(column.measurement);
        if measurement.len() + self.merged.len() + 4 + field.len() > MAX_KEY {
            return false;
        }
        let bits = self.batch.points.bits[row];
        let (number, suffix): (&str, &[u8]) = match column.value {
            ValueType::Int => (self.int.format(bits.cast_signed()), b"i"),
            ValueType::Float => {
                let value = f64::from_bits(bits);
                if !value.is_finite() {
                    return false;
                }
                (self.float.format_finite(value), b"")
            }
        };
        let body = self.out.body();
        body.push(before);
        body.extend_from_slice(field);
        body.extend_from_slice(number.as_bytes());
        body.extend_from_slice(suffix);
        true
    }

    fn end_line(&mut self, time: i64, points: u32) {
        let body = self.out.body();
        if time == self.cycle_time {
            body.extend_from_slice(&self.cycle_end);
        } else {
            body.push(b' ');
            body.extend_from_slice(self.int.format(time).as_bytes());
            body.push(b'\n');
        }
        self.out.end_record(points);
    }

    fn time(&self, row: usize) -> i64 {
        match self.schema.timestamps {
            Timestamps::Cycle => self.cycle_time,
            Timestamps::Measured => match self.batch.measured_at(row) {
                Some(time) => time.clamp(TIMES.0, TIMES.1),
                None => self.cycle_time,
            },
        }
    }

    /// Makes `merged` the entity's tags with those of a label set, which win.
    fn merge(&mut self, set: u32) {
        self.merged_set = set;
        self.merged.clear();
        let range = self.batch.label_set(set);
        let sets = &self.batch.label_sets;
        let (names, values) = (&sets.names[range.clone()], &sets.values[range]);
        self.own.set(self.batch, &mut self.texts, false, names, values);
        self.entity.with(&self.own, &mut self.merged);
    }
}

#[cfg(test)]
#[path = "encode_tests.rs"]
mod tests;
