//! Evidently's defaults (0.7): which test it takes for a column, its numbers and its conclusion.
//!
//! It goes by the rows of the reference, after infinite and missing values were left out, and by the distinct values of both
//! samples together:
//!
//! | reference | column | test | drift |
//! |---|---|---|---|
//! | up to 1,000 | more than 5 numbers | `ks`: Kolmogorov-Smirnov's p-value | at most 0.05 |
//! | | 3 to 5 numbers, more than 2 categories | `chisquare`: of the window against the reference's shares | below 0.05 |
//! | | up to 2 of either | `z`: of two proportions | below 0.05 |
//! | more | more than 5 numbers | `wasserstein`, by the reference's standard deviation | at least 0.1 |
//! | | any other | `jensenshannon`: the distance in nats | at least 0.1 |

use super::{Compat, CompatError, Sample, counts, numpy, scipy, shares, sorted};
use crate::lookup::ordered_bits;
use crate::null::tails::normal_tail;

/// The share of drifted columns from which on its data drift preset calls the whole drifted.
pub const DRIFT_SHARE: f64 = 0.5;
/// Rows of a reference up to which tests are taken, and distances from there on.
const SMALL: usize = 1000;
/// Distinct numbers up to which a column is compared value by value by default.
const FEW_NUMBERS: usize = 5;
/// Distinct numbers of a reference up to which shares are compared value by value.
const FEW_BINNED: usize = 20;
/// The p-value up to which a test says drift.
const SIGNIFICANT: f64 = 0.05;
/// The distance from which on it is drift.
const FAR: f64 = 0.1;
/// Standard deviation that distances are divided by at least.
const MIN_DEVIATION: f64 = 0.001;
/// A share in place of none, unless the smallest other one is no larger: then a millionth of that.
const INSTEAD_OF_ZERO: f64 = 0.0001;

/// The default test of a numeric column. NaN and infinite values are left out.
///
/// # Errors
/// When a sample has no finite value.
///
/// ```
/// use driftline_detectors::compat::evidently;
/// let reference: Vec<f64> = (0..500).map(f64::from).collect();
/// let window: Vec<f64> = (0..200).map(|i| f64::from(i) + 250.0).collect();
/// let theirs = evidently::numbers(&reference, &window).unwrap();
/// assert_eq!((theirs.method, theirs.drifted), ("ks", true));
/// assert!(theirs.value < 0.05, "a p-value, for a reference of so few rows");
/// assert!(evidently::numbers(&reference, &[f64::NAN]).is_err());
/// ```
pub fn numbers(reference: &[f64], window: &[f64]) -> Result<Compat, CompatError> {
    let (reference, window) = finite(reference, window)?;
    let counts = distinct(&reference, &window);
    if counts.len() <= FEW_NUMBERS {
        return Ok(value_by_value(&counts));
    }
    if reference.len() <= SMALL {
        let statistic = scipy::ks_statistic(&reference, &window);
        let p_value = scipy::ks_p_value(statistic, reference.len(), window.len());
        return Ok(test("ks", p_value, p_value <= SIGNIFICANT));
    }
    let scale = numpy::standard_deviation(&reference).max(MIN_DEVIATION);
    Ok(distance("wasserstein", scipy::wasserstein(&reference, &window) / scale))
}

/// The default test of a categorical column; nothing stands for a row without a value.
///
/// # Errors
/// When a sample has no value.
///
/// ```
/// use driftline_detectors::compat::evidently;
/// let reference = [Some("visa"), Some("visa"), Some("amex"), None].repeat(500);
/// let theirs = evidently::categories(&reference, &[Some("visa"), Some("amex")]).unwrap();
/// assert_eq!((theirs.method, theirs.threshold, theirs.drifted), ("jensenshannon", Some(0.1), true));
/// ```
pub fn categories(reference: &[Option<&str>], window: &[Option<&str>]) -> Result<Compat, CompatError> {
    Ok(value_by_value(&named(reference, window)?))
}

/// The population stability index of a numeric column. NaN and infinite values are left out.
///
/// Up to 20 distinct numbers in the reference are compared one by one. More are put into bins of one width over the range of
/// *both* samples, by Sturges' rule, so that one outlier of the window takes all the others into one bin. (NumPy makes no bin
/// of whole numbers narrower than one. That concerns more than half a million rows of some 21 of them, and is not followed.)
///
/// # Errors
/// When a sample has no finite value.
///
/// ```
/// use driftline_detectors::compat::evidently;
/// let theirs = evidently::psi_of_numbers(&[0.0, 0.0, 0.0, 1.0], &[0.0, 1.0]).unwrap();
/// assert!((theirs.value - 0.25 * 3f64.ln()).abs() < 1e-12);
/// ```
pub fn psi_of_numbers(reference: &[f64], window: &[f64]) -> Result<Compat, CompatError> {
    let (reference, window) = finite(reference, window)?;
    let mut values = reference.clone();
    values.dedup();
    if values.len() <= FEW_BINNED {
        return Ok(psi(&distinct(&reference, &window)));
    }
    let mut both = [reference.as_slice(), &window].concat();
    both.sort_unstable_by(f64::total_cmp);
    let edges = numpy::sturges_edges(&both);
    let counts = numpy::histogram(&reference, &edges).into_iter().zip(numpy::histogram(&window, &edges));
    Ok(psi(&counts.collect::<Vec<_>>()))
}

