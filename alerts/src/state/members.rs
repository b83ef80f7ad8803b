//! The members of an alert: when one is over, until when, and when it is forgotten.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::observe::LONGEST_GAPS;
use super::{Alert, Micros, Observation, Reading};
use crate::rule::{Condition, KofM, Labels, Recovery, Rule};

/// Members of one alert that are kept apart. An alert on more columns than this is about all of them.
pub const MAX_MEMBERS: usize = 1000;

/// One series of observations under an alert: a column, a version.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Member {
    /// All its labels.
    pub labels: Labels,
    /// Whether each of the last windows breached, the newest last.
    pub recent: Vec<bool>,
    /// The last reading that said something.
    pub last: Reading,
    /// When it said something last; 0 when that is not known.
    #[serde(default)]
    pub said_at: Micros,
    /// Whether it is over: in breach often enough.
    pub over: bool,
    /// Whether it was over at any time of the current episode.
    pub was_over: bool,
    /// For how long others of its alert were observed, and it was not, in microseconds.
    #[serde(default)]
    pub unobserved: Micros,
    /// Its windows since it said something last.
    #[serde(default)]
    pub unjudged: Unjudged,
}

/// Windows in a row that gave no verdict on a member.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unjudged {
    /// How many.
    pub windows: u32,
    /// How long a time they make, in microseconds.
    pub time: Micros,
}

impl Member {
    /// Whether it had no verdict for so long that the rule waits for none any more.
    pub fn is_given_up(&self, recovery: &Recovery) -> bool {
        let Unjudged { windows, time } = self.unjudged;
        let is_long = |limit: std::time::Duration| time >= limit.as_micros() as Micros;
        windows >= Recovery::LEAST_WITHOUT_VERDICT && recovery.without_verdict.is_some_and(is_long)
    }

    /// Notes a window, and drops those before the last `m`.
    fn note(&mut self, breach: bool, m: u32) {
        self.recent.push(breach);
        let surplus = self.recent.len().saturating_sub(m as usize);
        self.recent.drain(..surplus);
    }
}

impl Alert {
    pub(super) fn take(&mut self, rule: &Rule, key: &str, observation: &Observation, breach: bool, now: Micros) {
        if !self.members.contains_key(key) && self.members.len() >= MAX_MEMBERS {
            self.ignored += 1;
            return;
        }
        let member = self.members.entry(key.to_owned()).or_insert_with(|| Member {
            labels: observation.labels.clone(),
            recent: Vec::new(),
            last: observation.reading,
            said_at: now,
            over: false,
            was_over: false,
            unobserved: 0,
            unjudged: Unjudged::default(),
        });
        let KofM { k, m } = windows(&rule.condition);
        member.note(breach, m);
        member.over = if member.over {
            // Hysteresis: as many windows in a row must be quiet as make k of m impossible.
            member.recent.iter().rev().take((m - k + 1) as usize).any(|breach| *breach)
        } else {
            member.recent.iter().filter(|breach| **breach).count() >= k as usize
        };
        member.was_over |= member.over;
        member.last = observation.reading;
        member.said_at = now;
        member.unjudged = Unjudged::default();
    }

    /// Takes in that a member was observed without a verdict, in a window that stands for so long a time.
    pub(super) fn pass_over(&mut self, rule: &Rule, key: &str, every: Micros) {
        let Some(member) = self.members.get_mut(key) else { return };
        member.unjudged.windows = member.unjudged.windows.saturating_add(1);
        member.unjudged.time = member.unjudged.time.saturating_add(every);
        if member.over && member.is_given_up(&rule.recovery) {
            member.over = false;
            member.recent.clear();
        } else if !member.over {
            member.note(false, windows(&rule.condition).m);
        }
    }

    /// Lets go of members that are not observed any more. One that was over in this episode is only not over any more:
    /// the resolve still names it.
    pub(super) fn forget(&mut self, observed: &BTreeSet<String>, now: Micros, forget_after: Micros) {
        if observed.is_empty() {
            return;
        }
        let since =
            self.observed_at.map_or(0, |before| now.saturating_sub(before).clamp(0, forget_after / LONGEST_GAPS));
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
}

fn windows(condition: &Condition) -> KofM {
    match condition {
        Condition::Score { windows, .. } | Condition::Expression { windows, .. } => *windows,
        Condition::Sli { .. } | Condition::Budget { .. } => KofM { k: 1, m: 1 },
    }
}

/// The labels that tell a member from the others of its alert, in words.
pub(super) fn member_key(labels: &Labels, group: &Labels) -> String {
    let own = labels.iter().filter(|(name, _)| !group.contains_key(*name));
    own.map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(",")
}
