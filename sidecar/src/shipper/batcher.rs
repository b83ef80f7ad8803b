//! Gathering exchanges into framed batches.

use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use driftline_protocol::{Batch, Body, Effort, Exchange, FrameError, Framer};

use crate::account::{Accounts, DropReason, Ticket};
use crate::budget::{Budget, Reservation};
use crate::handover::{Block, Handover};
use crate::reader::Captured;
use crate::spares::Spares;

/// A batch is closed when its exchanges take this much. A megabyte compresses as well as ten.
const BATCH_BYTES: usize = 1 << 20;
/// A batch is closed when it has so many exchanges, however small.
const BATCH_EXCHANGES: u64 = 4096;
/// An exchange that would take a batch past this gets one of its own. A batch that is shared then fits into a frame
/// however badly it compresses, so an exchange that is too large drops alone.
const SHARED_BYTES: usize = 4 << 20;
/// So much is framed in one turn. With the compressor at its most thorough that takes a few tenths of a millisecond, in which
/// the sender, on the same thread, cannot see that a socket has room again or that an answer has come.
const TURN_BYTES: u64 = 120 << 10;
/// What an exchange takes besides its bodies, about.
const EXCHANGE_BYTES: usize = 512;

/// Identity of what is sent: this boot, this model, this pod.
#[derive(Debug, Clone)]
pub(crate) struct Identity {
    pub(crate) boot_id: uuid::Uuid,
    pub(crate) model: String,
    pub(crate) instance: String,
}

/// A framed batch that waits for the collector.
#[derive(Debug)]
pub(crate) struct Pending {
    pub(crate) frame: Bytes,
    pub(crate) last_sequence: u64,
    /// Of all its exchanges.
    pub(crate) ticket: Ticket,
    /// The frame's bytes in the budget.
    pub(crate) _reservation: Reservation,
}

/// The batch that is being filled. Exchanges are encoded as they come, and their bodies let go.
#[derive(Debug)]
pub(crate) struct Batcher {
    identity: Identity,
    accounts: Arc<Accounts>,
    budget: Arc<Budget>,
    framer: Framer,
    spares: Arc<Spares>,
    handover: Arc<Handover>,
    last_sequence: u64,
    /// Of everything that was ever added, before compression.
    total_bytes: u64,
    /// How much that was when the turn began.
    turn_began: u64,
    open: Option<Open>,
}

/// What is in the batch.
#[derive(Debug)]
struct Open {
    first_sequence: u64,
    ticket: Ticket,
    reservation: Reservation,
    since: Instant,
}

impl Batcher {
    pub(crate) fn new(
        identity: Identity,
        accounts: Arc<Accounts>,
        budget: Arc<Budget>,
        spares: Arc<Spares>,
        handover: Arc<Handover>,
    ) -> Result<Self, FrameError> {
        let framer = Framer::new()?;
        let (last_sequence, total_bytes, turn_began) = (0, 0, 0);
        Ok(Self {
            identity,
            accounts,
            budget,
            framer,
            spares,
            handover,
            last_sequence,
            total_bytes,
            turn_began,
            open: None,
        })
    }

    /// Numbers an exchange and adds it. `since` is when the batch is open from, should it be the first. Gives the batch
    /// that had to be closed before it.
    pub(crate) fn add(&mut self, captured: Captured, sequence: u64, since: Instant) -> Option<Pending> {
        let Captured { mut exchange, ticket, reservation } = captured;
        let closed = self.make_room(estimate(&exchange));
        self.handover.number(&mut exchange, sequence);
        self.keep_up();
        self.framer.add(&exchange);
        self.hold(sequence, ticket, reservation, since);
        self.spares.give(exchange);
        closed
    }

    /// Adds exchanges that are encoded already. Gives the batch that had to be closed before them.
    pub(crate) fn add_block(&mut self, block: Block) -> Option<Pending> {
        let (first_sequence, last_sequence, since) = (block.first_sequence, block.last_sequence(), block.since);
        let closed = self.make_room(block.encoded().len());
        self.keep_up();
        self.framer.add_encoded(block.encoded());
        let (memory, ticket, reservation) = block.into_parts();
        self.hold(first_sequence, ticket, reservation, since);
        self.last_sequence = last_sequence;
        self.handover.give_back(memory);
        closed
    }

    /// Counts bytes that are about to be added, and closes the batch if they would make it too large.
    fn make_room(&mut self, bytes: usize) -> Option<Pending> {
        self.total_bytes += bytes as u64;
        if self.framer.raw_bytes() + bytes > SHARED_BYTES { self.close() } else { None }
    }

    /// Compresses less well while exchanges come faster than they are framed: what the budget has no room for is lost, and
    /// twice the bytes are only sent.
    fn keep_up(&mut self) {
        self.framer.set_effort(if self.budget.is_filling_up() { Effort::Quick } else { Effort::Full });
    }

