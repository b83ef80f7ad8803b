//! The binomial distribution, and what a sample says of the chance behind it.

use statrs::distribution::{Binomial, DiscreteCDF};

use super::tails::normal_tail;

/// Above this variance a binomial is taken as nearly normal; the continued fraction behind the exact one would need more
/// steps than it takes.
const MAX_EXACT_VARIANCE: f64 = 900.0;
/// Halvings after which a chance is known to the last digit.
const HALVINGS: usize = 60;

/// `P(X > x)` for X successes in `trials` trials. For a variance above [`MAX_EXACT_VARIANCE`] by the approximation of
/// Camp & Paulson (1951), whose error is less than `0.007/√variance`.
pub(crate) fn above(trials: u64, chance: f64, x: u64) -> f64 {
    if x >= trials {
        return 0.0;
    }
    if trials as f64 * chance * (1.0 - chance) <= MAX_EXACT_VARIANCE {
        return Binomial::new(chance.clamp(0.0, 1.0), trials).map_or(1.0, |binomial| binomial.sf(x));
    }
    let (reached, left) = (x as f64 + 1.0, (trials - x) as f64);
    let (a, b) = (1.0 / (9.0 * left), 1.0 / (9.0 * reached));
    let ratio = (reached * (1.0 - chance) / (left * chance)).cbrt();
    normal_tail(((1.0 - b) * ratio - (1.0 - a)) / (b * ratio * ratio + a).sqrt())
}

/// The largest chance with which so few successes in so many trials still happen this often: the upper confidence limit
/// of Clopper & Pearson (1934).
pub(crate) fn upper_limit(successes: u64, trials: u64, tail: f64) -> f64 {
    if successes >= trials {
        return 1.0;
    }
    if successes == 0 {
        // (1 − p)ⁿ = tail; most columns have no row of most kinds.
        return -(tail.ln() / trials as f64).exp_m1();
    }
    let (mut low, mut high) = (successes as f64 / trials as f64, 1.0);
    for _ in 0..HALVINGS {
        let middle = (low + high) / 2.0;
        if 1.0 - above(trials, middle, successes) > tail { low = middle } else { high = middle }
    }
    high
}

/// The number of successes that is exceeded no more often than this.
pub(crate) fn quantile(trials: u64, chance: f64, tail: f64) -> u64 {
    let (mut low, mut high) = (0, trials);
    while low < high {
        let middle = low + (high - low) / 2;
        if above(trials, chance, middle) <= tail { high = middle } else { low = middle + 1 }
    }
    low
}

#[cfg(test)]
mod tests {
    use super::*;

    // scipy.stats.binom.sf(x, n, p)
    #[test]
    fn tails_equal_scipys() {
        for (trials, chance, x, expected, tolerance) in [
            (20, 0.05, 3, 0.015_901_526_019_763_548, 1e-9),
            (200, 0.01, 8, 0.000_212_536_772_467_946_77, 1e-9),
            (100_000_000, 1e-6, 130, 0.001_706_831_741_723_903, 1e-6),
            (1_000_000, 0.0005, 580, 0.000_217_725_954_382_113_72, 1e-6),
            (5000, 0.3, 1560, 0.031_295_089_545_049_976, 1e-3),
            (1_000_000, 0.2, 201_000, 0.006_210_729_160_425_865, 1e-3),
            (50_000, 0.02, 1100, 0.000_775_935_221_857_795_5, 2e-3),
        ] {
            let got = above(trials, chance, x);
            assert!((got / expected - 1.0).abs() < tolerance, "{trials} {chance} {x}: {got}, SciPy has {expected}");
        }
    }

    // scipy.stats.beta.isf(0.0005, successes + 1, trials − successes)
    #[test]
    fn upper_limits_equal_scipys() {
        for (successes, trials, expected) in [
            (0, 20_000, 0.000_379_972_914_977_072),
            (5, 300, 0.056_846_766_350_242_765),
            (700, 1000, 0.746_525_684_760_829_7),
            (200_000, 1_000_000, 0.201_318_974_590_129_37),
            (300, 300, 1.0),
        ] {
            let got = upper_limit(successes, trials, 0.0005);
            assert!((got / expected - 1.0).abs() < 1e-5, "{successes} of {trials}: {got}, SciPy has {expected}");
        }
    }

    // scipy.stats.binom.isf(0.0005, n, p)
    #[test]
    fn quantiles_equal_scipys() {
        for (trials, chance, expected) in [(20, 0.001, 1), (200, 0.05, 21), (1000, 0.7, 747), (1_000_000, 0.2, 201_317)]
        {
            assert_eq!(quantile(trials, chance, 0.0005), expected);
        }
    }
}
