//! Lists the files that `millrace rule new` writes, so that a binary can make a project without a
//! checkout: the SDK as a project's own copy, and the templates. Compiles nothing.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

fn main() -> io::Result<()> {
    let host = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").unwrap_or_default());
    let root = host.parent().unwrap_or(&host).to_owned();
    let sdk = root.join("guest-sdk");
    let mut text = String::new();
    let mut sdk_files = vec![sdk.join("Cargo.toml"), sdk.join("README.md")];
    for folder in ["src", "wit"] {
        walk(&sdk.join(folder), &mut sdk_files)?;
    }
    list(&mut text, "SDK", &sdk, &sdk_files);
    let mut templates = Vec::new();
    walk(&sdk.join("templates"), &mut templates)?;
    list(&mut text, "TEMPLATES", &sdk.join("templates"), &templates);
    for (name, path) in [("WORKSPACE", root.join("Cargo.toml")), ("RULES_LOCK", root.join("scripts/Cargo.lock"))] {
        // Writing to a string can't fail.
        let _ = writeln!(text, "pub(super) const {name}: &str = include_str!({path:?});");
    }
    let out = PathBuf::from(env::var_os("OUT_DIR").unwrap_or_default());
    fs::write(out.join("embedded.rs"), text)
}

/// All files of a folder, in order; cargo runs this again when one comes or goes.
fn walk(folder: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    println!("cargo::rerun-if-changed={}", folder.display());
    let mut entries = fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>()?;
    entries.sort();
    for path in entries {
        if path.is_dir() {
            walk(&path, files)?;
        } else {
            files.push(path);
        }
    }
    Ok(())
}

fn list(text: &mut String, name: &str, root: &Path, files: &[PathBuf]) {
    let _ = writeln!(text, "pub(super) const {name}: &[(&str, &str)] = &[");
    for path in files {
        let short = path.strip_prefix(root).unwrap_or(path).display().to_string();
        let _ = writeln!(text, "    ({short:?}, include_str!({path:?})),");
    }
    text.push_str("];\n");
}
