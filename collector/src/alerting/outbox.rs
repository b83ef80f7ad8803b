//! The outbox: what is to be said, stored with what caused it, and said at least once.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::Arc;
use std::time::{Duration, Instant};

use driftline_alerts::{
    Action, Alertmanager, Datadog, Delivery, Email, MAX_ATTEMPTS, Notification, Opsgenie, PagerDuty, Slack, Target,
    Teams, Webhook, pause_after,
};
use rusqlite::{Connection, OptionalExtension, params};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tracing::{error, info, warn};

use crate::config::{Config, TargetKind};
use crate::metrics::Metrics;
use crate::store::{Store, StoreError};
use crate::telemetry::{Spanning, Tracer};
use crate::times::now_micros;

/// How often the outbox is looked at. A page may wait this long.
const INTERVAL: Duration = Duration::from_millis(500);
/// Entries that are tried in one round.
const ROUND: usize = 50;
/// Notifications that are said again in one round; more alerts than this at once are one outage.
const MAX_AGAIN: usize = 1000;
/// What ended is said again for so many times the interval.
const AGAIN_AFTER_END: i64 = 5;

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

/// Puts the resolve of an episode into the outbox, for each target that accepted its trigger or still may. What the
/// configuration says now does not matter: a target that was told of the beginning is told of the end, and no other.
pub(crate) fn put_resolve(db: &Connection, notification: &Notification, now: i64) -> rusqlite::Result<()> {
    let told: Vec<String> = db
        .prepare_cached(
            "SELECT DISTINCT target FROM outbox
             WHERE episode = ?1 AND action = ?2 AND state IN ('pending', 'delivered') ORDER BY target",
        )?
        .query_map(params![notification.episode, Action::Trigger.name()], |row| row.get(0))?
        .collect::<rusqlite::Result<_>>()?;
    put(db, notification, &told, now)
}

/// What was said when an episode began.
pub(crate) fn triggered(db: &Connection, episode: &str) -> rusqlite::Result<Option<Notification>> {
    let text: Option<String> = db
        .prepare_cached("SELECT notification FROM episodes WHERE id = ?1")?
        .query_row([episode], |row| row.get(0))
        .optional()?;
    Ok(text.and_then(|text| serde_json::from_str(&text).ok()))
}

