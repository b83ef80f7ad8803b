//! What a categorical column's change looks like.

use std::collections::BTreeMap;

use super::unusable::share;
use super::{Cause, CauseKind, FillValue, MAX_NAMED, explained, with_the_rest};
use crate::categorical::{CategoricalProfile, Dictionary};

/// As in numeric columns.
const STUCK: f64 = 0.99;
const MIN_FILL: f64 = 0.05;
const MIN_SHARE: f64 = 0.5;
/// Categories are called gone when more than so many rows of theirs were to be expected: by chance, none of 7 come once
/// in a thousand windows.
const EXPECTED_ROWS: f64 = 7.0;

/// The causes of a drift between these two profiles. `moved` says whether more than the share of new categories drifts.
pub(super) fn causes(
    dictionary: &Dictionary,
    reference: &CategoricalProfile,
    window: &CategoricalProfile,
    moved: bool,
) -> Vec<Cause> {
    let (n, m) = (reference.valid(), window.valid());
    if n == 0 || m == 0 {
        return Vec::new();
    }
    let mut table = Table::new(dictionary, reference, window);
    if let Some(stuck) = table.stuck() {
        return vec![stuck];
    }
    let mut account = Account { whole: table.distance(), chance: table.chance(), accounted: 0.0, causes: Vec::new() };
    // Each cause is undone before the next is looked for, so that their shares add up.
    if let Some(kind) = table.undo_renaming() {
        account.undone(kind, &table);
    }
    if let Some(kind) = table.undo_new() {
        account.undone(kind, &table);
        // New categories may be too few to move the rest: their own score drifts then, and they are all of it.
        if let Some(cause) = account.causes.last_mut().filter(|_| !moved) {
            cause.share = 1.0;
        }
    }
    if moved {
        if let Some(kind) = table.undo_fill(MIN_SHARE * (table.distance() - account.chance)) {
            account.undone(kind, &table);
        }
        if let Some(kind) = table.undo_gone() {
            account.undone(kind, &table);
        }
    }
    account.causes.retain(|cause| cause.share > 0.0);
    with_the_rest(account.causes)
}

/// What was undone so far, and how much of the distance went away with it.
#[derive(Debug)]
struct Account {
    whole: f64,
    chance: f64,
    accounted: f64,
    causes: Vec<Cause>,
}

impl Account {
    fn undone(&mut self, kind: CauseKind, left: &Table) {
        let accounted = explained(self.whole, left.distance(), self.chance).max(self.accounted);
        self.causes.push(Cause { kind, share: accounted - self.accounted });
        self.accounted = accounted;
    }
}

/// Shares of both samples, from which changes are taken out one by one.
#[derive(Debug)]
struct Table {
    /// Known categories by name, and the rare rest without one.
    known: Vec<Row>,
    /// Shares of new categories by name.
    new: BTreeMap<String, f64>,
    /// Share of all new categories.
    new_share: f64,
    /// Whether the names of all new categories are known.
    is_named: bool,
    sizes: (f64, f64),
}

#[derive(Debug)]
struct Row {
    name: Option<String>,
    before: f64,
    now: f64,
}

impl Row {
    fn excess(&self) -> f64 {
        if self.before >= 1.0 { 0.0 } else { (self.now - self.before) / (1.0 - self.before) }
    }
}

impl Table {
    fn new(dictionary: &Dictionary, reference: &CategoricalProfile, window: &CategoricalProfile) -> Self {
        let (n, m) = (reference.valid(), window.valid());
        let names = dictionary.categories().iter().cloned().map(Some).chain([None]);
        let cells = reference.cells.iter().zip(&window.cells);
        let known = names
            .zip(cells)
            .map(|(name, (before, now))| Row { name, before: share(*before, n), now: share(*now, m) })
            .collect();
        let named = window.new.iter().flatten().map(|(name, count)| (name.clone(), share(*count, m))).collect();
        let (is_named, sizes) = (window.new.is_some(), (n as f64, m as f64));
        Self { known, new: named, new_share: share(window.new_rows, m), is_named, sizes }
    }

    /// Total variation, from 0 to 1.
    fn distance(&self) -> f64 {
        (self.known.iter().map(|row| (row.before - row.now).abs()).sum::<f64>() + self.new_share) / 2.0
    }

    /// What it is by chance, on average: the sum of the differences' mean lengths, as of normal numbers.
    fn chance(&self) -> f64 {
        let (n, m) = self.sizes;
        let of_row = |row: &Row| {
            let pooled = (row.before * n + row.now * m) / (n + m);
            (2.0 / std::f64::consts::PI * pooled * (1.0 - pooled) * (1.0 / n + 1.0 / m)).sqrt()
        };
        self.known.iter().map(of_row).sum::<f64>() / 2.0
    }

    fn stuck(&self) -> Option<Cause> {
        let known = self.known.iter().filter_map(|row| Some((row.name.as_ref()?, row.before, row.now)));
        let new = self.new.iter().map(|(name, now)| (name, 0.0, *now));
        let (name, before, now) = known.chain(new).find(|(_, before, now)| *now >= STUCK && *before < STUCK)?;
        let kind = CauseKind::StuckValue { value: FillValue::Category(name.clone()), before, now };
        Some(Cause { kind, share: 1.0 })
    }

