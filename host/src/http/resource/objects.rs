//! Metrics as JSON: as Heapster wrote them, as Kubernetes does, or as rows of a table. Pure.

use std::iter;

use serde::Serialize;
use serde::ser::{SerializeMap as _, Serializer};
use serde_json::{Value, json};

use super::quantity;
use super::route::Api;
use super::usage::{NodeUsage, PodUsage, Usage};
use crate::kube::Pairs;

/// What is given of one node or pod.
#[derive(Debug)]
pub enum Item {
    /// Of a node.
    Node(NodeUsage),
    /// Of a pod.
    Pod(PodUsage),
}

/// How much of an object stands beside its row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Include {
    /// Nothing.
    None,
    /// Its metadata.
    Metadata,
    /// All of it.
    Object,
}

/// How objects are written.
#[derive(Debug, Clone, Copy)]
pub struct Writing<'w> {
    /// Whose shapes.
    pub api: Api,
    /// The time of the answer, RFC 3339: the objects were made now.
    pub now: &'w str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Object<'o> {
    #[serde(skip_serializing_if = "Option::is_none")]
    kind: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    api_version: Option<&'static str>,
    metadata: Metadata<'o>,
    timestamp: String,
    window: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    containers: Option<Vec<Container<'o>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    usage: Option<Resources>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Metadata<'o> {
    name: &'o str,
    #[serde(skip_serializing_if = "str::is_empty")]
    namespace: &'o str,
    creation_timestamp: &'o str,
    #[serde(skip_serializing_if = "no_labels", serialize_with = "labels")]
    labels: &'o [(std::sync::Arc<str>, std::sync::Arc<str>)],
}

#[derive(Serialize)]
struct Container<'o> {
    name: &'o str,
    usage: Resources,
}

#[derive(Serialize)]
struct Resources {
    cpu: String,
    memory: String,
}

impl From<Usage> for Resources {
    fn from(usage: Usage) -> Self {
        Self { cpu: quantity::cpu(usage.millicores), memory: quantity::memory(usage.bytes) }
    }
}

fn no_labels(labels: &[(std::sync::Arc<str>, std::sync::Arc<str>)]) -> bool {
    labels.is_empty()
}

fn labels<S: Serializer>(
    labels: &&[(std::sync::Arc<str>, std::sync::Arc<str>)],
    serializer: S,
) -> Result<S::Ok, S::Error> {
    let mut map = serializer.serialize_map(Some(labels.len()))?;
    for (name, value) in *labels {
        map.serialize_entry(&**name, &**value)?;
    }
    map.end()
}

impl Item {
    fn kind(&self) -> &'static str {
        match self {
            Self::Node(_) => "NodeMetrics",
            Self::Pod(_) => "PodMetrics",
        }
    }

    fn name(&self) -> &str {
        match self {
            Self::Node(node) => &node.facts.name,
            Self::Pod(pod) => &pod.facts.name,
        }
    }

    fn labels(&self) -> &Pairs {
        match self {
            Self::Node(node) => &node.facts.labels,
            Self::Pod(pod) => &pod.facts.labels,
        }
    }

    fn metadata<'o>(&'o self, writing: Writing<'o>) -> Metadata<'o> {
        let namespace = match self {
            Self::Node(_) => "",
            Self::Pod(pod) => &pod.facts.namespace,
        };
        let labels: &[_] = if writing.api.is_heapsters() { &[] } else { self.labels() };
        Metadata { name: self.name(), namespace, creation_timestamp: writing.now, labels }
    }

    fn object<'o>(&'o self, writing: Writing<'o>, single: bool) -> Object<'o> {
        let (time, window) = match self {
            Self::Node(node) => (node.time, node.window),
            Self::Pod(pod) => (pod.time, pod.window),
        };
        let (containers, usage) = match self {
            Self::Node(node) => (None, Some(node.usage.into())),
            Self::Pod(pod) => {
                let container = |(place, usage): &(usize, Usage)| {
                    let name = pod.facts.containers.get(*place).map_or("", |container| &container.name);
                    Container { name, usage: (*usage).into() }
                };
                (Some(pod.containers.iter().map(container).collect()), None)
            }
        };
        let typed = single && !writing.api.is_heapsters();
        Object {
            kind: typed.then(|| self.kind()),
            api_version: typed.then_some("metrics.k8s.io/v1beta1"),
            metadata: self.metadata(writing),
            timestamp: quantity::timestamp(time),
            // Heapster said a minute, whatever its resolution was.
            window: if writing.api.is_heapsters() { "1m0s".to_owned() } else { quantity::duration(window) },
            containers,
            usage,
        }
    }

    fn row(&self, writing: Writing<'_>, include: Include, version: &str) -> Value {
        let (usage, window) = match self {
            Self::Node(node) => (node.usage, node.window),
            Self::Pod(pod) => (pod.total(), pod.window),
        };
        let usage = Resources::from(usage);
        let mut row = json!({"cells": [self.name(), usage.cpu, usage.memory, quantity::duration(window)]});
        row["object"] = match include {
            Include::None => Value::Null,
            Include::Metadata => json!({
                "kind": "PartialObjectMetadata",
                "apiVersion": format!("meta.k8s.io/{version}"),
                "metadata": json!(self.metadata(writing)),
            }),
            Include::Object => json!(self.object(writing, true)),
        };
        row
    }
}

