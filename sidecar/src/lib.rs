//! The sidecar: it stands in front of a model's server, pumps bytes both ways, and reads what passes.
//!
//! ```text
//!   caller ══bytes══▶ pump ══bytes══▶ model's server        one thread, one connection for each, nothing awaited
//!                      │ every chunk, after it was sent on
//!                      ▼
//!                  tap ▸ reader ▸ Captured ──▶ bounded handover ──▶ shipper ══batches══▶ collector
//!                                                                 another thread; the admin port has a third
//! ```
//!
//! What holds, always:
//!
//! * The pump awaits nothing that capture owns. It writes no byte that it did not read.
//! * Capture holds no more memory than its budget. What does not fit is dropped and counted, never delayed.
//! * `seen = delivered + Σ dropped{reason}`, and what waits in the spool: see the tickets in `account`.

mod account;
mod admin;
mod budget;
mod event_loop;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod handover;
mod listener;
mod metrics;
mod pump;
mod reader;
mod refusal;
mod rules;
mod settings;
mod shipper;
mod spans;
mod spares;
mod stopping;
mod stream;
mod tap;
mod upstream;

use std::net::{SocketAddr, TcpListener};
use std::rc::Rc;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::runtime::Runtime;
use tokio::sync::{Notify, Semaphore, watch};

pub use account::DropReason;
pub use driftline_document::Problems;
pub use driftline_protocol::{Account, Dropped};
use driftline_tls::{ClientCertificates, ClientFiles, ServerFiles, ServerTls};
pub use settings::{Bytes, CollectorUrl, HostPort, Settings};
pub use upstream::Upstream;

use crate::account::Accounts;
use crate::admin::{Admin, Heartbeat};
use crate::budget::Budget;
use crate::event_loop::{EventLoop, Prepared};
use crate::handover::Handover;
use crate::listener::Serving;
use crate::metrics::Metrics;
use crate::reader::CaptureLimits;
use crate::rules::{Reloading, RulesFile, SharedRules};
use crate::shipper::spool::{Spool, SpoolSettings};
use crate::shipper::{Client, CredentialFiles, Credentials, Identity, Shipper};
use crate::spans::Spans;
use crate::spares::Spares;
use crate::stopping::Stopping;
use crate::tap::TapShared;
use crate::upstream::{Connector, UpstreamTls};

const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(1);

/// Descriptors that are not a connection's: logs, the admin port, the collector, the runtimes.
const OTHER_FILES: u64 = 128;

/// A running sidecar.
#[derive(Debug)]
pub struct Sidecar {
    listen: SocketAddr,
    admin: SocketAddr,
    accounts: Arc<Accounts>,
    /// Not ready any more.
    leaving: Stopping,
    /// No new connections, and those that are idle end.
    stopping: Stopping,
    draining: watch::Sender<bool>,
    drain_delay: Duration,
    /// Told when somebody wants the rules loaded again; None without a rules file.
    reload: Option<Arc<Notify>>,
    pumps: Vec<JoinHandle<()>>,
    shipper: JoinHandle<()>,
    /// Nothing is left to answer probes about.
    stopped: Stopping,
    admin_thread: JoinHandle<()>,
}

