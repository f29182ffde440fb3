//! Decoded rows of the bodies in `tests/fixtures/summary`, compared with what was reviewed by hand;
//! every body of the reference data; and what hostile bodies come to.
//!
//! `MILLRACE_BLESS=1` writes the snapshots anew: review the difference before you commit it.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use super::*;
use crate::batch::{Level, Value};
use crate::kube::ContainerFacts;

const CYCLE: Cycle =
    Cycle { number: 1, time: 1_800_000_000_000_000_000, window: 60, nodes_asked: 1, nodes_answered: 0 };

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/summary")
}

fn node(name: &str) -> NodeFacts {
    NodeFacts {
        name: name.into(),
        hostname: "host-a".into(),
        host_id: "".into(),
        labels: Box::new([("zone".into(), "z1".into())]),
        ready: true,
        capacity: Box::new([("cpu".into(), 4000), ("memory".into(), 8 << 30)]),
        allocatable: Box::new([("cpu".into(), 3920)]),
        ..NodeFacts::default()
    }
}

fn spec(name: &str, init: bool) -> ContainerFacts {
    ContainerFacts {
        name: name.into(),
        image: format!("{name}:1").into(),
        init,
        requests: Box::new([("cpu".into(), 100), ("nvidia.com/gpu".into(), 1)]),
        limits: Box::new([("memory".into(), 1 << 20)]),
        restart_count: (!init).then_some(2),
        started_at: None,
    }
}

fn pod(name: &str, uid: &str, containers: Vec<ContainerFacts>) -> Arc<PodFacts> {
    Arc::new(PodFacts {
        namespace: "default".into(),
        name: name.into(),
        uid: uid.into(),
        node: "node-a".into(),
        labels: Box::new([("app".into(), "web".into())]),
        annotations: Box::new([("team".into(), "blue".into())]),
        phase: "Running".into(),
        owner: Some(("ReplicaSet".into(), "web-123".into())),
        started_at: None,
        containers: containers.into(),
    })
}

/// What the API server knows beside `duplicates.json`; the other bodies stand alone.
fn pods(fixture: &str) -> Vec<Arc<PodFacts>> {
    match fixture {
        "duplicates" => vec![
            pod(
                "twice",
                "uid-twice",
                vec![spec("app", false), spec("unseen", false), spec("setup", true), spec("done", true)],
            ),
            pod("known-uid-wins", "uid-api", vec![]),
            pod("without-stats", "uid-without", vec![spec("main", false), spec("done", true)]),
        ],
        _ => Vec::new(),
    }
}

fn run(body: &[u8], node: &NodeFacts, pods: &[Arc<PodFacts>], bounds: &DecodeBounds) -> Result<Decoded, ScrapeFailure> {
    let uid = |namespace: &str| (namespace == "default").then(|| Arc::from("uid-ns-default"));
    decode(body, node, pods, uid, &CYCLE, bounds, &TypeRegistry::default())
}

/// The batch as text: an entity a line, its points below it.
fn rows(decoded: &Decoded) -> String {
    let mut out = String::new();
    let batch = &decoded.batch;
    writeln!(out, "base {}", time(batch.base)).unwrap();
    writeln!(out, "{:?}", decoded.counts).unwrap();
    for entity in batch.iter() {
        let started = if entity.started_at() == 0 { "?".to_owned() } else { time(entity.started_at()) };
        writeln!(out, "{:?} started {started}", entity.level()).unwrap();
        for (name, value) in entity.labels() {
            writeln!(out, "  {name}: {value:?}").unwrap();
        }
        for point in entity.points() {
            let labels: Vec<_> = point.labels().map(|(name, value)| format!("{name}={value:?}")).collect();
            let value = match point.value() {
                Value::Int(value) => value.to_string(),
                Value::Float(value) => format!("{value:?}f"),
            };
            let at = point.measured_at().map_or("?".to_owned(), |at| format!("{:+} ms", (at - batch.base) / 1_000_000));
            let labels = if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
            writeln!(out, "    {}{labels} = {value} @ {at}", point.metric()).unwrap();
        }
    }
    out
}

fn time(nanos: i64) -> String {
    jiff::Timestamp::from_nanosecond(nanos.into()).unwrap().to_string()
}

