//! Five plans of faults; `make chaos SEEDS=n` runs more.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a failed expectation is a failed test")]
#![allow(clippy::print_stderr, reason = "what was skipped is for people")]

use futures::future::join_all;
use millrace_tests::chaos;
use millrace_tests::chaos::plan::Plan;

/// Chosen so that every kind of queue, kills with and without damage, and jumps of the clock come up.
const SEEDS: [u64; 5] = [1, 2, 3, 4, 5];

#[tokio::test(flavor = "multi_thread")]
async fn every_point_is_accounted_for_whatever_fails() {
    let plans = SEEDS.map(Plan::of);
    let reports = join_all(plans.iter().map(chaos::run)).await;
    for (plan, report) in plans.iter().zip(reports) {
        let report = report.unwrap_or_else(|error| panic!("{error}\n{plan}"));
        report.skipped.iter().for_each(|what| eprintln!("skipped: {what}"));
        assert!(report.faults.is_empty(), "{plan}\n{}", report.faults.join("\n"));
        assert!(report.points > 500, "{report:?}");
    }
}
