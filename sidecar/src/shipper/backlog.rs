//! What waits for the collector, in order: batches in memory, and stretches of the spool.
//!
//! Order is a law here. The collector knows a boot's exchanges by one number, up to which they are durable; an older
//! batch that comes after a newer one looks like a repetition, and would be lost in silence.
//!
//! Without a spool everything waits in memory, and what bounds it is the budget that frames are reserved in. With one, a
//! batch goes to disk when the collector is away, when more than a few wait already, or when older ones are on disk. If
//! the disk does not take it, it waits in memory all the same, between what is on disk before and after it.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;

use bytes::Bytes;
use tokio::sync::Notify;

use super::batcher::Pending;
use super::spool::{Next, Position, Recovered, Refusal, Spool};
use crate::account::DropReason;

/// Batches that wait in memory before the spool is used: a second of a collector that hesitates.
const MEMORY_BATCHES: usize = 4;

#[derive(Debug)]
pub(super) struct Backlog {
    state: RefCell<State>,
    pub(super) changed: Notify,
    closed: Cell<bool>,
}

#[derive(Debug)]
struct State {
    entries: VecDeque<Entry>,
    spool: Option<Spool>,
    /// Entries that are in memory.
    in_memory: usize,
    /// Whether the first batch is being sent.
    in_flight: bool,
    /// Whether the collector did not take the last batch that it was sent.
    is_away: bool,
}

#[derive(Debug)]
enum Entry {
    Memory(Pending),
    /// What is in the spool up to a position.
    Spooled(Position),
}

/// What became of a batch that was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Settlement {
    Delivered,
    Rejected,
}

/// The batch that is next.
#[derive(Debug)]
pub(super) enum First {
    Batch { frame: Bytes, last_sequence: u64 },
    Nothing,
    NotNow(String),
}

impl Backlog {
    pub(super) fn new(spool: Option<Spool>) -> Self {
        let left = spool.as_ref().and_then(Spool::end);
        let entries = left.map(Entry::Spooled).into_iter().collect();
        let state = State { entries, spool, in_memory: 0, in_flight: false, is_away: false };
        Self { state: RefCell::new(state), changed: Notify::new(), closed: Cell::new(false) }
    }

    pub(super) fn push(&self, batch: Pending) {
        self.state.borrow_mut().push(batch);
        self.changed.notify_one();
    }

    /// Nothing comes any more.
    pub(super) fn close(&self) {
        self.closed.set(true);
        self.changed.notify_one();
    }

    pub(super) fn is_closed(&self) -> bool {
        self.closed.get()
    }

    /// Batches in memory.
    pub(super) fn in_memory(&self) -> usize {
        self.state.borrow().in_memory
    }

    /// The oldest batch. It stays the first until it is settled.
    pub(super) fn first(&self) -> First {
        self.state.borrow_mut().first()
    }

    /// The oldest batch was taken, or refused for good. Says how many exchanges it had.
    pub(super) fn settle_first(&self, settlement: Settlement) -> u64 {
        self.state.borrow_mut().settle_first(settlement)
    }

    /// The oldest batch was not taken. What is in memory goes to the spool, where a crash of the sidecar costs nothing.
    pub(super) fn not_taken(&self) {
        let mut state = self.state.borrow_mut();
        state.in_flight = false;
        state.is_away = true;
        if let Some(spool) = &mut state.spool {
            spool.release_first();
        }
        state.spill_front();
    }

    /// The sidecar stops: what the spool takes stays there, and the rest is dropped. Says how many exchanges that is.
    pub(super) fn stop(self) -> u64 {
        self.state.into_inner().stop()
    }
}

impl State {
    fn is_all_in_memory(&self) -> bool {
        self.in_memory == self.entries.len()
    }

    fn push(&mut self, batch: Pending) {
        let must_wait = self.is_away || !self.is_all_in_memory() || self.in_memory >= MEMORY_BATCHES;
        if self.spool.is_none() || !must_wait {
            return self.push_memory(batch);
        }
        if self.is_all_in_memory() {
            let kept = usize::from(self.in_flight).min(self.entries.len());
            let older = self.entries.split_off(kept);
            self.in_memory = self.entries.len();
            for entry in older {
                let Entry::Memory(older) = entry else { continue };
                self.push_spool(older, false);
            }
        }
        self.push_spool(batch, true);
    }

