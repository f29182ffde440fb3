//! The settings of the InfluxDB sink, from TOML; `heapster` reads a URI. Pure: no socket is opened here.

use std::path::PathBuf;
use std::time::Duration;

use toml::{Table, Value};
use url::Url;

use super::heapster;
use crate::config::fields::Fields;
use crate::config::secret::{Origin, Secret};
use crate::config::values;

/// InfluxDB refuses a shorter retention policy.
const MIN_RETENTION: Duration = Duration::from_secs(3600);
/// Longest retention: nanoseconds in an i64, which InfluxDB counts in.
const MAX_RETENTION: Duration = Duration::from_secs(i64::MAX as u64 / 1_000_000_000);

/// `[[sink]]` of type `influxdb`, checked.
#[derive(Debug, Clone, PartialEq)]
pub struct InfluxdbConfig {
    /// Scheme, host and port, nothing else.
    pub url: Url,
    /// Sent by basic auth. Empty: no credentials are sent.
    pub username: String,
    /// Belongs to `username`.
    pub password: Secret,
    /// By which API is written, as the user said it; [`InfluxdbConfig::api`] has the last word.
    pub api: Api,
    /// Of the v2 API. Empty: `username:password`, as InfluxDB 1.8 takes it, or none.
    pub token: Secret,
    /// Of the v2 API: whose bucket it is. May be empty, since not every server has organizations.
    pub org: String,
    /// Of the v2 API; `None`: the name in `database`.
    pub bucket: Option<String>,
    /// Database that is created and written. Default `k8s`.
    pub database: String,
    /// Retention of the policy `default`; `None` is for ever.
    pub retention: Option<Duration>,
    /// Measurement is the part before the first `/`, field the rest (or `value`).
    pub with_fields: bool,
    /// Tag `cluster_name` of every point. Default `default`.
    pub cluster_name: String,
    /// Leaves out the nine counters that have a rate.
    pub disable_counter_metrics: bool,
    /// Whether `pod_id` is a tag too, which Heapster left out.
    pub pod_id_tag: bool,
    /// Parallel posts. Default 1.
    pub concurrency: usize,
    /// Compression level of posts, 1 to 9; `None` sends plain text. Default 1.
    pub gzip: Option<u32>,
    /// Any certificate will do.
    pub insecure_tls: bool,
    /// PEM file of the authority that signed the server's certificate; else the system's count.
    pub certificate_authority: Option<PathBuf>,
    /// Time to connect. Default 5 s.
    pub connect_timeout: Duration,
    /// Time for a whole request. Default 20 s.
    pub timeout: Duration,
    /// Lines in a post at most. Default 10,000.
    pub max_lines: usize,
    /// Length of a post at most, before compression, bytes. Default 8 MB.
    pub max_body: usize,
    /// Bound of the queue in memory, bytes. Default 64 MiB.
    pub queue: usize,
    /// The time that points bear.
    pub timestamps: Timestamps,
}

/// By which API points are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Api {
    /// As the other settings imply, or else as the server says.
    Auto,
    /// `/write` of InfluxDB 1.x.
    V1,
    /// `/api/v2/write` of InfluxDB 2 and of others.
    V2,
}

/// The time that points bear.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Timestamps {
    /// The cycle's, as in Heapster: one for all points of a cycle.
    Cycle,
    /// The kubelet's own for each measurement.
    Measured,
}

impl InfluxdbConfig {
    /// A sink to `url` with every other setting at its default.
    pub fn at(url: Url) -> Self {
        Self {
            url,
            username: String::new(),
            password: Secret::literal(""),
            api: Api::Auto,
            token: Secret::literal(""),
            org: String::new(),
            bucket: None,
            database: "k8s".to_owned(),
            retention: None,
            with_fields: false,
            cluster_name: "default".to_owned(),
            disable_counter_metrics: false,
            pod_id_tag: false,
            concurrency: 1,
            gzip: Some(1),
            insecure_tls: false,
            certificate_authority: None,
            connect_timeout: Duration::from_secs(5),
            timeout: Duration::from_secs(20),
            max_lines: 10_000,
            max_body: 8_000_000,
            queue: 64 << 20,
            timestamps: Timestamps::Cycle,
        }
    }

