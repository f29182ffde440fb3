//! The hand-written guests of `fixtures/hostile`: sections of files, each put into the frame of a rule that does nothing.

use std::fs;
use std::path::{Path, PathBuf};

use millrace::rules::FaultKind;
use wit_component::StringEncoding;
use wit_parser::Resolve;

/// What begins a section.
const MARK: &str = ";;; ";

/// What becomes of a guest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expected {
    /// It does not start, and this is in what is said of it.
    Start(String),
    /// Every `process` call fails so.
    Process(FaultKind),
    /// Every `finish` call fails so.
    Finish(FaultKind),
    /// Some calls fail so.
    Sometimes(FaultKind),
    /// Nothing fails, and nothing is changed.
    Nothing,
    /// Whatever it likes, one failure a failing call.
    Anything,
}

/// One guest.
pub struct Case {
    pub name: String,
    pub expected: Expected,
    pub bytes: Vec<u8>,
}

/// The guests of all files.
pub fn written() -> Vec<Case> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/hostile");
    let mut paths: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let world = World::new();
    let mut cases = Vec::new();
    for path in paths {
        let text = fs::read_to_string(&path).unwrap();
        let (_, sections) = text.split_once(&format!("\n{MARK}")).expect("a file has sections");
        for section in sections.split(&format!("\n{MARK}")) {
            let (head, body) = section.split_once('\n').expect("a section has a body");
            let (name, expected) = head.split_once(" | ").unwrap_or_else(|| panic!("{head}: name | expected"));
            let name = format!("{}: {name}", path.file_stem().unwrap().to_string_lossy());
            let bytes = world.rule(&name, &framed(body));
            cases.push(Case { expected: expected_of(expected), bytes, name });
        }
    }
    cases
}

/// The modules that `tests/smith` wrote.
pub fn made_up() -> Vec<Case> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/smith");
    let mut paths: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let world = World::new();
    let case = |path: &PathBuf| Case {
        name: format!("made up: {}", path.file_stem().unwrap().to_string_lossy()),
        expected: Expected::Anything,
        bytes: world.embed(fs::read(path).unwrap()),
    };
    paths.iter().map(case).collect()
}

fn expected_of(text: &str) -> Expected {
    let kind = |word: &str| {
        use FaultKind as Kind;
        let kinds =
            [Kind::Trap, Kind::Timeout, Kind::Memory, Kind::Unreadable, Kind::Refused, Kind::Fatal, Kind::InvalidEdit];
        kinds.into_iter().find(|kind| kind.as_str() == word).unwrap_or_else(|| panic!("`{word}` is no kind"))
    };
    match text.split_once(' ') {
        None if text == "none" => Expected::Nothing,
        None => Expected::Process(kind(text)),
        Some(("start", says)) => Expected::Start(says.to_owned()),
        Some(("finish", word)) => Expected::Finish(kind(word)),
        Some(("sometimes", word)) => Expected::Sometimes(kind(word.strip_prefix("finish ").unwrap_or(word))),
        Some(_) => panic!("`{text}` is nothing to expect"),
    }
}

/// A rule's module around `body`, which may replace any part of it. It has eight mebibytes of memory; what the host
/// lends lies from the second on.
pub fn framed(body: &str) -> String {
    let has = |part: &str| body.contains(part);
    let mut module = String::from("(module\n");
    // Imports come first.
    let (imports, rest): (Vec<&str>, Vec<&str>) = body.lines().partition(|line| line.starts_with("(import"));
    module += &imports.join("\n");
    module += r#"
  (import "millrace:rule/host@0.1.0" "log" (func $log (param i32 i32 i32)))
  (import "millrace:rule/host@0.1.0" "count" (func $count (param i32 i32 i64)))
  (global $next (mut i32) (i32.const 2097152))
  (func $bump (param $align i32) (param $size i32) (result i32) (local $at i32)
    (local.set $at (i32.and
      (i32.add (global.get $next) (i32.sub (local.get $align) (i32.const 1)))
      (i32.sub (i32.const 0) (local.get $align))))
    (global.set $next (i32.add (local.get $at) (local.get $size)))
    (local.get $at))
"#;
    module += &rest.join("\n");
    if !has("(memory (export") && !has("(memory 1)") {
        module += "\n(memory (export \"memory\") 128)";
    }
    for (name, head, body) in [
        (
            "realloc",
            "(param $old i32) (param $old_size i32) (param $align i32) (param $size i32) (result i32)",
            "(call $bump (local.get $align) (local.get $size))",
        ),
        ("describe", "(result i32)", "(i32.const 0)"),
        ("configure", "(param i32 i32) (result i32)", "(i32.const 0)"),
        ("process", "(param i32) (result i32)", "(i32.const 0)"),
        ("finish", "(param i64 i64 i64 i32 i32) (result i32)", "(i32.const 0)"),
    ] {
        if !has(&format!("(func ${name} ")) {
            module += &format!("\n(func ${name} {head} {body})");
        }
        let export =
            if name == "realloc" { "cabi_realloc".to_owned() } else { format!("millrace:rule/rule@0.1.0#{name}") };
        if !has(&format!("(func $without_{name})")) {
            module += &format!("\n(export \"{export}\" (func ${name}))");
        }
    }
    module + ")\n"
}

/// The world of rules, which a module carries as what a compiler writes does.
pub struct World {
    resolve: Resolve,
    world: wit_parser::WorldId,
}

impl World {
    pub fn new() -> Self {
        let mut resolve = Resolve::default();
        let wit = Path::new(env!("CARGO_MANIFEST_DIR")).join("../guest-sdk/wit");
        let (package, _) = resolve.push_path(wit).unwrap();
        let world = resolve.select_world(&[package], Some("millrace-rule")).unwrap();
        Self { resolve, world }
    }

    /// A rule's file of a module's text.
    pub fn rule(&self, name: &str, text: &str) -> Vec<u8> {
        let module = wat::parse_str(text).unwrap_or_else(|error| panic!("{name}: {error}\n{text}"));
        self.embed(module)
    }

    /// A rule's file of a module.
    pub fn embed(&self, mut module: Vec<u8>) -> Vec<u8> {
        wit_component::embed_component_metadata(&mut module, &self.resolve, self.world, StringEncoding::UTF8).unwrap();
        module
    }
}
