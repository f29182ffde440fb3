//! One file of the spool: an SQLite database of chunks, and beside it the receipts of those that are
//! done with.
//!
//! SQLite writes the chunks because no other library has been crashed, torn and fed with broken
//! files as often. A file of its own for every few megabytes bounds what one bad page can cost, and
//! is deleted whole. Receipts are appended to a plain file without waiting for the disk: one that is
//! lost costs a chunk sent twice, never one that isn't sent.

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use rusqlite::{Connection, ErrorCode, OpenFlags, OptionalExtension, params};

use super::MAX_CHUNKS;
use crate::sinks::chunk::Chunk;

/// Marks the file as ours (`mrsp`), as SQLite's application id.
const APPLICATION: i64 = 0x6d72_7370;
/// Of the tables and of what is in their columns.
const VERSION: i64 = 1;
/// Length of a receipt: sequence number, points, checksum.
const RECEIPT: usize = 20;
/// Nobody has ever spooled so many chunks or points.
const WILD: u64 = 1 << 62;
/// No segment has more receipts than this, bytes.
const RECEIPTS: u64 = MAX_CHUNKS * RECEIPT as u64;

/// A chunk as it was spooled.
#[derive(Debug)]
pub(super) struct Row {
    /// Points of all chunks spooled before it.
    pub before: u64,
    /// When it was spooled, ms since 1970.
    pub at: i64,
    pub chunk: Chunk,
}

/// What stands at a sequence number.
#[derive(Debug)]
pub(super) enum Found {
    Row(Box<Row>),
    /// Nothing, or nothing that can be trusted.
    Damaged,
}

/// A segment's files. Its database is opened when it is needed.
#[derive(Debug)]
pub(super) struct Segment {
    /// Sequence number of its first chunk.
    pub first: u64,
    /// Points of all chunks spooled before its first.
    pub before: u64,
    /// Points in it that are neither delivered nor given up.
    pub left: u64,
    /// Chunks written to it by this process.
    pub chunks: u64,
    /// When the first and the last chunk were written, ms since 1970.
    pub oldest: i64,
    pub newest: i64,
    /// Length of its files, bytes.
    pub bytes: u64,
    path: PathBuf,
    fsync: bool,
    database: Option<Connection>,
    receipts: Option<File>,
}

impl Segment {
    /// The segment that begins with these numbers; its files are made when it is first written.
    pub fn new(folder: &Path, first: u64, before: u64, fsync: bool, now: i64) -> Self {
        let path = folder.join(format!("{first:016x}-{before:016x}.chunks"));
        Self {
            first,
            before,
            left: 0,
            chunks: 0,
            oldest: now,
            newest: now,
            bytes: 0,
            path,
            fsync,
            database: None,
            receipts: None,
        }
    }

