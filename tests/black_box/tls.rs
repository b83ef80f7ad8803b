//! TLS on both sides of the sidecar, by a TLS stack that is told nothing of it.

#![allow(clippy::unwrap_used, reason = "what fails here fails a test")]

use std::io::ErrorKind;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use driftline_tests::{ModelServer, SEEN, Sidecar, eventually, metric};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_rustls::{TlsAcceptor, TlsConnector, client};

const NOBODY: &str = "http://127.0.0.1:9";
const PATIENCE: Duration = Duration::from_secs(60);

/// An authority, and its certificate in a file.
struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    fn new(file: &Path) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        std::fs::write(file, issuer.pem()).unwrap();
        Self { issuer }
    }

    /// Issues a certificate for a name, and writes it and its key.
    fn issue(&self, name: &str, certificate: &Path, key: &Path) {
        let pair = KeyPair::generate().unwrap();
        let signed = CertificateParams::new(vec![name.to_owned()]).unwrap().signed_by(&pair, &self.issuer).unwrap();
        std::fs::write(key, pair.serialize_pem()).unwrap();
        std::fs::write(certificate, signed.pem()).unwrap();
    }

    fn trusted(&self) -> RootCertStore {
        let mut roots = RootCertStore::empty();
        roots.add(self.issuer.der().clone()).unwrap();
        roots
    }
}

fn caller(authority: &Authority, protocols: &[&str], identity: Option<(&Path, &Path)>) -> TlsConnector {
    rustls::crypto::ring::default_provider().install_default().ok();
    let builder = ClientConfig::builder().with_root_certificates(authority.trusted());
    let mut config = match identity {
        None => builder.with_no_client_auth(),
        Some((certificate, key)) => builder
            .with_client_auth_cert(
                vec![CertificateDer::from_pem_file(certificate).unwrap()],
                PrivateKeyDer::from_pem_file(key).unwrap(),
            )
            .unwrap(),
    };
    config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
    TlsConnector::from(Arc::new(config))
}

/// A model's server with TLS.
fn server(certificate: &Path, key: &Path, protocols: &[&str]) -> TlsAcceptor {
    rustls::crypto::ring::default_provider().install_default().ok();
    let mut config = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(
            vec![CertificateDer::from_pem_file(certificate).unwrap()],
            PrivateKeyDer::from_pem_file(key).unwrap(),
        )
        .unwrap();
    config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
    TlsAcceptor::from(Arc::new(config))
}

async fn connect(connector: &TlsConnector, sidecar: &Sidecar) -> std::io::Result<client::TlsStream<TcpStream>> {
    let stream = TcpStream::connect(sidecar.address()).await?;
    connector.connect(ServerName::try_from("model.test").unwrap(), stream).await
}

