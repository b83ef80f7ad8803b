//! Changes on their way to those who show them beside what goes wrong: from where they are stored to the outbox. How far each
//! target came is stored with what is put there, so that a restart puts nothing twice.

use driftline_alerts::ChangeEvent;
use rusqlite::{Connection, OptionalExtension, params};

use super::changes::{self, Change};
use super::entries;
use crate::config::ToldChanges;

/// Changes that wait for one target at once. The others wait where they are stored, and are missed if they are forgotten there.
const MAX_WAITING: u64 = 100;
/// Of the names under which it is stored how far a target came.
const POSITION: &str = "told_changes:";

/// Forgets how far all but these targets came: one that is told of changes again is told of what is changed from then on.
pub(super) fn forget_others(db: &Connection, told: &[String]) -> rusqlite::Result<()> {
    let kept: Vec<String> = told.iter().map(|target| position_name(target)).collect();
    let kept = serde_json::to_string(&kept).unwrap_or_default();
    db.prepare_cached(
        "DELETE FROM meta WHERE substr(key, 1, length(?1)) = ?1 AND key NOT IN (SELECT value FROM json_each(?2))",
    )?
    .execute([POSITION, &kept])?;
    Ok(())
}

/// Whether there is something for a target, and room for it.
pub(super) fn has_news(db: &Connection, target: &str) -> rusqlite::Result<bool> {
    let last = changes::last(db)?;
    let is_behind = position(db, target)?.is_none_or(|position| position < last);
    Ok(is_behind && entries::changes_waiting(db, target)? < MAX_WAITING)
}

/// Puts the changes that were stored since the last time into the outbox; the first time, none. Gives how many were forgotten
/// before there was room for them.
pub(super) fn put(
    db: &Connection,
    target: &str,
    told: &ToldChanges,
    public_url: &str,
    now: i64,
) -> rusqlite::Result<u64> {
    let Some(mut through) = position(db, target)? else {
        set_position(db, target, changes::last(db)?)?;
        return Ok(0);
    };
    let mut missed = 0;
    let room = MAX_WAITING.saturating_sub(entries::changes_waiting(db, target)?);
    for (id, change) in changes::after(db, through, room)? {
        missed += id.abs_diff(through) - 1;
        through = id;
        if let Some(change) = change.filter(|change| told.include(change)) {
            entries::put_change(db, &event(id, &change, public_url), target, now)?;
        }
    }
    set_position(db, target, through)?;
    Ok(missed)
}

fn event(id: i64, Change { at, model, kind, text }: &Change, public_url: &str) -> ChangeEvent {
    let (summary, source, page) = if model.is_empty() {
        (text.clone(), "driftline".to_owned(), String::new())
    } else {
        (format!("{model}: {text}"), model.clone(), format!("models/{model}"))
    };
    ChangeEvent { id, summary, source, kind: kind.name().to_owned(), at: *at, page_url: format!("{public_url}/{page}") }
}

fn position_name(target: &str) -> String {
    format!("{POSITION}{target}")
}

fn position(db: &Connection, target: &str) -> rusqlite::Result<Option<i64>> {
    db.prepare_cached("SELECT CAST(value AS INTEGER) FROM meta WHERE key = ?1")?
        .query_row([position_name(target)], |row| row.get(0))
        .optional()
}

fn set_position(db: &Connection, target: &str, through: i64) -> rusqlite::Result<()> {
    db.prepare_cached("INSERT OR REPLACE INTO meta (key, value) VALUES (?1, ?2)")?
        .execute(params![position_name(target), through.to_string()])?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::alerting::changes::ChangeKind;
    use crate::config::Config;

    fn database() -> Connection {
        crate::store::in_memory().unwrap()
    }

    fn told() -> ToldChanges {
        let text = "alerts: {targets: {pd: {pagerduty: {routing_key: {env: K}, changes: {kinds: [version]}}}}}";
        let config = Config::parse("d.yaml", text, Path::new("/")).unwrap();
        config.alerting.targets["pd"].kind.changes().unwrap().clone()
    }

    fn changed(db: &Connection, kind: ChangeKind, times: u64) {
        for at in 0..times {
            let text = format!("{} {at}", kind.name());
            changes::store(db, &Change { at: at as i64, model: "m".into(), kind, text }).unwrap();
        }
    }

    /// Puts what there is, and gives how many were missed.
    fn look(db: &Connection) -> u64 {
        put(db, "pd", &told(), "http://d", 9).unwrap()
    }

    fn in_outbox(db: &Connection) -> Vec<ChangeEvent> {
        db.prepare("SELECT notification FROM outbox WHERE target = 'pd' AND action = 'change' ORDER BY id")
            .unwrap()
            .query_map([], |row| Ok(serde_json::from_str(&row.get::<_, String>(0)?).unwrap()))
            .unwrap()
            .collect::<rusqlite::Result<_>>()
            .unwrap()
    }

    #[test]
    fn what_is_changed_from_the_first_look_on_is_told_once() {
        let db = database();
        changed(&db, ChangeKind::Version, 2);
        assert!(has_news(&db, "pd").unwrap());
        look(&db);
        assert!(in_outbox(&db).is_empty() && !has_news(&db, "pd").unwrap(), "what was there before is old");
        changed(&db, ChangeKind::Sidecar, 1);
        changed(&db, ChangeKind::Version, 1);
        assert!(has_news(&db, "pd").unwrap());
        for _ in 0..2 {
            assert_eq!(look(&db), 0);
            let [event] = in_outbox(&db).try_into().unwrap();
            let expected = ChangeEvent {
                id: 4,
                summary: "m: version 0".into(),
                source: "m".into(),
                kind: "version".into(),
                at: 0,
                page_url: "http://d/models/m".into(),
            };
            assert_eq!(event, expected);
        }
        assert!(!has_news(&db, "pd").unwrap());
    }

    #[test]
    fn no_more_wait_than_there_is_room_for_and_what_is_forgotten_meanwhile_is_counted() {
        let db = database();
        look(&db);
        changed(&db, ChangeKind::Version, MAX_WAITING + 20);
        look(&db);
        assert_eq!(in_outbox(&db).len() as u64, MAX_WAITING);
        assert!(!has_news(&db, "pd").unwrap(), "there is no room");
        assert_eq!(look(&db), 0);
        db.execute("UPDATE outbox SET state = 'delivered'", []).unwrap();
        db.execute("DELETE FROM changes WHERE id <= ?1", [MAX_WAITING as i64 + 5]).unwrap();
        assert!(has_news(&db, "pd").unwrap());
        assert_eq!(look(&db), 5);
        assert_eq!(in_outbox(&db).len() as u64, MAX_WAITING + 15);
    }

    #[test]
    fn a_target_that_is_told_again_is_told_of_nothing_old() {
        let db = database();
        look(&db);
        forget_others(&db, &["pd".to_owned()]).unwrap();
        changed(&db, ChangeKind::Version, 1);
        look(&db);
        assert_eq!(in_outbox(&db).len(), 1, "it was told all the time");
        forget_others(&db, &[]).unwrap();
        changed(&db, ChangeKind::Version, 1);
        look(&db);
        assert_eq!(in_outbox(&db).len(), 1);
    }
}
