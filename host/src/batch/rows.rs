//! Batches as rows of text, for people: `level {label=value,…} metric{label=value} = value`.
//!
//! The same form as the SDK's test harness prints. A name or value with a comma, a brace, a quote, a
//! control character or a blank at its end stands in quotes, as a JSON string; and so does a label's
//! name with `=`. Two things may follow where somebody asks for
//! them: a start time as a label `@started=2026-01-01T00:00:00Z`, and ` @ -500ms`, when the point
//! was measured relative to the cycle's time. No I/O.

mod parse;

use std::fmt::Write as _;

use super::columns::Batch;
use super::types::Level;
use super::view::Value;

pub use parse::{Descriptors, OwnedDescriptor, RowError, build, parse};

/// One point with all that is said of it. Labels are sorted by name.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// Of the entity.
    pub level: Level,
    /// Of the entity.
    pub labels: Vec<(String, String)>,
    /// Of the entity, ns since the epoch; `None` where nothing is said or known.
    pub started_at: Option<i64>,
    /// The point; `None` for an entity without one.
    pub point: Option<RowPoint>,
}

/// A row's point.
#[derive(Debug, Clone, PartialEq)]
pub struct RowPoint {
    /// The metric's name.
    pub metric: String,
    /// The point's own labels, sorted by name.
    pub labels: Vec<(String, String)>,
    /// Its value.
    pub value: Value,
    /// When it was measured, ms relative to the cycle's time; `None` where nothing is said or known.
    pub at_ms: Option<i64>,
}

/// What a row says beside the value.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Detail {
    /// Start times.
    pub started: bool,
    /// Times of measurement.
    pub at: bool,
}

/// The word of a level.
#[must_use]
pub fn level_word(level: Level) -> &'static str {
    match level {
        Level::Cluster => "cluster",
        Level::Node => "node",
        Level::Namespace => "namespace",
        Level::Pod => "pod",
        Level::Container => "container",
        Level::SystemContainer => "system-container",
        Level::Other => "other",
    }
}

/// The rows of a batch in its order; `time` is the cycle's, ns since the epoch. Entities without
/// points have none.
#[must_use]
pub fn rows(batch: &Batch, time: i64) -> Vec<Row> {
    let mut rows = Vec::with_capacity(batch.points.len());
    for entity in batch.iter() {
        let labels = sorted(entity.labels());
        for point in entity.points() {
            let at_ms = point.measured_at().map(|at| at.saturating_sub(time).div_euclid(1_000_000));
            rows.push(Row {
                level: entity.level(),
                labels: labels.clone(),
                started_at: Some(entity.started_at()).filter(|&at| at != 0),
                point: Some(RowPoint {
                    metric: point.metric().to_owned(),
                    labels: sorted(point.labels()),
                    value: point.value(),
                    at_ms,
                }),
            });
        }
    }
    rows
}

/// Labels that name an entity to a person, from the outside in.
const NAMES: [&str; 4] = ["nodename", "namespace_name", "pod_name", "container_name"];

/// An entity's name among those of its level: `shop/web-1/app` of a container, `node-1/kubelet` of a
/// system container. `None` for one that has none of the labels that name things.
#[must_use]
pub fn path<'a>(level: Level, label: impl Fn(&str) -> Option<&'a str>) -> Option<String> {
    // A pod's node says nothing more, and its batch says it already.
    let skipped = usize::from(matches!(level, Level::Pod | Level::Container));
    let parts: Vec<&str> = NAMES.iter().skip(skipped).filter_map(|name| label(name)).collect();
    (level != Level::Other && !parts.is_empty()).then(|| parts.join("/"))
}

/// Labels as rows have them.
#[must_use]
pub fn sorted<'a>(labels: impl Iterator<Item = (&'a str, &'a str)>) -> Vec<(String, String)> {
    let mut labels: Vec<_> = labels.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    labels.sort_unstable();
    labels
}

impl Row {
    /// Whether `got` is what this row wants: times count only where this row names them.
    #[must_use]
    pub fn wants(&self, got: &Self) -> bool {
        let time = |wanted: Option<i64>, got: Option<i64>| wanted.is_none() || wanted == got;
        let point = match (&self.point, &got.point) {
            (Some(wanted), Some(got)) => {
                wanted.metric == got.metric
                    && wanted.labels == got.labels
                    && wanted.value == got.value
                    && time(wanted.at_ms, got.at_ms)
            }
            (wanted, got) => wanted.is_none() && got.is_none(),
        };
        point && self.level == got.level && self.labels == got.labels && time(self.started_at, got.started_at)
    }

    /// The name of its entity; see [`path`]. Without one, its level and its labels.
    #[must_use]
    pub fn path(&self) -> String {
        let label = |name: &str| self.labels.iter().find(|(label, _)| label == name).map(|(_, value)| value.as_str());
        path(self.level, label).unwrap_or_else(|| self.head(Detail::default()))
    }

    /// The row without its value and times: what says which series it is.
    #[must_use]
    pub fn series(&self) -> String {
        let mut out = self.head(Detail::default());
        if let Some(point) = &self.point {
            out.push(' ');
            point.write_name(&mut out);
        }
        out
    }

    /// The row as text.
    #[must_use]
    pub fn text(&self, detail: Detail) -> String {
        let mut out = self.head(detail);
        if let Some(point) = &self.point {
            out.push(' ');
            point.write_name(&mut out);
            // Writing to a string can't fail.
            let _ = match point.value {
                Value::Int(value) => write!(out, " = {value}"),
                Value::Float(value) => write!(out, " = {value:?}"),
            };
            if let (true, Some(at)) = (detail.at, point.at_ms) {
                let _ = write!(out, " @ {at}ms");
            }
        }
        out
    }

    fn head(&self, detail: Detail) -> String {
        let mut out = format!("{} {{", level_word(self.level));
        let mut first = true;
        if let (true, Some(started)) = (detail.started, self.started_at) {
            let _ = write!(out, "@started={}", rfc3339(started));
            first = false;
        }
        write_labels(&mut out, &self.labels, first);
        out.push('}');
        out
    }
}

impl RowPoint {
    fn write_name(&self, out: &mut String) {
        if self.metric.contains(" = ") {
            quote(out, &self.metric);
        } else {
            write_text(out, &self.metric);
        }
        if !self.labels.is_empty() {
            out.push('{');
            write_labels(out, &self.labels, true);
            out.push('}');
        }
    }
}

fn write_labels(out: &mut String, labels: &[(String, String)], mut first: bool) {
    for (name, value) in labels {
        if !std::mem::take(&mut first) {
            out.push(',');
        }
        // A name ends at the first `=`, and `@started` is none.
        if name.contains('=') || name.starts_with('@') {
            quote(out, name);
        } else {
            write_text(out, name);
        }
        out.push('=');
        write_text(out, value);
    }
}

/// As it is, or quoted where its end could not be told.
fn write_text(out: &mut String, text: &str) {
    let plain = |c: char| !matches!(c, ',' | '{' | '}' | '"') && !c.is_control();
    if text.chars().all(plain) && text.trim() == text { out.push_str(text) } else { quote(out, text) }
}

fn quote(out: &mut String, text: &str) {
    // A string always has a JSON form.
    out.push_str(&serde_json::to_string(text).unwrap_or_default());
}

fn rfc3339(ns: i64) -> String {
    jiff::Timestamp::from_nanosecond(i128::from(ns)).map_or_else(|_| ns.to_string(), |time| time.to_string())
}
