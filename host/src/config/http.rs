//! `[http]`: who may ask what of us, on which ports.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use toml::Table;

use super::fields::Fields;
use super::flags::HttpFlag;
use super::problems::Problems;
use super::{listen, values};

/// The name that a Service of the usual name gives us.
const NAMES: [&str; 2] = ["millrace.kube-system.svc", "heapster.kube-system.svc"];

/// `[http]`, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpConfig {
    /// Address and port. Default `0.0.0.0:8082`.
    pub listen: SocketAddr,
    /// Whether the port answers nothing but health checks. Default false.
    pub health_only: bool,
    /// Whether whoever reaches the port may record batches. Default true.
    pub record: bool,
    /// Whether `/api/v1/metric-export` has anything in it. Default true.
    pub export: bool,
    /// What the port shows of itself, speaking TLS; `None`: plain HTTP.
    pub tls: Option<KeyFiles>,
    /// Whose certificates are asked for on that port; `None`: nobody's.
    pub clients: Option<ClientsConfig>,
    /// The port that asks the API server who somebody is; `None`: there is none.
    pub secure: Option<SecureConfig>,
}

/// A certificate chain and its key, PEM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyFiles {
    /// The chain, our own first.
    pub certificate: PathBuf,
    /// The key.
    pub key: PathBuf,
}

/// Whose client certificates are good, as Heapster's `--tls-client-ca` and `--allowed-users` said it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientsConfig {
    /// Their authority, PEM.
    pub authority: PathBuf,
    /// Common names; empty: all that the authority vouches for.
    pub allowed_users: Vec<String>,
}

/// `[http.secure]`, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecureConfig {
    /// Address and port.
    pub listen: SocketAddr,
    /// What it shows of itself; `None`: a certificate that is made at start.
    pub tls: Option<KeyFiles>,
    /// Host names and addresses in the certificate that is made at start.
    pub names: Vec<String>,
}

impl Default for HttpConfig {
    fn default() -> Self {
        Self {
            listen: SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 8082),
            health_only: false,
            record: true,
            export: true,
            tls: None,
            clients: None,
            secure: None,
        }
    }
}

impl SecureConfig {
    /// A port with nothing else said.
    pub fn on(listen: SocketAddr) -> Self {
        Self { listen, tls: None, names: NAMES.map(str::to_owned).to_vec() }
    }

    fn to_toml(&self) -> Table {
        let mut table = Table::new();
        table.insert("listen".to_owned(), self.listen.to_string().into());
        if let Some(files) = &self.tls {
            files.write(&mut table);
        }
        if self.names != NAMES {
            table.insert("names".to_owned(), self.names.clone().into());
        }
        table
    }
}

impl KeyFiles {
    fn write(&self, table: &mut Table) {
        let text = |path: &Path| path.to_string_lossy().into_owned();
        table.insert("certificate".to_owned(), text(&self.certificate).into());
        table.insert("key".to_owned(), text(&self.key).into());
    }
}

/// Reads `[http]`.
pub(super) fn from_toml(fields: Fields<'_>) -> HttpConfig {
    let default = HttpConfig::default();
    let config = HttpConfig {
        listen: address(&fields).unwrap_or(default.listen),
        health_only: fields.one_of("open", &[("all", false), ("health", true)]).unwrap_or(default.health_only),
        record: fields.boolean("record").unwrap_or(default.record),
        export: fields.boolean("metric-export").unwrap_or(default.export),
        tls: key_files(&fields),
        clients: clients(&fields),
        secure: fields.has("secure").then(|| secure(fields.table("secure"))).flatten(),
    };
    if config.clients.is_some() && config.tls.is_none() {
        fields.problems.push(format!(
            "`{}` needs TLS: name `certificate` and `key` beside it, or leave it out",
            fields.path("client-authority")
        ));
    }
    fields.finish();
    config
}

fn address(fields: &Fields<'_>) -> Option<SocketAddr> {
    fields.string("listen").and_then(|text| listen(&fields.path("listen"), &text, fields.problems))
}

fn secure(fields: Fields<'_>) -> Option<SecureConfig> {
    if !fields.has("listen") {
        let key = fields.path("listen");
        fields.problems.push(format!("`{key}` is missing; write an address and a port, such as 0.0.0.0:4443"));
    }
    let config = address(&fields).map(SecureConfig::on);
    let (tls, names) = (key_files(&fields), fields.strings("names"));
    for name in names.iter().flatten().filter(|name| !is_name(name)) {
        fields.bad("names", name, "write host names or IP addresses");
    }
    fields.finish();
    let config = config?;
    Some(SecureConfig { tls, names: names.unwrap_or(config.names), ..config })
}

