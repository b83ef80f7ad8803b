//! Rules: under which condition somebody is told, who, and with which runbook.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::expression::Expression;
use crate::few::Few;
use crate::slo::{Objective, Pace};
use crate::template::Template;

/// Label names and values, sorted.
pub type Labels = BTreeMap<String, String>;

/// A condition on named values, and whom to tell.
#[derive(Debug, Clone, PartialEq)]
pub struct Rule {
    /// Its name, in `CamelCase` by custom: `FeatureDrift`.
    pub name: String,
    /// How urgent it is.
    pub severity: Severity,
    /// Id of its runbook.
    pub runbook: String,
    /// When it fires.
    pub condition: Condition,
    /// Labels that make an alert: observations that agree in them are one alert with several members.
    pub group_by: Vec<String>,
    /// Names of the targets that are told; none is allowed, and then it only shows.
    pub targets: Vec<String>,
    /// After how long those who were told are reminded, again and again while it fires and nobody acknowledges it.
    pub repeat: Option<Duration>,
    /// Who else is told when nobody acknowledges it, in the order of their times.
    pub escalate: Vec<Step>,
    /// Rules whose alerts explain this one's: while one of them fires, and as long after as it says, this is not told.
    pub explained_by: Vec<ExplainedBy>,
    /// How its alerts end.
    pub recovery: Recovery,
    /// What it says of its alerts besides.
    pub wording: Wording,
}

/// What a rule says of its alerts beyond what is measured.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Wording {
    /// The one line; made from the condition without it.
    pub summary: Option<Template>,
    /// More than one line.
    pub details: Option<Template>,
    /// Labels of every alert besides its own, which they never replace.
    pub labels: Labels,
    /// Whose it is.
    pub owner: Option<String>,
}

impl Wording {
    /// An alert's labels, and those that the rule gives to all of its alerts, with its owner.
    pub fn labels_of(&self, own: &Labels) -> Labels {
        let owner = self.owner.iter().map(|owner| ("owner".to_owned(), owner.clone()));
        self.labels.clone().into_iter().chain(owner).chain(own.clone()).collect()
    }
}

/// When an alert of which nothing is over any more is resolved: at once, unless it says otherwise.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Recovery {
    /// The value that members which are over must come back to; the condition's own limit without it.
    pub clear_at: Option<f64>,
    /// For how long nothing may be over before it is resolved.
    pub keep_firing_for: Duration,
    /// After how long a time of windows without a verdict a member that is over is let go; never without it.
    pub without_verdict: Option<Duration>,
    /// From when on an alert flaps.
    pub flapping: Option<Flapping>,
}

/// An alert that begins so often in so long a time flaps: it is resolved only when nothing was over for as long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Flapping {
    /// How often.
    pub times: u32,
    /// In how long a time.
    pub within: Duration,
}

impl Flapping {
    /// How often it may be at the least and at the most: each beginning is remembered.
    pub const TIMES: std::ops::RangeInclusive<u64> = 2..=20;
}

impl Recovery {
    /// A member is let go after so many windows without a verdict at the least, however long they are.
    pub const LEAST_WITHOUT_VERDICT: u32 = 4;

    /// For how long nothing may be over.
    pub(crate) fn quiet_for(&self, is_flapping: bool) -> Duration {
        let flapping = self.flapping.filter(|_| is_flapping);
        self.keep_firing_for.max(flapping.map_or(Duration::ZERO, |flapping| flapping.within))
    }
}

/// A step of an escalation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// So long after the first were told.
    pub after: Duration,
    /// Names of the targets that are told then.
    pub to: Vec<String>,
}

impl Step {
    /// Steps that a rule may have.
    pub const MAX: usize = 5;
}

/// A cause.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExplainedBy {
    /// The rule of the alerts that explain.
    pub rule: String,
    /// Labels in which a member of theirs must agree with one of this rule's to explain it.
    pub same: Vec<String>,
    /// For how long after its end an alert of theirs still explains: windows close, and budgets recover, hours after what
    /// they tell of is over.
    pub lasting: Duration,
}

impl ExplainedBy {
    /// Whether a member of a cause and one of what it may explain have the same in common as they must.
    pub fn agrees(&self, cause: &Labels, explained: &Labels) -> bool {
        self.same.iter().all(|name| cause.get(name) == explained.get(name))
    }
}

/// How urgent an alert is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Good to know.
    Info,
    /// For the next working day.
    Ticket,
    /// For now, whatever the hour.
    Page,
}

impl Severity {
    /// All of them, from the least urgent.
    pub const ALL: [Self; 3] = [Self::Info, Self::Ticket, Self::Page];

    /// The name by which configuration and API know it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Ticket => "ticket",
            Self::Page => "page",
        }
    }
}

