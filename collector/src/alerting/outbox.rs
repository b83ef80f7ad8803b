//! Deliveries: what the outbox holds, said at least once.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::Arc;
use std::time::{Duration, Instant};

use driftline_alerts::{
    Alertmanager, Before, ChangeEvent, Datadog, Delivery, Email, Gate, Micros, Notification, Opsgenie, PagerDuty,
    Pictures, Rest, Slack, Target, Teams, Webhook, is_given_up, pause_after,
};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tracing::{error, info, warn};

use super::change_events;
use super::entries::{self, Due};
use crate::config::{Config, TargetKind};
use crate::metrics::Metrics;
use crate::store::{Store, StoreError};
use crate::telemetry::Tracer;
use crate::times::now_micros;

/// How often the outbox is looked at. A page may wait this long.
const INTERVAL: Duration = Duration::from_millis(500);
/// No target is looked at more often, however short its rest.
const SHORTEST_REST: Duration = Duration::from_millis(10);
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
    let told_changes = config.alerting.targets.iter().filter(|(_, target)| target.kind.changes().is_some());
    let told_changes: Vec<String> = told_changes.map(|(name, _)| name.clone()).collect();
    if let Err(error) = store.writer.write(move |db| change_events::forget_others(db, &told_changes)).await {
        warn!(%error, "how far targets were told of changes cannot be written; one may be told of old ones");
    }
    // A token is asked for wherever a page is shown, so for pictures, too.
    let pictures = if config.reading.tokens.is_empty() { Pictures::Open } else { Pictures::Guarded };
    let mut tasks = JoinSet::new();
    for (name, target) in &config.alerting.targets {
        let open = open(&target.kind, pictures)
            .inspect_err(|error| warn!(target = %name, %error, "this target cannot be used"))
            .map(|open| Gated { target: open, gate: Gate::new(target.rate) });
        metrics.target_failing.with_label_values(&[name]).set(0);
        let (config, metrics) = (Arc::clone(&config), Arc::clone(&metrics));
        let parts = Parts { store: store.clone(), config, metrics, tracer: tracer.clone() };
        let queue = Queue { name: Some(name.clone()), target: open.ok(), configured: Arc::clone(&configured), parts };
        tasks.spawn(queue.run(stopping.clone()));
    }
    let orphaned = Queue { name: None, target: None, configured, parts: Parts { store, config, metrics, tracer } };
    tasks.spawn(orphaned.run(stopping));
    while let Some(ended) = tasks.join_next().await {
        if let Err(error) = ended {
            error!(%error, "the deliveries to a target ended; they go on after a restart");
        }
    }
}

/// What all queues stand on.
struct Parts {
    store: Store,
    config: Arc<Config>,
    metrics: Arc<Metrics>,
    tracer: Tracer,
}

/// A target, and what keeps it from being told too much.
struct Gated {
    target: Target,
    gate: Gate,
}

/// What an entry says.
enum Said {
    OfEpisode(Box<Notification>),
    OfChange(ChangeEvent),
}

impl Said {
    fn of_episode(notification: Notification) -> Self {
        Self::OfEpisode(Box::new(notification))
    }
}

/// What waits for one target.
struct Queue {
    /// Its name; none for all that are not configured any more.
    name: Option<String>,
    /// None when there is none that can be used.
    target: Option<Gated>,
    configured: Arc<[String]>,
    parts: Parts,
}

impl Queue {
    async fn run(mut self, mut stopping: watch::Receiver<bool>) {
        let began = Instant::now();
        let mut said_again = Instant::now();
        loop {
            if let Err(error) = self.take_changes().await {
                warn!(%error, "changes cannot be put into the outbox; they are once they can");
            }
            let rest = self.round(began, &stopping).await;
            if let Some(every) = self.target.as_ref().and_then(|gated| gated.target.again())
                && said_again.elapsed() >= every
            {
                said_again = Instant::now();
                self.say_again(every, began).await;
            }
            tokio::select! {
                _ = stopping.wait_for(|stopping| *stopping) => return,
                () = tokio::time::sleep(rest) => {}
            }
        }
    }

    /// Puts what was changed since the last time into the outbox, if the target is told of changes.
    async fn take_changes(&self) -> Result<(), StoreError> {
        let Parts { store, config, metrics, .. } = &self.parts;
        let Some(name) = self.name.clone() else { return Ok(()) };
        let Some(told) = config.alerting.targets.get(&name).and_then(|target| target.kind.changes()) else {
            return Ok(());
        };
        let target = name.clone();
        if !store.read(move |db| change_events::has_news(db, &target)).await? {
            return Ok(());
        }
        let (target, told, config) = (name.clone(), told.clone(), Arc::clone(config));
        let put =
            store.writer.write(move |db| change_events::put(db, &target, &told, &config.public_url, now_micros()));
        metrics.notifications(&name, "missed").inc_by(put.await?);
        Ok(())
    }

