//! The sink with librdkafka's mock cluster, which answers with errors as it is told to.

use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;
use rdkafka::types::{RDKafkaApiKey as Request, RDKafkaRespErr as Answer};
use rdkafka::{ClientConfig, Message as _, Offset, TopicPartitionList};
use tokio::time::Instant;

use super::*;
use crate::sinks::DropReason;

const DEADLINE: Duration = Duration::from_secs(30);
const TOPIC: &str = "heapster-metrics";
const PARTITIONS: i32 = 3;

type Cluster = MockCluster<'static, DefaultProducerContext>;

fn cluster() -> Cluster {
    let cluster = MockCluster::new(2).unwrap();
    cluster.create_topic(TOPIC, PARTITIONS, 2).unwrap();
    cluster
}

fn config(cluster: &Cluster) -> KafkaConfig {
    KafkaConfig::at(cluster.bootstrap_servers().split(',').map(str::to_owned).collect())
}

/// A chunk of messages `0`, `1`, … with these lengths.
fn chunk(sink: &Kafka, lengths: &[usize]) -> Bytes {
    let mut body = Vec::new();
    for (number, length) in lengths.iter().enumerate() {
        let start = records::begin(&mut body, format!("key {number}").as_bytes(), 1_795_252_090_000);
        body.extend_from_slice(format!("{number:length$}").as_bytes());
        assert!(records::end(&mut body, start));
    }
    sink.pack(&mut body)
}

async fn attempt(sink: &Kafka, lengths: &[usize]) -> Result<(), AttemptError> {
    let attempt = sink.attempt(chunk(sink, lengths));
    tokio::time::timeout(DEADLINE, attempt).await.expect("an attempt ends")
}

/// The numbers of all messages in the topic.
fn stored(cluster: &Cluster, wanted: usize) -> Vec<usize> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", cluster.bootstrap_servers())
        .set("group.id", "test")
        .set("enable.partition.eof", "true")
        .create()
        .unwrap();
    let mut partitions = TopicPartitionList::new();
    for partition in 0..PARTITIONS {
        partitions.add_partition_offset(TOPIC, partition, Offset::Beginning).unwrap();
    }
    consumer.assign(&partitions).unwrap();
    let (mut numbers, mut ends, until) = (Vec::new(), 0, Instant::now() + DEADLINE);
    while ends < PARTITIONS {
        assert!(Instant::now() < until, "{} of {wanted} messages are read", numbers.len());
        match consumer.poll(Duration::from_millis(100)) {
            Some(Ok(message)) => {
                let text = String::from_utf8(message.payload().unwrap().to_vec()).unwrap();
                numbers.push(text.trim().parse().unwrap());
            }
            Some(Err(_)) => ends += 1,
            None => {}
        }
    }
    numbers.sort_unstable();
    assert_eq!(numbers.len(), wanted, "{numbers:?}");
    numbers
}

fn sink(config: &KafkaConfig) -> Kafka {
    Kafka::new("kafka", config).unwrap()
}

#[test]
fn everything_is_built_in_and_nothing_is_linked_from_the_system() {
    let config = ClientConfig::new().create_native_config().unwrap();
    let features = config.get("builtin.features").unwrap();
    for feature in ["gzip", "snappy", "ssl", "lz4", "zstd", "sasl_plain", "sasl_scram"] {
        assert!(features.split(',').any(|known| known == feature), "no {feature} in {features}");
    }
}

