//! The limiting distribution of Kuiper's statistic.

/// `P(V ≥ v)` for samples of n and m values: the limiting distribution (Kuiper 1960) at Stephens' (1970) correction for
/// small samples, `λ = (√N + 0.155 + 0.24/√N)·v` with `N = n·m/(n + m)`, as in Numerical Recipes (`probkp`):
/// `2·Σ (4j²λ² − 1)·exp(−2j²λ²)`.
pub(crate) fn tail(v: f64, n: u64, m: u64) -> f64 {
    limiting_tail(v * scale(n, m))
}

/// The v for which `P(V ≥ v)` is this small (below a tenth).
pub(crate) fn quantile(tail: f64, n: u64, m: u64) -> f64 {
    let (mut low, mut high) = (1.0, 8.0);
    for _ in 0..50 {
        let middle = (low + high) / 2.0;
        if limiting_tail(middle) > tail { low = middle } else { high = middle }
    }
    high / scale(n, m)
}

/// The mean of V under no drift, `√(π/2)` in the limit: that of a Brownian bridge's range.
pub(crate) fn mean(n: u64, m: u64) -> f64 {
    (std::f64::consts::FRAC_PI_2).sqrt() / scale(n, m)
}

fn scale(n: u64, m: u64) -> f64 {
    let root = (n as f64 * m as f64 / (n + m) as f64).sqrt();
    root + 0.155 + 0.24 / root
}

fn limiting_tail(lambda: f64) -> f64 {
    // Below it the probability is one to seven digits.
    if lambda < 0.4 {
        return 1.0;
    }
    let mut sum = 0.0;
    for j in 1..=100 {
        let square = (f64::from(j) * lambda).powi(2);
        let term = 2.0 * (4.0 * square - 1.0) * (-2.0 * square).exp();
        sum += term;
        if term.abs() < 1e-16 * sum.abs() {
            break;
        }
    }
    sum.clamp(0.0, 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn critical_values_are_those_of_kuiper() {
        // Stephens (1970), table 1: upper tails of V* at 10, 5 and 1 %.
        for (lambda, expected) in [(1.620, 0.1), (1.747, 0.05), (2.001, 0.01)] {
            assert!((limiting_tail(lambda) / expected - 1.0).abs() < 0.01, "{lambda}: {}", limiting_tail(lambda));
        }
    }

    #[test]
    fn the_quantile_is_the_inverse_of_the_tail() {
        for tail_of in [0.05, 0.001] {
            assert!((tail(quantile(tail_of, 300, 40), 300, 40) / tail_of - 1.0).abs() < 1e-9);
        }
        assert_eq!(tail(0.0, 10, 10), 1.0);
    }
}
