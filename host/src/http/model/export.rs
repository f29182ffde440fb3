//! `/api/v1/metric-export`: the newest values of nodes, pods and containers, of the metrics that
//! Heapster exported; and the list of these.

use std::collections::BTreeMap;
use std::iter;
use std::sync::Arc;

use serde::Serialize;
use serde_json::{Value as Json, json};

use super::answer::{NO_TIME, rfc3339};
use crate::batch::{Kind, Level, Value};
use crate::store::{EntityRef, Sample, Snapshot, Values};

/// Name, description, whether it is cumulative, its unit.
type Row = (&'static str, &'static str, bool, &'static str);

#[rustfmt::skip]
const PLAIN: [Row; 16] = [
    ("uptime", "Number of milliseconds since the container was started", true, "ms"),
    ("cpu/usage", "Cumulative CPU usage on all cores", true, "ns"),
    ("cpu/load", "CPU load", false, ""),
    ("ephemeral_storage/usage", "Ephemeral storage usage", false, "bytes"),
    ("memory/usage", "Total memory usage", false, "bytes"),
    ("memory/rss", "RSS memory", false, "bytes"),
    ("memory/cache", "Cache memory", false, "bytes"),
    ("memory/working_set", "Total working set usage. Working set is the memory being used and not easily dropped by the kernel", false, "bytes"),
    ("memory/page_faults", "Number of page faults", true, ""),
    ("memory/major_page_faults", "Number of major page faults", true, ""),
    ("network/rx", "Cumulative number of bytes received over the network", true, "bytes"),
    ("network/rx_errors", "Cumulative number of errors while receiving over the network", true, ""),
    ("network/tx", "Cumulative number of bytes sent over the network", true, "bytes"),
    ("network/tx_errors", "Cumulative number of errors while sending over the network", true, ""),
    ("cpu/limit", "CPU hard limit in millicores.", false, ""),
    ("memory/limit", "Memory hard limit in bytes.", false, "bytes"),
];
#[rustfmt::skip]
const BY_RESOURCE: [Row; 9] = [
    ("disk/io_read_bytes", "Cumulative number of bytes read over disk", true, "bytes"),
    ("disk/io_read_bytes_rate", "Rate of bytes read over disk in bytes per second", false, ""),
    ("disk/io_write_bytes", "Cumulative number of bytes write over disk", true, "bytes"),
    ("disk/io_write_bytes_rate", "Rate of bytes written over disk in bytes per second", false, ""),
    ("filesystem/usage", "Total number of bytes consumed on a filesystem", false, "bytes"),
    ("filesystem/limit", "The total size of filesystem in bytes", false, "bytes"),
    ("filesystem/available", "The number of available bytes remaining in a the filesystem", false, "bytes"),
    ("filesystem/inodes", "Total number of inodes on a filesystem", false, "bytes"),
    ("filesystem/inodes_free", "Free number of inodes on a filesystem", false, "bytes"),
];
#[rustfmt::skip]
const BY_ACCELERATOR: [Row; 3] = [
    ("accelerator/memory_total", "Total accelerator memory (in bytes)", false, "bytes"),
    ("accelerator/memory_used", "Total accelerator memory allocated (in bytes)", false, "bytes"),
    ("accelerator/duty_cycle", "Percent of time over the past sample period (10s) during which the accelerator was actively processing", false, ""),
];
/// Labels of points.
const RESOURCE: [(&str, &str); 1] = [("resource_id", "Identifier(s) specific to a metric")];
const ACCELERATOR: [(&str, &str); 3] = [
    ("make", "Make of the accelerator (nvidia, amd, google etc.)"),
    ("model", "Model of the accelerator (tesla-p100, tesla-k80 etc.)"),
    ("accelerator_id", "ID of the accelerator"),
];
/// Labels of all that is exported.
const COMMON: [(&str, &str); 5] = [
    ("nodename", "nodename where the container ran"),
    ("hostname", "Hostname where the container ran"),
    ("host_id", "Identifier specific to a host. Set by cloud provider or user"),
    ("container_name", "User-provided name of the container or full container name for system containers"),
    ("container_base_image", "User-defined image name that is run inside the container"),
];
/// Labels of pods and their containers.
const OF_PODS: [(&str, &str); 4] = [
    ("pod_name", "The name of the pod"),
    ("pod_id", "The unique ID of the pod"),
    ("namespace_id", "The UID of namespace of the pod"),
    ("labels", "Comma-separated list of user-provided labels"),
];

/// What is exported, with descriptions.
pub fn schema() -> Json {
    let keys = |labels: &[(&str, &str)]| -> Vec<Json> {
        labels.iter().map(|(key, description)| json!({ "key": key, "description": description })).collect()
    };
    let metrics = |rows: &[Row], labels: &[(&str, &str)]| -> Vec<Json> {
        let one = |&(name, description, cumulative, unit): &Row| {
            let kind = if cumulative { "cumulative" } else { "gauge" };
            let value = if name.ends_with("_rate") { "double" } else { "int64" };
            let mut row = json!({ "name": name, "description": description, "type": kind, "value_type": value });
            if !unit.is_empty() {
                row["units"] = unit.into();
            }
            if !labels.is_empty() {
                row["labels"] = keys(labels).into();
            }
            row
        };
        rows.iter().map(one).collect()
    };
    let all = [metrics(&PLAIN, &[]), metrics(&BY_RESOURCE, &RESOURCE), metrics(&BY_ACCELERATOR, &ACCELERATOR)];
    json!({ "metrics": all.concat(), "common_labels": keys(&COMMON), "pod_labels": keys(&OF_PODS) })
}

/// One entity.
#[derive(Serialize)]
struct Timeseries<'a> {
    metrics: BTreeMap<&'a str, Vec<Point<'a>>>,
    labels: BTreeMap<&'a str, &'a str>,
}

