//! Where an alert stands, and what makes it change.

use serde::{Deserialize, Serialize};

use super::{Alert, Member, Micros};
use crate::rule::{Flapping, Labels, Rule, Severity};
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
    /// Since when nothing is over any more, while it is not resolved yet.
    #[serde(default)]
    pub quiet_since: Option<Micros>,
    /// How it stood when that was last looked at.
    #[serde(default)]
    pub standing: Standing,
    /// Whether it began so often lately that it is resolved only after a longer quiet.
    #[serde(default)]
    pub is_flapping: bool,
    /// How urgent it is, where routes have made something else of it than its rule says.
    #[serde(default)]
    pub severity: Option<Severity>,
    /// What was said of it.
    #[serde(default)]
    pub told: Told,
}

/// An episode that is over.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Ended {
    /// Identity of that firing.
    pub episode: String,
    /// When it ended.
    pub at: Micros,
    /// How urgent it was, where routes had made something else of it than its rule says.
    pub severity: Option<Severity>,
    /// The labels of the members that were over at any time of it.
    pub members: Vec<Labels>,
}

/// How an episode that is open stands.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// Something is over.
    #[default]
    Firing,
    /// Nothing is over any more, but not for long enough.
    Recovering,
    /// What was over says nothing any more. It stays open, unless its rule says for how long
    /// ([`Recovery::without_verdict`](crate::Recovery)).
    NoData,
}

impl Standing {
    /// The name by which API and database know it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Firing => "firing",
            Self::Recovering => "recovering",
            Self::NoData => "no_data",
        }
    }
}

impl Open {
    /// An episode of which nobody was told yet.
    pub fn new(since: Micros, episode: String) -> Self {
        Self {
            since,
            episode,
            quiet_since: None,
            standing: Standing::Firing,
            is_flapping: false,
            severity: None,
            told: Told::default(),
        }
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

impl Transition {
    /// Of the members of an episode that ended, those of which no verdict came any more: of them the end says nothing.
    pub fn given_up(&self, rule: &Rule) -> Vec<&Member> {
        match self {
            Self::Resolved { members, .. } => {
                members.iter().filter(|member| member.is_given_up(&rule.recovery)).collect()
            }
            Self::Fired { .. } => Vec::new(),
        }
    }
}

impl Alert {
    /// How the open episode stands; none when there is none. `no_data_after`: so long after its members said something last
    /// they say nothing any more.
    pub fn standing(&self, no_data_after: Micros, now: Micros) -> Option<Standing> {
        let open = self.open()?;
        let said_at = self.counting().map(|member| member.said_at).max().unwrap_or(0);
        Some(if said_at > 0 && now.saturating_sub(said_at) >= no_data_after {
            Standing::NoData
        } else if open.quiet_since.is_some() {
            Standing::Recovering
        } else {
            Standing::Firing
        })
    }

    pub(super) fn step(&mut self, rule: &Rule, says_something: bool, now: Micros) -> Option<Transition> {
        let any_over = self.over().next().is_some();
        let no_verdict_comes = self.no_verdict_comes(rule);
        let any_breach = self.members.values().any(|member| member.recent.last() == Some(&true));
        match (&mut self.phase, any_over) {
            (Phase::Firing(open), true) => {
                open.quiet_since = None;
                None
            }
            (Phase::Firing(open), false) => {
                let quiet_for = rule.recovery.quiet_for(open.is_flapping).as_micros() as Micros;
                let quiet = now.saturating_sub(*open.quiet_since.get_or_insert(now));
                // Silence is no quiet: the last word must be a good one.
                if quiet_for > 0 && !no_verdict_comes && (quiet < quiet_for || !says_something) {
                    return None;
                }
                let (since, episode, severity) = (open.since, open.episode.clone(), open.severity);
                let members: Vec<Member> = self.members.values().filter(|member| member.was_over).cloned().collect();
                let labels = members.iter().map(|member| member.labels.clone()).collect();
                self.ended = Some(Ended { episode: episode.clone(), at: now, severity, members: labels });
                for member in self.members.values_mut() {
                    member.was_over = false;
                }
                self.phase = if any_breach { Phase::Pending { since: now } } else { Phase::Inactive };
                Some(Transition::Resolved { episode, since, members })
            }
            (_, true) => {
                let episode = self.episode_id(now);
                let is_flapping = self.has_begun_too_often(rule, now);
                self.phase = Phase::Firing(Open { is_flapping, ..Open::new(now, episode.clone()) });
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

    /// Whether of all that was over nothing is waited for any more, some of it for want of a verdict.
    fn no_verdict_comes(&self, rule: &Rule) -> bool {
        let was_over = || self.members.values().filter(|member| member.was_over);
        let is_given_up = |member: &Member| member.is_given_up(&rule.recovery);
        was_over().any(is_given_up) && was_over().all(|member| member.recent.is_empty() || is_given_up(member))
    }

    /// Notes that it begins, and says whether that was too often lately.
    fn has_begun_too_often(&mut self, rule: &Rule, now: Micros) -> bool {
        let Some(Flapping { times, within }) = rule.recovery.flapping else { return false };
        self.began_at.retain(|at| now.saturating_sub(*at) < within.as_micros() as Micros);
        self.began_at.push(now);
        self.began_at.len() >= times as usize
    }

    /// Unique, and readable: the rule, the time to the microsecond, and the alert's fingerprint. A rule's ids sort by time.
    fn episode_id(&self, now: Micros) -> String {
        let time = jiff::Timestamp::from_microsecond(now).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
        format!("{}-{}-{}", self.rule.to_lowercase(), time.strftime("%Y%m%d%H%M%S%6f"), self.fingerprint())
    }
}
