//! The API server's view of the world as JSON: nodes, pods, namespaces.
//!
//! Lean, but with everything a metrics collector may look at. `kind` and `apiVersion` are left out, as in a real
//! server's lists; watches put them in front.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::{
    clock::TimeText,
    config::{ORIGIN, Shape},
    summary::{NODE_DISK, NODE_MEMORY},
    world::{Owner, Phase, PodState, Resources, Slot, World, hex, uuid},
};

/// What a node reports of itself beyond what it always is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct NodeReport {
    pub(super) ready: bool,
    pub(super) with_address: bool,
    pub(super) kubelet_port: u16,
    /// When the status was written.
    pub(super) at: i64,
}

/// A node.
pub(super) fn node(world: &World, node: usize, report: NodeReport, version: u64) -> Vec<u8> {
    let mut times = TimeText::new();
    let name = world.node_name(node);
    let boot = times.string(world.node_boot(node));
    let heartbeat = times.string(report.at);
    let address = world.config.node_address(node).map(|address| address.to_string()).unwrap_or_default();
    let addresses = if report.with_address {
        json!([{"type": "InternalIP", "address": address}, {"type": "Hostname", "address": name}])
    } else {
        json!([])
    };
    let condition = |kind: &str, status: &str, reason: &str| {
        json!({"type": kind, "status": status, "reason": reason, "lastHeartbeatTime": heartbeat,
            "lastTransitionTime": boot, "message": reason})
    };
    let ready = if report.ready {
        condition("Ready", "True", "KubeletReady")
    } else {
        condition("Ready", "False", "KubeletNotReady")
    };
    let memory = format!("{}Ki", NODE_MEMORY / 1024);
    let disk = format!("{}Ki", NODE_DISK / 1024);
    let resources = |cpu: &str| json!({"cpu": cpu, "memory": memory, "ephemeral-storage": disk, "pods": "110"});
    let swap = (world.config.shape == Shape::V1_34).then(|| json!({"capacity": 1_u64 << 30}));
    let body = json!({
        "metadata": {
            "name": name, "uid": world.node_uid(node), "resourceVersion": version.to_string(),
            "creationTimestamp": boot,
            "labels": {
                "kubernetes.io/hostname": name, "kubernetes.io/os": "linux", "kubernetes.io/arch": "amd64",
                "node.kubernetes.io/instance-type": "sim.4xlarge",
                "topology.kubernetes.io/region": "sim-1",
                "topology.kubernetes.io/zone": format!("sim-1{}", char::from(b'a' + (node % 3) as u8)),
            },
            "annotations": {"node.alpha.kubernetes.io/ttl": "0"},
        },
        "spec": {"podCIDR": pod_cidr(node), "providerID": format!("sim://{name}")},
        "status": {
            "addresses": addresses,
            "capacity": resources("16"),
            "allocatable": resources("15900m"),
            "conditions": [
                condition("MemoryPressure", "False", "KubeletHasSufficientMemory"),
                condition("DiskPressure", "False", "KubeletHasNoDiskPressure"),
                condition("PIDPressure", "False", "KubeletHasSufficientPID"),
                ready,
            ],
            "daemonEndpoints": {"kubeletEndpoint": {"Port": report.kubelet_port}},
            "nodeInfo": {
                "architecture": "amd64", "operatingSystem": "linux", "osImage": "Simulated Linux",
                "kernelVersion": "6.12.0-sim", "containerRuntimeVersion": "containerd://1.7.27",
                "kubeletVersion": world.config.shape.git_version(), "kubeProxyVersion": "",
                "machineID": hex(node as u64, 32), "systemUUID": uuid(node as u64), "bootID": uuid(!(node as u64)),
                "swap": swap,
            },
        },
    });
    body.to_string().into_bytes()
}

/// A namespace.
pub(super) fn namespace(world: &World, index: usize, version: u64) -> Vec<u8> {
    let name = world.namespace_name(index);
    json!({
        "metadata": {
            "name": name, "uid": uuid(index as u64 ^ world.config.seed << 20), "resourceVersion": version.to_string(),
            "creationTimestamp": TimeText::new().string(ORIGIN),
            "labels": {"kubernetes.io/metadata.name": name},
        },
        "spec": {"finalizers": ["kubernetes"]},
        "status": {"phase": "Active"},
    })
    .to_string()
    .into_bytes()
}

