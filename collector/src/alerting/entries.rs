//! The outbox: what is to be said, stored with what caused it, in the order in which it is said.

use driftline_alerts::{Acknowledgement, Action, Before, ChangeEvent, Notification};
use rusqlite::{Connection, OptionalExtension, Row, params};
use serde::Serialize;

/// Entries that are tried in one round.
const ROUND: usize = 50;
/// Notifications that are said again in one round; more alerts than this at once are one outage.
const MAX_AGAIN: usize = 1000;

/// Puts a notification into the outbox, for each of the targets.
fn put(db: &Connection, notification: &Notification, targets: &[String], now: i64) -> rusqlite::Result<()> {
    let text = as_text(notification)?;
    for target in targets {
        db.prepare_cached(
            "INSERT INTO outbox (episode, target, action, notification, created_at, next_attempt_at)
             VALUES (?1, ?2, ?3, ?4, ?5, ?5)",
        )?
        .execute(params![notification.episode, target, notification.action.name(), text, now])?;
    }
    Ok(())
}

/// Puts a change into the outbox, for one target. It belongs to no episode.
pub(super) fn put_change(db: &Connection, change: &ChangeEvent, target: &str, now: i64) -> rusqlite::Result<()> {
    db.prepare_cached(
        "INSERT INTO outbox (episode, target, action, notification, created_at, next_attempt_at)
         VALUES ('', ?1, ?2, ?3, ?4, ?4)",
    )?
    .execute(params![target, ChangeEvent::ACTION, as_text(change)?, now])?;
    Ok(())
}

/// How many changes wait for a target.
pub(super) fn changes_waiting(db: &Connection, target: &str) -> rusqlite::Result<u64> {
    db.prepare_cached("SELECT count(*) FROM outbox WHERE state = 'pending' AND target = ?1 AND action = ?2")?
        .query_row([target, ChangeEvent::ACTION], |row| row.get(0))
}

/// Puts the resolve of an episode into the outbox, for each target that accepted its trigger or still may. What the
/// configuration says now does not matter: a target that was told of the beginning is told of the end, and no other.
pub(crate) fn put_resolve(db: &Connection, notification: &Notification, now: i64) -> rusqlite::Result<()> {
    settle_what_some_have(db, &notification.episode, now)?;
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

/// What an update says besides that the episode goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Update {
    /// Nothing: who may have heard the last of its kind is not told again.
    Again,
    /// Something that nobody was told before.
    News,
}

/// Puts what comes between the beginning and the end of an episode into the outbox, for those who were told of the
/// beginning and are among `hearers`. Who waits for the last of its kind hears this in its place; if that may have been heard
/// already, nothing but news is said behind it.
pub(crate) fn put_update(
    db: &Connection,
    notification: &Notification,
    hearers: &[String],
    update: Update,
    now: i64,
) -> rusqlite::Result<()> {
    for target in told(db, &notification.episode)?.into_iter().filter(|target| hearers.contains(target)) {
        // SQLite takes what stands beside max() from the row that has it.
        type Last = (u64, Option<i64>, Option<String>, Option<bool>, Option<bool>);
        let (before, last, state, in_doubt, some_have_it): Last = db
            .prepare_cached(
                "SELECT count(*), max(id), state, in_doubt, receipt IS NOT NULL FROM outbox
                 WHERE episode = ?1 AND target = ?2 AND action = ?3",
            )?
            .query_row(params![notification.episode, target, notification.action.name()], |row| {
                Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?))
            })?;
        let mut notification = notification.clone();
        let number = |place: u64| if notification.action == Action::Remind { place } else { 0 };
        match (state.as_deref(), in_doubt, last) {
            // Those who have it are not to wait for the others, who hear the next one.
            (Some("pending"), Some(false), Some(id)) if some_have_it == Some(true) => {
                settle(db, id, now)?;
                notification.reminder = number(before + 1);
                put(db, &notification, &[target], now)?;
            }
            (Some("pending"), Some(false), Some(id)) => {
                notification.reminder = number(before);
                say_instead(db, id, &notification)?;
            }
            (Some("pending"), ..) if update == Update::Again => {}
            _ => {
                notification.reminder = number(before + 1);
                put(db, &notification, &[target], now)?;
            }
        }
    }
    Ok(())
}

