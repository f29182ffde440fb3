//! When cycles begin: at multiples of the resolution by the host's clock, as Heapster's did, so
//! that the points of all series share their timestamps.

use std::time::{Duration, SystemTime};

/// The beginning of a cycle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tick {
    /// The timestamp of the cycle, ns since the epoch.
    pub time: i64,
    /// Ticks since the last one at which no cycle began.
    pub missed: u64,
}

/// Gives ticks.
#[derive(Debug)]
pub struct Clock {
    resolution: i64,
    back_to_back: bool,
    last: Option<i64>,
}

impl Clock {
    /// A clock of this resolution. Back to back it ticks at once, whenever it is asked.
    #[must_use]
    pub fn new(resolution: Duration, back_to_back: bool) -> Self {
        let resolution = i64::try_from(resolution.as_nanos()).unwrap_or(i64::MAX).max(1);
        Self { resolution, back_to_back, last: None }
    }

    /// The next tick after `now` (ns since the epoch), and how long it is until then.
    pub fn next(&mut self, now: i64) -> (Tick, Duration) {
        if self.back_to_back {
            let time = self.last.map_or(now, |last| now.max(last + 1));
            self.last = Some(time);
            return (Tick { time, missed: 0 }, Duration::ZERO);
        }
        let mut time = (now.div_euclid(self.resolution) + 1).saturating_mul(self.resolution);
        // A timer may fire a moment early; the same tick does not come twice for that.
        if self.last == Some(time) {
            time = time.saturating_add(self.resolution);
        }
        let missed = match self.last {
            // A clock that was set back misses nothing.
            Some(last) if time > last => ((time - last) / self.resolution - 1).cast_unsigned(),
            _ => 0,
        };
        self.last = Some(time);
        (Tick { time, missed }, Duration::from_nanos(time.saturating_sub(now).max(0).cast_unsigned()))
    }
}

/// ns since the epoch by the host's clock.
#[must_use]
pub fn now() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(0, |since| i64::try_from(since.as_nanos()).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: i64 = 1_000_000_000;

    #[test]
    fn ticks_come_at_multiples_and_the_missed_are_counted() {
        let mut clock = Clock::new(Duration::from_secs(10), false);
        assert_eq!(clock.next(103 * S), (Tick { time: 110 * S, missed: 0 }, Duration::from_secs(7)));
        assert_eq!(clock.next(110 * S - 5).0, Tick { time: 120 * S, missed: 0 }, "fired early");
        assert_eq!(clock.next(125 * S).0, Tick { time: 130 * S, missed: 0 });
        assert_eq!(clock.next(155 * S).0, Tick { time: 160 * S, missed: 2 });
        assert_eq!(clock.next(42 * S).0, Tick { time: 50 * S, missed: 0 }, "set back");
    }

    #[test]
    fn back_to_back_never_gives_the_same_time_twice() {
        let mut clock = Clock::new(Duration::from_secs(60), true);
        assert_eq!(clock.next(5).0.time, 5);
        assert_eq!(clock.next(5).0.time, 6);
    }
}
