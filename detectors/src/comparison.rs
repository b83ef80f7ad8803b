//! Two profiles of one reference's cells side by side, and every distance between them that their kind has.

use std::collections::{BTreeMap, BTreeSet};

use crate::categorical::{CategoricalProfile, Dictionary};
use crate::coarse::Coarsening;
use crate::detector::Detector;
use crate::distances::association::PairChange;
use crate::distances::moments::Moments;
use crate::distances::shares::Shares;
use crate::distances::{
    Distance, anderson_darling, association, auc, cramer_von_mises, energy, ks, kuiper, mean, missing, mmd, quantile,
    range, spread, stuck, wasserstein,
};
use crate::grid::Grid;
use crate::numeric::NumericProfile;
use crate::reference::{Normal, Profile};
use crate::steps::{Step, Steps};
use crate::vectors::{Kernel, VectorProfile};

/// A reference's counts, a part of them, or another sample's, with a window's.
pub(crate) struct Comparison<'p> {
    reference: &'p Profile,
    window: &'p Profile,
    /// Rows of both, and those with a usable value: each is a sum over all cells.
    rows: (u64, u64),
    usable: (u64, u64),
    /// None when one of the two has no usable value.
    values: Option<Values<'p>>,
}

/// What a window is held against.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Against {
    /// The reference or a part of it: the grid ends where its values do.
    Reference,
    /// A sample that others drew. The grid is as foreign to it as to the window, and so is the reference's spread.
    Sample,
}

enum Values<'p> {
    Numbers(Numbers<'p>),
    Categories(Categories<'p>),
    Pairs(Vec<PairChange>),
    Vectors { kernel: &'p Kernel, of: [&'p VectorProfile; 2] },
}

impl<'p> Comparison<'p> {
    /// Of a reference, or of a part of it.
    ///
    /// # Panics
    /// When the two are not of this kind.
    pub(crate) fn new(normal: &'p Normal, reference: &'p Profile, window: &'p Profile) -> Self {
        Self::between(normal, (Against::Reference, reference), window)
    }

    /// Of two samples that were counted on a reference's cells: only the cells are the reference's.
    ///
    /// # Panics
    /// When the two are not of this kind.
    pub(crate) fn of_samples(normal: &'p Normal, earlier: &'p Profile, window: &'p Profile) -> Self {
        Self::between(normal, (Against::Sample, earlier), window)
    }

