//! `POST /` and `POST /v1/cloudevents`: what KServe's and Seldon's loggers send, so that they work without our sidecar.
//!
//! They send a request and its response apart, under one id, and do not say which protocol the bodies are in: the request's
//! fields tell. Nobody measured anything, so they bring rows and no latency. A logger that is refused does not come again.

mod event;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::extract::{Query, Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use driftline_protocol::{Body, Exchange, Header, ModelProtocol};
use serde::Deserialize;
use serde::de::IgnoredAny;
use tracing::warn;

use self::event::Event;
use super::Ingest;
use super::refused::Refused;
use crate::config;
use crate::metrics::Metrics;
use crate::store::halves::{self, GivenUp, Half, Side, Taken};
use crate::store::{Store, StoreError, journal};
use crate::times::now_micros;

/// Largest request. A batch of events may fill it.
const MAX_BODY_BYTES: usize = 16 << 20;
/// Largest body in an event: two of them fit into a frame however badly they compress.
const MAX_DATA_BYTES: usize = 7 << 20;
/// Halves that may wait. At a thousand requests a second, each logger may be a minute behind.
const MAX_WAITING: u64 = 100_000;
/// Halves that are given up on in one transaction.
const ROUND: u32 = 500;
/// How often it is looked for halves that waited long enough, at least.
const LOOK_INTERVAL: Duration = Duration::from_secs(5);

/// Halves that wait, about: it is counted again at every look.
#[derive(Debug, Clone, Default)]
pub(crate) struct Waiting(Arc<AtomicU64>);

/// What the URL may say besides.
#[derive(Debug, Deserialize)]
pub(crate) struct Parameters {
    /// The model, whatever the events call it.
    model: Option<String>,
}

/// `POST /` and `POST /v1/cloudevents`. The answer comes once all events are on disk.
pub(crate) async fn cloud_events(
    State(ingest): State<Ingest>,
    Query(parameters): Query<Parameters>,
    request: Request,
) -> Response {
    match take(&ingest, parameters.model, request).await {
        // KServe's logger logs anything but 200 as an error.
        Ok(()) => StatusCode::OK.into_response(),
        Err(refused) => ingest.refuse("events", refused),
    }
}

async fn take(ingest: &Ingest, model: Option<String>, request: Request) -> Result<(), Refused> {
    let pass = ingest.let_in(&request)?;
    if ingest.waiting.0.load(Ordering::Relaxed) >= MAX_WAITING {
        return Err(Refused::TooMany {
            reason: "events_waiting",
            why: format!("{MAX_WAITING} events wait for their requests or responses; do the loggers send both?"),
        });
    }
    let headers = request.headers().clone();
    let (bytes, _room) = ingest.body(request, MAX_BODY_BYTES).await?;
    let size = bytes.len();
    let events = tokio::task::spawn_blocking(move || event::read(&headers, &bytes)).await;
    let events = events.map_err(|_| Refused::NotNow("the events could not be read".to_owned()))?;
    let events = events.map_err(|why| Refused::Bad(StatusCode::BAD_REQUEST, why))?;
    let ignored = events.iter().filter(|event| event.is_none()).count() as u64;
    let now = now_micros();
    let mut taken: Vec<Half> = Vec::new();
    let mut models: BTreeMap<String, u64> = BTreeMap::new();
    for event in events.into_iter().flatten() {
        let half = half(event, model.as_deref(), now)?;
        ingest.admit(&pass, &half.model)?;
        *models.entry(half.model.clone()).or_default() += u64::from(half.side == Side::Request);
        taken.push(half);
    }
    for (model, requests) in &models {
        ingest.meters.take(pass.token.as_deref(), model, *requests, size / models.len())?;
    }
    let written = ingest.store.writer.write(move |db| {
        models.keys().try_for_each(|model| journal::remember_model(db, model, now))?;
        taken.iter().map(|half| halves::take(db, half, now)).collect::<rusqlite::Result<Vec<Taken>>>()
    });
    let written = written.await;
    let outcomes = written.map_err(|error| Refused::NotNow(format!("the events could not be stored: {error}")))?;
    ingest.space.grew(size);
    ingest.waiting.note(&outcomes);
    ingest.metrics.cloud_events("ignored").inc_by(ignored);
    for outcome in outcomes {
        ingest.metrics.cloud_events(name(outcome)).inc();
    }
    // Full means that the pipeline is awake already.
    ingest.wake.try_send(()).ok();
    Ok(())
}

impl Waiting {
    fn note(&self, outcomes: &[Taken]) {
        let count = |wanted: Taken| outcomes.iter().filter(|outcome| **outcome == wanted).count() as u64;
        let (more, fewer) = (count(Taken::Waits), count(Taken::Joined));
        let change = |waiting: u64| Some(waiting.saturating_add(more).saturating_sub(fewer));
        // The closure always has an answer, so there is no failure to look at.
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, change).ok();
    }
}

