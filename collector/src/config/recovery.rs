//! What the configuration says of how alerts end.

use std::ops::RangeInclusive;
use std::time::Duration;

use driftline_alerts::{Condition, Flapping};
use driftline_document::{Node, parse_duration};

use crate::pipeline::over_time::{Of, OverTime};

const DAY: Duration = Duration::from_secs(86_400);
/// Whoever is paged four times in an hour for one thing is not helped by four ends.
pub(super) const DEFAULT_FLAPPING: Flapping = Flapping { times: 4, within: Duration::from_secs(3600) };
/// An alert on windows is without a verdict for a night or a weekend where there is little traffic, and goes on then. What had
/// none for a week will have none on Monday either.
const DEFAULT_WITHOUT_VERDICT: Duration = Duration::from_secs(7 * 86_400);
const WITHOUT_VERDICT: RangeInclusive<Duration> = Duration::from_secs(3600)..=Duration::from_secs(90 * 86_400);

/// What members must come back to, which is on the good side of what they must not reach.
pub(super) fn clear_at(node: &Node<'_>, condition: Option<&Condition>) -> Option<f64> {
    let allowed = match condition? {
        Condition::Score { above: Some(above), .. } => 0.0..=*above,
        Condition::Sli { below, .. } => *below..=1.0,
        Condition::Score { above: None, .. } => {
            node.problem("needs 'above': without it the limit is the score's own, and may be lower");
            return None;
        }
        Condition::Budget { .. } | Condition::Expression { .. } => {
            node.problem(
                "is for scores and shares; a budget's short windows end its alerts, and an expression's values",
            );
            return None;
        }
    };
    node.number(allowed)
}

/// After how long without a verdict an alert on windows ends. One on indicators stays: they fall silent with the model.
pub(super) fn without_verdict(node: Option<&Node<'_>>, condition: &Condition) -> Option<Duration> {
    let is_of_days = match condition {
        Condition::Score { score, .. } => {
            matches!(OverTime::named(score).map(|watched| watched.of), Some(Of::Sli(_)))
        }
        Condition::Sli { .. } | Condition::Budget { .. } | Condition::Expression { .. } => false,
    };
    let is_possible = condition.is_of_windows_alone() && !is_of_days;
    let Some(node) = node else { return is_possible.then_some(DEFAULT_WITHOUT_VERDICT) };
    if !is_possible {
        node.problem("is for what windows alone say; an alert on an indicator does not end because its data stopped");
        return None;
    }
    let allowed = "off, or a duration from 1h to 90d, as a whole number and m, h or d";
    node.parsed(allowed, |text| match text {
        "off" => Some(None),
        text => parse_duration(text).filter(|after| WITHOUT_VERDICT.contains(after)).map(Some),
    })?
}

/// When an alert is taken to flap; never, where it says so.
pub(super) fn read_flapping(node: &Node<'_>) -> Option<Flapping> {
    if !node.is_section() {
        node.parsed("off, or how often ('times') in how long a time ('within')", |text| (text == "off").then_some(()));
        return None;
    }
    let mut section = node.section()?;
    let times = section.optional("times").and_then(|node| node.integer(Flapping::TIMES));
    let within = section.optional("within").and_then(|node| node.duration(Duration::from_secs(60)..=7 * DAY));
    Some(Flapping {
        times: times.map_or(DEFAULT_FLAPPING.times, |times| times as u32),
        within: within.unwrap_or(DEFAULT_FLAPPING.within),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::parsed;

    #[test]
    fn indicators_flap_and_scores_do_not() {
        let of = |text: &str, name: &str| {
            let config = parsed(text).unwrap();
            config.alerting.rules.iter().find(|rule| rule.name == name).unwrap().recovery.flapping
        };
        let own = "alerts: {flapping: {times: 3, within: 30m}}";
        assert_eq!(of("", "LatencySlo"), Some(DEFAULT_FLAPPING));
        assert_eq!(of(own, "LatencySlo"), Some(Flapping { times: 3, within: Duration::from_secs(1800) }));
        assert_eq!((of("alerts: {flapping: off}", "LatencySlo"), of(own, "FeatureDrift")), (None, None));
    }

    #[test]
    fn alerts_on_windows_end_without_a_verdict_and_those_on_indicators_do_not() {
        let after = |rule: &str| {
            let config =
                parsed(&format!("alerts: {{rules: [{{name: A, severity: page, runbook: feature-drift, {rule}}}]}}"))?;
            let rules = config.alerting.rules.into_iter();
            Ok::<_, String>(rules.into_iter().find(|rule| rule.name == "A").unwrap().recovery.without_verdict)
        };
        let week = Some(7 * DAY);
        assert_eq!(after("when: {score: psi}"), Ok(week));
        assert_eq!(after("when: psi > 0.2 and rows > 100"), Ok(week));
        assert_eq!(after("when: {score: psi}, end_without_verdict: 2d"), Ok(Some(2 * DAY)));
        assert_eq!(after("when: {score: psi}, end_without_verdict: off"), Ok(None));
        assert!(after("when: {score: psi}, end_without_verdict: 1m").unwrap_err().contains("from 1h to 90d"));
        for of_indicator in
            ["{sli: latency, below: 0.9}", "{score: latency_cusum}", "'psi > 0.2 and latency[5m] > 50%'"]
        {
            assert_eq!(after(&format!("when: {of_indicator}")), Ok(None), "{of_indicator}");
            let error = after(&format!("when: {of_indicator}, end_without_verdict: 2d")).unwrap_err();
            assert!(error.contains("does not end because its data stopped"), "{error}");
        }
    }
}
