//! What the configuration says of error budgets.

use std::time::Duration;

use driftline_alerts::{CalendarUnit, Condition, Labels, Objective, Pace, Period};
use driftline_document::{Node, Section, parse_duration};
use jiff::tz::TimeZone;

/// The period of a budget that names none.
const DEFAULT_PERIOD: Period = Period::Rolling(Duration::from_secs(30 * 86_400));

/// A condition on an error budget. One that can never be met is a problem, not a silence.
pub(super) fn budget(mut section: Section<'_>, target: Node<'_>, sli: String, matching: Labels) -> Option<Condition> {
    let period = period(&mut section);
    let paces = [("fast", Pace::Fast), ("slow", Pace::Slow)];
    let pace = section.required("burns").and_then(|node| node.one_of(&paces));
    let min_events = section.optional("min_events").and_then(|node| node.integer(1..=1_000_000_000));
    let objective =
        target.number(0.5..=0.999_999).zip(period).and_then(|(target, period)| Objective::new(target, period))?;
    let pace = pace?;
    if objective.pairs(pace).is_empty() {
        target.problem(format!(
            "can never fire: an outage burns {:.1} times as fast as the objective allows, and every rate of this pace is higher",
            objective.highest_rate()
        ));
        return None;
    }
    Some(Condition::Budget { sli, matching, objective, pace, min_events: min_events.unwrap_or(0) })
}

/// So many days, or a part of the calendar, by the clocks of a place.
fn period(section: &mut Section<'_>) -> Option<Period> {
    let over = section.optional("over");
    let zone_node = section.optional("time_zone");
    let zone = zone_node.as_ref().map_or(Some(TimeZone::UTC), |node| {
        node.parsed("the IANA name of a time zone, as in Europe/Berlin", |name| TimeZone::get(name).ok())
    });
    let allowed = "7d to 90d, or the one of the calendar that is on: week, month or quarter";
    let read = |text: &str| {
        let unit = CalendarUnit::ALL.into_iter().find(|unit| unit.name() == text);
        let rolling = || parse_duration(text).filter(|length| Period::ROLLING.contains(length));
        match unit {
            Some(unit) => Some(Period::Calendar { unit, zone: zone.clone().unwrap_or(TimeZone::UTC) }),
            None => rolling().map(Period::Rolling),
        }
    };
    let period = over.map_or(Some(DEFAULT_PERIOD), |node| node.parsed(allowed, read))?;
    if let (Some(node), Period::Rolling(_)) = (zone_node, &period) {
        node.problem("is for a week, month or quarter of the calendar; so many days are the same everywhere");
    }
    zone.is_some().then_some(period)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::parsed;

    fn condition(when: &str) -> Result<Condition, String> {
        let rule =
            format!("alerts: {{rules: [{{name: Own, severity: page, runbook: latency-slo, when: {{{when}}}}}]}}");
        let config = parsed(&rule)?;
        Ok(config.alerting.rules.into_iter().find(|rule| rule.name == "Own").unwrap().condition)
    }

    #[test]
    fn a_period_is_so_many_days_or_a_part_of_the_calendar() {
        let period = |over: &str| match condition(&format!("sli: latency, objective: 0.99, burns: fast{over}")) {
            Ok(Condition::Budget { objective, .. }) => objective.period().in_words(),
            other => panic!("{other:?}"),
        };
        assert_eq!(period(""), "30 days");
        assert_eq!(period(", over: 7d"), "7 days");
        assert_eq!(period(", over: quarter"), "the quarter (UTC)");
        assert_eq!(period(", over: month, time_zone: Europe/Berlin"), "the month (Europe/Berlin)");
    }

    #[test]
    fn budgets_that_cannot_work_are_refused() {
        for (more, says) in [
            ("objective: 0.99, burns: fast, over: year", "'year' is not allowed; allowed is 7d to 90d, or"),
            ("objective: 0.99, burns: fast, over: 6d", "allowed is 7d to 90d"),
            ("objective: 0.99, burns: fast, over: month, time_zone: Berlin", "the IANA name of a time zone"),
            ("objective: 0.99, burns: fast, over: 30d, time_zone: Europe/Berlin", "is for a week, month or quarter"),
            ("objective: 0.5, burns: fast, over: month", "can never fire: an outage burns 2.0 times"),
        ] {
            let error = condition(&format!("sli: latency, {more}")).unwrap_err();
            assert!(error.contains(says), "{error}");
        }
    }
}
