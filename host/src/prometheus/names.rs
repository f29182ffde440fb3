//! What a metric is called.
//!
//! `heapster_`, the level, and a stem with its unit: the level is in the name and not in a label, so that the sum over
//! a name's series means something.

use std::borrow::Cow;

use super::table::TABLE;
use crate::batch::{Kind, Level, Value};

/// Before every name.
const PREFIX: &str = "heapster";
/// What ends a name that belongs to another type of metric.
const RESERVED: [&str; 6] = ["_total", "_count", "_sum", "_bucket", "_created", "_info"];

/// A type of metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Form {
    /// Only rises; its series end in `_total`.
    Counter,
    /// A value of now.
    Gauge,
}

/// What one metric of one level becomes.
#[derive(Debug, Clone, PartialEq)]
pub struct Mapped {
    /// The family's name, without `_total`.
    pub name: String,
    /// Its type.
    pub form: Form,
    /// What it means; on one line, without quotes and backslashes.
    pub help: Cow<'static, str>,
    divisor: f64,
}

impl Mapped {
    /// The name of its series.
    #[must_use]
    pub fn series(&self) -> String {
        match self.form {
            Form::Counter => format!("{}_total", self.name),
            Form::Gauge => self.name.clone(),
        }
    }

    /// Whether values stay as they are.
    #[must_use]
    pub fn is_plain(&self) -> bool {
        self.divisor == 1.0
    }

    /// A value in base units. Whole numbers over 2^53 lose their last digits.
    #[must_use]
    pub fn value(&self, value: Value) -> f64 {
        let value = match value {
            Value::Int(int) => int as f64,
            Value::Float(float) => float,
        };
        value / self.divisor
    }
}

/// The name of a level in names.
pub(super) fn level_word(level: Level) -> &'static str {
    match level {
        Level::Cluster => "cluster",
        Level::Node => "node",
        Level::Namespace => "namespace",
        Level::Pod => "pod",
        Level::Container => "container",
        Level::SystemContainer => "system_container",
        Level::Other => "other",
    }
}

/// What a metric becomes: by the table, else by the rule that docs/PROMETHEUS.md states. `None`: it has no name.
#[must_use]
pub fn mapped(level: Level, metric: &str, kind: Kind, unit: &str) -> Option<Mapped> {
    let full = |stem: &str| format!("{PREFIX}_{}_{stem}", level_word(level));
    if let Some(row) = TABLE.iter().find(|row| row.metric == metric && row.kind == kind) {
        return Some(Mapped {
            name: full(row.stem),
            form: row.form,
            help: Cow::Borrowed(row.help),
            divisor: row.divisor,
        });
    }
    if metric.is_empty() {
        return None;
    }
    let (unit, divisor) = base_unit(unit);
    let mut stem = clean(metric);
    let form = match kind {
        Kind::Cumulative => Form::Counter,
        Kind::Gauge => Form::Gauge,
    };
    let cut = match (form, unit) {
        (Form::Counter, _) => "_total",
        (Form::Gauge, "_per_second") => "_rate",
        _ => "",
    };
    if let Some(rest) = stem.strip_suffix(cut).filter(|rest| !rest.is_empty()) {
        stem.truncate(rest.len());
    }
    if !stem.ends_with(unit) {
        stem.push_str(unit);
    }
    if RESERVED.iter().any(|reserved| stem.ends_with(reserved) || stem == reserved[1..]) {
        stem.push_str("_value");
    }
    // What may stand in a help text differs between the formats.
    let shown: String = metric.chars().map(|c| if c.is_control() || "\"\\".contains(c) { '?' } else { c }).collect();
    Some(Mapped { name: full(&stem), form, help: Cow::Owned(format!("The metric {shown}.")), divisor })
}

/// What ends a name of this unit, and what values are divided by.
fn base_unit(unit: &str) -> (&'static str, f64) {
    match unit {
        "bytes" => ("_bytes", 1.0),
        "ns" => ("_seconds", 1e9),
        "us" => ("_seconds", 1e6),
        "ms" => ("_seconds", 1e3),
        "s" | "seconds" => ("_seconds", 1.0),
        "cores" => ("_cores", 1.0),
        "millicores" => ("_cores", 1e3),
        "nanocores" => ("_cores", 1e9),
        "percent" => ("_ratio", 100.0),
        "1/s" => ("_per_second", 1.0),
        _ => ("", 1.0),
    }
}

/// With `_` for whatever can't stand in a name.
pub(super) fn clean(text: &str) -> String {
    text.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_in_the_table_is_named_by_the_rule() {
        use Kind::{Cumulative, Gauge};
        for (metric, kind, unit, want) in [
            ("cpu/usage", Cumulative, "ns", "heapster_pod_cpu_usage_seconds_total"),
            ("cpu/usage", Gauge, "", "heapster_pod_cpu_usage"),
            ("custom/queueLength", Gauge, "", "heapster_pod_custom_queueLength"),
            ("nvidia.com/gpu/request", Gauge, "", "heapster_pod_nvidia_com_gpu_request"),
            ("a/b", Gauge, "bytes", "heapster_pod_a_b_bytes"),
            ("a/b_bytes", Gauge, "bytes", "heapster_pod_a_b_bytes"),
            ("a/latency", Cumulative, "us", "heapster_pod_a_latency_seconds_total"),
            ("a/requests_total", Cumulative, "", "heapster_pod_a_requests_total"),
            ("a/requests_rate", Gauge, "1/s", "heapster_pod_a_requests_per_second"),
            ("a/load", Gauge, "percent", "heapster_pod_a_load_ratio"),
            ("a/memory_total", Gauge, "", "heapster_pod_a_memory_total_value"),
            ("a/memory_total", Gauge, "bytes", "heapster_pod_a_memory_total_bytes"),
            ("a/errors_count", Cumulative, "", "heapster_pod_a_errors_count_value_total"),
            ("_total", Cumulative, "", "heapster_pod__total_value_total"),
            ("info", Gauge, "", "heapster_pod_info_value"),
            ("größe", Gauge, "", "heapster_pod_gr__e"),
        ] {
            assert_eq!(mapped(Level::Pod, metric, kind, unit).unwrap().series(), want, "{metric} {kind:?} {unit}");
        }
        assert_eq!(mapped(Level::Pod, "", Gauge, ""), None);
        let help = mapped(Level::Pod, "a\"\\\nb", Gauge, "").unwrap().help;
        assert_eq!(help, "The metric a???b.");
    }

    #[test]
    fn values_are_in_base_units_to_the_last_digit() {
        for (metric, kind, value, want) in [
            ("cpu/usage", Kind::Cumulative, Value::Int(12_345_678_901), 12.345678901),
            ("cpu/usage_rate", Kind::Gauge, Value::Int(251), 0.251),
            ("cpu/node_capacity", Kind::Gauge, Value::Float(4000.0), 4.0),
            ("memory/usage", Kind::Gauge, Value::Int(1 << 40), 1_099_511_627_776.0),
            ("uptime", Kind::Cumulative, Value::Int(1_234), 1.234),
        ] {
            assert_eq!(mapped(Level::Node, metric, kind, "").unwrap().value(value), want, "{metric}");
        }
    }
}