    fn between(normal: &'p Normal, (against, reference): (Against, &'p Profile), window: &'p Profile) -> Self {
        let (rows, usable) = ((reference.rows(), window.rows()), (reference.usable(), window.usable()));
        let values = (usable.0 > 0 && usable.1 > 0).then(|| match (normal, reference, window) {
            (Normal::Numeric { grid, profile, .. }, Profile::Numeric(reference), Profile::Numeric(window)) => {
                Values::Numbers(Numbers::new((grid, profile), (against, reference), window))
            }
            (Normal::Categorical { dictionary, .. }, Profile::Categorical(reference), Profile::Categorical(window)) => {
                let shares = categorical_shares(dictionary, reference, window);
                Values::Categories(Categories { dictionary, reference, window, shares })
            }
            (
                Normal::Associations { associations, .. },
                Profile::Associations(reference),
                Profile::Associations(window),
            ) => Values::Pairs(association::changes(associations, reference, window)),
            (
                Normal::Contingencies { contingencies, .. },
                Profile::Contingencies(reference),
                Profile::Contingencies(window),
            ) => Values::Pairs(association::changes_of_names(contingencies, reference, window)),
            (Normal::Vectors { kernel, .. }, Profile::Vectors(reference), Profile::Vectors(window)) => {
                Values::Vectors { kernel, of: [reference, window] }
            }
            _ => unreachable!("a profile is of the kind of its reference"),
        });
        Self { reference, window, rows, usable, values }
    }

    /// What a detector says; none when it does not fit the column, or its numbers are none.
    pub(crate) fn distance(&self, detector: Detector) -> Option<Distance> {
        let distance = match self.of_a_kind(detector) {
            Some(of_a_kind) => {
                let rows = self.rows;
                (rows.0 > 0 && rows.1 > 0).then(|| missing::excess(of_a_kind, rows))
            }
            None => match self.values.as_ref()? {
                Values::Numbers(numbers) => numbers.distance(detector),
                Values::Categories(categories) => categories.distance(detector),
                Values::Pairs(changes) if detector == Detector::Association => association::distance(changes),
                Values::Vectors { kernel, of } if detector == Detector::Mmd => mmd::distance(kernel, of[0], of[1]),
                Values::Pairs(_) | Values::Vectors { .. } => None,
            },
        };
        distance.filter(Distance::is_finite)
    }

    /// The effects of all detectors, without what chance makes of them.
    pub(crate) fn effects(&self) -> Vec<(Detector, f64)> {
        let rows = self.rows;
        let mut effects = Vec::new();
        if rows.0 > 0 && rows.1 > 0 {
            let excess = |detector| Some((detector, missing::excess_effect(self.of_a_kind(detector)?, rows)));
            effects.extend(Detector::ALL.into_iter().filter_map(excess));
        }
        match &self.values {
            Some(Values::Numbers(numbers)) => effects.extend(numbers.effects()),
            Some(Values::Categories(categories)) => effects.extend(categories.effects()),
            Some(Values::Pairs(changes)) => {
                effects.extend(association::most(changes).map(|change| (Detector::Association, change.effect)));
            }
            Some(Values::Vectors { kernel, of }) => {
                effects.extend(mmd::effect(kernel, of[0], of[1]).map(|effect| (Detector::Mmd, effect)));
            }
            None => {}
        }
        effects.retain(|(_, effect)| effect.is_finite());
        effects
    }

    /// The same of the detectors that segments have, and only these: segments are many.
    pub(crate) fn effects_in_segment(&self) -> Vec<(Detector, f64)> {
        let (rows, is_there) = (self.rows, self.rows.0 > 0 && self.rows.1 > 0);
        let missing = self.of_a_kind(Detector::MissingShare).filter(|_| is_there);
        let missing = missing.map(|missing| (Detector::MissingShare, missing::excess_effect(missing, rows)));
        let mut effects = Vec::from_iter(missing);
        match &self.values {
            Some(Values::Numbers(numbers)) => {
                effects.push((Detector::Psi, numbers.shares.psi_effect()));
                effects.push((Detector::Ks, ks::effect(&numbers.steps)));
            }
            Some(Values::Categories(categories)) => effects.push((Detector::Psi, categories.shares.psi_effect())),
            _ => {}
        }
        effects.retain(|(_, effect)| effect.is_finite());
        effects
    }

    /// How many values of each a detector compares.
    pub(crate) fn sizes(&self, detector: Detector) -> (u64, u64) {
        match self.of_a_kind(detector) {
            Some(_) => self.rows,
            None => self.usable,
        }
    }

    /// Rows of both that hold what a detector looks for instead of a usable value; none of a detector that looks at values,
    /// or for what a column of this kind cannot hold.
    fn of_a_kind(&self, detector: Detector) -> Option<(u64, u64)> {
        if detector == Detector::MissingShare {
            return Some((self.rows.0 - self.usable.0, self.rows.1 - self.usable.1));
        }
        let count = |profile: &Profile| match (detector, profile) {
            (Detector::NullShare, Profile::Numeric(profile)) => Some(profile.missing),
            (Detector::NullShare, Profile::Categorical(profile)) => Some(profile.missing),
            (Detector::NullShare, Profile::Vectors(profile)) => Some(profile.missing),
            (Detector::WrongTypeShare, Profile::Numeric(profile)) => Some(profile.wrong_type),
            (Detector::WrongTypeShare, Profile::Categorical(profile)) => Some(profile.wrong_type),
            (Detector::WrongTypeShare, Profile::Vectors(profile)) => Some(profile.wrong_type),
            (Detector::NanShare, Profile::Numeric(profile)) => Some(profile.nan),
            (Detector::NanShare, Profile::Vectors(profile)) => Some(profile.nan),
            (Detector::InfiniteShare, Profile::Numeric(profile)) => Some(profile.infinite),
            _ => None,
        };
        Some((count(self.reference)?, count(self.window)?))
    }
}

