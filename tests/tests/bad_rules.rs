//! Bad rules in the chain beside the bundled heapster rule: the operator reads which rule failed, how
//! and what to do; it is counted; and of every cycle all is delivered that `on-error` leaves. What
//! can't even start is refused, with every problem at once.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a failed expectation is a failed test")]

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use millrace_tests::fixtures::guests::guest;
use millrace_tests::fixtures::process::binary;
use millrace_tests::fixtures::router::{Router, Setup};
use millrace_tests::heapster::MetricSets;
use millrace_tests::kubesim::Kubesim;
use serde_json::{Value, json};

const NODES: usize = 3;

/// A guest, the kind of its failure, and what the message says.
const BAD: [(&str, &str, &str); 12] = [
    ("recurses", "trap", "`process` trapped: wasm trap: call stack exhausted"),
    ("loops", "timeout", "took longer than 50ms and was stopped; raise `limits.process`"),
    ("grows", "memory", "bytes of memory and may have 134217728; raise `limits.memory`"),
    ("index_out_of_range", "invalid_edit", "`relabel-entity` holds 4000000000, past the last of "),
    ("ends_descend", "invalid_edit", "`new-symbols.ends` does not rise"),
    ("invalid_utf8", "invalid_edit", "the new strings are not UTF-8"),
    ("nan", "invalid_edit", "metric `nan` has a value that is not finite"),
    ("wild_answer", "unreadable", "the answer of `process` can't be read"),
    ("huge_answer", "unreadable", "the answer of `process` can't be read"),
    ("too_many_points", "too_big", "adds 20000 points, more than "),
    ("refuses_batch", "refused", "refuses the batch: no pods here"),
    ("gives_up", "fatal", "gives up: "),
];
/// Kinds whose remedy is in the rule's code.
const TO_MEND: [&str; 3] = ["trap", "invalid_edit", "unreadable"];

async fn cluster() -> Kubesim {
    Kubesim::builder().size(NODES, 2, 1).start().await.unwrap()
}

/// A cycle a second, printed, with the rules of the folder `rules`.
fn setup(sim: &Kubesim) -> Setup {
    setup_with(sim, "")
}

/// The same with more configuration.
fn setup_with(sim: &Kubesim, more: &str) -> Setup {
    Setup::new(&format!(
        "resolution = '1s'\n[source.kubernetes]\napi-server = '{}'\n[source.kubernetes.kubelet]\nhttps = false\n\
         port = {}\n[rules]\ndir = 'FOLDER/rules'\n[[sink]]\ntype = 'log'\n{more}",
        sim.api_url(),
        sim.kubelet_port(),
    ))
}

fn rule(setup: Setup, slot: &str, name: &str, manifest: &str) -> Setup {
    setup.file(&format!("rules/{slot}.wasm"), guest(name)).file(&format!("rules/{slot}.toml"), manifest)
}

/// What the status says of a rule.
fn shown<'s>(status: &'s Value, rule: &str) -> &'s Value {
    let rules = status["rules"].as_array().unwrap();
    rules.iter().find(|shown| shown["name"] == rule).unwrap_or_else(|| panic!("{rules:?}"))
}

/// The warnings and errors about a rule's failures.
fn told(router: &Router, rule: &str) -> Vec<Value> {
    let about = |line: &Value| line["rule"] == rule && line["message"].as_str().unwrap().starts_with("rule failed");
    router.log().into_iter().filter(about).collect()
}

/// The keys of a cycle's sets.
fn keys(sets: &MetricSets) -> BTreeSet<&str> {
    sets.keys().map(String::as_str).collect()
}

fn nodes(sets: &MetricSets) -> usize {
    sets.keys().filter(|key| key.starts_with("node:") && !key.contains('/')).count()
}

