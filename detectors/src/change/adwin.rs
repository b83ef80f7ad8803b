//! ADWIN: a window of a stream that is as long as nothing has changed in it.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::{Change, Direction};
use crate::numeric::is_countable;

/// Rows of buckets, each of twice as many values as the row before. A window of 2⁴⁰ values lets its oldest go.
const MAX_ROWS: usize = 40;

/// What an ADWIN goes by. The defaults are river's.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AdwinSettings {
    /// The chance of a false alarm at one look, for values from 0 to 1 (δ): 0.002.
    pub delta: f64,
    /// Values from one look to the next: 32. A stream of a few hundred scores wants 1.
    pub clock: u32,
    /// Buckets of one size (M) that are kept before the two oldest become one: 5.
    pub max_buckets: usize,
    /// The shortest part that a window is cut into: 5.
    pub min_part: u64,
    /// Values before the first look: 10.
    pub min_values: u64,
}

impl Default for AdwinSettings {
    fn default() -> Self {
        Self { delta: 0.002, clock: 32, max_buckets: 5, min_part: 5, min_values: 10 }
    }
}

/// Bifet and Gavaldà's adaptive window (2007). It is kept as an exponential histogram, `M·log₂(n/M)` buckets for n values,
/// each with its sum and its squared deviations (Babcock et al. 2003). Wherever two parts of it have means that lie further
/// apart than chance brings them, its oldest bucket goes, until none have.
///
/// Step by step the same as river's window. Its `ADWIN` forgets all after a change, as [`Adwin::reset`] does; this one keeps
/// what it has since, as in the paper.
///
/// ```
/// use driftline_detectors::change::{Adwin, AdwinSettings, Direction};
///
/// let mut window = Adwin::new(AdwinSettings { clock: 1, ..Default::default() });
/// assert!((0..100).all(|i| window.update(f64::from(i % 2) / 10.0).is_none()));
/// let changes: Vec<_> = (0..50).filter_map(|_| window.update(0.9)).collect();
/// assert_eq!(changes[0].direction, Direction::Up);
/// assert!(window.len() < 100 && window.mean().unwrap() > 0.5, "most of what was before is gone");
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Adwin {
    settings: AdwinSettings,
    /// Row r holds buckets of 2ʳ values, the oldest first; the last row's are the oldest of all.
    rows: Vec<VecDeque<Bucket>>,
    whole: Part,
    until_look: u32,
}

/// Some values in a row, of which only this is known.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
struct Bucket {
    sum: f64,
    /// Their squared deviations from their mean.
    squares: f64,
}

/// A stretch of the window.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
struct Part {
    n: f64,
    sum: f64,
    squares: f64,
}

impl Part {
    fn mean(&self) -> f64 {
        self.sum / self.n
    }
}

/// Values in a bucket of this row.
fn size(row: usize) -> f64 {
    2f64.powi(row as i32)
}

impl Default for Adwin {
    fn default() -> Self {
        Self::new(AdwinSettings::default())
    }
}

impl Adwin {
    /// An empty window.
    ///
    /// ```
    /// use driftline_detectors::change::{Adwin, AdwinSettings};
    /// let window = Adwin::new(AdwinSettings { delta: 0.01, ..Default::default() });
    /// assert!(window.is_empty());
    /// ```
    pub fn new(settings: AdwinSettings) -> Self {
        Self { settings, rows: Vec::new(), whole: Part::default(), until_look: settings.clock }
    }

    /// Takes the next value, and says whether a change shows with it.
    ///
    /// ```
    /// use driftline_detectors::change::{Adwin, AdwinSettings};
    /// let mut window = Adwin::new(AdwinSettings { clock: 1, ..Default::default() });
    /// (0..50).for_each(|_| assert_eq!(window.update(0.1), None));
    /// assert_eq!(window.update(f64::NAN), None);
    /// let change = (0..50).find_map(|_| window.update(0.9)).unwrap();
    /// assert!(change.statistic > change.limit);
    /// ```
    pub fn update(&mut self, value: f64) -> Option<Change> {
        if !is_countable(value) {
            return None;
        }
        self.push(value);
        self.until_look = self.until_look.saturating_sub(1);
        if self.until_look > 0 {
            return None;
        }
        self.until_look = self.settings.clock;
        if self.whole.n <= self.settings.min_values as f64 {
            return None;
        }
        let mut first = None;
        while let Some(cut) = self.find_cut() {
            first = first.or(Some(cut));
            self.drop_oldest();
        }
        first.map(|change| Change { values: self.len(), ..change })
    }

    /// Forgets everything but the settings.
    ///
    /// ```
    /// use driftline_detectors::change::Adwin;
    /// let mut window = Adwin::default();
    /// window.update(1.0);
    /// window.reset();
    /// assert_eq!(window, Adwin::default());
    /// ```
    pub fn reset(&mut self) {
        *self = Self::new(self.settings);
    }

