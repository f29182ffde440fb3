//! Chunks: what one request carries, made of whole records.
//!
//! A record is the least that a sink can send: a line for InfluxDB. It may hold several points;
//! the marks remember how many, so that a chunk can be split and still be counted in points.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::{Bytes, BytesMut};

use super::Sink;
use super::ledger::{DropReason, Dropped};

mod spooled;

use spooled::Place;

/// Where a record ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Mark {
    /// Offset of its end.
    end: u32,
    /// Points that it holds.
    points: u32,
}

/// Bounds of one chunk, before packing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Records at most.
    pub records: usize,
    /// Bytes at most; a single record may be longer.
    pub bytes: usize,
}

/// Buffers of chunks that are done with, to be filled again. Memory that is given back and taken
/// anew for every chunk costs as much in page faults as writing the chunk does.
#[derive(Debug, Default)]
pub(super) struct Spares(Mutex<Vec<Vec<u8>>>);

impl Spares {
    /// One is being filled while another is sent.
    const KEPT: usize = 2;

    fn take(&self) -> Option<Vec<u8>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).pop()
    }

    fn give(&self, mut body: Vec<u8>) {
        body.clear();
        let mut spares = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if body.capacity() > 0 && spares.len() < Self::KEPT {
            spares.push(body);
        }
    }

    /// Takes the buffer of a chunk that was sent, if nobody else has it.
    pub(super) fn give_sent(&self, chunk: Chunk) {
        if let Ok(body) = chunk.body.try_into_mut() {
            self.give(BytesMut::into(body));
        }
    }
}

/// Collects records and closes a chunk at its limits.
#[derive(Debug)]
pub struct Chunker {
    limits: Limits,
    body: Vec<u8>,
    marks: Vec<Mark>,
    spares: Arc<Spares>,
    closed: Vec<RawChunk>,
    /// Points recorded since the batch began.
    recorded: u64,
    /// Points dropped since the batch began.
    dropped: Dropped,
}

/// A chunk as the sink wrote it.
#[derive(Debug)]
pub struct RawChunk {
    body: Vec<u8>,
    marks: Vec<Mark>,
}

/// A chunk as it is queued and sent.
#[derive(Debug, Clone)]
pub struct Chunk {
    body: Bytes,
    marks: Arc<[Mark]>,
    points: u64,
    /// Length before packing, bytes.
    raw_len: usize,
    /// Its place in the spool, if it has one.
    place: Option<Place>,
}

impl Chunker {
    /// With nothing in it.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            body: Vec::new(),
            marks: Vec::new(),
            spares: Arc::default(),
            closed: Vec::new(),
            recorded: 0,
            dropped: Dropped::default(),
        }
    }

    /// With buffers that others have done with.
    pub(super) fn reusing(self, spares: Arc<Spares>) -> Self {
        Self { spares, ..self }
    }

    /// Where the next record is appended. What stands there already must be left alone.
    #[inline]
    pub fn body(&mut self) -> &mut Vec<u8> {
        &mut self.body
    }

    /// Ends the record that was appended to [`Chunker::body`]; it holds `points` points.
    #[inline]
    pub fn end_record(&mut self, points: u32) {
        self.recorded += u64::from(points);
        let start = self.open_len();
        if self.body.len() > self.limits.bytes.min(u32::MAX as usize) && start > 0 {
            let record = self.body.split_off(start);
            self.close();
            self.body.extend_from_slice(&record);
        }
        let end = u32::try_from(self.body.len()).unwrap_or(u32::MAX);
        self.marks.push(Mark { end, points });
        if self.marks.len() >= self.limits.records || self.body.len() >= self.limits.bytes {
            self.close();
        }
    }

    /// Removes what was appended since the last record's end.
    pub fn discard_record(&mut self) {
        let start = self.open_len();
        self.body.truncate(start);
    }

    /// Counts points that get no record.
    pub fn drop_points(&mut self, reason: DropReason, points: u64) {
        self.dropped.add(reason, points);
    }

    /// Closes the chunk that is open, if there is anything in it.
    pub fn close(&mut self) {
        self.discard_record();
        if self.marks.is_empty() {
            return;
        }
        let (bytes, records) = (self.body.len(), self.marks.len());
        let next = self.spares.take().unwrap_or_else(|| Vec::with_capacity(bytes.min(1 << 20)));
        let body = std::mem::replace(&mut self.body, next);
        let marks = std::mem::replace(&mut self.marks, Vec::with_capacity(records.min(1 << 14)));
        self.closed.push(RawChunk { body, marks });
    }

    /// Begins a batch.
    pub(super) fn begin(&mut self, limits: Limits) {
        self.limits = limits;
        self.recorded = 0;
        self.dropped = Dropped::default();
    }

    /// Ends a batch of `points` points: whatever the sink has not accounted for could not be
    /// encoded. What was dropped.
    pub(super) fn end(&mut self, points: u64) -> Dropped {
        self.discard_record();
        let missing = points.saturating_sub(self.recorded + self.dropped.total());
        self.dropped.add(DropReason::Unencodable, missing);
        self.dropped
    }

    /// The chunks that are full.
    pub(super) fn take_closed(&mut self) -> Vec<RawChunk> {
        std::mem::take(&mut self.closed)
    }

    /// Memory of the open chunk, bytes.
    pub(super) fn size_bytes(&self) -> usize {
        self.body.capacity() + self.marks.capacity() * size_of::<Mark>()
    }

    fn open_len(&self) -> usize {
        self.marks.last().map_or(0, |mark| mark.end as usize)
    }
}

