//! The sinks that there are: one line a sink in [`KINDS`] is all that its registration takes.

use toml::Table;

use super::fields::Fields;
use super::outside::Outside;
use super::problems::{Problems, closest, quoted};
use super::uri::Uri;
use crate::sinks::influxdb::config::{self as influxdb, InfluxdbConfig};
use crate::sinks::influxdb::heapster;
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
    Kind { name: "influxdb", from_toml: |f| influxdb::from_toml(f).map(Target::Influxdb), from_uri: |u, o, p| heapster::sink(u, o, p).map(Target::Influxdb) },
    Kind { name: "kafka", from_toml: |f| kafka::from_toml(f).map(Target::Kafka), from_uri: |u, o, p| kafka::from_uri(u, o, p).map(Target::Kafka) },
    Kind { name: "log", from_toml: |f| Some(Target::Log(log::from_toml(f))), from_uri: |u, o, p| Some(Target::Log(log::from_uri(u, o, p))) },
    Kind { name: "prometheus-remote-write", from_toml: |f| prometheus::from_toml(f).map(Target::Prometheus), from_uri: |u, o, p| prometheus::from_uri(u, o, p).map(Target::Prometheus) },
];

/// Heapster's sinks that are not here, and the way there. Named by what they are called everywhere: the programs that
/// stand between are configured by these names.
const ELSEWHERE: &[(&str, &str)] = &[
    ("elasticsearch", "write `influxdb` to Telegraf (its influxdb_listener), which has an output elasticsearch"),
    ("gcm", "write `influxdb` to Telegraf (its influxdb_listener), which has an output stackdriver"),
    ("graphite", "write `influxdb` to Telegraf (its influxdb_listener), which has an output graphite"),
    ("hawkular", "it is no longer made: write `prometheus-remote-write` or `influxdb`"),
    ("honeycomb", "let an OpenTelemetry Collector scrape /metrics/cluster, and export OTLP to it"),
    ("librato", "write `influxdb` to Telegraf (its influxdb_listener), which has an output librato"),
    ("opentsdb", "write `influxdb` to Telegraf (its influxdb_listener), which has an output opentsdb"),
    ("riemann", "write `influxdb` to Telegraf (its influxdb_listener), which has an output riemann"),
    ("stackdriver", "write `influxdb` to Telegraf (its influxdb_listener), which has an output stackdriver"),
    ("statsd", "write `prometheus-remote-write` to Vector (a source of that name), which has a sink statsd"),
    ("wavefront", "write `influxdb` to Telegraf (its influxdb_listener), which has an output wavefront"),
];
/// Heapster's name for what `[store]` is here.
const STORE: &str = "metric";

/// The names of all sinks.
pub fn kinds() -> impl Iterator<Item = &'static str> {
    KINDS.iter().map(|kind| kind.name)
}

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
    let key = text.split_once(':').map_or(text, |(key, _)| key);
    if key == STORE {
        problems.warn("`--sink=metric` is always there: it is what `[store]` sets; leave it out");
        return None;
    }
    let kind = KINDS.iter().find(|kind| kind.name == key);
    if kind.is_none() && !key.is_empty() {
        // The rest is nobody's here, and not looked at: its URL may have any form.
        problems.bad("--sink", &quoted(key), &unknown(key));
        return None;
    }
    let uri = Uri::parse("sink", text, outside, problems)?;
    let target = (kind?.from_uri)(&uri, outside, problems);
    target.map(|target| SinkConfig { target, selection: Selection::default(), spool: None })
}

fn unknown(name: &str) -> String {
    if let Some((_, instead)) = ELSEWHERE.iter().find(|(sink, _)| *sink == name) {
        return format!("that sink of Heapster's is not here; {instead}; millrace has {}", names());
    }
    if name == STORE {
        return "it is always there, and set by `[store]`; leave it out".to_owned();
    }
    let near = closest(name, kinds()).map(|near| format!("did you mean {near}? "));
    format!("{}millrace has {}", near.unwrap_or_default(), names())
}

fn names() -> String {
    kinds().collect::<Vec<_>>().join(", ")
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
            ("nsq", "`--sink` is `nsq`; millrace has influxdb, kafka, log, prometheus-remote-write"),
            (
                "graphite:tcp://carbon:2003?prefix=x",
                "`--sink` is `graphite`; that sink of Heapster's is not here; write `influxdb` to Telegraf (its \
                 influxdb_listener), which has an output graphite; millrace has influxdb, kafka, log, \
                 prometheus-remote-write",
            ),
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

    /// As Heapster's factory knew them.
    const HEAPSTERS: [&str; 15] = [
        "elasticsearch",
        "gcm",
        "stackdriver",
        "statsd",
        "graphite",
        "hawkular",
        "influxdb",
        "kafka",
        "librato",
        "log",
        "metric",
        "opentsdb",
        "wavefront",
        "riemann",
        "honeycomb",
    ];

    #[test]
    fn every_sink_of_heapsters_is_there_or_has_a_way() {
        for name in HEAPSTERS.into_iter().filter(|name| !kinds().any(|kind| kind == *name)) {
            let (outside, problems) = (Outside::nothing(), Problems::default());
            let fields = Fields::toml(format!("type = '{name}'").parse().unwrap(), "sink[0]", &outside, &problems);
            assert!(from_toml(fields).is_none());
            let error = problems.into_warnings().unwrap_err().errors.join("|");
            assert!(error.contains("not here; ") || error.contains("always there"), "{error}");
        }
    }

    #[test]
    fn heapsters_own_store_is_accepted_and_adds_nothing() {
        let problems = Problems::default();
        assert!(from_uri("metric", &Outside::nothing(), &problems).is_none());
        assert_eq!(problems.into_warnings().unwrap().len(), 1);
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
