//! Dead letters: notifications that were given up, and what becomes of them; and targets that do not get what is theirs.
//!
//! A dead letter stays until somebody sends it again or dismisses it, or its episode is forgotten.

use std::collections::BTreeMap;
use std::time::Duration;

use driftline_alerts::{Action, ChangeEvent};
use rusqlite::{Connection, OptionalExtension, Row, params};

use crate::numbers::thousands;

/// What could not be delivered for so long is worth an alert at the others.
const LATE: Duration = Duration::from_secs(2 * 60);
/// For so long a dead letter counts against its target, though nobody has to act on it any more.
const RECENT: Duration = Duration::from_secs(10 * 60);

/// A notification to one target, as it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StoredDelivery {
    pub(crate) id: i64,
    pub(crate) episode: String,
    pub(crate) target: String,
    pub(crate) action: String,
    pub(crate) state: String,
    pub(crate) attempts: u32,
    pub(crate) created_at: i64,
    pub(crate) settled_at: Option<i64>,
    /// When it is tried next, unless it is settled.
    pub(crate) next_attempt_at: Option<i64>,
    pub(crate) last_error: Option<String>,
    /// What it says, in a line.
    pub(crate) summary: String,
}

impl StoredDelivery {
    const COLUMNS: &str = "id, episode, target, action, state, attempts, created_at, settled_at,
         iif(state = 'pending', next_attempt_at, NULL), last_error,
         iif(json_valid(notification), notification ->> '$.summary', '') AS summary";

    fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            id: row.get(0)?,
            episode: row.get(1)?,
            target: row.get(2)?,
            action: row.get(3)?,
            state: row.get(4)?,
            attempts: row.get(5)?,
            created_at: row.get(6)?,
            settled_at: row.get(7)?,
            next_attempt_at: row.get(8)?,
            last_error: row.get(9)?,
            summary: row.get::<_, Option<String>>(10)?.unwrap_or_default(),
        })
    }

    /// Which it is, in words.
    pub(crate) fn name(&self) -> String {
        let Self { id, episode, target, action, .. } = self;
        if episode.is_empty() {
            return format!("the {action} {id} to {target}");
        }
        format!("the {action} of {episode} to {target}")
    }
}

/// Those of an episode, in the order in which they were to be said.
pub(crate) fn of_episode(db: &Connection, episode: &str) -> rusqlite::Result<Vec<StoredDelivery>> {
    db.prepare_cached(&format!("SELECT {} FROM outbox WHERE episode = ?1 ORDER BY id", StoredDelivery::COLUMNS))?
        .query_map([episode], StoredDelivery::read)?
        .collect()
}

/// Those in a state, and to a target if one is named; the newest first.
pub(crate) fn list(
    db: &Connection,
    state: &str,
    target: Option<&str>,
    limit: u32,
) -> rusqlite::Result<Vec<StoredDelivery>> {
    db.prepare_cached(&format!(
        "SELECT {} FROM outbox WHERE state = ?1 AND (?2 IS NULL OR target = ?2) ORDER BY id DESC LIMIT ?3",
        StoredDelivery::COLUMNS
    ))?
    .query_map(params![state, target, limit], StoredDelivery::read)?
    .collect()
}

/// One of them.
pub(crate) fn one(db: &Connection, id: i64) -> rusqlite::Result<Option<StoredDelivery>> {
    db.prepare_cached(&format!("SELECT {} FROM outbox WHERE id = ?1", StoredDelivery::COLUMNS))?
        .query_row([id], StoredDelivery::read)
        .optional()
}

/// What became of a wish about a dead letter.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Done(StoredDelivery),
    NoSuchDelivery,
    /// It is not given up: there is nothing to decide.
    NotDead(StoredDelivery),
    /// The alert is over: its beginning, and what came between, need not be said any more.
    Over,
}

/// Has a dead letter tried again from now on, as often as a new one.
pub(crate) fn send_again(db: &Connection, id: i64, now: i64) -> rusqlite::Result<Outcome> {
    let found = match dead(db, id)? {
        Ok(found) => found,
        Err(outcome) => return Ok(outcome),
    };
    let is_open: bool = db
        .prepare_cached("SELECT EXISTS (SELECT 1 FROM episodes WHERE id = ?1 AND resolved_at IS NULL)")?
        .query_row([&found.episode], |row| row.get(0))?;
    if !is_open && ![Action::Resolve.name(), ChangeEvent::ACTION].contains(&found.action.as_str()) {
        return Ok(Outcome::Over);
    }
    db.prepare_cached(
        "UPDATE outbox SET state = 'pending', attempts = 0, created_at = ?2, next_attempt_at = ?2, settled_at = NULL
         WHERE id = ?1",
    )?
    .execute([id, now])?;
    Ok(one(db, id)?.map_or(Outcome::NoSuchDelivery, Outcome::Done))
}

