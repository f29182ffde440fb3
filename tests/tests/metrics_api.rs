//! The metrics APIs over the recorded cluster: what today's clients get, what is refused and how, and the
//! exact requests of the autoscaler and the `kubectl top` of old.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a failed expectation is a failed test")]

use reqwest::Method;
use serde_json::{Value, json};
use served::Served;

#[allow(dead_code, reason = "each test uses a part")]
mod served;

const BETA: &str = "/apis/metrics.k8s.io/v1beta1";
const ALPHA: &str = "/apis/metrics/v1alpha1";

/// Names of a list's objects, in its order.
fn names(list: &Value) -> Vec<String> {
    let name = |item: &Value| match item["metadata"]["namespace"].as_str() {
        Some(namespace) => format!("{namespace}/{}", item["metadata"]["name"].as_str().unwrap()),
        None => item["metadata"]["name"].as_str().unwrap().to_owned(),
    };
    list["items"].as_array().unwrap().iter().map(name).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn before_the_first_cycle_lists_are_empty_and_objects_are_not_found() {
    let served = Served::start().await;
    for (list, kind) in
        [("nodes", "NodeMetricsList"), ("pods", "PodMetricsList"), ("namespaces/default/pods", "PodMetricsList")]
    {
        let answer = served.json(&format!("{BETA}/{list}")).await;
        assert_eq!(answer["kind"], kind);
        assert_eq!(answer["items"], json!([]));
    }
    let (status, _, text) = served.get(&format!("{BETA}/nodes/node-a"), None).await;
    assert_eq!(status, 404, "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_and_pods_have_kubernetes_shape_and_are_sorted() {
    let mut served = Served::start().await;
    served.run_to(3);
    let nodes = served.json(&format!("{BETA}/nodes")).await;
    assert_eq!(names(&nodes), ["node-a", "node-b.example.com", "node-c"]);
    assert_eq!((&nodes["kind"], &nodes["metadata"]), (&json!("NodeMetricsList"), &json!({})));
    let node = &nodes["items"][0];
    assert_eq!(node["usage"], json!({"cpu": "1250m", "memory": "2359300Ki"}));
    assert_eq!((&node["timestamp"], &node["window"]), (&json!("2026-11-21T09:08:20Z"), &json!("10s")));
    assert!(node.get("kind").is_none(), "{node}");
    assert_eq!(node["metadata"]["labels"]["zone"], "z1", "{node}");
    let one = served.json(&format!("{BETA}/nodes/node-a")).await;
    assert_eq!((&one["kind"], &one["apiVersion"]), (&json!("NodeMetrics"), &json!("metrics.k8s.io/v1beta1")));
    assert_eq!(one["usage"], node["usage"]);

    let pods = served.json(&format!("{BETA}/pods")).await;
    let all = names(&pods);
    assert!(all.is_sorted() && all.contains(&"default/web-1".to_owned()), "{all:?}");
    // Neither a pod that has ended, nor one of which a container has no values.
    for missing in ["team-x/done-with-stats", "team-x/partial", "team-x/nostats"] {
        assert!(!all.contains(&missing.to_owned()), "{all:?}");
    }
    let web = served.json(&format!("{BETA}/namespaces/default/pods/web-1")).await;
    assert_eq!(
        web["containers"],
        json!([{"name": "nginx", "usage": {"cpu": "123m", "memory": "76804Ki"}},
            {"name": "sidecar", "usage": {"cpu": "45m", "memory": "23044Ki"}}])
    );
    assert_eq!(web["metadata"]["labels"]["app"], "web", "{web}");
    let of_namespace = served.json(&format!("{BETA}/namespaces/default/pods")).await;
    assert!(names(&of_namespace).iter().all(|name| name.starts_with("default/")), "{of_namespace}");
    assert_eq!(served.json(&format!("{BETA}/namespaces/nope/pods")).await["items"], json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn selectors_select_in_all_versions() {
    let mut served = Served::start().await;
    served.run_to(3);
    let web = vec!["default/web-1", "default/web-2"];
    for (path, query, want) in [
        ("pods", "labelSelector=app%3Dweb", web.clone()),
        ("pods", "labelSelector=app+in+(web,nope),!nope", web.clone()),
        ("namespaces/default/pods", "labelSelector=app%3Dweb", web.clone()),
        ("namespaces/team-x/pods", "labelSelector=app%3Dweb", vec![]),
        ("pods", "fieldSelector=metadata.name%3Dweb-1", vec!["default/web-1"]),
        (
            "pods",
            "fieldSelector=metadata.namespace%3D%3Ddefault,metadata.name%21%3Dweb-1&labelSelector=app%3Dweb",
            vec!["default/web-2"],
        ),
        ("nodes", "labelSelector=zone%3Dz1", vec!["node-a"]),
        ("nodes", "labelSelector=", vec!["node-a", "node-b.example.com", "node-c"]),
        ("nodes", "fieldSelector=metadata.name%3Dnode-c&limit=500&timeoutSeconds=5", vec!["node-c"]),
        ("nodes", "limit=1", vec!["node-a", "node-b.example.com", "node-c"]),
        ("nodes", "watch=false", vec!["node-a", "node-b.example.com", "node-c"]),
    ] {
        for version in [BETA, "/apis/metrics.k8s.io/v1alpha1", ALPHA] {
            let list = served.json(&format!("{version}/{path}?{query}")).await;
            let got = if list["items"].is_null() { vec![] } else { names(&list) };
            assert_eq!(got, want, "{version}/{path}?{query}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_can_t_be_answered_is_refused_with_a_status() {
    let mut served = Served::start().await;
    served.run_to(3);
    for (path, accept, code, reason, message) in [
        ("nodes/nope", None, 404, "NotFound", "nodes \"nope\" not found"),
        ("nodes/host-b", None, 404, "NotFound", "nodes \"host-b\" not found"),
        ("nodes/node-d-notready", None, 404, "NotFound", "nodemetrics.metrics.k8s.io \"node-d-notready\" not found"),
        ("namespaces/default/pods/nope", None, 404, "NotFound", "pods \"nope\" not found"),
        (
            "namespaces/team-x/pods/partial",
            None,
            404,
            "NotFound",
            "podmetrics.metrics.k8s.io \"team-x/partial\" not found",
        ),
        ("services", None, 404, "NotFound", "the server could not find the requested resource"),
        ("pods?labelSelector=a%3Db%3Dc", None, 400, "BadRequest", "found '=', expected: ',' or 'end of string'"),
        (
            "pods?fieldSelector=spec.nodeName%3Dn",
            None,
            400,
            "BadRequest",
            "\"spec.nodeName\" is not a known field selector: only \"metadata.name\", \"metadata.namespace\"",
        ),
        ("pods?limit=many", None, 400, "BadRequest", "strconv.ParseInt: parsing \"many\": invalid syntax"),
        (
            "pods?watch=true",
            None,
            405,
            "MethodNotAllowed",
            "watch is not supported on resources of kind \"pods.metrics.k8s.io\"",
        ),
        (
            "pods",
            Some("application/vnd.kubernetes.protobuf"),
            406,
            "NotAcceptable",
            "only the following media types are accepted: application/json",
        ),
        ("", Some("text/html"), 406, "NotAcceptable", "only the following media types are accepted: application/json"),
    ] {
        let (status, kind, text) = served.get(&format!("{BETA}/{path}"), accept).await;
        assert_eq!((status, kind.as_str()), (code, "application/json"), "{path}: {text}");
        let body: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(
            (&body["kind"], &body["apiVersion"], &body["status"]),
            (&json!("Status"), &json!("v1"), &json!("Failure"))
        );
        assert_eq!((&body["reason"], &body["message"], &body["code"]), (&json!(reason), &json!(message), &json!(code)));
    }
    for method in [Method::POST, Method::DELETE, Method::PUT] {
        let response = served.client.request(method, format!("{}{BETA}/nodes", served.url)).send().await.unwrap();
        assert_eq!((response.status().as_u16(), &response.headers()["allow"]), (405, &"GET, HEAD".parse().unwrap()));
        assert_eq!(response.text().await.unwrap().parse::<Value>().unwrap()["reason"], "MethodNotAllowed");
    }
    let (status, _, text) = served.get("/apis/apps/v1/deployments", None).await;
    assert_eq!((status, &text.parse::<Value>().unwrap()["code"]), (404, &json!(404)));
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_get_the_form_that_they_take() {
    let mut served = Served::start().await;
    served.run_to(3);
    let kind_of = async |path: &str, accept: &str| {
        let response =
            served.client.get(format!("{}{path}", served.url)).header("accept", accept).send().await.unwrap();
        let kind = response.headers()["content-type"].to_str().unwrap().to_owned();
        (response.status().as_u16(), kind, response.text().await.unwrap().parse::<Value>().unwrap())
    };
    // kubectl top takes JSON for want of anything better.
    for accept in ["application/vnd.kubernetes.protobuf, */*", "application/vnd.kubernetes.protobuf,application/json"] {
        let (status, kind, body) = kind_of(&format!("{BETA}/nodes"), accept).await;
        assert_eq!((status, kind.as_str()), (200, "application/json"));
        assert_eq!(body["kind"], "NodeMetricsList");
    }
    for version in ["v1", "v1beta1"] {
        let accept = format!("application/json;as=Table;v={version};g=meta.k8s.io,application/json");
        let (status, kind, table) = kind_of(&format!("{BETA}/namespaces/default/pods?limit=500"), &accept).await;
        assert_eq!((status, kind), (200, format!("application/json;as=Table;v={version};g=meta.k8s.io")));
        assert_eq!((&table["kind"], &table["apiVersion"]), (&json!("Table"), &json!(format!("meta.k8s.io/{version}"))));
        let columns: Vec<_> = table["columnDefinitions"].as_array().unwrap().iter().map(|one| &one["name"]).collect();
        assert_eq!(columns, ["Name", "cpu", "memory", "Window"]);
        let rows = table["rows"].as_array().unwrap();
        let web = rows.iter().find(|row| row["cells"][0] == "web-1").unwrap();
        assert_eq!(web["cells"], json!(["web-1", "168m", "99848Ki", "10s"]));
        assert_eq!(web["object"]["metadata"]["namespace"], "default");
        let (_, _, single) = kind_of(&format!("{BETA}/nodes/node-a?includeObject=None"), &accept).await;
        assert_eq!(single["rows"], json!([{"cells": ["node-a", "1250m", "2359300Ki", "10s"], "object": null}]));
    }
    let head = served.client.head(format!("{}{BETA}/pods", served.url)).send().await.unwrap();
    assert_eq!((head.status().as_u16(), head.headers()["content-type"].to_str().unwrap()), (200, "application/json"));
    assert!(head.bytes().await.unwrap().is_empty());
    let plain = reqwest::Client::builder().no_proxy().no_gzip().build().unwrap();
    for path in ["/apis", "/apis/metrics.k8s.io/v1beta1/pods", "/apis/metrics.k8s.io/v1beta1/nodes/node-a"] {
        let packed = plain.get(format!("{}{path}", served.url)).header("accept-encoding", "gzip").send().await.unwrap();
        assert_eq!(packed.headers()["content-encoding"], "gzip", "{path}");
        let packed = packed.bytes().await.unwrap();
        let body: Value = serde_json::from_reader(flate2::read::GzDecoder::new(&*packed)).unwrap();
        assert!(body.is_object());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn discovery_says_what_there_is() {
    let served = Served::start().await;
    for (path, pointer, want) in [
        ("/api", "/kind", json!("APIVersions")),
        ("/apis", "/groups/0/name", json!("metrics.k8s.io")),
        ("/apis/", "/groups/1/preferredVersion/groupVersion", json!("metrics/v1alpha1")),
        ("/apis/metrics.k8s.io", "/versions/0/version", json!("v1beta1")),
        ("/apis/metrics.k8s.io/v1beta1", "/resources/1/kind", json!("PodMetrics")),
        ("/apis/metrics.k8s.io/v1alpha1", "/groupVersion", json!("metrics.k8s.io/v1alpha1")),
        ("/apis/metrics/v1alpha1", "/resources/0/verbs", json!(["get", "list"])),
        ("/version", "/major", json!("0")),
        ("/openapi/v2", "/swagger", json!("2.0")),
        (
            "/openapi/v3",
            "/paths/apis~1metrics.k8s.io~1v1beta1/serverRelativeURL",
            json!("/openapi/v3/apis/metrics.k8s.io/v1beta1"),
        ),
        ("/openapi/v3/apis/metrics.k8s.io/v1beta1", "/openapi", json!("3.0.0")),
        ("/openapi/v3/apis/metrics.k8s.io", "/openapi", json!("3.0.0")),
    ] {
        let document = served.json(path).await;
        assert_eq!(document.pointer(pointer), Some(&want), "{path}: {document}");
    }
    for version in ["v2", "v2beta1"] {
        let kind = format!("application/json;g=apidiscovery.k8s.io;v={version};as=APIGroupDiscoveryList");
        for (path, groups) in [("/api", 0), ("/apis", 2)] {
            let accept = format!("{kind},application/json");
            let request = served.client.get(format!("{}{path}", served.url)).header("accept", accept);
            let response = request.send().await.unwrap();
            assert_eq!(response.headers()["content-type"], kind);
            let all: Value = response.text().await.unwrap().parse().unwrap();
            assert_eq!(
                (&all["kind"], all["items"].as_array().unwrap().len()),
                (&json!("APIGroupDiscoveryList"), groups)
            );
        }
    }
}

/// What the API server's service proxy leaves of them; the label selector is always sent.
#[tokio::test(flavor = "multi_thread")]
async fn the_first_kubectl_top_and_autoscaler_get_what_heapster_gave_them() {
    let mut served = Served::start().await;
    served.run_to(3);
    for path in ["nodes?labelSelector=", "pods?labelSelector=", "namespaces/default/pods?labelSelector=app%3Dweb"] {
        let list = served.json(&format!("{ALPHA}/{path}")).await;
        let items = list["items"].as_array().unwrap();
        assert!(items.len() >= 2 && list.get("kind").is_none(), "{path}: {list}");
        for item in items {
            // A container that began anew, or whose counter fell, has no rate: its pod keeps the values of the cycle before.
            let name = item["metadata"]["name"].as_str().unwrap();
            let kept = ["restarting", "backwards"].contains(&name);
            let time = if kept { "2026-11-21T09:08:10Z" } else { "2026-11-21T09:08:20Z" };
            assert_eq!((&item["timestamp"], &item["window"]), (&json!(time), &json!("1m0s")), "{item}");
            assert!(item["metadata"].get("labels").is_none() && item.get("kind").is_none(), "{item}");
        }
    }
    assert_eq!(served.json(&format!("{ALPHA}/nodes/node-a?labelSelector=")).await["usage"]["cpu"], "1250m");
    let web = served.json(&format!("{ALPHA}/namespaces/default/pods/web-1?labelSelector=")).await;
    assert_eq!(web["containers"][1], json!({"name": "sidecar", "usage": {"cpu": "45m", "memory": "23044Ki"}}));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_no_new_values_keeps_the_last_for_two_cycles() {
    let mut served = Served::start().await;
    // From the fifth cycle on the kubelets repeat themselves, and there are no rates.
    for (cycle, nodes) in [(4, 3), (5, 3), (6, 3), (7, 0)] {
        served.run_to(cycle);
        let list = served.json(&format!("{BETA}/nodes")).await;
        let items = list["items"].as_array().unwrap();
        assert_eq!(items.len(), nodes, "after {cycle}: {list}");
        assert!(items.iter().all(|item| item["timestamp"] == "2026-11-21T09:08:30Z"), "after {cycle}: {list}");
        let pods = served.json(&format!("{BETA}/namespaces/default/pods")).await;
        assert_eq!(names(&pods).is_empty(), nodes == 0, "after {cycle}: {pods}");
    }
}
