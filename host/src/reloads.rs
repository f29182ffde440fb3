//! What is known of reloading the rules, and how it is asked for: by a changed directory, a signal,
//! or a request. Who carries it out is `app`.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use serde::Serialize;
use tokio::sync::{mpsc, oneshot};

use crate::status::rfc3339;

/// Requests that wait; one more says nothing that they don't.
const WAITING: usize = 16;

/// Who wants the rules to be read again.
#[derive(Debug)]
pub enum Asked {
    /// A rule directory has changed.
    Changed,
    /// SIGHUP.
    Signal,
    /// A request, which may wait for the outcome.
    Request(Option<oneshot::Sender<Outcome>>),
}

/// How a reload ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ReloadEnd {
    /// The new set is the chain.
    TookOver,
    /// It has a mistake, or failed in its shadow cycle; the old one goes on.
    Refused,
    /// It is the set that runs.
    Unchanged,
}

/// What became of a reload.
#[derive(Debug, Clone, Serialize)]
pub struct Outcome {
    /// How it ended.
    pub outcome: ReloadEnd,
    /// When it ended, RFC 3339.
    pub at: String,
    /// From its beginning to its end, compiling and waiting for the cycle with it, ms.
    pub took_ms: u64,
    /// Why it was refused, a text a problem; or what the new rules made of the batches of their shadow cycle.
    pub details: Vec<String>,
}

/// What a reload is at.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// None is under way.
    #[default]
    Idle,
    /// Files are read, compiled and configured.
    Preparing,
    /// These rules wait for their shadow cycle, or are in it.
    Trial(Vec<String>),
}

/// Reloads since the start.
#[derive(Debug, Clone, Default, Serialize)]
pub struct ReloadStatus {
    /// What the reload that is under way is at.
    pub phase: Phase,
    /// New sets that took over.
    pub took_over: u64,
    /// New sets that were refused.
    pub refused: u64,
    /// Whether the rules that run are those that were read last.
    pub last_successful: bool,
    /// When a reload last ended without being refused, seconds since the epoch.
    pub last_success_seconds: f64,
    /// How the last one ended that was not without change.
    pub last: Option<Outcome>,
}

/// Where reloads are asked for and shown.
#[derive(Debug)]
pub struct Reloads {
    asks: mpsc::Sender<Asked>,
    status: Mutex<ReloadStatus>,
}

impl Reloads {
    /// With what was asked for at the other end. The set that was read at the start is the first success.
    #[must_use]
    pub fn new() -> (Self, mpsc::Receiver<Asked>) {
        let (asks, asked) = mpsc::channel(WAITING);
        let status = ReloadStatus { last_successful: true, last_success_seconds: now(), ..ReloadStatus::default() };
        (Self { asks, status: Mutex::new(status) }, asked)
    }

    /// Asks for one. If many have asked before, theirs will do.
    pub fn ask(&self, asked: Asked) {
        let _ = self.asks.try_send(asked);
    }

    /// Asks for one; the answer comes when it has ended, or never if the process ends before. `None` if too many wait.
    #[must_use]
    pub fn ask_and_wait(&self) -> Option<oneshot::Receiver<Outcome>> {
        let (reply, outcome) = oneshot::channel();
        self.asks.try_send(Asked::Request(Some(reply))).ok()?;
        Some(outcome)
    }

    /// What is known.
    #[must_use]
    pub fn status(&self) -> ReloadStatus {
        self.lock().clone()
    }

    /// Files are being read.
    pub(crate) fn begins(&self) {
        self.lock().phase = Phase::Preparing;
    }

    /// These rules are about to run in the shadow.
    pub(crate) fn is_tried(&self, rules: Vec<String>) {
        self.lock().phase = Phase::Trial(rules);
    }

    /// It has ended; who waited is told.
    pub(crate) fn ended(&self, end: ReloadEnd, details: Vec<String>, took: Duration, waited: Vec<Asked>) {
        let outcome = Outcome {
            outcome: end,
            at: rfc3339(SystemTime::now()),
            took_ms: u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
            details,
        };
        {
            let mut status = self.lock();
            status.phase = Phase::Idle;
            match end {
                ReloadEnd::TookOver => status.took_over += 1,
                ReloadEnd::Refused => status.refused += 1,
                ReloadEnd::Unchanged => {}
            }
            status.last_successful = end != ReloadEnd::Refused;
            if end != ReloadEnd::Refused {
                status.last_success_seconds = now();
            }
            if end != ReloadEnd::Unchanged {
                status.last = Some(outcome.clone());
            }
        }
        for asked in waited {
            if let Asked::Request(Some(reply)) = asked {
                // Who asked may have gone.
                let _ = reply.send(outcome.clone());
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, ReloadStatus> {
        self.status.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn now() -> f64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0.0, |time| time.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_waits_is_told_and_the_last_failure_stays_until_a_good_set_is_read() {
        let (reloads, mut asked) = Reloads::new();
        assert!(reloads.status().last_successful);
        let outcome = reloads.ask_and_wait().unwrap();
        let waited = vec![asked.recv().await.unwrap()];
        reloads.begins();
        reloads.ended(ReloadEnd::Refused, vec!["broken".to_owned()], Duration::from_millis(7), waited);
        let told = outcome.await.unwrap();
        assert_eq!((told.outcome, told.took_ms, &*told.details[0]), (ReloadEnd::Refused, 7, "broken"));
        let status = reloads.status();
        assert_eq!((status.refused, status.last_successful, status.phase), (1, false, Phase::Idle));

        reloads.ended(ReloadEnd::Unchanged, Vec::new(), Duration::ZERO, Vec::new());
        let status = reloads.status();
        assert!(status.last_successful, "the mistake was taken back");
        assert_eq!(status.last.unwrap().details, ["broken"]);
    }

    #[test]
    fn requests_that_nobody_serves_are_bounded() {
        let (reloads, _asked) = Reloads::new();
        let answered = (0..100).filter_map(|_| reloads.ask_and_wait()).count();
        assert_eq!(answered, WAITING);
        reloads.ask(Asked::Changed);
    }
}
