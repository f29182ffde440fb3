//! How the kubelets are reached. One answer for all nodes, but for their addresses.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use toml::{Table, Value};

use super::super::fields::Fields;
use super::super::values;
use super::address::{is_address, is_host};

const MIN_TIMEOUT: Duration = Duration::from_millis(100);
const MAX_TIMEOUT: Duration = Duration::from_secs(600);
/// The kubelet's port without TLS and without authentication, gone from modern kubelets.
pub const READ_ONLY_PORT: u16 = 10255;

/// `[source.kubernetes.kubelet]`, checked.
#[derive(Debug, Clone, PartialEq)]
pub struct KubeletConfig {
    /// Which port.
    pub port: KubeletPort,
    /// TLS or plain HTTP.
    pub https: bool,
    /// Who may have signed the kubelets' certificates.
    pub certificate_authority: KubeletCa,
    /// Certificate and key files (PEM) that are shown to the kubelet.
    pub client_certificate: Option<(PathBuf, PathBuf)>,
    /// Bearer token; never one over plain HTTP.
    pub token: KubeletToken,
    /// The name that a kubelet's certificate must bear.
    pub server_name: ServerName,
    /// Nodes that are not asked at the address of their status.
    pub addresses: AddressOverrides,
    /// Deadline of one answer; `None` is min(10 s, 0.9 × resolution).
    pub timeout: Option<Duration>,
    /// Requests in flight at most. Default 128.
    pub concurrency: usize,
    /// Longest answer, bytes. Default 16 MiB.
    pub max_body: u64,
}

/// Which port kubelets are asked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KubeletPort {
    /// The one of the node's status (`daemonEndpoints.kubeletEndpoint`).
    NodeStatus,
    /// One for all nodes.
    Fixed(u16),
}

/// Who may have signed the kubelets' certificates.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KubeletCa {
    /// The authority used for the API server.
    Cluster,
    /// A PEM file.
    File(PathBuf),
    /// Anybody: the connection is encrypted but may be to anyone.
    InsecureSkip,
}

/// The bearer token that kubelets are sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KubeletToken {
    /// None.
    None,
    /// The one used for the API server: in a cluster, the service account's.
    Cluster,
    /// From a file, read again when it changes.
    File(PathBuf),
}

/// The name that a kubelet's certificate must bear.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ServerName {
    /// The address that it is asked at.
    Address,
    /// The node's name.
    NodeName,
    /// One name for all.
    Fixed(String),
}

/// Node name → IP address or host name, perhaps with `:port`, that stands for the one of its status.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AddressOverrides(pub BTreeMap<String, String>);

impl Default for KubeletConfig {
    fn default() -> Self {
        Self {
            port: KubeletPort::NodeStatus,
            https: true,
            certificate_authority: KubeletCa::Cluster,
            client_certificate: None,
            token: KubeletToken::Cluster,
            server_name: ServerName::Address,
            addresses: AddressOverrides::default(),
            timeout: None,
            concurrency: 128,
            max_body: 16 << 20,
        }
    }
}

/// Reads `[source.kubernetes.kubelet]`.
pub fn from_toml(fields: Fields<'_>) -> KubeletConfig {
    let default = KubeletConfig::default();
    let port = port(&fields);
    let https = fields.boolean("https").unwrap_or(port != KubeletPort::Fixed(READ_ONLY_PORT));
    let addresses = fields.table("addresses");
    let config = KubeletConfig {
        port,
        https,
        certificate_authority: certificate_authority(&fields),
        client_certificate: client_certificate(&fields),
        token: token(&fields, https),
        server_name: server_name(&fields),
        timeout: fields.duration("timeout", MIN_TIMEOUT..=MAX_TIMEOUT),
        concurrency: fields.integer("concurrency", 1..=10_000).map_or(default.concurrency, |n| n as usize),
        max_body: fields.bytes("max-body", 64 << 10..=1 << 30).unwrap_or(default.max_body),
        addresses: overrides(addresses),
    };
    for key in ["certificate-authority", "insecure-tls", "client-certificate", "client-key", "server-name"] {
        if !https && fields.has(key) {
            fields.problems.push(format!(
                "`{}` has no meaning over plain HTTP; set https = true or leave it out",
                fields.path(key)
            ));
        }
    }
    fields.finish();
    config
}

