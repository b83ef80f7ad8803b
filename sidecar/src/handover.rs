//! Where finished exchanges wait for the shipper: encoded, many to a block, or whole.
//!
//! ```text
//!   tap ──small, nothing to redact──▶ open block ──full──▶ full blocks ──▶ ┐
//!    └────all others────────────────▶ whole exchanges ───────────────────▶ ┴ shipper
//! ```
//!
//! A pump's thread encodes an exchange while its bodies are still in that core's cache, and uses its record again at once.
//! The shipper gets one piece of memory that is already what it compresses. Reading each record and its bodies on another
//! core, out of memory that is in no cache there, took it as long as compressing them did.
//!
//! The pump never waits here: the open block is locked for as long as one exchange is written into it, and whoever finds it
//! locked puts its exchange in whole. Nobody waits for the lock, so that nobody has to be woken when it is free.
//!
//! Exchanges are numbered here, because a batch holds a stretch of numbers, and its encoded ones have theirs already: those
//! in blocks when they are written, whole ones when the shipper takes what is there ([`Handover::cut`]).

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, TryLockError};
use std::time::Instant;

use crossbeam_queue::ArrayQueue;
use driftline_protocol::{Exchange, Framer};
use uuid::Uuid;

use crate::account::Ticket;
use crate::budget::Reservation;
use crate::reader::Captured;
use crate::spares::Spares;

/// Whole exchanges that may wait. The shipper looks every 3 ms under load, and has the time to be late; the queue itself
/// takes 48 bytes for each.
const MAX_WHOLE: usize = 4 << 10;
/// Full blocks that may wait: more exchanges than that, even of the largest.
const MAX_FULL_BLOCKS: usize = 128;
/// Emptied blocks that are kept: what comes in one tick of the shipper under full load, and one for each that is late.
const MAX_EMPTY_BLOCKS: usize = 8;
/// Of a block. As much as zstd takes at once, less what the allocator would ask the kernel for each time.
const BLOCK_BYTES: usize = 124 << 10;
/// Exchanges that take more go as they are: copying their bodies would keep the pump from other connections.
const MAX_ENCODED_BYTES: usize = 16 << 10;
/// What numbering adds to an exchange at most.
const NUMBER_BYTES: usize = 80;

/// What waits for the shipper. Bounded in every part; whatever does not fit comes back.
#[derive(Debug)]
pub(crate) struct Handover {
    id_prefix: String,
    open: Mutex<Option<Block>>,
    /// The number of the next exchange. It only changes while the open block is locked.
    next_sequence: AtomicU64,
    full: ArrayQueue<Block>,
    /// The last that was emptied is the first that is used again: it is still in a cache.
    empty: Mutex<Vec<Vec<u8>>>,
    whole: ArrayQueue<Captured>,
}

/// Exchanges that follow each other, as they are in a batch.
#[derive(Debug)]
pub(crate) struct Block {
    /// As long as a block may be, however much of it is written.
    memory: Vec<u8>,
    written: usize,
    pub(crate) first_sequence: u64,
    /// Of all its exchanges, whose numbers follow each other.
    ticket: Ticket,
    reservation: Reservation,
    /// When its first exchange came.
    pub(crate) since: Instant,
}

/// What there was at one moment.
#[derive(Debug)]
pub(crate) struct Cut {
    /// In the order of their numbers.
    pub(crate) blocks: Vec<Block>,
    /// How many whole exchanges come after them.
    pub(crate) whole: usize,
    /// The number of the first of those.
    pub(crate) first_whole_sequence: u64,
}

impl Handover {
    /// An empty one. Ids that are made for exchanges without one begin with the boot's.
    pub(crate) fn new(boot_id: Uuid) -> Self {
        Self {
            id_prefix: format!("{}-", boot_id.simple()),
            open: Mutex::new(None),
            next_sequence: AtomicU64::new(1),
            full: ArrayQueue::new(MAX_FULL_BLOCKS),
            empty: Mutex::new(Vec::with_capacity(MAX_EMPTY_BLOCKS)),
            whole: ArrayQueue::new(MAX_WHOLE),
        }
    }

