//! Reads the set of rules from its directories: the bundled ones, then the user's.
//!
//! Reads files and nothing else; [`super::Chain::start`] compiles what is found. All problems of
//! all files are reported at once.

use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use super::Problem;
use super::component::{Digest, MAX_FILE_BYTES};
use super::manifest::{HEAPSTER, Manifest};

/// Largest file that fits a ConfigMap, bytes.
const CONFIG_MAP_BYTES: usize = 1 << 20;
/// Largest manifest, bytes.
const MAX_MANIFEST_BYTES: usize = 1 << 20;
/// Rules in one chain.
const MAX_RULES: usize = 64;
/// Longest file name, bytes.
const MAX_NAME_BYTES: usize = 100;

/// Where rules are looked for.
#[derive(Debug, Clone, Default)]
pub struct RuleSources {
    /// The directory of the bundled rules, if the user names one.
    pub bundled: Option<PathBuf>,
    /// The user's directories; of two files with one name the later directory's counts.
    pub dirs: Vec<PathBuf>,
    /// Settings of the heapster rule that flags gave; what its manifest says goes first.
    pub heapster: Map<String, Value>,
}

/// A rule as it was read.
#[derive(Debug, Clone)]
pub struct RuleFile {
    /// Its name in logs, metrics and totals: the file's without number and extension.
    pub name: String,
    /// Its file name, such as `50-heapster.wasm`; the chain's order.
    pub slot: String,
    /// Where it was read.
    pub path: PathBuf,
    /// The file.
    pub bytes: Vec<u8>,
    /// Its settings, with all defaults.
    pub manifest: Manifest,
}

/// All rules in order.
#[derive(Debug, Clone, Default)]
pub struct RuleSet {
    /// The rules in file-name order.
    pub files: Vec<RuleFile>,
    /// What the operator should know.
    pub warnings: Vec<String>,
}

impl RuleSources {
    /// Reads every rule. `executable` is where this program lies; the bundled rules are looked for
    /// from there.
    ///
    /// # Errors
    /// Every [`Problem`] found.
    pub fn read(&self, executable: &Path) -> Result<RuleSet, Vec<Problem>> {
        let mut reading = Reading::default();
        let places = bundled_places(self.bundled.as_deref(), executable);
        let bundled = places.iter().find(|place| place.is_dir());
        for dir in bundled.into_iter().chain(&self.dirs) {
            reading.directory(dir);
        }
        if !reading.slots.contains_key(HEAPSTER) {
            reading.problems.push(Problem::new(
                bundled.unwrap_or(&places[0]).join(HEAPSTER).display(),
                "is not there; build it with `make rules`, name its directory with \
                 --bundled-rules, or leave it out by an empty file of that name in a rule directory",
            ));
        }
        reading.set(&self.heapster)
    }
}

/// Where the bundled rules are looked for: the directory that the user names, or from where this
/// program lies.
#[must_use]
pub fn bundled_places(named: Option<&Path>, executable: &Path) -> Vec<PathBuf> {
    if let Some(dir) = named {
        return vec![dir.to_owned()];
    }
    let folder = executable.parent().unwrap_or(Path::new("."));
    let above = folder.parent().unwrap_or(Path::new(".."));
    vec![above.join("rules"), above.join("share/millrace/rules")]
}

/// One file name of the chain, as the directories read so far say.
#[derive(Debug, Default)]
struct Slot {
    /// None: an empty file left it out.
    wasm: Option<(PathBuf, Vec<u8>)>,
    manifest: Option<(PathBuf, String)>,
}

#[derive(Debug, Default)]
struct Reading {
    slots: BTreeMap<String, Slot>,
    problems: Vec<Problem>,
    warnings: Vec<String>,
}

