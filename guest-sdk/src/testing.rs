//! Runs a rule natively: build a batch from rows, process it, compare rows.
//!
//! A row is `level {label=value,…} metric{label=value} = value`, with labels sorted by name. A name or
//! value with a comma, a brace, a quote, a control character or a blank at its end is written as a
//! JSON string.
//!
//! A rule with state is asked again with batches of later cycles:
//!
//! ```
//! use millrace_sdk::prelude::*;
//! use millrace_sdk::testing;
//!
//! /// Counts the pods of the cluster.
//! #[derive(Default)]
//! struct CountPods { pods: i64 }
//!
//! impl Rule for CountPods {
//!     type Settings = NoSettings;
//!
//!     fn configure(_: NoSettings) -> Result<Self, Refusal> {
//!         Ok(Self::default())
//!     }
//!
//!     fn process(&mut self, batch: &Batch, _: &mut Edit) -> Result<(), Refusal> {
//!         self.pods += batch.entities(Level::Pod).count() as i64;
//!         Ok(())
//!     }
//!
//!     fn finish(&mut self, _: &Cycle, edit: &mut Edit) -> Result<(), Refusal> {
//!         let pods = edit.metric(Descriptor::gauge("pods", ""));
//!         edit.add_entity(Level::Cluster, &[]).point(pods, std::mem::take(&mut self.pods));
//!         Ok(())
//!     }
//! }
//!
//! let mut rule: CountPods = testing::configure("{}").unwrap();
//! for (cycle, pods) in [(1, 2), (2, 1)] {
//!     let mut batch = testing::batch("node-a").cycle(cycle);
//!     for _ in 0..pods {
//!         batch = batch.entity(Level::Pod, &[]);
//!     }
//!     testing::process(&mut rule, &batch.build()).unwrap();
//!     assert_eq!(testing::finish(&mut rule, cycle).unwrap(), [format!("cluster {{}} pods = {pods}")]);
//! }
//! ```

mod print;

use crate::batch::UNKNOWN_AT;
use crate::types::{Cycle, Descriptor, Level, Value, ValueType};
use crate::{Batch, Edit, Refusal, Rule, wit};

/// Starts a batch of one node, in cycle 1.
///
/// ```
/// use millrace_sdk::{Level, testing};
///
/// let batch = testing::batch("node-a").entity(Level::Pod, &[("pod_name", "web")]).int("memory/usage", 3).build();
/// assert_eq!(batch.len(), 1);
/// ```
#[must_use]
pub fn batch(node: &str) -> BatchRows {
    rows_of(wit::Origin::Node(node.to_owned()))
}

/// Starts a batch of what `finish` of another rule made, in cycle 1.
///
/// ```
/// use millrace_sdk::{Level, testing};
///
/// let batch = testing::totals("heapster").entity(Level::Cluster, &[]).int("memory/usage", 3).build();
/// assert_eq!(batch.totals_of(), Some("heapster"));
/// ```
#[must_use]
pub fn totals(rule: &str) -> BatchRows {
    rows_of(wit::Origin::Totals(rule.to_owned()))
}

/// A small batch for examples: a node, and a pod with two containers.
///
/// ```
/// use millrace_sdk::testing;
///
/// let rows = testing::edit(&testing::sample(), |_| {});
/// assert_eq!(rows, [
///     "node {nodename=node-a} memory/usage = 100",
///     "pod {__label_app=shop,namespace_name=default,pod_name=web} memory/usage = 30",
///     "container {container_name=app,namespace_name=default,pod_name=web} cpu/usage_rate = 50",
///     "container {container_name=app,namespace_name=default,pod_name=web} memory/usage = 20",
///     "container {container_name=app,namespace_name=default,pod_name=web} filesystem/usage{resource_id=/} = 7",
///     "container {container_name=sidecar,namespace_name=default,pod_name=web} cpu/usage_rate = 1",
///     "container {container_name=sidecar,namespace_name=default,pod_name=web} memory/usage = 10",
/// ]);
/// ```
#[must_use]
pub fn sample() -> Batch {
    let labels = [("namespace_name", "default"), ("pod_name", "web")];
    let container = |name| [labels[0], labels[1], ("container_name", name)];
    batch("node-a")
        .entity(Level::Node, &[("nodename", "node-a")])
        .int("memory/usage", 100)
        .entity(Level::Pod, &[labels[0], labels[1], ("__label_app", "shop")])
        .int("memory/usage", 30)
        .entity(Level::Container, &container("app"))
        .int("cpu/usage_rate", 50)
        .int("memory/usage", 20)
        .point("filesystem/usage", &[("resource_id", "/")], None, Value::Int(7))
        .entity(Level::Container, &container("sidecar"))
        .int("cpu/usage_rate", 1)
        .int("memory/usage", 10)
        .build()
}

