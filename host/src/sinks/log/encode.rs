//! A batch as text: one record an entity, in the style of Heapster's log sink.
//!
//! Made to be read by people, and unambiguous for programs: control characters, backslashes and
//! (in names) equals signs are written as `\u{…}`.

use std::fmt::{self, Write as _};
use std::io::Write as _;

use crate::batch::{Batch, Cycle, EntityView, Level, Origin, PointView, Value};
use crate::sinks::Chunker;

/// Writes every entity of the batch with its labels and values.
pub fn encode(cycle: &Cycle, batch: &Batch, out: &mut Chunker) {
    let header = header(cycle, batch);
    for (at, entity) in batch.iter().enumerate() {
        let points = batch.points_of(entity.row()).len();
        let mut text = String::new();
        if at == 0 {
            text.push_str(&header);
        }
        // Writing to a String does not fail; were it to, the points would count as unencodable.
        if entity_text(&mut text, &entity).is_ok() && out.body().write_all(text.as_bytes()).is_ok() {
            out.end_record(u32::try_from(points).unwrap_or(u32::MAX));
        } else {
            out.discard_record();
        }
    }
}

fn header(cycle: &Cycle, batch: &Batch) -> String {
    let (kind, name) = match &batch.origin {
        Origin::Node(name) => ("node", name),
        Origin::Totals(name) => ("rule", name),
    };
    format!("DataBatch     Timestamp: {} ({kind} {})\n\n", time(cycle.time), Plain(name))
}

fn entity_text(out: &mut String, entity: &EntityView<'_>) -> fmt::Result {
    writeln!(out, "MetricSet: {}", key(entity))?;
    if entity.started_at() != 0 {
        writeln!(out, "   Create time: {}", time(entity.started_at()))?;
    }
    writeln!(out, "   Labels:")?;
    labels(out, 6, entity.labels())?;
    writeln!(out, "   Metrics:")?;
    let mut points: Vec<_> = entity.points().collect();
    points.sort_by_key(PointView::metric);
    for point in points.iter().filter(|point| !point.is_labelled()) {
        value(out, point)?;
    }
    writeln!(out, "   Labeled Metrics:")?;
    for point in points.iter().filter(|point| point.is_labelled()) {
        value(out, point)?;
        labels(out, 9, point.labels())?;
    }
    writeln!(out)
}

fn labels<'a>(out: &mut String, indent: usize, labels: impl Iterator<Item = (&'a str, &'a str)>) -> fmt::Result {
    let mut labels: Vec<_> = labels.collect();
    labels.sort_unstable();
    for (name, value) in labels {
        writeln!(out, "{:indent$}{} = {}", "", Name(name), Plain(value))?;
    }
    Ok(())
}

fn value(out: &mut String, point: &PointView<'_>) -> fmt::Result {
    let name = Name(point.metric());
    match point.value() {
        Value::Int(value) => writeln!(out, "      {name} = {value}"),
        Value::Float(value) => writeln!(out, "      {name} = {value:.6}"),
    }
}

/// Heapster's key of a metric set, by the label `type` or else by the level.
pub(crate) fn key(entity: &EntityView<'_>) -> String {
    let label = |name| Plain(entity.label(name).unwrap_or_default());
    let level = match entity.label("type") {
        Some("cluster") => Level::Cluster,
        Some("node") => Level::Node,
        Some("sys_container") => Level::SystemContainer,
        Some("ns") => Level::Namespace,
        Some("pod") => Level::Pod,
        Some("pod_container") => Level::Container,
        _ => entity.level(),
    };
    let (node, namespace) = (label("nodename"), label("namespace_name"));
    let (pod, container) = (label("pod_name"), label("container_name"));
    match level {
        Level::Cluster => "cluster".to_owned(),
        Level::Node => format!("node:{node}"),
        Level::SystemContainer => format!("node:{node}/container:{container}"),
        Level::Namespace => format!("namespace:{namespace}"),
        Level::Pod => format!("namespace:{namespace}/pod:{pod}"),
        Level::Container => format!("namespace:{namespace}/pod:{pod}/container:{container}"),
        Level::Other => {
            let mut labels: Vec<_> = entity.labels().collect();
            labels.sort_unstable();
            let pairs = labels.iter().map(|(name, value)| format!("{}={}", Name(name), Plain(value)));
            format!("other:{}", pairs.collect::<Vec<_>>().join(","))
        }
    }
}

