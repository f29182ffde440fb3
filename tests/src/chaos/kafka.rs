//! What became of every point that went to Kafka.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::Report;
use super::host::{Life, TOPIC};
use super::lines::time;
use super::plan::{Plan, RESOLUTION};
use crate::fixtures::kafka::{Kafka, Options, Stored};

/// The sink, by its place in the configuration.
const KAFKA: usize = 2;

/// A broker with the topic; `None` where there is no Kafka.
pub(super) async fn start() -> Option<Kafka> {
    let kafka = tokio::task::block_in_place(|| Kafka::start(&Options::default()))?;
    kafka.create_topic(TOPIC, 2, &[]).await;
    Some(kafka)
}

/// Holds the ledgers against what the topic has. `there` are the points that were to be written, as
/// the other sinks know them: what is told apart there by names is counted here for every time.
pub(super) fn judge(plan: &Plan, lives: &[Life], messages: &[Stored], there: &[String], report: &mut Report) {
    let mut wrong = |what: String| report.faults.push(format!("kafka: {what}"));
    let kills = lives.iter().filter(|life| life.killed.is_some()).count();
    let ledgers: Vec<_> = lives.iter().map(|life| life.ledger(KAFKA)).collect();
    let written: u64 = ledgers.iter().map(|ledger| ledger.written).sum();
    let dropped: u64 = ledgers.iter().map(super::host::Ledger::dropped).sum();
    let distinct: BTreeSet<String> = messages.iter().filter_map(identity).collect();
    if distinct.len() as u64 != messages.len() as u64 && kills == 0 && !plan.jumps() {
        wrong(format!("{} messages, {} of them different", messages.len(), distinct.len()));
    }
    if kills == 0 && written != messages.len() as u64 {
        wrong(format!("{written} points written by the ledger, {} messages", messages.len()));
    }
    if written > messages.len() as u64 {
        wrong(format!("{written} points written by the ledgers, no more than {} messages", messages.len()));
    }
    if let Some(life) = lives.last().filter(|life| life.ledger(KAFKA).queued > 0) {
        wrong(format!("{} points left", life.ledger(KAFKA).queued));
    }

    let mut wanted: BTreeMap<i64, i64> = BTreeMap::new();
    for key in there.iter().collect::<BTreeSet<_>>() {
        *wanted.entry(time(key) / 1_000_000_000).or_default() += 1;
    }
    for identity in &distinct {
        let second = identity.split(' ').next().and_then(|second| second.parse().ok()).unwrap_or_default();
        *wanted.entry(second).or_default() -= 1;
    }
    let window = RESOLUTION.as_secs().cast_signed();
    let went_with = |second: i64| {
        lives
            .iter()
            .filter_map(|life| life.killed)
            .any(|at| (at / 1_000_000_000 - window..=at / 1_000_000_000).contains(&second))
    };
    let missing: i64 = wanted.iter().filter(|(second, _)| !went_with(**second)).map(|(_, left)| (*left).max(0)).sum();
    let waited: u64 = lives.iter().filter(|life| life.killed.is_some()).map(|life| life.ledger(KAFKA).unsaved).sum();
    if missing.unsigned_abs() > dropped + waited {
        let left: Vec<_> = wanted.iter().filter(|(_, left)| **left > 0).collect();
        wrong(format!("{missing} points are missing, {dropped} dropped; by second {left:?}"));
    }
    let surplus: i64 = wanted.iter().filter(|(second, _)| !went_with(**second)).map(|(_, left)| (-left).max(0)).sum();
    if surplus > 0 {
        wrong(format!("{surplus} more messages than points"));
    }
}

/// A message's time, s since 1970, and all that tells it apart.
fn identity(message: &Stored) -> Option<String> {
    let value: Value = serde_json::from_str(&message.value).ok()?;
    let at: jiff::Timestamp = value["MetricsTimestamp"].as_str()?.parse().ok()?;
    Some(format!("{} {} {}", at.as_second(), value["MetricsName"], value["MetricsTags"]))
}
