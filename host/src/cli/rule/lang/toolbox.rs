//! Tools that are fetched from a package registry once, and what they built: both in the user's cache
//! folder, never in a project. Nothing is fetched but the versions that stand in this program.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::SystemTime;

use sha2::{Digest as _, Sha256};

use super::RuleToml;
use crate::cli::rule::console::{Console, Fail, tamed};
use crate::cli::rule::files;

/// Results that are kept; each has 12 to 18 MB.
const KEPT_RESULTS: usize = 20;
/// Largest result, bytes.
const RESULT_BYTES: usize = 256 << 20;
/// Files of one rule's sources, and their bytes in all.
const SOURCE_FILES: usize = 1000;
const SOURCE_BYTES: usize = 16 << 20;
/// Lines of a tool's message that are shown.
const SHOWN_LINES: usize = 30;
/// Folders of a project that hold no sources.
const NO_SOURCES: [&str; 6] = ["target", "cases", "node_modules", "__pycache__", "venv", "wit"];
/// The contract, as the project has it.
const WIT: &str = "wit/rule.wit";

/// A compiler that a registry has.
pub(super) struct Tool {
    /// Name and version.
    pub name: &'static str,
    /// Where it comes from, for people.
    pub registry: &'static str,
    /// Files that stand in its folder before it is fetched.
    pub files: &'static [(&'static str, &'static str)],
    /// Fetches it into a folder.
    pub fetch: fn(&Path) -> Result<Command, Fail>,
    /// Makes a component: from the tool's folder, the folder of the sources, the contract; to a file.
    pub compile: fn(&Path, &Path, &Path, &Path) -> Command,
    /// Extensions of sources.
    pub sources: &'static [&'static str],
    /// The file that tells the sources the rule's name and version.
    pub about: fn(&RuleToml) -> (&'static str, String),
}

impl Tool {
    /// Builds the rule in `dir`, or takes what was built of the same sources before.
    pub(super) fn build(&self, dir: &Path, about: &RuleToml, console: &Console) -> Result<Vec<u8>, Fail> {
        let wit = files::read(&dir.join(WIT), 1 << 20)?;
        let mut sources = sources(dir, self.sources)?;
        let (path, text) = (self.about)(about);
        sources.retain(|(other, _)| other != Path::new(path));
        sources.push((PathBuf::from(path), text.into_bytes()));
        let built = cache()?.join("built");
        let kept = built.join(format!("{}.wasm", self.key(&wit, &sources)));
        // One build at a time: the next one may be of the same sources.
        let _lock = lock(&built, console, "another build")?;
        if let Ok(wasm) = files::read(&kept, RESULT_BYTES) {
            // What was used last is kept longest; if its time can't be set, that is all that is lost.
            let _ = File::options().append(true).open(&kept).and_then(|file| file.set_modified(SystemTime::now()));
            console.note(format!("nothing changed since it was built with {}", self.name));
            return Ok(wasm);
        }
        let tool = self.fetched(console)?;
        let wasm = self.compiled(&tool, dir, &wit, &sources, console)?;
        files::write(&kept, &wasm)?;
        prune(&built);
        Ok(wasm)
    }

    /// Whether it is here, or could be fetched: what a project's author should know.
    pub(super) fn missing(&self) -> Option<String> {
        let place = cache().map(|cache| self.place(&cache));
        match place.and_then(|place| if place.is_dir() { Ok(()) } else { (self.fetch)(&place).map(drop) }) {
            Ok(()) => None,
            Err(fail) => Some(format!("building it will fail: {}", fail.text())),
        }
    }

    fn place(&self, cache: &Path) -> PathBuf {
        let digest = digest(self.files.iter().flat_map(|(name, text)| [name.as_bytes(), text.as_bytes()]));
        cache.join("tools").join(format!("{}-{}", self.name, &digest[..8]))
    }