fn rows_of(origin: wit::Origin) -> BatchRows {
    BatchRows {
        cycle: cycle(1),
        origin,
        strings: Vec::new(),
        symbols: wit::Symbols { text: vec![], ends: vec![] },
        metrics: wit::Metrics { name: vec![], unit: vec![], kind: vec![], value: vec![], merge: vec![] },
        sets: wit::LabelSets { ends: vec![0], names: vec![], values: vec![] },
        entities: wit::Entities {
            level: vec![],
            label_ends: vec![],
            label_names: vec![],
            label_values: vec![],
            started_at: vec![],
            point_ends: vec![],
        },
        points: wit::Points { metric: vec![], labels: vec![], at: vec![], bits: vec![] },
    }
}

/// A cycle by its number: a minute long, the first one at 60 s since the epoch.
///
/// ```
/// assert_eq!(millrace_sdk::testing::cycle(2).time, 120_000_000_000, "ns");
/// ```
#[must_use]
pub fn cycle(number: u64) -> Cycle {
    const MINUTE: i64 = 60_000_000_000;
    Cycle { number, time: number as i64 * MINUTE, window: MINUTE, nodes_asked: 1, nodes_answered: 1 }
}

/// A batch under construction. Labels and points go to the entity opened last.
///
/// ```
/// use millrace_sdk::{Level, testing};
///
/// let rows: testing::BatchRows = testing::batch("node-a").entity(Level::Node, &[("nodename", "node-a")]);
/// assert_eq!(rows.int("memory/usage", 1).float("cpu/load", 0.5).build().metrics().count(), 2);
/// ```
#[derive(Debug)]
pub struct BatchRows {
    cycle: Cycle,
    origin: wit::Origin,
    strings: Vec<String>,
    symbols: wit::Symbols,
    metrics: wit::Metrics,
    sets: wit::LabelSets,
    entities: wit::Entities,
    points: wit::Points,
}

impl BatchRows {
    /// Puts the batch into another cycle.
    ///
    /// ```
    /// assert_eq!(millrace_sdk::testing::batch("node-a").cycle(7).build().cycle().number, 7);
    /// ```
    #[must_use]
    pub fn cycle(mut self, number: u64) -> Self {
        self.cycle = cycle(number);
        self
    }

    /// Declares a metric that is more than a gauge without a unit that sums. Before its first point.
    ///
    /// ```
    /// use millrace_sdk::{Descriptor, Kind, Level, testing};
    ///
    /// let batch = testing::batch("node-a")
    ///     .metric(Descriptor::cumulative("cpu/usage", "ns"))
    ///     .entity(Level::Node, &[]).int("cpu/usage", 5_000_000_000)
    ///     .build();
    /// assert_eq!(batch.metric_kind(batch.metric("cpu/usage").unwrap()), Kind::Cumulative);
    /// ```
    #[must_use]
    pub fn metric(mut self, descriptor: Descriptor<'_>) -> Self {
        self.declare(descriptor);
        self
    }

    /// Opens an entity.
    ///
    /// ```
    /// use millrace_sdk::{Level, testing};
    ///
    /// let batch = testing::batch("node-a").entity(Level::Node, &[]).entity(Level::Pod, &[("pod_name", "web")]).build();
    /// assert_eq!(batch.len(), 2);
    /// ```
    #[must_use]
    pub fn entity(mut self, level: Level, labels: &[(&str, &str)]) -> Self {
        for (name, value) in labels {
            let (name, value) = (self.symbol(name), self.symbol(value));
            self.entities.label_names.push(name);
            self.entities.label_values.push(value);
        }
        self.entities.level.push(level as u8);
        self.entities.started_at.push(0);
        self.entities.label_ends.push(self.entities.label_names.len() as u32);
        self.entities.point_ends.push(self.points.metric.len() as u32);
        self
    }

    /// Says when the entity started, ns since the epoch.
    ///
    /// ```
    /// use millrace_sdk::{Level, testing};
    ///
    /// let batch = testing::batch("node-a").entity(Level::Pod, &[]).started_at(1).build();
    /// assert_eq!(batch.all().next().unwrap().started_at(), Some(1));
    /// ```
    #[must_use]
    pub fn started_at(mut self, ns: i64) -> Self {
        if let Some(started) = self.entities.started_at.last_mut() {
            *started = ns;
        }
        self
    }

