//! The recorded cluster goes through the real program into a real InfluxDB, in both of the modes in
//! which Heapster was recorded; every point that is stored then is compared with what Heapster wrote,
//! and every query of Heapster's Grafana dashboards finds something.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a failed expectation is a failed test")]

use std::time::Duration;

use millrace_tests::fixtures::influxd::Influxd;
use millrace_tests::fixtures::process::Process;
use millrace_tests::heapster::influxdb::{self, DEFAULT, Mode, WITH_FIELDS};
use millrace_tests::recorded::Recorded;
use serde_json::{Map, Value};

const DEADLINE: Duration = Duration::from_secs(60);
/// What is picked in the dashboards' lists: a node and a pod with network and filesystems.
const PICKED: [(&str, &str); 3] = [("nodename", "node-a"), ("namespace", "default"), ("podname", "web-1")];

/// Plays the recorded cluster from its beginning and writes this many cycles.
async fn write(server: &Influxd, mode: Mode, cycles: usize) {
    let cluster = Recorded::start().await.unwrap();
    let process = Process::millrace([
        "run".to_owned(),
        cluster.source(None),
        format!("--sink=influxdb:{}?{}", server.url(), mode.options),
        "--metric-resolution=10s".to_owned(),
        format!("--cycles={cycles}"),
        "--back-to-back".to_owned(),
        "--listen=127.0.0.1:0".to_owned(),
    ]);
    let outcome = tokio::task::spawn_blocking(move || process.wait(DEADLINE)).await.unwrap();
    assert_eq!(outcome.code(), Some(0), "{}", outcome.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_stored_point_is_heapsters_but_for_the_listed_differences() {
    // One server for both, one after the other, as in the recording.
    let server = Influxd::start().await;
    for (mode, points) in [(DEFAULT, 3_549), (WITH_FIELDS, 1_435)] {
        let recorded = influxdb::recorded(mode).unwrap();
        assert_eq!(recorded.points(), points, "the recording is whole");
        write(&server, mode, recorded.times.len()).await;
        let ours = influxdb::stored(&server, mode.database).await.unwrap();

        let found = influxdb::differences(&recorded, &ours);
        let allowed = influxdb::allowed(mode, recorded.times.len() as u64).unwrap();
        let unexplained: Vec<_> = found.difference(&allowed).collect();
        assert!(unexplained.is_empty(), "{}: differences that no patch allows:\n{unexplained:#?}", mode.name);
        let unused: Vec<_> = allowed.difference(&found).collect();
        assert!(unused.is_empty(), "{}: patches for differences that are not there:\n{unused:#?}", mode.name);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_query_of_the_grafana_dashboards_finds_something() {
    let server = Influxd::start().await;
    for mode in [DEFAULT, WITH_FIELDS] {
        write(&server, mode, 4).await;
    }
    let text = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/grafana/queries.tsv")).unwrap();
    let mut asked = [0, 0];
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let [mode, dashboard, panel, query] = line.split('\t').collect::<Vec<_>>()[..] else {
            panic!("four columns belong in `{line}`");
        };
        let database = [DEFAULT, WITH_FIELDS].into_iter().find(|known| known.name == mode).expect("a mode").database;
        let query = PICKED
            .iter()
            .fold(query.to_owned(), |query, (name, value)| query.replace(&format!("${name}"), value))
            .replace("$timeFilter", "time > now() - 30m")
            .replace("$interval", "10s");
        assert!(!query.contains("/$") && !query.contains(" $"), "a variable is left in `{query}`");
        if let Some(name) = panel.strip_prefix("variable: ") {
            let picked = PICKED.iter().find(|(variable, _)| *variable == name).expect("a variable that is picked").1;
            let rows = server.rows(database, &query).await;
            assert!(rows.iter().any(|row| row["value"] == picked), "{dashboard}, {panel}: `{query}` gives {rows:?}");
            asked[0] += 1;
            continue;
        }
        // Grafana keeps a query as text and as the parts of its editor, and there it has `sum`.
        for query in [query.clone(), query.replacen("mean(", "sum(", 1)] {
            let rows = server.rows(database, &query).await;
            assert!(rows.iter().any(has_value), "{dashboard}, {panel}: `{query}` gives {rows:?}");
        }
        asked[1] += 1;
    }
    assert_eq!(asked, [5, 33 + 11 + 11], "variables and queries of the three dashboards");
}

/// `fill(null)` gives rows that hold nothing.
fn has_value(row: &Map<String, Value>) -> bool {
    row.iter().any(|(column, value)| column != "time" && value.is_number())
}