/// A pod at second `at`. Written by hand: there may be hundreds of thousands.
pub(super) fn pod(world: &World, slot: &Slot, pod: &PodState, at: i64, version: u64) -> Vec<u8> {
    let mut times = TimeText::new();
    let mut text = String::with_capacity(1024 + 512 * world.config.containers);
    metadata(world, slot, pod, version, &mut times, &mut text);
    text.push_str("\"spec\":{\"containers\":[");
    for container in 0..world.config.containers {
        let name = world.container_name(container);
        let comma = if container > 0 { "," } else { "" };
        let image = image(slot, &name);
        let _ = write!(text, "{comma}{{\"name\":\"{name}\",\"image\":\"{image}\",\"resources\":");
        resources(world.resources(slot, container), &mut text);
        text.push('}');
    }
    let node = world.node_name(slot.node);
    let _ = write!(text, "],\"nodeName\":\"{node}\",\"restartPolicy\":\"Always\"}},\"status\":");
    status(world, slot, pod, at, &mut times, &mut text);
    text.push('}');
    text.into_bytes()
}

fn metadata(world: &World, slot: &Slot, pod: &PodState, version: u64, times: &mut TimeText, text: &mut String) {
    let namespace = world.namespace_name(slot.namespace);
    let (name, uid) = (world.pod_name(slot, pod), world.pod_uid(slot, pod));
    let created = times.string(pod.created);
    let _ = write!(
        text,
        "{{\"metadata\":{{\"name\":\"{name}\",\"namespace\":\"{namespace}\",\"uid\":\"{uid}\",\
         \"resourceVersion\":\"{version}\",\"creationTimestamp\":\"{created}\","
    );
    if let (Phase::Terminating, Some(end)) = (pod.phase, pod.ends) {
        let end = times.string(end);
        let _ = write!(text, "\"deletionTimestamp\":\"{end}\",\"deletionGracePeriodSeconds\":3,");
    }
    let app = &slot.workload;
    let owner = world.owner_name(slot);
    let owner_uid =
        uuid(slot.namespace as u64 ^ owner.bytes().fold(7, |sum, byte| sum * 31 % (1 << 40) + u64::from(byte)));
    let (kind, group, labels, annotations) = match slot.owner {
        Owner::ReplicaSet => {
            let hash = world.template_hash(slot);
            (
                "ReplicaSet",
                "apps/v1",
                format!("\"app\":\"{app}\",\"pod-template-hash\":\"{hash}\",\"tier\":\"backend\""),
                String::new(),
            )
        }
        Owner::StatefulSet => (
            "StatefulSet",
            "apps/v1",
            format!("\"app\":\"{app}\",\"statefulset.kubernetes.io/pod-name\":\"{name}\""),
            String::new(),
        ),
        Owner::DaemonSet => ("DaemonSet", "apps/v1", format!("\"k8s-app\":\"{app}\""), String::new()),
        Owner::Node => {
            let hash = world.kubelet_uid(slot, pod);
            let annotations = format!(
                "\"kubernetes.io/config.hash\":\"{hash}\",\"kubernetes.io/config.mirror\":\"{hash}\",\
                 \"kubernetes.io/config.source\":\"file\""
            );
            ("Node", "v1", format!("\"component\":\"{app}\",\"tier\":\"control-plane\""), annotations)
        }
    };
    let _ = write!(
        text,
        "\"labels\":{{{labels}}},\"annotations\":{{{annotations}}},\"ownerReferences\":[{{\"apiVersion\":\"{group}\",\
         \"kind\":\"{kind}\",\"name\":\"{owner}\",\"uid\":\"{owner_uid}\",\"controller\":true}}]}},"
    );
}

fn resources(resources: Resources, text: &mut String) {
    let mebibytes = |bytes: u64| bytes >> 20;
    let (cpu, memory) = (resources.cpu_request, mebibytes(resources.memory_request));
    let _ = write!(text, "{{\"requests\":{{\"cpu\":\"{cpu}m\",\"memory\":\"{memory}Mi\"}}");
    if resources.cpu_limit > 0 {
        let (cpu, memory) = (resources.cpu_limit, mebibytes(resources.memory_limit));
        let _ = write!(text, ",\"limits\":{{\"cpu\":\"{cpu}m\",\"memory\":\"{memory}Mi\"}}");
    }
    text.push('}');
}

fn image(slot: &Slot, container: &str) -> String {
    format!("registry.example/{}/{container}:v1.{}", slot.workload, slot.namespace)
}

