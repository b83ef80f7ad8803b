//! Who is told of an alert: routes, which are tried one after the other.
//!
//! ```text
//!   labels ─▶ route 1: severity=page ─▶ oncall          (continue: the next ones are tried, too)
//!          ─▶ route 2: severity=page, during night ─▶ phone
//!          ─▶ route 3: severity=ticket, wait_for office ─▶ team      told when the office opens
//!          ─▶ route 4: everything else ─▶ mailbox
//! ```
//!
//! Which way an episode goes is decided when it is told, once: targets that wait are kept with it. How urgent it is, which routes
//! may change, is decided when it begins, and stays: whoever was told of a ticket is told of a ticket's end.

use std::collections::{BTreeMap, BTreeSet};

use crate::muting::Mute;
use crate::rule::{Labels, Rule, Severity};
use crate::schedule::Schedule;
use crate::selector::Selector;
use crate::state::{Alert, Micros};

/// Routes that rules without targets of their own go by.
#[derive(Debug, Clone, Default)]
pub struct Routes {
    /// In the order in which they are tried.
    pub routes: Vec<Route>,
    /// What routes go by, by name.
    pub schedules: BTreeMap<String, Schedule>,
    /// Names of the rules that go by routes; all others tell their own targets.
    pub routed: BTreeSet<String>,
}

/// A route.
#[derive(Debug, Clone)]
pub struct Route {
    /// What labels must be; all of it. Nothing for every alert.
    pub matching: Vec<Selector>,
    /// The schedule without which it is not there, and the next routes are tried.
    pub during: Option<String>,
    /// The schedule that its targets wait for, if it is not on.
    pub wait_for: Option<String>,
    /// How urgent whatever goes this way is, for the routes after this one, too; as urgent as before without it.
    pub severity: Option<Severity>,
    /// Who is told; nobody only where the next routes are tried, too.
    pub targets: Vec<String>,
    /// Whether the next routes are tried, too.
    pub goes_on: bool,
}

/// Who is told of an alert at one time.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Routed {
    /// At once.
    pub now: Vec<String>,
    /// Later: targets, and the schedules that they wait for.
    pub later: BTreeMap<String, String>,
    /// All targets that are told by a schedule only, now or later, and which it is.
    pub scheduled: BTreeMap<String, String>,
    /// How urgent the routes make it; none where they leave it as it is.
    pub severity: Option<Severity>,
    /// The places of the routes that it goes by, from 0.
    pub by: Vec<usize>,
}

impl Routed {
    /// What keeps an alert from being told when everybody waits.
    pub fn mutes(&self) -> Vec<Mute> {
        if !self.now.is_empty() {
            return Vec::new();
        }
        let schedules: BTreeSet<&String> = self.later.values().collect();
        schedules.into_iter().map(|schedule| Mute::Schedule(schedule.clone())).collect()
    }
}

impl Routes {
    /// Routes that there may be: each is held against every alert that is to be told.
    pub const MAX: usize = 200;
    /// Of one route.
    pub const MAX_SELECTORS: usize = 20;

    /// Who is told of an alert of a rule with these labels, and those that the rule adds.
    pub fn of(&self, rule: &Rule, labels: &Labels, now: Micros) -> Routed {
        if !self.routed.contains(&rule.name) {
            return Routed { now: rule.targets.clone(), ..Routed::default() };
        }
        self.along(&rule.name, rule.severity, &rule.wording.labels_of(labels), now)
    }

    /// How urgent an alert of a rule is that begins now.
    pub fn severity_of(&self, rule: &Rule, labels: &Labels, now: Micros) -> Severity {
        self.of(rule, labels, now).severity.unwrap_or(rule.severity)
    }

    /// How urgent alerts of a rule may be when they begin: one, where that is certain of all of them. `own` are the names of the
    /// labels that alerts have of themselves; all others are the rule's, or not there.
    pub fn severities(&self, rule: &Rule, own: &[&str]) -> BTreeSet<Severity> {
        // As what alerts may come to the next route, and as what they may have gone their way.
        let (mut coming, mut gone) = (BTreeSet::from([rule.severity]), BTreeSet::new());
        for route in self.routes.iter().filter(|_| self.routed.contains(&rule.name)) {
            let mut passing = BTreeSet::new();
            for severity in coming {
                let takes = route.takes(rule, severity, own);
                if takes != Some(true) {
                    passing.insert(severity);
                }
                if takes != Some(false) {
                    let way = if route.goes_on { &mut passing } else { &mut gone };
                    way.insert(route.severity.unwrap_or(severity));
                }
            }
            coming = passing;
        }
        gone.extend(coming);
        gone
    }

