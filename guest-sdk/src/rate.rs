//! From cumulative to per second, with reset rules.

use std::hash::{BuildHasher, Hash, Hasher};

use hashbrown::{DefaultHashBuilder, HashTable};

use crate::edit::same;

/// How long a baseline is kept without a new sample, in cycles: one or two missed scrapes leave
/// no gap in a rate.
const KEEP_CYCLES: u64 = 3;

/// Remembers the last sample of `SLOTS` counters of each entity.
///
/// A counter that falls gives no rate, nor does one whose entity started anew or whose time did
/// not advance; the newest sample is the next baseline.
///
/// ```
/// use millrace_sdk::prelude::*;
/// use millrace_sdk::{Rates, testing};
///
/// /// Adds the rate of a cumulative metric.
/// struct RequestRate { rates: Rates<1>, key: String }
///
/// impl Rule for RequestRate {
///     type Settings = NoSettings;
///
///     fn configure(_: NoSettings) -> Result<Self, Refusal> {
///         Ok(Self { rates: Rates::new(), key: String::new() })
///     }
///
///     fn process(&mut self, batch: &Batch, edit: &mut Edit) -> Result<(), Refusal> {
///         let rate = edit.metric(Descriptor::gauge("requests_rate", "1/s").float());
///         for pod in batch.entities(Level::Pod) {
///             let Some(point) = pod.point("requests") else { continue };
///             self.key.clear();
///             pod.write_key(&mut self.key);
///             let mut known = self.rates.entity(&[&self.key], batch.cycle().number, pod.started_at().unwrap_or(0));
///             let (Some(at), Some(value)) = (point.measured_at(), point.value().as_int()) else { continue };
///             if let Some(change) = known.sample(0, at, value) {
///                 edit.add_measured(pod, rate, change.per_second(), point);
///             }
///         }
///         Ok(())
///     }
///
///     fn finish(&mut self, cycle: &Cycle, _: &mut Edit) -> Result<(), Refusal> {
///         self.rates.purge(cycle.number);
///         Ok(())
///     }
/// }
///
/// let mut rule: RequestRate = testing::configure("{}").unwrap();
/// for (cycle, at_ms, value) in [(1, 60_000, 100), (2, 70_000, 150)] {
///     let pod = testing::batch("node-a").cycle(cycle).entity(Level::Pod, &[("pod_name", "web")]);
///     let batch = pod.point("requests", &[], Some(at_ms), Value::Int(value)).build();
///     let rows = testing::process(&mut rule, &batch).unwrap();
///     assert_eq!(rows.get(1).map(String::as_str), (cycle == 2).then_some("pod {pod_name=web} requests_rate = 5.0"));
/// }
/// ```
#[derive(Debug)]
pub struct Rates<const SLOTS: usize> {
    // Boxed: a table of pointers costs little when it doubles, and a module's memory never shrinks.
    entities: HashTable<Box<Baseline<SLOTS>>>,
    hasher: DefaultHashBuilder,
}

#[derive(Debug)]
struct Baseline<const SLOTS: usize> {
    key: Key,
    started_at: i64,
    /// The cycle of the last sample.
    cycle: u64,
    /// When each counter was measured, ns; `i64::MIN` = never.
    at: [i64; SLOTS],
    value: [i64; SLOTS],
}

/// The parts of a key in one piece, each after its length, so that no two keys look alike.
#[derive(Debug)]
struct Key(Box<[u8]>);

impl Key {
    fn of(parts: &[&str]) -> Self {
        let mut bytes = Vec::with_capacity(parts.iter().map(|part| 4 + part.len()).sum());
        for part in parts {
            bytes.extend_from_slice(&(part.len() as u32).to_le_bytes());
            bytes.extend_from_slice(part.as_bytes());
        }
        Self(bytes.into())
    }

    fn parts(&self) -> impl Iterator<Item = &[u8]> {
        let mut rest = &*self.0;
        std::iter::from_fn(move || {
            let (length, after) = rest.split_first_chunk::<4>()?;
            let (part, after) = after.split_at_checked(u32::from_le_bytes(*length) as usize)?;
            rest = after;
            Some(part)
        })
    }

    fn is(&self, parts: &[&str]) -> bool {
        let mut own = self.parts();
        parts.iter().all(|part| own.next().is_some_and(|own| same(own, part.as_bytes()))) && own.next().is_none()
    }
}

fn hash_of<'k>(hasher: &DefaultHashBuilder, parts: impl Iterator<Item = &'k [u8]>) -> u64 {
    let mut state = hasher.build_hasher();
    for part in parts {
        part.hash(&mut state);
    }
    state.finish()
}

