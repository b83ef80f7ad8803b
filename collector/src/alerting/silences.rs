//! Silences as they are stored: who made them, for how long, and why.

use driftline_alerts::{Matchers, Silence};
use rusqlite::{Connection, OptionalExtension, Row, params};
use tracing::error;

/// Silences that may be on or to come at one time. Each is held against every alert that fires.
pub(crate) const MAX_SILENCES: i64 = 1000;

/// A silence, and whose it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StoredSilence {
    pub(crate) silence: Silence,
    pub(crate) comment: String,
    pub(crate) author: String,
    pub(crate) created_at: i64,
}

/// Stores a silence. False when there are as many as there may be.
pub(crate) fn add(db: &Connection, stored: &StoredSilence, now: i64) -> rusqlite::Result<bool> {
    let StoredSilence { silence, comment, author, created_at } = stored;
    let matching = serde_json::to_string(&silence.matching)
        .map_err(|error| rusqlite::Error::ToSqlConversionFailure(Box::new(error)))?;
    let added = db
        .prepare_cached(
            "INSERT INTO silences (id, matching, starts_at, ends_at, comment, author, created_at)
             SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7 WHERE (SELECT count(*) FROM silences WHERE ends_at > ?8) < ?9",
        )?
        .execute(params![
            silence.id,
            matching,
            silence.from,
            silence.until,
            comment,
            author,
            created_at,
            now,
            MAX_SILENCES
        ])?;
    Ok(added > 0)
}

/// Ends a silence that is on or to come, and gives it as it is then; one that is over already stays as it is.
pub(crate) fn end(db: &Connection, id: &str, now: i64) -> rusqlite::Result<Option<StoredSilence>> {
    db.prepare_cached("UPDATE silences SET ends_at = ?2 WHERE id = ?1 AND ends_at > ?2")?.execute(params![id, now])?;
    one(db, id)
}

/// A silence by its id.
pub(crate) fn one(db: &Connection, id: &str) -> rusqlite::Result<Option<StoredSilence>> {
    db.prepare_cached("SELECT * FROM silences WHERE id = ?1")?.query_row([id], read).optional().map(Option::flatten)
}

/// Silences that end in a stretch of time, from which on and until when; the ones that end last first.
pub(crate) fn list(db: &Connection, from: i64, until: i64, limit: u32) -> rusqlite::Result<Vec<StoredSilence>> {
    db.prepare_cached("SELECT * FROM silences WHERE ends_at > ?1 AND ends_at <= ?2 ORDER BY ends_at DESC LIMIT ?3")?
        .query_map(params![from, until, limit], read)?
        .filter_map(Result::transpose)
        .collect()
}

/// Silences that are on or to come.
pub(crate) fn to_keep(db: &Connection, now: i64) -> rusqlite::Result<Vec<Silence>> {
    let silences = list(db, now, i64::MAX, MAX_SILENCES as u32)?;
    Ok(silences.into_iter().map(|stored| stored.silence).collect())
}

fn read(row: &Row<'_>) -> rusqlite::Result<Option<StoredSilence>> {
    let (id, matching): (String, String) = (row.get("id")?, row.get("matching")?);
    let matching: Matchers = match serde_json::from_str(&matching) {
        Ok(matching) => matching,
        Err(error) => {
            error!(id, %error, "a stored silence cannot be read, and silences nothing");
            return Ok(None);
        }
    };
    let silence = Silence { id, matching, from: row.get("starts_at")?, until: row.get("ends_at")? };
    Ok(Some(StoredSilence {
        silence,
        comment: row.get("comment")?,
        author: row.get("author")?,
        created_at: row.get("created_at")?,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn silence(id: &str, from: i64, until: i64) -> StoredSilence {
        let matching = serde_json::from_str(r#"{"model": "m*"}"#).unwrap();
        let silence = Silence { id: id.to_owned(), matching, from, until };
        StoredSilence { silence, comment: "c".into(), author: "a".into(), created_at: 0 }
    }

    fn database() -> Connection {
        crate::store::in_memory().unwrap()
    }

    #[test]
    fn a_silence_is_kept_as_it_was_made_until_it_ends_or_is_ended() {
        let (db, early) = (database(), silence("a", 5, 100));
        assert!(add(&db, &early, 1).unwrap() && add(&db, &silence("b", 200, 300), 1).unwrap());
        assert_eq!(one(&db, "a").unwrap().as_ref(), Some(&early));
        assert_eq!(to_keep(&db, 99).unwrap().len(), 2);
        assert_eq!(to_keep(&db, 100).unwrap().len(), 1);
        assert_eq!(end(&db, "b", 150).unwrap().unwrap().silence.until, 150);
        assert_eq!(end(&db, "a", 160).unwrap().unwrap().silence.until, 100, "it was over");
        assert_eq!((to_keep(&db, 150).unwrap().len(), list(&db, 0, 150, 9).unwrap().len()), (0, 2));
        assert_eq!(end(&db, "c", 1).unwrap(), None);
    }

    #[test]
    fn there_are_at_most_so_many_and_those_that_are_over_make_room() {
        let db = database();
        for number in 0..MAX_SILENCES {
            assert!(add(&db, &silence(&number.to_string(), 0, 100), 1).unwrap());
        }
        assert!(!add(&db, &silence("more", 0, 100), 1).unwrap());
        assert!(add(&db, &silence("later", 0, 200), 100).unwrap());
    }

    #[test]
    fn one_that_is_damaged_silences_nothing_and_hides_no_other() {
        let db = database();
        add(&db, &silence("a", 0, 100), 1).unwrap();
        db.execute("UPDATE silences SET matching = '{}'", []).unwrap();
        add(&db, &silence("b", 0, 100), 1).unwrap();
        assert_eq!(to_keep(&db, 1).unwrap().len(), 1);
    }
}
