//! Configuration: TOML, Heapster's flags and our own, read into types that can only be right.
//! Every error is found in one run. Nothing else in the program looks at files of settings or the environment;
//! whether a server answers or a certificate is good is not found out here.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use toml::Table;

pub mod fields;
mod files;
pub mod flags;
mod historical;
mod http;
pub mod outside;
pub mod problems;
mod rules;
pub mod secret;
pub mod sink;
pub mod source;
mod summary;
pub mod uri;
pub mod urls;
pub mod values;

pub use historical::HistoricalConfig;
pub use http::{ClientsConfig, HttpConfig, KeyFiles, SecureConfig};
pub use outside::Outside;
pub use problems::{Problems, Refused};
pub use rules::RulesConfig;
pub use secret::Secret;
pub use sink::{SinkConfig, Target};
pub use source::{
    AddressOverrides, ApiServer, KubeletCa, KubeletConfig, KubeletPort, KubeletToken, ServerName, SourceConfig,
};

use crate::store::StoreConfig;
use fields::Fields;
use flags::{Given, Meaning};
use http::HttpFlags;

/// Where the configuration is looked for when none is named.
pub const DEFAULT_FILE: &str = "/etc/millrace/millrace.toml";
const RESOLUTION: Duration = Duration::from_secs(60);
const MAX_RESOLUTION: Duration = Duration::from_secs(86_400);
/// Heapster's least, kept for its flag.
const MIN_FLAG_RESOLUTION: Duration = Duration::from_secs(5);
const MIN_RESOLUTION: Duration = Duration::from_secs(1);
/// A database is the place for more.
const MAX_KEEP: Duration = Duration::from_secs(86_400);
/// Of the store, bytes: a small cluster's last cycles.
const MIN_STORE: u64 = 1 << 20;

/// Everything, checked.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// Time from one cycle to the next. Default 60 s.
    pub resolution: Duration,
    /// Where the facts come from.
    pub source: SourceConfig,
    /// Which rules run.
    pub rules: RulesConfig,
    /// Where the points go, in the order of the file, then of the flags.
    pub sinks: Vec<SinkConfig>,
    /// What is kept in memory for those who ask by HTTP.
    pub store: StoreConfig,
    /// Our own HTTP port.
    pub http: HttpConfig,
    /// What Heapster's historical API is answered from; `None`: there is none.
    pub historical: Option<HistoricalConfig>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            resolution: RESOLUTION,
            source: SourceConfig::default(),
            rules: RulesConfig::default(),
            sinks: Vec::new(),
            store: StoreConfig::default(),
            http: HttpConfig::default(),
            historical: None,
        }
    }
}

/// What the command line said about the configuration. No `Debug`: flags may hold passwords.
#[derive(Default)]
pub struct Inputs {
    /// `--config`.
    pub file: Option<PathBuf>,
    /// Heapster's flags.
    pub flags: Vec<Given>,
    /// `--rules-dir`; any replaces those of the file.
    pub rules_dirs: Vec<PathBuf>,
    /// `--bundled-rules`.
    pub bundled_rules: Option<PathBuf>,
    /// `--listen`.
    pub listen: Option<String>,
}

/// A configuration that can be started with.
#[derive(Debug)]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// What was accepted but needs a word.
    pub warnings: Vec<String>,
    /// What works as it says, and did not in Heapster: a word for whoever comes from there.
    pub changes: Vec<String>,
}

/// Reads and checks the whole configuration.
///
/// # Errors
/// [`Refused`] with every problem that was found.
pub fn load(inputs: &Inputs, outside: &Outside) -> Result<Loaded, Refused> {
    let problems = Problems::default();
    let mut config = Config::default();
    match text(inputs, outside) {
        Ok(Some(text)) => config = from_toml(&text, outside, &problems),
        Ok(None) => {}
        Err(problem) => problems.push(problem),
    }
    apply_flags(&mut config, &inputs.flags, outside, &problems);
    apply_options(&mut config, inputs, &problems);
    check_together(&config, &problems);
    if outside.resolve_secrets {
        files::check(&config, outside, &problems);
    }
    let changes = problems.take_changes();
    match problems.into_warnings() {
        Ok(warnings) => Ok(Loaded { config, warnings, changes }),
        Err(refused) => Err(Refused { warnings: [refused.warnings, changes].concat(), ..refused }),
    }
}

