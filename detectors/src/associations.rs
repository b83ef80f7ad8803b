//! How columns of numbers go together, pair by pair: sums of products that add up exactly.
//!
//! Each number is taken in standard deviations of the reference, at most eight of them to either side, and rounded to the
//! 16,384th part of one. So sums are integers, in whatever order panes and pods are added up, and what rounding does to a
//! correlation is far below its noise. A pair is counted in the rows that have both.

use serde::{Deserialize, Serialize};

use crate::build::{RowValue, Rows};
use crate::numeric::is_countable;

/// Standard deviations beyond which a number is as far as that: one wild value would be all of a correlation.
const FARTHEST: f64 = 8.0;
/// Parts of a standard deviation. Sums of squares at the farthest hold 2²⁹ rows then, and of a real column 2³⁵.
const PARTS_BITS: u32 = 14;
const PARTS: f64 = (1 << PARTS_BITS) as f64;
/// A correlation nearer to one than this is taken for this: its Fisher z would be infinite.
const NEAREST: f64 = 1.0 - 1e-6;
/// Rows that a correlation is worked out from, at the least.
const MIN_ROWS: i64 = 10;

/// What the pairs of a reference's columns are measured by.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Associations {
    /// The columns. The pairs are the first with each of the others, then the second with each after it, and so on.
    pub columns: Vec<String>,
    /// Their means.
    pub means: Vec<f64>,
    /// Their standard deviations; 1 of a column that is constant.
    pub deviations: Vec<f64>,
    /// Of each pair, the variance of its Fisher z for each row, as that of a normal pair is 1: more where wide values of both
    /// come together. Never less than 1.
    pub spreads: Vec<f64>,
}

/// Sums of the pairs of some columns. Profiles of one reference add up, to the bit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AssociationProfile {
    /// Rows with two numbers at the least.
    pub rows: u64,
    /// Rows with less.
    pub missing: u64,
    /// Rows of something else.
    pub wrong_type: u64,
    /// Of each pair, over the rows that have both: their number, and the sums of x, y, x², xy and y², in 2¹⁴ths of a
    /// standard deviation and in their squares.
    pub pairs: Vec<[i64; 6]>,
}

impl Associations {
    /// Of columns with these means and deviations, before anything is known of their pairs.
    pub(crate) fn new(columns: Vec<String>, means: Vec<f64>, deviations: Vec<f64>) -> Self {
        let pairs = pairs_of(columns.len());
        Self { columns, means, deviations, spreads: vec![1.0; pairs] }
    }

    /// What the pairs of these rows are measured by. They are gone through three times.
    pub(crate) fn of_rows(rows: &dyn Rows) -> Result<Self, String> {
        let mut moments = vec![(0.0, 0.0, 0.0); rows.columns().len()];
        each_row(rows, &mut |row| {
            for ((n, mean, squares), x) in moments.iter_mut().zip(row).filter(|(_, x)| is_countable(**x)) {
                // Welford's.
                let before = x - *mean;
                *n += 1.0;
                *mean += before / *n;
                *squares += before * (x - *mean);
            }
        })?;
        let deviation = |(n, mean, squares): &(f64, f64, f64)| {
            let deviation = (squares / n).sqrt();
            // Less is rounding, and the column constant.
            if deviation > 1e-12 * mean.abs() { deviation } else { 1.0 }
        };
        let means = moments.iter().map(|(_, mean, _)| *mean).collect();
        let mut associations = Self::new(rows.columns(), means, moments.iter().map(deviation).collect());
        let mut profile = AssociationProfile::empty(&associations);
        each_row(rows, &mut |row| profile.count(&associations, row))?;
        let mut survey = SpreadSurvey::new(&profile);
        each_row(rows, &mut |row| survey.add(&associations, row))?;
        associations.spreads = survey.finish();
        Ok(associations)
    }

    /// How many columns a row has.
    pub(crate) fn width(&self) -> usize {
        self.columns.len()
    }

    /// The columns of each pair, in the order of the sums.
    pub(crate) fn pairs(&self) -> impl Iterator<Item = (usize, usize)> {
        let width = self.width();
        (0..width).flat_map(move |i| (i + 1..width).map(move |j| (i, j)))
    }

    /// A number in parts of its column's deviation; none where it is none.
    fn parts(&self, column: usize, number: f64) -> Option<i64> {
        let deviations = (number - self.means[column]) / self.deviations[column];
        is_countable(number).then(|| (deviations.clamp(-FARTHEST, FARTHEST) * PARTS).round() as i64)
    }

    /// A row's numbers in parts of their columns' deviations.
    fn numbers(&self, row: &[f64]) -> Vec<Option<i64>> {
        row.iter().enumerate().map(|(column, number)| self.parts(column, *number)).collect()
    }

