//! From rules to OpenSLO.

use std::collections::BTreeSet;
use std::time::Duration;

use driftline_alerts::{Condition, Labels, Objective, Pace, Period, Rule};

use super::super::quoting::quoted;
use super::{
    API_VERSION, CALENDAR_BEGINS, EVERY_MODEL, GROUP_BY, MIN_EVENTS, RULE, RUNBOOK, SOURCE, TIMESLICES, calendar_name,
    rolling_name,
};
use crate::config::{SLICES_SLI, Windows};

/// The rules on budgets as documents of OpenSLO, and the names of the others. `windows` are those of a model.
pub(crate) fn export(rules: &[Rule], windows: &dyn Fn(&str) -> Windows) -> String {
    let mut left_out: Vec<&str> = Vec::new();
    let (mut documents, mut names) = (Vec::new(), BTreeSet::new());
    for rule in rules {
        match &rule.condition {
            Condition::Budget { sli, matching, objective, pace, min_events } => {
                let windows = windows(matching.get("model").map_or("", String::as_str));
                let slice = (sli == SLICES_SLI).then(|| windows.pane * windows.panes);
                let budget = Budget { rule, sli, slice, matching, objective, pace: *pace, min_events: *min_events };
                let mut name = slug(&rule.name);
                while !names.insert(name.clone()) {
                    name.push_str("-x");
                }
                documents.extend(budget.documents(&name));
            }
            _ => left_out.push(&rule.name),
        }
    }
    let left_out = match left_out.as_slice() {
        [] => String::new(),
        names => format!("# Rules that are no objectives, and not here: {}.\n", names.join(", ")),
    };
    let head = "# Driftline's objectives. Written by: driftline rules export --format openslo\n";
    format!("{head}{left_out}---\n{}", documents.join("---\n"))
}

/// A rule on a budget.
struct Budget<'a> {
    rule: &'a Rule,
    sli: &'a str,
    /// How long its events are, where they are windows.
    slice: Option<Duration>,
    matching: &'a Labels,
    objective: &'a Objective,
    pace: Pace,
    min_events: u64,
}

impl Budget<'_> {
    /// Its SLO, and a policy and a condition for each of its pairs.
    fn documents(&self, name: &str) -> Vec<String> {
        let mut policies = String::new();
        let mut documents = Vec::new();
        for pair in self.objective.pairs(self.pace) {
            let policy = format!("{name}-{}", rolling_name(pair.long));
            policies.push_str(&format!("    - alertPolicyRef: {policy}\n"));
            documents.push(self.policy(&policy));
            documents.push(self.condition(&policy, &rolling_name(pair.long), pair.rate));
        }
        documents.insert(0, self.slo(name, &policies));
        documents
    }

    fn slo(&self, name: &str, policies: &str) -> String {
        let min_events = match self.min_events {
            0 => String::new(),
            least => format!("    {MIN_EVENTS}: \"{least}\"\n"),
        };
        let (method, slices) = match self.slice {
            None => ("Occurrences", String::new()),
            Some(length) => {
                (TIMESLICES, format!("      timeSliceTarget: 1\n      timeSliceWindow: {}\n", rolling_name(length)))
            }
        };
        let service = self.matching.get("model").map_or(EVERY_MODEL, String::as_str);
        [
            head("SLO", name),
            format!("  annotations:\n    {RULE}: {}\n", quoted(&self.rule.name)),
            format!("    {RUNBOOK}: {}\n", quoted(&self.rule.runbook)),
            format!("    {GROUP_BY}: {}\n{min_events}", quoted(&self.rule.group_by.join(","))),
            format!("spec:\n  service: {}\n", quoted(service)),
            self.indicator(name),
            format!("  timeWindow:\n{}  budgetingMethod: {method}\n", window(self.objective.period())),
            format!("  objectives:\n    - target: {}\n{slices}  alertPolicies:\n{policies}", self.objective.target()),
        ]
        .concat()
    }

    /// Good of all events of the indicator.
    fn indicator(&self, name: &str) -> String {
        let matching: Vec<String> =
            self.matching.iter().map(|(label, value)| format!("{}: {}", quoted(label), quoted(value))).collect();
        let matching = match matching.as_slice() {
            [] => String::new(),
            labels => format!(", matching: {{{}}}", labels.join(", ")),
        };
        let source = |events: &str| {
            format!(
                "{{metricSource: {{type: {SOURCE}, spec: {{indicator: {}, events: {events}{matching}}}}}}}",
                self.sli
            )
        };
        [
            format!("  indicator:\n    metadata:\n      name: {name}-{}\n", self.sli),
            "    spec:\n      ratioMetric:\n        counter: true\n".to_owned(),
            format!("        good: {}\n        total: {}\n", source("good"), source("valid")),
        ]
        .concat()
    }

    fn policy(&self, name: &str) -> String {
        let targets = self.rule.targets.iter().map(|target| format!("    - targetRef: {}\n", quoted(target)));
        let targets = match self.rule.targets.is_empty() {
            true => "  notificationTargets: []\n".to_owned(),
            false => format!("  notificationTargets:\n{}", targets.collect::<String>()),
        };
        [
            head("AlertPolicy", name),
            // Without events an alert of ours stays as it is.
            "spec:\n  alertWhenNoData: false\n  alertWhenResolved: true\n  alertWhenBreaching: true\n".to_owned(),
            format!("  conditions:\n    - conditionRef: {name}\n{targets}"),
        ]
        .concat()
    }

    fn condition(&self, name: &str, window: &str, rate: f64) -> String {
        [
            head("AlertCondition", name),
            format!(
                "spec:\n  severity: {}\n  condition:\n    kind: burnrate\n    op: gte\n",
                self.rule.severity.name()
            ),
            format!("    threshold: {rate}\n    lookbackWindow: {window}\n    alertAfter: 0m\n"),
        ]
        .concat()
    }
}

fn head(kind: &str, name: &str) -> String {
    format!("apiVersion: {API_VERSION}\nkind: {kind}\nmetadata:\n  name: {name}\n")
}

fn window(period: &Period) -> String {
    match period {
        Period::Rolling(length) => format!("    - duration: {}\n      isRolling: true\n", rolling_name(*length)),
        Period::Calendar { unit, zone } => format!(
            "    - duration: {}\n      isRolling: false\n      calendar:\n        startTime: {CALENDAR_BEGINS}\n        timeZone: {}\n",
            calendar_name(*unit),
            zone.iana_name().unwrap_or("UTC")
        ),
    }
}

/// A rule's name as OpenSLO's names are: small letters, digits and '-'. The rule's own stands in an annotation.
fn slug(name: &str) -> String {
    let mut slug = String::new();
    for char in name.chars() {
        if char.is_ascii_uppercase() && !slug.is_empty() && !slug.ends_with('-') {
            slug.push('-');
        }
        slug.push(if char.is_ascii_alphanumeric() { char.to_ascii_lowercase() } else { '-' });
    }
    format!("rule-{}", slug.trim_matches('-')).trim_end_matches('-').to_owned()
}
