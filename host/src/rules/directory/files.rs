//! One directory's files as they lay there together, at one moment.
//!
//! Kubernetes swaps a volume's `..data` as a whole, from one folder to the next: the files are read
//! through the folder that it points to, never through the links that users see, and again if it
//! points elsewhere afterwards. A plain directory has no such moment: it is read again until nothing
//! in it changed meanwhile. What the files mean is not decided here.

use std::fs::{self, File, Metadata};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// Files of one directory.
const MAX_FILES: usize = 1000;
/// How often a directory that changes meanwhile is read again.
const TRIES: u32 = 20;
/// Tries without a pause: a swap takes microseconds.
const AT_ONCE: u32 = 3;
/// How much longer each pause is than the one before.
const PAUSE: Duration = Duration::from_millis(5);
/// A plain directory's file that changed so short a time ago may have changed again unseen: file
/// systems tell the time by the kernel's tick.
const TICK: Duration = Duration::from_millis(20);

/// A file of a directory.
#[derive(Debug)]
pub(super) struct Found {
    pub name: String,
    pub path: PathBuf,
    /// None: nobody wanted it.
    pub bytes: Option<Result<Vec<u8>, String>>,
}

/// What a directory looks like from outside: differs when its files do. Reads no contents.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fingerprint {
    /// Where `..data` points to.
    data: Option<PathBuf>,
    files: Result<Vec<Stamp>, io::ErrorKind>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Stamp {
    name: String,
    /// `None`: a link to nowhere.
    is: Option<(u64, Option<SystemTime>, Identity)>,
}

impl Fingerprint {
    /// Looks at a directory, or at the folder that its `..data` points to. One that can't be read
    /// has a fingerprint too.
    #[must_use]
    pub fn of(dir: &Path) -> Self {
        let data = fs::read_link(dir.join("..data")).ok();
        let folder = folder(dir, data.as_deref());
        let files = list(&folder).map_err(|error| error.kind());
        let files = files.map(|names| names.into_iter().map(|name| Stamp::of(&folder, name)).collect());
        Self { data, files }
    }

    /// Whether a file may change once more without another fingerprint.
    fn is_fresh(&self) -> bool {
        let changed = |stamp: &Stamp| stamp.is?.1?.elapsed().ok();
        let is_young = |stamp: &Stamp| changed(stamp).is_some_and(|age| age < TICK);
        self.data.is_none() && self.files.as_ref().is_ok_and(|files| files.iter().any(is_young))
    }
}

impl Stamp {
    fn of(folder: &Path, name: String) -> Self {
        let is = fs::metadata(folder.join(&name)).ok();
        let is = is.map(|is| (is.len(), is.modified().ok(), identity(&is)));
        Self { name, is }
    }
}

/// Reads those files of a directory that `wanted` gives a number of bytes, its most, and at most
/// `room` bytes in all. Names that begin with a dot do not exist.
///
/// # Errors
/// What is wrong, to stand behind the directory's name.
pub(super) fn read(dir: &Path, room: usize, wanted: impl Fn(&str) -> Option<usize>) -> Result<Vec<Found>, String> {
    for tried in 1..=TRIES {
        let before = Fingerprint::of(dir);
        let found = read_once(dir, &before, room, &wanted);
        if before == Fingerprint::of(dir) && !before.is_fresh() {
            return found.map_err(|error| format!("can't be read: {error}; make the directory, or leave it out"));
        }
        std::thread::sleep(PAUSE * tried.saturating_sub(AT_ONCE));
    }
    Err("changes faster than it can be read; write files under names that begin with a dot, and rename them".to_owned())
}

fn read_once(
    dir: &Path,
    seen: &Fingerprint,
    mut room: usize,
    wanted: &impl Fn(&str) -> Option<usize>,
) -> io::Result<Vec<Found>> {
    let folder = folder(dir, seen.data.as_deref());
    let mut found = Vec::new();
    for name in list(&folder)? {
        let path = folder.join(&name);
        let bytes = wanted(&name).map(|most| {
            let bytes = read_file(&path, most, room).map_err(|error| format!("can't be read: {error}"))?;
            room -= bytes.len();
            Ok(bytes)
        });
        found.push(Found { name, path, bytes });
    }
    Ok(found)
}

fn folder(dir: &Path, data: Option<&Path>) -> PathBuf {
    data.map_or_else(|| dir.to_owned(), |data| dir.join(data))
}

fn list(folder: &Path) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder)? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if !name.starts_with('.') {
            names.push(name);
        }
        if names.len() > MAX_FILES {
            return Err(io::Error::other(format!("it has more than {MAX_FILES} files")));
        }
    }
    names.sort();
    Ok(names)
}

/// Opens whatever bears the name now, without waiting for somebody at the other end of a pipe.
#[cfg(target_os = "linux")]
fn open(path: &Path) -> io::Result<File> {
    /// Linux's, on all its machines that wasmtime runs on.
    const O_NONBLOCK: i32 = 0o4000;
    std::os::unix::fs::OpenOptionsExt::custom_flags(File::options().read(true), O_NONBLOCK).open(path)
}

#[cfg(not(target_os = "linux"))]
fn open(path: &Path) -> io::Result<File> {
    File::open(path)
}

/// Reads a regular file.
fn read_file(path: &Path, most: usize, room: usize) -> io::Result<Vec<u8>> {
    let refused = |what: String| io::Error::new(io::ErrorKind::InvalidData, what);
    let file = open(path)?;
    if !file.metadata()?.is_file() {
        return Err(refused("it is no regular file".to_owned()));
    }
    let mut bytes = Vec::new();
    file.take(most.min(room) as u64 + 1).read_to_end(&mut bytes)?;
    if bytes.len() > most {
        return Err(refused(format!("it is larger than {} MiB", most >> 20)));
    }
    if bytes.len() > room {
        return Err(refused("the directories' files are too large together".to_owned()));
    }
    Ok(bytes)
}

/// Inode and time of its last change, which nobody can set back as that of the content.
type Identity = (u64, i64, i64);

#[cfg(unix)]
fn identity(is: &Metadata) -> Identity {
    use std::os::unix::fs::MetadataExt;
    (is.ino(), is.ctime(), is.ctime_nsec())
}

#[cfg(not(unix))]
fn identity(_: &Metadata) -> Identity {
    (0, 0, 0)
}
