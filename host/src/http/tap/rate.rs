//! How many rows a second get through.

use std::time::Instant;

/// A bucket that is refilled as time goes by; it holds what one second may have.
#[derive(Debug)]
pub(super) struct Rate {
    per_second: f64,
    left: f64,
    filled: Instant,
}

impl Rate {
    pub(super) fn new(per_second: u32) -> Self {
        let per_second = f64::from(per_second);
        Self { per_second, left: per_second, filled: Instant::now() }
    }

    /// Lets time go by.
    pub(super) fn refill(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.filled).as_secs_f64();
        self.left = (self.left + passed * self.per_second).min(self.per_second);
        self.filled = now;
    }

    /// Whether one more gets through.
    pub(super) fn take(&mut self) -> bool {
        let through = self.left >= 1.0;
        if through {
            self.left -= 1.0;
        }
        through
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_second_s_worth_gets_through_at_once_and_never_more() {
        let mut rate = Rate::new(10);
        let start = rate.filled;
        let mut at = |ms: u64| {
            rate.refill(start + Duration::from_millis(ms));
            std::iter::repeat_with(|| rate.take()).take_while(|through| *through).count()
        };
        assert_eq!((at(0), at(0), at(500), at(550), at(60_000)), (10, 0, 5, 0, 10));
    }
}
