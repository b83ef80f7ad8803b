//! What a reference's own stretches of time say of each other: the noise of rows that belong together.
//!
//! A day's flights share a day's weather, so ten days of it differ from a month's by far more than their ten thousand
//! rows suggest. No formula for independent rows knows that; the reference does. Each of its stretches of a window's
//! length is scored against all the rest of it, and what those scores reach is what a window may reach unremarked.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::reference::{Profile, Reference};
use crate::score::Detector;

/// Fewer stretches than this say too little of a spread.
const MIN_WINDOWS: usize = 3;
/// How many standard deviations above the mean the level lies, if no stretch went higher.
const DEVIATIONS: f64 = 3.0;

/// What one detector says of the reference's own windows.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BlockNoise {
    /// How many windows were scored against the rest.
    pub windows: usize,
    /// Mean of their effects.
    pub mean: f64,
    /// Standard deviation of their effects.
    pub standard_deviation: f64,
    /// The largest of their effects.
    pub max: f64,
}

impl BlockNoise {
    fn of(effects: &[f64]) -> Option<Self> {
        if effects.len() < MIN_WINDOWS {
            return None;
        }
        let n = effects.len() as f64;
        let mean = effects.iter().sum::<f64>() / n;
        let variance = effects.iter().map(|effect| (effect - mean).powi(2)).sum::<f64>() / n;
        let max = effects.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        Some(Self { windows: effects.len(), mean, standard_deviation: variance.sqrt(), max })
    }

    /// The effect that a window may reach unremarked: three standard deviations above the mean, or the largest seen.
    pub fn level(&self) -> f64 {
        (self.mean + DEVIATIONS * self.standard_deviation).max(self.max)
    }
}

/// Scores every stretch of `window_panes` consecutive panes against the rest of the reference. `panes` holds the
/// reference's profiles by the number of their pane in time; a stretch with fewer than `min_filled` of them is passed
/// over, as a window like it would not be judged either.
pub(crate) fn block_noise(
    reference: &Reference,
    panes: &BTreeMap<i64, Profile>,
    window_panes: u32,
    min_filled: u32,
) -> BTreeMap<Detector, BlockNoise> {
    let (Some((&first, _)), Some((&last, _))) = (panes.first_key_value(), panes.last_key_value()) else {
        return BTreeMap::new();
    };
    let mut effects: BTreeMap<Detector, Vec<f64>> = BTreeMap::new();
    for start in first..=(last - i64::from(window_panes) + 1) {
        let stretch = start..start + i64::from(window_panes);
        let inside = panes.range(stretch.clone());
        if inside.clone().count() < min_filled as usize {
            continue;
        }
        let window = sum(reference, inside);
        let rest = sum(reference, panes.iter().filter(|(pane, _)| !stretch.contains(pane)));
        for (detector, distance) in reference.distances(&rest, &window) {
            effects.entry(detector).or_default().push(distance.effect);
        }
    }
    effects.into_iter().filter_map(|(detector, effects)| Some((detector, BlockNoise::of(&effects)?))).collect()
}

fn sum<'a>(reference: &Reference, panes: impl Iterator<Item = (&'a i64, &'a Profile)>) -> Profile {
    let mut total = reference.empty_profile();
    for (_, profile) in panes {
        total.merge(profile);
    }
    total
}