#[test]
fn fixtures_decode_to_what_was_reviewed() {
    for fixture in ["old", "windows", "psi-swap", "duplicates", "times"] {
        let folder = fixtures();
        let body = std::fs::read(folder.join(format!("{fixture}.json"))).unwrap();
        let decoded = run(&body, &node("node-a"), &pods(fixture), &DecodeBounds::default()).unwrap();
        let path = folder.join(format!("{fixture}.rows"));
        if std::env::var_os("MILLRACE_BLESS").is_some() {
            std::fs::write(&path, rows(&decoded)).unwrap();
        }
        let reviewed = std::fs::read_to_string(&path).unwrap();
        assert_eq!(rows(&decoded), reviewed, "{fixture}");
    }
}

/// The reference data, beside the repository or where `MILLRACE_REFERENCE` says.
fn reference() -> Option<PathBuf> {
    let given = std::env::var_os("MILLRACE_REFERENCE").map(PathBuf::from);
    let root = given.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/reference"));
    root.join("kubelet-data").is_dir().then_some(root)
}

fn skipped() {
    eprintln!("skipped: no reference data; set MILLRACE_REFERENCE to the folder that holds kubelet-data");
}

fn recorded() -> Option<Vec<(String, Vec<u8>)>> {
    let root = reference()?;
    let mut bodies = Vec::new();
    for entry in std::fs::read_dir(root.join("kubelet-data")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if name.starts_with("summary-") && name.ends_with(".json") {
            bodies.push((name, std::fs::read(&path).unwrap()));
        }
    }
    bodies.sort();
    Some(bodies)
}

fn name_in(body: &[u8]) -> String {
    let body: serde_json::Value = serde_json::from_slice(body).unwrap();
    body["node"]["nodeName"].as_str().unwrap_or_default().to_owned()
}

/// Counts the numbers of a body by walking it as plain JSON: an independent reckoning.
fn numbers(value: &serde_json::Value) -> usize {
    match value {
        serde_json::Value::Number(_) => 1,
        serde_json::Value::Array(items) => items.iter().map(numbers).sum(),
        serde_json::Value::Object(fields) => fields.values().map(numbers).sum(),
        _ => 0,
    }
}

#[test]
fn every_recorded_body_decodes() {
    let Some(bodies) = recorded() else { return skipped() };
    assert!(bodies.len() >= 18, "only {} bodies", bodies.len());
    for (name, body) in bodies {
        let mut node = node(&name_in(&body));
        (node.capacity, node.allocatable) = Default::default();
        let decoded =
            run(&body, &node, &[], &DecodeBounds::default()).unwrap_or_else(|error| panic!("{name}: {error}"));
        let levels = |level| decoded.batch.iter().filter(|entity| entity.level() == level).count();
        let counts = decoded.counts;
        assert!(levels(Level::Node) == 1 && levels(Level::Pod) > 0 && levels(Level::Container) > 0, "{name}");
        assert_eq!((counts.malformed, counts.nameless, counts.type_conflicts), (0, 0, 0), "{name}: {counts:?}");
        // Every number of the wire is a point, unless its container stands there twice.
        let all = numbers(&serde_json::from_slice(&body).unwrap());
        if counts.duplicates == 0 {
            assert_eq!(counts.points + counts.over_range, all as u64, "{name}: {counts:?}");
        } else {
            assert!(counts.points < all as u64, "{name}: {counts:?}");
        }
    }
}

#[test]
fn every_golden_body_decodes() {
    let Some(root) = reference() else { return skipped() };
    let mut decoded = 0;
    for name in ["node-a", "node-b.example.com", "node-c"] {
        for scrape in 1..=4 {
            let path = root.join(format!("heapster/golden/input/summary/{name}/scrape-{scrape}.json"));
            let body = std::fs::read(&path).unwrap();
            run(&body, &node(name), &[], &DecodeBounds::default()).unwrap_or_else(|error| panic!("{name}: {error}"));
            decoded += 1;
        }
    }
    assert_eq!(decoded, 12);
}

