//! Maximum mean discrepancy: how far the means of vectors' random features lie apart.

use super::{Distance, NOISE_TAIL, interval, inverse_sizes};
use crate::null::chance_sum::ChanceSum;
use crate::vectors::{Kernel, VectorProfile};

/// The mean of the root of a standard normal's positive part, `2^¼·Γ(¾)/2√π`.
const MEAN_ROOT: f64 = 0.411_089_479_331_229_4;

/// The squared maximum mean discrepancy of the two samples, unbiased (Gretton et al. 2012, JMLR 13, lemma 6), for the kernel
/// that the random features stand for: `Σ_{i≠j} k(xᵢ, xⱼ)/n(n − 1) + Σ_{i≠j} k(yᵢ, yⱼ)/m(m − 1) − 2·Σ k(xᵢ, yⱼ)/nm`. It may be
/// a little below zero. The effect is its root: the distance, from 0 to √2.
///
/// Under no drift the difference of the means is normal with the features' covariance Σ times `s²`, so that its square is
/// `s²·Σ λ_j·Z_j²` with the eigenvalues of Σ, and the unbiased value that less its mean. Its tail follows from the traces of Σ,
/// Σ² and Σ³, which the reference knows.
///
/// None when a sample has but one vector.
pub(crate) fn distance(kernel: &Kernel, reference: &VectorProfile, window: &VectorProfile) -> Option<Distance> {
    let value = square(kernel, reference, window)?;
    let chance = ChanceSum::of_squares(inverse_sizes(reference.rows, window.rows), kernel.traces());
    let unbiased = ChanceSum { mean: 0.0, ..chance };
    let root = |square: f64| square.max(0.0).sqrt();
    // The samples' means themselves lie that far apart; the triangle's inequality holds for them.
    let apart = value + chance.mean;
    Some(Distance {
        value,
        upper: value,
        effect: root(value),
        noise: root(unbiased.quantile(NOISE_TAIL)),
        null_mean: MEAN_ROOT * chance.variance.powf(0.25),
        interval: interval::around_norm((root(apart), root(apart)), root(chance.quantile(interval::OUTSIDE))),
        p_value: unbiased.tail(value),
    })
}

/// The same without what chance makes of it.
pub(crate) fn effect(kernel: &Kernel, reference: &VectorProfile, window: &VectorProfile) -> Option<f64> {
    Some(square(kernel, reference, window)?.max(0.0).sqrt())
}

fn square(kernel: &Kernel, reference: &VectorProfile, window: &VectorProfile) -> Option<f64> {
    if reference.rows < 2 || window.rows < 2 {
        return None;
    }
    let frequencies = kernel.features() as f64 / 2.0;
    let (n, m) = (reference.rows as f64, window.rows as f64);
    let (mut of_reference, mut of_window, mut between) = (0.0, 0.0, 0.0);
    for (p, q) in reference.means().zip(window.means()) {
        of_reference += p * p / frequencies;
        of_window += q * q / frequencies;
        between += p * q / frequencies;
    }
    // Each vector's product with itself is one, and none of it.
    let without_itself = |sum: f64, rows: f64| (sum * rows - 1.0) / (rows - 1.0);
    Some(without_itself(of_reference, n) + without_itself(of_window, m) - 2.0 * between)
}