fn status(world: &World, slot: &Slot, pod: &PodState, at: i64, times: &mut TimeText, text: &mut String) {
    let created = times.string(pod.created);
    let scheduled = format!("{{\"type\":\"PodScheduled\",\"status\":\"True\",\"lastTransitionTime\":\"{created}\"}}");
    if pod.phase == Phase::Pending {
        let _ = write!(text, "{{\"phase\":\"Pending\",\"conditions\":[{scheduled}]}}");
        return;
    }
    let running = times.string(pod.running_from);
    let host = world.config.node_address(slot.node).map(|address| address.to_string()).unwrap_or_default();
    let ip = pod_ip(slot);
    let _ = write!(
        text,
        "{{\"phase\":\"Running\",\"conditions\":[{scheduled},{{\"type\":\"Ready\",\"status\":\"True\",\
         \"lastTransitionTime\":\"{running}\"}}],\"hostIP\":\"{host}\",\"podIP\":\"{ip}\",\"podIPs\":[{{\"ip\":\"{ip}\"}}],\
         \"startTime\":\"{created}\",\"qosClass\":\"Burstable\",\"containerStatuses\":["
    );
    for container in 0..world.config.containers {
        let state = world.container(slot, pod, container, at);
        let name = world.container_name(container);
        let image = image(slot, &name);
        let comma = if container > 0 { "," } else { "" };
        let id = hex(state.started as u64 ^ (slot.node * 7919 + slot.index * 31 + container) as u64, 64);
        let (restarts, started) = (state.restarts, times.string(state.started));
        let last = if restarts > 0 {
            format!("{{\"terminated\":{{\"exitCode\":137,\"reason\":\"OOMKilled\",\"finishedAt\":\"{started}\"}}}}")
        } else {
            "{}".to_owned()
        };
        let _ = write!(
            text,
            "{comma}{{\"name\":\"{name}\",\"image\":\"{image}\",\"containerID\":\"containerd://{id}\",\"ready\":true,\
             \"started\":true,\"restartCount\":{restarts},\"state\":{{\"running\":{{\"startedAt\":\"{started}\"}}}},\
             \"lastState\":{last}}}"
        );
    }
    text.push_str("]}");
}

fn pod_cidr(node: usize) -> String {
    format!("10.{}.{}.0/24", 16 + node / 256, node % 256)
}

fn pod_ip(slot: &Slot) -> String {
    format!("10.{}.{}.{}", 16 + slot.node / 256, slot.node % 256, 2 + slot.index % 250)
}

/// `Status`, the body of every refusal.
pub(super) fn refusal(code: u16, reason: &str, message: &str) -> Value {
    json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": message,
        "reason": reason, "code": code})
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kubesim::config::Config;

    #[test]
    fn pods_of_every_owner_and_phase_are_json() {
        let world = World::new(Config {
            nodes: 10,
            pods: 30,
            static_pods: 1,
            churn: 100.0,
            restarts: 50.0,
            ..Config::default()
        });
        let mut seen = std::collections::BTreeSet::new();
        for (node, index, at) in
            (0..10).flat_map(|node| (0..30).map(move |index| (node, index, ORIGIN + 9_000_000 + index as i64)))
        {
            let slot = world.slot(node, index);
            let state = world.pod(&slot, at);
            let value: Value = serde_json::from_slice(&pod(&world, &slot, &state, at, 5)).unwrap();
            let kind = value["metadata"]["ownerReferences"][0]["kind"].as_str().unwrap().to_owned();
            let phase = value["status"]["phase"].as_str().unwrap().to_owned();
            assert_eq!(value["metadata"]["deletionTimestamp"].is_string(), state.phase == Phase::Terminating);
            assert_eq!(value["spec"]["containers"].as_array().unwrap().len(), 2);
            seen.extend([kind, phase]);
        }
        assert_eq!(
            seen.into_iter().collect::<Vec<_>>(),
            ["DaemonSet", "Node", "Pending", "ReplicaSet", "Running", "StatefulSet"]
        );
    }

    #[test]
    fn a_node_says_where_its_kubelet_is() {
        let world = World::new(Config::default());
        let report = NodeReport { ready: false, with_address: true, kubelet_port: 10_250, at: ORIGIN };
        let value: Value = serde_json::from_slice(&node(&world, 1, report, 9)).unwrap();
        assert_eq!(value["status"]["addresses"][0]["address"], "127.1.0.2");
        assert_eq!(value["status"]["daemonEndpoints"]["kubeletEndpoint"]["Port"], 10_250);
        assert_eq!(value["status"]["conditions"][3]["status"], "False");
    }
}
