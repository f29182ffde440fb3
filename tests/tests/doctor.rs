//! `millrace doctor` as an operator runs it: against a simulated cluster that is well or ill in known ways, and sinks
//! that are there or not.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a failed expectation is a failed test")]

use std::time::Duration;

use millrace_tests::fixtures::influxd::{Influxd, Options};
use millrace_tests::fixtures::ports;
use millrace_tests::fixtures::process::Outcome;
use millrace_tests::fixtures::prometheus::Prometheus;
use millrace_tests::fixtures::router::Setup;
use millrace_tests::kubesim::{Failure, Grant, Kubesim};
use millrace_tests::pki::Authority;
use serde_json::{Value, json};

const API_SERVICE: &str = "/apis/apiregistration.k8s.io/v1/apiservices/v1beta1.metrics.k8s.io";
const SECURE: &str = "[http.secure]\nlisten = '127.0.0.1:0'\n";

async fn cluster(nodes: usize) -> Kubesim {
    Kubesim::builder().size(nodes, 3, 1).configure(|config| config.https = true).start().await.unwrap()
}

/// With what belongs into `[source.kubernetes.kubelet]`, and more tables.
fn setup(sim: &Kubesim, kubelet: &str, more: &str) -> Setup {
    let source = "[source.kubernetes]\napi-server = 'FOLDER/kubeconfig'\n[source.kubernetes.kubelet]";
    Setup::new(&format!("{source}\n{kubelet}\n{more}")).file("kubeconfig", sim.kubeconfig())
}

async fn doctor(setup: &Setup, more: &[&str]) -> Outcome {
    setup.outcome_with("doctor", more).await
}

/// The exit code and the JSON report.
async fn report(setup: &Setup, more: &[&str]) -> (i32, Value) {
    let outcome = doctor(setup, &[&["--output=json"], more].concat()).await;
    let json = serde_json::from_str(&outcome.stdout).unwrap_or_else(|error| panic!("{error}: {outcome:?}"));
    (outcome.code().unwrap(), json)
}

/// All findings of a check.
fn of<'r>(report: &'r Value, check: &str) -> Vec<&'r Value> {
    report["checks"].as_array().unwrap().iter().filter(|finding| finding["check"] == check).collect()
}

/// The only finding of a check, about that subject if one is named.
fn one<'r>(report: &'r Value, check: &str, subject: &str) -> &'r Value {
    let found: Vec<_> =
        of(report, check).into_iter().filter(|one| subject.is_empty() || one["subject"] == subject).collect();
    assert_eq!(found.len(), 1, "{check} {subject}: {report:#}");
    found[0]
}

fn says(finding: &Value) -> &str {
    finding["says"].as_str().unwrap()
}

fn remedy(finding: &Value) -> &str {
    finding["remedy"].as_str().unwrap_or_else(|| panic!("no remedy: {finding:#}"))
}

fn api_service(name: &str, available: bool) -> Value {
    let condition = json!({"type": "Available", "status": if available { "True" } else { "False" },
        "reason": "FailedDiscoveryCheck", "message": "failing or missing response"});
    json!({"spec": {"service": {"namespace": "kube-system", "name": name}, "insecureSkipTLSVerify": true},
        "status": {"conditions": [condition]}})
}

