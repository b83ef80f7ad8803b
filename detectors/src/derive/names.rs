//! Of several columns of names together: which of them a row has, as codes, so that pairs of columns are tables.
//!
//! What drifts in one column shows in that column. Here shows that carriers fly from another airport than they did, though each
//! carrier and each airport has as many rows as ever.

use serde::{Deserialize, Serialize};

use super::Derived;
use crate::contingencies::MAX_CODES;
use crate::reference::{ColumnKind, Normal, Reference};

/// Columns of names that are looked at together, at the most: each pair has a table in every pane.
pub const MAX_NAMES_COLUMNS: usize = 16;
/// What they are called together.
pub(super) const NAME: &str = "names";
/// What is derived of them.
pub(super) const COLUMNS: [(&str, ColumnKind); 1] = [("associations", ColumnKind::Contingencies)];
/// A name that fewer rows have has no code of its own: a table's cells would be nearly empty.
const LEAST_SHARE: f64 = 0.01;

/// Which names of some columns have codes of their own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Names {
    /// The columns, in the order of what follows.
    columns: Vec<String>,
    /// Of each, the names that have codes: the first has 1, and 0 is for all others.
    common: Vec<Vec<String>>,
}

impl Names {
    /// The common names of these columns of categories; those of other kinds have none.
    ///
    /// ```
    /// use driftline_detectors::{ColumnKind, Names, ReferenceBuilder};
    /// let mut builder = ReferenceBuilder::new("origin", ColumnKind::Categorical);
    /// ["JFK", "LGA", "JFK", "EWR"].map(|name| builder.category(None, name));
    /// let names = Names::of(&[&builder.build(None).unwrap()]);
    /// assert_eq!(names.sources(), ["origin"]);
    /// assert_eq!((names.code(0, "JFK"), names.code(0, "HPN")), (1.0, 0.0), "the most frequent, and none of them");
    /// ```
    pub fn of(references: &[&Reference]) -> Self {
        let common = references.iter().map(|reference| common(reference)).collect();
        Self { columns: references.iter().map(|reference| reference.column.clone()).collect(), common }
    }

    /// The columns that it is of.
    ///
    /// ```
    /// assert!(driftline_detectors::Names::of(&[]).sources().is_empty());
    /// ```
    pub fn sources(&self) -> &[String] {
        &self.columns
    }

    /// The code of a name of a column, by the column's place.
    ///
    /// ```
    /// use driftline_detectors::{ColumnKind, Names, ReferenceBuilder};
    /// let mut builder = ReferenceBuilder::new("origin", ColumnKind::Categorical);
    /// ["JFK", "LGA", "JFK"].map(|name| builder.category(None, name));
    /// assert_eq!(Names::of(&[&builder.build(None).unwrap()]).code(0, "LGA"), 2.0);
    /// ```
    pub fn code(&self, column: usize, name: &str) -> f64 {
        let place = self.common.get(column).and_then(|common| common.iter().position(|known| known == name));
        place.map_or(0.0, |place| (place + 1) as f64)
    }

    /// Whether those of a column with codes are true and false.
    ///
    /// ```
    /// use driftline_detectors::{ColumnKind, Names, ReferenceBuilder};
    /// let mut builder = ReferenceBuilder::new("late", ColumnKind::Categorical);
    /// ["true", "false", "true"].map(|name| builder.category(None, name));
    /// assert!(Names::of(&[&builder.build(None).unwrap()]).are_booleans(0));
    /// ```
    pub fn are_booleans(&self, column: usize) -> bool {
        let are =
            |common: &Vec<String>| !common.is_empty() && common.iter().all(|name| name == "true" || name == "false");
        self.common.get(column).is_some_and(are)
    }

    /// A row of codes, NaN where there is no name.
    pub(super) fn derive(&self, row: &[f64]) -> [Derived; COLUMNS.len()] {
        if row.len() != self.columns.len() {
            return [Derived::WrongType];
        }
        [if row.iter().all(|code| code.is_nan()) { Derived::Missing } else { Derived::Itself }]
    }

    /// Whether its parts fit each other.
    pub(crate) fn is_consistent(&self) -> bool {
        (2..=MAX_NAMES_COLUMNS).contains(&self.columns.len())
            && self.common.len() == self.columns.len()
            && self.common.iter().all(|common| common.len() < MAX_CODES)
    }
}

/// The names that many rows of a column have, the most frequent first.
fn common(reference: &Reference) -> Vec<String> {
    let Normal::Categorical { dictionary, profile } = &reference.normal else { return Vec::new() };
    let least = LEAST_SHARE * profile.valid() as f64;
    let mut names: Vec<(u64, &String)> =
        profile.cells.iter().copied().zip(dictionary.categories()).filter(|(rows, _)| *rows as f64 >= least).collect();
    names.sort_by(|a, b| b.0.cmp(&a.0).then_with(|| a.1.cmp(b.1)));
    names.into_iter().take(MAX_CODES - 1).map(|(_, name)| name.clone()).collect()
}
