//! The rule natively, on small batches. The recordings of the real Heapster are compared elsewhere.

use millrace_sdk::prelude::*;
use millrace_sdk::testing::{self, BatchRows};

use crate::{Heapster, Settings};

fn rule(settings: Settings) -> Heapster {
    match Heapster::configure(settings) {
        Ok(rule) => rule,
        Err(refusal) => unreachable!("{refusal}"),
    }
}

fn pod(batch: BatchRows, name: &str, origin: &str, phase: &str) -> BatchRows {
    batch.entity(
        Level::Pod,
        &[
            ("namespace_name", "default"),
            ("pod_name", name),
            ("__origin", origin),
            ("__phase", phase),
            ("__label_app", "web"),
        ],
    )
}

fn container(batch: BatchRows, pod: &str, origin: &str) -> BatchRows {
    batch.entity(
        Level::Container,
        &[
            ("namespace_name", "default"),
            ("pod_name", pod),
            ("container_name", "c"),
            ("__origin", origin),
            ("__image", "nginx:1"),
        ],
    )
}

fn values(rows: &[String], of: &str) -> Vec<String> {
    rows.iter()
        .filter(|row| row.starts_with(of))
        .map(|row| row.split_once("} ").map_or("", |(_, v)| v).to_owned())
        .collect()
}

#[test]
fn a_node_reserves_what_its_running_pods_ask_for() {
    let mut batch = testing::batch("n")
        .entity(Level::Node, &[("nodename", "n")])
        .int("__allocatable/cpu", 4000)
        .int("__capacity/cpu", 4000);
    for (name, origin, phase) in [
        ("seen", "both", "Running"),
        ("unseen", "api", "Running"),
        ("over", "both", "Succeeded"),
        ("gone", "api", "Failed"),
    ] {
        batch = pod(batch, name, origin, phase);
        batch = container(batch, name, origin).int("__request/cpu", 500);
    }
    let mut rule = rule(Settings::default());
    let rows = testing::process(&mut rule, &batch.build()).unwrap_or_default();
    let node = values(&rows, "node ");
    assert!(node.contains(&"cpu/request = 1000".to_owned()), "{node:?}");
    assert!(node.contains(&"cpu/node_reservation = 0.25".to_owned()), "{node:?}");
    assert!(!node.iter().any(|row| row.starts_with("cpu/node_utilization")), "{node:?}");
    assert!(!rows.iter().any(|row| row.contains("gone")), "a finished pod without stats is no entity");
    let totals = testing::finish(&mut rule, 1).unwrap_or_default();
    assert!(totals.contains(&"cluster {type=cluster} cpu/request = 1000".to_owned()), "{totals:?}");
}

/// One pod's memory on a node, for the sums of namespaces and cluster.
fn reported(rule: &mut Heapster, node: &str, name: &str, origin: &str, memory: i64) {
    let batch = container(pod(testing::batch(node), name, origin, "Running"), name, origin);
    let batch = if origin == "api" { batch } else { batch.int("memory/usage", memory) };
    let _ = testing::process(rule, &batch.int("__request/cpu", 100).build());
}

#[test]
fn a_pod_that_two_nodes_report_counts_once() {
    type Report = (&'static str, &'static str, i64);
    let cases: [(&str, &[Report], i64); 5] = [
        ("bound to the second", &[("a", "kubelet", 1000), ("b", "both", 10)], 10),
        ("bound to the first", &[("a", "both", 10), ("b", "kubelet", 1000)], 10),
        ("bound to neither", &[("b", "kubelet", 1000), ("a", "kubelet", 10)], 10),
        ("bound to one that does not report it", &[("a", "kubelet", 10), ("b", "api", 0)], 10),
        ("bound to none", &[("a", "kubelet", 10)], 10),
    ];
    for (name, reports, want) in cases {
        let mut rule = rule(Settings::default());
        for (node, origin, memory) in reports {
            reported(&mut rule, node, "p", origin, *memory);
            reported(&mut rule, node, &format!("of-{node}"), "both", 1);
        }
        let totals = testing::finish(&mut rule, 1).unwrap_or_default();
        let others = reports.len() as i64;
        let row = format!("memory/usage = {}", want + others);
        for of in ["cluster ", "namespace "] {
            assert!(values(&totals, of).contains(&row), "{name}: {of}{row}: {totals:?}");
        }
    }
}

