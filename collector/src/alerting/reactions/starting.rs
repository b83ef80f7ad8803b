//! Making a start: recorded before each attempt and after it, so that whoever ends the process in between starts nothing twice.

use std::hash::{BuildHasher, Hasher, RandomState};

use driftline_alerts::{Beginning, Order, pause_after};
use rusqlite::Connection;
use tokio::sync::watch;
use tracing::{info, warn};

use super::deciding::note;
use super::stored::{self, State, Stored};
use super::{Reactor, words};
use crate::alerting::changes::{self, Change, ChangeKind};
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
        let attempts = due.attempts + 1;
        let conclusion = match beginning {
            Beginning::Retry { after, why } if attempts < MAX_ATTEMPTS => {
                self.metrics.reactions(self.name(), "retried").inc();
                if attempts == 1 {
                    info!(reaction = due.reaction, %why, "it could not be started, and is tried again");
                }
                let random = RandomState::new().build_hasher().finish() as f64 / u64::MAX as f64;
                let next = now + pause_after(attempts, after, random).as_micros() as i64;
                return self.store.writer.write(move |db| stored::postpone(db, &due.id, &why, next)).await;
            }
            last => Conclusion::of(last),
        };
        self.metrics.reactions(self.name(), conclusion.outcome).inc();
        if conclusion.why.is_some() {
            warn!(reaction = due.reaction, model = due.model, attempts, "{}", conclusion.text());
        }
        self.store.writer.write(move |db| conclusion.store(db, &due, now)).await
    }
}

/// What a start came to in the end.
pub(super) struct Conclusion {
    outcome: &'static str,
    state: State,
    why: Option<String>,
    reference: Option<String>,
}

impl Conclusion {
    /// That of the last attempt.
    pub(super) fn of(beginning: Beginning) -> Self {
        let (outcome, state, why, reference) = match beginning {
            Beginning::Started { reference } => ("started", State::Started, None, reference),
            Beginning::Unknown { why } => ("unknown", State::Unknown, Some(why), None),
            Beginning::Retry { why, .. } => ("failed", State::Failed, Some(why), None),
            Beginning::Refused { why } => ("refused", State::Failed, Some(why), None),
        };
        Self { outcome, state, why, reference }
    }

    fn text(&self) -> String {
        match (&self.why, self.state) {
            (Some(why), State::Unknown) => format!("may have been started: {why}"),
            (Some(why), _) => format!("could not be started: {why}"),
            (None, _) => words::started(self.reference.as_deref()),
        }
    }

    /// Writes it down, in the feed as well, and among the changes.
    pub(super) fn store(&self, db: &Connection, due: &Stored, now: i64) -> rusqlite::Result<()> {
        let Stored { id, reaction, model, .. } = due;
        // Of those that were given up nobody knows whether one of the attempts has arrived.
        let is_never_started = self.outcome == "refused";
        let said = (self.why.as_deref(), self.reference.as_deref());
        stored::settle(db, id, (self.state, is_never_started), said, now)?;
        note(db, (reaction, model), &self.text(), now)?;
        self.changed(due, now).map_or(Ok(()), |change| changes::store(db, &change))
    }

    /// A run that was started, or may have been, is a change of its model: what begins after it may come of it.
    fn changed(&self, due: &Stored, now: i64) -> Option<Change> {
        let Stored { reaction, model, .. } = due;
        let text = match self.state {
            State::Started => format!("the reaction {reaction} was {}", self.text()),
            State::Unknown => format!("the reaction {reaction} may have been started"),
            _ => return None,
        };
        Some(Change { at: now, model: model.clone(), kind: ChangeKind::Reaction, text })
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
