//! The account of every exchange: `seen = delivered + Σ dropped{reason}`, by construction.
//!
//! An exchange that is to be captured takes a [`Ticket`], which counts it as seen. The ticket travels with it, and is
//! settled once: as delivered, or as dropped for a reason. One that is lost on the way (a panic, a forgotten branch)
//! settles itself as [`DropReason::Lost`] when it is dropped, so no path through the code can break the law.

use std::sync::Arc;

use driftline_protocol::{Account, Dropped};
use prometheus::{IntCounter, IntCounterVec, Opts, Registry};

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
    /// The sidecar stopped before it could be sent.
    Shutdown,
    /// It was lost inside the sidecar; its reader failed.
    Lost,
}

impl DropReason {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Budget,
        Self::Sampled,
        Self::TooManyStreams,
        Self::QueueFull,
        Self::Rejected,
        Self::TooLarge,
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
            Self::Shutdown => "shutdown",
            Self::Lost => "lost",
        }
    }

    fn index(self) -> usize {
        match self {
            Self::Budget => 0,
            Self::Sampled => 1,
            Self::TooManyStreams => 2,
            Self::QueueFull => 3,
            Self::Rejected => 4,
            Self::TooLarge => 5,
            Self::Shutdown => 6,
            Self::Lost => 7,
        }
    }
}

/// The counters. They only grow.
#[derive(Debug)]
pub(crate) struct Accounts {
    seen: IntCounter,
    captured: IntCounter,
    delivered: IntCounter,
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
        registry.register(Box::new(seen.clone()))?;
        registry.register(Box::new(captured.clone()))?;
        registry.register(Box::new(delivered.clone()))?;
        registry.register(Box::new(dropped.clone()))?;
        let dropped = DropReason::ALL.map(|reason| dropped.with_label_values(&[reason.name()]));
        Ok(Arc::new(Self { seen, captured, delivered, dropped }))
    }

    /// Counts an exchange as seen.
    pub(crate) fn ticket(self: &Arc<Self>) -> Ticket {
        self.seen.inc();
        Ticket { accounts: Some(Arc::clone(self)) }
    }

    /// Counts an exchange as captured: finished, kept, and drawn by the sample.
    pub(crate) fn captured(&self) {
        self.captured.inc();
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

/// One exchange's place in the account.
#[derive(Debug)]
#[must_use = "a ticket that is let go counts its exchange as lost"]
pub(crate) struct Ticket {
    accounts: Option<Arc<Accounts>>,
}

impl Ticket {
    pub(crate) fn delivered(mut self) {
        if let Some(accounts) = self.accounts.take() {
            accounts.delivered.inc();
        }
    }

    pub(crate) fn dropped(mut self, reason: DropReason) {
        if let Some(accounts) = self.accounts.take() {
            accounts.dropped[reason.index()].inc();
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if let Some(accounts) = self.accounts.take() {
            accounts.dropped[DropReason::Lost.index()].inc();
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn whatever_happens_to_tickets_the_account_adds_up(fates in proptest::collection::vec(0usize..11, 0..200)) {
            let accounts = Accounts::new(&Registry::new()).unwrap();
            let mut on_their_way = Vec::new();
            for fate in fates {
                let ticket = accounts.ticket();
                match DropReason::ALL.get(fate) {
                    Some(DropReason::Lost) => drop(ticket),
                    Some(reason) => ticket.dropped(*reason),
                    None if fate == 9 => ticket.delivered(),
                    None => on_their_way.push(ticket),
                }
            }
            let account = accounts.account();
            let dropped: u64 = account.dropped.iter().map(|dropped| dropped.count).sum();
            prop_assert_eq!(account.seen, account.delivered + dropped + on_their_way.len() as u64);
        }
    }
}
