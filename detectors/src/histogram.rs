//! Reference and window side by side in a few bars, for a person to look at.

use serde::Serialize;

use crate::categorical::{CategoricalProfile, Dictionary};
use crate::grid::Grid;
use crate::numeric::NumericProfile;
use crate::reference::{Normal, Profile, Reference};
use crate::steps::{Step, Steps};

/// Bars of equal width that a numeric column is shown in.
const NUMERIC_BARS: usize = 30;
/// Distinct values up to which each has a bar of its own.
const MAX_VALUE_BARS: usize = 24;
/// Categories that are shown by name.
const CATEGORY_BARS: usize = 20;

/// One bar: the share that each sample has there.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Bar {
    /// What it stands for: a category, a value, or a range.
    pub label: String,
    /// Where the range begins; none for categories and for what lies beyond the picture.
    pub from: Option<f64>,
    /// Where it ends.
    pub to: Option<f64>,
    /// Share of the reference's usable values, from 0 to 1.
    pub reference: f64,
    /// Share of the window's usable values, from 0 to 1.
    pub window: f64,
}

impl Reference {
    /// The bars of this reference and a window of it, in their natural order: ascending values, or falling shares. The
    /// shares of each sample add up to one, or to zero when it is empty. Pairs of columns and vectors have none.
    ///
    /// ```
    /// use driftline_detectors::{ColumnKind, ReferenceBuilder};
    /// let mut builder = ReferenceBuilder::new("hour", ColumnKind::Numeric);
    /// (0..48).for_each(|i| builder.number(None, f64::from(i % 24)));
    /// let reference = builder.build(None).unwrap();
    /// let bars = reference.histogram(&reference.profile());
    /// assert!((bars.iter().map(|bar| bar.reference).sum::<f64>() - 1.0).abs() < 1e-9);
    /// ```
    pub fn histogram(&self, window: &Profile) -> Vec<Bar> {
        match (&self.normal, window) {
            (Normal::Numeric { grid, profile, .. }, Profile::Numeric(window)) => numeric(grid, profile, window),
            (Normal::Categorical { dictionary, profile }, Profile::Categorical(window)) => {
                categorical(dictionary, profile, window)
            }
            // What pairs of columns and vectors do is no picture of bars.
            (Normal::Associations { .. }, Profile::Associations(_))
            | (Normal::Contingencies { .. }, Profile::Contingencies(_))
            | (Normal::Vectors { .. }, Profile::Vectors(_)) => Vec::new(),
            _ => unreachable!("a profile is of the kind of its reference"),
        }
    }
}

fn share(count: f64, size: u64) -> f64 {
    if size == 0 { 0.0 } else { count / size as f64 }
}

/// Where a sample's mass lies in a step: at the value, or at the mean of what a gap holds.
fn positions(step: &Step) -> [(f64, u64); 2] {
    match *step {
        Step::Point { value, reference, window } => [(value, reference), (value, window)],
        Step::Gap { reference, reference_sum, window, window_sum, .. } => [
            (if reference > 0 { reference_sum / reference as f64 } else { 0.0 }, reference),
            (if window > 0 { window_sum / window as f64 } else { 0.0 }, window),
        ],
    }
}

