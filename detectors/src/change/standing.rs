//! How a stream stands with its newest value: worked out from the stream each time, so that there is no state to keep, to
//! lose or to bring back.

use super::{
    Baseline, ChangeDetector, Cusum, CusumSettings, Direction, Ewma, EwmaSettings, PageHinkley, PageHinkleySettings,
};
use crate::detector::Detector;
use crate::numeric::is_countable;

/// Values from which on a stream says anything: ten from which its level is learned, and one.
pub const MIN_STREAM: usize = 11;
/// For how many values a rise stays one. By then its level is learned, and is what is normal.
pub const STAYS_FOR: usize = 10;
/// A rise matters from this part of the threshold on that the score itself has.
const PART_OF_THRESHOLD: f64 = 0.25;

/// Which change detector looks at a stream of some dozens of values. [`Adwin`](super::Adwin) is none of them: its bound
/// supposes nothing of the values, and a rise from 0.1 to 0.4 takes it more than sixty of each. Nor is [`Kswin`](super::Kswin): it takes
/// the counts of the windows themselves, which say more than their scores.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChangeKind {
    /// [`Cusum`], which learns the stream's level and spread.
    Cusum,
    /// [`Ewma`], which does too.
    Ewma,
    /// [`PageHinkley`], in units of what matters.
    PageHinkley,
}

impl ChangeKind {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Cusum, Self::Ewma, Self::PageHinkley];

    /// The name by which rules know it.
    ///
    /// ```
    /// assert_eq!(driftline_detectors::change::ChangeKind::PageHinkley.name(), "page_hinkley");
    /// ```
    pub fn name(self) -> &'static str {
        match self {
            Self::Cusum => "cusum",
            Self::Ewma => "ewma",
            Self::PageHinkley => "page_hinkley",
        }
    }

    fn detector(self, matters: f64) -> ChangeDetector {
        match self {
            Self::Cusum => ChangeDetector::Cusum(Cusum::new(CusumSettings::default(), Baseline::default())),
            Self::Ewma => ChangeDetector::Ewma(Ewma::new(EwmaSettings::default(), Baseline::default())),
            // As a CUSUM, whose slack is half of the shift that is to be found.
            Self::PageHinkley => ChangeDetector::PageHinkley(PageHinkley::new(PageHinkleySettings {
                min_values: MIN_STREAM as u64 - 1,
                tolerance: matters / 2.0,
                limit: matters / PART_OF_THRESHOLD,
                ..PageHinkleySettings::default()
            })),
        }
    }
}

/// A stream of which higher values are worse, the newest last.
#[derive(Debug, Clone, Copy)]
pub struct Stream<'v> {
    values: &'v [f64],
    matters: f64,
    normal: fn(f64) -> f64,
}

/// How a stream stands.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Standing {
    /// How far it has risen, in the detector's limits: above 1 it has changed.
    pub height: f64,
    /// How many of the last values belong to the change; zero without one.
    pub values: usize,
}

impl<'v> Stream<'v> {
    /// Effects of a score, which matter from the threshold on: a rise by a quarter of that does.
    ///
    /// Scores that grow with the square of a difference are near a chi-square under no drift; their cube roots are near
    /// normal (Wilson & Hilferty 1931), as the detectors expect of what they standardise.
    ///
    /// ```
    /// use driftline_detectors::Detector;
    /// use driftline_detectors::change::{ChangeKind, Stream};
    ///
    /// let quiet = [0.03, 0.04, 0.02, 0.03, 0.05, 0.03, 0.04, 0.02, 0.03, 0.04, 0.03];
    /// let risen = [quiet.as_slice(), &[0.12, 0.14, 0.12]].concat();
    /// let cusum = |psi: &[f64]| Stream::of_score(Detector::Psi, psi, 0.2).standing(ChangeKind::Cusum).unwrap();
    /// assert!(cusum(&quiet).height < 1.0);
    /// assert!(cusum(&risen).height > 1.0, "all of them are below the threshold");
    /// assert_eq!(cusum(&risen).values, 3);
    /// ```
    pub fn of_score(detector: Detector, effects: &'v [f64], threshold: f64) -> Self {
        let normal = match detector {
            detector if detector.grows_with_the_square() => f64::cbrt,
            Detector::MissingShare | Detector::NullShare | Detector::NewCategoryShare => angle,
            _ => std::convert::identity,
        };
        Self { values: effects, matters: threshold * PART_OF_THRESHOLD, normal }
    }

    /// Shares from 0 to 1 of what should not be, and by how much they must rise to matter. The spread of `asin √p` does not
    /// depend on p (Anscombe 1948).
    ///
    /// ```
    /// use driftline_detectors::change::{ChangeKind, Stream};
    /// let late = [0.01, 0.012, 0.009, 0.011, 0.01, 0.008, 0.012, 0.01, 0.011, 0.009, 0.03, 0.028];
    /// let standing = Stream::of_shares(&late, 0.005).standing(ChangeKind::Cusum).unwrap();
    /// assert!(standing.height > 1.0 && standing.values == 2);
    /// ```
    pub fn of_shares(shares: &'v [f64], matters: f64) -> Self {
        Self { values: shares, matters, normal: angle }
    }

