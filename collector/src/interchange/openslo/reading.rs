//! What OpenSLO's documents say, and where. What our rules cannot say is a problem here already, with its line.

use std::collections::BTreeMap;
use std::time::Duration;

use driftline_alerts::{CalendarUnit, Period};
use driftline_document::{Node, Problem, Section, parse_duration};
use jiff::civil::{DateTime, Time};
use jiff::tz::TimeZone;

use super::indicators::{DataSources, Indicator, indicator};
use super::objectives::{self, SloObjective};
use super::{ALL_OR_NONE, API_VERSION, MIN_EVENTS, TARGET, TARGETS, TIMESLICES, Whom, calendar_name};

/// Whether budgets are of slices of time. Of parts of them (`RatioTimeslices`) ours know nothing.
const METHODS: [(&str, bool); 2] = [("Occurrences", false), (TIMESLICES, true)];

/// What was read, and where it stands.
#[derive(Default)]
pub(super) struct Documents {
    /// Known before anything else is read, for indicators name them.
    pub(super) sources: DataSources,
    pub(super) slos: Vec<Slo>,
    pub(super) slis: BTreeMap<String, Indicator>,
    pub(super) policies: BTreeMap<String, Policy>,
    pub(super) conditions: BTreeMap<String, Burn>,
    /// Whom targets stand for that have a document.
    pub(super) targets: BTreeMap<String, Whom>,
    /// What was wrong with several of them.
    pub(super) problems: Vec<Problem>,
}

/// Keeps what has a name of its own.
fn keep<T>(known: &mut BTreeMap<String, T>, problems: &mut Vec<Problem>, name: Placed<String>, read: Option<T>) {
    if known.contains_key(&name.value) {
        problems.push(name.problem(format!("there is another '{}' of this kind", name.value)));
    }
    known.extend(read.map(|read| (name.value, read)));
}

/// A value, and the problem that it would be.
#[derive(Clone)]
pub(super) struct Placed<T> {
    pub(super) value: T,
    pub(super) place: Problem,
}

impl<T> Placed<T> {
    pub(super) fn of(node: &Node<'_>, value: T) -> Self {
        Self { value, place: node.as_problem("") }
    }

    pub(super) fn problem(&self, what: String) -> Problem {
        Problem { what, ..self.place.clone() }
    }
}

pub(super) struct Slo {
    pub(super) name: Placed<String>,
    pub(super) annotations: BTreeMap<String, String>,
    pub(super) indicator: Option<Either>,
    pub(super) objectives: Vec<SloObjective>,
    /// Where it says that its events are slices of time.
    pub(super) timeslices: Option<Placed<()>>,
    pub(super) policies: Vec<Placed<String>>,
}

/// An indicator that stands in its SLO, or the name of one.
pub(super) enum Either {
    Here(Indicator),
    Named(Placed<String>),
}

pub(super) struct Policy {
    pub(super) condition: Placed<String>,
    pub(super) targets: Vec<String>,
}

pub(super) struct Burn {
    pub(super) rate: Placed<f64>,
    pub(super) window: Duration,
    pub(super) severity: String,
}

impl Documents {
    /// Takes in the name and the type of a source, if the document is one.
    pub(super) fn take_source(&mut self, mut top: Section<'_>) {
        let is_source = top.optional("kind").and_then(|node| node.text()) == Some("DataSource");
        let name = top.optional("metadata").and_then(|node| node.section()?.optional("name")?.text());
        let kind = top.optional("spec").filter(|_| is_source).and_then(|node| node.section()?.optional("type")?.text());
        self.sources.extend(name.zip(kind).map(|(name, kind)| (name.to_owned(), kind.to_owned())));
    }

    /// Takes in one document.
    pub(super) fn take(&mut self, mut top: Section<'_>) {
        if let Some(version) = top.required("apiVersion") {
            version.one_of(&[(API_VERSION, ())]);
        }
        let kinds = ["SLO", "SLI", "AlertPolicy", "AlertCondition", "AlertNotificationTarget", "Service", "DataSource"];
        let kind = top.required("kind").and_then(|node| node.one_of(&kinds.map(|kind| (kind, kind))));
        let metadata = top.required("metadata").and_then(|node| metadata(&node));
        let (Some(kind), Some((name, annotations)), Some(spec)) = (kind, metadata, top.required("spec")) else {
            return;
        };
        // Targets, services and sources are the configuration's, by their names.
        if kind == "AlertNotificationTarget" {
            let said = annotations.get(TARGETS);
            let all_or_none = ALL_OR_NONE.into_iter().find(|(_, known, _)| said.is_some_and(|said| said == known));
            let one = || Whom::One(annotations.get(TARGET).unwrap_or(&name.value).clone());
            let whom = all_or_none.map_or_else(one, |(whom, ..)| whom);
            keep(&mut self.targets, &mut self.problems, name, Some(whom));
            return;
        }
        if !matches!(kind, "SLO" | "SLI" | "AlertPolicy" | "AlertCondition") {
            return;
        }
        let Some(mut spec) = spec.section() else { return };
        spec.optional("description");
        match kind {
            "SLO" => {
                let slo = self.slo(spec, name, annotations);
                self.slos.extend(slo);
            }
            "SLI" => keep(&mut self.slis, &mut self.problems, name, indicator(spec, &self.sources)),
            "AlertPolicy" => self.take_policy(spec, name),
            _ => keep(&mut self.conditions, &mut self.problems, name, condition(spec)),
        }
    }
}

