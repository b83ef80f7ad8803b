//! The list of the files that are in the archive. It is kept for as long as they are, and all that is told of them, by
//! manifests and Delta logs, is made from it.

use rusqlite::{Connection, params};

use super::columns::Columns;
use super::cuts::Address;
use super::file::Identity;
use crate::numbers::thousands;
use crate::pipeline::events::{self, Event, EventKind};

const DAY_MICROS: i64 = 86_400_000_000;

/// A file of the archive, as it is listed.
#[derive(Debug, Clone)]
pub(crate) struct ArchivedFile {
    pub(crate) path: String,
    pub(crate) model: String,
    pub(crate) version: String,
    /// When its partition begins and ends, in microseconds since the Unix epoch.
    pub(crate) partition: (i64, i64),
    pub(crate) rows: u64,
    pub(crate) bytes: u64,
    pub(crate) events: (i64, i64),
    pub(crate) columns: Columns,
}

/// A file that is too old.
#[derive(Debug)]
pub(super) struct ExpiredFile {
    pub(super) path: String,
    pub(super) cut: (i64, i64),
    pub(super) bytes: u64,
}

/// The number of a place, by which its files are found.
pub(super) fn place_number(db: &Connection, place: &Address) -> rusqlite::Result<i64> {
    let address = place.stored()?;
    db.prepare_cached("INSERT OR IGNORE INTO archive_places (address) VALUES (?1)")?.execute([&address])?;
    db.prepare_cached("SELECT id FROM archive_places WHERE address = ?1")?.query_row([&address], |row| row.get(0))
}

/// Lists the files of a cut. `identity` is the cut's; each file has its own rows.
pub(super) fn list(
    db: &Connection,
    place: &Address,
    identity: &Identity,
    files: &[ArchivedFile],
    now: i64,
) -> rusqlite::Result<()> {
    let place = place_number(db, place)?;
    for file in files {
        let fingerprint = file.columns.fingerprint();
        db.prepare_cached("INSERT OR IGNORE INTO archive_schemas (fingerprint, columns) VALUES (?1, ?2)")?
            .execute(params![fingerprint, file.columns.stored()])?;
        let day = file.partition.0.div_euclid(DAY_MICROS) * DAY_MICROS;
        db.prepare_cached(
            "INSERT OR REPLACE INTO archive_files
                (path, place, first, cut, run, model, version, day, rows, bytes, first_event, last_event, schema, made_at,
                 ages_from)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15)",
        )?
        .execute(params![
            file.path,
            place,
            identity.cut.0,
            identity.cut.1,
            identity.owner.run,
            file.model,
            file.version,
            day,
            file.rows as i64,
            file.bytes as i64,
            file.events.0,
            file.events.1,
            fingerprint,
            now,
            file.partition.1.max(now),
        ])?;
        day_changed(db, place, &file.model, day)?;
        let text = format!("{} rows in {}", thousands(file.rows), file.path);
        events::store(db, &[Event { kind: EventKind::Archived, model: file.model.clone(), text }], now)?;
    }
    Ok(())
}

/// Notes that the manifest of a model's day is to be written again.
fn day_changed(db: &Connection, place: i64, model: &str, day: i64) -> rusqlite::Result<()> {
    db.prepare_cached(
        "INSERT INTO archive_days (place, model, day, files, rows, bytes, is_due) VALUES (?1, ?2, ?3, 0, 0, 0, 1)
         ON CONFLICT DO UPDATE SET is_due = 1",
    )?
    .execute(params![place, model, day])?;
    Ok(())
}

/// Takes up to so many files off the list whose age counts from before a time. They are still there, until what tells of
/// them has been written again. Says how many.
pub(super) fn expire(db: &Connection, place: i64, before: i64, limit: i64) -> rusqlite::Result<usize> {
    let expired: Vec<(String, String, i64)> = db
        .prepare_cached(
            "SELECT path, model, day FROM archive_files
             WHERE place = ?1 AND is_expired = 0 AND ages_from < ?2 ORDER BY ages_from LIMIT ?3",
        )?
        .query_map(params![place, before, limit], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?
        .collect::<rusqlite::Result<_>>()?;
    for (path, model, day) in &expired {
        db.prepare_cached("UPDATE archive_files SET is_expired = 1 WHERE path = ?1")?.execute([path])?;
        day_changed(db, place, model, *day)?;
    }
    Ok(expired.len())
}

/// Files that may be deleted: they are too old, and no Delta table has them any more.
pub(super) fn expired(db: &Connection, place: i64, limit: i64) -> rusqlite::Result<Vec<ExpiredFile>> {
    db.prepare_cached(
        "SELECT path, first, cut, bytes FROM archive_files
         WHERE place = ?1 AND is_expired = 1 AND added_by IS NULL LIMIT ?2",
    )?
    .query_map([place, limit], |row| {
        let cut = (row.get(1)?, row.get(2)?);
        Ok(ExpiredFile { path: row.get(0)?, cut, bytes: row.get::<_, i64>(3)? as u64 })
    })?
    .collect()
}

/// Forgets files that are gone.
pub(super) fn forget(db: &Connection, paths: &[String]) -> rusqlite::Result<()> {
    let mut statement = db.prepare_cached("DELETE FROM archive_files WHERE path = ?1 AND is_expired = 1")?;
    for path in paths {
        statement.execute([path])?;
    }
    Ok(())
}