    /// How many values the window holds.
    ///
    /// ```
    /// use driftline_detectors::change::Adwin;
    /// let mut window = Adwin::default();
    /// [0.5, 0.25, f64::INFINITY].map(|value| window.update(value));
    /// assert_eq!(window.len(), 2);
    /// ```
    pub fn len(&self) -> u64 {
        self.whole.n as u64
    }

    /// Whether it holds none.
    ///
    /// ```
    /// use driftline_detectors::change::Adwin;
    /// let mut window = Adwin::default();
    /// assert!(window.is_empty());
    /// window.update(0.5);
    /// assert!(!window.is_empty());
    /// ```
    pub fn is_empty(&self) -> bool {
        self.whole.n == 0.0
    }

    /// Their mean; none without any.
    ///
    /// ```
    /// use driftline_detectors::change::Adwin;
    /// let mut window = Adwin::default();
    /// assert_eq!(window.mean(), None);
    /// [1.0, 2.0, 6.0].map(|value| window.update(value));
    /// assert_eq!(window.mean(), Some(3.0));
    /// ```
    pub fn mean(&self) -> Option<f64> {
        (!self.is_empty()).then(|| self.whole.mean())
    }

    /// Their squared deviations from their mean, added up.
    ///
    /// ```
    /// use driftline_detectors::change::Adwin;
    /// let mut window = Adwin::default();
    /// [1.0, 2.0, 6.0].map(|value| window.update(value));
    /// assert_eq!(window.squares(), 14.0);
    /// ```
    pub fn squares(&self) -> f64 {
        self.whole.squares
    }

    fn push(&mut self, value: f64) {
        if !self.is_empty() {
            let deviation = value - self.whole.mean();
            self.whole.squares += self.whole.n * deviation * deviation / (self.whole.n + 1.0);
        }
        self.whole.n += 1.0;
        self.whole.sum += value;
        self.push_bucket(0, Bucket { sum: value, squares: 0.0 });
    }

    /// Puts a bucket into a row. One more than there may be, and the two oldest move on as one.
    fn push_bucket(&mut self, mut row: usize, mut bucket: Bucket) {
        loop {
            if row == self.rows.len() {
                self.rows.push(VecDeque::new());
            }
            let buckets = &mut self.rows[row];
            buckets.push_back(bucket);
            if buckets.len() <= self.settings.max_buckets.max(1) {
                return;
            }
            let (Some(a), Some(b)) = (buckets.pop_front(), buckets.pop_front()) else { return };
            let difference = (a.sum - b.sum) / size(row);
            let between = size(row) / 2.0 * difference * difference;
            bucket = Bucket { sum: a.sum + b.sum, squares: a.squares + b.squares + between };
            row += 1;
            if row == MAX_ROWS {
                self.take_out(row, bucket);
                return;
            }
        }
    }

    /// The first cut from the old end whose parts have means further apart than chance brings them.
    fn find_cut(&self) -> Option<Change> {
        let (mut old, mut new) = (Part::default(), self.whole);
        let min_part = self.settings.min_part as f64;
        for (row, buckets) in self.rows.iter().enumerate().rev() {
            for bucket in buckets {
                old.n += size(row);
                new.n -= size(row);
                old.sum += bucket.sum;
                new.sum -= bucket.sum;
                if old.n < min_part || new.n < min_part.max(1.0) {
                    continue;
                }
                let (rise, limit) = (new.mean() - old.mean(), self.limit(old.n, new.n));
                if rise.abs() > limit {
                    let direction = if rise > 0.0 { Direction::Up } else { Direction::Down };
                    return Some(Change { direction, statistic: rise.abs(), limit, values: 1 });
                }
            }
        }
        None
    }

    /// By how much the means of two parts differ by chance: ε of the paper's theorem 3.2.
    fn limit(&self, old: f64, new: f64) -> f64 {
        let Part { n, squares, .. } = self.whole;
        let spared = self.settings.min_part as f64 - 1.0;
        let confidence = (2.0 * n.ln() / self.settings.delta).ln();
        let inverse_sizes = 1.0 / (old - spared) + 1.0 / (new - spared);
        // Rounding may leave a constant stream a variance below zero.
        let variance = (squares / n).max(0.0);
        (2.0 * inverse_sizes * variance * confidence).sqrt() + 2.0 / 3.0 * confidence * inverse_sizes
    }

    fn drop_oldest(&mut self) {
        let Some(row) = self.rows.len().checked_sub(1) else { return };
        if let Some(bucket) = self.rows[row].pop_front() {
            self.take_out(row, bucket);
        }
        if self.rows[row].is_empty() {
            self.rows.pop();
        }
    }

    fn take_out(&mut self, row: usize, bucket: Bucket) {
        let n = size(row);
        self.whole.n -= n;
        self.whole.sum -= bucket.sum;
        let difference = if self.is_empty() { 0.0 } else { bucket.sum / n - self.whole.mean() };
        let between = n * self.whole.n * difference * difference / (n + self.whole.n);
        self.whole.squares -= bucket.squares + between;
    }
}