/// How much a counter rose, and in what time.
///
/// ```
/// let change = millrace_sdk::Change { delta: 30, elapsed_ns: 60_000_000_000 };
/// assert_eq!(change.per_second(), 0.5);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Change {
    /// By how much; never negative.
    pub delta: i64,
    /// In how many nanoseconds; always positive.
    pub elapsed_ns: i64,
}

impl Change {
    /// The rate.
    ///
    /// ```
    /// assert_eq!(millrace_sdk::Change { delta: 3, elapsed_ns: 1_000_000_000 }.per_second(), 3.0);
    /// ```
    #[must_use]
    #[inline]
    pub fn per_second(self) -> f64 {
        1e9 * self.delta as f64 / self.elapsed_ns as f64
    }

    /// The rate in thousandths, cut to an integer: nanoseconds of CPU become millicores.
    ///
    /// ```
    /// let cpu = millrace_sdk::Change { delta: 2_500_000_000, elapsed_ns: 10_000_000_000 };
    /// assert_eq!(cpu.millis(), 250, "millicores");
    /// ```
    #[must_use]
    #[inline]
    pub fn millis(self) -> i64 {
        match self.delta.checked_mul(1000) {
            Some(thousandths) => thousandths / self.elapsed_ns,
            // Wasm has no instructions for 128 bits, so this way is slow.
            None => (i128::from(self.delta) * 1000 / i128::from(self.elapsed_ns)) as i64,
        }
    }
}

impl<const SLOTS: usize> Default for Rates<SLOTS> {
    fn default() -> Self {
        Self::new()
    }
}

impl<const SLOTS: usize> Rates<SLOTS> {
    /// Nothing remembered.
    ///
    /// ```
    /// assert!(millrace_sdk::Rates::<2>::new().is_empty());
    /// ```
    #[must_use]
    pub fn new() -> Self {
        Self { entities: HashTable::new(), hasher: DefaultHashBuilder::default() }
    }

    /// How many entities are remembered.
    ///
    /// ```
    /// let mut rates = millrace_sdk::Rates::<1>::new();
    /// rates.entity(&["default", "web"], 1, 0);
    /// assert_eq!(rates.len(), 1);
    /// ```
    #[must_use]
    pub fn len(&self) -> usize {
        self.entities.len()
    }

    /// Whether none is.
    ///
    /// ```
    /// assert!(millrace_sdk::Rates::<1>::default().is_empty());
    /// ```
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entities.is_empty()
    }

    /// The counters of one entity in this cycle. `key` tells it from all others, in parts that are
    /// compared one by one: a node, a namespace, a pod, a container. `started_at` in ns, 0 where
    /// unknown.
    ///
    /// ```
    /// let mut rates = millrace_sdk::Rates::<1>::new();
    /// rates.entity(&["default", "web"], 1, 0).sample(0, 1_000_000_000, 5);
    /// let change = rates.entity(&["default", "web"], 2, 0).sample(0, 3_000_000_000, 9);
    /// assert_eq!(change.map(|change| change.per_second()), Some(2.0));
    /// assert_eq!(rates.entity(&["default", "web"], 3, 77).sample(0, 4_000_000_000, 10), None, "it started anew");
    /// ```
    pub fn entity(&mut self, key: &[&str], cycle: u64, started_at: i64) -> EntityRates<'_, SLOTS> {
        let hash = hash_of(&self.hasher, key.iter().map(|part| part.as_bytes()));
        let hasher = &self.hasher;
        let baseline = self
            .entities
            .entry(hash, |known| known.key.is(key), |known| hash_of(hasher, known.key.parts()))
            .or_insert_with(|| {
                let (at, value) = ([i64::MIN; SLOTS], [0; SLOTS]);
                Box::new(Baseline { key: Key::of(key), started_at, cycle, at, value })
            })
            .into_mut();
        if baseline.started_at != started_at || cycle.saturating_sub(baseline.cycle) > KEEP_CYCLES {
            baseline.started_at = started_at;
            baseline.at = [i64::MIN; SLOTS];
        }
        baseline.cycle = cycle;
        EntityRates { baseline }
    }

    /// Forgets entities without a sample in the last three cycles. Call it in `finish`.
    ///
    /// ```
    /// let mut rates = millrace_sdk::Rates::<1>::new();
    /// rates.entity(&["default", "web"], 1, 0);
    /// rates.purge(9);
    /// assert!(rates.is_empty());
    /// ```
    pub fn purge(&mut self, cycle: u64) {
        self.entities.retain(|known| cycle.saturating_sub(known.cycle) < KEEP_CYCLES);
    }
}

