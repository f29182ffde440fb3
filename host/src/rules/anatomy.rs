//! What a rule's file is made of: sections, functions and the crates they come from, imports and
//! exports. Reads only; what the host refuses is `inspect`'s matter.

use std::collections::BTreeMap;

use wasmparser::{BinaryReaderError, KnownCustom, Name, Parser, Payload};

use super::tame;

/// Longest name that is shown, bytes.
const NAME_BYTES: usize = 300;
/// Names that are remembered: no function takes more than the host compiles.
const MAX_NAMES: usize = 200_000;

/// A file's parts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Anatomy {
    /// Whether it is a component; else a core module.
    pub is_component: bool,
    /// Sections of all modules and of the component, by name, with their bytes; the largest first.
    pub sections: Vec<(String, u64)>,
    /// Functions with their bytes, the largest first; without names they are `#NUMBER`.
    pub functions: Vec<(String, u64)>,
    /// The crates of the functions with their bytes, the largest first; empty without names.
    pub crates: Vec<(String, u64)>,
    /// Interfaces that the outermost level imports.
    pub imports: Vec<String>,
    /// Interfaces and functions that the outermost level exports.
    pub exports: Vec<String>,
    /// Smallest size of all memories together, bytes.
    pub memory_bytes: u64,
}

impl Anatomy {
    /// Takes a file apart.
    ///
    /// # Errors
    /// It is damaged.
    pub fn of(bytes: &[u8]) -> Result<Self, BinaryReaderError> {
        let mut taking = Taking::default();
        taking.found.is_component = Parser::is_component(bytes);
        for payload in Parser::new(0).parse_all(bytes) {
            taking.payload(&payload?)?;
        }
        Ok(taking.done())
    }

    /// Whether its functions have names.
    #[must_use]
    pub fn has_names(&self) -> bool {
        !self.crates.is_empty()
    }
}

/// A file with all custom sections left out but those that `keep` names. A component is left as
/// it is.
///
/// # Errors
/// It is damaged.
pub fn without_custom_sections(module: &[u8], keep: impl Fn(&str) -> bool) -> Result<Vec<u8>, BinaryReaderError> {
    if !Parser::is_core_wasm(module) {
        return Ok(module.to_vec());
    }
    let mut out = module.get(..8).unwrap_or_default().to_vec();
    for payload in Parser::new(0).parse_all(module) {
        let payload = payload?;
        if matches!(&payload, Payload::CustomSection(custom) if !keep(custom.name())) {
            continue;
        }
        if let Some((id, range)) = payload.as_section() {
            let body = usize::try_from(range.start).ok().zip(usize::try_from(range.end).ok());
            let body = body.and_then(|(start, end)| module.get(start..end)).unwrap_or_default();
            out.push(id);
            leb128(&mut out, body.len());
            out.extend_from_slice(body);
        }
    }
    Ok(out)
}

fn leb128(out: &mut Vec<u8>, mut value: usize) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// One module on the way.
#[derive(Default)]
struct Module {
    imported: u32,
    bodies: Vec<u64>,
    names: BTreeMap<u32, String>,
}

#[derive(Default)]
struct Taking {
    found: Anatomy,
    sections: BTreeMap<String, u64>,
    crates: BTreeMap<String, u64>,
    /// The modules and components that are open, outermost first.
    open: Vec<Module>,
}

