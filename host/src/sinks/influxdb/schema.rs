//! Which measurement, field and tags a metric becomes.

use hashbrown::HashMap;

use super::config::{InfluxdbConfig, Timestamps};
use super::text;
use crate::batch::{Batch, ValueType};

/// Labels that Heapster kept out of InfluxDB.
const NO_TAGS: [&str; 4] = ["namespace_id", "pod_id", "hostname", "host_id"];

/// Counters that have a rate beside them.
const COUNTERS_WITH_RATE: [&str; 9] = [
    "cpu/usage",
    "memory/page_faults",
    "memory/major_page_faults",
    "network/rx",
    "network/rx_errors",
    "network/tx",
    "network/tx_errors",
    "disk/io_read_bytes",
    "disk/io_write_bytes",
];

/// The settings that shape lines.
#[derive(Debug)]
pub struct Schema {
    pub with_fields: bool,
    pub cluster_name: String,
    pub disable_counter_metrics: bool,
    pub pod_id_tag: bool,
    pub timestamps: Timestamps,
}

impl Schema {
    pub fn new(config: &InfluxdbConfig) -> Self {
        Self {
            with_fields: config.with_fields,
            cluster_name: config.cluster_name.clone(),
            disable_counter_metrics: config.disable_counter_metrics,
            pod_id_tag: config.pod_id_tag,
            timestamps: config.timestamps,
        }
    }

    /// Whether a label of this name becomes a tag. `cluster_name` is ours on every point.
    pub fn is_tag(&self, label: &str) -> bool {
        let ours = label == "cluster_name" && !self.cluster_name.is_empty();
        let kept_out = NO_TAGS.contains(&label) && !(self.pod_id_tag && label == "pod_id");
        !label.is_empty() && !ours && !kept_out
    }
}

/// Measurement and field of a metric.
fn names(metric: &str, with_fields: bool) -> (&str, &str) {
    if !with_fields {
        return (metric, "value");
    }
    match metric.split_once('/') {
        Some((measurement, "")) if !measurement.is_empty() => (measurement, "value"),
        Some((measurement, field)) if !measurement.is_empty() => (measurement, field),
        _ => (metric, "value"),
    }
}

/// Measurement and field of a metric as the server keeps them, for those who read.
pub fn stored_names(metric: &str, with_fields: bool) -> (String, String) {
    let (measurement, field) = names(metric, with_fields);
    (text::stored(text::push_measurement, measurement), text::stored(text::push_field, field))
}

/// What a metric of a batch becomes.
#[derive(Debug, Clone, Copy)]
pub struct Column {
    /// Equal for equal measurements.
    pub measurement_id: u32,
    /// Equal for equal fields of one measurement.
    pub field_id: u32,
    pub measurement: (u32, u32),
    /// The field's name with its equals sign.
    pub field: (u32, u32),
    pub value: ValueType,
    pub fate: Fate,
}

/// Whether a metric is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    Written,
    /// `disable_counter_metrics`.
    Filtered,
    /// It has no name.
    Unencodable,
}

/// The columns of a batch's metrics, with their names already escaped.
#[derive(Debug, Default)]
pub struct Columns {
    text: Vec<u8>,
    columns: Vec<Column>,
}

impl Columns {
    pub fn new(schema: &Schema, batch: &Batch) -> Self {
        let mut text = Vec::new();
        let mut columns = Vec::with_capacity(batch.metrics.len());
        let mut measurements: HashMap<Vec<u8>, u32> = HashMap::new();
        let mut fields: HashMap<(u32, Vec<u8>), u32> = HashMap::new();
        for (row, &name) in batch.metrics.name.iter().enumerate() {
            let metric = batch.symbols.get(name);
            let (measurement, field) = names(metric, schema.with_fields);
            let start = text.len();
            text::push_measurement(&mut text, measurement);
            let middle = text.len();
            text::push_field(&mut text, field);
            let next = measurements.len() as u32;
            let id = *measurements.entry(text[start..middle].to_vec()).or_insert(next);
            let next = fields.len() as u32;
            let field_id = *fields.entry((id, text[middle..].to_vec())).or_insert(next);
            text.push(b'=');
            let fate = if metric.is_empty() {
                Fate::Unencodable
            } else if schema.disable_counter_metrics && COUNTERS_WITH_RATE.contains(&metric) {
                Fate::Filtered
            } else {
                Fate::Written
            };
            columns.push(Column {
                measurement_id: id,
                field_id,
                measurement: (start as u32, middle as u32),
                field: (middle as u32, text.len() as u32),
                value: batch.metrics.value_type(row as u32),
                fate,
            });
        }
        Self { text, columns }
    }

    pub fn get(&self, row: u32) -> Option<&Column> {
        self.columns.get(row as usize)
    }

    pub fn text(&self, (start, end): (u32, u32)) -> &[u8] {
        &self.text[start as usize..end as usize]
    }
}