async fn infer(stream: &mut (impl AsyncRead + AsyncWrite + Unpin)) -> std::io::Result<String> {
    let body = r#"{"instances": [[1.5]]}"#;
    let length = body.len();
    let request = format!(
        "POST /v1/models/m:predict HTTP/1.1\r\nHost: m\r\nContent-Type: application/json\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}"
    );
    stream.write_all(request.as_bytes()).await?;
    let mut response = Vec::new();
    tokio::time::timeout(PATIENCE, stream.read_to_end(&mut response)).await.unwrap()?;
    Ok(String::from_utf8_lossy(&response).into_owned())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tls_ends_in_the_sidecar_and_new_certificates_are_taken_up() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name);
    let (old, new) = (Authority::new(&file("old.pem")), Authority::new(&file("new.pem")));
    old.issue("model.test", &file("cert.pem"), &file("key.pem"));
    let model = ModelServer::start().await;
    let certificate = format!("--tls-certificate={}", file("cert.pem").display());
    let key = format!("--tls-key={}", file("key.pem").display());
    let more = [certificate.as_str(), key.as_str(), "--flush-budget=0s"];
    let sidecar = Sidecar::start(folder.path(), &model.address(), NOBODY, "m", &more).await;

    let mut stream = connect(&caller(&old, &["h2", "http/1.1"], None), &sidecar).await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(b"http/1.1".as_slice()), "what the model's server speaks");
    assert!(infer(&mut stream).await.unwrap().starts_with("HTTP/1.1 200"));
    let seen = metric(&sidecar.metrics().await, SEEN, &[]);
    assert_eq!(seen, 1.0, "what passes under TLS is read");

    assert!(connect(&caller(&new, &[], None), &sidecar).await.is_err());
    new.issue("model.test", &file("cert.pem"), &file("key.pem"));
    eventually("the new certificate is in force", async || {
        connect(&caller(&new, &[], None), &sidecar).await.map_err(|error| error.to_string()).map(drop)
    })
    .await;
    // A broken file leaves what is in force.
    std::fs::write(file("key.pem"), "no key").unwrap();
    eventually("the broken file is noticed", async || {
        let metrics = sidecar.metrics().await;
        let failed = metric(&metrics, "driftline_sidecar_certificate_reloads_total", &[("outcome", "failed")]);
        if failed >= 1.0 { Ok(()) } else { Err(format!("{failed} failures")) }
    })
    .await;
    connect(&caller(&new, &[], None), &sidecar).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn callers_must_have_a_certificate_where_an_authority_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name);
    let authority = Authority::new(&file("ca.pem"));
    authority.issue("model.test", &file("cert.pem"), &file("key.pem"));
    authority.issue("caller.test", &file("caller.pem"), &file("caller.key"));
    let model = ModelServer::start().await;
    let flags = [
        format!("--tls-certificate={}", file("cert.pem").display()),
        format!("--tls-key={}", file("key.pem").display()),
        format!("--tls-client-ca={}", file("ca.pem").display()),
    ];
    let more: Vec<&str> = flags.iter().map(String::as_str).chain(["--flush-budget=0s"]).collect();
    let sidecar = Sidecar::start(folder.path(), &model.address(), NOBODY, "m", &more).await;
    // TLS 1.3 lets a caller believe that it is in until it reads.
    let refused = async { infer(&mut connect(&caller(&authority, &[], None), &sidecar).await?).await };
    assert!(refused.await.is_err());
    let known = caller(&authority, &[], Some((&file("caller.pem"), &file("caller.key"))));
    let mut stream = connect(&known, &sidecar).await.unwrap();
    assert!(infer(&mut stream).await.unwrap().starts_with("HTTP/1.1 200"));
    assert!(metric(&sidecar.metrics().await, "driftline_sidecar_tls_failures_total", &[]) >= 1.0);
    // Another authority takes its place: its callers are let in, and those of the first no longer.
    let other = Authority::new(&file("ca.pem"));
    other.issue("caller.test", &file("other.pem"), &file("other.key"));
    let welcome = caller(&authority, &[], Some((&file("other.pem"), &file("other.key"))));
    eventually("the new authority is in force", async || {
        let answer = async { infer(&mut connect(&welcome, &sidecar).await?).await };
        answer.await.map_err(|error| error.to_string()).map(drop)
    })
    .await;
    let refused = async { infer(&mut connect(&known, &sidecar).await?).await };
    assert!(refused.await.is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_with_tls_is_asked_which_protocol_it_speaks() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name);
    let authority = Authority::new(&file("ca.pem"));
    authority.issue("model.test", &file("cert.pem"), &file("key.pem"));
    let acceptor = server(&file("cert.pem"), &file("key.pem"), &["h2"]);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let upstream = format!("https://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let Ok(mut stream) = acceptor.accept(stream).await else { return };
                let mut received = [0; 5];
                stream.read_exact(&mut received).await.unwrap();
                // More than sockets hold, so that records wait inside.
                stream.write_all(&vec![b'x'; 8 << 20]).await.unwrap();
                stream.shutdown().await.unwrap();
            });
        }
    });
    let flags = [
        format!("--tls-certificate={}", file("cert.pem").display()),
        format!("--tls-key={}", file("key.pem").display()),
        format!("--upstream-ca={}", file("ca.pem").display()),
        "--upstream-server-name=model.test".to_owned(),
        "--flush-budget=0s".to_owned(),
    ];
    let more: Vec<&str> = flags.iter().map(String::as_str).collect();
    let sidecar = Sidecar::start(folder.path(), &upstream, NOBODY, "m", &more).await;
    let mut stream = connect(&caller(&authority, &["http/1.1", "h2"], None), &sidecar).await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(b"h2".as_slice()));
    stream.write_all(b"hello").await.unwrap();
    let mut received = Vec::new();
    tokio::time::timeout(PATIENCE, stream.read_to_end(&mut received)).await.unwrap().unwrap();
    assert_eq!(received.len(), 8 << 20);
}

