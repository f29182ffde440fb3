//! The query of a model request: `start`, `end`, `labels`. Errors are in Heapster's words, which are
//! those of the library that it read times with.

use jiff::civil::date;
use jiff::tz::Offset;

/// How that library writes down the form of a time.
const LAYOUT: &str = "2006-01-02T15:04:05Z07:00";

/// A query, checked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Query {
    /// First timestamp, ns since the epoch.
    pub start: Option<i128>,
    /// Last timestamp, ns since the epoch.
    pub end: Option<i128>,
    /// All labels of the wanted series' own; none: the series without labels.
    pub labels: Vec<(String, String)>,
}

/// Reads a query.
///
/// # Errors
/// Heapster's text for an answer of 400.
pub fn parse(query: &str) -> Result<Query, String> {
    let (mut found, mut seen) = (Query::default(), [false; 3]);
    for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
        // Of one that stands twice the first counts.
        let Some(which) = ["start", "end", "labels"].iter().position(|known| *known == name) else { continue };
        if std::mem::replace(&mut seen[which], true) || value.is_empty() {
            continue;
        }
        match which {
            0 => found.start = Some(time(&value)?),
            1 => found.end = Some(time(&value)?),
            _ => found.labels = labels(&value)?,
        }
    }
    Ok(found)
}

fn labels(text: &str) -> Result<Vec<(String, String)>, String> {
    let pair = |pair: &str| match pair.split_once(':') {
        Some((name, value)) if !name.is_empty() && !value.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err(format!("invalid label pair {}", quoted(pair))),
    };
    text.split(',').map(pair).collect()
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

fn time(text: &str) -> Result<i128, String> {
    rfc3339(text).map_err(|problem| {
        let problem = match problem {
            Problem::Expected(rest, what) => {
                format!(" as {}: cannot parse {} as {}", quoted(LAYOUT), quoted(rest), quoted(what))
            }
            Problem::OutOfRange(what) => format!(": {what} out of range"),
            Problem::Extra(rest) => format!(": extra text: {}", quoted(rest)),
        };
        format!("timestamp argument cannot be parsed: parsing time {}{problem}", quoted(text))
    })
}

enum Problem<'a> {
    /// The rest, and what should stand there.
    Expected(&'a str, &'static str),
    OutOfRange(&'static str),
    Extra(&'a str),
}

/// ns since the epoch.
fn rfc3339(text: &str) -> Result<i128, Problem<'_>> {
    let mut rest = text;
    let (year, month) = (number(&mut rest, 4, "2006", "-")?, number(&mut rest, 2, "01", "-")?);
    if !(1..=12).contains(&month) {
        return Err(Problem::OutOfRange("month"));
    }
    let (day, hour) = (number(&mut rest, 2, "02", "T")?, number(&mut rest, 2, "15", ":")?);
    let (minute, second) = (number(&mut rest, 2, "04", ":")?, number(&mut rest, 2, "05", "")?);
    for (what, value, bound) in [("hour", hour, 24), ("minute", minute, 60), ("second", second, 60)] {
        if value >= bound {
            return Err(Problem::OutOfRange(what));
        }
    }
    let nanoseconds = fraction(&mut rest);
    let offset = offset(&mut rest)?;
    if !rest.is_empty() {
        return Err(Problem::Extra(rest));
    }
    let narrow = |number: i32| i8::try_from(number).unwrap_or(0);
    let year = i16::try_from(year).unwrap_or(0);
    let in_month = i32::from(date(year, narrow(month), 1).days_in_month());
    if !(1..=in_month).contains(&day) {
        return Err(Problem::OutOfRange("day"));
    }
    let time = date(year, narrow(month), narrow(day)).at(narrow(hour), narrow(minute), narrow(second), 0);
    let here = Offset::UTC.to_timestamp(time).map_or(0, |time| time.as_nanosecond());
    Ok(here + i128::from(nanoseconds) - i128::from(offset) * 1_000_000_000)
}

/// A number of so many digits, and what follows it.
fn number<'a>(rest: &mut &'a str, digits: usize, form: &'static str, after: &'static str) -> Result<i32, Problem<'a>> {
    let own = rest.get(..digits).filter(|own| own.bytes().all(|byte| byte.is_ascii_digit()));
    let value = own.and_then(|own| own.parse().ok()).ok_or(Problem::Expected(rest, form))?;
    *rest = &rest[digits..];
    *rest = rest.strip_prefix(after).ok_or(Problem::Expected(rest, after))?;
    Ok(value)
}

