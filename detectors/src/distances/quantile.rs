//! Median shift: by how much the window's median lies above the reference's.

use super::{Distance, MEAN_MAGNITUDE, NOISE_TAIL, interval, inverse_sizes};
use crate::null::tails::{normal_quantile, normal_tail};
use crate::steps::{Step, Steps};

/// The median of the window less that of the reference, in the column's units, of either sign; of an even number of values
/// the mean of the middle two, as `numpy.median`. Where a median lies inside a gap, both ends of the interval follow from the
/// gap's. The effect is its least magnitude in standard deviations of the reference.
///
/// No tail and no outlier moves it. Under no drift the reference's share of values below the window's median is normal
/// about one half with the variance `s²/4`, whatever the distribution; noise is how far the quantiles of both samples
/// together lie from their median at the ends of that. With ties the p-value is an upper bound. The interval follows from
/// each sample's order statistics.
///
/// None when the reference is constant: it has no scale to measure a distance by.
pub(crate) fn distance(steps: &Steps, standard_deviation: f64) -> Option<Distance> {
    if standard_deviation <= 0.0 {
        return None;
    }
    let (n, m) = (steps.reference, steps.window);
    let (reference, window) = (Sample::reference(steps), Sample::window(steps));
    let both = Sample { size: n + m, rows: |step: &Step| step.reference() + step.window(), steps };
    let (in_reference, in_window) = (reference.median(), window.median());
    let (value, upper) = (in_window.0 - in_reference.1, in_window.1 - in_reference.0);
    let effect = magnitude(value, upper) / standard_deviation;
    let deviation = 0.5 * inverse_sizes(n, m).sqrt();
    let middle = both.median();
    let reach = |deviations: f64| {
        let (low, high) =
            (both.quantile(0.5 - deviations * deviation).0, both.quantile(0.5 + deviations * deviation).1);
        (high - middle.0).max(middle.1 - low) / standard_deviation
    };
    // The bounds of each median from its own sample, by Newcombe's way of putting two together.
    let ends = |of: (f64, f64), (low, high): (f64, f64)| (of.0 - low, high - of.1);
    let of_window = ends(in_window, window.median_interval());
    let of_reference = ends(in_reference, reference.median_interval());
    let (low, high) = (value - of_window.0.hypot(of_reference.1), upper + of_window.1.hypot(of_reference.0));
    let (low, high) = interval::of_magnitude(low / standard_deviation, high / standard_deviation);
    Some(Distance {
        value,
        upper,
        effect,
        noise: reach(normal_quantile(NOISE_TAIL / 2.0)),
        null_mean: reach(MEAN_MAGNITUDE),
        interval: (low, high),
        p_value: (2.0 * normal_tail(reference.ranks_from_middle(in_window) / deviation)).min(1.0),
    })
}

/// The same without what chance makes of it.
pub(crate) fn effect(steps: &Steps, standard_deviation: f64) -> Option<f64> {
    let (reference, window) = (Sample::reference(steps).median(), Sample::window(steps).median());
    let least = magnitude(window.0 - reference.1, window.1 - reference.0);
    (standard_deviation > 0.0).then(|| least / standard_deviation)
}

/// The least magnitude of what lies between these.
fn magnitude(low: f64, high: f64) -> f64 {
    interval::of_magnitude(low, high).0
}

/// One sample's values in their order. Each is a pair: what is known of a value is between which two it lies.
struct Sample<'s, R> {
    steps: &'s Steps,
    size: u64,
    rows: R,
}

impl<'s> Sample<'s, fn(&Step) -> u64> {
    fn reference(steps: &'s Steps) -> Self {
        Self { steps, size: steps.reference, rows: |step| step.reference() }
    }

    fn window(steps: &'s Steps) -> Self {
        Self { steps, size: steps.window, rows: |step| step.window() }
    }
}

impl<R: Fn(&Step) -> u64> Sample<'_, R> {
    /// The value that so many values lie before.
    fn value(&self, before: u64) -> (f64, f64) {
        let mut seen = 0;
        for step in &self.steps.steps {
            seen += (self.rows)(step);
            if seen > before {
                return match *step {
                    Step::Point { value, .. } => (value, value),
                    Step::Gap { lower, upper, .. } => (lower, upper),
                };
            }
        }
        (f64::NAN, f64::NAN)
    }

    fn median(&self) -> (f64, f64) {
        let (low, high) = (self.value((self.size - 1) / 2), self.value(self.size / 2));
        (low.0 / 2.0 + high.0 / 2.0, low.1 / 2.0 + high.1 / 2.0)
    }

    fn quantile(&self, share: f64) -> (f64, f64) {
        self.value(((share * self.size as f64).max(0.0) as u64).min(self.size - 1))
    }

    /// Of order statistics around the middle, as the binomial has them.
    fn median_interval(&self) -> (f64, f64) {
        let reach = interval::DEVIATIONS * 0.5 / (self.size as f64).sqrt();
        let beyond = 0.5 / self.size as f64;
        (self.quantile(0.5 - reach - beyond).0, self.quantile(0.5 + reach + beyond).1)
    }

    /// How far from the middle, as a share of this sample, a value lies that is known to be between these.
    fn ranks_from_middle(&self, (low, high): (f64, f64)) -> f64 {
        let (mut below, mut up_to) = (0, 0);
        for step in &self.steps.steps {
            let (first, last) = match *step {
                Step::Point { value, .. } => (value, value),
                Step::Gap { lower, upper, .. } => (lower, upper),
            };
            below += if last < low { (self.rows)(step) } else { 0 };
            up_to += if first <= high { (self.rows)(step) } else { 0 };
        }
        magnitude(below as f64 / self.size as f64 - 0.5, up_to as f64 / self.size as f64 - 0.5)
    }
}