/// A model's server that lets in whom an authority knows, and says who was shown to it.
struct Demanding {
    address: String,
    acceptor: Arc<Mutex<TlsAcceptor>>,
    shown: Arc<Mutex<Vec<CertificateDer<'static>>>>,
}

impl Demanding {
    async fn start(acceptor: TlsAcceptor) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("https://{}", listener.local_addr().unwrap());
        let (acceptor, shown) = (Arc::new(Mutex::new(acceptor)), Arc::new(Mutex::new(Vec::new())));
        let (shared, seen) = (Arc::clone(&acceptor), Arc::clone(&shown));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, seen) = (shared.lock().unwrap().clone(), Arc::clone(&seen));
                tokio::spawn(async move {
                    let Ok(mut stream) = acceptor.accept(stream).await else { return };
                    seen.lock().unwrap().push(stream.get_ref().1.peer_certificates().unwrap()[0].clone());
                    let mut request = [0; 1024];
                    let mut received = 0;
                    while !request[..received].ends_with(b"}") {
                        received += stream.read(&mut request[received..]).await.unwrap();
                    }
                    let answer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}";
                    stream.write_all(answer.as_bytes()).await.unwrap();
                    stream.shutdown().await.unwrap();
                });
            }
        });
        Self { address, acceptor, shown }
    }

    /// The certificate that it was shown last.
    fn last_shown(&self) -> Option<CertificateDer<'static>> {
        self.shown.lock().unwrap().last().cloned()
    }
}

