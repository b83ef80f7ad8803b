//! What the configuration still has looked at.
//!
//! A feed that was taken out of the configuration while its alert fired is looked at no more, so nothing would ever end that
//! alert. What is on an indicator that goes by the configuration is let go at the next start, once that does not name it.

use std::collections::BTreeSet;

use driftline_alerts::{Condition, Labels};
use rusqlite::Connection;

use crate::alerting::{dead_letters, heartbeat};
use crate::config::{
    Config, DELIVERY_SLI, FEEDS_LISTED_SLI, FEEDS_SLI, FIRST_MESSAGE_SLI, OUTCOMES_SLI, SLICES_SLI, WATERMARK_SLI,
    part_label,
};
use crate::times::now_micros;

/// What is looked at, as the configuration and what is left of earlier ones say.
pub(super) struct LookedAt<'c> {
    config: &'c Config,
    /// Targets that are not configured any more and have something left.
    left: BTreeSet<String>,
}

impl<'c> LookedAt<'c> {
    pub(super) fn load(db: &Connection, config: &'c Config) -> rusqlite::Result<Self> {
        let mut left: BTreeSet<String> = dead_letters::count(db)?.into_keys().collect();
        left.extend(dead_letters::troubles(db, now_micros())?.into_keys());
        Ok(Self { config, left })
    }

    /// Whether anybody still looks at what a member of an alert is about.
    pub(super) fn has(&self, condition: &Condition, labels: &Labels) -> bool {
        let (Condition::Sli { sli, .. } | Condition::Budget { sli, .. }) = condition else { return true };
        let part = labels.get(part_label(sli)).map_or("", String::as_str);
        if sli == DELIVERY_SLI {
            let alerting = &self.config.alerting;
            let is_heartbeat = alerting.heartbeat.is_some() && part == heartbeat::NAME;
            return is_heartbeat || alerting.targets.contains_key(part) || self.left.contains(part);
        }
        let Some(model) = labels.get("model") else { return true };
        let slis = self.config.model(model).slis;
        match sli.as_str() {
            FEEDS_SLI | FEEDS_LISTED_SLI => slis.feeds.iter().any(|feed| feed.name == part),
            "freshness" => slis.freshness.iter().any(|fresh| fresh.column == part),
            WATERMARK_SLI => slis.watermarks.iter().any(|watermark| watermark.column == part),
            SLICES_SLI => slis.slices.iter().any(|slices| slices.name == part),
            OUTCOMES_SLI => slis.outcomes.is_some(),
            FIRST_MESSAGE_SLI => slis.first_message.is_some(),
            _ => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn what_the_configuration_names_is_looked_at_and_what_every_model_has() {
        let text = "models: [{name: m, slis: {first_message: {below: 1s}, outcomes: {max_age: 1d},
            freshness: [{column: a, max_age: 1h}], watermarks: [{column: b, max_age: 1h}], slices: [{name: c, score: psi}],
            feeds: [{name: d, folder: /feed, max_age: 1h}]}}]
alerts: {targets: {e: {webhook: {url: {env: A}}}}}";
        let config = Config::parse("d.yaml", text, Path::new("/")).unwrap();
        let left = ["f".to_owned()].into();
        let looked_at = LookedAt { config: &config, left };
        let any = config.alerting.rules.iter().find(|rule| rule.name == "ModelSilent").unwrap().condition.clone();
        let has = |sli: &str, model: &str, part: &str| {
            // A rule on slices is refused without any; so the name is put in afterwards.
            let Condition::Sli { below, over, min_events, few, .. } = any.clone() else { panic!("{any:?}") };
            let condition =
                Condition::Sli { sli: sli.to_owned(), matching: Labels::new(), below, over, min_events, few };
            let labels = [("model", model), (part_label(sli), part)].into_iter().filter(|(_, value)| !value.is_empty());
            looked_at.has(&condition, &labels.map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
        };
        for (sli, part) in [
            ("freshness", "a"),
            ("watermark", "b"),
            ("slices", "c"),
            ("feeds", "d"),
            ("feeds_listed", "d"),
            ("outcomes", ""),
            ("first_message", ""),
        ] {
            assert!(has(sli, "m", part), "{sli}");
            assert!(!has(sli, "other", part), "{sli} of a model that names none");
            assert!(part.is_empty() || !has(sli, "m", "gone"), "{sli}");
        }
        for sli in ["latency", "availability", "capture", "heard", "sidecars", "schema"] {
            assert!(has(sli, "other", ""), "{sli}");
        }
        assert_eq!(["e", "f", "g"].map(|target| has("delivery", "", target)), [true, true, false]);
        assert!(has("running", "", "") && has("archive", "", ""));
    }
}
