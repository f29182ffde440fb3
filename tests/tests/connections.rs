//! Every way to reach an API server and its kubelets with TLS and tokens, right and wrong: what is
//! wrong is told with its remedy, and mended without a restart.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a failed expectation is a failed test")]

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use millrace_tests::fixtures::router::{Router, Setup};
use millrace_tests::kubesim::{Kubesim, Target};
use serde_json::{Value, json};

const NODES: usize = 3;

async fn cluster() -> Kubesim {
    Kubesim::builder().size(NODES, 2, 1).configure(|config| config.https = true).start().await.unwrap()
}

/// A cycle a second, printed.
fn setup(source: &str) -> Setup {
    Setup::new(&format!("resolution = '1s'\n[source.kubernetes]\n{source}\n[[sink]]\ntype = 'log'\n"))
}

/// The API server by URL, with the right token and authority in files; the kubelets by `kubelet`,
/// with `token` and `ca` in `kubelet-token` and `kubelet-ca.crt`.
fn by_url(sim: &Kubesim, kubelet: &str, token: &str, ca: &str) -> Setup {
    setup(&format!(
        "api-server = '{}'\ntoken-file = 'FOLDER/token'\ncertificate-authority = 'FOLDER/ca.crt'\n\
         [source.kubernetes.kubelet]\n{kubelet}",
        sim.api_url()
    ))
    .file("token", sim.token().unwrap())
    .file("ca.crt", sim.ca_pem().unwrap())
    .file("kubelet-token", token)
    .file("kubelet-ca.crt", ca)
}

const OWN: &str = "token-file = 'FOLDER/kubelet-token'\ncertificate-authority = 'FOLDER/kubelet-ca.crt'";

/// An authority that signed nothing here.
fn another_authority() -> String {
    rcgen::generate_simple_self_signed(["another".to_owned()]).unwrap().cert.pem()
}

/// Whether every node was answered for by its kubelet in the last cycle.
fn all_ok(status: &Value) -> bool {
    let nodes = status["nodes"].as_array().unwrap();
    nodes.len() == NODES && nodes.iter().all(|node| node["state"] == "ok")
}

/// Waits until all nodes give points, then stops and looks at what was printed.
async fn delivers(mut router: Router) {
    router.until("delivering all nodes", all_ok).await;
    let cycles = router.stop_and_read().await;
    let last = cycles.last().unwrap();
    let nodes = last.keys().filter(|key| key.starts_with("node:") && !key.contains('/'));
    assert_eq!(nodes.count(), NODES);
    assert!(last.contains_key("cluster"));
}

