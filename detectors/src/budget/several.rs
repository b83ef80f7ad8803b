//! Rules that look at several scores of a window at once.
//!
//! What such a rule says of the windows of the histories is decided by whoever can read it; here it is known what their scores
//! are, or within which bounds they lie. Bounds are wide where the histories keep nothing, and a rule that may hold is
//! taken to hold, so alerts are counted too often rather than too seldom.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;

use super::episodes::{self, Persistence};
use super::null_effects::{HISTORY, NullEffects};
use crate::detector::Detector;
use crate::reference::Reference;

/// What is known of a score of a window in which nothing drifts.
#[derive(Debug, Clone, PartialEq)]
pub struct Known {
    /// Its effect.
    pub effect: RangeInclusive<f64>,
    /// The limit that it has.
    pub limit: RangeInclusive<f64>,
}

/// A rule on several scores, as far as the budget needs to know it.
pub struct Several<'r> {
    /// The scores.
    pub detectors: Vec<Detector>,
    /// Whether it may hold in a window of which this is known, in the order of the scores. A score that the column does not have
    /// is none.
    pub may_hold: &'r dyn Fn(&[Option<Known>]) -> bool,
    /// In how many windows it must hold.
    pub persistence: Persistence,
}

impl std::fmt::Debug for Several<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Several").field("detectors", &self.detectors).finish_non_exhaustive()
    }
}

impl Several<'_> {
    /// How many alerts begin, for each window, when this share of each column's windows is over its limits. None when the
    /// rule may hold in a window of which nothing is known, so that it may hold in any.
    pub(super) fn episodes(&self, columns: &[&Reference], windows: u32, share: f64) -> Option<f64> {
        let largest = (share * f64::from(windows)).round() as usize;
        let held: Vec<BTreeSet<u32>> =
            columns.iter().map(|column| self.held(columns, column, largest)).collect::<Option<_>>()?;
        let worlds = windows / HISTORY;
        let begun: u32 = (0..worlds)
            .map(|world| {
                let begins = world * HISTORY;
                let of_world = |held: &BTreeSet<u32>| -> Vec<u32> {
                    held.range(begins..begins + HISTORY).map(|at| at - begins).collect()
                };
                let held: Vec<Vec<u32>> = held.iter().map(of_world).collect();
                episodes::beginnings(held.iter().map(Vec::as_slice), HISTORY, self.persistence)
            })
            .sum();
        Some(episodes::per_window(begun, worlds, self.persistence))
    }

    /// The windows in which the rule may hold of a column; none when it may in any.
    fn held(&self, columns: &[&Reference], column: &Reference, largest: usize) -> Option<BTreeSet<u32>> {
        let nulls: Vec<Option<&NullEffects>> =
            self.detectors.iter().map(|detector| column.nulls.get(detector)).collect();
        if nulls.iter().all(Option::is_none) {
            // Its histories say nothing: it is not counted, as with rules on one score.
            return Some(BTreeSet::new());
        }
        // What no column's histories know may be anything; what others' do is not a score of this one.
        let is_in_histories = |detector| columns.iter().any(|column| column.nulls.contains_key(detector));
        let others: Vec<Option<Known>> = self
            .detectors
            .iter()
            .zip(&nulls)
            .map(|(detector, null)| match null {
                Some(null) => Some(Known {
                    effect: 0.0..=null.most_of_others(),
                    limit: null.least_limit(*detector, largest)..=f64::INFINITY,
                }),
                None if is_in_histories(detector) => None,
                None => Some(Known { effect: 0.0..=f64::INFINITY, limit: 0.0..=f64::INFINITY }),
            })
            .collect();
        if (self.may_hold)(&others) {
            return None;
        }
        let mut known: BTreeMap<u32, Vec<(usize, f64)>> = BTreeMap::new();
        for (index, null) in nulls.iter().enumerate() {
            for (at, effect) in null.iter().flat_map(|null| null.known()) {
                known.entry(at).or_default().push((index, effect));
            }
        }
        let may_hold = |effects: &[(usize, f64)]| {
            let mut window = others.clone();
            for (index, effect) in effects {
                window[*index].iter_mut().for_each(|known| known.effect = *effect..=*effect);
            }
            (self.may_hold)(&window)
        };
        Some(known.into_iter().filter(|(_, effects)| may_hold(effects)).map(|(at, _)| at).collect())
    }
}

/// How many alerts of a rule on several scores begin, for each window, however strict the limits are: because it asks for numbers
/// of its own, and not for limits. None when it may hold in any window, or the references know of none.
///
/// ```
/// use driftline_detectors::{
///     ColumnKind, Detector, Known, Persistence, ReferenceBuilder, Several, WindowShape, begins_by_itself,
/// };
///
/// let mut builder = ReferenceBuilder::new("hour", ColumnKind::Numeric);
/// (0..3000).for_each(|row| builder.number(Some(row / 100), (row * 7 % 24) as f64));
/// let shape = WindowShape { panes: 5, min_filled: 3, every: 1, season: 1 };
/// let references = [builder.build(Some(shape)).unwrap()];
/// let begins = |least: f64| {
///     let may_hold = |known: &[Option<Known>]| known[0].as_ref().is_some_and(|psi| *psi.effect.end() > least);
///     let persistence = Persistence { k: 2, m: 3 };
///     begins_by_itself(&references, &Several { detectors: vec![Detector::Psi], may_hold: &may_hold, persistence })
/// };
/// // As psi > 100, which no window of the histories comes near; and as psi > 0, which any may exceed.
/// assert_eq!((begins(100.0), begins(0.0)), (Some(0.0), None));
/// ```
pub fn begins_by_itself(columns: &[Reference], rule: &Several<'_>) -> Option<f64> {
    let columns = super::borrowed(columns);
    rule.episodes(&columns, super::windows_drawn(&columns)?, 0.0)
}
