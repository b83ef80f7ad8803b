//! Distances between two vectors of shares: of categories, or of a numeric column's coarse cells.
//!
//! Noise and p-values take the rows of each cell as they are (see [`crate::null::random_split`]), so they hold for a
//! thousand categories with a row or two in each as well as for deciles.

use std::cell::OnceCell;

use super::{Distance, NOISE_TAIL, inverse_sizes};
use crate::null::random_split::{ChanceSum, RandomSplit};
use crate::null::tails::{chi_square_tail, normal_quantile, normal_tail};
use crate::score::Detector;

/// So many cells, of equal share, are many: none of them decides where the others may be.
const MANY_CELLS: f64 = 20.0;

/// The two samples' counts in the same cells; cells that both leave empty are left out.
#[derive(Debug)]
pub(crate) struct Shares {
    counts: Vec<(u64, u64)>,
    /// Rows that only the window has, in cells of which nothing more is known.
    scattered: u64,
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
        Self { counts, scattered, n, m, split: OnceCell::new() }
    }

    pub(crate) fn sizes(&self) -> (u64, u64) {
        (self.n, self.m)
    }

    /// What the distances of categories say, without what chance makes of them.
    pub(crate) fn effects(&self) -> [(Detector, f64); 6] {
        [
            (Detector::Psi, self.sum(self.psi_term())),
            (Detector::ChiSquare, self.cramers_v()),
            (Detector::TotalVariation, self.half_of_differences()),
            (Detector::JensenShannon, bits_root(self.sum(self.jensen_shannon_term()))),
            (Detector::Hellinger, self.sum(self.hellinger_term()).max(0.0).sqrt()),
            (Detector::LInfinity, self.largest_difference()),
        ]
    }

    /// Population stability index `Σ(q − p)·ln(q/p)`, from 0 upwards. A cell that one sample leaves empty counts as half
    /// a row of that sample there, so the index stays finite and the penalty shrinks as evidence grows.
    pub(crate) fn psi(&self) -> Distance {
        let (term, value, chance) = (self.psi_term(), self.sum(self.psi_term()), self.chance(self.psi_term()));
        let scattered = self.scattered as f64;
        let upper = if self.scattered == 0 { value } else { value - scattered * term(0.0, 1.0) + term(0.0, scattered) };
        Distance { upper, ..self.exact(value, value, chance.quantile(NOISE_TAIL), chance.tail(value)) }
    }

    /// Jensen-Shannon distance with logarithms to base 2: the square root of the divergence, from 0 to 1, as SciPy's
    /// `jensenshannon(base=2)`.
    pub(crate) fn jensen_shannon(&self) -> Distance {
        let (nats, chance) = (self.sum(self.jensen_shannon_term()).max(0.0), self.chance(self.jensen_shannon_term()));
        let value = bits_root(nats);
        self.exact(value, value, bits_root(chance.quantile(NOISE_TAIL)), chance.tail(nats))
    }

    /// Hellinger distance `√(½·Σ(√p − √q)²)`, from 0 to 1.
    pub(crate) fn hellinger(&self) -> Distance {
        let (square, chance) = (self.sum(self.hellinger_term()).max(0.0), self.chance(self.hellinger_term()));
        let value = square.sqrt();
        self.exact(value, value, chance.quantile(NOISE_TAIL).max(0.0).sqrt(), chance.tail(square))
    }

    /// Total variation `½·Σ|p − q|`, from 0 to 1. By Cauchy-Schwarz it is at most `½·√(Σ(p−q)²/u)` with the shares u of
    /// both samples together, from which noise and p-value are upper bounds. Where the rows lie in many cells that bound is
    /// far off, and no cell moves the others much; there they are those of the sum itself.
    pub(crate) fn total_variation(&self) -> Distance {
        let value = self.half_of_differences();
        if self.effective_cells() >= MANY_CELLS {
            let chance = self.chance(self.difference_term());
            return self.exact(value, value, chance.quantile(NOISE_TAIL), chance.tail(value));
        }
        let (n, m) = (self.n as f64, self.m as f64);
        let chance =
            self.chance(|reference, window| (reference / n - window / m).powi(2) * (n + m) / (reference + window));
        let noise = chance.quantile(NOISE_TAIL).max(0.0).sqrt() / 2.0;
        self.exact(value, value, noise, chance.tail(4.0 * value * value))
    }

    /// The largest difference of one share, from 0 to 1. Noise and p-value are upper bounds: the normal tail at the
    /// largest possible variance, times the number of cells (Bonferroni).
    pub(crate) fn l_infinity(&self) -> Distance {
        let value = self.largest_difference();
        let deviation = 0.5 * inverse_sizes(self.n, self.m).sqrt();
        let cells = self.cells().max(1) as f64;
        let noise = normal_quantile(NOISE_TAIL / (2.0 * cells)) * deviation;
        let upper = value.max(self.scattered as f64 / self.m as f64);
        let p_value = (2.0 * cells * normal_tail(value / deviation)).min(1.0);
        Distance { upper, ..self.exact(value, value, noise, p_value) }
    }

    /// Pearson's chi-square of the two-row contingency table, without continuity correction, and its p-value with one
    /// degree less than cells: SciPy's `chi2_contingency(correction=False)`, rough where SciPy's is, at small counts. The
    /// effect is Cramér's V of two samples of equal size with these shares, `√(½·Σ(p−q)²/(p+q))`, from 0 to 1: it depends
    /// on the shares alone, and its noise holds at any counts.
    pub(crate) fn chi_square(&self) -> Distance {
        let sizes = self.n as f64 + self.m as f64;
        let value = self.sum(|reference, window| {
            let rows = reference + window;
            let (expected_r, expected_w) = (rows * self.n as f64 / sizes, rows * self.m as f64 / sizes);
            (reference - expected_r).powi(2) / expected_r + (window - expected_w).powi(2) / expected_w
        });
        let degrees_of_freedom = self.cells().saturating_sub(1) as f64;
        let noise = self.chance(self.cramers_v_term()).quantile(NOISE_TAIL).max(0.0).sqrt();
        self.exact(value, self.cramers_v(), noise, chi_square_tail(value, degrees_of_freedom))
    }

    fn psi_term(&self) -> impl Fn(f64, f64) -> f64 + use<> {
        let (n, m) = (self.n as f64, self.m as f64);
        let share = |count: f64, size: f64| if count == 0.0 { 0.5 } else { count } / size;
        move |reference, window| {
            let (p, q) = (share(reference, n), share(window, m));
            (q - p) * (q / p).ln()
        }
    }

    fn jensen_shannon_term(&self) -> impl Fn(f64, f64) -> f64 + use<> {
        let (n, m) = (self.n as f64, self.m as f64);
        let towards = |x: f64, middle: f64| if x > 0.0 { x * (x / middle).ln() } else { 0.0 };
        move |reference, window| {
            let (p, q) = (reference / n, window / m);
            0.5 * (towards(p, (p + q) / 2.0) + towards(q, (p + q) / 2.0))
        }
    }

    fn hellinger_term(&self) -> impl Fn(f64, f64) -> f64 + use<> {
        let (n, m) = (self.n as f64, self.m as f64);
        move |reference, window| ((reference / n).sqrt() - (window / m).sqrt()).powi(2) / 2.0
    }

    fn cramers_v_term(&self) -> impl Fn(f64, f64) -> f64 + use<> {
        let (n, m) = (self.n as f64, self.m as f64);
        move |reference, window| {
            let (p, q) = (reference / n, window / m);
            (p - q).powi(2) / (p + q) / 2.0
        }
    }

    fn cramers_v(&self) -> f64 {
        self.sum(self.cramers_v_term()).sqrt()
    }

    fn difference_term(&self) -> impl Fn(f64, f64) -> f64 + use<> {
        let (n, m) = (self.n as f64, self.m as f64);
        move |reference, window| (reference / n - window / m).abs() / 2.0
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
        let rows_and_cells = || self.counts.iter().map(|(r, w)| (r + w, 1)).chain([(1, self.scattered)]);
        self.split.get_or_init(|| RandomSplit::new(self.sizes(), rows_and_cells())).sum_of(term)
    }

    fn exact(&self, value: f64, effect: f64, noise: f64, p_value: f64) -> Distance {
        Distance { value, upper: value, effect, noise, p_value }
    }
}

