//! `millrace rule bench`: what a rule costs. Times have a spread and depend on the machine;
//! instructions are the same at every run.

mod figures;

use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use super::console::{Console, Fail, Paint, code, size, tamed};
use super::input::{Input, Subject, inputs, subject};
use super::{BenchArgs, Output, Place, build, files};
use crate::batch::{Batch, Cycle, Origin};
use crate::rules::{CompiledRule, Desk, Digest, RuleEngine};
use figures::{Figures, Measured, Spread};

/// Passes of an input at least, with the one that warms up.
const MIN_PASSES: usize = 4;
/// Samples that are kept of each sort.
const MAX_SAMPLES: usize = 1_000_000;
/// Largest file of figures, bytes.
const MAX_FIGURES_BYTES: usize = 16 << 20;

/// Measures and tells.
pub(super) fn bench(args: &BenchArgs, console: &Console) -> Result<ExitCode, Fail> {
    let baseline = args.baseline.as_deref().map(read_figures).transpose()?;
    let engine = build::engine()?;
    let subject = subject(&engine, &args.input, console)?;
    let counting = RuleEngine::counting().map_err(Fail::input)?;
    let counted = build::load(&counting, &args.input.rule, &subject.bytes, console)?;
    let mut inputs = inputs(&engine, &args.input, true, console)?;
    let mut figures = Figures {
        file: args.input.rule.display().to_string(),
        digest: Digest::of(&subject.bytes).to_string(),
        inputs: Vec::new(),
    };
    for (place, input) in &mut inputs {
        console_warnings(input, console);
        let name = if *place == Place::Before { "facts" } else { "after heapster" };
        let _progress = console.progress(format!("measuring on {name}, {} s", args.seconds));
        let patience = Duration::from_secs(args.seconds);
        figures.inputs.push(measure(&subject, &counted, name, input, patience)?);
    }
    if let Some(path) = &args.save {
        let text = serde_json::to_string_pretty(&figures).map_err(Fail::input)?;
        files::write(path, format!("{text}\n").as_bytes())?;
    }
    let worse = baseline.as_ref().map_or(0.0, |before| figures.instructions_rose(before));
    if args.input.output == Output::Json {
        console.json(&figures.json(baseline.as_ref()));
    } else {
        figures.tell(baseline.as_ref(), console);
    }
    let limit = args.fail_over.unwrap_or(f64::INFINITY);
    if worse > limit {
        console.note(format!("instructions rose by {worse:.1} %, more than {limit} %"));
    }
    Ok(code(worse <= limit))
}

fn console_warnings(input: &Input, console: &Console) {
    if input.lost > 0 {
        console.warn(format!("the recording lacks {} batches", input.lost));
    }
}

fn read_figures(path: &Path) -> Result<Figures, Fail> {
    let text = files::read_text(path, MAX_FIGURES_BYTES)?;
    serde_json::from_str(&text).map_err(|error| {
        Fail::input(format!(
            "{}: holds no figures ({error}); `millrace rule bench --save FILE` writes some",
            path.display()
        ))
    })
}

/// The samples of all passes.
#[derive(Default)]
struct Samples {
    /// ns of a call of `process` on a node's batch, with crossing over and back.
    process: Vec<f64>,
    /// ns of a call of `finish`.
    finish: Vec<f64>,
    /// ns a point of all calls of `process` in a pass.
    point: Vec<f64>,
    /// ns a point that the host spends on the edits of a pass.
    apply: Vec<f64>,
    memory_bytes: u64,
}

