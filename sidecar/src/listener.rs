//! Accepting connections, and giving each its pump.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;
use tracing::{debug, warn};

use crate::pump::Pump;
use crate::settings::HostPort;
use crate::tap::{Tap, TapShared};

/// Pause after `accept` failed for want of file descriptors or memory: trying at once would only spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Accepts connections until told to stop, then waits for them to end, for so long at most.
pub(crate) async fn serve(
    listener: TcpListener,
    upstream: HostPort,
    shared: TapShared,
    max_connections: u32,
    mut stopping: watch::Receiver<bool>,
    drain_grace: Duration,
) {
    let upstream = Arc::new(upstream);
    let permits = Arc::new(Semaphore::new(max_connections as usize));
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            biased;
            _ = stopping.wait_for(|stopping| *stopping) => break,
            Some(_) = connections.join_next() => continue,
            accepted = accept(&listener, &permits) => accepted,
        };
        match accepted {
            Ok((client, permit)) => {
                shared.metrics.connections.inc();
                connections.spawn(connection(client, Arc::clone(&upstream), shared.clone(), stopping.clone(), permit));
            }
            Err(error) => {
                warn!(%error, "cannot accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop(listener);
    let all_ended = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(drain_grace, all_ended).await.is_err() {
        warn!(connections = connections.len(), "connections did not end within the grace, and are cut");
    }
    connections.shutdown().await;
}

/// # Cancel safety
/// Cancel safe: a permit that was taken goes back, and no connection is lost.
async fn accept(listener: &TcpListener, permits: &Arc<Semaphore>) -> io::Result<(TcpStream, OwnedSemaphorePermit)> {
    let permit = Arc::clone(permits).acquire_owned().await.map_err(io::Error::other)?;
    let (client, _) = listener.accept().await?;
    Ok((client, permit))
}

async fn connection(
    client: TcpStream,
    upstream: Arc<HostPort>,
    shared: TapShared,
    stopping: watch::Receiver<bool>,
    _permit: OwnedSemaphorePermit,
) {
    let active = shared.metrics.connections_active.clone();
    active.inc();
    let _active = Decrement(active);
    let server = match TcpStream::connect((upstream.host.as_str(), upstream.port)).await {
        Ok(server) => server,
        Err(error) => {
            // What the kernel would have answered: a reset.
            shared.metrics.upstream_failures.inc();
            debug!(%upstream, %error, "cannot connect to the model's server");
            socket2::SockRef::from(&client).set_linger(Some(Duration::ZERO)).ok();
            return;
        }
    };
    for stream in [&client, &server] {
        // Small writes must not wait for an acknowledgement of the one before: tokens of a stream are small writes.
        stream.set_nodelay(true).ok();
    }
    let ended = Pump::new(client, server, Tap::new(shared)).run(stopping).await;
    debug!(?ended, "connection ended");
}

struct Decrement(prometheus::IntGauge);

impl Drop for Decrement {
    fn drop(&mut self) {
        self.0.dec();
    }
}
