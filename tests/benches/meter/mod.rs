//! Watches a running `millrace` from outside: what the system says of its process, and what its
//! `/metrics` say of the cycle that just ended.

#![allow(dead_code, reason = "each bench uses a part of it")]

pub mod cluster;
pub mod plot;

use std::collections::HashMap;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use anyhow::{Context as _, bail};

/// A process under measurement.
pub struct Meter {
    child: Child,
    cluster: u32,
    ends: Receiver<String>,
    metrics: String,
    client: reqwest::Client,
    runtime: tokio::runtime::Runtime,
    last: Option<(Cpu, Cpu, Page)>,
}

/// Figures of one cycle.
pub struct Cycle {
    pub answered: usize,
    user: f64,
    system: f64,
    cluster: f64,
    resident: f64,
    points: f64,
    scrape: f64,
    decode: f64,
    rules: f64,
    finish: f64,
    tail: f64,
    encode: f64,
    dropped: f64,
}

impl Cycle {
    /// From the last answer to the end, ms.
    pub fn tail_ms(&self) -> f64 {
        self.tail * 1e3
    }

    /// CPU time since the end of the cycle before, ms.
    pub fn cpu_ms(&self) -> f64 {
        (self.user + self.system) * 1e3
    }
}

/// CPU seconds of a process since its start.
#[derive(Clone, Copy, Default)]
struct Cpu {
    user: f64,
    system: f64,
}

/// `/metrics` by name with labels.
type Page = HashMap<String, f64>;

impl Meter {
    /// Starts `binary run --config config`, whose HTTP server gets `port`.
    pub fn start(binary: &Path, config: &Path, port: u16, cluster: u32) -> anyhow::Result<Self> {
        let mut child = Command::new(binary)
            .arg("run")
            .arg("--config")
            .arg(config)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("{} does not start", binary.display()))?;
        let lines = BufReader::new(child.stderr.take().context("standard error is piped")?).lines();
        let (sender, ends) = channel();
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                // Whatever is no news of a cycle is kept for the case that no cycle comes.
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let metrics = format!("http://127.0.0.1:{port}/metrics");
        // The server closes what is idle, and cycles may be far apart.
        let client = reqwest::Client::builder().pool_max_idle_per_host(0).build()?;
        Ok(Self { child, cluster, ends, metrics, client, runtime, last: None })
    }

    /// The process.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Waits for the end of a cycle.
    pub fn cycle(&mut self, patience: Duration) -> anyhow::Result<Cycle> {
        let mut said = Vec::new();
        loop {
            let Ok(line) = self.ends.recv_timeout(patience) else { bail!("no cycle ended:\n{}", said.join("\n")) };
            if line.contains("cycle done") {
                break;
            }
            said.push(line);
        }
        let (own, cluster) = (cpu(self.child.id())?, cpu(self.cluster)?);
        let page = self.page()?;
        let (own_before, cluster_before, page_before) = self.last.take().unwrap_or_default();
        let now = |key: &str| page.get(key).copied().unwrap_or_default();
        let grown = |prefix: &str| sum(&page, prefix) - sum(&page_before, prefix);
        let stage = |stage: &str| now(&format!("millrace_stage_seconds{{stage=\"{stage}\"}}"));
        let cycle = Cycle {
            answered: now("millrace_nodes_answered") as usize,
            user: own.user - own_before.user,
            system: own.system - own_before.system,
            cluster: cluster.user + cluster.system - cluster_before.user - cluster_before.system,
            resident: now("process_resident_memory_bytes"),
            points: grown("millrace_points_published_total"),
            scrape: stage("scrape"),
            decode: stage("decode"),
            rules: stage("rules"),
            finish: stage("finish"),
            tail: stage("tail"),
            encode: grown("millrace_sink_encode_seconds_total"),
            dropped: grown("millrace_sink_points_dropped_total"),
        };
        self.last = Some((own, cluster, page));
        Ok(cycle)
    }

    /// Stops the process; the most memory it ever had, bytes.
    pub fn stop(mut self) -> anyhow::Result<f64> {
        let peak = self.page()?.get("process_resident_memory_max_bytes").copied().unwrap_or_default();
        self.child.kill()?;
        self.child.wait()?;
        Ok(peak)
    }

    fn page(&self) -> anyhow::Result<Page> {
        let text = self.runtime.block_on(async { self.client.get(&self.metrics).send().await?.text().await })?;
        let rows = text.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.rsplit_once(' '));
        Ok(rows.filter_map(|(key, value)| Some((key.to_owned(), value.parse().ok()?))).collect())
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        // Both fail only where it has ended already.
        _ = self.child.kill();
        _ = self.child.wait();
    }
}

