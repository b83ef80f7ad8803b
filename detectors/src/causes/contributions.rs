//! What each cell adds to a score.

use serde::{Deserialize, Serialize};

use super::Unusable;
use super::unusable;
use crate::categorical::{CategoricalProfile, Dictionary};
use crate::coarse::Coarsening;
use crate::comparison::COMMON_ROWS;
use crate::detector::Detector;
use crate::grid::Grid;
use crate::numeric::NumericProfile;
use crate::reference::{Normal, Profile, Reference};
use crate::steps::{Step, Steps};

/// A part of a column's values.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "cell", rename_all = "snake_case")]
pub enum Cell {
    /// A category of the reference.
    Category {
        /// Its name.
        name: String,
    },
    /// One that it never saw.
    NewCategory {
        /// Its name.
        name: String,
    },
    /// New categories that were too many to keep by name.
    NewCategories,
    /// All categories that are too rare in the reference to be compared one by one, the new ones among them.
    RareCategories,
    /// Values of a decile: above one and up to the other. The lowest decile begins with its own smallest value.
    Range {
        /// Above which.
        from: f64,
        /// Up to which.
        to: f64,
    },
    /// Values outside of the reference's range.
    Outside,
    /// Rows without a usable value.
    Unusable {
        /// Why.
        what: Unusable,
    },
}

/// What one cell adds to a score.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Contribution {
    /// Which part of the values.
    #[serde(flatten)]
    pub cell: Cell,
    /// Its share of the reference's values, from 0 to 1; of its rows where they are not usable.
    pub reference: f64,
    /// Its share of the window's.
    pub window: f64,
    /// Its part of the score's `value`.
    pub amount: f64,
}

/// The scores that are sums over cells, or a root of one. A rank statistic's terms belong to no cell, and a shift's to all.
pub const TAKEN_APART: [Detector; 10] = [
    Detector::Psi,
    Detector::Ks,
    Detector::JensenShannon,
    Detector::Wasserstein,
    Detector::ChiSquare,
    Detector::TotalVariation,
    Detector::Hellinger,
    Detector::LInfinity,
    Detector::MissingShare,
    Detector::NewCategoryShare,
];

/// A cell with its counts.
struct Counted {
    cell: Cell,
    reference: u64,
    window: u64,
}

impl Reference {
    /// What each cell adds to a score, the largest part first. The parts add up to the score's `value`; those of `ks` and of
    /// `missing_share` may be below zero where a cell holds against the others.
    ///
    /// Sums over cells are taken apart as they are. A Jensen-Shannon or Hellinger distance is a root, and each cell has its part of
    /// what is under it. The largest gap of `ks` is the mass that the cells on one side of it have too much and those on the other
    /// too little, each half. `wasserstein` is the area between the distribution functions over each cell. Cells are those that
    /// the score compares: categories, or the reference's deciles with one cell for what lies outside. Empty for scores that are
    /// not among [`TAKEN_APART`] or not taken of the column's kind, and when a sample is empty.
    ///
    /// ```
    /// use driftline_detectors::causes::Cell;
    /// use driftline_detectors::{ColumnKind, Detector, ReferenceBuilder};
    ///
    /// let mut builder = ReferenceBuilder::new("x", ColumnKind::Numeric);
    /// (1..=100).for_each(|i| builder.number(None, f64::from(i)));
    /// let reference = builder.build(None).unwrap();
    /// let mut window = reference.empty_profile();
    /// reference.count_numbers(&mut window, &(1..=100).map(|i| f64::from(i.max(11))).collect::<Vec<_>>());
    /// let parts = reference.contributions(&window, Detector::Ks);
    /// assert!((parts.iter().map(|part| part.amount).sum::<f64>() - 0.1).abs() < 1e-12);
    /// let lowest = parts.iter().find(|part| part.cell == Cell::Range { from: 1.0, to: 10.0 }).unwrap();
    /// assert!(lowest.reference == 0.1 && lowest.window == 0.0 && (lowest.amount - 0.05).abs() < 1e-12);
    /// ```
    ///
    /// # Panics
    /// When the window is not of this reference.
    pub fn contributions(&self, window: &Profile, detector: Detector) -> Vec<Contribution> {
        if !TAKEN_APART.contains(&detector) {
            return Vec::new();
        }
        if detector == Detector::MissingShare {
            return of_missing(&self.profile(), window);
        }
        if self.profile().usable() == 0 || window.usable() == 0 {
            return Vec::new();
        }
        let mut parts = match (&self.normal, window) {
            (Normal::Numeric { grid, profile, .. }, Profile::Numeric(window)) => {
                of_numbers(grid, profile, window, detector)
            }
            (Normal::Categorical { dictionary, profile }, Profile::Categorical(window)) => {
                of_categories(dictionary, profile, window, detector)
            }
            (Normal::Associations { .. } | Normal::Contingencies { .. } | Normal::Vectors { .. }, _) => Vec::new(),
            _ => unreachable!("a profile is of the kind of its reference"),
        };
        parts.sort_by(|a, b| b.amount.total_cmp(&a.amount));
        parts
    }
}

