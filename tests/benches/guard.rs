//! One node's way through decode, the heapster rule and line encoding, for counting instructions:
//! `tools/guard.sh` runs it under callgrind, which counts inside `guarded` only.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a guard that can't prepare its input has nothing to do")]

#[allow(dead_code, reason = "each bench uses a part")]
mod load;

use std::hint::black_box;
use std::sync::Arc;

use load::Load;
use millrace::batch::{TypeRegistry, strip_private};
use millrace::rules::{Chain, Manifest, RuleEngine, RuleFile, RuleSet};
use millrace::sinks::Sink;
use millrace::sinks::chunk::{Chunker, Limits};
use millrace::sinks::influxdb::{Influxdb, InfluxdbConfig};
use millrace_tests::fixtures::process;

/// Two cycles before, so that rates are due and nothing is done for the first time; then one.
const CYCLES: u64 = 3;

fn main() {
    let load = Load::new(1, CYCLES).unwrap();
    let types = Arc::new(TypeRegistry::default());
    let mut chain = chain(&types);
    let sink = Influxdb::new(&InfluxdbConfig::at("http://localhost:8086".parse().unwrap())).unwrap();
    for cycle in 0..load.rounds.len() - 1 {
        way(&load, cycle, &types, &mut chain, &sink, &mut chunker());
    }
    guarded(&load, load.rounds.len() - 1, &types, &mut chain, &sink, &mut chunker());
}

/// What is counted.
#[inline(never)]
fn guarded(load: &Load, cycle: usize, types: &TypeRegistry, chain: &mut Chain, sink: &Influxdb, out: &mut Chunker) {
    way(load, cycle, types, chain, sink, out);
}

/// With room for all lines: how a buffer grows is the allocator's affair.
fn chunker() -> Chunker {
    let mut chunker = Chunker::new(Limits { records: 10_000, bytes: 8_000_000 });
    chunker.body().reserve(2 << 20);
    chunker
}

fn way(load: &Load, cycle: usize, types: &TypeRegistry, chain: &mut Chain, sink: &Influxdb, out: &mut Chunker) {
    let (cycle, bodies) = &load.rounds[cycle];
    let batch = load.batch(cycle, 0, &bodies[0], types).unwrap();
    let batch = chain.process(cycle, batch).expect("the rule does not fail");
    sink.encode(cycle, &strip_private(batch).0, out);
    black_box(&out);
    chain.finish(cycle, &mut |totals| drop(black_box(totals)));
}

fn chain(types: &Arc<TypeRegistry>) -> Chain {
    let (slot, path) = ("50-heapster.wasm".to_owned(), process::rule("rules/50-heapster.wasm"));
    let bytes = std::fs::read(&path).unwrap();
    let file = RuleFile { name: "heapster".to_owned(), manifest: Manifest::default_of(&slot), slot, path, bytes };
    let set = RuleSet { files: vec![file], warnings: vec![] };
    Chain::start(&RuleEngine::new().unwrap(), &set, types.clone()).unwrap()
}
