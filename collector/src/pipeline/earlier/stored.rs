//! Windows that later ones are compared with, and comparisons, in the database.

use driftline_detectors::Detector;
use rusqlite::{Connection, OptionalExtension, params};
use tracing::warn;

use super::{Against, Beside, EarlierWindow};
use crate::causes::Past;
use crate::pipeline::series::ClosedColumn;

/// A window to be stored for later ones.
#[derive(Debug)]
pub(crate) struct StoredEarlier {
    pub(crate) model: String,
    pub(crate) version: String,
    pub(crate) reference: String,
    pub(crate) ends: i64,
    /// See [`EarlierWindow::packed`].
    pub(crate) contents: Vec<u8>,
    /// Windows that ended before this are not needed any more.
    pub(crate) keep_from: i64,
}

/// Stores a window for later ones, and forgets those that no later one is compared with.
pub(crate) fn store(db: &Connection, earlier: &StoredEarlier) -> rusqlite::Result<()> {
    let StoredEarlier { model, version, reference, ends, contents, keep_from } = earlier;
    db.prepare_cached(
        "INSERT OR REPLACE INTO earlier_windows (model, version, ends, reference, contents) VALUES (?1, ?2, ?3, ?4, ?5)",
    )?
    .execute(params![model, version, ends, reference, contents])?;
    db.prepare_cached("DELETE FROM earlier_windows WHERE model = ?1 AND version = ?2 AND ends < ?3")?
        .execute(params![model, version, keep_from])?;
    Ok(())
}

/// The window that ended then, if it is kept and on the cells of this reference.
pub(crate) fn load(
    db: &Connection,
    (model, version): (&str, &str),
    reference: &str,
    ends: i64,
) -> rusqlite::Result<Option<EarlierWindow>> {
    let contents: Option<Vec<u8>> = db
        .prepare_cached(
            "SELECT contents FROM earlier_windows WHERE model = ?1 AND version = ?2 AND ends = ?3 AND reference = ?4",
        )?
        .query_row(params![model, version, ends, reference], |row| row.get(0))
        .optional()?;
    let window = contents.as_deref().map(EarlierWindow::unpacked);
    if window == Some(None) {
        warn!(model, version, ends, "a window that was kept cannot be read, and is left out");
    }
    Ok(window.flatten())
}

/// Stores what a column of a window is beside earlier ones.
pub(crate) fn store_beside(
    db: &Connection,
    (model, version, ends): (&str, &str, i64),
    column: &ClosedColumn,
) -> rusqlite::Result<()> {
    for beside in &column.beside {
        let comparison = serde_json::to_string(beside).unwrap_or_default();
        db.prepare_cached(
            "INSERT OR REPLACE INTO comparisons (model, version, ends, column_name, against, comparison)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        )?
        .execute(params![model, version, ends, column.column, beside.against.name(), comparison])?;
    }
    Ok(())
}

/// One comparison of a version's columns over these ends of windows, the oldest first: end, column, comparison.
pub(crate) fn comparisons(
    db: &Connection,
    (model, version): (&str, &str),
    against: Against,
    (first, last): (i64, i64),
    mut take: impl FnMut(i64, String, Beside),
) -> rusqlite::Result<()> {
    let mut statement = db.prepare_cached(
        "SELECT ends, column_name, comparison FROM comparisons
         WHERE model = ?1 AND version = ?2 AND ends BETWEEN ?3 AND ?4 AND against = ?5 ORDER BY ends",
    )?;
    let mut rows = statement.query(params![model, version, first, last, against.name()])?;
    while let Some(row) = rows.next()? {
        let comparison: String = row.get(2)?;
        if let Ok(beside) = serde_json::from_str(&comparison) {
            take(row.get(0)?, row.get(1)?, beside);
        }
    }
    Ok(())
}

/// What each column of the last window of each of a model's versions is beside earlier ones.
pub(crate) fn last_comparisons(
    db: &Connection,
    model: &str,
    mut show: impl FnMut(&str, &str, &Beside),
) -> rusqlite::Result<()> {
    let mut statement = db.prepare(
        "SELECT version, column_name, comparison FROM comparisons AS one
         WHERE model = ?1 AND ends = (SELECT max(ends) FROM windows WHERE model = ?1 AND version = one.version)",
    )?;
    let mut rows = statement.query([model])?;
    while let Some(row) = rows.next()? {
        let (version, column, comparison): (String, String, String) = (row.get(0)?, row.get(1)?, row.get(2)?);
        if let Ok(beside) = serde_json::from_str(&comparison) {
            show(&version, &column, &beside);
        }
    }
    Ok(())
}

/// The last windows of a score beside earlier ones, the newest last.
pub(crate) fn history(
    db: &Connection,
    (model, version, column): (&str, &str, &str),
    (against, detector): (Against, Detector),
    windows: u32,
) -> rusqlite::Result<Vec<Past>> {
    let last: Vec<(i64, String)> = db
        .prepare_cached(
            "SELECT ends, comparison FROM comparisons
             WHERE model = ?1 AND version = ?2 AND column_name = ?3 AND against = ?4 ORDER BY ends DESC LIMIT ?5",
        )?
        .query_map(params![model, version, column, against.name(), windows], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<rusqlite::Result<_>>()?;
    let past = |(ends, comparison): (i64, String)| {
        let beside: Beside = serde_json::from_str(&comparison).ok()?;
        let score = beside.scores.into_iter().find(|score| score.detector == detector)?;
        Some(Past { ends, effect: score.effect })
    };
    Ok(last.into_iter().rev().filter_map(past).collect())
}

/// What a column of the window that ended then is beside earlier ones.
pub(crate) fn of_column(
    db: &Connection,
    (model, version): (&str, &str),
    column: &str,
    ends: i64,
) -> rusqlite::Result<Vec<Beside>> {
    let stored: Vec<String> = db
        .prepare_cached(
            "SELECT comparison FROM comparisons
             WHERE model = ?1 AND version = ?2 AND ends = ?3 AND column_name = ?4 ORDER BY against",
        )?
        .query_map(params![model, version, ends, column], |row| row.get(0))?
        .collect::<rusqlite::Result<_>>()?;
    Ok(stored.iter().filter_map(|comparison| serde_json::from_str(comparison).ok()).collect())
}
