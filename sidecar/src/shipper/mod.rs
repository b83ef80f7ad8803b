//! The shipper: empties the queue on a timer, batches, and sends until the collector says that it is durable.
//!
//! It runs on a thread of its own. The pump never waits for it and never wakes it: waking another thread for each
//! exchange costs as much as pumping it does.

mod batcher;
mod client;

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use crossbeam_queue::ArrayQueue;
use tokio::sync::{Notify, watch};
use tokio::time::MissedTickBehavior;
use tracing::{info, warn};

pub(crate) use batcher::Identity;
use batcher::{Batcher, Pending};
use client::{Answer, Client};

use crate::account::{DropReason, Ticket};
use crate::metrics::{Metrics, Outcome};
use crate::reader::Captured;
use crate::rules::SharedRules;
use crate::settings::CollectorUrl;

/// How often the queue is emptied. At 20,000 exchanges a second 200 wait in it meanwhile.
const TICK: Duration = Duration::from_millis(10);
/// Waiting time after the first failure; it doubles from there.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// What the shipper needs.
#[derive(Debug)]
pub(crate) struct Shipper {
    pub(crate) identity: Identity,
    pub(crate) collector: CollectorUrl,
    pub(crate) queue: Arc<ArrayQueue<Box<Captured>>>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) flush_interval: Duration,
    pub(crate) flush_budget: Duration,
    pub(crate) budget: Arc<crate::budget::Budget>,
    pub(crate) rules: SharedRules,
}

impl Shipper {
    /// Ships until `draining` is true, then sends what is left for as long as the flush budget lasts.
    pub(crate) async fn run(self, draining: watch::Receiver<bool>) {
        let backlog = Backlog::default();
        {
            let mut send = pin!(self.send(&backlog, draining.clone()));
            tokio::select! {
                () = &mut send => {}
                () = self.gather(&backlog, draining) => {}
            }
            // Nothing comes any more.
            drop(tokio::time::timeout(self.flush_budget, send).await);
        }
        let left = backlog.batches.into_inner();
        let lost: usize = left.iter().map(|pending| pending.tickets.len()).sum();
        if lost > 0 {
            warn!(exchanges = lost, "the collector could not be reached in time; exchanges are dropped");
        }
        left.into_iter().for_each(|pending| pending.settle(|ticket| ticket.dropped(DropReason::Shutdown)));
        self.observe(0);
    }

    /// Empties the queue into batches on a timer, until `draining` is true and the last batch is closed.
    async fn gather(&self, backlog: &Backlog, draining: watch::Receiver<bool>) {
        let mut batcher = Batcher::new(self.identity.clone(), Arc::clone(&self.metrics.accounts));
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tick.tick().await;
            // Read before the queue is: once it says so, no pump adds to the queue any more.
            let last_time = *draining.borrow();
            let now = Instant::now();
            for _ in 0..self.queue.len() {
                let Some(mut captured) = self.queue.pop() else { break };
                self.metrics.bodies(self.rules.load().redact(&mut captured));
                batcher.add(*captured, now);
                if batcher.is_full() {
                    backlog.push(batcher.close());
                }
            }
            let is_due = |opened: Instant| last_time || now.duration_since(opened) >= self.flush_interval;
            if batcher.opened().is_some_and(is_due) {
                backlog.push(batcher.close());
            }
            self.observe(backlog.batches.borrow().len());
            if last_time {
                backlog.close();
                return;
            }
        }
    }

    fn observe(&self, batches: usize) {
        self.metrics.queue_length.set(self.queue.len() as i64);
        self.metrics.backlog_batches.set(batches as i64);
        self.metrics.capture_bytes.set(self.budget.used() as i64);
    }

    /// Sends the oldest batch until the collector took or refused it, then the next; with growing pauses after failures.
    /// Ends when the backlog is closed and empty.
    async fn send(&self, backlog: &Backlog, mut draining: watch::Receiver<bool>) {
        let mut client = Client::new(self.collector.clone());
        let mut failures = 0u32;
        loop {
            let Some((frame, last_sequence)) = backlog.first() else {
                if backlog.closed.get() {
                    return;
                }
                backlog.changed.notified().await;
                continue;
            };
            let outcome = match client.send(frame, last_sequence).await {
                Answer::Durable => {
                    if failures > 0 {
                        info!("the collector answers again");
                    }
                    backlog.settle_first(Ticket::delivered);
                    Outcome::Ok
                }
                Answer::Rejected(why) => {
                    let exchanges = backlog.settle_first(|ticket| ticket.dropped(DropReason::Rejected));
                    warn!(%why, exchanges, "the collector refused a batch for good; it is dropped");
                    Outcome::Rejected
                }
                Answer::Retry { after, why } => {
                    if failures == 0 {
                        warn!(%why, "the collector does not take batches; they wait");
                    }
                    let pause = after.unwrap_or_else(|| pause_after(failures)).min(LONGEST_PAUSE);
                    self.metrics.collector_requests(Outcome::Retry).inc();
                    self.metrics.collector_up.set(0);
                    failures = failures.saturating_add(1);
                    // When it is time to stop, a long pause is cut short, and the next ones are short.
                    if *draining.borrow() {
                        tokio::time::sleep(pause.min(FIRST_PAUSE)).await;
                    } else {
                        drop(tokio::time::timeout(pause, draining.wait_for(|draining| *draining)).await);
                    }
                    continue;
                }
            };
            failures = 0;
            self.metrics.collector_requests(outcome).inc();
            self.metrics.collector_up.set(1);
        }
    }
}

/// Batches that wait for the collector. What bounds them is the budget that their frames are reserved in.
#[derive(Debug, Default)]
struct Backlog {
    batches: RefCell<VecDeque<Pending>>,
    changed: Notify,
    closed: Cell<bool>,
}

impl Backlog {
    fn push(&self, pending: Option<Pending>) {
        self.batches.borrow_mut().extend(pending);
        self.changed.notify_one();
    }

    fn close(&self) {
        self.closed.set(true);
        self.changed.notify_one();
    }

    fn first(&self) -> Option<(Bytes, u64)> {
        self.batches.borrow().front().map(|pending| (pending.frame.clone(), pending.last_sequence))
    }

    /// Takes the oldest batch out, settles its exchanges, and says how many they were.
    fn settle_first(&self, settle: impl Fn(Ticket)) -> usize {
        let Some(pending) = self.batches.borrow_mut().pop_front() else { return 0 };
        let exchanges = pending.tickets.len();
        pending.settle(settle);
        exchanges
    }
}

/// Between half and all of the doubled pause, so that a fleet does not come back as one.
fn pause_after(failures: u32) -> Duration {
    let full = FIRST_PAUSE.saturating_mul(1 << failures.min(10)).min(LONGEST_PAUSE);
    let random = RandomState::new().build_hasher().finish() as f64 / u64::MAX as f64;
    full.mul_f64(0.5 + random / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_and_stay_within_bounds() {
        for failures in 0..100 {
            let pause = pause_after(failures);
            assert!(pause >= FIRST_PAUSE / 2 && pause <= LONGEST_PAUSE);
        }
        assert!(pause_after(9) > pause_after(0) * 10);
    }
}