/// The population stability index of a categorical column.
///
/// # Errors
/// When a sample has no value.
///
/// ```
/// use driftline_detectors::compat::evidently;
/// let theirs = evidently::psi_of_categories(&[Some("a"), Some("a"), Some("a"), Some("b")], &[Some("a"), Some("b")]).unwrap();
/// assert!((theirs.value - 0.25 * 3f64.ln()).abs() < 1e-12);
/// ```
pub fn psi_of_categories(reference: &[Option<&str>], window: &[Option<&str>]) -> Result<Compat, CompatError> {
    Ok(psi(&named(reference, window)?))
}

fn finite(reference: &[f64], window: &[f64]) -> Result<(Vec<f64>, Vec<f64>), CompatError> {
    Ok((sorted(reference, f64::is_finite, Sample::Reference)?, sorted(window, f64::is_finite, Sample::Window)?))
}

fn distinct(reference: &[f64], window: &[f64]) -> Vec<(u64, u64)> {
    counts(reference.iter().copied().map(ordered_bits), window.iter().copied().map(ordered_bits))
}

fn named(reference: &[Option<&str>], window: &[Option<&str>]) -> Result<Vec<(u64, u64)>, CompatError> {
    let counts = counts(reference.iter().flatten(), window.iter().flatten());
    match totals(&counts) {
        (0, _) => Err(CompatError::Empty(Sample::Reference)),
        (_, 0) => Err(CompatError::Empty(Sample::Window)),
        _ => Ok(counts),
    }
}

fn totals(counts: &[(u64, u64)]) -> (u64, u64) {
    counts.iter().fold((0, 0), |(n, m), (reference, window)| (n + reference, m + window))
}

fn value_by_value(counts: &[(u64, u64)]) -> Compat {
    let (n, m) = totals(counts);
    if n > SMALL as u64 {
        let (p, q) = both_shares(counts);
        return distance("jensenshannon", scipy::jensen_shannon(&p, &q));
    }
    if counts.len() > 2 {
        let cells = counts.iter().map(|(reference, window)| (*window as f64, *reference as f64 * m as f64 / n as f64));
        let p_value = scipy::chi_square_p_value(cells);
        return test("chisquare", p_value, p_value < SIGNIFICANT);
    }
    let p_value = if counts.len() < 2 { 1.0 } else { proportions_p_value(counts[0], (n, m)) };
    test("z", p_value, p_value < SIGNIFICANT)
}

/// Of the shares of one value in samples of these sizes, with their variance pooled.
fn proportions_p_value((reference, window): (u64, u64), (n, m): (u64, u64)) -> f64 {
    let pooled = (reference + window) as f64 / (n + m) as f64;
    let (n, m) = (n as f64, m as f64);
    let z = (reference as f64 / n - window as f64 / m) / (pooled * (1.0 - pooled) * (1.0 / n + 1.0 / m)).sqrt();
    2.0 * normal_tail(z.abs())
}

fn psi(counts: &[(u64, u64)]) -> Compat {
    let (mut p, mut q) = both_shares(counts);
    fill_zeros(&mut p);
    fill_zeros(&mut q);
    distance("psi", p.iter().zip(&q).map(|(p, q)| (p - q) * (p / q).ln()).sum())
}

fn both_shares(counts: &[(u64, u64)]) -> (Vec<f64>, Vec<f64>) {
    let (reference, window): (Vec<u64>, Vec<u64>) = counts.iter().copied().unzip();
    (shares(&reference), shares(&window))
}

/// Their sum is more than one afterwards.
fn fill_zeros(shares: &mut [f64]) {
    let smallest = shares.iter().copied().filter(|share| *share > 0.0).fold(f64::INFINITY, f64::min);
    let filling = if smallest <= INSTEAD_OF_ZERO { smallest / 1e6 } else { INSTEAD_OF_ZERO };
    shares.iter_mut().filter(|share| **share == 0.0).for_each(|share| *share = filling);
}

fn test(method: &'static str, p_value: f64, drifted: bool) -> Compat {
    Compat { method, value: p_value, threshold: Some(SIGNIFICANT), drifted }
}

fn distance(method: &'static str, value: f64) -> Compat {
    Compat { method, value, threshold: Some(FAR), drifted: value >= FAR }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_unseen_category_is_drift_in_a_small_reference() {
        let reference: Vec<_> = ["a", "b", "c"].iter().cycle().take(900).map(|name| Some(*name)).collect();
        let window: Vec<_> = reference.iter().copied().take(299).chain([Some("new")]).collect();
        let theirs = categories(&reference, &window).unwrap();
        assert_eq!((theirs.method, theirs.value, theirs.drifted), ("chisquare", 0.0, true));
    }

    #[test]
    fn an_outlier_of_the_window_hides_a_shift() {
        let reference: Vec<f64> = (0..2000).map(|i| f64::from(i % 100)).collect();
        let mut window: Vec<f64> = reference.iter().map(|value| value + 50.0).collect();
        assert!(psi_of_numbers(&reference, &window).unwrap().value > 1.0);
        window[0] = 1e12;
        assert!(psi_of_numbers(&reference, &window).unwrap().value < 0.01);
    }

    #[test]
    fn a_sample_without_values_has_no_number() {
        assert_eq!(numbers(&[f64::NAN], &[1.0]), Err(CompatError::Empty(Sample::Reference)));
        assert_eq!(numbers(&[1.0], &[f64::INFINITY]), Err(CompatError::Empty(Sample::Window)));
        assert_eq!(categories(&[None], &[Some("a")]), Err(CompatError::Empty(Sample::Reference)));
    }
}
