//! The outbox: what is to be said, stored with what caused it, in the order in which it is said.

use driftline_alerts::{Acknowledgement, Action, Notification};
use rusqlite::{Connection, OptionalExtension, Row, params};

/// Entries that are tried in one round.
const ROUND: usize = 50;
/// Notifications that are said again in one round; more alerts than this at once are one outage.
const MAX_AGAIN: usize = 1000;

/// Puts a notification into the outbox, for each of the targets.
fn put(db: &Connection, notification: &Notification, targets: &[String], now: i64) -> rusqlite::Result<()> {
    let text = serde_json::to_string(notification)
        .map_err(|error| rusqlite::Error::ToSqlConversionFailure(Box::new(error)))?;
    for target in targets {
        db.prepare_cached(
            "INSERT INTO outbox (episode, target, action, notification, created_at, next_attempt_at)
             VALUES (?1, ?2, ?3, ?4, ?5, ?5)",
        )?
        .execute(params![notification.episode, target, notification.action.name(), text, now])?;
    }
    Ok(())
}

/// Puts the resolve of an episode into the outbox, for each target that accepted its trigger or still may. What the
/// configuration says now does not matter: a target that was told of the beginning is told of the end, and no other.
pub(crate) fn put_resolve(db: &Connection, notification: &Notification, now: i64) -> rusqlite::Result<()> {
    cancel_what_is_over(db, &notification.episode, now)?;
    put(db, notification, &told(db, &notification.episode)?, now)
}

/// Puts that an episode fires into the outbox, for those who were not told yet.
pub(crate) fn put_trigger(
    db: &Connection,
    notification: &Notification,
    targets: &[String],
    now: i64,
) -> rusqlite::Result<()> {
    let told = told(db, &notification.episode)?;
    let new: Vec<String> = targets.iter().filter(|target| !told.contains(target)).cloned().collect();
    put(db, notification, &new, now)
}

/// Puts what comes between the beginning and the end of an episode into the outbox, for those who were told of the
/// beginning and are among `hearers`. Who has not heard the last of its kind yet is not told again.
pub(crate) fn put_update(
    db: &Connection,
    notification: &Notification,
    hearers: &[String],
    now: i64,
) -> rusqlite::Result<()> {
    for target in told(db, &notification.episode)?.into_iter().filter(|target| hearers.contains(target)) {
        let (waiting, before): (u64, u64) = db
            .prepare_cached(
                "SELECT coalesce(sum(state = 'pending'), 0), count(*) FROM outbox
                 WHERE episode = ?1 AND target = ?2 AND action = ?3",
            )?
            .query_row(params![notification.episode, target, notification.action.name()], |row| {
                Ok((row.get(0)?, row.get(1)?))
            })?;
        if waiting > 0 {
            continue;
        }
        let mut notification = notification.clone();
        if notification.action == Action::Remind {
            notification.reminder = before + 1;
        }
        put(db, &notification, &[target], now)?;
    }
    Ok(())
}

/// The targets that accepted an episode's trigger or still may.
fn told(db: &Connection, episode: &str) -> rusqlite::Result<Vec<String>> {
    db.prepare_cached(
        "SELECT DISTINCT target FROM outbox
         WHERE episode = ?1 AND action = ?2 AND state IN ('pending', 'delivered') ORDER BY target",
    )?
    .query_map(params![episode, Action::Trigger.name()], |row| row.get(0))?
    .collect()
}

/// Takes back what need not be said of an episode that has ended: reminders and acknowledgements, and triggers that were held
/// back because it is muted, unless they were tried and may have arrived.
fn cancel_what_is_over(db: &Connection, episode: &str, now: i64) -> rusqlite::Result<()> {
    db.prepare_cached(
        "UPDATE outbox SET state = 'cancelled', settled_at = ?2
         WHERE episode = ?1 AND state = 'pending'
           AND (action IN (?3, ?4)
                OR action = ?5 AND attempts = 0
                   AND EXISTS (SELECT 1 FROM episodes WHERE id = ?1 AND muted_by IS NOT NULL))",
    )?
    .execute(params![episode, now, Action::Remind.name(), Action::Acknowledge.name(), Action::Trigger.name()])?;
    Ok(())
}

