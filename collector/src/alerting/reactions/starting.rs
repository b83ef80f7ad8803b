//! Making a start: recorded before each attempt and after it, so that whoever ends the process in between starts nothing twice.

use std::hash::{BuildHasher, Hasher, RandomState};

use driftline_alerts::{Beginning, Order, pause_after};
use rusqlite::Connection;
use tokio::sync::watch;
use tracing::{info, warn};

use super::deciding::note;
use super::stored::{self, State, Stored};
use super::{Reactor, words};
use crate::alerting::entries;
use crate::failpoint::Failpoint;
use crate::store::StoreError;
use crate::times::now_micros;

/// Attempts at one start: the quick ones, and two hours of them every five minutes. What comes later than that is a surprise.
const MAX_ATTEMPTS: u32 = 30;

impl Reactor {
    /// Starts what is due.
    pub(super) async fn start(&self, stopping: &watch::Receiver<bool>) -> Result<(), StoreError> {
        let name = self.name().to_owned();
        for due in self.store.read(move |db| stored::due(db, &name, now_micros())).await? {
            if *stopping.borrow() {
                return Ok(());
            }
            let beginning = self.attempt(&due).await?;
            self.conclude(due, beginning).await?;
        }
        Ok(())
    }

    /// Makes one attempt, recorded before it is made.
    async fn attempt(&self, due: &Stored) -> Result<Beginning, StoreError> {
        if due.is_in_flight && !self.starter.recognises_repetitions() {
            let why = "the collector ended before it knew; look there, for it is not asked again".to_owned();
            return Ok(Beginning::Unknown { why });
        }
        let (id, public_url) = (due.id.clone(), self.config.public_url.clone());
        let stored = due.clone();
        let order = self.store.writer.write(move |db| {
            stored::attempt(db, &id, now_micros())?;
            order(db, &stored, &public_url)
        });
        let Some(order) = order.await? else {
            return Ok(Beginning::Refused { why: "what is stored of its episode cannot be read".to_owned() });
        };
        Failpoint::StartRecorded.pass();
        let beginning = self.starter.start(&order).await;
        Failpoint::StartAnswered.pass();
        Ok(beginning)
    }

    /// Records what an attempt came to.
    async fn conclude(&self, due: Stored, beginning: Beginning) -> Result<(), StoreError> {
        let now = now_micros();
        let Stored { id, reaction, model, attempts, .. } = due;
        let attempts = attempts + 1;
        let (outcome, state, why, reference) = match beginning {
            Beginning::Retry { after, why } if attempts < MAX_ATTEMPTS => {
                self.metrics.reactions(self.name(), "retried").inc();
                if attempts == 1 {
                    info!(reaction, %why, "it could not be started, and is tried again");
                }
                let random = RandomState::new().build_hasher().finish() as f64 / u64::MAX as f64;
                let next = now + pause_after(attempts, after, random).as_micros() as i64;
                return self.store.writer.write(move |db| stored::postpone(db, &id, &why, next)).await;
            }
            Beginning::Started { reference } => ("started", State::Started, None, reference),
            Beginning::Unknown { why } => ("unknown", State::Unknown, Some(why), None),
            Beginning::Retry { why, .. } => ("failed", State::Failed, Some(why), None),
            Beginning::Refused { why } => ("refused", State::Failed, Some(why), None),
        };
        self.metrics.reactions(self.name(), outcome).inc();
        let text = match (&why, state) {
            (Some(why), State::Unknown) => format!("may have been started: {why}"),
            (Some(why), _) => format!("could not be started: {why}"),
            (None, _) => words::started(reference.as_deref()),
        };
        if why.is_some() {
            warn!(reaction, model, attempts, "{text}");
        }
        // Of those that were given up nobody knows whether one of the attempts has arrived.
        let is_never_started = outcome == "refused";
        let settled = move |db: &rusqlite::Savepoint<'_>| {
            stored::settle(db, &id, (state, is_never_started), (why.as_deref(), reference.as_deref()), now)?;
            note(db, (&reaction, &model), &text, now)
        };
        self.store.writer.write(settled).await
    }
}

/// What a scheduler is told; none when what is stored of the episode cannot be read.
fn order(db: &Connection, due: &Stored, public_url: &str) -> rusqlite::Result<Option<Order>> {
    let Some(said) = entries::triggered(db, &due.episode)? else { return Ok(None) };
    Ok(Some(Order {
        id: due.id.clone(),
        reaction: due.reaction.clone(),
        episode: due.episode.clone(),
        rule: said.rule,
        labels: said.labels,
        summary: said.summary,
        since: said.started_at,
        approved_by: due.decided.as_ref().map(|word| word.by.clone()),
        page_url: said.page_url,
        result_url: format!("{public_url}/api/v1/reactions/{}/result", due.id),
    }))
}
