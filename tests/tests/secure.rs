//! Who may ask what of the secure port, and of Heapster's port with Heapster's own TLS flags: every kind
//! of credential, right and wrong, against the real binary.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a failed expectation is a failed test")]

use std::time::{Duration, Instant};

use millrace_tests::fixtures::router::{Router, Setup};
use millrace_tests::kubesim::{Grant, Kubesim};
use millrace_tests::pki::{Authority, Identity};
use reqwest::tls::Certificate;
use reqwest::{Client, ClientBuilder, StatusCode};
use serde_json::Value;

const NODES: &str = "/apis/metrics.k8s.io/v1beta1/nodes";
const FOREVER: i32 = 2090;
const PAST: i32 = 2024;

struct Authorities {
    front_proxy: Authority,
    clients: Authority,
}

impl Authorities {
    fn new() -> Self {
        Self { front_proxy: Authority::new("front-proxy-ca").unwrap(), clients: Authority::new("cluster-ca").unwrap() }
    }

    fn publish(&self, sim: &Kubesim) {
        sim.publish_authorities(&self.front_proxy.pem(), &["front-proxy-client"], &self.clients.pem());
    }

    fn proxy(&self, until: i32) -> Identity {
        self.front_proxy.client("front-proxy-client", "", until).unwrap()
    }
}

async fn cluster(authorities: &Authorities) -> Kubesim {
    let sim = Kubesim::builder().size(2, 2, 1).configure(|config| config.https = true).start().await.unwrap();
    authorities.publish(&sim);
    sim.know_token("readers-token", "system:serviceaccount:monitoring:reader", &["system:serviceaccounts"]);
    sim.know_token("others-token", "system:serviceaccount:default:other", &["system:serviceaccounts"]);
    for grant in [
        Grant::of("system:serviceaccount:monitoring:reader", "get", "/metrics"),
        Grant::of("system:serviceaccount:monitoring:reader", "post", "/api/v1/rules/*"),
        Grant::of("anna", "list", "nodes.metrics.k8s.io"),
        Grant::of("readers", "get", "/metrics"),
    ] {
        sim.grant(grant);
    }
    sim
}

fn setup(sim: &Kubesim, http: &str) -> Setup {
    let config = format!("resolution = '1s'\n[source.kubernetes]\napi-server = 'FOLDER/kubeconfig'\n[http]\n{http}\n");
    Setup::new(&config).file("kubeconfig", sim.kubeconfig())
}

const SECURE: &str = "[http.secure]\nlisten = '127.0.0.1:0'";

/// The secure port's URL.
async fn secure(router: &mut Router) -> String {
    let line = router.logged(|line| line["message"] == "secure port").await;
    router.logged(|line| line["message"] == "authorities of the cluster" && line["front_proxy"] == true).await;
    format!("https://{}", line["address"].as_str().unwrap())
}

fn builder() -> ClientBuilder {
    Client::builder().no_proxy().timeout(Duration::from_secs(30)).tls_danger_accept_invalid_certs(true)
}

fn with(identity: &Identity) -> Client {
    let pem = format!("{}{}", identity.certificate, identity.key);
    builder().identity(reqwest::Identity::from_pem(pem.as_bytes()).unwrap()).build().unwrap()
}

/// Status and body that somebody gets: a client, headers, a path.
async fn ask(client: &Client, url: &str, path: &str, headers: &[(&str, &str)]) -> (u16, String) {
    let mut request = client.get(format!("{url}{path}"));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let answer = request.send().await.unwrap();
    (answer.status().as_u16(), answer.text().await.unwrap())
}

fn reviews(sim: &Kubesim, kind: &str) -> usize {
    sim.requests().iter().filter(|entry| entry.path.contains(kind)).count()
}

