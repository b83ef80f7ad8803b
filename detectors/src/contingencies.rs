//! How columns of names go together, pair by pair: tables of counts, which add up exactly.
//!
//! A table has a row and a column for each name that is common in the reference, and one for all others, so that it is bounded
//! whatever the column holds. Names come as codes: 0 for all others, then the common ones. A pair is counted in the rows that
//! have both.

use serde::{Deserialize, Serialize};

use crate::associations::pairs_of;
use crate::build::{RowValue, Rows};

/// Codes that a column may have, the one for all others among them.
pub(crate) const MAX_CODES: usize = 16;
/// Rows that an association is worked out from, at the least.
const MIN_ROWS: f64 = 10.0;

/// What the pairs of a reference's columns of names are counted by.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Contingencies {
    /// The columns. The pairs are the first with each of the others, then the second with each after it, and so on.
    pub columns: Vec<String>,
    /// How many codes each of them has.
    pub codes: Vec<usize>,
}

/// Tables of the pairs of some columns. Profiles of one reference add up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContingencyProfile {
    /// Rows with two names at the least.
    pub rows: u64,
    /// Rows with less.
    pub missing: u64,
    /// Rows of something else.
    pub wrong_type: u64,
    /// Of each pair, how many rows have each code of the first with each code of the second: those of the first's code 0,
    /// then of its code 1, and so on.
    pub tables: Vec<Vec<u64>>,
}

impl Contingencies {
    /// What the pairs of these rows of codes are counted by.
    pub(crate) fn of_rows(rows: &dyn Rows) -> Result<Self, String> {
        let columns = rows.columns();
        let mut codes = vec![1; columns.len()];
        rows.each(&mut |_, value| {
            if let RowValue::Row(row) = value {
                for (codes, code) in codes.iter_mut().zip(row) {
                    *codes = (*codes).max(code_of(*code, MAX_CODES).map_or(1, |code| code + 1));
                }
            }
        })?;
        Ok(Self { columns, codes })
    }

    /// How many columns a row has.
    pub(crate) fn width(&self) -> usize {
        self.columns.len()
    }

    /// The columns of each pair, in the order of the tables.
    pub(crate) fn pairs(&self) -> impl Iterator<Item = (usize, usize)> {
        let width = self.width();
        (0..width).flat_map(move |i| (i + 1..width).map(move |j| (i, j)))
    }

    /// Cramér's V of a pair, by its place: from 0, where its columns know nothing of each other, to 1, where one says all of the
    /// other. None of few rows, or where one is constant. Equal to SciPy's `contingency.association`.
    ///
    /// ```
    /// use driftline_detectors::{Contingencies, ContingencyProfile};
    ///
    /// let contingencies = Contingencies { columns: vec!["carrier".into(), "origin".into()], codes: vec![4, 2] };
    /// let table = vec![100, 150, 203, 322, 420, 700, 320, 210];
    /// let profile = ContingencyProfile { rows: 2425, missing: 0, wrong_type: 0, tables: vec![table] };
    /// let v = contingencies.cramers_v(&profile, 0).unwrap();
    /// assert!((v - 0.186_178_130_774_836_78).abs() < 1e-12);
    /// ```
    pub fn cramers_v(&self, profile: &ContingencyProfile, pair: usize) -> Option<f64> {
        let (_, second) = self.pairs().nth(pair)?;
        Some(Contingency::of(profile.tables.get(pair)?, *self.codes.get(second)?)?.v())
    }

    /// Whether its numbers fit each other and a profile.
    pub(crate) fn is_consistent(&self, profile: &ContingencyProfile) -> bool {
        let fits = |((i, j), table): ((usize, usize), &Vec<u64>)| table.len() == self.codes[i] * self.codes[j];
        self.codes.len() == self.width()
            && self.codes.iter().all(|codes| (1..=MAX_CODES).contains(codes))
            && profile.tables.len() == pairs_of(self.width())
            && self.pairs().zip(&profile.tables).all(fits)
    }
}

/// A code of a column that has so many; that of all others where it has not this one, and none where there is no name.
fn code_of(code: f64, codes: usize) -> Option<usize> {
    (code >= 0.0).then_some(if code < codes as f64 { code as usize } else { 0 })
}