fn text(what: &impl Serialize) -> Vec<u8> {
    // What these are made of can always be written down.
    serde_json::to_vec(what).unwrap_or_default()
}

/// One object.
pub fn single(item: &Item, writing: Writing<'_>) -> Vec<u8> {
    let mut body = text(&item.object(writing, true));
    body.push(b'\n');
    body
}

/// A list, in pieces.
pub fn list(kind: &'static str, items: Vec<Item>, api: Api, now: String) -> impl Iterator<Item = Vec<u8>> + Send {
    let (head, tail): (String, &[u8]) = match (api.is_heapsters(), items.is_empty()) {
        // Go writes a list that nobody made as null.
        (true, true) => ("{\"metadata\":{},\"items\":null".to_owned(), b"}\n"),
        (true, false) => ("{\"metadata\":{},\"items\":[".to_owned(), b"]}\n"),
        (false, _) => (
            format!(
                "{{\"kind\":\"{kind}List\",\"apiVersion\":\"metrics.k8s.io/v1beta1\",\"metadata\":{{}},\"items\":["
            ),
            b"]}\n",
        ),
    };
    let items = separated(items, move |item| text(&item.object(Writing { api, now: &now }, false)));
    iter::once(head.into_bytes()).chain(items).chain(iter::once(tail.to_vec()))
}

/// A table, in pieces; `version` is that of `meta.k8s.io`.
pub fn table(
    items: Vec<Item>,
    version: &'static str,
    include: Include,
    now: String,
) -> impl Iterator<Item = Vec<u8>> + Send {
    let column = |name: &str, format: &str, description: &str| json!({"name": name, "type": "string", "format": format, "description": description, "priority": 0});
    let columns = json!([
        column("Name", "name", "Name of the resource"),
        column("cpu", "quantity", ""),
        column("memory", "quantity", ""),
        column("Window", "duration", ""),
    ]);
    let head = format!(
        "{{\"kind\":\"Table\",\"apiVersion\":\"meta.k8s.io/{version}\",\"metadata\":{{}},\"columnDefinitions\":{columns},\"rows\":["
    );
    let rows = separated(items, move |item| text(&item.row(Writing { api: Api::Beta, now: &now }, include, version)));
    iter::once(head.into_bytes()).chain(rows).chain(iter::once(b"]}\n".to_vec()))
}

