//! `millrace doctor`: arguments, progress on standard error, the report on standard output, and the exit code.

use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, ValueEnum};
use tokio::time::{Instant, MissedTickBehavior, interval_at};

use super::rule::EXIT_INPUT;
use super::{ConfigArgs, print, print_error};
use crate::config::flags::Given;
use crate::config::{self, ApiServer, Inputs, Loaded, Outside};
use crate::doctor::{Options, Progress, Report, examine};
use crate::finding::Status;

/// Something does not work.
const EXIT_FAILURE: u8 = 1;
/// Who waits for longer is told for what.
const PATIENCE: Duration = Duration::from_secs(2);

pub(super) const EXAMPLES: &str = "\
Examples:
  kubectl -n kube-system exec deploy/millrace -- millrace doctor
      beside a running Millrace, with its configuration, its rights and its way to everything
  millrace doctor --config millrace.toml --kubeconfig ~/.kube/config --service-account kube-system/millrace
      from a desk, before it is deployed: the rights of that service account, everything else from here
  millrace doctor --source='kubernetes:https://kubernetes.default' --sink=influxdb:http://monitoring-influxdb:8086
      with Heapster's flags, as `millrace run` takes them
  millrace doctor --node node-7 --output json
      one kubelet, for a program

Nothing is changed: no object, no database, no topic.

Exit codes: 0 all is well, or there are only warnings; 1 something does not work (with --strict: or there are
warnings); 2 nothing could be looked at: the arguments or the configuration are wrong.";

/// `millrace doctor`.
#[derive(Debug, Args)]
pub(super) struct DoctorArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// Reach the cluster by this kubeconfig, whatever the configuration says
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    /// Ask for the rights of this service account instead of one's own
    #[arg(long, value_name = "NAMESPACE/NAME", value_parser = service_account)]
    service_account: Option<(String, String)>,
    /// Ask only this node's kubelet; may be repeated
    #[arg(long, value_name = "NAME")]
    node: Vec<String>,
    /// Kubelets to ask at most, from everywhere in the cluster
    #[arg(long, value_name = "N", default_value_t = 250, value_parser = clap::value_parser!(u32).range(1..))]
    max_nodes: u32,
    /// Longest wait for one answer of the API server
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = wait)]
    timeout: Duration,
    /// Warnings count as failures in the exit code
    #[arg(long)]
    strict: bool,
    /// For whom the report is
    #[arg(long, value_enum, default_value_t = Output::Text)]
    output: Output,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Output {
    Text,
    Json,
}

fn service_account(text: &str) -> Result<(String, String), String> {
    let is_name = |name: &str| {
        let legal = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '.');
        (1..=253).contains(&name.len()) && name.chars().all(legal)
    };
    match text.split_once('/') {
        Some((namespace, name)) if is_name(namespace) && is_name(name) => Ok((namespace.to_owned(), name.to_owned())),
        _ => Err("write it as NAMESPACE/NAME, for instance kube-system/millrace".to_owned()),
    }
}

fn wait(text: &str) -> Result<Duration, String> {
    let bounds = Duration::from_millis(100)..=Duration::from_secs(600);
    let wait = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    if bounds.contains(&wait) { Ok(wait) } else { Err("use 100ms to 10m".to_owned()) }
}

/// Looks at everything and prints what it found.
pub(super) fn doctor(args: DoctorArgs, given: Vec<Given>) -> ExitCode {
    let DoctorArgs { config, kubeconfig, service_account, node, max_nodes, timeout, strict, output } = args;
    let loaded = match load(&config.inputs(given), kubeconfig) {
        Ok(loaded) => loaded,
        Err(refused) => {
            show(&refused, output);
            return ExitCode::from(EXIT_INPUT);
        }
    };
    crate::tls::install_provider();
    let most_nodes = usize::try_from(max_nodes).unwrap_or(usize::MAX);
    let options = Options { nodes: node, most_nodes, timeout, service_account };
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            print_error(&format!("no threads to run on: {error}"));
            return ExitCode::from(EXIT_INPUT);
        }
    };
    let report = runtime.block_on(with_progress(&loaded, &options));
    // A rule that is still being compiled, or a broker that is silent, is not waited for.
    runtime.shutdown_background();
    if show(&report, output) != ExitCode::SUCCESS {
        return ExitCode::from(EXIT_INPUT);
    }
    match report.outcome() {
        Status::Failure => ExitCode::from(EXIT_FAILURE),
        Status::Warning if strict => ExitCode::from(EXIT_FAILURE),
        Status::Warning | Status::Note | Status::Ok => ExitCode::SUCCESS,
    }
}

fn load(inputs: &Inputs, kubeconfig: Option<PathBuf>) -> Result<Loaded, Report> {
    let mut loaded = config::load(inputs, &Outside::real())
        .map_err(|refused| Report::refused(&refused.errors, &refused.warnings))?;
    if let Some(path) = kubeconfig {
        loaded.config.source.api = ApiServer::Kubeconfig(path);
    }
    Ok(loaded)
}

/// Says now and then what takes so long.
async fn with_progress(loaded: &Loaded, options: &Options) -> Report {
    let progress = Progress::default();
    let mut report = std::pin::pin!(examine(loaded, options, &progress));
    let mut ticks = interval_at(Instant::now() + PATIENCE, PATIENCE);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            report = &mut report => return report,
            _ = ticks.tick() => print_error(&format!("{}…", progress.now())),
        }
    }
}

fn show(report: &Report, output: Output) -> ExitCode {
    match output {
        Output::Text => {
            let colours = std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
            print(&report.text(colours))
        }
        Output::Json => report.json().map_or(ExitCode::FAILURE, |json| print(&json)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_read_or_refused() {
        assert_eq!(service_account("kube-system/millrace"), Ok(("kube-system".to_owned(), "millrace".to_owned())));
        for bad in ["millrace", "a/", "/b", "a/B", "a/b/c", "a b/c"] {
            assert!(service_account(bad).is_err(), "{bad}");
        }
        assert_eq!(wait("3s"), Ok(Duration::from_secs(3)));
        assert!(wait("0s").is_err() && wait("soon").is_err());
    }
}
