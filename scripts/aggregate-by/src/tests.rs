use super::*;
use millrace_sdk::testing::{self, BatchRows};

fn rule(settings: &str) -> AggregateBy {
    testing::configure(settings).unwrap()
}

fn pod(batch: BatchRows, namespace: &str, name: &str, memory: i64) -> BatchRows {
    batch.entity(Level::Pod, &[("namespace_name", namespace), ("pod_name", name)]).int("memory/usage", memory)
}

#[test]
fn groups_go_over_nodes_and_end_with_the_cycle() {
    let mut rule = rule(
        r#"{"by":["namespace_name"],"metrics":["memory/*"],"functions":["sum","min","max","count","avg"],"quantiles":[0.5,0.999]}"#,
    );
    for cycle in 1..=2 {
        for (node, memory) in [("a", 10), ("b", 21)] {
            let batch = pod(pod(testing::batch(node).cycle(cycle), "x", "p", memory), "y", "q", 1);
            testing::process(&mut rule, &batch.build()).unwrap();
        }
        let rows = testing::finish(&mut rule, cycle).unwrap();
        let of = |namespace: &str, values: [&str; 7]| {
            let names = ["sum", "min", "max", "count", "avg", "p50", "p99.9"];
            let row = |(name, value)| format!("other {{namespace_name={namespace}}} memory/usage/{name} = {value}");
            names.into_iter().zip(values).map(row).collect::<Vec<_>>()
        };
        let x = of("x", ["31", "10", "21", "2", "15.5", "10.0", "21.0"]);
        assert_eq!(rows, [x, of("y", ["2", "1", "1", "2", "1.0", "1.0", "1.0"])].concat(), "cycle {cycle}");
    }
}

#[test]
fn endless_label_values_take_no_endless_room() {
    let mut rule = rule(r#"{"by":["pod_name"],"metrics":["memory/usage"],"max-groups":3}"#);
    for cycle in 1..=3 {
        let mut batch = testing::batch("n").cycle(cycle);
        for name in 0..100 {
            batch = pod(batch, "x", &format!("p{cycle}-{name}"), 1);
        }
        testing::process(&mut rule, &batch.build()).unwrap();
        assert_eq!(rule.groups.len(), 3);
        let rows = testing::finish(&mut rule, cycle).unwrap();
        assert_eq!(rows.len(), 4);
        assert_eq!(rows[3], "other {pod_name=other} memory/usage/sum = 97");
        assert_eq!(testing::counted("entities_without_a_group"), cycle * 97);
        assert_eq!(testing::logged().len(), 1);
    }
}

#[test]
fn a_cycle_without_an_end_leaves_nothing() {
    let mut rule = rule(r#"{"by":["namespace_name"],"metrics":["memory/usage"]}"#);
    for (cycle, memory) in [(1, 5), (2, 7)] {
        let batch = pod(testing::batch("n").cycle(cycle), "x", "p", memory).build();
        testing::process(&mut rule, &batch).unwrap();
    }
    assert_eq!(testing::finish(&mut rule, 2).unwrap(), ["other {namespace_name=x} memory/usage/sum = 7"]);
}

#[test]
fn settings_that_aggregate_nothing_are_refused() {
    for (settings, key) in [
        (r#"{"metrics":["a"]}"#, "by"),
        (r#"{"by":[],"metrics":["a"]}"#, "by"),
        (r#"{"by":["a","a"],"metrics":["a"]}"#, "by"),
        (r#"{"by":["__label_app"],"metrics":["a"]}"#, "by"),
        (r#"{"by":["a=b","a=c"],"metrics":["a"]}"#, "by"),
        (r#"{"by":["a="],"metrics":["a"]}"#, "by"),
        (r#"{"by":["a"],"metrics":[]}"#, "metrics"),
        (r#"{"by":["a"],"metrics":["a"],"levels":[]}"#, "levels"),
        (r#"{"by":["a"],"metrics":["a"],"functions":[]}"#, "functions"),
        (r#"{"by":["a"],"metrics":["a"],"functions":["median"]}"#, "functions[0]"),
        (r#"{"by":["a"],"metrics":["a"],"quantiles":[0.5,99]}"#, "quantiles[1]"),
        (r#"{"by":["a"],"metrics":["a"],"max-groups":0}"#, "max-groups"),
        (r#"{"by":["a"],"metrics":["a"],"group":1}"#, "group"),
    ] {
        let refusal = testing::configure::<AggregateBy>(settings).err().unwrap();
        assert!(refusal.reason().contains(&format!("`{key}`")), "{settings}: {refusal}");
    }
}

#[test]
fn a_share_is_named_in_hundredths() {
    for (share, want) in [(0.5, "50"), (0.999, "99.9"), (1.0, "100"), (0.0, "0"), (0.07, "7"), (0.99999, "99.999")] {
        assert_eq!(settings::percent(share), want);
    }
}