    /// Takes over what exchanges bring that were framed, the first of which has this number.
    fn hold(&mut self, sequence: u64, ticket: Ticket, reservation: Reservation, since: Instant) {
        let open = match &mut self.open {
            Some(open) => {
                open.ticket.absorb(ticket);
                open.reservation.absorb(reservation);
                open
            }
            none => none.insert(Open { first_sequence: sequence, ticket, reservation, since }),
        };
        open.reservation.hold_exactly(self.framer.bytes());
        self.last_sequence = sequence;
    }

    /// The number of the last exchange that was added.
    pub(crate) fn last_sequence(&self) -> u64 {
        self.last_sequence
    }

    /// Bytes of everything that was ever added, before compression.
    pub(crate) fn total_bytes(&self) -> u64 {
        self.total_bytes
    }

    /// Whether so much was framed that others on this thread must have their turn. The next one begins then.
    pub(crate) fn ends_turn(&mut self) -> bool {
        let is_over = self.total_bytes - self.turn_began >= TURN_BYTES;
        if is_over {
            self.turn_began = self.total_bytes;
        }
        is_over
    }

    pub(crate) fn is_full(&self) -> bool {
        self.framer.raw_bytes() >= BATCH_BYTES
            || self.open.as_ref().is_some_and(|open| open.ticket.exchanges() >= BATCH_EXCHANGES)
    }

    /// When the oldest exchange in it came.
    pub(crate) fn open_since(&self) -> Option<Instant> {
        self.open.as_ref().map(|open| open.since)
    }

    /// Closes the batch. None when it is empty, or could not be framed: its exchanges are then counted as too large.
    pub(crate) fn close(&mut self) -> Option<Pending> {
        let Open { first_sequence, ticket, reservation, .. } = self.open.take()?;
        let last_sequence = self.last_sequence;
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let batch = Batch {
            boot_id: self.identity.boot_id.as_bytes().to_vec(),
            model: self.identity.model.clone(),
            instance: self.identity.instance.clone(),
            sent_at_micros: wall.as_micros() as i64,
            first_sequence,
            last_sequence,
            account: Some(self.accounts.account()),
            exchanges: Vec::new(),
            sidecar_version: env!("CARGO_PKG_VERSION").to_owned(),
        };
        // What is compressed is reserved already; this is the frame that it is copied into.
        let compressed = self.budget.overdraw(self.framer.bytes());
        let framed = self.framer.finish(&batch);
        self.framer.shrink_to(2 * BATCH_BYTES);
        drop(compressed);
        match framed {
            Ok(frame) => {
                let frame = Bytes::from(frame);
                Some(Pending { last_sequence, ticket, _reservation: reservation.framed(frame.len()), frame })
            }
            Err(error) => {
                tracing::warn!(%error, exchanges = ticket.exchanges(), "a batch cannot be framed, and is dropped");
                ticket.dropped(DropReason::TooLarge);
                None
            }
        }
    }
}

fn estimate(exchange: &Exchange) -> usize {
    let size = |body: &Option<Body>| body.as_ref().map_or(0, |body| body.content.len());
    EXCHANGE_BYTES + size(&exchange.request) + size(&exchange.response)
}

#[cfg(test)]
mod tests {
    use driftline_protocol::frame;
    use prometheus::Registry;

    use super::*;

    struct Fixture {
        accounts: Arc<Accounts>,
        budget: Arc<Budget>,
        handover: Arc<Handover>,
        batcher: Batcher,
    }

    fn fixture() -> Fixture {
        let accounts = Accounts::new(&Registry::new()).unwrap();
        let budget = Budget::new(256 << 20);
        let identity = Identity { boot_id: uuid::Uuid::from_u128(7), model: "m".into(), instance: "i".into() };
        let handover = Arc::new(Handover::new(identity.boot_id));
        let batcher =
            Batcher::new(identity, Arc::clone(&accounts), Arc::clone(&budget), Arc::default(), Arc::clone(&handover));
        Fixture { accounts, budget, handover, batcher: batcher.unwrap() }
    }

    impl Fixture {
        fn captured(&self, body: Vec<u8>) -> Captured {
            let reservation = self.budget.reserve(1024 + body.len()).unwrap();
            let body = Body { size: body.len() as u64, content: body.into(), ..Body::default() };
            let exchange = Exchange { request: Some(body), ..Exchange::default() };
            Captured { exchange: Box::new(exchange), ticket: self.accounts.ticket(), reservation }
        }

        fn add(&mut self, body: Vec<u8>) -> Option<Pending> {
            let captured = self.captured(body);
            self.batcher.add(captured, self.batcher.last_sequence + 1, Instant::now())
        }

        fn dropped(&self) -> u64 {
            self.accounts.account().dropped.iter().map(|dropped| dropped.count).sum()
        }
    }

