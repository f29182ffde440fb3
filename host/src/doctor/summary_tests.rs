use super::*;
use crate::finding::Status;

const NOW: i64 = 1_770_000_000;

fn at(seconds: i64) -> String {
    jiff::Timestamp::from_second(seconds).unwrap().to_string()
}

fn body(cpu: u64, measured: i64, pods: &str) -> String {
    let time = at(measured);
    format!(
        r#"{{"node":{{"nodeName":"n1","cpu":{{"time":"{time}","usageCoreNanoSeconds":{cpu}}},
        "memory":{{"time":"{time}","workingSetBytes":5}}}},"pods":[{pods}]}}"#
    )
}

fn pod(name: &str, started: i64) -> Arc<PodFacts> {
    Arc::new(PodFacts {
        namespace: "ns".into(),
        name: name.into(),
        node: "n1".into(),
        phase: "Running".into(),
        started_at: Some(started * 1_000_000_000),
        ..PodFacts::default()
    })
}

/// The checks that are not all right.
fn found(bytes: &str, date: Option<i64>, pods: &[Arc<PodFacts>], took: u64) -> Vec<(&'static str, Status)> {
    let node = NodeFacts { name: "n1".into(), ..NodeFacts::default() };
    let look = Look {
        node: &node,
        pods,
        address: "10.0.0.1:10250",
        took: Duration::from_millis(took),
        wait: Duration::from_secs(10),
        most_bytes: 1 << 20,
        now: NOW,
    };
    let cycle =
        Cycle { number: 1, time: NOW * 1_000_000_000, window: 60_000_000_000, nodes_asked: 1, nodes_answered: 0 };
    let types = TypeRegistry::default();
    crate::scrape::names::reserve(&types).unwrap();
    let findings = look.of_bytes(bytes.as_bytes(), date, &cycle, &types);
    findings
        .into_iter()
        .filter(|finding| finding.status != Status::Ok)
        .map(|finding| (finding.check, finding.status))
        .collect()
}

#[test]
fn a_good_answer_is_all_right() {
    let pods = r#"{"podRef":{"name":"a","namespace":"ns","uid":"u"}}"#;
    assert_eq!(found(&body(7, NOW - 10, pods), Some(NOW - 1), &[pod("a", NOW - 900)], 12), []);
}

#[test]
fn what_kubelets_get_wrong_is_seen() {
    let none: &[Arc<PodFacts>] = &[];
    let (old, young) = (pod("a", NOW - 900), pod("b", NOW - 60));
    let huge = format!("{}{}", body(7, NOW, ""), " ".repeat(600_000));
    for (what, bytes, date, pods, took, want) in [
        ("a clock ahead", body(7, NOW + 90, ""), Some(NOW + 90), none, 1, "kubelets.clock"),
        ("a clock behind", body(7, NOW - 400, ""), Some(NOW - 400), none, 1, "kubelets.clock"),
        ("figures from the future", body(7, NOW + 300, ""), Some(NOW), none, 1, "kubelets.clock"),
        ("old figures", body(7, NOW - 300, ""), Some(NOW), none, 1, "kubelets.stale"),
        ("old figures, no date", body(7, NOW - 300, ""), None, none, 1, "kubelets.stale"),
        ("zeros", body(0, NOW, ""), None, none, 1, "kubelets.zeros"),
        ("no pods", body(7, NOW, ""), None, &[old, young.clone()][..], 1, "kubelets.pods"),
        ("slow", body(7, NOW, ""), None, none, 6_000, "kubelets.slow"),
        ("large", huge, None, none, 1, "kubelets.large"),
    ] {
        assert_eq!(found(&bytes, date, pods, took), [(want, Status::Warning)], "{what}");
    }
    assert_eq!(found(&body(7, NOW, ""), None, &[young], 1), [], "it has just begun");
    assert_eq!(found("<html>", None, none, 1), [("kubelets.summary", Status::Failure)]);
    let other = body(7, NOW, "").replace("n1", "n2");
    assert_eq!(found(&other, None, none, 1), [("kubelets.summary", Status::Failure)]);
}
