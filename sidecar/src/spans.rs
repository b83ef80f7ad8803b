//! Exchanges as OpenTelemetry spans, for those who want to see the model in their traces. Off unless an endpoint is named.
//!
//! The shipper's thread makes them, after redaction: the pump knows nothing of them, and they carry no body. They are an
//! extra beside the batches: what does not fit the buffer or is not taken is dropped, counted, and never tried again.

use std::cell::{Cell, RefCell};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::Duration;

use bytes::Bytes;
use driftline_protocol::{EndState, Exchange, Traceparent};
use http_body_util::Full;
use hyper::client::conn::http1::handshake;
use hyper::header::{CONTENT_TYPE, HOST};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::span::{Event, SpanKind};
use opentelemetry_proto::tonic::trace::v1::status::StatusCode as SpanStatusCode;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status};
use prost::Message;
use tokio::net::TcpStream;

use crate::metrics::Metrics;
use crate::settings::HostPort;

/// Spans that may wait. At 5,000 exchanges a second this is what comes in between two sends.
const MAX_SPANS: usize = 8192;
/// How often they are sent.
const SEND_INTERVAL: Duration = Duration::from_secs(1);
/// A receiver that takes longer is as good as gone.
const SEND_TIMEOUT: Duration = Duration::from_secs(5);

/// Spans on their way to an OTLP receiver.
#[derive(Debug)]
pub(crate) struct Spans {
    endpoint: HostPort,
    resource: Vec<(&'static str, String)>,
    waiting: RefCell<Vec<Span>>,
    /// For ids of spans, and of traces that nobody began.
    random: RandomState,
    made: Cell<u64>,
}

/// Spans of which it is not known yet that they arrived: they count as dropped if nobody says so.
struct UnderWay<'a> {
    metrics: &'a Metrics,
    spans: u64,
}

impl UnderWay<'_> {
    fn arrived(mut self) {
        self.metrics.spans_sent.inc_by(std::mem::take(&mut self.spans));
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.metrics.spans_dropped.inc_by(self.spans);
    }
}

impl Spans {
    pub(crate) fn new(endpoint: HostPort, model: &str, instance: &str) -> Self {
        let resource = vec![("service.name", model.to_owned()), ("service.instance.id", instance.to_owned())];
        Self { endpoint, resource, waiting: RefCell::default(), random: RandomState::new(), made: Cell::new(0) }
    }

    /// Makes a span of an exchange whose trace its caller records, or that belongs to no trace yet.
    pub(crate) fn record(&self, exchange: &Exchange, metrics: &Metrics) {
        let parent = Traceparent::read(&exchange.traceparent);
        if parent.as_ref().is_some_and(|parent| !parent.is_sampled) {
            return;
        }
        let mut waiting = self.waiting.borrow_mut();
        if waiting.len() == MAX_SPANS {
            metrics.spans_dropped.inc();
            return;
        }
        let (trace_id, parent_span_id) = match parent {
            Some(parent) => (parent.trace_id.to_vec(), parent.span_id.to_vec()),
            None => ([self.random_id(), self.random_id()].concat(), Vec::new()),
        };
        waiting.push(span(exchange, trace_id, self.random_id(), parent_span_id));
    }

    fn random_id(&self) -> Vec<u8> {
        let number = self.made.get();
        self.made.set(number + 1);
        let mut hasher = self.random.build_hasher();
        hasher.write_u64(number);
        // An id of zeros alone would be no id.
        hasher.finish().max(1).to_be_bytes().to_vec()
    }

    /// Sends what waits, every second, for as long as the sidecar runs.
    pub(crate) async fn run(&self, metrics: &Metrics) {
        loop {
            tokio::time::sleep(SEND_INTERVAL).await;
            self.flush(metrics).await;
        }
    }

    /// Sends what waits, once.
    ///
    /// # Cancel safety
    /// What is under way when it is cancelled counts as dropped.
    pub(crate) async fn flush(&self, metrics: &Metrics) {
        let spans = self.waiting.take();
        if spans.is_empty() {
            return;
        }
        let under_way = UnderWay { metrics, spans: spans.len() as u64 };
        let sent = tokio::time::timeout(SEND_TIMEOUT, self.send(spans)).await;
        match sent.unwrap_or_else(|_| Err(format!("no answer within {SEND_TIMEOUT:?}"))) {
            Ok(()) => under_way.arrived(),
            Err(why) => tracing::debug!(%why, spans = under_way.spans, "spans are dropped"),
        }
    }

    async fn send(&self, spans: Vec<Span>) -> Result<(), String> {
        let resource = self.resource.iter().map(|(name, value)| attribute(name, text(value))).collect();
        let request = ExportTraceServiceRequest {
            resource_spans: vec![ResourceSpans {
                resource: Some(Resource { attributes: resource, ..Resource::default() }),
                scope_spans: vec![ScopeSpans {
                    scope: Some(InstrumentationScope {
                        name: "driftline-sidecar".to_owned(),
                        version: env!("CARGO_PKG_VERSION").to_owned(),
                        ..InstrumentationScope::default()
                    }),
                    spans,
                    ..ScopeSpans::default()
                }],
                ..ResourceSpans::default()
            }],
        };
        let failed = |error: &dyn std::fmt::Display| error.to_string();
        let HostPort { host, port } = &self.endpoint;
        let stream = TcpStream::connect((host.as_str(), *port)).await.map_err(|error| failed(&error))?;
        let (mut sender, connection) = handshake(TokioIo::new(stream)).await.map_err(|error| failed(&error))?;
        let request = Request::post("/v1/traces")
            .header(HOST, self.endpoint.to_string())
            .header(CONTENT_TYPE, "application/x-protobuf")
            .body(Full::new(Bytes::from(request.encode_to_vec())))
            .map_err(|error| failed(&error))?;
        let answer = async {
            let response = sender.send_request(request).await.map_err(|error| failed(&error))?;
            Ok::<StatusCode, String>(response.status())
        };
        // The connection runs until the answer's head is there; a second each is seldom enough for a new one each.
        let status = tokio::select! {
            status = answer => status?,
            ended = connection => return Err(ended.err().map_or_else(|| "closed".to_owned(), |error| error.to_string())),
        };
        if status.is_success() { Ok(()) } else { Err(format!("the receiver answered {status}")) }
    }
}

