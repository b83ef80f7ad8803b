//! Whether what runs still moves: a part that hangs neither ends nor panics, and nobody else would notice.
//!
//! Parts say when they begin a piece of work and when they rest. A thread of its own, which needs neither the runtime nor
//! the database, looks at them every second. Who works at one piece for long is said to be stalled, in the log, in metrics
//! and by `/readyz`; after some minutes it has failed, as if it had ended, and the process ends to be started again. A
//! slow disk may hold up a write for a while; what is acknowledged survives a restart, whatever it was that hung.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use prometheus::{Gauge, IntCounter};
use tracing::{error, info, warn};

use crate::metrics::Metrics;
use crate::vitals::Vitals;

/// What works longer than this at one piece is stalled: hundreds of times what any takes.
const STALLED_AFTER: Duration = Duration::from_secs(30);
/// What is stalled for so long does not come back by itself.
const FAILED_AFTER: Duration = Duration::from_secs(300);
/// How long the process may take to end by itself once a part has failed. A runtime that is stuck cannot stop in order.
const END_GRACE: Duration = Duration::from_secs(60);
const INTERVAL: Duration = Duration::from_secs(1);

/// The parts, for use in metrics.
pub(crate) const PARTS: [&str; 3] = ["runtime", "writer", "pipeline"];

/// Since when a part works at what it works at. Clones share it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Pulse(Arc<AtomicU64>);

impl Pulse {
    /// It begins with the next piece of work.
    pub(crate) fn beat(&self) {
        self.0.store(clock(), Ordering::Relaxed);
    }

    /// It has nothing to do, and may have for as long as it likes.
    pub(crate) fn rest(&self) {
        self.0.store(0, Ordering::Relaxed);
    }

    /// For how long it has worked at one piece, at a time of the clock.
    fn age(&self, now: u64) -> Duration {
        match self.0.load(Ordering::Relaxed) {
            0 => Duration::ZERO,
            since => Duration::from_millis(now.saturating_sub(since)),
        }
    }
}

/// Milliseconds that pass whatever becomes of the wall clock; never 0.
fn clock() -> u64 {
    static BEGUN: LazyLock<Instant> = LazyLock::new(Instant::now);
    BEGUN.elapsed().as_millis() as u64 + 1
}

/// Beats for the runtime. With one of its threads blocked the other takes the work over; with all of them, nobody does.
pub(crate) async fn beat_for_runtime(pulse: Pulse) {
    loop {
        pulse.beat();
        tokio::time::sleep(INTERVAL).await;
    }
}

/// Looks at the parts until they are told to stop.
#[derive(Debug)]
pub(crate) struct Watchdog {
    parts: Vec<Watched>,
    vitals: Vitals,
}

#[derive(Debug)]
struct Watched {
    name: &'static str,
    pulse: Pulse,
    is_stalled: bool,
    working: Gauge,
    stalls: IntCounter,
}