fn separated(items: Vec<Item>, write: impl Fn(&Item) -> Vec<u8> + Send) -> impl Iterator<Item = Vec<u8>> + Send {
    items.into_iter().enumerate().map(move |(place, item)| {
        let mut piece = write(&item);
        if place > 0 {
            piece.insert(0, b',');
        }
        piece
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::kube::{ContainerFacts, NodeFacts, PodFacts};

    const NOW: &str = "2026-11-21T09:08:46Z";
    const SECOND: i64 = 1_000_000_000;

    fn node() -> Item {
        let labels = [("zone".into(), "z1".into())].into();
        let facts = Arc::new(NodeFacts { name: "n".into(), labels, ..NodeFacts::default() });
        let usage = Usage { millicores: 1250, bytes: 2_359_300 << 10 };
        Item::Node(NodeUsage { facts, time: 1_795_252_080 * SECOND, window: 10 * SECOND, usage })
    }

    fn pod() -> Item {
        let container = |name: &str| ContainerFacts { name: name.into(), ..ContainerFacts::default() };
        let containers = [container("a"), container("b")].into();
        let facts = PodFacts { namespace: "ns".into(), name: "p".into(), containers, ..PodFacts::default() };
        let usage = |millicores, bytes| Usage { millicores, bytes };
        let containers = vec![(0, usage(12, 20 << 20)), (1, usage(3, 5 << 20))];
        Item::Pod(PodUsage { facts: Arc::new(facts), time: 1_795_252_080 * SECOND, window: 60 * SECOND, containers })
    }

    fn read(pieces: impl Iterator<Item = Vec<u8>>) -> Value {
        serde_json::from_slice(&pieces.flatten().collect::<Vec<_>>()).unwrap()
    }

    #[test]
    fn a_node_is_written_as_heapster_and_as_kubernetes_do() {
        let written = |api| String::from_utf8(single(&node(), Writing { api, now: NOW })).unwrap();
        assert_eq!(
            written(Api::Old),
            "{\"metadata\":{\"name\":\"n\",\"creationTimestamp\":\"2026-11-21T09:08:46Z\"},\
             \"timestamp\":\"2026-11-21T09:08:00Z\",\"window\":\"1m0s\",\
             \"usage\":{\"cpu\":\"1250m\",\"memory\":\"2359300Ki\"}}\n"
        );
        assert_eq!(
            written(Api::Beta),
            "{\"kind\":\"NodeMetrics\",\"apiVersion\":\"metrics.k8s.io/v1beta1\",\
             \"metadata\":{\"name\":\"n\",\"creationTimestamp\":\"2026-11-21T09:08:46Z\",\"labels\":{\"zone\":\"z1\"}},\
             \"timestamp\":\"2026-11-21T09:08:00Z\",\"window\":\"10s\",\
             \"usage\":{\"cpu\":\"1250m\",\"memory\":\"2359300Ki\"}}\n"
        );
    }

    #[test]
    fn lists_are_whole_documents_empty_or_not() {
        let now = || NOW.to_owned();
        assert_eq!(read(list("PodMetrics", vec![], Api::Alpha, now())), json!({"metadata": {}, "items": null}));
        assert_eq!(
            read(list("PodMetrics", vec![], Api::Beta, now())),
            json!({"kind": "PodMetricsList", "apiVersion": "metrics.k8s.io/v1beta1", "metadata": {}, "items": []})
        );
        let two = read(list("PodMetrics", vec![pod(), pod()], Api::Beta, now()));
        assert_eq!(two["items"].as_array().unwrap().len(), 2);
        assert_eq!(
            two["items"][1],
            json!({"metadata": {"name": "p", "namespace": "ns", "creationTimestamp": NOW},
                "timestamp": "2026-11-21T09:08:00Z", "window": "1m0s", "containers": [
                    {"name": "a", "usage": {"cpu": "12m", "memory": "20Mi"}},
                    {"name": "b", "usage": {"cpu": "3m", "memory": "5Mi"}}]})
        );
    }

    #[test]
    fn a_table_adds_up_containers_and_includes_what_is_asked_for() {
        let made = |include| read(table(vec![pod(), node()], "v1", include, NOW.to_owned()));
        let plain = made(Include::None);
        assert_eq!(plain["columnDefinitions"].as_array().unwrap().len(), 4);
        assert_eq!(plain["rows"][0], json!({"cells": ["p", "15m", "25Mi", "1m0s"], "object": null}));
        assert_eq!(plain["rows"][1]["cells"], json!(["n", "1250m", "2359300Ki", "10s"]));
        assert_eq!(made(Include::Metadata)["rows"][0]["object"]["metadata"]["namespace"], "ns");
        assert_eq!(made(Include::Object)["rows"][1]["object"]["kind"], "NodeMetrics");
    }
}
