//! Taking batches, outcomes, rows and events: let in, checked, made durable, and only then acknowledged.

pub(crate) mod cloud_events;
mod outcomes;
mod rates;
mod refused;
pub(crate) mod rows;
pub(crate) mod space;

use std::collections::BTreeSet;
use std::sync::mpsc::SyncSender;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use driftline_alerts::Counts;
use driftline_protocol::frame::{self, MAX_FRAME_BYTES};
use driftline_protocol::{Acknowledgement, MEDIA_TYPE};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use prost::Message;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tracing::{debug, info, warn};

use self::cloud_events::Waiting;
pub(crate) use self::outcomes::outcomes;
use self::rates::Meters;
pub(crate) use self::refused::Refused;
pub(crate) use self::space::Space;
use crate::access::{Gate, Pass, peer};
use crate::alerting::changes;
use crate::config::{self, FIRST_MESSAGE_SLI};
use crate::failpoint::Failpoint;
use crate::metrics::Metrics;
use crate::pipeline::slis::SliCounts;
use crate::store::{Store, journal};
use crate::telemetry::{SpanContext, Spanning, Tracer};
use crate::times::now_micros;

/// Longest id of a row, and longest outcome, in bytes.
const MAX_FIELD_BYTES: usize = 1024;

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
    max_senders: u64,
    /// Room for bodies, in KiB.
    room: Arc<Semaphore>,
    gate: Arc<Gate>,
    meters: Arc<Meters>,
    space: Arc<Space>,
    /// Events that wait for their other halves.
    pub(crate) waiting: Waiting,
    tracer: Tracer,
    /// Models whose streams are to begin in time.
    streaming: Arc<BTreeSet<String>>,
}

impl Ingest {
    pub(crate) fn new(
        store: Store,
        metrics: Arc<Metrics>,
        wake: SyncSender<()>,
        known_models: impl IntoIterator<Item = String>,
        (config, max_models): (&config::Ingest, u64),
        (gate, space): (Arc<Gate>, Arc<Space>),
    ) -> Self {
        Self {
            store,
            metrics,
            wake,
            models: Arc::new(Mutex::new(known_models.into_iter().collect())),
            max_models: max_models as usize,
            max_senders: config.max_senders,
            room: Arc::new(Semaphore::new(ADMITTED_KIB)),
            gate,
            meters: Arc::new(Meters::new(&config.tokens, config.per_model)),
            space,
            waiting: Waiting::default(),
            tracer: Tracer::default(),
            streaming: Arc::default(),
        }
    }

    /// The same, knowing which models have a bound for their streams' first messages: what is lost of them may have been one.
    pub(crate) fn with_streaming(self, models: &[config::Model]) -> Self {
        let streaming = models.iter().filter(|model| model.slis.first_message.is_some());
        Self { streaming: Arc::new(streaming.map(|model| model.name.clone()).collect()), ..self }
    }

    /// The same, with spans of what is made durable.
    pub(crate) fn with_tracer(self, tracer: Tracer) -> Self {
        Self { tracer, ..self }
    }

    /// A span of what a request waits for until it is durable.
    fn span_of_write(&self, context: Option<SpanContext>) -> Spanning {
        self.tracer.inside(context, "journal write")
    }

    /// Lets a request in, before any of its body is read: by who sends it, and by whether there is space.
    fn let_in(&self, request: &Request) -> Result<Pass, Refused> {
        let peer = peer(request);
        let from = peer.map(|peer| peer.address);
        let pass = self.gate.admit(request.headers(), peer).map_err(|denied| Refused::Denied { denied, from })?;
        self.meters.look_at_token(pass.token.as_deref())?;
        self.space.look()?;
        Ok(pass)
    }

