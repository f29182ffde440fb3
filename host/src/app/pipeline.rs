//! The chain's thread: one batch after the other goes through the rules and on to every sink.
//!
//! One thread, because rules keep state and are called in sequence; nothing here waits for a
//! sink or a node.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;
use tracing::error;

use super::top::Top;
use crate::batch::{Batch, Cycle, Level, strip_private};
use crate::rules::{Chain, RuleStatus};
use crate::sinks::{Published, SinkHandle};

/// Batches that wait for the chain. Decoders wait when there are more: a cycle is never held in
/// memory.
const WAITING: usize = 32;

/// What one cycle was in the pipeline.
#[derive(Debug, Default)]
pub struct CycleReport {
    /// Points that went to the sinks.
    pub points: u64,
    /// Points for rules only, which end here.
    pub private: u64,
    /// Points of batches lost by a defect of this program.
    pub lost: u64,
    /// Pods among the entities.
    pub pods: u64,
    /// Containers among the entities.
    pub containers: u64,
    /// Time in `process` of all rules, with applying.
    pub rules: Duration,
    /// Time in `finish` of all rules.
    pub finish: Duration,
    /// Batches lost by a defect of this program.
    pub panics: u64,
    /// Every rule's state.
    pub status: Vec<RuleStatus>,
    /// The pods that use most CPU, if the table is shown.
    pub top: Vec<super::top::PodUsage>,
}

enum Job {
    Batch(Cycle, Box<Batch>),
    Finish(Cycle, oneshot::Sender<CycleReport>),
}

/// Feeds the chain. Clones feed the same chain.
#[derive(Clone)]
pub struct Feeder(SyncSender<Job>);

/// The chain's thread is gone.
#[derive(Debug, thiserror::Error)]
#[error("the chain's thread has ended")]
pub struct Ended;

impl Feeder {
    /// Hands a batch over; waits while the chain is behind. Not for async threads.
    ///
    /// # Errors
    /// [`Ended`] at shutdown.
    pub fn batch(&self, cycle: Cycle, batch: Batch) -> Result<(), Ended> {
        self.0.send(Job::Batch(cycle, Box::new(batch))).map_err(|_| Ended)
    }

    /// Ends the cycle after all batches handed over so far. Not for async threads.
    ///
    /// # Errors
    /// [`Ended`] at shutdown.
    pub fn finish(&self, cycle: Cycle) -> Result<oneshot::Receiver<CycleReport>, Ended> {
        let (reply, report) = oneshot::channel();
        self.0.send(Job::Finish(cycle, reply)).map_err(|_| Ended)?;
        Ok(report)
    }
}

/// Starts the thread. It ends when all feeders are gone, and gives the chain's state back.
///
/// # Errors
/// The system has no thread left.
pub fn start(chain: Chain, sinks: Arc<[SinkHandle]>, show_top: bool) -> std::io::Result<(Feeder, JoinHandle<()>)> {
    let (feeder, jobs) = sync_channel(WAITING);
    let pipeline = Pipeline { chain, sinks, show_top, report: CycleReport::default(), top: Top::default() };
    let thread = std::thread::Builder::new().name("chain".to_owned()).spawn(move || pipeline.run(&jobs))?;
    Ok((Feeder(feeder), thread))
}

struct Pipeline {
    chain: Chain,
    sinks: Arc<[SinkHandle]>,
    show_top: bool,
    report: CycleReport,
    top: Top,
}

impl Pipeline {
    fn run(mut self, jobs: &Receiver<Job>) {
        for job in jobs {
            match job {
                Job::Batch(cycle, batch) => self.batch(cycle, *batch),
                Job::Finish(cycle, reply) => {
                    // Nobody listens to a cycle that was given up at shutdown.
                    let _ = reply.send(self.finish(cycle));
                }
            }
        }
    }

    fn batch(&mut self, cycle: Cycle, batch: Batch) {
        let start = Instant::now();
        let chain = &mut self.chain;
        // A rule can't panic the host; a defect of ours costs the batch, not the process.
        let done = catch_unwind(AssertUnwindSafe(|| chain.process(&cycle, batch)));
        self.report.rules += start.elapsed();
        match done {
            Ok(Some(batch)) => self.publish(cycle, batch),
            Ok(None) => {}
            Err(_) => {
                self.report.panics += 1;
                self.report.lost += self.chain.take_lost();
                error!(cycle = cycle.number, "the chain broke on a batch; the batch is lost");
            }
        }
    }

    fn finish(&mut self, cycle: Cycle) -> CycleReport {
        let start = Instant::now();
        let (chain, mut totals) = (&mut self.chain, Vec::new());
        let done = catch_unwind(AssertUnwindSafe(|| chain.finish(&cycle, &mut |batch| totals.push(batch))));
        if done.is_err() {
            self.report.panics += 1;
            self.report.lost += self.chain.take_lost();
            error!(cycle = cycle.number, "the chain broke at the end of a cycle; its totals may be missing");
        }
        self.report.finish = start.elapsed();
        for batch in totals {
            self.publish(cycle, batch);
        }
        for sink in &*self.sinks {
            sink.end_of_cycle(cycle.number);
        }
        let mut report = std::mem::take(&mut self.report);
        report.status = self.chain.status();
        report.top = self.top.take();
        report
    }

    fn publish(&mut self, cycle: Cycle, batch: Batch) {
        let (batch, private) = strip_private(batch);
        self.report.private += private;
        self.report.points += batch.points.len() as u64;
        for &level in &batch.entities.level {
            match Level::from_byte(level) {
                Some(Level::Pod) => self.report.pods += 1,
                Some(Level::Container) => self.report.containers += 1,
                _ => {}
            }
        }
        if self.show_top {
            self.top.see(&batch);
        }
        let published = Arc::new(Published { cycle, batch });
        for sink in &*self.sinks {
            sink.offer(published.clone());
        }
    }
}
