//! What a cycle costs: the release binary as a process of its own against a simulated cluster.
//!
//! `cargo bench --bench cycles -- --help` lists what can be varied. The first cycle has no rates
//! and warms up; it is not counted.

#![allow(clippy::print_stdout, reason = "figures are what a bench is for")]

mod meter;

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::ensure;
use clap::{Parser, ValueEnum};
use millrace_tests::fixtures::influxd::Influxd;
use millrace_tests::fixtures::ports;
use millrace_tests::fixtures::process;

use meter::cluster::{self, Cluster};
use meter::{Meter, Sample, plot};

/// Measure whole cycles of `millrace run`.
#[derive(Debug, Parser)]
struct Args {
    /// Sizes of the cluster, nodes
    #[arg(long, value_delimiter = ',', default_value = "100")]
    nodes: Vec<usize>,
    /// Pods on each node
    #[arg(long, default_value_t = 30)]
    pods: usize,
    /// Containers in each pod
    #[arg(long, default_value_t = 2)]
    containers: usize,
    /// Sinks, each measured on its own
    #[arg(long, value_enum, value_delimiter = ',', default_value = "none")]
    sink: Vec<Sink>,
    /// Rules in the chain, heapster among them, each number measured on its own
    #[arg(long, value_delimiter = ',', default_value = "1")]
    rules: Vec<usize>,
    /// Keep every series in memory for the model API, as is the default outside of benches
    #[arg(long)]
    store: bool,
    /// Ask the kubelets by HTTPS
    #[arg(long)]
    https: bool,
    /// Cycles that are counted
    #[arg(long, default_value_t = 6)]
    cycles: u64,
    /// Percent of the pods replaced every minute
    #[arg(long, default_value_t = 0.0)]
    churn: f64,
    /// Print the memory after each cycle as well
    #[arg(long)]
    each: bool,
    /// Seconds between two cycles [default: 5, more above 1,000 nodes]
    #[arg(long)]
    resolution: Option<usize>,
    /// Shape of the kubelets' answers; 1.25 is what Heapster was measured with
    #[arg(long, default_value = "1.25")]
    shape: String,
    /// Draw how the cost grows with nodes and pods into this SVG file, instead of measuring what the
    /// other flags say
    #[arg(long, value_name = "FILE", conflicts_with_all = ["nodes", "pods", "sink"])]
    plot: Option<std::path::PathBuf>,
    /// Another millrace to measure
    #[arg(long)]
    binary: Option<std::path::PathBuf>,
    /// `cargo bench` says so to every bench
    #[arg(long, hide = true)]
    bench: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Sink {
    /// Rules only
    None,
    /// The log sink, into nowhere
    Log,
    /// A real influxd, plain text
    Influxdb,
    /// The same, compressed
    InfluxdbGzip,
    /// One line an entity and group, plain text
    InfluxdbFields,
    /// The same, compressed
    InfluxdbFieldsGzip,
}

impl Sink {
    fn toml(self, url: &str) -> String {
        let (fields, gzip) = match self {
            Self::None => return String::new(),
            Self::Log => return "[[sink]]\ntype = \"log\"\n".to_owned(),
            Self::Influxdb => (false, false),
            Self::InfluxdbGzip => (false, true),
            Self::InfluxdbFields => (true, false),
            Self::InfluxdbFieldsGzip => (true, true),
        };
        format!(
            "[[sink]]\ntype = \"influxdb\"\nurl = \"{url}\"\nwith-fields = {fields}\ngzip = {gzip}\nqueue = \"1GiB\"\n"
        )
    }

