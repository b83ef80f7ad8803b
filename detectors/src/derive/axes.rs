//! Principal axes: the eigenvectors of a sample's covariance with the largest eigenvalues.
//!
//! By subspace iteration with Rayleigh-Ritz (Golub & Van Loan, Matrix Computations, 8.2): a few more directions than are
//! wanted are multiplied by the covariance, made orthogonal, and turned so that the small matrix between them is diagonal.

use crate::sample::mixed;

/// Directions that are carried along for each that is wanted: what is wanted converges as the next ones are smaller.
const SPARE: usize = 2;
/// Rounds at the most. Axes whose variances lie so close that they take more are as good as each other.
const MAX_ROUNDS: usize = 300;
/// An axis is found when what the covariance makes of it differs from a multiple of it by this part of the largest.
const TOLERANCE: f64 = 1e-11;
/// Variance, as a part of the largest, below which a direction is rounding.
const NOTHING: f64 = 1e-12;
/// Rounds of turning the small matrix. Each squares what is off its diagonal.
const MAX_SWEEPS: usize = 30;

/// At most so many axes of vectors of one length, those of the largest variance first; fewer where the vectors do not vary
/// in so many directions. The largest component of each is positive.
pub(super) fn principal_axes(vectors: &[Box<[f32]>], wanted: usize) -> Vec<Vec<f64>> {
    let Some(dimensions) = vectors.first().map(|vector| vector.len()) else { return Vec::new() };
    let covariance = covariance(vectors, dimensions);
    let carried = (wanted * SPARE).min(dimensions);
    let mut basis: Vec<Vec<f64>> = (0..carried).map(|direction| start(direction, dimensions)).collect();
    orthogonalize(&mut basis);
    let mut variances = Vec::new();
    for _ in 0..MAX_ROUNDS {
        let mut images: Vec<Vec<f64>> = basis.iter().map(|direction| times(&covariance, direction)).collect();
        let between: Vec<Vec<f64>> =
            basis.iter().map(|a| images.iter().map(|image| product(a, image)).collect()).collect();
        let (values, turns) = diagonalized(between);
        basis = turned(&basis, &turns);
        images = turned(&images, &turns);
        let largest = values.first().copied().unwrap_or(0.0);
        variances = values;
        let is_found = |((direction, image), variance): ((&Vec<f64>, &Vec<f64>), &f64)| {
            let off = direction.iter().zip(image).map(|(d, i)| (i - variance * d).powi(2)).sum::<f64>();
            off.sqrt() <= TOLERANCE * largest
        };
        if basis.iter().zip(&images).zip(&variances).take(wanted).all(is_found) {
            break;
        }
        basis = images;
        orthogonalize(&mut basis);
    }
    let least = variances.first().copied().unwrap_or(0.0) * NOTHING;
    let mut axes: Vec<Vec<f64>> =
        basis.into_iter().zip(variances).take(wanted).filter(|(_, v)| *v > least).map(|(axis, _)| axis).collect();
    axes.iter_mut().for_each(|axis| point_forward(axis));
    axes
}

/// Row by row: a symmetric matrix.
fn covariance(vectors: &[Box<[f32]>], dimensions: usize) -> Vec<Vec<f64>> {
    let n = vectors.len() as f64;
    let mut mean = vec![0.0; dimensions];
    for vector in vectors {
        mean.iter_mut().zip(vector).for_each(|(sum, x)| *sum += f64::from(*x) / n);
    }
    let mut matrix = vec![vec![0.0; dimensions]; dimensions];
    let mut centred = vec![0.0; dimensions];
    for vector in vectors {
        for ((place, x), m) in centred.iter_mut().zip(vector).zip(&mean) {
            *place = f64::from(*x) - m;
        }
        for (i, row) in matrix.iter_mut().enumerate() {
            let factor = centred[i] / n;
            row[..=i].iter_mut().zip(&centred).for_each(|(cell, x)| *cell += factor * x);
        }
    }
    for i in 0..dimensions {
        let (before, rest) = matrix.split_at_mut(i);
        before.iter_mut().zip(&rest[0]).for_each(|(row, cell)| row[i] = *cell);
    }
    matrix
}

/// Some direction, the same every time.
fn start(direction: usize, dimensions: usize) -> Vec<f64> {
    let number = |place: usize| mixed((direction * dimensions + place) as u64) as f64 / u64::MAX as f64 - 0.5;
    (0..dimensions).map(number).collect()
}

fn product(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(x, y)| x * y).sum()
}

fn times(matrix: &[Vec<f64>], vector: &[f64]) -> Vec<f64> {
    matrix.iter().map(|row| product(row, vector)).collect()
}