#[tokio::test]
async fn a_cluster_that_is_well_is_found_well() {
    let sim = cluster(3).await;
    sim.publish_authorities(&Authority::new("front-proxy-ca").unwrap().pem(), &["front-proxy-client"], "");
    sim.serve(API_SERVICE, 200, api_service("millrace", true));
    sim.serve("/apis/metrics.k8s.io/v1beta1", 200, json!({"kind": "APIResourceList"}));
    let setup = setup(&sim, "", &format!("{SECURE}[[sink]]\ntype = 'log'\n"));
    let outcome = doctor(&setup, &["--strict"]).await;
    assert_eq!(outcome.code(), Some(0), "{outcome:?}");
    for part in [
        "Kubernetes v1.25.16, where we are `kubernetes-admin`",
        "list nodes, watch nodes, list pods",
        "create tokenreviews.authentication.k8s.io",
        "list configmaps kube-system/extension-apiserver-authentication",
        "`kube-system/millrace`",
        "the API server gets an answer from the metrics API",
        "the front proxy is front-proxy-client",
        "3 of 3 kubelets answer",
        "3 pods",
        "heapster",
        "0 warnings, 0 failures: all is well",
    ] {
        assert!(outcome.stdout.contains(part), "no `{part}`: {}", outcome.stdout);
    }
    assert!(!outcome.stdout.contains('\u{1b}'), "no colours in a file");
    let token = sim.token().unwrap();
    assert!(!outcome.stdout.contains(token) && !outcome.stderr.contains(token));
    let (code, json) = report(&setup, &[]).await;
    assert_eq!((code, &json["version"], &json["outcome"]), (0, &json!(1), &json!("ok")));
    assert_eq!(of(&json, "kubelets.answers").len(), 3);
    assert_eq!(one(&json, "kubelets.answers", &sim.node_name(0))["facts"]["pods"], 3);
    let (code, json) = report(&setup, &["--node", &sim.node_name(1)]).await;
    assert_eq!((code, of(&json, "kubelets.answers").len()), (0, 1));
    let (code, json) = report(&setup, &["--max-nodes", "2"]).await;
    assert_eq!((code, of(&json, "kubelets.answers").len()), (0, 2));
    one(&json, "kubelets.chosen", "");
    let (code, json) = report(&setup, &["--node", "nobody"]).await;
    assert_eq!(code, 1);
    assert_eq!(says(one(&json, "kubelets.unknown", "nobody")), "there is no node of this name");
}

#[tokio::test]
async fn a_right_that_is_missing_is_named_with_the_yaml_that_grants_it() {
    let sim = cluster(2).await;
    sim.deny("watch", "pods");
    sim.deny("list", "pods");
    sim.deny("get", "nodes/stats");
    sim.deny("create", "tokenreviews");
    sim.serve(API_SERVICE, 403, json!({"message": "forbidden"}));
    let setup = setup(&sim, "", SECURE);
    let outcome = doctor(&setup, &["--timeout=2s"]).await;
    assert_eq!(outcome.code(), Some(1), "{outcome:?}");
    for part in [
        "FAIL  watch pods: not allowed, and needed for labels, requests and limits",
        "FAIL  get nodes/stats: not allowed, and needed",
        "kind: ClusterRole\n",
        "    resources: [nodes/stats]\n             verbs: [get]",
        "    resources: [pods]\n             verbs: [list, watch]",
        "name: system:auth-delegator",
        "- kind: User",
        "kubernetes-admin",
        "FAIL  pods: pods is forbidden",
        "may not be read with these rights",
    ] {
        assert!(outcome.stdout.contains(part), "no `{part}`: {}", outcome.stdout);
    }
    let (_, json) = report(&setup, &["--timeout=2s"]).await;
    let missing: Vec<_> = of(&json, "rights.missing").into_iter().map(|one| one["subject"].as_str().unwrap()).collect();
    assert_eq!(missing, ["list pods", "watch pods", "get nodes/stats", "create tokenreviews.authentication.k8s.io"]);
    assert_eq!(one(&json, "aggregation.service", "")["status"], "note", "nobody needs it to run");
    // The rights of somebody else.
    let account = "system:serviceaccount:kube-system:millrace";
    for (verb, what) in [("*", "nodes."), ("*", "namespaces."), ("list", "pods.")] {
        sim.grant(Grant::of(account, verb, what));
    }
    let (code, json) = report(&setup, &["--service-account=kube-system/millrace", "--timeout=2s"]).await;
    assert_eq!(code, 1);
    let missing: Vec<_> = of(&json, "rights.missing").into_iter().map(|one| one["subject"].as_str().unwrap()).collect();
    assert!(missing.starts_with(&["watch pods"]), "{missing:?}");
    let manifest = one(&json, "rights.grant", "")["manifest"].as_str().unwrap();
    assert!(
        manifest.contains("  - kind: ServiceAccount\n    name: millrace\n    namespace: kube-system\n"),
        "{manifest}"
    );
}

