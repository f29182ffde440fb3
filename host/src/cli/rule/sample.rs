//! A made-up node: what its kubelet and the API server say of 30 pods with two containers each, over
//! five cycles. The same at every run, so that figures can be compared.

use std::sync::Arc;

use serde_json::{Value, json};

use super::console::Fail;
use super::input::Input;
use crate::batch::{Batch, Cycle, TypeRegistry};
use crate::kube::{ContainerFacts, NodeFacts, PodFacts, Resources};
use crate::scrape::{DecodeBounds, decode};

const NODE: &str = "node-a";
const PODS: u64 = 30;
const CONTAINERS: u64 = 2;
const CYCLES: u64 = 5;
const WINDOW: i64 = 60;
const NS: i64 = 1_000_000_000;
/// 2026-01-01T00:00:00Z, seconds.
const START: i64 = 1_767_225_600;
const NAMESPACES: [&str; 5] = ["default", "kube-system", "monitoring", "shop", "team-blue"];

/// The batches of the node.
pub(super) fn node() -> Result<Input, Fail> {
    let (node, pods) = facts();
    let types = TypeRegistry::default();
    let cycles = (1..=CYCLES).map(|number| {
        let time = START + i64::try_from(number).unwrap_or(0) * WINDOW;
        let cycle = Cycle { number, time: time * NS, window: WINDOW * NS, nodes_asked: 1, nodes_answered: 1 };
        Ok((cycle, vec![batch(&node, &pods, &cycle, time, &types)?]))
    });
    let about = format!("a made-up node of {PODS} pods with {CONTAINERS} containers");
    Ok(Input { about, cycles: cycles.collect::<Result<_, Fail>>()?, lost: 0 })
}

fn batch(
    node: &NodeFacts,
    pods: &[Arc<PodFacts>],
    cycle: &Cycle,
    time: i64,
    types: &TypeRegistry,
) -> Result<Batch, Fail> {
    let body = summary(time).to_string();
    let uid = |namespace: &str| Some(Arc::from(format!("uid-of-{namespace}")));
    let decoded = decode(body.as_bytes(), node, pods, uid, cycle, &DecodeBounds::default(), types);
    decoded.map(|decoded| decoded.batch).map_err(|failure| Fail::input(failure.told()))
}

fn resources(list: &[(&str, i64)]) -> Resources {
    list.iter().map(|&(name, amount)| (Arc::from(name), amount)).collect()
}

fn facts() -> (NodeFacts, Vec<Arc<PodFacts>>) {
    let capacity = resources(&[("cpu", 16_000), ("memory", 64 << 30), ("pods", 110)]);
    let node = NodeFacts {
        name: NODE.into(),
        uid: "node-uid".into(),
        hostname: NODE.into(),
        labels: [("kubernetes.io/arch", "amd64"), ("kubernetes.io/os", "linux"), ("topology.kubernetes.io/zone", "a")]
            .map(|(key, value)| (Arc::from(key), Arc::from(value)))
            .into(),
        ready: true,
        allocatable: capacity.clone(),
        capacity,
        ..NodeFacts::default()
    };
    let pods = (0..PODS).map(|pod| Arc::new(pod_facts(pod)));
    (node, pods.collect())
}

fn pod_facts(pod: u64) -> PodFacts {
    let labels = [
        ("app.kubernetes.io/name".to_owned(), format!("app-{}", pod % 12)),
        ("pod-template-hash".to_owned(), format!("{:09x}", spread(pod))),
        ("tier".to_owned(), ["web", "worker", "db"][pod as usize % 3].to_owned()),
    ];
    let container = |container: u64| ContainerFacts {
        name: container_name(container).into(),
        image: format!("registry.example.com/app-{}:1.{container}", pod % 12).into(),
        requests: resources(&[("cpu", 100), ("memory", 128 << 20)]),
        limits: resources(&[("memory", 512 << 20)]),
        restart_count: Some(0),
        started_at: Some((START - 86_400) * NS),
        ..ContainerFacts::default()
    };
    PodFacts {
        namespace: namespace(pod).into(),
        name: pod_name(pod).into(),
        uid: pod_uid(pod).into(),
        node: NODE.into(),
        labels: labels.map(|(key, value)| (Arc::from(key), Arc::from(value))).into(),
        phase: "Running".into(),
        owner: Some(("ReplicaSet".into(), format!("app-{}", pod % 12).into())),
        started_at: Some((START - 86_400) * NS),
        containers: (0..CONTAINERS).map(container).collect(),
        ..PodFacts::default()
    }
}

fn namespace(pod: u64) -> &'static str {
    NAMESPACES[pod as usize % NAMESPACES.len()]
}

