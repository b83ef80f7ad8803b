//! The members of an alert: when one is over, until when, and when it is forgotten.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::{Alert, Micros, Observation, Reading};
use crate::rule::{Condition, KofM, Labels, Rule};

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
        member.said_at = now;
    }

    /// Lets go of members that are not observed any more. One that was over in this episode is only not over any more:
    /// the resolve still names it.
    pub(super) fn forget(&mut self, observed: &BTreeSet<String>, now: Micros, forget_after: Micros) {
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
