//! InfluxDB's answers, read and made into Heapster's. Pure.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::{Number, Value as Json};

use super::params::Params;
use super::route::Function;
use crate::batch::Value;
use crate::http::model::answer::{MetricPoint, MetricResult, NO_TIME, rfc3339};
use crate::text::tame;

/// No more than this of an error is passed on, bytes.
const MAX_REASON: usize = 512;

/// What one statement gave, if anything.
#[derive(Debug, Deserialize)]
pub struct Rows {
    #[serde(default)]
    name: String,
    #[serde(default)]
    columns: Vec<String>,
    #[serde(default)]
    values: Vec<Vec<Json>>,
    /// The server itself cut it off.
    #[serde(default)]
    partial: bool,
}

/// Why an answer is of no use.
#[derive(Debug, PartialEq, Eq)]
pub enum Useless {
    /// The server's fault, or that of its settings.
    Broken(String),
    /// There is more than is answered; the bound of one entity.
    TooMany(usize),
}

/// Takes the server's answer apart: the rows of each statement.
///
/// # Errors
/// [`Useless::Broken`] where the server refused a statement, or this is no answer to so many.
pub fn read(body: &[u8], statements: usize) -> Result<Vec<Vec<Rows>>, Useless> {
    #[derive(Deserialize)]
    struct Answer {
        #[serde(default)]
        results: Vec<Statement>,
        error: Option<String>,
    }
    #[derive(Deserialize)]
    struct Statement {
        #[serde(default)]
        series: Vec<Rows>,
        error: Option<String>,
    }
    let broken = |reason: &str| Useless::Broken(reason.to_owned());
    let answer: Answer =
        serde_json::from_slice(body).map_err(|_| broken("its answer is not that of InfluxDB 1.x; check `url`"))?;
    let refused = answer.error.or_else(|| answer.results.iter().find_map(|one| one.error.clone()));
    if let Some(refused) = refused {
        return Err(Useless::Broken(tame(&refused, MAX_REASON)));
    }
    if answer.results.iter().flat_map(|one| &one.series).any(|rows| rows.partial) {
        return Err(broken("it cut its answer off; its `max-row-limit` is too small for this"));
    }
    if answer.results.len() != statements {
        return Err(broken("it answered another number of statements than it was asked"));
    }
    Ok(answer.results.into_iter().map(|one| one.series).collect())
}

/// The values of a metric, `most` at most.
///
/// # Errors
/// [`Useless`].
pub fn values(rows: &[Rows], most: usize) -> Result<MetricResult, Useless> {
    let rows = rows_of(rows, most)?;
    let numbers: Vec<(i64, &Number)> = rows.iter().filter_map(|row| Some((time(row)?, number(row, 1)?))).collect();
    let are_ints = numbers.iter().all(|(_, number)| number.is_i64());
    let value = |number: &Number| match number.as_i64().filter(|_| are_ints) {
        Some(int) => Value::Int(int),
        None => Value::Float(number.as_f64().unwrap_or_default()),
    };
    let metrics = numbers.iter().map(|(time, number)| MetricPoint::new(*time, value(number))).collect();
    let latest = numbers.iter().map(|(time, _)| *time).max();
    Ok(MetricResult { metrics, latest: latest.map_or_else(|| NO_TIME.to_owned(), rfc3339) })
}

/// What became of a metric's values.
#[derive(Debug, Clone, Serialize)]
pub struct Aggregated {
    buckets: Vec<Bucket>,
    /// ns; 0 where all is one bucket.
    #[serde(rename = "bucketSize")]
    size: u64,
}

/// One bucket, with what was asked for.
#[derive(Debug, Clone, Default, Serialize)]
struct Bucket {
    timestamp: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    count: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    average: Option<Aggregate>,
    #[serde(skip_serializing_if = "Option::is_none")]
    maximum: Option<Aggregate>,
    #[serde(skip_serializing_if = "Option::is_none")]
    minimum: Option<Aggregate>,
    #[serde(skip_serializing_if = "Option::is_none")]
    median: Option<Aggregate>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    percentiles: BTreeMap<String, Aggregate>,
}

