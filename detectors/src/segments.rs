//! Segments: parts of a model's rows, each compared with itself in the reference.
//!
//! All segments are counted on cells that they share, fewer than those of the whole, so that many of them cost little. On
//! these cells profiles still add up: those of segments that part the rows are together the whole's, and what changes
//! between them can be told from what changes within ([`crate::causes::mix()`]).

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::blocks::{BlockNoise, block_noise};
use crate::budget::{NullEffects, Timeline, null_effects_of_segment};
use crate::build::{BuildError, Rows};
use crate::detector::Detector;
use crate::grid::Grid;
use crate::numeric::NumericProfile;
use crate::reference::{Normal, Profile, Reference};

/// Cut points of a numeric column in segments. Deciles of a twelfth of the rows still fall on cuts of their own.
pub const SEGMENT_CUTS: usize = 128;
/// A column with more categories is not looked at in segments: few rows in many cells say nothing, and each segment would
/// hold them all.
pub const SEGMENT_CATEGORIES: usize = 256;
/// A segment with fewer values of a column in the reference is listed and not scored: chance alone would move it further
/// than what matters.
pub const MIN_SEGMENT_ROWS: u64 = 200;
/// The scores that segments have: how values are distributed, by shares and by ranks, and whether they are there.
pub const SEGMENT_DETECTORS: [Detector; 3] = [Detector::Psi, Detector::Ks, Detector::MissingShare];
/// The name of the rows that are of none of a column's named values.
const REST: &str = "other";

/// The segments of a reference file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Segments {
    /// The columns on the cells that segments share, with the counts of all rows.
    pub columns: Vec<Reference>,
    /// In which ways the rows are parted.
    pub by: Vec<Segmentation>,
}

/// One way in which rows are parted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Segmentation {
    /// By what.
    pub parting: Parting,
    /// The segments: of a column one for each value in their order, and the rest as the last; of a condition one.
    pub segments: Vec<Segment>,
}

/// By what rows are parted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Parting {
    /// By the values of a column: every row is of one segment.
    Column {
        /// The column's name.
        name: String,
        /// The values that have a segment of their own, the most frequent first.
        values: Vec<String>,
    },
    /// By a condition: the rows for which it holds.
    Condition {
        /// The segment's name.
        name: String,
        /// The condition, as `driftline samples` takes it.
        holds: String,
    },
}

impl Parting {
    /// The names of its segments, in their order.
    ///
    /// ```
    /// use driftline_detectors::Parting;
    /// let parting = Parting::Column { name: "origin".into(), values: vec!["EWR".into(), "JFK".into()] };
    /// assert_eq!(parting.segments(), ["origin=EWR", "origin=JFK", "origin=other"]);
    /// ```
    pub fn segments(&self) -> Vec<String> {
        match self {
            Self::Column { name, values } => {
                let named = values.iter().map(String::as_str).chain([REST]);
                named.map(|value| format!("{name}={value}")).collect()
            }
            Self::Condition { name, .. } => vec![name.clone()],
        }
    }

    /// Whether a column's value may have a segment of its own: one that is called as the rest is is of the rest.
    ///
    /// ```
    /// assert!(driftline_detectors::Parting::may_name("JFK"));
    /// assert!(!driftline_detectors::Parting::may_name("other"));
    /// ```
    pub fn may_name(value: &str) -> bool {
        value != REST
    }
}

/// A segment's rows in the reference.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Segment {
    /// How many there are.
    pub rows: u64,
    /// One for each of the columns.
    pub columns: Vec<SegmentColumn>,
}

/// One column of a segment's rows in the reference.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SegmentColumn {
    /// Its counts on the shared cells.
    pub profile: Profile,
    /// What each detector says of the segment's own stretches of time; empty when it was built without times.
    pub blocks: BTreeMap<Detector, BlockNoise>,
    /// What each says of histories that could have been, which a budget of false pages is made of; empty when there is no
    /// block noise.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub nulls: BTreeMap<Detector, NullEffects>,
}

