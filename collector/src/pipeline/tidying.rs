//! Forgetting what was kept long enough.
//!
//! Everything here runs on the thread that makes batches durable, so it goes by keys and indexes, and a bounded number of
//! rows at a time; what is left is for the next round.

use rusqlite::{Connection, params};

use super::slis::{KEEP_HOURS_MICROS, KEEP_SLICES_MICROS};
use crate::archive;
use crate::segments::stored::WINDOW_TABLES;
use crate::store::journal;

const DAY_MICROS: i64 = 86_400_000_000;
/// Windows and scores, alerts and outcomes are kept for so long: a year and a month.
const KEEP_LONG_MICROS: i64 = 400 * DAY_MICROS;
/// Keys of requests that brought rows are kept for a week.
const KEEP_KEYS_MICROS: i64 = 7 * DAY_MICROS;
/// Boots of sidecars, and cuts whose files are there: long enough to look into what went wrong. A sidecar that was not
/// heard of for a month will not send again what it sent then.
const KEEP_MONTH_MICROS: i64 = 31 * DAY_MICROS;
/// Rows that are forgotten of one table at a time.
const ROUND: i64 = 2000;

/// Forgets batches that were both counted and archived.
pub(super) fn forget_journal(db: &Connection, counted_through: i64) -> rusqlite::Result<()> {
    let through = archive::archived_through(db)?.min(counted_through);
    journal::forget_through(db, through)?;
    Ok(())
}

/// Forgets what is older than it is kept. True when there is more.
pub(crate) fn tidy(db: &Connection, now: i64) -> rusqlite::Result<bool> {
    let mut has_more = windows(db, now - KEEP_LONG_MICROS)?;
    for (table, key, condition, keep) in [
        ("sli_counts", "model, sli, label, slice", "slice < ?1", KEEP_SLICES_MICROS),
        ("sli_hours", "model, sli, label, hour", "hour < ?1", KEEP_HOURS_MICROS),
        ("latencies", "model, slice", "slice < ?1", KEEP_SLICES_MICROS),
        ("senders", "boot", "heard_at < ?1", KEEP_MONTH_MICROS),
        ("rows_received", "key", "received_at < ?1", KEEP_KEYS_MICROS),
        ("outcomes", "model, row_id", "received_at < ?1", KEEP_LONG_MICROS),
        ("silences", "id", "ends_at < ?1", KEEP_LONG_MICROS),
        ("maintenance", "id", "ends_at < ?1", KEEP_LONG_MICROS),
        // Of columns that nobody watches any more.
        ("watermarks", "model, column_name", "moved_at < ?1", KEEP_LONG_MICROS),
        ("changes", "id", "at < ?1", KEEP_LONG_MICROS),
        (
            "reactions",
            "id",
            "created_at < ?1 AND NOT EXISTS (SELECT 1 FROM episodes WHERE id = reactions.episode)",
            KEEP_LONG_MICROS,
        ),
        // The newest cut says how far the archive came.
        ("cuts", "last", "done_at < ?1 AND last < (SELECT max(last) FROM cuts)", KEEP_MONTH_MICROS),
        // What was said of an episode is kept for as long as the episode: its resolve goes by it.
        (
            "outbox",
            "id",
            "episode IN (SELECT id FROM episodes WHERE resolved_at < ?1 ORDER BY resolved_at LIMIT ?2)
             AND state != 'pending'",
            KEEP_LONG_MICROS,
        ),
        // Changes that somebody was told of belong to no episode.
        ("outbox", "id", "settled_at < ?1 AND episode = ''", KEEP_LONG_MICROS),
        (
            "episodes",
            "id",
            "resolved_at < ?1 AND NOT EXISTS (SELECT 1 FROM outbox WHERE episode = episodes.id)",
            KEEP_LONG_MICROS,
        ),
        ("ticks", "id", "at < ?1 AND NOT EXISTS (SELECT 1 FROM episodes WHERE id = ticks.episode)", KEEP_LONG_MICROS),
        // An episode without its drill would be taken for a real one.
        (
            "drills",
            "episode",
            "finished_at < ?1 AND NOT EXISTS (SELECT 1 FROM episodes WHERE id = drills.episode)",
            KEEP_LONG_MICROS,
        ),
    ] {
        let forgotten = db
            .prepare_cached(&format!(
                "DELETE FROM {table} WHERE ({key}) IN (SELECT {key} FROM {table} WHERE {condition} LIMIT ?2)"
            ))?
            .execute(params![now - keep, ROUND])?;
        has_more |= forgotten as i64 >= ROUND;
    }
    db.prepare_cached("DELETE FROM versions WHERE until_position <= ?1")?.execute([archive::archived_through(db)?])?;
    Ok(has_more)
}

