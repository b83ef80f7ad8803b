//! Who is told of an alert that fires, and when: at once or when it is not muted any more, again after a time, and others
//! when nobody says that they are on it.
//!
//! ```text
//!            muted or held: nothing             every `repeat`: a reminder
//!   fired ─────────────────────────▶ told ───┬──────────────────────────▶ …
//!                                            └─ `after` each step: others are told, too
//!   acknowledged: nothing any more;  resolved: everybody who was told hears of it, whatever was said since
//! ```
//!
//! The end is not decided here: it goes to whoever was told of the beginning, and nothing keeps it.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::muting::Mute;
use crate::routing::{Routed, Routes};
use crate::rule::{Labels, Rule};
use crate::state::{Micros, Open};

/// What was said of an episode.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Told {
    /// When the rule's targets were told; none as long as they were not.
    pub first: Option<Micros>,
    /// When they were told or reminded last.
    pub last: Option<Micros>,
    /// How many of the rule's steps were taken.
    pub steps: usize,
    /// Targets that are not told yet, because their schedule was not on.
    pub waiting: BTreeSet<String>,
    /// All targets that are told by a schedule only, and which it is: neither of the beginning nor of anything but the end are
    /// they told outside of it.
    pub by_schedule: BTreeMap<String, String>,
    /// By what it is muted; by nothing when it is not.
    pub muted_by: Vec<Mute>,
}

/// Something that is to be said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Saying {
    /// That it fires, to these, who may not have heard of it.
    Trigger(Vec<String>),
    /// That it fires still, to everybody who was told.
    Remind,
}

impl Told {
    /// Targets that are told by a schedule that is not on.
    pub fn off_duty(&self, routes: &Routes, now: Micros) -> Vec<String> {
        let off = self.by_schedule.iter().filter(|(_, schedule)| !routes.is_on(schedule, now));
        off.map(|(target, _)| target.clone()).collect()
    }

    /// Tells the first: none of them, as long as all wait.
    fn begin(&mut self, routed: Routed, now: Micros) -> Vec<Saying> {
        if routed.now.is_empty() && !routed.later.is_empty() {
            return Vec::new();
        }
        (self.first, self.last) = (Some(now), Some(now));
        self.waiting = routed.later.keys().cloned().collect();
        self.by_schedule = routed.scheduled;
        vec![Saying::Trigger(routed.now)]
    }

    /// Those of the targets that wait whose schedule is on.
    fn take_due(&mut self, routes: &Routes, now: Micros) -> Option<Saying> {
        let off = self.off_duty(routes, now);
        let due: Vec<String> = self.waiting.iter().filter(|target| !off.contains(target)).cloned().collect();
        self.waiting.retain(|target| off.contains(target));
        (!due.is_empty()).then_some(Saying::Trigger(due))
    }
}

