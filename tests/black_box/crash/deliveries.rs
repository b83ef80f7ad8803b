//! Killed while it tells a slow target of a thousand beginnings and ends.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::post;
use axum::{Json, Router};
use driftline_protocol::{Batch, frame};
use driftline_tests::{Collector, client, eventually};
use serde_json::{Value, json};

use crate::dice::Dice;
use crate::rows::exchange;
use crate::{Folder, Options, Outcome};

/// Models of a round, and rules that each of them breaks: so many alerts begin together, and end together.
const MODELS: u64 = 10;
const RULES: u64 = 50;
const ALERTS: u64 = MODELS * RULES;
/// Kills while they begin, and as many while they end.
const KILLS: u64 = 6;
/// The target takes so long for each.
const SLOW: std::ops::Range<u64> = 15..30;
/// One answer of so many is lost: what it is about was taken.
const LOST: u64 = 200;
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

/// What the target was told, by the episode's key and in the order in which it took it.
struct Pager {
    told: Mutex<BTreeMap<String, Vec<String>>>,
    taken: AtomicU64,
    lost: AtomicU64,
    dice: Mutex<Dice>,
}

impl Pager {
    /// Starts to listen; gives its address.
    async fn start(dice: &mut Dice) -> (Arc<Self>, String) {
        let pager = Arc::new(Self {
            told: Mutex::default(),
            taken: AtomicU64::new(0),
            lost: AtomicU64::new(0),
            dice: Mutex::new(Dice::new(dice.next())),
        });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("a bound address");
        let routes = Router::new().route("/v2/enqueue", post(take)).with_state(Arc::clone(&pager));
        tokio::spawn(async move { axum::serve(listener, routes).await });
        (pager, format!("http://{address}/v2/enqueue"))
    }

    /// How many episodes were told last of this.
    fn stand_at(&self, action: &str) -> u64 {
        self.told.lock().unwrap().values().filter(|told| told.last().is_some_and(|last| last == action)).count() as u64
    }

    /// What was told more than once.
    fn repeated(&self) -> u64 {
        self.told.lock().unwrap().values().map(|told| told.len() as u64 - 2).sum()
    }
}

async fn take(State(pager): State<Arc<Pager>>, Json(event): Json<Value>) -> (StatusCode, Json<Value>) {
    let text = |name: &str| event[name].as_str().unwrap_or_default().to_owned();
    pager.told.lock().unwrap().entry(text("dedup_key")).or_default().push(text("event_action"));
    pager.taken.fetch_add(1, Ordering::Relaxed);
    let (pause, is_lost) = {
        let mut dice = pager.dice.lock().unwrap();
        (dice.millis(SLOW), dice.one_in(LOST))
    };
    tokio::time::sleep(pause).await;
    if is_lost {
        pager.lost.fetch_add(1, Ordering::Relaxed);
        return (StatusCode::BAD_GATEWAY, Json(json!({})));
    }
    (StatusCode::ACCEPTED, Json(json!({ "status": "success", "dedup_key": event["dedup_key"] })))
}

pub(crate) async fn run(options: &Options, dice: &mut Dice) -> Outcome {
    let folder = Folder::new(options);
    let (pager, url) = Pager::start(dice).await;
    std::fs::write(folder.path().join("key"), "k".repeat(32)).expect("a file");
    let rounds = options.kills.div_ceil(2 * KILLS);
    let mut collector = Collector::start(folder.path(), &configuration(&url, rounds)).await;
    let mut kills = 0;
    for round in 0..rounds {
        for (sequence, (what, action)) in (1..).zip([(BAD, "trigger"), (GOOD, "resolve")]) {
            let before = pager.stand_at(action);
            for model in models(round) {
                send(&collector, &model, sequence, what).await;
            }
            kills += kill_while_it_tells(&mut collector, &pager, (action, before), dice).await;
            eventually("everything is told", async || match pager.stand_at(action) - before {
                ALERTS => Ok(()),
                told => Err(format!("{told} of {ALERTS} were told of their {action}")),
            })
            .await;
        }
        check(&collector, &pager, round).await;
    }
    let (lost, repeated) = (pager.lost.load(Ordering::Relaxed), pager.repeated());
    assert!(
        repeated <= kills + lost,
        "{repeated} were sent again, after {kills} kills and {lost} lost answers: one each at most"
    );
    assert_eq!(collector.stop().await, Some(0), "it stops cleanly after all that");
    Outcome::Passed(format!(
        "{kills} kills in {rounds} rounds of {} notifications; {} episodes, each triggered and resolved; {lost} answers lost, {repeated} sent again, each under its own key",
        2 * ALERTS,
        rounds * ALERTS,
    ))
}

/// Kills it so often, each time once it tells again; not any more when everything is told.
async fn kill_while_it_tells(
    collector: &mut Collector,
    pager: &Pager,
    (action, before): (&str, u64),
    dice: &mut Dice,
) -> u64 {
    for kills in 0..KILLS {
        let taken = pager.taken.load(Ordering::Relaxed);
        let is_told = eventually("it tells again", async || {
            let is_told = pager.stand_at(action) - before == ALERTS;
            if is_told || pager.taken.load(Ordering::Relaxed) > taken { Ok(is_told) } else { Err("silent".to_owned()) }
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

fn configuration(url: &str, rounds: u64) -> String {
    let mut text = format!(
        "alerts:\n  evaluation_interval: 1s\n  flapping: off\n  targets:\n    pager: {{pagerduty: {{url: '{url}', routing_key: {{file: key}}}}, rate: 10000 per 1s}}\n  rules:\n"
    );
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
    let response = request.timeout(Duration::from_secs(10)).send().await.expect("the collector answers");
    assert_eq!(response.status(), 200);
}

/// Every episode that the collector knows of was told of its beginning and then of its end, and no other was told at all.
async fn check(collector: &Collector, pager: &Pager, round: u64) {
    eventually("nothing waits any more", async || {
        match collector.api("deliveries?state=pending").await?.as_array().map(Vec::len) {
            Some(0) => Ok(()),
            waiting => Err(format!("{waiting:?} wait")),
        }
    })
    .await;
    let given_up = collector.api("deliveries").await.expect("an answer");
    assert_eq!(given_up, json!([]), "nothing is given up");
    let told = pager.told.lock().unwrap().clone();
    assert_eq!(told.len() as u64, (round + 1) * ALERTS, "nobody was told of what is no episode");
    for model in models(round) {
        let episodes = collector.api(&format!("alerts?limit=1000&model={model}")).await.expect("an answer");
        let episodes = episodes.as_array().expect("a list");
        assert_eq!(episodes.len() as u64, RULES, "each of the model's rules fired once");
        for episode in episodes {
            let (id, state) = (episode["id"].as_str().expect("an id"), &episode["state"]);
            assert_eq!(state, "resolved", "{id}");
            let told = told.get(id).unwrap_or_else(|| panic!("{id} was not told"));
            assert!(is_once(told), "{id}: {told:?}");
        }
    }
}

/// Whether it began and then ended, each of it said at least once: what is said again changes nothing there.
fn is_once(told: &[String]) -> bool {
    let begun = told.iter().take_while(|action| *action == "trigger").count();
    begun > 0 && begun < told.len() && told[begun..].iter().all(|action| action == "resolve")
}
