//! Where a pump's bytes meet a reader, and a reader's exchanges the way to the shipper.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, LazyLock};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use driftline_protocol::EndState;

use crate::account::DropReason;
use crate::handover::Handover;
use crate::metrics::Metrics;
use crate::reader::{CaptureLimits, Captured, Finished, Moment, Reader, Unreadable};
pub(crate) use crate::reader::{Over, Side};
use crate::rules::{Rules, with_rules};

/// What all taps share.
#[derive(Debug, Clone)]
pub(crate) struct TapShared {
    pub(crate) limits: CaptureLimits,
    pub(crate) handover: Arc<Handover>,
    /// The shipper makes spans of exchanges, for which it needs them as they are.
    pub(crate) makes_spans: bool,
    pub(crate) metrics: Arc<Metrics>,
}

/// One connection's reader, as long as it can follow.
#[derive(Debug)]
pub(crate) struct Tap {
    shared: TapShared,
    reader: Option<Reader>,
    finished: Finished,
}

impl Tap {
    pub(crate) fn new(shared: TapShared) -> Self {
        let reader = Some(Reader::new(shared.limits.clone()));
        Self { shared, reader, finished: Vec::new() }
    }

    /// Bytes that passed from a side.
    pub(crate) fn bytes(&mut self, side: Side, bytes: &[u8]) {
        self.shared.metrics.bytes_from(side).inc_by(bytes.len() as u64);
        self.read(|reader, now, finished| reader.bytes(side, bytes, now, finished));
    }

    /// A side has sent its last byte.
    pub(crate) fn side_ended(&mut self, side: Side) {
        self.read(|reader, now, finished| {
            reader.side_ended(side, now, finished);
            Ok(())
        });
    }

    /// The connection is over, and so is what was under way.
    pub(crate) fn connection_over(&mut self, over: Over) {
        self.read(|reader, now, finished| {
            reader.connection_over(over, now, finished);
            Ok(())
        });
        self.reader = None;
    }

    /// Whether nothing is known to be under way. A connection that is not read may always have something.
    pub(crate) fn is_idle(&self) -> bool {
        self.reader.as_ref().is_some_and(Reader::is_idle)
    }

    /// Whether all that was asked is known, and something is. Of a connection that is not read nothing is.
    pub(crate) fn awaits_answer(&self) -> bool {
        self.reader.as_ref().is_some_and(Reader::awaits_answer)
    }

    /// Lets the reader read. If it can't follow, or panics, it is let go for this connection and counted; what it had
    /// under way settles itself.
    fn read(&mut self, read: impl FnOnce(&mut Reader, Moment, &mut Finished) -> Result<(), Unreadable>) {
        let Some(reader) = &mut self.reader else { return };
        let now = moment();
        let finished = &mut self.finished;
        let result = catch_unwind(AssertUnwindSafe(|| read(reader, now, finished))).unwrap_or(Err(Unreadable::Panic));
        if let Err(reason) = result {
            self.shared.metrics.unread(reason).inc();
            self.reader = None;
        }
        if !self.finished.is_empty() {
            with_rules(&self.shared.limits.rules, |rules| {
                self.finished.drain(..).for_each(|captured| hand_over(captured, rules, &self.shared))
            });
        }
    }
}

/// Puts a finished exchange on its way to the shipper, if the sample draws it.
fn hand_over(mut captured: Captured, rules: &Rules, shared: &TapShared) {
    let TapShared { limits, handover, makes_spans, .. } = shared;
    if !rules.sample(&mut captured.exchange) {
        return captured.ticket.dropped(DropReason::Sampled);
    }
    limits.accounts.captured();
    if captured.exchange.end() == EndState::Budget {
        shared.metrics.without_bodies.inc();
    }
    let put = if rules.rewrites_nothing() && !makes_spans {
        handover.put(captured, &limits.spares)
    } else {
        handover.put_whole(captured)
    };
    if let Err(captured) = put {
        captured.ticket.dropped(DropReason::QueueFull);
    }
}

impl Drop for Tap {
    fn drop(&mut self) {
        // A pump that was cut off: the sidecar is stopping, and the exchange is cancelled.
        self.connection_over(Over::Stopped);
    }
}

/// Now. The wall clock is read every few milliseconds and counted on from in between: each clock costs as much as reading a
/// short head does, and a step of the wall clock shows soon enough.
fn moment() -> Moment {
    const WALL_CLOCK_FOR_MICROS: u64 = 10_000;
    /// One for all threads: a connection stays on one, but nothing has to rely on it.
    static FIRST: LazyLock<Instant> = LazyLock::new(Instant::now);
    thread_local! {
        static LAST: Cell<Option<Moment>> = const { Cell::new(None) };
    }
    let micros = FIRST.elapsed().as_micros() as u64;
    if let Some(last) = LAST.get() {
        let passed = micros.saturating_sub(last.micros);
        if passed < WALL_CLOCK_FOR_MICROS {
            return Moment { micros, wall_micros: last.wall_micros + passed as i64 };
        }
    }
    let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let moment = Moment { micros, wall_micros: wall.as_micros() as i64 };
    LAST.set(Some(moment));
    moment
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reader::script;

    #[test]
    fn a_reader_that_panics_costs_its_capture_and_nothing_else() {
        let metrics = Metrics::new(1 << 20).expect("metrics");
        let accounts = Arc::clone(&metrics.accounts);
        let limits = script::limits_with(Arc::clone(&accounts), 1 << 20, 1 << 16);
        let handover = Arc::new(Handover::new(uuid::Uuid::nil()));
        let shared = TapShared { limits, handover, makes_spans: false, metrics: Arc::clone(&metrics) };
        let mut tap = Tap::new(shared.clone());
        tap.bytes(Side::Client, b"POST /v2/models/m/infer HTTP/1.1\r\nContent-Length: 9\r\n\r\nhalf");
        assert_eq!(accounts.account().seen, 1);
        let hook = std::panic::take_hook();
        // The panic is meant; its words would only look like a failure.
        std::panic::set_hook(Box::new(|_| {}));
        tap.read(|_, _, _| panic!("a fault of the reader"));
        std::panic::set_hook(hook);
        assert_eq!(metrics.unread(Unreadable::Panic).get(), 1);
        // What passes later passes unread, and what was under way is accounted for.
        tap.bytes(Side::Client, b" more");
        tap.bytes(Side::Upstream, b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
        drop(tap);
        let account = accounts.account();
        assert_eq!(account.seen, 1);
        assert_eq!(account.dropped.iter().map(|dropped| dropped.count).sum::<u64>(), 1, "{account:?}");
        assert_eq!(metrics.bytes_from(Side::Client).get(), 64);
        // Another connection is read as ever.
        let mut other = Tap::new(shared);
        other.bytes(Side::Client, b"POST /v2/models/m/infer HTTP/1.1\r\nContent-Length: 0\r\n\r\n");
        assert_eq!(accounts.account().seen, 2);
    }
}
