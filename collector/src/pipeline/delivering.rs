//! Whether those who are to be told get what is theirs: an indicator of the collector itself.

use std::collections::BTreeSet;

use driftline_alerts::{Counts, Labels};

use super::Pipeline;
use super::slis::COLLECTOR;
use crate::alerting::dead_letters;
use crate::alerting::entries;
use crate::config::DELIVERY_SLI;
use crate::times::now_micros;

impl Pipeline {
    /// Shows what waits to be delivered, and counts of each target whether it has got what is its own. Of one that is not
    /// configured any more, as long as something is left for it.
    pub(super) fn observe_deliveries(&mut self) {
        let found = self.parts.store.read_blocking(|db| {
            Ok((entries::pending(db)?, dead_letters::count(db)?, dead_letters::troubles(db, now_micros())?))
        });
        let Ok((pending, dead, troubles)) = found else { return };
        let metrics = &self.parts.metrics;
        metrics.notifications_pending.set(pending as i64);
        metrics.dead_letters.reset();
        let configured = self.parts.config.alerting.targets.keys();
        let targets: BTreeSet<&String> = configured.chain(dead.keys()).chain(troubles.keys()).collect();
        for target in targets {
            let dead = dead.get(target).copied().unwrap_or_default();
            metrics.dead_letters.with_label_values(&[target]).set(dead as i64);
            let looked = Counts { good: u64::from(!troubles.contains_key(target)), valid: 1, unknown: 0 };
            self.next.slis.count(COLLECTOR, DELIVERY_SLI, target, now_micros(), looked);
            metrics.sli(COLLECTOR, DELIVERY_SLI, target).count(looked);
        }
    }

    /// Why the target that an alert is about does not get what is its own, as facts of the alert; none where it is about none.
    pub(super) fn facts_of_deliveries(&self, labels: &Labels) -> Vec<(String, String)> {
        let Some(target) = labels.get("target") else { return Vec::new() };
        let troubles = self.parts.store.read_blocking(|db| dead_letters::troubles(db, now_micros()));
        troubles
            .ok()
            .and_then(|mut troubles| troubles.remove(target))
            .map(|trouble| trouble.facts())
            .unwrap_or_default()
    }
}
