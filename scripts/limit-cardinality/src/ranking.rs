//! The largest of many values, in the room of those that are asked for.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// The series with the largest values.
#[derive(Debug, Default)]
pub struct Ranking {
    /// The smallest on top. Of equal values the series with the larger hash goes first.
    best: BinaryHeap<Reverse<(Ordered, u64)>>,
}

/// A float that can be compared with any other.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Ordered(f64);

impl Eq for Ordered {}

impl PartialOrd for Ordered {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Ordered {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.total_cmp(&other.0)
    }
}

impl Ranking {
    /// Takes a series; it stays if it is one of the `top` largest so far.
    pub fn offer(&mut self, value: f64, series: u64, top: usize) {
        let candidate = Reverse((Ordered(value), series));
        if self.best.len() < top {
            return self.best.push(candidate);
        }
        if let Some(mut smallest) = self.best.peek_mut()
            && candidate < *smallest
        {
            *smallest = candidate;
        }
    }

    /// The series that rank, in no order.
    pub fn series(&self) -> impl Iterator<Item = u64> {
        self.best.iter().map(|Reverse((_, series))| *series)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_stay() {
        let mut ranking = Ranking::default();
        for (series, value) in [(1, 5.0), (2, -1.0), (3, 9.0), (4, 5.5), (5, 0.0)] {
            ranking.offer(value, series, 2);
        }
        let mut series: Vec<u64> = ranking.series().collect();
        series.sort_unstable();
        assert_eq!(series, [3, 4]);
    }
}