    /// Who is told of an alert that goes by routes, of a rule of this name.
    pub fn along(&self, rule: &str, severity: Severity, labels: &Labels, now: Micros) -> Routed {
        let mut routed = Routed::default();
        for (place, route) in self.routes.iter().enumerate() {
            let severity = routed.severity.unwrap_or(severity);
            let is_there = route.during.as_ref().is_none_or(|schedule| self.is_on(schedule, now));
            let accepts = |selector: &Selector| selector.accepts(value((rule, severity), labels, selector.label()));
            if !is_there || !route.matching.iter().all(accepts) {
                continue;
            }
            routed.by.push(place);
            routed.severity = route.severity.or(routed.severity);
            for target in &route.targets {
                match &route.wait_for {
                    None => routed.now.push(target.clone()),
                    Some(schedule) => {
                        routed.scheduled.entry(target.clone()).or_insert_with(|| schedule.clone());
                    }
                }
            }
            if !route.goes_on {
                break;
            }
        }
        // Who is told at any time waits for nothing.
        routed.scheduled.retain(|target, _| !routed.now.contains(target));
        let (on, off) = routed.scheduled.iter().partition::<Vec<_>, _>(|(_, schedule)| self.is_on(schedule, now));
        routed.later = off.into_iter().map(|(target, schedule)| (target.clone(), schedule.clone())).collect();
        routed.now.extend(on.into_iter().map(|(target, _)| target.clone()));
        routed.now.sort();
        routed.now.dedup();
        routed
    }

    /// Who is still to be told of an alert that fires, and the schedules that they wait for.
    pub fn waiting(&self, rule: &Rule, alert: &Alert, now: Micros) -> BTreeMap<String, String> {
        match alert.open().map(|open| &open.told) {
            None => BTreeMap::new(),
            Some(told) if told.first.is_none() => self.of(rule, &alert.common_labels(), now).later,
            Some(told) => {
                let waits = |(target, _): &(&String, &String)| told.waiting.contains(*target);
                let waiting = told.by_schedule.iter().filter(waits);
                waiting.map(|(target, schedule)| (target.clone(), schedule.clone())).collect()
            }
        }
    }

    /// Whether a schedule is on. One that is not there any more keeps nobody waiting.
    pub fn is_on(&self, schedule: &str, now: Micros) -> bool {
        self.schedules.get(schedule).is_none_or(|schedule| schedule.is_on(now))
    }

    /// Whether each alert of a rule reaches somebody, whatever its labels and the time: there is a route that asks only for what
    /// is known of all of them.
    pub fn always_reach(&self, rule: &Rule) -> bool {
        let matching = rule.condition.matching();
        let is_known = |label: &str| matches!(label, "rule" | "severity") || matching.contains_key(label);
        // Every one that it may have by the time that a route is tried.
        let mut severities = BTreeSet::from([rule.severity]);
        let mut holds = |route: &Route| {
            let always = |selector: &Selector| {
                let accepts =
                    |severity: &Severity| selector.accepts(value((&rule.name, *severity), matching, selector.label()));
                is_known(selector.label()) && severities.iter().all(accepts)
            };
            let is_always = route.during.is_none() && route.matching.iter().all(always);
            severities.extend(route.severity);
            is_always && !route.targets.is_empty()
        };
        !self.routed.contains(&rule.name) || self.routes.iter().any(&mut holds)
    }
}

impl Route {
    /// Whether it takes the alerts of a rule that come to it as urgent as this; none where that differs from one to the next, by
    /// the hour or by the labels that they have of themselves.
    fn takes(&self, rule: &Rule, severity: Severity, own: &[&str]) -> Option<bool> {
        let matching = rule.condition.matching();
        let labels = rule.wording.labels_of(matching);
        let is_known = |label: &str| matching.contains_key(label) || !own.contains(&label);
        let (known, unknown): (Vec<_>, Vec<_>) = self.matching.iter().partition(|selector| is_known(selector.label()));
        let accepts = |selector: &&Selector| selector.accepts(value((&rule.name, severity), &labels, selector.label()));
        if !known.iter().all(accepts) {
            return Some(false);
        }
        (unknown.is_empty() && self.during.is_none()).then_some(true)
    }
}

