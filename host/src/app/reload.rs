//! Hot reload: when the rule directories change or an operator asks, the set is read, compiled and
//! configured off the chain's thread, handed to the chain for its shadow cycle, and what became of
//! it is shown. One set at a time; of several changes meanwhile the newest counts.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{Notify, mpsc, oneshot};
use tracing::{error, info, warn};

use crate::reloads::{Asked, ReloadEnd, Reloads};
use crate::rules::directory::bundled_places;
use crate::rules::{
    Candidate, Digest, Manifest, Problem, RuleEngine, RuleSet, RuleSources, RuleStatus, Verdict, Version, Watch, watch,
};
use crate::status::Board;

/// Requests that wait for one outcome; more get none.
const MAX_WAITING: usize = 64;
/// Reading, compiling and configuring may take this long.
const PREPARING: Duration = Duration::from_secs(300);

/// Where a candidate waits for the next cycle's beginning.
#[derive(Debug, Default)]
pub(super) struct Proposals {
    waiting: Mutex<Option<Proposal>>,
    /// While one is tried, another is wanted.
    newer: AtomicBool,
}

/// A candidate, and who wants to know what becomes of it.
#[derive(Debug)]
pub(super) struct Proposal {
    pub(super) candidate: Candidate,
    pub(super) verdict: oneshot::Sender<Verdict>,
}

impl Proposals {
    /// Takes what waits, if anything does.
    pub(super) fn take(&self) -> Option<Proposal> {
        self.waiting().take()
    }

    /// Whether a newer set than the one that is tried is wanted.
    pub(super) fn newer_waits(&self) -> bool {
        self.newer.load(Ordering::Relaxed)
    }

    fn put(&self, candidate: Candidate) -> oneshot::Receiver<Verdict> {
        self.newer.store(false, Ordering::Relaxed);
        let (verdict, told) = oneshot::channel();
        *self.waiting() = Some(Proposal { candidate, verdict });
        told
    }

    fn waiting(&self) -> MutexGuard<'_, Option<Proposal>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What reloading needs.
pub(super) struct Reloader {
    pub(super) engine: Arc<RuleEngine>,
    pub(super) sources: RuleSources,
    pub(super) executable: PathBuf,
    /// What the running rules are made of.
    pub(super) versions: Vec<Version>,
    pub(super) proposals: Arc<Proposals>,
    pub(super) board: Arc<Board>,
    pub(super) reloads: Arc<Reloads>,
}

/// What a set of rules is, to tell two of them apart: slots, code, settings.
type Identity = Vec<(String, Digest, Manifest)>;

fn identity(set: &RuleSet) -> Identity {
    set.files.iter().map(|file| (file.slot.clone(), Digest::of(&file.bytes), file.manifest.clone())).collect()
}

/// A set that is ready, or nothing if it is what runs.
struct Prepared {
    candidate: Option<Candidate>,
    identity: Identity,
    /// Slots that are started anew though their files are the same.
    renewed: Vec<String>,
}

/// How an attempt ended.
enum End {
    Done(ReloadEnd, Vec<String>),
    /// A newer change came before the shadow cycle began.
    Overtaken,
    /// The chain is gone: the process stops.
    Gone,
}

/// Passes on what the system and the terminal tell of.
pub(super) fn listen(reloads: &Arc<Reloads>, sources: &RuleSources, executable: &std::path::Path, asked: Arc<Notify>) {
    let mut dirs = sources.dirs.clone();
    dirs.extend(bundled_places(sources.bundled.as_deref(), executable).into_iter().find(|place| place.is_dir()));
    let mut watch = Watch::start(dirs, watch::POLL);
    // The rules were read before the watch began.
    reloads.ask(Asked::Changed);
    let theirs = Arc::clone(reloads);
    tokio::spawn(async move {
        loop {
            watch.changed().await;
            theirs.ask(Asked::Changed);
        }
    });
    let theirs = Arc::clone(reloads);
    tokio::spawn(async move {
        loop {
            asked.notified().await;
            theirs.ask(Asked::Signal);
        }
    });
}

impl Reloader {
    /// One reload after the other, until the process stops.
    pub(super) async fn run(mut self, mut asks: mpsc::Receiver<Asked>) {
        let mut waiting = Vec::new();
        loop {
            if waiting.is_empty() {
                let Some(asked) = asks.recv().await else { return };
                waiting.push(asked);
            }
            while let Ok(asked) = asks.try_recv() {
                queue(&mut waiting, asked);
            }
            let started = Instant::now();
            self.reloads.begins();
            let mut later = Vec::new();
            match self.attempt(&mut waiting, &mut asks, &mut later).await {
                End::Done(end, texts) => {
                    tell(end, &texts, started, by_hand(&waiting));
                    self.reloads.ended(end, texts, started.elapsed(), waiting);
                    waiting = later;
                }
                // Who waited for that one waits for the one that takes its place.
                End::Overtaken => waiting.append(&mut later),
                End::Gone => return,
            }
        }
    }

