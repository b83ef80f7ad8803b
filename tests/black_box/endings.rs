//! How connections end when the sidecar does: nobody is cut off in the middle, and who must be learns of it.

#![allow(clippy::unwrap_used, reason = "what fails here fails a test")]

use std::io::ErrorKind;
use std::time::Duration;

use driftline_tests::{Sidecar, client, eventually};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream, UnixListener};

const NOBODY: &str = "http://127.0.0.1:9";
const PATIENCE: Duration = Duration::from_secs(60);
const REQUEST: &[u8] = b"POST /v2/models/m/infer HTTP/1.1\r\nContent-Length: 0\r\n\r\n";

/// A server that answers every request with the same bytes, and then waits.
async fn answering(answer: Vec<u8>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let answer = answer.clone();
            tokio::spawn(async move {
                let mut received = vec![0; REQUEST.len()];
                while stream.read_exact(&mut received).await.is_ok() {
                    if stream.write_all(&answer).await.is_err() {
                        break;
                    }
                }
            });
        }
    });
    address
}

fn answer_of(bytes: usize) -> Vec<u8> {
    let mut answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {bytes}\r\n\r\n").into_bytes();
    answer.resize(answer.len() + bytes, b'x');
    answer
}

async fn read_all(stream: &mut TcpStream) -> std::io::Result<Vec<u8>> {
    let mut received = Vec::new();
    tokio::time::timeout(PATIENCE, stream.read_to_end(&mut received)).await.unwrap()?;
    Ok(received)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_caller_gets_all_of_its_answer_when_the_sidecar_stops() {
    let answer = answer_of(3 << 20);
    let upstream = answering(answer.clone()).await;
    let folder = tempfile::tempdir().unwrap();
    let more = ["--flush-budget=0s", "--drain-grace=50s"];
    let mut sidecar = Sidecar::start(folder.path(), &upstream, NOBODY, "m", &more).await;
    // A small window, so that most of the answer waits on the way.
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(8 << 10).unwrap();
    let mut caller = socket.connect(sidecar.address().parse().unwrap()).await.unwrap();
    caller.write_all(REQUEST).await.unwrap();
    let mut received = vec![0; 1000];
    caller.read_exact(&mut received).await.unwrap();
    let (code, rest) = tokio::join!(sidecar.stop(), async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        read_all(&mut caller).await
    });
    received.extend(rest.unwrap());
    assert_eq!(code, Some(0));
    assert!(received == answer, "{} of {} bytes", received.len(), answer.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_cut_off_after_the_grace_learns_it_by_a_reset() {
    // An answer without a length: a plain end of the connection would look like its end.
    let upstream = answering(b"HTTP/1.1 200 OK\r\n\r\nbegun".to_vec()).await;
    let folder = tempfile::tempdir().unwrap();
    let more = ["--flush-budget=0s", "--drain-grace=300ms"];
    let mut sidecar = Sidecar::start(folder.path(), &upstream, NOBODY, "m", &more).await;
    let mut caller = TcpStream::connect(sidecar.address()).await.unwrap();
    caller.write_all(REQUEST).await.unwrap();
    caller.read_exact(&mut [0; 10]).await.unwrap();
    let (code, end) = tokio::join!(sidecar.stop(), read_all(&mut caller));
    assert_eq!(code, Some(0));
    assert_eq!(end.unwrap_err().kind(), ErrorKind::ConnectionReset);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn during_the_drain_delay_it_is_not_ready_and_still_serves() {
    let answer = answer_of(2);
    let upstream = answering(answer.clone()).await;
    let folder = tempfile::tempdir().unwrap();
    let more = ["--flush-budget=0s", "--drain-delay=8s", "--threads=2"];
    let mut sidecar = Sidecar::start(folder.path(), &upstream, NOBODY, "m", &more).await;
    let (address, ready) = (sidecar.address(), sidecar.admin("/readyz"));
    let (code, ()) = tokio::join!(sidecar.stop(), async {
        eventually("it is not ready", async || match client().get(&ready).send().await {
            Ok(response) if response.status() == 503 => Ok(()),
            other => Err(format!("{other:?}")),
        })
        .await;
        let mut late = TcpStream::connect(address).await.unwrap();
        late.write_all(REQUEST).await.unwrap();
        let mut received = vec![0; answer.len()];
        late.read_exact(&mut received).await.unwrap();
        assert_eq!(received, answer);
    });
    assert_eq!(code, Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_caller_that_is_gone_does_not_leave_the_server_waiting() {
    // Both ways are full: the server sends without reading, the caller sends without reading, and then is gone.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let upstream = listener.local_addr().unwrap().to_string();
    let folder = tempfile::tempdir().unwrap();
    let sidecar = Sidecar::start(folder.path(), &upstream, NOBODY, "m", &["--flush-budget=0s"]).await;
    let mut caller = TcpStream::connect(sidecar.address()).await.unwrap();
    let (mut server, _) = listener.accept().await.unwrap();
    async fn fill(stream: &mut TcpStream) {
        let piece = [0; 65_536];
        while let Ok(written) = tokio::time::timeout(Duration::from_millis(300), stream.write_all(&piece)).await {
            written.unwrap();
        }
    }
    tokio::join!(fill(&mut caller), fill(&mut server));
    drop(caller);
    let failed = async { while server.write_all(&[0; 65_536]).await.is_ok() {} };
    tokio::time::timeout(PATIENCE, failed).await.expect("the server is told that the caller is gone");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_server_may_listen_on_a_unix_socket_or_by_ipv6() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.sock");
    let unix = UnixListener::bind(&path).unwrap();
    let six = TcpListener::bind("[::1]:0").await.unwrap();
    let six_address = six.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        let (mut stream, _) = unix.accept().await.unwrap();
        let mut all = Vec::new();
        stream.read_to_end(&mut all).await.unwrap();
        stream.write_all(&all).await.unwrap();
    });
    tokio::spawn(async move {
        let (mut stream, _) = six.accept().await.unwrap();
        let mut all = Vec::new();
        stream.read_to_end(&mut all).await.unwrap();
        stream.write_all(&all).await.unwrap();
    });
    for upstream in [format!("unix:{}", path.display()), six_address] {
        let sidecar = Sidecar::start(folder.path(), &upstream, NOBODY, "m", &["--flush-budget=0s"]).await;
        let mut caller = TcpStream::connect(sidecar.address()).await.unwrap();
        caller.write_all(b"there and back").await.unwrap();
        caller.shutdown().await.unwrap();
        assert_eq!(read_all(&mut caller).await.unwrap(), b"there and back", "{upstream}");
    }
}
