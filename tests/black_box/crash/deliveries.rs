//! Killed while it tells four slow targets of a thousand beginnings and ends.

use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use driftline_protocol::{Batch, frame};
use driftline_tests::{Collector, client, eventually};
use serde_json::json;

use crate::dice::Dice;
use crate::hearers::{self, Hearer, NAMES};
use crate::rows::exchange;
use crate::{Folder, Options, Outcome};

/// Models of a round, and rules that each of them breaks: so many alerts begin together, and end together.
const MODELS: u64 = 5;
const RULES: u64 = 25;
const ALERTS: u64 = MODELS * RULES;
/// What a round says: a beginning and an end of each to each target.
const NOTIFICATIONS: u64 = 2 * ALERTS * NAMES.len() as u64;
/// Kills while they begin, and as many while they end.
const KILLS: u64 = 6;
/// A thousand times as many good ones outweigh what was bad.
const BAD: (u32, u32) = (503, 1000);
const GOOD: (u32, u32) = (200, 1_000_000);

/// Shipped rules that these models would break, too.
const OTHERS: [&str; 11] = [
    "LatencySlo",
    "AvailabilitySlo",
    "LatencyBudget",
    "AvailabilityBudget",
    "SchemaChange",
    "UndecodableBodies",
    "ModelSilent",
    "CaptureLoss",
    "DeliveryFailure",
    "SidecarSilent",
    "CollectorDown",
];

/// All who are told.
struct Hearers([Arc<Hearer>; NAMES.len()]);

impl Hearers {
    /// How many episodes were told last of this, summed over all.
    fn stand_at(&self, action: &str) -> u64 {
        self.0.iter().map(|hearer| hearer.stand_at(action)).sum()
    }

    fn taken(&self) -> u64 {
        self.0.iter().map(|hearer| hearer.taken.load(Ordering::Relaxed)).sum()
    }
}

pub(crate) async fn run(options: &Options, dice: &mut Dice) -> Outcome {
    let folder = Folder::new(options);
    let (hearers, targets) = hearers::start(folder.path(), dice).await;
    let hearers = Hearers(hearers);
    let rounds = options.kills.div_ceil(2 * KILLS);
    let mut collector = Collector::start(folder.path(), &configuration(&targets, rounds)).await;
    let mut kills = 0;
    for round in 0..rounds {
        for (sequence, (what, action)) in (1..).zip([(BAD, "trigger"), (GOOD, "resolve")]) {
            let before = hearers.stand_at(action);
            for model in models(round) {
                send(&collector, &model, sequence, what).await;
            }
            kills += kill_while_it_tells(&mut collector, &hearers, (action, before), dice).await;
            eventually("everything is told", async || match hearers.stand_at(action) - before {
                told if told == NOTIFICATIONS / 2 => Ok(()),
                told => Err(format!("{told} of {} were told of their {action}", NOTIFICATIONS / 2)),
            })
            .await;
        }
        check(&collector, &hearers, round).await;
    }
    let mut says = Vec::new();
    for (name, hearer) in NAMES.iter().zip(&hearers.0) {
        let (lost, repeated) = (hearer.lost.load(Ordering::Relaxed), hearer.repeated());
        assert!(
            repeated <= kills + lost,
            "{name}: {repeated} were sent again, after {kills} kills and {lost} lost answers: one each at most"
        );
        says.push(format!("{name} lost {lost} answers and was told {repeated} again"));
    }
    assert_eq!(collector.stop().await, Some(0), "it stops cleanly after all that");
    Outcome::Passed(format!(
        "{kills} kills in {rounds} rounds of {NOTIFICATIONS} notifications; {} episodes, each triggered and resolved at four targets; {}, each under its own key",
        rounds * ALERTS,
        says.join(", "),
    ))
}

