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

use super::chance_sum::ChanceSum;
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

/// All the ways in which the rows of two samples could have been split between them.
#[derive(Debug)]
pub(crate) struct RandomSplit {
    /// One for each distinct number of rows.
    kinds: Vec<Kind>,
    /// `Σ Var(w_i)`.
    variance: f64,
    /// Sizes of reference and window.
    sizes: (f64, f64),
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
    rows: f64,
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
            .map(|(rows, cells)| Kind::new(rows as f64, cells as f64, chance))
            .collect();
        let variance = kinds.iter().map(|kind| kind.cells * kind.rows * chance * (1.0 - chance)).sum();
        Self { kinds, variance, sizes: (n as f64, m as f64) }
    }

    /// Of cells that together are the reference's range, with one more for what of the window lies outside of it. The reference
    /// leaves that empty by how it is made, so its rows were never split: it holds what the two extremes leave out (see
    /// [`crate::distances::range`]).
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

    /// The largest difference between the shares that a cell has of each sample. The fixed sum of the `w_i` leaves the share
    /// `1 − t_i/(n+m)` of a cell's variance.
    pub(crate) fn largest_difference(&self) -> LargestDifference {
        let (n, m) = self.sizes;
        let of_kind = |kind: &Kind| {
            let left = (1.0 - kind.rows / (n + m)).max(0.0).sqrt();
            // A point that stands for several rows stands for those around it.
            let of_a_row = 1.0 / m + if kind.rows > 0.0 { 1.0 / n } else { 0.0 };
            let around = if kind.step > 1.0 { kind.step / 2.0 * of_a_row } else { 0.0 };
            let differing = |point: &Point| {
                let difference = (point.reference / n - point.window / m).abs();
                let (least, most) = ((difference - around).max(0.0), difference + around);
                Differing { least: left * least, most: left * most, cells: kind.cells * point.weight }
            };
            kind.points.iter().map(differing).collect::<Vec<_>>()
        };
        LargestDifference::new(self.kinds.iter().flat_map(of_kind).collect())
    }

    /// The score that adds up `term(r, w)` over the cells, of r rows of the reference and w of the window.
    pub(crate) fn sum_of(&self, term: impl Fn(f64, f64) -> f64) -> ChanceSum {
        if let [only] = self.kinds.as_slice()
            && only.cells == 1.0
        {
            let mean = term(only.rows - only.mean, only.mean);
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
        let b = 0.5 * along / self.variance;
        ChanceSum {
            mean: (mean - b).max(0.0),
            variance: (variance - 2.0 * b * b).max(0.0),
            third: third - 8.0 * b.powi(3),
        }
    }
}

impl Kind {
    fn new(rows: f64, cells: f64, chance: f64) -> Self {
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
        Self { cells, rows, mean, step, points: points.collect() }
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
        Self { cells: 1.0, rows: 0.0, mean, step, points }
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
    fn the_largest_difference_of_two_cells_is_that_of_a_binomial() {
        // As good as normal, of so many rows: on either side of each of two cells, with what their fixed sum leaves of the
        // deviation. What lies between two counts that are taken counts as evenly spread, which makes the tail larger.
        let split = RandomSplit::new((40_000, 40_000), [(40_000, 2)]);
        for z in (0..40).map(|step| 2.5 + f64::from(step) / 20.0) {
            let difference = z * (0.25f64 / 40_000.0 * 2.0).sqrt();
            let expected = 4.0 * crate::null::tails::normal_tail(z);
            let got = split.largest_difference().tail(difference) / expected;
            assert!((0.99..1.2).contains(&got), "{z} deviations: {got} times the tail");
            let quantile = split.largest_difference().quantile(expected) / difference;
            assert!((0.999..1.01).contains(&quantile), "{z} deviations: {quantile} times the quantile");
        }
    }
}