    fn noise(bytes: usize) -> Vec<u8> {
        let mut state = 0x9e37_79b9_7f4a_7c15u64;
        let byte = |_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 32) as u8
        };
        (0..bytes).map(byte).collect()
    }

    #[test]
    fn a_batch_reads_as_it_was_added_and_has_one_ticket_and_its_frames_bytes() {
        let mut fixture = fixture();
        for _ in 0..10 {
            assert!(fixture.add(vec![b'x'; 20_000]).is_none());
        }
        let pending = fixture.batcher.close().unwrap();
        let batch = frame::decode(&pending.frame).unwrap();
        assert_eq!((batch.first_sequence, batch.last_sequence, batch.exchanges.len()), (1, 10, 10));
        assert_eq!(batch.exchanges[9].request_id, "00000000000000000000000000000007-10");
        assert_eq!(batch.sidecar_version, env!("CARGO_PKG_VERSION"));
        assert_eq!((pending.ticket.exchanges(), pending.last_sequence), (10, 10));
        assert_eq!(fixture.budget.used(), pending.frame.len());
        drop(pending);
        assert_eq!((fixture.budget.used(), fixture.dropped()), (0, 10));
        assert!(fixture.batcher.close().is_none());
    }

    #[test]
    fn encoded_and_whole_exchanges_make_one_batch_in_the_order_of_their_numbers() {
        let mut fixture = fixture();
        let spares = Spares::default();
        let large = fixture.captured(vec![b'l'; 20_000]);
        fixture.handover.put(large, &spares).unwrap();
        for _ in 0..300 {
            let small = fixture.captured(noise(1000));
            fixture.handover.put(small, &spares).unwrap();
        }
        let cut = fixture.handover.cut().unwrap();
        assert_eq!((cut.blocks.len(), cut.whole, cut.first_whole_sequence), (3, 1, 301));
        assert_eq!(fixture.handover.waiting(0), 302);
        for block in cut.blocks {
            assert!(fixture.batcher.add_block(block).is_none());
        }
        let whole = fixture.handover.pop_whole().unwrap();
        assert!(fixture.batcher.add(whole, cut.first_whole_sequence, Instant::now()).is_none());
        assert_eq!(fixture.handover.waiting(fixture.batcher.last_sequence()), 0);
        let pending = fixture.batcher.close().unwrap();
        let batch = frame::decode(&pending.frame).unwrap();
        assert_eq!((batch.first_sequence, batch.last_sequence, pending.ticket.exchanges()), (1, 301, 301));
        assert!(batch.exchanges.iter().map(|exchange| exchange.sequence).eq(1..=301));
        assert_eq!(batch.exchanges[299].request_id, "00000000000000000000000000000007-300");
        assert_eq!(batch.exchanges[300].request.as_ref().unwrap().size, 20_000);
        assert_eq!(fixture.budget.used(), pending.frame.len());
        pending.ticket.delivered();
        assert_eq!(fixture.accounts.account().delivered, 301);
    }

    #[test]
    fn a_turn_ends_when_as_much_was_framed_as_is_compressed_at_once() {
        let mut fixture = fixture();
        let mut ends = |bytes: usize| {
            drop(fixture.add(noise(bytes)));
            fixture.batcher.ends_turn()
        };
        assert!((0..20).all(|_| ends(128_000)), "each of them takes as long as a block");
        assert!((0..190).all(|_| !ends(100)), "others on the thread are not asked for each of the small ones");
        assert_eq!((0..1000).filter(|_| ends(100)).count(), 5);
    }

    #[test]
    fn while_the_budget_fills_up_it_is_quick_rather_than_thorough() {
        let mut fixture = fixture();
        let budget = Arc::clone(&fixture.budget);
        let digits: Vec<u8> = noise(100_000).into_iter().map(|byte| b'0' + byte % 10).collect();
        let mut frame_bytes = || {
            assert!(fixture.add(digits.clone()).is_none());
            fixture.batcher.close().unwrap().frame.len()
        };
        assert!(frame_bytes() < digits.len() / 2);
        let waits = budget.reserve(budget.limit() / 2).unwrap();
        assert!(frame_bytes() > digits.len());
        drop(waits);
        assert!(frame_bytes() < digits.len() / 2);
    }

    #[test]
    fn an_exchange_that_is_too_large_drops_alone() {
        let mut fixture = fixture();
        assert!(fixture.add(noise(1000)).is_none());
        let before = fixture.add(noise(frame::MAX_FRAME_BYTES)).unwrap();
        assert_eq!(before.ticket.exchanges(), 1);
        assert!(fixture.batcher.is_full() && fixture.batcher.close().is_none());
        assert_eq!(fixture.dropped(), 1);
        assert!(fixture.add(noise(1000)).is_none());
        let after = fixture.batcher.close().unwrap();
        assert_eq!((after.ticket.exchanges(), after.last_sequence), (1, 3));
        before.ticket.delivered();
        after.ticket.delivered();
        assert_eq!(fixture.accounts.account().delivered, 2);
    }
}