/// Says that nothing is to be done about a dead letter.
pub(crate) fn dismiss(db: &Connection, id: i64, now: i64) -> rusqlite::Result<Outcome> {
    if let Err(outcome) = dead(db, id)? {
        return Ok(outcome);
    }
    db.prepare_cached("UPDATE outbox SET state = 'cancelled', settled_at = ?2 WHERE id = ?1")?.execute([id, now])?;
    Ok(one(db, id)?.map_or(Outcome::NoSuchDelivery, Outcome::Done))
}

fn dead(db: &Connection, id: i64) -> rusqlite::Result<Result<StoredDelivery, Outcome>> {
    Ok(match one(db, id)? {
        None => Err(Outcome::NoSuchDelivery),
        Some(found) if found.state != "given_up" => Err(Outcome::NotDead(found)),
        Some(found) => Ok(found),
    })
}

/// Why a target does not get what is its own.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Trouble {
    /// Dead letters that somebody has to see to, and those that were given up a moment ago.
    pub(crate) given_up: u64,
    /// Notifications that reached some of those behind the target, and not all, a moment ago.
    pub(crate) partly: u64,
    /// Notifications that were tried, and wait for too long.
    pub(crate) late: u64,
    /// What became of the last attempt at one of them.
    pub(crate) last_error: String,
}

impl Trouble {
    /// As facts of an alert.
    pub(crate) fn facts(self) -> Vec<(String, String)> {
        let Self { given_up, partly, late, last_error } = self;
        let minutes = LATE.as_secs() / 60;
        [
            (given_up > 0).then(|| ("Given up", format!("{} notifications", thousands(given_up)))),
            (partly > 0).then(|| ("Not to all", format!("{} notifications", thousands(partly)))),
            (late > 0).then(|| ("Waiting", format!("{} for more than {minutes} minutes", thousands(late)))),
            Some(("Last error", last_error)),
        ]
        .into_iter()
        .flatten()
        .map(|(name, words)| (name.to_owned(), words))
        .collect()
    }
}

/// The targets that do not get what is theirs. What is muted is not late. A dead letter of an episode that is over matters to
/// nobody after a while, but the end that its target was not told: there it looks as if it went on. That one of several behind a
/// target is not reached is told for a while after each time.
pub(crate) fn troubles(db: &Connection, now: i64) -> rusqlite::Result<BTreeMap<String, Trouble>> {
    let before = |length: Duration| now - length.as_micros() as i64;
    // SQLite takes what stands beside max() from the row that has it.
    db.prepare_cached(
        "SELECT target, sum(state = 'given_up'), sum(state = 'delivered'), sum(state = 'pending'), last_error, max(id)
         FROM outbox AS entry
         WHERE last_error IS NOT NULL
           AND (state = 'given_up'
                  AND (settled_at >= ?1 OR action = ?3
                       OR EXISTS (SELECT 1 FROM episodes WHERE id = entry.episode AND resolved_at IS NULL))
                OR state = 'delivered' AND settled_at >= ?1
                OR state = 'pending' AND created_at <= ?2
                  AND (action = ?3 OR NOT EXISTS (SELECT 1 FROM episodes
                                                  WHERE id = entry.episode AND muted_by IS NOT NULL)))
         GROUP BY target",
    )?
    .query_map(params![before(RECENT), before(LATE), Action::Resolve.name()], |row| {
        let [given_up, partly, late] = [row.get(1)?, row.get(2)?, row.get(3)?];
        let trouble = Trouble { given_up, partly, late, last_error: row.get(4)? };
        Ok((row.get(0)?, trouble))
    })?
    .collect()
}

