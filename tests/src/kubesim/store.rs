//! The API server's object store: what exists, under which resource version, and what changed lately.
//!
//! One counter of versions for all resources, as in etcd. Watches start anywhere in the kept history; continue tokens
//! read from kept snapshots. Both are bounded, and what fell out is answered with "expired" by `list` and `watch`.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use serde::Deserialize;
use tokio::sync::watch;

/// Snapshots kept for continue tokens.
const SNAPSHOTS: usize = 32;
/// The first version handed out.
const FIRST_VERSION: u64 = 1000;

/// The resources served.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Resource {
    /// `/api/v1/nodes`
    Nodes,
    /// `/api/v1/pods`
    Pods,
    /// `/api/v1/namespaces`
    Namespaces,
    /// `/api/v1/configmaps`
    ConfigMaps,
}

impl Resource {
    pub(super) const ALL: [Self; 4] = [Self::Nodes, Self::Pods, Self::Namespaces, Self::ConfigMaps];

    pub(super) fn plural(self) -> &'static str {
        match self {
            Self::Nodes => "nodes",
            Self::Pods => "pods",
            Self::Namespaces => "namespaces",
            Self::ConfigMaps => "configmaps",
        }
    }

    pub(super) fn kind(self) -> &'static str {
        match self {
            Self::Nodes => "Node",
            Self::Pods => "Pod",
            Self::Namespaces => "Namespace",
            Self::ConfigMaps => "ConfigMap",
        }
    }

    pub(super) fn is_namespaced(self) -> bool {
        matches!(self, Self::Pods | Self::ConfigMaps)
    }

    pub(super) fn named(plural: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|resource| resource.plural() == plural)
    }
}

/// An object at one version.
#[derive(Debug)]
pub(super) struct Item {
    /// `namespace/name`, or the name alone.
    pub(super) key: String,
    pub(super) node: String,
    pub(super) phase: String,
    /// The object without `kind` and `apiVersion`.
    pub(super) json: Bytes,
}

#[derive(Deserialize)]
struct Outline {
    metadata: OutlineMetadata,
    #[serde(default)]
    spec: OutlineSpec,
    #[serde(default)]
    status: OutlineStatus,
}

#[derive(Deserialize)]
struct OutlineMetadata {
    name: String,
    #[serde(default)]
    namespace: String,
}

#[derive(Deserialize, Default)]
struct OutlineSpec {
    #[serde(default, rename = "nodeName")]
    node_name: String,
}

#[derive(Deserialize, Default)]
struct OutlineStatus {
    #[serde(default)]
    phase: String,
}

impl Item {
    /// What field selectors may name.
    pub(super) const FIELDS: [&str; 4] = ["metadata.name", "metadata.namespace", "spec.nodeName", "status.phase"];

    /// Reads key and fields from the object itself.
    pub(super) fn read(json: Vec<u8>) -> Result<Self, serde_json::Error> {
        let outline: Outline = serde_json::from_slice(&json)?;
        let OutlineMetadata { name, namespace } = outline.metadata;
        Ok(Self {
            key: key(&namespace, &name),
            node: outline.spec.node_name,
            phase: outline.status.phase,
            json: json.into(),
        })
    }

    pub(super) fn field(&self, name: &str) -> &str {
        let (namespace, own) = self.key.split_once('/').unwrap_or(("", &self.key));
        match name {
            "metadata.name" => own,
            "metadata.namespace" => namespace,
            "spec.nodeName" => &self.node,
            "status.phase" => &self.phase,
            _ => "",
        }
    }

    pub(super) fn in_namespace(&self, namespace: Option<&str>) -> bool {
        namespace.is_none_or(|namespace| self.field("metadata.namespace") == namespace)
    }
}

/// Key of an object.
pub(super) fn key(namespace: &str, name: &str) -> String {
    if namespace.is_empty() { name.to_owned() } else { format!("{namespace}/{name}") }
}

/// One change.
#[derive(Debug, Clone)]
pub(super) struct Change {
    pub(super) version: u64,
    /// The object before, unless it is new.
    pub(super) before: Option<Arc<Item>>,
    /// The object after; of a deletion its last state, under the deletion's version.
    pub(super) after: Arc<Item>,
    pub(super) deleted: bool,
}

/// The state at one version, in the order of keys.
#[derive(Debug, Clone)]
pub(super) struct Snapshot {
    pub(super) version: u64,
    pub(super) items: Arc<Vec<Arc<Item>>>,
}

#[derive(Debug, Default)]
struct Shelf {
    items: BTreeMap<String, Arc<Item>>,
    history: VecDeque<Change>,
    /// Changes after this version are all in `history`.
    known_from: u64,
    snapshots: VecDeque<Snapshot>,
}

#[derive(Debug)]
struct Inner {
    version: u64,
    shelves: [Shelf; 4],
}

/// See the module.
#[derive(Debug)]
pub(super) struct Store {
    inner: Mutex<Inner>,
    /// The newest version, to wake watches.
    newest: watch::Sender<u64>,
    history: usize,
}

