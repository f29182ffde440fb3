//! Remote write into a real Prometheus: every point is read back, in order, over outages; what it refuses ends in the
//! ledger. A stub gives the answers that it never gives.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a failed expectation is a failed test")]

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri};
use millrace::batch::Cycle;
use millrace::config::Secret;
use millrace::sinks::prometheus::{Prometheus as Sink, PrometheusConfig};
use millrace::sinks::{Common, DropReason, Published, SinkHandle, Spool, SpoolConfig};
use millrace_tests::fixtures::prometheus::{Labels, Prometheus};
use millrace_tests::fixtures::router::{Router, Setup};
use millrace_tests::kubesim::Kubesim;
use serde_json::Value;
use sunk::{at_rest, give, pods, until};
use tokio::time::Instant;
use url::Url;

#[allow(dead_code, reason = "each test uses a part")]
mod sunk;

/// A Prometheus that scrapes nothing.
const IDLE: &str = "global: {}\n";

fn config(url: &str) -> PrometheusConfig {
    PrometheusConfig::at(Url::parse(url).unwrap())
}

fn start(config: &PrometheusConfig) -> SinkHandle {
    Sink::start("prometheus", config, Common::default()).unwrap()
}

/// Seconds since the epoch.
fn now() -> i64 {
    jiff::Timestamp::now().as_second()
}

/// A cycle so many seconds after `began`. Not years ago: Prometheus takes no samples that are much older than its newest.
fn offer(sink: &SinkHandle, began: i64, number: u64, count: usize) {
    let time = (began + number.cast_signed()) * 1_000_000_000;
    let cycle = Cycle { number, time, window: 1_000_000_000, nodes_asked: 1, nodes_answered: 1 };
    sink.offer(Arc::new(Published { cycle, batch: pods(count) }));
    sink.end_of_cycle(number);
}

/// Samples of everything but the series that describe entities.
async fn stored(server: &Prometheus) -> Vec<(Labels, Vec<(i64, f64)>)> {
    let all = server.samples("{__name__=~\"heapster_.*\"}", "2h", now() as f64 + 60.0).await;
    all.into_iter().filter(|(labels, _)| !labels["__name__"].ends_with("_info")).collect()
}

/// What the model API says that the nodes used: cores, by node and time in ms.
async fn usage_rates(router: &Router) -> BTreeMap<(String, i64), f64> {
    let (_, model) = router.page("/api/v1/model/nodes/").await;
    let nodes: Vec<String> = serde_json::from_str(&model).unwrap();
    let mut usage = BTreeMap::new();
    for node in &nodes {
        let (_, text) = router.page(&format!("/api/v1/model/nodes/{node}/metrics/cpu/usage_rate")).await;
        let answer: Value = serde_json::from_str(&text).unwrap();
        for point in answer["metrics"].as_array().unwrap() {
            let time: jiff::Timestamp = point["timestamp"].as_str().unwrap().parse().unwrap();
            let cores = point["value"].as_f64().unwrap() / 1e3;
            usage.insert((node.clone(), time.as_millisecond()), cores);
        }
    }
    usage
}

#[tokio::test(flavor = "multi_thread")]
async fn every_point_that_millrace_writes_is_read_back() {
    let server = Prometheus::start(IDLE).await;
    let sim = Kubesim::builder().size(3, 4, 2).start().await.unwrap();
    let config = format!(
        "resolution = '1s'\n[source.kubernetes]\napi-server = '{}'\n[source.kubernetes.kubelet]\nhttps = false\n\
         port = {}\n[[sink]]\ntype = 'prometheus-remote-write'\nurl = '{}'\ntoken-file = 'FOLDER/token'\n\
         max-samples = 300\nexternal-labels = {{ cluster = 'eu' }}\nheaders = {{ X-Scope-OrgID = 'a' }}\n",
        sim.api_url(),
        sim.kubelet_port(),
        server.url(),
    );
    let mut router = Setup::new(&config).file("token", "s3cret\n").start().await;
    router.cycle(4).await;
    // Kubelets look at their containers every ten seconds or so: before that there is no rate.
    let mut usage = usage_rates(&router).await;
    while usage.is_empty() {
        router.cycles(1).await;
        usage = usage_rates(&router).await;
    }
    let outcome = router.stop().await;
    assert!(!outcome.stderr.contains("s3cret"));
    let lines = outcome.stderr.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let closed: Vec<Value> = lines.filter(|line| line["message"] == "sink closed").collect();
    assert_eq!(closed[0]["dropped"], 0, "{closed:?}");

    let stored = stored(&server).await;
    let samples: usize = stored.iter().map(|(_, points)| points.len()).sum();
    assert_eq!(closed[0]["written"].as_u64(), Some(samples as u64), "each point is a sample");
    assert!(samples > 500, "{samples}");
    assert!(stored.iter().all(|(labels, _)| labels["cluster"] == "eu"));
    let rates = stored.iter().filter(|(labels, _)| labels["__name__"] == "heapster_node_cpu_usage_cores");
    let read: BTreeMap<_, _> = rates
        .flat_map(|(labels, points)| points.iter().map(|(time, value)| ((labels["node"].clone(), *time), *value)))
        .collect();
    for (place, cores) in &usage {
        assert_eq!(read.get(place), Some(cores), "{place:?}");
    }
    // What describes entities is there, too, and joins.
    let join = "heapster_container_memory_rss_bytes * on (namespace, pod, container, node) group_left (image) heapster_container_info";
    assert!(server.query(join).await.iter().all(|(labels, _)| !labels["image"].is_empty()));
}

