//! What leaves the pod is what the owner allowed: a receiver reads every frame that the real sidecar sends.

#![allow(clippy::unwrap_used, reason = "what fails here fails a test")]

use std::path::Path;

use driftline_protocol::{Exchange, Redaction};
use driftline_tests::{DROPPED, ModelServer, Receiver, Sidecar, client, eventually, metric, run};
use serde_json::{Value, json};

const RELOADS: &str = "driftline_sidecar_rules_reloads_total";
const WITHHELD: &str = "driftline_sidecar_bodies_withheld_total";
const KEY: &str = "correct horse battery staple";

/// A sidecar with rules, and what it stands between.
struct Stage {
    folder: tempfile::TempDir,
    receiver: Receiver,
    sidecar: Sidecar,
    client: reqwest::Client,
}

impl Stage {
    async fn new(rules: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("key"), KEY).unwrap();
        std::fs::write(folder.path().join("rules.yaml"), rules).unwrap();
        let receiver = Receiver::start().await;
        let model = ModelServer::start().await;
        let argument = format!("--rules={}", folder.path().join("rules.yaml").display());
        let more = [argument.as_str(), "--flush-interval=20ms"];
        let sidecar = Sidecar::start(folder.path(), &model.address(), &receiver.url(), "m", &more).await;
        Self { folder, receiver, sidecar, client: client() }
    }

    /// Waits for so many exchanges.
    async fn received(&self, count: usize) -> Vec<Exchange> {
        eventually("the exchanges have come", async || match self.receiver.exchanges() {
            exchanges if exchanges.len() >= count => Ok(exchanges),
            exchanges => Err(format!("{}", exchanges.len())),
        })
        .await
    }

    fn request(&self, path: &str) -> reqwest::RequestBuilder {
        self.client.post(format!("http://{}{path}", self.sidecar.address()))
    }

    async fn send(&self, path: &str, body: &Value) {
        self.request(path).json(body).send().await.unwrap().bytes().await.unwrap();
    }

    fn write_rules(&self, rules: &str) {
        self.replace("rules.yaml", rules);
    }

    /// As a ConfigMap does it: something else under the same name, and never a part of it.
    fn replace(&self, name: &str, contents: &str) {
        let new = self.folder.path().join("new");
        std::fs::write(&new, contents).unwrap();
        std::fs::rename(new, self.folder.path().join(name)).unwrap();
    }

    async fn reloaded(&self, outcome: &str, count: f64) -> String {
        eventually("the rules were loaded again", async || {
            let metrics = self.sidecar.metrics().await;
            let found = metric(&metrics, RELOADS, &[("outcome", outcome)]);
            if found == count { Ok(metrics) } else { Err(format!("{outcome}: {found}")) }
        })
        .await
    }

    fn log(&self) -> String {
        let entries = std::fs::read_dir(self.folder.path()).unwrap().map(|entry| entry.unwrap().path());
        entries.filter(|path| path.extension().is_some_and(|end| end == "log")).map(read).collect()
    }
}

fn read(path: impl AsRef<Path>) -> String {
    std::fs::read_to_string(path).unwrap()
}

fn request_of(exchange: &Exchange) -> String {
    String::from_utf8(exchange.request.as_ref().unwrap().content.to_vec()).unwrap()
}

/// Everything of an exchange that is text.
fn everything(exchanges: &[Exchange]) -> String {
    let body = |body: &Option<driftline_protocol::Body>| {
        body.as_ref().map_or(String::new(), |body| String::from_utf8_lossy(&body.content).into_owned())
    };
    exchanges.iter().map(|e| format!("{e:?}{}{}", body(&e.request), body(&e.response))).collect()
}

fn person(ssn: &str) -> Value {
    json!({ "instances": [{ "age": 41, "ssn": ssn, "email": "ann@example.org", "note": "n" }] })
}

