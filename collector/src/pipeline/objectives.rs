//! How the objectives of budget rules stand: for the API, the pages and metrics, by what the rules themselves look at.

use driftline_alerts::{Condition, Counts, EventSource, Objective, ObjectiveEvents, ObjectiveState, Reading, Rule};
use rusqlite::Connection;

use super::slis;
use super::{Pipeline, hearing};
use crate::config::{DECODED_SLI, FIRST_MESSAGE_SLI, OWN_SLIS, SCHEMA_SLI};

/// Indicators whose events are requests, or come with them. Of all others somebody looks by the clock, or a window closes.
pub(crate) const OF_REQUESTS: [&str; 7] =
    ["latency", FIRST_MESSAGE_SLI, "availability", "freshness", "capture", SCHEMA_SLI, DECODED_SLI];
/// Those that every model with requests has, so that their absence is news.
const OF_EVERY_MODEL: [&str; 2] = ["latency", "availability"];

/// How an objective stands for one label of its indicator.
#[derive(Debug)]
pub(crate) struct Objectively<'r> {
    pub(crate) rule: &'r Rule,
    pub(crate) sli: &'r str,
    pub(crate) objective: &'r Objective,
    pub(crate) label: String,
    pub(crate) state: ObjectiveState,
    /// Events of its period.
    pub(crate) period: Counts,
    /// Those of the first pair's long window.
    pub(crate) first: Counts,
}

/// The objectives of a model at a time, rule by rule; of the collector itself for the name that no model has.
pub(crate) fn of_model<'r>(
    db: &Connection,
    rules: &'r [Rule],
    model: &str,
    now: i64,
) -> rusqlite::Result<Vec<Objectively<'r>>> {
    let mut all = Vec::new();
    for rule in rules {
        let Condition::Budget { sli, objective, pace, .. } = &rule.condition else { continue };
        if OWN_SLIS.contains(&sli.as_str()) != (model == slis::COLLECTOR) {
            continue;
        }
        let mut readings = slis::burn(db, model, sli, (objective, *pace), now)?;
        if readings.is_empty() && OF_EVERY_MODEL.contains(&sli.as_str()) {
            let none = [Counts::default(); 2];
            readings.push((String::new(), Reading::Burn { period: Counts::default(), long: none, short: none }));
        }
        for (label, reading) in readings.into_iter().filter(|(label, _)| is_of(rule, sli, model, label)) {
            let Reading::Burn { period, long, short } = reading else { continue };
            let events = ObjectiveEvents { period, long, short, source: source(db, sli, model, now)? };
            let state = ObjectiveState::of(objective, *pace, &events, now);
            all.push(Objectively { rule, sli, objective, label, state, period, first: long[0] });
        }
    }
    Ok(all)
}

/// Whether a rule looks at a label of a model's indicator.
fn is_of(rule: &Rule, sli: &str, model: &str, label: &str) -> bool {
    rule.condition.matches(sli, &super::evaluating::indicator_labels(model, sli, label))
}

/// Where an indicator's events come from, and when the last ones came.
fn source(db: &Connection, sli: &str, model: &str, now: i64) -> rusqlite::Result<EventSource> {
    if !OF_REQUESTS.contains(&sli) {
        return Ok(EventSource::Looks);
    }
    let heard_at = Some(hearing::last_counted(db, model)?).filter(|at| *at > 0);
    let is_missed = match heard_at {
        Some(at) => hearing::is_heard(db, model, at, now)? == Some(false),
        None => false,
    };
    Ok(EventSource::Requests { heard_at, is_missed })
}

