//! A classifier that tells the rows of two samples apart, and how well it can: whatever differs between them, in one column or
//! in how several go together, somebody could learn.
//!
//! Gradient-boosted trees of three levels (Friedman 2001) on the logistic loss, with columns in at most 32 bins, are fitted on four fifths of the
//! rows and asked about the fifth that they have not seen, five times. How well the answers sort the rows is the area under
//! the ROC curve: one half when nothing tells them apart (Lopez-Paz & Oquab 2017, "Revisiting classifier two-sample
//! tests"). It is no sum, so it is there for two files at hand, and no window has it.

use crate::detector::Detector;
use crate::distances::{Distance, MEAN_MAGNITUDE, NOISE_TAIL, interval};
use crate::null::tails::{normal_quantile, normal_tail};
use crate::reference::Thresholds;
use crate::sample::{Sample, mixed};
use crate::score::{Judgement, Score};

/// Rows of each sample that are looked at, at the most.
pub const MAX_CLASSIFIED_ROWS: usize = 4096;
/// Fewer rows of a sample say nothing of a classifier.
pub const MIN_CLASSIFIED_ROWS: usize = 50;
/// Parts in which rows are, each of them judged by the others.
const FOLDS: u64 = 5;
/// Trees, one after the other.
const TREES: usize = 40;
/// Levels of a tree.
const LEVELS: usize = 3;
/// The part of each tree's answer that is believed.
const RATE: f64 = 0.15;
/// Bins of a column, besides the one of what is missing.
const BINS: usize = 32;
/// Rows on each side of a split, at the least.
const MIN_LEAF: f64 = 10.0;
/// What shrinks the answers of small leaves, in the logistic loss' second derivatives.
const RIDGE: f64 = 1.0;

/// A bounded sample of rows with a number for each column, NaN where there is none.
#[derive(Debug, Clone)]
pub struct RowSample {
    sample: Sample<Box<[f64]>>,
    rows: u64,
}

impl Default for RowSample {
    fn default() -> Self {
        Self { sample: Sample::of_at_most(MAX_CLASSIFIED_ROWS), rows: 0 }
    }
}

impl RowSample {
    /// Adds a row, unless it is none of the sample.
    ///
    /// ```
    /// let mut sample = driftline_detectors::RowSample::default();
    /// (0..100_000).for_each(|i| sample.add(&[f64::from(i), 0.5]));
    /// assert_eq!(sample.rows(), 100_000);
    /// ```
    pub fn add(&mut self, row: &[f64]) {
        self.rows += 1;
        self.sample.add(self.rows, || row.into());
    }

    /// Rows that were added, whether they are of the sample or not.
    ///
    /// ```
    /// assert_eq!(driftline_detectors::RowSample::default().rows(), 0);
    /// ```
    pub fn rows(&self) -> u64 {
        self.rows
    }
}

/// How well the two samples can be told apart.
#[derive(Debug, Clone, PartialEq)]
pub struct Classified {
    /// Its value is the area under the ROC curve of rows that the classifier had not seen, from 0 to 1: one half when nothing tells
    /// them apart. Its effect is by how much it exceeds that.
    pub score: Score,
    /// The columns by how much of the telling is theirs, the largest first: shares that add up to 1, or none when there is
    /// nothing to tell.
    pub columns: Vec<(usize, f64)>,
}

