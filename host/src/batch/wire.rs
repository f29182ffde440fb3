//! Batches as bytes, for a file or a connection: versioned, bounded, and believed in nothing.
//!
//! A recording is a header and then records: a byte that says what it is, the length of what
//! follows, and that. A record is a batch with its cycle, the end of a cycle, or a number of
//! batches that were left out. Everything is little-endian; columns are their length and their
//! rows, as [`super::columns`] has them.

mod read;

use super::columns::{Batch, Origin};
use super::types::Cycle;

pub use read::{Decoder, WireError};

/// What every recording begins with; the last byte is the version.
pub const HEADER: &[u8] = b"millrace-batches\x01";
/// Longest record, bytes: more than a node may say.
pub const MAX_RECORD_BYTES: usize = 128 << 20;

const BATCH: u8 = 1;
const END: u8 = 2;
const LOST: u8 = 3;

/// One record.
#[derive(Debug, Clone)]
pub enum Record {
    /// What a node gave in a cycle.
    Batch(Cycle, Box<Batch>),
    /// The cycle is over: every batch of it was there.
    End(Cycle),
    /// So many batches of the cycle are missing here: whoever listened was too slow.
    Lost(u64),
}

/// Appends a batch of a cycle. What is over [`MAX_RECORD_BYTES`] counts as lost.
pub fn write_batch(out: &mut Vec<u8>, cycle: &Cycle, batch: &Batch) {
    let start = out.len();
    record(out, BATCH, |out| {
        write_cycle(out, cycle);
        let (kind, name) = match &batch.origin {
            Origin::Node(name) => (0, name),
            Origin::Totals(name) => (1, name),
        };
        out.push(kind);
        bytes(out, name.as_bytes());
        out.extend_from_slice(&batch.base.to_le_bytes());
        bytes(out, batch.symbols.text());
        u32s(out, batch.symbols.ends());
        let (metrics, sets) = (&batch.metrics, &batch.label_sets);
        u32s(out, &metrics.name);
        u32s(out, &metrics.unit);
        bytes(out, &metrics.kind);
        bytes(out, &metrics.value);
        bytes(out, &metrics.merge);
        u32s(out, &sets.ends);
        u32s(out, &sets.names);
        u32s(out, &sets.values);
        let (entities, points) = (&batch.entities, &batch.points);
        bytes(out, &entities.level);
        u32s(out, &entities.label_ends);
        u32s(out, &entities.label_names);
        u32s(out, &entities.label_values);
        column(out, &entities.started_at, |value| value.to_le_bytes());
        u32s(out, &entities.point_ends);
        u32s(out, &points.metric);
        u32s(out, &points.labels);
        column(out, &points.at, |value| value.to_le_bytes());
        column(out, &points.bits, |value| value.to_le_bytes());
    });
    if out.len() - start > MAX_RECORD_BYTES {
        out.truncate(start);
        write_lost(out, 1);
    }
}

/// Appends the end of a cycle.
pub fn write_end(out: &mut Vec<u8>, cycle: &Cycle) {
    record(out, END, |out| write_cycle(out, cycle));
}

/// Appends that batches are missing here.
pub fn write_lost(out: &mut Vec<u8>, batches: u64) {
    record(out, LOST, |out| out.extend_from_slice(&batches.to_le_bytes()));
}

fn record(out: &mut Vec<u8>, kind: u8, body: impl FnOnce(&mut Vec<u8>)) {
    out.push(kind);
    let at = out.len();
    out.extend_from_slice(&[0; 4]);
    body(out);
    // What is too long for the length is cut off by the caller.
    let length = u32::try_from(out.len() - at - 4).unwrap_or(u32::MAX);
    out[at..at + 4].copy_from_slice(&length.to_le_bytes());
}

fn write_cycle(out: &mut Vec<u8>, cycle: &Cycle) {
    out.extend_from_slice(&cycle.number.to_le_bytes());
    out.extend_from_slice(&cycle.time.to_le_bytes());
    out.extend_from_slice(&cycle.window.to_le_bytes());
    out.extend_from_slice(&cycle.nodes_asked.to_le_bytes());
    out.extend_from_slice(&cycle.nodes_answered.to_le_bytes());
}

fn length(out: &mut Vec<u8>, rows: usize) {
    out.extend_from_slice(&u32::try_from(rows).unwrap_or(u32::MAX).to_le_bytes());
}

fn bytes(out: &mut Vec<u8>, column: &[u8]) {
    length(out, column.len());
    out.extend_from_slice(column);
}

fn u32s(out: &mut Vec<u8>, rows: &[u32]) {
    column(out, rows, |value| value.to_le_bytes());
}

fn column<T: Copy, const N: usize>(out: &mut Vec<u8>, rows: &[T], write: impl Fn(T) -> [u8; N]) {
    length(out, rows.len());
    out.reserve(rows.len() * N);
    rows.iter().for_each(|&row| out.extend_from_slice(&write(row)));
}

#[cfg(test)]
mod tests;
