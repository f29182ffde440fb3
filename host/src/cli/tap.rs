//! `millrace tap`: rows of a running Millrace as they go by, or what a rule does to them.

use std::io::{ErrorKind, Write};
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use reqwest::Url;
use serde::Deserialize;

use super::remote::{HERE, Remote, reason};
use super::rule::console::{Console, Fail, Paint, tamed};
use super::rule::{Colours, Output};

/// The other side says that it is alive more often.
const SILENCE: Duration = Duration::from_secs(60);
/// Longest line, bytes: an entity has at most so much text.
const MOST: usize = 8 << 20;

pub(super) const EXAMPLES: &str = "\
Examples:
  millrace tap --metric 'cpu/*' --count 20
      rows as they go to the sinks, of the Millrace at http://127.0.0.1:8082
  millrace tap --rule drop-idle
      what a rule does: `-` it drops, `+` it adds, `~` it changes labels (old → new)
  millrace tap --rule drop-idle --entity 'shop/*' --before
      rows of the namespace shop as the rule gets them; --after: as it leaves them
  kubectl -n kube-system port-forward deploy/millrace 8082 &
  millrace tap --rule heapster --metric 'cpu/usage_rate' --output json | jq .value
  millrace tap metrics.example:8082 --entity '*/kubelet'

An entity's path is NAMESPACE/POD/CONTAINER, NAMESPACE/POD, NAMESPACE, NODE, or NODE/SYSTEM-CONTAINER;
in a pattern `*` stands for any characters, those with `/` too, and `?` for one.
For a rule under `shadow = true` it is what it would do; nothing of it is done.

Rows over --rate are left out and counted, and so are batches that the connection is too slow for; both
are told in lines that begin with `#`. Nothing here slows the pipeline down.
`record = false` under [http] of the other side's configuration forbids it: rows leave the process.";

/// Arguments of `millrace tap`.
#[derive(Debug, Args)]
pub(super) struct TapArgs {
    /// Where it listens
    #[arg(value_name = "ADDRESS", default_value = HERE)]
    address: String,
    /// The rule to look at [default: what goes to the sinks]
    #[arg(long, value_name = "NAME")]
    rule: Option<String>,
    /// Only entities whose path fits this pattern
    #[arg(long, value_name = "GLOB")]
    entity: Option<String>,
    /// Only points of metrics whose name fits this pattern
    #[arg(long, value_name = "GLOB")]
    metric: Option<String>,
    /// Rows as they enter the rule
    #[arg(long, requires = "rule", conflicts_with = "after")]
    before: bool,
    /// Rows as they leave the rule
    #[arg(long, requires = "rule")]
    after: bool,
    /// End after so many rows
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
    /// Rows a second at most
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    rate: u32,
    /// How to print the rows: for people, or as a JSON object a line
    #[arg(long, value_enum, default_value_t = Output::Text)]
    output: Output,
    /// When to use colours; NO_COLOR is honoured
    #[arg(long, value_enum, default_value_t = Colours::Auto, value_name = "WHEN")]
    color: Colours,
}

/// A line of the stream.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Line {
    cycle: u64,
    of: String,
    shadow: bool,
    mark: String,
    row: Option<String>,
    skipped: Option<u64>,
    left_out: Option<u64>,
    no_answer: Option<String>,
    alive: bool,
    end: Option<String>,
}

/// Prints rows until there are enough, or somebody has seen enough.
pub(super) fn tap(args: &TapArgs) -> ExitCode {
    let console = Console::new(args.color);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let done = runtime.map_err(|error| Fail::input(format!("no threads to run on: {error}"))).and_then(|runtime| {
        runtime.block_on(async {
            tokio::select! {
                done = stream(args, &console) => done,
                _ = tokio::signal::ctrl_c() => Ok(()),
            }
        })
    });
    console.end(done.map(|()| ExitCode::SUCCESS))
}

fn path(args: &TapArgs) -> Result<String, Fail> {
    let mut url = Url::parse(HERE).map_err(|error| Fail::input(error.to_string()))?;
    let at = match (&args.rule, args.before, args.after) {
        (None, ..) => None,
        (_, true, _) => Some("before"),
        (.., true) => Some("after"),
        _ => Some("changes"),
    };
    let texts = [("rule", &args.rule), ("entity", &args.entity), ("metric", &args.metric)];
    let texts = texts.into_iter().filter_map(|(name, text)| Some((name, text.as_deref()?)));
    url.query_pairs_mut()
        .extend_pairs(texts)
        .extend_pairs(at.map(|at| ("at", at)))
        .append_pair("rate", &args.rate.to_string());
    Ok(format!("/api/v1/tap?{}", url.query().unwrap_or_default()))
}

async fn stream(args: &TapArgs, console: &Console) -> Result<(), Fail> {
    let remote = Remote::at(&args.address, SILENCE).map_err(Fail::input)?;
    let mut answer = remote.get(&path(args)?).await.map_err(Fail::input)?;
    let broken = |why: &str| Fail::input(format!("{}: {why}", remote.address()));
    let mut shown = Shown { console, json: args.output == Output::Json, head: None, left: args.count };
    let mut waiting: Vec<u8> = Vec::new();
    while let Some(part) = answer.chunk().await.map_err(|error| broken(&format!("broke off: {}", reason(&error))))? {
        waiting.extend_from_slice(&part);
        let mut start = 0;
        while let Some(end) = memchr::memchr(b'\n', &waiting[start..]) {
            let line = &waiting[start..start + end];
            start += end + 1;
            let read = serde_json::from_slice::<Line>(line);
            let read = read.map_err(|error| broken(&format!("what it says can't be read: {error}")))?;
            match shown.line(&read, line) {
                Ok(true) => {}
                Ok(false) => return Ok(()),
                Err(error) if error.kind() == ErrorKind::BrokenPipe => return Ok(()),
                Err(error) => return Err(Fail::input(format!("standard output: {error}"))),
            }
        }
        waiting.drain(..start);
        if waiting.len() > MOST {
            return Err(broken(&format!("a line has more than {MOST} bytes")));
        }
    }
    Err(broken("the stream ended; it is stopping, perhaps"))
}

