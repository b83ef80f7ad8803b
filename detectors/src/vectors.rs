//! Where vectors lie, as the mean of random Fourier features: sums that add up exactly, and from which the kernel distance
//! of two samples (maximum mean discrepancy) comes.
//!
//! For the Gaussian kernel `k(x, y) = exp(−|x − y|²/2σ²)` and frequencies ω drawn from a normal distribution with the
//! deviation 1/σ, the mean of `cos ω·(x − y)` over D of them is k to within about `1/√D` (Rahimi & Recht 2007, "Random
//! features for large-scale kernel machines"). It is a kernel itself, whatever D is, and `cos ω·(x − y) = cos ωx·cos ωy +
//! sin ωx·sin ωy`: so a sample is known by the sums of 2·D numbers. They are rounded to 2⁻³⁰, and sums are integers.

use serde::{Deserialize, Serialize};

use crate::numeric::is_countable;
use crate::sample::{Sample, mixed};

/// Frequencies: each gives a cosine and a sine.
pub const FREQUENCIES: usize = 64;
/// Parts of a feature. 2³³ rows fit into a sum.
const PARTS: f64 = (1u64 << 30) as f64;
/// Vectors that the features' covariance is of. A window's mean is compared with that of all.
const MAX_SAMPLE: usize = 8192;
/// Vectors of which each is compared with each, for the bandwidth.
const MAX_COMPARED: usize = 512;
/// Products that are added up side by side, always in this order.
const LANES: usize = 8;

/// The random features of vectors, and how they vary in the reference.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Described", into = "Described")]
pub struct Kernel {
    described: Described,
    /// A row for each frequency. They follow from their number and from what is described.
    frequencies: Vec<Vec<f64>>,
}

/// What a file holds of a kernel.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Described {
    /// Numbers of a vector.
    dimensions: usize,
    /// Frequencies of the features.
    frequencies: usize,
    /// σ of the Gaussian kernel: the median distance between vectors of the reference.
    bandwidth: f64,
    /// The traces of the features' covariance, of its square and of its cube: what chance makes of a distance.
    traces: [f64; 3],
}

impl TryFrom<Described> for Kernel {
    type Error = String;

    fn try_from(described: Described) -> Result<Self, String> {
        let Described { dimensions, frequencies, bandwidth, traces } = described;
        let is_scale = bandwidth.is_finite() && bandwidth > 0.0;
        let fits = (1..=crate::derive::MAX_AXES_DIMENSIONS).contains(&dimensions) && frequencies == FREQUENCIES;
        if !fits || !is_scale || !traces.iter().all(|trace| trace.is_finite() && *trace >= 0.0) {
            return Err(format!("a kernel of {frequencies} frequencies in {dimensions} dimensions cannot be used"));
        }
        Ok(Self::of(described))
    }
}

impl From<Kernel> for Described {
    fn from(kernel: Kernel) -> Self {
        kernel.described
    }
}

impl Kernel {
    fn of(described: Described) -> Self {
        let Described { dimensions, frequencies, bandwidth, .. } = described;
        let frequency =
            |row: usize| (0..dimensions).map(|place| normal(row * dimensions + place) / bandwidth).collect();
        Self { frequencies: (0..frequencies).map(frequency).collect(), described }
    }

    /// The traces of the features' covariance, of its square and of its cube.
    pub(crate) fn traces(&self) -> [f64; 3] {
        self.described.traces
    }

    /// How many features a vector has.
    pub(crate) fn features(&self) -> usize {
        2 * self.frequencies.len()
    }

    /// The features of a vector of its length: the cosine of each frequency and then its sine.
    fn each_feature(&self, vector: &[f32], take: &mut dyn FnMut(usize, f64)) {
        let vector: Vec<f64> = vector.iter().copied().map(f64::from).collect();
        for (place, frequency) in self.frequencies.iter().enumerate() {
            let (sine, cosine) = product(frequency, &vector).sin_cos();
            take(2 * place, cosine);
            take(2 * place + 1, sine);
        }
    }
}

/// Of a sequence of independent numbers with the standard normal distribution, the one at a place (Box & Muller 1958).
fn normal(place: usize) -> f64 {
    let uniform = |number: usize| ((mixed(number as u64) >> 11) as f64 + 0.5) / (1u64 << 53) as f64;
    (-2.0 * uniform(2 * place).ln()).sqrt() * (std::f64::consts::TAU * uniform(2 * place + 1)).cos()
}

fn product(a: &[f64], b: &[f64]) -> f64 {
    let mut lanes = [0.0; LANES];
    let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<LANES>(), b.as_chunks::<LANES>());
    for (a, b) in a.iter().zip(b) {
        lanes.iter_mut().zip(a.iter().zip(b)).for_each(|(lane, (x, y))| *lane += x * y);
    }
    let rest: f64 = a_rest.iter().zip(b_rest).map(|(x, y)| x * y).sum();
    lanes.iter().sum::<f64>() + rest
}

