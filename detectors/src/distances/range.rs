//! Out of range: values that are smaller or larger than any that the reference holds.

use statrs::function::gamma::ln_gamma;

use super::missing::{reached, share};
use super::{Distance, interval};
use crate::numeric::NumericProfile;

/// The share of the window's values that lie outside of the reference's smallest and largest, from 0 to 1.
///
/// Two of the N values of both samples are the reference's extremes, and without drift any two may be: so its range misses
/// about 2/(n + 1) of all values, whatever their distribution. The probability that k of the window's values lie beyond
/// is that of meeting at most one of the reference's among the first k + 1 of a random order, which is the tail of a
/// beta-binomial variable (SciPy's `betabinom(m, 2, n − 1)`). With ties it is an upper bound.
pub(crate) fn distance(outside: u64, sizes: (u64, u64)) -> Distance {
    let (n, m) = sizes;
    let value = share(outside, m);
    Distance {
        value,
        upper: value,
        effect: value,
        // Clopper and Pearson's limit for one value seen is the quantile of what the two extremes leave outside.
        noise: share(reached(1.min(n), sizes).max(1), m),
        null_mean: 2.0 / (n as f64 + 1.0),
        interval: interval::of_share(outside, m),
        p_value: tail(outside, n, m),
    }
}

/// How many of the window's values lie outside of the reference's. Where the grid's outermost cells say nothing of the
/// order within them, values there are taken to be inside.
pub(crate) fn outside(reference: &NumericProfile, window: &NumericProfile) -> u64 {
    let is_filled = |count: &u64| *count > 0;
    let (Some(first), Some(last)) =
        (reference.cells.iter().position(is_filled), reference.cells.iter().rposition(is_filled))
    else {
        return 0;
    };
    window.cells[..first].iter().sum::<u64>() + window.cells[last + 1..].iter().sum::<u64>()
}

/// `[C(m, k+1) + n·C(m, k)] / C(n+m, k+1)`.
fn tail(k: u64, n: u64, m: u64) -> f64 {
    if k == 0 {
        return 1.0;
    }
    let (k, n, m) = (k as f64, n as f64, m as f64);
    // ln C(a, b) without what cancels: C(m, k)·(k+1)!·(n+m−k−1)!/(n+m)!
    let one = ln_gamma(m + 1.0) - ln_gamma(m - k + 1.0) + ln_gamma(n + m - k) - ln_gamma(n + m + 1.0);
    // C(m, k+1)/C(m, k) is (m − k)/(k + 1).
    (one.exp() * (k + 1.0) * ((m - k) / (k + 1.0) + n)).clamp(0.0, 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    // scipy.stats.betabinom.sf(k − 1, m, 2, n − 1)
    #[test]
    fn tails_equal_scipys() {
        for (k, n, m, expected) in SCIPY {
            let got = tail(k, n, m);
            assert!((got / expected - 1.0).abs() < 1e-8, "{k} {n} {m}: {got}, SciPy has {expected}");
        }
    }

    #[test]
    fn one_value_is_beyond_two_others_in_two_of_three_orders() {
        assert!((tail(1, 2, 1) - 2.0 / 3.0).abs() < 1e-12);
        assert_eq!(distance(0, (100, 50)).p_value, 1.0);
    }

    const SCIPY: [(u64, u64, u64, f64); 4] = [
        (1, 1000, 40, 0.07547938106289587),
        (3, 1000, 200, 0.016030085322190413),
        (20, 300, 5000, 0.6646933934119627),
        (9, 27004, 24951, 0.00771015537148334),
    ];
}