impl RawChunk {
    /// Makes it ready for the queue.
    pub(super) fn pack(mut self, sink: &dyn Sink, spares: &Spares) -> Chunk {
        let points = self.marks.iter().map(|mark| u64::from(mark.points)).sum();
        let raw_len = self.body.len();
        let body = sink.pack(&mut self.body);
        spares.give(self.body);
        Chunk { points, raw_len, body, marks: self.marks.into(), place: None }
    }
}

impl Chunk {
    /// What is sent.
    #[must_use]
    pub fn body(&self) -> Bytes {
        self.body.clone()
    }

    /// Points in it.
    #[must_use]
    pub fn points(&self) -> u64 {
        self.points
    }

    /// Records in it.
    #[must_use]
    pub fn records(&self) -> usize {
        self.marks.len()
    }

    /// Length before packing, bytes.
    #[must_use]
    pub fn raw_len(&self) -> usize {
        self.raw_len
    }

    /// Memory that it holds, bytes.
    #[must_use]
    pub fn size_bytes(&self) -> usize {
        self.body.len() + self.marks.len() * size_of::<Mark>() + size_of::<Self>()
    }

    /// How many points `records` refused records hold. Exact where all records hold equally many;
    /// else by proportion, since a server names the number of records and not which ones.
    #[must_use]
    pub fn points_of(&self, records: u64) -> u64 {
        let all = self.marks.len() as u64;
        if records >= all {
            return self.points;
        }
        (self.points * records).div_ceil(all.max(1))
    }

    /// Points of one record; none for a place where there is no record.
    #[must_use]
    pub fn points_at(&self, record: usize) -> u64 {
        self.marks.get(record).map_or(0, |mark| u64::from(mark.points))
    }

    /// A chunk of these records alone, places in ascending order; `None` where it can't be unpacked or
    /// none of them is there.
    pub(super) fn keep(&self, sink: &dyn Sink, records: &[usize]) -> Option<Self> {
        let whole = sink.unpack(&self.body)?;
        let (mut body, mut marks) = (Vec::new(), Vec::with_capacity(records.len()));
        for &record in records {
            let Some(mark) = self.marks.get(record) else { continue };
            let start = record.checked_sub(1).map_or(0, |before| self.marks[before].end as usize);
            body.extend_from_slice(whole.get(start..mark.end as usize)?);
            marks.push(Mark { end: u32::try_from(body.len()).ok()?, points: mark.points });
        }
        let kept = RawChunk { body, marks };
        let place = self.place.clone();
        (!kept.marks.is_empty()).then(|| Self { place, ..kept.pack(sink, &Spares::default()) })
    }

