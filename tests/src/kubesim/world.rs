//! Who exists when: nodes, pods, containers and their histories, each a pure function of seed, place and second.
//!
//! A node has a fixed number of *slots*. A slot is always taken by a pod; churn replaces that pod by the next
//! *generation*. What a pod looks like as JSON is `objects` (the API) and `summary` (the kubelet).

use super::{
    config::{Config, ORIGIN},
    load::{Curve, Schedule, fraction, mix},
};

/// Letters Kubernetes makes generated names of.
const LETTERS: &[u8; 27] = b"bcdfghjklmnpqrstvwxz2456789";
const WORKLOADS: [&str; 12] =
    ["api", "web", "checkout", "search", "billing", "ledger", "queue", "cache", "mail", "auth", "images", "reports"];
const CONTAINERS: [&str; 4] = ["app", "sidecar", "proxy", "log-shipper"];
/// Seconds between a pod's deletion being asked for and done.
const TERMINATION_SECS: i64 = 3;
/// Generations after which a slot's generated names come back.
const NAME_GENERATIONS: i64 = 16;

/// What owns a pod, and with it how it is named.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Owner {
    DaemonSet,
    ReplicaSet,
    /// Keeps its name over generations; only the uid changes.
    StatefulSet,
    /// A static pod: owned by the node, never replaced.
    Node,
}

/// A place for a pod, with all that its generations share.
#[derive(Debug, Clone)]
pub(super) struct Slot {
    pub(super) node: usize,
    pub(super) index: usize,
    pub(super) owner: Owner,
    pub(super) namespace: usize,
    pub(super) workload: String,
    churn: Option<Schedule>,
    bits: u64,
}

/// A pod at one moment of its life.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct PodState {
    pub(super) generation: i64,
    pub(super) created: i64,
    /// When its sandbox runs; before that it is Pending and no kubelet shows it.
    pub(super) running_from: i64,
    pub(super) ends: Option<i64>,
    pub(super) phase: Phase,
}

/// How far a pod is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    Pending,
    Running,
    /// Still running, deletion asked for.
    Terminating,
}

/// A container's present run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ContainerState {
    pub(super) started: i64,
    pub(super) restarts: i64,
    /// Where its counters count from: the start, or a later reset.
    pub(super) counts_from: i64,
}

/// What a container asks for, in bytes and millicores. Zero: not set.
#[derive(Debug, Clone, Copy)]
pub(super) struct Resources {
    pub(super) cpu_request: u64,
    pub(super) cpu_limit: u64,
    pub(super) memory_request: u64,
    pub(super) memory_limit: u64,
}

/// The cluster's histories.
#[derive(Debug)]
pub(super) struct World {
    pub(super) config: Config,
}

impl World {
    pub(super) fn new(config: Config) -> Self {
        Self { config }
    }

    pub(super) fn node_name(&self, node: usize) -> String {
        format!("node-{node:05}")
    }

    pub(super) fn node_uid(&self, node: usize) -> String {
        uuid(mix(self.config.seed, 20, node as u64, 0))
    }

    /// When the node's machine started.
    pub(super) fn node_boot(&self, node: usize) -> i64 {
        ORIGIN + (mix(self.config.seed, 21, node as u64, 0) % 300) as i64
    }

    pub(super) fn namespace_name(&self, namespace: usize) -> String {
        match namespace {
            0 => "kube-system".to_owned(),
            1 => "default".to_owned(),
            other => format!("team-{other:03}"),
        }
    }

    /// The slot at a place of a node.
    pub(super) fn slot(&self, node: usize, index: usize) -> Slot {
        let config = &self.config;
        let bits = mix(config.seed, 30, node as u64, index as u64);
        let statics = index > 0 && index <= config.static_pods || config.static_pods == config.pods;
        let owner = match (index, bits % 5) {
            _ if statics => Owner::Node,
            (0, _) => Owner::DaemonSet,
            (_, 0) => Owner::StatefulSet,
            _ => Owner::ReplicaSet,
        };
        let (namespace, workload) = match owner {
            Owner::DaemonSet => (0, "node-exporter".to_owned()),
            Owner::Node => (0, format!("static-{index}")),
            _ => self.workload(bits),
        };
        let churns = matches!(owner, Owner::ReplicaSet | Owner::StatefulSet);
        let churn = self.schedule(31, bits, config.churn, 10.0).filter(|_| churns);
        Slot { node, index, owner, namespace, workload, churn, bits }
    }

    fn workload(&self, bits: u64) -> (usize, String) {
        let spread = self.config.namespaces.max(2) - 1;
        let namespace = (1 + (bits >> 8) as usize % spread).min(self.config.namespaces - 1);
        let name = WORKLOADS[(bits >> 32) as usize % WORKLOADS.len()];
        (namespace, name.to_owned())
    }

    /// The moments of something that happens to `percent` of all things a minute, to the unsteady ones only.
    fn schedule(&self, what: u64, bits: u64, percent: f64, shortest_secs: f64) -> Option<Schedule> {
        let draw = mix(self.config.seed, what, bits, 0);
        let unsteady = self.config.unsteady / 100.0;
        let chosen = percent > 0.0 && fraction(mix(draw, 1, 0, 0)) < unsteady;
        chosen.then(|| Schedule::new(draw, (6000.0 / percent * unsteady).max(shortest_secs * 2.0)))
    }

