//! The InfluxDB sink against a real server, through the real runner: what is written is read back,
//! and every way in which the server refuses ends in the ledger.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a failed expectation is a failed test")]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use millrace::batch::{Batch, Cycle, Descriptor};
use millrace::config::Secret;
use millrace::sinks::influxdb::{Influxdb, InfluxdbConfig, Timestamps};
use millrace::sinks::{Common, DropReason, Published, SinkHandle};
use millrace_tests::fixtures::influxd::{Influxd, Options};
use serde_json::{Map, Value, json};
use sunk::{DEADLINE, TIME, at_rest, builder, cycle, entity, give, int, pods, until};
use tokio::time::Instant;
use url::Url;

#[allow(dead_code, reason = "each test uses a part")]
mod sunk;

fn config(server: &Influxd) -> InfluxdbConfig {
    InfluxdbConfig::at(Url::parse(&server.url()).unwrap())
}

fn start(config: &InfluxdbConfig) -> SinkHandle {
    Influxdb::start("influxdb", config, Common::default()).unwrap()
}

/// Writes one batch with a sink of its own; everything must arrive.
async fn write(config: &InfluxdbConfig, batch: Batch) {
    let points = batch.points.len() as u64;
    let sink = start(config);
    give(&sink, 0, batch);
    let ledger = at_rest(&sink).await;
    assert_eq!((ledger.written, ledger.offered), (points, points), "{ledger:?}");
}

async fn count(server: &Influxd, measurement: &str) -> u64 {
    let rows = server.rows("k8s", &format!("SELECT count(value) AS n FROM \"{measurement}\"")).await;
    rows.first().and_then(|row| row["n"].as_u64()).unwrap_or(0)
}

/// One pod with plain and labelled metrics.
fn pod() -> Batch {
    let mut builder = builder();
    entity(
        &mut builder,
        &[
            ("type", "pod"),
            ("pod_name", "web-1"),
            ("namespace_name", "default"),
            ("namespace_id", "uid"),
            ("pod_id", "uid"),
            ("hostname", "h"),
            ("host_id", ""),
            ("labels", "app:web,tier:a b"),
        ],
    );
    int(&mut builder, "cpu/usage", 9_007_199_254_740_993);
    int(&mut builder, "cpu/usage_rate", -850);
    int(&mut builder, "uptime", 5);
    int(&mut builder, "nvidia.com/gpu/request", 1);
    let rates = builder.metric(Descriptor::gauge("network/rx_rate", "").float());
    builder.point(rates, 0, 0, 0.1_f64.to_bits());
    let usage = builder.metric(Descriptor::gauge("filesystem/usage", "bytes"));
    let limit = builder.metric(Descriptor::gauge("filesystem/limit", "bytes"));
    for (number, volume) in ["/", "Volume:data"].into_iter().enumerate() {
        let label = (builder.symbol("resource_id"), builder.symbol(volume));
        for (metric, value) in [(usage, 10), (limit, 20)] {
            let set = builder.label_set(&[label]);
            builder.point(metric, set, 250, value + number as u64);
        }
    }
    builder.build()
}

fn row(extra: Value) -> Map<String, Value> {
    let mut row = json!({
        "time": TIME, "cluster_name": "prod", "type": "pod", "pod_name": "web-1",
        "namespace_name": "default", "labels": "app:web,tier:a b"
    });
    let Value::Object(extra) = extra else { panic!("{extra}") };
    row.as_object_mut().unwrap().extend(extra);
    row.as_object().unwrap().clone()
}

