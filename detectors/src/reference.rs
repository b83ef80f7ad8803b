//! A reference: what normal looks like for one column, and how windows are counted and scored against it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::blocks::BlockNoise;
use crate::budget::NullEffects;
use crate::categorical::{CategoricalProfile, Dictionary};
use crate::coarse::Coarsening;
use crate::distances::shares::Shares;
use crate::distances::{Distance, cramer_von_mises, ks, missing, wasserstein};
use crate::grid::Grid;
use crate::numeric::NumericProfile;
use crate::score::{Detector, Judgement, Score};
use crate::steps::Steps;

/// What kind of values a column holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ColumnKind {
    /// Finite numbers, compared by their order and distance.
    Numeric,
    /// Names without an order; booleans are two of them.
    Categorical,
}

/// What normal looks like for one column.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Reference {
    /// The column's name.
    pub column: String,
    /// Its cells, and the reference's own counts on them.
    pub normal: Normal,
    /// What each detector says of the reference's own stretches of time; empty when it was built without times.
    pub blocks: BTreeMap<Detector, BlockNoise>,
    /// What each detector says of histories that could have been, which a budget of false pages is made of; empty when
    /// there is no block noise.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub nulls: BTreeMap<Detector, NullEffects>,
}

/// The cells of a reference with its own counts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Normal {
    /// A numeric column.
    Numeric {
        /// The cut points.
        grid: Grid,
        /// Whether they are all of the distinct values.
        exact: bool,
        /// The reference's counts.
        profile: NumericProfile,
    },
    /// A categorical column.
    Categorical {
        /// The categories.
        dictionary: Dictionary,
        /// The reference's counts.
        profile: CategoricalProfile,
    },
}

/// Counts of one column on its reference's cells. Profiles of one reference add up.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Profile {
    /// Of a numeric column.
    Numeric(NumericProfile),
    /// Of a categorical column.
    Categorical(CategoricalProfile),
}

impl Profile {
    /// Adds another profile of the same reference.
    ///
    /// # Panics
    /// When the two are not of the same reference.
    pub fn merge(&mut self, other: &Self) {
        match (self, other) {
            (Self::Numeric(mine), Self::Numeric(theirs)) => mine.merge(theirs),
            (Self::Categorical(mine), Self::Categorical(theirs)) => mine.merge(theirs),
            _ => panic!("profiles add up on one reference only"),
        }
    }

    /// Takes back what was merged before, of a part of the reference itself.
    ///
    /// # Panics
    /// When the two are not of the same reference, or the other was not merged before.
    pub(crate) fn remove(&mut self, other: &Self) {
        match (self, other) {
            (Self::Numeric(mine), Self::Numeric(theirs)) => mine.remove(theirs),
            (Self::Categorical(mine), Self::Categorical(theirs)) => mine.remove(theirs),
            _ => panic!("profiles add up on one reference only"),
        }
    }

    /// How many rows were counted, whatever they held.
    pub fn rows(&self) -> u64 {
        match self {
            Self::Numeric(profile) => profile.rows(),
            Self::Categorical(profile) => profile.rows(),
        }
    }

    /// Rows with a usable value: the sample size of every distance.
    pub fn usable(&self) -> u64 {
        match self {
            Self::Numeric(profile) => profile.finite(),
            Self::Categorical(profile) => profile.valid(),
        }
    }
}

/// From which effect on a difference matters, for each detector; the defaults unless set.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Thresholds(pub BTreeMap<Detector, f64>);

impl Thresholds {
    fn of(&self, detector: Detector) -> f64 {
        self.0.get(&detector).copied().unwrap_or_else(|| detector.default_threshold())
    }
}

impl Reference {
    /// The column's kind.
    pub fn kind(&self) -> ColumnKind {
        match self.normal {
            Normal::Numeric { .. } => ColumnKind::Numeric,
            Normal::Categorical { .. } => ColumnKind::Categorical,
        }
    }

    /// The reference's own counts.
    pub fn profile(&self) -> Profile {
        match &self.normal {
            Normal::Numeric { profile, .. } => Profile::Numeric(profile.clone()),
            Normal::Categorical { profile, .. } => Profile::Categorical(profile.clone()),
        }
    }

    /// A profile without any rows.
    pub fn empty_profile(&self) -> Profile {
        match &self.normal {
            Normal::Numeric { grid, exact, .. } => Profile::Numeric(NumericProfile::empty(grid, *exact)),
            Normal::Categorical { dictionary, .. } => Profile::Categorical(CategoricalProfile::empty(dictionary)),
        }
    }

    /// Counts numbers. In a categorical column they are of the wrong type.
    pub fn count_numbers(&self, profile: &mut Profile, values: &[f64]) {
        match (&self.normal, profile) {
            (Normal::Numeric { grid, .. }, Profile::Numeric(profile)) => profile.count(grid, values),
            (_, profile) => self.count_wrong_type(profile, values.len() as u64),
        }
    }

