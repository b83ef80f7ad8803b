//! Manifests: which files there are, written down beside them, so that nobody needs to list a store to find them.
//!
//! One for each model and day of event time, a line for each file; and one above them that says which days there are and up
//! to which position of the journal every row is in them. All follow from the list in the database, and can be written
//! again at any time.

use std::fmt::Display;

use rusqlite::{Connection, params};
use serde::Serialize;
use serde_json::json;

use super::super::cuts;
use super::super::layout;
use super::super::owner::OWN_FOLDER;
use crate::times::{date_and_hour, rfc3339};

/// The manifest above all others.
pub(super) const INDEX: &str = "_driftline/manifest.json";
/// Whoever reads manifests can tell by it that they are written otherwise.
const FORMAT: &str = "driftline-manifest-1";

/// The manifest of a model's day.
#[derive(Debug)]
pub(super) struct DayManifest {
    pub(super) path: String,
    /// Empty when no file is left.
    pub(super) text: String,
    model: String,
    day: i64,
    totals: Totals,
}

/// Files, and what is in them.
#[derive(Debug, Clone, Copy, Default, Serialize)]
struct Totals {
    files: u64,
    rows: u64,
    bytes: u64,
}

/// A file's line.
#[derive(Debug, Serialize)]
struct Line {
    path: String,
    version: String,
    rows: u64,
    bytes: u64,
    first_event: String,
    last_event: String,
    schema: String,
    collector: String,
    run: String,
    cut: (i64, i64),
    made_at: String,
}

/// The manifests that are to be written again, up to so many.
pub(super) fn due(db: &Connection, place: i64, collector: &str, limit: i64) -> rusqlite::Result<Vec<DayManifest>> {
    let days: Vec<(String, i64)> = db
        .prepare_cached("SELECT model, day FROM archive_days WHERE place = ?1 AND is_due = 1 LIMIT ?2")?
        .query_map([place, limit], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<rusqlite::Result<_>>()?;
    days.into_iter().map(|(model, day)| manifest(db, place, collector, model, day)).collect()
}

fn manifest(db: &Connection, place: i64, collector: &str, model: String, day: i64) -> rusqlite::Result<DayManifest> {
    let mut statement = db.prepare_cached(
        "SELECT path, version, rows, bytes, first_event, last_event, schema, run, first, cut, made_at FROM archive_files
         WHERE place = ?1 AND model = ?2 AND day = ?3 AND is_expired = 0 ORDER BY path",
    )?;
    let lines = statement.query_map(params![place, model, day], |row| {
        Ok(Line {
            path: row.get(0)?,
            version: row.get(1)?,
            rows: row.get::<_, i64>(2)? as u64,
            bytes: row.get::<_, i64>(3)? as u64,
            first_event: rfc3339(row.get(4)?),
            last_event: rfc3339(row.get(5)?),
            schema: row.get(6)?,
            collector: collector.to_owned(),
            run: row.get(7)?,
            cut: (row.get(8)?, row.get(9)?),
            made_at: rfc3339(row.get(10)?),
        })
    })?;
    let (mut text, mut totals) = (String::new(), Totals::default());
    for line in lines {
        let line = line?;
        totals.files += 1;
        totals.rows += line.rows;
        totals.bytes += line.bytes;
        text.push_str(&json!(line).to_string());
        text.push('\n');
    }
    let (date, _) = date_and_hour(day);
    Ok(DayManifest { path: path(&model, date), text, model, day, totals })
}

/// The name of a day's manifest.
pub(super) fn path(model: &str, date: impl Display) -> String {
    format!("{OWN_FOLDER}/manifest/{}/date={date}.jsonl", layout::folder_of(model))
}

/// Notes that a manifest is there.
pub(super) fn written(db: &Connection, place: i64, manifest: &DayManifest) -> rusqlite::Result<()> {
    let Totals { files, rows, bytes } = manifest.totals;
    if files == 0 {
        db.prepare_cached("DELETE FROM archive_days WHERE place = ?1 AND model = ?2 AND day = ?3")?
            .execute(params![place, manifest.model, manifest.day])?;
        return Ok(());
    }
    db.prepare_cached(
        "UPDATE archive_days SET is_due = 0, files = ?4, rows = ?5, bytes = ?6
         WHERE place = ?1 AND model = ?2 AND day = ?3",
    )?
    .execute(params![place, manifest.model, manifest.day, files as i64, rows as i64, bytes as i64])?;
    Ok(())
}

/// The manifest above all others, of the days whose manifests are there.
pub(super) fn index(db: &Connection, place: i64, collector: &str) -> rusqlite::Result<String> {
    let models: Vec<serde_json::Value> = db
        .prepare_cached(
            "SELECT model, min(day), max(day), count(*), sum(files), sum(rows), sum(bytes) FROM archive_days
             WHERE place = ?1 AND files > 0 GROUP BY model ORDER BY model",
        )?
        .query_map([place], |row| {
            let date = |day| date_and_hour(day).0;
            Ok(json!({
                "model": row.get::<_, String>(0)?,
                "first_date": date(row.get(1)?),
                "last_date": date(row.get(2)?),
                "dates": row.get::<_, i64>(3)?,
                "files": row.get::<_, i64>(4)?,
                "rows": row.get::<_, i64>(5)?,
                "bytes": row.get::<_, i64>(6)?,
            }))
        })?
        .collect::<rusqlite::Result<_>>()?;
    let archived_through = cuts::archived_through(db)?;
    let index = json!({
        "format": FORMAT, "collector": collector, "archived_through": archived_through, "models": models,
    });
    Ok(format!("{index:#}\n"))
}
