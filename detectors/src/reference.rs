//! A reference: what normal looks like for one column, and how windows are counted and scored against it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::associations::{AssociationProfile, Associations};
use crate::blocks::BlockNoise;
use crate::budget::NullEffects;
use crate::categorical::{CategoricalProfile, Dictionary};
use crate::coarse::Coarsening;
use crate::comparison::Comparison;
use crate::contingencies::{Contingencies, ContingencyProfile};
use crate::detector::Detector;
use crate::grid::Grid;
use crate::numeric::NumericProfile;
use crate::score::{Judgement, Score};
use crate::vectors::{Kernel, VectorProfile};

/// What kind of values a column holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ColumnKind {
    /// Finite numbers, compared by their order and distance.
    Numeric,
    /// Names without an order; booleans are two of them.
    Categorical,
    /// Numbers of several columns, compared by how they go together.
    Associations,
    /// Vectors, compared by where they lie.
    Vectors,
    /// Names of several columns, compared by how they go together.
    Contingencies,
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
    /// Pairs of columns of numbers.
    Associations {
        /// What they are measured by.
        associations: Associations,
        /// The reference's sums.
        profile: AssociationProfile,
    },
    /// A column of vectors.
    Vectors {
        /// The features that are summed up.
        kernel: Kernel,
        /// The reference's sums.
        profile: VectorProfile,
    },
    /// Pairs of columns of names.
    Contingencies {
        /// What they are counted by.
        contingencies: Contingencies,
        /// The reference's counts.
        profile: ContingencyProfile,
    },
}

/// Counts of one column on its reference's cells. Profiles of one reference add up.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Profile {
    /// Of a numeric column.
    Numeric(NumericProfile),
    /// Of a categorical column.
    Categorical(CategoricalProfile),
    /// Of pairs of columns of numbers.
    Associations(AssociationProfile),
    /// Of a column of vectors.
    Vectors(VectorProfile),
    /// Of pairs of columns of names.
    Contingencies(ContingencyProfile),
}

impl Profile {
    /// Adds another profile of the same reference.
    ///
    /// # Panics
    /// When the two are not of the same reference.
    ///
    /// ```
    /// use driftline_detectors::{ColumnKind, ReferenceBuilder};
    /// let mut builder = ReferenceBuilder::new("hour", ColumnKind::Numeric);
    /// (0..48).for_each(|i| builder.number(None, f64::from(i % 24)));
    /// let reference = builder.build(None).unwrap();
    /// let mut twice = reference.profile();
    /// twice.merge(&reference.profile());
    /// assert_eq!(twice.rows(), 96);
    /// ```
    pub fn merge(&mut self, other: &Self) {
        match (self, other) {
            (Self::Numeric(mine), Self::Numeric(theirs)) => mine.merge(theirs),
            (Self::Categorical(mine), Self::Categorical(theirs)) => mine.merge(theirs),
            (Self::Associations(mine), Self::Associations(theirs)) => mine.merge(theirs),
            (Self::Contingencies(mine), Self::Contingencies(theirs)) => mine.merge(theirs),
            (Self::Vectors(mine), Self::Vectors(theirs)) => mine.merge(theirs),
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
            (Self::Associations(mine), Self::Associations(theirs)) => mine.remove(theirs),
            (Self::Contingencies(mine), Self::Contingencies(theirs)) => mine.remove(theirs),
            (Self::Vectors(mine), Self::Vectors(theirs)) => mine.remove(theirs),
            _ => panic!("profiles add up on one reference only"),
        }
    }

    /// How many rows were counted, whatever they held.
    ///
    /// ```
    /// use driftline_detectors::{ColumnKind, ReferenceBuilder};
    /// let mut builder = ReferenceBuilder::new("hour", ColumnKind::Numeric);
    /// (0..48).for_each(|i| builder.number(None, f64::from(i % 24)));
    /// let reference = builder.build(None).unwrap();
    /// assert_eq!(reference.profile().rows(), 48);
    /// ```
    pub fn rows(&self) -> u64 {
        match self {
            Self::Numeric(profile) => profile.rows(),
            Self::Categorical(profile) => profile.rows(),
            Self::Associations(profile) => profile.all_rows(),
            Self::Contingencies(profile) => profile.all_rows(),
            Self::Vectors(profile) => profile.all_rows(),
        }
    }

