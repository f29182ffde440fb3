//! The command line: arguments → configuration → one verb. Each verb has a file of its own.
//!
//! Heapster's flags are taken out first (`config::flags` knows them), so that an unchanged Heapster manifest is a
//! complete command line; clap gets the rest.

use std::ffi::{OsStr, OsString};
use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Args, Parser, Subcommand, ValueEnum};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::writer::BoxMakeWriter;

use crate::app::{Options, Screen};
use crate::config::flags::{self, Given};
use crate::config::{self, Config, Inputs, Loaded, Outside};

mod check;
mod convert;
mod doctor;
mod help;
mod remote;
mod rule;
pub mod run;
mod tap;
mod top;

/// What `sysexits.h` calls EX_CONFIG: starting again will not help.
pub const EXIT_CONFIG: u8 = 78;

/// The client of the API server and its watchers log each failure that we log with its remedy.
const DEFAULT_LINES: &str = "info,kube_client=off,kube_runtime=off";

/// A WebAssembly-scriptable metrics router for Kubernetes: asks every kubelet, passes what it says through a chain of
/// Wasm rules, and hands the result to its sinks. Successor of Heapster, whose flags it understands.
#[derive(Debug, Parser)]
#[command(name = "millrace", bin_name = "millrace", version, after_help = help::EXAMPLES_AND_FLAGS)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Ask the kubelets on every cycle, until stopped
    #[command(after_help = help::EXAMPLES_AND_FLAGS)]
    Run(RunArgs),
    /// Say what the configuration means, or everything that is wrong with it
    #[command(after_help = help::EXAMPLES_AND_FLAGS)]
    Check(ConfigArgs),
    /// Ask the cluster, every kubelet and every sink what would go wrong, and say what helps
    #[command(after_help = doctor::EXAMPLES)]
    Doctor(doctor::DoctorArgs),
    /// Print the TOML that the flags mean
    #[command(after_help = help::EXAMPLES_AND_FLAGS)]
    Convert(ConfigArgs),
    /// Watch a running Millrace: its stages, rules, sinks and nodes, refreshed
    #[command(after_help = top::EXAMPLES)]
    Top(top::TopArgs),
    /// Show rows of a running Millrace as they go by, or what a rule does to them
    #[command(after_help = tap::EXAMPLES)]
    Tap(tap::TapArgs),
    /// Write rules: make, build, test, measure, record and replay them
    Rule(rule::RuleArgs),
}

/// What says how to run; the same for every verb.
#[derive(Debug, Args)]
struct ConfigArgs {
    /// TOML file [default: /etc/millrace/millrace.toml, unless flags say what to do]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Directory of rules; may be repeated; replaces those of the file
    #[arg(long, value_name = "DIR")]
    rules_dir: Vec<PathBuf>,
    /// Directory of the bundled rules [default: beside the binary]
    #[arg(long, value_name = "DIR")]
    bundled_rules: Option<PathBuf>,
    /// Address and port of our own HTTP server [default: 0.0.0.0:8082]
    #[arg(long, value_name = "ADDR")]
    listen: Option<String>,
}

#[derive(Debug, Args)]
struct RunArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// Stop after this many cycles
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    cycles: Option<u64>,
    /// Begin the next cycle as soon as one is done, without waiting for the clock
    #[arg(long)]
    back_to_back: bool,
    /// Show a table of the last cycle in the terminal
    #[arg(long)]
    live: bool,
    /// How log lines are written to standard error
    #[arg(long, value_enum, default_value_t = LogFormat::Text)]
    log_format: LogFormat,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum LogFormat {
    Text,
    Json,
}

/// Does what the process's arguments say.
pub fn main() -> ExitCode {
    let (verb, given) = match parse(std::env::args_os()) {
        Ok(parsed) => parsed,
        Err(error) => {
            let ours = std::env::args_os().nth(1).is_some_and(|verb| is_ours(&verb) || verb == "doctor");
            return usage(error, if ours { rule::EXIT_INPUT } else { EXIT_CONFIG });
        }
    };
    match verb {
        Verb::Check(args) => check::check(&args.inputs(given), &Outside::real()),
        Verb::Doctor(args) => doctor::doctor(args, given),
        Verb::Convert(args) => convert::convert(&args.inputs(given)),
        Verb::Run(args) => start(args, given),
        Verb::Rule(args) => rule::rule(args),
        Verb::Top(args) => top::top(&args),
        Verb::Tap(args) => tap::tap(&args),
    }
}

