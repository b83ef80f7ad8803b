//! What a reference's own stretches of time say of each other: the noise of rows that belong together.
//!
//! A day's flights share a day's weather, so ten days of it differ from a month's by far more than their ten thousand
//! rows suggest. No formula for independent rows knows that; the reference does. Each of its stretches of a window's
//! length is scored against all the rest of it, and what those scores reach is what a window may reach unremarked.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::build::WindowShape;
use crate::detector::Detector;
use crate::reference::{Profile, Reference};

/// Fewer stretches than this, side by side, say too little of a spread. Those that overlap say the same thing twice.
pub const MIN_STRETCHES: usize = 3;
/// Stretches side by side may share one part in so many of their panes: three windows of ten days fit into a month whose
/// first and last days are missing.
const SHARED_PART: i64 = 10;
/// How many standard deviations above the mean the level lies, if no stretch went higher.
const DEVIATIONS: f64 = 3.0;
/// A stretch is scored against a rest that holds at least this part of its own rows: against less, the distance would be
/// the rest's doing.
const MIN_REST: f64 = 0.8;

/// What one detector says of the reference's own windows.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BlockNoise {
    /// How many windows were scored against the rest. They may overlap; at least [`MIN_STRETCHES`] do not.
    pub windows: usize,
    /// Mean of their effects.
    pub mean: f64,
    /// Standard deviation of their effects.
    pub standard_deviation: f64,
    /// The largest of their effects.
    pub max: f64,
}

impl BlockNoise {
    /// Of the effects of stretches of so many panes, by the pane that each begins with, ascending.
    fn of(effects: &[(i64, f64)], width: i64) -> Option<Self> {
        let (mut side_by_side, mut free_from) = (0, i64::MIN);
        for (start, _) in effects {
            if *start >= free_from {
                side_by_side += 1;
                free_from = start.saturating_add(width - width / SHARED_PART);
            }
        }
        if side_by_side < MIN_STRETCHES {
            return None;
        }
        let n = effects.len() as f64;
        let mean = effects.iter().map(|(_, effect)| effect).sum::<f64>() / n;
        let variance = effects.iter().map(|(_, effect)| (effect - mean).powi(2)).sum::<f64>() / n;
        let max = effects.iter().map(|(_, effect)| *effect).fold(f64::NEG_INFINITY, f64::max);
        let noise = Self { windows: effects.len(), mean, standard_deviation: variance.sqrt(), max };
        noise.level().is_finite().then_some(noise)
    }

    /// The effect that a window may reach unremarked: three standard deviations above the mean, or the largest seen.
    ///
    /// ```
    /// let noise = driftline_detectors::BlockNoise { windows: 9, mean: 0.1, standard_deviation: 0.02, max: 0.12 };
    /// assert!((noise.level() - 0.16).abs() < 1e-12);
    /// ```
    pub fn level(&self) -> f64 {
        (self.mean + DEVIATIONS * self.standard_deviation).max(self.max)
    }
}

/// A category without a cell of its own: the panes between which it occurs, and its rows.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RareCategory {
    pub(crate) first: i64,
    pub(crate) last: i64,
    pub(crate) rows: u64,
}

