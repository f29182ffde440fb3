//! The last known state of the cluster, as snapshots. Reading never waits for the API server.

use std::sync::{Arc, RwLock};

use hashbrown::HashMap;
use kube::Client;
use tokio::sync::watch::{Receiver, Sender, channel};
use tokio::task::JoinSet;

use super::facts::{FactOptions, NodeFacts, PodFacts};
use super::intern::Interner;
use super::lite::{NamespaceLite, NodeLite, PodLite};
use super::status::{InventoryStatus, Live};
use super::store::{NamespaceShelf, Namespaces, NodeShelf, Nodes, PodShelf, Pods, read};
use super::watch;

/// Nodes, pods and namespaces of one cluster. Dropping it ends its watches.
#[derive(Debug)]
pub struct Inventory {
    nodes: Arc<Nodes>,
    pods: Arc<RwLock<Pods>>,
    namespaces: Arc<Namespaces>,
    live: Arc<[Arc<Live>; 3]>,
    changed: Receiver<()>,
    watchers: JoinSet<()>,
}

impl Inventory {
    /// Begins to list and watch. Must be called within a Tokio runtime.
    #[must_use]
    pub fn start(client: Client, options: FactOptions) -> Self {
        let options = Arc::new(options);
        let (changes, changed) = channel(());
        let mut inventory = Self {
            nodes: Arc::default(),
            pods: Arc::default(),
            namespaces: Arc::default(),
            live: Arc::default(),
            changed,
            watchers: JoinSet::new(),
        };
        inventory.spawn(client, options, changes);
        inventory
    }

    fn spawn(&mut self, client: Client, options: Arc<FactOptions>, changes: Sender<()>) {
        let changes = Arc::new(changes);
        let done = || {
            let changes = Arc::clone(&changes);
            move || {
                let _ = changes.send(());
            }
        };
        let [nodes, pods, namespaces] = &*self.live;
        let node_shelf = NodeShelf {
            shared: Arc::clone(&self.nodes),
            options: Arc::clone(&options),
            strings: Interner::default(),
            listing: HashMap::new(),
        };
        let pod_shelf =
            PodShelf { shared: Arc::clone(&self.pods), options, strings: Interner::default(), listing: Vec::new() };
        let namespace_shelf = NamespaceShelf { shared: Arc::clone(&self.namespaces), listing: HashMap::new() };
        let watchers = &mut self.watchers;
        watchers.spawn(watch::run::<NodeLite, _>(client.clone(), node_shelf, Arc::clone(nodes), done()));
        watchers.spawn(watch::run::<PodLite, _>(client.clone(), pod_shelf, Arc::clone(pods), done()));
        watchers.spawn(watch::run::<NamespaceLite, _>(client, namespace_shelf, Arc::clone(namespaces), done()));
    }

    /// Whether the first lists of nodes, pods and namespaces are complete.
    #[must_use]
    pub fn synced(&self) -> bool {
        self.live.iter().all(|live| live.is_synced())
    }

    /// Waits until [`Self::synced`].
    pub async fn wait_synced(&self) {
        let mut changed = self.changed.clone();
        while !self.synced() {
            if changed.changed().await.is_err() {
                // The watchers only end with the inventory itself.
                return;
            }
        }
    }

    /// Every node, by name.
    #[must_use]
    pub fn nodes(&self) -> Vec<Arc<NodeFacts>> {
        let mut nodes: Vec<_> = read(&self.nodes).values().cloned().collect();
        nodes.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        nodes
    }

    /// One node.
    #[must_use]
    pub fn node(&self, name: &str) -> Option<Arc<NodeFacts>> {
        read(&self.nodes).get(name).cloned()
    }

    /// The pods that are bound to `node`, by namespace and name.
    #[must_use]
    pub fn pods_of(&self, node: &str) -> Arc<[Arc<PodFacts>]> {
        read(&self.pods).of(node).into()
    }

    /// One pod, if it is bound to a node.
    #[must_use]
    pub fn pod(&self, namespace: &str, name: &str) -> Option<Arc<PodFacts>> {
        read(&self.pods).get(namespace, name).cloned()
    }

    /// The uid of a namespace.
    #[must_use]
    pub fn namespace_uid(&self, name: &str) -> Option<Arc<str>> {
        read(&self.namespaces).get(name).cloned()
    }

    /// Every namespace, by name.
    #[must_use]
    pub fn namespaces(&self) -> Vec<Box<str>> {
        let mut names: Vec<_> = read(&self.namespaces).keys().cloned().collect();
        names.sort_unstable();
        names
    }

    /// How the watches are doing.
    #[must_use]
    pub fn status(&self) -> InventoryStatus {
        let [nodes, pods, namespaces] = &*self.live;
        InventoryStatus {
            nodes: nodes.snapshot(read(&self.nodes).len()),
            pods: pods.snapshot(read(&self.pods).len()),
            namespaces: namespaces.snapshot(read(&self.namespaces).len()),
        }
    }
}
