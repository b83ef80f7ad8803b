//! Mean shift: by how much the window's mean lies above the reference's.

use super::moments::Moments;
use super::{Distance, MEAN_MAGNITUDE, NOISE_TAIL, interval, inverse_sizes};
use crate::null::chance_sum::ChanceSum;
use crate::steps::Steps;

/// The mean of the window less that of the reference, in the column's units, of either sign. The effect is its magnitude
/// in standard deviations of the reference (Glass's Δ).
///
/// Under no drift a random draw of the rows of both samples became the window, of which the difference has the variance
/// `v·s²·N/(N − 1)` and the third cumulant `κ₃·(1/m² − 1/n²)`, where v and κ₃ are those of all N values. So a mean of few
/// rows of a skewed column is not taken for normal. The interval is Welch's, each sample with its own spread, and with what
/// is unsure of the reference's standard deviation.
///
/// None when the reference is constant: it has no scale to measure a distance by.
pub(crate) fn distance(steps: &Steps, standard_deviation: f64, mean: f64) -> Option<Distance> {
    if standard_deviation <= 0.0 {
        return None;
    }
    let (n, m) = (steps.reference as f64, steps.window as f64);
    let (reference, window) = Moments::of_both(steps, mean, standard_deviation);
    let shift = reference.to(window);
    let (effect, both) = (shift.abs(), reference.with(window));
    let variance = both.second * inverse_sizes(steps.reference, steps.window) * (n + m) / (n + m - 1.0);
    let third = both.third * (1.0 / (m * m) - 1.0 / (n * n));
    let upwards = ChanceSum { mean: 0.0, variance, third };
    let downwards = ChanceSum { third: -third, ..upwards };
    let of_scale = shift * shift * (reference.kurtosis() - 1.0) / (4.0 * n);
    let spread = (reference.second / n + window.second / (m - 1.0).max(1.0) + of_scale).sqrt();
    let reach = interval::DEVIATIONS * spread;
    Some(Distance {
        value: shift * standard_deviation,
        upper: shift * standard_deviation,
        effect,
        noise: upwards.quantile(NOISE_TAIL / 2.0).max(downwards.quantile(NOISE_TAIL / 2.0)),
        null_mean: MEAN_MAGNITUDE * variance.sqrt(),
        interval: interval::of_magnitude(shift - reach, shift + reach),
        p_value: (upwards.tail(effect) + downwards.tail(effect)).min(1.0),
    })
}

/// The same without what chance makes of it.
pub(crate) fn effect(steps: &Steps, standard_deviation: f64, mean: f64) -> Option<f64> {
    (standard_deviation > 0.0).then(|| {
        let (reference, window) = Moments::of_both(steps, mean, standard_deviation);
        reference.to(window).abs()
    })
}