    /// Rows with a usable value: the sample size of every distance.
    ///
    /// ```
    /// use driftline_detectors::{ColumnKind, ReferenceBuilder};
    /// let mut builder = ReferenceBuilder::new("hour", ColumnKind::Numeric);
    /// (0..48).for_each(|i| builder.number(None, f64::from(i % 24)));
    /// let reference = builder.build(None).unwrap();
    /// let mut window = reference.empty_profile();
    /// reference.count_numbers(&mut window, &[7.0, f64::NAN]);
    /// assert_eq!(window.usable(), 1);
    /// ```
    pub fn usable(&self) -> u64 {
        match self {
            Self::Numeric(profile) => profile.finite(),
            Self::Categorical(profile) => profile.valid(),
            Self::Associations(profile) => profile.rows,
            Self::Contingencies(profile) => profile.rows,
            Self::Vectors(profile) => profile.rows,
        }
    }
}

/// From which effect on a difference matters, for each detector; the defaults unless set.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Thresholds(pub BTreeMap<Detector, f64>);

impl Thresholds {
    pub(crate) fn of(&self, detector: Detector) -> f64 {
        self.0.get(&detector).copied().unwrap_or_else(|| detector.default_threshold())
    }
}

impl Reference {
    /// The column's kind.
    ///
    /// ```
    /// use driftline_detectors::{ColumnKind, ReferenceBuilder};
    /// let mut builder = ReferenceBuilder::new("hour", ColumnKind::Numeric);
    /// (0..48).for_each(|i| builder.number(None, f64::from(i % 24)));
    /// let reference = builder.build(None).unwrap();
    /// assert_eq!(reference.kind(), ColumnKind::Numeric);
    /// ```
    pub fn kind(&self) -> ColumnKind {
        match self.normal {
            Normal::Numeric { .. } => ColumnKind::Numeric,
            Normal::Categorical { .. } => ColumnKind::Categorical,
            Normal::Associations { .. } => ColumnKind::Associations,
            Normal::Contingencies { .. } => ColumnKind::Contingencies,
            Normal::Vectors { .. } => ColumnKind::Vectors,
        }
    }

    /// The reference's own counts.
    ///
    /// ```
    /// use driftline_detectors::{ColumnKind, ReferenceBuilder};
    /// let mut builder = ReferenceBuilder::new("hour", ColumnKind::Numeric);
    /// (0..48).for_each(|i| builder.number(None, f64::from(i % 24)));
    /// let reference = builder.build(None).unwrap();
    /// assert_eq!(reference.profile().rows(), 48);
    /// ```
    pub fn profile(&self) -> Profile {
        match &self.normal {
            Normal::Numeric { profile, .. } => Profile::Numeric(profile.clone()),
            Normal::Categorical { profile, .. } => Profile::Categorical(profile.clone()),
            Normal::Associations { profile, .. } => Profile::Associations(profile.clone()),
            Normal::Contingencies { profile, .. } => Profile::Contingencies(profile.clone()),
            Normal::Vectors { profile, .. } => Profile::Vectors(profile.clone()),
        }
    }

    /// Takes other counts for the reference's own.
    ///
    /// # Panics
    /// When they are not of this reference.
    pub(crate) fn set_profile(&mut self, counts: Profile) {
        match (&mut self.normal, counts) {
            (Normal::Numeric { profile, .. }, Profile::Numeric(counts)) => *profile = counts,
            (Normal::Categorical { profile, .. }, Profile::Categorical(counts)) => *profile = counts,
            (Normal::Associations { profile, .. }, Profile::Associations(counts)) => *profile = counts,
            (Normal::Contingencies { profile, .. }, Profile::Contingencies(counts)) => *profile = counts,
            (Normal::Vectors { profile, .. }, Profile::Vectors(counts)) => *profile = counts,
            _ => unreachable!("a profile is of the kind of its reference"),
        }
    }

