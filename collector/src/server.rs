//! Starting and stopping: everything in its order.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use driftline_tls::{ClientCertificates, ServerFiles, ServerTls};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tracing::{info, warn};

use crate::access::{Gate, Reading, let_readers_in};
use crate::alerting::{drills, heartbeat, outbox, reactions};
use crate::api::{self, Api};
use crate::config::{Config, Protected};
use crate::door::{Door, Peer};
use crate::feeds::Feeds;
use crate::ingest::cloud_events::{cloud_events, give_up};
use crate::ingest::{self, Ingest, Space};
use crate::metrics::Metrics;
use crate::model_metadata::ModelMetadata;
use crate::pipeline;
use crate::references::LoadedReferences;
use crate::runbooks::Runbooks;
use crate::store::{Store, StoreError, journal};
use crate::telemetry::{LAST_FLUSH, Telemetry, Tracer, span_of_request};
use crate::times::now_micros;
use crate::vitals::Vitals;
use crate::watchdog::{Pulse, Watchdog, beat_for_runtime};
use crate::{archive, pages};

/// How long connections and tasks may take to end.
const STOP_GRACE: Duration = Duration::from_secs(10);
/// A request for readiness is answered from the database; one that takes longer than this is an answer too.
const READY_TIMEOUT: Duration = Duration::from_secs(2);

/// A running collector.
#[derive(Debug)]
pub struct Collector {
    address: SocketAddr,
    runtime: Runtime,
    store: Store,
    stopping: watch::Sender<bool>,
    pipeline: pipeline::Handle,
    server: JoinHandle<()>,
    archiver: JoinHandle<()>,
    outbox: JoinHandle<()>,
    reactions: JoinHandle<()>,
    vitals: Vitals,
    telemetry: Option<Telemetry>,
}

/// Why a collector could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The address is taken, or not this machine's.
    #[error("listen: cannot listen on {address}: {source}; choose another address, or stop what listens there")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
    /// References that cannot be used.
    #[error("{}", .0.join("\n"))]
    References(Vec<String>),
    /// Models' metadata that cannot be used.
    #[error("{}", .0.join("\n"))]
    Metadata(Vec<String>),
    /// Runbooks that cannot be read, or are not there.
    #[error("{0}")]
    Runbooks(String),
    /// Certificates and tokens that cannot be used.
    #[error("{0}")]
    Access(String),
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The archive, the runtime or a metric.
    #[error("{0}")]
    Start(String),
}