    /// The folder of the tool, fetched if it isn't there.
    fn fetched(&self, console: &Console) -> Result<PathBuf, Fail> {
        let place = self.place(&cache()?);
        if place.is_dir() {
            return Ok(place);
        }
        let half = place.with_file_name(format!("{}.new", self.name));
        let _lock = lock(half.parent().unwrap_or(&half), console, "another fetch")?;
        if place.is_dir() {
            return Ok(place);
        }
        let refused = |error: io::Error| Fail::input(format!("{}: {error}", half.display()));
        // What a fetch left that was interrupted.
        if half.exists() {
            fs::remove_dir_all(&half).map_err(refused)?;
        }
        fs::create_dir_all(&half).map_err(refused)?;
        self.files.iter().try_for_each(|(name, text)| fs::write(half.join(name), text)).map_err(refused)?;
        let mut command = (self.fetch)(&half)?;
        console.note(format!("fetching {} from {}, once, into {}", self.name, self.registry, place.display()));
        let progress = console.progress(format!("fetching {}", self.name));
        let done = command.stdin(Stdio::null()).output().map_err(refused)?;
        drop(progress);
        if !done.status.success() {
            return Err(Fail::input(format!(
                "{} can't be fetched from {}:\n{}\nWhere the registry is not reached, copy {} from a machine of \
                 the same kind where it is",
                self.name,
                self.registry,
                last_lines(&done.stderr),
                place.display()
            )));
        }
        fs::rename(&half, &place).map_err(refused)?;
        Ok(place)
    }

    fn compiled(
        &self,
        tool: &Path,
        dir: &Path,
        wit: &[u8],
        sources: &[(PathBuf, Vec<u8>)],
        console: &Console,
    ) -> Result<Vec<u8>, Fail> {
        let stage = std::path::absolute(dir.join("target/stage")).map_err(Fail::input)?;
        let refused = |error: io::Error| Fail::input(format!("{}: {error}", stage.display()));
        if stage.exists() {
            fs::remove_dir_all(&stage).map_err(refused)?;
        }
        let folder = stage.join("sources");
        for (path, bytes) in sources {
            let path = folder.join(path);
            let parent = path.parent().unwrap_or(&folder);
            fs::create_dir_all(parent).and_then(|()| fs::write(&path, bytes)).map_err(refused)?;
        }
        let (contract, out) = (stage.join("rule.wit"), stage.join("rule.wasm"));
        fs::write(&contract, wit).map_err(refused)?;
        let progress = console.progress(format!("{} is building", self.name));
        let mut command = (self.compile)(tool, &folder, &contract, &out);
        // A tool that is written in Rust would follow the author's mistake by its own stack.
        command.env("RUST_BACKTRACE", "0");
        let done = command.current_dir(&folder).stdin(Stdio::null()).output().map_err(refused)?;
        drop(progress);
        if !done.status.success() {
            let message = [done.stdout, done.stderr].concat();
            return Err(Fail::rule(format!("{} failed:\n{}", self.name, last_lines(&message))));
        }
        let wasm = files::read(&out, RESULT_BYTES)?;
        fs::remove_dir_all(&stage).map_err(refused)?;
        Ok(wasm)
    }

    /// What a result depends on.
    fn key(&self, wit: &[u8], sources: &[(PathBuf, Vec<u8>)]) -> String {
        let tool = self.files.iter().flat_map(|(name, text)| [name.as_bytes(), text.as_bytes()]);
        let sources = sources.iter().flat_map(|(path, bytes)| [path.as_os_str().as_encoded_bytes(), bytes.as_slice()]);
        digest([self.name.as_bytes(), wit].into_iter().chain(tool).chain(sources))
    }
}

/// The first version number that a program says of itself.
pub(super) fn version_of(program: &Path) -> Option<(u32, u32)> {
    let said = Command::new(program).arg("--version").stdin(Stdio::null()).output().ok()?;
    let text = String::from_utf8_lossy(&said.stdout).into_owned();
    let start = text.find(|c: char| c.is_ascii_digit())?;
    let mut numbers = text[start..].split(|c: char| !c.is_ascii_digit()).map_while(|number| number.parse().ok());
    Some((numbers.next()?, numbers.next()?))
}

/// This user's cache folder of Millrace.
fn cache() -> Result<PathBuf, Fail> {
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    set("XDG_CACHE_HOME")
        .or_else(|| set("HOME").map(|home| home.join(".cache")))
        .filter(|folder| folder.is_absolute())
        .map(|folder| folder.join("millrace"))
        .ok_or_else(|| Fail::input("there is no place for tools: set HOME, or XDG_CACHE_HOME to an absolute path"))
}

