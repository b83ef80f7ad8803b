//! The byte pump: what one side of a connection sends is written to the other at once, and then shown to a reader.
//!
//! Nothing here waits for capture. A chunk is read into a scratch buffer that all connections share, written on, and
//! only then read by the [`Tap`]; only an unwritten rest is copied, and while there is one, nothing more is read from
//! that side (backpressure). No byte is ever written that was not read.
//!
//! Ends carry over: a half-close on one side is a half-close on the other, a reset is a reset.

use std::cell::RefCell;
use std::future::{Future as _, poll_fn};
use std::io;
use std::net::Shutdown;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncRead as _, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::watch;

use crate::tap::{Side, Tap};

/// Read at most this much at once. Larger chunks save system calls; 64 KiB is where that stops to matter.
const SCRATCH_BYTES: usize = 64 << 10;
/// Chunks that one connection may pass before others have their turn.
const CHUNKS_PER_TURN: u32 = 16;

thread_local! {
    static SCRATCH: RefCell<Vec<u8>> = RefCell::new(vec![0; SCRATCH_BYTES]);
}

/// How a connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    /// Both sides said that they were done.
    Closed,
    /// This side was reset, or could not be written to.
    Reset(Side),
    /// The sidecar is stopping, and the connection had nothing under way.
    Idle,
}

/// Two connected streams and what is on its way between them.
#[derive(Debug)]
pub(crate) struct Pump {
    client: TcpStream,
    upstream: TcpStream,
    to_upstream: Direction,
    to_client: Direction,
    tap: Tap,
    first_to_end: Option<Side>,
}

/// What flows one way.
#[derive(Debug, Default)]
struct Direction {
    /// Read, and not yet written.
    rest: Vec<u8>,
    written: usize,
    source_ended: bool,
    over: bool,
    /// Writing failed: the receiving side takes no more.
    broken: bool,
}

impl Pump {
    pub(crate) fn new(client: TcpStream, upstream: TcpStream, tap: Tap) -> Self {
        let (to_upstream, to_client) = (Direction::default(), Direction::default());
        Self { client, upstream, to_upstream, to_client, tap, first_to_end: None }
    }

    /// Pumps until both sides are done, one is reset, or the sidecar is stopping and nothing is under way.
    ///
    /// # Cancel safety
    /// Dropping the future closes both streams, and whatever exchange was under way is reported as it stood.
    pub(crate) async fn run(mut self, mut stopping: watch::Receiver<bool>) -> Ended {
        let mut stop = pin!(stopping.wait_for(|stopping| *stopping));
        let mut stopped = false;
        let ended = poll_fn(|context| {
            stopped = stopped || stop.as_mut().poll(context).is_ready();
            match self.poll(context) {
                Poll::Pending if stopped && self.tap.is_idle() => Poll::Ready(Ended::Idle),
                poll => poll,
            }
        })
        .await;
        if let Ended::Reset(side) = ended {
            self.first_to_end.get_or_insert(side);
            // The other side learns of a reset by a reset. A socket that is gone already needs no telling.
            for stream in [&self.client, &self.upstream] {
                SockRef::from(stream).set_linger(Some(Duration::ZERO)).ok();
            }
        }
        self.tap.connection_over(self.first_to_end);
        ended
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Ended> {
        let Self { client, upstream, to_upstream, to_client, tap, first_to_end } = self;
        let up = to_upstream.poll(context, client, upstream, Side::Client, tap, first_to_end);
        if let Poll::Ready(Err(reset)) = up {
            return Poll::Ready(Ended::Reset(reset));
        }
        let down = to_client.poll(context, upstream, client, Side::Upstream, tap, first_to_end);
        if let Poll::Ready(Err(reset)) = down {
            return Poll::Ready(Ended::Reset(reset));
        }
        if up.is_pending() || down.is_pending() {
            return Poll::Pending;
        }
        Poll::Ready(match (to_upstream.broken, to_client.broken) {
            (true, _) => Ended::Reset(Side::Upstream),
            (_, true) => Ended::Reset(Side::Client),
            _ => Ended::Closed,
        })
    }
}

impl Direction {
    /// Moves what can be moved. Ready when this direction is over, with the side that was reset if one was.
    fn poll(
        &mut self,
        context: &mut Context<'_>,
        source: &mut TcpStream,
        sink: &TcpStream,
        side: Side,
        tap: &mut Tap,
        first_to_end: &mut Option<Side>,
    ) -> Poll<Result<(), Side>> {
        if self.over {
            return Poll::Ready(Ok(()));
        }
        let mut chunks = 0;
        loop {
            if self.written < self.rest.len() {
                match ready!(self.poll_write_rest(context, sink)) {
                    Ok(()) => continue,
                    Err(_) => return self.break_off(side, first_to_end),
                }
            }
            if self.source_ended {
                // A side that is gone already needs no telling.
                SockRef::from(sink).shutdown(Shutdown::Write).ok();
                self.over = true;
                return Poll::Ready(Ok(()));
            }
            if chunks == CHUNKS_PER_TURN {
                context.waker().wake_by_ref();
                return Poll::Pending;
            }
            let moved =
                SCRATCH.with_borrow_mut(|scratch| self.poll_move_chunk(context, source, sink, scratch, side, tap));
            match ready!(moved) {
                Ok(Moved::Chunk) => chunks += 1,
                Ok(Moved::End) => {
                    self.source_ended = true;
                    first_to_end.get_or_insert(side);
                    tap.side_ended(side);
                }
                Err(Failed::Read) => return Poll::Ready(Err(side)),
                Err(Failed::Write) => return self.break_off(side, first_to_end),
            }
        }
    }

