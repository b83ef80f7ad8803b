//! What stands between the collector and its S3 server, and goes wrong when it is told to.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{HeaderMap, HeaderValue, Method, Response, StatusCode, Uri, header};
use driftline_tests::client;

/// How long a slow store takes.
const SLOW: Duration = Duration::from_millis(400);

/// How late a late put is: a collector can be killed and started again meanwhile.
pub(crate) const LATE: Duration = Duration::from_millis(900);

/// How long a silent store holds what it is asked: longer than the collector waits for an answer.
const SILENCE: Duration = Duration::from_secs(3);

/// What a store says to puts that it made.
const LIES: [(StatusCode, &str); 3] = [
    (StatusCode::INTERNAL_SERVER_ERROR, "InternalError"),
    (StatusCode::SERVICE_UNAVAILABLE, "SlowDown"),
    (StatusCode::CONFLICT, "ConditionalRequestConflict"),
];

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    Nothing,
    /// Every answer takes its time.
    Slow,
    /// 500, and nothing was done.
    InternalError,
    /// 503, and nothing was done.
    SlowDown,
    /// 409 to every put, and nothing was done: two who put at once.
    Conflict,
    /// Every put is done, and the connection breaks before that is said.
    LostAnswer,
    /// Every put is done, and nothing is said until the collector waits no longer.
    Silence,
    /// Every put is done, and 500, 503 or 409 is said.
    LyingError,
    /// Every put takes its time, and is done all the same when whoever asked for it is gone by then.
    LatePut,
    /// Conditions are ignored: every put is said to be done, whatever is there.
    Unconditional,
}

impl Fault {
    /// What a store does at its worst that keeps to what it promised.
    pub(crate) const HONEST: [Self; 8] = [
        Self::Slow,
        Self::InternalError,
        Self::SlowDown,
        Self::Conflict,
        Self::LostAnswer,
        Self::Silence,
        Self::LyingError,
        Self::LatePut,
    ];
    const ALL: [Self; 10] = [
        Self::Nothing,
        Self::Slow,
        Self::InternalError,
        Self::SlowDown,
        Self::Conflict,
        Self::LostAnswer,
        Self::Silence,
        Self::LyingError,
        Self::LatePut,
        Self::Unconditional,
    ];

    fn index(self) -> usize {
        Self::ALL.iter().position(|other| *other == self).expect("all are listed")
    }
}

/// A running proxy. Clones share it.
#[derive(Debug, Clone)]
pub(crate) struct Faults {
    address: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    upstream: String,
    client: reqwest::Client,
    /// Index of what goes wrong now.
    current: AtomicUsize,
    /// How often each thing went wrong.
    counts: [AtomicU64; Fault::ALL.len()],
}

impl Faults {
    /// Starts one in front of a server.
    pub(crate) async fn start(upstream: &str) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("a bound address");
        let shared = Arc::new(Shared {
            upstream: format!("http://{upstream}"),
            client: client(),
            current: AtomicUsize::new(0),
            counts: Default::default(),
        });
        let routes = Router::new().fallback(pass).layer(DefaultBodyLimit::disable()).with_state(Arc::clone(&shared));
        tokio::spawn(async move { axum::serve(listener, routes).await });
        Self { address, shared }
    }

    /// Where it is.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// From now on this goes wrong.
    pub(crate) fn set(&self, fault: Fault) {
        self.shared.current.store(fault.index(), Ordering::Relaxed);
    }

    /// How often it went wrong.
    pub(crate) fn count(&self, fault: Fault) -> u64 {
        self.shared.counts[fault.index()].load(Ordering::Relaxed)
    }

    /// How often what went wrong, as in "Slow 3, Conflict 2".
    pub(crate) fn counted(&self) -> String {
        let counts = Fault::ALL.iter().zip(&self.shared.counts).skip(1);
        let counts = counts.map(|(fault, count)| (fault, count.load(Ordering::Relaxed)));
        let counts: Vec<String> =
            counts.filter(|(_, count)| *count > 0).map(|(fault, count)| format!("{fault:?} {count}")).collect();
        counts.join(", ")
    }
}

async fn pass(
    State(shared): State<Arc<Shared>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response<Body> {
    let index = shared.current.load(Ordering::Relaxed);
    let (fault, is_put) = (Fault::ALL[index], method == Method::PUT);
    let concerns_puts = !matches!(fault, Fault::Slow | Fault::InternalError | Fault::SlowDown);
    if fault == Fault::Nothing || concerns_puts && !is_put {
        return shared.forward(method, &uri, headers, body).await;
    }
    let number = shared.counts[index].fetch_add(1, Ordering::Relaxed);
    match fault {
        Fault::Nothing | Fault::Slow => {
            tokio::time::sleep(SLOW).await;
            shared.forward(method, &uri, headers, body).await
        }
        Fault::InternalError => refusal(StatusCode::INTERNAL_SERVER_ERROR, "InternalError"),
        Fault::SlowDown => refusal(StatusCode::SERVICE_UNAVAILABLE, "SlowDown"),
        Fault::Conflict => refusal(StatusCode::CONFLICT, "ConditionalRequestConflict"),
        Fault::LostAnswer => {
            shared.forward(method, &uri, headers, body).await;
            // Ends the connection's task, and with it the connection.
            std::panic::resume_unwind(Box::new("the answer is lost"))
        }
        Fault::Silence => {
            let answer = shared.forward(method, &uri, headers, body).await;
            tokio::time::sleep(SILENCE).await;
            answer
        }
        Fault::LyingError => {
            shared.forward(method, &uri, headers, body).await;
            let (status, code) = LIES[number as usize % LIES.len()];
            refusal(status, code)
        }
        Fault::LatePut => {
            let late = tokio::spawn(async move {
                tokio::time::sleep(LATE).await;
                shared.forward(method, &uri, headers, body).await
            });
            late.await.expect("nothing fails there")
        }
        Fault::Unconditional => {
            // The condition is signed and cannot be taken out: what such a store would say is said in its place.
            let answer = shared.forward(method, &uri, headers, body).await;
            if answer.status() == StatusCode::PRECONDITION_FAILED { done() } else { answer }
        }
    }
}

impl Shared {
    /// Hands a request on as it is, so that its signature holds.
    async fn forward(&self, method: Method, uri: &Uri, headers: HeaderMap, body: Bytes) -> Response<Body> {
        let url = format!("{}{uri}", self.upstream);
        let Ok(answer) = self.client.request(method, url).headers(headers).body(body).send().await else {
            return refusal(StatusCode::BAD_GATEWAY, "ServerIsAway");
        };
        let (status, headers) = (answer.status(), answer.headers().clone());
        let Ok(body) = answer.bytes().await else { return refusal(StatusCode::BAD_GATEWAY, "ServerIsAway") };
        let mut response = Response::new(Body::from(body));
        *response.status_mut() = status;
        *response.headers_mut() = headers;
        response.headers_mut().remove(header::TRANSFER_ENCODING);
        response
    }
}

fn done() -> Response<Body> {
    let mut response = Response::new(Body::empty());
    response.headers_mut().insert(header::ETAG, HeaderValue::from_static("\"0\""));
    response
}

fn refusal(status: StatusCode, code: &str) -> Response<Body> {
    let text = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?><Error><Code>{code}</Code><Message>a fault</Message></Error>"
    );
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = status;
    response
}