    /// The pod in a slot at that second.
    pub(super) fn pod(&self, slot: &Slot, at: i64) -> PodState {
        let first = ORIGIN + 600 + (slot.bits % 3600) as i64;
        let generation = slot.churn.map_or(0, |churn| churn.index(at));
        let created = slot.churn.map_or(first, |churn| churn.moment(generation).max(first));
        let ends = slot.churn.map(|churn| churn.moment(generation + 1));
        let running_from = created + 2 + (slot.bits >> 40) as i64 % 3;
        let phase = match ends {
            _ if at < running_from => Phase::Pending,
            Some(end) if at >= end - TERMINATION_SECS => Phase::Terminating,
            _ => Phase::Running,
        };
        PodState { generation, created, running_from, ends, phase }
    }

    /// A container of that pod at that second. Before the pod runs, as it will be at its start.
    pub(super) fn container(&self, slot: &Slot, pod: &PodState, container: usize, at: i64) -> ContainerState {
        let bits = mix(slot.bits, 40, container as u64, 0);
        let from = pod.running_from;
        let at = at.max(from);
        let restart = self.schedule(41, bits, self.config.restarts, 10.0);
        let reset = self.schedule(42, bits, self.config.resets, 10.0);
        let started = restart.map_or(from, |restart| restart.last(at).max(from));
        ContainerState {
            started,
            restarts: restart.map_or(0, |restart| restart.index(at) - restart.index(from)),
            counts_from: reset.map_or(started, |reset| reset.last(at).max(started)),
        }
    }

    /// Until when nothing about the slot's pod changes but its figures. `None`: never.
    pub(super) fn next_change(&self, slot: &Slot, at: i64, with_resets: bool) -> Option<i64> {
        let pod = self.pod(slot, at);
        let lives = [Some(pod.running_from), pod.ends.map(|end| end - TERMINATION_SECS), pod.ends];
        let containers = (0..self.config.containers).flat_map(|container| {
            let bits = mix(slot.bits, 40, container as u64, 0);
            let restart = self.schedule(41, bits, self.config.restarts, 10.0);
            let reset = self.schedule(42, bits, self.config.resets, 10.0).filter(|_| with_resets);
            [restart.map(|restart| restart.next(at)), reset.map(|reset| reset.next(at))]
        });
        // Before the pod runs, its containers have nothing to restart.
        let containers = containers.flatten().filter(|moment| *moment > pod.running_from);
        lives.into_iter().flatten().chain(containers).filter(|moment| *moment > at).min()
    }

    /// The pod's name.
    pub(super) fn pod_name(&self, slot: &Slot, pod: &PodState) -> String {
        let id = (slot.node * self.config.pods + slot.index) as i64;
        let workload = &slot.workload;
        match slot.owner {
            Owner::Node => format!("{workload}-{}", self.node_name(slot.node)),
            Owner::StatefulSet => format!("{workload}-db-{id}"),
            Owner::DaemonSet => format!("{workload}-{}", self.suffix(id, pod.generation)),
            Owner::ReplicaSet => format!("{}-{}", self.replica_set(slot), self.suffix(id, pod.generation)),
        }
    }

    /// Name of the owner: the pod's name without the part that tells pods apart.
    pub(super) fn owner_name(&self, slot: &Slot) -> String {
        match slot.owner {
            Owner::Node => self.node_name(slot.node),
            Owner::StatefulSet => format!("{}-db", slot.workload),
            Owner::DaemonSet => slot.workload.clone(),
            Owner::ReplicaSet => self.replica_set(slot),
        }
    }

    fn replica_set(&self, slot: &Slot) -> String {
        format!("{}-{}", slot.workload, self.template_hash(slot))
    }

    /// The `pod-template-hash` of the slot's ReplicaSet.
    pub(super) fn template_hash(&self, slot: &Slot) -> String {
        let bits = slot.workload.bytes().fold(slot.namespace as u64, |bits, byte| mix(bits, u64::from(byte), 0, 0));
        letters(mix(self.config.seed, 50, bits, 0), 10)
    }

    /// Five letters no two living pods share: the slot and its generation, shuffled one to one.
    fn suffix(&self, id: i64, generation: i64) -> String {
        const ALL: u64 = 27_u64.pow(5);
        // 27 and the factor have no common divisor, so the multiplication shuffles without collisions.
        const FACTOR: u64 = 8_745_961;
        let index = (id * NAME_GENERATIONS + generation.rem_euclid(NAME_GENERATIONS)) as u64;
        letters((index * FACTOR + self.config.seed % ALL) % ALL, 5)
    }

    /// The uid in the API.
    pub(super) fn pod_uid(&self, slot: &Slot, pod: &PodState) -> String {
        uuid(mix(slot.bits, 60, pod.generation as u64, 0))
    }

