//! What keeps an alert from being told: silences, maintenance windows, and alerts that explain it.
//!
//! An alert with several members is muted when all of them that count are, each by whatever it is: one column that nobody
//! silenced is reason enough to tell.
//!
//! What is less urgent explains nothing that is more so: whoever is to be woken would not be.
//!
//! Windows close hours after what they hold, and a budget still burns when the minutes that burnt it are over. A cause may
//! therefore explain for a while after its end, where the rule that is explained says so.
//!
//! A cause explains only what it can have hurt, as far as that is known ([`Reach`]).

use std::collections::BTreeSet;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::maintenance::Maintenance;
use crate::reach::Reach;
use crate::rule::{ExplainedBy, Labels, Rule, Severity};
use crate::silence::Silence;
use crate::state::{Alert, Ended, Member, Micros};

/// What mutes an alert, or a part of it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(tag = "by", content = "id", rename_all = "snake_case")]
pub enum Mute {
    /// A silence, by its id.
    Silence(String),
    /// A maintenance window, by its name.
    Maintenance(String),
    /// An alert that explains it, by its episode.
    Alert(String),
    /// A schedule that everybody waits for whom it is to be told to, by its name.
    Schedule(String),
}

/// Everything that may mute an alert at one time.
#[derive(Debug, Clone, Copy)]
pub struct Muting<'a> {
    /// The silences.
    pub silences: &'a [Silence],
    /// The maintenance windows.
    pub maintenance: &'a [&'a Maintenance],
    /// The alerts that fire, or did.
    pub causes: &'a [(&'a Rule, &'a Alert)],
    /// What these can have hurt.
    pub reach: &'a Reach,
    /// The time.
    pub now: Micros,
}

impl Muting<'_> {
    /// By what an alert is muted; by nothing when one of its members is not.
    pub fn of(&self, rule: &Rule, alert: &Alert) -> Vec<Mute> {
        let members: Option<BTreeSet<Mute>> =
            alert.counting().map(|member| self.of_member(rule, alert.severity(rule), member)).collect();
        members.unwrap_or_default().into_iter().collect()
    }

    fn of_member(&self, rule: &Rule, severity: Severity, member: &Member) -> Option<Mute> {
        let labels = &member.labels;
        let silence =
            || self.silences.iter().find(|one| one.is_on(self.now) && one.matching.matches(rule, severity, labels));
        let window =
            || self.maintenance.iter().find(|one| one.is_on(self.now) && one.matching.matches(rule, severity, labels));
        silence()
            .map(|silence| Mute::Silence(silence.id.clone()))
            .or_else(|| window().map(|window| Mute::Maintenance(window.name.clone())))
            .or_else(|| self.explanation(rule, severity, labels).map(Mute::Alert))
    }

    /// The episode that explains a member of a rule's alert.
    fn explanation(&self, rule: &Rule, severity: Severity, labels: &Labels) -> Option<String> {
        let of_cause = |cause: &ExplainedBy| {
            let of_that_rule = self.causes.iter().filter(|(other, _)| other.name == cause.rule);
            of_that_rule.into_iter().find_map(|(other, alert)| {
                let explains =
                    |member: &Labels| cause.agrees(member, labels) && self.reach.has((other, member), (rule, labels));
                by_what_fires((other, alert), severity, explains)
                    .or_else(|| by_what_is_over((other, alert), severity, cause.lasting, self.now, explains))
            })
        };
        rule.explained_by.iter().find_map(of_cause)
    }
}

/// The open episode of an alert, if that is as urgent and one of its members explains what is asked about.
fn by_what_fires(
    (rule, alert): (&Rule, &Alert),
    severity: Severity,
    explains: impl Fn(&Labels) -> bool,
) -> Option<String> {
    let open = alert.open()?;
    let is_cause = alert.severity(rule) >= severity && alert.counting().any(|member| explains(&member.labels));
    is_cause.then(|| open.episode.clone())
}

