//! A sink's spool: its queue on disk, which outlives the process.
//!
//! Every chunk is written here before it is sent. While the sink keeps up, a chunk stays in memory
//! too and is never read back; once memory's share is full, later chunks are only here (the
//! *backlog*) and are read in order when their turn comes. So the memory that a spool takes does not
//! depend on what is in it, not at a restart either.
//!
//! The spool is a row of segments ([`segment`]), deleted from the front. Each chunk bears the
//! points of all chunks before it, and each segment's name those before the segment: what can't be
//! read back is counted by the gap that it leaves.
//!
//! Calls block on the disk: they belong on a blocking thread.

use std::collections::VecDeque;
use std::fs;
use std::io;
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime};

use rusqlite::ErrorCode;

use super::chunk::Chunk;
use super::ledger::{DropReason, Dropped};

pub mod config;
pub(crate) mod look;
mod read;
mod recover;
mod segment;
mod state;
#[cfg(test)]
mod tests;

pub use config::SpoolConfig;
use read::Cursor;
use segment::{Row, Segment};
use state::State;

/// Chunks in a segment at most, so that its receipts stay few.
const MAX_CHUNKS: u64 = 4096;
/// Length of a segment, bytes: an eighth of the spool between these.
const SEGMENT: std::ops::RangeInclusive<u64> = 1 << 20..=64 << 20;
/// Databases that are open at a time, besides the one that is written.
const MAX_OPEN: usize = 4;

/// Why a spool can't be used.
#[derive(Debug, thiserror::Error)]
pub enum SpoolError {
    /// The folder can't be made, read or written.
    #[error("the spool's folder {}: {source}; it needs a writable volume that outlives the pod", .path.display())]
    Folder {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Somebody else has it.
    #[error(
        "the spool {} is in use by another process; give each Millrace a `directory` of its own, and where a new pod takes \
         the place of an old one let the old one end first (`strategy: Recreate`)", .0.display()
    )]
    InUse(PathBuf),
    /// Another kind of sink has written it.
    #[error(
        "the spool {} holds what was meant for a sink of type `{found}`, not `{wanted}`; let it drain with the old \
         configuration, or delete the folder", .path.display()
    )]
    Foreign {
        /// Which.
        path: PathBuf,
        /// Whose it is.
        found: String,
        /// Who wants it.
        wanted: String,
    },
    /// A file can't be used now.
    #[error("the spool's file {}: {source}; see that the disk is well and the file is this user's", .path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: rusqlite::Error,
    },
}

/// What an operation has cost, besides doing what it was asked to.
#[derive(Debug, Default, Clone, Copy)]
pub struct Toll {
    /// Points of the backlog that are lost.
    pub lost: Dropped,
    /// Chunks below this number are in the spool no longer, though they may be in memory.
    pub gone: u64,
    /// Those below this one must not be sent any more.
    pub expired: u64,
    /// Length of all files now, bytes.
    pub bytes: u64,
}

/// Where a chunk is now.
#[derive(Debug)]
pub enum Kept {
    /// In memory too.
    Memory(Chunk),
    /// On the disk alone: its points.
    Disk(u64),
}

/// A chunk that couldn't be spooled.
#[derive(Debug)]
pub struct Unspooled {
    /// The chunk.
    pub chunk: Chunk,
    /// Why.
    pub error: SpoolError,
}

/// A chunk that was read back.
#[derive(Debug)]
pub struct Loaded {
    /// The chunk, if there was any that can be sent.
    pub chunk: Option<Chunk>,
    /// What couldn't.
    pub toll: Toll,
}

/// A sink's spool.
#[derive(Debug)]
pub struct Spool {
    folder: PathBuf,
    config: SpoolConfig,
    state: State,
    segments: VecDeque<Segment>,
    /// Whether the last segment may be written; else the next chunk begins another.
    writable: bool,
    /// Number of the next chunk that is spooled, and the points of all before it.
    next: u64,
    total: u64,
    cursor: Cursor,
    /// As in [`Toll`].
    gone: u64,
    expired: u64,
    /// What was lost by readings that came to nothing else, and isn't told yet.
    owed: Dropped,
    /// How often in a row it couldn't be read.
    failures: u32,
    /// For a clock that does not jump while the process runs.
    began: (Instant, i64),
}

