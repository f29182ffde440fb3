//! What sinks that speak HTTP have in common: a client, an answer read to its bound, and why there is none.
//!
//! Not here: what an answer means, which every protocol says in its own way.

use std::path::Path;
use std::time::Duration;

use jiff::Timestamp;
use jiff::fmt::rfc2822;
use reqwest::header::{HeaderMap, RETRY_AFTER};
use reqwest::{Client, RequestBuilder, Response, StatusCode, redirect};
use serde::Deserialize;

use super::AttemptError;
use crate::causes::described;
use crate::text::tame;
use crate::tls::{self, TlsError};

/// No more than this of an answer is read.
const MAX_ANSWER: usize = 64 << 10;
/// No more than this of an answer is put into a message, bytes: what is to be done follows it.
pub(crate) const MAX_REASON: usize = 512;
/// A connection that was idle for longer is not used again: something between may have dropped it.
const IDLE: Duration = Duration::from_secs(30);

/// A client for one server.
///
/// # Errors
/// [`TlsError`] where the certificate authority's file can't be used.
pub(crate) fn client(connect_timeout: Duration, insecure: bool, authority: Option<&Path>) -> Result<Client, TlsError> {
    let builder = Client::builder()
        .user_agent(concat!("millrace/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(connect_timeout)
        .pool_idle_timeout(IDLE)
        .redirect(redirect::Policy::none())
        .no_proxy();
    tls::build(builder, insecure, authority)
}

/// An answer, read to its bound.
#[derive(Debug)]
pub(super) struct Answer {
    pub status: StatusCode,
    /// How long the server asks to be left alone.
    pub retry_after: Option<Duration>,
    pub text: String,
}

impl Answer {
    /// Sends a request.
    ///
    /// # Errors
    /// [`AttemptError::Transient`] where there is no answer, or no whole one.
    pub async fn of(request: RequestBuilder) -> Result<Self, AttemptError> {
        match request.send().await {
            Ok(response) => Self::read(response).await.map_err(unreachable),
            Err(error) => Err(unreachable(error)),
        }
    }

    async fn read(mut response: Response) -> Result<Self, reqwest::Error> {
        let status = response.status();
        let retry_after = retry_after(response.headers(), Timestamp::now());
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await? {
            body.extend_from_slice(&chunk[..chunk.len().min(MAX_ANSWER - body.len())]);
            if body.len() >= MAX_ANSWER {
                break;
            }
        }
        Ok(Self { status, retry_after, text: String::from_utf8_lossy(&body).into_owned() })
    }

    /// The server's words, short, without JSON around them, and without what parts a remedy of ours from the rest.
    pub fn reason(&self) -> String {
        #[derive(Deserialize)]
        struct ErrorBody {
            #[serde(alias = "message")]
            error: String,
        }
        let text =
            serde_json::from_str(&self.text).map_or_else(|_| self.text.trim().to_owned(), |body: ErrorBody| body.error);
        format!("{}: {}", self.status.as_u16(), tame(&text, MAX_REASON).replace("; ", ", "))
    }
}

/// Seconds, or a time of day.
fn retry_after(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let until = rfc2822::DateTimeParser::new().parse_timestamp(text).ok()?;
    Duration::try_from(until.duration_since(now)).ok()
}

/// No answer.
pub(super) fn unreachable(error: reqwest::Error) -> AttemptError {
    AttemptError::Transient { reason: reason(error), retry_after: None }
}

/// Why there is no answer. The URL is left out: it says nothing that the operator has not written.
pub(crate) fn reason(error: reqwest::Error) -> String {
    described(&error.without_url())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_is_asked_for_in_seconds_or_as_a_time() {
        let now: Timestamp = "2026-11-21T09:00:00Z".parse().unwrap();
        for (text, want) in [
            ("7", Some(7)),
            (" 120 ", Some(120)),
            ("Sat, 21 Nov 2026 09:00:30 GMT", Some(30)),
            ("Sat, 21 Nov 2026 08:00:00 GMT", None),
            ("soon", None),
            ("-1", None),
        ] {
            let headers = [(RETRY_AFTER, text.parse().unwrap())].into_iter().collect();
            assert_eq!(retry_after(&headers, now), want.map(Duration::from_secs), "{text}");
        }
    }

    #[test]
    fn the_server_s_words_are_shown_without_json() {
        for (text, want) in [
            (r#"{"error":"no"}"#, "400: no"),
            (r#"{"code":"invalid","message":"no"}"#, "400: no"),
            (" plain\n", "400: plain"),
            ("no; run `this`", "400: no, run `this`"),
        ] {
            let answer = Answer { status: StatusCode::BAD_REQUEST, retry_after: None, text: text.to_owned() };
            assert_eq!(answer.reason(), want);
        }
    }
}
