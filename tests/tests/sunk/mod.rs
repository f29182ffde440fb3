//! Batches for a sink that a test runs by itself, without a pipeline.

use std::sync::Arc;
use std::time::Duration;

use millrace::batch::{Batch, BatchBuilder, Cycle, Descriptor, Level, Origin};
use millrace::sinks::{LedgerSnapshot, Published, SinkHandle};
use tokio::time::Instant;

/// The time of the first cycle, ns since the epoch.
pub const TIME: i64 = 1_795_252_090_000_000_000;
/// How long anything may take. Nothing here needs more than a few seconds.
pub const DEADLINE: Duration = Duration::from_secs(60);

pub fn cycle(number: u64) -> Cycle {
    let time = TIME + number.cast_signed() * 60_000_000_000;
    Cycle { number, time, window: 60_000_000_000, nodes_asked: 1, nodes_answered: 1 }
}

pub fn builder() -> BatchBuilder {
    BatchBuilder::new(Origin::Node("node-a".to_owned()), TIME)
}

pub fn entity(builder: &mut BatchBuilder, labels: &[(&str, &str)]) {
    builder.entity(Level::Pod, 0);
    for (name, value) in labels {
        let (name, value) = (builder.symbol(name), builder.symbol(value));
        builder.label(name, value);
    }
}

pub fn int(builder: &mut BatchBuilder, metric: &str, value: i64) {
    let metric = builder.metric(Descriptor::gauge(metric, ""));
    builder.point(metric, 0, 0, value.cast_unsigned());
}

/// `count` entities with one point each.
pub fn pods(count: usize) -> Batch {
    let mut builder = builder();
    for pod in 0..count {
        entity(&mut builder, &[("pod_name", &format!("pod-{pod}")), ("type", "pod")]);
        int(&mut builder, "uptime", 7);
    }
    builder.build()
}

pub fn give(sink: &SinkHandle, number: u64, batch: Batch) {
    let cycle = cycle(number);
    sink.offer(Arc::new(Published { cycle, batch }));
    sink.end_of_cycle(number);
}

/// Polls the ledger.
pub async fn until(sink: &SinkHandle, what: &str, done: impl Fn(&LedgerSnapshot) -> bool) -> LedgerSnapshot {
    let deadline = Instant::now() + DEADLINE;
    loop {
        let ledger = sink.ledger();
        assert_eq!(ledger.imbalance, 0, "{ledger:?}");
        if done(&ledger) {
            return ledger;
        }
        assert!(Instant::now() < deadline, "not {what}: {ledger:?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

pub async fn at_rest(sink: &SinkHandle) -> LedgerSnapshot {
    until(sink, "at rest", |ledger| ledger.queued == 0).await
}