/// What has been printed.
struct Shown<'a> {
    console: &'a Console,
    json: bool,
    /// Cycle and batch of the last row.
    head: Option<(u64, String)>,
    left: Option<u64>,
}

impl Shown<'_> {
    /// Prints a line; false when it was the last.
    fn line(&mut self, line: &Line, raw: &[u8]) -> std::io::Result<bool> {
        if line.alive {
            // A closed pipe is noticed here when nothing goes by for long.
            return std::io::stdout().flush().map(|()| true);
        }
        if self.json {
            let mut out = std::io::stdout().lock();
            out.write_all(&[raw, b"\n"].concat())?;
        } else {
            let note = note(line);
            self.head(line, note.is_some())?;
            match (note, &line.row) {
                (Some(note), _) => self.print(&self.console.paint(Paint::Warn, format!("# {note}")))?,
                (None, Some(row)) => self.print(&self.row(&line.mark, row))?,
                (None, None) => {}
            }
        }
        if line.row.is_some()
            && let Some(left) = &mut self.left
        {
            *left -= 1;
            return Ok(*left > 0);
        }
        Ok(line.end.is_none())
    }

    /// Whose rows follow, where it is not said already.
    fn head(&mut self, line: &Line, is_note: bool) -> std::io::Result<()> {
        let head = (line.cycle, line.of.clone());
        if is_note || line.row.is_none() || self.head.as_ref() == Some(&head) {
            return Ok(());
        }
        let shadow = if line.shadow { ", in the shadow" } else { "" };
        let text = format!("# cycle {}, {}{shadow}", line.cycle, tamed(&line.of));
        self.head = Some(head);
        self.print(&self.console.paint(Paint::Dim, text))
    }

    fn row(&self, mark: &str, row: &str) -> String {
        let paint = match mark {
            "-" => Paint::Bad,
            "+" => Paint::Good,
            "~" => Paint::Warn,
            _ => return tamed(row),
        };
        self.console.paint(paint, format!("{mark} {}", tamed(row)))
    }

    fn print(&self, text: &str) -> std::io::Result<()> {
        writeln!(std::io::stdout().lock(), "{text}")
    }
}

/// What a line says that is no row.
fn note(line: &Line) -> Option<String> {
    if let Some(batches) = line.skipped {
        return Some(format!("skipped {batches} batches: the connection is too slow for them"));
    }
    if let Some(rows) = line.left_out {
        return Some(format!(
            "left out {rows} rows over the rate; --entity and --metric make them fewer, --rate lets more through"
        ));
    }
    if let Some(why) = &line.no_answer {
        return Some(format!("cycle {}, {}: no answer: {}", line.cycle, tamed(&line.of), tamed(why)));
    }
    line.end.as_ref().map(|why| format!("the stream has ended: {}", tamed(why)))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        args: TapArgs,
    }

    fn args(words: &[&str]) -> Option<TapArgs> {
        Cli::try_parse_from(std::iter::once(&"tap").chain(words)).ok().map(|cli| cli.args)
    }

    #[test]
    fn flags_become_a_question() {
        for (words, want) in [
            (vec![], "/api/v1/tap?rate=1000"),
            (vec!["a:1", "--metric", "cpu/*"], "/api/v1/tap?metric=cpu%2F*&rate=1000"),
            (vec!["--rule", "x", "--rate", "5"], "/api/v1/tap?rule=x&at=changes&rate=5"),
            (vec!["--rule=a&b", "--entity=é", "--before"], "/api/v1/tap?rule=a%26b&entity=%C3%A9&at=before&rate=1000"),
            (vec!["--rule", "x", "--after"], "/api/v1/tap?rule=x&at=after&rate=1000"),
        ] {
            assert_eq!(path(&args(&words).unwrap()).unwrap(), want);
        }
        for wrong in [vec!["--before"], vec!["--rule=x", "--after", "--before"], vec!["--rate=0"], vec!["--count=0"]] {
            assert!(args(&wrong).is_none(), "{wrong:?}");
        }
    }

    #[test]
    fn what_is_no_row_is_a_note() {
        let note = |json: &str| note(&serde_json::from_str(json).unwrap());
        assert_eq!(note(r#"{"row":"a","cycle":1,"of":"b","entity":"c","new_field":1}"#), None);
        for (json, want) in [
            (r#"{"skipped":3}"#, "skipped 3 batches"),
            (r#"{"left_out":3}"#, "left out 3 rows"),
            (r#"{"no_answer":"trap","of":"node a","cycle":2}"#, "cycle 2, node a: no answer: trap"),
            (r#"{"end":"it was open for an hour"}"#, "the stream has ended: it was open for an hour"),
        ] {
            assert!(note(json).unwrap().starts_with(want), "{json}");
        }
    }
}