fn pod_name(pod: u64) -> String {
    format!("app-{}-{:09x}-{:05x}", pod % 12, spread(pod), spread(pod) & 0xf_ffff)
}

fn pod_uid(pod: u64) -> String {
    format!("{:08x}-0000-4000-8000-{pod:012x}", spread(pod) & 0xffff_ffff)
}

fn container_name(container: u64) -> &'static str {
    if container == 0 { "app" } else { "sidecar" }
}

/// A number that looks like chance and is none.
fn spread(seed: u64) -> u64 {
    seed.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 28
}

/// What the kubelet says at a second.
fn summary(time: i64) -> Value {
    let pods: Vec<Value> = (0..PODS).map(|pod| pod_stats(pod, time)).collect();
    let systems = ["kubelet", "runtime", "pods"].into_iter().enumerate();
    let systems: Vec<Value> = systems.map(|(at, name)| container_stats(name, 1000 + at as u64, time)).collect();
    let mut node = usage(2000, time, 1 << 33);
    node["nodeName"] = NODE.into();
    node["startTime"] = text(START - 864_000).into();
    node["systemContainers"] = systems.into();
    node["network"] = network(2000, time);
    node["fs"] = filesystem(2000, time);
    node["runtime"] = json!({"imageFs": filesystem(2001, time)});
    json!({"node": node, "pods": pods})
}

fn pod_stats(pod: u64, time: i64) -> Value {
    let containers: Vec<Value> = (0..CONTAINERS)
        .map(|container| container_stats(container_name(container), pod * CONTAINERS + container, time))
        .collect();
    let mut stats = usage(3000 + pod, time, 1 << 28);
    stats["podRef"] = json!({"name": pod_name(pod), "namespace": namespace(pod), "uid": pod_uid(pod)});
    stats["startTime"] = text(START - 86_400).into();
    stats["containers"] = containers.into();
    stats["network"] = network(3000 + pod, time);
    let mut volume = filesystem(4000 + pod, time);
    volume["name"] = "data".into();
    stats["volume"] = json!([volume]);
    stats["ephemeral-storage"] = filesystem(5000 + pod, time);
    stats
}

fn container_stats(name: &str, seed: u64, time: i64) -> Value {
    let mut stats = usage(seed, time, 1 << 27);
    stats["name"] = name.into();
    stats["startTime"] = text(START - 86_400).into();
    stats["rootfs"] = filesystem(seed + 6000, time);
    stats["logs"] = filesystem(seed + 7000, time);
    stats
}

fn usage(seed: u64, time: i64, memory: u64) -> Value {
    // Milliseconds of CPU a second, steady for each; some are nearly idle.
    let millis = if seed % 9 == 4 { 2 } else { spread(seed) % 400 };
    let seconds = u64::try_from(time - START + 86_400).unwrap_or(0);
    let used = memory / 2 + spread(seed + seconds) % (memory / 2);
    json!({
        "cpu": {"time": text(time - 3), "usageNanoCores": millis * 1_000_000,
                "usageCoreNanoSeconds": millis * 1_000_000 * seconds},
        "memory": {"time": text(time - 3), "usageBytes": used, "workingSetBytes": used - used / 8, "rssBytes": used / 2,
                   "pageFaults": seconds * (seed % 7 + 1), "majorPageFaults": seconds / 600},
    })
}

fn network(seed: u64, time: i64) -> Value {
    let seconds = u64::try_from(time - START + 86_400).unwrap_or(0);
    let bytes = seconds * (spread(seed) % 10_000);
    json!({"time": text(time - 5), "name": "eth0", "rxBytes": bytes, "rxErrors": 0, "txBytes": bytes / 2, "txErrors": 0,
           "interfaces": [{"name": "eth0", "rxBytes": bytes, "rxErrors": 0, "txBytes": bytes / 2, "txErrors": 0}]})
}

fn filesystem(seed: u64, time: i64) -> Value {
    let used = spread(seed) % (1 << 30);
    json!({"time": text(time - 20), "availableBytes": (50_u64 << 30) - used, "capacityBytes": 50_u64 << 30,
           "usedBytes": used, "inodesFree": 3_000_000, "inodes": 3_276_800, "inodesUsed": used >> 14})
}

fn text(seconds: i64) -> String {
    jiff::Timestamp::from_second(seconds).map_or_else(|_| String::new(), |time| time.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_made_up_node_is_whole_and_the_same_at_every_run() {
        let (one, two) = (node().unwrap(), node().unwrap());
        assert_eq!(one.points(), two.points());
        assert_eq!(one.cycles.len(), CYCLES as usize);
        let first = one.batches().next().unwrap();
        assert_eq!(first.entities.len() as u64, 1 + 3 + PODS * (1 + CONTAINERS));
        assert!(first.iter().all(|entity| entity.points().count() > 5));
    }
}
