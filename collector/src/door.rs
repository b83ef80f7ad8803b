//! Accepting connections, in plain text or under TLS, and knowing who is at the other end.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::extract::connect_info::Connected;
use axum::serve::{IncomingStream, Listener};
use driftline_tls::{ServerTls, peer_name};
use prometheus::IntCounter;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tracing::{debug, warn};

/// Handshakes at once. More connections wait in the kernel's queue.
const MAX_HANDSHAKES: usize = 256;
/// A handshake is a few round trips; one that takes longer holds a place that others wait for.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// Pause after `accept` failed for want of file descriptors or memory: trying at once would only spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Where connections come in.
#[derive(Debug)]
pub(crate) struct Door {
    listener: TcpListener,
    tls: Option<ServerTls>,
    handshakes: JoinSet<Option<(Stream, Peer)>>,
    failures: IntCounter,
}

/// Who is at the other end.
#[derive(Debug, Clone)]
pub(crate) struct Peer {
    pub(crate) address: SocketAddr,
    /// Of the certificate that it has shown, and that the authority signed.
    pub(crate) certificate: Option<Certificate>,
}

/// A client's certificate that was checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Certificate {
    /// The name in it, if there is one.
    pub(crate) name: Option<Arc<str>>,
}

/// A connection.
#[derive(Debug)]
pub(crate) enum Stream {
    /// Bytes as they are.
    Plain(TcpStream),
    /// Bytes under TLS; boxed, for its state is large.
    Tls(Box<TlsStream<TcpStream>>),
}

impl Door {
    pub(crate) fn new(listener: TcpListener, tls: Option<ServerTls>, failures: IntCounter) -> Self {
        Self { listener, tls, handshakes: JoinSet::new(), failures }
    }
}

impl Listener for Door {
    type Io = Stream;
    type Addr = Peer;

    /// # Cancel safety
    /// Handshakes that have begun go on, and are given by the next call.
    async fn accept(&mut self) -> (Stream, Peer) {
        loop {
            let accepted = tokio::select! {
                Some(done) = self.handshakes.join_next() => match done {
                    Ok(Some(accepted)) => return accepted,
                    Ok(None) | Err(_) => {
                        self.failures.inc();
                        continue;
                    }
                },
                accepted = self.listener.accept(), if self.handshakes.len() < MAX_HANDSHAKES => accepted,
            };
            match (accepted, &self.tls) {
                (Ok((stream, address)), None) => {
                    return (Stream::Plain(stream), Peer { address, certificate: None });
                }
                (Ok((stream, address)), Some(tls)) => {
                    let acceptor = TlsAcceptor::from(tls.config(tls.protocols()));
                    self.handshakes.spawn(handshake(acceptor, stream, address));
                }
                (Err(error), _) => {
                    warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    fn local_addr(&self) -> io::Result<Peer> {
        Ok(Peer { address: self.listener.local_addr()?, certificate: None })
    }
}

async fn handshake(acceptor: TlsAcceptor, stream: TcpStream, address: SocketAddr) -> Option<(Stream, Peer)> {
    let stream = match tokio::time::timeout(HANDSHAKE_TIMEOUT, acceptor.accept(stream)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => {
            debug!(%address, %error, "a TLS handshake failed");
            return None;
        }
        Err(_) => {
            debug!(%address, "a TLS handshake did not end in time");
            return None;
        }
    };
    let shown = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
    let certificate = shown.map(|shown| Certificate { name: peer_name(shown).map(Arc::from) });
    Some((Stream::Tls(Box::new(stream)), Peer { address, certificate }))
}

impl Connected<IncomingStream<'_, Door>> for Peer {
    fn connect_info(stream: IncomingStream<'_, Door>) -> Self {
        stream.remote_addr().clone()
    }
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(context, buffer),
            Self::Tls(stream) => Pin::new(stream).poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(context, bytes),
            Self::Tls(stream) => Pin::new(stream).poll_write(context, bytes),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write_vectored(context, parts),
            Self::Tls(stream) => Pin::new(stream).poll_write_vectored(context, parts),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Plain(stream) => stream.is_write_vectored(),
            Self::Tls(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(context),
            Self::Tls(stream) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(context),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }
}