    /// A profile without any rows.
    ///
    /// ```
    /// use driftline_detectors::{ColumnKind, ReferenceBuilder};
    /// let mut builder = ReferenceBuilder::new("hour", ColumnKind::Numeric);
    /// (0..48).for_each(|i| builder.number(None, f64::from(i % 24)));
    /// let reference = builder.build(None).unwrap();
    /// assert_eq!(reference.empty_profile().rows(), 0);
    /// ```
    pub fn empty_profile(&self) -> Profile {
        match &self.normal {
            Normal::Numeric { grid, exact, .. } => Profile::Numeric(NumericProfile::empty(grid, *exact)),
            Normal::Categorical { dictionary, .. } => Profile::Categorical(CategoricalProfile::empty(dictionary)),
            Normal::Associations { associations, .. } => Profile::Associations(AssociationProfile::empty(associations)),
            Normal::Contingencies { contingencies, .. } => {
                Profile::Contingencies(ContingencyProfile::empty(contingencies))
            }
            Normal::Vectors { kernel, .. } => Profile::Vectors(VectorProfile::empty(kernel)),
        }
    }

    /// Counts numbers. In a categorical column they are of the wrong type.
    ///
    /// ```
    /// use driftline_detectors::{ColumnKind, ReferenceBuilder};
    /// let mut builder = ReferenceBuilder::new("hour", ColumnKind::Numeric);
    /// (0..48).for_each(|i| builder.number(None, f64::from(i % 24)));
    /// let reference = builder.build(None).unwrap();
    /// let mut window = reference.empty_profile();
    /// reference.count_numbers(&mut window, &[7.0, 8.0]);
    /// assert_eq!(window.usable(), 2);
    /// ```
    pub fn count_numbers(&self, profile: &mut Profile, values: &[f64]) {
        match (&self.normal, profile) {
            (Normal::Numeric { grid, .. }, Profile::Numeric(profile)) => profile.count(grid, values),
            (_, profile) => self.count_wrong_type(profile, values.len() as u64),
        }
    }

    /// Counts one category. In a numeric column it is of the wrong type.
    ///
    /// ```
    /// use driftline_detectors::{ColumnKind, ReferenceBuilder};
    /// let mut builder = ReferenceBuilder::new("hour", ColumnKind::Numeric);
    /// (0..48).for_each(|i| builder.number(None, f64::from(i % 24)));
    /// let reference = builder.build(None).unwrap();
    /// let mut window = reference.empty_profile();
    /// reference.count_category(&mut window, "noon");
    /// assert_eq!((window.rows(), window.usable()), (1, 0));
    /// ```
    pub fn count_category(&self, profile: &mut Profile, category: &str) {
        match (&self.normal, profile) {
            (Normal::Categorical { dictionary, .. }, Profile::Categorical(profile)) => {
                profile.count(dictionary, category)
            }
            (_, profile) => self.count_wrong_type(profile, 1),
        }
    }

    /// Counts what a row holds in several columns: a number, or the code of a name, for each; NaN where it has none. In a
    /// column of anything else it is of the wrong type.
    ///
    /// ```
    /// use driftline_detectors::{ColumnKind, ReferenceBuilder};
    /// let mut builder = ReferenceBuilder::new("hour", ColumnKind::Numeric);
    /// (0..48).for_each(|i| builder.number(None, f64::from(i % 24)));
    /// let reference = builder.build(None).unwrap();
    /// let mut window = reference.empty_profile();
    /// reference.count_row(&mut window, &[7.0, 8.0]);
    /// assert_eq!((window.rows(), window.usable()), (1, 0));
    /// ```
    pub fn count_row(&self, profile: &mut Profile, row: &[f64]) {
        match (&self.normal, profile) {
            (Normal::Associations { associations, .. }, Profile::Associations(profile)) => {
                profile.count(associations, row);
            }
            (Normal::Contingencies { contingencies, .. }, Profile::Contingencies(profile)) => {
                profile.count(contingencies, row);
            }
            (_, profile) => self.count_wrong_type(profile, 1),
        }
    }

