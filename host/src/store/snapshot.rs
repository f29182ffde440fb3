//! The store as it was at the end of a cycle, and what can be asked of it. Nothing changes a snapshot;
//! who reads one holds up nobody.

use std::hash::BuildHasher;
use std::sync::{Arc, OnceLock};

use hashbrown::DefaultHashBuilder;

use super::shape::{Entity, Shape};
use super::source::{Block, Source, row_values, values};
use crate::batch::{Kind, Level, Origin, Value, ValueType};

/// The entity that is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Key<'a> {
    /// The cluster.
    Cluster,
    /// A node, by its name or its host name.
    Node(&'a str),
    /// A node's own container: node, name.
    SystemContainer(&'a str, &'a str),
    /// A namespace.
    Namespace(&'a str),
    /// A pod: namespace, name.
    Pod(&'a str, &'a str),
    /// A pod's container: namespace, pod, name.
    Container(&'a str, &'a str, &'a str),
}

/// All sources at the end of a cycle.
#[derive(Debug, Default)]
pub struct Snapshot {
    /// The newest cycle's number; 0: there is none yet.
    cycle: u64,
    time: i64,
    window: i64,
    /// Nodes by name, then totals by name.
    sources: Vec<Arc<Source>>,
    index: OnceLock<Index>,
}

/// Which sources have which pod.
#[derive(Debug)]
struct Index {
    hasher: DefaultHashBuilder,
    /// Hash of namespace and name, and the source; sorted.
    pods: Vec<(u64, u32)>,
}

/// What one source had in one cycle.
#[derive(Debug, Clone, Copy)]
pub struct Batches<'s> {
    source: &'s Source,
    block: &'s Block,
}

/// One entity in one cycle of its source.
#[derive(Debug, Clone, Copy)]
pub struct EntityRef<'s> {
    block: &'s Block,
    entity: &'s Entity,
}

/// A descriptor with a value.
#[derive(Debug, Clone, Copy)]
pub struct Sample<'s> {
    /// The metric's name.
    pub metric: &'s str,
    /// The metric's unit.
    pub unit: &'s str,
    /// Gauge or cumulative.
    pub kind: Kind,
    /// The value.
    pub value: Value,
    /// Its place among the shape's label sets; 0 is the empty one.
    set: u32,
    shape: &'s Shape,
}

impl<'s> Sample<'s> {
    /// Labels of its own.
    pub fn labels(&self) -> impl Iterator<Item = (&'s str, &'s str)> + use<'s> {
        self.shape.set_texts(self.set)
    }

    /// Whether it has any.
    #[must_use]
    pub fn is_labelled(&self) -> bool {
        self.labels().next().is_some()
    }
}

impl Snapshot {
    pub(super) fn new(cycle: u64, time: i64, window: i64, sources: Vec<Arc<Source>>) -> Self {
        Self { cycle, time, window, sources, index: OnceLock::new() }
    }

    /// The newest cycle's number; 0: there is none yet.
    #[must_use]
    pub fn cycle(&self) -> u64 {
        self.cycle
    }

    /// The newest cycle's timestamp, ns since the epoch.
    #[must_use]
    pub fn time(&self) -> i64 {
        self.time
    }

    /// The newest cycle's window, ns.
    #[must_use]
    pub fn window(&self) -> i64 {
        self.window
    }

