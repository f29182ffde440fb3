//! A sink's queue: batches that wait to be encoded, chunks that wait to be sent, chunks on their
//! way, and the ledger of all of them. Bounded in bytes. Plain data under one lock: no I/O, no
//! clock, and nothing that takes long.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use super::Published;
use super::chunk::Chunk;
use super::ledger::{DropReason, Dropped, Ledger, LedgerSnapshot, by_name};
use super::spool::Kept;

mod backlog;

use backlog::Backlog;

/// A chunk's place in the order of time: when it was closed, then where it stood before a split.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChunkId {
    closed: u64,
    record: usize,
}

/// What the encoder does next.
#[derive(Debug)]
pub enum Intake {
    /// Encodes a batch.
    Batch(Arc<Published>),
    /// Closes the open chunk: a cycle has ended.
    Flush,
}

/// Points and the memory that they hold.
#[derive(Debug, Default, Clone, Copy)]
struct Held {
    points: u64,
    bytes: usize,
}

impl Held {
    fn add(&mut self, points: u64, bytes: usize) {
        self.points += points;
        self.bytes += bytes;
    }

    fn take(&mut self, points: u64, bytes: usize) {
        self.points = self.points.saturating_sub(points);
        self.bytes = self.bytes.saturating_sub(bytes);
    }
}

/// The queue of one sink.
#[derive(Debug)]
pub struct Queue {
    bound: usize,
    intake: VecDeque<Intake>,
    intake_held: Held,
    /// The batch being encoded, and the chunk that is still open.
    encoding: Held,
    chunks: BTreeMap<ChunkId, Chunk>,
    chunks_held: Held,
    in_flight: BTreeMap<ChunkId, Chunk>,
    in_flight_held: Held,
    /// What is on the disk alone; `None` where there is no spool.
    spool: Option<Backlog>,
    next: u64,
    /// No more offers are taken.
    closing: bool,
    /// Everything has been given up; what still comes in was counted already.
    closed: bool,
    /// Whether the last attempt failed; for the snapshot.
    pub failing: bool,
    /// What was counted.
    pub ledger: Ledger,
}

impl Queue {
    /// An empty queue of at most `bound` bytes.
    #[must_use]
    pub fn new(bound: usize) -> Self {
        Self {
            bound,
            intake: VecDeque::new(),
            intake_held: Held::default(),
            encoding: Held::default(),
            chunks: BTreeMap::new(),
            chunks_held: Held::default(),
            in_flight: BTreeMap::new(),
            in_flight_held: Held::default(),
            spool: None,
            next: 0,
            closing: false,
            closed: false,
            failing: false,
            ledger: Ledger::default(),
        }
    }

    /// Takes a batch in; over the bound the oldest that waits is dropped.
    pub fn offer(&mut self, published: Arc<Published>) {
        let points = published.batch.points.len() as u64;
        let bytes = published.batch.size_bytes();
        self.ledger.offered += points;
        if self.closing {
            self.ledger.dropped.add(DropReason::Shutdown, points);
        } else if !self.make_room(bytes) {
            self.ledger.dropped.add(DropReason::QueueFull, points);
        } else {
            self.intake_held.add(points, bytes);
            self.intake.push_back(Intake::Batch(published));
        }
    }

    /// Lets the encoder close the open chunk once it comes to this place.
    pub fn flush(&mut self) {
        if !matches!(self.intake.back(), Some(Intake::Flush)) {
            self.intake.push_back(Intake::Flush);
        }
    }

    /// What the encoder does next.
    pub fn next_intake(&mut self) -> Option<Intake> {
        let next = self.intake.pop_front()?;
        if let Intake::Batch(published) = &next {
            let points = published.batch.points.len() as u64;
            let bytes = published.batch.size_bytes();
            self.intake_held.take(points, bytes);
            self.encoding.add(points, bytes);
        }
        Some(next)
    }

