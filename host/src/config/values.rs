//! Texts that stand for something else: durations in three spellings, sizes, truth values.
//! Pure; knows neither keys nor problems. Each error is the remedy.

use std::time::Duration;

const GO_UNITS: &[(&str, u64)] = &[
    ("ns", 1),
    ("us", 1_000),
    ("µs", 1_000),
    ("μs", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
];
/// Largest first, as [`retention_text`] needs them.
const INFLUX_UNITS: &[(&str, u64)] = &[
    ("w", 604_800_000_000_000),
    ("d", 86_400_000_000_000),
    ("h", 3_600_000_000_000),
    ("m", 60_000_000_000),
    ("s", 1_000_000_000),
    ("ms", 1_000_000),
    ("u", 1_000),
    ("µ", 1_000),
    ("ns", 1),
];
/// Up to this a retention is written in days, nanoseconds.
const MOST_DAYS: u64 = 60 * 86_400_000_000_000;
const BYTE_UNITS: &[(&str, u64)] = &[
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("TB", 1_000_000_000_000),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("kB", 1_000),
    ("KB", 1_000),
    ("B", 1),
    ("", 1),
];

/// A duration as Go writes it: `1m30s`, `500ms`, `1.5h`.
pub fn go_duration(text: &str) -> Option<Duration> {
    if text == "0" {
        return Some(Duration::ZERO);
    }
    compound(text, GO_UNITS)
}

/// How long InfluxDB keeps points: `7d`, `1w2d`, `0` and `INF` for ever (the inner `None`).
pub fn retention(text: &str) -> Option<Option<Duration>> {
    if text.eq_ignore_ascii_case("inf") {
        return Some(None);
    }
    let kept = if text == "0" { Duration::ZERO } else { compound(text, INFLUX_UNITS)? };
    Some((!kept.is_zero()).then_some(kept))
}

/// A retention as InfluxQL writes it, in one unit: `INF`, `30d`, `52w`, `36h`.
pub fn retention_text(kept: Option<Duration>) -> String {
    let Some(kept) = kept else {
        return "INF".to_owned();
    };
    let kept = u64::try_from(kept.as_nanos()).unwrap_or(u64::MAX);
    // As people say it: four weeks are 28 days, and a year is 52 weeks.
    let weeks = kept > MOST_DAYS;
    let unit =
        INFLUX_UNITS.iter().filter(|(unit, _)| weeks || *unit != "w").find(|(_, nanos)| kept.is_multiple_of(*nanos));
    unit.map_or_else(|| format!("{kept}ns"), |(unit, nanos)| format!("{}{unit}", kept / nanos))
}

/// A size: `64MiB`, `8MB`, `1000`.
pub fn bytes(text: &str) -> Option<u64> {
    let text = text.trim();
    let (number, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()));
    let &(_, factor) = BYTE_UNITS.iter().find(|(name, _)| *name == unit.trim_start())?;
    number.parse::<u64>().ok()?.checked_mul(factor)
}

/// A size in the largest unit that divides it.
pub fn bytes_text(bytes: u64) -> String {
    match BYTE_UNITS.iter().find(|(_, factor)| bytes >= *factor && bytes.is_multiple_of(*factor)) {
        Some((unit, factor)) => format!("{}{unit}", bytes / factor),
        None => format!("{bytes}B"),
    }
}

/// A duration as [`humantime`] reads it.
pub fn duration_text(duration: Duration) -> String {
    humantime::format_duration(duration).to_string()
}

/// The root of a server without the slash that `Url` puts at its end.
pub fn url_text(url: &url::Url) -> String {
    url.as_str().trim_end_matches('/').to_owned()
}

/// Go's `strconv.ParseBool`, which Heapster's options and flags go through.
pub fn go_bool(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

/// Numbers with units, one after the other; fractions as Go allows them.
fn compound(text: &str, units: &[(&str, u64)]) -> Option<Duration> {
    let mut rest = text;
    let mut total: u64 = 0;
    while !rest.is_empty() {
        let number_end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, after) = rest.split_at(number_end);
        let unit_end = after.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(after.len());
        let (unit, after) = after.split_at(unit_end);
        let &(_, nanos) = units.iter().find(|(name, _)| *name == unit)?;
        total = total.checked_add(scaled(number, nanos)?)?;
        rest = after;
    }
    (!text.is_empty()).then(|| Duration::from_nanos(total))
}

/// `number` × `nanos`, where the number may have a fraction.
fn scaled(number: &str, nanos: u64) -> Option<u64> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() && fraction.is_empty() || fraction.len() > 15 {
        return None;
    }
    let digits = |text: &str| {
        if text.is_empty() { Some(0) } else { text.parse::<u64>().ok() }
    };
    let scale = 10_u128.pow(u32::try_from(fraction.len()).ok()?);
    let part = u64::try_from(u128::from(digits(fraction)?) * u128::from(nanos) / scale).ok()?;
    digits(whole)?.checked_mul(nanos)?.checked_add(part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn go_durations_are_read() {
        for (text, want) in [
            ("1m30s", Some(90_000)),
            ("500ms", Some(500)),
            ("1.5h", Some(5_400_000)),
            (".5s", Some(500)),
            ("0", Some(0)),
            ("10", None),
            ("", None),
            ("s", None),
            (".s", None),
            ("-5s", None),
            ("1.2.3s", None),
            ("99999999999999h", None),
        ] {
            assert_eq!(go_duration(text), want.map(Duration::from_millis), "{text}");
        }
    }

    #[test]
    fn retentions_are_read_and_written() {
        let day = Duration::from_secs(86_400);
        for (text, want) in [
            ("0", Some(None)),
            ("0s", Some(None)),
            ("INF", Some(None)),
            ("7d", Some(Some(day * 7))),
            ("52w", Some(Some(day * 364))),
            ("1d12h", Some(Some(day + day / 2))),
            ("7 days", None),
            ("forever", None),
        ] {
            assert_eq!(retention(text), want, "{text}");
            if let Some(kept) = want {
                assert_eq!(retention(&retention_text(kept)), Some(kept), "{text} again");
            }
        }
    }

    #[test]
    fn retentions_are_written_as_people_say_them() {
        for text in ["7d", "28d", "30d", "90d", "365d", "52w", "36h", "90m", "1d", "INF"] {
            assert_eq!(retention_text(retention(text).unwrap()), text);
        }
        assert_eq!(retention_text(retention("1w2d").unwrap()), "9d");
    }

    #[test]
    fn sizes_are_read_and_written() {
        for (text, want) in [
            ("64MiB", Some(64 << 20)),
            ("8MB", Some(8_000_000)),
            ("8 MB", Some(8_000_000)),
            ("1000", Some(1000)),
            ("1001B", Some(1001)),
            ("", None),
            ("MiB", None),
            ("1.5GiB", None),
            ("-1", None),
            ("99999999999TiB", None),
        ] {
            assert_eq!(bytes(text), want, "{text}");
            if let Some(size) = want {
                assert_eq!(bytes(&bytes_text(size)), Some(size), "{text} again");
            }
        }
    }
}
