//! The state of one alert: inactive, pending, firing, resolved.
//!
//! ```text
//!              a member breaches                 k of m (or the SLI at once)
//!   Inactive ───────────────────▶ Pending ───────────────────────────────▶ Firing
//!      ▲            none breaches    │                                        │
//!      ├─────────────────────────────┘                                        │
//!      └──────────────────────────────────── no member is over any more ──────┘   "resolved"
//! ```
//!
//! A member that is over stays so until as many windows in a row are quiet as make k of m impossible.
//!
//! Observations without enough data change nothing: an alert does not resolve because the data stopped. A member that is
//! not observed any more while others of its alert are (a version that was replaced, a column that was taken out) is
//! forgotten after a time, or its alert would fire for good. Time is an argument; nothing here reads a clock.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::rule::{Condition, KofM, Labels, Rule};
use crate::slo::Counts;

/// Members of one alert that are kept apart. An alert on more columns than this is about all of them.
pub const MAX_MEMBERS: usize = 1000;

/// Microseconds since the Unix epoch.
pub type Micros = i64;

/// A named value with labels, at a time.
#[derive(Debug, Clone, PartialEq)]
pub struct Observation {
    /// Name of the score or the indicator.
    pub name: String,
    /// What it is of.
    pub labels: Labels,
    /// What was read.
    pub reading: Reading,
}

/// What was read.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reading {
    /// A score of a window.
    Score {
        /// Its value, on the scale of the threshold.
        value: f64,
        /// The threshold that comes with it.
        threshold: f64,
        /// What chance reaches; never alerted on below it.
        noise: f64,
        /// Sample size.
        n: u64,
    },
    /// Good and valid events over the condition's time.
    Ratio {
        /// How many were good.
        good: u64,
        /// How many counted.
        valid: u64,
    },
    /// Events over the windows of a budget's pairs, in their order.
    Burn {
        /// Over the objective's period.
        period: Counts,
        /// Over each long window.
        long: [Counts; 2],
        /// Over each short one.
        short: [Counts; 2],
    },
    /// Too little to say anything.
    NotEnoughData,
}

/// One alert: a rule, and one set of its grouping labels.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Alert {
    /// The rule's name.
    pub rule: String,
    /// The grouping labels.
    pub labels: Labels,
    /// Where it stands.
    pub phase: Phase,
    /// Its members, by their labels in words.
    pub members: BTreeMap<String, Member>,
    /// When any of its members was observed last.
    #[serde(default)]
    pub observed_at: Option<Micros>,
    /// Observations of the last time that were not looked at, because there are [`MAX_MEMBERS`] members already.
    #[serde(skip)]
    pub ignored: u64,
}

/// Where an alert stands.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "phase", rename_all = "snake_case")]
pub enum Phase {
    /// Nothing breaches.
    Inactive,
    /// Something breaches, but not often enough yet.
    Pending {
        /// Since when.
        since: Micros,
    },
    /// It fires.
    Firing {
        /// Since when.
        since: Micros,
        /// Identity of this firing.
        episode: String,
    },
}

impl Phase {
    /// The name by which API and metrics know it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Inactive => "inactive",
            Self::Pending { .. } => "pending",
            Self::Firing { .. } => "firing",
        }
    }
}

/// One series of observations under an alert: a column, a version.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Member {
    /// All its labels.
    pub labels: Labels,
    /// Whether each of the last windows breached, the newest last.
    pub recent: Vec<bool>,
    /// The last reading that said something.
    pub last: Reading,
    /// Whether it is over: in breach often enough.
    pub over: bool,
    /// Whether it was over at any time of the current episode.
    pub was_over: bool,
    /// For how long others of its alert were observed, and it was not, in microseconds.
    #[serde(default)]
    pub unobserved: Micros,
}

/// What an evaluation changed.
#[derive(Debug, Clone, PartialEq)]
pub enum Transition {
    /// It began to fire.
    Fired {
        /// The new episode.
        episode: String,
    },
    /// It stopped.
    Resolved {
        /// The episode that ended.
        episode: String,
        /// When it had begun.
        since: Micros,
        /// The members that were over at any time of it.
        members: Vec<Member>,
    },
}

