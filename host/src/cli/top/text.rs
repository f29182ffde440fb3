//! Numbers in few characters, and a drawn screen as text.

use ratatui::buffer::Buffer;
use ratatui::text::Span;

/// `950`, `1.2k`, `34M`.
pub(super) fn count(number: u64) -> String {
    scaled(number as f64, 1000.0, &["", "k", "M", "G", "T"])
}

/// `950B`, `1.2K`, `34M`, in steps of 1024.
pub(super) fn bytes(number: u64) -> String {
    scaled(number as f64, 1024.0, &["B", "K", "M", "G", "T"])
}

/// `12µs`, `1.2ms`, `3.4s`.
pub(super) fn microseconds(number: Option<f64>) -> String {
    match number {
        None => "-".to_owned(),
        Some(us) if us < 1e3 => format!("{us:.0}µs"),
        Some(us) if us < 1e6 => short(us / 1e3, "ms"),
        Some(us) => short(us / 1e6, "s"),
    }
}

/// `950`, `1.2k` of something that is no whole number.
pub(super) fn average(total: u64, cycles: Option<u64>) -> String {
    match cycles {
        Some(cycles) if cycles > 1 => count((total as f64 / cycles as f64).round() as u64),
        _ => count(total),
    }
}

/// `3 d 4 h`, `5 min 6 s`.
pub(super) fn since(seconds: u64) -> String {
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, _) => format!("{minutes} min {} s", seconds % 60),
        (0, ..) => format!("{hours} h {minutes} min"),
        _ => format!("{days} d {hours} h"),
    }
}

fn scaled(mut number: f64, step: f64, units: &[&str]) -> String {
    let mut unit = 0;
    // What is rounded up to a step belongs to the next unit.
    while number + 0.5 >= step && unit + 1 < units.len() {
        number /= step;
        unit += 1;
    }
    if unit == 0 { format!("{number:.0}{}", units[0]) } else { short(number, units[unit]) }
}

fn short(number: f64, unit: &str) -> String {
    if number < 9.95 { format!("{number:.1}{unit}") } else { format!("{number:.0}{unit}") }
}

/// The screen's lines without colours.
pub(super) fn of(buffer: &Buffer) -> String {
    let area = buffer.area;
    let mut text = String::new();
    for y in area.top()..area.bottom() {
        let (mut line, mut covered) = (String::new(), 0);
        for x in area.left()..area.right() {
            let symbol = buffer[(x, y)].symbol();
            // A wide character covers the cell behind it.
            if covered == 0 {
                line.push_str(symbol);
                covered = Span::raw(symbol).width().saturating_sub(1);
            } else {
                covered -= 1;
            }
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_fit_into_six_characters() {
        for (number, want) in
            [(0, "0"), (999, "999"), (1_000, "1.0k"), (9_949, "9.9k"), (999_600, "1.0M"), (34_000_000, "34M")]
        {
            assert_eq!(count(number), want);
        }
        assert_eq!((bytes(1023), bytes(2048), bytes(600 << 20)), ("1023B".into(), "2.0K".into(), "600M".into()));
        for (us, want) in [(None, "-"), (Some(12.4), "12µs"), (Some(1_240.0), "1.2ms"), (Some(5e6), "5.0s")] {
            assert_eq!(microseconds(us), want);
        }
        for (seconds, want) in [(9, "9 s"), (61, "1 min 1 s"), (7_260, "2 h 1 min"), (266_400, "3 d 2 h")] {
            assert_eq!(since(seconds), want);
        }
        assert_eq!((average(10, Some(4)), average(10, None)), ("3".into(), "10".into()));
    }
}
