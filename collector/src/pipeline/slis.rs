//! Service level indicators: good, valid and unknown events, counted exactly, in slices of ten seconds.

use std::collections::BTreeMap;
use std::time::Duration;

use driftline_alerts::{Counts, Few, LastEvents, Objective, Pace, Reading};
use rusqlite::{Connection, Row, params};
use serde::{Deserialize, Serialize};

/// The length of a slice, in microseconds.
pub(crate) const SLICE_MICROS: i64 = 10_000_000;

/// Longer stretches than this are added up by the hour.
pub(super) const HOUR_MICROS: i64 = 3_600_000_000;

/// Slices are kept for a week.
pub(super) const KEEP_SLICES_MICROS: i64 = 7 * 24 * HOUR_MICROS;
/// Hours are kept for longer than the longest period of an objective.
pub(super) const KEEP_HOURS_MICROS: i64 = 100 * 24 * HOUR_MICROS;

const YEAR_MICROS: f64 = 365.25 * 86_400e6;

/// What indicators of the collector itself are counted under. No model has this name.
pub(crate) const COLLECTOR: &str = "";

/// What was counted since the last checkpoint, by model.
#[derive(Debug, Default)]
pub(crate) struct SliCounts {
    models: Vec<(String, ModelCounts)>,
}

/// What was counted of one model.
#[derive(Debug, Default)]
struct ModelCounts {
    /// By indicator, label and slice.
    counts: BTreeMap<(&'static str, String, i64), Counts>,
    /// By slice.
    latencies: BTreeMap<i64, LatencyCounts>,
}

impl SliCounts {
    /// Counts events of one indicator at a time.
    pub(crate) fn count(&mut self, model: &str, sli: &'static str, label: &str, at: i64, events: Counts) {
        if events.seen() > 0 {
            let key = (sli, label.to_owned(), at.div_euclid(SLICE_MICROS) * SLICE_MICROS);
            *self.model(model).counts.entry(key).or_default() += events;
        }
    }

    /// Counts one request's latency, for as many requests as it stands for.
    pub(crate) fn latency(&mut self, model: &str, at: i64, micros: u64, weight: u64) {
        let slice = at.div_euclid(SLICE_MICROS) * SLICE_MICROS;
        self.model(model).latencies.entry(slice).or_default().count(micros, weight);
    }

    /// The model's counts. A batch is of one model, and few come between two checkpoints.
    fn model(&mut self, model: &str) -> &mut ModelCounts {
        let known = self.models.iter().rposition(|(name, _)| name == model);
        let place = known.unwrap_or_else(|| {
            self.models.push((model.to_owned(), ModelCounts::default()));
            self.models.len() - 1
        });
        &mut self.models[place].1
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.models.is_empty()
    }

