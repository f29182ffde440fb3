//! The settings of the Kafka sink, from TOML and from Heapster's URI. Pure: no file is read here.

use std::path::PathBuf;

use toml::{Table, Value};

use crate::config::fields::Fields;
use crate::config::outside::Outside;
use crate::config::problems::Problems;
use crate::config::secret::{Origin, Secret};
use crate::config::uri::Uri;
use crate::config::values;

/// Our key → Heapster's option. Keys without a row are spelled alike in both.
const HEAPSTER_NAMES: &[(&str, &str)] = &[
    ("topic", "timeseriestopic"),
    ("username", "user"),
    ("certificate-authority", "cacert"),
    ("certificate", "cert"),
    ("certificate-key", "key"),
    ("insecure-tls", "insecuressl"),
];
/// Kafka's own bound of a topic's name, bytes.
const MAX_TOPIC: usize = 249;
/// As many messages of the largest size must fit into the queue.
const MESSAGES_IN_QUEUE: usize = 8;

#[rustfmt::skip]
const FORMATS: &[(&str, Format)] = &[("heapster-json", Format::HeapsterJson), ("batch-json", Format::BatchJson)];
const KEYS: &[(&str, MessageKey)] = &[("entity", MessageKey::Entity), ("none", MessageKey::None)];
const PARTITIONERS: &[(&str, Partitioner)] =
    &[("murmur2", Partitioner::Murmur2), ("crc32", Partitioner::Crc32), ("random", Partitioner::Random)];
const MECHANISMS: &[(&str, Mechanism)] = &[
    ("PLAIN", Mechanism::Plain),
    ("SCRAM-SHA-256", Mechanism::ScramSha256),
    ("SCRAM-SHA-512", Mechanism::ScramSha512),
];
const COMPRESSIONS: &[(&str, Compression)] = &[
    ("none", Compression::None),
    ("gzip", Compression::Gzip),
    ("snappy", Compression::Snappy),
    ("lz4", Compression::Lz4),
    ("zstd", Compression::Zstd),
];

/// What one message holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// One value, as Heapster wrote it.
    HeapsterJson,
    /// All values of one entity at one time.
    BatchJson,
}

/// The messages' keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MessageKey {
    /// The entity's path: what is about one entity stays in order, in one partition.
    Entity,
    /// No keys, as in Heapster.
    None,
}

/// Which partition a key belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Partitioner {
    /// As Kafka's own Java clients choose.
    Murmur2,
    /// As librdkafka's other clients choose.
    Crc32,
    /// Any; keys do not count.
    Random,
}

/// How batches of messages are compressed on the wire and in the topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the codecs' names")]
pub enum Compression {
    None,
    Gzip,
    Snappy,
    Lz4,
    Zstd,
}

/// How user and password are shown to the broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the mechanisms' names")]
pub enum Mechanism {
    Plain,
    ScramSha256,
    ScramSha512,
}

/// `[[sink]]` of type `kafka`, checked.
#[derive(Debug, Clone, PartialEq)]
pub struct KafkaConfig {
    /// `host:port` of some brokers; the others are learnt from them.
    pub brokers: Vec<String>,
    /// Topic that is written. Default `heapster-metrics`.
    pub topic: String,
    /// What one message holds. Default Heapster's JSON.
    pub format: Format,
    /// The messages' keys. Default the entity's path.
    pub message_key: MessageKey,
    /// Which partition a key belongs to. Default murmur2.
    pub partitioner: Partitioner,
    /// Compression of batches. Default lz4.
    pub compression: Compression,
    /// Name that the brokers' logs and quotas know. Default `millrace`.
    pub client_id: String,
    /// User of SASL. Empty: no authentication by SASL.
    pub username: String,
    /// Belongs to `username`.
    pub password: Secret,
    /// How they are shown. Default PLAIN.
    pub sasl_mechanism: Mechanism,
    /// Whether connections are encrypted; on where an authority or a certificate is given.
    pub tls: bool,
    /// PEM file of the authority that signed the brokers' certificates; else the system's count.
    pub certificate_authority: Option<PathBuf>,
    /// PEM files of the client's certificate and its key.
    pub certificate: Option<(PathBuf, PathBuf)>,
    /// Any certificate will do.
    pub insecure_tls: bool,
    /// Chunks on their way at a time. Default 2.
    pub concurrency: usize,
    /// Length of a message at most, bytes; of a compressed batch too. Default 1,000,000.
    pub max_message: usize,
    /// Bound of all memory of what waits and what is on its way, bytes. Default 64 MiB.
    pub queue: usize,
}