    fn needs_influxd(self) -> bool {
        !matches!(self, Self::None | Self::Log)
    }
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    millrace::tls::install_provider();
    println!("{}", Sample::heading());
    if let Some(file) = &args.plot {
        return growth(&args, file);
    }
    for &nodes in &args.nodes {
        for &sink in &args.sink {
            for &rules in &args.rules {
                report(&args, nodes, args.pods, sink, rules)?;
            }
        }
    }
    Ok(())
}

/// Measures one run and prints its row.
fn report(args: &Args, nodes: usize, pods: usize, sink: Sink, rules: usize) -> anyhow::Result<Sample> {
    let began = Instant::now();
    let sample = measure(args, nodes, pods, sink, rules)?;
    let https = if args.https { " https" } else { "" };
    let of_pods = if pods == 30 { String::new() } else { format!(" x {pods} pods") };
    let sink = sink.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned());
    let mut chain = if rules == 1 { String::new() } else { format!(", {rules} rules") };
    if args.store {
        chain += ", store";
    }
    let row = sample.row(&format!("{nodes} nodes{of_pods}{https}, {sink}{chain}"), nodes);
    println!("{row}  ({:.0} s)", began.elapsed().as_secs_f64());
    if args.each {
        println!("    RSS MiB, cycle after cycle: {}", sample.resident());
    }
    Ok(sample)
}

/// The cost of a node by the size of the cluster, and that of a pod by the size of a node.
fn growth(args: &Args, file: &Path) -> anyhow::Result<()> {
    let scaled = |sample: &Sample, by: usize, unit: f64| sample.cpu().map(|seconds| seconds * unit / by as f64);
    let (mut by_nodes, mut by_pods) = (Vec::new(), Vec::new());
    for nodes in [100, 500, 1000, 5000] {
        by_nodes.push((nodes, scaled(&report(args, nodes, 30, Sink::None, 1)?, nodes, 1e3)));
    }
    for pods in [10, 30, 110] {
        let nodes = 500;
        by_pods.push((pods, scaled(&report(args, nodes, pods, Sink::None, 1)?, nodes * pods, 1e6)));
    }
    let left = plot::Panel { title: "ms CPU a node and cycle", axis: "nodes of 30 pods", points: &by_nodes };
    let right = plot::Panel { title: "µs CPU a pod and cycle", axis: "pods a node, 500 nodes", points: &by_pods };
    plot::draw(file, [&left, &right])?;
    println!("{}", file.display());
    Ok(())
}

fn measure(args: &Args, nodes: usize, pods: usize, sink: Sink, rules: usize) -> anyhow::Result<Sample> {
    let folder = tempfile::tempdir()?;
    // The larger clusters are asked over up to four seconds, and take longer to work through.
    let resolution = args.resolution.unwrap_or(5.max(nodes / 200));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let influxd = sink.needs_influxd().then(|| runtime.block_on(Influxd::start()));
    let size = cluster::Size {
        nodes,
        pods,
        containers: args.containers,
        resolution,
        churn: args.churn,
        https: args.https,
        shape: &args.shape,
    };
    let cluster = Cluster::start(&size, folder.path())?;
    let [port] = ports::free();
    let url = influxd.as_ref().map(Influxd::url).unwrap_or_default();
    let path = folder.path().join("millrace.toml");
    let http = format!("resolution = \"{resolution}s\"\n[http]\nlisten = \"127.0.0.1:{port}\"\n");
    let mut chain = cluster::rules(&folder.path().join("rules"), rules)?;
    if !args.store {
        chain += "[store]\nkeep = \"0s\"\n";
    }
    std::fs::write(&path, http + &cluster.source(args.https) + &chain + &sink.toml(&url))?;

    let binary = args.binary.clone().unwrap_or_else(|| process::binary("millrace", "millrace"));
    let mut meter = Meter::start(&binary, &path, port, cluster.id())?;
    let mut cycles = Vec::new();
    for number in 1..=args.cycles + 1 {
        let cycle = meter.cycle(Duration::from_secs(60 + 3 * resolution as u64))?;
        ensure!(cycle.answered == nodes, "cycle {number}: {} of {nodes} nodes answered", cycle.answered);
        if number > 1 {
            cycles.push(cycle);
        }
    }
    let peak = meter.stop()?;
    cluster.stop();
    Ok(Sample::new(cycles, peak))
}
