//! Distances between two vectors of shares: of categories, or of a numeric column's coarse cells.
//!
//! Noise and p-values take the rows of each cell as they are (see [`crate::null::random_split`]), so they hold for a
//! thousand categories with a row or two in each as well as for deciles.

mod delta;
mod pooling;
mod terms;

use std::cell::OnceCell;

use self::terms::towards;
use super::{Distance, NOISE_TAIL, interval, inverse_sizes};
use crate::detector::Detector;
use crate::null::chance_sum::ChanceSum;
use crate::null::random_split::RandomSplit;
use crate::null::tails::{chi_square_tail, normal_quantile};

/// So many cells, of equal share, are many: none of them decides where the others may be.
const MANY_CELLS: f64 = 20.0;

/// The two samples' counts in the same cells; cells that both leave empty are left out.
#[derive(Debug)]
pub(crate) struct Shares {
    counts: Vec<(u64, u64)>,
    /// Rows that only the window has, in cells of which nothing more is known.
    scattered: u64,
    /// Whether rows that only the window has lie outside of the reference's range.
    is_range: bool,
    n: u64,
    m: u64,
    /// Worked out when a noise is asked for.
    split: OnceCell<RandomSplit>,
}

impl Shares {
    /// Of the counts of each cell, and of rows of the window in cells that the reference leaves empty, of which it is not
    /// known which rows share one. They count as if each had a cell of its own, which leaves PSI and the largest
    /// difference at their lower ends, and changes no other distance.
    pub(crate) fn new(counts: impl IntoIterator<Item = (u64, u64)>, scattered: u64) -> Self {
        let counts: Vec<_> = counts.into_iter().filter(|(reference, window)| reference + window > 0).collect();
        let n = counts.iter().map(|(reference, _)| reference).sum();
        let m = counts.iter().map(|(_, window)| window).sum::<u64>() + scattered;
        Self { counts, scattered, is_range: false, n, m, split: OnceCell::new() }
    }

    /// Of the counts of cells that are the reference's range in parts, and one for outside of it, which it leaves empty.
    pub(crate) fn of_range(counts: impl IntoIterator<Item = (u64, u64)>) -> Self {
        Self { is_range: true, ..Self::new(counts, 0) }
    }

    pub(crate) fn sizes(&self) -> (u64, u64) {
        (self.n, self.m)
    }

    /// What the distances of shares say, without what chance makes of them.
    pub(crate) fn effects(&self) -> [(Detector, f64); 8] {
        [
            (Detector::Psi, self.psi_effect()),
            (Detector::KullbackLeibler, self.sum(self.kullback_leibler_term())),
            (Detector::ChiSquare, self.cramers_v()),
            (Detector::GTest, self.pooled().map_or(0.0, |pooled| pooled.jensen_shannon_effect())),
            (Detector::TotalVariation, self.half_of_differences()),
            (Detector::JensenShannon, self.jensen_shannon_effect()),
            (Detector::Hellinger, self.sum(self.hellinger_term()).max(0.0).sqrt()),
            (Detector::LInfinity, self.largest_difference()),
        ]
    }

    /// That of PSI alone.
    pub(crate) fn psi_effect(&self) -> f64 {
        self.sum(self.psi_term())
    }

    /// The distance that a detector of shares means; none when there is nothing to compare, or it means something else.
    pub(crate) fn distance(&self, detector: Detector) -> Option<Distance> {
        match detector {
            Detector::Psi => Some(self.psi()),
            Detector::KullbackLeibler => Some(self.kullback_leibler()),
            Detector::ChiSquare => Some(self.chi_square()),
            Detector::GTest => self.g_test(),
            Detector::TotalVariation => Some(self.total_variation()),
            Detector::JensenShannon => Some(self.jensen_shannon()),
            Detector::Hellinger => Some(self.hellinger()),
            Detector::LInfinity => Some(self.l_infinity()),
            _ => None,
        }
    }

    /// Population stability index `Σ(q − p)·ln(q/p)`, from 0 upwards. A cell that one sample leaves empty counts as half
    /// a row of that sample there, so the index stays finite and the penalty shrinks as evidence grows.
    fn psi(&self) -> Distance {
        self.divergence(self.psi_term())
    }

    /// Kullback and Leibler's divergence (1951) of the window from the reference, `Σ q·ln(q/p)` in nats, from 0 upwards, as
    /// SciPy's `kl_div(q, p).sum()`, of which each term is `q·ln(q/p) − q + p`. A cell that the reference leaves empty counts
    /// as half a row of it there.
    fn kullback_leibler(&self) -> Distance {
        self.divergence(self.kullback_leibler_term())
    }