const V1: &str = "/v1/models/m:predict";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_owner_named_never_leaves_the_pod() {
    let stage = Stage::new(
        "headers: {keep: [x-tenant]}\n\
         redaction:\n  \
           rules: [{field: ssn, action: hmac}, {field: email, action: mask}, {field: note, action: drop}]\n  \
           hmac_key: {file: key}\n",
    )
    .await;
    let secrets = ["123-45-6789", "ann@example.org", "Bearer", "hidden-query", KEY];
    for _ in 0..2 {
        let request = stage.request(&format!("{V1}?q=hidden-query")).header("authorization", "Bearer x");
        request.header("x-tenant", "t-1").json(&person(secrets[0])).send().await.unwrap();
    }
    let tensor = json!({ "inputs": [
        { "name": "x", "shape": [1], "datatype": "FP64", "data": [1.5] },
        { "name": "ssn", "shape": [1], "datatype": "BYTES", "data": [secrets[0]] },
    ]});
    stage.send("/v2/models/m/infer", &tensor).await;
    // What can't be read is not sent: malformed, and binary.
    let json = |body: &'static str| stage.request(V1).header("content-type", "application/json").body(body);
    json("{\"ssn\": \"123-45-6789\"").send().await.unwrap();
    let binary = stage.request("/v2/models/m/infer").header("inference-header-content-length", "2");
    binary.header("content-type", "application/octet-stream").body("{}123-45-6789").send().await.unwrap();

    let exchanges = stage.received(5).await;
    let text = everything(&exchanges);
    for secret in secrets {
        assert!(!text.contains(secret), "{secret} has left: {text}");
    }
    let bodies: Vec<String> = exchanges.iter().map(request_of).collect();
    let person: Vec<&String> = bodies.iter().filter(|body| body.contains("age")).collect();
    assert_eq!(person.len(), 2);
    assert_eq!(person[0], person[1], "equal values have equal pseudonyms");
    let instance: Value = serde_json::from_str::<Value>(person[0]).unwrap()["instances"][0].clone();
    assert_eq!((&instance["age"], &instance["email"], &instance["note"]), (&json!(41), &json!("***"), &Value::Null));
    let pseudonym = instance["ssn"].as_str().unwrap();
    assert_eq!(pseudonym.len(), 32);
    assert!(bodies.iter().any(|body| body.contains("\"x\"") && body.contains(pseudonym)), "a tensor is a column");
    assert!(exchanges.iter().any(|exchange| exchange.request_header("x-tenant") == Some("t-1")));
    let withheld = exchanges.iter().filter_map(|exchange| exchange.request.as_ref());
    let withheld: Vec<u64> =
        withheld.filter(|body| body.redaction() == Redaction::Withheld).map(|body| body.size).collect();
    assert_eq!(withheld, [21, 13], "only their sizes are told");
    let metrics = stage.sidecar.metrics().await;
    assert_eq!(metric(&metrics, WITHHELD, &[("reason", "malformed")]), 1.0);
    assert!(metric(&metrics, WITHHELD, &[("reason", "format")]) >= 1.0);
    assert_eq!(metric(&metrics, "driftline_sidecar_bodies_rewritten_total", &[]), 3.0);
    assert!(metric(&metrics, "driftline_sidecar_rules_loaded_timestamp_seconds", &[]) > 1.7e9);
    let log = stage.log();
    assert!(secrets.iter().all(|secret| !log.contains(secret) && !metrics.contains(secret)), "{log}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sample_keeps_errors_and_says_what_it_stands_for() {
    let stage = Stage::new(
        "sample: {keep_one_in: 10}\nroutes: [{path: /status/*}, {path: /v2/models/debug/infer, capture: false}]\n",
    )
    .await;
    let requests = 400;
    for id in 0..requests {
        let path = if id % 20 == 0 { "/status/503" } else { V1 };
        let request = stage.request(path).header("x-request-id", format!("request-{id}"));
        request.json(&person("x")).send().await.unwrap();
    }
    stage.send("/v2/models/debug/infer", &json!({})).await;
    let metrics = eventually("all are delivered or dropped", async || {
        let metrics = stage.sidecar.metrics().await;
        let of = |name: &str| metric(&metrics, &format!("driftline_sidecar_exchanges_{name}_total"), &[]);
        let (seen, settled) = (of("seen"), of("delivered") + of("dropped"));
        if seen == f64::from(requests) && settled == seen { Ok(metrics) } else { Err(format!("{seen}, {settled}")) }
    })
    .await;
    let exchanges = stage.received(20).await;
    let dropped = metric(&metrics, DROPPED, &[("reason", "sampled")]);
    assert_eq!(exchanges.len() as f64 + dropped, f64::from(requests));
    let (errors, others): (Vec<&Exchange>, Vec<&Exchange>) = exchanges.iter().partition(|e| e.status == 503);
    assert_eq!(errors.len(), 20);
    assert!(errors.iter().all(|error| error.weight() == 1));
    assert!(others.iter().all(|other| other.weight() == 10 && !other.outside_sample));
    // The draw that the documentation gives, by ids: what another pod or another program finds, too.
    let drawn = ["request-11", "request-27", "request-49", "request-55", "request-65", "request-68", "request-70"];
    let mut ids: Vec<&str> = others.iter().map(|other| other.request_id.as_str()).collect();
    ids.truncate(drawn.len());
    assert_eq!(ids, drawn);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rules_are_loaded_again_when_they_change_and_on_a_signal_and_wrong_ones_change_nothing() {
    let rules =
        |action: &str| format!("redaction: {{rules: [{{field: ssn, action: {action}}}], hmac_key: {{file: key}}}}\n");
    let stage = Stage::new(&rules("mask")).await;
    let ssn = async |count: usize| {
        stage.send(V1, &person("123-45-6789")).await;
        let exchanges = stage.received(count).await;
        let body: Value = serde_json::from_str(&request_of(exchanges.last().unwrap())).unwrap();
        body["instances"][0]["ssn"].as_str().unwrap_or_default().to_owned()
    };
    let fingerprint = |metrics: &str| metric(metrics, "driftline_sidecar_rules_fingerprint", &[]);
    let at_first = fingerprint(&stage.sidecar.metrics().await);
    assert_eq!(ssn(1).await, "***");

    stage.write_rules(&rules("hmac"));
    let metrics = stage.reloaded("ok", 1.0).await;
    assert_ne!(fingerprint(&metrics), at_first);
    let pseudonym = ssn(2).await;
    assert_eq!(pseudonym.len(), 32);

    // Another key under the same rules.
    stage.replace("key", "another key that nobody guesses");
    stage.reloaded("ok", 2.0).await;
    assert_ne!(ssn(3).await, pseudonym);

    stage.write_rules("redaction: {rules: [{field: ssn}], hmac_key: hunter2-hunter2}\nsampel: 3\n");
    let metrics = stage.reloaded("rejected", 1.0).await;
    assert_eq!(metric(&metrics, RELOADS, &[("outcome", "ok")]), 2.0);
    assert_eq!(ssn(4).await.len(), 32, "the old rules hold");
    let log = stage.log();
    assert!(log.contains("rules.yaml:1:21: redaction.rules[0].action: is missing"), "{log}");
    assert!(log.contains("rules.yaml:2:1: sampel: is unknown; did you mean 'sample'?"), "{log}");
    assert!(!log.contains("hunter2"), "{log}");

    stage.write_rules(&rules("drop"));
    stage.reloaded("ok", 3.0).await;
    assert_eq!(ssn(5).await, "");
    // A signal loads them also when nothing changed.
    stage.sidecar.signal("-HUP");
    stage.reloaded("ok", 4.0).await;

    stage.write_rules("sample: {keep_one_in: 1000000}\n");
    stage.reloaded("ok", 5.0).await;
    for _ in 0..20 {
        stage.send(V1, &person("123-45-6789")).await;
    }
    eventually("none of them is drawn any more", async || {
        let metrics = stage.sidecar.metrics().await;
        let dropped = metric(&metrics, DROPPED, &[("reason", "sampled")]);
        if dropped == 20.0 { Ok(()) } else { Err(dropped.to_string()) }
    })
    .await;
}

#[test]
fn wrong_rules_are_told_before_anything_starts() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("rules.yaml"), "bodies: maybe\nroutes:\n  - {path: x}\n").unwrap();
    std::fs::write(folder.path().join("right.yaml"), "bodies: never\n").unwrap();
    let settings =
        ["--listen=127.0.0.1:0", "--admin=127.0.0.1:0", "--upstream=h:1", "--collector=http://c", "--model=m"];
    let finished = |more: &[&str]| run("driftline-sidecar", &[&settings, more].concat(), folder.path());
    for arguments in [&["--rules=rules.yaml", "--check"][..], &["--rules=rules.yaml"]] {
        let wrong = finished(arguments);
        assert_eq!(wrong.code, Some(64));
        let lines: Vec<&str> = wrong.stderr.lines().filter(|line| line.starts_with("rules.yaml:")).collect();
        assert_eq!(
            lines,
            [
                "rules.yaml:1:1: bodies: 'maybe' is not allowed; allowed is one of redacted, never",
                "rules.yaml:3:6: routes[0].path: 'x' is not allowed; allowed is a path like /score, /score/*, \
                 /v1/models/*:predict or /api/**, of up to 512 bytes; ** stands at the end only",
            ],
            "{}",
            wrong.stderr
        );
    }
    let missing = finished(&["--rules=nowhere.yaml", "--check"]);
    assert_eq!(missing.code, Some(64));
    assert!(missing.stderr.contains("nowhere.yaml:1:1: the file: cannot be read"), "{}", missing.stderr);
    let right = finished(&["--rules=right.yaml", "--check"]);
    assert_eq!((right.code, right.stdout.as_str()), (Some(0), "settings and rules are right\n"));
}
