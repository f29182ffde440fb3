//! When to try again, and how often to say that it failed.

use std::time::Duration;

use tokio::time::Instant;

/// Wait after the first failure.
const FIRST: Duration = Duration::from_millis(500);
/// Longest wait, also where a server asks for more.
pub const LONGEST: Duration = Duration::from_secs(30);
/// One line of each kind in this time.
const LOG_EVERY: Duration = Duration::from_secs(60);

/// Exponential backoff with jitter.
#[derive(Debug, Default)]
pub struct Backoff {
    failures: u32,
}

impl Backoff {
    /// Counts a failure; how long to wait now. Between half and all of the doubled wait, so that
    /// replicas that failed together do not come back together.
    pub fn failed(&mut self, retry_after: Option<Duration>) -> Duration {
        let doubled = FIRST.saturating_mul(1 << self.failures.min(10)).min(LONGEST);
        self.failures = self.failures.saturating_add(1);
        let wait = doubled.mul_f64(0.5 + rand::random::<f64>() / 2.0);
        wait.max(retry_after.unwrap_or_default()).min(LONGEST)
    }

    /// Forgets the failures; whether there were any.
    pub fn succeeded(&mut self) -> bool {
        std::mem::take(&mut self.failures) > 0
    }

    /// Whether the last attempt failed.
    #[must_use]
    pub fn is_failing(&self) -> bool {
        self.failures > 0
    }
}

/// Lets one line a minute through.
#[derive(Debug, Default)]
pub struct Throttle {
    last: Option<Instant>,
    held_back: u64,
}

impl Throttle {
    /// Whether to log now, and how many lines were held back since the last one.
    pub fn pass(&mut self) -> Option<u64> {
        let now = Instant::now();
        if self.last.is_some_and(|last| now.duration_since(last) < LOG_EVERY) {
            self.held_back += 1;
            return None;
        }
        self.last = Some(now);
        Some(std::mem::take(&mut self.held_back))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_half_a_minute() {
        let mut backoff = Backoff::default();
        let mut most = FIRST;
        for _ in 0..20 {
            let wait = backoff.failed(None);
            assert!(wait >= most / 2 && wait <= most, "{wait:?} of {most:?}");
            most = (most * 2).min(LONGEST);
        }
        assert!(backoff.succeeded());
        assert!(backoff.failed(None) <= FIRST);
    }

    #[test]
    fn a_server_may_ask_for_more_time_but_not_for_more_than_the_longest() {
        let mut backoff = Backoff::default();
        assert_eq!(backoff.failed(Some(Duration::from_secs(7))), Duration::from_secs(7));
        assert_eq!(backoff.failed(Some(Duration::from_secs(3600))), LONGEST);
    }

    #[tokio::test(start_paused = true)]
    async fn one_line_a_minute_passes_and_says_how_many_did_not() {
        let mut throttle = Throttle::default();
        assert_eq!([throttle.pass(), throttle.pass(), throttle.pass()], [Some(0), None, None]);
        tokio::time::advance(LOG_EVERY).await;
        assert_eq!(throttle.pass(), Some(2));
    }
}
