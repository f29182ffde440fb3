//! Reads the set of rules from its directories: the bundled ones, then the user's.
//!
//! Reads files and nothing else; [`super::Chain::start`] compiles what is found. All problems of
//! all files are reported at once. Each directory is read as one set, see [`files`]; two directories
//! are two sets, and nothing holds them together.

pub mod files;
pub mod form;

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use super::Problem;
use super::component::{Digest, MAX_FILE_BYTES};
use super::manifest::{HEAPSTER, Manifest};
use files::Found;
use form::Form;

/// Largest file that fits a ConfigMap, bytes.
const CONFIG_MAP_BYTES: usize = 1 << 20;
/// Largest manifest, bytes.
const MAX_MANIFEST_BYTES: usize = 1 << 20;
/// All files of all directories together, packed and unpacked, bytes.
const MAX_SET_BYTES: usize = 256 << 20;
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
    /// Its file name without `.gz` and `.zst`, such as `50-heapster.wasm`; the chain's order.
    pub slot: String,
    /// Where it was read. In a ConfigMap volume that is the folder behind `..data`, which is gone
    /// after the next change.
    pub path: PathBuf,
    /// The module or component, unpacked.
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
    wasm: Option<Wasm>,
    manifest: Option<(PathBuf, String)>,
}

#[derive(Debug)]
struct Wasm {
    path: PathBuf,
    /// Unpacked.
    bytes: Vec<u8>,
    /// What the file itself has, bytes.
    stored: usize,
}

#[derive(Debug, Default)]
struct Reading {
    slots: BTreeMap<String, Slot>,
    problems: Vec<Problem>,
    warnings: Vec<String>,
    /// Bytes read and unpacked so far.
    bytes: usize,
}

impl Reading {
    fn directory(&mut self, dir: &Path) {
        let most = |name: &str| match Form::of(name) {
            Some(_) => Some(MAX_FILE_BYTES),
            None => name.ends_with(".toml").then_some(MAX_MANIFEST_BYTES),
        };
        let found = match files::read(dir, MAX_SET_BYTES - self.bytes.min(MAX_SET_BYTES), most) {
            Ok(found) => found,
            Err(what) => return self.problem(dir, what),
        };
        self.ambiguous(&found);
        // Rules first: a manifest may stand beside a rule of an earlier directory.
        let (rules, others): (Vec<_>, Vec<_>) = found.into_iter().partition(|file| Form::of(&file.name).is_some());
        for Found { name, path, bytes } in rules.into_iter().chain(others) {
            match (Form::of(&name), name.strip_suffix(".toml"), bytes) {
                (Some((stem, form)), _, Some(bytes)) => self.rule(stem, path, form, bytes),
                (None, Some(stem), Some(bytes)) => self.manifest(stem, &path, bytes),
                _ => {
                    let what = "is neither .wasm, .wasm.gz, .wasm.zst nor .toml and is ignored";
                    self.warnings.push(format!("{}: {what}", path.display()));
                }
            }
        }
    }

    /// One rule in two forms: which one counts nobody could guess.
    fn ambiguous(&mut self, found: &[Found]) {
        let mut seen: HashMap<&str, &Found> = HashMap::new();
        for file in found {
            let Some((stem, _)) = Form::of(&file.name) else { continue };
            if let Some(other) = seen.insert(stem, file) {
                let what =
                    format!("stands beside {}, the same rule in another form; remove one of the two", other.name);
                self.problem(&file.path, what);
            }
        }
    }

    fn rule(&mut self, stem: &str, path: PathBuf, form: Form, bytes: Result<Vec<u8>, String>) {
        if !is_name(stem) {
            let what = format!(
                "has a name that is no rule's; use at most {MAX_NAME_BYTES} of the characters a-z A-Z 0-9 . _ -"
            );
            return self.problem(&path, what);
        }
        // It is there even if it is no good: its manifest does not stand alone.
        let slot = self.slots.entry(format!("{stem}.wasm")).insert_entry(Slot::default()).into_mut();
        let unpacked = bytes.and_then(|bytes| {
            let stored = bytes.len();
            let room = MAX_SET_BYTES.saturating_sub(self.bytes + stored);
            if room < MAX_FILE_BYTES {
                return Err(format!("comes after rules that have {} MiB together; leave some out", self.bytes >> 20));
            }
            let bytes = form.unpack(bytes, MAX_FILE_BYTES)?;
            self.bytes += stored + bytes.len();
            Ok((stored, bytes))
        });
        match unpacked {
            Ok((_, bytes)) if bytes.is_empty() => {}
            Ok((stored, bytes)) => slot.wasm = Some(Wasm { path, bytes, stored }),
            Err(what) => self.problem(&path, what),
        }
    }

    fn manifest(&mut self, stem: &str, path: &Path, bytes: Result<Vec<u8>, String>) {
        let slot = self.slots.get_mut(&format!("{stem}.wasm"));
        let text =
            bytes.and_then(|bytes| String::from_utf8(bytes).map_err(|_| "is not UTF-8; write it anew".to_owned()));
        match (text, slot) {
            (Err(what), _) => self.problem(path, what),
            (Ok(_), None) => self.problem(path, format!("stands beside no {stem}.wasm; rename or remove it")),
            (Ok(text), Some(slot)) => slot.manifest = Some((path.to_owned(), text)),
        }
    }

    fn problem(&mut self, place: &Path, what: impl std::fmt::Display) {
        self.problems.push(Problem::new(place.display(), what));
    }

    fn set(mut self, heapster: &Map<String, Value>) -> Result<RuleSet, Vec<Problem>> {
        let mut files = Vec::new();
        for (slot, Slot { wasm, manifest }) in std::mem::take(&mut self.slots) {
            let Some(Wasm { path, bytes, stored }) = wasm else {
                let more =
                    if slot == HEAPSTER && !heapster.is_empty() { ", and its settings have no effect" } else { "" };
                self.warnings.push(format!("{slot} is left out by an empty file: no rule runs in its place{more}"));
                continue;
            };
            let mut defaults = Manifest::default_of(&slot);
            if slot == HEAPSTER {
                defaults.settings.clone_from(heapster);
            }
            if stored > CONFIG_MAP_BYTES {
                let (path, size) = (path.display(), stored >> 10);
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
            let what = format!("`digest` does not match: the rule (unpacked, if it is packed) has {digest}");
            self.problem(&path, what);
        }
        Some(manifest)
    }
}

fn is_name(stem: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    !stem.is_empty() && stem.len() <= MAX_NAME_BYTES && stem.bytes().all(allowed)
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

/// `heapster` of `50-heapster.wasm` or `50-heapster`.
pub(crate) fn short_name(slot: &str) -> &str {
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
