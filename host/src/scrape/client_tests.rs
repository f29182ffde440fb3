//! The kubelet client against servers on loopback that behave well or badly.

use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::PrivateKeyDer;
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tempfile::TempDir;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;

use super::*;
use crate::batch::Cycle;
use crate::config::source::{KubeletCa, KubeletConfig, KubeletPort, KubeletToken, ServerName};
use crate::kube::{ClusterCredentials, NodeFacts};
use crate::loopback::{Loopback, Reply, answer, chunk, chunked};

const CYCLE: Cycle = Cycle { number: 1, time: 0, window: 60_000_000_000, nodes_asked: 1, nodes_answered: 0 };

fn plain(port: u16) -> KubeletConfig {
    KubeletConfig { port: KubeletPort::Fixed(port), https: false, max_body: 10_000, ..KubeletConfig::default() }
}

fn node(name: &str) -> Arc<NodeFacts> {
    Arc::new(NodeFacts {
        name: name.into(),
        address: Some("127.0.0.1".parse().unwrap()),
        ready: true,
        ..NodeFacts::default()
    })
}

async fn ask(scraper: &Scraper, node: Arc<NodeFacts>) -> Result<Bytes, ScrapeFailure> {
    let (out, mut answers) = mpsc::channel(1);
    let deadline = Instant::now() + Duration::from_secs(30);
    scraper.scrape_all(CYCLE, vec![node], Duration::ZERO, deadline, out).await;
    answers.recv().await.unwrap().result.map(|body| body.bytes)
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// Name, the kubelet's behaviour, and the body or the failure's class.
type Case<'a> = (&'a str, Reply, Result<&'a [u8], &'a str>);

#[tokio::test]
async fn every_behaviour_of_a_kubelet_has_its_class() {
    let whole = b"{\"node\":{}}".to_vec();
    let zipped = answer("200 OK", "content-encoding: gzip\r\n", &gzip(&whole));
    let bomb = answer("200 OK", "content-encoding: gzip\r\n", &gzip(&vec![b' '; 1 << 20]));
    let mut spoilt = gzip(&whole);
    let middle = spoilt.len() / 2;
    spoilt.truncate(middle);
    let cases: Vec<Case<'_>> = vec![
        ("a whole answer", Reply::Keep(answer("200 OK", "", &whole)), Ok(&whole)),
        ("a chunked answer", Reply::Close([chunked(&whole), chunk(b"")].concat()), Ok(&whole)),
        ("a compressed answer", Reply::Keep(zipped), Ok(&whole)),
        (
            "a compressed answer that is cut",
            Reply::Close(answer("200 OK", "content-encoding: gzip\r\n", &spoilt)),
            Err("body"),
        ),
        ("a small answer that unfolds", Reply::Keep(bomb), Err("too-large")),
        ("a long answer", Reply::Keep(answer("200 OK", "", &[b' '; 10_001])), Err("too-large")),
        ("the longest answer", Reply::Keep(answer("200 OK", "", &[b' '; 10_000])), Ok(&[b' '; 10_000])),
        ("an endless answer", Reply::Endless(chunked(b" "), chunk(&[b' '; 1000])), Err("too-large")),
        (
            "an answer that stops in the middle",
            Reply::Close(b"HTTP/1.1 200 OK\r\ncontent-length: 50\r\n\r\n{".to_vec()),
            Err("body"),
        ),
        ("chunks without an end", Reply::Close(chunked(&whole)), Err("body")),
        ("an answer that is never finished", Reply::Hold(chunked(&whole)), Err("timeout")),
        ("no answer", Reply::Hold(Vec::new()), Err("timeout")),
        ("a closed connection", Reply::Close(Vec::new()), Err("connection")),
        ("another protocol", Reply::Close(b"SSH-2.0-OpenSSH_9.6\r\n".to_vec()), Err("connection")),
        ("401", Reply::Keep(answer("401 Unauthorized", "", b"Unauthorized")), Err("401")),
        ("403", Reply::Keep(answer("403 Forbidden", "", b"Forbidden (user=x)")), Err("403")),
        ("404", Reply::Keep(answer("404 Not Found", "", b"")), Err("404")),
        (
            "500",
            Reply::Keep(answer("500 Internal Server Error", "", b"Internal Error: failed to list pod stats")),
            Err("5xx"),
        ),
        ("a redirect", Reply::Keep(answer("302 Found", "location: http://127.0.0.1:1/\r\n", b"")), Err("status")),
    ];
    for (name, reply, want) in cases {
        let reply = std::sync::Mutex::new(Some(reply));
        let server =
            Loopback::start(0, None, move |_| reply.lock().unwrap().take().unwrap_or(Reply::Close(Vec::new()))).await;
        let timeout = want == Err("timeout");
        let config =
            KubeletConfig { timeout: timeout.then_some(Duration::from_millis(200)), ..plain(server.address.port()) };
        let scraper = Scraper::new(config, &ClusterCredentials::default()).unwrap();
        let got = ask(&scraper, node("a")).await;
        match (&got, want) {
            (Ok(body), Ok(want)) => assert_eq!(body, want, "{name}"),
            (Err(failure), Err(want)) => assert_eq!(failure.reason(), want, "{name}: {failure}"),
            _ => panic!("{name}: {got:?} instead of {want:?}"),
        }
        let head = server.heads()[0].to_lowercase();
        assert!(head.starts_with("get /stats/summary http/1.1") && head.contains("accept-encoding: gzip"), "{head}");
        assert!(!head.contains("authorization"), "{head}");
    }
}

