//! One round over all nodes: ask, decode, feed the chain, finish, publish the status.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;
use tracing::{info, warn};

use super::clock::Tick;
use super::pipeline::{CycleReport, Ended, Feeder};
use crate::batch::{Batch, Cycle, TypeRegistry};
use crate::kube::{Inventory, NodeFacts};
use crate::scrape::{DecodeBounds, DecodeCounts, NodeAnswer, ScrapeFailure, Scraper, decode};
use crate::status::{Board, Counters, CycleStatus, NodeStatus, Snapshot, Stages, rfc3339};

/// Nodes named in the log for each reason, a cycle. The status page names all.
const NAMED_PER_REASON: usize = 3;
/// A node that goes on failing for the same reason is mentioned again after so many cycles.
const MENTIONED_EVERY: u64 = 10;

/// Answers that a decoder takes at a time, of those that are there.
const AT_A_TIME: usize = 8;

/// The state of a node that answered.
const OK: &str = "ok";

/// What cycles need and keep.
pub struct Cycles {
    /// Who is to be asked, and what the API server knows.
    pub inventory: Arc<Inventory>,
    /// Asks.
    pub scraper: Scraper,
    /// To the rules.
    pub feeder: Feeder,
    /// Value types of all metrics.
    pub types: Arc<TypeRegistry>,
    /// Where the state is shown.
    pub board: Arc<Board>,
    /// Between two cycles.
    pub resolution: Duration,
    /// No spread of the starts.
    pub back_to_back: bool,
    /// Decoders at one time.
    pub decoders: Arc<Semaphore>,
    counters: Counters,
    failing: HashMap<Arc<str>, Failing>,
    number: u64,
}

/// A node without points, over the cycles.
#[derive(Debug, Clone, Copy, Default)]
struct Failing {
    /// Cycles in a row.
    cycles: u64,
    /// Why, in the last of them.
    reason: &'static str,
    /// Cycles in a row for this reason.
    same: u64,
}

/// What the log says of a node in a cycle.
enum News {
    Fails,
    /// After so many cycles.
    Recovered(u64),
}

/// A cycle's outcome, for the table.
pub struct Done {
    /// What the status page shows too.
    pub cycle: CycleStatus,
    /// The pods that use most CPU.
    pub top: Vec<super::top::PodUsage>,
}

/// One decoded answer.
struct Answer {
    node: NodeStatus,
    outcome: Result<(DecodeCounts, Duration), Option<Ended>>,
}

/// What the parts of [`Cycles`] are; the rest starts empty.
pub struct Parts {
    /// See [`Cycles`].
    pub inventory: Arc<Inventory>,
    /// See [`Cycles`].
    pub scraper: Scraper,
    /// See [`Cycles`].
    pub feeder: Feeder,
    /// See [`Cycles`].
    pub types: Arc<TypeRegistry>,
    /// See [`Cycles`].
    pub board: Arc<Board>,
    /// See [`Cycles`].
    pub resolution: Duration,
    /// See [`Cycles`].
    pub back_to_back: bool,
}

impl Cycles {
    /// Ready for the first cycle.
    #[must_use]
    pub fn new(parts: Parts) -> Self {
        let cores = std::thread::available_parallelism().map_or(2, usize::from);
        Self {
            inventory: parts.inventory,
            scraper: parts.scraper,
            feeder: parts.feeder,
            types: parts.types,
            board: parts.board,
            resolution: parts.resolution,
            back_to_back: parts.back_to_back,
            decoders: Arc::new(Semaphore::new(cores)),
            counters: Counters::default(),
            failing: HashMap::new(),
            number: 0,
        }
    }

