//! The SDK as a project's own copy, which needs no checkout, no registry and no code generator: the
//! contract's bindings are written out here instead of by a macro there, for the macro takes most of
//! a first build's time.

use toml::Table;
use wit_bindgen_core::{Files, WorldGenerator as _};

use super::super::contract;
use crate::cli::rule::console::Fail;
use crate::cli::rule::embedded;

/// Where it lies in the project.
pub(super) const VENDORED: &str = "vendor/millrace-sdk";

/// Where the SDK has its bindings made by the macro, and what stands there in the copy.
const MACRO: &str = "pub mod bindings {";
const MODULE: &str = "pub mod bindings;";

/// The SDK's files, with a manifest that needs no workspace around it.
pub(super) fn vendored() -> Result<Vec<(String, String)>, Fail> {
    let broken = |error: &dyn std::fmt::Display| Fail::input(format!("the SDK in this program is broken: {error}"));
    let mut files = Vec::new();
    for (path, text) in embedded::SDK {
        let text = match *path {
            "Cargo.toml" => standalone(text, embedded::WORKSPACE).map_err(|error| broken(&error))?,
            "src/wit.rs" => {
                files.push((format!("{VENDORED}/src/wit/bindings.rs"), bindings()?));
                without_macro(text).ok_or_else(|| broken(&"src/wit.rs makes no bindings"))?
            }
            _ => (*text).to_owned(),
        };
        files.push((format!("{VENDORED}/{path}"), text));
    }
    Ok(files)
}

/// What the macro would make.
fn bindings() -> Result<String, Fail> {
    let (mut resolve, world) = contract()?;
    let options =
        wit_bindgen_rust::Opts { pub_export_macro: true, generate_all: true, ..wit_bindgen_rust::Opts::default() };
    let mut made = Files::default();
    options.build().generate(&mut resolve, world, &mut made).map_err(|error| Fail::input(format!("{error:#}")))?;
    let text = made.iter().next().map(|(_, bytes)| String::from_utf8_lossy(bytes).into_owned());
    Ok(text.unwrap_or_default())
}

/// The module that holds the macro's call becomes a file of its own.
fn without_macro(text: &str) -> Option<String> {
    let (before, rest) = text.split_once(MACRO)?;
    let (_, after) = rest.split_once("\n}\n")?;
    Some(format!("{before}{MODULE}\n{after}"))
}

/// A manifest with what its workspace says written out.
fn standalone(manifest: &str, workspace: &str) -> Result<String, toml::de::Error> {
    let (mut manifest, workspace): (Table, Table) = (toml::from_str(manifest)?, toml::from_str(workspace)?);
    let shared = workspace.get("workspace").and_then(toml::Value::as_table).cloned().unwrap_or_default();
    // Lints are for who changes the SDK, not for who uses it.
    manifest.remove("lints");
    for key in ["package", "dependencies", "dev-dependencies"] {
        let theirs = if key == "package" { "package" } else { "dependencies" };
        let said = shared.get(theirs).and_then(toml::Value::as_table);
        if let (Some(table), Some(said)) = (manifest.get_mut(key).and_then(toml::Value::as_table_mut), said) {
            for (name, value) in table.iter_mut() {
                inherit(value, said.get(name));
            }
        }
    }
    without_macro_feature(&mut manifest);
    Ok(manifest.to_string())
}

/// The copy's bindings are written out.
fn without_macro_feature(manifest: &mut Table) {
    let dependency = manifest.get_mut("dependencies").and_then(|all| all.get_mut("wit-bindgen"));
    if let Some(features) = dependency.and_then(|it| it.get_mut("features")).and_then(toml::Value::as_array_mut) {
        features.retain(|feature| feature.as_str() != Some("macros"));
    }
}

/// `{ workspace = true, … }` becomes what the workspace says, with what else stands there.
fn inherit(value: &mut toml::Value, shared: Option<&toml::Value>) {
    let (Some(own), Some(shared)) = (value.as_table(), shared) else { return };
    if own.get("workspace").and_then(toml::Value::as_bool) != Some(true) {
        return;
    }
    let more: Table = own.iter().filter(|(key, _)| *key != "workspace").map(|(k, v)| (k.clone(), v.clone())).collect();
    *value = if more.is_empty() {
        shared.clone()
    } else {
        let version = |shared: &toml::Value| Table::from_iter([("version".to_owned(), shared.clone())]);
        let mut whole = shared.as_table().cloned().unwrap_or_else(|| version(shared));
        whole.extend(more);
        toml::Value::Table(whole)
    };
}

/// The versions that Millrace's own rules are built with: known to work, and in cargo's cache
/// wherever Millrace was built.
pub(super) fn lock(name: &str) -> Result<String, toml::de::Error> {
    let mut lock: Table = toml::from_str(embedded::RULES_LOCK)?;
    if let Some(packages) = lock.get_mut("package").and_then(toml::Value::as_array_mut) {
        packages.retain(|package| package.get("source").is_some() || is(package, "millrace-sdk"));
        let dependencies = ["millrace-sdk", "serde"].map(toml::Value::from).to_vec();
        let own = [("name", name.into()), ("version", "0.1.0".into()), ("dependencies", dependencies.into())];
        packages.push(Table::from_iter(own.map(|(key, value): (&str, toml::Value)| (key.to_owned(), value))).into());
    }
    Ok(format!("# This file is automatically @generated by Cargo.\n{lock}"))
}

fn is(package: &toml::Value, name: &str) -> bool {
    package.get("name").and_then(toml::Value::as_str) == Some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manifest_stands_alone_with_what_its_workspace_says() {
        let manifest = "[package]\nname = 'a'\nversion.workspace = true\n[lints]\nworkspace = true\n\
                        [dependencies]\nx.workspace = true\ny = { workspace = true, features = ['f'] }\nz = '3'\n";
        let workspace = "[workspace.package]\nversion = '1.2.3'\n\
                         [workspace.dependencies]\nx = { version = '1', default-features = false }\ny = '2'\n";
        let whole: Table = toml::from_str(&standalone(manifest, workspace).unwrap()).unwrap();
        let wanted: Table = toml::from_str(
            "[package]\nname = 'a'\nversion = '1.2.3'\n[dependencies]\nz = '3'\n\
             x = { version = '1', default-features = false }\ny = { version = '2', features = ['f'] }\n",
        )
        .unwrap();
        assert_eq!(whole, wanted);
    }

    #[test]
    fn the_sdk_that_this_program_brings_needs_nothing_around_it() {
        let files = vendored().unwrap();
        let (_, manifest) = files.iter().find(|(path, _)| path.ends_with("millrace-sdk/Cargo.toml")).unwrap();
        assert!(!manifest.contains("workspace"), "{manifest}");
        assert!(!manifest.contains("macros"), "{manifest}");
        let (_, wit) = files.iter().find(|(path, _)| path.ends_with("src/wit.rs")).unwrap();
        assert!(wit.contains(MODULE) && !wit.contains("generate!"), "{wit}");
        for needed in ["src/lib.rs", "src/wit/bindings.rs", "wit/rule.wit", "README.md"] {
            assert!(files.iter().any(|(path, _)| path.ends_with(needed)), "{needed}");
        }
        assert!(lock("drop-idle").unwrap().contains("name = \"drop-idle\""));
    }
}
