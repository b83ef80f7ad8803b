//! The sidecar changes nothing: the same bytes, the same ends, with or without it.

#![allow(clippy::unwrap_used, reason = "what fails here fails a test")]

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use driftline_tests::{Sidecar, metric};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream, UnixListener};
use tokio::sync::Notify;

const NOBODY: &str = "http://127.0.0.1:9";
const PATIENCE: Duration = Duration::from_secs(60);

/// A server that reads what a script says it will, and answers with what it says.
async fn scripted(script: Vec<(usize, Vec<u8>)>, closes: bool) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let script = script.clone();
            tokio::spawn(async move {
                for (expect, answer) in script {
                    let mut received = vec![0; expect];
                    stream.read_exact(&mut received).await.unwrap();
                    stream.write_all(&answer).await.unwrap();
                }
                if !closes {
                    let mut rest = Vec::new();
                    stream.read_to_end(&mut rest).await.ok();
                }
            });
        }
    });
    address
}

/// What a caller receives who sends these pieces and then closes its side.
async fn call(address: &str, pieces: &[&[u8]]) -> Vec<u8> {
    let mut stream = TcpStream::connect(address).await.unwrap();
    for piece in pieces {
        stream.write_all(piece).await.unwrap();
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    stream.shutdown().await.unwrap();
    let mut received = Vec::new();
    tokio::time::timeout(PATIENCE, stream.read_to_end(&mut received)).await.unwrap().unwrap();
    received
}

/// A frame of HTTP/2.
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u32).to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// A literal field of a header block.
fn field(name: &str, value: &str) -> Vec<u8> {
    [&[0, name.len() as u8], name.as_bytes(), &[value.len() as u8], value.as_bytes()].concat()
}

/// A gRPC call: preface, settings, a header block in two parts, padded data.
fn http2_call() -> Vec<u8> {
    let fields = [field(":method", "POST"), field(":path", "/inference.GRPCInferenceService/ModelInfer")].concat();
    let (first, second) = fields.split_at(20);
    [
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(),
        frame(4, 0, 0, &[0, 3, 0, 0, 0, 100]),
        frame(1, 0, 1, first),
        frame(9, 4, 1, second),
        frame(0, 1 | 8, 1, b"\x03\x00\x00\x00\x00\x01xpad"),
        frame(6, 0, 0, b"are you?"),
    ]
    .concat()
}

/// Its answer with trailers, and what comes behind it.
fn http2_answer(behind: &[Vec<u8>]) -> Vec<u8> {
    [
        frame(4, 0, 0, &[]),
        frame(4, 1, 0, &[]),
        frame(1, 4, 1, &field(":status", "200")),
        frame(0, 0, 1, b"\x00\x00\x00\x00\x01y"),
        frame(1, 4 | 1, 1, &field("grpc-status", "0")),
        frame(6, 1, 0, b"are you?"),
        behind.concat(),
    ]
    .concat()
}

