//! Reads the backlog: chunk by chunk from the oldest on, past receipts, damage and what is too old.

use std::collections::HashMap;

use super::segment::Found;
use super::{Chunk, DropReason, Dropped, Loaded, MAX_CHUNKS, Spool, SpoolError, millis};

/// How often a segment is tried that can't be read; with the waits in between, some minutes.
const FAILURES: u32 = 12;

/// Where the backlog begins.
#[derive(Debug, Default)]
pub(super) struct Cursor {
    /// Number of the next chunk that is read.
    pub seq: u64,
    /// Points of all chunks before it.
    pub before: u64,
    /// First number of the segment whose receipts these are.
    pub segment: Option<u64>,
    pub receipts: HashMap<u64, u64>,
}

impl Spool {
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

    /// Goes on behind a segment that can't be read again and again; what was in it is counted there.
    fn skip_segment(&mut self, error: &SpoolError) {
        let at = self.segment_of(self.cursor.seq);
        let end = at.and_then(|at| self.segments.get(at + 1)).map(|next| next.first);
        self.cursor.seq = end.unwrap_or(self.next);
        if let Some(segment) = at.and_then(|at| self.segments.get_mut(at)) {
            segment.left = 0;
        }
        tracing::error!(%error, "a file of the spool can't be read again and again; it is given up");
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
}