/// Learns to tell two samples of the same columns apart. None when one has fewer than [`MIN_CLASSIFIED_ROWS`].
///
/// Under no drift the answers are independent of what they are about, and the area's variance is `(n + m + 1)/12nm` (Mann &
/// Whitney 1947). The interval is Hanley and McNeil's (1982). The threshold is that of [`Detector::Auc`].
///
/// ```
/// use driftline_detectors::{RowSample, Thresholds, Verdict, classify};
///
/// let (mut reference, mut window) = (RowSample::default(), RowSample::default());
/// for i in 0..400 {
///     let (a, b) = (f64::from(i * 37 % 101), f64::from(i * 53 % 97));
///     reference.add(&[a, a + b / 10.0]);
///     // The same numbers, of other rows.
///     window.add(&[a, f64::from((i * 37 + 50) % 101) + b / 10.0]);
/// }
/// let told_apart = classify(reference, window, &Thresholds::default()).unwrap();
/// assert!(told_apart.score.value > 0.9 && told_apart.score.verdict == Verdict::Drift);
/// ```
pub fn classify(reference: RowSample, window: RowSample, thresholds: &Thresholds) -> Option<Classified> {
    let of = |sample: RowSample| sample.sample.into_values().collect::<Vec<Box<[f64]>>>();
    let (reference, window) = (of(reference), of(window));
    let (n, m) = (reference.len(), window.len());
    if n < MIN_CLASSIFIED_ROWS || m < MIN_CLASSIFIED_ROWS {
        return None;
    }
    let rows: Vec<&[f64]> = reference.iter().chain(&window).map(|row| &**row).collect();
    let data = Binned::of(&rows);
    let is_window: Vec<bool> = (0..n + m).map(|row| row >= n).collect();
    // Each sample is parted by itself, so that all parts hold both.
    let fold: Vec<u64> = (0..n + m).map(|row| mixed(row as u64) % FOLDS).collect();
    let mut answers = vec![0.0; n + m];
    let mut gains = vec![0.0; data.columns.len()];
    for part in 0..FOLDS {
        let seen: Vec<usize> = (0..n + m).filter(|row| fold[*row] != part).collect();
        let unseen: Vec<usize> = (0..n + m).filter(|row| fold[*row] == part).collect();
        boost(&data, &is_window, &seen, &unseen, &mut answers, &mut gains);
    }
    let judgement =
        Judgement { threshold: thresholds.of(Detector::Auc), blocks: None, budget: None, window_is_covered: true };
    let distance = distance(mean_auc(&answers, &is_window, &fold), n as f64, m as f64);
    let all: f64 = gains.iter().sum();
    let shares = gains.into_iter().map(|gain| gain / all).enumerate();
    let mut columns: Vec<(usize, f64)> = shares.filter(|(_, share)| *share > 0.0).collect();
    columns.sort_by(|a, b| b.1.total_cmp(&a.1));
    Some(Classified { score: Score::judge(Detector::Auc, distance, (n as u64, m as u64), judgement), columns })
}

/// What an area is worth that comes of so many rows of each sample.
fn distance(auc: f64, n: f64, m: f64) -> Distance {
    let deviation = ((n + m + 1.0) / (12.0 * n * m)).sqrt();
    let area = auc.max(0.5);
    let of_pairs = area / (2.0 - area) - area * area;
    let of_others = 2.0 * area * area / (1.0 + area) - area * area;
    let spread = ((area * (1.0 - area) + (m - 1.0) * of_pairs + (n - 1.0) * of_others) / (n * m)).sqrt();
    let (low, high) = (auc - 0.5 - interval::DEVIATIONS * spread, auc - 0.5 + interval::DEVIATIONS * spread);
    Distance {
        value: auc,
        upper: auc,
        effect: (auc - 0.5).max(0.0),
        noise: normal_quantile(NOISE_TAIL) * deviation,
        // Half of a normal's magnitude: it counts upwards only.
        null_mean: MEAN_MAGNITUDE / 2.0 * deviation,
        interval: (low.max(0.0), high.clamp(0.0, 0.5)),
        p_value: normal_tail((auc - 0.5) / deviation),
    }
}

/// Columns of rows in bins; the last bin of each is of what is missing.
struct Binned {
    columns: Vec<Vec<u8>>,
}

impl Binned {
    fn of(rows: &[&[f64]]) -> Self {
        let width = rows.first().map_or(0, |row| row.len());
        Self { columns: (0..width).map(|column| Self::column(rows, column)).collect() }
    }

    fn column(rows: &[&[f64]], column: usize) -> Vec<u8> {
        let mut sorted: Vec<f64> = rows.iter().map(|row| row[column]).filter(|x| !x.is_nan()).collect();
        sorted.sort_unstable_by(f64::total_cmp);
        let mut edges: Vec<f64> =
            (1..BINS).filter_map(|part| sorted.get(part * sorted.len() / BINS).copied()).collect();
        edges.dedup();
        let bin = |x: f64| if x.is_nan() { BINS } else { edges.partition_point(|edge| *edge <= x) };
        rows.iter().map(|row| bin(row[column]) as u8).collect()
    }
}

