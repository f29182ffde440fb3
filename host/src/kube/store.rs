//! The objects in memory, indexed for the two questions that a cycle asks: which nodes, and which
//! pods of this node. The watchers write, everybody reads; nothing is held for longer than a lookup.

use std::hash::BuildHasher;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use hashbrown::{DefaultHashBuilder, HashMap, HashTable};

use super::facts::{FactOptions, NodeFacts, PodFacts};
use super::intern::Interner;
use super::lite::{NamespaceLite, NodeLite, PodLite};
use super::watch::Shelf;

/// Every node by its name.
pub(super) type Nodes = RwLock<HashMap<Arc<str>, Arc<NodeFacts>>>;
/// Uid of every namespace by its name.
pub(super) type Namespaces = RwLock<HashMap<Box<str>, Arc<str>>>;

/// Every pod that is bound to a node.
#[derive(Debug, Default)]
pub(super) struct Pods {
    by_name: HashTable<Arc<PodFacts>>,
    by_node: HashMap<Arc<str>, Vec<Arc<PodFacts>>>,
    hasher: DefaultHashBuilder,
}

impl Pods {
    pub(super) fn len(&self) -> usize {
        self.by_name.len()
    }

    /// The pods of one node, by namespace and name.
    pub(super) fn of(&self, node: &str) -> Vec<Arc<PodFacts>> {
        let mut pods = self.by_node.get(node).cloned().unwrap_or_default();
        pods.sort_unstable_by(|a, b| (&a.namespace, &a.name).cmp(&(&b.namespace, &b.name)));
        pods
    }

    pub(super) fn get(&self, namespace: &str, name: &str) -> Option<&Arc<PodFacts>> {
        let hash = self.hasher.hash_one((namespace, name));
        self.by_name.find(hash, |pod| is(pod, namespace, name))
    }

    /// Adds or replaces a pod. One that is not bound to a node is no fact of any node.
    pub(super) fn put(&mut self, pod: Arc<PodFacts>) {
        self.remove(&pod.namespace, &pod.name);
        if pod.node.is_empty() {
            return;
        }
        let of_node = self.by_node.entry(Arc::clone(&pod.node)).or_default();
        of_node.push(Arc::clone(&pod));
        let hasher = &self.hasher;
        let hash = hash(hasher, &pod);
        self.by_name.insert_unique(hash, pod, |other| self::hash(hasher, other));
    }

    pub(super) fn remove(&mut self, namespace: &str, name: &str) {
        let hash = self.hasher.hash_one((namespace, name));
        let Ok(found) = self.by_name.find_entry(hash, |pod| is(pod, namespace, name)) else {
            return;
        };
        let (pod, _) = found.remove();
        if let Some(of_node) = self.by_node.get_mut(&pod.node) {
            of_node.retain(|other| !Arc::ptr_eq(other, &pod));
            if of_node.is_empty() {
                self.by_node.remove(&pod.node);
            }
        }
    }
}

fn is(pod: &PodFacts, namespace: &str, name: &str) -> bool {
    &*pod.name == name && &*pod.namespace == namespace
}

fn hash(hasher: &DefaultHashBuilder, pod: &PodFacts) -> u64 {
    hasher.hash_one((&*pod.namespace, &*pod.name))
}

/// A reader's lock. A writer that panicked left whole entries behind, so a poisoned lock is good.
pub(super) fn read<T>(lock: &RwLock<T>) -> RwLockReadGuard<'_, T> {
    lock.read().unwrap_or_else(PoisonError::into_inner)
}

pub(super) fn write<T>(lock: &RwLock<T>) -> RwLockWriteGuard<'_, T> {
    lock.write().unwrap_or_else(PoisonError::into_inner)
}

/// Where the pod watcher puts what it sees.
#[derive(Debug)]
pub(super) struct PodShelf {
    pub shared: Arc<RwLock<Pods>>,
    pub options: Arc<FactOptions>,
    pub strings: Interner,
    pub listing: Vec<Arc<PodFacts>>,
}

impl Shelf<PodLite> for PodShelf {
    fn begin(&mut self) {
        self.listing.clear();
    }

    fn list(&mut self, pod: &PodLite) {
        let facts = PodFacts::of(pod, &self.options, &mut self.strings);
        // A list that comes again mostly says what is known: keep the old object then, so that two
        // lists are never in memory at once.
        let known = read(&self.shared).get(&facts.namespace, &facts.name).filter(|known| ***known == facts).cloned();
        self.listing.push(known.unwrap_or_else(|| Arc::new(facts)));
    }