/// When a rule fires.
#[derive(Debug, Clone, PartialEq)]
pub enum Condition {
    /// A score above its threshold in enough of the last windows.
    Score {
        /// Name of the score.
        score: String,
        /// Labels that an observation must have.
        matching: Labels,
        /// The threshold; none for the one that comes with the score.
        above: Option<f64>,
        /// In how many of how many windows.
        windows: KofM,
    },
    /// The share of good events below an objective.
    Sli {
        /// Name of the indicator.
        sli: String,
        /// Labels that an observation must have.
        matching: Labels,
        /// The objective, from 0 to 1.
        below: f64,
        /// Over how long a time.
        over: Duration,
        /// Fewer valid events than this say nothing of a share.
        min_events: u64,
        /// What is looked at then; nothing without it.
        few: Option<Few>,
    },
    /// An error budget that burns too fast.
    Budget {
        /// Name of the indicator.
        sli: String,
        /// Labels that an observation must have.
        matching: Labels,
        /// What share is to be good, over how long a time.
        objective: Objective,
        /// How fast is too fast.
        pace: Pace,
        /// Fewer valid events than this in a long window say nothing of it.
        min_events: u64,
    },
    /// An expression that holds in enough of the last windows.
    Expression {
        /// The expression. Observations of it have its text as their name.
        expression: Expression,
        /// Labels that an observation must have.
        matching: Labels,
        /// In how many of how many windows.
        windows: KofM,
    },
}

impl Condition {
    /// Whether it is looked at as windows close, and not by the clock: it is of a score, or names what is of a window.
    pub fn is_of_windows(&self) -> bool {
        match self {
            Self::Score { .. } => true,
            Self::Sli { .. } | Self::Budget { .. } => false,
            Self::Expression { expression, .. } => expression.is_of_windows(),
        }
    }

    /// The condition in words, as a person reads it in an alert.
    pub fn in_words(&self) -> String {
        match self {
            Self::Score { score, above, windows, .. } => {
                let above = above.map_or("its threshold".to_owned(), |above| above.to_string());
                format!("{score} above {above} in {} of {} windows", windows.k, windows.m)
            }
            Self::Expression { expression, windows: KofM { k: 1, m: 1 }, .. } => expression.text().to_owned(),
            Self::Expression { expression, windows, .. } => {
                format!("{} in {} of {} windows", expression.text(), windows.k, windows.m)
            }
            Self::Sli { sli, below, over, few, .. } => {
                let few =
                    few.map(|few| format!(", or too low among the last {} to be that by chance", few.events.last()));
                share_in_words(sli, *below, *over) + &few.unwrap_or_default()
            }
            Self::Budget { sli, objective, pace, .. } => {
                let pairs = objective.pairs(*pace).into_iter().map(|pair| {
                    let windows = (span_in_words(pair.long), span_in_words(pair.short));
                    format!("{} times over {} and {}", trim_number(pair.rate), windows.0, windows.1)
                });
                let (target, period) = (trim_number(objective.target() * 100.0), objective.period().in_words());
                let pairs = pairs.collect::<Vec<_>>().join(", or ");
                format!("{sli} burns the budget of {target}% in {period} too fast: {pairs}")
            }
        }
    }

    /// Whether it looks at what windows say, and at nothing that is looked at by the clock besides.
    pub fn is_of_windows_alone(&self) -> bool {
        match self {
            Self::Score { .. } => true,
            Self::Sli { .. } | Self::Budget { .. } => false,
            Self::Expression { expression, .. } => expression.is_of_windows_alone(),
        }
    }

    /// Labels that an observation must have.
    pub fn matching(&self) -> &Labels {
        match self {
            Self::Score { matching, .. }
            | Self::Sli { matching, .. }
            | Self::Budget { matching, .. }
            | Self::Expression { matching, .. } => matching,
        }
    }

    /// Whether an observation of this name and these labels is the condition's.
    pub fn matches(&self, name: &str, labels: &Labels) -> bool {
        let own = match self {
            Self::Score { score, .. } => score,
            Self::Sli { sli, .. } | Self::Budget { sli, .. } => sli,
            Self::Expression { expression, .. } => expression.text(),
        };
        own == name && self.matching().iter().all(|(label, value)| labels.get(label) == Some(value))
    }
}

/// A share of an indicator that is too low over a time: `latency below 99% over 5 minutes`.
pub fn share_in_words(sli: &str, below: f64, over: Duration) -> String {
    format!("{sli} below {}% over {}", trim_number(below * 100.0), span_in_words(over))
}

/// At least k of the last m.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KofM {
    /// How many must breach.
    pub k: u32,
    /// Of how many.
    pub m: u32,
}

impl KofM {
    /// At most this many windows are remembered.
    pub const MAX_M: u32 = 100;

    /// `k of m`, or none unless `1 ≤ k ≤ m ≤ 100`.
    pub fn new(k: u32, m: u32) -> Option<Self> {
        (1 <= k && k <= m && m <= Self::MAX_M).then_some(Self { k, m })
    }
}

/// Up to four decimals, without trailing zeros.
pub(crate) fn trim_number(value: f64) -> String {
    let text = format!("{value:.4}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// A stretch of time in its largest whole unit: `15 min`.
#[must_use]
pub fn span_in_words(duration: Duration) -> String {
    match duration.as_secs() {
        seconds if seconds >= 86_400 && seconds.is_multiple_of(86_400) => format!("{} d", seconds / 86_400),
        seconds if seconds >= 3600 && seconds.is_multiple_of(3600) => format!("{} h", seconds / 3600),
        seconds if seconds >= 60 && seconds.is_multiple_of(60) => format!("{} min", seconds / 60),
        seconds => format!("{seconds} s"),
    }
}
