//! Causes: which cells make a score what it is, and what kind of change it looks like.
//!
//! Both follow from the two profiles alone, so they can be asked of any window that was ever counted.
//!
//! * [`Reference::contributions`] takes a score apart into its cells. They add up to the score.
//! * [`Reference::causes`] looks at the shape of the change: it undoes each thing that it might be (a change of unit, a default
//!   that fills gaps, a stuck value, new or renamed categories, a shift, a spread), and sees how much of the distance goes away.
//!   What is left is [`CauseKind::Unexplained`], and said.
//! * [`mix()`] says how much of a change is that segments are mixed otherwise, and how much lies within them; [`with_mix`] makes
//!   a cause of it.
//!
//! A cause is claimed only of scores that drift, and none is a proof: temperatures that were halved look like temperatures that
//! are given in another unit. It says where to look first.
//!
//! ```
//! use driftline_detectors::causes::CauseKind;
//! use driftline_detectors::{ColumnKind, ReferenceBuilder, Thresholds};
//!
//! let fahrenheit = |i: i32| f64::from(30 + (i * 37) % 50);
//! let mut builder = ReferenceBuilder::new("temperature", ColumnKind::Numeric);
//! (0..1000).for_each(|i| builder.number(None, fahrenheit(i)));
//! let reference = builder.build(None).unwrap();
//!
//! let mut window = reference.empty_profile();
//! let celsius: Vec<f64> = (0..500).map(|i| (fahrenheit(i) - 32.0) / 1.8).collect();
//! reference.count_numbers(&mut window, &celsius);
//! let scores = reference.scores(&window, &Thresholds::default(), true);
//! let causes = reference.causes(&window, &scores);
//! let CauseKind::UnitChange { factor, offset, known_as, .. } = &causes[0].kind else { panic!("{causes:?}") };
//! assert_eq!(known_as[0], "Fahrenheit to Celsius");
//! assert!((factor - 0.5556).abs() < 1e-4 && (offset + 17.7778).abs() < 1e-4 && causes[0].share > 0.95);
//! ```

mod categorical;
mod contributions;
mod conversions;
mod mix;
mod numeric;
mod pairs;
mod shape;
mod unusable;

use serde::{Deserialize, Serialize};

pub use contributions::{Cell, Contribution, TAKEN_APART};
pub use mix::{MixShift, SegmentPair, SegmentShift, mix};

use crate::detector::Detector;
use crate::distances::association;
use crate::reference::{Normal, Profile, Reference};
use crate::score::{Score, Verdict};

/// How many categories a cause names; its shares are those of all.
pub const MAX_NAMED: usize = 5;
/// The scores that compare how the usable values are distributed.
const DISTANCES: [Detector; 9] = [
    Detector::Psi,
    Detector::Ks,
    Detector::JensenShannon,
    Detector::Wasserstein,
    Detector::CramerVonMises,
    Detector::ChiSquare,
    Detector::TotalVariation,
    Detector::Hellinger,
    Detector::LInfinity,
];
/// Share of a change from which on what nothing explains is mentioned beside what something does.
const MENTIONED: f64 = 0.25;

/// What a change looks like.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Cause {
    /// The kind of change, with its numbers.
    #[serde(flatten)]
    pub kind: CauseKind,
    /// How much of the change it accounts for, from 0 to 1: by how much the distance between window and reference shrinks,
    /// beyond what chance makes of it, when it is undone. Of rows without a usable value, and of new categories that are too few
    /// to move the rest, the share of their own score.
    pub share: f64,
}

