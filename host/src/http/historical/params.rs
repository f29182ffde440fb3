//! The query of a historical request: `start`, `end`, `labels` as in the model API, and `bucket`.

use std::time::Duration;

use crate::http::model::query;

/// Buckets of one answer, of all its entities.
const MAX_BUCKETS: u128 = 100_000;
/// Buckets of one entity.
const MAX_OWN_BUCKETS: u128 = 10_000;
/// The times that InfluxDB can hold, ns since the epoch.
const TIMES: (i64, i64) = (i64::MIN + 2, i64::MAX - 1);

/// A query, checked.
#[derive(Debug, PartialEq, Eq)]
pub struct Params {
    /// First timestamp, ns since the epoch.
    pub start: i64,
    /// Last timestamp, ns since the epoch.
    pub end: i64,
    /// Labels of the wanted series' own.
    pub labels: Vec<(String, String)>,
    /// Length of a bucket, whole milliseconds; `None`: all is one.
    pub bucket: Option<Duration>,
}

/// Reads a query; `now` (ns since the epoch) is the end where it names none.
///
/// # Errors
/// Text for an answer of 400.
pub fn parse(query: &str, now: i64) -> Result<Params, String> {
    let found = query::parse(query)?;
    let Some(start) = found.start.filter(|start| *start >= i128::from(TIMES.0)) else {
        return Err("no start time (or a start time of zero) provided".to_owned());
    };
    let narrow = |time: i128| i64::try_from(time).unwrap_or(TIMES.1).clamp(TIMES.0, TIMES.1);
    let before = |time: i128| if time < 0 { time.max(i128::from(TIMES.0)) } else { time };
    if found.labels.iter().any(|(name, value)| name.contains(char::is_control) || value.contains(char::is_control)) {
        return Err("labels can't hold control characters".to_owned());
    }
    let mut pairs = url::form_urlencoded::parse(query.as_bytes());
    let bucket = pairs.find(|(name, _)| name == "bucket").map(|(_, text)| bucket(&text)).transpose()?;
    Ok(Params {
        start: narrow(start),
        end: found.end.map_or(now, |end| narrow(before(end))),
        labels: found.labels,
        bucket: bucket.flatten(),
    })
}

/// A bucket such as `10s`; one of nothing is none, as in Heapster.
fn bucket(text: &str) -> Result<Option<Duration>, String> {
    let wrong = || {
        let text = serde_json::Value::from(text);
        format!("unable to parse bucket size: {text} is no number with one of the units ms, s, m, h, d")
    };
    if text.is_empty() {
        return Ok(None);
    }
    let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
    let unit = match text.get(digits.len()..) {
        Some("ms") => 1,
        Some("s") => 1_000,
        Some("m") => 60_000,
        Some("h") => 3_600_000,
        Some("d") => 86_400_000,
        _ => return Err(wrong()),
    };
    let is_number = digits.bytes().all(|byte| byte.is_ascii_digit());
    let number: u64 = digits.parse().ok().filter(|_| is_number).ok_or_else(wrong)?;
    let length = number.checked_mul(unit).map(Duration::from_millis);
    // A length in nanoseconds is what the answer says.
    let length = length.filter(|length| i64::try_from(length.as_nanos()).is_ok()).ok_or_else(wrong)?;
    Ok((!length.is_zero()).then_some(length))
}

impl Params {
    /// Refuses more buckets than are answered for so many entities.
    ///
    /// # Errors
    /// Text for an answer of 400.
    pub fn check_buckets(&self, entities: usize) -> Result<(), String> {
        let Some(bucket) = self.bucket else { return Ok(()) };
        let span = u128::try_from(i128::from(self.end) - i128::from(self.start)).unwrap_or(0);
        let buckets = span / bucket.as_nanos() + 1;
        let most = (MAX_BUCKETS / (entities.max(1) as u128)).min(MAX_OWN_BUCKETS);
        if buckets > most {
            return Err(format!(
                "{buckets} buckets from start to end are too many, {most} are the most here; \
                 use a larger bucket or a shorter time, or ask for fewer pods"
            ));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_are_read() {
        let params = parse("start=1970-01-01T00:00:01Z&bucket=5m&bucket=x&labels=a:b", 9).unwrap();
        let want = Params {
            start: 1_000_000_000,
            end: 9,
            labels: vec![("a".to_owned(), "b".to_owned())],
            bucket: Some(Duration::from_secs(300)),
        };
        assert_eq!(params, want);
        // Years that InfluxDB does not know.
        let far = parse("start=1970-01-01T00:00:01Z&end=9999-01-01T00:00:00Z", 9).unwrap();
        assert_eq!(far.end, TIMES.1);
        assert_eq!(parse("start=1970-01-01T00:00:01Z&end=0001-01-01T00:00:00Z", 9).unwrap().end, TIMES.0);
    }

    #[test]
    fn a_query_without_a_start_is_refused_as_heapster_did() {
        for query in ["", "end=2024-01-01T00:00:00Z", "start=", "start=0001-01-01T00:00:00Z"] {
            assert_eq!(parse(query, 0), Err("no start time (or a start time of zero) provided".to_owned()), "{query}");
        }
        assert!(parse("start=2024-01-01T00:00:00Z&labels=a:%00", 0).is_err());
        assert!(parse("start=yesterday", 0).is_err());
    }

    #[test]
    fn buckets_are_numbers_with_a_unit() {
        for (text, want) in [
            ("10s", Ok(Some(10_000))),
            ("250ms", Ok(Some(250))),
            ("5m", Ok(Some(300_000))),
            ("1h", Ok(Some(3_600_000))),
            ("1d", Ok(Some(86_400_000))),
            ("0s", Ok(None)),
            ("", Ok(None)),
            ("s", Err(())),
            ("10", Err(())),
            ("1y", Err(())),
            ("-1s", Err(())),
            ("1.5s", Err(())),
            ("+1s", Err(())),
            ("1 s", Err(())),
            ("1é", Err(())),
            ("99999999999999999999s", Err(())),
            ("9999999999d", Err(())),
        ] {
            let got = bucket(text).map(|length| length.map(|length| length.as_millis())).map_err(|_| ());
            assert_eq!(got, want, "{text}");
        }
    }

    #[test]
    fn there_is_an_end_of_buckets() {
        let second = 1_000_000_000;
        let params = |end, bucket| Params { start: 0, end, labels: Vec::new(), bucket };
        for (end, bucket, entities, good) in [
            (9_999 * second, Some(1), 1, true),
            (10_000 * second, Some(1), 1, false),
            (9_999 * second, Some(1), 100, false),
            (TIMES.1, None, 500, true),
            (-second, Some(1), 1, true),
            (TIMES.1, Some(1), 1, false),
        ] {
            let params = params(end, bucket.map(Duration::from_secs));
            assert_eq!(params.check_buckets(entities).is_ok(), good, "{params:?} {entities}");
        }
    }
}