    /// Adds the counts to what is stored.
    pub(crate) fn store(&self, db: &Connection) -> rusqlite::Result<()> {
        let mut statement = db.prepare_cached(
            "INSERT INTO sli_counts (model, sli, label, slice, good, valid, unknown) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
             ON CONFLICT (model, sli, label, slice) DO UPDATE
             SET good = good + excluded.good, valid = valid + excluded.valid, unknown = unknown + excluded.unknown",
        )?;
        let mut hourly = db.prepare_cached(
            "INSERT INTO sli_hours (model, sli, label, hour, good, valid, unknown) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
             ON CONFLICT (model, sli, label, hour) DO UPDATE
             SET good = good + excluded.good, valid = valid + excluded.valid, unknown = unknown + excluded.unknown",
        )?;
        for (model, of_model) in &self.models {
            for ((sli, label, slice), counts) in &of_model.counts {
                let [good, valid, unknown] = [counts.good, counts.valid, counts.unknown].map(|count| count as i64);
                statement.execute(params![model, sli, label, slice, good, valid, unknown])?;
                let hour = floor(*slice, HOUR_MICROS);
                hourly.execute(params![model, sli, label, hour, good, valid, unknown])?;
            }
            for (slice, new) in &of_model.latencies {
                store_latencies(db, model, *slice, new)?;
            }
        }
        Ok(())
    }
}

/// Adds latencies of a slice to those that are stored.
fn store_latencies(db: &Connection, model: &str, slice: i64, new: &LatencyCounts) -> rusqlite::Result<()> {
    let mut total = new.clone();
    let stored: Option<Vec<u8>> = db
        .prepare_cached("SELECT counts FROM latencies WHERE model = ?1 AND slice = ?2")?
        .query_map(params![model, slice], |row| row.get(0))?
        .next()
        .transpose()?;
    if let Some(stored) = stored.and_then(|bytes| postcard::from_bytes::<LatencyCounts>(&bytes).ok()) {
        total.merge(&stored);
    }
    db.prepare_cached("INSERT OR REPLACE INTO latencies (model, slice, counts) VALUES (?1, ?2, ?3)")?
        .execute(params![model, slice, total.to_bytes()])?;
    Ok(())
}

/// The beginning of the slice or hour that a time lies in.
fn floor(at: i64, length: i64) -> i64 {
    at.div_euclid(length) * length
}

/// The sum of an indicator's counts from a time up to now, for each of its labels: of whole hours, and of the slices before
/// the first and after the last of them. What is in the future, by a clock that is ahead, is left out.
pub(crate) fn sums(
    db: &Connection,
    model: &str,
    sli: &str,
    from: i64,
    now: i64,
) -> rusqlite::Result<BTreeMap<String, Counts>> {
    let (first_hour, last_hour) = (floor(from - 1, HOUR_MICROS) + HOUR_MICROS, floor(now, HOUR_MICROS));
    db.prepare_cached(
        "SELECT label, sum(good), sum(valid), sum(unknown) FROM (
             SELECT label, good, valid, unknown FROM sli_counts
             WHERE model = ?1 AND sli = ?2 AND slice >= ?3 AND slice < min(?4, ?6 + 1)
             UNION ALL
             SELECT label, good, valid, unknown FROM sli_hours WHERE model = ?1 AND sli = ?2 AND hour >= ?4 AND hour < ?5
             UNION ALL
             SELECT label, good, valid, unknown FROM sli_counts
             WHERE model = ?1 AND sli = ?2 AND slice >= max(?4, ?5) AND slice <= ?6)
         GROUP BY label",
    )?
    .query_map(params![model, sli, floor(from, SLICE_MICROS), first_hour, last_hour, now], |row| {
        Ok((row.get(0)?, counts_of(row, 1)?))
    })?
    .collect()
}

/// Whether anything was counted of a part of an indicator in the hour of a time.
pub(crate) fn has_hour(db: &Connection, (model, sli, label): (&str, &str, &str), at: i64) -> rusqlite::Result<bool> {
    db.prepare_cached(
        "SELECT EXISTS (SELECT 1 FROM sli_hours WHERE model = ?1 AND sli = ?2 AND label = ?3 AND hour = ?4)",
    )?
    .query_row(params![model, sli, label, floor(at, HOUR_MICROS)], |row| row.get(0))
}

/// Whether what counted at a time is kept anywhere.
pub(crate) fn is_kept(at: i64, now: i64) -> bool {
    floor(at, HOUR_MICROS) >= now.saturating_sub(KEEP_HOURS_MICROS)
}

