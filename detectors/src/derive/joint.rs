//! Of all columns of numbers together: how far a row lies off the axes on which the reference's rows lie.
//!
//! What drifts in one column shows in that column. Here shows what only the columns together say: two that went up and down
//! with each other and no longer do may each look as ever. Each column is measured in its standard deviations, a value
//! that is not there counts as the mean, and the axes that hold 65 % of the variance are kept. What is left of a row
//! beside them is its reconstruction error: the distance between the row and its projection on the axes.
//!
//! It is the error of NannyML's `DataReconstructionDriftCalculator` and of scikit-learn's `StandardScaler` and
//! `PCA(n_components=0.65)`, row by row. As a column it has a distribution, and every score of one, where theirs is a mean.
//!
//! Which of the columns go together otherwise, their pairs say (see `associations.rs`): they are counted from the row as it is.

use serde::{Deserialize, Serialize};

use super::Derived;
use super::axes::{diagonalized, point_forward};
use crate::numeric::is_countable;
use crate::reference::ColumnKind;

/// Columns that are looked at together, at the most.
pub const MAX_JOINT_COLUMNS: usize = 32;
/// What joint columns are derived of, as their names say.
pub(super) const NAME: &str = "joint";
/// What is derived of them.
pub(super) const COLUMNS: [(&str, ColumnKind); 2] =
    [("pca_error", ColumnKind::Numeric), ("associations", ColumnKind::Associations)];
/// The part of the variance that the axes hold.
const EXPLAINED: f64 = 0.65;
/// A deviation that is a smaller part of the mean than this is rounding, and the column constant.
const NOTHING: f64 = 1e-12;

/// How a reference's rows lie in all columns of numbers together.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Joint {
    /// The columns, in the order of what follows.
    columns: Vec<String>,
    /// Their means.
    means: Vec<f64>,
    /// Their standard deviations, with the mean in the place of what is not there; 1 of a column that is constant.
    deviations: Vec<f64>,
    /// The directions in which standardised rows vary most, each of length 1, the most first. At right angles to each other.
    axes: Vec<Vec<f64>>,
}

/// Hands over rows in their order, each with a number for every column, NaN where it has none.
pub type JointRows<'r> = dyn Fn(&mut dyn FnMut(&[f64])) -> Result<(), String> + 'r;

impl Joint {
    /// How these rows lie. They are gone through twice.
    ///
    /// # Errors
    /// When they cannot be read, or there are no two columns that vary.
    ///
    /// ```
    /// use driftline_detectors::{Derivation, Derived, Joint, SourceValue};
    ///
    /// // Two columns that are one.
    /// let rows = |take: &mut dyn FnMut(&[f64])| {
    ///     (0..100).for_each(|i| take(&[f64::from(i), 2.0 * f64::from(i)]));
    ///     Ok(())
    /// };
    /// let joint = Joint::of_rows(vec!["a".into(), "b".into()], &rows).unwrap();
    /// let derivation = Derivation::Joint { joint };
    /// let error = |row: &[f64]| match derivation.derive(SourceValue::Row(row), None)[0] {
    ///     Derived::Number(error) => error,
    ///     other => panic!("{other:?}"),
    /// };
    /// assert!(error(&[70.0, 140.0]) < 1e-9);
    /// // Each of these is as usual, and the two are not.
    /// assert!(error(&[70.0, 60.0]) > 0.9);
    /// ```
    pub fn of_rows(columns: Vec<String>, rows: &JointRows<'_>) -> Result<Self, String> {
        let size = columns.len();
        let (mut all, mut there, mut means) = (0.0, vec![0.0; size], vec![0.0; size]);
        rows(&mut |row| {
            all += 1.0;
            for ((mean, there), x) in means.iter_mut().zip(&mut there).zip(row).filter(|(_, x)| is_countable(**x)) {
                *there += 1.0;
                // Welford's: a plain sum of so many would lose what a variance is made of.
                *mean += (x - *mean) / *there;
            }
        })?;
        let mut covariance = vec![vec![0.0; size]; size];
        let mut centred = vec![0.0; size];
        rows(&mut |row| {
            for ((place, x), mean) in centred.iter_mut().zip(row).zip(&means) {
                *place = if is_countable(*x) { x - mean } else { 0.0 };
            }
            for (cells, factor) in covariance.iter_mut().zip(&centred) {
                cells.iter_mut().zip(&centred).for_each(|(cell, x)| *cell += factor * x / all);
            }
        })?;
        let variance = |column: usize| covariance[column][column];
        let varies = |column: &usize| variance(*column).sqrt() > NOTHING * means[*column].abs();
        if (0..size).filter(varies).count() < 2 {
            return Err(format!(
                "of {} no two vary, so that there is nothing to say of them together",
                columns.join(", ")
            ));
        }
        let deviation = |column: usize| if varies(&column) { variance(column).sqrt() } else { 1.0 };
        let deviations: Vec<f64> = (0..size).map(deviation).collect();
        for (cells, of_row) in covariance.iter_mut().zip(&deviations) {
            cells.iter_mut().zip(&deviations).for_each(|(cell, of_column)| *cell /= of_row * of_column);
        }
        Ok(Self { columns, means, deviations, axes: leading_axes(covariance) })
    }