/// Why a sidecar could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The settings contradict each other.
    #[error("{0}")]
    Settings(String),
    /// The rules are wrong, or their file is not there.
    #[error("the rules are wrong:\n{0}")]
    Rules(#[from] Problems),
    /// An address is taken, or not this machine's.
    #[error("{flag}: cannot listen on {address}: {source}; choose another address, or stop what listens there")]
    Listen {
        /// The flag that named it.
        flag: &'static str,
        /// The address.
        address: SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
    /// A thread, a runtime or a metric could not be made.
    #[error("cannot start: {0}")]
    Start(String),
}

impl Sidecar {
    /// Binds both addresses and starts the threads.
    ///
    /// # Errors
    /// See [`StartError`]. After an error nothing runs and nothing listens.
    pub fn start(settings: Settings) -> Result<Self, StartError> {
        settings.validate().map_err(StartError::Settings)?;
        let rules_file = settings.rules.clone().map(|path| RulesFile { path });
        let loaded = rules_file.as_ref().map(RulesFile::load).transpose()?;
        let start = |error: &dyn std::fmt::Display| StartError::Start(error.to_string());
        let tls = server_tls(&settings).map_err(StartError::Settings)?;
        let upstream_tls = upstream_tls(&settings).map_err(StartError::Settings)?;
        let credentials = credentials(&settings).map_err(StartError::Settings)?;
        let listeners = bind_all(&settings)?;
        let admin_listener = listener::bind(settings.admin, false).map_err(|source| StartError::Listen {
            flag: "--admin",
            address: settings.admin,
            source,
        })?;
        let listen = listeners[0].local_addr().map_err(|error| start(&error))?;
        let admin = admin_listener.local_addr().map_err(|error| start(&error))?;

        let budget = Budget::of_process(settings.capture_budget.0, settings.exchange_bytes());
        let metrics = Metrics::new(budget.limit()).map_err(|error| start(&error))?;
        let accounts = Arc::clone(&metrics.accounts);
        let boot_id = uuid::Uuid::now_v7();
        let handover = Arc::new(Handover::new(boot_id));
        let (rules, reloading) = match rules_file.zip(loaded) {
            Some((file, loaded)) => {
                let (rules, reloading) = Reloading::begin(file, loaded, Arc::clone(&metrics));
                (rules, Some((reloading, Arc::<Notify>::default())))
            }
            None => (SharedRules::default(), None),
        };
        let reload = reloading.as_ref().map(|(_, asked)| Arc::clone(asked));
        let spares = Arc::new(Spares::default());
        let limits = CaptureLimits {
            accounts: Arc::clone(&accounts),
            rules: Arc::clone(&rules),
            spares: Arc::clone(&spares),
            budget: Arc::clone(&budget),
            max_body_bytes: settings.max_body.0,
        };
        let shared = TapShared {
            limits,
            handover: Arc::clone(&handover),
            makes_spans: settings.otlp_endpoint.is_some(),
            metrics: Arc::clone(&metrics),
        };
        let (leaving, stopping) = (Stopping::default(), Stopping::default());
        let (draining, draining_receiver) = watch::channel(false);
        let heartbeats: Vec<Arc<Heartbeat>> = listeners.iter().map(|_| Heartbeat::new()).collect();
        let spool = settings.spool_dir.clone().map(|folder| {
            let spool = SpoolSettings { folder, max_bytes: settings.spool_max.0 as u64, fsync: settings.spool_fsync };
            Spool::open(&spool, boot_id.into_bytes(), Arc::clone(&metrics), Arc::clone(&budget))
        });
        let spool = spool.transpose().map_err(StartError::Start)?;

        let shipper = Shipper {
            identity: Identity { boot_id, model: settings.model.clone(), instance: settings.instance.clone() },
            handover,
            metrics: Arc::clone(&metrics),
            flush_interval: settings.flush_interval,
            flush_budget: settings.flush_budget,
            budget,
            rules,
            spares,
            spans: settings
                .otlp_endpoint
                .clone()
                .map(|endpoint| Spans::new(endpoint, &settings.model, &settings.instance)),
            spool,
        };
        let admin_page =
            Admin { metrics: Arc::clone(&metrics), heartbeats: heartbeats.clone(), stopping: leaving.clone() };
        let client = Client::new(settings.collector.clone(), credentials);
        let (certificates, upstream_certificates) = (tls.clone(), upstream_tls.clone());
        let stopped = Stopping::default();
        let admin_ends = stopped.clone();
        // A thread of its own: a disk that hangs under the spool must not look like a sidecar that is dead.
        let admin_thread = spawn("admin", runtime()?, move || async move {
            match tokio::net::TcpListener::from_std(admin_listener) {
                Ok(listener) => tokio::select! {
                    () = admin_page.serve(listener) => {}
                    () = admin_ends.requested() => {}
                },
                Err(error) => tracing::error!(%error, "the admin port cannot be served"),
            }
        })?;
        let shipper_runtime = runtime()?;
        // What may block for the pumps is done by that runtime's blocking threads.
        let connector = Connector::new(settings.upstream.clone(), upstream_tls, shipper_runtime.handle().clone());
        let shipper = spawn("shipper", shipper_runtime, move || async move {
            give_way();
            let [ok, failed] = metrics.certificate_reloads.clone();
            let count = move |is_in_force: bool| if is_in_force { ok.inc() } else { failed.inc() };
            if let Some(certificates) = certificates {
                drop(tokio::spawn(certificates.keep_current(count.clone())));
            }
            if let Some(certificates) = upstream_certificates {
                drop(tokio::spawn(certificates.keep_current(count)));
            }
            if let Some((reloading, asked)) = reloading {
                drop(tokio::spawn(reloading.run(asked)));
            }
            shipper.run(client, draining_receiver).await;
        })?;
        let permits = Arc::new(Semaphore::new(connections_that_fit(settings.max_connections)));
        let mut pumps = Vec::new();
        for (number, (listener, heartbeat)) in listeners.into_iter().zip(heartbeats).enumerate() {
            let serving = Serving {
                connector: connector.clone(),
                tls: tls.clone(),
                shared: shared.clone(),
                permits: Arc::clone(&permits),
                stopping: stopping.clone(),
                drain_grace: settings.drain_grace,
            };
            pumps.push(spawn_pump(number, listener, heartbeat, serving)?);
        }
        tracing::info!(%listen, %admin, upstream = %settings.upstream, threads = pumps.len(), "sidecar is up");
        let drain_delay = settings.drain_delay;
        Ok(Self {
            listen,
            admin,
            accounts,
            leaving,
            stopping,
            draining,
            stopped,
            drain_delay,
            reload,
            pumps,
            shipper,
            admin_thread,
        })
    }

    /// Where callers connect.
    pub fn listen(&self) -> SocketAddr {
        self.listen
    }

    /// Where `/metrics`, `/livez` and `/readyz` are.
    pub fn admin(&self) -> SocketAddr {
        self.admin
    }

    /// The account as it stands.
    pub fn account(&self) -> Account {
        self.accounts.account()
    }

    /// Loads the rules again, soon and in the background. Rules that are wrong leave the old ones in force.
    pub fn reload(&self) {
        match &self.reload {
            Some(reload) => reload.notify_one(),
            None => tracing::info!("there are no rules to load again; give a file with --rules"),
        }
    }

    /// Stops cleanly: says that it is not ready, accepts for the drain delay, lets connections end within the grace, then
    /// sends what was captured within the flush budget. Returns the final account, in which
    /// `seen = delivered + Σ dropped + spooled`.
    pub fn stop(self) -> Stopped {
        self.leaving.request();
        std::thread::sleep(self.drain_delay);
        // The order matters: once the pumps' threads have ended, nothing is added to the queue any more.
        self.stopping.request();
        self.pumps.into_iter().for_each(|pump| join("pump", pump));
        self.draining.send_replace(true);
        join("shipper", self.shipper);
        self.stopped.request();
        join("admin", self.admin_thread);
        Stopped { account: self.accounts.account(), spooled: self.accounts.spooled() }
    }
}

/// What a sidecar leaves when it has stopped: `seen = delivered + Σ dropped + spooled`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stopped {
    /// The final account.
    pub account: Account,
    /// Exchanges that stay in the spool, for the next start on the same folder to deliver; 0 without a spool.
    pub spooled: u64,
}

