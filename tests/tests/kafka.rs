//! The Kafka sink against real brokers: what is written is read back, what the brokers refuse ends in
//! the ledger, and neither a broker that dies nor one that hands its partitions over costs or doubles
//! a message.
//!
//! A broker takes seconds to start, so what needs but one shares it, each case with a topic of its own.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a failed expectation is a failed test")]

use std::collections::{BTreeMap, BTreeSet};

use futures::future::join_all;
use millrace::batch::Batch;
use millrace::config::Secret;
use millrace::sinks::kafka::config::{Compression, Format, Mechanism, MessageKey};
use millrace::sinks::kafka::{Kafka as Sink, KafkaConfig};
use millrace::sinks::{Common, DropReason, LedgerSnapshot, SinkHandle};
use millrace_tests::fixtures::kafka::{Kafka, Listener, Options, PASSWORD, Stored, USER};
use millrace_tests::fixtures::process::{Outcome, Process};
use millrace_tests::fixtures::router::{Router, Setup};
use millrace_tests::heapster::kafka as referee;
use millrace_tests::kubesim::Kubesim;
use millrace_tests::recorded::Recorded;
use serde_json::{Value, json};
use sunk::{DEADLINE, at_rest, builder, entity, give, int, pods, until};

#[allow(dead_code, reason = "each test uses a part")]
mod sunk;

fn config(kafka: &Kafka, topic: &str) -> KafkaConfig {
    KafkaConfig { topic: topic.to_owned(), ..KafkaConfig::at(kafka.brokers(Listener::Plain)) }
}

fn start(config: &KafkaConfig) -> SinkHandle {
    Sink::start("kafka", config, Common::default()).unwrap()
}

/// Writes one batch with a sink of its own.
async fn write(config: &KafkaConfig, batch: Batch) -> LedgerSnapshot {
    let sink = start(config);
    give(&sink, 0, batch);
    at_rest(&sink).await
}

