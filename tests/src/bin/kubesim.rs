//! `kubesim`: the simulated cluster as a program of its own.
//!
//! Only arguments, files and signals; the cluster is `millrace_tests::kubesim`.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use anyhow::Context as _;
use clap::Parser;
use millrace_tests::kubesim::{Builder, Config, FailRule, KIT, Kubesim, Shape};
use tokio::signal::unix::{SignalKind, signal};

/// A simulated Kubernetes cluster on this machine: one API server, and a kubelet for every node.
///
/// The API server lists and watches nodes, pods and namespaces; the kubelets answer /stats/summary, each on a loopback
/// address of its own (127.1.0.1 upward), all on one port. The same seed shows the same cluster, second by second.
#[derive(Debug, Parser)]
#[command(name = "kubesim", version, after_long_help = lesson())]
struct Args {
    /// Nodes, each with a kubelet
    #[arg(long, default_value_t = 20)]
    nodes: usize,
    /// Pods on each node
    #[arg(long, default_value_t = 30)]
    pods: usize,
    /// Containers in each pod
    #[arg(long, default_value_t = 2)]
    containers: usize,
    /// Namespaces the pods are spread over, kube-system included
    #[arg(long, default_value_t = 6)]
    namespaces: usize,
    /// Volumes of each pod: the service account's, then claims
    #[arg(long, default_value_t = 1)]
    volumes: usize,
    /// Network interfaces of each pod and node [default: 3 in shape 1.25, 10 in shape 1.34]
    #[arg(long)]
    interfaces: Option<usize>,
    /// How many of each node's pods are static pods
    #[arg(long, default_value_t = 0)]
    static_pods: usize,
    /// What makes this cluster differ from others of its size
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Whose answers to copy: 1.25, or 1.34 with pressure, I/O and swap
    #[arg(long, default_value = "1.34")]
    shape: Shape,
    /// How often a kubelet samples a container, in seconds; in between it repeats itself, as real ones do
    #[arg(long, default_value_t = 10, value_name = "SECS")]
    resolution: u64,
    /// Percent of the pods replaced every minute [1 if given without a value]
    #[arg(long, default_value_t = 0.0, default_missing_value = "1", num_args = 0..=1, value_name = "PERCENT")]
    churn: f64,
    /// Percent of the containers restarted every minute [1 if given without a value]
    #[arg(long, default_value_t = 0.0, default_missing_value = "1", num_args = 0..=1, value_name = "PERCENT")]
    restarts: f64,
    /// Percent of the containers whose counters fall to zero every minute without a restart [1 if given without a value]
    #[arg(long, default_value_t = 0.0, default_missing_value = "1", num_args = 0..=1, value_name = "PERCENT")]
    resets: f64,
    /// Percent of the pods and containers that --churn, --restarts and --resets ever touch
    #[arg(long, default_value_t = 100.0, value_name = "PERCENT")]
    unsteady: f64,
    /// Address of the API server; port 0 takes a free one
    #[arg(long, default_value = "127.0.0.1:0", value_name = "ADDRESS")]
    listen: SocketAddr,
    /// Port of all kubelets; 0 takes a free one
    #[arg(long, default_value_t = 0, value_name = "PORT")]
    kubelet_port: u16,
    /// Serve HTTPS with a CA of the cluster's own, and ask for a bearer token
    #[arg(long)]
    https: bool,
    /// The bearer token to ask for [with --https: one made from the seed]
    #[arg(long)]
    token: Option<String>,
    /// Where to write the CA's certificate [default with --https: beside the ready file, else a temporary file]
    #[arg(long, value_name = "FILE")]
    ca_file: Option<PathBuf>,
    /// Where to write a kubeconfig
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    /// Where to write the addresses as JSON once everything is served
    #[arg(long, value_name = "FILE")]
    ready_file: Option<PathBuf>,
    /// Refuse sendInitialEvents with 422, as API servers without streaming lists do
    #[arg(long)]
    no_watch_list: bool,
    /// Compress summaries for clients that accept gzip; real kubelets do not
    #[arg(long)]
    gzip: bool,
    /// Let nodes fail; may be repeated
    #[arg(long, value_name = "NODES=KIND[:ARG]")]
    fail: Vec<FailRule>,
}