/// What was said when an episode began.
pub(crate) fn triggered(db: &Connection, episode: &str) -> rusqlite::Result<Option<Notification>> {
    let text: Option<String> = db
        .prepare_cached("SELECT notification FROM episodes WHERE id = ?1")?
        .query_row([episode], |row| row.get(0))
        .optional()?;
    Ok(text.and_then(|text| serde_json::from_str(&text).ok()))
}

/// Who is on an episode, by its row.
pub(crate) fn acknowledgement(row: &Row<'_>) -> rusqlite::Result<Option<Acknowledgement>> {
    let Some(at) = row.get("acknowledged_at")? else { return Ok(None) };
    let (by, note): (Option<String>, Option<String>) = (row.get("acknowledged_by")?, row.get("acknowledged_note")?);
    Ok(Some(Acknowledgement { by: by.unwrap_or_default(), note: note.unwrap_or_default(), at }))
}

/// What a target that forgets is to hear again: triggers of episodes that are open, and ends that it was told of since then.
/// Also while they are muted: what it was told of would look as if it were over.
pub(super) fn to_say_again(db: &Connection, target: &str, since: i64) -> rusqlite::Result<Vec<String>> {
    db.prepare_cached(
        "SELECT notification FROM outbox AS entry
         WHERE target = ?1 AND state = 'delivered'
           AND (action = ?3 AND settled_at >= ?2
                OR action = ?4 AND EXISTS (SELECT 1 FROM episodes WHERE id = entry.episode AND resolved_at IS NULL))
         ORDER BY id DESC LIMIT ?5",
    )?
    .query_map(params![target, since, Action::Resolve.name(), Action::Trigger.name(), MAX_AGAIN as i64], |row| {
        row.get(0)
    })?
    .collect()
}

#[derive(Debug)]
pub(super) struct Due {
    pub(super) id: i64,
    pub(super) target: String,
    pub(super) notification: String,
    pub(super) attempts: u32,
    /// What the target gave when it accepted the episode's trigger.
    pub(super) receipt: Option<String>,
}

/// Entries of one target whose time has come; without a target, those of targets that are not configured any more. What
/// follows a trigger waits for it: a target that did not accept the one is never sent the other. Of an episode that is muted
/// only the end is due.
pub(super) fn due(
    db: &Connection,
    target: Option<&str>,
    configured: &[String],
    now: i64,
) -> rusqlite::Result<Vec<Due>> {
    let configured = serde_json::to_string(configured).unwrap_or_default();
    db.prepare_cached(
        "SELECT id, target, notification, attempts,
                (SELECT receipt FROM outbox AS trigger
                 WHERE trigger.episode = entry.episode AND trigger.target = entry.target
                   AND trigger.action = ?5 AND trigger.state = 'delivered' AND entry.action != ?5)
         FROM outbox AS entry
         WHERE state = 'pending' AND next_attempt_at <= ?1
           AND (target = ?2 OR (?2 IS NULL AND target NOT IN (SELECT value FROM json_each(?3))))
           AND (action = ?5 OR EXISTS (SELECT 1 FROM outbox AS trigger
                                        WHERE trigger.episode = entry.episode AND trigger.target = entry.target
                                          AND trigger.action = ?5 AND trigger.state = 'delivered'))
           AND (action = ?4 OR NOT EXISTS (SELECT 1 FROM episodes
                                           WHERE id = entry.episode AND muted_by IS NOT NULL AND resolved_at IS NULL))
         ORDER BY id LIMIT ?6",
    )?
    .query_map(params![now, target, configured, Action::Resolve.name(), Action::Trigger.name(), ROUND as i64], |row| {
        Ok(Due {
            id: row.get(0)?,
            target: row.get(1)?,
            notification: row.get(2)?,
            attempts: row.get(3)?,
            receipt: row.get(4)?,
        })
    })?
    .collect()
}

pub(super) fn postpone(db: &Connection, id: i64, attempts: u32, why: &str, next: i64) -> rusqlite::Result<()> {
    db.prepare_cached("UPDATE outbox SET attempts = ?2, last_error = ?3, next_attempt_at = ?4 WHERE id = ?1")?
        .execute(params![id, attempts, why, next])?;
    Ok(())
}

