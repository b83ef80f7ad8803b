//! What lies beyond the extremes of a sample.

use statrs::function::gamma::ln_gamma;

/// The probability that at least k of m values lie beyond the smallest and the largest of n others, without drift.
///
/// Two of all N values are the n's extremes, and any two may be: so their range misses about 2/(n + 1) of all values, whatever their
/// distribution. The probability that k of the m lie beyond is that of meeting at most one of the n among the first k + 1 of a random
/// order, `[C(m, k+1) + n·C(m, k)] / C(n+m, k+1)`, which is the tail of a beta-binomial variable (SciPy's
/// `betabinom(m, 2, n − 1)`). With ties it is an upper bound.
pub(crate) fn at_least_beyond(k: u64, n: u64, m: u64) -> f64 {
    if k == 0 {
        return 1.0;
    }
    if k > m {
        return 0.0;
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
            let got = at_least_beyond(k, n, m);
            assert!((got / expected - 1.0).abs() < 1e-8, "{k} {n} {m}: {got}, SciPy has {expected}");
        }
        assert_eq!((at_least_beyond(0, 5, 5), at_least_beyond(6, 5, 5)), (1.0, 0.0));
    }

    const SCIPY: [(u64, u64, u64, f64); 4] = [
        (1, 1000, 40, 0.07547938106289587),
        (3, 1000, 200, 0.016030085322190413),
        (20, 300, 5000, 0.6646933934119627),
        (9, 27004, 24951, 0.00771015537148334),
    ];
}
