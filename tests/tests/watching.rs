//! What an operator watches a running Millrace with: its metrics, its pages about rules.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a failed expectation is a failed test")]

use millrace_tests::fixtures::guests::guest;
use millrace_tests::fixtures::router::{Router, Setup};
use millrace_tests::kubesim::Kubesim;
use reqwest::StatusCode;
use serde_json::{Value, json};

const NODES: usize = 3;

async fn cluster() -> Kubesim {
    Kubesim::builder().size(NODES, 2, 1).start().await.unwrap()
}

/// A cycle a second with the rules of the folder `rules`.
fn setup(sim: &Kubesim) -> Setup {
    Setup::new(&format!(
        "resolution = '1s'\n[source.kubernetes]\napi-server = '{}'\n[source.kubernetes.kubelet]\nhttps = false\n\
         port = {}\n[rules]\ndir = 'FOLDER/rules'\n[[sink]]\ntype = 'log'\n",
        sim.api_url(),
        sim.kubelet_port(),
    ))
}

async fn json_page(router: &Router, path: &str) -> (StatusCode, Value) {
    let (status, text) = router.page(path).await;
    (status, serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}")))
}

#[tokio::test(flavor = "multi_thread")]
async fn rules_are_shown_in_order_and_by_name() {
    let sim = cluster().await;
    let setup = setup(&sim).file("rules/60-gives-up.wasm", guest("gives_up")).file("rules/60-gives-up.toml", "");
    let mut router = setup.start().await;
    let (_, before) = json_page(&router, "/api/v1/rules").await;
    assert_eq!(before["rules"].as_array().map(Vec::len), Some(2), "they are there before the first cycle: {before}");
    router.cycle(2).await;

    let (status, all) = json_page(&router, "/api/v1/rules").await;
    assert_eq!(status, StatusCode::OK);
    assert!(all["cycle"].as_u64() >= Some(2), "{all}");
    let names: Vec<_> = all["rules"].as_array().unwrap().iter().map(|rule| (&rule["order"], &rule["name"])).collect();
    assert_eq!(names, [(&json!(1), &json!("heapster")), (&json!(2), &json!("gives-up"))]);

    let (status, heapster) = json_page(&router, "/api/v1/rules/heapster").await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(heapster["limits"], json!({ "memory_bytes": 512 << 20, "process_ms": 1000, "finish_ms": 5000 }));
    assert_eq!((&heapster["slot"], &heapster["order"]), (&json!("50-heapster.wasm"), &json!(1)));
    assert!(heapster["digest"].as_str().unwrap().starts_with("sha256:"), "{heapster}");
    assert!(heapster["memory_bytes"].as_u64().unwrap() > 0);
    let (stats, time) = (&heapster["stats"], &heapster["stats"]["process_time"]);
    assert_eq!(time["calls"], stats["process_calls"]);
    assert!(time["p99_us"].as_f64().unwrap() >= time["p50_us"].as_f64().unwrap(), "{time}");
    assert!(stats["points_in"].as_u64().unwrap() > 0 && stats["points_added"].as_u64().unwrap() > 0, "{stats}");

    let (_, gives_up) = json_page(&router, "/api/v1/rules/gives-up").await;
    assert!(gives_up["stats"]["faults"]["fatal"].as_u64().unwrap() > 0, "{gives_up}");

    let (status, unknown) = json_page(&router, "/api/v1/rules/no%0Asuch").await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    assert_eq!(unknown["rules"], json!(["heapster", "gives-up"]));
    assert_eq!(unknown["error"], "there is no rule `no\\nsuch`; there are: heapster, gives-up");
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_come_in_the_format_that_the_scraper_asks_for() {
    let sim = cluster().await;
    let mut router = setup(&sim).file("rules/.keep", "").start().await;
    router.cycle(2).await;
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let scrape = async |accept: &str| {
        let url = format!("http://{}/metrics", router.address());
        let answer = client.get(url).header("accept", accept).send().await.unwrap();
        let kind = answer.headers()["content-type"].to_str().unwrap().to_owned();
        (kind, answer.text().await.unwrap())
    };
    let (kind, page) = scrape("application/openmetrics-text;version=1.0.0;q=0.6,text/plain;version=0.0.4;q=0.3").await;
    assert_eq!(kind, "application/openmetrics-text; version=1.0.0; charset=utf-8");
    assert!(page.ends_with("# EOF\n") && page.contains("# UNIT millrace_rule_duration_seconds seconds\n"), "{page}");
    let (kind, page) = scrape("*/*").await;
    assert_eq!(kind, "text/plain; version=0.0.4; charset=utf-8");
    assert!(page.contains("# TYPE millrace_cycles_total counter\n") && !page.contains("# EOF"), "{page}");

    let metrics = router.metrics().await;
    assert_eq!(metrics[&format!("millrace_build_info{{version=\"{}\"}}", env!("CARGO_PKG_VERSION"))], 1.0);
    for call in ["process", "finish", "apply"] {
        let labels = format!("rule=\"heapster\",call=\"{call}\"");
        let count = metrics[&format!("millrace_rule_duration_seconds_count{{{labels}}}")];
        let all = metrics[&format!("millrace_rule_duration_seconds_bucket{{le=\"+Inf\",{labels}}}")];
        assert!(count >= 1.0 && count == all, "{call}: {count} of {all}");
    }
    router.stop().await;
}