    /// Whether its numbers fit each other and a profile.
    pub(crate) fn is_consistent(&self, profile: &AssociationProfile) -> bool {
        let (width, pairs) = (self.width(), pairs_of(self.width()));
        let are_finite = |numbers: &[f64]| numbers.iter().all(|number| number.is_finite());
        (self.means.len(), self.deviations.len()) == (width, width)
            && (self.spreads.len(), profile.pairs.len()) == (pairs, pairs)
            && are_finite(&self.means)
            && self.deviations.iter().all(|deviation| deviation.is_finite() && *deviation > 0.0)
            && self.spreads.iter().all(|spread| spread.is_finite() && *spread >= 1.0)
    }
}

fn each_row(rows: &dyn Rows, take: &mut dyn FnMut(&[f64])) -> Result<(), String> {
    rows.each(&mut |_, value| {
        if let RowValue::Row(row) = value {
            take(row);
        }
    })
}

pub(crate) fn pairs_of(columns: usize) -> usize {
    columns * columns.saturating_sub(1) / 2
}

impl AssociationProfile {
    /// Without any rows.
    pub(crate) fn empty(associations: &Associations) -> Self {
        Self { rows: 0, missing: 0, wrong_type: 0, pairs: vec![[0; 6]; pairs_of(associations.width())] }
    }

    /// Counts a row with a number for each column, NaN where it has none.
    pub(crate) fn count(&mut self, associations: &Associations, row: &[f64]) {
        if row.len() != associations.width() {
            self.wrong_type += 1;
            return;
        }
        let numbers = associations.numbers(row);
        if numbers.iter().flatten().count() < 2 {
            self.missing += 1;
            return;
        }
        self.rows += 1;
        for (sums, (i, j)) in self.pairs.iter_mut().zip(associations.pairs()) {
            if let (Some(x), Some(y)) = (numbers[i], numbers[j]) {
                let terms = [1, x, y, x * x, x * y, y * y];
                // Around the end of what an integer holds the sums go on from its other end: whatever the order, they agree.
                sums.iter_mut().zip(terms).for_each(|(sum, term)| *sum = sum.wrapping_add(term));
            }
        }
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        assert_eq!(self.pairs.len(), other.pairs.len(), "profiles add up on one reference only");
        self.rows += other.rows;
        self.missing += other.missing;
        self.wrong_type += other.wrong_type;
        let sums = self.pairs.iter_mut().flatten().zip(other.pairs.iter().flatten());
        sums.for_each(|(mine, theirs)| *mine = mine.wrapping_add(*theirs));
    }

    /// Takes back what was merged before.
    pub(crate) fn remove(&mut self, other: &Self) {
        assert_eq!(self.pairs.len(), other.pairs.len(), "profiles add up on one reference only");
        self.rows -= other.rows;
        self.missing -= other.missing;
        self.wrong_type -= other.wrong_type;
        let sums = self.pairs.iter_mut().flatten().zip(other.pairs.iter().flatten());
        sums.for_each(|(mine, theirs)| *mine = mine.wrapping_sub(*theirs));
    }

    /// How many rows were seen, whatever they held.
    pub(crate) fn all_rows(&self) -> u64 {
        self.rows + self.missing + self.wrong_type
    }

    /// The rows that have both columns of a pair, and the pair's correlation; none where they are few, or one is constant.
    pub(crate) fn correlation(&self, pair: usize) -> Option<(f64, f64)> {
        let [n, x, y, xx, xy, yy] = self.pairs.get(pair)?.map(i128::from);
        let (of_x, of_y) = (n * xx - x * x, n * yy - y * y);
        let is_defined = n >= i128::from(MIN_ROWS) && of_x > 0 && of_y > 0;
        is_defined.then(|| (n as f64, (n * xy - x * y) as f64 / ((of_x as f64).sqrt() * (of_y as f64).sqrt())))
    }

    /// What stands for each pair where shares of cells are compared: more where the two go together.
    pub(crate) fn share_counts(&self) -> Vec<u64> {
        let largest = 1i64 << (2 * PARTS_BITS + 6);
        let count = |[n, _, _, _, xy, _]: &[i64; 6]| n.wrapping_mul(largest).wrapping_add(*xy).max(0) >> PARTS_BITS;
        self.pairs.iter().map(|sums| count(sums) as u64).collect()
    }
}

/// Fisher's z of a correlation.
pub(crate) fn fisher_z(correlation: f64) -> f64 {
    correlation.clamp(-NEAREST, NEAREST).atanh()
}

/// Learns how much each pair's correlation varies from sample to sample, in one more go over the rows.
///
/// For large samples `√n·(r − ρ)` has the variance `E[(uv − ρ·(u² + v²)/2)²]` with u and v standardised (the influence
/// function of r; Devlin, Gnanadesikan & Kettenring 1975, Biometrika 62), which is `(1 − ρ²)²` of a normal pair, and
/// Fisher's z has it over `(1 − ρ²)²`. Of real columns it can be several times that.
#[derive(Debug)]
pub(crate) struct SpreadSurvey {
    /// None of a pair without a correlation.
    pairs: Vec<Option<PairSpread>>,
}

