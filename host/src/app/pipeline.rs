//! The chain's thread: one batch after the other goes through the rules and on to every sink.
//!
//! One thread, because rules keep state and are called in sequence; nothing here waits for a
//! sink or a node.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;
use tracing::error;

use super::reload::Proposals;
use super::top::Top;
use crate::batch::{Batch, Cycle, Level, strip_private};
use crate::recordings::Recordings;
use crate::rules::{Chain, RuleStats, RuleStatus, ShadowStatus, Verdict};
use crate::sinks::{Published, SinkHandle};
use crate::store::StoreFeeder;
use crate::taps::Taps;

/// Batches that wait for the chain. Decoders wait when there are more: a cycle is never held in
/// memory.
const WAITING: usize = 32;
/// At a stop, a rule's call that is under way when the time is over gets so much more.
const LAST_CALL: Duration = Duration::from_secs(1);

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
    /// The state of those beside the chain.
    pub shadows: Vec<ShadowStatus>,
    /// What rules did that are no longer there.
    pub former: RuleStats,
    /// The pods that use most CPU, if the table is shown.
    pub top: Vec<super::top::PodUsage>,
}

enum Job {
    Batch(Cycle, Box<Batch>),
    Finish(Cycle, oneshot::Sender<CycleReport>),
}

/// Feeds the chain. Clones feed the same chain.
#[derive(Clone)]
pub struct Feeder {
    jobs: SyncSender<Job>,
    line: Arc<Line>,
}

/// What waits for the chain, or is in it.
#[derive(Debug, Default)]
struct Line {
    batches: AtomicU64,
    points: AtomicU64,
    /// Set at a stop: what the chain has not come to by then is left.
    until: OnceLock<Instant>,
}

/// What did not get through the chain at a stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Left {
    /// Nodes' answers of the cycle.
    pub batches: u64,
    /// Their points, as decoded.
    pub points: u64,
    /// A rule's call goes on nevertheless.
    pub busy: bool,
}

/// The chain's thread.
pub struct ChainThread {
    line: Arc<Line>,
    /// Closed when the thread ends.
    ended: oneshot::Receiver<()>,
}

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
        self.line.enter(batch.points.len());
        self.jobs.send(Job::Batch(cycle, Box::new(batch))).map_err(|_| Ended)
    }

    /// Ends the cycle after all batches handed over so far. Not for async threads.
    ///
    /// # Errors
    /// [`Ended`] at shutdown.
    pub fn finish(&self, cycle: Cycle) -> Result<oneshot::Receiver<CycleReport>, Ended> {
        let (reply, report) = oneshot::channel();
        self.jobs.send(Job::Finish(cycle, reply)).map_err(|_| Ended)?;
        Ok(report)
    }
}

impl Line {
    fn enter(&self, points: usize) {
        self.batches.fetch_add(1, Ordering::Relaxed);
        self.points.fetch_add(points as u64, Ordering::Relaxed);
    }

    fn leave(&self, points: usize) {
        self.batches.fetch_sub(1, Ordering::Relaxed);
        self.points.fetch_sub(points as u64, Ordering::Relaxed);
    }

    fn is_over(&self) -> bool {
        self.until.get().is_some_and(|until| Instant::now() >= *until)
    }

    /// Does one job after the other until all feeders are gone.
    fn work(&self, jobs: &Receiver<Job>, mut work: impl FnMut(Job)) {
        for job in jobs {
            if self.is_over() {
                // Thrown away, so that whoever feeds does not wait for ever.
                continue;
            }
            let points = match &job {
                Job::Batch(_, batch) => Some(batch.points.len()),
                Job::Finish(..) => None,
            };
            work(job);
            if let Some(points) = points {
                self.leave(points);
            }
        }
    }
}

impl ChainThread {
    /// Waits until the chain has done all that was handed over, until `deadline` at most and a
    /// little longer for a rule's call that is under way then. The thread ends when all feeders are
    /// gone.
    pub async fn stop(self, deadline: Instant) -> Left {
        // It is set once, since this takes the handle.
        let _ = self.line.until.set(deadline);
        let busy = tokio::time::timeout_at((deadline + LAST_CALL).into(), self.ended).await.is_err();
        let (batches, points) = (&self.line.batches, &self.line.points);
        Left { batches: batches.load(Ordering::Relaxed), points: points.load(Ordering::Relaxed), busy }
    }
}

/// What the chain's thread is connected with.
pub struct Outlets {
    /// Who gets what comes out.
    pub sinks: Arc<[SinkHandle]>,
    /// And for those who ask by HTTP; `None`: nothing is kept.
    pub store: Option<StoreFeeder>,
    /// Who may want to see what goes in.
    pub recordings: Arc<Recordings>,
    /// Who may want to see what goes by.
    pub taps: Arc<Taps>,
    /// Where a new set of rules waits.
    pub(super) proposals: Arc<Proposals>,
    /// Whether the pods that use most CPU are wanted.
    pub show_top: bool,
}

/// Starts the thread. It ends when all feeders are gone.
///
/// # Errors
/// The system has no thread left.
pub fn start(chain: Chain, outlets: Outlets) -> std::io::Result<(Feeder, ChainThread)> {
    let Outlets { sinks, store, recordings, taps, proposals, show_top } = outlets;
    let mut pipeline = Pipeline {
        chain,
        sinks,
        store,
        recordings,
        taps,
        proposals,
        verdict: None,
        begun: 0,
        show_top,
        report: CycleReport::default(),
        top: Top::default(),
    };
    start_with(move |job| pipeline.job(job))
}

