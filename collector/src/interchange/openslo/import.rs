//! From OpenSLO to rules.
//!
//! All documents are read first, with their places; then names are looked up. What our rules cannot say is a problem with its
//! line, and never left out in silence.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use driftline_alerts::{Objective, Pace};
use driftline_document::{Problem, Problems, read_each};

use super::super::quoting::quoted;
use super::indicators::Indicator;
use super::objectives::{SloObjective, camel_case, in_percent};
use super::reading::{Burn, Documents, Either, Slo};
use super::{GROUP_BY, MIN_EVENTS, PACES, RULE, RUNBOOK, TIMESLICES, Whom, pace_name, period_fields, rolling_name};
use crate::config::SLICES_SLI;

/// How far a threshold may be from one of ours, as a share of it: others round theirs.
const SAME_RATE: f64 = 0.01;

/// The rules of OpenSLO's documents, as a part of our configuration.
///
/// # Errors
/// Everything that is wrong with them, or that our rules cannot say.
pub(crate) fn import(file: &str, text: &str) -> Result<String, Problems> {
    let mut read = Documents::default();
    // What is wrong with the documents is said below, once.
    read_each(file, text, |top| read.take_source(top)).ok();
    read_each(file, text, |top| read.take(top))?;
    let mut problems = std::mem::take(&mut read.problems);
    let mut names = BTreeSet::new();
    let rules: Vec<String> = read.slos.iter().flat_map(|slo| read.rules(slo, &mut names, &mut problems)).collect();
    let models = read.models(&mut problems);
    if rules.is_empty() && problems.is_empty() {
        let what = "holds no SLO".to_owned();
        problems.push(Problem { line: 1, column: 1, field: "the file".to_owned(), what });
    }
    problems.sort();
    // What is wrong with a policy is wrong with it for each objective.
    problems.dedup();
    if problems.is_empty() {
        return Ok(format!("{models}alerts:\n  rules:\n{}", rules.concat()));
    }
    Err(Problems { file: file.to_owned(), problems })
}

impl Documents {
    /// The rules of an SLO: of each objective one for each pace that its policies have, or for both when it has none. `names` are
    /// those that rules have already.
    fn rules(&self, slo: &Slo, names: &mut BTreeSet<String>, problems: &mut Vec<Problem>) -> Vec<String> {
        let indicator = self.indicator_of(slo);
        if let (None, Some(Either::Named(name))) = (indicator, &slo.indicator) {
            problems.push(name.problem(format!("there is no SLI '{}'", name.value)));
        }
        let before = problems.len();
        check_slices(slo, indicator, problems);
        let mut named: Vec<(&SloObjective, String, Told)> = Vec::new();
        for objective in &slo.objectives {
            let paces = self.paces(slo, objective, problems);
            let has_both = paces.len() > 1;
            let name_of = |told: &Told| name(slo, objective, has_both.then_some(told.pace));
            named.extend(paces.into_iter().map(|told| (objective, name_of(&told), told)));
        }
        for (objective, name, _) in &named {
            if !names.insert(name.clone()) {
                let what = "give it a displayName, or its SLO a name, of its own";
                problems.push(objective.objective.problem(format!("would be another rule '{name}'; {what}")));
            }
        }
        if camel_case(&slo.name.value).is_empty() {
            problems.push(slo.name.problem("has no letter or digit that a rule could be called by".to_owned()));
        }
        let Some(indicator) = indicator.filter(|_| problems.len() == before) else { return Vec::new() };
        let rule =
            |(objective, name, told): &(&SloObjective, String, Told)| rule(name, slo, (objective, indicator), told);
        named.iter().map(rule).collect()
    }

    fn indicator_of<'a>(&'a self, slo: &'a Slo) -> Option<&'a Indicator> {
        match slo.indicator.as_ref()? {
            Either::Here(indicator) => Some(indicator),
            Either::Named(name) => self.slis.get(&name.value),
        }
    }

