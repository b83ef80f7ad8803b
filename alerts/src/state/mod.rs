//! The state of one alert: inactive, pending, firing, recovering, resolved.
//!
//! ```text
//!              a member breaches                 k of m (or the SLI at once)
//!   Inactive ───────────────────▶ Pending ───────────────────────────────▶ Firing
//!      ▲            none breaches    │                                        │
//!      ├─────────────────────────────┘                                        │
//!      └────────────── no member is over any more, for long enough ───────────┘   "resolved"
//! ```
//!
//! A member that is over stays so until as many windows in a row are quiet as make k of m impossible, and quiet is what the rule
//! says it is ([`Recovery`](crate::Recovery)). Until nothing was over for long enough the alert recovers; one that begins again
//! and again flaps, and must be quiet for longer.
//!
//! Observations without enough data begin nothing and end nothing: an alert does not resolve because the data stopped. Of
//! a member that is not over, they are windows in which it did not breach; or, where only the farthest windows get a verdict,
//! any two of these in a year would be two of three. One that is over stays so; but where the rule says so
//! ([`Recovery`](crate::Recovery)), it is let go after so long a time of windows without a verdict, and the end says that there
//! was none. A member that is not observed any more while others of its alert are (a version that was replaced, a column that
//! was taken out) is forgotten after a time. Both would have their alert fire for good. Time is an argument; nothing here
//! reads a clock.

mod members;
mod observe;
mod phase;
#[cfg(test)]
pub(crate) mod tests;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub use self::members::{MAX_MEMBERS, Member, Unjudged};
pub use self::observe::{Observation, Patience, Reading};
pub use self::phase::{Ended, Open, Phase, Standing, Transition};
use crate::rule::{Labels, Rule, Severity};

/// Microseconds since the Unix epoch.
pub type Micros = i64;

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
    /// When its last episodes began, as far back as decides whether it flaps.
    #[serde(default)]
    pub began_at: Vec<Micros>,
    /// Its last episode that is over, for that may explain others for a while.
    #[serde(default)]
    pub ended: Option<Ended>,
    /// Observations of the last time that were not looked at, because there are [`MAX_MEMBERS`] members already.
    #[serde(skip)]
    pub ignored: u64,
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
            began_at: Vec::new(),
            ended: None,
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

    /// The episode that is open; none when it does not fire.
    pub fn open(&self) -> Option<&Open> {
        match &self.phase {
            Phase::Firing(open) => Some(open),
            Phase::Inactive | Phase::Pending { .. } => None,
        }
    }

    /// The same, to note what was said of it.
    pub fn open_mut(&mut self) -> Option<&mut Open> {
        match &mut self.phase {
            Phase::Firing(open) => Some(open),
            Phase::Inactive | Phase::Pending { .. } => None,
        }
    }

    /// The members that it is about: those that are over, or were when none is any more.
    pub fn counting(&self) -> impl Iterator<Item = &Member> {
        let any_over = self.over().next().is_some();
        self.members.values().filter(move |member| if any_over { member.over } else { member.was_over })
    }

    /// The labels that all members have which it is about, with the same values, and its own.
    pub fn common_labels(&self) -> Labels {
        let mut counting = self.counting();
        let mut common = counting.next().map(|member| member.labels.clone()).unwrap_or_default();
        for member in counting {
            common.retain(|name, value| member.labels.get(name) == Some(value));
        }
        common.extend(self.labels.clone());
        common
    }

    /// How urgent it is: as its episode is, or as its rule says.
    pub fn severity(&self, rule: &Rule) -> Severity {
        self.open().and_then(|open| open.severity).unwrap_or(rule.severity)
    }

    /// Members that are over now.
    pub fn over(&self) -> impl Iterator<Item = &Member> {
        self.members.values().filter(|member| member.over)
    }
}