    /// The uid the kubelet shows: of a static pod the hash of its file, otherwise the API's.
    pub(super) fn kubelet_uid(&self, slot: &Slot, pod: &PodState) -> String {
        match slot.owner {
            Owner::Node => hex(mix(slot.bits, 61, 0, 0), 32),
            _ => self.pod_uid(slot, pod),
        }
    }

    pub(super) fn container_name(&self, container: usize) -> String {
        CONTAINERS.get(container).map_or_else(|| format!("extra-{container}"), |name| (*name).to_owned())
    }

    /// What the container asks for. Seven of ten have limits.
    pub(super) fn resources(&self, slot: &Slot, container: usize) -> Resources {
        let bits = mix(slot.bits, 70, container as u64, 0);
        let cpu_request = 25 * (1 + bits % 10);
        let memory_request = (32 << 20) * (1 + (bits >> 8) % 8);
        let limited = u64::from((bits >> 16) % 10 < 7);
        Resources {
            cpu_request,
            cpu_limit: cpu_request * 4 * limited,
            memory_request,
            memory_limit: memory_request * 2 * limited,
        }
    }

    /// CPU of a container, nanoseconds; runs on over restarts and generations, which subtract what was before them.
    pub(super) fn cpu_curve(&self, slot: &Slot, container: usize) -> Curve {
        let bits = mix(slot.bits, 80, container as u64, 0);
        let request = self.resources(slot, container).cpu_request;
        Curve::new(bits, request * 1_000_000 / 5 + bits % 5_000_000)
    }

    /// Bytes received (`direction` 0) and sent (1) by a slot's pods.
    pub(super) fn network_curve(&self, slot: &Slot, direction: u64) -> Curve {
        let bits = mix(slot.bits, 81, direction, 0);
        Curve::new(bits, 2_000 + bits % 200_000)
    }
}

fn letters(mut number: u64, count: usize) -> String {
    let mut text = vec![b'b'; count];
    for letter in text.iter_mut().rev() {
        *letter = LETTERS[(number % 27) as usize];
        number /= 27;
    }
    String::from_utf8_lossy(&text).into_owned()
}

/// `digits` hexadecimal digits drawn from `bits`.
pub(super) fn hex(bits: u64, digits: usize) -> String {
    (0..digits.div_ceil(16)).map(|part| format!("{:016x}", mix(bits, part as u64, 0, 0))).collect::<String>()[..digits]
        .to_owned()
}

/// A version 4 UUID drawn from `bits`.
pub(super) fn uuid(bits: u64) -> String {
    let (high, low) = (mix(bits, 1, 0, 0), mix(bits, 2, 0, 0));
    format!(
        "{:08x}-{:04x}-4{:03x}-{:04x}-{:012x}",
        high >> 32,
        high >> 16 & 0xffff,
        high & 0xfff,
        low >> 48 & 0x3fff | 0x8000,
        low & 0xffff_ffff_ffff
    )
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn busy() -> World {
        World::new(Config { nodes: 40, pods: 30, churn: 20.0, restarts: 5.0, resets: 5.0, ..Config::default() })
    }

    #[test]
    fn names_of_living_pods_are_unique() {
        let world = busy();
        for at in [ORIGIN + 10_000_000, ORIGIN + 10_000_600] {
            let mut seen = BTreeSet::new();
            for (node, index) in (0..40).flat_map(|node| (0..30).map(move |index| (node, index))) {
                let slot = world.slot(node, index);
                let pod = world.pod(&slot, at);
                assert!(seen.insert((slot.namespace, world.pod_name(&slot, &pod))), "{node} {index}");
            }
        }
    }

    #[test]
    fn nothing_changes_before_the_next_change() {
        let world = busy();
        for index in 0..30 {
            let slot = world.slot(3, index);
            let look = |at| {
                let pod = world.pod(&slot, at);
                (world.container(&slot, &pod, 0, at), world.container(&slot, &pod, 1, at), pod)
            };
            let mut at = ORIGIN + 20_000_000;
            for _ in 0..50 {
                let Some(next) = world.next_change(&slot, at, true) else { break };
                for between in [at, at + 1, next - 1] {
                    assert_eq!(look(between.min(next - 1)), look(at), "slot {index} at {between}, next {next}");
                }
                assert_ne!(look(next), look(at), "slot {index}: nothing happens at {next}");
                at = next;
            }
        }
    }

    #[test]
    fn churn_replaces_about_the_share_asked_for() {
        let world = busy();
        let from = ORIGIN + 20_000_000;
        let replaced: i64 = (0..40)
            .flat_map(|node| (0..30).map(move |index| (node, index)))
            .map(|(node, index)| {
                let slot = world.slot(node, index);
                world.pod(&slot, from + 600).generation - world.pod(&slot, from).generation
            })
            .sum();
        // 1,200 slots, 20 percent a minute, ten minutes; the daemon set's 40 stay.
        assert!((1_800..3_200).contains(&replaced), "{replaced}");
    }

    #[test]
    fn quiet_world_never_changes() {
        let world = World::new(Config::default());
        assert_eq!(world.next_change(&world.slot(0, 1), ORIGIN + 20_000_000, true), None);
    }
}