impl Segments {
    /// What normal looks like for one column in one segment.
    ///
    /// # Panics
    /// When the column is not one of its columns.
    ///
    /// ```
    /// use driftline_detectors::{ColumnKind, Reference, ReferenceBuilder, Segments};
    /// let rows = |first: i32| {
    ///     let mut rows = ReferenceBuilder::new("x", ColumnKind::Numeric);
    ///     (first..100).for_each(|i| rows.number(None, f64::from(i)));
    ///     rows
    /// };
    /// let whole = Reference::of_rows("x", ColumnKind::Numeric, &rows(0), None).unwrap();
    /// let shared = whole.in_segments(&rows(0)).unwrap().unwrap();
    /// let large = shared.of_segment(&rows(60), None).unwrap();
    /// let segments = Segments { columns: vec![shared], by: Vec::new() };
    /// assert_eq!(segments.reference(0, &large).profile().rows(), 40);
    /// ```
    pub fn reference(&self, column: usize, of_segment: &SegmentColumn) -> Reference {
        let mut reference = self.columns[column].clone();
        reference.set_profile(of_segment.profile.clone());
        reference.blocks.clone_from(&of_segment.blocks);
        reference.nulls.clone_from(&of_segment.nulls);
        reference
    }

    /// What does not fit in them, with the column or the parting that it is about.
    pub(crate) fn check(&self) -> Result<(), (String, String)> {
        let mut names = BTreeSet::new();
        for Segmentation { parting, segments } in &self.by {
            let expected = parting.segments();
            let about = expected.first().cloned().unwrap_or_default();
            if expected.len() != segments.len() {
                return Err((about, format!("{} segments, and counts of {}", expected.len(), segments.len())));
            }
            if let Some(twice) = expected.into_iter().find(|name| !names.insert(name.clone())) {
                return Err((twice, "the segment is there twice".to_owned()));
            }
            for segment in segments {
                let fits = |(reference, column): (&Reference, &SegmentColumn)| reference.holds(&column.profile);
                let columns = self.columns.iter().zip(&segment.columns);
                if segment.columns.len() != self.columns.len() || !columns.into_iter().all(fits) {
                    return Err((about, "its counts are not on the cells of the columns".to_owned()));
                }
                let mut nulls = segment.columns.iter().flat_map(|column| column.nulls.values());
                if !nulls.all(NullEffects::is_consistent) {
                    return Err((about, "what its detectors say of drawn histories is not in order".to_owned()));
                }
            }
        }
        Ok(())
    }
}

impl Reference {
    /// The same rows of the column on the cells that segments share; none for a column that is not looked at in segments.
    ///
    /// # Errors
    /// When the rows cannot be read.
    ///
    /// ```
    /// use driftline_detectors::{ColumnKind, Normal, Reference, ReferenceBuilder, SEGMENT_CUTS};
    /// let mut rows = ReferenceBuilder::new("x", ColumnKind::Numeric);
    /// (0..10_000).for_each(|i| rows.number(None, f64::from(i)));
    /// let whole = Reference::of_rows("x", ColumnKind::Numeric, &rows, None).unwrap();
    /// let shared = whole.in_segments(&rows).unwrap().unwrap();
    /// let Normal::Numeric { grid, .. } = &shared.normal else { panic!() };
    /// assert_eq!((grid.cuts().len(), grid.cuts()[0], grid.cuts()[SEGMENT_CUTS - 1]), (SEGMENT_CUTS, 0.0, 9999.0));
    /// assert_eq!(shared.profile().rows(), 10_000);
    /// ```
    pub fn in_segments(&self, rows: &dyn Rows) -> Result<Option<Self>, BuildError> {
        let normal = match &self.normal {
            Normal::Numeric { grid, profile, .. } => {
                let grid = Grid::from(spread_cuts(grid, profile));
                // New values are not kept one by one: each pane of each segment would.
                let profile = NumericProfile::empty(&grid, false);
                Normal::Numeric { grid, exact: false, profile }
            }
            Normal::Categorical { dictionary, .. } if dictionary.categories().len() > SEGMENT_CATEGORIES => {
                return Ok(None);
            }
            Normal::Categorical { .. } => self.normal.clone(),
            Normal::Associations { .. } | Normal::Contingencies { .. } | Normal::Vectors { .. } => return Ok(None),
        };
        let mut shared = Self { column: self.column.clone(), normal, blocks: BTreeMap::new(), nulls: BTreeMap::new() };
        shared.take_rows(rows, false)?;
        Ok(Some(shared))
    }

