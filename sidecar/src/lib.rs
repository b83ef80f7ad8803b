//! The sidecar: it stands in front of a model's server, pumps bytes both ways, and reads what passes.
//!
//! ```text
//!   caller ══bytes══▶ pump ══bytes══▶ model's server        one thread, one connection for each, nothing awaited
//!                      │ every chunk, after it was sent on
//!                      ▼
//!                  tap ▸ reader ▸ Captured ──▶ bounded queue ──▶ shipper ══batches══▶ collector
//!                                                                 another thread, with the admin port
//! ```
//!
//! What holds, always:
//!
//! * The pump awaits nothing that capture owns. It writes no byte that it did not read.
//! * Capture holds no more memory than its budget. What does not fit is dropped and counted, never delayed.
//! * `seen = delivered + Σ dropped{reason}`: see the tickets in `account`.

mod account;
mod admin;
mod budget;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod listener;
mod metrics;
mod pump;
mod reader;
mod rules;
mod settings;
mod shipper;
mod tap;

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam_queue::ArrayQueue;
use tokio::sync::{Notify, watch};

pub use account::DropReason;
pub use driftline_document::Problems;
pub use driftline_protocol::{Account, Dropped};
pub use settings::{Bytes, CollectorUrl, HostPort, Settings};

use crate::account::Accounts;
use crate::admin::{Admin, Heartbeat};
use crate::budget::Budget;
use crate::metrics::Metrics;
use crate::reader::CaptureLimits;
use crate::rules::{Reloading, RulesFile, SharedRules};
use crate::shipper::{Identity, Shipper};
use crate::tap::TapShared;

/// Exchanges that may wait for the shipper. It empties the queue every 10 ms, so this is room for 1.6 million a second;
/// the queue itself takes a pointer and a stamp for each.
const QUEUE_LENGTH: usize = 16 << 10;
const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(1);

