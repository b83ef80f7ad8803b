//! NannyML's univariate methods (0.13) with its default threshold.
//!
//! A method is fitted on a reference and then asked about windows. Its threshold is the mean and three standard deviations of
//! what the reference's own ten stretches of rows score against the reference, so the order of its rows matters, and so does
//! a window's size: a smaller one scores higher by chance.

use std::collections::HashMap;

use super::{Compat, CompatError, Sample, numpy, scipy, shares, sorted};

/// Stretches of the reference that the threshold is made of; rows that are left over make one more.
pub const CHUNKS: usize = 10;
/// Values of a reference from which on it is not kept, but counted in so many bins of one width over its range.
const MANY: usize = 10_000;
/// Standard deviations above the mean of the reference's stretches from which on a window is drift.
const DEVIATIONS: f64 = 3.0;
/// The p-value below which the chi-square test says drift.
const SIGNIFICANT: f64 = 0.05;

/// Methods for numeric columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NumberMethod {
    /// The default: Jensen-Shannon distance to base 2 on bins of the reference by Doane's rule.
    JensenShannon,
    /// Kolmogorov-Smirnov's statistic; on 10,000 bins of one width for 10,000 values or more.
    KolmogorovSmirnov,
    /// Wasserstein distance in the column's units; on such bins for as many values.
    Wasserstein,
    /// Hellinger distance on the bins of the default.
    Hellinger,
}

/// Methods for categorical columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CategoryMethod {
    /// The default: Jensen-Shannon distance to base 2, with new categories as one.
    JensenShannon,
    /// Hellinger distance, with new categories as one.
    Hellinger,
    /// Largest difference of a share.
    LInfinity,
    /// Chi-square of the contingency table. The conclusion goes by its p-value alone.
    Chi2,
}

impl NumberMethod {
    fn name(self) -> &'static str {
        match self {
            Self::JensenShannon => "jensen_shannon",
            Self::KolmogorovSmirnov => "kolmogorov_smirnov",
            Self::Wasserstein => "wasserstein",
            Self::Hellinger => "hellinger",
        }
    }
}

impl CategoryMethod {
    fn name(self) -> &'static str {
        match self {
            Self::JensenShannon => "jensen_shannon",
            Self::Hellinger => "hellinger",
            Self::LInfinity => "l_infinity",
            Self::Chi2 => "chi2",
        }
    }
}

/// A method that was fitted on a numeric column.
#[derive(Debug, Clone)]
pub struct Numbers {
    method: NumberMethod,
    normal: Normal,
    threshold: f64,
}

/// What is kept of a reference.
#[derive(Debug, Clone)]
enum Normal {
    Sorted(Vec<f64>),
    Binned { edges: Vec<f64>, shares: Vec<f64> },
}

impl Numbers {
    /// Fits a method on a reference in the order of its rows. NaN is left out.
    ///
    /// # Errors
    /// When it has no value, fewer rows than ten, or infinite values where they have no place.
    ///
    /// ```
    /// use driftline_detectors::compat::nannyml::{NumberMethod, Numbers};
    /// assert!(Numbers::fit(NumberMethod::JensenShannon, &[1.0, 2.0]).is_err(), "a threshold wants ten rows at least");
    /// ```
    pub fn fit(method: NumberMethod, reference: &[f64]) -> Result<Self, CompatError> {
        let sorted = sorted_numbers(reference, Sample::Reference)?;
        let normal = match method {
            NumberMethod::JensenShannon | NumberMethod::Hellinger => Normal::binned(&sorted, numpy::doane_edges)?,
            _ if sorted.len() >= MANY => Normal::binned(&sorted, |sorted| numpy::equal_edges(sorted, MANY))?,
            NumberMethod::KolmogorovSmirnov => Normal::Sorted(sorted),
            NumberMethod::Wasserstein => Normal::Sorted(finite(sorted, Sample::Reference)?),
        };
        let mut fitted = Self { method, normal, threshold: f64::INFINITY };
        let threshold = threshold(chunks(reference, Sample::Reference)?.map(|chunk| fitted.distance(chunk)))?;
        fitted.threshold = if method == NumberMethod::KolmogorovSmirnov { threshold.min(1.0) } else { threshold };
        Ok(fitted)
    }