    /// The models whose requests are to be compared with something, as a part of our configuration.
    fn models(&self, problems: &mut Vec<Problem>) -> String {
        let mut bounds: BTreeMap<(&str, &str), Duration> = BTreeMap::new();
        let objectives = self.slos.iter().flat_map(|slo| slo.objectives.iter().map(move |objective| (slo, objective)));
        for (slo, objective) in objectives {
            let Some(indicator) = self.indicator_of(slo) else { continue };
            let (value, unit) = match (&objective.value, indicator.unit) {
                (Some(value), Some(unit)) => (value, unit),
                (Some(value), None) => {
                    problems.push(
                        value.problem("is for a thresholdMetric; a ratio's events are good or bad already".to_owned()),
                    );
                    continue;
                }
                (None, Some(_)) => {
                    let what = "needs 'op' and 'value', which its thresholdMetric is compared with";
                    problems.push(objective.objective.problem(what.to_owned()));
                    continue;
                }
                (None, None) => continue,
            };
            let Some(model) = indicator.matching.get("model") else {
                let what = "needs a model under 'matching': what requests are compared with is each model's own";
                problems.push(indicator.place.problem(what.to_owned()));
                continue;
            };
            let bound = whole_milliseconds(value.value, unit);
            match bound {
                None => {
                    problems.push(value.problem("is no whole number of milliseconds from 1 to 3,600,000".to_owned()))
                }
                Some(bound) if *bounds.entry((model, &*indicator.sli)).or_insert(bound) != bound => {
                    let what =
                        "is another than that of another objective, and a model has one: leave objectives of one value";
                    problems.push(value.problem(format!("{what} of {model}")));
                }
                Some(_) => {}
            }
        }
        let mut slis: BTreeMap<&str, Vec<String>> = BTreeMap::new();
        for ((model, sli), bound) in bounds {
            slis.entry(model).or_default().push(format!("{sli}: {{below: {}}}", rolling_name(bound)));
        }
        let model = |(model, slis): (&str, Vec<String>)| {
            format!("  - name: {}\n    slis: {{{}}}\n", quoted(model), slis.join(", "))
        };
        let models: String = slis.into_iter().map(model).collect();
        if models.is_empty() { models } else { format!("models:\n{models}") }
    }

    /// What is told of each pace of an objective.
    fn paces(&self, slo: &Slo, of: &SloObjective, problems: &mut Vec<Problem>) -> Vec<Told> {
        let objective = &of.objective.value;
        if slo.policies.is_empty() {
            let told = |pace, severity: &str| Told { pace, severity: severity.to_owned(), targets: None };
            let all = [told(Pace::Fast, "page"), told(Pace::Slow, "ticket")];
            let all: Vec<Told> = all.into_iter().filter(|told| !objective.pairs(told.pace).is_empty()).collect();
            if all.is_empty() {
                problems.push(of.objective.problem("can never burn as fast as any rule asks for".to_owned()));
            }
            return all;
        }
        let mut found: Vec<(Told, Vec<Duration>)> = Vec::new();
        for named in &slo.policies {
            let Some(policy) = self.policies.get(&named.value) else {
                problems.push(named.problem(format!("there is no AlertPolicy '{}'", named.value)));
                continue;
            };
            let Some(burn) = self.conditions.get(&policy.condition.value) else {
                let what = format!("there is no AlertCondition '{}'", policy.condition.value);
                problems.push(policy.condition.problem(what));
                continue;
            };
            let Some(pace) = burn.pace(objective) else {
                problems.push(burn.rate.problem(burn.why_none(objective)));
                continue;
            };
            let (severity, targets) = (burn.severity.clone(), self.own_targets(&policy.targets));
            let told = Told { pace, severity, targets };
            match found.iter_mut().find(|(other, _)| other.pace == pace) {
                None => found.push((told, vec![burn.window])),
                Some((other, windows)) if *other == told => windows.push(burn.window),
                Some(_) => problems.push(named.problem(
                    "tells others, or as something else, than the policy of the other window of this pace; a rule has both"
                        .to_owned(),
                )),
            }
        }
        for (told, windows) in &found {
            let missing = objective.pairs(told.pace).into_iter().find(|pair| !windows.contains(&pair.long));
            problems.extend(missing.map(|pair| {
                slo.name.problem(format!(
                    "has no policy with a burn rate of {} over {}, which a rule of this pace has besides",
                    pair.rate,
                    rolling_name(pair.long)
                ))
            }));
        }
        found.into_iter().map(|(told, _)| told).collect()
    }

    /// What the configuration calls the targets of a policy; nothing where one of them stands for all.
    fn own_targets(&self, named: &[String]) -> Option<Vec<String>> {
        let mut own = Vec::new();
        for name in named {
            match self.targets.get(name) {
                Some(Whom::All) => return None,
                Some(Whom::Nobody) => {}
                Some(Whom::One(target)) => own.push(target.clone()),
                None => own.push(name.clone()),
            }
        }
        Some(own)
    }
}

/// A bound of requests as ours are: whole milliseconds, up to an hour. A thousandth of one is a rounding of somebody's.
fn whole_milliseconds(value: f64, unit: Duration) -> Option<Duration> {
    let milliseconds = value * unit.as_secs_f64() * 1000.0;
    let whole = milliseconds.round();
    let is_one = (1.0..=3_600_000.0).contains(&whole) && (milliseconds - whole).abs() < 1e-3;
    is_one.then(|| Duration::from_millis(whole as u64))
}

/// Who is told of a pace, and as what.
#[derive(PartialEq)]
struct Told {
    pace: Pace,
    severity: String,
    /// Everybody without them.
    targets: Option<Vec<String>>,
}

