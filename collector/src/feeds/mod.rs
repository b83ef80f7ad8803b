//! Feeds: files of others, of which the newest must not be too old.
//!
//! What a model's features are computed from often comes as files under a prefix. When none come any more, every prediction
//! rests on the past, and no request shows it unless its rows carry a time. So the store is asked, at a pace of the feed's own and
//! beside everything else; what it said is looked at by the pipeline every ten seconds.
//!
//! A feed that cannot be listed is not stale: nobody knows. Its newest file may still be young enough by what is known of it;
//! when it is not, there is nothing to judge ([`FeedState::Unknown`]), and that is an indicator of its own.

mod listing;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use driftline_alerts::{Brings, Reach};
use prometheus::{Gauge, IntCounter};
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;
use tracing::{info, warn};

use self::listing::{Listed, list};
use crate::config::{Config, FEEDS_LISTED_SLI, FEEDS_SLI, Feed, Model};
use crate::metrics::Metrics;
use crate::times::now_micros;

/// How long is waited for a listing before it counts as failed. It goes on all the same: a hung disk cannot be given up, and a
/// second look at it would hang, too.
const PATIENCE: Duration = Duration::from_secs(60);

/// A file of a feed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NewestFile {
    /// Its name under the feed's prefix or folder.
    pub(crate) name: String,
    /// When it was written, by the store's clock, in microseconds since the Unix epoch.
    pub(crate) written_at: i64,
}

/// What is known of a feed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Seen {
    /// Its newest file, of those that were ever seen if the last listing was not whole.
    pub(crate) newest: Option<NewestFile>,
    /// When it was last listed to its end.
    pub(crate) listed_at: Option<i64>,
    /// Why the last listing was not whole.
    pub(crate) trouble: Option<String>,
}

/// How a feed is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FeedState {
    /// Its newest file is young enough.
    Fresh,
    /// It is too old, or there is none.
    Stale,
    /// It was not listed yet, or cannot be, and what was seen before is too old to tell.
    Unknown,
}

impl FeedState {
    /// The name by which the API knows it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Fresh => "fresh",
            Self::Stale => "stale",
            Self::Unknown => "unknown",
        }
    }
}

impl Seen {
    /// How the feed is, as far as one may say. Between two listings a file may have come: whether the newest is too old is said
    /// of the time of the listing.
    pub(crate) fn state(&self, max_age: Duration, now: i64) -> FeedState {
        let is_young = |at: i64| {
            let oldest = at.saturating_sub(max_age.as_micros() as i64);
            self.newest.as_ref().is_some_and(|newest| newest.written_at >= oldest)
        };
        match self.listed_at {
            _ if is_young(now) => FeedState::Fresh,
            Some(listed_at) if self.trouble.is_none() && is_young(listed_at) => FeedState::Fresh,
            Some(_) if self.trouble.is_none() => FeedState::Stale,
            _ => FeedState::Unknown,
        }
    }

    /// With what a listing found.
    fn after(&self, listed: Listed, now: i64) -> Self {
        match listed.trouble {
            None => Self { newest: listed.newest, listed_at: Some(now), trouble: None },
            trouble => {
                let newer = listed.newest.into_iter().chain(self.newest.clone()).max_by_key(|file| file.written_at);
                Self { newest: newer, listed_at: self.listed_at, trouble }
            }
        }
    }
}

/// A feed, and what is known of it.
#[derive(Debug, Clone)]
pub(crate) struct WatchedFeed {
    pub(crate) feed: Arc<Feed>,
    seen: Arc<ArcSwap<Seen>>,
}

impl WatchedFeed {
    /// What is known now.
    pub(crate) fn seen(&self) -> Arc<Seen> {
        self.seen.load_full()
    }

