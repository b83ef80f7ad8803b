//! The shipper: empties the handover on a timer, batches, and sends until the collector says that it is durable.
//!
//! ```text
//!   handover ──▶ gather ▸ batcher ──frames──▶ backlog: memory, or the spool on disk ──▶ sender ──▶ collector
//! ```
//!
//! It runs on a thread of its own. The pump never waits for it and never wakes it: waking another thread for each
//! exchange costs as much as pumping it does.

mod backlog;
mod batcher;
mod client;
mod credentials;
mod sender;
pub(crate) mod spool;

use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tracing::{error, warn};

use backlog::Backlog;
pub(crate) use batcher::Identity;
use batcher::{Batcher, Pending};
pub(crate) use client::Client;
pub(crate) use credentials::{CredentialFiles, Credentials};
use sender::{Sender, told_to_drain};
use spool::Spool;

use crate::handover::{Cut, Handover};
use crate::metrics::Metrics;
use crate::rules::SharedRules;
use crate::spans::Spans;
use crate::spares::Spares;

/// How often the handover is emptied under load. At 40,000 exchanges a second 120 wait in it meanwhile, and are still in a
/// cache when they are shipped.
const SHORTEST_TICK: Duration = Duration::from_millis(3);
/// How often it is looked at when there is little in it. A burst after a pause has this long to fill it: more than 80,000
/// exchanges a second would have to come, even if all were whole.
const LONGEST_TICK: Duration = Duration::from_millis(50);
/// With fewer exchanges than this the next tick comes later, with more than four times as many earlier.
const FEW: u64 = 64;
/// The same in bytes: of exchanges of 128 KB, 64 are half of what may wait uncompressed by default.
const FEW_BYTES: u64 = 256 << 10;

/// What the shipper needs.
#[derive(Debug)]
pub(crate) struct Shipper {
    pub(crate) identity: Identity,
    pub(crate) handover: Arc<Handover>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) flush_interval: Duration,
    pub(crate) flush_budget: Duration,
    pub(crate) budget: Arc<crate::budget::Budget>,
    pub(crate) rules: SharedRules,
    pub(crate) spares: Arc<Spares>,
    pub(crate) spans: Option<Spans>,
    pub(crate) spool: Option<Spool>,
}

impl Shipper {
    /// Ships until `draining` is true, then sends what is left for as long as the flush budget lasts. What is not sent by
    /// then stays in the spool, or is dropped without one.
    pub(crate) async fn run(mut self, client: Client, draining: watch::Receiver<bool>) {
        let backlog = Backlog::new(self.spool.take());
        let sender = Sender::new(client, Arc::clone(&self.metrics), Arc::clone(&self.budget), draining.clone());
        {
            let mut send = pin!(sender.run(&backlog));
            tokio::select! {
                () = &mut send => {}
                () = self.gather(&backlog, draining) => {}
                () = self.send_spans() => {}
            }
            // Nothing comes any more. Spans have no time of their own: whoever stops a pod counts on the budget.
            let flush = async { tokio::join!(send, self.flush_spans()) };
            drop(tokio::time::timeout(self.flush_budget, flush).await);
        }
        let lost = backlog.stop();
        if lost > 0 {
            warn!(exchanges = lost, "the collector could not be reached in time; exchanges are dropped");
        }
        self.metrics.queue_length.set(0);
        self.observe_memory(0);
    }

    /// Sends spans, where they are wanted. It never ends.
    async fn send_spans(&self) {
        match &self.spans {
            Some(spans) => spans.run(&self.metrics).await,
            None => std::future::pending().await,
        }
    }

    /// Sends the spans that still wait, once.
    async fn flush_spans(&self) {
        if let Some(spans) = &self.spans {
            spans.flush(&self.metrics).await;
        }
    }