/// A model's server that demands a certificate of an authority's.
fn demanding(certificate: &Path, key: &Path, authority: &Authority) -> TlsAcceptor {
    rustls::crypto::ring::default_provider().install_default().ok();
    let verifier = WebPkiClientVerifier::builder(Arc::new(authority.trusted())).build().unwrap();
    let certificate = vec![CertificateDer::from_pem_file(certificate).unwrap()];
    let key = PrivateKeyDer::from_pem_file(key).unwrap();
    let config = ServerConfig::builder().with_client_cert_verifier(verifier).with_single_cert(certificate, key);
    TlsAcceptor::from(Arc::new(config.unwrap()))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_asks_for_a_certificate_is_shown_one_and_what_changes_is_taken_up() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name);
    let (servers, others) = (Authority::new(&file("ca.pem")), Authority::new(&file("other-ca.pem")));
    let callers = Authority::new(&file("callers.pem"));
    servers.issue("model.test", &file("server.pem"), &file("server.key"));
    callers.issue("sidecar.test", &file("own.pem"), &file("own.key"));
    let certificate = || CertificateDer::from_pem_file(file("own.pem")).unwrap();
    let server = Demanding::start(demanding(&file("server.pem"), &file("server.key"), &callers)).await;
    let authority = format!("--upstream-ca={}", file("ca.pem").display());
    let common = ["--upstream-server-name=model.test", "--flush-budget=0s", &authority];
    let ask = async |sidecar: &Sidecar| infer(&mut TcpStream::connect(sidecar.address()).await?).await;
    let is_answered = async |sidecar: &Sidecar| match ask(sidecar).await {
        Ok(answer) if answer.starts_with("HTTP/1.1 200") => Ok(()),
        other => Err(format!("{other:?}")),
    };

    // TLS 1.3 lets a client believe that it is in until it reads.
    let without = Sidecar::start(folder.path(), &server.address, NOBODY, "m", &common).await;
    assert!(is_answered(&without).await.is_err());
    assert_eq!(server.last_shown(), None);

    let own = [("certificate", "own.pem"), ("key", "own.key")]
        .map(|(flag, name)| format!("--upstream-{flag}={}", file(name).display()));
    let more: Vec<&str> = common.into_iter().chain(own.iter().map(String::as_str)).collect();
    let sidecar = Sidecar::start(folder.path(), &server.address, NOBODY, "m", &more).await;
    is_answered(&sidecar).await.unwrap();
    assert_eq!(server.last_shown(), Some(certificate()));

    callers.issue("sidecar.test", &file("own.pem"), &file("own.key"));
    eventually("the renewed certificate is shown", async || {
        is_answered(&sidecar).await?;
        if server.last_shown() == Some(certificate()) { Ok(()) } else { Err("it is the old one".to_owned()) }
    })
    .await;

    // The server's certificate comes from another authority, which is believed once it is in the file.
    others.issue("model.test", &file("server.pem"), &file("server.key"));
    *server.acceptor.lock().unwrap() = demanding(&file("server.pem"), &file("server.key"), &callers);
    assert!(is_answered(&sidecar).await.is_err());
    std::fs::copy(file("other-ca.pem"), file("ca.pem")).unwrap();
    eventually("the new authority is believed", async || is_answered(&sidecar).await).await;

    // A broken file leaves what is in force.
    let reloads = async |outcome: &str| {
        let labels = [("outcome", outcome)];
        metric(&sidecar.metrics().await, "driftline_sidecar_certificate_reloads_total", &labels)
    };
    assert!(reloads("ok").await >= 2.0);
    std::fs::write(file("own.key"), "no key").unwrap();
    eventually("the broken file is noticed", async || match reloads("failed").await {
        failed if failed >= 1.0 => Ok(()),
        failed => Err(format!("{failed} failures")),
    })
    .await;
    is_answered(&sidecar).await.unwrap();
    assert_eq!(server.last_shown(), Some(certificate()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn http2_under_tls_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name);
    let authority = Authority::new(&file("ca.pem"));
    authority.issue("model.test", &file("cert.pem"), &file("key.pem"));
    // The model's server speaks HTTP/2 in plain text; callers agree on it by ALPN.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let upstream = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let mut connection = h2::server::handshake(stream).await.unwrap();
        while let Some(Ok((_, mut respond))) = connection.accept().await {
            let mut body = respond.send_response(http::Response::new(()), false).unwrap();
            body.send_data(bytes::Bytes::from_static(b"{\"predictions\": [1]}"), true).unwrap();
        }
    });
    let flags = [
        format!("--tls-certificate={}", file("cert.pem").display()),
        format!("--tls-key={}", file("key.pem").display()),
        "--tls-protocols=h2".to_owned(),
        "--flush-budget=0s".to_owned(),
    ];
    let more: Vec<&str> = flags.iter().map(String::as_str).collect();
    let sidecar = Sidecar::start(folder.path(), &upstream, NOBODY, "m", &more).await;
    let stream = connect(&caller(&authority, &["h2"], None), &sidecar).await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(b"h2".as_slice()));
    let (send, connection) = h2::client::handshake(stream).await.unwrap();
    let connection = tokio::spawn(connection);
    let mut send = send.ready().await.unwrap();
    for _ in 0..3 {
        let request = http::Request::post("https://model.test/v1/models/m:predict").body(()).unwrap();
        let (response, mut body) = send.send_request(request, false).unwrap();
        body.send_data(bytes::Bytes::from_static(b"{\"instances\": [[1.5]]}"), true).unwrap();
        assert_eq!(tokio::time::timeout(PATIENCE, response).await.unwrap().unwrap().status(), 200);
    }
    eventually("all three are read to their end", async || {
        let metrics = sidecar.metrics().await;
        let seen = metric(&metrics, SEEN, &[]);
        let captured = metric(&metrics, "driftline_sidecar_exchanges_captured_total", &[]);
        if (seen, captured) == (3.0, 3.0) { Ok(()) } else { Err(format!("{seen} seen, {captured} captured")) }
    })
    .await;
    connection.abort();
}

