//! A window beside earlier windows that were counted on the same cells: what changed since, whatever the reference says.
//!
//! Only the cells are the reference's. Both sides are samples, and the noise of every score takes the sizes of both:
//!
//! ```
//! use driftline_detectors::{ColumnKind, Detector, Earlier, ReferenceBuilder, Thresholds, Verdict};
//!
//! let mut builder = ReferenceBuilder::new("amount", ColumnKind::Numeric);
//! (0..4000).for_each(|i| builder.number(None, f64::from(i % 40)));
//! let reference = builder.build(None).unwrap();
//! // Since last week the amounts come in another unit.
//! let counted = |rows: i32| {
//!     let mut profile = reference.empty_profile();
//!     let values: Vec<f64> = (0..rows).map(|i| f64::from(i % 40) * 2.2).collect();
//!     reference.count_numbers(&mut profile, &values);
//!     profile
//! };
//! let (last_week, today, thresholds) = (counted(7000), counted(1000), Thresholds::default());
//! let psi = &reference.scores_of([Detector::Psi], &today, &thresholds, true)[0];
//! assert_eq!(psi.verdict, Verdict::Drift, "the reference is what is old");
//! let earlier = Earlier { profile: &last_week, windows: 7 };
//! let psi = &reference.scores_beside([Detector::Psi], earlier, &today, &thresholds, true)[0];
//! assert_eq!((psi.verdict, psi.n_reference, psi.n_window), (Verdict::Ok, 7000, 1000));
//! ```

use crate::blocks::BlockNoise;
use crate::comparison::Comparison;
use crate::detector::Detector;
use crate::reference::{Profile, Reference, Thresholds};
use crate::score::{Judgement, Score};

/// What earlier windows held, all together.
#[derive(Debug, Clone, Copy)]
pub struct Earlier<'p> {
    /// The sum of their profiles, on the cells of the reference that scores.
    pub profile: &'p Profile,
    /// How many there are. They lie side by side, and are as long as the window.
    pub windows: u32,
}

impl Reference {
    /// These scores of a window beside earlier ones, in the order of [`Detector::ALL`]. Effects that are in standard deviations
    /// of the reference are in those of the earlier rows here.
    ///
    /// A reference that was built with times knows how far a window strays from what is normal because its rows belong
    /// together. Earlier windows stray, too, and the more there are the less: the difference of one window and the mean of k has
    /// the variance of one, and a k-th of it. Scores that grow with the square of a difference take that as it is, others its
    /// root. A budget of false pages is for scores against the reference, and has no say here.
    ///
    /// # Panics
    /// When a profile is not of this reference.
    ///
    /// ```
    /// use driftline_detectors::{ColumnKind, Detector, Earlier, ReferenceBuilder, Thresholds, Verdict};
    /// let mut builder = ReferenceBuilder::new("hour", ColumnKind::Numeric);
    /// (0..2400).for_each(|i| builder.number(None, f64::from(i % 24)));
    /// let reference = builder.build(None).unwrap();
    /// let counted = |hours: i32| {
    ///     let mut profile = reference.empty_profile();
    ///     reference.count_numbers(&mut profile, &(0..1200).map(|i| f64::from(i % hours)).collect::<Vec<_>>());
    ///     profile
    /// };
    /// // Since last week there are mornings only.
    /// let (last_week, today) = (counted(24), counted(12));
    /// let earlier = Earlier { profile: &last_week, windows: 7 };
    /// let psi = &reference.scores_beside([Detector::Psi], earlier, &today, &Thresholds::default(), true)[0];
    /// assert_eq!((psi.verdict, psi.n_reference), (Verdict::Drift, 1200));
    /// ```
    pub fn scores_beside(
        &self,
        detectors: impl IntoIterator<Item = Detector>,
        earlier: Earlier<'_>,
        window: &Profile,
        thresholds: &Thresholds,
        window_is_covered: bool,
    ) -> Vec<Score> {
        let comparison = Comparison::of_samples(&self.normal, earlier.profile, window);
        let score = |detector| {
            let distance = comparison.distance(detector)?;
            let judgement = Judgement {
                threshold: thresholds.of(detector),
                blocks: self.blocks.get(&detector).map(|blocks| level(detector, blocks, earlier.windows)),
                budget: None,
                window_is_covered,
            };
            Some(Score::judge(detector, distance, comparison.sizes(detector), judgement))
        };
        let mut scores: Vec<Score> = detectors.into_iter().filter_map(score).collect();
        scores.sort_by_key(|score| Detector::ALL.iter().position(|detector| *detector == score.detector));
        scores
    }
}

