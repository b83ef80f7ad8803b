//! Cramér-von Mises: the squared gap between the two distribution functions, summed over the pooled sample.

use super::{Distance, interval, inverse_sizes};
use crate::null::cramer_von_mises;
use crate::steps::{Step, Steps};

/// The two-sample statistic T of Anderson (1962) with mid-ranks for ties, as SciPy's `cramervonmises_2samp` has it.
///
/// With ranks `r_i` of the reference and `s_j` of the window in the pooled sample,
/// `U = n·Σ(r_i − i)² + m·Σ(s_j − j)²` and `T = U/(nm(n+m)) − (4nm − 1)/(6(n+m))`. The second term is what U holds anyway,
/// and subtracting it at the end loses digits; here it is subtracted step by step, which leaves
/// `T = Σ C / (nm(n+m))` over the values, where a value that the reference holds a times and the window b times, with
/// `x = m·A − n·B` from the A and B values below it, adds
///
/// ```text
///   C = [ Σ_{k≤a} (x + km)² + Σ_{k≤b} (x + am − kn)² ] / (n+m)
///       − abx + ab(nb − 3ma)/4 + n·a(a² − 1)/12 + m·b(b² − 1)/12
/// ```
///
/// In a gap, order and ties are unknown: one sample alone there has from none to all of its values tied, and where both
/// are, each value meets an `(F − G)²` within what the ends of the gap allow.
///
/// With ties T says more than that: mid-ranks leave the order of a value's own rows in it, and where one sample is much larger
/// than the other, T of two samples of the same 69 temperatures is in the hundreds. So effect, noise and p-value are those
/// of the integral that T stands for, `∫(F − G)² dH` with the mean of its ends on each atom of H. Without ties it is
/// `T·(n+m)/(nm)` exactly, and with them chance reaches less of it: its mean is a sum over the trapezoids of `h(1 − h)`,
/// which is concave, so the limiting distribution is an upper bound. It does not grow with the samples.
pub(crate) fn distance(steps: &Steps) -> Distance {
    let (value, upper) = bounds(steps);
    let to_effect = inverse_sizes(steps.reference, steps.window);
    let (effect, most) = integral(steps);
    let sizes = (steps.reference + steps.window) as f64;
    Distance {
        value,
        upper,
        effect,
        noise: cramer_von_mises::QUANTILE_999 * to_effect,
        null_mean: (1.0 + 1.0 / sizes) / 6.0 * to_effect,
        interval: interval::around_square((effect, most), cramer_von_mises::QUANTILE_95 * to_effect),
        p_value: cramer_von_mises::tail(effect / to_effect, steps.reference, steps.window),
    }
}

/// The same without what chance makes of it.
pub(crate) fn effect(steps: &Steps) -> f64 {
    integral(steps).0
}

/// `∫(F − G)² dH` with the pooled sample's H: between which two values it lies.
fn integral(steps: &Steps) -> (f64, f64) {
    let (n, m) = (steps.reference as f64, steps.window as f64);
    let mut x = 0.0;
    let (mut lowest, mut highest) = (0.0, 0.0);
    for step in &steps.steps {
        let (a, b) = (step.reference() as f64, step.window() as f64);
        let next = x + a * m - b * n;
        let of_ends = (x * x + next * next) / 2.0;
        let (least, most) = match step {
            Step::Point { .. } => (of_ends, of_ends),
            // All at one value, or each at its own.
            Step::Gap { .. } if a == 0.0 || b == 0.0 => {
                let own = (next - x) / (a + b);
                let apart = sum_of_squares(x, own, a + b) - (next * next - x * x) / 2.0;
                (apart / (a + b), of_ends)
            }
            Step::Gap { .. } => {
                let (low, high) = (x - b * n, x + a * m);
                let nearest = if low <= 0.0 && high >= 0.0 { 0.0 } else { low.abs().min(high.abs()) };
                (nearest * nearest, low.abs().max(high.abs()).powi(2))
            }
        };
        lowest += (a + b) * least;
        highest += (a + b) * most;
        x = next;
    }
    let scale = (n * m).powi(2) * (n + m);
    (lowest / scale, highest / scale)
}

/// T, at the least and at the most.
fn bounds(steps: &Steps) -> (f64, f64) {
    let (n, m) = (steps.reference as f64, steps.window as f64);
    let mut x = 0.0;
    let (mut lowest, mut highest) = (0.0, 0.0);
    for step in &steps.steps {
        let (a, b) = (step.reference() as f64, step.window() as f64);
        let in_order = (sum_of_squares(x, m, a) + sum_of_squares(x + a * m, -n, b)) / (n + m);
        let ties = n * a * (a * a - 1.0) / 12.0 + m * b * (b * b - 1.0) / 12.0;
        let (least, most) = match step {
            Step::Point { .. } => {
                let exact = in_order - a * b * x + a * b * (n * b - 3.0 * m * a) / 4.0 + ties;
                (exact, exact)
            }
            Step::Gap { .. } if a == 0.0 || b == 0.0 => (in_order, in_order + ties),
            Step::Gap { .. } => {
                let (low, high) = (x - b * n, x + a * m);
                let nearest = if low <= 0.0 && high >= 0.0 { 0.0 } else { low.abs().min(high.abs()) };
                let farthest = low.abs().max(high.abs());
                let values = (a + b) / (n + m);
                (values * nearest * nearest, values * farthest * farthest + ties)
            }
        };
        lowest += least;
        highest += most;
        x += a * m - b * n;
    }
    let scale = n * m * (n + m);
    (lowest / scale, highest / scale)
}

/// `Σ_{k=1..count} (start + k·step)²`.
fn sum_of_squares(start: f64, step: f64, count: f64) -> f64 {
    count * start * start
        + start * step * count * (count + 1.0)
        + step * step * count * (count + 1.0) * (2.0 * count + 1.0) / 6.0
}
