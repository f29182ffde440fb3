//! Who uses most: cluster, namespaces, nodes or pods by rank, those of a search, with their last minutes.
//! Pure. One pass over the newest values finds the rank; only those that are shown get names and series.

use serde::{Deserialize, Serialize};

use crate::batch::{Level, Value};
use crate::store::{Batches, EntityRef, Key, Snapshot};

/// How many are shown at a time.
const SHOWN: usize = 20;
/// Longest text that is searched for, bytes: namespace, name and node at their longest fit in, and what the
/// page's field takes in whatever script.
pub(super) const LONGEST_SEARCH: usize = 1200;
/// Most values of a series; a line of 90 pixels shows no more.
const DRAWN: usize = 60;
const CPU: &str = "cpu/usage_rate";
/// Clusters and namespaces have it too, which have no working set.
const MEMORY: &str = "memory/usage";

/// What is listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Listed {
    /// The whole, which is one.
    Cluster,
    /// All namespaces.
    Namespace,
    /// All nodes.
    Node,
    /// All pods.
    Pod,
}

/// What decides the rank.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum By {
    /// Millicores.
    #[default]
    Cpu,
    /// Bytes.
    Memory,
}

/// The query.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Asked {
    level: Listed,
    #[serde(default)]
    by: By,
    /// Part of a name; of a pod it is looked for in `NAMESPACE/POD NODE`.
    #[serde(default)]
    pub search: String,
    /// The first rank that is shown, from 0.
    #[serde(default)]
    from: usize,
}

/// The answer.
#[derive(Debug, Serialize)]
pub(super) struct Ranked {
    cycle: u64,
    /// How many there are with this search.
    total: usize,
    from: usize,
    items: Vec<Item>,
}

/// One of them. Series are pairs of time, s since the epoch, and value; the oldest first.
#[derive(Debug, PartialEq, Serialize)]
struct Item {
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    namespace: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    node: Option<String>,
    cpu: Vec<(i64, f64)>,
    memory: Vec<(i64, f64)>,
}

/// Where one stands in the snapshot, and what it uses; who uses nothing known comes last.
#[derive(Debug, Clone, Copy)]
struct Place {
    used: f64,
    source: usize,
    entity: usize,
}

/// Those that are asked for.
pub(super) fn ranked(snapshot: &Snapshot, asked: &Asked) -> Ranked {
    let mut places = places(snapshot, asked);
    let total = places.len();
    let end = asked.from.saturating_add(SHOWN);
    let order = |a: &Place, b: &Place| b.used.total_cmp(&a.used).then((a.source, a.entity).cmp(&(b.source, b.entity)));
    if end < total {
        places.select_nth_unstable_by(end, order);
        places.truncate(end);
    }
    places.sort_unstable_by(order);
    let shown = places.iter().skip(asked.from);
    let items = shown.filter_map(|place| {
        let batch = snapshot.nth(place.source, 0)?;
        Some(item(snapshot, batch, batch.entity(place.entity)?))
    });
    Ranked { cycle: snapshot.cycle(), total, from: asked.from, items: items.collect() }
}

fn places(snapshot: &Snapshot, asked: &Asked) -> Vec<Place> {
    let metric = match asked.by {
        By::Cpu => CPU,
        By::Memory => MEMORY,
    };
    let search = asked.search.trim().to_ascii_lowercase();
    let (mut found, mut text) = (Vec::new(), String::new());
    for source in 0..snapshot.sources() {
        let Some(batch) = snapshot.nth(source, 0) else { continue };
        let of_node = matches!(asked.listed(), Level::Node | Level::Pod);
        if batch.node().is_some() != of_node {
            continue;
        }
        let values = batch.values();
        for place in 0..batch.entity_places() {
            let Some(entity) = batch.entity(place).filter(|it| it.level() == asked.listed()) else { continue };
            if !search.is_empty() {
                write_text(&mut text, batch, entity);
                if !text.contains(&search) {
                    continue;
                }
            }
            let used = entity.value(metric, &values).map_or(-1.0, number);
            found.push(Place { used, source, entity: place });
        }
    }
    found
}

impl Asked {
    fn listed(&self) -> Level {
        match self.level {
            Listed::Cluster => Level::Cluster,
            Listed::Namespace => Level::Namespace,
            Listed::Node => Level::Node,
            Listed::Pod => Level::Pod,
        }
    }
}

/// What is searched in.
fn write_text(text: &mut String, batch: Batches<'_>, entity: EntityRef<'_>) {
    let label = |name| entity.label(name).unwrap_or_default();
    let node = batch.node().unwrap_or_default();
    text.clear();
    let parts = match entity.level() {
        Level::Pod => [label("namespace_name"), "/", label("pod_name"), " ", node],
        Level::Namespace => [label("namespace_name"), "", "", "", ""],
        _ => [node, "", "", "", ""],
    };
    text.extend(parts);
    text.make_ascii_lowercase();
}

