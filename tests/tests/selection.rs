//! What a sink gets, and what its ledger says of the rest, with the real binary.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a failed expectation is a failed test")]

use std::collections::BTreeSet;

use millrace_tests::fixtures::router::Setup;
use millrace_tests::kubesim::Kubesim;

const SINK: &str = "[[sink]]\ntype = 'log'\n\
    include = [{ levels = ['pod', 'node'], metrics = ['cpu/*', 'memory/usage'] }, { levels = ['cluster'] }]\n\
    exclude = [{ namespaces = ['kube-*'] }, { metrics = ['cpu/limit'], levels = ['pod'] }]\n";

#[tokio::test]
async fn a_sink_gets_its_selection_and_the_rest_is_accounted_for() {
    let sim = Kubesim::builder().size(2, 6, 2).start().await.unwrap();
    let source = format!("[source.kubernetes]\napi-server = '{}'\n", sim.api_url());
    let kubelet = format!("[source.kubernetes.kubelet]\nhttps = false\nport = {}\n", sim.kubelet_port());
    let mut router = Setup::new(&format!("resolution = '1s'\n{source}{kubelet}{SINK}")).start().await;
    router.cycle(3).await;
    let metrics = router.metrics().await;
    let filtered = metrics["millrace_sink_points_dropped_total{sink=\"log\",reason=\"filtered\"}"];
    let written = metrics["millrace_sink_points_written_total{sink=\"log\"}"];
    assert!(filtered > written && written > 0.0, "{filtered} {written}");
    assert_eq!(metrics["millrace_sink_imbalance{sink=\"log\"}"], 0.0);
    let cycles = router.stop_and_read().await;
    let last = cycles.last().unwrap();
    let kinds: BTreeSet<&str> = last.values().map(|set| set.labels["type"].as_str()).collect();
    assert_eq!(kinds, BTreeSet::from(["cluster", "node", "pod"]));
    assert!(last["cluster"].metrics.contains_key("memory/limit"), "a table without metrics means all of them");
    for (key, set) in last {
        assert!(!key.starts_with("namespace:kube-"), "{key}");
        for metric in set.metrics.keys().filter(|_| key != "cluster") {
            assert!(metric.starts_with("cpu/") || metric == "memory/usage", "{key} {metric}");
            assert!(metric != "cpu/limit" || set.labels["type"] == "node", "{key} {metric}");
        }
    }
}
