//! The profile of a numeric column: counts on its reference's grid, and the little more that scores need.

use std::hint::select_unpredictable;

use serde::{Deserialize, Serialize};

use crate::grid::Grid;
use crate::off_grid::OffGrid;

/// Magnitude above which a number counts as infinite. No measurement is larger, and up to here the sums below and the
/// distances made of them cannot overflow, however many rows they hold: 2⁶⁴ squares of it are 10²²⁰.
pub const MAX_MAGNITUDE: f64 = 1e100;

/// Whether a number can be counted on a grid, and is neither NaN nor (as good as) infinite.
pub(crate) fn is_countable(value: f64) -> bool {
    value.abs() <= MAX_MAGNITUDE
}

/// Numbers that are counted in one go: enough for their waits to overlap, few enough to stay close by, and for a byte to say
/// which of them it is.
const BLOCK: usize = 256;
/// Numbers whose least and greatest are taken side by side.
const RANGE_LANES: usize = 8;

/// Counts of one numeric column on one grid. Profiles of the same grid add up.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NumericProfile {
    /// Finite values in each cell of the grid; finite means up to [`MAX_MAGNITUDE`] throughout.
    pub cells: Vec<u64>,
    /// Sum of the values in each open cell (cell `2i` at index `i`). What an atom sums to is known from its count.
    pub open_sums: Vec<f64>,
    /// The values of the open cells one by one, while the grid is exact and they are few.
    pub off_grid: OffGrid,
    /// Rows in which the column was absent or null.
    pub missing: u64,
    /// Rows in which it was NaN.
    pub nan: u64,
    /// Rows in which it was infinite, or beyond [`MAX_MAGNITUDE`], of either sign.
    pub infinite: u64,
    /// Rows in which it was not a number at all.
    pub wrong_type: u64,
    /// Smallest and largest finite value; none before the first.
    pub range: Option<(f64, f64)>,
    /// Sum of `x − origin` over the finite values, where the origin is the grid's middle cut point.
    pub shifted_sum: f64,
    /// Sum of `(x − origin)²`. Shifting keeps the variance from drowning in the square of the mean.
    pub shifted_squares: f64,
}

impl NumericProfile {
    /// An empty profile. `exact` says whether the grid holds every distinct value of its reference.
    ///
    /// ```
    /// use driftline_detectors::{Grid, NumericProfile};
    /// let grid = Grid::new(vec![1.0, 2.5]).unwrap();
    /// let mut profile = NumericProfile::empty(&grid, true);
    /// assert_eq!((profile.cells.len(), profile.rows()), (5, 0));
    /// ```
    pub fn empty(grid: &Grid, exact: bool) -> Self {
        Self {
            cells: vec![0; grid.cells()],
            open_sums: vec![0.0; grid.cuts().len() + 1],
            off_grid: if exact { OffGrid::counting() } else { OffGrid::closed() },
            missing: 0,
            nan: 0,
            infinite: 0,
            wrong_type: 0,
            range: None,
            shifted_sum: 0.0,
            shifted_squares: 0.0,
        }
    }

    /// Counts a batch of numbers.
    ///
    /// # Panics
    /// When the profile was not made for this grid.
    ///
    /// ```
    /// use driftline_detectors::{Grid, NumericProfile};
    /// let grid = Grid::new(vec![1.0, 2.5]).unwrap();
    /// let mut profile = NumericProfile::empty(&grid, true);
    /// profile.count(&grid, &[1.0, 2.0, f64::NAN]);
    /// assert_eq!((profile.cells, profile.nan), (vec![0, 1, 1, 0, 0], 1));
    /// ```
    pub fn count(&mut self, grid: &Grid, values: &[f64]) {
        assert_eq!(self.cells.len(), grid.cells(), "a profile counts on the grid that it was made for");
        for block in values.chunks(BLOCK) {
            // Nearly all blocks are countable as they are.
            if block.iter().fold(true, |all, value| all & is_countable(*value)) {
                self.count_countable(grid, block);
                continue;
            }
            let (mut countable, mut kept) = ([0.0; BLOCK], 0);
            for &value in block {
                if is_countable(value) {
                    countable[kept] = value;
                    kept += 1;
                } else if value.is_nan() {
                    self.nan += 1;
                } else {
                    self.infinite += 1;
                }
            }
            self.count_countable(grid, &countable[..kept]);
        }
    }

