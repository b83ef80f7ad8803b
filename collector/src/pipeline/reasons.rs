//! Of what kind it is that an indicator counts as bad: the first that its alert's reader asks.
//!
//! An indicator says how many exchanges were lost, gave no rows, or had rows of another form. Sidecars' accounts say for what
//! reason they dropped, and the other reasons are noted here as they come, in memory: an alert wants those of now.

use std::collections::BTreeMap;

use driftline_alerts::Condition;
use rusqlite::{Connection, params};

use super::Pipeline;
use super::schema::Misfit;
use crate::alerting::book::Change;
use crate::config::{DECODED_SLI, HEARD_SLI, SCHEMA_SLI};
use crate::numbers::{and_more, thousands};
use crate::store::journal::{SAMPLED, dropped_counts};
use crate::times::{now_micros, second};

/// Reasons of the last so long and of the time as long before it are told.
const SPAN_MICROS: i64 = 900_000_000;
/// Different ones that are noted in a span. Further ones are not: columns are the only ones of which there may be so many.
const MAX_NOTED: usize = 64;
/// Reasons that an alert names.
const MAX_NAMED: usize = 5;
/// Sidecars that were heard in so long a time are asked for what they dropped.
const HEARD_MICROS: i64 = 3_600_000_000;

/// What was noted of a model lately.
#[derive(Debug, Default)]
pub(super) struct Reasons {
    /// Why exchanges gave no rows.
    pub(super) unread: Recent<&'static str>,
    /// Which columns did not have the form that the reference knows.
    pub(super) misfits: Recent<(String, Misfit)>,
}

/// How often each of a few things came lately.
#[derive(Debug)]
pub(super) struct Recent<K> {
    /// When the present span began.
    began: i64,
    present: BTreeMap<K, u64>,
    before: BTreeMap<K, u64>,
}

impl<K> Default for Recent<K> {
    fn default() -> Self {
        Self { began: 0, present: BTreeMap::new(), before: BTreeMap::new() }
    }
}

impl<K: Ord + Clone> Recent<K> {
    pub(super) fn note(&mut self, what: K, count: u64, at: i64) {
        self.turn(at);
        if self.present.len() < MAX_NOTED || self.present.contains_key(&what) {
            add(&mut self.present, what, count);
        }
    }

    fn turn(&mut self, at: i64) {
        let passed = at.saturating_sub(self.began);
        if passed >= SPAN_MICROS {
            let last = std::mem::take(&mut self.present);
            self.before = if passed < 2 * SPAN_MICROS { last } else { BTreeMap::new() };
            self.began = at;
        }
    }

    /// What came lately, most often first.
    fn most(&mut self, at: i64) -> Vec<(K, u64)> {
        self.turn(at);
        let mut sums = self.before.clone();
        self.present.iter().for_each(|(what, count)| add(&mut sums, what.clone(), *count));
        most_first(sums)
    }
}

impl Pipeline {
    /// The kinds of what an alert on an indicator counts, as facts.
    pub(super) fn facts_of_reasons(&mut self, change: &Change) -> Vec<(String, String)> {
        let (Condition::Sli { sli, .. } | Condition::Budget { sli, .. }) = &change.rule.condition else {
            return Vec::new();
        };
        let name = change.alert.labels.get("model").map_or("", String::as_str);
        let Some(model) = self.models.get_mut(name) else { return Vec::new() };
        let now = now_micros();
        let (fact, said) = match sli.as_str() {
            "capture" => {
                let dropped = self.parts.store.read_blocking(|db| dropped(db, name, now - HEARD_MICROS));
                ("Dropped", dropped.ok().flatten())
            }
            HEARD_SLI => ("Last heard", (model.heard_at > 0).then(|| format!("{} UTC", second(model.heard_at)))),
            DECODED_SLI => ("Not read", lately(model.reasons.unread.most(now), |reason| (*reason).to_owned())),
            SCHEMA_SLI => {
                let column = |(column, misfit): &(String, Misfit)| format!("{column} {}", misfit.in_words());
                ("Misfits", lately(model.reasons.misfits.most(now), column))
            }
            _ => return Vec::new(),
        };
        said.map(|said| (fact.to_owned(), said)).into_iter().collect()
    }
}

/// Reasons with how often they came.
fn lately<K>(most: Vec<(K, u64)>, name: impl Fn(&K) -> String) -> Option<String> {
    Some(format!("{} (of the last half hour)", listed(&most, name)?))
}

fn listed<K>(most: &[(K, u64)], name: impl Fn(&K) -> String) -> Option<String> {
    let said = |(what, count): &(K, u64)| format!("{} {}", name(what), thousands(*count));
    let named: Vec<String> = most.iter().take(MAX_NAMED).map(said).collect();
    let more = most.len() - named.len();
    let more = and_more(more);
    (!named.is_empty()).then(|| format!("{}{more}", named.join(", ")))
}

/// Adds to a sum. What senders count is theirs, and may be anything.
fn add<K: Ord>(sums: &mut BTreeMap<K, u64>, what: K, count: u64) {
    let sum = sums.entry(what).or_default();
    *sum = sum.saturating_add(count);
}

