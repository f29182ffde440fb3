//! The write API of InfluxDB 2: what a real VictoriaMetrics stores is what a real InfluxDB 1.x stores by its own API;
//! a strict stub checks every request and gives the answers that VictoriaMetrics never gives.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a failed expectation is a failed test")]

use std::collections::{BTreeMap, VecDeque};
use std::io::Read as _;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::body::Bytes;
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, HeaderName, StatusCode};
use axum::routing::{get, post};
use millrace::config::Secret;
use millrace::sinks::influxdb::{Api, Influxdb, InfluxdbConfig};
use millrace::sinks::{Common, DropReason, SinkHandle};
use millrace_tests::fixtures::influxd::Influxd;
use millrace_tests::fixtures::router::Setup;
use millrace_tests::fixtures::victoria::Victoria;
use millrace_tests::kubesim::Kubesim;
use serde_json::json;
use sunk::{at_rest, give, pods, until};
use url::Url;

#[allow(dead_code, reason = "each test uses a part")]
mod sunk;

/// Name, tags and time in ms.
type Place = (String, BTreeMap<String, String>, i64);

/// Everything that an InfluxDB 1.x has in a database.
async fn stored_by_influxd(server: &Influxd, database: &str) -> BTreeMap<Place, f64> {
    let mut stored = BTreeMap::new();
    for (name, row) in server.named_rows(database, "SELECT * FROM /.*/ GROUP BY *").await {
        let text = |value: &serde_json::Value| value.as_str().map(str::to_owned);
        let tags = row.iter().filter_map(|(key, value)| Some((key.clone(), text(value).filter(|it| !it.is_empty())?)));
        let time = row["time"].as_i64().unwrap() / 1_000_000;
        stored.insert((name, tags.collect(), time), row["value"].as_f64().unwrap());
    }
    stored
}

async fn stored_by_victoria(server: &Victoria) -> BTreeMap<Place, f64> {
    let mut stored = BTreeMap::new();
    for mut series in server.export().await {
        let name = series.metric.remove("__name__").unwrap();
        let name = name.strip_suffix("_value").unwrap_or_else(|| panic!("{name}")).to_owned();
        for (value, time) in series.values.iter().zip(&series.timestamps) {
            let place = (name.clone(), series.metric.clone(), *time);
            assert_eq!(stored.insert(place, *value), None, "{name} {:?} {time} stands twice", series.metric);
        }
    }
    stored
}

#[tokio::test(flavor = "multi_thread")]
async fn every_point_that_millrace_writes_by_v2_is_read_back() {
    let (victoria, influxd) = (Victoria::start().await, Influxd::start().await);
    let sim = Kubesim::builder().size(3, 4, 2).start().await.unwrap();
    let config = format!(
        "resolution = '1s'\n[source.kubernetes]\napi-server = '{}'\n[source.kubernetes.kubelet]\nhttps = false\n\
         port = {}\n[[sink]]\ntype = 'influxdb'\nurl = '{}'\ntoken-file = 'FOLDER/token'\norg = 'an org'\n\
         bucket = 'k8s/autogen'\n",
        sim.api_url(),
        sim.kubelet_port(),
        victoria.url(),
    );
    let beside = format!("--sink=influxdb:{}?user=", influxd.url());
    let mut router = Setup::new(&config).file("token", "s3cret\n").start_with(&[&beside]).await;
    router.cycle(3).await;
    let lines = router.log();
    let answers: Vec<_> = lines.iter().filter(|line| line["message"] == "influxdb answers").collect();
    assert_eq!(answers.len(), 2, "{answers:?}");
    let apis: Vec<_> = answers.iter().map(|line| (line["version"].clone(), line["api"].clone())).collect();
    assert!(apis.contains(&(json!("unknown"), json!("v2"))), "{apis:?}");
    assert!(apis.contains(&(json!("1.6.7~rc0"), json!("v1"))) || apis.len() == 2, "{apis:?}");
    let outcome = router.stop().await;
    assert!(!outcome.stderr.contains("s3cret"));

    let closed: Vec<serde_json::Value> =
        outcome.stderr.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let written: Vec<_> =
        closed.iter().filter(|line| line["message"] == "sink closed").map(|line| line["written"].as_u64()).collect();
    let (ours, theirs) = (stored_by_victoria(&victoria).await, stored_by_influxd(&influxd, "k8s").await);
    assert!(ours.len() > 500, "{}", ours.len());
    assert_eq!(written, [Some(ours.len() as u64); 2], "each point has a place of its own");
    assert_eq!(ours.keys().collect::<Vec<_>>(), theirs.keys().collect::<Vec<_>>());
    for (place, value) in &ours {
        let want = theirs[place];
        // VictoriaMetrics keeps decimals.
        assert!((value - want).abs() <= want.abs() * 1e-12, "{place:?}: {value}, not {want}");
    }
}