impl Alert {
    /// An alert that nothing was observed of.
    pub fn new(rule: &Rule, labels: Labels) -> Self {
        Self {
            rule: rule.name.clone(),
            labels,
            phase: Phase::Inactive,
            members: BTreeMap::new(),
            observed_at: None,
            ignored: 0,
        }
    }

    /// The grouping labels of an observation; none when it lacks one of them.
    pub fn group(rule: &Rule, labels: &Labels) -> Option<Labels> {
        rule.group_by.iter().map(|name| Some((name.clone(), labels.get(name)?.clone()))).collect()
    }

    /// Identity of the alert, the same in every run: 16 hexadecimal digits of a hash of its rule and labels.
    pub fn fingerprint(&self) -> String {
        use sha2::Digest;
        let mut hash = sha2::Sha256::new();
        for part in std::iter::once(&self.rule).chain(self.labels.iter().flat_map(|(name, value)| [name, value])) {
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part.as_bytes());
        }
        hash.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect()
    }

    /// Members that are over now.
    pub fn over(&self) -> impl Iterator<Item = &Member> {
        self.members.values().filter(|member| member.over)
    }

    /// Takes in what was observed of this alert's members at one time. Every observation must be of the rule's condition
    /// and of this alert's group.
    ///
    /// A member that is not among them for `forget_after`, in microseconds, while others are, is forgotten. Time in which
    /// nothing is observed at all, as when the observer is away, counts for at most a quarter of it.
    pub fn observe(
        &mut self,
        rule: &Rule,
        observations: &[Observation],
        now: Micros,
        forget_after: Micros,
    ) -> Option<Transition> {
        let mut observed = BTreeSet::new();
        self.ignored = 0;
        for observation in observations {
            let key = member_key(&observation.labels, &self.labels);
            let breach = breaches(&rule.condition, observation.reading);
            if let Some(breach) = breach {
                self.take(rule, &key, observation, breach);
            }
            observed.insert(key);
        }
        self.forget(&observed, now, forget_after);
        self.step(now)
    }

    fn take(&mut self, rule: &Rule, key: &str, observation: &Observation, breach: bool) {
        if !self.members.contains_key(key) && self.members.len() >= MAX_MEMBERS {
            self.ignored += 1;
            return;
        }
        let member = self.members.entry(key.to_owned()).or_insert_with(|| Member {
            labels: observation.labels.clone(),
            recent: Vec::new(),
            last: observation.reading,
            over: false,
            was_over: false,
            unobserved: 0,
        });
        let KofM { k, m } = windows(&rule.condition);
        member.recent.push(breach);
        let surplus = member.recent.len().saturating_sub(m as usize);
        member.recent.drain(..surplus);
        member.over = if member.over {
            // Hysteresis: as many windows in a row must be quiet as make k of m impossible.
            member.recent.iter().rev().take((m - k + 1) as usize).any(|breach| *breach)
        } else {
            member.recent.iter().filter(|breach| **breach).count() >= k as usize
        };
        member.was_over |= member.over;
        member.last = observation.reading;
    }

    /// Lets go of members that are not observed any more. One that was over in this episode is only not over any more:
    /// the resolve still names it.
    fn forget(&mut self, observed: &BTreeSet<String>, now: Micros, forget_after: Micros) {
        if observed.is_empty() {
            return;
        }
        let since = self.observed_at.map_or(0, |before| now.saturating_sub(before).clamp(0, forget_after / 4));
        self.observed_at = Some(now);
        self.members.retain(|key, member| {
            if observed.contains(key) {
                member.unobserved = 0;
                return true;
            }
            member.unobserved = member.unobserved.saturating_add(since);
            if member.unobserved >= forget_after {
                member.over = false;
                member.recent.clear();
            }
            member.unobserved < forget_after || member.was_over
        });
    }

    fn step(&mut self, now: Micros) -> Option<Transition> {
        let any_over = self.over().next().is_some();
        let any_breach = self.members.values().any(|member| member.recent.last() == Some(&true));
        match (&self.phase, any_over) {
            (Phase::Firing { .. }, true) => None,
            (Phase::Firing { since, episode }, false) => {
                let (since, episode) = (*since, episode.clone());
                let members = self.members.values().filter(|member| member.was_over).cloned().collect();
                for member in self.members.values_mut() {
                    member.was_over = false;
                }
                self.phase = if any_breach { Phase::Pending { since: now } } else { Phase::Inactive };
                Some(Transition::Resolved { episode, since, members })
            }
            (_, true) => {
                let episode = self.episode_id(now);
                self.phase = Phase::Firing { since: now, episode: episode.clone() };
                Some(Transition::Fired { episode })
            }
            (Phase::Inactive, false) if any_breach => {
                self.phase = Phase::Pending { since: now };
                None
            }
            (Phase::Pending { .. }, false) if !any_breach => {
                self.phase = Phase::Inactive;
                None
            }
            (Phase::Inactive | Phase::Pending { .. }, false) => None,
        }
    }

    /// Unique, and readable: the rule, the time, and the alert's fingerprint.
    fn episode_id(&self, now: Micros) -> String {
        let time = jiff::Timestamp::from_microsecond(now).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
        let digits: String = time.to_string().chars().filter(char::is_ascii_digit).take(20).collect();
        format!("{}-{digits}-{}", self.rule.to_lowercase(), self.fingerprint())
    }
}