    /// Counts at most a block of numbers that all lie in cells.
    fn count_countable(&mut self, grid: &Grid, values: &[f64]) {
        self.widen_range(values);
        let mut places = [0; BLOCK];
        let places = &mut places[..values.len()];
        grid.find_cells(values, places);
        let origin = origin(grid);
        let (cells, open_sums) = (&mut self.cells[..], &mut self.open_sums[..]);
        // Sums are added to one after another, so that they do not depend on how values come in batches. Each addition waits
        // for the one before, and cells are counted meanwhile.
        let (mut sum, mut squares) = (self.shifted_sum, self.shifted_squares);
        let mut add = |value: f64| {
            let shifted = value - origin;
            sum += shifted;
            squares += shifted * shifted;
        };
        let open = places.iter().filter(|cell| cell.is_multiple_of(2)).count();
        let is_exact = self.off_grid.is_exact();
        // Where values are looked up one by one, their sums wait meanwhile.
        let crowd = if is_exact { None } else { crowded_open_cell(places) };
        if open == 0 {
            for (value, cell) in values.iter().zip(places) {
                add(*value);
                cells[*cell as usize] += 1;
            }
        } else if !is_exact && open > values.len() / 2 && crowd.is_none() {
            for (value, cell) in values.iter().zip(places) {
                let cell = *cell as usize;
                add(*value);
                cells[cell] += 1;
                open_sums[cell / 2] += select_unpredictable(cell.is_multiple_of(2), *value, 0.0);
            }
        } else {
            // Where atoms are many, or there is more to do for what is none, that is picked out first: nothing is guessed
            // wrong, and what comes again and again waits for no addition of nothing.
            let (mut picked, mut kept) = ([0u8; BLOCK], 0);
            for (index, (value, cell)) in values.iter().zip(&*places).enumerate() {
                add(*value);
                cells[*cell as usize] += 1;
                picked[kept] = index as u8;
                kept += usize::from(cell.is_multiple_of(2));
            }
            // Where most are in one cell, its sum does not go through memory from one to the next.
            if let Some(crowd) = crowd {
                let mut sum = open_sums[crowd as usize / 2];
                let mut others = 0;
                for at in 0..kept {
                    let index = picked[at];
                    let is_there = places[usize::from(index)] == crowd;
                    sum += select_unpredictable(is_there, values[usize::from(index)], 0.0);
                    picked[others] = index;
                    others += usize::from(!is_there);
                }
                open_sums[crowd as usize / 2] = sum;
                kept = others;
            }
            for index in &picked[..kept] {
                let (value, cell) = (values[usize::from(*index)], places[usize::from(*index)]);
                open_sums[cell as usize / 2] += value;
                if is_exact {
                    self.off_grid.count(value);
                }
            }
        }
        (self.shifted_sum, self.shifted_squares) = (sum, squares);
    }

    /// Makes the range hold these values too.
    fn widen_range(&mut self, values: &[f64]) {
        let Some(first) = values.first() else { return };
        let (low, high) = self.range.unwrap_or((*first, *first));
        let (mut lows, mut highs) = ([low; RANGE_LANES], [high; RANGE_LANES]);
        let lesser = |a: f64, b: f64| if a < b { a } else { b };
        let greater = |a: f64, b: f64| if a > b { a } else { b };
        let (whole, rest) = values.as_chunks::<RANGE_LANES>();
        for chunk in whole {
            for ((low, high), value) in lows.iter_mut().zip(&mut highs).zip(chunk) {
                *low = lesser(*value, *low);
                *high = greater(*value, *high);
            }
        }
        let low = lows.iter().chain(rest).copied().fold(low, lesser);
        let high = highs.iter().chain(rest).copied().fold(high, greater);
        self.range = Some((low, high));
    }

    /// Adds another profile of the same grid.
    ///
    /// # Panics
    /// When the two have different numbers of cells.
    ///
    /// ```
    /// use driftline_detectors::{Grid, NumericProfile};
    /// let grid = Grid::new(vec![1.0, 2.5]).unwrap();
    /// let mut profile = NumericProfile::empty(&grid, true);
    /// profile.count(&grid, &[1.0]);
    /// let other = profile.clone();
    /// profile.merge(&other);
    /// assert_eq!(profile.rows(), 2);
    /// ```
    pub fn merge(&mut self, other: &Self) {
        assert_eq!(self.cells.len(), other.cells.len(), "profiles add up on one grid only");
        add_counts(&mut self.cells, &other.cells);
        for (mine, theirs) in self.open_sums.iter_mut().zip(&other.open_sums) {
            *mine += theirs;
        }
        self.off_grid.merge(&other.off_grid);
        self.missing += other.missing;
        self.nan += other.nan;
        self.infinite += other.infinite;
        self.wrong_type += other.wrong_type;
        self.range = match (self.range, other.range) {
            (Some((a, b)), Some((c, d))) => Some((a.min(c), b.max(d))),
            (one, None) | (None, one) => one,
        };
        self.shifted_sum += other.shifted_sum;
        self.shifted_squares += other.shifted_squares;
    }

