//! An acknowledgement means durable: the collector is killed in the middle, and every row is there once.

#![allow(clippy::unwrap_used, reason = "what fails here fails a test")]

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use arrow_array::cast::AsArray;
use arrow_array::types::Float64Type;
use driftline_protocol::{Batch, Body, EndState, Exchange, frame};
use driftline_tests::{Collector, DELIVERED, ModelServer, Sidecar, client, eventually, metric};
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
    eventually("there are hundreds of rows", async || match sent.load(Ordering::Relaxed) {
        rows if rows > 500 => Ok(()),
        rows => Err(format!("{rows} are sent")),
    })
    .await;
    done.store(true, Ordering::Relaxed);
    for sender in senders {
        sender.await.unwrap();
    }
    let sent = sent.load(Ordering::Relaxed);
    eventually("everything is delivered", async || {
        let delivered = metric(&sidecar.metrics().await, DELIVERED, &[]);
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
        let delivered = metric(&sidecar.metrics().await, DELIVERED, &[]);
        if delivered == 200.0 { Ok(()) } else { Err(delivered.to_string()) }
    })
    .await;
    assert_eq!(collector.settled().await, 200);
}

/// Copies a folder's files; a database may have several.
fn copy_files(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

/// Sends rows in a batch of their own boot.
async fn send_rows(collector: &Collector, boot: u8, rows: u64) {
    let body = |text: &str| Some(Body { content: text.to_owned().into(), size: text.len() as u64, ..Body::default() });
    let exchange = |sequence| Exchange {
        sequence,
        method: "POST".into(),
        target: "/v1/models/m:predict".into(),
        status: 200,
        end: EndState::Complete.into(),
        started_at_micros: 1_700_000_000_000_000,
        request: body(r#"{"instances": [{"x": 1}]}"#),
        response: body(r#"{"predictions": [1]}"#),
        ..Exchange::default()
    };
    let batch = Batch {
        boot_id: vec![boot; 16],
        model: "m".into(),
        first_sequence: 1,
        last_sequence: rows,
        exchanges: (1..=rows).map(exchange).collect(),
        ..Batch::default()
    };
    let frame = frame::encode(&batch).unwrap();
    let response = client().post(format!("{}/v1/exchanges", collector.url())).body(frame).send().await.unwrap();
    assert_eq!(response.status(), 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_archive_that_has_to_stop_is_said_and_counting_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let mut collector = Collector::start(folder.path(), "archive: {folder: archive, max_age: 100ms}\n").await;
    assert_eq!(collector.stop().await, Some(0));
    let (data, copy) = (folder.path().join("data"), folder.path().join("copy"));
    copy_files(&data, &copy);
    collector.restart().await;
    send_rows(&collector, 1, 1).await;
    assert_eq!(collector.settled().await, 1);
    assert_eq!(collector.stop().await, Some(0));
    // A database that was put back names its next cut like one that is archived already.
    std::fs::remove_dir_all(&data).unwrap();
    copy_files(&copy, &data);
    collector.restart().await;
    send_rows(&collector, 2, 2).await;
    eventually("archiving has stopped", async || {
        let stopped = metric(&collector.metrics().await, "driftline_archive_stopped", &[]);
        if stopped == 1.0 { Ok(()) } else { Err(stopped.to_string()) }
    })
    .await;
    send_rows(&collector, 3, 3).await;
    eventually("rows are counted all the same", async || {
        let counted = metric(&collector.metrics().await, "driftline_rows_counted_total", &[]);
        if counted == 5.0 { Ok(()) } else { Err(counted.to_string()) }
    })
    .await;
    let ask = async |path: &str| {
        let response = client().get(format!("{}{path}", collector.url())).send().await.unwrap();
        (response.status().as_u16(), response.text().await.unwrap())
    };
    assert_eq!(ask("/livez").await.0, 200);
    let (status, says) = ask("/readyz").await;
    assert!(status == 503 && says.contains("archiving has stopped"), "{status} {says}");
    // Metrics are ahead of the database, up to a checkpoint.
    eventually("both batches are counted in the database and none is archived", async || {
        let status = collector.api("status").await?;
        let positions = (&status["counted_position"], &status["archived_position"]);
        if positions == (&json!(2), &json!(0)) { Ok(()) } else { Err(format!("{positions:?}")) }
    })
    .await;
    assert_eq!(collector.stop().await, Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_start_says_what_it_read_again_and_counts_nothing_twice() {
    let folder = tempfile::tempdir().unwrap();
    // No cut is made before the kill: the archive has everything to read again, and the windows nothing.
    let mut collector = Collector::start(folder.path(), "archive: {folder: archive, max_age: 1h}\n").await;
    for boot in 1..=5 {
        send_rows(&collector, boot, 20).await;
    }
    eventually("everything is counted in the database", async || {
        let status = collector.api("status").await?;
        if status["counted_position"] == 5 { Ok(()) } else { Err(status.to_string()) }
    })
    .await;
    collector.kill_and_restart().await;
    let metrics = eventually("what was in the journal is worked off", async || {
        let metrics = collector.metrics().await;
        let seconds = metric(&metrics, "driftline_start_replay_seconds", &[]);
        if seconds > 0.0 { Ok(metrics) } else { Err("not yet".to_owned()) }
    })
    .await;
    let replayed = |purpose| metric(&metrics, "driftline_start_replay_batches", &[("purpose", purpose)]);
    assert_eq!((replayed("count"), replayed("archive")), (0.0, 5.0));
    assert!(metric(&metrics, "driftline_start_seconds", &[]) > 0.0);
    send_rows(&collector, 6, 20).await;
    eventually("each row is counted once", async || {
        let rows = collector.api("models/m").await?["rows"].clone();
        if rows == 120 { Ok(()) } else { Err(rows.to_string()) }
    })
    .await;
    assert_eq!(collector.stop().await, Some(0));
    collector.restart().await;
    assert_eq!(collector.settled().await, 120, "and archived once");
}
