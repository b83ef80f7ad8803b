//! EWMA: a moving average that forgets, with limits that know its age.

use serde::{Deserialize, Serialize};

use super::{Baseline, Change, Direction};
use crate::numeric::is_countable;

/// What an EWMA goes by.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EwmaSettings {
    /// The newest value's weight (λ): 0.2. Smaller ones find smaller shifts, later.
    pub weight: f64,
    /// The limit in standard deviations of the average (L): 2.962. With a weight of 0.2 and normal values a false alarm comes
    /// once in 500 values, and a shift of one standard deviation is found after 10.5 on average (Lucas & Saccucci 1990).
    pub limit: f64,
}

impl Default for EwmaSettings {
    fn default() -> Self {
        Self { weight: 0.2, limit: 2.962 }
    }
}

/// Roberts' chart (1959) of the standardised values x: `z ← λ·x + (1 − λ)·z`, whose variance after i values is
/// `λ/(2 − λ)·(1 − (1 − λ)²ⁱ)`. A change shows when z is more than L of its standard deviations from zero, and began where z
/// last crossed it.
///
/// ```
/// use driftline_detectors::change::{Baseline, Direction, Ewma, EwmaSettings};
///
/// let known = Baseline::Known { mean: 10.0, standard_deviation: 1.0 };
/// let mut detector = Ewma::new(EwmaSettings { weight: 0.1, limit: 2.7 }, known);
/// // The first values of Montgomery's example 9.2, where z is 9.945 and then 9.7495.
/// assert_eq!((detector.update(9.45), detector.update(7.99)), (None, None));
/// assert!((detector.average() - (9.7495 - 10.0)).abs() < 1e-12);
/// let change = (0..9).find_map(|_| detector.update(8.0)).unwrap();
/// assert_eq!((change.direction, change.values), (Direction::Down, 3));
/// ```
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Ewma {
    settings: EwmaSettings,
    baseline: Baseline,
    average: f64,
    /// `(1 − λ)²ⁱ` after i values; none before the first.
    unsettled: Option<f64>,
    /// Values since the average crossed zero.
    values: u64,
}

impl Ewma {
    /// One that has seen nothing.
    ///
    /// ```
    /// use driftline_detectors::change::{Baseline, Ewma, EwmaSettings};
    /// let known = Baseline::Known { mean: 0.0, standard_deviation: 1.0 };
    /// let detector = Ewma::new(EwmaSettings::default(), known);
    /// assert_eq!(detector.average(), 0.0);
    /// ```
    pub fn new(settings: EwmaSettings, baseline: Baseline) -> Self {
        Self { settings, baseline, ..Self::default() }
    }

    /// Takes the next value, and says whether a change shows with it.
    ///
    /// ```
    /// use driftline_detectors::change::{Baseline, Direction, Ewma, EwmaSettings};
    /// let known = Baseline::Known { mean: 0.0, standard_deviation: 1.0 };
    /// let mut detector = Ewma::new(EwmaSettings { weight: 0.5, limit: 3.0 }, known);
    /// assert_eq!(detector.update(1.0), None);
    /// let change = detector.update(6.0).unwrap();
    /// assert_eq!((change.direction, change.statistic, change.values), (Direction::Up, 3.25, 2));
    /// ```
    pub fn update(&mut self, value: f64) -> Option<Change> {
        if !is_countable(value) {
            return None;
        }
        let deviations = self.baseline.standardise(value)?;
        let EwmaSettings { weight, .. } = self.settings;
        let before = self.average;
        self.average = weight * deviations + (1.0 - weight) * before;
        let stays = self.average * before > 0.0;
        self.values = if stays { self.values.saturating_add(1) } else { 1 };
        self.unsettled = Some(self.unsettled.unwrap_or(1.0) * (1.0 - weight).powi(2));
        let limit = self.limit();
        let (statistic, values) = (self.average.abs(), self.values);
        let direction = if self.average > 0.0 { Direction::Up } else { Direction::Down };
        (statistic > limit).then(|| {
            self.reset();
            Change { direction, statistic, limit, values }
        })
    }

    /// What the average may come to at its age; zero before the first judged value.
    fn limit(&self) -> f64 {
        let EwmaSettings { weight, limit } = self.settings;
        limit * (weight / (2.0 - weight) * (1.0 - self.unsettled.unwrap_or(1.0))).sqrt()
    }

    /// How far the average has risen, in limits.
    pub(super) fn rise(&self) -> f64 {
        let limit = self.limit();
        if limit > 0.0 { self.average.max(0.0) / limit } else { 0.0 }
    }

    /// Forgets everything but the settings and a level that is known.
    ///
    /// ```
    /// use driftline_detectors::change::{Baseline, Ewma, EwmaSettings};
    /// let known = Baseline::Known { mean: 0.0, standard_deviation: 1.0 };
    /// let mut detector = Ewma::new(EwmaSettings::default(), known);
    /// detector.update(1.0);
    /// detector.reset();
    /// assert_eq!(detector.average(), 0.0);
    /// ```
    pub fn reset(&mut self) {
        *self = Self::new(self.settings, self.baseline.anew());
    }

    /// The average, in standard deviations of the stream from its level.
    ///
    /// ```
    /// use driftline_detectors::change::{Baseline, Ewma, EwmaSettings};
    /// let known = Baseline::Known { mean: 0.0, standard_deviation: 1.0 };
    /// let mut detector = Ewma::new(EwmaSettings { weight: 0.5, limit: 3.0 }, known);
    /// [1.0, 2.0].map(|value| detector.update(value));
    /// assert_eq!(detector.average(), 1.25);
    /// ```
    pub fn average(&self) -> f64 {
        self.average
    }
}
