//! What the store costs: memory of what is kept, time to add a batch, time to read.
//!
//! The batches are those of a simulated cluster after the heapster rule; memory is counted for a part
//! of the nodes and told for a thousand.

#![allow(clippy::print_stdout, reason = "figures are what a bench is for")]

#[allow(dead_code, reason = "each bench uses a part")]
mod load;

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use load::Load;
use millrace::batch::{Batch, Cycle, Level, TypeRegistry, strip_private};
use millrace::rules::{Chain, Manifest, RuleEngine, RuleFile, RuleSet};
use millrace::store::{Key, StoreConfig, Writer};
use millrace_tests::fixtures::process;

/// Nodes that are simulated.
const NODES: usize = 40;
/// Cycles that are added: one for rates to begin with, and those of a quarter of an hour.
const CYCLES: u64 = 16;

fn main() -> anyhow::Result<()> {
    let load = Load::new(NODES, CYCLES)?;
    let rounds = published(&load)?;
    let mut writer = Writer::new(&StoreConfig::default());
    let (mut spent, mut added, mut last) = (Duration::ZERO, 0, None);
    for (cycle, batches) in &rounds {
        let began = Instant::now();
        for batch in batches {
            writer.batch(cycle, batch);
        }
        last = writer.end(cycle);
        spent += began.elapsed();
        added += batches.iter().map(|batch| batch.points.len()).sum::<usize>();
    }
    let (snapshot, status) = last.context("a cycle")?;
    let mib = status.bytes as f64 / f64::from(1 << 20);
    println!("points a node and cycle  {:>10.0}", added as f64 / CYCLES as f64 / NODES as f64);
    println!("cycles kept              {:>10}", status.cycles);
    println!("bytes a point            {:>10.2}", status.bytes as f64 / status.points as f64);
    println!("MiB for 1,000 nodes      {:>10.1}", mib * 1000.0 / NODES as f64);
    println!("ns a point added         {:>10.1}", spent.as_nanos() as f64 / added as f64);

    let batch = snapshot.newest(0).next().context("a node")?;
    let pod = batch.entities().find(|entity| entity.level() == Level::Pod).context("a pod")?;
    let key = Key::Pod(pod.label("namespace_name").unwrap_or(""), pod.label("pod_name").unwrap_or(""));
    anyhow::ensure!(snapshot.series(key, "memory/usage", &[]).len() == status.cycles, "a whole series");
    println!(
        "µs a series read         {:>10.2}",
        micros(|| black_box(snapshot.series(key, "memory/usage", &[])).len())
    );
    let all = || {
        snapshot.newest(0).fold(0, |nodes, batch| {
            black_box(batch.values());
            nodes + 1
        })
    };
    println!("µs a node's newest values{:>10.2}", micros(all) / NODES as f64);
    Ok(())
}

/// Of one call, in the middle of many.
fn micros(mut call: impl FnMut() -> usize) -> f64 {
    let mut times: Vec<f64> = (0..201)
        .map(|_| {
            let began = Instant::now();
            black_box(call());
            began.elapsed().as_secs_f64() * 1e6
        })
        .collect();
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

/// Every cycle's batches as the store gets them.
fn published(load: &Load) -> anyhow::Result<Vec<(Cycle, Vec<Batch>)>> {
    let types = Arc::new(TypeRegistry::default());
    let (slot, path) = ("50-heapster.wasm".to_owned(), process::rule("rules/50-heapster.wasm"));
    let bytes = std::fs::read(&path)?;
    let file = RuleFile { name: "heapster".to_owned(), manifest: Manifest::default_of(&slot), slot, path, bytes };
    let set = RuleSet { files: vec![file], warnings: vec![] };
    let chain = Chain::start(&RuleEngine::new()?, &set, Arc::clone(&types));
    let mut chain = chain.map_err(|problems| anyhow::anyhow!("{problems:?}"))?;
    let mut rounds = Vec::new();
    for (cycle, bodies) in &load.rounds {
        let mut batches = Vec::new();
        for (node, body) in bodies.iter().enumerate() {
            let batch = chain.process(cycle, load.batch(cycle, node, body, &types)?);
            batches.extend(batch.map(|batch| strip_private(batch).0));
        }
        chain.finish(cycle, &mut |totals| batches.push(strip_private(totals).0));
        rounds.push((*cycle, batches));
    }
    Ok(rounds)
}
