//! Hot reload, as an operator meets it: she changes files; a changed rule runs beside the chain for one
//! whole cycle and takes over with its state warm; what fails is refused and the old rules go on.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a failed expectation is a failed test")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::time::{Duration, Instant};

use millrace::rules::Digest;
use millrace_tests::fixtures::guests::guest;
use millrace_tests::fixtures::process::{Signal, rule};
use millrace_tests::fixtures::router::{Router, Setup};
use millrace_tests::heapster::MetricSets;
use millrace_tests::kubesim::{Config, Kubesim, Resource};
use serde_json::{Value, json};

/// Each cycle meets a new sample of everything, and that is there from beginning to end.
fn steady(config: &mut Config) {
    config.resolution = Duration::from_secs(1);
    (config.churn, config.restarts, config.resets) = (0.0, 0.0, 0.0);
}

/// A cycle a second, printed, with the rules of the folder `rules`.
fn setup(sim: &Kubesim) -> Setup {
    Setup::new(&format!(
        "resolution = '1s'\n[source.kubernetes]\napi-server = '{}'\n[source.kubernetes.kubelet]\nhttps = false\n\
         port = {}\n[rules]\ndir = 'FOLDER/rules'\n[[sink]]\ntype = 'log'\n",
        sim.api_url(),
        sim.kubelet_port(),
    ))
    .file("rules/.keep", "")
}

async fn reloads(router: &Router) -> Value {
    serde_json::from_str(&router.page("/api/v1/rules/reload").await.1).unwrap()
}

/// Asks for a reload and waits until it is decided.
async fn reload(router: &Router) -> (u16, Value) {
    let (code, text) = router.post("/api/v1/rules/reload?wait=true").await;
    (code.as_u16(), serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}")))
}

fn names(status: &Value) -> Vec<&str> {
    status["rules"].as_array().unwrap().iter().map(|rule| rule["name"].as_str().unwrap()).collect()
}

/// What the status says of a rule; nothing before the first cycle.
fn shown<'s>(status: &'s Value, rule: &str) -> &'s Value {
    let rules = status["rules"].as_array().unwrap();
    rules.iter().find(|shown| shown["name"] == rule).unwrap_or(&Value::Null)
}

/// A rule that changes nothing.
fn noop() -> Vec<u8> {
    fs::read(rule("rules-examples/noop.wasm")).unwrap()
}

/// The rule with a custom section that says nothing: it does the same and has another digest.
fn build(wasm: &[u8], number: u8) -> Vec<u8> {
    const NAME: &[u8] = b"build";
    let mut section = vec![0, NAME.len() as u8 + 2, NAME.len() as u8];
    section.extend(NAME);
    section.push(number);
    [wasm, &section].concat()
}

/// Each set's key with the names of its metrics.
fn series(sets: &MetricSets) -> BTreeSet<(String, String)> {
    let names = |(key, set): (&String, &millrace_tests::heapster::MetricSet)| {
        let metrics = set.metrics.keys().chain(set.labelled.keys());
        metrics.map(|metric| (key.clone(), metric.clone())).collect::<Vec<_>>()
    };
    sets.iter().flat_map(names).collect()
}

