//! Rules in JavaScript: componentize-js puts them into a component together with StarlingMonkey, a
//! whole JavaScript engine without a compiler.

use std::path::Path;
use std::process::Command;

use super::toolbox::{Tool, version_of};
use super::{Built, Language, RuleToml, tool};
use crate::cli::rule::console::{Console, Fail};
use crate::cli::rule::{Kind, NewArgs};

/// JavaScript.
pub(super) struct JavaScript;

/// Oldest Node.js that componentize-js runs on.
const NODE: (u32, u32) = (20, 0);

const TOOL: Tool = Tool {
    name: "componentize-js-0.23.0",
    registry: "npm",
    files: &[
        ("package.json", include_str!("javascript/package.json")),
        ("package-lock.json", include_str!("javascript/package-lock.json")),
        ("componentize.mjs", include_str!("javascript/componentize.mjs")),
    ],
    fetch,
    compile: |tool, sources, wit, out| {
        let mut command = Command::new("node");
        command.arg(tool.join("componentize.mjs")).arg(sources.join("rule.js")).arg(wit).arg(out);
        command
    },
    sources: &["js", "mjs", "json"],
    about: |about| {
        let RuleToml { name, version, .. } = about;
        ("about.js", format!("export const name = '{name}';\nexport const version = '{version}';\n"))
    },
};

impl Language for JavaScript {
    fn name(&self) -> &'static str {
        "javascript"
    }

    fn kinds(&self) -> &'static [Kind] {
        &[Kind::Filter, Kind::Relabel, Kind::Aggregate]
    }

    fn more_files(&self, project: &NewArgs) -> Result<(Vec<(String, String)>, String), Fail> {
        super::contract_file(project)
    }

    fn owns(&self, dir: &Path) -> bool {
        RuleToml::is(dir, self.name())
    }

    fn build(&self, dir: &Path, console: &Console) -> Result<Built, Fail> {
        let about = RuleToml::read(dir)?;
        let wasm = TOOL.build(dir, &about, console)?;
        Ok(Built { name: about.name, wasm })
    }

    fn missing_tools(&self) -> Option<String> {
        TOOL.missing()
    }
}

fn fetch(place: &Path) -> Result<Command, Fail> {
    let (major, minor) = NODE;
    let remedy =
        format!("it takes Node.js {major}.{minor} or later with npm: your distribution has it, and nodejs.org");
    match tool(&["node"]).and_then(|node| version_of(&node)) {
        None => return Err(Fail::input(format!("there is no `node`; {remedy}"))),
        Some(found) if found < NODE => {
            return Err(Fail::input(format!("`node` is version {}.{}; {remedy}", found.0, found.1)));
        }
        Some(_) => {}
    }
    let npm = tool(&["npm"]).ok_or_else(|| Fail::input(format!("there is no `npm`; {remedy}")))?;
    let mut command = Command::new(npm);
    // Exactly what the lock file says, and no script of a package runs.
    command.current_dir(place).args(["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]);
    Ok(command)
}
