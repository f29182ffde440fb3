//! The sinks that there are: one line a sink in [`KINDS`] is all that its registration takes.

use toml::Table;

use super::fields::Fields;
use super::outside::Outside;
use super::problems::{Problems, closest, quoted};
use super::uri::Uri;
use crate::sinks::influxdb::config::{self as influxdb, InfluxdbConfig};
use crate::sinks::kafka::config::{self as kafka, KafkaConfig};
use crate::sinks::log::config::{self as log, LogConfig};
use crate::sinks::prometheus::config::{self as prometheus, PrometheusConfig};
use crate::sinks::{Selection, SpoolConfig};

/// `[[sink]]`, checked.
#[derive(Debug, Clone, PartialEq)]
pub struct SinkConfig {
    /// Where points go.
    pub target: Target,
    /// Which.
    pub selection: Selection,
    /// Where they wait on disk; `None`: in memory alone.
    pub spool: Option<SpoolConfig>,
}

/// A place where points go.
#[derive(Debug, Clone, PartialEq)]
pub enum Target {
    /// InfluxDB in Heapster's schema.
    Influxdb(InfluxdbConfig),
    /// Kafka, in Heapster's JSON or in one message an entity.
    Kafka(KafkaConfig),
    /// Batches in a readable form.
    Log(LogConfig),
    /// Prometheus remote write.
    Prometheus(PrometheusConfig),
}

/// A kind of sink and how its settings are read.
struct Kind {
    name: &'static str,
    from_toml: fn(Fields<'_>) -> Option<Target>,
    from_uri: fn(&Uri, &Outside, &Problems) -> Option<Target>,
}

#[rustfmt::skip]
const KINDS: &[Kind] = &[
    Kind { name: "influxdb", from_toml: |f| influxdb::from_toml(f).map(Target::Influxdb), from_uri: |u, o, p| influxdb::from_uri(u, o, p).map(Target::Influxdb) },
    Kind { name: "kafka", from_toml: |f| kafka::from_toml(f).map(Target::Kafka), from_uri: |u, o, p| kafka::from_uri(u, o, p).map(Target::Kafka) },
    Kind { name: "log", from_toml: |f| Some(Target::Log(log::from_toml(f))), from_uri: |u, o, p| Some(Target::Log(log::from_uri(u, o, p))) },
    Kind { name: "prometheus-remote-write", from_toml: |f| prometheus::from_toml(f).map(Target::Prometheus), from_uri: |u, o, p| prometheus::from_uri(u, o, p).map(Target::Prometheus) },
];

/// Reads one `[[sink]]`.
pub fn from_toml(fields: Fields<'_>) -> Option<SinkConfig> {
    if !fields.has("type") {
        fields.problems.push(format!("`{}` is missing; millrace has {}", fields.path("type"), names()));
        return None;
    }
    let name = fields.string("type")?;
    match KINDS.iter().find(|kind| kind.name == name) {
        Some(kind) => {
            let (selection, spool) = (Selection::from_toml(&fields), SpoolConfig::from_toml(&fields));
            (kind.from_toml)(fields).map(|target| SinkConfig { target, selection, spool })
        }
        None => {
            fields.bad("type", &name, &unknown(&name));
            None
        }
    }
}

/// Reads the value of `--sink`.
pub fn from_uri(text: &str, outside: &Outside, problems: &Problems) -> Option<SinkConfig> {
    let uri = Uri::parse("sink", text, outside, problems)?;
    match KINDS.iter().find(|kind| kind.name == uri.key) {
        Some(kind) => {
            let target = (kind.from_uri)(&uri, outside, problems);
            target.map(|target| SinkConfig { target, selection: Selection::default(), spool: None })
        }
        None => {
            problems.bad("--sink", &quoted(&uri.key), &unknown(&uri.key));
            None
        }
    }
}

fn unknown(name: &str) -> String {
    let near = closest(name, KINDS.iter().map(|kind| kind.name)).map(|near| format!("did you mean {near}? "));
    format!("{}millrace has {}", near.unwrap_or_default(), names())
}

fn names() -> String {
    KINDS.iter().map(|kind| kind.name).collect::<Vec<_>>().join(", ")
}

impl SinkConfig {
    /// The name in `type` and before a URI's colon.
    pub fn kind(&self) -> &'static str {
        match self.target {
            Target::Influxdb(_) => "influxdb",
            Target::Kafka(_) => "kafka",
            Target::Log(_) => "log",
            Target::Prometheus(_) => "prometheus-remote-write",
        }
    }

    /// The same as `[[sink]]`, defaults left out.
    pub fn to_toml(&self) -> Table {
        let mut table = match &self.target {
            Target::Influxdb(config) => config.to_toml(),
            Target::Kafka(config) => config.to_toml(),
            Target::Log(config) => config.to_toml(),
            Target::Prometheus(config) => config.to_toml(),
        };
        self.selection.write(&mut table);
        if let Some(spool) = &self.spool {
            table.insert("spool".to_owned(), spool.to_toml().into());
        }
        table.insert("type".to_owned(), self.kind().into());
        table
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sink_that_we_do_not_have_is_refused_with_the_list() {
        for (text, want) in [
            ("gcm", "`--sink` is `gcm`; millrace has influxdb, kafka, log, prometheus-remote-write"),
            (
                "influx:http://db",
                "`--sink` is `influx`; did you mean influxdb? millrace has influxdb, kafka, log, prometheus-remote-write",
            ),
        ] {
            let problems = Problems::default();
            assert!(from_uri(text, &Outside::nothing(), &problems).is_none());
            assert_eq!(problems.into_warnings().unwrap_err().errors, [want], "{text}");
        }
    }

    #[test]
    fn every_registered_sink_has_its_own_name() {
        for kind in KINDS {
            let problems = Problems::default();
            let uri = format!("{}:?{}", kind.name, if kind.name == "kafka" { "brokers=kafka:9092" } else { "" });
            let config = from_uri(&uri, &Outside::nothing(), &problems).unwrap();
            assert_eq!(config.kind(), kind.name);
        }
    }
}
