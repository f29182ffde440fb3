//! TOML and URIs, and that both say the same.

use super::*;

fn toml(text: &str) -> Result<(KafkaConfig, Vec<String>), String> {
    let (outside, problems) = (Outside::nothing(), Problems::default());
    let config = from_toml(Fields::toml(text.parse().unwrap(), "sink[0]", &outside, &problems));
    let warnings = problems.into_warnings().map_err(|refused| refused.errors.join("|"))?;
    Ok((config.unwrap(), warnings))
}

fn uri(text: &str) -> Result<(KafkaConfig, Vec<String>), String> {
    let (outside, problems) = (Outside::nothing(), Problems::default());
    let config = Uri::parse("sink", text, &outside, &problems).and_then(|uri| from_uri(&uri, &outside, &problems));
    let warnings = problems.into_warnings().map_err(|refused| refused.errors.join("|"))?;
    Ok((config.unwrap(), warnings))
}

#[test]
fn heapsters_defaults_hold_but_for_compression_and_keys() {
    let (config, warnings) = uri("kafka:?brokers=a:9092&brokers=b:9093").unwrap();
    assert_eq!(config, KafkaConfig::at(vec!["a:9092".to_owned(), "b:9093".to_owned()]));
    assert_eq!((config.topic.as_str(), config.format), ("heapster-metrics", Format::HeapsterJson));
    assert_eq!((config.compression, config.message_key), (Compression::Lz4, MessageKey::Entity));
    assert!(!config.tls && warnings.is_empty());
}

#[test]
fn every_option_means_what_its_toml_key_means() {
    for (options, keys) in [
        ("brokers=a:1&timeseriestopic=t&compression=gzip", "brokers='a:1'\ntopic='t'\ncompression='gzip'"),
        (
            "brokers=a:1,b:2&user=me&password=pw&cacert=/ca.pem",
            "brokers=['a:1', 'b:2']\nusername='me'\npassword='pw'\ncertificate-authority='/ca.pem'",
        ),
        (
            "brokers=a:1&cert=/c.pem&key=/k.pem&insecuressl=true",
            "brokers=['a:1']\ncertificate='/c.pem'\ncertificate-key='/k.pem'\ninsecure-tls=true",
        ),
        (
            "brokers=a:1&format=batch-json&message-key=none&partitioner=random&client-id=c&concurrency=4",
            "brokers=['a:1']\nformat='batch-json'\nmessage-key='none'\npartitioner='random'\nclient-id='c'\n\
             concurrency=4",
        ),
        (
            "brokers=a:1&tls=true&user=u&password=p&sasl-mechanism=SCRAM-SHA-512&max-message=2MiB&queue=128MiB",
            "brokers=['a:1']\ntls=true\nusername='u'\npassword='p'\nsasl-mechanism='SCRAM-SHA-512'\n\
             max-message='2MiB'\nqueue='128MiB'",
        ),
    ] {
        let (from_uri, _) = uri(&format!("kafka:?{options}")).unwrap();
        assert_eq!(from_uri, toml(keys).unwrap().0, "{options}");
        assert_eq!(toml(&from_uri.to_toml().to_string()).unwrap().0, from_uri, "{options} again");
    }
    assert!(toml("brokers='a:1'\ncertificate-authority='/ca.pem'").unwrap().0.tls);
}

#[test]
fn what_cannot_work_is_refused_with_the_remedy() {
    for (keys, want) in [
        ("topic='t'", "`sink[0].brokers` is missing; write it as \"kafka-0.kafka:9092\", one or more of them"),
        ("brokers='kafka'", "`sink[0].brokers` is `kafka`; write each as host:port"),
        ("brokers=['a:1', 'http://b:2']", "`sink[0].brokers` is `http://b:2`; write each as host:port"),
        (
            "brokers='a:1'\ntopic='a b'",
            "`sink[0].topic` is `a b`; use at most 249 letters, digits, dots, underscores and hyphens, as Kafka does",
        ),
        ("brokers='a:1'\nusername='u'", "`sink[0].username` needs `sink[0].password` beside it"),
        ("brokers='a:1'\nsasl-mechanism='PLAIN'", "`sink[0].sasl-mechanism` needs `sink[0].username` beside it"),
        ("brokers='a:1'\ncertificate='c'", "`sink[0].certificate` needs `sink[0].certificate-key` beside it"),
        (
            "brokers='a:1'\ntls=false\ncertificate-authority='c'",
            "`sink[0].tls` is false, and yet there are certificates; leave it or them out",
        ),
        (
            "brokers='a:1'\ninsecure-tls=true\ncertificate-authority='c'",
            "`sink[0].insecure-tls` and `sink[0].certificate-authority` contradict each other; leave one out",
        ),
        ("brokers='a:1'\nqueue='4MiB'", "`sink[0].queue` is `4MiB`; use at least 8 times sink[0].max-message (1MB)"),
        (
            "brokers='a:1'\ncompression='lzma'",
            "`sink[0].compression` is `lzma`; use \"none\" or \"gzip\" or \"snappy\" or \"lz4\" or \"zstd\"",
        ),
    ] {
        assert_eq!(toml(keys).map(|_| ()).unwrap_err(), want, "{keys}");
    }
}

#[test]
fn what_heapster_let_pass_is_told() {
    for (options, want) in [
        ("kafka:?brokers=a:1&eventstopic=e", "eventstopic does nothing"),
        ("kafka:http://a:1?brokers=a:1", "it is ignored, as in Heapster"),
        ("kafka:?brokers=a:1&insecuressl=true", "does nothing without TLS"),
        ("kafka:?brokers=a:1&user=u&password=p", "is sent in the clear"),
    ] {
        let (_, warnings) = uri(options).unwrap();
        assert!(warnings.len() == 1 && warnings[0].contains(want), "{options}: {warnings:?}");
    }
}
