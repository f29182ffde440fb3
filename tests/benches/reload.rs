//! How long a changed rule takes until it has taken over, and what cycles suffer meanwhile: the release
//! binary against a simulated cluster, one rule replaced by a new build of itself again and again.

#![allow(clippy::print_stdout, reason = "figures are what a bench is for")]

mod meter;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use clap::Parser;
use millrace_tests::fixtures::{ports, process};
use serde_json::Value;

use meter::cluster::{self, Cluster};
use meter::{Cycle, Meter};

/// How often the state of the reload is looked at.
const LOOK: Duration = Duration::from_millis(5);

/// What threshold looks for.
const CHECK: &str = "[[settings.checks]]\nmetric = 'memory/usage'\nname = 'alarm/memory'\nlevels = ['container']\n\
    raise = 100000000\nclear = 80000000\n";

/// Measure reloads of a rule.
#[derive(Debug, Parser)]
struct Args {
    /// Size of the cluster, nodes
    #[arg(long, default_value_t = 1000)]
    nodes: usize,
    /// Rules that are replaced, each in a run of its own [default: an example of about 100 KiB, and heapster]
    #[arg(long, value_name = "FILE")]
    rule: Vec<PathBuf>,
    /// How often each is replaced
    #[arg(long, default_value_t = 6)]
    reloads: u64,
    /// Seconds between two cycles
    #[arg(long, default_value_t = 5)]
    resolution: usize,
    /// `cargo bench` says so to every bench
    #[arg(long, hide = true)]
    bench: bool,
}

/// Milliseconds from the change of the file until …
struct Reload {
    noticed: f64,
    /// … it was read, compiled and configured.
    ready: f64,
    /// … it had taken over.
    decided: f64,
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    millrace::tls::install_provider();
    let rules = if args.rule.is_empty() {
        vec![process::rule("rules-examples/threshold.wasm"), process::rule("rules/50-heapster.wasm")]
    } else {
        args.rule.clone()
    };
    for rule in rules {
        measure(&args, &rule)?;
    }
    Ok(())
}

fn measure(args: &Args, rule: &Path) -> anyhow::Result<()> {
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
    let rules = folder.path().join("rules");
    fs::write(&config, http + &cluster.source(false) + &cluster::rules(&rules, 1)?)?;
    let name = rule.file_name().context("a file")?.to_string_lossy().into_owned();
    let slot = if name.starts_with(|c: char| c.is_ascii_digit()) { name } else { format!("60-{name}") };
    if slot.contains("threshold") {
        fs::write(rules.join(slot.replace(".wasm", ".toml")), CHECK)?;
    }
    let wasm = fs::read(rule)?;
    put(&rules, &slot, &wasm, 0)?;

    let mut meter = Meter::start(&process::binary("millrace", "millrace"), &config, port, cluster.id())?;
    let patience = Duration::from_secs(60 + 3 * args.resolution as u64);
    meter.cycle(patience)?;
    let (mut calm, mut busy, mut reloads) = (Vec::new(), Vec::new(), Vec::new());
    for number in 1..=args.reloads {
        calm.push(meter.cycle(patience)?);
        // The next cycle is under way when the file changes.
        std::thread::sleep(Duration::from_millis(500));
        put(&rules, &slot, &wasm, number as u8)?;
        reloads.push(follow(port, number)?);
        busy.push(meter.cycle(patience)?);
        busy.push(meter.cycle(patience)?);
    }
    meter.stop()?;
    cluster.stop();
    println!("{slot}, {} KiB, {} nodes, {} reloads; min/median/max", wasm.len() >> 10, args.nodes, args.reloads);
    let spread = |figures: &mut dyn Iterator<Item = f64>| {
        let mut figures: Vec<f64> = figures.collect();
        figures.sort_by(f64::total_cmp);
        let [Some(min), Some(median), Some(max)] = [figures.first(), figures.get(figures.len() / 2), figures.last()]
        else {
            return String::new();
        };
        format!("{min:.0} / {median:.0} / {max:.0} ms")
    };
    println!("  change noticed after       {}", spread(&mut reloads.iter().map(|it| it.noticed)));
    println!("  compiled and configured in {}", spread(&mut reloads.iter().map(|it| it.ready - it.noticed)));
    println!("  took over after            {}", spread(&mut reloads.iter().map(|it| it.decided)));
    for (what, cycles) in [("without", &calm), ("with", &busy)] {
        let tails = spread(&mut cycles.iter().map(Cycle::tail_ms));
        let cpu = spread(&mut cycles.iter().map(Cycle::cpu_ms));
        println!("  cycles {what:<8} a reload: tail after the last answer {tails}; CPU {cpu}");
    }
    Ok(())
}

/// The rule with a custom section that says nothing, so that it is another file.
fn put(rules: &Path, slot: &str, wasm: &[u8], number: u8) -> anyhow::Result<()> {
    let half = rules.join(".half");
    fs::write(&half, [wasm, &[0, 3, 1, b'n', number]].concat())?;
    Ok(fs::rename(half, rules.join(slot))?)
}

/// From now until the reload of this number has taken over.
fn follow(port: u16, number: u64) -> anyhow::Result<Reload> {
    let started = Instant::now();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let client = reqwest::Client::new();
    let ms = || started.elapsed().as_secs_f64() * 1e3;
    let (mut noticed, mut ready) = (None, None);
    loop {
        let url = format!("http://127.0.0.1:{port}/api/v1/rules/reload");
        let text = runtime.block_on(async { client.get(url).send().await?.text().await })?;
        let status: Value = serde_json::from_str(&text)?;
        ensure!(status["refused"] == 0, "{status:#}");
        if status["phase"] == "preparing" {
            noticed.get_or_insert_with(ms);
        }
        if status["phase"]["trial"].is_array() {
            ready.get_or_insert_with(ms);
        }
        if status["took_over"] == number {
            let decided = ms();
            let noticed = noticed.unwrap_or(decided);
            return Ok(Reload { noticed, ready: ready.unwrap_or(decided), decided });
        }
        ensure!(started.elapsed() < Duration::from_secs(120), "not taken over: {status:#}");
        std::thread::sleep(LOOK);
    }
}