    /// The API as far as the settings decide it: who names a token, an organization or a bucket means v2.
    #[must_use]
    pub fn api(&self) -> Api {
        let of_v2 = !self.token.is_empty() || !self.org.is_empty() || self.bucket.is_some();
        if self.api == Api::Auto && of_v2 { Api::V2 } else { self.api }
    }
}

/// Reads a `[[sink]]`; the caller has seen its `type`.
pub fn from_toml(fields: Fields<'_>) -> Option<InfluxdbConfig> {
    if !fields.has("url") {
        let at = fields.path("url");
        fields
            .problems
            .push(format!("`{at}` is missing; write it as \"http://monitoring-influxdb.kube-system.svc:8086\""));
    }
    let url = fields.url("url");
    // A stand-in, so that the other settings are checked too; nothing starts while there is a problem.
    let base = InfluxdbConfig::at(url.clone().or_else(heapster::local)?);
    let config = settings(&fields, base);
    fields.finish();
    url.map(|_| config)
}

/// Everything but the URL; `base` holds the defaults.
pub(super) fn settings(fields: &Fields<'_>, base: InfluxdbConfig) -> InfluxdbConfig {
    let seconds = |least, most| Duration::from_secs(least)..=Duration::from_secs(most);
    let size = |key, range| fields.bytes(key, range).and_then(|bytes| usize::try_from(bytes).ok());
    let count = |key, range| fields.integer(key, range).and_then(|count| usize::try_from(count).ok());
    let mut config = InfluxdbConfig {
        username: fields.text("username").unwrap_or(base.username),
        password: fields.secret("password").unwrap_or(base.password),
        api: fields.one_of("api", &[("auto", Api::Auto), ("v1", Api::V1), ("v2", Api::V2)]).unwrap_or(base.api),
        token: fields.secret("token").unwrap_or(base.token),
        org: fields.string("org").unwrap_or(base.org),
        bucket: fields.string("bucket"),
        database: database(fields).unwrap_or(base.database),
        retention: retention(fields).unwrap_or(base.retention),
        with_fields: fields.boolean("with-fields").unwrap_or(base.with_fields),
        cluster_name: fields.string("cluster-name").unwrap_or(base.cluster_name),
        disable_counter_metrics: fields.boolean("disable-counter-metrics").unwrap_or(base.disable_counter_metrics),
        pod_id_tag: fields.boolean("pod-id-tag").unwrap_or(base.pod_id_tag),
        concurrency: count("concurrency", 1..=256).unwrap_or(base.concurrency),
        gzip: gzip(fields).unwrap_or(base.gzip),
        insecure_tls: fields.boolean("insecure-tls").unwrap_or(base.insecure_tls),
        certificate_authority: fields.path_of("certificate-authority"),
        connect_timeout: fields
            .duration("connect-timeout", Duration::from_millis(100)..=Duration::from_secs(600))
            .unwrap_or(base.connect_timeout),
        timeout: fields.duration("timeout", seconds(1, 600)).unwrap_or(base.timeout),
        max_lines: count("max-lines", 1..=1_000_000).unwrap_or(base.max_lines),
        max_body: size("max-body", 1 << 10..=1 << 30).unwrap_or(base.max_body),
        queue: size("queue", 1 << 20..=64 << 30).unwrap_or(base.queue),
        timestamps: fields
            .one_of("timestamps", &[("cycle", Timestamps::Cycle), ("measured", Timestamps::Measured)])
            .unwrap_or(base.timestamps),
        url: base.url,
    };
    if !config.token.is_empty() && !fields.has("username") {
        // That of a URI is Heapster's, and for nobody who has a token.
        config.username.clear();
        config.password = Secret::literal("");
    }
    config.password = password(fields, &config.username, config.password);
    api(fields, &config);
    tls(fields, &config.url, config.insecure_tls, config.certificate_authority.is_some());
    if config.queue < config.max_body {
        let (queue, body) = (values::bytes_text(config.queue as u64), values::bytes_text(config.max_body as u64));
        fields.bad("queue", &queue, &format!("use at least {} ({body})", fields.path("max-body")));
    }
    config
}

