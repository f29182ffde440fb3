//! The settings of the remote write sink, from TOML and from a URI. Pure: no socket is opened here.

use std::path::PathBuf;
use std::time::Duration;

use reqwest::header::{HeaderName, HeaderValue};
use toml::{Table, Value};
use url::Url;

use crate::config::Secret;
use crate::config::fields::Fields;
use crate::config::outside::Outside;
use crate::config::problems::Problems;
use crate::config::secret::Origin;
use crate::config::uri::Uri;
use crate::config::values;
use crate::sinks::influxdb::config::{password, tls};

/// Where Prometheus takes remote writes.
const PATH: &str = "/api/v1/write";
/// Headers and labels that may be set, of each.
const MAX_PAIRS: usize = 32;
/// Headers that the sink sets itself.
const OURS: [&str; 7] = [
    "authorization",
    "content-type",
    "content-encoding",
    "content-length",
    "host",
    "user-agent",
    "x-prometheus-remote-write-version",
];

/// `[[sink]]` of type `prometheus-remote-write`, checked.
#[derive(Debug, Clone, PartialEq)]
pub struct PrometheusConfig {
    /// Scheme, host and port, nothing else.
    pub url: Url,
    /// Where the server takes writes. Default `/api/v1/write`.
    pub path: String,
    /// Sent by basic auth. Empty: none.
    pub username: String,
    /// Belongs to `username`.
    pub password: Secret,
    /// Sent as a bearer. Empty: none.
    pub token: Secret,
    /// Headers of every request: a tenant, for instance.
    pub headers: Vec<(String, String)>,
    /// Labels of every series that has none of that name.
    pub external_labels: Vec<(String, String)>,
    /// Any certificate will do.
    pub insecure_tls: bool,
    /// PEM file of the authority that signed the server's certificate; else the system's count.
    pub certificate_authority: Option<PathBuf>,
    /// Time to connect. Default 5 s.
    pub connect_timeout: Duration,
    /// Time for a whole request. Default 20 s.
    pub timeout: Duration,
    /// Parallel requests. Default 1: with more, samples of a series may come out of order.
    pub concurrency: usize,
    /// Samples in a request at most. Default 2,000.
    pub max_samples: usize,
    /// Length of a request at most, before compression, bytes. Default 4 MB.
    pub max_body: usize,
    /// Bound of the queue in memory, bytes. Default 64 MiB.
    pub queue: usize,
}

impl PrometheusConfig {
    /// A sink to `url` with every other setting at its default.
    #[must_use]
    pub fn at(url: Url) -> Self {
        Self {
            url,
            path: PATH.to_owned(),
            username: String::new(),
            password: Secret::literal(""),
            token: Secret::literal(""),
            headers: Vec::new(),
            external_labels: Vec::new(),
            insecure_tls: false,
            certificate_authority: None,
            connect_timeout: Duration::from_secs(5),
            timeout: Duration::from_secs(20),
            concurrency: 1,
            max_samples: 2_000,
            max_body: 4_000_000,
            queue: 64 << 20,
        }
    }
}

/// Reads a `[[sink]]`; the caller has seen its `type`.
pub fn from_toml(fields: Fields<'_>) -> Option<PrometheusConfig> {
    if !fields.has("url") {
        let at = fields.path("url");
        fields.problems.push(format!("`{at}` is missing; write it as \"http://prometheus.monitoring.svc:9090\""));
    }
    let url = fields.url("url");
    // A stand-in, so that the other settings are checked too; nothing starts while there is a problem.
    let base = PrometheusConfig::at(url.clone().or_else(local)?);
    let (headers, labels) = (fields.table("headers"), fields.table("external-labels"));
    let mut config = settings(&fields, base);
    config.headers =
        pairs(&headers, is_header, "use a header's name and a text; `token` and others have settings of their own");
    config.external_labels = pairs(&labels, |name, _| is_label(name), "use letters, digits and `_` in a label's name");
    fields.finish();
    url.map(|_| config)
}

/// Reads `--sink=prometheus-remote-write:URL?options`.
pub fn from_uri(uri: &Uri, outside: &Outside, problems: &Problems) -> Option<PrometheusConfig> {
    let fields = uri.fields(&[], outside, problems);
    let config = settings(&fields, PrometheusConfig::at(uri.server.clone().or_else(local)?));
    fields.finish();
    Some(config)
}

fn local() -> Option<Url> {
    Url::parse("http://localhost:9090").ok()
}

