//! The time of the simulated cluster, in whole seconds as the kubelets know it.
//!
//! Everything the cluster shows is a function of this time. It does not pace real waiting: time-outs, slow answers and
//! bookmarks run by the machine's own clock.

use std::{
    sync::atomic::{AtomicI64, Ordering},
    time::{SystemTime, UNIX_EPOCH},
};

/// Where the time comes from.
#[derive(Debug)]
pub(super) struct Clock {
    frozen: bool,
    /// Seconds since 1970 when frozen, seconds added to the wall clock otherwise.
    value: AtomicI64,
}

impl Clock {
    /// Runs with the machine's clock; [`Clock::advance`] puts it ahead.
    pub(super) fn wall() -> Self {
        Self { frozen: false, value: AtomicI64::new(0) }
    }

    /// Stands at `unix_secs` until advanced.
    pub(super) fn frozen(unix_secs: i64) -> Self {
        Self { frozen: true, value: AtomicI64::new(unix_secs) }
    }

    /// Now, in seconds since 1970.
    pub(super) fn now(&self) -> i64 {
        let value = self.value.load(Ordering::SeqCst);
        if self.frozen { value } else { value + wall_secs() }
    }

    /// Moves the time ahead.
    pub(super) fn advance(&self, secs: u32) {
        self.value.fetch_add(i64::from(secs), Ordering::SeqCst);
    }
}

fn wall_secs() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |past| i64::try_from(past.as_secs()).unwrap_or(0))
}

/// Writes RFC 3339 with whole seconds and `Z`, as a kubelet does; remembers the day, since a body has thousands of times
/// and one day.
#[derive(Debug)]
pub(super) struct TimeText {
    day: i64,
    text: [u8; 20],
}

impl TimeText {
    pub(super) fn new() -> Self {
        Self { day: i64::MIN, text: *b"1970-01-01T00:00:00Z" }
    }

    /// The text of `unix_secs`; times before 1970 read as 1970.
    pub(super) fn of(&mut self, unix_secs: i64) -> &[u8; 20] {
        let secs = unix_secs.max(0);
        let (day, second) = (secs / 86_400, secs % 86_400);
        if day != self.day {
            self.day = day;
            self.write_day(day);
        }
        for (at, part) in [(11, second / 3600), (14, second / 60 % 60), (17, second % 60)] {
            self.two_digits(at, part);
        }
        &self.text
    }

    /// The same as an owned string.
    pub(super) fn string(&mut self, unix_secs: i64) -> String {
        String::from_utf8_lossy(self.of(unix_secs)).into_owned()
    }

    /// Civil date from days since 1970 (Howard Hinnant's `civil_from_days`, for days from 0 on).
    fn write_day(&mut self, day: i64) {
        let shifted = day + 719_468;
        let era = shifted / 146_097;
        let day_of_era = shifted % 146_097;
        let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let month_from_march = (5 * day_of_year + 2) / 153;
        let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
        let year = year_of_era + era * 400 + i64::from(month <= 2);
        self.two_digits(0, year / 100 % 100);
        self.two_digits(2, year % 100);
        self.two_digits(5, month);
        self.two_digits(8, day_of_year - (153 * month_from_march + 2) / 5 + 1);
    }

    fn two_digits(&mut self, at: usize, value: i64) {
        let value = u8::try_from(value).unwrap_or(0);
        self.text[at] = b'0' + value / 10 % 10;
        self.text[at + 1] = b'0' + value % 10;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_read_as_rfc_3339() {
        let mut text = TimeText::new();
        for (secs, want) in [
            (0, "1970-01-01T00:00:00Z"),
            (-5, "1970-01-01T00:00:00Z"),
            (951_782_399, "2000-02-28T23:59:59Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_767_225_600, "2026-01-01T00:00:00Z"),
            (4_102_444_799, "2099-12-31T23:59:59Z"),
        ] {
            assert_eq!(text.string(secs), want);
            assert_eq!(want.parse::<jiff::Timestamp>().unwrap().as_second(), secs.max(0), "{want}");
        }
    }

    #[test]
    fn frozen_clock_moves_only_when_told() {
        let clock = Clock::frozen(100);
        clock.advance(7);
        assert_eq!(clock.now(), 107);
    }
}
