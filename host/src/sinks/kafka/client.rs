//! The connection to the brokers: librdkafka's settings, what it tells, whether the topic is there.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use std::{fs, io, thread};

use rdkafka::ClientConfig;
use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode as Code};
use rdkafka::message::DeliveryResult;
use rdkafka::producer::{Producer as _, ProducerContext, PurgeConfig, ThreadedProducer};
use tokio::time::Instant;

use super::config::{KafkaConfig, Mechanism, Partitioner};
use super::failure;
use super::send::Ticket;
use crate::sinks::AttemptError;
use crate::text::{MESSAGE_BYTES, tame};
use crate::throttle::Throttle;

/// How long the brokers have to show the topic.
const CHECK: Duration = Duration::from_secs(10);
/// How long one question for it takes at most; in between a refusal is noticed.
const CHECK_STEP: Duration = Duration::from_secs(1);
/// How long a topic that the brokers make by themselves may take.
const CREATION: Duration = Duration::from_secs(5);
/// Records without a confirmation for so long are a sign of trouble.
const PATIENCE: Duration = Duration::from_secs(10);
/// Most bytes that librdkafka may be told to hold.
const MAX_KBYTES: usize = 2_147_483_647;

/// Why no producer can be made.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// A certificate or key can't be read.
    #[error("`{}` can't be read: {source}; check the path and its permissions", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// librdkafka refuses a setting; mostly a certificate that is none.
    #[error("librdkafka refuses its settings: {0}; check the certificates and the key")]
    Refused(KafkaError),
}

/// What a producer is made from.
pub struct Settings {
    pub(super) config: ClientConfig,
    topic: String,
}

impl Settings {
    /// Settings with room for `in_flight` bytes of messages.
    ///
    /// # Errors
    /// A file can't be read.
    pub fn new(config: &KafkaConfig, in_flight: usize) -> Result<Self, SetupError> {
        let mut made = ClientConfig::new();
        let room = (in_flight.max(2 * config.max_message) / 1024 + 1).min(MAX_KBYTES);
        made.set("bootstrap.servers", config.brokers.join(","))
            .set("client.id", &config.client_id)
            .set("enable.idempotence", "true")
            .set("acks", "all")
            // For ever: only librdkafka knows what a broker may have taken already, so only it may try again.
            .set("message.timeout.ms", "0")
            .set("compression.codec", config.compression.word())
            .set("message.max.bytes", config.max_message.to_string())
            .set("batch.size", config.max_message.to_string())
            .set("queue.buffering.max.messages", "0")
            .set("queue.buffering.max.kbytes", room.to_string())
            .set("linger.ms", "5")
            .set("socket.connection.setup.timeout.ms", "10000")
            .set("reconnect.backoff.max.ms", "5000")
            .set("topic.metadata.propagation.max.ms", "10000")
            .set("log.connection.close", "false")
            .set(
                "partitioner",
                match config.partitioner {
                    Partitioner::Murmur2 => "murmur2_random",
                    Partitioner::Crc32 => "consistent_random",
                    Partitioner::Random => "random",
                },
            )
            .set_log_level(RDKafkaLogLevel::Warning);
        security(config, &mut made)?;
        Ok(Self { config: made, topic: config.topic.clone() })
    }
}

fn security(config: &KafkaConfig, made: &mut ClientConfig) -> Result<(), SetupError> {
    let protocol = match (config.tls, !config.username.is_empty()) {
        (false, false) => "PLAINTEXT",
        (true, false) => "SSL",
        (false, true) => "SASL_PLAINTEXT",
        (true, true) => "SASL_SSL",
    };
    made.set("security.protocol", protocol);
    if !config.username.is_empty() {
        let mechanism: Mechanism = config.sasl_mechanism;
        made.set("sasl.mechanisms", mechanism.word())
            .set("sasl.username", &config.username)
            .set("sasl.password", config.password.expose());
    }
    if config.tls {
        if let Some(path) = &config.certificate_authority {
            made.set("ssl.ca.pem", read(path)?);
        } else {
            // Where the distribution keeps the certificates that it trusts.
            made.set("ssl.ca.location", "probe");
        }
        if let Some((certificate, key)) = &config.certificate {
            made.set("ssl.certificate.pem", read(certificate)?).set("ssl.key.pem", read(key)?);
        }
        if config.insecure_tls {
            made.set("enable.ssl.certificate.verification", "false");
        }
    }
    Ok(())
}