    /// What it says of a window. NaN is left out.
    ///
    /// # Errors
    /// When the window has no value, or infinite ones and the method is Wasserstein's.
    ///
    /// ```
    /// use driftline_detectors::compat::nannyml::{NumberMethod, Numbers};
    /// let reference: Vec<f64> = (0..1000).map(|i| f64::from(i % 10)).collect();
    /// let fitted = Numbers::fit(NumberMethod::Wasserstein, &reference).unwrap();
    /// let theirs = fitted.score(&[2.0, 7.0]).unwrap();
    /// assert_eq!((theirs.method, theirs.drifted), ("wasserstein", true));
    /// assert!((theirs.value - 1.2).abs() < 1e-12);
    /// ```
    pub fn score(&self, window: &[f64]) -> Result<Compat, CompatError> {
        let value = self.distance(window)?;
        let (method, threshold) = (self.method.name(), Some(self.threshold));
        Ok(Compat { method, value, threshold, drifted: value > self.threshold })
    }

    fn distance(&self, window: &[f64]) -> Result<f64, CompatError> {
        let window = sorted_numbers(window, Sample::Window)?;
        let window = if self.method == NumberMethod::Wasserstein { finite(window, Sample::Window)? } else { window };
        Ok(match (self.method, &self.normal) {
            (NumberMethod::Wasserstein, Normal::Sorted(reference)) => scipy::wasserstein(reference, &window),
            (_, Normal::Sorted(reference)) => scipy::ks_statistic(reference, &window),
            (NumberMethod::KolmogorovSmirnov, Normal::Binned { edges, shares }) => largest_gap(edges, shares, &window),
            (NumberMethod::Wasserstein, Normal::Binned { edges, shares }) => area(edges, shares, &window),
            (NumberMethod::JensenShannon, Normal::Binned { edges, shares }) => {
                jensen_shannon(shares, &binned(&window, edges), window.len())
            }
            (NumberMethod::Hellinger, Normal::Binned { edges, shares }) => {
                hellinger(shares, &binned(&window, edges), window.len())
            }
        })
    }
}

impl Normal {
    fn binned(sorted: &[f64], edges: impl Fn(&[f64]) -> Vec<f64>) -> Result<Self, CompatError> {
        if sorted.iter().any(|value| value.is_infinite()) {
            return Err(CompatError::Infinite(Sample::Reference));
        }
        let edges = edges(sorted);
        Ok(Self::Binned { shares: shares(&numpy::histogram(sorted, &edges)), edges })
    }
}

/// Shares of a window in the reference's bins. What lies outside is in none.
fn binned(window: &[f64], edges: &[f64]) -> Vec<f64> {
    let counts = numpy::histogram(window, edges);
    counts.into_iter().map(|count| count as f64 / window.len() as f64).collect()
}

/// The largest difference of the distribution functions at the bins' upper edges.
fn largest_gap(edges: &[f64], reference: &[f64], window: &[f64]) -> f64 {
    let below = window.partition_point(|value| *value < edges[0]) as f64 / window.len() as f64;
    let window = binned(window, edges);
    let gaps = cumulative(0.0, reference).zip(cumulative(below, &window));
    gaps.map(|(reference, window)| (reference - window).abs()).fold(0.0, f64::max)
}

/// The area between the distribution functions, as steps at the bins' lower edges. NannyML takes one value more to lie below
/// the reference than does, if any; so does this.
fn area(edges: &[f64], reference: &[f64], window: &[f64]) -> f64 {
    let (lowest, highest, m) = (edges[0], edges[edges.len() - 1], window.len() as f64);
    let smaller = &window[..window.partition_point(|value| *value < lowest)];
    let bigger = &window[window.partition_point(|value| *value <= highest)..];
    let outside = smaller.iter().map(|value| lowest - value).sum::<f64>() / m
        + bigger.iter().map(|value| value - highest).sum::<f64>() / m;
    let below = if smaller.is_empty() { 0.0 } else { (smaller.len() + 1) as f64 / m };
    let window = binned(window, edges);
    let gaps = cumulative(0.0, reference).zip(cumulative(below, &window));
    let width = edges[1] - edges[0];
    outside + gaps.map(|(reference, window)| (reference - window).abs() * width).sum::<f64>()
}

fn cumulative(from: f64, shares: &[f64]) -> impl Iterator<Item = f64> {
    shares.iter().scan(0.0, move |sum, share| {
        *sum += share;
        Some(from + *sum)
    })
}

