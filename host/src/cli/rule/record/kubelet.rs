//! Batches straight from a kubelet: what its Summary says, asked and decoded as in a cycle, without
//! what the API server knows.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use clap::Args;
use reqwest::Url;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use super::Writing;
use crate::batch::wire::Record;
use crate::batch::{Batch, Cycle, TypeRegistry};
use crate::cli::rule::console::{Console, Fail};
use crate::config::source::{AddressOverrides, KubeletCa, KubeletConfig, KubeletPort, KubeletToken};
use crate::kube::{ClusterCredentials, NodeFacts};
use crate::scrape::{DecodeBounds, Scraper, decode};

/// How long one answer may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// How the kubelet is asked.
#[derive(Debug, Args)]
pub(in crate::cli::rule) struct Access {
    /// With --kubelet: seconds from cycle to cycle
    #[arg(long, value_name = "SECS", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=3600))]
    every: u64,
    /// With --kubelet: a file with the bearer token
    #[arg(long, value_name = "FILE", requires = "kubelet")]
    token_file: Option<PathBuf>,
    /// With --kubelet: a file with the authority that signed its certificate
    #[arg(long, value_name = "FILE", requires = "kubelet")]
    ca_file: Option<PathBuf>,
    /// With --kubelet: do not check its certificate
    #[arg(long, requires = "kubelet", conflicts_with = "ca_file")]
    insecure_tls: bool,
}

/// Asks `cycles` times.
pub(super) async fn record(
    url: &str,
    access: &Access,
    cycles: u32,
    writing: &mut Writing,
    console: &Console,
) -> Result<(), Fail> {
    let scraper = scraper(url, access)?;
    let types = TypeRegistry::default();
    let window = Duration::from_secs(access.every);
    let mut begin = Instant::now();
    let _progress = console.progress(format!("recording {cycles} cycles of {url}, one every {} s", access.every));
    for number in 1..=u64::from(cycles) {
        sleep_until(begin).await;
        begin += window;
        let time = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let nanos = |time: Duration| i64::try_from(time.as_nanos()).unwrap_or(i64::MAX);
        let mut cycle = Cycle { number, time: nanos(time), window: nanos(window), nodes_asked: 1, nodes_answered: 0 };
        let batch = ask(url, &scraper, cycle, &types).await?;
        writing.record(Record::Batch(cycle, Box::new(batch)))?;
        cycle.nodes_answered = 1;
        writing.record(Record::End(cycle))?;
    }
    Ok(())
}

fn scraper(url: &str, access: &Access) -> Result<Scraper, Fail> {
    let wrong = |why: &str| Fail::input(format!("--kubelet `{url}` {why}; write it as https://10.0.0.7:10250"));
    let parsed = Url::parse(url).map_err(|error| wrong(&format!("is no URL: {error}")))?;
    let https = match parsed.scheme() {
        "https" => true,
        "http" => false,
        other => return Err(wrong(&format!("begins with `{other}:`"))),
    };
    let host = parsed.host_str().ok_or_else(|| wrong("names no host"))?;
    let port = parsed.port().unwrap_or(if https { 10250 } else { 10255 });
    if !https && access.token_file.is_some() {
        return Err(Fail::input("a token is never sent over plain HTTP; leave --token-file out, or write https://"));
    }
    if https && access.ca_file.is_none() && !access.insecure_tls {
        return Err(Fail::input(
            "who signed the kubelet's certificate? name the authority with --ca-file, or leave it unchecked with --insecure-tls",
        ));
    }
    let authority = access.ca_file.clone().map_or(KubeletCa::InsecureSkip, KubeletCa::File);
    let config = KubeletConfig {
        port: KubeletPort::Fixed(port),
        https,
        certificate_authority: authority,
        token: access.token_file.clone().map_or(KubeletToken::None, KubeletToken::File),
        addresses: AddressOverrides([(String::new(), format!("{host}:{port}"))].into()),
        timeout: Some(PATIENCE),
        ..KubeletConfig::default()
    };
    Scraper::new(config, &ClusterCredentials::default()).map_err(Fail::input)
}

async fn ask(url: &str, scraper: &Scraper, cycle: Cycle, types: &TypeRegistry) -> Result<Batch, Fail> {
    let failed = |why: &str| Fail::input(format!("{url}: {why}"));
    // Its name is in its answer.
    let nameless = Arc::new(NodeFacts { ready: true, ..NodeFacts::default() });
    let (out, mut answers) = mpsc::channel(1);
    let deadline = Instant::now() + PATIENCE;
    scraper.scrape_all(cycle, vec![nameless], Duration::ZERO, deadline, out).await;
    let answer = answers.recv().await.ok_or_else(|| failed("gave no answer"))?;
    let body = answer.result.map_err(|failure| failed(&failure.told()))?;
    let name: Arc<str> = serde_json::from_slice::<serde_json::Value>(&body.bytes)
        .ok()
        .and_then(|body| body["node"]["nodeName"].as_str().map(Arc::from))
        .unwrap_or_default();
    let node = NodeFacts { hostname: name.clone(), name, ready: true, ..NodeFacts::default() };
    let decoded = decode(&body.bytes, &node, &[], |_| None, &cycle, &DecodeBounds::default(), types);
    decoded.map(|decoded| decoded.batch).map_err(|failure| failed(&failure.told()))
}