#[derive(Serialize)]
struct Point<'a> {
    start: String,
    end: &'a str,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    labels: BTreeMap<&'a str, &'a str>,
    value: Number,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Number {
    Int(i64),
    Float(f64),
}

/// The newest values in pieces, one a node; `null` before the first cycle.
pub fn pieces(snapshot: Arc<Snapshot>) -> Box<dyn Iterator<Item = Vec<u8>> + Send> {
    if snapshot.cycle() == 0 {
        return Box::new(iter::once(b"null".to_vec()));
    }
    let mut first = true;
    let nodes = (0..snapshot.sources()).map(move |place| {
        let mut piece = Vec::new();
        let Some(batch) = snapshot.nth(place, 0) else { return piece };
        let (values, end) = (batch.values(), rfc3339(batch.time()));
        for entity in batch.entities().filter(|entity| exported(entity.level())) {
            if !std::mem::take(&mut first) {
                piece.push(b',');
            }
            // Writing to memory does not fail.
            let _ = serde_json::to_writer(&mut piece, &timeseries(&entity, &values, &end));
        }
        piece
    });
    let begin = iter::once(b"[".to_vec());
    Box::new(begin.chain(nodes).chain(iter::once(b"]".to_vec())).filter(|piece| !piece.is_empty()))
}

fn exported(level: Level) -> bool {
    matches!(level, Level::Node | Level::SystemContainer | Level::Pod | Level::Container)
}

fn timeseries<'a>(entity: &EntityRef<'a>, values: &Values, end: &'a str) -> Timeseries<'a> {
    let of_pods: &[(&str, &str)] = match entity.level() {
        Level::SystemContainer => &[],
        // A node has its labels, too.
        _ => &OF_PODS,
    };
    let is_label = |name: &str| COMMON.iter().chain(of_pods).any(|(known, _)| *known == name);
    let mut labels: BTreeMap<&str, &str> = entity.labels().filter(|(name, _)| is_label(name)).collect();
    match entity.level() {
        Level::Node => drop(labels.insert("container_name", "machine")),
        Level::Pod => drop(labels.insert("container_name", "/pod")),
        _ => {}
    }
    let mut metrics: BTreeMap<&str, Vec<Point<'a>>> = BTreeMap::new();
    for sample in entity.samples(values).filter(is_exported) {
        let start = match (sample.kind, entity.started_at()) {
            (Kind::Gauge, _) => end.to_owned(),
            (Kind::Cumulative, 0) => NO_TIME.to_owned(),
            (Kind::Cumulative, started_at) => rfc3339(started_at),
        };
        let value = match sample.value {
            Value::Int(int) => Number::Int(int),
            Value::Float(float) => Number::Float(float),
        };
        let point = Point { start, end, labels: sample.labels().collect(), value };
        metrics.entry(sample.metric).or_default().push(point);
    }
    Timeseries { metrics, labels }
}

/// Metrics with labels are all exported, of the others those of the schema.
fn is_exported(sample: &Sample<'_>) -> bool {
    sample.is_labelled() || PLAIN.iter().any(|(name, ..)| *name == sample.metric)
}
