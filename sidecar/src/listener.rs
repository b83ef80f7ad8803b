//! Accepting connections, and giving each its pump.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use driftline_tls::ServerTls;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio_rustls::LazyConfigAcceptor;
use tokio_rustls::rustls::server::Acceptor;
use tracing::{debug, warn};

use crate::pump::Pump;
use crate::refusal::refuse;
use crate::stopping::Stopping;
use crate::stream::{Socket, Stream};
use crate::tap::{Tap, TapShared};
use crate::upstream::Connector;

/// Pause after `accept` failed for want of file descriptors or memory: trying at once would only spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// Connections that may wait to be accepted. The kernel caps it at its own limit (`somaxconn`, usually 4,096); a full queue
/// makes callers wait a second or more for their next try.
const BACKLOG: i32 = 4096;
/// A TLS handshake is a few round trips. A caller that takes longer for its part of one holds a place that others wait for.
/// How long the model's server takes to be connected to is not limited: a caller that stood there itself would wait as well.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// What every connection needs.
#[derive(Debug)]
pub(crate) struct Serving {
    pub(crate) connector: Connector,
    pub(crate) tls: Option<ServerTls>,
    pub(crate) shared: TapShared,
    pub(crate) permits: Arc<Semaphore>,
    pub(crate) stopping: Stopping,
    pub(crate) drain_grace: Duration,
}

/// Binds an address; with `shared`, so that the other threads of this process can bind it too.
///
/// # Errors
/// The system's own.
pub(crate) fn bind(address: SocketAddr, shared: bool) -> io::Result<std::net::TcpListener> {
    use socket2::{Domain, Protocol, Socket, Type};
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(shared)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

impl Serving {
    /// Accepts connections until told to stop, then waits for them to end, for so long at most.
    pub(crate) async fn serve(self, listener: TcpListener) {
        let this = Arc::new(self);
        let mut connections = JoinSet::new();
        let mut accepted = None;
        loop {
            let place = tokio::select! {
                biased;
                () = this.stopping.requested() => break,
                Some(_) = connections.join_next() => continue,
                place = this.accept(&listener, &mut accepted) => place,
            };
            match (place, accepted.take()) {
                (Ok(permit), Some(client)) => drop(connections.spawn(Arc::clone(&this).connection(client, permit))),
                (Ok(_), None) => {}
                (Err(error), _) => {
                    warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
        // Who is in the kernel's queue has a connection already, and would be reset.
        while let Ok(Ok(permit)) = tokio::time::timeout(Duration::ZERO, this.accept(&listener, &mut accepted)).await {
            if let Some(client) = accepted.take() {
                connections.spawn(Arc::clone(&this).connection(client, permit));
            }
        }
        drop(listener);
        if let Some(client) = accepted {
            // No place became free for it: it ends as those do that are still in the queue.
            Socket::Tcp(client).reset_on_close();
        }
        let all_ended = async { while connections.join_next().await.is_some() {} };
        if tokio::time::timeout(this.drain_grace, all_ended).await.is_err() {
            warn!(connections = connections.len(), "connections did not end within the grace, and are reset");
        }
        connections.shutdown().await;
    }

    /// Accepts a connection, and waits until there is a place for it. The place is asked for last: a thread that nobody calls
    /// would else keep one that callers of another thread wait for.
    ///
    /// # Cancel safety
    /// Cancel safe: a place that was taken is free again, and a connection that was accepted stays in `accepted`.
    async fn accept(
        &self,
        listener: &TcpListener,
        accepted: &mut Option<TcpStream>,
    ) -> io::Result<OwnedSemaphorePermit> {
        if accepted.is_none() {
            *accepted = Some(listener.accept().await?.0);
        }
        Arc::clone(&self.permits).acquire_owned().await.map_err(io::Error::other)
    }

    async fn connection(self: Arc<Self>, client: TcpStream, _permit: OwnedSemaphorePermit) {
        self.shared.metrics.connections.inc();
        let active = self.shared.metrics.connections_active.clone();
        active.inc();
        let _active = Decrement(active);
        let client = Socket::Tcp(client);
        client.send_at_once();
        let (client, upstream) = match &self.tls {
            None => (Stream::Plain(client), self.connect(&[]).await),
            Some(tls) => {
                // Boxed: a handshake's state would else stay part of every connection.
                match Box::pin(self.handshake(client, tls)).await {
                    Ok(both) => both,
                    Err(error) => {
                        debug!(%error, "a TLS handshake failed");
                        return self.shared.metrics.tls_failures.inc();
                    }
                }
            }
        };
        let tap = Tap::new(self.shared.clone());
        let stopping = self.stopping.clone();
        drop(self);
        let Some(upstream) = upstream else { return Box::pin(refuse(client, tap)).await };
        let ended = Pump::new(client, upstream, tap).run(stopping).await;
        debug!(?ended, "connection ended");
    }

    async fn connect(&self, protocols: &[Vec<u8>]) -> Option<Stream> {
        let upstream = self.connector.connect(protocols).await;
        if upstream.is_err() {
            self.shared.metrics.upstream_failures.inc();
        }
        upstream.ok()
    }

    /// Ends the caller's TLS with the application protocol that the model's server speaks. There is no second stream when
    /// that could not be connected to.
    ///
    /// # Errors
    /// What went wrong on the caller's side.
    async fn handshake(&self, client: Socket, tls: &ServerTls) -> io::Result<(Stream, Option<Stream>)> {
        let start = in_time(LazyConfigAcceptor::new(Acceptor::default(), client)).await?;
        let offered: Vec<Vec<u8>> =
            start.client_hello().alpn().map(|names| names.map(<[u8]>::to_vec).collect()).unwrap_or_default();
        // Over TLS the model's server chooses from what the caller offers; in plain text the settings know what it speaks.
        let upstream = self.connect(if self.connector.is_tls() { &offered } else { &[] }).await;
        if upstream.is_none() {
            start.io.reset_on_close();
        }
        let config = match &upstream {
            _ if offered.is_empty() => tls.config(&[]),
            Some(stream) if stream.is_tls() => {
                tls.config(&stream.application_protocol().into_iter().collect::<Vec<_>>())
            }
            Some(_) | None => tls.config(tls.protocols()),
        };
        let stream = in_time(start.into_stream(config)).await?;
        Ok((Stream::tls(stream.into()), upstream))
    }
}

/// Waits for a caller's part of a handshake.
async fn in_time<T>(part: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    let late =
        |_| io::Error::new(io::ErrorKind::TimedOut, format!("the caller did not go on within {HANDSHAKE_TIMEOUT:?}"));
    tokio::time::timeout(HANDSHAKE_TIMEOUT, part).await.map_err(late)?
}

struct Decrement(prometheus::IntGauge);

impl Drop for Decrement {
    fn drop(&mut self) {
        self.0.dec();
    }
}