/// Puts events in the place of others that were counted at the same time, wherever that is still kept.
pub(crate) fn replace(
    db: &Connection,
    (model, sli, label): (&str, &str, &str),
    at: i64,
    (before, after): (Counts, Counts),
    now: i64,
) -> rusqlite::Result<()> {
    let more = |before: u64, after: u64| after as i64 - before as i64;
    let [good, valid, unknown] =
        [more(before.good, after.good), more(before.valid, after.valid), more(before.unknown, after.unknown)];
    for (table, column, length, kept) in [
        ("sli_counts", "slice", SLICE_MICROS, KEEP_SLICES_MICROS),
        ("sli_hours", "hour", HOUR_MICROS, KEEP_HOURS_MICROS),
    ] {
        let begins = floor(at, length);
        if begins < now.saturating_sub(kept) {
            continue;
        }
        db.prepare_cached(&format!(
            "INSERT INTO {table} (model, sli, label, {column}, good, valid, unknown)
             VALUES (?1, ?2, ?3, ?4, max(?5, 0), max(?6, 0), max(?7, 0))
             ON CONFLICT (model, sli, label, {column}) DO UPDATE
             SET good = max(good + ?5, 0), valid = max(valid + ?6, 0), unknown = max(unknown + ?7, 0)"
        ))?
        .execute(params![model, sli, label, begins, good, valid, unknown])?;
    }
    Ok(())
}

/// Good, valid and unknown events, from a column on.
pub(crate) fn counts_of(row: &Row<'_>, first: usize) -> rusqlite::Result<Counts> {
    let count = |column: usize| Ok::<_, rusqlite::Error>(row.get::<_, i64>(column)? as u64);
    Ok(Counts { good: count(first)?, valid: count(first + 1)?, unknown: count(first + 2)? })
}

/// What a budget's rule looks at, for each of the indicator's labels.
pub(crate) fn burn(
    db: &Connection,
    model: &str,
    sli: &str,
    (objective, pace): (&Objective, Pace),
    now: i64,
) -> rusqlite::Result<Vec<(String, Reading)>> {
    let over = |length: Duration| sums(db, model, sli, now - length.as_micros() as i64, now);
    // From the beginning of an hour: slices are not kept for so long. Where clocks differ by half an hour, a part of the
    // calendar has half an hour more.
    let begins = floor(objective.period().began(now), HOUR_MICROS);
    let period = sums(db, model, sli, begins, now)?;
    let (mut long, mut short) = (Vec::new(), Vec::new());
    for pair in objective.pairs(pace) {
        long.push(over(pair.long)?);
        short.push(over(pair.short)?);
    }
    let of = |windows: &[BTreeMap<String, Counts>], label: &str| {
        std::array::from_fn(|index| windows.get(index).and_then(|sums| sums.get(label)).copied().unwrap_or_default())
    };
    let reading = |(label, period): (String, Counts)| {
        let reading = Reading::Burn { period, long: of(&long, &label), short: of(&short, &label) };
        (label, reading)
    };
    // A period of the calendar that has just begun knows nothing of what burns since before it.
    let mut all = period;
    long.iter().chain(&short).flat_map(BTreeMap::keys).for_each(|label| {
        all.entry(label.clone()).or_default();
    });
    Ok(all.into_iter().map(reading).collect())
}

/// The last events of an indicator, for each of its labels that had some: of whole slices from the newest back, and at the least those
/// of the time over which a share is looked at where enough come.
pub(crate) fn last_events(
    db: &Connection,
    model: &str,
    sli: &str,
    (few, over): (&Few, Duration),
    now: i64,
) -> rusqlite::Result<Vec<(String, LastEvents)>> {
    let from = floor(now - few.within.as_micros() as i64, SLICE_MICROS);
    let recent = now - over.as_micros() as i64;
    let of_label = |(label, sum): (String, Counts)| {
        let mut slices = db.prepare_cached(
            "SELECT slice, good, valid, unknown FROM sli_counts
             WHERE model = ?1 AND sli = ?2 AND label = ?3 AND slice BETWEEN ?4 AND ?5 ORDER BY slice DESC",
        )?;
        let mut slices = slices.query(params![model, sli, label, from, now])?;
        let mut events = LastEvents {
            per_year: per_year(db, (model, sli, &label), sum.valid, (from, now))?,
            ..LastEvents::default()
        };
        while let Some(slice) = slices.next()? {
            let is_recent = slice.get::<_, i64>(0)? > recent;
            let of_slice = counts_of(slice, 1)?;
            for (counts, wanted) in [(&mut events.newest, few.events.newest()), (&mut events.last, few.events.last())] {
                if is_recent || counts.valid < wanted {
                    *counts += of_slice;
                }
            }
            if !is_recent && events.last.valid >= few.events.last() {
                break;
            }
        }
        Ok((label, events))
    };
    let judged = sums(db, model, sli, from, now)?.into_iter().filter(|(_, sum)| sum.valid > 0);
    judged.map(of_label).collect()
}

