//! Change over time: has a stream of scores or metrics left its level, which way, and since when.
//!
//! A score compares a window with its reference; a *change detector* compares a stream with its own past. Each of them
//! takes one value at a time, keeps a state that is small, bounded and serialisable, and says of a value by which a change
//! shows how many of the last ones already belong to it.
//!
//! | detector | finds best | its limit comes from |
//! |---|---|---|
//! | [`Cusum`] | small, lasting shifts of a known size | the run length between false alarms, in standard deviations |
//! | [`Ewma`] | small shifts, with a level that can be drawn | the same |
//! | [`PageHinkley`] | shifts of a stream whose level is not known before | the stream's own units |
//! | [`Adwin`] | shifts of any size and pace, at the price of some delay | the chance of a false alarm |
//! | [`Kswin`] | changes of a whole distribution, on counts | a p-value and what matters |
//!
//! All look for rises and falls. Values that are no numbers (NaN, infinite, or beyond [`MAX_MAGNITUDE`](crate::MAX_MAGNITUDE))
//! say nothing and change nothing. A detector that found a change begins anew from there; [`Adwin`] keeps what it has
//! since.
//!
//! Where the history is at hand as a whole, [`Stream::standing`] says how it stands with its newest value, and [`onset()`]
//! when its change began, with an interval.
//!
//! ```
//! use driftline_detectors::change::{ChangeDetector, Cusum, Direction};
//!
//! let mut detector = ChangeDetector::Cusum(Cusum::default());
//! let quiet = [0.11, 0.09, 0.12, 0.10, 0.08, 0.11, 0.10, 0.09, 0.12, 0.10, 0.11, 0.09];
//! assert!(quiet.iter().all(|psi| detector.update(*psi).is_none()));
//! let changes = [0.15, 0.16, 0.15, 0.17].map(|psi| detector.update(psi));
//! let change = changes.into_iter().flatten().next().unwrap();
//! assert_eq!((change.direction, change.values), (Direction::Up, 3));
//! ```

mod adwin;
mod baseline;
mod cusum;
mod ewma;
mod kswin;
mod onset;
mod page_hinkley;
mod standing;

use serde::{Deserialize, Serialize};

pub use adwin::{Adwin, AdwinSettings};
pub use baseline::Baseline;
pub use cusum::{Cusum, CusumSettings};
pub use ewma::{Ewma, EwmaSettings};
pub use kswin::{Kswin, KswinSettings, MAX_PANES, PaneComparison};
pub use onset::{MAX_HISTORY, Onset, onset};
pub use page_hinkley::{PageHinkley, PageHinkleySettings};
pub use standing::{ChangeKind, MIN_STREAM, STAYS_FOR, Standing, Stream};

/// Which way a stream left its level.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// It rose.
    Up,
    /// It fell.
    Down,
}

/// A change that showed with the newest value.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Change {
    /// Which way.
    pub direction: Direction,
    /// How far the detector's statistic came, on the scale of the limit.
    pub statistic: f64,
    /// What it passed.
    pub limit: f64,
    /// How many of the last values belong to the change as the detector sees it, the newest among them. At least one.
    pub values: u64,
}

/// One of the detectors that take a value at a time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum ChangeDetector {
    /// Page and Hinkley's.
    PageHinkley(PageHinkley),
    /// The tabular cumulative sum.
    Cusum(Cusum),
    /// The exponentially weighted moving average.
    Ewma(Ewma),
    /// The adaptive window.
    Adwin(Adwin),
}

impl ChangeDetector {
    /// Takes the next value, and says whether a change shows with it.
    ///
    /// ```
    /// use driftline_detectors::change::{Adwin, AdwinSettings, ChangeDetector};
    /// let mut detector = ChangeDetector::Adwin(Adwin::new(AdwinSettings { clock: 1, ..Default::default() }));
    /// assert!((0..50).all(|_| detector.update(0.1).is_none()));
    /// assert!((0..50).any(|_| detector.update(0.9).is_some()));
    /// ```
    pub fn update(&mut self, value: f64) -> Option<Change> {
        match self {
            Self::PageHinkley(detector) => detector.update(value),
            Self::Cusum(detector) => detector.update(value),
            Self::Ewma(detector) => detector.update(value),
            Self::Adwin(detector) => detector.update(value),
        }
    }

    /// How far a rise has come, in limits: with the value that takes it past 1 a change shows, and it begins anew.
    /// [`Adwin`] has no such sum: it looks at all cuts of its window, and says zero.
    ///
    /// ```
    /// use driftline_detectors::change::{Baseline, ChangeDetector, Cusum, CusumSettings};
    /// let known = Baseline::Known { mean: 0.0, standard_deviation: 1.0 };
    /// let mut detector = ChangeDetector::Cusum(Cusum::new(CusumSettings { slack: 0.5, limit: 5.0 }, known));
    /// detector.update(3.0);
    /// assert_eq!(detector.rise(), 0.5);
    /// ```
    pub fn rise(&self) -> f64 {
        match self {
            Self::PageHinkley(detector) => detector.rise(),
            Self::Cusum(detector) => detector.rise(),
            Self::Ewma(detector) => detector.rise(),
            Self::Adwin(_) => 0.0,
        }
    }

    /// Forgets everything but the settings.
    ///
    /// ```
    /// use driftline_detectors::change::{ChangeDetector, PageHinkley};
    /// let fresh = ChangeDetector::PageHinkley(PageHinkley::default());
    /// let mut detector = fresh.clone();
    /// detector.update(1.0);
    /// assert_ne!(detector, fresh);
    /// detector.reset();
    /// assert_eq!(detector, fresh);
    /// ```
    pub fn reset(&mut self) {
        match self {
            Self::PageHinkley(detector) => detector.reset(),
            Self::Cusum(detector) => detector.reset(),
            Self::Ewma(detector) => detector.reset(),
            Self::Adwin(detector) => detector.reset(),
        }
    }
}
