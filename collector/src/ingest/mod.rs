//! Taking batches and outcomes: checked, made durable, and only then acknowledged.

use std::collections::BTreeSet;
use std::sync::mpsc::SyncSender;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use driftline_protocol::frame::{self, MAX_FRAME_BYTES};
use driftline_protocol::{Acknowledgement, Batch, MEDIA_TYPE};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use prost::Message;
use serde::Deserialize;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tracing::{debug, info, warn};

use crate::metrics::Metrics;
use crate::pipeline::slis::{GoodOfValid, SliCounts};
use crate::store::outcomes::{self, Outcome};
use crate::store::{Store, journal};
use crate::times::now_micros;

/// Outcomes that one request may bring.
const MAX_OUTCOMES: usize = 100_000;
/// Largest body of outcomes.
const MAX_OUTCOME_BYTES: usize = 16 << 20;
/// Longest id of a row, and longest outcome, in bytes.
const MAX_FIELD_BYTES: usize = 1024;
/// Seconds after which a sender should come back when the database cannot be written.
const RETRY_AFTER_SECONDS: &str = "2";

/// Memory that bodies may take which are being read, checked and stored, in all. A batch is charged for its frame and for
/// what is in it. Past this, senders come back later: they hold what they have.
const ADMITTED_KIB: usize = 256 << 10;
/// A body that takes longer than this to arrive holds room that others need.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);

/// What taking things in needs.
#[derive(Debug, Clone)]
pub(crate) struct Ingest {
    store: Store,
    metrics: Arc<Metrics>,
    wake: SyncSender<()>,
    models: Arc<Mutex<BTreeSet<String>>>,
    max_models: usize,
    /// Room for bodies, in KiB.
    room: Arc<Semaphore>,
}

/// Why something was not taken.
#[derive(Debug)]
enum Refused {
    /// It is wrong, and will be wrong again.
    Bad(StatusCode, String),
    /// It is right, and cannot be taken now.
    NotNow(String),
    /// There is no room for it now.
    NoRoom,
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let why = match self {
            Self::Bad(status, why) => return (status, format!("{why}\n")).into_response(),
            Self::NotNow(why) => why,
            Self::NoRoom => "too much is being taken in; come back later".to_owned(),
        };
        let headers = [(header::RETRY_AFTER, RETRY_AFTER_SECONDS)];
        (StatusCode::SERVICE_UNAVAILABLE, headers, format!("{why}\n")).into_response()
    }
}

impl Ingest {
    pub(crate) fn new(
        store: Store,
        metrics: Arc<Metrics>,
        wake: SyncSender<()>,
        known_models: impl IntoIterator<Item = String>,
        max_models: u64,
    ) -> Self {
        let models = Arc::new(Mutex::new(known_models.into_iter().collect()));
        let room = Arc::new(Semaphore::new(ADMITTED_KIB));
        Self { store, metrics, wake, models, max_models: max_models as usize, room }
    }

    /// Room for so many bytes, until it is dropped.
    fn room(&self, bytes: usize) -> Result<OwnedSemaphorePermit, Refused> {
        let kib = u32::try_from(bytes.div_ceil(1024)).unwrap_or(u32::MAX);
        Arc::clone(&self.room).try_acquire_many_owned(kib).map_err(|_| Refused::NoRoom)
    }

    /// Reads a body, once there is room for it.
    async fn body(&self, request: Request, limit: usize) -> Result<(Bytes, OwnedSemaphorePermit), Refused> {
        let length = request.headers().get(header::CONTENT_LENGTH);
        let length = length.and_then(|length| length.to_str().ok()?.parse().ok()).unwrap_or(limit);
        let room = self.room(length.min(limit))?;
        match tokio::time::timeout(BODY_TIMEOUT, body(request, limit)).await {
            Ok(bytes) => Ok((bytes?, room)),
            Err(_) => Err(Refused::Bad(
                StatusCode::REQUEST_TIMEOUT,
                format!("the body did not arrive within {BODY_TIMEOUT:?}"),
            )),
        }
    }

    /// Whether a model may be seen: it is known, or there is room for one more.
    fn admit(&self, model: &str) -> Result<(), Refused> {
        let mut models = self.models.lock().map_err(|_| Refused::NotNow("the collector is failing".to_owned()))?;
        if models.contains(model) {
            return Ok(());
        }
        if models.len() >= self.max_models {
            return Err(Refused::Bad(
                StatusCode::UNPROCESSABLE_ENTITY,
                format!(
                    "model '{model}' is new, and {} are known already; raise max_models, or correct the sidecar's --model",
                    models.len()
                ),
            ));
        }
        if !is_model_name(model) {
            return Err(Refused::Bad(
                StatusCode::UNPROCESSABLE_ENTITY,
                format!(
                    "'{model}' is not a model name; allowed are up to 100 letters, digits, '-', '_' and '.', not beginning with '.'"
                ),
            ));
        }
        info!(model, "a model is seen for the first time");
        models.insert(model.to_owned());
        Ok(())
    }

