//! What may be started because an alert fires, a retraining mostly, and when: only while drift persists, while the data is
//! right, not too often, and if somebody says so.
//!
//! ```text
//!              the guards hold            approved              the guards hold still
//!   untouched ────────────────▶ asked ──────────────▶ approved ──────────────────────▶ begun
//!       │                         │                      │                              ▲
//!       │                         └─ declined, lapsed    └─ lapsed                      │
//!       └──────────────── the guards hold, and nobody need be asked ────────────────────┘
//! ```
//!
//! Guards are pure: what is known of the episode and of its subject is an argument, and so is the time. The subject is what the
//! caller counts starts by. What was begun is never begun again for the same episode, whatever became of it.

use std::fmt;
use std::time::Duration;

use crate::matching::Matchers;
use crate::notification::time_in_words;
use crate::secret::SecretSource;
use crate::state::{Micros, Standing};

const DAY_MICROS: Micros = 86_400_000_000;

/// Something that is started because an alert fires.
#[derive(Debug, Clone)]
pub struct Reaction {
    /// Its name.
    pub name: String,
    /// To which alerts it is a reaction: those with a member that this matches.
    pub when: Matchers,
    /// For how long an episode must be open.
    pub after: Duration,
    /// Rules that say that the data is wrong: while an episode of theirs is open for the same subject, nothing is started.
    pub unless: Vec<String>,
    /// How long after a start for a subject comes the next one, at the earliest.
    pub cooldown: Duration,
    /// How many starts there are for a subject in any 24 hours, at the most.
    pub at_most: u32,
    /// How somebody is asked; none when nobody need be.
    pub approval: Option<Approval>,
}

/// How somebody is asked whether it may be started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Approval {
    /// By which links are signed that decide without a login; without it there are none.
    pub signing_key: Option<SecretSource>,
    /// How long a question waits for its answer, and a yes for the guards.
    pub within: Duration,
}

/// How far a reaction to an episode has come, as far as guards care.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Nothing was done.
    Untouched,
    /// Somebody was asked.
    Asked {
        /// When the question lapses.
        until: Micros,
    },
    /// Somebody said yes.
    Approved {
        /// When that lapses.
        until: Micros,
    },
    /// It was begun, or will not be.
    Over,
}

/// What a decision rests on.
#[derive(Debug, Clone, Copy)]
pub struct Situation<'a> {
    /// How far it has come.
    pub stage: Stage,
    /// Since when the episode is open.
    pub since: Micros,
    /// How the episode stands; none when it has ended.
    pub standing: Option<Standing>,
    /// Whether the episode is silenced, in maintenance, or explained by another.
    pub is_muted: bool,
    /// Rules of data quality that have an open episode of the same subject.
    pub red: &'a [String],
    /// When it was started before for the same subject, in any order.
    pub starts: &'a [Micros],
    /// Whether somebody is asked, or it is being started, for another episode of the same subject.
    pub is_busy: bool,
}

/// What is to be done now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// Nothing yet.
    Wait(Hold),
    /// Somebody is to be asked.
    Ask,
    /// It is to be started.
    Start,
    /// The question, or the yes, is not good any more.
    Lapse(Lapse),
}

/// What holds a reaction back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Hold {
    /// It was begun before, or will not be.
    Over,
    /// The episode is not open for long enough.
    NotForLong {
        /// When it will be.
        until: Micros,
    },
    /// The episode has ended.
    Ended,
    /// Nothing is over its limit any more.
    Recovering,
    /// What was over says nothing any more.
    NoData,
    /// The episode is muted.
    Muted,
    /// The data is wrong.
    DataQuality {
        /// The rule that says so.
        rule: String,
    },
    /// The last start is too recent.
    CoolingDown {
        /// Until when.
        until: Micros,
    },
    /// There were as many as there may be in a day.
    Enough {
        /// Until when.
        until: Micros,
    },
    /// Another episode of the subject comes first.
    Busy,
    /// Nobody has answered yet.
    Unanswered {
        /// When the question lapses.
        until: Micros,
    },
}

/// Why a question or a yes is not good any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lapse {
    /// The episode has ended.
    Ended,
    /// Nobody answered in time.
    Unanswered,
    /// The guards held it back for too long.
    HeldBack,
}

