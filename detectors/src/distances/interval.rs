//! Intervals of confidence for effects: between which bounds that of the two populations lies.
//!
//! A score of two samples lies above that of their populations: the distance of two equal populations is zero, that of their
//! samples is not. So an interval is not laid around the effect, but around what is left of it without chance. Three ways,
//! by the kind of the score, each for nineteen of twenty pairs of samples with independent rows:
//!
//! * **norms** of `F − G` (Kolmogorov-Smirnov, Wasserstein, total variation, …): by the triangle inequality the samples'
//!   differs from the populations' by no more than the norm of the samples' errors, which is what no drift looks like. So
//!   the interval is the effect give or take what chance exceeds once in twenty. It is wider than it need be;
//! * **sums over cells** (PSI and its kin): by the delta method far from zero, and by the chance of no drift near to it. A
//!   non-central chi-square of k degrees with non-centrality λ has the mean k + λ and the variance 2k + 4λ; so a sum
//!   whose populations' value is S is expected at `μ₀ + S`, with the variance `σ₀² + c·S`. The interval holds each S that
//!   is not refuted by that, as Wilson's (1927) does for a share;
//! * **shares and moments**: Newcombe's (1998, Statistics in Medicine 17, method 10), DeLong's (1988), and the
//!   textbooks' with the spread of each sample.

use crate::null::chance_sum::ChanceSum;

/// An effect lies outside its interval this often.
pub(crate) const OUTSIDE: f64 = 0.05;
/// A standard normal is beyond it, on either side, this often.
pub(crate) const DEVIATIONS: f64 = 1.959_963_984_540_054;

/// Of a norm between these bounds that chance brings this far.
pub(crate) fn around_norm((lower, upper): (f64, f64), reach: f64) -> (f64, f64) {
    ((lower - reach).max(0.0), upper + reach)
}

/// Of a squared norm between these bounds whose square chance brings this far.
pub(crate) fn around_square((lower, upper): (f64, f64), reach: f64) -> (f64, f64) {
    let root = |square: f64| square.max(0.0).sqrt();
    let (low, high) = around_norm((root(lower), root(upper)), root(reach));
    (low * low, high * high)
}

/// Of a sum over cells with what chance makes of it, and its variance by the delta method.
pub(crate) fn around_sum(sum: f64, chance: ChanceSum, variance: f64) -> (f64, f64) {
    let square = DEVIATIONS * DEVIATIONS;
    let beyond_chance = sum - chance.mean;
    let slope = if sum > 0.0 { square * variance / sum } else { 0.0 };
    let centre = beyond_chance + slope / 2.0;
    let reach = (slope * beyond_chance + slope * slope / 4.0 + square * chance.variance).max(0.0).sqrt();
    ((centre - reach).max(0.0), (centre + reach).max(0.0))
}

/// Of a number without its sign.
pub(crate) fn of_magnitude(low: f64, high: f64) -> (f64, f64) {
    let farthest = low.abs().max(high.abs());
    if low <= 0.0 && high >= 0.0 { (0.0, farthest) } else { (low.abs().min(high.abs()), farthest) }
}

/// Of a share that was seen as so many of so many (Wilson 1927).
pub(crate) fn of_share(seen: u64, rows: u64) -> (f64, f64) {
    let (seen, rows, square) = (seen as f64, rows as f64, DEVIATIONS * DEVIATIONS);
    let centre = (seen + square / 2.0) / (rows + square);
    let reach = DEVIATIONS * (seen * (rows - seen) / rows + square / 4.0).max(0.0).sqrt() / (rows + square);
    ((centre - reach).max(0.0), (centre + reach).min(1.0))
}

/// Of by how much a share of the window exceeds the reference's; each as seen, and of rows (reference, window).
pub(crate) fn of_excess(seen: (u64, u64), rows: (u64, u64)) -> (f64, f64) {
    let (p, q) = (seen.0 as f64 / rows.0 as f64, seen.1 as f64 / rows.1 as f64);
    let ((p_low, p_high), (q_low, q_high)) = (of_share(seen.0, rows.0), of_share(seen.1, rows.1));
    let low = q - p - (q - q_low).hypot(p_high - p);
    let high = q - p + (q_high - q).hypot(p - p_low);
    (low.max(0.0), high.max(0.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_have_wilsons_and_newcombes_intervals() {
        // statsmodels: proportion_confint(12, 80, method="wilson"); Newcombe (1998), table II, 56/70 − 48/80.
        let (low, high) = of_share(12, 80);
        assert!((low - 0.087_927_96).abs() < 1e-4 && (high - 0.243_923_2).abs() < 1e-3, "{low} {high}");
        let (low, high) = of_excess((48, 56), (80, 70));
        assert!((low - 0.0524).abs() < 1e-4 && (high - 0.3339).abs() < 1e-4, "{low} {high}");
    }

    #[test]
    fn what_chance_makes_is_taken_off_a_sum() {
        let chance = ChanceSum { mean: 9.0, variance: 18.0, third: 72.0 };
        assert_eq!(around_sum(9.0, chance, 36.0).0, 0.0);
        // Far from zero it is the delta method's.
        let (low, high) = around_sum(10_009.0, chance, 40_036.0);
        let reach = DEVIATIONS * 200.0;
        assert!((low - (10_000.0 - reach)).abs() < 10.0 && (high - (10_000.0 + reach)).abs() < 10.0, "{low} {high}");
    }

    #[test]
    fn a_number_that_may_have_either_sign_may_be_zero() {
        assert_eq!(of_magnitude(-1.0, 3.0), (0.0, 3.0));
        assert_eq!(of_magnitude(-3.0, -1.0), (1.0, 3.0));
    }
}
