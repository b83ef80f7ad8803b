//! Drills: a breach that somebody made up, taken through a rule as a real one is, so that it is seen who would be told.

use crate::rule::{Condition, Labels, Rule};
use crate::slo::Counts;
use crate::state::{Alert, Micros, Observation, Reading, Transition};

/// The label that tells a drill from the real thing, with the value `true`.
pub const DRILL_LABEL: &str = "drill";

/// Rows of a made-up window, and events of a made-up stretch of time: enough for any evidence.
const SAMPLE: u64 = 10_000;

impl Alert {
    /// An alert of a rule that has just begun, because a member with these labels breaches. `limit` is that of a score whose
    /// rule names none. None for a rule that nothing breaches, such as one that asks for less than nothing.
    pub fn drilled(rule: &Rule, member: &Labels, limit: f64, now: Micros) -> Option<(Self, Transition)> {
        let (name, windows, reading) = breach(&rule.condition, limit);
        let mut labels = Self::group(rule, member)?;
        labels.insert(DRILL_LABEL.to_owned(), "true".to_owned());
        let mut alert = Self::new(rule, labels);
        let observed = [Observation { name: name.to_owned(), labels: member.clone(), reading }];
        let began = (0..windows).find_map(|_| alert.observe(rule, &observed, now, Micros::MAX))?;
        Some((alert, began))
    }
}

/// What a condition looks at, in how many windows, and a reading of it that is over by any measure.
fn breach(condition: &Condition, limit: f64) -> (&str, u32, Reading) {
    match condition {
        Condition::Score { score, above, windows, .. } => {
            let threshold = above.unwrap_or(limit);
            let value = if threshold > 0.0 { 2.0 * threshold } else { 1.0 };
            (score, windows.k, Reading::Score { value, threshold, noise: 0.0, n: SAMPLE })
        }
        Condition::Sli { sli, below, min_events, .. } => {
            let valid = SAMPLE.max(*min_events);
            (sli, 1, Reading::Ratio { good: (below * valid as f64 / 2.0) as u64, valid, unknown: 0 })
        }
        Condition::Budget { sli, min_events, .. } => {
            let outage = Counts { good: 0, valid: SAMPLE.max(*min_events), unknown: 0 };
            (sli, 1, Reading::Burn { period: outage, long: [outage; 2], short: [outage; 2] })
        }
        Condition::Expression { expression, windows, .. } => {
            (expression.text(), windows.k, Reading::Expression { holds: true, values: Default::default() })
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::expression::{Expression, Unit};
    use crate::period::Period;
    use crate::rule::KofM;
    use crate::slo::{Objective, Pace};
    use crate::state::tests::rule;

    fn drilled(condition: Condition) -> Option<(Alert, Transition)> {
        let labels =
            [("model", "flights"), ("column", "temp")].map(|(name, value)| (name.to_owned(), value.to_owned()));
        Alert::drilled(&Rule { condition, ..rule(1, 1) }, &labels.into(), 0.05, 7)
    }

    #[test]
    fn a_drill_breaches_every_kind_of_condition_and_is_no_alert_of_the_real_thing() {
        let hour = Duration::from_secs(3600);
        let score = |above| Condition::Score {
            score: "psi".into(),
            matching: Labels::new(),
            above,
            windows: KofM::new(2, 3).unwrap(),
        };
        let sli = |below| Condition::Sli {
            sli: "latency".into(),
            matching: Labels::new(),
            below,
            over: hour,
            min_events: 1_000_000,
            few: None,
        };
        let budget = |pace| Condition::Budget {
            sli: "latency".into(),
            matching: Labels::new(),
            objective: Objective::new(0.99, Period::Rolling(720 * hour)).unwrap(),
            pace,
            min_events: 1_000_000,
        };
        let expression = Condition::Expression {
            expression: Expression::parse("psi > 0.2", |_| Ok(Unit::Number)).unwrap(),
            matching: Labels::new(),
            windows: KofM::new(2, 3).unwrap(),
        };
        let scores = [score(None), score(Some(0.0)), expression];
        let indicators = [sli(0.001), sli(1.0), budget(Pace::Fast), budget(Pace::Slow)];
        for condition in scores.into_iter().chain(indicators) {
            let (alert, began) = drilled(condition.clone()).unwrap_or_else(|| panic!("{condition:?}"));
            assert!(matches!(began, Transition::Fired { .. }), "{condition:?}");
            assert_eq!(alert.over().next().unwrap().labels["column"], "temp");
            let real = Alert::new(&rule(1, 1), [("model".to_owned(), "flights".to_owned())].into());
            assert_ne!(alert.fingerprint(), real.fingerprint());
        }
        assert_eq!(drilled(sli(0.0)), None, "no share of good events is below none");
    }
}