fn read(path: &Path) -> Result<String, SetupError> {
    fs::read_to_string(path).map_err(|source| SetupError::Unreadable { path: path.to_owned(), source })
}

/// A producer with its thread; clones are the same.
pub type Producer = ThreadedProducer<Context>;

/// The connection, and a producer that is made anew when librdkafka gives one up.
pub struct Connection {
    settings: Settings,
    state: Arc<State>,
    producer: Mutex<Producer>,
    /// Whether a broker has shown the topic, and nothing has been heard to the contrary.
    ready: AtomicBool,
}

/// What the brokers were heard to say.
pub struct State {
    sink: String,
    heard: Mutex<Heard>,
    /// Records that librdkafka has.
    outstanding: AtomicUsize,
    lines: Mutex<Throttle>,
}

struct Heard {
    /// When a record was last confirmed, or the first of all that are outstanding was handed over.
    progress: Instant,
    /// The last error since then.
    error: Option<String>,
    /// The brokers want another user or other certificates.
    refusal: Option<String>,
}

impl State {
    fn heard(&self) -> MutexGuard<'_, Heard> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A record is handed to librdkafka.
    pub fn handed_over(&self) {
        if self.outstanding.fetch_add(1, Ordering::Relaxed) == 0 {
            self.heard().progress = Instant::now();
        }
    }

    /// librdkafka has done with a record.
    pub fn came_back(&self, confirmed: bool) {
        self.outstanding.fetch_sub(1, Ordering::Relaxed);
        if confirmed {
            let mut heard = self.heard();
            (heard.progress, heard.error, heard.refusal) = (Instant::now(), None, None);
        }
    }
}

/// What librdkafka calls back.
pub struct Context(Arc<State>);

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        let (sink, message) = (&self.0.sink, tame(message, MESSAGE_BYTES));
        tracing::debug!(sink, ?level, facility, message, "librdkafka");
    }

    fn error(&self, error: KafkaError, reason: &str) {
        let code = error.rdkafka_error_code();
        let text = tame(reason, MESSAGE_BYTES);
        let mut heard = self.0.heard();
        if let Some(refusal) = code.and_then(|code| failure::refusal(code, &text)) {
            heard.refusal = Some(refusal);
        }
        // That all brokers are down says less than why the last of them is.
        if code != Some(Code::AllBrokersDown) || heard.error.is_none() {
            heard.error = Some(text.clone());
        }
        drop(heard);
        let sink = &self.0.sink;
        let outstanding = self.0.outstanding.load(Ordering::Relaxed);
        if let Some(more) = self.0.lines.lock().unwrap_or_else(PoisonError::into_inner).pass() {
            tracing::warn!(sink, error = text, outstanding, more, "a broker can't be reached; records wait for it");
        }
    }
}

impl ProducerContext for Context {
    type DeliveryOpaque = Box<Ticket>;

    fn delivery(&self, result: &DeliveryResult<'_>, ticket: Box<Ticket>) {
        self.0.came_back(result.is_ok());
        ticket.settle(result.as_ref().err().and_then(|(error, _)| error.rdkafka_error_code()));
    }
}

impl Connection {
    /// Makes a producer, which connects by and by.
    ///
    /// # Errors
    /// librdkafka refuses the settings.
    pub fn new(sink: &str, settings: Settings) -> Result<Self, SetupError> {
        let heard = Heard { progress: Instant::now(), error: None, refusal: None };
        let state = Arc::new(State {
            sink: sink.to_owned(),
            heard: Mutex::new(heard),
            outstanding: AtomicUsize::new(0),
            lines: Mutex::default(),
        });
        let producer = Mutex::new(producer(&settings, &state).map_err(SetupError::Refused)?);
        Ok(Self { settings, state, producer, ready: AtomicBool::new(false) })
    }

    /// The topic's name.
    pub fn topic(&self) -> &str {
        &self.settings.topic
    }