/// What the stub answers next.
#[derive(Clone)]
struct Scripted(u16, &'static [(&'static str, &'static str)], &'static str);

/// Speaks the v2 API and nothing else; whatever is wrong in a request ends up in `wrong`.
#[derive(Default)]
struct Stub {
    script: Mutex<VecDeque<Scripted>>,
    /// 413 over this, compressed bytes.
    max_body: Option<usize>,
    version: Option<&'static str>,
    /// `Authorization` of every request.
    token: &'static str,
    query: &'static str,
    gzip: bool,
    /// Lines that were taken, in the order of their coming.
    lines: Mutex<Vec<String>>,
    /// When each request came, and what it was answered.
    times: Mutex<Vec<(Instant, u16)>>,
    wrong: Mutex<Vec<String>>,
}

impl Stub {
    async fn serve(self: &Arc<Self>) -> InfluxdbConfig {
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let router = axum::Router::new()
            .route("/ping", get(ping))
            .route("/health", get(health))
            .route("/api/v2/write", post(write))
            .with_state(self.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        InfluxdbConfig::at(Url::parse(&url).unwrap())
    }

    fn check(&self, what: &str, right: bool) {
        if !right {
            self.wrong.lock().unwrap().push(what.to_owned());
        }
    }

    fn taken(&self) -> usize {
        assert_eq!(*self.wrong.lock().unwrap(), Vec::<String>::new());
        self.lines.lock().unwrap().len()
    }
}

async fn ping(State(stub): State<Arc<Stub>>) -> (StatusCode, HeaderMap) {
    let version = stub.version.map(|version| ("x-influxdb-version".parse().unwrap(), version.parse().unwrap()));
    (StatusCode::NO_CONTENT, version.into_iter().collect())
}

/// As InfluxDB 2 says it; only who gets no version by `/ping` asks.
async fn health() -> &'static str {
    r#"{"name":"influxdb","message":"ready for queries and writes","status":"pass","checks":[],"version":"v2.7.11"}"#
}

async fn write(
    State(stub): State<Arc<Stub>>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: Bytes,
) -> (StatusCode, HeaderMap, String) {
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    stub.check("query", query.as_deref() == Some(stub.query));
    stub.check("authorization", header("authorization") == stub.token);
    stub.check("content-type", header("content-type") == "text/plain; charset=utf-8");
    stub.check("content-encoding", header("content-encoding") == if stub.gzip { "gzip" } else { "" });
    let too_large = stub.max_body.is_some_and(|most| body.len() > most);
    let mut text = String::new();
    if stub.gzip {
        let read = flate2::read::GzDecoder::new(&*body).read_to_string(&mut text);
        stub.check("gzip", read.is_ok());
    } else {
        text = String::from_utf8(body.to_vec()).unwrap();
    }
    stub.check("the last line ends", text.ends_with('\n'));
    for line in text.lines() {
        stub.check(line, is_line(line));
    }
    let scripted = if too_large { Some(Scripted(413, &[], "")) } else { stub.script.lock().unwrap().pop_front() };
    let Scripted(status, headers, answer) = scripted.unwrap_or(Scripted(204, &[], ""));
    stub.times.lock().unwrap().push((Instant::now(), status));
    if status == 204 {
        stub.lines.lock().unwrap().extend(text.lines().map(str::to_owned));
    }
    let headers = headers.iter().map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap())).collect();
    (StatusCode::from_u16(status).unwrap(), headers, answer.to_owned())
}

