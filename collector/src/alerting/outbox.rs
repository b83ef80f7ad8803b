//! The outbox: what is to be said, stored with what caused it, and said at least once.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::Arc;
use std::time::Duration;

use driftline_alerts::{Action, Delivery, Email, MAX_ATTEMPTS, Notification, PagerDuty, Target, pause_after};
use rusqlite::{Connection, OptionalExtension, params};
use tokio::sync::watch;
use tracing::{info, warn};

use crate::config::{Config, TargetKind};
use crate::metrics::Metrics;
use crate::store::{Store, StoreError};
use crate::times::now_micros;

/// How often the outbox is looked at. A page may wait this long.
const INTERVAL: Duration = Duration::from_millis(500);
/// Entries that are tried in one round.
const ROUND: usize = 50;

/// Puts a notification into the outbox, for each of the targets.
pub(crate) fn put(db: &Connection, notification: &Notification, targets: &[String], now: i64) -> rusqlite::Result<()> {
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

/// What was said when an episode began, and who has accepted it or still may.
pub(crate) fn told(db: &Connection, episode: &str) -> rusqlite::Result<Option<(Notification, Vec<String>)>> {
    let entries: Vec<(String, String)> = db
        .prepare("SELECT target, notification FROM outbox WHERE episode = ?1 AND action = ?2 AND state IN ('pending', 'delivered')")?
        .query_map(params![episode, Action::Trigger.name()], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<rusqlite::Result<_>>()?;
    let notification = entries.first().and_then(|(_, text)| serde_json::from_str(text).ok());
    Ok(notification.map(|notification| (notification, entries.into_iter().map(|(target, _)| target).collect())))
}

/// What was said when an episode began.
pub(crate) fn triggered(db: &Connection, episode: &str) -> rusqlite::Result<Option<Notification>> {
    let text: Option<String> = db
        .prepare_cached("SELECT notification FROM episodes WHERE id = ?1")?
        .query_row([episode], |row| row.get(0))
        .optional()?;
    Ok(text.and_then(|text| serde_json::from_str(&text).ok()))
}

#[derive(Debug)]
struct Due {
    id: i64,
    target: String,
    notification: String,
    attempts: u32,
}

/// Entries whose time has come. A resolve waits for its trigger: a target that never accepted the one is never sent the
/// other.
fn due(db: &Connection, now: i64) -> rusqlite::Result<Vec<Due>> {
    db.prepare_cached(
        "SELECT id, target, notification, attempts FROM outbox AS entry
         WHERE state = 'pending' AND next_attempt_at <= ?1
           AND NOT EXISTS (SELECT 1 FROM outbox AS earlier
                           WHERE earlier.episode = entry.episode AND earlier.target = entry.target
                             AND earlier.id < entry.id AND earlier.state = 'pending')
         ORDER BY id LIMIT ?2",
    )?
    .query_map(params![now, ROUND as i64], |row| {
        Ok(Due { id: row.get(0)?, target: row.get(1)?, notification: row.get(2)?, attempts: row.get(3)? })
    })?
    .collect()
}

/// Delivers what is due, until told to stop.
pub(crate) async fn run(store: Store, config: Arc<Config>, metrics: Arc<Metrics>, mut stopping: watch::Receiver<bool>) {
    let mut targets: BTreeMap<String, Target> = BTreeMap::new();
    for (name, target) in &config.alerting.targets {
        match open(&target.kind) {
            Ok(target) => {
                targets.insert(name.clone(), target);
            }
            Err(error) => warn!(target = %name, %error, "this target cannot be used"),
        }
    }
    loop {
        let now = now_micros();
        match store.read(move |db| due(db, now)).await {
            Ok(entries) => {
                for entry in entries {
                    if let Err(error) = deliver(&store, &targets, &metrics, entry).await {
                        warn!(%error, "the outbox cannot be written; a notification may be delivered again");
                    }
                }
            }
            Err(error) => warn!(%error, "the outbox cannot be read"),
        }
        tokio::select! {
            _ = stopping.wait_for(|stopping| *stopping) => return,
            () = tokio::time::sleep(INTERVAL) => {}
        }
    }
}

fn open(kind: &TargetKind) -> Result<Target, String> {
    Ok(match kind.clone() {
        TargetKind::PagerDuty { url, routing_key } => Target::PagerDuty(PagerDuty::new(url, routing_key)?),
        TargetKind::Email { from, to, transport } => Target::Email(Email::new(from, to, transport)),
    })
}

async fn deliver(
    store: &Store,
    targets: &BTreeMap<String, Target>,
    metrics: &Metrics,
    entry: Due,
) -> Result<(), StoreError> {
    let Due { id, target: name, notification, attempts } = entry;
    let attempts = attempts + 1;
    let outcome = match (targets.get(&name), serde_json::from_str::<Notification>(&notification)) {
        (Some(target), Ok(notification)) => target.deliver(&notification).await,
        (None, _) => Delivery::Retry { after: None, why: format!("there is no usable target '{name}'") },
        (_, Err(error)) => Delivery::Refused { why: format!("the stored notification cannot be read: {error}") },
    };
    let now = now_micros();
    match outcome {
        Delivery::Accepted => {
            metrics.notifications(&name, "delivered").inc();
            store.writer.write(move |db| settle(db, id, "delivered", attempts, None, now)).await
        }
        Delivery::Retry { after, why } if attempts < MAX_ATTEMPTS => {
            metrics.notifications(&name, "retried").inc();
            if attempts == 1 {
                info!(target = %name, %why, "a notification could not be delivered, and will be tried again");
            }
            let random = RandomState::new().build_hasher().finish() as f64 / u64::MAX as f64;
            let next = now + pause_after(attempts, after, random).as_micros() as i64;
            store.writer.write(move |db| postpone(db, id, attempts, &why, next)).await
        }
        Delivery::Retry { why, .. } | Delivery::Refused { why } => {
            metrics.notifications(&name, "given_up").inc();
            warn!(target = %name, %why, attempts, "a notification is given up");
            store.writer.write(move |db| settle(db, id, "given_up", attempts, Some(&why), now)).await
        }
    }
}

fn postpone(db: &Connection, id: i64, attempts: u32, why: &str, next: i64) -> rusqlite::Result<()> {
    db.prepare_cached("UPDATE outbox SET attempts = ?2, last_error = ?3, next_attempt_at = ?4 WHERE id = ?1")?
        .execute(params![id, attempts, why, next])?;
    Ok(())
}

/// An entry is done. When a trigger was given up, so is the resolve that waits behind it: the target knows of nothing.
fn settle(db: &Connection, id: i64, state: &str, attempts: u32, why: Option<&str>, now: i64) -> rusqlite::Result<()> {
    db.prepare_cached("UPDATE outbox SET state = ?2, attempts = ?3, last_error = ?4, settled_at = ?5 WHERE id = ?1")?
        .execute(params![id, state, attempts, why, now])?;
    if state == "given_up" {
        db.prepare_cached(
            "UPDATE outbox SET state = 'cancelled', settled_at = ?2
             WHERE state = 'pending' AND action = ?3
               AND (episode, target) = (SELECT episode, target FROM outbox WHERE id = ?1 AND action = ?4)",
        )?
        .execute(params![id, now, Action::Resolve.name(), Action::Trigger.name()])?;
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
        db.execute_batch(include_str!("../store/schema.sql")).unwrap();
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
            facts: Vec::new(),
            rows: Vec::new(),
            more_rows: 0,
            picture: None,
            page_url: String::new(),
            runbook_url: String::new(),
        }
    }

    fn due_ids(db: &Connection, now: i64) -> Vec<i64> {
        due(db, now).unwrap().iter().map(|due| due.id).collect()
    }

    #[test]
    fn a_resolve_waits_for_its_trigger_at_the_same_target_only() {
        let db = database();
        let targets = ["a".to_owned(), "b".to_owned()];
        put(&db, &notification(Action::Trigger), &targets, 0).unwrap();
        put(&db, &notification(Action::Resolve), &targets, 0).unwrap();
        assert_eq!(due_ids(&db, 0), [1, 2]);
        settle(&db, 2, "delivered", 1, None, 0).unwrap();
        postpone(&db, 1, 1, "busy", 100).unwrap();
        assert_eq!(due_ids(&db, 0), [4], "b's resolve; a's waits with its trigger");
        assert_eq!(due_ids(&db, 100), [1, 4]);
        settle(&db, 1, "delivered", 2, None, 0).unwrap();
        assert_eq!(due_ids(&db, 0), [3, 4]);
    }

    #[test]
    fn who_never_accepted_the_trigger_is_never_sent_the_resolve() {
        let db = database();
        put(&db, &notification(Action::Trigger), &["a".to_owned()], 0).unwrap();
        put(&db, &notification(Action::Resolve), &["a".to_owned()], 0).unwrap();
        settle(&db, 1, "given_up", 300, Some("no such key"), 7).unwrap();
        assert_eq!(due_ids(&db, 1000), [] as [i64; 0]);
        assert_eq!(pending(&db).unwrap(), 0);
    }
}