    /// Counts a vector. In a column of anything else it is of the wrong type.
    ///
    /// ```
    /// use driftline_detectors::{ColumnKind, ReferenceBuilder};
    /// let mut builder = ReferenceBuilder::new("hour", ColumnKind::Numeric);
    /// (0..48).for_each(|i| builder.number(None, f64::from(i % 24)));
    /// let reference = builder.build(None).unwrap();
    /// let mut window = reference.empty_profile();
    /// reference.count_vector(&mut window, &[0.5, 0.25]);
    /// assert_eq!((window.rows(), window.usable()), (1, 0));
    /// ```
    pub fn count_vector(&self, profile: &mut Profile, vector: &[f32]) {
        match (&self.normal, profile) {
            (Normal::Vectors { kernel, .. }, Profile::Vectors(profile)) => profile.count(kernel, vector),
            (_, profile) => self.count_wrong_type(profile, 1),
        }
    }

    /// Counts rows in which the column was absent or null.
    ///
    /// ```
    /// use driftline_detectors::{ColumnKind, ReferenceBuilder};
    /// let mut builder = ReferenceBuilder::new("hour", ColumnKind::Numeric);
    /// (0..48).for_each(|i| builder.number(None, f64::from(i % 24)));
    /// let reference = builder.build(None).unwrap();
    /// let mut window = reference.empty_profile();
    /// reference.count_missing(&mut window, 3);
    /// assert_eq!((window.rows(), window.usable()), (3, 0));
    /// ```
    pub fn count_missing(&self, profile: &mut Profile, rows: u64) {
        match profile {
            Profile::Numeric(profile) => profile.missing += rows,
            Profile::Categorical(profile) => profile.missing += rows,
            Profile::Associations(profile) => profile.missing += rows,
            Profile::Contingencies(profile) => profile.missing += rows,
            Profile::Vectors(profile) => profile.missing += rows,
        }
    }

    /// Counts rows in which the column held something of another type.
    ///
    /// ```
    /// use driftline_detectors::{ColumnKind, ReferenceBuilder};
    /// let mut builder = ReferenceBuilder::new("hour", ColumnKind::Numeric);
    /// (0..48).for_each(|i| builder.number(None, f64::from(i % 24)));
    /// let reference = builder.build(None).unwrap();
    /// let mut window = reference.empty_profile();
    /// reference.count_wrong_type(&mut window, 2);
    /// assert_eq!((window.rows(), window.usable()), (2, 0));
    /// ```
    pub fn count_wrong_type(&self, profile: &mut Profile, rows: u64) {
        match profile {
            Profile::Numeric(profile) => profile.wrong_type += rows,
            Profile::Categorical(profile) => profile.wrong_type += rows,
            Profile::Associations(profile) => profile.wrong_type += rows,
            Profile::Contingencies(profile) => profile.wrong_type += rows,
            Profile::Vectors(profile) => profile.wrong_type += rows,
        }
    }

    /// Every score that fits the column's kind, in the order of [`Detector::ALL`]. Without a usable value in the window
    /// only the shares of what is none are scored; without any row, nothing.
    ///
    /// `window_is_covered` says whether enough of the window's stretch of time holds rows for it to be judged at all.
    ///
    /// ```
    /// use driftline_detectors::{ColumnKind, Detector, ReferenceBuilder, Thresholds, Verdict};
    /// let mut builder = ReferenceBuilder::new("temperature", ColumnKind::Numeric);
    /// (0..2000).for_each(|i| builder.number(None, f64::from(i % 40)));
    /// let reference = builder.build(None).unwrap();
    /// let mut window = reference.empty_profile();
    /// reference.count_numbers(&mut window, &[21.5; 300]);
    /// let scores = reference.scores(&window, &Thresholds::default(), true);
    /// let stuck = scores.iter().find(|score| score.detector == Detector::StuckShare).unwrap();
    /// assert_eq!((stuck.value, stuck.verdict), (1.0 - 1.0 / 40.0, Verdict::Drift));
    /// ```
    pub fn scores(&self, window: &Profile, thresholds: &Thresholds, window_is_covered: bool) -> Vec<Score> {
        self.scores_of(Detector::ALL, window, thresholds, window_is_covered)
    }