    fn listed(&mut self) {
        let mut fresh = Pods::default();
        for pod in self.listing.drain(..) {
            fresh.put(pod);
        }
        self.listing.shrink_to_fit();
        let old = std::mem::replace(&mut *write(&self.shared), fresh);
        drop(old);
    }

    fn put(&mut self, pod: &PodLite) {
        let facts = Arc::new(PodFacts::of(pod, &self.options, &mut self.strings));
        write(&self.shared).put(facts);
    }

    fn remove(&mut self, pod: &PodLite) {
        write(&self.shared).remove(&pod.metadata.namespace, &pod.metadata.name);
    }

    fn len(&self) -> usize {
        read(&self.shared).len()
    }
}

/// Where the node watcher puts what it sees.
#[derive(Debug)]
pub(super) struct NodeShelf {
    pub shared: Arc<Nodes>,
    pub options: Arc<FactOptions>,
    pub strings: Interner,
    pub listing: HashMap<Arc<str>, Arc<NodeFacts>>,
}

impl NodeShelf {
    fn facts(&mut self, node: &NodeLite) -> Arc<NodeFacts> {
        Arc::new(NodeFacts::of(node, &self.options, &mut self.strings))
    }
}

impl Shelf<NodeLite> for NodeShelf {
    fn begin(&mut self) {
        self.listing.clear();
    }

    fn list(&mut self, node: &NodeLite) {
        let facts = self.facts(node);
        self.listing.insert(Arc::clone(&facts.name), facts);
    }

    fn listed(&mut self) {
        *write(&self.shared) = std::mem::take(&mut self.listing);
    }

    fn put(&mut self, node: &NodeLite) {
        let facts = self.facts(node);
        write(&self.shared).insert(Arc::clone(&facts.name), facts);
    }

    fn remove(&mut self, node: &NodeLite) {
        write(&self.shared).remove(node.metadata.name.as_str());
    }

    fn len(&self) -> usize {
        read(&self.shared).len()
    }
}

/// Where the namespace watcher puts what it sees.
#[derive(Debug)]
pub(super) struct NamespaceShelf {
    pub shared: Arc<Namespaces>,
    pub listing: HashMap<Box<str>, Arc<str>>,
}

impl Shelf<NamespaceLite> for NamespaceShelf {
    fn begin(&mut self) {
        self.listing.clear();
    }

    fn list(&mut self, namespace: &NamespaceLite) {
        let meta = &namespace.metadata;
        self.listing.insert(meta.name.as_str().into(), meta.uid.as_str().into());
    }

    fn listed(&mut self) {
        *write(&self.shared) = std::mem::take(&mut self.listing);
    }

    fn put(&mut self, namespace: &NamespaceLite) {
        let meta = &namespace.metadata;
        write(&self.shared).insert(meta.name.as_str().into(), meta.uid.as_str().into());
    }

    fn remove(&mut self, namespace: &NamespaceLite) {
        write(&self.shared).remove(namespace.metadata.name.as_str());
    }

    fn len(&self) -> usize {
        read(&self.shared).len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(name: &str, node: &str) -> Arc<PodFacts> {
        Arc::new(PodFacts { namespace: "ns".into(), name: name.into(), node: node.into(), ..PodFacts::default() })
    }

    fn names(pods: &Pods, node: &str) -> Vec<String> {
        pods.of(node).iter().map(|pod| pod.name.to_string()).collect()
    }

    #[test]
    fn pods_are_found_by_node_and_move_with_their_name() {
        let mut pods = Pods::default();
        for (name, node) in [("b", "one"), ("a", "one"), ("c", "two"), ("pending", "")] {
            pods.put(pod(name, node));
        }
        assert_eq!((names(&pods, "one"), names(&pods, "two")), (vec!["a".into(), "b".into()], vec!["c".into()]));
        pods.put(pod("a", "two"));
        assert_eq!((names(&pods, "one"), names(&pods, "two")), (vec!["b".into()], vec!["a".into(), "c".into()]));
        pods.remove("ns", "b");
        pods.remove("ns", "never-there");
        pods.put(pod("c", ""));
        assert_eq!((pods.len(), names(&pods, "one").len(), names(&pods, "two")), (1, 0, vec!["a".into()]));
    }
}