/// What goes with one API only, or only without something else.
fn api(fields: &Fields<'_>, config: &InfluxdbConfig) {
    let problems = fields.problems;
    if config.api == Api::V1 {
        for key in ["token", "token-file", "org", "bucket"].into_iter().filter(|key| fields.has(key)) {
            let (at, api) = (fields.path(key), fields.path("api"));
            problems.push(format!("`{at}` is of the v2 API; write `{api}` as \"v2\" or leave one out"));
        }
    }
    if !config.token.is_empty() && !config.username.is_empty() {
        let (token, username) = (fields.path("token"), fields.path("username"));
        problems.push(format!("`{token}` and `{username}` contradict each other; leave one out"));
    }
    let credentials = [&config.token, &config.password].map(Secret::expose);
    if config.api() == Api::V2 && credentials.iter().any(|text| text.contains(|c: char| !matches!(c, ' '..='~'))) {
        let token = fields.path("token");
        problems.push(format!("`{token}` holds characters that no token has; is it the right text or file?"));
    }
    if config.api() != Api::V2 {
        return;
    }
    for (key, remedy) in [
        ("retention", "set it on the bucket"),
        ("database", if config.bucket.is_some() { "the bucket is written" } else { "" }),
    ] {
        if fields.has(key) && !remedy.is_empty() {
            let at = fields.path(key);
            problems.warn(format!("`{at}` does nothing with the v2 API: {remedy}"));
        }
    }
}

/// The password, which needs a user.
pub(crate) fn password(fields: &Fields<'_>, username: &str, password: Secret) -> Secret {
    if !username.is_empty() {
        return password;
    }
    let given = fields.has("password") || fields.has("password-file");
    if given && !password.is_empty() {
        let (password, username) = (fields.path("password"), fields.path("username"));
        fields.problems.push(format!("`{password}` needs `{username}` beside it"));
    }
    Secret::literal("")
}

/// Settings of TLS that only make sense with or without one another.
pub(crate) fn tls(fields: &Fields<'_>, url: &Url, insecure: bool, has_authority: bool) {
    let problems = fields.problems;
    let plain = url.scheme() == "http";
    if plain && has_authority {
        let at = fields.path("certificate-authority");
        problems.push(format!("`{at}` has no meaning over plain HTTP; use https or leave it out"));
    }
    if insecure && has_authority {
        let (one, other) = (fields.path("insecure-tls"), fields.path("certificate-authority"));
        problems.push(format!("`{one}` and `{other}` contradict each other; leave one out"));
    }
    if insecure {
        let at = fields.path("insecure-tls");
        problems.warn(match plain {
            true => format!("`{at}` does nothing over plain HTTP"),
            false => format!("`{at}`: whoever answers at that address is sent the points and the password"),
        });
    }
}

/// The name of a database.
pub(crate) fn database(fields: &Fields<'_>) -> Option<String> {
    let name = fields.string("database")?;
    if name.len() > 255
        || name.chars().any(char::is_control)
        || name.contains(['/', '\\'])
        || name == "."
        || name == ".."
    {
        fields.bad("database", &name, "use at most 255 bytes without control characters and slashes");
        return None;
    }
    Some(name)
}

fn retention(fields: &Fields<'_>) -> Option<Option<Duration>> {
    let text = fields.string("retention")?;
    let Some(kept) = values::retention(&text) else {
        fields.bad(
            "retention",
            &text,
            "write it as InfluxDB does: \"7d\", \"52w\", \"36h\", or \"INF\" or \"0\" for ever",
        );
        return None;
    };
    if kept.is_some_and(|kept| !(MIN_RETENTION..=MAX_RETENTION).contains(&kept)) {
        fields.bad("retention", &text, "use at least 1h, which is InfluxDB's least");
        return None;
    }
    Some(kept)
}