struct Numbers<'p> {
    reference: &'p NumericProfile,
    window: &'p NumericProfile,
    steps: Steps,
    /// On the reference's deciles.
    shares: Shares,
    /// The scale of effects: the standard deviation of all of the reference, also when a part of it is compared; of another
    /// sample its own, for that is what chance goes by.
    unit: f64,
    /// The mean of what is compared.
    mean: f64,
}

impl<'p> Numbers<'p> {
    fn new(
        (grid, normal): (&Grid, &NumericProfile),
        (against, reference): (Against, &'p NumericProfile),
        window: &'p NumericProfile,
    ) -> Self {
        let coarsening = Coarsening::new(grid, normal);
        let counts = coarsening.counts(reference).into_iter().zip(coarsening.counts(window));
        let (shares, scale) = match against {
            Against::Reference => (Shares::of_range(counts), normal),
            Against::Sample => (Shares::new(counts, 0), reference),
        };
        Self {
            reference,
            window,
            steps: Steps::new(grid, reference, window),
            shares,
            unit: scale.standard_deviation().unwrap_or(0.0),
            mean: reference.mean(grid).unwrap_or(0.0),
        }
    }

    fn distance(&self, detector: Detector) -> Option<Distance> {
        let steps = &self.steps;
        match detector {
            Detector::Ks => Some(ks::distance(steps)),
            Detector::Kuiper => Some(kuiper::distance(steps)),
            Detector::CramerVonMises => Some(cramer_von_mises::distance(steps)),
            Detector::AndersonDarling => anderson_darling::distance(steps),
            Detector::Auc => Some(auc::distance(steps)),
            Detector::Wasserstein => wasserstein::distance(steps, (self.unit, self.deviations().1)),
            Detector::Energy => energy::distance(steps, self.unit),
            Detector::MeanShift => mean::distance(steps, self.unit, self.mean),
            Detector::MedianShift
            | Detector::P05Shift
            | Detector::P25Shift
            | Detector::P75Shift
            | Detector::P95Shift => quantile::distance(steps, self.unit, detector),
            Detector::Spread => spread::distance(steps, self.deviations(), self.mean),
            Detector::OutOfRangeShare => {
                Some(range::distance(range::outside(self.reference, self.window), self.shares.sizes()))
            }
            Detector::StuckShare => {
                let (reference, window) = stuck::of_numbers(steps, (self.reference, self.window));
                Some(stuck::distance(reference, window, self.shares.sizes()))
            }
            of_shares => self.shares.distance(of_shares),
        }
    }

    fn effects(&self) -> Vec<(Detector, f64)> {
        let (steps, sizes) = (&self.steps, self.shares.sizes());
        let (reference, window) = stuck::of_numbers(steps, (self.reference, self.window));
        let outside = range::outside(self.reference, self.window) as f64;
        let of_values = [
            (Detector::Ks, Some(ks::effect(steps))),
            (Detector::Kuiper, Some(kuiper::effect(steps))),
            (Detector::CramerVonMises, Some(cramer_von_mises::effect(steps))),
            (Detector::AndersonDarling, Some(anderson_darling::effect(steps))),
            (Detector::Auc, Some(auc::effect(steps))),
            (Detector::Wasserstein, wasserstein::effect(steps, self.unit)),
            (Detector::Energy, energy::effect(steps, self.unit)),
            (Detector::MeanShift, mean::effect(steps, self.unit, self.mean)),
            (Detector::Spread, spread::effect(self.deviations())),
            (Detector::OutOfRangeShare, Some(outside / sizes.1 as f64)),
            (Detector::StuckShare, Some(missing::excess_effect((reference.0, window.0), sizes))),
        ];
        let of_values = of_values.into_iter().filter_map(|(detector, effect)| Some((detector, effect?)));
        of_values.chain(quantile::effects(steps, self.unit)).chain(self.shares.effects()).collect()
    }

    fn deviations(&self) -> (f64, f64) {
        let [reference, window] = [self.reference, self.window].map(|of| of.standard_deviation().unwrap_or(0.0));
        let are_lost = [self.reference, self.window].map(NumericProfile::spread_is_lost);
        if are_lost == [false; 2] || !self.steps.all_points() {
            return (reference, window);
        }
        let unit = if self.unit > 0.0 { self.unit } else { 1.0 };
        let (of_reference, of_window) = Moments::of_both(&self.steps, self.mean, unit);
        let found = |is_lost, of_sums, moments: Moments, rows: fn(&Step) -> u64| {
            let is_one_value = || self.steps.steps.iter().filter(|step| rows(step) > 0).nth(1).is_none();
            match is_lost {
                false => of_sums,
                true if is_one_value() => 0.0,
                true => moments.second.sqrt() * unit,
            }
        };
        let reference = found(are_lost[0], reference, of_reference, Step::reference);
        (reference, found(are_lost[1], window, of_window, Step::window))
    }
}

struct Categories<'p> {
    dictionary: &'p Dictionary,
    reference: &'p CategoricalProfile,
    window: &'p CategoricalProfile,
    shares: Shares,
}