/// Sums of the features of vectors. Profiles of one reference add up, to the bit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VectorProfile {
    /// Vectors.
    pub rows: u64,
    /// Rows in which the column was absent or null.
    pub missing: u64,
    /// Vectors that hold a number that is none.
    pub nan: u64,
    /// Vectors of another length, and what is no vector at all.
    pub wrong_type: u64,
    /// The sum of each feature, in 2⁻³⁰.
    pub sums: Vec<i64>,
}

impl VectorProfile {
    /// Without any rows.
    pub(crate) fn empty(kernel: &Kernel) -> Self {
        Self { rows: 0, missing: 0, nan: 0, wrong_type: 0, sums: vec![0; kernel.features()] }
    }

    /// Counts a vector.
    pub(crate) fn count(&mut self, kernel: &Kernel, vector: &[f32]) {
        if vector.len() != kernel.described.dimensions {
            self.wrong_type += 1;
        } else if !is_usable(vector) {
            self.nan += 1;
        } else {
            self.rows += 1;
            let sums = &mut self.sums;
            kernel.each_feature(vector, &mut |place, feature| {
                sums[place] = sums[place].wrapping_add((feature * PARTS).round() as i64);
            });
        }
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        assert_eq!(self.sums.len(), other.sums.len(), "profiles add up on one reference only");
        self.rows += other.rows;
        self.missing += other.missing;
        self.nan += other.nan;
        self.wrong_type += other.wrong_type;
        self.sums.iter_mut().zip(&other.sums).for_each(|(mine, theirs)| *mine = mine.wrapping_add(*theirs));
    }

    /// Takes back what was merged before.
    pub(crate) fn remove(&mut self, other: &Self) {
        assert_eq!(self.sums.len(), other.sums.len(), "profiles add up on one reference only");
        self.rows -= other.rows;
        self.missing -= other.missing;
        self.nan -= other.nan;
        self.wrong_type -= other.wrong_type;
        self.sums.iter_mut().zip(&other.sums).for_each(|(mine, theirs)| *mine = mine.wrapping_sub(*theirs));
    }

    /// How many rows were seen, whatever they held.
    pub(crate) fn all_rows(&self) -> u64 {
        self.rows + self.missing + self.nan + self.wrong_type
    }

    /// The mean of each feature.
    pub(crate) fn means(&self) -> impl Iterator<Item = f64> {
        self.sums.iter().map(|sum| *sum as f64 / PARTS / self.rows as f64)
    }

    /// What stands for each feature where shares of cells are compared.
    pub(crate) fn share_counts(&self) -> Vec<u64> {
        let all = self.rows as i64;
        self.sums.iter().map(|sum| (all.wrapping_mul(PARTS as i64).wrapping_add(*sum).max(0) >> 14) as u64).collect()
    }
}

/// Whether a vector has a place.
fn is_usable(vector: &[f32]) -> bool {
    vector.iter().all(|x| is_countable(f64::from(*x)))
}

/// Learns what kernel fits vectors. The first decides on their dimensions.
#[derive(Debug)]
pub(crate) struct KernelSurvey {
    dimensions: usize,
    row: u64,
    sample: Sample<Box<[f32]>>,
}

impl Default for KernelSurvey {
    fn default() -> Self {
        Self { dimensions: 0, row: 0, sample: Sample::of_at_most(MAX_SAMPLE) }
    }
}

impl KernelSurvey {
    pub(crate) fn add(&mut self, vector: &[f32]) {
        if self.dimensions == 0 {
            self.dimensions = vector.len();
        }
        self.row += 1;
        if vector.len() == self.dimensions && is_usable(vector) {
            self.sample.add(self.row, || vector.into());
        }
    }

    /// None when there is no vector.
    pub(crate) fn finish(self) -> Option<Kernel> {
        let sample: Vec<Box<[f32]>> = self.sample.into_values().collect();
        let dimensions = sample.first()?.len();
        let bandwidth = median_distance(&sample[..sample.len().min(MAX_COMPARED)]);
        let mut kernel = Kernel::of(Described { dimensions, frequencies: FREQUENCIES, bandwidth, traces: [0.0; 3] });
        kernel.described.traces = traces(&kernel, &sample);
        Some(kernel)
    }
}

