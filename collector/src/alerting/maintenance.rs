//! Maintenance windows that were made while the collector runs, as they are stored.

use driftline_alerts::{Maintenance, Matchers};
use jiff::civil::{Time, Weekday};
use jiff::tz::TimeZone;
use rusqlite::{Connection, OptionalExtension, Row, params};
use tracing::error;

use crate::config::maintenance::{clock, clock_text, day, day_name};

/// Windows that may come again at one time, besides those of the configuration. Each is held against every alert that fires.
pub(crate) const MAX_WINDOWS: i64 = 100;

/// A window, and whose it is.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct StoredWindow {
    pub(crate) id: String,
    pub(crate) window: Maintenance,
    /// When it comes no more.
    pub(crate) ends_at: i64,
    pub(crate) comment: String,
    pub(crate) author: String,
    pub(crate) created_at: i64,
}

/// Why a window was not stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// There are as many as there may be.
    TooMany,
    /// There is one of its name.
    NameTaken,
}

/// Stores a window, unless there are too many or there is one of its name that has not ended.
pub(crate) fn add(db: &Connection, stored: &StoredWindow, now: i64) -> rusqlite::Result<Result<(), Refusal>> {
    let StoredWindow { id, window, ends_at, comment, author, created_at } = stored;
    let current = to_come(db, now)?;
    if current.iter().any(|other| other.window.name == window.name) {
        return Ok(Err(Refusal::NameTaken));
    }
    let count: i64 = db.query_row("SELECT count(*) FROM maintenance WHERE ends_at > ?1", [now], |row| row.get(0))?;
    if count >= MAX_WINDOWS {
        return Ok(Err(Refusal::TooMany));
    }
    let json = |text: serde_json::Result<String>| {
        text.map_err(|error| rusqlite::Error::ToSqlConversionFailure(Box::new(error)))
    };
    let matching = json(serde_json::to_string(&window.matching))?;
    let days = json(serde_json::to_string(&window.days.iter().map(|each| day_name(*each)).collect::<Vec<_>>()))?;
    let zone = window.zone.iana_name().unwrap_or("UTC");
    db.prepare_cached(
        "INSERT INTO maintenance (id, name, matching, days, starts_daily, ends_daily, time_zone, ends_at, comment, author, created_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
    )?
    .execute(params![
        id,
        window.name,
        matching,
        days,
        clock_text(window.from),
        clock_text(window.until),
        zone,
        ends_at,
        comment,
        author,
        created_at
    ])?;
    Ok(Ok(()))
}

/// Ends a window, and gives it as it is then; one that has ended already stays as it is.
pub(crate) fn end(db: &Connection, id: &str, now: i64) -> rusqlite::Result<Option<StoredWindow>> {
    db.prepare_cached("UPDATE maintenance SET ends_at = ?2 WHERE id = ?1 AND ends_at > ?2")?
        .execute(params![id, now])?;
    one(db, id)
}

/// A window by its id.
pub(crate) fn one(db: &Connection, id: &str) -> rusqlite::Result<Option<StoredWindow>> {
    db.prepare_cached("SELECT * FROM maintenance WHERE id = ?1")?.query_row([id], read).optional().map(Option::flatten)
}

/// Windows that end in a stretch of time, from which on and until when; the ones that were made last first.
pub(crate) fn list(db: &Connection, from: i64, until: i64, limit: u32) -> rusqlite::Result<Vec<StoredWindow>> {
    db.prepare_cached(
        "SELECT * FROM maintenance WHERE ends_at > ?1 AND ends_at <= ?2 ORDER BY created_at DESC, id DESC LIMIT ?3",
    )?
    .query_map(params![from, until, limit], read)?
    .filter_map(Result::transpose)
    .collect()
}

/// Windows that come again.
pub(crate) fn to_come(db: &Connection, now: i64) -> rusqlite::Result<Vec<StoredWindow>> {
    list(db, now, i64::MAX, MAX_WINDOWS as u32)
}

fn read(row: &Row<'_>) -> rusqlite::Result<Option<StoredWindow>> {
    let id: String = row.get("id")?;
    let Some(window) = window(row)? else {
        error!(id, "a stored maintenance window cannot be read, and keeps nothing back");
        return Ok(None);
    };
    Ok(Some(StoredWindow {
        id,
        window,
        ends_at: row.get("ends_at")?,
        comment: row.get("comment")?,
        author: row.get("author")?,
        created_at: row.get("created_at")?,
    }))
}

