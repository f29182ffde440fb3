//! RFC 3339 times as nanoseconds since the epoch.

/// `2024-03-01T12:00:15Z` and every other RFC 3339 time; `None` for what is no time, or lies
/// outside the years 1678 to 2261 that 64 bits of nanoseconds can hold (Go's zero time does).
#[must_use]
pub fn parse_timestamp(text: &str) -> Option<i64> {
    whole_seconds_utc(text.as_bytes()).or_else(|| {
        let timestamp = text.parse::<jiff::Timestamp>().ok()?;
        i64::try_from(timestamp.as_nanosecond()).ok()
    })
}

/// The one form that kubelets and API servers write for nearly all of their times.
fn whole_seconds_utc(text: &[u8]) -> Option<i64> {
    let text: &[u8; 20] = text.try_into().ok()?;
    let fixed = text[4] == b'-' && text[7] == b'-' && text[10] == b'T';
    if !(fixed && text[13] == b':' && text[16] == b':' && text[19] == b'Z') {
        return None;
    }
    let (century, year) = (two(text, 0), two(text, 2));
    let (month, day) = (two(text, 5), two(text, 8));
    let (hour, minute, second) = (two(text, 11), two(text, 14), two(text, 17));
    // What is no number is larger than any that is.
    if century.max(year) > 99 || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let year = century * 100 + year;
    if !(1..=12).contains(&month) || !(1..=days_in(year, month)).contains(&day) {
        return None;
    }
    let seconds = days_from_epoch(year, month, day) * 86_400 + i64::from(hour * 3600 + minute * 60 + second);
    seconds.checked_mul(1_000_000_000)
}

/// Two digits as a number; more than 99 if they are none.
fn two(text: &[u8; 20], at: usize) -> u32 {
    let digit = |at: usize| u32::from(text[at].wrapping_sub(b'0'));
    let (tens, ones) = (digit(at), digit(at + 1));
    if tens > 9 || ones > 9 { 100 } else { tens * 10 + ones }
}

fn days_in(year: u32, month: u32) -> u32 {
    let leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    match month {
        2 => 28 + u32::from(leap),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days since 1970-01-01, counting years from March so that the leap day is the last one.
fn days_from_epoch(year: u32, month: u32, day: u32) -> i64 {
    // No year of four digits lies before the era that begins with March of the year -400.
    let year = if month <= 2 { year + 399 } else { year + 400 };
    let (era, year_of_era) = (year / 400, year % 400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    i64::from(era * 146_097 + day_of_era) - 719_468 - 146_097
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read() {
        for (text, want) in [
            ("1970-01-01T00:00:00Z", Some(0)),
            ("1970-01-01T00:00:05Z", Some(5_000_000_000)),
            ("2024-03-01T12:00:15Z", Some(1_709_294_415_000_000_000)),
            ("2024-02-29T23:59:59Z", Some(1_709_251_199_000_000_000)),
            ("2000-02-29T00:00:00Z", Some(951_782_400_000_000_000)),
            ("1969-12-31T23:59:59Z", Some(-1_000_000_000)),
            ("2024-03-01T12:00:15.5Z", Some(1_709_294_415_500_000_000)),
            ("2024-03-01T13:00:15+01:00", Some(1_709_294_415_000_000_000)),
            ("2024-03-01T12:00:15.123456789Z", Some(1_709_294_415_123_456_789)),
            ("0001-01-01T00:00:00Z", None),
            ("9999-12-31T23:59:59Z", None),
            ("2023-02-29T00:00:00Z", None),
            ("2024-13-01T00:00:00Z", None),
            ("2024-00-01T00:00:00Z", None),
            ("2024-03-01T24:00:00Z", None),
            ("2024-03-01T12:60:00Z", None),
            ("2024-03-01 12:00:15", None),
            ("", None),
            ("yesterday", None),
            ("20x4-03-01T12:00:15Z", None),
        ] {
            assert_eq!(parse_timestamp(text), want, "`{text}`");
        }
    }
}