    /// Tries what is due, until the target has to be left alone; gives how long to wait for the next round. The gate's time
    /// is the time since `began`: no clock that is set can hold a page up.
    async fn round(&mut self, began: Instant, stopping: &watch::Receiver<bool>) -> Duration {
        if let Some(rest) = self.rest(began) {
            return rest;
        }
        let (now, name, configured) = (now_micros(), self.name.clone(), Arc::clone(&self.configured));
        let due = self.parts.store.read(move |db| entries::due(db, name.as_deref(), &configured, now)).await;
        let due = due.unwrap_or_else(|error| {
            warn!(%error, "the outbox cannot be read");
            Vec::new()
        });
        for entry in due {
            if *stopping.borrow() {
                break;
            }
            if let Some(rest) = self.rest(began) {
                return rest;
            }
            if let Err(error) = self.deliver(entry, began).await {
                warn!(%error, "the outbox cannot be written; a notification may be delivered again");
            }
        }
        INTERVAL
    }

    /// For how long nothing may be tried, but at most until the next look; none when something may.
    fn rest(&self, began: Instant) -> Option<Duration> {
        let rest = self.target.as_ref()?.gate.rest(elapsed(began))?;
        let (reason, length) = match rest {
            Rest::Failing(length) => ("failing", length),
            Rest::Rate(length) => ("rate", length),
        };
        let name = self.name.as_deref().unwrap_or_default();
        self.parts.metrics.target_rests.with_label_values(&[name, reason]).inc();
        Some(length.clamp(SHORTEST_REST, INTERVAL))
    }

    /// Makes one attempt, unless the entry was taken back meanwhile, and notes what became of it.
    async fn deliver(&mut self, entry: Due, began: Instant) -> Result<(), StoreError> {
        let Parts { store, metrics, tracer, .. } = &self.parts;
        let (id, attempts) = (entry.id, entry.attempts + 1);
        let Some((text, before)) = store.writer.write(move |db| entries::begin(db, id)).await? else { return Ok(()) };
        let mut span = tracer.begin("deliver notification");
        span.text("driftline.target", &entry.target);
        let outcome = match (&mut self.target, said(&entry, &text)) {
            (Some(gated), Ok(said)) => gated.deliver(&said, &before, began).await,
            (None, _) => no_target(&entry.target),
            (_, Err(error)) => Delivery::Refused { why: format!("the stored notification cannot be read: {error}") },
        };
        if let Delivery::Retry { why, .. } | Delivery::Refused { why } | Delivery::Partly { why, .. } = &outcome {
            span.fail(why);
        }
        if let Some(gated) = &self.target {
            metrics.target_failing.with_label_values(&[&entry.target]).set(i64::from(gated.gate.is_failing()));
        }
        let now = now_micros();
        match outcome {
            Delivery::Accepted { receipt } => {
                metrics.attempt(&entry.target, entry.is_drill, "delivered").inc();
                store.writer.write(move |db| entries::accepted(db, id, receipt.as_deref(), now)).await
            }
            Delivery::Partly { receipt, why, again } => {
                metrics.attempt(&entry.target, entry.is_drill, "partly").inc();
                let again = again && !is_given_up(attempts, age(&entry, now));
                let next = again.then(|| now + pause_after(attempts, None, random()).as_micros() as i64);
                if attempts == 1 || next.is_none() {
                    warn!(target = %entry.target, %why, delivery = id, "a notification did not reach all whom it is for");
                }
                let entry = (id, entry.in_doubt);
                store.writer.write(move |db| entries::accepted_in_part(db, entry, &receipt, &why, next, now)).await
            }
            Delivery::Retry { after, why, in_doubt } if !is_given_up(attempts, age(&entry, now)) => {
                metrics.attempt(&entry.target, entry.is_drill, "retried").inc();
                if attempts == 1 {
                    info!(target = %entry.target, %why, "a notification could not be delivered, and will be tried again");
                }
                let next = now + pause_after(attempts, after, random()).as_micros() as i64;
                let in_doubt = in_doubt || entry.in_doubt;
                store.writer.write(move |db| entries::postpone(db, id, in_doubt, &why, next, now)).await
            }
            Delivery::Retry { why, in_doubt, .. } => self.give_up(&entry, why, in_doubt, now).await,
            Delivery::Refused { why } => self.give_up(&entry, why, false, now).await,
        }
    }

