//! AUC: how well the value alone tells the window's rows from the reference's.

use super::{Distance, MEAN_MAGNITUDE, NOISE_TAIL, interval};
use crate::null::tails::{normal_quantile, normal_tail};
use crate::steps::{Step, Steps};

/// The area under the ROC curve, `P(R < W) + ½·P(R = W)` for a value R of the reference and W of the window, from 0 to 1:
/// Mann and Whitney's U over `n·m`, as SciPy's `mannwhitneyu` and scikit-learn's `roc_auc_score` have it. One half when
/// neither sample tends to be larger. The effect is the difference from one half.
///
/// The p-value is that of `mannwhitneyu(method="asymptotic")`: normal, with the variance corrected for ties, and for
/// continuity. The interval is DeLong's (DeLong, DeLong & Clarke-Pearson 1988).
pub(crate) fn distance(steps: &Steps) -> Distance {
    let (n, m) = (steps.reference as f64, steps.window as f64);
    let Ranks { lower, upper, variance, spread } = ranks(steps);
    let effect = effect_of(lower, upper);
    let (pairs, deviation) = (n * m, variance.sqrt());
    let continuity = 0.5 / pairs;
    let beyond = |effect: f64| if deviation > 0.0 { (effect - continuity) / deviation } else { 0.0 };
    let (low, high) = (lower - 0.5 - interval::DEVIATIONS * spread, upper - 0.5 + interval::DEVIATIONS * spread);
    let (low, high) = interval::of_magnitude(low.max(-0.5), high.min(0.5));
    Distance {
        value: lower,
        upper,
        effect,
        noise: normal_quantile(NOISE_TAIL / 2.0) * deviation + continuity,
        null_mean: MEAN_MAGNITUDE * deviation,
        interval: (low, high),
        p_value: (2.0 * normal_tail(beyond(effect))).min(1.0),
    }
}

/// The same without what chance makes of it.
pub(crate) fn effect(steps: &Steps) -> f64 {
    let ranks = ranks(steps);
    effect_of(ranks.lower, ranks.upper)
}

/// The least difference from one half that the bounds allow.
fn effect_of(lower: f64, upper: f64) -> f64 {
    (lower - 0.5).max(0.5 - upper).max(0.0)
}

struct Ranks {
    /// The area when in every gap the window's values lie below the reference's, and above them.
    lower: f64,
    upper: f64,
    /// Its variance under no drift.
    variance: f64,
    /// Its standard deviation whatever has drifted.
    spread: f64,
}

fn ranks(steps: &Steps) -> Ranks {
    let (n, m) = (steps.reference as f64, steps.window as f64);
    let (mut below_reference, mut below_window) = (0.0, 0.0);
    let (mut pairs, mut unsure, mut cubes) = (0.0, 0.0, 0.0);
    // Sums of squares of how large a part of the other sample lies below (window) and above (reference).
    let (mut of_window, mut of_reference) = (0.0, 0.0);
    for step in &steps.steps {
        let (a, b) = (step.reference() as f64, step.window() as f64);
        pairs += b * (below_reference + a / 2.0);
        match step {
            Step::Point { .. } => cubes += (a + b).powi(3) - (a + b),
            Step::Gap { .. } => unsure += a * b / 2.0,
        }
        of_window += b * ((below_reference + a / 2.0) / n).powi(2);
        of_reference += a * ((m - below_window - b / 2.0) / m).powi(2);
        below_reference += a;
        below_window += b;
    }
    let (area, total) = (pairs / (n * m), n + m);
    let variance = (total + 1.0 - cubes / (total * (total - 1.0))) / (12.0 * n * m);
    let of_sample = |squares: f64, size: f64| (squares / size - area * area).max(0.0) / size.max(1.0);
    Ranks {
        lower: area - unsure / (n * m),
        upper: area + unsure / (n * m),
        variance: variance.max(0.0),
        spread: (of_sample(of_window, m) + of_sample(of_reference, n)).sqrt(),
    }
}
