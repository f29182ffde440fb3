//! A running Millrace at an address, for the verbs that look at one.

use std::error::Error as _;
use std::time::Duration;

use reqwest::{Client, Response, StatusCode, Url};
use serde::de::DeserializeOwned;

use crate::text::tame;
use crate::tls;

/// Where it listens unless somebody says otherwise.
pub(super) const HERE: &str = "http://127.0.0.1:8082";

const CONNECT: Duration = Duration::from_secs(10);
/// Of a refusal, bytes.
const REASON_BYTES: usize = 300;

/// Why there is no answer to work with. Each begins with the address.
#[derive(Debug, thiserror::Error)]
pub(super) enum RemoteError {
    /// Nobody answers, or not to the end.
    #[error("{0}")]
    Unreachable(String),
    /// What is asked for is not given.
    #[error("{0}")]
    Refused(String),
    /// The answer is no Millrace's.
    #[error("{0}")]
    Unreadable(String),
}

/// A running Millrace.
#[derive(Debug, Clone)]
pub(super) struct Remote {
    client: Client,
    /// Without a slash at its end.
    base: String,
}

impl Remote {
    /// The one at `address`, `http://` if it names no scheme. An answer may pause for as long as `silence`.
    ///
    /// # Errors
    /// It is no address; what to write instead.
    pub(super) fn at(address: &str, silence: Duration) -> Result<Self, String> {
        let base = if address.contains("://") { address.to_owned() } else { format!("http://{address}") };
        let bad = |why: &dyn std::fmt::Display| format!("`{address}` is no address ({why}); write it as {HERE}");
        let url = Url::parse(&base).map_err(|error| bad(&error))?;
        if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none_or(str::is_empty) {
            return Err(bad(&"it begins with http:// or https://"));
        }
        let builder = Client::builder().no_proxy().connect_timeout(CONNECT).read_timeout(silence);
        let client = tls::build(builder, false, None).map_err(|error| error.to_string())?;
        Ok(Self { client, base: base.trim_end_matches('/').to_owned() })
    }

    /// Its address as it was given.
    pub(super) fn address(&self) -> &str {
        &self.base
    }

    /// Asks for a page; an answer that is none is an error with what it says.
    ///
    /// # Errors
    /// [`RemoteError::Unreachable`], [`RemoteError::Refused`].
    pub(super) async fn get(&self, path: &str) -> Result<Response, RemoteError> {
        let base = &self.base;
        let answer = self.client.get(format!("{base}{path}")).send().await;
        let answer = answer.map_err(|error| RemoteError::Unreachable(format!("{base}: {}", reason(&error))))?;
        let status = answer.status();
        if status == StatusCode::OK {
            return Ok(answer);
        }
        let text = read(answer, REASON_BYTES * 4).await.unwrap_or_default();
        let said = String::from_utf8_lossy(&text);
        // Our own refusals are texts or `{"error": …}`.
        let json = serde_json::from_str::<serde_json::Value>(&said).ok();
        let said = json.as_ref().and_then(|json| json["error"].as_str()).unwrap_or(&said);
        let ours = json.is_some() || status != StatusCode::NOT_FOUND;
        let hint = if ours { "" } else { "; is it a Millrace, and one of this version?" };
        Err(RemoteError::Refused(format!("{base}: answers {status}: {}{hint}", tame(said.trim(), REASON_BYTES))))
    }

    /// Asks for what has at most `most` bytes.
    ///
    /// # Errors
    /// As [`Remote::get`], and where it is longer.
    pub(super) async fn bytes(&self, path: &str, most: usize) -> Result<Vec<u8>, RemoteError> {
        let body = read(self.get(path).await?, most).await;
        body.map_err(|why| RemoteError::Unreachable(format!("{}: {why}", self.base)))
    }

    /// Asks for a page of JSON of at most `most` bytes.
    ///
    /// # Errors
    /// As [`Remote::bytes`], and where it is no such JSON.
    pub(super) async fn json<T: DeserializeOwned>(&self, path: &str, most: usize) -> Result<T, RemoteError> {
        let base = &self.base;
        let body = self.bytes(path, most).await?;
        let hint = "is it a Millrace, and one of this version?";
        let unreadable = |error| RemoteError::Unreadable(format!("{base}{path}: {error}; {hint}"));
        serde_json::from_slice(&body).map_err(unreadable)
    }
}

/// Why there is no answer, or no more of it.
pub(super) fn reason(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        return "does not answer in time".to_owned();
    }
    // The innermost cause says what the outer ones only name.
    let mut cause = error.source();
    while let Some(inner) = cause.and_then(std::error::Error::source) {
        cause = Some(inner);
    }
    let cause = cause.map_or_else(|| error.to_string(), ToString::to_string);
    let cause = tame(&cause, REASON_BYTES);
    if error.is_connect() { format!("nobody answers there ({cause})") } else { cause }
}

async fn read(mut answer: Response, most: usize) -> Result<Vec<u8>, String> {
    let mut body = Vec::new();
    while let Some(part) = answer.chunk().await.map_err(|error| reason(&error))? {
        if body.len() + part.len() > most {
            return Err(format!("answers with more than {most} bytes"));
        }
        body.extend_from_slice(&part);
    }
    Ok(body)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::loopback::{Loopback, Reply, answer};

    #[test]
    fn an_address_needs_no_scheme() {
        let silence = Duration::from_secs(1);
        for (address, want) in [
            ("http://10.0.0.1:8082/", Ok("http://10.0.0.1:8082")),
            ("metrics.example:80", Ok("http://metrics.example:80")),
            ("https://metrics.example/millrace", Ok("https://metrics.example/millrace")),
            ("[::1]:8082", Ok("http://[::1]:8082")),
            ("ftp://a", Err("it begins with http:// or https://")),
            ("http://", Err("is no address")),
            ("a b", Err("is no address")),
        ] {
            match (Remote::at(address, silence), want) {
                (Ok(remote), Ok(want)) => assert_eq!(remote.address(), want),
                (Err(error), Err(want)) => assert!(error.contains(want), "{error}"),
                (got, _) => panic!("{address}: {got:?}"),
            }
        }
    }

    #[tokio::test]
    async fn what_is_no_good_answer_says_why_and_is_bounded() {
        let server = Loopback::start(0, None, |head| {
            let (status, body) = match head.split(' ').nth(1).unwrap_or_default() {
                "/named" => ("404 Not Found", br#"{"error":"there is no rule `x`"}"#.to_vec()),
                "/other" => ("404 Not Found", b"<html>\x1b[2J".to_vec()),
                "/long" => ("200 OK", vec![b' '; 2000]),
                "/text" => ("200 OK", b"hello".to_vec()),
                _ => ("200 OK", b"[1]".to_vec()),
            };
            Reply::Keep(answer(status, "", &body))
        })
        .await;
        let remote = Remote::at(&server.address.to_string(), Duration::from_secs(5)).unwrap();
        assert_eq!(remote.json::<Vec<u8>>("/good", 1000).await.unwrap(), [1]);
        for (path, want) in [
            ("/named", "answers 404 Not Found: there is no rule `x`"),
            ("/other", "answers 404 Not Found: <html>\\u{1b}[2J; is it a Millrace, and one of this version?"),
            ("/long", "answers with more than 1000 bytes"),
            ("/text", "expected value"),
        ] {
            let error = remote.json::<Vec<u8>>(path, 1000).await.unwrap_err().to_string();
            assert!(error.contains(want) && error.starts_with("http://127.0.0.1:"), "{path}: {error}");
        }
        drop(server);
    }
}
