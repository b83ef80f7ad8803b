//! Random histories of the outbox against a target behind which there are two: each takes a message, takes it later or never,
//! answers are lost, and the collector is killed between sending and noting.

use std::collections::BTreeSet;

use driftline_alerts::{Action, Before, Notification};
use proptest::prelude::*;
use rusqlite::Connection;

use super::entries;
use super::histories::{end, episode, mute, remind};

const BOTH: [char; 2] = ['x', 'y'];

#[derive(Debug, Clone, Copy, PartialEq)]
enum Answer {
    Taken,
    Later,
    /// Of what follows a beginning that was taken, the same as later.
    Never,
}

#[derive(Debug, Clone, Copy)]
enum Step {
    /// Each of the two answers.
    Answered([Answer; 2]),
    /// No answer; whether it arrived at those who were left, nobody knows but they.
    Lost {
        arrived: bool,
        is_killed: bool,
    },
    /// It is not tried any more.
    Hopeless,
    Remind,
    Mute(bool),
    End,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let answer = || prop_oneof![Just(Answer::Taken), Just(Answer::Later), Just(Answer::Never)];
    let step = prop_oneof![
        6 => (answer(), answer()).prop_map(|(x, y)| Step::Answered([x, y])),
        2 => any::<(bool, bool)>().prop_map(|(arrived, is_killed)| Step::Lost { arrived, is_killed }),
        1 => Just(Step::Hopeless),
        1 => Just(Step::Remind),
        1 => any::<bool>().prop_map(Step::Mute),
        1 => Just(Step::End),
    ];
    proptest::collection::vec(step, 0..14)
}

/// What a receipt says: who has it, and who never will.
#[derive(Debug, Default)]
struct Receipt {
    told: BTreeSet<char>,
    refused: BTreeSet<char>,
}

impl Receipt {
    fn read(text: Option<&str>) -> Self {
        let (told, refused) = text.and_then(|text| text.split_once(';')).unwrap_or_default();
        Self { told: told.chars().collect(), refused: refused.chars().collect() }
    }

    fn text(&self) -> String {
        let [told, refused] = [&self.told, &self.refused].map(|names| names.iter().collect::<String>());
        format!("{told};{refused}")
    }

    fn knows(&self, name: char) -> bool {
        self.told.contains(&name) || self.refused.contains(&name)
    }
}

struct History {
    db: Connection,
    now: i64,
    took: Vec<(char, Action)>,
    /// Of whom nobody can know that they took no beginning.
    in_doubt: BTreeSet<char>,
    /// Whether an answer to the end was lost, so that it may be said twice.
    is_end_in_doubt: bool,
    is_open: bool,
    is_muted: bool,
}

impl History {
    fn begin() -> Self {
        let db = episode();
        let (took, in_doubt) = (Vec::new(), BTreeSet::new());
        Self { db, now: 1, took, in_doubt, is_end_in_doubt: false, is_open: true, is_muted: false }
    }

    /// Those who are to get it, as a target of mail decides that.
    fn left(action: Action, before: &Before) -> Vec<char> {
        let (begun, so_far) = (Receipt::read(before.begun.as_deref()), Receipt::read(before.so_far.as_deref()));
        let is_for = |name: &char| {
            action == Action::Trigger || begun.told.contains(name) || before.begun_in_doubt && action == Action::Resolve
        };
        BOTH.into_iter().filter(is_for).filter(|name| !so_far.knows(*name)).collect()
    }