#[tokio::test]
async fn the_default_mode_is_heapsters_schema() {
    let server = Influxd::start().await;
    write(&InfluxdbConfig { cluster_name: "prod".to_owned(), ..config(&server) }, pod()).await;
    for (measurement, want) in [
        ("cpu/usage", vec![json!({"value": 9_007_199_254_740_993_i64})]),
        ("cpu/usage_rate", vec![json!({"value": -850})]),
        ("uptime", vec![json!({"value": 5})]),
        ("nvidia.com/gpu/request", vec![json!({"value": 1})]),
        ("network/rx_rate", vec![json!({"value": 0.1})]),
        (
            "filesystem/usage",
            vec![json!({"value": 10, "resource_id": "/"}), json!({"value": 11, "resource_id": "Volume:data"})],
        ),
    ] {
        let rows = server.rows("k8s", &format!("SELECT * FROM \"{measurement}\"")).await;
        let want: Vec<_> = want.into_iter().map(row).collect();
        assert_eq!(rows, want, "{measurement}");
    }
    let policies = server.rows("k8s", "SHOW RETENTION POLICIES").await;
    assert_eq!(policies.len(), 1);
    assert_eq!(json!([policies[0]["name"], policies[0]["duration"]]), json!(["default", "0s"]));
}

#[tokio::test]
async fn with_fields_metrics_share_points() {
    let server = Influxd::start().await;
    let config = InfluxdbConfig {
        with_fields: true,
        disable_counter_metrics: true,
        gzip: None,
        cluster_name: "prod".to_owned(),
        timestamps: Timestamps::Measured,
        ..config(&server)
    };
    let sink = start(&config);
    give(&sink, 0, pod());
    let ledger = at_rest(&sink).await;
    assert_eq!((ledger.written, ledger.dropped_by(DropReason::Filtered)), (8, 1));
    for (measurement, want) in [
        ("cpu", vec![json!({"usage_rate": -850})]),
        ("uptime", vec![json!({"value": 5})]),
        ("nvidia.com", vec![json!({"gpu/request": 1})]),
        ("network", vec![json!({"rx_rate": 0.1})]),
        (
            "filesystem",
            vec![
                json!({"usage": 10, "limit": 20, "resource_id": "/", "time": TIME + 250_000_000}),
                json!({"usage": 11, "limit": 21, "resource_id": "Volume:data", "time": TIME + 250_000_000}),
            ],
        ),
    ] {
        let rows = server.rows("k8s", &format!("SELECT * FROM \"{measurement}\"")).await;
        let want: Vec<_> = want.into_iter().map(row).collect();
        assert_eq!(rows, want, "{measurement}");
    }
}

/// Every string of up to three of the characters that mean something to somebody, and every ASCII
/// character alone, first, in the middle and last.
fn hostile_texts() -> Vec<String> {
    let alphabet = ["a", ",", " ", "=", "\\", "\"", "\n", "\r", "\t", "\0", "#", "é"];
    let mut texts: BTreeSet<String> = BTreeSet::new();
    for a in alphabet {
        texts.insert(a.to_owned());
        for b in alphabet {
            texts.insert(format!("{a}{b}"));
            texts.extend(alphabet.map(|c| format!("{a}{b}{c}")));
        }
    }
    for byte in 0..128_u8 {
        let character = char::from(byte);
        texts.extend([format!("{character}b"), format!("a{character}b"), format!("a{character}")]);
    }
    texts.extend(["time", "_field", "_measurement", "日本", "a\u{2028}b", "😀", "'", "x'; DROP"].map(str::to_owned));
    texts.into_iter().collect()
}

/// How a text is read back: as it was, but for what the format can't hold.
fn read_back(text: &str) -> String {
    let mut out = String::new();
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        out.push(match character {
            '\n' => ' ',
            '\\' if matches!(characters.peek(), None | Some(',' | ' ' | '\n' | '=' | '"')) => '/',
            other => other,
        });
    }
    out
}

fn key_read_back(text: &str) -> String {
    let reserved = ["time", "_field", "_measurement"].contains(&text);
    format!("{}{}", read_back(text), if reserved { "_" } else { "" })
}

