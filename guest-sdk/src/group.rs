//! Groups entities by the values of some labels.

use hashbrown::HashMap;

use crate::{Batch, Entity, Symbol};

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
    known: HashMap<Vec<Box<str>>, usize>,
    values: Vec<V>,
}

impl<V: Default> GroupBy<V> {
    /// Groups by these labels.
    #[must_use]
    pub fn new<S: AsRef<str>>(labels: &[S]) -> Self {
        let labels = labels.iter().map(|label| label.as_ref().to_owned()).collect();
        Self { labels, known: HashMap::new(), values: Vec::new() }
    }

    /// Looks the labels up in one batch, so that each entity costs a comparison of symbols.
    pub fn batch<'g, 'b>(&'g mut self, batch: &'b Batch) -> BatchGroups<'g, 'b, V> {
        let names = self.labels.iter().map(|label| batch.symbol(label)).collect();
        BatchGroups { groups: self, batch, names, seen: HashMap::new(), key: Vec::new() }
    }

    /// How many groups there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.values.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// All groups with the values of their labels, sorted by these; none are left.
    pub fn drain(&mut self) -> impl Iterator<Item = (Vec<Box<str>>, V)> + use<V> {
        let mut values: Vec<Option<V>> = self.values.drain(..).map(Some).collect();
        let mut keys: Vec<(Vec<Box<str>>, usize)> = self.known.drain().collect();
        keys.sort_unstable();
        keys.into_iter().filter_map(move |(key, at)| Some((key, values.get_mut(at)?.take()?)))
    }
}

/// The groups, as one batch meets them.
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
    /// that has none of the labels belongs to no group.
    pub fn of(&mut self, entity: Entity<'_>) -> Option<&mut V> {
        self.key.clear();
        self.key.extend(self.names.iter().map(|name| name.and_then(|name| entity.label_symbol(name))));
        if self.key.iter().all(Option::is_none) {
            return None;
        }
        let at = match self.seen.get(&self.key) {
            Some(&at) => at,
            None => self.meet(),
        };
        self.groups.values.get_mut(at)
    }

    fn meet(&mut self) -> usize {
        let batch = self.batch;
        let strings: Vec<Box<str>> =
            self.key.iter().map(|symbol| symbol.map_or("", |symbol| batch.text(symbol)).into()).collect();
        let groups = &mut *self.groups;
        let next = groups.values.len();
        let at = *groups.known.entry(strings).or_insert(next);
        if at == next {
            groups.values.push(V::default());
        }
        self.seen.insert(self.key.clone(), at);
        at
    }
}
