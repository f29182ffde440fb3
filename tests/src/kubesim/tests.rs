//! The whole cluster through a real client.

use std::{net::Ipv4Addr, time::Instant};

use futures::StreamExt as _;
use reqwest::{Client, StatusCode};

use super::{config::ORIGIN, *};

const AT: i64 = ORIGIN + 20_000_000;
const PATIENCE: Duration = Duration::from_secs(20);

fn client(sim: &Kubesim) -> Client {
    // Another test may have installed the provider already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut headers = http::HeaderMap::new();
    if let Some(token) = sim.token() {
        headers.insert(http::header::AUTHORIZATION, format!("Bearer {token}").parse().unwrap());
    }
    let mut builder = Client::builder().no_proxy().default_headers(headers);
    if let Some(pem) = sim.ca_pem() {
        builder = builder.tls_certs_only([reqwest::Certificate::from_pem(pem.as_bytes()).unwrap()]);
    }
    builder.build().unwrap()
}

async fn get(client: &Client, url: String) -> (StatusCode, String) {
    let answer = client.get(&url).timeout(PATIENCE).send().await.unwrap_or_else(|error| panic!("{url}: {error:?}"));
    (answer.status(), answer.text().await.unwrap())
}

async fn json(client: &Client, url: String) -> Value {
    let (status, text) = get(client, url).await;
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{status} {error}: {text}"))
}

/// The events of a watch, one at a time.
struct Events {
    stream: futures::stream::BoxStream<'static, reqwest::Result<bytes::Bytes>>,
    buffer: Vec<u8>,
}

impl Events {
    async fn of(client: &Client, url: String) -> Self {
        let answer = client.get(url).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
        Self { stream: answer.bytes_stream().boxed(), buffer: Vec::new() }
    }

    /// `None` at the end of the stream.
    async fn next(&mut self) -> Option<Value> {
        loop {
            if let Some(end) = self.buffer.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.buffer.drain(..=end).collect();
                return Some(serde_json::from_slice(&line).unwrap());
            }
            let piece = tokio::time::timeout(PATIENCE, self.stream.next()).await.expect("the watch says nothing");
            self.buffer.extend_from_slice(&piece?.unwrap());
        }
    }

    async fn until(&mut self, kind: &str) -> Vec<Value> {
        let mut all = Vec::new();
        while let Some(event) = self.next().await {
            let found = event["type"] == kind;
            all.push(event);
            if found {
                break;
            }
        }
        all
    }
}

fn version_of(value: &Value) -> u64 {
    value["metadata"]["resourceVersion"].as_str().unwrap().parse().unwrap()
}

#[tokio::test]
async fn lists_come_whole_and_in_pages_of_one_state() {
    let sim = Kubesim::builder().size(4, 10, 1).frozen_at(AT).start().await.unwrap();
    let client = client(&sim);
    let url = format!("{}/api/v1/pods", sim.api_url());
    let whole = json(&client, format!("{url}?resourceVersion=0&limit=7")).await;
    assert_eq!(whole["kind"], "PodList");
    assert_eq!(whole["items"].as_array().unwrap().len(), 40, "a list from the cache knows no limit");
    let first = json(&client, format!("{url}?limit=15")).await;
    assert_eq!(first["metadata"]["remainingItemCount"], 25);
    sim.put(Resource::Pods, serde_json::json!({"metadata": {"name": "zz", "namespace": "zz"}})).unwrap();
    let mut names: Vec<_> = first["items"].as_array().unwrap().clone();
    let mut page = first.clone();
    while let Some(token) = page["metadata"]["continue"].as_str() {
        page = json(&client, format!("{url}?limit=15&continue={token}")).await;
        assert_eq!(version_of(&page), version_of(&first));
        names.extend(page["items"].as_array().unwrap().iter().cloned());
    }
    assert_eq!(names.len(), 40, "the pod that came later is not in it");
    let token = first["metadata"]["continue"].as_str().unwrap();
    sim.expire_history();
    let (status, text) = get(&client, format!("{url}?limit=15&continue={token}")).await;
    assert_eq!(status, StatusCode::GONE);
    let expired: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(expired["reason"], "Expired");
    let rest = expired["metadata"]["continue"].as_str().unwrap();
    let rest = json(&client, format!("{url}?continue={rest}")).await;
    assert_eq!(rest["items"].as_array().unwrap().len(), 26, "the rest, from the newest state");
}

