//! How an objective stands, and when nobody can say.
//!
//! A share of 100 % means nothing where nobody asked, nothing where nobody was heard, and little where a third of what was seen is
//! lost. Each of these is a state of its own here. They are told from the windows that end an alert on the objective, so that
//! one whose state judges nothing ends none.

use crate::period::Period;
use crate::slo::{Budget, Counts, Objective, Pace};
use crate::state::Micros;

/// What the rounding of shares such as 0.99 may leave of a budget that is spent to its last event.
const ROUNDING: f64 = 1e-9;

/// How an objective stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ObjectiveState {
    /// Nothing is known, for whoever counts its events is not heard.
    NoData,
    /// There was nothing to judge, for nobody asked.
    NoTraffic,
    /// Too many events were lost, and those that were judged do not settle it.
    DegradedCapture,
    /// The budget lasts.
    Ok,
    /// The budget is being spent too fast.
    Burning,
    /// The budget is spent.
    Exhausted,
}

/// What is known of an objective's events at a time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ObjectiveEvents {
    /// Those of its period.
    pub period: Counts,
    /// Those of the long window of each pair.
    pub long: [Counts; 2],
    /// Those of the short ones.
    pub short: [Counts; 2],
    /// Where they come from.
    pub source: EventSource,
}

/// Where an objective's events come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventSource {
    /// Somebody who looks by the clock: without looks nothing is known.
    Looks,
    /// Those who ask.
    Requests {
        /// When the last one came; none if none ever did.
        heard_at: Option<Micros>,
        /// Whether so long a silence is an unlikely one.
        is_missed: bool,
    },
}

impl EventSource {
    /// Whether that there are no events means that nobody asked.
    fn is_quiet(self, period: &Period, now: Micros) -> bool {
        match self {
            Self::Requests { heard_at: Some(at), is_missed: false } => {
                now.saturating_sub(at) < period.about().as_micros() as Micros
            }
            Self::Requests { .. } | Self::Looks => false,
        }
    }
}

