//! Heapster's historical API out of a real InfluxDB: the same values as the model API's, aggregations
//! that are checked by hand.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a failed expectation is a failed test")]

use std::time::{Duration, Instant};

use millrace_tests::fixtures::influxd::Influxd;
use millrace_tests::fixtures::router::Router;
use past::{BEGIN, PAST, cluster, json, reader, setup, ten_points};
use serde_json::{Value, json};

#[allow(dead_code, reason = "each test uses a part")]
mod past;

const MODEL: &str = "/api/v1/model";
const DEADLINE: Duration = Duration::from_secs(60);

fn strings(list: &Value) -> Vec<&str> {
    list.as_array().unwrap().iter().map(|one| one.as_str().unwrap()).collect()
}

/// Without `floatValue` where all of them are whole: the database does not say of what kind they are.
fn comparable(mut result: Value) -> Value {
    let points = result["metrics"].as_array_mut().unwrap();
    let is_whole = |point: &Value| point["floatValue"].as_f64().is_none_or(|float| float.fract() == 0.0);
    if points.iter().all(is_whole) {
        for point in points {
            point.as_object_mut().unwrap().remove("floatValue");
        }
    }
    result
}

/// The entities of the model, as paths.
async fn entities(router: &Router) -> Vec<String> {
    let mut paths = vec![String::new()];
    for node in strings(&json(router, &format!("{MODEL}/nodes")).await) {
        paths.push(format!("/nodes/{node}"));
        let free = format!("/nodes/{node}/freecontainers");
        let names = json(router, &format!("{MODEL}{free}")).await;
        paths.extend(strings(&names).first().map(|name| format!("{free}/{name}")));
    }
    for namespace in strings(&json(router, &format!("{MODEL}/namespaces")).await) {
        paths.push(format!("/namespaces/{namespace}"));
        let pods = json(router, &format!("{MODEL}/namespaces/{namespace}/pods")).await;
        if let Some(pod) = strings(&pods).first() {
            let pod = format!("/namespaces/{namespace}/pods/{pod}");
            let containers = json(router, &format!("{MODEL}{pod}/containers")).await;
            paths.push(pod.clone());
            paths.extend(strings(&containers).first().map(|name| format!("{pod}/containers/{name}")));
        }
    }
    paths
}

