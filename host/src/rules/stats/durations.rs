//! How long calls took: a count for each of some fixed bounds, so that percentiles can be told and
//! Prometheus has a histogram, at the price of an addition a call.

use std::time::Duration;

use serde::ser::{Serialize, SerializeMap, SerializeStruct, Serializer};

/// Upper bounds of the buckets, µs; one more bucket has what took longer. From a small rule's batch
/// to the longest call that a manifest allows in earnest.
pub const BOUNDS_US: [u64; 18] = [
    10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000,
    2_500_000, 5_000_000,
];

const BUCKETS: usize = BOUNDS_US.len() + 1;

/// Durations of calls of one sort.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Durations {
    /// Calls of each bucket, not of those below it.
    buckets: [u64; BUCKETS],
    sum_ns: u64,
    max_ns: u64,
}

impl Durations {
    /// Counts one call.
    pub fn observe(&mut self, took: Duration) {
        let ns = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        self.buckets[BOUNDS_US.partition_point(|bound| bound * 1_000 < ns)] += 1;
        self.sum_ns = self.sum_ns.saturating_add(ns);
        self.max_ns = self.max_ns.max(ns);
    }

    /// Counts the calls that another counted.
    pub fn add(&mut self, other: &Self) {
        for (calls, more) in self.buckets.iter_mut().zip(other.buckets) {
            *calls += more;
        }
        self.sum_ns = self.sum_ns.saturating_add(other.sum_ns);
        self.max_ns = self.max_ns.max(other.max_ns);
    }

    /// How many calls there were.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }

    /// What they took together.
    #[must_use]
    pub fn sum(&self) -> Duration {
        Duration::from_nanos(self.sum_ns)
    }

    /// Upper bounds in seconds, the last one infinite, with the calls of each bucket alone.
    #[must_use]
    pub fn buckets(&self) -> [(f64, u64); BUCKETS] {
        let bound = |at: usize| BOUNDS_US.get(at).map_or(f64::INFINITY, |&us| us as f64 / 1e6);
        std::array::from_fn(|at| (bound(at), self.buckets[at]))
    }

    /// What `share` of the calls (0 to 1) did not exceed, interpolated within its bucket; `None`
    /// before the first call.
    #[must_use]
    pub fn quantile(&self, share: f64) -> Option<Duration> {
        quantile(&self.buckets, share).map(|us| Duration::from_nanos(((us * 1e3) as u64).min(self.max_ns)))
    }
}

/// The same for counts of these buckets from elsewhere, µs. In the last bucket its lower bound is
/// all that is known.
#[must_use]
pub fn quantile(buckets: &[u64], share: f64) -> Option<f64> {
    let count: u64 = buckets.iter().sum();
    let wanted = share.clamp(0.0, 1.0) * count as f64;
    let mut below = 0.0;
    let at = buckets.iter().position(|&calls| {
        let found = calls > 0 && below + calls as f64 >= wanted;
        if !found {
            below += calls as f64;
        }
        found
    })?;
    let bound = |at: usize| BOUNDS_US[at.min(BOUNDS_US.len() - 1)] as f64;
    let low = if at == 0 { 0.0 } else { bound(at - 1) };
    Some(low + (bound(at) - low) * (wanted - below) / buckets[at] as f64)
}

/// Times in µs; of the buckets those with calls, by their upper bound.
impl Serialize for Durations {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let us = |duration: Duration| (duration.as_nanos() as f64 / 1e2).round() / 10.0;
        let mut out = to.serialize_struct("Durations", 6)?;
        out.serialize_field("calls", &self.count())?;
        out.serialize_field("total_us", &us(self.sum()))?;
        out.serialize_field("p50_us", &self.quantile(0.5).map(us))?;
        out.serialize_field("p99_us", &self.quantile(0.99).map(us))?;
        out.serialize_field("max_us", &us(Duration::from_nanos(self.max_ns)))?;
        out.serialize_field("buckets_us", &Buckets(&self.buckets))?;
        out.end()
    }
}

struct Buckets<'a>(&'a [u64; BUCKETS]);

impl Serialize for Buckets<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let mut out = to.serialize_map(None)?;
        for (at, calls) in self.0.iter().enumerate().filter(|(_, calls)| **calls > 0) {
            match BOUNDS_US.get(at) {
                Some(bound) => out.serialize_entry(bound, calls)?,
                None => out.serialize_entry("more", calls)?,
            }
        }
        out.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(microseconds: &[u64]) -> Durations {
        let mut durations = Durations::default();
        microseconds.iter().for_each(|&us| durations.observe(Duration::from_micros(us)));
        durations
    }

    #[test]
    fn a_bound_belongs_to_the_bucket_below_it() {
        let durations = of(&[0, 10, 11, 5_000_000, 5_000_001]);
        let buckets = durations.buckets();
        assert_eq!((buckets[0], buckets[1]), ((1e-5, 2), (2.5e-5, 1)));
        assert_eq!((buckets[17], buckets[18]), ((5.0, 1), (f64::INFINITY, 1)));
        assert_eq!((durations.count(), durations.sum()), (5, Duration::from_micros(10_000_022)));
    }

    #[test]
    fn quantiles_are_interpolated_and_never_beyond_the_longest() {
        assert_eq!(of(&[]).quantile(0.5), None);
        for (name, calls, share, want) in [
            ("half way into a bucket", vec![20; 4], 0.5, 17_500),
            ("the longest bounds it", vec![20; 4], 1.0, 20_000),
            ("the second bucket", vec![5, 5, 5, 40], 0.99, 40_000),
            ("longer than all bounds", vec![60_000_000], 0.5, 5_000_000_000),
        ] {
            assert_eq!(of(&calls).quantile(share), Some(Duration::from_nanos(want)), "{name}");
        }
    }

    #[test]
    fn as_json_it_is_short() {
        let json = serde_json::to_string(&of(&[10, 10, 30, 9_000_000])).unwrap();
        let want = r#"{"calls":4,"total_us":9000050.0,"p50_us":10.0,"p99_us":5000000.0,"max_us":9000000.0,"#;
        assert_eq!(json, format!("{want}\"buckets_us\":{{\"10\":2,\"50\":1,\"more\":1}}}}"));
    }
}
