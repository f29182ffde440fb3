//! Finds what an earlier process has left, whatever has become of it.

use std::fs;
use std::io;
use std::path::Path;

use super::segment::Segment;
use super::{Spool, SpoolError};

impl Spool {
    /// Takes over what is in the folder.
    pub(super) fn recover(&mut self, now: i64) -> Result<(), SpoolError> {
        self.remove_orphans();
        let mut segments = self.find(now)?;
        self.find_end(segments.last_mut());
        self.count_left(&mut segments, now)?;
        let front = segments.first().map(|front| (front.first, front.before));
        (self.cursor.seq, self.cursor.before) = front.unwrap_or((self.next, self.total));
        self.segments = segments.into();
        Ok(())
    }

    /// The segments, the oldest first.
    fn find(&self, now: i64) -> Result<Vec<Segment>, SpoolError> {
        let unusable = |source| SpoolError::Folder { path: self.folder.clone(), source };
        let mut segments = Vec::new();
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
        Ok(segments)
    }

    /// Where the next chunk stands. The state may have been lost, or be ahead of what the disk has of
    /// the last segment.
    fn find_end(&mut self, last: Option<&mut Segment>) {
        (self.next, self.total) = self.state.read().unwrap_or_default();
        let Some(last) = last else { return };
        let end = last.last().unwrap_or_else(|error| {
            tracing::warn!(path = %last.path().display(), %error, "the end of the spool can't be read");
            None
        });
        let (seq, end) = end.unwrap_or((last.first, last.before));
        self.next = self.next.max(seq.saturating_add(1));
        self.total = self.total.max(end);
    }

    /// What each segment holds that has no receipt.
    fn count_left(&self, segments: &mut [Segment], now: i64) -> Result<(), SpoolError> {
        let unusable = |source| SpoolError::Folder { path: self.folder.clone(), source };
        let (mut end, mut end_seq) = (self.total, self.next);
        for segment in segments.iter_mut().rev() {
            let held = end.saturating_sub(segment.before);
            let receipts = segment.receipts().map_err(unusable)?;
            // Receipts may be of chunks that a torn end has lost.
            let there = |seq: &u64| (segment.first..end_seq).contains(seq);
            let done: u64 = receipts.iter().filter(|(seq, _)| there(seq)).map(|(_, points)| points).sum();
            segment.left = held.saturating_sub(done);
            segment.measure();
            segment.newest = segment.modified().unwrap_or(now).min(now);
            segment.close();
            (end, end_seq) = (segment.before, segment.first);
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
}

/// Whose spool it is stands in a file of its own, for whoever looks into the folder.
pub(super) fn belongs(folder: &Path, kind: &str) -> Result<(), SpoolError> {
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