/// Waits until the database has the points of this time.
async fn written_until(router: &Router, latest: &str) {
    let path = format!("{PAST}/metrics/memory/usage?start={latest}");
    let until = Instant::now() + DEADLINE;
    while json(router, &path).await["metrics"].as_array().unwrap().is_empty() {
        assert!(Instant::now() < until, "nothing of {latest} is written");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_sinks_wrote_is_what_the_model_api_says() {
    for with_fields in [false, true] {
        let (sim, server) = (cluster().await, Influxd::start().await);
        let url = server.url();
        let mut router = setup(
            &sim,
            &format!(
                "[[sink]]\ntype = 'influxdb'\nurl = '{url}'\nwith-fields = {with_fields}\npod-id-tag = true\n\
                 [historical]\nurl = '{url}'\nwith-fields = {with_fields}\n"
            ),
        )
        .start()
        .await;
        router.cycle(4).await;
        let seen = json(&router, &format!("{MODEL}/metrics/memory/usage")).await;
        let (first, last) = (seen["metrics"][0]["timestamp"].as_str().unwrap(), &seen["latestTimestamp"]);
        let (first, last) = (first.to_owned(), last.as_str().unwrap().to_owned());
        assert!(seen["metrics"].as_array().unwrap().len() >= 3, "{seen}");
        written_until(&router, &last).await;

        let paths = entities(&router).await;
        assert!(paths.len() >= 7, "{paths:?}");
        for path in &paths {
            let names = json(&router, &format!("{MODEL}{path}/metrics")).await;
            assert_eq!(json(&router, &format!("{PAST}{path}/metrics")).await, names, "{path}");
            for name in strings(&names) {
                let rest = format!("{path}/metrics/{name}?start={first}&end={last}");
                let (past, model) =
                    (json(&router, &format!("{PAST}{rest}")).await, json(&router, &format!("{MODEL}{rest}")).await);
                assert!(!model["metrics"].as_array().unwrap().is_empty(), "{rest}");
                assert_eq!(comparable(past), comparable(model), "with-fields {with_fields}: {rest}");
            }
        }
        for list in ["/nodes", "/namespaces"] {
            let (past, model) =
                (json(&router, &format!("{PAST}{list}")).await, json(&router, &format!("{MODEL}{list}")).await);
            assert_eq!(past, model, "{list}");
        }
        let pod = paths.iter().find(|path| path.contains("/pods/") && !path.contains("/containers/")).unwrap();
        let (namespace, pod_name) = pod.split_once("/pods/").unwrap();
        for list in [format!("{namespace}/pods"), format!("{pod}/containers")] {
            let (past, model) =
                (json(&router, &format!("{PAST}{list}")).await, json(&router, &format!("{MODEL}{list}")).await);
            assert_eq!(past, model, "{list}");
        }
        // Old names, a list in its order with one that is not there, and a series with labels.
        let times = format!("start={first}&end={last}");
        let volume = "labels=resource_id:/";
        for rest in [
            format!("{namespace}/pod-list/{pod_name},nope/metrics/cpu-usage?{times}"),
            format!("{pod}/metrics/filesystem/usage?{times}"),
            format!("/nodes/{}/metrics/filesystem/usage?{times}&{volume}", sim.node_name(0)),
        ] {
            let (past, model) =
                (json(&router, &format!("{PAST}{rest}")).await, json(&router, &format!("{MODEL}{rest}")).await);
            assert_eq!(past, model, "{rest}");
            assert_eq!(rest.contains(volume), !past["metrics"][0].is_null(), "{rest}: {past}");
        }
        by_id(&server, &router, namespace, pod_name, &times).await;
        router.stop().await;
    }
}

/// A pod by its UID, which the sink writes where it is told to.
async fn by_id(server: &Influxd, router: &Router, namespace: &str, pod: &str, times: &str) {
    let namespace_name = namespace.rsplit('/').next().unwrap();
    let condition = format!("\"pod_name\" = '{pod}' AND \"namespace_name\" = '{namespace_name}' AND \"type\" = 'pod'");
    let rows = server.rows("k8s", &format!("SHOW TAG VALUES WITH KEY = \"pod_id\" WHERE {condition}")).await;
    let id = rows[0]["value"].as_str().unwrap().to_owned();
    let named = json(router, &format!("{PAST}{namespace}/pods/{pod}/metrics/memory/usage?{times}")).await;
    assert_eq!(json(router, &format!("{PAST}/pod-id/{id}/metrics/memory/usage?{times}")).await, named);
    let list = json(router, &format!("{PAST}/pod-id-list/nope,{id}/metrics/memory/usage?{times}")).await;
    assert_eq!(list["items"][1], named, "{list}");
    assert_eq!(list["items"][0]["metrics"], json!([]), "{list}");
}

#[tokio::test(flavor = "multi_thread")]
async fn aggregations_are_those_of_a_pencil() {
    let (sim, server) = (cluster().await, Influxd::start().await);
    ten_points(&server).await;
    let times = "start=2023-11-14T22:14:00Z&end=2023-11-14T22:14:59Z";
    let all = "average,max,min,median,count,50-perc,95-perc,99-perc";
    let whole = json!({ "bucketSize": 0, "buckets": [{
        "timestamp": "2023-11-14T22:14:00Z", "count": 10,
        "average": { "floatValue": 5.5 }, "maximum": { "intValue": 10 }, "minimum": { "intValue": 1 },
        "median": { "floatValue": 5.5 },
        "percentiles": { "50": { "intValue": 5 }, "95": { "intValue": 10 }, "99": { "intValue": 10 } },
    }] });
    let bucket = |timestamp: &str, middle: i64| json!({ "timestamp": timestamp, "average": { "intValue": middle }, "maximum": { "intValue": middle + 2 } });
    let buckets = json!({ "bucketSize": 5_000_000_000_i64,
                          "buckets": [bucket("2023-11-14T22:14:00Z", 3), bucket("2023-11-14T22:14:05Z", 8)] });
    let flags = [
        format!("--historical-source=influxdb:{}?db=k8s", server.url()),
        format!("--historical-source=influxdb:{}?db=k8s&withfields=true", server.url()),
    ];
    for flag in &flags {
        let router = setup(&sim, "[[sink]]\ntype = 'log'\n").start_with(&[flag]).await;
        for entity in ["/namespaces/ns/pods/p", "/pod-id/u-1"] {
            let path = format!("{PAST}{entity}/metrics-aggregated");
            assert_eq!(json(&router, &format!("{path}/{all}/memory-usage?{times}")).await, whole, "{flag}");
            let five = json(&router, &format!("{path}/average,max/memory/usage?{times}&bucket=5s")).await;
            assert_eq!(five, buckets, "{flag}");
        }
        let list = format!("{PAST}/namespaces/ns/pod-list/nope,p/metrics-aggregated/{all}/memory/usage?{times}");
        let nothing = json!({ "bucketSize": 0, "buckets": [] });
        assert_eq!(json(&router, &list).await, json!({ "items": [nothing, whole] }), "{flag}");
        router.stop().await;
    }
    let router = reader(&sim, &server.url(), "").await;
    // Part of the time, both ends included; and floats.
    let path = format!("{PAST}/namespaces/ns/pods/p/metrics-aggregated/count,min,50-perc/cpu/ratio");
    let part = json(&router, &format!("{path}?start=2023-11-14T22:14:02Z&end=2023-11-14T22:14:04Z")).await;
    let want = json!({ "timestamp": "2023-11-14T22:14:02Z", "count": 3, "minimum": { "floatValue": 0.75 },
                       "percentiles": { "50": { "intValue": 1 } } });
    assert_eq!(part["buckets"], json!([want]));
    // One bucket has the time of its beginning, whatever the functions.
    let path = format!("{PAST}/namespaces/ns/pods/p/metrics-aggregated/max/memory/usage");
    let largest = json(&router, &format!("{path}?start=2023-11-14T22:14:02Z")).await;
    assert_eq!(largest["buckets"], json!([{ "timestamp": "2023-11-14T22:14:02Z", "maximum": { "intValue": 10 } }]));
    let path = format!("{PAST}/namespaces/ns/pods/p/metrics/cpu/ratio");
    let part = json(&router, &format!("{path}?start=2023-11-14T22:14:02Z&end=2023-11-14T22:14:02Z")).await;
    assert_eq!(part["metrics"], json!([{ "timestamp": "2023-11-14T22:14:02Z", "value": 0, "floatValue": 0.75 }]));
}

#[tokio::test(flavor = "multi_thread")]
async fn clusters_that_share_a_database_are_told_apart() {
    let (sim, server) = (cluster().await, Influxd::start().await);
    server.query("", "CREATE DATABASE k8s").await;
    let time = BEGIN * 1_000_000_000;
    for (cluster, value) in [("eu", 1), ("us", 2)] {
        let lines = format!("memory/usage,type=cluster,cluster_name={cluster} value={value}i {time}\n");
        server.write("k8s", &lines).await;
    }
    let path = format!("{PAST}/metrics/memory/usage?start=2023-11-14T22:14:00Z");
    for (more, want) in [("", vec![1, 2]), ("cluster-name = 'us'", vec![2]), ("cluster-name = \"u's\"", vec![])] {
        let router = reader(&sim, &server.url(), more).await;
        let found = json(&router, &path).await;
        let mut values: Vec<_> = found["metrics"].as_array().unwrap().iter().map(|it| it["value"].clone()).collect();
        values.sort_by_key(Value::as_i64);
        assert_eq!(json!(values), json!(want), "{more}");
    }
}
