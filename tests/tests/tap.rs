//! `millrace tap` against a running Millrace: what it shows, and that nothing and nobody is held up.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a failed expectation is a failed test")]

use std::process::Command;
use std::time::Duration;

use millrace_tests::fixtures::guests::guest;
use millrace_tests::fixtures::process::{Outcome, Process, Signal, binary};
use millrace_tests::fixtures::router::{Router, Setup};
use millrace_tests::kubesim::Kubesim;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

const NODES: u64 = 3;
const DEADLINE: Duration = Duration::from_secs(60);

/// A cycle a second with the rules of the folder `rules`.
async fn setup(more: &str) -> (Kubesim, Setup) {
    let sim = Kubesim::builder().size(NODES as usize, 2, 1).start().await.unwrap();
    let setup = Setup::new(&format!(
        "resolution = '1s'\n[source.kubernetes]\napi-server = '{}'\n[source.kubernetes.kubelet]\nhttps = false\n\
         port = {}\n[rules]\ndir = 'FOLDER/rules'\n[[sink]]\ntype = 'log'\n{more}",
        sim.api_url(),
        sim.kubelet_port(),
    ));
    (sim, setup.file("rules/.keep", ""))
}

/// `millrace tap` with these arguments, to its end.
async fn tap(router: &Router, args: &[&str]) -> Outcome {
    let process = Process::millrace([&["tap", router.address()][..], args].concat());
    tokio::task::spawn_blocking(move || process.wait(DEADLINE)).await.unwrap()
}

/// Its rows as JSON.
async fn rows(router: &Router, args: &[&str]) -> Vec<Value> {
    let outcome = tap(router, &[args, &["--output", "json"]].concat()).await;
    assert_eq!(outcome.code(), Some(0), "{outcome:?}");
    let lines = outcome.stdout.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    lines.filter(|line| line["row"].is_string()).collect()
}

