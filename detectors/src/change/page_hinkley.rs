//! Page-Hinkley: how far a stream has come from its own mean so far, in one sum.

use serde::{Deserialize, Serialize};

use super::{Change, Direction};
use crate::numeric::is_countable;

/// What a Page-Hinkley detector goes by. The defaults are river's; limit and tolerance are in the stream's units, and a
/// stream of scores wants smaller ones.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PageHinkleySettings {
    /// Values before the first judgement: 30.
    pub min_values: u64,
    /// Deviations from the mean that are let pass (δ): 0.005.
    pub tolerance: f64,
    /// How far the sum may go from its extreme (λ): 50.
    pub limit: f64,
    /// What is left of the sum from one value to the next (α), so that old deviations fade: 0.9999.
    pub memory: f64,
}

impl Default for PageHinkleySettings {
    fn default() -> Self {
        Self { min_values: 30, tolerance: 0.005, limit: 50.0, memory: 0.9999 }
    }
}

/// Page's test (1954) with Hinkley's running mean (1971), in both directions at once.
///
/// Of every value its deviation from the mean of all so far is added to a sum that fades, `m ← α·m + (x − x̄) − δ`. A rise
/// shows when the sum is more than λ above its smallest, and the change began there; a fall the other way round. Step by
/// step the same as river's `PageHinkley(mode="both")`.
///
/// ```
/// use driftline_detectors::change::{Direction, PageHinkley, PageHinkleySettings};
///
/// let mut detector = PageHinkley::new(PageHinkleySettings { limit: 2.0, min_values: 5, ..Default::default() });
/// let stream = [0.1, 0.0, 0.1, 0.0, 0.0, 1.0, 1.1, 1.0, 1.1];
/// let changes: Vec<_> = stream.iter().enumerate().filter_map(|(at, x)| Some((at, detector.update(*x)?))).collect();
/// assert_eq!((changes[0].0, changes[0].1.direction, changes[0].1.values), (7, Direction::Up, 3));
/// ```
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct PageHinkley {
    settings: PageHinkleySettings,
    n: u64,
    mean: f64,
    rise: Extreme,
    fall: Extreme,
}

/// A sum, and where it turned. Falls are rises of the negated stream, so the extreme is a minimum in both.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
struct Extreme {
    sum: f64,
    lowest: f64,
    /// Values since the sum was lowest.
    since: u64,
}

impl Extreme {
    fn add(&mut self, deviation: f64, settings: &PageHinkleySettings, is_first: bool) {
        self.sum = settings.memory * self.sum + deviation - settings.tolerance;
        if is_first || self.sum < self.lowest {
            self.lowest = self.sum;
            self.since = 0;
        } else {
            self.since = self.since.saturating_add(1);
        }
    }

    fn height(&self) -> f64 {
        self.sum - self.lowest
    }
}

impl PageHinkley {
    /// One that has seen nothing.
    ///
    /// ```
    /// use driftline_detectors::change::{PageHinkley, PageHinkleySettings};
    /// let detector = PageHinkley::new(PageHinkleySettings { limit: 1.0, ..Default::default() });
    /// assert_eq!(detector.heights(), (0.0, 0.0));
    /// ```
    pub fn new(settings: PageHinkleySettings) -> Self {
        Self { settings, ..Self::default() }
    }

    /// Takes the next value, and says whether a change shows with it.
    ///
    /// ```
    /// use driftline_detectors::change::{Direction, PageHinkley, PageHinkleySettings};
    /// let mut detector = PageHinkley::new(PageHinkleySettings { limit: 1.0, min_values: 3, ..Default::default() });
    /// assert_eq!([5.0, 5.0, 5.0].map(|value| detector.update(value)), [None; 3]);
    /// let change = detector.update(3.0).unwrap();
    /// assert_eq!((change.direction, change.values), (Direction::Down, 1));
    /// ```
    pub fn update(&mut self, value: f64) -> Option<Change> {
        if !is_countable(value) {
            return None;
        }
        let is_first = self.n == 0;
        self.n = self.n.saturating_add(1);
        self.mean += (value - self.mean) / self.n as f64;
        let deviation = value - self.mean;
        self.rise.add(deviation, &self.settings, is_first);
        self.fall.add(-deviation, &self.settings, is_first);
        if self.n < self.settings.min_values {
            return None;
        }
        let (direction, extreme) = if self.rise.height() >= self.fall.height() {
            (Direction::Up, self.rise)
        } else {
            (Direction::Down, self.fall)
        };
        let limit = self.settings.limit;
        (extreme.height() > limit).then(|| {
            self.reset();
            Change { direction, statistic: extreme.height(), limit, values: extreme.since.max(1) }
        })
    }

    /// How far the sum of rises has come, in limits; zero while it says nothing.
    pub(super) fn rise(&self) -> f64 {
        if self.n < self.settings.min_values { 0.0 } else { self.rise.height() / self.settings.limit }
    }

    /// Forgets everything but the settings.
    ///
    /// ```
    /// use driftline_detectors::change::PageHinkley;
    /// let mut detector = PageHinkley::default();
    /// detector.update(1.0);
    /// detector.reset();
    /// assert_eq!(detector, PageHinkley::default());
    /// ```
    pub fn reset(&mut self) {
        *self = Self::new(self.settings);
    }

    /// How far the sums are above and below their extremes.
    ///
    /// ```
    /// use driftline_detectors::change::{PageHinkley, PageHinkleySettings};
    /// let exact = PageHinkleySettings { tolerance: 0.0, memory: 1.0, ..Default::default() };
    /// let mut detector = PageHinkley::new(exact);
    /// [1.0, 3.0].map(|value| detector.update(value));
    /// assert_eq!(detector.heights(), (1.0, 0.0));
    /// ```
    pub fn heights(&self) -> (f64, f64) {
        (self.rise.height(), self.fall.height())
    }
}
