//! The largest difference of one cell's share when nothing has drifted.

/// How likely each difference is, over all cells: the largest first, each with how many cells are expected to differ by as
/// much or more.
#[derive(Debug)]
pub(crate) struct LargestDifference {
    expected: Vec<(f64, f64)>,
}

impl LargestDifference {
    /// Of differences with how many cells are expected to have each.
    pub(crate) fn new(mut cells: Vec<(f64, f64)>) -> Self {
        cells.sort_unstable_by(|(a, _), (b, _)| b.total_cmp(a));
        let mut beyond = 0.0;
        for (_, expected) in &mut cells {
            beyond += *expected;
            *expected = beyond;
        }
        Self { expected: cells }
    }

    /// The difference that no cell exceeds but with this probability, or with less of it (Bonferroni).
    pub(crate) fn quantile(&self, tail: f64) -> f64 {
        let beyond = self.expected.partition_point(|(_, expected)| *expected <= tail);
        self.expected.get(beyond).map_or(0.0, |(difference, _)| *difference)
    }

    /// The probability that a cell differs by so much, or an upper bound of it (Bonferroni).
    pub(crate) fn tail(&self, difference: f64) -> f64 {
        let as_large = self.expected.partition_point(|(other, _)| *other >= difference * (1.0 - ROUNDING));
        as_large.checked_sub(1).map_or(0.0, |last| self.expected[last].1.min(1.0))
    }

    /// The mean of the largest difference, as if cells were independent of each other.
    pub(crate) fn mean(&self) -> f64 {
        let next = self.expected.iter().skip(1).map(|(difference, _)| *difference).chain([0.0]);
        self.expected.iter().zip(next).map(|((from, beyond), to)| (from - to) * (1.0 - (-beyond).exp())).sum()
    }
}

/// Differences are equal up to it.
const ROUNDING: f64 = 1e-9;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_of_two_coins() {
        // Two cells, each of which differs by ½ in one of ten samples and else by ¼.
        let largest = LargestDifference::new(vec![(0.25, 1.8), (0.5, 0.2)]);
        assert_eq!((largest.quantile(0.1), largest.quantile(0.3)), (0.5, 0.25));
        assert_eq!((largest.tail(0.5), largest.tail(0.6), largest.tail(0.1)), (0.2, 0.0, 1.0));
        let mean = 0.25 * (1.0 - (-0.2f64).exp()) + 0.25 * (1.0 - (-2.0f64).exp());
        assert!((largest.mean() - mean).abs() < 1e-12);
    }
}