/// The same of its last episode that is over, for so long after its end.
fn by_what_is_over(
    (rule, alert): (&Rule, &Alert),
    severity: Severity,
    lasting: Duration,
    now: Micros,
    explains: impl Fn(&Labels) -> bool,
) -> Option<String> {
    let Ended { episode, at, severity: graded, members } = alert.ended.as_ref()?;
    let lasts = now.saturating_sub(*at) < lasting.as_micros() as Micros;
    let is_cause = lasts && graded.unwrap_or(rule.severity) >= severity && members.iter().any(explains);
    is_cause.then(|| episode.clone())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Brings;
    use crate::matching::tests::matchers;
    use crate::rule::Condition;
    use crate::state::tests::{fired, observation, rule};
    use crate::state::{Observation, Reading};

    const NOW: Micros = 1000;

    fn silence(id: &str, pairs: &[(&str, &str)]) -> Silence {
        Silence { id: id.into(), matching: matchers(pairs), from: 0, until: 2 * NOW }
    }

    fn muted(silences: &[Silence], firing: &[(&Rule, &Alert)], of: (&Rule, &Alert)) -> Vec<Mute> {
        Muting { silences, maintenance: &[], causes: firing, reach: &Reach::EVERYTHING, now: NOW }.of(of.0, of.1)
    }

    #[test]
    fn an_alert_is_muted_when_all_its_members_are_by_whatever_they_are() {
        let rule = rule(1, 1);
        let alert = fired(&rule, &["temp", "dewp"]);
        let (temp, dewp) = (silence("a", &[("column", "temp")]), silence("b", &[("column", "dewp")]));
        let of = |silences: &[Silence]| muted(silences, &[], (&rule, &alert));
        assert_eq!(of(std::slice::from_ref(&temp)), []);
        assert_eq!(of(&[temp.clone(), dewp]), [Mute::Silence("a".into()), Mute::Silence("b".into())]);
        let all = silence("c", &[("model", "flights")]);
        assert_eq!(of(&[temp, all]), [Mute::Silence("a".into()), Mute::Silence("c".into())]);
        let mut over = silence("d", &[("model", "flights")]);
        over.until = NOW;
        assert_eq!(of(&[over]), []);
    }

    #[test]
    fn a_cause_explains_what_agrees_with_it_and_only_while_it_fires() {
        let by_column = ExplainedBy {
            rule: "MissingValues".into(),
            same: vec!["model".into(), "column".into()],
            lasting: Duration::ZERO,
        };
        let child_rule = Rule { explained_by: vec![by_column], ..rule(1, 1) };
        let cause_rule = Rule { name: "MissingValues".into(), severity: Severity::Page, ..rule(1, 1) };
        let (one, both) = (fired(&child_rule, &["temp"]), fired(&child_rule, &["temp", "dewp"]));
        let cause = fired(&cause_rule, &["temp"]);
        let mut firing = vec![(&cause_rule, &cause), (&child_rule, &one)];
        let episode = cause.open().unwrap().episode.clone();
        assert_eq!(muted(&[], &firing, (&child_rule, &one)), [Mute::Alert(episode)]);
        assert_eq!(muted(&[], &firing, (&child_rule, &both)), [], "nobody has explained dewp");
        assert_eq!(muted(&[], &firing, (&cause_rule, &cause)), []);
        let mut lesser = cause.clone();
        lesser.open_mut().unwrap().severity = Some(Severity::Info);
        let lesser_firing = [(&cause_rule, &lesser), (&child_rule, &one)];
        assert_eq!(muted(&[], &lesser_firing, (&child_rule, &one)), [], "a route made less of the cause");
        firing.remove(0);
        assert_eq!(muted(&[], &firing, (&child_rule, &one)), []);
    }
    #[test]
    fn a_cause_that_is_over_explains_for_as_long_as_it_is_said_to() {
        let lasting = |lasting| {
            let cause = ExplainedBy { rule: "Cause".into(), same: vec!["model".into(), "column".into()], lasting };
            Rule { explained_by: vec![cause], ..rule(1, 1) }
        };
        let cause_rule = Rule { name: "Cause".into(), ..rule(1, 1) };
        let mut cause = fired(&cause_rule, &["temp"]);
        let episode = cause.open().unwrap().episode.clone();
        cause.observe(&cause_rule, &[observation("temp", Some(0.0))], NOW - 10, 1_000_000);
        assert!(cause.open().is_none(), "it is over");
        let of = |child_rule: &Rule, column: &str| {
            let child = fired(child_rule, &[column]);
            muted(&[], &[(&cause_rule, &cause)], (child_rule, &child))
        };
        let explained = [Mute::Alert(episode)];
        assert_eq!(of(&lasting(Duration::from_micros(11)), "temp"), explained);
        assert_eq!(of(&lasting(Duration::from_micros(10)), "temp"), [], "it has lasted");
        assert_eq!(of(&lasting(Duration::from_micros(11)), "dewp"), [], "it was of another column");
        let page = Rule { severity: Severity::Page, ..lasting(Duration::from_micros(11)) };
        let ticket = Rule { severity: Severity::Ticket, ..cause_rule.clone() };
        let child = fired(&page, &["temp"]);
        assert_eq!(muted(&[], &[(&ticket, &cause)], (&page, &child)), [], "what is less urgent keeps nothing back");
    }

    #[test]
    fn a_cause_that_is_known_to_hurt_some_columns_explains_these_alone_also_when_it_is_over() {
        let by_feed = ExplainedBy {
            rule: "StaleFeed".into(),
            same: vec!["model".into()],
            lasting: Duration::from_micros(2 * NOW as u64),
        };
        let child_rule = Rule { explained_by: vec![by_feed], ..rule(1, 1) };
        let condition = Condition::Sli {
            sli: "feeds".into(),
            matching: Labels::new(),
            below: 0.5,
            over: Duration::from_secs(600),
            min_events: 1,
            few: None,
        };
        let cause_rule = Rule { name: "StaleFeed".into(), condition, ..rule(1, 1) };
        let look = |feed: &str, good| {
            let reading = Reading::Ratio { good, valid: 9, unknown: 0 };
            Observation { name: "feeds".into(), reading, ..observation(feed, None) }
        };
        let mut fares = Alert::new(&cause_rule, [("model".into(), "flights".into())].into());
        fares.observe(&cause_rule, &[look("fares", 0), look("weather", 9)], 0, 1_000_000);
        let mut both = fares.clone();
        both.observe(&cause_rule, &[look("fares", 0), look("weather", 0)], 1, 1_000_000);
        let mut over = fares.clone();
        over.observe(&cause_rule, &[look("fares", 9), look("weather", 9)], 1, 1_000_000);
        assert!(over.open().is_none() && both.open().is_some());

        let named = |columns: &[&str]| Brings::Columns(columns.iter().map(|column| (*column).to_owned()).collect());
        let of_feeds = |feeds: &[(&str, Brings)]| {
            let of_flights =
                |(feed, brings): &(&str, Brings)| ("flights".to_owned(), (*feed).to_owned(), brings.clone());
            Reach::EVERYTHING.of_parts(("feeds", "feed"), feeds.iter().map(of_flights))
        };
        let fare = ("fares", named(&["fare", "fuel"]));
        let of_fares = of_feeds(&[fare.clone(), ("weather", Brings::Anything)]);
        let is_muted = |reach: &Reach, cause: &Alert, columns: &[&str]| {
            let causes = [(&cause_rule, cause)];
            let muting = Muting { silences: &[], maintenance: &[], causes: &causes, reach, now: NOW };
            !muting.of(&child_rule, &fired(&child_rule, columns)).is_empty()
        };
        for cause in [&fares, &over] {
            assert!(is_muted(&of_fares, cause, &["fare"]) && is_muted(&of_fares, cause, &["fare", "fuel"]));
            assert!(!is_muted(&of_fares, cause, &["temp"]), "another feed brings it");
            assert!(!is_muted(&of_fares, cause, &["fare", "temp"]), "nobody has explained temp");
            assert!(is_muted(&Reach::EVERYTHING, cause, &["temp"]), "nobody knows what it brings");
        }
        assert!(is_muted(&of_fares, &both, &["temp"]), "nobody knows what the other one brings");
        let of_both = of_feeds(&[fare.clone(), ("weather", named(&["temp"]))]);
        assert!(is_muted(&of_both, &both, &["fare", "temp"]) && !is_muted(&of_both, &both, &["distance"]));
        let of_another = Reach::EVERYTHING.of_parts(("feeds_listed", "feed"), Vec::new());
        assert!(is_muted(&of_another, &fares, &["temp"]), "it is another indicator");
        // A feed that was taken out of the configuration: its alert is over, and lingers.
        for left in [of_feeds(&[]), of_feeds(&[("weather", Brings::Anything)])] {
            assert!(
                !is_muted(&left, &over, &["fare"]) && !is_muted(&left, &fares, &["fare"]),
                "what it brought nobody knows"
            );
        }

        // What is of no column may have another cause.
        let child_rule = Rule { group_by: vec!["model".into()], ..child_rule.clone() };
        let mut whole = Alert::new(&child_rule, [("model".into(), "flights".into())].into());
        let mut observed = observation("", Some(0.9));
        observed.labels.remove("column");
        whole.observe(&child_rule, &[observed], 0, 1_000_000);
        let causes = [(&cause_rule, &fares)];
        let muted = |reach| {
            let muting = Muting { silences: &[], maintenance: &[], causes: &causes, reach, now: NOW };
            !muting.of(&child_rule, &whole).is_empty()
        };
        assert_eq!((muted(&of_fares), muted(&Reach::EVERYTHING)), (false, true));
    }
}
