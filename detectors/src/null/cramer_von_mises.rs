//! The limiting distribution of Cramér-von Mises' statistic.

use std::f64::consts::PI;

use statrs::function::gamma::ln_gamma;

/// `P(T ≥ t)` for the two-sample statistic T of samples of n and m values: T is standardised by its exact mean and
/// variance and compared with the limiting distribution (Anderson 1962), as SciPy's
/// `cramervonmises_2samp(method="asymptotic")` does.
pub(crate) fn tail(t: f64, n: u64, m: u64) -> f64 {
    let (n, m) = (n as f64, m as f64);
    let (sum, product) = (n + m, n * m);
    let mean = (1.0 + 1.0 / sum) / 6.0;
    let variance = (sum + 1.0) * (4.0 * product * sum - 3.0 * (n * n + m * m) - 2.0 * product)
        / (45.0 * sum * sum * 4.0 * product);
    if variance <= 0.0 {
        return 1.0; // one value each: every arrangement is as likely
    }
    let standardised = 1.0 / 6.0 + (t - mean) / (45.0 * variance).sqrt();
    limiting_tail(standardised)
}

/// Up to here the distribution function is the quicker way, and of its complement no digit is lost.
const MAX_BY_SERIES: f64 = 0.3;

fn limiting_tail(x: f64) -> f64 {
    if x < 0.003 {
        1.0
    } else if x < MAX_BY_SERIES {
        (1.0 - limiting_cdf(x)).clamp(0.0, 1.0)
    } else {
        far_tail(x)
    }
}

/// The limiting value of T for which `P(T ≥ t) = 0.001`.
pub(crate) const QUANTILE_999: f64 = 1.167_86;
/// That for which it is 0.05.
pub(crate) const QUANTILE_95: f64 = 0.461_36;

/// The tail itself by Smirnov's integral (1936), which keeps all of its digits however small it is:
///
/// ```text
///   2/π · Σ_k (−1)^(k+1) · ∫ √(−u/sin u)·exp(−u²x/2) du/u,   u from (2k − 1)π to 2kπ
/// ```
///
/// With `u = (2k − 1)π + π·sin²(t/2)` neither end has a pole, and the trapezoid rule is exact to rounding: what it sums up
/// goes on evenly beyond both ends.
fn far_tail(x: f64) -> f64 {
    const POINTS: u32 = 128;
    // Below it, nothing is left of a double.
    const SMALLEST_EXPONENT: f64 = -745.0;
    if -x * PI * PI / 2.0 < SMALLEST_EXPONENT {
        return 0.0;
    }
    let mut sum = 0.0;
    for k in 0..100 {
        let start = (2.0 * f64::from(k) + 1.0) * PI;
        let mut part = 0.0;
        for point in 0..=POINTS {
            let half = PI * f64::from(point) / f64::from(2 * POINTS);
            let (from_start, from_end) = (PI * half.sin().powi(2), PI * half.cos().powi(2));
            let u = start + from_start;
            // du/dt over √(−sin u), twice: both fall to nothing at the ends, and their quotient goes to √π.
            let slope_over_root = if point == 0 || point == POINTS {
                PI.sqrt()
            } else {
                PI * half.sin() * half.cos() / from_start.min(from_end).sin().sqrt()
            };
            let weight = if point == 0 || point == POINTS { 0.5 } else { 1.0 };
            part += weight * slope_over_root * (-x * u * u / 2.0).exp() / u.sqrt();
        }
        sum += if k % 2 == 0 { part } else { -part };
        if part <= 1e-17 * sum.abs() {
            break;
        }
    }
    (2.0 * sum / f64::from(POINTS)).clamp(0.0, 1.0)
}

/// Anderson & Darling (1952), equation 4.35.
fn limiting_cdf(x: f64) -> f64 {
    let mut sum = 0.0;
    for k in 0..1000 {
        let k = f64::from(k);
        let y = 4.0 * k + 1.0;
        let weight = (ln_gamma(k + 0.5) - ln_gamma(k + 1.0)).exp() / (PI.powf(1.5) * x.sqrt());
        let term = weight * y.sqrt() * scaled_bessel_k_quarter(y * y / (16.0 * x));
        sum += term;
        if term < 1e-17 {
            break;
        }
    }
    sum.min(1.0)
}

