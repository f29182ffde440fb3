//! `millrace rule build`: what the compiler writes becomes the component that a directory of rules
//! holds, and the host that will run it tries it first.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use serde_json::json;

use super::console::{Console, Fail, Paint, code, size, tamed};
use super::lang::{self, Built};
use super::{BuildArgs, Output, files};
use crate::rules::anatomy::without_custom_sections;
use crate::rules::component::wrap;
use crate::rules::{Anatomy, CompiledRule, Description, Desk, Digest, RuleEngine};

/// Largest file that a ConfigMap holds, bytes.
const CONFIG_MAP_BYTES: u64 = 1 << 20;
/// Parts that are named when a rule is large.
const NAMED_PARTS: usize = 10;

/// A rule that this host has loaded.
pub(super) struct Ready {
    /// Where it lies.
    pub path: PathBuf,
    /// What lies there.
    pub bytes: Vec<u8>,
    /// The compiler's module with the names of its functions.
    anatomy: Anatomy,
    /// Ready to run.
    pub compiled: CompiledRule,
    /// Who it says it is.
    description: Description,
}

/// Builds and tells.
pub(super) fn build(args: &BuildArgs, console: &Console) -> Result<ExitCode, Fail> {
    let engine = engine()?;
    let ready = make(&engine, &args.dir, args.out.as_deref(), args.names, console)?;
    let bytes = ready.bytes.len() as u64;
    if args.output == Output::Json {
        console.json(&json!({
            "file": ready.path, "bytes": bytes, "digest": ready.compiled.digest().to_string(),
            "fits-config-map": bytes <= CONFIG_MAP_BYTES,
            "name": ready.description.name, "version": ready.description.version, "sdk": ready.description.sdk,
        }));
    } else {
        let Description { name, version, sdk, .. } = &ready.description;
        console.line(format!("{} {}", console.paint(Paint::Good, "built"), ready.path.display()));
        console.line(format!("  rule     {name} {version}, {sdk}"));
        console.line(format!("  size     {}", size(bytes)));
        console.line(format!("  digest   {}", Digest::of(&ready.bytes)));
    }
    if bytes > CONFIG_MAP_BYTES {
        let large = size(bytes);
        console.warn(format!("{large} fit no ConfigMap, which holds 1 MiB; an image or a volume can carry it"));
        explain(&ready.anatomy, console);
    }
    Ok(code(true))
}

/// Builds the rule of a folder and loads what came out.
pub(super) fn make(
    engine: &RuleEngine,
    dir: &Path,
    out: Option<&Path>,
    names: bool,
    console: &Console,
) -> Result<Ready, Fail> {
    let Built { name, wasm } = lang::of(dir)?.build(dir, console)?;
    let damaged = |error: &dyn std::fmt::Display| Fail::rule(format!("what the compiler wrote is damaged: {error}"));
    let anatomy = Anatomy::of(&wasm).map_err(|error| damaged(&error))?;
    let kept = |section: &str| section.starts_with("component-type") || (names && section == "name");
    let mut bytes = without_custom_sections(&wasm, kept).map_err(|error| damaged(&error))?;
    if !anatomy.is_component {
        bytes = wrap(&bytes).map_err(|error| Fail::rule(format!("what the compiler wrote {error}")))?;
    }
    let file = format!("{name}.wasm");
    // Shown without `./`, as one would type it.
    let own = if dir == Path::new(".") { PathBuf::from(&file) } else { dir.join(&file) };
    let path = out.map_or(own, Path::to_owned);
    let compiled = load(engine, &path, &bytes, console)?;
    let description = Desk::describe(&compiled, &name)
        .map_err(|fault| Fail::rule(format!("{}: {}", path.display(), tamed(&fault.to_string()))))?;
    files::write(&path, &bytes)?;
    Ok(Ready { path, bytes, anatomy, compiled, description })
}

/// The engine that clusters run rules on.
pub(super) fn engine() -> Result<RuleEngine, Fail> {
    RuleEngine::new().map_err(Fail::input)
}

/// Loads a rule's file as the host does.
pub(super) fn load(engine: &RuleEngine, path: &Path, bytes: &[u8], console: &Console) -> Result<CompiledRule, Fail> {
    let _progress = console.progress(format!("compiling {}", path.display()));
    engine.load(bytes).map_err(|error| Fail::rule(format!("{}: {}", path.display(), tamed(&error.to_string()))))
}

/// What makes a rule large.
pub(super) fn explain(anatomy: &Anatomy, console: &Console) {
    let parts = |title: &str, parts: &[(String, u64)]| {
        console.note(format!("  {title}"));
        for (name, bytes) in parts.iter().take(NAMED_PARTS) {
            console.note(format!("    {:>10}  {name}", size(*bytes)));
        }
    };
    parts("sections:", &anatomy.sections);
    if anatomy.has_names() {
        parts("crates:", &anatomy.crates);
    }
    parts("largest functions:", &anatomy.functions);
}
