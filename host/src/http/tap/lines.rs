//! What was seen, as lines: filtered, within the rate, one JSON object each.

use std::time::Instant;

use bytes::Bytes;
use serde::Serialize;
use serde_json::{Value as Json, json};

use super::rate::Rate;
use crate::batch::changes::{Added, Changes, LabelChange};
use crate::batch::rows::{Detail, Row, RowPoint, path, sorted};
use crate::batch::{Batch, EntityView, Level, Origin, Value};
use crate::glob::fits;
use crate::taps::{Seen, What};
use crate::text::tame;

/// Of an entity's path that a pattern is held against, bytes.
const MAX_PATH: usize = 1024;
/// Of a text in a note, bytes.
const MAX_NOTE: usize = 500;

/// Which rows are wanted.
#[derive(Debug, Default)]
pub(super) struct Filter {
    pub entity: Option<String>,
    pub metric: Option<String>,
}

impl Filter {
    fn entity(&self, path: &str) -> bool {
        self.entity.as_ref().is_none_or(|pattern| fits(pattern, path))
    }

    fn metric(&self, name: &str) -> bool {
        self.metric.as_ref().is_none_or(|pattern| fits(pattern, name))
    }
}

/// One row.
#[derive(Serialize)]
struct Line<'a> {
    cycle: u64,
    /// Whose batch: `node NAME`, or `totals of RULE`.
    of: &'a str,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    shadow: bool,
    /// `-` dropped, `+` added, `~` labels changed; nothing where a whole batch is shown.
    #[serde(skip_serializing_if = "str::is_empty")]
    mark: &'a str,
    entity: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    metric: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<Json>,
    /// What the labels were and what they become; null is no such label.
    #[serde(skip_serializing_if = "Option::is_none")]
    labels: Option<Json>,
    /// All of it in the form of `millrace rule test`.
    row: &'a str,
}

/// Where a row belongs.
struct About<'a> {
    cycle: u64,
    of: &'a str,
    shadow: bool,
}

/// Lines that wait to be sent.
#[derive(Debug)]
pub(super) struct Lines {
    filter: Filter,
    rate: Rate,
    out: Vec<u8>,
    left_out: u64,
    left_out_since: Option<Instant>,
}

impl Lines {
    pub(super) fn new(filter: Filter, rate: Rate) -> Self {
        Self { filter, rate, out: Vec::new(), left_out: 0, left_out_since: None }
    }

    /// What has come together; forgets it.
    pub(super) fn take(&mut self) -> Bytes {
        std::mem::take(&mut self.out).into()
    }

    /// Since when rows over the rate have not been told.
    pub(super) fn left_out(&self) -> Option<Instant> {
        self.left_out_since
    }

    pub(super) fn tell_left_out(&mut self) {
        self.left_out_since = None;
        match std::mem::take(&mut self.left_out) {
            0 => {}
            rows => self.note(&json!({ "left_out": rows })),
        }
    }

    pub(super) fn skipped(&mut self, batches: u64) {
        self.note(&json!({ "skipped": batches }));
    }

    pub(super) fn alive(&mut self) {
        self.note(&json!({ "alive": true }));
    }

    pub(super) fn end(&mut self, why: &str) {
        self.tell_left_out();
        self.note(&json!({ "end": why }));
    }

    pub(super) fn seen(&mut self, seen: &Seen) {
        self.rate.refill(Instant::now());
        let about = |of| About { cycle: seen.cycle.number, of, shadow: seen.shadow };
        match &seen.what {
            What::Batch(batch) => self.batch(&about(&name(&batch.origin)), batch),
            What::Published(published) => self.batch(&about(&name(&published.batch.origin)), &published.batch),
            What::Edit(batch, edit) => self.changes(&about(&name(&batch.origin)), &Changes::new(batch, edit)),
            What::NoAnswer(origin, why) => {
                let (of, why) = (name(origin), tame(why, MAX_NOTE));
                self.note(&json!({ "cycle": seen.cycle.number, "of": of, "no_answer": why }));
            }
        }
    }

