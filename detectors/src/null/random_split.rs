//! Sums over cells under no drift: what chance makes of PSI and its kin, however few rows a cell holds.
//!
//! Without drift the two samples are one, of which a random draw became the window. Given the rows `t_i = r_i + w_i` that
//! both have in each cell, every `w_i` is then binomial, with `t_i` trials of chance `π = m/(n+m)`, and all together are
//! held to `Σ w_i = m`. So the mean, variance and third cumulant of a score `S = Σ f(r_i, w_i)` follow from small sums over
//! each cell's binomial, without the assumption that its expected count is large:
//!
//! * what f has in common with `w_i` cancels, since the `w_i` have a fixed sum: with
//!   `a = Σ Cov(f_i, w_i) / Σ Var(w_i)`, it is `g_i = f_i − a·(w_i − E w_i)` that varies (Morris 1975, "Central limit
//!   theorems for multinomial sums", Annals of Statistics 3);
//! * the fixed sum also takes one degree of freedom. With `b = ½ Σ Cov(g_i, (w_i − E w_i)²) / Σ Var(w_i)`, the share of
//!   S along `Z² − 1`, where Z is the standardised sum of the `w_i` and its square is known to be 0, the cumulants are
//!   `Σ E f_i − b`, `Σ Var g_i − 2b²` and `Σ κ₃(g_i) − 8b³`.
//!
//! The tail is that of the shifted and scaled chi-square with these three cumulants (Pearson 1959; Imhof 1961, Biometrika
//! 46 and 48). Where expected counts are large, all of this becomes the chi-square distribution with one degree of
//! freedom less than cells, as the textbooks have it for PSI (Yurdakul 2018) and for Pearson's statistic.

use std::collections::BTreeMap;

use statrs::function::gamma::ln_gamma;

use super::absolute_deviation::{AbsoluteDeviation, Part};
use super::chance_sum::ChanceSum;
use super::extremes;
use super::hypergeometric::Draw;
use super::largest_difference::{Differing, LargestDifference};

/// Standard deviations on each side of its mean to which a binomial is summed up.
const REACH: f64 = 8.0;
/// Counts on each side beyond that, for the skew of small means.
const MARGIN: f64 = 12.0;
/// Points on a standard deviation, where that is wider than they are: the trapezoid rule is exact to rounding at this
/// step.
const POINTS_PER_DEVIATION: f64 = 3.0;
/// Means to which rows outside of a range are summed up; they thin out like `exp(−2·rows/mean)`.
const OUTSIDE_REACH: f64 = 20.0;
/// Points on such a mean, where that is more than they are.
const POINTS_PER_OUTSIDE_MEAN: f64 = 8.0;
/// Differences are equal up to it.
const ROUNDING: f64 = 1e-9;

/// All the ways in which the rows of two samples could have been split between them.
#[derive(Debug)]
pub(crate) struct RandomSplit {
    /// One for each distinct number of rows.
    kinds: Vec<Kind>,
    /// `Σ Var(w_i)`.
    variance: f64,
    /// Sizes of reference and window.
    sizes: (u64, u64),
}

/// One way in which a cell's rows fall to reference and window.
#[derive(Debug, Clone, Copy)]
struct Point {
    reference: f64,
    window: f64,
    weight: f64,
}

impl Point {
    /// A cell that both leave empty is left out of every sum.
    fn is_empty(&self) -> bool {
        self.reference + self.window == 0.0
    }
}

/// Cells with the same number of rows in both samples together.
#[derive(Debug)]
struct Kind {
    cells: f64,
    /// None outside of a range: what the reference leaves empty was never split.
    rows: Option<u64>,
    /// Mean of the window's rows among them.
    mean: f64,
    /// From one point to the next, in rows.
    step: f64,
    /// Rows of the reference and of the window, and their weights, which add up to one.
    points: Vec<Point>,
}

