//! What rules cost, in ns for each point given to them: a no-op rule, a filter and the heapster rule
//! as Wasm in the real runtime, beside the same code run natively.
//!
//! `wasm` is the whole call with crossing over and back; `apply` is the host carrying the edit out;
//! `native` is the rule alone on columns that lie ready. Both see the same batches in the same
//! order, in turns, so that a busy machine hits both.

#![allow(clippy::print_stdout, reason = "figures are what a bench is for")]

#[allow(dead_code, reason = "each bench uses a part")]
mod load;

use std::hint::black_box;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use load::Load;
use millrace::batch::{Batch, Cycle, Origin, TypeRegistry};
use millrace::rules::{Chain, Manifest, RuleEngine, RuleFile, RuleSet};
use millrace_sdk::glue::Slot;
use millrace_sdk::{Rule, wit};
use millrace_tests::fixtures::process;

/// Nodes of a round; each round is one cycle.
const NODES: usize = 10;
/// Cycles of a pass. The first has no rates and warms up; it is not counted.
const CYCLES: u64 = 5;
/// How long each rule is measured.
const PATIENCE: Duration = Duration::from_secs(4);

fn main() -> anyhow::Result<()> {
    let load = Load::new(NODES, CYCLES)?;
    let types = Arc::new(TypeRegistry::default());
    let batches = load.batches(&types)?;
    let points: usize = batches.iter().flat_map(|(_, batches)| batches).map(|batch| batch.points.len()).sum();
    println!(
        "rules: {} points a batch, {NODES} nodes x 30 pods x 2 containers; ns a point",
        points / batches.len() / NODES
    );
    println!("{:<22} {:>24} {:>8} {:>24} {:>8}", "", "wasm min/median/max", "apply", "native min/median/max", "ratio");
    let drop = serde_json::json!({ "namespaces": ["kube-system"] });
    measure::<noop::Noop>("rules-examples/noop.wasm", &serde_json::json!({}), &batches)?;
    measure::<drop_namespaces::DropNamespaces>("rules-examples/drop-namespaces.wasm", &drop, &batches)?;
    measure::<heapster::Heapster>("rules/50-heapster.wasm", &serde_json::json!({}), &batches)
}

/// Figures of one pass, ns a point.
#[derive(Default)]
struct Figures {
    wasm: Vec<f64>,
    apply: Vec<f64>,
    native: Vec<f64>,
}

fn measure<R: Rule>(file: &str, settings: &serde_json::Value, rounds: &[(Cycle, Vec<Batch>)]) -> anyhow::Result<()> {
    let engine = RuleEngine::new()?;
    let path = process::rule(file);
    let set = RuleSet { files: vec![rule_file(path, settings)?], warnings: vec![] };
    let mut figures = Figures::default();
    let began = Instant::now();
    while began.elapsed() < PATIENCE || figures.wasm.len() < 5 {
        // A rule keeps state from cycle to cycle, so each pass has a fresh one.
        let chain = Chain::start(&engine, &set, Arc::new(TypeRegistry::default()));
        let (wasm, apply) = pass_wasm(chain.map_err(|problems| anyhow::anyhow!("{problems:?}"))?, rounds)?;
        let native = pass_native::<R>(settings, rounds)?;
        figures.wasm.push(wasm);
        figures.apply.push(apply);
        figures.native.push(native);
    }
    let name = file.rsplit('/').next().unwrap_or(file);
    let [wasm, apply, native] = [figures.wasm, figures.apply, figures.native].map(spread);
    println!(
        "{name:<22} {:>24} {:>8.1} {:>24} {:>8.2}",
        format!("{:.1} / {:.1} / {:.1}", wasm[0], wasm[1], wasm[2]),
        apply[1],
        format!("{:.1} / {:.1} / {:.1}", native[0], native[1], native[2]),
        wasm[1] / native[1]
    );
    Ok(())
}

