//! The model: gradient-boosted trees that scikit-learn trained (see `model/train.py`), evaluated here.

use serde::Deserialize;

const MODEL: &str = include_str!("../model/model.json");

/// The trained model.
#[derive(Debug, Deserialize)]
pub(crate) struct Model {
    /// Its name.
    pub(crate) name: String,
    /// Its version.
    pub(crate) version: String,
    /// What it wants to know, in this order.
    pub(crate) features: Vec<Feature>,
    baseline: f64,
    trees: Vec<Vec<Node>>,
}

/// One input.
#[derive(Debug, Deserialize)]
pub(crate) struct Feature {
    /// Its name.
    pub(crate) name: String,
    /// Its categories in the order of their codes; none for a number.
    pub(crate) categories: Option<Vec<String>>,
}

/// A node of a tree: a leaf with its value, or a split.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Node {
    Leaf { value: f64 },
    Numeric { feature: usize, threshold: f64, missing_left: bool, left: usize, right: usize },
    Categorical { feature: usize, categories_left: Vec<usize>, missing_left: bool, left: usize, right: usize },
}

impl Model {
    /// The model that the demo carries.
    pub(crate) fn load() -> Result<Self, String> {
        serde_json::from_str(MODEL).map_err(|error| format!("the model cannot be read: {error}"))
    }

    /// A category's code; missing when training did not see it.
    pub(crate) fn code(&self, feature: usize, category: &str) -> Option<f64> {
        let categories = self.features.get(feature)?.categories.as_ref()?;
        Some(categories.iter().position(|known| known == category)? as f64)
    }

    /// The probability of being late, for one row of numbers and category codes.
    pub(crate) fn predict(&self, row: &[Option<f64>]) -> f64 {
        let score: f64 = self.trees.iter().map(|tree| leaf(tree, row)).sum::<f64>() + self.baseline;
        1.0 / (1.0 + (-score).exp())
    }
}

fn leaf(tree: &[Node], row: &[Option<f64>]) -> f64 {
    let mut at = 0;
    loop {
        let (goes_left, left, right) = match &tree[at] {
            Node::Leaf { value } => return *value,
            Node::Numeric { feature, threshold, missing_left, left, right } => {
                (row[*feature].map_or(*missing_left, |value| value <= *threshold), left, right)
            }
            Node::Categorical { feature, categories_left, missing_left, left, right } => {
                let goes_left = |code: f64| categories_left.contains(&(code as usize));
                (row[*feature].map_or(*missing_left, goes_left), left, right)
            }
        };
        at = if goes_left { *left } else { *right };
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::flights::{self, Flight};
    use crate::model_server::row_of;

    /// What scikit-learn predicted for some flights, by their ids.
    const PREDICTIONS: &str = include_str!("../model/predictions.json");

    #[test]
    fn predictions_are_scikit_learns() {
        let model = Model::load().unwrap();
        let expected: BTreeMap<String, f64> = serde_json::from_str(PREDICTIONS).unwrap();
        let flights: BTreeMap<String, Flight> =
            flights::load().unwrap().into_iter().map(|flight| (flight.id.clone(), flight)).collect();
        assert!(expected.len() > 200);
        for (id, expected) in expected {
            let predicted = model.predict(&row_of(&model, &flights[&id]));
            assert!((predicted - expected).abs() < 1e-12, "{id}: {predicted}, scikit-learn has {expected}");
        }
    }
}