/// Checks settings, rules and certificates without starting anything.
///
/// # Errors
/// [`StartError::Settings`] and [`StartError::Rules`].
pub fn check(settings: &Settings) -> Result<(), StartError> {
    settings.validate().map_err(StartError::Settings)?;
    server_tls(settings).map_err(StartError::Settings)?;
    upstream_tls(settings).map_err(StartError::Settings)?;
    credentials(settings).map_err(StartError::Settings)?;
    settings.rules.clone().map(|path| RulesFile { path }.load()).transpose()?;
    Ok(())
}

/// Serves a listener on a thread and an event loop of its own.
fn spawn_pump(
    number: usize,
    listener: TcpListener,
    heartbeat: Arc<Heartbeat>,
    serving: Serving,
) -> Result<JoinHandle<()>, StartError> {
    let event_loop = Prepared::new().map_err(|error| StartError::Start(error.to_string()))?;
    let serve = |event_loop: Rc<EventLoop>| {
        let beats = Rc::clone(&event_loop);
        event_loop.spawn(async move {
            loop {
                heartbeat.beat();
                beats.sleep(HEARTBEAT_INTERVAL).await;
            }
        });
        serving.serve(event_loop, listener)
    };
    spawn_thread(&format!("pump-{number}"), move || event_loop.run(serve))
}

