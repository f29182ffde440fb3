//! Runs plans of faults, one seed after the other, and says what they found.

use std::process::ExitCode;

use clap::Parser;
use millrace_tests::chaos::{self, plan::Plan};
use tokio::task::JoinSet;

/// Faults at moments that a seed decides: the real program, a simulated cluster, a real InfluxDB.
#[derive(Debug, Parser)]
struct Arguments {
    /// Seeds.
    #[arg(long, default_value_t = 100)]
    seeds: u64,
    /// The first of them.
    #[arg(long, default_value_t = 1)]
    first: u64,
    /// Runs at a time.
    #[arg(long, default_value_t = 4)]
    jobs: usize,
    /// Only shows what would be done.
    #[arg(long)]
    plan: bool,
}

#[tokio::main]
async fn main() -> ExitCode {
    let Arguments { seeds, first, jobs, plan, .. } = Arguments::parse();
    let mut queue = (first..first.saturating_add(seeds)).map(Plan::of);
    if plan {
        queue.for_each(|plan| println!("{plan}"));
        return ExitCode::SUCCESS;
    }
    let (mut running, mut bad, mut done) = (JoinSet::new(), Vec::new(), 0);
    let (mut points, mut dropped, mut killed, mut recovered) = (0, 0, 0, 0);
    loop {
        while running.len() < jobs.max(1)
            && let Some(plan) = queue.next()
        {
            running.spawn(async move {
                let outcome = chaos::run(&plan).await;
                (plan, outcome)
            });
        }
        let Some(ended) = running.join_next().await else { break };
        done += 1;
        match ended {
            Ok((plan, Ok(report))) => {
                (points, dropped) = (points + report.points, dropped + report.dropped);
                (killed, recovered) = (killed + report.killed, recovered + report.recovered);
                report.skipped.iter().for_each(|what| println!("skipped: {what} (seed {})", plan.seed));
                println!(
                    "[{done}/{seeds}] seed {}: {} points, {} dropped, {} killed, {} recovered: {}",
                    plan.seed,
                    report.points,
                    report.dropped,
                    report.killed,
                    report.recovered,
                    if report.faults.is_empty() { "all accounted for" } else { "WRONG" }
                );
                if !report.faults.is_empty() {
                    println!("{plan}");
                    report.faults.iter().take(8).for_each(|fault| println!("    {fault}"));
                    bad.push(plan.seed);
                }
            }
            Ok((plan, Err(error))) => {
                println!("[{done}/{seeds}] seed {}: no run: {error}\n{plan}", plan.seed);
                bad.push(plan.seed);
            }
            Err(error) => {
                println!("[{done}/{seeds}] no run: {error}");
                bad.push(0);
            }
        }
    }
    println!(
        "{done} seeds: {points} points, {dropped} dropped, {killed} went with a killed process, {recovered} recovered"
    );
    if bad.is_empty() {
        return ExitCode::SUCCESS;
    }
    println!("wrong: seeds {bad:?}");
    ExitCode::FAILURE
}
