//! Gathering exchanges into framed batches.

use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use driftline_protocol::{Batch, Exchange, frame};

use crate::account::{Accounts, DropReason, Ticket};
use crate::budget::Reservation;
use crate::reader::Captured;

/// A batch is closed when its exchanges hold this much. A megabyte compresses as well as ten.
const BATCH_BYTES: usize = 1 << 20;
/// A batch is closed when it has so many exchanges, however small.
const BATCH_EXCHANGES: usize = 4096;

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
    pub(crate) tickets: Vec<Ticket>,
    /// The frame's bytes in the budget.
    _reservation: Option<Reservation>,
}

impl Pending {
    pub(crate) fn settle(self, settle: impl Fn(Ticket)) {
        self.tickets.into_iter().for_each(settle);
    }
}

/// The batch that is being filled.
#[derive(Debug)]
pub(crate) struct Batcher {
    identity: Identity,
    accounts: Arc<Accounts>,
    next_sequence: u64,
    exchanges: Vec<Exchange>,
    tickets: Vec<Ticket>,
    reservation: Option<Reservation>,
    bytes: usize,
    opened: Option<Instant>,
}

impl Batcher {
    pub(crate) fn new(identity: Identity, accounts: Arc<Accounts>) -> Self {
        Self {
            identity,
            accounts,
            next_sequence: 1,
            exchanges: Vec::new(),
            tickets: Vec::new(),
            reservation: None,
            bytes: 0,
            opened: None,
        }
    }

    /// Numbers an exchange and adds it.
    pub(crate) fn add(&mut self, captured: Captured, now: Instant) {
        let Captured { mut exchange, ticket, reservation } = captured;
        exchange.sequence = self.next_sequence;
        self.next_sequence += 1;
        if exchange.request_id.is_empty() {
            exchange.request_id = format!("{}-{}", self.identity.boot_id.simple(), exchange.sequence);
        }
        let size = |body: &Option<driftline_protocol::Body>| body.as_ref().map_or(0, |body| body.content.len());
        self.bytes += 256 + size(&exchange.request) + size(&exchange.response);
        self.exchanges.push(exchange);
        self.tickets.push(ticket);
        match &mut self.reservation {
            Some(mine) => mine.absorb(reservation),
            None => self.reservation = Some(reservation),
        }
        self.opened.get_or_insert(now);
    }

    pub(crate) fn is_full(&self) -> bool {
        self.bytes >= BATCH_BYTES || self.exchanges.len() >= BATCH_EXCHANGES
    }

    /// When the oldest exchange in it came.
    pub(crate) fn opened(&self) -> Option<Instant> {
        self.opened
    }

    /// Closes the batch. None when it is empty, or could not be framed: its exchanges are then counted as too large.
    pub(crate) fn close(&mut self) -> Option<Pending> {
        self.opened = None;
        self.bytes = 0;
        let exchanges = std::mem::take(&mut self.exchanges);
        let tickets = std::mem::take(&mut self.tickets);
        let reservation = self.reservation.take();
        let (first, last) = (exchanges.first()?.sequence, exchanges.last()?.sequence);
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let batch = Batch {
            boot_id: self.identity.boot_id.as_bytes().to_vec(),
            model: self.identity.model.clone(),
            instance: self.identity.instance.clone(),
            sent_at_micros: wall.as_micros() as i64,
            first_sequence: first,
            last_sequence: last,
            account: Some(self.accounts.account()),
            exchanges,
        };
        match frame::encode(&batch) {
            Ok(frame) => {
                drop(batch);
                let mut reservation = reservation;
                if let Some(reservation) = &mut reservation {
                    reservation.shrink_to(frame.len());
                }
                Some(Pending { frame: frame.into(), last_sequence: last, tickets, _reservation: reservation })
            }
            Err(error) => {
                tracing::warn!(%error, exchanges = tickets.len(), "a batch cannot be framed, and is dropped");
                tickets.into_iter().for_each(|ticket| ticket.dropped(DropReason::TooLarge));
                None
            }
        }
    }
}