trait Both: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Both for T {}

/// Where a sidecar stands between TLS on one side, or on both.
struct Between {
    sidecar: Sidecar,
    listener: TcpListener,
    /// None where callers come in plain text.
    caller: Option<TlsConnector>,
    /// None where the server speaks plain text.
    server: Option<TlsAcceptor>,
    _folder: tempfile::TempDir,
}

impl Between {
    async fn new(callers_by_tls: bool, server_by_tls: bool) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str| folder.path().join(name);
        let authority = Authority::new(&file("ca.pem"));
        authority.issue("model.test", &file("cert.pem"), &file("key.pem"));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut upstream = listener.local_addr().unwrap().to_string();
        let mut flags = vec!["--flush-budget=0s".to_owned(), "--drain-grace=0s".to_owned()];
        if callers_by_tls {
            flags.push(format!("--tls-certificate={}", file("cert.pem").display()));
            flags.push(format!("--tls-key={}", file("key.pem").display()));
        }
        if server_by_tls {
            upstream = format!("https://{upstream}");
            flags.push(format!("--upstream-ca={}", file("ca.pem").display()));
            flags.push("--upstream-server-name=model.test".to_owned());
        }
        let more: Vec<&str> = flags.iter().map(String::as_str).collect();
        let sidecar = Sidecar::start(folder.path(), &upstream, NOBODY, "m", &more).await;
        let caller = callers_by_tls.then(|| caller(&authority, &[], None));
        let server = server_by_tls.then(|| server(&file("cert.pem"), &file("key.pem"), &[]));
        Self { sidecar, listener, caller, server, _folder: folder }
    }

    /// A caller's side of a connection through the sidecar, and the server's. Whichever is let go is reset.
    async fn connect(&self) -> (Box<dyn Both>, Box<dyn Both>) {
        let caller = async {
            let stream = TcpStream::connect(self.sidecar.address()).await.unwrap();
            SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
            match &self.caller {
                None => Box::new(stream) as Box<dyn Both>,
                Some(tls) => Box::new(tls.connect(ServerName::try_from("model.test").unwrap(), stream).await.unwrap()),
            }
        };
        let server = async {
            let (stream, _) = self.listener.accept().await.unwrap();
            SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
            match &self.server {
                None => Box::new(stream) as Box<dyn Both>,
                Some(tls) => Box::new(tls.accept(stream).await.unwrap()),
            }
        };
        timeout(PATIENCE, async { tokio::join!(caller, server) }).await.unwrap()
    }
}

async fn say(speaker: &mut Box<dyn Both>, words: &[u8]) {
    speaker.write_all(words).await.unwrap();
    speaker.flush().await.unwrap();
}

async fn hear(listener: &mut Box<dyn Both>, words: &[u8]) {
    let mut heard = vec![0; words.len()];
    timeout(PATIENCE, listener.read_exact(&mut heard)).await.unwrap().unwrap();
    assert_eq!(heard, words);
}

