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

/// `P(X ≥ x)`, with all of its digits: for p-values. It adds up as many terms as a few dozen standard deviations are wide.
pub(crate) fn at_least(trials: u64, chance: f64, x: u64) -> f64 {
    if x == 0 {
        return 1.0;
    }
    if x > trials {
        return 0.0;
    }
    if x as f64 > trials as f64 * chance {
        return mass(trials, chance, x) * terms_from(trials, chance, x);
    }
    1.0 - at_most(trials, chance, x - 1)
}

/// `P(X ≤ x)`, likewise.
pub(crate) fn at_most(trials: u64, chance: f64, x: u64) -> f64 {
    // So many fail as do not succeed.
    if x >= trials {
        return 1.0;
    }
    if (x as f64) < trials as f64 * chance {
        return mass(trials, 1.0 - chance, trials - x) * terms_from(trials, 1.0 - chance, trials - x);
    }
    1.0 - at_least(trials, chance, x + 1)
}

/// `P(X ≥ x)` over `P(X = x)`, for an x from the mean on: each term is the one before times what falls with every step.
fn terms_from(trials: u64, chance: f64, x: u64) -> f64 {
    let odds = chance / (1.0 - chance);
    let (mut sum, mut term) = (0.0, 1.0);
    for reached in x..=trials {
        sum += term;
        term *= (trials - reached) as f64 / (reached + 1) as f64 * odds;
        if term < sum * f64::EPSILON / 8.0 {
            break;
        }
    }
    sum
}

/// `P(X = x)` by Loader (2000, "Fast and accurate computation of binomial probabilities"): Stirling's formula, whose errors
/// are known, times how far x is from the mean. Logarithms of factorials would lose as many digits as they have before the point.
pub(super) fn mass(trials: u64, chance: f64, x: u64) -> f64 {
    let (n, k, rest) = (trials as f64, x as f64, (trials - x) as f64);
    if x == 0 {
        return (n * (-chance).ln_1p()).exp();
    }
    if x == trials {
        return (n * chance.ln()).exp();
    }
    let exponent = stirlings_error(n)
        - stirlings_error(k)
        - stirlings_error(rest)
        - away(k, n * chance)
        - away(rest, n * (1.0 - chance));
    exponent.exp() * (n / (std::f64::consts::TAU * k * rest)).sqrt()
}

/// By how much the logarithm of n! is above Stirling's formula, `½·ln 2πn + n·ln n − n`.
fn stirlings_error(n: f64) -> f64 {
    if n < 16.0 {
        let factorial: f64 = (2..=n as u32).map(f64::from).product();
        return factorial.ln() - 0.5 * (std::f64::consts::TAU * n).ln() - n * n.ln() + n;
    }
    let square = 1.0 / (n * n);
    (1.0 / 12.0 - square * (1.0 / 360.0 - square * (1.0 / 1260.0 - square * (1.0 / 1680.0 - square / 1188.0)))) / n
}

/// `x·ln(x/mean) + mean − x`, also where the two are close.
pub(super) fn away(x: f64, mean: f64) -> f64 {
    let distance = x - mean;
    if distance.abs() >= 0.1 * (x + mean) {
        return x * (x / mean).ln() - distance;
    }
    let v = distance / (x + mean);
    let (mut sum, mut power, square) = (distance * v, 2.0 * x * v, v * v);
    for odd in (3..1000).step_by(2) {
        power *= square;
        let next = sum + power / f64::from(odd);
        if next == sum {
            break;
        }
        sum = next;
    }
    sum
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

    // scipy.stats.binom.sf(x − 1, n, p), and of mpmath.betainc where that has lost its digits
    #[test]
    fn p_values_keep_their_digits_however_small_they_are() {
        for (trials, chance, x, expected) in AT_LEAST {
            let got = at_least(trials, chance, x);
            assert!((got / expected - 1.0).abs() < 1e-10, "{trials} {chance} {x}: {got}, not {expected}");
            let mirrored = at_most(trials, 1.0 - chance, trials - x);
            assert!((mirrored / expected - 1.0).abs() < 1e-9, "{trials} {chance} {x}: {mirrored}, not {expected}");
        }
        assert_eq!((at_least(5, 0.3, 0), at_least(5, 0.3, 6), at_most(5, 0.3, 5)), (1.0, 0.0, 1.0));
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

    const AT_LEAST: [(u64, f64, u64, f64); 12] = [
        (20, 0.25, 9, 0.04092516770651855),
        (200, 0.0078125, 8, 0.00020305594846783376),
        (5_000, 0.3125, 1_660, 0.001612987955432493),
        (1_000_000, 0.203125, 205_000, 1.6269899746695564e-06),
        (1_000_000, 0.203125, 203_126, 0.4994060777237508),
        (40_000, 0.453125, 20_000, 4.868832016232837e-79),
        (300, 0.75, 300, 3.298974947466076e-38),
        (1, 0.25, 1, 0.25),
        (100_000_000, 0.5, 50_010_000, 0.022755531314807856),
        (700, 0.46875, 328, 0.5185619595627041),
        (700, 0.46875, 200, 1.0),
        (35_000, 0.9375, 32_600, 0.9999982427453356),
    ];
}