    /// Counts rows of a segment on these cells. With the timeline of all rows its own stretches of time are scored too, and
    /// histories drawn from them, where there are values enough for the segment to be scored at all.
    ///
    /// # Errors
    /// When the rows cannot be read.
    ///
    /// ```
    /// use driftline_detectors::{ColumnKind, Reference, ReferenceBuilder};
    /// let mut rows = ReferenceBuilder::new("place", ColumnKind::Categorical);
    /// ["JFK", "LGA", "EWR"].iter().cycle().take(300).for_each(|name| rows.category(None, name));
    /// let whole = Reference::of_rows("place", ColumnKind::Categorical, &rows, None).unwrap();
    /// let mut at_night = ReferenceBuilder::new("place", ColumnKind::Categorical);
    /// (0..50).for_each(|_| at_night.category(None, "JFK"));
    /// let segment = whole.in_segments(&rows).unwrap().unwrap().of_segment(&at_night, None).unwrap();
    /// assert_eq!(segment.profile.usable(), 50);
    /// ```
    pub fn of_segment(&self, rows: &dyn Rows, timeline: Option<&Timeline>) -> Result<SegmentColumn, BuildError> {
        let mut counted = self.clone();
        let panes = counted.take_rows(rows, timeline.is_some())?;
        let profile = counted.profile();
        if let Some(timeline) = timeline.filter(|_| profile.usable() >= MIN_SEGMENT_ROWS) {
            // None of these scores asks for rare categories.
            counted.blocks = block_noise(&counted, &panes, &[], timeline.shape);
            counted.blocks.retain(|detector, _| SEGMENT_DETECTORS.contains(detector));
            counted.nulls = null_effects_of_segment(&counted, &panes, timeline);
        }
        Ok(SegmentColumn { profile, blocks: counted.blocks, nulls: counted.nulls })
    }

    /// Whether a profile is on this reference's cells.
    fn holds(&self, profile: &Profile) -> bool {
        match (&self.normal, profile) {
            (Normal::Numeric { grid, .. }, Profile::Numeric(profile)) => {
                profile.cells.len() == grid.cells() && profile.open_sums.len() == grid.cuts().len() + 1
            }
            (Normal::Categorical { dictionary, .. }, Profile::Categorical(profile)) => {
                profile.cells.len() == dictionary.cells()
            }
            _ => false,
        }
    }
}

/// So many of a grid's cut points that about as many of the reference's rows lie between each two; the first and the last
/// are among them.
fn spread_cuts(grid: &Grid, reference: &NumericProfile) -> Vec<f64> {
    let cuts = grid.cuts();
    if cuts.len() <= SEGMENT_CUTS {
        return cuts.to_vec();
    }
    let total: u128 = reference.cells.iter().copied().map(u128::from).sum();
    let parts = SEGMENT_CUTS as u128 - 1;
    // Rows up to a cut point, and the part of them all, in so many, that the next to be kept ends.
    let (mut kept, mut through, mut due) = (Vec::with_capacity(SEGMENT_CUTS), 0, 0);
    for (cut, cells) in cuts.iter().zip(reference.cells.chunks(2)) {
        through += cells.iter().copied().map(u128::from).sum::<u128>();
        if through * parts >= due * total {
            kept.push(*cut);
            due = (through * parts).checked_div(total).unwrap_or(0) + 1;
        }
    }
    kept.extend(cuts.last().filter(|last| kept.last() != Some(last)));
    kept
}
