//! Which points a sink gets: by metric, level, namespace and label. Rules change what all sinks get;
//! this is for one of them, a database that costs by the point for instance.

use std::borrow::Cow;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use toml::{Table, Value};

use super::{AttemptError, Chunker, DropReason, Sink};
use crate::batch::{Batch, Cycle, EntityView, Level, PointView, level_word};
use crate::config::fields::Fields;
use crate::glob::fits;

/// The label that says a namespace's name, of namespaces, pods and their containers.
const NAMESPACE: &str = "namespace_name";
/// Picks of a sink, of each kind; every point may be held against all of them.
const MAX_PICKS: usize = 100;
const LEVELS: [Level; 7] =
    [Level::Cluster, Level::Node, Level::Namespace, Level::Pod, Level::Container, Level::SystemContainer, Level::Other];

/// What a sink gets. The default is everything.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selection {
    /// A point must fit one of these, if there are any.
    include: Vec<Pick>,
    /// And none of these.
    exclude: Vec<Pick>,
}

/// Some points: those that fit all of what is said here. In patterns `*` stands for any characters,
/// `?` for one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Pick {
    /// Patterns of metrics' names; none: any.
    metrics: Vec<String>,
    /// None: any.
    levels: Vec<Level>,
    /// Patterns; none: any, and what belongs to no namespace.
    namespaces: Vec<String>,
    /// Labels of the entity or the point, and patterns of their values: all must fit.
    labels: Vec<(String, String)>,
}

impl Selection {
    /// Reads `include` and `exclude` of a `[[sink]]`.
    pub fn from_toml(fields: &Fields<'_>) -> Self {
        Self { include: picks(fields, "include"), exclude: picks(fields, "exclude") }
    }

    /// Puts them into a `[[sink]]`; nothing where they are empty.
    pub fn write(&self, table: &mut Table) {
        for (key, picks) in [("include", &self.include), ("exclude", &self.exclude)] {
            if !picks.is_empty() {
                let picks = picks.iter().map(|pick| Value::Table(pick.to_toml())).collect();
                table.insert(key.to_owned(), Value::Array(picks));
            }
        }
    }

    /// Whether it leaves nothing out.
    pub fn is_everything(&self) -> bool {
        self.include.is_empty() && self.exclude.is_empty()
    }

    /// What of the batch the sink gets.
    pub fn of<'b>(&self, batch: &'b Batch) -> Cow<'b, Batch> {
        if self.is_everything() {
            return Cow::Borrowed(batch);
        }
        let ready = |picks: &[Pick]| -> Vec<Vec<bool>> { picks.iter().map(|pick| pick.metrics_of(batch)).collect() };
        let (included, excluded) = (ready(&self.include), ready(&self.exclude));
        let mut keep = vec![false; batch.points.len()];
        for entity in batch.iter() {
            let include = Near::of(&self.include, &included, &entity);
            let exclude = Near::of(&self.exclude, &excluded, &entity);
            if include.is_empty() && !self.include.is_empty() {
                continue;
            }
            for point in entity.points() {
                let fits = |near: &[Near<'_>]| near.iter().any(|near| near.fits(&point));
                keep[point.row()] = (self.include.is_empty() || fits(&include)) && !fits(&exclude);
            }
        }
        if keep.iter().all(|keep| *keep) {
            return Cow::Borrowed(batch);
        }
        Cow::Owned(batch.keeping(&keep))
    }
}

/// A sink that gets a selection.
pub fn picking(sink: impl Sink, selection: Selection) -> Arc<dyn Sink> {
    match selection.is_everything() {
        true => Arc::new(sink),
        false => Arc::new(Picking { sink, selection }),
    }
}

struct Picking<S> {
    sink: S,
    selection: Selection,
}

#[async_trait]
impl<S: Sink> Sink for Picking<S> {
    fn encode(&self, cycle: &Cycle, batch: &Batch, out: &mut Chunker) {
        let picked = self.selection.of(batch);
        out.drop_points(DropReason::Filtered, (batch.points.len() - picked.points.len()) as u64);
        self.sink.encode(cycle, &picked, out);
    }

    fn pack(&self, body: &mut Vec<u8>) -> Bytes {
        self.sink.pack(body)
    }

    fn unpack(&self, body: &Bytes) -> Option<Vec<u8>> {
        self.sink.unpack(body)
    }

    async fn prepare(&self) -> Result<(), AttemptError> {
        self.sink.prepare().await
    }

