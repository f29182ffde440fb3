//! What a path of the model API asks for. Knows no data.
//!
//! Slashes that stand twice or at the end mean nothing; a metric's name may hold some.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

/// Names that Heapster had before and still took.
const OLD_NAMES: [(&str, &str); 5] = [
    ("cpu-usage", "cpu/usage_rate"),
    ("cpu-limit", "cpu/limit"),
    ("memory-limit", "memory/limit"),
    ("memory-usage", "memory/usage"),
    ("memory-working", "memory/working_set"),
];

/// The entity that a path names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subject {
    /// The cluster.
    Cluster,
    /// A node.
    Node(String),
    /// A node's own container.
    FreeContainer(String, String),
    /// A namespace.
    Namespace(String),
    /// A pod.
    Pod(String, String),
    /// A pod's container.
    Container(String, String, String),
}

/// What is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ask {
    /// Names of nodes.
    Nodes,
    /// Names of namespaces.
    Namespaces,
    /// Names of a node's own containers.
    FreeContainers(String),
    /// Names of a namespace's pods.
    Pods(String),
    /// Names of a pod's containers.
    Containers(String, String),
    /// Every entity's key.
    AllKeys,
    /// Names of the metrics that an entity has without labels.
    Metrics(Subject),
    /// Values of one metric.
    Values(Subject, String),
    /// Names of the metrics that an entity has with labels.
    LabelledMetrics(Subject),
    /// The label sets of one of them.
    LabelSets(Subject, String),
    /// Values of one metric of several pods: namespace, pods, metric.
    PodList(String, Vec<String>, String),
}

/// Reads what follows `/api/v1/model`; `None`: there is no such route.
pub fn parse(path: &str) -> Option<Ask> {
    let parts = parts(path)?;
    let parts: Vec<&str> = parts.iter().map(|part| &**part).collect();
    let owned = |text: &str| text.to_owned();
    match parts.as_slice() {
        ["nodes"] => Some(Ask::Nodes),
        ["nodes", node, "freecontainers"] => Some(Ask::FreeContainers(owned(node))),
        ["namespaces"] => Some(Ask::Namespaces),
        ["namespaces", ns, "pods"] => Some(Ask::Pods(owned(ns))),
        ["namespaces", ns, "pods", pod, "containers"] => Some(Ask::Containers(owned(ns), owned(pod))),
        ["namespaces", ns, "pod-list", pods, "metrics", name @ ..] if !name.is_empty() => {
            Some(Ask::PodList(owned(ns), pods.split(',').map(str::to_owned).collect(), metric(name)))
        }
        ["debug", "allkeys"] => Some(Ask::AllKeys),
        parts => {
            let (subject, rest) = subject(parts);
            of(subject, rest)
        }
    }
}

/// The parts between a path's slashes, decoded; `None`: one is not UTF-8.
pub fn parts(path: &str) -> Option<Vec<Cow<'_, str>>> {
    let parts = path.split('/').filter(|part| !part.is_empty());
    parts.map(|part| percent_decode_str(part).decode_utf8().ok()).collect()
}

/// The entity that a path begins with, and what follows it.
pub fn subject<'p, 'a>(parts: &'p [&'a str]) -> (Subject, &'p [&'a str]) {
    let owned = |text: &str| text.to_owned();
    match parts {
        ["nodes", node, "freecontainers", name, rest @ ..] => (Subject::FreeContainer(owned(node), owned(name)), rest),
        ["nodes", node, rest @ ..] => (Subject::Node(owned(node)), rest),
        ["namespaces", ns, "pods", pod, "containers", name, rest @ ..] => {
            (Subject::Container(owned(ns), owned(pod), owned(name)), rest)
        }
        ["namespaces", ns, "pods", pod, rest @ ..] => (Subject::Pod(owned(ns), owned(pod)), rest),
        ["namespaces", ns, rest @ ..] => (Subject::Namespace(owned(ns)), rest),
        rest => (Subject::Cluster, rest),
    }
}

fn of(subject: Subject, rest: &[&str]) -> Option<Ask> {
    match rest {
        ["metrics"] => Some(Ask::Metrics(subject)),
        ["metrics", name @ ..] => Some(Ask::Values(subject, metric(name))),
        ["metrics-labels"] => Some(Ask::LabelledMetrics(subject)),
        ["metrics-labels", name @ ..] => Some(Ask::LabelSets(subject, metric(name))),
        _ => None,
    }
}

/// A metric's name of its parts; what it is called now.
pub fn metric(parts: &[&str]) -> String {
    let name = parts.join("/");
    let new = OLD_NAMES.iter().find(|(old, _)| *old == name);
    new.map_or(name, |(_, new)| (*new).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_read() {
        let text = str::to_owned;
        let pod = Subject::Pod(text("ns"), text("p"));
        for (path, want) in [
            ("", None),
            ("/", None),
            ("/nope", None),
            ("/nodes/n", None),
            ("/namespaces/ns/pod-list/a/metrics", None),
            ("/nodes//", Some(Ask::Nodes)),
            ("//metrics/", Some(Ask::Metrics(Subject::Cluster))),
            ("/metrics/cpu-usage", Some(Ask::Values(Subject::Cluster, text("cpu/usage_rate")))),
            (
                "/namespaces/ns/pods/p/metrics/nvidia.com/gpu/request/",
                Some(Ask::Values(pod.clone(), text("nvidia.com/gpu/request"))),
            ),
            (
                "/namespaces/ns/pods/p/metrics-labels/filesystem/usage",
                Some(Ask::LabelSets(pod.clone(), text("filesystem/usage"))),
            ),
            ("/namespaces/ns/pods/p/metrics-labels", Some(Ask::LabelledMetrics(pod))),
            (
                "/namespaces/ns/pod-list/b,a,b/metrics/cpu%2Fusage",
                Some(Ask::PodList(text("ns"), vec![text("b"), text("a"), text("b")], text("cpu/usage"))),
            ),
            (
                "/nodes/n/freecontainers/kubelet/metrics",
                Some(Ask::Metrics(Subject::FreeContainer(text("n"), text("kubelet")))),
            ),
            ("/nodes/%FF/metrics", None),
        ] {
            assert_eq!(parse(path), want, "{path}");
        }
    }
}