/// An object's name and annotations.
fn metadata(node: &Node<'_>) -> Option<(Placed<String>, BTreeMap<String, String>)> {
    let mut section = node.section()?;
    let name = section.required("name").and_then(|node| Some(Placed::of(&node, node.text()?.to_owned())));
    ["displayName", "labels"].into_iter().for_each(|field| drop(section.optional(field)));
    let annotations = section.optional("annotations").and_then(|node| node.entries()).unwrap_or_default();
    let ours = annotations.into_iter().filter(|(name, _)| name.starts_with("driftline.dev/"));
    let ours = ours.filter_map(|(name, node)| Some((name.clone(), annotation(&name, &node)?))).collect();
    Some((name?, ours))
}

/// What an annotation of ours says. It may be empty: a rule that groups by nothing.
fn annotation(name: &str, node: &Node<'_>) -> Option<String> {
    let is_number = |text: &str| text.parse::<u64>().is_ok();
    let is_all_or_none = |text: &str| ALL_OR_NONE.iter().any(|(_, said, _)| *said == text);
    node.parsed("a text; of min-events a whole number, and of targets all or none", |text| {
        let is_right = (name != MIN_EVENTS || is_number(text)) && (name != TARGETS || is_all_or_none(text));
        is_right.then(|| text.to_owned())
    })
}

impl Documents {
    fn slo(
        &mut self,
        mut spec: Section<'_>,
        name: Placed<String>,
        annotations: BTreeMap<String, String>,
    ) -> Option<Slo> {
        spec.optional("service");
        let named = spec.optional("indicatorRef");
        let here = spec.optional("indicator");
        let indicator = match (named, here) {
            (Some(node), None) => Some(Either::Named(Placed::of(&node, node.text()?.to_owned()))),
            (None, Some(node)) => self.indicator_here(node.section()?).map(Either::Here),
            _ => {
                spec.problem("needs either 'indicator' or 'indicatorRef'");
                None
            }
        };
        let window = spec.required("timeWindow").and_then(|node| only(&node, "time window"));
        let period = window.and_then(|node| self::period(node.section()?));
        let method = spec.required("budgetingMethod");
        let timeslices = method.and_then(|node| node.one_of(&METHODS)?.then(|| Placed::of(&node, ())));
        let asked = spec.required("objectives").and_then(|node| objectives::asked(&node));
        let policies = spec.optional("alertPolicies").and_then(|node| node.list()).unwrap_or_default();
        let policies = policies.iter().filter_map(|node| self.policy_named(node)).collect();
        let objectives = objectives::over(&period?, asked?)?;
        Some(Slo { name, annotations, indicator, objectives, timeslices, policies })
    }

    fn indicator_here(&self, mut section: Section<'_>) -> Option<Indicator> {
        section.optional("metadata");
        indicator(section.required("spec")?.section()?, &self.sources)
    }

    /// The name of a policy of an SLO, which may stand there itself.
    fn policy_named(&mut self, node: &Node<'_>) -> Option<Placed<String>> {
        let here = match reference(node, "alertPolicyRef")? {
            Reference::Named(name) => return Some(name),
            Reference::Here(object) => object,
        };
        let (name, spec) = object_here(here, "AlertPolicy")?;
        self.take_policy(spec, name.clone());
        Some(name)
    }

    fn take_policy(&mut self, spec: Section<'_>, name: Placed<String>) {
        let read = self.policy(spec);
        keep(&mut self.policies, &mut self.problems, name, read);
    }

    fn policy(&mut self, mut spec: Section<'_>) -> Option<Policy> {
        let without_events = spec.optional("alertWhenNoData");
        if let Some(node) = without_events.filter(|node| node.boolean() == Some(true)) {
            node.problem("is not what ours do: without events an alert stays as it is");
        }
        ["alertWhenResolved", "alertWhenBreaching"].into_iter().for_each(|field| drop(spec.optional(field)));
        let condition = spec.required("conditions").and_then(|node| only(&node, "condition"));
        let condition = condition.and_then(|node| match reference(&node, "conditionRef")? {
            Reference::Named(name) => Some(name),
            Reference::Here(object) => {
                let (name, spec) = object_here(object, "AlertCondition")?;
                keep(&mut self.conditions, &mut self.problems, name.clone(), self::condition(spec));
                Some(name)
            }
        });
        let targets = spec.optional("notificationTargets").and_then(|node| node.list()).unwrap_or_default();
        let targets = targets.iter().filter_map(|node| match reference(node, "targetRef")? {
            Reference::Named(name) => Some(name.value),
            // How it is told is the configuration's, by its name.
            Reference::Here(object) => Some(object_here(object, "AlertNotificationTarget")?.0.value),
        });
        Some(Policy { targets: targets.collect(), condition: condition? })
    }
}

