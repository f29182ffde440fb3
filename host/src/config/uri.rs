//! A Heapster URI, `KEY[:URL[?options]]`, taken apart. What the options mean is the business of whoever has that key.

use std::collections::BTreeMap;

use percent_encoding::percent_decode_str;
use toml::{Table, Value};
use url::Url;

use super::fields::Fields;
use super::outside::Outside;
use super::problems::{Problems, quoted};
use super::secret::{expand_shell, whole_reference};
use super::urls::{redacted, server_url};

/// Options that hold a secret in some URI; `pw` and `token` are InfluxDB's, `password` is Kafka's.
const SECRET_OPTIONS: &[&str] = &["pw", "token", "password"];

/// Options that may stand several times; their values are joined by commas.
const LISTS: &[&str] = &["brokers"];

/// One `--source` or `--sink`, its environment variables expanded.
pub struct Uri {
    /// The flag and the key, for messages: `--sink=influxdb`.
    pub at: String,
    /// Before the first colon.
    pub key: String,
    /// Scheme, host and port, if any were given.
    pub server: Option<Url>,
    /// Whether a URL was written at all; one that could not be read has been reported.
    pub has_url: bool,
    options: Table,
    references: BTreeMap<String, String>,
}

impl Uri {
    /// Takes the value of `--flag` apart.
    pub fn parse(flag: &str, text: &str, outside: &Outside, problems: &Problems) -> Option<Self> {
        let (key, rest) = text.split_once(':').unwrap_or((text, ""));
        if key.is_empty() {
            problems.push(format!("`--{flag}` has no key; write --{flag}=KEY:URL?options"));
            return None;
        }
        let mut uri = Self {
            at: format!("--{flag}={}", quoted(key)),
            key: key.to_owned(),
            server: None,
            has_url: false,
            options: Table::new(),
            references: BTreeMap::new(),
        };
        uri.read(rest, outside, problems).map_err(|remedy| problems.push(format!("`{}` {remedy}", uri.at))).ok()?;
        Some(uri)
    }

    /// The options as [`Fields`]; `names` maps our keys to Heapster's.
    pub fn fields<'a>(
        &self,
        names: &'static [(&'static str, &'static str)],
        outside: &'a Outside,
        problems: &'a Problems,
    ) -> Fields<'a> {
        Fields::options(self.options.clone(), &self.at, names, self.references.clone(), outside, problems)
    }

    /// The whole part after the key. The options are read even when the URL is wrong: all errors at once.
    fn read(&mut self, rest: &str, outside: &Outside, problems: &Problems) -> Result<(), String> {
        let (base, query) = rest.split_once('?').unwrap_or((rest, ""));
        let base = expand_shell(base, &outside.env)?;
        let (base, more) = base.split_once('?').unwrap_or((&base, ""));
        // Two quotes are what a shell leaves of an empty argument; Heapster took them for nothing.
        self.has_url = !matches!(base, "" | "''" | "\"\"" | "/");
        if self.has_url {
            self.server = server(base, &self.at, problems);
        }
        for pair in more.split('&') {
            self.option(pair, None)?;
        }
        for pair in query.split('&') {
            let reference = pair
                .split_once('=')
                .filter(|(name, _)| SECRET_OPTIONS.contains(name))
                .and_then(|(_, value)| whole_reference(value))
                .map(|name| format!("${{{name}}}"));
            if let (Some(reference), false) = (&reference, outside.resolve_secrets) {
                let name = pair.split('=').next().unwrap_or_default();
                self.option(&format!("{name}="), Some(reference.clone()))?;
                continue;
            }
            for (index, pair) in expand_shell(pair, &outside.env)?.split('&').enumerate() {
                self.option(pair, reference.clone().filter(|_| index == 0))?;
            }
        }
        Ok(())
    }

    /// One `name=value`; of several of one name the first counts, as in Heapster, but in a list.
    fn option(&mut self, pair: &str, reference: Option<String>) -> Result<(), String> {
        if pair.is_empty() {
            return Ok(());
        }
        if pair.contains('#') {
            return Err("has a `#` in its options, which would cut off what follows; write `%23`".to_owned());
        }
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let name = decoded(name).ok_or("has an option whose name is not UTF-8; check its % codes")?;
        let value =
            decoded(value).ok_or_else(|| format!("option `{}` is not UTF-8; check its % codes", quoted(&name)))?;
        match self.options.get_mut(&name) {
            Some(Value::String(list)) if LISTS.contains(&name.as_str()) => {
                list.push(',');
                list.push_str(&value);
                return Ok(());
            }
            Some(_) => return Ok(()),
            None => {}
        }
        if let Some(reference) = reference {
            self.references.insert(name.clone(), reference);
        }
        self.options.insert(name, Value::String(value));
        Ok(())
    }
}

