//! The profile of a categorical column: counts on its reference's dictionary, and new categories apart.

use std::collections::{BTreeMap, HashMap};

use foldhash::fast::RandomState;
use serde::{Deserialize, Serialize};

use crate::numeric::add_counts;

/// How many categories a reference keeps by name. The rest, the rarest, share one cell.
pub const MAX_CATEGORIES: usize = 1000;
/// How many new categories a profile keeps by name. Past it the names are dropped, the count of rows is not.
pub const MAX_NEW_CATEGORIES: usize = 100;
/// Longest category name kept, in bytes. Longer ones are new categories that share the nameless count.
pub const MAX_CATEGORY_BYTES: usize = 256;

/// How many categories of a tail are recognised. A column with more has no bound to what it holds: a name that it has not
/// seen is then nothing new, and its share is not scored.
pub const MAX_TAIL_CATEGORIES: usize = 65_536;

/// The categories of a reference, in a fixed order, and what it knows of the rare ones that it does not keep by name.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(from = "DictionaryFile", into = "DictionaryFile")]
pub struct Dictionary {
    categories: Vec<String>,
    tail: Option<Tail>,
    index: HashMap<String, usize, RandomState>,
}

/// The categories that share a dictionary's last cell.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tail {
    /// [`category_hash`] of each, ascending. None when they were more than [`MAX_TAIL_CATEGORIES`].
    hashes: Option<Vec<u64>>,
    /// How many of them the reference saw once.
    seen_once: u64,
}

impl Tail {
    /// The tail of these categories, each with the rows that it has in the reference.
    ///
    /// ```
    /// use driftline_detectors::{Dictionary, Tail};
    /// let dictionary = Dictionary::new(vec!["EWR".into()], Some(Tail::new([("HPN", 1), ("LGA", 2)])));
    /// assert!(dictionary.has_tail());
    /// ```
    pub fn new<'a>(categories: impl IntoIterator<Item = (&'a str, u64)>) -> Self {
        Self::of_hashes(categories.into_iter().map(|(name, rows)| (category_hash(name), rows)))
    }

    /// The tail of categories with these hashes, each with its rows.
    pub(crate) fn of_hashes(categories: impl IntoIterator<Item = (u64, u64)>) -> Self {
        let (mut hashes, mut seen_once) = (Vec::new(), 0);
        for (hash, rows) in categories {
            hashes.push(hash);
            seen_once += u64::from(rows == 1);
        }
        hashes.sort_unstable();
        Self { hashes: (hashes.len() <= MAX_TAIL_CATEGORIES).then_some(hashes), seen_once }
    }

    /// The hashes of its categories, ascending, where they are known.
    pub(crate) fn hashes(&self) -> Option<&[u64]> {
        self.hashes.as_deref()
    }

    /// Whether a category belongs to it. When its categories are not known, every one does that is not in the dictionary.
    fn holds(&self, category: &str) -> bool {
        self.hashes.as_ref().is_none_or(|hashes| hashes.binary_search(&category_hash(category)).is_ok())
    }
}

/// The 64-bit FNV-1a hash of a category's name in UTF-8 (Fowler, Noll & Vo), by which reference files remember a tail. That
/// any one new name is taken for one of 65,536 has a chance of 4·10⁻¹⁵.
///
/// ```
/// assert_eq!(driftline_detectors::category_hash("foobar"), 0x8594_4171_f739_67e8);
/// ```
pub fn category_hash(name: &str) -> u64 {
    const OFFSET_BASIS: u64 = 0xcbf2_9ce4_8422_2325;
    const PRIME: u64 = 0x0000_0100_0000_01b3;
    name.bytes().fold(OFFSET_BASIS, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(PRIME))
}

/// A dictionary as the reference file holds it.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct DictionaryFile {
    categories: Vec<String>,
    tail: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    tail_hashes: Option<Vec<u64>>,
    #[serde(default, skip_serializing_if = "is_zero")]
    tail_seen_once: u64,
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

