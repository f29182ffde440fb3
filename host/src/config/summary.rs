//! What was understood, for people: `millrace check` prints it, `run` logs it. Holds no secret.

use std::fmt;

use super::source::{ApiServer, KubeletCa, KubeletPort, KubeletToken};
use super::values::{bytes_text, duration_text, url_text};
use super::{Config, KubeletConfig, RulesConfig, SinkConfig, Target};
use crate::store::StoreConfig;

impl fmt::Display for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "resolution  {}", duration_text(self.resolution))?;
        writeln!(f, "api server  {}", api(&self.source.api))?;
        writeln!(f, "kubelets    {}", kubelets(&self.source.kubelet))?;
        writeln!(f, "rules       {}", rules(&self.rules))?;
        if self.sinks.is_empty() {
            writeln!(f, "sinks       none")?;
        }
        for (index, one) in self.sinks.iter().enumerate() {
            writeln!(f, "{:<12}{}", if index == 0 { "sinks" } else { "" }, sink(one))?;
        }
        writeln!(f, "store       {}", store(&self.store))?;
        if let Some(historical) = &self.historical {
            writeln!(f, "historical  {}", historical.line())?;
        }
        write!(f, "http        {}", self.http.line())
    }
}

fn api(api: &ApiServer) -> String {
    let unchecked = |insecure: bool| {
        if insecure { ", certificate NOT checked" } else { "" }
    };
    match api {
        ApiServer::InCluster { host, insecure_tls } => {
            let host = host.as_ref().map_or_else(String::new, |host| format!(" at {}", url_text(host)));
            format!("this pod's service account{host}{}", unchecked(*insecure_tls))
        }
        ApiServer::Kubeconfig(path) => format!("kubeconfig {}", path.display()),
        ApiServer::Url { url, insecure_tls, token_file, .. } => {
            let token = token_file
                .as_ref()
                .map_or_else(|| ", no token".to_owned(), |path| format!(", token {}", path.display()));
            format!("{}{token}{}", url_text(url), unchecked(*insecure_tls))
        }
    }
}

fn kubelets(kubelet: &KubeletConfig) -> String {
    let port = match kubelet.port {
        KubeletPort::NodeStatus => "port of the node's status".to_owned(),
        KubeletPort::Fixed(port) => format!("port {port}"),
    };
    let authority = match &kubelet.certificate_authority {
        _ if !kubelet.https => String::new(),
        KubeletCa::Cluster => ", the cluster's authority".to_owned(),
        KubeletCa::File(path) => format!(", authority {}", path.display()),
        KubeletCa::InsecureSkip => ", certificate NOT checked".to_owned(),
    };
    let token = match &kubelet.token {
        KubeletToken::None => ", no token".to_owned(),
        KubeletToken::Cluster => ", the API server's token".to_owned(),
        KubeletToken::File(path) => format!(", token {}", path.display()),
    };
    format!("{}, {port}{authority}{token}", if kubelet.https { "HTTPS" } else { "HTTP" })
}

fn rules(rules: &RulesConfig) -> String {
    let bundled = rules.bundled.as_ref().map_or_else(|| "bundled".to_owned(), |path| path.display().to_string());
    let dirs: String = rules.dirs.iter().map(|dir| format!(", {}", dir.display())).collect();
    let settings = if rules.heapster.is_empty() {
        String::new()
    } else {
        format!("; heapster {}", serde_json::Value::Object(rules.heapster.clone()))
    };
    format!("{bundled}{dirs}{settings}")
}

fn store(store: &StoreConfig) -> String {
    if store.keep.is_zero() {
        return "off".to_owned();
    }
    format!("{}, at most {}", duration_text(store.keep), bytes_text(store.max_memory as u64))
}

fn sink(sink: &SinkConfig) -> String {
    let some = if sink.selection.is_everything() { "" } else { ", some points only" };
    let target = match &sink.target {
        Target::Log(_) => "log".to_owned(),
        Target::Kafka(config) => format!(
            "kafka {}, topic {}, {}, compression {}, {}{}queue {}{}",
            config.brokers.join(","),
            config.topic,
            config.format.word(),
            config.compression.word(),
            if config.tls { "TLS, " } else { "" },
            if config.username.is_empty() { String::new() } else { format!("{}, ", config.sasl_mechanism.word()) },
            bytes_text(config.queue as u64),
            if config.tls && config.insecure_tls { ", certificate NOT checked" } else { "" },
        ),
        Target::Prometheus(config) => config.line(),
        Target::Influxdb(config) => format!(
            "influxdb {}, {}{}, gzip {}, queue {}{}",
            url_text(&config.url),
            config.place(),
            if config.with_fields { ", with fields" } else { "" },
            config.gzip.map_or_else(|| "off".to_owned(), |level| level.to_string()),
            bytes_text(config.queue as u64),
            if config.insecure_tls { ", certificate NOT checked" } else { "" },
        ),
    };
    let spool = sink.spool.as_ref().map_or_else(String::new, |spool| {
        let fsync = if spool.fsync { "" } else { ", no fsync" };
        format!(", spool {} of {}{fsync}", spool.directory.display(), bytes_text(spool.max_bytes))
    });
    target + some + &spool
}