/// The URL before the options.
fn server(base: &str, at: &str, problems: &Problems) -> Option<Url> {
    if base.contains('#') {
        problems.push(format!("`{at}` has a `#`, which would cut off what follows; write `%23`"));
        return None;
    }
    let mut base = base.to_owned();
    if base.starts_with("//") {
        base.insert_str(0, "http:");
    }
    let Ok(mut url) = Url::parse(&base) else {
        problems.bad(at, &redacted(&base), "write the URL as http://host:port");
        return None;
    };
    let ignored = !url.username().is_empty() || url.password().is_some();
    if ignored {
        problems.warn(format!("`{at}` has a user or password in its URL; it is ignored, as in Heapster"));
        // Both fail only for URLs without a host, which `server_url` refuses below.
        let _ = url.set_username("");
        let _ = url.set_password(None);
    }
    if !matches!(url.path(), "" | "/") && url.has_host() {
        problems
            .warn(format!("`{at}` has the path `{}` in its URL; it is ignored, as in Heapster", quoted(url.path())));
        url.set_path("");
    }
    server_url(url.as_str()).map_err(|remedy| problems.bad(at, &redacted(&base), &remedy)).ok()
}

/// Form decoding: `+` is a space, `%41` is `A`.
fn decoded(text: &str) -> Option<String> {
    let spaced = text.replace('+', " ");
    percent_decode_str(&spaced).decode_utf8().ok().map(|text| text.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Server and options of a URI, or the errors.
    fn outcome(text: &str) -> Result<String, String> {
        let mut outside = Outside::nothing();
        outside.env = Box::new(|name| match name {
            "HOST" => Some("http://db:1".to_owned()),
            "PW" => Some("p%26q".to_owned()),
            "MORE" => Some("x&user=me".to_owned()),
            _ => None,
        });
        let problems = Problems::default();
        let uri = Uri::parse("sink", text, &outside, &problems);
        problems.into_warnings().map_err(|refused| refused.errors.join("|"))?;
        let uri = uri.unwrap();
        let options: Vec<String> =
            uri.options.iter().map(|(name, value)| format!("{name}={}", value.as_str().unwrap())).collect();
        let server = uri.server.as_ref().map(Url::as_str).unwrap_or_default();
        Ok(format!("{} {} {}", uri.key, server, options.join(" ")))
    }

    #[test]
    fn uris_are_taken_apart_as_heapster_did() {
        for (text, want) in [
            ("log", Ok("log  ")),
            ("influxdb:http://db:8086", Ok("influxdb http://db:8086/ ")),
            ("influxdb:http://db:8086?db=a&db=b", Ok("influxdb http://db:8086/ db=a")),
            ("kafka:?brokers=a:1&brokers=b:2&user=x&user=y", Ok("kafka  brokers=a:1,b:2 user=x")),
            ("influxdb:?pw=a%20b+c", Ok("influxdb  pw=a b c")),
            ("kubernetes:''", Ok("kubernetes  ")),
            ("influxdb:$HOST?pw=$PW", Ok("influxdb http://db:1/ pw=p&q")),
            ("influxdb:${HOST}?pw=${MORE}", Ok("influxdb http://db:1/ pw=x user=me")),
            ("influxdb:http://db/some/path", Ok("influxdb http://db/ ")),
            (":http://db", Err("`--sink` has no key; write --sink=KEY:URL?options")),
            ("influxdb:$NO", Err("`--sink=influxdb` uses the environment variable `NO`, which is not set; set it")),
            (
                "influxdb:db:8086",
                Err("`--sink=influxdb` is `db:8086`; write it as http://host:port or https://host:port"),
            ),
            (
                "influxdb:http://u:s3cret@?x=1",
                Err("`--sink=influxdb` is `http://…@`; write the URL as http://host:port"),
            ),
            (
                "influxdb:?pw=a#b",
                Err("`--sink=influxdb` has a `#` in its options, which would cut off what follows; write `%23`"),
            ),
            ("influxdb:?pw=%ff", Err("`--sink=influxdb` option `pw` is not UTF-8; check its % codes")),
        ] {
            assert_eq!(outcome(text), want.map(str::to_owned).map_err(str::to_owned), "{text}");
        }
    }
}