    /// An integer point.
    ///
    /// ```
    /// use millrace_sdk::{Level, testing};
    ///
    /// let batch = testing::batch("node-a").entity(Level::Node, &[]).int("memory/usage", 5).build();
    /// assert_eq!(batch.all().next().unwrap().int("memory/usage"), Some(5));
    /// ```
    #[must_use]
    pub fn int(self, metric: &str, value: i64) -> Self {
        self.point(metric, &[], None, Value::Int(value))
    }

    /// A float point.
    ///
    /// ```
    /// use millrace_sdk::{Level, testing};
    ///
    /// let batch = testing::batch("node-a").entity(Level::Node, &[]).float("cpu/load", 0.5).build();
    /// assert_eq!(batch.all().next().unwrap().float("cpu/load"), Some(0.5));
    /// ```
    #[must_use]
    pub fn float(self, metric: &str, value: f64) -> Self {
        self.point(metric, &[], None, Value::Float(value))
    }

    /// Any point: with labels of its own, and the time it was measured, ms after the epoch.
    ///
    /// ```
    /// use millrace_sdk::{Level, Value, testing};
    ///
    /// let batch = testing::batch("node-a")
    ///     .entity(Level::Node, &[]).point("network/rx", &[("interface", "eth0")], Some(59_500), Value::Int(1))
    ///     .build();
    /// let point = batch.all().next().unwrap().points().next().unwrap();
    /// assert_eq!((point.label("interface"), point.measured_at()), (Some("eth0"), Some(59_500_000_000)));
    /// ```
    #[must_use]
    pub fn point(mut self, metric: &str, labels: &[(&str, &str)], at_ms: Option<i32>, value: Value) -> Self {
        let wanted = match value {
            Value::Int(_) => ValueType::Int,
            Value::Float(_) => ValueType::Float,
        };
        let metric = self.metric_of(metric, wanted);
        // A metric has one type: a value of the other becomes it, as in an edit.
        let bits = value.bits_as(ValueType::from_byte(self.metrics.value[metric as usize]).unwrap_or(wanted));
        let set = self.set(labels);
        self.points.metric.push(metric);
        self.points.labels.push(set);
        self.points.at.push(at_ms.unwrap_or(UNKNOWN_AT));
        self.points.bits.push(bits);
        if let Some(end) = self.entities.point_ends.last_mut() {
            *end += 1;
        }
        self
    }

    /// The batch.
    ///
    /// ```
    /// assert!(millrace_sdk::testing::batch("node-a").build().is_empty());
    /// ```
    #[must_use]
    pub fn build(self) -> Batch {
        Batch::new(
            self.cycle,
            wit::Batch {
                origin: self.origin,
                base: 0,
                symbols: self.symbols,
                metrics: self.metrics,
                label_sets: self.sets,
                entities: self.entities,
                points: self.points,
            },
        )
    }

    fn symbol(&mut self, string: &str) -> u32 {
        if let Some(id) = self.strings.iter().position(|known| known == string) {
            return id as u32;
        }
        self.strings.push(string.to_owned());
        self.symbols.text.extend_from_slice(string.as_bytes());
        self.symbols.ends.push(self.symbols.text.len() as u32);
        self.strings.len() as u32 - 1
    }

    /// The row of a metric. One that nobody declared is a gauge without a unit that sums.
    fn metric_of(&mut self, name: &str, value: ValueType) -> u32 {
        let symbol = self.symbol(name);
        if let Some(row) = self.metrics.name.iter().position(|&known| known == symbol) {
            return row as u32;
        }
        let descriptor = Descriptor::gauge(name, "");
        self.declare(Descriptor { value, ..descriptor });
        self.metrics.name.len() as u32 - 1
    }

    fn declare(&mut self, descriptor: Descriptor<'_>) {
        let (name, unit) = (self.symbol(descriptor.name), self.symbol(descriptor.unit));
        self.metrics.name.push(name);
        self.metrics.unit.push(unit);
        self.metrics.kind.push(descriptor.kind as u8);
        self.metrics.value.push(descriptor.value as u8);
        self.metrics.merge.push(descriptor.merge as u8);
    }

