//! What the configuration says of rules: when they fire, whom they tell, and how their alerts end.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;
use std::time::Duration;

use driftline_alerts::{
    Condition, ExplainedBy, Flapping, KofM, Labels, Recovery, Rule, Severity, Step, Variable, nearest,
};
use driftline_detectors::{Detector, SEGMENT_DETECTORS};
use driftline_document::{Node, Section, parse_duration, read};

use super::Alerting;
use super::budgets::budget;
use super::few::few;
use super::models::Model;
use super::slices;
use super::targets::TargetConfig;
use super::wording::{expression, wording};
use crate::own_metrics::labels_read;
use crate::pipeline::earlier::{Against, COMPARED};
use crate::pipeline::over_time::{Of, OverTime};
use crate::runbooks;
use crate::segments::segment_score;
use crate::vocabulary::Named;

/// The rules that ship, in the format of the user's own.
const SHIPPED_RULES: &str = include_str!("shipped_rules.yaml");

/// Indicators that the collector counts of each model.
pub(crate) const SLIS: [&str; 14] = [
    "latency",
    FIRST_MESSAGE_SLI,
    "availability",
    "freshness",
    "capture",
    SCHEMA_SLI,
    DECODED_SLI,
    HEARD_SLI,
    SIDECARS_SLI,
    FEEDS_SLI,
    FEEDS_LISTED_SLI,
    OUTCOMES_SLI,
    SLICES_SLI,
    WATERMARK_SLI,
];
/// Of the streams, those whose first message came in time.
pub(crate) const FIRST_MESSAGE_SLI: &str = "first_message";
/// Of the rows, those that have the columns and types that they always had.
pub(crate) const SCHEMA_SLI: &str = "schema";
/// Of the model's answers, those whose bodies gave rows.
pub(crate) const DECODED_SLI: &str = "decoded";
/// Of the times at which somebody looked, those at which the model was heard as often as ever.
pub(crate) const HEARD_SLI: &str = "heard";
/// Of the times at which somebody looked, those at which no sidecar of the model was missed.
pub(crate) const SIDECARS_SLI: &str = "sidecars";
/// Of the times at which somebody looked at a feed and knew, those at which its newest file was young enough, by feed.
pub(crate) const FEEDS_SLI: &str = "feeds";
/// Of the times at which somebody looked, those at which a feed could be listed, by feed.
pub(crate) const FEEDS_LISTED_SLI: &str = "feeds_listed";
/// Of the times at which somebody looked, those at which the model's newest outcome was young enough.
pub(crate) const OUTCOMES_SLI: &str = "outcomes";
/// Of the windows that closed, those whose score stayed below its limit, by slices.
pub(crate) const SLICES_SLI: &str = "slices";
/// Of the times at which somebody looked, those at which the newest time of a column was young enough, by column.
pub(crate) const WATERMARK_SLI: &str = "watermark";
/// An indicator of the collector itself: of the times at which somebody looked, those at which the archive kept up.
pub(crate) const ARCHIVE_SLI: &str = "archive";
/// Another one: of the times at which somebody looked, those at which a target had got what was its own, by target.
pub(crate) const DELIVERY_SLI: &str = "delivery";
/// Another one: of the times at which the collector was to look at itself, those at which it was there to do it.
pub(crate) const RUNNING_SLI: &str = "running";
/// The indicators of the collector itself.
pub(crate) const OWN_SLIS: [&str; 3] = [ARCHIVE_SLI, DELIVERY_SLI, RUNNING_SLI];

/// What the parts of an indicator that has any are told apart by, in rules, alerts and metrics: a label.
pub(crate) fn part_label(sli: &str) -> &'static str {
    if sli == DELIVERY_SLI { "target" } else { "column" }
}

const DAY: Duration = Duration::from_secs(86_400);
/// Whoever is paged four times in an hour for one thing is not helped by four ends.
pub(super) const DEFAULT_FLAPPING: Flapping = Flapping { times: 4, within: Duration::from_secs(3600) };
/// More often than this a reminder is a nuisance; later than this it reminds nobody.
pub(super) const REPEATS: RangeInclusive<Duration> = Duration::from_secs(5 * 60)..=Duration::from_secs(7 * 86_400);
/// An alert on windows is without a verdict for a night or a weekend where there is little traffic, and goes on then. What had
/// none for a week will have none on Monday either.
const DEFAULT_WITHOUT_VERDICT: Duration = Duration::from_secs(7 * 86_400);
const WITHOUT_VERDICT: RangeInclusive<Duration> = Duration::from_secs(3600)..=Duration::from_secs(90 * 86_400);
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

