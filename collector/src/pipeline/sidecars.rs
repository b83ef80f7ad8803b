//! Whether each sidecar is heard while others of its model are.
//!
//! Pods come and go, and a sidecar of which nothing comes may have been taken out of service: then the others have its requests.
//! It is missed when they have not. What it saw of the model's requests until it fell silent says how many of those that came
//! since should have been its own, and how many fewer there are now; both must be more than chance makes of it. A new sidecar
//! takes the place of one that is missed.

use std::collections::BTreeMap;

use driftline_alerts::{Condition, Counts};
use rusqlite::{Connection, params};

use super::Pipeline;
use super::slis;
use crate::alerting::book::Change;
use crate::config::SIDECARS_SLI;
use crate::numbers::percent;
use crate::times::{now_micros, second};

/// A sidecar's part of the requests is known after so long.
const STEADY_MICROS: i64 = 600_000_000;
/// A shorter silence is a sender that waits to come back.
const SHORTEST_MICROS: i64 = 60_000_000;
/// Requests are compared over so long a time before and after the last word at most: over longer ones their number changes by
/// the hour of the day.
const COMPARED_MICROS: i64 = 600_000_000;
/// Whoever was silent for longer is not held against anybody any more.
const GONE_MICROS: i64 = 6 * 3_600_000_000;
/// Requests that should have been a sidecar's own before it is missed: that none was is chance in one case of a thousand.
const MISSED_REQUESTS: f64 = 7.0;
/// The fall must be so many times what chance makes of it.
const SIGNIFICANT: f64 = 3.0;
/// Sidecars that are looked at, the ones that were heard last.
const MAX_SIDECARS: usize = 2_000;
/// Sidecars that an alert names.
const MAX_NAMED: usize = 5;

/// The last boot of a sidecar.
#[derive(Debug, Clone)]
struct Sidecar {
    instance: String,
    seen: u64,
    first_at: i64,
    last_at: i64,
    /// Whether an earlier boot of it is known.
    is_again: bool,
}

impl Sidecar {
    /// How fast its requests came; none when it was not there for long enough to say.
    fn rate(&self) -> Option<f64> {
        let lived = self.last_at - self.first_at;
        (lived >= STEADY_MICROS).then(|| self.seen as f64 / lived as f64)
    }
}

/// A sidecar that is missed.
#[derive(Debug, Clone, PartialEq)]
struct Missed {
    instance: String,
    last_at: i64,
    /// Its part of the model's requests while it was heard.
    share: f64,
}

impl Pipeline {
    /// Looks for sidecars that are missed.
    pub(super) fn observe_sidecars(&mut self) {
        let now = now_micros();
        let Ok(sidecars) = self.parts.store.read_blocking(|db| heard_lately(db, now)) else { return };
        for (model, of_model) in &sidecars {
            let missed = self.parts.store.read_blocking(|db| missed(db, model, of_model, now));
            if let Ok(Some(missed)) = missed {
                let looked = Counts { good: u64::from(missed.is_empty()), valid: 1, unknown: 0 };
                self.next.slis.count(model, SIDECARS_SLI, "", now, looked);
                self.parts.metrics.sli(model, SIDECARS_SLI, "").count(looked);
            }
        }
    }

    /// Which sidecars are missed, as facts of an alert that is about that.
    pub(super) fn facts_of_sidecars(&self, change: &Change) -> Vec<(String, String)> {
        let (Condition::Sli { sli, .. }, Some(model)) = (&change.rule.condition, change.alert.labels.get("model"))
        else {
            return Vec::new();
        };
        if sli != SIDECARS_SLI {
            return Vec::new();
        }
        let now = now_micros();
        let missed = self.parts.store.read_blocking(|db| {
            let sidecars = heard_lately(db, now)?.remove(model).unwrap_or_default();
            missed(db, model, &sidecars, now)
        });
        let said = |missed: Missed| {
            let Missed { instance, last_at, share } = missed;
            format!("{instance}, heard last at {} UTC, had {} of the requests", second(last_at), percent(share))
        };
        let missed = missed.ok().flatten().unwrap_or_default();
        missed.into_iter().take(MAX_NAMED).map(|one| ("Silent sidecar".to_owned(), said(one))).collect()
    }
}