impl Collector {
    /// Starts everything, and returns once batches are taken.
    ///
    /// # Errors
    /// See [`StartError`]. After an error nothing runs and nothing listens.
    pub fn start(config: Config) -> Result<Self, StartError> {
        let begun = std::time::Instant::now();
        // Ring is the one TLS back end here; without it the first HTTPS client would not know which to take. An error
        // means that it is installed already.
        rustls::crypto::ring::default_provider().install_default().ok();
        let references = Arc::new(LoadedReferences::load(&config).map_err(StartError::References)?);
        let metadata = Arc::new(ModelMetadata::load(&config).map_err(StartError::Metadata)?);
        let runbooks = Arc::new(Runbooks::load(&config.alerting).map_err(StartError::Runbooks)?);
        let access = Access::load(&config).map_err(StartError::Access)?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("driftline-runtime")
            .enable_all()
            .build()
            .map_err(|error| StartError::Start(format!("no runtime: {error}")))?;
        let config = Arc::new(config);
        let listener = runtime
            .block_on(TcpListener::bind(config.listen))
            .map_err(|source| StartError::Listen { address: config.listen, source })?;
        let address = listener.local_addr().map_err(|source| StartError::Listen { address: config.listen, source })?;
        let store = Store::open(&config.data_dir)?;
        let metrics = Metrics::new().map_err(|error| StartError::Start(format!("no metrics: {error}")))?;
        metadata.keep_asking(&runtime, &metrics);
        let feeds = Arc::new(Feeds::new(&config));
        feeds.keep_listing(&runtime, &metrics);
        let vitals = Vitals::new(metrics.archive_stopped.clone());
        let telemetry = Telemetry::from_environment(&metrics);
        let tracer = telemetry.as_ref().map(Telemetry::tracer).unwrap_or_default();
        let (stopping, stopped) = watch::channel(false);
        let archived = (vitals.clone(), tracer.clone());
        let (cuts, archiver) =
            archive::start(store.clone(), Arc::clone(&config), Arc::clone(&metrics), archived, stopped.clone())
                .map_err(StartError::Start)?;
        let pulse = Pulse::default();
        let pipeline = pipeline::start(pipeline::Parts {
            store: store.clone(),
            config: Arc::clone(&config),
            metrics: Arc::clone(&metrics),
            references: Arc::clone(&references),
            metadata,
            feeds: Arc::clone(&feeds),
            runbooks: Arc::clone(&runbooks),
            cuts,
            vitals: vitals.clone(),
            tracer: tracer.clone(),
            pulse: pulse.clone(),
        })?;
        let known = store.read_blocking(journal::known_models)?;
        let limits = &config.ingest;
        let space = Space::new(&store, config.data_dir.clone(), limits.max_database_bytes, limits.min_free_bytes)
            .map(Arc::new)?;
        let described = config.models.iter().map(|model| model.name.clone());
        let ingest = Ingest::new(
            store.clone(),
            Arc::clone(&metrics),
            pipeline.waker(),
            known.into_iter().chain(described),
            (&config.ingest, config.max_models),
            (Arc::clone(&access.senders), Arc::clone(&space)),
        )
        .with_tracer(tracer.clone())
        .with_streaming(&config.models);
        let archiver = runtime.spawn(archiver);
        let outbox = runtime.spawn(outbox::run(
            store.clone(),
            Arc::clone(&config),
            Arc::clone(&metrics),
            tracer.clone(),
            stopped.clone(),
        ));
        runtime.spawn(drills::run(store.clone(), Arc::clone(&metrics), stopped.clone()));
        let reactions =
            runtime.spawn(reactions::run(store.clone(), Arc::clone(&config), Arc::clone(&metrics), stopped.clone()));
        if let Some(told) = config.alerting.heartbeat.clone() {
            runtime.spawn(heartbeat::run(told, vitals.clone(), Arc::clone(&metrics), stopped.clone()));
        }
        let api = Api {
            store: store.clone(),
            config: Arc::clone(&config),
            references,
            runbooks,
            feeds,
            metrics: Arc::clone(&metrics),
            started_at: now_micros(),
        };
        let waiting = ingest.waiting.clone();
        runtime.spawn(give_up(store.clone(), Arc::clone(&metrics), waiting, config.ingest.events.clone()));
        runtime.spawn(Arc::clone(&space).keep_measuring(store.clone(), Arc::clone(&metrics)));
        let health = Health { store: store.clone(), metrics: Arc::clone(&metrics), vitals: vitals.clone(), space };
        let router = router((ingest, tracer), api, health, &config.reading.protect, Arc::clone(&access.readers));
        if let Some(telemetry) = telemetry.clone() {
            runtime.spawn(telemetry.run());
        }
        let beats = Pulse::default();
        runtime.spawn(beat_for_runtime(beats.clone()));
        let parts = [("runtime", beats), ("writer", store.writer.pulse()), ("pipeline", pulse)];
        Watchdog::new(parts, vitals.clone(), &metrics)
            .start()
            .map_err(|error| StartError::Start(format!("no thread for the watchdog: {error}")))?;
        access.keep_current(&runtime, &metrics);
        let is_tls = access.tls.is_some();
        let door = Door::new(listener, access.tls, metrics.tls_failures.clone());
        let server = runtime.spawn(async move {
            let mut stopped = stopped;
            let stop = async move {
                stopped.wait_for(|stopped| *stopped).await.ok();
            };
            let service = router.into_make_service_with_connect_info::<Peer>();
            if let Err(error) = axum::serve(door, service).with_graceful_shutdown(stop).await {
                warn!(%error, "the server ended");
            }
        });
        let elapsed = begun.elapsed();
        metrics.start_seconds.set(elapsed.as_secs_f64());
        info!(%address, tls = is_tls, ?elapsed, "collector is up");
        Ok(Self { address, runtime, store, stopping, pipeline, server, archiver, outbox, reactions, vitals, telemetry })
    }