/// A running sidecar.
#[derive(Debug)]
pub struct Sidecar {
    listen: SocketAddr,
    admin: SocketAddr,
    accounts: Arc<Accounts>,
    stopping: watch::Sender<bool>,
    draining: watch::Sender<bool>,
    /// Told when somebody wants the rules loaded again; None without a rules file.
    reload: Option<Arc<Notify>>,
    pump: JoinHandle<()>,
    shipper: JoinHandle<()>,
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
    /// Binds both addresses and starts both threads.
    ///
    /// # Errors
    /// See [`StartError`]. After an error nothing runs and nothing listens.
    pub fn start(settings: Settings) -> Result<Self, StartError> {
        settings.validate().map_err(StartError::Settings)?;
        let rules_file = settings.rules.clone().map(|path| RulesFile { path });
        let loaded = rules_file.as_ref().map(RulesFile::load).transpose()?;
        let start = |error: &dyn std::fmt::Display| StartError::Start(error.to_string());
        let listener = bind("--listen", settings.listen)?;
        let admin_listener = bind("--admin", settings.admin)?;
        let listen = listener.local_addr().map_err(|error| start(&error))?;
        let admin = admin_listener.local_addr().map_err(|error| start(&error))?;

        let metrics = Metrics::new(settings.capture_budget.0).map_err(|error| start(&error))?;
        let accounts = Arc::clone(&metrics.accounts);
        let budget = Budget::new(settings.capture_budget.0);
        let queue = Arc::new(ArrayQueue::new(QUEUE_LENGTH));
        let (rules, reloading) = match rules_file.zip(loaded) {
            Some((file, loaded)) => {
                let (rules, reloading) = Reloading::begin(file, loaded, Arc::clone(&metrics));
                (rules, Some((reloading, Arc::<Notify>::default())))
            }
            None => (SharedRules::default(), None),
        };
        let reload = reloading.as_ref().map(|(_, asked)| Arc::clone(asked));
        let limits = CaptureLimits {
            accounts: Arc::clone(&accounts),
            rules: Arc::clone(&rules),
            budget: Arc::clone(&budget),
            max_body_bytes: settings.max_body.0,
        };
        let shared = TapShared { limits, queue: Arc::clone(&queue), metrics: Arc::clone(&metrics) };
        let (stopping, stopping_receiver) = watch::channel(false);
        let (draining, draining_receiver) = watch::channel(false);
        let heartbeat = Heartbeat::new();

        let shipper = Shipper {
            identity: Identity {
                boot_id: uuid::Uuid::now_v7(),
                model: settings.model.clone(),
                instance: settings.instance.clone(),
            },
            collector: settings.collector.clone(),
            queue,
            metrics: Arc::clone(&metrics),
            flush_interval: settings.flush_interval,
            flush_budget: settings.flush_budget,
            budget,
            rules,
        };
        let admin_page = Admin { metrics, heartbeat: Arc::clone(&heartbeat), stopping: stopping_receiver.clone() };
        let shipper = spawn("shipper", move || async move {
            match tokio::net::TcpListener::from_std(admin_listener) {
                Ok(listener) => drop(tokio::spawn(admin_page.serve(listener))),
                Err(error) => tracing::error!(%error, "the admin port cannot be served"),
            }
            if let Some((reloading, asked)) = reloading {
                drop(tokio::spawn(reloading.run(asked)));
            }
            shipper.run(draining_receiver).await;
        })?;
        let pump = spawn("pump", move || async move {
            tokio::spawn(async move {
                loop {
                    heartbeat.beat();
                    tokio::time::sleep(HEARTBEAT_INTERVAL).await;
                }
            });
            match tokio::net::TcpListener::from_std(listener) {
                Ok(listener) => {
                    let Settings { upstream, max_connections, drain_grace, .. } = settings;
                    listener::serve(listener, upstream, shared, max_connections, stopping_receiver, drain_grace).await;
                }
                Err(error) => tracing::error!(%error, "the listening port cannot be served"),
            }
        })?;
        tracing::info!(%listen, %admin, "sidecar is up");
        Ok(Self { listen, admin, accounts, stopping, draining, reload, pump, shipper })
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

    /// Stops cleanly: accepts no more, lets connections end within the grace, then sends what was captured within the
    /// flush budget. Returns the final account, in which `seen = delivered + Σ dropped`.
    pub fn stop(self) -> Account {
        // The order matters: once the pump's thread has ended, nothing is added to the queue any more.
        self.stopping.send_replace(true);
        join("pump", self.pump);
        self.draining.send_replace(true);
        join("shipper", self.shipper);
        self.accounts.account()
    }
}

/// Checks settings and rules without starting anything.
///
/// # Errors
/// [`StartError::Settings`] and [`StartError::Rules`].
pub fn check(settings: &Settings) -> Result<(), StartError> {
    settings.validate().map_err(StartError::Settings)?;
    settings.rules.clone().map(|path| RulesFile { path }.load()).transpose()?;
    Ok(())
}

fn bind(flag: &'static str, address: SocketAddr) -> Result<TcpListener, StartError> {
    let bind = || {
        let listener = TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        Ok(listener)
    };
    bind().map_err(|source| StartError::Listen { flag, address, source })
}

/// Runs a future to its end on a thread and a single-threaded runtime of its own. The future is made there, so it need
/// not be `Send`.
fn spawn<F: Future<Output = ()>>(
    name: &str,
    make: impl FnOnce() -> F + Send + 'static,
) -> Result<JoinHandle<()>, StartError> {
    let start = |error: std::io::Error| StartError::Start(error.to_string());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(start)?;
    std::thread::Builder::new().name(format!("driftline-{name}")).spawn(move || runtime.block_on(make())).map_err(start)
}

fn join(name: &str, thread: JoinHandle<()>) {
    if thread.join().is_err() {
        tracing::error!(thread = name, "a thread of the sidecar panicked");
    }
}