impl Reaction {
    /// What is to be done about an episode now.
    pub fn decide(&self, situation: &Situation<'_>, now: Micros) -> Decision {
        let is_over = situation.standing.is_none();
        match situation.stage {
            Stage::Over => Decision::Wait(Hold::Over),
            Stage::Asked { .. } | Stage::Approved { .. } if is_over => Decision::Lapse(Lapse::Ended),
            Stage::Asked { until } if now >= until => Decision::Lapse(Lapse::Unanswered),
            Stage::Asked { until } => Decision::Wait(Hold::Unanswered { until }),
            Stage::Approved { until } if now >= until => Decision::Lapse(Lapse::HeldBack),
            Stage::Approved { .. } => self.held(situation, now).map_or(Decision::Start, Decision::Wait),
            Stage::Untouched => {
                let go = if self.approval.is_some() { Decision::Ask } else { Decision::Start };
                self.held(situation, now).map_or(go, Decision::Wait)
            }
        }
    }

    /// By what it is held back, if by anything.
    fn held(&self, situation: &Situation<'_>, now: Micros) -> Option<Hold> {
        let Situation { since, standing, is_muted, red, starts, is_busy, .. } = *situation;
        match standing {
            None => return Some(Hold::Ended),
            Some(Standing::Recovering) => return Some(Hold::Recovering),
            Some(Standing::NoData) => return Some(Hold::NoData),
            Some(Standing::Firing) if is_muted => return Some(Hold::Muted),
            Some(Standing::Firing) => {}
        }
        if let Some(rule) = red.first() {
            return Some(Hold::DataQuality { rule: rule.clone() });
        }
        let persists_at = since.saturating_add(micros(self.after));
        if now < persists_at {
            return Some(Hold::NotForLong { until: persists_at });
        }
        if is_busy {
            return Some(Hold::Busy);
        }
        let mut starts: Vec<Micros> = starts.to_vec();
        starts.sort_unstable_by_key(|start| std::cmp::Reverse(*start));
        let cooled_at = starts.first().map(|last| last.saturating_add(micros(self.cooldown)));
        if let Some(until) = cooled_at.filter(|until| now < *until) {
            return Some(Hold::CoolingDown { until });
        }
        // The start that must be a day old before there may be another.
        let place = self.at_most.saturating_sub(1) as usize;
        let room_at = starts.get(place).map(|start| start.saturating_add(DAY_MICROS));
        room_at.filter(|until| now < *until).map(|until| Hold::Enough { until })
    }
}

fn micros(duration: Duration) -> Micros {
    Micros::try_from(duration.as_micros()).unwrap_or(Micros::MAX)
}

impl fmt::Display for Hold {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Over => write!(formatter, "it was begun for this episode before, or will not be"),
            Self::NotForLong { until } => {
                write!(formatter, "the alert must be open until {} first", time_in_words(*until))
            }
            Self::Ended => write!(formatter, "the alert has ended"),
            Self::Recovering => write!(formatter, "nothing is over its limit any more"),
            Self::NoData => write!(formatter, "what was over its limit says nothing any more"),
            Self::Muted => write!(formatter, "the alert is muted"),
            Self::DataQuality { rule } => write!(formatter, "the data is wrong: {rule} fires"),
            Self::CoolingDown { until } => {
                write!(formatter, "the last start cools down until {}", time_in_words(*until))
            }
            Self::Enough { until } => {
                write!(formatter, "there were as many starts as there may be in a day; until {}", time_in_words(*until))
            }
            Self::Busy => write!(formatter, "another alert comes first"),
            Self::Unanswered { until } => write!(formatter, "somebody must approve by {}", time_in_words(*until)),
        }
    }
}

impl fmt::Display for Lapse {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Ended => "the alert has ended",
            Self::Unanswered => "nobody answered in time",
            Self::HeldBack => "the guards held it back for too long after it was approved",
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::matching::tests::matchers;

    const HOUR: Micros = 3_600_000_000;

    fn hours(hours: u64) -> Duration {
        Duration::from_secs(3600 * hours)
    }