    /// What the brokers were heard to say.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// The producer of now.
    pub fn producer(&self) -> Producer {
        self.producer.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether a broker has shown the topic.
    pub fn is_ready(&self) -> bool {
        self.ready.load(Ordering::Relaxed)
    }

    /// The topic is asked for again before the next records.
    pub fn distrust(&self) {
        self.ready.store(false, Ordering::Relaxed);
    }

    /// Makes a new producer where librdkafka has given up the one of now.
    pub fn renew_if_fatal(&self) {
        let mut producer = self.producer.lock().unwrap_or_else(PoisonError::into_inner);
        let Some((code, reason)) = producer.client().fatal_error() else { return };
        let (sink, reason) = (&self.state.sink, tame(&reason, MESSAGE_BYTES));
        tracing::warn!(sink, ?code, reason, "the producer has failed and is made anew");
        match self::producer(&self.settings, &self.state) {
            Ok(new) => *producer = new,
            Err(error) => tracing::error!(sink, %error, "no new producer; tried again later"),
        }
    }

    /// Takes back what librdkafka has not yet sent.
    pub fn purge(&self) {
        self.producer().purge(PurgeConfig::default().queue());
    }

    /// What keeps records from being confirmed.
    pub fn trouble(&self) -> Option<String> {
        if self.state.outstanding.load(Ordering::Relaxed) == 0 {
            return None;
        }
        let heard = self.state.heard();
        let since = heard.progress.elapsed();
        // One broker of several may be down while the others take what is theirs.
        if since < if heard.error.is_some() { PATIENCE / 10 } else { PATIENCE } {
            return None;
        }
        let error = heard.refusal.as_ref().or(heard.error.as_ref());
        let error = error.map_or("no error is known", String::as_str);
        Some(format!("no record was confirmed for {} s: {error}", since.as_secs()))
    }

    /// Asks the brokers for the topic, which makes it where they make topics by themselves.
    ///
    /// # Errors
    /// [`AttemptError`]: no broker answers, or they refuse user, certificates or topic.
    pub async fn check(self: &Arc<Self>) -> Result<(), AttemptError> {
        let connection = self.clone();
        let checking = tokio::task::spawn_blocking(move || connection.check_blocking());
        let gone = |_| Err(AttemptError::Transient { reason: "the process ends".to_owned(), retry_after: None });
        checking.await.unwrap_or_else(gone)
    }

    fn check_blocking(&self) -> Result<(), AttemptError> {
        self.renew_if_fatal();
        let (producer, began) = (self.producer(), Instant::now());
        loop {
            let metadata = producer.client().fetch_metadata(Some(self.topic()), CHECK_STEP);
            let spent = began.elapsed();
            let topic = metadata.as_ref().ok().and_then(|metadata| metadata.topics().first());
            match topic.map(|topic| (topic.error().map(Code::from), topic.partitions().is_empty())) {
                Some((None, false)) => {
                    let mut heard = self.state.heard();
                    (heard.error, heard.refusal) = (None, None);
                    self.ready.store(true, Ordering::Relaxed);
                    return Ok(());
                }
                // It is being made.
                Some((None | Some(Code::LeaderNotAvailable | Code::UnknownTopicOrPartition), _))
                    if spent < CREATION => {}
                Some((code, _)) => {
                    return Err(failure::of_topic(code.unwrap_or(Code::LeaderNotAvailable), self.topic()));
                }
                None => {
                    let heard = self.state.heard();
                    if let Some(reason) = &heard.refusal {
                        return Err(AttemptError::Refused { reason: reason.clone() });
                    }
                    if spent >= CHECK {
                        let error = heard.error.clone().or(metadata.err().map(|error| error.to_string()));
                        let reason = format!("no broker answers: {}", error.unwrap_or_default());
                        return Err(AttemptError::Transient { reason, retry_after: None });
                    }
                }
            }
            thread::sleep(Duration::from_millis(100));
        }
    }
}

fn producer(settings: &Settings, state: &Arc<State>) -> KafkaResult<Producer> {
    settings.config.create_with_context(Context(state.clone()))
}