    /// Takes an exchange as it is. It comes back when there is no room.
    pub(crate) fn put_whole(&self, captured: Captured) -> Result<(), Captured> {
        self.whole.push(captured)
    }

    /// Writes an exchange into the open block, and lets its record be used again. It comes back when there is no room.
    pub(crate) fn put(&self, mut captured: Captured, spares: &Spares) -> Result<(), Captured> {
        let bytes = Framer::most_encoded_bytes(&captured.exchange) + NUMBER_BYTES;
        if bytes > MAX_ENCODED_BYTES {
            return self.put_whole(captured);
        }
        let Some(mut open) = try_lock(&self.open) else { return self.put_whole(captured) };
        if let Some(full) = open.take_if(|block| block.room().len() < bytes)
            && let Err(full) = self.full.push(full)
        {
            *open = Some(full);
            return Err(captured);
        }
        let sequence = self.next_sequence.load(Ordering::Relaxed);
        self.number(&mut captured.exchange, sequence);
        let exchange = match &mut *open {
            Some(block) => {
                let Some(written) = Framer::encode(&captured.exchange, block.room()) else { return Err(captured) };
                block.add(written, captured)
            }
            none => {
                let mut memory = self.emptied().unwrap_or_else(|| vec![0; BLOCK_BYTES]);
                let Some(written) = Framer::encode(&captured.exchange, &mut memory) else { return Err(captured) };
                let Captured { exchange, ticket, mut reservation } = captured;
                reservation.hold_exactly(written);
                let since = Instant::now();
                *none = Some(Block { memory, written, first_sequence: sequence, ticket, reservation, since });
                exchange
            }
        };
        self.next_sequence.store(sequence + 1, Ordering::Relaxed);
        drop(open);
        spares.give(exchange);
        Ok(())
    }

    /// Gives an exchange its number, and an id if it has none.
    pub(crate) fn number(&self, exchange: &mut Exchange, sequence: u64) {
        exchange.sequence = sequence;
        if exchange.request_id.is_empty() {
            exchange.request_id.reserve_exact(self.id_prefix.len() + 20);
            exchange.request_id.push_str(&self.id_prefix);
            push_decimal(&mut exchange.request_id, sequence);
        }
    }

    /// The oldest full block.
    pub(crate) fn pop_full(&self) -> Option<Block> {
        self.full.pop()
    }

    /// All that is there now, the open block as well. None when a pump is just writing into it: soon, then.
    pub(crate) fn cut(&self) -> Option<Cut> {
        let mut open = try_lock(&self.open)?;
        let mut blocks: Vec<Block> = std::iter::from_fn(|| self.full.pop()).collect();
        blocks.extend(open.take());
        let whole = self.whole.len();
        let first_whole_sequence = self.next_sequence.load(Ordering::Relaxed);
        self.next_sequence.store(first_whole_sequence + whole as u64, Ordering::Relaxed);
        Some(Cut { blocks, whole, first_whole_sequence })
    }

    /// One of a cut's whole exchanges.
    pub(crate) fn pop_whole(&self) -> Option<Captured> {
        self.whole.pop()
    }

    /// Takes back a block's memory.
    pub(crate) fn give_back(&self, memory: Vec<u8>) {
        // Without room, there are enough.
        if let Some(mut empty) = try_lock(&self.empty).filter(|empty| empty.len() < MAX_EMPTY_BLOCKS) {
            empty.push(memory);
        }
    }

    /// Memory for a block, that one had before; none without such, or while the shipper gives some back.
    fn emptied(&self) -> Option<Vec<u8>> {
        try_lock(&self.empty)?.pop()
    }

    /// Whole exchanges that wait.
    pub(crate) fn whole(&self) -> usize {
        self.whole.len()
    }

    /// When the first exchange of the open block came; none without one, or while a pump writes into it.
    pub(crate) fn open_since(&self) -> Option<Instant> {
        try_lock(&self.open)?.as_ref().map(|block| block.since)
    }

