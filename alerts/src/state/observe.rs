//! What an alert is told: named values with labels, and whether they breach its rule.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::members::member_key;
use super::{Alert, Micros, Transition};
use crate::expression::Expression;
use crate::few::LastEvents;
use crate::rule::{Condition, Labels, Rule};
use crate::slo::Counts;

/// Time in which nothing is observed, as when the observer is away, counts for one part in so many of the time after which a
/// member is forgotten.
pub(super) const LONGEST_GAPS: Micros = 4;

/// How long an alert waits for members that say nothing, in microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// One that is not observed for so long, while others are, is forgotten.
    pub forget_after: Micros,
    /// From one window to the next, as events have it: how long a time one without a verdict stands for. The clock says
    /// nothing of it where the past is gone through again.
    pub every: Micros,
}

impl From<Micros> for Patience {
    /// Of windows of which four make that time.
    fn from(forget_after: Micros) -> Self {
        Self { forget_after, every: forget_after / LONGEST_GAPS }
    }
}

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
        /// How many of those that were seen nobody could judge.
        #[serde(default)]
        unknown: u64,
    },
    /// The last events, where too few came over the condition's time.
    Few(LastEvents),
    /// Events over the windows of a budget's pairs, in their order.
    Burn {
        /// Over the objective's period.
        period: Counts,
        /// Over each long window.
        long: [Counts; 2],
        /// Over each short one.
        short: [Counts; 2],
    },
    /// Whether an expression holds.
    Expression {
        /// Whether it does.
        holds: bool,
        /// What its names stood for, in their order; none of what was not known, and behind the last.
        values: [Option<f64>; Expression::MAX_VARIABLES],
    },
    /// Too little to say anything.
    NotEnoughData,
}

impl Alert {
    /// Takes in what was observed of this alert's members at one time. Every observation must be of the rule's condition
    /// and of this alert's group.
    ///
    /// A member that is not among them for the time after which it is forgotten, while others are, is. Time in which nothing is
    /// observed at all, as when the observer is away, counts for at most a quarter of it.
    pub fn observe(
        &mut self,
        rule: &Rule,
        observations: &[Observation],
        now: Micros,
        patience: impl Into<Patience>,
    ) -> Option<Transition> {
        let Patience { forget_after, every } = patience.into();
        let mut observed = BTreeSet::new();
        let mut says_something = false;
        self.ignored = 0;
        for observation in observations {
            let key = member_key(&observation.labels, &self.labels);
            let is_over = self.members.get(&key).is_some_and(|member| member.over);
            if let Some(breach) = breaches(rule, observation.reading, is_over) {
                self.take(rule, &key, observation, breach, now);
                says_something = true;
            } else {
                self.pass_over(rule, &key, every);
            }
            observed.insert(key);
        }
        self.forget(&observed, now, forget_after);
        self.step(rule, says_something, now)
    }
}

/// Whether a reading breaches the rule's condition; none when it says nothing. What is over must come back further, where the
/// rule says so, and no good events end it while too many others are lost.
fn breaches(rule: &Rule, reading: Reading, is_over: bool) -> Option<bool> {
    let clear_at = rule.recovery.clear_at.filter(|_| is_over);
    match (&rule.condition, reading) {
        (Condition::Score { above, .. }, Reading::Score { value, threshold, noise, .. }) => {
            let limit = above.unwrap_or(threshold);
            Some(value > clear_at.map_or(limit, |clear_at| clear_at.min(limit)).max(noise))
        }
        (Condition::Sli { below, min_events, .. }, Reading::Ratio { good, valid, unknown }) => {
            let below = clear_at.map_or(*below, |clear_at| clear_at.max(*below));
            let breaches = (good as f64) < below * valid as f64;
            let tells = breaches || !is_over || !Counts { good, valid, unknown }.is_degraded();
            (valid >= *min_events && valid > 0 && tells).then_some(breaches)
        }
        (Condition::Sli { few: Some(few), .. }, Reading::Few(events)) => {
            few.events.is_over(events).filter(|breaches| *breaches || !is_over || !events.newest.is_degraded())
        }
        (Condition::Budget { objective, pace, min_events, .. }, Reading::Burn { long, short, .. }) => {
            // Without traffic nothing burns, and nothing is over either.
            let has_traffic = short.iter().any(|counts| counts.valid > 0);
            let pairs: Vec<_> = objective.pairs(*pace).into_iter().zip(long.into_iter().zip(short)).collect();
            let burns = |least: u64| {
                pairs.iter().any(|(pair, (long, short))| long.valid >= least && objective.burns(pair, *long, *short))
            };
            let breaches = burns(*min_events);
            // What burns among too few to begin with is not over because fewer ask.
            let is_over_yet = || !burns(0) && !short.iter().any(|counts| counts.is_degraded());
            let tells = breaches || !is_over || is_over_yet();
            (has_traffic && tells).then_some(breaches)
        }
        (Condition::Expression { .. }, Reading::Expression { holds, .. }) => Some(holds),
        _ => None,
    }
}
