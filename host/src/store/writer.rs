//! The one who writes: adds batches to their sources, and at the end of a cycle forgets what is too old
//! or too much and makes the state that readers see.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::snapshot::Snapshot;
use super::source::{Scratch, Source};
use super::{StoreConfig, StoreStatus};
use crate::batch::{Batch, Cycle, Origin};

/// Builds the store cycle by cycle. Has no thread of its own.
#[derive(Debug)]
pub struct Writer {
    keep_ns: i64,
    max_bytes: usize,
    /// Nodes before totals, each by name.
    sources: BTreeMap<(bool, Box<str>), Kept>,
    /// The cycle whose batches come in.
    open: Option<Cycle>,
    evicted_cycles: u64,
    scratch: Scratch,
}

#[derive(Debug)]
struct Kept {
    source: Arc<Source>,
    bytes: usize,
}

/// The state that readers see after a cycle.
pub(super) type Ended = (Arc<Snapshot>, StoreStatus);

impl Writer {
    /// An empty store.
    #[must_use]
    pub fn new(config: &StoreConfig) -> Self {
        Self {
            keep_ns: i64::try_from(config.keep.as_nanos()).unwrap_or(i64::MAX),
            max_bytes: config.max_memory,
            sources: BTreeMap::new(),
            open: None,
            evicted_cycles: 0,
            scratch: Scratch::default(),
        }
    }

    /// Adds a batch. If it is the first of its cycle and nobody ended the one before, that one ends.
    pub fn batch(&mut self, cycle: &Cycle, batch: &Batch) -> Option<(Arc<Snapshot>, StoreStatus)> {
        let before = self.open.replace(*cycle).filter(|open| open.number != cycle.number);
        let ended = before.map(|before| self.publish(&before));
        let key = (matches!(batch.origin, Origin::Totals(_)), batch.origin.name().into());
        match self.sources.get_mut(&key) {
            // Readers share the source until the cycle ends: they keep theirs, and this one is copied once.
            Some(kept) => {
                let source = Arc::make_mut(&mut kept.source);
                source.append(cycle, batch, &mut self.scratch);
                kept.bytes = source.size_bytes();
            }
            None => {
                let source = Arc::new(Source::new(cycle, batch, &mut self.scratch));
                let bytes = source.size_bytes();
                self.sources.insert(key, Kept { source, bytes });
            }
        }
        ended
    }

    /// Ends a cycle.
    pub fn end(&mut self, cycle: &Cycle) -> Option<(Arc<Snapshot>, StoreStatus)> {
        self.open = None;
        Some(self.publish(cycle))
    }

    fn publish(&mut self, cycle: &Cycle) -> Ended {
        self.forget_until(cycle.time.saturating_sub(self.keep_ns));
        while self.bytes() > self.max_bytes {
            let Some(oldest) = self.oldest() else { break };
            self.evicted_cycles += 1;
            self.forget_until(oldest);
        }
        let sources: Vec<Arc<Source>> = self.sources.values().map(|kept| Arc::clone(&kept.source)).collect();
        let mut times: Vec<i64> = sources.iter().flat_map(|it| it.blocks.iter().map(|block| block.time)).collect();
        times.sort_unstable();
        times.dedup();
        let points = sources.iter().flat_map(|source| &source.blocks).map(|block| block.points as u64).sum();
        let status = StoreStatus {
            cycle: cycle.number,
            cycles: times.len(),
            sources: sources.len(),
            points,
            bytes: self.bytes() as u64,
            max_bytes: self.max_bytes as u64,
            keep_seconds: u64::try_from(self.keep_ns / 1_000_000_000).unwrap_or(0),
            evicted_cycles: self.evicted_cycles,
            points_missed: 0,
        };
        (Arc::new(Snapshot::new(cycle.number, cycle.time, cycle.window, sources)), status)
    }

    fn bytes(&self) -> usize {
        self.sources.values().map(|kept| kept.bytes).sum()
    }

    fn oldest(&self) -> Option<i64> {
        self.sources.values().filter_map(|kept| Some(kept.source.blocks.first()?.time)).min()
    }

    /// Forgets the cycles up to and with this timestamp.
    fn forget_until(&mut self, time: i64) {
        self.sources.retain(|_, kept| {
            let old = kept.source.blocks.partition_point(|block| block.time <= time);
            if old > 0 {
                let source = Arc::make_mut(&mut kept.source);
                source.blocks.drain(..old);
                kept.bytes = source.size_bytes();
            }
            !kept.source.blocks.is_empty()
        });
    }
}
