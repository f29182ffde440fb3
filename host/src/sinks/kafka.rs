//! The Kafka sink: Heapster's messages, or one message an entity. See `docs/KAFKA.md`.
//!
//! librdkafka produces: idempotent, acknowledged by all replicas in sync, and trying again for as long
//! as it takes, because it alone knows which of its requests a broker may have taken already. The
//! runner sees an attempt end when every record of the chunk is confirmed or has failed for good, and
//! sends again only what certainly is not in the topic.
//!
//! Not here: queue, retry and ledger, which are the runner's; consumers, transactions and headers.

mod client;
pub mod config;
mod diagnose;
mod encode;
mod failure;
mod json;
mod records;
mod send;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;

pub use client::SetupError;
pub use config::KafkaConfig;
pub(crate) use diagnose::diagnose;

use super::chunk::Limits;
use super::pick::picking;
use super::{AttemptError, Chunker, Common, Policy, Sink, SinkHandle};
use crate::batch::{Batch, Cycle};
use client::{Connection, Settings};
use encode::Schema;
use send::{Lanes, Waves};

/// Most that a chunk holds, before packing.
const CHUNK: Limits = Limits { records: 10_000, bytes: 4 << 20 };
/// What librdkafka and the delivery report need for a message besides its bytes.
const RECORD_OVERHEAD: usize = 300;
/// Chunks wait compressed: names and labels of messages are the same again and again, so that the
/// queue's bytes hold a score of times as many.
const PACKING_LEVEL: i32 = 1;
/// No chunk is larger before packing, whatever a packed one claims.
const MAX_UNPACKED: usize = 1 << 30;

/// Writes to one topic.
pub struct Kafka {
    schema: Schema,
    connection: Arc<Connection>,
    lanes: Lanes,
}

impl Kafka {
    /// A sink that has not yet connected; `name` is for the log.
    ///
    /// # Errors
    /// [`SetupError`] where a certificate can't be read or a setting is refused.
    pub fn new(name: &str, config: &KafkaConfig) -> Result<Self, SetupError> {
        let settings = Settings::new(config, budget(config).0.bytes * config.concurrency)?;
        let connection = Arc::new(Connection::new(name, settings)?);
        Ok(Self { schema: Schema::new(config), connection, lanes: Lanes::default() })
    }

    /// How the runner is to treat it: without a time for attempts, since a record that was given up
    /// while a broker had it would come twice.
    #[must_use]
    pub fn policy(config: &KafkaConfig) -> Policy {
        let (chunk, producers) = budget(config);
        let queue = config.queue.saturating_sub(producers);
        Policy { queue, concurrency: config.concurrency, timeout: None, chunk }
    }

    /// Builds and starts one under `name`, with what all sinks' settings have in common.
    ///
    /// # Errors
    /// As [`Kafka::new`].
    pub fn start(name: &str, config: &KafkaConfig, common: Common) -> Result<SinkHandle, SetupError> {
        let sink = picking(Self::new(name, config)?, common.selection);
        Ok(SinkHandle::spooling(name, sink, Self::policy(config), common.spool))
    }
}

/// A chunk's bounds, and the memory that chunks on their way need in librdkafka, which keeps a copy of
/// each message: together half of the sink's queue at most.
fn budget(config: &KafkaConfig) -> (Limits, usize) {
    let share = config.queue / 2 / (config.concurrency + 1);
    let chunk = Limits { records: CHUNK.records.min(share / 1_000).max(1), bytes: CHUNK.bytes.min(share / 2).max(1) };
    (chunk, (config.concurrency + 1) * (chunk.bytes + chunk.records * RECORD_OVERHEAD))
}

#[async_trait]
impl Sink for Kafka {
    fn encode(&self, cycle: &Cycle, batch: &Batch, out: &mut Chunker) {
        encode::encode(self.schema, cycle, batch, out);
    }

    fn pack(&self, body: &mut Vec<u8>) -> Bytes {
        // Compressing in memory does not fail; were it to, the empty chunk would be dropped and counted.
        zstd::bulk::compress(body, PACKING_LEVEL).map_or_else(|_| Bytes::new(), Bytes::from)
    }

    fn unpack(&self, body: &Bytes) -> Option<Vec<u8>> {
        unpacked(body)
    }

    async fn prepare(&self) -> Result<(), AttemptError> {
        self.connection.check().await
    }

    fn trouble(&self) -> Option<String> {
        self.connection.trouble()
    }

    async fn attempt(&self, body: Bytes) -> Result<(), AttemptError> {
        // Nothing is handed to librdkafka before a broker has shown the topic: what it has it keeps.
        if !self.connection.is_ready() {
            self.connection.check().await?;
        }
        let unpacking = tokio::task::spawn_blocking(move || unpacked(&body));
        let Ok(Some(body)) = unpacking.await else {
            return Err(AttemptError::Permanent { reason: "the chunk is damaged".to_owned() });
        };
        Waves::new(self.connection.clone(), &self.lanes, body).send().await
    }
}

fn unpacked(body: &[u8]) -> Option<Vec<u8>> {
    let length = zstd::zstd_safe::get_frame_content_size(body).ok()??;
    let length = usize::try_from(length).ok().filter(|length| *length <= MAX_UNPACKED)?;
    zstd::bulk::decompress(body, length).ok()
}