/// An entry has arrived, and its target may have named it.
pub(super) fn accepted(
    db: &Connection,
    id: i64,
    attempts: u32,
    receipt: Option<&str>,
    now: i64,
) -> rusqlite::Result<()> {
    db.prepare_cached("UPDATE outbox SET receipt = ?2 WHERE id = ?1")?.execute(params![id, receipt])?;
    settle(db, id, "delivered", attempts, None, now)?;
    end_what_ended_meanwhile(db, id, now)
}

/// A trigger may arrive just when it was taken back because its episode had ended. Then its target is told of the end, too.
fn end_what_ended_meanwhile(db: &Connection, id: i64, now: i64) -> rusqlite::Result<()> {
    let late: Option<(String, String, i64)> = db
        .prepare_cached(
            "SELECT entry.target, entry.notification, episodes.resolved_at
             FROM outbox AS entry JOIN episodes ON episodes.id = entry.episode
             WHERE entry.id = ?1 AND entry.action = ?2 AND episodes.resolved_at IS NOT NULL
               AND NOT EXISTS (SELECT 1 FROM outbox
                               WHERE episode = entry.episode AND target = entry.target AND action = ?3)",
        )?
        .query_row(params![id, Action::Trigger.name(), Action::Resolve.name()], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?))
        })
        .optional()?;
    let Some((target, trigger, resolved_at)) = late else { return Ok(()) };
    let Ok(trigger) = serde_json::from_str::<Notification>(&trigger) else { return Ok(()) };
    let resolve = Notification { action: Action::Resolve, resolved_at: Some(resolved_at), ..trigger };
    put(db, &resolve, &[target], now)
}

/// An entry is done. When a trigger was given up, so is what waits behind it: the target knows of nothing.
pub(super) fn settle(
    db: &Connection,
    id: i64,
    state: &str,
    attempts: u32,
    why: Option<&str>,
    now: i64,
) -> rusqlite::Result<()> {
    db.prepare_cached("UPDATE outbox SET state = ?2, attempts = ?3, last_error = ?4, settled_at = ?5 WHERE id = ?1")?
        .execute(params![id, state, attempts, why, now])?;
    if state == "given_up" {
        db.prepare_cached(
            "UPDATE outbox SET state = 'cancelled', settled_at = ?2
             WHERE state = 'pending' AND action != ?3
               AND (episode, target) = (SELECT episode, target FROM outbox WHERE id = ?1 AND action = ?3)",
        )?
        .execute(params![id, now, Action::Trigger.name()])?;
    }
    Ok(())
}

/// How many notifications wait.
pub(crate) fn pending(db: &Connection) -> rusqlite::Result<u64> {
    db.prepare_cached("SELECT count(*) FROM outbox WHERE state = 'pending'")?.query_row([], |row| row.get(0))
}

#[cfg(test)]
mod tests {
    use driftline_alerts::{Labels, Severity};

    use super::*;

    fn database() -> Connection {
        let db = Connection::open_in_memory().unwrap();
        db.execute_batch(crate::store::SCHEMA).unwrap();
        db
    }

    fn notification(action: Action) -> Notification {
        Notification {
            action,
            episode: "e".into(),
            rule: "R".into(),
            severity: Severity::Page,
            summary: "s".into(),
            subject: "s".into(),
            condition: String::new(),
            labels: Labels::new(),
            started_at: 0,
            resolved_at: None,
            acknowledged: None,
            reminder: 0,
            drill: false,
            facts: Vec::new(),
            rows: Vec::new(),
            more_rows: 0,
            picture: None,
            page_url: String::new(),
            runbook_url: String::new(),
        }
    }

    /// The episode that all is of.
    fn episode(db: &Connection, muted_by: Option<&str>) {
        db.execute(
            "INSERT INTO episodes (id, fingerprint, rule, severity, runbook, started_at, notification, muted_by)
             VALUES ('e', 'f', 'R', 'page', 'r', 0, '', ?1)",
            [muted_by],
        )
        .unwrap();
    }