    fn trouble(&self) -> Option<String> {
        self.sink.trouble()
    }

    async fn attempt(&self, body: Bytes) -> Result<(), AttemptError> {
        self.sink.attempt(body).await
    }
}

/// A pick that some points of an entity may fit.
struct Near<'p> {
    /// By the metric's row.
    metrics: &'p [bool],
    /// What the entity's own labels do not say.
    labels: Vec<&'p (String, String)>,
}

impl<'p> Near<'p> {
    fn of(picks: &'p [Pick], metrics: &'p [Vec<bool>], entity: &EntityView<'_>) -> Vec<Self> {
        let near = picks.iter().zip(metrics).filter(|(pick, _)| pick.may_fit(entity));
        near.map(|(pick, metrics)| {
            let open = |(name, value): &&(String, String)| !entity.label(name).is_some_and(|text| fits(value, text));
            Self { metrics, labels: pick.labels.iter().filter(open).collect() }
        })
        .collect()
    }

    fn fits(&self, point: &PointView<'_>) -> bool {
        let has =
            |(name, value): &(String, String)| point.labels().any(|(label, text)| label == name && fits(value, text));
        self.metrics.get(point.metric_row() as usize) == Some(&true) && self.labels.iter().all(|label| has(label))
    }
}

impl Pick {
    /// Which of the batch's metrics it means.
    fn metrics_of(&self, batch: &Batch) -> Vec<bool> {
        let means = |name: &u32| {
            self.metrics.is_empty() || self.metrics.iter().any(|pattern| fits(pattern, batch.symbols.get(*name)))
        };
        batch.metrics.name.iter().map(means).collect()
    }

    fn may_fit(&self, entity: &EntityView<'_>) -> bool {
        let in_namespace = || {
            let namespace = entity.label(NAMESPACE);
            namespace.is_some_and(|name| self.namespaces.iter().any(|pattern| fits(pattern, name)))
        };
        (self.levels.is_empty() || self.levels.contains(&entity.level()))
            && (self.namespaces.is_empty() || in_namespace())
    }

    fn to_toml(&self) -> Table {
        let mut table = Table::new();
        let levels: Vec<String> = self.levels.iter().map(|level| level_word(*level).to_owned()).collect();
        for (key, texts) in [("metrics", &self.metrics), ("levels", &levels), ("namespaces", &self.namespaces)] {
            if !texts.is_empty() {
                table.insert(key.to_owned(), texts.clone().into());
            }
        }
        if !self.labels.is_empty() {
            let labels: Table = self.labels.iter().map(|(name, value)| (name.clone(), value.clone().into())).collect();
            table.insert("labels".to_owned(), labels.into());
        }
        table
    }
}

fn picks(fields: &Fields<'_>, key: &str) -> Vec<Pick> {
    let tables = fields.tables(key);
    if tables.len() > MAX_PICKS {
        fields.problems.push(format!("`{}` has more than {MAX_PICKS} tables; join some", fields.path(key)));
    }
    tables.into_iter().map(pick).collect()
}