impl KafkaConfig {
    /// A sink for these brokers with every other setting at its default.
    #[must_use]
    pub fn at(brokers: Vec<String>) -> Self {
        Self {
            brokers,
            topic: "heapster-metrics".to_owned(),
            format: Format::HeapsterJson,
            message_key: MessageKey::Entity,
            partitioner: Partitioner::Murmur2,
            compression: Compression::Lz4,
            client_id: "millrace".to_owned(),
            username: String::new(),
            password: Secret::literal(""),
            sasl_mechanism: Mechanism::Plain,
            tls: false,
            certificate_authority: None,
            certificate: None,
            insecure_tls: false,
            concurrency: 2,
            max_message: 1_000_000,
            queue: 64 << 20,
        }
    }
}

/// Reads a `[[sink]]`; the caller has seen its `type`.
pub fn from_toml(fields: Fields<'_>) -> Option<KafkaConfig> {
    let config = settings(&fields);
    fields.finish();
    config
}

/// Reads `--sink=kafka:?brokers=…&options`.
pub fn from_uri(uri: &Uri, outside: &Outside, problems: &Problems) -> Option<KafkaConfig> {
    if uri.has_url {
        problems.warn(format!("`{}` has a URL; it is ignored, as in Heapster: brokers are an option", uri.at));
    }
    let fields = uri.fields(HEAPSTER_NAMES, outside, problems);
    if fields.has("eventstopic") {
        problems.warn(format!(
            "`{}`: eventstopic does nothing: millrace exports no events, nor did Heapster's own process",
            uri.at
        ));
        fields.text("eventstopic");
    }
    let config = settings(&fields);
    fields.finish();
    config
}

fn settings(fields: &Fields<'_>) -> Option<KafkaConfig> {
    let brokers = brokers(fields);
    // Without brokers the other settings are checked all the same; nothing starts while there is a problem.
    let base = KafkaConfig::at(brokers.clone().unwrap_or_default());
    let size = |key, range| fields.bytes(key, range).and_then(|bytes| usize::try_from(bytes).ok());
    let count = |key, range| fields.integer(key, range).and_then(|count| usize::try_from(count).ok());
    let mut config = KafkaConfig {
        topic: topic(fields).unwrap_or(base.topic),
        format: fields.one_of("format", FORMATS).unwrap_or(base.format),
        message_key: fields.one_of("message-key", KEYS).unwrap_or(base.message_key),
        partitioner: fields.one_of("partitioner", PARTITIONERS).unwrap_or(base.partitioner),
        compression: fields.one_of("compression", COMPRESSIONS).unwrap_or(base.compression),
        client_id: fields.string("client-id").unwrap_or(base.client_id),
        username: fields.text("username").unwrap_or(base.username),
        password: fields.secret("password").unwrap_or(base.password),
        sasl_mechanism: fields.one_of("sasl-mechanism", MECHANISMS).unwrap_or(base.sasl_mechanism),
        certificate_authority: fields.path_of("certificate-authority"),
        certificate: certificate(fields),
        insecure_tls: fields.boolean("insecure-tls").unwrap_or(base.insecure_tls),
        concurrency: count("concurrency", 1..=16).unwrap_or(base.concurrency),
        max_message: size("max-message", 1 << 10..=64 << 20).unwrap_or(base.max_message),
        queue: size("queue", 1 << 20..=64 << 30).unwrap_or(base.queue),
        brokers: base.brokers,
        tls: false,
    };
    sasl(fields, &mut config);
    tls(fields, &mut config);
    if config.queue < MESSAGES_IN_QUEUE * config.max_message {
        let (queue, message) = (values::bytes_text(config.queue as u64), values::bytes_text(config.max_message as u64));
        let remedy = format!("use at least {MESSAGES_IN_QUEUE} times {} ({message})", fields.path("max-message"));
        fields.bad("queue", &queue, &remedy);
    }
    brokers.map(|_| config)
}

