//! Rules in Python: componentize-py puts them into a component together with CPython.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::toolbox::{Tool, version_of};
use super::{Built, Language, RuleToml, tool};
use crate::cli::rule::console::{Console, Fail};
use crate::cli::rule::{Kind, NewArgs};

/// Python.
pub(super) struct Python;

/// Oldest Python that componentize-py runs on.
const OLDEST: (u32, u32) = (3, 9);
const PYTHONS: &[&str] = &["python3", "python"];

const TOOL: Tool = Tool {
    name: "componentize-py-0.25.1",
    registry: "PyPI",
    files: &[("requirements.txt", "componentize-py==0.25.1\n")],
    fetch,
    compile: |tool, sources, wit, out| {
        let mut command = Command::new(python().unwrap_or_else(|| PathBuf::from("python3")));
        command
            .args(["-c", "import componentize_py; raise SystemExit(componentize_py.script())"])
            .arg("--wit-path")
            .arg(wit)
            // All of WASI becomes stubs that trap: no clock, no files, no network. What the interpreter asked
            // for while it was built, such as the seed of its hashes, is fixed in the component.
            .args(["--world", "millrace-rule", "componentize", "--stub-wasi", "--python-path"])
            .arg(sources)
            .arg("--output")
            .arg(out)
            .arg("rule")
            .env("PYTHONPATH", tool)
            // Else it would look into this machine's own packages, too.
            .env("VIRTUAL_ENV", no_packages(sources));
        command
    },
    sources: &["py"],
    about: |about| {
        let RuleToml { name, version, .. } = about;
        ("about.py", format!("NAME = \"{name}\"\nVERSION = \"{version}\"\n"))
    },
};

impl Language for Python {
    fn name(&self) -> &'static str {
        "python"
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

fn python() -> Option<PathBuf> {
    let new_enough = |name: &&str| tool(&[name]).and_then(|found| version_of(&found)).is_some_and(|it| it >= OLDEST);
    PYTHONS.iter().find(|name| new_enough(name)).map(PathBuf::from)
}

/// A folder that looks like one of installed packages, and holds none.
fn no_packages(sources: &Path) -> OsString {
    let folder = sources.with_file_name("no-packages");
    // If it can't be made, nothing is found in it either.
    let _ = std::fs::create_dir_all(folder.join("lib/python3/site-packages"));
    folder.into_os_string()
}

fn fetch(place: &Path) -> Result<Command, Fail> {
    let (major, minor) = OLDEST;
    let remedy =
        format!("it takes Python {major}.{minor} or later with pip: `apt-get install python3-pip`, or python.org");
    let python = python().ok_or_else(|| Fail::input(format!("there is no `python3` that is new enough; {remedy}")))?;
    let pip = Command::new(&python).args(["-m", "pip", "--version"]).stdin(Stdio::null()).output();
    if !pip.is_ok_and(|said| said.status.success()) {
        return Err(Fail::input(format!("`{}` has no pip; {remedy}", python.display())));
    }
    let mut command = Command::new(python);
    command
        .args(["-m", "pip", "install", "--quiet", "--no-deps", "--only-binary=:all:", "--target"])
        .arg(place)
        .args(["-r", "requirements.txt"])
        .current_dir(place);
    Ok(command)
}
