//! The sinks: each is asked by its own code whether it would take what it is sent.

use futures::future::join_all;

use crate::config::{Config, HistoricalConfig, SinkConfig, Target};
use crate::finding::Finding;
use crate::sinks::influxdb::{self, Api, InfluxdbConfig};
use crate::sinks::{kafka, prometheus, spool};

/// Asks all of them at the same time.
pub(super) async fn examine(config: &Config) -> Vec<Finding> {
    let names = crate::app::sink_names(config);
    let each = config.sinks.iter().zip(&names).map(|(sink, name)| one(sink, name));
    let mut findings: Vec<Finding> = join_all(each).await.into_iter().flatten().collect();
    if let Some(historical) = &config.historical {
        findings.push(influxdb::diagnose_reading("historical", &reader(historical)).await);
    }
    findings
}

/// The one line that a kind of sink adds here.
async fn one(sink: &SinkConfig, name: &str) -> Vec<Finding> {
    let mut findings = match &sink.target {
        Target::Influxdb(config) => influxdb::diagnose(name, config).await,
        Target::Kafka(config) => kafka::diagnose(name, config).await,
        Target::Log(_) => vec![Finding::ok("sinks.answers", name, "prints to standard output")],
        Target::Prometheus(config) => prometheus::diagnose(name, config).await,
    };
    if let Some(config) = &sink.spool {
        findings.push(spool::look::diagnose(name, config, sink.kind()));
    }
    findings
}

/// The same server as a sink would be told of it.
fn reader(historical: &HistoricalConfig) -> InfluxdbConfig {
    let HistoricalConfig { url, username, password, database, .. } = historical.clone();
    InfluxdbConfig {
        username,
        password,
        database,
        api: Api::V1,
        insecure_tls: historical.insecure_tls,
        certificate_authority: historical.certificate_authority.clone(),
        connect_timeout: historical.connect_timeout,
        timeout: historical.timeout,
        ..InfluxdbConfig::at(url)
    }
}