/// The kinds of change. Shares are from 0 to 1; before is the reference, now the window.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum CauseKind {
    /// All values are `factor` times what they were, plus `offset`.
    UnitChange {
        /// What they are multiplied by.
        factor: f64,
        /// What is added then, in the window's unit.
        offset: f64,
        /// Conversions with these numbers, each as `from to`; empty when none is known.
        known_as: Vec<String>,
        /// The gap between the distribution functions that is left when it is undone (Kolmogorov-Smirnov's statistic, from 0 to 1).
        misfit: f64,
    },
    /// All values are higher, or lower, by about as much.
    Shift {
        /// By how much, in the column's unit.
        by: f64,
        /// The same in standard deviations of the reference; none when it has no spread.
        deviations: Option<f64>,
    },
    /// Values lie further apart than they did, or closer together, about the same middle.
    Spread {
        /// How much wider: 2 is twice as wide.
        factor: f64,
    },
    /// One value takes the place of others: a default, a cap, or a new zero.
    DefaultFill {
        /// Which: a number or a category.
        value: FillValue,
        /// Its share of the values before.
        before: f64,
        /// Its share now.
        now: f64,
    },
    /// Nearly all rows hold one value.
    StuckValue {
        /// Which.
        value: FillValue,
        /// Its share of the values before.
        before: f64,
        /// Its share now.
        now: f64,
    },
    /// Categories that the reference never saw.
    NewCategories {
        /// The commonest of them with their shares; empty when there were too many to keep by name.
        names: Vec<(String, f64)>,
        /// How many there are; none when there were too many to count.
        count: Option<usize>,
        /// Their share of the values.
        now: f64,
    },
    /// Known categories under names that differ in case, spaces, hyphens or a trailing `.0` only.
    RenamedCategories {
        /// The commonest of them: the name before and the name now.
        names: Vec<(String, String)>,
        /// How many there are.
        count: usize,
        /// Their share of the values now.
        now: f64,
    },
    /// Categories that are gone.
    GoneCategories {
        /// The commonest of them with their shares before.
        names: Vec<(String, f64)>,
        /// How many there are.
        count: usize,
        /// Their share of the values before.
        before: f64,
    },
    /// More rows without a usable value.
    Missing {
        /// Why it is not usable.
        what: Unusable,
        /// Share of all rows before.
        before: f64,
        /// Share now.
        now: f64,
    },
    /// Columns that go together otherwise.
    Associations {
        /// The pairs that changed by more than their noise, that which stands out most first.
        pairs: Vec<ChangedPair>,
        /// How many there are.
        count: usize,
    },
    /// What a classifier tells the rows of both samples apart by.
    ToldApart {
        /// The columns that matter most to it with their shares.
        columns: Vec<(String, f64)>,
        /// How many columns matter.
        count: usize,
    },
    /// Segments of the rows are mixed otherwise than they were, each as it was.
    MixShift {
        /// By what the rows are parted.
        by: String,
        /// The segments whose share of the rows changed most: name, share before, share now.
        segments: Vec<(String, f64, f64)>,
        /// How many segments there are.
        count: usize,
    },
    /// What none of these accounts for.
    Unexplained,
}

/// Two columns that go together otherwise.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ChangedPair {
    /// One of them.
    pub first: String,
    /// The other.
    pub second: String,
    /// In the reference: the correlation of two columns of numbers, from −1 to 1; of names Cramér's V, from 0 to 1.
    pub before: f64,
    /// In the window.
    pub now: f64,
}

/// A value of a column.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum FillValue {
    /// Of a numeric column.
    Number(f64),
    /// Of a categorical column.
    Category(String),
}

/// Why a row's value cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unusable {
    /// Absent or null.
    Absent,
    /// NaN.
    Nan,
    /// Infinite, or beyond all measure.
    Infinite,
    /// Of another type than the column's.
    WrongType,
}

impl Reference {
    /// What the window's drift looks like, that which accounts for most first, and what nothing accounts for last. The shares of
    /// what explains how the values are distributed add up to no more than 1.
    /// Empty when no score drifts, and of the distribution where the samples lie no further apart than chance brings them.
    ///
    /// # Panics
    /// When the window is not of this reference.
    ///
    /// ```
    /// use driftline_detectors::causes::{CauseKind, Unusable};
    /// use driftline_detectors::{ColumnKind, ReferenceBuilder, Thresholds};
    /// let mut builder = ReferenceBuilder::new("age", ColumnKind::Numeric);
    /// (0..1000).for_each(|i| builder.number(None, f64::from(i % 50)));
    /// let reference = builder.build(None).unwrap();
    ///
    /// let mut window = reference.empty_profile();
    /// reference.count_numbers(&mut window, &(0..700).map(|i| f64::from(i % 50)).collect::<Vec<_>>());
    /// reference.count_missing(&mut window, 300);
    /// let causes = reference.causes(&window, &reference.scores(&window, &Thresholds::default(), true));
    /// assert_eq!(causes[0].kind, CauseKind::Missing { what: Unusable::Absent, before: 0.0, now: 0.3 });
    /// ```
    pub fn causes(&self, window: &Profile, scores: &[Score]) -> Vec<Cause> {
        let drifts = |detector: Detector| {
            scores.iter().any(|score| score.detector == detector && score.verdict == Verdict::Drift)
        };
        let mut causes = Vec::new();
        if drifts(Detector::MissingShare) {
            causes.extend(unusable::causes(&self.profile(), window));
        }
        let moved = DISTANCES.into_iter().any(drifts);
        match (&self.normal, window) {
            (Normal::Numeric { grid, profile, .. }, Profile::Numeric(window)) => {
                if moved {
                    causes.extend(numeric::causes(grid, profile, window));
                }
            }
            (Normal::Categorical { dictionary, profile }, Profile::Categorical(window)) => {
                if moved || drifts(Detector::NewCategoryShare) {
                    causes.extend(categorical::causes(dictionary, profile, window, moved));
                }
            }
            (Normal::Associations { associations, profile }, Profile::Associations(window)) => {
                if drifts(Detector::Association) {
                    let changes = association::changes(associations, profile, window);
                    causes.extend(pairs::causes(&associations.columns, &changes));
                }
            }
            (Normal::Contingencies { contingencies, profile }, Profile::Contingencies(window)) => {
                if drifts(Detector::Association) {
                    let changes = association::changes_of_names(contingencies, profile, window);
                    causes.extend(pairs::causes(&contingencies.columns, &changes));
                }
            }
            (Normal::Vectors { .. }, Profile::Vectors(_)) => {}
            _ => unreachable!("a profile is of the kind of its reference"),
        }
        sort(&mut causes);
        causes
    }
}

