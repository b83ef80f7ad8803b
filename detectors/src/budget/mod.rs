//! A budget of false pages: how far a score may go, when so many alerts a month may be for nothing.
//!
//! A limit for one score in one window says little of how often somebody is woken: there are many columns and scores, many
//! windows, and they have much in common. Windows overlap, so they exceed in runs; columns of one day share its weather; a rule
//! asks for two windows of three. No formula knows all of this. But the reference holds what it takes: what its own stretches
//! of time look like, all columns together.
//!
//! ```text
//!   panes of the reference ──▶ worlds: its blocks, weighed anew  ──▶ histories of windows, each scored as any window is
//!      (all columns alike)      (what one sample may be wrong by)                │
//!                                                                               ▼
//!   the user's budget ──▶ level: the share of windows that may exceed ◀── episodes as the rules make them
//!                            └──▶ for each column and score, the effect that this share exceeds: its limit
//! ```
//!
//! * **The reference is a sample** ([`draws`]). Each history comes from a world that the reference could have come from, so
//!   limits know that a month of days shows neither the mean nor the spread exactly. With sixty days and a limit at one in a
//!   thousand, taking them as exact would nearly double the pages.
//! * **It has not met the most extreme day** ([`few_blocks`]). Where one block decides a window, limits come from the reference's
//!   own blocks as far as these vouch for them, and are carried on beyond, with what that may be wrong by.
//! * **Days are drawn whole, and together where they go together** ([`dependence`]).
//! * **Rules on several scores count, too** ([`several`]), by what the histories' windows say of all of them together.
//! * **Segments have a part of it to themselves** ([`PART_OF_SEGMENTS`]), and a level of their own. They are drawn on the
//!   timeline of all rows ([`timeline`]), so that what happens to all of them on one day is one episode.
//! * **One level for all**: each column and score is exceeded in the same share of windows, and the share is the largest with
//!   which alerts begin no more often than the budget says ([`episodes()`]). Where all columns say the same, it is nearly
//!   that of one; where none does, that of all.

mod dependence;
mod draws;
mod episodes;
mod few_blocks;
mod null_effects;
mod several;
mod timeline;

pub use episodes::Persistence;
pub use few_blocks::FewBlocks;
pub use null_effects::NullEffects;
pub(crate) use null_effects::{null_effects, null_effects_of_segment};
pub use several::{Known, Several, begins_by_itself};
pub use timeline::Timeline;

use std::borrow::Borrow;

use crate::detector::Detector;
use crate::reference::Reference;
use null_effects::{HISTORY, comes_in_bursts};

/// The part of a budget that is for rules on segments, where there are any; the whole's columns have the rest. Segments are many, and
/// at one level for all they would take the whole's limits along.
pub const PART_OF_SEGMENTS: f64 = 0.25;
/// From each level that is tried to the next.
const STEP: f64 = 1.1;
/// Fewer windows over their limit than this, of one column, say nothing of how often alerts begin.
const FEWEST: f64 = 4.0;

/// A rule on scores, as far as the budget needs to know it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Watch {
    /// The score.
    pub detector: Detector,
    /// In how many windows it must be over its limit.
    pub persistence: Persistence,
}

/// The share of windows in which each column may exceed its limit for nothing, if alerts are to begin so often: the number
/// of episodes for each window that closes. None when no column has been drawn from, as when the reference has no times.
///
/// It is at most a twentieth, and of segments' columns less: no more than what their histories keep.
///
/// ```
/// use driftline_detectors::{ColumnKind, Detector, ReferenceBuilder, WindowShape, Persistence, Watch, level};
/// let mut builder = ReferenceBuilder::new("x", ColumnKind::Numeric);
/// // Forty days of fifty rows, around levels of their own.
/// (0..2000).for_each(|i| builder.number(Some(i / 50), ((i * 37) % 50 + (i / 50 * 17) % 30) as f64));
/// let week = WindowShape { panes: 7, min_filled: 4, every: 1, season: 1 };
/// let columns = [builder.build(Some(week)).unwrap()];
/// let watch = Watch { detector: Detector::Psi, persistence: Persistence { k: 2, m: 3 } };
/// // A window closes each day: once a month, and once a year.
/// let allowed = |per_window| level(&columns, std::slice::from_ref(&watch), &[], per_window);
/// let (monthly, yearly) = (allowed(1.0 / 30.0), allowed(1.0 / 365.0));
/// assert!(yearly.unwrap() < monthly.unwrap() && monthly.unwrap() <= 0.05);
/// ```
pub fn level<R: Borrow<Reference>>(
    columns: &[R],
    watches: &[Watch],
    several: &[Several<'_>],
    episodes_per_window: f64,
) -> Option<f64> {
    let columns = borrowed(columns);
    let windows = windows_drawn(&columns)?;
    let rate = |share| rate(&columns, watches, several, windows, share);
    let most = nulls(&columns).map(NullEffects::kept_share).fold(1.0, f64::min);
    let least = FEWEST / f64::from(windows);
    let mut before = (least, rate(least));
    if before.1 > episodes_per_window {
        // Alerts are rare here, and each has its own cause: there are half as many at half the share.
        return Some(least * episodes_per_window / before.1);
    }
    while before.0 < most {
        let share = (before.0 * STEP).min(most);
        let now = (share, rate(share));
        if now.1 > episodes_per_window {
            let part = (episodes_per_window - before.1) / (now.1 - before.1);
            return Some(before.0 + part * (now.0 - before.0));
        }
        before = now;
    }
    Some(most)
}

/// What references know of their own blocks, where a window is decided by one of them.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Vouched {
    /// The blocks of the reference that has the fewest.
    pub blocks: f64,
    /// The share of windows that hold a block more extreme than any of these. What a smaller share reaches is carried on from
    /// the most extreme few.
    pub share: f64,
    /// How many alerts begin, for each window, when each column exceeds its limit in this share of windows.
    pub episodes_per_window: f64,
}