impl Store {
    pub(super) fn new(history: usize) -> Self {
        let inner = Inner { version: FIRST_VERSION, shelves: Default::default() };
        Self { inner: Mutex::new(inner), newest: watch::Sender::new(FIRST_VERSION), history }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Creates or replaces an object; `make` gets its version.
    pub(super) fn put(&self, resource: Resource, make: impl FnOnce(u64) -> Item) {
        let mut inner = self.inner();
        inner.version += 1;
        let version = inner.version;
        let after = Arc::new(make(version));
        let shelf = &mut inner.shelves[resource as usize];
        let before = shelf.items.insert(after.key.clone(), Arc::clone(&after));
        shelf.remember(Change { version, before, after, deleted: false }, self.history);
        drop(inner);
        self.newest.send_replace(version);
    }

    /// Deletes an object; `make` gets the deletion's version and the last state. False if there is none.
    pub(super) fn delete(&self, resource: Resource, key: &str, make: impl FnOnce(u64, &Item) -> Item) -> bool {
        let mut inner = self.inner();
        let Some(before) = inner.shelves[resource as usize].items.remove(key) else { return false };
        inner.version += 1;
        let version = inner.version;
        let after = Arc::new(make(version, &before));
        let change = Change { version, before: Some(before), after, deleted: true };
        inner.shelves[resource as usize].remember(change, self.history);
        drop(inner);
        self.newest.send_replace(version);
        true
    }

    pub(super) fn get(&self, resource: Resource, key: &str) -> Option<Arc<Item>> {
        self.inner().shelves[resource as usize].items.get(key).map(Arc::clone)
    }

    /// The newest version of all.
    pub(super) fn version(&self) -> u64 {
        self.inner().version
    }

    /// Tells of every new version.
    pub(super) fn subscribe(&self) -> watch::Receiver<u64> {
        self.newest.subscribe()
    }

    /// Everything there is now.
    pub(super) fn snapshot(&self, resource: Resource) -> Snapshot {
        let inner = self.inner();
        let items = inner.shelves[resource as usize].items.values().map(Arc::clone).collect();
        Snapshot { version: inner.version, items: Arc::new(items) }
    }

    /// Keeps a snapshot for the pages that follow its first.
    pub(super) fn keep(&self, resource: Resource, snapshot: Snapshot) {
        let snapshots = &mut self.inner().shelves[resource as usize].snapshots;
        if snapshots.iter().all(|kept| kept.version != snapshot.version) {
            snapshots.push_back(snapshot);
        }
        if snapshots.len() > SNAPSHOTS {
            snapshots.pop_front();
        }
    }

    /// A kept snapshot.
    pub(super) fn kept(&self, resource: Resource, version: u64) -> Option<Snapshot> {
        let inner = self.inner();
        inner.shelves[resource as usize].snapshots.iter().find(|kept| kept.version == version).cloned()
    }

    /// Up to `most` changes after `version`, and the version up to which the caller then knows everything. `None`: the
    /// history does not reach back that far.
    pub(super) fn changes(&self, resource: Resource, version: u64, most: usize) -> Option<(Vec<Change>, u64)> {
        let inner = self.inner();
        let shelf = &inner.shelves[resource as usize];
        if version < shelf.known_from {
            return None;
        }
        let first = shelf.history.partition_point(|change| change.version <= version);
        let changes: Vec<_> = shelf.history.range(first..).take(most).cloned().collect();
        let all = first + changes.len() == shelf.history.len();
        let upto = if all { inner.version.max(version) } else { changes.last().map_or(version, |last| last.version) };
        Some((changes, upto))
    }

    /// Forgets what was before now: older versions are too old for watches, and with `snapshots` also for continue
    /// tokens.
    pub(super) fn forget(&self, snapshots: bool) {
        let mut inner = self.inner();
        let version = inner.version;
        for shelf in &mut inner.shelves {
            shelf.history.clear();
            shelf.known_from = version;
            if snapshots {
                shelf.snapshots.clear();
            }
        }
    }
}

impl Shelf {
    fn remember(&mut self, change: Change, most: usize) {
        self.history.push_back(change);
        while self.history.len() > most {
            self.known_from = self.history.pop_front().map_or(self.known_from, |oldest| oldest.version);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(name: &str) -> impl FnOnce(u64) -> Item {
        let json = format!(r#"{{"metadata":{{"name":"{name}","namespace":"ns"}}}}"#).into_bytes();
        |_| Item::read(json).unwrap()
    }

    #[test]
    fn changes_are_told_in_order_from_any_kept_version() {
        let store = Store::new(3);
        let start = store.version();
        for name in ["a", "b", "a"] {
            store.put(Resource::Pods, pod(name));
        }
        store.put(Resource::Nodes, pod("n"));
        let (changes, upto) = store.changes(Resource::Pods, start, 10).unwrap();
        let kinds: Vec<_> = changes.iter().map(|change| (change.after.key.as_str(), change.before.is_some())).collect();
        assert_eq!(kinds, [("ns/a", false), ("ns/b", false), ("ns/a", true)]);
        assert_eq!(upto, start + 4, "other resources' versions count as known");
        let (first, upto) = store.changes(Resource::Pods, start, 1).unwrap();
        assert_eq!((first.len(), upto), (1, start + 1));
        assert!(store.delete(Resource::Pods, "ns/b", |version, _| pod("b")(version)));
        assert!(!store.delete(Resource::Pods, "ns/b", |version, _| pod("b")(version)));
        assert!(store.changes(Resource::Pods, start, 10).is_none(), "the fourth change pushed the first out");
        assert_eq!(store.changes(Resource::Pods, start + 1, 10).unwrap().0.len(), 3);
    }

    #[test]
    fn snapshots_stay_as_they_were() {
        let store = Store::new(10);
        store.put(Resource::Pods, pod("a"));
        let snapshot = store.snapshot(Resource::Pods);
        store.keep(Resource::Pods, snapshot.clone());
        store.put(Resource::Pods, pod("b"));
        assert_eq!(store.kept(Resource::Pods, snapshot.version).unwrap().items.len(), 1);
        store.forget(true);
        assert!(store.kept(Resource::Pods, snapshot.version).is_none());
        assert!(store.changes(Resource::Pods, snapshot.version, 1).is_none());
    }
}
