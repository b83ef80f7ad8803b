//! Where an alert stands, and what makes it change.

use serde::{Deserialize, Serialize};

use super::{Alert, Member, Micros};
use crate::telling::Told;

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
    Firing(Open),
}

/// An episode that is open.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Open {
    /// Since when.
    pub since: Micros,
    /// Identity of this firing.
    pub episode: String,
    /// What was said of it.
    #[serde(default)]
    pub told: Told,
}

impl Open {
    /// An episode of which nobody was told yet.
    pub fn new(since: Micros, episode: String) -> Self {
        Self { since, episode, told: Told::default() }
    }
}

impl Phase {
    /// The name by which API and metrics know it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Inactive => "inactive",
            Self::Pending { .. } => "pending",
            Self::Firing(_) => "firing",
        }
    }
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
    pub(super) fn step(&mut self, now: Micros) -> Option<Transition> {
        let any_over = self.over().next().is_some();
        let any_breach = self.members.values().any(|member| member.recent.last() == Some(&true));
        match (&self.phase, any_over) {
            (Phase::Firing(_), true) => None,
            (Phase::Firing(open), false) => {
                let (since, episode) = (open.since, open.episode.clone());
                let members = self.members.values().filter(|member| member.was_over).cloned().collect();
                for member in self.members.values_mut() {
                    member.was_over = false;
                }
                self.phase = if any_breach { Phase::Pending { since: now } } else { Phase::Inactive };
                Some(Transition::Resolved { episode, since, members })
            }
            (_, true) => {
                let episode = self.episode_id(now);
                self.phase = Phase::Firing(Open::new(now, episode.clone()));
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
