//! What is remembered of a node and of a pod: the facts that rules are given, and where to ask the
//! kubelet. Strings that repeat from object to object are shared; quantities are numbers already.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use super::intern::Interner;
use super::lite::{ContainerLite, ContainerStatus, NodeLite, NodeStatus, PodLite, Quantity};
use super::quantity::{Scale, parse_quantity};
use super::timestamp::parse_timestamp;

/// Resource name and amount (CPU in millicores, everything else in units), sorted by name.
pub type Resources = Box<[(Arc<str>, i64)]>;

/// Label or annotation keys and values, sorted by key.
pub type Pairs = Box<[(Arc<str>, Arc<str>)]>;

/// Which annotations are facts.
#[derive(Debug, Clone, Default)]
pub struct FactOptions {
    /// The node annotation that stands for a missing `spec.externalID`.
    pub host_id_annotation: Option<String>,
    /// Pod annotations that become `__annotation_<key>`.
    pub annotations: Vec<String>,
}

/// One node.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NodeFacts {
    /// Its name at the API server.
    pub name: Arc<str>,
    /// Its uid.
    pub uid: Box<str>,
    /// The last `Hostname` address, else its name.
    pub hostname: Arc<str>,
    /// `spec.externalID`, else the configured annotation, else empty.
    pub host_id: Arc<str>,
    /// Its labels.
    pub labels: Pairs,
    /// The last valid `InternalIP`, else the first valid `ExternalIP`.
    pub address: Option<IpAddr>,
    /// Whether it may be asked: the condition `Ready` is True or does not exist.
    pub ready: bool,
    /// The kubelet's port in the node's status.
    pub kubelet_port: Option<u16>,
    /// `status.capacity`.
    pub capacity: Resources,
    /// `status.allocatable`.
    pub allocatable: Resources,
}

/// One pod that is bound to a node.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PodFacts {
    /// Its namespace.
    pub namespace: Arc<str>,
    /// Its name.
    pub name: Box<str>,
    /// Its uid at the API server.
    pub uid: Box<str>,
    /// The node it is bound to.
    pub node: Arc<str>,
    /// Its labels.
    pub labels: Pairs,
    /// Those of its annotations that the configuration names.
    pub annotations: Pairs,
    /// Pending, Running, Succeeded, Failed or Unknown; empty if the status names none.
    pub phase: Arc<str>,
    /// Kind and name of its controller.
    pub owner: Option<(Arc<str>, Arc<str>)>,
    /// `status.startTime`, ns since the epoch.
    pub started_at: Option<i64>,
    /// The containers of its spec, then its init containers.
    pub containers: Box<[ContainerFacts]>,
}

/// One container of a pod's spec.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ContainerFacts {
    /// Its name, unique within the pod.
    pub name: Arc<str>,
    /// The image as the spec writes it.
    pub image: Arc<str>,
    /// Whether it is an init container.
    pub init: bool,
    /// Requests; a resource that is absent is unset.
    pub requests: Resources,
    /// Limits; a resource that is absent is unset.
    pub limits: Resources,
    /// How often it restarted; `None` while it has no status.
    pub restart_count: Option<i64>,
    /// When the running instance started, ns since the epoch.
    pub started_at: Option<i64>,
}

impl NodeFacts {
    pub(super) fn of(node: &NodeLite, options: &FactOptions, strings: &mut Interner) -> Self {
        let empty = NodeStatus::default();
        let status = node.status.as_ref().unwrap_or(&empty);
        let name = strings.get(&node.metadata.name);
        let addresses = status.addresses.as_deref().unwrap_or_default();
        let hostname = addresses
            .iter()
            .rfind(|address| address.kind == "Hostname" && !address.address.is_empty())
            .map_or_else(|| Arc::clone(&name), |address| strings.get(&address.address));
        let ip = |kind: &'static str| {
            addresses
                .iter()
                .filter(move |address| address.kind == kind)
                .filter_map(|address| address.address.parse::<IpAddr>().ok())
        };
        Self {
            uid: node.metadata.uid.as_str().into(),
            hostname,
            host_id: host_id(node, options, strings),
            labels: pairs(node.metadata.labels.as_ref(), strings),
            address: ip("InternalIP").next_back().or_else(|| ip("ExternalIP").next()),
            ready: is_ready(status),
            kubelet_port: kubelet_port(status),
            capacity: resources(status.capacity.as_ref(), strings),
            allocatable: resources(status.allocatable.as_ref(), strings),
            name,
        }
    }
}

fn host_id(node: &NodeLite, options: &FactOptions, strings: &mut Interner) -> Arc<str> {
    let external = node.spec.as_ref().and_then(|spec| spec.external_id.as_deref());
    let annotated = || {
        let key = options.host_id_annotation.as_ref()?;
        Some(node.metadata.annotations.as_ref()?.get(key)?.as_str())
    };
    let id = external.filter(|id| !id.is_empty()).or_else(annotated);
    strings.get(id.unwrap_or(""))
}

