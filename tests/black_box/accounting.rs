//! `seen = delivered + Σ dropped{reason}`, whatever the collector does; and every row once, in the windows and in the
//! archive.

#![allow(clippy::unwrap_used, reason = "what fails here fails a test")]

use std::time::Duration;

use axum::Router;
use axum::http::StatusCode;
use axum::routing::post;
use driftline_tests::{
    Collector, DELIVERED, DROPPED, ModelServer, PATIENCE, SEEN, Sidecar, client, eventually, metric, send,
};
use serde_json::json;
use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;

/// Callers at a time.
const CALLERS: usize = 8;
/// Exchanges of 12 kB, of which a budget of 4 MiB has room for a few hundred, and for some thousands without bodies.
const TOO_MANY: usize = 8000;

fn account(metrics: &str) -> (f64, f64, f64) {
    (metric(metrics, SEEN, &[]), metric(metrics, DELIVERED, &[]), metric(metrics, DROPPED, &[]))
}

/// Waits until the sidecar has nothing on its way, and has given its memory back, and checks the law.
async fn at_rest(sidecar: &Sidecar, requests: usize) -> String {
    eventually("every exchange is delivered or dropped", async || {
        let metrics = sidecar.metrics().await;
        let (seen, delivered, dropped) = account(&metrics);
        let held = metric(&metrics, "driftline_sidecar_capture_bytes", &[]);
        if seen == requests as f64 && seen == delivered + dropped && held == 0.0 {
            Ok(metrics)
        } else {
            Err(format!("seen {seen}, delivered {delivered}, dropped {dropped}, {held} bytes held"))
        }
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_request_is_counted_and_archived_once() {
    let folder = tempfile::tempdir().unwrap();
    let collector = Collector::start(folder.path(), "archive: {max_age: 500ms}\n").await;
    let model = ModelServer::start().await;
    let mut sidecar = Sidecar::start(folder.path(), &model.address(), &collector.url(), "m", &[]).await;
    send(&sidecar, 0..5000, CALLERS, 0).await;
    let metrics = at_rest(&sidecar, 5000).await;
    assert_eq!(account(&metrics), (5000.0, 5000.0, 0.0));
    assert_eq!(collector.settled().await, 5000);
    assert_eq!(collector.api("models/m").await.unwrap()["rows"], 5000);
    let metrics = collector.metrics().await;
    assert_eq!(metric(&metrics, "driftline_rows_counted_total", &[("model", "m")]), 5000.0);
    let sidecars = collector.api("status").await.unwrap()["sidecars"].clone();
    assert_eq!((&sidecars[0]["durable"], &sidecars[0]["missing"]), (&json!(5000), &json!(0)));
    assert_eq!(sidecar.stop().await, Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_model_too_many_waits_in_the_spool_until_the_limit_is_raised() {
    let folder = tempfile::tempdir().unwrap();
    let limited =
        |models: u64| format!("max_models: {models}\nmodels: [{{name: first}}]\narchive: {{max_age: 200ms}}\n");
    let mut collector = Collector::start(folder.path(), &limited(1)).await;
    let model = ModelServer::start().await;
    let spool = format!("--spool-dir={}", folder.path().join("spool").display());
    let more = [spool.as_str(), "--flush-budget=1s"];
    let mut sidecar = Sidecar::start(folder.path(), &model.address(), &collector.url(), "second", &more).await;
    send(&sidecar, 0..100, CALLERS, 0).await;
    eventually("the collector says that it knows too many models", async || {
        let refused = metric(&collector.metrics().await, "driftline_requests_refused_total", &[("reason", "models")]);
        if refused > 0.0 { Ok(()) } else { Err("nothing is refused".to_owned()) }
    })
    .await;
    assert_eq!(account(&sidecar.metrics().await), (100.0, 0.0, 0.0), "it keeps what it has");
    assert_eq!(sidecar.stop().await, Some(0));
    collector.configure(&limited(2));
    assert_eq!(collector.stop().await, Some(0));
    collector.restart().await;
    let mut sidecar = Sidecar::start(folder.path(), &model.address(), &collector.url(), "second", &more).await;
    eventually("what was held back is archived", async || match collector.settled().await {
        100 => Ok(()),
        rows => Err(format!("{rows} rows")),
    })
    .await;
    assert_eq!(sidecar.stop().await, Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_collector_memory_keeps_to_its_budget_and_the_rest_is_dropped_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let model = ModelServer::start().await;
    let nobody = "http://127.0.0.1:9";
    let budget = ["--capture-budget=4MiB", "--max-body=64KiB", "--flush-budget=1s"];
    let mut sidecar = Sidecar::start(folder.path(), &model.address(), nobody, "m", &budget).await;
    send(&sidecar, 0..TOO_MANY, CALLERS, 12_000).await;
    let metrics = sidecar.metrics().await;
    let (seen, delivered, _) = account(&metrics);
    assert_eq!((seen, delivered), (TOO_MANY as f64, 0.0));
    assert!(metric(&metrics, DROPPED, &[("reason", "budget")]) > 500.0, "{metrics}");
    let held = metric(&metrics, "driftline_sidecar_capture_bytes", &[]);
    assert!(held <= 4.0 * 1024.0 * 1024.0, "{held}");
    let resident = sidecar.resident_bytes();
    assert!(resident < (16 + 4) << 20, "{resident} bytes resident");
    assert_eq!(sidecar.stop().await, Some(0));
    let log = log_of(folder.path());
    assert!(log.contains(&format!("seen={TOO_MANY} delivered=0 dropped={TOO_MANY}")), "{log}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_sidecar_dropped_is_unknown_and_all_of_it_is_what_was_seen() {
    let folder = tempfile::tempdir().unwrap();
    let config = "archive: {max_age: 200ms}\nalerts: {evaluation_interval: 1s}\n";
    let mut collector = Collector::start(folder.path(), config).await;
    let model = ModelServer::start().await;
    let budget = ["--capture-budget=512KiB", "--max-body=64KiB"];
    let sidecar = Sidecar::start(folder.path(), &model.address(), &collector.url(), "m", &budget).await;
    assert_eq!(collector.stop().await, Some(0));
    send(&sidecar, 0..2000, CALLERS, 12_000).await;
    collector.restart().await;
    eventually("nothing of it is held any more", async || match account(&sidecar.metrics().await) {
        (seen, delivered, dropped) if seen == delivered + dropped => Ok(()),
        held => Err(format!("{held:?}")),
    })
    .await;
    // What is dropped is told with what comes next. The body of the last is cut, so that its row is not known.
    send(&sidecar, 0..10, CALLERS, 0).await;
    send(&sidecar, 0..1, CALLERS, 100_000).await;
    let (_, delivered, dropped) = account(&at_rest(&sidecar, 2011).await);
    assert!(dropped > 500.0, "{dropped}");
    let counts = async |collector: &Collector, name: &str| {
        let model = collector.api("models/m").await.unwrap();
        let sli = model["slis"].as_array().unwrap().iter().find(|sli| sli["sli"] == name).cloned().unwrap();
        ["good", "valid", "unknown"].map(|count| sli[count].as_f64().unwrap())
    };
    let is_whole = async |collector: &Collector| {
        let requests = counts(collector, "availability").await;
        let [good, valid, unknown] = counts(collector, "schema").await;
        let rows_are_whole = good == valid && valid + unknown == delivered && unknown >= 1.0;
        match requests == [delivered, delivered, dropped] && rows_are_whole {
            true => Ok(()),
            false => Err(format!("{requests:?} and {valid} + {unknown}, of {delivered} and {dropped}")),
        }
    };
    eventually("good, bad and unknown are what was seen", async || is_whole(&collector).await).await;
    let requests = [("sli", "availability")];
    assert_eq!(metric(&collector.metrics().await, "driftline_sli_unknown_total", &requests), dropped);
    // Of that many nobody can say how the objective stands.
    eventually("the objective says that too much was lost", async || {
        let labels = [("rule", "AvailabilityBudget"), ("model", "m"), ("state", "degraded_capture")];
        match metric(&collector.metrics().await, "driftline_objective_state", &labels) {
            1.0 => Ok(()),
            shown => Err(format!("{shown}")),
        }
    })
    .await;
    assert_eq!(collector.stop().await, Some(0));
    collector.restart().await;
    eventually("and it stays so over a restart", async || {
        let objectives = collector.api("models/m").await?["objectives"].clone();
        let of_answers = objectives.as_array().into_iter().flatten().find(|of| of["rule"] == "AvailabilityBudget");
        let shown = of_answers.map(|of| (of["state"].clone(), of["unknown"].clone()));
        if shown == Some((json!("degraded_capture"), json!(dropped as u64))) {
            Ok(())
        } else {
            Err(format!("{shown:?}"))
        }
    })
    .await;
    assert_eq!(is_whole(&collector).await, Ok(()), "and so do the counts");
}

fn log_of(folder: &std::path::Path) -> String {
    let logs = std::fs::read_dir(folder).unwrap().filter_map(|entry| {
        let path = entry.unwrap().path();
        let is_log = path.file_name()?.to_str()?.starts_with("sidecar");
        is_log.then(|| std::fs::read_to_string(path).unwrap())
    });
    // Without the colours of a terminal.
    let text: String = logs.collect();
    let mut plain = String::new();
    let mut in_escape = false;
    for c in text.chars() {
        match (in_escape, c) {
            (false, '\u{1b}') => in_escape = true,
            (true, 'm') => in_escape = false,
            (true, _) => {}
            (false, c) => plain.push(c),
        }
    }
    plain
}

/// A server that answers every batch in one way.
async fn answering(status: u16, body: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let answer = move || async move { (StatusCode::from_u16(status).unwrap(), body) };
    tokio::spawn(async move { axum::serve(listener, Router::new().route("/v1/exchanges", post(answer))).await });
    format!("http://{address}")
}

/// A server that takes connections and bytes, and never says a word.
async fn silent() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut buffer = vec![0; 1 << 16];
                while stream.read(&mut buffer).await.is_ok_and(|bytes| bytes > 0) {}
            });
        }
    });
    format!("http://{address}")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_collector_that_refuses_costs_what_it_refused() {
    let folder = tempfile::tempdir().unwrap();
    let model = ModelServer::start().await;
    let collector = answering(400, "no such model").await;
    let sidecar = Sidecar::start(folder.path(), &model.address(), &collector, "m", &[]).await;
    send(&sidecar, 0..300, CALLERS, 0).await;
    let metrics = at_rest(&sidecar, 300).await;
    assert_eq!(metric(&metrics, DROPPED, &[("reason", "rejected")]), 300.0);
    eventually("it is logged why", async || match log_of(folder.path()) {
        log if log.contains("no such model") => Ok(()),
        log => Err(log),
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_collector_that_is_silent_or_talks_nonsense_costs_the_callers_nothing() {
    let model = ModelServer::start().await;
    for collector in
        [silent().await, answering(200, "<html>not an acknowledgement</html>").await, answering(503, "").await]
    {
        let folder = tempfile::tempdir().unwrap();
        let stop = ["--flush-budget=1s", "--drain-grace=1s"];
        let mut sidecar = Sidecar::start(folder.path(), &model.address(), &collector, "m", &stop).await;
        tokio::time::timeout(PATIENCE, send(&sidecar, 0..500, CALLERS, 100))
            .await
            .expect("callers wait for no collector");
        assert_eq!(sidecar.stop().await, Some(0));
        let log = log_of(folder.path());
        assert!(log.contains("seen=500 delivered=0 dropped=500"), "{log}");
    }
}

/// A server that is silent on its first connection, and acknowledges everything on the others.
async fn dead_at_first() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let mut first = Some(listener.accept().await.unwrap());
        let acknowledge = async |bytes: axum::body::Bytes| {
            let batch = driftline_protocol::frame::decode(&bytes).unwrap();
            assert!(batch.last_sequence < 128, "its number is one byte");
            vec![1 << 3, batch.last_sequence as u8]
        };
        axum::serve(listener, Router::new().route("/v1/exchanges", post(acknowledge))).await.ok();
        first.take();
    });
    format!("http://{address}")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_gives_a_dead_connection_up_and_delivers_over_another() {
    let folder = tempfile::tempdir().unwrap();
    let model = ModelServer::start().await;
    let collector = dead_at_first().await;
    let mut sidecar = Sidecar::start(folder.path(), &model.address(), &collector, "m", &["--drain-grace=1s"]).await;
    send(&sidecar, 0..50, CALLERS, 0).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    send(&sidecar, 0..50, CALLERS, 0).await;
    assert_eq!(sidecar.stop().await, Some(0));
    let log = log_of(folder.path());
    assert!(log.contains("seen=100 delivered=100 dropped=0"), "{log}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn failures_and_other_paths_are_told_apart() {
    let folder = tempfile::tempdir().unwrap();
    let collector = Collector::start(folder.path(), "archive: {max_age: 500ms}\n").await;
    let model = ModelServer::start().await;
    let sidecar = Sidecar::start(folder.path(), &model.address(), &collector.url(), "m", &[]).await;
    let client = client();
    let url = |path: &str| format!("http://{}/{path}", sidecar.address());
    // Not inference: passes, and is nobody's business.
    assert_eq!(client.get(url("status/204")).send().await.unwrap().status(), 204);
    // Inference that fails by the caller's doing: rows are archived with the status, and not counted.
    let bad = json!({ "inputs": [] });
    assert_eq!(client.post(url("v2/models/m/infer")).json(&bad).send().await.unwrap().status(), 400);
    // A body that nobody can read.
    let malformed =
        client.post(url("v2/models/m/infer")).header("content-type", "application/json").body("{\"inputs\"");
    assert_eq!(malformed.send().await.unwrap().status(), 400);
    let good = json!({ "inputs": [{ "name": "x", "shape": [2], "datatype": "FP64", "data": [1, 2] }] });
    assert_eq!(client.post(url("v2/models/m/infer")).json(&good).send().await.unwrap().status(), 200);
    at_rest(&sidecar, 3).await;
    assert_eq!(collector.settled().await, 2);
    let metrics = collector.metrics().await;
    assert_eq!(metric(&metrics, "driftline_exchanges_received_total", &[("model", "m")]), 3.0);
    assert_eq!(metric(&metrics, "driftline_exchanges_undecodable_total", &[("reason", "malformed")]), 1.0);
    assert_eq!(
        metric(&metrics, "driftline_sli_valid_total", &[("sli", "availability")]),
        1.0,
        "400 is the caller's doing"
    );
}