/// The name by which metrics count it.
fn name(taken: Taken) -> &'static str {
    match taken {
        Taken::Waits => "waits",
        Taken::Joined => "joined",
        Taken::Repeated => "repeated",
        Taken::Late => "late",
    }
}

/// Every outcome of an event, so that counters exist before the first.
pub(crate) const OUTCOMES: [&str; 7] =
    ["waits", "joined", "repeated", "late", "request_alone", "response_alone", "ignored"];

/// Half of an exchange, as an event tells of it.
fn half(event: Event, model: Option<&str>, now: i64) -> Result<Half, Refused> {
    let Event { side, joined_by, request_id, source, model: named, time, encoding, data } = event;
    if data.len() > MAX_DATA_BYTES {
        let why = format!("an event's data has {} bytes; at most {MAX_DATA_BYTES} are taken", data.len());
        return Err(Refused::Bad(StatusCode::PAYLOAD_TOO_LARGE, why));
    }
    let model = model.map(str::to_owned).or(named).ok_or_else(|| {
        let why = "an event names no model; send ce-inferenceservicename, or post to /v1/cloudevents?model=NAME";
        Refused::Bad(StatusCode::BAD_REQUEST, why.to_owned())
    })?;
    let headers: Vec<Header> =
        encoding.into_iter().map(|encoding| Header { name: "content-encoding".to_owned(), value: encoding }).collect();
    let body = Some(Body { size: data.len() as u64, content: data.clone(), ..Body::default() });
    let exchange = match side {
        Side::Response => Exchange { response: body, response_headers: headers, ..Exchange::default() },
        Side::Request => {
            let (target, protocol) = target(&model, &data);
            Exchange {
                request_id,
                started_at_micros: time.unwrap_or(now),
                method: "POST".to_owned(),
                target,
                protocol,
                request: body,
                request_headers: headers,
                unmeasured: true,
                ..Exchange::default()
            }
        }
    };
    Ok(Half { model, joined_by, side, source, exchange })
}

/// The fields by which protocols are told apart.
#[derive(Deserialize)]
struct Fields {
    instances: Option<IgnoredAny>,
    inputs: Option<IgnoredAny>,
    data: Option<IgnoredAny>,
    #[serde(rename = "jsonData")]
    json_data: Option<IgnoredAny>,
}

/// The path that a request would have had, and its protocol.
fn target(model: &str, data: &[u8]) -> (String, String) {
    let v2 = (format!("/v2/models/{model}/infer"), ModelProtocol::V2.name().to_owned());
    let v1 = (format!("/v1/models/{model}:predict"), ModelProtocol::V1.name().to_owned());
    let seldon = ("/api/v1.0/predictions".to_owned(), ModelProtocol::Seldon.name().to_owned());
    match serde_json::from_slice::<Fields>(data) {
        Ok(Fields { inputs: Some(_), .. }) => v2,
        Ok(Fields { instances: Some(_), .. }) => v1,
        Ok(Fields { data: Some(_), .. } | Fields { json_data: Some(_), .. }) => seldon,
        // What it is, nobody said. It is journalled all the same, and counted as undecodable.
        _ => ("/v1/cloudevents".to_owned(), String::new()),
    }
}

/// Gives up on halves that waited long enough, for as long as it is polled.
pub(crate) async fn give_up(store: Store, metrics: Arc<Metrics>, waiting: Waiting, events: config::Events) {
    let interval = LOOK_INTERVAL.min(events.join_within);
    loop {
        match round(&store, &waiting, &events).await {
            Ok(given_up) => {
                metrics.cloud_events("request_alone").inc_by(given_up.requests);
                metrics.cloud_events("response_alone").inc_by(given_up.responses);
                metrics.cloud_events_waiting.set(waiting.0.load(Ordering::Relaxed) as i64);
                // There may be more, and others want to write, too.
                if given_up.requests + given_up.responses >= u64::from(ROUND) {
                    continue;
                }
            }
            Err(StoreError::Closed) => return,
            Err(error) => warn!(%error, "events that wait for their other half cannot be looked at; it is tried again"),
        }
        tokio::time::sleep(interval).await;
    }
}

async fn round(store: &Store, waiting: &Waiting, events: &config::Events) -> Result<GivenUp, StoreError> {
    let now = now_micros();
    let (before, alone) = (now - events.join_within.as_micros() as i64, events.requests_alone);
    let work = move |db: &rusqlite::Savepoint<'_>| {
        let given_up = halves::give_up(db, before, alone, ROUND, now)?;
        Ok((given_up, halves::waiting(db)?))
    };
    let (given_up, left) = store.writer.write(work).await?;
    waiting.0.store(left, Ordering::Relaxed);
    Ok(given_up)
}