/// A number; of one kind in all buckets of an answer.
#[derive(Debug, Clone, Copy, Serialize)]
enum Aggregate {
    #[serde(rename = "intValue")]
    Int(i64),
    #[serde(rename = "floatValue")]
    Float(f64),
}

/// Buckets, `most` at most.
///
/// # Errors
/// [`Useless`].
pub fn aggregated(rows: &[Rows], functions: &[Function], params: &Params, most: usize) -> Result<Aggregated, Useless> {
    let rows = rows_of(rows, most)?;
    let mut buckets = Vec::with_capacity(rows.len());
    let columns = 1..=functions.len();
    let are_ints: Vec<bool> =
        columns.map(|column| rows.iter().all(|row| number(row, column).is_none_or(Number::is_i64))).collect();
    for row in rows {
        // Of the largest value alone the server gives that value's own time.
        let Some(time) = (if params.bucket.is_some() { time(row) } else { Some(params.start) }) else { continue };
        let mut bucket = Bucket { timestamp: rfc3339(time), ..Bucket::default() };
        for (place, function) in functions.iter().enumerate() {
            let Some(number) = number(row, place + 1) else { continue };
            let value = match number.as_i64().filter(|_| are_ints[place]) {
                Some(int) => Aggregate::Int(int),
                None => Aggregate::Float(number.as_f64().unwrap_or_default()),
            };
            match function {
                Function::Count => bucket.count = number.as_u64(),
                Function::Average => bucket.average = Some(value),
                Function::Max => bucket.maximum = Some(value),
                Function::Min => bucket.minimum = Some(value),
                Function::Median => bucket.median = Some(value),
                Function::Percentile(percent) => {
                    bucket.percentiles.insert(percent.to_string(), value);
                }
            }
        }
        buckets.push(bucket);
    }
    let size = params.bucket.map_or(0, |bucket| u64::try_from(bucket.as_nanos()).unwrap_or(u64::MAX));
    Ok(Aggregated { buckets, size })
}

/// The names that a tag has, sorted, `most` at most.
///
/// # Errors
/// [`Useless`].
pub fn names(rows: &[Rows], most: usize) -> Result<BTreeSet<String>, Useless> {
    let mut names = BTreeSet::new();
    for rows in rows {
        let rows = rows_of(std::slice::from_ref(rows), most)?;
        names.extend(rows.iter().filter_map(|row| row.get(1)?.as_str()).map(str::to_owned));
    }
    Ok(names)
}

/// The metrics that have a last value, sorted.
pub fn metrics(rows: &[Rows], with_fields: bool) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for Rows { name, columns, values, .. } in rows {
        for (place, column) in columns.iter().enumerate() {
            let has_value = values.iter().any(|row| row.get(place).is_some_and(Json::is_number));
            match column.strip_prefix("last_").filter(|_| has_value) {
                Some("value") => {
                    names.insert(name.clone());
                }
                Some(field) if with_fields => {
                    names.insert(format!("{name}/{field}"));
                }
                _ => {}
            }
        }
    }
    names
}

fn rows_of(rows: &[Rows], most: usize) -> Result<&[Vec<Json>], Useless> {
    let rows = rows.first().map_or(&[][..], |rows| &rows.values);
    if rows.len() > most { Err(Useless::TooMany(most)) } else { Ok(rows) }
}

/// ns since the epoch.
fn time(row: &[Json]) -> Option<i64> {
    row.first()?.as_i64()
}

