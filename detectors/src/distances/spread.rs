//! Spread: how many times the window's standard deviation is the reference's.

use super::moments::Moments;
use super::{Distance, MEAN_MAGNITUDE, NOISE_TAIL, interval};
use crate::null::fisher;
use crate::steps::Steps;

/// Halvings after which a logarithm of a ratio is known to six digits.
const HALVINGS: usize = 24;

/// The ratio of the standard deviations (dividing by n, as `numpy.std`), window to reference, from 0 up. The effect is its
/// logarithm without the sign: twice as wide and half as wide are as far from what was.
///
/// Under no drift the ratio's square is nearly an F variable, of degrees of freedom that follow from the values' kurtosis κ
/// about their means: `2n/(κ − (n−3)/(n−1))`, which is n − 1 for normal values (Shoemaker 2003, "Fixing the F test for equal
/// variances"). The interval takes each sample's own kurtosis, or that of
/// both where it is larger: few rows of a column with heavy tails seldom show them.
///
/// None when one of the two is constant: a ratio to nothing says nothing.
pub(crate) fn distance(steps: &Steps, deviations: (f64, f64), mean: f64) -> Option<Distance> {
    let effect = effect(deviations)?;
    let (n, m) = (steps.reference as f64, steps.window as f64);
    let (reference, window) = Moments::of_both(steps, mean, deviations.0.max(deviations.1));
    let kurtosis = reference.kurtosis_within(window);
    let degrees = |size: f64| 2.0 * size / (kurtosis - (size - 3.0) / (size - 1.0)).max(1e-6);
    let (of_window, of_reference) = (degrees(m), degrees(n));
    // Both variances are compared as the textbook's, which divide by one less than the size.
    let bias = (m / (m - 1.0) * (n - 1.0) / n).ln() / 2.0;
    let logarithm = (deviations.1 / deviations.0).ln();
    let ratio = logarithm + bias;
    let wider = |x: f64| fisher::tail((2.0 * x).exp(), (of_window, of_reference));
    let narrower = |x: f64| fisher::tail((2.0 * x).exp(), (of_reference, of_window));
    let spread = |moments: Moments, size: f64| (moments.kurtosis().max(kurtosis) - 1.0) / (4.0 * (size - 1.0));
    let reach = interval::DEVIATIONS * (spread(reference, n) + spread(window, m)).max(0.0).sqrt();
    Some(Distance {
        value: deviations.1 / deviations.0,
        upper: deviations.1 / deviations.0,
        effect,
        noise: (reached(wider)? - bias).max(reached(narrower)? + bias),
        null_mean: MEAN_MAGNITUDE * ((1.0 / of_window + 1.0 / of_reference) / 2.0).sqrt(),
        interval: interval::of_magnitude(ratio - reach, ratio + reach),
        p_value: (2.0 * wider(ratio)?.min(narrower(-ratio)?)).min(1.0),
    })
}

/// The same without what chance makes of it.
pub(crate) fn effect((reference, window): (f64, f64)) -> Option<f64> {
    (reference > 0.0 && window > 0.0).then(|| (window / reference).ln().abs())
}

/// The logarithm beyond which half of the noise's tail lies.
fn reached(tail: impl Fn(f64) -> Option<f64>) -> Option<f64> {
    let (mut low, mut high) = (0.0, 20.0);
    for _ in 0..HALVINGS {
        let middle = (low + high) / 2.0;
        if tail(middle)? > NOISE_TAIL / 2.0 { low = middle } else { high = middle }
    }
    Some(high)
}