fn of_missing(reference: &Profile, window: &Profile) -> Vec<Contribution> {
    let (n, m) = (reference.rows(), window.rows());
    let counts = unusable::counts(reference).into_iter().zip(unusable::counts(window));
    let mut parts: Vec<Contribution> = counts
        .filter(|((_, before), (_, now))| before + now > 0)
        .map(|((what, before), (_, now))| {
            let (reference, window) = (unusable::share(before, n), unusable::share(now, m));
            Contribution { cell: Cell::Unusable { what }, reference, window, amount: window - reference }
        })
        .collect();
    if parts.iter().map(|part| part.amount).sum::<f64>() <= 0.0 {
        parts.clear();
    }
    parts.sort_by(|a, b| b.amount.total_cmp(&a.amount));
    parts
}

fn of_numbers(
    grid: &Grid,
    reference: &NumericProfile,
    window: &NumericProfile,
    detector: Detector,
) -> Vec<Contribution> {
    let coarsening = Coarsening::new(grid, reference);
    let cells = deciles(grid, &coarsening);
    let counts = coarsening.counts(reference).into_iter().zip(coarsening.counts(window));
    let counted: Vec<Counted> =
        cells.into_iter().zip(counts).map(|(cell, (reference, window))| Counted { cell, reference, window }).collect();
    let steps = Steps::new(grid, reference, window);
    match detector {
        Detector::Psi
        | Detector::JensenShannon
        | Detector::Hellinger
        | Detector::TotalVariation
        | Detector::LInfinity
        | Detector::ChiSquare => of_shares(counted, 0, detector),
        Detector::Ks => with_amounts(counted, &of_gap(grid, &coarsening, &steps)),
        Detector::Wasserstein => with_amounts(counted, &of_area(grid, &coarsening, &steps)),
        _ => Vec::new(),
    }
}

/// The values of each decile, and what lies outside.
fn deciles(grid: &Grid, coarsening: &Coarsening) -> Vec<Cell> {
    let mut cells = vec![Cell::Outside; coarsening.cells()];
    for cell in 1..grid.cells() - 1 {
        let value = |end: f64| grid.atom(cell).unwrap_or(end);
        let (lower, upper) = grid.open_ends(cell);
        let known = &mut cells[coarsening.of(cell)];
        *known = match known {
            Cell::Range { from, .. } => Cell::Range { from: *from, to: value(upper) },
            _ => Cell::Range { from: value(lower), to: value(upper) },
        };
    }
    cells
}

