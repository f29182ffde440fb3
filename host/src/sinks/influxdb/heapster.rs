//! Heapster's `--sink=influxdb:URL?options`, and the same value of `--historical-source`.

use url::Url;

use super::config::{self, InfluxdbConfig};
use crate::config::outside::Outside;
use crate::config::problems::Problems;
use crate::config::secret::Secret;
use crate::config::uri::Uri;
use crate::config::values;

/// Our key → Heapster's option. Keys without a row are spelled alike in both.
const NAMES: &[(&str, &str)] = &[
    ("username", "user"),
    ("password", "pw"),
    ("database", "db"),
    ("insecure-tls", "insecuressl"),
    ("with-fields", "withfields"),
    ("cluster-name", "cluster_name"),
    ("disable-counter-metrics", "disable_counter_metrics"),
];
/// User and password that Heapster sent where none was given.
const ROOT: &str = "root";

/// Reads the value of `--sink`, and says what of it does now what it says.
pub fn sink(uri: &Uri, outside: &Outside, problems: &Problems) -> Option<InfluxdbConfig> {
    let config = read(uri, outside, problems)?;
    if config.retention.is_some() && config.api() != config::Api::V2 {
        let kept = values::retention_text(config.retention);
        problems.change(format!(
            "`{}:?retention={kept}` takes effect, which Heapster never let it: InfluxDB DELETES what is older than {kept}, \
             also of what Heapster wrote; leave `retention` out to keep everything",
            uri.at
        ));
    }
    Some(config)
}

/// Reads a value whose points are read, or written.
pub fn read(uri: &Uri, outside: &Outside, problems: &Problems) -> Option<InfluxdbConfig> {
    let mut url = uri.server.clone().or_else(local)?;
    let fields = uri.fields(NAMES, outside, problems);
    let secure = fields.boolean("secure");
    if url.scheme() == "https" && secure != Some(true) {
        problems.warn(format!(
            "`{}`: its URL begins with https, so TLS is used (Heapster looked at the option secure only and spoke plain HTTP)",
            uri.at
        ));
    } else if secure == Some(true) && url.set_scheme("https").is_err() {
        problems.push(format!("`{}`: its URL cannot be used with secure=true", uri.at));
    }
    // Who names a user means that one, with the password that Heapster would have sent.
    let password = if fields.has("username") { Secret::literal(ROOT) } else { Secret::of_heapster(ROOT) };
    let base = InfluxdbConfig { username: ROOT.to_owned(), password, ..InfluxdbConfig::at(url) };
    let config = config::settings(&fields, base);
    fields.finish();
    Some(config)
}

/// What Heapster took for a missing URL.
pub(super) fn local() -> Option<Url> {
    Url::parse("http://localhost:8086").ok()
}
