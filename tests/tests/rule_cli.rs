//! `millrace rule …` as an author meets it: a new rule is built, tested, measured and run; broken cases
//! and files that are no rules are told; batches of a real Millrace are recorded and replayed.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a failed expectation is a failed test")]
#![allow(clippy::print_stderr, reason = "what was skipped, and how long the whole way took, is for people")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use millrace_tests::fixtures::guests::guest;
use millrace_tests::fixtures::process::{self, Outcome, Process, binary, build_folder};
use millrace_tests::fixtures::router::Setup;
use millrace_tests::kubesim::Kubesim;
use serde_json::{Value, json};
use tempfile::TempDir;

/// A first build compiles the SDK and what it needs.
const DEADLINE: Duration = Duration::from_secs(600);

fn folder() -> TempDir {
    tempfile::tempdir().unwrap()
}

/// Runs `millrace rule …` in a folder. What cargo builds is kept beside our own output, so that only
/// the first run compiles the dependencies.
fn rule(dir: &Path, args: &[&str]) -> Outcome {
    let mut command = Command::new(binary("millrace", "millrace"));
    command.arg("rule").args(args).current_dir(dir).env("CARGO_TARGET_DIR", cargo_folder());
    Process::start("millrace", command).wait(DEADLINE)
}

fn cargo_folder() -> PathBuf {
    let folder = build_folder();
    folder.parent().unwrap_or(&folder).join("rule-projects")
}

/// The same, of which nothing but success is expected.
fn good(dir: &Path, args: &[&str]) -> String {
    let outcome = rule(dir, args);
    assert_eq!(outcome.code(), Some(0), "{args:?}: {}{}", outcome.stdout, outcome.stderr);
    outcome.stdout
}

fn good_json(dir: &Path, args: &[&str]) -> Value {
    let text = good(dir, &[args, &["--output", "json"]].concat());
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{args:?}: {error}: {text}"))
}

/// A cycle a second, printed, with the rules of the folder `rules`.
fn setup(sim: &Kubesim) -> Setup {
    setup_with(sim, "")
}

