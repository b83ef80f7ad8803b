//! The sign of life that a dead man's switch waits for.

use std::sync::Arc;

use driftline_alerts::{Delivery, Heartbeat};
use tokio::sync::watch;
use tokio::time::MissedTickBehavior;
use tracing::warn;

use crate::config;
use crate::metrics::Metrics;
use crate::vitals::Vitals;

/// What its deliveries are counted under. No target has this name.
pub(crate) const NAME: &str = "heartbeat";

/// Gives signs of life for as long as every part of the collector gives one, until told to stop. A collector that counts
/// nothing or tells nobody is as good as dead, so it is silent then.
pub(crate) async fn run(
    config: config::Heartbeat,
    vitals: Vitals,
    metrics: Arc<Metrics>,
    mut stopping: watch::Receiver<bool>,
) {
    let heartbeat = match Heartbeat::new(config.url) {
        Ok(heartbeat) => heartbeat,
        Err(error) => return warn!(%error, "no heartbeat can be sent"),
    };
    let mut beats = tokio::time::interval(config.every);
    beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut arrives = true;
    loop {
        tokio::select! {
            _ = stopping.wait_for(|stopping| *stopping) => return,
            _ = beats.tick() => {}
        }
        if vitals.problem().is_some() {
            metrics.notifications(NAME, "withheld").inc();
            continue;
        }
        match heartbeat.beat().await {
            Delivery::Accepted { .. } | Delivery::Partly { .. } => {
                arrives = true;
                metrics.notifications(NAME, "delivered").inc();
            }
            Delivery::Retry { why, .. } | Delivery::Refused { why } => {
                metrics.notifications(NAME, "failed").inc();
                if std::mem::take(&mut arrives) {
                    warn!(%why, "a heartbeat did not arrive; the next one will say whether they do again");
                }
            }
        }
    }
}
