//! Kolmogorov-Smirnov: the largest gap between the two distribution functions.

use super::{Distance, NOISE_TAIL, inverse_sizes};
use crate::null::kolmogorov;
use crate::steps::{Step, Steps};

/// `sup |F − G|`, from 0 to 1. Exact when no reference value lies strictly inside an open cell: F is then flat where G
/// is unknown, so the supremum is at an edge. Otherwise the interval's width is at most the largest share that either
/// sample has inside a cell which both occupy. The p-value is that of SciPy's `ks_2samp(method="asymp")`.
pub(crate) fn distance(steps: &Steps) -> Distance {
    let (n, m) = (steps.reference, steps.window);
    let (value, upper) = statistic(steps);
    let effective = (n as f64 * m as f64 / (n + m) as f64).round_ties_even() as u64;
    Distance {
        value,
        upper,
        effect: value,
        noise: (-(NOISE_TAIL / 2.0).ln() / 2.0 * inverse_sizes(n, m)).sqrt(),
        p_value: kolmogorov::tail(effective, value),
    }
}

/// The largest gap, at the least and at the most.
pub(crate) fn statistic(steps: &Steps) -> (f64, f64) {
    let (n, m) = (steps.reference, steps.window);
    // Exact in integers: |A·m − B·n| / (n·m).
    let gap = |a: u64, b: u64| (i128::from(a) * i128::from(m) - i128::from(b) * i128::from(n)).unsigned_abs();
    let (mut below_reference, mut below_window) = (0, 0);
    let (mut at_edges, mut anywhere) = (0, 0);
    for step in &steps.steps {
        let (reference, window) = (below_reference + step.reference(), below_window + step.window());
        at_edges = at_edges.max(gap(reference, window));
        if matches!(step, Step::Gap { .. }) && step.reference() > 0 && step.window() > 0 {
            anywhere = anywhere.max(gap(reference, below_window)).max(gap(below_reference, window));
        }
        (below_reference, below_window) = (reference, window);
    }
    let scale = n as f64 * m as f64;
    (at_edges as f64 / scale, anywhere.max(at_edges) as f64 / scale)
}