/// `exp(−q)·K_{1/4}(q)`, by the trapezoid rule on `∫ exp(−q(1 + cosh t))·cosh(t/4) dt`. The integrand falls doubly
/// exponentially, so the rule is exact to rounding at this step.
fn scaled_bessel_k_quarter(q: f64) -> f64 {
    const STEP: f64 = 1.0 / 16.0;
    let mut sum = 0.5 * (-2.0 * q).exp();
    for i in 1..10_000 {
        let t = STEP * f64::from(i);
        let term = (-q * (1.0 + t.cosh())).exp() * (t / 4.0).cosh();
        sum += term;
        if term < 1e-18 * sum || term < 1e-300 {
            break;
        }
    }
    sum * STEP
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limiting_distribution_equals_scipys() {
        // scipy.stats._hypotests._cdf_cvm_inf(x)
        for (x, expected) in [
            (0.05, CDF[0]),
            (0.118_88, CDF[1]),
            (0.346_73, CDF[2]),
            (0.743_46, CDF[3]),
            (1.167_86, CDF[4]),
            (3.0, CDF[5]),
        ] {
            assert!((limiting_cdf(x) - expected).abs() < 1e-12, "{x}: {} against {expected}", limiting_cdf(x));
        }
    }

    const CDF: [f64; 6] = [
        0.12371906895864906,
        0.5000018431825409,
        0.89963906803203,
        0.9900000380845428,
        0.9990000090851198,
        0.9999999243222135,
    ];

    #[test]
    fn the_quantiles_are_those_of_their_tails() {
        assert!((1.0 - limiting_cdf(QUANTILE_999) - 0.001).abs() < 1e-7);
        assert!((1.0 - limiting_cdf(QUANTILE_95) - 0.05).abs() < 1e-5);
    }

    /// Smirnov's integral by mpmath with 40 digits.
    #[test]
    fn far_out_the_tail_keeps_its_digits_and_nearer_it_meets_the_series() {
        for (x, expected) in FAR {
            let got = limiting_tail(x);
            assert!((got / expected - 1.0).abs() < 1e-11, "{x}: {got} against {expected}");
        }
        for x in [MAX_BY_SERIES, 0.5, 1.0] {
            let by_series = 1.0 - limiting_cdf(x);
            assert!((far_tail(x) / by_series - 1.0).abs() < 1e-11, "{x}: {} against {by_series}", far_tail(x));
        }
        assert_eq!(limiting_tail(1e6), 0.0);
    }

    const FAR: [(f64, f64); 7] = [
        (0.34375, 0.1022549500383614),
        (0.75, 0.009643683707391701),
        (1.25, 0.0006459417558466239),
        (3.0, 7.56774345931602e-08),
        (10.0, 4.178941092885288e-23),
        (60.0, 1.192152306499509e-130),
        (140.0, 2.754317998526378e-302),
    ];

    #[test]
    fn the_two_sample_tail_equals_scipys() {
        for (t, n, m, expected) in TAILS {
            assert!((tail(t, n, m) - expected).abs() < 1e-11, "{t} {n} {m}: {} against {expected}", tail(t, n, m));
        }
    }

    #[test]
    fn the_tail_falls_to_zero_and_stays_there() {
        let tails: Vec<f64> = (0..400).map(|i| tail(1.1f64.powi(i) / 100.0, 30_000, 20_000)).collect();
        assert!(tails.windows(2).all(|pair| pair[1] <= pair[0] + 1e-12), "{tails:?}");
        assert_eq!(tail(1e7, 1_000_000_000, 1_000_000_000), 0.0);
    }

    const TAILS: [(f64, u64, u64, f64); 5] = [
        (0.0985, 27_004, 24_951, 0.5922969204998605),
        (0.3, 20, 31, 0.13669385386801025),
        (1.2, 200, 5_000, 0.0008346145442128527),
        (0.6, 1_000, 999, 0.02237910874724347),
        (0.168, 27_004, 24_951, 0.33910967950240267),
    ];
}
