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

use serde::{Deserialize, Serialize};

use crate::muting::Mute;
use crate::rule::Rule;
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

impl Open {
    /// What is to be said of the episode by now, and notes that it was. `is_held`: a cause may be seen yet.
    pub fn say(&mut self, rule: &Rule, is_held: bool, is_acknowledged: bool, now: Micros) -> Vec<Saying> {
        let told = &mut self.told;
        if is_acknowledged || !told.muted_by.is_empty() {
            return Vec::new();
        }
        let Some(first) = told.first else {
            if is_held {
                return Vec::new();
            }
            (told.first, told.last) = (Some(now), Some(now));
            return vec![Saying::Trigger(rule.targets.clone())];
        };
        let mut sayings = Vec::new();
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

    use super::*;
    use crate::rule::Step;
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

    /// What is said in each minute in which something is.
    fn minutes(open: &mut Open, rule: &Rule, minutes: std::ops::Range<i64>) -> Vec<(i64, Vec<Saying>)> {
        let said = minutes.map(|minute| (minute, open.say(rule, false, false, minute * MINUTE)));
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
        assert!((10..500).all(|minute| open.say(&rule, false, true, minute * MINUTE).is_empty()));
    }

    #[test]
    fn what_is_muted_or_held_is_told_once_when_it_no_longer_is() {
        let (rule, mut open) = (followed(), open());
        open.told.muted_by = vec![Mute::Silence("s".into())];
        assert_eq!(minutes(&mut open, &rule, 0..100), []);
        open.told.muted_by.clear();
        assert!(open.say(&rule, true, false, 100 * MINUTE).is_empty(), "held");
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
}