#[test]
fn what_starts_after_the_tick_has_been_up_for_0() {
    let mut rule = rule(Settings::default());
    for (started, uptime) in [(-5_000_000_000_i64, 5000), (5_000_000_000, 0)] {
        let time = testing::batch("n").build().cycle().time;
        let batch = pod(testing::batch("n"), "p", "both", "Running").started_at(time + started).build();
        let rows = testing::process(&mut rule, &batch).unwrap_or_default();
        assert!(values(&rows, "pod ").contains(&format!("uptime = {uptime}")), "{rows:?}");
    }
}

#[test]
fn a_pods_rate_is_the_sum_of_its_containers_unless_it_has_its_own() {
    let mut rule = rule(Settings::default());
    let mut last = Vec::new();
    for cycle in 1..=2_i32 {
        let (at, used) = (Some(cycle * 10_000), i64::from(cycle) * 1_000_000_000);
        let mut batch = testing::batch("n").cycle(cycle as u64);
        batch = pod(batch, "a", "both", "Running");
        batch = container(batch, "a", "both").point("cpu/usage", &[], at, Value::Int(used));
        batch = pod(batch, "b", "both", "Running").point("cpu/usage", &[], at, Value::Int(2 * used));
        batch = container(batch, "b", "both").point("cpu/usage", &[], at, Value::Int(used));
        last = testing::process(&mut rule, &batch.build()).unwrap_or_default();
        let _ = testing::finish(&mut rule, cycle as u64);
    }
    let rates: Vec<_> = last.iter().filter(|row| row.contains("cpu/usage_rate")).cloned().collect();
    let rates: Vec<_> = rates
        .iter()
        .map(|row| (row.contains("pod_name=a"), row.starts_with("pod "), row.rsplit(' ').next().unwrap_or("")))
        .collect();
    assert_eq!(rates, [(true, true, "100"), (true, false, "100"), (false, true, "200"), (false, false, "100")]);
}

#[test]
fn labels_are_joined_ignored_and_stored() {
    let settings = Settings {
        label_separator: ";".into(),
        ignore_labels: vec!["hash".into()],
        store_labels: vec!["app".into(), "level=tier".into()],
        extras: false,
    };
    let batch = testing::batch("n")
        .entity(
            Level::Pod,
            &[
                ("namespace_name", "d"),
                ("pod_name", "p"),
                ("__origin", "both"),
                ("__label_tier", "front"),
                ("__label_app", "web"),
                ("__label_hash", "1"),
            ],
        )
        .int("memory/usage", 1)
        .build();
    let rows = testing::process(&mut rule(settings), &batch).unwrap_or_default();
    assert!(rows[0].contains("app=web") && rows[0].contains("labels=app:web;tier:front,level=front"), "{rows:?}");
}

#[test]
fn what_heapster_had_no_name_for_goes_unless_asked_for() {
    let batch = || {
        testing::batch("n").entity(Level::Node, &[("nodename", "n")]).int("swap/usage", 1).point(
            "network/rx",
            &[("interface", "eth0")],
            None,
            Value::Int(5),
        )
    };
    let rows = testing::process(&mut rule(Settings::default()), &batch().build()).unwrap_or_default();
    assert_eq!(rows, Vec::<String>::new());
    let extras = Settings { extras: true, ..Settings::default() };
    let rows = testing::process(&mut rule(extras), &batch().build()).unwrap_or_default();
    assert_eq!(values(&rows, "node"), ["swap/usage = 1", "network/rx{interface=eth0} = 5"]);
}
