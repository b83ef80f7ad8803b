//! When a change began, from the whole history of a score.

use serde::{Deserialize, Serialize};

use crate::numeric::is_countable;

/// The last values of a history that are looked at; a change that is older is as old as the history.
pub const MAX_HISTORY: usize = 1000;
/// Probability that the interval holds the beginning, where the values are independent and normal about two levels.
const CONFIDENCE: f64 = 0.95;
/// Squared deviations below this part of all of them are rounding.
const ROUNDING: f64 = 1e-12;

/// Where a history went from one level to another.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Onset {
    /// Index of the first value after the change, the most likely one.
    pub first: usize,
    /// The earliest that it may be. With `latest` it bounds 95 % of the probability.
    pub earliest: usize,
    /// The latest that it may be.
    pub latest: usize,
    /// Mean of the values before.
    pub before: f64,
    /// Mean of the values from the first one on.
    pub after: f64,
}

/// The most likely beginning of a change of level, by maximum likelihood for independent normal values of one unknown spread
/// about two unknown levels (Hinkley 1970): where the sum of the deviations from the common mean lies furthest from
/// zero, for the lengths of the two parts (`max |S_k|·√(n/(k(n−k)))`, the cumulative sum's corrected extreme). The interval is
/// what holds 95 % of the posterior probability under a uniform prior on the place (Smith 1975),
/// `∝ (k(n−k))^−½·RSS_k^−(n−2)/2`.
///
/// It says when, not whether: it is for a history that is known to have changed, and a slow climb has its middle found. Values
/// that are no numbers are passed over. None for fewer than three values, or when all are equal.
///
/// ```
/// use driftline_detectors::change::onset;
///
/// let psi = [0.11, 0.09, 0.12, 0.10, 0.08, 0.11, 0.09, 0.61, 0.64, 0.60];
/// let onset = onset(&psi).unwrap();
/// assert_eq!((onset.earliest, onset.first, onset.latest), (7, 7, 7));
/// assert!((onset.before - 0.1).abs() < 1e-12 && (onset.after - 1.85 / 3.0).abs() < 1e-12);
/// ```
pub fn onset(history: &[f64]) -> Option<Onset> {
    let skipped = history.len().saturating_sub(MAX_HISTORY);
    let known: Vec<(usize, f64)> =
        history.iter().copied().enumerate().skip(skipped).filter(|(_, value)| is_countable(*value)).collect();
    let n = known.len();
    if n < 3 {
        return None;
    }
    let mean = known.iter().map(|(_, value)| value).sum::<f64>() / n as f64;
    let squares: f64 = known.iter().map(|(_, value)| (value - mean).powi(2)).sum();
    if squares <= mean * mean * ROUNDING || squares == 0.0 {
        return None;
    }
    let mut sum = 0.0;
    let weights: Vec<f64> = known[..n - 1]
        .iter()
        .zip(1..)
        .map(|((_, value), k)| {
            sum += value - mean;
            let lengths = k as f64 * (n - k) as f64;
            let left = (squares - sum * sum * n as f64 / lengths).max(squares * ROUNDING);
            -lengths.ln() / 2.0 - (n - 2) as f64 / 2.0 * (left / squares).ln()
        })
        .collect();
    let lengths = |k: usize| (k as f64 * (n - k) as f64).ln() / 2.0;
    let likelihood = |index: usize| weights[index] + lengths(index + 1);
    let best = (0..n - 1).max_by(|a, b| likelihood(*a).total_cmp(&likelihood(*b)))?;
    let (earliest, latest) = most_probable(&weights, best);
    let level = |part: &[(usize, f64)]| part.iter().map(|(_, value)| value).sum::<f64>() / part.len() as f64;
    Some(Onset {
        first: known[best + 1].0,
        earliest: known[earliest + 1].0,
        latest: known[latest + 1].0,
        before: level(&known[..=best]),
        after: level(&known[best + 1..]),
    })
}

/// The ends of what holds [`CONFIDENCE`] of the probability: the most probable places, whichever lie between them, and the
/// best one. Weights are logarithms.
fn most_probable(weights: &[f64], best: usize) -> (usize, usize) {
    let highest = weights.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let mut places: Vec<(usize, f64)> = weights.iter().map(|weight| (weight - highest).exp()).enumerate().collect();
    let total: f64 = places.iter().map(|(_, probability)| probability).sum();
    places.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
    let (mut earliest, mut latest, mut held) = (best, best, 0.0);
    for (place, probability) in places {
        if held >= CONFIDENCE * total {
            break;
        }
        held += probability;
        (earliest, latest) = (earliest.min(place), latest.max(place));
    }
    (earliest, latest)
}