fn item(snapshot: &Snapshot, batch: Batches<'_>, entity: EntityRef<'_>) -> Item {
    let label = |name| entity.label(name).unwrap_or_default();
    let node = batch.node();
    let (name, namespace, key) = match entity.level() {
        Level::Pod => {
            let (namespace, pod) = (label("namespace_name"), label("pod_name"));
            (pod, Some(namespace), Key::Pod(namespace, pod))
        }
        Level::Namespace => (label("namespace_name"), None, Key::Namespace(label("namespace_name"))),
        Level::Node => (node.unwrap_or_default(), None, Key::Node(node.unwrap_or_default())),
        _ => ("cluster", None, Key::Cluster),
    };
    let series = |metric| {
        let found = snapshot.series(key, metric, &[]).into_iter();
        drawn(found.map(|(time, value)| (time / 1_000_000_000, number(value))).collect())
    };
    Item {
        name: name.to_owned(),
        namespace: namespace.map(str::to_owned),
        node: namespace.and(node).map(str::to_owned),
        cpu: series(CPU),
        memory: series(MEMORY),
    }
}

/// Of each stretch the highest value, so that no peak is missing; the newest is as it is.
fn drawn(all: Vec<(i64, f64)>) -> Vec<(i64, f64)> {
    let Some((newest, before)) = all.split_last() else { return all };
    let stretch = before.len().div_ceil(DRAWN - 1);
    if stretch < 2 {
        return all;
    }
    let peaks = before.chunks(stretch).filter_map(|some| some.iter().max_by(|(_, a), (_, b)| a.total_cmp(b)));
    peaks.chain([newest]).copied().collect()
}

fn number(value: Value) -> f64 {
    match value {
        Value::Int(int) => int as f64,
        Value::Float(float) => float,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::batch::{Batch, BatchBuilder, Cycle, Descriptor, Origin};
    use crate::store::{StoreConfig, Writer};

    fn node(name: &str, pods: &[(&str, i64)]) -> Batch {
        let mut builder = BatchBuilder::new(Origin::Node(name.to_owned()), 0);
        let cpu = builder.metric(Descriptor::gauge(CPU, ""));
        for &(pod, used) in pods {
            builder.entity(Level::Pod, 0);
            for (label, value) in [("namespace_name", "default"), ("pod_name", pod)] {
                let (label, value) = (builder.symbol(label), builder.symbol(value));
                builder.label(label, value);
            }
            builder.point(cpu, 0, 0, used.cast_unsigned());
        }
        builder.build()
    }

    fn cluster() -> Arc<Snapshot> {
        let mut writer = Writer::new(&StoreConfig::default());
        let pods: Vec<(String, i64)> = (0..30).map(|at| (format!("web-{at}"), at * 10)).collect();
        let pods: Vec<(&str, i64)> = pods.iter().map(|(name, used)| (name.as_str(), *used)).collect();
        let mut last = None;
        for number in 1..=2 {
            let cycle = Cycle {
                number,
                time: number.cast_signed() * 60_000_000_000,
                window: 60_000_000_000,
                nodes_asked: 2,
                nodes_answered: 2,
            };
            writer.batch(&cycle, &node("n1", &pods));
            writer.batch(&cycle, &node("n2", &[("db", 5), ("<b>", 1000)]));
            last = writer.end(&cycle);
        }
        last.unwrap().0
    }

    fn asked(search: &str, from: usize) -> Asked {
        Asked { level: Listed::Pod, by: By::Cpu, search: search.to_owned(), from }
    }

    #[test]
    fn those_that_use_most_come_first_page_by_page() {
        let snapshot = cluster();
        let names = |from| {
            let ranked = ranked(&snapshot, &asked("", from));
            assert_eq!(ranked.total, 32);
            ranked.items.into_iter().map(|item| item.name).collect::<Vec<_>>()
        };
        let (first, second) = (names(0), names(20));
        assert_eq!((first.len(), &*first[0], &*first[1]), (20, "<b>", "web-29"));
        assert_eq!((second.len(), &*second[0], &*second[11]), (12, "web-10", "web-0"));
        assert!(names(32).is_empty() && names(usize::MAX).is_empty());
    }

    #[test]
    fn a_search_finds_namespace_pod_and_node() {
        let snapshot = cluster();
        for (search, want) in [("WEB-1", 11), ("default/web-29", 1), ("n2", 2), ("web-1 n1", 1), ("nothing", 0)] {
            assert_eq!(ranked(&snapshot, &asked(search, 0)).total, want, "{search}");
        }
        let ranked = ranked(&snapshot, &asked("default/db", 0));
        let want = Item {
            name: "db".to_owned(),
            namespace: Some("default".to_owned()),
            node: Some("n2".to_owned()),
            cpu: vec![(60, 5.0), (120, 5.0)],
            memory: Vec::new(),
        };
        assert_eq!(ranked.items, [want]);
    }

    #[test]
    fn long_series_keep_their_peaks_and_their_end() {
        let flat = |count: i64| (0..count).map(|time| (time, 1.0)).collect::<Vec<_>>();
        assert!(drawn(Vec::new()).is_empty());
        assert_eq!(drawn(flat(60)), flat(60));
        let mut long = flat(900);
        (long[451].1, long[899].1) = (9.0, 2.0);
        let short = drawn(long);
        assert!(short.len() <= DRAWN && short.len() > DRAWN / 2, "{}", short.len());
        assert!(short.contains(&(451, 9.0)) && short.last() == Some(&(899, 2.0)));
        assert!(short.is_sorted_by_key(|(time, _)| *time));
    }
}
