//! What the configuration says of rules: which there are, whom they tell, and what explains their alerts.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;
use std::time::Duration;

use driftline_alerts::{Condition, ExplainedBy, KofM, Labels, Recovery, Rule, Severity, Step, Variable, nearest};
use driftline_document::{Node, Section, parse_duration, read};

use super::Alerting;
use super::conditions::condition;
use super::models::Model;
use super::recovery::{clear_at, without_verdict};
use super::slices;
use super::targets::TargetConfig;
use super::wording::{expression, wording};
use crate::own_metrics::labels_read;
use crate::runbooks;
use crate::vocabulary::Named;

/// The rules that ship, in the format of the user's own.
const SHIPPED_RULES: &str = include_str!("shipped_rules.yaml");

const DAY: Duration = Duration::from_secs(86_400);
/// More often than this a reminder is a nuisance; later than this it reminds nobody.
pub(super) const REPEATS: RangeInclusive<Duration> = Duration::from_secs(5 * 60)..=Duration::from_secs(7 * 86_400);
/// Counters of metrics that all rules together may name.
const MAX_COUNTERS: usize = 200;
const ESCALATIONS: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(7 * 86_400);

/// A rule of the list, or the word that a shipped one is off.
pub(super) struct ReadRule<'a> {
    pub(super) name: String,
    pub(super) rule: Option<Rule>,
    /// It names no targets: all of them are told.
    pub(super) everyone: bool,
    /// What it says of reminders, if it says anything.
    pub(super) repeat: Option<Option<Duration>>,
    /// The rules that explain it, and where it says so.
    causes: Vec<(String, Node<'a>)>,
    /// Where it says when it fires, if it is the user's own.
    when: Option<Node<'a>>,
}

/// What rules look at must be there, and enough of it.
pub(super) fn check_reach(rules: &[ReadRule<'_>], models: &[Model]) {
    for read in rules {
        if let (Some(rule), Some(node)) = (&read.rule, &read.when) {
            slices::check_reach(node, &rule.condition, models);
        }
    }
}

/// A cause must be a rule, as urgent at least, and not explained by what it explains: somebody is told in the end.
pub(super) fn check_causes(rules: &[ReadRule<'_>]) {
    let named = |name: &str| rules.iter().find(|rule| rule.name == name);
    for rule in rules {
        for (name, node) in &rule.causes {
            let Some(cause) = named(name) else {
                node.problem(format!("'{name}' is no rule"));
                continue;
            };
            // One that is off explains nothing.
            let Some((cause, rule)) = cause.rule.as_ref().zip(rule.rule.as_ref()) else { continue };
            if cause.severity < rule.severity {
                let (less, more) = (cause.severity.name(), rule.severity.name());
                node.problem(format!("'{name}' is a {less}, and would keep back what is a {more}"));
            }
            if explains(rules, &rule.name, &cause.name, rules.len()) {
                node.problem(format!("'{name}' is explained by '{}' itself: nobody would be told", rule.name));
            }
        }
    }
}

/// Whether a rule explains another, by way of at most so many others.
fn explains(rules: &[ReadRule<'_>], cause: &str, rule: &str, others: usize) -> bool {
    let read = rules.iter().find(|read| read.name == rule).and_then(|read| read.rule.as_ref());
    rule == cause
        || others > 0
            && read.is_some_and(|read| read.explained_by.iter().any(|by| explains(rules, cause, &by.rule, others - 1)))
}

pub(super) fn shipped_rules() -> Vec<ReadRule<'static>> {
    let shipped = read("shipped_rules.yaml", SHIPPED_RULES, |mut top| {
        let nodes = top.required("rules").and_then(|node| node.list()).unwrap_or_default();
        // A test checks where it speaks of others; what is left off may be one of them.
        let without_places = |rule: ReadRule<'_>| ReadRule { causes: Vec::new(), when: None, ..rule };
        rules(nodes, None).into_iter().map(without_places).collect::<Vec<_>>()
    });
    // They are part of the program, and a test reads them.
    shipped.result.unwrap_or_default()
}

/// The rules of a list; of `alerting`, which targets and runbooks they may name. Shipped ones are right by test.
pub(super) fn rules<'a>(nodes: Vec<Node<'a>>, alerting: Option<&Alerting>) -> Vec<ReadRule<'a>> {
    let mut rules: Vec<ReadRule<'a>> = Vec::new();
    let mut counters = BTreeSet::new();
    for node in nodes {
        let Some(section) = node.section() else { continue };
        let Some(rule) = rule(section, alerting) else { continue };
        if rules.iter().any(|other| other.name == rule.name) {
            node.problem(format!("there is another rule '{}'", rule.name));
        }
        counters.extend(rule.rule.iter().flat_map(|rule| counters_of(&rule.condition)));
        if counters.len() > MAX_COUNTERS {
            node.problem(format!(
                "with it all rules name {} different counters of metrics; allowed are {MAX_COUNTERS}, since each is remembered over its time",
                counters.len()
            ));
        }
        rules.push(rule);
    }
    rules
}