    /// Counts one category. In a numeric column it is of the wrong type.
    pub fn count_category(&self, profile: &mut Profile, category: &str) {
        match (&self.normal, profile) {
            (Normal::Categorical { dictionary, .. }, Profile::Categorical(profile)) => {
                profile.count(dictionary, category)
            }
            (_, profile) => self.count_wrong_type(profile, 1),
        }
    }

    /// Counts rows in which the column was absent or null.
    pub fn count_missing(&self, profile: &mut Profile, rows: u64) {
        match profile {
            Profile::Numeric(profile) => profile.missing += rows,
            Profile::Categorical(profile) => profile.missing += rows,
        }
    }

    /// Counts rows in which the column held something of another type.
    pub fn count_wrong_type(&self, profile: &mut Profile, rows: u64) {
        match profile {
            Profile::Numeric(profile) => profile.wrong_type += rows,
            Profile::Categorical(profile) => profile.wrong_type += rows,
        }
    }

    /// Every score that fits the column's kind, in the order of [`Detector::ALL`]. Without a usable value in the window
    /// only the share of missing values is scored; without any row, nothing.
    ///
    /// `window_is_covered` says whether enough of the window's stretch of time holds rows for it to be judged at all.
    pub fn scores(&self, window: &Profile, thresholds: &Thresholds, window_is_covered: bool) -> Vec<Score> {
        let sizes = (self.profile().usable(), window.usable());
        let mut scores: Vec<Score> = self
            .distances(&self.profile(), window)
            .into_iter()
            .map(|(detector, distance)| {
                let judgement = Judgement {
                    threshold: thresholds.of(detector),
                    blocks: self.blocks.get(&detector).map(BlockNoise::level),
                    budget: self.nulls.get(&detector).and_then(|null| null.allowance(detector, distance.noise)),
                    window_is_covered,
                };
                let sizes = if detector == Detector::MissingShare { self.rows_with(window) } else { sizes };
                Score::judge(detector, distance, sizes, judgement)
            })
            .collect();
        scores.sort_by_key(|score| Detector::ALL.iter().position(|detector| *detector == score.detector));
        scores
    }

    fn rows_with(&self, window: &Profile) -> (u64, u64) {
        (self.profile().rows(), window.rows())
    }

    /// What the detectors say of a stretch of this reference against the rest of it. `rare_rows` are the stretch's rows in
    /// categories that have no cell of their own and occur in this stretch only.
    pub(crate) fn effects(&self, rest: &Profile, stretch: &Profile, rare_rows: u64) -> Vec<(Detector, f64)> {
        let (Normal::Categorical { dictionary, .. }, Profile::Categorical(reference), Profile::Categorical(window)) =
            (&self.normal, rest, stretch)
        else {
            return self.numeric_effects(rest, stretch);
        };
        let mut effects = Vec::new();
        if reference.rows() > 0 && window.rows() > 0 {
            effects.push((Detector::MissingShare, more_missing(rest, stretch)));
        }
        if reference.valid() > 0 && window.valid() > 0 {
            effects.extend(categorical_shares(dictionary, reference, window).effects());
            if dictionary.knows_what_is_new() {
                let cells = reference.cells.iter().zip(&window.cells);
                let new: u64 = cells.filter(|(in_rest, _)| **in_rest == 0).map(|(_, in_stretch)| in_stretch).sum();
                effects.push((Detector::NewCategoryShare, (new + rare_rows) as f64 / window.valid() as f64));
            }
        }
        effects
    }

    /// Those of a numeric column, without what chance makes of its shares: that takes longer than all of this.
    fn numeric_effects(&self, rest: &Profile, stretch: &Profile) -> Vec<(Detector, f64)> {
        let mut effects = Vec::new();
        if rest.rows() > 0 && stretch.rows() > 0 {
            effects.push((Detector::MissingShare, more_missing(rest, stretch)));
        }
        let (Normal::Numeric { grid, profile, .. }, Profile::Numeric(reference), Profile::Numeric(window)) =
            (&self.normal, rest, stretch)
        else {
            return effects;
        };
        if reference.finite() > 0 && window.finite() > 0 {
            let steps = Steps::new(grid, reference, window);
            effects.push((Detector::Ks, ks::statistic(&steps).0));
            effects.push((Detector::CramerVonMises, cramer_von_mises::effect(&steps)));
            let deviation = profile.standard_deviation().unwrap_or(0.0);
            effects.extend(wasserstein::distance(&steps, deviation).map(|d| (Detector::Wasserstein, d.effect)));
            let coarsening = Coarsening::new(grid, profile);
            let shares = Shares::new(coarsening.counts(reference).into_iter().zip(coarsening.counts(window)), 0);
            let of_numbers =
                |(detector, _): &(Detector, f64)| [Detector::Psi, Detector::JensenShannon].contains(detector);
            effects.extend(shares.effects().into_iter().filter(of_numbers));
        }
        effects.retain(|(_, effect)| effect.is_finite());
        effects
    }

