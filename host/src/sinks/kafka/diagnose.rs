//! What would keep records from the topic: brokers and topic are asked, nothing is produced, and no topic is made,
//! which asking for one as a producer would do where brokers make topics by themselves.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::ClientContext;
use rdkafka::admin::{AdminClient, AdminOptions, ResourceSpecifier};
use rdkafka::config::{FromClientConfig, FromClientConfigAndContext, RDKafkaLogLevel};
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::metadata::Metadata;

use super::client::Settings;
use super::config::KafkaConfig;
use super::failure;
use crate::finding::{Finding, Status};
use crate::text::{MESSAGE_BYTES, tame};

/// How long the brokers have to show the topic.
const CHECK: Duration = Duration::from_secs(10);
/// How long one question for it takes at most; in between a refusal is noticed.
const STEP: Duration = Duration::from_secs(1);
/// How long the topic's settings are waited for.
const DESCRIBED: Duration = Duration::from_secs(5);

/// Asks the brokers of a sink called `name`.
pub(crate) async fn diagnose(name: &str, config: &KafkaConfig) -> Vec<Finding> {
    let (own, settings) = (name.to_owned(), config.clone());
    // librdkafka blocks.
    let looking = tokio::task::spawn_blocking(move || examine(&own, &settings));
    looking.await.unwrap_or_else(|error| vec![Finding::note("sinks.answers", name, &error.to_string())])
}

fn examine(name: &str, config: &KafkaConfig) -> Vec<Finding> {
    let settings = match Settings::new(config, 0) {
        Ok(settings) => settings.config,
        Err(error) => return vec![refused(name, &error.to_string())],
    };
    let consumer = match BaseConsumer::from_config_and_context(&settings, Heard::default()) {
        Ok(consumer) => consumer,
        Err(error) => return vec![refused(name, &format!("{error}; check the certificates and the key"))],
    };
    let metadata = match metadata(name, config, &consumer) {
        Ok((metadata, took)) => (metadata, took),
        Err(finding) => return vec![*finding],
    };
    let mut findings = of_metadata(name, config, &metadata.0, metadata.1);
    if findings.iter().all(|finding| finding.status != Status::Failure)
        && let Ok(admin) = AdminClient::from_config(&settings)
    {
        findings.push(size(name, config, longest(&admin, &config.topic)));
    }
    findings
}

fn refused(name: &str, sentence: &str) -> Finding {
    Finding::of_sentence("sinks.settings", name, Status::Failure, sentence)
}

/// What the brokers say of the topic.
fn metadata(
    name: &str,
    config: &KafkaConfig,
    consumer: &BaseConsumer<Heard>,
) -> Result<(Metadata, Duration), Box<Finding>> {
    let begin = Instant::now();
    loop {
        let error = match consumer.fetch_metadata(Some(&config.topic), STEP) {
            Ok(metadata) => return Ok((metadata, begin.elapsed())),
            Err(error) => error,
        };
        // Delivers what librdkafka has to tell.
        let told = consumer.poll(Duration::ZERO).and_then(Result::err);
        let heard = consumer.context();
        if let Some(KafkaError::MessageConsumption(code) | KafkaError::MessageConsumptionFatal(code)) = &told {
            heard.note(*code, &code.to_string());
        }
        let (refusal, last) = heard.told();
        if let Some(refusal) = refusal {
            return Err(Box::new(Finding::of_sentence("sinks.credentials", name, Status::Failure, &refusal)));
        }
        if begin.elapsed() >= CHECK {
            let why = last.unwrap_or_else(|| error.to_string());
            let says = format!("no broker of {} answers: {why}", config.brokers.join(","));
            let remedy = "are the brokers running, and do their advertised.listeners name addresses that can be \
                          reached from here?";
            return Err(Box::new(Finding::failure("sinks.answers", name, &says, remedy)));
        }
    }
}

fn of_metadata(name: &str, config: &KafkaConfig, metadata: &Metadata, took: Duration) -> Vec<Finding> {
    let (topic, brokers) = (&config.topic, metadata.brokers().len());
    let answers = Finding::ok("sinks.answers", name, &format!("{brokers} brokers")).took(took).fact("brokers", brokers);
    let check = "sinks.topic";
    let shown = metadata.topics().first();
    let of_topic = match shown.map(|shown| (shown.error().map(Code::from), shown.partitions())) {
        Some((None, partitions)) if !partitions.is_empty() => {
            let count = partitions.len();
            let headless = partitions.iter().filter(|partition| partition.leader() < 0).count();
            if headless > 0 {
                let says = format!("{headless} of {count} partitions of `{topic}` have no leader");
                Finding::failure(
                    check,
                    name,
                    &says,
                    "look at the brokers: kafka-topics.sh --describe --unavailable-partitions",
                )
            } else {
                Finding::ok(check, name, &format!("the topic `{topic}` has {count} partitions"))
                    .fact("partitions", count)
            }
        }
        Some((Some(Code::UnknownTopic | Code::UnknownTopicOrPartition), _)) => {
            let says = format!(
                "the topic `{topic}` does not exist; brokers that make topics by themselves make it at the first write"
            );
            let remedy = format!("kafka-topics.sh --create --topic {topic} --partitions N --bootstrap-server …");
            Finding::warning(check, name, &says, &remedy)
        }
        other => {
            let code = other.and_then(|(code, _)| code).unwrap_or(Code::LeaderNotAvailable);
            Finding::of_sentence(check, name, Status::Failure, &failure::of_topic(code, topic).to_string())
        }
    };
    vec![answers, of_topic]
}