/// Everything but the URL and tables; `base` holds the defaults.
fn settings(fields: &Fields<'_>, base: PrometheusConfig) -> PrometheusConfig {
    let seconds = |least, most| Duration::from_secs(least)..=Duration::from_secs(most);
    let size = |key, range| fields.bytes(key, range).and_then(|bytes| usize::try_from(bytes).ok());
    let count = |key, range| fields.integer(key, range).and_then(|count| usize::try_from(count).ok());
    let mut config = PrometheusConfig {
        path: path(fields).unwrap_or(base.path),
        username: fields.text("username").unwrap_or(base.username),
        password: fields.secret("password").unwrap_or(base.password),
        token: fields.secret("token").unwrap_or(base.token),
        insecure_tls: fields.boolean("insecure-tls").unwrap_or(base.insecure_tls),
        certificate_authority: fields.path_of("certificate-authority"),
        connect_timeout: fields
            .duration("connect-timeout", Duration::from_millis(100)..=Duration::from_secs(600))
            .unwrap_or(base.connect_timeout),
        timeout: fields.duration("timeout", seconds(1, 600)).unwrap_or(base.timeout),
        concurrency: count("concurrency", 1..=256).unwrap_or(base.concurrency),
        max_samples: count("max-samples", 1..=1_000_000).unwrap_or(base.max_samples),
        max_body: size("max-body", 1 << 10..=1 << 30).unwrap_or(base.max_body),
        queue: size("queue", 1 << 20..=64 << 30).unwrap_or(base.queue),
        ..base
    };
    config.password = password(fields, &config.username, config.password);
    tls(fields, &config.url, config.insecure_tls, config.certificate_authority.is_some());
    if !config.token.is_empty() && !config.username.is_empty() {
        let (token, username) = (fields.path("token"), fields.path("username"));
        fields.problems.push(format!("`{token}` and `{username}` contradict each other; leave one out"));
    }
    if config.token.expose().contains(|c: char| !matches!(c, ' '..='~')) {
        let token = fields.path("token");
        fields.problems.push(format!("`{token}` holds characters that no token has; is it the right text or file?"));
    }
    if config.concurrency > 1 {
        let at = fields.path("concurrency");
        fields.problems.warn(format!(
            "`{at}` is {}: after an outage samples of a series may come out of order, which only a receiver with an \
             out-of-order window takes",
            config.concurrency
        ));
    }
    if config.queue < config.max_body {
        let (queue, body) = (values::bytes_text(config.queue as u64), values::bytes_text(config.max_body as u64));
        fields.bad("queue", &queue, &format!("use at least {} ({body})", fields.path("max-body")));
    }
    config
}

fn path(fields: &Fields<'_>) -> Option<String> {
    let path = fields.string("path")?;
    let good = |c: char| matches!(c, '!'..='~') && !"?#\\\"<>{}^`".contains(c);
    if !path.starts_with('/') || !path.chars().all(good) {
        fields.bad("path", &path, "write it as /api/v1/write");
        return None;
    }
    Some(path)
}

/// Names and texts of the user's choice.
fn pairs(fields: &Fields<'_>, good: fn(&str, &str) -> bool, remedy: &str) -> Vec<(String, String)> {
    let pairs = fields.pairs();
    if pairs.len() > MAX_PAIRS {
        fields.problems.push(format!("`{}` has {} keys; use at most {MAX_PAIRS}", fields.path(""), pairs.len()));
    }
    // The values are not shown: one may be a key.
    for (name, _) in pairs.iter().filter(|(name, value)| !good(name, value)) {
        fields.problems.push(format!("`{}`: {remedy}", fields.path(name)));
    }
    pairs
}

fn is_header(name: &str, value: &str) -> bool {
    let ours = OURS.contains(&name.to_ascii_lowercase().as_str());
    !ours && HeaderName::try_from(name).is_ok() && HeaderValue::try_from(value).is_ok()
}

fn is_label(name: &str) -> bool {
    let good = |c: char| c.is_ascii_alphanumeric() || c == '_';
    !name.is_empty()
        && name.chars().all(good)
        && !name.starts_with(|c: char| c.is_ascii_digit())
        && !name.starts_with("__")
}

