//! An acknowledgement means durable: the collector is killed in the middle, and every row is there once.

#![allow(clippy::unwrap_used, reason = "what fails here fails a test")]

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use arrow_array::cast::AsArray;
use arrow_array::types::Float64Type;
use driftline_tests::{Collector, ModelServer, Sidecar, client, eventually, metric};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::json;

/// Kills of the collector. The long run of the crash harness has its own command.
const KILLS: usize = 5;

/// All rows of an archive: id and value.
fn archived(folder: &Path) -> Vec<(String, f64)> {
    let mut rows = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|ending| ending == "parquet") {
                let file = std::fs::File::open(path).unwrap();
                for batch in ParquetRecordBatchReaderBuilder::try_new(file).unwrap().build().unwrap() {
                    let batch = batch.unwrap();
                    let ids = batch.column_by_name("row_id").unwrap().as_string::<i32>();
                    let values = batch.column_by_name("x").unwrap().as_primitive::<Float64Type>();
                    rows.extend(ids.iter().zip(values.values()).map(|(id, value)| (id.unwrap().to_owned(), *value)));
                }
            }
        }
    }
    rows
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_at_any_moment_nothing_is_lost_and_nothing_is_there_twice() {
    let folder = tempfile::tempdir().unwrap();
    // Small cuts and short ages, so that kills hit every stage.
    let configuration = "archive: {folder: archive, partition: day, max_age: 100ms}\nmodels:\n  - {name: m, windows: {pane: 1s, window: 10s, every: 1s, lateness: 1s}}\n";
    let mut collector = Collector::start(folder.path(), configuration).await;
    let model = ModelServer::start().await;
    let fast = ["--flush-interval=20ms"];
    let sidecar = Sidecar::start(folder.path(), &model.address(), &collector.url(), "m", &fast).await;

    let (sent, done) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
    let url = format!("http://{}/v2/models/m/infer", sidecar.address());
    let senders: Vec<_> = (0..4)
        .map(|_| {
            let (sent, done, url) = (Arc::clone(&sent), Arc::clone(&done), url.clone());
            tokio::spawn(async move {
                let client = client();
                while !done.load(Ordering::Relaxed) {
                    let number = sent.fetch_add(1, Ordering::Relaxed);
                    let body = json!({
                        "id": format!("row-{number}"),
                        "inputs": [{ "name": "x", "shape": [1], "datatype": "FP64", "data": [number] }],
                    });
                    let response = client.post(&url).json(&body).send().await.unwrap();
                    assert_eq!(response.status(), 200);
                    tokio::time::sleep(Duration::from_millis(2)).await;
                }
            })
        })
        .collect();
    for kill in 0..KILLS {
        // Odd moments, the same in every run.
        tokio::time::sleep(Duration::from_millis(300 + 137 * kill as u64)).await;
        collector.kill_and_restart().await;
    }
    done.store(true, Ordering::Relaxed);
    for sender in senders {
        sender.await.unwrap();
    }
    let sent = sent.load(Ordering::Relaxed);
    eventually("everything is delivered", async || {
        let delivered = metric(&sidecar.metrics().await, "driftline_sidecar_exchanges_delivered_total", &[]);
        if delivered == sent as f64 { Ok(()) } else { Err(format!("{delivered} of {sent}")) }
    })
    .await;
    collector.settled().await;

    let mut expected: BTreeMap<String, f64> =
        (0..sent).map(|number| (format!("row-{number}"), number as f64)).collect();
    for (id, value) in archived(&folder.path().join("archive")) {
        assert_eq!(expected.remove(&id), Some(value), "{id} is there twice, or was never sent");
    }
    assert!(expected.is_empty(), "{} rows are missing, {:?} among them", expected.len(), expected.keys().next());
    let overview = collector.api("models/m").await.unwrap();
    let counted = overview["rows"].as_u64().unwrap() + overview["late_rows"].as_u64().unwrap();
    assert_eq!(counted, sent as u64, "rows counted");
    assert!(sent > 500, "only {sent} rows were sent");
    assert_eq!(collector.stop().await, Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_sent_while_the_collector_was_away_arrives_when_it_returns() {
    let folder = tempfile::tempdir().unwrap();
    let mut collector = Collector::start(folder.path(), "archive: {max_age: 200ms}\n").await;
    let model = ModelServer::start().await;
    let sidecar = Sidecar::start(folder.path(), &model.address(), &collector.url(), "m", &[]).await;
    collector.kill().await;
    let body = json!({ "inputs": [{ "name": "x", "shape": [1], "datatype": "FP64", "data": [1] }] });
    for _ in 0..200 {
        let response =
            client().post(format!("http://{}/v2/models/m/infer", sidecar.address())).json(&body).send().await;
        assert_eq!(response.unwrap().status(), 200, "the model answers as if nothing had happened");
    }
    collector.restart().await;
    eventually("everything is delivered", async || {
        let delivered = metric(&sidecar.metrics().await, "driftline_sidecar_exchanges_delivered_total", &[]);
        if delivered == 200.0 { Ok(()) } else { Err(delivered.to_string()) }
    })
    .await;
    assert_eq!(collector.settled().await, 200);
}
