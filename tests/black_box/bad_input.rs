//! Bad input gets a clear error that says what, where and what to do; and nothing else is lost.

#![allow(clippy::unwrap_used, reason = "what fails here fails a test")]

use driftline_protocol::{Batch, Body, EndState, Exchange, frame};
use driftline_tests::{Collector, client, eventually, metric, run};
use serde_json::json;

fn batch(first: u64, last: u64) -> Batch {
    let body = |text: &str| Some(Body { content: text.to_owned().into(), size: text.len() as u64, ..Body::default() });
    let exchange = |sequence| Exchange {
        sequence,
        request_id: format!("r-{sequence}"),
        method: "POST".into(),
        target: "/v1/models/m:predict".into(),
        status: 200,
        end: EndState::Complete.into(),
        started_at_micros: 1_700_000_000_000_000,
        request: body(r#"{"instances": [[1]]}"#),
        response: body(r#"{"predictions": [1]}"#),
        ..Exchange::default()
    };
    Batch {
        boot_id: vec![7; 16],
        model: "m".into(),
        instance: "test".into(),
        first_sequence: first,
        last_sequence: last,
        exchanges: (first..=last).map(exchange).collect(),
        ..Batch::default()
    }
}

async fn post(collector: &Collector, path: &str, body: Vec<u8>) -> (u16, String) {
    let response = client().post(format!("{}{path}", collector.url())).body(body).send().await.unwrap();
    (response.status().as_u16(), String::from_utf8_lossy(&response.bytes().await.unwrap()).into_owned())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn batches_that_are_wrong_are_refused_and_the_others_counted() {
    let folder = tempfile::tempdir().unwrap();
    let collector = Collector::start(folder.path(), "max_models: 2\narchive: {max_age: 200ms}\n").await;
    let good = frame::encode(&batch(1, 3)).unwrap();
    assert_eq!(post(&collector, "/v1/exchanges", good.clone()).await.0, 200);

    let mut damaged = frame::encode(&batch(4, 5)).unwrap();
    *damaged.last_mut().unwrap() ^= 1;
    let (status, says) = post(&collector, "/v1/exchanges", damaged).await;
    assert_eq!(status, 400);
    assert!(says.contains("checksum does not match"), "{says}");

    for (body, expected) in [
        (b"not a frame at all, whatever it is".to_vec(), "begins with"),
        (good[..10].to_vec(), "cut short"),
        (frame::encode(&Batch { model: String::new(), ..batch(4, 5) }).unwrap(), "names no model"),
        (frame::encode(&Batch { last_sequence: 9, ..batch(4, 5) }).unwrap(), "exchanges 4 to 9"),
    ] {
        let (status, says) = post(&collector, "/v1/exchanges", body).await;
        assert_eq!(status, 400, "{says}");
        assert!(says.contains(expected), "{says}");
    }
    let (status, says) = post(&collector, "/v1/exchanges", vec![0; (16 << 20) + 1]).await;
    assert_eq!(status, 413, "{says}");

    let named =
        |model: &str| frame::encode(&Batch { model: model.into(), boot_id: vec![9; 16], ..batch(1, 1) }).unwrap();
    let (status, says) = post(&collector, "/v1/exchanges", named("../../etc")).await;
    assert!(status == 422 && says.contains("not a model name"), "{says}");
    assert_eq!(post(&collector, "/v1/exchanges", named("second")).await.0, 200);
    let (status, says) = post(&collector, "/v1/exchanges", named("third")).await;
    assert!(status == 429 && says.contains("raise max_models"), "{says}");
    let (status, says) = post(&collector, "/v1/exchanges", named("../../etc")).await;
    assert!(status == 422 && says.contains("not a model name"), "{says}: it would be wrong with any limit");

    assert_eq!(post(&collector, "/v1/exchanges", good).await.0, 200, "a repetition is acknowledged");
    assert_eq!(post(&collector, "/v1/exchanges", frame::encode(&batch(4, 5)).unwrap()).await.0, 200);
    assert_eq!(collector.settled().await, 6);
    let metrics = collector.metrics().await;
    assert_eq!(metric(&metrics, "driftline_batches_total", &[("outcome", "refused")]), 9.0);
    assert_eq!(metric(&metrics, "driftline_exchanges_duplicate_total", &[]), 3.0);
    assert_eq!(collector.api("models/m").await.unwrap()["rows"], 5);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn outcomes_are_stored_whole_or_not_at_all() {
    let folder = tempfile::tempdir().unwrap();
    let collector = Collector::start(folder.path(), "").await;
    let line = |row: &str| json!({ "model": "m", "row_id": row, "outcome": true }).to_string();
    let (status, says) =
        post(&collector, "/v1/outcomes", format!("{}\n{}\n{{", line("1"), line("2")).into_bytes()).await;
    assert!(status == 400 && says.contains("line 3"), "{says}");
    let (status, says) =
        post(&collector, "/v1/outcomes", format!("{}\n{}\n{}", line("1"), line("2"), line("1")).into_bytes()).await;
    assert_eq!((status, says.as_str()), (200, r#"{"stored":3}"#));
    let known = eventually("the model is known", async || collector.api("models/m").await).await;
    assert_eq!(known["outcomes"], 2, "the last word on a row holds");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_api_says_what_is_wrong_with_a_question() {
    let folder = tempfile::tempdir().unwrap();
    let collector = Collector::start(folder.path(), "models: [{name: m}]\n").await;
    for (path, status, says) in [
        ("models/nobody", 404, "there is no model 'nobody'"),
        ("models/m/scores?detector=p_value", 400, "the scores are psi"),
        ("models/m/scores?limit=0", 400, "allowed is 1 to 1000"),
        ("models/m/scores?limit=ten", 400, "limit"),
        ("models/m/columns/x?ends=yesterday", 400, "ends is no time"),
        ("models/m/traffic?minutes=0", 400, "1 to 10080"),
        ("alerts?state=open", 400, "allowed are firing"),
        ("alerts/none", 404, "there is no alert 'none'"),
        ("nothing", 404, "openapi.json lists"),
    ] {
        let error = collector.api(path).await.unwrap_err();
        assert!(error.starts_with(&status.to_string()) && error.contains(says), "{path}: {error}");
    }
}

#[test]
fn a_wrong_configuration_is_explained_line_by_line() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("driftline.yaml");
    std::fs::write(&config, "listn: 0.0.0.0:4600\nmodels:\n  - name: a b\n    windows: {pane: 1h, window: 90m}\nalerts:\n  rules:\n    - {name: R, severity: loud, runbook: x, when: {score: psi}}\n").unwrap();
    for command in ["serve", "check"] {
        let finished = run("driftline", &[command, "--config", config.to_str().unwrap()], folder.path());
        assert_eq!(finished.code, Some(64));
        for part in [
            ":1:1: listn: is unknown; did you mean 'listen'?",
            ":3:5: models[0].name: 'a b' is not allowed",
            ":4:25: models[0].windows.window: 90m is not a multiple of the pane, 1h",
            "alerts.rules[0].severity: 'loud' is not allowed; allowed is one of info, ticket, page",
            "alerts.rules[0].runbook: 'x' is not allowed; allowed is the id of a runbook: archive-lag, availability-budget",
        ] {
            assert!(finished.stderr.contains(part), "{part} is missing in\n{}", finished.stderr);
        }
    }
}

#[test]
fn a_missing_or_broken_reference_stops_the_start_and_says_how_to_build_one() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("driftline.yaml");
    std::fs::write(&config, "models: [{name: m, reference: m.json}, {name: n, reference: n.json}]\n").unwrap();
    std::fs::write(folder.path().join("n.json"), "{\"format\": \"driftline-reference\", \"version\": 9}").unwrap();
    let finished = run("driftline", &["serve", "--config", config.to_str().unwrap()], folder.path());
    assert_eq!(finished.code, Some(64));
    for part in ["model 'm'", "m.json: No such file", "driftline reference build", "model 'n'", "version 9"] {
        assert!(finished.stderr.contains(part), "{part} is missing in\n{}", finished.stderr);
    }
}

#[test]
fn a_port_in_use_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    std::fs::write(folder.path().join("driftline.yaml"), format!("listen: {address}\n")).unwrap();
    let collector = run("driftline", &["serve"], folder.path());
    assert_eq!(collector.code, Some(1));
    assert!(
        collector.stderr.contains(&format!("cannot listen on {address}"))
            && collector.stderr.contains("choose another"),
        "{}",
        collector.stderr
    );
    let sidecar = run(
        "driftline-sidecar",
        &[
            "--listen",
            &address,
            "--upstream",
            "m:80",
            "--collector",
            "http://c",
            "--model",
            "m",
            "--admin",
            "127.0.0.1:0",
        ],
        folder.path(),
    );
    assert_eq!(sidecar.code, Some(1));
    assert!(sidecar.stderr.contains(&format!("--listen: cannot listen on {address}")), "{}", sidecar.stderr);
}

#[test]
fn missing_and_contradictory_flags_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let nothing = run("driftline-sidecar", &[], folder.path());
    assert_eq!(nothing.code, Some(64));
    for flag in ["--listen", "--upstream", "--collector", "--model"] {
        assert!(nothing.stderr.contains(flag), "{}", nothing.stderr);
    }
    let tight = run(
        "driftline-sidecar",
        &[
            "--listen",
            "127.0.0.1:0",
            "--upstream",
            "m:80",
            "--collector",
            "http://c",
            "--model",
            "m",
            "--capture-budget",
            "1MiB",
        ],
        folder.path(),
    );
    assert_eq!(tight.code, Some(64));
    assert!(tight.stderr.contains("--capture-budget: 1MiB cannot hold"), "{}", tight.stderr);
    let reference =
        run("driftline", &["reference", "build", "--model", "m", "--output", "r.json", "none.csv"], folder.path());
    assert_eq!(reference.code, Some(1));
    assert!(
        reference.stderr.contains("none.csv") && reference.stderr.contains("check the path"),
        "{}",
        reference.stderr
    );
}
