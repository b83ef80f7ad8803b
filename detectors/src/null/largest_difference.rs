//! The largest difference of one cell's share when nothing has drifted.

/// So many halvings find a quantile to seven digits.
const HALVINGS: usize = 24;
/// Differences are equal up to it.
const ROUNDING: f64 = 1e-9;

/// Cells that may differ by something between two bounds, which are one where differences are told apart.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Differing {
    pub(crate) least: f64,
    pub(crate) most: f64,
    /// How many cells are expected to.
    pub(crate) cells: f64,
}

/// How likely each difference is, over all cells: those that may be largest first, each with how many cells are expected to be
/// there or further on.
#[derive(Debug)]
pub(crate) struct LargestDifference {
    differing: Vec<(Differing, f64)>,
    /// The widest of the bounds.
    width: f64,
}

impl LargestDifference {
    /// Of differences with how many cells are expected to have each.
    pub(crate) fn new(mut cells: Vec<Differing>) -> Self {
        cells.sort_unstable_by(|a, b| b.most.total_cmp(&a.most));
        let width = cells.iter().map(|differing| differing.most - differing.least).fold(0.0, f64::max);
        let mut beyond = 0.0;
        let with_beyond = |differing: Differing| {
            beyond += differing.cells;
            (differing, beyond)
        };
        Self { differing: cells.into_iter().map(with_beyond).collect(), width }
    }

    /// How many cells are expected to differ by so much. What lies between two bounds lies evenly there, which is no less
    /// than there is: further out there are ever fewer.
    fn expected(&self, difference: f64) -> f64 {
        let difference = difference * (1.0 - ROUNDING);
        let reached = self.differing.partition_point(|(differing, _)| differing.most >= difference);
        let Some((_, beyond)) = reached.checked_sub(1).and_then(|last| self.differing.get(last)) else { return 0.0 };
        // Of those that only may reach it, the part that does not.
        let may = self.differing[..reached]
            .iter()
            .rev()
            .take_while(|(differing, _)| differing.most < difference + self.width);
        let short = |(differing, _): &(Differing, f64)| {
            let width = differing.most - differing.least;
            let part = if width > 0.0 { (difference - differing.least).clamp(0.0, width) / width } else { 0.0 };
            part * differing.cells
        };
        (beyond - may.map(short).sum::<f64>()).max(0.0)
    }

    /// The difference that no cell exceeds but with this probability, or with less of it (Bonferroni).
    pub(crate) fn quantile(&self, tail: f64) -> f64 {
        let beyond = self.differing.partition_point(|(_, expected)| *expected <= tail);
        let Some((differing, _)) = self.differing.get(beyond) else { return 0.0 };
        // Nothing further on is expected as often; somewhere up to a width before it, something is.
        let (mut low, mut high) = ((differing.most - self.width).max(0.0), differing.most);
        if self.width > 0.0 && self.expected(high) <= tail {
            for _ in 0..HALVINGS {
                let middle = (low + high) / 2.0;
                if self.expected(middle) > tail { low = middle } else { high = middle }
            }
        }
        // Nothing that is rounded otherwise may exceed what it is equal to.
        high * (1.0 + ROUNDING)
    }

    /// The mean of the largest difference, as if cells were independent of each other.
    pub(crate) fn mean(&self) -> f64 {
        let middle = |(differing, _): &(Differing, f64)| (differing.least + differing.most) / 2.0;
        let next = self.differing.iter().skip(1).map(middle).chain([0.0]);
        self.differing.iter().zip(next).map(|(one, to)| (middle(one) - to) * (1.0 - (-one.1).exp())).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(difference: f64, cells: f64) -> Differing {
        Differing { least: difference, most: difference, cells }
    }

    #[test]
    fn the_largest_of_two_coins() {
        // Two cells, each of which differs by ½ in one of ten samples and else by ¼.
        let largest = LargestDifference::new(vec![at(0.25, 1.8), at(0.5, 0.2)]);
        for (tail, expected) in [(0.1, 0.5), (0.3, 0.25)] {
            let passed = largest.quantile(tail) / expected;
            assert!(passed > 1.0 && passed < 1.0 + 1e-8, "{tail}: {passed}");
        }
        assert_eq!((largest.expected(0.5), largest.expected(0.6), largest.expected(0.1)), (0.2, 0.0, 2.0));
        let mean = 0.25 * (1.0 - (-0.2f64).exp()) + 0.25 * (1.0 - (-2.0f64).exp());
        assert!((largest.mean() - mean).abs() < 1e-12);
    }

    #[test]
    fn between_bounds_a_difference_lies_anywhere() {
        let largest = LargestDifference::new(vec![
            Differing { least: 0.2, most: 0.4, cells: 0.1 },
            Differing { least: 0.4, most: 0.6, cells: 0.02 },
        ]);
        for (difference, expected) in [(0.6, 0.0), (0.5, 0.01), (0.4, 0.02), (0.3, 0.07), (0.2, 0.12), (0.1, 0.12)] {
            assert!(
                (largest.expected(difference) - expected).abs() < 1e-6,
                "{difference}: {}",
                largest.expected(difference)
            );
        }
        for (tail, expected) in [(0.01, 0.5), (0.02, 0.4), (0.07, 0.3)] {
            assert!((largest.quantile(tail) - expected).abs() < 1e-6, "{tail}: {}", largest.quantile(tail));
        }
    }
}