impl PrometheusConfig {
    /// The same as `[[sink]]`, defaults left out. A secret stays a reference where it was one.
    pub fn to_toml(&self) -> Table {
        let default = Self::at(self.url.clone());
        let mut table = Table::new();
        let mut put = |key: &str, changed: bool, value: Value| {
            if changed {
                table.insert(key.to_owned(), value);
            }
        };
        put("url", true, values::url_text(&self.url).into());
        put("path", self.path != default.path, self.path.clone().into());
        put("username", !self.username.is_empty(), self.username.clone().into());
        for (key, secret) in [("password", &self.password), ("token", &self.token)] {
            match secret.origin() {
                Origin::Text(text) => put(key, !text.is_empty(), text.clone().into()),
                Origin::File(path) => put(&format!("{key}-file"), true, path.to_string_lossy().into_owned().into()),
                Origin::Heapster => {}
            }
        }
        for (key, pairs) in [("headers", &self.headers), ("external-labels", &self.external_labels)] {
            let pairs: Table = pairs.iter().map(|(name, value)| (name.clone(), value.clone().into())).collect();
            put(key, !pairs.is_empty(), pairs.into());
        }
        put("insecure-tls", self.insecure_tls, true.into());
        if let Some(path) = &self.certificate_authority {
            put("certificate-authority", true, path.to_string_lossy().into_owned().into());
        }
        for (key, value, usual) in [
            ("connect-timeout", self.connect_timeout, default.connect_timeout),
            ("timeout", self.timeout, default.timeout),
        ] {
            put(key, value != usual, values::duration_text(value).into());
        }
        for (key, value, usual) in [
            ("concurrency", self.concurrency, default.concurrency),
            ("max-samples", self.max_samples, default.max_samples),
        ] {
            put(key, value != usual, (value as i64).into());
        }
        for (key, value, usual) in [("max-body", self.max_body, default.max_body), ("queue", self.queue, default.queue)]
        {
            put(key, value != usual, values::bytes_text(value as u64).into());
        }
        table
    }

    /// In one line, for people.
    pub fn line(&self) -> String {
        format!(
            "prometheus-remote-write {}{}, queue {}{}",
            values::url_text(&self.url),
            self.path,
            values::bytes_text(self.queue as u64),
            if self.insecure_tls { ", certificate NOT checked" } else { "" },
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn toml(text: &str) -> Result<(PrometheusConfig, Vec<String>), String> {
        let (outside, problems) = (Outside::nothing(), Problems::default());
        let config = from_toml(Fields::toml(text.parse().unwrap(), "sink[0]", &outside, &problems));
        let warnings = problems.into_warnings().map_err(|refused| refused.errors.join("|"))?;
        Ok((config.unwrap(), warnings))
    }

    #[test]
    fn what_is_written_comes_back_and_a_uri_says_the_same() {
        for keys in [
            "url='http://p:9090'",
            "url='https://p'\npath='/api/prom/push'\nusername='u'\npassword='${P}'\nconcurrency=2\nmax-samples=9",
            "url='https://p'\ntoken='t'\nqueue='1GiB'\ntimeout='9s'\n[headers]\nX-Scope-OrgID='a'\n[external-labels]\ncluster='eu'",
        ] {
            let keys = keys.replace("${P}", "p");
            let config = toml(&keys).unwrap().0;
            assert_eq!(toml(&config.to_toml().to_string()).unwrap().0, config, "{keys}");
        }
        let (outside, problems) = (Outside::nothing(), Problems::default());
        let text = "prometheus-remote-write:http://p:9090?token=t&path=/push&max-samples=7";
        let uri = Uri::parse("sink", text, &outside, &problems).unwrap();
        let config = from_uri(&uri, &outside, &problems).unwrap();
        assert!(problems.into_warnings().is_ok());
        assert_eq!(config, toml("url='http://p:9090'\ntoken='t'\npath='/push'\nmax-samples=7").unwrap().0);
        assert!(!format!("{config:?}").contains("\"t\""));
    }

    #[test]
    fn problems_name_key_value_and_remedy() {
        for (text, want) in [
            ("path='push'", "`sink[0].path` is `push`; write it as /api/v1/write"),
            ("token='t'\nusername='u'", "`sink[0].token` and `sink[0].username` contradict each other; leave one out"),
            ("password='p'", "`sink[0].password` needs `sink[0].username` beside it"),
            ("max-samples=0", "`sink[0].max-samples` is `0`; use a whole number from 1 to 1000000"),
            (
                "[headers]\nauthorization='x'",
                "`sink[0].headers.authorization`: use a header's name and a text; `token` and others have settings \
                 of their own",
            ),
            (
                "[external-labels]\n__name__='x'",
                "`sink[0].external-labels.__name__`: use letters, digits and `_` in a label's name",
            ),
        ] {
            assert_eq!(toml(&format!("url='http://p'\n{text}")).map(|_| ()), Err(want.to_owned()), "{text}");
        }
        assert_eq!(
            toml("path='/x'").unwrap_err(),
            "`sink[0].url` is missing; write it as \"http://prometheus.monitoring.svc:9090\""
        );
        let warnings = toml("url='http://p'\nconcurrency=2").unwrap().1;
        assert!(warnings.len() == 1 && warnings[0].contains("out of order"), "{warnings:?}");
    }
}