    /// Lists the feed for as long as the runtime runs; one listing at a time.
    async fn keep_listing(self, model: String, metrics: FeedMetrics) {
        let mut pending: Option<JoinHandle<Listed>> = None;
        let mut ticks = tokio::time::interval(self.feed.every);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let mut listing =
                pending.take().unwrap_or_else(|| tokio::spawn(list(Arc::clone(&self.feed), now_micros())));
            let listed = match tokio::time::timeout(PATIENCE, &mut listing).await {
                Ok(Ok(listed)) => listed,
                Ok(Err(error)) => Listed { newest: None, trouble: Some(format!("the listing broke off: {error}")) },
                Err(_) => {
                    pending = Some(listing);
                    let trouble = format!("it is not listed within {} s", PATIENCE.as_secs());
                    Listed { newest: None, trouble: Some(trouble) }
                }
            };
            self.note(&model, listed, &metrics);
        }
    }

    /// Shows what was found, and says once when that changes between knowing and not knowing.
    fn note(&self, model: &str, listed: Listed, metrics: &FeedMetrics) {
        let before = self.seen.load_full();
        let after = before.after(listed, now_micros());
        metrics.listings[usize::from(after.trouble.is_some())].inc();
        metrics.newest_at.set(after.newest.as_ref().map_or(0.0, |newest| newest.written_at as f64 / 1e6));
        let (feed, place) = (&self.feed.name, &self.feed.place);
        match (&before.trouble, &after.trouble) {
            (None, Some(why)) => warn!(model, feed, %place, why, "a feed cannot be listed; it is tried again"),
            (Some(_), None) => info!(model, feed, %place, "the feed can be listed again"),
            _ => {}
        }
        self.seen.store(Arc::new(after));
    }
}

/// A feed's metrics.
#[derive(Debug)]
pub(crate) struct FeedMetrics {
    /// Those that went well, and those that did not.
    pub(crate) listings: [IntCounter; 2],
    pub(crate) newest_at: Gauge,
}

/// The feeds of all models.
#[derive(Debug, Default)]
pub(crate) struct Feeds(BTreeMap<String, Vec<WatchedFeed>>);

impl Feeds {
    /// Those that the configuration names; nothing is known of them yet.
    pub(crate) fn new(config: &Config) -> Self {
        let watched = |feed: &Feed| WatchedFeed { feed: Arc::new(feed.clone()), seen: Arc::default() };
        let of_model = config.models.iter().map(|model| {
            let feeds = model.slis.feeds.iter().map(watched).collect();
            (model.name.clone(), feeds)
        });
        Self(of_model.collect())
    }

    /// Begins to list all of them.
    pub(crate) fn keep_listing(&self, runtime: &Runtime, metrics: &Metrics) {
        for (model, watched) in self.0.iter().flat_map(|(model, feeds)| feeds.iter().map(move |feed| (model, feed))) {
            let metrics = metrics.feed(model, &watched.feed.name);
            runtime.spawn(watched.clone().keep_listing(model.clone(), metrics));
        }
    }

    /// A model's.
    pub(crate) fn of(&self, model: &str) -> &[WatchedFeed] {
        self.0.get(model).map_or(&[], Vec::as_slice)
    }
}

/// What alerts on feeds can have hurt: the columns that a feed names, and anything where it names none.
pub(crate) fn reach(config: &Config) -> Reach {
    let brings = |feed: &Feed| match feed.columns.is_empty() {
        true => Brings::Anything,
        false => Brings::Columns(feed.columns.clone()),
    };
    let of_model = |model: &Model| {
        let name = model.name.clone();
        let feeds = model.slis.feeds.iter().map(move |feed| (name.clone(), feed.name.clone(), brings(feed)));
        feeds.collect::<Vec<_>>()
    };
    let feeds: Vec<(String, String, Brings)> = config.models.iter().flat_map(of_model).collect();
    [FEEDS_SLI, FEEDS_LISTED_SLI]
        .into_iter()
        .fold(Reach::EVERYTHING, |reach, sli| reach.of_parts((sli, "feed"), feeds.clone()))
}