/// The sidecars of each model that were heard lately, each by its last boot.
fn heard_lately(db: &Connection, now: i64) -> rusqlite::Result<BTreeMap<String, Vec<Sidecar>>> {
    let mut statement = db.prepare_cached(
        "SELECT model, instance, seen, first_heard_at, heard_at FROM senders
         WHERE heard_at > ?1 AND first_heard_at > 0 ORDER BY heard_at DESC LIMIT ?2",
    )?;
    let boots = statement.query_map(params![now - GONE_MICROS, MAX_SIDECARS as i64], |row| {
        let sidecar = Sidecar {
            instance: row.get(1)?,
            seen: row.get::<_, i64>(2)? as u64,
            first_at: row.get(3)?,
            last_at: row.get(4)?,
            is_again: false,
        };
        Ok((row.get::<_, String>(0)?, sidecar))
    })?;
    let mut sidecars: BTreeMap<String, Vec<Sidecar>> = BTreeMap::new();
    for boot in boots {
        let (model, boot) = boot?;
        let of_model = sidecars.entry(model).or_default();
        match of_model.iter_mut().find(|sidecar| sidecar.instance == boot.instance) {
            Some(later) => later.is_again = true,
            None => of_model.push(boot),
        }
    }
    Ok(sidecars)
}

/// Sidecars of a model that are missed, the one that fell silent last first; none when there is nobody to compare them with.
fn missed(db: &Connection, model: &str, sidecars: &[Sidecar], now: i64) -> rusqlite::Result<Option<Vec<Missed>>> {
    if sidecars.len() < 2 || sidecars.iter().all(|sidecar| sidecar.rate().is_none()) {
        return Ok(None);
    }
    let mut missed = Vec::new();
    for silent in sidecars.iter().filter(|sidecar| now - sidecar.last_at >= SHORTEST_MICROS) {
        if let Some(share) = share(silent, sidecars)
            && left_a_gap(db, model, (silent.last_at, share), now)?
        {
            missed.push(Missed { instance: silent.instance.clone(), last_at: silent.last_at, share });
        }
    }
    // Those that came since have taken the places of those that have been silent for longest.
    let earliest = missed.last().map_or(now, |missed| missed.last_at);
    let newcomers = sidecars.iter().filter(|sidecar| !sidecar.is_again && sidecar.first_at > earliest).count();
    missed.truncate(missed.len().saturating_sub(newcomers));
    Ok(Some(missed))
}

/// A sidecar's part of the requests of those that were there when it was heard last; none when that is not known of all.
fn share(silent: &Sidecar, sidecars: &[Sidecar]) -> Option<f64> {
    let was_there = |other: &&Sidecar| other.first_at <= silent.last_at && other.last_at >= silent.last_at;
    let own = silent.rate()?;
    let rates = sidecars.iter().filter(was_there).map(Sidecar::rate);
    let all: f64 = rates.sum::<Option<f64>>()?;
    (own > 0.0).then(|| own / all)
}