    /// All rows of a batch.
    fn batch(&mut self, about: &About<'_>, batch: &Batch) {
        for entity in batch.iter() {
            let Some(path) = self.wanted(entity) else { continue };
            for point in entity.points().filter(|point| self.filter.metric(point.metric())).collect::<Vec<_>>() {
                self.point(about, "", &path, || {
                    let labels = sorted(entity.labels());
                    row(entity.level(), labels, point.metric(), point.labels(), point.value())
                });
            }
        }
    }

    /// What an edit asks for.
    fn changes(&mut self, about: &About<'_>, changes: &Changes<'_>) {
        for (entity, points) in changes.dropped() {
            let Some(path) = self.wanted(entity) else { continue };
            if points.is_empty() && self.filter.metric.is_none() {
                self.point(about, "-", &path, || bare(entity));
            }
            for point in points {
                if self.filter.metric(point.metric()) {
                    let labels = || sorted(entity.labels());
                    let row = || row(entity.level(), labels(), point.metric(), point.labels(), point.value());
                    self.point(about, "-", &path, row);
                }
            }
        }
        // A change of labels is one of all metrics.
        if self.filter.metric.is_none() {
            for (entity, labels) in changes.relabelled() {
                if let Some(path) = self.wanted(entity) {
                    self.relabelled(about, &path, entity, &labels);
                }
            }
        }
        for added in changes.added() {
            self.added(about, &added);
        }
    }

    fn relabelled(&mut self, about: &About<'_>, path: &str, entity: EntityView<'_>, labels: &[LabelChange<'_>]) {
        if !self.through() {
            return;
        }
        let text = |value: &Option<&str>| value.map_or_else(|| "(none)".to_owned(), quoted);
        let told: Vec<_> =
            labels.iter().map(|(name, was, is)| format!("{}: {} → {}", quoted(name), text(was), text(is))).collect();
        let row = format!("{} {}", bare(entity).text(Detail::default()), told.join(", "));
        let labels = labels.iter().map(|(name, was, is)| ((*name).to_owned(), json!([was, is]))).collect();
        self.line(&Line { mark: "~", labels: Some(Json::Object(labels)), ..line(about, path, &row) });
    }

    fn added(&mut self, about: &About<'_>, added: &Added<'_>) {
        let label = |name: &str| added.labels.iter().find(|(other, _)| *other == name).map(|(_, value)| *value);
        let labels = || sorted(added.labels.iter().copied());
        let empty = || Row { level: added.level, labels: labels(), started_at: None, point: None };
        let path = path(added.level, label).unwrap_or_else(|| empty().path());
        if !self.filter.entity(cut(&path)) {
            return;
        }
        if added.points.is_empty() && self.filter.metric.is_none() {
            self.point(about, "+", &path, empty);
        }
        for point in added.points.iter().filter(|point| self.filter.metric(point.metric)).collect::<Vec<_>>() {
            let own = || point.labels.iter().copied();
            self.point(about, "+", &path, || row(added.level, labels(), point.metric, own(), point.value));
        }
    }

    /// The path of an entity that the filter lets through.
    fn wanted(&self, entity: EntityView<'_>) -> Option<String> {
        let path = path(entity.level(), |name| entity.label(name)).unwrap_or_else(|| bare(entity).path());
        self.filter.entity(cut(&path)).then_some(path)
    }

    /// One row, if the rate allows; only then is it made.
    fn point(&mut self, about: &About<'_>, mark: &str, path: &str, make: impl FnOnce() -> Row) {
        if !self.through() {
            return;
        }
        let row = make();
        let text = row.text(Detail::default());
        let point = row.point.as_ref();
        let value = point.map(|point| match point.value {
            Value::Int(value) => Json::from(value),
            Value::Float(value) => Json::from(value),
        });
        let metric = point.map(|point| point.metric.as_str());
        self.line(&Line { mark, metric, value, ..line(about, path, &text) });
    }

    fn through(&mut self) -> bool {
        let through = self.rate.take();
        if through {
            if self.left_out > 0 {
                self.tell_left_out();
            }
        } else {
            self.left_out += 1;
            self.left_out_since.get_or_insert_with(Instant::now);
        }
        through
    }

    fn line(&mut self, line: &Line<'_>) {
        // Writing to memory can't fail, and a line is always JSON.
        let _ = serde_json::to_writer(&mut self.out, line);
        self.out.push(b'\n');
    }

    fn note(&mut self, note: &Json) {
        let _ = serde_json::to_writer(&mut self.out, note);
        self.out.push(b'\n');
    }
}

fn line<'a>(about: &'a About<'a>, entity: &'a str, row: &'a str) -> Line<'a> {
    let About { cycle, of, shadow } = *about;
    Line { cycle, of, shadow, mark: "", entity, metric: None, value: None, labels: None, row }
}

fn name(origin: &Origin) -> String {
    match origin {
        Origin::Node(name) => format!("node {}", tame(name, MAX_NOTE)),
        Origin::Totals(rule) => format!("totals of {}", tame(rule, MAX_NOTE)),
    }
}

/// An entity without a point.
fn bare(entity: EntityView<'_>) -> Row {
    Row { level: entity.level(), labels: sorted(entity.labels()), started_at: None, point: None }
}

fn row<'a>(
    level: Level,
    labels: Vec<(String, String)>,
    metric: &str,
    own: impl Iterator<Item = (&'a str, &'a str)>,
    value: Value,
) -> Row {
    let point = RowPoint { metric: metric.to_owned(), labels: sorted(own), value, at_ms: None };
    Row { level, labels, started_at: None, point: Some(point) }
}