impl RandomSplit {
    /// Of samples of these sizes, both more than none, and of so many cells that hold so many rows of both together.
    pub(crate) fn new((n, m): (u64, u64), rows_and_cells: impl IntoIterator<Item = (u64, u64)>) -> Self {
        let chance = m as f64 / (n + m) as f64;
        let mut kinds: BTreeMap<u64, u64> = BTreeMap::new();
        for (rows, cells) in rows_and_cells {
            *kinds.entry(rows).or_default() += cells;
        }
        let kinds: Vec<Kind> = kinds
            .into_iter()
            .filter(|(_, cells)| *cells > 0)
            .map(|(rows, cells)| Kind::new(rows, cells as f64, chance))
            .collect();
        let variance = kinds.iter().map(|kind| kind.cells * kind.mean * (1.0 - chance)).sum();
        Self { kinds, variance, sizes: (n, m) }
    }

    /// Of cells that together are the reference's range, with one more for what of the window lies outside of it. The reference
    /// leaves that empty by how it is made, so its rows were never split: it holds what the two extremes leave out (see
    /// [`crate::null::extremes`]).
    pub(crate) fn with_outside((n, m): (u64, u64), rows_and_cells: impl IntoIterator<Item = (u64, u64)>) -> Self {
        let mut split = Self::new((n, m), rows_and_cells);
        if n > 1 {
            let outside = Kind::outside(n as f64, m as f64);
            let deviation = |point: &Point| point.weight * (point.window - outside.mean).powi(2);
            split.variance += outside.points.iter().map(deviation).sum::<f64>();
            split.kinds.push(outside);
        }
        split
    }

    /// The largest difference between the shares that a cell has of each sample. Of a cell's rows, as many fall to the window as to a
    /// draw without replacement; where they may be many, several counts are taken as one that lies anywhere among them.
    pub(crate) fn largest_difference(&self) -> LargestDifference {
        let ((n, m), (rows_n, rows_m)) = (self.sizes, self.numbers_of_rows());
        let of_kind = |kind: &Kind| -> Vec<Differing> {
            let between = |difference: f64, around: f64, chance: f64| Differing {
                least: (difference.abs() - around).max(0.0),
                most: difference.abs() + around,
                cells: kind.cells * chance,
            };
            let Some(rows) = kind.rows else {
                let around = if kind.step > 1.0 { kind.step / 2.0 / rows_m } else { 0.0 };
                let of_point = |point: &Point| between(point.window / rows_m, around, point.weight);
                return kind.points.iter().map(of_point).collect();
            };
            let draw = Draw::new(n + m, rows, m);
            let step = (draw.deviation() / POINTS_PER_DEVIATION).floor().max(1.0);
            let of_row = 1.0 / rows_n + 1.0 / rows_m;
            let of_counts = |counts: &[(u64, f64)]| {
                let (first, last) = (counts[0].0 as f64, counts[counts.len() - 1].0 as f64);
                let around = if step > 1.0 { (last - first + 1.0) / 2.0 * of_row } else { 0.0 };
                let chance = counts.iter().map(|(_, chance)| chance).sum();
                between(((first + last) / 2.0 - kind.mean) * of_row, around, chance)
            };
            draw.likely().chunks(step as usize).map(of_counts).collect()
        };
        LargestDifference::new(self.kinds.iter().flat_map(of_kind).collect())
    }

    /// The probability that the shares of some cell differ by so much, or an upper bound of it: those of all cells, added up
    /// (Bonferroni). Two cells differ alike, so one of them says it all, and exactly.
    pub(crate) fn reaches(&self, difference: f64) -> f64 {
        let ((n, m), (rows_n, rows_m)) = (self.sizes, self.numbers_of_rows());
        let difference = difference * (1.0 - ROUNDING);
        let of_cell = |kind: &Kind| {
            let Some(rows) = kind.rows else {
                return extremes::at_least_beyond((difference * rows_m).ceil() as u64, n, m);
            };
            let (draw, away) = (Draw::new(n + m, rows, m), difference / (1.0 / rows_n + 1.0 / rows_m));
            let fewer = kind.mean - away;
            let below = if fewer < 0.0 { 0.0 } else { draw.at_most(fewer as u64) };
            below + draw.at_least((kind.mean + away).ceil() as u64)
        };
        let are_alike = self.kinds.iter().all(|kind| kind.rows.is_some()) && self.cells() == 2.0;
        let of_all: f64 = self.kinds.iter().map(|kind| kind.cells * of_cell(kind)).sum();
        if are_alike { of_all / 2.0 } else { of_all }.min(1.0)
    }