/// A label's value; empty when there is none.
fn value<'a>((rule, severity): (&'a str, Severity), labels: &'a Labels, label: &str) -> &'a str {
    match label {
        "rule" => rule,
        "severity" => severity.name(),
        label => labels.get(label).map_or("", String::as_str),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::rule::Wording;
    use crate::schedule::tests::{micros, office};
    use crate::state::tests::{fired, rule};

    /// A Monday morning in the office, and the night before.
    const OPEN: &str = "2026-11-30T09:00:00Z";
    const CLOSED: &str = "2026-11-30T02:00:00Z";

    pub(crate) fn route(matching: &[&str], targets: &[&str]) -> Route {
        let matching = matching.iter().map(|text| Selector::parse(text).unwrap()).collect();
        let targets = targets.iter().map(|name| (*name).to_owned()).collect();
        Route { matching, during: None, wait_for: None, severity: None, targets, goes_on: false }
    }

    pub(crate) fn routes(routes: Vec<Route>) -> Routes {
        let schedules = BTreeMap::from([("office".to_owned(), office())]);
        Routes { routes, schedules, routed: BTreeSet::from([rule(1, 1).name]) }
    }

    fn office_hours() -> Option<String> {
        Some("office".to_owned())
    }

    fn told(routes: &Routes, severity: Severity, team: &str, at: &str) -> (Vec<String>, Vec<String>) {
        let labels = [("team".to_owned(), team.to_owned())].into();
        let routed = routes.of(&Rule { severity, ..rule(1, 1) }, &labels, micros(at));
        (routed.now, routed.later.into_keys().collect())
    }

    #[test]
    fn the_first_route_that_matches_is_taken_and_more_where_it_says_so() {
        let routes = routes(vec![
            Route { goes_on: true, ..route(&["severity=page"], &["pager"]) },
            route(&["team=fraud"], &["fraud", "pager"]),
            route(&[], &["mailbox"]),
        ]);
        let to = |severity, team| told(&routes, severity, team, OPEN).0;
        assert_eq!(to(Severity::Page, "fraud"), ["fraud", "pager"], "each once");
        assert_eq!(to(Severity::Page, "ads"), ["mailbox", "pager"]);
        assert_eq!(
            (to(Severity::Ticket, "fraud"), to(Severity::Info, "")),
            (vec!["fraud".into(), "pager".into()], vec!["mailbox".into()])
        );
        let wording = Wording { labels: [("team".to_owned(), "fraud".to_owned())].into(), ..Wording::default() };
        let fraud = routes.of(&Rule { wording, ..rule(1, 1) }, &Labels::new(), micros(OPEN));
        assert_eq!(fraud.now, ["fraud", "pager"], "by a label of the rule's own");
        assert_eq!(
            told(&Routes { routed: BTreeSet::new(), ..routes }, Severity::Page, "", OPEN),
            (vec![], vec![]),
            "its own"
        );
    }

    #[test]
    fn a_ticket_waits_for_the_office_and_a_page_does_not_unless_it_is_told_to() {
        let routes = routes(vec![
            Route { during: office_hours(), ..route(&["severity=page"], &["desk"]) },
            route(&["severity=page"], &["phone"]),
            Route { wait_for: office_hours(), ..route(&[], &["team"]) },
        ]);
        let to = |severity, at| told(&routes, severity, "", at);
        assert_eq!(to(Severity::Page, OPEN), (vec!["desk".into()], vec![]));
        assert_eq!(to(Severity::Page, CLOSED), (vec!["phone".into()], vec![]));
        assert_eq!(to(Severity::Ticket, OPEN), (vec!["team".into()], vec![]));
        assert_eq!(to(Severity::Ticket, CLOSED), (vec![], vec!["team".into()]));
        let waits = routes.of(&rule(1, 1), &Labels::new(), micros(CLOSED));
        assert_eq!(waits.mutes(), [Mute::Schedule("office".into())]);
    }

    /// What is of staging is a ticket, whatever the rule says; what is left to its labels is told.
    fn staging_is_a_ticket() -> Vec<Route> {
        let changes =
            Route { severity: Some(Severity::Ticket), goes_on: true, ..route(&["team=staging", "severity=page"], &[]) };
        vec![changes, route(&["severity=page"], &["pager"]), route(&[], &["mailbox"])]
    }

    #[test]
    fn a_route_changes_how_urgent_an_alert_is_for_the_routes_after_it() {
        let routes = routes(staging_is_a_ticket());
        let page = Rule { severity: Severity::Page, ..rule(1, 1) };
        let of = |team: &str| routes.of(&page, &[("team".to_owned(), team.to_owned())].into(), micros(OPEN));
        assert_eq!((of("staging").now, of("staging").severity), (vec!["mailbox".to_owned()], Some(Severity::Ticket)));
        assert_eq!(of("staging").by, [0, 2]);
        assert_eq!((of("fraud").now, of("fraud").severity), (vec!["pager".to_owned()], None));
        let severity = |rule: &Rule, team: &str| {
            routes.severity_of(rule, &[("team".to_owned(), team.to_owned())].into(), micros(OPEN))
        };
        assert_eq!((severity(&page, "staging"), severity(&page, "fraud")), (Severity::Ticket, Severity::Page));
        let info = Rule { severity: Severity::Info, ..rule(1, 1) };
        assert_eq!(severity(&info, "staging"), Severity::Info, "the route asks for pages");
        let own = Routes { routed: BTreeSet::new(), ..routes };
        assert_eq!(own.of(&page, &Labels::from([("team".to_owned(), "staging".to_owned())]), 0).severity, None);
    }

    #[test]
    fn the_last_route_that_says_how_urgent_it_is_is_right() {
        let to = |severity| Route { severity: Some(severity), goes_on: true, ..route(&[], &["a"]) };
        let routes =
            routes(vec![to(Severity::Page), to(Severity::Info), Route { goes_on: true, ..route(&[], &["b"]) }]);
        assert_eq!(routes.of(&rule(1, 1), &Labels::new(), 0).severity, Some(Severity::Info));
    }

    #[test]
    fn how_urgent_alerts_are_is_certain_where_routes_ask_only_for_what_their_rule_says() {
        let page = |team: &str| {
            let wording = Wording { labels: [("team".to_owned(), team.to_owned())].into(), ..Wording::default() };
            Rule { severity: Severity::Page, wording, ..rule(1, 1) }
        };
        let by_team = routes(staging_is_a_ticket());
        assert_eq!(by_team.severities(&page("staging"), &["column"]), BTreeSet::from([Severity::Ticket]));
        assert_eq!(by_team.severities(&page("fraud"), &["column"]), BTreeSet::from([Severity::Page]));
        let either = BTreeSet::from([Severity::Ticket, Severity::Page]);
        assert_eq!(
            by_team.severities(&page("staging"), &["team"]),
            either,
            "an alert's own label goes before the rule's"
        );
        let by_hour = routes(vec![Route { during: office_hours(), ..staging_is_a_ticket().remove(0) }]);
        assert_eq!(by_hour.severities(&page("staging"), &[]), either);
        let own = Routes { routed: BTreeSet::new(), ..by_team };
        assert_eq!(own.severities(&page("staging"), &[]), BTreeSet::from([Severity::Page]), "it goes by no route");
    }

    #[test]
    fn who_waits_is_known_before_and_after_the_first_were_told() {
        let waits = Route { wait_for: office_hours(), ..route(&[], &["team"]) };
        let team = BTreeMap::from([("team".to_owned(), "office".to_owned())]);
        let mut alert = fired(&rule(1, 1), &["temp"]);
        let all_wait = routes(vec![waits.clone()]);
        assert_eq!(all_wait.waiting(&rule(1, 1), &alert, micros(CLOSED)), team);
        assert!(all_wait.waiting(&rule(1, 1), &alert, micros(OPEN)).is_empty());
        let some_wait = routes(vec![Route { goes_on: true, ..route(&["severity=ticket"], &["phone"]) }, waits]);
        let labels = alert.common_labels();
        assert_eq!(labels["column"], "temp", "what all its members share");
        let mut say = |at| alert.open_mut().unwrap().say((&rule(1, 1), &labels), &some_wait, false, false, micros(at));
        assert_eq!(say(CLOSED).len(), 1);
        assert_eq!(some_wait.waiting(&rule(1, 1), &alert, micros(CLOSED)), team);
        let mut say = |at| alert.open_mut().unwrap().say((&rule(1, 1), &labels), &some_wait, false, false, micros(at));
        assert_eq!(say(OPEN).len(), 1);
        assert!(some_wait.waiting(&rule(1, 1), &alert, micros(CLOSED)).is_empty());
    }

    #[test]
    fn what_surely_reaches_somebody_asks_only_for_what_is_known() {
        let reaches = |list: Vec<Route>| routes(list).always_reach(&rule(1, 1));
        assert!(reaches(vec![route(&["team=fraud"], &["a"]), route(&[], &["b"])]));
        assert!(reaches(vec![route(&["severity!=page", "rule=~Feature.*"], &["a"])]));
        assert!(!reaches(vec![route(&["severity=page"], &["a"])]), "it is a ticket");
        assert!(
            !reaches(vec![route(&["team=fraud"], &["a"]), route(&["team!=fraud"], &["b"])]),
            "not by a look at each alone"
        );
        assert!(!reaches(vec![Route { during: office_hours(), ..route(&[], &["a"]) }]));
        assert!(reaches(vec![Route { wait_for: office_hours(), ..route(&[], &["a"]) }]));
        assert!(!reaches(vec![]));
        let severity = Some(Severity::Page);
        let sometimes = Route { severity, goes_on: true, ..route(&["team=fraud"], &[]) };
        assert!(!reaches(vec![sometimes.clone(), route(&["severity=ticket"], &["a"])]), "it may be a page by then");
        assert!(reaches(vec![sometimes.clone(), route(&["severity!=info"], &["a"])]));
        assert!(!reaches(vec![Route { goes_on: true, ..route(&[], &[]) }]), "nobody is told by it");
    }

    fn any_route() -> impl Strategy<Value = Route> {
        let selector = prop::sample::select(vec!["severity=page", "severity!=page", "team=~f.*", "team!~f.*", "team="]);
        let schedule = || prop::option::of(Just("office".to_owned()));
        let targets = prop::collection::vec(prop::sample::select(vec!["a", "b", "c", "d"]), 1..3);
        let severity = prop::option::of(prop::sample::select(Severity::ALL.to_vec()));
        (prop::collection::vec(selector, 0..3), schedule(), schedule(), severity, targets, any::<bool>()).prop_map(
            |(matching, during, wait_for, severity, targets, goes_on)| Route {
                during,
                wait_for,
                severity,
                goes_on,
                ..route(&matching, &targets)
            },
        )
    }

    proptest! {
        /// Whoever is reached is on a route that matches, each once, and where a last route takes everything somebody is.
        #[test]
        fn an_alert_reaches_somebody_the_same_way_each_time(
            mut list in prop::collection::vec(any_route(), 0..6),
            team in prop::sample::select(vec!["", "fraud", "ads"]),
            minutes in 0_i64..7 * 1440,
        ) {
            list.push(route(&[], &["last"]));
            let routes = routes(list);
            let labels: Labels = [("team".to_owned(), team.to_owned())].into();
            let at = micros("2026-10-23T00:00:00Z") + minutes * 60_000_000;
            let routed = routes.of(&rule(1, 1), &labels, at);
            prop_assert_eq!(&routed, &routes.of(&rule(1, 1), &labels, at));
            let mut all: Vec<&String> = routed.now.iter().chain(routed.later.keys()).collect();
            prop_assert!(!all.is_empty());
            let before = all.len();
            all.sort();
            all.dedup();
            prop_assert_eq!(all.len(), before, "each once");
            let on_the_way = |target: &&String| routed.by.iter().any(|place| routes.routes[*place].targets.contains(target));
            prop_assert!(all.iter().all(on_the_way));
            let mut changes = routed.by.iter().filter_map(|place| routes.routes[*place].severity);
            prop_assert_eq!(routed.severity, changes.next_back());
            prop_assert!(routed.later.is_empty() || !office().is_on(at), "nobody waits for what is on");
            let (last, others) = routed.by.split_last().unwrap();
            prop_assert!(others.iter().all(|place| routes.routes[*place].goes_on));
            prop_assert!(!routes.routes[*last].goes_on);
            let began = routes.severity_of(&rule(1, 1), &labels, at);
            prop_assert!(routes.severities(&rule(1, 1), &["team"]).contains(&began));
            let wording = Wording { labels, ..Wording::default() };
            let of_team = routes.severities(&Rule { wording, ..rule(1, 1) }, &[]);
            prop_assert!(of_team.contains(&began));
            let has_hours = routes.routes.iter().any(|route| route.during.is_some());
            prop_assert!(has_hours || of_team.len() == 1, "nothing is left open: {:?}", of_team);
        }
    }
}
