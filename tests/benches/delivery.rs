//! How fast sinks deliver: batches of a simulated cluster through the real runner to real servers, at
//! several numbers of requests at a time.
//!
//! The servers share the machine, so on two cores the figures are those of both together; CPU is this
//! process's alone.

#![allow(missing_docs, clippy::print_stdout, reason = "figures are what a bench is for")]

#[allow(dead_code, reason = "each bench uses a part")]
mod load;

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use clap::{Parser, ValueEnum};
use load::Load;
use millrace::batch::{TypeRegistry, strip_private};
use millrace::sinks::influxdb::{Influxdb, InfluxdbConfig};
use millrace::sinks::kafka::config::{Compression, Format};
use millrace::sinks::kafka::{Kafka, KafkaConfig};
use millrace::sinks::{Common, Published, SinkHandle};
use millrace_tests::fixtures::influxd::Influxd;
use millrace_tests::fixtures::kafka::{self as brokers, Listener};

/// Nodes of the simulated cluster, of 30 pods each.
const NODES: usize = 20;
/// Enough for all batches of a run at once: what is measured is speed.
const QUEUE: usize = 8 << 30;
const DEADLINE: Duration = Duration::from_secs(600);

/// Measure points a second to real servers.
#[derive(Debug, Parser)]
struct Args {
    /// Sinks, each measured on its own
    #[arg(long, value_enum, value_delimiter = ',', default_value = "kafka,kafka-batch,influxdb")]
    sink: Vec<Sink>,
    /// Requests at a time, each measured on its own
    #[arg(long, value_delimiter = ',', default_value = "1,2,4")]
    concurrency: Vec<usize>,
    /// Codecs of Kafka, each measured on its own
    #[arg(long, value_delimiter = ',', default_value = "lz4")]
    compression: Vec<String>,
    /// Points of a run
    #[arg(long, default_value_t = 1_000_000)]
    points: usize,
    /// Given by cargo
    #[arg(long, hide = true)]
    bench: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Sink {
    /// Heapster's messages
    Kafka,
    /// A message an entity
    KafkaBatch,
    /// InfluxDB 1.x
    Influxdb,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let batches = batches(args.points).await?;
    println!(
        "{:<12} {:<7} {:>8} {:>12} {:>16} {:>16}",
        "sink", "codec", "requests", "points/s", "CPU s/M points", "of it encoding"
    );
    for &sink in &args.sink {
        match sink {
            Sink::Influxdb => {
                for &concurrency in &args.concurrency {
                    // A server of its own for each run: a database that has the points is faster.
                    let server = Influxd::start().await;
                    let config =
                        InfluxdbConfig { concurrency, queue: QUEUE, ..InfluxdbConfig::at(server.url().parse()?) };
                    let sink = Influxdb::start("influxdb", &config, Common::default())?;
                    measure("influxdb", "gzip 1", concurrency, sink, &batches).await?;
                }
            }
            Sink::Kafka | Sink::KafkaBatch => {
                let started =
                    tokio::task::spawn_blocking(|| brokers::Kafka::start(&brokers::Options::default())).await?;
                let kafka = started.context("there is no Kafka")?;
                for word in &args.compression {
                    for &concurrency in &args.concurrency {
                        let (name, format) = match sink {
                            Sink::KafkaBatch => ("kafka-batch", Format::BatchJson),
                            _ => ("kafka", Format::HeapsterJson),
                        };
                        let topic = format!("{name}-{word}-{concurrency}");
                        kafka.create_topic(&topic, 8, &[]).await;
                        let base = KafkaConfig::at(kafka.brokers(Listener::Plain));
                        let config =
                            KafkaConfig { topic, format, concurrency, queue: QUEUE, compression: codec(word)?, ..base };
                        let sink = Kafka::start("kafka", &config, Common::default())?;
                        measure(name, word, concurrency, sink, &batches).await?;
                    }
                }
            }
        }
    }
    Ok(())
}

fn codec(word: &str) -> anyhow::Result<Compression> {
    use Compression::{Gzip, Lz4, None, Snappy, Zstd};
    [None, Gzip, Snappy, Lz4, Zstd].into_iter().find(|codec| codec.word() == word).with_context(|| word.to_owned())
}

/// Cycles of the cluster until there are so many points.
async fn batches(points: usize) -> anyhow::Result<Vec<Arc<Published>>> {
    let load = tokio::task::spawn_blocking(|| Load::new(NODES, 1)).await??;
    let rounds = load.batches(&TypeRegistry::default())?;
    let (first, batches) = rounds.first().context("a cycle")?;
    let batches: Vec<_> = batches.iter().map(|batch| strip_private(batch.clone()).0).collect();
    let (mut all, mut count) = (Vec::new(), 0);
    for number in 0.. {
        let mut cycle = *first;
        cycle.number += number;
        cycle.time += i64::try_from(number)? * cycle.window;
        for batch in &batches {
            count += batch.points.len();
            all.push(Arc::new(Published { cycle, batch: batch.clone() }));
        }
        if count >= points {
            break;
        }
    }
    // Dropping it ends its own runtime, which must not happen within another one.
    tokio::task::spawn_blocking(move || drop(load)).await?;
    Ok(all)
}

async fn measure(
    name: &str,
    codec: &str,
    concurrency: usize,
    sink: SinkHandle,
    batches: &[Arc<Published>],
) -> anyhow::Result<()> {
    let (began, cpu) = (Instant::now(), cpu()?);
    for batch in batches {
        sink.offer(batch.clone());
    }
    sink.end_of_cycle(1);
    let ledger = loop {
        let ledger = sink.ledger();
        if ledger.queued == 0 {
            break ledger;
        }
        ensure!(began.elapsed() < DEADLINE, "not delivered: {ledger:?}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    };
    let (took, cpu) = (began.elapsed().as_secs_f64(), self::cpu()? - cpu);
    ensure!(ledger.written == ledger.offered, "{ledger:?}");
    let millions = ledger.written as f64 / 1e6;
    println!(
        "{name:<12} {codec:<7} {concurrency:>8} {:>12.0} {:>16.2} {:>16.2}",
        millions * 1e6 / took,
        cpu / millions,
        ledger.encode_ns as f64 / 1e9 / millions
    );
    Ok(())
}

/// Seconds of CPU that this process has had.
fn cpu() -> anyhow::Result<f64> {
    let text = std::fs::read_to_string("/proc/self/stat")?;
    let fields: Vec<&str> = text.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |at: usize| fields.get(at).and_then(|field| field.parse::<f64>().ok()).context("user and system time");
    Ok((ticks(11)? + ticks(12)?) / rustix::param::clock_ticks_per_second() as f64)
}