    /// Counts what was not taken, and gives the answer to it.
    fn refuse(&self, what: &str, refused: Refused) -> Response {
        self.metrics.requests_refused(refused.reason()).inc();
        match &refused {
            Refused::Denied { denied, from } => {
                warn!(what, why = denied.reason(), from = from.map(tracing::field::display), "a sender is not let in");
            }
            _ if refused.passes_by_itself() => debug!(what, why = ?refused, "a request is put off; it will come again"),
            _ => warn!(what, why = ?refused, "a request is refused"),
        }
        refused.into_response()
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

    /// Whether a model may be seen: it is this sender's, and it is known, or there is room for one more.
    fn admit(&self, pass: &Pass, model: &str) -> Result<(), Refused> {
        if !pass.is_for(model) {
            let name = pass.name().unwrap_or_default();
            return Err(Refused::Forbidden(format!(
                "the token '{name}' is not for model '{model}'; ingest.tokens says which it is for"
            )));
        }
        let mut models = self.models.lock().map_err(|_| Refused::NotNow("the collector is failing".to_owned()))?;
        if models.contains(model) {
            return Ok(());
        }
        if !is_model_name(model) {
            return Err(Refused::Bad(
                StatusCode::UNPROCESSABLE_ENTITY,
                format!(
                    "'{model}' is not a model name; allowed are up to 100 letters, digits, '-', '_' and '.', not beginning with '.'"
                ),
            ));
        }
        if models.len() >= self.max_models {
            return Err(Refused::TooMany {
                reason: "models",
                why: format!(
                    "model '{model}' is new, and {} are known already; raise max_models, or correct the sidecar's --model",
                    models.len()
                ),
            });
        }
        // One that names models by its requests would take the room of all others.
        let theirs = || models.iter().filter(|model| pass.is_for(model)).count();
        if let Some(most) = pass.max_models().filter(|most| theirs() >= *most) {
            let name = pass.name().unwrap_or_default();
            return Err(Refused::TooMany {
                reason: "models",
                why: format!(
                    "model '{model}' is new, and the token '{name}' is for {most} at most; raise its max_models, or correct the sidecar's --model"
                ),
            });
        }
        info!(model, sender = pass.name(), "a model is seen for the first time");
        models.insert(model.to_owned());
        Ok(())
    }

    async fn store_batch(&self, request: Request) -> Result<Acknowledgement, Refused> {
        let pass = self.let_in(&request)?;
        let context = request.extensions().get().copied();
        let (bytes, _room) = self.body(request, MAX_FRAME_BYTES).await?;
        let _room_inside = self.room(frame::raw_length(&bytes))?;
        // A megabyte takes milliseconds to decompress: too long for a thread that serves others.
        let checked = tokio::task::spawn_blocking(move || frame::decode(&bytes).map(|batch| (batch, bytes))).await;
        let checked = checked.map_err(|_| Refused::NotNow("the batch could not be read".to_owned()))?;
        let (batch, bytes) = checked.map_err(|error| Refused::Bad(StatusCode::BAD_REQUEST, error.to_string()))?;
        self.admit(&pass, &batch.model)?;
        self.meters.take(pass.token.as_deref(), &batch.model, batch.exchanges.len() as u64, bytes.len())?;
        let received_at = now_micros();
        let (model, frame_bytes, max_senders) = (batch.model.clone(), bytes.len(), self.max_senders);
        let raw_bytes = frame::raw_length(&bytes);
        let clock_offset = journal::clock_offset(&batch, received_at);
        let streams = self.streaming.contains(&model);
        let span = self.span_of_write(context);
        let written = self
            .store
            .writer
            .write(move |db| {
                if !journal::has_room_for(db, &batch.boot_id, max_senders)? {
                    return Ok(None);
                }
                journal::remember_model(db, &batch.model, received_at)?;
                let appended = journal::append(db, &batch, &bytes, received_at)?;
                count_capture(db, &batch.model, indicated(appended.growth, streams), received_at)?;
                if appended.is_first {
                    changes::store(db, &changes::of_sidecar(db, &batch, received_at)?)?;
                    changes::of_sidecars_version(db, &batch, received_at)?
                        .map_or(Ok(()), |change| changes::store(db, &change))?;
                }
                Ok(Some((appended, batch)))
            })
            .await;
        drop(span);
        let appended = written.map_err(|error| Refused::NotNow(format!("the batch could not be stored: {error}")))?;
        let (appended, batch) = appended.ok_or_else(|| Refused::TooMany {
            reason: "senders",
            why: format!("{max_senders} boots of sidecars are known already; raise ingest.max_senders, or see in /api/v1/status who restarts so often"),
        })?;
        self.space.grew(frame_bytes);
        if let Some(micros) = clock_offset.filter(|_| appended.new > 0) {
            self.metrics.clock_offset.with_label_values(&[model.as_str()]).observe(micros as f64 / 1e6);
        }
        Failpoint::JournalWritten.pass();
        self.metrics.batches(if appended.new > 0 { "stored" } else { "duplicate" }).inc();
        self.metrics.exchanges_duplicate.inc_by(appended.duplicates);
        self.metrics.exchanges_missing.inc_by(appended.missing);
        for (sli, counts) in indicated(appended.growth, streams) {
            self.metrics.sli(&model, sli, "").count(counts);
        }
        if let Some(position) = appended.position {
            self.store.fresh.put(position, batch, raw_bytes);
        }
        // Full means that the pipeline is awake already.
        self.wake.try_send(()).ok();
        Ok(Acknowledgement { durable_through: appended.durable_through })
    }
}

/// What the sidecar says of itself becomes an indicator: of the exchanges that were to come here and are done with, how
/// many came. Those that are on their way are neither, yet. Those that were lost are requests that nobody can judge any more.
fn count_capture(
    db: &rusqlite::Connection,
    model: &str,
    indicated: impl Iterator<Item = (&'static str, Counts)>,
    now: i64,
) -> rusqlite::Result<()> {
    let mut counts = SliCounts::default();
    for (sli, events) in indicated {
        counts.count(model, sli, "", now, events);
    }
    counts.store(db)
}

/// What the growth of a sidecar's account is for each indicator. What was lost counts as it was counted: one for each, also where
/// a sample made one stand for several. Whether it was a stream nobody knows either: of a model that `streams` it may have been.
fn indicated(growth: journal::Growth, streams: bool) -> impl Iterator<Item = (&'static str, Counts)> {
    let captured = Counts { good: growth.delivered, valid: growth.delivered.saturating_add(growth.lost), unknown: 0 };
    let unknown = Counts { unknown: growth.lost, ..Counts::default() };
    let of_every_model = [("capture", captured), ("availability", unknown), ("latency", unknown)];
    of_every_model.into_iter().chain(streams.then_some((FIRST_MESSAGE_SLI, unknown)))
}

fn is_model_name(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    !name.is_empty() && name.len() <= 100 && name.bytes().all(plain) && !name.starts_with('.')
}

/// `POST /v1/exchanges`: a framed batch. The answer comes once it is on disk.
pub(crate) async fn exchanges(State(ingest): State<Ingest>, request: Request) -> Response {
    match ingest.store_batch(request).await {
        Ok(acknowledgement) => ([(header::CONTENT_TYPE, MEDIA_TYPE)], acknowledgement.encode_to_vec()).into_response(),
        Err(refused) => {
            ingest.metrics.batches(if refused.passes_by_itself() { "deferred" } else { "refused" }).inc();
            ingest.refuse("batch", refused)
        }
    }
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

    use driftline_protocol::Batch;

    use super::*;

    #[tokio::test]
    async fn what_there_is_no_room_for_comes_again_later_and_is_counted() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        let (metrics, (wake, _woken)) = (Metrics::new().unwrap(), sync_channel(1));
        let config = config::Config::parse("d.yaml", "", folder.path()).unwrap().ingest;
        let gate = Arc::new(Gate::load(&[], false).unwrap());
        let space = Arc::new(Space::new(&store, folder.path().to_owned(), 1 << 30, Some(0)).unwrap());
        let ingest = Ingest::new(store, Arc::clone(&metrics), wake, [], (&config, 10), (gate, space));
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
        assert_eq!(response.headers()[header::RETRY_AFTER], "2");
        assert_eq!(metrics.batches("deferred").get(), 1);
        drop(others);
        assert_eq!(post().await.status(), StatusCode::OK);
        assert_eq!(ingest.room.available_permits(), ADMITTED_KIB, "all room is given back");
    }

    #[test]
    fn what_is_lost_is_unknown_to_streams_where_they_have_a_bound() {
        let growth = journal::Growth { delivered: 7, lost: 2 };
        let unknown = |streams| {
            let unknown = indicated(growth, streams).filter(|(_, counts)| counts.unknown == 2);
            unknown.map(|(sli, _)| sli).collect::<Vec<_>>()
        };
        assert_eq!(unknown(false), ["availability", "latency"]);
        assert_eq!(unknown(true), ["availability", "latency", "first_message"]);
    }

    #[test]
    fn a_token_brings_in_no_more_models_than_it_may() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        let (metrics, (wake, _woken)) = (Metrics::new().unwrap(), sync_channel(1));
        let text = "ingest: {tokens: [{name: team, token: {env: T}, models: ['team-*'], max_models: 2}]}";
        let config = config::Config::parse("d.yaml", text, folder.path()).unwrap().ingest;
        let pass = Pass::with(config.tokens[0].clone());
        let space = Arc::new(Space::new(&store, folder.path().to_owned(), 1 << 30, Some(0)).unwrap());
        let known = ["team-a", "other"].map(str::to_owned);
        let gate = Arc::new(Gate::load(&[], false).unwrap());
        let ingest = Ingest::new(store, metrics, wake, known, (&config, 10), (gate, space));
        let admit = |model| ingest.admit(&pass, model).map_err(|refused| refused.reason());
        assert_eq!(admit("team-b"), Ok(()));
        assert_eq!(admit("team-c"), Err("models"));
        assert_eq!([admit("team-a"), admit("team-b")], [Ok(()), Ok(())], "what is known stays");
        assert_eq!(admit("other"), Err("model_not_allowed"));
        assert!(ingest.admit(&Pass::default(), "new").is_ok(), "others have their room");
    }
}
