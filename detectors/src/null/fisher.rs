//! The tail of Fisher's F distribution, also of as many degrees of freedom as a month of rows gives.

use std::f64::consts::TAU;

use statrs::distribution::{ContinuousCDF, FisherSnedecor};
use statrs::function::erf::erfc;

use super::binomial::away;

/// From so many degrees of freedom on, of both, the continued fraction behind [`FisherSnedecor`] would need more steps than it
/// takes, and what it ends at lies off in the fourth digit.
const MANY: f64 = 4_000.0;
/// Nearer to the middle than this the two parts of what is next to the normal cancel, and their limit takes their place.
const NEAR: f64 = 1e-5;

/// `P(F ≥ x)` with these degrees of freedom; none when they are no numbers above zero.
///
/// Of many degrees it is Temme's (1979) expansion of the incomplete beta function, which is a normal tail and the first term beside it
/// (NIST's Digital Library of Mathematical Functions, 8.18.9): to 1e-6 of the tail, however small it is.
pub(crate) fn tail(x: f64, degrees: (f64, f64)) -> Option<f64> {
    if degrees.0.min(degrees.1) < MANY {
        return Some(FisherSnedecor::new(degrees.0, degrees.1).ok()?.sf(x));
    }
    if !degrees.0.is_finite() || !degrees.1.is_finite() {
        return None;
    }
    let (a, b) = (degrees.1 / 2.0, degrees.0 / 2.0);
    let (n, whole) = (a + b, degrees.1 + degrees.0 * x);
    // Where the incomplete beta function ends, and by how much that is beyond its middle.
    let (end, rest) = (degrees.1 / whole, degrees.0 * x / whole);
    let beyond = degrees.0 / whole * (1.0 - x) * (degrees.1 / (degrees.0 + degrees.1));
    let exponent = away(a, n * end) + away(b, n * rest);
    let eta = (2.0 * exponent / n).sqrt().copysign(beyond);
    let (share, spread) = (a / n, (a * b).sqrt() / n);
    let next = if eta.abs() < NEAR { (1.0 - 2.0 * share) / (3.0 * spread) } else { 1.0 / eta - spread / beyond };
    Some((erfc(-exponent.sqrt().copysign(eta)) / 2.0 + next * (-exponent).exp() / (TAU * n).sqrt()).clamp(0.0, 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The density's integral by mpmath with 40 digits; `scipy.stats.f.sf` agrees as far as it keeps its digits.
    #[test]
    fn tails_keep_their_digits_however_many_degrees_there_are() {
        for (x, degrees, expected) in TAILS {
            let got = tail(x, degrees).unwrap();
            assert!((got / expected - 1.0).abs() < 1.2e-6, "{x} {degrees:?}: {got}, not {expected}");
        }
    }

    #[test]
    fn where_one_way_ends_the_other_goes_on() {
        for x in [0.96, 1.0, 1.02, 1.1, 1.3] {
            let before = FisherSnedecor::new(MANY, MANY).unwrap().sf(x);
            let after = tail(x, (MANY, MANY)).unwrap();
            assert!((after / before - 1.0).abs() < 1e-5, "{x}: {before}, {after}");
        }
        assert_eq!(tail(1.0, (f64::INFINITY, 5.0)), None);
    }

    const TAILS: [(f64, (f64, f64), f64); 8] = [
        (1.0003, (4e6, 5e6), 0.3759188206810407),
        (1.05, (9e3, 6e4), 0.001054898709522852),
        (0.97, (3e4, 2e4), 0.9909251690530564),
        (1.0, (25e3, 25e3), 0.5),
        (1.3, (4e3, 4e4), 2.005719474659197e-31),
        (1.2, (5e4, 3e4), 6.221832515196754e-69),
        (1.000001, (3e4, 2e4), 0.5003124553244868),
        (2.5, (7.0, 31.0), 0.03694519808660169),
    ];
}