/// Adds to what a drift looks like that segments are mixed otherwise, where that is worth a word. The other causes are then
/// of what changed within segments: of the change they keep what the mix leaves of it.
///
/// ```
/// use driftline_detectors::causes::{Cause, CauseKind, MixShift, with_mix};
/// let shift = Cause { kind: CauseKind::Shift { by: 3.0, deviations: Some(0.5) }, share: 0.9 };
/// let mix = MixShift { mix: 0.3, within: 0.1, share: 0.75, segments: Vec::new() };
/// let causes = with_mix(vec![shift], "age", &mix);
/// assert!(matches!(&causes[0].kind, CauseKind::MixShift { by, .. } if by == "age"));
/// assert!((causes[1].share - 0.9 * 0.25).abs() < 1e-12, "of the shift, what the mix leaves of it");
/// ```
pub fn with_mix(mut causes: Vec<Cause>, by: &str, shift: &MixShift) -> Vec<Cause> {
    if shift.share < MENTIONED {
        return causes;
    }
    for cause in &mut causes {
        if !matches!(cause.kind, CauseKind::Missing { .. }) {
            cause.share *= 1.0 - shift.share;
        }
    }
    let named = shift.segments.iter().take(MAX_NAMED);
    let segments = named.map(|segment| (segment.name.clone(), segment.before, segment.now)).collect();
    let kind = CauseKind::MixShift { by: by.to_owned(), segments, count: shift.segments.len() };
    causes.push(Cause { kind, share: shift.share });
    sort(&mut causes);
    causes
}

/// Whether one of the scores that compare how the usable values are distributed drifts: what a mix can account for.
///
/// ```
/// use driftline_detectors::causes::is_distribution_drift;
/// use driftline_detectors::{ColumnKind, ReferenceBuilder, Thresholds};
/// let mut builder = ReferenceBuilder::new("hour", ColumnKind::Numeric);
/// (0..2400).for_each(|i| builder.number(None, f64::from(i % 24)));
/// let reference = builder.build(None).unwrap();
/// let drifts = |hours: i32, missing: u64| {
///     let mut window = reference.empty_profile();
///     reference.count_numbers(&mut window, &(0..1200).map(|i| f64::from(i % hours)).collect::<Vec<_>>());
///     reference.count_missing(&mut window, missing);
///     is_distribution_drift(&reference.scores(&window, &Thresholds::default(), true))
/// };
/// // Mornings only; and as ever, but for many that are missing, of which no distribution tells.
/// assert!(drifts(12, 0) && !drifts(24, 1200));
/// ```
pub fn is_distribution_drift(scores: &[Score]) -> bool {
    scores.iter().any(|score| score.verdict == Verdict::Drift && DISTANCES.contains(&score.detector))
}

/// Puts first what accounts for most, and last what nothing accounts for.
fn sort(causes: &mut [Cause]) {
    let is_unexplained = |cause: &Cause| cause.kind == CauseKind::Unexplained;
    causes.sort_by(|a, b| is_unexplained(a).cmp(&is_unexplained(b)).then(b.share.total_cmp(&a.share)));
}

/// What is left of a change that these account for, when it is worth a word.
fn with_the_rest(mut causes: Vec<Cause>) -> Vec<Cause> {
    let left = 1.0 - causes.iter().map(|cause| cause.share).sum::<f64>();
    if left >= MENTIONED {
        causes.push(Cause { kind: CauseKind::Unexplained, share: left.min(1.0) });
    }
    causes
}

/// By how much a distance shrinks beyond chance, as a part of the whole.
fn explained(before: f64, after: f64, chance: f64) -> f64 {
    let whole = before - chance;
    if whole <= 0.0 { 0.0 } else { ((before - after.max(chance)) / whole).clamp(0.0, 1.0) }
}