    /// Empties the handover into batches on a timer, until `draining` is true and the last batch is closed.
    async fn gather(&self, backlog: &Backlog, mut draining: watch::Receiver<bool>) {
        let accounts = Arc::clone(&self.metrics.accounts);
        let (budget, spares, handover) =
            (Arc::clone(&self.budget), Arc::clone(&self.spares), Arc::clone(&self.handover));
        let mut batcher = match Batcher::new(self.identity.clone(), accounts, budget, spares, handover) {
            Ok(batcher) => batcher,
            Err(error) => {
                error!(%error, "nothing can be shipped; everything is dropped");
                return told_to_drain(&mut draining).await;
            }
        };
        let mut tick = SHORTEST_TICK;
        let mut looked_at = Instant::now();
        loop {
            let due = self.open_since(&batcher).map(|since| since + self.flush_interval);
            let pause = due.map_or(tick, |due| tick.min(due.saturating_duration_since(Instant::now())));
            drop(tokio::time::timeout(pause, told_to_drain(&mut draining)).await);
            // Read before the handover is: once it says so, no pump adds to it any more.
            let last_time = *draining.borrow();
            // An exchange may have come right after the handover was looked at last.
            let since = looked_at;
            looked_at = Instant::now();
            let before = (batcher.last_sequence(), batcher.total_bytes());
            while let Some(block) = self.handover.pop_full() {
                put(backlog, batcher.add_block(block));
                go_on(&mut batcher, backlog).await;
            }
            let is_due = |opened: Instant| last_time || looked_at.duration_since(opened) >= self.flush_interval;
            // A block that is not full is left to the pumps as long as it can be: large ones compress better.
            if (last_time || self.handover.whole() > 0 || self.open_since(&batcher).is_some_and(is_due))
                && let Some(cut) = self.handover.cut()
            {
                self.batch(cut, since, &mut batcher, backlog).await;
            }
            if batcher.open_since().is_some_and(is_due) {
                put(backlog, batcher.close());
            }
            self.metrics.queue_length.set(self.handover.waiting(batcher.last_sequence()) as i64);
            self.observe_memory(backlog.in_memory());
            if last_time {
                backlog.close();
                return;
            }
            let (exchanges, bytes) = (batcher.last_sequence() - before.0, batcher.total_bytes() - before.1);
            tick = next_tick(tick, exchanges, bytes).min(self.flush_interval).max(SHORTEST_TICK);
        }
    }

    /// Puts a cut into batches. Whole exchanges are redacted first.
    async fn batch(&self, cut: Cut, since: Instant, batcher: &mut Batcher, backlog: &Backlog) {
        for block in cut.blocks {
            put(backlog, batcher.add_block(block));
            go_on(batcher, backlog).await;
        }
        for sequence in (cut.first_whole_sequence..).take(cut.whole) {
            let Some(mut captured) = self.handover.pop_whole() else { break };
            self.metrics.bodies(self.rules.load().redact(&mut captured));
            if let Some(spans) = &self.spans {
                spans.record(&captured.exchange, &self.metrics);
            }
            put(backlog, batcher.add(captured, sequence, since));
            go_on(batcher, backlog).await;
        }
    }

    /// When the oldest exchange came that is not in a closed batch, as far as can be seen.
    fn open_since(&self, batcher: &Batcher) -> Option<Instant> {
        batcher.open_since().or_else(|| self.handover.open_since())
    }

    fn observe_memory(&self, batches: usize) {
        self.metrics.backlog_batches.set(batches as i64);
        self.metrics.capture_bytes.set(self.budget.used() as i64);
    }
}

fn put(backlog: &Backlog, batch: Option<Pending>) {
    batch.into_iter().for_each(|batch| backlog.push(batch));
}

/// Closes a batch that is full, and lets the sender have its turn. Without turns, whatever came while one batch was sent was
/// framed before the next was: the longer that took the more had come, until the budget was full of batches that a collector
/// was waiting for.
async fn go_on(batcher: &mut Batcher, backlog: &Backlog) {
    if batcher.is_full() {
        put(backlog, batcher.close());
    }
    if batcher.ends_turn() {
        tokio::task::yield_now().await;
    }
}

/// Few wakes when there is little to do, and short ones when there is much.
fn next_tick(tick: Duration, exchanges: u64, bytes: u64) -> Duration {
    if exchanges < FEW && bytes < FEW_BYTES {
        (tick * 2).min(LONGEST_TICK)
    } else if exchanges > 4 * FEW || bytes > 4 * FEW_BYTES {
        (tick / 2).max(SHORTEST_TICK)
    } else {
        tick
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_follow_the_load_within_bounds() {
        let settled = |per_second: u64, bytes: u64| {
            let mut tick = SHORTEST_TICK;
            let come = |tick: Duration| per_second * tick.as_millis() as u64 / 1000;
            (0..20).for_each(|_| tick = next_tick(tick, come(tick), come(tick) * bytes));
            tick
        };
        assert_eq!(settled(0, 0), LONGEST_TICK);
        assert_eq!(settled(100_000, 2000), SHORTEST_TICK);
        assert!(settled(2_000, 2000) > SHORTEST_TICK && settled(2_000, 2000) < LONGEST_TICK);
        assert_eq!(settled(5_000, 128_000), SHORTEST_TICK, "few that are large are much");
        assert!(settled(200, 128_000) > SHORTEST_TICK);
    }
}
