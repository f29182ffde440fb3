//! Rules in Rust: cargo builds them. The SDK comes with the project, so that it builds wherever it
//! lies, or from a path or version that the user names.

mod sdk;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

use super::{Built, Language};
use crate::cli::rule::console::{Console, Fail};
use crate::cli::rule::{Kind, NewArgs, files};

/// Rust.
pub(super) struct Rust;

const TARGET: &str = "wasm32-unknown-unknown";
const MISSING_TARGET: &str = "\
the compiler has no wasm32-unknown-unknown. Either
  rustup target add wasm32-unknown-unknown          (any system, as yourself), or
  tools/wasm-target.sh                              (in a checkout of Millrace, on Debian 12 or later as root)";
const MISSING_CARGO: &str = "there is no `cargo`; https://rustup.rs installs it";

impl Language for Rust {
    fn name(&self) -> &'static str {
        "rust"
    }

    fn kinds(&self) -> &'static [Kind] {
        &[Kind::Filter, Kind::Relabel, Kind::Aggregate]
    }

    fn more_files(&self, project: &NewArgs) -> Result<(Vec<(String, String)>, String), Fail> {
        let broken = |error: &dyn std::fmt::Display| Fail::input(format!("the SDK in this program is broken: {error}"));
        let is_version = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
        match project.sdk.as_deref() {
            Some(version) if is_version(version) => Ok((Vec::new(), toml::Value::from(version).to_string())),
            Some(path) => {
                let path = sdk_path(path)?;
                Ok((Vec::new(), format!("{{ path = {} }}", toml::Value::from(path.display().to_string()))))
            }
            None => {
                let mut files = sdk::vendored()?;
                files.push(("Cargo.lock".to_owned(), sdk::lock(&project.name).map_err(|error| broken(&error))?));
                Ok((files, format!("{{ path = \"{}\" }}", sdk::VENDORED)))
            }
        }
    }

    fn owns(&self, dir: &Path) -> bool {
        dir.join("Cargo.toml").is_file()
    }

    fn build(&self, dir: &Path, _console: &Console) -> Result<Built, Fail> {
        let compiler = Compiler::find(dir)?;
        let mut command = compiler.cargo();
        command
            .current_dir(dir)
            .args(["build", "--release", "--lib", "--target", TARGET])
            .arg("--message-format=json-render-diagnostics")
            // The names of functions say what makes a rule large; they are left out afterwards.
            .args(["--config", "profile.release.strip='none'"]);
        let own_flags = ["RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS"].iter().any(|name| std::env::var_os(name).is_some());
        if let (false, Some(remapping)) = (own_flags, remapping()) {
            command.args(["--config", &remapping]);
        }
        let shown = format!("cargo build --release --lib --target {TARGET}");
        let finished = command.stderr(Stdio::inherit()).stdin(Stdio::null()).output();
        let finished = finished.map_err(|error| Fail::input(format!("`{}`: {error}", compiler.cargo.display())))?;
        if !finished.status.success() {
            return Err(Fail::rule(format!("`{shown}` failed, see above")));
        }
        let manifest = dir.join("Cargo.toml");
        let (package, path) = artefact(&finished.stdout, &manifest).ok_or_else(|| {
            Fail::rule(format!(
                "{}: makes no Wasm module; it needs\n  [lib]\n  crate-type = [\"cdylib\", \"rlib\"]",
                manifest.display()
            ))
        })?;
        Ok(Built { name: package, wasm: files::read(&path, 256 << 20)? })
    }

    fn missing_tools(&self) -> Option<String> {
        Compiler::find(Path::new(".")).err().map(|fail| format!("building it will fail: {}", fail.text()))
    }
}

fn sdk_path(path: &str) -> Result<PathBuf, Fail> {
    let given = Path::new(path);
    let place = [given.to_owned(), given.join("guest-sdk")]
        .into_iter()
        .find(|place| place.join("wit/rule.wit").is_file() && place.join("Cargo.toml").is_file());
    let place = place.and_then(|place| place.canonicalize().ok());
    place.ok_or_else(|| {
        Fail::input(format!("--sdk `{path}` is neither a version nor the folder `guest-sdk` of a checkout of Millrace"))
    })
}

/// The last library that cargo says it made of this manifest: its package, and the module's path.
fn artefact(messages: &[u8], manifest: &Path) -> Option<(String, PathBuf)> {
    let manifest = manifest.canonicalize().ok()?;
    let lines = messages.split(|&byte| byte == b'\n').filter_map(|line| serde_json::from_slice::<Value>(line).ok());
    lines
        .filter(|line| line["reason"] == "compiler-artifact")
        .filter(|line| line["manifest_path"].as_str().is_some_and(|path| Path::new(path) == manifest))
        .filter_map(|line| {
            let files = line["filenames"].as_array()?.iter().filter_map(Value::as_str);
            let wasm = files.into_iter().find(|path| path.ends_with(".wasm"))?.to_owned();
            // `path+file:///…/drop-idle#0.1.0` or `…#drop-idle@0.1.0`.
            let id = line["package_id"].as_str()?;
            let (before, after) = id.rsplit_once('#')?;
            let name = after.split_once('@').map_or_else(|| before.rsplit('/').next(), |(name, _)| Some(name))?;
            Some((name.to_owned(), PathBuf::from(wasm)))
        })
        .reduce(|_, last| last)
}