fn lesson() -> String {
    let kinds: String = KIT.iter().map(|(names, meaning)| format!("  {names:<40} {meaning}\n")).collect();
    format!(
        "Examples:\n  \
           kubesim --nodes 3 --listen 127.0.0.1:8001 --kubelet-port 10250\n      \
             a quiet small cluster; then: curl http://127.0.0.1:8001/api/v1/nodes\n                                 \
             curl http://127.1.0.1:10250/stats/summary\n  \
           kubesim --nodes 100 --churn --restarts 0.5 --fail 3=500 --fail 10-14=slow:20 --fail 5%=refused\n      \
             a cluster where things go wrong\n  \
           kubesim --https --kubeconfig sim.yaml\n      \
             then: kubectl --kubeconfig sim.yaml get --raw /api/v1/pods\n\n\
         NODES in --fail is an index (3), a range (0-9), or a share (10%). A node has one kubelet failure at a time, the \
         last one given. KIND is one of:\n{kinds}\n\
         Each node needs a listening socket and each connection another: 5,000 nodes need about 15,300 open files. The \
         soft limit is raised by itself up to the hard one."
    )
}

impl Args {
    fn builder(&self) -> Builder {
        let builder = Kubesim::builder().configure(|config| {
            *config = Config {
                nodes: self.nodes,
                pods: self.pods,
                containers: self.containers,
                namespaces: self.namespaces,
                volumes: self.volumes,
                interfaces: self.interfaces,
                static_pods: self.static_pods,
                seed: self.seed,
                shape: self.shape,
                resolution: Duration::from_secs(self.resolution),
                churn: self.churn,
                restarts: self.restarts,
                resets: self.resets,
                unsteady: self.unsteady,
                listen: self.listen,
                kubelet_port: self.kubelet_port,
                https: self.https,
                token: self.token.clone(),
                watch_list: !self.no_watch_list,
                gzip: self.gzip,
                ..Config::default()
            };
        });
        self.fail.iter().fold(builder, |builder, rule| builder.fail(rule.nodes.clone(), rule.failure))
    }

    fn ca_path(&self, sim: &Kubesim) -> PathBuf {
        let beside = self.ready_file.as_ref().map(|file| file.with_extension("ca.pem"));
        let temporary = || std::env::temp_dir().join(format!("kubesim-{}-ca.pem", sim.kubelet_port()));
        self.ca_file.clone().or(beside).unwrap_or_else(temporary)
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(&Args::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("kubesim: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(args: &Args) -> anyhow::Result<()> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let sim = tokio::select! {
        started = args.builder().start() => started?,
        _ = interrupt.recv() => return Ok(()),
        _ = terminate.recv() => return Ok(()),
    };
    announce(args, &sim)?;
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    sim.stop().await;
    Ok(())
}

/// Writes the files, the ready file last, and one line for people.
fn announce(args: &Args, sim: &Kubesim) -> anyhow::Result<()> {
    let ca_file = sim.ca_pem().map(|pem| (args.ca_path(sim), pem));
    if let Some((path, pem)) = &ca_file {
        write(path, pem)?;
    }
    if let Some(path) = &args.kubeconfig {
        write(path, &sim.kubeconfig())?;
    }
    let ca_file = ca_file.map(|(path, _)| path);
    if let Some(path) = &args.ready_file {
        let ready = serde_json::json!({
            "api_url": sim.api_url(), "kubelet_port": sim.kubelet_port(), "kubelet_url": sim.kubelet_url(0),
            "ca_file": ca_file, "token": sim.token(), "nodes": sim.node_count(), "kubeconfig": args.kubeconfig,
        });
        // Whoever waits for the file must never read half of it.
        let half = path.with_extension("half");
        write(&half, &ready.to_string())?;
        std::fs::rename(&half, path).with_context(|| format!("cannot write `{}`", path.display()))?;
    }
    let ca = ca_file.map_or_else(String::new, |path| format!(" ca {}", path.display()));
    let token = sim.token().map_or_else(String::new, |token| format!(" token {token}"));
    say(&format!("kubesim ready: api {} kubelets {} to {}{ca}{token}", sim.api_url(), sim.kubelet_url(0), {
        sim.kubelet_url(sim.node_count() - 1)
    }))
}

fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    std::fs::write(path, text).with_context(|| format!("cannot write `{}`", path.display()))
}

fn say(line: &str) -> anyhow::Result<()> {
    use std::io::Write as _;
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}")?;
    Ok(out.flush()?)
}
