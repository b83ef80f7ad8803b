//! What the collector makes of an exchange: of times that cannot be, of names that are taken, and of samples.

#![allow(clippy::unwrap_used, reason = "what fails here fails a test")]

use std::time::{SystemTime, UNIX_EPOCH};

use driftline_protocol::{Batch, Body, EndState, Exchange, frame};
use driftline_tests::{Collector, client, metric};

fn now_micros() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_micros() as i64
}

fn exchange(instance: &str) -> Exchange {
    let body = |text: String| Some(Body { size: text.len() as u64, content: text.into(), ..Body::default() });
    Exchange {
        method: "POST".into(),
        target: "/v1/models/m:predict".into(),
        status: 200,
        end: EndState::Complete.into(),
        started_at_micros: now_micros() - 1_000_000,
        request: body(format!(r#"{{"instances": [{instance}]}}"#)),
        response: body(r#"{"predictions": [1]}"#.into()),
        ..Exchange::default()
    }
}

async fn send(collector: &Collector, exchanges: Vec<Exchange>) {
    let count = exchanges.len() as u64;
    let numbered = |(index, exchange): (usize, Exchange)| {
        let sequence = index as u64 + 1;
        Exchange { sequence, request_id: format!("r-{sequence}"), ..exchange }
    };
    let batch = Batch {
        boot_id: vec![7; 16],
        model: "m".into(),
        instance: "test".into(),
        first_sequence: 1,
        last_sequence: count,
        exchanges: exchanges.into_iter().enumerate().map(numbered).collect(),
        ..Batch::default()
    };
    let url = format!("{}/v1/exchanges", collector.url());
    let response = client().post(url).body(frame::encode(&batch).unwrap()).send().await.unwrap();
    assert_eq!(response.status(), 200);
}

/// An indicator of the last hour: good and valid.
async fn sli(collector: &Collector, name: &str) -> (u64, u64) {
    let model = collector.api("models/m").await.unwrap();
    let slis = model["slis"].as_array().unwrap();
    let sli = slis.iter().find(|sli| sli["sli"] == name).unwrap();
    (sli["good"].as_u64().unwrap(), sli["valid"].as_u64().unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn times_that_cannot_be_cost_no_rows_and_stop_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let configuration = "archive: {folder: archive, max_age: 200ms}\nmodels:\n  - {name: m, event_time: {column: at, unit: microseconds}}\n";
    let mut collector = Collector::start(folder.path(), configuration).await;
    let now = now_micros();
    let mut exchanges: Vec<Exchange> =
        ["-8000000000000000000", "-5000000000000000", "8000000000000000000", "null", &now.to_string()]
            .iter()
            .map(|at| exchange(&format!(r#"{{"x": 1, "at": {at}}}"#)))
            .collect();
    // The second one's sidecar has no clock at all, nor the third's.
    exchanges[1].started_at_micros = i64::MIN;
    exchanges[2].started_at_micros = i64::MAX;
    send(&collector, exchanges).await;
    assert_eq!(collector.settled().await, 5);
    let metrics = collector.metrics().await;
    assert_eq!(metric(&metrics, "driftline_event_times_unusable_total", &[]), 4.0);
    assert_eq!(metric(&metrics, "driftline_rows_counted_total", &[]), 5.0);
    assert_eq!(sli(&collector, "availability").await, (5, 5), "indicators are of the time of arrival at the latest");
    assert_eq!(collector.stop().await, Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn names_of_our_own_columns_and_folders_are_free_for_callers() {
    let folder = tempfile::tempdir().unwrap();
    let collector = Collector::start(folder.path(), "archive: {folder: archive, max_age: 200ms}\n").await;
    let instance = r#"{"status": 1, "column.status": 2, "column.column.status": 3, "hour": 4, "x": 5}"#;
    send(&collector, vec![exchange(instance)]).await;
    assert_eq!(collector.settled().await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn indicators_add_weights_and_windows_leave_out_what_the_sample_did_not_draw() {
    let folder = tempfile::tempdir().unwrap();
    let collector = Collector::start(folder.path(), "archive: {folder: archive, max_age: 200ms}\n").await;
    let drawn = Exchange { weight: 10, ..exchange(r#"{"x": 1}"#) };
    let slow = Exchange { weight: 1, outside_sample: true, duration_micros: 9_000_000, ..exchange(r#"{"x": 1}"#) };
    let no_memory =
        Exchange { weight: 10, end: EndState::Budget.into(), request: None, response: None, ..exchange(r#"{"x": 1}"#) };
    send(&collector, vec![drawn, slow, no_memory, exchange(r#"{"x": 1}"#)]).await;
    assert_eq!(collector.settled().await, 3, "rows outside the sample are archived");
    let metrics = collector.metrics().await;
    assert_eq!(metric(&metrics, "driftline_rows_counted_total", &[]), 2.0);
    assert_eq!(metric(&metrics, "driftline_rows_not_counted_total", &[]), 1.0);
    assert_eq!(sli(&collector, "availability").await, (22, 22));
    assert_eq!(sli(&collector, "latency").await, (21, 22));
}