impl Reading {
    fn directory(&mut self, dir: &Path) {
        let names = match list(dir) {
            Ok(names) => names,
            Err(error) => {
                let what = format!("can't be read: {error}; make the directory, or leave it out");
                return self.problems.push(Problem::new(dir.display(), what));
            }
        };
        // Rules first: a manifest may stand beside a rule of an earlier directory.
        for (stem, path) in with_extension(&names, "wasm") {
            if let Some(bytes) = self.file(path, MAX_FILE_BYTES) {
                let wasm = (!bytes.is_empty()).then(|| (path.clone(), bytes));
                let slot = Slot { wasm, manifest: None };
                if is_name(stem) {
                    self.slots.insert(format!("{stem}.wasm"), slot);
                } else {
                    let what = format!(
                        "has a name that is no rule's; use at most {MAX_NAME_BYTES} of the characters a-z A-Z 0-9 . _ -"
                    );
                    self.problems.push(Problem::new(path.display(), what));
                }
            }
        }
        for (stem, path) in with_extension(&names, "toml") {
            if let Some(bytes) = self.file(path, MAX_MANIFEST_BYTES) {
                self.manifest(stem, path, bytes);
            }
        }
        for (name, path) in &names {
            if !name.ends_with(".wasm") && !name.ends_with(".toml") {
                self.warnings.push(format!("{}: is neither .wasm nor .toml and is ignored", path.display()));
            }
        }
    }

    fn manifest(&mut self, stem: &str, path: &Path, bytes: Vec<u8>) {
        let what = match (self.slots.get_mut(&format!("{stem}.wasm")), String::from_utf8(bytes)) {
            (_, Err(_)) => "is not UTF-8; write it anew".to_owned(),
            (None, _) => format!("stands beside no {stem}.wasm; rename or remove it"),
            (Some(slot), Ok(text)) => {
                slot.manifest = Some((path.to_owned(), text));
                return;
            }
        };
        self.problems.push(Problem::new(path.display(), what));
    }

    fn file(&mut self, path: &Path, most: usize) -> Option<Vec<u8>> {
        match read(path, most) {
            Ok(bytes) => Some(bytes),
            Err(error) => {
                let what = format!("can't be read: {error}");
                self.problems.push(Problem::new(path.display(), what));
                None
            }
        }
    }

    fn set(mut self, heapster: &Map<String, Value>) -> Result<RuleSet, Vec<Problem>> {
        let mut files = Vec::new();
        for (slot, Slot { wasm, manifest }) in std::mem::take(&mut self.slots) {
            let Some((path, bytes)) = wasm else {
                let more =
                    if slot == HEAPSTER && !heapster.is_empty() { ", and its settings have no effect" } else { "" };
                self.warnings.push(format!("{slot} is left out by an empty file: no rule runs in its place{more}"));
                continue;
            };
            let mut defaults = Manifest::default_of(&slot);
            if slot == HEAPSTER {
                defaults.settings.clone_from(heapster);
            }
            if bytes.len() > CONFIG_MAP_BYTES {
                let (path, size) = (path.display(), bytes.len() >> 10);
                self.warnings.push(format!("{path}: is {size} KiB; no ConfigMap holds over 1 MiB"));
            }
            if let Some(manifest) = self.checked(defaults, manifest, &bytes) {
                let name = String::new();
                files.push(RuleFile { name, slot, path, bytes, manifest });
            }
        }
        name_all(&mut files);
        if files.len() > MAX_RULES {
            let what = format!("are {} rules, more than {MAX_RULES}; make one of several", files.len());
            self.problems.push(Problem::new("the rule directories", what));
        }
        if self.problems.is_empty() { Ok(RuleSet { files, warnings: self.warnings }) } else { Err(self.problems) }
    }

