//! The profile of a categorical column: counts on its reference's dictionary, and new categories apart.

use std::collections::{BTreeMap, HashMap};

use serde::{Deserialize, Serialize};

use crate::numeric::add_counts;

/// How many categories a reference keeps by name. The rest, the rarest, share one cell.
pub const MAX_CATEGORIES: usize = 1000;
/// How many new categories a profile keeps by name. Past it the names are dropped, the count of rows is not.
pub const MAX_NEW_CATEGORIES: usize = 100;
/// Longest category name kept, in bytes. Longer ones are new categories that share the nameless count.
pub const MAX_CATEGORY_BYTES: usize = 256;

/// The categories of a reference, in a fixed order, and whether it had more than it keeps.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(from = "DictionaryFile", into = "DictionaryFile")]
pub struct Dictionary {
    categories: Vec<String>,
    tail: bool,
    index: HashMap<String, usize>,
}

/// A dictionary as the reference file holds it.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct DictionaryFile {
    categories: Vec<String>,
    tail: bool,
}

impl From<DictionaryFile> for Dictionary {
    fn from(file: DictionaryFile) -> Self {
        Self::new(file.categories, file.tail)
    }
}

impl From<Dictionary> for DictionaryFile {
    fn from(dictionary: Dictionary) -> Self {
        Self { categories: dictionary.categories, tail: dictionary.tail }
    }
}

impl Dictionary {
    /// A dictionary of these categories. `tail` says that the reference had rarer ones, which share one more cell;
    /// a category outside the dictionary then cannot be told from those, and counts to that cell.
    pub fn new(categories: Vec<String>, tail: bool) -> Self {
        let index = categories.iter().enumerate().map(|(i, name)| (name.clone(), i)).collect();
        Self { categories, tail, index }
    }

    /// The categories by name, in the order of their cells.
    pub fn categories(&self) -> &[String] {
        &self.categories
    }

    /// Whether one more cell holds the rare rest.
    pub fn has_tail(&self) -> bool {
        self.tail
    }

    /// How many cells a profile has: one for each category, and one for the rest if there is a rest.
    pub fn cells(&self) -> usize {
        self.categories.len() + usize::from(self.tail)
    }

    fn cell(&self, category: &str) -> Option<usize> {
        self.index.get(category).copied().or_else(|| self.tail.then_some(self.categories.len()))
    }
}

/// Counts of one categorical column on one dictionary. Profiles of the same dictionary add up.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct CategoricalProfile {
    /// Rows in each category of the dictionary, in its order; the tail's cell is last.
    pub cells: Vec<u64>,
    /// New categories by name; none once there were too many to keep.
    pub new: Option<BTreeMap<String, u64>>,
    /// Rows with any new category, named or not.
    pub new_rows: u64,
    /// Rows in which the column was absent or null.
    pub missing: u64,
    /// Rows in which it was of a type that is no category.
    pub wrong_type: u64,
}

impl CategoricalProfile {
    /// An empty profile.
    pub fn empty(dictionary: &Dictionary) -> Self {
        Self { cells: vec![0; dictionary.cells()], new: Some(BTreeMap::new()), ..Self::default() }
    }

    /// Counts one row's category.
    pub fn count(&mut self, dictionary: &Dictionary, category: &str) {
        if let Some(cell) = dictionary.cell(category) {
            self.cells[cell] += 1;
            return;
        }
        self.new_rows += 1;
        if category.len() > MAX_CATEGORY_BYTES {
            self.new = None;
        }
        if let Some(new) = &mut self.new {
            match new.get_mut(category) {
                Some(count) => *count += 1,
                None => {
                    new.insert(category.to_owned(), 1);
                }
            }
            self.forget_names_past_bound();
        }
    }

    /// Adds another profile of the same dictionary.
    ///
    /// # Panics
    /// When the two have different numbers of cells.
    pub fn merge(&mut self, other: &Self) {
        assert_eq!(self.cells.len(), other.cells.len(), "profiles add up on one dictionary only");
        add_counts(&mut self.cells, &other.cells);
        match (&mut self.new, &other.new) {
            (Some(mine), Some(theirs)) => {
                for (name, count) in theirs {
                    *mine.entry(name.clone()).or_insert(0) += count;
                }
                self.forget_names_past_bound();
            }
            _ => self.new = None,
        }
        self.new_rows += other.new_rows;
        self.missing += other.missing;
        self.wrong_type += other.wrong_type;
    }

    /// Rows that hold a category, known or new: the `n` of every score.
    pub fn valid(&self) -> u64 {
        self.cells.iter().sum::<u64>() + self.new_rows
    }

    /// How many rows were seen, whatever they held.
    pub fn rows(&self) -> u64 {
        self.valid() + self.missing + self.wrong_type
    }

    /// Counts of the new categories, in the order of their names. When there were too many to keep apart, they count
    /// as one.
    pub fn new_counts(&self) -> Vec<u64> {
        match &self.new {
            Some(named) => named.values().copied().collect(),
            None => vec![self.new_rows],
        }
    }

    fn forget_names_past_bound(&mut self) {
        if self.new.as_ref().is_some_and(|new| new.len() > MAX_NEW_CATEGORIES) {
            self.new = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn dictionary() -> Dictionary {
        Dictionary::new(vec!["EWR".into(), "JFK".into()], false)
    }

    fn counted(categories: &[String]) -> CategoricalProfile {
        let mut profile = CategoricalProfile::empty(&dictionary());
        for category in categories {
            profile.count(&dictionary(), category);
        }
        profile
    }

    fn merged(a: &CategoricalProfile, b: &CategoricalProfile) -> CategoricalProfile {
        let mut sum = a.clone();
        sum.merge(b);
        sum
    }

    fn any_categories() -> impl Strategy<Value = Vec<String>> {
        let category =
            prop_oneof![Just("EWR".to_owned()), Just("JFK".to_owned()), (0..150u32).prop_map(|i| format!("new-{i}"))];
        proptest::collection::vec(category, 0..120)
    }

    proptest! {
        #[test]
        fn merge_adds_up_like_counting_the_whole(a in any_categories(), b in any_categories(), c in any_categories()) {
            let whole = counted(&[a.clone(), b.clone(), c.clone()].concat());
            let (a, b, c) = (counted(&a), counted(&b), counted(&c));
            prop_assert_eq!(&merged(&merged(&a, &b), &c), &whole);
            prop_assert_eq!(&merged(&a, &merged(&c, &b)), &whole);
        }
    }

    #[test]
    fn with_a_tail_an_unknown_category_counts_to_the_tail() {
        let dictionary = Dictionary::new(vec!["EWR".into()], true);
        let mut profile = CategoricalProfile::empty(&dictionary);
        profile.count(&dictionary, "LGA");
        assert_eq!((profile.cells.as_slice(), profile.new_rows), ([0, 1].as_slice(), 0));
    }

    #[test]
    fn too_many_new_categories_keep_their_rows_but_not_their_names() {
        let names: Vec<String> = (0..=MAX_NEW_CATEGORIES).map(|i| format!("n{i}")).collect();
        let profile = counted(&names);
        assert_eq!(profile.new, None);
        assert_eq!(profile.new_counts(), vec![names.len() as u64]);
    }
}