/// The file's text: the named one, or the default one where no flag says anything.
fn text(inputs: &Inputs, outside: &Outside) -> Result<Option<String>, String> {
    let read =
        |path: &Path| (outside.read)(path).map_err(|error| format!("`{}` cannot be read: {error}", path.display()));
    if let Some(path) = &inputs.file {
        return read(path).map(Some);
    }
    if !inputs.flags.is_empty() {
        return Ok(None);
    }
    match (outside.read)(Path::new(DEFAULT_FILE)) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(format!("`{DEFAULT_FILE}` cannot be read: {error}"))
        }
        Err(_) if (outside.env)("KUBERNETES_SERVICE_HOST").is_some() => Ok(None),
        Err(_) => Err(format!(
            "nothing says what to do: there is no {DEFAULT_FILE}, and this is not a pod of a cluster; \
             name a file with --config FILE, or say it with flags, for instance \
             --source='kubernetes.summary_api:?inClusterConfig=false&auth={kubeconfig}' --sink=log; \
             `millrace --help` shows more",
            kubeconfig =
                (outside.env)("HOME").map_or_else(|| "KUBECONFIG".to_owned(), |home| format!("{home}/.kube/config")),
        )),
    }
}

/// Reads the text of a file. A syntax error leaves the defaults, and the flags are still checked.
fn from_toml(text: &str, outside: &Outside, problems: &Problems) -> Config {
    let table = text.parse::<Table>().unwrap_or_else(|error| {
        // The line itself is not shown: it may hold a password.
        let at = error.span().map_or_else(String::new, |span| {
            let before = text.get(..span.start).unwrap_or_default();
            let column = before.chars().rev().take_while(|c| *c != '\n').count() + 1;
            format!("line {}, column {column}: ", before.matches('\n').count() + 1)
        });
        problems.push(format!("{at}not TOML: {}", error.message().trim()));
        Table::new()
    });
    let fields = Fields::toml(table, "", outside, problems);
    let store = fields.table("store");
    let default = Config::default();
    let config = Config {
        resolution: fields.duration("resolution", MIN_RESOLUTION..=MAX_RESOLUTION).unwrap_or(default.resolution),
        source: source::from_toml(fields.table("source")),
        rules: rules::from_toml(fields.table("rules")),
        sinks: fields.tables("sink").into_iter().filter_map(sink::from_toml).collect(),
        store: StoreConfig {
            keep: store.duration("keep", Duration::ZERO..=MAX_KEEP).unwrap_or(default.store.keep),
            max_memory: store
                .bytes("max-memory", MIN_STORE..=u64::MAX)
                .map_or(default.store.max_memory, |bytes| usize::try_from(bytes).unwrap_or(usize::MAX)),
        },
        http: http::from_toml(fields.table("http")),
        historical: fields.has("historical").then(|| historical::from_toml(fields.table("historical"))).flatten(),
    };
    store.finish();
    fields.finish();
    config
}

