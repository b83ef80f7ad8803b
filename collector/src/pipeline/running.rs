//! Whether the collector ran: what it says of its own absence once it is back.
//!
//! While it is down only a dead man's switch tells. Afterwards it matters what the time lacks: where sidecars had no room for
//! what they held, windows were cut short and drift by that alone.

use driftline_alerts::{Condition, Counts};
use rusqlite::{Connection, OptionalExtension, params};

use super::Pipeline;
use super::slis::{COLLECTOR, SLICE_MICROS};
use crate::alerting::book::Change;
use crate::config::RUNNING_SLI;
use crate::times::{self, now_micros};

/// Looks that are counted as missed at most: those of a day, which is as far back as rules on shares look.
const MAX_MISSED_LOOKS: i64 = 24 * 360;

impl Pipeline {
    /// Counts that it runs; and after a start, the looks since the last run in which it did not.
    pub(super) fn observe_running(&mut self) {
        let now = now_micros();
        let metrics = self.parts.metrics.sli(COLLECTOR, RUNNING_SLI, "");
        let missed = Counts { good: 0, valid: 1, unknown: 0 };
        for slice in self.ran_until.take().into_iter().flat_map(|ran_until| missed_looks(ran_until, now)) {
            self.next.slis.count(COLLECTOR, RUNNING_SLI, "", slice, missed);
            metrics.count(missed);
        }
        let looked = Counts { good: 1, valid: 1, unknown: 0 };
        self.next.slis.count(COLLECTOR, RUNNING_SLI, "", now, looked);
        metrics.count(looked);
    }

    /// When the collector was down, as a fact of an alert that is about that.
    pub(super) fn facts_of_running(&self, change: &Change) -> Vec<(String, String)> {
        let Condition::Sli { sli, over, .. } = &change.rule.condition else { return Vec::new() };
        if sli != RUNNING_SLI {
            return Vec::new();
        }
        let from = now_micros().saturating_sub(over.as_micros() as i64);
        let down = self.parts.store.read_blocking(|db| was_down(db, from));
        let fact = |(first, last)| ("Down".to_owned(), times::span(first, last));
        down.ok().flatten().map(fact).into_iter().collect()
    }
}

/// When the collector looked at itself last, if it ever did.
pub(super) fn ran_until(db: &Connection) -> rusqlite::Result<Option<i64>> {
    db.prepare_cached("SELECT max(slice) FROM sli_counts WHERE model = ?1 AND sli = ?2")?
        .query_row(params![COLLECTOR, RUNNING_SLI], |row| row.get(0))
}

/// The slices between the last look of one run and the first of the next, the newest of them where there are too many.
fn missed_looks(ran_until: i64, now: i64) -> impl Iterator<Item = i64> {
    let this = now.div_euclid(SLICE_MICROS);
    let next = ran_until.div_euclid(SLICE_MICROS).saturating_add(1);
    (next.max(this.saturating_sub(MAX_MISSED_LOOKS))..this).map(|slice| slice * SLICE_MICROS)
}

/// From when to when it was down, of what was missed last.
fn was_down(db: &Connection, from: i64) -> rusqlite::Result<Option<(i64, i64)>> {
    let missed = "SELECT min(slice), max(slice) FROM sli_counts
                  WHERE model = ?1 AND sli = ?2 AND slice >= ?3 AND good < valid HAVING count(*) > 0";
    db.prepare_cached(missed)?
        .query_row(params![COLLECTOR, RUNNING_SLI, from], |row| Ok((row.get(0)?, row.get::<_, i64>(1)? + SLICE_MICROS)))
        .optional()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::slis::SliCounts;

    const SLICE: i64 = SLICE_MICROS;

    #[test]
    fn what_lies_between_two_runs_was_missed_and_nothing_else() {
        let missed = |ran_until, now| missed_looks(ran_until, now).collect::<Vec<_>>();
        assert_eq!(missed(5 * SLICE, 8 * SLICE + 3), [6 * SLICE, 7 * SLICE]);
        assert_eq!(missed(5 * SLICE, 6 * SLICE), [0; 0], "it was started again at once");
        assert_eq!(missed(9 * SLICE, 6 * SLICE), [0; 0], "the clock was put back");
        let years = missed_looks(0, 1_000_000 * SLICE);
        assert_eq!(years.count() as i64, MAX_MISSED_LOOKS);
    }

    #[test]
    fn the_time_in_which_it_was_down_is_known_afterwards() {
        let db = crate::store::in_memory().unwrap();
        assert_eq!((ran_until(&db).unwrap(), was_down(&db, 0).unwrap()), (None, None));
        let mut counts = SliCounts::default();
        for (slice, good) in [(3, 1), (4, 0), (5, 0), (6, 1)] {
            counts.count(COLLECTOR, RUNNING_SLI, "", slice * SLICE, Counts { good, valid: 1, unknown: 0 });
        }
        counts.store(&db).unwrap();
        assert_eq!(ran_until(&db).unwrap(), Some(6 * SLICE));
        assert_eq!(was_down(&db, 0).unwrap(), Some((4 * SLICE, 6 * SLICE)));
        assert_eq!(was_down(&db, 6 * SLICE).unwrap(), None);
    }
}
