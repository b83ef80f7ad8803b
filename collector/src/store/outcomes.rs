//! Ground truth that arrives later.

use rusqlite::{Connection, params};

/// The truth about one row.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Outcome {
    pub(crate) model: String,
    pub(crate) row_id: String,
    /// A JSON value: number, text or boolean.
    pub(crate) outcome: String,
    /// When it became known, if that was said.
    pub(crate) observed_at: Option<i64>,
}

/// Stores outcomes. One that comes again replaces the one before.
pub(crate) fn store(db: &Connection, outcomes: &[Outcome], received_at: i64) -> rusqlite::Result<()> {
    let mut statement = db.prepare_cached(
        "INSERT INTO outcomes (model, row_id, outcome, observed_at, received_at) VALUES (?1, ?2, ?3, ?4, ?5)
         ON CONFLICT (model, row_id) DO UPDATE SET
            outcome = excluded.outcome, observed_at = excluded.observed_at, received_at = excluded.received_at",
    )?;
    for outcome in outcomes {
        statement.execute(params![outcome.model, outcome.row_id, outcome.outcome, outcome.observed_at, received_at])?;
    }
    Ok(())
}

/// How many rows of a model have an outcome.
pub(crate) fn count(db: &Connection, model: &str) -> rusqlite::Result<u64> {
    db.prepare_cached("SELECT count(*) FROM outcomes WHERE model = ?1")?.query_row([model], |row| row.get(0))
}