fn field_read_back(text: &str) -> String {
    match text.strip_prefix(['\t', '\0']) {
        Some(rest) => format!("_{}", key_read_back(rest)),
        None => key_read_back(text),
    }
}

fn measurement_read_back(text: &str) -> String {
    match text.strip_prefix(['#', '\t', '\0']) {
        Some(rest) => format!("_{}", read_back(rest)),
        None => read_back(text),
    }
}

#[tokio::test]
async fn tag_values_of_any_bytes_are_read_back() {
    let server = Influxd::start().await;
    let texts = hostile_texts();
    let mut builder = builder();
    for (number, text) in texts.iter().enumerate() {
        entity(&mut builder, &[("tag", text), ("zz", "end")]);
        // Own measurement, since texts that become equal would be the same series.
        int(&mut builder, &format!("m{number}"), number as i64);
    }
    write(&config(&server), builder.build()).await;
    let rows = server.rows("k8s", "SELECT value FROM /.*/ GROUP BY *").await;
    let tags: BTreeMap<_, _> = rows.iter().map(|row| (row["value"].as_u64().unwrap(), row)).collect();
    for (number, text) in texts.iter().enumerate() {
        let row = tags[&(number as u64)];
        assert_eq!(json!([row["tag"], row["zz"]]), json!([read_back(text), "end"]), "{text:?}");
    }
    assert_eq!(rows.len(), texts.len());
}

#[tokio::test]
async fn tag_names_of_any_bytes_are_read_back() {
    let server = Influxd::start().await;
    let texts = hostile_texts();
    let mut builder = builder();
    for (number, text) in texts.iter().enumerate() {
        entity(&mut builder, &[("first", "f"), (text, "value"), ("zz", "end")]);
        int(&mut builder, &format!("m{number}"), number as i64);
    }
    write(&config(&server), builder.build()).await;
    let rows = server.rows("k8s", "SELECT value FROM /.*/ GROUP BY *").await;
    let tags: BTreeMap<_, _> = rows.iter().map(|row| (row["value"].as_u64().unwrap(), row)).collect();
    for (number, text) in texts.iter().enumerate() {
        let name = key_read_back(text);
        let value = tags[&(number as u64)].get(&name).and_then(Value::as_str);
        assert_eq!(value, Some("value"), "{text:?} as {name:?}");
    }
}

#[tokio::test]
async fn measurements_of_any_bytes_are_read_back() {
    let server = Influxd::start().await;
    let texts = hostile_texts();
    let mut builder = builder();
    for (number, text) in texts.iter().enumerate() {
        entity(&mut builder, &[("n", &number.to_string())]);
        int(&mut builder, text, 1);
    }
    write(&config(&server), builder.build()).await;
    let got: BTreeSet<String> = server
        .rows("k8s", "SHOW MEASUREMENTS")
        .await
        .iter()
        .map(|row| row["name"].as_str().unwrap().to_owned())
        .collect();
    let want: BTreeSet<String> = texts.iter().map(|text| measurement_read_back(text)).collect();
    assert_eq!(got, want);
    let rows = server.rows("k8s", "SELECT value FROM /.*/ GROUP BY n").await;
    assert_eq!(rows.len(), texts.len());
}

