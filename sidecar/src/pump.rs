//! The byte pump: what one side of a connection sends is written to the other at once, and then shown to a reader.
//!
//! Nothing here waits for capture. A chunk is read into a scratch buffer that all connections share, written on, and
//! only then read by the [`Tap`]; only an unwritten rest is copied, and while there is one, nothing more is read from
//! that side (backpressure). No byte is ever written that was not read.
//!
//! Ends carry over: a half-close on one side is a half-close on the other, a reset is a reset, and under TLS a cut is a cut.

use std::cell::RefCell;
use std::future::{Future as _, poll_fn};
use std::io;
use std::pin::pin;
use std::task::{Context, Poll, ready};

use tracing::debug;

use crate::stopping::Stopping;
use crate::stream::Stream;
use crate::tap::{Over, Side, Tap};

/// Read at most this much at once. Larger chunks save system calls; 64 KiB is where that stops to matter.
const SCRATCH_BYTES: usize = 64 << 10;
/// Chunks that one connection may pass before others have their turn.
const CHUNKS_PER_TURN: u32 = 16;

thread_local! {
    pub(crate) static SCRATCH: RefCell<Vec<u8>> = RefCell::new(vec![0; SCRATCH_BYTES]);
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
    client: Stream,
    upstream: Stream,
    to_upstream: Direction,
    to_client: Direction,
    tap: Tap,
    /// The side that was the first to take no more, or to be reset.
    first_to_break: Option<Side>,
    /// How it ended; none while it runs. A pump that is cut off ends both sides with a reset: a plain end could be taken
    /// for the end of a message.
    ended: Option<Ended>,
}

/// What flows one way.
#[derive(Debug, Default)]
struct Direction {
    /// Read, and not yet written.
    rest: Vec<u8>,
    written: usize,
    /// Written, and perhaps still held by TLS.
    unflushed: bool,
    source_ended: bool,
    over: bool,
    /// Writing failed: the receiving side takes no more.
    broken: bool,
    /// The last poll found nothing to read, and had nothing to write.
    waits_for_source: bool,
}

impl Pump {
    pub(crate) fn new(client: Stream, upstream: Stream, tap: Tap) -> Self {
        let (to_upstream, to_client) = (Direction::default(), Direction::default());
        Self { client, upstream, to_upstream, to_client, tap, first_to_break: None, ended: None }
    }

    /// Pumps until both sides are done, one is reset, or the sidecar is stopping and nothing is under way.
    ///
    /// # Cancel safety
    /// Dropping the future resets both streams, and whatever exchange was under way is reported as it stood.
    pub(crate) async fn run(mut self, stopping: Stopping) -> Ended {
        let mut stop = pin!(stopping.requested());
        let mut listens = false;
        let mut stopped = false;
        let ended = poll_fn(|context| {
            // One registration wakes this task for good, so the signal is not polled at every chunk.
            if !listens {
                listens = true;
                stopped = stop.as_mut().poll(context).is_ready();
            }
            stopped = stopped || stopping.is_requested();
            match self.poll(context) {
                Poll::Pending if stopped && self.is_idle() => Poll::Ready(Ended::Idle),
                poll => poll,
            }
        });
        let ended = ended.await;
        if let Ended::Reset(side) = ended {
            self.first_to_break.get_or_insert(side);
        }
        if ended == Ended::Idle {
            poll_fn(|context| {
                // One try: whoever takes no more needs no goodbye.
                drop(self.client.poll_end(context));
                drop(self.upstream.poll_end(context));
                Poll::Ready(())
            })
            .await;
        }
        self.ended = Some(ended);
        self.tap.connection_over(match (self.first_to_break, ended) {
            (Some(side), _) => Over::Reset(side),
            (None, Ended::Idle) => Over::Stopped,
            (None, _) => Over::Closed,
        });
        ended
    }

