//! Windows that were made again, in place of those that are stored.
//!
//! Nobody is told: alerts are about what is, and a window of last month that drifts under another reference is no news to
//! wake anybody for. Objectives by slices are about a month and longer, so there a window counts as what it is now.

use rusqlite::{Connection, OptionalExtension, params};

use super::checkpoint::{StoredWindow, store_window};
use super::events::{self, Event, EventKind};
use super::time_slices;
use crate::archive;
use crate::config::Slices;
use crate::segments::stored::WINDOW_TABLES;
use crate::store::journal;
use crate::times;

/// What became of a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rewritten {
    /// It is stored now.
    Stored {
        /// For how many entries of `slis.slices` it counts as something else now.
        recounted: u64,
    },
    /// Its time is not over in the pipeline, which will store it itself.
    Open,
    /// The window that is stored has more rows than the archive: some were taken out of it, or lie elsewhere.
    Larger,
}

/// Batches that were counted, and whose rows are not in the archive yet. Windows made of it would lack them.
pub(crate) fn not_archived(db: &Connection) -> rusqlite::Result<u64> {
    let through = archive::archived_through(db)?;
    db.query_row("SELECT count(*) FROM journal WHERE position > ?1", [through], |row| row.get::<_, i64>(0))
        .map(|batches| batches as u64)
}

/// Puts a window in the place of the one that is stored, if that is right.
pub(crate) fn rewrite(
    db: &Connection,
    stored: &StoredWindow,
    slices: &[Slices],
    now: i64,
) -> rusqlite::Result<Rewritten> {
    let StoredWindow { model, version, window, .. } = stored;
    let closed_through: Option<Option<i64>> = db
        .prepare_cached("SELECT closed_through FROM window_progress WHERE model = ?1 AND version = ?2")?
        .query_row(params![model, version], |row| row.get(0))
        .optional()?;
    // A version that the pipeline does not follow has no open windows.
    if closed_through.is_some_and(|closed| closed.is_none_or(|closed| closed < window.ends)) {
        return Ok(Rewritten::Open);
    }
    let key = params![model, version, window.ends];
    let rows: Option<i64> = db
        .prepare_cached("SELECT rows FROM windows WHERE model = ?1 AND version = ?2 AND ends = ?3")?
        .query_row(key, |row| row.get(0))
        .optional()?;
    if rows.is_some_and(|rows| rows as u64 > window.rows) {
        return Ok(Rewritten::Larger);
    }
    // Its columns may be others.
    for table in ["scores", "histograms", "causes", "comparisons"].into_iter().chain(WINDOW_TABLES) {
        db.prepare_cached(&format!("DELETE FROM {table} WHERE model = ?1 AND version = ?2 AND ends = ?3"))?
            .execute(key)?;
    }
    store_window(db, stored, now)?;
    let recounted = time_slices::recount(db, slices, (stored, rows.is_some()), now)?;
    Ok(Rewritten::Stored { recounted })
}

/// Notes for people who follow along that windows were written again.
pub(crate) fn note(
    db: &Connection,
    model: &str,
    (from, to): (i64, i64),
    windows: u64,
    now: i64,
) -> rusqlite::Result<()> {
    journal::remember_model(db, model, now)?;
    let text = format!("{windows} windows that ended in {} were made again from the archive", times::span(from, to));
    events::store(db, &[Event { kind: EventKind::Window, model: model.to_owned(), text }], now)
}