/// What may follow the seconds, ns.
fn fraction(rest: &mut &str) -> i32 {
    let Some(after) = rest.strip_prefix(['.', ',']) else { return 0 };
    let digits = after.bytes().take_while(u8::is_ascii_digit).count();
    if digits == 0 {
        return 0;
    }
    let nine: String = after[..digits].chars().chain("000000000".chars()).take(9).collect();
    *rest = &after[digits..];
    nine.parse().unwrap_or(0)
}

/// Seconds east of Greenwich.
fn offset<'a>(rest: &mut &'a str) -> Result<i32, Problem<'a>> {
    let form = "Z07:00";
    if let Some(after) = rest.strip_prefix('Z') {
        *rest = after;
        return Ok(0);
    }
    let whole = *rest;
    // That library had taken six characters with a colon in the middle before it looked at them.
    let left = if whole.as_bytes().get(3) == Some(&b':') { whole.get(6..).unwrap_or(whole) } else { whole };
    let wrong = Problem::Expected(left, form);
    let (sign, mut inner) = match whole.split_at_checked(1) {
        Some(("+", inner)) => (1, inner),
        Some(("-", inner)) => (-1, inner),
        _ => return Err(wrong),
    };
    let parts = number(&mut inner, 2, form, ":").and_then(|hours| Ok((hours, number(&mut inner, 2, form, "")?)));
    let Ok((hours, minutes)) = parts else { return Err(wrong) };
    if hours > 24 || minutes > 60 {
        return Err(Problem::OutOfRange("time zone offset"));
    }
    *rest = inner;
    Ok(sign * (hours * 3600 + minutes * 60))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_or_refused_in_heapsters_words() {
        let second = 1_000_000_000;
        let refused = |text: &str, why: &str| {
            Err(format!("timestamp argument cannot be parsed: parsing time \"{text}\"{}", why.replace('\'', "\"")))
        };
        for (text, want) in [
            ("1970-01-01T00:00:10Z", Ok(10 * second)),
            ("1970-01-01T02:00:10.5+02:00", Ok(10 * second + second / 2)),
            ("yesterday", refused("yesterday", " as '2006-01-02T15:04:05Z07:00': cannot parse 'yesterday' as '2006'")),
            ("2024-03-01", refused("2024-03-01", " as '2006-01-02T15:04:05Z07:00': cannot parse '' as 'T'")),
            ("1519900000", refused("1519900000", " as '2006-01-02T15:04:05Z07:00': cannot parse '900000' as '-'")),
            (
                "2024-02-01T00:00:00 02:00",
                refused("2024-02-01T00:00:00 02:00", " as '2006-01-02T15:04:05Z07:00': cannot parse '' as 'Z07:00'"),
            ),
            ("2024-02-30T00:00:00Z", refused("2024-02-30T00:00:00Z", ": day out of range")),
            ("2024-02-01T00:00:00Zz", refused("2024-02-01T00:00:00Zz", ": extra text: 'z'")),
            (
                "2024-02-01T00:00:00é",
                refused("2024-02-01T00:00:00é", " as '2006-01-02T15:04:05Z07:00': cannot parse 'é' as 'Z07:00'"),
            ),
        ] {
            assert_eq!(time(text), want, "{text}");
        }
    }

    #[test]
    fn queries_are_read() {
        let labels = |labels: &[(&str, &str)]| labels.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect();
        let query = parse("labels=a:b,c:d:e&x=1&start=").unwrap();
        assert_eq!(query, Query { labels: labels(&[("a", "b"), ("c", "d:e")]), ..Query::default() });
        assert_eq!(parse("labels=a"), Err("invalid label pair \"a\"".to_owned()));
        assert_eq!(parse("start=1970-01-01T00%3A00%3A00Z&start=x").unwrap().start, Some(0));
    }
}
