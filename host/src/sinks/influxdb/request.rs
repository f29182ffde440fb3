//! Requests to InfluxDB by whichever of its APIs is spoken, and which that is.

use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use reqwest::Client;
use reqwest::header::{CONTENT_ENCODING, CONTENT_TYPE};
use serde::Deserialize;
use url::Url;

use super::config::{Api, InfluxdbConfig};
use super::v1::{self, V1};
use super::v2::{self, V2};
use crate::sinks::AttemptError;
use crate::sinks::web::{Answer, client, unreachable};
use crate::text::tame;
use crate::tls::TlsError;

/// Of the server's version, bytes.
const MAX_VERSION: usize = 100;

/// An API to write by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Spoken {
    V1,
    V2,
}

/// How what is compressed begins; no line does.
pub(super) const GZIP: &[u8] = &[0x1f, 0x8b];

/// One InfluxDB server and the database or bucket that is written there.
pub struct Server {
    client: Client,
    url: Url,
    pub(super) v1: V1,
    pub(super) v2: V2,
    /// Whether the server says by which API it is written.
    asks: bool,
    /// Settings that the v2 API has no place for.
    retention: bool,
    spoken: Mutex<Option<Spoken>>,
}

impl Server {
    pub fn new(config: &InfluxdbConfig) -> Result<Self, TlsError> {
        let authority = config.certificate_authority.as_deref();
        let client = client(config.connect_timeout, config.insecure_tls, authority)?;
        let spoken = match config.api() {
            Api::Auto => None,
            Api::V1 => Some(Spoken::V1),
            Api::V2 => Some(Spoken::V2),
        };
        Ok(Self {
            url: config.url.clone(),
            v1: V1::new(config, client.clone()),
            v2: V2::new(config, client.clone()),
            client,
            asks: spoken.is_none(),
            retention: config.retention.is_some(),
            spoken: Mutex::new(spoken),
        })
    }

    /// Finds out who answers, and makes what the writes need.
    pub async fn prepare(&self) -> Result<(), AttemptError> {
        let spoken = *self.spoken();
        match spoken {
            None => {
                self.ask().await?;
            }
            // That nobody answers is no failure: the next request will tell.
            Some(_) => {
                if let Ok(version) = self.version().await {
                    tell(&version, spoken);
                }
            }
        }
        match *self.spoken() {
            Some(Spoken::V2) => return Ok(()),
            Some(Spoken::V1) | None => {}
        }
        self.v1.prepare().await
    }

    /// Posts lines; `lines` counts them.
    pub async fn write(&self, body: Bytes, lines: impl FnOnce() -> u64) -> Result<(), AttemptError> {
        let known = *self.spoken();
        let spoken = match known {
            Some(spoken) => spoken,
            None => self.ask().await?,
        };
        let request = match spoken {
            Spoken::V1 => self.v1.post(),
            Spoken::V2 => self.v2.post(),
        };
        let mut request = request.header(CONTENT_TYPE, "text/plain; charset=utf-8");
        // The body says so itself: one from a spool may be of a time when this was set otherwise.
        if body.starts_with(GZIP) {
            request = request.header(CONTENT_ENCODING, "gzip");
        }
        let answer = Answer::of(request.body(body)).await?;
        let result = match spoken {
            Spoken::V1 => v1::classify(&answer, lines),
            Spoken::V2 => v2::classify(&answer, lines),
        };
        if self.asks && matches!(result, Err(AttemptError::Refused { .. })) {
            // Somebody else may answer by now: an upgrade, another server at this name.
            *self.spoken() = None;
        }
        result
    }

    /// Asks the server which API to use.
    async fn ask(&self) -> Result<Spoken, AttemptError> {
        let version = self.version().await?;
        let spoken = spoken_by(version.as_deref());
        tell(&version, Some(spoken));
        if spoken == Spoken::V2 && self.retention {
            tracing::warn!("`retention` does nothing: InfluxDB 2 keeps the retention of a bucket itself; set it there");
        }
        *self.spoken() = Some(spoken);
        Ok(spoken)
    }

    /// The version in the header of `/ping`, or in the JSON of `/health`; `None` where neither has one.
    pub(super) async fn version(&self) -> Result<Option<String>, AttemptError> {
        #[derive(Deserialize)]
        struct Health {
            version: String,
        }
        let mut url = self.url.clone();
        url.set_path("/ping");
        let answer = self.client.get(url.clone()).send().await.map_err(unreachable)?;
        let version = answer.headers().get("x-influxdb-version").and_then(|text| text.to_str().ok());
        if let Some(version) = version {
            return Ok(Some(version.to_owned()));
        }
        url.set_path("/health");
        let answer = Answer::of(self.client.get(url)).await?;
        Ok(serde_json::from_str(&answer.text).ok().map(|health: Health| health.version))
    }

    /// The API to write by, once it is settled.
    pub(super) fn spoken(&self) -> MutexGuard<'_, Option<Spoken>> {
        self.spoken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The API that a server of this version is written by.
pub(super) fn spoken_by(version: Option<&str>) -> Spoken {
    if version.and_then(major).is_some_and(|major| major >= 2) { Spoken::V2 } else { Spoken::V1 }
}

/// Says who answers.
fn tell(version: &Option<String>, spoken: Option<Spoken>) {
    let version = tame(version.as_deref().unwrap_or("unknown"), MAX_VERSION);
    let api = if spoken == Some(Spoken::V2) { "v2" } else { "v1" };
    tracing::info!(version, api, "influxdb answers");
}

/// `v2.7.11`, `1.8.10`, `2.0.0-beta`.
fn major(version: &str) -> Option<u32> {
    version.trim_start_matches('v').split('.').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_as_servers_write_them() {
        for (version, want) in
            [("1.8.10", Some(1)), ("v2.7.11", Some(2)), ("1.6.7~rc0", Some(1)), ("3.0.0", Some(3)), ("unknown", None)]
        {
            assert_eq!(major(version), want, "{version}");
        }
    }
}