/// The counters of metrics that a condition names, each with what is asked of its labels and its time.
fn counters_of(condition: &Condition) -> Vec<String> {
    let Condition::Expression { expression, .. } = condition else { return Vec::new() };
    let is_counter =
        |variable: &&Variable| variable.over.is_some() && matches!(Named::of(variable), Ok(Named::Metric(_)));
    expression.variables().iter().filter(is_counter).map(Variable::to_string).collect()
}

/// The labels by which alerts of a rule on metrics are grouped: by model where they have one, unless given. One that none of
/// them has would keep all of them from ever being an alert.
fn grouped(given: Option<Vec<Node<'_>>>, condition: Option<&Condition>) -> Vec<String> {
    let read = match condition {
        Some(Condition::Expression { expression, .. }) => labels_read(expression).ok().flatten(),
        _ => None,
    };
    let Some(read) = read else {
        let given = given.map(|nodes| nodes.iter().filter_map(|node| Some(node.text()?.to_owned())).collect());
        return given.unwrap_or_else(|| vec!["model".to_owned()]);
    };
    let Some(given) = given else {
        return read.all().filter(|label| *label == "model").map(str::to_owned).collect();
    };
    let has = |node: &Node<'_>| {
        let label = node.text()?;
        if !read.all().any(|own| own == label) {
            let known: Vec<&str> = read.all().collect();
            node.problem(match nearest(label, known.iter().copied()) {
                Some(near) => format!("'{label}' is no label of what is said here; did you mean '{near}'?"),
                None if known.is_empty() => {
                    format!("'{label}' is no label of what is said here, which has none; write []")
                }
                None => format!("'{label}' is no label of what is said here; labels are {}", known.join(", ")),
            });
        }
        Some(label.to_owned())
    };
    given.iter().filter_map(has).collect()
}

fn rule<'a>(mut section: Section<'a>, alerting: Option<&Alerting>) -> Option<ReadRule<'a>> {
    let name = section.required("name").and_then(|node| {
        node.parsed("up to 100 letters, digits, '-' and '_'", |text| {
            let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
            (!text.is_empty() && text.len() <= 100 && text.bytes().all(plain)).then(|| text.to_owned())
        })
    });
    let enabled = section.optional("enabled").and_then(|node| node.boolean()).unwrap_or(true);
    if !enabled {
        let rest = ["severity", "runbook", "when", "group_by", "targets", "repeat", "escalate"];
        let rest = rest.into_iter().chain(["explained_by", "clear_at", "keep_firing_for", "end_without_verdict"]);
        let rest = rest.chain(["summary", "details", "labels", "owner"]);
        rest.for_each(|field| drop(section.optional(field)));
        return Some(ReadRule {
            name: name?,
            rule: None,
            everyone: false,
            repeat: None,
            causes: Vec::new(),
            when: None,
        });
    }
    let severities = Severity::ALL.map(|severity| (severity.name(), severity));
    let severity = section.required("severity").and_then(|node| node.one_of(&severities));
    let runbook = section.required("runbook").and_then(|node| {
        if alerting.is_some_and(|alerting| alerting.runbooks.is_some()) {
            // Whether it is in the folder shows when that is read.
            return node.parsed(runbooks::ID_FORM, |text| runbooks::is_id(text).then(|| text.to_owned()));
        }
        let known: Vec<&str> = runbooks::shipped_ids().collect();
        let allowed =
            format!("the id of a runbook: {}; alerts.runbooks names a folder with your own", known.join(", "));
        node.parsed(&allowed, |text| known.contains(&text).then(|| text.to_owned()))
    });
    let when = section.required("when");
    let condition = when.as_ref().and_then(|node| match node.is_section() {
        true => condition(node.section()?),
        false => expression(node, Labels::new(), KofM { k: 1, m: 1 }),
    });
    let clear_at = section.optional("clear_at").and_then(|node| clear_at(&node, condition.as_ref()));
    let keep = section.optional("keep_firing_for").and_then(|node| node.duration(Duration::ZERO..=7 * DAY));
    let keep_firing_for = keep.unwrap_or_default();
    let end = section.optional("end_without_verdict");
    let without_verdict = condition.as_ref().and_then(|condition| without_verdict(end.as_ref(), condition));
    let group_by = section.optional("group_by").and_then(|node| node.list());
    let group_by = grouped(group_by, condition.as_ref());
    let named_targets = section.optional("targets").and_then(|node| node.list());
    let everyone = named_targets.is_none();
    let targets = alerting.map(|alerting| &alerting.targets);
    let repeat = section.optional("repeat").and_then(|node| off_or_duration(&node));
    let steps = section.optional("escalate").map(|node| escalation(&node, targets)).unwrap_or_default();
    let causes = section.optional("explained_by").and_then(|node| node.list()).unwrap_or_default();
    let causes = causes.into_iter().filter_map(|node| Some((explained_by(node.section()?)?, node)));
    let (explained_by, places): (Vec<ExplainedBy>, Vec<Node<'a>>) = causes.unzip();
    let causes = explained_by.iter().map(|cause| cause.rule.clone()).zip(places).collect();
    let wording = wording(&mut section);
    let name = name?;
    let rule = Rule {
        name: name.clone(),
        severity: severity?,
        runbook: runbook?,
        condition: condition?,
        group_by,
        targets: target_names(named_targets.unwrap_or_default(), targets),
        repeat: None,
        escalate: steps,
        explained_by,
        recovery: Recovery { clear_at, keep_firing_for, without_verdict, flapping: None },
        wording,
    };
    Some(ReadRule { name, rule: Some(rule), everyone, repeat, causes, when })
}