fn measure(
    subject: &Subject,
    counted: &CompiledRule,
    name: &str,
    input: &Input,
    patience: Duration,
) -> Result<Measured, Fail> {
    let mut samples = Samples::default();
    let (began, mut passes) = (Instant::now(), 0);
    while passes < MIN_PASSES || began.elapsed() < patience {
        // A rule keeps state from cycle to cycle, so each pass has a fresh one.
        let mut desk = subject.desk(&subject.compiled)?;
        // The first pass warms caches and branches up.
        let mut warming = Samples::default();
        let kept = passes > 0 && samples.process.len() < MAX_SAMPLES;
        run(subject, &mut desk, input, if kept { &mut samples } else { &mut warming })?;
        passes += 1;
        samples.memory_bytes = samples.memory_bytes.max(desk.memory_bytes());
    }
    let of_nodes: Vec<usize> =
        input.batches().filter(|batch| is_nodes(batch)).map(|batch| batch.points.len()).collect();
    Ok(Measured {
        name: name.to_owned(),
        about: input.about.clone(),
        points_a_batch: of_nodes.iter().sum::<usize>() / of_nodes.len().max(1),
        batches: input.batches().count(),
        samples: samples.process.len(),
        ns_a_point: Spread::of(samples.point),
        ns_a_batch: Spread::of(samples.process),
        apply_ns_a_point: Spread::of(samples.apply),
        ns_a_finish: Spread::of(samples.finish),
        instructions_a_point: instructions(subject, counted, input)?,
        memory_bytes: samples.memory_bytes,
    })
}

/// Totals are a few points in one batch, which would say nothing of a node's.
fn is_nodes(batch: &Batch) -> bool {
    matches!(batch.origin, Origin::Node(_))
}

/// One pass over the input. Of several cycles the first is not counted: rates begin with the second.
fn run(subject: &Subject, desk: &mut Desk, input: &Input, samples: &mut Samples) -> Result<(), Fail> {
    let skipped = usize::from(input.cycles.len() > 1);
    let (mut points, mut calls, mut apply) = (0.0, 0.0, 0.0);
    for (at, (cycle, batches)) in input.cycles.iter().enumerate() {
        let running = Cycle { nodes_answered: 0, ..*cycle };
        for batch in batches {
            let done = desk.process(&running, batch.clone()).map_err(|fault| broke(subject, &fault))?;
            if at < skipped {
                continue;
            }
            let call = done.cost.call.as_nanos() as f64;
            points += batch.points.len() as f64;
            calls += call;
            apply += done.cost.apply.as_nanos() as f64;
            if is_nodes(batch) {
                samples.process.push(call);
            }
        }
        let done = desk.finish(cycle).map_err(|fault| broke(subject, &fault))?;
        if at >= skipped {
            samples.finish.push(done.cost.call.as_nanos() as f64);
        }
    }
    if points > 0.0 {
        samples.point.push(calls / points);
        samples.apply.push(apply / points);
    }
    Ok(())
}

/// Instructions of `process` and `finish` in one pass, for each point.
fn instructions(subject: &Subject, counted: &CompiledRule, input: &Input) -> Result<f64, Fail> {
    let mut desk = subject.desk(counted)?;
    let mut instructions: u64 = 0;
    for (cycle, batches) in &input.cycles {
        let running = Cycle { nodes_answered: 0, ..*cycle };
        for batch in batches {
            let done = desk.process(&running, batch.clone()).map_err(|fault| broke(subject, &fault))?;
            instructions += done.cost.instructions;
        }
        instructions += desk.finish(cycle).map_err(|fault| broke(subject, &fault))?.cost.instructions;
    }
    Ok(instructions as f64 / input.points().max(1) as f64)
}

fn broke(subject: &Subject, fault: &crate::rules::Fault) -> Fail {
    Fail::rule(format!("{}: {}", subject.name, tamed(&fault.to_string())))
}

/// `+3.1 %`, in a colour where it says something.
fn change(before: f64, now: f64, noise: f64, console: &Console) -> String {
    if before <= 0.0 {
        return String::new();
    }
    let percent = (now / before - 1.0) * 100.0;
    let text = format!("{percent:+.1} %");
    if percent > noise {
        console.paint(Paint::Bad, text)
    } else if percent < -noise {
        console.paint(Paint::Good, text)
    } else {
        text
    }
}

/// `1.2 ns`, `3.4 µs`.
fn time(ns: f64) -> String {
    match ns {
        ns if ns < 1e3 => format!("{ns:.1} ns"),
        ns if ns < 1e6 => format!("{:.1} µs", ns / 1e3),
        ns => format!("{:.1} ms", ns / 1e6),
    }
}

/// Bytes of memory for a table.
fn memory(bytes: u64) -> String {
    size(bytes)
}
