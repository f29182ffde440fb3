//! The spool's disk: one of its own that can be full, and files that are spoiled.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

use rand::rngs::SmallRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};

use super::plan::Damage;

/// A file system in memory of a given size. It is unmounted when this goes out of scope.
pub struct Disk(PathBuf);

impl Disk {
    /// Mounts one.
    ///
    /// # Errors
    /// Only root may.
    pub fn mount(at: &Path, kib: u64) -> io::Result<Self> {
        let size = format!("size={kib}k");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", &size, "millrace"]).arg(at).output()?;
        match mounted.status.success() {
            true => Ok(Self(at.to_owned())),
            false => Err(io::Error::other(String::from_utf8_lossy(&mounted.stderr).trim().to_owned())),
        }
    }

    /// Takes all the room that there is.
    pub fn fill(&self) {
        if let Ok(mut file) = File::create(self.0.join("ballast")) {
            while file.write_all(&[7; 4096]).is_ok() {}
        }
    }

    /// Gives it back.
    pub fn empty(&self) {
        _ = fs::remove_file(self.0.join("ballast"));
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        _ = Command::new("umount").arg("-l").arg(&self.0).output();
    }
}

/// Spoils one file of a spool that nobody uses, as a disk would.
pub fn spoil(folder: &Path, damage: Damage, seed: u64) {
    let mut random = SmallRng::seed_from_u64(seed);
    let Ok(entries) = fs::read_dir(folder) else { return };
    let mut files: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    files
        .retain(|path| path.extension().is_some_and(|end| end == "chunks" || end == "done") || path.ends_with("state"));
    files.sort();
    let Some(path) = files.choose(&mut random) else { return };
    let Ok(mut bytes) = fs::read(path) else { return };
    if bytes.is_empty() {
        return;
    }
    match damage {
        Damage::None => return,
        Damage::Truncate(thousandths) => {
            let cut = (bytes.len() * thousandths as usize).div_ceil(1000);
            bytes.truncate(bytes.len() - cut);
        }
        Damage::Flip(bits) => {
            for _ in 0..bits {
                let at = random.random_range(0..bytes.len());
                bytes[at] ^= 1 << random.random_range(0..8);
            }
        }
    }
    _ = fs::write(path, bytes);
}