    /// Exchanges that wait, for a shipper that has those up to a number.
    pub(crate) fn waiting(&self, last_sequence: u64) -> u64 {
        (self.next_sequence.load(Ordering::Relaxed) - 1).saturating_sub(last_sequence) + self.whole.len() as u64
    }
}

/// Adds a number's digits to a text. The standard library's formatting takes five times as long.
fn push_decimal(text: &mut String, mut number: u64) {
    let mut digits = [0; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            break;
        }
    }
    text.push_str(std::str::from_utf8(&digits[at..]).unwrap_or_default());
}

/// A lock that is not waited for.
pub(crate) fn try_lock<T>(mutex: &Mutex<T>) -> Option<MutexGuard<'_, T>> {
    match mutex.try_lock() {
        Ok(locked) => Some(locked),
        // Nothing that can panic leaves a block in between.
        Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
        Err(TryLockError::WouldBlock) => None,
    }
}

impl Block {
    /// Its exchanges, as they are in a batch.
    pub(crate) fn encoded(&self) -> &[u8] {
        self.memory.get(..self.written).unwrap_or_default()
    }

    pub(crate) fn last_sequence(&self) -> u64 {
        self.first_sequence + self.ticket.exchanges() - 1
    }

    /// What is left of its memory once its exchanges are in a batch.
    pub(crate) fn into_parts(self) -> (Vec<u8>, Ticket, Reservation) {
        (self.memory, self.ticket, self.reservation)
    }

    fn room(&mut self) -> &mut [u8] {
        self.memory.get_mut(self.written..).unwrap_or_default()
    }

