//! What became of alerts, written in one transaction with what caused it: episodes, and what is to be said of them.

use driftline_alerts::{Action, Mute, Notification, Saying};
use rusqlite::{Connection, params};

use super::entries;

/// Something that became of an episode. News are written in the order in which they came.
#[derive(Debug)]
pub(crate) enum News {
    /// It began.
    Began {
        /// What is known of it.
        notification: Box<Notification>,
        fingerprint: String,
        runbook: String,
    },
    /// It is muted, or by other things than before, or not any more.
    Muted { episode: String, by: Vec<Mute> },
    /// Something is to be said of it.
    Said {
        episode: String,
        saying: Saying,
        /// Targets that are told of reminders.
        hearers: Vec<String>,
    },
    /// It ended.
    Ended { notification: Box<Notification> },
}

impl News {
    /// Writes it.
    pub(crate) fn store(&self, db: &Connection, now: i64) -> rusqlite::Result<()> {
        match self {
            Self::Began { notification, fingerprint, runbook } => begin(db, notification, fingerprint, runbook),
            Self::Muted { episode, by } => {
                let by = (!by.is_empty()).then(|| serde_json::to_string(by).unwrap_or_default());
                db.prepare_cached("UPDATE episodes SET muted_by = ?2 WHERE id = ?1")?.execute(params![episode, by])?;
                Ok(())
            }
            Self::Said { episode, saying, hearers } => say(db, episode, saying, hearers, now),
            Self::Ended { notification } => end(db, notification, now),
        }
    }
}

fn begin(db: &Connection, notification: &Notification, fingerprint: &str, runbook: &str) -> rusqlite::Result<()> {
    let text = serde_json::to_string(notification).unwrap_or_default();
    db.prepare_cached(
        "INSERT OR REPLACE INTO episodes (id, fingerprint, rule, severity, runbook, started_at, notification)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
    )?
    .execute(params![
        notification.episode,
        fingerprint,
        notification.rule,
        notification.severity.name(),
        runbook,
        notification.started_at,
        text
    ])?;
    Ok(())
}

/// Says what was known when the episode began, whenever that is said.
fn say(db: &Connection, episode: &str, saying: &Saying, hearers: &[String], now: i64) -> rusqlite::Result<()> {
    let Some(mut notification) = entries::triggered(db, episode)? else { return Ok(()) };
    let explained = explained(db, episode)?;
    if explained > 0 {
        let alerts = if explained == 1 { "1 more alert is" } else { &format!("{explained} more alerts are") };
        notification
            .facts
            .push(("Explains".to_owned(), format!("{alerts} explained by this, and nobody is told of it")));
    }
    match saying {
        Saying::Trigger(targets) => entries::put_trigger(db, &notification, targets, now),
        Saying::Remind => {
            notification.action = Action::Remind;
            entries::put_update(db, &notification, hearers, now)
        }
    }
}

/// How many open episodes an episode explains.
fn explained(db: &Connection, episode: &str) -> rusqlite::Result<u64> {
    db.prepare_cached(
        "SELECT count(*) FROM episodes
         WHERE resolved_at IS NULL AND muted_by IS NOT NULL
           AND EXISTS (SELECT 1 FROM json_each(muted_by) WHERE json_each.value = json(?1))",
    )?
    .query_row([mute_text(episode)], |row| row.get(0))
}

/// How `muted_by` names an episode that explains.
pub(crate) fn mute_text(episode: &str) -> String {
    serde_json::to_string(&Mute::Alert(episode.to_owned())).unwrap_or_default()
}

fn end(db: &Connection, notification: &Notification, now: i64) -> rusqlite::Result<()> {
    db.prepare_cached("UPDATE episodes SET resolved_at = ?2 WHERE id = ?1")?
        .execute(params![notification.episode, notification.resolved_at])?;
    let mut resolve = notification.clone();
    if let Some(said) = entries::triggered(db, &notification.episode)? {
        // One subject, one thread.
        resolve.subject = said.subject;
    }
    entries::put_resolve(db, &resolve, now)
}
