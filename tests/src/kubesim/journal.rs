//! What was asked of the cluster, for tests to look at: counters without end, and the last requests.

use std::{
    collections::VecDeque,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

/// Requests kept.
const KEPT: usize = 20_000;

/// Who was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// The API server.
    Api,
    /// The kubelet of the node with that index.
    Kubelet(usize),
}

/// One request and how it was answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Who was asked.
    pub target: Target,
    /// Path and query.
    pub path: String,
    /// HTTP status; 0 when the failure kit left it without one.
    pub status: u16,
    /// The request's `User-Agent`.
    pub user_agent: String,
}

/// Counters since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Lists and single objects asked of the API server.
    pub lists: u64,
    /// Watches begun.
    pub watches: u64,
    /// Requests that reached a kubelet, failing ones included.
    pub scrapes: u64,
    /// Bytes of the whole bodies kubelets answered with.
    pub summary_bytes: u64,
    /// Connections accepted, by API server and kubelets.
    pub connections: u64,
    /// Connections to kubelets that resumed a TLS session.
    pub resumed: u64,
}

#[derive(Debug, Default)]
pub(super) struct Journal {
    entries: Mutex<VecDeque<Entry>>,
    pub(super) lists: AtomicU64,
    pub(super) watches: AtomicU64,
    pub(super) scrapes: AtomicU64,
    pub(super) summary_bytes: AtomicU64,
    pub(super) connections: AtomicU64,
    pub(super) resumed: AtomicU64,
}

impl Journal {
    pub(super) fn note(&self, entry: Entry) {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        if entries.len() >= KEPT {
            entries.pop_front();
        }
        entries.push_back(entry);
    }

    pub(super) fn entries(&self) -> Vec<Entry> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }

    pub(super) fn counts(&self) -> Counts {
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Counts {
            lists: of(&self.lists),
            watches: of(&self.watches),
            scrapes: of(&self.scrapes),
            summary_bytes: of(&self.summary_bytes),
            connections: of(&self.connections),
            resumed: of(&self.resumed),
        }
    }
}

/// Adds to a counter.
pub(super) fn count(counter: &AtomicU64, more: usize) {
    counter.fetch_add(more as u64, Ordering::Relaxed);
}
