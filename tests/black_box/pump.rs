//! What the pump does with many connections, with those that wait, and with each end that a connection can have.

#![allow(clippy::unwrap_used, reason = "what fails here fails a test")]

use std::io::ErrorKind;
use std::time::{Duration, Instant};

use driftline_tests::{SEEN, Sidecar, eventually, metric};
use socket2::SockRef;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

const NOBODY: &str = "http://127.0.0.1:9";
const PATIENCE: Duration = Duration::from_secs(60);

/// A server that sends back what it gets.
async fn echoing() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut read, mut write) = stream.split();
                tokio::io::copy(&mut read, &mut write).await.ok();
            });
        }
    });
    address
}

/// A server's side of a connection through a sidecar, and the caller's.
async fn both_sides(sidecar: &Sidecar, listener: &TcpListener) -> (TcpStream, TcpStream) {
    let caller = TcpStream::connect(sidecar.address()).await.unwrap();
    let (server, _) = timeout(PATIENCE, listener.accept()).await.unwrap().unwrap();
    (server, caller)
}

async fn sidecar_before(upstream: &str, more: &[&str]) -> (tempfile::TempDir, Sidecar) {
    let folder = tempfile::tempdir().unwrap();
    let arguments: Vec<&str> = ["--flush-budget=0s", "--drain-grace=1s"].iter().chain(more).copied().collect();
    let sidecar = Sidecar::start(folder.path(), upstream, NOBODY, "m", &arguments).await;
    (folder, sidecar)
}