/// A method that was fitted on a categorical column.
#[derive(Debug, Clone)]
pub struct Categories {
    method: CategoryMethod,
    /// Where each category is in the counts.
    places: HashMap<String, usize>,
    counts: Vec<u64>,
    shares: Vec<f64>,
    threshold: Option<f64>,
}

impl Categories {
    /// Fits a method on a reference in the order of its rows; nothing stands for a row without a value.
    ///
    /// # Errors
    /// When it has no value, or fewer rows than ten.
    ///
    /// ```
    /// use driftline_detectors::compat::nannyml::{Categories, CategoryMethod};
    /// assert!(Categories::fit(CategoryMethod::Chi2, &[None; 20]).is_err(), "not one category");
    /// ```
    pub fn fit(method: CategoryMethod, reference: &[Option<&str>]) -> Result<Self, CompatError> {
        let mut places: HashMap<String, usize> = HashMap::new();
        let mut counts: Vec<u64> = Vec::new();
        for name in reference.iter().flatten() {
            let place = places.get(*name).copied().unwrap_or_else(|| {
                places.insert((*name).to_owned(), counts.len());
                counts.push(0);
                counts.len() - 1
            });
            counts[place] += 1;
        }
        if counts.is_empty() {
            return Err(CompatError::Empty(Sample::Reference));
        }
        let mut fitted = Self { method, places, shares: shares(&counts), counts, threshold: None };
        let stretches = chunks(reference, Sample::Reference)?;
        if method != CategoryMethod::Chi2 {
            fitted.threshold = Some(threshold(stretches.map(|chunk| fitted.distance(&fitted.counted(chunk))))?);
        }
        Ok(fitted)
    }

    /// What it says of a window.
    ///
    /// # Errors
    /// When the window has no value.
    ///
    /// ```
    /// use driftline_detectors::compat::nannyml::{Categories, CategoryMethod};
    /// let fitted = Categories::fit(CategoryMethod::LInfinity, &[Some("a"), Some("b")].repeat(50)).unwrap();
    /// let theirs = fitted.score(&[Some("a"), Some("a"), Some("a"), Some("new")]).unwrap();
    /// assert_eq!((theirs.method, theirs.value, theirs.drifted), ("l_infinity", 0.5, true));
    /// ```
    pub fn score(&self, window: &[Option<&str>]) -> Result<Compat, CompatError> {
        let window = self.counted(window);
        let value = self.distance(&window)?;
        let drifted = match self.threshold {
            Some(threshold) => value > threshold,
            None => scipy::contingency(&self.columns(&window)).1 < SIGNIFICANT,
        };
        Ok(Compat { method: self.method.name(), value, threshold: self.threshold, drifted })
    }

    fn counted<'a>(&self, window: &[Option<&'a str>]) -> Counted<'a> {
        let mut counted = Counted { known: vec![0; self.counts.len()], new: HashMap::new() };
        for name in window.iter().flatten() {
            match self.places.get(*name) {
                Some(place) => counted.known[*place] += 1,
                None => *counted.new.entry(*name).or_default() += 1,
            }
        }
        counted
    }

    fn distance(&self, window: &Counted<'_>) -> Result<f64, CompatError> {
        let size = window.known.iter().sum::<u64>() + window.new.values().sum::<u64>();
        if size == 0 {
            return Err(CompatError::Empty(Sample::Window));
        }
        let share = |count: &u64| *count as f64 / size as f64;
        let known: Vec<f64> = window.known.iter().map(share).collect();
        Ok(match self.method {
            CategoryMethod::JensenShannon => jensen_shannon(&self.shares, &known, size as usize),
            CategoryMethod::Hellinger => hellinger(&self.shares, &known, size as usize),
            CategoryMethod::LInfinity => {
                let differences = self.shares.iter().zip(&known).map(|(p, q)| (p - q).abs());
                differences.chain(window.new.values().map(share)).fold(0.0, f64::max)
            }
            CategoryMethod::Chi2 => scipy::contingency(&self.columns(window)).0,
        })
    }

    fn columns(&self, window: &Counted<'_>) -> Vec<(u64, u64)> {
        let known = self.counts.iter().copied().zip(window.known.iter().copied());
        known.chain(window.new.values().map(|count| (0, *count))).collect()
    }
}

/// A window's rows by category.
struct Counted<'a> {
    /// In the order of the reference's categories.
    known: Vec<u64>,
    new: HashMap<&'a str, u64>,
}