#[tokio::test]
async fn requests_are_selected_and_refused_as_by_a_real_server() {
    let sim = Kubesim::builder().size(4, 10, 1).frozen_at(AT).start().await.unwrap();
    let client = client(&sim);
    let newest = sim.resource_version();
    for (path, status, items) in [
        ("/api/v1/nodes", 200, Some(4)),
        ("/api/v1/namespaces", 200, Some(4)),
        ("/api/v1/pods?fieldSelector=spec.nodeName%3Dnode-00002", 200, Some(10)),
        ("/api/v1/pods?fieldSelector=status.phase%3DRunning", 200, Some(40)),
        ("/api/v1/pods?labelSelector=k8s-app", 200, Some(4)),
        ("/api/v1/namespaces/kube-system/pods", 200, Some(4)),
        ("/api/v1/pods?fieldSelector=spec.nope%3D1", 400, None),
        ("/api/v1/pods?resourceVersion=x", 400, None),
        (&format!("/api/v1/pods?resourceVersion={}", newest + 1), 504, None),
        ("/api/v1/pods?resourceVersion=1&resourceVersionMatch=Exact", 410, None),
        ("/api/v1/pods?continue=x", 400, None),
        ("/api/v1/nodes/node-00001", 200, None),
        ("/api/v1/nodes/nobody", 404, None),
        ("/api/v1/secrets", 404, None),
        ("/api/v1/pods?watch=true&sendInitialEvents=true", 422, None),
        ("/version", 200, None),
        ("/apis", 200, None),
    ] {
        let (got, text) = get(&client, format!("{}{path}", sim.api_url())).await;
        assert_eq!(got.as_u16(), status, "{path}: {text}");
        let body: Value = serde_json::from_str(&text).unwrap();
        if let Some(items) = items {
            assert_eq!(body["items"].as_array().unwrap().len(), items, "{path}");
        } else if status != 200 {
            assert_eq!((&body["kind"], &body["code"]), (&"Status".into(), &status.into()), "{path}");
        }
    }
    sim.api_fails_with(Some(503));
    assert_eq!(get(&client, format!("{}/api/v1/nodes", sim.api_url())).await.0, StatusCode::SERVICE_UNAVAILABLE);
}

#[tokio::test]
async fn watches_tell_every_change_after_their_version() {
    let start = Kubesim::builder().size(5, 20, 2).frozen_at(AT);
    let sim = start.configure(|config| (config.churn, config.restarts) = (30.0, 10.0)).start().await.unwrap();
    let client = client(&sim);
    let url = format!("{}/api/v1/pods", sim.api_url());
    let mut known = std::collections::BTreeMap::new();
    let key = |pod: &Value| format!("{}/{}", pod["metadata"]["namespace"], pod["metadata"]["name"]);
    let list = json(&client, url.clone()).await;
    for pod in list["items"].as_array().unwrap() {
        known.insert(key(pod), pod["metadata"]["uid"].clone());
    }
    let mut events = Events::of(&client, format!("{url}?watch=true&resourceVersion={}", version_of(&list))).await;
    sim.advance(120);
    let newest = sim.resource_version();
    let mut kinds = std::collections::BTreeMap::new();
    let mut last = version_of(&list);
    // The newest version may be a node's; the last pod event is known by listing again.
    let list = json(&client, url.clone()).await;
    assert_eq!(version_of(&list), newest);
    let want: std::collections::BTreeMap<_, _> =
        list["items"].as_array().unwrap().iter().map(|pod| (key(pod), pod["metadata"]["uid"].clone())).collect();
    let last_change = list["items"].as_array().unwrap().iter().map(version_of).max().unwrap();
    while last < last_change {
        let event = events.next().await.unwrap();
        let pod = &event["object"];
        assert!(version_of(pod) > last, "versions rise");
        assert_eq!((&pod["kind"], &pod["apiVersion"]), (&"Pod".into(), &"v1".into()));
        last = version_of(pod);
        *kinds.entry(event["type"].as_str().unwrap().to_owned()).or_insert(0) += 1;
        match event["type"].as_str().unwrap() {
            "ADDED" => assert!(known.insert(key(pod), pod["metadata"]["uid"].clone()).is_none()),
            "DELETED" => assert!(known.remove(&key(pod)).is_some()),
            _ => assert!(known.contains_key(&key(pod))),
        }
    }
    assert_eq!(known, want);
    assert!(kinds["ADDED"] > 10 && kinds["DELETED"] > 10 && kinds["MODIFIED"] > 20, "{kinds:?}");
}