/// Gram and Schmidt's, twice, for once leaves what rounding did. What nothing is left of becomes zero.
fn orthogonalize(basis: &mut [Vec<f64>]) {
    for place in 0..basis.len() {
        let (before, rest) = basis.split_at_mut(place);
        let vector = &mut rest[0];
        let length_before = product(vector, vector).sqrt();
        for _ in 0..2 {
            for other in before.iter() {
                let along = product(vector, other);
                vector.iter_mut().zip(other).for_each(|(x, o)| *x -= along * o);
            }
        }
        let length = product(vector, vector).sqrt();
        let scale = if length > NOTHING * length_before { length.recip() } else { 0.0 };
        vector.iter_mut().for_each(|x| *x *= scale);
    }
}

/// Jacobi's method: the eigenvalues of a small symmetric matrix, the largest first, and for each the weights of the
/// directions that make its eigenvector.
pub(super) fn diagonalized(mut matrix: Vec<Vec<f64>>) -> (Vec<f64>, Vec<Vec<f64>>) {
    let size = matrix.len();
    let mut turns: Vec<Vec<f64>> =
        (0..size).map(|i| (0..size).map(|j| f64::from(u8::from(i == j))).collect()).collect();
    for _ in 0..MAX_SWEEPS {
        let mut has_turned = false;
        for p in 0..size {
            for q in p + 1..size {
                if matrix[p][q].abs() <= f64::EPSILON * (matrix[p][p] * matrix[q][q]).abs().sqrt() {
                    continue;
                }
                has_turned = true;
                let ratio = (matrix[q][q] - matrix[p][p]) / (2.0 * matrix[p][q]);
                let tangent = ratio.signum() / (ratio.abs() + ratio.hypot(1.0));
                let cosine = tangent.hypot(1.0).recip();
                let sine = tangent * cosine;
                for row in matrix.iter_mut().chain(&mut turns) {
                    (row[p], row[q]) = (cosine * row[p] - sine * row[q], sine * row[p] + cosine * row[q]);
                }
                let (before, rest) = matrix.split_at_mut(q);
                for (a, b) in before[p].iter_mut().zip(&mut rest[0]) {
                    (*a, *b) = (cosine * *a - sine * *b, sine * *a + cosine * *b);
                }
            }
        }
        if !has_turned {
            break;
        }
    }
    let mut order: Vec<usize> = (0..size).collect();
    order.sort_by(|a, b| matrix[*b][*b].total_cmp(&matrix[*a][*a]));
    let values = order.iter().map(|place| matrix[*place][*place]).collect();
    let weights = order.iter().map(|place| turns.iter().map(|row| row[*place]).collect()).collect();
    (values, weights)
}

/// Sums of these vectors with these weights.
fn turned(vectors: &[Vec<f64>], weights: &[Vec<f64>]) -> Vec<Vec<f64>> {
    let sum = |weights: &Vec<f64>| {
        let mut sum = vec![0.0; vectors.first().map_or(0, Vec::len)];
        for (vector, weight) in vectors.iter().zip(weights) {
            sum.iter_mut().zip(vector).for_each(|(s, x)| *s += weight * x);
        }
        sum
    };
    weights.iter().map(sum).collect()
}

/// An axis has no direction of its own; this gives it one.
pub(super) fn point_forward(axis: &mut [f64]) {
    let largest = axis.iter().copied().max_by(|a, b| a.abs().total_cmp(&b.abs())).unwrap_or(0.0);
    if largest < 0.0 {
        axis.iter_mut().for_each(|x| *x = -*x);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vectors_that_do_not_vary_have_no_axes_and_those_on_a_line_have_one() {
        let on_a_line: Vec<Box<[f32]>> = (0..50).map(|i| vec![i as f32, 2.0 * i as f32, 1.0].into()).collect();
        let axes = principal_axes(&on_a_line, 8);
        assert_eq!(axes.len(), 1);
        let expected = [1.0 / 5f64.sqrt(), 2.0 / 5f64.sqrt(), 0.0];
        assert!(axes[0].iter().zip(expected).all(|(a, e)| (a - e).abs() < 1e-12), "{axes:?}");
        assert!(principal_axes(&[vec![1.0, 2.0].into(), vec![1.0, 2.0].into()], 8).is_empty());
        assert!(principal_axes(&[], 8).is_empty());
    }

    #[test]
    fn axes_are_at_right_angles_and_what_the_covariance_only_stretches() {
        let vectors: Vec<Box<[f32]>> = (0..400u64)
            .map(|row| (0..40u64).map(|d| (mixed(row * 40 + d) as f32 / u64::MAX as f32) / (d + 1) as f32).collect())
            .collect();
        let axes = principal_axes(&vectors, 8);
        assert_eq!(axes.len(), 8);
        let covariance = covariance(&vectors, 40);
        for (i, axis) in axes.iter().enumerate() {
            let image = times(&covariance, axis);
            let variance = product(axis, &image);
            assert!(image.iter().zip(axis).all(|(image, a)| (image - variance * a).abs() < 1e-12));
            for (j, other) in axes.iter().enumerate() {
                assert!((product(axis, other) - f64::from(u8::from(i == j))).abs() < 1e-12);
            }
        }
    }
}