impl Pipeline {
    /// Shows how each objective stands.
    pub(super) fn show_objectives(&self, now: i64) {
        let own = std::iter::once(slis::COLLECTOR);
        for model in self.models.keys().map(|name| &**name).chain(own) {
            // What cannot be read stays as it was shown; evaluating the rules says why.
            let Ok(all) = self.parts.store.read_blocking(|db| of_model(db, self.book.rules(), model, now)) else {
                continue;
            };
            for one in all {
                self.parts.metrics.show_objective((model, one.sli, &one.label), &one.rule.name, one.state);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::Config;
    use crate::pipeline::slis::{HOUR_MICROS, SliCounts};

    const SECOND: i64 = 1_000_000;
    /// A day of requests ends here, within an hour.
    const LAST: i64 = 1_000 * HOUR_MICROS + 1020 * SECOND;
    const RULES: &str = "alerts: {rules: [
        {name: Answers, severity: page, runbook: availability-slo, when: {sli: availability, objective: 0.99, burns: fast}},
        {name: Feeds, severity: ticket, runbook: stale-feed, when: {sli: feeds, objective: 0.9, burns: slow, matching: {column: weather}}},
        {name: Elsewhere, severity: page, runbook: availability-slo, when: {sli: availability, objective: 0.99, burns: fast, matching: {model: other}}},
        {name: LatencyBudget, enabled: false}, {name: AvailabilityBudget, enabled: false}]}";

    /// How a model's objectives stand: rule, label, state, and good, bad and unknown of the period.
    fn standing(db: &Connection, now: i64) -> Vec<(String, String, &'static str, [u64; 3])> {
        let rules = Config::parse("d.yaml", RULES, Path::new("/")).unwrap().alerting.rules;
        let all = of_model(db, &rules, "m", now).unwrap().into_iter();
        let counts = |counts: Counts| [counts.good, counts.bad(), counts.unknown];
        all.map(|one| (one.rule.name.clone(), one.label, one.state.name(), counts(one.period))).collect()
    }

    fn database() -> Connection {
        crate::store::in_memory().unwrap()
    }

    fn count(db: &Connection, sli: &'static str, label: &str, at: i64, (good, bad, unknown): (u64, u64, u64)) {
        let mut counts = SliCounts::default();
        counts.count("m", sli, label, at, Counts { good, valid: good + bad, unknown });
        counts.store(db).unwrap();
    }

    #[test]
    fn a_model_that_never_spoke_has_no_data_and_one_that_sleeps_no_traffic() {
        let db = database();
        let of = |state, counts| vec![("Answers".to_owned(), String::new(), state, counts)];
        assert_eq!(standing(&db, LAST), of("no_data", [0, 0, 0]));
        count(&db, "availability", "", LAST, (100, 0, 2));
        assert_eq!(standing(&db, LAST), of("ok", [100, 0, 2]));
        assert_eq!(
            standing(&db, LAST + HOUR_MICROS),
            of("no_traffic", [100, 0, 2]),
            "nobody knows how often it is asked"
        );
        // Asked in each hour of a day, and then for one not at all.
        (1..30).for_each(|hour| count(&db, "availability", "", LAST - hour * HOUR_MICROS, (100, 0, 0)));
        assert_eq!(standing(&db, LAST + HOUR_MICROS), of("no_data", [3000, 0, 2]));
    }

    #[test]
    fn what_is_lost_degrades_what_is_bad_burns_and_a_feed_that_is_not_looked_at_has_no_data() {
        let db = database();
        (0..300).for_each(|hour| count(&db, "availability", "", LAST - hour * HOUR_MICROS, (10_000, 0, 0)));
        count(&db, "availability", "", LAST, (0, 0, 5000));
        count(&db, "feeds", "weather", LAST, (30, 0, 0));
        count(&db, "feeds", "other", LAST, (0, 30, 0));
        let states = |now| {
            let states = standing(&db, now).into_iter().map(|(rule, label, state, _)| (rule, label, state));
            states.collect::<Vec<_>>()
        };
        let of = |answers, feeds| {
            vec![("Answers".to_owned(), String::new(), answers), ("Feeds".to_owned(), "weather".to_owned(), feeds)]
        };
        assert_eq!(states(LAST), of("degraded_capture", "ok"));
        assert_eq!(states(LAST + 7 * HOUR_MICROS), of("no_data", "no_data"));
        // Of 31,000 of the hour 6,000 are a rate of 19.
        count(&db, "availability", "", LAST, (0, 6000, 0));
        assert_eq!(states(LAST), of("burning", "ok"), "even if all that was lost was good");
        // 31,000 of 3,036,000.
        count(&db, "availability", "", LAST, (0, 25_000, 0));
        assert_eq!(states(LAST), of("exhausted", "ok"));
    }
}