    /// What became of a batch: chunks that were closed, points that were dropped; `open_bytes` is
    /// the memory of the chunk that is still open.
    pub fn encoded(&mut self, chunks: Vec<Kept>, dropped: &Dropped, open_bytes: usize) {
        if self.closed {
            return;
        }
        self.ledger.dropped.add_all(dropped);
        self.encoding.points = self.encoding.points.saturating_sub(dropped.total());
        self.encoding.bytes = open_bytes;
        for kept in chunks {
            match kept {
                Kept::Memory(chunk) => {
                    self.encoding.points = self.encoding.points.saturating_sub(chunk.points());
                    self.push(chunk);
                }
                Kept::Disk(points) => {
                    self.encoding.points = self.encoding.points.saturating_sub(points);
                    if let Some(spool) = &mut self.spool {
                        spool.points = spool.points.saturating_add_unsigned(points);
                        spool.read = false;
                    }
                }
            }
        }
        self.make_room(0);
    }

    fn push(&mut self, chunk: Chunk) {
        let id = ChunkId { closed: self.next, record: 0 };
        self.next += 1;
        self.insert(id, chunk);
    }

    /// The oldest chunk that waits; it is on its way from now on.
    pub fn next_chunk(&mut self) -> Option<(ChunkId, Chunk)> {
        let (id, chunk) = self.chunks.pop_first()?;
        self.chunks_held.take(chunk.points(), chunk.size_bytes());
        self.in_flight_held.add(chunk.points(), chunk.size_bytes());
        self.in_flight.insert(id, chunk.clone());
        Some((id, chunk))
    }

    /// The server has taken the chunk but for `refused` points, which are counted by the reason.
    pub fn written(&mut self, id: ChunkId, refused: u64, why: DropReason) {
        if let Some(chunk) = self.landed(id) {
            let refused = refused.min(chunk.points());
            self.ledger.dropped.add(why, refused);
            self.ledger.written(chunk.points() - refused);
        }
    }

    /// The chunk is given up.
    pub fn drop_chunk(&mut self, id: ChunkId, reason: DropReason) {
        if let Some(chunk) = self.landed(id) {
            self.ledger.dropped.add(reason, chunk.points());
        }
    }

    /// The chunk waits again, at its old place.
    pub fn requeue(&mut self, id: ChunkId) {
        if let Some(chunk) = self.landed(id) {
            self.insert(id, chunk);
        }
        self.make_room(0);
    }

    /// The chunk's halves wait in its place.
    pub fn replace(&mut self, id: ChunkId, halves: [Chunk; 2]) {
        if self.landed(id).is_some() {
            let [first, second] = halves;
            let middle = ChunkId { record: id.record + first.records(), ..id };
            self.insert(id, first);
            self.insert(middle, second);
        }
    }

    /// The server has taken what is neither in `kept`, which waits in the chunk's place, nor in `lost`.
    pub fn unfinished(&mut self, id: ChunkId, kept: Option<Chunk>, lost: &Dropped) {
        if let Some(chunk) = self.landed(id) {
            let waiting = kept.as_ref().map_or(0, Chunk::points);
            let written = chunk.points().saturating_sub(waiting + lost.total());
            self.ledger.dropped.add_all(lost);
            if written > 0 {
                self.ledger.written(written);
            }
            if let Some(kept) = kept {
                self.insert(id, kept);
            }
        }
        self.make_room(0);
    }

    /// Takes no more offers, and flushes.
    pub fn close(&mut self) {
        self.closing = true;
        self.flush();
    }

    /// Whether offers are still taken.
    #[must_use]
    pub fn is_closing(&self) -> bool {
        self.closing
    }

