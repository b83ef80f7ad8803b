//! One side of a pumped connection: TCP, a Unix socket, or either of them under TLS.

use std::future::poll_fn;
use std::io;
use std::net::Shutdown;
use std::os::fd::AsFd;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use mio::Interest;
use mio::net::{TcpStream, UnixStream};
use rustix::net::{RecvFlags, SendFlags, recv, send};
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::TlsStream;

use crate::event_loop::{EventLoop, Source};

/// A socket, in the event loop of its thread.
#[derive(Debug)]
pub(crate) enum Socket {
    /// IPv4 or IPv6.
    Tcp(Source<TcpStream>),
    /// A socket in the file system.
    Unix(Source<UnixStream>),
}

/// A connection that the kernel was asked for.
#[derive(Debug)]
pub(crate) enum Connecting {
    /// IPv4 or IPv6.
    Tcp(TcpStream),
    /// A socket in the file system.
    Unix(UnixStream),
}

/// A connection to one side.
#[derive(Debug)]
pub(crate) enum Stream {
    /// Bytes as they are.
    Plain(Socket),
    /// Bytes under TLS; boxed, for its state is large.
    Tls(Box<Tls>),
}

/// A connection under TLS.
#[derive(Debug)]
pub(crate) struct Tls {
    stream: TlsStream<Socket>,
    /// The other side ended without saying so: its process may have died in the middle of an answer.
    was_cut: bool,
}

impl Socket {
    /// A connection that was accepted.
    ///
    /// # Errors
    /// The system's own.
    pub(crate) fn accepted(event_loop: &Rc<EventLoop>, stream: TcpStream) -> io::Result<Self> {
        Source::new(event_loop, stream, Interest::READABLE | Interest::WRITABLE, true).map(Self::Tcp)
    }

    /// Waits until a connection is there that was begun.
    ///
    /// # Errors
    /// Why there is none.
    pub(crate) async fn connected(event_loop: &Rc<EventLoop>, connecting: Connecting) -> io::Result<Self> {
        let interest = Interest::READABLE | Interest::WRITABLE;
        let socket = match connecting {
            Connecting::Tcp(stream) => Self::Tcp(Source::new(event_loop, stream, interest, false)?),
            Connecting::Unix(stream) => Self::Unix(Source::new(event_loop, stream, interest, false)?),
        };
        poll_fn(|_| match &socket {
            Self::Tcp(source) => source.poll_write_with(|_| Ok(())),
            Self::Unix(source) => source.poll_write_with(|_| Ok(())),
        })
        .await?;
        match socket.reference().take_error()? {
            Some(error) => Err(error),
            None => Ok(socket),
        }
    }

    /// Small writes must not wait for an acknowledgement of the one before: tokens of a stream are small writes.
    pub(crate) fn send_at_once(&self) {
        if let Self::Tcp(source) = self {
            // A socket that is gone already has nothing to send.
            source.io().set_nodelay(true).ok();
        }
    }

    /// Makes closing a reset.
    pub(crate) fn reset_on_close(&self) {
        // A socket that is gone already needs no telling.
        self.reference().set_linger(Some(Duration::ZERO)).ok();
    }

    fn may_be_readable(&self) -> bool {
        match self {
            Self::Tcp(source) => source.may_be_readable(),
            Self::Unix(source) => source.may_be_readable(),
        }
    }

    /// Reads into a buffer; 0 bytes are the end.
    fn poll_receive(&self, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        match self {
            Self::Tcp(source) => poll_receive(source, buffer),
            Self::Unix(source) => poll_receive(source, buffer),
        }
    }

    /// Writes some of the bytes.
    fn poll_send(&self, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self {
            Self::Tcp(source) => poll_send(source, bytes),
            Self::Unix(source) => poll_send(source, bytes),
        }
    }

    fn reference(&self) -> SockRef<'_> {
        match self {
            Self::Tcp(source) => SockRef::from(source.io()),
            Self::Unix(source) => SockRef::from(source.io()),
        }
    }
}