    /// The columns that it is of.
    ///
    /// ```
    /// let rows = |take: &mut dyn FnMut(&[f64])| {
    ///     (0..100).for_each(|i| take(&[f64::from(i), f64::from(i % 7)]));
    ///     Ok(())
    /// };
    /// let joint = driftline_detectors::Joint::of_rows(vec!["a".into(), "b".into()], &rows).unwrap();
    /// assert_eq!(joint.sources(), ["a", "b"]);
    /// ```
    pub fn sources(&self) -> &[String] {
        &self.columns
    }

    /// A row in standard deviations from the means; NaN stays what it is.
    fn standardize(&self, row: &mut [f64]) {
        for ((x, mean), deviation) in row.iter_mut().zip(&self.means).zip(&self.deviations) {
            *x = (*x - mean) / deviation;
        }
    }

    /// A row without any number has no place.
    pub(super) fn derive(&self, row: &[f64]) -> [Derived; COLUMNS.len()] {
        if row.len() != self.columns.len() {
            return [Derived::WrongType; 2];
        }
        if !row.iter().any(|x| is_countable(*x)) {
            return [Derived::Missing; 2];
        }
        [Derived::Number(self.error(row)), Derived::Itself]
    }

    fn error(&self, row: &[f64]) -> f64 {
        let mut rest = row.to_vec();
        self.standardize(&mut rest);
        rest.iter_mut().zip(row).filter(|(_, x)| !is_countable(**x)).for_each(|(z, _)| *z = 0.0);
        // The axes are at right angles, so that each takes away what is its own.
        for axis in &self.axes {
            let along: f64 = rest.iter().zip(axis).map(|(z, a)| z * a).sum();
            rest.iter_mut().zip(axis).for_each(|(z, a)| *z -= along * a);
        }
        rest.iter().map(|z| z * z).sum::<f64>().sqrt()
    }

    /// Whether its numbers fit each other.
    pub(crate) fn is_consistent(&self) -> bool {
        let size = self.columns.len();
        let fits = |numbers: &Vec<f64>| numbers.len() == size && numbers.iter().all(|x| x.is_finite());
        let are_scales = self.deviations.iter().all(|deviation| *deviation > 0.0);
        (2..=MAX_JOINT_COLUMNS).contains(&size)
            && are_scales
            && fits(&self.means)
            && fits(&self.deviations)
            && self.axes.iter().all(fits)
    }
}

/// The axes of the largest variances that hold more than [`EXPLAINED`] of it together: all of scikit-learn's
/// `PCA(n_components=0.65)`.
fn leading_axes(covariance: Vec<Vec<f64>>) -> Vec<Vec<f64>> {
    let (variances, mut axes) = diagonalized(covariance);
    let total: f64 = variances.iter().sum();
    let mut held = 0.0;
    let before = variances.iter().take_while(|variance| {
        held += **variance;
        held <= EXPLAINED * total
    });
    axes.truncate(before.count() + 1);
    axes.iter_mut().for_each(|axis| point_forward(axis));
    axes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::mixed;

    fn uniform(row: u64, column: u64) -> f64 {
        mixed(row * 7 + column) as f64 / u64::MAX as f64
    }

    /// Of three columns the first two go together; a value is missing now and then.
    fn row(row: u64) -> [f64; 3] {
        let level = uniform(row, 0);
        let first = if row % 10 == 3 { f64::NAN } else { 50.0 + 9.0 * level };
        [first, 1e6 - 1e4 * (level + 0.1 * uniform(row, 1)), uniform(row, 2)]
    }

    fn joint() -> Joint {
        let rows = |take: &mut dyn FnMut(&[f64])| {
            (0..2000).for_each(|i| take(&row(i)));
            Ok(())
        };
        Joint::of_rows(["a", "b", "c"].map(str::to_owned).to_vec(), &rows).unwrap()
    }

    fn error(joint: &Joint, row: &[f64]) -> f64 {
        let Derived::Number(error) = joint.derive(row)[0] else { panic!("{row:?}") };
        error
    }

    #[test]
    fn a_row_lies_off_by_what_its_columns_do_not_do_together() {
        let joint = joint();
        // The first two are one axis, the third another; together they hold more than 65 %.
        assert_eq!(joint.axes.len(), 2);
        let usual = (0..2000).map(|i| error(&joint, &row(i))).sum::<f64>() / 2000.0;
        assert!(usual < 0.35, "{usual}");
        let broken = error(&joint, &[50.5, 1e6 - 500.0, 0.5]).max(error(&joint, &[58.5, 1e6 - 500.0, 0.5]));
        assert!(broken > 1.5, "{broken}");
    }

    #[test]
    fn what_is_not_there_counts_as_the_mean() {
        let joint = joint();
        let [mean, ..] = joint.means[..] else { panic!() };
        assert_eq!(error(&joint, &[f64::NAN, 995_000.0, 0.4]), error(&joint, &[mean, 995_000.0, 0.4]));
        assert_eq!(joint.derive(&[f64::NAN; 3]), [Derived::Missing; 2]);
        assert_eq!(joint.derive(&[1.0]), [Derived::WrongType; 2]);
    }

    #[test]
    fn columns_that_do_not_vary_have_nothing_in_common() {
        let rows = |take: &mut dyn FnMut(&[f64])| {
            (0..9).for_each(|i| take(&[0.1, f64::from(i)]));
            Ok(())
        };
        let error = Joint::of_rows(vec!["a".into(), "b".into()], &rows).unwrap_err();
        assert!(error.contains("a, b"), "{error}");
    }
}
