//! From alerts that fire to what is said of them.

use std::time::Instant;

use driftline_alerts::{Action, Alert, Condition, Labels, Rule};
use tracing::warn;

use super::Pipeline;
use super::judging::{forget_after, score_history};
use crate::alerting::current::Current;
use crate::alerting::evidence::{Context, Watched};
use crate::alerting::news::News;
use crate::alerting::telling::Wishes;
use crate::config::Config;
use crate::times::now_micros;

/// Indicators without enough events say nothing; after so long that shows, or after the rule's own time if that is longer.
const SHORTEST_NO_DATA_MICROS: i64 = 60_000_000;
/// Of a budget, whose short windows say nothing without traffic.
const BUDGET_NO_DATA_MICROS: i64 = 3_600_000_000;
/// Of scores whose alert is of no one model: days, as windows may be.
const UNKNOWN_NO_DATA_MICROS: i64 = 7 * 86_400_000_000;

impl Pipeline {
    /// Puts what is to be said by now into the next checkpoint.
    pub(super) fn tell(&mut self) {
        self.last_telling = Instant::now();
        if self.book.firing().next().is_none() {
            return;
        }
        let now = now_micros();
        let wishes = match self.parts.store.read_blocking(|db| Wishes::load(db, now)) {
            Ok(wishes) => wishes,
            // Nothing is said against somebody's wish; it is said in the next round.
            Err(error) => return warn!(%error, "silences cannot be read; what is to be said waits"),
        };
        let alerting = &self.parts.config.alerting;
        let models = &self.models;
        let no_data_after = |rule: &Rule, labels: &Labels| match &rule.condition {
            condition if condition.is_of_windows() => {
                let model = labels.get("model").and_then(|model| models.get(model.as_str()));
                model.map_or(UNKNOWN_NO_DATA_MICROS, |model| forget_after(&model.config.windows))
            }
            Condition::Sli { over, .. } => (over.as_micros() as i64).max(SHORTEST_NO_DATA_MICROS),
            Condition::Budget { .. } => BUDGET_NO_DATA_MICROS,
            Condition::Score { .. } | Condition::Expression { .. } => SHORTEST_NO_DATA_MICROS,
        };
        let (maintenance, routes) = (alerting.maintenance.as_slice(), &alerting.routes);
        for told in self.book.tell(&wishes, (maintenance, routes), self.evaluated_at, &no_data_after, now) {
            let episode = told.episode;
            let is_unmuted = told.muted_by.as_ref().is_some_and(Vec::is_empty);
            let current = (is_unmuted || !told.sayings.is_empty()).then(|| self.current(&episode, now)).flatten();
            self.next.news.extend(told.standing.map(|standing| News::Stands { episode: episode.clone(), standing }));
            self.next.news.extend(told.muted_by.map(|by| News::Muted {
                episode: episode.clone(),
                by,
                current: current.clone(),
            }));
            let mut hearers = alerting.hearers(Action::Remind);
            hearers.retain(|target| !told.off_duty.contains(target));
            let said = told.sayings.into_iter();
            let said = said.map(|saying| News::Said {
                episode: episode.clone(),
                saying,
                hearers: hearers.clone(),
                current: current.clone(),
            });
            self.next.news.extend(said);
        }
    }
    /// How an alert that fires is by now, as an indicator or the last windows have it; none where it has just begun.
    fn current(&self, episode: &str, now: i64) -> Option<Current> {
        let is_it = |alert: &Alert| alert.open().is_some_and(|open| open.episode == episode);
        let (rule, alert) = self.book.firing().find(|(_, alert)| is_it(alert))?;
        let model = alert.over().find_map(|member| member.labels.get("model")).map_or("", String::as_str);
        let history = |watched: &Watched<'_>| {
            let stored = self.parts.store.read_blocking(|db| score_history(db, model, watched));
            stored.unwrap_or_default()
        };
        let Config { public_url, alerting, .. } = &*self.parts.config;
        let context =
            Context { window: None, history: &history, public_url, dashboard: alerting.dashboard.as_ref(), now };
        Current::of(rule, alert, &context)
    }
}