#[tokio::test]
async fn nobody_there_is_refused() {
    let port = Loopback::start(0, None, |_| Reply::Close(Vec::new())).await.address.port();
    let scraper = Scraper::new(plain(port), &ClusterCredentials::default()).unwrap();
    let failure = ask(&scraper, node("a")).await.unwrap_err();
    assert_eq!(failure.reason(), "refused", "{failure}");
    assert!(failure.to_string().contains(&format!("127.0.0.1:{port}")), "{failure}");
}

#[tokio::test]
async fn every_node_is_answered_for() {
    let server = Loopback::start(0, None, |_| Reply::Keep(answer("200 OK", "", b"{}"))).await;
    let scraper = Scraper::new(plain(server.address.port()), &ClusterCredentials::default()).unwrap();
    let unready = Arc::new(NodeFacts { ready: false, ..NodeFacts::clone(&node("unready")) });
    let nowhere = Arc::new(NodeFacts { address: None, ..NodeFacts::clone(&node("nowhere")) });
    let (out, mut answers) = mpsc::channel(8);
    let deadline = Instant::now() + Duration::from_secs(30);
    let nodes = vec![node("a"), unready, nowhere, node("b")];
    scraper.scrape_all(CYCLE, nodes, Duration::from_millis(20), deadline, out).await;
    let mut got = Vec::new();
    while let Some(answer) = answers.recv().await {
        got.push((
            answer.node.name.to_string(),
            answer.result.map(|body| body.bytes).map_err(|failure| failure.reason()),
        ));
    }
    got.sort();
    let ok = |name: &str| (name.to_owned(), Ok(Bytes::from_static(b"{}")));
    let failed = |name: &str, reason| (name.to_owned(), Err(reason));
    assert_eq!(got, [ok("a"), ok("b"), failed("nowhere", "no-address"), failed("unready", "not-ready")]);
    assert_eq!(server.heads().len(), 2);
}

#[tokio::test]
async fn the_cycles_deadline_ends_every_request() {
    let server = Loopback::start(0, None, |_| Reply::Hold(Vec::new())).await;
    let config = KubeletConfig { concurrency: 1, ..plain(server.address.port()) };
    let scraper = Scraper::new(config, &ClusterCredentials::default()).unwrap();
    let (out, mut answers) = mpsc::channel(8);
    let deadline = Instant::now() + Duration::from_millis(200);
    scraper.scrape_all(CYCLE, vec![node("a"), node("b")], Duration::ZERO, deadline, out).await;
    let mut reasons = Vec::new();
    while let Some(answer) = answers.recv().await {
        reasons.push(answer.result.unwrap_err().reason());
    }
    reasons.sort_unstable();
    assert_eq!(reasons, ["no-turn", "timeout"]);
    assert_eq!(server.heads().len(), 1, "the second waits for its turn");
}

#[tokio::test]
async fn however_many_hang_the_others_are_asked() {
    let asked = AtomicUsize::new(0);
    let server = Loopback::start(0, None, move |_| match asked.fetch_add(1, Ordering::Relaxed) {
        0 | 1 => Reply::Hold(Vec::new()),
        _ => Reply::Close(answer("200 OK", "", b"{}")),
    })
    .await;
    let config = KubeletConfig { concurrency: 2, ..plain(server.address.port()) };
    let scraper = Scraper::new(config, &ClusterCredentials::default()).unwrap();
    let (out, mut answers) = mpsc::channel(8);
    let deadline = Instant::now() + Duration::from_secs(30);
    let nodes = ["a", "b", "c", "d"].map(node).to_vec();
    let asking = tokio::spawn(async move { scraper.scrape_all(CYCLE, nodes, Duration::ZERO, deadline, out).await });
    for _ in 0..2 {
        let answer = answers.recv().await.unwrap();
        assert!(answer.result.is_ok(), "{answer:?}");
    }
    asking.abort();
}