#[tokio::test]
async fn watches_begin_with_lists_bookmarks_and_errors() {
    let sim = Kubesim::builder().size(2, 3, 1).frozen_at(AT);
    let sim = sim.configure(|config| config.bookmark_every = Duration::from_millis(50)).start().await.unwrap();
    let client = client(&sim);
    let watch = |query: &str| format!("{}/api/v1/pods?watch=true&{query}", sim.api_url());
    let streaming = "sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true";
    let mut events = Events::of(&client, watch(streaming)).await;
    let begun = events.until("BOOKMARK").await;
    assert_eq!(begun.len(), 7);
    assert_eq!(begun[6]["object"]["metadata"]["annotations"]["k8s.io/initial-events-end"], "true");
    let later = events.next().await.unwrap();
    assert_eq!(later["type"], "BOOKMARK");
    assert!(later["object"]["metadata"]["annotations"].is_null());
    assert_eq!(version_of(&later["object"]), sim.resource_version());

    let mut old_style = Events::of(&client, watch("resourceVersion=0&timeoutSeconds=1")).await;
    let mut told = 0;
    while old_style.next().await.is_some() {
        told += 1;
    }
    assert_eq!(told, 6, "a watch from nowhere begins with what exists and ends in time");

    let old = sim.resource_version();
    sim.put(
        Resource::Pods,
        serde_json::json!({"metadata": {"name": "a", "namespace": "b"}, "spec": {"nodeName": "n"}}),
    )
    .unwrap();
    let mut selective =
        Events::of(&client, watch(&format!("resourceVersion={old}&fieldSelector=spec.nodeName%3Dn"))).await;
    assert_eq!(selective.next().await.unwrap()["type"], "ADDED");
    sim.put(
        Resource::Pods,
        serde_json::json!({"metadata": {"name": "a", "namespace": "b"}, "spec": {"nodeName": "m"}}),
    )
    .unwrap();
    assert_eq!(selective.next().await.unwrap()["type"], "DELETED", "it left the selection");

    sim.expire_history();
    let mut late = Events::of(&client, watch(&format!("resourceVersion={old}"))).await;
    let event = late.next().await.unwrap();
    assert_eq!((&event["type"], &event["object"]["code"]), (&"ERROR".into(), &410.into()));
    assert!(late.next().await.is_none());
}

#[tokio::test]
async fn older_servers_refuse_streaming_lists() {
    let sim = Kubesim::builder().configure(|config| config.watch_list = false).start().await.unwrap();
    let url = format!(
        "{}/api/v1/nodes?watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true",
        sim.api_url()
    );
    assert_eq!(get(&client(&sim), url).await.0, StatusCode::UNPROCESSABLE_ENTITY);
}

