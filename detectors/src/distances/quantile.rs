//! Quantile shifts: by how much the window's median, or one of four other quantiles, lies above the reference's.

use super::{Distance, MEAN_MAGNITUDE, NOISE_TAIL, interval, inverse_sizes};
use crate::detector::Detector;
use crate::null::tails::{normal_quantile, normal_tail};
use crate::steps::{Step, Steps};

/// The scores with the share of values below each quantile, ascending.
const SHARES: [(Detector, f64); 5] = [
    (Detector::P05Shift, 0.05),
    (Detector::P25Shift, 0.25),
    (Detector::MedianShift, 0.5),
    (Detector::P75Shift, 0.75),
    (Detector::P95Shift, 0.95),
];
/// Rows that a sample needs on both sides of a quantile: with fewer its own values do not bound where that of the population is.
const LEAST_BEYOND: f64 = 5.0;

/// The quantile of the window less that of the reference, in the column's units, of either sign; between two values as
/// `numpy.quantile`, so that the median of an even number of values is the mean of the middle two. Where one lies inside a
/// gap, both ends of the interval follow from the gap's. The effect is its least magnitude in standard deviations of the
/// reference.
///
/// No outlier moves it. Under no drift the rows are split at random, so the share of the window below any value is that of
/// all rows, give or take what a hypergeometric variable has: noise is how far the quantiles of both samples together lie
/// apart at the ends of that for each sample (by Wilson's way (1927), for near the ends of a column a normal one is lopsided),
/// and the p-value is that of two proportions, the reference's below the window's quantile and the window's own. With ties it is
/// an upper bound. The interval follows from each sample's order statistics.
///
/// None of another detector; when the reference is constant, for it has no scale to measure a distance by; and where either
/// sample has fewer than five rows beyond its quantile.
pub(crate) fn distance(steps: &Steps, standard_deviation: f64, detector: Detector) -> Option<Distance> {
    let (_, share) = SHARES.into_iter().find(|(of, _)| *of == detector)?;
    let (reference, window) = (Sample::reference(steps), Sample::window(steps));
    if standard_deviation <= 0.0 || !reference.reaches(share) || !window.reaches(share) {
        return None;
    }
    let (in_reference, in_window) = (reference.quantile(share), window.quantile(share));
    let (value, upper) = (in_window.0 - in_reference.1, in_window.1 - in_reference.0);
    let (up, down) = reach(steps, share, normal_quantile(NOISE_TAIL / 2.0));
    let (mean_up, mean_down) = reach(steps, share, MEAN_MAGNITUDE);
    // The bounds of each quantile from its own sample, by Newcombe's way of putting two together.
    let ends = |of: (f64, f64), (low, high): (f64, f64)| (of.0 - low, high - of.1);
    let of_window = ends(in_window, window.interval(share));
    let of_reference = ends(in_reference, reference.interval(share));
    let (low, high) = (value - of_window.0.hypot(of_reference.1), upper + of_window.1.hypot(of_reference.0));
    Some(Distance {
        value,
        upper,
        effect: magnitude(value, upper) / standard_deviation,
        noise: up.max(down) / standard_deviation,
        null_mean: (mean_up + mean_down) / 2.0 / standard_deviation,
        interval: interval::of_magnitude(low / standard_deviation, high / standard_deviation),
        p_value: p_value(steps, share, reference.shares_below(in_window)),
    })
}

/// The effects of all that have one, without what chance makes of them.
pub(crate) fn effects(steps: &Steps, standard_deviation: f64) -> impl Iterator<Item = (Detector, f64)> {
    let (reference, window) = (Sample::reference(steps), Sample::window(steps));
    let (of_reference, of_window) = (reference.quantiles(), window.quantiles());
    let has_one = move |share| standard_deviation > 0.0 && reference.reaches(share) && window.reaches(share);
    SHARES.into_iter().zip(of_reference.into_iter().zip(of_window)).filter_map(
        move |((detector, share), (reference, window))| {
            let least = magnitude(window.0 - reference.1, window.1 - reference.0);
            has_one(share).then(|| (detector, least / standard_deviation))
        },
    )
}

/// The least magnitude of what lies between these.
fn magnitude(low: f64, high: f64) -> f64 {
    interval::of_magnitude(low, high).0
}