/// What may stand in a certificate: `*` only as the whole first part of several.
fn is_name(text: &str) -> bool {
    let label = |part: &str| {
        let plain = part.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_');
        plain && (1..64).contains(&part.len()) && !part.starts_with('-') && !part.ends_with('-')
    };
    let rest = text.strip_prefix("*.").unwrap_or(text);
    text.parse::<IpAddr>().is_ok() || (text.len() < 254 && rest.split('.').all(label))
}

fn key_files(fields: &Fields<'_>) -> Option<KeyFiles> {
    match (fields.path_of("certificate"), fields.path_of("key")) {
        (Some(certificate), Some(key)) => Some(KeyFiles { certificate, key }),
        (None, None) => None,
        (there, _) => {
            let (there, missing) = if there.is_some() { ("certificate", "key") } else { ("key", "certificate") };
            let text = format!("`{}` needs `{missing}` beside it", fields.path(there));
            fields.problems.push(text);
            None
        }
    }
}

fn clients(fields: &Fields<'_>) -> Option<ClientsConfig> {
    let (authority, allowed_users) = (fields.path_of("client-authority"), fields.strings("allowed-users"));
    if authority.is_none() && allowed_users.is_some() {
        let key = fields.path("allowed-users");
        fields.problems.push(format!("`{key}` needs `client-authority` beside it, which vouches for them"));
    }
    Some(ClientsConfig { authority: authority?, allowed_users: allowed_users.unwrap_or_default() })
}

/// What Heapster's flags say of its ports' TLS and of its aggregated API server; they are about each
/// other, in any order.
#[derive(Debug, Default)]
pub(super) struct HttpFlags {
    certificate: Option<PathBuf>,
    key: Option<PathBuf>,
    client_authority: Option<PathBuf>,
    allowed_users: Option<Vec<String>>,
    api_server: bool,
    secure_port: Option<u16>,
    bind_address: Option<IpAddr>,
    secure_certificate: Option<PathBuf>,
    secure_key: Option<PathBuf>,
}

impl HttpFlags {
    /// Takes one in. An empty value says nothing.
    pub(super) fn read(&mut self, flag: HttpFlag, value: &str, problems: &Problems) {
        if value.is_empty() {
            return;
        }
        let file = || Some(PathBuf::from(value));
        match flag {
            HttpFlag::Certificate => self.certificate = file(),
            HttpFlag::Key => self.key = file(),
            HttpFlag::ClientAuthority => self.client_authority = file(),
            HttpFlag::AllowedUsers => self.allowed_users = Some(users(value)),
            HttpFlag::ApiServer => self.api_server = values::go_bool(value) == Some(true),
            HttpFlag::SecurePort => self.secure_port = port("--secure-port", value, problems),
            HttpFlag::BindAddress => self.bind_address = ip("--bind-address", value, problems),
            HttpFlag::SecureCertificate => self.secure_certificate = file(),
            HttpFlag::SecureKey => self.secure_key = file(),
        }
    }

    /// Lays them over the file's.
    pub(super) fn apply(self, config: &mut HttpConfig, problems: &Problems) {
        let pair = |names: [&str; 2], certificate: Option<PathBuf>, key: Option<PathBuf>| match (certificate, key) {
            (Some(certificate), Some(key)) => Some(KeyFiles { certificate, key }),
            (None, None) => None,
            (there, _) => {
                let [there, missing] = if there.is_some() { names } else { [names[1], names[0]] };
                problems.push(format!("`{there}` needs `{missing}` beside it"));
                None
            }
        };
        if let Some(files) = pair(["--tls-cert", "--tls-key"], self.certificate, self.key) {
            config.tls = Some(files);
        }
        match (self.client_authority, self.allowed_users) {
            (Some(authority), users) => {
                config.clients = Some(ClientsConfig { authority, allowed_users: users.unwrap_or_default() });
                if config.tls.is_none() {
                    problems.push("`--tls-client-ca` needs TLS: give `--tls-cert` and `--tls-key` as well".to_owned());
                }
            }
            (None, Some(users)) => match &mut config.clients {
                Some(clients) => clients.allowed_users = users,
                None => problems.push("`--allowed-users` needs `--tls-client-ca`, which vouches for them".to_owned()),
            },
            (None, None) => {}
        }
        let files = pair(["--tls-cert-file", "--tls-private-key-file"], self.secure_certificate, self.secure_key);
        if !self.api_server {
            if files.is_some() || self.secure_port.is_some() || self.bind_address.is_some() {
                problems.warn("the aggregated API server's flags mean nothing without `--api-server`".to_owned());
            }
            return;
        }
        let ip = self.bind_address.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
        let mut secure = SecureConfig::on(SocketAddr::new(ip, self.secure_port.unwrap_or(443)));
        secure.tls = files;
        config.secure = Some(secure);
    }
}