#[tokio::test]
async fn the_api_server_goes_and_comes_back() {
    let sim = Kubesim::builder().start().await.unwrap();
    let client = client(&sim);
    let url = format!("{}/api/v1/nodes", sim.api_url());
    let mut events = Events::of(&client, format!("{url}?watch=true&resourceVersion={}", sim.resource_version())).await;
    sim.api_down().await;
    let ended = tokio::time::timeout(PATIENCE, events.stream.next()).await.unwrap();
    assert!(!matches!(ended, Some(Ok(_))), "the watch ends");
    let error = client.get(&url).send().await.unwrap_err();
    assert!(error.is_connect(), "{error:?}");
    sim.api_up().await;
    assert_eq!(get(&client, url).await.0, StatusCode::OK);
    sim.stop().await;
}

#[tokio::test]
async fn tls_needs_the_clusters_authority_and_token() {
    let sim = Kubesim::builder().configure(|config| config.https = true).start().await.unwrap();
    let good = client(&sim);
    let kubelet = format!("{}/stats/summary/", sim.kubelet_url(2));
    assert!(kubelet.starts_with("https://127.1.0.3:"));
    let summary = json(&good, kubelet.clone()).await;
    assert_eq!(summary["node"]["nodeName"], "node-00002");
    assert_eq!(get(&good, format!("{}/api/v1/nodes", sim.api_url())).await.0, StatusCode::OK);
    let pem = reqwest::Certificate::from_pem(sim.ca_pem().unwrap().as_bytes()).unwrap();
    let without_token = Client::builder().no_proxy().tls_certs_only([pem]).build().unwrap();
    assert_eq!(get(&without_token, kubelet.clone()).await, (StatusCode::UNAUTHORIZED, "Unauthorized".to_owned()));
    let (status, text) = get(&without_token, format!("{}/api/v1/nodes", sim.api_url())).await;
    assert_eq!(status, StatusCode::UNAUTHORIZED);
    assert!(text.contains("\"reason\":\"Unauthorized\""));
    let without_ca = Client::builder().no_proxy().tls_certs_only([]).build().unwrap();
    assert!(without_ca.get(kubelet).send().await.unwrap_err().is_connect());
    let config = sim.kubeconfig();
    assert!(
        config.contains(&sim.api_url()) && config.contains("certificate-authority-data") && config.contains("token")
    );
}

#[tokio::test]
async fn kubelets_answer_at_their_addresses_what_the_api_says() {
    let sim = Kubesim::builder().size(3, 5, 2).start().await.unwrap();
    let client = client(&sim);
    let nodes = json(&client, format!("{}/api/v1/nodes", sim.api_url())).await;
    let pods = json(&client, format!("{}/api/v1/pods", sim.api_url())).await;
    for node in nodes["items"].as_array().unwrap() {
        let address = node["status"]["addresses"][0]["address"].as_str().unwrap();
        let port = &node["status"]["daemonEndpoints"]["kubeletEndpoint"]["Port"];
        let summary = json(&client, format!("http://{address}:{port}/stats/summary")).await;
        assert_eq!(summary["node"]["nodeName"], node["metadata"]["name"]);
        for shown in summary["pods"].as_array().unwrap() {
            let known = pods["items"].as_array().unwrap().iter().any(|pod| {
                pod["metadata"]["uid"] == shown["podRef"]["uid"]
                    && pod["metadata"]["name"] == shown["podRef"]["name"]
                    && pod["metadata"]["namespace"] == shown["podRef"]["namespace"]
                    && pod["spec"]["nodeName"] == node["metadata"]["name"]
            });
            assert!(known, "{}", shown["podRef"]);
        }
    }
    assert_eq!(sim.counts().scrapes, 3);
    assert_eq!(sim.requests().iter().filter(|entry| entry.target == Target::Kubelet(1)).count(), 1);
}