/// Scores stretches of consecutive panes, as long as a window, against the rest of the reference. `panes` holds the
/// reference's profiles by the number of their pane in time.
///
/// A stretch begins with a pane that holds rows, or ends with the last one; others hold no more than these. It is passed
/// over when it has fewer filled panes than a window needs to be judged, or when the rest has fewer than the stretch.
pub(crate) fn block_noise(
    reference: &Reference,
    panes: &BTreeMap<i64, Profile>,
    rare: &[RareCategory],
    shape: WindowShape,
) -> BTreeMap<Detector, BlockNoise> {
    let width = i64::from(shape.panes);
    let (Some((&first, _)), Some((&last, _))) = (panes.first_key_value(), panes.last_key_value()) else {
        return BTreeMap::new();
    };
    let last_start = last.saturating_sub(width - 1);
    if last_start < first {
        return BTreeMap::new();
    }
    let mut total = reference.empty_profile();
    panes.values().for_each(|pane| total.merge(pane));
    let mut starts: Vec<i64> = panes.range(..last_start).map(|(pane, _)| *pane).collect();
    starts.push(last_start);

    let mut effects: BTreeMap<Detector, Vec<(i64, f64)>> = BTreeMap::new();
    let mut stretch = reference.empty_profile();
    let (mut filled, mut begins, mut ends) = (0, first, first);
    for start in starts {
        for (_, pane) in panes.range(begins..start.min(ends)) {
            stretch.remove(pane);
            filled -= 1;
        }
        for (_, pane) in panes.range(start.max(ends)..start + width) {
            stretch.merge(pane);
            filled += 1;
        }
        (begins, ends) = (start, start + width);
        let mut rest = total.clone();
        rest.remove(&stretch);
        let rest_is_enough = panes.len() - filled >= filled && rest.rows() as f64 >= MIN_REST * stretch.rows() as f64;
        if filled < shape.min_filled as usize || !rest_is_enough {
            continue;
        }
        let only_here = |category: &&RareCategory| category.first >= begins && category.last < ends;
        let rare_rows: u64 = rare.iter().filter(only_here).map(|category| category.rows).sum();
        for (detector, effect) in reference.effects(&rest, &stretch, rare_rows) {
            effects.entry(detector).or_default().push((start, effect));
        }
    }
    effects.into_iter().filter_map(|(detector, effects)| Some((detector, BlockNoise::of(&effects, width)?))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::build::ReferenceBuilder;
    use crate::reference::ColumnKind;

    fn shape(panes: u32) -> WindowShape {
        WindowShape { panes, min_filled: panes.div_ceil(2), every: 1, season: 1 }
    }

    /// A hundred rows in each of these panes, around a level that wanders from pane to pane.
    fn wandering(panes: impl IntoIterator<Item = i64>) -> ReferenceBuilder {
        let mut builder = ReferenceBuilder::new("x", ColumnKind::Numeric);
        for pane in panes {
            let level = (pane * pane).rem_euclid(17);
            for i in 0..100 {
                builder.number(Some(pane), (level + i % 10) as f64);
            }
        }
        builder
    }

    fn windows(builder: ReferenceBuilder, panes: u32) -> Option<usize> {
        builder.build(Some(shape(panes))).unwrap().blocks.get(&Detector::Psi).map(|noise| noise.windows)
    }

    #[test]
    fn a_reference_of_less_than_three_windows_side_by_side_knows_no_block_noise() {
        assert_eq!(windows(wandering(0..12), 10), None);
        assert_eq!(windows(wandering(0..27), 10), None);
        assert_eq!(windows(wandering(0..28), 10), Some(19));
        assert_eq!(windows(wandering(0..14), 5), None);
        assert_eq!(windows(wandering(0..15), 5), Some(11));
        // Every other day of a month.
        assert_eq!(windows(wandering((1..30).step_by(2)), 10), Some(11));
    }

    #[test]
    fn a_stretch_is_not_scored_against_a_rest_that_holds_less_than_it() {
        let mut builder = wandering(0..12);
        for _ in 0..5000 {
            builder.number(Some(0), 3.0);
        }
        // The nine stretches of four panes, but the one with the crowded pane.
        assert_eq!(windows(builder, 4), None);
        let mut builder = wandering(0..16);
        for _ in 0..5000 {
            builder.number(Some(0), 3.0);
        }
        assert_eq!(windows(builder, 4), Some(12));
    }

    #[test]
    fn sliding_over_gaps_equals_adding_up_each_stretch() {
        let days: Vec<i64> = (0..40).filter(|day| day % 7 < 5).collect();
        let reference = wandering(days.iter().copied()).build(Some(shape(7))).unwrap();
        let sum = |chosen: &dyn Fn(i64) -> bool| {
            let mut profile = reference.empty_profile();
            for day in days.iter().copied().filter(|day| chosen(*day)) {
                let level = (day * day).rem_euclid(17);
                let values: Vec<f64> = (0..100).map(|i| (level + i % 10) as f64).collect();
                reference.count_numbers(&mut profile, &values);
            }
            profile
        };
        let last_start = days[days.len() - 1] - 6;
        let starts = days.iter().copied().filter(|day| *day < last_start).chain([last_start]);
        let mut effects: BTreeMap<Detector, Vec<(i64, f64)>> = BTreeMap::new();
        for start in starts {
            let is_inside = |day: i64| (start..start + 7).contains(&day);
            let (inside, rest) = (sum(&is_inside), sum(&|day| !is_inside(day)));
            for (detector, effect) in reference.effects(&rest, &inside, 0) {
                effects.entry(detector).or_default().push((start, effect));
            }
        }
        assert!(reference.blocks.len() > 4);
        for (detector, noise) in &reference.blocks {
            let expected = BlockNoise::of(&effects[detector], 7).unwrap();
            assert_eq!(noise.windows, expected.windows);
            assert!((noise.level() - expected.level()).abs() < 1e-9, "{detector:?}: {noise:?} against {expected:?}");
        }
    }

    #[test]
    fn a_row_of_another_age_costs_no_more_than_a_pane() {
        let mut builder = wandering(1_000_000_000..1_000_000_040);
        builder.number(Some(-1_000_000_000_000), 4.0);
        assert!(windows(builder, 10).is_some_and(|windows| windows >= 31));
    }

    #[test]
    fn categories_that_come_and_go_with_the_days_are_new_in_the_reference_too() {
        for others in [0, 2000] {
            let mut builder = ReferenceBuilder::new("campaign", ColumnKind::Categorical);
            for day in 0..60 {
                for i in 0..100 {
                    let running = format!("campaign {}", day / 5);
                    builder.category(Some(day), if i < 20 { &running } else { "none" });
                }
                // Enough of others that the campaigns below share the tail's cell.
                for other in 0..others {
                    builder.category(Some(day), &format!("other {other}"));
                }
                builder.category(Some(day), &format!("once {day}"));
            }
            let reference = builder.build(Some(shape(10))).unwrap();
            let expected = if others == 0 { 0.1 } else { 10.0 / 21_010.0 };
            let noise = reference.blocks[&Detector::NewCategoryShare];
            assert!(noise.mean > expected * 0.99, "{others}: {noise:?}");
        }
    }
}