/// `host:port`, one or more; in a URI and in a text they are separated by commas too.
fn brokers(fields: &Fields<'_>) -> Option<Vec<String>> {
    if !fields.has("brokers") {
        let at = fields.path("brokers");
        fields.problems.push(format!("`{at}` is missing; write it as \"kafka-0.kafka:9092\", one or more of them"));
        return None;
    }
    let given = fields.strings("brokers")?;
    let brokers: Vec<String> =
        given.iter().flat_map(|text| text.split(',')).map(|text| text.trim().to_owned()).collect();
    let is_broker = |text: &str| {
        text.rsplit_once(':').is_some_and(|(host, port)| {
            let plain = host.chars().all(|c| c.is_ascii_alphanumeric() || "-._[]:".contains(c));
            !host.is_empty() && plain && port.parse::<u16>().is_ok_and(|port| port != 0)
        })
    };
    match brokers.iter().find(|text| !is_broker(text)) {
        None if !brokers.is_empty() => Some(brokers),
        wrong => {
            fields.bad("brokers", wrong.map_or("", String::as_str), "write each as host:port");
            None
        }
    }
}

fn topic(fields: &Fields<'_>) -> Option<String> {
    let name = fields.string("topic")?;
    let plain = name.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c));
    if !plain || name.len() > MAX_TOPIC || name == "." || name == ".." {
        fields.bad("topic", &name, "use at most 249 letters, digits, dots, underscores and hyphens, as Kafka does");
        return None;
    }
    Some(name)
}

fn certificate(fields: &Fields<'_>) -> Option<(PathBuf, PathBuf)> {
    match (fields.path_of("certificate"), fields.path_of("certificate-key")) {
        (Some(certificate), Some(key)) => Some((certificate, key)),
        (None, None) => None,
        (certificate, _) => {
            let [one, other] = ["certificate", "certificate-key"].map(|key| fields.path(key));
            let (there, missing) = if certificate.is_some() { (one, other) } else { (other, one) };
            fields.problems.push(format!("`{there}` needs `{missing}` beside it"));
            None
        }
    }
}

/// A user needs a password, and the other way round.
fn sasl(fields: &Fields<'_>, config: &mut KafkaConfig) {
    let [username, password, mechanism] = ["username", "password", "sasl-mechanism"].map(|key| fields.path(key));
    if config.username.is_empty() != config.password.is_empty() {
        let (there, missing) = if config.username.is_empty() { (&password, &username) } else { (&username, &password) };
        fields.problems.push(format!("`{there}` needs `{missing}` beside it"));
    } else if config.username.is_empty() && fields.has("sasl-mechanism") {
        fields.problems.push(format!("`{mechanism}` needs `{username}` beside it"));
    }
}