#[tokio::test]
async fn restarts_show_in_the_api_and_in_the_counters() {
    let sim = Kubesim::builder().size(1, 5, 1).frozen_at(AT).configure(|config| config.restarts = 10.0);
    let sim = sim.start().await.unwrap();
    let client = client(&sim);
    let mut counts = std::collections::BTreeSet::new();
    for _ in 0..40 {
        sim.advance(97);
        let pods = json(&client, format!("{}/api/v1/pods", sim.api_url())).await;
        let summary = json(&client, format!("{}/stats/summary", sim.kubelet_url(0))).await;
        for pod in pods["items"].as_array().unwrap() {
            let mut shown = summary["pods"].as_array().unwrap().iter();
            let shown = shown.find(|shown| shown["podRef"]["uid"] == pod["metadata"]["uid"]).unwrap();
            let status = &pod["status"]["containerStatuses"][0];
            assert_eq!(status["state"]["running"]["startedAt"], shown["containers"][0]["startTime"]);
            counts.insert(status["restartCount"].as_i64().unwrap());
        }
    }
    assert!(counts.len() > 5, "{counts:?}");
}

/// What a client sees of a failure.
#[derive(Debug, PartialEq)]
enum Seen {
    Refused,
    /// The connection breaks: without an answer, or within it.
    Broken,
    TimedOut,
    Answer(u16),
}

async fn look(client: &Client, url: &str, patience: Duration) -> (Seen, Vec<u8>) {
    match client.get(url).timeout(patience).send().await {
        Err(error) if error.is_connect() && !error.is_timeout() => (Seen::Refused, Vec::new()),
        Err(error) if error.is_timeout() => (Seen::TimedOut, Vec::new()),
        Err(_) => (Seen::Broken, Vec::new()),
        Ok(answer) => {
            let status = answer.status().as_u16();
            match answer.bytes().await {
                Ok(body) => (Seen::Answer(status), body.to_vec()),
                Err(error) if error.is_timeout() => (Seen::TimedOut, Vec::new()),
                Err(_) => (Seen::Broken, Vec::new()),
            }
        }
    }
}

type Check = fn(&[u8]) -> bool;

fn tree(body: &[u8]) -> Value {
    serde_json::from_slice(body).unwrap()
}

fn count_keys(value: &Value, key: &str) -> usize {
    match value {
        Value::Object(fields) => {
            fields.iter().map(|(name, value)| usize::from(name == key) + count_keys(value, key)).sum()
        }
        Value::Array(values) => values.iter().map(|value| count_keys(value, key)).sum(),
        _ => 0,
    }
}

