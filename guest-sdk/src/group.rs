//! Groups entities by the values of some labels.

use std::collections::BTreeMap;

use hashbrown::HashMap;

use crate::{Batch, Entity, Refusal, Symbol};

/// The place of a group that was not taken.
const NO_ROOM: usize = usize::MAX;

/// Accumulators by label values, kept over batches until they are drained in `finish`.
///
/// ```
/// use millrace_sdk::{GroupBy, Level, testing};
///
/// let batch = testing::batch("node-a")
///     .entity(Level::Pod, &[("namespace_name", "default")]).int("memory/usage", 5)
///     .entity(Level::Pod, &[("namespace_name", "default")]).int("memory/usage", 7)
///     .build();
/// let mut sums: GroupBy<i64> = GroupBy::new(&["namespace_name"]);
/// let mut groups = sums.batch(&batch);
/// for pod in batch.entities(Level::Pod) {
///     if let Some(sum) = groups.of(pod) {
///         *sum += pod.int("memory/usage").unwrap_or(0);
///     }
/// }
/// let drained: Vec<_> = sums.drain().collect();
/// assert_eq!(drained, [(vec!["default".into()], 12)]);
/// ```
#[derive(Debug)]
pub struct GroupBy<V> {
    labels: Vec<String>,
    /// What the labels are called in the groups.
    names: Vec<String>,
    /// In order, so that groups come out in the same order whatever they came in, and need no sort.
    known: BTreeMap<Vec<Box<str>>, usize>,
    values: Vec<V>,
    most: usize,
    refused: u64,
}

impl<V: Default> GroupBy<V> {
    /// Groups by these labels.
    ///
    /// ```
    /// let by_namespace = millrace_sdk::GroupBy::<i64>::new(&["namespace_name"]);
    /// assert!(by_namespace.is_empty());
    /// ```
    #[must_use]
    pub fn new<S: AsRef<str>>(labels: &[S]) -> Self {
        let labels: Vec<String> = labels.iter().map(|label| label.as_ref().to_owned()).collect();
        let names = labels.clone();
        Self { labels, names, known: BTreeMap::new(), values: Vec::new(), most: usize::MAX, refused: 0 }
    }

    /// Groups by labels from the settings, each `name`, or `new=name` to be called otherwise in the
    /// groups. No labels at all: everything is one group.
    ///
    /// ```
    /// use millrace_sdk::GroupBy;
    ///
    /// let by: Vec<String> = vec!["namespace_name".into(), "app=__label_app".into()];
    /// let groups = GroupBy::<i64>::from_settings("by", &by).unwrap();
    /// assert_eq!(groups.names().collect::<Vec<_>>(), ["namespace_name", "app"]);
    ///
    /// let refusal = GroupBy::<i64>::from_settings("by", &["__label_app".into()]).unwrap_err();
    /// assert_eq!(refusal.reason(), "`by` holds `__label_app`, which reaches no sink; write `app=__label_app` or the like");
    /// ```
    ///
    /// # Errors
    /// An empty name, one that stands twice, or one that begins with `__` and would reach no sink;
    /// the refusal names `key`.
    pub fn from_settings(key: &str, labels: &[String]) -> Result<Self, Refusal> {
        let mut groups = Self::new::<&str>(&[]);
        for label in labels {
            let (new, old) = label.split_once('=').unwrap_or((label, label));
            if new.is_empty() || old.is_empty() {
                return Err(format!("`{key}` holds an empty name; write `name` or `new=name`").into());
            }
            if new.starts_with("__") {
                return Err(
                    format!("`{key}` holds `{new}`, which reaches no sink; write `app={old}` or the like").into()
                );
            }
            if groups.names.iter().any(|name| name == new) {
                return Err(format!("`{key}` names `{new}` twice").into());
            }
            groups.names.push(new.to_owned());
            groups.labels.push(old.to_owned());
        }
        Ok(groups)
    }

