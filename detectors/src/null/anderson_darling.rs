//! The distribution of Anderson and Darling's statistic.

use std::f64::consts::PI;

use super::tied_ranks::Traces;

/// The statistic of samples of n and m values under no drift, given which of them are tied.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Chance {
    deviation: f64,
    /// Of the chi-square variable with the same skewness.
    freedom: f64,
}

impl Chance {
    /// Its mean is 1 whatever is tied. Its variance is the exact one of these sizes without ties (Scholz & Stephens 1987, equation
    /// 4), times what ties make of the limiting one.
    pub(crate) fn of(n: u64, m: u64, ties: Traces) -> Self {
        let deviation = (variance(n, m) * ties.squares / Traces::LIMIT.squares).sqrt();
        Self { deviation, freedom: freedom(ties) }
    }

    /// `P(A² ≥ a)`: A² is standardised, and compared with the limiting distribution. SciPy's `anderson_ksamp` interpolates its
    /// p-value in a table that ends at 0.001 and at 0.25, and knows no ties; this one does not end.
    pub(crate) fn tail(self, a: f64) -> f64 {
        let limit = Self::limit();
        limiting_tail(1.0 + limit.deviation * as_rare((a - 1.0) / self.deviation, self.freedom, limit.freedom))
    }

    /// The A² that is as rare here as this one is in the limit.
    pub(crate) fn as_rare_as(self, limiting: f64) -> f64 {
        let limit = Self::limit();
        1.0 + self.deviation * as_rare((limiting - 1.0) / limit.deviation, limit.freedom, self.freedom)
    }

    fn limit() -> Self {
        Self { deviation: limiting_variance().sqrt(), freedom: freedom(Traces::LIMIT) }
    }
}

/// Degrees of freedom of the chi-square variable that leans as much: its skewness is `√(8/f)`, and that of `Σ λ·Z²` is
/// `8·Σ λ³/(2·Σ λ²)^1.5`.
fn freedom(traces: Traces) -> f64 {
    traces.squares.powi(3) / traces.cubes.powi(2)
}

/// Ties change how much A² leans, not only how far it spreads. Of two standardised chi-square variables of other degrees of freedom the
/// values are as rare that are so by Wilson and Hilferty's (1931) cube root. It is taken for the step from one to the other only, so
/// that without ties nothing is changed, and what it is wrong by nearly cancels: against the exact distribution p is right to 6 % from
/// 0.5 to 0.01 and at most a seventh too large at 0.001, with half, six or nine of ten rows at one value, two values, or ten.
fn as_rare(standardised: f64, from: f64, to: f64) -> f64 {
    if from == to {
        return standardised;
    }
    let spread = |freedom: f64| 2.0 / (9.0 * freedom);
    let root = (1.0 + standardised * (2.0 / from).sqrt()).max(0.0).cbrt();
    let normal = (root - 1.0 + spread(from)) / spread(from).sqrt();
    let root = (1.0 - spread(to) + normal * spread(to).sqrt()).max(0.0);
    (root.powi(3) - 1.0) / (2.0 / to).sqrt()
}

/// The limiting A² for which `P(A² ≥ a) = 0.001`. Solving for it each time took a third of what all
/// scores of a column take.
pub(crate) const QUANTILE_999: f64 = 5.969_401_342_252_786;
/// That for which it is 0.05.
pub(crate) const QUANTILE_95: f64 = 2.492_367_160_064_532;

/// The statistic's variance under no drift: `2·Σ 1/(j(j+1))²` in the limit.
fn limiting_variance() -> f64 {
    2.0 * Traces::LIMIT.squares
}

/// The variance at these sizes. Its mean is 1 at any.
pub(crate) fn variance(n: u64, m: u64) -> f64 {
    let (sizes, total) = (1.0 / n as f64 + 1.0 / m as f64, (n + m) as f64);
    if n + m < 4 {
        return limiting_variance();
    }
    let (g, h) = sums(n + m);
    let a = (4.0 * g - 6.0) + (10.0 - 6.0 * g) * sizes;
    let b = (2.0 * g - 4.0) * 4.0 + 16.0 * h + (2.0 * g - 14.0 * h - 4.0) * sizes - 8.0 * h + 4.0 * g - 6.0;
    let c = (6.0 * h + 2.0 * g - 2.0) * 4.0 + (4.0 * h - 4.0 * g + 6.0) * 2.0 + (2.0 * h - 6.0) * sizes + 4.0 * h;
    let d = (2.0 * h + 6.0) * 4.0 - 8.0 * h;
    (a * total.powi(3) + b * total.powi(2) + c * total + d) / ((total - 1.0) * (total - 2.0) * (total - 3.0))
}

/// `g = Σ_{i<j<N} 1/((N − i)·j)` and `h = Σ_{i<N} 1/i`; from a few hundred values on by their expansions in 1/N.
fn sums(total: u64) -> (f64, f64) {
    const EULER_MASCHERONI: f64 = 0.577_215_664_901_532_9;
    const MAX_SUMMED: u64 = 500;
    if total > MAX_SUMMED {
        let size = total as f64;
        let h = (size - 1.0).ln() + EULER_MASCHERONI + 0.5 / (size - 1.0);
        return (PI * PI / 6.0 - (2.0 * h + 1.0) / size, h);
    }
    let (mut g, mut inner, mut h) = (0.0, 0.0, 1.0);
    for j in 2..total {
        inner += 1.0 / (total - (j - 1)) as f64;
        g += inner / j as f64;
        h += 1.0 / j as f64;
    }
    (g, h)
}