/// `measurement,tag=value,… field=1i,field=0.5 TIME`, with a backslash before what means something else.
fn is_line(line: &str) -> bool {
    let parts = split(line, ' ');
    let [key, fields, time] = &parts[..] else { return false };
    let tags = split(key, ',');
    let number = |value: &str| match value.strip_suffix('i') {
        Some(int) => int.parse::<i64>().is_ok(),
        None => value.parse::<f64>().is_ok_and(f64::is_finite),
    };
    let pairs = |texts: &[String], good: &dyn Fn(&str) -> bool| {
        texts.iter().all(|text| {
            let pair = split(text, '=');
            pair.len() == 2 && !pair[0].is_empty() && good(&pair[1])
        })
    };
    let sorted = tags[1..].is_sorted_by_key(|tag| split(tag, '=')[0].clone());
    !tags[0].is_empty()
        && pairs(&tags[1..], &|value| !value.is_empty())
        && sorted
        && pairs(&split(fields, ','), &number)
        && time.len() == 19
        && time.bytes().all(|byte| byte.is_ascii_digit())
}

/// The pieces between separators that no backslash stands before.
fn split(text: &str, separator: char) -> Vec<String> {
    let (mut pieces, mut escaped) = (vec![String::new()], false);
    for character in text.chars() {
        if character == separator && !escaped {
            pieces.push(String::new());
            continue;
        }
        escaped = character == '\\' && !escaped;
        pieces.last_mut().unwrap().push(character);
    }
    pieces
}

const TOKEN: &str = "Token a-secret==";
const QUERY: &str = "org=o&bucket=b%2Frp&precision=ns";

fn stub() -> Stub {
    Stub { token: TOKEN, query: QUERY, gzip: true, ..Stub::default() }
}

async fn started(stub: &Arc<Stub>) -> SinkHandle {
    let config = InfluxdbConfig {
        token: Secret::literal("a-secret=="),
        org: "o".to_owned(),
        bucket: Some("b/rp".to_owned()),
        ..stub.serve().await
    };
    start(&config)
}

fn start(config: &InfluxdbConfig) -> SinkHandle {
    Influxdb::start("influxdb", config, Common::default()).unwrap()
}