    /// The score that adds up half of the difference of each cell's shares.
    pub(crate) fn half_of_differences(&self) -> ChanceSum {
        if self.is_one_cell() {
            return ChanceSum { mean: 0.0, variance: 0.0, third: 0.0 };
        }
        let parts: Vec<(f64, Part)> =
            self.kinds.iter().map(|kind| (kind.cells, self.half_of_difference(kind))).collect();
        let sum = |of: &dyn Fn(&Part) -> f64| -> f64 { parts.iter().map(|(cells, part)| cells * of(part)).sum() };
        let slope = sum(&|part| part.with_rows) / self.variance;
        let b = 0.5 * sum(&|part| part.with_squares - slope * part.rows_cubed) / self.variance;
        let variance = |part: &Part| part.squared - 2.0 * slope * part.with_rows + slope * slope * part.rows_squared;
        let third = |part: &Part| {
            part.cubed - 3.0 * slope * part.squared_with_rows + 3.0 * slope * slope * part.with_squares
                - slope.powi(3) * part.rows_cubed
        };
        ChanceSum::along_a_fixed_sum(sum(&|part| part.mean), sum(&variance), sum(&third), b)
    }

    /// What a cell brings to it.
    fn half_of_difference(&self, kind: &Kind) -> Part {
        let (n, m) = self.numbers_of_rows();
        let Some(rows) = kind.rows else {
            let moment = |power| -> f64 {
                kind.points.iter().map(|point| point.weight * (point.window - kind.mean).powi(power)).sum()
            };
            return Part::of_line(0.5 / m, kind.mean, moment(2), moment(3));
        };
        Part::of_deviation(0.5 / n + 0.5 / m, AbsoluteDeviation::of(rows, m / (n + m)))
    }

    /// A single cell holds all rows, however they were split.
    fn is_one_cell(&self) -> bool {
        matches!(self.kinds.as_slice(), [only] if only.cells == 1.0)
    }

    fn cells(&self) -> f64 {
        self.kinds.iter().map(|kind| kind.cells).sum()
    }

    fn numbers_of_rows(&self) -> (f64, f64) {
        (self.sizes.0 as f64, self.sizes.1 as f64)
    }

    /// The score that adds up `term(r, w)` over the cells, of r rows of the reference and w of the window. The term must be smooth
    /// where a cell holds many.
    pub(crate) fn sum_of(&self, term: impl Fn(f64, f64) -> f64) -> ChanceSum {
        if self.is_one_cell()
            && let [only] = self.kinds.as_slice()
        {
            let mean = term(only.rows.unwrap_or(0) as f64 - only.mean, only.mean);
            return ChanceSum { mean, variance: 0.0, third: 0.0 };
        }
        let terms: Vec<Vec<f64>> = self
            .kinds
            .iter()
            .map(|kind| {
                kind.points
                    .iter()
                    .map(|point| if point.is_empty() { 0.0 } else { term(point.reference, point.window) })
                    .collect()
            })
            .collect();
        let expected = |kind: &Kind, of: &dyn Fn(usize, f64) -> f64| -> f64 {
            kind.points.iter().enumerate().map(|(i, point)| point.weight * of(i, point.window - kind.mean)).sum()
        };
        let means: Vec<f64> =
            self.kinds.iter().zip(&terms).map(|(kind, terms)| expected(kind, &|i, _| terms[i])).collect();
        let slope = self
            .kinds
            .iter()
            .zip(&terms)
            .map(|(kind, terms)| kind.cells * expected(kind, &|i, deviation| terms[i] * deviation))
            .sum::<f64>()
            / self.variance;
        let (mut mean, mut variance, mut third, mut along) = (0.0, 0.0, 0.0, 0.0);
        for ((kind, terms), centre) in self.kinds.iter().zip(&terms).zip(means) {
            let free = |i: usize, deviation: f64| terms[i] - centre - slope * deviation;
            mean += kind.cells * centre;
            variance += kind.cells * expected(kind, &|i, deviation| free(i, deviation).powi(2));
            third += kind.cells * expected(kind, &|i, deviation| free(i, deviation).powi(3));
            along += kind.cells * expected(kind, &|i, deviation| free(i, deviation) * deviation * deviation);
        }
        ChanceSum::along_a_fixed_sum(mean, variance, third, 0.5 * along / self.variance)
    }
}