    /// Runs one cycle.
    ///
    /// # Errors
    /// [`Ended`] if the chain's thread is gone.
    pub async fn run(&mut self, tick: Tick) -> Result<Done, Ended> {
        let start = Instant::now();
        self.number += 1;
        self.counters.missed_ticks += tick.missed;
        if tick.missed > 0 {
            warn!(missed = tick.missed, "the cycle before took longer than the resolution; ticks were missed");
        }
        let mut nodes = self.inventory.nodes();
        // Those that failed last wait for those that did not.
        nodes.sort_by_key(|node| self.failing.contains_key(&node.name));
        let mut cycle = Cycle {
            number: self.number,
            time: tick.time,
            window: i64::try_from(self.resolution.as_nanos()).unwrap_or(i64::MAX),
            nodes_asked: u32::try_from(nodes.iter().filter(|node| node.ready).count()).unwrap_or(u32::MAX),
            nodes_answered: 0,
        };
        let (answers, last_answer) = self.scrape(cycle, nodes).await?;

        let mut status = CycleStatus { number: cycle.number, nodes: answers.len(), ..CycleStatus::default() };
        let mut decoding = Duration::ZERO;
        let (mut nodes, mut news) = (Vec::with_capacity(answers.len()), Vec::new());
        for answer in answers {
            if let Ok((counts, took)) = &answer.outcome {
                self.counters.decoded(counts);
                status.points_scraped += counts.points;
                status.nodes_answered += 1;
                decoding += *took;
            }
            let node = self.judge(answer.node, &mut news);
            nodes.push(node);
        }
        tell(news);
        nodes.sort_by(|a, b| a.name.cmp(&b.name));
        self.failing.retain(|name, _| nodes.binary_search_by(|node| node.name.cmp(name)).is_ok());
        cycle.nodes_answered = u32::try_from(status.nodes_answered).unwrap_or(u32::MAX);

        let report = self.finish(cycle).await?;
        let ms = |duration: Duration| duration.as_secs_f64() * 1e3;
        let tail = last_answer.map_or(Duration::ZERO, |at| at.elapsed());
        status.stages = Stages {
            scrape_ms: ms(start.elapsed().saturating_sub(tail)),
            decode_ms: ms(decoding),
            rules_ms: ms(report.rules),
            finish_ms: ms(report.finish),
            tail_ms: ms(tail),
            total_ms: ms(start.elapsed()),
        };
        status.time =
            rfc3339(std::time::SystemTime::UNIX_EPOCH + Duration::from_nanos(cycle.time.max(0).cast_unsigned()));
        status.nodes_asked = cycle.nodes_asked as usize;
        Ok(self.publish(status, nodes, report))
    }

    /// Asks all nodes, and decodes each answer as it comes.
    async fn scrape(&self, cycle: Cycle, nodes: Vec<Arc<NodeFacts>>) -> Result<(Vec<Answer>, Option<Instant>), Ended> {
        let spread = if self.back_to_back { Duration::ZERO } else { Scraper::spread(nodes.len(), self.resolution) };
        // The rules and the sinks get the last twentieth of the window.
        let deadline = tokio::time::Instant::now() + self.resolution.mul_f64(0.95);
        let (out, mut answers) = mpsc::channel::<NodeAnswer>(64);
        let scraper = self.scraper.clone();
        let mut asking = JoinSet::new();
        asking.spawn(async move { scraper.scrape_all(cycle, nodes, spread, deadline, out).await });

        let mut decoding = JoinSet::new();
        let (mut done, mut last) = (Vec::new(), None);
        let mut here = Vec::with_capacity(AT_A_TIME);
        while answers.recv_many(&mut here, AT_A_TIME).await > 0 {
            last = Some(Instant::now());
            let permit = Arc::clone(&self.decoders).acquire_owned().await;
            let (inventory, types, feeder) = (self.inventory.clone(), self.types.clone(), self.feeder.clone());
            let answers = std::mem::replace(&mut here, Vec::with_capacity(AT_A_TIME));
            decoding.spawn_blocking(move || {
                // A defect of ours costs the answer that met it, and none beside it.
                let decode = |answer| {
                    let work = AssertUnwindSafe(|| decode_and_feed(answer, cycle, &inventory, &types, &feeder));
                    catch_unwind(work).ok()
                };
                let answers: Vec<Answer> = answers.into_iter().filter_map(decode).collect();
                drop(permit);
                answers
            });
            while let Some(ended) = decoding.try_join_next() {
                done.extend(ended.unwrap_or_default());
            }
        }
        while let Some(ended) = decoding.join_next().await {
            done.extend(ended.unwrap_or_default());
        }
        if done.iter().any(|answer| matches!(answer.outcome, Err(Some(Ended)))) { Err(Ended) } else { Ok((done, last)) }
    }