#[tokio::test]
async fn each_kubelet_that_is_ill_is_told_with_what_helps() {
    let sim = cluster(10).await;
    for (node, failure) in [
        (0, Failure::Unauthorized),
        (1, Failure::Forbidden),
        (2, Failure::Blackhole),
        (3, Failure::Refused),
        (4, Failure::Skew(-600)),
        (5, Failure::ZeroNode),
        (6, Failure::NotReady),
        (7, Failure::PodsEmpty),
        (8, Failure::WrongName),
    ] {
        sim.fail(node, failure).await;
    }
    let setup = setup(&sim, "timeout = '1s'", "");
    let (code, json) = report(&setup, &[]).await;
    assert_eq!(code, 1);
    for (node, check, status, part) in [
        (0, "kubelets.unauthorized", "failure", "authentication.webhook.enabled"),
        (1, "kubelets.forbidden", "failure", "it took us for nobody"),
        (2, "kubelets.timeout", "failure", "firewall"),
        (3, "kubelets.refused", "failure", "is the kubelet running"),
        (4, "kubelets.clock", "warning", "NTP"),
        (5, "kubelets.zeros", "warning", "cgroup v2"),
        (6, "kubelets.not-ready", "warning", "describe node"),
        (7, "kubelets.pods", "warning", "crictl ps"),
        (8, "kubelets.summary", "failure", "new owner"),
    ] {
        let found = one(&json, check, &sim.node_name(node));
        assert_eq!(found["status"], status, "{found:#}");
        assert!(remedy(found).contains(part), "{found:#}");
    }
    let well: Vec<_> = of(&json, "kubelets.answers").into_iter().map(|one| one["subject"].as_str().unwrap()).collect();
    assert_eq!(well.len(), 4, "those with a warning answer as well: {well:?}");
    assert!(says(one(&json, "kubelets.clock", "")).contains("600 s behind"), "{json:#}");
    let address = format!(":{}: 401", sim.kubelet_port());
    assert!(says(one(&json, "kubelets.unauthorized", "")).contains(&address));
}

#[tokio::test]
async fn a_certificate_that_is_not_believed_is_shown() {
    let sim = cluster(2).await;
    let strangers = Authority::new("strangers-ca").unwrap().pem();
    let wrong_name = setup(&sim, "server-name = 'somebody.else'", "");
    let (code, json) = report(&wrong_name, &[]).await;
    let found = one(&json, "kubelets.tls-name", &sim.node_name(0));
    assert_eq!(code, 1);
    assert!(says(found).contains("not for `somebody.else`; its certificate is for"), "{found:#}");
    assert!(says(found).contains("127.1.0.1") && says(found).contains("kubesim-ca"), "{found:#}");
    assert!(remedy(found).contains("`server-name = \"node-name\"`"), "{found:#}");
    let by_node = setup(&sim, "server-name = 'node-name'", "");
    assert_eq!(report(&by_node, &[]).await.0, 0, "what was advised helps");
    let wrong_authority = setup(&sim, "certificate-authority = 'FOLDER/ca.pem'", "").file("ca.pem", &strangers);
    let (code, json) = report(&wrong_authority, &[]).await;
    let found = one(&json, "kubelets.tls-authority", &sim.node_name(1));
    assert_eq!(code, 1);
    assert!(says(found).contains("kubesim-ca") && remedy(found).contains("serverTLSBootstrap"), "{found:#}");
    let unchecked = setup(&sim, "insecure-tls = true", "");
    let (code, json) = report(&unchecked, &["--strict"]).await;
    assert_eq!((code, &one(&json, "kubelets.insecure", "")["status"]), (1, &json!("warning")));
    // The API server's own.
    let api =
        format!("[source.kubernetes]\napi-server = '{}'\ncertificate-authority = 'FOLDER/ca.pem'\n", sim.api_url());
    let api = Setup::new(&api).file("ca.pem", &strangers);
    let (code, json) = report(&api, &["--timeout=5s"]).await;
    let found = one(&json, "api.tls", "");
    assert_eq!(code, 1);
    assert!(says(found).contains("signed by `CN=kubesim-ca") && remedy(found).contains("certificate-authority"));
}

