//! Association: the pair of columns that goes together otherwise than it did.

use super::{Distance, NOISE_TAIL, interval};
use crate::associations::{AssociationProfile, Associations, fisher_z};
use crate::contingencies::{Contingencies, Contingency, ContingencyProfile};
use crate::null::tails::{normal_quantile, normal_tail};

/// Where the mean of the largest of many lies among its quantiles: `exp(−e^(−γ))`, that of Gumbel's distribution.
const MEAN_OF_LARGEST: f64 = 0.570_376_001_675_023_1;

/// A pair of columns before and now.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct PairChange {
    /// Its columns, by their places.
    pub(crate) columns: (usize, usize),
    /// Its correlation in the reference; Cramér's V of names.
    pub(crate) before: f64,
    /// The same in the window.
    pub(crate) now: f64,
    /// The difference of Fisher's z, or of V.
    value: f64,
    /// Its magnitude, on the scale of what matters: of numbers, that of a normal pair.
    pub(crate) effect: f64,
    /// The standard deviation of the effect when nothing has drifted.
    deviation: f64,
}

/// All pairs whose correlations are known on both sides.
pub(crate) fn changes(
    associations: &Associations,
    reference: &AssociationProfile,
    window: &AssociationProfile,
) -> Vec<PairChange> {
    let change = |(pair, columns): (usize, (usize, usize))| {
        let ((n, before), (m, now)) = (reference.correlation(pair)?, window.correlation(pair)?);
        let value = fisher_z(now) - fisher_z(before);
        let effect = value.abs() / associations.spreads[pair].sqrt();
        Some(PairChange { columns, before, now, value, effect, deviation: (1.0 / (n - 3.0) + 1.0 / (m - 3.0)).sqrt() })
    };
    associations.pairs().enumerate().filter_map(change).collect()
}

/// The same of columns of names, by Cramér's V: the root of Pearson's chi-square over rows and the lesser number of names less
/// one, from 0 to 1.
///
/// A small sample's V is too large, so the window's is held against what samples of its size have in the mean when the
/// reference's is right. Both are in the reference's dimensions: a name that is gone is for other scores to say. The deviation
/// is that of both samples, as the reference's table has it ([`Contingency::in_samples`]).
pub(crate) fn changes_of_names(
    contingencies: &Contingencies,
    reference: &ContingencyProfile,
    window: &ContingencyProfile,
) -> Vec<PairChange> {
    let change = |(pair, (i, j)): (usize, (usize, usize))| {
        let of = |profile: &ContingencyProfile| Contingency::of(&profile.tables[pair], contingencies.codes[j]);
        let (before, now) = (of(reference)?, of(window)?);
        let ((_, of_reference), (expected, of_window)) = (before.in_samples(before.n), before.in_samples(now.n));
        let value = before.v_of(&now) - expected;
        let deviation = (of_reference + of_window).sqrt();
        Some(PairChange { columns: (i, j), before: before.v(), now: now.v(), value, effect: value.abs(), deviation })
    };
    contingencies.pairs().enumerate().filter_map(change).collect()
}

/// The change that stands out most from its own noise.
pub(crate) fn most(changes: &[PairChange]) -> Option<&PairChange> {
    let stands_out = |change: &PairChange| change.effect / change.deviation;
    changes.iter().max_by(|a, b| stands_out(a).total_cmp(&stands_out(b)))
}

/// What the effect of a pair reaches when nothing has drifted, in one of so many windows.
pub(crate) fn noise(change: &PairChange, pairs: usize) -> f64 {
    largest(NOISE_TAIL, pairs) * change.deviation
}

/// Of all pairs of columns of numbers, that whose Pearson correlation changed most beyond its noise: Fisher's
/// `z = artanh r` of the window less that of the reference, of either sign. The effect is its magnitude over the root of the pair's
/// spread, which is 1 of normal pairs: so that what matters is the same for all.
///
/// Under no drift Fisher's z is close to normal with the variance `1/(n − 3)` times the spread (Fisher 1921; Hawkins 1989,
/// The American Statistician 43, for what is not normal). The largest of P pairs is held against `1 − (1 − p)^(1/P)`
/// (Šidák 1967), which is an upper bound where pairs go together.
///
/// Of names it is the change of Cramér's V ([`changes_of_names`]), close to normal as well.
///
/// None when no pair has ten rows with both on either side, and varies there.
pub(crate) fn distance(changes: &[PairChange]) -> Option<Distance> {
    let change = most(changes)?;
    let pairs = changes.len();
    let of_one = (2.0 * normal_tail(change.effect / change.deviation)).min(1.0);
    Some(Distance {
        value: change.value,
        upper: change.value,
        effect: change.effect,
        noise: noise(change, pairs),
        null_mean: largest(1.0 - MEAN_OF_LARGEST, pairs) * change.deviation,
        interval: interval::around_norm(
            (change.effect, change.effect),
            largest(interval::OUTSIDE, pairs) * change.deviation,
        ),
        p_value: -(pairs as f64 * (-of_one).ln_1p()).exp_m1(),
    })
}

/// What the largest magnitude of so many independent standard normals exceeds with this probability.
fn largest(tail: f64, of: usize) -> f64 {
    let of_one = -((-tail).ln_1p() / of as f64).exp_m1();
    normal_quantile(of_one / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_of_one_is_a_normal_and_that_of_many_lies_higher() {
        assert!((largest(0.05, 1) - 1.959_963_984_540_054).abs() < 1e-9);
        // scipy.stats: norm.isf((1 - 0.95 ** (1 / 120)) / 2)
        assert!((largest(0.05, 120) - 3.522_589_463_896_65).abs() < 1e-6, "{}", largest(0.05, 120));
    }
}
