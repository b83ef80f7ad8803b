//! The grid: a reference's own values as cut points, and the cells that they make.

use serde::{Deserialize, Serialize};

use crate::lookup::Lookup;

/// Cut points `c1 < … < cm` of one numeric column, and the `2m + 1` cells between and on them.
///
/// ```text
///   cell    0      1     2     3     4   …   2m-1    2m
///         ──────  [c1]  ────  [c2]  ────     [cm]  ──────
///          < c1   = c1  between = c2                 > cm
/// ```
///
/// Even cells are *open* (between two cut points), odd cells are *atoms* (one value). A grid is *exact* when it holds
/// every distinct value of its reference: no reference value then lies inside an open cell, and statistics that depend
/// on ranks are exact.
///
/// ```
/// use driftline_detectors::Grid;
/// let grid = Grid::new(vec![1.0, 2.5]).unwrap();
/// assert_eq!(grid.cells(), 5);
/// assert_eq!([0.0, 1.0, 2.0, 2.5, 9.0].map(|x| grid.cell(x)), [0, 1, 2, 3, 4]);
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(from = "Vec<f64>", into = "Vec<f64>")]
pub struct Grid {
    cuts: Vec<f64>,
    lookup: Lookup,
}

/// As a file or a database holds it.
impl From<Vec<f64>> for Grid {
    fn from(mut cuts: Vec<f64>) -> Self {
        // The distinct values of a sample are a few thousand, in memory for all of its rows.
        cuts.shrink_to_fit();
        Self { lookup: Lookup::new(&cuts), cuts }
    }
}

impl From<Grid> for Vec<f64> {
    fn from(grid: Grid) -> Self {
        grid.cuts
    }
}

/// Why a list of numbers cannot be a grid.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum GridError {
    /// NaN or infinite.
    #[error("cut point {index} is {value}; cut points are finite numbers")]
    NotFinite {
        /// Position in the list, from 0.
        index: usize,
        /// The offending value.
        value: f64,
    },
    /// Equal or descending neighbours.
    #[error("cut point {index} ({value}) is not above the one before it ({previous}); cut points ascend strictly")]
    NotAscending {
        /// Position in the list, from 0.
        index: usize,
        /// The offending value.
        value: f64,
        /// The value before it.
        previous: f64,
    },
}

impl Grid {
    /// A grid on these cut points. A negative zero becomes zero, so that both meet the same atom.
    ///
    /// # Errors
    /// When a cut point is not finite, or the list does not ascend strictly. An empty list is a grid of one open cell.
    ///
    /// ```
    /// use driftline_detectors::{Grid, GridError};
    /// assert!(matches!(Grid::new(vec![1.0, 1.0]), Err(GridError::NotAscending { index: 1, .. })));
    /// ```
    pub fn new(mut cuts: Vec<f64>) -> Result<Self, GridError> {
        for (index, value) in cuts.iter_mut().enumerate() {
            if !value.is_finite() {
                return Err(GridError::NotFinite { index, value: *value });
            }
            *value += 0.0;
        }
        for (index, pair) in cuts.windows(2).enumerate() {
            if pair[1] <= pair[0] {
                return Err(GridError::NotAscending { index: index + 1, value: pair[1], previous: pair[0] });
            }
        }
        Ok(cuts.into())
    }

    /// The cut points, ascending.
    ///
    /// ```
    /// use driftline_detectors::Grid;
    /// let grid = Grid::new(vec![1.0, 2.5]).unwrap();
    /// assert_eq!(grid.cuts(), [1.0, 2.5]);
    /// ```
    pub fn cuts(&self) -> &[f64] {
        &self.cuts
    }

    /// How many cells there are: two for each cut point, and one.
    ///
    /// ```
    /// use driftline_detectors::Grid;
    /// let grid = Grid::new(vec![1.0, 2.5]).unwrap();
    /// assert_eq!(grid.cells(), 5);
    /// ```
    pub fn cells(&self) -> usize {
        2 * self.cuts.len() + 1
    }

    /// The cell of a finite value.
    ///
    /// ```
    /// use driftline_detectors::Grid;
    /// let grid = Grid::new(vec![1.0, 2.5]).unwrap();
    /// assert_eq!((grid.cell(1.0), grid.cell(2.0)), (1, 2));
    /// ```
    pub fn cell(&self, value: f64) -> usize {
        let mut cell = [0];
        self.find_cells(&[value], &mut cell);
        cell[0] as usize
    }

    /// The cells of finite values, many at a time: several times faster than one by one.
    ///
    /// ```
    /// use driftline_detectors::Grid;
    /// let mut cells = [0; 3];
    /// Grid::new(vec![1.0, 2.5]).unwrap().find_cells(&[9.0, 1.0, 2.0], &mut cells);
    /// assert_eq!(cells, [4, 1, 2]);
    /// ```
    ///
    /// # Panics
    /// When there is not room for exactly as many cells.
    pub fn find_cells(&self, values: &[f64], cells: &mut [u32]) {
        assert_eq!(values.len(), cells.len(), "every value has a cell");
        self.lookup.places(values, cells);
    }

    /// The value of an atom (an odd cell), or none for an open cell.
    ///
    /// ```
    /// use driftline_detectors::Grid;
    /// let grid = Grid::new(vec![1.0, 2.5]).unwrap();
    /// assert_eq!((grid.atom(1), grid.atom(2)), (Some(1.0), None));
    /// ```
    pub fn atom(&self, cell: usize) -> Option<f64> {
        (cell % 2 == 1).then(|| self.cuts[cell / 2])
    }

    /// The ends of an open cell (an even cell); the outermost ends are infinite.
    ///
    /// ```
    /// use driftline_detectors::Grid;
    /// let grid = Grid::new(vec![1.0, 2.5]).unwrap();
    /// assert_eq!(grid.open_ends(2), (1.0, 2.5));
    /// ```
    pub fn open_ends(&self, cell: usize) -> (f64, f64) {
        let index = cell / 2;
        let lower = if index == 0 { f64::NEG_INFINITY } else { self.cuts[index - 1] };
        let upper = self.cuts.get(index).copied().unwrap_or(f64::INFINITY);
        (lower, upper)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn negative_zero_meets_the_atom_of_zero() {
        let grid = Grid::new(vec![-0.0]).unwrap();
        assert_eq!((grid.cell(0.0), grid.cell(-0.0)), (1, 1));
    }

    #[test]
    fn refuses_cut_points_that_are_not_finite_or_do_not_ascend() {
        assert!(matches!(Grid::new(vec![0.0, f64::NAN]), Err(GridError::NotFinite { index: 1, .. })));
        assert!(matches!(Grid::new(vec![2.0, 2.0]), Err(GridError::NotAscending { index: 1, .. })));
    }

    proptest! {
        #[test]
        fn every_value_lies_in_the_cell_that_it_is_given(
            cuts in proptest::collection::btree_set(-1000i32..1000, 0..40),
            value in -1100.0..1100.0f64,
        ) {
            let grid = Grid::new(cuts.into_iter().map(f64::from).collect()).unwrap();
            let cell = grid.cell(value);
            match grid.atom(cell) {
                Some(atom) => prop_assert_eq!(atom, value),
                None => {
                    let (lower, upper) = grid.open_ends(cell);
                    prop_assert!(lower < value && value < upper);
                }
            }
        }
    }
}
