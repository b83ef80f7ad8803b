//! Whether two collectors give one window the same scores, where both take them by the same formula.
//!
//! That is so of the Kolmogorov-Smirnov statistic of numbers, and of the PSI of categories. The PSI of numbers depends on
//! which bins they are put into, and everybody has others.

use std::collections::BTreeMap;
use std::fmt;

use serde_json::{Value, json};

use crate::collector::Collector;

/// Scores that differ by more are not the same.
const TOLERANCE: f64 = 1e-6;

/// What the collector made of the window that every collector gets first, and how far others are from it.
#[derive(Debug)]
pub(crate) struct Agreement {
    ours: BTreeMap<&'static str, Value>,
    differences: BTreeMap<&'static str, Vec<f64>>,
}

impl Agreement {
    /// The scores of our first window.
    pub(crate) fn ours(collector: &Collector) -> Self {
        let scores =
            |detector| collector.get(&format!("/api/v1/models/benchmark/scores?detector={detector}&limit=1000"));
        Self { ours: ["ks", "psi"].map(|detector| (detector, scores(detector))).into(), differences: BTreeMap::new() }
    }

    /// Puts theirs beside them.
    pub(crate) fn with_theirs(mut self, collector: &Collector) -> Self {
        let theirs = collector.get("/first");
        let is_numeric = |column: &str| theirs["ks"].get(column).is_some();
        for (&detector, scores) in &self.ours {
            for column in scores["columns"].as_array().expect("scores by column") {
                let name = column["column"].as_str().expect("a name");
                if (detector == "ks") != is_numeric(name) {
                    continue;
                }
                let bound = |end| column["cells"][0][end].as_f64().expect("a score of the first window");
                let their = theirs[detector][name].as_f64().expect("their score of it");
                // What is known within bounds differs by what it lies outside of them.
                let difference = (bound("value") - their).max(their - bound("upper")).max(0.0);
                self.differences.entry(detector).or_default().push(difference);
            }
        }
        self
    }

    fn largest(&self, detector: &str) -> (usize, f64) {
        let differences = self.differences.get(detector).map_or(&[][..], Vec::as_slice);
        (differences.len(), differences.iter().copied().fold(0.0, f64::max))
    }

    pub(crate) fn figures(&self) -> Value {
        json!({ "differences": self.differences })
    }
}

impl fmt::Display for Agreement {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ((numbers, ks), (categories, psi)) = (self.largest("ks"), self.largest("psi"));
        let mark = if ks <= TOLERANCE && psi <= TOLERANCE && numbers > 0 && categories > 0 { "" } else { "⚠ " };
        write!(
            formatter,
            "{mark}of a window of the same rows, the KS of {numbers} columns of numbers differs by at most {ks:.1e}, and the \
             PSI of {categories} of categories by {psi:.1e}"
        )
    }
}
