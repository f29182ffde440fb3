//! Rules in JavaScript and Python: made, built and tested as in Rust and C, with the same cases. The tools
//! come from npm and PyPI; where those are not reached, the tests say so. The first run fetches and builds;
//! later ones find both in the user's cache folder, but each compiles 12 to 18 MB of WebAssembly.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a failed expectation is a failed test")]
#![allow(clippy::print_stderr, reason = "what was skipped is for people")]

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use millrace::rules::Anatomy;
use millrace_tests::fixtures::process::{Outcome, Process, binary};
use serde_json::{Value, json};

const DEADLINE: Duration = Duration::from_secs(900);

/// What a rule may import.
const HOST: &str = "millrace:rule/host@0.1.0";

fn rule(dir: &Path, args: &[&str]) -> Outcome {
    let mut command = Command::new(binary("millrace", "millrace"));
    // As on many developers' machines, and in most CI: what the tools say must stay readable.
    command.arg("rule").args(args).current_dir(dir).env("RUST_BACKTRACE", "1");
    Process::start("millrace", command).wait(DEADLINE)
}

/// Why there is no rule to test, where a tool is missing and can't be had.
fn not_here(outcome: &Outcome) -> bool {
    let missing = ["there is no ", "can't be fetched", "it takes "].iter().any(|it| outcome.stderr.contains(it));
    if outcome.code() == Some(2) && missing {
        eprintln!("skipped: no rule in another language was built: {}", outcome.stderr);
        return true;
    }
    false
}

fn every_kind_passes_its_cases(lang: &str, sdk: &str) {
    for (kind, cases) in [("filter", 3), ("relabel", 2), ("aggregate", 2)] {
        let dir = tempfile::tempdir().unwrap();
        // The same name each time: what was built is found again.
        let made = rule(dir.path(), &["new", kind, "--lang", lang, "--kind", kind]);
        assert_eq!(made.code(), Some(0), "{}", made.stderr);
        let project = dir.path().join(kind);
        let tested = rule(&project, &["test", "--output", "json"]);
        if not_here(&tested) {
            return;
        }
        assert_eq!(tested.code(), Some(0), "{lang}, {kind}: {}{}", tested.stdout, tested.stderr);
        let tested: Value = serde_json::from_str(&tested.stdout).unwrap();
        assert_eq!((&tested["passed"], &tested["failed"]), (&json!(cases), &json!(0)), "{lang}, {kind}: {tested}");
        let anatomy = Anatomy::of(&fs::read(project.join(format!("{kind}.wasm"))).unwrap()).unwrap();
        assert_eq!(anatomy.imports, [HOST], "{lang}, {kind}: no clock, no files, no network");
        assert!(!project.join("target/stage").exists(), "{lang}, {kind}");
        if kind == "filter" {
            whatever_is_wrong_is_told(&project, lang, sdk);
        }
    }
}

/// A rule whose sources do not parse, and one that is built as it was.
fn whatever_is_wrong_is_told(project: &Path, lang: &str, sdk: &str) {
    let source = project.join(if lang == "python" { "rule.py" } else { "rule.js" });
    let good = fs::read_to_string(&source).unwrap();
    fs::write(&source, format!("{good}\nthis is wrong\n")).unwrap();
    let failed = rule(project, &["build"]);
    assert_eq!(failed.code(), Some(1), "{}", failed.stderr);
    let line = good.lines().count() + 2;
    let name = source.file_name().unwrap().to_string_lossy().into_owned();
    assert!(failed.stderr.contains(&name) && failed.stderr.contains(&line.to_string()), "{}", failed.stderr);
    fs::write(&source, good).unwrap();

    let outcome = rule(project, &["build", "--output", "json"]);
    assert!(outcome.stderr.contains("nothing changed"), "{}", outcome.stderr);
    assert!(outcome.stderr.contains("fit no ConfigMap"), "{}", outcome.stderr);
    let built: Value = serde_json::from_str(&outcome.stdout).unwrap();
    assert_eq!((&built["name"], &built["fits-config-map"]), (&json!("filter"), &json!(false)), "{built}");
    assert_eq!(built["sdk"], sdk, "{built}");
}

#[test]
fn rules_in_javascript_pass_the_cases_of_those_in_rust() {
    every_kind_passes_its_cases("javascript", "javascript/0.1.0");
}

#[test]
fn rules_in_python_pass_the_cases_of_those_in_rust() {
    every_kind_passes_its_cases("python", "python/0.1.0");
}

#[test]
fn a_registry_that_is_not_reached_is_named_with_the_way_around_it() {
    let dir = tempfile::tempdir().unwrap();
    for (lang, settings) in [
        ("javascript", [("npm_config_registry", "http://127.0.0.1:9/"), ("npm_config_fetch_retries", "0")]),
        ("python", [("PIP_INDEX_URL", "http://127.0.0.1:9/"), ("PIP_RETRIES", "0")]),
    ] {
        let made = rule(dir.path(), &["new", lang, "--lang", lang]);
        assert_eq!(made.code(), Some(0), "{}", made.stderr);
        let mut command = Command::new(binary("millrace", "millrace"));
        command.args(["rule", "build", lang]).current_dir(dir.path()).envs(settings);
        // Folders of this machine that pip takes packages from, and npm's own cache, are no registry.
        command.env("XDG_CACHE_HOME", dir.path().join("cache")).env("npm_config_cache", dir.path().join("npm"));
        command.env("PIP_CONFIG_FILE", "/dev/null").env("PIP_NO_CACHE_DIR", "1").env_remove("PIP_FIND_LINKS");
        let outcome = Process::start("millrace", command).wait(DEADLINE);
        assert_eq!(outcome.code(), Some(2), "{}", outcome.stderr);
        if outcome.stderr.contains("there is no ") {
            eprintln!("skipped: {}", outcome.stderr);
            continue;
        }
        assert!(outcome.stderr.contains("can't be fetched from"), "{}", outcome.stderr);
        assert!(
            outcome.stderr.contains("copy ") && outcome.stderr.contains("/tools/componentize-"),
            "{}",
            outcome.stderr
        );
    }
}
