//! `millrace rule record`: batches of a running Millrace as they enter its chain, or of a kubelet,
//! into a file.

mod kubelet;

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use serde_json::json;

use super::super::remote::{HERE, Remote, RemoteError, reason};
use super::Output;
use super::console::{Console, Fail, Paint, code, size};
use super::files;
use super::redact::Redaction;
use crate::batch::wire::{self, Decoder, Record};
use crate::recordings::MAX_CYCLES;

/// Between two parts of a recording: the longest resolution and more.
const SILENCE: Duration = Duration::from_secs(3700);

/// Arguments of `millrace rule record`.
#[derive(Debug, Args)]
pub(super) struct RecordArgs {
    /// Where to write the recording
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// The Millrace to record from
    #[arg(long, value_name = "URL", default_value = HERE, conflicts_with = "kubelet")]
    from: String,
    /// How many cycles
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=i64::from(MAX_CYCLES)))]
    cycles: u32,
    /// Write hashes in the place of labels' values
    #[arg(long)]
    redact: bool,
    /// Record from this kubelet instead
    #[arg(long, value_name = "URL")]
    kubelet: Option<String>,
    #[command(flatten)]
    access: kubelet::Access,
    /// How to print the result
    #[arg(long, value_enum, default_value_t = Output::Text)]
    output: Output,
}

/// Records and tells.
pub(super) fn record(args: &RecordArgs, console: &Console) -> Result<ExitCode, Fail> {
    crate::tls::install_provider();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Fail::input(format!("no threads to run on: {error}")))?;
    let mut writing = Writing::begin(&args.out, args.redact)?;
    let done = runtime.block_on(async {
        match &args.kubelet {
            Some(url) => kubelet::record(url, &args.access, args.cycles, &mut writing, console).await,
            None => stream(args, &mut writing, console).await,
        }
    });
    // What is half there is nothing.
    done.and_then(|()| writing.finish())?;
    tell(args, &writing, console);
    Ok(code(true))
}

fn tell(args: &RecordArgs, writing: &Writing, console: &Console) {
    let Writing { cycles, batches, points, lost, bytes, .. } = *writing;
    if args.output == Output::Json {
        console.json(&json!({
            "file": args.out, "bytes": bytes, "cycles": cycles, "batches": batches, "points": points,
            "lost-batches": lost, "redacted": args.redact,
        }));
    } else {
        console.line(format!(
            "{} {}: {}, {batches} batches, {points} points, {}{}",
            console.paint(Paint::Good, "recorded"),
            args.out.display(),
            counted(cycles),
            size(bytes),
            if args.redact { "; labels' values are hashes" } else { "" }
        ));
    }
    if lost > 0 {
        console.warn(format!("{lost} batches are missing: the connection was too slow for them"));
    }
    if points == 0 {
        console.warn("no node gave a point in these cycles; /api/v1/status says why");
    }
}

fn counted(cycles: u64) -> String {
    format!("{cycles} cycle{}", if cycles == 1 { "" } else { "s" })
}

/// Takes the stream of a running Millrace.
async fn stream(args: &RecordArgs, writing: &mut Writing, console: &Console) -> Result<(), Fail> {
    let remote = Remote::at(&args.from, SILENCE).map_err(Fail::input)?;
    let from = remote.address();
    let answer = remote.get(&format!("/api/v1/record?cycles={}", args.cycles)).await.map_err(|error| {
        let hint = match error {
            RemoteError::Unreachable(_) => {
                "; name the address of a running Millrace with --from, or a kubelet with --kubelet"
            }
            _ => "",
        };
        Fail::input(format!("{error}{hint}"))
    })?;
    let _progress = console
        .progress(format!("recording {}; a cycle begins at a multiple of the resolution", counted(args.cycles.into())));
    let broken = |what: &dyn std::fmt::Display| Fail::input(format!("{from}: {what}"));
    let (mut answer, mut decoder) = (answer, Decoder::default());
    while let Some(part) =
        answer.chunk().await.map_err(|error| broken(&format!("the recording broke off: {}", reason(&error))))?
    {
        decoder.push(&part);
        while let Some(record) = decoder.next_record().map_err(|error| broken(&error))? {
            writing.record(record)?;
        }
    }
    decoder.end().map_err(|error| broken(&error))?;
    if writing.cycles < u64::from(args.cycles) {
        return Err(broken(&format!("it stopped after {} of {} cycles", writing.cycles, args.cycles)));
    }
    Ok(())
}

/// The file on the way, and what is in it.
pub(super) struct Writing {
    path: PathBuf,
    half: PathBuf,
    out: BufWriter<File>,
    redaction: Option<Redaction>,
    cycles: u64,
    batches: u64,
    points: u64,
    lost: u64,
    bytes: u64,
    whole: bool,
}

impl Writing {
    fn begin(path: &Path, redact: bool) -> Result<Self, Fail> {
        let half = files::half(path)?;
        let file = File::create(&half).map_err(|error| unwritable(path, &error))?;
        let redaction = redact.then(Redaction::new);
        let mut writing = Self {
            path: path.to_owned(),
            half,
            out: BufWriter::new(file),
            redaction,
            cycles: 0,
            batches: 0,
            points: 0,
            lost: 0,
            bytes: 0,
            whole: false,
        };
        writing.put(wire::HEADER)?;
        Ok(writing)
    }

    /// Writes one record, redacted if it is to be.
    pub(super) fn record(&mut self, record: Record) -> Result<(), Fail> {
        let mut bytes = Vec::new();
        match record {
            Record::Batch(cycle, batch) => {
                let batch = match &self.redaction {
                    Some(redaction) => redaction.batch(*batch),
                    None => *batch,
                };
                self.batches += 1;
                self.points += batch.points.len() as u64;
                wire::write_batch(&mut bytes, &cycle, &batch);
            }
            Record::End(cycle) => {
                self.cycles += 1;
                wire::write_end(&mut bytes, &cycle);
            }
            Record::Lost(batches) => {
                self.lost += batches;
                wire::write_lost(&mut bytes, batches);
            }
        }
        self.put(&bytes)
    }

    fn put(&mut self, bytes: &[u8]) -> Result<(), Fail> {
        self.bytes += bytes.len() as u64;
        self.out.write_all(bytes).map_err(|error| unwritable(&self.path, &error))
    }

    fn finish(&mut self) -> Result<(), Fail> {
        let done = self.out.flush().and_then(|()| fs::rename(&self.half, &self.path));
        done.map_err(|error| unwritable(&self.path, &error))?;
        self.whole = true;
        Ok(())
    }
}

impl Drop for Writing {
    fn drop(&mut self) {
        if !self.whole {
            let _ = fs::remove_file(&self.half);
        }
    }
}

fn unwritable(path: &Path, error: &std::io::Error) -> Fail {
    Fail::input(format!("{}: can't be written: {error}", path.display()))
}
