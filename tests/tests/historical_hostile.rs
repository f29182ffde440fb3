//! Hostile and malformed requests to the historical API, and databases that are no help.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a failed expectation is a failed test")]

use std::time::{Duration, Instant};

use millrace_tests::fixtures::influxd::{Influxd, Options};
use past::{BEGIN, PAST, cluster, json, reader, refused, setup, ten_points};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

#[allow(dead_code, reason = "each test uses a part")]
mod past;

/// Every byte but letters and digits as a percent code.
fn encoded(name: &str) -> String {
    let plain =
        |byte: u8| if byte.is_ascii_alphanumeric() { char::from(byte).to_string() } else { format!("%{byte:02X}") };
    name.bytes().map(plain).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn names_that_look_like_queries_are_names() {
    let (sim, server) = (cluster().await, Influxd::start().await);
    ten_points(&server).await;
    let odd = "it's \"a\" \\pod; --";
    let line = format!(
        "uptime,type=pod,namespace_name=ns,pod_name=it's\\ \"a\"\\ \\pod;\\ -- value=7i {}",
        BEGIN * 1_000_000_000
    );
    server.write("k8s", &line).await;
    let router = reader(&sim, &server.url(), "").await;
    let since = "start=2023-11-14T22:14:00Z";
    let found = json(&router, &format!("{PAST}/namespaces/ns/pods/{}/metrics/uptime?{since}", encoded(odd))).await;
    assert_eq!(found["metrics"][0]["value"], 7, "{found}");
    let pods = json(&router, &format!("{PAST}/namespaces/ns/pods")).await;
    assert_eq!(pods, json!([odd, "p"]));

    for name in [
        "x'; DROP DATABASE k8s; --",
        "x\\'; DROP DATABASE k8s; --",
        "x\"; DROP DATABASE \"k8s",
        "x\\\"; DROP DATABASE \"k8s",
        "' OR 'a' = 'a",
        "x' OR \"type\" = 'pod",
        "/.*/",
        "\\",
        "'",
        "\"",
        "$x",
        "é\u{2028}\u{feff}",
        "-- x",
        "/* x",
    ] {
        let name = encoded(name);
        for path in [
            format!("/namespaces/{name}/pods/{name}/metrics/memory/usage?{since}"),
            format!("/namespaces/ns/pods/p/metrics/{name}?{since}"),
            format!("/namespaces/ns/pods/p/metrics/memory/usage?{since}&labels={name}:{name}"),
            format!("/nodes/{name}/freecontainers/{name}/metrics-aggregated/max/{name}?{since}&bucket=1d"),
            format!("/pod-id-list/{name}/metrics-aggregated/max/memory/usage?{since}"),
            format!("/namespaces/{name}/pods"),
            format!("/nodes/{name}/metrics"),
        ] {
            let answer = json(&router, &format!("{PAST}{path}")).await.to_string();
            assert!(
                !answer.contains("\"value\"") && !answer.contains("maximum") && !answer.contains("usage"),
                "{path}: {answer}"
            );
        }
    }
    let databases = server.rows("", "SHOW DATABASES").await;
    assert!(databases.iter().any(|row| row["name"] == "k8s"), "{databases:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_malformed_or_too_much_is_refused_with_a_reason() {
    let (sim, server) = (cluster().await, Influxd::start().await);
    ten_points(&server).await;
    // More than there may be of each pod where 500 are asked for.
    let time = BEGIN * 1_000_000_000;
    let lines: String = (0..201)
        .map(|more| format!("uptime,type=pod,namespace_name=ns,pod_name=q value=1i {}\n", time + more))
        .collect();
    server.write("k8s", &lines).await;
    let router = reader(&sim, &server.url(), "").await;
    let (pod, since) = (format!("{PAST}/namespaces/ns/pods/p"), "start=2023-11-14T22:14:00Z");
    let list = |pods: usize| format!("{PAST}/namespaces/ns/pod-list/q{}/metrics/uptime?{since}", ",q".repeat(pods - 1));
    for (path, status, says) in [
        (format!("{pod}/metrics/uptime"), 400, "no start time (or a start time of zero) provided"),
        (format!("{pod}/metrics/uptime?start=yesterday"), 400, "timestamp argument cannot be parsed"),
        (format!("{pod}/metrics/uptime?{since}&labels=x"), 400, "invalid label pair"),
        (format!("{pod}/metrics-aggregated/mode/uptime?{since}"), 400, "Unknown aggregation"),
        (format!("{pod}/metrics-aggregated/max/uptime?{since}&bucket=1w"), 400, "unable to parse bucket size"),
        (format!("{pod}/metrics-aggregated/max/uptime?{since}&bucket=1ms"), 400, "use a larger bucket"),
        (format!("{pod}/metrics/up%00time?{since}"), 400, "control characters"),
        (list(500), 400, "ask for a shorter time"),
        (list(501), 400, "501 pods are too many"),
        (format!("{PAST}/debug/allkeys"), 404, "404"),
        (PAST.to_owned(), 404, "404"),
    ] {
        refused(&router, &path, status, says).await;
    }
    assert_eq!(json(&router, &list(400)).await["items"].as_array().unwrap().len(), 400);
    let empty = json(&router, &format!("{pod}/metrics/uptime?{since}&end=2023-11-14T22:13:00Z")).await;
    assert_eq!(empty, json!({ "metrics": [], "latestTimestamp": "0001-01-01T00:00:00Z" }));

    let none = setup(&sim, "[[sink]]\ntype = 'log'\n").start().await;
    refused(&none, &format!("{PAST}/nodes"), 404, "there is no historical source").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_is_no_help_is_these_routes_trouble_alone() {
    let sim = cluster().await;
    let admin = Some(("root".to_owned(), "right".to_owned()));
    let mut server = Influxd::start_with(Options { admin, https: true, ..Options::default() }).await;
    let nodes = format!("{PAST}/nodes");
    let authority = format!("certificate-authority = '{}'\nusername = 'root'\n", server.certificate().display());

    let wrong = reader(&sim, &server.url(), &format!("{authority}password = 'wrong'")).await;
    refused(&wrong, &nodes, 500, "check `username`, `password`").await;
    let mut router = reader(&sim, &server.url(), &format!("{authority}password = 'right'")).await;
    refused(&router, &nodes, 500, "database not found").await;
    server.query("", "CREATE DATABASE k8s").await;
    assert_eq!(json(&router, &nodes).await, json!([]));
    let strangers = reader(&sim, &server.url(), "").await;
    refused(&strangers, &nodes, 503, "certificate").await;

    server.kill().await;
    refused(&router, &nodes, 503, "InfluxDB does not answer").await;
    router.logged(|line| line["message"] == "the historical API can't be answered").await;
    router.cycles(1).await;
    assert_eq!(router.page("/healthz").await.0.as_u16(), 200);
    server.start_again().await;
    assert_eq!(json(&router, &nodes).await, json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn silence_and_endless_answers_end() {
    let sim = cluster().await;
    let silent = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let url = format!("http://{}", silent.local_addr().unwrap());
    let router = reader(&sim, &url, "timeout = '1s'").await;
    let nodes = format!("{PAST}/nodes");
    let begun = Instant::now();
    // More than have a turn at one time.
    let asked: Vec<_> = (0..12).map(|_| router.page(&nodes)).collect();
    for (status, text) in futures::future::join_all(asked).await {
        assert_eq!(status.as_u16(), 503, "{text}");
        assert!(text.contains("not within 1s") || text.contains("try again later"), "{text}");
    }
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());

    let endless = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let url = format!("http://{}", endless.local_addr().unwrap());
    let serving = tokio::spawn(async move {
        while let Ok((mut stream, _)) = endless.accept().await {
            let _ = stream.read(&mut [0; 4096]).await;
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await;
            while stream.write_all(&[b' '; 1 << 16]).await.is_ok() {}
        }
    });
    let router = reader(&sim, &url, "").await;
    refused(&router, &nodes, 400, "the answer would be over 16 MiB").await;
    serving.abort();
}
