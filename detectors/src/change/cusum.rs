//! CUSUM: deviations in one direction add up, those in the other take away.

use serde::{Deserialize, Serialize};

use super::{Baseline, Change, Direction};
use crate::numeric::is_countable;

/// What a CUSUM goes by, in standard deviations of the stream.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CusumSettings {
    /// What each deviation is shortened by (k), half of the shift that is to be found: 0.5, for one standard deviation.
    pub slack: f64,
    /// How far a sum may go (h): 5. With a slack of 0.5 and normal values a false alarm comes once in 465 values, and a shift
    /// of one standard deviation is found after 10.4 on average (Montgomery, Introduction to Statistical Quality Control,
    /// table 9.3); with 4 it is 168 and 8.4.
    pub limit: f64,
}

impl Default for CusumSettings {
    fn default() -> Self {
        Self { slack: 0.5, limit: 5.0 }
    }
}

/// The tabular, two-sided CUSUM (Page 1954): `C⁺ ← max(0, C⁺ + z − k)` and `C⁻ ← max(0, C⁻ − z − k)` of the standardised
/// values z. A change shows when one passes h, and began where that one last was zero.
///
/// ```
/// use driftline_detectors::change::{Baseline, Cusum, CusumSettings, Direction};
///
/// let known = Baseline::Known { mean: 10.0, standard_deviation: 1.0 };
/// let mut detector = Cusum::new(CusumSettings { limit: 4.0, ..Default::default() }, known);
/// assert_eq!(detector.update(9.5), None);
/// assert_eq!(detector.update(12.0), None);
/// assert_eq!(detector.sums(), (1.5, 0.0));
/// assert_eq!(detector.update(13.0), None);
/// let change = detector.update(11.0).unwrap();
/// assert_eq!((change.direction, change.statistic, change.values), (Direction::Up, 4.5, 3));
/// ```
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Cusum {
    settings: CusumSettings,
    baseline: Baseline,
    above: Sum,
    below: Sum,
}

#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
struct Sum {
    height: f64,
    /// Values since it was zero.
    values: u64,
}

impl Sum {
    fn add(&mut self, deviation: f64) {
        self.height = (self.height + deviation).max(0.0);
        self.values = if self.height > 0.0 { self.values.saturating_add(1) } else { 0 };
    }
}

impl Cusum {
    /// One that has seen nothing.
    ///
    /// ```
    /// use driftline_detectors::change::{Baseline, Cusum, CusumSettings};
    /// let known = Baseline::Known { mean: 0.0, standard_deviation: 1.0 };
    /// let detector = Cusum::new(CusumSettings::default(), known);
    /// assert_eq!(detector.sums(), (0.0, 0.0));
    /// ```
    pub fn new(settings: CusumSettings, baseline: Baseline) -> Self {
        Self { settings, baseline, ..Self::default() }
    }

    /// Takes the next value, and says whether a change shows with it.
    ///
    /// ```
    /// use driftline_detectors::change::{Baseline, Cusum, CusumSettings, Direction};
    /// let known = Baseline::Known { mean: 0.0, standard_deviation: 1.0 };
    /// let mut detector = Cusum::new(CusumSettings { slack: 0.5, limit: 3.0 }, known);
    /// assert_eq!([-1.0, -1.0].map(|value| detector.update(value)), [None, None]);
    /// let change = detector.update(-3.0).unwrap();
    /// assert_eq!((change.direction, change.statistic, change.values), (Direction::Down, 3.5, 3));
    /// ```
    pub fn update(&mut self, value: f64) -> Option<Change> {
        if !is_countable(value) {
            return None;
        }
        let deviations = self.baseline.standardise(value)?;
        let CusumSettings { slack, limit } = self.settings;
        self.above.add(deviations - slack);
        self.below.add(-deviations - slack);
        let (direction, sum) = if self.above.height >= self.below.height {
            (Direction::Up, self.above)
        } else {
            (Direction::Down, self.below)
        };
        (sum.height > limit).then(|| {
            self.reset();
            Change { direction, statistic: sum.height, limit, values: sum.values }
        })
    }

    /// Forgets everything but the settings and a level that is known.
    ///
    /// ```
    /// use driftline_detectors::change::{Baseline, Cusum, CusumSettings};
    /// let known = Baseline::Known { mean: 0.0, standard_deviation: 1.0 };
    /// let mut detector = Cusum::new(CusumSettings::default(), known);
    /// detector.update(2.0);
    /// detector.reset();
    /// assert_eq!(detector.sums(), (0.0, 0.0));
    /// ```
    pub fn reset(&mut self) {
        *self = Self::new(self.settings, self.baseline.anew());
    }

    /// The sum of rises, in limits.
    pub(super) fn rise(&self) -> f64 {
        self.above.height / self.settings.limit
    }

    /// How far the sums of rises and of falls have come.
    ///
    /// ```
    /// use driftline_detectors::change::{Baseline, Cusum, CusumSettings};
    /// let known = Baseline::Known { mean: 0.0, standard_deviation: 1.0 };
    /// let mut detector = Cusum::new(CusumSettings { slack: 0.5, limit: 5.0 }, known);
    /// [2.0, -1.0, 2.0].map(|value| detector.update(value));
    /// assert_eq!(detector.sums(), (1.5, 0.0));
    /// ```
    pub fn sums(&self) -> (f64, f64) {
        (self.above.height, self.below.height)
    }
}