    /// The segment whose database has this name; `None` if it is no segment's.
    pub fn named(folder: &Path, name: &str, fsync: bool, now: i64) -> Option<Self> {
        let (first, before) = name.strip_suffix(".chunks")?.split_once('-')?;
        if first.len() != 16 || before.len() != 16 {
            return None;
        }
        let (first, before) = (u64::from_str_radix(first, 16).ok()?, u64::from_str_radix(before, 16).ok()?);
        if first.max(before) >= WILD {
            return None;
        }
        let segment = Self::new(folder, first, before, fsync, now);
        (segment.path.file_name()?.to_str()? == name).then_some(segment)
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes a chunk, and waits for the disk if it is to. All of it or nothing.
    pub fn append(&mut self, seq: u64, row: &Row) -> rusqlite::Result<()> {
        let (marks, body) = (row.chunk.marks_packed(), row.chunk.body());
        let (points, raw_len) = (row.chunk.points(), row.chunk.raw_len() as u64);
        let crc = checksum(&[seq, points, row.before, raw_len, row.at.cast_unsigned()], &[&marks, &body]);
        let database = self.open()?;
        database.execute(
            "insert into chunk (seq, points, before, raw_len, at, crc, marks, body) values (?, ?, ?, ?, ?, ?, ?, ?)",
            params![
                seq.cast_signed(),
                points.cast_signed(),
                row.before.cast_signed(),
                raw_len.cast_signed(),
                row.at,
                crc,
                marks,
                &body[..]
            ],
        )?;
        self.left += points;
        self.chunks += 1;
        self.newest = row.at;
        self.measure();
        Ok(())
    }

    /// Reads the chunk with this number.
    ///
    /// # Errors
    /// The file can't be read now and perhaps can later on.
    pub fn read(&mut self, seq: u64) -> rusqlite::Result<Found> {
        let sql = "select points, before, raw_len, at, crc, marks, body from chunk where seq = ?";
        let read = self.open().and_then(|database| {
            let row = |row: &rusqlite::Row<'_>| -> rusqlite::Result<_> {
                let number = |at: usize| row.get::<_, i64>(at).map(i64::cast_unsigned);
                let numbers = [seq, number(0)?, number(1)?, number(2)?, number(3)?];
                Ok((numbers, row.get::<_, u32>(4)?, row.get::<_, Vec<u8>>(5)?, row.get::<_, Vec<u8>>(6)?))
            };
            database.query_row(sql, [seq.cast_signed()], row).optional()
        });
        let (numbers, crc, marks, body) = match read {
            Ok(Some(read)) => read,
            Ok(None) => return Ok(Found::Damaged),
            Err(error) if is_damage(&error) => return Ok(Found::Damaged),
            Err(error) => return Err(error),
        };
        if checksum(&numbers, &[&marks, &body]) != crc {
            return Ok(Found::Damaged);
        }
        let [_, points, before, raw_len, at] = numbers;
        let raw_len = usize::try_from(raw_len).unwrap_or(usize::MAX);
        Ok(match Chunk::restored(body, &marks, raw_len).filter(|chunk| chunk.points() == points) {
            Some(chunk) => Found::Row(Box::new(Row { before, at: at.cast_signed(), chunk })),
            None => Found::Damaged,
        })
    }

    /// Number of the last chunk that can be read, and the points of all chunks up to it. Nothing is
    /// believed that has no checksum: what follows from it is where to write and how much is waited for.
    pub fn last(&mut self) -> rusqlite::Result<Option<(u64, u64)>> {
        let end = self.first.saturating_add(MAX_CHUNKS);
        let sql = "select seq from chunk where seq >= ? and seq < ? order by seq desc";
        let (first, limit) = (self.first.cast_signed(), end.cast_signed());
        let listed = self.open().and_then(|database| {
            let mut statement = database.prepare(sql)?;
            let seqs = statement.query_map([first, limit], |row| row.get::<_, i64>(0).map(i64::cast_unsigned))?;
            seqs.collect::<rusqlite::Result<Vec<u64>>>()
        });
        let seqs = match listed {
            Ok(seqs) => seqs,
            Err(error) if is_damage(&error) => (self.first..end).rev().collect(),
            Err(error) => return Err(error),
        };
        for seq in seqs {
            if let Found::Row(row) = self.read(seq)? {
                return Ok(Some((seq, row.before.saturating_add(row.chunk.points()))));
            }
        }
        Ok(None)
    }

    /// When its chunks were last written, ms since 1970.
    pub fn modified(&self) -> Option<i64> {
        let since = fs::metadata(&self.path).ok()?.modified().ok()?.duration_since(SystemTime::UNIX_EPOCH).ok()?;
        i64::try_from(since.as_millis()).ok()
    }

    /// Notes that a chunk is done with.
    pub fn receipt(&mut self, seq: u64, points: u64) -> io::Result<()> {
        self.left = self.left.saturating_sub(points);
        if self.receipts.is_none() {
            let file = OpenOptions::new().create(true).append(true).open(self.receipts_path())?;
            // A torn receipt must not shift those after it.
            let length = file.metadata()?.len();
            file.set_len(length - length % RECEIPT as u64)?;
            self.receipts = Some(file);
        }
        let Some(mut file) = self.receipts.take() else { return Ok(()) };
        let mut receipt = [0; RECEIPT];
        receipt[..8].copy_from_slice(&seq.to_le_bytes());
        receipt[8..16].copy_from_slice(&points.to_le_bytes());
        receipt[16..].copy_from_slice(&checksum(&[seq, points], &[]).to_le_bytes());
        file.write_all(&receipt)?;
        self.bytes += RECEIPT as u64;
        self.receipts = Some(file);
        Ok(())
    }