#[tokio::test]
async fn field_names_of_any_bytes_are_read_back() {
    let server = Influxd::start().await;
    // `f/` and nothing is the field `value`; the rest of a name may hold slashes.
    let texts = hostile_texts();
    let mut builder = builder();
    entity(&mut builder, &[("n", "all in one line")]);
    let mut fields = BTreeSet::new();
    for text in &texts {
        if fields.insert(field_read_back(text)) {
            int(&mut builder, &format!("f/{text}"), 1);
        }
    }
    entity(&mut builder, &[("n", "again")]);
    for text in &texts {
        int(&mut builder, &format!("g/{text}"), 1);
    }
    // Texts that become equal are one field, and one line holds it but once.
    let equal = texts.len() as u64 - fields.len() as u64;
    let sink = start(&InfluxdbConfig { with_fields: true, ..config(&server) });
    give(&sink, 0, builder.build());
    let ledger = at_rest(&sink).await;
    assert_eq!(ledger.offered - ledger.written, equal, "{ledger:?}");
    assert_eq!(ledger.dropped_by(DropReason::Unencodable), equal, "{ledger:?}");
    for measurement in ["f", "g"] {
        let rows = server.rows("k8s", &format!("SHOW FIELD KEYS FROM {measurement}")).await;
        let got: BTreeSet<_> = rows.iter().map(|row| row["fieldKey"].as_str().unwrap().to_owned()).collect();
        assert_eq!(got, fields);
        let row = &server.rows("k8s", &format!("SELECT * FROM {measurement}")).await[0];
        assert!(fields.iter().all(|field| row[field] == 1), "{row:?}");
    }
}

#[tokio::test]
async fn numbers_are_read_back_to_the_last_bit() {
    let server = Influxd::start().await;
    let floats = [
        0.1,
        -0.5,
        0.0,
        1e20,
        1.5e-7,
        1e16,
        123_456_789.123_456_79,
        f64::MAX,
        f64::MIN,
        f64::MIN_POSITIVE,
        5e-324,
        100.0,
    ];
    let ints = [0, -1, i64::MAX, i64::MIN];
    let mut builder = builder();
    let metric = builder.metric(Descriptor::gauge("float", "").float());
    for (number, value) in floats.iter().enumerate() {
        entity(&mut builder, &[("n", &format!("{number:02}"))]);
        builder.point(metric, 0, 0, value.to_bits());
    }
    for (number, value) in ints.iter().enumerate() {
        entity(&mut builder, &[("n", &format!("{number:02}"))]);
        int(&mut builder, "int", *value);
    }
    write(&config(&server), builder.build()).await;
    // As CSV, since the JSON reader may miss the last bit.
    let query = format!("{}/query?db=k8s&q=SELECT+value+FROM+float+GROUP+BY+n", server.url());
    let request = reqwest::Client::new().get(query).header("accept", "application/csv");
    let csv = request.send().await.unwrap().text().await.unwrap();
    let last = |line: &str| line.rsplit(',').next().unwrap().parse::<f64>().unwrap();
    let got: Vec<_> = csv.lines().skip(1).map(last).collect();
    assert_eq!(got, floats);
    let rows = server.rows("k8s", "SELECT value FROM int GROUP BY n").await;
    let got: Vec<_> = rows.iter().map(|row| row["value"].as_i64().unwrap()).collect();
    assert_eq!(got, ints);
}

#[tokio::test]
async fn a_throttled_server_gets_everything_in_the_end() {
    let limits = Options { max_concurrent_writes: Some(1), ..Options::default() };
    let server = Influxd::start_with(limits).await;
    let sink = start(&InfluxdbConfig { concurrency: 8, max_lines: 500, ..config(&server) });
    let mut number = 0;
    let deadline = Instant::now() + DEADLINE;
    while sink.ledger().attempts.transient == 0 {
        assert!(Instant::now() < deadline, "the server never said 503: {:?}", sink.ledger());
        give(&sink, number, pods(8_000));
        number += 1;
        at_rest(&sink).await;
    }
    let ledger = at_rest(&sink).await;
    let message = ledger.last_error.unwrap().message;
    assert!(message.starts_with("503: request throttled"), "{message}");
    assert_eq!(ledger.written, number * 8_000);
    assert_eq!(count(&server, "uptime").await, number * 8_000);
}