/// The same and `more`.
fn setup_with(sim: &Kubesim, more: &str) -> Setup {
    Setup::new(&format!(
        "resolution = '1s'\n[source.kubernetes]\napi-server = '{}'\n[source.kubernetes.kubelet]\nhttps = false\n\
         port = {}\n[rules]\ndir = 'FOLDER/rules'\n[[sink]]\ntype = 'log'\n{more}",
        sim.api_url(),
        sim.kubelet_port(),
    ))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_rule_is_built_tested_measured_and_runs() {
    let dir = folder();
    let began = Instant::now();
    let told = good(dir.path(), &["new", "drop-idle"]);
    assert!(told.contains("drop-idle.toml") && told.contains("millrace rule test"), "{told}");
    let project = dir.path().join("drop-idle");
    let built = good_json(&project, &["build"]);
    assert_eq!((&built["name"], &built["file"]), (&json!("drop-idle"), &json!("drop-idle.wasm")), "{built}");
    let tested = good_json(&project, &["test"]);
    assert_eq!((&tested["passed"], &tested["failed"]), (&json!(3), &json!(0)), "{tested}");
    assert_eq!(tested["digest"], built["digest"]);
    let after_test = began.elapsed();

    let sim = Kubesim::builder().size(2, 2, 1).start().await.unwrap();
    let file = |name: &str| fs::read(project.join(name)).unwrap();
    let mut router = setup(&sim)
        .file("rules/60-drop-idle.wasm", file("drop-idle.wasm"))
        .file("rules/60-drop-idle.toml", file("drop-idle.toml"))
        .start()
        .await;
    let status = router.cycle(2).await;
    eprintln!(
        "the whole way: new, build and test in {:.1} s, running in a simulated cluster after {:.1} s",
        after_test.as_secs_f64(),
        began.elapsed().as_secs_f64()
    );
    let shown = status["rules"].as_array().unwrap().iter().find(|rule| rule["name"] == "drop-idle").unwrap();
    assert_eq!((&shown["digest"], &shown["stats"]["faults"]), (&built["digest"], &json!({})), "{shown}");
    assert!(shown["stats"]["process_calls"].as_u64().unwrap() >= 4, "{shown}");
    router.stop().await;

    let seen = good_json(&project, &["inspect", "drop-idle.wasm"]);
    assert_eq!((&seen["loads"], &seen["form"]), (&json!(true), &json!("component")), "{seen}");
    assert_eq!(seen["describe"]["settings-schema"]["required"], json!(["min-millicores"]), "{seen}");
    let mangled = good(&project, &["build", "--names", "--out", "named.wasm"]);
    assert!(mangled.contains("named.wasm"));
    let named = good_json(&project, &["inspect", "named.wasm"]);
    let crates: Vec<&str> = named["crates"].as_array().unwrap().iter().map(|it| it["name"].as_str().unwrap()).collect();
    assert!(crates.contains(&"millrace_sdk") && crates.contains(&"core"), "{crates:?}");

    // The project's own settings are found beside the file.
    let first = good_json(&project, &["bench", "drop-idle.wasm", "--seconds", "1", "--save", "figures.json"]);
    let inputs = first["inputs"].as_array().unwrap();
    assert_eq!(inputs.iter().map(|it| it["name"].as_str().unwrap()).collect::<Vec<_>>(), ["facts", "after heapster"]);
    for input in inputs {
        for figure in ["instructions-a-point", "memory-bytes", "points-a-batch"] {
            assert!(input[figure].as_f64().unwrap() > 0.0, "{figure}: {input}");
        }
        assert!(input["ns-a-point"]["p10"].as_f64() <= input["ns-a-point"]["p90"].as_f64(), "{input}");
    }
    let again = ["bench", "drop-idle.wasm", "--seconds", "1", "--baseline", "figures.json", "--fail-over", "1"];
    assert!(good_json(&project, &again)["instructions-rose-percent"].as_f64().unwrap() < 1.0);
    let replayed = good_json(&project, &["replay", "drop-idle.wasm"]);
    assert!(replayed["dropped-entities"].as_u64().unwrap() > 0, "{replayed}");
}

#[test]
fn every_kind_of_rule_passes_its_cases_and_its_own_tests() {
    for kind in ["relabel", "aggregate"] {
        let dir = folder();
        good(dir.path(), &["new", "mine", "--kind", kind]);
        let project = dir.path().join("mine");
        let tested = good_json(&project, &["test"]);
        assert_eq!((&tested["passed"], &tested["failed"]), (&json!(2), &json!(0)), "{kind}: {tested}");
        let replayed = good_json(&project, &["replay", "mine.wasm"]);
        let did = ["relabelled", "added-points"].map(|key| replayed[key].as_u64().unwrap());
        assert!(did.iter().any(|&count| count > 0), "{kind}: {replayed}");
        let mut cargo = Command::new("cargo");
        cargo.arg("test").current_dir(&project).env("CARGO_TARGET_DIR", cargo_folder());
        let outcome = Process::start("cargo", cargo).wait(DEADLINE);
        assert_eq!(outcome.code(), Some(0), "{kind}: {}{}", outcome.stdout, outcome.stderr);
    }
}

#[test]
fn a_rule_in_c_passes_the_cases_of_the_one_in_rust() {
    let dir = folder();
    let told = rule(dir.path(), &["new", "c-idle", "--lang", "c"]);
    if told.stderr.contains("there is no") {
        eprintln!("skipped: no rule in C was built: {}", told.stderr);
        return;
    }
    let project = dir.path().join("c-idle");
    let tested = good_json(&project, &["test"]);
    assert_eq!((&tested["passed"], &tested["failed"]), (&json!(3), &json!(0)), "{tested}");
    let built = good_json(&project, &["build"]);
    assert!(built["bytes"].as_u64().unwrap() < 32 << 10, "{built}");
    let refused = rule(dir.path(), &["new", "c-sums", "--lang", "c", "--kind", "aggregate"]);
    assert_eq!(refused.code(), Some(2));
    assert!(refused.stderr.contains("there is no aggregate in c"), "{}", refused.stderr);
}

#[test]
fn every_shipped_rule_passes_its_cases() {
    let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts");
    let mut tested = 0;
    for entry in fs::read_dir(&scripts).unwrap() {
        let (name, cases) = (entry.as_ref().unwrap().file_name(), entry.unwrap().path().join("cases"));
        if !cases.is_dir() {
            continue;
        }
        let name = name.to_string_lossy();
        let found = [format!("rules/50-{name}.wasm"), format!("rules-examples/{name}.wasm")];
        let found = found.iter().map(|file| build_folder().parent().unwrap().join(file)).find(|file| file.is_file());
        let file = found.unwrap_or_else(|| process::rule(format!("rules-examples/{name}.wasm")));
        good(&scripts, &["test", &file.display().to_string(), "--cases", &cases.display().to_string()]);
        tested += 1;
    }
    assert!(tested >= 6, "{tested}");
}

/// A rule's file and one case.
fn with_case(name: &str, case: &str) -> TempDir {
    let dir = folder();
    fs::create_dir(dir.path().join("cases")).unwrap();
    fs::write(dir.path().join("rule.wasm"), guest(name)).unwrap();
    fs::write(dir.path().join("cases/one.toml"), case).unwrap();
    dir
}

const ROWS: &str = "[[cycle]]\nrows = '''\nnode {nodename=a} x = 1\npod {pod_name=b} x = 2\n'''\n";

#[test]
fn a_case_that_fails_shows_what_differs() {
    for (name, guest, case, says) in [
        (
            "rows that are missing and too many",
            "pass",
            format!("{ROWS}want = '''\nnode {{nodename=a}} x = 1\npod {{pod_name=b}} x = 3\n'''\n"),
            &["     - pod {pod_name=b} x = 3\n     + pod {pod_name=b} x = 2", "1 wanted and missing, + 1 not wanted"][..],
        ),
        (
            "totals that nobody wanted",
            "totals",
            format!("{ROWS}want = ''\n"),
            &["finish of cycle 1", "+ other {a=b} m = 7"],
        ),
        ("an error that nobody wanted", "refuses_batch", format!("{ROWS}want = ''\n"), &["failed: no pods here"]),
        ("another error", "refuses_batch", format!("{ROWS}error = 'no nodes'\n"), &["+ no pods here", "`no nodes`"]),
        ("no error", "pass", format!("{ROWS}error = 'no nodes'\n"), &["succeeded; wanted an error with `no nodes`"]),
        ("a trap", "recurses", format!("{ROWS}want = ''\n"), &["`process` trapped"]),
        ("settings that are taken", "pass", "refused = 'x'\n".to_owned(), &["configure", "wanted an error with `x`"]),
        ("settings that are refused", "refuses_settings", format!("{ROWS}want = ''\n"), &["configure", "failed: "]),
        ("nothing wanted", "pass", ROWS.to_owned(), &["neither `want` nor `error`"]),
        ("an unknown key", "pass", "[[cycle]]\nwants = ''\n".to_owned(), &["is no case", "unknown field `wants`"]),
        ("no row", "pass", "[[cycle]]\nrows = '''\nnode\n'''\n".to_owned(), &["line 3: labels stand in braces"]),
    ] {
        let dir = with_case(guest, &case);
        let outcome = rule(dir.path(), &["test", "rule.wasm"]);
        assert_eq!(outcome.code(), Some(1), "{name}: {}{}", outcome.stdout, outcome.stderr);
        for says in says {
            assert!(outcome.stdout.contains(says), "{name}: {}", outcome.stdout);
        }
        assert!(
            outcome.stdout.contains("FAIL one") && outcome.stdout.contains("1 failed"),
            "{name}: {}",
            outcome.stdout
        );
        assert!(!outcome.stdout.contains('\x1b'), "{name}: colours without a terminal");
    }
}

#[test]
fn colours_come_where_they_are_asked_for() {
    let dir = with_case("pass", &format!("{ROWS}want = ''\n"));
    let outcome = rule(dir.path(), &["test", "rule.wasm", "--color", "always"]);
    assert!(outcome.stdout.contains("\x1b[32m     + node"), "{}", outcome.stdout);
}

#[test]
fn bless_writes_what_came_out_and_keeps_the_rest() {
    let case = format!("# why this matters\n{ROWS}# two of them\nwant = ''\n");
    let dir = with_case("totals", &case);
    let outcome = rule(dir.path(), &["test", "rule.wasm", "--bless"]);
    assert_eq!(outcome.code(), Some(0), "{}{}", outcome.stdout, outcome.stderr);
    let blessed = fs::read_to_string(dir.path().join("cases/one.toml")).unwrap();
    let rows = "want = '''\nnode {nodename=a} x = 1\npod {pod_name=b} x = 2\n'''\nfinish = '''\nother {a=b} m = 7\n'''";
    assert_eq!(blessed, case.replace("want = ''", rows));
    good(dir.path(), &["test", "rule.wasm"]);
}

#[test]
fn what_is_no_rule_is_told_with_its_remedy() {
    let dir = folder();
    let write = |name: &str, bytes: &[u8]| fs::write(dir.path().join(name), bytes).unwrap();
    write("text.wasm", b"hello");
    write("empty.wasm", b"");
    write("cut.wasm", &guest("pass")[..60]);
    write("clock.wasm", &guest("imports_clock"));
    write("newer.wasm", &guest("version_0_2"));
    write("good.wasm", &guest("pass"));
    write("figures.json", b"{}");
    fs::create_dir(dir.path().join("folder")).unwrap();
    for (args, code, says) in [
        (&["inspect", "text.wasm"][..], 1, "is no WebAssembly"),
        (&["inspect", "empty.wasm"], 1, "it is empty"),
        (&["inspect", "nowhere.wasm"], 2, "nowhere.wasm: No such file"),
        (&["inspect", "folder"], 2, "is a folder; name the .wasm file"),
        (&["inspect", "cut.wasm"], 1, "damaged at byte"),
        (&["inspect", "clock.wasm"], 1, "a rule can import millrace:rule/host"),
        (&["inspect", "newer.wasm"], 1, "build it with the SDK of that version"),
        (&["test", "text.wasm"], 2, "cases: No such file"),
        (&["test", "folder"], 2, "holds no rule (neither Cargo.toml nor rule.toml)"),
        (&["build", "folder"], 2, "`millrace rule new NAME` makes one"),
        (&["build", "nowhere"], 2, "nowhere: is not there"),
        (&["new", "Drop"], 2, "begin it with a letter a-z"),
        (&["new", "a_b"], 2, "use the characters a-z 0-9 and - only"),
        (&["new", "folder", "--path", "."], 2, "is there already"),
        (&["new", "x", "--lang", "cobol"], 2, "possible values: rust, c"),
        (&["new", "x", "--sdk", "/nowhere"], 2, "is neither a version nor the folder"),
        (&["bench", "clock.wasm"], 1, "a rule can import"),
        (&["bench", "good.wasm", "--baseline", "figures.json"], 2, "holds no figures"),
        (&["replay", "good.wasm", "--input", "text.wasm"], 2, "is no recording of batches"),
        (&["replay", "good.wasm", "--input", "folder"], 2, "is a folder"),
        (&["replay", "good.wasm", "--settings", "text.wasm"], 2, "text.wasm: TOML parse error"),
        (&["record", "--out", "x.rec", "--from", "http://127.0.0.1:1"], 2, "nobody answers there"),
        (&["record", "--out", "nowhere/x.rec"], 2, "can't be written"),
        (&["record", "--out", "x.rec", "--kubelet", "ftp://a"], 2, "begins with `ftp:`"),
        (&["record", "--out", "x.rec", "--kubelet", "https://127.0.0.1:1"], 2, "--insecure-tls"),
        (&["record", "--out", "x.rec", "--kubelet", "http://127.0.0.1:1"], 2, "http://127.0.0.1:1: "),
        (&["record", "--out", "x.rec", "--from", "127.0.0.1:1"], 2, "http://127.0.0.1:1: nobody answers there"),
        (&["record", "--out", "x.rec", "--from", "ftp://a"], 2, "write it as http://127.0.0.1:8082"),
        (&["record", "--out", "folder"], 2, "folder: can't be written: it is no regular file"),
        (&["record", "--out", "/dev/null"], 2, "it is no regular file"),
        (&["record"], 2, "--out"),
        (&["tset"], 2, "similar subcommand exists: 'test'"),
    ] {
        let outcome = rule(dir.path(), args);
        let all = outcome.stdout.clone() + &outcome.stderr;
        assert_eq!(outcome.code(), Some(code), "{args:?}: {all}");
        assert!(all.contains(says), "{args:?}: {all}");
    }
    assert!(!dir.path().join("x.rec").exists() && !dir.path().join("x.rec.new").exists(), "nothing half made is left");
}

#[tokio::test(flavor = "multi_thread")]
async fn batches_of_a_running_millrace_are_recorded_and_replayed() {
    let sim = Kubesim::builder().size(3, 2, 1).start().await.unwrap();
    let mut router = setup(&sim).file("rules/.keep", "").start().await;
    router.cycle(1).await;
    let from = format!("http://{}", router.address());
    let dir = folder();
    fs::write(dir.path().join("60-drop.wasm"), guest("drop_all")).unwrap();
    fs::write(dir.path().join("pass.wasm"), guest("pass")).unwrap();

    let path = dir.path().to_owned();
    let recorded = tokio::task::spawn_blocking(move || {
        good_json(&path, &["record", "--from", &from, "--out", "two.rec", "--cycles", "2"]);
        good_json(&path, &["record", "--from", &from, "--out", "hidden.rec", "--redact"])
    });
    let recorded = recorded.await.unwrap();
    assert_eq!((&recorded["cycles"], &recorded["batches"]), (&json!(1), &json!(3)), "{recorded}");
    assert_eq!(recorded["lost-batches"], 0);
    let (refused, text) = router.page("/api/v1/record?cycles=0").await;
    assert_eq!((refused.as_u16(), text.contains("ask for 1 to")), (400, true), "{text}");
    // What was recorded changed nothing for the others.
    let status = router.cycles(1).await;
    assert_eq!(status["counters"]["points_lost"], 0, "{status}");
    router.stop().await;

    let dropped = good_json(dir.path(), &["replay", "60-drop.wasm", "--input", "two.rec", "--at", "before"]);
    assert_eq!((&dropped["cycles"], &dropped["batches"], &dropped["points-out"]), (&json!(2), &json!(6), &json!(0)));
    assert_eq!(dropped["dropped-points"], dropped["points-in"], "{dropped}");
    // Above 50 it stands behind heapster, and sees its totals too.
    let after = good_json(dir.path(), &["replay", "60-drop.wasm", "--input", "two.rec"]);
    assert_eq!(
        (&after["batches"], &after["metrics"]["cpu/node_reservation"]["after"]),
        (&json!(8), &json!(0)),
        "{after}"
    );

    let args = ["replay", "pass.wasm", "--at", "before", "--rows", "--input"];
    let (plain, hidden) = (
        good(dir.path(), &[&args[..], &["two.rec"]].concat()),
        good(dir.path(), &[&args[..], &["hidden.rec"]].concat()),
    );
    assert!(plain.contains("# cycle ") && plain.contains("nodename=node-"), "{plain}");
    assert!(hidden.contains("nodename=") && !hidden.contains("node-0"), "{hidden}");
    let rows = |text: &str| text.lines().filter(|line| line.contains(" memory/usage = ")).count();
    assert_eq!(rows(&plain), 2 * rows(&hidden), "as many rows of each cycle");
    let diff = good(dir.path(), &["replay", "60-drop.wasm", "--input", "two.rec", "--diff"]);
    assert!(diff.lines().any(|line| line.starts_with("- pod ") && line.contains(" points")), "{diff}");
    let figures = good_json(dir.path(), &["bench", "pass.wasm", "--input", "two.rec", "--seconds", "1"]);
    assert!(figures["inputs"][0]["about"].as_str().unwrap().contains("two.rec"), "{figures}");
}

#[test]
fn a_result_that_is_lost_is_a_failure_and_a_reader_that_leaves_is_none() {
    let dir = folder();
    fs::write(dir.path().join("pass.wasm"), guest("pass")).unwrap();
    let inspect = |out: Stdio| {
        let mut command = Command::new(binary("millrace", "millrace"));
        command.args(["rule", "inspect", "pass.wasm"]).current_dir(dir.path());
        command.stdin(Stdio::null()).stdout(out).stderr(Stdio::piped()).spawn().unwrap()
    };
    let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let lost = inspect(full.into()).wait_with_output().unwrap();
    let told = String::from_utf8_lossy(&lost.stderr).into_owned();
    assert_eq!((lost.status.code(), told.contains("the result can't be written: No space")), (Some(2), true), "{told}");

    let mut left = inspect(Stdio::piped());
    drop(left.stdout.take());
    assert_eq!(left.wait_with_output().unwrap().status.code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_recorded_where_the_configuration_says_so() {
    let sim = Kubesim::builder().size(1, 1, 1).start().await.unwrap();
    let router = setup_with(&sim, "[http]\nrecord = false\n").file("rules/.keep", "").start().await;
    let (refused, text) = router.page("/api/v1/record").await;
    assert_eq!((refused.as_u16(), text.contains("`record = true` under `[http]`")), (403, true), "{text}");
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn batches_are_recorded_straight_from_a_kubelet() {
    let sim = Kubesim::builder().size(1, 2, 1).start().await.unwrap();
    let (url, dir) = (sim.kubelet_url(0), folder());
    fs::write(dir.path().join("pass.wasm"), guest("pass")).unwrap();
    let shown = tokio::task::spawn_blocking(move || {
        good(dir.path(), &["record", "--kubelet", &url, "--out", "a.rec", "--cycles", "2", "--every", "1"]);
        good_json(dir.path(), &["replay", "pass.wasm", "--input", "a.rec", "--at", "before"])
    });
    let shown = shown.await.unwrap();
    assert_eq!((&shown["cycles"], &shown["batches"]), (&json!(2), &json!(2)), "{shown}");
    assert!(shown["levels"]["container"]["after"].as_u64().unwrap() > 0, "{shown}");
}