#[tokio::test]
async fn a_token_is_what_the_api_server_says_it_is() {
    let authorities = Authorities::new();
    let sim = cluster(&authorities).await;
    let mut router = setup(&sim, SECURE).start().await;
    let (url, client) = (secure(&mut router).await, builder().build().unwrap());
    for path in ["/healthz", "/livez", "/readyz"] {
        assert!(ask(&client, &url, path, &[]).await.0 != 401, "{path}");
    }
    for path in ["/metrics", "/", "/api/v1/status", "/api/v1/model/nodes", "/apis", NODES, "/nowhere"] {
        let (code, body) = ask(&client, &url, path, &[]).await;
        let status: Value = serde_json::from_str(&body).unwrap();
        assert_eq!(
            (code, &status["kind"], &status["reason"]),
            (401, &"Status".into(), &"Unauthorized".into()),
            "{path}"
        );
    }
    for token in ["Bearer nobodys-token", "Basic cmVhZGVyczp0b2tlbg==", "Bearer "] {
        assert_eq!(ask(&client, &url, "/metrics", &[("authorization", token)]).await.0, 401, "{token}");
    }
    let other = [("authorization", "Bearer others-token")];
    let (code, body) = ask(&client, &url, "/metrics", &other).await;
    assert_eq!(code, 403, "{body}");
    let sentence = "forbidden: User \\\"system:serviceaccount:default:other\\\" cannot get path \\\"/metrics\\\"";
    assert!(body.contains(sentence), "{body}");
    let reader = [("authorization", "Bearer readers-token")];
    let before = (reviews(&sim, "tokenreviews"), reviews(&sim, "subjectaccessreviews"));
    for _ in 0..5 {
        let (code, body) = ask(&client, &url, "/metrics", &reader).await;
        assert_eq!(code, 200, "{body}");
        assert!(body.contains("millrace_http_authorizations_total{result=\"unauthorized\"}"), "{body}");
    }
    let after = (reviews(&sim, "tokenreviews"), reviews(&sim, "subjectaccessreviews"));
    assert_eq!(after, (before.0 + 1, before.1 + 1), "answers are kept");
    let (code, body) = ask(&client, &url, NODES, &reader).await;
    assert_eq!(code, 403, "{body}");
    assert!(body.contains("cannot list resource \\\"nodes\\\" in API group \\\"metrics.k8s.io\\\""), "{body}");
    // Every method is looked at.
    let posted = client.post(format!("{url}/api/v1/rules/reload")).header("authorization", "Bearer readers-token");
    assert_eq!(posted.send().await.unwrap().status(), StatusCode::ACCEPTED);
    let posted = client.post(format!("{url}/api/v1/rules/reload")).header("authorization", "Bearer others-token");
    assert_eq!(posted.send().await.unwrap().status(), StatusCode::FORBIDDEN);
    let ambiguous = ask(&client, &url, "/apis/metrics.k8s.io/v1beta1/namespaces/a%2Fpods/pods", &reader).await;
    assert_eq!(ambiguous.0, 400, "{}", ambiguous.1);
    // Heapster's port is as open as it was.
    assert_eq!(router.page("/metrics").await.0, StatusCode::OK);
    // Without the API server nobody new gets in, and is told why.
    sim.api_fails_with(Some(500));
    let (code, body) = ask(&client, &url, "/metrics", &[("authorization", "Bearer a-new-token")]).await;
    assert_eq!(code, 503, "{body}");
    router.stop().await;
}

