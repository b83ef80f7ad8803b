//! Of vectors: their length, how they lie to the reference's middle, and along the axes on which it varies most.

use serde::{Deserialize, Serialize};

use super::Derived;
use super::axes::principal_axes;
use crate::numeric::is_countable;
use crate::reference::ColumnKind;
use crate::sample::Sample;

/// Axes on which vectors are told apart.
pub const AXES: usize = 8;
/// Dimensions up to which axes are looked for: their covariances take 32 MiB.
pub const MAX_AXES_DIMENSIONS: usize = 2048;
/// Vectors that the axes are of. The middle is of all.
const MAX_SAMPLE: usize = 8192;

/// Where a reference's vectors lie.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Space {
    /// Their mean.
    centroid: Vec<f64>,
    /// The directions in which they vary most, each of length 1, the most first. At right angles to each other.
    axes: Vec<Vec<f64>>,
}

impl Space {
    pub(super) fn columns(&self) -> impl Iterator<Item = (String, ColumnKind)> {
        let axes = self.axes.len();
        let numbers =
            ["norm", "cosine"].map(str::to_owned).into_iter().chain((1..=axes).map(|axis| format!("pc{axis}")));
        let features = (axes > 0).then(|| ("features".to_owned(), ColumnKind::Vectors));
        numbers.map(|name| (name, ColumnKind::Numeric)).chain(features)
    }

    /// How many columns are derived.
    fn width(&self) -> usize {
        2 + self.axes.len() + usize::from(!self.axes.is_empty())
    }

    /// A vector of another length is of the wrong type. What holds a number that is none has no place.
    pub(super) fn derive(&self, vector: &[f32]) -> Vec<Derived> {
        if vector.len() != self.centroid.len() {
            return vec![Derived::WrongType; self.width()];
        }
        let square = vector.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>();
        let middle = self.centroid.iter().map(|c| c * c).sum::<f64>();
        let product = dot(vector, &self.centroid);
        let projection = |axis: &Vec<f64>| {
            let centred = vector.iter().zip(&self.centroid).map(|(x, c)| f64::from(*x) - c);
            Derived::Number(centred.zip(axis).map(|(x, a)| x * a).sum())
        };
        let norm = Derived::Number(square.sqrt());
        // Without a direction there is no angle.
        let cosine = Derived::Number(product / (square.sqrt() * middle.sqrt()));
        let features = (!self.axes.is_empty()).then_some(Derived::Itself);
        [norm, cosine].into_iter().chain(self.axes.iter().map(projection)).chain(features).collect()
    }

    /// Whether its numbers fit each other.
    pub(crate) fn is_consistent(&self) -> bool {
        let dimensions = self.centroid.len();
        let are_finite = |numbers: &Vec<f64>| numbers.len() == dimensions && numbers.iter().all(|x| x.is_finite());
        dimensions > 0 && are_finite(&self.centroid) && self.axes.iter().all(are_finite)
    }
}

fn dot(vector: &[f32], other: &[f64]) -> f64 {
    vector.iter().zip(other).map(|(x, y)| f64::from(*x) * y).sum()
}

/// Learns where vectors lie. The first decides on their dimensions.
#[derive(Debug)]
pub struct SpaceSurvey {
    rows: u64,
    sums: Vec<f64>,
    sample: Sample<Box<[f32]>>,
}

impl Default for SpaceSurvey {
    fn default() -> Self {
        Self { rows: 0, sums: Vec::new(), sample: Sample::of_at_most(MAX_SAMPLE) }
    }
}

impl SpaceSurvey {
    pub(super) fn add(&mut self, row: u64, vector: &[f32]) {
        if self.rows == 0 {
            self.sums = vec![0.0; vector.len()];
        }
        if vector.len() != self.sums.len() || !vector.iter().all(|x| is_countable(f64::from(*x))) {
            return;
        }
        self.rows += 1;
        for (sum, x) in self.sums.iter_mut().zip(vector) {
            *sum += f64::from(*x);
        }
        if vector.len() <= MAX_AXES_DIMENSIONS {
            self.sample.add(row, || vector.into());
        }
    }

    pub(super) fn finish(self) -> Space {
        let centroid = self.sums.iter().map(|sum| sum / self.rows as f64).collect();
        let sample: Vec<Box<[f32]>> = self.sample.into_values().collect();
        Space { centroid, axes: principal_axes(&sample, AXES) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_vector_lies_by_its_length_its_angle_and_its_place_on_the_axes() {
        let mut survey = SpaceSurvey::default();
        // Around (3, 4): widely along the first dimension, narrowly along the second.
        for row in 0..1000u64 {
            let turn = row as f32 * 0.1;
            survey.add(row, &[3.0 + 2.0 * turn.cos(), 4.0 + 0.5 * turn.sin()]);
        }
        let space = survey.finish();
        let names: Vec<String> = space.columns().map(|(name, _)| name).collect();
        assert_eq!(names, ["norm", "cosine", "pc1", "pc2", "features"]);
        let expected = [5.0, 1.0, 0.0, 0.0];
        for (derived, expected) in space.derive(&[3.0, 4.0]).into_iter().zip(expected) {
            let Derived::Number(number) = derived else { panic!() };
            assert!((number - expected).abs() < 0.05, "{number} is not {expected}");
        }
        let Derived::Number(along) = space.derive(&[5.0, 4.0])[2] else { panic!() };
        assert!((along - 2.0).abs() < 0.05, "{along}");
        assert_eq!(space.derive(&[1.0]), [Derived::WrongType; 5]);
        assert!(matches!(space.derive(&[0.0, 0.0])[1], Derived::Number(cosine) if cosine.is_nan()));
    }
}