fn poll_receive<T: mio::event::Source + AsFd>(source: &Source<T>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
    let received = ready!(source.poll_read_with(|socket| Ok(recv(socket, &mut *buffer, RecvFlags::empty())?.1)))?;
    if received < buffer.len() && received > 0 {
        source.was_emptied();
    }
    Poll::Ready(Ok(received))
}

fn poll_send<T: mio::event::Source + AsFd>(source: &Source<T>, bytes: &[u8]) -> Poll<io::Result<usize>> {
    source.poll_write_with(|socket| Ok(send(socket, bytes, SendFlags::NOSIGNAL)?))
}

impl AsyncRead for Socket {
    fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let received = ready!(self.poll_receive(buffer.initialize_unfilled()))?;
        buffer.advance(received);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_send(bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        // The kernel has what was written.
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.reference().shutdown(Shutdown::Write))
    }
}

impl Stream {
    pub(crate) fn tls(stream: TlsStream<Socket>) -> Self {
        Self::Tls(Box::new(Tls { stream, was_cut: false }))
    }

    /// The application protocol that both ends of TLS agreed on; none in plain text.
    pub(crate) fn application_protocol(&self) -> Option<Vec<u8>> {
        match self {
            Self::Plain(_) => None,
            Self::Tls(tls) => tls.stream.get_ref().1.alpn_protocol().map(<[u8]>::to_vec),
        }
    }

    /// False when nothing has come since the last read that found nothing.
    pub(crate) fn may_be_readable(&self) -> bool {
        match self {
            Self::Plain(socket) => socket.may_be_readable(),
            // It may hold what it has decrypted.
            Self::Tls(_) => true,
        }
    }

    /// Reads into a buffer; 0 bytes are the end.
    pub(crate) fn poll_read(&mut self, context: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        let tls = match self {
            Self::Plain(socket) => return socket.poll_receive(buffer),
            Self::Tls(tls) => tls,
        };
        let mut buffer = ReadBuf::new(buffer);
        let read = match Pin::new(&mut tls.stream).poll_read(context, &mut buffer) {
            // What came were whole records. That the end was not announced is for the other side to know.
            Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::UnexpectedEof => {
                tls.was_cut = true;
                Poll::Ready(Ok(()))
            }
            read => read,
        };
        read.map_ok(|()| buffer.filled().len())
    }

    /// Writes some of the bytes.
    pub(crate) fn poll_write(&mut self, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self {
            Self::Plain(socket) => socket.poll_send(bytes),
            Self::Tls(tls) => Pin::new(&mut tls.stream).poll_write(context, bytes),
        }
    }

    /// Sends what was written and waits inside: TLS keeps records while the socket is full.
    pub(crate) fn poll_flush(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Plain(_) => Poll::Ready(Ok(())),
            Self::Tls(tls) => Pin::new(&mut tls.stream).poll_flush(context),
        }
    }

    /// Says that nothing more will be written: a half-close.
    pub(crate) fn poll_end(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Plain(socket) => Pin::new(socket).poll_shutdown(context),
            Self::Tls(tls) => Pin::new(&mut tls.stream).poll_shutdown(context),
        }
    }

    /// Carries the end of the other side's stream over. Under TLS an end that was not announced is not announced here
    /// either: to say that all was said would make a cut answer a whole one.
    pub(crate) fn poll_end_as(&mut self, other: &Self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match (self, other) {
            (Self::Tls(tls), Self::Tls(other)) if other.was_cut => {
                ready!(Pin::new(&mut tls.stream).poll_flush(context))?;
                Pin::new(tls.stream.get_mut().0).poll_shutdown(context)
            }
            (this, _) => this.poll_end(context),
        }
    }

    /// Makes closing a reset.
    pub(crate) fn reset_on_close(&self) {
        match self {
            Self::Plain(socket) => socket.reset_on_close(),
            Self::Tls(tls) => tls.stream.get_ref().0.reset_on_close(),
        }
    }

    pub(crate) fn is_tls(&self) -> bool {
        matches!(self, Self::Tls(_))
    }
}
