//! `millrace rule test`: a rule's cases, in the runtime that clusters run.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use serde_json::{Value, json};

use super::console::{Console, Fail, Paint, code, tamed};
use super::{Output, TestArgs, build, files, lang};
use crate::batch::rows::{Detail, Row};
use crate::rules::case::{self, MAX_CASE_BYTES, NotBlessed, Outcome, What, bless};
use crate::rules::{Case, CompiledRule};

/// Cases of one rule.
const MAX_CASES: usize = 10_000;
/// Rows of one difference that are printed; JSON has all.
const SHOWN_ROWS: usize = 40;
/// Rows around a difference that came as wanted.
const CONTEXT: usize = 2;

/// A case's file.
struct File {
    name: String,
    path: PathBuf,
    text: String,
}

/// What came of a file.
enum CaseResult {
    /// It is no case.
    Unreadable(Vec<String>),
    Ran(Case, Outcome),
}

/// Runs the cases and tells.
pub(super) fn test(args: &TestArgs, console: &Console) -> Result<ExitCode, Fail> {
    let (path, folder) = places(args)?;
    let files = read_cases(&folder, args)?;
    let engine = build::engine()?;
    let (path, compiled) = match path {
        Some(path) => {
            let bytes = files::read_wasm(&path)?;
            let compiled = build::load(&engine, &path, &bytes, console)?;
            (path, compiled)
        }
        None => {
            let ready = build::make(&engine, &args.rule, None, false, console)?;
            (ready.path, ready.compiled)
        }
    };
    if args.output == Output::Text {
        console.line(format!("{} with {}", console.paint(Paint::Bold, path.display()), plural(files.len(), "case")));
    }
    let (mut failed, mut blessed, mut shown) = (0, 0, Vec::new());
    for file in &files {
        let result = run(file, &compiled, &files::stem(&path), console);
        let good = result.is_good();
        let written = if args.bless && !good { bless_file(file, &result) } else { Ok(false) };
        failed += usize::from(!good && !matches!(written, Ok(true)));
        blessed += usize::from(matches!(written, Ok(true)));
        if args.output == Output::Json {
            shown.push(as_json(file, &result, &written));
        } else {
            tell(file, &result, &written, console);
        }
    }
    let passed = files.len() - failed - blessed;
    if args.output == Output::Json {
        console.json(&json!({
            "rule": path, "digest": compiled.digest().to_string(), "passed": passed, "failed": failed,
            "blessed": blessed, "cases": shown,
        }));
    } else {
        let mut counts =
            vec![console.paint(if failed == 0 { Paint::Good } else { Paint::Dim }, format!("{passed} passed"))];
        if failed > 0 {
            counts.push(console.paint(Paint::Bad, format!("{failed} failed")));
        }
        if blessed > 0 {
            counts.push(console.paint(Paint::Warn, format!("{blessed} written anew; look at the changes")));
        }
        console.line(format!("\n{}", counts.join(", ")));
    }
    Ok(code(failed == 0))
}

/// The rule's file, or nothing where it is to be built; and the folder of the cases.
fn places(args: &TestArgs) -> Result<(Option<PathBuf>, PathBuf), Fail> {
    let rule = &args.rule;
    if !rule.is_dir() {
        if !rule.exists() {
            return Err(Fail::input(format!(
                "{}: is not there; name a rule's folder or its .wasm file",
                rule.display()
            )));
        }
        let beside = rule.parent().unwrap_or(Path::new("")).join("cases");
        return Ok((Some(rule.clone()), args.cases.clone().unwrap_or(beside)));
    }
    let folder = args.cases.clone().unwrap_or_else(|| rule.join("cases"));
    if !args.no_build {
        lang::of(rule)?;
        return Ok((None, folder));
    }
    let found = fs::read_dir(rule).into_iter().flatten().filter_map(|entry| Some(entry.ok()?.path()));
    let mut found: Vec<PathBuf> = found.filter(|path| path.extension().is_some_and(|it| it == "wasm")).collect();
    match (found.pop(), found.is_empty()) {
        (Some(path), true) => Ok((Some(path), folder)),
        (None, _) => Err(Fail::input(format!("{}: has no .wasm file yet; leave --no-build out", rule.display()))),
        (Some(_), false) => Err(Fail::input(format!("{}: has several .wasm files; name one", rule.display()))),
    }
}

