//! Keeps the object store in step with the world's time: pods come, run, restart and go; nodes send heartbeats.
//!
//! Changes are applied in the order of their moments, however far the time jumps.

use std::{
    cmp::Reverse,
    collections::BinaryHeap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::{
    kubelet::Cluster,
    load::{Schedule, mix},
    objects::{self, NodeReport},
    store::{Item, Resource, Store, key},
    world::{Phase, PodState, Slot},
};

/// How often a node's status is written although nothing changed.
const HEARTBEAT_SECS: f64 = 300.0;

/// See the module.
pub(super) struct Population {
    cluster: Arc<Cluster>,
    store: Arc<Store>,
    kubelet_port: u16,
    agenda: Mutex<Agenda>,
}

struct Agenda {
    /// What changes next: pods by their number, then nodes by theirs.
    next: BinaryHeap<Reverse<(i64, usize)>>,
    /// What failures make the API say, by node: ready, with an address.
    reports: Vec<(bool, bool)>,
}

impl Population {
    /// Fills the store with what exists now.
    pub(super) fn new(cluster: Arc<Cluster>, store: Arc<Store>, kubelet_port: u16) -> Self {
        let config = &cluster.world.config;
        let agenda = Agenda { next: BinaryHeap::new(), reports: vec![(true, true); config.nodes] };
        let (nodes, pods, namespaces) = (config.nodes, config.nodes * config.pods, config.namespaces);
        let population = Self { cluster, store, kubelet_port, agenda: Mutex::new(agenda) };
        let now = population.cluster.began;
        let mut agenda = population.agenda();
        for index in 0..namespaces {
            population.store.put(Resource::Namespaces, |version| {
                let name = population.cluster.world.namespace_name(index);
                let json = objects::namespace(&population.cluster.world, index, version);
                Item { key: name, node: String::new(), phase: "Active".to_owned(), json: json.into() }
            });
        }
        for number in 0..nodes {
            population.put_node(number, (true, true), now);
            agenda.next.push(Reverse((population.heartbeat(number).next(now), pods + number)));
        }
        for number in 0..pods {
            let slot = population.slot(number);
            population.put_pod(&slot, &population.cluster.world.pod(&slot, now), now);
            population.plan(&mut agenda, number, &slot, now);
        }
        drop(agenda);
        population.store.forget(true);
        population
    }

    fn agenda(&self) -> MutexGuard<'_, Agenda> {
        self.agenda.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Applies everything that happened up to `now`.
    pub(super) fn advance_to(&self, now: i64) {
        let mut agenda = self.agenda();
        let pods = self.cluster.world.config.nodes * self.cluster.world.config.pods;
        while let Some(&Reverse((at, number))) = agenda.next.peek()
            && at <= now
        {
            agenda.next.pop();
            if number < pods {
                let slot = self.slot(number);
                self.change_pod(&slot, at);
                self.plan(&mut agenda, number, &slot, at);
            } else {
                let node = number - pods;
                self.put_node(node, agenda.reports[node], at);
                agenda.next.push(Reverse((self.heartbeat(node).next(at), number)));
            }
        }
    }

    /// Changes what the API says of a node.
    pub(super) fn report(&self, node: usize, ready: bool, with_address: bool) {
        let mut agenda = self.agenda();
        agenda.reports[node] = (ready, with_address);
        self.put_node(node, (ready, with_address), self.cluster.clock.now());
    }

    fn heartbeat(&self, node: usize) -> Schedule {
        Schedule::new(mix(self.cluster.world.config.seed, 95, node as u64, 0), HEARTBEAT_SECS)
    }

    fn slot(&self, number: usize) -> Slot {
        let pods = self.cluster.world.config.pods;
        self.cluster.world.slot(number / pods, number % pods)
    }

    fn plan(&self, agenda: &mut Agenda, number: usize, slot: &Slot, at: i64) {
        if let Some(next) = self.cluster.world.next_change(slot, at, false) {
            agenda.next.push(Reverse((next, number)));
        }
    }

    fn put_node(&self, node: usize, (ready, with_address): (bool, bool), at: i64) {
        let report = NodeReport { ready, with_address, kubelet_port: self.kubelet_port, at };
        self.store.put(Resource::Nodes, |version| {
            let json = objects::node(&self.cluster.world, node, report, version);
            let key = self.cluster.world.node_name(node);
            Item { key, node: String::new(), phase: String::new(), json: json.into() }
        });
    }

    fn change_pod(&self, slot: &Slot, at: i64) {
        let world = &self.cluster.world;
        let (before, after) = (world.pod(slot, at - 1), world.pod(slot, at));
        if before.generation != after.generation {
            let old = self.item(slot, &before, at - 1, 0).key;
            self.store.delete(Resource::Pods, &old, |version, _| self.item(slot, &before, at - 1, version));
        }
        self.put_pod(slot, &after, at);
    }

    fn put_pod(&self, slot: &Slot, pod: &PodState, at: i64) {
        self.store.put(Resource::Pods, |version| self.item(slot, pod, at, version));
    }

    fn item(&self, slot: &Slot, pod: &PodState, at: i64, version: u64) -> Item {
        let world = &self.cluster.world;
        Item {
            key: key(&world.namespace_name(slot.namespace), &world.pod_name(slot, pod)),
            node: world.node_name(slot.node),
            phase: if pod.phase == Phase::Pending { "Pending" } else { "Running" }.to_owned(),
            json: objects::pod(world, slot, pod, at, version).into(),
        }
    }
}