/// The window of a row; none when it was damaged, or names a place that is not known any more.
fn window(row: &Row<'_>) -> rusqlite::Result<Option<Maintenance>> {
    let text = |name: &str| row.get::<_, String>(name);
    let (name, matching, days) = (text("name")?, text("matching")?, text("days")?);
    let (from, until, zone) = (text("starts_daily")?, text("ends_daily")?, text("time_zone")?);
    let read = || {
        let matching: Matchers = serde_json::from_str(&matching).ok()?;
        let days: Vec<String> = serde_json::from_str(&days).ok()?;
        let days: Option<Vec<Weekday>> = days.iter().map(|name| day(name)).collect();
        let (from, until): (Time, Time) = (clock(&from)?, clock(&until)?);
        Some(Maintenance { name, matching, days: days?, from, until, zone: TimeZone::get(&zone).ok()? })
    };
    Ok(read())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored(id: &str, name: &str, ends_at: i64) -> StoredWindow {
        let window = Maintenance {
            name: name.to_owned(),
            matching: serde_json::from_str(r#"{"model": "m*"}"#).unwrap(),
            days: vec![Weekday::Friday, Weekday::Sunday],
            from: clock("22:00").unwrap(),
            until: clock("02:30").unwrap(),
            zone: TimeZone::get("Europe/Berlin").unwrap(),
        };
        StoredWindow { id: id.into(), window, ends_at, comment: "c".into(), author: "a".into(), created_at: 7 }
    }

    fn database() -> Connection {
        crate::store::in_memory().unwrap()
    }

    #[test]
    fn a_window_is_kept_as_it_was_made_until_it_ends_or_is_ended() {
        let (db, nightly) = (database(), stored("a", "nightly", i64::MAX));
        assert_eq!(add(&db, &nightly, 1).unwrap(), Ok(()));
        assert_eq!(add(&db, &stored("b", "this-week", 50), 1).unwrap(), Ok(()));
        assert_eq!(one(&db, "a").unwrap(), Some(nightly));
        assert_eq!(add(&db, &stored("c", "nightly", 9), 1).unwrap(), Err(Refusal::NameTaken));
        assert_eq!((to_come(&db, 49).unwrap().len(), to_come(&db, 50).unwrap().len()), (2, 1));
        assert_eq!(end(&db, "a", 60).unwrap().unwrap().ends_at, 60);
        assert_eq!(end(&db, "b", 70).unwrap().unwrap().ends_at, 50, "it had ended");
        assert_eq!((to_come(&db, 60).unwrap().len(), list(&db, 0, 60, 9).unwrap().len()), (0, 2));
        assert_eq!(end(&db, "z", 1).unwrap(), None);
        assert_eq!(add(&db, &stored("d", "nightly", i64::MAX), 60).unwrap(), Ok(()), "the name is free again");
    }

    #[test]
    fn there_are_at_most_so_many_and_those_that_have_ended_make_room() {
        let db = database();
        for number in 0..MAX_WINDOWS {
            assert_eq!(add(&db, &stored(&format!("{number}"), &format!("w{number}"), 100), 1).unwrap(), Ok(()));
        }
        assert_eq!(add(&db, &stored("more", "more", 100), 1).unwrap(), Err(Refusal::TooMany));
        assert_eq!(add(&db, &stored("later", "later", 200), 100).unwrap(), Ok(()));
    }

    #[test]
    fn one_that_is_damaged_keeps_nothing_back_and_hides_no_other() {
        let db = database();
        assert_eq!(add(&db, &stored("a", "a", 100), 1).unwrap(), Ok(()));
        db.execute("UPDATE maintenance SET time_zone = 'Atlantis/Poseidonis'", []).unwrap();
        assert_eq!(add(&db, &stored("b", "b", 100), 1).unwrap(), Ok(()));
        assert_eq!(to_come(&db, 1).unwrap().into_iter().map(|stored| stored.id).collect::<Vec<_>>(), ["b"]);
    }
}