    fn set(&mut self, labels: &[(&str, &str)]) -> u32 {
        if labels.is_empty() {
            return 0;
        }
        for (name, value) in labels {
            let (name, value) = (self.symbol(name), self.symbol(value));
            self.sets.names.push(name);
            self.sets.values.push(value);
        }
        self.sets.ends.push(self.sets.names.len() as u32);
        self.sets.ends.len() as u32 - 1
    }
}

/// Makes a rule from settings as the host hands them over, a JSON object.
///
/// ```
/// use millrace_sdk::prelude::*;
/// use millrace_sdk::testing;
/// # struct Quiet;
/// # impl Rule for Quiet {
/// #     type Settings = NoSettings;
/// #     fn configure(_: NoSettings) -> Result<Self, Refusal> { Ok(Self) }
/// # }
///
/// let refusal = testing::configure::<Quiet>(r#"{"quiet":true}"#).err().unwrap();
/// assert_eq!(refusal.reason(), "unknown field `quiet`, there are no fields");
/// ```
///
/// # Errors
/// What an operator would read: the key that is wrong and why, or the rule's refusal.
pub fn configure<R: Rule>(settings: &str) -> Result<R, Refusal> {
    R::configure(crate::settings::read(settings)?)
}

/// Processes a batch and answers its rows as they stand after the edit:
/// `level {label=value,…} metric{label=value} = value`, in the batch's order.
///
/// ```
/// use millrace_sdk::prelude::*;
/// use millrace_sdk::testing;
/// # struct Quiet;
/// # impl Rule for Quiet {
/// #     type Settings = NoSettings;
/// #     fn configure(_: NoSettings) -> Result<Self, Refusal> { Ok(Self) }
/// # }
///
/// let batch = testing::sample();
/// assert_eq!(testing::process(&mut Quiet, &batch).unwrap(), testing::edit(&batch, |_| {}));
/// ```
///
/// # Errors
/// The rule's refusal.
pub fn process<R: Rule>(rule: &mut R, batch: &Batch) -> Result<Vec<String>, Refusal> {
    let mut edit = Edit::for_batch(batch);
    rule.process(batch, &mut edit)?;
    Ok(print::rows(batch, &edit.into_wit()))
}

/// Ends a cycle and answers the rows that the rule adds.
///
/// ```
/// use millrace_sdk::prelude::*;
/// use millrace_sdk::testing;
/// # struct Quiet;
/// # impl Rule for Quiet {
/// #     type Settings = NoSettings;
/// #     fn configure(_: NoSettings) -> Result<Self, Refusal> { Ok(Self) }
/// # }
///
/// assert!(testing::finish(&mut Quiet, 1).unwrap().is_empty());
/// ```
///
/// # Errors
/// The rule's refusal.
pub fn finish<R: Rule>(rule: &mut R, number: u64) -> Result<Vec<String>, Refusal> {
    let mut edit = Edit::for_totals();
    rule.finish(&cycle(number), &mut edit)?;
    let nothing = batch("totals").build();
    Ok(print::rows(&nothing, &edit.into_wit()))
}

/// Answers the rows of a batch after an edit: for tests of a rule's parts.
///
/// ```
/// use millrace_sdk::testing;
///
/// let batch = testing::sample();
/// let rows = testing::edit(&batch, |edit| edit.drop_entity(batch.all().next().unwrap()));
/// assert!(rows[0].starts_with("pod "));
/// ```
pub fn edit(batch: &Batch, make: impl FnOnce(&mut Edit)) -> Vec<String> {
    let mut edit = Edit::for_batch(batch);
    make(&mut edit);
    print::rows(batch, &edit.into_wit())
}

/// The lines that were logged on this thread since it was last asked, `severity: message`.
///
/// ```
/// use millrace_sdk::{host, testing};
///
/// host::info("ready");
/// assert_eq!(testing::logged(), ["info: ready"]);
/// assert!(testing::logged().is_empty());
/// ```
#[cfg(not(target_arch = "wasm32"))]
#[must_use]
pub fn logged() -> Vec<String> {
    crate::host::native::take_logged()
}

/// How far a counter of the rule's own was counted on this thread.
///
/// ```
/// use millrace_sdk::{host, testing};
///
/// host::count("dropped", 2);
/// host::count("dropped", 3);
/// assert_eq!(testing::counted("dropped"), 5);
/// ```
#[cfg(not(target_arch = "wasm32"))]
#[must_use]
pub fn counted(name: &str) -> u64 {
    crate::host::native::counted(name)
}