    /// A sum that is its own effect. Scattered rows in one cell would make more of it.
    fn divergence(&self, term: impl Fn(f64, f64) -> f64) -> Distance {
        let (value, chance) = (self.sum(&term), self.chance(&term));
        let scattered = self.scattered as f64;
        let upper = if self.scattered == 0 { value } else { value - scattered * term(0.0, 1.0) + term(0.0, scattered) };
        let (low, high) = interval::around_sum(value, chance, self.variance(&term));
        Distance {
            value,
            upper,
            effect: value,
            noise: chance.quantile(NOISE_TAIL),
            null_mean: chance.mean,
            interval: (low, high + (upper - value)),
            p_value: chance.tail(value),
        }
    }

    /// Jensen-Shannon distance with logarithms to base 2: the square root of the divergence, from 0 to 1, as SciPy's
    /// `jensenshannon(base=2)`.
    fn jensen_shannon(&self) -> Distance {
        self.root_of_sum(self.jensen_shannon_term(), 1.0 / std::f64::consts::LN_2)
    }

    /// Hellinger distance `√(½·Σ(√p − √q)²)`, from 0 to 1.
    fn hellinger(&self) -> Distance {
        self.root_of_sum(self.hellinger_term(), 1.0)
    }

    /// The root of a sum in some unit.
    fn root_of_sum(&self, term: impl Fn(f64, f64) -> f64, unit: f64) -> Distance {
        let (sum, chance) = (self.sum(&term).max(0.0), self.chance(&term));
        let root = |sum: f64| (sum.max(0.0) * unit).sqrt();
        let (low, high) = interval::around_sum(sum, chance, self.variance(&term));
        let value = root(sum);
        Distance {
            value,
            upper: value,
            effect: value,
            noise: root(chance.quantile(NOISE_TAIL)),
            null_mean: chance.mean_root() * unit.sqrt(),
            interval: (root(low), root(high)),
            p_value: chance.tail(sum),
        }
    }

    /// Total variation `½·Σ|p − q|`, from 0 to 1. By Cauchy-Schwarz it is at most `½·√(Σ(p−q)²/u)` with the shares u of
    /// both samples together, from which noise and p-value are upper bounds. Where the rows lie in many cells that bound is
    /// far off, and no cell moves the others much; there they are those of the sum itself. Two cells differ alike, and their p-value
    /// is exact.
    fn total_variation(&self) -> Distance {
        let value = self.half_of_differences();
        let sum = self.split().half_of_differences();
        let (noise, reach, p_value) = if self.effective_cells() >= MANY_CELLS {
            (sum.quantile(NOISE_TAIL), sum.quantile(interval::OUTSIDE), sum.tail(value))
        } else {
            let (n, m) = (self.n as f64, self.m as f64);
            let chance =
                self.chance(|reference, window| (reference / n - window / m).powi(2) * (n + m) / (reference + window));
            let reach = |tail: f64| chance.quantile(tail).max(0.0).sqrt() / 2.0;
            let p_value = if self.cells() == 2 && !self.is_range {
                self.split().reaches(value)
            } else {
                chance.tail(4.0 * value * value)
            };
            (reach(NOISE_TAIL), reach(interval::OUTSIDE), p_value)
        };
        let interval = interval::around_norm((value, value), reach);
        Distance { value, upper: value, effect: value, noise, null_mean: sum.mean, interval, p_value }
    }

    /// The largest difference of one share, from 0 to 1. Noise and p-value are upper bounds: each cell's own, added up over
    /// the cells (Bonferroni). The interval takes the largest variance that a share can have.
    fn l_infinity(&self) -> Distance {
        let value = self.largest_difference();
        let upper = value.max(self.scattered as f64 / self.m as f64);
        let chance = self.split().largest_difference();
        let reach = normal_quantile(interval::OUTSIDE / (2.0 * self.cells().max(1) as f64));
        let reach = reach * 0.5 * inverse_sizes(self.n, self.m).sqrt();
        Distance {
            value,
            upper,
            effect: value,
            noise: chance.quantile(NOISE_TAIL),
            null_mean: chance.mean(),
            interval: interval::around_norm((value, upper), reach),
            p_value: self.split().reaches(value),
        }
    }