impl Watchdog {
    pub(crate) fn new(parts: [(&'static str, Pulse); PARTS.len()], vitals: Vitals, metrics: &Metrics) -> Self {
        let watched = |(name, pulse)| Watched {
            name,
            pulse,
            is_stalled: false,
            working: metrics.part_working(name),
            stalls: metrics.part_stalls(name),
        };
        Self { parts: parts.into_iter().map(watched).collect(), vitals }
    }

    /// Starts its thread.
    ///
    /// # Errors
    /// When there is no thread to be had.
    pub(crate) fn start(self) -> std::io::Result<()> {
        std::thread::Builder::new().name("driftline-watchdog".to_owned()).spawn(move || self.run()).map(drop)
    }

    fn run(mut self) {
        while !self.vitals.is_stopping() {
            std::thread::sleep(INTERVAL);
            if self.look(clock()) {
                std::thread::sleep(END_GRACE);
                error!("the process did not end in order within {END_GRACE:?}, and is ended");
                std::process::exit(1);
            }
        }
    }

    /// Looks at every part once. True when one of them has failed.
    fn look(&mut self, now: u64) -> bool {
        let mut has_failed = false;
        let mut stalled = None;
        for part in &mut self.parts {
            let age = part.pulse.age(now);
            part.working.set(age.as_secs_f64());
            let (name, was_stalled) = (part.name, part.is_stalled);
            part.is_stalled = age > STALLED_AFTER;
            match (was_stalled, part.is_stalled) {
                (false, true) => {
                    part.stalls.inc();
                    warn!(part = name, ?age, "a part of the collector does not move");
                }
                (true, false) => info!(part = name, "a part of the collector moves again"),
                _ => {}
            }
            if part.is_stalled {
                stalled.get_or_insert_with(|| format!("the {name} has not moved for {} s", age.as_secs()));
            }
            if age > FAILED_AFTER {
                has_failed = true;
                self.vitals.fail(format!("the {name} has not moved for {} s", age.as_secs()));
            }
        }
        self.vitals.stalled(stalled);
        has_failed
    }
}

#[cfg(test)]
mod tests {
    use prometheus::IntGauge;

    use super::*;

    fn watchdog() -> (Watchdog, [Pulse; 3], Vitals, Arc<Metrics>) {
        let (vitals, metrics) = (Vitals::new(IntGauge::new("stopped", "Stopped.").unwrap()), Metrics::new().unwrap());
        let pulses = [Pulse::default(), Pulse::default(), Pulse::default()];
        let parts = std::array::from_fn(|part| (PARTS[part], pulses[part].clone()));
        (Watchdog::new(parts, vitals.clone(), &metrics), pulses, vitals, metrics)
    }

    #[test]
    fn what_rests_is_never_stalled_and_what_works_says_for_how_long() {
        let (mut watchdog, [_, writer, _], vitals, metrics) = watchdog();
        writer.beat();
        std::thread::sleep(Duration::from_millis(20));
        assert!(!watchdog.look(clock()) && vitals.problem().is_none());
        assert!(metrics.part_working("writer").get() >= 0.02);
        assert_eq!(metrics.part_working("pipeline").get(), 0.0);
        writer.rest();
        watchdog.look(clock() + 1_000_000);
        assert_eq!(metrics.part_working("writer").get(), 0.0);
    }

    #[test]
    fn what_does_not_move_is_not_ready_and_after_minutes_not_alive() {
        let (mut watchdog, [_, _, pipeline], vitals, metrics) = watchdog();
        pipeline.beat();
        let after = |seconds: u64| pipeline.0.load(Ordering::Relaxed) + 1000 * seconds;
        assert!(!watchdog.look(after(31)) && !watchdog.look(after(32)));
        assert_eq!(vitals.problem().unwrap(), "the pipeline has not moved for 32 s");
        assert_eq!((vitals.failure(), metrics.part_stalls("pipeline").get()), (None, 1));
        pipeline.beat();
        assert!(!watchdog.look(after(1)) && vitals.problem().is_none(), "it moves again");
        assert!(watchdog.look(after(301)));
        assert_eq!(vitals.failure().unwrap(), "the pipeline has not moved for 301 s");
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn a_runtime_whose_threads_are_blocked_does_not_beat() {
        let pulse = Pulse::default();
        // The runtime may begin with the task that blocks it.
        pulse.beat();
        tokio::spawn(beat_for_runtime(pulse.clone()));
        let (begun, is_blocked) = std::sync::mpsc::sync_channel(1);
        let (go, gone) = std::sync::mpsc::sync_channel::<()>(1);
        let blocked = tokio::spawn(async move {
            begun.send(()).unwrap();
            gone.recv().unwrap();
        });
        // No timer fires meanwhile, the test's own neither.
        is_blocked.recv().unwrap();
        let two_beats = Duration::from_millis(2200);
        std::thread::sleep(two_beats);
        assert!(pulse.age(clock()) >= two_beats, "{:?}", pulse.age(clock()));
        go.send(()).unwrap();
        blocked.await.unwrap();
        let beats_again = async {
            while pulse.age(clock()) > Duration::from_millis(1500) {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(30), beats_again).await.expect("it beats again");
    }
}