    /// Takes over what an exchange brings that was written into its room, and gives back the record.
    fn add(&mut self, written: usize, captured: Captured) -> Box<Exchange> {
        let Captured { exchange, ticket, reservation } = captured;
        self.written += written;
        self.ticket.absorb(ticket);
        self.reservation.absorb(reservation);
        self.reservation.hold_exactly(self.written);
        exchange
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use driftline_protocol::{Batch, Body};
    use prometheus::Registry;
    use prost::Message as _;

    use super::*;
    use crate::account::{Accounts, DropReason};
    use crate::budget::Budget;

    struct Fixture {
        accounts: Arc<Accounts>,
        budget: Arc<Budget>,
        handover: Arc<Handover>,
        spares: Spares,
    }

    fn fixture() -> Fixture {
        Fixture {
            accounts: Accounts::new(&Registry::new()).unwrap(),
            budget: Budget::new(64 << 20),
            handover: Arc::new(Handover::new(Uuid::from_u128(7))),
            spares: Spares::default(),
        }
    }

    impl Fixture {
        fn captured(&self, body_bytes: usize) -> Captured {
            let body = Body { size: body_bytes as u64, content: vec![b'x'; body_bytes].into(), ..Body::default() };
            let exchange = Exchange { status: 200, response: Some(body), ..Exchange::default() };
            let reservation = self.budget.reserve(2048 + body_bytes).unwrap();
            Captured { exchange: Box::new(exchange), ticket: self.accounts.ticket(), reservation }
        }

        fn put(&self, body_bytes: usize) -> Result<(), Captured> {
            self.handover.put(self.captured(body_bytes), &self.spares)
        }

        fn settle(&self, cut: Cut) {
            cut.blocks.into_iter().for_each(|block| block.ticket.delivered());
            (0..cut.whole).filter_map(|_| self.handover.pop_whole()).for_each(|whole| whole.ticket.delivered());
        }
    }

    #[test]
    fn a_block_reads_as_its_exchanges_and_holds_what_they_take() {
        let fixture = fixture();
        (0..3).for_each(|_| fixture.put(700).unwrap());
        let since = fixture.handover.open_since().unwrap();
        let mut cut = fixture.handover.cut().unwrap();
        let block = cut.blocks.pop().unwrap();
        assert_eq!((block.first_sequence, block.last_sequence(), block.since), (1, 3, since));
        assert_eq!(fixture.budget.used(), block.encoded().len());
        let exchanges = Batch::decode(block.encoded()).unwrap().exchanges;
        assert!(exchanges.iter().map(|exchange| exchange.sequence).eq(1..=3));
        assert_eq!(exchanges[2].request_id, "00000000000000000000000000000007-3");
        assert_eq!(exchanges[2].response.as_ref().map(|body| body.content.len()), Some(700));
        assert!(fixture.spares.take().response.capacity() >= 700, "its record is used again");
        let memory = block.encoded().as_ptr();
        fixture.handover.give_back(block.into_parts().0);
        fixture.put(1).unwrap();
        let again = fixture.handover.cut().unwrap().blocks.pop().unwrap();
        assert_eq!((again.first_sequence, again.encoded().as_ptr()), (4, memory), "and so is the block's memory");
    }

    #[test]
    fn numbers_in_ids_read_as_the_standard_library_writes_them() {
        for number in [0, 7, 10, 4096, 99_999, u64::MAX - 1, u64::MAX] {
            let mut text = "id-".to_owned();
            push_decimal(&mut text, number);
            assert_eq!(text, format!("id-{number}"));
        }
    }

    #[test]
    fn who_finds_the_block_locked_waits_for_nobody() {
        let fixture = fixture();
        let locked = fixture.handover.open.lock().unwrap();
        fixture.put(700).unwrap();
        assert!(fixture.handover.cut().is_none() && fixture.handover.open_since().is_none());
        assert_eq!((fixture.handover.whole(), fixture.handover.waiting(0)), (1, 1));
        drop(locked);
        let cut = fixture.handover.cut().unwrap();
        assert_eq!((cut.blocks.len(), cut.whole, cut.first_whole_sequence), (0, 1, 1));
        fixture.put(700).unwrap();
        assert_eq!(fixture.handover.cut().unwrap().blocks[0].first_sequence, 2);
    }

    #[test]
    fn what_does_not_fit_comes_back_and_nothing_is_held_for_it() {
        let fixture = fixture();
        let mut taken = 0;
        while fixture.put(11 << 10).is_ok() {
            taken += 1;
        }
        assert_eq!(fixture.handover.full.len(), MAX_FULL_BLOCKS);
        assert!(taken > MAX_FULL_BLOCKS * 8, "{taken}");
        assert!(fixture.budget.used() < (MAX_FULL_BLOCKS + 1) * BLOCK_BYTES);
        fixture.put(11 << 10).err().unwrap().ticket.dropped(DropReason::QueueFull);
        (0..MAX_WHOLE).for_each(|_| fixture.handover.put_whole(fixture.captured(0)).unwrap());
        assert!(fixture.put(MAX_ENCODED_BYTES).is_err());
        fixture.settle(fixture.handover.cut().unwrap());
        assert_eq!(fixture.budget.used(), 0);
        let account = fixture.accounts.account();
        assert_eq!(account.delivered as usize, taken + MAX_WHOLE);
        assert!(fixture.put(700).is_ok(), "and then there is room again");
    }

    #[test]
    fn numbers_follow_each_other_whoever_puts_exchanges_in() {
        let fixture = fixture();
        let mut next = 1;
        let mut look = |cut: Cut| {
            for block in &cut.blocks {
                let exchanges = Batch::decode(block.encoded()).unwrap().exchanges;
                assert!(exchanges.iter().map(|exchange| exchange.sequence).eq(next..=block.last_sequence()));
                next = block.last_sequence() + 1;
            }
            assert_eq!(cut.first_whole_sequence, next);
            next += cut.whole as u64;
            fixture.settle(cut);
        };
        std::thread::scope(|scope| {
            let pump = || (0..2000).for_each(|turn| fixture.put(if turn % 50 == 0 { 20_000 } else { 300 }).unwrap());
            let pumps = [scope.spawn(pump), scope.spawn(pump)];
            while !pumps.iter().all(std::thread::ScopedJoinHandle::is_finished) {
                fixture.handover.cut().into_iter().for_each(&mut look);
            }
        });
        look(fixture.handover.cut().unwrap());
        assert_eq!((next, fixture.accounts.account().delivered), (4001, 4000));
        assert_eq!((fixture.handover.waiting(4000), fixture.budget.used()), (0, 0));
    }
}