    /// Takes back what was merged before. The smallest and the largest value stay: they bound what is left.
    ///
    /// # Panics
    /// When the two have different numbers of cells, or the other was not merged before.
    pub(crate) fn remove(&mut self, other: &Self) {
        assert_eq!(self.cells.len(), other.cells.len(), "profiles add up on one grid only");
        for (mine, theirs) in self.cells.iter_mut().zip(&other.cells) {
            *mine -= theirs;
        }
        for (cell, (mine, theirs)) in self.open_sums.iter_mut().zip(&other.open_sums).enumerate() {
            // What is left of nothing is nothing, without a rest of rounding.
            *mine = if self.cells[2 * cell] == 0 { 0.0 } else { *mine - theirs };
        }
        self.off_grid.remove(&other.off_grid);
        self.missing -= other.missing;
        self.nan -= other.nan;
        self.infinite -= other.infinite;
        self.wrong_type -= other.wrong_type;
        self.shifted_sum -= other.shifted_sum;
        self.shifted_squares -= other.shifted_squares;
    }

    /// How many finite values were counted: the `n` of every score.
    ///
    /// ```
    /// use driftline_detectors::{Grid, NumericProfile};
    /// let grid = Grid::new(vec![1.0, 2.5]).unwrap();
    /// let mut profile = NumericProfile::empty(&grid, true);
    /// profile.count(&grid, &[1.0, f64::INFINITY]);
    /// assert_eq!(profile.finite(), 1);
    /// ```
    pub fn finite(&self) -> u64 {
        self.cells.iter().sum()
    }

    /// How many rows were seen, whatever they held.
    ///
    /// ```
    /// use driftline_detectors::{Grid, NumericProfile};
    /// let grid = Grid::new(vec![1.0, 2.5]).unwrap();
    /// let mut profile = NumericProfile::empty(&grid, true);
    /// profile.count(&grid, &[1.0, f64::INFINITY]);
    /// assert_eq!(profile.rows(), 2);
    /// ```
    pub fn rows(&self) -> u64 {
        self.finite() + self.missing + self.nan + self.infinite + self.wrong_type
    }

    /// Mean of the finite values; none without any.
    ///
    /// ```
    /// use driftline_detectors::{Grid, NumericProfile};
    /// let grid = Grid::new(vec![1.0, 2.5]).unwrap();
    /// let mut profile = NumericProfile::empty(&grid, true);
    /// profile.count(&grid, &[1.0, 4.0]);
    /// assert_eq!(profile.mean(&grid), Some(2.5));
    /// ```
    pub fn mean(&self, grid: &Grid) -> Option<f64> {
        let n = self.finite();
        (n > 0).then(|| origin(grid) + self.shifted_sum / n as f64)
    }

    /// Standard deviation of the finite values (dividing by n, as `numpy.std` does); none without any. Of equal values it is
    /// zero, and no rest of rounding.
    ///
    /// ```
    /// use driftline_detectors::{Grid, NumericProfile};
    /// let grid = Grid::new(vec![1.0, 2.5]).unwrap();
    /// let mut profile = NumericProfile::empty(&grid, true);
    /// profile.count(&grid, &[1.0, 4.0]);
    /// assert_eq!(profile.standard_deviation(), Some(1.5));
    /// ```
    pub fn standard_deviation(&self) -> Option<f64> {
        let n = self.finite() as f64;
        (n > 0.0).then(|| {
            let mean = self.shifted_sum / n;
            if self.is_constant() { 0.0 } else { (self.shifted_squares / n - mean * mean).max(0.0).sqrt() }
        })
    }

    /// Whether all finite values are one and the same.
    fn is_constant(&self) -> bool {
        self.range.is_some_and(|(low, high)| low == high)
    }

