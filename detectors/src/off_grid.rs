//! Values that an exact grid does not hold, counted one by one while they are few.
//!
//! A grid cell says how many values fell between two reference values, not which. Ties among them matter to rank
//! statistics (a new temperature that a hundred rows share), and where they lie matters to Wasserstein's distance. So
//! they are kept exactly up to a bound, and past it not at all: the scores then fall back to the cells and say so with
//! their bounds. Being past the bound depends on the union of the values alone, so merging stays commutative and
//! associative.

use serde::{Deserialize, Serialize};

use crate::lookup::ordered_bits;
use crate::tally::Tally;

/// How many distinct off-grid values one profile keeps. 4,096 is more than a discrete column brings anew, costs at
/// most 64 KiB, and a continuous column passes it in its first few thousand rows.
pub const MAX_OFF_GRID_VALUES: usize = 4096;

/// Exact counts of the finite values that are not on the grid, or the knowledge that there were too many.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct OffGrid {
    /// Keyed by bits that order like the numbers. None once the bound was passed.
    counts: Option<Tally>,
}

fn from_ordered_bits(ordered: i64) -> f64 {
    f64::from_bits((ordered ^ (((ordered >> 63).cast_unsigned() >> 1).cast_signed())).cast_unsigned())
}

impl OffGrid {
    /// Nothing seen yet, and willing to count.
    ///
    /// ```
    /// assert!(driftline_detectors::OffGrid::counting().is_exact());
    /// ```
    pub fn counting() -> Self {
        Self { counts: Some(Tally::default()) }
    }

    /// Not counting: for grids that are not exact, where the cells are all there is.
    ///
    /// ```
    /// assert!(!driftline_detectors::OffGrid::closed().is_exact());
    /// ```
    pub fn closed() -> Self {
        Self { counts: None }
    }

    /// Whether every off-grid value is known.
    ///
    /// ```
    /// use driftline_detectors::OffGrid;
    /// let mut values = OffGrid::counting();
    /// values.count(2.5);
    /// assert!(values.is_exact());
    /// ```
    pub fn is_exact(&self) -> bool {
        self.counts.is_some()
    }

    /// Counts one finite value.
    ///
    /// ```
    /// use driftline_detectors::OffGrid;
    /// let mut values = OffGrid::counting();
    /// values.count(2.5);
    /// assert_eq!(values.values().unwrap().collect::<Vec<_>>(), [(2.5, 1)]);
    /// ```
    #[inline]
    pub fn count(&mut self, value: f64) {
        let Some(counts) = &mut self.counts else { return };
        // Only a new one can be one too many.
        if counts.count(ordered_bits(value)) {
            self.close_if_past_bound();
        }
    }

    /// Adds another's counts.
    ///
    /// ```
    /// use driftline_detectors::OffGrid;
    /// let mut values = OffGrid::counting();
    /// values.count(2.5);
    /// let other = values.clone();
    /// values.merge(&other);
    /// assert_eq!(values.values().unwrap().collect::<Vec<_>>(), [(2.5, 2)]);
    /// ```
    pub fn merge(&mut self, other: &Self) {
        match (&mut self.counts, &other.counts) {
            (Some(mine), Some(theirs)) => {
                for (value, count) in theirs.iter() {
                    mine.add(value, count);
                }
                self.close_if_past_bound();
            }
            _ => self.counts = None,
        }
    }

    /// Takes back what was merged before.
    pub(crate) fn remove(&mut self, other: &Self) {
        if let (Some(mine), Some(theirs)) = (&mut self.counts, &other.counts) {
            mine.subtract(theirs);
        }
    }

    /// The values with their counts, ascending; none when they are not all known.
    ///
    /// ```
    /// use driftline_detectors::OffGrid;
    /// let mut values = OffGrid::counting();
    /// values.count(2.5);
    /// values.count(-1.0);
    /// assert_eq!(values.values().unwrap().collect::<Vec<_>>(), [(-1.0, 1), (2.5, 1)]);
    /// ```
    pub fn values(&self) -> Option<impl Iterator<Item = (f64, u64)> + '_> {
        let mut values: Vec<(i64, u64)> = self.counts.as_ref()?.iter().collect();
        values.sort_unstable();
        Some(values.into_iter().map(|(bits, count)| (from_ordered_bits(bits), count)))
    }

    fn close_if_past_bound(&mut self) {
        if self.counts.as_ref().is_some_and(|counts| counts.len() > MAX_OFF_GRID_VALUES) {
            self.counts = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn bits_order_like_the_numbers_and_come_back(a in proptest::num::f64::NORMAL | proptest::num::f64::ZERO, b in proptest::num::f64::ANY) {
            prop_assert_eq!(from_ordered_bits(ordered_bits(a)), a);
            if b.is_finite() {
                prop_assert_eq!(ordered_bits(a).cmp(&ordered_bits(b)), a.partial_cmp(&b).unwrap());
            }
        }
    }

    #[test]
    fn past_the_bound_nothing_is_claimed_whatever_the_order_of_merging() {
        let mut first = OffGrid::counting();
        let mut second = OffGrid::counting();
        for i in 0..MAX_OFF_GRID_VALUES {
            first.count(i as f64);
            second.count(i as f64 + 0.5);
        }
        assert!(first.is_exact() && second.is_exact());
        let mut both = first.clone();
        both.merge(&second);
        let mut other_way = second;
        other_way.merge(&first);
        assert!(!both.is_exact());
        assert_eq!(both, other_way);
    }
}