fn is_ready(status: &NodeStatus) -> bool {
    let conditions = status.conditions.as_deref().unwrap_or_default();
    conditions.iter().filter(|condition| condition.kind == "Ready").all(|condition| condition.status == "True")
}

fn kubelet_port(status: &NodeStatus) -> Option<u16> {
    let port = status.daemon_endpoints.as_ref()?.kubelet_endpoint.as_ref()?.port?;
    u16::try_from(port).ok().filter(|&port| port > 0)
}

impl PodFacts {
    pub(super) fn of(pod: &PodLite, options: &FactOptions, strings: &mut Interner) -> Self {
        let meta = &pod.metadata;
        let spec = pod.spec.as_ref();
        let status = pod.status.as_ref();
        let owner = meta
            .owner_references
            .iter()
            .flatten()
            .find(|owner| owner.controller == Some(true))
            .map(|owner| (strings.get(&owner.kind), strings.get(&owner.name)));
        let regular = spec.and_then(|spec| spec.containers.as_deref()).unwrap_or_default();
        let init = spec.and_then(|spec| spec.init_containers.as_deref()).unwrap_or_default();
        let statuses = status.and_then(|status| status.container_statuses.as_deref()).unwrap_or_default();
        let init_statuses = status.and_then(|status| status.init_container_statuses.as_deref()).unwrap_or_default();
        let mut containers = Vec::with_capacity(regular.len() + init.len());
        for (specs, statuses, init) in [(regular, statuses, false), (init, init_statuses, true)] {
            containers.extend(specs.iter().map(|spec| container(spec, statuses, init, strings)));
        }
        Self {
            namespace: strings.get(&meta.namespace),
            name: meta.name.as_str().into(),
            uid: meta.uid.as_str().into(),
            node: strings.get(spec.and_then(|spec| spec.node_name.as_deref()).unwrap_or("")),
            labels: pairs(meta.labels.as_ref(), strings),
            annotations: chosen(meta.annotations.as_ref(), &options.annotations, strings),
            phase: strings.get(status.and_then(|status| status.phase.as_deref()).unwrap_or("")),
            owner,
            started_at: status.and_then(|status| status.start_time.as_deref()).and_then(parse_timestamp),
            containers: containers.into(),
        }
    }
}

fn container(spec: &ContainerLite, statuses: &[ContainerStatus], init: bool, strings: &mut Interner) -> ContainerFacts {
    let status = statuses.iter().find(|status| status.name == spec.name);
    let wanted = spec.resources.as_ref();
    ContainerFacts {
        name: strings.get(&spec.name),
        image: strings.get(spec.image.as_deref().unwrap_or("")),
        init,
        requests: resources(wanted.and_then(|wanted| wanted.requests.as_ref()), strings),
        limits: resources(wanted.and_then(|wanted| wanted.limits.as_ref()), strings),
        // Kubernetes leaves out a zero in no version, but a missing count of a status means 0.
        restart_count: status.map(|status| status.restart_count.unwrap_or(0)),
        started_at: status
            .and_then(|status| status.state.as_ref()?.running.as_ref()?.started_at.as_deref())
            .and_then(parse_timestamp),
    }
}

fn pairs(map: Option<&BTreeMap<String, String>>, strings: &mut Interner) -> Pairs {
    map.into_iter().flatten().map(|(key, value)| (strings.get(key), strings.get(value))).collect()
}

fn chosen(map: Option<&BTreeMap<String, String>>, keys: &[String], strings: &mut Interner) -> Pairs {
    let Some(map) = map else {
        return Pairs::default();
    };
    map.iter()
        .filter(|(key, _)| keys.contains(key))
        .map(|(key, value)| (strings.get(key), strings.get(value)))
        .collect()
}