/// Waits until the sink tells this.
async fn told(sink: &SinkHandle, text: &str) {
    let has = |ledger: &LedgerSnapshot| {
        ledger.failing && ledger.last_error.as_ref().is_some_and(|error| error.message.contains(text))
    };
    until(sink, text, has).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_real_broker() {
    let Some(mut kafka) = tokio::task::spawn_blocking(|| Kafka::start(&Options::default())).await.unwrap() else {
        return;
    };
    every_codec_arrives_and_an_entity_has_one_partition(&kafka).await;
    the_batched_form_holds_every_point(&kafka).await;
    messages_that_the_topic_finds_too_large_are_dropped_alone(&kafka).await;
    a_topic_that_is_missing_is_told_and_waited_for(&kafka).await;
    users_and_certificates_are_shown_and_refusals_told(&kafka).await;
    every_message_is_heapsters_but_for_the_listed_differences(&kafka).await;
    a_broker_that_is_killed_costs_nothing_and_doubles_nothing(&mut kafka).await;
}

async fn every_codec_arrives_and_an_entity_has_one_partition(kafka: &Kafka) {
    use Compression::{Gzip, Lz4, None, Snappy, Zstd};
    let mut first: Option<Vec<Stored>> = Option::None;
    for compression in [None, Gzip, Snappy, Lz4, Zstd] {
        let topic = format!("codec-{}", compression.word());
        kafka.create_topic(&topic, 5, &[]).await;
        let ledger = write(&KafkaConfig { compression, ..config(kafka, &topic) }, pods(500)).await;
        assert_eq!((ledger.written, ledger.offered), (500, 500), "{ledger:?}");
        let mut stored = kafka.messages(&topic);
        stored.sort();
        assert_eq!(stored.len(), 500, "{topic}");
        assert!(stored.iter().all(|message| message.time_ms == sunk::TIME / 1_000_000));
        assert_eq!(stored.iter().map(|message| message.partition).collect::<BTreeSet<_>>().len(), 5);
        assert_eq!(first.get_or_insert_with(|| stored.clone()), &stored, "{topic}");
    }
    // The partition is a function of the key alone.
    let partitions: BTreeMap<String, i32> =
        first.unwrap().into_iter().map(|message| (message.key, message.partition)).collect();
    let sink = start(&config(kafka, "codec-lz4"));
    for cycle in 1..=3 {
        give(&sink, cycle, pods(500));
    }
    assert_eq!(at_rest(&sink).await.written, 1500);
    for message in kafka.messages("codec-lz4") {
        assert_eq!(partitions[&message.key], message.partition, "{}", message.key);
    }
    let none = KafkaConfig { message_key: MessageKey::None, ..config(kafka, "codec-none") };
    assert_eq!(write(&none, pods(7)).await.written, 7);
    assert_eq!(kafka.messages("codec-none").iter().filter(|message| message.key.is_empty()).count(), 7);
}

async fn the_batched_form_holds_every_point(kafka: &Kafka) {
    kafka.create_topic("batched", 2, &[]).await;
    let mut builder = builder();
    for pod in 0..40 {
        entity(&mut builder, &[("type", "pod"), ("namespace_name", "n"), ("pod_name", &format!("p{pod}"))]);
        for metric in 0..25 {
            int(&mut builder, &format!("metric/{metric}"), pod * 100 + metric);
        }
    }
    let ledger = write(&KafkaConfig { format: Format::BatchJson, ..config(kafka, "batched") }, builder.build()).await;
    assert_eq!((ledger.written, ledger.offered), (1_000, 1_000));
    let stored = kafka.messages("batched");
    assert_eq!(stored.len(), 40);
    for message in stored {
        let value: Value = serde_json::from_str(&message.value).unwrap();
        assert_eq!([&value["version"], &value["level"]], [&json!(1), &json!("pod")]);
        assert_eq!(value["entity"], message.key);
        let pod: i64 = message.key.strip_prefix("namespace:n/pod:p").unwrap().parse().unwrap();
        let metrics = value["metrics"].as_array().unwrap();
        assert_eq!(metrics.len(), 25);
        for metric in metrics {
            let number: i64 = metric["name"].as_str().unwrap().strip_prefix("metric/").unwrap().parse().unwrap();
            assert_eq!(metric["value"], pod * 100 + number);
        }
    }
}

async fn messages_that_the_topic_finds_too_large_are_dropped_alone(kafka: &Kafka) {
    kafka.create_topic("small", 1, &[("max.message.bytes", "4000")]).await;
    let mut builder = builder();
    for pod in 0..300 {
        let long = if pod % 100 == 50 { "x".repeat(6_000) } else { String::new() };
        entity(&mut builder, &[("pod_name", &format!("pod-{pod}")), ("type", "pod"), ("long", &long)]);
        (0..2).for_each(|metric| int(&mut builder, &format!("m{metric}"), pod));
    }
    // In the batched form a message holds two points.
    let format = Format::BatchJson;
    let config = KafkaConfig { compression: Compression::None, format, ..config(kafka, "small") };
    let ledger = write(&config, builder.build()).await;
    assert_eq!((ledger.written, ledger.dropped_by(DropReason::TooLarge)), (594, 6), "{ledger:?}");
    assert_eq!(kafka.messages("small").len(), 297);
}

async fn a_topic_that_is_missing_is_told_and_waited_for(kafka: &Kafka) {
    let sink = start(&config(kafka, "missing"));
    give(&sink, 0, pods(10));
    told(&sink, "the topic `missing` does not exist, and the brokers do not make it").await;
    kafka.create_topic("missing", 1, &[]).await;
    assert_eq!(at_rest(&sink).await.written, 10);
    assert_eq!(kafka.messages("missing").len(), 10);
}

async fn users_and_certificates_are_shown_and_refusals_told(kafka: &Kafka) {
    kafka.create_topic("secured", 1, &[]).await;
    let at = |listener| KafkaConfig { brokers: kafka.brokers(listener), ..config(kafka, "secured") };
    let sasl = |listener, sasl_mechanism| {
        let (username, password) = (USER.to_owned(), Secret::literal(PASSWORD));
        let tls = matches!(listener, Listener::SaslTls);
        let certificate_authority = tls.then(|| kafka.file("ca.pem"));
        KafkaConfig { username, password, sasl_mechanism, tls, certificate_authority, ..at(listener) }
    };
    let tls = |authority: &str| KafkaConfig {
        tls: true,
        certificate_authority: Some(kafka.file(authority)),
        certificate: Some((kafka.file("client.pem"), kafka.file("client.key"))),
        ..at(Listener::Tls)
    };
    let good = [
        sasl(Listener::Sasl, Mechanism::Plain),
        sasl(Listener::Sasl, Mechanism::ScramSha256),
        sasl(Listener::SaslTls, Mechanism::Plain),
        sasl(Listener::SaslTls, Mechanism::ScramSha512),
        KafkaConfig { certificate_authority: None, insecure_tls: true, ..sasl(Listener::SaslTls, Mechanism::Plain) },
        tls("ca.pem"),
    ];
    let count = good.len();
    for ledger in join_all(good.iter().map(|config| write(config, pods(3)))).await {
        assert_eq!(ledger.written, 3, "{ledger:?}");
    }
    assert_eq!(kafka.messages("secured").len(), 3 * count);

    let wrong = |config: KafkaConfig| KafkaConfig { password: Secret::literal("wrong"), ..config };
    let refused = [
        (wrong(sasl(Listener::Sasl, Mechanism::Plain)), "the broker refuses the user"),
        (wrong(sasl(Listener::SaslTls, Mechanism::ScramSha512)), "the broker refuses the user"),
        (tls("other.pem"), "TLS with the broker fails"),
        // Of the certificate that it misses, a client hears only when the connection is cut.
        (KafkaConfig { certificate: None, ..tls("ca.pem") }, "bad certificate"),
        (at(Listener::Sasl), "no broker answers"),
    ];
    let refused = refused.map(|(config, text)| async move {
        let sink = start(&config);
        give(&sink, 0, pods(5));
        told(&sink, text).await;
        let ledger = sink.ledger();
        assert_eq!((ledger.queued, ledger.written), (5, 0), "nothing is lost: {ledger:?}");
    });
    join_all(refused).await;
}

async fn every_message_is_heapsters_but_for_the_listed_differences(kafka: &Kafka) {
    kafka.create_topic("heapster-metrics", 3, &[]).await;
    let recorded = referee::recorded().unwrap();
    assert_eq!(recorded.count(), 2_619, "the recording is whole");
    let batches = recorded.times.len();
    let cluster = Recorded::start().await.unwrap();
    let process = Process::millrace([
        "run".to_owned(),
        cluster.source(None),
        format!("--sink=kafka:?brokers={}&eventstopic=heapster-events", kafka.servers()),
        "--metric-resolution=10s".to_owned(),
        format!("--cycles={batches}"),
        "--back-to-back".to_owned(),
        "--listen=127.0.0.1:0".to_owned(),
    ]);
    let outcome = tokio::task::spawn_blocking(move || process.wait(DEADLINE)).await.unwrap();
    assert_eq!(outcome.code(), Some(0), "{}", outcome.stderr);
    assert!(outcome.stderr.contains("eventstopic does nothing"), "{}", outcome.stderr);
    let values: Vec<String> = kafka.messages("heapster-metrics").into_iter().map(|message| message.value).collect();
    let ours = referee::parse(&values).unwrap();

    let found: BTreeSet<_> = referee::differences(&recorded, &ours).iter().map(referee::printed).collect();
    let allowed = referee::allowed(batches as u64).unwrap();
    let unexplained: Vec<_> = found.difference(&allowed).collect();
    assert!(unexplained.is_empty(), "differences that no patch allows:\n{unexplained:#?}");
    let unused: Vec<_> = allowed.difference(&found).collect();
    assert!(unused.is_empty(), "patches for differences that are not there:\n{unused:#?}");
}

/// Millrace with a cluster, a cycle a second, writing to a topic and to the log.
async fn router(sim: &Kubesim, kafka: &Kafka, topic: &str) -> Router {
    let config = format!(
        "resolution = '1s'\n[source.kubernetes]\napi-server = '{}'\n[source.kubernetes.kubelet]\nhttps = false\n\
         port = {}\n[[sink]]\ntype = 'log'\n[[sink]]\ntype = 'kafka'\nbrokers = '{}'\ntopic = '{topic}'\n",
        sim.api_url(),
        sim.kubelet_port(),
        kafka.servers(),
    );
    Setup::new(&config).start().await
}

/// Stops it; everything that the log sink printed must be in the topic, once, and the ledger say so.
async fn arrived_once(router: Router, kafka: &Kafka, topic: &str) {
    let outcome: Outcome = router.stop().await;
    assert_eq!(outcome.code(), Some(0), "{}", outcome.stderr);
    let lines = outcome.stderr.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let closed: Vec<Value> = lines.filter(|line| line["message"] == "sink closed" && line["sink"] == "kafka").collect();
    let stored: Vec<String> = kafka.messages(topic).into_iter().map(|message| message.value).collect();
    assert_eq!(closed.len(), 1, "{}", outcome.stderr);
    assert_eq!((&closed[0]["written"], &closed[0]["dropped"]), (&json!(stored.len()), &json!(0)));
    let messages: BTreeSet<&String> = stored.iter().collect();
    assert_eq!(messages.len(), stored.len(), "no message stands twice");
    let printed = millrace_tests::heapster::parse_log(&outcome.stdout).unwrap();
    let points: usize = printed.iter().flatten().map(|(_, set)| set.metrics.len() + set.labelled.len()).sum();
    assert_eq!(points, stored.len(), "as many as the log sink printed");
}

async fn a_broker_that_is_killed_costs_nothing_and_doubles_nothing(kafka: &mut Kafka) {
    kafka.create_topic("killed", 3, &[]).await;
    let sim = Kubesim::builder().size(4, 8, 2).start().await.unwrap();
    let mut router = router(&sim, kafka, "killed").await;
    router.cycle(3).await;
    for _ in 0..2 {
        tokio::task::block_in_place(|| kafka.kill(1));
        router.cycles(2).await;
        let status = router.until("telling of the broker", |status| sink(status)["failing"] == true).await;
        assert!(sink(&status)["last_error"]["message"].as_str().is_some_and(|text| !text.is_empty()), "{status}");
        tokio::task::block_in_place(|| kafka.start_again(1));
        router.until("writing again", |status| sink(status)["failing"] == false).await;
        router.cycles(2).await;
    }
    arrived_once(router, kafka, "killed").await;
}

fn sink(status: &Value) -> &Value {
    let sinks = status["sinks"].as_array().unwrap();
    sinks.iter().find(|sink| sink["sink"] == "kafka").unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn leaders_that_move_between_two_real_brokers_cost_nothing_and_double_nothing() {
    let options = Options { second_broker: true, auto_create: true };
    let Some(mut kafka) = tokio::task::spawn_blocking(move || Kafka::start(&options)).await.unwrap() else {
        return;
    };
    // The brokers make the topic when it is asked for.
    assert_eq!(write(&config(&kafka, "made-by-brokers"), pods(50)).await.written, 50);
    kafka.create_topic("moved", 4, &[("min.insync.replicas", "1")]).await;
    let sim = Kubesim::builder().size(4, 8, 2).start().await.unwrap();
    let mut router = router(&sim, &kafka, "moved").await;
    router.cycle(2).await;
    let led = kafka.leaders("moved");
    assert!(led.contains(&1) && led.contains(&2), "{led:?}");
    // Once as an operator does it, once as a power cut.
    for stop in [Kafka::stop, Kafka::kill] {
        tokio::task::block_in_place(|| stop(&mut kafka, 2));
        router.cycles(3).await;
        let moved = |status: &Value| sink(status)["failing"] == false && kafka.leaders("moved") == [1, 1, 1, 1];
        router.until("writing to the other broker", moved).await;
        tokio::task::block_in_place(|| kafka.start_again(2));
        router.until("writing to both again", |_| kafka.leaders("moved").contains(&2)).await;
        router.cycles(2).await;
    }
    arrived_once(router, &kafka, "moved").await;
}