impl Open {
    /// What is to be said by now of the episode, whose alert has these labels, and notes that it was. `is_held`: a cause may be
    /// seen yet.
    pub fn say(
        &mut self,
        (rule, labels): (&Rule, &Labels),
        routes: &Routes,
        is_held: bool,
        is_acknowledged: bool,
        now: Micros,
    ) -> Vec<Saying> {
        let told = &mut self.told;
        if is_acknowledged || !told.muted_by.is_empty() {
            return Vec::new();
        }
        let Some(first) = told.first else {
            return if is_held { Vec::new() } else { told.begin(routes.of(rule, labels, now), now) };
        };
        let mut sayings: Vec<Saying> = told.take_due(routes, now).into_iter().collect();
        while let Some(step) = rule.escalate.get(told.steps)
            && now.saturating_sub(first) >= step.after.as_micros() as Micros
        {
            told.steps += 1;
            sayings.push(Saying::Trigger(step.to.clone()));
        }
        if let Some(repeat) = rule.repeat
            && now.saturating_sub(told.last.unwrap_or(first)) >= repeat.as_micros() as Micros
        {
            told.last = Some(now);
            sayings.push(Saying::Remind);
        }
        sayings
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;
    use crate::routing::Route;
    use crate::routing::tests::{route, routes};
    use crate::rule::Step;
    use crate::schedule::tests::{micros, office};
    use crate::state::tests::rule;

    const MINUTE: Micros = 60_000_000;

    fn told() -> Saying {
        Saying::Trigger(vec!["oncall".into()])
    }

    fn followed() -> Rule {
        let step = |minutes: u64, to: &str| Step { after: Duration::from_secs(60 * minutes), to: vec![to.into()] };
        Rule {
            targets: vec!["oncall".into()],
            repeat: Some(Duration::from_secs(3600)),
            escalate: vec![step(15, "lead"), step(30, "manager")],
            ..rule(1, 1)
        }
    }

    fn open() -> Open {
        Open::new(0, "e".into())
    }

    fn say(open: &mut Open, rule: &Rule, is_acknowledged: bool, now: Micros) -> Vec<Saying> {
        open.say((rule, &Labels::new()), &Routes::default(), false, is_acknowledged, now)
    }

    /// What is said in each minute in which something is.
    fn minutes(open: &mut Open, rule: &Rule, minutes: std::ops::Range<i64>) -> Vec<(i64, Vec<Saying>)> {
        let said = minutes.map(|minute| (minute, say(open, rule, false, minute * MINUTE)));
        said.filter(|(_, sayings)| !sayings.is_empty()).collect()
    }

    #[test]
    fn it_is_told_at_once_escalated_in_steps_and_repeated() {
        let said = minutes(&mut open(), &followed(), 0..121);
        let to = |name: &str| Saying::Trigger(vec![name.into()]);
        let expected =
            [(0, told()), (15, to("lead")), (30, to("manager")), (60, Saying::Remind), (120, Saying::Remind)];
        assert_eq!(said, expected.map(|(minute, saying)| (minute, vec![saying])));
    }

    #[test]
    fn who_is_on_it_is_left_alone_and_nobody_else_is_called() {
        let (rule, mut open) = (followed(), open());
        assert_eq!(minutes(&mut open, &rule, 0..10).len(), 1);
        assert!((10..500).all(|minute| say(&mut open, &rule, true, minute * MINUTE).is_empty()));
    }

    #[test]
    fn what_is_muted_or_held_is_told_once_when_it_no_longer_is() {
        let (rule, mut open) = (followed(), open());
        open.told.muted_by = vec![Mute::Silence("s".into())];
        assert_eq!(minutes(&mut open, &rule, 0..100), []);
        open.told.muted_by.clear();
        assert!(open.say((&rule, &Labels::new()), &Routes::default(), true, false, 100 * MINUTE).is_empty(), "held");
        assert_eq!(minutes(&mut open, &rule, 101..115), [(101, vec![told()])]);
    }

    #[test]
    fn a_silence_after_it_was_told_puts_off_what_comes_next() {
        let (rule, mut open) = (followed(), open());
        assert_eq!(minutes(&mut open, &rule, 0..10).len(), 1);
        open.told.muted_by = vec![Mute::Silence("s".into())];
        assert_eq!(minutes(&mut open, &rule, 10..100), []);
        open.told.muted_by.clear();
        let steps = ["lead", "manager"].map(|name| Saying::Trigger(vec![name.into()]));
        let all: Vec<Saying> = steps.into_iter().chain([Saying::Remind]).collect();
        assert_eq!(minutes(&mut open, &rule, 100..150), [(100, all)], "each of it once");
    }

    /// What is said in each minute of some days, by routes of which the first makes pages go to the phone, and all else waits for
    /// the office; and what is left to be said.
    fn routed(rule: &Rule, first: Route, minutes: impl Iterator<Item = i64>) -> (Vec<(i64, Vec<Saying>)>, Open) {
        let waits = Route { wait_for: Some("office".into()), ..route(&[], &["team"]) };
        let (routes, mut open) = (routes(vec![first, waits]), open());
        let mut say = |minute| open.say((rule, &Labels::new()), &routes, false, false, minute * MINUTE);
        let said: Vec<_> = minutes.map(|minute| (minute, say(minute))).filter(|(_, said)| !said.is_empty()).collect();
        (said, open)
    }

    /// A minute on the clock of the world.
    fn minute(at: &str) -> i64 {
        micros(at) / MINUTE
    }

    #[test]
    fn who_waits_for_the_office_is_told_in_the_morning_and_reminded_by_day() {
        let rule = Rule { targets: vec![], repeat: Some(Duration::from_secs(4 * 3600)), ..rule(1, 1) };
        let night = minute("2026-11-30T02:00:00Z");
        let phone = || Route { goes_on: true, ..route(&["severity=ticket"], &["phone"]) };
        let (said, open) = routed(&rule, phone(), night..night + 12 * 60);
        let to = |name: &str| Saying::Trigger(vec![name.into()]);
        let opens = minute("2026-11-30T08:00:00Z");
        let reminders = [4, 8].map(|hours| (night + 60 * hours, vec![Saying::Remind]));
        let mut expected = vec![(night, vec![to("phone")]), (opens, vec![to("team")])];
        expected.extend(reminders);
        expected.sort_by_key(|(minute, _)| *minute);
        assert_eq!(said, expected);
        let routes = routes(vec![]);
        assert_eq!(open.told.off_duty(&routes, micros("2026-11-30T17:00:00Z")), ["team"]);
        assert!(open.told.off_duty(&routes, micros("2026-11-30T09:00:00Z")).is_empty());
    }

    proptest! {
        /// Whenever it begins, and whatever the clocks do that week: who can be told is, at once; who waits is told when the
        /// office opens; each once.
        #[test]
        fn each_is_told_once_at_the_first_minute_at_which_they_may_be(
            start in 0_i64..7 * 1440,
            week in prop::sample::select(vec!["2026-03-26", "2026-10-22", "2026-12-21"]),
            has_phone in any::<bool>(),
        ) {
            let rule = Rule { targets: vec![], ..rule(1, 1) };
            let first = route(&["severity=ticket"], &["phone"]);
            let first = if has_phone { Route { goes_on: true, ..first } } else { route(&["severity=page"], &["phone"]) };
            let begins = minute(&format!("{week}T00:00:00Z")) + start;
            let (said, _) = routed(&rule, first, begins..begins + 7 * 1440);
            let opens = office().next_on(begins * MINUTE).unwrap() / MINUTE;
            let to = |names: &[&str]| vec![Saying::Trigger(names.iter().map(|name| (*name).to_owned()).collect())];
            let expected = match (has_phone, opens == begins) {
                (true, true) => vec![(begins, to(&["phone", "team"]))],
                (true, false) => vec![(begins, to(&["phone"])), (opens, to(&["team"]))],
                (false, _) => vec![(opens, to(&["team"]))],
            };
            prop_assert_eq!(said, expected);
        }
    }
}
