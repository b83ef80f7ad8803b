//! What a stream is held against: its mean and spread while nothing has changed, known or learned on the way.

use serde::{Deserialize, Serialize};
use statrs::distribution::{ContinuousCDF, StudentsT};

use crate::null::tails::normal_quantile;

/// Values that are learned from before the first is judged: a spread from fewer is hardly one.
const MIN_LEARNED: u64 = 10;
/// A value that is further from what was learned counts as so many standard deviations, so that one outlier of a spread
/// that was just learned is no change by itself. Of normal values 6 in 100,000 are.
const MAX_DEVIATIONS: f64 = 4.0;

/// The level that a stream of independent values has while nothing has changed.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Baseline {
    /// Known from elsewhere, such as a reference's own stretches of time.
    Known {
        /// Its mean.
        mean: f64,
        /// Its standard deviation; above zero.
        standard_deviation: f64,
    },
    /// Learned from the stream itself (Hawkins 1987): each value is held against all before it, by the t distribution that
    /// it then has, so that in control the result is exactly standard normal from the first judged value on.
    Learned {
        /// Values seen.
        n: u64,
        /// Their mean.
        mean: f64,
        /// Sum of their squared deviations from it.
        squares: f64,
    },
}

impl Default for Baseline {
    fn default() -> Self {
        Self::Learned { n: 0, mean: 0.0, squares: 0.0 }
    }
}

impl Baseline {
    /// The value in standard deviations from the level; none while that is being learned, or when there is no spread to
    /// measure by.
    pub(super) fn standardise(&mut self, value: f64) -> Option<f64> {
        match self {
            Self::Known { mean, standard_deviation } => {
                let deviations = (value - *mean) / *standard_deviation;
                (*standard_deviation > 0.0 && deviations.is_finite()).then_some(deviations)
            }
            Self::Learned { n, mean, squares } => {
                let deviations = (*n >= MIN_LEARNED).then(|| against(*n, *mean, *squares, value));
                *n = n.saturating_add(1);
                let before = value - *mean;
                *mean += before / *n as f64;
                *squares += before * (value - *mean);
                deviations
            }
        }
    }

    /// The same level, with nothing learned.
    pub(super) fn anew(self) -> Self {
        match self {
            Self::Known { .. } => self,
            Self::Learned { .. } => Self::default(),
        }
    }
}

/// A value against the `n` before it, in standard deviations of a normal distribution.
fn against(n: u64, mean: f64, squares: f64, value: f64) -> f64 {
    let size = n as f64;
    let difference = value - mean;
    if difference == 0.0 {
        return 0.0;
    }
    let spread = (squares / (size - 1.0) * (size + 1.0) / size).sqrt();
    let beyond = StudentsT::new(0.0, 1.0, size - 1.0).map_or(0.5, |t| t.sf((difference / spread).abs()));
    normal_quantile(beyond).min(MAX_DEVIATIONS).copysign(difference)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_learned_value_is_what_students_t_makes_of_it() {
        let mut baseline = Baseline::default();
        let values = [3.0, 5.0, 4.0, 6.0, 5.0, 4.0, 3.0, 5.0, 6.0, 4.0];
        assert!(values.iter().all(|value| baseline.standardise(*value).is_none()));
        // scipy: norm.isf(t.sf((7 - x.mean()) / (x.std(ddof=1) * sqrt(11/10)), 9))
        let deviations = baseline.standardise(7.0).unwrap();
        assert!((deviations - 1.921_038_2).abs() < 1e-5, "{deviations}");
    }

    #[test]
    fn without_any_spread_what_differs_is_far_and_what_does_not_is_not() {
        let mut baseline = Baseline::default();
        (0..20).for_each(|_| assert!(baseline.standardise(0.1).is_none_or(|deviations| deviations == 0.0)));
        assert_eq!(baseline.standardise(0.0), Some(-MAX_DEVIATIONS));
        let mut known = Baseline::Known { mean: 1.0, standard_deviation: 0.0 };
        assert_eq!((known.standardise(1.0), known.standardise(2.0)), (None, None));
    }
}
