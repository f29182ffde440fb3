//! The API of InfluxDB 1.x: a database and its retention policy are made, and lines are written to them.

use std::time::Duration;

use reqwest::header::CONTENT_TYPE;
use reqwest::{Client, RequestBuilder, StatusCode};
use serde::Deserialize;
use serde_json::Value;
use url::Url;
use url::form_urlencoded::Serializer;

use super::answer::partial;
use super::config::InfluxdbConfig;
use crate::config::Secret;
use crate::sinks::AttemptError;
use crate::sinks::web::{Answer, MAX_REASON};
use crate::text::tame;

/// The one retention policy that is written to; Heapster's name for it.
const POLICY: &str = "\"default\"";
const DAY: u64 = 86_400;

/// One database.
pub struct V1 {
    client: Client,
    write_url: Url,
    query_url: Url,
    username: String,
    password: Secret,
    database: String,
    retention: Option<Duration>,
}

impl V1 {
    pub fn new(config: &InfluxdbConfig, client: Client) -> Self {
        let mut write_url = config.url.clone();
        write_url.set_path("/write");
        let database = [("consistency", ""), ("db", &config.database), ("precision", "")];
        write_url.query_pairs_mut().clear().extend_pairs(database).append_pair("rp", "default");
        let mut query_url = config.url.clone();
        query_url.set_path("/query");
        Self {
            client,
            write_url,
            query_url,
            username: config.username.clone(),
            password: config.password.clone(),
            database: config.database.clone(),
            retention: config.retention,
        }
    }

    /// Where lines are posted.
    pub fn post(&self) -> RequestBuilder {
        self.authorised(self.client.post(self.write_url.clone()))
    }

    /// Makes the database and its retention policy, and brings an existing policy to the retention
    /// that is set.
    pub async fn prepare(&self) -> Result<(), AttemptError> {
        let database = quoted(&self.database);
        let duration = self.retention.map(durations);
        let with = match &duration {
            Some((kept, shard)) => {
                format!("DURATION {kept} REPLICATION 1 SHARD DURATION {shard} ")
            }
            None => String::new(),
        };
        let create = format!("CREATE DATABASE {database} WITH {with}NAME {POLICY}");
        // It says so where the database is there with another policy, or with this one but another
        // duration.
        if self.query(&create).await?.is_none() {
            return Ok(());
        }
        if let Some((kept, shard)) = &duration {
            let alter = format!("ALTER RETENTION POLICY {POLICY} ON {database} DURATION {kept} SHARD DURATION {shard}");
            if self.query(&alter).await?.is_none() {
                let database = &self.database;
                tracing::warn!(
                    database,
                    kept,
                    "retention policy `default` altered; the database deletes what is older"
                );
                return Ok(());
            }
        }
        self.create_policy(&database, duration.as_ref()).await
    }

    /// The database exists and has no policy `default`, or has one whose duration is not ours to
    /// change. The policy is made the database's default one: queries that name none would find
    /// nothing otherwise.
    async fn create_policy(&self, database: &str, duration: Option<&(String, String)>) -> Result<(), AttemptError> {
        let (kept, shard) = duration.map_or(("INF", "7d"), |(kept, shard)| (kept.as_str(), shard.as_str()));
        let create = format!(
            "CREATE RETENTION POLICY {POLICY} ON {database} DURATION {kept} REPLICATION 1 \
             SHARD DURATION {shard} DEFAULT"
        );
        match self.query(&create).await? {
            None => {
                let database = &self.database;
                tracing::warn!(database, "retention policy `default` made and now the default one");
                Ok(())
            }
            Some(refusal) if duration.is_none() && refusal.contains("already exists") => Ok(()),
            Some(refusal) => {
                let reason = format!("retention policy `default`: {}", tame(&refusal, MAX_REASON));
                Err(AttemptError::Refused { reason })
            }
        }
    }

    /// Runs one statement; what the server says against it, if anything.
    async fn query(&self, statement: &str) -> Result<Option<String>, AttemptError> {
        Ok(self.ask(statement).await?.err())
    }

    /// Runs one statement: the rows of its answer, or what the server says against it.
    pub async fn ask(&self, statement: &str) -> Result<Result<Vec<Series>, String>, AttemptError> {
        let form = Serializer::new(String::new()).append_pair("q", statement).finish();
        let request = self.client.post(self.query_url.clone());
        let request = request.header(CONTENT_TYPE, "application/x-www-form-urlencoded").body(form);
        let answer = Answer::of(self.authorised(request)).await?;
        if answer.status != StatusCode::OK {
            return Err(classify(&answer, || 0).err().unwrap_or_else(|| AttemptError::Refused {
                reason: format!("unexpected answer {} to a query", answer.status),
            }));
        }
        let answer: Results = serde_json::from_str(&answer.text).map_err(|_| {
            let reason = "the answer to a query is no JSON; is this InfluxDB 1.x?".to_owned();
            AttemptError::Refused { reason }
        })?;
        let (series, errors): (Vec<_>, Vec<_>) =
            answer.results.into_iter().map(|result| (result.series, result.error)).unzip();
        let error = answer.error.or_else(|| errors.into_iter().flatten().next());
        Ok(error.map_or_else(|| Ok(series.into_iter().flatten().collect()), Err))
    }

    fn authorised(&self, request: RequestBuilder) -> RequestBuilder {
        match self.username.as_str() {
            "" => request,
            username => request.basic_auth(username, Some(self.password.expose())),
        }
    }
}

