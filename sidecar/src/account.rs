//! The account of every exchange: `seen = delivered + Σ dropped{reason} + on their way`, by construction.
//!
//! An exchange that is to be captured takes a [`Ticket`], which counts it as seen. The ticket travels with it, and is
//! settled once: as delivered, or as dropped for a reason. One that is lost on the way (a panic, a forgotten branch)
//! settles itself as [`DropReason::Lost`] when it is dropped, so no path through the code can break the law. Exchanges
//! that travel together share one ticket, which knows how many they are: a batch has one, and so has a segment of the
//! spool.
//!
//! What is in the spool is on its way, and `driftline_sidecar_exchanges_spooled` says how many those are
//! ([`Spooled`]). What is still there when the sidecar stops is neither delivered nor dropped: the next start on the same
//! folder delivers it. So after a stop `seen = delivered + Σ dropped + spooled`, to the last exchange. The account belongs
//! to one boot: what a later one finds in the spool and delivers is none that it saw, so it counts apart, in
//! `driftline_sidecar_spool_recovered_exchanges_total`, and over all boots of a folder
//! `Σ spooled at stop = Σ recovered{outcome}`, unless a damaged segment hides how many it held.

use std::sync::Arc;

use driftline_protocol::{Account, Dropped};
use prometheus::{IntCounter, IntCounterVec, IntGauge, Opts, Registry};

/// Why an exchange was not delivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DropReason {
    /// The memory budget was full.
    Budget,
    /// The sample did not draw it. This is what the owner asked for, and no loss.
    Sampled,
    /// More streams were open on its HTTP/2 connection than the reader follows.
    TooManyStreams,
    /// The queue to the shipper was full.
    QueueFull,
    /// The collector refused it for good.
    Rejected,
    /// It was larger than a batch may be.
    TooLarge,
    /// The collector was away, and the spool was full.
    SpoolFull,
    /// It was in the spool, and the disk did not give it back whole.
    SpoolLost,
    /// The sidecar stopped before it could be sent.
    Shutdown,
    /// It was lost inside the sidecar; its reader failed.
    Lost,
}

impl DropReason {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::Budget,
        Self::Sampled,
        Self::TooManyStreams,
        Self::QueueFull,
        Self::Rejected,
        Self::TooLarge,
        Self::SpoolFull,
        Self::SpoolLost,
        Self::Shutdown,
        Self::Lost,
    ];

    /// The name by which metrics and batches know it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Budget => "budget",
            Self::Sampled => "sampled",
            Self::TooManyStreams => "too_many_streams",
            Self::QueueFull => "queue_full",
            Self::Rejected => "rejected",
            Self::TooLarge => "too_large",
            Self::SpoolFull => "spool_full",
            Self::SpoolLost => "spool_lost",
            Self::Shutdown => "shutdown",
            Self::Lost => "lost",
        }
    }

    /// Its place in [`Self::ALL`], which is in the order of declaration; a test holds that.
    fn index(self) -> usize {
        self as usize
    }
}

/// The counters. They only grow.
#[derive(Debug)]
pub(crate) struct Accounts {
    seen: IntCounter,
    captured: IntCounter,
    delivered: IntCounter,
    spooled: IntGauge,
    dropped: [IntCounter; DropReason::ALL.len()],
}

impl Accounts {
    pub(crate) fn new(registry: &Registry) -> Result<Arc<Self>, prometheus::Error> {
        let seen = IntCounter::new("driftline_sidecar_exchanges_seen_total", "Exchanges that were to be captured.")?;
        let captured = IntCounter::new(
            "driftline_sidecar_exchanges_captured_total",
            "Exchanges that passed to their end with their record kept, and that the sample drew.",
        )?;
        let delivered = IntCounter::new(
            "driftline_sidecar_exchanges_delivered_total",
            "Exchanges that the collector acknowledged.",
        )?;
        let dropped = IntCounterVec::new(
            Opts::new("driftline_sidecar_exchanges_dropped_total", "Exchanges that were lost, by reason."),
            &["reason"],
        )?;
        let spooled = IntGauge::new(
            "driftline_sidecar_exchanges_spooled",
            "Exchanges of this boot that wait in the spool on disk: on their way, neither delivered nor dropped.",
        )?;
        registry.register(Box::new(seen.clone()))?;
        registry.register(Box::new(captured.clone()))?;
        registry.register(Box::new(delivered.clone()))?;
        registry.register(Box::new(spooled.clone()))?;
        registry.register(Box::new(dropped.clone()))?;
        let dropped = DropReason::ALL.map(|reason| dropped.with_label_values(&[reason.name()]));
        Ok(Arc::new(Self { seen, captured, delivered, spooled, dropped }))
    }

    /// Counts an exchange as seen.
    pub(crate) fn ticket(self: &Arc<Self>) -> Ticket {
        self.seen.inc();
        Ticket { accounts: Some(Arc::clone(self)), exchanges: 1 }
    }

    /// Counts an exchange as captured: finished, kept, and drawn by the sample.
    pub(crate) fn captured(&self) {
        self.captured.inc();
    }

    /// Exchanges of this boot in the spool.
    pub(crate) fn spooled(&self) -> u64 {
        self.spooled.get().max(0) as u64
    }