#[tokio::test]
async fn an_api_server_that_is_not_there_keeps_the_rest_from_nothing() {
    let sim = cluster(1).await;
    sim.api_down().await;
    let setup = setup(&sim, "", "[[sink]]\ntype = 'log'\n");
    let (code, json) = report(&setup, &[]).await;
    assert_eq!((code, &one(&json, "api.answers", "")["status"]), (1, &json!("failure")));
    one(&json, "kubelets.skipped", "");
    one(&json, "sinks.answers", "log");
    one(&json, "rules.all", "");
    sim.api_up().await;
    sim.api_fails_with(Some(500));
    let (code, json) = report(&setup, &["--timeout=1s"]).await;
    assert_eq!(code, 1);
    assert_eq!(of(&json, "api.lists").len(), 3, "{json:#}");
    // Not in a pod, and no kubeconfig.
    let nowhere = Setup::new("");
    let (code, json) = report(&nowhere, &[]).await;
    assert_eq!(code, 1);
    assert!(remedy(one(&json, "api.client", "")).contains("--kubeconfig"));
    let kubeconfig = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(kubeconfig.path(), sim.kubeconfig()).unwrap();
    sim.api_fails_with(None);
    assert_eq!(report(&nowhere, &["--kubeconfig", &kubeconfig.path().display().to_string()]).await.0, 0);
}

#[tokio::test]
async fn another_server_of_the_metrics_api_is_told() {
    let sim = cluster(1).await;
    sim.publish_authorities("", &[], "");
    sim.serve(API_SERVICE, 200, api_service("metrics-server", false));
    sim.serve("/apis/metrics.k8s.io/v1beta1", 503, json!({"message": "service unavailable"}));
    let (code, json) = report(&setup(&sim, "", SECURE), &[]).await;
    assert_eq!(code, 1);
    let conflict = one(&json, "aggregation.service", "kube-system/metrics-server");
    assert!(conflict["status"] == "warning" && remedy(conflict).contains("remove the other one"), "{conflict:#}");
    assert!(remedy(one(&json, "aggregation.available", "")).contains("NetworkPolicy"));
    assert_eq!(one(&json, "aggregation.answers", "")["status"], "failure");
    assert!(
        says(one(&json, "aggregation.front-proxy", "extension-apiserver-authentication")).contains("no front proxy")
    );
    let (code, json) = report(&setup(&sim, "", ""), &[]).await;
    assert_eq!((code, &one(&json, "aggregation.service", "")["status"]), (0, &json!("note")));
}

#[tokio::test]
async fn sinks_are_asked_and_nothing_is_made() {
    let sim = cluster(1).await;
    let influxd = Influxd::start_with(Options {
        admin: Some(("root".to_owned(), "s3cret-pass".to_owned())),
        ..Options::default()
    })
    .await;
    let [dead] = ports::free();
    let sinks = format!(
        "[[sink]]\ntype = 'influxdb'\nurl = '{url}'\nusername = 'root'\npassword = 's3cret-pass'\nretention = '7d'\n\
         spool.directory = 'FOLDER/spool'\n\
         [[sink]]\ntype = 'influxdb'\nurl = '{url}'\nusername = 'root'\npassword = 'wr0ng-pass'\n\
         [[sink]]\ntype = 'influxdb'\nurl = 'http://127.0.0.1:{dead}'\n\
         [[sink]]\ntype = 'prometheus-remote-write'\nurl = 'http://127.0.0.1:{dead}'\n\
         [historical]\nurl = '{url}'\nusername = 'root'\npassword = 's3cret-pass'\n",
        url = influxd.url()
    );
    let setup = setup(&sim, "", &sinks);
    let (code, json) = report(&setup, &[]).await;
    assert_eq!(code, 1);
    assert!(says(one(&json, "sinks.answers", "influxdb-1")).contains("written by the API v1"));
    assert!(says(one(&json, "sinks.database", "influxdb-1")).contains("makes it at its first write"), "{json:#}");
    assert_eq!(one(&json, "sinks.spool", "influxdb-1")["status"], "ok");
    let refused = one(&json, "sinks.credentials", "influxdb-2");
    assert!(refused["status"] == "failure" && remedy(refused).contains("check `username`"), "{refused:#}");
    assert!(remedy(one(&json, "sinks.answers", "influxdb-3")).contains("is the server running"));
    assert_eq!(one(&json, "sinks.answers", "prometheus-remote-write")["status"], "failure");
    let text = json.to_string();
    assert!(!text.contains("s3cret-pass") && !text.contains("wr0ng-pass"));
    let databases = influxd.query("", "SHOW DATABASES").await.to_string();
    assert!(!databases.contains("k8s"), "nothing is made: {databases}");
    // As Millrace leaves it.
    influxd.query("", "CREATE DATABASE k8s WITH DURATION 168h REPLICATION 1 NAME \"default\"").await;
    let (_, json) = report(&setup, &[]).await;
    assert_eq!(one(&json, "sinks.write", "influxdb-1")["status"], "ok", "{json:#}");
    let kept = one(&json, "sinks.retention", "influxdb-1");
    assert_eq!((&kept["status"], &kept["facts"]["retention_s"]), (&json!("ok"), &json!(604_800)), "{kept:#}");
    assert_eq!(one(&json, "sinks.read", "historical")["status"], "note", "it is empty");
    let measurements = influxd.query("k8s", "SHOW MEASUREMENTS").await.to_string();
    assert!(!measurements.contains("values"), "nothing is written: {measurements}");
    // Somebody who may only write.
    influxd.query("", "CREATE USER w WITH PASSWORD 'w-pass'; GRANT WRITE ON k8s TO w").await;
    let only = setup.with(
        "username = 'root'\npassword = 's3cret-pass'\nretention",
        "username = 'w'\npassword = 'w-pass'\nretention",
    );
    let (_, json) = report(&only, &[]).await;
    assert_eq!(one(&json, "sinks.write", "influxdb-1")["status"], "ok", "{json:#}");
    assert_eq!(one(&json, "sinks.retention", "influxdb-1")["status"], "note");
}

