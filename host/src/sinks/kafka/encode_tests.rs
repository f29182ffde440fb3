//! Messages that batches become.

use super::*;
use crate::batch::{BatchBuilder, Descriptor, Level, Origin};
use crate::sinks::chunk::Limits;
use crate::sinks::ledger::Dropped;

const CYCLE: Cycle =
    Cycle { number: 1, time: 1_795_252_090_000_000_000, window: 60_000_000_000, nodes_asked: 1, nodes_answered: 1 };
const LIMITS: Limits = Limits { records: usize::MAX, bytes: u32::MAX as usize };

/// Keys and values, and what was dropped.
fn encoded(format: Format, message_key: MessageKey, batch: &Batch) -> (Vec<(String, String)>, Dropped) {
    let config = KafkaConfig { format, message_key, ..KafkaConfig::at(Vec::new()) };
    let mut out = Chunker::new(LIMITS);
    out.begin(LIMITS);
    encode(Schema::new(&config), &CYCLE, batch, &mut out);
    let dropped = out.end(batch.points.len() as u64);
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let records = records::parse(out.body()).unwrap();
    assert!(records.iter().all(|record| record.time_ms == 1_795_252_090_000));
    (records.iter().map(|record| (record.key.map(text).unwrap_or_default(), text(record.value))).collect(), dropped)
}

fn pod() -> Batch {
    let mut builder = BatchBuilder::new(Origin::Node("n".to_owned()), 0);
    builder.entity(Level::Pod, 0);
    for (name, value) in
        [("type", "pod"), ("pod_name", "web-1"), ("namespace_name", "default"), ("host_id", ""), ("labels", "a:<b>")]
    {
        let (name, value) = (builder.symbol(name), builder.symbol(value));
        builder.label(name, value);
    }
    let usage = builder.metric(Descriptor::cumulative("cpu/usage", "ns"));
    let rate = builder.metric(Descriptor::gauge("network/rx_rate", "").float());
    let disk = builder.metric(Descriptor::gauge("filesystem/usage", "bytes"));
    let set = [("resource_id", "/"), ("type", "fs")].map(|(name, value)| (builder.symbol(name), builder.symbol(value)));
    let set = builder.label_set(&set);
    builder.point(usage, 0, 0, 9_007_199_254_740_993);
    builder.point(disk, set, 0, (-1_i64).cast_unsigned());
    builder.point(rate, 0, 0, 0.1_f64.to_bits());
    builder.point(rate, set, 0, f64::NAN.to_bits());
    builder.entity(Level::Node, 0);
    builder.build()
}

#[test]
fn heapsters_form_is_a_message_a_value() {
    let (messages, dropped) = encoded(Format::HeapsterJson, MessageKey::Entity, &pod());
    let key = "namespace:default/pod:web-1";
    let message = |name: &str, value: &str, more: &str, kind: &str| {
        let text = format!(
            r#"{{"MetricsName":"{name}","MetricsValue":{{"value":{value}}},"MetricsTimestamp":"2026-11-21T09:08:10Z","MetricsTags":{{"host_id":"","labels":"a:\u003cb\u003e","namespace_name":"default","pod_name":"web-1"{more},"type":"{kind}"}}}}"#
        );
        (key.to_owned(), text)
    };
    let want = [
        message("cpu/usage", "9007199254740993", "", "pod"),
        message("filesystem/usage", "-1", r#","resource_id":"/""#, "fs"),
        message("network/rx_rate", "0.1", "", "pod"),
    ];
    assert_eq!(messages, want);
    assert_eq!((dropped.total(), dropped.of(crate::sinks::DropReason::Unencodable)), (1, 1));
    let (messages, _) = encoded(Format::HeapsterJson, MessageKey::None, &pod());
    assert!(messages.iter().all(|(key, _)| key.is_empty()));
}

#[test]
fn the_batched_form_is_a_message_an_entity() {
    let (messages, dropped) = encoded(Format::BatchJson, MessageKey::Entity, &pod());
    assert_eq!((messages.len(), dropped.total()), (1, 1));
    let (key, text) = &messages[0];
    assert_eq!(key, "namespace:default/pod:web-1");
    let value: serde_json::Value = serde_json::from_str(text).unwrap();
    let want = serde_json::json!({
        "version": 1,
        "timestamp": "2026-11-21T09:08:10Z",
        "entity": "namespace:default/pod:web-1",
        "level": "pod",
        "labels": {"host_id": "", "labels": "a:<b>", "namespace_name": "default", "pod_name": "web-1", "type": "pod"},
        "metrics": [
            {"name": "cpu/usage", "kind": "cumulative", "unit": "ns", "value": 9_007_199_254_740_993_u64},
            {"name": "filesystem/usage", "kind": "gauge", "unit": "bytes", "value": -1,
             "labels": {"resource_id": "/", "type": "fs"}},
            {"name": "network/rx_rate", "kind": "gauge", "value": 0.1},
        ],
    });
    assert_eq!(value, want);
}
