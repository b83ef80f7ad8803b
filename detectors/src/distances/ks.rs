//! Kolmogorov-Smirnov: the largest gap between the two distribution functions.

use super::{Distance, NOISE_TAIL, interval, inverse_sizes};
use crate::null::{kolmogorov, lattice_paths};
use crate::steps::{Step, Steps};

/// `sup |F − G|`, from 0 to 1. Exact when no reference value lies strictly inside an open cell: F is then flat where G
/// is unknown, so the supremum is at an edge. Otherwise the interval's width is at most the largest share that either
/// sample has inside a cell which both occupy.
///
/// For small samples the p-value is exact, that of SciPy's `ks_2samp(method="exact")`, and an upper bound with ties; from
/// a hundred thousand pairs of values on it is that of `method="asymp"`.
pub(crate) fn distance(steps: &Steps) -> Distance {
    let (n, m) = (steps.reference, steps.window);
    let (at_edges, anywhere) = gaps(steps);
    let scale = n as f64 * m as f64;
    let (value, upper) = (at_edges as f64 / scale, anywhere as f64 / scale);
    let effective = (scale / (n + m) as f64).round_ties_even() as u64;
    let is_small = n.checked_mul(m).is_some_and(|cells| cells <= lattice_paths::MAX_CELLS);
    let chance_reaches = |tail: f64| (-(tail / 2.0).ln() / 2.0 * inverse_sizes(n, m)).sqrt();
    Distance {
        value,
        upper,
        effect: value,
        noise: chance_reaches(NOISE_TAIL),
        null_mean: MEAN_OF_KOLMOGOROV * inverse_sizes(n, m).sqrt(),
        interval: interval::around_norm((value, upper), chance_reaches(interval::OUTSIDE)),
        p_value: if is_small { lattice_paths::tail(n, m, at_edges) } else { kolmogorov::tail(effective, value) },
    }
}

/// The same without what chance makes of it.
pub(crate) fn effect(steps: &Steps) -> f64 {
    gaps(steps).0 as f64 / (steps.reference as f64 * steps.window as f64)
}

/// The mean of Kolmogorov's distribution, `√(π/2)·ln 2`.
const MEAN_OF_KOLMOGOROV: f64 = 0.868_731_160_636_159_6;

/// The largest gap at the edges of cells, and anywhere; exact in integers, `|A·m − B·n|`.
fn gaps(steps: &Steps) -> (u128, u128) {
    let (n, m) = (steps.reference, steps.window);
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
    (at_edges, anywhere.max(at_edges))
}