    /// Waits until a part that must run has ended by itself, and says which. The collector is then to be stopped, and
    /// the process to end with an error: it takes batches and does nothing with them.
    ///
    /// # Cancel safety
    /// Nothing is lost.
    pub async fn failed(&self) -> String {
        self.vitals.failed().await
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Stops cleanly: takes no more, counts and archives what the journal holds, and closes the database.
    pub fn stop(self) {
        let Self { runtime, store, stopping, pipeline, server, archiver, outbox, reactions, vitals, telemetry, .. } =
            self;
        vitals.stopping();
        stopping.send_replace(true);
        runtime.block_on(async {
            if tokio::time::timeout(STOP_GRACE, server).await.is_err() {
                warn!("connections did not end in time, and are cut");
            }
        });
        // The pipeline makes a last cut, and lets go of the way to the archiver, which then ends too.
        pipeline.stop();
        runtime.block_on(async {
            if tokio::time::timeout(STOP_GRACE, archiver).await.is_err() {
                warn!("the archive did not take everything in time; the rest is archived at the next start");
            }
            // What is not delivered now is delivered after the next start.
            if tokio::time::timeout(STOP_GRACE, outbox).await.is_err() {
                warn!("a delivery did not end in time; it is made again after the next start");
            }
            if tokio::time::timeout(STOP_GRACE, reactions).await.is_err() {
                warn!("the start of a reaction did not end in time; the next start of the collector goes on with it");
            }
            // A receiver that is away holds nobody up.
            if let Some(telemetry) = telemetry {
                tokio::time::timeout(LAST_FLUSH, telemetry.flush()).await.ok();
            }
        });
        runtime.shutdown_timeout(STOP_GRACE);
        store.writer.close();
        info!("collector has stopped");
    }
}

/// Who is let in, and under which certificate.
pub(crate) struct Access {
    tls: Option<ServerTls>,
    senders: Arc<Gate>,
    readers: Arc<Gate>,
}

impl Access {
    /// Reads certificates and tokens.
    ///
    /// # Errors
    /// What is wrong with the first of them that cannot be used.
    pub(crate) fn load(config: &Config) -> Result<Self, String> {
        let needs_certificate = config.tls.as_ref().is_some_and(|tls| tls.client_ca.is_some());
        let tls = config.tls.clone().map(|tls| {
            let clients = tls.client_ca.map_or(ClientCertificates::NotAsked, ClientCertificates::Welcome);
            let files = ServerFiles { certificate: tls.certificate, key: tls.key, clients };
            ServerTls::load(files, vec![b"h2".to_vec(), b"http/1.1".to_vec()])
        });
        let tls = tls.transpose().map_err(|error| format!("tls: {error}"))?;
        let senders = Gate::load(&config.ingest.tokens, needs_certificate);
        let senders = senders.map_err(|error| format!("ingest.tokens: {error}"))?;
        let readers = Gate::load(&config.reading.tokens, false).map_err(|error| format!("api.tokens: {error}"))?;
        Ok(Self { tls, senders: Arc::new(senders), readers: Arc::new(readers) })
    }