#[tokio::test]
async fn what_an_operator_has_to_mend_is_said_and_nothing_is_lost_meanwhile() {
    for (answer, said) in [
        (
            Scripted(401, &[], r#"{"code":"unauthorized","message":"unauthorized access"}"#),
            "401: unauthorized access; check `token`",
        ),
        (
            Scripted(403, &[], r#"{"code":"forbidden","message":"insufficient permissions"}"#),
            "403: insufficient permissions; check that `token` may write to the bucket",
        ),
        (
            Scripted(404, &[], r#"{"code":"not found","message":"bucket \"b/rp\" not found"}"#),
            "404: bucket \"b/rp\" not found; make the bucket in InfluxDB, or check `bucket` and `org`",
        ),
    ] {
        let stub = Arc::new(stub());
        stub.script.lock().unwrap().push_back(answer);
        let sink = started(&stub).await;
        give(&sink, 0, pods(20));
        let ledger = at_rest(&sink).await;
        assert_eq!((ledger.written, ledger.attempts.refused, ledger.attempts.ok), (20, 1, 1), "{ledger:?}");
        assert_eq!(ledger.last_error.unwrap().message, said);
        assert_eq!(stub.taken(), 20);
    }
}

#[tokio::test]
async fn what_the_server_refuses_for_good_is_counted_by_its_reason() {
    let partial = r#"{"code":"unprocessable entity","message":"failure writing points to database: partial write: field type conflict: input field \"value\" on measurement \"uptime\" is type integer, already exists as type float dropped=3"}"#;
    let expired = r#"{"code":"unprocessable entity","message":"failure writing points to database: partial write: points beyond retention policy dropped=4"}"#;
    let cloud = r#"{"code":"invalid","message":"partial write error (15 written): unable to parse 'x'"}"#;
    for (answer, reason, dropped) in [
        (
            Scripted(400, &[], r#"{"code":"invalid","message":"unable to parse 'x': missing fields"}"#),
            DropReason::Rejected,
            20,
        ),
        (Scripted(422, &[], r#"{"code":"unprocessable entity","message":"no"}"#), DropReason::Rejected, 20),
        (Scripted(422, &[], partial), DropReason::Partial, 3),
        (Scripted(500, &[], partial), DropReason::Partial, 3),
        (Scripted(422, &[], expired), DropReason::Expired, 4),
        (Scripted(400, &[], cloud), DropReason::Partial, 5),
    ] {
        let stub = Arc::new(stub());
        stub.script.lock().unwrap().push_back(answer.clone());
        let sink = started(&stub).await;
        give(&sink, 0, pods(20));
        let ledger = at_rest(&sink).await;
        assert_eq!((ledger.dropped_by(reason), ledger.written), (dropped, 20 - dropped), "{}: {ledger:?}", answer.2);
        assert_eq!(stub.taken(), 0);
    }
}

#[tokio::test]
async fn a_throttling_server_is_left_alone_for_as_long_as_it_asks_and_gets_all_in_order() {
    let stub = Arc::new(stub());
    let busy = r#"{"code":"too many requests","message":"rate limited"}"#;
    stub.script.lock().unwrap().extend([
        Scripted(429, &[("retry-after", "2")], busy),
        Scripted(503, &[], ""),
        Scripted(500, &[], r#"{"code":"internal error","message":"x"}"#),
    ]);
    let sink = started(&stub).await;
    for number in 0..3 {
        give(&sink, number, pods(20));
    }
    let ledger = at_rest(&sink).await;
    assert_eq!((ledger.written, ledger.attempts.transient), (60, 3), "{ledger:?}");
    assert_eq!(stub.taken(), 60);
    let times = stub.times.lock().unwrap().clone();
    assert_eq!(times.iter().map(|(_, status)| *status).collect::<Vec<_>>()[..4], [429, 503, 500, 204]);
    let waited = times[1].0 - times[0].0;
    assert!(waited >= Duration::from_secs(2), "{waited:?}");
    let lines = stub.lines.lock().unwrap();
    assert!(lines.is_sorted_by_key(|line| line.rsplit(' ').next().unwrap().to_owned()), "in the order of time");
}

#[tokio::test]
async fn a_body_too_large_for_the_server_is_split() {
    let stub = Arc::new(Stub { max_body: Some(800), ..stub() });
    let sink = started(&stub).await;
    give(&sink, 0, pods(1_000));
    let ledger = at_rest(&sink).await;
    assert_eq!((ledger.written, ledger.attempts.too_large > 2), (1_000, true), "{ledger:?}");
    assert_eq!(stub.taken(), 1_000);
}

#[tokio::test]
async fn the_server_says_which_api_it_has() {
    for version in [Some("v2.7.11"), Some("3.1.0"), None] {
        let stub = Stub { token: "Token u:p", query: "org=&bucket=k8s&precision=ns", version, ..Stub::default() };
        let stub = Arc::new(stub);
        let config = InfluxdbConfig {
            username: "u".to_owned(),
            password: Secret::literal("p"),
            gzip: None,
            ..stub.serve().await
        };
        let sink = start(&config);
        give(&sink, 0, pods(20));
        assert_eq!(at_rest(&sink).await.written, 20);
        assert_eq!(stub.taken(), 20);
    }
    // VictoriaMetrics says nothing of itself, and has both.
    let victoria = Victoria::start().await;
    let sink = start(&InfluxdbConfig::at(Url::parse(&victoria.url()).unwrap()));
    give(&sink, 0, pods(20));
    assert_eq!(at_rest(&sink).await.written, 20);
    assert_eq!(stored_by_victoria(&victoria).await.len(), 20);
}

#[tokio::test]
async fn a_server_without_the_v2_api_is_told_apart() {
    let server = Influxd::start().await;
    let config = InfluxdbConfig::at(Url::parse(&server.url()).unwrap());
    let sink = start(&InfluxdbConfig { api: Api::V2, ..config.clone() });
    give(&sink, 0, pods(20));
    let ledger = until(&sink, "refused", |ledger| ledger.attempts.refused > 0).await;
    assert_eq!(ledger.queued, 20);
    let message = ledger.last_error.unwrap().message;
    assert!(message.contains("has this server /api/v2/write?"), "{message}");
    // Asked, it says so itself.
    let sink = start(&config);
    give(&sink, 0, pods(20));
    assert_eq!(at_rest(&sink).await.written, 20);
    assert_eq!(stored_by_influxd(&server, "k8s").await.len(), 20);
}