    /// Makes a dead letter of an entry.
    async fn give_up(&self, entry: &Due, why: String, in_doubt: bool, now: i64) -> Result<(), StoreError> {
        self.parts.metrics.attempt(&entry.target, entry.is_drill, "given_up").inc();
        warn!(target = %entry.target, %why, delivery = entry.id, "a notification is given up; see driftline deliveries");
        let (id, in_doubt) = (entry.id, in_doubt || entry.in_doubt);
        self.parts.store.writer.write(move |db| entries::give_up(db, id, in_doubt, &why, now)).await
    }

    /// Says again what a target forgets otherwise, all of it at once: what waited for the rate would be forgotten. What does
    /// not arrive now is said again in a while.
    async fn say_again(&mut self, every: Duration, began: Instant) {
        let (Some(name), Some(gated)) = (self.name.clone(), &mut self.target) else { return };
        let since = now_micros() - AGAIN_AFTER_END * every.as_micros() as i64;
        let target = name.clone();
        let due = match self.parts.store.read(move |db| entries::to_say_again(db, &target, since)).await {
            Ok(due) => due,
            Err(error) => return warn!(%error, "the outbox cannot be read"),
        };
        for notification in due.iter().filter_map(|text| serde_json::from_str::<Notification>(text).ok()) {
            let (is_drill, notification) = (notification.drill, Said::of_episode(notification));
            let mut outcome = "not_repeated";
            if !matches!(gated.gate.rest(elapsed(began)), Some(Rest::Failing(_)))
                && let Delivery::Accepted { .. } = gated.deliver(&notification, &Before::default(), began).await
            {
                outcome = "repeated";
            }
            self.parts.metrics.attempt(&name, is_drill, outcome).inc();
        }
    }
}

impl Gated {
    /// Makes one attempt, and takes note of how the target does.
    async fn deliver(&mut self, said: &Said, before: &Before, began: Instant) -> Delivery {
        self.gate.begins(elapsed(began));
        let delivery = match said {
            Said::OfEpisode(notification) => self.target.deliver(notification, before).await,
            Said::OfChange(change) => self.target.deliver_change(change).await,
        };
        match &delivery {
            // What it refuses is wrong with the entry, or with one of those behind it.
            Delivery::Accepted { .. } | Delivery::Partly { .. } | Delivery::Refused { .. } => self.gate.answered(),
            Delivery::Retry { after, .. } => self.gate.failed(*after, random(), elapsed(began)),
        }
        delivery
    }
}

fn said(entry: &Due, text: &str) -> serde_json::Result<Said> {
    if entry.is_change {
        return serde_json::from_str(text).map(Said::OfChange);
    }
    serde_json::from_str(text).map(Said::of_episode)
}

fn elapsed(began: Instant) -> Micros {
    Micros::try_from(began.elapsed().as_micros()).unwrap_or(Micros::MAX)
}

/// How long an entry has been waiting.
fn age(entry: &Due, now: i64) -> Duration {
    Duration::from_micros(u64::try_from(now - entry.created_at).unwrap_or(0))
}

/// From 0 to 1, so that many do not come at once.
fn random() -> f64 {
    RandomState::new().build_hasher().finish() as f64 / u64::MAX as f64
}

fn no_target(name: &str) -> Delivery {
    Delivery::Retry { after: None, why: format!("there is no usable target '{name}'"), in_doubt: false }
}

fn open(kind: &TargetKind, pictures: Pictures) -> Result<Target, String> {
    Ok(match kind.clone() {
        TargetKind::PagerDuty { url, routing_key, .. } => {
            Target::PagerDuty(PagerDuty::new(url, routing_key, pictures)?)
        }
        TargetKind::Email { from, to, transport } => Target::Email(Email::new(from, to, transport)),
        TargetKind::Slack(way) => Target::Slack(Slack::new(way)?),
        TargetKind::Teams { url } => Target::Teams(Teams::new(url)?),
        TargetKind::Alertmanager { urls, resend } => Target::Alertmanager(Alertmanager::new(urls, resend)?),
        TargetKind::Datadog { site, url, api_key } => Target::Datadog(Datadog::new(&site, url, api_key)?),
        TargetKind::Opsgenie { url, api_key } => Target::Opsgenie(Opsgenie::new(url, api_key)?),
        TargetKind::Webhook { url, signing_key } => Target::Webhook(Webhook::new(url, signing_key)?),
    })
}
