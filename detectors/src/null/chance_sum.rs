//! What is known of a sum under no drift: its first three cumulants, and the tail that follows from them.

use super::tails::{chi_square_quantile, chi_square_tail, normal_quantile, normal_tail};

/// Less skew than this is none: the chi-square would have more degrees of freedom than can be told from a normal.
const MIN_SKEWNESS: f64 = 1e-3;

/// A score's first three cumulants. Its tail is that of the shifted and scaled chi-square variable with the same three
/// (Pearson 1959; Imhof 1961, Biometrika 46 and 48), or of a normal one when it leans to the left.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ChanceSum {
    pub(crate) mean: f64,
    pub(crate) variance: f64,
    pub(crate) third: f64,
}

impl ChanceSum {
    /// Of `scale · Σ λ_j·Z_j²` with independent standard normals Z, where `traces` holds the sums of the λ, of their squares
    /// and of their cubes.
    pub(crate) fn of_squares(scale: f64, traces: [f64; 3]) -> Self {
        Self {
            mean: scale * traces[0],
            variance: 2.0 * scale.powi(2) * traces[1],
            third: 8.0 * scale.powi(3) * traces[2],
        }
    }

    /// Of a sum over cells whose rows have a fixed sum, which takes the share b of it along `Z² − 1` (see
    /// [`super::random_split`]).
    pub(crate) fn along_a_fixed_sum(mean: f64, variance: f64, third: f64, b: f64) -> Self {
        Self { mean: (mean - b).max(0.0), variance: (variance - 2.0 * b * b).max(0.0), third: third - 8.0 * b.powi(3) }
    }

    /// The value that the score exceeds with this probability.
    pub(crate) fn quantile(self, tail: f64) -> f64 {
        let standardised = match self.degrees_of_freedom() {
            Some(df) => (chi_square_quantile(tail, df) - df) / (2.0 * df).sqrt(),
            None => normal_quantile(tail),
        };
        self.mean + standardised * self.variance.sqrt()
    }

    /// The probability that the score reaches this value.
    pub(crate) fn tail(self, value: f64) -> f64 {
        if self.variance == 0.0 {
            return f64::from(u8::from(value <= self.mean));
        }
        let standardised = (value - self.mean) / self.variance.sqrt();
        match self.degrees_of_freedom() {
            Some(df) => chi_square_tail(df + standardised * (2.0 * df).sqrt(), df),
            None => normal_tail(standardised),
        }
    }

    /// The mean of the score's root, to the second order of its spread.
    pub(crate) fn mean_root(self) -> f64 {
        if self.mean <= 0.0 {
            return 0.0;
        }
        self.mean.sqrt() * (1.0 - self.variance / (8.0 * self.mean * self.mean)).max(0.5)
    }

    /// Of the chi-square with this skewness, which is `√(8/df)`; none when a normal is as good.
    fn degrees_of_freedom(self) -> Option<f64> {
        let skewness = self.third / self.variance.powf(1.5);
        (skewness > MIN_SKEWNESS).then(|| 8.0 / (skewness * skewness))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sum_of_equal_squares_is_chi_square() {
        let chance = ChanceSum::of_squares(1.0, [6.0, 6.0, 6.0]);
        assert!((chance.quantile(0.01) - chi_square_quantile(0.01, 6.0)).abs() < 1e-9);
        assert!((chance.tail(9.0) - chi_square_tail(9.0, 6.0)).abs() < 1e-12);
        // √2·Γ(7/2)/Γ(3), the mean of a chi variable.
        assert!((chance.mean_root() / 2.349_964_007_466_563 - 1.0).abs() < 0.01);
    }
}