fn read_cases(folder: &Path, args: &TestArgs) -> Result<Vec<File>, Fail> {
    let none = |why: &dyn std::fmt::Display| {
        Fail::input(format!(
            "{}: {why}; write a case into it as `millrace rule test --help` shows, or name its folder with --cases",
            folder.display()
        ))
    };
    let entries = fs::read_dir(folder).map_err(|error| none(&error))?;
    let mut paths: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    paths.retain(|path| path.extension().is_some_and(|it| it == "toml"));
    paths.sort();
    if paths.is_empty() {
        return Err(none(&"has no cases (*.toml)"));
    }
    if paths.len() > MAX_CASES {
        return Err(none(&format!("has more than {MAX_CASES} cases")));
    }
    if let Some(filter) = &args.filter {
        paths.retain(|path| files::stem(path).contains(filter.as_str()));
        if paths.is_empty() {
            return Err(Fail::input(format!("no case in {} has `{filter}` in its name", folder.display())));
        }
    }
    let file = |path: PathBuf| {
        let text = files::read_text(&path, MAX_CASE_BYTES)?;
        Ok(File { name: files::stem(&path), path, text })
    };
    paths.into_iter().map(file).collect()
}

fn run(file: &File, compiled: &CompiledRule, name: &str, console: &Console) -> CaseResult {
    match Case::read(&file.text) {
        Ok(case) => {
            let _progress = console.progress(format!("case {}", file.name));
            let outcome = case::run(&case, compiled, name);
            CaseResult::Ran(case, outcome)
        }
        Err(problems) => CaseResult::Unreadable(problems),
    }
}

impl CaseResult {
    fn is_good(&self) -> bool {
        matches!(self, Self::Ran(_, outcome) if outcome.problems.is_empty())
    }
}

/// Writes what came out; whether it did.
fn bless_file(file: &File, result: &CaseResult) -> Result<bool, NotBlessed> {
    let CaseResult::Ran(case, outcome) = result else { return Ok(false) };
    let text = bless(&file.text, case, outcome)?;
    Ok(files::write(&file.path, text.as_bytes()).is_ok())
}

fn tell(file: &File, result: &CaseResult, written: &Result<bool, NotBlessed>, console: &Console) {
    let name = console.paint(Paint::Bold, &file.name);
    if result.is_good() {
        return console.line(format!("{} {}", console.paint(Paint::Good, "  ok"), file.name));
    }
    if matches!(written, Ok(true)) {
        return console.line(format!("{} {name}", console.paint(Paint::Warn, " new")));
    }
    let failed = console.paint(Paint::Bad, "FAIL");
    match result {
        CaseResult::Unreadable(problems) => {
            console.line(format!("{failed} {name}: is no case"));
            for problem in problems {
                console.line(indented(&format!("{}: {}", file.path.display(), tamed(problem))));
            }
        }
        CaseResult::Ran(case, outcome) => {
            let about = if case.description.is_empty() { String::new() } else { format!(": {}", case.description) };
            console.line(format!("{failed} {name}{}", tamed(&about)));
            for problem in &outcome.problems {
                console.line(format!("     {}", console.paint(Paint::Dim, &problem.place)));
                tell_problem(&problem.what, case.detail, console);
            }
        }
    }
    if let Err(why) = written {
        console.line(format!("     not written anew: {why}"));
    }
}

fn tell_problem(what: &What, detail: Detail, console: &Console) {
    let text = match what {
        What::Rows { missing, unexpected, same } => return tell_rows(missing, unexpected, same, detail, console),
        What::Failed(why) => format!("failed: {}", tamed(why)),
        What::OtherError { wanted, got } => {
            let (got, wanted) = (tamed(got), tamed(wanted));
            format!(
                "{} {got}\n{} an error with `{wanted}`",
                console.paint(Paint::Good, "+"),
                console.paint(Paint::Bad, "-")
            )
        }
        What::Succeeded { wanted } => format!("succeeded; wanted an error with `{}`", tamed(wanted)),
        What::Unsaid => "the case says neither `want` nor `error`; --bless writes what comes out".to_owned(),
        What::Unfit(why) => tamed(why),
    };
    console.line(indented(&text));
}

