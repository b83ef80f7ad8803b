//! Random histories of two alerts, one of which explains the other, and of what people say of them: held against a model of a few
//! lines, in virtual time.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use proptest::prelude::*;

use crate::matching::tests::matchers;
use crate::muting::Muting;
use crate::reach::Reach;
use crate::routing::Routes;
use crate::rule::{ExplainedBy, Labels, Rule, Step};
use crate::silence::Silence;
use crate::state::tests::{observation, rule};
use crate::state::{Alert, Micros, Transition};
use crate::telling::Saying;

const MINUTE: Micros = 60_000_000;
const DAY: Micros = 1440 * MINUTE;

/// What happens in one minute.
#[derive(Debug, Clone)]
enum Happening {
    /// A window closes: whether it breaches, or too little data.
    Window {
        of_cause: bool,
        breach: Option<bool>,
    },
    /// Somebody silences the one that is explained, or everything, or ends that.
    Silence {
        everything: bool,
    },
    SilenceEnds,
    /// Somebody is on whatever fires.
    Acknowledge,
    /// So many minutes go by.
    Quiet(u8),
}

fn happening() -> impl Strategy<Value = Happening> {
    prop_oneof![
        6 => (any::<bool>(), proptest::option::weighted(0.8, any::<bool>()))
            .prop_map(|(of_cause, breach)| Happening::Window { of_cause, breach }),
        1 => any::<bool>().prop_map(|everything| Happening::Silence { everything }),
        1 => Just(Happening::SilenceEnds),
        1 => Just(Happening::Acknowledge),
        1 => (1u8..40).prop_map(Happening::Quiet),
    ]
}

fn rules() -> [Rule; 2] {
    let followed = Rule {
        targets: vec!["oncall".into()],
        repeat: Some(Duration::from_secs(30 * 60)),
        escalate: vec![Step { after: Duration::from_secs(10 * 60), to: vec!["lead".into()] }],
        ..rule(1, 2)
    };
    let cause = ExplainedBy { rule: "Cause".into(), same: vec!["model".into()], lasting: Duration::ZERO };
    [Rule { name: "Cause".into(), ..followed.clone() }, Rule { explained_by: vec![cause], ..followed }]
}

/// What each target was sent of each episode, and what is known of the world: the model.
#[derive(Debug, Default)]
struct World {
    sent: BTreeMap<(String, &'static str), Vec<&'static str>>,
    acknowledged: BTreeSet<String>,
    /// Of the cause, and of what it explains.
    silenced: [bool; 2],
    /// The last windows of each that said something, the newest last.
    windows: [Vec<bool>; 2],
    fires: [bool; 2],
}

impl World {
    /// Whether an alert fires, by definition: one of the last two windows breaches.
    fn window(&mut self, which: usize, breach: Option<bool>) {
        let Some(breach) = breach else { return };
        self.windows[which].push(breach);
        let last_two = self.windows[which].iter().rev().take(2);
        self.fires[which] = if self.fires[which] { last_two.into_iter().any(|breach| *breach) } else { breach };
    }

    fn is_muted(&self, which: usize) -> bool {
        self.silenced[which] || (which == 1 && self.fires[0])
    }

    fn send(&mut self, episode: &str, saying: &Saying) {
        let to: Vec<&'static str> = match saying {
            Saying::Trigger(to) => to.iter().map(|name| if name == "lead" { "lead" } else { "oncall" }).collect(),
            Saying::Remind => ["oncall", "lead"].into_iter().filter(|to| self.was_told(episode, to)).collect(),
        };
        let what = if *saying == Saying::Remind { "remind" } else { "trigger" };
        for target in to {
            self.sent.entry((episode.to_owned(), target)).or_default().push(what);
        }
    }

    fn was_told(&self, episode: &str, target: &'static str) -> bool {
        self.sent.contains_key(&(episode.to_owned(), target))
    }

    fn resolve(&mut self, episode: &str) {
        self.sent.iter_mut().filter(|((of, _), _)| of == episode).for_each(|(_, sent)| sent.push("resolve"));
    }
}

fn silences(silenced: [bool; 2]) -> Vec<Silence> {
    let silence =
        |name: &str| Silence { id: name.into(), matching: matchers(&[("rule", name)]), from: 0, until: DAY * 365 };
    let all = ["Cause", "FeatureDrift"].into_iter().zip(silenced);
    all.filter(|(_, is_silenced)| *is_silenced).map(|(name, _)| silence(name)).collect()
}

