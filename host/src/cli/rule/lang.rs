//! Languages that rules are written in. Another one is a file here, a folder of templates, and a
//! line in [`LANGUAGES`].

mod c;
mod rust;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use clap::builder::PossibleValuesParser;

use super::console::{Console, Fail};
use super::{Kind, NewArgs};

/// The language of `rule new` without `--lang`.
pub(super) const DEFAULT: &str = "rust";

/// Every language, in the order of the help text.
const LANGUAGES: &[&dyn Language] = &[&rust::Rust, &c::C];

/// What a language has to know how to do.
pub(super) trait Language: Sync {
    /// Its name for `--lang`, and of its folder of templates.
    fn name(&self) -> &'static str;

    /// The kinds of rules that it has templates for.
    fn kinds(&self) -> &'static [Kind];

    /// Files beside the templates, by path in the project; and what stands for `{{sdk}}`.
    fn more_files(&self, project: &NewArgs) -> Result<(Vec<(String, String)>, String), Fail>;

    /// Whether a folder holds a rule of this language.
    fn owns(&self, dir: &Path) -> bool;

    /// Builds the rule in a folder.
    fn build(&self, dir: &Path, console: &Console) -> Result<Built, Fail>;

    /// What somebody should know who has just made a project.
    fn missing_tools(&self) -> Option<String>;
}

/// What a compiler wrote.
#[derive(Debug)]
pub(super) struct Built {
    /// The rule's name.
    pub name: String,
    /// A core module that carries its world, or a component; with the names of its functions.
    pub wasm: Vec<u8>,
}

/// What `--lang` takes.
pub(super) fn names() -> PossibleValuesParser {
    PossibleValuesParser::new(LANGUAGES.iter().map(|language| language.name()))
}

/// The language of this name.
pub(super) fn named(name: &str) -> Result<&'static dyn Language, Fail> {
    let found = LANGUAGES.iter().find(|language| language.name() == name);
    found.copied().ok_or_else(|| Fail::input(format!("`{name}` is no language that rules are made in")))
}

/// The language of the rule in a folder.
pub(super) fn of(dir: &Path) -> Result<&'static dyn Language, Fail> {
    if !dir.is_dir() {
        let what = if dir.exists() { "is no folder" } else { "is not there" };
        return Err(Fail::input(format!("{}: {what}; name a rule's folder", dir.display())));
    }
    LANGUAGES.iter().find(|language| language.owns(dir)).copied().ok_or_else(|| {
        Fail::input(format!(
            "{}: holds no rule (neither Cargo.toml nor rule.toml); `millrace rule new NAME` makes one",
            dir.display()
        ))
    })
}

/// The first of these programs that runs.
pub(super) fn tool(names: &[&str]) -> Option<PathBuf> {
    names.iter().map(PathBuf::from).find(|name| {
        let runs = Command::new(name).arg("--version").stdin(Stdio::null()).output();
        runs.is_ok_and(|done| done.status.success())
    })
}