fn most_first<K: Ord>(counts: BTreeMap<K, u64>) -> Vec<(K, u64)> {
    let mut counts: Vec<(K, u64)> = counts.into_iter().collect();
    // Stable, so that equals stay in the order of their names.
    counts.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    counts
}

/// For what reasons a model's sidecars dropped exchanges that were heard lately, and which of them dropped most; none where
/// none did.
fn dropped(db: &Connection, model: &str, since: i64) -> rusqlite::Result<Option<String>> {
    let (mut reasons, mut instances) = (BTreeMap::new(), BTreeMap::new());
    let mut senders = db.prepare_cached("SELECT instance, dropped FROM senders WHERE model = ?1 AND heard_at > ?2")?;
    let mut rows = senders.query(params![model, since])?;
    while let Some(row) = rows.next()? {
        let (instance, dropped): (String, String) = (row.get(0)?, row.get(1)?);
        for (reason, count) in dropped_counts(&dropped).filter(|(reason, count)| *reason != SAMPLED && *count > 0) {
            add(&mut reasons, reason.to_owned(), count);
            add(&mut instances, instance.clone(), count);
        }
    }
    let instances = most_first(instances);
    let by = match instances.as_slice() {
        [] => return Ok(None),
        [(one, _)] => format!("by {one} since its start"),
        [(most, count), ..] => {
            let sidecars = thousands(instances.len() as u64);
            format!("by {sidecars} sidecars since their starts, most by {most} ({})", thousands(*count))
        }
    };
    Ok(listed(&most_first(reasons), String::clone).map(|reasons| format!("{reasons}; {by}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_came_in_the_last_two_spans_is_known_and_nothing_older() {
        const T: i64 = 100 * SPAN_MICROS;
        let mut recent = Recent::default();
        recent.note("a", 2, T);
        recent.note("b", 3, T + SPAN_MICROS - 1);
        assert_eq!(recent.most(T + SPAN_MICROS - 1), [("b", 3), ("a", 2)]);
        recent.note("a", 9, T + SPAN_MICROS);
        assert_eq!(recent.most(T + SPAN_MICROS), [("a", 11), ("b", 3)]);
        assert_eq!(recent.most(T + 2 * SPAN_MICROS), [("a", 9)]);
        assert_eq!(recent.most(T + 9 * SPAN_MICROS), []);
        (0..100).for_each(|key| recent.note(["x", "y"][key % 2], 1, T + 10 * SPAN_MICROS));
        assert_eq!(recent.most(T + 10 * SPAN_MICROS), [("x", 50), ("y", 50)]);
        let mut columns = Recent::default();
        (0..2 * MAX_NOTED).for_each(|column| columns.note(column, 1, 5));
        columns.note(0, 1, 5);
        assert_eq!((columns.most(5).len(), columns.most(5)[0]), (MAX_NOTED, (0, 2)));
    }

    #[test]
    fn reasons_are_named_most_often_first_and_so_many_of_them() {
        let most = vec![("shape", 12_000), ("malformed", 3)];
        let name = |reason: &&str| (*reason).to_owned();
        assert_eq!(lately(most, name).unwrap(), "shape 12\u{202f}000, malformed 3 (of the last half hour)");
        assert_eq!(lately(Vec::new(), name), None);
        let seven: Vec<(&str, u64)> = ["a", "b", "c", "d", "e", "f", "g"].into_iter().zip(1..).collect();
        assert_eq!(listed(&seven, name).unwrap(), "a 1, b 2, c 3, d 4, e 5 and 2 more");
    }

    #[test]
    fn what_sidecars_dropped_is_told_by_reason_and_the_one_that_dropped_most() {
        let db = crate::store::in_memory().unwrap();
        let sender = |boot: u8, model: &str, instance: &str, dropped: &str, heard_at: i64| {
            db.execute(
                "INSERT INTO senders (boot, model, instance, durable_through, missing, duplicates, seen, delivered, dropped, heard_at)
                 VALUES (?1, ?2, ?3, 0, 0, 0, 0, 0, ?4, ?5)",
                params![[boot; 16], model, instance, dropped, heard_at],
            )
            .unwrap();
        };
        sender(1, "m", "a", "sampled=900\nbudget=0\n", 20);
        assert_eq!(dropped(&db, "m", 10).unwrap(), None);
        sender(2, "m", "b", "budget=7\nqueue_full=2\nsampled=90\n", 20);
        assert_eq!(dropped(&db, "m", 10).unwrap().unwrap(), "budget 7, queue_full 2; by b since its start");
        sender(3, "m", "c", "queue_full=8\n", 20);
        sender(4, "m", "gone", "budget=500\n", 10);
        sender(5, "other", "d", "budget=500\n", 20);
        let two = "queue_full 10, budget 7; by 2 sidecars since their starts, most by b (9)";
        assert_eq!(dropped(&db, "m", 10).unwrap().unwrap(), two);
    }
}