/// Every node fails for this reason; the log, the status and a counter say so.
async fn all_fail(router: &mut Router, reason: &str, says: &[&str]) {
    let status = router.cycle(1).await;
    assert_eq!((&status["ready"], &status["cycle"]["nodes_answered"]), (&json!(false), &json!(0)));
    for node in status["nodes"].as_array().unwrap() {
        assert_eq!(node["state"], reason, "{node}");
        let told = router.logged(|line| line["message"] == "node gave no points" && line["node"] == node["name"]).await;
        for text in says {
            assert!(node["error"].as_str().unwrap().contains(text), "{text}: {node}");
            assert!(told["error"].as_str().unwrap().contains(text), "{text}: {told}");
        }
    }
    let series = format!("millrace_scrape_failures_total{{reason=\"{reason}\"}}");
    assert!(router.metrics().await[&series] >= NODES as f64);
    assert_eq!(router.page("/readyz").await.0.as_u16(), 503);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kubeconfig_gives_credentials_for_the_kubelets_too() {
    let sim = cluster().await;
    let router = setup("api-server = 'FOLDER/kubeconfig'").file("kubeconfig", sim.kubeconfig()).start().await;
    delivers(router).await;
    let requests = sim.requests();
    let scrapes: Vec<_> = requests.iter().filter(|entry| matches!(entry.target, Target::Kubelet(_))).collect();
    assert!(scrapes.len() >= NODES && requests.iter().all(|entry| entry.status == 200), "{requests:?}");
    assert!(scrapes.iter().all(|entry| entry.path == "/stats/summary" && entry.user_agent.starts_with("millrace/")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_is_for_one_request_and_resumes_the_session_of_the_last() {
    let sim = cluster().await;
    let mut router = setup("api-server = 'FOLDER/kubeconfig'").file("kubeconfig", sim.kubeconfig()).start().await;
    router.cycle(3).await;
    drop(router);
    let counts = sim.counts();
    assert!(counts.connections >= counts.scrapes, "{counts:?}");
    assert_eq!(counts.resumed, counts.scrapes - NODES as u64, "{counts:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_token_is_told_and_a_new_one_is_taken_from_its_file() {
    let sim = cluster().await;
    let mut router = by_url(&sim, OWN, "wrong", sim.ca_pem().unwrap()).start().await;
    let says = ["401: the kubelet does not accept the token", "--authentication-token-webhook"];
    all_fail(&mut router, "401", &says).await;
    assert!(!router.log().iter().any(|line| line.to_string().contains("wrong")), "no token is in the log");
    fs::write(router.path("kubelet-token"), sim.token().unwrap()).unwrap();
    delivers(router).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_signer_is_told_and_a_new_authority_is_taken_from_its_file() {
    let sim = cluster().await;
    let mut router = by_url(&sim, OWN, sim.token().unwrap(), &another_authority()).start().await;
    let says = ["TLS with 127.1.0.", "UnknownIssuer", "set the kubelet `certificate-authority` to what signed its"];
    all_fail(&mut router, "tls", &says).await;
    let scraped = sim.requests().iter().any(|entry| matches!(entry.target, Target::Kubelet(_)));
    assert!(!scraped, "no token is sent to somebody unknown");
    fs::write(router.path("kubelet-ca.crt"), sim.ca_pem().unwrap()).unwrap();
    delivers(router).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn unchecked_certificates_are_warned_about() {
    let sim = cluster().await;
    let kubelet = "token-file = 'FOLDER/kubelet-token'\ninsecure-tls = true";
    let mut router = by_url(&sim, kubelet, sim.token().unwrap(), &another_authority()).start().await;
    let warning = |line: &Value| line["level"] == "WARN" && line["message"].as_str().unwrap().contains("NOT checked");
    router.logged(warning).await;
    delivers(router).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_side_with_tls_and_the_other_without_is_told() {
    let sim = cluster().await;
    let kubelet = format!("https = false\nport = {}", sim.kubelet_port());
    let mut router = by_url(&sim, &kubelet, "", "").start().await;
    all_fail(&mut router, "connection", &["no connection to 127.1.0.", "set the kubelet `https = true`"]).await;
    router.stop().await;

    let sim = Kubesim::builder().size(NODES, 2, 1).start().await.unwrap();
    let config = format!(
        "api-server = '{}'\n[source.kubernetes.kubelet]\ncertificate-authority = 'FOLDER/ca.crt'",
        sim.api_url()
    );
    let mut router = setup(&config).file("ca.crt", another_authority()).start().await;
    all_fail(&mut router, "tls", &["what answers there speaks no TLS", "set the kubelet `https = false`"]).await;
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_api_server_that_refuses_us_is_told_while_we_wait_for_it() {
    let sim = cluster().await;
    let other = another_authority();
    for (name, token, ca, says) in [
        ("token", "wrong", sim.ca_pem().unwrap(), "the API server refuses the credentials (401): check the service"),
        ("authority", sim.token().unwrap(), other.as_str(), "UnknownIssuer"),
    ] {
        let setup = by_url(&sim, "", "unused", "unused").file("token", token).file("ca.crt", ca);
        let mut router = setup.start().await;
        let kinds = ["nodes", "pods", "namespaces"];
        for kind in kinds {
            let told = router.logged(|line| line["kind"] == kind && line["error"].is_string()).await;
            assert_eq!(told["message"], "API server failed; keeping what is known", "{name}");
            assert!(told["error"].as_str().unwrap().contains(says), "{name}: {told}");
        }
        let status = router.status().await;
        let metrics = router.metrics().await;
        for kind in kinds {
            let watch = &status["inventory"][kind];
            assert_eq!((&watch["synced"], &watch["connected"]), (&json!(false), &json!(false)), "{name}");
            assert!(watch["last_error"].as_str().unwrap().contains(says), "{name}: {watch}");
            assert!(metrics[&format!("millrace_watch_errors_total{{kind=\"{kind}\"}}")] >= 1.0, "{name}");
        }
        let (code, ready) = router.page("/readyz").await;
        assert_eq!(
            (code.as_u16(), ready.trim()),
            (503, "the first lists of the API server are not complete"),
            "{name}"
        );
        assert_eq!(status["cycle"], Value::Null, "{name}: no cycle begins without nodes");
        router.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn inside_a_cluster_the_service_account_is_enough() {
    let sim = cluster().await;
    let address = sim.api_url().replace("https://", "");
    let (host, port) = address.rsplit_once(':').unwrap();
    let in_cluster = |sim: &Kubesim| {
        assert!(sim.api_url().starts_with("https://"));
        setup("api-server = 'in-cluster'")
            .variable("KUBERNETES_SERVICE_HOST", host)
            .variable("KUBERNETES_SERVICE_PORT", port)
    };
    let account = match ServiceAccount::mount(sim.token().unwrap(), sim.ca_pem().unwrap()) {
        Ok(account) => account,
        // A pod has one already, which is not ours to replace; without root there is no place for one.
        Err(error) => return eprintln!("left out, since {} can't be made: {error}", ServiceAccount::FOLDER),
    };
    let router = in_cluster(&sim).start().await;
    delivers(router).await;
    drop(account);

    let outcome = in_cluster(&sim).outcome("run").await;
    assert_eq!(outcome.code(), Some(78), "{}", outcome.stderr);
    for text in ["not in a cluster: ", "name a kubeconfig or a URL as `api-server`"] {
        assert!(outcome.stderr.contains(text), "{text}: {}", outcome.stderr);
    }
}

/// The files that Kubernetes mounts into every pod. Only the folders that were missing are made, and
/// all that was made is taken away again.
struct ServiceAccount {
    made: Vec<PathBuf>,
}

impl ServiceAccount {
    const FOLDER: &'static str = "/var/run/secrets/kubernetes.io/serviceaccount";

    fn mount(token: &str, ca: &str) -> io::Result<Self> {
        let folder = Path::new(Self::FOLDER);
        if folder.exists() {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let mut missing: Vec<&Path> = folder.ancestors().take_while(|folder| !folder.exists()).collect();
        missing.reverse();
        let mut account = Self { made: Vec::new() };
        for folder in missing {
            fs::create_dir(folder)?;
            account.made.push(folder.to_owned());
        }
        for (name, content) in [("token", token), ("ca.crt", ca), ("namespace", "monitoring")] {
            account.made.push(folder.join(name));
            fs::write(folder.join(name), content)?;
        }
        Ok(account)
    }
}

impl Drop for ServiceAccount {
    fn drop(&mut self) {
        for path in self.made.iter().rev() {
            // What is not there any more, or has got other content meanwhile, is left as it is.
            _ = if path.is_dir() { fs::remove_dir(path) } else { fs::remove_file(path) };
        }
    }
}