    /// False when nothing is due.
    fn attempt(&mut self, step: Step) -> bool {
        let (db, now) = (&self.db, self.now);
        let Some(due) = entries::due(db, Some("a"), &[], now).unwrap().into_iter().next() else { return false };
        let (text, before) = entries::begin(db, due.id).unwrap().unwrap();
        let action = serde_json::from_str::<Notification>(&text).unwrap().action;
        let left = Self::left(action, &before);
        assert!(!left.is_empty(), "{action:?} is for nobody: {before:?}");
        match step {
            Step::Lost { arrived, is_killed } => {
                self.took.extend(left.iter().filter(|_| arrived).map(|name| (*name, action)));
                match action {
                    Action::Trigger => self.in_doubt.extend(left),
                    Action::Resolve => self.is_end_in_doubt = true,
                    Action::Remind | Action::Acknowledge => {}
                }
                if !is_killed {
                    entries::postpone(db, due.id, true, "no answer", now, now).unwrap();
                }
            }
            Step::Hopeless if action == Action::Trigger => {
                entries::give_up(db, due.id, due.in_doubt, "no way", now).unwrap();
            }
            Step::Answered(answers) => {
                let mut receipt = Receipt::read(before.so_far.as_deref());
                let mut waits = false;
                for name in left {
                    match answers[usize::from(name == 'y')] {
                        Answer::Taken => {
                            self.took.push((name, action));
                            receipt.told.insert(name);
                        }
                        Answer::Never if action == Action::Trigger => drop(receipt.refused.insert(name)),
                        Answer::Later | Answer::Never => waits = true,
                    }
                }
                match (receipt.told.is_empty(), waits) {
                    (true, true) => entries::postpone(db, due.id, due.in_doubt, "450", now, now),
                    (true, false) => entries::give_up(db, due.id, due.in_doubt, "550", now),
                    (false, false) if receipt.refused.is_empty() => {
                        entries::accepted(db, due.id, Some(&receipt.text()), now)
                    }
                    (false, _) => {
                        let next = waits.then_some(now);
                        entries::accepted_in_part(db, (due.id, due.in_doubt), &receipt.text(), "not all", next, now)
                    }
                }
                .unwrap();
            }
            _ => entries::postpone(db, due.id, due.in_doubt, "away", now, now).unwrap(),
        }
        true
    }

    fn end(&mut self) {
        if std::mem::take(&mut self.is_open) {
            end(&self.db, self.now);
        }
    }

    fn step(&mut self, step: Step) {
        self.now += 1;
        match step {
            Step::Answered(_) | Step::Lost { .. } | Step::Hopeless => drop(self.attempt(step)),
            Step::Remind if self.is_open && !self.is_muted => remind(&self.db, self.now),
            Step::Mute(is_muted) if self.is_open => {
                self.is_muted = is_muted;
                mute(&self.db, is_muted);
            }
            Step::Remind | Step::Mute(_) => {}
            Step::End => self.end(),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]
    #[test]
    fn each_of_them_who_took_a_beginning_is_told_of_the_end_and_nobody_else_is(steps in steps()) {
        let mut history = History::begin();
        for step in steps {
            history.step(step);
        }
        history.end();
        while history.attempt(Step::Answered([Answer::Taken; 2])) {}
        prop_assert_eq!(entries::pending(&history.db).unwrap(), 0);
        for name in BOTH {
            let took: Vec<Action> =
                history.took.iter().filter(|(who, _)| *who == name).map(|(_, action)| *action).collect();
            let count = |wanted: Action| took.iter().filter(|action| **action == wanted).count();
            let is_in_doubt = history.in_doubt.contains(&name);
            if count(Action::Trigger) > 0 {
                prop_assert!(count(Action::Resolve) > 0, "{name}: {took:?}");
                prop_assert!(count(Action::Trigger) == 1 || is_in_doubt, "{name}: {took:?}");
            } else {
                prop_assert!(took.is_empty() || is_in_doubt, "{name} knows of nothing: {took:?}");
            }
            prop_assert!(count(Action::Resolve) <= 1 || history.is_end_in_doubt, "{name}: {took:?}");
            if let Some(end) = took.iter().position(|action| *action == Action::Resolve) {
                prop_assert!(took[end..].iter().all(|action| *action == Action::Resolve), "{name}: {took:?}");
            }
        }
    }
}