    async fn store_batch(&self, request: Request) -> Result<Acknowledgement, Refused> {
        let (bytes, _room) = self.body(request, MAX_FRAME_BYTES).await?;
        let _room_inside = self.room(frame::raw_length(&bytes))?;
        // A megabyte takes milliseconds to decompress: too long for a thread that serves others.
        let checked = tokio::task::spawn_blocking(move || frame::decode(&bytes).map(|batch| (batch, bytes))).await;
        let checked = checked.map_err(|_| Refused::NotNow("the batch could not be read".to_owned()))?;
        let (batch, bytes) = checked.map_err(|error| Refused::Bad(StatusCode::BAD_REQUEST, error.to_string()))?;
        self.admit(&batch.model)?;
        let received_at = now_micros();
        let model = batch.model.clone();
        let written = self
            .store
            .writer
            .write(move |db| {
                journal::remember_model(db, &batch.model, received_at)?;
                let appended = journal::append(db, &batch, &bytes, received_at)?;
                count_capture(db, &batch, appended.growth, received_at)?;
                Ok(appended)
            })
            .await;
        let appended = written.map_err(|error| Refused::NotNow(format!("the batch could not be stored: {error}")))?;
        self.metrics.batches(if appended.new > 0 { "stored" } else { "duplicate" }).inc();
        self.metrics.exchanges_duplicate.inc_by(appended.duplicates);
        self.metrics.exchanges_missing.inc_by(appended.missing);
        let capture = capture(appended.growth);
        self.metrics.sli_good.with_label_values(&[model.as_str(), "capture"]).inc_by(capture.good);
        self.metrics.sli_valid.with_label_values(&[model.as_str(), "capture"]).inc_by(capture.valid);
        // Full means that the pipeline is awake already.
        self.wake.try_send(()).ok();
        Ok(Acknowledgement { durable_through: appended.durable_through })
    }
}

/// What the sidecar says of itself becomes an indicator: of the exchanges that were to come here and are done with, how
/// many came. Those that are on their way are neither, yet.
fn count_capture(db: &rusqlite::Connection, batch: &Batch, growth: journal::Growth, now: i64) -> rusqlite::Result<()> {
    let mut counts = SliCounts::default();
    counts.count(&batch.model, "capture", "", now, capture(growth));
    counts.store(db)
}

fn capture(growth: journal::Growth) -> GoodOfValid {
    GoodOfValid { good: growth.delivered, valid: growth.delivered.saturating_add(growth.lost) }
}

fn is_model_name(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    !name.is_empty() && name.len() <= 100 && name.bytes().all(plain) && !name.starts_with('.')
}

/// `POST /v1/exchanges`: a framed batch. The answer comes once it is on disk.
pub(crate) async fn exchanges(State(ingest): State<Ingest>, request: Request) -> Response {
    match ingest.store_batch(request).await {
        Ok(acknowledgement) => ([(header::CONTENT_TYPE, MEDIA_TYPE)], acknowledgement.encode_to_vec()).into_response(),
        Err(Refused::NoRoom) => {
            ingest.metrics.batches("deferred").inc();
            debug!("there is no room for a batch; it will come again");
            Refused::NoRoom.into_response()
        }
        Err(refused) => {
            ingest.metrics.batches("refused").inc();
            warn!(why = ?refused, "a batch is refused");
            refused.into_response()
        }
    }
}

/// One outcome, as it is sent.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct SentOutcome {
    model: String,
    row_id: String,
    outcome: serde_json::Value,
    observed_at: Option<String>,
}

/// `POST /v1/outcomes`: JSON lines, one outcome each. All of them are stored, or none.
pub(crate) async fn outcomes(State(ingest): State<Ingest>, request: Request) -> Response {
    match store_outcomes(&ingest, request).await {
        Ok(stored) => (StatusCode::OK, axum::Json(serde_json::json!({ "stored": stored }))).into_response(),
        Err(refused) => refused.into_response(),
    }
}

async fn store_outcomes(ingest: &Ingest, request: Request) -> Result<usize, Refused> {
    let (bytes, _room) = ingest.body(request, MAX_OUTCOME_BYTES).await?;
    let sent = parse_outcomes(&bytes).map_err(|why| Refused::Bad(StatusCode::BAD_REQUEST, why))?;
    let models: BTreeSet<String> = sent.iter().map(|outcome| outcome.model.clone()).collect();
    for model in &models {
        ingest.admit(model)?;
    }
    let counts: Vec<(String, u64)> = models
        .into_iter()
        .map(|model| {
            let count = sent.iter().filter(|outcome| outcome.model == model).count() as u64;
            (model, count)
        })
        .collect();
    let (stored, received_at) = (sent.len(), now_micros());
    let names: Vec<String> = counts.iter().map(|(model, _)| model.clone()).collect();
    let written = ingest.store.writer.write(move |db| {
        names.iter().try_for_each(|model| journal::remember_model(db, model, received_at))?;
        outcomes::store(db, &sent, received_at)
    });
    let written = written.await;
    written.map_err(|error| Refused::NotNow(format!("the outcomes could not be stored: {error}")))?;
    for (model, count) in counts {
        ingest.metrics.outcomes.with_label_values(&[&model]).inc_by(count);
    }
    Ok(stored)
}

