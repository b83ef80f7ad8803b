//! Whether the parts that must run for as long as the collector does still run.
//!
//! A part that ends by itself leaves a collector that acknowledges and does nothing with it. Nobody may take that for
//! health: `/livez` fails from then on, and the process ends with an error, so that whatever runs it starts it again.
//! One that hangs has not ended; [`crate::watchdog`] looks for those.
//! An archive that stopped is less: counting goes on, the rows stay in the journal, and only `/readyz` says so.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use prometheus::IntGauge;
use tokio::sync::watch;
use tracing::error;

/// What is known of the parts. Clones share it.
#[derive(Debug, Clone)]
pub(crate) struct Vitals {
    failure: Arc<watch::Sender<Option<String>>>,
    archive: Arc<Mutex<Option<String>>>,
    archive_stopped: IntGauge,
    stopping: Arc<AtomicBool>,
    stalled: Arc<Mutex<Option<String>>>,
}

impl Vitals {
    /// Everything runs. The gauge turns to 1 when archiving stops.
    pub(crate) fn new(archive_stopped: IntGauge) -> Self {
        Self {
            failure: Arc::new(watch::Sender::new(None)),
            archive: Arc::default(),
            archive_stopped,
            stopping: Arc::default(),
            stalled: Arc::default(),
        }
    }

    /// From here on parts end because they were told to.
    pub(crate) fn stopping(&self) {
        self.stopping.store(true, Ordering::Relaxed);
    }

    /// Whether parts end because they were told to.
    pub(crate) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
    }

    /// A part cannot go on. The first is what is told.
    pub(crate) fn fail(&self, why: String) {
        self.failure.send_if_modified(|failure| {
            let is_first = failure.is_none();
            failure.get_or_insert(why);
            is_first
        });
    }

    /// The part that does not move, if there is one.
    pub(crate) fn stalled(&self, why: Option<String>) {
        if let Ok(mut stalled) = self.stalled.lock() {
            *stalled = why;
        }
    }

    /// What a part holds for as long as it runs.
    pub(crate) fn part(&self, name: &'static str) -> Running {
        Running { vitals: self.clone(), name, is_done: false }
    }

    /// Archiving has ended until somebody acts. Rows stay in the journal.
    pub(crate) fn archive_stopped(&self, why: &str) {
        if self.stopping.load(Ordering::Relaxed) {
            return;
        }
        if let Ok(mut archive) = self.archive.lock()
            && archive.is_none()
        {
            error!(why, "archiving has stopped; rows are counted, and stay in the journal until a restart");
            *archive = Some(why.to_owned());
        }
        self.archive_stopped.set(1);
    }

    /// Whether archiving has ended.
    pub(crate) fn archive_has_stopped(&self) -> bool {
        self.archive.lock().is_ok_and(|archive| archive.is_some())
    }

    /// The part that ended by itself, if one did.
    pub(crate) fn failure(&self) -> Option<String> {
        self.failure.borrow().clone()
    }

    /// Why nothing should be sent here, if there is a reason.
    pub(crate) fn problem(&self) -> Option<String> {
        let archive = || {
            let why = self.archive.lock().ok()?.clone()?;
            Some(format!("archiving has stopped: {why}"))
        };
        self.failure().or_else(|| self.stalled.lock().ok()?.clone()).or_else(archive)
    }

    /// Waits until a part has ended by itself.
    ///
    /// # Cancel safety
    /// Nothing is lost.
    pub(crate) async fn failed(&self) -> String {
        let mut failure = self.failure.subscribe();
        match failure.wait_for(Option::is_some).await {
            Ok(failure) => failure.clone().unwrap_or_default(),
            // Its sender is held here.
            Err(_) => std::future::pending().await,
        }
    }
}

/// A part that runs. Dropped before the collector was told to stop, it has failed: it panicked, or gave up.
#[derive(Debug)]
pub(crate) struct Running {
    vitals: Vitals,
    name: &'static str,
    is_done: bool,
}

impl Running {
    /// It ends on purpose, and has said why elsewhere.
    pub(crate) fn ends(mut self) {
        self.is_done = true;
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.is_done || self.vitals.stopping.load(Ordering::Relaxed) {
            return;
        }
        let name = self.name;
        error!(part = name, "a part of the collector has ended by itself; the collector ends too, to be started again");
        // The others end for lack of the first.
        self.vitals.fail(format!("the {name} has ended; the log says why"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vitals() -> Vitals {
        Vitals::new(IntGauge::new("stopped", "Stopped.").unwrap())
    }

    #[tokio::test]
    async fn a_part_that_ends_by_itself_or_panics_is_a_failure() {
        let vitals = vitals();
        let running = vitals.part("pipeline");
        assert_eq!(vitals.failure(), None);
        let ended = std::thread::spawn(move || {
            let _running = running;
            panic!("a bug");
        });
        assert!(ended.join().is_err());
        assert!(vitals.failed().await.contains("pipeline"));
        assert!(vitals.problem().is_some());
    }

    #[test]
    fn a_part_that_was_told_to_stop_may_end() {
        let vitals = vitals();
        let running = vitals.part("pipeline");
        vitals.stopping();
        drop(running);
        assert_eq!(vitals.failure(), None);
    }

    #[test]
    fn an_archive_that_stopped_is_not_ready_and_still_alive() {
        let vitals = vitals();
        vitals.archive_stopped("another collector writes there");
        assert_eq!(vitals.failure(), None);
        assert_eq!(vitals.problem().as_deref(), Some("archiving has stopped: another collector writes there"));
        assert_eq!(vitals.archive_stopped.get(), 1);
    }
}