/// What a target that forgets is to hear again: triggers of episodes that are open, and ends that it was told of since then.
fn to_say_again(db: &Connection, target: &str, since: i64) -> rusqlite::Result<Vec<String>> {
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
struct Due {
    id: i64,
    target: String,
    notification: String,
    attempts: u32,
    /// What the target gave when it accepted the episode's trigger.
    receipt: Option<String>,
}

/// Entries of one target whose time has come; without a target, those of targets that are not configured any more. A
/// resolve waits for its trigger: a target that did not accept the one is never sent the other.
fn due(db: &Connection, target: Option<&str>, configured: &[String], now: i64) -> rusqlite::Result<Vec<Due>> {
    let configured = serde_json::to_string(configured).unwrap_or_default();
    db.prepare_cached(
        "SELECT id, target, notification, attempts,
                (SELECT receipt FROM outbox AS trigger
                 WHERE trigger.episode = entry.episode AND trigger.target = entry.target
                   AND trigger.action = ?5 AND trigger.state = 'delivered' AND entry.action = ?4)
         FROM outbox AS entry
         WHERE state = 'pending' AND next_attempt_at <= ?1
           AND (target = ?2 OR (?2 IS NULL AND target NOT IN (SELECT value FROM json_each(?3))))
           AND (action != ?4 OR EXISTS (SELECT 1 FROM outbox AS trigger
                                        WHERE trigger.episode = entry.episode AND trigger.target = entry.target
                                          AND trigger.action = ?5 AND trigger.state = 'delivered'))
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

/// Delivers what is due, until told to stop. Each target has a task of its own: one that does not answer holds up
/// nobody else's page.
pub(crate) async fn run(
    store: Store,
    config: Arc<Config>,
    metrics: Arc<Metrics>,
    tracer: Tracer,
    stopping: watch::Receiver<bool>,
) {
    let configured: Arc<[String]> = config.alerting.targets.keys().cloned().collect();
    let mut tasks = JoinSet::new();
    for (name, target) in &config.alerting.targets {
        let target = match open(&target.kind) {
            Ok(target) => Some(target),
            Err(error) => {
                warn!(target = %name, %error, "this target cannot be used");
                None
            }
        };
        let queue =
            Queue { name: Some(name.clone()), target, configured: Arc::clone(&configured), tracer: tracer.clone() };
        tasks.spawn(queue.run(store.clone(), Arc::clone(&metrics), stopping.clone()));
    }
    let orphaned = Queue { name: None, target: None, configured, tracer };
    tasks.spawn(orphaned.run(store, metrics, stopping));
    while let Some(ended) = tasks.join_next().await {
        if let Err(error) = ended {
            error!(%error, "the deliveries to a target ended; they go on after a restart");
        }
    }
}

/// What waits for one target.
struct Queue {
    /// Its name; none for all that are not configured any more.
    name: Option<String>,
    /// None when there is none that can be used.
    target: Option<Target>,
    configured: Arc<[String]>,
    tracer: Tracer,
}

impl Queue {
    async fn run(self, store: Store, metrics: Arc<Metrics>, mut stopping: watch::Receiver<bool>) {
        let mut said_again = Instant::now();
        loop {
            let (now, name, configured) = (now_micros(), self.name.clone(), Arc::clone(&self.configured));
            match store.read(move |db| due(db, name.as_deref(), &configured, now)).await {
                Ok(entries) => {
                    for entry in entries {
                        if *stopping.borrow() {
                            return;
                        }
                        let span = self.tracer.begin("deliver notification");
                        if let Err(error) = deliver(&store, self.target.as_ref(), &metrics, entry, span).await {
                            warn!(%error, "the outbox cannot be written; a notification may be delivered again");
                        }
                    }
                }
                Err(error) => warn!(%error, "the outbox cannot be read"),
            }
            if let Some((target, every)) = self.target.as_ref().and_then(|target| Some((target, target.again()?)))
                && said_again.elapsed() >= every
            {
                said_again = Instant::now();
                self.say_again(target, every, &store, &metrics).await;
            }
            tokio::select! {
                _ = stopping.wait_for(|stopping| *stopping) => return,
                () = tokio::time::sleep(INTERVAL) => {}
            }
        }
    }

    /// Says again what a target forgets otherwise. What does not arrive now is said again in a while.
    async fn say_again(&self, target: &Target, every: Duration, store: &Store, metrics: &Metrics) {
        let Some(name) = self.name.clone() else { return };
        let since = now_micros() - AGAIN_AFTER_END * every.as_micros() as i64;
        let due = match store.read(move |db| to_say_again(db, &name, since)).await {
            Ok(due) => due,
            Err(error) => return warn!(%error, "the outbox cannot be read"),
        };
        for notification in due.iter().filter_map(|text| serde_json::from_str::<Notification>(text).ok()) {
            let said = target.deliver(&notification, None).await;
            let outcome = if matches!(said, Delivery::Accepted { .. }) { "repeated" } else { "not_repeated" };
            metrics.notifications(self.name.as_deref().unwrap_or_default(), outcome).inc();
        }
    }
}

fn open(kind: &TargetKind) -> Result<Target, String> {
    Ok(match kind.clone() {
        TargetKind::PagerDuty { url, routing_key } => Target::PagerDuty(PagerDuty::new(url, routing_key)?),
        TargetKind::Email { from, to, transport } => Target::Email(Email::new(from, to, transport)),
        TargetKind::Slack(way) => Target::Slack(Slack::new(way)?),
        TargetKind::Teams { url } => Target::Teams(Teams::new(url)?),
        TargetKind::Alertmanager { urls } => Target::Alertmanager(Alertmanager::new(urls)?),
        TargetKind::Datadog { site, url, api_key } => Target::Datadog(Datadog::new(&site, url, api_key)?),
        TargetKind::Opsgenie { url, api_key } => Target::Opsgenie(Opsgenie::new(url, api_key)?),
        TargetKind::Webhook { url, signing_key } => Target::Webhook(Webhook::new(url, signing_key)?),
    })
}

async fn deliver(
    store: &Store,
    target: Option<&Target>,
    metrics: &Metrics,
    entry: Due,
    mut span: Spanning,
) -> Result<(), StoreError> {
    span.text("driftline.target", &entry.target);
    let Due { id, target: name, notification, attempts, receipt } = entry;
    let attempts = attempts + 1;
    let outcome = match (target, serde_json::from_str::<Notification>(&notification)) {
        (Some(target), Ok(notification)) => target.deliver(&notification, receipt.as_deref()).await,
        (None, _) => Delivery::Retry { after: None, why: format!("there is no usable target '{name}'") },
        (_, Err(error)) => Delivery::Refused { why: format!("the stored notification cannot be read: {error}") },
    };
    if let Delivery::Retry { why, .. } | Delivery::Refused { why } = &outcome {
        span.fail(why);
    }
    let now = now_micros();
    match outcome {
        Delivery::Accepted { receipt } => {
            metrics.notifications(&name, "delivered").inc();
            store.writer.write(move |db| accepted(db, id, attempts, receipt.as_deref(), now)).await
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

/// An entry has arrived, and its target may have named it.
fn accepted(db: &Connection, id: i64, attempts: u32, receipt: Option<&str>, now: i64) -> rusqlite::Result<()> {
    db.prepare_cached("UPDATE outbox SET receipt = ?2 WHERE id = ?1")?.execute(params![id, receipt])?;
    settle(db, id, "delivered", attempts, None, now)
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

    fn due_ids(db: &Connection, target: &str, now: i64) -> Vec<i64> {
        due(db, Some(target), &[], now).unwrap().iter().map(|due| due.id).collect()
    }

    fn told(db: &Connection, action: Action) -> Vec<String> {
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
        assert_eq!(told(&db, Action::Resolve), ["b"]);
        // Not even one that got into the outbox by another way.
        put(&db, &notification(Action::Resolve), &["a".to_owned()], 8).unwrap();
        assert_eq!(due_ids(&db, "a", 1000), [] as [i64; 0]);
    }

    #[test]
    fn a_target_that_forgets_hears_again_of_what_is_open_and_of_what_has_just_ended() {
        let db = database();
        let episode = |id: &str, resolved: Option<i64>| {
            db.execute("INSERT INTO episodes VALUES (?1, ?1, 'R', 'page', 'r', 0, ?2, '')", params![id, resolved])
                .unwrap();
        };
        episode("e", None);
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
}