fn rule<'s>(status: &'s Value, name: &str) -> &'s Value {
    let rules = status["rules"].as_array().unwrap();
    rules.iter().find(|rule| rule["name"] == name).unwrap_or_else(|| panic!("{rules:?}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_are_shown_on_their_way_to_the_sinks_and_around_a_rule() {
    let (_sim, setup) = setup("").await;
    let router = setup.start().await;

    let out = rows(&router, &["--metric", "memory/*", "--entity", "*/*/*", "--count", "5"]).await;
    assert_eq!(out.len(), 5);
    for row in &out {
        assert!(row["metric"].as_str().unwrap().starts_with("memory/"), "{row}");
        assert_eq!(row["entity"].as_str().unwrap().matches('/').count(), 2, "{row}");
        assert!(row["row"].as_str().unwrap().starts_with("container {"), "{row}");
        assert!(!row["row"].as_str().unwrap().contains("__") && row["mark"].is_null(), "{row}");
    }
    // Facts come in, Heapster's labels go out.
    let before = rows(&router, &["--rule", "heapster", "--before", "--count", "5"]).await;
    assert!(before.iter().all(|row| !row["row"].as_str().unwrap().contains(",type=")), "{before:?}");
    let after = rows(&router, &["--rule", "heapster", "--after", "--entity=cluster*", "--count", "2"]).await;
    assert!(after.iter().all(|row| row["row"].as_str().unwrap().starts_with("cluster {")), "{after:?}");
    assert_eq!(after[0]["of"], "totals of heapster");

    // With Heapster's rule all three are there in one batch; dropped comes first.
    let text = tap(&router, &["--rule", "heapster", "--entity", "*/*", "--rate", "10000", "--count", "2000"]).await;
    let begins = |mark: &str| text.stdout.lines().filter(|line| line.starts_with(mark)).count();
    assert!(begins("- ") > 0 && begins("+ ") > 0 && begins("~ ") > 0, "{}", text.stdout);
    assert!(begins("# cycle ") > 0, "{}", text.stdout);
    let labels = text.stdout.lines().find(|line| line.starts_with("~ pod ")).unwrap();
    assert!(labels.contains("type: (none) → pod"), "{labels}");
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tap_costs_a_rule_nothing_and_a_failure_is_shown() {
    let (_sim, setup) = setup("").await;
    let setup = setup
        .file("rules/60-drop-all.wasm", guest("drop_all"))
        .file("rules/60-drop-all.toml", "")
        .file("rules/55-beside.wasm", guest("drop_all"))
        .file("rules/55-beside.toml", "shadow = true\n")
        .file("rules/70-refuses.wasm", guest("refuses_batch"))
        .file("rules/70-refuses.toml", "");
    let mut router = setup.start().await;
    let drops = rows(&router, &["--rule=drop-all", "--count=40"]).await;
    assert!(drops.iter().all(|row| row["mark"] == "-"), "{drops:?}");

    // A listener sees every call of a rule while its counts go on as without.
    let watching = Process::millrace(["tap", router.address(), "--rule=drop-all", "--rate=10000"]);
    let first = router.cycles(0).await;
    let second = router.cycles(2).await;
    let figure = |status: &Value, key: &str| rule(status, "drop-all")["stats"][key].as_u64().unwrap();
    let cycles = second["cycle"]["number"].as_u64().unwrap() - first["cycle"]["number"].as_u64().unwrap();
    // The batch of each node, and Heapster's totals.
    let calls = figure(&second, "process_calls") - figure(&first, "process_calls");
    assert_eq!(calls, cycles * (NODES + 1));
    assert_eq!(figure(&second, "points_in"), figure(&second, "points_dropped"));
    assert_eq!(rule(&second, "drop-all")["stats"]["faults"], json!({}));
    let outcome = tokio::task::spawn_blocking(move || watching.stop(Signal::Interrupt, DEADLINE)).await.unwrap();
    assert_eq!((outcome.code(), outcome.stderr.as_str()), (Some(0), ""), "Ctrl-C ends it quietly");
    let shown = outcome.stdout.lines().filter(|line| line.starts_with("- ")).count();
    assert!(shown > 0 && outcome.stdout.lines().all(|line| line.starts_with(['-', '#'])), "{}", outcome.stdout);

    // What runs beside the chain is shown like any other, and nothing of it is done.
    let shadow = rows(&router, &["--rule=beside", "--count=3"]).await;
    assert!(shadow.iter().all(|row| row["mark"] == "-" && row["shadow"] == true), "{shadow:?}");

    let failing = Process::millrace(["tap", router.address(), "--rule=refuses"]);
    router.cycles(2).await;
    let outcome = tokio::task::spawn_blocking(move || failing.stop(Signal::Interrupt, DEADLINE)).await.unwrap();
    assert!(outcome.stdout.contains(": no answer: "), "{}", outcome.stdout);
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn listeners_are_few_and_none_of_them_holds_anything_up() {
    let (_sim, setup) = setup("").await;
    let mut router = setup.start().await;
    // One that never reads, as large as can be.
    let mut deaf = TcpStream::connect(router.address()).await.unwrap();
    deaf.write_all(b"GET /api/v1/tap?rate=10000 HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    let one = Process::millrace(["tap", router.address(), "--rule=heapster", "--before", "--output=json"]);
    let other = Process::millrace(["tap", router.address(), "--metric=uptime", "--rate=2"]);
    let last = Process::millrace(["tap", router.address()]);
    router.cycles(1).await;
    let (code, refused) = router.page("/api/v1/tap").await;
    assert_eq!((code.as_u16(), &*refused), (429, "4 taps are open; try again when one is closed\n"));

    let status = router.cycles(4).await;
    let counters = &status["counters"];
    assert_eq!((&counters["missed_ticks"], &counters["panics"]), (&json!(0), &json!(0)));
    assert_eq!(status["cycle"]["nodes_answered"], NODES);
    let ends = [one, other, last]
        .map(|process| tokio::task::spawn_blocking(move || process.stop(Signal::Interrupt, DEADLINE)));
    let [one, other, last] = futures::future::join_all(ends).await.try_into().unwrap_or_else(|_| panic!("three"));
    let (one, other, last) = (one.unwrap(), other.unwrap(), last.unwrap());
    assert!(one.stdout.lines().count() > 100 && last.stdout.lines().count() > 100);
    assert!(other.stdout.contains("# left out ") && !other.stdout.contains(" cpu/"), "{}", other.stdout);
    // Their places are free again; the one that never reads still has its own.
    let again = rows(&router, &["--count=1"]).await;
    assert_eq!(again.len(), 1);
    drop(deaf);
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_can_t_be_shown_is_said() {
    let (_sim, setup) = setup("").await;
    let router = setup.start().await;
    let outcome = tap(&router, &["--rule", "heapsetr"]).await;
    assert_eq!(outcome.code(), Some(2));
    assert!(outcome.stderr.contains("there is no rule `heapsetr`; there are: heapster"), "{}", outcome.stderr);
    for (query, says) in [
        ("rate=0", "`rate` is 0"),
        ("rate=1000000", "ask for 1 to 10000 rows a second"),
        ("at=before", "name the rule, too"),
        (&format!("metric={}", "a".repeat(300)), "more than 256 bytes"),
        ("no=such", "unknown field"),
    ] {
        let (code, text) = router.page(&format!("/api/v1/tap?{query}")).await;
        assert!(code == 400 && text.contains(says), "{query}: {code} {text}");
    }
    // A reader that has seen enough.
    let mut command = Command::new("bash");
    command.args(["-c", "set -o pipefail; \"$0\" tap \"$1\" | head -n 3"]);
    command.arg(binary("millrace", "millrace")).arg(router.address());
    let piped = Process::start("bash", command);
    let outcome = tokio::task::spawn_blocking(move || piped.wait(DEADLINE)).await.unwrap();
    assert_eq!((outcome.code(), outcome.stderr.as_str(), outcome.stdout.lines().count()), (Some(0), "", 3));
    // A Millrace that stops while somebody reads.
    let watching = Process::millrace(["tap", router.address()]);
    let mut router = router;
    router.cycles(1).await;
    router.stop().await;
    let outcome = tokio::task::spawn_blocking(move || watching.wait(DEADLINE)).await.unwrap();
    assert_eq!(outcome.code(), Some(2), "{}", outcome.stderr);

    let (_sim, off) = self::setup("[http]\nrecord = false\n").await;
    let router = off.start().await;
    let outcome = tap(&router, &[]).await;
    assert_eq!(outcome.code(), Some(2));
    assert!(outcome.stderr.contains("403 Forbidden: tapping is turned off"), "{}", outcome.stderr);
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn top_prints_one_screen_where_there_is_no_terminal() {
    let (_sim, setup) = setup("").await;
    let mut router = setup.start().await;
    router.cycle(2).await;
    let process = Process::millrace(["top", router.address()]);
    let outcome = tokio::task::spawn_blocking(move || process.wait(DEADLINE)).await.unwrap();
    assert_eq!((outcome.code(), outcome.stderr.as_str()), (Some(0), ""));
    for wanted in ["Millrace ", " ready ", "scrape ", "heapster", "running", "log", "node-", "counts: since the start"]
    {
        assert!(outcome.stdout.contains(wanted), "no `{wanted}` in\n{}", outcome.stdout);
    }
    assert!(!outcome.stdout.contains('\x1b'), "{}", outcome.stdout);
    let address = router.address().to_owned();
    router.stop().await;
    let process = Process::millrace(["top", &address, "--once"]);
    let outcome = tokio::task::spawn_blocking(move || process.wait(DEADLINE)).await.unwrap();
    assert_eq!(outcome.code(), Some(2));
    assert!(outcome.stderr.contains("nobody answers there"), "{}", outcome.stderr);
}