/// Has an entry that waits say something else.
fn say_instead(db: &Connection, id: i64, notification: &Notification) -> rusqlite::Result<()> {
    db.prepare_cached("UPDATE outbox SET notification = ?2 WHERE id = ?1")?
        .execute(params![id, as_text(notification)?])?;
    Ok(())
}

/// Has what waits to be said of an episode, and that nobody may have heard yet, say what `change` makes of it.
pub(super) fn bring_up_to_date(
    db: &Connection,
    episode: &str,
    change: impl Fn(&mut Notification),
) -> rusqlite::Result<()> {
    let waiting: Vec<(i64, String)> = db
        .prepare_cached(
            "SELECT id, notification FROM outbox
             WHERE episode = ?1 AND action IN (?2, ?3) AND state = 'pending' AND receipt IS NULL AND NOT in_doubt",
        )?
        .query_map(params![episode, Action::Trigger.name(), Action::Remind.name()], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })?
        .collect::<rusqlite::Result<_>>()?;
    for (id, text) in waiting {
        // What cannot be read is given up when it is its turn.
        let Ok(mut notification) = serde_json::from_str(&text) else { continue };
        change(&mut notification);
        say_instead(db, id, &notification)?;
    }
    Ok(())
}

fn as_text(said: &impl Serialize) -> rusqlite::Result<String> {
    serde_json::to_string(said).map_err(|error| rusqlite::Error::ToSqlConversionFailure(Box::new(error)))
}

/// The targets that accepted an episode's trigger, or still may, or may have.
pub(super) fn told(db: &Connection, episode: &str) -> rusqlite::Result<Vec<String>> {
    db.prepare_cached(
        "SELECT DISTINCT target FROM outbox
         WHERE episode = ?1 AND action = ?2
           AND (state IN ('pending', 'delivered') OR state = 'given_up' AND in_doubt)
         ORDER BY target",
    )?
    .query_map(params![episode, Action::Trigger.name()], |row| row.get(0))?
    .collect()
}

/// Takes back what need not be said of an episode that has ended: reminders and acknowledgements, and triggers that were held
/// back because it is muted, unless they may have arrived.
fn cancel_what_is_over(db: &Connection, episode: &str, now: i64) -> rusqlite::Result<()> {
    db.prepare_cached(
        "UPDATE outbox SET state = 'cancelled', settled_at = ?2
         WHERE episode = ?1 AND state = 'pending'
           AND (action IN (?3, ?4)
                OR action = ?5 AND NOT in_doubt
                   AND EXISTS (SELECT 1 FROM episodes WHERE id = ?1 AND muted_by IS NOT NULL))",
    )?
    .execute(params![episode, now, Action::Remind.name(), Action::Acknowledge.name(), Action::Trigger.name()])?;
    Ok(())
}

/// A target of which some have a beginning, and others would be told of it yet, need not tell them any more of what has ended;
/// and the end does not wait for them. What is on its way is settled once it was answered.
fn settle_what_some_have(db: &Connection, episode: &str, now: i64) -> rusqlite::Result<()> {
    db.prepare_cached(
        "UPDATE outbox SET state = 'delivered', settled_at = ?2
         WHERE episode = ?1 AND action = ?3 AND state = 'pending' AND receipt IS NOT NULL AND NOT in_doubt",
    )?
    .execute(params![episode, now, Action::Trigger.name()])?;
    Ok(())
}

/// An entry that some have is said to nobody else.
fn settle(db: &Connection, id: i64, now: i64) -> rusqlite::Result<()> {
    db.prepare_cached("UPDATE outbox SET state = 'delivered', settled_at = ?2 WHERE id = ?1")?
        .execute(params![id, now])?;
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
    /// Whether it tells of a change, and not of an episode.
    pub(super) is_change: bool,
    /// Whether nothing is wrong: somebody made it up.
    pub(super) is_drill: bool,
    pub(super) attempts: u32,
    pub(super) created_at: i64,
    /// Whether an attempt before may have arrived.
    pub(super) in_doubt: bool,
}

