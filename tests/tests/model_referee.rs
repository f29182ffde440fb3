//! The referee of the model API: every recorded request is asked of ours, over the recorded inputs,
//! after the same cycles. What may differ is what `patches.tsv` allows in the values themselves, and
//! the few differences of the API that stand in `excuse` and `ALLOWED`, by number.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a failed expectation is a failed test")]

use std::collections::{BTreeMap, BTreeSet};

use millrace_tests::heapster::{self, Patch};
use millrace_tests::recorded;
use serde::Deserialize;
use serde_json::{Map, Value};
use served::{FIRST, Served, WINDOW};

#[allow(dead_code, reason = "each test uses a part")]
mod served;

/// Differences of the API itself, by the number in "Differences from Heapster": what a request holds,
/// and why its answer may be another.
const ALLOWED: [(&str, u32); 4] = [
    // Names of nodes, not of hosts; and hosts' names are taken in routes.
    ("/model/nodes/host-b/", 6),
    ("/model/nodes/ ", 6),
    ("/model/nodes ", 6),
    // This list Heapster made by the host's name.
    ("/model/nodes/node-b.example.com/freecontainers/ ", 6),
];

#[derive(Deserialize)]
struct Recording {
    request: String,
    status: u16,
    r#type: String,
    body: Value,
    accept: Option<String>,
}

struct Referee {
    patches: Vec<Patch>,
    /// Differences that nothing allows.
    found: Vec<String>,
    /// Numbers of the differences that were met.
    met: BTreeSet<u32>,
    /// Every entity's key, ours and theirs.
    keys: BTreeSet<String>,
    after: u64,
}

#[tokio::test(flavor = "multi_thread")]
async fn every_recorded_request_is_answered_as_by_heapster_but_for_the_listed_differences() {
    let mut served = Served::start().await;
    let patches = heapster::patches().unwrap();
    let mut referee = Referee { patches, found: Vec::new(), met: BTreeSet::new(), keys: BTreeSet::new(), after: 0 };
    for (after, least) in [(1, 600), (3, 750), (6, 750)] {
        served.run_to(after);
        referee.after = after;
        let recordings = recordings(after);
        referee.keys = strings(&recordings.iter().find(|one| one.request.ends_with("allkeys")).unwrap().body);
        referee.keys.extend(strings(&served.json("/api/v1/model/debug/allkeys").await));
        let mut asked = 0;
        for recording in recordings.iter().filter(|one| one.request.starts_with("/api/v1/")) {
            let accept = recording.accept.as_deref().and_then(|accept| match accept {
                "xml" => Some("application/xml"),
                "text" => Some("text/plain"),
                "any" => Some("*/*"),
                _ => None,
            });
            let ours = served.get(&recording.request, accept).await;
            referee.compare(recording, &ours);
            asked += 1;
        }
        assert!(asked >= least, "{asked} requests after {after}");
    }
    assert!(referee.found.is_empty(), "{} differences:\n{}", referee.found.len(), referee.found.join("\n"));
    assert_eq!(referee.met, BTreeSet::from([1, 2, 3, 6, 10, 15, 18]), "differences that were met");
}