    /// Pearson's chi-square of the two-row contingency table, without continuity correction: SciPy's
    /// `chi2_contingency(correction=False)`. Its p-value is that of the table whose rare cells are pooled (see
    /// [`Self::pooled`]), for one row where a thousandth of one is expected makes a thousand of the statistic, and says
    /// nothing; one where pooling leaves a single cell. The effect is Cramér's V of two samples of equal size with these
    /// shares, `√(½·Σ(p−q)²/(p+q))`, from 0 to 1: it depends on the shares alone, and its noise holds at any counts.
    fn chi_square(&self) -> Distance {
        let value = self.pearsons();
        let p_value = self
            .pooled()
            .map_or(1.0, |pooled| chi_square_tail(pooled.pearsons(), pooled.cells().saturating_sub(1) as f64));
        Distance { value, upper: value, p_value, ..self.root_of_sum(self.cramers_v_term(), 1.0) }
    }

    fn pearsons(&self) -> f64 {
        self.sum(|reference, window| {
            let (expected_r, expected_w) = self.expected(reference + window);
            (reference - expected_r).powi(2) / expected_r + (window - expected_w).powi(2) / expected_w
        })
    }

    /// The likelihood ratio of the contingency table, `G = 2·Σ O·ln(O/E)` (Wilks 1938), from 0 up, and its p-value with one
    /// degree less than cells: SciPy's `chi2_contingency(lambda_="log-likelihood", correction=False)` on cells of which the
    /// rare ones are pooled (see [`Self::pooled`]). The effect is the Jensen-Shannon distance of the pooled cells, which is what
    /// G measures in samples of equal size; it does not grow with them. None when pooling leaves one cell.
    fn g_test(&self) -> Option<Distance> {
        let pooled = self.pooled()?;
        let value = pooled.sum(|reference, window| {
            let (expected_r, expected_w) = pooled.expected(reference + window);
            2.0 * (towards(reference, expected_r) + towards(window, expected_w))
        });
        let value = value.max(0.0);
        let p_value = chi_square_tail(value, pooled.cells().saturating_sub(1) as f64);
        Some(Distance { value, upper: value, p_value, ..pooled.jensen_shannon() })
    }

    /// How many of a cell's rows each sample would have without drift.
    fn expected(&self, rows: f64) -> (f64, f64) {
        let (n, m) = (self.n as f64, self.m as f64);
        (rows * n / (n + m), rows * m / (n + m))
    }

    fn jensen_shannon_effect(&self) -> f64 {
        (self.sum(self.jensen_shannon_term()).max(0.0) / std::f64::consts::LN_2).sqrt()
    }

    fn cramers_v(&self) -> f64 {
        self.sum(self.cramers_v_term()).sqrt()
    }

    fn half_of_differences(&self) -> f64 {
        self.sum(self.difference_term())
    }

    fn largest_difference(&self) -> f64 {
        let (n, m) = (self.n as f64, self.m as f64);
        let differences = self.counts.iter().map(|(r, w)| (*r as f64 / n - *w as f64 / m).abs());
        differences.fold(if self.scattered > 0 { 1.0 / m } else { 0.0 }, f64::max)
    }

    fn cells(&self) -> u64 {
        self.counts.len() as u64 + self.scattered
    }

    /// How many cells of equal share would be as even as these: Simpson's index (1949), inverted.
    fn effective_cells(&self) -> f64 {
        let rows = (self.n + self.m) as f64;
        let share = |(reference, window): &(u64, u64)| ((reference + window) as f64 / rows).powi(2);
        1.0 / (self.counts.iter().map(share).sum::<f64>() + self.scattered as f64 / (rows * rows))
    }

    fn sum(&self, term: impl Fn(f64, f64) -> f64) -> f64 {
        let counted: f64 = self.counts.iter().map(|(reference, window)| term(*reference as f64, *window as f64)).sum();
        if self.scattered == 0 { counted } else { counted + self.scattered as f64 * term(0.0, 1.0) }
    }

    /// What this term adds up to when nothing has drifted.
    fn chance(&self, term: impl Fn(f64, f64) -> f64) -> ChanceSum {
        self.split().sum_of(term)
    }