    /// The chunks that are done with, and their points. What is torn or spoiled is left out: those
    /// chunks are sent again.
    pub fn receipts(&self) -> io::Result<HashMap<u64, u64>> {
        let mut bytes = Vec::new();
        match File::open(self.receipts_path()) {
            Ok(file) => file.take(RECEIPTS).read_to_end(&mut bytes)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(HashMap::new()),
            Err(error) => return Err(error),
        };
        let receipt = |bytes: &[u8]| {
            let number = |at: usize| bytes.get(at..at + 8)?.try_into().ok().map(u64::from_le_bytes);
            let (seq, points) = (number(0)?, number(8)?);
            let crc = bytes.get(16..).and_then(|crc| crc.try_into().ok()).map(u32::from_le_bytes)?;
            (crc == checksum(&[seq, points], &[])).then_some((seq, points))
        };
        Ok(bytes.chunks_exact(RECEIPT).filter_map(receipt).collect())
    }

    /// Closes its files; they are opened again when they are needed.
    pub fn close(&mut self) {
        (self.database, self.receipts) = (None, None);
    }

    pub fn is_open(&self) -> bool {
        self.database.is_some()
    }

    /// Deletes its files.
    pub fn remove(mut self) -> io::Result<()> {
        self.close();
        for path in self.files() {
            match fs::remove_file(path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                removed => removed?,
            }
        }
        Ok(())
    }

    /// Looks up how long its files are.
    pub fn measure(&mut self) {
        self.bytes = self.files().iter().filter_map(|path| fs::metadata(path).ok()).map(|meta| meta.len()).sum();
    }

    fn files(&self) -> [PathBuf; 3] {
        let mut journal = self.path.clone().into_os_string();
        journal.push("-journal");
        // In this order: a database without its receipts would be sent again.
        [self.path.clone(), journal.into(), self.receipts_path()]
    }

    fn receipts_path(&self) -> PathBuf {
        self.path.with_extension("done")
    }

    fn open(&mut self) -> rusqlite::Result<&Connection> {
        let database = match self.database.take() {
            Some(database) => database,
            None => open(&self.path, self.fsync)?,
        };
        Ok(self.database.insert(database))
    }
}

/// Opens a database, and makes its tables if it is empty.
///
/// The journal is rolled back, not written ahead: what is written once and read once would go to
/// the disk twice with a write-ahead log. The schema counts as writable because else SQLite reads
/// nothing at all of a file that is shorter than it was.
fn open(path: &Path, fsync: bool) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let database = Connection::open_with_flags(path, flags)?;
    let synchronous = if fsync { "full" } else { "off" };
    database.execute_batch(&format!(
        "pragma writable_schema = on; pragma trusted_schema = off; pragma cell_size_check = on; pragma cache_size = -512; \
         pragma locking_mode = exclusive; pragma journal_mode = truncate; pragma synchronous = {synchronous};"
    ))?;
    if database.query_row("pragma application_id", [], |row| row.get::<_, i64>(0))? == 0 {
        database.execute_batch(&format!(
            "begin; pragma application_id = {APPLICATION}; pragma user_version = {VERSION}; \
             create table if not exists chunk (seq integer primary key, points integer not null, \
             before integer not null, raw_len integer not null, at integer not null, crc integer not null, \
             marks blob not null, body blob not null); commit;"
        ))?;
    }
    Ok(database)
}

/// Whether the file, and not the moment, is at fault.
pub(super) fn is_damage(error: &rusqlite::Error) -> bool {
    match error {
        rusqlite::Error::SqliteFailure(failure, _) => matches!(
            failure.code,
            ErrorCode::DatabaseCorrupt
                | ErrorCode::NotADatabase
                | ErrorCode::TooBig
                | ErrorCode::TypeMismatch
                // A table that isn't there any more.
                | ErrorCode::Unknown
        ),
        _ => true,
    }
}

fn checksum(numbers: &[u64], parts: &[&[u8]]) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    for number in numbers {
        crc.update(&number.to_le_bytes());
    }
    for part in parts {
        crc.update(part);
    }
    crc.finalize()
}