    fn due_ids(db: &Connection, target: &str, now: i64) -> Vec<i64> {
        due(db, Some(target), &[], now).unwrap().iter().map(|due| due.id).collect()
    }

    fn targets(db: &Connection, action: Action) -> Vec<String> {
        db.prepare("SELECT target FROM outbox WHERE action = ?1 ORDER BY id")
            .unwrap()
            .query_map([action.name()], |row| row.get(0))
            .unwrap()
            .collect::<rusqlite::Result<_>>()
            .unwrap()
    }

    #[test]
    fn a_resolve_waits_for_its_trigger_at_the_same_target_only() {
        let db = database();
        put(&db, &notification(Action::Trigger), &["a".to_owned(), "b".to_owned()], 0).unwrap();
        put_resolve(&db, &notification(Action::Resolve), 0).unwrap();
        assert_eq!((due_ids(&db, "a", 0), due_ids(&db, "b", 0)), (vec![1], vec![2]));
        settle(&db, 2, "delivered", 1, None, 0).unwrap();
        postpone(&db, 1, 1, "busy", 100).unwrap();
        assert_eq!(due_ids(&db, "a", 0), [] as [i64; 0], "a's resolve waits with its trigger");
        assert_eq!((due_ids(&db, "a", 100), due_ids(&db, "b", 0)), (vec![1], vec![4]));
        settle(&db, 1, "delivered", 2, None, 0).unwrap();
        assert_eq!(due_ids(&db, "a", 0), [3]);
    }

    #[test]
    fn who_never_accepted_the_trigger_is_never_sent_the_resolve() {
        let db = database();
        put(&db, &notification(Action::Trigger), &["a".to_owned()], 0).unwrap();
        put_resolve(&db, &notification(Action::Resolve), 0).unwrap();
        settle(&db, 1, "given_up", 300, Some("no such key"), 7).unwrap();
        assert_eq!(due_ids(&db, "a", 1000), [] as [i64; 0]);
        assert_eq!(pending(&db).unwrap(), 0);
    }

    #[test]
    fn a_trigger_that_was_given_up_before_the_end_has_no_resolve() {
        let db = database();
        put(&db, &notification(Action::Trigger), &["a".to_owned(), "b".to_owned()], 0).unwrap();
        settle(&db, 1, "given_up", 300, Some("no such key"), 7).unwrap();
        put_resolve(&db, &notification(Action::Resolve), 8).unwrap();
        assert_eq!(targets(&db, Action::Resolve), ["b"]);
        // Not even one that got into the outbox by another way.
        put(&db, &notification(Action::Resolve), &["a".to_owned()], 8).unwrap();
        assert_eq!(due_ids(&db, "a", 1000), [] as [i64; 0]);
    }

    #[test]
    fn a_target_that_forgets_hears_again_of_what_is_open_and_of_what_has_just_ended() {
        let db = database();
        episode(&db, None);
        put(&db, &notification(Action::Trigger), &["a".to_owned(), "b".to_owned()], 0).unwrap();
        assert!(to_say_again(&db, "a", 0).unwrap().is_empty(), "it was not told yet");
        accepted(&db, 1, 1, Some("C 1.2"), 1).unwrap();
        assert_eq!((to_say_again(&db, "a", 0).unwrap().len(), to_say_again(&db, "b", 0).unwrap().len()), (1, 0));
        db.execute("UPDATE episodes SET resolved_at = 5", []).unwrap();
        put_resolve(&db, &notification(Action::Resolve), 5).unwrap();
        let end = due(&db, Some("a"), &[], 5).unwrap();
        assert_eq!(end[0].receipt.as_deref(), Some("C 1.2"), "the trigger's");
        settle(&db, end[0].id, "delivered", 1, None, 6).unwrap();
        assert_eq!((to_say_again(&db, "a", 6).unwrap().len(), to_say_again(&db, "a", 7).unwrap().len()), (1, 0));
    }

