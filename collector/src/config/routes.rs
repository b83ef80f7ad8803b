//! What the configuration says of routes and schedules: who is told of which alerts, and when.

use std::collections::BTreeMap;

use driftline_alerts::{Hours, Route, Routes, Rule, Schedule, Selector, Severity, Stretch};
use driftline_document::{Node, Section};
use jiff::civil::Date;

use super::maintenance::{days, time, zone};
use super::rules::target_names;
use super::targets::TargetConfig;

/// Schedules that there may be, stretches of the week of one, and days that are other than the week says.
const MAX_SCHEDULES: usize = 100;
const MAX_HOURS: usize = 50;
const MAX_EXCEPTIONS: usize = 366;

pub(super) fn schedules(node: &Node<'_>) -> BTreeMap<String, Schedule> {
    let named = node.entries().unwrap_or_default();
    if named.len() > MAX_SCHEDULES {
        node.problem(format!("there are {} schedules; allowed are {MAX_SCHEDULES}", named.len()));
    }
    named.into_iter().filter_map(|(name, node)| Some((name, schedule(node.section()?)?))).collect()
}

fn schedule(mut section: Section<'_>) -> Option<Schedule> {
    let hours = section.required("hours").and_then(|node| {
        let nodes = bounded(&node, MAX_HOURS)?;
        if nodes.is_empty() {
            node.problem("is empty: whoever waits for it would never be told");
        }
        nodes.into_iter().map(|node| hours(node.section()?)).collect()
    });
    let exceptions = section.optional("except").and_then(|node| bounded(&node, MAX_EXCEPTIONS)).unwrap_or_default();
    let mut except: BTreeMap<Date, Vec<Stretch>> = BTreeMap::new();
    for (day, stretch) in exceptions.into_iter().filter_map(|node| exception(node.section()?)) {
        except.entry(day).or_default().extend(stretch);
    }
    let zone = zone(&mut section);
    Some(Schedule { hours: hours?, except, zone: zone? })
}

fn bounded<'a>(node: &Node<'a>, most: usize) -> Option<Vec<Node<'a>>> {
    let nodes = node.list()?;
    if nodes.len() > most {
        node.problem(format!("has {} entries; allowed are {most}", nodes.len()));
    }
    Some(nodes)
}

fn hours(mut section: Section<'_>) -> Option<Hours> {
    let days = days(&mut section);
    let from = section.required("from").and_then(|node| time(&node));
    let until = section.required("until").and_then(|node| time(&node));
    Some(Hours { days, stretch: Stretch { from: from?, until: until? } })
}

/// A day, and a stretch of it; none when nothing is on that begins then.
fn exception(mut section: Section<'_>) -> Option<(Date, Option<Stretch>)> {
    let day =
        section.required("date").and_then(|node| node.parsed("a day, as in 2026-12-24", |text| text.parse().ok()));
    let from = section.optional("from");
    let until = section.optional("until");
    if let (Some(lonely), None) | (None, Some(lonely)) = (&from, &until) {
        lonely.problem("needs both 'from' and 'until'; without both nothing is on that day");
    }
    let stretch = from.zip(until).and_then(|(from, until)| Some(Stretch { from: time(&from)?, until: time(&until)? }));
    Some((day?, stretch))
}

pub(super) fn routes(
    node: &Node<'_>,
    targets: &BTreeMap<String, TargetConfig>,
    schedules: &BTreeMap<String, Schedule>,
) -> Vec<Route> {
    let nodes = bounded(node, Routes::MAX).unwrap_or_default();
    if nodes.is_empty() {
        node.problem("is empty; leave it out, and every rule tells all targets");
    }
    nodes.into_iter().filter_map(|node| route(node.section()?, targets, schedules)).collect()
}

fn route(
    mut section: Section<'_>,
    targets: &BTreeMap<String, TargetConfig>,
    schedules: &BTreeMap<String, Schedule>,
) -> Option<Route> {
    let matching =
        section.optional("matching").and_then(|node| bounded(&node, Routes::MAX_SELECTORS)).unwrap_or_default();
    let matching = matching.iter().map(selector).collect::<Option<Vec<Selector>>>();
    let mut known = |name: &'static str| section.optional(name).and_then(|node| known_schedule(&node, schedules));
    let (during, wait_for) = (known("during"), known("wait_for"));
    let goes_on = section.optional("continue").and_then(|node| node.boolean()).unwrap_or(false);
    let severities = Severity::ALL.map(|severity| (severity.name(), severity));
    let severity = section.optional("severity").and_then(|node| node.one_of(&severities));
    // What only makes something else of an alert leaves it to the next routes whom to tell.
    let is_on_its_way = severity.is_some() && goes_on;
    let named = if is_on_its_way { section.optional("targets") } else { Some(section.required("targets")?) };
    let targets = match &named {
        Some(named) => target_names(named.list()?, Some(targets)),
        None => Vec::new(),
    };
    if let Some(named) = named.filter(|_| targets.is_empty()) {
        named.problem("names no target: whatever goes this way would reach nobody");
    }
    Some(Route { matching: matching?, during, wait_for, severity, targets, goes_on })
}

fn selector(node: &Node<'_>) -> Option<Selector> {
    Selector::parse(node.text()?).map_err(|why| node.problem(why)).ok()
}

fn known_schedule(node: &Node<'_>, schedules: &BTreeMap<String, Schedule>) -> Option<String> {
    let name = node.text()?;
    if !schedules.contains_key(name) {
        let known: Vec<&str> = schedules.keys().map(String::as_str).collect();
        node.problem(format!("'{name}' is no schedule; under alerts.schedules are: {}", known.join(", ")));
        return None;
    }
    Some(name.to_owned())
}