fn recordings(after: u64) -> Vec<Recording> {
    let text = std::fs::read_to_string(recorded::folder().join(format!("http/after-{after}.jsonl"))).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn strings(list: &Value) -> BTreeSet<String> {
    list.as_array().unwrap().iter().map(|item| item.as_str().unwrap().to_owned()).collect()
}

impl Referee {
    fn compare(&mut self, recording: &Recording, (status, kind, text): &(u16, String, String)) {
        let request = &recording.request;
        if (recording.status, &recording.r#type) != (*status, kind) {
            return self.found.push(format!("{request}: {status} {kind}, not {}: {text}", recording.status));
        }
        if let Some((_, number)) = ALLOWED.iter().find(|(part, _)| format!("{request} ").contains(part)) {
            self.met.insert(*number);
            return;
        }
        if *status != 200 {
            if recording.body.as_str().map(str::trim) != Some(text.trim()) {
                self.found.push(format!("{request}: {text}, not {}", recording.body));
            }
            return;
        }
        let ours: Value = serde_json::from_str(text).unwrap();
        let (path, _) = request.split_once('?').unwrap_or((request, ""));
        let path = path.trim_end_matches('/');
        if path.ends_with("/metric-export") {
            self.export(&recording.body, &ours);
        } else if path.ends_with("/metric-export-schema") {
            if recording.body != ours {
                self.found.push(format!("{request}: {ours}"));
            }
        } else if let Some((namespace, pods, metric)) = pod_list(path) {
            let (theirs, ours) = (recording.body["items"].as_array().unwrap(), ours["items"].as_array().unwrap());
            assert_eq!((theirs.len(), ours.len()), (pods.len(), pods.len()), "{request}");
            for (pod, (theirs, ours)) in pods.iter().zip(theirs.iter().zip(ours)) {
                self.values(request, &format!("namespace:{namespace}/pod:{pod}"), metric, theirs, ours);
            }
        } else if recording.body.is_array() {
            self.list(path, &strings(&recording.body), &ours);
        } else {
            let (set, metric) = subject(path);
            self.values(request, &set, metric.unwrap(), &recording.body, &ours);
        }
    }

    /// A list of names, ours sorted.
    fn list(&mut self, path: &str, theirs: &BTreeSet<String>, ours: &Value) {
        let sorted = strings(ours);
        let in_order: Vec<&str> = ours.as_array().unwrap().iter().map(|item| item.as_str().unwrap()).collect();
        assert!(in_order.iter().eq(sorted.iter()), "{path} is not sorted: {ours}");
        for name in theirs.symmetric_difference(&sorted) {
            let excuse = if path.ends_with("/metrics") {
                self.patched(&subject(path).0, Some(name))
            } else if path.ends_with("/allkeys") {
                self.patched(name, None)
            } else {
                let kind = if path.ends_with("/containers") { "container" } else { "pod" };
                let parent = subject(path.rsplit_once('/').unwrap().0).0;
                self.patched(&format!("{parent}/{kind}:{name}"), None)
            };
            self.settle(excuse, || format!("{path}: `{name}` is in one list only"));
        }
    }

    /// Values of one metric.
    fn values(&mut self, request: &str, set: &str, metric: &str, theirs: &Value, ours: &Value) {
        let points = |result: &Value| {
            let mut points: BTreeMap<String, Vec<u64>> = BTreeMap::new();
            for point in result["metrics"].as_array().unwrap() {
                let value = point["value"].as_u64().unwrap();
                if let Some(float) = point.get("floatValue") {
                    assert_eq!(value, float.as_f64().unwrap() as u64, "{request}: {point}");
                }
                points.entry(point["timestamp"].as_str().unwrap().to_owned()).or_default().push(value);
            }
            let last = points.keys().next_back().map_or("0001-01-01T00:00:00Z", String::as_str);
            assert_eq!(result["latestTimestamp"], last, "{request}: {result}");
            points
        };
        let (theirs, ours) = (points(theirs), points(ours));
        for time in theirs.keys().chain(ours.keys()).collect::<BTreeSet<_>>() {
            let (theirs, ours) = (theirs.get(time), ours.get(time));
            if theirs != ours {
                let excuse = Self::excuse_api(metric, theirs, ours);
                let excuse = excuse.or_else(|| self.excuse(set, metric, cycle(time), ours.map(|values| values[0])));
                self.settle(excuse, || format!("{request}: {set} {metric} at {time}: {ours:?}, not {theirs:?}"));
            }
        }
    }

    fn export(&mut self, theirs: &Value, ours: &Value) {
        let by_label = |list: &Value| -> BTreeMap<String, (Map<String, Value>, Value)> {
            let entries = list.as_array().unwrap().iter().map(|entity| {
                let label = |name: &str| entity["labels"][name].as_str().unwrap_or_default();
                let key = format!("{} {} {}", label("nodename"), label("pod_name"), label("container_name"));
                (key, (entity["metrics"].as_object().unwrap().clone(), entity["labels"].clone()))
            });
            entries.collect()
        };
        let (theirs, ours) = (by_label(theirs), by_label(ours));
        for key in theirs.keys().chain(ours.keys()).collect::<BTreeSet<_>>() {
            let set = self.set_of_export(key);
            let (Some((metrics, labels)), Some((our_metrics, our_labels))) = (theirs.get(key), ours.get(key)) else {
                let excuse = self.patched(&set, None);
                self.settle(excuse, || format!("export: {key} ({set}) is in one only"));
                continue;
            };
            if labels != our_labels {
                self.found.push(format!("export: {key}: {our_labels}, not {labels}"));
            }
            for name in metrics.keys().chain(our_metrics.keys()).collect::<BTreeSet<_>>() {
                let sorted = |points: Option<&Value>| {
                    let points = points.map(|points| points.as_array().unwrap().iter().map(Value::to_string));
                    points.map(BTreeSet::from_iter)
                };
                if sorted(metrics.get(name)) != sorted(our_metrics.get(name)) {
                    let value = our_metrics.get(name).and_then(|points| points[0]["value"].as_u64());
                    let excuse = self.excuse(&set, name, self.after, value);
                    let (theirs, ours) = (metrics.get(name), our_metrics.get(name));
                    self.settle(excuse, || format!("export: {key} {name}: {ours:?}, not {theirs:?}"));
                }
            }
        }
    }

    /// An exported entity's key: the namespace does not stand in its labels.
    fn set_of_export(&self, key: &str) -> String {
        let [node, pod, container] = key.split(' ').collect::<Vec<_>>()[..] else { panic!("{key}") };
        let of_pod = || self.keys.iter().find(|known| known.ends_with(&format!("/pod:{pod}"))).cloned();
        match (pod, container) {
            ("", "machine") => format!("node:{node}"),
            ("", container) => format!("node:{node}/container:{container}"),
            (_, "/pod") => of_pod().unwrap_or_default(),
            (_, container) => format!("{}/container:{container}", of_pod().unwrap_or_default()),
        }
    }

    /// The numbers that allow another value because of what the API makes of it.
    fn excuse_api(metric: &str, theirs: Option<&Vec<u64>>, ours: Option<&Vec<u64>>) -> Option<Vec<u32>> {
        let wrapped = |values: &Vec<u64>| values.iter().all(|value| *value > i64::MAX.cast_unsigned());
        match (theirs, ours) {
            // A negative value is 0, not nearly 2^64.
            (Some(theirs), Some(ours)) if wrapped(theirs) && ours.iter().all(|value| *value == 0) => Some(vec![2]),
            // Without a rate there is no utilisation: not before the first, and not in a gap.
            (Some(theirs), None) if metric.ends_with("/node_utilization") && theirs.iter().all(|value| *value == 0) => {
                Some(vec![3])
            }
            _ => None,
        }
    }

    /// The numbers that allow another value in a cycle.
    fn excuse(&self, set: &str, metric: &str, cycle: u64, ours: Option<u64>) -> Option<Vec<u32>> {
        if metric == "uptime" && ours.is_some() {
            return Some(vec![18]);
        }
        // The last document is given again for ever, and what it leads to stays.
        let batch = cycle.min(4);
        let what = format!("metric {metric}");
        let patch = self.patches.iter().find(|one| one.batch == batch && one.set == set && one.what == what)?;
        let value: Option<u64> = patch.ours.parse::<f64>().ok().map(|value| value as u64);
        (value == ours || cycle > 4).then(|| patch.because.clone())
    }

    /// The numbers that allow an entity, or a metric of it, to be in one of the lists only.
    fn patched(&self, set: &str, metric: Option<&str>) -> Option<Vec<u32>> {
        let what = metric.map(|metric| format!("metric {metric}"));
        let so_far = |patch: &&Patch| patch.batch <= self.after && patch.set == set;
        let one_sided = |patch: &Patch| patch.recorded == "-" || patch.ours == "-";
        let mut patches = self.patches.iter().filter(so_far).filter(|patch| one_sided(patch));
        patches.find(|patch| what.as_ref().is_none_or(|what| patch.what == *what)).map(|patch| patch.because.clone())
    }

    fn settle(&mut self, excuse: Option<Vec<u32>>, what: impl Fn() -> String) {
        match excuse {
            Some(numbers) => self.met.extend(numbers),
            None => self.found.push(format!("after {}: {}", self.after, what())),
        }
    }
}

/// The number of the cycle with this timestamp.
fn cycle(time: &str) -> u64 {
    let seconds = time.parse::<jiff::Timestamp>().unwrap().as_second();
    ((seconds - FIRST) / WINDOW + 1).try_into().unwrap()
}

fn pod_list(path: &str) -> Option<(&str, Vec<&str>, &str)> {
    let (namespace, rest) = path.strip_prefix("/api/v1/model/namespaces/")?.split_once("/pod-list/")?;
    let (pods, metric) = rest.split_once("/metrics/")?;
    Some((namespace, pods.split(',').collect(), new_name(metric)))
}

fn new_name(metric: &str) -> &str {
    match metric {
        "cpu-usage" => "cpu/usage_rate",
        "cpu-limit" => "cpu/limit",
        "memory-limit" => "memory/limit",
        "memory-usage" => "memory/usage",
        "memory-working" => "memory/working_set",
        new => new,
    }
}

/// The key of a path's entity, and the metric that follows.
fn subject(path: &str) -> (String, Option<&str>) {
    let path = path.strip_prefix("/api/v1/model").unwrap();
    let (entity, metric) = path.split_once("/metrics").unwrap_or((path, ""));
    let parts: Vec<&str> = entity.split('/').filter(|part| !part.is_empty()).collect();
    let names = [
        ("nodes", "node"),
        ("freecontainers", "container"),
        ("namespaces", "namespace"),
        ("pods", "pod"),
        ("containers", "container"),
    ];
    let key: Vec<String> = parts
        .chunks(2)
        .map(|pair| format!("{}:{}", names.iter().find(|(plural, _)| *plural == pair[0]).unwrap().1, pair[1]))
        .collect();
    let key = if key.is_empty() { "cluster".to_owned() } else { key.join("/") };
    (key, metric.strip_prefix('/').filter(|metric| !metric.is_empty()).map(new_name))
}
