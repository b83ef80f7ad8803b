//! Building references from rows.

use std::collections::{BTreeMap, HashMap};

use crate::associations::{AssociationProfile, Associations};
use crate::blocks::{RareCategory, block_noise};
use crate::budget::null_effects;
use crate::categorical::{CategoricalProfile, category_hash};
use crate::contingencies::{Contingencies, ContingencyProfile};
use crate::grid::GridError;
use crate::numeric::NumericProfile;
use crate::reference::{ColumnKind, Normal, Profile, Reference};
use crate::survey::{CategorySurvey, NumericSurvey};
use crate::vectors::{KernelSurvey, VectorProfile};

/// Distinct values up to which a grid holds them all, and is exact.
pub const MAX_EXACT_VALUES: usize = 4096;
/// Quantiles that a grid holds when there are more distinct values than that.
pub const QUANTILES: usize = 1024;

/// The shape of the windows that the reference will be compared with, in panes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WindowShape {
    /// Panes in a window.
    pub panes: u32,
    /// Panes that must hold rows for a window to be judged.
    pub min_filled: u32,
    /// Panes from one window to the next.
    pub every: u32,
    /// Panes after which a day's course begins again; one when a pane is no part of a day.
    pub season: u32,
}

/// What a row of a column holds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum RowValue<'a> {
    /// A number. In a categorical column it is of the wrong type.
    Number(f64),
    /// A category. In a numeric column it is of the wrong type.
    Category(&'a str),
    /// What a row holds in several columns of which the pairs are looked at, NaN where it has no number.
    Row(&'a [f64]),
    /// A vector, of a column of vectors.
    Vector(&'a [f32]),
    /// Nothing.
    Missing,
    /// Something that is neither.
    WrongType,
}

/// The rows of a column, wherever they lie. They are gone through more than once, for they may be more than memory holds:
/// first for the cells, then to be counted on them.
pub trait Rows {
    /// Hands over all rows in their order, each with the pane of time that it lies in if that is known.
    ///
    /// # Errors
    /// Why they cannot be read.
    fn each(&self, take: &mut dyn FnMut(Option<i64>, RowValue<'_>)) -> Result<(), String>;

    /// The columns whose numbers or codes a [`RowValue::Row`] holds; none of rows of one column.
    fn columns(&self) -> Vec<String> {
        Vec::new()
    }
}

/// Collects one column's values in memory, and makes its reference. For more rows than that there is
/// [`Reference::of_rows`].
///
/// ```
/// use driftline_detectors::{ColumnKind, Detector, Profile, ReferenceBuilder, Thresholds, Verdict};
///
/// let mut builder = ReferenceBuilder::new("temperature", ColumnKind::Numeric);
/// for i in 0..1000 {
///     builder.number(None, f64::from(i % 100) / 4.0);
/// }
/// let reference = builder.build(None).unwrap();
///
/// let mut window = reference.empty_profile();
/// reference.count_numbers(&mut window, &(0..1000).map(|i| 10.0 + f64::from(i % 100) / 4.0).collect::<Vec<_>>());
/// let scores = reference.scores(&window, &Thresholds::default(), true);
/// let ks = scores.iter().find(|score| score.detector == Detector::Ks).unwrap();
/// assert_eq!((ks.value, ks.upper, ks.verdict), (0.4, 0.4, Verdict::Drift));
/// ```
#[derive(Debug)]
pub struct ReferenceBuilder {
    column: String,
    values: Values,
    /// Rows without a usable value: the pane, and the value itself where it is NaN or infinite.
    unusable: Vec<(Option<i64>, Unusable)>,
}

#[derive(Debug)]
enum Values {
    Numeric(Vec<(Option<i64>, f64)>),
    /// Category index and its pane.
    Categorical {
        names: HashMap<String, u32>,
        rows: Vec<(Option<i64>, u32)>,
    },
}

#[derive(Debug, Clone, Copy)]
enum Unusable {
    Missing,
    WrongType,
}

/// Why a column has no reference.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum BuildError {
    /// Not one usable value.
    #[error("column '{column}' has no usable value in {rows} rows; leave it out, or check its name and type")]
    Empty {
        /// The column.
        column: String,
        /// Rows that were read.
        rows: u64,
    },
    /// The rows cannot be read.
    #[error("column '{column}': {why}")]
    Rows {
        /// The column.
        column: String,
        /// What is wrong.
        why: String,
    },
    /// The values do not make a grid.
    #[error("column '{column}': {source}")]
    Grid {
        /// The column.
        column: String,
        /// What is wrong.
        source: GridError,
    },
}

impl ReferenceBuilder {
    /// A builder for a column of numbers, or else of names. Vectors and rows of several columns are no values that it
    /// collects; of these [`Reference::of_rows`] makes a reference.
    ///
    /// ```
    /// use driftline_detectors::{ColumnKind, ReferenceBuilder};
    /// let builder = ReferenceBuilder::new("hour", ColumnKind::Numeric);
    /// assert_eq!(builder.rows(), 0);
    /// ```
    pub fn new(column: impl Into<String>, kind: ColumnKind) -> Self {
        let values = match kind {
            ColumnKind::Numeric => Values::Numeric(Vec::new()),
            _ => Values::Categorical { names: HashMap::new(), rows: Vec::new() },
        };
        Self { column: column.into(), values, unusable: Vec::new() }
    }

    /// The column's kind.
    ///
    /// ```
    /// use driftline_detectors::{ColumnKind, ReferenceBuilder};
    /// let builder = ReferenceBuilder::new("hour", ColumnKind::Numeric);
    /// assert_eq!(builder.kind(), ColumnKind::Numeric);
    /// ```
    pub fn kind(&self) -> ColumnKind {
        match self.values {
            Values::Numeric(_) => ColumnKind::Numeric,
            Values::Categorical { .. } => ColumnKind::Categorical,
        }
    }

    /// Adds a number, with the pane of time that its row lies in if that is known. In a categorical column it is of the
    /// wrong type.
    ///
    /// ```
    /// use driftline_detectors::{ColumnKind, ReferenceBuilder};
    /// let mut builder = ReferenceBuilder::new("hour", ColumnKind::Numeric);
    /// builder.number(Some(7), 13.0);
    /// assert_eq!(builder.build(None).unwrap().profile().usable(), 1);
    /// ```
    pub fn number(&mut self, pane: Option<i64>, value: f64) {
        match &mut self.values {
            Values::Numeric(values) => values.push((pane, value)),
            Values::Categorical { .. } => self.unusable.push((pane, Unusable::WrongType)),
        }
    }

    /// Adds a category. In a numeric column it is of the wrong type.
    ///
    /// ```
    /// use driftline_detectors::{ColumnKind, ReferenceBuilder};
    /// let mut builder = ReferenceBuilder::new("hour", ColumnKind::Categorical);
    /// builder.category(None, "noon");
    /// assert_eq!(builder.build(None).unwrap().profile().usable(), 1);
    /// ```
    pub fn category(&mut self, pane: Option<i64>, name: &str) {
        match &mut self.values {
            Values::Numeric(_) => self.unusable.push((pane, Unusable::WrongType)),
            Values::Categorical { names, rows } => {
                let next = names.len() as u32;
                let index = match names.get(name) {
                    Some(index) => *index,
                    None => *names.entry(name.to_owned()).or_insert(next),
                };
                rows.push((pane, index));
            }
        }
    }

    /// Adds a row in which the column is absent or null.
    ///
    /// ```
    /// use driftline_detectors::{ColumnKind, ReferenceBuilder};
    /// let mut builder = ReferenceBuilder::new("hour", ColumnKind::Numeric);
    /// builder.number(None, 13.0);
    /// builder.missing(None);
    /// let profile = builder.build(None).unwrap().profile();
    /// assert_eq!((profile.rows(), profile.usable()), (2, 1));
    /// ```
    pub fn missing(&mut self, pane: Option<i64>) {
        self.unusable.push((pane, Unusable::Missing));
    }

    /// Rows so far.
    ///
    /// ```
    /// use driftline_detectors::{ColumnKind, ReferenceBuilder};
    /// let mut builder = ReferenceBuilder::new("hour", ColumnKind::Numeric);
    /// builder.number(None, 13.0);
    /// builder.missing(None);
    /// assert_eq!(builder.rows(), 2);
    /// ```
    pub fn rows(&self) -> usize {
        self.unusable.len()
            + match &self.values {
                Values::Numeric(values) => values.len(),
                Values::Categorical { rows, .. } => rows.len(),
            }
    }

    /// The reference. With a window's shape, and when the rows came with panes, its own stretches of time are scored
    /// too (see [`crate::BlockNoise`]).
    ///
    /// # Errors
    /// When no row has a usable value.
    ///
    /// ```
    /// use driftline_detectors::{ColumnKind, ReferenceBuilder};
    /// let builder = ReferenceBuilder::new("hour", ColumnKind::Numeric);
    /// assert!(builder.build(None).is_err(), "a reference needs a value");
    /// ```
    pub fn build(self, window: Option<WindowShape>) -> Result<Reference, BuildError> {
        Reference::of_rows(&self.column, self.kind(), &self, window)
    }
}

impl Rows for ReferenceBuilder {
    fn each(&self, take: &mut dyn FnMut(Option<i64>, RowValue<'_>)) -> Result<(), String> {
        match &self.values {
            Values::Numeric(values) => values.iter().for_each(|(pane, value)| take(*pane, RowValue::Number(*value))),
            Values::Categorical { names, rows } => {
                let mut by_index = vec![""; names.len()];
                for (name, index) in names {
                    by_index[*index as usize] = name;
                }
                rows.iter().for_each(|(pane, index)| take(*pane, RowValue::Category(by_index[*index as usize])));
            }
        }
        for (pane, unusable) in &self.unusable {
            take(
                *pane,
                match unusable {
                    Unusable::Missing => RowValue::Missing,
                    Unusable::WrongType => RowValue::WrongType,
                },
            );
        }
        Ok(())
    }
}

impl Reference {
    /// The reference of a column's rows. With a window's shape, and when the rows come with panes, its own stretches of
    /// time are scored too (see [`crate::BlockNoise`]).
    ///
    /// Memory holds a profile for each pane then, and no row: whatever their number, a numeric column takes a sample of
    /// a million values at most, and a categorical one 262,144 names.
    ///
    /// # Errors
    /// When no row has a usable value, or the rows cannot be read.
    ///
    /// ```
    /// use driftline_detectors::{ColumnKind, Reference, RowValue, Rows};
    ///
    /// struct Squares;
    ///
    /// impl Rows for Squares {
    ///     fn each(&self, take: &mut dyn FnMut(Option<i64>, RowValue<'_>)) -> Result<(), String> {
    ///         (0..100).for_each(|i| take(None, RowValue::Number(f64::from(i * i))));
    ///         Ok(())
    ///     }
    /// }
    ///
    /// let reference = Reference::of_rows("area", ColumnKind::Numeric, &Squares, None).unwrap();
    /// assert_eq!(reference.profile().usable(), 100);
    /// ```
    pub fn of_rows(
        column: &str,
        kind: ColumnKind,
        rows: &dyn Rows,
        window: Option<WindowShape>,
    ) -> Result<Self, BuildError> {
        let unread = |why: String| BuildError::Rows { column: column.to_owned(), why };
        let normal = match kind {
            ColumnKind::Numeric => {
                let (mut survey, mut row) = (NumericSurvey::default(), 0);
                rows.each(&mut |_, value| {
                    if let RowValue::Number(value) = value {
                        survey.add(row, value);
                    }
                    row += 1;
                })
                .map_err(unread)?;
                let (grid, exact) =
                    survey.grid().map_err(|source| BuildError::Grid { column: column.to_owned(), source })?;
                let profile = NumericProfile::empty(&grid, exact);
                Normal::Numeric { grid, exact, profile }
            }
            ColumnKind::Categorical => {
                let mut survey = CategorySurvey::default();
                rows.each(&mut |_, value| {
                    if let RowValue::Category(name) = value {
                        survey.add(name);
                    }
                })
                .map_err(unread)?;
                let dictionary = survey.dictionary();
                let profile = CategoricalProfile::empty(&dictionary);
                Normal::Categorical { dictionary, profile }
            }
            ColumnKind::Associations => {
                let associations = Associations::of_rows(rows).map_err(unread)?;
                let profile = AssociationProfile::empty(&associations);
                Normal::Associations { associations, profile }
            }
            ColumnKind::Contingencies => {
                let contingencies = Contingencies::of_rows(rows).map_err(unread)?;
                let profile = ContingencyProfile::empty(&contingencies);
                Normal::Contingencies { contingencies, profile }
            }
            ColumnKind::Vectors => {
                let mut survey = KernelSurvey::default();
                rows.each(&mut |_, value| {
                    if let RowValue::Vector(vector) = value {
                        survey.add(vector);
                    }
                })
                .map_err(unread)?;
                let Some(kernel) = survey.finish() else {
                    return Err(BuildError::Empty { column: column.to_owned(), rows: 0 });
                };
                let profile = VectorProfile::empty(&kernel);
                Normal::Vectors { kernel, profile }
            }
        };
        let mut reference = Self { column: column.to_owned(), normal, blocks: BTreeMap::new(), nulls: BTreeMap::new() };
        let timed = reference.take_rows(rows, window.is_some())?;
        let total = reference.profile();
        if total.usable() == 0 {
            return Err(BuildError::Empty { column: column.to_owned(), rows: total.rows() });
        }
        if let Some(shape) = window {
            let rare = rare_categories(&reference, rows).map_err(unread)?;
            reference.blocks = block_noise(&reference, &timed, &rare, shape);
            reference.nulls = null_effects(&reference, &timed, &rare, shape);
        }
        Ok(reference)
    }

    /// Takes the counts of these rows for the reference's own, and hands out those of each pane of time.
    pub(crate) fn take_rows(&mut self, rows: &dyn Rows, by_pane: bool) -> Result<BTreeMap<i64, Profile>, BuildError> {
        let unread = |why: String| BuildError::Rows { column: self.column.clone(), why };
        let panes = count_panes(self, rows, by_pane).map_err(unread)?;
        let mut total = self.empty_profile();
        panes.values().for_each(|profile| total.merge(profile));
        self.set_profile(total);
        Ok(panes.into_iter().filter_map(|(pane, profile)| Some((pane?, profile))).collect())
    }
}

/// Numbers that are counted in one go.
const BATCH: usize = 1024;

/// Counts the rows on the reference's cells, pane by pane; rows without a time share one profile, and so do all where
/// panes are of no use.
fn count_panes(
    reference: &Reference,
    rows: &dyn Rows,
    by_pane: bool,
) -> Result<BTreeMap<Option<i64>, Profile>, String> {
    let mut profiles: BTreeMap<Option<i64>, Profile> = BTreeMap::new();
    // Numbers that follow each other in one pane.
    let (mut batch, mut of_batch): (Vec<f64>, Option<i64>) = (Vec::with_capacity(BATCH), None);
    rows.each(&mut |pane, value| {
        let pane = pane.filter(|_| by_pane);
        if !batch.is_empty() && (pane != of_batch || batch.len() == BATCH) {
            reference.count_numbers(profile_of(&mut profiles, reference, of_batch), &batch);
            batch.clear();
        }
        of_batch = pane;
        match value {
            RowValue::Number(value) => batch.push(value),
            RowValue::Category(name) => {
                reference.count_category(profile_of(&mut profiles, reference, pane), name);
            }
            RowValue::Row(row) => reference.count_row(profile_of(&mut profiles, reference, pane), row),
            RowValue::Vector(vector) => reference.count_vector(profile_of(&mut profiles, reference, pane), vector),
            RowValue::Missing => reference.count_missing(profile_of(&mut profiles, reference, pane), 1),
            RowValue::WrongType => reference.count_wrong_type(profile_of(&mut profiles, reference, pane), 1),
        }
    })?;
    if !batch.is_empty() {
        reference.count_numbers(profile_of(&mut profiles, reference, of_batch), &batch);
    }
    Ok(profiles)
}

fn profile_of<'p>(
    profiles: &'p mut BTreeMap<Option<i64>, Profile>,
    reference: &Reference,
    pane: Option<i64>,
) -> &'p mut Profile {
    profiles.entry(pane).or_insert_with(|| reference.empty_profile())
}

/// The categories that only the tail holds, where it knows them and all their rows have a time.
fn rare_categories(reference: &Reference, rows: &dyn Rows) -> Result<Vec<RareCategory>, String> {
    let Normal::Categorical { dictionary, .. } = &reference.normal else { return Ok(Vec::new()) };
    let Some(hashes) = dictionary.tail().and_then(|tail| tail.hashes()) else { return Ok(Vec::new()) };
    let mut spans: BTreeMap<u64, Option<RareCategory>> = BTreeMap::new();
    rows.each(&mut |pane, value| {
        let RowValue::Category(name) = value else { return };
        let hash = category_hash(name);
        if hashes.binary_search(&hash).is_err() {
            return;
        }
        let here = pane.map(|pane| RareCategory { first: pane, last: pane, rows: 1 });
        spans
            .entry(hash)
            .and_modify(|known| {
                *known = known.zip(here).map(|(known, here)| RareCategory {
                    first: known.first.min(here.first),
                    last: known.last.max(here.last),
                    rows: known.rows + 1,
                });
            })
            .or_insert(here);
    })?;
    Ok(spans.into_values().flatten().collect())
}