    /// What the labels are called in the groups, in the order of the values that
    /// [`GroupBy::drain`] gives.
    ///
    /// ```
    /// let by = millrace_sdk::GroupBy::<i64>::new(&["namespace_name"]);
    /// assert_eq!(by.names().collect::<Vec<_>>(), ["namespace_name"]);
    /// ```
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.names.iter().map(String::as_str)
    }

    /// Keeps at most this many groups until they are drained. Whoever may name a pod or set a label
    /// chooses how many groups there are; a rule that others use should have a bound.
    ///
    /// ```
    /// use millrace_sdk::{GroupBy, Level, testing};
    ///
    /// let batch = testing::sample();
    /// let mut counts = GroupBy::<i64>::new(&["container_name"]).at_most(1);
    /// let mut groups = counts.batch(&batch);
    /// for container in batch.entities(Level::Container) {
    ///     if let Some(count) = groups.of(container) {
    ///         *count += 1;
    ///     }
    /// }
    /// assert_eq!((counts.len(), counts.refused()), (1, 1));
    /// ```
    #[must_use]
    pub fn at_most(mut self, groups: usize) -> Self {
        self.most = groups;
        self
    }

    /// How many entities found no room for their group since the last [`GroupBy::drain`].
    ///
    /// ```
    /// assert_eq!(millrace_sdk::GroupBy::<i64>::new(&["app"]).refused(), 0);
    /// ```
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.refused
    }

    /// Looks the labels up in one batch, so that each entity costs a comparison of symbols.
    ///
    /// ```
    /// use millrace_sdk::{GroupBy, testing};
    ///
    /// let batch = testing::sample();
    /// let mut entities = GroupBy::<i64>::new(&["namespace_name"]);
    /// let mut groups = entities.batch(&batch);
    /// batch.all().for_each(|entity| if let Some(count) = groups.of(entity) { *count += 1 });
    /// assert_eq!(entities.drain().next(), Some((vec!["default".into()], 3)));
    /// ```
    pub fn batch<'g, 'b>(&'g mut self, batch: &'b Batch) -> BatchGroups<'g, 'b, V> {
        let names = self.labels.iter().map(|label| batch.symbol(label)).collect();
        BatchGroups { groups: self, batch, names, seen: HashMap::new(), key: Vec::new() }
    }

    /// How many groups there are.
    ///
    /// ```
    /// assert_eq!(millrace_sdk::GroupBy::<i64>::new(&["app"]).len(), 0);
    /// ```
    #[must_use]
    pub fn len(&self) -> usize {
        self.values.len()
    }

    /// Whether there are none.
    ///
    /// ```
    /// assert!(millrace_sdk::GroupBy::<i64>::new(&["app"]).is_empty());
    /// ```
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// All groups with the values of their labels, sorted by these; none are left.
    ///
    /// ```
    /// use millrace_sdk::{GroupBy, Stats, testing};
    ///
    /// let batch = testing::sample();
    /// let mut stats: GroupBy<Stats> = GroupBy::new(&["pod_name"]);
    /// let mut groups = stats.batch(&batch);
    /// for entity in batch.all() {
    ///     if let (Some(stats), Some(point)) = (groups.of(entity), entity.point("memory/usage")) {
    ///         stats.add(point.value());
    ///     }
    /// }
    /// for (labels, stats) in stats.drain() {
    ///     assert_eq!((&*labels[0], stats.count(), stats.avg()), ("web", 3, Some(20.0)));
    /// }
    /// assert!(stats.is_empty());
    /// ```
    pub fn drain(&mut self) -> impl Iterator<Item = (Vec<Box<str>>, V)> + use<V> {
        self.refused = 0;
        let mut values: Vec<Option<V>> = self.values.drain(..).map(Some).collect();
        let known = std::mem::take(&mut self.known);
        known.into_iter().filter_map(move |(key, at)| Some((key, values.get_mut(at)?.take()?)))
    }
}

/// The groups, as one batch meets them.
///
/// ```
/// use millrace_sdk::{BatchGroups, GroupBy, testing};
///
/// let batch = testing::sample();
/// let mut counts = GroupBy::<i64>::new(&["pod_name"]);
/// let mut groups: BatchGroups<'_, '_, i64> = counts.batch(&batch);
/// let node = batch.all().next().unwrap();
/// assert_eq!(groups.of(node), None, "a node has no `pod_name`");
/// ```
#[derive(Debug)]
pub struct BatchGroups<'g, 'b, V> {
    groups: &'g mut GroupBy<V>,
    batch: &'b Batch,
    names: Vec<Option<Symbol>>,
    /// Groups met in this batch, by symbols: strings are compared once a distinct value.
    seen: HashMap<Vec<Option<Symbol>>, usize>,
    key: Vec<Option<Symbol>>,
}

impl<V: Default> BatchGroups<'_, '_, V> {
    /// The accumulator of an entity's group. A label that is missing counts as empty; an entity
    /// that has none of the labels belongs to no group (but to the one group where there are no
    /// labels to group by), nor does one whose group has no room ([`GroupBy::at_most`]).
    ///
    /// ```
    /// use millrace_sdk::{GroupBy, Level, testing};
    ///
    /// let batch = testing::sample();
    /// let mut memory = GroupBy::<i64>::new(&["pod_name"]);
    /// let mut groups = memory.batch(&batch);
    /// for container in batch.entities(Level::Container) {
    ///     *groups.of(container).unwrap() += container.int("memory/usage").unwrap_or(0);
    /// }
    /// assert_eq!(memory.drain().next(), Some((vec!["web".into()], 30)));
    /// ```
    pub fn of(&mut self, entity: Entity<'_>) -> Option<&mut V> {
        self.key.clear();
        self.key.extend(self.names.iter().map(|name| name.and_then(|name| entity.label_symbol(name))));
        if !self.key.is_empty() && self.key.iter().all(Option::is_none) {
            return None;
        }
        let at = match self.seen.get(&self.key) {
            Some(&at) => at,
            None => self.meet(),
        };
        if at == NO_ROOM {
            self.groups.refused += 1;
        }
        self.groups.values.get_mut(at)
    }

    /// Whether an entity belongs to a group at all: it has one of the labels.
    ///
    /// ```
    /// use millrace_sdk::{GroupBy, testing};
    ///
    /// let batch = testing::sample();
    /// let mut counts = GroupBy::<i64>::new(&["pod_name"]);
    /// let groups = counts.batch(&batch);
    /// assert_eq!(batch.all().filter(|&entity| groups.has(entity)).count(), 3);
    /// ```
    #[must_use]
    pub fn has(&self, entity: Entity<'_>) -> bool {
        let has = |name: &Option<Symbol>| name.is_some_and(|name| entity.label_symbol(name).is_some());
        self.names.is_empty() || self.names.iter().any(has)
    }

    fn meet(&mut self) -> usize {
        let batch = self.batch;
        let strings: Vec<Box<str>> =
            self.key.iter().map(|symbol| symbol.map_or("", |symbol| batch.text(symbol)).into()).collect();
        let groups = &mut *self.groups;
        let at = match groups.known.get(&strings) {
            Some(&at) => at,
            None if groups.values.len() >= groups.most => NO_ROOM,
            None => {
                groups.values.push(V::default());
                groups.known.insert(strings, groups.values.len() - 1);
                groups.values.len() - 1
            }
        };
        self.seen.insert(self.key.clone(), at);
        at
    }
}
