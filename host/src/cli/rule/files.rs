//! Files that the verbs read, each with a bound, and errors that name them.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use super::console::Fail;
use crate::rules::component::MAX_FILE_BYTES;
use crate::rules::directory::form::Form;

/// Reads a regular file of at most `most` bytes.
pub(super) fn read(path: &Path, most: usize) -> Result<Vec<u8>, Fail> {
    let refused = |what: &dyn std::fmt::Display| Fail::input(format!("{}: {what}", path.display()));
    let found = fs::metadata(path).map_err(|error| refused(&error))?;
    if found.is_dir() {
        return Err(refused(&"is a folder; name a file"));
    }
    if !found.is_file() {
        return Err(refused(&"is no regular file"));
    }
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(|error| refused(&error))?;
    file.take(most as u64 + 1).read_to_end(&mut bytes).map_err(|error| refused(&error))?;
    if bytes.len() > most {
        return Err(refused(&format!("is larger than {} MiB", most >> 20)));
    }
    Ok(bytes)
}

/// The same, as text.
pub(super) fn read_text(path: &Path, most: usize) -> Result<String, Fail> {
    String::from_utf8(read(path, most)?).map_err(|_| Fail::input(format!("{}: is not UTF-8", path.display())))
}

/// A rule's file, unpacked if it is a `.wasm.gz` or `.wasm.zst`.
pub(super) fn read_wasm(path: &Path) -> Result<Vec<u8>, Fail> {
    if path.is_dir() {
        let remedy = "is a folder; name the .wasm file that `millrace rule build` writes into it";
        return Err(Fail::input(format!("{}: {remedy}", path.display())));
    }
    let bytes = read(path, MAX_FILE_BYTES)?;
    let form = Form::of(&path.to_string_lossy()).map_or(Form::Plain, |(_, form)| form);
    form.unpack(bytes, MAX_FILE_BYTES).map_err(|what| Fail::input(format!("{}: {what}", path.display())))
}

/// The name under which a file is written until it is whole. What a rename would replace must be a
/// regular file: no device, no pipe, no folder.
pub(super) fn half(path: &Path) -> Result<PathBuf, Fail> {
    if fs::metadata(path).is_ok_and(|found| !found.is_file()) {
        return Err(Fail::input(format!("{}: can't be written: it is no regular file", path.display())));
    }
    let mut half = path.as_os_str().to_owned();
    half.push(".new");
    Ok(half.into())
}

/// Writes a file whole or not at all: a running Millrace may be watching the folder.
pub(super) fn write(path: &Path, bytes: &[u8]) -> Result<(), Fail> {
    let refused = |error: std::io::Error| Fail::input(format!("{}: can't be written: {error}", path.display()));
    let half = half(path)?;
    fs::write(&half, bytes).and_then(|()| fs::rename(&half, path)).map_err(refused)
}

/// A name from a file's: without folder and extension, of a packed rule without both.
pub(super) fn stem(path: &Path) -> String {
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
    if let Some((stem, _)) = name.as_deref().and_then(Form::of) {
        return stem.to_owned();
    }
    path.file_stem().map_or_else(|| "rule".to_owned(), |stem| stem.to_string_lossy().into_owned())
}