    /// Whether nothing waits and nothing is on its way.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.is_encoded() && self.chunks.is_empty() && self.in_flight.is_empty() && self.spooled() == 0
    }

    /// Whether all that is left is in the spool, where the next process finds it.
    #[must_use]
    pub fn is_safe(&self) -> bool {
        let mut chunks = self.chunks.values().chain(self.in_flight.values());
        self.spool.is_some() && self.is_encoded() && chunks.all(|chunk| chunk.number().is_some())
    }

    /// Whether all that was offered is in chunks.
    #[must_use]
    pub fn is_encoded(&self) -> bool {
        self.intake.is_empty() && self.encoding.points == 0
    }

    /// Gives up everything that is left and isn't in the spool.
    pub fn give_up(&mut self) {
        let safe = self.saved();
        self.ledger.dropped.add(DropReason::Shutdown, self.unsaved());
        if let Some(spool) = &mut self.spool {
            // Below zero where a chunk was read back that the encoder has not yet told of.
            spool.points = spool.points.max(0).saturating_add_unsigned(safe);
        }
        (self.closing, self.closed) = (true, true);
        self.intake.clear();
        self.chunks.clear();
        self.in_flight.clear();
        for held in [&mut self.intake_held, &mut self.encoding, &mut self.chunks_held, &mut self.in_flight_held] {
            *held = Held::default();
        }
    }

    /// The ledger as it is now.
    #[must_use]
    pub fn snapshot(&self, sink: &str) -> LedgerSnapshot {
        let ledger = &self.ledger;
        let queued = self.queued();
        let accounted = ledger.written + ledger.dropped.total() + queued;
        LedgerSnapshot {
            sink: sink.to_owned(),
            offered: ledger.offered,
            recovered: ledger.recovered,
            written: ledger.written,
            dropped: by_name(&ledger.dropped),
            queued,
            spooled: self.spooled(),
            unsaved: self.unsaved(),
            imbalance: (ledger.offered + ledger.recovered).cast_signed().wrapping_sub(accounted.cast_signed()),
            queued_bytes: self.bytes() as u64,
            queue_bound_bytes: self.bound as u64,
            spool_bytes: self.spool.map_or(0, |spool| spool.bytes),
            spool_bound_bytes: self.spool.map_or(0, |spool| spool.bound),
            spool_errors: ledger.spool_errors,
            in_flight: self.in_flight.len() as u64,
            failing: self.failing,
            attempts: ledger.attempts,
            encode_ns: ledger.encode_ns,
            last_error: ledger.last_error.clone(),
            last_written_at: ledger.last_written_at.clone(),
        }
    }

    fn landed(&mut self, id: ChunkId) -> Option<Chunk> {
        let chunk = self.in_flight.remove(&id)?;
        self.in_flight_held.take(chunk.points(), chunk.size_bytes());
        Some(chunk)
    }

    fn insert(&mut self, id: ChunkId, mut chunk: Chunk) {
        if let Some(spool) = &self.spool {
            chunk.unspool(spool.gone);
        }
        self.chunks_held.add(chunk.points(), chunk.size_bytes());
        self.chunks.insert(id, chunk);
    }

    /// Drops the oldest that waits until `more` bytes fit; whether they do. A request on its way
    /// and a batch being encoded can't be taken back.
    fn make_room(&mut self, more: usize) -> bool {
        let fixed = self.encoding.bytes + self.in_flight_held.bytes;
        if more > 0 && fixed + more > self.bound {
            return false;
        }
        while self.bytes() + more > self.bound {
            if !self.drop_oldest_chunk() && !self.drop_oldest_batch() {
                return false;
            }
        }
        true
    }

    /// What is in the spool too has been bounded there.
    fn drop_oldest_chunk(&mut self) -> bool {
        let oldest = self.chunks.iter().find(|(_, chunk)| chunk.number().is_none()).map(|(id, _)| *id);
        let Some(chunk) = oldest.and_then(|id| self.chunks.remove(&id)) else { return false };
        self.chunks_held.take(chunk.points(), chunk.size_bytes());
        self.ledger.dropped.add(DropReason::QueueFull, chunk.points());
        true
    }

    fn drop_oldest_batch(&mut self) -> bool {
        let is_batch = |intake: &Intake| matches!(intake, Intake::Batch(_));
        let oldest = self.intake.iter().position(is_batch);
        let Some(Intake::Batch(published)) = oldest.and_then(|at| self.intake.remove(at)) else {
            return false;
        };
        let points = published.batch.points.len() as u64;
        self.intake_held.take(points, published.batch.size_bytes());
        self.ledger.dropped.add(DropReason::QueueFull, points);
        true
    }

    fn queued(&self) -> u64 {
        let held = [self.intake_held, self.encoding, self.chunks_held, self.in_flight_held];
        let held: u64 = held.iter().map(|held| held.points).sum();
        held.saturating_add_signed(self.spool.map_or(0, |spool| spool.points))
    }

    fn bytes(&self) -> usize {
        self.intake_held.bytes + self.encoding.bytes + self.chunks_held.bytes + self.in_flight_held.bytes
    }
}
