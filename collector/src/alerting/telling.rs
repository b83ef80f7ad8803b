//! What is to be said of the alerts that fire, by what people have said of them.

use std::collections::BTreeSet;

use driftline_alerts::{
    Alert, Labels, Maintenance, Micros, Mute, Muting, Open, Routes, Rule, Saying, Silence, Standing,
};
use rusqlite::Connection;

use super::book::Book;
use super::{maintenance, silences};

/// What people have said: what is to be silent, and what somebody is on.
#[derive(Debug, Default)]
pub(crate) struct Wishes {
    silences: Vec<Silence>,
    /// Maintenance windows besides those of the configuration.
    maintenance: Vec<Maintenance>,
    /// Episodes.
    acknowledged: BTreeSet<String>,
}

impl Wishes {
    /// Reads them. They are read whenever they are needed: what was accepted a moment ago is in force.
    pub(crate) fn load(db: &Connection, now: Micros) -> rusqlite::Result<Self> {
        let acknowledged = db
            .prepare_cached("SELECT id FROM episodes WHERE resolved_at IS NULL AND acknowledged_at IS NOT NULL")?
            .query_map([], |row| row.get(0))?
            .collect::<rusqlite::Result<_>>()?;
        let maintenance = maintenance::to_come(db, now)?.into_iter().map(|stored| stored.window).collect();
        Ok(Self { silences: silences::to_keep(db, now)?, maintenance, acknowledged })
    }
}

/// What changed in how an episode is told.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Told {
    pub(crate) episode: String,
    /// By what it is muted, if that has changed.
    pub(crate) muted_by: Option<Vec<Mute>>,
    /// How it stands, if that has changed.
    pub(crate) standing: Option<Standing>,
    pub(crate) sayings: Vec<Saying>,
    /// Targets that are told by a schedule that is not on: they are not reminded now.
    pub(crate) off_duty: Vec<String>,
}

/// The targets that an alert says do not get what is theirs.
fn failing_targets(alert: &Alert) -> BTreeSet<String> {
    let members = alert.over().map(|member| &member.labels);
    members.chain([&alert.labels]).filter_map(|labels| labels.get("target").cloned()).collect()
}

/// Has the others told where an alert is about targets; where there are no others, those themselves: once they are back, or
/// if it was but one notification that they did not take, they hear of it.
fn past_failing(saying: Saying, failing: &BTreeSet<String>) -> Saying {
    match saying {
        Saying::Trigger(targets) if targets.iter().any(|target| !failing.contains(target)) => {
            Saying::Trigger(targets.into_iter().filter(|target| !failing.contains(target)).collect())
        }
        saying => saying,
    }
}

/// Whether the indicators were not looked at since an alert began that they may explain.
fn may_be_explained_yet(rule: &Rule, open: &Open, evaluated_at: Micros) -> bool {
    !rule.explained_by.is_empty() && evaluated_at <= open.since
}

/// Whether somebody was told of an alert that fires.
fn is_told(alert: &Alert) -> bool {
    alert.open().is_some_and(|open| open.told.first.is_some())
}

impl Book {
    /// Whether an alert waits for the indicators to be looked at.
    pub(crate) fn holds(&self, evaluated_at: Micros) -> bool {
        let waits = |rule, open: &Open| open.told.first.is_none() && may_be_explained_yet(rule, open, evaluated_at);
        self.firing().any(|(rule, alert)| alert.open().is_some_and(|open| waits(rule, open)))
    }

    /// Decides what is to be said by now of each alert that fires, and takes it as said. An alert that others may explain is
    /// held until the indicators were looked at after it began, which was last at `evaluated_at`. What says nothing for
    /// `no_data_after` has no data.
    pub(crate) fn tell(
        &mut self,
        wishes: &Wishes,
        (maintenance, routes): (&[Maintenance], &Routes),
        evaluated_at: Micros,
        no_data_after: &dyn Fn(&Rule, &Labels) -> Micros,
        now: Micros,
    ) -> Vec<Told> {
        let firing: Vec<_> = self.firing().collect();
        let causes: Vec<_> = self.causes().collect();
        let standing = |(rule, alert): &(&Rule, &Alert)| alert.standing(no_data_after(rule, &alert.labels), now);
        let standings: Vec<Standing> = firing.iter().map(|one| standing(one).unwrap_or_default()).collect();
        let windows: Vec<&Maintenance> = maintenance.iter().chain(&wishes.maintenance).collect();
        let muting =
            Muting { silences: &wishes.silences, maintenance: &windows, causes: &causes, reach: self.reach(), now };
        let labels: Vec<Labels> = firing.iter().map(|(_, alert)| alert.common_labels()).collect();
        let mutes = |((rule, alert), labels): (&(&Rule, &Alert), &Labels)| match muting.of(rule, alert) {
            by if by.is_empty() && !is_told(alert) => routes.of(rule, labels, now).mutes(),
            by => by,
        };
        let mutes: Vec<Vec<Mute>> = firing.iter().zip(&labels).map(mutes).collect();
        let failing: Vec<BTreeSet<String>> = firing.iter().map(|(_, alert)| failing_targets(alert)).collect();
        let mut told = Vec::new();
        self.for_each_open(|rule, open, index| {
            let mutes = &mutes[index];
            let muted_by = (open.told.muted_by != *mutes).then(|| mutes.clone());
            open.told.muted_by.clone_from(mutes);
            let is_held = may_be_explained_yet(rule, open, evaluated_at);
            let is_acknowledged = wishes.acknowledged.contains(&open.episode);
            let sayings = open.say((rule, &labels[index]), routes, is_held, is_acknowledged, now);
            let sayings: Vec<Saying> =
                sayings.into_iter().map(|saying| past_failing(saying, &failing[index])).collect();
            let off_duty = open.told.off_duty(routes, now);
            let standing = (open.standing != standings[index]).then_some(standings[index]);
            open.standing = standings[index];
            let changed = muted_by.is_some() || standing.is_some() || !sayings.is_empty();
            if changed {
                told.push(Told { episode: open.episode.clone(), muted_by, standing, sayings, off_duty });
            }
            changed
        });
        told
    }
}