fn numeric(grid: &Grid, reference: &NumericProfile, window: &NumericProfile) -> Vec<Bar> {
    let steps = Steps::new(grid, reference, window);
    let sizes = (steps.reference, steps.window);
    if steps.all_points() && steps.steps.len() <= MAX_VALUE_BARS {
        let bar = |step: &Step| {
            let [(value, in_reference), (_, in_window)] = positions(step);
            Bar {
                label: format_number(value),
                from: Some(value),
                to: Some(value),
                reference: share(in_reference as f64, sizes.0),
                window: share(in_window as f64, sizes.1),
            }
        };
        return steps.steps.iter().map(bar).collect();
    }
    // The picture shows the reference's range, and the window's as far as one range beyond it.
    let (low, high) = reference.range.unwrap_or((0.0, 1.0));
    let width = high - low;
    let (window_low, window_high) = window.range.unwrap_or((low, high));
    let (from, to) = (low.min(window_low.max(low - width)), high.max(window_high.min(high + width)));
    let bar_width = if to > from { (to - from) / NUMERIC_BARS as f64 } else { 1.0 };
    let mut bars: Vec<[f64; 2]> = vec![[0.0; 2]; NUMERIC_BARS + 2];
    for step in &steps.steps {
        for (sample, (value, count)) in positions(step).into_iter().enumerate() {
            let index = if value < from {
                NUMERIC_BARS
            } else if value > to {
                NUMERIC_BARS + 1
            } else {
                (((value - from) / bar_width) as usize).min(NUMERIC_BARS - 1)
            };
            bars[index][sample] += count as f64;
        }
    }
    let bar = |label, from, to, counts: [f64; 2]| Bar {
        label,
        from,
        to,
        reference: share(counts[0], sizes.0),
        window: share(counts[1], sizes.1),
    };
    let mut out = Vec::with_capacity(NUMERIC_BARS + 2);
    if bars[NUMERIC_BARS] != [0.0; 2] {
        out.push(bar(format!("below {}", format_number(from)), None, Some(from), bars[NUMERIC_BARS]));
    }
    for (i, counts) in bars.iter().take(NUMERIC_BARS).enumerate() {
        let (start, end) = (from + bar_width * i as f64, from + bar_width * (i + 1) as f64);
        out.push(bar(format!("{} to {}", format_number(start), format_number(end)), Some(start), Some(end), *counts));
    }
    if bars[NUMERIC_BARS + 1] != [0.0; 2] {
        out.push(bar(format!("above {}", format_number(to)), Some(to), None, bars[NUMERIC_BARS + 1]));
    }
    out
}

fn categorical(dictionary: &Dictionary, reference: &CategoricalProfile, window: &CategoricalProfile) -> Vec<Bar> {
    let sizes = (reference.valid(), window.valid());
    let bar = |label: String, in_reference: u64, in_window: u64| Bar {
        label,
        from: None,
        to: None,
        reference: share(in_reference as f64, sizes.0),
        window: share(in_window as f64, sizes.1),
    };
    let mut bars: Vec<Bar> = dictionary
        .categories()
        .iter()
        .enumerate()
        .map(|(cell, name)| bar(name.clone(), reference.cells[cell], window.cells[cell]))
        .collect();
    match &window.new {
        Some(named) => bars.extend(named.iter().map(|(name, count)| bar(format!("{name} (new)"), 0, *count))),
        None => bars.push(bar("new categories".to_owned(), 0, window.new_rows)),
    }
    bars.sort_by(|a, b| b.reference.max(b.window).total_cmp(&a.reference.max(a.window)));
    let rest = bars.split_off(bars.len().min(CATEGORY_BARS));
    let tail = if dictionary.has_tail() { dictionary.cells() - 1 } else { dictionary.cells() };
    let in_tail = |cells: &[u64]| cells.get(tail).copied().unwrap_or(0);
    let mut other = bar("all others".to_owned(), in_tail(&reference.cells), in_tail(&window.cells));
    for bar in rest {
        other.reference += bar.reference;
        other.window += bar.window;
    }
    if other.reference > 0.0 || other.window > 0.0 {
        bars.push(other);
    }
    bars
}

/// Four significant digits, without an exponent where a person would not write one.
fn format_number(value: f64) -> String {
    if value == 0.0 {
        return "0".to_owned();
    }
    let magnitude = value.abs().log10().floor();
    if !(-4.0..=9.0).contains(&magnitude) {
        return format!("{value:.3e}");
    }
    let decimals = (3.0 - magnitude).max(0.0) as usize;
    let text = format!("{value:.decimals$}");
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}