/// Keeps this machine's paths out of the rule, and its digest the same wherever it is built. The
/// project's own are relative already.
fn remapping() -> Option<String> {
    let home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cargo")))?;
    let flags = toml::Value::from(vec![format!("--remap-path-prefix={}=/cargo", home.display())]);
    Some(format!("target.{TARGET}.rustflags={flags}"))
}

/// A cargo and the compiler that has the target.
struct Compiler {
    cargo: PathBuf,
    /// Where it is not rustup's: the compiler, and the linker to go with it.
    other: Option<(PathBuf, PathBuf)>,
}

impl Compiler {
    /// The compiler that cargo would take, if it has the target; else one that
    /// `tools/wasm-target.sh` made.
    fn find(dir: &Path) -> Result<Self, Fail> {
        let home = std::env::var_os("HOME").map(PathBuf::from);
        let cargo = ["cargo".into()].into_iter().chain(home.map(|home| home.join(".cargo/bin/cargo")));
        let cargo = cargo.into_iter().find(|cargo: &PathBuf| output(Command::new(cargo).arg("-V")).is_some());
        let cargo = cargo.ok_or_else(|| Fail::input(MISSING_CARGO))?;
        let rustc = std::env::var_os("RUSTC").map(PathBuf::from);
        let rustc = rustc.unwrap_or_else(|| cargo.with_file_name("rustc"));
        let sysroot = output(Command::new(&rustc).current_dir(dir).args(["--print", "sysroot"]));
        if sysroot.as_deref().is_some_and(has_target) {
            return Ok(Self { cargo, other: None });
        }
        let made = made_sysroots().find(|sysroot| has_target(sysroot) && sysroot.join("rustc").is_file());
        let linker = sysroot.as_deref().and_then(rust_lld).or_else(|| super::tool(&["wasm-ld"]));
        match (made, linker) {
            (Some(made), Some(linker)) => Ok(Self { cargo, other: Some((made.join("rustc"), linker)) }),
            (Some(_), None) => {
                Err(Fail::input("there is no linker for wasm32-unknown-unknown; `apt-get install lld` installs one"))
            }
            (None, _) => Err(Fail::input(MISSING_TARGET)),
        }
    }

    fn cargo(&self) -> Command {
        let mut command = Command::new(&self.cargo);
        if let Some((rustc, linker)) = &self.other {
            command.env("RUSTC", rustc).env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER", linker);
        }
        command
    }
}

/// What a command that works prints.
fn output(command: &mut Command) -> Option<PathBuf> {
    let done = command.stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
    done.status.success().then(|| PathBuf::from(String::from_utf8_lossy(&done.stdout).trim()))
}

fn has_target(sysroot: &Path) -> bool {
    let libraries = std::fs::read_dir(sysroot.join(format!("lib/rustlib/{TARGET}/lib")));
    let is_std = |name: &str| name.starts_with("libstd-") && Path::new(name).extension().is_some_and(|it| it == "rlib");
    libraries.is_ok_and(|mut entries| {
        entries.any(|entry| entry.is_ok_and(|entry| is_std(&entry.file_name().to_string_lossy())))
    })
}

fn rust_lld(sysroot: &Path) -> Option<PathBuf> {
    let hosts = std::fs::read_dir(sysroot.join("lib/rustlib")).ok()?;
    hosts.filter_map(Result::ok).map(|host| host.path().join("bin/rust-lld")).find(|path| path.is_file())
}

/// What `tools/wasm-target.sh` made, the newest last by name.
fn made_sysroots() -> impl Iterator<Item = PathBuf> {
    let home = || std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache"));
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from).or_else(home);
    let entries = cache.and_then(|cache| std::fs::read_dir(cache.join("millrace/wasm-sysroot")).ok());
    let mut places: Vec<PathBuf> = entries.into_iter().flatten().filter_map(|entry| Some(entry.ok()?.path())).collect();
    places.sort();
    places.into_iter().rev()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cargos_messages_say_where_the_module_lies() {
        let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml").canonicalize().unwrap();
        let line = |id: &str, file: &str| {
            serde_json::json!({"reason": "compiler-artifact", "manifest_path": manifest, "package_id": id,
                "filenames": [file]})
            .to_string()
        };
        let messages = [line("path+file:///x/drop-idle#0.1.0", "/t/drop_idle.wasm"), "{}".to_owned()].join("\n");
        let found = artefact(messages.as_bytes(), &manifest);
        assert_eq!(found, Some(("drop-idle".to_owned(), PathBuf::from("/t/drop_idle.wasm"))));
        let messages = line("path+file:///x/y#drop-idle@0.1.0", "/t/libdrop_idle.rlib");
        assert_eq!(artefact(messages.as_bytes(), &manifest), None);
    }
}