impl From<DictionaryFile> for Dictionary {
    fn from(file: DictionaryFile) -> Self {
        let mut hashes = file.tail_hashes;
        if let Some(hashes) = &mut hashes {
            hashes.sort_unstable();
        }
        Self::new(file.categories, file.tail.then_some(Tail { hashes, seen_once: file.tail_seen_once }))
    }
}

impl From<Dictionary> for DictionaryFile {
    fn from(dictionary: Dictionary) -> Self {
        let is_there = dictionary.tail.is_some();
        let Tail { hashes, seen_once } = dictionary.tail.unwrap_or_default();
        Self { categories: dictionary.categories, tail: is_there, tail_hashes: hashes, tail_seen_once: seen_once }
    }
}

impl Dictionary {
    /// A dictionary of these categories; those of the tail share one more cell.
    ///
    /// ```
    /// use driftline_detectors::{Dictionary, Tail};
    /// let dictionary = Dictionary::new(vec!["EWR".into()], Some(Tail::new([("HPN", 1), ("LGA", 2)])));
    /// assert_eq!(dictionary.cells(), 2);
    /// ```
    pub fn new(categories: Vec<String>, tail: Option<Tail>) -> Self {
        let index = categories.iter().enumerate().map(|(i, name)| (name.clone(), i)).collect();
        Self { categories, tail, index }
    }

    /// The categories by name, in the order of their cells.
    ///
    /// ```
    /// use driftline_detectors::{Dictionary, Tail};
    /// let dictionary = Dictionary::new(vec!["EWR".into()], Some(Tail::new([("HPN", 1), ("LGA", 2)])));
    /// assert_eq!(dictionary.categories(), ["EWR"]);
    /// ```
    pub fn categories(&self) -> &[String] {
        &self.categories
    }

    /// Whether one more cell holds the rare rest.
    ///
    /// ```
    /// use driftline_detectors::{Dictionary, Tail};
    /// let dictionary = Dictionary::new(vec!["EWR".into()], Some(Tail::new([("HPN", 1), ("LGA", 2)])));
    /// assert!(dictionary.has_tail());
    /// ```
    pub fn has_tail(&self) -> bool {
        self.tail.is_some()
    }

    /// What it knows of the rare rest, if there is one.
    pub(crate) fn tail(&self) -> Option<&Tail> {
        self.tail.as_ref()
    }

    /// Whether a category that the reference never saw can be told from those that it did.
    ///
    /// ```
    /// use driftline_detectors::{Dictionary, Tail};
    /// let dictionary = Dictionary::new(vec!["EWR".into()], Some(Tail::new([("HPN", 1), ("LGA", 2)])));
    /// assert!(dictionary.knows_what_is_new());
    /// ```
    pub fn knows_what_is_new(&self) -> bool {
        self.tail.as_ref().is_none_or(|tail| tail.hashes.is_some())
    }

    /// How many cells a profile has: one for each category, and one for the rest if there is a rest.
    ///
    /// ```
    /// use driftline_detectors::{Dictionary, Tail};
    /// let dictionary = Dictionary::new(vec!["EWR".into()], Some(Tail::new([("HPN", 1), ("LGA", 2)])));
    /// assert_eq!(dictionary.cells(), 2);
    /// ```
    pub fn cells(&self) -> usize {
        self.categories.len() + usize::from(self.has_tail())
    }

    /// How many categories the reference with these counts saw once.
    pub(crate) fn seen_once(&self, profile: &CategoricalProfile) -> u64 {
        let named = profile.cells.iter().take(self.categories.len()).filter(|count| **count == 1).count() as u64;
        named + self.tail.as_ref().map_or(0, |tail| tail.seen_once)
    }