fn parse_outcomes(bytes: &[u8]) -> Result<Vec<Outcome>, String> {
    let text = std::str::from_utf8(bytes).map_err(|error| format!("the body is not UTF-8: {error}"))?;
    let mut outcomes = Vec::new();
    for (index, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let place = format!("line {}", index + 1);
        let expected = r#"expected {"model": "…", "row_id": "…", "outcome": …, "observed_at": "2013-01-01T05:00:00Z"}"#;
        let sent: SentOutcome = serde_json::from_str(line).map_err(|error| format!("{place}: {error}; {expected}"))?;
        if !(sent.outcome.is_number() || sent.outcome.is_string() || sent.outcome.is_boolean()) {
            return Err(format!("{place}: the outcome is no number, text or boolean; {expected}"));
        }
        let observed_at = match sent.observed_at.map(|time| time.parse::<jiff::Timestamp>()) {
            None => None,
            Some(Ok(time)) => Some(time.as_microsecond()),
            Some(Err(error)) => return Err(format!("{place}: observed_at: {error}; {expected}")),
        };
        let outcome = sent.outcome.to_string();
        if sent.row_id.is_empty() || sent.row_id.len() > MAX_FIELD_BYTES || outcome.len() > MAX_FIELD_BYTES {
            return Err(format!("{place}: row_id is empty, or a field has more than {MAX_FIELD_BYTES} bytes"));
        }
        outcomes.push(Outcome { model: sent.model, row_id: sent.row_id, outcome, observed_at });
        if outcomes.len() > MAX_OUTCOMES {
            return Err(format!("more than {MAX_OUTCOMES} outcomes; send them in several requests"));
        }
    }
    Ok(outcomes)
}

async fn body(request: Request<Body>, limit: usize) -> Result<Bytes, Refused> {
    match Limited::new(request.into_body(), limit).collect().await {
        Ok(body) => Ok(body.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(Refused::Bad(
            StatusCode::PAYLOAD_TOO_LARGE,
            format!("the body is too large; at most {limit} bytes are taken"),
        )),
        Err(error) => Err(Refused::Bad(StatusCode::BAD_REQUEST, format!("the body ended early: {error}"))),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::sync_channel;

    use super::*;

    #[tokio::test]
    async fn what_there_is_no_room_for_comes_again_later_and_is_counted() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        let (metrics, (wake, _woken)) = (Metrics::new().unwrap(), sync_channel(1));
        let ingest = Ingest::new(store, Arc::clone(&metrics), wake, [], 10);
        let exchange = driftline_protocol::Exchange { sequence: 1, ..Default::default() };
        let batch = Batch {
            boot_id: vec![7; 16],
            model: "m".into(),
            first_sequence: 1,
            last_sequence: 1,
            exchanges: vec![exchange],
            ..Batch::default()
        };
        let frame = frame::encode(&batch).unwrap();
        let post = || exchanges(State(ingest.clone()), Request::new(Body::from(frame.clone())));
        // Somebody's bodies take all the room.
        let others = ingest.room(ADMITTED_KIB * 1024).unwrap();
        let response = post().await;
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(response.headers()[header::RETRY_AFTER], RETRY_AFTER_SECONDS);
        assert_eq!(metrics.batches("deferred").get(), 1);
        drop(others);
        assert_eq!(post().await.status(), StatusCode::OK);
        assert_eq!(ingest.room.available_permits(), ADMITTED_KIB, "all room is given back");
    }

    #[test]
    fn outcomes_say_what_is_wrong_and_where() {
        let good = r#"{"model": "m", "row_id": "1", "outcome": true, "observed_at": "2013-01-01T05:00:00Z"}"#;
        assert_eq!(parse_outcomes(format!("{good}\n\n{good}\n").as_bytes()).unwrap().len(), 2);
        for (line, says) in [
            ("{", "line 2"),
            (r#"{"model": "m", "row_id": "1", "outcome": [1]}"#, "no number, text or boolean"),
            (r#"{"model": "m", "row_id": "", "outcome": 1}"#, "row_id is empty"),
            (r#"{"model": "m", "row_id": "1", "outcome": 1, "when": 2}"#, "unknown field `when`"),
            (r#"{"model": "m", "row_id": "1", "outcome": 1, "observed_at": "soon"}"#, "observed_at"),
        ] {
            let error = parse_outcomes(format!("{good}\n{line}").as_bytes()).unwrap_err();
            assert!(error.contains(says) && error.contains("line 2"), "{error}");
        }
    }
}
