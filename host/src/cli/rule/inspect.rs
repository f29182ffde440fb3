//! `millrace rule inspect`: what a file is, and whether this host would load it.

use std::process::ExitCode;

use serde_json::{Value, json};

use super::console::{Console, Fail, Paint, code, size, tamed};
use super::{InspectArgs, Output, build, files};
use crate::rules::component::LoadError;
use crate::rules::{Anatomy, Description, Desk, Digest, INTERFACE_VERSION};

/// Parts that are listed of each sort.
const LISTED: usize = 8;

/// Whether the host takes it: who it is and how long compiling took, or why not.
type Verdict = Result<(Description, f64), String>;

/// Looks and tells.
pub(super) fn inspect(args: &InspectArgs, console: &Console) -> Result<ExitCode, Fail> {
    let bytes = files::read_wasm(&args.rule)?;
    let anatomy = match Anatomy::of(&bytes) {
        Ok(anatomy) => Ok(anatomy),
        // What is no WebAssembly at all has nothing to show.
        Err(_) if !bytes.starts_with(b"\0asm") => return Err(no_wasm(args, &bytes)),
        Err(error) => Err(tamed(error.message())),
    };
    let verdict = judge(args, &bytes, console)?;
    if args.output == Output::Json {
        console.json(&as_json(args, &bytes, anatomy.as_ref().ok(), &verdict));
    } else {
        tell(args, &bytes, anatomy.as_ref(), &verdict, console);
    }
    Ok(code(verdict.is_ok()))
}

fn no_wasm(args: &InspectArgs, bytes: &[u8]) -> Fail {
    // The loader's own words, which know what people take for a rule.
    let why = build::engine().map(|engine| engine.load(bytes).err().map(|error| error.to_string()));
    let why = why.ok().flatten().unwrap_or_else(|| LoadError::NotWasm("it is damaged").to_string());
    Fail::rule(format!("{}: {}", args.rule.display(), tamed(&why)))
}

fn judge(args: &InspectArgs, bytes: &[u8], console: &Console) -> Result<Verdict, Fail> {
    let engine = build::engine()?;
    let _progress = console.progress(format!("compiling {}", args.rule.display()));
    Ok(match engine.load(bytes) {
        Err(error) => Err(tamed(&error.to_string())),
        Ok(compiled) => Desk::describe(&compiled, &files::stem(&args.rule))
            .map(|description| (description, compiled.compile_time().as_secs_f64() * 1e3))
            .map_err(|fault| tamed(&fault.to_string())),
    })
}

fn as_json(args: &InspectArgs, bytes: &[u8], anatomy: Option<&Anatomy>, verdict: &Verdict) -> Value {
    let parts = |parts: &[(String, u64)], most: usize| -> Vec<Value> {
        parts.iter().take(most).map(|(name, bytes)| json!({"name": name, "bytes": bytes})).collect()
    };
    let mut shown = json!({
        "file": args.rule, "bytes": bytes.len(), "digest": Digest::of(bytes).to_string(),
        "host-interface": format!("millrace:rule@{INTERFACE_VERSION}"), "loads": verdict.is_ok(),
    });
    if let Some(anatomy) = anatomy {
        shown["form"] = if anatomy.is_component { "component" } else { "module" }.into();
        shown["imports"] = json!(anatomy.imports);
        shown["exports"] = json!(anatomy.exports);
        shown["sections"] = parts(&anatomy.sections, usize::MAX).into();
        shown["functions"] = anatomy.functions.len().into();
        shown["largest-functions"] = parts(&anatomy.functions, 100).into();
        shown["crates"] = parts(&anatomy.crates, usize::MAX).into();
        shown["memory-bytes"] = anatomy.memory_bytes.into();
    }
    match verdict {
        Ok((description, compile_ms)) => {
            let schema = &description.settings_schema;
            let schema = serde_json::from_str(schema).unwrap_or_else(|_| Value::from(schema.as_str()));
            shown["describe"] = json!({
                "name": description.name, "version": description.version, "sdk": description.sdk,
                "settings-schema": schema,
            });
            shown["compile-ms"] = (*compile_ms).into();
        }
        Err(why) => shown["why-not"] = why.as_str().into(),
    }
    shown
}

fn tell(args: &InspectArgs, bytes: &[u8], anatomy: Result<&Anatomy, &String>, verdict: &Verdict, console: &Console) {
    let field = |name: &str, value: &str| console.line(format!("  {name:<10} {value}"));
    console.line(console.paint(Paint::Bold, args.rule.display()));
    match verdict {
        Ok((_, compile_ms)) => {
            let taken = console.paint(Paint::Good, "yes");
            field("loads", &format!("{taken}, as millrace:rule@{INTERFACE_VERSION}; compiled in {compile_ms:.0} ms"));
        }
        Err(why) => field("loads", &format!("{}: {why}", console.paint(Paint::Bad, "no"))),
    }
    if let Ok((description, _)) = verdict {
        field("rule", &format!("{} {}, {}", description.name, description.version, description.sdk));
        field("settings", &settings(&description.settings_schema));
    }
    field("size", &size(bytes.len() as u64));
    field("digest", &Digest::of(bytes).to_string());
    let anatomy = match anatomy {
        Ok(anatomy) => anatomy,
        Err(why) => return field("damaged", why),
    };
    field("form", if anatomy.is_component { "component" } else { "core module, made a component when it is loaded" });
    list("imports", &anatomy.imports, console);
    list("exports", &anatomy.exports, console);
    field("memory", &format!("{} at the start", size(anatomy.memory_bytes)));
    parts("sections", &anatomy.sections, console);
    if anatomy.has_names() {
        parts("crates", &anatomy.crates, console);
    }
    let title = format!("functions ({})", anatomy.functions.len());
    parts(&title, &anatomy.functions, console);
    if !anatomy.has_names() {
        console.line("    (names were left out; `millrace rule build --names` keeps them)");
    }
}

fn list(title: &str, names: &[String], console: &Console) {
    let mut names = names.iter().take(2 * LISTED);
    let first = names.next().map_or("none", String::as_str);
    console.line(format!("  {title:<10} {first}"));
    names.for_each(|name| console.line(format!("  {:<10} {name}", "")));
}

fn parts(title: &str, parts: &[(String, u64)], console: &Console) {
    console.line(format!("  {title}"));
    for (name, bytes) in parts.iter().take(LISTED) {
        let name: String = name.chars().take(100).collect();
        console.line(format!("  {:>10}  {name}", size(*bytes)));
    }
    let rest: u64 = parts.iter().skip(LISTED).map(|(_, bytes)| bytes).sum();
    if rest > 0 {
        console.line(format!("  {:>10}  {} more", size(rest), parts.len() - LISTED));
    }
}

/// A line about each setting of a JSON schema, as far as it is one.
fn settings(schema: &str) -> String {
    let parsed: Value = serde_json::from_str(schema).unwrap_or_default();
    let Some(properties) = parsed["properties"].as_object() else {
        return "it says nothing of them".to_owned();
    };
    let required = |name: &str| parsed["required"].as_array().is_some_and(|all| all.iter().any(|key| key == name));
    let one = |(name, about): (&String, &Value)| {
        let kind = about["type"].as_str().unwrap_or("any");
        let needed = if required(name) { ", required" } else { "" };
        tamed(&format!("{name} ({kind}{needed})"))
    };
    if properties.is_empty() { "none".to_owned() } else { properties.iter().map(one).collect::<Vec<_>>().join(", ") }
}
