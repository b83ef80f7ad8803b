//! Rare cells as one, for tests that need rows in each.

use super::Shares;

impl Shares {
    /// Cells in which both samples expect at least five rows, as Cochran (1954) has it, and one of all others. While that one
    /// expects fewer, it takes the smallest of the rest in. None when that leaves one cell.
    pub(super) fn pooled(&self) -> Option<Self> {
        const LEAST_EXPECTED: f64 = 5.0;
        let is_enough = |rows: u64| {
            let (reference, window) = self.expected(rows as f64);
            reference.min(window) >= LEAST_EXPECTED
        };
        // What lies outside of a range is pooled first: the reference cannot expect any.
        let (outside, mut cells): (Vec<_>, Vec<_>) =
            self.counts.iter().partition(|(reference, _)| self.is_range && *reference == 0);
        cells.sort_unstable_by_key(|(reference, window)| (reference + window, *reference));
        let mut pool = (0, self.scattered + outside.iter().map(|(_, window)| window).sum::<u64>());
        let mut taken = 0;
        for (reference, window) in &cells {
            let is_beyond_range = self.is_range && pool.0 == 0 && pool.1 > 0;
            let pool_is_enough = pool.0 + pool.1 == 0 || (is_enough(pool.0 + pool.1) && !is_beyond_range);
            if pool_is_enough && is_enough(reference + window) {
                break;
            }
            pool = (pool.0 + reference, pool.1 + window);
            taken += 1;
        }
        let pooled = Self::new(cells.split_off(taken).into_iter().chain([pool]), 0);
        (pooled.counts.len() > 1).then_some(pooled)
    }
}
