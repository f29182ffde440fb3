//! Who is on a node, and how each of them behaves, from one change to the next.
//!
//! Worked out once and kept until somebody comes, goes or restarts; `summary` only evaluates what is here.

use super::{
    load::{Curve, mix},
    world::{Phase, World, hex},
};

/// Memory comes in pages of so many bytes.
pub(super) const PAGE: u64 = 4096;

/// Who is on a node, from one change to the next.
#[derive(Debug)]
pub(super) struct Roster {
    until: i64,
    from: i64,
    pub(super) name: String,
    pub(super) boot: i64,
    pub(super) system: Curve,
    pub(super) pods: Vec<PodRun>,
}

/// One pod's present life.
#[derive(Debug)]
pub(super) struct PodRun {
    /// False while Pending; its slot still counts for the node.
    pub(super) listed: bool,
    pub(super) name: String,
    pub(super) namespace: String,
    pub(super) uid: String,
    pub(super) suffix: String,
    pub(super) started: i64,
    pub(super) draw: u64,
    pub(super) network: [Curve; 2],
    pub(super) containers: Vec<ContainerRun>,
}

/// One container's present run.
#[derive(Debug)]
pub(super) struct ContainerRun {
    pub(super) name: String,
    pub(super) started: i64,
    pub(super) counts_from: i64,
    pub(super) draw: u64,
    pub(super) cpu: Curve,
    /// Working set at full load, bytes.
    pub(super) memory: u64,
    /// 0: none.
    pub(super) memory_limit: u64,
}

impl Roster {
    /// Who is on `node` at second `at`.
    pub(super) fn new(world: &World, node: usize, at: i64) -> Self {
        let mut roster = Self {
            until: i64::MAX,
            from: at,
            name: world.node_name(node),
            boot: world.node_boot(node),
            system: Curve::new(mix(world.config.seed, 90, node as u64, 0), 150_000_000),
            pods: Vec::with_capacity(world.config.pods),
        };
        for index in 0..world.config.pods {
            let slot = world.slot(node, index);
            let pod = world.pod(&slot, at);
            roster.until = world.next_change(&slot, at, true).map_or(roster.until, |next| roster.until.min(next));
            let draw = mix(world.config.seed, 91, node as u64, index as u64);
            let containers = (0..world.config.containers).map(|container| {
                let state = world.container(&slot, &pod, container, at);
                let resources = world.resources(&slot, container);
                ContainerRun {
                    name: world.container_name(container),
                    started: state.started,
                    counts_from: state.counts_from,
                    draw: mix(draw, container as u64, 0, 0),
                    cpu: world.cpu_curve(&slot, container),
                    memory: resources.memory_request * 3 / 2,
                    memory_limit: resources.memory_limit,
                }
            });
            roster.pods.push(PodRun {
                listed: pod.phase != Phase::Pending,
                name: world.pod_name(&slot, &pod),
                namespace: world.namespace_name(slot.namespace),
                uid: world.kubelet_uid(&slot, &pod),
                suffix: hex(mix(draw, 7, pod.generation as u64, 0), 5),
                started: pod.running_from,
                draw,
                network: [world.network_curve(&slot, 0), world.network_curve(&slot, 1)],
                containers: containers.collect(),
            });
        }
        roster
    }

    /// Whether it is still the same roster at second `at`.
    pub(super) fn serves(&self, at: i64) -> bool {
        (self.from..self.until).contains(&at)
    }
}

impl ContainerRun {
    /// Bytes in use at that second; grows into its level over the first minutes of a run.
    pub(super) fn working_set(&self, at: i64) -> u64 {
        let settling = 1.0 - 0.5 / (1.0 + (at - self.started).max(0) as f64 / 60.0);
        (self.memory as f64 * settling * (0.5 + 0.4 * self.cpu.level(at + 30))) as u64 / PAGE * PAGE
    }
}