#[tokio::test]
async fn a_turn_lasts_until_the_body_is_dropped() {
    let server = Loopback::start(0, None, |_| Reply::Close(answer("200 OK", "", b"{}"))).await;
    let config = KubeletConfig { concurrency: 1, ..plain(server.address.port()) };
    let scraper = Scraper::new(config, &ClusterCredentials::default()).unwrap();
    let (out, mut answers) = mpsc::channel(8);
    let deadline = Instant::now() + Duration::from_secs(30);
    let nodes = vec![node("a"), node("b")];
    let asking = tokio::spawn(async move { scraper.scrape_all(CYCLE, nodes, Duration::ZERO, deadline, out).await });
    let first = answers.recv().await.unwrap();
    let early = tokio::time::timeout(Duration::from_millis(100), answers.recv()).await;
    assert!(early.is_err() && server.heads().len() == 1, "the second waits for the first's body: {early:?}");
    drop(first);
    assert!(answers.recv().await.unwrap().result.is_ok());
    asking.await.unwrap();
}

struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self { issuer: CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap() }
    }

    fn issue(&self, name: &str) -> (rcgen::Certificate, KeyPair) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        (params.signed_by(&key, &self.issuer).unwrap(), key)
    }

    /// A server that bears `name`; it asks for a client certificate if `wants` one of this authority.
    fn acceptor(&self, name: &str, wants: bool) -> TlsAcceptor {
        crate::tls::install_provider();
        let (certificate, key) = self.issue(name);
        let mut roots = RootCertStore::empty();
        roots.add(self.issuer.der().clone()).unwrap();
        let builder = ServerConfig::builder();
        let builder = if wants {
            builder.with_client_cert_verifier(WebPkiClientVerifier::builder(Arc::new(roots)).build().unwrap())
        } else {
            builder.with_no_client_auth()
        };
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let config = builder.with_single_cert(vec![certificate.der().clone()], key).unwrap();
        TlsAcceptor::from(Arc::new(config))
    }
}

fn file(folder: &TempDir, name: &str, content: &str) -> PathBuf {
    let path = folder.path().join(name);
    std::fs::write(&path, content).unwrap();
    path
}

fn secure(port: u16, ca: KubeletCa, server_name: ServerName) -> KubeletConfig {
    KubeletConfig {
        port: KubeletPort::Fixed(port),
        certificate_authority: ca,
        server_name,
        token: KubeletToken::None,
        ..KubeletConfig::default()
    }
}

#[tokio::test]
async fn certificates_are_checked_under_the_configured_name() {
    let folder = TempDir::new().unwrap();
    let (ours, theirs) = (Authority::new(), Authority::new());
    let ours_file = KubeletCa::File(file(&folder, "ours.pem", &ours.issuer.pem()));
    let theirs_file = KubeletCa::File(file(&folder, "theirs.pem", &theirs.issuer.pem()));
    for (name, bears, ca, server_name, want) in [
        ("the address", "127.0.0.1", &ours_file, ServerName::Address, Ok(())),
        ("a stranger's authority", "127.0.0.1", &theirs_file, ServerName::Address, Err("tls")),
        ("a name, not the address", "node-a", &ours_file, ServerName::Address, Err("tls")),
        ("the node's name", "node-a", &ours_file, ServerName::NodeName, Ok(())),
        ("another node's name", "node-b", &ours_file, ServerName::NodeName, Err("tls")),
        ("a fixed name", "kubelet", &ours_file, ServerName::Fixed("kubelet".into()), Ok(())),
        ("not the fixed name", "127.0.0.1", &ours_file, ServerName::Fixed("kubelet".into()), Err("tls")),
        ("anybody", "nobody", &KubeletCa::InsecureSkip, ServerName::Address, Ok(())),
    ] {
        let server =
            Loopback::start(0, Some(ours.acceptor(bears, false)), |_| Reply::Keep(answer("200 OK", "", b"{}"))).await;
        let config = secure(server.address.port(), ca.clone(), server_name);
        let scraper = Scraper::new(config, &ClusterCredentials::default()).unwrap();
        let got = ask(&scraper, node("node-a")).await;
        assert_eq!(got.map(|_| ()).map_err(|failure| failure.reason()), want, "{name}");
    }
}