/// Names and attributes are those of OpenTelemetry's semantic conventions for HTTP servers.
fn span(exchange: &Exchange, trace_id: Vec<u8>, span_id: Vec<u8>, parent_span_id: Vec<u8>) -> Span {
    let nanos = |micros: u64| (exchange.started_at_micros.max(0) as u64).saturating_add(micros).saturating_mul(1000);
    let whole = |value: u64| Value::IntValue(i64::try_from(value).unwrap_or(i64::MAX));
    let mut attributes = vec![
        attribute("http.request.method", text(&exchange.method)),
        attribute("url.path", text(exchange.path())),
        attribute("driftline.request_id", text(&exchange.request_id)),
        attribute("driftline.end_state", text(exchange.end().name())),
    ];
    for (name, body) in [("http.request.body.size", &exchange.request), ("http.response.body.size", &exchange.response)]
    {
        attributes.extend(body.as_ref().map(|body| attribute(name, whole(body.size))));
    }
    if exchange.status > 0 {
        attributes.push(attribute("http.response.status_code", whole(u64::from(exchange.status))));
    }
    let failed = exchange.status >= 500 || exchange.end() == EndState::UpstreamError;
    if failed {
        let what = if exchange.status >= 500 { exchange.status.to_string() } else { exchange.end().name().to_owned() };
        attributes.push(attribute("error.type", text(&what)));
    }
    let mut events = Vec::new();
    for (name, at) in [
        ("first response byte", exchange.first_byte_micros),
        (
            "first message",
            exchange.response_messages.as_ref().and_then(|messages| messages.gaps_micros.first().copied()),
        ),
    ] {
        events.extend(at.map(|at| Event { time_unix_nano: nanos(at), name: name.to_owned(), ..Event::default() }));
    }
    Span {
        trace_id,
        span_id,
        parent_span_id,
        name: format!("{} {}", exchange.method, exchange.path()),
        kind: SpanKind::Server.into(),
        start_time_unix_nano: nanos(0),
        end_time_unix_nano: nanos(exchange.duration_micros),
        attributes,
        events,
        status: failed.then(|| Status { code: SpanStatusCode::Error.into(), ..Status::default() }),
        ..Span::default()
    }
}

fn attribute(name: &str, value: Value) -> KeyValue {
    KeyValue { key: name.to_owned(), value: Some(AnyValue { value: Some(value) }), ..KeyValue::default() }
}

fn text(value: &str) -> Value {
    Value::StringValue(value.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_traces_that_their_caller_records_get_a_span() {
        let metrics = Metrics::new(1).unwrap();
        let spans = Spans::new("127.0.0.1:4318".parse().unwrap(), "m", "pod");
        let id = format!("{}-{}", "1".repeat(32), "2".repeat(16));
        for (traceparent, made) in [
            (String::new(), true),
            (format!("00-{id}-01"), true),
            (format!("00-{id}-00"), false),
            (format!("00-{id}-01-more"), true),
            (format!("00-{}-{}-01", "0".repeat(32), "2".repeat(16)), true),
        ] {
            spans.record(&Exchange { traceparent: traceparent.clone(), ..Exchange::default() }, &metrics);
            assert_eq!(!spans.waiting.take().is_empty(), made, "{traceparent}");
        }
        spans.record(&Exchange { traceparent: format!("00-{id}-01"), ..Exchange::default() }, &metrics);
        let span = spans.waiting.take().remove(0);
        assert_eq!((span.trace_id, span.parent_span_id), (vec![0x11; 16], vec![0x22; 8]));
        for _ in 0..MAX_SPANS + 3 {
            spans.record(&Exchange::default(), &metrics);
        }
        assert_eq!((spans.waiting.borrow().len(), metrics.spans_dropped.get()), (MAX_SPANS, 3));
    }

    #[test]
    fn a_span_lasts_as_long_as_its_exchange_and_fails_with_it() {
        let exchange = Exchange {
            method: "POST".into(),
            target: "/v1/models/m:predict".into(),
            started_at_micros: 1_000_000,
            duration_micros: 250,
            first_byte_micros: Some(200),
            status: 503,
            ..Exchange::default()
        };
        let span = span(&exchange, vec![1; 16], vec![2; 8], Vec::new());
        assert_eq!((span.start_time_unix_nano, span.end_time_unix_nano), (1_000_000_000, 1_000_250_000));
        assert_eq!((span.name.as_str(), span.events.len()), ("POST /v1/models/m:predict", 1));
        assert_eq!(span.status.unwrap().code(), SpanStatusCode::Error);
    }
}
