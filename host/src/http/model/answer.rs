//! Answers of the model API, made of a snapshot of the store. Pure.

use std::iter;
use std::sync::Arc;

use hashbrown::HashMap;
use serde::Serialize;
use serde_json::{Value as Json, json};

use super::query::Query;
use super::route::{Ask, Subject};
use crate::batch::{Level, Value};
use crate::store::{EntityRef, Key, Snapshot};

/// The time that Heapster gave for none.
pub const NO_TIME: &str = "0001-01-01T00:00:00Z";

/// Values of one metric.
#[derive(Debug, Clone, Serialize)]
pub struct MetricResult {
    /// The values, oldest first.
    pub metrics: Vec<MetricPoint>,
    /// The newest value's time, or [`NO_TIME`].
    #[serde(rename = "latestTimestamp")]
    pub latest: String,
}

/// One value. Clients of old decode `value` as an unsigned integer.
#[derive(Debug, Clone, Serialize)]
pub struct MetricPoint {
    timestamp: String,
    value: u64,
    #[serde(rename = "floatValue", skip_serializing_if = "Option::is_none")]
    float: Option<f64>,
}

impl MetricPoint {
    /// A value and its time, ns since the epoch.
    pub fn new(time: i64, value: Value) -> Self {
        let (value, float) = match value {
            Value::Int(int) => (u64::try_from(int).unwrap_or(0), None),
            // What is below 0 becomes 0, and the fraction is cut off.
            Value::Float(float) => (float as u64, Some(float)),
        };
        Self { timestamp: rfc3339(time), value, float }
    }
}

/// The answer to a request, but for [`Ask::PodList`], which has none here.
pub fn answer(snapshot: &Snapshot, ask: &Ask, query: &Query) -> Json {
    match ask {
        Ask::PodList(..) => Json::Null,
        Ask::Nodes => names(snapshot.newest(0).filter_map(|batch| {
            let has_node = batch.entities().any(|entity| entity.level() == Level::Node);
            batch.node().filter(|_| has_node)
        })),
        Ask::Namespaces => {
            let all = snapshot.newest(0).filter(|batch| batch.node().is_none()).flat_map(|batch| batch.entities());
            names(labels(all, Level::Namespace, "namespace_name"))
        }
        Ask::FreeContainers(node) => {
            let named = snapshot.node_of(node, 0);
            names(labels(
                named.into_iter().flat_map(|batch| batch.entities()),
                Level::SystemContainer,
                "container_name",
            ))
        }
        Ask::Pods(namespace) => {
            let all = snapshot.newest(0).flat_map(|batch| batch.entities());
            let theirs = all.filter(|it| it.level() == Level::Pod && it.label("namespace_name") == Some(namespace));
            names(labels(theirs, Level::Pod, "pod_name"))
        }
        Ask::Containers(namespace, pod) => {
            let all = snapshot.with_pod(namespace, pod, 0).flat_map(|batch| batch.entities());
            let theirs = all.filter(|it| {
                it.label("pod_name") == Some(pod.as_str()) && it.label("namespace_name") == Some(namespace.as_str())
            });
            names(labels(theirs, Level::Container, "container_name"))
        }
        Ask::AllKeys => {
            let all = snapshot.newest(0).flat_map(|batch| batch.entities().map(move |it| key(&it, batch.node())));
            let mut keys: Vec<String> = all.collect();
            keys.sort_unstable();
            keys.dedup();
            json!(keys)
        }
        Ask::Metrics(subject) => json!(snapshot.metrics(subject.key(), false)),
        Ask::LabelledMetrics(subject) => json!(snapshot.metrics(subject.key(), true)),
        Ask::LabelSets(subject, metric) => {
            let sets = snapshot.label_sets(subject.key(), metric);
            let mut objects = Vec::with_capacity(sets.len());
            for set in sets {
                objects
                    .push(Json::Object(set.into_iter().map(|(name, value)| (name.to_owned(), json!(value))).collect()));
            }
            Json::Array(objects)
        }
        Ask::Values(subject, metric) => json!(values(snapshot, subject.key(), metric, query, 1)),
    }
}

/// So often a point is repeated at most, however often its pod is asked for: requests of 64 KiB must
/// not make answers without end.
const MOST_TIMES: usize = 4;