    /// Gives new categories that are written almost like a known one back to it.
    fn undo_renaming(&mut self) -> Option<CauseKind> {
        let mut by_spelling: BTreeMap<String, usize> = BTreeMap::new();
        for (index, row) in self.known.iter().enumerate() {
            if let Some(name) = &row.name {
                by_spelling.entry(spelling(name)).or_insert(index);
            }
        }
        let mut renamed: Vec<(String, String, f64)> = Vec::new();
        let known = &mut self.known;
        self.new.retain(|name, now| {
            let Some(row) = by_spelling.get(&spelling(name)).map(|index| &mut known[*index]) else { return true };
            row.now += *now;
            renamed.push((row.name.clone().unwrap_or_default(), name.clone(), *now));
            false
        });
        let (count, now) = (renamed.len(), renamed.iter().map(|(_, _, share)| share).sum::<f64>());
        self.new_share = (self.new_share - now).max(0.0);
        renamed.sort_by(|a, b| b.2.total_cmp(&a.2));
        let names = renamed.into_iter().take(MAX_NAMED).map(|(from, to, _)| (from, to)).collect();
        (count > 0).then_some(CauseKind::RenamedCategories { names, count, now })
    }

    /// Takes new categories out of the window.
    fn undo_new(&mut self) -> Option<CauseKind> {
        let now = std::mem::take(&mut self.new_share);
        if now <= 0.0 || now >= 1.0 {
            self.new_share = now;
        } else {
            self.known.iter_mut().for_each(|row| row.now /= 1.0 - now);
        }
        let count = self.is_named.then_some(self.new.len());
        let names = commonest(std::mem::take(&mut self.new));
        (now > 0.0).then_some(CauseKind::NewCategories { names, count, now })
    }

    /// Takes out what one category has more of than before, when that brings the samples closer by this much.
    fn undo_fill(&mut self, closer_by: f64) -> Option<CauseKind> {
        let largest = |a: &(usize, &Row), b: &(usize, &Row)| a.1.excess().total_cmp(&b.1.excess());
        let (index, row) = self.known.iter().enumerate().filter(|(_, row)| row.name.is_some()).max_by(largest)?;
        let (excess, before, now) = (row.excess(), row.before, row.now);
        let left = 1.0 - excess;
        let without = |other: usize, row: &Row| if other == index { row.now - excess } else { row.now } / left;
        let rows = || self.known.iter().enumerate();
        let distance = rows().map(|(other, row)| (row.before - without(other, row)).abs()).sum::<f64>() / 2.0;
        if excess < MIN_FILL || left <= 0.0 || self.distance() - distance < closer_by {
            return None;
        }
        let shares: Vec<f64> = rows().map(|(other, row)| without(other, row)).collect();
        self.known.iter_mut().zip(shares).for_each(|(row, share)| row.now = share);
        let value = FillValue::Category(self.known[index].name.clone()?);
        Some(CauseKind::DefaultFill { value, before, now })
    }

    /// Takes categories that are gone out of the reference.
    fn undo_gone(&mut self) -> Option<CauseKind> {
        let size = self.sizes.1;
        let is_gone = |row: &Row| row.now <= 0.0 && row.before * size > EXPECTED_ROWS && row.name.is_some();
        let gone: BTreeMap<String, f64> = self
            .known
            .iter()
            .filter(|row| is_gone(row))
            .filter_map(|row| Some((row.name.clone()?, row.before)))
            .collect();
        let (count, before) = (gone.len(), gone.values().sum::<f64>());
        if count == 0 || before >= 1.0 {
            return None;
        }
        self.known.retain(|row| !is_gone(row));
        self.known.iter_mut().for_each(|row| row.before /= 1.0 - before);
        Some(CauseKind::GoneCategories { names: commonest(gone), count, before })
    }
}

/// The largest shares, the largest first.
fn commonest(shares: BTreeMap<String, f64>) -> Vec<(String, f64)> {
    let mut shares: Vec<(String, f64)> = shares.into_iter().collect();
    shares.sort_by(|a, b| b.1.total_cmp(&a.1));
    shares.truncate(MAX_NAMED);
    shares
}

/// A name without what is often lost or gained on the way: case, blanks, hyphens, underscores, and the `.0` of a number that
/// was read as a float.
fn spelling(name: &str) -> String {
    let name = name.trim();
    let name = name.strip_suffix(".0").unwrap_or(name);
    name.chars().filter(|c| !c.is_whitespace() && *c != '-' && *c != '_').flat_map(char::to_lowercase).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_are_the_same_for_what_is_lost_on_the_way() {
        for (a, b) in [("JFK", " jfk"), ("7", "7.0"), ("New York", "new_york"), ("part-time", "parttime")] {
            assert_eq!(spelling(a), spelling(b));
        }
        assert_ne!(spelling("70"), spelling("7.0"));
    }
}