#[tokio::test]
async fn a_prometheus_takes_a_write_of_nothing() {
    let sim = cluster(1).await;
    let prometheus = Prometheus::start("").await;
    let sinks = format!("[[sink]]\ntype = 'prometheus-remote-write'\nurl = '{}'\n", prometheus.url());
    let (code, json) = report(&setup(&sim, "", &sinks), &["--strict"]).await;
    assert_eq!((code, &one(&json, "sinks.write", "prometheus-remote-write")["status"]), (0, &json!("ok")), "{json:#}");
}

#[tokio::test]
async fn rules_and_settings_that_are_broken_are_told() {
    let sim = cluster(1).await;
    let broken = setup(&sim, "", "[rules]\ndir = ['FOLDER/rules']\n").file("rules/60-broken.wasm", "no rule");
    let (code, json) = report(&broken, &[]).await;
    assert_eq!(code, 1);
    let found = one(&json, "rules.loaded", "");
    assert!(found["subject"].as_str().unwrap().ends_with("60-broken.wasm"), "{found:#}");
    assert!(remedy(found).contains("millrace check"));
    one(&json, "kubelets.overview", "");
    // What can't be read at all.
    let wrong = Setup::new("resolution = 'soon'\nnonsense = 1\n");
    let (code, json) = report(&wrong, &[]).await;
    assert_eq!((code, of(&json, "settings.refused").len()), (2, 2), "{json:#}");
    let outcome = doctor(&wrong, &[]).await;
    assert_eq!(outcome.code(), Some(2));
    assert!(outcome.stdout.contains("FAIL  `resolution` is `soon`"), "{}", outcome.stdout);
    let outcome = doctor(&broken, &["--no-such-flag"]).await;
    assert_eq!(outcome.code(), Some(2), "{}", outcome.stderr);
}

#[tokio::test]
async fn whoever_waits_is_told_for_what() {
    let sim = cluster(2).await;
    sim.fail(1, Failure::Never).await;
    let setup = setup(&sim, "timeout = '5s'", "");
    let mut process = setup.process("doctor", &[]);
    let waiting = tokio::task::spawn_blocking(move || {
        process.wait_for_stderr("asking kubelets: 1 of 2 done", Duration::from_secs(60));
        process.wait(Duration::from_secs(60))
    });
    let outcome = waiting.await.unwrap();
    assert_eq!(outcome.code(), Some(1));
}