    fn reaction(asks: bool) -> Reaction {
        Reaction {
            name: "retrain".into(),
            when: matchers(&[("rule", "FeatureDrift")]),
            after: hours(6),
            unless: vec!["MissingValues".into()],
            cooldown: hours(10),
            at_most: 2,
            approval: asks.then(|| Approval { signing_key: None, within: hours(48) }),
        }
    }

    fn firing(stage: Stage) -> Situation<'static> {
        let standing = Some(Standing::Firing);
        Situation { stage, since: 0, standing, is_muted: false, red: &[], starts: &[], is_busy: false }
    }

    #[test]
    fn drift_that_persists_starts_it_or_asks_for_it() {
        let untouched = firing(Stage::Untouched);
        let soon = Decision::Wait(Hold::NotForLong { until: 6 * HOUR });
        assert_eq!(reaction(false).decide(&untouched, 6 * HOUR - 1), soon);
        assert_eq!(reaction(false).decide(&untouched, 6 * HOUR), Decision::Start);
        assert_eq!(reaction(true).decide(&untouched, 6 * HOUR), Decision::Ask);
    }

    #[test]
    fn what_is_muted_recovering_without_data_or_on_wrong_data_starts_nothing() {
        let red = ["MissingValues".to_owned()];
        let fires = firing(Stage::Approved { until: 100 * HOUR });
        for (situation, hold) in [
            (Situation { is_muted: true, ..fires }, Hold::Muted),
            (Situation { standing: Some(Standing::Recovering), ..fires }, Hold::Recovering),
            (Situation { standing: Some(Standing::NoData), ..fires }, Hold::NoData),
            (Situation { red: &red, ..fires }, Hold::DataQuality { rule: "MissingValues".into() }),
            (Situation { is_busy: true, ..fires }, Hold::Busy),
        ] {
            for asks in [false, true] {
                assert_eq!(reaction(asks).decide(&situation, 50 * HOUR), Decision::Wait(hold.clone()));
                let untouched = Situation { stage: Stage::Untouched, ..situation };
                assert_eq!(reaction(asks).decide(&untouched, 50 * HOUR), Decision::Wait(hold.clone()), "nor asks");
            }
        }
        assert_eq!(reaction(true).decide(&fires, 50 * HOUR), Decision::Start);
    }

    #[test]
    fn starts_are_apart_and_few_in_a_day() {
        let at = |starts: &'static [Micros], now| {
            reaction(false).decide(&Situation { starts, ..firing(Stage::Untouched) }, now)
        };
        assert_eq!(at(&[20 * HOUR], 29 * HOUR), Decision::Wait(Hold::CoolingDown { until: 30 * HOUR }));
        assert_eq!(at(&[20 * HOUR], 30 * HOUR), Decision::Start);
        assert_eq!(at(&[10 * HOUR, 20 * HOUR], 33 * HOUR), Decision::Wait(Hold::Enough { until: 34 * HOUR }));
        assert_eq!(at(&[10 * HOUR, 20 * HOUR], 34 * HOUR), Decision::Start);
        assert_eq!(
            at(&[40 * HOUR], 30 * HOUR),
            Decision::Wait(Hold::CoolingDown { until: 50 * HOUR }),
            "the clock was set back"
        );
    }

    #[test]
    fn a_question_and_a_yes_lapse() {
        let asked = firing(Stage::Asked { until: 50 * HOUR });
        let approved = firing(Stage::Approved { until: 50 * HOUR });
        let decide = |situation: &Situation<'_>, now| reaction(true).decide(situation, now);
        assert_eq!(decide(&asked, 49 * HOUR), Decision::Wait(Hold::Unanswered { until: 50 * HOUR }));
        assert_eq!(decide(&asked, 50 * HOUR), Decision::Lapse(Lapse::Unanswered));
        assert_eq!(decide(&approved, 50 * HOUR), Decision::Lapse(Lapse::HeldBack));
        for stage in [asked, approved] {
            assert_eq!(decide(&Situation { standing: None, ..stage }, 7 * HOUR), Decision::Lapse(Lapse::Ended));
        }
        assert_eq!(decide(&firing(Stage::Over), 60 * HOUR), Decision::Wait(Hold::Over));
    }

    /// Something that may happen to one of three episodes of a subject, or to the subject.
    #[derive(Debug, Clone)]
    enum Happening {
        Stands(usize, Option<Standing>),
        Muted(usize, bool),
        Quality(bool),
        Answered(usize, bool),
    }

    fn happenings() -> impl Strategy<Value = Vec<(Micros, Happening)>> {
        let standing = prop_oneof![
            4 => Just(Some(Standing::Firing)),
            1 => Just(Some(Standing::Recovering)),
            1 => Just(Some(Standing::NoData)),
            1 => Just(None),
        ];
        let happening = prop_oneof![
            3 => (0usize..3, standing).prop_map(|(episode, standing)| Happening::Stands(episode, standing)),
            1 => (0usize..3, any::<bool>()).prop_map(|(episode, is)| Happening::Muted(episode, is)),
            1 => any::<bool>().prop_map(Happening::Quality),
            3 => (0usize..3, any::<bool>()).prop_map(|(episode, yes)| Happening::Answered(episode, yes)),
        ];
        proptest::collection::vec((0..5 * HOUR, happening), 0..150)
    }

    /// The starts of a history: when, of which episode, and whether the data was wrong.
    fn starts(reaction: &Reaction, history: &[(Micros, Happening)]) -> Vec<(Micros, u64, bool)> {
        let mut now = 0;
        let mut next_episode = 3;
        let mut episodes = [0, 1, 2].map(|id: u64| (id, firing(Stage::Untouched)));
        let (mut red, mut said) = (Vec::new(), Vec::new());
        let mut times: Vec<Micros> = Vec::new();
        for (pause, happening) in history {
            now += pause;
            match *happening {
                // Once it has ended, what fires next is another episode.
                Happening::Stands(place, Some(_)) if episodes[place].1.standing.is_none() => {
                    episodes[place] = (next_episode, Situation { since: now, ..firing(Stage::Untouched) });
                    next_episode += 1;
                }
                Happening::Stands(place, standing) => episodes[place].1.standing = standing,
                Happening::Muted(place, is_muted) => episodes[place].1.is_muted = is_muted,
                Happening::Quality(is_red) => red = if is_red { vec!["MissingValues".to_owned()] } else { Vec::new() },
                Happening::Answered(place, yes) => {
                    if let Stage::Asked { .. } = episodes[place].1.stage {
                        let until = now + 48 * HOUR;
                        episodes[place].1.stage = if yes { Stage::Approved { until } } else { Stage::Over };
                    }
                }
            }
            for place in 0..episodes.len() {
                let waits = |stage| matches!(stage, Stage::Asked { .. } | Stage::Approved { .. });
                let is_busy = (0..3).any(|other| other != place && waits(episodes[other].1.stage));
                let (id, episode) = episodes[place];
                let situation = Situation { red: &red, starts: &times, is_busy, ..episode };
                let decision = reaction.decide(&situation, now);
                assert_eq!(decision, reaction.decide(&situation, now), "the same again");
                match decision {
                    Decision::Wait(_) => {}
                    Decision::Ask => episodes[place].1.stage = Stage::Asked { until: now + 48 * HOUR },
                    Decision::Lapse(_) => episodes[place].1.stage = Stage::Over,
                    Decision::Start => {
                        episodes[place].1.stage = Stage::Over;
                        said.push((now, id, !red.is_empty() || episode.is_muted));
                        times.push(now);
                    }
                }
            }
        }
        said
    }

    proptest! {
        #[test]
        fn starts_are_apart_few_on_right_data_and_one_for_each_episode(
            history in happenings(), asks in any::<bool>(), cooldown in 0u64..30, at_most in 1u32..4,
        ) {
            let reaction = Reaction { cooldown: hours(cooldown), at_most, ..reaction(asks) };
            let starts = starts(&reaction, &history);
            for pair in starts.windows(2) {
                prop_assert!(pair[1].0 - pair[0].0 >= micros(reaction.cooldown));
            }
            for group in starts.windows(at_most as usize + 1) {
                prop_assert!(group[at_most as usize].0 - group[0].0 >= DAY_MICROS);
            }
            prop_assert!(starts.iter().all(|(_, _, is_wrong)| !is_wrong));
            let mut episodes: Vec<u64> = starts.iter().map(|(_, episode, _)| *episode).collect();
            episodes.sort_unstable();
            episodes.dedup();
            prop_assert_eq!(episodes.len(), starts.len());
        }
    }
}