/// The median of the distances that are some; 1 when all vectors are one.
fn median_distance(sample: &[Box<[f32]>]) -> f64 {
    let distance = |a: &[f32], b: &[f32]| -> f64 {
        a.iter().zip(b).map(|(x, y)| (f64::from(*x) - f64::from(*y)).powi(2)).sum::<f64>().sqrt()
    };
    let pairs = sample.iter().enumerate().flat_map(|(i, a)| sample[..i].iter().map(move |b| distance(a, b)));
    let mut distances: Vec<f64> = pairs.filter(|distance| *distance > 0.0 && distance.is_finite()).collect();
    distances.sort_unstable_by(f64::total_cmp);
    distances.get(distances.len() / 2).copied().unwrap_or(1.0)
}

/// Of the covariance of features over √D: those of the kernel's own distance.
fn traces(kernel: &Kernel, sample: &[Box<[f32]>]) -> [f64; 3] {
    let (size, n) = (kernel.features(), sample.len() as f64);
    let rows: Vec<Vec<f64>> = sample
        .iter()
        .map(|vector| {
            let mut row = vec![0.0; size];
            kernel.each_feature(vector, &mut |place, feature| row[place] = feature / (size as f64 / 2.0).sqrt());
            row
        })
        .collect();
    let mut means = vec![0.0; size];
    rows.iter().for_each(|row| means.iter_mut().zip(row).for_each(|(mean, x)| *mean += x / n));
    let mut covariance = vec![vec![0.0; size]; size];
    for row in &rows {
        let centred: Vec<f64> = row.iter().zip(&means).map(|(x, mean)| x - mean).collect();
        for (cells, factor) in covariance.iter_mut().zip(&centred) {
            cells.iter_mut().zip(&centred).for_each(|(cell, x)| *cell += factor * x / (n - 1.0).max(1.0));
        }
    }
    let square = |i: usize, j: usize| product(&covariance[i], &covariance[j]);
    let of_row = |i: usize| -> [f64; 3] {
        let (of_square, of_cube) = (square(i, i), (0..size).map(|j| square(i, j) * covariance[i][j]).sum());
        [covariance[i][i], of_square, of_cube]
    };
    (0..size).map(of_row).fold([0.0; 3], |sum, of_row| [sum[0] + of_row[0], sum[1] + of_row[1], sum[2] + of_row[2]])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::laws::parts_make_the_whole;

    fn vector(row: usize) -> Box<[f32]> {
        (0..20).map(|place| normal(row * 20 + place) as f32).collect()
    }

    fn kernel() -> Kernel {
        let mut survey = KernelSurvey::default();
        (0..500).for_each(|row| survey.add(&vector(row)));
        survey.finish().unwrap()
    }

    #[test]
    fn products_of_features_are_about_the_gaussian_kernel() {
        let kernel = kernel();
        let bandwidth = kernel.described.bandwidth;
        assert!((bandwidth - 40f64.sqrt()).abs() < 0.3, "two normal vectors lie about √(2·20) apart, not {bandwidth}");
        let features = |row: usize| {
            let mut features = vec![0.0; kernel.features()];
            kernel.each_feature(&vector(row), &mut |place, feature| features[place] = feature);
            features
        };
        let mut off = 0.0;
        for (row, other) in (0..100).map(|row| (row, row + 100)) {
            let approximated = product(&features(row), &features(other)) / FREQUENCIES as f64;
            let square: f64 = vector(row).iter().zip(&*vector(other)).map(|(x, y)| f64::from(x - y).powi(2)).sum();
            off += (approximated - (-square / (2.0 * bandwidth * bandwidth)).exp()).powi(2) / 100.0;
        }
        assert!(off.sqrt() < 1.0 / (FREQUENCIES as f64).sqrt(), "{}", off.sqrt());
    }

    #[test]
    fn a_kernel_is_known_by_what_its_file_holds() {
        let kernel = kernel();
        let text = serde_json::to_string(&kernel).unwrap();
        assert!(text.len() < 250, "{text}");
        assert_eq!(serde_json::from_str::<Kernel>(&text).unwrap(), kernel);
        assert!(
            serde_json::from_str::<Kernel>(&text.replace("\"dimensions\":20", "\"dimensions\":999999999")).is_err()
        );
    }

    proptest! {
        #[test]
        fn profiles_add_up_to_the_bit(rows in proptest::collection::vec(0usize..600, 0..30), at in (0usize..30, 0usize..30)) {
            let kernel = kernel();
            let counted = |rows: &[usize]| {
                let mut profile = VectorProfile::empty(&kernel);
                for row in rows {
                    match row % 7 {
                        4 => profile.missing += 1,
                        5 => profile.count(&kernel, &[1.0]),
                        6 => profile.count(&kernel, &[f32::NAN; 20]),
                        _ => profile.count(&kernel, &vector(*row)),
                    }
                }
                profile
            };
            parts_make_the_whole(&rows, at, counted, (VectorProfile::merge, VectorProfile::remove));
            prop_assert_eq!(counted(&rows).all_rows(), rows.len() as u64);
        }
    }
}