    async fn attempt(
        &mut self,
        waiting: &mut Vec<Asked>,
        asks: &mut mpsc::Receiver<Asked>,
        later: &mut Vec<Asked>,
    ) -> End {
        let Prepared { candidate, identity, renewed } = match self.prepare(by_hand(waiting)).await {
            Ok(prepared) => prepared,
            Err(problems) => {
                return End::Done(ReloadEnd::Refused, problems.iter().map(ToString::to_string).collect());
            }
        };
        let Some(candidate) = candidate else { return End::Done(ReloadEnd::Unchanged, Vec::new()) };
        self.reloads.is_tried(candidate.changed());
        let mut verdict = self.proposals.put(candidate);
        loop {
            tokio::select! {
                verdict = &mut verdict => {
                    return match verdict {
                        Ok(Verdict::TookOver { versions, differences, .. }) => {
                            self.versions = versions;
                            End::Done(ReloadEnd::TookOver, differences)
                        }
                        Ok(Verdict::Overtaken) => End::Overtaken,
                        Ok(Verdict::Refused { problem, .. }) => End::Done(ReloadEnd::Refused, vec![problem.to_string()]),
                        Err(_) => End::Gone,
                    };
                }
                asked = asks.recv() => {
                    let Some(asked) = asked else { return End::Gone };
                    // Who asks for the set that waits already waits for it, too.
                    let renews = by_hand(std::slice::from_ref(&asked)) && self.standing_still() != renewed;
                    if !renews && self.identity().await.as_ref() == Some(&identity) {
                        queue(waiting, asked);
                        continue;
                    }
                    queue(later, asked);
                    if self.proposals.take().is_some() {
                        return End::Overtaken;
                    }
                    self.proposals.newer.store(true, Ordering::Relaxed);
                }
            }
        }
    }

    /// What the files are now; `None` where they are no set.
    async fn identity(&self) -> Option<Identity> {
        let (sources, executable) = (self.sources.clone(), self.executable.clone());
        let read = move || sources.read(&executable).ok().map(|set| identity(&set));
        let reading = tokio::task::spawn_blocking(read);
        tokio::time::timeout(PREPARING, reading).await.ok()?.ok()?
    }

    /// Reads and compiles on a thread that may take long.
    async fn prepare(&self, by_hand: bool) -> Result<Prepared, Vec<Problem>> {
        let (engine, sources, executable) = (self.engine.clone(), self.sources.clone(), self.executable.clone());
        let running = self.versions.clone();
        // An operator who asks by hand wants those that stand still to be tried again, too.
        let renewed: Vec<String> = if by_hand { self.standing_still() } else { Vec::new() };
        let work = move || {
            let set = sources.read(&executable)?;
            let candidate = Candidate::prepare(&engine, &set, &running, &renewed)?;
            if candidate.is_some() {
                for warning in &set.warnings {
                    warn!("{warning}");
                }
            }
            Ok(Prepared { candidate, identity: identity(&set), renewed })
        };
        let failed = |error: &dyn std::fmt::Display| vec![Problem::new("reading the rules", error)];
        let prepared = tokio::time::timeout(PREPARING, tokio::task::spawn_blocking(work)).await;
        // What hangs there hangs on; the next reload has a thread of its own.
        let late = |_| failed(&"took longer than five minutes; look at the directory's file system");
        prepared.map_err(late)?.map_err(|error| failed(&error))?
    }

    fn standing_still(&self) -> Vec<String> {
        let snapshot = self.board.snapshot();
        let still = |rule: &&RuleStatus| rule.halted || rule.parked_until.is_some();
        let shadows = snapshot.shadows.iter().map(|shadow| &shadow.rule);
        snapshot.rules.iter().chain(shadows).filter(still).map(|rule| rule.slot.clone()).collect()
    }
}

/// Lets one more wait. Who waits for no answer waits with the others of its kind.
fn queue(waiting: &mut Vec<Asked>, asked: Asked) {
    let answered = matches!(asked, Asked::Request(Some(_)));
    let same = |other: &Asked| std::mem::discriminant(other) == std::mem::discriminant(&asked);
    let is_there = !answered && waiting.iter().any(|other| same(other) && !matches!(other, Asked::Request(Some(_))));
    if !is_there && waiting.len() < MAX_WAITING {
        waiting.push(asked);
    }
}

fn by_hand(asked: &[Asked]) -> bool {
    asked.iter().any(|asked| !matches!(asked, Asked::Changed))
}

fn tell(end: ReloadEnd, texts: &[String], started: Instant, by_hand: bool) {
    let took_ms = started.elapsed().as_millis() as u64;
    match end {
        ReloadEnd::TookOver => {
            info!(took_ms, differences = texts.join("; "), "the changed rules have taken over");
        }
        ReloadEnd::Refused => {
            error!(took_ms, "the changed rules are refused, the old ones go on:\n{}", texts.join("\n"));
        }
        ReloadEnd::Unchanged if by_hand => info!("nothing of the rules has changed"),
        ReloadEnd::Unchanged => {}
    }
}
