//! Lines that batches become.

use std::time::Instant;

use url::Url;

use super::*;
use crate::batch::{BatchBuilder, Descriptor, Level, Origin};
use crate::sinks::chunk::Limits;
use crate::sinks::influxdb::InfluxdbConfig;

const CYCLE: Cycle = Cycle { number: 1, time: 60_000_000_000, window: 0, nodes_asked: 1, nodes_answered: 1 };
const LIMITS: Limits = Limits { records: usize::MAX, bytes: u32::MAX as usize };

fn config() -> InfluxdbConfig {
    InfluxdbConfig::at(Url::parse("http://localhost:8086").unwrap())
}

fn fields() -> InfluxdbConfig {
    InfluxdbConfig { with_fields: true, ..config() }
}

/// The lines, and how many points were dropped for each reason.
fn encoded(config: &InfluxdbConfig, batch: &Batch) -> (String, crate::sinks::ledger::Dropped) {
    let mut out = Chunker::new(LIMITS);
    out.begin(LIMITS);
    encode(&Schema::new(config), &CYCLE, batch, &mut out);
    let dropped = out.end(batch.points.len() as u64);
    (String::from_utf8(out.body().clone()).unwrap(), dropped)
}

fn labels(builder: &mut BatchBuilder, labels: &[(&str, &str)]) {
    for (name, value) in labels {
        let (name, value) = (builder.symbol(name), builder.symbol(value));
        builder.label(name, value);
    }
}

fn set(builder: &mut BatchBuilder, labels: &[(&str, &str)]) -> u32 {
    let pairs: Vec<_> = labels.iter().map(|(name, value)| (builder.symbol(name), builder.symbol(value))).collect();
    builder.label_set(&pairs)
}

/// One pod as the heapster rule leaves it.
fn pod() -> Batch {
    let mut builder = BatchBuilder::new(Origin::Node("n".to_owned()), 59_000_000_000);
    builder.entity(Level::Pod, 0);
    labels(
        &mut builder,
        &[
            ("type", "pod"),
            ("pod_name", "web 1"),
            ("pod_id", "uid"),
            ("namespace_id", "uid"),
            ("hostname", "h"),
            ("host_id", "i"),
            ("namespace_name", ""),
        ],
    );
    let usage = builder.metric(Descriptor::cumulative("cpu/usage", "ns"));
    let rate = builder.metric(Descriptor::gauge("cpu/usage_rate", ""));
    let uptime = builder.metric(Descriptor::cumulative("uptime", "ms"));
    let disk = builder.metric(Descriptor::gauge("filesystem/usage", "bytes"));
    let free = builder.metric(Descriptor::gauge("filesystem/free", "share").float());
    let (one, again) = (
        set(&mut builder, &[("resource_id", "/"), ("type", "disk")]),
        set(&mut builder, &[("resource_id", "/"), ("type", "disk")]),
    );
    builder.point(usage, 0, 0, 12);
    builder.point(uptime, 0, 0, 5);
    builder.point(disk, one, 250, 7);
    builder.point(rate, 0, 0, (-3_i64).cast_unsigned());
    builder.point(free, again, 250, 1e20_f64.to_bits());
    builder.build()
}

#[test]
fn a_point_is_a_line_in_heapsters_schema() {
    let (lines, dropped) = encoded(&config(), &pod());
    let tags = "cluster_name=default,pod_name=web\\ 1,type=pod";
    let own = "cluster_name=default,pod_name=web\\ 1,resource_id=/,type=disk";
    let want = [
        format!("cpu/usage,{tags} value=12i 60000000000\n"),
        format!("uptime,{tags} value=5i 60000000000\n"),
        format!("filesystem/usage,{own} value=7i 60000000000\n"),
        format!("cpu/usage_rate,{tags} value=-3i 60000000000\n"),
        format!("filesystem/free,{own} value=1e20 60000000000\n"),
    ];
    assert_eq!(lines, want.concat());
    assert_eq!(dropped.total(), 0);
}

#[test]
fn with_fields_the_points_of_a_measurement_share_a_line() {
    let (lines, dropped) = encoded(&fields(), &pod());
    let tags = "cluster_name=default,pod_name=web\\ 1,type=pod";
    let own = "cluster_name=default,pod_name=web\\ 1,resource_id=/,type=disk";
    let want = [
        format!("cpu,{tags} usage=12i,usage_rate=-3i 60000000000\n"),
        format!("uptime,{tags} value=5i 60000000000\n"),
        format!("filesystem,{own} usage=7i,free=1e20 60000000000\n"),
    ];
    assert_eq!(lines, want.concat());
    assert_eq!(dropped.total(), 0);
}

#[test]
fn counters_with_a_rate_can_be_left_out() {
    for config in [config(), fields()] {
        let config = InfluxdbConfig { disable_counter_metrics: true, ..config };
        let (lines, dropped) = encoded(&config, &pod());
        assert!(lines.contains("uptime,") && lines.contains("usage_rate"), "{lines}");
        assert!(!lines.contains("12i"), "{lines}");
        assert_eq!((dropped.of(DropReason::Filtered), dropped.total()), (1, 1));
    }
}

