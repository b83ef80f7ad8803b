//! Reactions: what is started because an alert fires, asked for first, and recorded before it is done.
//!
//! Each reaction has a task that looks at the database and does what is due there, so that a restart goes on where it was:
//!
//! ```text
//!   episodes ─▶ guards ─▶ asked ─▶ approved ─┐
//!                 └───────────────────────────┴─▶ starting ─▶ one attempt, recorded before and after ─▶ started, …
//! ```

mod deciding;
mod starting;
pub(crate) mod stored;
#[cfg(test)]
mod tests;
mod words;

use std::sync::Arc;
use std::time::Duration;

use driftline_alerts::{AirflowDag, DatabricksJob, Decision, EventWebhook, GitHubDispatch, Starter};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tracing::{error, warn};

pub(crate) use self::deciding::{candidates, note};
pub(crate) use self::words::with_note;
use crate::config::{Config, ReactionConfig, StarterKind};
use crate::metrics::Metrics;
use crate::store::{Store, StoreError};
use crate::times::now_micros;

/// How often the database is looked at. What waited for hours may wait for this.
const INTERVAL: Duration = Duration::from_secs(1);

/// Does what is due, until told to stop. A scheduler that does not answer holds up no other reaction.
pub(crate) async fn run(store: Store, config: Arc<Config>, metrics: Arc<Metrics>, stopping: watch::Receiver<bool>) {
    let configured: Vec<String> =
        config.alerting.reactions.iter().map(|reaction| reaction.reaction.name.clone()).collect();
    let dropped = store.writer.write(move |db| stored::drop_unconfigured(db, &configured, now_micros())).await;
    if let Err(error) = dropped {
        warn!(%error, "reactions that are not configured any more could not be ended");
    }
    let mut tasks = JoinSet::new();
    for configured in &config.alerting.reactions {
        let starter = match open(&configured.starter) {
            Ok(starter) => starter,
            Err(error) => {
                warn!(reaction = configured.reaction.name, %error, "this reaction can start nothing");
                continue;
            }
        };
        let reactor = Reactor {
            configured: configured.clone(),
            starter,
            store: store.clone(),
            config: Arc::clone(&config),
            metrics: Arc::clone(&metrics),
        };
        tasks.spawn(reactor.run(stopping.clone()));
    }
    while let Some(ended) = tasks.join_next().await {
        if let Err(error) = ended {
            error!(%error, "a reaction's task ended; it goes on after a restart");
        }
    }
}

fn open(kind: &StarterKind) -> Result<Starter, String> {
    Ok(match kind.clone() {
        StarterKind::Airflow { url, dag, version, login } => {
            Starter::Airflow(AirflowDag::new(&url, dag, version, login)?)
        }
        StarterKind::GitHub { url, repository, event_type, token } => {
            Starter::GitHub(GitHubDispatch::new(&url, repository, event_type, token)?)
        }
        StarterKind::Databricks { url, job, parameter, token } => {
            Starter::Databricks(DatabricksJob::new(&url, job, parameter, token)?)
        }
        StarterKind::Webhook { url, token, signing_key } => {
            Starter::Webhook(EventWebhook::new(url, token, signing_key)?)
        }
    })
}

/// One reaction.
struct Reactor {
    configured: ReactionConfig,
    starter: Starter,
    store: Store,
    config: Arc<Config>,
    metrics: Arc<Metrics>,
}

impl Reactor {
    async fn run(self, mut stopping: watch::Receiver<bool>) {
        loop {
            if let Err(error) = self.decide().await {
                warn!(reaction = self.name(), %error, "what is due of a reaction cannot be decided");
            }
            if let Err(error) = self.start(&stopping).await {
                warn!(reaction = self.name(), %error, "what became of a start cannot be written");
            }
            tokio::select! {
                _ = stopping.wait_for(|stopping| *stopping) => return,
                () = tokio::time::sleep(INTERVAL) => {}
            }
        }
    }

    fn name(&self) -> &str {
        &self.configured.reaction.name
    }

    /// Asks, and takes as to be started, what the guards let through.
    async fn decide(&self) -> Result<(), StoreError> {
        let (configured, config) = (self.configured.clone(), Arc::clone(&self.config));
        let look =
            move |db: &rusqlite::Connection| candidates(db, &configured.reaction, &config.alerting.rules, now_micros());
        let found = self.store.read(look).await?;
        if found.iter().all(|candidate| matches!(candidate.decision, Decision::Wait(_))) {
            return Ok(());
        }
        // Decided once more where nothing changes meanwhile: somebody may have answered, or the data turned wrong.
        let (configured, config) = (self.configured.clone(), Arc::clone(&self.config));
        let done = self.store.writer.write(move |db| deciding::decide(db, &configured.reaction, &config, now_micros()));
        for outcome in done.await? {
            self.metrics.reactions(self.name(), outcome).inc();
        }
        Ok(())
    }
}