/// `max.message.bytes` of the topic; `None` where it is not told.
fn longest<C: ClientContext>(admin: &AdminClient<C>, topic: &str) -> Option<usize> {
    let topics = [ResourceSpecifier::Topic(topic)];
    let described = admin.describe_configs(&topics, &AdminOptions::new().request_timeout(Some(DESCRIBED)));
    let described = futures::executor::block_on(described).ok()?.into_iter().next()?.ok()?;
    described.get("max.message.bytes")?.value.as_ref()?.parse().ok()
}

fn size(name: &str, config: &KafkaConfig, longest: Option<usize>) -> Finding {
    let (check, ours) = ("sinks.size", config.max_message);
    match longest {
        None => Finding::note(check, name, "the topic's max.message.bytes is not told to this user"),
        Some(theirs) if theirs < ours => {
            let says =
                format!("`max-message` is {ours} bytes, and the topic takes {theirs}: larger batches are sent twice");
            let remedy = format!("set `max-message` to {theirs}, or raise the topic's max.message.bytes");
            Finding::warning(check, name, &says, &remedy)
        }
        Some(theirs) => Finding::ok(check, name, &format!("the topic takes {theirs} bytes at a time")),
    }
}

/// What librdkafka has told.
#[derive(Default)]
struct Heard(Mutex<(Option<String>, Option<String>)>);

impl Heard {
    fn note(&self, code: Code, reason: &str) {
        let text = tame(reason, MESSAGE_BYTES);
        let mut heard = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(refusal) = failure::refusal(code, &text) {
            heard.0 = Some(refusal);
        }
        // That all brokers are down says less than why the last of them is.
        if code != Code::AllBrokersDown || heard.1.is_none() {
            heard.1 = Some(text);
        }
    }

    /// The refusal, and the last error.
    fn told(&self) -> (Option<String>, Option<String>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl ClientContext for Heard {
    fn log(&self, _: RDKafkaLogLevel, _: &str, _: &str) {}

    fn error(&self, error: KafkaError, reason: &str) {
        if let Some(code) = error.rdkafka_error_code() {
            self.note(code, reason);
        }
    }
}

impl ConsumerContext for Heard {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_counts_and_the_reason_of_the_last_broker_is_kept() {
        let heard = Heard::default();
        heard.note(Code::BrokerTransportFailure, "connect failed\n");
        heard.note(Code::AllBrokersDown, "1/1 brokers are down");
        assert_eq!(heard.told(), (None, Some("connect failed\\n".to_owned())));
        heard.note(Code::Authentication, "no");
        assert!(heard.told().0.unwrap().contains("check `username`"));
    }

    #[tokio::test]
    async fn a_topic_is_shown_and_none_is_made() {
        let cluster = rdkafka::mocking::MockCluster::new(2).unwrap();
        cluster.create_topic("there", 3, 2).unwrap();
        let brokers: Vec<String> = cluster.bootstrap_servers().split(',').map(str::to_owned).collect();
        let config = |topic: &str| KafkaConfig { topic: topic.to_owned(), ..KafkaConfig::at(brokers.clone()) };
        let found = diagnose("kafka", &config("there")).await;
        let told: Vec<_> = found.iter().take(2).map(|finding| (finding.check, finding.status)).collect();
        assert_eq!(told, [("sinks.answers", Status::Ok), ("sinks.topic", Status::Ok)], "{found:?}");
        assert_eq!(found[1].facts["partitions"], 3);
        for _ in 0..2 {
            let found = diagnose("kafka", &config("not-there")).await;
            assert_eq!((found[1].check, found[1].status), ("sinks.topic", Status::Warning), "{found:?}");
        }
    }

    #[test]
    fn a_topic_that_takes_less_than_we_send_is_told() {
        let config = KafkaConfig::at(vec!["kafka:9092".to_owned()]);
        for (longest, want) in
            [(None, Status::Note), (Some(1_000), Status::Warning), (Some(config.max_message), Status::Ok)]
        {
            assert_eq!(size("kafka", &config, longest).status, want, "{longest:?}");
        }
    }
}
