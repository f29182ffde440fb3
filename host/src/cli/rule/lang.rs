//! Languages that rules are written in. Another one is a file here, a folder of templates, and a
//! line in [`LANGUAGES`].

mod c;
mod javascript;
mod python;
mod rust;
mod toolbox;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use clap::builder::PossibleValuesParser;
use serde::Deserialize;
use wit_parser::{Resolve, WorldId};

use super::console::{Console, Fail};
use super::{Kind, NewArgs, embedded, files};

/// The language of `rule new` without `--lang`.
pub(super) const DEFAULT: &str = "rust";

/// Every language, in the order of the help text.
const LANGUAGES: &[&dyn Language] = &[&rust::Rust, &c::C, &javascript::JavaScript, &python::Python];

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

/// `rule.toml`: what is known of a rule whose language has no such file of its own.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RuleToml {
    name: String,
    version: String,
    /// Which language took the folder by.
    #[serde(rename = "lang")]
    _lang: String,
}

impl RuleToml {
    fn read(dir: &Path) -> Result<Self, Fail> {
        let path = dir.join("rule.toml");
        let wrong = |what: &dyn std::fmt::Display| Fail::input(format!("{}: {what}", path.display()));
        let text = files::read_text(&path, 1 << 20)?;
        let about: Self = toml::from_str(&text).map_err(|error| wrong(&error.to_string().trim_end()))?;
        super::new::check_name(&about.name).map_err(|fail| wrong(&fail.text()))?;
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-+".contains(&byte);
        if about.version.is_empty() || !about.version.bytes().all(plain) {
            return Err(wrong(&format!("`version` is `{}`; write one like 0.1.0", about.version)));
        }
        Ok(about)
    }

    /// Whether a folder's file names this language.
    fn is(dir: &Path, lang: &str) -> bool {
        let text = std::fs::read_to_string(dir.join("rule.toml")).unwrap_or_default();
        let table: toml::Table = toml::from_str(&text).unwrap_or_default();
        table.get("lang").and_then(toml::Value::as_str) == Some(lang)
    }
}

/// The contract as text.
fn contract_text() -> &'static str {
    embedded::SDK.iter().find(|(path, _)| *path == "wit/rule.wit").map_or("", |(_, text)| text)
}

/// The contract as a project's own file, for languages whose tool reads it there.
fn contract_file(project: &NewArgs) -> Result<(Vec<(String, String)>, String), Fail> {
    if project.sdk.is_some() {
        return Err(Fail::input(format!("--sdk is for Rust; {} needs none", project.lang)));
    }
    Ok((vec![("wit/rule.wit".to_owned(), contract_text().to_owned())], String::new()))
}

/// The contract, for tools that speak WIT.
fn contract() -> Result<(Resolve, WorldId), Fail> {
    let mut resolve = Resolve::default();
    let package = resolve.push_str("rule.wit", contract_text()).map_err(|error| Fail::input(format!("{error:#}")))?;
    let world = resolve.select_world(&[package], Some("millrace-rule"));
    Ok((resolve.clone(), world.map_err(|error| Fail::input(format!("{error:#}")))?))
}