    /// The newest batch of every source that is at most `missed` cycles old: nodes by name, then
    /// what rules made of them.
    pub fn newest(&self, missed: u64) -> impl Iterator<Item = Batches<'_>> {
        self.sources.iter().filter_map(move |source| Batches::newest(source, self.cycle, missed))
    }

    /// The newest batch of one node, by its name at the API server.
    #[must_use]
    pub fn node(&self, name: &str, missed: u64) -> Option<Batches<'_>> {
        Batches::newest(self.node_source(name)?, self.cycle, missed)
    }

    /// The batches of one node that are at most `missed` cycles old, each with its values, the newest
    /// first. Each is read when it is asked for.
    pub fn recent(&self, name: &str, missed: u64) -> impl Iterator<Item = (Batches<'_>, Values)> {
        let all = self.node_source(name).into_iter().flat_map(|source| {
            source.backwards().map(move |(block, values)| (Batches { source, block }, Values(values)))
        });
        all.take_while(move |(batch, _)| batch.block.cycle + missed >= self.cycle)
    }

    /// How many sources there are, for [`Snapshot::nth`].
    #[must_use]
    pub fn sources(&self) -> usize {
        self.sources.len()
    }

    /// The newest batch of one source by its place, for those who go through them in several steps.
    #[must_use]
    pub fn nth(&self, place: usize, missed: u64) -> Option<Batches<'_>> {
        Batches::newest(self.sources.get(place)?, self.cycle, missed)
    }

    /// The newest batch of one node, by its name or its host name.
    #[must_use]
    pub fn node_of(&self, name: &str, missed: u64) -> Option<Batches<'_>> {
        let mut sources = self.sources_with(Key::Node(name)).into_iter();
        sources.find_map(|source| Batches::newest(source, self.cycle, missed))
    }

    /// The newest batches that may have this pod, none older than `missed` cycles.
    pub fn with_pod(&self, namespace: &str, pod: &str, missed: u64) -> impl Iterator<Item = Batches<'_>> {
        let sources = self.sources_with_pod(namespace, pod);
        sources.into_iter().filter_map(move |source| Batches::newest(source, self.cycle, missed))
    }

    /// The values of one series in all kept cycles, the oldest first: timestamps in ns since the epoch.
    /// `labels` are all those of the series itself, in whatever order.
    #[must_use]
    pub fn series(&self, key: Key<'_>, metric: &str, labels: &[(&str, &str)]) -> Vec<(i64, Value)> {
        let mut found = Vec::new();
        for (run, entity) in self.runs(key) {
            let Some(shape) = run.first().map(|block| &block.shape) else { continue };
            let Some(wanted) = shape.metric_named(metric) else { continue };
            for (place, &(metric, set)) in shape.list(entity).iter().enumerate() {
                if metric == wanted && same_labels(shape, set, labels) {
                    let row = entity.rows as usize + place;
                    found.extend(row_values(run, row).map(|(block, bits)| (block.time, value(shape, wanted, bits))));
                }
            }
        }
        found.sort_by_key(|(time, _)| *time);
        found
    }

    /// Names of metrics that the entity has values of, sorted, each once: those with labels of their own,
    /// or those without.
    #[must_use]
    pub fn metrics(&self, key: Key<'_>, labelled: bool) -> Vec<&str> {
        let mut names = Vec::new();
        for (run, entity) in self.runs(key) {
            let Some(shape) = run.first().map(|block| &block.shape) else { continue };
            for (place, &(metric, set)) in shape.list(entity).iter().enumerate() {
                let row = entity.rows as usize + place;
                if shape.set_texts(set).next().is_some() == labelled && run.iter().any(|block| block.has(row)) {
                    names.extend(shape.metric(metric).map(|metric| shape.string(metric.name)));
                }
            }
        }
        names.sort_unstable();
        names.dedup();
        names
    }

    /// The label sets of a metric that the entity has values of, each with its labels sorted, each once.
    #[must_use]
    pub fn label_sets(&self, key: Key<'_>, metric: &str) -> Vec<Vec<(&str, &str)>> {
        let mut sets = Vec::new();
        for (run, entity) in self.runs(key) {
            let Some(shape) = run.first().map(|block| &block.shape) else { continue };
            let Some(wanted) = shape.metric_named(metric) else { continue };
            for (place, &(metric, set)) in shape.list(entity).iter().enumerate() {
                let row = entity.rows as usize + place;
                if metric == wanted && run.iter().any(|block| block.has(row)) {
                    let mut labels: Vec<(&str, &str)> = shape.set_texts(set).collect();
                    labels.sort_unstable();
                    sets.push(labels);
                }
            }
        }
        sets.retain(|labels| !labels.is_empty());
        sets.sort_unstable();
        sets.dedup();
        sets
    }

    /// Blocks of one shape that have the entity, with the entity.
    fn runs<'s>(&'s self, key: Key<'_>) -> Vec<(&'s [Arc<Block>], &'s Entity)> {
        let mut runs = Vec::new();
        for source in self.sources_with(key) {
            for (shape, run) in source.shapes() {
                runs.extend(shape.entities().iter().filter(|it| is(shape, it, key, source)).map(|it| (run, it)));
            }
        }
        runs
    }

    /// The sources that may have the entity.
    fn sources_with(&self, key: Key<'_>) -> Vec<&Arc<Source>> {
        match key {
            Key::Cluster | Key::Namespace(_) => {
                self.sources.iter().filter(|source| matches!(source.origin, Origin::Totals(_))).collect()
            }
            Key::Node(name) | Key::SystemContainer(name, _) => match self.node_source(name) {
                Some(source) => vec![source],
                None => self.sources.iter().filter(|source| has_host_name(source, name)).collect(),
            },
            Key::Pod(namespace, pod) | Key::Container(namespace, pod, _) => self.sources_with_pod(namespace, pod),
        }
    }

    fn node_source(&self, name: &str) -> Option<&Arc<Source>> {
        let node = |source: &Arc<Source>| match &source.origin {
            Origin::Node(own) => own.as_str().cmp(name),
            Origin::Totals(_) => std::cmp::Ordering::Greater,
        };
        self.sources.binary_search_by(node).ok().map(|at| &self.sources[at])
    }

    fn sources_with_pod(&self, namespace: &str, pod: &str) -> Vec<&Arc<Source>> {
        let index = self.index.get_or_init(|| Index::of(&self.sources));
        let hash = index.hasher.hash_one((namespace, pod));
        let start = index.pods.partition_point(|(other, _)| *other < hash);
        let same = index.pods[start..].iter().take_while(|(other, _)| *other == hash);
        same.filter_map(|(_, source)| self.sources.get(*source as usize)).collect()
    }
}