#[tokio::test]
async fn a_body_too_large_for_the_server_is_split() {
    for gzip in [None, Some(1)] {
        let limits = Options { max_body_bytes: Some(2_000), ..Options::default() };
        let server = Influxd::start_with(limits).await;
        let sink = start(&InfluxdbConfig { gzip, ..config(&server) });
        give(&sink, 0, pods(3_000));
        let ledger = at_rest(&sink).await;
        assert_eq!(ledger.written, 3_000, "{ledger:?}");
        assert!(ledger.attempts.too_large > 3, "{ledger:?}");
        assert_eq!(count(&server, "uptime").await, 3_000);
    }
}

#[tokio::test]
async fn points_that_the_server_will_not_take_are_counted_and_the_rest_is_written() {
    let limits = Options { max_series_per_database: Some(10), ..Options::default() };
    let server = Influxd::start_with(limits).await;
    let sink = start(&config(&server));
    give(&sink, 0, pods(25));
    let ledger = at_rest(&sink).await;
    // With this limit the server takes none of the points that would be one series too many.
    assert_eq!(ledger.attempts.partial, 1, "{ledger:?}");
    assert!(ledger.dropped_by(DropReason::Partial) >= 15, "{ledger:?}");
    assert_eq!(count(&server, "uptime").await, ledger.written);

    let server = Influxd::start().await;
    server.query("", "CREATE DATABASE k8s WITH NAME \"default\"").await;
    server.write("k8s", &format!("uptime value=\"text\" {TIME}")).await;
    let sink = start(&config(&server));
    let mut builder = builder();
    entity(&mut builder, &[]);
    int(&mut builder, "uptime", 1);
    int(&mut builder, "cpu/usage", 1);
    give(&sink, 0, builder.build());
    let ledger = at_rest(&sink).await;
    assert_eq!((ledger.written, ledger.dropped_by(DropReason::Partial)), (1, 1), "{ledger:?}");
}

#[tokio::test]
async fn points_older_than_the_retention_are_counted() {
    let server = Influxd::start().await;
    let config = InfluxdbConfig { retention: Some(Duration::from_secs(3_600)), ..config(&server) };
    let sink = start(&config);
    let batch = pods(3);
    let old = Cycle { time: 1_500_000_000_000_000_000, ..cycle(0) };
    sink.offer(Arc::new(Published { cycle: old, batch }));
    sink.end_of_cycle(0);
    let ledger = at_rest(&sink).await;
    assert_eq!(ledger.dropped_by(DropReason::Expired), 3, "{ledger:?}");
}

#[tokio::test]
async fn a_database_or_policy_that_vanishes_is_made_again() {
    let server = Influxd::start().await;
    let sink = start(&config(&server));
    let statements = [
        "DROP DATABASE k8s",
        "CREATE RETENTION POLICY other ON k8s DURATION INF REPLICATION 1 DEFAULT; DROP RETENTION POLICY \"default\" ON k8s",
    ];
    for (number, statement) in statements.into_iter().enumerate() {
        let number = number as u64 * 2;
        give(&sink, number, pods(5));
        at_rest(&sink).await;
        assert!(count(&server, "uptime").await >= 5);
        server.query("", statement).await;
        give(&sink, number + 1, pods(6));
        let ledger = at_rest(&sink).await;
        assert_eq!(ledger.attempts.unprepared, number / 2 + 1, "{ledger:?}");
        assert_eq!(ledger.written, ledger.offered);
        assert_eq!(count(&server, "uptime").await, 6, "{statement}");
    }
}