/// The cluster's sum is that of the nodes that were delivered.
fn totals_agree(sets: &MetricSets) {
    for metric in ["cpu/request", "memory/request"] {
        let value = |key: &str| sets[key].metrics[metric].parse::<i64>().unwrap();
        let nodes = sets.keys().filter(|key| key.starts_with("node:") && !key.contains('/')).map(|key| value(key));
        assert_eq!(nodes.sum::<i64>(), value("cluster"), "{metric}");
        assert!(value("cluster") > 0, "{metric}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_rules_do_wrong_batches_are_passed_on_unchanged() {
    let sim = cluster().await;
    let mut plain = setup(&sim).file("rules/.keep", "").start().await;
    plain.cycle(1).await;
    let plain = plain.stop_and_read().await;

    let mut setup = setup(&sim);
    for (at, (name, ..)) in BAD.iter().enumerate() {
        let manifest = if *name == "loops" { "limits = { process = '50ms' }" } else { "" };
        setup = rule(setup, &format!("{}-{name}", 10 + at), name, manifest);
    }
    let mut router = setup.start().await;
    let status = router.cycle(2).await;
    let metrics = router.metrics().await;
    for (name, kind, says) in BAD {
        // Every batch of every node failed until the rule was left alone, and every one went on.
        let stats = &shown(&status, name)["stats"];
        let (calls, left_out) = (stats["process_calls"].as_u64().unwrap(), stats["batches_left_out"].as_u64().unwrap());
        let batches = calls + left_out;
        assert!(calls >= 5 && batches >= 2 * NODES as u64, "{name}: {stats}");
        assert_eq!(stats["faults"], json!({ kind: calls }), "{name}: {stats}");
        assert_eq!((&stats["batches_passed"], &stats["points_lost"]), (&json!(batches), &json!(0)), "{name}");
        let last = stats["last_fault"]["text"].as_str().unwrap();
        assert!(last.contains(says), "{name}: {last}");
        assert_eq!(last.contains("mend it, or take its file away"), TO_MEND.contains(&kind), "{name}: {last}");

        let at_least = |series: &str| assert!(metrics[series] >= calls as f64, "{series}: {}", metrics[series]);
        at_least(&format!("millrace_rule_failures_total{{rule=\"{name}\",kind=\"{kind}\"}}"));
        at_least(&format!("millrace_rule_failed_batches_total{{rule=\"{name}\",became=\"passed\"}}"));
        assert_eq!(metrics[&format!("millrace_rule_points_lost_total{{rule=\"{name}\"}}")], 0.0);

        let told = told(&router, name);
        let first = told.first().unwrap_or_else(|| panic!("nothing is said of {name}"));
        assert_eq!((&first["level"], &first["kind"]), (&json!("WARN"), &json!(kind)), "{name}");
        assert_eq!(first["message"], "rule failed; batch passed on unchanged", "{name}");
        assert!(first["of"].as_str().unwrap().starts_with("node-"), "{first}");
        assert!(first["error"].as_str().unwrap().contains(says), "{first}");
    }
    assert_eq!(metrics["millrace_panics_total"], 0.0);
    assert_eq!((&status["ready"], router.page("/readyz").await.1.as_str()), (&json!(true), "ok"));
    let (_, checks) = router.page("/readyz?verbose").await;
    assert!(checks.starts_with("[+]cycle ok\n") && checks.ends_with("readyz check passed\n"), "{checks}");
    assert!(checks.contains("[+]rule heapster ok\n") && checks.contains("[+]sink log ok\n"), "{checks}");
    for (name, _, says) in BAD {
        let line = checks.lines().find(|line| line.starts_with(&format!("[-]rule {name} left alone until cycle")));
        assert!(line.is_some_and(|line| line.contains(says)), "{name}: {checks}");
        assert_eq!(metrics[&format!("millrace_rule_parked{{rule=\"{name}\"}}")], 1.0, "{name}");
    }

    let cycles = router.stop_and_read().await;
    assert!(cycles.len() >= 2);
    for sets in &cycles {
        assert_eq!(keys(sets), keys(&plain[0]), "the sets are those of a chain without bad rules");
        totals_agree(sets);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rule_that_drops_costs_the_batch_it_fails_on() {
    let sim = cluster().await;
    // Of three batches it traps on the third; the fresh instance counts from one again.
    let mut router = rule(setup(&sim), "10-third", "traps_third", "on-error = 'drop'").start().await;
    let status = router.cycle(2).await;
    let metrics = router.metrics().await;
    let stats = &shown(&status, "third")["stats"];
    let cycles = status["cycle"]["number"].as_u64().unwrap();
    assert_eq!((&stats["batches_lost"], &stats["batches_passed"]), (&json!(cycles), &json!(0)));
    assert_eq!(stats["instances"], cycles + 1, "{stats}");
    assert!(metrics["millrace_rule_failed_batches_total{rule=\"third\",became=\"lost\"}"] >= 2.0);
    assert!(metrics["millrace_rule_points_lost_total{rule=\"third\"}"] >= stats["points_lost"].as_f64().unwrap());
    assert!(stats["points_lost"].as_u64().unwrap() > 0);
    let told = &told(&router, "third")[0];
    assert_eq!((&told["message"], &told["kind"]), (&json!("rule failed; batch dropped"), &json!("trap")));
    assert!(told["error"].as_str().unwrap().contains("the rule said: panicked at third.rs:3:"), "{told}");
    // Every node answered: it is the rule that costs one of them.
    assert_eq!(status["cycle"]["nodes_answered"], NODES);
    assert_eq!(status["ready"], true);

    for sets in router.stop_and_read().await {
        assert_eq!(nodes(&sets), NODES - 1);
        totals_agree(&sets);
    }
}

/// What went to the sinks is what was decoded, with all that happened to it on the way.
fn adds_up(status: &Value, metrics: &BTreeMap<String, f64>) {
    let counted = |name: &str| status["counters"][name].as_i64().unwrap();
    let rules = status["rules"].as_array().unwrap();
    let of_rules = |name: &str| rules.iter().map(|rule| rule["stats"][name].as_i64().unwrap()).sum::<i64>();
    let mut want = counted("points_scraped") + of_rules("points_added");
    for part in ["points_dropped", "points_merged", "points_lost"] {
        want -= of_rules(part);
    }
    want -= counted("points_private") + counted("points_lost");
    assert_eq!(counted("points_published"), want, "{status:#}");

    let sum = |name: &str, with: &str| -> f64 {
        metrics
            .iter()
            .filter(|(series, _)| series.starts_with(name) && series.contains(with))
            .map(|(_, value)| value)
            .sum()
    };
    let shown = sum("millrace_points_scraped_total", "") + sum("millrace_rule_points_total", "did=\"added\"")
        - sum("millrace_rule_points_total", "did=\"dropped\"")
        - sum("millrace_rule_points_total", "did=\"merged\"")
        - sum("millrace_rule_points_lost_total", "")
        - sum("millrace_points_private_total", "")
        - sum("millrace_points_lost_total", "");
    assert_eq!(sum("millrace_points_published_total", ""), shown);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_point_is_accounted_for_from_the_scrape_to_the_sinks() {
    let sim = cluster().await;
    let setup = rule(setup(&sim), "10-third", "traps_third", "on-error = 'drop'");
    let mut router = rule(setup, "60-totals", "totals", "").start().await;
    router.cycle(3).await;
    // The pages are two; they agree where no cycle ended in between.
    let (status, metrics) = loop {
        let (status, metrics) = (router.status().await, router.metrics().await);
        if metrics["millrace_cycles_total"] == status["counters"]["cycles"].as_f64().unwrap() {
            break (status, metrics);
        }
    };
    adds_up(&status, &metrics);
    assert!(status["counters"]["points_private"].as_u64().unwrap() > 0, "{status:#}");
    assert!(shown(&status, "third")["stats"]["points_lost"].as_u64().unwrap() > 0, "{status:#}");
    let heapster = &shown(&status, "heapster")["stats"];
    assert!(heapster["points_added"].as_u64().unwrap() > 0 && heapster["points_dropped"].as_u64().unwrap() > 0);
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rule_that_halts_stops_the_chain_until_it_is_replaced_and_says_so() {
    let sim = cluster().await;
    let mut router = rule(setup(&sim), "10-third", "traps_third", "on-error = 'halt'").start().await;
    let status = router.cycle(3).await;
    let third = shown(&status, "third");
    assert_eq!((&third["halted"], &third["stats"]["process_calls"]), (&json!(true), &json!(3)));
    assert_eq!((&status["ready"], &status["cycle"]["nodes_answered"]), (&json!(false), &json!(NODES)));
    let (code, ready) = router.page("/readyz").await;
    assert_eq!(code.as_u16(), 503);
    for text in ["rule `third` failed (trap) and has halted the chain", "mend or remove it, or reload the rules"] {
        assert!(ready.contains(text), "{ready}");
    }
    assert_eq!(router.page("/livez").await.0.as_u16(), 200, "a restart alone would not help");
    let metrics = router.metrics().await;
    assert_eq!(metrics["millrace_rule_halted{rule=\"third\"}"], 1.0);
    assert_eq!(metrics["millrace_rule_halted{rule=\"heapster\"}"], 0.0);
    assert!(metrics["millrace_rule_failed_batches_total{rule=\"third\",became=\"lost\"}"] >= 1.0 + 2.0 * NODES as f64);
    let told = told(&router, "third");
    assert_eq!(told.len(), 1, "it is said once: {told:?}");
    assert_eq!(
        (&told[0]["level"], &told[0]["message"]),
        (&json!("ERROR"), &json!("rule failed; every batch stops here until it is replaced or reloaded"))
    );

    let cycles = router.stop_and_read().await;
    assert_eq!(nodes(&cycles[0]), NODES - 1, "what had passed before is delivered");
    totals_agree(&cycles[0]);
    assert!(cycles[1..].iter().all(BTreeMap::is_empty), "and nothing afterwards: {:?}", &cycles[1..]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_that_a_rule_failed_on_is_kept_and_fails_again_on_the_desk() {
    let sim = cluster().await;
    let setup = rule(setup(&sim), "10-node", "traps_on_a_node", "on-error = 'drop'");
    let mut router = setup.file("rules/60-totals.wasm", guest("totals")).start().await;
    router.cycle(2).await;
    let failures = |page: (reqwest::StatusCode, String)| serde_json::from_str::<Value>(&page.1).unwrap();
    let of = failures(router.page("/api/v1/rules/node/failures").await);
    let last = of["last"].as_array().unwrap();
    assert!(of["failures"].as_u64().unwrap() >= 2 && last.len() >= 2, "{of:#}");
    for failure in last {
        assert_eq!((&failure["kind"], &failure["kept"]), (&json!("trap"), &json!(true)), "{of:#}");
        assert!(failure["of"].as_str().unwrap().ends_with('1'), "{of:#}");
        assert!(failure["error"].as_str().unwrap().contains("the rule said: panicked at node.rs:1:"), "{of:#}");
    }
    // A rule that does not fail has nothing kept, and one that is not there is told of.
    assert_eq!(
        failures(router.page("/api/v1/rules/totals/failures").await),
        json!({
            "rule": "totals", "failures": 0, "last": []
        })
    );
    assert_eq!(router.page("/api/v1/rules/totals/failures/recording").await.0.as_u16(), 404);
    assert_eq!(router.page("/api/v1/rules/none/failures").await.0.as_u16(), 404);

    let address = format!("http://{}", router.address());
    let replay_of = |file: &str, more: &[&str]| {
        let mut command = Command::new(binary("millrace", "millrace"));
        command.args(["rule", "replay"]).arg(router.path(file)).args(more).output().unwrap()
    };
    let replay = |more: &[&str]| replay_of("rules/10-node.wasm", more);
    let replayed = replay(&["--failures", &address, "--output", "json"]);
    let told = String::from_utf8_lossy(&replayed.stderr).into_owned();
    assert_eq!(replayed.status.code(), Some(1), "{told}");
    let shown: Value = serde_json::from_slice(&replayed.stdout).unwrap();
    assert!(shown["batches"].as_u64().unwrap() >= 2, "{shown}");
    assert_eq!(shown["failures"], shown["batches"], "each fails as it did: {shown}");
    let first = shown["first-failures"][0].as_str().unwrap();
    assert!(first.contains(last[0]["of"].as_str().unwrap()) && first.contains("not this one"), "{first}");

    // Nothing of the rule that does not fail, and nothing where nobody is.
    let other = replay_of("rules/60-totals.wasm", &["--failures", &address]);
    assert_eq!(other.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&other.stderr).contains("no batch is kept"), "{other:?}");
    let nobody = replay(&["--failures", "http://127.0.0.1:1"]);
    assert_eq!(nobody.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&nobody.stderr).contains("nobody answers there"));
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn failing_batches_do_not_leave_the_process_where_recording_is_off() {
    let sim = cluster().await;
    let setup = setup_with(&sim, "[http]\nrecord = false\n");
    let mut router = rule(setup, "10-node", "traps_on_a_node", "").start().await;
    router.cycle(1).await;
    let of: Value = serde_json::from_str(&router.page("/api/v1/rules/node/failures").await.1).unwrap();
    assert_eq!(of["last"][0]["kept"], false, "{of:#}");
    let (code, text) = router.page("/api/v1/rules/node/failures/recording").await;
    assert_eq!(code.as_u16(), 403);
    assert!(text.contains("record = true"), "{text}");
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rules_that_cannot_start_are_refused_with_all_their_problems() {
    let sim = cluster().await;
    let mut setup = setup(&sim).file("rules/40-page.wasm", "<html>").file("rules/50-none.toml", "");
    for (slot, name) in [("10-clock", "imports_clock"), ("20-settings", "refuses_settings"), ("30-next", "version_0_2")]
    {
        setup = setup.file(&format!("rules/{slot}.wasm"), guest(name));
    }
    // What stands in the directory is looked at first, then what is in the rules.
    let outcome = setup.outcome("run").await;
    assert_eq!(outcome.code(), Some(78), "{}", outcome.stderr);
    assert!(outcome.stderr.contains("50-none.toml: stands beside no 50-none.wasm"), "{}", outcome.stderr);
    let setup = setup.without("rules/50-none.toml");
    let outcome = setup.outcome("run").await;
    assert_eq!((outcome.code(), outcome.stdout.as_str()), (Some(78), ""), "{}", outcome.stderr);
    for text in [
        "rules/10-clock.wasm: imports `wasi:clocks/monotonic-clock@0.2.0 now`",
        "rules/20-settings.wasm: refuses its settings: floor: is missing",
        "rules/30-next.wasm: ",
        "`0.2.0`",
        "rules/40-page.wasm: ",
        "it does not begin with the bytes of WebAssembly",
    ] {
        assert!(outcome.stderr.contains(text), "{text}: {}", outcome.stderr);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_options_are_refused_by_name_with_all_other_mistakes() {
    let config =
        "resolutoin = '1s'\n[source.kubernetes]\napi-server = 'http://127.0.0.1:1'\ntoken-file = 'FOLDER/none'\n";
    for verb in ["run", "check"] {
        let sink = "--sink=influxdb:http://db?withfeilds=true&user=me&pw=s3cret";
        let outcome = Setup::new(config).outcome_with(verb, &[sink, "--sink=gcm"]).await;
        assert_eq!((outcome.code(), outcome.stdout.as_str()), (Some(78), ""), "{verb}: {}", outcome.stderr);
        for text in [
            "4 problems in the configuration",
            "`resolutoin` is not a known key; did you mean `resolution`?",
            "`--sink=influxdb:?withfeilds` is not a known option; did you mean `withfields`? known: ",
            "`--sink` is `gcm`; that sink of Heapster's is not here; write `influxdb` to Telegraf",
            "/none`, which cannot be read: No such file or directory (os error 2); name a file that is there",
        ] {
            assert!(outcome.stderr.contains(text), "{verb}: {text}: {}", outcome.stderr);
        }
        assert!(!outcome.stderr.contains("s3cret"), "{}", outcome.stderr);
    }
}