/// Fits trees on the rows that are seen, and adds what they say to the answers about the others.
fn boost(data: &Binned, is_window: &[bool], seen: &[usize], unseen: &[usize], answers: &mut [f64], gains: &mut [f64]) {
    let of_window = seen.iter().filter(|row| is_window[**row]).count() as f64;
    let prior = (of_window / (seen.len() as f64 - of_window)).ln();
    let mut said = vec![prior; is_window.len()];
    let mut slopes = vec![(0.0, 0.0); is_window.len()];
    for _ in 0..TREES {
        for row in seen {
            let probability = 1.0 / (1.0 + (-said[*row]).exp());
            slopes[*row] = (f64::from(u8::from(is_window[*row])) - probability, probability * (1.0 - probability));
        }
        grow(data, &slopes, seen.to_vec(), unseen.to_vec(), LEVELS, &mut said, gains);
    }
    unseen.iter().for_each(|row| answers[*row] = said[*row]);
}

/// Splits rows where the loss falls most, and adds to what is said of those of each leaf.
fn grow(
    data: &Binned,
    slopes: &[(f64, f64)],
    seen: Vec<usize>,
    unseen: Vec<usize>,
    levels: usize,
    said: &mut [f64],
    gains: &mut [f64],
) {
    let best = if levels > 0 { best_split(data, slopes, &seen) } else { None };
    let Some(Split { column, at, gain }) = best else {
        let (slope, curvature) =
            seen.iter().fold((0.0, 0.0), |sum, row| (sum.0 + slopes[*row].0, sum.1 + slopes[*row].1));
        let step = RATE * slope / (curvature + RIDGE);
        seen.iter().chain(&unseen).for_each(|row| said[*row] += step);
        return;
    };
    gains[column] += gain;
    let is_left = |row: &usize| usize::from(data.columns[column][*row]) <= at;
    let (left, right): (Vec<usize>, Vec<usize>) = seen.into_iter().partition(is_left);
    let (unseen_left, unseen_right) = unseen.into_iter().partition(is_left);
    grow(data, slopes, left, unseen_left, levels - 1, said, gains);
    grow(data, slopes, right, unseen_right, levels - 1, said, gains);
}

/// Rows up to a bin of a column, and those beyond it.
struct Split {
    column: usize,
    at: usize,
    gain: f64,
}

fn best_split(data: &Binned, slopes: &[(f64, f64)], rows: &[usize]) -> Option<Split> {
    let worth = |(_, slope, curvature): (f64, f64, f64)| slope * slope / (curvature + RIDGE);
    let mut best: Option<Split> = None;
    for (column, bins) in data.columns.iter().enumerate() {
        let mut sums = [(0.0, 0.0, 0.0); BINS + 1];
        for row in rows {
            let (slope, curvature) = slopes[*row];
            let sum = &mut sums[usize::from(bins[*row])];
            *sum = (sum.0 + 1.0, sum.1 + slope, sum.2 + curvature);
        }
        let add = |a: (f64, f64, f64), b: &(f64, f64, f64)| (a.0 + b.0, a.1 + b.1, a.2 + b.2);
        let all = sums.iter().fold((0.0, 0.0, 0.0), add);
        let mut left = (0.0, 0.0, 0.0);
        for (at, sum) in sums[..BINS].iter().enumerate() {
            left = add(left, sum);
            let right = (all.0 - left.0, all.1 - left.1, all.2 - left.2);
            let gain = worth(left) + worth(right) - worth(all);
            let is_large = left.0 >= MIN_LEAF && right.0 >= MIN_LEAF;
            if is_large && gain > best.as_ref().map_or(f64::EPSILON, |best| best.gain) {
                best = Some(Split { column, at, gain });
            }
        }
    }
    best
}

/// The areas of all parts, weighed by the pairs that they hold: answers of different classifiers are not compared.
fn mean_auc(answers: &[f64], is_window: &[bool], fold: &[u64]) -> f64 {
    let (mut area, mut pairs) = (0.0, 0.0);
    for part in 0..FOLDS {
        let mut of_part: Vec<(f64, bool)> =
            (0..answers.len()).filter(|row| fold[*row] == part).map(|row| (answers[row], is_window[row])).collect();
        of_part.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
        let mut below = 0.0;
        for tied in of_part.chunk_by(|a, b| a.0 == b.0) {
            let windows = tied.iter().filter(|(_, is_window)| *is_window).count() as f64;
            let references = tied.len() as f64 - windows;
            area += windows * (below + references / 2.0);
            below += references;
        }
        pairs += below * (of_part.len() as f64 - below);
    }
    if pairs > 0.0 { area / pairs } else { 0.5 }
}