    /// What each detector's noise would be were the window's rows independent.
    pub(crate) fn independent_noise(&self, window: &Profile) -> BTreeMap<Detector, f64> {
        let distances = self.distances(&self.profile(), window).into_iter();
        distances.map(|(detector, distance)| (detector, distance.noise)).collect()
    }

    /// A profile's counts in the cells on which shares are compared.
    pub(crate) fn share_counts(&self, profile: &Profile) -> Vec<u64> {
        match (&self.normal, profile) {
            (Normal::Numeric { grid, profile: reference, .. }, Profile::Numeric(profile)) => {
                Coarsening::new(grid, reference).counts(profile)
            }
            (_, Profile::Categorical(profile)) => profile.cells.clone(),
            _ => unreachable!("a profile is of the kind of its reference"),
        }
    }

    /// All distances between two profiles of this reference's cells; one that is no number is left out.
    fn distances(&self, reference: &Profile, window: &Profile) -> Vec<(Detector, Distance)> {
        let mut distances = Vec::new();
        let rows = (reference.rows(), window.rows());
        if rows.0 > 0 && rows.1 > 0 {
            distances.push((Detector::MissingShare, missing_share(reference, window)));
        }
        if reference.usable() == 0 || window.usable() == 0 {
            return distances;
        }
        match (&self.normal, reference, window) {
            (Normal::Numeric { grid, profile, .. }, Profile::Numeric(reference), Profile::Numeric(window)) => {
                let steps = Steps::new(grid, reference, window);
                distances.push((Detector::Ks, ks::distance(&steps)));
                distances.push((Detector::CramerVonMises, cramer_von_mises::distance(&steps)));
                let deviation = profile.standard_deviation().unwrap_or(0.0);
                distances.extend(wasserstein::distance(&steps, deviation).map(|d| (Detector::Wasserstein, d)));
                let coarsening = Coarsening::new(grid, profile);
                let shares = Shares::new(coarsening.counts(reference).into_iter().zip(coarsening.counts(window)), 0);
                distances.push((Detector::Psi, shares.psi()));
                distances.push((Detector::JensenShannon, shares.jensen_shannon()));
            }
            (Normal::Categorical { dictionary, .. }, Profile::Categorical(reference), Profile::Categorical(window)) => {
                let shares = categorical_shares(dictionary, reference, window);
                distances.push((Detector::Psi, shares.psi()));
                distances.push((Detector::ChiSquare, shares.chi_square()));
                distances.push((Detector::TotalVariation, shares.total_variation()));
                distances.push((Detector::JensenShannon, shares.jensen_shannon()));
                distances.push((Detector::Hellinger, shares.hellinger()));
                distances.push((Detector::LInfinity, shares.l_infinity()));
                if dictionary.knows_what_is_new() {
                    let seen_once = dictionary.seen_once(reference);
                    let distance = missing::new_category_share(window.new_rows, seen_once, shares.sizes());
                    distances.push((Detector::NewCategoryShare, distance));
                }
            }
            _ => unreachable!("a profile is of the kind of its reference"),
        }
        distances.retain(|(_, distance)| distance.is_finite());
        distances
    }
}

fn missing_share(reference: &Profile, window: &Profile) -> Distance {
    missing::missing_share((unusable(reference), unusable(window)), (reference.rows(), window.rows()))
}

fn more_missing(reference: &Profile, window: &Profile) -> f64 {
    missing::more_missing((unusable(reference), unusable(window)), (reference.rows(), window.rows()))
}

fn unusable(profile: &Profile) -> u64 {
    profile.rows() - profile.usable()
}

/// Counts of the known categories, and of each new one that the window holds.
///
/// A reference with a tail knows too little of its rare categories to compare them one by one: some have a cell, some share
/// the tail's, and some it missed by chance. A category has its row because the reference happened to meet it, so each kind
/// on its own would differ from the next sample without any drift (the winner's curse); all together do not.
fn categorical_shares(dictionary: &Dictionary, reference: &CategoricalProfile, window: &CategoricalProfile) -> Shares {
    let cells = reference.cells.iter().copied().zip(window.cells.iter().copied());
    if dictionary.has_tail() {
        let named = dictionary.categories().len();
        let is_common = |(cell, (rows, _)): &(usize, (u64, u64))| *cell < named && *rows >= COMMON_ROWS;
        let (common, rare): (Vec<_>, Vec<_>) = cells.enumerate().partition(is_common);
        let together = rare.iter().fold((0, window.new_rows), |sum, (_, (r, w))| (sum.0 + r, sum.1 + w));
        return Shares::new(common.into_iter().map(|(_, counts)| counts).chain([together]), 0);
    }
    match &window.new {
        Some(named) => Shares::new(cells.chain(named.values().map(|count| (0, *count))), 0),
        None => Shares::new(cells, window.new_rows),
    }
}

/// From so many rows on in the reference, a category is compared on its own although there is a tail.
const COMMON_ROWS: u64 = 10;
