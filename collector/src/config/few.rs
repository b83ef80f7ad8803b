//! What the configuration says of indicators of which few events come.

use std::time::Duration;

use driftline_alerts::{Few, FewEvents};
use driftline_document::{Node, in_units};

use super::false_pages::{self, FalsePages};

const HOUR: Duration = Duration::from_secs(3600);
/// What is older says nothing of now, however few events there are.
const DEFAULT_WITHIN: Duration = Duration::from_secs(86_400);
/// Slices are kept for a week.
const LONGEST_WITHIN: Duration = Duration::from_secs(7 * 86_400);
/// Once a year somebody gets up for nothing, if the objective is only just met all year.
const DEFAULT_FALSE_PAGES: f64 = 1.0;

/// What a rule on a share over a time looks at when too few events come in it. Evidence that can never be had is a problem, not a
/// silence.
pub(super) fn few(node: &Node<'_>, below: f64, over: Duration) -> Option<Few> {
    let mut section = node.section()?;
    let last = section.required("of_last").and_then(|node| node.integer(FewEvents::LAST));
    let within = section.optional("within").and_then(|node| node.duration(HOUR..=LONGEST_WITHIN));
    let within = within.unwrap_or(DEFAULT_WITHIN);
    if within < over {
        section.problem(format!("looks back {}, and the share is of {}", in_units(within), in_units(over)));
    }
    let false_pages = section.optional("false_pages").and_then(|node| {
        node.parsed("so many in a time, as in 1 per year; a time is a week, month, quarter or year", |text| {
            false_pages::budget(text)?.map(FalsePages::per_year)
        })
    });
    let last = last?;
    let events = FewEvents::new(below, last, false_pages.unwrap_or(DEFAULT_FALSE_PAGES));
    if events.is_none() {
        section.problem(format!(
            "can never fire: at one event an hour, {last} bad ones of {last} are not rare enough when {} of all are to be good; look at more events, or allow more false pages",
            crate::numbers::percent(below)
        ));
    }
    Some(Few { events: events?, within })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::parsed;

    fn few(when: &str) -> Result<Option<Few>, String> {
        let rule = format!(
            "alerts: {{rules: [{{name: Own, severity: page, runbook: availability-slo, when: {{sli: availability, {when}}}}}]}}"
        );
        let config = parsed(&rule)?;
        match config.alerting.rules.into_iter().find(|rule| rule.name == "Own").unwrap().condition {
            driftline_alerts::Condition::Sli { few, .. } => Ok(few),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_last_events_are_of_a_day_and_page_for_nothing_once_a_year_unless_it_says_otherwise() {
        assert_eq!(few("below: 0.99").unwrap(), None);
        let usual = few("below: 0.99, few: {of_last: 20}").unwrap().unwrap();
        assert_eq!((usual.events.last(), usual.events.false_pages(), usual.within), (20, 1.0, DEFAULT_WITHIN));
        let own = few("below: 0.95, few: {of_last: 50, within: 7d, false_pages: 2 per quarter}").unwrap().unwrap();
        assert_eq!((own.events.target(), own.within), (0.95, LONGEST_WITHIN));
        assert!((own.events.false_pages() - 8.0).abs() < 1e-9);
    }

    #[test]
    fn what_cannot_work_is_refused() {
        for (when, says) in [
            ("below: 0.99, few: {of_last: 4}", "of_last: 4 is not allowed; allowed is a whole number from 5 to 1000"),
            ("below: 0.5, few: {of_last: 5}", "can never fire: at one event an hour, 5 bad ones of 5"),
            ("below: 1, few: {of_last: 20}", "can never fire"),
            ("below: 0.99, few: {of_last: 20, within: 8d}", "within: "),
            ("below: 0.99, over: 6h, few: {of_last: 20, within: 1h}", "looks back 1h, and the share is of 6h"),
            ("below: 0.99, few: {of_last: 20, false_pages: off}", "so many in a time"),
            ("objective: 0.99, burns: fast, few: {of_last: 20}", "few"),
        ] {
            let error = few(when).unwrap_err();
            assert!(error.contains(says), "{error}");
        }
    }
}