fn port(fields: &Fields<'_>) -> KubeletPort {
    match fields.raw("port") {
        Some(Value::String(word)) if word == "node-status" => KubeletPort::NodeStatus,
        Some(Value::Integer(_)) => match fields.integer("port", 1..=65_535).and_then(|port| u16::try_from(port).ok()) {
            Some(port) => KubeletPort::Fixed(port),
            None => KubeletPort::NodeStatus,
        },
        Some(other) => {
            fields.bad("port", &other.to_string(), "use \"node-status\" or a number from 1 to 65535");
            KubeletPort::NodeStatus
        }
        None => KubeletPort::NodeStatus,
    }
}

fn certificate_authority(fields: &Fields<'_>) -> KubeletCa {
    let authority = fields.string("certificate-authority");
    if fields.boolean("insecure-tls") != Some(true) {
        return match authority {
            Some(path) if path != "cluster" => KubeletCa::File(PathBuf::from(path)),
            _ => KubeletCa::Cluster,
        };
    }
    if authority.is_some() {
        fields.problems.push(format!(
            "`{}` and `{}` contradict each other; leave one out",
            fields.path("insecure-tls"),
            fields.path("certificate-authority")
        ));
    }
    fields.problems.warn(format!(
        "`{}`: whoever answers at a node's address is taken for its kubelet and is sent the token",
        fields.path("insecure-tls")
    ));
    KubeletCa::InsecureSkip
}

fn client_certificate(fields: &Fields<'_>) -> Option<(PathBuf, PathBuf)> {
    let (certificate, key) = (fields.path_of("client-certificate"), fields.path_of("client-key"));
    if certificate.is_some() != key.is_some() {
        let (here, missing) = match certificate {
            Some(_) => ("client-certificate", "client-key"),
            None => ("client-key", "client-certificate"),
        };
        fields.problems.push(format!("`{}` needs `{}` beside it", fields.path(here), fields.path(missing)));
    }
    certificate.zip(key)
}

fn token(fields: &Fields<'_>, https: bool) -> KubeletToken {
    let word = fields.one_of("token", &[("cluster", true), ("none", false)]);
    let file = fields.path_of("token-file");
    if word.is_some() && file.is_some() {
        let (word, file) = (fields.path("token"), fields.path("token-file"));
        fields.problems.push(format!("`{word}` and `{file}` are both given; leave one out"));
    }
    let token = match (file, word) {
        (Some(file), _) => KubeletToken::File(file),
        (None, Some(true)) => KubeletToken::Cluster,
        (None, Some(false)) => KubeletToken::None,
        (None, None) if https => KubeletToken::Cluster,
        (None, None) => KubeletToken::None,
    };
    if !https && token != KubeletToken::None {
        let at = if fields.has("token-file") { "token-file" } else { "token" };
        fields.problems.push(format!(
            "`{}`: a token is not sent over plain HTTP; set https = true or leave it out",
            fields.path(at)
        ));
    }
    token
}

fn server_name(fields: &Fields<'_>) -> ServerName {
    match fields.string("server-name").as_deref() {
        None | Some("address") => ServerName::Address,
        Some("node-name") => ServerName::NodeName,
        Some(name) => {
            if !is_host(name) {
                fields.bad("server-name", name, "use \"address\", \"node-name\", or a host name");
            }
            ServerName::Fixed(name.to_owned())
        }
    }
}

fn overrides(fields: Fields<'_>) -> AddressOverrides {
    let mut addresses = BTreeMap::new();
    for (node, address) in fields.pairs() {
        if is_address(&address) {
            addresses.insert(node, address);
        } else {
            fields.bad(&node, &address, "write an IP address or host name, perhaps with :port ([v6]:port)");
        }
    }
    fields.finish();
    AddressOverrides(addresses)
}