    /// How it stands with its newest value; none when there are fewer than [`MIN_STREAM`].
    ///
    /// A rise stays for [`STAYS_FOR`] values, or until it falls again. One that does not matter is none, however sure.
    ///
    /// ```
    /// use driftline_detectors::change::{ChangeKind, Stream};
    /// assert_eq!(Stream::of_shares(&[0.5; 10], 0.01).standing(ChangeKind::Ewma), None);
    /// ```
    pub fn standing(&self, kind: ChangeKind) -> Option<Standing> {
        let values: Vec<f64> = self.values.iter().copied().filter(|value| is_countable(*value)).collect();
        if values.len() < MIN_STREAM {
            return None;
        }
        let mut detector = kind.detector(self.matters);
        // The first value of the level that was there before, and the rise that is still one: its first value, when it was
        // found, and how high.
        let (mut begins, mut rise) = (0, None);
        for (at, value) in values.iter().enumerate() {
            if let Some(change) = detector.update(self.seen_by(kind, *value)) {
                let first = (at + 1).saturating_sub(change.values as usize).max(begins);
                let is_rise =
                    change.direction == Direction::Up && self.rises_enough(&values, begins..first, first..at + 1);
                rise = is_rise.then_some((first, at, change.statistic / change.limit));
                begins = first;
            }
        }
        let rise = rise.filter(|(_, found, _)| values.len() - found <= STAYS_FOR);
        Some(match rise {
            Some((first, _, height)) => Standing { height, values: values.len() - first },
            None => Standing { height: detector.rise(), values: 0 },
        })
    }

    fn seen_by(&self, kind: ChangeKind, value: f64) -> f64 {
        match kind {
            ChangeKind::Cusum | ChangeKind::Ewma => (self.normal)(value),
            ChangeKind::PageHinkley => value,
        }
    }

    /// Whether the mean has risen by what matters.
    fn rises_enough(&self, values: &[f64], before: std::ops::Range<usize>, after: std::ops::Range<usize>) -> bool {
        let mean = |part: &[f64]| part.iter().sum::<f64>() / part.len() as f64;
        !before.is_empty() && mean(&values[after]) - mean(&values[before]) >= self.matters
    }
}

fn angle(share: f64) -> f64 {
    share.clamp(0.0, 1.0).sqrt().asin()
}

#[cfg(test)]
mod tests {
    use std::iter;

    use super::*;
    use crate::change::{Adwin, AdwinSettings};

    /// Twelve values about a level, none of them far from it.
    fn about(level: f64, spread: f64) -> Vec<f64> {
        [0.0, 0.8, -0.5, 0.3, -0.9, 0.6, -0.2, 0.4, -0.6, 0.1, 0.7, -0.7].map(|x| level + spread * x).to_vec()
    }

    #[test]
    fn a_rise_stays_until_its_level_is_what_is_normal_and_ends_with_a_fall() {
        for kind in ChangeKind::ALL {
            let mut stream = [about(0.05, 0.01), about(0.05, 0.01)].concat();
            let height = |stream: &[f64]| Stream::of_score(Detector::Psi, stream, 0.2).standing(kind).unwrap().height;
            assert!(height(&stream) <= 1.0, "{kind:?}");
            let found = about(0.4, 0.01).into_iter().position(|psi| {
                stream.push(psi);
                height(&stream) > 1.0
            });
            assert!(found.is_some_and(|found| found < 6), "{kind:?}: {found:?}");
            let risen = about(0.4, 0.01).into_iter().cycle().take(40).position(|psi| {
                stream.push(psi);
                height(&stream) <= 1.0
            });
            assert!(risen.is_some_and(|stayed| stayed < STAYS_FOR), "{kind:?}: {risen:?}");
            let fallen = about(0.05, 0.01);
            assert!(fallen.into_iter().all(|psi| {
                stream.push(psi);
                height(&stream) <= 1.0
            }));
        }
    }

    #[test]
    fn a_rise_that_does_not_matter_is_none_however_sure() {
        for kind in ChangeKind::ALL {
            let stream = [about(0.01, 0.0001), about(0.03, 0.0001)].concat();
            let of = |threshold| Stream::of_score(Detector::Psi, &stream, threshold).standing(kind).unwrap();
            assert!(of(0.2).height <= 1.0, "{kind:?}");
        }
        let stream = [about(0.01, 0.0001), vec![0.03; 3]].concat();
        let standing = Stream::of_score(Detector::Psi, &stream, 0.05).standing(ChangeKind::Cusum).unwrap();
        assert!(standing.height > 1.0 && standing.values == 3, "{standing:?}");
    }

    #[test]
    fn adwin_tells_no_rise_of_a_score_in_two_months_of_days() {
        let seen = |from: f64, to: f64, values: usize| {
            let mut window = Adwin::new(AdwinSettings { clock: 1, ..Default::default() });
            let stream = iter::repeat_n(from, values).chain(iter::repeat_n(to, values));
            stream.filter_map(|value| window.update(value)).count() > 0
        };
        assert!(!seen(0.1, 0.4, 60) && !seen(0.0, 0.94, 30));
        assert!(seen(0.1, 0.4, 80), "of hundreds it does");
    }

    #[test]
    fn what_is_no_number_says_nothing() {
        let stream = [about(0.05, 0.01), vec![f64::NAN; 5]].concat();
        let of = |stream: &[f64]| Stream::of_shares(stream, 0.01).standing(ChangeKind::Cusum);
        assert_eq!(of(&stream), of(&about(0.05, 0.01)));
    }
}