const KIT_TABLE: [(&str, Seen, Check); 29] = [
    ("slow:0.2", Seen::Answer(200), |body| tree(body)["pods"].as_array().unwrap().len() == 4),
    ("never", Seen::TimedOut, |_| true),
    ("never-body", Seen::TimedOut, |_| true),
    ("401", Seen::Answer(401), |body| body == b"Unauthorized"),
    ("403", Seen::Answer(403), |body| {
        body == b"Forbidden (user=system:anonymous, verb=get, resource=nodes, subresource=stats)"
    }),
    ("404", Seen::Answer(404), |body| body == b"404 page not found\n"),
    ("500", Seen::Answer(500), |body| body.starts_with(b"Internal Error: failed to list pod stats: ")),
    ("refused", Seen::Refused, |_| true),
    ("reset", Seen::Broken, |_| true),
    ("blackhole", Seen::TimedOut, |_| true),
    ("truncated", Seen::Answer(200), |body| serde_json::from_slice::<Value>(body).unwrap_err().is_eof()),
    ("empty", Seen::Answer(200), |body| body.is_empty()),
    ("html", Seen::Answer(200), |body| body.starts_with(b"<html>")),
    ("huge:20000000", Seen::Answer(200), |body| body.len() == 20_000_000 && tree(body)["pods"].is_array()),
    ("pods-empty", Seen::Answer(200), |body| tree(body)["pods"] == serde_json::json!([])),
    ("pods-null", Seen::Answer(200), |body| tree(body)["pods"].is_null()),
    ("containers-null", Seen::Answer(200), |body| tree(body)["pods"][3]["containers"].is_null()),
    ("dup-containers", Seen::Answer(200), |body| {
        let pod = &tree(body)["pods"][0];
        let list = pod["containers"].as_array().unwrap();
        list.len() == 4 && list[0]["name"] == list[2]["name"] && list[2]["startTime"] == "2020-01-01T00:00:00Z"
    }),
    ("dup-pods", Seen::Answer(200), |body| {
        let pods = &tree(body)["pods"];
        pods.as_array().unwrap().len() == 9
            && pods[0]["podRef"] == pods[4]["podRef"]
            && pods[0]["podRef"]["name"] == pods[8]["podRef"]["name"]
            && pods[0]["podRef"]["uid"] != pods[8]["podRef"]["uid"]
    }),
    ("wrong-name", Seen::Answer(200), |body| tree(body)["node"]["nodeName"] == "somebody-else"),
    ("no-times", Seen::Answer(200), |body| count_keys(&tree(body), "time") + count_keys(&tree(body), "startTime") == 0),
    ("null-start", Seen::Answer(200), |body| {
        let tree = tree(body);
        tree["node"].as_object().unwrap().contains_key("startTime") && tree["pods"][0]["startTime"].is_null()
    }),
    ("zero-node", Seen::Answer(200), |body| {
        let tree = tree(body);
        tree["node"]["cpu"]["usageCoreNanoSeconds"] == 0
            && tree["node"]["memory"]["workingSetBytes"] == 0
            && tree["pods"][0]["memory"]["workingSetBytes"] != 0
    }),
    ("no-nano", Seen::Answer(200), |body| count_keys(&tree(body), "usageNanoCores") == 0),
    ("u64-max", Seen::Answer(200), |body| {
        tree(body)["pods"][0]["containers"][0]["memory"]["workingSetBytes"].as_u64() == Some(u64::MAX)
    }),
    ("swap-underflow", Seen::Answer(200), |body| {
        tree(body)["pods"][0]["containers"][0]["swap"]["swapUsageBytes"].as_u64() == Some(18_446_743_709_127_774_000)
    }),
    ("deep", Seen::Answer(200), |body| body.starts_with(b"{\"bomb\":[[[[")),
    ("skew:-300", Seen::Answer(200), |body| {
        tree(body)["node"]["cpu"]["time"].as_str().unwrap() < "2026-08-20T11:28:20Z"
    }),
    ("skew:epoch", Seen::Answer(200), |body| {
        tree(body)["node"]["cpu"]["time"].as_str().unwrap().starts_with("1970-01-01T")
    }),
];

#[tokio::test(flavor = "multi_thread")]
async fn every_failure_of_the_kit_is_seen_and_healed() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let sim = Kubesim::builder().size(2, 4, 2).frozen_at(AT);
    let sim = sim.start().await.unwrap();
    // A pooled connection that was closed a moment ago would break instead of being refused.
    let client = Client::builder().no_proxy().pool_max_idle_per_host(0).build().unwrap();
    let (url, other) =
        (format!("{}/stats/summary", sim.kubelet_url(0)), format!("{}/stats/summary", sim.kubelet_url(1)));
    let right = sim.summary(0, AT);
    for (name, seen, check) in KIT_TABLE {
        sim.fail(0, name.parse().unwrap()).await;
        let patience = if seen == Seen::TimedOut { Duration::from_millis(300) } else { PATIENCE };
        let (got, body) = look(&client, &url, patience).await;
        assert_eq!(got, seen, "{name}");
        assert!(check(&body), "{name}: {}", String::from_utf8_lossy(&body[..body.len().min(3000)]));
        assert_eq!(look(&client, &other, PATIENCE).await.0, Seen::Answer(200), "the other node during {name}");
        sim.heal(0).await;
        let (got, body) = look(&client, &url, PATIENCE).await;
        assert!(got == Seen::Answer(200) && body == right, "{name} is healed: {got:?}");
    }
}

