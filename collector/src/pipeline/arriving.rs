//! Whether what comes from elsewhere comes: the files of feeds, and outcomes.
//!
//! No request shows that they do not. They are looked at every ten seconds, and each look is an event of an indicator, so that
//! one late file is told from a feed that stands still as rules tell it of requests: by a share over a time.

use driftline_alerts::{Condition, Counts};

use super::Pipeline;
use super::slis::SliCounts;
use crate::alerting::book::Change;
use crate::config::{FEEDS_LISTED_SLI, FEEDS_SLI, OUTCOMES_SLI};
use crate::feeds::{FeedState, WatchedFeed};
use crate::metrics::Metrics;
use crate::store::{journal, outcomes};
use crate::times::{now_micros, second};

/// Feeds that an alert describes.
const MAX_DESCRIBED: usize = 5;

impl Pipeline {
    /// Looks at every feed, and at when each model's newest outcome became known.
    pub(super) fn observe_arrivals(&mut self) {
        let now = now_micros();
        for model in self.models.values() {
            let (slis, metrics) = (&mut self.next.slis, &self.parts.metrics);
            for watched in self.parts.feeds.of(&model.name) {
                look_at_feed((slis, metrics), &model.name, watched, now);
            }
            let Some(max_age) = model.config.slis.outcomes else { continue };
            let known = self
                .parts
                .store
                .read_blocking(|db| Ok((outcomes::newest(db, &model.name)?, journal::first_seen(db, &model.name)?)));
            let Ok((newest, first_seen)) = known else { continue };
            if let Some(newest) = newest {
                metrics.show_newest_outcome(&model.name, newest);
            }
            // Before the first outcome it is the first request that waits.
            let Some(since) = newest.or(first_seen) else { continue };
            let is_awaited = newest.is_none() || model.heard_at > since;
            let is_late = is_awaited && now.saturating_sub(since) > max_age.as_micros() as i64;
            let looked = Counts { good: u64::from(!is_late), valid: 1, unknown: 0 };
            slis.count(&model.name, OUTCOMES_SLI, "", now, looked);
            metrics.sli(&model.name, OUTCOMES_SLI, "").count(looked);
        }
    }

    /// What is known of the feeds and outcomes that an alert is about, as facts of it; none where it is about others.
    pub(super) fn facts_of_arrivals(&self, change: &Change) -> Vec<(String, String)> {
        let Condition::Sli { sli, .. } = &change.rule.condition else { return Vec::new() };
        let label = |labels: &driftline_alerts::Labels, name: &str| labels.get(name).cloned().unwrap_or_default();
        let members =
            change.alert.over().map(|member| (label(&member.labels, "model"), label(&member.labels, "column")));
        let facts = members.filter_map(|(model, feed)| match sli.as_str() {
            FEEDS_SLI | FEEDS_LISTED_SLI => {
                let watched = self.parts.feeds.of(&model).iter().find(|watched| watched.feed.name == feed)?;
                Some(fact_of_feed(sli, watched))
            }
            OUTCOMES_SLI => {
                let newest = self.parts.store.read_blocking(|db| outcomes::newest(db, &model)).ok()?;
                let text =
                    newest.map_or("none was ever sent".to_owned(), |at| format!("known since {} UTC", second(at)));
                Some(("Newest outcome".to_owned(), text))
            }
            _ => None,
        });
        facts.take(MAX_DESCRIBED).collect()
    }
}

/// Counts how a feed is. Of one that nobody can judge, only that it could not be listed.
fn look_at_feed((slis, metrics): (&mut SliCounts, &Metrics), model: &str, watched: &WatchedFeed, now: i64) {
    let (feed, seen) = (&watched.feed, watched.seen());
    let mut count = |sli, is_good: bool| {
        let looked = Counts { good: u64::from(is_good), valid: 1, unknown: 0 };
        slis.count(model, sli, &feed.name, now, looked);
        metrics.sli(model, sli, &feed.name).count(looked);
    };
    match seen.state(feed.max_age, now) {
        FeedState::Fresh => count(FEEDS_SLI, true),
        FeedState::Stale => count(FEEDS_SLI, false),
        FeedState::Unknown => {}
    }
    // Until it was asked for the first time there is nothing to say.
    if seen.listed_at.is_some() || seen.trouble.is_some() {
        count(FEEDS_LISTED_SLI, seen.trouble.is_none());
    }
}

/// What is known of a feed, for an alert on one of its indicators.
fn fact_of_feed(sli: &str, watched: &WatchedFeed) -> (String, String) {
    let (feed, seen) = (&watched.feed, watched.seen());
    match (&seen.trouble, &seen.newest) {
        (Some(why), _) if sli == FEEDS_LISTED_SLI => {
            ("Not listed".to_owned(), format!("{} ({}): {why}", feed.name, feed.place))
        }
        (_, Some(newest)) => {
            let text =
                format!("{}: {} of {}, written {} UTC", feed.name, newest.name, feed.place, second(newest.written_at));
            ("Newest file".to_owned(), text)
        }
        (_, None) => ("Newest file".to_owned(), format!("{}: there is none in {}", feed.name, feed.place)),
    }
}
