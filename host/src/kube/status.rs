//! How the watches are doing, for the status page and the process's own metrics.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

/// State of the three watches.
#[derive(Debug, Clone)]
pub struct InventoryStatus {
    /// The watch of nodes.
    pub nodes: KindStatus,
    /// The watch of pods.
    pub pods: KindStatus,
    /// The watch of namespaces.
    pub namespaces: KindStatus,
}

/// State of one watch.
#[derive(Debug, Clone, Default)]
pub struct KindStatus {
    /// Objects in memory; of pods only those bound to a node.
    pub objects: usize,
    /// Whether a first list was complete.
    pub synced: bool,
    /// Whether the last request succeeded.
    pub connected: bool,
    /// Objects seen since the start, listed or changed.
    pub events: u64,
    /// When the last object, bookmark or list came.
    pub last_event: Option<SystemTime>,
    /// Failed requests and broken streams.
    pub errors: u64,
    /// Lists begun after the first.
    pub relists: u64,
    /// The last failure, with its remedy.
    pub last_error: Option<String>,
}

/// The same, as the watcher writes it.
#[derive(Debug, Default)]
pub(super) struct Live {
    synced: AtomicBool,
    connected: AtomicBool,
    events: AtomicU64,
    errors: AtomicU64,
    lists: AtomicU64,
    last: Mutex<Last>,
}

#[derive(Debug, Default)]
struct Last {
    event: Option<SystemTime>,
    error: Option<String>,
}

impl Live {
    fn last(&self) -> std::sync::MutexGuard<'_, Last> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn list_begins(&self) {
        self.lists.fetch_add(1, Relaxed);
    }

    pub(super) fn event(&self) {
        self.events.fetch_add(1, Relaxed);
        self.heard();
    }

    /// Something came that is no object.
    pub(super) fn heard(&self) {
        self.connected.store(true, Relaxed);
        self.last().event = Some(SystemTime::now());
    }

    /// A request succeeded.
    pub(super) fn answered(&self) {
        self.connected.store(true, Relaxed);
    }

    pub(super) fn synced(&self) {
        self.synced.store(true, Relaxed);
    }

    pub(super) fn failed(&self, error: String) {
        self.errors.fetch_add(1, Relaxed);
        self.connected.store(false, Relaxed);
        self.last().error = Some(error);
    }

    pub(super) fn is_synced(&self) -> bool {
        self.synced.load(Relaxed)
    }

    pub(super) fn snapshot(&self, objects: usize) -> KindStatus {
        let last = self.last();
        KindStatus {
            objects,
            synced: self.is_synced(),
            connected: self.connected.load(Relaxed),
            events: self.events.load(Relaxed),
            last_event: last.event,
            errors: self.errors.load(Relaxed),
            relists: self.lists.load(Relaxed).saturating_sub(1),
            last_error: last.error.clone(),
        }
    }
}
