//! Building references from rows.

use std::collections::{BTreeMap, HashMap, HashSet};

use crate::blocks::{RareCategory, block_noise};
use crate::budget::null_effects;
use crate::categorical::{CategoricalProfile, Dictionary, MAX_CATEGORIES, MAX_CATEGORY_BYTES, Tail};
use crate::grid::{Grid, GridError};
use crate::numeric::{NumericProfile, is_countable};
use crate::reference::{ColumnKind, Normal, Profile, Reference};

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

/// Collects one column's values, and makes its reference.
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
        rows: usize,
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
    /// A builder for a column.
    pub fn new(column: impl Into<String>, kind: ColumnKind) -> Self {
        let values = match kind {
            ColumnKind::Numeric => Values::Numeric(Vec::new()),
            ColumnKind::Categorical => Values::Categorical { names: HashMap::new(), rows: Vec::new() },
        };
        Self { column: column.into(), values, unusable: Vec::new() }
    }

    /// The column's kind.
    pub fn kind(&self) -> ColumnKind {
        match self.values {
            Values::Numeric(_) => ColumnKind::Numeric,
            Values::Categorical { .. } => ColumnKind::Categorical,
        }
    }

    /// Adds a number, with the pane of time that its row lies in if that is known. In a categorical column it is of the
    /// wrong type.
    pub fn number(&mut self, pane: Option<i64>, value: f64) {
        match &mut self.values {
            Values::Numeric(values) => values.push((pane, value)),
            Values::Categorical { .. } => self.unusable.push((pane, Unusable::WrongType)),
        }
    }

    /// Adds a category. In a numeric column it is of the wrong type.
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
    pub fn missing(&mut self, pane: Option<i64>) {
        self.unusable.push((pane, Unusable::Missing));
    }

    /// Rows so far.
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
    pub fn build(self, window: Option<WindowShape>) -> Result<Reference, BuildError> {
        let rows = self.rows();
        let normal = match &self.values {
            Values::Numeric(values) => {
                let (grid, exact) =
                    grid(values).map_err(|source| BuildError::Grid { column: self.column.clone(), source })?;
                let profile = NumericProfile::empty(&grid, exact);
                Normal::Numeric { grid, exact, profile }
            }
            Values::Categorical { names, rows } => {
                let dictionary = dictionary(names, rows);
                let profile = CategoricalProfile::empty(&dictionary);
                Normal::Categorical { dictionary, profile }
            }
        };
        let mut reference =
            Reference { column: self.column.clone(), normal, blocks: BTreeMap::new(), nulls: BTreeMap::new() };
        let panes = self.profiles(&reference);
        let mut total = reference.empty_profile();
        for profile in panes.values() {
            total.merge(profile);
        }
        if total.usable() == 0 {
            return Err(BuildError::Empty { column: self.column, rows });
        }
        match (&mut reference.normal, total) {
            (Normal::Numeric { profile, .. }, Profile::Numeric(total)) => *profile = total,
            (Normal::Categorical { profile, .. }, Profile::Categorical(total)) => *profile = total,
            _ => unreachable!("a profile is of the kind of its reference"),
        }
        if let Some(shape) = window {
            let timed = panes.into_iter().filter_map(|(pane, profile)| Some((pane?, profile))).collect();
            let rare = self.rare_categories(&reference);
            reference.blocks = block_noise(&reference, &timed, &rare, shape);
            reference.nulls = null_effects(&reference, &timed, &rare, shape);
        }
        Ok(reference)
    }

    /// The categories that only the tail holds, where all their rows have a time.
    fn rare_categories(&self, reference: &Reference) -> Vec<RareCategory> {
        let (Values::Categorical { names, rows }, Normal::Categorical { dictionary, .. }) =
            (&self.values, &reference.normal)
        else {
            return Vec::new();
        };
        if !dictionary.has_tail() {
            return Vec::new();
        }
        let named: HashSet<&str> = dictionary.categories().iter().map(String::as_str).collect();
        let is_rare: HashSet<u32> =
            names.iter().filter(|(name, _)| !named.contains(name.as_str())).map(|(_, index)| *index).collect();
        let mut spans: BTreeMap<u32, Option<RareCategory>> = BTreeMap::new();
        for (pane, index) in rows.iter().filter(|(_, index)| is_rare.contains(index)) {
            let here = pane.map(|pane| RareCategory { first: pane, last: pane, rows: 1 });
            spans
                .entry(*index)
                .and_modify(|known| {
                    *known = known.zip(here).map(|(known, here)| RareCategory {
                        first: known.first.min(here.first),
                        last: known.last.max(here.last),
                        rows: known.rows + 1,
                    });
                })
                .or_insert(here);
        }
        spans.into_values().flatten().collect()
    }

    /// Counts the rows on the reference's cells, pane by pane; rows without a time share one profile.
    fn profiles(&self, reference: &Reference) -> BTreeMap<Option<i64>, Profile> {
        let mut profiles: BTreeMap<Option<i64>, Profile> = BTreeMap::new();
        let mut of = |pane: Option<i64>, count: &dyn Fn(&mut Profile)| {
            count(profiles.entry(pane).or_insert_with(|| reference.empty_profile()));
        };
        match &self.values {
            Values::Numeric(values) => {
                for (pane, value) in values {
                    of(*pane, &|profile| reference.count_numbers(profile, &[*value]));
                }
            }
            Values::Categorical { names, rows } => {
                let mut by_index = vec![""; names.len()];
                for (name, index) in names {
                    by_index[*index as usize] = name;
                }
                for (pane, index) in rows {
                    of(*pane, &|profile| reference.count_category(profile, by_index[*index as usize]));
                }
            }
        }
        for (pane, unusable) in &self.unusable {
            of(*pane, &|profile| match unusable {
                Unusable::Missing => reference.count_missing(profile, 1),
                Unusable::WrongType => reference.count_wrong_type(profile, 1),
            });
        }
        profiles
    }
}