impl HttpConfig {
    /// The same as `[http]`, defaults left out but for the address.
    pub(super) fn to_toml(&self) -> Table {
        let mut table = Table::new();
        table.insert("listen".to_owned(), self.listen.to_string().into());
        for (key, is_set, value) in [
            ("open", self.health_only, toml::Value::from("health")),
            ("record", !self.record, false.into()),
            ("metric-export", !self.export, false.into()),
        ] {
            if is_set {
                table.insert(key.to_owned(), value);
            }
        }
        if let Some(files) = &self.tls {
            files.write(&mut table);
        }
        if let Some(clients) = &self.clients {
            table.insert("client-authority".to_owned(), clients.authority.to_string_lossy().into_owned().into());
            if !clients.allowed_users.is_empty() {
                table.insert("allowed-users".to_owned(), clients.allowed_users.clone().into());
            }
        }
        if let Some(secure) = &self.secure {
            table.insert("secure".to_owned(), secure.to_toml().into());
        }
        table
    }

    /// Every file with the key that names it.
    pub(super) fn files(&self) -> Vec<(&'static str, &Path)> {
        let mut files: Vec<(&'static str, &Path)> = Vec::new();
        if let Some(own) = &self.tls {
            files.extend([("http.certificate", &*own.certificate), ("http.key", &*own.key)]);
        }
        if let Some(clients) = &self.clients {
            files.push(("http.client-authority", &clients.authority));
        }
        if let Some(own) = self.secure.as_ref().and_then(|secure| secure.tls.as_ref()) {
            files.extend([("http.secure.certificate", &*own.certificate), ("http.secure.key", &*own.key)]);
        }
        files
    }

    /// Whether both ports want the same place.
    pub(super) fn collides(&self) -> bool {
        self.secure.as_ref().is_some_and(|secure| {
            let (one, other) = (self.listen, secure.listen);
            let same = one.ip() == other.ip() || one.ip().is_unspecified() || other.ip().is_unspecified();
            one.port() == other.port() && one.port() != 0 && same
        })
    }

    /// In one line, for people.
    pub(super) fn line(&self) -> String {
        let mut line = self.listen.to_string();
        let clients = self.clients.as_ref().map(|clients| match &*clients.allowed_users {
            [] => ", client certificates".to_owned(),
            users => format!(", client certificates of {}", users.join(", ")),
        });
        for (is_so, text) in [
            (self.tls.is_some(), ", TLS"),
            (self.clients.is_some(), clients.as_deref().unwrap_or_default()),
            (self.health_only, ", health checks only"),
            (!self.record, ", no recording"),
        ] {
            line.push_str(if is_so { text } else { "" });
        }
        if let Some(secure) = &self.secure {
            let own = if secure.tls.is_some() { "" } else { ", certificate made at start" };
            line.push_str(&format!("\nsecure      {}, the API server says who may ask{own}", secure.listen));
        }
        line
    }
}

/// A list as Heapster's flags write it.
fn users(text: &str) -> Vec<String> {
    text.split(',').map(str::trim).filter(|user| !user.is_empty()).map(str::to_owned).collect()
}

/// An address.
pub(super) fn ip(at: &str, text: &str, problems: &Problems) -> Option<IpAddr> {
    let ip = text.parse().ok();
    if ip.is_none() {
        problems.bad(at, text, "write an IP address");
    }
    ip
}

/// A port number.
pub(super) fn port(at: &str, text: &str, problems: &Problems) -> Option<u16> {
    let port = text.parse().ok().filter(|&port: &u16| port > 0);
    if port.is_none() {
        problems.bad(at, text, "use a number from 1 to 65535");
    }
    port
}