fn start_with(work: impl FnMut(Job) + Send + 'static) -> std::io::Result<(Feeder, ChainThread)> {
    let (feeder, jobs) = sync_channel(WAITING);
    let (ends, ended) = oneshot::channel();
    let line = Arc::new(Line::default());
    let theirs = Arc::clone(&line);
    std::thread::Builder::new().name("chain".to_owned()).spawn(move || {
        theirs.work(&jobs, work);
        drop::<oneshot::Sender<()>>(ends);
    })?;
    Ok((Feeder { jobs: feeder, line: Arc::clone(&line) }, ChainThread { line, ended }))
}

struct Pipeline {
    chain: Chain,
    sinks: Arc<[SinkHandle]>,
    store: Option<StoreFeeder>,
    recordings: Arc<Recordings>,
    taps: Arc<Taps>,
    proposals: Arc<Proposals>,
    /// Who waits for what becomes of the set that is tried.
    verdict: Option<oneshot::Sender<Verdict>>,
    /// The last cycle of which something came.
    begun: u64,
    show_top: bool,
    report: CycleReport,
    top: Top,
}

impl Pipeline {
    /// Before the first batch of a cycle, or its end if there is none.
    fn begin(&mut self, cycle: &Cycle) {
        if std::mem::replace(&mut self.begun, cycle.number) == cycle.number {
            return;
        }
        let (proposals, mut asked) = (&self.proposals, None);
        let decided = self.chain.begin(cycle, || {
            let proposal = proposals.take()?;
            asked = Some(proposal.verdict);
            Some(proposal.candidate)
        });
        self.verdict = asked.or(self.verdict.take());
        self.tell(decided);
    }

    fn tell(&mut self, decided: Option<Verdict>) {
        let Some(decided) = decided else { return };
        if let Some(asked) = self.verdict.take() {
            // Nobody waits at a stop.
            let _ = asked.send(decided);
        }
    }

    fn job(&mut self, job: Job) {
        match job {
            Job::Batch(cycle, batch) => self.batch(cycle, *batch),
            Job::Finish(cycle, reply) => {
                // Nobody listens to a cycle that was given up at shutdown.
                let _ = reply.send(self.finish(cycle));
            }
        }
    }

    fn batch(&mut self, cycle: Cycle, batch: Batch) {
        self.begin(&cycle);
        self.recordings.batch(&cycle, &batch);
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
        self.begin(&cycle);
        self.recordings.end(&cycle);
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
        if let Some(store) = &self.store {
            store.end_of_cycle(cycle);
        }
        let decided = self.chain.decide(&cycle, self.proposals.newer_waits());
        self.tell(decided);
        let mut report = std::mem::take(&mut self.report);
        report.status = self.chain.status();
        report.shadows = self.chain.shadows();
        report.former = self.chain.former().clone();
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
        self.taps.published(&published);
        for sink in &*self.sinks {
            sink.offer(published.clone());
        }
        if let Some(store) = &self.store {
            store.offer(published);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::*;
    use crate::batch::{BatchBuilder, Descriptor, Origin};

    const CYCLE: Cycle = Cycle { number: 1, time: 0, window: 0, nodes_asked: 1, nodes_answered: 1 };

    fn batch(points: u64) -> Batch {
        let mut builder = BatchBuilder::new(Origin::Node("a".to_owned()), 0);
        let metric = builder.metric(Descriptor::gauge("m", ""));
        builder.entity(Level::Node, 0);
        for value in 0..points {
            builder.point(metric, 0, 0, value);
        }
        builder.build()
    }

    #[tokio::test]
    async fn what_waits_gets_through_at_a_stop() {
        let (done, all_done) = channel();
        let (feeder, thread) = start_with(move |_| done.send(()).unwrap()).unwrap();
        for _ in 0..WAITING {
            feeder.batch(CYCLE, batch(3)).unwrap();
        }
        drop(feeder);
        let left = thread.stop(Instant::now() + Duration::from_secs(60)).await;
        assert_eq!(left, Left { batches: 0, points: 0, busy: false });
        assert_eq!(all_done.iter().count(), WAITING);
    }

    #[tokio::test]
    async fn what_waits_too_long_at_a_stop_is_left_and_counted() {
        let (begin, begun) = channel();
        let (go_on, pause) = channel::<()>();
        let (feeder, thread) = start_with(move |_| {
            begin.send(()).unwrap();
            // Until the test lets go.
            let _ = pause.recv();
        })
        .unwrap();
        for _ in 0..4 {
            feeder.batch(CYCLE, batch(3)).unwrap();
        }
        begun.recv().unwrap();
        // Decoders may hold feeders still, blocked or not.
        let start = Instant::now();
        let left = thread.stop(start + Duration::from_millis(20)).await;
        assert_eq!(left, Left { batches: 4, points: 12, busy: true });
        assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
        // Nobody blocks on a chain that has stopped, and no rule is called any more.
        drop(go_on);
        for _ in 0..2 * WAITING {
            feeder.batch(CYCLE, batch(3)).unwrap();
        }
        drop(feeder);
        assert_eq!(begun.iter().count(), 0);
    }
}