/// Names of targets, each of which there must be where it is known which there are.
pub(super) fn target_names(nodes: Vec<Node<'_>>, targets: Option<&BTreeMap<String, TargetConfig>>) -> Vec<String> {
    let is_known = |node: &Node<'_>, name: &str| {
        let Some(targets) = targets.filter(|targets| !targets.contains_key(name)) else { return true };
        let known: Vec<&str> = targets.keys().map(String::as_str).collect();
        node.problem(format!("'{name}' is no target; under alerts.targets are: {}", known.join(", ")));
        false
    };
    let name = |node: &Node<'_>| Some(node.text()?.to_owned()).filter(|name| is_known(node, name));
    nodes.iter().filter_map(name).collect()
}

/// `off`, or how long to wait.
fn off_or_duration(node: &Node<'_>) -> Option<Option<Duration>> {
    let allowed = "off, or a duration from 5m to 7d, as a whole number and m, h or d";
    node.parsed(allowed, |text| match text {
        "off" => Some(None),
        text => parse_duration(text).filter(|repeat| REPEATS.contains(repeat)).map(Some),
    })
}

/// The steps of an escalation, each later than the one before it.
fn escalation(list: &Node<'_>, targets: Option<&BTreeMap<String, TargetConfig>>) -> Vec<Step> {
    let nodes = list.list().unwrap_or_default();
    if nodes.len() > Step::MAX {
        list.problem(format!("has {} steps; allowed are {}", nodes.len(), Step::MAX));
    }
    let mut steps: Vec<Step> = Vec::new();
    for node in nodes {
        let Some(mut section) = node.section() else { continue };
        let after = section.required("after").and_then(|node| node.duration(ESCALATIONS));
        let to = section.required("to").and_then(|node| node.list());
        let (Some(after), Some(to)) = (after, to) else { continue };
        if steps.last().is_some_and(|before| before.after >= after) {
            node.problem("is not after the step before it");
        }
        steps.push(Step { after, to: target_names(to, targets) });
    }
    steps
}