fn pick(fields: Fields<'_>) -> Pick {
    let levels = fields.strings("levels").unwrap_or_default();
    let mut known = Vec::new();
    for word in &levels {
        match LEVELS.into_iter().find(|level| level_word(*level) == word) {
            Some(level) => known.push(level),
            None => fields.bad("levels", word, &format!("use {}", LEVELS.map(level_word).join(", "))),
        }
    }
    let labels = fields.table("labels");
    let pick = Pick {
        metrics: fields.strings("metrics").unwrap_or_default(),
        levels: known,
        namespaces: fields.strings("namespaces").unwrap_or_default(),
        labels: labels.pairs(),
    };
    if pick == Pick::default() && levels.is_empty() {
        let at = fields.path("metrics");
        fields.problems.push(format!("`{at}`, `levels`, `namespaces` and `labels` are all missing; write one of them"));
    }
    labels.finish();
    fields.finish();
    pick
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::{BatchBuilder, Descriptor, Origin};
    use crate::config::{Outside, Problems};

    fn selection(text: &str) -> Result<Selection, Vec<String>> {
        let (outside, problems) = (Outside::nothing(), Problems::default());
        let fields = Fields::toml(text.parse().unwrap(), "sink[0]", &outside, &problems);
        let selection = Selection::from_toml(&fields);
        fields.finish();
        problems.into_warnings().map(|_| selection).map_err(|refused| refused.errors)
    }

    /// A node, and two pods in two namespaces, each with CPU, and memory of two devices.
    fn batch() -> Batch {
        let mut builder = BatchBuilder::new(Origin::Node("n1".to_owned()), 0);
        let (cpu, disk) =
            ["cpu/usage", "filesystem/usage"].map(|name| builder.metric(Descriptor::gauge(name, ""))).into();
        let mut pairs = |labels: &[(&str, &str)]| -> Vec<(u32, u32)> {
            labels.iter().map(|(name, value)| (builder.symbol(name), builder.symbol(value))).collect()
        };
        let entities = [
            (Level::Node, pairs(&[("nodename", "n1")])),
            (Level::Pod, pairs(&[("namespace_name", "shop"), ("pod_name", "web"), ("app", "web")])),
            (Level::Pod, pairs(&[("namespace_name", "kube-system"), ("pod_name", "dns")])),
        ];
        let (a, b) = (pairs(&[("resource_id", "/a")]), pairs(&[("resource_id", "/b")]));
        let (a, b) = (builder.label_set(&a), builder.label_set(&b));
        for (level, labels) in entities {
            builder.entity(level, 0);
            labels.into_iter().for_each(|(name, value)| builder.label(name, value));
            builder.point(cpu, 0, 0, 1);
            builder.point(disk, a, 0, 2);
            builder.point(disk, b, 0, 3);
        }
        builder.build()
    }

    /// What is left, as `entity metric labels`.
    fn left(text: &str) -> Vec<String> {
        let batch = batch();
        let kept = selection(text).unwrap().of(&batch).into_owned();
        let mut lines = Vec::new();
        for entity in kept.iter() {
            let name = entity.label("pod_name").unwrap_or("node");
            for point in entity.points() {
                let labels: String = point.labels().map(|(_, value)| value).collect();
                lines.push(format!("{name} {} {labels}", point.metric()).trim_end().to_owned());
            }
        }
        lines
    }

    #[test]
    fn a_sink_gets_what_is_included_and_not_excluded() {
        for (text, want) in [
            ("include = [{ metrics = ['cpu/*'] }]", &["node cpu/usage", "web cpu/usage", "dns cpu/usage"][..]),
            (
                "include = [{ levels = ['node'] }]",
                &["node cpu/usage", "node filesystem/usage /a", "node filesystem/usage /b"],
            ),
            (
                "include = [{ namespaces = ['shop'], metrics = ['cpu/usage'] }, { levels = ['node'], metrics = 'cpu/*' }]",
                &["node cpu/usage", "web cpu/usage"],
            ),
            (
                "exclude = [{ namespaces = ['kube-*'] }, { metrics = ['filesystem/*'] }]",
                &["node cpu/usage", "web cpu/usage"],
            ),
            ("include = [{ labels = { app = 'w*' }, metrics = 'cpu/*' }]", &["web cpu/usage"]),
            (
                "exclude = [{ labels = { resource_id = '/a' } }]\ninclude = [{ levels = 'pod', namespaces = 'shop' }]",
                &["web cpu/usage", "web filesystem/usage /b"],
            ),
            ("include = [{ namespaces = ['nowhere'] }]", &[]),
        ] {
            assert_eq!(left(text), want, "{text}");
        }
        assert_eq!(left("").len(), 9);
        assert!(matches!(selection("exclude = [{ metrics = 'none' }]").unwrap().of(&batch()), Cow::Borrowed(_)));
    }

    #[test]
    fn what_says_nothing_or_nonsense_is_told() {
        let errors = selection("include = [{}]\nexclude = [{ levels = ['pods'], metric = 'a' }]").unwrap_err();
        assert_eq!(errors.len(), 3, "{errors:?}");
        assert!(errors[0].starts_with("`sink[0].include[0].metrics`, `levels`"), "{errors:?}");
        assert!(errors[1].starts_with("`sink[0].exclude[0].levels` is `pods`; use cluster, node"), "{errors:?}");
        assert!(errors[2].contains("did you mean `metrics`?"), "{errors:?}");
        let text = "exclude = [{ labels = { app = 'a' }, levels = ['pod'], metrics = ['m'], namespaces = ['n'] }]";
        let mut again = Table::new();
        selection(text).unwrap().write(&mut again);
        assert_eq!(selection(&again.to_string()).unwrap(), selection(text).unwrap());
    }
}