    /// Reads all of it again when it changes, for as long as the runtime runs.
    fn keep_current(&self, runtime: &Runtime, metrics: &Metrics) {
        for gate in [&self.senders, &self.readers] {
            runtime.spawn(Arc::clone(gate).keep_current());
        }
        if let Some(tls) = self.tls.clone() {
            let [ok, failed] = metrics.certificate_reloads.clone();
            runtime.spawn(tls.keep_current(move |is_in_force| if is_in_force { ok.inc() } else { failed.inc() }));
        }
    }
}

/// Everything that is served. What readers need a token for is behind their gate.
fn router(
    (ingest, tracer): (Ingest, Tracer),
    api: Api,
    health: Health,
    protect: &[Protected],
    readers: Arc<Gate>,
) -> Router {
    let sending = Router::new()
        .route("/v1/exchanges", post(ingest::exchanges))
        .route("/v1/outcomes", post(ingest::outcomes))
        .route("/v1/rows", post(ingest::rows::rows))
        .route("/v1/cloudevents", post(cloud_events))
        // KServe's logger posts to the URL that it is given, which is often a bare host.
        .route("/", post(cloud_events))
        .with_state(ingest)
        .route_layer(from_fn_with_state(tracer, span_of_request));
    let reading = Reading { gate: readers, metrics: Arc::clone(&health.metrics) };
    let guard = |router: Router, is_protected: bool| {
        if is_protected && !reading.gate.is_open() {
            router.layer(from_fn_with_state(reading.clone(), let_readers_in))
        } else {
            router
        }
    };
    let probes = Router::new().route("/livez", get(alive)).route("/readyz", get(ready)).with_state(health.clone());
    let metrics = Router::new().route("/metrics", get(metrics_page)).with_state(health);
    sending
        .merge(guard(probes, protect.contains(&Protected::Health)))
        .merge(guard(metrics, protect.contains(&Protected::Metrics)))
        // Whoever has a signed link needs no token; it is good for one thing.
        .merge(pages::links(api.clone()))
        .merge(guard(api::routes(api.clone()).merge(pages::routes(api)), true))
}

#[derive(Debug, Clone)]
struct Health {
    store: Store,
    metrics: Arc<Metrics>,
    vitals: Vitals,
    space: Arc<Space>,
}

/// Alive for as long as everything runs that must, and moves: what only a restart can mend.
async fn alive(State(health): State<Health>) -> Response {
    match health.vitals.failure() {
        None => (StatusCode::OK, "alive\n").into_response(),
        Some(why) => (StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n")).into_response(),
    }
}

/// Ready when a write can be made durable, which is what a sender needs, when there is room for it, and when what is
/// written is worked on.
async fn ready(State(health): State<Health>) -> Response {
    if let Some(why) = health.vitals.problem().or_else(|| health.space.problem()) {
        return (StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n")).into_response();
    }
    let write = health
        .store
        .writer
        .write(|db| db.execute("INSERT OR REPLACE INTO meta (key, value) VALUES ('ready', '1')", []).map(|_| ()));
    match tokio::time::timeout(READY_TIMEOUT, write).await {
        Ok(Ok(())) => (StatusCode::OK, "ready\n").into_response(),
        Ok(Err(error)) => (StatusCode::SERVICE_UNAVAILABLE, format!("{error}\n")).into_response(),
        Err(_) => {
            (StatusCode::SERVICE_UNAVAILABLE, format!("a write took longer than {READY_TIMEOUT:?}\n")).into_response()
        }
    }
}

async fn metrics_page(State(health): State<Health>) -> Response {
    match health.metrics.text() {
        Ok(text) => ([(header::CONTENT_TYPE, prometheus::TEXT_FORMAT)], text).into_response(),
        Err(error) => {
            (StatusCode::INTERNAL_SERVER_ERROR, format!("the metrics cannot be encoded: {error}\n")).into_response()
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn ask(collector: &Collector, path: &str) -> (u16, String) {
        let url = format!("http://{}{path}", collector.address());
        collector.runtime.block_on(async {
            let response = reqwest::get(url).await.unwrap();
            (response.status().as_u16(), response.text().await.unwrap())
        })
    }

    #[test]
    fn a_collector_whose_parts_ended_is_neither_alive_nor_ready() {
        let folder = tempfile::tempdir().unwrap();
        let config = Config::parse("d.yaml", "listen: 127.0.0.1:0", Path::new(folder.path())).unwrap();
        let collector = Collector::start(config).unwrap();
        assert_eq!(ask(&collector, "/livez"), (200, "alive\n".to_owned()));
        assert_eq!(ask(&collector, "/readyz").0, 200);
        // The thread that writes ends; the pipeline finds nobody to write its checkpoints.
        collector.store.writer.close();
        let failed = collector.runtime.block_on(collector.failed());
        assert!(failed.contains("the pipeline has ended"), "{failed}");
        assert_eq!(ask(&collector, "/livez"), (503, format!("{failed}\n")));
        assert_eq!(ask(&collector, "/readyz").0, 503);
        collector.stop();
    }
}
