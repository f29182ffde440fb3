//! Runs plans of faults, one seed after the other, and says what they found.

#![allow(clippy::print_stdout, reason = "what was found is what it is for")]

use std::process::ExitCode;

use clap::Parser;
use millrace_tests::chaos::{self, Report, plan::Plan};
use tokio::task::JoinSet;

/// Faults of one run that are shown.
const SHOWN: usize = 8;

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
    let Arguments { seeds, first, jobs, plan } = Arguments::parse();
    let mut queue = (first..first.saturating_add(seeds)).map(Plan::of);
    if plan {
        queue.for_each(|plan| println!("{plan}"));
        return ExitCode::SUCCESS;
    }
    let (mut running, mut sum, mut done) = (JoinSet::new(), Sum::default(), 0);
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
        print!("[{done}/{seeds}] ");
        match ended {
            Ok((plan, outcome)) => sum.add(&plan, outcome),
            Err(error) => {
                println!("no run: {error}");
                sum.bad.push(0);
            }
        }
    }
    println!(
        "{done} seeds: {} points, {} dropped, {} went with a killed process, {} recovered",
        sum.points, sum.dropped, sum.killed, sum.recovered
    );
    if sum.bad.is_empty() {
        return ExitCode::SUCCESS;
    }
    println!("wrong: seeds {:?}", sum.bad);
    ExitCode::FAILURE
}

/// What all runs came to.
#[derive(Default)]
struct Sum {
    points: u64,
    dropped: u64,
    killed: u64,
    recovered: u64,
    bad: Vec<u64>,
}

impl Sum {
    /// Counts a run and says what it came to.
    fn add(&mut self, plan: &Plan, outcome: Result<Report, String>) {
        let seed = plan.seed;
        match outcome {
            Ok(Report { points, dropped, killed, recovered, skipped, faults }) => {
                (self.points, self.dropped) = (self.points + points, self.dropped + dropped);
                (self.killed, self.recovered) = (self.killed + killed, self.recovered + recovered);
                let verdict = if faults.is_empty() { "all accounted for" } else { "WRONG" };
                println!(
                    "seed {seed}: {points} points, {dropped} dropped, {killed} killed, {recovered} recovered: {verdict}"
                );
                skipped.iter().for_each(|what| println!("    skipped: {what}"));
                if !faults.is_empty() {
                    println!("{plan}");
                    faults.iter().take(SHOWN).for_each(|fault| println!("    {fault}"));
                    self.bad.push(seed);
                }
            }
            Err(error) => {
                println!("seed {seed}: no run: {error}\n{plan}");
                self.bad.push(seed);
            }
        }
    }
}
