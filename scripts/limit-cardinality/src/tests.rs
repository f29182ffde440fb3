use super::*;
use millrace_sdk::testing;

/// One cycle of containers with these values: what stays, and what is added.
fn cycle(rule: &mut LimitCardinality, number: u64, values: &[(&str, &str, i64)]) -> (Vec<String>, Vec<String>) {
    let mut batch = testing::batch("n").cycle(number);
    for (namespace, name, value) in values {
        let labels = [("namespace_name", *namespace), ("container_name", *name)];
        batch = batch.entity(Level::Container, &labels).int("m", *value).int("kept", 1);
    }
    let rows = testing::process(rule, &batch.build()).unwrap();
    let limited = rows.into_iter().filter(|row| row.contains(" m = ")).collect();
    (limited, testing::finish(rule, number).unwrap())
}

#[test]
fn the_last_ranking_decides_and_the_sum_is_always_right() {
    let mut rule: LimitCardinality =
        testing::configure(r#"{"metrics":["m"],"top":1,"by":["namespace_name"]}"#).unwrap();
    let values = [("x", "a", 1), ("x", "b", 5), ("y", "a", 2)];
    let other = |x, y: Option<i64>| {
        let row = |namespace, sum| format!("other {{namespace_name={namespace},series=other}} m = {sum}");
        [Some(row("x", x)), y.map(|sum| row("y", sum))].into_iter().flatten().collect::<Vec<_>>()
    };
    assert_eq!(cycle(&mut rule, 1, &values), (vec![], other(6, Some(2))), "nothing ranks yet");
    let stays =
        |name, namespace, value| format!("container {{container_name={name},namespace_name={namespace}}} m = {value}");
    assert_eq!(cycle(&mut rule, 2, &values), (vec![stays("b", "x", 5), stays("a", "y", 2)], other(1, None)));
    let values = [("x", "a", 9), ("x", "b", 5)];
    assert_eq!(cycle(&mut rule, 3, &values), (vec![stays("b", "x", 5)], other(9, None)), "still by the last ranking");
    assert_eq!(cycle(&mut rule, 4, &values), (vec![stays("a", "x", 9)], other(5, None)));
    assert_eq!(testing::counted("limited_points"), 3 + 1 + 1 + 1);
}

#[test]
fn endless_label_values_take_no_endless_room() {
    let mut rule: LimitCardinality =
        testing::configure(r#"{"metrics":["m"],"top":2,"by":["namespace_name"],"max-groups":3}"#).unwrap();
    for number in 1..=5 {
        let names: Vec<(String, String)> =
            (0..200).map(|at| (format!("{number}-{}", at % 50), format!("{at}"))).collect();
        let values: Vec<(&str, &str, i64)> = names.iter().map(|(space, name)| (&**space, &**name, 1)).collect();
        let (stay, other) = cycle(&mut rule, number, &values);
        assert!(stay.is_empty() && other.len() == 4, "{other:?}");
        assert!(rule.kept.len() <= 6);
        assert_eq!(other[3], "other {namespace_name=other,series=other} m = 188");
    }
    assert!(testing::logged()[0].contains("more than 3 groups"));
}

#[test]
fn series_are_told_apart_by_their_own_labels_and_combined_as_the_metric_says() {
    let mut rule: LimitCardinality = testing::configure(r#"{"metrics":["*"],"top":1,"levels":["node"]}"#).unwrap();
    for number in 1..=2 {
        let device = |name| [("device", name)];
        let batch = testing::batch("n")
            .cycle(number)
            .metric(Descriptor::gauge("peak", "").float().merged_by(millrace_sdk::Merge::Max))
            .entity(Level::Node, &[("nodename", "n")])
            .point("peak", &device("a"), None, Value::Float(0.1))
            .point("peak", &device("b"), None, Value::Float(0.9))
            .point("peak", &device("c"), None, Value::Float(0.3));
        let rows = testing::process(&mut rule, &batch.build()).unwrap();
        let other = testing::finish(&mut rule, number).unwrap();
        if number == 1 {
            assert_eq!(other, ["other {series=other} peak = 0.9"]);
        } else {
            assert_eq!(rows, ["node {nodename=n} peak{device=b} = 0.9"]);
            assert_eq!(other, ["other {series=other} peak = 0.3"]);
        }
    }
}

#[test]
fn settings_that_limit_nothing_are_refused() {
    for (settings, key) in [
        (r#"{"top":1}"#, "metrics"),
        (r#"{"metrics":[],"top":1}"#, "metrics"),
        (r#"{"metrics":["m"]}"#, "top"),
        (r#"{"metrics":["m"],"top":0}"#, "top"),
        (r#"{"metrics":["m"],"top":-1}"#, "top"),
        (r#"{"metrics":["m"],"top":1,"by":["__x"]}"#, "by"),
        (r#"{"metrics":["m"],"top":1,"levels":[]}"#, "levels"),
        (r#"{"metrics":["m"],"top":1,"other-labels":{}}"#, "other-labels"),
        (r#"{"metrics":["m"],"top":1,"by":["a"],"other-labels":{"a":"b"}}"#, "other-labels"),
        (r#"{"metrics":["m"],"top":1,"max-groups":0}"#, "max-groups"),
    ] {
        let refusal = testing::configure::<LimitCardinality>(settings).err().unwrap();
        assert!(refusal.reason().contains(&format!("`{key}`")), "{settings}: {refusal}");
    }
}
