//! What the queue does where there is a spool: chunks that are on the disk alone are counted here, and
//! read when nothing older waits.

use super::{ChunkId, Queue};
use crate::sinks::chunk::Chunk;
use crate::sinks::ledger::DropReason;
use crate::sinks::spool::Toll;

/// What the queue knows of the spool.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Backlog {
    /// Points. Below zero for the moment in which the sender has read what the encoder hasn't yet told.
    pub points: i64,
    /// Length of the files, and its bound, bytes.
    pub bytes: u64,
    pub bound: u64,
    /// Somebody reads, or there was nothing more to be read.
    pub read: bool,
    /// Somebody reads.
    pub loading: bool,
    /// Chunks below this number are in the spool no longer.
    pub gone: u64,
}

impl Queue {
    /// Has a spool of at most `bound` bytes, in which an earlier process has left `points`.
    pub fn spooling(&mut self, points: u64, bytes: u64, bound: u64) {
        self.ledger.recovered = points;
        self.spool = Some(Backlog { points: points.cast_signed(), bytes, bound, read: false, loading: false, gone: 0 });
    }

    /// Whether a chunk of this size may stay in memory though it is in the spool: most of the bound
    /// is for batches that wait to be encoded, which have no other place.
    #[must_use]
    pub fn has_room(&self, bytes: usize) -> bool {
        // What is being read is older, and must come first.
        let loading = self.spool.is_some_and(|spool| spool.loading);
        !loading && self.chunks_held.bytes + self.in_flight_held.bytes + bytes <= self.bound / 4
    }

    /// Whether a chunk is to be read from the spool; who asks reads it.
    pub fn next_load(&mut self) -> bool {
        let idle = self.chunks.is_empty() && !self.closed;
        // Of two that read at a time the second might come first.
        let waits = |spool: &Backlog| spool.points > 0 && !spool.read && !spool.loading;
        let Some(spool) = self.spool.as_mut().filter(|spool| idle && waits(spool)) else { return false };
        (spool.read, spool.loading) = (true, true);
        true
    }

    /// A chunk was read from the spool, or there was none.
    pub fn loaded(&mut self, chunk: Option<Chunk>, toll: &Toll) {
        self.pay(toll);
        if self.closed {
            return;
        }
        let Some(spool) = &mut self.spool else { return };
        spool.loading = false;
        if let Some(chunk) = chunk {
            spool.read = false;
            spool.points = spool.points.saturating_sub_unsigned(chunk.points());
            self.push(chunk);
        }
    }

    /// The spool couldn't be read; it is tried again.
    pub fn load_failed(&mut self) {
        self.ledger.spool_errors += 1;
        if let Some(spool) = &mut self.spool {
            (spool.read, spool.loading) = (false, false);
        }
    }

    /// Counts what an operation of the spool has cost.
    pub fn pay(&mut self, toll: &Toll) {
        let Some(spool) = &mut self.spool else { return };
        spool.bytes = toll.bytes;
        if self.closed {
            return;
        }
        spool.points = spool.points.saturating_sub_unsigned(toll.lost.total());
        self.ledger.dropped.add_all(&toll.lost);
        if spool.gone < toll.gone {
            spool.gone = toll.gone;
            self.drop_expired(toll.expired);
            let chunks = self.chunks.values_mut().chain(self.in_flight.values_mut());
            chunks.for_each(|chunk| chunk.unspool(toll.gone));
        }
    }

    /// Drops what waits and was too old to be kept on the disk either.
    fn drop_expired(&mut self, expired: u64) {
        let is_old = |chunk: &Chunk| chunk.number().is_some_and(|number| number < expired);
        let old: Vec<ChunkId> = self.chunks.iter().filter(|(_, chunk)| is_old(chunk)).map(|(id, _)| *id).collect();
        for chunk in old.iter().filter_map(|id| self.chunks.remove(id)) {
            self.chunks_held.take(chunk.points(), chunk.size_bytes());
            self.ledger.dropped.add(DropReason::SpoolAge, chunk.points());
        }
    }

    /// Points that are in the spool alone.
    pub(super) fn spooled(&self) -> u64 {
        self.spool.map_or(0, |spool| spool.points.max(0).cast_unsigned())
    }

    /// Points that are in memory and in the spool.
    pub(super) fn saved(&self) -> u64 {
        let chunks = self.chunks.values().chain(self.in_flight.values());
        chunks.filter(|chunk| chunk.number().is_some()).map(Chunk::points).sum()
    }

    /// Points that would go with the process: those of them that wait and are not in the spool.
    pub(super) fn unsaved(&self) -> u64 {
        self.queued().saturating_sub(self.spooled() + self.saved())
    }
}