/// How far the window's quantile lies above the reference's, and below it, when a random split of all rows brings each so many
/// standard deviations from where it would be.
fn reach(steps: &Steps, share: f64, deviations: f64) -> (f64, f64) {
    let (n, m) = (steps.reference as f64, steps.window as f64);
    let both =
        Sample { size: steps.reference + steps.window, rows: |step: &Step| step.reference() + step.window(), steps };
    // The shares of all rows below the value that so large a share of one sample, of this variance, lies below.
    let ends = |variance: f64| {
        let square = deviations * deviations * variance;
        let half = (square * (share * (1.0 - share) + square / 4.0)).sqrt();
        ((share + square / 2.0 - half) / (1.0 + square), (share + square / 2.0 + half) / (1.0 + square))
    };
    let (of_window, of_reference) = (ends(n / (m * (n + m))), ends(m / (n * (n + m))));
    let up = both.at(of_window.1).1 - both.at(of_reference.0).0;
    (up, both.at(of_reference.1).1 - both.at(of_window.0).0)
}

/// Of so large shares of the reference, at least and at most, below the window's quantile.
fn p_value(steps: &Steps, share: f64, (least, most): (f64, f64)) -> f64 {
    let (n, m) = (steps.reference as f64, steps.window as f64);
    let nearest = share.clamp(least, most);
    let pooled = (n * nearest + m * share) / (n + m);
    let deviation = (pooled * (1.0 - pooled) * inverse_sizes(steps.reference, steps.window)).sqrt();
    (2.0 * normal_tail((nearest - share).abs() / deviation)).min(1.0)
}

/// One sample's values in their order. Each is a pair: what is known of a value is between which two it lies.
#[derive(Clone, Copy)]
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
    fn reaches(&self, share: f64) -> bool {
        share.min(1.0 - share) * self.size as f64 >= LEAST_BEYOND
    }

    /// The values that so many values lie before, ascending, in one pass.
    fn values<const N: usize>(&self, before: [u64; N]) -> [(f64, f64); N] {
        let (mut values, mut found, mut seen) = ([(f64::NAN, f64::NAN); N], 0, 0);
        for step in &self.steps.steps {
            seen += (self.rows)(step);
            while before.get(found).is_some_and(|before| seen > *before) {
                values[found] = ends(step);
                found += 1;
            }
            if found == N {
                break;
            }
        }
        values
    }

    fn at(&self, share: f64) -> (f64, f64) {
        let [value] = self.values([((share * self.size as f64).max(0.0) as u64).min(self.size - 1)]);
        value
    }

    /// The ranks that a quantile lies between, and how far from the first to the second.
    fn place(&self, share: f64) -> (u64, u64, f64) {
        let last = self.size.saturating_sub(1);
        let place = share * last as f64;
        (place as u64, (place as u64 + 1).min(last), place.fract())
    }

    fn quantile(&self, share: f64) -> (f64, f64) {
        let (low, high, between) = self.place(share);
        let [low, high] = self.values([low, high]);
        mix(low, high, between)
    }

    /// Those of [`SHARES`].
    fn quantiles(&self) -> [(f64, f64); SHARES.len()] {
        let places = SHARES.map(|(_, share)| self.place(share));
        let (lows, highs) = (self.values(places.map(|place| place.0)), self.values(places.map(|place| place.1)));
        std::array::from_fn(|at| mix(lows[at], highs[at], places[at].2))
    }

    /// Of order statistics around a quantile, as the binomial has them.
    fn interval(&self, share: f64) -> (f64, f64) {
        let reach = interval::DEVIATIONS * (share * (1.0 - share) / self.size as f64).sqrt();
        let beyond = 0.5 / self.size as f64;
        (self.at(share - reach - beyond).0, self.at(share + reach + beyond).1)
    }

    /// The shares of this sample that are surely, and that may be, below or at a value that is known to be between these.
    fn shares_below(&self, (low, high): (f64, f64)) -> (f64, f64) {
        let (mut below, mut up_to) = (0, 0);
        for step in &self.steps.steps {
            let (first, last) = ends(step);
            below += if last < low { (self.rows)(step) } else { 0 };
            up_to += if first <= high { (self.rows)(step) } else { 0 };
        }
        (below as f64 / self.size as f64, up_to as f64 / self.size as f64)
    }
}

/// Between which values those of a step lie.
fn ends(step: &Step) -> (f64, f64) {
    match *step {
        Step::Point { value, .. } => (value, value),
        Step::Gap { lower, upper, .. } => (lower, upper),
    }
}

/// So far from one value to the next, from the nearer of the two as NumPy has it: between equal values lies that value and no
/// other, or a quantile would lie beside the many rows that share it.
fn mix(low: (f64, f64), high: (f64, f64), between: f64) -> (f64, f64) {
    let mix = |low: f64, high: f64| {
        let way = high - low;
        if between < 0.5 { low + way * between } else { high - way * (1.0 - between) }
    };
    (mix(low.0, high.0), mix(low.1, high.1))
}
