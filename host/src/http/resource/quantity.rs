//! Numbers and times as Kubernetes writes them: quantities in their canonical form, durations and
//! timestamps as Go prints them.

/// CPU, canonical: `1250m`, `2`, `1k`.
pub fn cpu(millicores: i64) -> String {
    decimal(millicores, 0)
}

/// Memory, canonical: `2359300Ki`, `512Mi`, `1000`.
pub fn memory(bytes: i64) -> String {
    // Kubernetes writes what is below 1 Ki as a plain number.
    if bytes > -1024 && bytes < 1024 {
        return decimal(bytes, 1);
    }
    let (mut amount, mut place) = (bytes, 0);
    while amount % 1024 == 0 && place + 1 < BINARY.len() {
        amount /= 1024;
        place += 1;
    }
    format!("{amount}{}", BINARY[place])
}

const BINARY: [&str; 7] = ["", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"];
/// From thousandths on.
const DECIMAL: [&str; 8] = ["m", "", "k", "M", "G", "T", "P", "E"];

/// The fewest digits without a fraction; `place` is the suffix that the amount begins with.
fn decimal(mut amount: i64, mut place: usize) -> String {
    if amount == 0 {
        return "0".to_owned();
    }
    while amount % 1000 == 0 && place + 1 < DECIMAL.len() {
        amount /= 1000;
        place += 1;
    }
    format!("{amount}{}", DECIMAL[place])
}

/// A window, ns: `1m0s`, `10s`, `1.5s`, `500ms`.
pub fn duration(ns: i64) -> String {
    let ns = ns.max(0);
    let (seconds, fraction) = (ns / 1_000_000_000, ns % 1_000_000_000);
    if seconds == 0 {
        return match fraction {
            0 => "0s".to_owned(),
            1..1_000 => format!("{fraction}ns"),
            1_000..1_000_000 => format!("{}µs", with_fraction(fraction / 1_000, fraction % 1_000, 3)),
            _ => format!("{}ms", with_fraction(fraction / 1_000_000, fraction % 1_000_000, 6)),
        };
    }
    let (hours, minutes) = (seconds / 3600, seconds / 60 % 60);
    let rest = with_fraction(seconds % 60, fraction, 9);
    match (hours, minutes) {
        (0, 0) => format!("{rest}s"),
        (0, _) => format!("{minutes}m{rest}s"),
        _ => format!("{hours}h{minutes}m{rest}s"),
    }
}

fn with_fraction(whole: i64, fraction: i64, digits: usize) -> String {
    if fraction == 0 {
        return whole.to_string();
    }
    let fraction = format!("{fraction:0digits$}");
    format!("{whole}.{}", fraction.trim_end_matches('0'))
}

/// A timestamp in whole seconds, RFC 3339; `ns` since the epoch.
pub fn timestamp(ns: i64) -> String {
    let time = jiff::Timestamp::from_second(ns.div_euclid(1_000_000_000)).unwrap_or_default();
    time.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_are_canonical() {
        for (millicores, want) in [
            (0, "0"),
            (1, "1m"),
            (1250, "1250m"),
            (2000, "2"),
            (1_500_000, "1500"),
            (1_000_000, "1k"),
            (-950, "-950m"),
            (i64::MAX, "9223372036854775807m"),
        ] {
            assert_eq!(cpu(millicores), want, "{millicores}");
        }
        for (bytes, want) in [
            (0, "0"),
            (1000, "1k"),
            (1023, "1023"),
            (1024, "1Ki"),
            (1025, "1025"),
            (4096, "4Ki"),
            (512 << 20, "512Mi"),
            (2_359_300 << 10, "2359300Ki"),
            (1 << 60, "1Ei"),
            (i64::MIN, "-8Ei"),
        ] {
            assert_eq!(memory(bytes), want, "{bytes}");
        }
    }

    #[test]
    fn times_are_as_go_prints_them() {
        for (ns, want) in [
            (0, "0s"),
            (15, "15ns"),
            (1_500, "1.5µs"),
            (500_000_000, "500ms"),
            (10_000_000_000, "10s"),
            (20_050_000_000, "20.05s"),
            (60_000_000_000, "1m0s"),
            (3_661_000_000_000, "1h1m1s"),
        ] {
            assert_eq!(duration(ns), want, "{ns}");
        }
        assert_eq!(timestamp(1_795_252_080_999_000_000), "2026-11-21T09:08:00Z");
    }
}
