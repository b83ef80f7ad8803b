//! Wasserstein-1: the area between the two distribution functions, in the units of the column.

use super::{Distance, MEAN_MAGNITUDE, NOISE_TAIL, interval, inverse_sizes};
use crate::steps::{Step, Steps};

/// `∫|F − G| dx`, as SciPy's `wasserstein_distance` has it. The effect is the distance divided by the reference's
/// standard deviation.
///
/// Exact where all values are known, and in every gap in which F and G do not cross, since then only `∫(F − G)` is
/// needed, and that follows from the cell's count and sum. Where they may cross, both ends of the interval are added up:
///
/// * one sample alone in a gap `(a, b)`, k values with sum S, of which p raise its distribution function to the level of
///   the other's: the area is `Σ_{lowest p}(x − a) + Σ_{highest k−p}(b − x)`, which is least when the p lie as low as the
///   sum allows and greatest when all lie together;
/// * both samples in a gap: the area between is at least `|∫(F − G)|`, and at most that of two samples concentrated at
///   their means plus what each can be spread about its mean, `2(μ−a)(b−μ)/(b−a)` for each unit of mass.
///
/// Independent noise: under no drift the area is that of `s·|B(F(x))|` with a Brownian bridge B. Its mean is
/// `s·√(2/π)·∫√(F(1−F)) dx`, and since no linear functional of the bridge has a larger spread than the mean of X itself,
/// the Borell-TIS inequality bounds the upper tail by that of a normal with deviation `s·σ`. Both noise and p-value are
/// upper bounds from there.
///
/// None when the reference is constant: it has no scale to measure a distance by.
pub(crate) fn distance(steps: &Steps, deviations: (f64, f64)) -> Option<Distance> {
    let standard_deviation = deviations.0;
    if standard_deviation <= 0.0 {
        return None;
    }
    let Areas { lower, upper, bridge, bridges } = areas(steps);
    let s = inverse_sizes(steps.reference, steps.window).sqrt();
    let mean = MEAN_MAGNITUDE * bridge;
    let beyond = (lower / s - mean) / standard_deviation;
    let borell = |tail: f64| (-2.0 * tail.ln()).sqrt();
    // What the samples' own errors reach, each with its own distribution and spread.
    let (n, m) = (steps.reference as f64, steps.window as f64);
    let of_errors = (deviations.0 / n.sqrt()).hypot(deviations.1 / m.sqrt());
    let reach = (MEAN_MAGNITUDE * bridges + of_errors * borell(interval::OUTSIDE)) / standard_deviation;
    let effect = lower / standard_deviation;
    Some(Distance {
        value: lower,
        upper,
        effect,
        noise: s * (mean / standard_deviation + borell(NOISE_TAIL)),
        null_mean: s * mean / standard_deviation,
        interval: interval::around_norm((effect, upper / standard_deviation), reach),
        p_value: if beyond > 0.0 { (-beyond * beyond / 2.0).exp() } else { 1.0 },
    })
}

/// The same without what chance makes of it.
pub(crate) fn effect(steps: &Steps, standard_deviation: f64) -> Option<f64> {
    (standard_deviation > 0.0).then(|| areas(steps).lower / standard_deviation)
}

/// Areas over all of the values.
#[derive(Default)]
struct Areas {
    /// Between F and G, at least and at most.
    lower: f64,
    upper: f64,
    /// Under `√(F(1−F))`.
    bridge: f64,
    /// Under `√(F(1−F)/n + G(1−G)/m)`.
    bridges: f64,
}