/// As rows quote it: what could be read otherwise stands in quotes.
fn quoted(text: &str) -> String {
    let plain = |c: char| !matches!(c, ',' | ':' | '"' | '→') && !c.is_control();
    let is_plain = !text.is_empty() && text.trim() == text && text != "(none)" && text.chars().all(plain);
    if is_plain { text.to_owned() } else { serde_json::to_string(text).unwrap_or_default() }
}

fn cut(path: &str) -> &str {
    &path[..path.floor_char_boundary(MAX_PATH)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::rows::{Descriptors, build, parse};
    use crate::batch::{Cycle, Edit};

    const ROWS: &str = "node {nodename=n} m = 1\npod {namespace_name=shop,nodename=n,pod_name=web} m = 2\n\
        pod {namespace_name=shop,nodename=n,pod_name=web} x{disk=a} = 2.5\n\
        container {container_name=app,namespace_name=shop,nodename=n,pod_name=web} m = 3\ncluster {type=cluster} m = 4";

    fn batch() -> Batch {
        build(&parse(ROWS, &Descriptors::new()).unwrap(), Origin::Node("n".into()), 0, &Descriptors::new()).unwrap()
    }

    fn lines(entity: Option<&str>, metric: Option<&str>, rate: u32, what: What) -> Vec<Json> {
        let filter = Filter { entity: entity.map(str::to_owned), metric: metric.map(str::to_owned) };
        let mut lines = Lines::new(filter, Rate::new(rate));
        let cycle = Cycle { number: 7, time: 0, window: 0, nodes_asked: 1, nodes_answered: 1 };
        lines.seen(&Seen { cycle, shadow: false, what });
        lines.tell_left_out();
        let text = String::from_utf8(lines.take().to_vec()).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    fn rows(lines: &[Json]) -> Vec<&str> {
        lines.iter().filter_map(|line| line["row"].as_str()).collect()
    }

    #[test]
    fn a_batch_s_rows_are_those_that_the_tests_of_rules_have() {
        let all = lines(None, None, 100, What::Batch(Box::new(batch())));
        assert_eq!(rows(&all), ROWS.lines().map(str::trim).collect::<Vec<_>>());
        let want = json!({"cycle": 7, "of": "node n", "entity": "shop/web", "metric": "x", "value": 2.5,
            "row": "pod {namespace_name=shop,nodename=n,pod_name=web} x{disk=a} = 2.5"});
        assert_eq!(all[2], want);
    }

    #[test]
    fn patterns_choose_entities_by_path_and_metrics_by_name() {
        for (entity, metric, want) in [
            (Some("shop/*"), None, vec![1, 2, 3]),
            (Some("shop/web"), Some("m"), vec![1]),
            (Some("*/app"), None, vec![3]),
            (None, Some("?"), vec![0, 1, 2, 3, 4]),
            (Some("cluster*"), None, vec![4]),
            (Some("n"), None, vec![0]),
        ] {
            let got = lines(entity, metric, 100, What::Batch(Box::new(batch())));
            let all: Vec<&str> = ROWS.lines().map(str::trim).collect();
            assert_eq!(rows(&got), want.iter().map(|&at: &usize| all[at]).collect::<Vec<_>>(), "{entity:?} {metric:?}");
        }
    }

    #[test]
    fn what_is_over_the_rate_is_counted_after_the_filter() {
        let got = lines(None, None, 2, What::Batch(Box::new(batch())));
        assert_eq!((rows(&got).len(), &got[2]), (2, &json!({"left_out": 3})));
        let got = lines(Some("cluster*"), None, 2, What::Batch(Box::new(batch())));
        assert_eq!((rows(&got).len(), got.len()), (1, 1));
    }

    #[test]
    fn changes_have_a_mark_each() {
        let batch = batch();
        let id = |text: &str| batch.symbols.find(text).unwrap();
        let mut edit = Edit {
            keep_entities: vec![1, 1, 0, 1],
            keep_points: vec![1, 1, 0, 1, 1],
            relabel_entity: vec![1, 1],
            relabel_name: vec![id("pod_name"), id("type")],
            relabel_value: vec![id("n"), id("shop")],
            added_entity: vec![1],
            ..Edit::default()
        };
        edit.added.push(0, 0, 0, 9);
        let what = || What::Edit(Box::new(batch.clone()), Box::new(edit.clone()));
        let got = lines(None, None, 100, what());
        let marked: Vec<String> = got
            .iter()
            .map(|line| format!("{} {}", line["mark"].as_str().unwrap(), line["row"].as_str().unwrap()))
            .collect();
        assert_eq!(
            marked,
            [
                "- pod {namespace_name=shop,nodename=n,pod_name=web} x{disk=a} = 2.5",
                "- container {container_name=app,namespace_name=shop,nodename=n,pod_name=web} m = 3",
                "~ pod {namespace_name=shop,nodename=n,pod_name=web} pod_name: web → n, type: (none) → shop",
                "+ pod {namespace_name=shop,nodename=n,pod_name=n,type=shop} m = 9",
            ]
        );
        assert_eq!(got[2]["labels"], json!({"pod_name": ["web", "n"], "type": [null, "shop"]}));
        let got = lines(None, Some("m"), 100, what());
        assert_eq!(got.iter().map(|line| line["mark"].as_str().unwrap()).collect::<String>(), "-+");
    }

    #[test]
    fn no_text_from_outside_forges_a_change() {
        for (text, want) in
            [("a", "a"), ("", "\"\""), ("a → b", "\"a → b\""), ("x\ny", "\"x\\ny\""), ("(none)", "\"(none)\"")]
        {
            assert_eq!(quoted(text), want);
        }
        let got = lines(None, None, 1, What::NoAnswer(Origin::Totals("x".into()), "why\nnot".into()));
        assert_eq!(got, [json!({"cycle": 7, "of": "totals of x", "no_answer": "why\\nnot"})]);
    }
}
