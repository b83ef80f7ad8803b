//! Two profiles of one grid laid side by side, in the order of their values.
//!
//! Everything that depends on ranks or on distances walks over these steps. A *point* step is one known value; a *gap*
//! step is an open cell of which only counts and sums are known, and it is what makes a score an interval instead of a
//! number.

use crate::grid::Grid;
use crate::numeric::NumericProfile;

/// What the two samples hold at one value, or inside one open cell.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Step {
    /// One value, with how often each sample holds it.
    Point { value: f64, reference: u64, window: u64 },
    /// An open cell between two values, with counts and sums of what lies strictly inside.
    Gap { lower: f64, upper: f64, reference: u64, reference_sum: f64, window: u64, window_sum: f64 },
}

impl Step {
    pub(crate) fn reference(&self) -> u64 {
        match *self {
            Self::Point { reference, .. } | Self::Gap { reference, .. } => reference,
        }
    }

    pub(crate) fn window(&self) -> u64 {
        match *self {
            Self::Point { window, .. } | Self::Gap { window, .. } => window,
        }
    }
}

/// The steps of a reference and a window on one grid, ascending, without empty ones.
#[derive(Debug)]
pub(crate) struct Steps {
    pub(crate) steps: Vec<Step>,
    /// Finite values of the reference.
    pub(crate) reference: u64,
    /// Finite values of the window.
    pub(crate) window: u64,
}

impl Steps {
    pub(crate) fn new(grid: &Grid, reference: &NumericProfile, window: &NumericProfile) -> Self {
        let mut steps = Vec::with_capacity(grid.cells());
        let mut off_grid = match (reference.off_grid.values(), window.off_grid.values()) {
            (Some(reference), Some(window)) => Some(merge_values(reference, window).into_iter().peekable()),
            _ => None,
        };
        for cell in 0..grid.cells() {
            let (in_reference, in_window) = (reference.cells[cell], window.cells[cell]);
            if in_reference == 0 && in_window == 0 {
                continue;
            }
            if let Some(value) = grid.atom(cell) {
                steps.push(Step::Point { value, reference: in_reference, window: in_window });
                continue;
            }
            let (lower, upper) = grid.open_ends(cell);
            if let Some(values) = &mut off_grid {
                while let Some((value, reference, window)) = values.next_if(|(value, _, _)| *value < upper) {
                    steps.push(Step::Point { value, reference, window });
                }
                continue;
            }
            // The outermost cells end where the samples do.
            let (lowest, highest) = extent(reference, window);
            steps.push(Step::Gap {
                lower: if lower.is_finite() { lower } else { lowest },
                upper: if upper.is_finite() { upper } else { highest },
                reference: in_reference,
                reference_sum: reference.open_sums[cell / 2],
                window: in_window,
                window_sum: window.open_sums[cell / 2],
            });
        }
        Self { steps, reference: reference.finite(), window: window.finite() }
    }

    /// Whether every value is known, so that every score is exact.
    pub(crate) fn all_points(&self) -> bool {
        self.steps.iter().all(|step| matches!(step, Step::Point { .. }))
    }
}

fn extent(reference: &NumericProfile, window: &NumericProfile) -> (f64, f64) {
    let ranges = [reference.range, window.range];
    let known = ranges.iter().flatten();
    known.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), (a, b)| (low.min(*a), high.max(*b)))
}

/// Merges two ascending lists of counted values into one of (value, reference, window).
fn merge_values(
    reference: impl Iterator<Item = (f64, u64)>,
    window: impl Iterator<Item = (f64, u64)>,
) -> Vec<(f64, u64, u64)> {
    let (mut reference, mut window) = (reference.peekable(), window.peekable());
    let mut merged = Vec::new();
    loop {
        match (reference.peek().copied(), window.peek().copied()) {
            (Some((a, n)), Some((b, m))) if a == b => {
                merged.push((a, n, m));
                reference.next();
                window.next();
            }
            (Some((a, n)), other) if other.is_none_or(|(b, _)| a < b) => {
                merged.push((a, n, 0));
                reference.next();
            }
            (_, Some((b, m))) => {
                merged.push((b, 0, m));
                window.next();
            }
            (_, None) => return merged,
        }
    }
}