/// What is no quantity is unset: the API server lets none through.
fn resources(map: Option<&BTreeMap<String, Quantity>>, strings: &mut Interner) -> Resources {
    map.into_iter()
        .flatten()
        .filter_map(|(name, quantity)| {
            let scale = Scale::of(name);
            let amount = match quantity {
                Quantity::Text(text) => parse_quantity(text, scale),
                Quantity::Whole(number) => parse_quantity(&number.to_string(), scale),
                Quantity::Fraction(number) => parse_quantity(&number.to_string(), scale),
            };
            Some((strings.get(name), amount.ok()?))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(json: &str) -> NodeFacts {
        let options = FactOptions { host_id_annotation: Some("example.com/host-id".into()), ..FactOptions::default() };
        NodeFacts::of(&serde_json::from_str(json).unwrap(), &options, &mut Interner::default())
    }

    #[test]
    fn a_node_is_asked_at_its_last_internal_or_first_external_address() {
        for (addresses, want) in [
            ("[]", None),
            (
                r#"[{"type":"InternalIP","address":"10.0.0.1"},{"type":"InternalIP","address":"10.0.0.2"}]"#,
                Some("10.0.0.2"),
            ),
            (
                r#"[{"type":"InternalIP","address":"10.0.0.1"},{"type":"InternalIP","address":"nonsense"}]"#,
                Some("10.0.0.1"),
            ),
            (
                r#"[{"type":"ExternalIP","address":"1.1.1.1"},{"type":"ExternalIP","address":"2.2.2.2"}]"#,
                Some("1.1.1.1"),
            ),
            (
                r#"[{"type":"ExternalIP","address":"1.1.1.1"},{"type":"InternalIP","address":"fd00::1"}]"#,
                Some("fd00::1"),
            ),
            (r#"[{"type":"Hostname","address":"a"},{"type":"InternalDNS","address":"b"}]"#, None),
        ] {
            let facts = node(&format!(r#"{{"metadata":{{"name":"n"}},"status":{{"addresses":{addresses}}}}}"#));
            assert_eq!(facts.address, want.map(|want| want.parse().unwrap()), "{addresses}");
        }
    }

    #[test]
    fn a_node_is_ready_unless_a_condition_says_otherwise() {
        for (conditions, want) in [
            ("null", true),
            (r#"[{"type":"MemoryPressure","status":"False"}]"#, true),
            (r#"[{"type":"Ready","status":"True"}]"#, true),
            (r#"[{"type":"Ready","status":"False"}]"#, false),
            (r#"[{"type":"Ready","status":"Unknown"}]"#, false),
        ] {
            let facts = node(&format!(r#"{{"status":{{"conditions":{conditions}}}}}"#));
            assert_eq!(facts.ready, want, "{conditions}");
        }
    }

    #[test]
    fn a_node_has_its_names_port_and_resources() {
        let facts = node(
            r#"{"metadata":{"name":"n","uid":"u","labels":{"zone":"z"},"annotations":{"example.com/host-id":"h"}},
            "spec":{"externalID":""},"status":{"addresses":[{"type":"Hostname","address":"one"},{"type":"Hostname","address":"two"}],
            "daemonEndpoints":{"kubeletEndpoint":{"Port":10250}},"capacity":{"cpu":"4","memory":"8Gi","pods":110}}}"#,
        );
        assert_eq!((&*facts.hostname, &*facts.host_id, facts.kubelet_port), ("two", "h", Some(10250)));
        let amounts: Vec<_> = facts.capacity.iter().map(|(name, amount)| (&**name, *amount)).collect();
        assert_eq!(amounts, [("cpu", 4000), ("memory", 8 << 30), ("pods", 110)]);
        let bare = node(r#"{"metadata":{"name":"n"},"spec":{"externalID":"e"}}"#);
        assert_eq!((&*bare.hostname, &*bare.host_id, bare.kubelet_port), ("n", "e", None));
    }

    #[test]
    fn a_pod_keeps_only_facts() {
        let json = r#"{"metadata":{"name":"p","namespace":"ns","uid":"u","labels":null,"managedFields":[{"x":[1]}],
            "annotations":{"keep":"1","drop":"2"},"ownerReferences":[{"kind":"X","name":"x"},{"kind":"ReplicaSet","name":"rs","controller":true}]},
            "spec":{"nodeName":"n","containers":[{"name":"c","image":"i","resources":{"requests":{"cpu":"0.1"},"limits":{"nvidia.com/gpu":1}}}],
            "initContainers":[{"name":"setup"}]},
            "status":{"phase":"Running","startTime":"1970-01-01T00:00:01Z","containerStatuses":[{"name":"c","restartCount":3,
            "state":{"running":{"startedAt":"1970-01-01T00:00:02Z"}}}]}}"#;
        let options = FactOptions { annotations: vec!["keep".into()], ..FactOptions::default() };
        let facts = PodFacts::of(&serde_json::from_str(json).unwrap(), &options, &mut Interner::default());
        assert_eq!((&*facts.phase, facts.started_at, facts.annotations.len()), ("Running", Some(1_000_000_000), 1));
        assert_eq!(facts.owner.as_ref().map(|(kind, name)| (&**kind, &**name)), Some(("ReplicaSet", "rs")));
        let [c, setup] = &*facts.containers else { panic!("two containers") };
        assert_eq!(
            (c.requests[0].1, c.limits[0].1, c.restart_count, c.started_at),
            (100, 1, Some(3), Some(2_000_000_000))
        );
        assert_eq!((setup.init, setup.restart_count), (true, None));
    }
}
