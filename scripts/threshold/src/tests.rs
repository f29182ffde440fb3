use super::*;
use millrace_sdk::testing;

/// What the alarm is after each value; `None` is a cycle without one.
fn alarms(check: &str, values: &[Option<i64>]) -> String {
    let settings = format!(r#"{{"checks":[{{"metric":"m","name":"alarm",{check}}}]}}"#);
    let mut rule: Threshold = testing::configure(&settings).unwrap();
    let mut alarms = String::new();
    for (cycle, value) in (1..).zip(values) {
        let pod = testing::batch("n").cycle(cycle).entity(Level::Pod, &[("pod_name", "p")]);
        let batch = if let Some(value) = value { pod.int("m", *value) } else { pod };
        let rows = testing::process(&mut rule, &batch.build()).unwrap();
        alarms.push_str(rows.last().map_or("-", |row| row.rsplit_once("alarm = ").unwrap().1));
        assert!(testing::finish(&mut rule, cycle).unwrap().is_empty());
    }
    alarms
}

#[test]
fn alarms_rise_and_end_with_hysteresis() {
    let some = |values: &[i64]| values.iter().map(|&value| Some(value)).collect::<Vec<_>>();
    for (name, check, values, want) in [
        ("at the threshold at once", r#""raise":10"#, some(&[9, 10, 11, 9]), "0110"),
        ("stays between clear and raise", r#""raise":10,"clear":5"#, some(&[10, 7, 5, 4, 7, 9]), "111000"),
        ("too low", r#""raise":5,"clear":10"#, some(&[6, 5, 9, 10, 11, 6]), "011100"),
        ("low at one value", r#""raise":5,"direction":"below""#, some(&[6, 5, 6]), "010"),
        ("only after three in a row", r#""raise":10,"for-cycles":3"#, some(&[10, 10, 9, 10, 10, 10, 9]), "0000010"),
        ("ends only after two", r#""raise":10,"clear":5,"clear-cycles":2"#, some(&[10, 4, 6, 4, 4, 4]), "111100"),
    ] {
        assert_eq!(alarms(check, &values), want, "{name}");
    }
    let gap = [Some(10), None, Some(10), None, None, None, Some(9)];
    assert_eq!(alarms(r#""raise":10,"clear":5,"for-cycles":2"#, &gap), "0-1---0", "a gap of three forgets");
}

#[test]
fn only_what_breaches_takes_room_and_that_is_bounded() {
    let settings = r#"{"checks":[{"metric":"m","name":"alarm","raise":10}],"max-series":5}"#;
    let mut rule: Threshold = testing::configure(settings).unwrap();
    for cycle in 1..=20 {
        let mut batch = testing::batch("n").cycle(cycle);
        for pod in 0..40 {
            let value = if pod % 2 == 0 { 1 } else { 10 };
            batch = batch.entity(Level::Pod, &[("pod_name", &format!("{cycle}-{pod}"))]).int("m", value);
        }
        testing::process(&mut rule, &batch.build()).unwrap();
        assert!(rule.states.len() <= 5);
        testing::finish(&mut rule, cycle).unwrap();
    }
    assert!(testing::counted("untracked_breaches") >= 15);
    assert!(testing::logged()[0].starts_with("warn: more than 5 series breach"));
}

#[test]
fn points_with_labels_are_watched_each_for_itself() {
    let settings = r#"{"checks":[{"metric":"disk","name":"full","raise":0.9,"levels":["node"]}]}"#;
    let mut rule: Threshold = testing::configure(settings).unwrap();
    let disk = |labels| [("resource_id", labels)];
    let batch = testing::batch("n")
        .entity(Level::Node, &[])
        .point("disk", &disk("/"), None, Value::Float(0.95))
        .point("disk", &disk("logs"), None, Value::Float(0.1))
        .entity(Level::Pod, &[])
        .float("disk", 1.0)
        .build();
    let rows = testing::process(&mut rule, &batch).unwrap();
    assert_eq!(rows[2..4], ["node {} full{resource_id=/} = 1", "node {} full{resource_id=logs} = 0"]);
    assert_eq!(rows.len(), 5, "the pod is not watched");
}

#[test]
fn checks_that_make_no_sense_are_refused() {
    for (settings, want) in [
        (r#"{"checks":[]}"#, "`checks` is empty"),
        (r#"{"checks":[{"metric":"m","name":"m","raise":1}]}"#, "`checks[0].name` is `m`"),
        (r#"{"checks":[{"metric":"","name":"a","raise":1}]}"#, "`checks[0].metric` is empty"),
        (r#"{"checks":[{"metric":"m","name":"a"}]}"#, "`checks[0]`: missing field `raise`"),
        (r#"{"checks":[{"metric":"m","name":"a","raise":"1"}]}"#, "`checks[0].raise`: invalid type"),
        (
            r#"{"checks":[{"metric":"m","name":"a","raise":1,"clear":2,"direction":"above"}]}"#,
            "`checks[0].clear` is on the wrong side of `raise`: with `direction` above it must be below it",
        ),
        (r#"{"checks":[{"metric":"m","name":"a","raise":1,"for-cycles":0}]}"#, "`checks[0].for-cycles`"),
        (r#"{"checks":[{"metric":"m","name":"a","raise":1},{"metric":"n","name":"a","raise":1}]}"#, "`checks[1].name`"),
        (r#"{"checks":[{"metric":"m","name":"a","raise":1}],"max-series":0}"#, "`max-series` is 0"),
    ] {
        let refusal = testing::configure::<Threshold>(settings).err().unwrap();
        assert!(refusal.reason().contains(want), "{settings}: {refusal}");
    }
}