impl ContingencyProfile {
    /// Without any rows.
    pub(crate) fn empty(contingencies: &Contingencies) -> Self {
        let codes = &contingencies.codes;
        let tables = contingencies.pairs().map(|(i, j)| vec![0; codes[i] * codes[j]]).collect();
        Self { rows: 0, missing: 0, wrong_type: 0, tables }
    }

    /// Counts a row with a code for each column, NaN where it has no name.
    pub(crate) fn count(&mut self, contingencies: &Contingencies, row: &[f64]) {
        let Contingencies { codes, .. } = contingencies;
        if row.len() != codes.len() {
            self.wrong_type += 1;
            return;
        }
        let names: Vec<Option<usize>> = row.iter().zip(codes).map(|(code, codes)| code_of(*code, *codes)).collect();
        if names.iter().flatten().count() < 2 {
            self.missing += 1;
            return;
        }
        self.rows += 1;
        for (table, (i, j)) in self.tables.iter_mut().zip(contingencies.pairs()) {
            if let (Some(first), Some(second)) = (names[i], names[j]) {
                table[first * codes[j] + second] += 1;
            }
        }
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        self.combine(other, |mine, theirs| mine + theirs);
    }

    /// Takes back what was merged before.
    pub(crate) fn remove(&mut self, other: &Self) {
        self.combine(other, |mine, theirs| mine - theirs);
    }

    fn combine(&mut self, other: &Self, with: impl Fn(u64, u64) -> u64) {
        let sizes = |profile: &Self| profile.tables.iter().map(Vec::len).collect::<Vec<_>>();
        assert_eq!(sizes(self), sizes(other), "profiles add up on one reference only");
        self.rows = with(self.rows, other.rows);
        self.missing = with(self.missing, other.missing);
        self.wrong_type = with(self.wrong_type, other.wrong_type);
        let counts = self.tables.iter_mut().flatten().zip(other.tables.iter().flatten());
        counts.for_each(|(mine, theirs)| *mine = with(*mine, *theirs));
    }

    /// How many rows were seen, whatever they held.
    pub(crate) fn all_rows(&self) -> u64 {
        self.rows + self.missing + self.wrong_type
    }
}

/// How two columns of names go together.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Contingency {
    /// Rows that have both.
    pub(crate) n: f64,
    /// Pearson's chi-square over the rows.
    phi_squared: f64,
    /// The lesser number of codes that there are, less one.
    dimensions: f64,
    /// Degrees of freedom.
    freedom: f64,
    /// What `n·var(φ²)` tends to.
    spread: f64,
    /// By how much `n²·var(φ²)` is more than that of the chi-square where nothing goes together, for each row: rare names
    /// make it wild.
    rarity: f64,
}

impl Contingency {
    /// Of a table with so many columns; none where rows are few, or one of the two is constant.
    pub(crate) fn of(table: &[u64], columns: usize) -> Option<Self> {
        let n = table.iter().sum::<u64>() as f64;
        if n < MIN_ROWS {
            return None;
        }
        let shares: Vec<f64> = table.iter().map(|count| *count as f64 / n).collect();
        let of_rows: Vec<f64> = shares.chunks(columns).map(|row| row.iter().sum()).collect();
        let of_columns: Vec<f64> =
            (0..columns).map(|column| shares.iter().skip(column).step_by(columns).sum()).collect();
        let there = |margin: &[f64]| margin.iter().filter(|share| **share > 0.0).count() as f64;
        let (r, c) = (there(&of_rows), there(&of_columns));
        let dimensions = r.min(c) - 1.0;
        if dimensions < 1.0 {
            return None;
        }
        let cells = || {
            shares.iter().enumerate().filter_map(|(cell, share)| {
                let (row, column) = (cell / columns, cell % columns);
                let expected = of_rows[row] * of_columns[column];
                (expected > 0.0).then_some((row, column, *share, expected))
            })
        };
        let phi_squared = cells().map(|(_, _, share, expected)| (share - expected).powi(2) / expected).sum();
        let (mut by_row, mut by_column) = (vec![0.0; of_rows.len()], vec![0.0; columns]);
        for (row, column, share, expected) in cells() {
            by_row[row] += share * share / expected / of_rows[row];
            by_column[column] += share * share / expected / of_columns[column];
        }
        let spread = cells()
            .map(|(row, column, share, expected)| {
                share * (2.0 * share / expected - by_row[row] - by_column[column]).powi(2)
            })
            .sum();
        let rarity = |margin: &[f64], codes: f64| {
            margin.iter().filter(|share| **share > 0.0).map(|share| share.recip()).sum::<f64>() - codes * codes
        };
        Some(Self {
            n,
            phi_squared,
            dimensions,
            freedom: (r - 1.0) * (c - 1.0),
            spread,
            rarity: rarity(&of_rows, r) * rarity(&of_columns, c),
        })
    }

