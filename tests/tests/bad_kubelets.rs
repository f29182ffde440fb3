//! Bad answers, from kubelets and from the API server: each costs its own node and no more, and the
//! operator is told which node, why, and what to do.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a failed expectation is a failed test")]

use std::collections::{BTreeMap, BTreeSet};

use millrace_tests::fixtures::router::{Router, Setup};
use millrace_tests::heapster::MetricSets;
use millrace_tests::kubesim::{Failure, Kubesim, NodeSet, Resource};
use serde_json::{Value, json};

/// A way to fail, the reason in counters and the status, and what the message says: what was seen
/// and what to do about it.
const FAILING: [(Failure, &str, &[&str]); 16] = [
    (Failure::Truncated, "body", &["the JSON ends in the middle, after ", "look at the kubelet's log"]),
    (Failure::Empty, "body", &["an empty body"]),
    (Failure::Html, "body", &["HTML instead of JSON", "a proxy may have answered"]),
    (Failure::DeepValue, "body", &["invalid type: sequence", "look who listens at its address"]),
    (Failure::Huge((16 << 20) + 1), "too-large", &["longer than 16777216 bytes", "raise the kubelet `max-body`"]),
    (Failure::WrongName, "name-mismatch", &["`somebody-else` answered", "the address may have a new owner"]),
    (Failure::Unauthorized, "401", &["401", "--authentication-token-webhook"]),
    (Failure::Forbidden, "403", &["403", "`resources: [nodes/stats], verbs: [get]`"]),
    (Failure::NotFound, "404", &["404", "is this the kubelet's port?"]),
    (Failure::Internal, "5xx", &["failed with 500", "failed to list pod stats"]),
    (Failure::NeverBody, "timeout", &["no complete answer within 1.", "raise the kubelet `timeout`"]),
    (Failure::Never, "timeout", &["no complete answer within 1."]),
    (Failure::Blackhole, "timeout", &["no complete answer within 1."]),
    (Failure::Refused, "refused", &["connection refused by 127.1.0.14:", "is the kubelet running"]),
    (Failure::Reset, "body", &["onnection"]),
    (Failure::NoAddress, "no-address", &["neither an InternalIP nor an ExternalIP", "the kubelet `addresses`"]),
];

/// What is odd and yet costs nothing but itself.
const ODD: [Failure; 4] = [Failure::PodsNull, Failure::ContainersNull, Failure::Deep, Failure::U64Max];

/// Healthy nodes, after all others.
const HEALTHY: usize = 2;

fn config(sim: &Kubesim, resolution: &str, timeout: &str) -> String {
    format!(
        "resolution = '{resolution}'\n[source.kubernetes]\napi-server = '{}'\n[source.kubernetes.kubelet]\n\
         https = false\nport = {}\ntimeout = '{timeout}'\n[[sink]]\ntype = 'log'\n",
        sim.api_url(),
        sim.kubelet_port(),
    )
}

/// Keys of the pods that a kubelet's own answer names.
fn pods_of(sim: &Kubesim, node: usize) -> BTreeSet<String> {
    let body: Value = serde_json::from_slice(&sim.summary(node, sim.now())).unwrap();
    let key = |pod: &Value| {
        let text = |name: &str| pod["podRef"][name].as_str().unwrap().to_owned();
        format!("namespace:{}/pod:{}", text("namespace"), text("name"))
    };
    body["pods"].as_array().unwrap().iter().map(key).collect()
}

/// The keys of one level's sets.
fn keys<'s>(sets: &'s MetricSets, label: &str) -> BTreeSet<&'s str> {
    let of_level = |set: &millrace_tests::heapster::MetricSet| set.labels.get("type").is_some_and(|it| it == label);
    sets.iter().filter(|(_, set)| of_level(set)).map(|(key, _)| key.as_str()).collect()
}