/// How many dead letters there are of each target.
pub(crate) fn count(db: &Connection) -> rusqlite::Result<BTreeMap<String, u64>> {
    db.prepare_cached("SELECT target, count(*) FROM outbox WHERE state = 'given_up' GROUP BY target")?
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: i64 = 60_000_000;

    /// An open episode `o`, one `r` that is over, and one `m` that is muted.
    fn database() -> Connection {
        let db = crate::store::in_memory().unwrap();
        for (id, resolved_at, muted_by) in [("o", None, None), ("r", Some(1), None), ("m", None, Some("[]"))] {
            db.execute(
                "INSERT INTO episodes (id, fingerprint, rule, severity, runbook, started_at, notification, resolved_at, muted_by)
                 VALUES (?1, ?1, 'R', 'page', 'r', 0, '', ?2, ?3)",
                params![id, resolved_at, muted_by],
            )
            .unwrap();
        }
        db
    }

    /// What failed at time 0.
    fn failed(db: &Connection, episode: &str, target: &str, action: Action, state: &str) -> i64 {
        db.execute(
            "INSERT INTO outbox (episode, target, action, notification, created_at, next_attempt_at, state, settled_at, attempts, last_error)
             VALUES (?1, ?2, ?3, '', 0, 0, ?4, iif(?4 = 'pending', NULL, 0), 4, ?1)",
            params![episode, target, action.name(), state],
        )
        .unwrap();
        db.last_insert_rowid()
    }

    #[test]
    fn a_target_is_in_trouble_by_what_somebody_has_to_see_to() {
        let db = database();
        failed(&db, "o", "late", Action::Trigger, "pending");
        let works = failed(&db, "o", "works", Action::Trigger, "delivered");
        db.execute("UPDATE outbox SET last_error = NULL, settled_at = 0 WHERE id = ?1", [works]).unwrap();
        failed(&db, "o", "not-all", Action::Trigger, "delivered");
        failed(&db, "m", "muted", Action::Trigger, "pending");
        failed(&db, "r", "over", Action::Trigger, "given_up");
        failed(&db, "r", "goes-on", Action::Resolve, "given_up");
        failed(&db, "o", "open", Action::Trigger, "given_up");
        let at = |now| troubles(&db, now).unwrap().into_keys().collect::<Vec<_>>();
        assert_eq!(at(0), ["goes-on", "not-all", "open", "over"]);
        assert_eq!(at(3 * MINUTE), ["goes-on", "late", "not-all", "open", "over"]);
        assert_eq!(at(99 * MINUTE), ["goes-on", "late", "open"]);
        failed(&db, "r", "open", Action::Resolve, "given_up");
        let trouble = troubles(&db, 99 * MINUTE).unwrap().remove("open").unwrap();
        let words = Trouble { given_up: 2, last_error: "r".to_owned(), ..Trouble::default() };
        assert_eq!(trouble, words, "the last one's words");
        assert_eq!(count(&db).unwrap()["open"], 2);
    }

    #[test]
    fn a_dead_letter_is_sent_again_as_a_new_one_unless_it_is_over() {
        let db = database();
        let [open, over, end] = [("o", Action::Trigger), ("r", Action::Trigger), ("r", Action::Resolve)]
            .map(|(episode, action)| failed(&db, episode, "a", action, "given_up"));
        let Outcome::Done(sent) = send_again(&db, open, 7).unwrap() else { panic!() };
        assert_eq!((sent.state.as_str(), sent.attempts, sent.created_at, sent.settled_at), ("pending", 0, 7, None));
        assert!(matches!(send_again(&db, open, 8).unwrap(), Outcome::NotDead(_)), "once");
        assert_eq!(send_again(&db, over, 8).unwrap(), Outcome::Over);
        assert!(matches!(send_again(&db, end, 8).unwrap(), Outcome::Done(_)));
        db.execute("UPDATE outbox SET episode = '', action = 'change' WHERE id = ?1", [over]).unwrap();
        assert!(matches!(send_again(&db, over, 8).unwrap(), Outcome::Done(_)), "a change is never over");
        assert_eq!(send_again(&db, 99, 8).unwrap(), Outcome::NoSuchDelivery);
    }

    #[test]
    fn what_is_dismissed_troubles_nobody() {
        let db = database();
        let id = failed(&db, "r", "a", Action::Resolve, "given_up");
        assert!(matches!(dismiss(&db, id, 9).unwrap(), Outcome::Done(letter) if letter.state == "cancelled"));
        assert!(troubles(&db, 9).unwrap().is_empty() && list(&db, "given_up", None, 9).unwrap().is_empty());
        assert!(matches!(dismiss(&db, id, 9).unwrap(), Outcome::NotDead(_)));
    }
}
