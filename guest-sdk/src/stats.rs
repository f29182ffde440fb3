//! Accumulators for aggregates: sum, smallest, largest, count and average in constant room, and
//! quantiles in bounded room.
//!
//! Sum, smallest, largest and count are *mergeable*: the aggregate of two halves follows from the
//! aggregates of each, so a metric that holds one says how by its [`Merge`](crate::Merge). An
//! average or a quantile is **not**: two averages can't be combined without their counts, nor two
//! quantiles at all. Emit them last, for people to look at, and aggregate nothing further from them.

use crate::Value;

/// Sum, smallest, largest, count and average of values.
///
/// ```
/// use millrace_sdk::{Stats, Value};
///
/// let mut stats = Stats::default();
/// for value in [30, 10, 20] {
///     stats.add(Value::Int(value));
/// }
/// assert_eq!(stats.sum(), Some(Value::Int(60)));
/// assert_eq!(stats.min(), Some(Value::Int(10)));
/// assert_eq!(stats.max(), Some(Value::Int(30)));
/// assert_eq!(stats.count(), 3);
/// assert_eq!(stats.avg(), Some(20.0));
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Stats {
    count: u64,
    /// Sum, smallest and largest.
    known: Option<(Value, Value, Value)>,
    /// The sum as a float: an integer sum stops at its largest value, an average need not.
    total: f64,
}

impl Stats {
    /// Takes a value. Integer sums stop at the largest integer instead of wrapping around.
    ///
    /// ```
    /// use millrace_sdk::{Stats, Value};
    ///
    /// let mut stats = Stats::default();
    /// stats.add(Value::Int(i64::MAX));
    /// stats.add(Value::Int(1));
    /// assert_eq!(stats.sum(), Some(Value::Int(i64::MAX)));
    /// ```
    pub fn add(&mut self, value: Value) {
        self.count += 1;
        self.total += value.as_f64();
        self.known = Some(match self.known {
            None => (value, value, value),
            Some((sum, min, max)) => (sum.plus(value), min.smaller(value), max.larger(value)),
        });
    }

    /// How many values there were. Mergeable: counts sum.
    ///
    /// ```
    /// assert_eq!(millrace_sdk::Stats::default().count(), 0);
    /// ```
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Their sum, an integer if all were; `None` if there were none. Mergeable: sums sum.
    ///
    /// ```
    /// # use millrace_sdk::{Stats, Value};
    /// let mut stats = Stats::default();
    /// stats.add(Value::Int(1));
    /// stats.add(Value::Float(0.5));
    /// assert_eq!(stats.sum(), Some(Value::Float(1.5)));
    /// ```
    #[must_use]
    pub fn sum(&self) -> Option<Value> {
        self.known.map(|(sum, _, _)| sum)
    }

    /// The smallest. Mergeable: by [`Merge::Min`](crate::Merge::Min).
    ///
    /// ```
    /// assert_eq!(millrace_sdk::Stats::default().min(), None);
    /// ```
    #[must_use]
    pub fn min(&self) -> Option<Value> {
        self.known.map(|(_, min, _)| min)
    }

    /// The largest. Mergeable: by [`Merge::Max`](crate::Merge::Max).
    ///
    /// ```
    /// assert_eq!(millrace_sdk::Stats::default().max(), None);
    /// ```
    #[must_use]
    pub fn max(&self) -> Option<Value> {
        self.known.map(|(_, _, max)| max)
    }

    /// The average. **Not mergeable**: emit sum and count where somebody has to go on with it.
    ///
    /// ```
    /// # use millrace_sdk::{Stats, Value};
    /// let mut stats = Stats::default();
    /// stats.add(Value::Int(1));
    /// stats.add(Value::Int(2));
    /// assert_eq!(stats.avg(), Some(1.5));
    /// ```
    #[must_use]
    pub fn avg(&self) -> Option<f64> {
        (self.count > 0).then(|| self.total / self.count as f64)
    }
}

/// Values kept one by one until there are more; small groups get exact quantiles.
const EXACT: usize = 256;
/// Bits of an f64 below those that choose its bucket: 7 bits of mantissa are left.
const SHIFT: u32 = 45;

/// Quantiles of values: exact for up to 256, then each at most 0.4 % off. **Not mergeable.**
///
/// The room is bounded, however many values come: what is over 256 values goes into buckets that
/// grow with the value, 128 to each power of two.
///
/// ```
/// use millrace_sdk::{Quantiles, Value};
///
/// let mut latencies = Quantiles::default();
/// for value in 1..=100 {
///     latencies.add(Value::Int(value));
/// }
/// assert_eq!(latencies.at(0.5), Some(50.0));
/// assert_eq!(latencies.at(0.99), Some(99.0));
/// assert_eq!(latencies.at(1.0), Some(100.0));
/// ```
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Quantiles {
    /// In order. A list that is kept in order takes less code than a sort or a tree, and each
    /// value is put where it belongs once.
    exact: Vec<f64>,
    /// Buckets in order, with how many values they hold; empty as long as `exact` has room.
    buckets: Vec<(i32, u64)>,
    count: u64,
}

