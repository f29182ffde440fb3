//! The spool's lock, and how much was ever spooled: what the end of the last segment can't tell once
//! it is torn.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;

/// Number of the next chunk, points of all before it, checksum.
const LENGTH: usize = 20;

/// The file `state`, locked as long as this lives.
#[derive(Debug)]
pub(super) struct State(File);

impl State {
    /// Opens and locks it; `None` if another process has it.
    pub fn open(folder: &Path) -> io::Result<Option<Self>> {
        let path = folder.join("state");
        let file = OpenOptions::new().create(true).truncate(false).read(true).write(true).open(path)?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Self(file))),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    #[cfg(test)]
    pub fn unlock(&self) {
        self.0.unlock().unwrap();
    }

    /// The number of the next chunk and the points of all before it; `None` if that can't be read.
    pub fn read(&mut self) -> Option<(u64, u64)> {
        let mut bytes = [0; LENGTH];
        self.0.seek(SeekFrom::Start(0)).ok()?;
        self.0.read_exact(&mut bytes).ok()?;
        let number = |at: usize| bytes[at..at + 8].try_into().map(u64::from_le_bytes).ok();
        let crc = bytes[16..].try_into().map(u32::from_le_bytes).ok()?;
        (crc == crc32fast::hash(&bytes[..16])).then(|| Some((number(0)?, number(8)?))).flatten()
    }

    /// Notes them, without waiting for the disk: a state that is behind costs only the count of what
    /// a torn end has lost.
    pub fn write(&mut self, next: u64, total: u64) {
        let mut bytes = [0; LENGTH];
        bytes[..8].copy_from_slice(&next.to_le_bytes());
        bytes[8..16].copy_from_slice(&total.to_le_bytes());
        let crc = crc32fast::hash(&bytes[..16]);
        bytes[16..].copy_from_slice(&crc.to_le_bytes());
        let written = self.0.seek(SeekFrom::Start(0)).and_then(|_| self.0.write_all(&bytes));
        if let Err(error) = written {
            tracing::debug!(%error, "the spool's state can't be written");
        }
    }
}