/// Kills it so often, each time once it tells again; not any more when everything is told.
async fn kill_while_it_tells(
    collector: &mut Collector,
    hearers: &Hearers,
    (action, before): (&str, u64),
    dice: &mut Dice,
) -> u64 {
    for kills in 0..KILLS {
        let taken = hearers.taken();
        let is_told = eventually("it tells again", async || {
            let is_told = hearers.stand_at(action) - before == NOTIFICATIONS / 2;
            if is_told || hearers.taken() > taken { Ok(is_told) } else { Err("silent".to_owned()) }
        })
        .await;
        if is_told {
            return kills;
        }
        tokio::time::sleep(dice.millis(0..1200)).await;
        collector.kill().await;
        collector.relaunch(&[]);
    }
    collector.wait_until_ready().await;
    KILLS
}

fn models(round: u64) -> impl Iterator<Item = String> {
    (0..MODELS).map(move |model| format!("m{round}-{model}"))
}

fn configuration(targets: &str, rounds: u64) -> String {
    let mut text = format!("alerts:\n  evaluation_interval: 1s\n  flapping: off\n  targets:\n{targets}  rules:\n");
    for shipped in OTHERS {
        writeln!(text, "    - {{name: {shipped}, enabled: false}}").expect("a text");
    }
    for rule in 0..RULES {
        writeln!(
            text,
            "    - {{name: Rule{rule}, severity: page, runbook: availability-slo, when: {{sli: availability, below: 0.9, over: 10s, min_events: 1}}}}"
        )
        .expect("a text");
    }
    text.push_str("models:\n");
    for model in (0..rounds).flat_map(models) {
        writeln!(text, "  - name: {model}").expect("a text");
    }
    text
}

/// Sends one exchange with this status, which stands for so many.
async fn send(collector: &Collector, model: &str, sequence: u64, (status, weight): (u32, u32)) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock").as_micros() as i64;
    let mut sent = exchange(1, sequence, now);
    (sent.status, sent.weight) = (status, weight);
    sent.target = format!("/v2/models/{model}/infer");
    let batch = Batch {
        // A boot for each model.
        boot_id: format!("{model:0>16}").into_bytes(),
        model: model.into(),
        instance: "pod".into(),
        sent_at_micros: now,
        first_sequence: sequence,
        last_sequence: sequence,
        exchanges: vec![sent],
        ..Batch::default()
    };
    let framed = frame::encode(&batch).expect("a batch can be framed");
    let request = client().post(format!("{}/v1/exchanges", collector.url())).body(framed);
    let response = request.timeout(Duration::from_secs(60)).send().await.expect("the collector answers");
    assert_eq!(response.status(), 200);
}

/// Every episode that the collector knows of was told of its beginning and then of its end to each, and no other was told at all.
async fn check(collector: &Collector, hearers: &Hearers, round: u64) {
    eventually("nothing waits any more", async || {
        match collector.api("deliveries?state=pending").await?.as_array().map(Vec::len) {
            Some(0) => Ok(()),
            waiting => Err(format!("{waiting:?} wait")),
        }
    })
    .await;
    let given_up = collector.api("deliveries").await.expect("an answer");
    assert_eq!(given_up, json!([]), "nothing is given up");
    let told: Vec<_> = hearers.0.iter().map(|hearer| hearer.told()).collect();
    for told in &told {
        assert_eq!(told.len() as u64, (round + 1) * ALERTS, "nobody was told of what is no episode");
    }
    for model in models(round) {
        let episodes = collector.api(&format!("alerts?limit=1000&model={model}")).await.expect("an answer");
        let episodes = episodes.as_array().expect("a list");
        assert_eq!(episodes.len() as u64, RULES, "each of the model's rules fired once");
        for episode in episodes {
            let (id, state) = (episode["id"].as_str().expect("an id"), &episode["state"]);
            assert_eq!(state, "resolved", "{id}");
            for (name, told) in NAMES.iter().zip(&told) {
                let told = told.get(id).unwrap_or_else(|| panic!("{name} was not told of {id}"));
                assert!(is_once(told), "{name}: {id}: {told:?}");
            }
        }
    }
}

/// Whether it began and then ended, each of it said at least once: what is said again changes nothing there.
fn is_once(told: &[String]) -> bool {
    let begun = told.iter().take_while(|action| *action == "trigger").count();
    begun > 0 && begun < told.len() && told[begun..].iter().all(|action| action == "resolve")
}
