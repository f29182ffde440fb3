//! What answers cost: one series, all pods, the whole export, of a running Millrace that goes on with its
//! cycles. Answers a second and their percentiles, and the process's memory before, at most during, and
//! after.

#![allow(clippy::print_stdout, reason = "figures are what a bench is for")]

mod meter;

use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use clap::Parser;
use futures::future::try_join_all;
use millrace_tests::fixtures::{ports, process};
use serde_json::Value;

use meter::Meter;
use meter::cluster::{self, Cluster};

const MIB: f64 = (1 << 20) as f64;

/// Measure answers of the HTTP APIs.
#[derive(Debug, Parser)]
struct Args {
    /// Size of the cluster, nodes of 30 pods with 2 containers
    #[arg(long, default_value_t = 1000)]
    nodes: usize,
    /// Cycles before the first question
    #[arg(long, default_value_t = 6)]
    cycles: usize,
    /// Seconds between two cycles
    #[arg(long, default_value_t = 10)]
    resolution: usize,
    /// Clients that ask at one time
    #[arg(long, default_value_t = 4)]
    clients: usize,
    /// Seconds for each question
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// `cargo bench` says so to every bench
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    millrace::tls::install_provider();
    let folder = tempfile::tempdir()?;
    let size = cluster::Size {
        nodes: args.nodes,
        pods: 30,
        containers: 2,
        resolution: args.resolution,
        churn: 0.0,
        https: false,
        shape: "1.25",
    };
    let cluster = Cluster::start(&size, folder.path())?;
    let [port] = ports::free();
    let config = folder.path().join("millrace.toml");
    let http = format!("resolution = \"{}s\"\n[http]\nlisten = \"127.0.0.1:{port}\"\n", args.resolution);
    fs::write(&config, http + &cluster.source(false) + &cluster::rules(&folder.path().join("rules"), 1)?)?;
    let mut meter = Meter::start(&process::binary("millrace", "millrace"), &config, port, cluster.id())?;
    let patience = Duration::from_secs(60 + 3 * args.resolution as u64);
    for _ in 0..args.cycles {
        meter.cycle(patience)?;
    }
    println!(
        "{} nodes, a cycle every {} s, {} cycles kept, {} clients, each question {} s",
        args.nodes, args.resolution, args.cycles, args.clients, args.seconds
    );
    println!("{HEADING}");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let root = format!("http://127.0.0.1:{port}");
    for (what, path) in runtime.block_on(questions(&root))? {
        let memory = Memory::watch(meter.id())?;
        let asked = runtime.block_on(ask(&args, &format!("{root}{path}")))?;
        println!("{}", row(what, &asked, &memory.end()?));
    }
    meter.stop()?;
    cluster.stop();
    Ok(())
}

const HEADING: &str = "                                              a second    p50 ms    p99 ms    max ms   MiB each   RSS MiB before / most / after";

/// Each with its path.
async fn questions(root: &str) -> anyhow::Result<Vec<(&'static str, String)>> {
    let pods = reqwest::get(format!("{root}/apis/metrics.k8s.io/v1beta1/pods")).await?.text().await?;
    let pods: Value = serde_json::from_str(&pods)?;
    let pod = &pods["items"][0]["metadata"];
    let (namespace, name) = (pod["namespace"].as_str().context("no pods")?, pod["name"].as_str().context("no pods")?);
    Ok(vec![
        ("status of health", "/healthz".to_owned()),
        ("one series of a pod", format!("/api/v1/model/namespaces/{namespace}/pods/{name}/metrics/cpu/usage_rate")),
        ("one series of the cluster", "/api/v1/model/metrics/cpu/usage_rate".to_owned()),
        ("one pod, metrics.k8s.io", format!("/apis/metrics.k8s.io/v1beta1/namespaces/{namespace}/pods/{name}")),
        ("all nodes, metrics.k8s.io", "/apis/metrics.k8s.io/v1beta1/nodes".to_owned()),
        ("names of a namespace's pods", format!("/api/v1/model/namespaces/{namespace}/pods")),
        ("all pods, metrics.k8s.io", "/apis/metrics.k8s.io/v1beta1/pods".to_owned()),
        ("metric-export", "/api/v1/metric-export".to_owned()),
    ])
}

/// What came of asking one thing again and again.
struct Asked {
    /// Of each answer, from the request to its last byte; sorted.
    times: Vec<Duration>,
    took: Duration,
    bytes: usize,
}

async fn ask(args: &Args, url: &str) -> anyhow::Result<Asked> {
    let client = reqwest::Client::builder().no_gzip().build()?;
    let (started, end) = (Instant::now(), Duration::from_secs(args.seconds));
    let clients = (0..args.clients).map(|_| async {
        let (mut times, mut bytes) = (Vec::new(), 0);
        while times.is_empty() || started.elapsed() < end {
            let asked = Instant::now();
            let mut answer = client.get(url).send().await?.error_for_status()?;
            bytes = 0;
            while let Some(chunk) = answer.chunk().await? {
                bytes += chunk.len();
            }
            times.push(asked.elapsed());
        }
        anyhow::Ok((times, bytes))
    });
    let answered = try_join_all(clients).await?;
    let took = started.elapsed();
    let bytes = answered.iter().map(|(_, bytes)| *bytes).max().unwrap_or_default();
    let mut times: Vec<Duration> = answered.into_iter().flat_map(|(times, _)| times).collect();
    times.sort_unstable();
    Ok(Asked { times, took, bytes })
}

fn row(what: &str, asked: &Asked, memory: &[f64; 3]) -> String {
    let at = |share: f64| {
        let place = (asked.times.len() as f64 * share) as usize;
        asked.times.get(place.min(asked.times.len().saturating_sub(1))).map_or(0.0, |time| time.as_secs_f64() * 1e3)
    };
    let [before, most, after] = memory;
    format!(
        "{what:<42} {:>11.1} {:>9.2} {:>9.2} {:>9.2} {:>10.3}   {before:>6.0} / {most:>5.0} / {after:>5.0}",
        asked.times.len() as f64 / asked.took.as_secs_f64(),
        at(0.5),
        at(0.99),
        at(1.0),
        asked.bytes as f64 / MIB,
    )
}

/// A process's memory from now on.
struct Memory {
    process: u32,
    before: f64,
}

impl Memory {
    fn watch(process: u32) -> anyhow::Result<Self> {
        // The kernel's own high-water mark begins anew.
        fs::write(format!("/proc/{process}/clear_refs"), "5")?;
        Ok(Self { process, before: resident(process, "VmRSS:")? })
    }

    /// MiB before, at most, and now.
    fn end(self) -> anyhow::Result<[f64; 3]> {
        let most = resident(self.process, "VmHWM:")?;
        std::thread::sleep(Duration::from_secs(1));
        Ok([self.before, most, resident(self.process, "VmRSS:")?])
    }
}

fn resident(process: u32, field: &str) -> anyhow::Result<f64> {
    let status = fs::read_to_string(format!("/proc/{process}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix(field)).context("no such line")?;
    let kib: f64 = line.trim().trim_end_matches(" kB").parse()?;
    ensure!(kib > 0.0, "the process is gone");
    Ok(kib / 1024.0)
}
