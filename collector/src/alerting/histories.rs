//! Random histories of the outbox against a target that remembers what it took: answers are lost, the collector is killed
//! between sending and noting, things are muted, refused, given up and sent again.

use driftline_alerts::{Action, Notification};
use proptest::prelude::*;
use rusqlite::Connection;

use super::dead_letters::{self, Outcome};
use super::entries::{self, Due, Update};
use super::evidence;
use crate::alerting::book::Orphan;

/// What becomes of an attempt.
#[derive(Debug, Clone, Copy)]
enum Fate {
    Taken,
    /// 429, or no connection.
    Busy,
    Refused,
    /// No answer; whether it arrived, nobody knows but the target.
    Lost {
        arrived: bool,
    },
    /// As [`Self::Lost`], and it was the last attempt.
    Hopeless {
        arrived: bool,
    },
    /// The collector is killed before it notes anything.
    Killed {
        arrived: bool,
    },
}

#[derive(Debug, Clone, Copy)]
enum Step {
    Try(Fate),
    Remind,
    Mute(bool),
    End,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let fate = (0..6u8, any::<bool>()).prop_map(|(kind, arrived)| match kind {
        0 => Fate::Taken,
        1 => Fate::Busy,
        2 => Fate::Refused,
        3 => Fate::Lost { arrived },
        4 => Fate::Hopeless { arrived },
        _ => Fate::Killed { arrived },
    });
    let step = prop_oneof![
        6 => fate.prop_map(Step::Try),
        1 => Just(Step::Remind),
        1 => any::<bool>().prop_map(Step::Mute),
        1 => Just(Step::End),
    ];
    proptest::collection::vec(step, 0..14)
}

/// One episode, one target, and the time.
struct History {
    db: Connection,
    now: i64,
    took: Vec<Action>,
    /// Whether nobody can know that it took no trigger.
    in_doubt: bool,
    is_open: bool,
    is_muted: bool,
}

pub(super) fn notification(action: Action) -> Notification {
    let orphan = Orphan {
        fingerprint: String::new(),
        rule: "R".to_owned(),
        labels: driftline_alerts::Labels::new(),
        episode: "e".to_owned(),
        since: 1,
        triggered: None,
        resolved: None,
    };
    Notification { action, ..evidence::orphaned(&orphan, "", 1) }
}

/// An episode of which one target is to be told.
pub(super) fn episode() -> Connection {
    let db = crate::store::in_memory().unwrap();
    db.execute(
        "INSERT INTO episodes (id, fingerprint, rule, severity, runbook, started_at, notification)
         VALUES ('e', 'f', 'R', 'page', 'r', 0, '')",
        [],
    )
    .unwrap();
    entries::put_trigger(&db, &notification(Action::Trigger), &["a".to_owned()], 0).unwrap();
    db
}

/// It is muted, or told again from now on.
pub(super) fn mute(db: &Connection, is_muted: bool) {
    db.execute("UPDATE episodes SET muted_by = iif(?1, '[]', NULL)", [is_muted]).unwrap();
}

/// It is over.
pub(super) fn end(db: &Connection, now: i64) {
    db.execute("UPDATE episodes SET resolved_at = ?1", [now]).unwrap();
    entries::put_resolve(db, &notification(Action::Resolve), now).unwrap();
}

/// Its target is to be told that it still fires.
pub(super) fn remind(db: &Connection, now: i64) {
    entries::put_update(db, &notification(Action::Remind), &["a".to_owned()], Update::Again, now).unwrap();
}

impl History {
    fn begin() -> Self {
        let db = episode();
        Self { db, now: 1, took: Vec::new(), in_doubt: false, is_open: true, is_muted: false }
    }

    fn due(&self) -> Option<Due> {
        entries::due(&self.db, Some("a"), &[], self.now).unwrap().into_iter().next()
    }

    /// False when nothing is due.
    fn attempt(&mut self, fate: Fate) -> bool {
        let Some(due) = self.due() else { return false };
        let (text, _) = entries::begin(&self.db, due.id).unwrap().unwrap();
        let action = serde_json::from_str::<Notification>(&text).unwrap().action;
        assert!(!(self.is_muted && self.is_open) || action == Action::Resolve, "{action:?} was to be told while muted");
        let (arrived, db, now) = match fate {
            Fate::Taken => (true, &self.db, self.now),
            Fate::Busy | Fate::Refused => (false, &self.db, self.now),
            Fate::Lost { arrived } | Fate::Hopeless { arrived } | Fate::Killed { arrived } => {
                self.in_doubt |= action == Action::Trigger;
                (arrived, &self.db, self.now)
            }
        };
        match fate {
            Fate::Taken => entries::accepted(db, due.id, None, now).unwrap(),
            Fate::Busy => entries::postpone(db, due.id, due.in_doubt, "429", now, now).unwrap(),
            Fate::Refused => entries::give_up(db, due.id, due.in_doubt, "400", now).unwrap(),
            Fate::Lost { .. } => entries::postpone(db, due.id, true, "no answer", now, now).unwrap(),
            Fate::Hopeless { .. } => entries::give_up(db, due.id, true, "no answer", now).unwrap(),
            Fate::Killed { .. } => {}
        }
        self.took.extend(arrived.then_some(action));
        true
    }

    fn mute(&mut self, is_muted: bool) {
        if self.is_open {
            self.is_muted = is_muted;
            mute(&self.db, is_muted);
        }
    }

    fn end(&mut self) {
        if std::mem::take(&mut self.is_open) {
            end(&self.db, self.now);
        }
    }

    fn step(&mut self, step: Step) {
        self.now += 1;
        match step {
            Step::Try(fate) => drop(self.attempt(fate)),
            Step::Remind if self.is_open && !self.is_muted => remind(&self.db, self.now),
            Step::Remind => {}
            Step::Mute(is_muted) => self.mute(is_muted),
            Step::End => self.end(),
        }
    }

    /// The target works again, the alert is over, and somebody sends again what was given up.
    fn settle(&mut self) {
        self.end();
        for _ in 0..2 {
            while self.attempt(Fate::Taken) {}
            for letter in dead_letters::list(&self.db, "given_up", None, 100).unwrap() {
                let sent = dead_letters::send_again(&self.db, letter.id, self.now).unwrap();
                assert_eq!(letter.action == Action::Resolve.name(), matches!(sent, Outcome::Done(_)), "{sent:?}");
            }
        }
        assert_eq!(entries::pending(&self.db).unwrap(), 0);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]
    #[test]
    fn whoever_took_a_beginning_is_told_of_the_end_and_it_stays_the_end(steps in steps()) {
        let mut history = History::begin();
        for step in steps {
            history.step(step);
        }
        history.settle();
        let took = &history.took;
        let end = took.iter().position(|action| *action == Action::Resolve);
        if took.contains(&Action::Trigger) {
            prop_assert!(end.is_some(), "{took:?}");
        }
        if let Some(end) = end {
            prop_assert!(took[end..].iter().all(|action| *action == Action::Resolve), "{took:?}");
            prop_assert!(took.contains(&Action::Trigger) || history.in_doubt, "nobody can have begun: {took:?}");
        }
        let ends: u64 = history.db
            .query_row("SELECT count(*) FROM outbox WHERE action = 'resolve'", [], |row| row.get(0))
            .unwrap();
        prop_assert!(ends <= 1);
    }
}
