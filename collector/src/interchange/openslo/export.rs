//! From rules to OpenSLO.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use driftline_alerts::{Condition, Labels, Objective, Pace, Period, Rule};

use super::super::quoting::quoted;
use super::{
    ALL_OR_NONE, API_VERSION, CALENDAR_BEGINS, EVERY_MODEL, GROUP_BY, MIN_EVENTS, RULE, RUNBOOK, SOURCE, TARGET,
    TARGETS, TIMESLICES, Whom, calendar_name, rolling_name,
};
use crate::config::{SLICES_SLI, Windows};

/// How long a name may be that every implementation takes (RFC 1123).
const MAX_NAME_BYTES: usize = 63;
/// What is left for a rule's: its indicator or the window of a pair stands behind it.
const MAX_RULE_BYTES: usize = 45;
/// The shortest slice that can be written.
const MINUTE: Duration = Duration::from_secs(60);

/// The rules on budgets as documents of OpenSLO, and the names of the others. `windows` are those of a model, and of some rules
/// `tells_everyone`.
pub(crate) fn export(
    rules: &[Rule],
    tells_everyone: &dyn Fn(&Rule) -> bool,
    windows: &dyn Fn(&str) -> Windows,
) -> String {
    let (mut others, mut unwritable): (Vec<&str>, Vec<&str>) = (Vec::new(), Vec::new());
    let (mut documents, mut names, mut targets) = (Vec::new(), BTreeSet::new(), Targets::default());
    for rule in rules {
        let Condition::Budget { sli, matching, objective, pace, min_events } = &rule.condition else {
            others.push(&rule.name);
            continue;
        };
        let windows = windows(matching.get("model").map_or("", String::as_str));
        let slice = (sli == SLICES_SLI).then(|| windows.pane * windows.panes);
        if slice.is_some_and(|length| !length.as_millis().is_multiple_of(MINUTE.as_millis())) {
            unwritable.push(&rule.name);
            continue;
        }
        let budget = Budget { rule, sli, slice, matching, objective, pace: *pace, min_events: *min_events };
        let name = name(&format!("rule-{}", small(&rule.name)), MAX_RULE_BYTES, &mut names);
        documents.extend(budget.documents(&name, &targets.of(rule, tells_everyone(rule))));
    }
    documents.extend(targets.documents());
    let left_out = |why: &str, names: &[&str]| match names {
        [] => String::new(),
        names => format!("# {why}, and not here: {}.\n", names.join(", ")),
    };
    let head = "# Driftline's objectives. Written by: driftline rules export --format openslo\n";
    let others = left_out("Rules that are no objectives", &others);
    let unwritable = left_out("Rules on windows that are no whole minutes, which OpenSLO cannot write", &unwritable);
    format!("{head}{others}{unwritable}---\n{}", documents.join("---\n"))
}

/// What the targets are called there that rules name, and where their own names stand.
#[derive(Default)]
struct Targets {
    names: BTreeMap<Whom, String>,
}

impl Targets {
    /// The names of those that a rule tells.
    fn of(&mut self, rule: &Rule, tells_everyone: bool) -> Vec<String> {
        let whom = match rule.targets.as_slice() {
            _ if tells_everyone => vec![Whom::All],
            [] => vec![Whom::Nobody],
            targets => targets.iter().cloned().map(Whom::One).collect(),
        };
        whom.into_iter().map(|whom| self.name(whom)).collect()
    }

    fn name(&mut self, whom: Whom) -> String {
        let names = &mut self.names;
        if let Some(known) = names.get(&whom) {
            return known.clone();
        }
        let reserved = |name: &str| ALL_OR_NONE.iter().any(|(.., reserved)| *reserved == name);
        let wanted = match &whom {
            Whom::One(own) => Some(small(own)).filter(|small| !small.is_empty() && !reserved(small)),
            _ => ALL_OR_NONE.into_iter().find(|(known, ..)| *known == whom).map(|(.., name)| name.to_owned()),
        };
        let mut taken = names.values().cloned().collect();
        let name = name(wanted.as_deref().unwrap_or("target"), MAX_NAME_BYTES, &mut taken);
        names.insert(whom, name.clone());
        name
    }

