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

use std::collections::{HashMap, VecDeque};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use rusqlite::ErrorCode;

use super::chunk::Chunk;
use super::ledger::{DropReason, Dropped};

pub mod config;
pub(crate) mod look;
mod segment;
mod state;
#[cfg(test)]
mod tests;

pub use config::SpoolConfig;
use segment::{Found, Row, Segment};
use state::State;

/// Chunks in a segment at most, so that its receipts stay few.
const MAX_CHUNKS: u64 = 4096;
/// Length of a segment, bytes: an eighth of the spool between these.
const SEGMENT: std::ops::RangeInclusive<u64> = 1 << 20..=64 << 20;
/// How often a segment is tried that can't be read; with the waits in between, some minutes.
const FAILURES: u32 = 12;
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
    #[error("the spool {} is in use by another process; give each Millrace a `directory` of its own", .0.display())]
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

/// Where the backlog begins.
#[derive(Debug, Default)]
struct Cursor {
    /// Number of the next chunk that is read.
    seq: u64,
    /// Points of all chunks before it.
    before: u64,
    /// First number of the segment whose receipts these are.
    segment: Option<u64>,
    receipts: HashMap<u64, u64>,
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
        belongs(&folder, kind)?;
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

    /// Reads the next chunk of the backlog.
    ///
    /// # Errors
    /// It can't be read now.
    pub fn load(&mut self) -> Result<Loaded, SpoolError> {
        let mut lost = std::mem::take(&mut self.owed);
        let chunk = loop {
            match self.next_row(&mut lost) {
                Ok(chunk) => break chunk,
                Err(error) if self.failures < FAILURES => {
                    self.failures += 1;
                    self.owed = lost;
                    return Err(error);
                }
                Err(error) => self.skip_segment(&error),
            }
        };
        self.failures = 0;
        self.sweep();
        Ok(Loaded { chunk, toll: self.toll(lost) })
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

    /// Goes on behind a segment that can't be read again and again; what was in it is counted there.
    fn skip_segment(&mut self, error: &SpoolError) {
        let end = self.segment_of(self.cursor.seq).and_then(|at| self.segments.get(at + 1)).map(|next| next.first);
        self.cursor.seq = end.unwrap_or(self.next);
        tracing::error!(%error, "a file of the spool can't be read again and again; it is given up");
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

    fn recover(&mut self, now: i64) -> Result<(), SpoolError> {
        let unusable = |source| SpoolError::Folder { path: self.folder.clone(), source };
        let mut segments = Vec::new();
        self.remove_orphans();
        for entry in fs::read_dir(&self.folder).map_err(unusable)? {
            let entry = entry.map_err(unusable)?;
            // What is no file was put there by somebody else.
            if !entry.file_type().map_err(unusable)?.is_file() {
                continue;
            }
            let name = entry.file_name();
            segments.extend(name.to_str().and_then(|name| Segment::named(&self.folder, name, self.config.fsync, now)));
        }
        segments.sort_by_key(|segment| (segment.first, segment.before));
        let (next, total) = self.state.read().unwrap_or_default();
        (self.next, self.total) = (next, total);
        if let Some(last) = segments.last_mut() {
            let end = last.last().unwrap_or_else(|error| {
                tracing::warn!(path = %last.path().display(), %error, "the end of the spool can't be read");
                None
            });
            let (seq, end) = end.unwrap_or((last.first, last.before));
            let seq = seq.saturating_add(1);
            // The state may have been lost, or be ahead of what the disk has of the segment.
            self.next = self.next.max(seq);
            self.total = self.total.max(end);
        }
        let (mut end, mut end_seq) = (self.total, self.next);
        for segment in segments.iter_mut().rev() {
            let held = end.saturating_sub(segment.before);
            let receipts = segment.receipts().map_err(unusable)?;
            // Receipts may be of chunks that a torn end has lost.
            let there = |seq: &u64| (segment.first..end_seq).contains(seq);
            let done: u64 = receipts.iter().filter(|(seq, _)| there(seq)).map(|(_, points)| points).sum();
            segment.left = held.saturating_sub(done);
            end_seq = segment.first;
            segment.measure();
            segment.newest = segment.modified().unwrap_or(now).min(now);
            segment.close();
            end = segment.before;
        }
        self.segments = segments.into();
        if let Some(front) = self.segments.front() {
            (self.cursor.seq, self.cursor.before) = (front.first, front.before);
        } else {
            (self.cursor.seq, self.cursor.before) = (self.next, self.total);
        }
        Ok(())
    }

    /// Files of segments whose database is deleted already.
    fn remove_orphans(&self) {
        for entry in fs::read_dir(&self.folder).into_iter().flatten().flatten() {
            let (path, name) = (entry.path(), entry.file_name());
            let Some(name) = name.to_str() else { continue };
            let stem = name.strip_suffix(".done").or_else(|| name.strip_suffix(".chunks-journal"));
            if let Some(stem) = stem
                && Segment::named(&self.folder, &format!("{stem}.chunks"), false, 0)
                    .is_some_and(|segment| !segment.path().exists())
            {
                drop(fs::remove_file(path));
            }
        }
    }

    fn try_append(&mut self, chunk: &Chunk) -> Result<u64, SpoolError> {
        let (now, seq) = (self.now(), self.next);
        if self.is_segment_full(now) {
            self.segments.push_back(Segment::new(&self.folder, seq, self.total, self.config.fsync, now));
            self.writable = true;
        }
        let row = Row { before: self.total, at: now, chunk: chunk.clone() };
        let Some(segment) = self.segments.back_mut() else { return Err(SpoolError::InUse(self.folder.clone())) };
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

    fn next_row(&mut self, lost: &mut Dropped) -> Result<Option<Chunk>, SpoolError> {
        let limit = self.now().saturating_sub(millis(self.config.max_age));
        loop {
            let Some(at) = self.segment_of(self.cursor.seq) else {
                self.leave_gap(lost);
                return Ok(None);
            };
            self.enter(at, lost)?;
            let (seq, end) = (self.cursor.seq, self.end_of(at));
            if seq - self.segments[at].first >= MAX_CHUNKS {
                // No segment has so many: one was lost, and the next begins far from here.
                self.cursor.seq = self.segments.get(at + 1).map_or(self.next, |next| next.first);
                continue;
            }
            if let Some(points) = self.cursor.receipts.get(&seq) {
                (self.cursor.seq, self.cursor.before) = (seq + 1, self.cursor.before + points);
                continue;
            }
            let segment = &mut self.segments[at];
            let read = segment.read(seq);
            let Found::Row(row) =
                read.map_err(|source| SpoolError::File { path: segment.path().to_owned(), source })?
            else {
                self.cursor.seq = seq + 1;
                continue;
            };
            let points = row.chunk.points();
            // What contradicts the rest is no more to be trusted than what can't be read.
            if row.before < self.cursor.before || row.before.saturating_add(points) > end {
                self.cursor.seq = seq + 1;
                continue;
            }
            self.lose(at, row.before - self.cursor.before, DropReason::SpoolDamaged, lost);
            (self.cursor.seq, self.cursor.before) = (seq + 1, row.before + points);
            self.close_some();
            if row.at < limit {
                self.lose(at, points, DropReason::SpoolAge, lost);
                continue;
            }
            return Ok(Some(row.chunk.spooled(seq)));
        }
    }

    /// Makes the segment the one that the cursor reads. What is missing at the end of the one before
    /// is counted.
    fn enter(&mut self, at: usize, lost: &mut Dropped) -> Result<(), SpoolError> {
        let segment = &self.segments[at];
        if self.cursor.segment == Some(segment.first) {
            return Ok(());
        }
        let unusable = |source| SpoolError::Folder { path: self.folder.clone(), source };
        self.cursor.receipts = segment.receipts().map_err(unusable)?;
        self.cursor.segment = Some(segment.first);
        let before = segment.before;
        if let Some(left) = at.checked_sub(1) {
            self.lose(left, before.saturating_sub(self.cursor.before), DropReason::SpoolDamaged, lost);
        }
        self.cursor.before = self.cursor.before.max(before);
        Ok(())
    }

    /// What is missing between the cursor and the end of what was spooled.
    fn leave_gap(&mut self, lost: &mut Dropped) {
        if let Some(at) = self.segments.len().checked_sub(1) {
            self.lose(at, self.total.saturating_sub(self.cursor.before), DropReason::SpoolDamaged, lost);
        }
        self.cursor.before = self.total;
    }

    fn lose(&mut self, at: usize, points: u64, reason: DropReason, lost: &mut Dropped) {
        let segment = &mut self.segments[at];
        segment.left = segment.left.saturating_sub(points);
        lost.add(reason, points);
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

/// Whose spool it is stands in a file of its own, for whoever looks into the folder.
fn belongs(folder: &Path, kind: &str) -> Result<(), SpoolError> {
    let path = folder.join("sink");
    let unusable = |source| SpoolError::Folder { path: path.clone(), source };
    match fs::read_to_string(&path) {
        Ok(found) if found.trim() == kind => Ok(()),
        // Torn when it was written: the files say nothing else of whose they are.
        Ok(found) if found.trim().is_empty() => fs::write(&path, kind).map_err(unusable),
        Ok(found) => {
            let found = crate::text::tame(found.trim(), 100);
            Err(SpoolError::Foreign { path: folder.to_owned(), found, wanted: kind.to_owned() })
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => fs::write(&path, kind).map_err(unusable),
        Err(error) => Err(unusable(error)),
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