fn number(row: &[Json], column: usize) -> Option<&Number> {
    match row.get(column)? {
        Json::Number(number) => Some(number),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::json;

    use super::*;

    fn params(bucket: Option<Duration>) -> Params {
        Params { start: 0, end: 9, labels: Vec::new(), bucket }
    }

    fn rows(columns: &[&str], values: &Json) -> Vec<Rows> {
        let body = json!({ "results": [{ "series": [{ "name": "m", "columns": columns, "values": values }] }] });
        read(body.to_string().as_bytes(), 1).unwrap().remove(0)
    }

    #[test]
    fn values_are_those_of_the_model_api() {
        let second = 1_000_000_000_i64;
        let ints = rows(&["time", "value"], &json!([[second, 5], [2 * second, -1], [3 * second, null]]));
        assert_eq!(
            json!(values(&ints, 3).unwrap()),
            json!({ "metrics": [{ "timestamp": "1970-01-01T00:00:01Z", "value": 5 },
                                { "timestamp": "1970-01-01T00:00:02Z", "value": 0 }],
                    "latestTimestamp": "1970-01-01T00:00:02Z" })
        );
        let floats = rows(&["time", "value"], &json!([[second, 1], [2 * second, 2.5]]));
        let floats = json!(values(&floats, 3).unwrap());
        assert_eq!((&floats["metrics"][0]["floatValue"], &floats["metrics"][1]["value"]), (&json!(1.0), &json!(2)));
        assert_eq!(json!(values(&[], 3).unwrap()), json!({ "metrics": [], "latestTimestamp": NO_TIME }));
        assert_eq!(values(&ints, 2).unwrap_err(), Useless::TooMany(2));
    }

    #[test]
    fn buckets_have_what_was_asked_for() {
        use Function::{Average, Count, Max, Percentile};
        let found =
            rows(&["time", "mean", "max", "count", "percentile"], &json!([[0, 1.5, 2, 2, 2], [60, 3, 3, 1, null]]));
        let minutes = params(Some(Duration::from_secs(60)));
        assert_eq!(
            json!(aggregated(&found, &[Average, Max, Count, Percentile(95)], &minutes, 9).unwrap()),
            json!({ "bucketSize": 60_000_000_000_i64, "buckets": [
                { "timestamp": "1970-01-01T00:00:00Z", "average": { "floatValue": 1.5 }, "maximum": { "intValue": 2 },
                  "count": 2, "percentiles": { "95": { "intValue": 2 } } },
                { "timestamp": "1970-01-01T00:00:00.00000006Z", "average": { "floatValue": 3.0 },
                  "maximum": { "intValue": 3 }, "count": 1 },
            ] })
        );
        assert_eq!(
            json!(aggregated(&[], &[Max], &params(None), 9).unwrap()),
            json!({ "buckets": [], "bucketSize": 0 })
        );
    }

    #[test]
    fn names_of_metrics_are_put_together() {
        let found = rows(&["time", "last_usage", "last_value", "last_other"], &json!([[0, 1, 2.5, null]]));
        assert_eq!(metrics(&found, true).into_iter().collect::<Vec<_>>(), ["m", "m/usage"]);
        assert_eq!(metrics(&found, false).into_iter().collect::<Vec<_>>(), ["m"]);
    }

    #[test]
    fn answers_of_no_use_say_why() {
        for (body, want) in [
            ("<html>", "InfluxDB 1.x"),
            ("{\"error\":\"authorization failed\"}", "authorization failed"),
            ("{\"results\":[{\"error\":\"database not found: k8s\"}]}", "database not found: k8s"),
            ("{\"results\":[]}", "another number"),
            ("{\"results\":[{\"series\":[{\"name\":\"m\",\"partial\":true}]}]}", "max-row-limit"),
            ("[]", "InfluxDB 1.x"),
        ] {
            let Err(Useless::Broken(text)) = read(body.as_bytes(), 1) else { panic!("{body}") };
            assert!(text.contains(want), "{text}");
        }
        // What is not as expected is nothing, and no harm.
        let odd =
            rows(&["time", "value"], &json!([[], ["x", 1], [1], [1, "x"], [9_223_372_036_854_775_807_u64, 1.0e300]]));
        assert!(values(&odd, 9).is_ok() && aggregated(&odd, &[Function::Count], &params(None), 9).is_ok());
        assert!(names(&odd, 9).is_ok() && metrics(&odd, true).is_empty());
    }
}
