//! The referee of Heapster's metrics API: every recorded request is asked of ours, under both names that
//! the group had, over the recorded inputs and after the same cycles. What may differ is listed in
//! `excuse`, by number.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a failed expectation is a failed test")]

use std::collections::{BTreeMap, BTreeSet};

use millrace_tests::heapster::{self, Patch};
use millrace_tests::recorded;
use serde::Deserialize;
use serde_json::Value;
use served::{FIRST, Served, WINDOW};

#[allow(dead_code, reason = "each test uses a part")]
mod served;

/// The group's last name; the one before was recorded as 404, because that Heapster no longer had it.
const RECORDED: &str = "/apis/metrics.k8s.io/v1alpha1";
const OLD: &str = "/apis/metrics/v1alpha1";

#[derive(Deserialize)]
struct Recording {
    request: String,
    status: u16,
    r#type: String,
    body: Value,
}

struct Referee {
    patches: Vec<Patch>,
    /// Differences that nothing allows.
    found: Vec<String>,
    /// Numbers of the differences that were met.
    met: BTreeSet<u32>,
    after: u64,
}

#[tokio::test(flavor = "multi_thread")]
async fn every_recorded_metrics_request_is_answered_as_by_heapster_but_for_the_listed_differences() {
    let mut served = Served::start().await;
    let patches = heapster::patches().unwrap();
    let mut referee = Referee { patches, found: Vec::new(), met: BTreeSet::new(), after: 0 };
    for after in [1, 3, 6] {
        served.run_to(after);
        referee.after = after;
        let text = std::fs::read_to_string(recorded::folder().join(format!("http/after-{after}.jsonl"))).unwrap();
        let recordings = text.lines().map(|line| serde_json::from_str::<Recording>(line).unwrap());
        let mut asked = 0;
        for recording in recordings.filter(|one| one.request.starts_with(RECORDED)) {
            let renamed = recording.request.replace(RECORDED, OLD);
            for request in [&recording.request, &renamed] {
                let ours = served.get(request, None).await;
                referee.compare(request, &recording, &ours);
            }
            asked += 1;
        }
        assert_eq!(asked, 23, "requests after {after}");
    }
    assert!(referee.found.is_empty(), "{} differences:\n{}", referee.found.len(), referee.found.join("\n"));
    assert_eq!(referee.met, BTreeSet::from([1, 11, 12, 17]), "differences that were met");
}

impl Referee {
    fn compare(&mut self, request: &str, recording: &Recording, (status, kind, text): &(u16, String, String)) {
        if matches!(request, RECORDED | OLD) {
            assert_eq!((*status, kind.as_str()), (200, "application/json"), "{request}: {text}");
            self.met.insert(17);
            return;
        }
        let theirs = items(&recording.body);
        // What is no JSON is text, and has no items.
        let ours = items(&serde_json::from_str(text).unwrap_or_default());
        for name in theirs.keys().chain(ours.keys()).collect::<BTreeSet<_>>() {
            if theirs.get(name) != ours.get(name) {
                let excuse = self.excuse(name, theirs.get(name), ours.get(name));
                match excuse {
                    Some(numbers) => self.met.extend(numbers),
                    None => self.found.push(format!(
                        "after {}: {request}: {name}: {:?}, not {:?}",
                        self.after,
                        ours.get(name),
                        theirs.get(name)
                    )),
                }
            }
        }
        if !theirs.keys().eq(ours.keys()) {
            // What is there instead was compared.
            return;
        }
        let wanted = if recording.status == 500 {
            self.met.insert(11);
            404
        } else {
            recording.status
        };
        let same_text = recording.body.as_str().is_none_or(|body| body.trim() == text.trim());
        if (wanted, &recording.r#type) != (*status, kind) || !same_text {
            self.found.push(format!("after {}: {request}: {status} {kind} {text}, not {wanted}", self.after));
        }
    }

    fn excuse(&self, name: &str, theirs: Option<&Value>, ours: Option<&Value>) -> Option<Vec<u32>> {
        if let (None, Some(ours)) = (theirs, ours) {
            // A container that began anew, and a document that is given again for ever, have no rate: the last one stays.
            let time: jiff::Timestamp = ours["timestamp"].as_str().unwrap().parse().unwrap();
            let cycle = u64::try_from((time.as_second() - FIRST) / WINDOW + 1).unwrap();
            return (cycle < self.after && cycle + 2 >= self.after).then(|| vec![12]);
        }
        let patched = |what: &str| {
            let own = |patch: &&Patch| patch.batch == self.after && patch.what == what && patch.set.starts_with(name);
            self.patches.iter().find(own).map(|patch| patch.because.clone())
        };
        patched("metric cpu/usage_rate").or_else(|| patched("metric memory/working_set"))
    }
}

/// Objects by their keys in Heapster's model, without the time of the answer.
fn items(body: &Value) -> BTreeMap<String, Value> {
    let all = match body.get("items") {
        Some(items) => items.as_array().cloned().unwrap_or_default(),
        None if body.is_object() => vec![body.clone()],
        None => Vec::new(),
    };
    let keyed = all.into_iter().map(|mut item| {
        let metadata = item["metadata"].as_object_mut().unwrap();
        let made = metadata.remove("creationTimestamp").unwrap();
        assert!(made.as_str().unwrap().parse::<jiff::Timestamp>().is_ok(), "{made}");
        let name = metadata["name"].as_str().unwrap();
        let key = match metadata.get("namespace").and_then(Value::as_str) {
            Some(namespace) => format!("namespace:{namespace}/pod:{name}"),
            None => format!("node:{name}"),
        };
        (key, item)
    });
    keyed.collect()
}