async fn sidecar_before(upstream: &str) -> (tempfile::TempDir, Sidecar) {
    let folder = tempfile::tempdir().unwrap();
    let sidecar =
        Sidecar::start(folder.path(), upstream, NOBODY, "m", &["--flush-budget=0s", "--drain-grace=1s"]).await;
    (folder, sidecar)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bytes_pass_as_they_are_whatever_they_are() {
    let post = b"POST /v2/models/m/infer HTTP/1.1\r\nHost: m\r\nContent-Length: 3\r\nX-Odd:\t \xff\xfe\r\n\r\nabc";
    let random: Vec<u8> = (0..300_000u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let cases: Vec<(&str, Vec<u8>, Vec<u8>)> = vec![
        ("a plain exchange", post.to_vec(), b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok".to_vec()),
        (
            "an odd reason and case",
            post.to_vec(),
            b"HTTP/1.1 299 Rather  Odd\r\ncOnTeNt-LeNgTh: 0\r\nX: \xe9\r\n\r\n".to_vec(),
        ),
        (
            "chunks and trailers",
            post.to_vec(),
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2;x=\"y\"\r\nok\r\n0\r\nT: 1\r\n\r\n".to_vec(),
        ),
        (
            "interim responses",
            post.to_vec(),
            b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n".to_vec(),
        ),
        (
            "a smuggling attempt",
            b"POST / HTTP/1.1\r\nContent-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nG".to_vec(),
            b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n".to_vec(),
        ),
        ("HTTP/2 with prior knowledge", http2_call(), http2_answer(&[])),
        (
            "HTTP/2, reset and going away",
            http2_call(),
            http2_answer(&[frame(3, 0, 1, &[0; 4]), frame(7, 0, 0, &[0; 8])]),
        ),
        // A stream that nobody began, a frame of no known kind, and one that says that it is longer than it may be.
        (
            "HTTP/2 that breaks its own rules",
            http2_call(),
            http2_answer(&[frame(0, 1, 99, b"?"), frame(0xee, 0xff, 1, b"?"), vec![0xff; 64]]),
        ),
        ("no HTTP at all", random.clone(), random),
    ];
    for (what, request, response) in cases {
        let upstream = scripted(vec![(request.len(), response.clone())], true).await;
        let (_folder, sidecar) = sidecar_before(&upstream).await;
        let middle = request.len() / 2;
        let (first, second) = request.split_at(middle);
        let direct = call(&upstream, &[first, second]).await;
        let through = call(&sidecar.address(), &[first, second]).await;
        assert_eq!(direct, response, "{what}, directly");
        assert_eq!(through, response, "{what}, through the sidecar");

        // The same server behind a Unix socket.
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("model.sock");
        let unix = UnixListener::bind(&socket).unwrap();
        let relayed = tokio::spawn(async move {
            let (mut stream, _) = unix.accept().await.unwrap();
            let mut server = TcpStream::connect(&upstream).await.unwrap();
            tokio::io::copy_bidirectional(&mut stream, &mut server).await.ok();
        });
        let (_folder, sidecar) = sidecar_before(&format!("unix:{}", socket.display())).await;
        let through = call(&sidecar.address(), &[first, second]).await;
        assert_eq!(through, response, "{what}, through the sidecar and a Unix socket");
        relayed.abort();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_before_the_end_of_the_request_comes_through_at_once() {
    let head = b"POST /v2/models/m/infer HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n";
    let upstream = scripted(
        vec![
            (head.len(), b"HTTP/1.1 100 Continue\r\n\r\n".to_vec()),
            (5, b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n".to_vec()),
        ],
        false,
    )
    .await;
    let (_folder, sidecar) = sidecar_before(&upstream).await;
    let mut stream = TcpStream::connect(sidecar.address()).await.unwrap();
    stream.write_all(head).await.unwrap();
    let mut interim = [0; 25];
    tokio::time::timeout(PATIENCE, stream.read_exact(&mut interim)).await.unwrap().unwrap();
    assert_eq!(&interim, b"HTTP/1.1 100 Continue\r\n\r\n");
    stream.write_all(b"hello").await.unwrap();
    let mut response = [0; 38];
    tokio::time::timeout(PATIENCE, stream.read_exact(&mut response)).await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_half_closed_side_still_receives() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let upstream = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut all = Vec::new();
        stream.read_to_end(&mut all).await.unwrap();
        // Answers only once the caller has said all.
        stream.write_all(&all).await.unwrap();
    });
    let (_folder, sidecar) = sidecar_before(&upstream).await;
    assert_eq!(call(&sidecar.address(), &[b"said", b" it all"]).await, b"said it all");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reset_is_a_reset_and_a_missing_server_too() {
    let bound = |address: SocketAddr| {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_reuseport(true).unwrap();
        socket.bind(address).unwrap();
        socket
    };
    let first = bound("127.0.0.1:0".parse().unwrap());
    // Once the server is missing, nobody else listens in its place.
    let held = bound(first.local_addr().unwrap());
    let upstream = held.local_addr().unwrap().to_string();
    let listener = first.listen(16).unwrap();
    let (_folder, sidecar) = sidecar_before(&upstream).await;
    let mut caller = TcpStream::connect(sidecar.address()).await.unwrap();
    let (server, _) = listener.accept().await.unwrap();
    caller.write_all(b"never read").await.unwrap();
    // Closing with unread bytes resets.
    tokio::time::timeout(PATIENCE, server.peek(&mut [0; 1])).await.unwrap().unwrap();
    drop(server);
    let error = tokio::time::timeout(PATIENCE, caller.read(&mut [0; 1])).await.unwrap().unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);

    drop(listener);
    // A caller that says nothing is waited for a moment.
    let attempt = async { TcpStream::connect(sidecar.address()).await?.read(&mut [0; 1]).await };
    let error = tokio::time::timeout(PATIENCE, attempt).await.unwrap().unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    let metrics = sidecar.metrics().await;
    assert_eq!(metric(&metrics, "driftline_sidecar_upstream_connect_failures_total", &[]), 1.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_reader_holds_its_sender_back_and_loses_nothing() {
    const BYTES: usize = 32 << 20;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let upstream = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let piece: Vec<u8> = (0..65_536u32).map(|i| (i % 251) as u8).collect();
        for _ in 0..BYTES / piece.len() {
            stream.write_all(&piece).await.unwrap();
        }
    });
    let (_folder, sidecar) = sidecar_before(&upstream).await;
    let mut caller = TcpStream::connect(sidecar.address()).await.unwrap();
    tokio::time::sleep(Duration::from_millis(500)).await;
    let held = sidecar.resident_bytes();
    assert!(held < 24 << 20, "{held} bytes resident while nobody reads");
    let mut received = Vec::new();
    tokio::time::timeout(PATIENCE, caller.read_to_end(&mut received)).await.unwrap().unwrap();
    assert_eq!(received.len(), BYTES);
    assert!(received.iter().enumerate().all(|(i, byte)| *byte == ((i % 65_536) % 251) as u8));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_sigterm_exchanges_under_way_end_and_idle_connections_close() {
    let request = b"POST /v2/models/m/infer HTTP/1.1\r\nContent-Length: 0\r\n\r\n";
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let upstream = listener.local_addr().unwrap().to_string();
    let begun = Arc::new(Notify::new());
    let begins = Arc::clone(&begun);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let begins = Arc::clone(&begins);
            tokio::spawn(async move {
                let mut received = vec![0; request.len()];
                while stream.read_exact(&mut received).await.is_ok() {
                    begins.notify_one();
                    tokio::time::sleep(Duration::from_millis(700)).await;
                    stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await.unwrap();
                }
            });
        }
    });
    let folder = tempfile::tempdir().unwrap();
    let mut sidecar =
        Sidecar::start(folder.path(), &upstream, NOBODY, "m", &["--flush-budget=0s", "--drain-grace=50s"]).await;
    let mut idle = TcpStream::connect(sidecar.address()).await.unwrap();
    let mut busy = TcpStream::connect(sidecar.address()).await.unwrap();
    busy.write_all(request).await.unwrap();
    tokio::time::timeout(PATIENCE, begun.notified()).await.unwrap();
    let started = std::time::Instant::now();
    let (code, response) = tokio::join!(sidecar.stop(), async {
        let mut response = Vec::new();
        busy.read_to_end(&mut response).await.unwrap();
        response
    });
    assert_eq!(code, Some(0));
    assert!(response.ends_with(b"ok"), "{response:?}");
    assert!(started.elapsed() < Duration::from_secs(40), "it did not wait for the grace to pass");
    assert_eq!(idle.read(&mut [0; 1]).await.unwrap(), 0, "an idle connection is closed, not reset");
}