#[test]
fn chunks_and_librdkafka_share_the_queues_bytes() {
    for (queue, concurrency) in [(64 << 20, 2), (8_000_000, 1), (8_000_000, 16), (1 << 30, 16)] {
        let config = KafkaConfig { queue, concurrency, ..KafkaConfig::at(Vec::new()) };
        let (policy, (chunk, producers)) = (Kafka::policy(&config), budget(&config));
        assert!(policy.queue + producers == queue && producers <= queue / 2, "{queue} {concurrency}: {producers}");
        assert!(chunk.bytes >= 100_000 && chunk.records >= 200, "{chunk:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_chunk_is_dropped() {
    let cluster = cluster();
    let sink = sink(&config(&cluster));
    for body in [Bytes::new(), Bytes::from_static(b"no chunk"), sink.pack(&mut vec![7; 20])] {
        let result = sink.attempt(body).await;
        assert!(matches!(result, Err(AttemptError::Permanent { .. })), "{result:?}");
    }
    let body = chunk(&sink, &[5, 9]);
    assert_eq!(records::parse(&sink.unpack(&body).unwrap()).unwrap().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_that_pass_are_got_over_without_loss_and_without_doubles() {
    let cluster = cluster();
    let sink = sink(&config(&cluster));
    // No lost connection, with which an answer may be lost: unlike a broker the mock does not know again what it has.
    cluster.request_errors(
        Request::Produce,
        &[
            Answer::RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION,
            Answer::RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT,
            Answer::RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS,
        ],
    );
    attempt(&sink, &[10; 500]).await.unwrap();
    assert_eq!(sink.trouble(), None);
    assert_eq!(stored(&cluster, 500), (0..500).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_is_too_large_is_lost_alone() {
    let cluster = cluster();
    let sink = sink(&KafkaConfig { max_message: 10_000, ..config(&cluster) });
    let result = attempt(&sink, &[10, 20_000, 10, 9_000, 10_001]).await;
    let Err(AttemptError::Unfinished { left, lost, .. }) = result else { panic!("{result:?}") };
    assert_eq!((left, lost), (vec![], vec![(1, DropReason::TooLarge), (4, DropReason::TooLarge)]));
    assert_eq!(stored(&cluster, 3), [0, 2, 3]);
    assert_eq!(sink.lanes.most(), usize::MAX, "the others are no smaller for it");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_that_is_too_large_is_sent_again_in_parts() {
    let cluster = cluster();
    let sink = sink(&config(&cluster));
    sink.prepare().await.unwrap();
    cluster.request_errors(Request::Produce, &[Answer::RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE; 4]);
    attempt(&sink, &[1_000; 400]).await.unwrap();
    assert_eq!(stored(&cluster, 400), (0..400).collect::<Vec<_>>());
    let most = sink.lanes.most();
    assert!(most < 400_000);
    attempt(&sink, &[1_000; 4]).await.unwrap();
    assert!(sink.lanes.most() > most, "it was worth a try");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_is_too_large_only_where_nothing_else_was_sent_with_it() {
    for (errors, lost) in [(1, vec![]), (2, vec![(0, DropReason::TooLarge)])] {
        let cluster = cluster();
        let sink = sink(&config(&cluster));
        sink.prepare().await.unwrap();
        // The first answer may be due to another chunk's records in the same batch.
        cluster.request_errors(Request::Produce, &[Answer::RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE; 2][..errors]);
        match attempt(&sink, &[10]).await {
            Ok(()) => assert_eq!(lost, []),
            Err(AttemptError::Unfinished { left, lost: found, .. }) => assert_eq!((left, found), (vec![], lost)),
            other => panic!("{other:?}"),
        }
        stored(&cluster, 2 - errors);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_broker_refuses_for_good_is_named() {
    let cluster = cluster();
    let sink = sink(&config(&cluster));
    sink.prepare().await.unwrap();
    cluster.request_errors(Request::Produce, &[Answer::RD_KAFKA_RESP_ERR_INVALID_RECORD]);
    let result = attempt(&sink, &[10]).await;
    let Err(AttemptError::Unfinished { left, lost, .. }) = result else { panic!("{result:?}") };
    assert_eq!((left, lost), (vec![], vec![(0, DropReason::Rejected)]));
    attempt(&sink, &[10]).await.unwrap();
    assert_eq!(stored(&cluster, 1), [0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_may_not_be_written_waits_for_the_operator() {
    let cluster = cluster();
    let sink = sink(&config(&cluster));
    sink.prepare().await.unwrap();
    cluster.request_errors(Request::Produce, &[Answer::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED; 3]);
    let result = attempt(&sink, &[10; 30]).await;
    match &result {
        Err(AttemptError::Refused { reason }) => assert!(reason.contains("allow Describe and Write"), "{reason}"),
        Err(AttemptError::Unfinished { left, lost, .. }) => assert!(!left.is_empty() && lost.is_empty()),
        other => panic!("{other:?}"),
    }
    // Once the operator has acted it goes on, at the latest when librdkafka asks for the topic again.
    let until = Instant::now() + DEADLINE;
    while attempt(&sink, &[10]).await.is_err() {
        assert!(Instant::now() < until);
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn brokers_that_are_down_are_transient_and_told() {
    let cluster = cluster();
    for broker in [1, 2] {
        cluster.broker_down(broker).unwrap();
    }
    let sink = sink(&config(&cluster));
    let result = attempt(&sink, &[10]).await;
    let Err(AttemptError::Transient { reason, .. }) = result else { panic!("{result:?}") };
    assert!(reason.starts_with("no broker answers: "), "{reason}");
    assert_eq!(sink.trouble(), None, "nothing was handed to librdkafka");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_attempt_that_is_given_up_leaves_nothing_behind_that_comes_later() {
    let cluster = cluster();
    let sink = sink(&config(&cluster));
    attempt(&sink, &[1]).await.unwrap();
    for broker in [1, 2] {
        cluster.broker_down(broker).unwrap();
    }
    let given_up = sink.attempt(chunk(&sink, &[10; 100]));
    assert!(tokio::time::timeout(Duration::from_millis(1500), given_up).await.is_err());
    for broker in [1, 2] {
        cluster.broker_up(broker).unwrap();
    }
    attempt(&sink, &[1]).await.unwrap();
    assert_eq!(stored(&cluster, 2), [0, 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn brokers_that_go_and_come_back_get_everything_once() {
    let cluster = cluster();
    let sink = Arc::new(sink(&config(&cluster)));
    attempt(&sink, &[1]).await.unwrap();
    for broker in [1, 2] {
        cluster.broker_down(broker).unwrap();
    }
    let sender = sink.clone();
    let sending = tokio::spawn(async move { attempt(&sender, &[10; 1_000]).await });
    let until = Instant::now() + DEADLINE;
    while sink.trouble().is_none() {
        assert!(Instant::now() < until, "the trouble is told");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    for broker in [1, 2] {
        cluster.broker_up(broker).unwrap();
    }
    sending.await.unwrap().unwrap();
    assert_eq!(sink.trouble(), None);
    stored(&cluster, 1_001);
}