/// Whether a sidecar's requests came no more after it had been heard last: neither by it nor by others.
fn left_a_gap(db: &Connection, model: &str, (last_at, share): (i64, f64), now: i64) -> rusqlite::Result<bool> {
    let compared = (now - last_at).min(COMPARED_MICROS);
    let requests = |from: i64| -> rusqlite::Result<f64> {
        let counted = slis::sums(db, model, "availability", from, from + compared - slis::SLICE_MICROS)?;
        Ok(counted.get("").map_or(0.0, |counts| counts.valid as f64))
    };
    let (before, after) = (requests(last_at - compared)?, requests(last_at)?);
    let fall = before - after;
    Ok(share * after >= MISSED_REQUESTS
        && fall >= share / 2.0 * before
        && fall >= SIGNIFICANT * (before + after).sqrt())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::slis::SliCounts;

    const MINUTE: i64 = 60_000_000;
    const NOW: i64 = 100_000 * MINUTE;

    /// A sidecar that was heard from so many minutes ago until so many ago, with a hundred requests in each of them.
    fn sidecar(db: &Connection, instance: &str, boot: u8, (from, until): (i64, i64)) {
        db.execute(
            "INSERT INTO senders (boot, model, instance, durable_through, missing, duplicates, seen, delivered, dropped, heard_at, first_heard_at)
             VALUES (?1, 'm', ?2, 0, 0, 0, ?3, 0, '', ?4, ?5)",
            params![[boot; 16], instance, (from - until) * 100, NOW - until * MINUTE, NOW - from * MINUTE],
        )
        .unwrap();
    }

    /// A database in which so many requests came in each minute of the hour until the last ones, and so many in each of those.
    fn database(last: i64, (before, after): (u64, u64)) -> Connection {
        let db = crate::store::in_memory().unwrap();
        let mut counts = SliCounts::default();
        for minute in 1..=60 {
            let valid = if minute <= last { after } else { before };
            counts.count("m", "availability", "", NOW - minute * MINUTE, Counts { good: 0, valid, unknown: 0 });
        }
        counts.store(&db).unwrap();
        db
    }

    fn missed_of(db: &Connection) -> Option<Vec<String>> {
        let sidecars = heard_lately(db, NOW).unwrap().remove("m").unwrap_or_default();
        let missed = missed(db, "m", &sidecars, NOW).unwrap()?;
        Some(missed.into_iter().map(|missed| missed.instance).collect())
    }

    #[test]
    fn one_whose_requests_nobody_has_is_missed_and_one_whose_others_have_is_not() {
        let silent_for = |minutes, after| {
            let db = database(minutes, (300, after));
            ["a", "b"].into_iter().zip(1..).for_each(|(instance, boot)| sidecar(&db, instance, boot, (60, 0)));
            sidecar(&db, "c", 3, (60, minutes));
            missed_of(&db).unwrap()
        };
        assert_eq!(silent_for(5, 200), ["c"]);
        assert_eq!(silent_for(20, 200), ["c"], "and it stays so");
        assert_eq!(silent_for(5, 300), [""; 0], "the others took its requests over");
        assert_eq!(silent_for(0, 200), [""; 0], "it is heard");
        assert_eq!(silent_for(5, 0), [""; 0], "nothing comes at all, of which another indicator tells");
    }

    #[test]
    fn few_requests_say_nothing() {
        let db = database(5, (3, 2));
        sidecar(&db, "a", 1, (60, 0));
        sidecar(&db, "b", 2, (60, 5));
        assert_eq!(missed_of(&db).unwrap(), [""; 0]);
    }

    #[test]
    fn one_that_came_since_takes_the_place_of_one_that_is_missed() {
        let db = database(10, (300, 100));
        sidecar(&db, "a", 1, (60, 0));
        sidecar(&db, "b", 2, (60, 10));
        sidecar(&db, "c", 3, (60, 9));
        assert_eq!(missed_of(&db).unwrap(), ["c", "b"]);
        sidecar(&db, "d", 4, (3, 0));
        assert_eq!(missed_of(&db).unwrap(), ["c"]);
        sidecar(&db, "c", 5, (1, 0));
        assert_eq!(missed_of(&db).unwrap(), [""; 0], "a new boot of itself is itself, and is heard");
    }

    #[test]
    fn nothing_is_said_of_one_alone_or_of_those_that_have_just_come() {
        let db = database(5, (300, 100));
        assert_eq!(missed_of(&db), None);
        sidecar(&db, "a", 1, (60, 5));
        assert_eq!(missed_of(&db), None, "of all of them another indicator tells");
        let db = database(5, (300, 100));
        sidecar(&db, "a", 1, (8, 0));
        sidecar(&db, "b", 2, (8, 5));
        assert_eq!(missed_of(&db), None);
    }
}