#[test]
fn what_is_no_summary_is_refused_with_a_reason() {
    let deep = format!("{}1{}", "[".repeat(100_000), "]".repeat(100_000));
    let deep_node = format!(r#"{{"node":{{"cpu":{deep}}}}}"#);
    let many = format!(r#"{{"pods":[{}]}}"#, vec!["{}"; 101].join(","));
    let bounds = DecodeBounds { objects: 100, ..DecodeBounds::default() };
    for (name, body, reason, sentence) in [
        ("nothing", "", "body", "an empty body"),
        ("white space", " \n", "body", "an empty body"),
        ("a web page", "<!doctype html><html>", "body", "HTML instead of JSON"),
        ("a cut body", r#"{"node":{"nodeName":"node-a","cp"#, "body", "ends in the middle"),
        ("an empty object", "{}", "body", "no Summary"),
        ("another API's object", r#"{"kind":"Status","code":500}"#, "body", "no Summary"),
        ("null", "null", "body", "null"),
        ("a number", "5", "body", "integer `5`"),
        ("a list of lists", r#"{"pods":[[]]}"#, "body", "sequence"),
        ("pods that are text", r#"{"pods":"none"}"#, "body", "a list"),
        ("two bodies", r#"{"pods":[]}{"pods":[]}"#, "body", "trailing"),
        ("another node", r#"{"node":{"nodeName":"node-b"}}"#, "name-mismatch", "`node-b` answered"),
        ("too much", many.as_str(), "over-bound", "more than 100 objects"),
        ("too deep a list", deep_node.as_str(), "body", ""),
    ] {
        let failure = run(body.as_bytes(), &node("node-a"), &[], &bounds).expect_err(name);
        assert_eq!(failure.reason(), reason, "{name}: {failure}");
        assert!(failure.to_string().contains(sentence), "{name}: {failure}");
    }
    let failure = run(b"{\"node\":{\"nodeName\":\"\xff\"}}", &node("node-a"), &[], &bounds).unwrap_err();
    assert!(failure.to_string().contains("UTF-8"), "{failure}");
}

#[test]
fn unknown_depths_are_skipped_without_a_stack() {
    let body = format!(
        r#"{{"x":{}1{},"pods":null,"node":{{"startTime":{}1{}}}}}"#,
        "[".repeat(200_000),
        "]".repeat(200_000),
        "[".repeat(500),
        "]".repeat(500)
    );
    let decoded = run(body.as_bytes(), &node("node-a"), &[], &DecodeBounds::default()).unwrap();
    assert_eq!(decoded.counts.malformed, 1);
}

#[test]
fn a_node_over_a_bound_is_refused() {
    let body = std::fs::read(fixtures().join("psi-swap.json")).unwrap();
    for (bounds, what) in [
        (DecodeBounds { entities: 2, ..DecodeBounds::default() }, "2 entities"),
        (DecodeBounds { points: 10, ..DecodeBounds::default() }, "10 points"),
        (DecodeBounds { text: 50, ..DecodeBounds::default() }, "50 bytes of text"),
    ] {
        let failure = run(&body, &node("node-a"), &[], &bounds).unwrap_err();
        assert!(failure.reason() == "over-bound" && failure.to_string().contains(what), "{failure}");
    }
}

#[test]
fn a_body_without_pods_keeps_the_pods_of_the_api_server() {
    for body in [r#"{"node":{"nodeName":"node-a"},"pods":null}"#, r#"{"node":{"nodeName":"node-a"}}"#, r#"{"pods":[]}"#]
    {
        let decoded = run(body.as_bytes(), &node("node-a"), &pods("duplicates"), &DecodeBounds::default()).unwrap();
        let origins: Vec<_> = decoded.batch.iter().filter_map(|entity| entity.label("__origin")).collect();
        assert_eq!(origins, ["api"; 6], "{body}");
        assert_eq!(decoded.batch.base, CYCLE.time, "{body}");
    }
}

#[test]
fn a_name_of_another_type_is_left_out_and_counted() {
    let body = br#"{"pods":[{"podRef":{"name":"p","namespace":"n"},"containers":[{"name":"c",
        "cpu":{"usageCoreNanoSeconds":1},"userDefinedMetrics":[{"name":"q","type":"gauge","value":1}]}]}]}"#;
    let types = TypeRegistry::default();
    types.check("custom/q", crate::batch::ValueType::Int, crate::batch::NamedBy::Workload).unwrap();
    let decoded = decode(body, &node("node-a"), &[], |_| None, &CYCLE, &DecodeBounds::default(), &types).unwrap();
    assert_eq!((decoded.counts.type_conflicts, decoded.counts.points), (1, 1 + 3));
    assert!(types.check("cpu/usage", crate::batch::ValueType::Float, crate::batch::NamedBy::Host).is_err());
}

/// Names from outside are bounded in each container, in each batch and in all; what is over costs
/// itself alone.
#[test]
fn resources_and_custom_metrics_without_number_cost_themselves_alone() {
    let types = TypeRegistry::default();
    crate::scrape::names::reserve(&types).unwrap();
    let cpu: (Arc<str>, i64) = ("cpu".into(), 100);
    for round in 0..20 {
        let resources = |at| (0..2_000).map(move |name| (format!("a.b/{round}-{at}-{name:04}").into(), 1));
        let containers = (0..50).map(|at| ContainerFacts {
            requests: resources(at).chain([cpu.clone()]).collect(),
            ..spec(&format!("c{at}"), false)
        });
        let pods = [pod("p", "u", containers.collect())];
        let custom: Vec<String> =
            (0..3_000).map(|at| format!(r#"{{"name":"x{round}-{at}","type":"gauge","value":1}}"#)).collect();
        let body = format!(
            r#"{{"pods":[{{"podRef":{{"name":"q","namespace":"n"}},"containers":[{{"name":"c","cpu":{{"usageCoreNanoSeconds":1}},
            "userDefinedMetrics":[{}]}}]}}]}}"#,
            custom.join(",")
        );
        let bounds = DecodeBounds::default();
        let decoded = decode(body.as_bytes(), &node("node-a"), &pods, |_| None, &CYCLE, &bounds, &types).unwrap();
        let names = decoded.batch.metrics.len();
        assert!(names < 2_100, "{names}");
        assert!(decoded.counts.names_left_out > 90_000, "{:?}", decoded.counts);
        let asked = |entity: &crate::batch::EntityView<'_>| entity.value("__request/cpu").is_some();
        assert_eq!(decoded.batch.iter().filter(asked).count(), 50);
        assert!(decoded.batch.iter().any(|entity| entity.value("cpu/usage").is_some()));
    }
    let output = [("uptime", crate::batch::ValueType::Int)];
    assert_eq!(types.check_all(output.into_iter()), Ok(vec![]), "there is room for what rules write");
}