/// All that is said until the other side says that it was all.
async fn hear_all(listener: &mut Box<dyn Both>) -> std::io::Result<Vec<u8>> {
    let mut heard = Vec::new();
    timeout(PATIENCE, listener.read_to_end(&mut heard)).await.unwrap().map(|_| heard)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn half_closes_and_resets_are_carried_through_tls() {
    for (callers_by_tls, server_by_tls) in [(true, false), (false, true), (true, true)] {
        let what = format!("callers by TLS: {callers_by_tls}, the server by TLS: {server_by_tls}");
        let between = Between::new(callers_by_tls, server_by_tls).await;
        for caller_first in [true, false] {
            let (caller, server) = between.connect().await;
            let (mut first, mut second) = if caller_first { (caller, server) } else { (server, caller) };
            say(&mut first, b"that is all").await;
            first.shutdown().await.unwrap();
            assert_eq!(hear_all(&mut second).await.unwrap(), b"that is all", "{what}");
            say(&mut second, b"and this is my answer").await;
            second.shutdown().await.unwrap();
            assert_eq!(hear_all(&mut first).await.unwrap(), b"and this is my answer", "{what}");
        }
        for caller_resets in [true, false] {
            let (caller, server) = between.connect().await;
            let (mut first, mut second) = if caller_resets { (caller, server) } else { (server, caller) };
            say(&mut second, b"hello").await;
            hear(&mut first, b"hello").await;
            say(&mut first, b"half a wor").await;
            hear(&mut second, b"half a wor").await;
            drop(first);
            let error = hear_all(&mut second).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{what}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_cut_off_under_tls_does_not_look_whole() {
    let between = Between::new(true, true).await;
    let attempt = async {
        let stream = TcpStream::connect(between.sidecar.address()).await.unwrap();
        let tls = between.caller.as_ref().unwrap();
        let mut caller = tls.connect(ServerName::try_from("model.test").unwrap(), stream).await.unwrap();
        let mut heard = Vec::new();
        let end = timeout(PATIENCE, caller.read_to_end(&mut heard)).await.unwrap();
        // It still speaks, and its own end is cut, too.
        caller.write_all(b"is that all?").await.unwrap();
        caller.flush().await.unwrap();
        caller.get_mut().0.shutdown().await.unwrap();
        (heard, end)
    };
    let server = async {
        let (stream, _) = between.listener.accept().await.unwrap();
        let mut server = between.server.as_ref().unwrap().accept(stream).await.unwrap();
        // An answer that goes on until its end, and a process that dies in the middle of it: the kernel ends its connections.
        server.write_all(b"HTTP/1.1 200 OK\r\n\r\nhalf an ans").await.unwrap();
        server.flush().await.unwrap();
        server.get_mut().0.shutdown().await.unwrap();
        let mut heard = Vec::new();
        let end = timeout(PATIENCE, server.read_to_end(&mut heard)).await.unwrap();
        (heard, end)
    };
    let ((answer, answer_end), (question, question_end)) = tokio::join!(attempt, server);
    assert!(answer.ends_with(b"half an ans"), "{answer:?}");
    assert_eq!(answer_end.unwrap_err().kind(), ErrorKind::UnexpectedEof);
    assert_eq!(question, b"is that all?");
    assert_eq!(question_end.unwrap_err().kind(), ErrorKind::UnexpectedEof);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_slow_to_shake_hands_is_waited_for_and_a_caller_is_not() {
    // A model that is being loaded: its server takes connections, and answers none.
    const LONGER_THAN_A_CALLER_MAY_TAKE: Duration = Duration::from_millis(10_500);
    let between = Between::new(true, true).await;
    let late = async {
        let (stream, _) = between.listener.accept().await.unwrap();
        tokio::time::sleep(LONGER_THAN_A_CALLER_MAY_TAKE).await;
        between.server.as_ref().unwrap().accept(stream).await.unwrap()
    };
    let patient = async {
        let stream = TcpStream::connect(between.sidecar.address()).await.unwrap();
        let tls = between.caller.as_ref().unwrap();
        tls.connect(ServerName::try_from("model.test").unwrap(), stream).await
    };
    let silent = async {
        let mut stream = TcpStream::connect(between.sidecar.address()).await.unwrap();
        timeout(PATIENCE, stream.read(&mut [0; 1])).await.expect("its place is given to others")
    };
    let all = async { tokio::join!(late, patient, silent) };
    let (mut server, caller, silent) = timeout(2 * PATIENCE, all).await.unwrap();
    assert!(matches!(silent, Ok(0) | Err(_)), "{silent:?}");
    let mut caller = caller.expect("the caller is let in once the server is there");
    caller.write_all(b"at last").await.unwrap();
    caller.flush().await.unwrap();
    timeout(PATIENCE, server.read_exact(&mut [0; 7])).await.unwrap().unwrap();
    assert_eq!(metric(&between.sidecar.metrics().await, "driftline_sidecar_tls_failures_total", &[]), 1.0);
}
