//! Requests of remote write 1.0, and what their answers mean.

use bytes::Bytes;
use reqwest::Client;
use reqwest::header::{AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use url::Url;

use super::config::PrometheusConfig;
use crate::sinks::AttemptError;
use crate::sinks::web::{Answer, client};
use crate::tls::TlsError;

/// The version of the protocol's first edition.
const VERSION: (&str, &str) = ("x-prometheus-remote-write-version", "0.1.0");

/// One receiver.
pub struct Receiver {
    client: Client,
    url: Url,
    headers: HeaderMap,
    credentials: Option<(String, crate::config::Secret)>,
}

impl Receiver {
    pub fn new(config: &PrometheusConfig) -> Result<Self, TlsError> {
        let client = client(config.connect_timeout, config.insecure_tls, config.certificate_authority.as_deref())?;
        let mut url = config.url.clone();
        url.set_path(&config.path);
        let mut headers = HeaderMap::new();
        // The settings have been checked: neither fails.
        let pairs = config.headers.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        for (name, value) in pairs.chain([VERSION]) {
            if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
                headers.insert(name, value);
            }
        }
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-protobuf"));
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static("snappy"));
        if !config.token.is_empty()
            && let Ok(mut bearer) = HeaderValue::try_from(format!("Bearer {}", config.token.expose()))
        {
            bearer.set_sensitive(true);
            headers.insert(AUTHORIZATION, bearer);
        }
        let credentials = (!config.username.is_empty()).then(|| (config.username.clone(), config.password.clone()));
        Ok(Self { client, url, headers, credentials })
    }

    /// Posts one request.
    pub async fn write(&self, body: Bytes) -> Result<(), AttemptError> {
        let mut request = self.client.post(self.url.clone()).headers(self.headers.clone()).body(body);
        if let Some((username, password)) = &self.credentials {
            request = request.basic_auth(username, Some(password.expose()));
        }
        classify(&Answer::of(request).await?)
    }
}

/// What an answer means.
fn classify(answer: &Answer) -> Result<(), AttemptError> {
    if answer.status.is_success() {
        return Ok(());
    }
    let reason = answer.reason();
    let text = answer.text.to_ascii_lowercase();
    let late = ["out of order", "out-of-order", "out of bounds", "duplicate sample", "too old"];
    Err(match answer.status.as_u16() {
        413 => AttemptError::TooLarge,
        401 | 403 => AttemptError::Refused {
            reason: format!("{reason}; check `token`, or `username` and `password`, and what they may"),
        },
        300..=399 | 404 | 405 | 407 => AttemptError::Refused {
            reason: format!(
                "{reason}; check `url` and `path`: does this server take remote writes? \
                 (Prometheus does with --web.enable-remote-write-receiver)"
            ),
        },
        408 | 429 | 500..=599 => AttemptError::Transient { reason, retry_after: answer.retry_after },
        400 | 409 | 422 if late.iter().any(|late| text.contains(late)) => AttemptError::Permanent {
            reason: format!(
                "{reason}; the receiver has newer samples of these series, or others of this time: do two write the \
                 same ones? `external-labels` tells them apart"
            ),
        },
        _ => AttemptError::Permanent { reason },
    })
}

#[cfg(test)]
mod tests {
    use reqwest::StatusCode;

    use super::*;

    #[test]
    fn every_answer_has_a_class() {
        for (status, text, want) in [
            (200, "", "ok"),
            (204, "", "ok"),
            (400, "out of order sample", "permanent, late"),
            (400, "duplicate sample for timestamp", "permanent, late"),
            (
                400,
                "the sample has been rejected because its timestamp is too old (err-mimir-sample-timestamp-too-old)",
                "permanent, late",
            ),
            (400, "snappy: corrupt input", "permanent"),
            (422, "label limit", "permanent"),
            (401, "", "refused"),
            (403, "", "refused"),
            (404, "remote write receiver needs to be enabled", "refused"),
            (301, "", "refused"),
            (413, "", "too large"),
            (429, "ingestion rate limit", "transient"),
            (500, "", "transient"),
            (503, "", "transient"),
        ] {
            let answer =
                Answer { status: StatusCode::from_u16(status).unwrap(), retry_after: None, text: text.to_owned() };
            let got = match classify(&answer) {
                Ok(()) => "ok",
                Err(AttemptError::Transient { .. }) => "transient",
                Err(AttemptError::Refused { .. }) => "refused",
                Err(AttemptError::Permanent { reason }) if reason.contains("external-labels") => "permanent, late",
                Err(AttemptError::Permanent { .. }) => "permanent",
                Err(AttemptError::TooLarge) => "too large",
                Err(_) => "something else",
            };
            assert_eq!(got, want, "{status} {text}");
        }
    }
}
