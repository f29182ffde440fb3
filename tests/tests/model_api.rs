//! The requests of those who talk to Heapster, by their exact paths, and what the model API has beside
//! them.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a failed expectation is a failed test")]

use millrace_tests::fixtures::router::Setup;
use millrace_tests::kubesim::Kubesim;
use serde_json::{Value, json};
use served::Served;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

#[allow(dead_code, reason = "each test uses a part")]
mod served;

/// Timestamps of a result.
fn times(result: &Value) -> Vec<&str> {
    result["metrics"].as_array().unwrap().iter().map(|point| point["timestamp"].as_str().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_dashboard_gets_an_item_for_each_pod_in_order_with_equal_timestamps() {
    let mut served = Served::start().await;
    served.run_to(3);
    for metric in ["cpu/usage_rate", "memory/usage"] {
        // 1.8 to 1.10 come through the service proxy with two slashes, 1.6 with one.
        for slash in ["//", "/"] {
            let path = format!("/api/v1{slash}model/namespaces/default/pod-list/web-2,nope,web-1/metrics/{metric}");
            let answer = served.json(&path).await;
            let items = answer["items"].as_array().unwrap();
            assert_eq!(items.len(), 3, "{answer}");
            assert_eq!(items[1], json!({ "metrics": [], "latestTimestamp": "0001-01-01T00:00:00Z" }));
            assert!(!times(&items[0]).is_empty(), "{answer}");
            assert_eq!(times(&items[0]), times(&items[2]), "sums need equal timestamps");
        }
        let node = served.json(&format!("/api/v1//model/nodes/node-a/metrics/{metric}")).await;
        assert_eq!(node["latestTimestamp"], "2026-11-21T09:08:20Z", "{node}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_old_autoscaler_gets_what_began_at_its_start() {
    let mut served = Served::start().await;
    served.run_to(4);
    let path = "/api/v1/model/namespaces/default/pod-list/web-1,web-2/metrics/memory/usage";
    for (start, points) in [("2026-11-21T09:03:30Z", 4), ("2026-11-21T09:08:20Z", 2), ("2026-11-21T09:13:00Z", 0)] {
        let answer = served.json(&format!("{path}?start={start}")).await;
        for item in answer["items"].as_array().unwrap() {
            assert_eq!(times(item).len(), points, "{start}: {item}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_are_listed_by_name_and_found_by_their_host_name_too() {
    let mut served = Served::start().await;
    served.run_to(2);
    assert_eq!(served.json("/api/v1/model/nodes/").await, json!(["node-a", "node-b.example.com", "node-c"]));
    for rest in ["metrics", "metrics/memory/usage", "freecontainers", "freecontainers/kubelet/metrics/memory/usage"] {
        let by_name = served.json(&format!("/api/v1/model/nodes/node-b.example.com/{rest}")).await;
        assert_eq!(by_name, served.json(&format!("/api/v1/model/nodes/host-b/{rest}")).await, "{rest}");
        let empty = by_name.as_array().map_or_else(|| times(&by_name).is_empty(), Vec::is_empty);
        assert!(!empty, "{rest}: {by_name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn labelled_metrics_are_listed_and_read() {
    let mut served = Served::start().await;
    served.run_to(2);
    let pod = "/api/v1/model/namespaces/default/pods/web-1";
    let names = served.json(&format!("{pod}/metrics-labels")).await;
    assert!(names.as_array().unwrap().contains(&json!("filesystem/usage")), "{names}");
    let sets = served.json(&format!("{pod}/metrics-labels/filesystem/usage")).await;
    let sets = sets.as_array().unwrap();
    assert!(sets.contains(&json!({ "resource_id": "Volume:data" })), "{sets:?}");
    for set in sets {
        let labels = format!("resource_id:{}", set["resource_id"].as_str().unwrap());
        let result = served.json(&format!("{pod}/metrics/filesystem/usage?labels={labels}")).await;
        assert_eq!(times(&result).len(), 2, "{labels}: {result}");
    }
    // Floats come as they are, beside the integer that old clients read.
    let node = served.json("/api/v1/model/nodes/node-a/metrics/memory/node_utilization").await;
    let point = &node["metrics"][0];
    assert_eq!(point["value"], 0, "{node}");
    assert!(point["floatValue"].as_f64().unwrap() > 0.0, "{node}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_pod_list_is_answered_and_a_longer_one_refused() {
    let mut served = Served::start().await;
    served.run_to(1);
    let path = |length: usize| {
        let (before, after) = ("/api/v1/model/namespaces/default/pod-list/web-1", "/metrics/memory/usage");
        format!("{before}{}{after}", ",web-2".repeat((length - before.len() - after.len()) / 6))
    };
    let long = served.json(&path(65_000)).await;
    assert!(long["items"].as_array().unwrap().len() > 10_000);
    // No client of ours sends such a path.
    let mut stream = TcpStream::connect(served.url.strip_prefix("http://").unwrap()).await.unwrap();
    stream.write_all(format!("GET {} HTTP/1.1\r\nhost: a\r\n\r\n", path(70_000)).as_bytes()).await.unwrap();
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 414");
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_are_compressed_for_those_who_ask() {
    let mut served = Served::start().await;
    served.run_to(2);
    for path in ["/api/v1/metric-export", "/api/v1/model/nodes/", "/api/v1/metric-export-schema"] {
        let plain = reqwest::Client::builder().no_proxy().no_gzip().build().unwrap();
        let url = format!("{}{path}", served.url);
        let packed = plain.get(&url).header("accept-encoding", "gzip").send().await.unwrap();
        assert_eq!(packed.headers()["content-encoding"], "gzip", "{path}");
        let packed = packed.bytes().await.unwrap();
        let mut text = String::new();
        std::io::Read::read_to_string(&mut flate2::read::GzDecoder::new(&*packed), &mut text).unwrap();
        assert_eq!(text, plain.get(&url).send().await.unwrap().text().await.unwrap(), "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn before_the_first_cycle_answers_are_empty() {
    let served = Served::start().await;
    assert_eq!(served.json("/api/v1/metric-export").await, Value::Null);
    assert_eq!(served.json("/api/v1/model/nodes").await, json!([]));
    let empty = json!({ "metrics": [], "latestTimestamp": "0001-01-01T00:00:00Z" });
    assert_eq!(served.json("/api/v1/model/metrics/cpu/usage_rate").await, empty);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_millrace_keeps_what_it_publishes_unless_it_is_told_not_to() {
    let sim = Kubesim::builder().size(2, 2, 1).start().await.unwrap();
    let kubelet = format!("[source.kubernetes.kubelet]\nhttps = false\nport = {}\n", sim.kubelet_port());
    let source = format!("[source.kubernetes]\napi-server = '{}'\n{kubelet}", sim.api_url());
    let config = format!("resolution = '1s'\n{source}[[sink]]\ntype = 'log'\n");
    let mut router = Setup::new(&config).start().await;
    let status = router.until("two cycles are kept", |status| status["store"]["cycles"].as_u64() >= Some(2)).await;
    let store = &status["store"];
    assert_eq!(
        (&store["sources"], &store["evicted_cycles"], &store["points_missed"]),
        (&json!(3), &json!(0), &json!(0))
    );
    let page =
        |answer: (reqwest::StatusCode, String)| (answer.0.as_u16(), serde_json::from_str::<Value>(&answer.1).ok());
    let (status, nodes) = page(router.page("/api/v1//model/nodes").await);
    assert_eq!((status, nodes), (200, Some(json!([sim.node_name(0), sim.node_name(1)]))));
    let (status, usage) =
        page(router.page(&format!("/api/v1/model/nodes/{}/metrics/memory/usage", sim.node_name(1))).await);
    assert!(status == 200 && times(&usage.unwrap()).len() >= 2);
    assert!(router.metrics().await["millrace_store_points"] > 0.0);
    router.stop().await;

    let router = Setup::new(&format!("{config}[store]\nkeep = '0s'\n")).start().await;
    for path in ["/api/v1/model/nodes", "/api/v1/metric-export"] {
        let (status, text) = router.page(path).await;
        assert!(status.as_u16() == 404 && text.contains("nothing is kept"), "{path}: {text}");
    }
    router.stop().await;
    let router = Setup::new(&format!("{config}[http]\nmetric-export = false\n")).start().await;
    assert_eq!(page(router.page("/api/v1/metric-export").await), (200, Some(json!([]))));
    router.stop().await;
}