/// The answer for several pods, in pieces: the items stand in the request's order, an unknown pod has an
/// empty one.
pub fn pod_list(
    snapshot: Arc<Snapshot>,
    namespace: String,
    pods: Vec<String>,
    metric: String,
    query: Query,
) -> impl Iterator<Item = Vec<u8>> + Send {
    let mut times: HashMap<String, usize> = HashMap::new();
    for pod in &pods {
        *times.entry_ref(pod.as_str()).or_default() += 1;
    }
    let items = pods.into_iter().enumerate().map(move |(place, pod)| {
        // A pod that is asked for twice has every point twice, as it had in Heapster.
        let times = times.get(&pod).copied().unwrap_or(1).min(MOST_TIMES);
        let item = values(&snapshot, Key::Pod(&namespace, &pod), &metric, &query, times);
        let mut piece = if place == 0 { Vec::new() } else { b",".to_vec() };
        // Writing to memory does not fail.
        let _ = serde_json::to_writer(&mut piece, &item);
        piece
    });
    iter::once(b"{\"items\":[".to_vec()).chain(items).chain(iter::once(b"]}".to_vec()))
}

impl Subject {
    fn key(&self) -> Key<'_> {
        match self {
            Self::Cluster => Key::Cluster,
            Self::Node(name) => Key::Node(name),
            Self::FreeContainer(node, name) => Key::SystemContainer(node, name),
            Self::Namespace(name) => Key::Namespace(name),
            Self::Pod(namespace, name) => Key::Pod(namespace, name),
            Self::Container(namespace, pod, name) => Key::Container(namespace, pod, name),
        }
    }
}

fn labels<'s>(
    entities: impl Iterator<Item = EntityRef<'s>>,
    level: Level,
    label: &str,
) -> impl Iterator<Item = &'s str> {
    entities.filter(move |entity| entity.level() == level).filter_map(move |entity| entity.label(label))
}

/// Sorted, each once.
fn names<'s>(names: impl Iterator<Item = &'s str>) -> Json {
    let mut names: Vec<&str> = names.collect();
    names.sort_unstable();
    names.dedup();
    json!(names)
}

fn values(snapshot: &Snapshot, key: Key<'_>, metric: &str, query: &Query, times: usize) -> MetricResult {
    let labels: Vec<(&str, &str)> = query.labels.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let wanted = query.start.unwrap_or(i128::MIN)..=query.end.unwrap_or(i128::MAX);
    let mut latest = None;
    let mut metrics = Vec::new();
    for (time, value) in snapshot.series(key, metric, &labels) {
        if !wanted.contains(&i128::from(time)) {
            continue;
        }
        let point = MetricPoint::new(time, value);
        latest = Some(point.timestamp.clone());
        metrics.extend(iter::repeat_n(point, times));
    }
    MetricResult { metrics, latest: latest.unwrap_or_else(|| NO_TIME.to_owned()) }
}

/// Heapster's key of an entity.
fn key(entity: &EntityRef<'_>, node: Option<&str>) -> String {
    let label = |name| entity.label(name).unwrap_or_default();
    let node = node.unwrap_or_else(|| label("nodename"));
    let (namespace, pod, container) = (label("namespace_name"), label("pod_name"), label("container_name"));
    match entity.level() {
        Level::Cluster => "cluster".to_owned(),
        Level::Node => format!("node:{node}"),
        Level::SystemContainer => format!("node:{node}/container:{container}"),
        Level::Namespace => format!("namespace:{namespace}"),
        Level::Pod => format!("namespace:{namespace}/pod:{pod}"),
        Level::Container => format!("namespace:{namespace}/pod:{pod}/container:{container}"),
        Level::Other => {
            let mut labels: Vec<_> = entity.labels().map(|(name, value)| format!("{name}={value}")).collect();
            labels.sort_unstable();
            format!("other:{}", labels.join(","))
        }
    }
}

/// A timestamp as Heapster wrote it; `ns` since the epoch.
pub fn rfc3339(ns: i64) -> String {
    jiff::Timestamp::from_nanosecond(i128::from(ns)).map_or_else(|_| NO_TIME.to_owned(), |time| time.to_string())
}