    /// Remembers for how long a node has been failing. A dead node is no news in every cycle.
    fn judge(&mut self, mut node: NodeStatus, news: &mut Vec<(NodeStatus, News)>) -> NodeStatus {
        if node.error.is_none() {
            if let Some(failed) = self.failing.remove(&node.name) {
                news.push((node.clone(), News::Recovered(failed.cycles)));
            }
            return node;
        }
        *self.counters.failures.entry(node.state).or_default() += 1;
        let failing = self.failing.entry(Arc::clone(&node.name)).or_default();
        failing.cycles += 1;
        failing.same = if failing.reason == node.state { failing.same + 1 } else { 1 };
        failing.reason = node.state;
        node.failed_cycles = failing.cycles;
        if failing.same % MENTIONED_EVERY == 1 {
            news.push((node.clone(), News::Fails));
        }
        node
    }

    async fn finish(&self, cycle: Cycle) -> Result<CycleReport, Ended> {
        let feeder = self.feeder.clone();
        let report = tokio::task::spawn_blocking(move || feeder.finish(cycle)).await.map_err(|_| Ended)??;
        report.await.map_err(|_| Ended)
    }

    fn publish(&mut self, mut status: CycleStatus, nodes: Vec<NodeStatus>, report: CycleReport) -> Done {
        status.pods = report.pods;
        status.containers = report.containers;
        status.points_published = report.points;
        self.counters.cycles += 1;
        self.counters.points_private += report.private;
        self.counters.points_lost += report.lost;
        self.counters.points_published += report.points;
        self.counters.panics += report.panics;
        log(&status);
        self.board.publish(Snapshot {
            cycle: Some(status.clone()),
            counters: self.counters.clone(),
            nodes,
            rules: report.status,
            shadows: report.shadows,
            former_rules: report.former,
        });
        Done { cycle: status, top: report.top }
    }
}

/// A few nodes of every reason, and how many more there are.
fn tell(mut news: Vec<(NodeStatus, News)>) {
    news.sort_by(|(a, _), (b, _)| (a.state, &a.name).cmp(&(b.state, &b.name)));
    for same in news.chunk_by(|(a, _), (b, _)| a.state == b.state) {
        for (node, news) in same.iter().take(NAMED_PER_REASON) {
            let (name, reason) = (&*node.name, node.state);
            let error = node.error.as_deref().unwrap_or_default();
            match *news {
                News::Fails => warn!(node = name, reason, error, cycles = node.failed_cycles, "node gave no points"),
                News::Recovered(cycles) => info!(node = name, cycles, "node gives points again"),
            }
        }
        let (more, reason) = (same.len().saturating_sub(NAMED_PER_REASON), same[0].0.state);
        if more > 0 && reason == OK {
            info!(nodes = more, "more nodes give points again");
        } else if more > 0 {
            warn!(nodes = more, reason, "more nodes gave no points; /api/v1/status names them");
        }
    }
}

fn log(status: &CycleStatus) {
    info!(
        cycle = status.number,
        nodes = status.nodes_answered,
        asked = status.nodes_asked,
        pods = status.pods,
        points = status.points_published,
        took_ms = status.stages.total_ms.round(),
        "cycle done"
    );
}

/// One answer on a thread that may compute.
fn decode_and_feed(
    answer: NodeAnswer,
    cycle: Cycle,
    inventory: &Inventory,
    types: &TypeRegistry,
    feeder: &Feeder,
) -> Answer {
    let start = Instant::now();
    let name = Arc::clone(&answer.node.name);
    let mut node = NodeStatus {
        name,
        state: OK,
        error: None,
        failed_cycles: 0,
        took_ms: answer.took.as_secs_f64() * 1e3,
        bytes: 0,
        points: 0,
    };
    let decoded = answer.result.and_then(|body| {
        node.bytes = body.bytes.len();
        decode_body(&body.bytes, &answer.node, cycle, inventory, types)
    });
    let outcome = match decoded {
        Ok((batch, counts)) => {
            node.points = counts.points;
            let took = start.elapsed();
            feeder.batch(cycle, batch).map(|()| (counts, took)).map_err(Some)
        }
        Err(failure) => {
            node.state = failure.reason();
            node.error = Some(failure.told());
            Err(None)
        }
    };
    Answer { node, outcome }
}

fn decode_body(
    body: &[u8],
    node: &NodeFacts,
    cycle: Cycle,
    inventory: &Inventory,
    types: &TypeRegistry,
) -> Result<(Batch, DecodeCounts), ScrapeFailure> {
    let pods = inventory.pods_of(&node.name);
    let uid = |namespace: &str| inventory.namespace_uid(namespace);
    let decoded = decode(body, node, &pods, uid, &cycle, &DecodeBounds::default(), types)?;
    Ok((decoded.batch, decoded.counts))
}
