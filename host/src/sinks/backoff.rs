//! When to try again.

use std::time::Duration;

/// Wait after the first failure.
const FIRST: Duration = Duration::from_millis(500);
/// Longest wait, also where a server asks for more.
pub const LONGEST: Duration = Duration::from_secs(30);

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
}