/// Lays Heapster's flags over the file: they replace its source and settings, and add to its sinks.
fn apply_flags(config: &mut Config, given: &[Given], outside: &Outside, problems: &Problems) {
    let mut http = HttpFlags::default();
    for (meaning, value) in flags::meaningful(given, problems) {
        match meaning {
            Meaning::Source => {
                config.source = source::from_uri(value, outside, problems).unwrap_or_default();
            }
            Meaning::Sink => config.sinks.extend(sink::from_uri(value, outside, problems)),
            Meaning::Resolution => match values::go_duration(value) {
                Some(time) if (MIN_FLAG_RESOLUTION..=MAX_RESOLUTION).contains(&time) => {
                    config.resolution = time;
                }
                Some(_) => problems.bad("--metric-resolution", value, "use 5s to 24h (TOML allows 1s)"),
                None => problems.bad("--metric-resolution", value, "write a duration such as 30s or 1m30s"),
            },
            Meaning::Port => {
                let port = http::port("--heapster-port", value, problems);
                port.into_iter().for_each(|port| config.http.listen.set_port(port));
            }
            Meaning::Ip if value.is_empty() => {
                config.http.listen.set_ip(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
            }
            Meaning::Ip => {
                let ip = http::ip("--listen-ip", value, problems);
                ip.into_iter().for_each(|ip| config.http.listen.set_ip(ip));
            }
            Meaning::LabelSeparator => config.rules.set_label_separator(value),
            Meaning::IgnoreLabel => {
                config.rules.add_ignored_label("--ignore-label", value, problems);
            }
            Meaning::StoreLabel => config.rules.add_stored_label("--store-label", value, problems),
            Meaning::DisableExport => config.http.export &= values::go_bool(value) != Some(true),
            Meaning::DisableMetricSink => {
                if values::go_bool(value) == Some(true) {
                    config.store.keep = Duration::ZERO;
                }
            }
            Meaning::Historical if value.is_empty() => {}
            Meaning::Historical => config.historical = historical::from_uri(value, outside, problems),
            Meaning::Http(flag) => http.read(flag, value, problems),
            Meaning::Nothing(_) | Meaning::Unsupported(_) => {}
        }
    }
    http.apply(&mut config.http, problems);
}

fn apply_options(config: &mut Config, inputs: &Inputs, problems: &Problems) {
    if !inputs.rules_dirs.is_empty() {
        config.rules.dirs = inputs.rules_dirs.clone();
    }
    if let Some(bundled) = &inputs.bundled_rules {
        config.rules.bundled = Some(bundled.clone());
    }
    if let Some(text) = &inputs.listen
        && let Some(address) = listen("--listen", text, problems)
    {
        config.http.listen = address;
    }
}

fn listen(at: &str, text: &str, problems: &Problems) -> Option<SocketAddr> {
    let address = text.parse().ok();
    if address.is_none() {
        problems.bad(at, text, "write an address and a port, such as 0.0.0.0:8082 or [::]:8082");
    }
    address
}

/// What no single key can be blamed for.
fn check_together(config: &Config, problems: &Problems) {
    if let Some(timeout) = config.source.kubelet.timeout
        && timeout >= config.resolution
    {
        problems.bad(
            "source.kubernetes.kubelet.timeout",
            &values::duration_text(timeout),
            &format!("use less than the resolution ({})", values::duration_text(config.resolution)),
        );
    }
    if let Some(historical) = &config.historical {
        for sink in &config.sinks {
            if let Target::Influxdb(sink) = &sink.target {
                historical.check_beside(sink, problems);
            }
        }
    }
    for (at, sink) in config.sinks.iter().enumerate() {
        let Some(spool) = &sink.spool else { continue };
        let before = &config.sinks[..at];
        let same = |other: &SinkConfig| {
            other.kind() == sink.kind() && other.spool.as_ref().is_some_and(|other| other.directory == spool.directory)
        };
        if before.iter().any(same) {
            problems.bad(
                &format!("sink[{at}].spool.directory"),
                &spool.directory.display().to_string(),
                "another sink of this type spools there; name another folder",
            );
        }
    }
    if config.http.collides() {
        let text = config.http.listen.to_string();
        problems.bad("http.secure.listen", &text, "use another port than that of `http.listen`");
    }
    if config.sinks.is_empty() && problems.is_empty() {
        problems
            .warn("there is no sink: points are counted and shown, but written nowhere; add --sink=log or a [[sink]]");
    }
}

impl Config {
    /// The same as TOML, defaults left out where that says the same.
    pub fn to_toml(&self) -> Table {
        let mut root = Table::new();
        root.insert("resolution".to_owned(), values::duration_text(self.resolution).into());
        let mut source = Table::new();
        source.insert("kubernetes".to_owned(), self.source.to_toml().into());
        root.insert("source".to_owned(), source.into());
        let rules = self.rules.to_toml();
        if !rules.is_empty() {
            root.insert("rules".to_owned(), rules.into());
        }
        if !self.sinks.is_empty() {
            let sinks: Vec<toml::Value> = self.sinks.iter().map(|sink| sink.to_toml().into()).collect();
            root.insert("sink".to_owned(), sinks.into());
        }
        let store = self.store.to_toml();
        if !store.is_empty() {
            root.insert("store".to_owned(), store.into());
        }
        root.insert("http".to_owned(), self.http.to_toml().into());
        if let Some(historical) = &self.historical {
            root.insert("historical".to_owned(), historical.to_toml().into());
        }
        root
    }
}

impl StoreConfig {
    /// The same as `[store]`, defaults left out.
    fn to_toml(self) -> Table {
        let (mut table, default) = (Table::new(), Self::default());
        if self.keep != default.keep {
            table.insert("keep".to_owned(), values::duration_text(self.keep).into());
        }
        if self.max_memory != default.max_memory {
            table.insert("max-memory".to_owned(), values::bytes_text(self.max_memory as u64).into());
        }
        table
    }
}

#[cfg(test)]
#[path = "config/tests.rs"]
mod tests;