/// Whether a reading breaches the condition; none when it says nothing.
fn breaches(condition: &Condition, reading: Reading) -> Option<bool> {
    match (condition, reading) {
        (Condition::Score { above, .. }, Reading::Score { value, threshold, noise, .. }) => {
            Some(value > above.unwrap_or(threshold).max(noise))
        }
        (Condition::Sli { below, min_events, .. }, Reading::Ratio { good, valid }) => {
            (valid >= *min_events && valid > 0).then(|| (good as f64) < below * valid as f64)
        }
        (Condition::Budget { objective, pace, .. }, Reading::Burn { long, short, .. }) => {
            // Without traffic nothing burns, and nothing is over either.
            let has_traffic = short.iter().any(|counts| counts.valid > 0);
            let mut pairs = objective.pairs(*pace).into_iter().zip(long.into_iter().zip(short));
            has_traffic.then(|| pairs.any(|(pair, (long, short))| objective.burns(&pair, long, short)))
        }
        _ => None,
    }
}

fn windows(condition: &Condition) -> KofM {
    match condition {
        Condition::Score { windows, .. } => *windows,
        Condition::Sli { .. } | Condition::Budget { .. } => KofM { k: 1, m: 1 },
    }
}

/// The labels that tell a member from the others of its alert, in words.
fn member_key(labels: &Labels, group: &Labels) -> String {
    let own = labels.iter().filter(|(name, _)| !group.contains_key(*name));
    own.map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::rule::Severity;

    const HOUR: Micros = 3_600_000_000;
    const DAY: Micros = 24 * HOUR;

    fn rule(k: u32, m: u32) -> Rule {
        Rule {
            name: "FeatureDrift".into(),
            severity: Severity::Ticket,
            runbook: "feature-drift".into(),
            condition: Condition::Score {
                score: "psi".into(),
                matching: Labels::new(),
                above: Some(0.2),
                windows: KofM::new(k, m).unwrap(),
            },
            group_by: vec!["model".into()],
            targets: vec![],
        }
    }

    fn observation(column: &str, value: Option<f64>) -> Observation {
        let reading = value.map_or(Reading::NotEnoughData, |value| Reading::Score {
            value,
            threshold: 0.2,
            noise: 0.05,
            n: 1000,
        });
        let labels = [("model", "flights"), ("column", column)].map(|(name, value)| (name.into(), value.into()));
        Observation { name: "psi".into(), labels: labels.into(), reading }
    }

    fn alert(rule: &Rule) -> Alert {
        Alert::new(rule, Alert::group(rule, &observation("temp", None).labels).unwrap())
    }

    /// The phases that a history of one column goes through.
    fn phases(rule: &Rule, history: &[Option<f64>]) -> Vec<&'static str> {
        let mut alert = alert(rule);
        let step = |(now, value): (usize, &Option<f64>)| {
            alert.observe(rule, &[observation("temp", *value)], now as Micros, DAY);
            alert.phase.name()
        };
        history.iter().enumerate().map(step).collect()
    }

    #[test]
    fn fires_at_k_of_m_and_resolves_when_it_stays_quiet() {
        let (low, high) = (Some(0.1), Some(0.9));
        assert_eq!(
            phases(&rule(2, 3), &[low, high, low, high, low, low, low]),
            ["inactive", "pending", "inactive", "firing", "firing", "inactive", "inactive"],
            "one quiet window does not resolve what two of three made fire"
        );
    }

    #[test]
    fn silence_neither_fires_nor_resolves() {
        let high = Some(0.9);
        assert_eq!(phases(&rule(1, 1), &[high, None, None, Some(0.0)]), ["firing", "firing", "firing", "inactive"]);
        assert_eq!(phases(&rule(2, 2), &[high, None, None, high]), ["pending", "pending", "pending", "firing"]);
    }

    #[test]
    fn what_chance_reaches_never_breaches() {
        let rule = rule(1, 1);
        let mut noisy = observation("temp", Some(0.9));
        noisy.reading = Reading::Score { value: 0.9, threshold: 0.2, noise: 1.5, n: 30 };
        let mut alert = alert(&rule);
        assert_eq!(alert.observe(&rule, &[noisy], 0, DAY), None);
    }

    #[test]
    fn several_columns_are_one_alert_with_members() {
        let rule = rule(1, 1);
        let mut alert = alert(&rule);
        let fired = alert.observe(
            &rule,
            &[observation("temp", Some(0.9)), observation("dewp", Some(0.8)), observation("hour", Some(0.0))],
            7,
            DAY,
        );
        assert!(
            matches!(&fired, Some(Transition::Fired { episode }) if episode.starts_with("featuredrift-19700101000000")),
            "{fired:?}"
        );
        assert_eq!(alert.over().count(), 2);
        assert_eq!(alert.observe(&rule, &[observation("temp", Some(0.0))], 8, DAY), None);
        let resolved = alert.observe(&rule, &[observation("dewp", Some(0.0))], 9, DAY);
        let Some(Transition::Resolved { members, since: 7, .. }) = resolved else { panic!("{resolved:?}") };
        assert_eq!(members.len(), 2, "both were over at some time");
    }

    /// Observes one column each hour for some hours, and gives the first change.
    fn hourly(alert: &mut Alert, column: &str, value: Option<f64>, hours: std::ops::Range<i64>) -> Option<Transition> {
        let step = |hour| alert.observe(&rule(1, 1), &[observation(column, value)], hour * HOUR, DAY);
        hours.into_iter().find_map(step)
    }

    #[test]
    fn a_member_that_is_gone_resolves_and_the_next_drift_is_told_again() {
        let mut alert = alert(&rule(1, 1));
        assert!(matches!(hourly(&mut alert, "old", Some(0.9), 0..1), Some(Transition::Fired { .. })));
        // A new version is deployed: nothing is observed of the old one any more.
        assert_eq!(hourly(&mut alert, "new", Some(0.0), 1..24), None, "it may come back");
        let resolved = hourly(&mut alert, "new", Some(0.0), 24..30);
        let Some(Transition::Resolved { members, .. }) = resolved else { panic!("{resolved:?}") };
        assert_eq!(members[0].labels["column"], "old");
        assert!(matches!(hourly(&mut alert, "new", Some(0.9), 30..31), Some(Transition::Fired { .. })));
        hourly(&mut alert, "new", Some(0.9), 31..32);
        assert_eq!(alert.members.len(), 1, "the old one is forgotten");
    }

    #[test]
    fn a_member_is_not_forgotten_while_nobody_looks_or_while_it_has_too_little_data() {
        let mut alert = alert(&rule(1, 1));
        hourly(&mut alert, "a", Some(0.9), 0..1);
        hourly(&mut alert, "b", Some(0.0), 0..1);
        // The observer was away for ten days.
        assert_eq!(hourly(&mut alert, "b", Some(0.0), 240..250), None);
        assert_eq!(hourly(&mut alert, "a", None, 250..251), None);
        assert_eq!(hourly(&mut alert, "b", Some(0.0), 251..273), None);
        assert!(matches!(alert.phase, Phase::Firing { .. }));
    }

    #[test]
    fn members_beyond_the_bound_are_counted() {
        let mut alert = alert(&rule(1, 1));
        let many: Vec<Observation> =
            (0..MAX_MEMBERS + 3).map(|column| observation(&column.to_string(), Some(0.0))).collect();
        alert.observe(&rule(1, 1), &many, 0, DAY);
        assert_eq!((alert.members.len(), alert.ignored), (MAX_MEMBERS, 3));
    }

    #[test]
    fn an_sli_needs_enough_events() {
        let rule = Rule {
            condition: Condition::Sli {
                sli: "latency".into(),
                matching: Labels::new(),
                below: 0.99,
                over: std::time::Duration::from_secs(300),
                min_events: 100,
            },
            ..rule(1, 1)
        };
        let ratio = |good, valid| Observation { reading: Reading::Ratio { good, valid }, ..observation("temp", None) };
        let mut alert = alert(&rule);
        assert_eq!(alert.observe(&rule, &[ratio(0, 99)], 1, DAY), None);
        assert_eq!(alert.observe(&rule, &[ratio(99, 100)], 2, DAY), None);
        assert!(matches!(alert.observe(&rule, &[ratio(98, 100)], 3, DAY), Some(Transition::Fired { .. })));
        assert_eq!(alert.observe(&rule, &[ratio(0, 10)], 4, DAY), None, "too few events do not resolve it either");
        assert!(matches!(alert.observe(&rule, &[ratio(100, 100)], 5, DAY), Some(Transition::Resolved { .. })));
    }

    #[test]
    fn fingerprints_tell_alerts_apart() {
        let rule = rule(1, 1);
        let with = |labels: &[(&str, &str)]| {
            Alert::new(&rule, labels.iter().map(|(n, v)| ((*n).into(), (*v).into())).collect()).fingerprint()
        };
        assert_eq!(with(&[("a", "b")]), with(&[("a", "b")]));
        assert_ne!(with(&[("a", "bc")]), with(&[("ab", "c")]));
        assert_eq!(with(&[]).len(), 16);
    }

    /// What the machine should do, for one column.
    fn by_definition(history: &[Option<bool>], k: usize, m: usize) -> Vec<bool> {
        let mut said = Vec::new();
        let mut firing = Vec::new();
        for breach in history {
            said.extend(*breach);
            let breaches_in = |last: usize| said.iter().rev().take(last).filter(|breach| **breach).count();
            let was_firing = firing.last() == Some(&true);
            firing.push(if was_firing { breaches_in(m - k + 1) > 0 } else { breaches_in(m) >= k });
        }
        firing
    }

    proptest! {
        #[test]
        fn random_histories_fire_as_defined_with_one_resolve_for_each_trigger(
            history in proptest::collection::vec(proptest::option::of(any::<bool>()), 0..60),
            k in 1u32..4, extra in 0u32..3,
        ) {
            let rule = rule(k, k + extra);
            let mut alert = alert(&rule);
            let mut open: Option<String> = None;
            let expected = by_definition(&history, k as usize, (k + extra) as usize);
            for (now, (breach, firing)) in history.iter().zip(expected).enumerate() {
                let value = breach.map(|breach| if breach { 0.9 } else { 0.1 });
                match alert.observe(&rule, &[observation("temp", value)], now as Micros, DAY) {
                    Some(Transition::Fired { episode }) => prop_assert_eq!(open.replace(episode), None),
                    Some(Transition::Resolved { episode, .. }) => prop_assert_eq!(open.take(), Some(episode)),
                    None => {}
                }
                prop_assert_eq!(matches!(alert.phase, Phase::Firing { .. }), firing);
                prop_assert_eq!(open.is_some(), firing);
            }
        }
    }
}