impl Spool {
    /// Opens the spool of a sink of the type `kind`, with what an earlier process has left.
    ///
    /// # Errors
    /// The folder can't be used, or belongs to somebody else. Damage is not an error.
    pub fn open(config: &SpoolConfig, kind: &str) -> Result<Self, SpoolError> {
        let folder = config.directory.join(kind);
        let unusable = |source| SpoolError::Folder { path: folder.clone(), source };
        fs::create_dir_all(&folder).map_err(unusable)?;
        let state = State::open(&folder).map_err(unusable)?.ok_or_else(|| SpoolError::InUse(folder.clone()))?;
        recover::belongs(&folder, kind)?;
        let now = wall();
        let mut spool = Self {
            config: config.clone(),
            state,
            segments: VecDeque::new(),
            writable: false,
            next: 0,
            total: 0,
            cursor: Cursor::default(),
            gone: 0,
            expired: 0,
            owed: Dropped::default(),
            failures: 0,
            began: (Instant::now(), now),
            folder: folder.clone(),
        };
        spool.recover(now)?;
        Ok(spool)
    }

    /// Points in it that are neither delivered nor given up.
    #[must_use]
    pub fn left(&self) -> u64 {
        self.segments.iter().map(|segment| segment.left).sum()
    }

    /// Length of all files, bytes.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.segments.iter().map(|segment| segment.bytes).sum()
    }

    /// Bound of the files, bytes.
    #[must_use]
    pub fn bound(&self) -> u64 {
        self.config.max_bytes
    }

    /// Whether all that was spooled has been read back or was never only here.
    #[must_use]
    pub fn is_read(&self) -> bool {
        self.cursor.seq >= self.next
    }

    /// Writes a chunk. Where memory has room and all that was spooled before has been read, it stays
    /// in memory too and isn't read back.
    ///
    /// # Errors
    /// It isn't spooled. The toll has been paid all the same.
    pub fn append(&mut self, chunk: Chunk, room: bool) -> (Toll, Result<Kept, Unspooled>) {
        let mut lost = Dropped::default();
        let written = loop {
            match self.try_append(&chunk) {
                // Others fill the disk too: then its bound is what they leave.
                Err(SpoolError::File { source, .. })
                    if is_full(&source) && self.drop_oldest(&mut lost, DropReason::SpoolFull) => {}
                written => break written,
            }
        };
        let kept = match written {
            Ok(seq) if room && self.cursor.seq == seq => {
                (self.cursor.seq, self.cursor.before) = (self.next, self.total);
                Ok(Kept::Memory(chunk.spooled(seq)))
            }
            Ok(_) => Ok(Kept::Disk(chunk.points())),
            Err(error) => Err(Unspooled { chunk, error }),
        };
        while self.bytes() > self.config.max_bytes && self.drop_oldest(&mut lost, DropReason::SpoolFull) {}
        (self.toll(lost), kept)
    }

    /// The chunk is delivered or given up, and must not come again.
    pub fn done(&mut self, seq: u64, points: u64) -> Toll {
        if let Some(at) = self.segment_of(seq) {
            let segment = &mut self.segments[at];
            if let Err(error) = segment.receipt(seq, points) {
                let path = segment.path().display().to_string();
                tracing::warn!(path, %error, "a receipt can't be written; the chunk may be sent again after a restart");
            }
        }
        self.sweep();
        self.toll(Dropped::default())
    }

    /// Gives up what is too old.
    pub fn expire(&mut self) -> Toll {
        let mut lost = Dropped::default();
        let limit = self.now().saturating_sub(millis(self.config.max_age));
        while self.segments.front().is_some_and(|segment| segment.newest < limit) {
            self.writable &= self.segments.len() > 1;
            self.remove_front(&mut lost, DropReason::SpoolAge);
            self.expired = self.gone;
        }
        self.toll(lost)
    }

    fn toll(&self, lost: Dropped) -> Toll {
        Toll { lost, gone: self.gone, expired: self.expired, bytes: self.bytes() }
    }

    /// Drops everything, as a spool does that is full.
    #[cfg(test)]
    pub(super) fn drop_all(&mut self) -> Toll {
        let mut lost = Dropped::default();
        self.writable = false;
        while self.remove_front(&mut lost, DropReason::SpoolFull) {}
        self.toll(lost)
    }

    /// Lets so much time go by.
    #[cfg(test)]
    pub(super) fn age(&mut self, by: Duration) {
        self.began.1 += millis(by);
    }

    /// Leaves the files as they are and lets go of their locks, as a process does that is killed.
    #[cfg(test)]
    pub(super) fn forget(&mut self) {
        self.segments.iter_mut().for_each(Segment::close);
        self.state.unlock();
    }

    fn try_append(&mut self, chunk: &Chunk) -> Result<u64, SpoolError> {
        let (now, seq) = (self.now(), self.next);
        if self.is_segment_full(now) {
            self.segments.push_back(Segment::new(&self.folder, seq, self.total, self.config.fsync, now));
            self.writable = true;
        }
        let row = Row { before: self.total, at: now, chunk: chunk.clone() };
        // There is one: where there was none, it was full.
        let last = self.segments.len() - 1;
        let segment = &mut self.segments[last];
        if let Err(source) = segment.append(seq, &row) {
            let path = segment.path().to_owned();
            segment.close();
            self.writable = false;
            self.discard_unwritten();
            return Err(SpoolError::File { path, source });
        }
        self.next += 1;
        self.total += chunk.points();
        self.state.write(self.next, self.total);
        self.close_some();
        Ok(seq)
    }

    /// A segment whose first chunk couldn't be written leaves nothing behind.
    fn discard_unwritten(&mut self) {
        if self.segments.back().is_some_and(|segment| segment.first == self.next)
            && let Some(segment) = self.segments.pop_back()
        {
            remove(segment);
        }
    }

    fn is_segment_full(&self, now: i64) -> bool {
        let length = (self.config.max_bytes / 8).clamp(*SEGMENT.start(), *SEGMENT.end());
        let age = millis(self.config.max_age) / 8;
        let full = |segment: &Segment| {
            segment.bytes >= length || segment.chunks >= MAX_CHUNKS || now.saturating_sub(segment.oldest) > age
        };
        !self.writable || self.segments.back().is_none_or(full)
    }

    /// The segment that holds this number.
    fn segment_of(&self, seq: u64) -> Option<usize> {
        let after = self.segments.partition_point(|segment| segment.first <= seq);
        (seq < self.next).then(|| after.checked_sub(1)).flatten()
    }

    /// Points of all chunks up to the end of the segment.
    fn end_of(&self, at: usize) -> u64 {
        self.segments.get(at + 1).map_or(self.total, |next| next.before)
    }

    /// Deletes the oldest segment, unless it is the only one.
    fn drop_oldest(&mut self, lost: &mut Dropped, reason: DropReason) -> bool {
        self.segments.len() > 1 && self.remove_front(lost, reason)
    }

    fn remove_front(&mut self, lost: &mut Dropped, reason: DropReason) -> bool {
        let end_seq = self.segments.get(1).map_or(self.next, |next| next.first);
        let end = self.end_of(0);
        let Some(front) = self.segments.pop_front() else { return false };
        self.gone = end_seq;
        if self.cursor.seq < end_seq {
            // The rest of it was only here, but for what has a receipt.
            let receipts = match self.cursor.segment == Some(front.first) {
                true => std::mem::take(&mut self.cursor.receipts),
                false => front.receipts().unwrap_or_default(),
            };
            let done: u64 = receipts.iter().filter(|(seq, _)| **seq >= self.cursor.seq).map(|(_, points)| points).sum();
            lost.add(reason, end.saturating_sub(self.cursor.before).saturating_sub(done));
            self.cursor = Cursor { seq: end_seq, before: end, ..Cursor::default() };
        }
        remove(front);
        true
    }

    /// Deletes the segments at the front that nobody needs any more.
    fn sweep(&mut self) {
        while let Some(front) = self.segments.front() {
            let is_last = self.segments.len() == 1;
            let end_seq = self.segments.get(1).map_or(self.next, |next| next.first);
            let is_written = is_last && self.writable && !self.is_segment_full(self.now());
            if front.left > 0 || self.cursor.seq < end_seq || is_written {
                return;
            }
            self.writable &= !is_last;
            self.segments.pop_front().into_iter().for_each(remove);
        }
    }

    /// Keeps the number of open files small.
    fn close_some(&mut self) {
        let open = self.segments.iter().filter(|segment| segment.is_open()).count();
        let written = self.segments.len().saturating_sub(1);
        let reading = self.segment_of(self.cursor.seq);
        let others = self
            .segments
            .iter_mut()
            .enumerate()
            .filter(|(at, segment)| segment.is_open() && *at != written && Some(*at) != reading);
        for (_, segment) in others.take(open.saturating_sub(MAX_OPEN)) {
            segment.close();
        }
    }

    fn now(&self) -> i64 {
        let (instant, wall) = self.began;
        wall.saturating_add(millis(instant.elapsed()))
    }
}

fn remove(segment: Segment) {
    let path = segment.path().display().to_string();
    if let Err(error) = segment.remove() {
        tracing::warn!(path, %error, "a file of the spool can't be deleted");
    }
}

fn is_full(error: &rusqlite::Error) -> bool {
    error.sqlite_error_code() == Some(ErrorCode::DiskFull)
}

/// Milliseconds since 1970.
fn wall() -> i64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, millis)
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
