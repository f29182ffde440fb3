//! Single requests to the API server, each with its status, its time and the server's clock: what a client that
//! only gives objects or errors keeps to itself.

use std::time::{Duration, Instant};

use http::header::{CONTENT_TYPE, DATE};
use http::{HeaderMap, Request};
use jiff::Timestamp;
use jiff::fmt::rfc2822;
use kube::Client;
use kube::client::Body;
use serde_json::Value;
use tokio::time::timeout;

use crate::causes::{TlsFault, described, find};

/// No answer that is asked for here is longer, bytes; a ConfigMap has 1 MiB at most.
const MAX_ANSWER: usize = 2 << 20;

/// An API server that is asked.
#[derive(Clone)]
pub(super) struct Asker {
    client: Client,
    wait: Duration,
}

/// An answer, of whatever status.
#[derive(Debug)]
pub(super) struct Answer {
    pub status: u16,
    /// The body, if it is JSON.
    pub json: Value,
    /// The body's beginning.
    pub text: String,
    /// What the server's clock says, seconds since 1970.
    pub date: Option<i64>,
    pub took: Duration,
}

/// No answer.
#[derive(Debug)]
pub(super) struct Silence {
    pub why: String,
    /// The TLS handshake failed.
    pub tls: Option<TlsFault>,
    pub timed_out: bool,
    pub took: Duration,
}

impl Answer {
    /// The sentence of a `Status`, or the body's beginning.
    pub fn message(&self) -> &str {
        self.json["message"].as_str().unwrap_or(&self.text)
    }
}

impl Asker {
    pub fn new(client: Client, wait: Duration) -> Self {
        Self { client, wait }
    }

    /// GET.
    pub async fn get(&self, path: &str) -> Result<Answer, Silence> {
        self.send(Request::get(path).body(Body::empty())).await
    }

    /// POST of JSON.
    pub async fn post(&self, path: &str, body: &Value) -> Result<Answer, Silence> {
        let body = Body::from(body.to_string().into_bytes());
        self.send(Request::post(path).header(CONTENT_TYPE, "application/json").body(body)).await
    }

    async fn send(&self, request: http::Result<Request<Body>>) -> Result<Answer, Silence> {
        let begin = Instant::now();
        let silence = |why: String, tls| Silence { why, tls, timed_out: false, took: begin.elapsed() };
        let request = request.map_err(|error| silence(error.to_string(), None))?;
        let answer = async {
            let response = self.client.send(request).await.map_err(|error| {
                let tls = find::<rustls::Error>(&error).map(TlsFault::of);
                silence(described(&error), tls)
            })?;
            let (status, date) = (response.status().as_u16(), date(response.headers()));
            let body = axum::body::Body::new(response.into_body());
            let body = axum::body::to_bytes(body, MAX_ANSWER).await;
            let body = body.map_err(|error| silence(described(&error), None))?;
            let json = serde_json::from_slice(&body).unwrap_or_default();
            let text = String::from_utf8_lossy(&body[..body.len().min(1000)]).trim().to_owned();
            Ok(Answer { status, json, text, date, took: begin.elapsed() })
        };
        timeout(self.wait, answer).await.unwrap_or_else(|_| {
            let why = format!("no answer within {:?}", self.wait);
            Err(Silence { why, tls: None, timed_out: true, took: begin.elapsed() })
        })
    }
}

/// The clock of whoever answered, seconds since 1970.
pub(super) fn date(headers: &HeaderMap) -> Option<i64> {
    http_date(headers.get(DATE)?.to_str().ok()?)
}

/// `Sun, 06 Nov 1994 08:49:37 GMT` as seconds since 1970.
pub(super) fn http_date(text: &str) -> Option<i64> {
    rfc2822::DateTimeParser::new().parse_timestamp(text).ok().map(Timestamp::as_second)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_is_read_as_http_writes_it() {
        assert_eq!(http_date("Sun, 06 Nov 1994 08:49:37 GMT"), Some(784_111_777));
        assert_eq!(http_date("now"), None);
        assert_eq!(date(&HeaderMap::new()), None);
    }
}
