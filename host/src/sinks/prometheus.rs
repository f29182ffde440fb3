//! Prometheus remote write 1.0: snappy, protocol buffers, the names of [`crate::prometheus`].
//!
//! A receiver wants the samples of a series in the order of their times. The runner sends the oldest chunk first and,
//! with one request at a time, nothing newer before that is done with: written, or given up. So they are in order over
//! retries, splits and outages, and only there; `concurrency` says so.
//!
//! Not here: queue, retry and ledger, which are the runner's; metadata and markers of series that end.

pub mod config;
mod diagnose;
mod encode;
mod request;

use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;

pub use config::PrometheusConfig;
pub(crate) use diagnose::diagnose;

use super::chunk::Limits;
use super::pick::picking;
use super::{AttemptError, Chunker, Common, Policy, Sink, SinkHandle};
use crate::batch::{Batch, Cycle};
use crate::tls::TlsError;
use encode::Seen;
use request::Receiver;

/// No chunk is larger before compression, whatever a packed one claims.
const MAX_UNPACKED: usize = 2 << 30;

/// Writes to one receiver.
pub struct Prometheus {
    receiver: Receiver,
    external: Vec<(String, String)>,
    /// Series of the last cycle: none may have two samples of one time.
    seen: Mutex<Seen>,
}

impl Prometheus {
    /// A sink that has not yet asked the server anything.
    ///
    /// # Errors
    /// [`TlsError`] where the certificate authority's file can't be used.
    pub fn new(config: &PrometheusConfig) -> Result<Self, TlsError> {
        let external = config.external_labels.clone();
        Ok(Self { receiver: Receiver::new(config)?, external, seen: Mutex::default() })
    }

    /// How the runner is to treat it.
    #[must_use]
    pub fn policy(config: &PrometheusConfig) -> Policy {
        Policy {
            queue: config.queue,
            concurrency: config.concurrency,
            timeout: Some(config.timeout),
            chunk: Limits { records: config.max_samples, bytes: config.max_body },
        }
    }

    /// Builds and starts one under `name`, with what all sinks' settings have in common.
    ///
    /// # Errors
    /// As [`Prometheus::new`].
    pub fn start(name: &str, config: &PrometheusConfig, common: Common) -> Result<SinkHandle, TlsError> {
        let sink = picking(Self::new(config)?, common.selection);
        Ok(SinkHandle::spooling(name, sink, Self::policy(config), common.spool))
    }
}

#[async_trait]
impl Sink for Prometheus {
    fn encode(&self, cycle: &Cycle, batch: &Batch, out: &mut Chunker) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        encode::encode(&self.external, cycle, batch, &mut seen, out);
    }

    fn pack(&self, body: &mut Vec<u8>) -> Bytes {
        // Fails over 4 GiB only, which no chunk has; were it to, the server would refuse the empty body.
        snap::raw::Encoder::new().compress_vec(body).unwrap_or_default().into()
    }

    fn unpack(&self, body: &Bytes) -> Option<Vec<u8>> {
        if snap::raw::decompress_len(body).ok()? > MAX_UNPACKED {
            return None;
        }
        snap::raw::Decoder::new().decompress_vec(body).ok()
    }

    async fn attempt(&self, body: Bytes) -> Result<(), AttemptError> {
        self.receiver.write(body).await
    }
}
