//! A case as its author writes it, with the place of every text that `--bless` may write anew.

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use serde::Deserialize;
use toml::Spanned;

use super::{Case, CaseBatch, CaseCycle, MAX_CYCLES, Wanted};
use crate::batch::rows::{Descriptors, Detail, OwnedDescriptor, Row, parse};
use crate::batch::{Kind, Merge, ValueType};
use crate::rules::manifest::settings_json;

/// The node of a cycle that names none.
const NODE: &str = "node-a";
/// A window of a cycle that names none.
const WINDOW: Duration = Duration::from_secs(60);
/// Longest window: the cycles' times must stay what a clock can show.
const MAX_WINDOW: Duration = Duration::from_secs(86_400);

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawCase {
    #[serde(default)]
    description: String,
    #[serde(default)]
    settings: toml::Table,
    pub refused: Option<Spanned<String>>,
    #[serde(default)]
    metrics: BTreeMap<String, RawMetric>,
    #[serde(default)]
    pub cycle: Vec<Spanned<RawCycle>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawMetric {
    kind: Option<String>,
    #[serde(default)]
    unit: String,
    value: Option<String>,
    merge: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct RawCycle {
    window: Option<String>,
    node: Option<String>,
    pub rows: Option<Spanned<String>>,
    pub want: Option<Spanned<String>>,
    pub error: Option<Spanned<String>>,
    #[serde(default)]
    pub batch: Vec<Spanned<RawBatch>>,
    pub finish: Option<Spanned<String>>,
    pub finish_error: Option<Spanned<String>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawBatch {
    node: Option<String>,
    pub rows: Spanned<String>,
    pub want: Option<Spanned<String>>,
    pub error: Option<Spanned<String>>,
}

impl RawCase {
    pub(super) fn read(text: &str) -> Result<Self, Vec<String>> {
        toml::from_str(text).map_err(|error| vec![error.to_string().trim_end().to_owned()])
    }

    pub(super) fn check(self, text: &str) -> Result<Case, Vec<String>> {
        let mut reading = Reading { text, metrics: Descriptors::new(), detail: Detail::default(), problems: vec![] };
        for (name, raw) in self.metrics {
            reading.metric(name, &raw);
        }
        let settings = settings_json(self.settings).unwrap_or_else(|problems| {
            reading.problems.extend(problems);
            serde_json::Map::new()
        });
        let refused = self.refused.map(Spanned::into_inner);
        if refused.is_some() && !self.cycle.is_empty() {
            reading.problems.push("`refused` says that the rule does not start; take the cycles away".to_owned());
        }
        if refused.is_none() && self.cycle.is_empty() {
            reading.problems.push(
                "has no [[cycle]] and no `refused`; give the rule rows, or say how it refuses its settings".to_owned(),
            );
        }
        if self.cycle.len() > MAX_CYCLES {
            return Err(vec![format!("has more than {MAX_CYCLES} cycles; split it")]);
        }
        let cycles = self.cycle.into_iter().map(Spanned::into_inner).enumerate();
        let cycles = cycles.map(|(at, raw)| reading.cycle(at as u64 + 1, raw)).collect();
        let Reading { metrics, detail, problems, .. } = reading;
        if !problems.is_empty() {
            return Err(problems);
        }
        Ok(Case { description: self.description, settings, refused, metrics, cycles, detail })
    }
}

/// What is gathered while a case is read.
struct Reading<'t> {
    text: &'t str,
    metrics: Descriptors,
    detail: Detail,
    problems: Vec<String>,
}

impl Reading<'_> {
    fn metric(&mut self, name: String, raw: &RawMetric) {
        let mut word = |key: &str, got: Option<&str>, words: &[&str]| {
            let got = got.unwrap_or(words[0]);
            let found = words.iter().position(|&word| word == got);
            if found.is_none() {
                let words = words.join("` or `");
                self.problems.push(format!("metrics.{name:?}: `{key}` is `{got}`; write `{words}`"));
            }
            u8::try_from(found.unwrap_or(0)).unwrap_or(0)
        };
        let kind = word("kind", raw.kind.as_deref(), &["gauge", "cumulative"]);
        let value = word("value", raw.value.as_deref(), &["int", "float"]);
        let merge = word("merge", raw.merge.as_deref(), &["sum", "min", "max"]);
        let descriptor = OwnedDescriptor {
            unit: raw.unit.clone(),
            kind: Kind::from_byte(kind).unwrap_or(Kind::Gauge),
            value: ValueType::from_byte(value).unwrap_or(ValueType::Int),
            merge: Merge::from_byte(merge).unwrap_or(Merge::Sum),
        };
        self.metrics.insert(name, descriptor);
    }

    fn cycle(&mut self, number: u64, raw: RawCycle) -> CaseCycle {
        let mut batches = Vec::new();
        let single = raw.rows.is_some() || raw.want.is_some() || raw.error.is_some() || raw.node.is_some();
        if single && !raw.batch.is_empty() {
            self.problems.push(format!(
                "cycle {number}: has [[cycle.batch]] tables; move `node`, `rows`, `want` and `error` into one of them"
            ));
        } else if let Some(rows) = raw.rows {
            batches.push(self.batch(number, raw.node, &rows, raw.want, raw.error));
        } else if single {
            self.problems.push(format!("cycle {number}: has no `rows`; add what the node gives"));
        }
        for batch in raw.batch {
            let RawBatch { node, rows, want, error } = batch.into_inner();
            batches.push(self.batch(number, node, &rows, want, error));
        }
        let mut nodes = HashSet::new();
        if let Some(twice) = batches.iter().find(|batch| !nodes.insert(&batch.node)) {
            self.problems.push(format!("cycle {number}: two batches of node `{}`; name another `node`", twice.node));
        }
        let finish = self.wanted(number, "finish", raw.finish, raw.finish_error);
        let window = self.window(number, raw.window.as_deref());
        CaseCycle { number, window, batches, finish: finish.unwrap_or(Wanted::Rows(vec![])) }
    }

    fn window(&mut self, number: u64, text: Option<&str>) -> Duration {
        let Some(text) = text else { return WINDOW };
        match humantime::parse_duration(text) {
            Ok(window) if window >= Duration::from_secs(1) && window <= MAX_WINDOW => window,
            _ => {
                self.problems.push(format!("cycle {number}: `window` is `{text}`; write one from \"1s\" to \"1day\""));
                WINDOW
            }
        }
    }

    fn batch(
        &mut self,
        cycle: u64,
        node: Option<String>,
        rows: &Spanned<String>,
        want: Option<Spanned<String>>,
        error: Option<Spanned<String>>,
    ) -> CaseBatch {
        let rows = self.rows(cycle, rows);
        let want = self.wanted(cycle, "want", want, error);
        CaseBatch { node: node.unwrap_or_else(|| NODE.to_owned()), rows, want }
    }

    fn wanted(
        &mut self,
        cycle: u64,
        key: &str,
        rows: Option<Spanned<String>>,
        error: Option<Spanned<String>>,
    ) -> Option<Wanted> {
        match (rows, error) {
            (Some(_), Some(_)) => {
                let other = if key == "want" { "error" } else { "finish-error" };
                self.problems.push(format!("cycle {cycle}: has `{key}` and `{other}`; one of them can be true"));
                None
            }
            (Some(rows), None) => {
                let parsed = self.rows(cycle, &rows);
                if let Some(bare) = parsed.iter().find(|row| row.point.is_none()) {
                    let row = bare.text(Detail::default());
                    self.problems
                        .push(format!("cycle {cycle}: `{key}` has `{row}` without a metric; add ` NAME = VALUE`"));
                }
                Some(Wanted::Rows(parsed))
            }
            (None, Some(error)) => Some(Wanted::Error(error.into_inner())),
            (None, None) => None,
        }
    }

    /// The rows of a text; a problem names the line of the file.
    fn rows(&mut self, cycle: u64, text: &Spanned<String>) -> Vec<Row> {
        match parse(text.get_ref(), &self.metrics) {
            Ok(rows) => {
                self.detail.started |= rows.iter().any(|row| row.started_at.is_some());
                self.detail.at |= rows.iter().filter_map(|row| row.point.as_ref()).any(|point| point.at_ms.is_some());
                rows
            }
            Err(mut error) => {
                error.line += self.first_line(text) - 1;
                self.problems.push(format!("{error} (cycle {cycle})"));
                Vec::new()
            }
        }
    }

    /// The line of the file that a text begins on.
    fn first_line(&self, text: &Spanned<String>) -> usize {
        let start = text.span().start.min(self.text.len());
        let before = self.text.get(..start).unwrap_or_default();
        let opening = self.text.get(start..).unwrap_or_default();
        // After the three quotes a line break counts for nothing.
        let skipped = ["'''\n", "\"\"\"\n", "'''\r\n", "\"\"\"\r\n"].iter().any(|quotes| opening.starts_with(quotes));
        before.matches('\n').count() + 1 + usize::from(skipped)
    }
}