/// An object that another one needs.
enum Reference<'a> {
    Named(Placed<String>),
    Here(Section<'a>),
}

/// The name of an object under `field`, or the object itself.
fn reference<'a>(node: &Node<'a>, field: &'static str) -> Option<Reference<'a>> {
    // A name alone is what the first documents had.
    if !node.is_section() {
        return Some(Reference::Named(Placed::of(node, node.text()?.to_owned())));
    }
    let mut section = node.section()?;
    match section.optional(field) {
        Some(named) => Some(Reference::Named(Placed::of(&named, named.text()?.to_owned()))),
        None => Some(Reference::Here(section)),
    }
}

/// The name and the contents of an object that stands in another one.
fn object_here<'a>(mut object: Section<'a>, kind: &str) -> Option<(Placed<String>, Section<'a>)> {
    if let Some(version) = object.optional("apiVersion") {
        version.one_of(&[(API_VERSION, ())]);
    }
    if let Some(node) = object.optional("kind") {
        node.one_of(&[(kind, ())]);
    }
    let name = object.required("metadata").and_then(|node| metadata(&node));
    let mut spec = object.required("spec")?.section()?;
    spec.optional("description");
    spec.optional("target");
    Some((name?.0, spec))
}

/// The only value of a list.
fn only<'a>(node: &Node<'a>, what: &str) -> Option<Node<'a>> {
    let mut values = node.list()?;
    if values.len() != 1 {
        node.problem(format!("has {} entries; a rule has one {what}", values.len()));
        return None;
    }
    values.pop()
}

fn period(mut section: Section<'_>) -> Option<Period> {
    let duration = section.required("duration");
    let is_rolling = section.optional("isRolling");
    let calendar = section.optional("calendar");
    let duration = duration?;
    let is_rolling = match is_rolling {
        Some(node) => node.boolean()?,
        // One of the calendar need not say that it does not.
        None if calendar.is_some() => false,
        None => {
            section.problem("needs 'isRolling', or a 'calendar'");
            return None;
        }
    };
    if is_rolling {
        if let Some(calendar) = &calendar {
            calendar.problem("is for windows that do not roll");
        }
        let weeks =
            |text: &str| Some(Duration::from_secs(text.strip_suffix('w')?.parse::<u64>().ok()?.checked_mul(604_800)?));
        let length =
            |text: &str| weeks(text).or_else(|| parse_duration(text)).filter(|length| Period::ROLLING.contains(length));
        return duration.parsed("7d to 90d, or 1w to 12w", length).map(Period::Rolling);
    }
    let unit = duration.parsed("1w, 1M or 1Q, for a window of the calendar", |text| {
        CalendarUnit::ALL.into_iter().find(|unit| calendar_name(*unit) == text)
    })?;
    let Some(calendar) = calendar else {
        section.problem("needs 'calendar' where it does not roll");
        return None;
    };
    let mut calendar = calendar.section()?;
    let zone = calendar.required("timeZone").and_then(|node| {
        node.parsed("the IANA name of a time zone, as in Europe/Berlin", |name| TimeZone::get(name).ok())
    });
    if let Some(node) = calendar.required("startTime") {
        let begins = node.parsed("a time, as in 2024-01-01 00:00:00", |text| text.parse::<DateTime>().ok());
        let is_first = |begins: &DateTime| {
            begins.time() == Time::midnight() && unit.first_day(begins.date()) == Some(begins.date())
        };
        if begins.is_some_and(|begins| !is_first(&begins)) {
            node.problem(format!(
                "is no beginning of a {}: ours begin at midnight, on Monday or on the first",
                unit.name()
            ));
        }
    }
    Some(Period::Calendar { unit, zone: zone? })
}

fn condition(mut spec: Section<'_>) -> Option<Burn> {
    let severities = driftline_alerts::Severity::ALL.map(|severity| (severity.name(), severity.name()));
    let severity = spec.required("severity").and_then(|node| node.one_of(&severities));
    let mut condition = spec.required("condition")?.section()?;
    let kind = condition.optional("kind").map_or(Some(()), |node| node.one_of(&[("burnrate", ())]));
    if let Some(node) = condition.required("op") {
        node.parsed("gte: a rule fires at its burn rate and above", |op| (op == "gte").then_some(()));
    }
    let rate = condition.required("threshold").and_then(|node| Some(Placed::of(&node, node.number(0.0..=1e6)?)));
    let window = condition
        .required("lookbackWindow")
        .and_then(|node| node.duration(Duration::from_secs(60)..=Duration::from_secs(90 * 86_400)));
    if let Some(node) = condition.optional("alertAfter") {
        node.duration(Duration::ZERO..=Duration::ZERO);
    }
    kind?;
    Some(Burn { rate: rate?, window: window?, severity: severity?.to_owned() })
}
