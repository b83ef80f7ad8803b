//! Kolmogorov and Smirnov's statistic of two small samples, exactly.
//!
//! Without ties every order in which the values of both samples may come is as likely as any other. Each is a path from
//! (0, 0) to (n, m) that goes one step right for a value of the reference and one step up for a value of the window, and
//! the statistic is how far it strays from the diagonal (Hodges 1958, "The significance probability of the Smirnov
//! two-sample test").

/// More cells than this between the two samples' sizes are not walked through; it takes about a tenth of a millisecond.
pub(crate) const MAX_CELLS: u64 = 100_000;

/// `P(max |i·m − j·n| ≥ reached)` over all points (i, j) of a random path: SciPy's `ks_2samp(method="exact")`, for
/// `reached = D·n·m`. With ties it is an upper bound, for then fewer points of the path count.
///
/// A path that passes (i, j) came from the left with probability `i/(i+j)`, and from below otherwise. Only additions of
/// probabilities, so that small ones keep all of their digits.
pub(crate) fn tail(n: u64, m: u64, reached: u128) -> f64 {
    let strays = |i: u64, j: u64| u128::from((i * m).abs_diff(j * n)) >= reached;
    // For the column of i: how likely a path to (i, j) has strayed by then.
    let mut strayed: Vec<f64> = (0..=m).map(|j| f64::from(u8::from(strays(0, j)))).collect();
    for j in 1..strayed.len() {
        strayed[j] = strayed[j].max(strayed[j - 1]);
    }
    let parts: Vec<f64> = (0..=n + m).map(|steps| 1.0 / steps.max(1) as f64).collect();
    for i in 1..=n {
        for j in 0..=m {
            let at = j as usize;
            strayed[at] = if strays(i, j) {
                1.0
            } else if j == 0 {
                strayed[0]
            } else {
                (i as f64 * strayed[at] + j as f64 * strayed[at - 1]) * parts[(i + j) as usize]
            };
        }
    }
    strayed[m as usize]
}

#[cfg(test)]
mod tests {
    use super::*;

    // scipy.stats.ks_2samp(…, method="exact").pvalue, of samples without ties
    #[test]
    fn tails_equal_scipys() {
        for (n, m, reached, expected) in SCIPY {
            let got = tail(n, m, reached);
            assert!((got / expected - 1.0).abs() < 1e-9, "{n} {m} {reached}: {got}, SciPy has {expected}");
        }
    }

    #[test]
    fn every_order_of_two_values_and_one_is_as_likely() {
        // D is 1 when the single value is first or last, else ½.
        assert!((tail(2, 1, 2) - 2.0 / 3.0).abs() < 1e-15);
        assert_eq!(tail(2, 1, 1), 1.0);
    }

    const SCIPY: [(u64, u64, u128, f64); 4] = [
        (20, 31, 160, 0.31899005506034267),
        (5, 9, 27, 0.11888111888111887),
        (200, 40, 1400, 0.24039591038485644),
        (300, 300, 12000, 0.00958895491281293),
    ];
}