impl Taking {
    fn payload(&mut self, payload: &Payload<'_>) -> Result<(), BinaryReaderError> {
        if let Some((_, range)) = payload.as_section()
            && !matches!(payload, Payload::ModuleSection { .. } | Payload::ComponentSection { .. })
        {
            *self.sections.entry(section(payload)).or_default() += range.end - range.start;
        }
        let outermost = self.open.len() == 1;
        match payload {
            Payload::Version { .. } => self.open.push(Module::default()),
            Payload::End(_) => self.close(),
            Payload::CodeSectionEntry(body) => {
                let range = body.range();
                self.module(|module| module.bodies.push(range.end - range.start));
            }
            Payload::ImportSection(imports) => {
                for import in imports.clone().into_imports() {
                    let import = import?;
                    if matches!(import.ty, wasmparser::TypeRef::Func(_)) {
                        self.module(|module| module.imported += 1);
                    }
                    if outermost {
                        push(&mut self.found.imports, import.module);
                    }
                }
            }
            Payload::ComponentImportSection(imports) if outermost => {
                for import in imports.clone() {
                    push(&mut self.found.imports, import?.name.name);
                }
            }
            Payload::ComponentExportSection(exports) if outermost => {
                for export in exports.clone() {
                    push(&mut self.found.exports, export?.name.name);
                }
            }
            Payload::ExportSection(exports) if outermost => {
                for export in exports.clone() {
                    let name = export?.name;
                    // What every component's module exports for whoever makes it one.
                    if !name.starts_with("cabi_") && !name.starts_with("__") {
                        push(&mut self.found.exports, name);
                    }
                }
            }
            Payload::MemorySection(memories) => {
                for memory in memories.clone() {
                    let pages = memory?.initial.min(1 << 32);
                    self.found.memory_bytes = self.found.memory_bytes.saturating_add(pages << 16);
                }
            }
            Payload::CustomSection(custom) => {
                if let KnownCustom::Name(names) = custom.as_known() {
                    self.names(names);
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn module(&mut self, change: impl FnOnce(&mut Module)) {
        if let Some(module) = self.open.last_mut() {
            change(module);
        }
    }

    /// Names help; one that is damaged is no reason to refuse the file.
    fn names(&mut self, names: wasmparser::NameSectionReader<'_>) {
        for name in names.into_iter().map_while(Result::ok) {
            let Name::Function(map) = name else { continue };
            for naming in map.into_iter().map_while(Result::ok).take(MAX_NAMES) {
                self.module(|module| drop(module.names.insert(naming.index, shown(naming.name))));
            }
        }
    }

    fn close(&mut self) {
        let Some(module) = self.open.pop() else { return };
        for (at, &bytes) in module.bodies.iter().enumerate() {
            let index = module.imported.saturating_add(u32::try_from(at).unwrap_or(u32::MAX));
            let name = module.names.get(&index).map(|name| without_hash(name).to_owned());
            if let Some(name) = &name {
                *self.crates.entry(crate_of(name).to_owned()).or_default() += bytes;
            }
            self.found.functions.push((name.unwrap_or_else(|| format!("#{index}")), bytes));
        }
    }

    fn done(mut self) -> Anatomy {
        let largest_first = |map: BTreeMap<String, u64>| {
            let mut all: Vec<(String, u64)> = map.into_iter().collect();
            all.sort_by_key(|(_, bytes)| std::cmp::Reverse(*bytes));
            all
        };
        self.found.sections = largest_first(self.sections);
        self.found.crates = largest_first(self.crates);
        self.found.functions.sort_by_key(|(_, bytes)| std::cmp::Reverse(*bytes));
        self.found
    }
}

/// A function's name as its author wrote it.
fn shown(name: &str) -> String {
    tame(&format!("{:#}", rustc_demangle::demangle(name)), NAME_BYTES)
}

fn push(names: &mut Vec<String>, name: &str) {
    let name = tame(name, NAME_BYTES);
    if !names.contains(&name) && names.len() < 1000 {
        names.push(name);
    }
}

fn section(payload: &Payload<'_>) -> String {
    match payload {
        Payload::CodeSectionStart { .. } => "code".to_owned(),
        Payload::DataSection(_) => "data".to_owned(),
        Payload::CustomSection(custom) => format!("custom `{}`", tame(custom.name(), 60)),
        Payload::TypeSection(_) => "types".to_owned(),
        Payload::ImportSection(_) => "imports".to_owned(),
        Payload::ExportSection(_) => "exports".to_owned(),
        Payload::FunctionSection(_) => "functions".to_owned(),
        Payload::ElementSection(_) => "elements".to_owned(),
        Payload::TableSection(_) | Payload::MemorySection(_) | Payload::GlobalSection(_) => {
            "tables, memories, globals".to_owned()
        }
        Payload::DataCountSection { .. } | Payload::StartSection { .. } | Payload::TagSection(_) => "others".to_owned(),
        _ => "component".to_owned(),
    }
}

/// Rust ends a name with `::h` and a hash.
fn without_hash(name: &str) -> &str {
    match name.rsplit_once("::h") {
        Some((name, hash)) if hash.len() == 16 && hash.bytes().all(|byte| byte.is_ascii_hexdigit()) => name,
        _ => name,
    }
}

/// The crate in a function's name: `<alloc::vec::Vec<T> as core::clone::Clone>::clone` is `alloc`.
fn crate_of(name: &str) -> &str {
    let start = name.trim_start_matches(|c: char| "<&*([ ".contains(c)).trim_start_matches("dyn ");
    let end = start.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(start.len());
    match (&start[..end], start[end..].starts_with("::") || start[end..].starts_with('[')) {
        ("", _) | (_, false) => "(no crate)",
        (name, true) => name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_function_s_crate_is_found_in_its_name() {
        for (name, want) in [
            ("core::fmt::write::h0123456789abcdef", "core"),
            ("<alloc::vec::Vec<T> as core::clone::Clone>::clone", "alloc"),
            ("<&dyn core::fmt::Debug>::fmt", "core"),
            ("serde_json[9f]::de::parse", "serde_json"),
            ("memcpy", "(no crate)"),
            ("cabi_realloc", "(no crate)"),
            ("", "(no crate)"),
        ] {
            assert_eq!(crate_of(without_hash(name)), want, "{name}");
        }
        assert_eq!(without_hash("core::fmt::write::h0123456789abcdef"), "core::fmt::write");
        assert_eq!(without_hash("core::hash::hash"), "core::hash::hash");
    }

    #[test]
    fn a_module_is_taken_apart_and_its_names_can_be_left_out() {
        let module = wat::parse_str(
            r#"(module $m (import "millrace:rule/host@0.1.0" "log" (func $log)) (memory 2)
               (func $core::fmt::write (nop) (nop)) (func $small) (export "x" (func $small)) (data (i32.const 0) "abc"))"#,
        )
        .unwrap();
        let anatomy = Anatomy::of(&module).unwrap();
        assert_eq!(anatomy.functions[0].0, "core::fmt::write");
        assert_eq!(anatomy.crates[0].0, "core");
        assert_eq!((anatomy.imports, anatomy.exports), (vec!["millrace:rule/host@0.1.0".into()], vec!["x".into()]));
        assert_eq!(anatomy.memory_bytes, 128 << 10);
        let bare = without_custom_sections(&module, |_| false).unwrap();
        let stripped = Anatomy::of(&bare).unwrap();
        assert!(bare.len() < module.len() && !stripped.has_names());
        assert_eq!(stripped.functions[0].0, "#1");
        assert_eq!(without_custom_sections(&module, |_| true).unwrap(), module);
    }
}