impl Categories<'_> {
    fn distance(&self, detector: Detector) -> Option<Distance> {
        let sizes = self.shares.sizes();
        match detector {
            Detector::NewCategoryShare => self.dictionary.knows_what_is_new().then(|| {
                missing::new_category_share(self.window.new_rows, self.dictionary.seen_once(self.reference), sizes)
            }),
            Detector::StuckShare => {
                let most = |profile| stuck::of_categories(self.dictionary, profile);
                Some(stuck::distance(most(self.reference), most(self.window), sizes))
            }
            of_shares => self.shares.distance(of_shares),
        }
    }

    fn effects(&self) -> impl Iterator<Item = (Detector, f64)> {
        let most = |profile| stuck::of_categories(self.dictionary, profile).0;
        let stuck = missing::excess_effect((most(self.reference), most(self.window)), self.shares.sizes());
        self.shares.effects().into_iter().chain([(Detector::StuckShare, stuck)])
    }
}

/// Counts of the known categories, and of each new one that either holds. A reference has none that are new to itself; another
/// sample may.
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
        let new = (reference.new_rows, window.new_rows);
        let together = rare.iter().fold(new, |sum, (_, (r, w))| (sum.0 + r, sum.1 + w));
        return Shares::new(common.into_iter().map(|(_, counts)| counts).chain([together]), 0);
    }
    let none = BTreeMap::new();
    let named = if reference.new_rows == 0 { Some(&none) } else { reference.new.as_ref() };
    match (named, &window.new) {
        (Some(before), Some(after)) => {
            let names: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
            let rows = |named: &BTreeMap<String, u64>, name| named.get(name).copied().unwrap_or(0);
            Shares::new(cells.chain(names.into_iter().map(|name| (rows(before, name), rows(after, name)))), 0)
        }
        (Some(before), None) if before.is_empty() => Shares::new(cells, window.new_rows),
        // Names were lost on one side, so that what is new can only be compared as a whole.
        _ => Shares::new(cells.chain([(reference.new_rows, window.new_rows)]), 0),
    }
}

/// From so many rows on in the reference, a category is compared on its own although there is a tail.
pub(crate) const COMMON_ROWS: u64 = 10;
