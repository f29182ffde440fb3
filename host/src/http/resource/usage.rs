//! What nodes and pods use, read from the store, joined with what the API server knows of them.
//!
//! An entity's usage is that of the newest batch in which all of it has both values: CPU and working
//! set, of a pod every container of its spec. So all containers of a pod have one timestamp, and a missed scrape,
//! or a rate that has a gap, does not hide it for [`MISSED`] cycles.

use std::sync::Arc;

use hashbrown::HashMap;

use crate::batch::{Level, Value};
use crate::kube::{Inventory, NodeFacts, PodFacts};
use crate::store::{Batches, EntityRef, Snapshot, Values};

/// For so many cycles the last value is still given.
const MISSED: u64 = 2;

/// What is used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// CPU, millicores.
    pub millicores: i64,
    /// Working set, bytes.
    pub bytes: i64,
}

/// A node's usage.
#[derive(Debug)]
pub struct NodeUsage {
    /// The node.
    pub facts: Arc<NodeFacts>,
    /// The batch's timestamp, ns since the epoch.
    pub time: i64,
    /// Its window, ns.
    pub window: i64,
    /// What it uses.
    pub usage: Usage,
}

/// A pod's usage.
#[derive(Debug)]
pub struct PodUsage {
    /// The pod.
    pub facts: Arc<PodFacts>,
    /// The batch's timestamp, ns since the epoch.
    pub time: i64,
    /// Its window, ns.
    pub window: i64,
    /// What its containers use, by their place in the spec.
    pub containers: Vec<(usize, Usage)>,
}

impl PodUsage {
    /// All containers together.
    pub fn total(&self) -> Usage {
        self.containers.iter().fold(Usage::default(), |sum, (_, one)| Usage {
            millicores: sum.millicores.saturating_add(one.millicores),
            bytes: sum.bytes.saturating_add(one.bytes),
        })
    }
}

/// Which of a pod's containers count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Containers {
    /// Those of its spec, all of them.
    Regular,
    /// And those init containers that run beside them.
    WithSidecars,
}

/// One node's usage.
pub fn node(snapshot: &Snapshot, facts: Arc<NodeFacts>) -> Option<NodeUsage> {
    let used = |(batch, values): (Batches<'_>, Values)| {
        let node = batch.entities().find(|entity| entity.level() == Level::Node)?;
        Some((batch.time(), batch.window(), usage(&node, &values)?))
    };
    let (time, window, usage) = snapshot.recent(&facts.name, MISSED).find_map(used)?;
    Some(NodeUsage { facts, time, window, usage })
}

/// One pod's usage.
pub fn pod(snapshot: &Snapshot, facts: Arc<PodFacts>, which: Containers) -> Option<PodUsage> {
    let mut found = Vec::new();
    of_node(snapshot, &Arc::clone(&facts.node), vec![facts], which, &mut found);
    found.pop()
}

/// The usage of all pods that are wanted, by namespace and name.
pub fn pods(
    snapshot: &Snapshot,
    cluster: &Inventory,
    wanted: impl Fn(&PodFacts) -> bool,
    which: Containers,
) -> Vec<PodUsage> {
    let mut found = Vec::new();
    for node in cluster.nodes() {
        let theirs = cluster.pods_of(&node.name);
        let wanted = theirs.iter().filter(|pod| wanted(pod)).map(Arc::clone).collect();
        of_node(snapshot, &node.name, wanted, which, &mut found);
    }
    found.sort_unstable_by(|a, b| (&a.facts.namespace, &a.facts.name).cmp(&(&b.facts.namespace, &b.facts.name)));
    found
}

/// The containers of one batch that have both values, by their pod: uid of the pod, name, usage.
type ByPod<'s> = HashMap<(&'s str, &'s str), Vec<(&'s str, &'s str, Usage)>>;

fn of_node(
    snapshot: &Snapshot,
    node: &str,
    mut missing: Vec<Arc<PodFacts>>,
    which: Containers,
    found: &mut Vec<PodUsage>,
) {
    let mut recent = snapshot.recent(node, MISSED);
    while !missing.is_empty() {
        let Some((batch, values)) = recent.next() else { return };
        let mut used = ByPod::new();
        for entity in batch.entities().filter(|entity| entity.level() == Level::Container) {
            let label = |name| entity.label(name).unwrap_or_default();
            if let Some(usage) = usage(&entity, &values) {
                let pod = used.entry((label("namespace_name"), label("pod_name"))).or_default();
                pod.push((label("pod_id"), label("container_name"), usage));
            }
        }
        missing.retain(|pod| {
            let Some(containers) = complete(pod, &used, which) else { return true };
            found.push(PodUsage { facts: Arc::clone(pod), time: batch.time(), window: batch.window(), containers });
            false
        });
    }
}

/// What all containers of a pod use, if all are there. Another pod that had its name is not it.
fn complete(pod: &PodFacts, used: &ByPod<'_>, which: Containers) -> Option<Vec<(usize, Usage)>> {
    let theirs = used.get(&(&*pod.namespace, &*pod.name))?;
    let mut containers = Vec::with_capacity(pod.containers.len());
    for (place, container) in pod.containers.iter().enumerate() {
        let own = theirs.iter().find(|(uid, name, _)| {
            *name == &*container.name && (uid.is_empty() || pod.uid.is_empty() || *uid == &*pod.uid)
        });
        match own {
            Some((.., usage)) if !container.init || which == Containers::WithSidecars => {
                containers.push((place, *usage));
            }
            None if !container.init => return None,
            _ => {}
        }
    }
    (!containers.is_empty()).then_some(containers)
}

/// Both values of an entity, in one pass over its samples.
fn usage(entity: &EntityRef<'_>, values: &Values) -> Option<Usage> {
    let (mut cpu, mut memory) = (None, None);
    for sample in entity.samples(values) {
        let place = match sample.metric {
            "cpu/usage_rate" => &mut cpu,
            "memory/working_set" => &mut memory,
            _ => continue,
        };
        if !sample.is_labelled() {
            *place = Some(match sample.value {
                Value::Int(int) => int,
                Value::Float(float) => float as i64,
            });
        }
    }
    Some(Usage { millicores: cpu?, bytes: memory? })
}