    /// How each is told stands in the configuration, under its own name.
    fn documents(&self) -> impl Iterator<Item = String> {
        self.names.iter().map(|(whom, name)| {
            let annotation = match whom {
                Whom::One(own) => format!("{TARGET}: {}", quoted(own)),
                _ => ALL_OR_NONE
                    .iter()
                    .find(|(known, ..)| known == whom)
                    .map_or_else(String::new, |(_, said, _)| format!("{TARGETS}: {said}")),
            };
            let head = head("AlertNotificationTarget", name);
            format!("{head}  annotations:\n    {annotation}\nspec:\n  target: {SOURCE}\n")
        })
    }
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
    fn documents(&self, name: &str, targets: &[String]) -> Vec<String> {
        let mut policies = String::new();
        let mut documents = Vec::new();
        for pair in self.objective.pairs(self.pace) {
            let policy = format!("{name}-{}", rolling_name(pair.long));
            policies.push_str(&format!("    - alertPolicyRef: {policy}\n"));
            documents.push(policy_of(&policy, targets));
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
            format!("  indicator:\n    metadata:\n      name: {name}-{}\n", small(self.sli)),
            "    spec:\n      ratioMetric:\n        counter: true\n".to_owned(),
            format!("        good: {}\n        total: {}\n", source("good"), source("valid")),
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

/// The policy of a pair, and who is told of it.
fn policy_of(name: &str, targets: &[String]) -> String {
    let targets: String = targets.iter().map(|target| format!("    - targetRef: {target}\n")).collect();
    [
        head("AlertPolicy", name),
        // Without events an alert of ours stays as it is.
        "spec:\n  alertWhenNoData: false\n  alertWhenResolved: true\n  alertWhenBreaching: true\n".to_owned(),
        format!("  conditions:\n    - conditionRef: {name}\n  notificationTargets:\n{targets}"),
    ]
    .concat()
}

fn head(kind: &str, name: &str) -> String {
    format!("apiVersion: {API_VERSION}\nkind: {kind}\nmetadata:\n  name: {name}\n")
}

fn window(period: &Period) -> String {
    match period {
        Period::Rolling(length) => format!("    - duration: {}\n      isRolling: true\n", rolling_name(*length)),
        Period::Calendar { unit, zone } => format!(
            "    - duration: {}\n      isRolling: false\n      calendar:\n        startTime: \"{CALENDAR_BEGINS}\"\n        timeZone: {}\n",
            calendar_name(*unit),
            zone.iana_name().unwrap_or("UTC")
        ),
    }
}

/// A text in what OpenSLO's names are made of: small letters, digits and '-', which stands at no end.
fn small(text: &str) -> String {
    let mut small = String::new();
    for char in text.chars() {
        if char.is_ascii_uppercase() && !small.is_empty() && !small.ends_with('-') {
            small.push('-');
        }
        small.push(if char.is_ascii_alphanumeric() { char.to_ascii_lowercase() } else { '-' });
    }
    small.trim_matches('-').to_owned()
}

/// A name that no other has. The rule's or the target's own stands in an annotation.
fn name(small: &str, longest: usize, taken: &mut BTreeSet<String>) -> String {
    let numbered = (2..).map(|number| format!("-{number}"));
    let names = std::iter::once(String::new()).chain(numbered).map(|end| {
        let begins = &small[..small.len().min(longest - end.len())];
        format!("{}{end}", begins.trim_end_matches('-'))
    });
    let name = names.into_iter().find(|name| !taken.contains(name)).expect("there are more numbers than names");
    taken.insert(name.clone());
    name
}