/// Lists a feed now, for who looks once: its newest file, if it has any.
///
/// # Errors
/// Why it cannot be listed, and what to do.
pub(crate) async fn look(feed: &Feed) -> Result<Option<NewestFile>, String> {
    let listing = list(Arc::new(feed.clone()), now_micros());
    match tokio::time::timeout(PATIENCE, listing).await {
        Ok(Listed { newest, trouble: None }) => Ok(newest),
        Ok(Listed { trouble: Some(why), .. }) => Err(why),
        Err(_) => Err(format!("it is not listed within {} s", PATIENCE.as_secs())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = 3_600_000_000;
    const MAX_AGE: Duration = Duration::from_secs(2 * 3600);

    fn found(hour: i64) -> Listed {
        Listed { newest: Some(NewestFile { name: "f".into(), written_at: hour * HOUR }), trouble: None }
    }

    fn failed() -> Listed {
        Listed { newest: None, trouble: Some("away".into()) }
    }

    #[test]
    fn a_feed_is_stale_by_what_was_listed_and_unknown_when_nothing_can_be() {
        let unseen = Seen::default();
        assert_eq!(unseen.state(MAX_AGE, 9 * HOUR), FeedState::Unknown, "not listed yet");
        let seen = unseen.after(found(5), 6 * HOUR);
        assert_eq!(seen.state(MAX_AGE, 7 * HOUR), FeedState::Fresh);
        assert_eq!(seen.state(MAX_AGE, 9 * HOUR), FeedState::Fresh, "one may have come since it was listed");
        assert_eq!(seen.after(found(5), 8 * HOUR).state(MAX_AGE, 8 * HOUR), FeedState::Stale);
        let empty = Listed { newest: None, trouble: None };
        assert_eq!(seen.after(empty, 6 * HOUR).state(MAX_AGE, 6 * HOUR), FeedState::Stale, "there is none");
        let away = seen.after(failed(), 6 * HOUR);
        assert_eq!(away.newest, seen.newest);
        assert_eq!([7, 8].map(|hour| away.state(MAX_AGE, hour * HOUR)), [FeedState::Fresh, FeedState::Unknown]);
        // Of a part of the files the newest may be young enough; whether it is too old, a part cannot say.
        let part = Listed { trouble: Some("too many".into()), ..found(7) };
        assert_eq!(away.after(part, 8 * HOUR).state(MAX_AGE, 8 * HOUR), FeedState::Fresh);
        assert_eq!(seen.after(found(3), 8 * HOUR).newest.unwrap().written_at, 3 * HOUR, "what is gone counts no more");
    }

    #[tokio::test]
    async fn a_feed_is_listed_again_and_what_was_seen_stays_while_it_cannot_be() {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().join("feed");
        let feed = Feed {
            name: "weather".into(),
            place: crate::config::ArchivePlace::Folder(place.clone()),
            suffix: String::new(),
            every: Duration::from_millis(5),
            max_age: MAX_AGE,
            columns: Default::default(),
        };
        let watched = WatchedFeed { feed: Arc::new(feed), seen: Arc::default() };
        let metrics = Metrics::new().unwrap();
        let listing = tokio::spawn(watched.clone().keep_listing("m".into(), metrics.feed("m", "weather")));
        let until = async |is_met: &dyn Fn(&Seen) -> bool| {
            while !is_met(&watched.seen()) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        until(&|seen| seen.trouble.is_some()).await;
        std::fs::create_dir(&place).unwrap();
        std::fs::write(place.join("a"), "").unwrap();
        until(&|seen| seen.trouble.is_none() && seen.newest.is_some()).await;
        // At once: in between it would be an empty feed.
        std::fs::rename(&place, folder.path().join("away")).unwrap();
        until(&|seen| seen.trouble.is_some()).await;
        assert_eq!(watched.seen().newest.as_ref().unwrap().name, "a");
        let [ok, failed] = metrics.feed("m", "weather").listings;
        assert!(ok.get() >= 1 && failed.get() >= 2);
        listing.abort();
    }
}