impl KubeletConfig {
    /// The same as `[source.kubernetes.kubelet]`, defaults left out.
    pub fn to_toml(&self) -> Table {
        let default = Self::default();
        let mut table = Table::new();
        let mut put = |key: &str, value: Value| table.insert(key.to_owned(), value);
        if let KubeletPort::Fixed(port) = self.port {
            put("port", i64::from(port).into());
        }
        if !self.https || self.port == KubeletPort::Fixed(READ_ONLY_PORT) {
            put("https", self.https.into());
        }
        match &self.certificate_authority {
            KubeletCa::Cluster => None,
            KubeletCa::File(path) => put("certificate-authority", path.to_string_lossy().into_owned().into()),
            KubeletCa::InsecureSkip if self.https => put("insecure-tls", true.into()),
            KubeletCa::InsecureSkip => None,
        };
        if let Some((certificate, key)) = &self.client_certificate {
            put("client-certificate", certificate.to_string_lossy().into_owned().into());
            put("client-key", key.to_string_lossy().into_owned().into());
        }
        match &self.token {
            KubeletToken::File(path) => put("token-file", path.to_string_lossy().into_owned().into()),
            KubeletToken::None if self.https => put("token", "none".into()),
            KubeletToken::None | KubeletToken::Cluster => None,
        };
        match &self.server_name {
            ServerName::Address => None,
            ServerName::NodeName => put("server-name", "node-name".into()),
            ServerName::Fixed(name) => put("server-name", name.clone().into()),
        };
        if let Some(timeout) = self.timeout {
            put("timeout", values::duration_text(timeout).into());
        }
        if self.concurrency != default.concurrency {
            put("concurrency", (self.concurrency as i64).into());
        }
        if self.max_body != default.max_body {
            put("max-body", values::bytes_text(self.max_body).into());
        }
        if !self.addresses.0.is_empty() {
            put("addresses", Value::try_from(&self.addresses.0).unwrap_or(Value::Table(Table::new())));
        }
        table
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::outside::Outside;
    use super::super::super::problems::Problems;
    use super::*;

    fn outcome(toml: &str) -> Result<KubeletConfig, String> {
        let (outside, problems) = (Outside::nothing(), Problems::default());
        let config = from_toml(Fields::toml(toml.parse().unwrap(), "kubelet", &outside, &problems));
        problems.into_warnings().map_err(|refused| refused.errors.join("|"))?;
        Ok(config)
    }

    #[test]
    fn every_setting_is_read_and_written_again() {
        for toml in [
            "",
            "port = 10250",
            "port = 10255",
            "port = 10255\nhttps = true",
            "https = false",
            "port = 'node-status'\ncertificate-authority = '/ca.pem'\nserver-name = 'node-name'",
            "insecure-tls = true\ntoken = 'none'\ntimeout = '3s 500ms'\nconcurrency = 7\nmax-body = '1MiB'",
            "client-certificate = '/c'\nclient-key = '/k'\ntoken-file = '/t'\nserver-name = 'kubelet.local'",
            "[addresses]\na = '10.0.0.1'\nb = 'tunnel:9000'\nc = '[fd00::1]:10250'\nd = 'fd00::1'",
        ] {
            let config = outcome(toml).unwrap();
            assert_eq!(outcome(&config.to_toml().to_string()), Ok(config), "{toml}");
        }
        assert_eq!(outcome(""), Ok(KubeletConfig::default()));
    }

    #[test]
    fn contradictions_and_bad_values_are_explained() {
        for (name, toml, want) in [
            (
                "port word",
                "port = 'kubelet'",
                "`kubelet.port` is `\"kubelet\"`; use \"node-status\" or a number from 1 to 65535",
            ),
            ("port zero", "port = 0", "`kubelet.port` is `0`; use a whole number from 1 to 65535"),
            (
                "half a certificate",
                "client-key = '/k'",
                "`kubelet.client-key` needs `kubelet.client-certificate` beside it",
            ),
            (
                "token in clear",
                "https = false\ntoken-file = '/t'",
                "`kubelet.token-file`: a token is not sent over plain HTTP; set https = true or leave it out",
            ),
            (
                "authority without tls",
                "port = 10255\ncertificate-authority = '/ca'",
                "`kubelet.certificate-authority` has no meaning over plain HTTP; set https = true or leave it out",
            ),
            (
                "address with a path",
                "addresses = { a = 'http://x' }",
                "`kubelet.addresses.a` is `http://x`; write an IP address or host name, perhaps with :port ([v6]:port)",
            ),
            (
                "two at once",
                "concurrency = 0\ntimeout = 'soon'",
                "`kubelet.timeout` is `soon`; write a text such as \"10s\", \"500ms\" or \"1m 30s\"\
                 |`kubelet.concurrency` is `0`; use a whole number from 1 to 10000",
            ),
        ] {
            assert_eq!(outcome(toml), Err(want.to_owned()), "{name}");
        }
    }
}