/// A divergence in nats as the square root of one in bits.
fn bits_root(nats: f64) -> f64 {
    (nats.max(0.0) / std::f64::consts::LN_2).sqrt()
}

#[cfg(test)]
mod tests {
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

    fn distances(shares: &Shares) -> [(Detector, Distance); 6] {
        [
            (Detector::Psi, shares.psi()),
            (Detector::JensenShannon, shares.jensen_shannon()),
            (Detector::Hellinger, shares.hellinger()),
            (Detector::ChiSquare, shares.chi_square()),
            (Detector::TotalVariation, shares.total_variation()),
            (Detector::LInfinity, shares.l_infinity()),
        ]
    }

    /// How often each distance exceeds its noise, in `trials` pairs of samples from these weights.
    fn exceedances(reference: &[f64], window: &[f64], n: u64, m: u64, trials: u64) -> Vec<(Detector, u64)> {
        let mut uniform = Uniform(0x9E37_79B9_7F4A_7C15);
        let mut exceeded: Vec<(Detector, u64)> = Vec::new();
        for _ in 0..trials {
            let counts = uniform.counts(reference, n).into_iter().zip(uniform.counts(window, m));
            let all = distances(&Shares::new(counts, 0));
            exceeded.resize(all.len(), (Detector::Psi, 0));
            for (sum, (detector, distance)) in exceeded.iter_mut().zip(all) {
                *sum = (detector, sum.1 + u64::from(distance.effect > distance.noise));
            }
        }
        exceeded
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