/// Where the distribution functions lie furthest apart, each cell with what it has too much on one side or too little on the
/// other.
fn of_gap(grid: &Grid, coarsening: &Coarsening, steps: &Steps) -> Vec<f64> {
    let (n, m) = (steps.reference as f64, steps.window as f64);
    let difference = |step: &Step| step.reference() as f64 / n - step.window() as f64 / m;
    let (mut gap, mut largest, mut at) = (0.0, 0.0f64, 0);
    for (index, step) in steps.steps.iter().enumerate() {
        gap += difference(step);
        if gap.abs() > largest.abs() {
            (largest, at) = (gap, index);
        }
    }
    let mut amounts = vec![0.0; coarsening.cells()];
    for (index, step) in steps.steps.iter().enumerate() {
        let side = if index <= at { 0.5 } else { -0.5 };
        amounts[coarsening.of(cell_of(grid, step))] += side * largest.signum() * difference(step);
    }
    amounts
}

/// The area between the distribution functions up to each step, from the one before. Inside a gap it is that of their mean
/// difference, which is the score's own lower end wherever they do not cross there.
fn of_area(grid: &Grid, coarsening: &Coarsening, steps: &Steps) -> Vec<f64> {
    let (n, m) = (steps.reference as f64, steps.window as f64);
    let mut amounts = vec![0.0; coarsening.cells()];
    let (mut gap, mut from) = (0.0f64, None);
    for step in &steps.steps {
        let (start, end) = match *step {
            Step::Point { value, .. } => (value, value),
            Step::Gap { lower, upper, .. } => (lower, upper),
        };
        let mut area = (start - from.unwrap_or(start)) * gap.abs();
        if let Step::Gap { reference, reference_sum, window, window_sum, .. } = *step {
            let inside = |count: u64, sum: f64, size: f64| (count as f64 * end - sum) / size;
            area += (gap * (end - start) + inside(reference, reference_sum, n) - inside(window, window_sum, m)).abs();
        }
        amounts[coarsening.of(cell_of(grid, step))] += area;
        gap += step.reference() as f64 / n - step.window() as f64 / m;
        from = Some(end);
    }
    amounts
}

fn cell_of(grid: &Grid, step: &Step) -> usize {
    match *step {
        Step::Point { value, .. } => grid.cell(value),
        Step::Gap { lower, upper, .. } => grid.cell(lower / 2.0 + upper / 2.0),
    }
}

fn with_amounts(counted: Vec<Counted>, amounts: &[f64]) -> Vec<Contribution> {
    let n = counted.iter().map(|cell| cell.reference).sum();
    let m = counted.iter().map(|cell| cell.window).sum();
    let part = |(Counted { cell, reference, window }, amount): (Counted, &f64)| Contribution {
        cell,
        reference: unusable::share(reference, n),
        window: unusable::share(window, m),
        amount: *amount,
    };
    let parts = counted.into_iter().zip(amounts).map(part);
    parts.filter(|part| part.reference > 0.0 || part.window > 0.0).collect()
}

fn of_categories(
    dictionary: &Dictionary,
    reference: &CategoricalProfile,
    window: &CategoricalProfile,
    detector: Detector,
) -> Vec<Contribution> {
    if detector == Detector::NewCategoryShare {
        return of_new_categories(dictionary, window);
    }
    let names = dictionary.categories().iter().map(|name| Cell::Category { name: name.clone() });
    let cells = names.chain([Cell::RareCategories]).zip(reference.cells.iter().zip(&window.cells));
    let cells = cells.map(|(cell, (reference, window))| Counted { cell, reference: *reference, window: *window });
    if dictionary.has_tail() {
        let (mut common, rare): (Vec<_>, Vec<_>) =
            cells.partition(|counted| counted.cell != Cell::RareCategories && counted.reference >= COMMON_ROWS);
        let sum = |of: &dyn Fn(&Counted) -> u64| rare.iter().map(of).sum::<u64>();
        let (in_reference, in_window) = (sum(&|cell| cell.reference), sum(&|cell| cell.window) + window.new_rows);
        common.push(Counted { cell: Cell::RareCategories, reference: in_reference, window: in_window });
        return of_shares(common, 0, detector);
    }
    let mut counted: Vec<Counted> = cells.collect();
    let Some(named) = &window.new else { return of_shares(counted, window.new_rows, detector) };
    counted.extend(named.iter().map(|(name, count)| Counted {
        cell: Cell::NewCategory { name: name.clone() },
        reference: 0,
        window: *count,
    }));
    of_shares(counted, 0, detector)
}