    /// Cramér's V, from 0 to 1.
    pub(crate) fn v(&self) -> f64 {
        (self.phi_squared / self.dimensions).sqrt()
    }

    /// The same in this one's dimensions, so that a name that is gone does not look like a change of the others.
    pub(crate) fn v_of(&self, other: &Self) -> f64 {
        (other.phi_squared / self.dimensions).sqrt()
    }

    /// The mean and the variance of V in samples of so many rows of the population that this is a sample of.
    ///
    /// φ² is too large by `df/n` in the mean (Bergsma 2013). For large samples its variance is `Σ p·g²/n`, with g its
    /// derivative by p (the delta method; Bishop, Fienberg & Holland 1975, chapter 11), and `2·df/n²` where nothing goes
    /// together, as that of a chi-square, more where names are rare (after Haldane 1940). V is its root.
    pub(crate) fn in_samples(&self, n: f64) -> (f64, f64) {
        let phi_squared = (self.phi_squared - self.freedom / self.n).max(0.0) + self.freedom / n;
        let by_chance = (2.0 * self.freedom + self.rarity.max(0.0) / n) / (n * n);
        let variance = self.spread / n + by_chance;
        ((phi_squared / self.dimensions).sqrt(), variance / (4.0 * self.dimensions * phi_squared))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::laws::parts_make_the_whole;

    fn contingencies() -> Contingencies {
        Contingencies { columns: ["a", "b", "c"].map(str::to_owned).to_vec(), codes: vec![3, 2, 4] }
    }

    fn counted(rows: &[[f64; 3]]) -> ContingencyProfile {
        let mut profile = ContingencyProfile::empty(&contingencies());
        rows.iter().for_each(|row| profile.count(&contingencies(), row));
        profile
    }

    fn any_rows() -> impl Strategy<Value = Vec<[f64; 3]>> {
        let code =
            prop_oneof![4 => (0u8..6).prop_map(f64::from), 1 => Just(f64::NAN), 1 => Just(-1.0), 1 => Just(1e300)];
        proptest::collection::vec(proptest::array::uniform3(code), 0..40)
    }

    proptest! {
        #[test]
        fn profiles_add_up_to_the_bit(rows in any_rows(), at in (0usize..40, 0usize..40)) {
            parts_make_the_whole(&rows, at, counted, (ContingencyProfile::merge, ContingencyProfile::remove));
            prop_assert_eq!(counted(&rows).all_rows(), rows.len() as u64);
        }

        #[test]
        fn v_is_from_nothing_to_one_and_does_not_know_which_column_comes_first(table in proptest::collection::vec(0u64..50, 12)) {
            let turned: Vec<u64> = (0..12).map(|cell| table[cell % 3 * 4 + cell / 3]).collect();
            match (Contingency::of(&table, 4), Contingency::of(&turned, 3)) {
                (Some(one), Some(other)) => {
                    prop_assert!((0.0..=1.0 + 1e-12).contains(&one.v()));
                    prop_assert!((one.v() - other.v()).abs() < 1e-12);
                    prop_assert!(one.spread >= 0.0 && (one.spread - other.spread).abs() < 1e-9);
                }
                (one, other) => prop_assert_eq!(one.is_some(), other.is_some()),
            }
        }
    }

    #[test]
    fn v_is_that_of_scipy() {
        // scipy.stats.contingency.association([[100, 150], [203, 322], [420, 700], [320, 210]], method="cramer")
        let v = Contingency::of(&[100, 150, 203, 322, 420, 700, 320, 210], 2).unwrap().v();
        assert!((v - 0.186_178_130_774_836_78).abs() < 1e-12, "{v}");
        assert_eq!(Contingency::of(&[7, 0, 0, 0, 0, 7], 2).unwrap().v(), 1.0, "a code that is not there is none");
        assert!(Contingency::of(&[7, 0, 9, 0], 2).is_none(), "one is constant");
        assert!(Contingency::of(&[2, 2, 2, 2], 2).is_none(), "rows are few");
    }
}