#[test]
fn points_can_bear_the_time_they_were_measured() {
    let measured = InfluxdbConfig { timestamps: Timestamps::Measured, ..config() };
    let (lines, _) = encoded(&measured, &pod());
    assert!(lines.contains("value=12i 59000000000\n"), "{lines}");
    assert!(lines.contains("value=7i 59250000000\n"), "{lines}");
}

#[test]
fn names_that_mean_something_to_the_server_are_changed() {
    let mut builder = BatchBuilder::new(Origin::Node("n".to_owned()), 0);
    builder.entity(Level::Node, 0);
    labels(&mut builder, &[("time", "a"), ("time_", "b"), ("", "c"), ("cluster_name", "d")]);
    let named = ["cpu/time", "cpu/", "/x", "#x"];
    let metrics: Vec<_> = named.iter().map(|name| builder.metric(Descriptor::gauge(name, ""))).collect();
    for metric in metrics {
        builder.point(metric, 0, 0, 1);
    }
    let (lines, _) = encoded(&fields(), &builder.build());
    let want = "cpu,cluster_name=default,time_=a time_=1i,value=1i 60000000000\n\
                /x,cluster_name=default,time_=a value=1i 60000000000\n\
                _x,cluster_name=default,time_=a value=1i 60000000000\n";
    assert_eq!(lines, want);
}

#[test]
fn what_the_format_cannot_hold_is_counted_and_costs_no_other_point() {
    let mut builder = BatchBuilder::new(Origin::Node("n".to_owned()), 0);
    let float = builder.metric(Descriptor::gauge("cpu/a", "").float());
    let good = builder.metric(Descriptor::gauge("cpu/b", ""));
    let nameless = builder.metric(Descriptor::gauge("", ""));
    let whole = builder.metric(Descriptor::gauge("cpu", ""));
    let value = builder.metric(Descriptor::gauge("cpu/value", ""));
    let long = builder.metric(Descriptor::gauge(&format!("cpu/{}", "x".repeat(MAX_KEY)), ""));
    builder.entity(Level::Node, 0);
    builder.point(float, 0, 0, f64::NAN.to_bits());
    builder.point(good, 0, 0, 1);
    builder.point(nameless, 0, 0, 1);
    builder.point(long, 0, 0, 1);
    builder.entity(Level::Node, 0);
    labels(&mut builder, &[("long", &"x".repeat(MAX_KEY))]);
    builder.point(good, 0, 0, 2);
    builder.entity(Level::Node, 0);
    builder.point(whole, 0, 0, 3);
    builder.point(value, 0, 0, 4);
    let batch = builder.build();

    let (lines, dropped) = encoded(&config(), &batch);
    assert_eq!(lines.lines().count(), 3, "{lines:.300}");
    assert_eq!((dropped.of(DropReason::Unencodable), dropped.total()), (4, 4));
    let (lines, dropped) = encoded(&fields(), &batch);
    let want = "cpu,cluster_name=default b=1i 60000000000\n\
                cpu,cluster_name=default value=3i 60000000000\n";
    assert_eq!(lines, want);
    // `cpu` and `cpu/value` are the same field.
    assert_eq!((dropped.of(DropReason::Unencodable), dropped.total()), (5, 5));
}

/// 30 pods of three entities, twelve points each, as a node of the usual size gives.
fn node() -> Batch {
    let mut builder = BatchBuilder::new(Origin::Node("node-a".to_owned()), 0);
    let names: Vec<_> =
        (0..12).map(|number| builder.metric(Descriptor::gauge(&format!("memory/metric_{number}"), ""))).collect();
    for entity in 0..90 {
        builder.entity(Level::Container, 0);
        let pod = format!("deployment-7d4b9c6f5d-x{entity:04}");
        labels(
            &mut builder,
            &[
                ("nodename", "ip-10-0-12-34.eu-central-1.compute.internal"),
                ("hostname", "ip-10-0-12-34.eu-central-1.compute.internal"),
                ("namespace_name", "production"),
                ("pod_name", &pod),
                ("pod_id", "8f4e7a3c-2b1d-4c5e-9f6a-7b8c9d0e1f2a"),
                ("container_name", "server"),
                ("container_base_image", "registry.example.com/team/server:1.2.3"),
                ("labels", "app:server,pod-template-hash:7d4b9c6f5d,tier:backend"),
                ("type", "pod_container"),
            ],
        );
        for &metric in &names {
            builder.point(metric, 0, 0, 1_073_741_824);
        }
    }
    builder.build()
}

/// Not a benchmark: the bound is far above what a point costs, and would only miss an allocation
/// or a search for every point.
#[test]
fn a_point_costs_well_under_a_microsecond() {
    let batch = node();
    for config in [config(), fields()] {
        let schema = Schema::new(&config);
        let mut out = Chunker::new(LIMITS);
        let mut best = u128::MAX;
        for _ in 0..50 {
            out.body().clear();
            out = Chunker::new(LIMITS);
            out.begin(LIMITS);
            out.body().reserve(1 << 20);
            let began = Instant::now();
            encode(&schema, &CYCLE, &batch, &mut out);
            best = best.min(began.elapsed().as_nanos() / batch.points.len() as u128);
        }
        println!("with_fields={}: {best} ns a point", config.with_fields);
        assert!(best < 1_000, "{best} ns a point");
    }
}