/// Entries of one target whose time has come; without a target, those of targets that are not configured any more. What
/// follows a trigger waits for it: a target that did not accept the one is never sent the other. Where some behind the target
/// have accepted it, only the end waits for the others. The end goes to whoever may have accepted it, too. Of an episode that is muted only the end is due. Changes come last: nobody is woken by them.
pub(super) fn due(
    db: &Connection,
    target: Option<&str>,
    configured: &[String],
    now: i64,
) -> rusqlite::Result<Vec<Due>> {
    let configured = serde_json::to_string(configured).unwrap_or_default();
    db.prepare_cached(
        "SELECT id, target, action = ?7 AS is_change,
                EXISTS (SELECT 1 FROM drills WHERE drills.episode = entry.episode), attempts, created_at, in_doubt
         FROM outbox AS entry
         WHERE state = 'pending' AND next_attempt_at <= ?1
           AND (target = ?2 OR (?2 IS NULL AND target NOT IN (SELECT value FROM json_each(?3))))
           AND (action IN (?5, ?7) OR EXISTS (SELECT 1 FROM outbox AS trigger
                                        WHERE trigger.episode = entry.episode AND trigger.target = entry.target
                                          AND trigger.action = ?5
                                          AND (trigger.state = 'delivered'
                                               OR entry.action != ?4 AND trigger.receipt IS NOT NULL
                                               OR entry.action = ?4 AND trigger.state = 'given_up' AND trigger.in_doubt)))
           AND (action = ?4 OR NOT EXISTS (SELECT 1 FROM episodes
                                           WHERE id = entry.episode AND muted_by IS NOT NULL AND resolved_at IS NULL))
         ORDER BY is_change, id LIMIT ?6",
    )?
    .query_map(
        params![
            now,
            target,
            configured,
            Action::Resolve.name(),
            Action::Trigger.name(),
            ROUND as i64,
            ChangeEvent::ACTION
        ],
        |row| {
            Ok(Due {
                id: row.get(0)?,
                target: row.get(1)?,
                is_change: row.get(2)?,
                is_drill: row.get(3)?,
                attempts: row.get(4)?,
                created_at: row.get(5)?,
                in_doubt: row.get(6)?,
            })
        },
    )?
    .collect()
}

