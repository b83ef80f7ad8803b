//! The time that a reference is of, in the units in which histories are drawn from it.

use std::collections::BTreeSet;
use std::ops::Range;

use crate::build::{Rows, WindowShape};

/// A span of time is looked at that is at most so many times as long as what of it holds rows.
const MAX_GAPS: i64 = 4;

/// From when to when the rows of a reference are, and the windows that it will be compared with.
///
/// Histories are drawn from units of it: days of panes, or panes alone. Segments have that of all rows, so that one day is the
/// same day for all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeline {
    pub(crate) shape: WindowShape,
    /// The number of the first unit.
    pub(super) first: i64,
    /// How many there are, with rows or without.
    pub(super) units: usize,
}

impl Timeline {
    /// Of the panes that rows lie in; none of rows without times.
    ///
    /// # Errors
    /// When the rows cannot be read.
    ///
    /// ```
    /// use driftline_detectors::{ColumnKind, ReferenceBuilder, Timeline, WindowShape};
    /// let shape = WindowShape { panes: 24, min_filled: 12, every: 1, season: 24 };
    /// let mut rows = ReferenceBuilder::new("x", ColumnKind::Numeric);
    /// rows.number(None, 1.0);
    /// assert_eq!(Timeline::of(&rows, shape), Ok(None));
    /// (0..48).for_each(|pane| rows.number(Some(pane), 1.0));
    /// assert!(Timeline::of(&rows, shape).unwrap().is_some());
    /// ```
    pub fn of(rows: &dyn Rows, shape: WindowShape) -> Result<Option<Self>, String> {
        let (mut panes, mut last) = (BTreeSet::new(), None);
        rows.each(&mut |pane, _| {
            // Rows that follow each other are mostly of one pane.
            if pane != last {
                panes.extend(pane);
                last = pane;
            }
        })?;
        Ok(Self::of_panes(panes.into_iter(), shape))
    }

    /// Of panes, ascending.
    pub(super) fn of_panes(panes: impl Iterator<Item = i64>, shape: WindowShape) -> Option<Self> {
        let season = i64::from(shape.season.max(1));
        let mut filled: Vec<i64> = panes.map(|pane| pane.div_euclid(season)).collect();
        filled.dedup();
        let last = *filled.last()?;
        let earliest = last.saturating_sub(MAX_GAPS * filled.len() as i64);
        let first = *filled.iter().find(|unit| **unit >= earliest)?;
        Some(Self { shape, first, units: (last - first + 1) as usize })
    }

    /// Panes in a unit.
    pub(super) fn season(&self) -> i64 {
        i64::from(self.shape.season.max(1))
    }

    /// The unit that a pane is of.
    pub(super) fn unit(&self, pane: i64) -> i64 {
        pane.div_euclid(self.season())
    }

    /// The panes that it holds.
    pub(super) fn panes(&self) -> Range<i64> {
        self.first * self.season()..(self.first + self.units as i64) * self.season()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BY_DAY: WindowShape = WindowShape { panes: 24, min_filled: 12, every: 1, season: 24 };

    #[test]
    fn a_row_of_another_age_is_no_part_of_it() {
        let near = Timeline::of_panes((48..480).step_by(7), BY_DAY).unwrap();
        assert_eq!((near.first, near.units, near.panes()), (2, 18, 48..480));
        let far = Timeline::of_panes([-1_000_000_000_000].into_iter().chain((48..480).step_by(7)), BY_DAY).unwrap();
        assert_eq!(far, near);
    }
}