/// What went to the sinks is what was decoded, with all that the rules did to it, also those that are gone.
fn adds_up(status: &Value) {
    let counted = |name: &str| status["counters"][name].as_i64().unwrap();
    let rules = status["rules"].as_array().unwrap().iter().map(|rule| &rule["stats"]);
    let all: Vec<&Value> = rules.chain([&status["former_rules"]]).collect();
    let of_rules = |name: &str| all.iter().map(|stats| stats[name].as_i64().unwrap()).sum::<i64>();
    let want = counted("points_scraped") + of_rules("points_added")
        - ["points_dropped", "points_merged", "points_lost"].map(of_rules).iter().sum::<i64>()
        - counted("points_private")
        - counted("points_lost");
    assert_eq!(counted("points_published"), want, "{status:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn fifteen_new_builds_of_heapster_take_over_without_a_gap() {
    let sim = Kubesim::builder().size(3, 4, 2).configure(steady).start().await.unwrap();
    let mut router = setup(&sim).start().await;
    router.cycle(2).await;
    let heapster = fs::read(rule("rules/50-heapster.wasm")).unwrap();
    let mut cycles = Vec::new();
    for number in 1..=15 {
        router.put("rules/50-heapster.wasm", build(&heapster, number));
        let taken = |status: &Value| shown(status, "heapster")["stats"]["take_overs"] == number;
        let status = router.until(&format!("take-over {number}"), taken).await;
        cycles.push(status["cycle"]["number"].as_u64().unwrap());
    }
    let status = router.cycles(2).await;
    adds_up(&status);
    let stats = &shown(&status, "heapster")["stats"];
    assert_eq!((&stats["take_overs"], &stats["instances"]), (&json!(15), &json!(1)), "no state is lost");
    assert_eq!(stats["faults"], json!({}));
    let last = reloads(&router).await;
    assert_eq!((&last["took_over"], &last["refused"], &last["phase"]), (&json!(15), &json!(0), &json!("idle")));

    let sets = router.stop_and_read().await;
    assert!(sets.len() as u64 >= cycles[14]);
    // The first cycle has no rates. From the second on every cycle has every series once, rates among them.
    let whole = series(&sets[1]);
    for metric in ["cpu/usage_rate", "memory/page_faults_rate", "network/rx_rate"] {
        assert!(whole.iter().any(|(key, name)| key.contains("/pod:") && name == metric), "{metric}");
    }
    for (number, sets) in sets.iter().enumerate().skip(1) {
        let missing: Vec<_> = whole.difference(&series(sets)).cloned().collect();
        let more: Vec<_> = series(sets).difference(&whole).cloned().collect();
        assert!(missing.is_empty() && more.is_empty(), "cycle {}: without {missing:?}, with {more:?}", number + 1);
        let value = |key: &str| sets[key].metrics["memory/request"].parse::<i64>().unwrap();
        let nodes = sets.keys().filter(|key| key.starts_with("node:") && !key.contains('/'));
        assert_eq!(nodes.map(|key| value(key)).sum::<i64>(), value("cluster"), "cycle {}", number + 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_fails_or_is_refused_leaves_the_old_rules_running() {
    let sim = Kubesim::builder().size(3, 2, 1).start().await.unwrap();
    let mut router = setup(&sim).file("rules/10-drop.wasm", noop()).start().await;
    router.cycle(1).await;
    let first = shown(&router.status().await, "drop")["digest"].clone();
    let file = |name| if name == "noop" { noop() } else { guest(name) };
    for (name, manifest, why) in [
        ("traps_third", "", "10-drop.wasm: failed in its shadow cycle: trap: "),
        ("index_out_of_range", "", "10-drop.wasm: failed in its shadow cycle: invalid_edit: "),
        ("loops", "limits = { process = '50ms' }", "10-drop.wasm: failed in its shadow cycle: timeout: "),
        ("refuses_settings", "", "10-drop.wasm: refuses its settings: floor: is missing"),
        ("imports_clock", "", "10-drop.wasm: imports `wasi:clocks/monotonic-clock"),
        ("noop", "limits = { process = '2h' }", "10-drop.toml: `limits.process` is `2h`"),
        (
            "pass",
            "digest = 'sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad'",
            "10-drop.toml: ",
        ),
    ] {
        router.put("rules/10-drop.toml", manifest);
        router.put("rules/10-drop.wasm", file(name));
        let (code, outcome) = reload(&router).await;
        assert_eq!((code, &outcome["outcome"]), (409, &json!("refused")), "{name}: {outcome}");
        let details = outcome["details"][0].as_str().unwrap();
        assert!(details.contains(why), "{name}: {details}");
        let status = router.cycles(1).await;
        assert_eq!(shown(&status, "drop")["digest"], first, "{name}");
        assert_eq!(
            (&shown(&status, "drop")["stats"]["faults"], &status["ready"]),
            (&json!({}), &json!(true)),
            "{name}"
        );
        adds_up(&status);
        let metrics = router.metrics().await;
        assert_eq!(metrics["millrace_config_last_reload_successful"], 0.0, "{name}");
        assert!(router.log().iter().any(|line| line["level"] == "ERROR"
            && line["message"].as_str().unwrap().starts_with("the changed rules are refused")
            && line["message"].as_str().unwrap().contains(why)));
    }

    // Mended, it takes over; what it counted goes on.
    router.put("rules/10-drop.toml", "");
    router.put("rules/10-drop.wasm", build(&noop(), 1));
    let (code, outcome) = reload(&router).await;
    assert_eq!((code, &outcome["outcome"]), (200, &json!("took-over")), "{outcome}");
    assert!(outcome["details"][0].as_str().unwrap().starts_with("drop: 0 of "), "{outcome}");
    let status = router.cycles(1).await;
    assert_ne!(shown(&status, "drop")["digest"], first);
    assert_eq!(shown(&status, "drop")["stats"]["take_overs"], 1);
    assert_eq!(router.metrics().await["millrace_config_last_reload_successful"], 1.0);
    adds_up(&status);
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rules_come_move_and_go_and_their_settings_change() {
    let sim = Kubesim::builder().size(2, 3, 1).start().await.unwrap();
    let mut router = setup(&sim).start().await;
    router.cycle(1).await;
    let keep = fs::read(rule("rules-examples/keep-metrics.wasm")).unwrap();

    router.put("rules/60-keep.toml", "settings = { allow = ['cpu/*'] }");
    router.put("rules/60-keep.wasm", &keep);
    let status = router.until("a rule more", |status| names(status) == ["heapster", "keep"]).await;
    let kept = status["cycle"]["number"].as_u64().unwrap();

    router.put("rules/60-keep.toml", "settings = { allow = ['memory/*'] }");
    let changed = |status: &Value| shown(status, "keep")["stats"]["take_overs"] == 1;
    let changed = router.until("new settings", changed).await["cycle"]["number"].as_u64().unwrap();

    // Before heapster it would take away what rates are made of: the order is the files'.
    fs::rename(router.path("rules/60-keep.wasm"), router.path("rules/.a")).unwrap();
    fs::rename(router.path("rules/60-keep.toml"), router.path("rules/70-keep.toml")).unwrap();
    fs::rename(router.path("rules/.a"), router.path("rules/70-keep.wasm")).unwrap();
    router.put("rules/60-noop.wasm", noop());
    router.until("another order", |status| names(status) == ["heapster", "noop", "keep"]).await;

    router.remove("rules/70-keep.wasm");
    router.remove("rules/70-keep.toml");
    let gone = router.until("gone", |status| names(status) == ["heapster", "noop"]).await["cycle"]["number"].clone();
    let status = router.cycles(2).await;
    adds_up(&status);
    assert!(status["former_rules"]["points_dropped"].as_u64().unwrap() > 0, "{status:#}");
    let last = status["cycle"]["number"].as_u64().unwrap();

    let sets = router.stop_and_read().await;
    let metrics = |cycle: u64| {
        let sets = &sets[cycle as usize - 1];
        let groups = sets.values().flat_map(|set| set.metrics.keys()).map(|name| name.split('/').next().unwrap());
        groups.map(str::to_owned).collect::<BTreeSet<_>>()
    };
    assert!(metrics(kept).len() > 3, "it had no effect in its shadow cycle");
    assert_eq!(metrics(kept + 1), BTreeSet::from(["cpu".to_owned()]));
    assert_eq!(metrics(changed + 1), BTreeSet::from(["memory".to_owned()]));
    assert_eq!(metrics(gone.as_u64().unwrap() - 1), BTreeSet::from(["memory".to_owned()]));
    assert!(metrics(last).len() > 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_rule_beside_the_chain_costs_a_share_of_the_resolution_and_no_more() {
    let sim = Kubesim::builder().size(12, 1, 1).start().await.unwrap();
    let mut router = setup(&sim).start().await;
    router.cycle(1).await;
    let patient = "limits = { process = '20s' }\n";
    router.put("rules/60-slow.toml", patient);
    router.put("rules/60-slow.wasm", guest("slow"));
    let (code, outcome) = reload(&router).await;
    assert_eq!(code, 409, "{outcome}");
    let why = "failed in its shadow cycle: its calls took more than 250 ms";
    assert!(outcome["details"][0].as_str().unwrap().contains(why), "{outcome}");
    router.put("rules/60-slow.toml", format!("{patient}shadow = true\n"));
    let shown_less = |status: &Value| status["shadows"][0]["batches_left_out_for_time"].as_u64() > Some(12);
    let status = router.until("two cycles beside it", shown_less).await;
    assert_eq!((names(&status), &status["ready"]), (vec!["heapster"], &json!(true)));
    adds_up(&status);
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rule_that_was_shown_nothing_waits_and_what_mends_the_chain_is_tried_with_it() {
    let sim = Kubesim::builder().size(3, 1, 1).start().await.unwrap();
    let halting = setup(&sim).file("rules/10-third.wasm", guest("traps_third"));
    let mut router = halting.file("rules/10-third.toml", "on-error = 'halt'").start().await;
    router.until("halted", |status| shown(status, "third")["state"] == "halted").await;
    router.put("rules/60-late.wasm", guest("traps_third"));
    router.until("tried", |status| status["shadows"][0]["name"] == "late").await;
    router.cycles(2).await;
    let last = reloads(&router).await;
    assert_eq!((&last["took_over"], &last["phase"]), (&json!(0), &json!({ "trial": ["late"] })), "it proved nothing");
    // The one that mends the first rule does not wait for that for ever; and the other one is found out.
    router.put("rules/10-third.wasm", noop());
    router.logged(|line| line["message"].as_str().unwrap().contains("60-late.wasm: failed in its shadow cycle")).await;
    router.put("rules/60-late.wasm", noop());
    let both = |status: &Value| shown(status, "late")["state"] == "running" && status["ready"] == true;
    let status = router.until("both taken", both).await;
    assert_eq!(names(&status), ["third", "heapster", "late"]);
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_several_sets_that_wait_for_their_shadow_cycle_the_newest_goes_next() {
    let sim = Kubesim::builder().size(2, 1, 1).start().await.unwrap();
    let mut router = setup(&sim).with("resolution = '1s'", "resolution = '5s'").start().await;
    router.cycle(1).await;
    // All within one resolution: each is ready long before the next cycle begins.
    for number in 1..=3 {
        router.put("rules/60-new.wasm", build(&noop(), number));
        let until = Instant::now() + Duration::from_secs(4);
        while Instant::now() < until && !reloads(&router).await["phase"]["trial"].is_array() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
    let status = router.until("taken", |status| names(status) == ["heapster", "new"]).await;
    let digest = Digest::of(&build(&noop(), 3)).to_string();
    assert_eq!(shown(&status, "new")["digest"], digest);
    let last = reloads(&router).await;
    assert_eq!((&last["took_over"], &last["refused"]), (&json!(1), &json!(0)));
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signal_reads_the_rules_again_and_starts_a_halted_one_anew() {
    let sim = Kubesim::builder().size(3, 2, 1).start().await.unwrap();
    let setup = setup(&sim).file("rules/10-third.wasm", guest("traps_third"));
    let mut router = setup.file("rules/10-third.toml", "on-error = 'halt'").start().await;
    router.until("halted", |status| shown(status, "third")["state"] == "halted").await;
    // As it is it fails in its shadow cycle, too.
    router.signal(Signal::Hangup);
    router.logged(|line| line["message"].as_str().unwrap().contains("failed in its shadow cycle: trap")).await;
    assert_eq!(shown(&router.status().await, "third")["state"], "halted");
    // With a node less it has no third batch in its shadow cycle, and takes over; it halts again in the next.
    assert!(sim.delete(Resource::Nodes, "", &sim.node_name(2)));
    router.until("two nodes", |status| status["cycle"]["nodes"] == 2).await;
    router.signal(Signal::Hangup);
    router.until("tried again", |status| shown(status, "third")["stats"]["take_overs"] == 1).await;
    router.until("halted", |status| shown(status, "third")["state"] == "halted").await;
    // Mended, it is taken and nothing stops any more.
    router.put("rules/10-third.wasm", noop());
    router.until("running", |status| shown(status, "third")["state"] == "running" && status["ready"] == true).await;
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rule_in_the_shadow_shows_what_it_would_do_and_does_nothing() {
    let sim = Kubesim::builder().size(2, 3, 2).configure(steady).start().await.unwrap();
    let mut plain = setup(&sim).start().await;
    plain.cycle(2).await;
    let plain = plain.stop_and_read().await;

    let keep = fs::read(rule("rules-examples/keep-metrics.wasm")).unwrap();
    let drop = "shadow = true\nsettings = { allow = ['cpu/*'] }";
    let shadows = setup(&sim).file("rules/60-keep.wasm", &keep).file("rules/60-keep.toml", drop);
    // One that fails beside the chain costs nothing either, and does not stay in the way.
    let shadows = shadows
        .file("rules/10-bad.wasm", guest("traps_third"))
        .file("rules/10-bad.toml", "shadow = true\non-error = 'halt'");
    let mut router = shadows.start().await;
    let status = router.cycle(4).await;
    assert_eq!((names(&status), &status["ready"]), (vec!["heapster"], &json!(true)));
    let (code, page) = router.page("/api/v1/rules/keep/shadow").await;
    let shadow: Value = serde_json::from_str(&page).unwrap();
    assert_eq!((code.as_u16(), &shadow["state"]), (200, &json!("shadow")));
    let last = &shadow["last_cycle"];
    let points = |side: &str| last["points"][side].as_u64().unwrap();
    assert!(points("before") > points("after") && points("after") > 0, "{shadow:#}");
    // Each point is a series of its own; over 128 they are estimated.
    for side in ["before", "after"] {
        let series = last["series"][side].as_u64().unwrap();
        assert!(series.abs_diff(points(side)) <= points(side) / 20, "{shadow:#}");
    }
    assert!(shadow["stats"]["points_dropped"].as_u64().unwrap() >= points("before") - points("after"));
    let metrics: BTreeMap<&str, &Value> =
        last["metrics"].as_array().unwrap().iter().map(|metric| (metric["name"].as_str().unwrap(), metric)).collect();
    assert_eq!(metrics["memory/usage"]["after"], 0);
    assert_eq!(metrics["cpu/usage"]["after"], metrics["cpu/usage"]["before"]);
    let labels = last["labels"].as_array().unwrap();
    assert!(labels.iter().any(|label| label["name"] == "pod_name" && label["values"]["before"].as_u64().unwrap() > 0));

    let (code, page) = router.page("/api/v1/rules/none/shadow").await;
    assert!(code.as_u16() == 404 && page.contains("no rule `none` runs in the shadow"), "{page}");
    let bad: Value = serde_json::from_str(&router.page("/api/v1/rules/bad/shadow").await.1).unwrap();
    assert!(bad["stats"]["faults"]["trap"].as_u64().unwrap() >= 2 && bad["halted"] == false, "{bad:#}");

    // Taken out of the shadow it goes its trial, and then it is done.
    router.put("rules/60-keep.toml", "settings = { allow = ['cpu/*'] }");
    router.until("in the chain", |status| names(status) == ["heapster", "keep"]).await;
    router.cycles(1).await;
    let sets = router.stop_and_read().await;
    for sets in &sets[1..4] {
        assert!(series(sets) == series(&plain[1]), "the shadow has no effect");
    }
    let last = sets.last().unwrap();
    assert!(last.values().flat_map(|set| set.metrics.keys()).all(|name| name.starts_with("cpu/")), "{last:?}");
}