#[derive(Debug, Deserialize)]
struct Results {
    #[serde(default)]
    results: Vec<StatementResult>,
    error: Option<String>,
}

#[derive(Debug, Deserialize)]
struct StatementResult {
    #[serde(default)]
    series: Vec<Series>,
    error: Option<String>,
}

/// Rows of an answer.
#[derive(Debug, Deserialize)]
pub struct Series {
    #[serde(default)]
    columns: Vec<String>,
    #[serde(default)]
    values: Vec<Vec<Value>>,
}

impl Series {
    /// The column of this name in the first row, or in that whose first column has this text.
    pub fn value(&self, column: &str, key: Option<&str>) -> Option<&Value> {
        let place = self.columns.iter().position(|name| name == column)?;
        let is_wanted = |row: &&Vec<Value>| key.is_none_or(|key| row.first().is_some_and(|first| first == key));
        self.values.iter().find(is_wanted)?.get(place)
    }
}

/// What an answer to a write means; `lines` counts those that were sent.
pub fn classify(answer: &Answer, lines: impl FnOnce() -> u64) -> Result<(), AttemptError> {
    let (status, text) = (answer.status, answer.text.as_str());
    if status.is_success() {
        return Ok(());
    }
    let reason = answer.reason();
    let missing = text.contains("database not found") || text.contains("retention policy not found");
    Err(match status.as_u16() {
        413 => AttemptError::TooLarge,
        404 | 500 if missing => AttemptError::Unprepared { reason },
        401 | 403 => AttemptError::Refused {
            reason: format!("{reason}; check `username`, `password` and the user's privileges"),
        },
        400 if text.contains("partial write") => partial(text, reason, lines),
        408 | 429 | 500..=599 => AttemptError::Transient { reason, retry_after: answer.retry_after },
        300..=399 | 404 | 405 | 407 => {
            AttemptError::Refused { reason: format!("{reason}; check `url`: is this InfluxDB 1.x?") }
        }
        _ => AttemptError::Permanent { reason },
    })
}

/// An identifier of InfluxQL, whatever it holds.
pub fn quoted(name: &str) -> String {
    let mut out = String::from("\"");
    for character in name.chars() {
        match character {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            other => out.push(other),
        }
    }
    out.push('"');
    out
}

/// A retention and the length of its shards, as the server itself would choose it. It refuses a
/// retention below the shards' length, so both are always given.
fn durations(kept: Duration) -> (String, String) {
    let seconds = kept.as_secs();
    let shard = if seconds == 0 || seconds > 180 * DAY {
        "7d"
    } else if seconds >= 2 * DAY {
        "1d"
    } else {
        "1h"
    };
    (format!("{seconds}s"), shard.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_answer_has_a_class() {
        for (status, text, want) in [
            (204, "", "ok"),
            (404, r#"{"error":"database not found: \"k8s\""}"#, "unprepared"),
            (500, r#"{"error":"retention policy not found: default"}"#, "unprepared"),
            (500, r#"{"error":"timeout"}"#, "transient"),
            (503, "request throttled, queue full", "transient"),
            (502, "<html>bad gateway</html>", "transient"),
            (429, "", "transient"),
            (413, r#"{"error":"Request Entity Too Large"}"#, "too large"),
            (401, r#"{"error":"authorization failed"}"#, "refused"),
            (403, r#"{"error":"not authorized to write"}"#, "refused"),
            (404, "404 page not found", "refused"),
            (301, "", "refused"),
            (400, r#"{"error":"unable to parse 'x'"}"#, "permanent"),
            (400, r#"{"error":"partial write: field type conflict dropped=3"}"#, "partial 3"),
            (400, r#"{"error":"partial write: unable to parse 'x': y dropped=0"}"#, "partial 1"),
            (400, r#"{"error":"partial write: unable to parse 'x'\nunable to parse 'y' dropped=0"}"#, "partial 2"),
            (400, r#"{"error":"partial write: points beyond retention policy dropped=7"}"#, "expired 7"),
        ] {
            let answer =
                Answer { status: StatusCode::from_u16(status).unwrap(), retry_after: None, text: text.to_owned() };
            let got = match classify(&answer, || 0) {
                Ok(()) => "ok".to_owned(),
                Err(AttemptError::Transient { .. }) => "transient".to_owned(),
                Err(AttemptError::Refused { .. }) => "refused".to_owned(),
                Err(AttemptError::Unprepared { .. }) => "unprepared".to_owned(),
                Err(AttemptError::Permanent { .. }) => "permanent".to_owned(),
                Err(AttemptError::TooLarge) => "too large".to_owned(),
                Err(AttemptError::Unfinished { .. }) => "unfinished".to_owned(),
                Err(AttemptError::Partial { records, why, .. }) => {
                    format!("{} {records}", why.name())
                }
            };
            assert_eq!(got, want, "{status} {text}");
        }
    }

    #[test]
    fn identifiers_can_hold_anything() {
        assert_eq!(quoted("k8s"), "\"k8s\"");
        assert_eq!(quoted("a\"; DROP DATABASE \\x\n"), "\"a\\\"; DROP DATABASE \\\\x\\n\"");
    }

    #[test]
    fn shards_are_never_longer_than_the_retention() {
        for (days, want) in [(1, "1h"), (2, "1d"), (30, "1d"), (365, "7d")] {
            let (kept, shard) = durations(Duration::from_secs(days * DAY));
            assert_eq!((kept, shard.as_str()), (format!("{}s", days * DAY), want), "{days}");
        }
    }
}