#[tokio::test]
async fn a_user_without_rights_gets_through_once_an_operator_has_acted() {
    let admin = Some(("root".to_owned(), "root".to_owned()));
    let server = Influxd::start_with(Options { admin, ..Options::default() }).await;
    let config = InfluxdbConfig {
        username: "mill\"race".to_owned(),
        password: Secret::literal("pa'ss:word"),
        ..config(&server)
    };
    let sink = start(&config);
    give(&sink, 0, pods(5));
    let ledger = until(&sink, "refused", |ledger| ledger.attempts.refused > 0).await;
    assert_eq!((ledger.queued, ledger.failing), (5, true));
    let message = ledger.last_error.unwrap().message;
    assert!(message.starts_with("401: "), "{message}");
    assert!(!message.contains("ss:word"), "{message}");

    // Now known, but with no right to write, nor to make a database.
    server.query("", "CREATE DATABASE k8s WITH NAME \"default\"").await;
    server.query("", "CREATE USER \"mill\\\"race\" WITH PASSWORD 'pa\\'ss:word'").await;
    until(&sink, "403", |ledger| ledger.last_error.as_ref().is_some_and(|error| error.message.starts_with("403: ")))
        .await;
    server.query("", "GRANT WRITE ON k8s TO \"mill\\\"race\"").await;
    let ledger = at_rest(&sink).await;
    assert_eq!(ledger.written, 5, "{ledger:?}");
    assert_eq!(count(&server, "uptime").await, 5);
}

#[tokio::test]
async fn an_outage_within_the_bound_costs_nothing() {
    let mut server = Influxd::start().await;
    let url = Url::parse(&server.url()).unwrap();
    server.stop().await;
    // Down when the sink starts, and once more in mid-run.
    let sink = start(&InfluxdbConfig::at(url));
    for outage in 0..2 {
        for number in 0..3 {
            give(&sink, outage * 3 + number, pods(100));
        }
        let ledger = until(&sink, "failing", |ledger| ledger.failing).await;
        assert_eq!(ledger.queued, 300, "{ledger:?}");
        server.start_again().await;
        let ledger = at_rest(&sink).await;
        assert_eq!((ledger.written, ledger.dropped.values().sum::<u64>()), (300 * (outage + 1), 0));
        assert_eq!(count(&server, "uptime").await, 300 * (outage + 1));
        server.stop().await;
    }
}

#[tokio::test]
async fn an_outage_over_the_bound_costs_the_oldest() {
    let mut server = Influxd::start().await;
    let url = Url::parse(&server.url()).unwrap();
    server.stop().await;
    let sink = start(&InfluxdbConfig { queue: 1 << 20, gzip: None, ..InfluxdbConfig::at(url) });
    for number in 0..100 {
        give(&sink, number, pods(1_000));
        let ledger = sink.ledger();
        assert!(ledger.queued_bytes <= ledger.queue_bound_bytes, "{ledger:?}");
    }
    until(&sink, "full", |ledger| ledger.dropped_by(DropReason::QueueFull) > 0).await;
    server.start_again().await;
    let ledger = at_rest(&sink).await;
    assert_eq!(ledger.written + ledger.dropped_by(DropReason::QueueFull), 100_000, "{ledger:?}");
    assert_eq!(count(&server, "uptime").await, ledger.written);
    let newest = server.rows("k8s", "SELECT value FROM uptime ORDER BY time DESC LIMIT 1").await;
    assert_eq!(newest[0]["time"], json!(cycle(99).time));
}

#[tokio::test]
async fn shutdown_writes_what_is_queued() {
    let server = Influxd::start().await;
    let sink = start(&config(&server));
    sink.offer(Arc::new(Published { cycle: cycle(0), batch: pods(500) }));
    let ledger = sink.drain(Instant::now() + Duration::from_secs(30)).await;
    assert_eq!((ledger.written, ledger.queued, ledger.imbalance), (500, 0, 0));
    assert_eq!(count(&server, "uptime").await, 500);
}

