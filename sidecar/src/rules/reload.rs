//! Loading the rules again: when somebody asks (SIGHUP), and when the file or its key has changed.
//!
//! It does not matter how the files are replaced: written over, renamed, or by the switched link of a Kubernetes ConfigMap.
//! Rules that are wrong leave the old ones in force, are logged, and are tried again.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use arc_swap::ArcSwap;
use driftline_document::Problems;
use tokio::sync::Notify;
use tracing::{error, info};

use super::SharedRules;
use super::file::{Loaded, RulesFile};
use crate::metrics::Metrics;
use driftline_tls::{LOOK_INTERVAL, WatchedFiles};

/// Keeps the rules in force in step with their file.
pub(crate) struct Reloading {
    file: RulesFile,
    rules: SharedRules,
    metrics: Arc<Metrics>,
    files: WatchedFiles,
    /// What was wrong last time, so that it is said once.
    said: Option<String>,
}

impl Reloading {
    /// Puts rules in force, and keeps them in step from there.
    pub(crate) fn begin(file: RulesFile, loaded: Loaded, metrics: Arc<Metrics>) -> (SharedRules, Self) {
        let Loaded { rules, fingerprint, files } = loaded;
        metrics.rules_in_force(fingerprint);
        let rules = SharedRules::new(ArcSwap::from_pointee(rules));
        (Arc::clone(&rules), Self { file, rules, metrics, files, said: None })
    }

    /// Looks at the files from time to time, and when asked. Never ends.
    ///
    /// It reads two small local files on the thread that it runs on, which is the shipper's: no traffic waits for it.
    pub(crate) async fn run(mut self, asked: Arc<Notify>) {
        let mut interval = tokio::time::interval(LOOK_INTERVAL);
        interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let is_asked = tokio::select! {
                _ = interval.tick() => false,
                () = asked.notified() => true,
            };
            self.look(is_asked);
        }
    }

    fn look(&mut self, is_asked: bool) {
        // After a failure it is always tried again: a key that the rules name may arrive later than they do.
        if !self.files.changed() && !is_asked && self.said.is_none() {
            return;
        }
        match load(&self.file) {
            Ok(Loaded { rules, fingerprint, files }) => {
                (self.files, self.said) = (files, None);
                self.rules.store(Arc::new(rules));
                self.metrics.rules_reloaded(true);
                self.metrics.rules_in_force(fingerprint);
                info!(file = %self.file.path.display(), "the rules were loaded again, and are in force");
            }
            Err(problems) => {
                let text = problems.to_string();
                if is_asked || self.said.as_ref() != Some(&text) {
                    self.metrics.rules_reloaded(false);
                    error!("the rules are wrong; the old ones stay in force:\n{text}");
                    self.said = Some(text);
                }
            }
        }
    }
}

/// Loads rules. A reader that panics on what somebody wrote must not be the end of all later changes.
fn load(file: &RulesFile) -> Result<Loaded, Problems> {
    catch_unwind(AssertUnwindSafe(|| file.load())).unwrap_or_else(|_| {
        let error = std::io::Error::other("its reader failed");
        Err(Problems::unreadable(&file.path.display().to_string(), &error, "please report what is in it"))
    })
}