/// The counters of one entity.
///
/// ```
/// use millrace_sdk::{EntityRates, Rates};
///
/// let mut rates = Rates::<2>::new();
/// let mut pod: EntityRates<'_, 2> = rates.entity(&["default", "web"], 1, 0);
/// assert_eq!(pod.sample(0, 1_000_000_000, 5), None, "the first");
/// assert_eq!(pod.sample(1, 1_000_000_000, 7), None, "the first of another counter");
/// ```
#[derive(Debug)]
pub struct EntityRates<'a, const SLOTS: usize> {
    baseline: &'a mut Baseline<SLOTS>,
}

impl<const SLOTS: usize> EntityRates<'_, SLOTS> {
    /// Takes a sample of counter `slot`, measured at `at` ns by the node's own clock; answers how
    /// much it rose since the last one. `None` for the first sample, and wherever there is no rate.
    ///
    /// ```
    /// let mut rates = millrace_sdk::Rates::<1>::new();
    /// let mut sample = |cycle, at, value| rates.entity(&["default", "web"], cycle, 0).sample(0, at, value);
    /// assert_eq!(sample(1, 1_000_000_000, 5), None);
    /// assert_eq!(sample(2, 2_000_000_000, 8).map(|change| change.delta), Some(3));
    /// assert_eq!(sample(3, 3_000_000_000, 1), None, "it fell");
    /// ```
    #[inline]
    pub fn sample(&mut self, slot: usize, at: i64, value: i64) -> Option<Change> {
        let (last_at, last) = (self.baseline.at.get_mut(slot)?, &mut self.baseline.value[slot]);
        if *last_at == at {
            return None;
        }
        let (before_at, before) = (std::mem::replace(last_at, at), std::mem::replace(last, value));
        let elapsed_ns = at.checked_sub(before_at)?;
        let delta = value.checked_sub(before)?;
        (before_at != i64::MIN && elapsed_ns > 0 && delta >= 0).then_some(Change { delta, elapsed_ns })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: i64 = 1_000_000_000;

    #[test]
    fn a_rate_needs_two_samples_whose_time_advances() {
        let mut rates = Rates::<1>::new();
        let mut sample = |cycle, started, at, value| {
            rates.entity(&["a", "b"], cycle, started).sample(0, at, value).map(Change::per_second)
        };
        assert_eq!(sample(1, 7, S, 100), None, "first");
        assert_eq!(sample(2, 7, 11 * S, 200), Some(10.0), "second");
        assert_eq!(sample(3, 7, 11 * S, 250), None, "time stood still");
        assert_eq!(sample(4, 7, 21 * S, 300), Some(10.0), "the old baseline still counts");
        assert_eq!(sample(5, 7, 31 * S, 10), None, "fell");
        assert_eq!(sample(6, 7, 41 * S, 20), Some(1.0), "the newest sample is the baseline");
        assert_eq!(sample(7, 8, 51 * S, 90), None, "started anew");
        assert_eq!(sample(9, 8, 71 * S, 110), Some(1.0), "a missed cycle is bridged");
        assert_eq!(sample(13, 8, 91 * S, 130), None, "more than three are not");
        assert_eq!(sample(14, 8, 81 * S, 140), None, "time went back");
        assert_eq!(sample(15, 8, 91 * S, 150), Some(1.0), "and counts from there");
    }

    #[test]
    fn keys_are_equal_in_all_parts_or_not_at_all() {
        let long = "a-name-of-more-than-eight-bytes";
        let key = Key::of(&["ns", long, ""]);
        assert!(key.is(&["ns", long, ""]));
        for other in [&["ns", long] as &[&str], &["ns", long, "", ""], &["nsa", &long[1..], ""], &["ns", long, "x"]] {
            assert!(!key.is(other), "{other:?}");
        }
    }

    #[test]
    fn the_forgotten_are_gone() {
        let mut rates = Rates::<1>::new();
        let _ = rates.entity(&["old"], 1, 0).sample(0, S, 1);
        let _ = rates.entity(&["new"], 3, 0).sample(0, S, 1);
        rates.purge(4);
        assert_eq!(rates.len(), 1);
    }

    #[test]
    fn millicores_are_cut_not_rounded() {
        let change = Change { delta: 1_999_999, elapsed_ns: S };
        assert_eq!(change.millis(), 1);
        assert_eq!(Change { delta: i64::MAX, elapsed_ns: 1000 * S }.millis(), i64::MAX / S);
    }
}