/// Forgets windows that closed before a time, with their scores.
fn windows(db: &Connection, before: i64) -> rusqlite::Result<bool> {
    let windows: Vec<(String, String, i64)> = db
        .prepare_cached("SELECT model, version, ends FROM windows WHERE closed_at < ?1 ORDER BY closed_at LIMIT ?2")?
        // A window has scores of every column.
        .query_map(params![before, ROUND / 20], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?
        .collect::<rusqlite::Result<_>>()?;
    for (model, version, ends) in &windows {
        let tables = ["scores", "histograms", "causes", "comparisons", "earlier_windows", "counted_slices", "windows"];
        for table in tables.into_iter().chain(WINDOW_TABLES) {
            db.prepare_cached(&format!("DELETE FROM {table} WHERE model = ?1 AND version = ?2 AND ends = ?3"))?
                .execute(params![model, version, ends])?;
        }
    }
    Ok(windows.len() as i64 >= ROUND / 20)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn database() -> Connection {
        crate::store::in_memory().unwrap()
    }

    fn count(db: &Connection, table: &str) -> i64 {
        db.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0)).unwrap()
    }

    #[test]
    fn what_is_old_goes_and_what_is_needed_stays() {
        let db = database();
        let now = 1000 * DAY_MICROS;
        let (old, new) = (now - 401 * DAY_MICROS, now - DAY_MICROS);
        for (id, at) in [("old", old), ("new", new)] {
            db.execute_batch(&format!(
                "INSERT INTO windows VALUES ('m', '1', {at}, 0, 1, 1, 1, '', {at});
                 INSERT INTO scores VALUES ('m', '1', {at}, 'c', 'psi', 0, 0, 0, 0, 0, 0, 1, 1, 1, 0, NULL, NULL, 0.2, 'ok');
                 INSERT INTO histograms VALUES ('m', '1', {at}, 'c', '[]');
                 INSERT INTO causes VALUES ('m', '1', {at}, 'c', '[]');
                 INSERT INTO comparisons VALUES ('m', '1', {at}, 'c', 'recent', '{{}}');
                 INSERT INTO earlier_windows VALUES ('m', '1', {at}, '', x'');
                 INSERT INTO counted_slices VALUES ('m', '1', {at}, 's', {at}, 1, 1, 0);
                 INSERT INTO watermarks VALUES ('m', '{id}', {at}, {at});
                 INSERT INTO sli_counts VALUES ('m', 'latency', '', {at}, 1, 1, 0);
                 INSERT INTO sli_hours VALUES ('m', 'latency', '', {at}, 1, 1, 0);
                 INSERT INTO latencies VALUES ('m', {at}, x'');
                 INSERT INTO outcomes VALUES ('m', '{id}', '1', NULL, {at});
                 INSERT INTO cuts (first, last, partition, place, made_at, done_at) VALUES ({at}, {at}, 'hour', '', {at}, {at});
                 INSERT INTO episodes (id, fingerprint, rule, severity, runbook, started_at, resolved_at, notification)
                    VALUES ('{id}', 'f', 'R', 'page', 'r', {at}, {at}, '{{}}');
                 INSERT INTO changes (at, model, kind, text) VALUES ({at}, 'm', 'version', 'v');
                 INSERT INTO ticks (episode, step, text, is_done, author, note, at) VALUES ('{id}', 's', 't', 1, 'a', '', {at});
                 INSERT INTO drills VALUES ('{id}', 'R', 'r', 'a', {at}, {at}, {at}, 'passed');
                 INSERT INTO outbox (episode, target, action, notification, created_at, next_attempt_at, state, settled_at)
                    VALUES ('{id}', 't', 'trigger', '{{}}', {at}, {at}, 'delivered', {at}),
                           ('', 't', 'change', '{{}}', {at}, {at}, 'delivered', {at});"
            ))
            .unwrap();
        }
        // One that began long ago and goes on, and one whose end is still to be told.
        db.execute_batch(&format!(
            "INSERT INTO episodes (id, fingerprint, rule, severity, runbook, started_at, resolved_at, notification)
                VALUES ('open', 'f', 'R', 'page', 'r', {old}, NULL, '{{}}'),
                       ('untold', 'f', 'R', 'page', 'r', {old}, {old}, '{{}}');
             INSERT INTO outbox (episode, target, action, notification, created_at, next_attempt_at, state, settled_at)
                VALUES ('open', 't', 'trigger', '{{}}', {old}, {old}, 'delivered', {old});
             INSERT INTO outbox (episode, target, action, notification, created_at, next_attempt_at)
                VALUES ('untold', 't', 'resolve', '{{}}', {old}, {old});"
        ))
        .unwrap();
        assert!(!tidy(&db, now).unwrap());
        for table in ["windows", "scores", "histograms", "causes", "comparisons", "earlier_windows", "counted_slices"] {
            assert_eq!(count(&db, table), 1, "{table}");
        }
        for table in
            ["sli_counts", "sli_hours", "latencies", "outcomes", "cuts", "drills", "changes", "ticks", "watermarks"]
        {
            assert_eq!(count(&db, table), 1, "{table}");
        }
        assert_eq!((count(&db, "episodes"), count(&db, "outbox")), (3, 4));
        // The last cut stays, however old it is.
        tidy(&db, now + 1000 * DAY_MICROS).unwrap();
        assert_eq!(count(&db, "cuts"), 1);
    }

    #[test]
    fn much_is_forgotten_in_rounds() {
        let db = database();
        for row in 0..ROUND + 1 {
            db.execute("INSERT INTO outcomes VALUES ('m', ?1, '1', NULL, 0)", [row.to_string()]).unwrap();
        }
        assert!(tidy(&db, KEEP_LONG_MICROS + 1).unwrap());
        assert_eq!(count(&db, "outcomes"), 1);
        assert!(!tidy(&db, KEEP_LONG_MICROS + 1).unwrap());
        assert_eq!(count(&db, "outcomes"), 0);
    }
}