impl Index {
    fn of(sources: &[Arc<Source>]) -> Self {
        let (hasher, mut pods) = (DefaultHashBuilder::default(), Vec::new());
        for (source, at) in sources.iter().zip(0..) {
            for (shape, _) in source.shapes() {
                for entity in shape.entities().iter().filter(|it| matches!(it.level, Level::Pod | Level::Container)) {
                    let label = |name| shape.label(entity, name).unwrap_or("");
                    pods.push((hasher.hash_one((label("namespace_name"), label("pod_name"))), at));
                }
            }
        }
        pods.sort_unstable();
        pods.dedup();
        pods.shrink_to_fit();
        Self { hasher, pods }
    }
}

/// Whether the entity is the one asked for. The source is right already where nodes are concerned.
fn is(shape: &Shape, entity: &Entity, key: Key<'_>, source: &Source) -> bool {
    let label = |name, wanted| shape.label(entity, name) == Some(wanted);
    let of_node = matches!(source.origin, Origin::Node(_));
    match (entity.level, key) {
        (Level::Cluster, Key::Cluster) => true,
        (Level::Node, Key::Node(_)) => of_node,
        (Level::SystemContainer, Key::SystemContainer(_, name)) => of_node && label("container_name", name),
        (Level::Namespace, Key::Namespace(name)) => label("namespace_name", name),
        (Level::Pod, Key::Pod(namespace, pod)) => label("namespace_name", namespace) && label("pod_name", pod),
        (Level::Container, Key::Container(namespace, pod, name)) => {
            label("container_name", name) && label("pod_name", pod) && label("namespace_name", namespace)
        }
        _ => false,
    }
}

fn has_host_name(source: &Source, name: &str) -> bool {
    matches!(source.origin, Origin::Node(_))
        && source.shapes().any(|(shape, _)| {
            let mut nodes = shape.entities().iter().filter(|entity| entity.level == Level::Node);
            nodes.any(|node| shape.label(node, "hostname") == Some(name))
        })
}

fn same_labels(shape: &Shape, set: u32, labels: &[(&str, &str)]) -> bool {
    shape.set_texts(set).count() == labels.len() && shape.set_texts(set).all(|label| labels.contains(&label))
}

fn sample(shape: &Shape, at: u32, set: u32, bits: u64) -> Option<Sample<'_>> {
    let metric = shape.metric(at)?;
    let (name, unit) = (shape.string(metric.name), shape.string(metric.unit));
    Some(Sample { metric: name, unit, kind: metric.kind, value: value(shape, at, bits), set, shape })
}

fn value(shape: &Shape, metric: u32, bits: u64) -> Value {
    match shape.metric(metric).map(|metric| metric.value) {
        Some(ValueType::Float) => Value::Float(f64::from_bits(bits)),
        _ => Value::Int(bits.cast_signed()),
    }
}