fn sum(page: &Page, prefix: &str) -> f64 {
    page.iter().filter(|(key, _)| key.starts_with(prefix)).map(|(_, value)| value).sum()
}

fn cpu(process: u32) -> anyhow::Result<Cpu> {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat"))?;
    let mut fields = stat.rsplit_once(')').context("a stat line")?.1.split_ascii_whitespace().skip(11);
    // 100 ticks a second on every Linux.
    let mut seconds = || Some(fields.next()?.parse::<f64>().ok()? / 100.0);
    Ok(Cpu { user: seconds().context("user time")?, system: seconds().context("system time")? })
}

/// All cycles of one run.
pub struct Sample {
    cycles: Vec<Cycle>,
    peak: f64,
}

const MIB: f64 = (1 << 20) as f64;

impl Sample {
    pub fn new(cycles: Vec<Cycle>, peak: f64) -> Self {
        Self { cycles, peak }
    }

    pub fn heading() -> String {
        format!(
            "{:<34} {:>17} {:>7} {:>10} {:>9} {:>9} {:>8} {:>16} {:>14} {:>12} {:>9} {:>12} {:>14} {:>8}",
            "min/median/max of a cycle",
            "CPU s",
            "user %",
            "ms a node",
            "RSS MiB",
            "peak MiB",
            "points",
            "scrape s",
            "decode s",
            "rules s",
            "finish ms",
            "encode s",
            "tail s",
            "kubesim"
        )
    }

    pub fn row(&self, name: &str, nodes: usize) -> String {
        let all = |figure: fn(&Cycle) -> f64, digits: usize| {
            let [min, median, max] = self.spread(figure);
            format!("{min:.digits$}/{median:.digits$}/{max:.digits$}")
        };
        let median = |figure: fn(&Cycle) -> f64| self.spread(figure)[1];
        let total = median(|cycle| cycle.user + cycle.system);
        let dropped: f64 = self.cycles.iter().map(|cycle| cycle.dropped).sum();
        format!(
            "{name:<34} {:>17} {:>7.0} {:>10.2} {:>9.0} {:>9.0} {:>8.0} {:>16} {:>14} {:>12} {:>9.1} {:>12} {:>14} {:>8.2}{}",
            all(|cycle| cycle.user + cycle.system, 2),
            median(|cycle| cycle.user) / total * 100.0,
            total / nodes as f64 * 1e3,
            median(|cycle| cycle.resident) / MIB,
            self.peak / MIB,
            median(|cycle| cycle.points),
            all(|cycle| cycle.scrape, 2),
            all(|cycle| cycle.decode, 2),
            all(|cycle| cycle.rules, 2),
            median(|cycle| cycle.finish) * 1e3,
            all(|cycle| cycle.encode, 2),
            all(|cycle| cycle.tail, 2),
            median(|cycle| cycle.cluster),
            if dropped > 0.0 { format!("  DROPPED {dropped:.0}") } else { String::new() }
        )
    }

    /// Memory after each cycle, MiB.
    pub fn resident(&self) -> String {
        let each: Vec<String> = self.cycles.iter().map(|cycle| format!("{:.0}", cycle.resident / MIB)).collect();
        each.join(" ")
    }

    /// CPU seconds of a cycle: minimum, median, maximum.
    pub fn cpu(&self) -> [f64; 3] {
        self.spread(|cycle| cycle.user + cycle.system)
    }

    fn spread(&self, figure: fn(&Cycle) -> f64) -> [f64; 3] {
        let mut figures: Vec<f64> = self.cycles.iter().map(figure).collect();
        figures.sort_by(f64::total_cmp);
        let last = figures.len().saturating_sub(1);
        [0, figures.len() / 2, last].map(|at| figures.get(at).copied().unwrap_or_default())
    }
}