    /// Two halves of whole records; `None` where there is but one record.
    pub(super) fn split(&self, sink: &dyn Sink) -> Option<[Self; 2]> {
        if self.marks.len() < 2 {
            return None;
        }
        let mut first = sink.unpack(&self.body)?;
        let half = u32::try_from(first.len() / 2).unwrap_or(u32::MAX);
        let middle = self.marks.partition_point(|mark| mark.end <= half);
        let middle = middle.clamp(1, self.marks.len() - 1);
        let cut = self.marks[middle - 1].end;
        if cut as usize > first.len() {
            return None;
        }
        let second = first.split_off(cut as usize);
        let mut marks = self.marks[middle..].to_vec();
        for mark in &mut marks {
            mark.end -= cut;
        }
        let first = RawChunk { body: first, marks: self.marks[..middle].to_vec() };
        let second = RawChunk { body: second, marks };
        let spares = Spares::default();
        let mut halves = [first.pack(sink, &spares), second.pack(sink, &spares)];
        if let Some(place) = &self.place {
            place.parts.fetch_add(1, Ordering::Relaxed);
            for half in &mut halves {
                half.place = Some(place.clone());
            }
        }
        Some(halves)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::{Batch, Cycle};
    use crate::sinks::AttemptError;

    struct Plain;

    #[async_trait::async_trait]
    impl Sink for Plain {
        fn encode(&self, _: &Cycle, _: &Batch, _: &mut Chunker) {}

        async fn attempt(&self, _: Bytes) -> Result<(), AttemptError> {
            Ok(())
        }
    }

    fn filled(limits: Limits, records: &[(&str, u32)]) -> Vec<Chunk> {
        let mut chunker = Chunker::new(limits);
        for (text, points) in records {
            chunker.body().extend_from_slice(text.as_bytes());
            chunker.end_record(*points);
        }
        chunker.close();
        chunker.take_closed().into_iter().map(|chunk| chunk.pack(&Plain, &Spares::default())).collect()
    }

    #[test]
    fn chunks_close_at_a_records_end() {
        for (name, records, bytes, want) in [
            ("by records", 2, 100, vec!["aa\nbb\n", "cc\n"]),
            ("by bytes, before the record that would not fit", 9, 7, vec!["aa\nbb\n", "cc\n"]),
            ("by bytes, exactly full", 9, 6, vec!["aa\nbb\n", "cc\n"]),
            ("a record over the limit goes alone", 9, 2, vec!["aa\n", "bb\n", "cc\n"]),
        ] {
            let chunks = filled(Limits { records, bytes }, &[("aa\n", 1), ("bb\n", 1), ("cc\n", 1)]);
            let bodies: Vec<_> = chunks.iter().map(Chunk::body).collect();
            assert_eq!(bodies, want, "{name}");
        }
    }

    #[test]
    fn halves_hold_whole_records_and_all_points() {
        let whole = filled(Limits { records: 9, bytes: 99 }, &[("a\n", 1), ("bbbbbb\n", 2), ("c\n", 3), ("d\n", 4)]);
        let [first, second] = whole[0].split(&Plain).unwrap();
        assert_eq!((first.body(), first.points()), (Bytes::from("a\n"), 1));
        assert_eq!((second.body(), second.points()), (Bytes::from("bbbbbb\nc\nd\n"), 9));
        let [second, third] = second.split(&Plain).unwrap();
        assert_eq!((second.body(), second.points()), (Bytes::from("bbbbbb\n"), 2));
        assert_eq!((third.body(), third.points()), (Bytes::from("c\nd\n"), 7));
        assert!(first.split(&Plain).is_none());
    }

    #[test]
    fn some_records_are_kept_with_their_points() {
        let whole = filled(Limits { records: 9, bytes: 99 }, &[("a\n", 1), ("bb\n", 2), ("c\n", 3), ("d\n", 4)]);
        for (records, body, points) in [(vec![1, 3], "bb\nd\n", 6), (vec![0], "a\n", 1), (vec![2, 9], "c\n", 3)] {
            let kept = whole[0].keep(&Plain, &records).unwrap();
            assert_eq!((kept.body(), kept.points()), (Bytes::from(body), points));
        }
        assert!(whole[0].keep(&Plain, &[9]).is_none());
        assert_eq!([1, 9].map(|record| whole[0].points_at(record)), [2, 0]);
    }

    #[test]
    fn points_without_a_record_are_unencodable_and_half_a_record_is_forgotten() {
        let mut chunker = Chunker::new(Limits { records: 9, bytes: 99 });
        chunker.begin(Limits { records: 9, bytes: 99 });
        chunker.body().extend_from_slice(b"a\n");
        chunker.end_record(2);
        chunker.drop_points(DropReason::Filtered, 1);
        chunker.body().extend_from_slice(b"half");
        let dropped = chunker.end(5);
        assert_eq!(dropped.of(DropReason::Unencodable), 2);
        assert_eq!(dropped.total(), 3);
        chunker.close();
        assert_eq!(chunker.take_closed()[0].body, b"a\n");
    }

    #[test]
    fn the_buffer_of_a_sent_chunk_is_filled_again_once_nobody_has_it() {
        let chunk = filled(Limits { records: 9, bytes: 99 }, &[("aaaa\n", 1)]).remove(0);
        let (spares, held) = (Spares::default(), chunk.body());
        spares.give_sent(chunk.clone());
        assert_eq!(spares.take(), None, "the queue has it");
        drop(held);
        let buffer = chunk.body.as_ptr();
        spares.give_sent(chunk);
        assert_eq!(spares.take().map(|body| (body.as_ptr(), body.len())), Some((buffer, 0)));
    }

    #[test]
    fn refused_records_count_in_points() {
        let chunk = &filled(Limits { records: 9, bytes: 99 }, &[("a", 3), ("b", 3), ("c", 2)])[0];
        for (records, points) in [(0, 0), (1, 3), (2, 6), (3, 8), (99, 8)] {
            assert_eq!(chunk.points_of(records), points, "{records}");
        }
    }
}
