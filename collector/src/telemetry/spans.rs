//! Spans of what the collector does: ingest, journal, the pipeline's rounds, the archive's files, deliveries.

use std::sync::{Arc, Mutex};

use axum::extract::{Request, State};
use axum::http::HeaderMap;
use axum::middleware::Next;
use axum::response::Response;
use driftline_protocol::Traceparent;
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use opentelemetry_proto::tonic::trace::v1::{Span, Status};
use prometheus::IntCounter;
use uuid::Uuid;

use super::attribute;
use super::environment::Sampler;
use crate::times::now_nanos;

/// Spans that may wait. At a thousand batches a second, each with its write, this is what comes between two sends.
const MAX_SPANS: usize = 16_384;

/// Makes spans, or none when nobody receives them. Clones share what waits.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tracer(Option<Arc<Recorder>>);

#[derive(Debug)]
struct Recorder {
    sampler: Sampler,
    waiting: Mutex<Vec<Span>>,
    dropped: IntCounter,
}

/// The span that others begin in; of a request, its extension.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SpanContext {
    trace_id: [u8; 16],
    span_id: [u8; 8],
}

/// A span that lasts until it is dropped. Of a trace that nobody records it is nothing.
#[derive(Debug)]
pub(crate) struct Spanning(Option<Box<(Arc<Recorder>, Span, SpanContext)>>);

impl Tracer {
    pub(super) fn new(sampler: Sampler, dropped: IntCounter) -> Self {
        Self(Some(Arc::new(Recorder { sampler, waiting: Mutex::default(), dropped })))
    }

    /// Begins a span of a trace of its own.
    pub(crate) fn begin(&self, name: &'static str) -> Spanning {
        self.begin_of(name.to_owned(), SpanKind::Internal, None)
    }

    /// Begins a span inside another; none outside of one.
    pub(crate) fn inside(&self, context: Option<SpanContext>, name: &'static str) -> Spanning {
        match (&self.0, context) {
            (Some(recorder), Some(SpanContext { trace_id, span_id })) => {
                Spanning::new(recorder, name.to_owned(), SpanKind::Internal, trace_id, span_id.to_vec())
            }
            _ => Spanning(None),
        }
    }

    fn begin_of(&self, name: String, kind: SpanKind, headers: Option<&HeaderMap>) -> Spanning {
        let Some(recorder) = &self.0 else { return Spanning(None) };
        let parent = headers.and_then(|headers| Traceparent::read(headers.get("traceparent")?.to_str().ok()?));
        let own_trace = Uuid::now_v7().into_bytes();
        let trace_id = parent.map_or(own_trace, |parent| parent.trace_id);
        let Sampler { follows_parent, share } = recorder.sampler;
        let is_recorded = match parent {
            Some(parent) if follows_parent => parent.is_sampled,
            _ => is_drawn(trace_id, share),
        };
        if !is_recorded {
            return Spanning(None);
        }
        let parent_span_id = parent.map_or_else(Vec::new, |parent| parent.span_id.to_vec());
        Spanning::new(recorder, name, kind, trace_id, parent_span_id)
    }

    /// What waits to be sent.
    pub(super) fn take(&self) -> Vec<Span> {
        let waiting = self.0.as_ref().and_then(|recorder| recorder.waiting.lock().ok());
        waiting.map(|mut waiting| std::mem::take(&mut *waiting)).unwrap_or_default()
    }
}

/// The same traces everywhere: their ids decide.
fn is_drawn(trace_id: [u8; 16], share: f64) -> bool {
    let [.., a, b, c, d] = trace_id;
    f64::from(u32::from_be_bytes([a, b, c, d])) < share * f64::from(u32::MAX) || share >= 1.0
}

impl Spanning {
    /// Nothing that anybody wants to see.
    pub(crate) fn none() -> Self {
        Self(None)
    }

    fn new(
        recorder: &Arc<Recorder>,
        name: String,
        kind: SpanKind,
        trace_id: [u8; 16],
        parent_span_id: Vec<u8>,
    ) -> Self {
        let [.., a, b, c, d, e, f, g, h] = Uuid::now_v7().into_bytes();
        let context = SpanContext { trace_id, span_id: [a, b, c, d, e, f, g, h] };
        let span = Span {
            trace_id: trace_id.to_vec(),
            span_id: context.span_id.to_vec(),
            parent_span_id,
            name,
            kind: kind.into(),
            start_time_unix_nano: now_nanos(),
            ..Span::default()
        };
        Self(Some(Box::new((Arc::clone(recorder), span, context))))
    }

    /// By which others begin in it.
    pub(crate) fn context(&self) -> Option<SpanContext> {
        self.0.as_ref().map(|recorded| recorded.2)
    }