/// How many events come in a year, when so many came since a time, or since the first of them.
fn per_year(
    db: &Connection,
    (model, sli, label): (&str, &str, &str),
    valid: u64,
    (from, now): (i64, i64),
) -> rusqlite::Result<f64> {
    let first: Option<i64> = db
        .prepare_cached(
            "SELECT min(slice) FROM sli_counts WHERE model = ?1 AND sli = ?2 AND label = ?3 AND slice >= ?4 AND valid > 0",
        )?
        .query_row(params![model, sli, label, from], |row| row.get(0))?;
    let span = (now - first.unwrap_or(from)).max(HOUR_MICROS);
    Ok(valid as f64 / span as f64 * YEAR_MICROS)
}

/// Buckets for each doubling of the latency: each is at most a twelfth wider than its lower end.
const BUCKETS_PER_DOUBLING: u32 = 8;
/// Doublings from one microsecond up: the last bucket begins beyond an hour.
const DOUBLINGS: u32 = 33;

/// Latencies as counts in fixed buckets, so that they add up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LatencyCounts {
    counts: Vec<u64>,
}

impl Default for LatencyCounts {
    fn default() -> Self {
        Self { counts: vec![0; (DOUBLINGS * BUCKETS_PER_DOUBLING) as usize] }
    }
}

impl LatencyCounts {
    fn bucket(micros: u64) -> usize {
        let micros = micros.max(1);
        let doubling = micros.ilog2();
        // The next three bits below the leading one.
        let within = if doubling >= 3 { micros >> (doubling - 3) } else { micros << (3 - doubling) } & 7;
        ((doubling * BUCKETS_PER_DOUBLING) as usize + within as usize)
            .min((DOUBLINGS * BUCKETS_PER_DOUBLING) as usize - 1)
    }

    /// The upper end of a bucket, in microseconds.
    fn upper(bucket: usize) -> f64 {
        let (doubling, within) = (bucket as u32 / BUCKETS_PER_DOUBLING, bucket as u32 % BUCKETS_PER_DOUBLING);
        f64::from(doubling).exp2() * (1.0 + f64::from(within + 1) / f64::from(BUCKETS_PER_DOUBLING))
    }

    pub(crate) fn count(&mut self, micros: u64, weight: u64) {
        self.counts[Self::bucket(micros)] += weight;
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        for (mine, theirs) in self.counts.iter_mut().zip(&other.counts) {
            *mine += theirs;
        }
    }

