//! The stages of a batch's way, each alone: decoding, applying an edit, encoding lines.
//!
//! What rules cost is measured in `rules`, cycle after cycle, since their state decides it.

#![allow(missing_docs, reason = "criterion's macros make public functions")]
#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a bench that can't prepare its input has nothing to do")]

#[allow(dead_code, reason = "each bench uses a part")]
mod load;

use std::hint::black_box;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use load::Load;
use millrace::batch::{Batch, BatchBounds, Cycle, Edit, TypeRegistry, apply, strip_private};
use millrace::sinks::Sink;
use millrace::sinks::chunk::{Chunker, Limits};
use millrace::sinks::influxdb::{Influxdb, InfluxdbConfig};

const LIMITS: Limits = Limits { records: 10_000, bytes: 8_000_000 };

fn stages(criterion: &mut Criterion) {
    let load = Load::new(1, 1).unwrap();
    let (cycle, bodies) = &load.rounds[0];
    let body = &bodies[0];
    let types = TypeRegistry::default();
    let batch = load.batch(cycle, 0, body, &types).unwrap();

    let mut group = criterion.benchmark_group("decode");
    group.throughput(Throughput::Bytes(body.len() as u64));
    group.bench_function("a node of 30 pods", |bencher| {
        bencher.iter_with_large_drop(|| load.batch(cycle, 0, black_box(body), &types).unwrap());
    });
    group.finish();

    let points = batch.points.len() as u64;
    let mut group = criterion.benchmark_group("apply");
    group.throughput(Throughput::Elements(points));
    let edit = edit(&batch);
    let bounds = BatchBounds::growing_from(&batch).room(&batch);
    group.bench_function("a relabelling of all and every tenth point dropped", |bencher| {
        bencher.iter_batched(
            || batch.clone(),
            |batch| apply(batch, black_box(&edit), &bounds, &types).unwrap(),
            BatchSize::SmallInput,
        );
    });
    group.finish();

    let (shown, _) = strip_private(batch.clone());
    let mut group = criterion.benchmark_group("encode");
    group.throughput(Throughput::Elements(shown.points.len() as u64));
    for with_fields in [false, true] {
        let config = InfluxdbConfig { with_fields, ..InfluxdbConfig::at("http://localhost:8086".parse().unwrap()) };
        let sink = Influxdb::new(&config).unwrap();
        group.bench_function(if with_fields { "influxdb with fields" } else { "influxdb" }, |bencher| {
            bencher.iter_with_large_drop(|| {
                let mut out = Chunker::new(LIMITS);
                sink.encode(cycle, black_box(&shown), &mut out);
                out
            });
        });
    }
    group.finish();

    let lines = lines(cycle, &shown);
    let mut group = criterion.benchmark_group("compress");
    group.throughput(Throughput::Bytes(lines.len() as u64));
    for level in [1, 2, 3, 4, 6] {
        let config =
            InfluxdbConfig { gzip: Some(level), ..InfluxdbConfig::at("http://localhost:8086".parse().unwrap()) };
        let sink = Influxdb::new(&config).unwrap();
        let packed = sink.pack(&mut lines.clone()).len();
        let name = format!("gzip {level}, to {:.1} %", 100.0 * packed as f64 / lines.len() as f64);
        group.bench_function(name, |bencher| {
            bencher.iter_batched_ref(|| lines.clone(), |lines| black_box(sink.pack(lines)), BatchSize::LargeInput);
        });
    }
    group.finish();
}

/// A node's lines.
fn lines(cycle: &Cycle, batch: &Batch) -> Vec<u8> {
    let sink = Influxdb::new(&InfluxdbConfig::at("http://localhost:8086".parse().unwrap())).unwrap();
    let mut out = Chunker::new(Limits { records: usize::MAX, bytes: usize::MAX });
    sink.encode(cycle, batch, &mut out);
    std::mem::take(out.body())
}

/// Sets a label of every entity, and drops every tenth point.
fn edit(batch: &Batch) -> Edit {
    let entities = batch.entities.len() as u32;
    let symbols = batch.symbols.len() as u32;
    Edit {
        keep_points: (0..batch.points.len()).map(|row| u8::from(row % 10 != 0)).collect(),
        relabel_entity: (0..entities).collect(),
        relabel_name: vec![symbols; entities as usize],
        relabel_value: vec![symbols + 1; entities as usize],
        new_text: b"teamblue".to_vec(),
        new_text_ends: vec![4, 8],
        ..Edit::default()
    }
}

criterion_group!(benches, stages);
criterion_main!(benches);