/// All distinct values where they are few, else quantiles by the inverted CDF with the smallest and the largest value;
/// and whether it is all of them.
fn grid(values: &[(Option<i64>, f64)]) -> Result<(Grid, bool), GridError> {
    let mut sorted: Vec<f64> =
        values.iter().map(|(_, value)| *value + 0.0).filter(|value| is_countable(*value)).collect();
    sorted.sort_unstable_by(f64::total_cmp);
    let mut distinct = sorted.clone();
    distinct.dedup();
    if distinct.len() <= MAX_EXACT_VALUES {
        return Ok((Grid::new(distinct)?, true));
    }
    let last = sorted.len() - 1;
    let mut cuts: Vec<f64> =
        (0..=QUANTILES).map(|k| sorted[(k * sorted.len()).div_ceil(QUANTILES).saturating_sub(1).min(last)]).collect();
    cuts.dedup();
    Ok((Grid::new(cuts)?, false))
}

/// The most frequent categories, by falling frequency and then by name, so that the same rows make the same file.
fn dictionary(names: &HashMap<String, u32>, rows: &[(Option<i64>, u32)]) -> Dictionary {
    let mut counts = vec![0u64; names.len()];
    for (_, index) in rows {
        counts[*index as usize] += 1;
    }
    let mut ranked: Vec<(&String, u64)> = names.iter().map(|(name, index)| (name, counts[*index as usize])).collect();
    ranked.sort_unstable_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(b.0)));
    let (mut kept, mut rest) = (Vec::new(), Vec::new());
    for (name, rows) in ranked {
        if kept.len() < MAX_CATEGORIES && name.len() <= MAX_CATEGORY_BYTES {
            kept.push(name.clone());
        } else {
            rest.push((name.as_str(), rows));
        }
    }
    let tail = (!rest.is_empty()).then(|| Tail::new(rest));
    Dictionary::new(kept, tail)
}
