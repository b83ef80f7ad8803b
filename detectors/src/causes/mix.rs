//! Whether segments are mixed otherwise, or changed within.

use serde::{Deserialize, Serialize};

use crate::coarse::Coarsening;
use crate::reference::{Normal, Profile, Reference};

/// One segment's rows before and now, counted on the cells of one reference.
#[derive(Debug, Clone, Copy)]
pub struct SegmentPair<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its rows of the reference.
    pub reference: &'a Profile,
    /// Its rows of the window.
    pub window: &'a Profile,
}

/// How much of a column's change is the mix of its segments.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MixShift {
    /// Total variation between the reference and itself with the window's mix of segments, from 0 to 1.
    pub mix: f64,
    /// Total variation between that and the window: what changed within segments.
    pub within: f64,
    /// Part of the mix in both together, from 0 to 1; zero when nothing changed at all.
    pub share: f64,
    /// The segments, those with the largest change of share first.
    pub segments: Vec<SegmentShift>,
}

/// One segment's part.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SegmentShift {
    /// Its name.
    pub name: String,
    /// Its share of the usable rows before.
    pub before: f64,
    /// Its share now.
    pub now: f64,
    /// Total variation between its own rows before and now, from 0 to 1; none when it is empty in either.
    pub within: Option<f64>,
}

/// Takes a change apart over segments that share no rows and together hold all of them.
///
/// The window's shares are `q = Σ wₛqₛ` over segments with weights wₛ, the reference's `p = Σ vₛpₛ`. Between the two lies
/// `Σ wₛpₛ`: every segment as it was, mixed as it is (Kitagawa 1955). A segment that the reference does not hold has nothing to be
/// mixed from, and counts as a change within. Numeric columns are compared on the reference's deciles. None when no segment
/// holds usable rows on both sides.
///
/// ```
/// use driftline_detectors::causes::{SegmentPair, mix};
/// use driftline_detectors::{ColumnKind, ReferenceBuilder};
///
/// let mut builder = ReferenceBuilder::new("device", ColumnKind::Categorical);
/// ["phone", "desk"].iter().cycle().take(200).for_each(|name| builder.category(None, name));
/// let reference = builder.build(None).unwrap();
/// let rows = |phones: usize, desks: usize| {
///     let mut profile = reference.empty_profile();
///     (0..phones).for_each(|_| reference.count_category(&mut profile, "phone"));
///     (0..desks).for_each(|_| reference.count_category(&mut profile, "desk"));
///     profile
/// };
/// // The young use phones and the old do not, as ever; there are more of the young.
/// let (young, old) = ((rows(90, 10), rows(270, 30)), (rows(10, 90), rows(10, 90)));
/// let pair = |name, (reference, window)| SegmentPair { name, reference, window };
/// let found = mix(&reference, &[pair("young", (&young.0, &young.1)), pair("old", (&old.0, &old.1))]).unwrap();
/// assert!((found.mix - 0.2).abs() < 1e-12 && found.within < 1e-12 && found.share > 0.999);
/// assert_eq!((found.segments[0].before, found.segments[0].now), (0.5, 0.75));
/// ```
///
/// # Panics
/// When a profile is not of this reference.
pub fn mix(reference: &Reference, segments: &[SegmentPair<'_>]) -> Option<MixShift> {
    let sums = |of: &dyn Fn(&SegmentPair<'_>) -> u64| segments.iter().map(of).sum::<u64>() as f64;
    let (n, m) = (sums(&|segment| segment.reference.usable()), sums(&|segment| segment.window.usable()));
    if !segments.iter().any(|segment| segment.reference.usable() > 0 && segment.window.usable() > 0) {
        return None;
    }
    let cells = Cells::new(reference);
    let mut between = Vec::new();
    let (mut before, mut now) = (Vec::new(), Vec::new());
    let mut shifts = Vec::new();
    for SegmentPair { name, reference, window } in segments {
        let (p, q) = (cells.shares(reference), cells.shares(window));
        let (was, is) = (reference.usable() as f64 / n, window.usable() as f64 / m);
        let both = p.as_ref().zip(q.as_ref());
        shifts.push(SegmentShift {
            name: (*name).to_owned(),
            before: was,
            now: is,
            within: both.map(|(p, q)| total_variation(p, q)),
        });
        for (sum, weight, shares) in [(&mut before, was, &p), (&mut now, is, &q), (&mut between, is, &p)] {
            add(sum, weight, shares.as_deref().unwrap_or_default());
        }
    }
    // Of segments without a past, what is between holds nothing; the rest of it stands for the whole.
    let mixed: f64 = between.iter().sum();
    between.iter_mut().for_each(|share| *share /= mixed);
    let (mix, within) = (total_variation(&before, &between), total_variation(&between, &now));
    let share = if mix + within > 0.0 { mix / (mix + within) } else { 0.0 };
    shifts.sort_by(|a, b| (b.now - b.before).abs().total_cmp(&(a.now - a.before).abs()));
    Some(MixShift { mix, within, share, segments: shifts })
}

/// Cells on which segments are compared.
enum Cells {
    Deciles(Coarsening),
    Categories,
    /// Of what has no shares.
    Nothing,
}

impl Cells {
    fn new(reference: &Reference) -> Self {
        match &reference.normal {
            Normal::Numeric { grid, profile, .. } => Self::Deciles(Coarsening::new(grid, profile)),
            Normal::Categorical { .. } => Self::Categories,
            Normal::Associations { .. } | Normal::Contingencies { .. } | Normal::Vectors { .. } => Self::Nothing,
        }
    }

    /// A profile's shares, with one cell for all new categories; none when it is empty.
    fn shares(&self, profile: &Profile) -> Option<Vec<f64>> {
        let counts = match (self, profile) {
            (Self::Deciles(coarsening), Profile::Numeric(profile)) => coarsening.counts(profile),
            (Self::Categories, Profile::Categorical(profile)) => [&profile.cells[..], &[profile.new_rows]].concat(),
            (Self::Nothing, _) => return None,
            _ => panic!("segments are counted on one reference only"),
        };
        let size = profile.usable();
        (size > 0).then(|| counts.into_iter().map(|count| count as f64 / size as f64).collect())
    }
}

fn add(sum: &mut Vec<f64>, weight: f64, shares: &[f64]) {
    sum.resize(sum.len().max(shares.len()), 0.0);
    sum.iter_mut().zip(shares).for_each(|(sum, share)| *sum += weight * share);
}

fn total_variation(p: &[f64], q: &[f64]) -> f64 {
    p.iter().zip(q).map(|(p, q)| (p - q).abs()).sum::<f64>() / 2.0
}
