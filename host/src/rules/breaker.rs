//! When a rule that goes on failing is left alone for a while: each failure costs a new instance,
//! and a call that runs into its time-out costs a second.

/// So many failures in a row open it.
const FAILURES: u32 = 5;
/// It is tried again after so many cycles at the latest.
const LONGEST_REST: u64 = 30;

/// Closed until the rule fails five times in a row. Then it is open for 1, 2, 4 … at most 30 cycles;
/// after each of these rests one call decides.
#[derive(Debug, Default)]
pub(super) struct Breaker {
    /// Failures without a success between them.
    in_a_row: u32,
    /// Cycles of the last rest; 0 once the rule has got through a cycle without failing.
    rest: u64,
    /// While it is open, the cycle of the next attempt.
    retry_in: Option<u64>,
}

impl Breaker {
    /// Whether the rule is left alone in this cycle.
    pub(super) fn is_open(&self, cycle: u64) -> bool {
        self.retry_in.is_some_and(|retry| cycle < retry)
    }

    /// While it is open, the cycle in which the rule is tried again.
    pub(super) fn retry_in(&self) -> Option<u64> {
        self.retry_in
    }

    /// Counts a failure. If it opens, the number of cycles until the next attempt.
    pub(super) fn failed(&mut self, cycle: u64) -> Option<u64> {
        self.in_a_row = self.in_a_row.saturating_add(1);
        if self.retry_in.is_none() && self.in_a_row < FAILURES {
            return None;
        }
        self.rest = (self.rest * 2).clamp(1, LONGEST_REST);
        self.retry_in = Some(cycle + self.rest);
        Some(self.rest)
    }

    /// Closes it; whether it was open.
    pub(super) fn succeeded(&mut self) -> bool {
        self.in_a_row = 0;
        self.retry_in.take().is_some()
    }

    /// The rule has got through a cycle without failing.
    pub(super) fn good_cycle(&mut self) {
        if self.retry_in.is_none() {
            self.rest = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rests_grow_from_1_to_30_cycles_and_one_call_decides_after_each() {
        let mut breaker = Breaker::default();
        for _ in 0..4 {
            assert_eq!(breaker.failed(1), None);
        }
        let (mut cycle, mut rests) = (1, Vec::new());
        for _ in 0..7 {
            let rest = breaker.failed(cycle).unwrap();
            rests.push(rest);
            assert!(breaker.is_open(cycle) && breaker.is_open(cycle + rest - 1) && !breaker.is_open(cycle + rest));
            cycle += rest;
        }
        assert_eq!(rests, [1, 2, 4, 8, 16, 30, 30]);
        assert!(breaker.succeeded() && !breaker.is_open(cycle));
    }

    #[test]
    fn a_success_between_failures_keeps_it_closed() {
        let mut breaker = Breaker::default();
        for _ in 0..20 {
            (0..4).for_each(|_| assert_eq!(breaker.failed(1), None));
            assert!(!breaker.succeeded());
        }
    }

    #[test]
    fn who_fails_again_at_once_rests_longer_and_who_gets_through_a_cycle_begins_anew() {
        let mut breaker = Breaker::default();
        let fail = |breaker: &mut Breaker, cycle| (0..5).filter_map(|_| breaker.failed(cycle)).next_back();
        assert_eq!(fail(&mut breaker, 1), Some(1));
        assert!(breaker.succeeded());
        assert_eq!(fail(&mut breaker, 2), Some(2), "it flaps");
        assert!(breaker.succeeded());
        breaker.good_cycle();
        assert_eq!(fail(&mut breaker, 9), Some(1));
    }
}
