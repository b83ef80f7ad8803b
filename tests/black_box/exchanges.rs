//! What the collector makes of an exchange: of times that cannot be, of names that are taken, and of samples.

#![allow(clippy::unwrap_used, reason = "what fails here fails a test")]

use std::io::ErrorKind;
use std::time::{SystemTime, UNIX_EPOCH};

use driftline_protocol::{Batch, Body, EndState, Exchange, Messages, frame};
use driftline_tests::{Collector, Sidecar, client, eventually, metric};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};

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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_of_200_that_tells_of_an_error_is_no_success() {
    let folder = tempfile::tempdir().unwrap();
    let collector = Collector::start(folder.path(), "archive: {folder: archive, max_age: 200ms}\n").await;
    let answered = |target: &str, request: &str, response: &str| {
        let body = |text: &str| Body { size: text.len() as u64, content: text.to_owned().into(), ..Body::default() };
        let (request, response) = (Some(body(request)), Some(body(response)));
        Exchange { target: target.into(), request, response, ..exchange("{}") }
    };
    let chat = |answer: &str| answered("/v1/chat/completions", r#"{"messages": [], "stream": true}"#, answer);
    let v1 = |answer: &str| answered("/v1/models/m:predict", r#"{"instances": [{"x": 1}]}"#, answer);
    let word = "data: {\"choices\": [{\"index\": 0, \"delta\": {\"content\": \"a\"}}]}\n\n";
    let failed = [
        v1(r#"{"error": "out of memory"}"#),
        answered("/predictions/m", r#"{"x": 1}"#, r#"{"code": 503, "type": "T", "message": "Worker died."}"#),
        answered(
            "/invocations",
            r#"{"instances": [{"x": 1}]}"#,
            r#"{"error_code": "INTERNAL_ERROR", "message": "died"}"#,
        ),
        answered("/v1/embeddings", r#"{"input": "a"}"#, r#"{"error": {"message": "no", "type": "server_error"}}"#),
        chat(&format!("{word}data: {{\"error\": {{\"message\": \"died\"}}}}\n\ndata: [DONE]\n\n")),
        chat(&format!("{word}event: error\ndata: died\n\n")),
        chat(word),
    ];
    let truncated = Body { size: 1 << 30, ..v1(r#"{"error": "out of"#).response.unwrap() };
    let not_known = [
        v1("<h1>It works</h1>"),
        Exchange { response: Some(truncated), end: EndState::Truncated.into(), ..v1("") },
        answered("/predictions/m", r#"{"x": 1}"#, r#"{"error": 0.25}"#),
    ];
    let callers_doing = v1(r#"{"error": {"code": 400, "message": "no 'x'"}}"#);
    let good = [v1(r#"{"predictions": [1]}"#), chat(&format!("{word}data: [DONE]\n\n"))];
    let sent = failed.into_iter().chain(not_known).chain([callers_doing]).chain(good);
    send(&collector, sent.collect()).await;
    collector.settled().await;
    assert_eq!(sli(&collector, "availability").await, (5, 12));
    assert_eq!(sli(&collector, "latency").await, (5, 5), "what failed fast was not in time");
    let metrics = collector.metrics().await;
    // Of the others there is no row, or it did not succeed.
    assert_eq!(metric(&metrics, "driftline_rows_counted_total", &[]), 3.0);
    assert_eq!(metric(&metrics, "driftline_rows_not_counted_total", &[]), 8.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_that_begin_too_late_page_where_there_is_a_bound_and_nowhere_else() {
    let folder = tempfile::tempdir().unwrap();
    let configuration = "archive: {folder: archive, max_age: 200ms}\nmodels: [{name: m, slis: {first_message: {below: 500ms}}}]\n\
                         alerts: {evaluation_interval: 1s}\n";
    let collector = Collector::start(folder.path(), configuration).await;
    let stream = |first_ms: u64, count: u64| {
        let messages = Messages { gaps_micros: vec![first_ms * 1000], count, ..Messages::default() };
        let request = r#"{"messages": [], "stream": true}"#;
        let body =
            |text: &str| Some(Body { size: text.len() as u64, content: text.to_owned().into(), ..Body::default() });
        Exchange {
            target: "/v1/chat/completions".into(),
            duration_micros: 900_000,
            request: body(request),
            response: body("data: {\"choices\": []}\n\ndata: [DONE]\n\n"),
            response_messages: Some(messages),
            ..exchange("{}")
        }
    };
    let late = std::iter::repeat_with(|| stream(501, 2)).take(8);
    // The last two are no streams: one came in one piece, and one has no messages.
    let others = [stream(500, 2), stream(800, 1), exchange(r#"{"x": 1}"#)];
    send(&collector, late.chain(others).collect()).await;
    collector.settled().await;
    assert_eq!(sli(&collector, "first_message").await, (1, 9));
    assert_eq!(sli(&collector, "latency").await, (11, 11));
    let metrics = collector.metrics().await;
    let labels = [("model", "m"), ("sli", "first_message")];
    assert_eq!(metric(&metrics, "driftline_sli_valid_total", &labels), 9.0);
    let rules = eventually("it pages", async || {
        let alerts = collector.api("alerts").await?;
        let rules: Vec<String> = alerts.as_array().unwrap().iter().map(|alert| alert["rule"].to_string()).collect();
        if rules.is_empty() { Err("nobody was told".to_owned()) } else { Ok(rules) }
    })
    .await;
    assert_eq!(rules, [r#""FirstMessageSlo""#]);
}

/// Says something and waits to be reset.
async fn refused(address: &str, words: &[u8]) {
    let attempt = async {
        let mut caller = TcpStream::connect(address).await?;
        caller.write_all(words).await?;
        caller.read(&mut [0; 1]).await
    };
    assert_eq!(attempt.await.unwrap_err().kind(), ErrorKind::ConnectionReset);
}

/// A request over HTTP/2 as a caller with prior knowledge begins: preface, no settings, and the head of stream 1.
fn over_http2(path: &str) -> Vec<u8> {
    let mut head = vec![0x83, 0x86, 0x04, path.len() as u8];
    head.extend(path.bytes());
    let mut words = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    words.extend([0, 0, 0, 4, 0, 0, 0, 0, 0]);
    words.extend([0, 0, head.len() as u8, 1, 5, 0, 0, 0, 1]);
    words.extend(head);
    words
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_asked_of_a_server_that_is_gone_counts_as_unanswered_and_probes_do_not() {
    let folder = tempfile::tempdir().unwrap();
    let mut collector = Collector::start(folder.path(), "archive: {folder: archive, max_age: 200ms}\n").await;
    // It listens to nobody, and as long as it is held nobody else listens there.
    let gone = TcpSocket::new_v4().unwrap();
    gone.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let upstream = gone.local_addr().unwrap().to_string();
    let mut sidecar = Sidecar::start(folder.path(), &upstream, &collector.url(), "m", &["--flush-interval=50ms"]).await;
    let address = sidecar.address();
    let head = "POST /v1/models/m:predict HTTP/1.1\r\nContent-Length: 20\r\n\r\n";
    refused(&address, format!("{head}{}", r#"{"instances": [[1]]}"#).as_bytes()).await;
    // Its body never comes whole.
    refused(&address, format!("{head}{}", r#"{"instances""#).as_bytes()).await;
    refused(&address, &over_http2("/v1/models/m:predict")).await;
    refused(&address, b"GET /v2/health/ready HTTP/1.1\r\n\r\n").await;
    refused(&address, &over_http2("/metrics")).await;
    refused(&address, b"").await;
    eventually("three exchanges are delivered", async || {
        let metrics = sidecar.metrics().await;
        let [seen, delivered] = ["seen", "delivered"]
            .map(|what| metric(&metrics, &format!("driftline_sidecar_exchanges_{what}_total"), &[]));
        if (seen, delivered) == (3.0, 3.0) { Ok(()) } else { Err(format!("{seen} seen, {delivered} delivered")) }
    })
    .await;
    let metrics = sidecar.metrics().await;
    assert_eq!(metric(&metrics, "driftline_sidecar_upstream_connect_failures_total", &[]), 6.0);
    // One has a body that came whole, with a row in it.
    assert_eq!(collector.settled().await, 1);
    assert_eq!(sli(&collector, "availability").await, (0, 3));
    assert_eq!(sidecar.stop().await, Some(0));
    assert_eq!(collector.stop().await, Some(0));
}