/// What is missing and what is too much, by series, among some rows that came as wanted.
fn tell_rows(missing: &[Row], unexpected: &[Row], same: &[Row], detail: Detail, console: &Console) {
    let mut lines: Vec<(String, u8, String)> = Vec::new();
    for (mark, rows) in [(b'-', missing), (b'+', unexpected), (b' ', same)] {
        lines.extend(rows.iter().map(|row| (row.series(), mark, tamed(&row.text(detail)))));
    }
    // Of one series what was wanted comes before what came.
    lines.sort_by(|a, b| (&a.0, b.1).cmp(&(&b.0, a.1)));
    let changed: Vec<usize> = (0..lines.len()).filter(|&at| lines[at].1 != b' ').collect();
    let near = |at: usize| {
        let next = changed.partition_point(|&changed| changed < at);
        let close = |changed: Option<&usize>| changed.is_some_and(|&changed| changed.abs_diff(at) <= CONTEXT);
        close(changed.get(next)) || (next > 0 && close(changed.get(next - 1)))
    };
    let (mut shown, mut gap) = (0, false);
    for (at, (_, mark, text)) in lines.iter().enumerate() {
        if !near(at) {
            gap = true;
            continue;
        }
        if std::mem::take(&mut gap) && shown > 0 {
            console.line(console.paint(Paint::Dim, "       …"));
        }
        shown += 1;
        if shown > SHOWN_ROWS {
            let more = changed.iter().filter(|&&changed| changed >= at).count();
            return console.line(format!("       … {more} more differences"));
        }
        console.line(match mark {
            b'-' => console.paint(Paint::Bad, format!("     - {text}")),
            b'+' => console.paint(Paint::Good, format!("     + {text}")),
            _ => console.paint(Paint::Dim, format!("       {text}")),
        });
    }
    let (wanted, came) = (missing.len(), unexpected.len());
    let legend = format!("     (- {wanted} wanted and missing, + {came} not wanted)");
    console.line(console.paint(Paint::Dim, legend));
}

fn as_json(file: &File, result: &CaseResult, written: &Result<bool, NotBlessed>) -> Value {
    let problems: Vec<Value> = match result {
        CaseResult::Unreadable(problems) => problems.iter().map(|what| json!({"kind": "case", "text": what})).collect(),
        CaseResult::Ran(case, outcome) => outcome
            .problems
            .iter()
            .map(|problem| {
                let mut shown = problem_json(&problem.what, case.detail);
                shown["place"] = problem.place.clone().into();
                shown
            })
            .collect(),
    };
    let took = if let CaseResult::Ran(_, outcome) = result { outcome.took.as_secs_f64() * 1e3 } else { 0.0 };
    json!({
        "name": file.name, "file": file.path, "passed": result.is_good(), "blessed": matches!(written, Ok(true)),
        "ms": took, "problems": problems,
    })
}

fn problem_json(what: &What, detail: Detail) -> Value {
    let texts = |rows: &[Row]| rows.iter().map(|row| row.text(detail)).collect::<Vec<_>>();
    match what {
        What::Rows { missing, unexpected, .. } => {
            json!({"kind": "rows", "missing": texts(missing), "unexpected": texts(unexpected)})
        }
        What::Failed(text) => json!({"kind": "failed", "text": text}),
        What::OtherError { wanted, got } => json!({"kind": "other-error", "wanted": wanted, "text": got}),
        What::Succeeded { wanted } => json!({"kind": "no-error", "wanted": wanted}),
        What::Unsaid => json!({"kind": "unsaid"}),
        What::Unfit(text) => json!({"kind": "rows-unfit", "text": text}),
    }
}

fn indented(text: &str) -> String {
    text.lines().map(|line| format!("     {line}")).collect::<Vec<_>>().join("\n")
}

fn plural(count: usize, word: &str) -> String {
    if count == 1 { format!("1 {word}") } else { format!("{count} {word}s") }
}
