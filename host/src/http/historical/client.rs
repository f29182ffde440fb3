//! The database that is asked: one client, few queries at one time, bounded in time and length.

use std::time::Duration;

use reqwest::header::CONTENT_TYPE;
use reqwest::{Client, StatusCode};
use serde::Deserialize;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::timeout;
use url::Url;
use url::form_urlencoded::Serializer;

use crate::config::{HistoricalConfig, Secret};
use crate::sinks::web;
use crate::text::tame;
use crate::tls::TlsError;

/// Queries at one time; who comes later waits for a turn.
const TURNS: usize = 4;
/// No longer answer is taken, bytes.
const MAX_ANSWER: usize = 16 << 20;
/// No longer refusal, bytes.
const MAX_REFUSAL: usize = 64 << 10;
/// No more than this of a refusal is passed on, bytes.
const MAX_REASON: usize = 512;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// All turns are taken.
    #[error("other requests to the historical API are under way; try again later")]
    Busy,
    /// No answer came, or one that may be another a moment later.
    #[error("InfluxDB does not answer: {0}")]
    Unreachable(String),
    /// The server does not do it.
    #[error("InfluxDB refuses: {0}")]
    Refused(String),
    /// The answer is over its bound.
    #[error("the answer would be over {} MiB; ask for a shorter time, fewer pods, or buckets", MAX_ANSWER >> 20)]
    TooLong,
}

/// An answer that is still to be read, and the turn that it has until then.
pub struct Answer<'c> {
    /// JSON, if the server is what it should be.
    pub body: Vec<u8>,
    _turn: SemaphorePermit<'c>,
}

/// One InfluxDB server and the database that is read there.
pub struct Database {
    client: Client,
    url: Url,
    database: String,
    username: String,
    password: Secret,
    timeout: Duration,
    turns: Semaphore,
}

impl Database {
    /// A client that has asked nothing yet.
    ///
    /// # Errors
    /// [`TlsError`] where the certificate authority's file can't be used.
    pub fn new(config: &HistoricalConfig) -> Result<Self, TlsError> {
        let authority = config.certificate_authority.as_deref();
        let mut url = config.url.clone();
        url.set_path("/query");
        Ok(Self {
            client: web::client(config.connect_timeout, config.insecure_tls, authority)?,
            url,
            database: config.database.clone(),
            username: config.username.clone(),
            password: config.password.clone(),
            timeout: config.timeout,
            turns: Semaphore::new(TURNS),
        })
    }

    /// Puts statements to it. Times are nanoseconds in its answer.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn ask(&self, statements: &str) -> Result<Answer<'_>, ClientError> {
        let mut has_turn = false;
        let asked = async {
            // Closed it is never.
            let turn = self.turns.acquire().await.map_err(|_| ClientError::Busy)?;
            has_turn = true;
            Ok(Answer { body: self.send(statements).await?, _turn: turn })
        };
        let asked = timeout(self.timeout, asked).await;
        asked.unwrap_or_else(|_| {
            let late = format!("not within {}", humantime::format_duration(self.timeout));
            Err(if has_turn { ClientError::Unreachable(late) } else { ClientError::Busy })
        })
    }

    async fn send(&self, statements: &str) -> Result<Vec<u8>, ClientError> {
        let form = [("db", &*self.database), ("epoch", "ns"), ("q", statements)];
        let form = Serializer::new(String::new()).extend_pairs(form).finish();
        let mut request = self.client.post(self.url.clone()).body(form);
        request = request.header(CONTENT_TYPE, "application/x-www-form-urlencoded");
        if !self.username.is_empty() {
            request = request.basic_auth(&self.username, Some(self.password.expose()));
        }
        let unreachable = |error| ClientError::Unreachable(web::reason(error));
        let mut response = request.send().await.map_err(unreachable)?;
        let status = response.status();
        let most = if status == StatusCode::OK { MAX_ANSWER } else { MAX_REFUSAL };
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(unreachable)? {
            if body.len() + chunk.len() > most {
                return Err(ClientError::TooLong);
            }
            body.extend_from_slice(&chunk);
        }
        if status == StatusCode::OK { Ok(body) } else { Err(refusal(status, &body)) }
    }
}

/// What an answer means that is none.
fn refusal(status: StatusCode, body: &[u8]) -> ClientError {
    #[derive(Deserialize)]
    struct Refusal {
        error: String,
    }
    let text = serde_json::from_slice(body)
        .map_or_else(|_| String::from_utf8_lossy(body).trim().to_owned(), |refusal: Refusal| refusal.error);
    let reason = format!("{}: {}", status.as_u16(), tame(&text, MAX_REASON));
    match status.as_u16() {
        401 | 403 => ClientError::Refused(format!("{reason}; check `username`, `password` and the user's privileges")),
        408 | 429 | 500..=599 => ClientError::Unreachable(reason),
        300..=399 | 404 | 405 | 407 => ClientError::Refused(format!("{reason}; check `url`: is this InfluxDB 1.x?")),
        _ => ClientError::Refused(reason),
    }
}