#[tokio::test]
async fn retention_takes_effect_whatever_is_there() {
    const HOUR: Duration = Duration::from_secs(3_600);
    let week = Some(HOUR * 24 * 7);
    for (name, before, retention, want) in [
        ("new, for ever", "", None, json!(["default", "0s", "168h0m0s", true])),
        ("new, a week", "", week, json!(["default", "168h0m0s", "24h0m0s", true])),
        ("new, an hour", "", Some(HOUR), json!(["default", "1h0m0s", "1h0m0s", true])),
        (
            "there for ever, shortened",
            "CREATE DATABASE k8s WITH NAME \"default\"",
            week,
            json!(["default", "168h0m0s", "24h0m0s", true]),
        ),
        (
            "there for a day, lengthened",
            "CREATE DATABASE k8s WITH DURATION 1d NAME \"default\"",
            week,
            json!(["default", "168h0m0s", "24h0m0s", true]),
        ),
        (
            "an operator's, left alone",
            "CREATE DATABASE k8s WITH DURATION 1d NAME \"default\"",
            None,
            json!(["default", "24h0m0s", "1h0m0s", true]),
        ),
        ("there under another policy", "CREATE DATABASE k8s", None, json!(["default", "0s", "168h0m0s", true])),
        (
            "there under another policy, a week",
            "CREATE DATABASE k8s",
            week,
            json!(["default", "168h0m0s", "24h0m0s", true]),
        ),
    ] {
        let server = Influxd::start().await;
        if !before.is_empty() {
            server.query("", before).await;
        }
        // Now, since a point older than the retention would be refused.
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        let cycle = Cycle { time: i64::try_from(now.as_nanos()).unwrap(), ..cycle(0) };
        let sink = start(&InfluxdbConfig { retention, ..config(&server) });
        sink.offer(Arc::new(Published { cycle, batch: pods(2) }));
        sink.end_of_cycle(0);
        let ledger = at_rest(&sink).await;
        assert_eq!((ledger.written, &ledger.last_error), (2, &None), "{name}");
        let policies = server.rows("k8s", "SHOW RETENTION POLICIES").await;
        let policy = policies.iter().find(|policy| policy["name"] == "default");
        let policy = policy.unwrap_or_else(|| panic!("{name}: {policies:?}"));
        let columns = ["name", "duration", "shardGroupDuration", "default"];
        assert_eq!(json!(columns.map(|column| &policy[column])), want, "{name}");
        assert_eq!(count(&server, "uptime").await, 2, "{name}");
    }
}

#[tokio::test]
async fn https_needs_the_authority_or_an_explicit_no() {
    let server = Influxd::start_with(Options { https: true, ..Options::default() }).await;
    let trusting = InfluxdbConfig { certificate_authority: Some(server.certificate()), ..config(&server) };
    write(&trusting, pods(1)).await;
    write(&InfluxdbConfig { insecure_tls: true, ..config(&server) }, pods(1)).await;

    let sink = start(&config(&server));
    give(&sink, 0, pods(1));
    let ledger = until(&sink, "failing", |ledger| ledger.failing).await;
    let message = ledger.last_error.unwrap().message;
    assert!(message.contains("certificate"), "{message}");
}

#[tokio::test]
async fn a_database_may_have_any_name() {
    let server = Influxd::start().await;
    let name = "my \"db\"; &rp=x";
    let sink = start(&InfluxdbConfig { database: name.to_owned(), ..config(&server) });
    give(&sink, 0, pods(2));
    assert_eq!(at_rest(&sink).await.written, 2);
    assert_eq!(server.rows(name, "SELECT * FROM uptime").await.len(), 2);
}

#[tokio::test]
async fn something_that_is_no_influxdb_is_tried_again_with_a_clear_message() {
    let [port] = millrace_tests::fixtures::ports::free();
    let router = axum::Router::new();
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", port)).await.unwrap();
    let served = tokio::spawn(async move { axum::serve(listener, router).await });
    let sink = start(&InfluxdbConfig::at(Url::parse(&format!("http://127.0.0.1:{port}")).unwrap()));
    give(&sink, 0, pods(2));
    let ledger = until(&sink, "refused", |ledger| ledger.attempts.refused > 0).await;
    assert_eq!(ledger.queued, 2);
    let message = ledger.last_error.unwrap().message;
    assert!(message.contains("is this InfluxDB 1.x?"), "{message}");
    served.abort();
}
