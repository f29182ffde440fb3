//! The inventory against API servers on loopback: with streaming lists, without, and away.

use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use url::Url;

use super::*;
use crate::config::source::ApiServer;
use crate::loopback::{Loopback, Reply, answer, chunk, chunked};

async fn inventory(port: u16) -> Inventory {
    let url = Url::parse(&format!("http://127.0.0.1:{port}")).unwrap();
    let server = ApiServer::Url { url, insecure_tls: false, token_file: None, certificate_authority: None };
    Inventory::start(connect(&server).await.unwrap().client, FactOptions::default())
}

/// Waits for a condition, with a deadline.
async fn until(what: &str, condition: impl Fn() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < Duration::from_secs(20), "still not: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn object(kind: &str, name: &str, version: u32) -> String {
    let more = match kind {
        "pods" => r#","spec":{"nodeName":"node-a","containers":[{"name":"c"}]}"#,
        _ => "",
    };
    format!(
        r#"{{"metadata":{{"name":"{name}","namespace":"ns","uid":"uid-{name}","resourceVersion":"{version}"}}{more}}}"#
    )
}

fn event(kind: &str, object: &str) -> Vec<u8> {
    format!("{{\"type\":\"{kind}\",\"object\":{object}}}\n").into_bytes()
}

fn end_of_list() -> Vec<u8> {
    event(
        "BOOKMARK",
        r#"{"kind":"Pod","apiVersion":"v1","metadata":{"resourceVersion":"5","annotations":{"k8s.io/initial-events-end":"true"}}}"#,
    )
}

