//! Requests to InfluxDB, and what its answers mean.
//!
//! InfluxDB 1.x tells many cases apart by its error text alone, so the text is looked at here, and
//! nowhere else.

use std::error::Error;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use reqwest::header::{CONTENT_ENCODING, CONTENT_TYPE, RETRY_AFTER};
use reqwest::{Client, RequestBuilder, Response, StatusCode, redirect};
use serde::Deserialize;
use url::Url;
use url::form_urlencoded::Serializer;

use super::config::InfluxdbConfig;
use crate::config::Secret;
use crate::sinks::{AttemptError, DropReason};
use crate::text::tame;
use crate::tls::{self, TlsError};

/// No more than this of an answer is read.
const MAX_ANSWER: usize = 64 << 10;
/// No more than this of an answer is put into a message, bytes: what is to be done follows it.
const MAX_REASON: usize = 512;
/// Of the server's version, bytes.
const MAX_VERSION: usize = 100;
/// The one retention policy that is written to; Heapster's name for it.
const POLICY: &str = "\"default\"";
const DAY: u64 = 86_400;
/// A connection that was idle for longer is not used again: something between may have dropped it.
const IDLE: Duration = Duration::from_secs(30);

/// A client for one InfluxDB server.
///
/// # Errors
/// [`TlsError`] where the certificate authority's file can't be used.
pub fn client(connect_timeout: Duration, insecure: bool, authority: Option<&Path>) -> Result<Client, TlsError> {
    let builder = Client::builder()
        .user_agent(concat!("millrace/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(connect_timeout)
        .pool_idle_timeout(IDLE)
        .redirect(redirect::Policy::none())
        .no_proxy();
    tls::build(builder, insecure, authority)
}

/// One InfluxDB server and the database that is written there.
pub struct Server {
    client: Client,
    write_url: Url,
    query_url: Url,
    username: String,
    password: Secret,
    database: String,
    retention: Option<Duration>,
    gzip: bool,
}

impl Server {
    pub fn new(config: &InfluxdbConfig) -> Result<Self, TlsError> {
        let authority = config.certificate_authority.as_deref();
        let client = client(config.connect_timeout, config.insecure_tls, authority)?;
        let mut write_url = config.url.clone();
        write_url.set_path("/write");
        let database = [("consistency", ""), ("db", &config.database), ("precision", "")];
        write_url.query_pairs_mut().clear().extend_pairs(database).append_pair("rp", "default");
        let mut query_url = config.url.clone();
        query_url.set_path("/query");
        Ok(Self {
            client,
            write_url,
            query_url,
            username: config.username.clone(),
            password: config.password.clone(),
            database: config.database.clone(),
            retention: config.retention,
            gzip: config.gzip.is_some(),
        })
    }

    /// Posts lines.
    pub async fn write(&self, body: Bytes) -> Result<(), AttemptError> {
        let mut request = self.client.post(self.write_url.clone()).body(body);
        request = request.header(CONTENT_TYPE, "text/plain; charset=utf-8");
        if self.gzip {
            request = request.header(CONTENT_ENCODING, "gzip");
        }
        let answer = self.send(request).await?;
        classify(&answer)
    }

    /// Makes the database and its retention policy, and brings an existing policy to the retention
    /// that is set.
    pub async fn prepare(&self) -> Result<(), AttemptError> {
        self.ping().await;
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
                tracing::info!(database = self.database, kept, "retention policy `default` altered");
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

    /// Says who answers. That nobody does is no failure: the next request will tell.
    async fn ping(&self) {
        let mut url = self.query_url.clone();
        url.set_path("/ping");
        if let Ok(answer) = self.client.get(url).send().await {
            let version = answer.headers().get("x-influxdb-version");
            let version = tame(version.and_then(|text| text.to_str().ok()).unwrap_or("unknown"), MAX_VERSION);
            tracing::info!(version, database = self.database, "influxdb answers");
        }
    }

    /// Runs one statement; what the server says against it, if anything.
    async fn query(&self, statement: &str) -> Result<Option<String>, AttemptError> {
        let form = Serializer::new(String::new()).append_pair("q", statement).finish();
        let request = self.client.post(self.query_url.clone());
        let request = request.header(CONTENT_TYPE, "application/x-www-form-urlencoded").body(form);
        let answer = self.send(request).await?;
        if answer.status != StatusCode::OK {
            return Err(classify(&answer).err().unwrap_or_else(|| AttemptError::Refused {
                reason: format!("unexpected answer {} to a query", answer.status),
            }));
        }
        let results: Results = serde_json::from_str(&answer.text).map_err(|_| {
            let reason = "the answer to a query is no JSON; is this InfluxDB 1.x?".to_owned();
            AttemptError::Refused { reason }
        })?;
        Ok(results.error.or_else(|| results.results.into_iter().find_map(|result| result.error)))
    }

    async fn send(&self, request: RequestBuilder) -> Result<Answer, AttemptError> {
        let request = if self.username.is_empty() {
            request
        } else {
            request.basic_auth(&self.username, Some(self.password.expose()))
        };
        match request.send().await {
            Ok(response) => Answer::read(response).await.map_err(unreachable),
            Err(error) => Err(unreachable(error)),
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
    error: Option<String>,
}

/// An answer, read to its bound.
#[derive(Debug)]
struct Answer {
    status: StatusCode,
    retry_after: Option<Duration>,
    text: String,
}

impl Answer {
    async fn read(mut response: Response) -> Result<Self, reqwest::Error> {
        let status = response.status();
        let seconds = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok());
        let retry_after = seconds.and_then(|text| text.trim().parse().ok()).map(Duration::from_secs);
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await? {
            body.extend_from_slice(&chunk[..chunk.len().min(MAX_ANSWER - body.len())]);
            if body.len() >= MAX_ANSWER {
                break;
            }
        }
        Ok(Self { status, retry_after, text: String::from_utf8_lossy(&body).into_owned() })
    }

    /// The server's words, short, without JSON around them.
    fn reason(&self) -> String {
        #[derive(Deserialize)]
        struct ErrorBody {
            error: String,
        }
        let text =
            serde_json::from_str(&self.text).map_or_else(|_| self.text.trim().to_owned(), |body: ErrorBody| body.error);
        format!("{}: {}", self.status.as_u16(), tame(&text, MAX_REASON))
    }
}

/// What an answer to a write means.
fn classify(answer: &Answer) -> Result<(), AttemptError> {
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
        400 if text.contains("partial write") => partial(text, reason),
        408 | 429 | 500..=599 => AttemptError::Transient { reason, retry_after: answer.retry_after },
        300..=399 | 404 | 405 | 407 => {
            AttemptError::Refused { reason: format!("{reason}; check `url`: is this InfluxDB 1.x?") }
        }
        _ => AttemptError::Permanent { reason },
    })
}

/// The server names how many it dropped, but says 0 of lines that it could not parse; of those it
/// quotes each.
fn partial(text: &str, reason: String) -> AttemptError {
    let dropped = text.rsplit("dropped=").next().unwrap_or_default();
    let digits = dropped.split(|c: char| !c.is_ascii_digit()).next().unwrap_or_default();
    let unparsed = text.matches("unable to parse").count() as u64;
    let records = digits.parse().unwrap_or(0).max(unparsed).max(1);
    let expired = text.contains("points beyond retention policy");
    let why = if expired { DropReason::Expired } else { DropReason::Partial };
    AttemptError::Partial { reason, records, why }
}

/// No answer.
fn unreachable(error: reqwest::Error) -> AttemptError {
    AttemptError::Transient { reason: reason(error), retry_after: None }
}

/// Why there is no answer. The URL is left out: it says nothing that the operator has not written.
pub fn reason(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut reason = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let text = cause.to_string();
        if !reason.contains(&text) {
            reason = format!("{reason}: {text}");
        }
        source = cause.source();
    }
    reason
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
            let got = match classify(&answer) {
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
