//! Accepting connections, and giving each its pump.

use std::cell::Cell;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use driftline_tls::ServerTls;
use mio::Interest;
use mio::net::{TcpListener, TcpStream};
use socket2::SockRef;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio_rustls::LazyConfigAcceptor;
use tokio_rustls::rustls::server::Acceptor;
use tracing::{debug, warn};

use crate::event_loop::{EventLoop, Source};
use crate::pump::Pump;
use crate::refusal::refuse;
use crate::stopping::Stopping;
use crate::stream::{Socket, Stream};
use crate::tap::{Tap, TapShared};
use crate::upstream::Connector;

/// Pause after `accept` failed for want of file descriptors or memory: trying at once would only spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// Connections that are accepted before those that are there have their turn.
const ACCEPTED_PER_TURN: u32 = 16;
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
    pub(crate) async fn serve(self, event_loop: Rc<EventLoop>, listener: std::net::TcpListener) {
        let listener = TcpListener::from_std(listener);
        let listener = match Source::new(&event_loop, listener, Interest::READABLE, true) {
            Ok(listener) => listener,
            Err(error) => return tracing::error!(%error, "the listening port cannot be served"),
        };
        let this = Rc::new(self);
        let open = Rc::<Open>::default();
        let begin = |client, permit| {
            let (this, event_loop, open) = (Rc::clone(&this), Rc::clone(&event_loop), Open::one_more(&open));
            let connection = this.connection(Rc::clone(&event_loop), client, permit);
            event_loop.spawn(async move {
                let _open = open;
                connection.await;
            });
        };
        let mut accepted = None;
        let mut turn = 0;
        loop {
            let place = tokio::select! {
                biased;
                () = this.stopping.requested() => break,
                place = this.accept(&listener, &mut accepted) => place,
            };
            match (place, accepted.take()) {
                (Ok(permit), Some(client)) => begin(client, permit),
                (Ok(_), None) => {}
                (Err(error), _) => {
                    warn!(%error, "cannot accept a connection");
                    event_loop.sleep(ACCEPT_PAUSE).await;
                }
            }
            turn += 1;
            if turn % ACCEPTED_PER_TURN == 0 {
                event_loop.others_turn().await;
            }
        }
        // Who is in the kernel's queue has a connection already, and would be reset.
        while let Ok(Ok(permit)) = event_loop.timeout(Duration::ZERO, this.accept(&listener, &mut accepted)).await {
            if let Some(client) = accepted.take() {
                begin(client, permit);
            }
        }
        drop(listener);
        if let Some(client) = accepted {
            // No place became free for it: it ends as those do that are still in the queue.
            SockRef::from(&client).set_linger(Some(Duration::ZERO)).ok();
        }
        if event_loop.timeout(this.drain_grace, open.none()).await.is_err() {
            warn!(connections = open.count.get(), "connections did not end within the grace, and are reset");
        }
        event_loop.drop_others();
    }

    /// Accepts a connection, and waits until there is a place for it. The place is asked for last: a thread that nobody calls
    /// would else keep one that callers of another thread wait for.
    ///
    /// # Cancel safety
    /// Cancel safe: a place that was taken is free again, and a connection that was accepted stays in `accepted`.
    async fn accept(
        &self,
        listener: &Source<TcpListener>,
        accepted: &mut Option<TcpStream>,
    ) -> io::Result<OwnedSemaphorePermit> {
        if accepted.is_none() {
            *accepted = Some(poll_fn(|_| listener.poll_read_with(TcpListener::accept)).await?.0);
        }
        Arc::clone(&self.permits).acquire_owned().await.map_err(io::Error::other)
    }

    async fn connection(self: Rc<Self>, event_loop: Rc<EventLoop>, client: TcpStream, _permit: OwnedSemaphorePermit) {
        self.shared.metrics.connections.inc();
        let active = self.shared.metrics.connections_active.clone();
        active.inc();
        let _active = Decrement(active);
        let client = match Socket::accepted(&event_loop, client) {
            Ok(client) => client,
            Err(error) => return warn!(%error, "a connection cannot be served"),
        };
        client.send_at_once();
        let (client, upstream) = match &self.tls {
            // Boxed: the state of connecting, or of a handshake, would else stay part of every connection.
            None => (Stream::Plain(client), Box::pin(self.connect(&event_loop, &[])).await),
            Some(tls) => match Box::pin(self.handshake(&event_loop, client, tls)).await {
                Ok(both) => both,
                Err(error) => {
                    debug!(%error, "a TLS handshake failed");
                    return self.shared.metrics.tls_failures.inc();
                }
            },
        };
        let tap = Tap::new(self.shared.clone());
        let stopping = self.stopping.clone();
        drop(self);
        let Some(upstream) = upstream else { return Box::pin(refuse(event_loop, client, tap)).await };
        drop(event_loop);
        let ended = Pump::new(client, upstream, tap).run(stopping).await;
        debug!(?ended, "connection ended");
    }

    async fn connect(&self, event_loop: &Rc<EventLoop>, protocols: &[Vec<u8>]) -> Option<Stream> {
        let upstream = self.connector.connect(event_loop, protocols).await;
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
    async fn handshake(
        &self,
        event_loop: &Rc<EventLoop>,
        client: Socket,
        tls: &ServerTls,
    ) -> io::Result<(Stream, Option<Stream>)> {
        let start = in_time(event_loop, LazyConfigAcceptor::new(Acceptor::default(), client)).await?;
        let offered: Vec<Vec<u8>> =
            start.client_hello().alpn().map(|names| names.map(<[u8]>::to_vec).collect()).unwrap_or_default();
        // Over TLS the model's server chooses from what the caller offers; in plain text the settings know what it speaks.
        let upstream = self.connect(event_loop, if self.connector.is_tls() { &offered } else { &[] }).await;
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
        let stream = in_time(event_loop, start.into_stream(config)).await?;
        Ok((Stream::tls(stream.into()), upstream))
    }
}

/// Waits for a caller's part of a handshake.
async fn in_time<T>(event_loop: &Rc<EventLoop>, part: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    let late =
        |_| io::Error::new(io::ErrorKind::TimedOut, format!("the caller did not go on within {HANDSHAKE_TIMEOUT:?}"));
    event_loop.timeout(HANDSHAKE_TIMEOUT, part).await.map_err(late)?
}

/// How many connections are open.
#[derive(Debug, Default)]
struct Open {
    count: Cell<usize>,
    fewer: Notify,
}

/// One of them, until it is dropped.
struct OpenOne(Rc<Open>);

impl Open {
    fn one_more(this: &Rc<Self>) -> OpenOne {
        this.count.set(this.count.get() + 1);
        OpenOne(Rc::clone(this))
    }

    /// Waits until there is none.
    async fn none(&self) {
        while self.count.get() > 0 {
            self.fewer.notified().await;
        }
    }
}

impl Drop for OpenOne {
    fn drop(&mut self) {
        self.0.count.set(self.0.count.get() - 1);
        self.0.fewer.notify_one();
    }
}

struct Decrement(prometheus::IntGauge);

impl Drop for Decrement {
    fn drop(&mut self) {
        self.0.dec();
    }
}