#[tokio::test]
async fn failing_counters_fall_by_one_each_time() {
    let sim = Kubesim::builder().frozen_at(AT).fail("0".parse().unwrap(), Failure::Decrease).start().await.unwrap();
    let client = client(&sim);
    let url = format!("{}/stats/summary", sim.kubelet_url(0));
    let mut read = Vec::new();
    for _ in 0..3 {
        read.push(json(&client, url.clone()).await["pods"][0]["cpu"]["usageCoreNanoSeconds"].as_u64().unwrap());
    }
    assert_eq!([read[0] - read[1], read[1] - read[2]], [1, 1]);
}

#[tokio::test]
async fn the_api_shows_nodes_that_are_not_ready_or_nowhere() {
    let sim = Kubesim::builder().start().await.unwrap();
    let client = client(&sim);
    let url = |node: usize| format!("{}/api/v1/nodes/{}", sim.api_url(), sim.node_name(node));
    sim.fail(1, Failure::NotReady).await;
    sim.fail(2, Failure::NoAddress).await;
    let ready = |node: &Value| node["status"]["conditions"][3]["status"].clone();
    assert_eq!(ready(&json(&client, url(1)).await), "False");
    assert_eq!(json(&client, url(2)).await["status"]["addresses"], serde_json::json!([]));
    sim.heal(1).await;
    assert_eq!(ready(&json(&client, url(1)).await), "True");
    assert_eq!(get(&client, format!("{}/stats/summary", sim.kubelet_url(2))).await.0, StatusCode::OK);
}

#[tokio::test]
async fn reset_and_blackhole_work_below_tls_too() {
    let sim = Kubesim::builder().configure(|config| config.https = true).start().await.unwrap();
    let client = client(&sim);
    let url = format!("{}/stats/summary", sim.kubelet_url(0));
    sim.fail(0, Failure::Reset).await;
    assert_eq!(look(&client, &url, PATIENCE).await.0, Seen::Broken);
    sim.fail(0, Failure::Blackhole).await;
    assert_eq!(look(&client, &url, Duration::from_millis(300)).await.0, Seen::TimedOut);
    sim.heal(0).await;
    assert_eq!(look(&client, &url, PATIENCE).await.0, Seen::Answer(200));
}

#[tokio::test]
async fn bad_configurations_name_every_reason() {
    let builder = Kubesim::builder().configure(|config| {
        config.nodes = 0;
        config.first_address = Ipv4Addr::new(10, 0, 0, 1);
    });
    let Err(StartError::Config(problems)) = builder.start().await else { panic!("it started") };
    assert_eq!(problems.len(), 2, "{problems:?}");
}

#[tokio::test]
async fn gzip_is_used_only_when_allowed_and_accepted() {
    let sim = Kubesim::builder().frozen_at(AT).configure(|config| config.gzip = true).start().await.unwrap();
    let url = format!("{}/stats/summary", sim.kubelet_url(0));
    let body = client(&sim).get(&url).send().await.unwrap().bytes().await.unwrap();
    assert!(body == sim.summary(0, AT), "the client unpacks it");
    let plain = Client::builder().no_proxy().no_gzip().build().unwrap();
    let body = plain.get(&url).send().await.unwrap().bytes().await.unwrap();
    assert!(body == sim.summary(0, AT));
}

/// A ceiling that a slow shared machine keeps, to notice when a round becomes ten times dearer.
#[test]
fn a_round_of_a_hundred_nodes_is_rendered_in_no_time() {
    let world = World::new(Config { nodes: 100, pods: 30, shape: Shape::V1_34, ..Config::default() });
    let summaries = Summaries::new(&world.config);
    let rosters: Vec<_> = (0..100).map(|node| roster::Roster::new(&world, node, AT)).collect();
    let begun = Instant::now();
    let bytes: usize = rosters.iter().map(|roster| summaries.body(roster, AT + 60, 0, 300_000).len()).sum();
    let took = begun.elapsed();
    assert!(bytes > 10_000_000);
    assert!(took < Duration::from_secs(1), "{took:?} for {bytes} bytes");
}