proptest! {
    #[test]
    fn whatever_happens_and_is_said_each_target_hears_a_beginning_and_one_end(
        happenings in proptest::collection::vec(happening(), 0..80),
    ) {
        let rules = rules();
        let mut alerts = [0, 1].map(|which| Alert::new(&rules[which], [("model".into(), "flights".into())].into()));
        let (mut world, mut now, mut open) = (World::default(), 0, [None::<String>, None]);
        for happening in happenings {
            now += MINUTE;
            match happening {
                Happening::Window { of_cause, breach } => {
                    let which = usize::from(!of_cause);
                    world.window(which, breach);
                    let value = breach.map(|breach| if breach { 0.9 } else { 0.1 });
                    match alerts[which].observe(&rules[which], &[observation("temp", value)], now, DAY) {
                        Some(Transition::Fired { episode }) => prop_assert_eq!(open[which].replace(episode), None),
                        Some(Transition::Resolved { episode, .. }) => {
                            world.resolve(&episode);
                            prop_assert_eq!(open[which].take(), Some(episode));
                        }
                        None => {}
                    }
                }
                Happening::Silence { everything } => world.silenced = [everything || world.silenced[0], true],
                Happening::SilenceEnds => world.silenced = [false; 2],
                Happening::Acknowledge => world.acknowledged.extend(open.iter().flatten().cloned()),
                Happening::Quiet(minutes) => now += i64::from(minutes) * MINUTE,
            }
            let silences = silences(world.silenced);
            let firing: Vec<(&Rule, &Alert)> = rules.iter().zip(&alerts).filter(|(_, alert)| alert.open().is_some()).collect();
            let muting = Muting { silences: &silences, maintenance: &[], causes: &firing, reach: &Reach::EVERYTHING, now };
            let mutes = [0, 1].map(|which| muting.of(&rules[which], &alerts[which]));
            for which in [0, 1] {
                prop_assert_eq!(open[which].is_some(), world.fires[which]);
                let Some(open) = alerts[which].open_mut() else { continue };
                let episode = open.episode.clone();
                prop_assert_eq!(!mutes[which].is_empty(), world.is_muted(which));
                open.told.muted_by.clone_from(&mutes[which]);
                let is_acknowledged = world.acknowledged.contains(&episode);
                let sayings = open.say((&rules[which], &Labels::new()), &Routes::default(), false, is_acknowledged, now);
                if world.is_muted(which) || is_acknowledged {
                    prop_assert_eq!(&sayings, &[]);
                }
                sayings.iter().for_each(|saying| world.send(&episode, saying));
                prop_assert!(
                    world.is_muted(which) || is_acknowledged || world.was_told(&episode, "oncall"),
                    "nothing keeps it back, so it is told"
                );
            }
        }
        for ((episode, target), sent) in &world.sent {
            let is_open = open.iter().flatten().any(|open| open == episode);
            let (ends, begins) = (usize::from(!is_open), 1);
            prop_assert_eq!(sent.iter().filter(|what| **what == "trigger").count(), begins, "{} of {}", target, episode);
            prop_assert_eq!(sent.iter().filter(|what| **what == "resolve").count(), ends, "{} of {}", target, episode);
            prop_assert_eq!(sent[0], "trigger");
            prop_assert_eq!(sent.last() == Some(&"resolve"), !is_open);
        }
    }

    #[test]
    fn more_breaches_never_clear_an_alert(
        history in proptest::collection::vec((proptest::option::weighted(0.9, any::<bool>()), any::<bool>()), 0..80),
        k in 1u32..4, extra in 0u32..3,
    ) {
        let rule = rule(k, k + extra);
        let mut alerts = [0, 1].map(|_| Alert::new(&rule, [("model".into(), "flights".into())].into()));
        for (now, (breach, is_worse)) in (0..).zip(history) {
            let worse = breach.map(|breach| breach || is_worse);
            for (alert, breach) in alerts.iter_mut().zip([breach, worse]) {
                let value = breach.map(|breach| if breach { 0.9 } else { 0.1 });
                alert.observe(&rule, &[observation("temp", value)], now * MINUTE, DAY);
            }
            prop_assert!(alerts[0].open().is_none() || alerts[1].open().is_some());
        }
    }
}
