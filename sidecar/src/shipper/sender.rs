//! Sending the backlog: the oldest batch until the collector took or refused it, then the next.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tracing::{info, warn};

use super::backlog::{Backlog, First, Settlement};
use super::client::{Answer, Client};
use crate::budget::Budget;
use crate::metrics::{Metrics, Outcome};

/// Waiting time after the first failure; it doubles from there.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// When it is time to stop, an answer that is awaited already may take this much longer. A connection that is dead would
/// else take the whole flush budget; what was received all the same is recognised when it comes again.
const LAST_WAIT: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(super) struct Sender {
    client: Client,
    metrics: Arc<Metrics>,
    budget: Arc<Budget>,
    draining: watch::Receiver<bool>,
    failures: u32,
    /// How the last request went, so that the log says when it goes wrong in another way.
    last: Outcome,
}

impl Sender {
    pub(super) fn new(
        client: Client,
        metrics: Arc<Metrics>,
        budget: Arc<Budget>,
        draining: watch::Receiver<bool>,
    ) -> Self {
        Self { client, metrics, budget, draining, failures: 0, last: Outcome::Ok }
    }

    /// Sends, with growing pauses after failures. Ends when the backlog is closed and empty.
    ///
    /// # Cancel safety
    /// A batch that was being sent stays the first of the backlog.
    pub(super) async fn run(mut self, backlog: &Backlog) {
        loop {
            let (frame, last_sequence) = match backlog.first() {
                First::Batch { frame, last_sequence } => (frame, last_sequence),
                First::Nothing if backlog.is_closed() => return,
                First::Nothing => {
                    backlog.changed.notified().await;
                    continue;
                }
                First::NotNow(why) => {
                    if self.failures == 0 {
                        warn!(%why, "batches wait");
                    }
                    self.pause(None).await;
                    continue;
                }
            };
            let is_last_wait = !*self.draining.borrow();
            let answer = tokio::select! {
                answer = self.client.send(frame, last_sequence) => answer,
                () = last_wait(self.draining.clone()), if is_last_wait => {
                    Answer::Retry { after: None, why: format!("no answer within {LAST_WAIT:?} of the stop") }
                }
            };
            let outcome = match answer {
                Answer::Durable => {
                    if self.failures > 0 {
                        info!("the collector answers again");
                    }
                    backlog.settle_first(Settlement::Delivered);
                    Outcome::Ok
                }
                Answer::Rejected(why) => {
                    let exchanges = backlog.settle_first(Settlement::Rejected);
                    warn!(%why, exchanges, "the collector refused a batch for good; it is dropped");
                    Outcome::Rejected
                }
                Answer::Retry { after, why } => {
                    if self.has_news(Outcome::Retry) {
                        warn!(%why, "the collector does not take batches; they wait");
                    }
                    self.not_taken(backlog, after).await;
                    continue;
                }
                Answer::Unauthorized { after, why } => {
                    if self.has_news(Outcome::Unauthorized) {
                        warn!(%why, "the collector does not take batches from this sidecar; they wait until its token or certificate is put right");
                    }
                    self.not_taken(backlog, after).await;
                    continue;
                }
            };
            self.failures = 0;
            self.last = outcome;
            // With the account, and not at the next tick: a scrape then sees memory given back with its exchanges.
            self.metrics.capture_bytes.set(self.budget.used() as i64);
            self.metrics.backlog_batches.set(backlog.in_memory() as i64);
            self.metrics.collector_requests(outcome).inc();
            self.metrics.collector_up.set(1);
        }
    }

    /// Counts a failure. True when it is the first, or the first of its kind.
    fn has_news(&mut self, outcome: Outcome) -> bool {
        self.metrics.collector_requests(outcome).inc();
        let is_other = self.last != outcome;
        self.last = outcome;
        self.failures == 0 || is_other
    }

    /// Leaves a batch where it was, and waits.
    async fn not_taken(&mut self, backlog: &Backlog, after: Option<Duration>) {
        self.metrics.collector_up.set(0);
        backlog.not_taken();
        self.pause(after).await;
    }

    /// Waits after a failure. When it is time to stop, a long pause is cut short, and the next ones are short.
    async fn pause(&mut self, after: Option<Duration>) {
        let pause = pause(after, self.failures);
        self.failures = self.failures.saturating_add(1);
        if *self.draining.borrow() {
            tokio::time::sleep(pause.min(FIRST_PAUSE)).await;
        } else {
            drop(tokio::time::timeout(pause, told_to_drain(&mut self.draining)).await);
        }
    }
}

/// Waits until it is time to stop. If nobody can say so any more, it never is: a pause is then no shorter than it should.
pub(super) async fn told_to_drain(draining: &mut watch::Receiver<bool>) {
    if draining.wait_for(|draining| *draining).await.is_err() {
        std::future::pending::<()>().await;
    }
}

async fn last_wait(mut draining: watch::Receiver<bool>) {
    told_to_drain(&mut draining).await;
    tokio::time::sleep(LAST_WAIT).await;
}

/// What the collector asks for, and never less than after so many failures it should be: one that says "at once" would
/// else be asked in a busy loop.
fn pause(after: Option<Duration>, failures: u32) -> Duration {
    after.unwrap_or_default().max(pause_after(failures)).min(LONGEST_PAUSE)
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

    #[test]
    fn a_collector_can_ask_for_more_patience_but_not_for_none() {
        assert!(pause(Some(Duration::ZERO), 0) >= FIRST_PAUSE / 2);
        assert!(pause(Some(Duration::ZERO), 9) >= LONGEST_PAUSE / 2);
        assert_eq!(pause(Some(Duration::from_secs(7)), 0), Duration::from_secs(7));
        assert_eq!(pause(Some(Duration::from_secs(7000)), 0), LONGEST_PAUSE);
    }

    #[tokio::test]
    async fn without_anybody_to_stop_it_a_pause_lasts_as_long_as_it_should() {
        let (stopper, mut draining) = watch::channel(false);
        drop(stopper);
        let short = Duration::from_millis(20);
        assert!(tokio::time::timeout(short, told_to_drain(&mut draining)).await.is_err());
    }
}