/// A listener for each thread that pumps, all on one address.
fn bind_all(settings: &Settings) -> Result<Vec<TcpListener>, StartError> {
    let failed = |source| StartError::Listen { flag: "--listen", address: settings.listen, source };
    let first = listener::bind(settings.listen, false).map_err(failed)?;
    if settings.threads == 1 {
        return Ok(vec![first]);
    }
    // The first, which shares with nobody, has shown that no other process listens there.
    let address = first.local_addr().map_err(failed)?;
    drop(first);
    (0..settings.threads).map(|_| listener::bind(address, true).map_err(failed)).collect()
}

fn server_tls(settings: &Settings) -> Result<Option<ServerTls>, String> {
    let (Some(certificate), Some(key)) = (settings.tls_certificate.clone(), settings.tls_key.clone()) else {
        return Ok(None);
    };
    let clients = settings.tls_client_ca.clone().map_or(ClientCertificates::NotAsked, ClientCertificates::Needed);
    let files = ServerFiles { certificate, key, clients };
    let protocols = settings.tls_protocols.iter().map(|name| name.clone().into_bytes()).collect();
    ServerTls::load(files, protocols).map(Some).map_err(|error| format!("--tls-certificate, --tls-key: {error}"))
}

fn upstream_tls(settings: &Settings) -> Result<Option<Arc<UpstreamTls>>, String> {
    let Upstream::Tls(address) = &settings.upstream else { return Ok(None) };
    let identity = settings.upstream_certificate.clone().zip(settings.upstream_key.clone());
    let files = ClientFiles { authority: settings.upstream_ca.clone(), identity };
    let name = settings.upstream_server_name.as_deref().unwrap_or(&address.host);
    let name = driftline_tls::server_name(name);
    let name = name.map_err(|error| format!("--upstream: {error}; name one with --upstream-server-name"))?;
    UpstreamTls::load(files, name).map(|tls| Some(Arc::new(tls))).map_err(|error| format!("--upstream: {error}"))
}

fn credentials(settings: &Settings) -> Result<Credentials, String> {
    let identity = settings.collector_certificate.clone().zip(settings.collector_key.clone());
    let tls = ClientFiles { authority: settings.collector_ca.clone(), identity };
    let files = CredentialFiles { token: settings.collector_token_file.clone(), tls };
    let host = settings.collector.is_tls.then_some(settings.collector.host_port.host.as_str());
    Credentials::load(files, host).map_err(|error| format!("--collector: {error}"))
}

/// Raises the limit of open files as far as it goes, and says how many connections fit into it.
fn connections_that_fit(wanted: u32) -> usize {
    let needed = 2 * u64::from(wanted) + OTHER_FILES;
    // What it is after a failure to raise it is still a limit to keep to.
    let limit = rlimit::increase_nofile_limit(needed).unwrap_or(1024);
    if limit >= needed {
        return wanted as usize;
    }
    let fit = (limit.saturating_sub(OTHER_FILES) / 2).max(1);
    tracing::warn!(wanted, connections = fit, limit, "the limit of open files allows fewer connections at once");
    fit as usize
}

/// Runs a future to its end on a thread and a single-threaded runtime of its own. The future is made there, so it need
/// not be `Send`.
fn spawn<F: Future<Output = ()>>(
    name: &str,
    runtime: Runtime,
    make: impl FnOnce() -> F + Send + 'static,
) -> Result<JoinHandle<()>, StartError> {
    spawn_thread(name, move || {
        runtime.block_on(make());
        // A look-up of a name may hang for as long as the resolver does; nobody waits for its answer any more.
        runtime.shutdown_background();
    })
}

fn runtime() -> Result<Runtime, StartError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(|error| StartError::Start(error.to_string()))
}

fn spawn_thread(name: &str, run: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, StartError> {
    let thread = std::thread::Builder::new().name(format!("driftline-{name}")).spawn(run);
    thread.map_err(|error| StartError::Start(error.to_string()))
}

/// Lets this thread's work wait for other threads', where both want the same core: a batch that is being compressed must not
/// keep the pump from a byte that has come. It still gets a quarter of a core that is wanted all the time.
fn give_way() {
    const NICE: i32 = 5;
    if let Err(error) = rustix::process::setpriority_process(Some(rustix::thread::gettid()), NICE) {
        tracing::debug!(%error, "the shipper's thread has the priority of the others");
    }
}

fn join(name: &str, thread: JoinHandle<()>) {
    if thread.join().is_err() {
        tracing::error!(thread = name, "a thread of the sidecar panicked");
    }
}