#[cfg(test)]
mod tests {
    use driftline_alerts::{Condition, ExplainedBy, KofM, Observation, Reading, Recovery, Severity, Wording};

    use super::*;

    const DAY: Micros = 86_400_000_000;

    fn rule(name: &str, score: &str, explained_by: Vec<ExplainedBy>) -> Rule {
        Rule {
            name: name.to_owned(),
            severity: Severity::Page,
            runbook: "feature-drift".to_owned(),
            condition: Condition::Score {
                score: score.to_owned(),
                matching: Labels::new(),
                above: None,
                windows: KofM { k: 1, m: 1 },
            },
            group_by: vec!["model".to_owned()],
            targets: vec!["a".to_owned()],
            repeat: None,
            escalate: Vec::new(),
            explained_by,
            recovery: Recovery::default(),
            wording: Wording::default(),
        }
    }

    fn observed(score: &str, value: f64) -> Observation {
        let labels = [("model", "m"), ("column", "x")].map(|(name, value)| (name.to_owned(), value.to_owned()));
        let reading = Reading::Score { value, threshold: 0.2, noise: 0.0, n: 9 };
        Observation { name: score.to_owned(), labels: labels.into(), reading }
    }

    fn told(book: &mut Book, evaluated_at: Micros, now: Micros) -> Vec<(Vec<Mute>, usize)> {
        let told = book.tell(&Wishes::default(), (&[], &Routes::default()), evaluated_at, &|_, _| DAY, now);
        told.into_iter().map(|told| (told.muted_by.unwrap_or_default(), told.sayings.len())).collect()
    }

    #[test]
    fn that_a_target_fails_is_told_to_the_others_or_to_itself_if_there_are_none() {
        let all = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let mut own = rule("DeliveryFailure", "", Vec::new());
        own.condition = Condition::Sli {
            sli: "delivery".to_owned(),
            matching: Labels::new(),
            below: 0.8,
            over: std::time::Duration::from_secs(60),
            min_events: 1,
            few: None,
        };
        own.group_by = vec!["target".to_owned()];
        for (targets, told) in [(all(&["a", "b", "c"]), all(&["b", "c"])), (all(&["a"]), all(&["a"]))] {
            let mut book = Book::new(vec![Rule { targets, ..own.clone() }]);
            let labels = Labels::from([("target".to_owned(), "a".to_owned())]);
            let reading = Reading::Ratio { good: 0, valid: 6, unknown: 0 };
            let observed = Observation { name: "delivery".to_owned(), labels, reading };
            assert_eq!(book.observe(0, &[observed], 10, DAY).len(), 1);
            let said = book.tell(&Wishes::default(), (&[], &Routes::default()), 10, &|_, _| DAY, 11);
            assert_eq!(said[0].sayings, [Saying::Trigger(told)]);
        }
    }

    #[test]
    fn what_may_be_explained_waits_for_one_look_and_is_told_when_its_cause_is_gone() {
        let cause = ExplainedBy {
            rule: "Cause".to_owned(),
            same: vec!["model".to_owned()],
            lasting: std::time::Duration::ZERO,
        };
        let rules = vec![rule("Cause", "missing_share", Vec::new()), rule("Drift", "psi", vec![cause])];
        let mut book = Book::new(rules);
        book.observe_scores(&[observed("psi", 0.9)], 10, DAY);
        assert!(told(&mut book, 10, 11).is_empty() && book.holds(10), "it was not looked since it began");
        book.observe_scores(&[observed("missing_share", 0.9)], 12, DAY);
        let Some((by, 0)) = told(&mut book, 12, 13).pop() else { panic!("it is explained, and not told") };
        assert!(matches!(by.as_slice(), [Mute::Alert(episode)] if episode.starts_with("cause-")), "{by:?}");
        book.observe_scores(&[observed("missing_share", 0.0)], 14, DAY);
        assert_eq!(told(&mut book, 14, 15), [(vec![], 1)]);
        assert!(told(&mut book, 14, 16).is_empty() && !book.holds(14), "once");
    }
}