/// Reads the configuration and hands it to `run`.
fn start(args: RunArgs, given: Vec<Given>) -> ExitCode {
    let options = Options {
        cycles: args.cycles,
        back_to_back: args.back_to_back,
        live: args.live.then(Screen::default),
        ..Options::default()
    };
    let Some(Loaded { config, warnings, changes }) = load(&args.config.inputs(given), &Outside::real()) else {
        return ExitCode::from(EXIT_CONFIG);
    };
    start_logging(args.log_format, options.live.clone());
    for warning in warnings {
        tracing::warn!("{warning}");
    }
    // Nothing that anybody must mend at every start.
    for change in changes {
        tracing::info!("{change}");
    }
    run::run(config, options)
}

/// Reads the configuration; `None` when it was refused and the reasons are printed.
fn load(inputs: &Inputs, outside: &Outside) -> Option<Loaded> {
    match config::load(inputs, outside) {
        Ok(loaded) => Some(loaded),
        Err(refused) => {
            print_warnings(&refused.warnings);
            print_error(&format!("{refused}"));
            None
        }
    }
}

/// Log lines go to standard error, or under the live table; `RUST_LOG` says which.
fn start_logging(format: LogFormat, screen: Option<Screen>) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(DEFAULT_LINES));
    // Under the table lines are cut, and a cut would leave a colour on.
    let colours = screen.is_none() && std::io::stderr().is_terminal();
    let writer = screen.map_or_else(|| BoxMakeWriter::new(std::io::stderr), BoxMakeWriter::new);
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_ansi(colours).with_writer(writer);
    // A second start in one process (a test) keeps the first one's.
    let _ = match format {
        LogFormat::Json => lines.json().flatten_event(true).try_init(),
        LogFormat::Text => lines.try_init(),
    };
}

/// Takes Heapster's flags out and reads the rest.
fn parse(args: impl IntoIterator<Item = OsString>) -> Result<(Verb, Vec<Given>), clap::Error> {
    let mut args = args.into_iter();
    let name = args.next().unwrap_or_else(|| OsString::from("millrace"));
    let mut args: Vec<OsString> = args.collect();
    if args.first().is_some_and(|verb| is_ours(verb)) {
        args.insert(0, name);
        return Cli::try_parse_from(args).map(|cli| (cli.verb, Vec::new()));
    }
    let (given, mut rest) = flags::split(args);
    let first = rest.first().map(OsString::as_os_str);
    let asks = ["-h", "--help", "-V", "--version"].iter().any(|word| first == Some(OsStr::new(word)));
    // An unchanged Heapster manifest names no verb.
    if !asks && first.is_none_or(|word| word.as_encoded_bytes().starts_with(b"-")) {
        rest.insert(0, OsString::from("run"));
    }
    rest.insert(0, name);
    Cli::try_parse_from(rest).map(|cli| (cli.verb, given))
}

/// Heapster knew nothing of these verbs: all their arguments are ours, and no configuration is read.
fn is_ours(verb: &OsStr) -> bool {
    ["rule", "tap", "top"].iter().any(|ours| verb == *ours)
}

/// Prints help and version, or what is wrong with the arguments.
fn usage(mut error: clap::Error, code: u8) -> ExitCode {
    // A flag that is not known was hardly meant as a value, as clap's tip has it.
    error.remove(ContextKind::Suggested);
    if code == EXIT_CONFIG {
        suggest(&mut error);
    }
    // The output may be closed; there is nobody to tell then.
    let _ = error.print();
    if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) {
        return ExitCode::SUCCESS;
    }
    ExitCode::from(code)
}