    pub(crate) fn total(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// The latency in milliseconds that a share of requests stays below, to within an eighth; none without requests.
    pub(crate) fn quantile_ms(&self, share: f64) -> Option<f64> {
        let total = self.total();
        let rank = ((total as f64 * share).ceil() as u64).max(1);
        let mut below = 0;
        let bucket = self.counts.iter().position(|count| {
            below += count;
            below >= rank
        })?;
        Some(Self::upper(bucket) / 1000.0)
    }

    fn to_bytes(&self) -> Vec<u8> {
        // Serialising a vector of integers into memory cannot fail.
        postcard::to_stdvec(self).unwrap_or_default()
    }

    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        postcard::from_bytes(bytes).ok()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn hours_and_the_slices_before_them_are_all_the_slices() {
        let db = crate::store::in_memory().unwrap();
        let mut counts = SliCounts::default();
        let minute = 60_000_000;
        // One event every seven minutes for two days, every fifth of them bad.
        let events: Vec<(i64, u64)> = (0..411).map(|i| (i * 7 * minute, u64::from(i % 5 != 0))).collect();
        for (at, good) in &events {
            counts.count("m", "latency", "", *at, Counts { good: *good, valid: 1, unknown: 0 });
        }
        counts.store(&db).unwrap();
        // Some of them are in the future, in the same hour and in others.
        let now = events[events.len() - 20].0 + 3 * minute;
        for length in [5, 59, 60, 61, 95, 360, 1440, 2000, 100_000] {
            let from = floor(now - length * minute, SLICE_MICROS);
            let within: Vec<_> = events.iter().filter(|(at, _)| (from..=now).contains(at)).collect();
            let expected =
                Counts { good: within.iter().map(|(_, good)| good).sum(), valid: within.len() as u64, unknown: 0 };
            let sums = sums(&db, "m", "latency", now - length * minute, now).unwrap();
            assert_eq!(sums.get("").copied().unwrap_or_default(), expected, "{length} minutes");
        }
    }

    #[test]
    fn a_budget_of_the_calendar_is_of_what_came_since_the_first_by_the_clocks_of_its_place() {
        let db = crate::store::in_memory().unwrap();
        let micros = |time: &str| time.parse::<jiff::Timestamp>().unwrap().as_microsecond();
        let mut counts = SliCounts::default();
        // Berlin's March begins at 23:00 of February by UTC and ends at 22:00; the clocks go forward in between.
        for (at, valid) in [
            ("2026-02-28T22:59:59Z", 1),
            ("2026-02-28T23:00:00Z", 10),
            ("2026-03-31T21:59:59Z", 100),
            ("2026-03-31T22:00:00Z", 1000),
        ] {
            counts.count("m", "latency", "", micros(at), Counts { good: 0, valid, unknown: 0 });
        }
        counts.store(&db).unwrap();
        let zone = jiff::tz::TimeZone::get("Europe/Berlin").unwrap();
        let month = driftline_alerts::Period::Calendar { unit: driftline_alerts::CalendarUnit::Month, zone };
        let objective = Objective::new(0.99, month).unwrap();
        let of_period = |now: &str| match burn(&db, "m", "latency", (&objective, Pace::Fast), micros(now)).unwrap()[..]
        {
            [(_, Reading::Burn { period, .. })] => period.valid,
            ref other => panic!("{other:?}"),
        };
        let times = ["2026-02-28T22:59:59Z", "2026-02-28T23:00:05Z", "2026-03-31T21:59:59Z", "2026-03-31T22:00:05Z"];
        assert_eq!(times.map(of_period), [1, 10, 110, 1000]);
    }

    #[test]
    fn what_is_unknown_is_kept_beside_what_was_judged_and_judges_nothing_itself() {
        let db = crate::store::in_memory().unwrap();
        let mut counts = SliCounts::default();
        // Of one hour, and of the one that is on; in the middle of it nothing but losses.
        let last = 2 * HOUR_MICROS + 30_000_000;
        counts.count("m", "availability", "", HOUR_MICROS, Counts { good: 3, valid: 4, unknown: 2 });
        counts.count("m", "availability", "", last, Counts { unknown: 5, ..Counts::default() });
        counts.store(&db).unwrap();
        let all = sums(&db, "m", "availability", 0, last).unwrap();
        assert_eq!(all[""], Counts { good: 3, valid: 4, unknown: 7 });
        assert_eq!(sums(&db, "m", "availability", last, last).unwrap()[""], Counts { unknown: 5, ..Counts::default() });
        let events = driftline_alerts::FewEvents::new(0.99, 20, 1.0).unwrap();
        let few = |hours: u64| Few { events, within: Duration::from_secs(hours * 3600) };
        let over = Duration::from_secs(300);
        let last_of = |hours: u64| last_events(&db, "m", "availability", (&few(hours), over), last).unwrap();
        assert_eq!(last_of(24)[0].1.last, Counts { good: 3, valid: 4, unknown: 7 });
        assert!(last_of(1).is_empty(), "of losses alone there are no last events");
    }

    proptest! {
        #[test]
        fn quantiles_are_right_to_an_eighth(mut latencies in proptest::collection::vec(1u64..4_000_000_000, 1..200), share in 0.01..1.0f64) {
            let mut counts = LatencyCounts::default();
            for latency in &latencies {
                counts.count(*latency, 1);
            }
            latencies.sort_unstable();
            let exact = latencies[((latencies.len() as f64 * share).ceil() as usize).max(1) - 1] as f64 / 1000.0;
            let estimate = counts.quantile_ms(share).unwrap();
            prop_assert!(exact <= estimate && estimate <= exact * 1.1251, "{exact} {estimate}");
        }
    }

    #[test]
    fn the_last_events_are_those_that_came_last_however_long_ago_within_a_day() {
        let db = crate::store::in_memory().unwrap();
        let events = driftline_alerts::FewEvents::new(0.99, 20, 1.0).unwrap();
        let few = Few { events, within: Duration::from_secs(86_400) };
        let minute = 60_000_000;
        let last = |now: i64| {
            let all = last_events(&db, "m", "availability", (&few, Duration::from_secs(300)), now).unwrap();
            all.into_iter().map(|(_, events)| events).next()
        };
        assert_eq!(last(HOUR_MICROS), None);
        // One request every half an hour for two days; the last three failed.
        let mut counts = SliCounts::default();
        for i in 0..96 {
            counts.count(
                "m",
                "availability",
                "",
                i * 30 * minute,
                Counts { good: u64::from(i < 93), valid: 1, unknown: 0 },
            );
        }
        counts.store(&db).unwrap();
        let now = 95 * 30 * minute + minute;
        let events = last(now).unwrap();
        assert_eq!(
            (events.last, events.newest),
            (Counts { good: 17, valid: 20, unknown: 0 }, Counts { good: 2, valid: 5, unknown: 0 })
        );
        assert!((events.per_year / (48.0 * 365.25) - 1.0).abs() < 0.03, "{}", events.per_year);
        // A day later there is nothing that is not too old.
        assert_eq!(last(now + 25 * HOUR_MICROS), None);
        // A rush: all of some minutes count, not the seconds that hold the last twenty.
        let mut counts = SliCounts::default();
        (0..60).for_each(|i| {
            counts.count("m", "availability", "", now + i * 10_000_000, Counts { good: 100, valid: 100, unknown: 0 })
        });
        counts.store(&db).unwrap();
        let events = last(now + 600_000_000).unwrap();
        assert_eq!((events.last.valid, events.newest.valid), (2900, 2900));
    }

    #[test]
    fn nothing_counted_has_no_quantile() {
        assert_eq!(LatencyCounts::default().quantile_ms(0.5), None);
    }

    #[test]
    fn counts_add_up_over_checkpoints() {
        let db = crate::store::in_memory().unwrap();
        let mut counts = SliCounts::default();
        counts.count("m", "latency", "", 15_000_000, Counts { good: 9, valid: 10, unknown: 0 });
        counts.latency("m", 15_000_000, 3000, 1);
        counts.store(&db).unwrap();
        counts.store(&db).unwrap();
        let all = |from, now| sums(&db, "m", "latency", from, now).unwrap();
        assert_eq!(all(0, 15_000_000), BTreeMap::from([(String::new(), Counts { good: 18, valid: 20, unknown: 0 })]));
        assert!(all(20_000_000, 30_000_000).is_empty());
        assert!(all(0, 9_000_000).is_empty(), "what is in the future is not looked at");
        let bytes: Vec<u8> = db.query_row("SELECT counts FROM latencies", [], |row| row.get(0)).unwrap();
        assert_eq!(LatencyCounts::from_bytes(&bytes).unwrap().total(), 2);
    }
}