/// `P(Σ Z_j²/(j(j+1)) ≥ x)` by Smirnov's formula: with the roots `j(j+1)` of `D` taken in pairs, and `D(u) = Π (1 − u/(j(j+1))) = −cos(½π√(1+4u))/(πu)`,
///
/// ```text
///   P = 1/π · Σ_k (−1)^(k+1) ∫ exp(−ux/2) / (u·√|D(u)|) du   from (2k−1)·2k to 2k·(2k+1)
/// ```
///
/// The integrand has a root's pole at both ends of each stretch, which Gauss and Chebyshev's rule takes out exactly.
fn limiting_tail(x: f64) -> f64 {
    const POINTS: i32 = 24;
    // Below it the series converges slowly, and the probability is more than 0.999.
    if x < 0.15 {
        return 1.0;
    }
    let mut sum = 0.0;
    for k in 1..=40 {
        let j = 2.0 * f64::from(k) - 1.0;
        let (from, to) = (j * (j + 1.0), (j + 1.0) * (j + 2.0));
        let (centre, half) = ((from + to) / 2.0, (to - from) / 2.0);
        let mut stretch = 0.0;
        for i in 1..=POINTS {
            let u = centre + half * (PI * (f64::from(i) - 0.5) / f64::from(POINTS)).cos();
            let product = ((PI / 2.0 * (1.0 + 4.0 * u).sqrt()).cos() / (PI * u)).abs();
            stretch += (-u * x / 2.0).exp() / u * ((u - from) * (to - u) / product).sqrt();
        }
        stretch *= PI / f64::from(POINTS);
        sum += if k % 2 == 1 { stretch } else { -stretch };
        if stretch < 1e-16 * sum {
            break;
        }
    }
    (sum / PI).clamp(0.0, 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::distances::{NOISE_TAIL, interval};

    #[test]
    fn critical_values_are_those_of_the_tables() {
        // Marsaglia & Marsaglia (2004), "Evaluating the Anderson-Darling distribution", for n without end.
        for (x, tail) in [(1.9330, 0.1), (2.4924, 0.05), (3.8781, 0.01), (0.7740, 0.5)] {
            assert!((limiting_tail(x) / tail - 1.0).abs() < 2e-3, "{x}: {} against {tail}", limiting_tail(x));
        }
    }

    #[test]
    fn the_quantiles_are_those_of_their_tails() {
        assert!((limiting_tail(QUANTILE_999) / NOISE_TAIL - 1.0).abs() < 1e-10);
        assert!((limiting_tail(QUANTILE_95) / interval::OUTSIDE - 1.0).abs() < 1e-10);
    }

    #[test]
    fn the_tail_falls_and_its_mean_is_one() {
        let tails: Vec<f64> = (0..4000).map(|i| limiting_tail(f64::from(i) * 0.01)).collect();
        assert!(tails.windows(2).all(|pair| pair[1] <= pair[0] + 1e-9), "it rises");
        let mean = 0.01 * (tails.iter().sum::<f64>() - 0.5);
        assert!((mean - 1.0).abs() < 1e-3, "{mean}");
        assert!(limiting_tail(200.0) < 1e-80 && limiting_tail(200.0) > 0.0);
    }

    #[test]
    fn two_values_are_a_chi_square_of_one_degree_of_freedom() {
        let chance = Chance::of(300_000, 200_000, Traces { squares: 1.0, cubes: 1.0 });
        for (x, tail) in [(2.705_543, 0.1), (3.841_459, 0.05), (6.634_897, 0.01), (10.827_57, 0.001)] {
            let expected = if tail < 0.01 { 1.0..8.0 / 7.0 } else { 0.935..1.065 };
            assert!(expected.contains(&(chance.tail(x) / tail)), "{x}: {} against {tail}", chance.tail(x));
            let back = chance.as_rare_as(Chance::of(300_000, 200_000, Traces::LIMIT).as_rare_as(x));
            assert!(back > x, "{back} against {x}: what leans more reaches farther");
        }
    }

    #[test]
    fn tails_and_quantiles_are_each_others_inverse() {
        for ties in [Traces::LIMIT, Traces { squares: 0.55, cubes: 0.4 }, Traces { squares: 1.0, cubes: 1.0 }] {
            let chance = Chance::of(300, 200, ties);
            for (limiting, tail) in [(QUANTILE_95, 0.05), (QUANTILE_999, 0.001)] {
                assert!((chance.tail(chance.as_rare_as(limiting)) / tail - 1.0).abs() < 1e-9, "{ties:?}");
            }
        }
    }

    // The variance that scipy.stats.anderson_ksamp standardises with.
    #[test]
    fn variances_equal_scipys() {
        for (n, m, expected) in SCIPY {
            assert!((variance(n, m) / expected - 1.0).abs() < 1e-3, "{n} {m}: {} against {expected}", variance(n, m));
        }
    }

    const SCIPY: [(u64, u64, f64); 4] = [
        (20, 31, 0.5395385312471326),
        (5, 9, 0.4497049645915047),
        (2000, 40, 0.5815836306543736),
        (30000, 20000, 0.5796914998294969),
    ];
}