fn jensen_shannon(reference: &[f64], window: &[f64], size: usize) -> f64 {
    let (reference, window) = with_leftover(reference, window, size);
    scipy::jensen_shannon(&reference, &window) / std::f64::consts::LN_2.sqrt()
}

fn hellinger(reference: &[f64], window: &[f64], size: usize) -> f64 {
    let (reference, window) = with_leftover(reference, window, size);
    let squares = reference.iter().zip(&window).map(|(p, q)| (p.sqrt() - q.sqrt()).powi(2));
    (squares.sum::<f64>() / 2.0).sqrt()
}

/// Both with one cell more for what the reference has no cell for. Less than half a row is rounding.
fn with_leftover(reference: &[f64], window: &[f64], size: usize) -> (Vec<f64>, Vec<f64>) {
    let leftover = 1.0 - window.iter().sum::<f64>();
    let leftover = if leftover * size as f64 > 0.5 { leftover } else { 0.0 };
    ([reference, &[0.0]].concat(), [window, &[leftover]].concat())
}

fn sorted_numbers(values: &[f64], sample: Sample) -> Result<Vec<f64>, CompatError> {
    sorted(values, |value| !value.is_nan(), sample)
}

fn finite(sorted: Vec<f64>, sample: Sample) -> Result<Vec<f64>, CompatError> {
    let is_finite = sorted.iter().all(|value| value.is_finite());
    if is_finite { Ok(sorted) } else { Err(CompatError::Infinite(sample)) }
}

/// A sample's rows as its default chunker cuts them: ten stretches of one length, and what is left over.
///
/// # Errors
/// When there are fewer rows than ten.
///
/// ```
/// use driftline_detectors::compat::{Sample, nannyml};
/// let rows: Vec<usize> = (0..42).collect();
/// let lengths: Vec<usize> = nannyml::chunks(&rows, Sample::Window).unwrap().map(<[usize]>::len).collect();
/// assert_eq!(lengths, [4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 2]);
/// ```
pub fn chunks<T>(rows: &[T], sample: Sample) -> Result<std::slice::Chunks<'_, T>, CompatError> {
    match rows.len() / CHUNKS {
        0 => Err(CompatError::TooFewRows(sample, rows.len())),
        length => Ok(rows.chunks(length)),
    }
}

/// Mean and three standard deviations of the stretches that have a value.
fn threshold(distances: impl Iterator<Item = Result<f64, CompatError>>) -> Result<f64, CompatError> {
    let is_of_use = |distance: &Result<f64, CompatError>| !matches!(distance, Err(CompatError::Empty(_)));
    let distances = distances.filter(is_of_use).collect::<Result<Vec<f64>, _>>()?;
    Ok(numpy::mean(&distances) + DEVIATIONS * numpy::standard_deviation(&distances))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_reference_does_not_know_is_one_cell() {
        let reference: Vec<_> = ["a", "b"].iter().cycle().take(100).map(|name| Some(*name)).collect();
        let fitted = Categories::fit(CategoryMethod::Hellinger, &reference).unwrap();
        let score = |window: &[Option<&str>]| fitted.score(window).unwrap().value;
        assert_eq!(score(&[Some("x"), Some("y")]), score(&[Some("x"), Some("x")]));
        assert!((score(&[Some("x")]) - 1.0).abs() < 1e-12);
    }

    #[test]
    fn a_smaller_window_of_the_same_rows_is_drift() {
        let reference: Vec<f64> = (0..5000).map(|i| f64::from(i * 7919 % 5003)).collect();
        let fitted = Numbers::fit(NumberMethod::JensenShannon, &reference).unwrap();
        assert!(!fitted.score(&reference[..500]).unwrap().drifted);
        assert!(fitted.score(&reference[..30]).unwrap().drifted);
    }

    #[test]
    fn what_it_cannot_take_is_an_error() {
        let fit = |values: &[f64]| Numbers::fit(NumberMethod::Wasserstein, values).map(|_| ());
        assert_eq!(fit(&[f64::NAN; 20]), Err(CompatError::Empty(Sample::Reference)));
        assert_eq!(fit(&[1.0; 9]), Err(CompatError::TooFewRows(Sample::Reference, 9)));
        assert_eq!(fit(&[f64::INFINITY; 20]), Err(CompatError::Infinite(Sample::Reference)));
    }
}