async fn is_answered(caller: &mut TcpStream) -> bool {
    caller.write_all(b"?").await.unwrap();
    timeout(PATIENCE, caller.read_exact(&mut [0; 1])).await.is_ok_and(|read| read.is_ok())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn callers_beyond_the_cap_wait_and_are_served_when_a_place_is_free() {
    let upstream = echoing().await;
    // With more threads than places, a thread that nobody calls must not keep a place to itself.
    for threads in ["--threads=1", "--threads=4"] {
        let (_folder, sidecar) = sidecar_before(&upstream, &["--max-connections=2", threads]).await;
        let mut callers = Vec::new();
        for _ in 0..2 {
            let mut caller = TcpStream::connect(sidecar.address()).await.unwrap();
            assert!(is_answered(&mut caller).await, "{threads}: there is a place");
            callers.push(caller);
        }
        let mut third = TcpStream::connect(sidecar.address()).await.unwrap();
        third.write_all(b"?").await.unwrap();
        let early = timeout(Duration::from_millis(300), third.read(&mut [0; 1])).await;
        assert!(early.is_err(), "{threads}: it waits, and is not turned away: {early:?}");
        let active = metric(&sidecar.metrics().await, "driftline_sidecar_connections_active", &[]);
        assert_eq!(active, 2.0, "{threads}");
        callers.pop();
        let read = timeout(PATIENCE, third.read_exact(&mut [0; 1])).await;
        assert!(read.is_ok_and(|read| read.is_ok()), "{threads}: a place is free");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_of_several_threads_serves_callers() {
    const CALLERS: usize = 64;
    let upstream = echoing().await;
    let (_folder, sidecar) = sidecar_before(&upstream, &["--threads=2"]).await;
    let mut callers = Vec::new();
    for _ in 0..CALLERS {
        callers.push(TcpStream::connect(sidecar.address()).await.unwrap());
    }
    let before = sidecar.pump_threads();
    for _ in 0..50 {
        for caller in &mut callers {
            assert!(is_answered(caller).await);
        }
    }
    // That the kernel gives all sixty-four to one of two threads is as likely as a coin that falls on one side as often.
    let worked: Vec<Duration> =
        sidecar.pump_threads().iter().zip(before).map(|(after, before)| *after - before).collect();
    assert_eq!(worked.len(), 2);
    assert!(worked.iter().all(|time| *time > Duration::from_millis(1)), "{worked:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_sends_without_pause_does_not_keep_others_waiting() {
    let upstream = echoing().await;
    let (_folder, sidecar) = sidecar_before(&upstream, &[]).await;
    let mut greedy = TcpStream::connect(sidecar.address()).await.unwrap();
    let stream = tokio::spawn(async move {
        let (mut read, mut write) = greedy.split();
        let send = async {
            let piece = vec![7; 1 << 20];
            while write.write_all(&piece).await.is_ok() {}
        };
        let receive = async {
            let mut sink = vec![0; 1 << 20];
            while read.read(&mut sink).await.is_ok_and(|bytes| bytes > 0) {}
        };
        tokio::join!(send, receive);
    });
    let mut modest = TcpStream::connect(sidecar.address()).await.unwrap();
    let passed = async || -> f64 {
        let metrics = sidecar.metrics().await;
        let from = |from| metric(&metrics, "driftline_sidecar_bytes_total", &[("from", from)]);
        ["client", "upstream"].map(from).iter().sum()
    };
    let (before, begun, mut waits) = (passed().await, Instant::now(), Vec::new());
    // Until the greedy one has had its turns, too.
    let sent = loop {
        for _ in 0..50 {
            let asked = Instant::now();
            assert!(is_answered(&mut modest).await);
            waits.push(asked.elapsed());
        }
        let sent = passed().await - before;
        if sent > 16e6 || begun.elapsed() > PATIENCE {
            break sent;
        }
    };
    stream.abort();
    waits.sort_unstable();
    assert!(sent > 16e6, "the greedy one sent all the while: {sent} bytes");
    // A turn is a megabyte; to wait for the greedy one's end would be to wait for ever.
    let median = waits[waits.len() / 2];
    assert!(median < Duration::from_millis(500), "half of the answers took longer than {median:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn silence_is_no_reason_to_end_a_connection() {
    // Longer than any time-out that the sidecar has for its own affairs: ten seconds for a handshake.
    const LONG: Duration = Duration::from_secs(11);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (_folder, sidecar) = sidecar_before(&listener.local_addr().unwrap().to_string(), &[]).await;
    let (mut idle_server, mut idle) = both_sides(&sidecar, &listener).await;
    let (mut slow_server, mut waiting) = both_sides(&sidecar, &listener).await;
    waiting.write_all(b"POST /v2/models/m/infer HTTP/1.1\r\nContent-Length: 0\r\n\r\n").await.unwrap();
    tokio::time::sleep(LONG).await;
    slow_server.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await.unwrap();
    timeout(PATIENCE, waiting.read_exact(&mut [0; 38])).await.unwrap().unwrap();
    idle.write_all(b"still there").await.unwrap();
    timeout(PATIENCE, idle_server.read_exact(&mut [0; 11])).await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_caller_that_resets_is_a_reset_for_the_server() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (_folder, sidecar) = sidecar_before(&listener.local_addr().unwrap().to_string(), &[]).await;
    let (mut server, mut caller) = both_sides(&sidecar, &listener).await;
    caller.write_all(b"half a requ").await.unwrap();
    timeout(PATIENCE, server.read_exact(&mut [0; 11])).await.unwrap().unwrap();
    SockRef::from(&caller).set_linger(Some(Duration::ZERO)).unwrap();
    drop(caller);
    let error = timeout(PATIENCE, server.read(&mut [0; 1])).await.unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_has_said_all_still_hears_its_caller() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (_folder, sidecar) = sidecar_before(&listener.local_addr().unwrap().to_string(), &[]).await;
    let (mut server, mut caller) = both_sides(&sidecar, &listener).await;
    server.write_all(b"that is all").await.unwrap();
    server.shutdown().await.unwrap();
    let mut said = Vec::new();
    timeout(PATIENCE, caller.read_to_end(&mut said)).await.unwrap().unwrap();
    assert_eq!(said, b"that is all");
    caller.write_all(b"and this is my answer").await.unwrap();
    caller.shutdown().await.unwrap();
    let mut heard = Vec::new();
    timeout(PATIENCE, server.read_to_end(&mut heard)).await.unwrap().unwrap();
    assert_eq!(heard, b"and this is my answer");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_server_holds_its_caller_back_and_gets_every_byte() {
    const PIECE: usize = 65_536;
    const PIECES: usize = 512;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (_folder, sidecar) = sidecar_before(&listener.local_addr().unwrap().to_string(), &[]).await;
    let (mut server, mut caller) = both_sides(&sidecar, &listener).await;
    let send = tokio::spawn(async move {
        let piece: Vec<u8> = (0..PIECE).map(|i| (i % 251) as u8).collect();
        for _ in 0..PIECES {
            caller.write_all(&piece).await.unwrap();
        }
        caller.shutdown().await.unwrap();
        caller
    });
    tokio::time::sleep(Duration::from_millis(500)).await;
    let held = sidecar.resident_bytes();
    assert!(held < 24 << 20, "{held} bytes resident while the server does not read");
    let mut received = Vec::new();
    timeout(PATIENCE, server.read_to_end(&mut received)).await.unwrap().unwrap();
    assert_eq!(received.len(), PIECE * PIECES);
    assert!(received.iter().enumerate().all(|(i, byte)| *byte == ((i % PIECE) % 251) as u8));
    drop(send.await.unwrap());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn small_writes_do_not_wait_for_each_other_either_way() {
    // Nagle's algorithm would hold the second of two until the first is acknowledged, which a side that speaks itself does 40 ms
    // late, in the hope of an answer to send along.
    const ROUNDS: usize = 60;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (_folder, sidecar) = sidecar_before(&listener.local_addr().unwrap().to_string(), &[]).await;
    let mut quick = Vec::new();
    for server_speaks in [true, false] {
        let (server, caller) = both_sides(&sidecar, &listener).await;
        let (mut speaker, mut hearer) = if server_speaks { (server, caller) } else { (caller, server) };
        speaker.set_nodelay(true).unwrap();
        let mut gaps = Vec::new();
        for _ in 0..ROUNDS {
            pass(&mut hearer, &mut speaker, b"?").await;
            // Two tokens of an answer, or two pieces of a request, one right after the other.
            pass(&mut speaker, &mut hearer, b"a").await;
            let written = Instant::now();
            pass(&mut speaker, &mut hearer, b"b").await;
            gaps.push(written.elapsed());
        }
        // What a machine that is busy makes of some of them is not meant.
        gaps.sort_unstable();
        quick.push(gaps[ROUNDS / 4]);
    }
    let bound = Duration::from_millis(20);
    assert!(
        quick.iter().all(|gap| *gap < bound),
        "three of four second pieces of server and caller took {quick:?} or longer"
    );
}

/// Sends a byte from one side to the other.
async fn pass(from: &mut TcpStream, to: &mut TcpStream, byte: &[u8; 1]) {
    from.write_all(byte).await.unwrap();
    let mut read = [0; 1];
    timeout(PATIENCE, to.read_exact(&mut read)).await.unwrap().unwrap();
    assert_eq!(&read, byte);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn callers_may_come_by_ipv6() {
    let upstream = echoing().await;
    let folder = tempfile::tempdir().unwrap();
    let sidecar = Sidecar::start_on("[::1]", folder.path(), &upstream, NOBODY, "m", &["--flush-budget=0s"]).await;
    let mut caller = TcpStream::connect(sidecar.address()).await.unwrap();
    assert!(is_answered(&mut caller).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_takes_no_longer_than_its_times_together() {
    // Neither the collector nor the receiver of spans ever answers.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let hole = format!("http://{}", silent.local_addr().unwrap());
    let held = tokio::spawn(async move {
        let mut connections = Vec::new();
        while let Ok((stream, _)) = silent.accept().await {
            connections.push(stream);
        }
    });
    // A machine that stands still makes one stop slow, and not each of them.
    let (soon, mut took) = (Duration::from_millis(1600 + 2500), Vec::new());
    while took.len() < 3 && took.last().is_none_or(|took| *took >= soon) {
        took.push(stopping_before(&hole).await);
    }
    held.abort();
    let quickest = took.iter().min().unwrap();
    assert!(*quickest >= Duration::from_millis(600), "it waited: {took:?}");
    assert!(*quickest < soon, "delay, grace and budget are 1.6 s; it took {took:?}");
    // Whoever would wait for an answer would wait for half a minute.
    assert!(took.iter().all(|took| *took < Duration::from_millis(1600 + 10_000)), "{took:?}");
}

/// How long a sidecar takes to stop before a collector and a receiver of spans there, with a request that goes on for ever.
async fn stopping_before(hole: &str) -> Duration {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let spans = format!("--otlp-endpoint={hole}");
    let more = ["--drain-delay=300ms", "--drain-grace=300ms", "--flush-budget=1s", &spans];
    let upstream = listener.local_addr().unwrap().to_string();
    let mut sidecar = Sidecar::start(folder.path(), &upstream, hole, "m", &more).await;
    let (mut server, mut caller) = both_sides(&sidecar, &listener).await;
    caller.write_all(b"POST /v2/models/m/infer HTTP/1.1\r\nContent-Length: 0\r\n\r\n").await.unwrap();
    server.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await.unwrap();
    timeout(PATIENCE, caller.read_exact(&mut [0; 38])).await.unwrap().unwrap();
    // One under way for ever, so that the whole grace passes.
    caller.write_all(b"POST /v2/models/m/infer HTTP/1.1\r\nContent-Length: 9\r\n\r\n").await.unwrap();
    eventually("the second request is seen", async || {
        let seen = metric(&sidecar.metrics().await, SEEN, &[]);
        if seen >= 2.0 { Ok(()) } else { Err(format!("{seen}")) }
    })
    .await;
    let asked = Instant::now();
    assert_eq!(sidecar.stop().await, Some(0));
    asked.elapsed()
}
