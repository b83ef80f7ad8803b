//! Energy distance: the squared area between the two distribution functions.

use super::{Distance, NOISE_TAIL, interval, inverse_sizes};
use crate::null::chance_sum::ChanceSum;
use crate::steps::{Step, Steps};

/// `√(2·∫(F − G)² dx)` (Székely & Rizzo 2013), from 0 up, in the root of the column's units, as SciPy's `energy_distance`
/// has it. The effect is the distance divided by the root of the reference's standard deviation, so that it has no unit.
///
/// Exact where all values are known. In a gap `F − G` has an integral that follows from counts and sums, and stays
/// between what the gap's ends and the rows inside allow; so its square has one of at least `(∫)²/(b−a)` (Jensen), and of
/// at most what the chord over these bounds gives.
///
/// Under no drift the squared distance is that of `s·B(H(x))` with a Brownian bridge B and the distribution H of both
/// samples together: a sum of squared normals, whose first three cumulants are integrals of the bridge's covariance. See
/// [`ChanceSum`] for its tail, and docs/scores.md for how close that is.
///
/// None when the reference is constant: it has no scale to measure a distance by.
pub(crate) fn distance(steps: &Steps, standard_deviation: f64) -> Option<Distance> {
    if standard_deviation <= 0.0 {
        return None;
    }
    let (lower, upper) = bounds(steps);
    let chance = chance(steps, standard_deviation);
    let (effect, highest) = ((lower / standard_deviation).sqrt(), (upper / standard_deviation).sqrt());
    let reach = |tail: f64| chance.quantile(tail).max(0.0).sqrt();
    Some(Distance {
        value: lower.sqrt(),
        upper: upper.sqrt(),
        effect,
        noise: reach(NOISE_TAIL),
        null_mean: chance.mean_root(),
        interval: interval::around_norm((effect, highest), reach(interval::OUTSIDE)),
        p_value: chance.tail(effect * effect),
    })
}

/// The same without what chance makes of it.
pub(crate) fn effect(steps: &Steps, standard_deviation: f64) -> Option<f64> {
    (standard_deviation > 0.0).then(|| (bounds(steps).0 / standard_deviation).sqrt())
}

/// The bounds of `2·∫(F − G)² dx`.
fn bounds(steps: &Steps) -> (f64, f64) {
    let (n, m) = (steps.reference as f64, steps.window as f64);
    let (mut below_reference, mut below_window) = (0u64, 0u64);
    let (mut lower, mut upper) = (0.0, 0.0);
    let mut previous: Option<f64> = None;
    for step in &steps.steps {
        let (start, end) = ends(step);
        let difference = below_reference as f64 / n - below_window as f64 / m;
        if let Some(previous) = previous {
            let flat = (start - previous) * difference * difference;
            lower += flat;
            upper += flat;
        }
        if let Step::Gap { reference, reference_sum, window, window_sum, .. } = *step {
            let (a, b, width) = (reference as f64 / n, window as f64 / m, end - start);
            let net = difference * width + (a * end - reference_sum / n) - (b * end - window_sum / m);
            let (low, high) = (difference - b, difference + a);
            let least = if width > 0.0 { net * net / width } else { 0.0 };
            lower += least;
            upper += ((low + high) * net - low * high * width).max(least);
        }
        below_reference += step.reference();
        below_window += step.window();
        previous = Some(end);
    }
    (2.0 * lower.max(0.0), 2.0 * upper.max(0.0))
}

fn ends(step: &Step) -> (f64, f64) {
    match *step {
        Step::Point { value, .. } => (value, value),
        Step::Gap { lower, upper, .. } => (lower, upper),
    }
}

/// What chance makes of the squared distance, in units of the standard deviation.
fn chance(steps: &Steps, standard_deviation: f64) -> ChanceSum {
    let total = (steps.reference + steps.window) as f64;
    let mut traces = BridgeTraces::default();
    let (mut below, mut previous) = (0u64, None);
    for step in &steps.steps {
        let (start, end) = ends(step);
        let inside = step.reference() + step.window();
        if let Some(previous) = previous {
            traces.add((start - previous) / standard_deviation, below as f64 / total);
        }
        if end > start {
            traces.add((end - start) / standard_deviation, (below as f64 + inside as f64 / 2.0) / total);
        }
        below += inside;
        previous = Some(end);
    }
    ChanceSum::of_squares(2.0 * inverse_sizes(steps.reference, steps.window), traces.traces)
}

/// The traces of the powers of a Brownian bridge's covariance `K(x, y) = H(x)·(1 − H(y))` for `x ≤ y`, from stretches on
/// which H is constant, in one pass: of three points x < y < z the product is `H(x)²·H(y)(1 − H(y))·(1 − H(z))²`.
#[derive(Default)]
struct BridgeTraces {
    traces: [f64; 3],
    /// Sums over the stretches so far of `w·H²`, of `w·H(1 − H)` times that, and of `w²·H³·(1 − H)`.
    squares: f64,
    pairs: f64,
    twice: f64,
}

impl BridgeTraces {
    fn add(&mut self, width: f64, h: f64) {
        let (variance, above) = (h * (1.0 - h), (1.0 - h).powi(2));
        self.traces[0] += width * variance;
        self.traces[1] += 2.0 * width * above * self.squares + (width * variance).powi(2);
        self.traces[2] += 6.0 * width * above * self.pairs
            + 3.0 * width * above * self.twice
            + 3.0 * width * width * above * variance * self.squares
            + (width * variance).powi(3);
        self.pairs += width * variance * self.squares;
        self.squares += width * h * h;
        self.twice += width * width * h * h * variance;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn traces_are_those_of_the_covariance_matrix() {
        let stretches = [(0.5, 0.1), (2.0, 0.35), (0.1, 0.5), (1.0, 0.8), (0.7, 0.95)];
        let mut traces = BridgeTraces::default();
        stretches.iter().for_each(|(width, h)| traces.add(*width, *h));
        let k = |i: usize, j: usize| {
            let (low, high) = (stretches[i.min(j)].1, stretches[i.max(j)].1);
            low * (1.0 - high) * stretches[i].0
        };
        let all = 0..stretches.len();
        let first: f64 = all.clone().map(|i| k(i, i)).sum();
        let second: f64 =
            all.clone().flat_map(|i| all.clone().map(move |j| (i, j))).map(|(i, j)| k(i, j) * k(j, i)).sum();
        let mut third = 0.0;
        for i in all.clone() {
            for j in all.clone() {
                for l in all.clone() {
                    third += k(i, j) * k(j, l) * k(l, i);
                }
            }
        }
        for (got, expected) in traces.traces.into_iter().zip([first, second, third]) {
            assert!((got / expected - 1.0).abs() < 1e-12, "{got} against {expected}");
        }
    }
}
