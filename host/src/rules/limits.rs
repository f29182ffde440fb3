//! What one instance may use, and the watch over its memory.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use serde::{Serialize, Serializer};
use wasmtime::ResourceLimiter;

use super::stats::Meters;
use crate::batch::{Batch, EditBounds};

/// Table entries of one instance in all. A Rust rule has some hundreds.
const MAX_TABLE_ENTRIES: usize = 1 << 20;

/// What one instance of a rule may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Limits {
    /// Linear memory in all, bytes.
    pub memory_bytes: usize,
    /// Longest `process` call, wall time.
    #[serde(rename = "process_ms", serialize_with = "milliseconds")]
    pub process: Duration,
    /// Longest `finish`, `describe` or `configure` call, wall time.
    #[serde(rename = "finish_ms", serialize_with = "milliseconds")]
    pub finish: Duration,
}

fn milliseconds<S: Serializer>(time: &Duration, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_u64(u64::try_from(time.as_millis()).unwrap_or(u64::MAX))
}

impl Default for Limits {
    fn default() -> Self {
        Self { memory_bytes: 128 << 20, process: Duration::from_secs(1), finish: Duration::from_secs(5) }
    }
}

/// The bytes that may be lifted out of a guest for one answer. Looser than `bounds`, which
/// say exactly what is too much; this one only keeps the host's memory from growing meanwhile.
pub(super) fn answer_bytes(batch: Option<&Batch>, bounds: &EditBounds) -> usize {
    const SLACK: usize = 1 << 20;
    let masks = batch.map_or(0, |batch| batch.entities.len() + batch.points.len());
    let points = bounds.points.saturating_mul(48);
    let entities = bounds.entities.saturating_mul(24);
    // Two columns of names and values; label changes have a third.
    let labels = bounds.labels.saturating_mul(12);
    let text = bounds.text_bytes.saturating_mul(2);
    [points, entities, labels, text, SLACK].into_iter().fold(masks, usize::saturating_add)
}

/// A guest wanted more memory than its limit. The call ends there.
#[derive(Debug, thiserror::Error)]
#[error("wants {wanted} bytes of memory, the limit is {limit}")]
pub(super) struct OverMemory {
    /// All its memories together, bytes.
    pub wanted: usize,
    /// The limit, bytes.
    pub limit: usize,
}

/// Counts the memory and the tables of one instance.
#[derive(Debug)]
pub(super) struct MemoryWatch {
    limit: usize,
    used: usize,
    /// The last growth that was allowed; taken back if it fails all the same.
    growth: usize,
    table_entries: usize,
    meters: Arc<Meters>,
}

impl MemoryWatch {
    pub(super) fn new(limit: usize, meters: Arc<Meters>) -> Self {
        Self { limit, used: 0, growth: 0, table_entries: 0, meters }
    }
}

impl ResourceLimiter for MemoryWatch {
    fn memory_growing(&mut self, current: usize, desired: usize, _maximum: Option<usize>) -> wasmtime::Result<bool> {
        self.growth = desired.saturating_sub(current);
        let wanted = self.used.saturating_add(self.growth);
        if wanted > self.limit {
            let limit = self.limit;
            return Err(wasmtime::Error::new(OverMemory { wanted, limit }));
        }
        self.used = wanted;
        self.meters.memory_bytes.fetch_max(wanted as u64, Ordering::Relaxed);
        Ok(true)
    }

    fn memory_grow_failed(&mut self, _error: wasmtime::Error) -> wasmtime::Result<()> {
        self.used = self.used.saturating_sub(std::mem::take(&mut self.growth));
        Ok(())
    }

    fn table_growing(&mut self, current: usize, desired: usize, _maximum: Option<usize>) -> wasmtime::Result<bool> {
        self.table_entries = self.table_entries.saturating_add(desired.saturating_sub(current));
        Ok(self.table_entries <= MAX_TABLE_ENTRIES)
    }

    fn instances(&self) -> usize {
        64
    }

    fn tables(&self) -> usize {
        64
    }

    fn memories(&self) -> usize {
        16
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memories_of_one_instance_count_together() {
        let mut watch = MemoryWatch::new(1000, Arc::default());
        assert!(watch.memory_growing(0, 600, None).is_ok());
        assert!(watch.memory_growing(0, 400, None).is_ok());
        let error = watch.memory_growing(400, 401, None).unwrap_err();
        assert_eq!(error.downcast_ref::<OverMemory>().unwrap().wanted, 1001);
    }

    #[test]
    fn a_growth_that_failed_is_not_counted() {
        let mut watch = MemoryWatch::new(1000, Arc::default());
        assert!(watch.memory_growing(0, 900, None).is_ok());
        watch.memory_grow_failed(wasmtime::Error::msg("no room")).unwrap();
        assert!(watch.memory_growing(0, 1000, None).is_ok());
    }
}