#[tokio::test]
async fn only_the_front_proxy_may_speak_for_others() {
    let authorities = Authorities::new();
    let sim = cluster(&authorities).await;
    let mut router = setup(&sim, SECURE).start().await;
    let url = secure(&mut router).await;
    let stranger = Authority::new("front-proxy-ca").unwrap().client("front-proxy-client", "", FOREVER).unwrap();
    let anna: &[(&str, &str)] = &[("x-remote-user", "anna")];
    let bert: &[(&str, &str)] = &[("x-remote-user", "bert"), ("x-remote-group", "system:authenticated")];
    let master: &[(&str, &str)] = &[("x-remote-user", "bert"), ("x-remote-group", "system:masters")];
    let client = |name: &str, group: &str, until| authorities.clients.client(name, group, until).unwrap();
    for (what, client, headers, path, want) in [
        ("no certificate", builder().build().unwrap(), master, "/metrics", 401),
        ("the proxy", with(&authorities.proxy(FOREVER)), anna, "/metrics", 403),
        ("the proxy for a master", with(&authorities.proxy(FOREVER)), master, "/metrics", 200),
        ("the proxy for bert", with(&authorities.proxy(FOREVER)), bert, "/metrics", 403),
        ("the proxy for nobody", with(&authorities.proxy(FOREVER)), &[], "/metrics", 401),
        ("the proxy, expired", with(&authorities.proxy(PAST)), master, "/metrics", 401),
        ("another authority", with(&stranger), master, "/metrics", 401),
        (
            "another name of the right authority",
            with(&authorities.front_proxy.client("etcd", "", FOREVER).unwrap()),
            master,
            "/metrics",
            401,
        ),
        ("a client", with(&client("carla", "readers", FOREVER)), &[], "/metrics", 200),
        ("a client who says to be more", with(&client("dora", "", FOREVER)), master, "/metrics", 403),
        ("a client, expired", with(&client("carla", "readers", PAST)), &[], "/metrics", 401),
        ("an administrator", with(&client("root", "system:masters", FOREVER)), &[], "/api/v1/status", 200),
        (
            "a wrong certificate with a right token",
            with(&stranger),
            &[("authorization", "Bearer readers-token")],
            "/metrics",
            200,
        ),
    ] {
        let (code, body) = ask(&client, &url, path, headers).await;
        assert_eq!(code, want, "{what}: {body}");
    }
    // The cluster's authorities are replaced while everything runs.
    let newer = Authorities::new();
    let (old, new) = (with(&authorities.proxy(FOREVER)), with(&newer.proxy(FOREVER)));
    assert_eq!(ask(&new, &url, "/metrics", master).await.0, 401);
    newer.publish(&sim);
    let until = Instant::now() + Duration::from_secs(60);
    while ask(&new, &url, "/metrics", master).await.0 != 200 {
        assert!(Instant::now() < until, "the new authority does not arrive");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(ask(&old, &url, "/metrics", master).await.0, 401);
    router.stop().await;
}

#[tokio::test]
async fn a_port_may_be_for_health_alone() {
    let authorities = Authorities::new();
    let sim = cluster(&authorities).await;
    let mut router = setup(&sim, &format!("open = 'health'\n{SECURE}")).start().await;
    let url = secure(&mut router).await;
    assert_eq!(router.page("/livez").await.0, StatusCode::OK);
    for path in ["/metrics", "/api/v1/status", "/api/v1/model/nodes", "/"] {
        let (code, body) = router.page(path).await;
        assert_eq!(code, StatusCode::FORBIDDEN, "{path}");
        assert!(body.contains("health checks only"), "{body}");
    }
    let reader = [("authorization", "Bearer readers-token")];
    assert_eq!(ask(&builder().build().unwrap(), &url, "/metrics", &reader).await.0, 200);
    router.stop().await;
}

#[tokio::test]
async fn heapsters_tls_flags_do_what_they_did() {
    let authorities = Authorities::new();
    let sim = cluster(&authorities).await;
    let own = authorities.clients.server(&["127.0.0.1", "localhost"]).unwrap();
    let files = |setup: Setup| {
        let ca = authorities.clients.pem();
        setup.file("tls.crt", &own.certificate).file("tls.key", &own.key).file("ca.crt", ca)
    };
    let tls = ["--tls-cert=FOLDER/tls.crt", "--tls-key=FOLDER/tls.key"];
    let checked = || {
        let ca = Certificate::from_pem(authorities.clients.pem().as_bytes()).unwrap();
        Client::builder().no_proxy().timeout(Duration::from_secs(30)).tls_certs_only([ca])
    };
    let identified = |name: &str, until| {
        let Identity { certificate, key } = authorities.clients.client(name, "", until).unwrap();
        let pem = format!("{certificate}{key}");
        checked().identity(reqwest::Identity::from_pem(pem.as_bytes()).unwrap()).build().unwrap()
    };

    let router = files(setup(&sim, "")).start_with(&tls).await;
    let url = format!("https://{}", router.address());
    let anybody = checked().build().unwrap();
    assert_eq!(ask(&anybody, &url, "/metrics", &[]).await.0, 200, "TLS alone asks nobody who they are");
    // A new certificate is shown without a restart.
    let newer = Authority::new("newer").unwrap();
    let next = newer.server(&["127.0.0.1"]).unwrap();
    router.put("tls.crt", &next.certificate);
    router.put("tls.key", &next.key);
    let ca = Certificate::from_pem(newer.pem().as_bytes()).unwrap();
    let until = Instant::now() + Duration::from_secs(60);
    loop {
        let fresh = Client::builder().no_proxy().tls_certs_only([ca.clone()]).build().unwrap();
        if fresh.get(format!("{url}/livez")).send().await.is_ok() {
            break;
        }
        assert!(Instant::now() < until, "the new certificate is not shown");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    router.stop().await;

    let flags = [tls[0], tls[1], "--tls-client-ca=FOLDER/ca.crt", "--allowed-users=anna,bert"];
    let router = files(setup(&sim, "")).start_with(&flags).await;
    let url = format!("https://{}", router.address());
    assert_ne!(ask(&anybody, &url, "/healthz", &[]).await.0, 401);
    for (what, client, want) in [
        ("no certificate", anybody.clone(), 401),
        ("anna", identified("anna", FOREVER), 200),
        ("anna, expired", identified("anna", PAST), 401),
        ("carla", identified("carla", FOREVER), 401),
    ] {
        for path in ["/metrics", "/api/v1/model/nodes", "/api/v1/status"] {
            let (code, body) = ask(&client, &url, path, &[]).await;
            assert_eq!(code, want, "{what}: {body}");
        }
    }
    router.stop().await;

    let flags = &flags[..3];
    let router = files(setup(&sim, "")).start_with(flags).await;
    let url = format!("https://{}", router.address());
    assert_eq!(ask(&anybody, &url, "/metrics", &[]).await.0, 401);
    assert_eq!(ask(&identified("carla", FOREVER), &url, "/metrics", &[]).await.0, 200, "any verified client");
    router.stop().await;
}

#[tokio::test]
async fn certificates_that_are_of_no_use_are_told_at_start() {
    let authorities = Authorities::new();
    let sim = cluster(&authorities).await;
    let (one, other) = (authorities.proxy(FOREVER), authorities.proxy(FOREVER));
    let http = "certificate = 'FOLDER/tls.crt'\nkey = 'FOLDER/tls.key'";
    let start = |certificate: &str, key: &str| {
        let setup = setup(&sim, http).file("tls.crt", certificate).file("tls.key", key);
        async move { setup.outcome("run").await }
    };
    let checked = setup(&sim, http).file("tls.crt", &one.certificate).file("tls.key", &other.key);
    let checked = checked.outcome("check").await;
    assert!(checked.stderr.contains("tls.key`: no key of `"), "{}", checked.stderr);
    for (outcome, want) in [
        (start(&one.certificate, &other.key).await, "tls.key`: no key of `"),
        (start("words", &one.key).await, "tls.crt`: no PEM certificate in it"),
        (start(&one.certificate, "words").await, "tls.key`: no PEM private key"),
    ] {
        assert_ne!(outcome.code(), Some(0));
        assert!(outcome.stderr.contains(want), "{}", outcome.stderr);
    }
    let missing = setup(&sim, http).outcome("check").await;
    assert!(missing.stderr.contains("`http.certificate` is `"), "{}{}", missing.stdout, missing.stderr);
}