impl ObjectiveState {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::NoData, Self::NoTraffic, Self::DegradedCapture, Self::Ok, Self::Burning, Self::Exhausted];

    /// The name by which metrics and API know it.
    pub fn name(self) -> &'static str {
        match self {
            Self::NoData => "no_data",
            Self::NoTraffic => "no_traffic",
            Self::DegradedCapture => "degraded_capture",
            Self::Ok => "ok",
            Self::Burning => "burning",
            Self::Exhausted => "exhausted",
        }
    }

    /// How an objective stands at a time, by the pairs of one pace. What is so even if all that is unknown was good is so, however
    /// much was lost.
    pub fn of(objective: &Objective, pace: Pace, events: &ObjectiveEvents, now: Micros) -> Self {
        if events.short.iter().all(|counts| counts.seen() == 0) {
            let is_quiet = events.source.is_quiet(objective.period(), now);
            return if is_quiet { Self::NoTraffic } else { Self::NoData };
        }
        let judged = |as_if: fn(Counts) -> Counts| Self::judged(objective, pace, events, as_if);
        match judged(Counts::at_best) {
            Self::Ok if events.short.iter().any(|counts| counts.is_degraded()) => Self::DegradedCapture,
            Self::Ok => judged(|counts| counts),
            certain => certain,
        }
    }

    /// How it stands by what was judged, or would have been.
    fn judged(objective: &Objective, pace: Pace, events: &ObjectiveEvents, as_if: fn(Counts) -> Counts) -> Self {
        let Budget { left, .. } = objective.budget(as_if(events.period));
        let mut pairs = objective.pairs(pace).into_iter().zip(events.long.into_iter().zip(events.short));
        if left < ROUNDING {
            Self::Exhausted
        } else if pairs.any(|(pair, (long, short))| objective.burns(&pair, as_if(long), as_if(short))) {
            Self::Burning
        } else {
            Self::Ok
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;
    use crate::{Alert, Condition, Labels, Observation, Reading, Recovery, Rule, Severity, Transition, Wording};

    const DAY: Micros = 86_400_000_000;
    const HEARD: EventSource = EventSource::Requests { heard_at: Some(100 * DAY), is_missed: false };
    const NONE: Counts = Counts { good: 0, valid: 0, unknown: 0 };

    fn objective() -> Objective {
        Objective::new(0.99, Period::Rolling(Duration::from_secs(30 * 86_400))).unwrap()
    }

    fn counts(bad: u64, valid: u64, unknown: u64) -> Counts {
        Counts { good: valid - bad, valid, unknown }
    }

    fn state(period: Counts, recent: Counts, source: EventSource, now: Micros) -> ObjectiveState {
        let events = ObjectiveEvents { period, long: [recent; 2], short: [recent; 2], source };
        ObjectiveState::of(&objective(), Pace::Fast, &events, now)
    }

    #[test]
    fn silence_is_no_traffic_only_where_nobody_is_missed() {
        let (period, now) = (counts(0, 1000, 0), 101 * DAY);
        let silent = |source| state(period, NONE, source, now).name();
        assert_eq!(silent(HEARD), "no_traffic");
        assert_eq!(silent(EventSource::Requests { heard_at: Some(100 * DAY), is_missed: true }), "no_data");
        assert_eq!(silent(EventSource::Requests { heard_at: None, is_missed: false }), "no_data");
        assert_eq!(silent(EventSource::Looks), "no_data");
        assert_eq!(state(period, NONE, HEARD, 130 * DAY).name(), "no_data", "nothing for the whole period");
        assert_eq!(state(period, counts(0, 1, 0), EventSource::Looks, now).name(), "ok");
    }

    #[test]
    fn too_much_that_is_unknown_is_a_state_of_its_own_unless_the_rest_settles_it() {
        let now = 101 * DAY;
        let of = |period, recent| state(period, recent, HEARD, now).name();
        let month = counts(10, 100_000, 0);
        assert_eq!(of(month, counts(0, 900, 100)), "ok", "nine of ten were judged");
        assert_eq!(of(month, counts(0, 899, 101)), "degraded_capture");
        assert_eq!(of(month, counts(0, 0, 100)), "degraded_capture", "all of it was lost");
        // 200 of 1,000 burn at 20; were the 500 lost ones good, at 13.3, which is below 14.4, but above 6 of the other pair.
        assert_eq!(of(month, counts(200, 1000, 500)), "burning");
        // 50 of 700 burn at 7.1; were the 300 lost ones good, at 5.
        assert_eq!(of(month, counts(50, 700, 300)), "degraded_capture");
        assert_eq!(of(month, counts(50, 700, 0)), "burning");
        // 1,000 of 100,000 are what it allows.
        assert_eq!(of(counts(1000, 100_000, 0), counts(0, 1000, 0)), "exhausted");
        assert_eq!(of(counts(1000, 99_000, 2000), counts(0, 1000, 500)), "degraded_capture");
        assert_eq!(of(counts(1000, 99_000, 2000), counts(0, 1000, 0)), "exhausted", "as far as it was judged");
        assert_eq!(of(counts(999, 100_000, 0), counts(0, 1000, 0)), "ok");
    }

    proptest! {
        #[test]
        fn an_alert_ends_in_no_state_that_judges_nothing(
            long in (0..500u64, 0..500u64, 0..500u64), short in (0..3u64, 0..50u64, 0..50u64), is_missed: bool,
        ) {
            let rule = Rule {
                name: "Budget".into(),
                severity: Severity::Page,
                runbook: "r".into(),
                condition: Condition::Budget {
                    sli: "s".into(),
                    matching: Labels::new(),
                    objective: objective(),
                    pace: Pace::Fast,
                    min_events: 0,
                },
                group_by: vec![],
                targets: vec![],
                repeat: None,
                escalate: vec![],
                explained_by: vec![],
                recovery: Recovery::default(),
                wording: Wording::default(),
            };
            let of = |(bad, good, unknown): (u64, u64, u64)| counts(bad, bad + good, unknown);
            let read = |long, short| {
                let reading = Reading::Burn { period: long, long: [long; 2], short: [short; 2] };
                [Observation { name: "s".into(), labels: Labels::new(), reading }]
            };
            let mut alert = Alert::new(&rule, Labels::new());
            let outage = counts(100, 100, 0);
            let fired = alert.observe(&rule, &read(outage, outage), 1, DAY);
            let has_fired = matches!(fired, Some(Transition::Fired { .. }));
            prop_assert!(has_fired);
            let (long, short) = (of(long), of(short));
            let resolved = alert.observe(&rule, &read(long, short), 2, DAY).is_some();
            let source = EventSource::Requests { heard_at: Some(0), is_missed };
            let events = ObjectiveEvents { period: long, long: [long; 2], short: [short; 2], source };
            let state = ObjectiveState::of(&objective(), Pace::Fast, &events, 2);
            let judges = matches!(state, ObjectiveState::Ok | ObjectiveState::Burning | ObjectiveState::Exhausted);
            prop_assert!(judges || !resolved, "{state:?}");
        }
    }
}
