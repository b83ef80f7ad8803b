//! The admin port: `/metrics` for Prometheus, `/livez` and `/readyz` for Kubernetes.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::CONTENT_TYPE;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tracing::debug;

use crate::metrics::Metrics;
use crate::stopping::Stopping;

/// Scrapes and probes are few; more at once than this is somebody's mistake.
const MAX_CONNECTIONS: usize = 64;
/// A pump that has not run for this long is stuck.
const STALE_AFTER: Duration = Duration::from_secs(10);

/// A sign of life that the pump gives every second.
#[derive(Debug)]
pub(crate) struct Heartbeat {
    start: Instant,
    last_millis: AtomicU64,
}

impl Heartbeat {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self { start: Instant::now(), last_millis: AtomicU64::new(0) })
    }

    pub(crate) fn beat(&self) {
        self.last_millis.store(self.start.elapsed().as_millis() as u64, Ordering::Relaxed);
    }

    fn is_fresh(&self) -> bool {
        let last = Duration::from_millis(self.last_millis.load(Ordering::Relaxed));
        self.start.elapsed().saturating_sub(last) < STALE_AFTER
    }
}

/// What the admin port answers from.
#[derive(Debug, Clone)]
pub(crate) struct Admin {
    pub(crate) metrics: Arc<Metrics>,
    /// One for each thread that pumps.
    pub(crate) heartbeats: Vec<Arc<Heartbeat>>,
    /// From then on the sidecar is not ready.
    pub(crate) stopping: Stopping,
}

impl Admin {
    pub(crate) async fn serve(self, listener: TcpListener) {
        let permits = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        loop {
            let Ok(permit) = Arc::clone(&permits).acquire_owned().await else { return };
            let stream = match listener.accept().await {
                Ok((stream, _)) => stream,
                Err(error) => {
                    debug!(%error, "cannot accept a connection to the admin port");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    continue;
                }
            };
            let admin = self.clone();
            tokio::spawn(async move {
                let service = service_fn(|request: Request<Incoming>| {
                    let response = admin.answer(&request);
                    async { Ok::<_, Infallible>(response) }
                });
                let served = hyper::server::conn::http1::Builder::new()
                    .timer(TokioTimer::new())
                    .header_read_timeout(Duration::from_secs(30))
                    .serve_connection(TokioIo::new(stream), service)
                    .await;
                if let Err(error) = served {
                    debug!(%error, "a connection to the admin port ended early");
                }
                drop(permit);
            });
        }
    }

    fn answer(&self, request: &Request<Incoming>) -> Response<Full<Bytes>> {
        let (status, text) = match (request.method(), request.uri().path()) {
            (&Method::GET | &Method::HEAD, "/metrics") => match self.metrics.text() {
                Ok(text) => (StatusCode::OK, text),
                Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("the metrics cannot be encoded: {error}\n")),
            },
            (&Method::GET | &Method::HEAD, "/livez")
                if self.heartbeats.iter().all(|heartbeat| heartbeat.is_fresh()) =>
            {
                (StatusCode::OK, "alive\n".to_owned())
            }
            (&Method::GET | &Method::HEAD, "/livez") => {
                (StatusCode::SERVICE_UNAVAILABLE, format!("a pump has not run for {STALE_AFTER:?}\n"))
            }
            (&Method::GET | &Method::HEAD, "/readyz") if self.stopping.is_requested() => {
                (StatusCode::SERVICE_UNAVAILABLE, "stopping\n".to_owned())
            }
            (&Method::GET | &Method::HEAD, "/readyz") => (StatusCode::OK, "ready\n".to_owned()),
            _ => (StatusCode::NOT_FOUND, "there are /metrics, /livez and /readyz\n".to_owned()),
        };
        let content_type =
            if request.uri().path() == "/metrics" { prometheus::TEXT_FORMAT } else { "text/plain; charset=utf-8" };
        let mut response = Response::new(Full::new(Bytes::from(text)));
        *response.status_mut() = status;
        response.headers_mut().insert(CONTENT_TYPE, hyper::header::HeaderValue::from_static(content_type));
        response
    }
}