/// True is level 1; false and 0 are plain text.
fn gzip(fields: &Fields<'_>) -> Option<Option<u32>> {
    let value = fields.raw("gzip")?;
    let text = match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let level = match values::go_bool(&text) {
        Some(on) => Some(u32::from(on)),
        None => text.parse().ok().filter(|level| *level <= 9),
    };
    if level.is_none() {
        fields.bad("gzip", &text, "use true, false, or a level from 1 to 9");
    }
    level.map(|level| (level > 0).then_some(level))
}

impl InfluxdbConfig {
    /// Whether there is no user, or only the one that Heapster sent where none was given.
    #[must_use]
    pub fn names_nobody(&self) -> bool {
        self.username.is_empty() || *self.password.origin() == Origin::Heapster
    }

    /// What is written to, for people.
    pub fn place(&self) -> String {
        let (api, bucket) = (self.api(), self.bucket.as_ref().unwrap_or(&self.database));
        match api {
            Api::V1 => format!("database {}, retention {}", self.database, values::retention_text(self.retention)),
            Api::V2 if self.org.is_empty() => format!("API v2, bucket {bucket}"),
            Api::V2 => format!("API v2, org {}, bucket {bucket}", self.org),
            Api::Auto => {
                let retention = values::retention_text(self.retention);
                format!("database {}, retention {retention} (if it is 2.x: bucket {bucket})", self.database)
            }
        }
    }

    /// The same as `[[sink]]`, defaults left out. A password stays a reference where it was one.
    pub fn to_toml(&self) -> Table {
        let default = Self::at(self.url.clone());
        let mut table = Table::new();
        let mut put = |key: &str, changed: bool, value: Value| {
            if changed {
                table.insert(key.to_owned(), value);
            }
        };
        put("url", true, values::url_text(&self.url).into());
        put("username", !self.names_nobody(), self.username.clone().into());
        match self.password.origin() {
            Origin::Text(text) => put("password", !text.is_empty(), text.clone().into()),
            Origin::File(path) => put("password-file", true, path.to_string_lossy().into_owned().into()),
            Origin::Heapster => {}
        }
        let api = if self.api == Api::V1 { "v1" } else { "v2" };
        put("api", self.api != Api::Auto, api.into());
        match self.token.origin() {
            Origin::Text(text) => put("token", !text.is_empty(), text.clone().into()),
            Origin::File(path) => put("token-file", true, path.to_string_lossy().into_owned().into()),
            Origin::Heapster => {}
        }
        put("org", !self.org.is_empty(), self.org.clone().into());
        put("bucket", self.bucket.is_some(), self.bucket.clone().unwrap_or_default().into());
        put("database", self.database != default.database, self.database.clone().into());
        put("retention", self.retention.is_some(), values::retention_text(self.retention).into());
        put("with-fields", self.with_fields, true.into());
        put("cluster-name", self.cluster_name != default.cluster_name, self.cluster_name.clone().into());
        put("disable-counter-metrics", self.disable_counter_metrics, true.into());
        put("pod-id-tag", self.pod_id_tag, true.into());
        put("concurrency", self.concurrency != default.concurrency, (self.concurrency as i64).into());
        put("gzip", self.gzip != default.gzip, i64::from(self.gzip.unwrap_or(0)).into());
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
        put("max-lines", self.max_lines != default.max_lines, (self.max_lines as i64).into());
        for (key, value, usual) in [("max-body", self.max_body, default.max_body), ("queue", self.queue, default.queue)]
        {
            put(key, value != usual, values::bytes_text(value as u64).into());
        }
        put("timestamps", self.timestamps == Timestamps::Measured, "measured".into());
        table
    }
}

#[cfg(test)]
#[path = "config_tests.rs"]
mod tests;
