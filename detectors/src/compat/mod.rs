//! What Evidently and NannyML say of two samples, to nine digits, for people who move over.
//!
//! Their bins depend on the window, or their answer on the rows' order, so nothing of this adds up: these are functions of
//! the raw values, for a look at two files side by side and never for the counting of what comes in. They keep what we think
//! wrong with the numbers they give; `docs/moving-over.md` says what that is, and which score of ours to take instead.
//!
//! ```
//! use driftline_detectors::compat::{evidently, nannyml};
//!
//! let reference: Vec<f64> = (0..2000).map(|i| f64::from(i % 100)).collect();
//! let window: Vec<f64> = (0..500).map(|i| f64::from(i % 100) + 10.0).collect();
//!
//! let theirs = evidently::numbers(&reference, &window).unwrap();
//! assert_eq!((theirs.method, theirs.threshold, theirs.drifted), ("wasserstein", Some(0.1), true));
//! assert!((theirs.value - 10.0 / 28.866_07).abs() < 1e-5);
//!
//! let fitted = nannyml::Numbers::fit(nannyml::NumberMethod::KolmogorovSmirnov, &reference).unwrap();
//! assert!((fitted.score(&window).unwrap().value - 0.1).abs() < 1e-12);
//! ```

pub mod evidently;
pub mod nannyml;
mod numpy;
mod scipy;

use std::collections::BTreeMap;

/// What another tool says of a column.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Compat {
    /// What it measured, by the name that it gives it.
    pub method: &'static str,
    /// The number that it shows: a distance, or a p-value where its method is a test.
    pub value: f64,
    /// The number that it holds the value against; none where it goes by a p-value that it doesn't show.
    pub threshold: Option<f64>,
    /// Its conclusion.
    pub drifted: bool,
}

/// Why another tool has no number for a column. It raises an error there, or answers with NaN.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CompatError {
    /// No usable value.
    #[error("the {0} has no usable value; compare the column where both samples have some")]
    Empty(Sample),
    /// An infinite value where it is needed as a number.
    #[error("the {0} has infinite values, of which this method makes no number; leave them out")]
    Infinite(Sample),
    /// Fewer rows than chunks.
    #[error("the {0} has {1} rows, and at least {min} are needed for as many chunks", min = nannyml::CHUNKS)]
    TooFewRows(Sample, usize),
}

/// One of the two samples.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sample {
    /// What is compared with.
    Reference,
    /// What is compared.
    Window,
}

impl std::fmt::Display for Sample {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Reference => "reference",
            Self::Window => "window",
        })
    }
}

/// A sample's usable values, ascending.
fn sorted(values: &[f64], is_usable: fn(f64) -> bool, sample: Sample) -> Result<Vec<f64>, CompatError> {
    let mut sorted: Vec<f64> = values.iter().map(|value| *value + 0.0).filter(|value| is_usable(*value)).collect();
    sorted.sort_unstable_by(f64::total_cmp);
    if sorted.is_empty() { Err(CompatError::Empty(sample)) } else { Ok(sorted) }
}

/// How often both samples hold each value, in the order of the values.
fn counts<T: Ord>(reference: impl Iterator<Item = T>, window: impl Iterator<Item = T>) -> Vec<(u64, u64)> {
    let mut counts: BTreeMap<T, (u64, u64)> = BTreeMap::new();
    reference.for_each(|value| counts.entry(value).or_default().0 += 1);
    window.for_each(|value| counts.entry(value).or_default().1 += 1);
    counts.into_values().collect()
}

/// Counts as shares of their sum.
fn shares(counts: &[u64]) -> Vec<f64> {
    let total: u64 = counts.iter().sum();
    counts.iter().map(|count| *count as f64 / total as f64).collect()
}