#[tokio::test]
async fn authorities_client_certificates_and_tokens_are_read_again() {
    let folder = TempDir::new().unwrap();
    let (old, new) = (Authority::new(), Authority::new());
    let ca = file(&folder, "ca.pem", &old.issuer.pem());
    let (certificate, key) = old.issue("millrace");
    let shown = (file(&folder, "tls.crt", &certificate.pem()), file(&folder, "tls.key", &key.serialize_pem()));
    let token = file(&folder, "token", "old\n");
    let server = Loopback::start(0, Some(new.acceptor("127.0.0.1", true)), |head| {
        let good = head.to_lowercase().contains("authorization: bearer new\r\n");
        Reply::Keep(if good { answer("200 OK", "", b"{}") } else { answer("401 Unauthorized", "", b"") })
    })
    .await;
    let config = KubeletConfig {
        client_certificate: Some(shown.clone()),
        token: KubeletToken::File(token.clone()),
        ..secure(server.address.port(), KubeletCa::File(ca.clone()), ServerName::Address)
    };
    let scraper = Scraper::new(config, &ClusterCredentials::default()).unwrap();
    assert_eq!(ask(&scraper, node("a")).await.unwrap_err().reason(), "tls");

    std::fs::write(&ca, new.issuer.pem()).unwrap();
    let (certificate, key) = new.issue("millrace");
    std::fs::write(&shown.0, certificate.pem()).unwrap();
    std::fs::write(&shown.1, key.serialize_pem()).unwrap();
    assert_eq!(ask(&scraper, node("a")).await.unwrap_err().reason(), "401");
    assert_eq!(server.heads().len(), 1, "the same token is not sent twice");

    std::fs::write(&token, "new\n").unwrap();
    assert!(ask(&scraper, node("a")).await.is_ok());
}

#[tokio::test]
async fn a_token_that_expires_under_way_is_read_at_once() {
    let folder = TempDir::new().unwrap();
    let authority = Authority::new();
    let token = file(&folder, "token", "old");
    let path = token.clone();
    let server = Loopback::start(0, Some(authority.acceptor("127.0.0.1", false)), move |head| {
        if head.to_lowercase().contains("bearer new\r\n") {
            return Reply::Keep(answer("200 OK", "", b"{}"));
        }
        std::fs::write(&path, "new").unwrap();
        Reply::Keep(answer("401 Unauthorized", "", b""))
    })
    .await;
    let ca = KubeletCa::File(file(&folder, "ca.pem", &authority.issuer.pem()));
    let config =
        KubeletConfig { token: KubeletToken::File(token), ..secure(server.address.port(), ca, ServerName::Address) };
    let scraper = Scraper::new(config, &ClusterCredentials::default()).unwrap();
    assert!(ask(&scraper, node("a")).await.is_ok());
    assert_eq!(server.heads().len(), 2);
}

#[test]
fn what_is_missing_is_said_before_the_first_request() {
    let folder = TempDir::new().unwrap();
    let empty = file(&folder, "empty", "");
    let missing = folder.path().join("missing");
    let config = |ca, token| KubeletConfig { token, ..secure(1, ca, ServerName::Address) };
    let plugin = ClusterCredentials { by_plugin: true, ..ClusterCredentials::default() };
    let bare = ClusterCredentials::default();
    for (name, config, cluster, want) in [
        ("no authority", config(KubeletCa::Cluster, KubeletToken::None), &bare, "certificate-authority"),
        (
            "an empty authority",
            config(KubeletCa::File(empty.clone()), KubeletToken::None),
            &bare,
            "no usable certificate",
        ),
        ("a missing authority", config(KubeletCa::File(missing.clone()), KubeletToken::None), &bare, "missing"),
        ("an empty token", config(KubeletCa::InsecureSkip, KubeletToken::File(empty)), &bare, "the token is empty"),
        ("a missing token", config(KubeletCa::InsecureSkip, KubeletToken::File(missing)), &bare, "missing"),
        ("a plugin", config(KubeletCa::InsecureSkip, KubeletToken::Cluster), &plugin, "plugin"),
        ("a bad name", secure(1, KubeletCa::InsecureSkip, ServerName::Fixed("no name".into())), &bare, "`no name`"),
    ] {
        let error = Scraper::new(config, cluster).expect_err(name).to_string();
        assert!(error.contains(want), "{name}: {error}");
    }
}
