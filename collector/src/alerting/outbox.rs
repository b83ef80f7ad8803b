//! Deliveries: what the outbox holds, said at least once.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::Arc;
use std::time::{Duration, Instant};

use driftline_alerts::{
    Alertmanager, Datadog, Delivery, Email, MAX_ATTEMPTS, Notification, Opsgenie, PagerDuty, Slack, Target, Teams,
    Webhook, pause_after,
};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tracing::{error, info, warn};

use super::entries::{self, Due};
use crate::config::{Config, TargetKind};
use crate::metrics::Metrics;
use crate::store::{Store, StoreError};
use crate::telemetry::{Spanning, Tracer};
use crate::times::now_micros;

/// How often the outbox is looked at. A page may wait this long.
const INTERVAL: Duration = Duration::from_millis(500);
/// What ended is said again for so many times the interval.
const AGAIN_AFTER_END: i64 = 5;

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
            match store.read(move |db| entries::due(db, name.as_deref(), &configured, now)).await {
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
        let due = match store.read(move |db| entries::to_say_again(db, &name, since)).await {
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
            store.writer.write(move |db| entries::accepted(db, id, attempts, receipt.as_deref(), now)).await
        }
        Delivery::Retry { after, why } if attempts < MAX_ATTEMPTS => {
            metrics.notifications(&name, "retried").inc();
            if attempts == 1 {
                info!(target = %name, %why, "a notification could not be delivered, and will be tried again");
            }
            let random = RandomState::new().build_hasher().finish() as f64 / u64::MAX as f64;
            let next = now + pause_after(attempts, after, random).as_micros() as i64;
            store.writer.write(move |db| entries::postpone(db, id, attempts, &why, next)).await
        }
        Delivery::Retry { why, .. } | Delivery::Refused { why } => {
            metrics.notifications(&name, "given_up").inc();
            warn!(target = %name, %why, attempts, "a notification is given up");
            store.writer.write(move |db| entries::settle(db, id, "given_up", attempts, Some(&why), now)).await
        }
    }
}