    #[test]
    fn entries_of_targets_that_are_gone_have_a_queue_of_their_own() {
        let db = database();
        put(&db, &notification(Action::Trigger), &["a".to_owned(), "gone".to_owned()], 0).unwrap();
        let left = due(&db, None, &["a".to_owned()], 0).unwrap();
        assert_eq!(left.iter().map(|due| due.target.as_str()).collect::<Vec<_>>(), ["gone"]);
    }

    #[test]
    fn nothing_but_the_end_is_due_while_an_episode_is_muted() {
        let db = database();
        episode(&db, None);
        let (a, b) = (["a".to_owned()], ["b".to_owned()]);
        put_trigger(&db, &notification(Action::Trigger), &a, 0).unwrap();
        accepted(&db, 1, 1, None, 1).unwrap();
        db.execute("UPDATE episodes SET muted_by = '[]'", []).unwrap();
        put_trigger(&db, &notification(Action::Trigger), &b, 2).unwrap();
        put_update(&db, &notification(Action::Remind), &a, 2).unwrap();
        assert!(due_ids(&db, "a", 9).is_empty() && due_ids(&db, "b", 9).is_empty());
        db.execute("UPDATE episodes SET muted_by = NULL", []).unwrap();
        assert_eq!((due_ids(&db, "a", 9), due_ids(&db, "b", 9)), (vec![3], vec![2]));
        db.execute("UPDATE episodes SET muted_by = '[]', resolved_at = 9", []).unwrap();
        put_resolve(&db, &notification(Action::Resolve), 9).unwrap();
        assert_eq!((due_ids(&db, "a", 9), due_ids(&db, "b", 9)), (vec![4], vec![]), "b was never told");
        assert_eq!(pending(&db).unwrap(), 1);
    }

    #[test]
    fn a_trigger_that_arrives_while_it_is_taken_back_has_its_end() {
        let db = database();
        episode(&db, None);
        put_trigger(&db, &notification(Action::Trigger), &["a".to_owned()], 0).unwrap();
        // On its way when the episode is muted, and ends.
        db.execute("UPDATE episodes SET muted_by = '[]', resolved_at = 5", []).unwrap();
        put_resolve(&db, &notification(Action::Resolve), 5).unwrap();
        assert_eq!(targets(&db, Action::Resolve), [] as [&str; 0]);
        accepted(&db, 1, 1, Some("C 1.2"), 6).unwrap();
        let end = due(&db, Some("a"), &[], 6).unwrap();
        let said: Notification = serde_json::from_str(&end[0].notification).unwrap();
        assert_eq!((said.action, said.resolved_at, end.len()), (Action::Resolve, Some(5), 1));
        accepted(&db, end[0].id, 1, None, 7).unwrap();
        assert_eq!(pending(&db).unwrap(), 0);
    }

    #[test]
    fn updates_go_to_those_who_were_told_one_at_a_time_and_end_with_the_episode() {
        let db = database();
        episode(&db, None);
        let both = ["a".to_owned(), "b".to_owned()];
        put_trigger(&db, &notification(Action::Trigger), &both, 0).unwrap();
        put_trigger(&db, &notification(Action::Trigger), &both, 1).unwrap();
        assert_eq!(targets(&db, Action::Trigger), ["a", "b"], "nobody is told of a beginning twice");
        accepted(&db, 1, 1, Some("C 1.2"), 1).unwrap();
        for now in [2, 3] {
            put_update(&db, &notification(Action::Remind), &["a".to_owned(), "c".to_owned()], now).unwrap();
        }
        assert_eq!(targets(&db, Action::Remind), ["a"]);
        assert_eq!(due(&db, Some("a"), &[], 3).unwrap()[0].receipt.as_deref(), Some("C 1.2"));
        accepted(&db, 3, 1, None, 3).unwrap();
        put_update(&db, &notification(Action::Remind), &both, 4).unwrap();
        let second = due(&db, Some("a"), &[], 4).unwrap().remove(0);
        assert_eq!(serde_json::from_str::<Notification>(&second.notification).unwrap().reminder, 2);
        put_resolve(&db, &notification(Action::Resolve), 5).unwrap();
        let left = |target: &str| due_ids(&db, target, 9).len();
        assert_eq!((left("a"), left("b")), (1, 1), "a's end, and b's trigger");
    }
}
