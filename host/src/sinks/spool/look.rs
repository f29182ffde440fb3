//! A spool, looked at from outside: whether it could be opened. Nothing of it is made or changed.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use super::{SpoolConfig, SpoolError};
use crate::finding::{Finding, Status};
use crate::text::tame;

/// Of a kind's name, bytes.
const KIND_BYTES: usize = 100;

/// Whether the spool of a sink called `name` can be used.
pub(crate) fn diagnose(name: &str, config: &SpoolConfig, kind: &str) -> Finding {
    let check = "sinks.spool";
    match look(config, kind) {
        Ok(Look::InUse) => {
            let says = format!(
                "the spool {} is in use by another process, as it should be where that is the Millrace this one is \
                 run beside",
                config.directory.join(kind).display()
            );
            Finding::note(check, name, &says)
        }
        Ok(Look::Free(bytes)) => {
            let says =
                format!("the spool {} can be written, and holds {bytes} bytes", config.directory.join(kind).display());
            Finding::ok(check, name, &says).fact("bytes", bytes)
        }
        Err(error) => Finding::of_sentence(check, name, Status::Failure, &error.to_string()),
    }
}

enum Look {
    InUse,
    /// Length of what is in it, bytes.
    Free(u64),
}

fn look(config: &SpoolConfig, kind: &str) -> Result<Look, SpoolError> {
    let folder = config.directory.join(kind);
    let unusable = |source| SpoolError::Folder { path: folder.clone(), source };
    let there = existing(&folder).map_err(unusable)?;
    try_file(&there).map_err(unusable)?;
    if there != folder {
        return Ok(Look::Free(0));
    }
    if let Ok(found) = fs::read_to_string(folder.join("sink"))
        && !found.trim().is_empty()
        && found.trim() != kind
    {
        let found = tame(found.trim(), KIND_BYTES);
        return Err(SpoolError::Foreign { path: folder, found, wanted: kind.to_owned() });
    }
    if is_locked(&folder.join("state")).map_err(unusable)? {
        return Ok(Look::InUse);
    }
    let files = fs::read_dir(&folder).map_err(unusable)?.flatten().filter_map(|entry| entry.metadata().ok());
    Ok(Look::Free(files.filter(fs::Metadata::is_file).map(|file| file.len()).sum()))
}

/// The folder, or the one above it in which it would be made.
fn existing(folder: &Path) -> io::Result<PathBuf> {
    for path in folder.ancestors().filter(|path| !path.as_os_str().is_empty()) {
        match fs::metadata(path) {
            Ok(found) if found.is_dir() => return Ok(path.to_owned()),
            Ok(_) => return Err(io::ErrorKind::NotADirectory.into()),
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(PathBuf::from("."))
}

/// Makes a file and takes it away again.
fn try_file(folder: &Path) -> io::Result<()> {
    let path = folder.join(format!(".millrace-doctor-{}", std::process::id()));
    File::create_new(&path)?;
    fs::remove_file(path)
}

fn is_locked(state: &Path) -> io::Result<bool> {
    let file = match OpenOptions::new().read(true).write(true).open(state) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error),
    };
    // Let go of at once, when the file is closed.
    match file.try_lock() {
        Ok(()) => Ok(false),
        Err(TryLockError::WouldBlock) => Ok(true),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sinks::Spool;

    #[test]
    fn a_spool_is_looked_at_without_a_trace() {
        let folder = tempfile::tempdir().unwrap();
        let config = SpoolConfig::at(folder.path().join("deep/er"));
        let status = |kind| diagnose("sink", &config, kind).status;
        assert_eq!(status("influxdb"), Status::Ok);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
        let spool = Spool::open(&config, "influxdb").unwrap();
        assert_eq!(status("influxdb"), Status::Note);
        drop(spool);
        assert_eq!(status("influxdb"), Status::Ok);
        assert!(Spool::open(&config, "influxdb").is_ok(), "it can be opened as before");
        fs::write(config.directory.join("influxdb/sink"), "kafka").unwrap();
        let foreign = diagnose("sink", &config, "influxdb");
        assert_eq!(foreign.status, Status::Failure);
        assert!(foreign.says.contains("`kafka`"), "{}", foreign.says);
        fs::write(folder.path().join("file"), "").unwrap();
        for below in ["file", "file/er", "file/er/still"] {
            let inside = SpoolConfig::at(folder.path().join(below));
            assert_eq!(diagnose("sink", &inside, "influxdb").status, Status::Failure, "{below}");
        }
        let inside = SpoolConfig::at("/proc/nowhere".into());
        assert_eq!(diagnose("sink", &inside, "influxdb").status, Status::Failure);
    }
}
