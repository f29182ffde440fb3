//! Batches on their way into the chain, for whoever asks to record some. Costs an atomic store and a
//! load a batch when nobody does, and never makes the chain wait: who reads too slowly loses batches
//! and is told how many.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::mpsc;

use crate::batch::{Batch, Cycle, wire};

/// Recordings at one time.
pub const MAX_LISTENERS: usize = 2;
/// Cycles of one recording.
pub const MAX_CYCLES: u32 = 60;
/// Bytes that wait for one listener.
const MAX_QUEUED_BYTES: usize = 64 << 20;

/// Where the chain shows its batches, and listeners get them.
#[derive(Debug, Default)]
pub struct Recordings {
    /// The cycle that the chain works on, or worked on last.
    current: AtomicU64,
    count: AtomicUsize,
    listeners: Mutex<Vec<Listener>>,
}

#[derive(Debug)]
struct Listener {
    /// Cycles up to this one had begun before it came.
    after: u64,
    /// Whole cycles that it still wants.
    left: u32,
    out: mpsc::UnboundedSender<Bytes>,
    queued: Arc<AtomicUsize>,
    lost: u64,
}

/// One recording, as whoever asked for it sees it. Dropping it ends the recording.
#[derive(Debug)]
pub struct Recording {
    parts: mpsc::UnboundedReceiver<Bytes>,
    queued: Arc<AtomicUsize>,
}

impl Recordings {
    /// Records the next `cycles` whole cycles. `None` if too many do that already.
    #[must_use]
    pub fn listen(&self, cycles: u32) -> Option<Recording> {
        let mut listeners = self.lock();
        listeners.retain(|listener| !listener.out.is_closed());
        let room = listeners.len() < MAX_LISTENERS;
        let recording = room.then(|| {
            let (out, parts) = mpsc::unbounded_channel();
            let queued = Arc::new(AtomicUsize::new(0));
            let after = self.current.load(Ordering::SeqCst);
            let left = cycles.clamp(1, MAX_CYCLES);
            let listener = Listener { after, left, out, queued: Arc::clone(&queued), lost: 0 };
            listener.send(Bytes::from_static(wire::HEADER));
            listeners.push(listener);
            Recording { parts, queued }
        });
        self.count.store(listeners.len(), Ordering::SeqCst);
        recording
    }

    /// A batch enters the chain.
    pub fn batch(&self, cycle: &Cycle, batch: &Batch) {
        self.current.store(cycle.number, Ordering::SeqCst);
        if self.count.load(Ordering::SeqCst) == 0 {
            return;
        }
        let mut bytes = Bytes::new();
        self.each(cycle, |listener| {
            if listener.queued.load(Ordering::SeqCst) > MAX_QUEUED_BYTES {
                listener.lost += 1;
                return;
            }
            if bytes.is_empty() {
                let mut out = Vec::with_capacity(batch.size_bytes());
                wire::write_batch(&mut out, cycle, batch);
                bytes = out.into();
            }
            listener.send(bytes.clone());
        });
    }

    /// The chain has done all batches of a cycle.
    pub fn end(&self, cycle: &Cycle) {
        self.current.store(cycle.number, Ordering::SeqCst);
        if self.count.load(Ordering::SeqCst) == 0 {
            return;
        }
        self.each(cycle, |listener| {
            let mut out = Vec::new();
            if listener.lost > 0 {
                wire::write_lost(&mut out, std::mem::take(&mut listener.lost));
            }
            wire::write_end(&mut out, cycle);
            listener.send(out.into());
            listener.left -= 1;
        });
    }

    /// Every listener that wants this cycle; those that have all or are gone are forgotten, which
    /// ends their recordings.
    fn each(&self, cycle: &Cycle, mut visit: impl FnMut(&mut Listener)) {
        let mut listeners = self.lock();
        listeners.iter_mut().filter(|listener| cycle.number > listener.after).for_each(&mut visit);
        listeners.retain(|listener| listener.left > 0 && !listener.out.is_closed());
        self.count.store(listeners.len(), Ordering::SeqCst);
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Listener>> {
        self.listeners.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Listener {
    fn send(&self, bytes: Bytes) {
        self.queued.fetch_add(bytes.len(), Ordering::SeqCst);
        // Who has gone away is forgotten at the next visit.
        let _ = self.out.send(bytes);
    }
}

impl Recording {
    /// The next part; `None` when all wanted cycles are there.
    pub async fn next(&mut self) -> Option<Bytes> {
        let part = self.parts.recv().await?;
        self.queued.fetch_sub(part.len(), Ordering::SeqCst);
        Some(part)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::wire::{Decoder, Record};
    use crate::batch::{BatchBuilder, Descriptor, Level, Origin};

    fn cycle(number: u64) -> Cycle {
        Cycle { number, time: 0, window: 0, nodes_asked: 1, nodes_answered: 1 }
    }

    fn batch(points: u64) -> Batch {
        let mut builder = BatchBuilder::new(Origin::Node("a".to_owned()), 0);
        let metric = builder.metric(Descriptor::gauge("m", ""));
        builder.entity(Level::Node, 0);
        (0..points).for_each(|value| builder.point(metric, 0, 0, value));
        builder.build()
    }

    /// What a recording has, a letter a record.
    async fn letters(mut recording: Recording) -> String {
        let (mut decoder, mut letters) = (Decoder::default(), String::new());
        while let Some(part) = recording.next().await {
            decoder.push(&part);
            while let Some(record) = decoder.next_record().unwrap() {
                letters += &match record {
                    Record::Batch(cycle, _) => format!("b{}", cycle.number),
                    Record::End(cycle) => format!("e{}", cycle.number),
                    Record::Lost(batches) => format!("l{batches}"),
                };
            }
        }
        decoder.end().unwrap();
        letters
    }

    #[tokio::test]
    async fn a_recording_has_whole_cycles_only() {
        let recordings = Recordings::default();
        recordings.batch(&cycle(4), &batch(1));
        let recording = recordings.listen(2).unwrap();
        for (number, batches) in [(4, 1), (5, 2), (6, 0), (7, 1)] {
            (0..batches).for_each(|_| recordings.batch(&cycle(number), &batch(1)));
            recordings.end(&cycle(number));
        }
        assert_eq!(letters(recording).await, "b5b5e5e6");
        assert_eq!(recordings.count.load(Ordering::SeqCst), 0);
    }

    #[tokio::test]
    async fn who_does_not_read_loses_batches_and_is_told() {
        let recordings = Recordings::default();
        let recording = recordings.listen(1).unwrap();
        let large = batch(1 << 20);
        (0..6).for_each(|_| recordings.batch(&cycle(1), &large));
        recordings.end(&cycle(1));
        assert!(recording.queued.load(Ordering::SeqCst) < 2 * MAX_QUEUED_BYTES);
        assert_eq!(letters(recording).await, "b1b1b1b1l2e1");
    }

    #[test]
    fn recordings_are_few_and_end_with_their_listeners() {
        let recordings = Recordings::default();
        let first = recordings.listen(1);
        let second = recordings.listen(1);
        assert!(first.is_some() && second.is_some() && recordings.listen(1).is_none());
        drop(first);
        recordings.batch(&cycle(1), &batch(1));
        assert_eq!(recordings.count.load(Ordering::SeqCst), 1);
        assert!(recordings.listen(1).is_some());
    }
}
