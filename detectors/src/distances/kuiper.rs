//! Kuiper: how far the window's distribution function strays above the reference's, and below it, together.

use super::{Distance, NOISE_TAIL, interval};
use crate::null::kuiper;
use crate::steps::{Step, Steps};

/// `V = sup (F − G) + sup (G − F)`, from 0 to 1 (Kuiper 1960). As sure of the tails as of the middle, and for values that
/// go round, such as hours of the day, the same wherever the round is said to begin. Exact where Kolmogorov-Smirnov's
/// statistic is. The p-value is the limiting one with Stephens' correction, from about eight values in each sample on; with
/// ties it is an upper bound.
pub(crate) fn distance(steps: &Steps) -> Distance {
    let (n, m) = (steps.reference, steps.window);
    let (value, upper) = bounds(steps);
    Distance {
        value,
        upper,
        effect: value,
        noise: kuiper::quantile(NOISE_TAIL, n, m),
        null_mean: kuiper::mean(n, m),
        interval: interval::around_norm((value, upper), kuiper::quantile(interval::OUTSIDE, n, m)),
        p_value: kuiper::tail(value, n, m),
    }
}

/// The same without what chance makes of it.
pub(crate) fn effect(steps: &Steps) -> f64 {
    bounds(steps).0
}

fn bounds(steps: &Steps) -> (f64, f64) {
    let (n, m) = (i128::from(steps.reference), i128::from(steps.window));
    let (mut x, mut at_edges, mut anywhere) = (0i128, (0i128, 0i128), (0i128, 0i128));
    for step in &steps.steps {
        let (up, down) = (i128::from(step.reference()) * m, i128::from(step.window()) * n);
        if matches!(step, Step::Gap { .. }) {
            anywhere = (anywhere.0.max(x + up), anywhere.1.max(down - x));
        }
        x += up - down;
        at_edges = (at_edges.0.max(x), at_edges.1.max(-x));
        anywhere = (anywhere.0.max(x), anywhere.1.max(-x));
    }
    let scale = n as f64 * m as f64;
    ((at_edges.0 + at_edges.1) as f64 / scale, (anywhere.0 + anywhere.1) as f64 / scale)
}
