//! What the readers make of conversations that are hard to follow: they read them, or let them pass unread.

#![allow(clippy::unwrap_used, reason = "what fails here fails a test")]

use std::time::Duration;

use driftline_protocol::{EndState, Exchange};
use driftline_tests::{ModelServer, Receiver, Sidecar, eventually, metric};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

const PATIENCE: Duration = Duration::from_secs(20);
const BODY: &[u8] = br#"{"instances": [[1.5]]}"#;

/// Heads that are read, and some that are beyond what a reader keeps: 64 KiB, whether packed or not.
const READ: [usize; 3] = [1_000, 30_000, 60_000];
const BEYOND: [usize; 2] = [70_000, 150_000];

/// A header's value that does not compress.
fn value(length: usize) -> String {
    let digit = |at: usize| char::from_digit((at as u32).wrapping_mul(2_654_435_761) >> 16 & 0xf, 16).unwrap_or('0');
    (0..length).map(digit).collect()
}

async fn sidecar_before(upstream: &str) -> (tempfile::TempDir, Receiver, Sidecar) {
    let folder = tempfile::tempdir().unwrap();
    let collector = Receiver::start().await;
    let more = ["--flush-interval=50ms", "--flush-budget=0s"];
    let sidecar = Sidecar::start(folder.path(), upstream, &collector.url(), "m", &more).await;
    (folder, collector, sidecar)
}

/// What arrives when these were asked, and the others passed unread.
async fn arrives(sidecar: &Sidecar, collector: &Receiver, read: usize, unread: usize) -> Vec<Exchange> {
    let exchanges = eventually("all that can be read arrives", async || match collector.exchanges() {
        exchanges if exchanges.len() >= read => Ok(exchanges),
        exchanges => Err(format!("{} exchanges", exchanges.len())),
    })
    .await;
    assert_eq!(exchanges.len(), read);
    for exchange in &exchanges {
        assert_eq!(
            (exchange.status, exchange.end(), exchange.path()),
            (200, EndState::Complete, "/v1/models/m:predict")
        );
        assert_eq!(exchange.request.as_ref().unwrap().content, BODY);
        assert!(exchange.response.as_ref().unwrap().content.starts_with(b"{\"predictions\""));
    }
    let metrics = sidecar.metrics().await;
    let given_up = |labels: &[(&str, &str)]| metric(&metrics, "driftline_sidecar_connections_unread_total", labels);
    assert_eq!(given_up(&[("reason", "head_too_large")]), unread as f64);
    assert_eq!(given_up(&[]), unread as f64);
    exchanges
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_heads_of_http1_are_read_and_those_beyond_the_bound_only_pass() {
    let model = ModelServer::start().await;
    let (_folder, collector, sidecar) = sidecar_before(&model.address()).await;
    for (number, bytes) in READ.into_iter().chain(BEYOND).enumerate() {
        // In one piece, and in some: a head is then put together from them.
        for pieces in [1, 7] {
            let request = format!(
                "POST /v1/models/m:predict HTTP/1.1\r\nHost: m\r\nX-Request-Id: r-{number}-{pieces}\r\nX-Large: {}\r\n\
                 Content-Type: application/json\r\nContent-Length: {}\r\n\r\n",
                value(bytes),
                BODY.len()
            );
            let request = [request.as_bytes(), BODY].concat();
            let mut caller = TcpStream::connect(sidecar.address()).await.unwrap();
            caller.set_nodelay(true).unwrap();
            // Twice on one connection: what was once given up passes all the same.
            for _ in 0..2 {
                for piece in request.chunks(request.len().div_ceil(pieces)) {
                    caller.write_all(piece).await.unwrap();
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
                let mut answer = vec![0; 15];
                timeout(PATIENCE, caller.read_exact(&mut answer)).await.unwrap().unwrap();
                assert_eq!(answer, b"HTTP/1.1 200 OK", "{bytes} bytes in {pieces}");
                let mut rest = Vec::new();
                while !rest.ends_with(b"}") {
                    assert!(timeout(PATIENCE, caller.read_buf(&mut rest)).await.unwrap().unwrap() > 0);
                }
            }
        }
    }
    let exchanges = arrives(&sidecar, &collector, READ.len() * 4, BEYOND.len() * 2).await;
    assert!(exchanges.iter().any(|exchange| exchange.request_id == "r-2-7"));
}

/// A server that speaks HTTP/2 in plain text, and answers everything.
async fn http2_server() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut connection = h2::server::handshake(stream).await.unwrap();
                while let Some(Ok((mut request, mut respond))) = connection.accept().await {
                    tokio::spawn(async move {
                        while request.body_mut().data().await.is_some() {}
                        // A head of its own that takes more than one frame.
                        let response = http::Response::builder().header("x-large", value(30_000)).body(()).unwrap();
                        let mut body = respond.send_response(response, false).unwrap();
                        body.send_data(bytes::Bytes::from_static(b"{\"predictions\": [1]}"), true).unwrap();
                    });
                }
            });
        }
    });
    address
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_heads_of_http2_are_read_over_their_continuations_and_those_beyond_the_bound_only_pass() {
    let (_folder, collector, sidecar) = sidecar_before(&http2_server().await).await;
    for bytes in READ.into_iter().chain(BEYOND) {
        let stream = TcpStream::connect(sidecar.address()).await.unwrap();
        let (send, connection) = h2::client::handshake(stream).await.unwrap();
        let connection = tokio::spawn(connection);
        let mut send = send.ready().await.unwrap();
        // Twice on one connection: the second head refers to the table that the first has filled.
        for _ in 0..2 {
            let request = http::Request::post("http://model.test/v1/models/m:predict")
                .header("x-large", value(bytes))
                .header("content-type", "application/json")
                .body(())
                .unwrap();
            let (response, mut body) = send.send_request(request, false).unwrap();
            body.send_data(bytes::Bytes::from_static(BODY), true).unwrap();
            let response = timeout(PATIENCE, response).await.unwrap().unwrap();
            assert_eq!(response.status(), 200, "{bytes} bytes");
            let answered = timeout(PATIENCE, response.into_body().data()).await.unwrap().unwrap().unwrap();
            assert_eq!(answered, b"{\"predictions\": [1]}".as_slice());
        }
        connection.abort();
    }
    arrives(&sidecar, &collector, READ.len() * 2, BEYOND.len()).await;
}