/// Every alert of a rule that goes by routes reaches somebody, or the routes are wrong.
pub(super) fn check_reach(node: &Node<'_>, routes: &Routes, rules: &[Rule]) {
    for rule in rules.iter().filter(|rule| !routes.always_reach(rule)) {
        node.problem(format!(
            "alerts of the rule {} may reach nobody; end with a route that takes what is left: without 'matching' and 'during'",
            rule.name
        ));
    }
}

#[cfg(test)]
mod tests {
    use driftline_alerts::Severity;

    use crate::config::{Alerting, parsed};

    const TARGETS: &str = "  targets: {a: {webhook: {url: {env: A}}}, b: {webhook: {url: {env: B}}}}\n";

    fn parse(text: &str) -> Result<Alerting, String> {
        let text = format!("alerts:\n{TARGETS}{text}");
        let config = parsed(&text)?;
        Ok(config.alerting)
    }

    const OFFICE: &str = "  schedules:
    office:
      hours: [{days: [monday], from: 09:00, until: 17:00}, {from: 22:00, until: 06:00}]
      except: [{date: 2026-12-24, from: 09:00, until: 12:00}, {date: 2026-12-24, from: 13:00, until: 14:00}, {date: 2026-12-25}]
      time_zone: Europe/Berlin
";

    #[test]
    fn routes_are_for_rules_that_name_no_targets_and_schedules_have_exceptions() {
        let alerting = parse(&format!(
            "{OFFICE}  routes:\n    - {{matching: [severity=page, model=~f-.*], targets: [a], continue: true}}\n    - {{wait_for: office, targets: [b]}}
  rules:\n    - {{name: Own, severity: page, runbook: latency-slo, when: {{sli: latency, below: 0.9}}, targets: [a]}}
    - {{name: Shows, severity: page, runbook: latency-slo, when: {{sli: latency, below: 0.9}}, targets: []}}\n"
        ))
        .unwrap();
        let office = &alerting.routes.schedules["office"];
        assert_eq!((office.hours[0].days.len(), office.hours[1].days.len()), (1, 7));
        let lengths: Vec<usize> = office.except.values().map(Vec::len).collect();
        assert_eq!(lengths, [2, 0]);
        let targets = |name: &str| alerting.rules.iter().find(|rule| rule.name == name).unwrap().targets.clone();
        assert_eq!((targets("Own"), targets("Shows"), targets("LatencySlo")), (vec!["a".to_owned()], vec![], vec![]));
        let routed = &alerting.routes.routed;
        assert!(routed.contains("LatencySlo") && !routed.contains("Own") && !routed.contains("Shows"));
        assert!(alerting.routes.routes[0].goes_on && alerting.routes.routes[1].wait_for.is_some());
        let changed =
            parse("  routes: [{matching: [severity=page], severity: info, continue: true}, {targets: [a]}]\n").unwrap();
        assert_eq!(changed.routes.routes[0].severity, Some(Severity::Info));
        assert!(changed.routes.routes[0].targets.is_empty());
        let without = parse("").unwrap();
        assert!(without.routes.routed.is_empty() && without.rules[0].targets == ["a", "b"]);
    }

    #[test]
    fn what_would_reach_nobody_is_refused_with_its_line() {
        for (text, says) in [
            (
                "  routes: [{matching: [severity=page], targets: [a]}]\n",
                "alerts of the rule FeatureDrift may reach nobody",
            ),
            ("  routes: [{targets: [a], during: office}]\n", "may reach nobody"),
            ("  routes: []\n", "is empty"),
            ("  routes: [{targets: []}]\n", "names no target"),
            ("  routes: [{targets: [c]}]\n", "'c' is no target"),
            ("  routes: [{severity: ticket}]\n", "targets: is missing"),
            ("  routes: [{severity: ticket, continue: true}]\n", "may reach nobody"),
            ("  routes: [{severity: urgent, targets: [a]}]\n", "allowed is one of info, ticket, page"),
            (
                "  routes: [{matching: [model=a], severity: page, continue: true}, {matching: [severity!=page], targets: [a]}, {matching: [rule=x], targets: [a]}]\n",
                "may reach nobody",
            ),
            (
                "  routes: [{targets: [a], wait_for: night}]\n",
                "'night' is no schedule; under alerts.schedules are: office",
            ),
            ("  routes: [{targets: [a], matching: ['model=~(']}]\n", "'(' is no expression"),
        ] {
            let why = parse(&format!("{OFFICE}{text}")).unwrap_err();
            assert!(why.contains(says) && why.contains("d.yaml:8:"), "{why}");
        }
        for (schedule, says) in [
            ("{hours: []}", "would never be told"),
            ("{hours: [{from: 9:00, until: 17:00}]}", "a time of the day"),
            ("{hours: [{from: 09:00, until: 17:00}], except: [{date: 24.12.}]}", "a day, as in"),
            (
                "{hours: [{from: 09:00, until: 17:00}], except: [{date: 2026-12-24, from: 09:00}]}",
                "both 'from' and 'until'",
            ),
            ("{hours: [{from: 09:00, until: 17:00}], time_zone: Bern}", "IANA name"),
        ] {
            let why = parse(&format!("  schedules: {{s: {schedule}}}\n")).unwrap_err();
            assert!(why.contains(says), "{schedule}: {why}");
        }
    }
}