#[tokio::test]
async fn an_outage_costs_nothing_and_samples_stay_in_order() {
    let mut server = Prometheus::start(IDLE).await;
    let sink = start(&PrometheusConfig { max_samples: 37, ..config(&server.url()) });
    let began = now() - 600;
    offer(&sink, began, 1, 100);
    at_rest(&sink).await;
    server.stop().await;
    for number in 2..10 {
        offer(&sink, began, number, 100);
    }
    let ledger = until(&sink, "failing", |ledger| ledger.failing).await;
    assert_eq!(ledger.queued, 800);
    server.start_again().await;
    let ledger = at_rest(&sink).await;
    assert_eq!((ledger.written, ledger.dropped.values().sum::<u64>()), (900, 0), "{ledger:?}");
    let stored = stored(&server).await;
    assert_eq!(stored.len(), 100);
    let times: Vec<i64> = (1..10).map(|number| (began + number) * 1_000).collect();
    for (labels, points) in &stored {
        assert_eq!(labels["__name__"], "heapster_pod_uptime");
        assert_eq!(points.iter().map(|(time, _)| *time).collect::<Vec<_>>(), times);
        assert!(points.iter().all(|(_, value)| *value == 7.0));
    }
}

#[tokio::test]
async fn what_an_earlier_process_left_in_the_spool_comes_first() {
    let mut server = Prometheus::start(IDLE).await;
    let folder = tempfile::tempdir().unwrap();
    let to = config(&server.url());
    let spooling = async || {
        let (config, deadline) = (SpoolConfig::at(folder.path().to_owned()), Instant::now() + sunk::DEADLINE);
        // Threads of the sink before may still have it for a moment.
        let spool = loop {
            match Spool::open(&config, "prometheus-remote-write") {
                Err(error) => assert!(Instant::now() < deadline, "{error}"),
                Ok(spool) => break spool,
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        };
        Sink::start("prometheus", &to, Common { spool: Some(spool), ..Common::default() }).unwrap()
    };
    let began = now() - 600;
    let sink = spooling().await;
    offer(&sink, began, 1, 100);
    at_rest(&sink).await;
    server.stop().await;
    for number in 2..6 {
        offer(&sink, began, number, 100);
    }
    until(&sink, "failing", |ledger| ledger.failing).await;
    let ledger = sink.drain(Instant::now() + Duration::from_secs(30)).await;
    assert_eq!((ledger.spooled, ledger.dropped.values().sum::<u64>()), (400, 0), "{ledger:?}");
    drop(sink);
    server.start_again().await;
    let sink = spooling().await;
    offer(&sink, began, 6, 100);
    let ledger = at_rest(&sink).await;
    assert_eq!((ledger.written, ledger.recovered, ledger.imbalance), (500, 400, 0), "{ledger:?}");
    let stored = stored(&server).await;
    assert!(stored.len() == 100 && stored.iter().all(|(_, points)| points.len() == 6), "{stored:?}");
}

#[tokio::test]
async fn what_is_out_of_order_is_given_up_and_told() {
    let server = Prometheus::start(IDLE).await;
    let sink = start(&config(&server.url()));
    let began = now() - 600;
    offer(&sink, began, 2, 5);
    at_rest(&sink).await;
    // As of a second Millrace with the same labels whose clock is behind.
    let other = start(&config(&server.url()));
    offer(&other, began, 1, 5);
    let ledger = at_rest(&other).await;
    assert_eq!((ledger.written, ledger.dropped_by(DropReason::Rejected)), (0, 5), "{ledger:?}");
    let message = ledger.last_error.unwrap().message;
    assert!(message.starts_with("400: out of order sample") && message.contains("`external-labels`"), "{message}");
    let apart = vec![("replica".to_owned(), "b".to_owned())];
    let apart = start(&PrometheusConfig { external_labels: apart, ..config(&server.url()) });
    offer(&apart, began, 1, 5);
    assert_eq!(at_rest(&apart).await.written, 5);
    // The same again is no error: what was answered too late is sent twice.
    let again = start(&config(&server.url()));
    offer(&again, began, 2, 5);
    assert_eq!(at_rest(&again).await.written, 5);
    assert_eq!(stored(&server).await.len(), 10);
}

/// Answers as its script says, and takes everything after that.
#[derive(Default)]
struct Stub {
    script: Mutex<VecDeque<(u16, Option<&'static str>, &'static str)>>,
    /// 413 over this.
    max_body: Option<usize>,
    authorization: &'static str,
    times: Mutex<Vec<Instant>>,
    /// Labels of the series that were taken.
    series: Mutex<BTreeSet<Vec<u8>>>,
    wrong: Mutex<Vec<String>>,
}

async fn write(
    State(stub): State<Arc<Stub>>,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> (StatusCode, HeaderMap, String) {
    for (name, want) in [
        ("content-type", "application/x-protobuf"),
        ("content-encoding", "snappy"),
        ("x-prometheus-remote-write-version", "0.1.0"),
        ("authorization", stub.authorization),
        ("x-scope-orgid", "tenant"),
    ] {
        let got = headers.get(name).map_or("", |value| value.to_str().unwrap());
        if got != want {
            stub.wrong.lock().unwrap().push(format!("{name}: {got}"));
        }
    }
    if uri.path() != "/api/prom/push" {
        stub.wrong.lock().unwrap().push(uri.to_string());
    }
    stub.times.lock().unwrap().push(Instant::now());
    let too_large = stub.max_body.is_some_and(|most| body.len() > most);
    let answer = if too_large { Some((413, None, "")) } else { stub.script.lock().unwrap().pop_front() };
    let (status, retry_after, text) = answer.unwrap_or((204, None, ""));
    if status == 204 {
        let raw = snap::raw::Decoder::new().decompress_vec(&body).unwrap();
        let mut rest = raw.as_slice();
        while let [0x0a, tail @ ..] = rest {
            // A series is shorter than 16 KiB.
            let (length, bytes) = match tail {
                [low, rest @ ..] if *low < 0x80 => (usize::from(*low), rest),
                [low, high, rest @ ..] => (usize::from(*low & 0x7f) | usize::from(*high) << 7, rest),
                _ => panic!("a torn length"),
            };
            stub.series.lock().unwrap().insert(bytes[..length].to_vec());
            rest = &bytes[length..];
        }
        assert!(rest.is_empty());
    }
    let retry_after = retry_after.map(|wait| ("retry-after".parse().unwrap(), wait.parse().unwrap()));
    (StatusCode::from_u16(status).unwrap(), retry_after.into_iter().collect(), text.to_owned())
}

async fn stubbed(stub: Stub) -> (Arc<Stub>, PrometheusConfig) {
    let stub = Arc::new(stub);
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let router = axum::Router::new().fallback(write).with_state(stub.clone());
    tokio::spawn(async move { axum::serve(listener, router).await });
    let headers = vec![("X-Scope-OrgID".to_owned(), "tenant".to_owned())];
    (stub, PrometheusConfig { path: "/api/prom/push".to_owned(), headers, ..config(&url) })
}

#[tokio::test]
async fn refusals_are_tried_again_given_up_or_split_as_they_deserve() {
    let script = [
        (401, None, "no"),
        (404, None, "remote write receiver needs to be enabled"),
        (429, Some("2"), "ingestion rate limit"),
        (500, None, ""),
    ];
    let stub = Stub { script: Mutex::new(script.into()), authorization: "Bearer t", ..Stub::default() };
    let (stub, config) = stubbed(stub).await;
    let sink = start(&PrometheusConfig { token: Secret::literal("t"), ..config });
    give(&sink, 1, pods(20));
    let ledger = at_rest(&sink).await;
    let attempts = ledger.attempts;
    assert_eq!((ledger.written, attempts.refused, attempts.transient, attempts.ok), (20, 2, 2, 1), "{ledger:?}");
    let times = stub.times.lock().unwrap().clone();
    assert!(times[3] - times[2] >= Duration::from_secs(2));
    assert_eq!((stub.series.lock().unwrap().len(), &*stub.wrong.lock().unwrap()), (20, &Vec::new()));

    let stub = Stub { authorization: "Basic dTpw", max_body: Some(600), ..Stub::default() };
    let (stub, config) = stubbed(stub).await;
    let sink = start(&PrometheusConfig { username: "u".to_owned(), password: Secret::literal("p"), ..config });
    give(&sink, 1, pods(1_000));
    let ledger = at_rest(&sink).await;
    assert_eq!((ledger.written, ledger.attempts.too_large > 2), (1_000, true), "{ledger:?}");
    assert_eq!((stub.series.lock().unwrap().len(), &*stub.wrong.lock().unwrap()), (1_000, &Vec::new()));
}