impl Burn {
    /// The pace that has a pair of this window and rate.
    fn pace(&self, objective: &Objective) -> Option<Pace> {
        let is_this = |rate: f64| (self.rate.value - rate).abs() <= SAME_RATE * rate;
        let has =
            |pace: &Pace| objective.pairs(*pace).iter().any(|pair| pair.long == self.window && is_this(pair.rate));
        PACES.map(|(pace, _)| pace).into_iter().find(has)
    }

    fn why_none(&self, objective: &Objective) -> String {
        let pairs = PACES.into_iter().flat_map(|(pace, _)| objective.pairs(pace));
        let known: Vec<String> = pairs.map(|pair| format!("{} over {}", pair.rate, rolling_name(pair.long))).collect();
        format!(
            "no rule has a burn rate of {} over {}; of an objective of {}% there are {}",
            self.rate.value,
            rolling_name(self.window),
            in_percent(objective.target()),
            known.join(", ")
        )
    }
}

/// Slices of time are windows, and only of the indicator that counts those.
fn check_slices(slo: &Slo, indicator: Option<&Indicator>, problems: &mut Vec<Problem>) {
    match (&slo.timeslices, indicator) {
        (Some(method), Some(indicator)) if indicator.sli != SLICES_SLI => problems.push(method.problem(format!(
            "is for the indicator {SLICES_SLI}, whose events are windows; the events of {} are counted one by one: Occurrences",
            indicator.sli
        ))),
        _ => {}
    }
    for objective in &slo.objectives {
        match (&slo.timeslices, &objective.slice) {
            (Some(_), None) => {
                problems.push(
                    objective
                        .objective
                        .problem(format!("{TIMESLICES} need a timeSliceTarget of 1 and a timeSliceWindow")),
                );
            }
            (None, Some(slice)) => problems.push(slice.problem(format!("is for {TIMESLICES}"))),
            (Some(_), Some(_)) | (None, None) => {}
        }
    }
}

/// What a rule is called, of an objective that has one for each pace or one alone.
fn name(slo: &Slo, objective: &SloObjective, of_pace: Option<Pace>) -> String {
    let suffix = PACES.into_iter().find(|(pace, _)| Some(*pace) == of_pace).map_or("", |(_, suffix)| suffix);
    let own = slo.annotations.get(RULE).cloned().unwrap_or_else(|| camel_case(&slo.name.value));
    format!("{own}{}{suffix}", objective.name)
}

/// A rule as our configuration writes it.
fn rule(name: &str, slo: &Slo, (objective, indicator): (&SloObjective, &Indicator), told: &Told) -> String {
    let slice = objective.slice.as_ref().map_or_else(String::new, |slice| {
        format!("    # Of windows of {}: those of its models must be so long.\n", rolling_name(slice.value))
    });
    let objective = &objective.objective.value;
    let runbook = slo.annotations.get(RUNBOOK).map_or_else(|| runbook_of(&indicator.sli), String::as_str);
    let matching: Vec<String> =
        indicator.matching.iter().map(|(label, value)| format!("{}: {}", quoted(label), quoted(value))).collect();
    let matching = match matching.is_empty() {
        true => String::new(),
        false => format!(", matching: {{{}}}", matching.join(", ")),
    };
    let min_events = slo.annotations.get(MIN_EVENTS).map_or_else(String::new, |least| format!(", min_events: {least}"));
    let list = |names: &mut dyn Iterator<Item = &str>| names.map(quoted).collect::<Vec<_>>().join(", ");
    let group_by = slo.annotations.get(GROUP_BY).map_or("model", String::as_str);
    let group_by = list(&mut group_by.split(',').filter(|label| !label.is_empty()));
    let targets = told.targets.as_ref().map_or_else(String::new, |targets| {
        format!("      targets: [{}]\n", list(&mut targets.iter().map(String::as_str)))
    });
    [
        format!("{slice}    - name: {}\n      severity: {}\n", quoted(name), told.severity),
        format!("      runbook: {}\n", quoted(runbook)),
        format!("      when: {{sli: {}{matching}, objective: {}, ", indicator.sli, objective.target()),
        format!("{}, burns: {}{min_events}}}\n", period_fields(objective.period()), pace_name(told.pace)),
        format!("      group_by: [{group_by}]\n{targets}"),
    ]
    .concat()
}

/// The runbook that ships for an indicator.
fn runbook_of(sli: &str) -> &'static str {
    match sli {
        "latency" => "latency-budget",
        "first_message" => "first-message-slo",
        "availability" => "availability-budget",
        "freshness" => "stale-features",
        "schema" => "schema-change",
        "decoded" => "undecodable",
        "heard" => "model-silent",
        "sidecars" => "sidecar-silent",
        "running" => "collector-down",
        "feeds" | "feeds_listed" => "stale-feed",
        "outcomes" => "late-outcomes",
        "watermark" => "stale-watermark",
        "slices" => "feature-drift",
        "capture" => "capture-loss",
        _ => "archive-lag",
    }
}
