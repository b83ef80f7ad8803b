//! Whether models are heard as often as ever.
//!
//! A model of which nothing comes has no requests, no way to the collector, or no sidecars: from here they look the same, and
//! no other indicator moves, because there is nothing that it could count. What is normal the model's own last day says. One
//! that had requests in each of its hours is missed once the quietest of them makes a silence so long unlikely; one that
//! sleeps at night, or is new, is never missed. A model that says how long ago its last request may be (`slis.heard`) is missed after
//! that in any case, for as long as none comes.

use std::time::Duration;

use driftline_alerts::Counts;
use rusqlite::{Connection, OptionalExtension, params};

use super::Pipeline;
use super::slis::HOUR_MICROS;
use crate::config::HEARD_SLI;
use crate::times::now_micros;

/// Hours before a model was last heard that must all have had requests.
const STEADY_HOURS: i64 = 24;
/// Requests that the quietest hour makes one expect in a silence before it is one: by chance there is none of so many in one
/// case of a thousand (e^-7).
const MISSED_REQUESTS: f64 = 7.0;
/// A shorter silence is a rollout, or a sender that waits to come back.
const SHORTEST_MICROS: i64 = 60_000_000;
/// Whoever was silent for longer than this was taken out of service: what is over is not held against anybody for good.
const GONE_MICROS: i64 = 24 * HOUR_MICROS;

impl Pipeline {
    /// Looks at when each model was heard.
    pub(super) fn observe_hearing(&mut self) {
        let now = now_micros();
        for model in self.models.values() {
            let as_ever = self.parts.store.read_blocking(|db| is_heard(db, &model.name, model.heard_at, now));
            let heard = as_ever.map(|as_ever| with_limit(as_ever, (model.heard_at, model.config.slis.heard), now));
            if let Ok(Some(is_heard)) = heard {
                let looked = Counts { good: u64::from(is_heard), valid: 1, unknown: 0 };
                self.next.slis.count(&model.name, HEARD_SLI, "", now, looked);
                model.metrics.heard.count(looked);
            }
        }
    }
}

/// Whether a model is heard as it says that it is to be, and as ever; none when neither says anything. Before its first request
/// nothing is known of it.
fn with_limit(as_ever: Option<bool>, (heard_at, max_age): (i64, Option<Duration>), now: i64) -> Option<bool> {
    match max_age.filter(|_| heard_at > 0) {
        None => as_ever,
        Some(max_age) => {
            let is_late = now.saturating_sub(heard_at) > max_age.as_micros() as i64;
            Some(!is_late && as_ever != Some(false))
        }
    }
}

/// When a model's requests were last counted, of those of more than a week ago to the hour; never, as 0.
pub(super) fn last_counted(db: &Connection, model: &str) -> rusqlite::Result<i64> {
    for (table, at) in [("sli_counts", "slice"), ("sli_hours", "hour")] {
        let last = db
            .prepare_cached(&format!(
                "SELECT {at} FROM {table} WHERE model = ?1 AND sli = 'availability' AND label = '' AND valid > 0
                 ORDER BY {at} DESC LIMIT 1"
            ))?
            .query_row([model], |row| row.get(0))
            .optional()?;
        if let Some(last) = last {
            return Ok(last);
        }
    }
    Ok(0)
}

/// Whether a model is heard as its last day lets one expect; none when that says nothing.
pub(super) fn is_heard(db: &Connection, model: &str, heard_at: i64, now: i64) -> rusqlite::Result<Option<bool>> {
    let ends = heard_at.div_euclid(HOUR_MICROS) * HOUR_MICROS;
    let (hours, quietest): (i64, i64) = db
        .prepare_cached(
            "SELECT count(*), coalesce(min(valid), 0) FROM sli_hours
             WHERE model = ?1 AND sli = 'availability' AND label = '' AND hour >= ?2 AND hour < ?3 AND valid > 0",
        )?
        .query_row(params![model, ends - STEADY_HOURS * HOUR_MICROS, ends], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let silence = now.saturating_sub(heard_at);
    let expected = quietest as f64 * silence as f64 / HOUR_MICROS as f64;
    let is_missed = silence >= SHORTEST_MICROS && expected >= MISSED_REQUESTS && silence < GONE_MICROS;
    Ok((hours == STEADY_HOURS).then_some(!is_missed))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::slis::SliCounts;

    const MINUTE: i64 = 60_000_000;
    /// A day of requests ends here, within an hour.
    const LAST: i64 = 1_000 * HOUR_MICROS + 17 * MINUTE;

    /// A model with so many requests in each of its last hours, but for one of them.
    fn day(each: u64, quietest: u64) -> Connection {
        let db = crate::store::in_memory().unwrap();
        let mut counts = SliCounts::default();
        for hour in 0..30 {
            let valid = if hour == 7 { quietest } else { each };
            counts.count("m", "availability", "", LAST - hour * HOUR_MICROS, Counts { good: 0, valid, unknown: 0 });
        }
        counts.store(&db).unwrap();
        db
    }

    fn heard_after(db: &Connection, minutes: i64) -> Option<bool> {
        let last = last_counted(db, "m").unwrap();
        is_heard(db, "m", last, last + minutes * MINUTE).unwrap()
    }

    #[test]
    fn a_silence_is_one_when_the_quietest_hour_makes_it_unlikely() {
        let db = day(6000, 60);
        assert_eq!(last_counted(&db, "m").unwrap(), LAST);
        assert_eq!([0, 6, 7, 23 * 60].map(|minutes| heard_after(&db, minutes)), [true, true, false, false].map(Some));
        assert_eq!(heard_after(&day(6000, 6000), 1), Some(false), "a minute without a hundred requests");
        assert_eq!(heard_after(&day(6000, 1), 6 * 60), Some(true), "one in an hour may be late");
    }

    #[test]
    fn who_says_how_long_it_may_be_silent_is_missed_after_that_for_as_long_as_it_is() {
        let limit = Some(Duration::from_secs(86_400));
        let after = |hours: i64, max_age| with_limit(None, (LAST, max_age), LAST + hours * HOUR_MICROS);
        assert_eq!([1, 24, 25, 2400].map(|hours| after(hours, limit)), [true, true, false, false].map(Some));
        assert_eq!(after(2400, None), None);
        assert_eq!(
            with_limit(Some(false), (LAST, limit), LAST),
            Some(false),
            "a silence that is unlikely is one before"
        );
        assert_eq!(with_limit(None, (0, limit), LAST), None, "it never spoke");
        // What is known to the second goes after a week.
        let db = day(1, 1);
        db.execute("DELETE FROM sli_counts", []).unwrap();
        assert_eq!(last_counted(&db, "m").unwrap(), LAST / HOUR_MICROS * HOUR_MICROS);
    }

    #[test]
    fn who_sleeps_is_new_or_gone_is_not_missed() {
        assert_eq!(heard_after(&day(6000, 0), 600), None);
        assert_eq!(heard_after(&day(6000, 60), 24 * 60), Some(true));
        let db = crate::store::in_memory().unwrap();
        assert_eq!((last_counted(&db, "m").unwrap(), is_heard(&db, "m", 0, LAST).unwrap()), (0, None));
    }
}