impl Quantiles {
    /// Takes a value; what is not finite is left out.
    ///
    /// ```
    /// # use millrace_sdk::{Quantiles, Value};
    /// let mut values = Quantiles::default();
    /// values.add(Value::Float(f64::NAN));
    /// assert_eq!(values.at(0.5), None);
    /// ```
    pub fn add(&mut self, value: Value) {
        let value = value.as_f64();
        if !value.is_finite() {
            return;
        }
        self.count += 1;
        if self.buckets.is_empty() && self.exact.len() < EXACT {
            let at = self.exact.partition_point(|other| other.total_cmp(&value).is_lt());
            return self.exact.insert(at, value);
        }
        for value in self.exact.drain(..).chain([value]) {
            let bucket = bucket(value);
            match self.buckets.binary_search_by_key(&bucket, |&(known, _)| known) {
                Ok(at) => self.buckets[at].1 += 1,
                Err(at) => self.buckets.insert(at, (bucket, 1)),
            }
        }
    }

    /// The value that a share `quantile` (0 to 1) of all values is not above, by nearest rank; `None`
    /// if there were no values.
    ///
    /// ```
    /// # use millrace_sdk::{Quantiles, Value};
    /// let mut values = Quantiles::default();
    /// for value in 0..100_000 {
    ///     values.add(Value::Int(value));
    /// }
    /// let median = values.at(0.5).unwrap();
    /// assert!((median - 50_000.0).abs() < 200.0, "{median}");
    /// ```
    #[must_use]
    pub fn at(&self, quantile: f64) -> Option<f64> {
        if self.count == 0 {
            return None;
        }
        let rank = ((quantile.clamp(0.0, 1.0) * self.count as f64).ceil() as u64).clamp(1, self.count);
        if self.buckets.is_empty() {
            return self.exact.get(rank as usize - 1).copied();
        }
        let mut seen = 0;
        let holds = |&(bucket, count): &(i32, u64)| {
            seen += count;
            (seen >= rank).then_some(bucket)
        };
        self.buckets.iter().find_map(holds).map(middle)
    }
}

/// Buckets in the order of their values; those of negative values are negative. Values nearer to 0
/// than 2^-64 count as 0, those beyond 2^64 as 2^64: so there are 32,769 buckets at most.
fn bucket(value: f64) -> i32 {
    const SMALLEST: u64 = (1023 - 64) << 52;
    const LARGEST: u64 = (1023 + 64) << 52;
    let size = value.abs().to_bits();
    if size < SMALLEST {
        return 0;
    }
    let bucket = ((size.min(LARGEST) - SMALLEST) >> SHIFT) as i32 + 1;
    if value < 0.0 { -bucket } else { bucket }
}

/// The middle of a bucket.
fn middle(bucket: i32) -> f64 {
    if bucket == 0 {
        return 0.0;
    }
    let low = ((u64::from(bucket.unsigned_abs()) - 1) << SHIFT) + ((1023 - 64) << 52);
    let middle = f64::from_bits(low + (1 << (SHIFT - 1)));
    if bucket < 0 { -middle } else { middle }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_ordered_and_narrow() {
        for value in [1e-30, 1e-9, 0.1, 1.0, 1.5, 2.0, 1000.0, 1e9, 9.2e18, 1e19] {
            if value > 1e-19 {
                let off = (middle(bucket(value)) - value).abs() / value;
                assert!(off <= 0.004, "{value} is {off} off");
            }
            assert!(bucket(value) >= bucket(value / 2.0), "{value}");
            assert_eq!(bucket(-value), -bucket(value), "{value}");
        }
        assert_eq!(bucket(0.0), 0);
        assert!(bucket(f64::MAX) < 1 << 15);
    }

    #[test]
    fn room_is_bounded_whatever_the_values() {
        let mut values = Quantiles::default();
        let mut bits = 1_u64;
        for _ in 0..200_000 {
            bits = bits.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            values.add(Value::Float(f64::from_bits(bits)));
        }
        assert!(values.buckets.len() <= 32_769 && values.exact.is_empty());
        assert!(values.at(0.0) < values.at(1.0));
    }

    #[test]
    fn small_groups_are_exact() {
        let mut values = Quantiles::default();
        assert_eq!(values.at(0.5), None);
        for value in [9, -1, 4] {
            values.add(Value::Int(value));
        }
        assert_eq!([0.0, 0.33, 0.5, 0.7, 1.0].map(|at| values.at(at)), [-1.0, -1.0, 4.0, 9.0, 9.0].map(Some));
    }
}
