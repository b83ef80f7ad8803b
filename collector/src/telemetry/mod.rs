//! The collector's own traces and metrics, for an OTLP receiver (`http/protobuf`). Off unless OpenTelemetry's environment
//! variables name one: whoever runs receivers sets them for all that runs beside it.
//!
//! They are an extra: what there is no room for or what is not taken is dropped, counted, and never tried again. A
//! receiver that is slow or away costs nothing else.

mod environment;
mod metrics;
mod spans;

use std::sync::Arc;
use std::time::Duration;

use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::metrics::v1::{ResourceMetrics, ScopeMetrics};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans};
use prost::Message;
use reqwest::header::CONTENT_TYPE;
use reqwest::{Client, Url};
use tracing::{debug, info, warn};

use self::environment::Environment;
use self::metrics::{Counted, metric};
pub(crate) use self::spans::{SpanContext, Spanning, Tracer, span_of_request};
use crate::metrics::Metrics;
use crate::times::now_nanos;

/// How long the last signals may take when the collector stops.
pub(crate) const LAST_FLUSH: Duration = Duration::from_secs(2);

/// The signals, for use in metrics.
pub(crate) const SIGNALS: [&str; 2] = ["traces", "metrics"];

/// Sends what there is to tell.
#[derive(Debug, Clone)]
pub(crate) struct Telemetry {
    environment: Arc<Environment>,
    client: Client,
    tracer: Tracer,
    metrics: Arc<Metrics>,
    since_nanos: u64,
}

impl Telemetry {
    /// As the environment says; none when it names no receiver.
    pub(crate) fn from_environment(metrics: &Arc<Metrics>) -> Option<Self> {
        let environment = Environment::read(&|name| std::env::var(name).ok());
        for problem in &environment.problems {
            warn!(problem, "a variable of OpenTelemetry's is left out");
        }
        if environment.traces.is_none() && environment.metrics.is_none() {
            return None;
        }
        let client = match Client::builder().default_headers(environment.headers.clone()).build() {
            Ok(client) => client,
            Err(error) => {
                warn!(%error, "there is no HTTPS client for traces and metrics, and they are not sent");
                return None;
            }
        };
        let to = |url: &Option<Url>| url.as_ref().map_or_else(|| "nowhere".to_owned(), at);
        info!(traces = to(&environment.traces), metrics = to(&environment.metrics), "own traces and metrics are sent");
        let tracer = match environment.traces {
            Some(_) => Tracer::new(environment.sampler, metrics.spans("dropped")),
            None => Tracer::default(),
        };
        let (environment, metrics) = (Arc::new(environment), Arc::clone(metrics));
        Some(Self { environment, client, tracer, metrics, since_nanos: now_nanos() })
    }

    /// What makes the spans that are sent.
    pub(crate) fn tracer(&self) -> Tracer {
        self.tracer.clone()
    }

    /// Sends for as long as it is polled.
    pub(crate) async fn run(self) {
        let spans = async {
            loop {
                tokio::time::sleep(self.environment.span_interval).await;
                self.send_spans().await;
            }
        };
        let metrics = async {
            loop {
                tokio::time::sleep(self.environment.metric_interval).await;
                self.send_metrics().await;
            }
        };
        tokio::join!(spans, metrics);
    }

    /// Sends what waits, once.
    pub(crate) async fn flush(&self) {
        tokio::join!(self.send_spans(), self.send_metrics());
    }

    async fn send_spans(&self) {
        let spans = self.tracer.take();
        let (Some(url), false) = (&self.environment.traces, spans.is_empty()) else { return };
        let count = spans.len() as u64;
        let scope_spans = vec![ScopeSpans { scope: Some(scope()), spans, ..ScopeSpans::default() }];
        let resource_spans =
            vec![ResourceSpans { resource: Some(self.resource()), scope_spans, ..ResourceSpans::default() }];
        let is_sent = self.post("traces", url, ExportTraceServiceRequest { resource_spans }.encode_to_vec()).await;
        self.metrics.spans(if is_sent { "sent" } else { "dropped" }).inc_by(count);
    }

    async fn send_metrics(&self) {
        let Some(url) = &self.environment.metrics else { return };
        let own = self.clone();
        // Thousands of series take milliseconds: too long for a thread that serves others.
        if let Ok(body) = tokio::task::spawn_blocking(move || own.metrics_request()).await {
            self.post("metrics", url, body).await;
        }
    }

    fn metrics_request(&self) -> Vec<u8> {
        let counted = Counted { since_nanos: self.since_nanos, at_nanos: now_nanos() };
        let metrics = self.metrics.gather().iter().filter_map(|family| metric(family, counted)).collect();
        let scope_metrics = vec![ScopeMetrics { scope: Some(scope()), metrics, ..ScopeMetrics::default() }];
        let resource_metrics =
            vec![ResourceMetrics { resource: Some(self.resource()), scope_metrics, ..ResourceMetrics::default() }];
        ExportMetricsServiceRequest { resource_metrics }.encode_to_vec()
    }

    fn resource(&self) -> Resource {
        let text = |(name, value): &(String, String)| attribute(name, Value::StringValue(value.clone()));
        Resource { attributes: self.environment.resource.iter().map(text).collect(), ..Resource::default() }
    }

    async fn post(&self, signal: &'static str, url: &Url, body: Vec<u8>) -> bool {
        let request = self.client.post(url.clone()).timeout(self.environment.timeout);
        let answer = request.header(CONTENT_TYPE, "application/x-protobuf").body(body).send().await;
        // What is in a URL besides its place may be a secret.
        let answer = answer.and_then(reqwest::Response::error_for_status).map_err(reqwest::Error::without_url);
        match answer {
            Ok(_) => self.metrics.otlp_requests(signal, "ok").inc(),
            Err(error) => {
                let failed = self.metrics.otlp_requests(signal, "failed");
                failed.inc();
                if failed.get() == 1 {
                    warn!(signal, receiver = at(url), %error, "a receiver does not take what it is sent; metrics count it from here on");
                } else {
                    debug!(signal, %error, "a receiver does not take what it is sent");
                }
                return false;
            }
        }
        true
    }
}

/// Where a URL leads, without what may be secret in it.
fn at(url: &Url) -> String {
    format!("{}://{}:{}", url.scheme(), url.host_str().unwrap_or_default(), url.port_or_known_default().unwrap_or(0))
}

fn scope() -> InstrumentationScope {
    let (name, version) = ("driftline".to_owned(), env!("CARGO_PKG_VERSION").to_owned());
    InstrumentationScope { name, version, ..InstrumentationScope::default() }
}

fn attribute(name: &str, value: Value) -> KeyValue {
    KeyValue { key: name.to_owned(), value: Some(AnyValue { value: Some(value) }), ..KeyValue::default() }
}
