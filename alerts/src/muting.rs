//! What keeps an alert from being told: silences, maintenance windows, and alerts that explain it.
//!
//! An alert with several members is muted when all of them that count are, each by whatever it is: one column that nobody
//! silenced is reason enough to tell.
//!
//! What is less urgent explains nothing that is more so: whoever is to be woken would not be.
//!
//! Windows close hours after what they hold, and a budget still burns when the minutes that burnt it are over. A cause may
//! therefore explain for a while after its end, where the rule that is explained says so.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::maintenance::Maintenance;
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
                by_what_fires(cause, (other, alert), severity, labels)
                    .or_else(|| by_what_is_over(cause, (other, alert), severity, labels, self.now))
            })
        };
        rule.explained_by.iter().find_map(of_cause)
    }
}

/// The open episode of an alert, if that explains what is so urgent and has such labels.
fn by_what_fires(
    cause: &ExplainedBy,
    (rule, alert): (&Rule, &Alert),
    severity: Severity,
    labels: &Labels,
) -> Option<String> {
    let open = alert.open()?;
    let explains =
        alert.severity(rule) >= severity && alert.counting().any(|member| cause.agrees(&member.labels, labels));
    explains.then(|| open.episode.clone())
}

/// The same of its last episode that is over.
fn by_what_is_over(
    cause: &ExplainedBy,
    (rule, alert): (&Rule, &Alert),
    severity: Severity,
    labels: &Labels,
    now: Micros,
) -> Option<String> {
    let Ended { episode, at, severity: graded, members } = alert.ended.as_ref()?;
    let lasts = now.saturating_sub(*at) < cause.lasting.as_micros() as Micros;
    let explains = lasts
        && graded.unwrap_or(rule.severity) >= severity
        && members.iter().any(|member| cause.agrees(member, labels));
    explains.then(|| episode.clone())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::matching::tests::matchers;
    use crate::state::tests::{fired, observation, rule};

    const NOW: Micros = 1000;

    fn silence(id: &str, pairs: &[(&str, &str)]) -> Silence {
        Silence { id: id.into(), matching: matchers(pairs), from: 0, until: 2 * NOW }
    }

    fn muted(silences: &[Silence], firing: &[(&Rule, &Alert)], of: (&Rule, &Alert)) -> Vec<Mute> {
        Muting { silences, maintenance: &[], causes: firing, now: NOW }.of(of.0, of.1)
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
}