    /// Says more of what it is.
    pub(crate) fn number(&mut self, name: &'static str, value: u64) {
        self.attribute(attribute(name, Value::IntValue(i64::try_from(value).unwrap_or(i64::MAX))));
    }

    pub(crate) fn text(&mut self, name: &'static str, value: &str) {
        self.attribute(attribute(name, Value::StringValue(value.to_owned())));
    }

    fn attribute(&mut self, attribute: KeyValue) {
        if let Some(recorded) = &mut self.0 {
            recorded.1.attributes.push(attribute);
        }
    }

    /// What it stands for has failed.
    pub(crate) fn fail(&mut self, why: &str) {
        if let Some(recorded) = &mut self.0 {
            let status = Status { code: StatusCode::Error.into(), message: why.to_owned() };
            recorded.1.status = Some(status);
        }
    }
}

impl Drop for Spanning {
    fn drop(&mut self) {
        let Some(recorded) = self.0.take() else { return };
        let (recorder, mut span, _) = *recorded;
        span.end_time_unix_nano = now_nanos().max(span.start_time_unix_nano);
        match recorder.waiting.lock() {
            Ok(mut waiting) if waiting.len() < MAX_SPANS => waiting.push(span),
            _ => recorder.dropped.inc(),
        }
    }
}

/// A span of each request, with its context for what is done for it.
pub(crate) async fn span_of_request(State(tracer): State<Tracer>, mut request: Request, next: Next) -> Response {
    let name = format!("{} {}", request.method(), request.uri().path());
    let mut span = tracer.begin_of(name, SpanKind::Server, Some(request.headers()));
    if let Some(context) = span.context() {
        span.text("http.request.method", request.method().as_str());
        span.text("url.path", request.uri().path());
        request.extensions_mut().insert(context);
    }
    let response = next.run(request).await;
    span.number("http.response.status_code", response.status().as_u16().into());
    if response.status().is_server_error() {
        span.fail(response.status().as_str());
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tracer(follows_parent: bool, share: f64) -> (Tracer, IntCounter) {
        let dropped = IntCounter::new("dropped", "Dropped.").unwrap();
        (Tracer::new(Sampler { follows_parent, share }, dropped.clone()), dropped)
    }

    fn of_request(tracer: &Tracer, traceparent: &str) -> Vec<Span> {
        let headers = HeaderMap::from_iter([("traceparent".parse().unwrap(), traceparent.parse().unwrap())]);
        drop(tracer.begin_of("request".to_owned(), SpanKind::Server, Some(&headers)));
        tracer.take()
    }

    #[test]
    fn a_span_is_of_its_callers_trace_and_recorded_where_that_is() {
        let id = format!("{}-{}", "1".repeat(32), "2".repeat(16));
        let (sampled, unsampled) = (format!("00-{id}-01"), format!("00-{id}-00"));
        let (following, _) = tracer(true, 0.0);
        let spans = of_request(&following, &sampled);
        assert_eq!(
            (spans[0].trace_id.as_slice(), spans[0].parent_span_id.as_slice()),
            (&[0x11; 16][..], &[0x22; 8][..])
        );
        assert!(of_request(&following, &unsampled).is_empty());
        assert!(of_request(&following, "none").is_empty(), "of its own traces it records none");
        assert_eq!(of_request(&tracer(false, 1.0).0, &unsampled).len(), 1);
    }

    #[test]
    fn what_is_inside_a_span_is_of_its_trace_and_ends_before_it() {
        let (tracer, _) = tracer(true, 1.0);
        let outer = tracer.begin("outer");
        let mut inner = tracer.inside(outer.context(), "inner");
        inner.fail("it broke");
        drop(inner);
        drop(outer);
        assert!(tracer.inside(None, "nowhere").context().is_none());
        let spans = tracer.take();
        assert_eq!(spans.iter().map(|span| span.name.as_str()).collect::<Vec<_>>(), ["inner", "outer"]);
        assert_eq!((&spans[0].parent_span_id, &spans[0].trace_id), (&spans[1].span_id, &spans[1].trace_id));
        assert_eq!(spans[0].status.as_ref().unwrap().code(), StatusCode::Error);
    }

    #[test]
    fn spans_that_there_is_no_room_for_are_counted() {
        let (tracer, dropped) = tracer(true, 1.0);
        (0..MAX_SPANS + 3).for_each(|_| drop(tracer.begin("span")));
        assert_eq!((tracer.take().len(), dropped.get()), (MAX_SPANS, 3));
        assert!(Tracer::default().begin("off").context().is_none());
    }

    #[test]
    fn a_share_of_traces_is_drawn_by_their_ids() {
        let (tracer, _) = tracer(true, 0.25);
        (0..4000).for_each(|_| drop(tracer.begin("span")));
        assert!((800..1200).contains(&tracer.take().len()));
    }
}
