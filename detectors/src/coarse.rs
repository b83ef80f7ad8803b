//! The coarsening of a grid into a few cells of about equal reference mass, for the scores that compare shares.

use crate::grid::Grid;
use crate::numeric::NumericProfile;

/// How many quantile cells the shares are compared on: deciles, the convention of the field.
pub const COARSE_CELLS: u64 = 10;

/// Which coarse cell each cell of a grid belongs to.
///
/// The edges are deciles of the reference by the inverted CDF, so each is a value that occurs, and a coarse cell is
/// `(edge, next edge]`; edges that coincide (heavy ties) make one cell of theirs. One more coarse cell, the last, holds
/// whatever lies outside the reference's range, so that an outlier can never stretch the others. The first and the
/// last cut point of a reference's grid are its smallest and its largest value, so outside is what the grid's first
/// and last cell hold.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Coarsening {
    of_cell: Vec<usize>,
    cells: usize,
}

impl Coarsening {
    /// The coarsening that a reference's counts imply.
    pub(crate) fn new(grid: &Grid, reference: &NumericProfile) -> Self {
        let total = reference.finite();
        let last_cell = grid.cells() - 1;
        let mut of_cell = vec![0; grid.cells()];
        let (mut coarse, mut previous_decile, mut below) = (0, 0, 0u64);
        let inner = of_cell.iter_mut().zip(&reference.cells).take(last_cell).skip(1);
        for (coarse_cell, count) in inner {
            // The k-th edge lies below this cell when the cells before it hold at least k tenths.
            let decile = (COARSE_CELLS * below).checked_div(total).unwrap_or(0).min(COARSE_CELLS - 1);
            if decile > previous_decile {
                coarse += 1;
                previous_decile = decile;
            }
            *coarse_cell = coarse;
            below += count;
        }
        let outside = coarse + 1;
        of_cell[0] = outside;
        of_cell[last_cell] = outside;
        Self { of_cell, cells: outside + 1 }
    }

    /// How many coarse cells there are; the last is for what lies outside.
    pub(crate) fn cells(&self) -> usize {
        self.cells
    }

    /// The coarse cell of a cell of the grid.
    pub(crate) fn of(&self, cell: usize) -> usize {
        self.of_cell[cell]
    }

    /// Counts of a profile of the same grid in the coarse cells.
    pub(crate) fn counts(&self, profile: &NumericProfile) -> Vec<u64> {
        let mut counts = vec![0; self.cells];
        for (cell, count) in profile.cells.iter().enumerate() {
            counts[self.of_cell[cell]] += count;
        }
        counts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(reference: &[f64], window: &[f64]) -> (Vec<u64>, Vec<u64>) {
        let mut cuts = reference.to_vec();
        cuts.sort_by(f64::total_cmp);
        cuts.dedup();
        let grid = Grid::new(cuts).unwrap();
        let profile = |values: &[f64]| {
            let mut profile = NumericProfile::empty(&grid, true);
            profile.count(&grid, values);
            profile
        };
        let (reference, window) = (profile(reference), profile(window));
        let coarsening = Coarsening::new(&grid, &reference);
        (coarsening.counts(&reference), coarsening.counts(&window))
    }

    #[test]
    fn cells_are_deciles_and_one_for_outside() {
        let reference: Vec<f64> = (1..=100).map(f64::from).collect();
        let (reference, window) = counts(&reference, &[0.0, 1.0, 10.0, 10.5, 11.0, 100.0, 101.0]);
        assert_eq!(reference, [vec![10; 10], vec![0]].concat());
        assert_eq!(window, [2, 2, 0, 0, 0, 0, 0, 0, 0, 1, 2]);
    }

    #[test]
    fn heavy_ties_make_fewer_cells() {
        let mut reference = vec![0.0; 75];
        reference.extend((1..=25).map(f64::from));
        let (reference, _) = counts(&reference, &[]);
        assert_eq!(reference, [75, 5, 10, 10, 0]);
    }

    #[test]
    fn a_constant_reference_has_one_cell_and_outside() {
        assert_eq!(counts(&[7.0; 20], &[7.0, 8.0]), (vec![20, 0], vec![1, 1]));
    }
}
