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
/// Longest pause, and the longest that a collector may ask for. What it asks for is drawn out by up to a half.
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
            self.metrics.collector_backoff.set(0.0);
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
        self.metrics.collector_backoff.set(pause.as_secs_f64());
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
/// else be asked in a busy loop. It asks the same of a whole fleet, so that is drawn out.
fn pause(after: Option<Duration>, failures: u32) -> Duration {
    let asked = after.unwrap_or_default().min(LONGEST_PAUSE).mul_f64(1.0 + random() / 2.0);
    asked.max(pause_after(failures))
}

/// Between half and all of the doubled pause, so that a fleet does not come back as one.
fn pause_after(failures: u32) -> Duration {
    doubled_pause(failures).mul_f64(0.5 + random() / 2.0)
}

/// What a pause is at most after so many failures before this one.
fn doubled_pause(failures: u32) -> Duration {
    FIRST_PAUSE.saturating_mul(1 << failures.min(10)).min(LONGEST_PAUSE)
}

/// A number from 0 to 1, another each time and in each process.
fn random() -> f64 {
    RandomState::new().build_hasher().finish() as f64 / u64::MAX as f64
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_pause_lies_between_half_and_all_of_what_so_many_failures_make_it(failures in 0u32..1000) {
            let most = doubled_pause(failures);
            prop_assert!(most >= FIRST_PAUSE && most <= LONGEST_PAUSE);
            prop_assert!(doubled_pause(failures + 1) == (most * 2).min(LONGEST_PAUSE));
            let pause = pause_after(failures);
            prop_assert!(pause >= most / 2 && pause <= most, "{pause:?} of {most:?}");
        }

        #[test]
        fn what_a_collector_asks_for_is_kept_to_and_drawn_out_by_half_at_most(asked in 0u64..100_000, failures in 0u32..20) {
            let bound = Duration::from_millis(asked).min(LONGEST_PAUSE);
            let pause = pause(Some(Duration::from_millis(asked)), failures);
            prop_assert!(pause >= bound && pause >= doubled_pause(failures) / 2, "{pause:?}");
            prop_assert!(pause <= (bound.mul_f64(1.5)).max(doubled_pause(failures)), "{pause:?}");
        }
    }

    /// That one of ten equal parts stays empty in a thousand draws happens once in 10^44 runs.
    fn fills_its_range(low: Duration, high: Duration, draw: impl Fn() -> Duration) {
        let mut parts = [0; 10];
        for _ in 0..1000 {
            let part = (draw() - low).as_secs_f64() / (high - low).as_secs_f64() * 10.0;
            parts[(part as usize).min(9)] += 1;
        }
        assert!(parts.iter().all(|count| *count > 0), "{parts:?}");
    }

    #[test]
    fn pauses_fill_their_range_whoever_asked_for_them() {
        for failures in [0, 3, 20] {
            fills_its_range(doubled_pause(failures) / 2, doubled_pause(failures), || pause_after(failures));
        }
        // A whole fleet that was told seven seconds does not come back in the same moment, nor one that was told hours.
        let seven = Duration::from_secs(7);
        fills_its_range(seven, seven.mul_f64(1.5), || pause(Some(seven), 0));
        fills_its_range(LONGEST_PAUSE, LONGEST_PAUSE.mul_f64(1.5), || pause(Some(Duration::from_secs(7000)), 0));
    }

    #[test]
    fn a_collector_that_asks_for_no_patience_is_shown_some() {
        assert!(pause(Some(Duration::ZERO), 0) >= FIRST_PAUSE / 2);
        assert!(pause(Some(Duration::ZERO), 9) >= LONGEST_PAUSE / 2);
    }

    #[tokio::test]
    async fn without_anybody_to_stop_it_a_pause_lasts_as_long_as_it_should() {
        let (stopper, mut draining) = watch::channel(false);
        drop(stopper);
        let short = Duration::from_millis(20);
        assert!(tokio::time::timeout(short, told_to_drain(&mut draining)).await.is_err());
    }
}
