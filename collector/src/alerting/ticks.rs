//! Ticks: which steps of its runbook somebody has done for an episode, and when.

use rusqlite::{Connection, Row, params};

/// Ticks of one episode, those that were taken back among them.
pub(crate) const MAX_TICKS: i64 = 500;

/// Somebody's word that a step is done, or is not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Tick {
    /// The step's id.
    pub(crate) step: String,
    /// What the step was about when it was ticked: runbooks change.
    pub(crate) text: String,
    pub(crate) is_done: bool,
    pub(crate) author: String,
    pub(crate) note: String,
    pub(crate) at: i64,
}

/// Stores a tick. False when there are as many as there may be.
pub(crate) fn add(db: &Connection, episode: &str, tick: &Tick) -> rusqlite::Result<bool> {
    let Tick { step, text, is_done, author, note, at } = tick;
    let added = db
        .prepare_cached(
            "INSERT INTO ticks (episode, step, text, is_done, author, note, at)
             SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7 WHERE (SELECT count(*) FROM ticks WHERE episode = ?1) < ?8",
        )?
        .execute(params![episode, step, text, is_done, author, note, at, MAX_TICKS])?;
    Ok(added > 0)
}

/// All of an episode, in their order.
pub(crate) fn of(db: &Connection, episode: &str) -> rusqlite::Result<Vec<Tick>> {
    db.prepare_cached("SELECT * FROM ticks WHERE episode = ?1 ORDER BY id")?.query_map([episode], read)?.collect()
}

fn read(row: &Row<'_>) -> rusqlite::Result<Tick> {
    Ok(Tick {
        step: row.get("step")?,
        text: row.get("text")?,
        is_done: row.get("is_done")?,
        author: row.get("author")?,
        note: row.get("note")?,
        at: row.get("at")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_kept_in_their_order_and_so_many_of_an_episode() {
        let db = crate::store::in_memory().unwrap();
        let tick = |at: i64| Tick {
            step: "mitigate-1".into(),
            text: "Roll back.".into(),
            is_done: at % 2 == 0,
            author: "ada".into(),
            note: String::new(),
            at,
        };
        for at in 0..MAX_TICKS {
            assert!(add(&db, "e", &tick(at)).unwrap());
        }
        assert!(!add(&db, "e", &tick(0)).unwrap() && add(&db, "f", &tick(7)).unwrap());
        assert_eq!(of(&db, "e").unwrap().len() as i64, MAX_TICKS);
        assert_eq!(of(&db, "f").unwrap(), [tick(7)]);
    }
}