impl<'s> Batches<'s> {
    fn newest(source: &'s Source, cycle: u64, missed: u64) -> Option<Self> {
        let block = source.newest()?;
        (block.cycle + missed >= cycle).then_some(Self { source, block })
    }

    /// The node's name, if it is a node's.
    #[must_use]
    pub fn node(&self) -> Option<&'s str> {
        match &self.source.origin {
            Origin::Node(name) => Some(name),
            Origin::Totals(_) => None,
        }
    }

    /// Its cycle's timestamp, ns since the epoch.
    #[must_use]
    pub fn time(&self) -> i64 {
        self.block.time
    }

    /// Its cycle's window, ns.
    #[must_use]
    pub fn window(&self) -> i64 {
        self.block.window
    }

    /// Its entities in order: the node, its own containers, each pod followed by its containers.
    pub fn entities(&self) -> impl Iterator<Item = EntityRef<'s>> + use<'s> {
        let block = self.block;
        let all = block.shape.entities().iter().map(move |entity| EntityRef { block, entity });
        all.filter(EntityRef::is_there)
    }

    /// One of its entities by its place among all that the shape has; `None` where this cycle has it not.
    #[must_use]
    pub fn entity(&self, place: usize) -> Option<EntityRef<'s>> {
        let entity = EntityRef { block: self.block, entity: self.block.shape.entities().get(place)? };
        entity.is_there().then_some(entity)
    }

    /// How many places there are for [`Batches::entity`].
    #[must_use]
    pub fn entity_places(&self) -> usize {
        self.block.shape.entities().len()
    }

    /// All its values, for [`EntityRef::samples`].
    #[must_use]
    pub fn values(&self) -> Values {
        Values(values(self.block))
    }
}

/// The values of one batch. Readers that want many of them get them all at once.
#[derive(Debug)]
pub struct Values(Vec<u64>);

impl<'s> EntityRef<'s> {
    /// An entity that the shape has and this cycle has not is one that has no row in it.
    fn is_there(&self) -> bool {
        let mut rows = self.block.shape.rows_of(self.entity);
        rows.is_empty() || rows.any(|row| self.block.has(row))
    }

    /// Its level.
    #[must_use]
    pub fn level(&self) -> Level {
        self.entity.level
    }

    /// When it started, ns since the epoch; 0 = unknown.
    #[must_use]
    pub fn started_at(&self) -> i64 {
        self.entity.started_at
    }

    /// Its labels.
    pub fn labels(&self) -> impl Iterator<Item = (&'s str, &'s str)> + Clone + use<'s> {
        self.block.shape.label_texts(self.entity)
    }

    /// One label.
    #[must_use]
    pub fn label(&self, name: &str) -> Option<&'s str> {
        self.block.shape.label(self.entity, name)
    }

    /// Its values in this cycle. `values` are those of the batch that it is of.
    pub fn samples(&self, values: &Values) -> impl Iterator<Item = Sample<'s>> {
        let (shape, block) = (&*self.block.shape, self.block);
        let rows = shape.rows_of(self.entity).zip(shape.list(self.entity));
        rows.filter(|(row, _)| block.has(*row))
            .filter_map(|(row, &(at, set))| sample(shape, at, set, *values.0.get(row)?))
    }

    /// Its metrics in this cycle, each with its place for [`EntityRef::sample_at`]; their values don't count.
    pub fn places(&self) -> impl Iterator<Item = (usize, Sample<'s>)> {
        let (shape, block) = (&*self.block.shape, self.block);
        let rows = shape.rows_of(self.entity).zip(shape.list(self.entity)).enumerate();
        rows.filter(|(_, (row, _))| block.has(*row))
            .filter_map(|(place, (_, &(at, set)))| Some((place, sample(shape, at, set, 0)?)))
    }

    /// What it has at one of [`EntityRef::places`].
    #[must_use]
    pub fn sample_at(&self, place: usize, values: &Values) -> Option<Sample<'s>> {
        let shape = &*self.block.shape;
        let &(at, set) = shape.list(self.entity).get(place)?;
        sample(shape, at, set, *values.0.get(shape.rows_of(self.entity).start + place)?)
    }

    /// The value of one metric without labels in this cycle.
    #[must_use]
    pub fn value(&self, metric: &str, values: &Values) -> Option<Value> {
        self.samples(values).find(|sample| sample.metric == metric && !sample.is_labelled()).map(|sample| sample.value)
    }
}