    /// Whether the values lie so close together, so far from the grid, that their spread is mostly lost in what is added up.
    pub(crate) fn spread_is_lost(&self) -> bool {
        let n = self.finite() as f64;
        let (mean, square) = (self.shifted_sum / n, self.shifted_squares / n);
        n > 0.0 && !self.is_constant() && square - mean * mean < LEAST_VARIANCE * mean * mean
    }
}

/// Where the variance is less, as a part of the square of how far the values lie from the grid's middle, rounding takes more
/// digits than a score may lack.
const LEAST_VARIANCE: f64 = 1e-4;

/// The open cell in which two of three values lie that are looked at; likely that of most, where one has most.
fn crowded_open_cell(places: &[u32]) -> Option<u32> {
    let [first, second, third] = [1, 2, 3].map(|quarter| places.get(quarter * places.len() / 4).copied());
    let crowd = if first == second || first == third { first } else { second.filter(|_| second == third) };
    crowd.filter(|cell| cell.is_multiple_of(2))
}

fn origin(grid: &Grid) -> f64 {
    grid.cuts().get(grid.cuts().len() / 2).copied().unwrap_or(0.0)
}

/// Adds `more` to `counts`, element by element.
pub(crate) fn add_counts(counts: &mut [u64], more: &[u64]) {
    for (mine, theirs) in counts.iter_mut().zip(more) {
        *mine += theirs;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::laws::parts_make_the_whole;

    fn grid() -> Grid {
        Grid::new(vec![-3.0, 0.0, 0.5, 10.0]).unwrap()
    }

    fn counted(values: &[f64]) -> NumericProfile {
        let mut profile = NumericProfile::empty(&grid(), true);
        profile.count(&grid(), values);
        profile
    }

    fn merged(a: &NumericProfile, b: &NumericProfile) -> NumericProfile {
        let mut sum = a.clone();
        sum.merge(b);
        sum
    }

    /// Everything but the floating-point sums, which are equal up to rounding only.
    fn exact_part(profile: &NumericProfile) -> NumericProfile {
        let open_sums = vec![0.0; profile.open_sums.len()];
        NumericProfile { open_sums, shifted_sum: 0.0, shifted_squares: 0.0, ..profile.clone() }
    }

    fn any_values() -> impl Strategy<Value = Vec<f64>> {
        let value = prop_oneof![
            prop_oneof![Just(-3.0), Just(0.0), Just(-0.0), Just(0.5), Just(10.0)],
            -20.0..20.0f64,
            prop_oneof![Just(f64::NAN), Just(f64::INFINITY), Just(f64::NEG_INFINITY)],
            prop_oneof![Just(1e308), Just(-1e308), Just(f64::MAX), Just(f64::MIN)],
        ];
        proptest::collection::vec(value, 0..60)
    }

    proptest! {
        #[test]
        fn counting_any_split_equals_counting_the_whole(values in any_values(), at in 0usize..60) {
            let at = at.min(values.len());
            let parts = merged(&counted(&values[..at]), &counted(&values[at..]));
            let whole = counted(&values);
            prop_assert_eq!(exact_part(&parts), exact_part(&whole));
            prop_assert!((parts.shifted_sum - whole.shifted_sum).abs() < 1e-9);
        }

        #[test]
        fn merge_is_commutative_and_associative(a in any_values(), b in any_values(), c in any_values()) {
            let (a, b, c) = (counted(&a), counted(&b), counted(&c));
            prop_assert_eq!(exact_part(&merged(&a, &b)), exact_part(&merged(&b, &a)));
            prop_assert_eq!(
                exact_part(&merged(&merged(&a, &b), &c)),
                exact_part(&merged(&a, &merged(&b, &c)))
            );
            prop_assert_eq!(&merged(&a, &counted(&[])), &a);
            prop_assert_eq!(&merged(&counted(&[]), &a), &a);
        }

        #[test]
        fn of_numbers_whose_sums_are_exact_profiles_add_up_to_the_bit(
            quarters in proptest::collection::vec(-100i32..100, 0..80),
            at in (0usize..80, 0usize..80),
        ) {
            let rows: Vec<f64> = quarters.into_iter().map(|quarter| f64::from(quarter) / 4.0).collect();
            // The range stays when something is taken back: it bounds what is left.
            let remove = |sum: &mut NumericProfile, part: &NumericProfile| {
                sum.remove(part);
                sum.range = counted(&rows[..at.0.min(rows.len())]).range;
            };
            parts_make_the_whole(&rows, at, counted, (NumericProfile::merge, remove));
        }

        #[test]
        fn a_profile_is_what_a_naive_count_finds(
            cuts in proptest::collection::btree_set(-2000i32..2000, 1..1024),
            near in proptest::collection::vec((0usize..1024, -1i8..=1), 0..700),
            far in any_values(),
        ) {
            let cuts: Vec<f64> = cuts.into_iter().map(|cut| f64::from(cut) / 7.0).collect();
            let next_to = |(at, side): (usize, i8)| match (cuts[at % cuts.len()], side) {
                (cut, -1) => cut.next_down(),
                (cut, 1) => cut.next_up(),
                (cut, _) => cut,
            };
            let values: Vec<f64> = far.iter().copied().chain(near.into_iter().map(next_to)).chain([5e-324, -5e-324]).collect();
            let grid = Grid::new(cuts.clone()).unwrap();
            let mut profile = NumericProfile::empty(&grid, true);
            profile.count(&grid, &values);

            let finite: Vec<f64> = values.iter().copied().filter(|value| value.abs() <= MAX_MAGNITUDE).collect();
            let mut cells = vec![0; grid.cells()];
            for value in &finite {
                let below = cuts.partition_point(|cut| cut < value);
                let is_atom = cuts.get(below).is_some_and(|cut| cut == value);
                cells[2 * below + usize::from(is_atom)] += 1;
            }
            prop_assert_eq!(&profile.cells, &cells);
            prop_assert_eq!(profile.nan as usize, values.iter().filter(|value| value.is_nan()).count());
            prop_assert_eq!((profile.nan + profile.infinite) as usize, values.len() - finite.len());
            let least = finite.iter().copied().reduce(f64::min);
            let greatest = finite.iter().copied().reduce(f64::max);
            prop_assert_eq!(profile.range, least.zip(greatest));
        }

        #[test]
        fn every_row_is_counted_once(values in any_values()) {
            prop_assert_eq!(counted(&values).rows(), values.len() as u64);
        }
    }

    #[test]
    fn numbers_beyond_all_measure_are_infinite_and_leave_the_sums_finite() {
        let profile = counted(&[f64::MAX, f64::MAX, -1e308, 1e155, MAX_MAGNITUDE, -MAX_MAGNITUDE]);
        assert_eq!((profile.infinite, profile.finite()), (4, 2));
        assert!(profile.shifted_squares.is_finite() && profile.open_sums.iter().all(|sum| sum.is_finite()));
    }

    #[test]
    fn sums_of_open_cells_are_the_same_to_the_bit_however_many_values_lie_in_one() {
        for share in [1, 2, 3, 10, 100] {
            // So many lie everywhere, the rest above all cuts.
            let value = |i: u32| {
                if i.is_multiple_of(share) {
                    f64::from(i % 977) * 0.013 - 4.0
                } else {
                    10.0 + f64::from(i % 1009) / 7.0
                }
            };
            let values: Vec<f64> = (0..2000).map(value).collect();
            let mut expected = vec![0.0; grid().cuts().len() + 1];
            for value in &values {
                let cell = grid().cell(*value);
                expected[cell / 2] += if grid().atom(cell).is_none() { *value } else { 0.0 };
            }
            let bits = |sums: &[f64]| sums.iter().map(|sum| sum.to_bits()).collect::<Vec<_>>();
            for (exact, batch) in [(false, 7), (false, 256), (false, 2000), (true, 2000)] {
                let mut profile = NumericProfile::empty(&grid(), exact);
                values.chunks(batch).for_each(|values| profile.count(&grid(), values));
                assert_eq!(bits(&profile.open_sums), bits(&expected), "one in {share}, batches of {batch}, {exact}");
            }
        }
    }

    #[test]
    fn equal_values_have_no_spread_wherever_they_lie() {
        for value in [0.1, 1e9 + 0.1, -7e40] {
            assert_eq!(counted(&[value; 1000]).standard_deviation(), Some(0.0), "{value}");
        }
    }

    #[test]
    fn mean_and_spread_are_those_of_the_values() {
        let profile = counted(&[1.0, 2.0, 3.0, 4.0]);
        assert_eq!(profile.mean(&grid()), Some(2.5));
        assert!((profile.standard_deviation().unwrap() - 1.25f64.sqrt()).abs() < 1e-12);
    }
}
