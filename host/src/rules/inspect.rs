//! Reads a rule's file before anything is compiled: what it imports, which interface version it
//! was built for, and whether it stays within the bounds of what may be compiled.

use wasmparser::{BinaryReaderError, Parser, Payload};

use super::INTERFACE_VERSION;
use super::component::LoadError;
use super::tame;

/// The one interface a rule may import, without its version.
const HOST: &str = "millrace:rule/host";
/// The one it must export.
const RULE: &str = "millrace:rule/rule";

/// Functions in one file. StarlingMonkey, a whole JavaScript engine, has 20,000.
const MAX_FUNCTIONS: u64 = 100_000;
/// Longest function body, bytes. Compiling takes about a second and 150 MB for each MiB.
const MAX_FUNCTION_BYTES: u64 = 1 << 20;
/// Longest name in a message, bytes.
const NAME_BYTES: usize = 200;

/// Which of the two binary forms a file has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// A component.
    Component,
    /// A core module, as `cargo build --target wasm32-unknown-unknown` writes it.
    Module,
}

/// Recognises the form by the header.
pub(super) fn form(bytes: &[u8]) -> Result<Form, LoadError> {
    if Parser::is_component(bytes) {
        return Ok(Form::Component);
    }
    if Parser::is_core_wasm(bytes) {
        return Ok(Form::Module);
    }
    Err(LoadError::NotWasm(if bytes.is_empty() {
        "it is empty"
    } else if bytes.starts_with(b"\x7fELF") {
        "it is native code; precompiled rules are never loaded"
    } else if bytes.starts_with(b"\x1f\x8b") {
        "it is compressed with gzip; unpack it"
    } else if bytes.trim_ascii_start().starts_with(b"(") {
        "it is WebAssembly text; translate it with `wasm-tools parse`"
    } else if bytes.starts_with(b"\0asm") {
        "its header is of an unknown version"
    } else {
        "it does not begin with the bytes of WebAssembly; was it copied whole?"
    }))
}

/// Refuses what the host can't run: foreign imports, another interface version, too much code.
pub(super) fn inspect(bytes: &[u8]) -> Result<(), LoadError> {
    let mut found = Found::default();
    // Only the outermost level speaks to the host; what is nested speaks to its surroundings.
    let mut depth = 0_usize;
    for payload in Parser::new(0).parse_all(bytes) {
        match payload? {
            Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => depth += 1,
            Payload::End(_) => depth = depth.saturating_sub(1),
            Payload::CodeSectionStart { count, .. } => found.functions(count)?,
            Payload::CodeSectionEntry(body) => {
                let range = body.range();
                found.function(range.end - range.start)?;
            }
            Payload::ComponentImportSection(imports) if depth == 0 => {
                for import in imports {
                    found.import(import?.name.name, None)?;
                }
            }
            Payload::ImportSection(imports) if depth == 0 => {
                for import in imports.into_imports() {
                    let import = import?;
                    found.import(import.module, Some(import.name))?;
                }
            }
            Payload::ComponentExportSection(exports) if depth == 0 => {
                for export in exports {
                    found.export(export?.name.name)?;
                }
            }
            Payload::ExportSection(exports) if depth == 0 => {
                for export in exports {
                    found.export(export?.name)?;
                }
            }
            _ => {}
        }
    }
    if found.rule { Ok(()) } else { Err(LoadError::NoRule) }
}

#[derive(Default)]
struct Found {
    functions: u64,
    rule: bool,
}

impl Found {
    fn functions(&mut self, count: u32) -> Result<(), LoadError> {
        self.functions += u64::from(count);
        if self.functions > MAX_FUNCTIONS {
            return Err(LoadError::TooManyFunctions(self.functions, MAX_FUNCTIONS));
        }
        Ok(())
    }

    fn function(&mut self, bytes: u64) -> Result<(), LoadError> {
        if bytes > MAX_FUNCTION_BYTES {
            return Err(LoadError::FunctionTooLarge(bytes, MAX_FUNCTION_BYTES));
        }
        Ok(())
    }

    fn import(&mut self, interface: &str, item: Option<&str>) -> Result<(), LoadError> {
        match version_of(interface, HOST) {
            Some(version) => check_version(version),
            None => {
                let name = item.map_or_else(|| interface.to_owned(), |item| format!("{interface} {item}"));
                Err(LoadError::ForeignImport(tame(&name, NAME_BYTES)))
            }
        }
    }

    /// A component exports the interface, a module one function for each of the interface's:
    /// `millrace:rule/rule@0.1.0#process`.
    fn export(&mut self, name: &str) -> Result<(), LoadError> {
        let interface = name.split('#').next().unwrap_or(name);
        if let Some(version) = version_of(interface, RULE) {
            self.rule = true;
            return check_version(version);
        }
        Ok(())
    }
}

impl From<BinaryReaderError> for LoadError {
    fn from(error: BinaryReaderError) -> Self {
        Self::Broken { offset: error.offset(), reason: tame(error.message(), NAME_BYTES) }
    }
}

/// What follows `interface@` in `name`; empty where there is no version.
fn version_of<'a>(name: &'a str, interface: &str) -> Option<&'a str> {
    match name.strip_prefix(interface)? {
        "" => Some(""),
        rest => rest.strip_prefix('@'),
    }
}

/// Versions of one 0.x line are compatible, as everywhere in semver; their patch may differ.
fn check_version(version: &str) -> Result<(), LoadError> {
    let line = |version: &str| -> Option<(u64, u64)> {
        let mut parts = version.split('.');
        let line = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
        let _patch: u64 = parts.next()?.parse().ok()?;
        parts.next().is_none().then_some(line)
    };
    if line(version).is_some() && line(version) == line(INTERFACE_VERSION) {
        Ok(())
    } else {
        Err(LoadError::OtherVersion(tame(version, NAME_BYTES)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_of_the_same_line_are_taken() {
        for (version, taken) in [
            ("0.1.0", true),
            ("0.1.7", true),
            ("0.2.0", false),
            ("1.1.0", false),
            ("0.1", false),
            ("0.1.0-rc.1", false),
            ("", false),
        ] {
            assert_eq!(check_version(version).is_ok(), taken, "{version}");
        }
    }

    #[test]
    fn what_is_no_wasm_is_named() {
        for (bytes, want) in [
            (&b""[..], "empty"),
            (b"\x7fELF..", "native"),
            (b"\x1f\x8b", "gzip"),
            (b"  (module)", "text"),
            (b"\0asm\x09\0\0\0", "version"),
            (b"<html>", "begin"),
        ] {
            let error = form(bytes).unwrap_err().to_string();
            assert!(error.contains(want), "{error}");
        }
    }
}
