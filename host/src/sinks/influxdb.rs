//! The InfluxDB sink, in Heapster's schema, by the API of 1.x or by that of 2.
//!
//! Not here: queue, retry and ledger, which are the runner's; and making buckets.

mod answer;
pub mod config;
mod diagnose;
mod encode;
pub mod heapster;
mod request;
mod schema;
mod tags;
mod text;
mod v1;
mod v2;

use std::io::{Read, Write};

use async_trait::async_trait;
use bytes::Bytes;
use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;

pub use config::{Api, InfluxdbConfig, Timestamps};
pub(crate) use diagnose::{diagnose, diagnose_reading};

use super::chunk::Limits;
use super::pick::picking;
use super::{AttemptError, Chunker, Common, Policy, Sink, SinkHandle};
use crate::batch::{Batch, Cycle};
use crate::tls::TlsError;
use request::Server;
use schema::Schema;
pub(crate) use schema::stored_names;
pub(crate) use text::{push_key, push_value, stored};
pub(crate) use v1::quoted;

/// No chunk is larger before compression, whatever a packed one claims.
const MAX_UNPACKED: u64 = 2 << 30;

/// Writes to one InfluxDB database or bucket.
pub struct Influxdb {
    schema: Schema,
    server: Server,
    gzip: Option<Compression>,
}

impl Influxdb {
    /// A sink that has not yet asked the server anything.
    ///
    /// # Errors
    /// [`TlsError`] where the certificate authority's file can't be used.
    pub fn new(config: &InfluxdbConfig) -> Result<Self, TlsError> {
        Ok(Self {
            schema: Schema::new(config),
            server: Server::new(config)?,
            gzip: config.gzip.map(|level| Compression::new(level.min(9))),
        })
    }

    /// How the runner is to treat it.
    #[must_use]
    pub fn policy(config: &InfluxdbConfig) -> Policy {
        Policy {
            queue: config.queue,
            concurrency: config.concurrency,
            timeout: Some(config.timeout),
            chunk: Limits { records: config.max_lines, bytes: config.max_body },
        }
    }

    /// Builds and starts one under `name`, with what all sinks' settings have in common.
    ///
    /// # Errors
    /// As [`Influxdb::new`].
    pub fn start(name: &str, config: &InfluxdbConfig, common: Common) -> Result<SinkHandle, TlsError> {
        let sink = picking(Self::new(config)?, common.selection);
        Ok(SinkHandle::spooling(name, sink, Self::policy(config), common.spool))
    }
}

#[async_trait]
impl Sink for Influxdb {
    fn encode(&self, cycle: &Cycle, batch: &Batch, out: &mut Chunker) {
        encode::encode(&self.schema, cycle, batch, out);
    }

    fn pack(&self, body: &mut Vec<u8>) -> Bytes {
        let Some(level) = self.gzip else { return std::mem::take(body).into() };
        let mut encoder = GzEncoder::new(Vec::with_capacity(body.len() / 8), level);
        // Writing to memory does not fail; were it to, the server would refuse the torn body.
        match encoder.write_all(body).and_then(|()| encoder.finish()) {
            Ok(packed) => packed.into(),
            Err(_) => Bytes::new(),
        }
    }

    fn unpack(&self, body: &Bytes) -> Option<Vec<u8>> {
        if !body.starts_with(request::GZIP) {
            return Some(body.to_vec());
        }
        let mut raw = Vec::new();
        GzDecoder::new(body.as_ref()).take(MAX_UNPACKED).read_to_end(&mut raw).ok()?;
        Some(raw)
    }

    async fn prepare(&self) -> Result<(), AttemptError> {
        self.server.prepare().await
    }

    async fn attempt(&self, body: Bytes) -> Result<(), AttemptError> {
        let sent = body.clone();
        let lines = || self.unpack(&sent).map_or(0, |raw| memchr::memchr_iter(b'\n', &raw).count() as u64);
        self.server.write(body, lines).await
    }
}
