//! `millrace rule …`: from an idea to a rule that is tested, measured and ready to run. One file a
//! verb; what a language needs is in `lang`.

mod bench;
mod build;
pub(super) mod console;
mod embedded;
mod files;
mod input;
mod inspect;
mod lang;
mod new;
mod record;
mod redact;
mod replay;
mod sample;
mod test;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand, ValueEnum};

use console::Console;
pub(super) use console::EXIT_INPUT;

const EXAMPLES: &str = "\
Examples:
  millrace rule new drop-idle
      a folder with a filter in Rust, its settings, its cases and a README
  millrace rule test drop-idle
      builds it and runs its cases in the runtime that clusters run
  millrace rule bench drop-idle/drop-idle.wasm
      what it costs: ns and instructions a point, and memory
  millrace rule record --out node.rec
      batches as a running Millrace gives them to its rules
  millrace rule replay drop-idle/drop-idle.wasm --input node.rec --diff
      what the rule does to them

Exit codes: 0 good, 1 the rule is at fault (it does not build, load, or pass its cases),
2 the command is (a file that is not there, a tool that is missing).";

const NEW: &str = "\
Examples:
  millrace rule new drop-idle
  millrace rule new team-labels --kind relabel
  millrace rule new pods-by-team --kind aggregate --path rules/pods-by-team
  millrace rule new drop-idle --lang c
  millrace rule new drop-idle --lang python

Kinds:
  filter      drops containers below a floor
  relabel     copies pod labels to series labels
  aggregate   adds a metric up by labels, once a cycle
In C there is filter.";

const BUILD: &str = "\
Examples:
  millrace rule build
      in a rule's folder: writes NAME.wasm there
  millrace rule build drop-idle --out rules/60-drop-idle.wasm

What it writes is a component whose only import is millrace:rule/host; names of functions and
other custom sections are left out unless --names keeps them (traps name functions then).";

const TEST: &str = "\
Examples:
  millrace rule test
      in a rule's folder: builds it, and runs cases/*.toml
  millrace rule test drop-idle.wasm --cases drop-idle/cases
  millrace rule test drop-idle idle
      the cases with `idle` in their name
  millrace rule test --bless
      writes what came out into the cases; look at the diff before you commit it

A case (the file's name is its name):
  description = \"idle containers go\"
  [settings]
  min-millicores = 5
  [[cycle]]
  rows = '''
  container {container_name=busy} cpu/usage_rate = 50
  container {container_name=idle} cpu/usage_rate = 1
  '''
  want = '''
  container {container_name=busy} cpu/usage_rate = 50
  '''

Also: several [[cycle]]s, [[cycle.batch]] with `node` for several nodes, `finish` for what the end
of a cycle adds, `error` and `finish-error` for failures, `refused` for settings that must not be
taken, [metrics] for kinds and units, `{@started=2026-01-01T00:00:00Z,…}` for an entity's start,
and ` @ -500ms` after a value for when it was measured.";

const BENCH: &str = "\
Examples:
  millrace rule bench drop-idle.wasm
      on a node with 30 pods of 2 containers, made up in this program
  millrace rule bench drop-idle.wasm --input node.rec --save before.json
  millrace rule bench drop-idle.wasm --input node.rec --baseline before.json
      what has become dearer since; instructions are the same at every run, times are not

Settings and limits are those of NAME.toml beside the file, or of --settings FILE.
A rule that stands below 50 in the chain sees facts, one above 50 what the rule heapster made of
them. The number in the file's name says which; without one both are measured.";

const INSPECT: &str = "\
Examples:
  millrace rule inspect drop-idle.wasm
  millrace rule inspect drop-idle.wasm --output json | jq .digest

Exit code 1 if this host would not load the file.";

const RECORD: &str = "\
Examples:
  millrace rule record --out node.rec
      the batches of one cycle of the Millrace at http://127.0.0.1:8082, as they enter its chain
  kubectl -n kube-system port-forward deploy/millrace 8082 &
  millrace rule record --out prod.rec --redact --cycles 3
      three cycles, with every label's value as a hash that is the same throughout the file
  millrace rule record --kubelet https://10.0.0.7:10250 --token-file token --insecure-tls --out node.rec
      straight from a kubelet: what it says, without what the API server knows";

const REPLAY: &str = "\
Examples:
  millrace rule replay drop-idle.wasm --input node.rec
      what it would drop, relabel and add
  millrace rule replay 60-drop-idle.wasm --input node.rec --diff | less
      row by row, behind the rule heapster, for the number is above 50
  millrace rule replay drop-idle.wasm --input node.rec --at after --rows > rows.txt

Settings and limits are those of NAME.toml beside the file, or of --settings FILE.
Exit code 1 if the rule fails on a batch.";

/// Arguments of `millrace rule`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct RuleArgs {
    #[command(subcommand)]
    verb: RuleVerb,
    /// When to use colours; NO_COLOR is honoured
    #[arg(long, global = true, value_enum, default_value_t = Colours::Auto, value_name = "WHEN")]
    color: Colours,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Colours {
    Auto,
    Always,
    Never,
}

/// How results are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Output {
    Text,
    Json,
}

#[derive(Debug, Subcommand)]
enum RuleVerb {
    /// Make a rule's folder: code, settings, cases, README
    #[command(after_help = NEW)]
    New(NewArgs),
    /// Build a rule, and say how large it is and what makes it so
    #[command(after_help = BUILD)]
    Build(BuildArgs),
    /// Run a rule's cases in the runtime that clusters run
    #[command(after_help = TEST)]
    Test(TestArgs),
    /// Measure what a rule costs
    #[command(after_help = BENCH)]
    Bench(BenchArgs),
    /// Say what a .wasm file is, and whether this host would load it
    #[command(after_help = INSPECT)]
    Inspect(InspectArgs),
    /// Write batches of a running Millrace, or of a kubelet, into a file
    #[command(after_help = RECORD)]
    Record(record::RecordArgs),
    /// Show what a rule does to recorded batches
    #[command(after_help = REPLAY)]
    Replay(ReplayArgs),
}