    fn checked(&mut self, defaults: Manifest, manifest: Option<(PathBuf, String)>, bytes: &[u8]) -> Option<Manifest> {
        let Some((path, text)) = manifest else {
            return Some(defaults);
        };
        let manifest = match defaults.read(&text) {
            Ok(manifest) => manifest,
            Err(problems) => {
                let named = problems.iter().map(|what| Problem::new(path.display(), what));
                self.problems.extend(named);
                return None;
            }
        };
        let digest = Digest::of(bytes);
        if manifest.digest.is_some_and(|wanted| wanted != digest) {
            let what = format!("`digest` does not match: the .wasm file has {digest}");
            self.problems.push(Problem::new(path.display(), what));
        }
        Some(manifest)
    }
}

/// The directory's files by name. Kubernetes swaps a volume's `..data` as a whole: reading through
/// the folder that it points to gives the files of one version.
fn list(dir: &Path) -> io::Result<Vec<(String, PathBuf)>> {
    let data = dir.join("..data");
    let dir = if data.is_dir() { data.canonicalize()? } else { dir.to_owned() };
    let mut names = Vec::new();
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if !name.starts_with('.') {
            names.push((name, entry.path()));
        }
    }
    names.sort();
    Ok(names)
}

fn with_extension<'a>(
    names: &'a [(String, PathBuf)],
    extension: &'a str,
) -> impl Iterator<Item = (&'a str, &'a PathBuf)> {
    names.iter().filter_map(move |(name, path)| {
        let stem = name.strip_suffix(extension)?.strip_suffix('.')?;
        Some((stem, path))
    })
}

fn is_name(stem: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    !stem.is_empty() && stem.len() <= MAX_NAME_BYTES && stem.bytes().all(allowed)
}

/// Reads a regular file of at most `most` bytes. Opening a pipe would wait for ever.
fn read(path: &Path, most: usize) -> io::Result<Vec<u8>> {
    let refused = |what: String| io::Error::new(io::ErrorKind::InvalidData, what);
    if !fs::metadata(path)?.is_file() {
        return Err(refused("it is no regular file".to_owned()));
    }
    let mut bytes = Vec::new();
    File::open(path)?.take(most as u64 + 1).read_to_end(&mut bytes)?;
    if bytes.len() > most {
        return Err(refused(format!("it is larger than {} MiB", most >> 20)));
    }
    Ok(bytes)
}

/// `50-heapster.wasm` is called `heapster`, unless two would have one name.
fn name_all(files: &mut [RuleFile]) {
    let mut uses: HashMap<String, usize> = HashMap::new();
    for file in files.iter() {
        *uses.entry(short_name(&file.slot).to_owned()).or_default() += 1;
    }
    for file in files {
        let short = short_name(&file.slot);
        file.name = if uses.get(short) == Some(&1) { short } else { stem(&file.slot) }.to_owned();
    }
}

fn stem(slot: &str) -> &str {
    slot.strip_suffix(".wasm").unwrap_or(slot)
}

fn short_name(slot: &str) -> &str {
    let stem = stem(slot);
    let rest = stem.trim_start_matches(|c: char| c.is_ascii_digit());
    match rest.strip_prefix(['-', '_']) {
        Some(name) if !name.is_empty() => name,
        _ => stem,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_s_name_is_its_file_s_without_the_number() {
        for (slot, name) in [
            ("50-heapster.wasm", "heapster"),
            ("drop.wasm", "drop"),
            ("10.wasm", "10"),
            ("10-.wasm", "10-"),
            ("3scale.wasm", "3scale"),
        ] {
            assert_eq!(short_name(slot), name, "{slot}");
        }
    }

    #[test]
    fn two_rules_of_one_name_keep_their_numbers() {
        let file = |slot: &str| RuleFile {
            name: String::new(),
            slot: slot.to_owned(),
            path: PathBuf::new(),
            bytes: Vec::new(),
            manifest: Manifest::default(),
        };
        let mut files = [file("10-drop.wasm"), file("50-heapster.wasm"), file("90-drop.wasm")];
        name_all(&mut files);
        let names: Vec<_> = files.iter().map(|file| file.name.as_str()).collect();
        assert_eq!(names, ["10-drop", "heapster", "90-drop"]);
    }
}
