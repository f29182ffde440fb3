//! `[historical]`: the database that Heapster's historical API is answered from, and Heapster's flag
//! `--historical-source`.

use std::path::PathBuf;
use std::time::Duration;

use toml::Table;
use url::Url;

use super::fields::Fields;
use super::outside::Outside;
use super::problems::{Problems, quoted};
use super::secret::{Origin, Secret};
use super::uri::Uri;
use super::values;
use crate::sinks::influxdb::config::{self as influxdb, InfluxdbConfig};
use crate::sinks::influxdb::heapster;

/// A connection of ours ends in the middle of an answer after a time that is not much longer.
const MAX_TIMEOUT: Duration = Duration::from_secs(100);

/// `[historical]`, checked: an InfluxDB 1.x server that is read.
#[derive(Debug, Clone, PartialEq)]
pub struct HistoricalConfig {
    /// Scheme, host and port, nothing else.
    pub url: Url,
    /// Sent by basic auth. Empty: no credentials are sent.
    pub username: String,
    /// Belongs to `username`.
    pub password: Secret,
    /// Database that is read. Default `k8s`.
    pub database: String,
    /// Whether measurements hold several fields, as a sink with this setting writes them.
    pub with_fields: bool,
    /// Only points with this tag `cluster_name` count; `None`: all.
    pub cluster_name: Option<String>,
    /// Any certificate will do.
    pub insecure_tls: bool,
    /// PEM file of the authority that signed the server's certificate; else the system's count.
    pub certificate_authority: Option<PathBuf>,
    /// Time to connect. Default 5 s.
    pub connect_timeout: Duration,
    /// Time for a whole answer, with waiting for a turn. Default 20 s.
    pub timeout: Duration,
}

/// Reads `[historical]`.
pub(super) fn from_toml(fields: Fields<'_>) -> Option<HistoricalConfig> {
    if !fields.has("url") {
        let at = fields.path("url");
        let sample = "http://monitoring-influxdb.kube-system.svc:8086";
        fields.problems.push(format!("`{at}` is missing; write it as \"{sample}\", as that of the sink"));
    }
    let url = fields.url("url");
    let username = fields.text("username").unwrap_or_default();
    let given = fields.secret("password").unwrap_or_else(|| Secret::literal(""));
    // A stand-in for a missing URL, so that the other settings are checked too.
    let base = InfluxdbConfig::at(url.clone().or_else(|| Url::parse("http://localhost:8086").ok())?);
    let config = HistoricalConfig {
        password: influxdb::password(&fields, &username, given),
        username,
        database: influxdb::database(&fields).unwrap_or(base.database),
        with_fields: fields.boolean("with-fields").unwrap_or(base.with_fields),
        cluster_name: fields.string("cluster-name"),
        insecure_tls: fields.boolean("insecure-tls").unwrap_or(base.insecure_tls),
        certificate_authority: fields.path_of("certificate-authority"),
        connect_timeout: fields
            .duration("connect-timeout", Duration::from_millis(100)..=MAX_TIMEOUT)
            .unwrap_or(base.connect_timeout),
        timeout: fields.duration("timeout", Duration::from_secs(1)..=MAX_TIMEOUT).unwrap_or(base.timeout),
        url: base.url,
    };
    influxdb::tls(&fields, &config.url, config.insecure_tls, config.certificate_authority.is_some());
    fields.finish();
    url.map(|_| config)
}

/// Reads the value of `--historical-source`, which is that of `--sink`.
pub(super) fn from_uri(text: &str, outside: &Outside, problems: &Problems) -> Option<HistoricalConfig> {
    let uri = Uri::parse("historical-source", text, outside, problems)?;
    if uri.key != "influxdb" {
        problems.bad("--historical-source", &quoted(&uri.key), "millrace reads influxdb");
        return None;
    }
    let sink = heapster::read(&uri, outside, problems)?;
    if sink.api() == influxdb::Api::V2 {
        problems.push("`--historical-source` is read by the API of InfluxDB 1.x; leave out token, org, bucket and api");
    }
    Some(HistoricalConfig {
        // Heapster read the points of all clusters; one that is named is the sink's own.
        cluster_name: Some(sink.cluster_name).filter(|name| name != "default"),
        url: sink.url,
        username: sink.username,
        password: sink.password,
        database: sink.database,
        with_fields: sink.with_fields,
        insecure_tls: sink.insecure_tls,
        certificate_authority: sink.certificate_authority,
        connect_timeout: sink.connect_timeout,
        timeout: sink.timeout.min(MAX_TIMEOUT),
    })
}