fn areas(steps: &Steps) -> Areas {
    let (n, m) = (steps.reference as f64, steps.window as f64);
    let (mut below_reference, mut below_window) = (0u64, 0u64);
    let Areas { mut lower, mut upper, mut bridge, mut bridges } = Areas::default();
    let mut previous: Option<f64> = None;
    for step in &steps.steps {
        let (start, end) = match *step {
            Step::Point { value, .. } => (value, value),
            Step::Gap { lower, upper, .. } => (lower, upper),
        };
        let (f, g) = (below_reference as f64 / n, below_window as f64 / m);
        let deviation = (f * (1.0 - f)).sqrt();
        let deviation_of_both = (f * (1.0 - f) / n + g * (1.0 - g) / m).sqrt();
        if let Some(previous) = previous {
            let flat = (start - previous) * (f - g).abs();
            lower += flat;
            upper += flat;
            bridge += (start - previous) * deviation;
            bridges += (start - previous) * deviation_of_both;
        }
        if let Step::Gap { reference, reference_sum, window, window_sum, .. } = *step {
            let gap = Gap { a: start, b: end, f, g };
            let (least, most) = gap.area(Inside::new(reference, reference_sum, n), Inside::new(window, window_sum, m));
            lower += least;
            upper += most;
            bridge += (end - start) * deviation;
            bridges += (end - start) * deviation_of_both;
        }
        below_reference += step.reference();
        below_window += step.window();
        previous = Some(end);
    }
    Areas { lower, upper, bridge, bridges }
}

/// What one sample has inside a gap: how many values, as a share of the sample, and their mean.
#[derive(Clone, Copy)]
struct Inside {
    count: f64,
    sum: f64,
    size: f64,
}

impl Inside {
    fn new(count: u64, sum: f64, size: f64) -> Self {
        Self { count: count as f64, sum, size }
    }
}

/// An open cell `(a, b)` with the two distribution functions at its lower end.
struct Gap {
    a: f64,
    b: f64,
    f: f64,
    g: f64,
}

impl Gap {
    /// The least and the greatest area between F and G that the counts and sums allow.
    fn area(&self, reference: Inside, window: Inside) -> (f64, f64) {
        // ∫F − ∫G over the gap: a step function that rises inside adds its mass times the way to the upper end.
        let integral =
            |level: f64, inside: Inside| level * (self.b - self.a) + (inside.count * self.b - inside.sum) / inside.size;
        let net = (integral(self.f, reference) - integral(self.g, window)).abs();
        if reference.count == 0.0 {
            self.area_of_one(self.f, self.g, window, net)
        } else if window.count == 0.0 {
            self.area_of_one(self.g, self.f, reference, net)
        } else {
            (net, net.max(self.concentrated(reference, window) + self.spread(reference) + self.spread(window)))
        }
    }

    /// One sample rises from `from` while the other stays at `level`.
    fn area_of_one(&self, level: f64, from: f64, inside: Inside, net: f64) -> (f64, f64) {
        let Inside { count: k, sum, size } = inside;
        let p = (level - from) * size;
        if p <= 0.0 || p >= k {
            return (net, net);
        }
        let rest = k - p;
        // Area·size = 2·A − S − p·a + (k − p)·b, where A is the sum of the lowest p.
        let area = |lowest_p: f64| (2.0 * lowest_p - sum - p * self.a + rest * self.b) / size;
        let least = (p * self.a).max(sum - rest * self.b);
        let most = p * sum / k;
        (area(least).max(net), area(most).max(net))
    }

    /// The area when each sample's mass sits at its mean.
    fn concentrated(&self, reference: Inside, window: Inside) -> f64 {
        let (r, w) = (reference.sum / reference.count, window.sum / window.count);
        let (f_after, g_after) = (self.f + reference.count / reference.size, self.g + window.count / window.size);
        let between = if r < w { (f_after - self.g).abs() } else { (self.f - g_after).abs() };
        (r.min(w) - self.a) * (self.f - self.g).abs()
            + (r - w).abs() * between
            + (self.b - r.max(w)) * (f_after - g_after).abs()
    }

    fn spread(&self, inside: Inside) -> f64 {
        let mean = inside.sum / inside.count;
        let width = self.b - self.a;
        if width > 0.0 { inside.count / inside.size * 2.0 * (mean - self.a) * (self.b - mean) / width } else { 0.0 }
    }
}
