//! Ground truth that arrives later.

use std::collections::BTreeMap;

use rusqlite::{Connection, OptionalExtension, params};

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
    let mut newest = db.prepare_cached(
        "INSERT INTO newest_outcomes (model, known_at) VALUES (?1, ?2)
         ON CONFLICT (model) DO UPDATE SET known_at = max(known_at, excluded.known_at)",
    )?;
    let mut known: BTreeMap<&str, i64> = BTreeMap::new();
    for outcome in outcomes {
        statement.execute(params![outcome.model, outcome.row_id, outcome.outcome, outcome.observed_at, received_at])?;
        // Nothing is known before it is known: who says so has another clock, or another meaning of the field.
        let known_at = outcome.observed_at.unwrap_or(received_at).min(received_at);
        let latest = known.entry(&outcome.model).or_insert(known_at);
        *latest = known_at.max(*latest);
    }
    for (model, known_at) in known {
        newest.execute(params![model, known_at])?;
    }
    Ok(())
}

/// When the newest outcome of a model became known; none before the first.
pub(crate) fn newest(db: &Connection, model: &str) -> rusqlite::Result<Option<i64>> {
    db.prepare_cached("SELECT known_at FROM newest_outcomes WHERE model = ?1")?
        .query_row([model], |row| row.get(0))
        .optional()
}

/// How many rows of a model have an outcome.
pub(crate) fn count(db: &Connection, model: &str) -> rusqlite::Result<u64> {
    db.prepare_cached("SELECT count(*) FROM outcomes WHERE model = ?1")?.query_row([model], |row| row.get(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_outcome_is_the_one_that_was_known_last_and_never_in_the_future() {
        let db = crate::store::in_memory().unwrap();
        let outcome = |model: &str, observed_at| Outcome {
            model: model.into(),
            row_id: "1".into(),
            outcome: "1".into(),
            observed_at,
        };
        assert_eq!(newest(&db, "m").unwrap(), None);
        store(&db, &[outcome("m", Some(50)), outcome("m", Some(20)), outcome("n", None)], 100).unwrap();
        assert_eq!([newest(&db, "m").unwrap(), newest(&db, "n").unwrap()], [Some(50), Some(100)]);
        // Old ones that are sent again do not make it older, and a clock that is ahead not newer than now.
        store(&db, &[outcome("m", Some(10))], 200).unwrap();
        assert_eq!(newest(&db, "m").unwrap(), Some(50));
        store(&db, &[outcome("m", Some(9_000))], 300).unwrap();
        assert_eq!(newest(&db, "m").unwrap(), Some(300));
    }

    #[test]
    fn a_database_of_before_knows_the_newest_of_what_it_holds() {
        let db = crate::store::in_memory().unwrap();
        db.execute_batch(
            "DROP TABLE newest_outcomes;
             INSERT INTO outcomes VALUES ('m', '1', '1', 50, 100), ('m', '2', '1', NULL, 90), ('n', '1', '1', 900, 80);",
        )
        .unwrap();
        db.execute_batch(include_str!("newest_outcomes.sql")).unwrap();
        assert_eq!([newest(&db, "m").unwrap(), newest(&db, "n").unwrap()], [Some(90), Some(80)]);
    }
}
