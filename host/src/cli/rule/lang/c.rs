//! Rules in C: clang compiles them, wasm-ld links them, without a libc. The contract as C comes from
//! its WIT when a project is made; the world goes into the module when it is built.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use wit_bindgen_core::Files;
use wit_component::StringEncoding;

use super::{Built, Language, RuleToml, contract, tool};
use crate::cli::rule::console::{Console, Fail};
use crate::cli::rule::{Kind, NewArgs, files};

/// C.
pub(super) struct C;

/// Every `.c` file in these folders is compiled.
const FOLDERS: [&str; 3] = ["", "gen", "freestanding"];
const FLAGS: &[&str] = &[
    "--target=wasm32-unknown-unknown",
    "-std=c11",
    "-O2",
    "-Wall",
    "-Wextra",
    "-ffreestanding",
    "-mbulk-memory",
    "-mno-reference-types",
    "-fdata-sections",
    "-ffunction-sections",
    "-c",
];
/// The stack stands below all else, so that a recursion without end traps and overwrites nothing.
const LINK_FLAGS: &[&str] = &["--no-entry", "--stack-first", "-z", "stack-size=131072", "--gc-sections"];
const CLANGS: &[&str] =
    &["clang", "clang-21", "clang-20", "clang-19", "clang-18", "clang-17", "clang-16", "clang-15", "clang-14"];
const LINKERS: &[&str] = &[
    "wasm-ld",
    "wasm-ld-21",
    "wasm-ld-20",
    "wasm-ld-19",
    "wasm-ld-18",
    "wasm-ld-17",
    "wasm-ld-16",
    "wasm-ld-15",
    "wasm-ld-14",
];

impl Language for C {
    fn name(&self) -> &'static str {
        "c"
    }

    fn kinds(&self) -> &'static [Kind] {
        &[Kind::Filter]
    }

    fn more_files(&self, project: &NewArgs) -> Result<(Vec<(String, String)>, String), Fail> {
        if project.sdk.is_some() {
            return Err(Fail::input("--sdk is for Rust; C needs none"));
        }
        let (mut resolve, world) = contract()?;
        // What it would hold goes into the module when it is built.
        let options = wit_bindgen_c::Opts { no_object_file: true, ..wit_bindgen_c::Opts::default() };
        let mut made = Files::default();
        options.build().generate(&mut resolve, world, &mut made).map_err(|error| Fail::input(format!("{error:#}")))?;
        let text = |(name, bytes): (&str, &[u8])| (format!("gen/{name}"), String::from_utf8_lossy(bytes).into_owned());
        Ok((made.iter().map(text).collect(), String::new()))
    }

    fn owns(&self, dir: &Path) -> bool {
        RuleToml::is(dir, self.name())
    }

    fn build(&self, dir: &Path, console: &Console) -> Result<Built, Fail> {
        let about = RuleToml::read(dir)?;
        let (clang, linker) = tools()?;
        let out = dir.join("target");
        std::fs::create_dir_all(&out).map_err(|error| Fail::input(format!("{}: {error}", out.display())))?;
        let mut objects = Vec::new();
        for source in sources(dir)? {
            let object = out.join(source.to_string_lossy().replace('/', "_")).with_extension("o");
            let mut command = Command::new(&clang);
            command.current_dir(dir).args(FLAGS).args(["-I.", "-Ifreestanding"]);
            for (name, value) in [("RULE_NAME", &about.name), ("RULE_VERSION", &about.version)] {
                command.arg(format!("-D{name}=\"{value}\""));
            }
            // Nobody here can mend what a tool made.
            if source.starts_with("gen") {
                command.arg("-w");
            }
            let object = std::path::absolute(&object).map_err(Fail::input)?;
            run(command.arg(&source).arg("-o").arg(&object), &format!("clang {}", source.display()))?;
            objects.push(object);
        }
        let module = std::path::absolute(out.join("rule.core.wasm")).map_err(Fail::input)?;
        let mut command = Command::new(&linker);
        run(command.args(LINK_FLAGS).args(&objects).arg("-o").arg(&module), "wasm-ld")?;
        console.note(format!("compiled {} files with {}", objects.len(), clang.display()));
        let mut wasm = files::read(&module, 256 << 20)?;
        let (resolve, world) = contract()?;
        wit_component::embed_component_metadata(&mut wasm, &resolve, world, StringEncoding::UTF8)
            .map_err(|error| Fail::rule(format!("{error:#}")))?;
        Ok(Built { name: about.name, wasm })
    }

    fn missing_tools(&self) -> Option<String> {
        tools().err().map(|fail| format!("building it will fail: {}", fail.text()))
    }
}

fn tools() -> Result<(PathBuf, PathBuf), Fail> {
    let remedy = |what: &str, packages: &str| {
        Fail::input(format!(
            "there is no {what}; `apt-get install {packages}` installs it on Debian and Ubuntu, \
             `dnf install {packages}` on Fedora, `brew install llvm lld` on a Mac"
        ))
    };
    let clang = tool(CLANGS).ok_or_else(|| remedy("clang", "clang lld"))?;
    let linker = tool(LINKERS).ok_or_else(|| remedy("wasm-ld", "lld"))?;
    Ok((clang, linker))
}

/// The sources, by path in the project.
fn sources(dir: &Path) -> Result<Vec<PathBuf>, Fail> {
    let mut sources = Vec::new();
    for folder in FOLDERS {
        let entries = std::fs::read_dir(dir.join(folder)).into_iter().flatten().filter_map(Result::ok);
        let names = entries.map(|entry| Path::new(folder).join(entry.file_name()));
        sources.extend(names.filter(|path| path.extension() == Some(OsStr::new("c"))));
    }
    sources.sort();
    if sources.is_empty() { Err(Fail::rule(format!("{}: has no .c file", dir.display()))) } else { Ok(sources) }
}

fn run(command: &mut Command, shown: &str) -> Result<(), Fail> {
    let done = command.stdin(Stdio::null()).stderr(Stdio::inherit()).stdout(Stdio::null()).status();
    match done {
        Ok(status) if status.success() => Ok(()),
        Ok(_) => Err(Fail::rule(format!("`{shown}` failed, see above"))),
        Err(error) => Err(Fail::input(format!("`{shown}`: {error}"))),
    }
}
