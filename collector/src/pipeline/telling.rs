//! From alerts that fire to what is said of them.

use std::time::Instant;

use driftline_alerts::Action;
use tracing::warn;

use super::Pipeline;
use crate::alerting::news::News;
use crate::alerting::telling::Wishes;
use crate::times::now_micros;

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
        for told in self.book.tell(&wishes, &alerting.maintenance, self.evaluated_at, now) {
            let episode = told.episode;
            self.next.news.extend(told.muted_by.map(|by| News::Muted { episode: episode.clone(), by }));
            let hearers = alerting.hearers(Action::Remind);
            let said = told.sayings.into_iter();
            let said = said.map(|saying| News::Said { episode: episode.clone(), saying, hearers: hearers.clone() });
            self.next.news.extend(said);
        }
    }
}
