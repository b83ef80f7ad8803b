//! How far two profiles are apart, each distance with the size that chance alone reaches.
//!
//! Throughout, `n` and `m` are the sizes of reference and window, `s² = 1/n + 1/m`, and the *independent noise* of a
//! score is the value that it exceeds in one of a thousand pairs of samples when nothing has drifted and rows are
//! independent. Where no exact or asymptotic quantile is known, an upper bound of it is used, and the text says so: a
//! score may then stay silent a little longer, but is never cried early.

pub(crate) mod anderson_darling;
pub(crate) mod association;
pub(crate) mod auc;
pub(crate) mod cramer_von_mises;
pub(crate) mod energy;
pub(crate) mod interval;
pub(crate) mod ks;
pub(crate) mod kuiper;
pub(crate) mod mean;
pub(crate) mod missing;
pub(crate) mod mmd;
pub(crate) mod moments;
pub(crate) mod quantile;
pub(crate) mod range;
pub(crate) mod shares;
pub(crate) mod spread;
pub(crate) mod stuck;
pub(crate) mod wasserstein;

/// Independent noise is the quantile that chance exceeds this often.
pub(crate) const NOISE_TAIL: f64 = 0.001;

/// One distance, before anyone judged it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Distance {
    /// The value as the literature defines it; the lower end when it is known only to lie in an interval.
    pub(crate) value: f64,
    /// The upper end of the interval; equal to `value` when that is exact.
    pub(crate) upper: f64,
    /// The value on the scale on which thresholds are given; the lower end, again.
    pub(crate) effect: f64,
    /// Independent noise, on the scale of `effect`.
    pub(crate) noise: f64,
    /// The effect's mean when nothing has drifted.
    pub(crate) null_mean: f64,
    /// Between these the effect of the populations lies in nineteen of twenty pairs of samples.
    pub(crate) interval: (f64, f64),
    /// Probability of a value at least this large under no drift and independent rows, or an upper bound of it.
    pub(crate) p_value: f64,
}

impl Distance {
    /// Whether every number of it is one. A distance that is none says nothing.
    pub(crate) fn is_finite(&self) -> bool {
        let Self { value, upper, effect, noise, null_mean, interval, p_value } = *self;
        [value, upper, effect, noise, null_mean, interval.0, interval.1, p_value]
            .iter()
            .all(|number| number.is_finite())
    }
}

/// The mean of `|Z|` for a standard normal Z, `√(2/π)`.
pub(crate) const MEAN_MAGNITUDE: f64 = 0.797_884_560_802_865_4;

/// `1/n + 1/m`.
pub(crate) fn inverse_sizes(n: u64, m: u64) -> f64 {
    1.0 / n as f64 + 1.0 / m as f64
}
