//! What keeps an alert from being told: silences, maintenance windows, and alerts that explain it.
//!
//! An alert with several members is muted when all of them that count are, each by whatever it is: one column that nobody
//! silenced is reason enough to tell.
//!
//! What is less urgent explains nothing that is more so: whoever is to be woken would not be.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::maintenance::Maintenance;
use crate::rule::{ExplainedBy, Labels, Rule, Severity};
use crate::silence::Silence;
use crate::state::{Alert, Member, Micros};

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
    pub maintenance: &'a [Maintenance],
    /// The alerts that fire.
    pub firing: &'a [(&'a Rule, &'a Alert)],
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
        let explains = |cause: &ExplainedBy, alert: &Alert| {
            let agrees = |member: &Member| cause.same.iter().all(|name| member.labels.get(name) == labels.get(name));
            alert.counting().any(agrees)
        };
        let of_cause = |cause: &ExplainedBy| {
            let found = self.firing.iter().find(|(other, alert)| {
                other.name == cause.rule && alert.severity(other) >= severity && explains(cause, alert)
            });
            found.and_then(|(_, alert)| Some(alert.open()?.episode.clone()))
        };
        rule.explained_by.iter().find_map(of_cause)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::matching::tests::matchers;
    use crate::state::tests::{fired, rule};

    const NOW: Micros = 1000;

    fn silence(id: &str, pairs: &[(&str, &str)]) -> Silence {
        Silence { id: id.into(), matching: matchers(pairs), from: 0, until: 2 * NOW }
    }

    fn muted(silences: &[Silence], firing: &[(&Rule, &Alert)], of: (&Rule, &Alert)) -> Vec<Mute> {
        Muting { silences, maintenance: &[], firing, now: NOW }.of(of.0, of.1)
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
        let by_column = ExplainedBy { rule: "MissingValues".into(), same: vec!["model".into(), "column".into()] };
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
}