    /// The account as it goes into a batch.
    pub(crate) fn account(&self) -> Account {
        let dropped = DropReason::ALL
            .into_iter()
            .map(|reason| Dropped { reason: reason.name().to_owned(), count: self.dropped[reason.index()].get() })
            .filter(|dropped| dropped.count > 0)
            .collect();
        // Seen is read last: what is on its way then never looks negative.
        let delivered = self.delivered.get();
        let captured = self.captured.get();
        Account { seen: self.seen.get(), captured, delivered, dropped }
    }
}

/// The place in the account of one exchange, or of some that travel together.
#[derive(Debug)]
#[must_use = "a ticket that is let go counts its exchanges as lost"]
pub(crate) struct Ticket {
    accounts: Option<Arc<Accounts>>,
    exchanges: u64,
}

impl Ticket {
    /// How many exchanges it stands for.
    pub(crate) fn exchanges(&self) -> u64 {
        self.exchanges
    }

    /// Makes two tickets one.
    pub(crate) fn absorb(&mut self, mut other: Self) {
        other.accounts = None;
        self.exchanges += std::mem::take(&mut other.exchanges);
    }

    /// A ticket for some of its exchanges, at most for all of them.
    pub(crate) fn split(&mut self, exchanges: u64) -> Self {
        let exchanges = exchanges.min(self.exchanges);
        self.exchanges -= exchanges;
        Self { accounts: self.accounts.clone(), exchanges }
    }

    pub(crate) fn delivered(mut self) {
        if let Some(accounts) = self.accounts.take() {
            accounts.delivered.inc_by(self.exchanges);
        }
    }

    pub(crate) fn dropped(mut self, reason: DropReason) {
        if let Some(accounts) = self.accounts.take() {
            accounts.dropped[reason.index()].inc_by(self.exchanges);
        }
    }

    /// Its exchanges are in the spool from now on.
    pub(crate) fn spooled(self) -> Spooled {
        if let Some(accounts) = &self.accounts {
            accounts.spooled.add(self.exchanges as i64);
        }
        Spooled { ticket: self }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if let Some(accounts) = self.accounts.take() {
            accounts.dropped[DropReason::Lost.index()].inc_by(self.exchanges);
        }
    }
}

/// The ticket of exchanges that are in the spool, and counted as being there.
#[derive(Debug)]
#[must_use = "a ticket that is let go counts its exchanges as lost"]
pub(crate) struct Spooled {
    ticket: Ticket,
}

impl Spooled {
    /// Makes two tickets one.
    pub(crate) fn absorb(&mut self, mut other: Self) {
        let ticket = &mut other.ticket;
        self.ticket.absorb(Ticket { accounts: None, exchanges: std::mem::take(&mut ticket.exchanges) });
    }

    /// The ticket of some exchanges that leave the spool, at most of all of them.
    pub(crate) fn take(&mut self, exchanges: u64) -> Ticket {
        let ticket = self.ticket.split(exchanges);
        if let Some(accounts) = &ticket.accounts {
            accounts.spooled.sub(ticket.exchanges as i64);
        }
        ticket
    }

    /// The ticket of all exchanges that are still there.
    pub(crate) fn take_all(&mut self) -> Ticket {
        self.take(u64::MAX)
    }

    /// The sidecar stops, and they stay in the spool for the next start: they remain counted as being there.
    pub(crate) fn stay(mut self) {
        self.ticket.accounts = None;
    }
}

impl Drop for Spooled {
    fn drop(&mut self) {
        if let Some(accounts) = &self.ticket.accounts {
            accounts.spooled.sub(self.ticket.exchanges as i64);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn whatever_happens_to_tickets_the_account_adds_up(fates in proptest::collection::vec((0usize..16, 1u64..5), 0..200)) {
            let accounts = Accounts::new(&Registry::new()).unwrap();
            let mut on_their_way = Vec::new();
            let mut spool: Option<Spooled> = None;
            for (fate, together) in fates {
                let mut ticket = accounts.ticket();
                (1..together).for_each(|_| ticket.absorb(accounts.ticket()));
                match DropReason::ALL.get(fate) {
                    Some(DropReason::Lost) => drop(ticket),
                    Some(reason) => ticket.dropped(*reason),
                    None if fate == 10 => ticket.delivered(),
                    None if fate == 11 => {
                        ticket.split(2).delivered();
                        ticket.dropped(DropReason::Rejected);
                    }
                    None if fate == 12 => match &mut spool {
                        Some(spool) => spool.absorb(ticket.spooled()),
                        None => spool = Some(ticket.spooled()),
                    },
                    None if fate == 13 => {
                        if let Some(spool) = &mut spool {
                            spool.take(together).delivered();
                        }
                        on_their_way.push(ticket);
                    }
                    None if fate == 14 => {
                        // The sidecar would stop here with something in the spool.
                        ticket.spooled().stay();
                    }
                    None => on_their_way.push(ticket),
                }
            }
            let account = accounts.account();
            let dropped: u64 = account.dropped.iter().map(|dropped| dropped.count).sum();
            let moving: u64 = on_their_way.iter().map(Ticket::exchanges).sum();
            prop_assert_eq!(account.seen, account.delivered + dropped + accounts.spooled() + moving);
        }
    }

    #[test]
    fn every_reason_has_its_place() {
        DropReason::ALL.into_iter().enumerate().for_each(|(place, reason)| assert_eq!(reason.index(), place));
    }
}