    /// Whether nothing is under way: no exchange, no byte held, and nothing left to read.
    fn is_idle(&self) -> bool {
        self.to_upstream.waits_for_source && self.to_client.waits_for_source && self.tap.is_idle()
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Ended> {
        let Self { client, upstream, to_upstream, to_client, tap, first_to_break, .. } = self;
        let up = to_upstream.poll(context, client, upstream, Side::Client, tap, first_to_break);
        if let Poll::Ready(Err(reset)) = up {
            return Poll::Ready(Ended::Reset(reset));
        }
        let down = to_client.poll(context, upstream, client, Side::Upstream, tap, first_to_break);
        if let Poll::Ready(Err(reset)) = down {
            return Poll::Ready(Ended::Reset(reset));
        }
        // A caller that takes no answer is gone, and the model's server learns of it as if it stood there itself. (A
        // server that takes no more of a request may still be answering it, so that goes on.)
        if to_client.broken {
            return Poll::Ready(Ended::Reset(Side::Client));
        }
        if up.is_pending() || down.is_pending() {
            return Poll::Pending;
        }
        Poll::Ready(if to_upstream.broken { Ended::Reset(Side::Upstream) } else { Ended::Closed })
    }
}

impl Drop for Pump {
    fn drop(&mut self) {
        if !matches!(self.ended, Some(Ended::Closed | Ended::Idle)) {
            self.client.reset_on_close();
            self.upstream.reset_on_close();
        }
    }
}

impl Direction {
    /// Moves what can be moved. Ready when this direction is over, with the side that was reset if one was.
    fn poll(
        &mut self,
        context: &mut Context<'_>,
        source: &mut Stream,
        sink: &mut Stream,
        side: Side,
        tap: &mut Tap,
        first_to_break: &mut Option<Side>,
    ) -> Poll<Result<(), Side>> {
        if self.over {
            return Poll::Ready(Ok(()));
        }
        // The task was polled for the other direction.
        if self.waits_for_source && !source.may_be_readable() {
            return Poll::Pending;
        }
        self.waits_for_source = false;
        let mut chunks = 0;
        loop {
            if self.written < self.rest.len() && ready!(self.poll_write_rest(context, sink)).is_err() {
                return self.break_off(side, first_to_break);
            }
            if self.source_ended {
                // A side that is gone already needs no telling.
                ready!(sink.poll_end_as(source, context)).ok();
                self.over = true;
                return Poll::Ready(Ok(()));
            }
            if chunks == CHUNKS_PER_TURN {
                context.waker().wake_by_ref();
                return Poll::Pending;
            }
            if self.unflushed {
                match sink.poll_flush(context) {
                    Poll::Ready(Ok(())) => self.unflushed = false,
                    Poll::Ready(Err(_)) => return self.break_off(side, first_to_break),
                    // Backpressure: nothing more is read while TLS holds what was.
                    Poll::Pending => return Poll::Pending,
                }
            }
            match SCRATCH.with_borrow_mut(|scratch| self.poll_chunk(context, source, sink, scratch, side, tap)) {
                Poll::Pending => {
                    self.waits_for_source = true;
                    return Poll::Pending;
                }
                Poll::Ready(Moved::Chunk) => chunks += 1,
                Poll::Ready(Moved::End) => {
                    self.source_ended = true;
                    tap.side_ended(side);
                }
                Poll::Ready(Moved::ReadFailed) => return Poll::Ready(Err(side)),
                Poll::Ready(Moved::WriteFailed) => return self.break_off(side, first_to_break),
            }
        }
    }

    /// The sink takes no more. What it has sent may still be on its way, so the other direction goes on.
    fn break_off(&mut self, side: Side, first_to_break: &mut Option<Side>) -> Poll<Result<(), Side>> {
        self.broken = true;
        self.over = true;
        self.rest = Vec::new();
        first_to_break.get_or_insert(side.other());
        Poll::Ready(Ok(()))
    }

    fn poll_write_rest(&mut self, context: &mut Context<'_>, sink: &mut Stream) -> Poll<io::Result<()>> {
        while self.written < self.rest.len() {
            let written = ready!(sink.poll_write(context, &self.rest[self.written..]))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.written += written;
        }
        // Given back: a connection that once met a slow reader must not keep the memory for ever.
        self.rest = Vec::new();
        self.written = 0;
        self.unflushed = sink.is_tls();
        Poll::Ready(Ok(()))
    }

    /// Reads a chunk, writes what the sink takes of it, and shows it to the tap.
    fn poll_chunk(
        &mut self,
        context: &mut Context<'_>,
        source: &mut Stream,
        sink: &mut Stream,
        scratch: &mut [u8],
        side: Side,
        tap: &mut Tap,
    ) -> Poll<Moved> {
        let chunk = match ready!(source.poll_read(context, scratch)) {
            Ok(0) => return Poll::Ready(Moved::End),
            Ok(bytes) => &scratch[..bytes],
            Err(error) => {
                // Under TLS this is how a server says that it wants a certificate: after a handshake that went well.
                debug!(?side, %error, "a side cannot be read any more");
                return Poll::Ready(Moved::ReadFailed);
            }
        };
        let written = match sink.poll_write(context, chunk) {
            Poll::Ready(Ok(bytes)) => bytes,
            Poll::Pending => 0,
            Poll::Ready(Err(_)) => {
                tap.bytes(side, chunk);
                return Poll::Ready(Moved::WriteFailed);
            }
        };
        self.rest.extend_from_slice(&chunk[written..]);
        self.unflushed = sink.is_tls();
        tap.bytes(side, chunk);
        Poll::Ready(Moved::Chunk)
    }
}

enum Moved {
    Chunk,
    End,
    ReadFailed,
    WriteFailed,
}