impl HistoricalConfig {
    /// Warns of a sink that writes the same database in another form.
    pub(super) fn check_beside(&self, sink: &InfluxdbConfig, problems: &Problems) {
        if (&sink.url, &sink.database) == (&self.url, &self.database) && sink.with_fields != self.with_fields {
            problems.warn(format!(
                "the historical API reads the database `{}` with-fields = {}, and the sink writes it with-fields = {}; \
                 it finds nothing of what this sink writes",
                quoted(&self.database),
                self.with_fields,
                sink.with_fields
            ));
        }
    }

    /// Whether there is no user, or only the one that Heapster sent where none was given.
    pub(super) fn names_nobody(&self) -> bool {
        self.username.is_empty() || *self.password.origin() == Origin::Heapster
    }

    /// The same as `[historical]`, defaults left out. A password stays a reference where it was one.
    pub(super) fn to_toml(&self) -> Table {
        let default = InfluxdbConfig::at(self.url.clone());
        let mut table = Table::new();
        let mut put = |key: &str, changed: bool, value: toml::Value| {
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
        put("database", self.database != default.database, self.database.clone().into());
        put("with-fields", self.with_fields, true.into());
        if let Some(name) = &self.cluster_name {
            put("cluster-name", true, name.clone().into());
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
        table
    }

    /// In one line, for people.
    pub(super) fn line(&self) -> String {
        format!(
            "influxdb {}, database {}{}{}{}",
            values::url_text(&self.url),
            self.database,
            if self.with_fields { ", with fields" } else { "" },
            self.cluster_name.as_ref().map(|name| format!(", cluster {name}")).unwrap_or_default(),
            if self.insecure_tls { ", certificate NOT checked" } else { "" },
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, Inputs, Loaded, Refused, flags, load};

    fn loaded(toml: &'static str, flag: &str) -> Result<Loaded, Refused> {
        let mut outside = Outside::nothing();
        outside.read = Box::new(move |_| Ok(toml.to_owned()));
        let args = [flag].into_iter().filter(|flag| !flag.is_empty()).map(std::ffi::OsString::from);
        let flags = flags::split(args).0;
        load(&Inputs { file: Some("/c.toml".into()), flags, ..Inputs::default() }, &outside)
    }

    fn read(toml: &'static str, flag: &str) -> Config {
        loaded(toml, flag).unwrap().config
    }

    #[test]
    fn a_table_and_heapsters_flag_say_the_same() {
        let flag =
            "--historical-source=influxdb:http://db:8086?user=u&pw=p&db=d&withfields=true&cluster_name=eu&retention=7d";
        let table = "[historical]\nurl = 'http://db:8086'\nusername = 'u'\npassword = 'p'\ndatabase = 'd'\n\
                     with-fields = true\ncluster-name = 'eu'";
        let (of_flag, of_table) = (read("", flag), read(table, ""));
        assert_eq!(of_flag.historical, of_table.historical);
        assert_eq!(of_flag.historical.as_ref().unwrap().to_toml(), of_table.historical.as_ref().unwrap().to_toml());
        let text = of_flag.historical.as_ref().unwrap().to_toml().to_string();
        for line in table.lines().skip(1) {
            assert!(text.contains(&line.replace('\'', "\"")), "{line}: {text}");
        }
        let replaced = read(table, "--historical-source=influxdb:http://other").historical.unwrap();
        assert_eq!((replaced.database.as_str(), replaced.username.as_str()), ("k8s", "root"));
        assert_eq!(replaced.cluster_name, None);
        assert_eq!(read("", "--historical-source=").historical, None);
    }

    #[test]
    fn what_can_not_be_is_refused() {
        for (toml, flag, want) in [
            ("[historical]\ndatabase = 'd'", "", "`historical.url` is missing"),
            ("[historical]\nurl = 'http://db'\npasword = 'x'", "", "`historical.pasword` is not a known key"),
            ("[historical]\nurl = 'http://db'\npassword = 'x'", "", "`historical.password` needs"),
            ("[historical]\nurl = 'http://db'\ntimeout = '10m'", "", "`historical.timeout` is `10m`"),
            (
                "",
                "--historical-source=hawkular:http://db",
                "`--historical-source` is `hawkular`; millrace reads influxdb",
            ),
        ] {
            let errors = loaded(toml, flag).unwrap_err().errors;
            assert!(errors.iter().any(|error| error.starts_with(want)), "{want}: {errors:?}");
        }
        let sink =
            "[[sink]]\ntype = 'influxdb'\nurl = 'http://db'\nwith-fields = true\n[historical]\nurl = 'http://db'";
        let warnings = loaded(sink, "").unwrap().warnings;
        assert!(warnings.iter().any(|warning| warning.contains("finds nothing")), "{warnings:?}");
    }
}
