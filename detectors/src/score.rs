//! A detector's result: how far, how sure, and what to make of it.

use serde::{Deserialize, Serialize};

use crate::detector::Detector;
use crate::distances::Distance;

/// What the score says.
///
/// A sample's size and a column's own ups and downs are told apart. Too few rows are [`Verdict::NotEnoughData`]: with more of
/// them the same difference would show. Block noise is no lack of rows: it is how far the reference's own stretches lie
/// apart, and a window that lies no further from it is [`Verdict::Ok`] even where that is more than the threshold. How
/// far that is, the score says itself ([`Score::threshold_in_force`]).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Within the limit, and there were rows enough to show a difference that matters.
    Ok,
    /// Larger than what matters and larger than chance.
    Drift,
    /// Too few rows to tell a difference that matters from chance, or too little of the window's time.
    NotEnoughData,
}

/// What a score reaches when nothing has drifted, on the scale of its effect.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Noise {
    /// Exceeded once in a thousand when rows are independent, given the sizes of both samples.
    pub independent: f64,
    /// What the reference's own stretches of the window's length reach against the rest of it: rows that belong together
    /// in time are not independent. None when the reference was built without times.
    pub blocks: Option<f64>,
    /// What the budget of false pages allows, in the place of both; none without a budget, or without the times that it
    /// needs.
    #[serde(default)]
    pub budget: Option<f64>,
}

impl Noise {
    /// What the budget allows; without one, the larger of the other two.
    ///
    /// ```
    /// use driftline_detectors::Noise;
    /// assert_eq!(Noise { independent: 0.02, blocks: Some(0.3), budget: None }.level(), 0.3);
    /// assert_eq!(Noise { independent: 0.02, blocks: None, budget: None }.level(), 0.02);
    /// assert_eq!(Noise { independent: 0.02, blocks: Some(0.3), budget: Some(0.2) }.level(), 0.2);
    /// ```
    pub fn level(&self) -> f64 {
        let chance = self.blocks.map_or(self.independent, |blocks| blocks.max(self.independent));
        self.budget.unwrap_or(chance)
    }
}

/// One detector's result on one column of one window.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Score {
    /// What was measured.
    pub detector: Detector,
    /// The value as the literature defines it. Where counts leave it in an interval, the interval's lower end.
    pub value: f64,
    /// The interval's upper end; equal to `value` when that is exact.
    pub upper: f64,
    /// The value on the scale of the threshold (see [`Detector::effect_unit`]); the lower end, again.
    pub effect: f64,
    /// Between these the effect of the two populations lies in nineteen of twenty pairs of samples, rows being independent.
    pub interval: (f64, f64),
    /// The effect's mean when nothing has drifted: no score of two samples is zero.
    pub null_mean: f64,
    /// Values of the reference that were compared.
    pub n_reference: u64,
    /// Values of the window that were compared.
    pub n_window: u64,
    /// Probability of such a value or a larger one when nothing has drifted and rows are independent, or an upper bound.
    pub p_value: f64,
    /// What chance reaches.
    pub noise: Noise,
    /// The effect from which a difference matters.
    pub threshold: f64,
    /// The conclusion.
    pub verdict: Verdict,
}

impl Score {
    pub(crate) fn judge(detector: Detector, distance: Distance, sizes: (u64, u64), judgement: Judgement) -> Self {
        let noise = Noise { independent: distance.noise, blocks: judgement.blocks, budget: judgement.budget };
        let threshold = judgement.threshold;
        let verdict = if !judgement.window_is_covered || !distance.is_finite() {
            Verdict::NotEnoughData
        } else if distance.effect > threshold.max(noise.level()) {
            Verdict::Drift
        } else if distance.noise <= threshold {
            Verdict::Ok
        } else {
            Verdict::NotEnoughData
        };
        Self {
            detector,
            value: distance.value,
            upper: distance.upper,
            effect: distance.effect,
            interval: distance.interval,
            null_mean: distance.null_mean,
            n_reference: sizes.0,
            n_window: sizes.1,
            p_value: distance.p_value,
            noise,
            threshold,
            verdict,
        }
    }

    /// The effect above which the verdict is drift: what matters, or what chance reaches, whichever is larger.
    ///
    /// ```
    /// use driftline_detectors::{ColumnKind, ReferenceBuilder, Thresholds};
    /// let mut builder = ReferenceBuilder::new("hour", ColumnKind::Numeric);
    /// (0..40).for_each(|i| builder.number(None, f64::from(i % 24)));
    /// let reference = builder.build(None).unwrap();
    /// let ks = reference.scores(&reference.profile(), &Thresholds::default(), true).remove(1);
    /// // Forty rows against forty: chance reaches more than the 0.15 that matter.
    /// assert!(ks.threshold_in_force() > 0.4 && ks.threshold == 0.15);
    /// ```
    pub fn threshold_in_force(&self) -> f64 {
        self.threshold.max(self.noise.level())
    }
}

/// What a verdict rests on besides the distance.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Judgement {
    pub(crate) threshold: f64,
    pub(crate) blocks: Option<f64>,
    pub(crate) budget: Option<f64>,
    /// Whether enough of the window's panes hold rows for it to stand for its stretch of time.
    pub(crate) window_is_covered: bool,
}