#[test]
fn a_pod_with_labels_without_number_loses_those_that_are_too_many() {
    let many = |count: usize| (0..count).map(|at| (format!("l{at:05}").into(), "".into())).collect();
    let containers = || (0..200).map(|at| spec(&format!("c{at}"), false)).collect();
    let mut pods: Vec<_> = (0..8)
        .map(|at| {
            let mut bomb = Arc::unwrap_or_clone(pod(&format!("bomb{at}"), "u", containers()));
            bomb.labels = many(50_000);
            Arc::new(bomb)
        })
        .collect();
    pods.push(pod("good", "g", vec![spec("c", false)]));
    let decoded = run(br#"{"node":{"nodeName":"node-a"}}"#, &node("node-a"), &pods, &DecodeBounds::default()).unwrap();
    assert_eq!(decoded.batch.entities.len(), 1 + 8 * 201 + 2, "nothing else is lost");
    let rows = decoded.batch.entities.label_names.len();
    assert!(rows < 8 * 16_384 + 25_000, "{rows}");
    assert!(decoded.counts.labels_left_out > 8 * 49_000, "{:?}", decoded.counts);
    let good = decoded.batch.iter().find(|entity| entity.label("pod_name") == Some("good")).unwrap();
    assert_eq!(good.label("__label_app"), Some("web"));
}

/// Not a check of speed, which depends on the machine, but the loop that measures it.
#[test]
fn decode_speed_is_reported() {
    let Some(bodies) = recorded() else { return skipped() };
    let types = TypeRegistry::default();
    for (name, body) in
        bodies.iter().filter(|(name, _)| ["summary-nri-1.25.json", "summary-nri-1.34.json"].contains(&&**name))
    {
        let node = node(&name_in(body));
        let rounds = 200;
        let mut points = 0;
        let (mut best_parse, mut best_all) = (f64::MAX, f64::MAX);
        for _ in 0..rounds {
            let start = Instant::now();
            std::hint::black_box(parse(body, &DecodeBounds::default()).unwrap());
            best_parse = best_parse.min(start.elapsed().as_secs_f64());
            let start = Instant::now();
            let decoded = decode(body, &node, &[], |_| None, &CYCLE, &DecodeBounds::default(), &types).unwrap();
            best_all = best_all.min(start.elapsed().as_secs_f64());
            points = decoded.counts.points;
        }
        let speed = |seconds: f64| body.len() as f64 / 1e6 / seconds;
        eprintln!(
            "{name}: parse {:.0} MB/s, decode {:.0} MB/s, {:.1} ns a point of {points}",
            speed(best_parse),
            speed(best_all),
            best_all * 1e9 / points as f64
        );
    }
}