fn rule_file(path: PathBuf, settings: &serde_json::Value) -> anyhow::Result<RuleFile> {
    let slot = path.file_name().context("a file")?.to_string_lossy().into_owned();
    let settings = settings.as_object().context("settings are an object")?.clone();
    let manifest = Manifest { settings, ..Manifest::default_of(&slot) };
    Ok(RuleFile { name: slot.clone(), slot, bytes: std::fs::read(&path)?, path, manifest })
}

/// One pass through the runtime: ns a point in calls and in applying.
fn pass_wasm(mut chain: Chain, rounds: &[(Cycle, Vec<Batch>)]) -> anyhow::Result<(f64, f64)> {
    let mut before = None;
    for (cycle, batches) in rounds {
        for batch in batches {
            black_box(chain.process(cycle, batch.clone()));
        }
        chain.finish(cycle, &mut |totals| drop(black_box(totals)));
        if before.is_none() {
            before = chain.status().pop();
        }
    }
    let (before, after) = before.zip(chain.status().pop()).context("a rule")?;
    ensure!(after.stats.fault_count() == 0, "the rule failed: {:?}", after.stats.last_fault);
    let points = (after.stats.points_in - before.stats.points_in) as f64;
    let calls = after.stats.process_time.sum() - before.stats.process_time.sum();
    let apply = after.stats.apply_time.sum() - before.stats.apply_time.sum();
    Ok((calls.as_nanos() as f64 / points, apply.as_nanos() as f64 / points))
}

/// One pass of the same rule without Wasm: ns a point in `process`.
fn pass_native<R: Rule>(settings: &serde_json::Value, rounds: &[(Cycle, Vec<Batch>)]) -> anyhow::Result<f64> {
    let slot = Slot::<R>::new();
    slot.configure(&settings.to_string()).map_err(|error| anyhow::anyhow!("{error:?}"))?;
    let (mut spent, mut points) = (Duration::ZERO, 0);
    for (round, (cycle, batches)) in rounds.iter().enumerate() {
        let cycle = native_cycle(cycle);
        for batch in batches {
            let columns = native_batch(batch);
            let began = Instant::now();
            let edit = black_box(slot.process(cycle, columns));
            if round > 0 {
                spent += began.elapsed();
                points += batch.points.len();
            }
            edit.map_err(|error| anyhow::anyhow!("{error:?}"))?;
        }
        slot.finish(cycle).map_err(|error| anyhow::anyhow!("{error:?}"))?;
    }
    Ok(spent.as_nanos() as f64 / points as f64)
}

fn native_cycle(cycle: &Cycle) -> wit::Cycle {
    wit::Cycle {
        number: cycle.number,
        time: cycle.time,
        window: cycle.window,
        nodes_asked: cycle.nodes_asked,
        nodes_answered: cycle.nodes_answered,
    }
}

/// A copy of the columns as a rule gets them.
fn native_batch(batch: &Batch) -> wit::Batch {
    let (metrics, sets) = (batch.metrics.clone(), batch.label_sets.clone());
    let (entities, points) = (batch.entities.clone(), batch.points.clone());
    wit::Batch {
        origin: match batch.origin.clone() {
            Origin::Node(name) => wit::Origin::Node(name),
            Origin::Totals(rule) => wit::Origin::Totals(rule),
        },
        base: batch.base,
        symbols: wit::Symbols { text: batch.symbols.text().to_vec(), ends: batch.symbols.ends().to_vec() },
        metrics: wit::Metrics {
            name: metrics.name,
            unit: metrics.unit,
            kind: metrics.kind,
            value: metrics.value,
            merge: metrics.merge,
        },
        label_sets: wit::LabelSets { ends: sets.ends, names: sets.names, values: sets.values },
        entities: wit::Entities {
            level: entities.level,
            label_ends: entities.label_ends,
            label_names: entities.label_names,
            label_values: entities.label_values,
            started_at: entities.started_at,
            point_ends: entities.point_ends,
        },
        points: wit::Points { metric: points.metric, labels: points.labels, at: points.at, bits: points.bits },
    }
}

/// Minimum, median and maximum.
fn spread(mut figures: Vec<f64>) -> [f64; 3] {
    figures.sort_by(f64::total_cmp);
    [figures[0], figures[figures.len() / 2], figures[figures.len() - 1]]
}
