//! What a chunk has to do with the spool: its place there, and the form in which it is kept.

use std::io::{Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use flate2::Compression;
use flate2::read::DeflateDecoder;
use flate2::write::DeflateEncoder;

use super::{Chunk, Mark};

/// Where a chunk, or what it is a part of, stands in the spool.
#[derive(Debug, Clone)]
pub(super) struct Place {
    seq: u64,
    /// Of the whole chunk.
    points: u64,
    /// Parts that are neither delivered nor given up.
    pub parts: Arc<AtomicUsize>,
}

impl Chunk {
    /// The same, with its number in the spool.
    pub(in crate::sinks) fn spooled(mut self, seq: u64) -> Self {
        self.place = Some(Place { seq, points: self.points, parts: Arc::new(AtomicUsize::new(1)) });
        self
    }

    /// The spool has dropped what is below `gone`.
    pub(in crate::sinks) fn unspool(&mut self, gone: u64) {
        self.place.take_if(|place| place.seq < gone);
    }

    /// Its number in the spool, if it is in it too.
    pub(in crate::sinks) fn number(&self) -> Option<u64> {
        self.place.as_ref().map(|place| place.seq)
    }

    /// It is delivered or given up: number and points of the chunk that is done with, if this was the
    /// last part of it. To be said once of every chunk.
    pub(in crate::sinks) fn settled(&self) -> Option<(u64, u64)> {
        let place = self.place.as_ref()?;
        (place.parts.fetch_sub(1, Ordering::Relaxed) == 1).then_some((place.seq, place.points))
    }

    /// The marks as the spool keeps them: each record's length and points, deflated.
    pub(in crate::sinks) fn marks_packed(&self) -> Vec<u8> {
        let mut encoder = DeflateEncoder::new(Vec::with_capacity(self.marks.len()), Compression::new(1));
        let mut start = 0;
        for mark in &*self.marks {
            let mut record = [0; 8];
            record[..4].copy_from_slice(&(mark.end - start).to_le_bytes());
            record[4..].copy_from_slice(&mark.points.to_le_bytes());
            start = mark.end;
            // Writing to memory does not fail; were it to, the marks would be found torn.
            if encoder.write_all(&record).is_err() {
                return Vec::new();
            }
        }
        encoder.finish().unwrap_or_default()
    }

    /// A chunk of what the spool has kept; `None` where that contradicts itself.
    pub(in crate::sinks) fn restored(body: Vec<u8>, marks: &[u8], raw_len: usize) -> Option<Self> {
        let mut records = Vec::new();
        // No record is empty, so there are no more of them than bytes.
        let most = u64::try_from(raw_len).ok()?.checked_mul(8)?;
        DeflateDecoder::new(marks).take(most).read_to_end(&mut records).ok()?;
        let mut end = 0_u32;
        let mut points = 0;
        let marks = records.chunks_exact(8).map(|record| {
            let number = |at: usize| record[at..at + 4].try_into().ok().map(u32::from_le_bytes);
            let mark = Mark { end: end.checked_add(number(0)?)?, points: number(4)? };
            (end, points) = (mark.end, points + u64::from(mark.points));
            Some(mark)
        });
        let marks: Arc<[Mark]> = marks.collect::<Option<_>>()?;
        (end as usize == raw_len).then(|| Self { body: body.into(), marks, points, raw_len, place: None })
    }
}
