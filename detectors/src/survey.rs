//! What values a column holds, learnt in one go and in bounded memory: from it come a reference's cells.
//!
//! What it finds of numbers does not depend on which row came first: the sample's rows follow from their own numbers.

use std::collections::{HashMap, HashSet};

use foldhash::fast::RandomState;

use crate::build::{MAX_EXACT_VALUES, QUANTILES};
use crate::categorical::{Dictionary, MAX_CATEGORIES, MAX_CATEGORY_BYTES, Tail, category_hash};
use crate::grid::{Grid, GridError};
use crate::numeric::is_countable;
use crate::sample::Sample;

/// Values of which quantiles are taken. Up to so many they are exact. Of more, a sample of at least half as many is kept,
/// and a quantile lies off by a twentieth of a percent of the rows: half a cell. Counts on the cells are of all rows.
const MAX_SAMPLE: usize = 1 << 20;

/// Categories that are told apart while a reference is built. What comes first after so many others has no name; by then
/// the column has no bound, and new categories are not scored.
const MAX_DISTINCT: usize = 1 << 18;

/// What numbers a column holds.
#[derive(Debug, Clone)]
pub(crate) struct NumericSurvey {
    /// All distinct values by their bits, while they are few.
    distinct: Option<HashSet<u64, RandomState>>,
    sample: Sample<f64>,
    range: Option<(f64, f64)>,
}

impl Default for NumericSurvey {
    fn default() -> Self {
        Self::keeping(MAX_SAMPLE)
    }
}

impl NumericSurvey {
    fn keeping(most: usize) -> Self {
        Self { distinct: Some(HashSet::default()), sample: Sample::of_at_most(most), range: None }
    }

    /// Adds a number. Rows have numbers of their own, whichever part of the data they come from.
    pub(crate) fn add(&mut self, row: u64, value: f64) {
        if !is_countable(value) {
            return;
        }
        // One zero, whatever its sign.
        let value = value + 0.0;
        self.range = Some(self.range.map_or((value, value), |(low, high)| (low.min(value), high.max(value))));
        self.sample.add(row, || value);
        if let Some(distinct) = &mut self.distinct {
            distinct.insert(value.to_bits());
            if distinct.len() > MAX_EXACT_VALUES {
                self.distinct = None;
            }
        }
    }

    /// All distinct values where they are few, else quantiles by the inverted CDF with the smallest and the largest value;
    /// and whether it is all of them.
    pub(crate) fn grid(self) -> Result<(Grid, bool), GridError> {
        if let Some(distinct) = self.distinct {
            let mut cuts: Vec<f64> = distinct.into_iter().map(f64::from_bits).collect();
            cuts.sort_unstable_by(f64::total_cmp);
            return Ok((Grid::new(cuts)?, true));
        }
        let mut sorted: Vec<f64> = self.sample.into_values().collect();
        sorted.sort_unstable_by(f64::total_cmp);
        let last = sorted.len().saturating_sub(1);
        let place = |k: usize| (k * sorted.len()).div_ceil(QUANTILES).saturating_sub(1).min(last);
        let mut cuts: Vec<f64> = (0..=QUANTILES).filter_map(|k| sorted.get(place(k)).copied()).collect();
        // A sample may have missed them.
        let ends = self.range.map_or([None, None], |(low, high)| [Some(low), Some(high)]);
        cuts.extend(ends.into_iter().flatten());
        cuts.sort_unstable_by(f64::total_cmp);
        cuts.dedup();
        Ok((Grid::new(cuts)?, false))
    }
}

/// What categories a column holds, and how often.
#[derive(Debug, Clone, Default)]
pub(crate) struct CategorySurvey {
    names: HashMap<String, u64, RandomState>,
    /// Names that are too long to be kept, by their hash.
    long: HashMap<u64, u64, RandomState>,
}

impl CategorySurvey {
    /// Adds a row's category.
    pub(crate) fn add(&mut self, name: &str) {
        let has_room = self.names.len() + self.long.len() < MAX_DISTINCT;
        if name.len() > MAX_CATEGORY_BYTES {
            let hash = category_hash(name);
            match self.long.get_mut(&hash) {
                Some(rows) => *rows += 1,
                None if has_room => drop(self.long.insert(hash, 1)),
                None => {}
            }
            return;
        }
        match self.names.get_mut(name) {
            Some(rows) => *rows += 1,
            None if has_room => drop(self.names.insert(name.to_owned(), 1)),
            None => {}
        }
    }

    /// The most frequent categories, by falling frequency and then by name, so that the same rows make the same file.
    pub(crate) fn dictionary(self) -> Dictionary {
        let mut ranked: Vec<(String, u64)> = self.names.into_iter().collect();
        ranked.sort_unstable_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        let rest = ranked.split_off(ranked.len().min(MAX_CATEGORIES));
        let has_rest = !rest.is_empty() || !self.long.is_empty();
        let rest = rest.iter().map(|(name, rows)| (category_hash(name), *rows)).chain(self.long);
        let tail = has_rest.then(|| Tail::of_hashes(rest));
        Dictionary::new(ranked.into_iter().map(|(name, _)| name).collect(), tail)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn surveyed(values: &[f64], rows: impl Iterator<Item = usize>) -> NumericSurvey {
        let mut survey = NumericSurvey::keeping(64);
        rows.for_each(|row| survey.add(row as u64, values[row]));
        survey
    }

    proptest! {
        #[test]
        fn the_grid_is_the_same_whichever_row_comes_first(
            values in proptest::collection::vec(-1e3..1e3f64, 1..400),
            many in proptest::bool::ANY,
            step in 1usize..7,
        ) {
            let mut one = surveyed(&values, 0..values.len());
            let mut other = surveyed(&values, (0..step).rev().flat_map(|first| (first..values.len()).step_by(step)));
            if many {
                (one.distinct, other.distinct) = (None, None);
            }
            prop_assert_eq!(one.grid(), other.grid());
        }
    }

    #[test]
    fn quantiles_of_a_sample_lie_close_to_those_of_all_rows() {
        let mut survey = NumericSurvey::keeping(1 << 14);
        (0..1_000_000u64).for_each(|row| survey.add(row, (row * 7919 % 1_000_000) as f64));
        let (grid, exact) = survey.grid().unwrap();
        assert!(!exact);
        let cuts = grid.cuts();
        assert_eq!((cuts[0], cuts[cuts.len() - 1]), (0.0, 999_999.0));
        // The largest deviation of an empirical distribution of 8,192 rows is under 0.018 but once in 100 times.
        let off = (0..=QUANTILES).map(|k| (cuts[k.min(cuts.len() - 1)] / 1e6 - k as f64 / 1024.0).abs());
        assert!(off.fold(0.0, f64::max) < 0.02);
    }

    #[test]
    fn past_their_bound_categories_have_no_names_and_nothing_is_new() {
        let mut survey = CategorySurvey::default();
        (0..MAX_DISTINCT + 10).for_each(|i| survey.add(&i.to_string()));
        assert_eq!(survey.names.len(), MAX_DISTINCT);
        let dictionary = survey.dictionary();
        assert_eq!((dictionary.categories().len(), dictionary.knows_what_is_new()), (MAX_CATEGORIES, false));
    }
}