/// Names the flag of Heapster's that was meant; clap knows ours only.
fn suggest(error: &mut clap::Error) {
    if error.kind() != ErrorKind::UnknownArgument || error.get(ContextKind::SuggestedArg).is_some() {
        return;
    }
    let wrong = error.get(ContextKind::InvalidArg).map(ToString::to_string).unwrap_or_default();
    if let Some(near) = flags::suggestion(&wrong) {
        error.insert(ContextKind::SuggestedArg, ContextValue::String(format!("--{near}")));
    }
}

impl ConfigArgs {
    fn inputs(self, flags: Vec<Given>) -> Inputs {
        Inputs {
            file: self.config,
            flags,
            rules_dirs: self.rules_dir,
            bundled_rules: self.bundled_rules,
            listen: self.listen,
        }
    }
}

fn print_warnings<'w>(warnings: impl IntoIterator<Item = &'w String>) {
    for warning in warnings {
        print_error(&format!("warning: {warning}"));
    }
}

fn print_error(text: &str) {
    // Standard error may be closed; there is nobody to tell then.
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// Prints to standard output; whoever reads it may have gone (`| head`).
fn print(text: &str) -> ExitCode {
    match writeln!(std::io::stdout(), "{text}") {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

/// The configuration as TOML text.
fn toml_text(config: &Config) -> Result<String, toml::ser::Error> {
    toml::to_string(&config.to_toml())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(args: &[&str]) -> Result<(Verb, usize), ErrorKind> {
        let args = std::iter::once("/heapster").chain(args.iter().copied()).map(OsString::from);
        parse(args).map(|(verb, given)| (verb, given.len())).map_err(|error| error.kind())
    }

    #[test]
    fn heapsters_arguments_alone_mean_run() {
        for args in [
            vec!["--source=kubernetes:''", "--sink=influxdb:http://db"],
            vec!["-v=2", "--metric_resolution=60s"],
            vec!["--config", "x.toml", "--sink", "log"],
            vec![],
        ] {
            assert!(matches!(parsed(&args), Ok((Verb::Run(_), _))), "{args:?}");
        }
    }

    #[test]
    fn verbs_take_both_kinds_of_flags() {
        let (verb, given) =
            parsed(&["run", "--sink=log", "--cycles", "3", "--back-to-back", "--log-format", "json", "--live"])
                .unwrap();
        let Verb::Run(args) = verb else { panic!("{verb:?}") };
        assert_eq!(
            (args.cycles, args.back_to_back, args.live, args.log_format, given),
            (Some(3), true, true, LogFormat::Json, 1)
        );
        assert!(matches!(parsed(&["check", "--sink=log"]), Ok((Verb::Check(_), 1))));
        assert!(matches!(parsed(&["--sink=log", "convert"]), Ok((Verb::Convert(_), 1))));
        assert!(matches!(parsed(&["doctor", "--sink=log", "--strict"]), Ok((Verb::Doctor(_), 1))));
        assert_eq!(parsed(&["--version"]).unwrap_err(), ErrorKind::DisplayVersion);
        assert_eq!(parsed(&["run", "--cycles", "0"]).unwrap_err(), ErrorKind::ValueValidation);
        assert_eq!(parsed(&["--metric-resolutoin=5s"]).unwrap_err(), ErrorKind::UnknownArgument);
    }

    #[test]
    fn a_misspelt_flag_names_the_one_that_was_meant() {
        for (args, want) in [
            (vec!["--metric-resolutoin=5s"], Some("--metric-resolution")),
            (vec!["check", "--snk=log"], Some("--sink")),
            (vec!["run", "--cycels", "3"], Some("--cycles")),
            (vec!["run", "--confg=x"], Some("--config")),
            (vec!["--entirely-else"], None),
            (vec!["-x"], None),
        ] {
            let line = std::iter::once("millrace").chain(args.iter().copied()).map(OsString::from);
            let mut error = parse(line).map(|_| ()).unwrap_err();
            suggest(&mut error);
            let text = error.to_string();
            let tip = want.map(|flag| format!("tip: a similar argument exists: '{flag}'"));
            assert_eq!(text.contains("tip:"), tip.is_some(), "{text}");
            assert!(tip.is_none_or(|tip| text.contains(&tip)), "{text}");
        }
    }
}