/// What members must come back to, which is on the good side of what they must not reach.
fn clear_at(node: &Node<'_>, condition: Option<&Condition>) -> Option<f64> {
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
fn without_verdict(node: Option<&Node<'_>>, condition: &Condition) -> Option<Duration> {
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

fn condition(mut section: Section<'_>) -> Option<Condition> {
    let written = section.optional("expression");
    let score = section.optional("score");
    let sli = section.optional("sli");
    let matching = section.optional("matching").and_then(|node| node.entries()).unwrap_or_default();
    let matching = matching.into_iter().filter_map(|(name, node)| Some((name, node.text()?.to_owned()))).collect();
    if let Some(node) = written {
        return expression_of_windows(&node, section, matching, score.is_some() || sli.is_some());
    }
    match (score, sli) {
        (Some(score), None) => {
            let names = score_names();
            let names: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), name.as_str())).collect();
            let score = score.one_of(&names)?.to_owned();
            let above = section.optional("above").and_then(|node| node.number(0.0..=1e9));
            let counted = section.optional("windows");
            let windows = counted.as_ref().and_then(|node| node.parsed("'k of m', as in 2 of 3", k_of_m));
            if let (Some(node), Some(Of::Sli(_))) = (&counted, OverTime::named(&score).map(|watched| watched.of)) {
                node.problem("is for scores of windows; an indicator's days are looked at all the time");
            }
            let windows = windows.or(KofM::new(1, 1))?;
            Some(Condition::Score { score, matching, above, windows })
        }
        (None, Some(sli)) => {
            let names: Vec<(&str, &str)> = SLIS.into_iter().chain(OWN_SLIS).map(|name| (name, name)).collect();
            let sli = sli.one_of(&names)?.to_owned();
            if let Some(objective) = section.optional("objective") {
                return budget(section, objective, sli, matching);
            }
            let below = section.required("below").and_then(|node| node.number(0.0..=1.0))?;
            let hour = Duration::from_secs(3600);
            let over = section.optional("over").and_then(|node| node.duration(Duration::from_secs(10)..=24 * hour));
            let min_events = section.optional("min_events").and_then(|node| node.integer(1..=1_000_000_000));
            let over = over.unwrap_or(Duration::from_secs(300));
            let few = section.optional("few").and_then(|node| few(&node, below, over));
            // One bad request among a few is no reason to wake anybody.
            Some(Condition::Sli { sli, matching, below, over, min_events: min_events.unwrap_or(100), few })
        }
        _ => {
            section.problem("needs either 'score' or 'sli', or is an expression");
            None
        }
    }
}

/// An expression, and in how many of its windows it has to hold.
fn expression_of_windows(
    node: &Node<'_>,
    mut section: Section<'_>,
    matching: Labels,
    has_more: bool,
) -> Option<Condition> {
    if has_more {
        section.problem("needs either an expression, a score or an indicator");
    }
    let windows = section.optional("windows");
    let k_of_m = windows.as_ref().and_then(|node| node.parsed("'k of m', as in 2 of 3", k_of_m));
    let condition = expression(node, matching, k_of_m.unwrap_or(KofM { k: 1, m: 1 }))?;
    if let (Some(node), false) = (windows, condition.is_of_windows()) {
        node.problem("is for what windows say, and this expression is looked at by the clock");
    }
    Some(condition)
}

/// What rules may look at: scores against the reference, those of segments, those beside earlier windows, and how scores
/// and indicators stand beside their own past.
fn score_names() -> Vec<String> {
    let beside = |against: Against| COMPARED.map(|detector| against.score_name(detector));
    let all = Detector::ALL.map(|detector| detector.name().to_owned()).into_iter();
    all.chain(SEGMENT_DETECTORS.into_iter().map(segment_score))
        .chain(Against::ALL.into_iter().flat_map(beside))
        .chain(OverTime::names())
        .collect()
}

fn k_of_m(text: &str) -> Option<KofM> {
    let (k, m) = text.split_once(" of ")?;
    KofM::new(k.trim().parse().ok()?, m.trim().parse().ok()?)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::Config;

    fn parse(text: &str) -> Result<Config, String> {
        Config::parse("d.yaml", text, Path::new("/")).map_err(|problems| problems.to_string())
    }

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
        let config = parse(
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
    fn indicators_flap_and_scores_do_not() {
        let of = |text: &str, name: &str| {
            let config = parse(text).unwrap();
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
                parse(&format!("alerts: {{rules: [{{name: A, severity: page, runbook: feature-drift, {rule}}}]}}"))?;
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

    #[test]
    fn reminders_are_the_same_for_all_rules_but_those_that_say_otherwise() {
        let config = parse(
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
            let error = parse(&format!("alerts: {{rules: [{rule}]}}")).unwrap_err();
            assert!(error.contains(says), "{error}");
        }
    }
}