/// What a rule is given, and how it is set.
#[derive(Debug, Args)]
struct InputArgs {
    /// The rule
    #[arg(value_name = "FILE.wasm")]
    rule: PathBuf,
    /// What `millrace rule record` wrote [default: a made-up node of 30 pods with 2 containers]
    #[arg(long, value_name = "FILE")]
    input: Option<PathBuf>,
    /// Its settings and limits [default: NAME.toml beside the file, if it is there]
    #[arg(long, value_name = "FILE.toml")]
    settings: Option<PathBuf>,
    /// Before or after the rule heapster [default: as the number in the file's name says]
    #[arg(long, value_enum, value_name = "WHERE")]
    at: Option<Place>,
    /// Directory of the bundled rules, where heapster is [default: beside the binary]
    #[arg(long, value_name = "DIR")]
    bundled_rules: Option<PathBuf>,
    /// How to print the result
    #[arg(long, value_enum, default_value_t = Output::Text)]
    output: Output,
}

/// Where in the chain a rule stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Place {
    /// It sees facts
    Before,
    /// It sees what heapster made of them
    After,
}

#[derive(Debug, Args)]
struct BenchArgs {
    #[command(flatten)]
    input: InputArgs,
    /// How long each input is measured
    #[arg(long, default_value_t = 3, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=600))]
    seconds: u64,
    /// Write the figures to a file
    #[arg(long, value_name = "FILE")]
    save: Option<PathBuf>,
    /// Compare with figures that --save wrote
    #[arg(long, value_name = "FILE")]
    baseline: Option<PathBuf>,
    /// With --baseline: exit code 1 if instructions rose by more than this
    #[arg(long, value_name = "PERCENT", requires = "baseline")]
    fail_over: Option<f64>,
}

#[derive(Debug, Args)]
struct InspectArgs {
    /// The file
    #[arg(value_name = "FILE.wasm")]
    rule: PathBuf,
    /// How to print the result
    #[arg(long, value_enum, default_value_t = Output::Text)]
    output: Output,
}

#[derive(Debug, Args)]
struct ReplayArgs {
    #[command(flatten)]
    input: InputArgs,
    /// Replay the batches that the rule failed on last in this running Millrace, as they came to it
    #[arg(long, value_name = "URL", conflicts_with_all = ["input", "at"])]
    failures: Option<String>,
    /// Print the rows that the rule leaves and adds
    #[arg(long, conflicts_with = "diff")]
    rows: bool,
    /// Print the rows that it takes away and those that it brings
    #[arg(long)]
    diff: bool,
}

#[derive(Debug, Args)]
struct NewArgs {
    /// Its name: letters, digits and dashes
    name: String,
    /// The language to write it in
    #[arg(long, default_value = lang::DEFAULT, value_parser = lang::names())]
    lang: String,
    /// What it does, to begin with
    #[arg(long, value_enum, default_value_t = Kind::Filter)]
    kind: Kind,
    /// Where to make the folder [default: NAME, here]
    #[arg(long, value_name = "DIR")]
    path: Option<PathBuf>,
    /// For Rust, the SDK: a path to `guest-sdk` of a checkout, or a version of the crate
    /// [default: a copy that this program brings]
    #[arg(long, value_name = "PATH|VERSION")]
    sdk: Option<String>,
}

/// What a new rule does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Kind {
    Filter,
    Relabel,
    Aggregate,
}

#[derive(Debug, Args)]
struct BuildArgs {
    /// The rule's folder
    #[arg(default_value = ".")]
    dir: PathBuf,
    /// Where to write the component [default: NAME.wasm in the folder]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Keep the names of functions, for messages of traps
    #[arg(long)]
    names: bool,
    /// How to print the result
    #[arg(long, value_enum, default_value_t = Output::Text)]
    output: Output,
}

#[derive(Debug, Args)]
struct TestArgs {
    /// The rule's folder, which is built first, or a .wasm file
    #[arg(default_value = ".", value_name = "DIR|FILE.wasm")]
    rule: PathBuf,
    /// Only the cases with this in their name
    filter: Option<String>,
    /// Where the cases are [default: `cases` in the folder, or beside the file]
    #[arg(long, value_name = "DIR")]
    cases: Option<PathBuf>,
    /// Write what came out into the cases that fail
    #[arg(long)]
    bless: bool,
    /// Do not build; take the folder's NAME.wasm as it is
    #[arg(long)]
    no_build: bool,
    /// How to print the result
    #[arg(long, value_enum, default_value_t = Output::Text)]
    output: Output,
}

/// Does what the arguments say.
pub(super) fn rule(args: RuleArgs) -> ExitCode {
    let console = Console::new(args.color);
    let done = match args.verb {
        RuleVerb::New(args) => new::new(&args, &console),
        RuleVerb::Build(args) => build::build(&args, &console),
        RuleVerb::Test(args) => test::test(&args, &console),
        RuleVerb::Bench(args) => bench::bench(&args, &console),
        RuleVerb::Inspect(args) => inspect::inspect(&args, &console),
        RuleVerb::Record(args) => record::record(&args, &console),
        RuleVerb::Replay(args) => replay::replay(&args, &console),
    };
    console.end(done)
}