    fn split(&self) -> &RandomSplit {
        let cells = || self.counts.iter().map(|(r, w)| (r + w, 1)).chain([(1, self.scattered)]);
        let inside = || self.counts.iter().filter(|(r, _)| *r > 0).map(|(r, w)| (r + w, 1));
        self.split.get_or_init(|| match self.is_range {
            false => RandomSplit::new(self.sizes(), cells()),
            true => RandomSplit::with_outside(self.sizes(), inside()),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    /// A generator of uniform numbers from 0 to 1 (xorshift64*): the same on every machine.
    struct Uniform(u64);

    impl Uniform {
        fn next(&mut self) -> f64 {
            self.0 ^= self.0 >> 12;
            self.0 ^= self.0 << 25;
            self.0 ^= self.0 >> 27;
            (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 11) as f64 / (1u64 << 53) as f64
        }

        /// Counts of `size` rows in cells of these cumulative weights.
        fn counts(&mut self, cumulative: &[f64], size: u64) -> Vec<u64> {
            let mut counts = vec![0; cumulative.len()];
            let total = cumulative[cumulative.len() - 1];
            for _ in 0..size {
                let at = self.next() * total;
                counts[cumulative.partition_point(|edge| *edge <= at)] += 1;
            }
            counts
        }
    }

    fn cumulative(weights: impl Iterator<Item = f64>) -> Vec<f64> {
        weights
            .scan(0.0, |sum, weight| {
                *sum += weight;
                Some(*sum)
            })
            .collect()
    }

    fn equal(cells: usize) -> Vec<f64> {
        cumulative((0..cells).map(|_| 1.0))
    }

    fn zipf(cells: usize) -> Vec<f64> {
        cumulative((1..=cells).map(|rank| 1.0 / rank as f64))
    }

    /// Every distance of shares.
    fn distances(shares: &Shares) -> Vec<(Detector, Distance)> {
        Detector::ALL.into_iter().filter_map(|detector| Some((detector, shares.distance(detector)?))).collect()
    }

    /// How often each distance exceeds its noise, in `trials` pairs of samples from these weights.
    fn exceedances(reference: &[f64], window: &[f64], n: u64, m: u64, trials: u64) -> Vec<(Detector, u64)> {
        let mut uniform = Uniform(0x9E37_79B9_7F4A_7C15);
        let mut exceeded: BTreeMap<Detector, u64> = BTreeMap::new();
        for _ in 0..trials {
            let counts = uniform.counts(reference, n).into_iter().zip(uniform.counts(window, m));
            for (detector, distance) in distances(&Shares::new(counts, 0)) {
                *exceeded.entry(detector).or_default() += u64::from(distance.effect > distance.noise);
            }
        }
        exceeded.into_iter().collect()
    }

    #[test]
    fn without_drift_the_noise_is_exceeded_once_in_a_thousand_however_small_the_counts() {
        const TRIALS: u64 = 400;
        for (what, weights, n, m) in [
            ("deciles, small window", equal(10), 1000, 30),
            ("deciles", equal(10), 1000, 500),
            ("200 categories, one row each", equal(200), 4000, 200),
            ("200 categories, equal samples", equal(200), 400, 400),
            ("200 categories, small reference", equal(200), 200, 2000),
            ("300 categories, four rows each", equal(300), 2400, 1200),
            ("Zipf's tail", zipf(300), 2000, 500),
            ("Zipf's tail, tiny window", zipf(300), 2000, 20),
            ("two categories, one rare", cumulative([0.995, 0.005].into_iter()), 1000, 100),
        ] {
            let exceeded = exceedances(&weights, &weights, n, m, TRIALS);
            for (detector, times) in exceeded {
                assert!(times <= 3, "{what}: {detector:?} exceeds its noise in {times} of {TRIALS} pairs");
            }
        }
    }

    #[test]
    fn one_row_in_a_category_that_nobody_expected_is_no_chi_square_to_wonder_at() {
        let chi_square = |counts: &[(u64, u64)]| Shares::new(counts.iter().copied(), 0).chi_square();
        let known = [(30_000, 30), (20_000, 20)];
        let with_new = chi_square(&[known[0], known[1], (0, 1)]);
        // Of the whole table SciPy's p is below 10⁻²⁰⁰.
        assert!(with_new.value > 900.0 && with_new.p_value > 0.5, "{with_new:?}");
        assert_eq!(chi_square(&[(40, 0), (4, 2)]).p_value, 1.0, "no two cells have rows enough to tell");
        let scattered = Shares::new([(500, 500), (500, 500)], 200).chi_square();
        assert!(scattered.p_value < 1e-9, "new ones are pooled with each other: {scattered:?}");
    }

    #[test]
    fn a_real_shift_is_found() {
        const TRIALS: u64 = 40;
        let tilted = |cells: usize| cumulative((0..cells).map(|cell| if cell % 2 == 0 { 1.8 } else { 0.2 }));
        for (what, before, after, n, m) in [
            ("deciles", equal(10), cumulative((1..=10).map(f64::from)), 2000, 500),
            ("200 categories, two rows each", equal(200), tilted(200), 4000, 400),
            ("500 categories, four rows each", equal(500), tilted(500), 5000, 2000),
        ] {
            for (detector, times) in exceedances(&before, &after, n, m, TRIALS) {
                let is_found = times * 10 >= TRIALS * 9 || detector == Detector::LInfinity;
                assert!(is_found, "{what}: {detector:?} finds the shift in {times} of {TRIALS} windows");
            }
        }
    }
}
