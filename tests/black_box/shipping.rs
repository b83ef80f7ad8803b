//! How batches reach a collector: what is told of it, when it is tried again, and what each batch says of the account.

#![allow(clippy::unwrap_used, reason = "what fails here fails a test")]

use std::collections::BTreeMap;
use std::time::Duration;

use driftline_protocol::{Account, EndState, Exchange};
use driftline_tests::{
    Answer, DELIVERED, DROPPED, ModelServer, Receiver, SEEN, Sidecar, client, eventually, metric, send,
};
use serde_json::json;

const UP: &str = "driftline_sidecar_collector_up";
const BACKOFF: &str = "driftline_sidecar_collector_backoff_seconds";
const REQUESTS: &str = "driftline_sidecar_collector_requests_total";
const WITHOUT_BODIES: &str = "driftline_sidecar_exchanges_without_bodies_total";
const CAPTURED: &str = "driftline_sidecar_exchanges_captured_total";
/// Callers at a time.
const CALLERS: usize = 4;

/// Waits until the metrics are as they should be.
async fn metrics_that(sidecar: &Sidecar, what: &str, hold: impl Fn(&str) -> bool) -> String {
    eventually(what, async || {
        let metrics = sidecar.metrics().await;
        let of_collector = |line: &&str| line.starts_with("driftline_sidecar_collector_");
        let shown: Vec<&str> = metrics.lines().filter(of_collector).collect();
        if hold(&metrics) { Ok(metrics) } else { Err(shown.join("\n")) }
    })
    .await
}

