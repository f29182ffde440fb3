//! Hot reload: when the rule directories change or an operator asks, the set is read, compiled and
//! configured off the chain's thread, handed to the chain for its shadow cycle, and what became of
//! it is shown. One set at a time; of several changes meanwhile the newest counts.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tokio::sync::{Notify, mpsc, oneshot};
use tracing::{error, info, warn};

use crate::reloads::{Asked, ReloadEnd, Reloads};
use crate::rules::directory::bundled_places;
use crate::rules::{Candidate, Problem, RuleEngine, RuleSources, RuleState, Verdict, Version, Watch, watch};
use crate::status::Board;

/// Where a candidate waits for the next cycle's beginning.
#[derive(Debug, Default)]
pub(super) struct Proposals(Mutex<Option<Proposal>>);

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

    fn put(&self, candidate: Candidate) -> oneshot::Receiver<Verdict> {
        let (verdict, told) = oneshot::channel();
        *self.waiting() = Some(Proposal { candidate, verdict });
        told
    }

    fn waiting(&self) -> MutexGuard<'_, Option<Proposal>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
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
                waiting.push(asked);
            }
            let started = Instant::now();
            self.reloads.begins();
            let mut later = Vec::new();
            match self.attempt(&waiting, &mut asks, &mut later).await {
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

    async fn attempt(&mut self, waiting: &[Asked], asks: &mut mpsc::Receiver<Asked>, later: &mut Vec<Asked>) -> End {
        let candidate = match self.prepare(waiting).await {
            Ok(Some(candidate)) => candidate,
            Ok(None) => return End::Done(ReloadEnd::Unchanged, Vec::new()),
            Err(problems) => {
                return End::Done(ReloadEnd::Refused, problems.iter().map(ToString::to_string).collect());
            }
        };
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
                        Ok(Verdict::Refused { problem, .. }) => End::Done(ReloadEnd::Refused, vec![problem.to_string()]),
                        Err(_) => End::Gone,
                    };
                }
                asked = asks.recv() => {
                    let Some(asked) = asked else { return End::Gone };
                    later.push(asked);
                    if self.proposals.take().is_some() {
                        return End::Overtaken;
                    }
                }
            }
        }
    }

    /// Reads and compiles on a thread that may take long.
    async fn prepare(&self, waiting: &[Asked]) -> Result<Option<Candidate>, Vec<Problem>> {
        let (engine, sources, executable) = (self.engine.clone(), self.sources.clone(), self.executable.clone());
        let running = self.versions.clone();
        // An operator who asks by name wants those that stand still to be tried again, too.
        let renew: Vec<String> = if by_hand(waiting) { self.standing_still() } else { Vec::new() };
        let work = move || {
            let set = sources.read(&executable)?;
            let candidate = Candidate::prepare(&engine, &set, &running, &renew)?;
            if candidate.is_some() {
                for warning in set.warnings {
                    warn!("{warning}");
                }
            }
            Ok(candidate)
        };
        let failed = |error: tokio::task::JoinError| vec![Problem::new("reading the rules", error)];
        tokio::task::spawn_blocking(work).await.map_err(failed)?
    }

    fn standing_still(&self) -> Vec<String> {
        let snapshot = self.board.snapshot();
        let still = |state| matches!(state, RuleState::Halted | RuleState::Parked);
        snapshot.rules.iter().filter(|rule| still(rule.state)).map(|rule| rule.slot.clone()).collect()
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
