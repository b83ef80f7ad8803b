//! One side of a pumped connection: TCP, a Unix socket, or either of them under TLS.

use std::io;
use std::net::Shutdown;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsStream;

/// A connected socket.
#[derive(Debug)]
pub(crate) enum Socket {
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
    /// Small writes must not wait for an acknowledgement of the one before: tokens of a stream are small writes.
    pub(crate) fn send_at_once(&self) {
        if let Self::Tcp(stream) = self {
            // A socket that is gone already has nothing to send.
            stream.set_nodelay(true).ok();
        }
    }

    /// Makes closing a reset.
    pub(crate) fn reset_on_close(&self) {
        // A socket that is gone already needs no telling.
        self.reference().set_linger(Some(Duration::ZERO)).ok();
    }

    /// Whether the runtime knows of something to read, which costs no call of the system.
    fn may_be_readable(&self) -> bool {
        match self {
            Self::Tcp(stream) => stream.try_io(Interest::READABLE, || Ok(())).is_ok(),
            Self::Unix(stream) => stream.try_io(Interest::READABLE, || Ok(())).is_ok(),
        }
    }

    fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.try_write(bytes),
            Self::Unix(stream) => stream.try_write(bytes),
        }
    }

    fn reference(&self) -> SockRef<'_> {
        match self {
            Self::Tcp(stream) => SockRef::from(stream),
            Self::Unix(stream) => SockRef::from(stream),
        }
    }
}

impl AsyncRead for Socket {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_read(context, buffer),
            Self::Unix(stream) => Pin::new(stream).poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_write(context, bytes),
            Self::Unix(stream) => Pin::new(stream).poll_write(context, bytes),
        }
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

    /// False when nothing has come since the last read that found nothing, whose task will still be woken.
    pub(crate) fn may_be_readable(&self) -> bool {
        match self {
            Self::Plain(socket) => socket.may_be_readable(),
            // It may hold what it has decrypted.
            Self::Tls(_) => true,
        }
    }

    /// Reads into a buffer; 0 bytes are the end.
    pub(crate) fn poll_read(&mut self, context: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        // Reading by `poll_read` rather than by readiness and `try_read`: a read that does not fill the buffer has
        // emptied the socket, and tokio then saves the call that would only say so.
        let mut buffer = ReadBuf::new(buffer);
        let read = match self {
            Self::Plain(socket) => Pin::new(socket).poll_read(context, &mut buffer),
            Self::Tls(tls) => match Pin::new(&mut tls.stream).poll_read(context, &mut buffer) {
                // What came were whole records. That the end was not announced is for the other side to know.
                Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::UnexpectedEof => {
                    tls.was_cut = true;
                    Poll::Ready(Ok(()))
                }
                read => read,
            },
        };
        read.map_ok(|()| buffer.filled().len())
    }

    /// Writes some of the bytes.
    pub(crate) fn poll_write(&mut self, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self {
            // There is nearly always room, and then nobody has to be woken when there is.
            Self::Plain(socket) => match socket.try_write(bytes) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => Pin::new(socket).poll_write(context, bytes),
                written => Poll::Ready(written),
            },
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
