//! KSWIN on counts: whether a column's last panes are distributed as the ones before them.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use crate::distances::ks;
use crate::reference::{Normal, Profile, Reference};
use crate::steps::Steps;

/// Most panes that are kept, whatever the settings say.
pub const MAX_PANES: usize = 1000;

/// What a [`Kswin`] goes by.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct KswinSettings {
    /// The last panes, which are compared with those before: 3.
    pub recent: usize,
    /// The panes before them: 7. River's window holds 100 values, of which 30 are recent.
    pub before: usize,
    /// From which p-value on a difference is no chance: 0.005, river's.
    pub alpha: f64,
    /// From which statistic on it matters: 0.1, river's.
    pub min_statistic: f64,
}

impl Default for KswinSettings {
    fn default() -> Self {
        Self { recent: 3, before: 7, alpha: 0.005, min_statistic: 0.1 }
    }
}

/// A column's last panes against the ones before them.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct PaneComparison {
    /// Kolmogorov-Smirnov's statistic, from 0 to 1; where counts leave it in an interval, the interval's lower end.
    pub statistic: f64,
    /// The interval's upper end; equal to `statistic` when that is exact.
    pub upper: f64,
    /// Probability of as much when nothing has changed and rows are independent.
    pub p_value: f64,
    /// Values in the panes before, and in the last ones.
    pub values: (u64, u64),
    /// Whether it is a change: both sure and large enough.
    pub is_change: bool,
}

/// The two-sample test over a sliding window of Raab, Heusinger and Schleif (KSWIN, 2020), on profiles in the place of raw
/// values. Panes add up on the reference's grid, so the statistic is the exact one of all their values, whatever the reference
/// itself looks like; and it takes all of the panes before, where KSWIN draws a random part of them. A look costs as
/// many additions as the panes have cells, and not one for each value.
///
/// ```
/// use driftline_detectors::change::{Kswin, KswinSettings};
/// use driftline_detectors::{ColumnKind, ReferenceBuilder};
///
/// let mut builder = ReferenceBuilder::new("x", ColumnKind::Numeric);
/// (0..100).for_each(|i| builder.number(None, f64::from(i % 10)));
/// let reference = builder.build(None).unwrap();
/// let pane = |from: i32| {
///     let mut pane = reference.empty_profile();
///     reference.count_numbers(&mut pane, &(0..50).map(|i| f64::from(from + i % 10)).collect::<Vec<_>>());
///     pane
/// };
/// let mut panes = Kswin::new(KswinSettings { recent: 1, before: 2, ..Default::default() });
/// assert_eq!((panes.push(&reference, pane(0)), panes.push(&reference, pane(0))), (None, None));
/// assert!(panes.push(&reference, pane(0)).is_some_and(|same| same.statistic == 0.0 && same.p_value == 1.0));
/// let change = panes.push(&reference, pane(4)).unwrap();
/// assert!(change.is_change && change.p_value < 1e-4);
/// assert_eq!((change.statistic, change.values), (0.4, (100, 50)));
/// ```
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Kswin {
    settings: KswinSettings,
    panes: VecDeque<Profile>,
}

impl Kswin {
    /// One that has seen no pane.
    ///
    /// ```
    /// use driftline_detectors::change::{Kswin, KswinSettings};
    /// let panes = Kswin::new(KswinSettings { recent: 1, before: 6, ..Default::default() });
    /// assert_eq!(panes.panes(), 0);
    /// ```
    pub fn new(settings: KswinSettings) -> Self {
        Self { settings, panes: VecDeque::new() }
    }

    /// Takes the next pane, and compares the last with those before once there are enough. After a change only the last stay.
    /// A pane without a usable value says nothing, and neither do panes of a categorical column.
    ///
    /// # Panics
    /// When the panes are not of this reference.
    ///
    /// ```
    /// use driftline_detectors::change::{Kswin, KswinSettings};
    /// use driftline_detectors::{ColumnKind, ReferenceBuilder};
    /// let mut builder = ReferenceBuilder::new("x", ColumnKind::Numeric);
    /// (0..10).for_each(|i| builder.number(None, f64::from(i)));
    /// let reference = builder.build(None).unwrap();
    /// let mut pane = reference.empty_profile();
    /// reference.count_numbers(&mut pane, &[1.0, 2.0]);
    ///
    /// let mut panes = Kswin::new(KswinSettings { recent: 1, before: 1, ..Default::default() });
    /// assert_eq!(panes.push(&reference, pane.clone()), None);
    /// assert_eq!(panes.push(&reference, pane).map(|same| same.statistic), Some(0.0));
    /// assert_eq!(panes.push(&reference, reference.empty_profile()), None);
    /// ```
    pub fn push(&mut self, reference: &Reference, pane: Profile) -> Option<PaneComparison> {
        let Normal::Numeric { grid, .. } = &reference.normal else { return None };
        if pane.usable() == 0 {
            return None;
        }
        let recent = self.settings.recent.clamp(1, MAX_PANES - 1);
        let wanted = recent + self.settings.before.clamp(1, MAX_PANES - recent);
        self.panes.push_back(pane);
        if self.panes.len() < wanted {
            return None;
        }
        self.panes.drain(..self.panes.len() - wanted);
        let sum = |panes: &mut dyn Iterator<Item = &Profile>| {
            let mut total = reference.empty_profile();
            panes.for_each(|pane| total.merge(pane));
            total
        };
        let before = sum(&mut self.panes.iter().take(wanted - recent));
        let last = sum(&mut self.panes.iter().skip(wanted - recent));
        let (Profile::Numeric(before), Profile::Numeric(last)) = (before, last) else { return None };
        let distance = ks::distance(&Steps::new(grid, &before, &last));
        let KswinSettings { alpha, min_statistic, .. } = self.settings;
        let is_change = distance.p_value <= alpha && distance.value > min_statistic;
        if is_change {
            self.panes.drain(..wanted - recent);
        }
        let values = (before.finite(), last.finite());
        let (statistic, upper, p_value) = (distance.value, distance.upper, distance.p_value);
        Some(PaneComparison { statistic, upper, p_value, values, is_change })
    }

    /// How many panes are kept.
    ///
    /// ```
    /// use driftline_detectors::change::{Kswin, KswinSettings};
    /// use driftline_detectors::{ColumnKind, ReferenceBuilder};
    /// let mut builder = ReferenceBuilder::new("x", ColumnKind::Numeric);
    /// (0..10).for_each(|i| builder.number(None, f64::from(i)));
    /// let reference = builder.build(None).unwrap();
    /// let mut panes = Kswin::new(KswinSettings { recent: 1, before: 1, ..Default::default() });
    /// (0..5).for_each(|_| {
    ///     panes.push(&reference, reference.profile());
    /// });
    /// assert_eq!(panes.panes(), 2);
    /// ```
    pub fn panes(&self) -> usize {
        self.panes.len()
    }
}