/// Settings of TLS that only make sense with or without one another.
fn tls(fields: &Fields<'_>, config: &mut KafkaConfig) {
    let problems = fields.problems;
    let given = config.certificate_authority.is_some() || config.certificate.is_some();
    config.tls = fields.boolean("tls").unwrap_or(given);
    if given && !config.tls {
        let at = fields.path("tls");
        problems.push(format!("`{at}` is false, and yet there are certificates; leave it or them out"));
    }
    if config.insecure_tls && config.certificate_authority.is_some() {
        let (one, other) = (fields.path("insecure-tls"), fields.path("certificate-authority"));
        problems.push(format!("`{one}` and `{other}` contradict each other; leave one out"));
    }
    if config.insecure_tls {
        let at = fields.path("insecure-tls");
        problems.warn(match config.tls {
            true => format!("`{at}`: whoever answers at those addresses is sent the points and the password"),
            false => format!("`{at}` does nothing without TLS; `{}` switches that on", fields.path("tls")),
        });
    }
    if !config.username.is_empty() && !config.tls && config.sasl_mechanism == Mechanism::Plain {
        let at = fields.path("password");
        problems.warn(format!("`{at}` is sent in the clear; `{}` encrypts connections", fields.path("tls")));
    }
}

fn word<T: PartialEq>(words: &[(&'static str, T)], value: &T) -> &'static str {
    words.iter().find(|(_, known)| known == value).map_or("", |(word, _)| word)
}

impl Format {
    /// As the configuration spells it.
    #[must_use]
    pub fn word(self) -> &'static str {
        word(FORMATS, &self)
    }
}

impl Compression {
    /// As the configuration and Kafka spell it.
    #[must_use]
    pub fn word(self) -> &'static str {
        word(COMPRESSIONS, &self)
    }
}

impl Mechanism {
    /// As the configuration and Kafka spell it.
    #[must_use]
    pub fn word(self) -> &'static str {
        word(MECHANISMS, &self)
    }
}

impl KafkaConfig {
    /// The same as `[[sink]]`, defaults left out. A password stays a reference where it was one.
    #[must_use]
    pub fn to_toml(&self) -> Table {
        let default = Self::at(Vec::new());
        let mut table = Table::new();
        let mut put = |key: &str, changed: bool, value: Value| {
            if changed {
                table.insert(key.to_owned(), value);
            }
        };
        put("brokers", true, self.brokers.clone().into());
        put("topic", self.topic != default.topic, self.topic.clone().into());
        put("format", self.format != default.format, word(FORMATS, &self.format).into());
        put("message-key", self.message_key != default.message_key, word(KEYS, &self.message_key).into());
        put("partitioner", self.partitioner != default.partitioner, word(PARTITIONERS, &self.partitioner).into());
        put("compression", self.compression != default.compression, self.compression.word().into());
        put("client-id", self.client_id != default.client_id, self.client_id.clone().into());
        put("username", !self.username.is_empty(), self.username.clone().into());
        match self.password.origin() {
            Origin::Text(text) => put("password", !text.is_empty(), text.clone().into()),
            Origin::File(path) => put("password-file", true, path.to_string_lossy().into_owned().into()),
            Origin::Heapster => {}
        }
        let mechanism = self.sasl_mechanism.word();
        put("sasl-mechanism", self.sasl_mechanism != default.sasl_mechanism, mechanism.into());
        let mut path = |key: &str, path: Option<&PathBuf>| {
            put(key, path.is_some(), path.map(|path| path.to_string_lossy().into_owned()).unwrap_or_default().into());
        };
        path("certificate-authority", self.certificate_authority.as_ref());
        path("certificate", self.certificate.as_ref().map(|(certificate, _)| certificate));
        path("certificate-key", self.certificate.as_ref().map(|(_, key)| key));
        let given = self.certificate_authority.is_some() || self.certificate.is_some();
        put("tls", self.tls != given, self.tls.into());
        put("insecure-tls", self.insecure_tls, true.into());
        put("concurrency", self.concurrency != default.concurrency, (self.concurrency as i64).into());
        for (key, value, usual) in
            [("max-message", self.max_message, default.max_message), ("queue", self.queue, default.queue)]
        {
            put(key, value != usual, values::bytes_text(value as u64).into());
        }
        table
    }
}

#[cfg(test)]
#[path = "config_tests.rs"]
mod tests;
