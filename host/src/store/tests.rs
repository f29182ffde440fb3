use super::*;
use crate::batch::{Batch, BatchBuilder, Descriptor, Level, Origin, Value};

const MINUTE: i64 = 60_000_000_000;

fn cycle(number: u64) -> Cycle {
    Cycle { number, time: number.cast_signed() * MINUTE, window: MINUTE, nodes_asked: 1, nodes_answered: 1 }
}

fn config() -> StoreConfig {
    StoreConfig { keep: Duration::from_secs(5 * 60), max_memory: 1 << 30 }
}

/// A pod's name, and the values of its metrics; labelled ones are named `name{value}`.
type Pod<'a> = (&'a str, &'a [(&'a str, f64)]);

fn labels(builder: &mut BatchBuilder, labels: &[(&str, &str)]) {
    for (name, value) in labels {
        let (name, value) = (builder.symbol(name), builder.symbol(value));
        builder.label(name, value);
    }
}

/// A node with pods; metrics whose names end in `rate` are floats.
fn node(name: &str, pods: &[Pod<'_>]) -> Batch {
    let mut builder = BatchBuilder::new(Origin::Node(name.to_owned()), 0);
    builder.entity(Level::Node, 7);
    labels(&mut builder, &[("nodename", name), ("hostname", &format!("{name}.local"))]);
    for (pod, points) in pods {
        builder.entity(Level::Pod, 9);
        labels(&mut builder, &[("nodename", name), ("namespace_name", "default"), ("pod_name", pod)]);
        for (metric, value) in *points {
            let (metric, set) = metric.split_once('{').map_or((*metric, None), |(name, set)| (name, Some(set)));
            let descriptor = Descriptor::gauge(metric, "");
            let is_float = metric.ends_with("rate");
            let row = builder.metric(if is_float { descriptor.float() } else { descriptor });
            let set = set.map_or(0, |set| {
                let (name, value) = (builder.symbol("resource_id"), builder.symbol(set.trim_end_matches('}')));
                builder.label_set(&[(name, value)])
            });
            let bits = if is_float { value.to_bits() } else { (*value as i64).cast_unsigned() };
            builder.point(row, set, 0, bits);
        }
    }
    builder.build()
}

fn snapshot(writer: &mut Writer, number: u64, batches: &[Batch]) -> (Arc<Snapshot>, StoreStatus) {
    for batch in batches {
        writer.batch(&cycle(number), batch);
    }
    writer.end(&cycle(number)).unwrap()
}

/// Minutes and values of one series of a pod.
fn series(snapshot: &Snapshot, pod: &str, metric: &str, set: Option<&str>) -> Vec<(i64, f64)> {
    let labels: Vec<(&str, &str)> = set.map(|set| ("resource_id", set)).into_iter().collect();
    let found = snapshot.series(Key::Pod("default", pod), metric, &labels);
    let number = |value| match value {
        Value::Int(int) => int as f64,
        Value::Float(float) => float,
    };
    found.into_iter().map(|(time, value)| (time / MINUTE, number(value))).collect()
}

#[test]
fn what_goes_in_comes_out_over_changes_of_shape_and_order_and_gaps() {
    let mut writer = Writer::new(&config());
    let cycles: [&[Pod<'_>]; 5] = [
        &[("a", &[("usage", 5.0)]), ("b", &[("usage", 1e12), ("fs{/}", 1.0), ("fs{logs}", 2.0)])],
        // With rates: another shape.
        &[("a", &[("usage", 6.0), ("rate", 0.1)]), ("b", &[("usage", -3.0), ("fs{/}", 1.0), ("fs{logs}", 3.0)])],
        // In another order, with a gap in the rate.
        &[("b", &[("fs{logs}", 4.0), ("usage", 0.0), ("fs{/}", 1.0)]), ("a", &[("usage", 7.0)])],
        &[("a", &[("usage", 8.0), ("rate", 0.3)]), ("b", &[("usage", 9.0), ("fs{/}", 0.0), ("fs{logs}", 5.0)])],
        // A pod has gone, another has come.
        &[("a", &[("usage", 9.0), ("rate", 0.4)]), ("c", &[("usage", 1.0)])],
    ];
    let mut last = None;
    for (number, pods) in (1..).zip(cycles) {
        last = Some(snapshot(&mut writer, number, &[node("n", pods)]));
    }
    let (stored, status) = last.unwrap();
    assert_eq!(series(&stored, "a", "usage", None), [(1, 5.0), (2, 6.0), (3, 7.0), (4, 8.0), (5, 9.0)]);
    assert_eq!(series(&stored, "a", "rate", None), [(2, 0.1), (4, 0.3), (5, 0.4)]);
    assert_eq!(series(&stored, "b", "usage", None), [(1, 1e12), (2, -3.0), (3, 0.0), (4, 9.0)]);
    assert_eq!(series(&stored, "b", "fs", Some("logs")), [(1, 2.0), (2, 3.0), (3, 4.0), (4, 5.0)]);
    assert_eq!(series(&stored, "b", "fs", Some("/")), [(1, 1.0), (2, 1.0), (3, 1.0), (4, 0.0)]);
    assert_eq!(series(&stored, "b", "fs", None), []);
    assert_eq!(series(&stored, "c", "usage", None), [(5, 1.0)]);
    // Batch by batch, backwards, it is the same.
    let recent = stored.recent("n", 3).map(|(batch, values)| {
        let mut pods = batch.entities().filter(|entity| entity.label("pod_name") == Some("a"));
        let pod = pods.next().unwrap();
        (batch.time() / MINUTE, pod.value("usage", &values), pod.value("rate", &values))
    });
    let (int, float) = (|int| Some(Value::Int(int)), |float| Some(Value::Float(float)));
    let expected = [(5, int(9), float(0.4)), (4, int(8), float(0.3)), (3, int(7), None), (2, int(6), float(0.1))];
    assert_eq!(recent.collect::<Vec<_>>(), expected);
    assert_eq!(stored.metrics(Key::Pod("default", "b"), false), ["usage"]);
    assert_eq!(stored.metrics(Key::Pod("default", "a"), false), ["rate", "usage"]);
    assert_eq!(stored.metrics(Key::Pod("default", "b"), true), ["fs"]);
    assert_eq!(
        stored.label_sets(Key::Pod("default", "b"), "fs"),
        [vec![("resource_id", "/")], vec![("resource_id", "logs")]]
    );
    assert_eq!((status.cycles, status.sources, status.points), (5, 1, 4 + 5 + 4 + 5 + 3));

    // One minute on, the first cycle is too old.
    let (stored, status) = snapshot(&mut writer, 6, &[node("n", cycles[4])]);
    assert_eq!(series(&stored, "a", "usage", None), [(2, 6.0), (3, 7.0), (4, 8.0), (5, 9.0), (6, 9.0)]);
    assert_eq!((status.cycles, status.cycle), (5, 6));
    // A source of which nothing came goes with its last block.
    let (stored, status) = snapshot(&mut writer, 11, &[node("other", cycles[4])]);
    assert_eq!(series(&stored, "a", "usage", None), [(11, 9.0)]);
    assert_eq!((status.cycles, status.sources), (1, 1));
}

#[test]
fn the_newest_batch_is_read_whole_and_bridges_missed_cycles_if_asked_to() {
    let mut writer = Writer::new(&config());
    let pods: [Pod<'_>; 2] = [("a", &[("usage", 5.0), ("rate", 0.5)]), ("b", &[("usage", 4.0), ("fs{/}", 1.0)])];
    let (stored, _) = snapshot(&mut writer, 1, &[node("n", &pods), node("m", &pods)]);
    let batch = stored.node("n", 0).unwrap();
    let values = batch.values();
    let pod = batch.entities().find(|entity| entity.label("pod_name") == Some("a")).unwrap();
    assert_eq!(pod.value("rate", &values), Some(Value::Float(0.5)));
    assert_eq!(pod.value("usage", &values), Some(Value::Int(5)));
    assert_eq!((batch.node(), batch.time(), pod.started_at(), pod.level()), (Some("n"), MINUTE, 9, Level::Pod));

    let (stored, _) = snapshot(&mut writer, 2, &[node("m", &pods[..1])]);
    assert!(stored.node("n", 0).is_none());
    assert_eq!(stored.node("n", 1).unwrap().time(), MINUTE);
    assert_eq!(stored.newest(0).count(), 1);
    assert_eq!(stored.newest(2).map(|batch| batch.node().unwrap()).collect::<Vec<_>>(), ["m", "n"]);
    let pods = |missed| stored.with_pod("default", "b", missed).map(|it| it.node().unwrap()).collect::<Vec<_>>();
    assert_eq!(pods(1), ["m", "n"]);
    let there: Vec<_> = stored.node("m", 0).unwrap().entities().filter_map(|it| it.label("pod_name")).collect();
    assert_eq!(there, ["a"], "what went is not there any more");
}

#[test]
fn a_node_is_found_by_its_host_name_too() {
    let mut writer = Writer::new(&config());
    let mut builder = BatchBuilder::new(Origin::Node("n".to_owned()), 0);
    builder.entity(Level::Node, 0);
    labels(&mut builder, &[("hostname", "n.local")]);
    let metric = builder.metric(Descriptor::gauge("m", ""));
    builder.point(metric, 0, 0, 3);
    let (stored, _) = snapshot(&mut writer, 1, &[builder.build()]);
    for name in ["n", "n.local"] {
        assert_eq!(stored.series(Key::Node(name), "m", &[]), [(MINUTE, Value::Int(3))], "{name}");
    }
    assert_eq!(stored.series(Key::Node("other"), "m", &[]), []);
}

#[test]
fn over_its_memory_the_oldest_cycles_go_first_and_are_counted() {
    let points: Vec<(String, f64)> = (0..500).map(|number| (format!("m{number}"), f64::from(number * 1000))).collect();
    let points: Vec<(&str, f64)> = points.iter().map(|(name, value)| (name.as_str(), *value)).collect();
    let mut writer = Writer::new(&StoreConfig { max_memory: 60_000, ..config() });
    let mut last = None;
    for number in 1..=5 {
        // Another name each time: nothing is shared.
        let name = format!("pod-{number}");
        last = Some(snapshot(&mut writer, number, &[node("n", &[(&name, &points)])]));
    }
    let (stored, status) = last.unwrap();
    assert!(status.bytes <= 60_000, "{status:?}");
    assert_eq!(status.cycles as u64 + status.evicted_cycles, 5, "{status:?}");
    assert!(status.evicted_cycles > 0 && status.cycles > 0, "{status:?}");
    assert_eq!(series(&stored, "pod-5", "m7", None), [(5, 7000.0)]);
    assert_eq!(series(&stored, "pod-1", "m7", None), []);
}

#[test]
fn what_comes_and_goes_has_a_row_to_come_back_to() {
    let names: Vec<String> = (0..60).map(|number| format!("pod-{number}")).collect();
    let both: &[(&str, f64)] = &[("usage", 1.0), ("limit", 2.0), ("rate", 0.5)];
    let bytes = |turns: u64| {
        let mut writer = Writer::new(&config());
        let mut last = None;
        for number in 1..=5 {
            // Each time another part of the pods has a rate.
            let pods: Vec<Pod<'_>> = names
                .iter()
                .zip(0_u64..)
                .map(|(name, at)| (name.as_str(), if (at + number) % turns == 0 { &both[..2] } else { both }))
                .collect();
            last = Some(snapshot(&mut writer, number, &[node("n", &pods)]));
        }
        let (stored, status) = last.unwrap();
        let times: Vec<i64> = series(&stored, "pod-0", "rate", None).into_iter().map(|(time, _)| time).collect();
        let want: Vec<i64> = (1..=5).filter(|number| number % turns.cast_signed() != 0).collect();
        assert_eq!(times, want);
        status.bytes
    };
    let (changing, same) = (bytes(3), bytes(1000));
    assert!(changing < same * 3, "{changing} bytes, {same} without gaps");
}

#[test]
fn a_reader_keeps_what_it_has_while_cycles_go_on() {
    let mut writer = Writer::new(&config());
    let (first, _) = snapshot(&mut writer, 1, &[node("n", &[("a", &[("usage", 1.0)])])]);
    let (second, _) = snapshot(&mut writer, 2, &[node("n", &[("a", &[("usage", 2.0)])])]);
    assert_eq!(series(&first, "a", "usage", None), [(1, 1.0)]);
    assert_eq!(series(&second, "a", "usage", None), [(1, 1.0), (2, 2.0)]);
}

#[test]
fn a_cycle_that_nobody_ended_ends_with_the_next_one() {
    let (feeder, reader) = start(&config()).unwrap().unwrap();
    let offer = |number| {
        let batch = node("n", &[("a", &[("usage", 1.0)])]);
        feeder.offer(Arc::new(Published { cycle: cycle(number), batch }));
    };
    offer(1);
    offer(2);
    let deadline = std::time::Instant::now() + Duration::from_secs(20);
    while reader.snapshot().cycle() != 1 {
        assert!(std::time::Instant::now() < deadline, "{:?}", reader.status());
        std::thread::yield_now();
    }
    assert!(start(&StoreConfig { keep: Duration::ZERO, ..config() }).unwrap().is_none());
}
