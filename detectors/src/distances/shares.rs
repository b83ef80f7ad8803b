//! Distances between two vectors of shares: of categories, or of a numeric column's coarse cells.

use super::{Distance, NOISE_TAIL, inverse_sizes};
use crate::null::tails::{chi_square_quantile, chi_square_tail, normal_quantile, normal_tail};

/// The two samples' counts in the same cells; cells that both leave empty are left out.
#[derive(Debug)]
pub(crate) struct Shares {
    counts: Vec<(u64, u64)>,
    n: u64,
    m: u64,
}

impl Shares {
    pub(crate) fn new(counts: impl IntoIterator<Item = (u64, u64)>) -> Self {
        let counts: Vec<_> = counts.into_iter().filter(|(reference, window)| reference + window > 0).collect();
        let n = counts.iter().map(|(reference, _)| reference).sum();
        let m = counts.iter().map(|(_, window)| window).sum();
        Self { counts, n, m }
    }

    pub(crate) fn sizes(&self) -> (u64, u64) {
        (self.n, self.m)
    }

    fn pairs(&self) -> impl Iterator<Item = (f64, f64)> + '_ {
        self.counts.iter().map(|(r, w)| (*r as f64 / self.n as f64, *w as f64 / self.m as f64))
    }

    fn degrees_of_freedom(&self) -> usize {
        self.counts.len().saturating_sub(1)
    }

    /// `s²·χ²` at the noise tail: what `Σ(p−q)²/p` reaches by chance.
    fn chance(&self) -> f64 {
        inverse_sizes(self.n, self.m) * chi_square_quantile(NOISE_TAIL, self.degrees_of_freedom())
    }

    /// `P(Σ(p−q)²/p ≥ x)` under no drift.
    fn chance_tail(&self, x: f64) -> f64 {
        chi_square_tail(x / inverse_sizes(self.n, self.m), self.degrees_of_freedom())
    }

    /// Population stability index `Σ(q − p)·ln(q/p)`, from 0 upwards. A cell that one sample leaves empty counts as half
    /// a row of that sample there, so the index stays finite and the penalty shrinks as evidence grows. Under no drift
    /// it is `s²·χ²` with one degree less than cells (Yurdakul 2018).
    pub(crate) fn psi(&self) -> Distance {
        let share = |count: u64, size: u64| if count == 0 { 0.5 } else { count as f64 } / size as f64;
        let terms = self.counts.iter().map(|(r, w)| {
            let (p, q) = (share(*r, self.n), share(*w, self.m));
            (q - p) * (q / p).ln()
        });
        let value: f64 = terms.sum();
        self.exact(value, value, self.chance(), self.chance_tail(value))
    }

    /// Jensen-Shannon distance with logarithms to base 2: the square root of the divergence, from 0 to 1, as SciPy's
    /// `jensenshannon(base=2)`. To leading order the divergence is an eighth of `Σ(p−q)²/p`.
    pub(crate) fn jensen_shannon(&self) -> Distance {
        let towards = |x: f64, middle: f64| if x > 0.0 { x * (x / middle).ln() } else { 0.0 };
        let nats: f64 = self.pairs().map(|(p, q)| 0.5 * (towards(p, (p + q) / 2.0) + towards(q, (p + q) / 2.0))).sum();
        let nats = nats.max(0.0);
        let to_distance = |nats: f64| (nats / std::f64::consts::LN_2).sqrt();
        let value = to_distance(nats);
        self.exact(value, value, to_distance(self.chance() / 8.0), self.chance_tail(8.0 * nats))
    }

    /// Hellinger distance `√(½·Σ(√p − √q)²)`, from 0 to 1. To leading order its square is an eighth of `Σ(p−q)²/p`.
    pub(crate) fn hellinger(&self) -> Distance {
        let square: f64 = self.pairs().map(|(p, q)| (p.sqrt() - q.sqrt()).powi(2)).sum::<f64>() / 2.0;
        let value = square.sqrt();
        self.exact(value, value, (self.chance() / 8.0).sqrt(), self.chance_tail(8.0 * square))
    }

    /// Total variation `½·Σ|p − q|`, from 0 to 1. By Cauchy-Schwarz it is at most `½·√(Σ(p−q)²/p)`, from which noise and
    /// p-value are upper bounds.
    pub(crate) fn total_variation(&self) -> Distance {
        let value = self.pairs().map(|(p, q)| (p - q).abs()).sum::<f64>() / 2.0;
        self.exact(value, value, self.chance().sqrt() / 2.0, self.chance_tail(4.0 * value * value))
    }

    /// The largest difference of one share, from 0 to 1. Noise and p-value are upper bounds: the normal tail at the
    /// largest possible variance, times the number of cells (Bonferroni).
    pub(crate) fn l_infinity(&self) -> Distance {
        let value = self.pairs().map(|(p, q)| (p - q).abs()).fold(0.0, f64::max);
        let deviation = 0.5 * inverse_sizes(self.n, self.m).sqrt();
        let cells = self.counts.len().max(1) as f64;
        let noise = normal_quantile(NOISE_TAIL / (2.0 * cells)) * deviation;
        self.exact(value, value, noise, (2.0 * cells * normal_tail(value / deviation)).min(1.0))
    }

    /// Pearson's chi-square of the two-row contingency table, without continuity correction, and its p-value with one
    /// degree less than cells: SciPy's `chi2_contingency(correction=False)`. The effect is Cramér's V of two samples of
    /// equal size with these shares, `√(½·Σ(p−q)²/(p+q))`, from 0 to 1: it depends on the shares alone.
    pub(crate) fn chi_square(&self) -> Distance {
        let sizes = self.n as f64 + self.m as f64;
        let terms = self.counts.iter().map(|(r, w)| {
            let (r, w) = (*r as f64, *w as f64);
            let (expected_r, expected_w) = ((r + w) * self.n as f64 / sizes, (r + w) * self.m as f64 / sizes);
            (r - expected_r).powi(2) / expected_r + (w - expected_w).powi(2) / expected_w
        });
        let value: f64 = terms.sum();
        let effect = (self.pairs().map(|(p, q)| (p - q).powi(2) / (p + q)).sum::<f64>() / 2.0).sqrt();
        self.exact(value, effect, self.chance().sqrt() / 2.0, chi_square_tail(value, self.degrees_of_freedom()))
    }

    fn exact(&self, value: f64, effect: f64, noise: f64, p_value: f64) -> Distance {
        Distance { value, upper: value, effect, noise, p_value }
    }
}