fn explained_by(mut section: Section<'_>) -> Option<ExplainedBy> {
    let rule = section.required("rule").and_then(|node| Some(node.text()?.to_owned()));
    let same = section.optional("same").and_then(|node| node.list());
    let same = same.map(|names| names.iter().filter_map(|node| Some(node.text()?.to_owned())).collect());
    let lasting = section.optional("for").and_then(|node| node.duration(Duration::ZERO..=7 * DAY));
    Some(ExplainedBy {
        rule: rule?,
        same: same.unwrap_or_else(|| vec!["model".to_owned()]),
        lasting: lasting.unwrap_or_default(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::parsed;

    #[test]
    fn the_shipped_rules_are_right() {
        let read = read("shipped_rules.yaml", SHIPPED_RULES, |mut top| {
            let rules = rules(top.required("rules").and_then(|node| node.list()).unwrap_or_default(), None);
            check_causes(&rules);
            rules.len()
        });
        assert!(read.result.unwrap_or_else(|problems| panic!("{problems}")) >= 5);
    }

    #[test]
    fn own_rules_replace_shipped_ones_by_name_and_shipped_ones_tell_everyone() {
        let config = parsed(
            "alerts:\n  targets:\n    mail: {email: {from: a@example.com, to: [b@example.com], directory: out}}\n  rules:\n    - {name: LatencySlo, enabled: false}\n    - name: FeatureDrift\n      severity: page\n      runbook: feature-drift\n      when: {score: ks, above: 0.3, windows: 3 of 4}\n      targets: []\n",
        )
        .unwrap();
        let rule = |name: &str| config.alerting.rules.iter().find(|rule| rule.name == name);
        assert!(rule("LatencySlo").is_none());
        assert_eq!(
            (rule("FeatureDrift").unwrap().severity, rule("FeatureDrift").unwrap().targets.len()),
            (Severity::Page, 0)
        );
        assert_eq!(rule("PredictionDrift").unwrap().targets, ["mail"]);
    }

    #[test]
    fn reminders_are_the_same_for_all_rules_but_those_that_say_otherwise() {
        let config = parsed(
            "alerts:\n  repeat: 4h\n  targets:\n    boss: {webhook: {url: {env: A}}}\n  rules:\n    - name: LatencySlo\n      severity: page\n      runbook: latency-slo\n      when: {sli: latency, below: 0.9}\n      repeat: off\n      escalate: [{after: 15m, to: [boss]}]\n",
        )
        .unwrap();
        let rule = |name: &str| config.alerting.rules.iter().find(|rule| rule.name == name).unwrap();
        assert_eq!(rule("FeatureDrift").repeat, Some(Duration::from_secs(4 * 3600)));
        assert_eq!(
            (rule("LatencySlo").repeat, rule("LatencySlo").escalate[0].to.as_slice()),
            (None, &["boss".to_owned()][..])
        );
    }

    #[test]
    fn rules_that_cannot_work_are_refused() {
        for (rule, says) in [
            ("{name: A, severity: page, runbook: nope, when: {sli: latency, below: 0.9}}", "the id of a runbook"),
            ("{name: A, severity: page, runbook: latency-slo, when: {sli: speed, below: 0.9}}", "one of latency"),
            ("{name: A, severity: page, runbook: latency-slo, when: {sli: latency, below: 99}}", "from 0 to 1"),
            ("{name: A, severity: page, runbook: feature-drift, when: {score: psi, windows: 3 of 2}}", "k of m"),
            ("{name: A, severity: page, runbook: feature-drift, when: {above: 3}}", "either 'score' or 'sli'"),
            ("{name: A, severity: page, runbook: feature-drift, when: {score: psi}, targets: [x]}", "is no target"),
            ("{name: A, severity: page, runbook: feature-drift, when: {score: psi}, repeat: 1m}", "off, or a duration"),
            ("{name: A, severity: page, runbook: feature-drift, when: {score: psi}, clear_at: 0.1}", "needs 'above'"),
            (
                "{name: A, severity: page, runbook: feature-drift, when: {score: psi, above: 0.3}, clear_at: 0.4}",
                "from 0 to 0.3",
            ),
            (
                "{name: A, severity: page, runbook: latency-slo, when: {sli: latency, below: 0.9}, clear_at: 0.8}",
                "from 0.9 to 1",
            ),
            (
                "{name: A, severity: page, runbook: feature-drift, when: {score: psi}, escalate: [{after: 5m, to: [x]}]}",
                "is no target",
            ),
            (
                "{name: A, severity: page, runbook: feature-drift, when: {score: psi}, escalate: [{after: 5m, to: []}, {after: 5m, to: []}]}",
                "is not after the step before it",
            ),
            (
                "{name: A, severity: page, runbook: feature-drift, when: {score: psi}, explained_by: [{rule: B}]}",
                "'B' is no rule",
            ),
            (
                "{name: A, severity: page, runbook: feature-drift, when: {score: psi}, explained_by: [{rule: CaptureLoss}]}",
                "would keep back what is a page",
            ),
            (
                "{name: CaptureLoss, severity: ticket, runbook: capture-loss, when: {sli: capture, below: 0.9}, explained_by: [{rule: FeatureDrift}]}",
                "nobody would be told",
            ),
        ] {
            let error = parsed(&format!("alerts: {{rules: [{rule}]}}")).unwrap_err();
            assert!(error.contains(says), "{error}");
        }
    }
}