    fn push_memory(&mut self, batch: Pending) {
        self.in_memory += 1;
        self.entries.push_back(Entry::Memory(batch));
    }

    /// Puts a batch at the spool's end. What the disk does not take stays in memory, in its place in the order; the newest
    /// is dropped when the spool is full.
    fn push_spool(&mut self, batch: Pending, is_newest: bool) {
        let Some(spool) = &mut self.spool else { return self.push_memory(batch) };
        match spool.append(batch) {
            Ok(position) => match self.entries.back_mut() {
                Some(Entry::Spooled(until)) => *until = position,
                _ => self.entries.push_back(Entry::Spooled(position)),
            },
            Err((batch, Refusal::Full)) if is_newest => batch.ticket.dropped(DropReason::SpoolFull),
            Err((batch, _)) => self.push_memory(batch),
        }
    }

    fn first(&mut self) -> First {
        loop {
            let until = match self.entries.front() {
                None => return First::Nothing,
                Some(Entry::Memory(batch)) => {
                    self.in_flight = true;
                    return First::Batch { frame: batch.frame.clone(), last_sequence: batch.last_sequence };
                }
                Some(Entry::Spooled(until)) => *until,
            };
            match self.spool.as_mut().map_or(Next::Nothing, |spool| spool.first(until)) {
                Next::Batch { frame, last_sequence } => {
                    self.in_flight = true;
                    return First::Batch { frame, last_sequence };
                }
                Next::Nothing => drop(self.entries.pop_front()),
                Next::NotNow(why) => return First::NotNow(why),
            }
        }
    }

    fn settle_first(&mut self, settlement: Settlement) -> u64 {
        (self.in_flight, self.is_away) = (false, false);
        match self.entries.front() {
            None => 0,
            Some(Entry::Spooled(_)) => {
                let outcome = match settlement {
                    Settlement::Delivered => Recovered::Delivered,
                    Settlement::Rejected => Recovered::Rejected,
                };
                self.spool.as_mut().map_or(0, |spool| spool.settle_first(outcome))
            }
            Some(Entry::Memory(_)) => {
                let Some(Entry::Memory(batch)) = self.entries.pop_front() else { return 0 };
                self.in_memory -= 1;
                let exchanges = batch.ticket.exchanges();
                match settlement {
                    Settlement::Delivered => batch.ticket.delivered(),
                    Settlement::Rejected => batch.ticket.dropped(DropReason::Rejected),
                }
                exchanges
            }
        }
    }

    /// Moves the batches that wait in memory before anything that is on disk to the spool.
    fn spill_front(&mut self) {
        let Some(spool) = &mut self.spool else { return };
        let mut waiting = VecDeque::new();
        while let Some(entry) = self.entries.pop_front() {
            match entry {
                Entry::Memory(batch) => waiting.push_back(batch),
                spooled @ Entry::Spooled(_) => {
                    self.entries.push_front(spooled);
                    break;
                }
            }
        }
        if waiting.is_empty() {
            return;
        }
        self.in_memory -= waiting.len();
        if self.entries.is_empty() {
            for batch in waiting {
                self.push_spool(batch, false);
            }
            return;
        }
        let position = spool.prepend(&mut waiting);
        self.in_memory += waiting.len();
        waiting.into_iter().rev().for_each(|batch| self.entries.push_front(Entry::Memory(batch)));
        if let Some(position) = position {
            self.entries.push_front(Entry::Spooled(position));
        }
    }

    fn stop(mut self) -> u64 {
        self.in_flight = false;
        self.spill_front();
        let mut dropped = 0;
        let entries = std::mem::take(&mut self.entries);
        let last_spooled = entries.iter().rposition(|entry| matches!(entry, Entry::Spooled(_)));
        for (place, entry) in entries.into_iter().enumerate() {
            let Entry::Memory(batch) = entry else { continue };
            // What is older than something on disk would be taken for a repetition when it comes later.
            let is_older = last_spooled.is_some_and(|last| place < last);
            let left = match &mut self.spool {
                Some(spool) if !is_older => spool.append(batch).err().map(|(batch, _)| batch),
                _ => Some(batch),
            };
            if let Some(batch) = left {
                dropped += batch.ticket.exchanges();
                batch.ticket.dropped(DropReason::Shutdown);
            }
        }
        if let Some(spool) = self.spool {
            spool.stop();
        }
        dropped
    }
}

#[cfg(test)]
mod tests;