fn of_new_categories(dictionary: &Dictionary, window: &CategoricalProfile) -> Vec<Contribution> {
    if !dictionary.knows_what_is_new() {
        return Vec::new();
    }
    let part = |cell: Cell, count: u64| {
        let share = unusable::share(count, window.valid());
        Contribution { cell, reference: 0.0, window: share, amount: share }
    };
    match &window.new {
        Some(named) => {
            named.iter().map(|(name, count)| part(Cell::NewCategory { name: name.clone() }, *count)).collect()
        }
        None => vec![part(Cell::NewCategories, window.new_rows)],
    }
}

/// Scores that are sums over shares, or a root of one. `scattered` rows of the window have a cell each, as in the score.
fn of_shares(counted: Vec<Counted>, scattered: u64, detector: Detector) -> Vec<Contribution> {
    let n: u64 = counted.iter().map(|cell| cell.reference).sum();
    let m: u64 = counted.iter().map(|cell| cell.window).sum::<u64>() + scattered;
    let part = |cell: Cell, reference: u64, window: u64, cells: u64| {
        // The largest difference is that of one cell, however many are like it.
        let alike = if detector == Detector::LInfinity { 1.0 } else { cells as f64 };
        Contribution {
            cell,
            reference: unusable::share(reference, n),
            window: unusable::share(window, m),
            amount: alike * term(detector, (reference, window / cells), (n, m)),
        }
    };
    let mut parts: Vec<Contribution> = counted
        .into_iter()
        .filter(|cell| cell.reference + cell.window > 0)
        .map(|Counted { cell, reference, window }| part(cell, reference, window, 1))
        .collect();
    if scattered > 0 {
        parts.push(part(Cell::NewCategories, 0, scattered, scattered));
    }
    finish(&mut parts, detector);
    parts
}

/// What one cell adds to the sum of a score.
fn term(detector: Detector, (reference, window): (u64, u64), (n, m): (u64, u64)) -> f64 {
    let share = |count: u64, size: u64| count as f64 / size as f64;
    let (p, q) = (share(reference, n), share(window, m));
    let towards = |x: f64| if x > 0.0 { x * (2.0 * x / (p + q)).ln() } else { 0.0 };
    match detector {
        Detector::Psi => {
            let half = |x: f64, count: u64, size: u64| if count == 0 { 0.5 / size as f64 } else { x };
            let (p, q) = (half(p, reference, n), half(q, window, m));
            (q - p) * (q / p).ln()
        }
        Detector::JensenShannon => (towards(p) + towards(q)) / 2.0,
        Detector::Hellinger => (p.sqrt() - q.sqrt()).powi(2) / 2.0,
        Detector::TotalVariation | Detector::LInfinity => (p - q).abs() / 2.0,
        Detector::ChiSquare => {
            let (n, m) = (n as f64, m as f64);
            n * m * (p - q).powi(2) / (reference + window) as f64
        }
        _ => 0.0,
    }
}

/// From a sum's parts to the score's.
fn finish(parts: &mut Vec<Contribution>, detector: Detector) {
    let sum: f64 = parts.iter().map(|part| part.amount).sum();
    match detector {
        Detector::JensenShannon | Detector::Hellinger if sum > 0.0 => {
            let bits = if detector == Detector::JensenShannon { std::f64::consts::LN_2 } else { 1.0 };
            let value = (sum / bits).sqrt();
            parts.iter_mut().for_each(|part| part.amount *= value / sum);
        }
        Detector::LInfinity => {
            let is_largest = |a: &Contribution, b: &Contribution| a.amount.total_cmp(&b.amount);
            let largest = parts.iter().cloned().max_by(is_largest);
            *parts = largest.into_iter().map(|part| Contribution { amount: 2.0 * part.amount, ..part }).collect();
        }
        Detector::Psi | Detector::TotalVariation | Detector::ChiSquare => {}
        _ => parts.clear(),
    }
}