fn page(kind: &str, names: &[&str], next: &str) -> Reply {
    let items: Vec<_> = names.iter().map(|name| object(kind, name, 1)).collect();
    let body = format!(r#"{{"metadata":{{"resourceVersion":"7","continue":"{next}"}},"items":[{}]}}"#, items.join(","));
    Reply::Keep(answer("200 OK", "", body.as_bytes()))
}

fn status(code: u16, message: &str) -> Reply {
    let body = format!(
        r#"{{"kind":"Status","apiVersion":"v1","metadata":{{}},"status":"Failure","message":"{message}","reason":"x","code":{code}}}"#
    );
    Reply::Keep(answer(&format!("{code} x"), "content-type: application/json\r\n", body.as_bytes()))
}

fn kind(head: &str) -> &str {
    ["nodes", "pods", "namespaces"].into_iter().find(|kind| head.starts_with(&format!("GET /api/v1/{kind}?"))).unwrap()
}

#[tokio::test]
async fn a_streaming_list_goes_on_as_a_watch() {
    let server = Loopback::start(0, None, |head| {
        assert!(head.contains("sendInitialEvents=true"), "{head}");
        let kind = kind(head);
        let events = [
            event("ADDED", &object(kind, "a", 1)),
            event("ADDED", &object(kind, "b", 2)),
            end_of_list(),
            event("DELETED", &object(kind, "a", 6)),
            event("ADDED", &object(kind, "c", 7)),
        ];
        Reply::Hold(chunked(&events.concat()))
    })
    .await;
    let inventory = inventory(server.address.port()).await;
    inventory.wait_synced().await;
    until("c is there and a is gone", || {
        let nodes: Vec<_> = inventory.nodes().iter().map(|node| node.name.to_string()).collect();
        let pods: Vec<_> = inventory.pods_of("node-a").iter().map(|pod| pod.name.to_string()).collect();
        nodes == ["b", "c"] && pods == ["b", "c"] && inventory.namespaces().len() == 2
    })
    .await;
    assert_eq!(inventory.namespace_uid("c").as_deref(), Some("uid-c"));
    assert!(inventory.pod("ns", "b").is_some() && inventory.pod("ns", "a").is_none());
    let state = inventory.status().pods;
    assert_eq!((state.objects, state.events, state.errors, state.relists), (2, 4, 0, 0));
}

#[tokio::test]
async fn a_server_without_streaming_lists_is_asked_by_pages() {
    for refusal in ["422", "ends", "no answer"] {
        let server = Loopback::start(0, None, move |head| {
            let kind = kind(head);
            match () {
                () if head.contains("sendInitialEvents") && refusal == "422" => {
                    status(422, "sendInitialEvents is forbidden")
                }
                () if head.contains("sendInitialEvents") && refusal == "no answer" => Reply::Hold(Vec::new()),
                () if head.contains("sendInitialEvents") => {
                    Reply::Close([chunked(&event("ADDED", &object(kind, "a", 1))), chunk(b"")].concat())
                }
                () if head.contains("watch=true") && head.contains("resourceVersion=7") => {
                    Reply::Hold(chunked(&event("ADDED", &object(kind, "z", 8))))
                }
                () if head.contains("watch=true") => status(500, "not the version of the list"),
                () if head.contains("continue=more") => page(kind, &["b"], ""),
                () => page(kind, &["a"], "more"),
            }
        })
        .await;
        let inventory = inventory(server.address.port()).await;
        inventory.wait_synced().await;
        until("the watch goes on where the list ended", || {
            inventory.nodes().len() == 3 && inventory.pods_of("node-a").len() == 3
        })
        .await;
        assert!(inventory.status().nodes.relists >= 1 && inventory.status().nodes.errors == 0, "{refusal}");
    }
}

#[tokio::test]
async fn what_is_known_stays_while_the_server_is_away() {
    let streaming = |names: &'static [&'static str]| {
        move |head: &str| {
            let kind = kind(head);
            if !head.contains("sendInitialEvents") {
                return status(410, "too old resource version");
            }
            let mut events: Vec<u8> = names.iter().flat_map(|name| event("ADDED", &object(kind, name, 1))).collect();
            events.extend(end_of_list());
            Reply::Hold(chunked(&events))
        }
    };
    let server = Loopback::start(0, None, streaming(&["a", "b"])).await;
    let port = server.address.port();
    let inventory = inventory(port).await;
    inventory.wait_synced().await;
    drop(server);
    until("the outage is seen", || inventory.status().nodes.errors > 0 && inventory.status().pods.errors > 0).await;
    assert_eq!((inventory.nodes().len(), inventory.pods_of("node-a").len(), inventory.synced()), (2, 2, true));
    let state = inventory.status().nodes;
    assert!(!state.connected && state.last_error.is_some());

    let _server = Loopback::start(port, None, streaming(&["b", "c", "d"])).await;
    until("the new list is there", || inventory.nodes().len() == 3 && inventory.pods_of("node-a").len() == 3).await;
    assert!(inventory.status().nodes.connected);
}

#[tokio::test]
async fn an_expired_watch_lists_again_and_a_missing_right_is_named() {
    let asked = Arc::new(AtomicUsize::new(0));
    let log = Arc::new(Mutex::new(()));
    let count = Arc::clone(&asked);
    let server = Loopback::start(0, None, move |head| {
        let _one_at_a_time = log.lock().unwrap();
        if kind(head) != "nodes" {
            return status(403, "pods is forbidden: User x cannot list");
        }
        let name = format!("n{}", count.fetch_add(1, SeqCst));
        let gone = r#"{"kind":"Status","apiVersion":"v1","status":"Failure","message":"too old","reason":"Expired","code":410}"#;
        let events = [event("ADDED", &object("nodes", &name, 1)), end_of_list(), event("ERROR", gone)];
        match count.load(SeqCst) {
            1 => Reply::Hold(chunked(&events.concat())),
            _ => Reply::Hold(chunked(&events[..2].concat())),
        }
    })
    .await;
    let inventory = inventory(server.address.port()).await;
    until("the second list replaces the first", || {
        inventory.nodes().iter().map(|node| node.name.to_string()).collect::<Vec<_>>() == ["n1"]
    })
    .await;
    until("the missing right is seen", || inventory.status().pods.last_error.is_some()).await;
    let error = inventory.status().pods.last_error.unwrap();
    assert!(error.contains("403") || error.contains("`get`, `list` and `watch`"), "{error}");
    assert!(!inventory.synced() && inventory.status().nodes.synced);
}