    /// Those of [`Self::scores`] that are asked for; only these are worked out.
    ///
    /// ```
    /// use driftline_detectors::{ColumnKind, Detector, ReferenceBuilder, Thresholds};
    /// let mut builder = ReferenceBuilder::new("hour", ColumnKind::Numeric);
    /// (0..240).for_each(|i| builder.number(None, f64::from(i % 24)));
    /// let reference = builder.build(None).unwrap();
    /// let mut window = reference.empty_profile();
    /// (2..26).for_each(|i| reference.count_numbers(&mut window, &[f64::from(i)]));
    /// let scores = reference.scores_of([Detector::MeanShift], &window, &Thresholds::default(), true);
    /// assert_eq!((scores.len(), scores[0].value), (1, 2.0));
    /// ```
    pub fn scores_of(
        &self,
        detectors: impl IntoIterator<Item = Detector>,
        window: &Profile,
        thresholds: &Thresholds,
        window_is_covered: bool,
    ) -> Vec<Score> {
        let reference = self.profile();
        let comparison = Comparison::new(&self.normal, &reference, window);
        let score = |detector| {
            let distance = comparison.distance(detector)?;
            let judgement = Judgement {
                threshold: thresholds.of(detector),
                blocks: self.blocks.get(&detector).map(BlockNoise::level),
                budget: self.nulls.get(&detector).and_then(|null| null.allowance(detector, distance.noise)),
                window_is_covered,
            };
            Some(Score::judge(detector, distance, comparison.sizes(detector), judgement))
        };
        let mut scores: Vec<Score> = detectors.into_iter().filter_map(score).collect();
        scores.sort_by_key(|score| Detector::ALL.iter().position(|detector| *detector == score.detector));
        scores
    }

    /// What the detectors say of a stretch of this reference against the rest of it. `rare_rows` are the stretch's rows in
    /// categories that have no cell of their own and occur in this stretch only.
    pub(crate) fn effects(&self, rest: &Profile, stretch: &Profile, rare_rows: u64) -> Vec<(Detector, f64)> {
        let mut effects = Comparison::new(&self.normal, rest, stretch).effects();
        if let (Normal::Categorical { dictionary, .. }, Profile::Categorical(rest), Profile::Categorical(stretch)) =
            (&self.normal, rest, stretch)
            && dictionary.knows_what_is_new()
            && rest.valid() > 0
            && stretch.valid() > 0
        {
            let cells = rest.cells.iter().zip(&stretch.cells);
            let new: u64 = cells.filter(|(in_rest, _)| **in_rest == 0).map(|(_, in_stretch)| in_stretch).sum();
            effects.push((Detector::NewCategoryShare, (new + rare_rows) as f64 / stretch.valid() as f64));
        }
        effects
    }

    /// The same of those that segments have.
    pub(crate) fn effects_in_segment(&self, rest: &Profile, stretch: &Profile) -> Vec<(Detector, f64)> {
        Comparison::new(&self.normal, rest, stretch).effects_in_segment()
    }

    /// What each detector's noise would be were the window's rows independent.
    pub(crate) fn independent_noise(&self, window: &Profile) -> BTreeMap<Detector, f64> {
        let reference = self.profile();
        let comparison = Comparison::new(&self.normal, &reference, window);
        let noise = |detector| Some((detector, comparison.distance(detector)?.noise));
        Detector::ALL.into_iter().filter_map(noise).collect()
    }

    /// A profile's counts in the cells on which shares are compared.
    pub(crate) fn share_counts(&self, profile: &Profile) -> Vec<u64> {
        match (&self.normal, profile) {
            (Normal::Numeric { grid, profile: reference, .. }, Profile::Numeric(profile)) => {
                Coarsening::new(grid, reference).counts(profile)
            }
            (_, Profile::Categorical(profile)) => profile.cells.clone(),
            (_, Profile::Associations(profile)) => profile.share_counts(),
            (_, Profile::Contingencies(profile)) => profile.tables.concat(),
            (_, Profile::Vectors(profile)) => profile.share_counts(),
            _ => unreachable!("a profile is of the kind of its reference"),
        }
    }
}
