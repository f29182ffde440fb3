//! Load curves: what a counter has reached, and what a gauge shows, at any second.
//!
//! A curve is a closed formula of the time, so that any second can be asked for without having lived the ones before.
//! Nothing here knows of pods or of JSON.

use std::f64::consts::TAU;

/// Mixes the seed with up to three coordinates into 64 even bits (splitmix64's finaliser).
pub(super) fn mix(seed: u64, a: u64, b: u64, c: u64) -> u64 {
    let mut state = seed ^ 0x9e37_79b9_7f4a_7c15;
    for part in [a, b, c] {
        state = state.wrapping_add(part).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        state ^= state >> 29;
        state = state.wrapping_mul(0x94d0_49bb_1331_11eb);
        state ^= state >> 32;
    }
    state
}

/// The same as a fraction in `0.0..1.0`.
pub(super) fn fraction(bits: u64) -> f64 {
    (bits >> 11) as f64 / (1_u64 << 53) as f64
}

/// Seconds over which one draw of noise holds.
const NOISE_SECS: i64 = 10;
/// Shares of the mean: slow wave, fast wave, noise. Their sum stays below one, so a counter never falls.
const SLOW: f64 = 0.35;
const FAST: f64 = 0.2;
const NOISE: f64 = 0.3;

/// A load that swings around a mean: a slow wave (10 to 60 minutes), a fast one (1 to 4 minutes) and noise.
#[derive(Debug, Clone)]
pub(super) struct Curve {
    /// Mean rate, units a second.
    mean: u64,
    slow: Wave,
    fast: Wave,
    seed: u64,
}

#[derive(Debug, Clone)]
struct Wave {
    /// Radians a second.
    speed: f64,
    phase: f64,
}

impl Wave {
    fn new(bits: u64, shortest_secs: f64, longest_secs: f64) -> Self {
        let period = shortest_secs + fraction(bits) * (longest_secs - shortest_secs);
        Self { speed: TAU / period, phase: fraction(bits.rotate_left(32)) * TAU }
    }

    fn angle(&self, at: i64) -> f64 {
        (self.speed * at as f64 + self.phase) % TAU
    }
}

impl Curve {
    /// A curve of that mean rate (units a second), its swing drawn from `seed`.
    pub(super) fn new(seed: u64, mean: u64) -> Self {
        Self {
            mean,
            slow: Wave::new(mix(seed, 1, 0, 0), 600.0, 3600.0),
            fast: Wave::new(mix(seed, 2, 0, 0), 60.0, 240.0),
            seed,
        }
    }

    /// Units counted from second 0 to second `at`. Never falls as `at` grows.
    ///
    /// The steady part is exact in integers; only the bounded swing goes through floating point, so that counters of
    /// 10^16 keep every unit.
    pub(super) fn counted(&self, at: i64) -> u64 {
        let mean = self.mean as f64;
        let swing = SLOW * mean / self.slow.speed * (1.0 - self.slow.angle(at).cos())
            + FAST * mean / self.fast.speed * (1.0 - self.fast.angle(at).cos())
            + NOISE * mean * NOISE_SECS as f64 * self.noise(at);
        self.mean * u64::try_from(at).unwrap_or(0) + swing as u64
    }

    /// Units counted after `from` up to `at`; 0 when `at` is not later.
    pub(super) fn counted_since(&self, from: i64, at: i64) -> u64 {
        if at <= from { 0 } else { self.counted(at).saturating_sub(self.counted(from)) }
    }

    /// A level between 0 and 1 that follows the same waves, for gauges.
    pub(super) fn level(&self, at: i64) -> f64 {
        0.5 + 0.3 * self.slow.angle(at).sin() + 0.1 * self.fast.angle(at).sin() + 0.1 * (self.noise(at) - 0.5)
    }

    /// Noise in 0..1: a draw at every tenth second, straight lines between them.
    fn noise(&self, at: i64) -> f64 {
        let (bucket, into) = (at.div_euclid(NOISE_SECS), at.rem_euclid(NOISE_SECS));
        let draw = |bucket: i64| fraction(mix(self.seed, 3, bucket as u64, 0));
        let (from, to) = (draw(bucket), draw(bucket + 1));
        from + (to - from) * into as f64 / NOISE_SECS as f64
    }
}

/// Repeated moments, for example restarts: every `period` seconds, the first somewhere within the first period.
#[derive(Debug, Clone, Copy)]
pub(super) struct Schedule {
    period: i64,
    phase: i64,
}

impl Schedule {
    /// Moments with a mean distance of `mean_secs`, the period drawn from half to one and a half of it.
    pub(super) fn new(bits: u64, mean_secs: f64) -> Self {
        let period = (mean_secs * (0.5 + fraction(bits))).clamp(1.0, 1e9) as i64;
        Self { period, phase: (bits.rotate_left(24) >> 1) as i64 % period }
    }

    /// How many moments lie at or before `at`, counted from an arbitrary zero.
    pub(super) fn index(&self, at: i64) -> i64 {
        (at + self.phase).div_euclid(self.period)
    }

    /// The moment of that index.
    pub(super) fn moment(&self, index: i64) -> i64 {
        index * self.period - self.phase
    }

    /// The last moment at or before `at`.
    pub(super) fn last(&self, at: i64) -> i64 {
        self.moment(self.index(at))
    }

    /// The first moment after `at`.
    pub(super) fn next(&self, at: i64) -> i64 {
        self.moment(self.index(at) + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_never_fall_and_keep_their_mean() {
        for seed in 0..20 {
            let curve = Curve::new(seed, 50_000_000);
            let start = 1_767_225_600 + seed as i64 * 1000;
            let mut before = curve.counted(start);
            for at in start + 1..start + 2000 {
                let now = curve.counted(at);
                assert!(now >= before, "seed {seed} falls at {at}");
                before = now;
            }
            let mean = curve.counted_since(start, start + 36_000) / 36_000;
            assert!((45_000_000..55_000_000).contains(&mean), "seed {seed}: mean {mean}");
        }
    }

    #[test]
    fn levels_stay_between_nothing_and_all() {
        let curve = Curve::new(7, 1);
        assert!((0..5000).map(|at| curve.level(at)).all(|level| (0.0..=1.0).contains(&level)));
    }

    #[test]
    fn schedule_moments_enclose_every_second() {
        let schedule = Schedule::new(mix(1, 2, 3, 4), 300.0);
        for at in 1_767_225_600..1_767_227_600 {
            assert!(schedule.last(at) <= at && at < schedule.next(at));
        }
    }
}