impl Kind {
    fn new(rows: u64, cells: f64, chance: f64) -> Self {
        let split = Some(rows);
        let rows = rows as f64;
        let (mean, deviation) = (rows * chance, (rows * chance * (1.0 - chance)).sqrt());
        let first = (mean - REACH * deviation - MARGIN).floor().max(0.0);
        let last = (mean + REACH * deviation + MARGIN).ceil().min(rows);
        let step = (deviation / POINTS_PER_DEVIATION).floor().max(1.0);
        let (log_chance, log_rest) = (chance.ln(), (1.0 - chance).ln());
        let log_weight = |window: f64| {
            window * log_chance + (rows - window) * log_rest - ln_gamma(window + 1.0) - ln_gamma(rows - window + 1.0)
        };
        let windows = steps(first, last, step);
        let points =
            weighted(windows, log_weight).map(|(window, weight)| Point { reference: rows - window, window, weight });
        Self { cells, rows: split, mean, step, points: points.collect() }
    }

    /// What of the window's m rows lies beyond the extremes of the reference's n: a beta-binomial variable with 2 and n − 1.
    fn outside(n: f64, m: f64) -> Self {
        let mean = 2.0 * m / (n + 1.0);
        let last = (OUTSIDE_REACH * mean + 2.0 * MARGIN).ceil().min(m);
        let step = (mean / POINTS_PER_OUTSIDE_MEAN).floor().max(1.0);
        let windows = steps(0.0, last, step);
        let log_weight =
            |window: f64| (window + 1.0).ln() + ln_gamma(m - window + n - 1.0) - ln_gamma(m - window + 1.0);
        let points: Vec<Point> =
            weighted(windows, log_weight).map(|(window, weight)| Point { reference: 0.0, window, weight }).collect();
        let mean = points.iter().map(|point| point.weight * point.window).sum();
        Self { cells: 1.0, rows: None, mean, step, points }
    }
}

fn steps(first: f64, last: f64, step: f64) -> impl Iterator<Item = f64> {
    (0..=((last - first) / step) as usize).map(move |i| first + step * i as f64)
}