/// RFC 3339; the bare number where no calendar has the time.
fn time(nanoseconds: i64) -> String {
    jiff::Timestamp::from_nanosecond(i128::from(nanoseconds))
        .map_or_else(|_| nanoseconds.to_string(), |time| time.to_string())
}

/// A text on one line.
struct Plain<'a>(&'a str);

/// The same where an equals sign follows.
struct Name<'a>(&'a str);

impl fmt::Display for Plain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        escape(f, self.0, false)
    }
}

impl fmt::Display for Name<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        escape(f, self.0, true)
    }
}

fn escape(f: &mut fmt::Formatter<'_>, text: &str, name: bool) -> fmt::Result {
    for character in text.chars() {
        let separates = matches!(character, '\u{2028}' | '\u{2029}');
        if character.is_control() || separates || character == '\\' || (name && character == '=') {
            write!(f, "{}", character.escape_unicode())?;
        } else {
            f.write_char(character)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::{BatchBuilder, Descriptor};
    use crate::sinks::chunk::Limits;

    const CYCLE: Cycle =
        Cycle { number: 1, time: 1_795_252_090_000_000_000, window: 60_000_000_000, nodes_asked: 1, nodes_answered: 1 };

    fn text(builder: BatchBuilder) -> String {
        let mut out = Chunker::new(Limits { records: 100, bytes: 1 << 20 });
        let batch = builder.build();
        out.begin(Limits { records: 100, bytes: 1 << 20 });
        encode(&CYCLE, &batch, &mut out);
        assert_eq!(out.end(batch.points.len() as u64).total(), 0);
        String::from_utf8(out.body().clone()).unwrap()
    }

    fn label(builder: &mut BatchBuilder, name: &str, value: &str) {
        let (name, value) = (builder.symbol(name), builder.symbol(value));
        builder.label(name, value);
    }

    #[test]
    fn a_set_looks_like_heapsters() {
        let mut builder = BatchBuilder::new(Origin::Node("node-a".to_owned()), 0);
        builder.entity(Level::Pod, 1_709_290_600_000_000_000);
        label(&mut builder, "type", "pod");
        label(&mut builder, "pod_name", "web\n1");
        label(&mut builder, "namespace_name", "default");
        let rate = builder.metric(Descriptor::gauge("network/rx_rate", "").float());
        let usage = builder.metric(Descriptor::gauge("cpu/usage_rate", ""));
        let disk = builder.metric(Descriptor::gauge("filesystem/usage", "bytes"));
        let (name, value) = (builder.symbol("resource_id"), builder.symbol("C:\\"));
        let set = builder.label_set(&[(name, value)]);
        builder.point(rate, 0, 0, 0.1_f64.to_bits());
        builder.point(disk, set, 0, 7);
        builder.point(usage, 0, 0, (-5_i64).cast_unsigned());
        let want = [
            "DataBatch     Timestamp: 2026-11-21T09:08:10Z (node node-a)",
            "",
            "MetricSet: namespace:default/pod:web\\u{a}1",
            "   Create time: 2024-03-01T10:56:40Z",
            "   Labels:",
            "      namespace_name = default",
            "      pod_name = web\\u{a}1",
            "      type = pod",
            "   Metrics:",
            "      cpu/usage_rate = -5",
            "      network/rx_rate = 0.100000",
            "   Labeled Metrics:",
            "      filesystem/usage = 7",
            "         resource_id = C:\\u{5c}",
            "\n",
        ];
        assert_eq!(text(builder), want.join("\n"));
    }

    #[test]
    fn keys_follow_the_type_and_else_the_level() {
        for (level, labels, want) in [
            (Level::Node, vec![("nodename", "n")], "node:n"),
            (
                Level::SystemContainer,
                vec![("nodename", "n"), ("container_name", "kubelet")],
                "node:n/container:kubelet",
            ),
            (Level::Other, vec![("type", "ns"), ("namespace_name", "x")], "namespace:x"),
            (Level::Cluster, vec![], "cluster"),
            (Level::Other, vec![("b", "2"), ("a", "1")], "other:a=1,b=2"),
        ] {
            let mut builder = BatchBuilder::new(Origin::Totals("rule".to_owned()), 0);
            builder.entity(level, 0);
            for (name, value) in labels {
                label(&mut builder, name, value);
            }
            let text = text(builder);
            assert!(text.contains(&format!("MetricSet: {want}\n   Labels:")), "{want}: {text}");
        }
    }
}