/// What a window may reach unremarked beside so many earlier ones.
fn level(detector: Detector, blocks: &BlockNoise, windows: u32) -> f64 {
    let variance = 1.0 + 1.0 / f64::from(windows.max(1));
    blocks.level() * if detector.grows_with_the_square() { variance } else { variance.sqrt() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ColumnKind, ReferenceBuilder, Verdict, WindowShape};

    /// SplitMix64, as uniform numbers from 0 to 1.
    fn uniform(number: u64) -> f64 {
        (crate::sample::mixed(number) >> 11) as f64 / (1u64 << 53) as f64
    }

    fn normal(number: u64) -> f64 {
        let radius = (-2.0 * uniform(2 * number).max(1e-300).ln()).sqrt();
        radius * (std::f64::consts::TAU * uniform(2 * number + 1)).cos()
    }

    fn counted(reference: &Reference, values: &[f64]) -> Profile {
        let mut profile = reference.empty_profile();
        reference.count_numbers(&mut profile, values);
        profile
    }

    fn categories(reference: &Reference, rows: &[(&str, usize)]) -> Profile {
        let mut profile = reference.empty_profile();
        rows.iter().for_each(|(name, rows)| (0..*rows).for_each(|_| reference.count_category(&mut profile, name)));
        profile
    }

    const COMPARED: [Detector; 4] = [Detector::Psi, Detector::Ks, Detector::Wasserstein, Detector::MissingShare];

    #[test]
    fn chance_reaches_what_is_said_for_the_sizes_of_both_samples() {
        const TRIALS: u64 = 400;
        let mut builder = ReferenceBuilder::new("x", ColumnKind::Numeric);
        // Few enough values that the grid holds each, so that every score is exact.
        let rounded = |value: f64| (value * 50.0).round() / 50.0;
        (0..5000).for_each(|i| builder.number(None, rounded(normal(i))));
        let reference = builder.build(None).unwrap();
        for (n, m) in [(150u64, 150u64), (2000, 150), (150, 1000)] {
            // Far from the reference, so that most rows lie where it has few or none, and spread twice as wide.
            let values = |seed: u64, rows: u64| -> Vec<f64> {
                (0..rows).map(|row| rounded(1.5 + 2.0 * normal(1_000_000 + seed * 100_000 + row))).collect()
            };
            let (mut effects, mut exceeded, mut means) = ([0.0; 3], [0; 3], [0.0; 3]);
            for trial in 0..TRIALS {
                let earlier = counted(&reference, &values(2 * trial, n));
                let window = counted(&reference, &values(2 * trial + 1, m));
                let earlier = Earlier { profile: &earlier, windows: 7 };
                let scores = reference.scores_beside(COMPARED, earlier, &window, &Thresholds::default(), true);
                assert!(scores.iter().all(|score| (score.n_reference, score.n_window) == (n, m)));
                for (index, score) in scores.iter().take(3).enumerate() {
                    effects[index] += score.effect / TRIALS as f64;
                    means[index] += score.null_mean / TRIALS as f64;
                    exceeded[index] += u64::from(score.effect > score.noise.independent);
                }
            }
            for index in 0..3 {
                let (name, mean) = (COMPARED[index].name(), means[index]);
                assert!(exceeded[index] <= 3, "{name} of {n} and {m} rows: {} of {TRIALS}", exceeded[index]);
                let off = effects[index] / mean - 1.0;
                assert!(off.abs() < 0.12, "{name} of {n} and {m} rows: the mean is {}, not {mean}", effects[index]);
            }
        }
    }

    #[test]
    fn a_category_that_was_new_to_the_reference_is_not_new_for_good() {
        let mut builder = ReferenceBuilder::new("carrier", ColumnKind::Categorical);
        ["UA", "B6"].iter().cycle().take(4000).for_each(|name| builder.category(None, name));
        let reference = builder.build(None).unwrap();
        let verdict = |earlier: &Profile, window: &Profile| {
            let earlier = Earlier { profile: earlier, windows: 7 };
            reference.scores_beside([Detector::Psi], earlier, window, &Thresholds::default(), true)[0].verdict
        };
        let with_new = |rows: usize| categories(&reference, &[("UA", rows), ("B6", rows), ("F9", rows)]);
        assert_eq!(verdict(&with_new(1000), &with_new(300)), Verdict::Ok);
        let without = categories(&reference, &[("UA", 1000), ("B6", 1000)]);
        assert_eq!(verdict(&without, &with_new(300)), Verdict::Drift);
        assert_eq!(verdict(&with_new(1000), &categories(&reference, &[("UA", 300), ("B6", 300)])), Verdict::Drift);
        let other = categories(&reference, &[("UA", 300), ("B6", 300), ("VX", 300)]);
        assert_eq!(verdict(&with_new(1000), &other), Verdict::Drift, "one new name in another's place");
        // Names past their bound leave their rows.
        let many = |rows: usize| {
            let mut profile = categories(&reference, &[("UA", rows), ("B6", rows)]);
            (0..rows).for_each(|row| reference.count_category(&mut profile, &format!("new {row}")));
            profile
        };
        assert_eq!(verdict(&many(1000), &many(300)), Verdict::Ok);
        assert_eq!(verdict(&many(1000), &categories(&reference, &[("UA", 300), ("B6", 300)])), Verdict::Drift);
    }

    #[test]
    fn days_that_differ_from_each_other_are_no_change() {
        const ROWS: u64 = 300;
        let day = |day: u64| -> Vec<f64> {
            let weather = 0.8 * normal(7_000_000 + day);
            (0..ROWS).map(|row| weather + normal(day * ROWS + row)).collect()
        };
        let shape = WindowShape { panes: 1, min_filled: 1, every: 1, season: 1 };
        let mut builder = ReferenceBuilder::new("delay", ColumnKind::Numeric);
        for number in 0..90 {
            day(number).into_iter().for_each(|value| builder.number(Some(number as i64), value));
        }
        let reference = builder.build(Some(shape)).unwrap();
        let (mut judged, mut drifted) = (0, 0);
        for today in 100..400 {
            let week: Vec<f64> = (today - 7..today).flat_map(day).collect();
            let (week, window) = (counted(&reference, &week), counted(&reference, &day(today)));
            let earlier = Earlier { profile: &week, windows: 7 };
            let scores = reference.scores_beside(COMPARED, earlier, &window, &Thresholds::default(), true);
            judged += 1;
            drifted += u64::from(scores.iter().any(|score| score.verdict == Verdict::Drift));
        }
        assert!(drifted * 100 <= judged * 3, "{drifted} of {judged} ordinary days are called a change");
    }
}
