//! Tails of the normal and the chi-square distribution, and their inverses.

use statrs::distribution::{ChiSquared, ContinuousCDF, Normal};

/// `P(χ² with df degrees of freedom ≥ x)`.
pub(crate) fn chi_square_tail(x: f64, df: f64) -> f64 {
    match ChiSquared::new(df) {
        Ok(distribution) => distribution.sf(x.max(0.0)),
        // No degree of freedom: the statistic is zero, and any more is impossible under no drift.
        Err(_) => f64::from(u8::from(x <= 0.0)),
    }
}

/// The x for which `P(χ² ≥ x) = tail`. Zero without a degree of freedom.
pub(crate) fn chi_square_quantile(tail: f64, df: f64) -> f64 {
    ChiSquared::new(df).map_or(0.0, |distribution| distribution.inverse_cdf(1.0 - tail))
}

/// `P(Z ≥ z)` for a standard normal Z.
pub(crate) fn normal_tail(z: f64) -> f64 {
    Normal::standard().sf(z)
}

/// The z for which `P(Z ≥ z) = tail`.
pub(crate) fn normal_quantile(tail: f64) -> f64 {
    Normal::standard().inverse_cdf(1.0 - tail)
}

#[cfg(test)]
mod tests {
    use super::*;

    // scipy.stats.chi2.sf, .isf and norm.sf, .isf
    #[test]
    fn tails_equal_scipys() {
        assert!((chi_square_tail(84.405_643_539_030_55, 15.0) / 1.083_169_054_061_451_6e-11 - 1.0).abs() < 1e-6);
        assert!((chi_square_tail(57.427_589_567_839_44, 93.0) - 0.998_616_151_553_732_6).abs() < 1e-9);
        assert!((chi_square_quantile(0.001, 10.0) - 29.588_298_445_074_4).abs() < 1e-6);
        assert!((normal_tail(3.0) - 0.001_349_898_031_630_094_5).abs() < 1e-12);
        assert!((normal_quantile(0.001) - 3.090_232_306_167_813).abs() < 1e-6);
    }

    #[test]
    fn without_a_degree_of_freedom_any_statistic_is_impossible() {
        assert_eq!(
            (chi_square_tail(0.0, 0.0), chi_square_tail(1.0, 0.0), chi_square_quantile(0.001, 0.0)),
            (1.0, 0.0, 0.0)
        );
    }
}