/// How often alerts may begin, at the least, for limits to be what the references' own blocks have reached. None when windows
/// are of many blocks, or nothing has been drawn from. Shares of rows of a kind, as of missing ones, are left out: however long
/// the reference is, the next storm may be worse.
///
/// ```
/// use driftline_detectors::{ColumnKind, Detector, ReferenceBuilder, WindowShape, Persistence, Watch, level, vouched};
/// let mut builder = ReferenceBuilder::new("x", ColumnKind::Numeric);
/// // Forty days of fifty rows, around levels of their own.
/// (0..2000).for_each(|i| builder.number(Some(i / 50), ((i * 37) % 50 + (i / 50 * 17) % 30) as f64));
/// let day = WindowShape { panes: 1, min_filled: 1, every: 1, season: 1 };
/// let columns = [builder.build(Some(day)).unwrap()];
/// let watches = [Watch { detector: Detector::Psi, persistence: Persistence { k: 2, m: 3 } }];
/// let vouched = vouched(&columns, &watches, &[]).unwrap();
/// assert_eq!(vouched.blocks, 40.0);
/// // Less often than that, and the limits are beyond what any of the forty days has reached.
/// let share = level(&columns, &watches, &[], vouched.episodes_per_window / 10.0).unwrap();
/// assert!(share < vouched.share);
/// ```
pub fn vouched<R: Borrow<Reference>>(columns: &[R], watches: &[Watch], several: &[Several<'_>]) -> Option<Vouched> {
    let columns = borrowed(columns);
    let of_values = |watch: &Watch| (!comes_in_bursts(watch.detector)).then_some(watch.detector);
    let nulls = watches
        .iter()
        .filter_map(of_values)
        .flat_map(|detector| columns.iter().filter_map(move |column| column.nulls.get(&detector)));
    let known = nulls.filter_map(|null| Some((null.few_blocks.as_ref()?.reference, null.trusted)));
    let (blocks, share) = known.reduce(|a, b| (a.0.min(b.0), a.1.max(b.1)))?;
    let episodes_per_window = rate(&columns, watches, several, windows_drawn(&columns)?, share);
    Some(Vouched { blocks, share, episodes_per_window })
}

fn borrowed<R: Borrow<Reference>>(columns: &[R]) -> Vec<&Reference> {
    columns.iter().map(Borrow::borrow).collect()
}

fn nulls<'r>(columns: &'r [&Reference]) -> impl Iterator<Item = &'r NullEffects> {
    columns.iter().flat_map(|column| column.nulls.values())
}

fn windows_drawn(columns: &[&Reference]) -> Option<u32> {
    nulls(columns).map(|null| null.windows).max()
}

/// How many alerts of all rules begin, for each window, when this share of each column's windows is over.
fn rate(columns: &[&Reference], watches: &[Watch], several: &[Several<'_>], windows: u32, share: f64) -> f64 {
    let of_one: f64 = watches.iter().map(|watch| episodes(columns, watch, windows, share)).sum();
    // One that may hold in any window is no less than too many.
    let of_several = several.iter().map(|rule| rule.episodes(columns, windows, share).unwrap_or(f64::INFINITY));
    of_one + of_several.sum::<f64>()
}

/// How many alerts of a rule begin, for each window, when this share of each column's windows is over.
fn episodes(columns: &[&Reference], watch: &Watch, windows: u32, share: f64) -> f64 {
    let members: Vec<&NullEffects> = columns.iter().filter_map(|column| column.nulls.get(&watch.detector)).collect();
    let largest = (share * f64::from(windows)).round() as usize;
    let worlds = windows / HISTORY;
    let begun: u32 = (0..worlds)
        .map(|world| {
            let over: Vec<Vec<u32>> = members.iter().map(|null| null.over(watch.detector, largest, world)).collect();
            episodes::beginnings(over.iter().map(Vec::as_slice), HISTORY, watch.persistence)
        })
        .sum();
    episodes::per_window(begun, worlds, watch.persistence)
}

impl Reference {
    /// Lets each score exceed its limit in this share of windows, wherever the reference knows what that is.
    ///
    /// ```
    /// use driftline_detectors::{ColumnKind, Detector, ReferenceBuilder, WindowShape, Thresholds};
    /// let mut builder = ReferenceBuilder::new("x", ColumnKind::Numeric);
    /// // Forty days of fifty rows, around levels of their own.
    /// (0..2000).for_each(|i| builder.number(Some(i / 50), ((i * 37) % 50 + (i / 50 * 17) % 30) as f64));
    /// let week = WindowShape { panes: 7, min_filled: 4, every: 1, season: 1 };
    /// let mut reference = builder.build(Some(week)).unwrap();
    /// reference.allow(Some(0.001));
    /// let scores = reference.scores(&reference.profile(), &Thresholds::default(), true);
    /// let psi = scores.iter().find(|score| score.detector == Detector::Psi).unwrap();
    /// assert!(psi.noise.budget.is_some());
    /// ```
    pub fn allow(&mut self, share: Option<f64>) {
        for (detector, null) in &mut self.nulls {
            match share {
                Some(share) => null.allow(*detector, share),
                None => null.allow_nothing(),
            }
        }
    }
}