/// Waits until nobody else is at work in a folder.
fn lock(folder: &Path, console: &Console, whom: &str) -> Result<File, Fail> {
    let path = folder.join(".lock");
    let taken = fs::create_dir_all(folder).and_then(|()| File::create(&path)).and_then(|file| {
        let _progress = console.progress(format!("waiting for {whom}"));
        file.lock().map(|()| file)
    });
    taken.map_err(|error| Fail::input(format!("{}: {error}", path.display())))
}

/// Keeps the results that were used last.
fn prune(folder: &Path) {
    let entries = fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok);
    let mut results: Vec<(SystemTime, PathBuf)> = entries
        .filter(|entry| entry.path().extension().is_some_and(|extension| extension == "wasm"))
        .filter_map(|entry| Some((entry.metadata().ok()?.modified().ok()?, entry.path())))
        .collect();
    results.sort_unstable_by(|a, b| b.cmp(a));
    // What can't be removed is tried again after the next build.
    results.iter().skip(KEPT_RESULTS).for_each(|(_, path)| drop(fs::remove_file(path)));
}

/// The sources below a folder, by path, in order.
fn sources(dir: &Path, extensions: &[&str]) -> Result<Vec<(PathBuf, Vec<u8>)>, Fail> {
    let mut found = Vec::new();
    let (mut folders, mut bytes) = (vec![PathBuf::new()], 0);
    while let Some(folder) = folders.pop() {
        let here = dir.join(&folder);
        let entries = fs::read_dir(&here).map_err(|error| Fail::input(format!("{}: {error}", here.display())))?;
        for entry in entries.filter_map(Result::ok) {
            let (name, path) = (entry.file_name(), folder.join(entry.file_name()));
            let text = name.to_string_lossy();
            if text.starts_with('.') || NO_SOURCES.contains(&&*text) {
                continue;
            }
            let kind = entry.file_type().map_err(Fail::input)?;
            if kind.is_dir() {
                folders.push(path);
            } else if extensions.iter().any(|extension| path.extension().is_some_and(|it| it == *extension)) {
                let source = files::read(&dir.join(&path), SOURCE_BYTES)?;
                bytes += source.len();
                found.push((path, source));
            }
            if found.len() > SOURCE_FILES || folders.len() > SOURCE_FILES || bytes > SOURCE_BYTES {
                return Err(Fail::rule(format!(
                    "{}: more sources than {SOURCE_FILES} files or {} MiB",
                    dir.display(),
                    SOURCE_BYTES >> 20
                )));
            }
        }
    }
    found.sort();
    Ok(found)
}

/// SHA-256 of pieces, each with its length.
fn digest<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> String {
    let mut hash = Sha256::new();
    for piece in pieces {
        hash.update((piece.len() as u64).to_le_bytes());
        hash.update(piece);
    }
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

fn last_lines(message: &[u8]) -> String {
    let text = String::from_utf8_lossy(message);
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    tamed(&lines[lines.len().saturating_sub(SHOWN_LINES)..].join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_are_found_without_what_tools_left() {
        let dir = tempfile::tempdir().unwrap();
        for path in ["rule.js", "lib/a.js", "target/stage/b.js", "node_modules/x/c.js", ".git/d.js", "README.md"] {
            let path = dir.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "1").unwrap();
        }
        let found = sources(dir.path(), &["js"]).unwrap();
        let paths: Vec<_> = found.iter().map(|(path, _)| path.to_str().unwrap()).collect();
        assert_eq!(paths, ["lib/a.js", "rule.js"]);
    }

    #[test]
    fn pieces_that_are_cut_elsewhere_have_another_digest() {
        let digest = |pieces: &[&str]| digest(pieces.iter().map(|piece| piece.as_bytes()));
        assert_ne!(digest(&["ab", "c"]), digest(&["a", "bc"]));
        assert_eq!(digest(&["ab", "c"]), digest(&["ab", "c"]));
    }

    #[test]
    fn a_message_is_shown_by_its_end() {
        let message: String = (0..100).map(|line| format!("line {line}\n\n")).collect();
        let shown = last_lines(message.as_bytes());
        assert!(shown.starts_with("line 70\n") && shown.ends_with("line 99"), "{shown}");
    }
}