/// A metric's sum over all sets of one level.
fn sum(sets: &MetricSets, level: &str, metric: &str) -> i64 {
    let of = |key: &str| sets[key].metrics.get(metric).map_or(0, |value| value.parse().unwrap());
    keys(sets, level).into_iter().map(of).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_way_to_fail_costs_its_own_node_and_no_more() {
    let count = FAILING.len() + ODD.len() + HEALTHY;
    let mut builder = Kubesim::builder().size(count, 3, 1);
    for (node, failure) in FAILING.iter().map(|it| it.0).chain(ODD).enumerate() {
        builder = builder.fail(NodeSet::Range(node..node + 1), failure);
    }
    let sim = builder.start().await.unwrap();
    let mut router = Setup::new(&config(&sim, "2s", "1500ms")).start().await;
    let status = router.cycle(2).await;
    let metrics = router.metrics().await;

    let mut reasons: BTreeMap<&str, u64> = BTreeMap::new();
    for (node, (failure, reason, says)) in FAILING.iter().enumerate() {
        let name = sim.node_name(node);
        let shown = status["nodes"].as_array().unwrap().iter().find(|shown| shown["name"] == *name).unwrap();
        // A reset may come before or after the beginning of the answer has been read.
        let early = *failure == Failure::Reset && shown["state"] == "connection";
        let reason = if early { "connection" } else { *reason };
        // 1. The operator reads which node, why, and what to do; once, not in every cycle.
        let told: Vec<Value> = router
            .log()
            .into_iter()
            .filter(|line| line["message"] == "node gave no points" && line["node"] == *name)
            .collect();
        *reasons.entry(reason).or_default() += 1;
        if told.is_empty() {
            // Three nodes are named for each reason; the status names all.
            assert!(reasons[reason] > 3, "{failure}: {:?}", router.log());
        } else {
            assert_eq!(
                (told.len(), &told[0]["reason"], &told[0]["level"]),
                (1, &json!(reason), &json!("WARN")),
                "{failure}"
            );
        }
        // 2. The status has the same.
        assert_eq!((&shown["state"], &shown["points"]), (&json!(reason), &json!(0)), "{failure}");
        assert_eq!(shown["failed_cycles"], status["cycle"]["number"], "{failure}");
        for text in says.iter().copied() {
            assert!(shown["error"].as_str().unwrap().contains(text), "{failure}: {shown}");
            assert!(told.iter().all(|line| line["error"].as_str().unwrap().contains(text)), "{failure}: {told:?}");
        }
    }
    for (reason, nodes) in &reasons {
        let count = metrics[&format!("millrace_scrape_failures_total{{reason=\"{reason}\"}}")];
        assert_eq!(count, *nodes as f64 * metrics["millrace_cycles_total"], "{reason}");
    }
    assert_eq!(metrics["millrace_nodes_answered"], (ODD.len() + HEALTHY) as f64);
    assert_eq!(metrics["millrace_panics_total"], 0.0);
    assert!(metrics["millrace_decode_over_range_total"] > 0.0, "values beyond i64 are counted");

    // A node that works again is back with the next cycle, and the log says so.
    let healed = sim.node_name(0);
    sim.heal(0).await;
    let status = router.until("healed", |status| status["nodes"][0]["state"] == "ok").await;
    assert_eq!((&status["nodes"][0]["name"], &status["nodes"][0]["failed_cycles"]), (&json!(healed), &json!(0)));
    let back = router.logged(|line| line["message"] == "node gives points again").await;
    assert_eq!(back["node"], json!(healed));

    // 3. All others are delivered in every cycle, and the totals are theirs.
    let cycles = router.stop_and_read().await;
    assert!(cycles.len() >= 3, "{}", cycles.len());
    for (number, sets) in (1..).zip(&cycles) {
        let delivered = delivered(&sim, sets);
        let healthy = FAILING.len()..count;
        assert!(healthy.clone().all(|node| delivered.contains(&node)), "cycle {number}: {delivered:?}");
        assert!((1..FAILING.len()).all(|node| !delivered.contains(&node)), "cycle {number}: {delivered:?}");
        let pods: BTreeSet<String> = delivered.iter().flat_map(|&node| pods_of(&sim, node)).collect();
        let found: BTreeSet<String> = keys(sets, "pod").into_iter().map(str::to_owned).collect();
        assert_eq!(found, pods, "cycle {number}");
        assert_eq!(keys(sets, "ns").len(), 4, "cycle {number}");
        for metric in ["cpu/request", "memory/request"] {
            assert!(sum(sets, "cluster", metric) > 0, "cycle {number}: {metric}");
            assert_eq!(sum(sets, "cluster", metric), sum(sets, "node", metric), "cycle {number}: {metric}");
            assert_eq!(sum(sets, "cluster", metric), sum(sets, "ns", metric), "cycle {number}: {metric}");
        }
    }
    assert!(delivered(&sim, cycles.last().unwrap()).contains(&0), "the healed node");
}

/// The nodes whose sets are there.
fn delivered(sim: &Kubesim, sets: &MetricSets) -> BTreeSet<usize> {
    (0..sim.node_count()).filter(|&node| sets.contains_key(&format!("node:{}", sim.node_name(node)))).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn points_go_on_while_the_api_server_is_away() {
    let sim = Kubesim::builder().size(3, 3, 1).start().await.unwrap();
    let mut router = Setup::new(&config(&sim, "1s", "900ms")).start().await;
    router.cycle(1).await;

    sim.api_down().await;
    let refused = |line: &Value| line["error"].as_str().is_some_and(|error| error.contains("onnection refused"));
    let away = router.logged(refused).await;
    assert_eq!(away["message"], "API server failed; keeping what is known");
    let (namespace, pod) = new_pod(&sim);
    sim.put(Resource::Namespaces, namespace).unwrap();
    sim.put(Resource::Pods, pod).unwrap();
    let status = router.cycles(3).await;
    assert_eq!(status["ready"], true);
    assert_eq!(status["cycle"]["nodes_answered"], 3);
    for kind in ["nodes", "pods", "namespaces"] {
        let watch = &status["inventory"][kind];
        assert_eq!((&watch["connected"], &watch["synced"]), (&json!(false), &json!(true)), "{watch}");
        assert!(watch["last_error"].as_str().unwrap().contains("onnection refused"), "{watch}");
    }
    let metrics = router.metrics().await;
    assert_eq!(metrics["millrace_watch_connected{kind=\"pods\"}"], 0.0);
    assert!(metrics["millrace_watch_errors_total{kind=\"pods\"}"] >= 1.0);
    let last_alone = status["cycle"]["number"].as_u64().unwrap();

    // It comes back, at first only to complain.
    sim.api_fails_with(Some(503));
    sim.api_up().await;
    router.logged(|line| line["error"].as_str().is_some_and(|error| error.contains("503"))).await;
    sim.api_fails_with(None);
    connected(&mut router).await;
    let back = router.logged(|line| line["message"] == "API server answers again").await;
    assert!(back["kind"].is_string(), "{back}");
    assert_eq!(router.metrics().await["millrace_watch_connected{kind=\"pods\"}"], 1.0);
    router.cycles(1).await;

    let cycles = router.stop_and_read().await;
    let whole = |sets: &MetricSets| {
        keys(sets, "node").len() == 3 && keys(sets, "pod").len() >= 9 && sets.contains_key("cluster")
    };
    assert!(cycles.iter().all(whole), "every node in every cycle");
    let labelled = |sets: &MetricSets| keys(sets, "pod").into_iter().all(|pod| !sets[pod].labels["labels"].is_empty());
    assert!(cycles.iter().all(labelled), "the API's facts stay known");
    let new = "namespace:new/pod:late";
    assert!(!cycles[usize::try_from(last_alone).unwrap() - 1].contains_key(new));
    assert!(cycles.last().unwrap().contains_key(new), "what changed meanwhile is seen");
}

/// Waits until all three watches work.
async fn connected(router: &mut Router) {
    let all = |status: &Value| {
        let watches = status["inventory"].as_object().unwrap();
        watches.len() == 3 && watches.values().all(|watch| watch["connected"] == true)
    };
    router.until("connected", all).await;
}

/// A namespace and a pod of it that is bound to the first node.
fn new_pod(sim: &Kubesim) -> (Value, Value) {
    let namespace = json!({"metadata": {"name": "new", "uid": "4d0ec2a6-0000-4000-8000-000000000001"}});
    let pod = json!({
        "metadata": {
            "name": "late", "namespace": "new", "uid": "4d0ec2a6-0000-4000-8000-000000000002",
            "labels": {"app": "late"},
        },
        "spec": {"nodeName": sim.node_name(0), "containers": [{"name": "main", "image": "late:1"}]},
        "status": {"phase": "Running"},
    });
    (namespace, pod)
}