/// What a pair's rows are standardised by, and what they came to so far.
#[derive(Debug)]
struct PairSpread {
    /// Of x and y.
    means: [f64; 2],
    deviations: [f64; 2],
    correlation: f64,
    rows: f64,
    squares: f64,
}

impl SpreadSurvey {
    /// For rows of which this was counted.
    pub(crate) fn new(profile: &AssociationProfile) -> Self {
        let of_pair = |(pair, sums): (usize, &[i64; 6])| {
            let (n, correlation) = profile.correlation(pair)?;
            let [_, x, y, xx, _, yy] = sums.map(|sum| sum as f64 / n);
            let deviations = [(xx - x * x).sqrt(), (yy - y * y).sqrt()];
            let correlation = correlation.clamp(-NEAREST, NEAREST);
            Some(PairSpread { means: [x, y], deviations, correlation, rows: 0.0, squares: 0.0 })
        };
        Self { pairs: profile.pairs.iter().enumerate().map(of_pair).collect() }
    }

    pub(crate) fn add(&mut self, associations: &Associations, row: &[f64]) {
        let numbers = associations.numbers(row);
        for ((i, j), pair) in associations.pairs().zip(&mut self.pairs) {
            if let (Some(pair), Some(x), Some(y)) = (pair, numbers[i], numbers[j]) {
                let u = (x as f64 - pair.means[0]) / pair.deviations[0];
                let v = (y as f64 - pair.means[1]) / pair.deviations[1];
                pair.rows += 1.0;
                pair.squares += (u * v - pair.correlation * (u * u + v * v) / 2.0).powi(2);
            }
        }
    }

    /// The spread of each pair.
    pub(crate) fn finish(self) -> Vec<f64> {
        let spread = |pair: PairSpread| pair.squares / pair.rows / (1.0 - pair.correlation.powi(2)).powi(2);
        let spreads = self.pairs.into_iter().map(|pair| pair.map(spread).filter(|spread| spread.is_finite()));
        spreads.map(|spread| spread.unwrap_or(1.0).max(1.0)).collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::laws::parts_make_the_whole;

    fn associations() -> Associations {
        Associations::new(["a", "b", "c"].map(str::to_owned).to_vec(), vec![1.0, 0.0, -5.0], vec![2.0, 1.0, 0.1])
    }

    fn counted(rows: &[[f64; 3]]) -> AssociationProfile {
        let mut profile = AssociationProfile::empty(&associations());
        rows.iter().for_each(|row| profile.count(&associations(), row));
        profile
    }

    fn any_rows() -> impl Strategy<Value = Vec<[f64; 3]>> {
        let number = prop_oneof![-9.0..9.0f64, Just(f64::NAN), Just(f64::INFINITY), Just(f64::MAX), Just(-1e99)];
        proptest::collection::vec(proptest::array::uniform3(number), 0..40)
    }

    proptest! {
        #[test]
        fn profiles_add_up_to_the_bit(rows in any_rows(), at in (0usize..40, 0usize..40)) {
            parts_make_the_whole(&rows, at, counted, (AssociationProfile::merge, AssociationProfile::remove));
            prop_assert_eq!(counted(&rows).all_rows(), rows.len() as u64);
        }

        #[test]
        fn a_correlation_is_that_of_the_rows_that_have_both(rows in proptest::collection::vec((-3.0..3.0f64, -1.0..1.0f64), 10..60)) {
            let level = |(a, b): &(f64, f64)| [1.0 + 2.0 * a, a + b, f64::NAN];
            let profile = counted(&rows.iter().map(level).collect::<Vec<_>>());
            let n = rows.len() as f64;
            let mean = |of: &dyn Fn(&(f64, f64)) -> f64| rows.iter().map(of).sum::<f64>() / n;
            let (x, y) = (mean(&|row| row.0), mean(&|row| row.0 + row.1));
            let of = |f: &dyn Fn(f64, f64) -> f64| mean(&|row| f(row.0 - x, row.0 + row.1 - y));
            let expected = of(&|x, y| x * y) / (of(&|x, _| x * x) * of(&|_, y| y * y)).sqrt();
            let (both, correlation) = profile.correlation(0).unwrap();
            prop_assert_eq!(both, n);
            prop_assert!((correlation - expected).abs() < 1e-3, "{} is not {}", correlation, expected);
            prop_assert_eq!(profile.correlation(1), None);
        }
    }

    #[test]
    fn a_constant_column_and_few_rows_have_no_correlation() {
        let row = |i: i32| [f64::from(i), 2.0, -5.0 + f64::from(i * i) / 1000.0];
        let profile = counted(&(0..20).map(row).collect::<Vec<_>>());
        assert!(profile.correlation(0).is_none() && profile.correlation(1).is_some());
        assert!(counted(&(0..9).map(row).collect::<Vec<_>>()).correlation(1).is_none());
        assert_eq!(counted(&[[1.0, f64::NAN, f64::NAN]]).missing, 1);
    }
}
