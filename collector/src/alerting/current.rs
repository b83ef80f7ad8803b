//! What is so of an alert when somebody is told of it later than it began: after a silence, by an escalation, by a reminder.
//!
//! What was known when it began is kept, and is what its page shows. A message says how it is by now, since when it has been
//! going on, and what it began with.

use driftline_alerts::{Alert, Micros, Notification, Rule, Transition};

use super::book::Change;
use super::evidence::{self, Context};
use super::facts;
use crate::times;

/// What is told so soon after the beginning says what it began with.
const FRESH_MICROS: Micros = 5_000_000;
/// The facts that it adds.
pub(super) const NOW: &str = "Now";
const BEGAN: &str = "Began with";
/// Facts that hold for the moment only, so that those of the beginning are left out by now.
const OF_THE_MOMENT: [&str; 2] = ["Confidence", "Budget"];

/// How an alert is by now.
#[derive(Debug, Clone)]
pub(crate) struct Current {
    /// What would be said if it began now; none where nothing of it is over its limit at the moment.
    said: Option<Box<Notification>>,
}

impl Current {
    /// How an alert that fires is by now; none where it has just begun.
    pub(crate) fn of(rule: &Rule, alert: &Alert, context: &Context<'_>) -> Option<Self> {
        let open = alert.open().filter(|open| context.now.saturating_sub(open.since) >= FRESH_MICROS)?;
        if alert.over().next().is_none() {
            return Some(Self { said: None });
        }
        let transition = Transition::Fired { episode: open.episode.clone() };
        let change = Change { rule: rule.clone(), alert: alert.clone(), transition };
        Some(Self { said: Some(Box::new(evidence::notification(&change, context))) })
    }

    /// Has what was known when an alert began say how it is by now. If nobody was told of it yet, its messages are filed under
    /// this, too.
    pub(super) fn put_into(&self, begun: &mut Notification, is_told: bool) {
        let Some(said) = &self.said else {
            let words = "back within its limit; it ends once that has lasted".to_owned();
            return put_fact(begun, NOW, words);
        };
        if said.summary == begun.summary && said.rows == begun.rows {
            return;
        }
        if begun.facts.iter().all(|(name, _)| name != BEGAN) {
            let words = format!("{} UTC: {}", times::second(begun.started_at), begun.summary);
            begun.facts.push((BEGAN.to_owned(), words));
        }
        begun.facts.retain(|(name, _)| !OF_THE_MOMENT.contains(&name.as_str()));
        for (name, value) in &said.facts {
            put_fact(begun, name, value.clone());
        }
        begun.summary.clone_from(&said.summary);
        begun.rows.clone_from(&said.rows);
        begun.more_rows = said.more_rows;
        if !is_told {
            begun.subject.clone_from(&said.summary);
        }
        facts::put_in_order(&mut begun.facts);
    }
}

fn put_fact(notification: &mut Notification, name: &str, value: String) {
    match notification.facts.iter_mut().find(|(known, _)| known == name) {
        Some((_, known)) => *known = value,
        None => notification.facts.push((name.to_owned(), value)),
    }
    facts::put_in_order(&mut notification.facts);
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use driftline_alerts::{Condition, Labels, Observation, Reading};

    use super::*;
    use crate::config::Config;

    const SECOND: Micros = 1_000_000;

    fn rule() -> Rule {
        let rules = Config::parse("", "", std::path::Path::new("")).unwrap().alerting.rules;
        rules
            .into_iter()
            .find(|rule| matches!(&rule.condition, Condition::Sli { sli, .. } if sli == "latency"))
            .unwrap()
    }

    /// The alert after so many of a hundred were good.
    fn looked(alert: &mut Alert, rule: &Rule, good: u64, at: Micros) {
        let reading = Reading::Ratio { good: 10 * good, valid: 1000, unknown: 0 };
        let labels = Labels::from([("model".to_owned(), "m".to_owned())]);
        alert.observe(rule, &[Observation { name: "latency".to_owned(), labels, reading }], at, 3600 * SECOND);
    }

    fn context(history: &evidence::History<'_>, now: Micros, use_it: impl FnOnce(&Context<'_>)) {
        use_it(&Context { window: None, history, public_url: "", dashboard: None, now });
    }

    #[test]
    fn what_is_told_late_says_how_it_is_by_now_and_what_it_began_with() {
        let rule = rule();
        let mut alert = Alert::new(&rule, [("model".to_owned(), "m".to_owned())].into());
        looked(&mut alert, &rule, 70, SECOND);
        let episode = alert.open().unwrap().episode.clone();
        let change = Change { rule: rule.clone(), alert: alert.clone(), transition: Transition::Fired { episode } };
        let history = |_: &evidence::Watched<'_>| Vec::new();
        context(&history, SECOND, |began| {
            let mut begun = evidence::notification(&change, began);
            begun.facts.push(("Confidence".to_owned(), "of the beginning".to_owned()));
            assert!(begun.summary.contains("70% were good"), "{}", begun.summary);
            context(&history, 3 * SECOND, |soon| {
                assert!(Current::of(&rule, &alert, soon).is_none(), "it has just begun")
            });
            looked(&mut alert, &rule, 40, 60 * SECOND);
            context(&history, 60 * SECOND, |now| {
                let current = Current::of(&rule, &alert, now).unwrap();
                let (mut first, mut later) = (begun.clone(), begun.clone());
                current.put_into(&mut first, false);
                current.put_into(&mut later, true);
                assert!(first.summary.contains("40% were good") && first.started_at == begun.started_at, "{first:?}");
                assert_eq!((&first.subject, &later.subject), (&first.summary, &begun.subject));
                let fact = |name: &str| first.facts.iter().find(|(known, _)| known == name).unwrap().1.clone();
                assert!(fact("Events").starts_with("400 of "), "{}", fact("Events"));
                assert!(
                    fact(BEGAN).ends_with(&begun.summary) && fact(BEGAN).starts_with("1970-01-01"),
                    "{}",
                    fact(BEGAN)
                );
                assert!(first.facts.iter().all(|(name, _)| name != "Confidence"), "it was of the beginning");
                assert_eq!(first.rows[0].value, "40%");
                let again = first.clone();
                current.put_into(&mut first, true);
                assert_eq!(first, again, "once");
            });
        });
    }

    #[test]
    fn what_is_within_its_limit_for_the_moment_is_said_to_be() {
        let mut rule = rule();
        rule.recovery.keep_firing_for = Duration::from_secs(60);
        let mut alert = Alert::new(&rule, [("model".to_owned(), "m".to_owned())].into());
        looked(&mut alert, &rule, 70, SECOND);
        let episode = alert.open().unwrap().episode.clone();
        let change = Change { rule: rule.clone(), alert: alert.clone(), transition: Transition::Fired { episode } };
        let history = |_: &evidence::Watched<'_>| Vec::new();
        looked(&mut alert, &rule, 100, 9 * SECOND);
        assert!(alert.open().is_some() && alert.over().next().is_none(), "it recovers");
        context(&history, 9 * SECOND, |now| {
            let begun = evidence::notification(&change, now);
            let mut said = begun.clone();
            Current::of(&rule, &alert, now).unwrap().put_into(&mut said, false);
            assert_eq!((&said.summary, &said.rows), (&begun.summary, &begun.rows));
            assert!(said.facts[0].0 == NOW && said.facts[0].1.starts_with("back within its limit"), "{:?}", said.facts);
        });
    }
}