/// An entry is about to be sent, and says this by now, after this came before it; none when it was taken back meanwhile. From
/// here on it may have arrived, also when this process is killed before it knows: what is in doubt is neither taken back nor
/// made to say something else.
pub(super) fn begin(db: &Connection, id: i64) -> rusqlite::Result<Option<(String, Before)>> {
    let begun = db
        .prepare_cached(
            "UPDATE outbox SET attempts = attempts + 1, in_doubt = 1 WHERE id = ?1 AND state = 'pending'
             RETURNING notification, receipt",
        )?
        .query_row([id], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    let Some((text, so_far)) = begun else { return Ok(None) };
    let trigger = db
        .prepare_cached(
            "SELECT trigger.receipt, trigger.in_doubt FROM outbox AS entry
             JOIN outbox AS trigger USING (episode, target)
             WHERE entry.id = ?1 AND entry.action != ?2 AND trigger.action = ?2
               AND (trigger.state IN ('pending', 'delivered') OR trigger.in_doubt)
             ORDER BY trigger.state = 'delivered' DESC, trigger.id DESC LIMIT 1",
        )?
        .query_row(params![id, Action::Trigger.name()], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    let (begun, begun_in_doubt) = trigger.unwrap_or_default();
    Ok(Some((text, Before { begun, begun_in_doubt, so_far })))
}

/// An entry did not arrive, or nobody knows whether it did, and is tried again. A trigger that did not, of an episode that
/// has ended in silence, is taken back; one that some have is not said to the others once its episode has ended.
pub(super) fn postpone(
    db: &Connection,
    id: i64,
    in_doubt: bool,
    why: &str,
    next: i64,
    now: i64,
) -> rusqlite::Result<()> {
    db.prepare_cached("UPDATE outbox SET in_doubt = ?2, last_error = ?3, next_attempt_at = ?4 WHERE id = ?1")?
        .execute(params![id, in_doubt, why, next])?;
    let is_settled = db
        .prepare_cached(
            "UPDATE outbox SET state = 'delivered', settled_at = ?3
             WHERE id = ?1 AND action = ?2 AND receipt IS NOT NULL
               AND EXISTS (SELECT 1 FROM episodes WHERE id = outbox.episode AND resolved_at IS NOT NULL)",
        )?
        .execute(params![id, Action::Trigger.name(), now])?;
    if is_settled > 0 {
        return Ok(());
    }
    let taken_back = db
        .prepare_cached(
            "UPDATE outbox SET state = 'cancelled', settled_at = ?3
             WHERE id = ?1 AND action = ?2 AND NOT in_doubt
               AND EXISTS (SELECT 1 FROM episodes
                           WHERE id = outbox.episode AND resolved_at IS NOT NULL AND muted_by IS NOT NULL)",
        )?
        .execute(params![id, Action::Trigger.name(), now])?;
    if taken_back > 0 {
        cancel_what_waits_for(db, id, now)?;
    }
    Ok(())
}

/// An entry has arrived, and its target may have named it.
pub(super) fn accepted(db: &Connection, id: i64, receipt: Option<&str>, now: i64) -> rusqlite::Result<()> {
    db.prepare_cached(
        "UPDATE outbox SET state = 'delivered', in_doubt = 0, receipt = ?2, last_error = NULL, settled_at = ?3
         WHERE id = ?1",
    )?
    .execute(params![id, receipt, now])?;
    Ok(())
}

/// An entry has arrived at some of those behind its target. The others are tried again from `next` on, or never.
pub(super) fn accepted_in_part(
    db: &Connection,
    (id, in_doubt): (i64, bool),
    receipt: &str,
    why: &str,
    next: Option<i64>,
    now: i64,
) -> rusqlite::Result<()> {
    db.prepare_cached("UPDATE outbox SET receipt = ?2 WHERE id = ?1")?.execute(params![id, receipt])?;
    match next {
        Some(next) => postpone(db, id, in_doubt, why, next, now),
        None => give_up(db, id, in_doubt, why, now),
    }
}

/// An entry is not tried any more, and stays as a dead letter until somebody sends it again or dismisses it. What waits
/// behind a trigger that did not arrive is taken back: the target knows of nothing. Of one that may have arrived the end is told.
/// What some behind the target have was delivered, though not to all.
pub(super) fn give_up(db: &Connection, id: i64, in_doubt: bool, why: &str, now: i64) -> rusqlite::Result<()> {
    let state: String = db
        .prepare_cached(
            "UPDATE outbox SET state = iif(receipt IS NULL, 'given_up', 'delivered'), in_doubt = ?2, last_error = ?3, settled_at = ?4
             WHERE id = ?1 RETURNING state",
        )?
        .query_row(params![id, in_doubt, why, now], |row| row.get(0))?;
    if state == "given_up" { cancel_what_waits_for(db, id, now) } else { Ok(()) }
}

/// Takes back what waits behind a trigger, but the end of one that may have arrived.
fn cancel_what_waits_for(db: &Connection, id: i64, now: i64) -> rusqlite::Result<()> {
    db.prepare_cached(
        "UPDATE outbox SET state = 'cancelled', settled_at = ?2
         WHERE state = 'pending' AND action != ?3
           AND (episode, target) = (SELECT episode, target FROM outbox WHERE id = ?1 AND action = ?3)
           AND (action != ?4 OR NOT (SELECT in_doubt FROM outbox WHERE id = ?1))",
    )?
    .execute(params![id, now, Action::Trigger.name(), Action::Resolve.name()])?;
    Ok(())
}

/// How many notifications wait.
pub(crate) fn pending(db: &Connection) -> rusqlite::Result<u64> {
    db.prepare_cached("SELECT count(*) FROM outbox WHERE state = 'pending'")?.query_row([], |row| row.get(0))
}

#[cfg(test)]
mod tests;