fn requests(metrics: &str, outcome: &str) -> f64 {
    metric(metrics, REQUESTS, &[("outcome", outcome)])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn metrics_tell_how_the_collector_is_and_how_long_it_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let (model, collector) = (ModelServer::start().await, Receiver::away());
    let more = ["--flush-interval=50ms", "--flush-budget=0s"];
    let sidecar = Sidecar::start(folder.path(), &model.address(), &collector.url(), "m", &more).await;
    let at_first = sidecar.metrics().await;
    assert_eq!((metric(&at_first, UP, &[]), metric(&at_first, BACKOFF, &[])), (0.0, 0.0), "nothing was sent yet");

    let is_left_alone = |metrics: &str| {
        metric(metrics, UP, &[]) == 0.0 && metric(metrics, BACKOFF, &[]) >= Duration::from_millis(100).as_secs_f64()
    };
    let is_up = |metrics: &str| metric(metrics, UP, &[]) == 1.0 && metric(metrics, BACKOFF, &[]) == 0.0;
    send(&sidecar, 0..1, CALLERS, 0).await;
    metrics_that(&sidecar, "nobody listens", |metrics| is_left_alone(metrics) && requests(metrics, "retry") >= 1.0)
        .await;
    collector.open().await;
    metrics_that(&sidecar, "it is there", |metrics| is_up(metrics) && requests(metrics, "ok") == 1.0).await;

    // It goes, and is left alone for longer each time.
    collector.answers(Answer::Status(503));
    send(&sidecar, 0..1, CALLERS, 0).await;
    let long = metrics_that(&sidecar, "it is left alone for longer", |metrics| {
        is_left_alone(metrics) && metric(metrics, BACKOFF, &[]) > 0.4
    })
    .await;
    assert!(metric(&long, BACKOFF, &[]) <= 30.0);
    collector.answers(Answer::Durable);
    metrics_that(&sidecar, "it comes back", |metrics| is_up(metrics) && requests(metrics, "ok") == 2.0).await;

    collector.answers(Answer::Status(401));
    send(&sidecar, 0..1, CALLERS, 0).await;
    let is_locked_out = |metrics: &str| is_left_alone(metrics) && requests(metrics, "unauthorized") >= 1.0;
    metrics_that(&sidecar, "it lets nobody in", is_locked_out).await;
    // One that refuses a batch for good is there, and no reason to wait.
    collector.answers(Answer::Status(422));
    metrics_that(&sidecar, "it refuses", |metrics| is_up(metrics) && requests(metrics, "rejected") == 1.0).await;
    let last = sidecar.metrics().await;
    assert_eq!(metric(&last, DELIVERED, &[]), 2.0);
    assert_eq!(metric(&last, DROPPED, &[("reason", "rejected")]), 1.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sidecars_that_were_sent_away_together_do_not_come_back_in_step() {
    const FLEET: [&str; 4] = ["one", "two", "three", "four"];
    const PAUSES: usize = 4;
    let folder = tempfile::tempdir().unwrap();
    let (model, collector) = (ModelServer::start().await, Receiver::start().await);
    collector.answers(Answer::Status(503));
    let mut fleet = Vec::new();
    for instance in FLEET {
        let instance = format!("--instance={instance}");
        let more = [instance.as_str(), "--flush-budget=0s"];
        let sidecar = Sidecar::start(folder.path(), &model.address(), &collector.url(), "m", &more).await;
        send(&sidecar, 0..1, CALLERS, 0).await;
        fleet.push(sidecar);
    }
    let mut pauses = Vec::new();
    for instance in FLEET {
        let tries = eventually("it has come back a few times", async || match collector.tries_of(instance) {
            tries if tries.len() > PAUSES => Ok(tries),
            tries => Err(format!("{} times", tries.len())),
        })
        .await;
        let gaps: Vec<Duration> = tries.windows(2).take(PAUSES).map(|pair| pair[1] - pair[0]).collect();
        for (failures, gap) in gaps.iter().enumerate() {
            // What comes on top is the time that an answer takes, on a slow machine.
            let most = Duration::from_millis(200 << failures);
            assert!(*gap >= most / 2 && *gap <= most + Duration::from_secs(3), "{instance}: {gaps:?}");
        }
        pauses.push(gaps);
    }
    // From 0.2 s doubled to 1.6 s, of each the second half: that the four are so close in all of them happens in one of
    // a million runs.
    let spread = |failures: usize| {
        let mut of_fleet: Vec<Duration> = pauses.iter().map(|gaps| gaps[failures]).collect();
        of_fleet.sort_unstable();
        of_fleet[FLEET.len() - 1] - of_fleet[0]
    };
    assert!((0..PAUSES).any(|failures| spread(failures) > Duration::from_millis(50)), "{pauses:?}");
}

/// What was dropped, by reason.
fn reasons(account: &Account) -> BTreeMap<String, f64> {
    account.dropped.iter().map(|dropped| (dropped.reason.clone(), dropped.count as f64)).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_has_no_room_for_its_bodies_arrives_without_them() {
    const SENT: usize = 600;
    let folder = tempfile::tempdir().unwrap();
    let model = ModelServer::start().await;
    let collector = Receiver::away();
    let more = ["--capture-budget=4MiB", "--max-body=64KiB"];
    let sidecar = Sidecar::start(folder.path(), &model.address(), &collector.url(), "m", &more).await;
    send(&sidecar, 0..SENT, CALLERS, 12_000).await;
    metrics_that(&sidecar, "the budget is as good as full", |metrics| {
        metric(metrics, SEEN, &[]) == SENT as f64 && metric(metrics, WITHOUT_BODIES, &[]) > 50.0
    })
    .await;
    collector.open().await;
    let metrics = metrics_that(&sidecar, "all that was kept is delivered", |metrics| {
        metric(metrics, DELIVERED, &[]) + metric(metrics, DROPPED, &[]) == SENT as f64
    })
    .await;
    let (without, whole): (Vec<Exchange>, Vec<Exchange>) =
        collector.exchanges().into_iter().partition(|exchange| exchange.end() == EndState::Budget);
    assert_eq!(without.len() as f64, metric(&metrics, WITHOUT_BODIES, &[]));
    assert!(whole.len() > 40 && whole.iter().all(|exchange| exchange.end() == EndState::Complete), "{}", whole.len());
    for exchange in without {
        assert!(exchange.status == 200 && exchange.duration_micros > 0, "{exchange:?}");
        let request = exchange.request.unwrap();
        assert!(request.size > 12_000 && request.content.is_empty(), "{} bytes", request.content.len());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_batch_tells_the_account_that_the_metrics_show() {
    const REFUSED: usize = 40;
    const TOO_MUCH: usize = 1000;
    const MORE: usize = 30;
    let folder = tempfile::tempdir().unwrap();
    let rules = folder.path().join("rules.yaml");
    std::fs::write(&rules, "sample: {keep_one_in: 2}\n").unwrap();
    let rules = format!("--rules={}", rules.display());
    let (model, collector) = (ModelServer::start().await, Receiver::start().await);
    let more = [&rules, "--capture-budget=512KiB", "--max-body=64KiB", "--flush-interval=50ms", "--flush-budget=0s"];
    let sidecar = Sidecar::start(folder.path(), &model.address(), &collector.url(), "m", &more).await;
    let at_rest = async |seen: usize| {
        metrics_that(&sidecar, "nothing is on its way", |metrics| {
            let on_its_way =
                metric(metrics, DELIVERED, &[]) + metric(metrics, DROPPED, &[]) - metric(metrics, SEEN, &[]);
            metric(metrics, SEEN, &[]) == seen as f64 && on_its_way == 0.0
        })
        .await
    };
    collector.answers(Answer::Status(400));
    send(&sidecar, 0..REFUSED, CALLERS, 0).await;
    at_rest(REFUSED).await;
    collector.answers(Answer::Status(503));
    send(&sidecar, 0..TOO_MUCH, CALLERS, 12_000).await;
    collector.answers(Answer::Durable);
    at_rest(REFUSED + TOO_MUCH).await;
    send(&sidecar, 0..MORE, CALLERS, 0).await;
    let before = at_rest(REFUSED + TOO_MUCH + MORE).await;
    // One more, which is kept for being an error: its batch tells of all before it.
    let wrong = client().post(format!("http://{}/v2/models/m/infer", sidecar.address())).json(&json!({ "inputs": [] }));
    assert_eq!(wrong.send().await.unwrap().status(), 400);
    at_rest(REFUSED + TOO_MUCH + MORE + 1).await;

    let batches = collector.batches();
    let last = batches.last().unwrap();
    assert_eq!(last.exchanges.len(), 1);
    let account = last.account.as_ref().unwrap();
    let shown = |name: &str, labels: &[(&str, &str)]| metric(&before, name, labels);
    assert_eq!(account.seen as f64, shown(SEEN, &[]) + 1.0);
    assert_eq!(account.captured as f64, shown(CAPTURED, &[]) + 1.0);
    assert_eq!(account.delivered as f64, shown(DELIVERED, &[]));
    let dropped = reasons(account);
    assert!(dropped.keys().eq(["budget", "rejected", "sampled"]), "{dropped:?}");
    for (reason, count) in &dropped {
        assert_eq!(*count, shown(DROPPED, &[("reason", reason)]), "{reason}");
    }
    assert_eq!(dropped.values().sum::<f64>(), shown(DROPPED, &[]), "no reason is told of that is not in the batch");
    // What was captured is what nobody left out before: the sample did, and a budget that was full.
    assert_eq!(account.captured as f64 + dropped["sampled"] + dropped["budget"], account.seen as f64);

    let mut earlier = Account::default();
    let mut carried = 0;
    for batch in &batches {
        let account = batch.account.clone().unwrap();
        carried += batch.exchanges.len() as u64;
        let dropped: f64 = reasons(&account).values().sum();
        assert!(
            account.delivered as f64 + dropped + batch.exchanges.len() as f64 <= account.seen as f64,
            "{account:?}"
        );
        assert!(account.captured <= account.seen && account.delivered <= carried, "{account:?}");
        let only_grows = |count: fn(&Account) -> u64| count(&earlier) <= count(&account);
        assert!(only_grows(|account| account.seen) && only_grows(|account| account.captured), "{account:?}");
        assert!(only_grows(|account| account.delivered), "{account:?}");
        let before = reasons(&earlier);
        assert!(before.iter().all(|(reason, count)| reasons(&account).get(reason) >= Some(count)), "{account:?}");
        earlier = account;
    }
    assert_eq!(carried as f64, shown(DELIVERED, &[]) + 1.0, "what is acknowledged is what was delivered");
}