/// Values with their weights, which add up to one.
fn weighted(values: impl Iterator<Item = f64>, log_weight: impl Fn(f64) -> f64) -> impl Iterator<Item = (f64, f64)> {
    let logarithms: Vec<(f64, f64)> = values.map(|value| (value, log_weight(value))).collect();
    let highest = logarithms.iter().map(|(_, logarithm)| *logarithm).fold(f64::NEG_INFINITY, f64::max);
    let total: f64 = logarithms.iter().map(|(_, logarithm)| (logarithm - highest).exp()).sum();
    logarithms.into_iter().map(move |(value, logarithm)| (value, (logarithm - highest).exp() / total))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::null::tails::chi_square_quantile;

    /// Pearson's statistic of these counts' table.
    fn pearson(counts: &[(u64, u64)]) -> ChanceSum {
        let n: u64 = counts.iter().map(|(reference, _)| reference).sum();
        let m: u64 = counts.iter().map(|(_, window)| window).sum();
        let chance = m as f64 / (n + m) as f64;
        RandomSplit::new((n, m), counts.iter().map(|(r, w)| (r + w, 1))).sum_of(|reference, window| {
            let rows = reference + window;
            (window - rows * chance).powi(2) / (rows * chance * (1.0 - chance))
        })
    }

    #[test]
    fn with_large_counts_pearsons_statistic_is_chi_square() {
        for cells in [2, 3, 10, 60] {
            let chance = pearson(&vec![(5_000, 3_000); cells]);
            let df = (cells - 1) as f64;
            for tail in [0.5, 0.01, 0.001] {
                let (got, expected) = (chance.quantile(tail), chi_square_quantile(tail, df));
                assert!((got / expected - 1.0).abs() < 0.01, "{cells} cells, {tail}: {got} against {expected}");
                assert!((chance.tail(got) / tail - 1.0).abs() < 1e-6);
            }
        }
    }

    #[test]
    fn the_mean_of_pearsons_statistic_is_the_exact_one_however_small_the_counts() {
        // Of the multivariate hypergeometric distribution: (cells − 1)·N/(N − 1).
        for counts in [vec![(1, 0); 50], vec![(3, 1); 20], vec![(900, 100), (2, 0), (0, 1)]] {
            let mut counts = counts;
            counts.push((0, 7));
            let rows: u64 = counts.iter().map(|(reference, window)| reference + window).sum();
            let exact = (counts.len() - 1) as f64 * rows as f64 / (rows - 1) as f64;
            let got = pearson(&counts).mean;
            assert!((got / exact - 1.0).abs() < 0.03, "{got} against {exact}");
        }
    }

    #[test]
    fn one_cell_leaves_nothing_to_chance() {
        let chance = pearson(&[(100, 50)]);
        assert!(chance.mean.abs() < 1e-9 && chance.quantile(0.001).abs() < 1e-9, "{chance:?}");
    }

    #[test]
    fn differences_add_up_as_all_counts_say() {
        // Of few rows every count is a point.
        for (sizes, cells) in
            [((30, 20), vec![(5, 4), (10, 3)]), ((7, 40), vec![(1, 30), (17, 1)]), ((60, 60), vec![(60, 2)])]
        {
            for split in [RandomSplit::new(sizes, cells.clone()), RandomSplit::with_outside(sizes, cells)] {
                let (n, m) = split.numbers_of_rows();
                let expected = split.sum_of(|reference, window| 0.5 * (reference / n - window / m).abs());
                let got = split.half_of_differences();
                for (got, expected, unit) in [
                    (got.mean, expected.mean, expected.mean),
                    (got.variance, expected.variance, expected.variance),
                    (got.third, expected.third, expected.variance.powf(1.5)),
                ] {
                    assert!((got - expected).abs() < 1e-10 * unit, "{sizes:?}: {got}, not {expected}");
                }
            }
        }
    }

    #[test]
    fn many_rows_differ_by_the_mean_of_a_normal_magnitude() {
        // A hundred cells of a thousand rows: √(2/π) deviations each, and 1 − 2/π of the variance.
        let split = RandomSplit::new((50_000, 50_000), [(1000, 100)]);
        let (got, of_cell) = (split.half_of_differences(), 0.5 * (250.0f64 * 0.99).sqrt() * 2.0 / 50_000.0);
        let (mean, variance) = (100.0 * of_cell * 0.797_884_560_8, 100.0 * of_cell.powi(2) * 0.363_380_227_6);
        assert!((got.mean / mean - 1.0).abs() < 1e-3, "{got:?} against {mean}");
        assert!((got.variance / variance - 1.0).abs() < 2e-2, "{got:?} against {variance}");
    }

    #[test]
    fn a_large_difference_is_as_likely_as_the_noise_says() {
        for (sizes, cells) in [
            ((27_000, 25_000), vec![(5_200, 10)]),
            ((4_000, 200), vec![(21, 200)]),
            ((900, 400), vec![(1, 300), (1000, 1)]),
        ] {
            let split = RandomSplit::new(sizes, cells);
            let largest = split.largest_difference();
            for tail in [0.05, 0.001] {
                let quantile = largest.quantile(tail);
                let [more, as_much] = [1.0 + 1e-6, 1.0 - 1e-6].map(|part| split.reaches(part * quantile) / tail);
                assert!(
                    more < 1.01 && as_much > 0.75,
                    "{sizes:?}, {tail}: {quantile} is reached by {as_much}, passed by {more} times as many"
                );
            }
        }
    }

    #[test]
    fn the_largest_difference_of_two_cells_is_that_of_either() {
        // As good as normal, of so many rows: on either side, from half a row before on.
        let split = RandomSplit::new((40_000, 40_000), [(40_000, 2)]);
        let deviation = (10_000.0f64 * 40_000.0 / 79_999.0).sqrt();
        for rows in (180..330).step_by(5).map(f64::from) {
            let difference = rows * 2.0 / 40_000.0;
            let expected = 2.0 * crate::null::tails::normal_tail((rows - 0.5) / deviation);
            let got = split.reaches(difference) / expected;
            assert!((0.98..1.02).contains(&got), "{rows} rows: {got} times the tail");
            // Noise counts both cells, and what lies between two counts that are taken as evenly spread.
            let quantile = split.largest_difference().quantile(2.0 * expected) / difference;
            assert!((0.99..1.01).contains(&quantile), "{rows} rows: {quantile} times the quantile");
        }
    }
}