    fn cell(&self, category: &str) -> Option<usize> {
        let in_tail = || self.tail.as_ref().is_some_and(|tail| tail.holds(category)).then_some(self.categories.len());
        self.index.get(category).copied().or_else(in_tail)
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
    ///
    /// ```
    /// use driftline_detectors::{CategoricalProfile, Dictionary};
    /// let dictionary = Dictionary::new(vec!["EWR".into(), "JFK".into()], None);
    /// let mut profile = CategoricalProfile::empty(&dictionary);
    /// profile.count(&dictionary, "EWR");
    /// profile.count(&dictionary, "SWF");
    /// assert_eq!(profile.cells.len(), 2);
    /// ```
    pub fn empty(dictionary: &Dictionary) -> Self {
        Self { cells: vec![0; dictionary.cells()], new: Some(BTreeMap::new()), ..Self::default() }
    }

    /// Counts one row's category.
    ///
    /// ```
    /// use driftline_detectors::{CategoricalProfile, Dictionary};
    /// let dictionary = Dictionary::new(vec!["EWR".into(), "JFK".into()], None);
    /// let mut profile = CategoricalProfile::empty(&dictionary);
    /// profile.count(&dictionary, "EWR");
    /// profile.count(&dictionary, "SWF");
    /// assert_eq!((profile.cells, profile.new_rows), (vec![1, 0], 1));
    /// ```
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
    ///
    /// ```
    /// use driftline_detectors::{CategoricalProfile, Dictionary};
    /// let dictionary = Dictionary::new(vec!["EWR".into(), "JFK".into()], None);
    /// let mut profile = CategoricalProfile::empty(&dictionary);
    /// profile.count(&dictionary, "EWR");
    /// profile.count(&dictionary, "SWF");
    /// let other = profile.clone();
    /// profile.merge(&other);
    /// assert_eq!((profile.cells, profile.new_rows), (vec![2, 0], 2));
    /// ```
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

    /// Takes back what was merged before, of known categories: a part of a reference holds no others.
    ///
    /// # Panics
    /// When the two have different numbers of cells, or the other was not merged before.
    pub(crate) fn remove(&mut self, other: &Self) {
        assert_eq!(self.cells.len(), other.cells.len(), "profiles add up on one dictionary only");
        for (mine, theirs) in self.cells.iter_mut().zip(&other.cells) {
            *mine -= theirs;
        }
        self.missing -= other.missing;
        self.wrong_type -= other.wrong_type;
    }

    /// Rows that hold a category, known or new: the `n` of every score.
    ///
    /// ```
    /// use driftline_detectors::{CategoricalProfile, Dictionary};
    /// let dictionary = Dictionary::new(vec!["EWR".into(), "JFK".into()], None);
    /// let mut profile = CategoricalProfile::empty(&dictionary);
    /// profile.count(&dictionary, "EWR");
    /// profile.count(&dictionary, "SWF");
    /// profile.missing += 1;
    /// assert_eq!(profile.valid(), 2);
    /// ```
    pub fn valid(&self) -> u64 {
        self.cells.iter().sum::<u64>() + self.new_rows
    }

    /// How many rows were seen, whatever they held.
    ///
    /// ```
    /// use driftline_detectors::{CategoricalProfile, Dictionary};
    /// let dictionary = Dictionary::new(vec!["EWR".into(), "JFK".into()], None);
    /// let mut profile = CategoricalProfile::empty(&dictionary);
    /// profile.count(&dictionary, "EWR");
    /// profile.count(&dictionary, "SWF");
    /// profile.missing += 1;
    /// assert_eq!(profile.rows(), 3);
    /// ```
    pub fn rows(&self) -> u64 {
        self.valid() + self.missing + self.wrong_type
    }

    /// Counts of the new categories, in the order of their names. When there were too many to keep apart, they count
    /// as one.
    ///
    /// ```
    /// use driftline_detectors::{CategoricalProfile, Dictionary};
    /// let dictionary = Dictionary::new(vec!["EWR".into(), "JFK".into()], None);
    /// let mut profile = CategoricalProfile::empty(&dictionary);
    /// profile.count(&dictionary, "EWR");
    /// profile.count(&dictionary, "SWF");
    /// assert_eq!(profile.new_counts(), [1]);
    /// ```
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
    use crate::laws::parts_make_the_whole;

    fn dictionary() -> Dictionary {
        Dictionary::new(vec!["EWR".into(), "JFK".into()], None)
    }

    fn counted(categories: &[String]) -> CategoricalProfile {
        let mut profile = CategoricalProfile::empty(&dictionary());
        for category in categories {
            profile.count(&dictionary(), category);
        }
        profile
    }

    fn any_categories() -> impl Strategy<Value = Vec<String>> {
        let category =
            prop_oneof![Just("EWR".to_owned()), Just("JFK".to_owned()), (0..150u32).prop_map(|i| format!("new-{i}"))];
        proptest::collection::vec(category, 0..120)
    }

    proptest! {
        #[test]
        fn profiles_add_up(rows in any_categories(), at in (0usize..120, 0usize..120)) {
            // What is new is never taken back: only references are, and nothing is new to them.
            let first = counted(&rows[..at.0.min(rows.len())]);
            let remove = |sum: &mut CategoricalProfile, part: &CategoricalProfile| {
                sum.remove(part);
                (sum.new, sum.new_rows) = (first.new.clone(), first.new_rows);
            };
            parts_make_the_whole(&rows, at, counted, (CategoricalProfile::merge, remove));
        }
    }

    #[test]
    fn with_a_tail_its_categories_count_to_it_and_others_are_new() {
        let dictionary = Dictionary::new(vec!["EWR".into()], Some(Tail::new([("LGA", 2), ("HPN", 1)])));
        let mut profile = CategoricalProfile::empty(&dictionary);
        for category in ["LGA", "HPN", "EWR", "SWF"] {
            profile.count(&dictionary, category);
        }
        assert_eq!((profile.cells.as_slice(), profile.new_rows), ([1, 2].as_slice(), 1));
        assert_eq!((dictionary.knows_what_is_new(), dictionary.seen_once(&profile)), (true, 2));
    }

    #[test]
    fn in_a_tail_past_its_bound_nothing_is_new() {
        let names: Vec<String> = (0..=MAX_TAIL_CATEGORIES).map(|i| i.to_string()).collect();
        let dictionary = Dictionary::new(vec!["EWR".into()], Some(Tail::new(names.iter().map(|name| (&**name, 1)))));
        let mut profile = CategoricalProfile::empty(&dictionary);
        profile.count(&dictionary, "never seen");
        assert_eq!((profile.cells.as_slice(), profile.new_rows), ([0, 1].as_slice(), 0));
        assert!(!dictionary.knows_what_is_new());
    }

    #[test]
    fn a_tail_is_remembered_in_the_file_and_files_without_one_can_be_read() {
        let tail = Dictionary::new(vec!["EWR".into()], Some(Tail::new([("LGA", 2), ("HPN", 1)])));
        for dictionary in [tail, dictionary()] {
            let text = serde_json::to_string(&dictionary).unwrap();
            assert_eq!(serde_json::from_str::<Dictionary>(&text).unwrap(), dictionary);
        }
        let old: Dictionary = serde_json::from_str(r#"{"categories": ["EWR"], "tail": true}"#).unwrap();
        assert!(old.has_tail() && !old.knows_what_is_new());
    }

    #[test]
    fn the_hash_is_the_published_one() {
        // Test vectors of draft-eastlake-fnv.
        let expected = [("", 0xcbf2_9ce4_8422_2325), ("a", 0xaf63_dc4c_8601_ec8c), ("foobar", 0x8594_4171_f739_67e8)];
        for (name, hash) in expected {
            assert_eq!(category_hash(name), hash, "{name}");
        }
    }

    #[test]
    fn too_many_new_categories_keep_their_rows_but_not_their_names() {
        let names: Vec<String> = (0..=MAX_NEW_CATEGORIES).map(|i| format!("n{i}")).collect();
        let profile = counted(&names);
        assert_eq!(profile.new, None);
        assert_eq!(profile.new_counts(), vec![names.len() as u64]);
    }
}