    /// The sink takes no more. What it has sent may still be on its way, so the other direction goes on.
    fn break_off(&mut self, side: Side, first_to_end: &mut Option<Side>) -> Poll<Result<(), Side>> {
        self.broken = true;
        self.over = true;
        self.rest = Vec::new();
        first_to_end.get_or_insert(side.other());
        Poll::Ready(Ok(()))
    }

    fn poll_write_rest(&mut self, context: &mut Context<'_>, sink: &TcpStream) -> Poll<io::Result<()>> {
        loop {
            ready!(sink.poll_write_ready(context))?;
            match sink.try_write(&self.rest[self.written..]) {
                Ok(bytes) => self.written += bytes,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
                Err(error) => return Poll::Ready(Err(error)),
            }
            if self.written == self.rest.len() {
                // Given back: a connection that once met a slow reader must not keep the memory for ever.
                self.rest = Vec::new();
                self.written = 0;
                return Poll::Ready(Ok(()));
            }
        }
    }

    fn poll_move_chunk(
        &mut self,
        context: &mut Context<'_>,
        source: &mut TcpStream,
        sink: &TcpStream,
        scratch: &mut [u8],
        side: Side,
        tap: &mut Tap,
    ) -> Poll<Result<Moved, Failed>> {
        let mut buffer = ReadBuf::new(scratch);
        // Not `try_read`: after a read that did not fill the buffer this one knows that the socket is empty, and saves the
        // read that would only say so. That is half of all reads.
        if ready!(Pin::new(source).poll_read(context, &mut buffer)).is_err() {
            return Poll::Ready(Err(Failed::Read));
        }
        let chunk = buffer.filled();
        if chunk.is_empty() {
            return Poll::Ready(Ok(Moved::End));
        }
        let written = match sink.try_write(chunk) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
            Err(_) => {
                tap.bytes(side, chunk);
                return Poll::Ready(Err(Failed::Write));
            }
        };
        self.rest.extend_from_slice(&chunk[written..]);
        tap.bytes(side, chunk);
        Poll::Ready(Ok(Moved::Chunk))
    }
}

enum Moved {
    Chunk,
    End,
}

enum Failed {
    Read,
    Write,
}
