//! Windows as events of an indicator, so that drift and quality have objectives, budgets and burn rates as requests have.
//!
//! A window whose score is below its limit is good, one whose score reaches it is bad, and one without a verdict is unknown:
//! what was not judged is neither. A window is counted when it closes, at its end as events have it, in the transaction that
//! stores it; so it counts once however often the collector starts, and where the past is gone through again it counts alike.
//!
//! What each window was counted as is kept beside it. When it is made again, of rows that came late or by another reference, its
//! new event takes the old one's place.

use driftline_alerts::Counts;
use driftline_detectors::{Score, Verdict};
use rusqlite::{Connection, OptionalExtension, params};

use super::checkpoint::StoredWindow;
use super::series::ClosedWindow;
use super::{Pipeline, slis};
use crate::config::{SLICES_SLI, Slices};
use crate::times::now_micros;

/// What a window is: one event. Columns without a verdict say nothing as long as another has one.
pub(crate) fn judged(slices: &Slices, window: &ClosedWindow) -> Counts {
    let is_watched = |column: &String| slices.columns.is_empty() || slices.columns.contains(column);
    let columns = window.columns.iter().filter(|column| is_watched(&column.column));
    let scores = columns.flat_map(|column| &column.scores).filter(|score| score.detector == slices.score);
    let is_bad = |score: &Score| match slices.below {
        Some(below) => score.effect >= below,
        None => score.verdict == Verdict::Drift,
    };
    let verdicts: Vec<bool> = scores.filter(|score| score.verdict != Verdict::NotEnoughData).map(is_bad).collect();
    match verdicts.as_slice() {
        [] => Counts { unknown: 1, ..Counts::default() },
        verdicts => Counts { good: u64::from(!verdicts.contains(&true)), valid: 1, unknown: 0 },
    }
}

impl Pipeline {
    /// Counts a window that closed.
    pub(super) fn count_slices(&mut self, (model, version): (&str, &str), window: &ClosedWindow) {
        let Some(state) = self.models.get(model) else { return };
        // One that is ahead, by somebody's clock, must not hide in the future.
        let at = window.ends.min(now_micros());
        for slices in &state.config.slis.slices {
            let counts = judged(slices, window);
            self.next.slis.count(model, SLICES_SLI, &slices.name, at, counts);
            self.parts.metrics.sli(model, SLICES_SLI, &slices.name).count(counts);
            self.next.counted_slices.push(CountedSlice {
                model: model.to_owned(),
                version: version.to_owned(),
                ends: window.ends,
                slices: slices.name.clone(),
                at,
                counts,
            });
        }
    }
}

/// What a window was counted as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CountedSlice {
    pub(crate) model: String,
    pub(crate) version: String,
    pub(crate) ends: i64,
    /// The entry of `slis.slices`.
    pub(crate) slices: String,
    /// At which time it counts.
    pub(crate) at: i64,
    pub(crate) counts: Counts,
}

impl CountedSlice {
    /// Keeps it, in the place of what was kept of the same window.
    pub(crate) fn store(&self, db: &Connection) -> rusqlite::Result<()> {
        let Self { model, version, ends, slices, at, counts } = self;
        let [good, valid, unknown] = [counts.good, counts.valid, counts.unknown].map(|count| count as i64);
        db.prepare_cached(
            "INSERT OR REPLACE INTO counted_slices (model, version, ends, slices, at, good, valid, unknown)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
        )?
        .execute(params![model, version, ends, slices, at, good, valid, unknown])?;
        Ok(())
    }

    /// When a window counted, and as what; none of one that was not, or before that was kept.
    fn stored(db: &Connection, window: &StoredWindow, slices: &str) -> rusqlite::Result<Option<(i64, Counts)>> {
        db.prepare_cached(
            "SELECT at, good, valid, unknown FROM counted_slices
             WHERE model = ?1 AND version = ?2 AND ends = ?3 AND slices = ?4",
        )?
        .query_row(params![window.model, window.version, window.window.ends, slices], |row| {
            Ok((row.get(0)?, slis::counts_of(row, 1)?))
        })
        .optional()
    }
}

/// Counts a window that was made again: what it is now takes the place of what it was counted as. Gives for how many entries that
/// is another. A window that `was_stored` and of which it is not known how it counted, because that was not kept yet, is left as it
/// is wherever its hour was counted at all.
pub(crate) fn recount(
    db: &Connection,
    slices: &[Slices],
    (stored, was_stored): (&StoredWindow, bool),
    now: i64,
) -> rusqlite::Result<u64> {
    let mut changed = 0;
    for one in slices {
        let counts = judged(one, &stored.window);
        let known = CountedSlice::stored(db, stored, &one.name)?;
        let (at, before) = match known {
            Some(known) => known,
            None => (stored.window.ends.min(now), Counts::default()),
        };
        let is_of_before =
            known.is_none() && was_stored && slis::has_hour(db, (&stored.model, SLICES_SLI, &one.name), at)?;
        if counts == before || is_of_before || !slis::is_kept(at, now) {
            continue;
        }
        slis::replace(db, (&stored.model, SLICES_SLI, &one.name), at, (before, counts), now)?;
        let (model, version, slices) = (stored.model.clone(), stored.version.clone(), one.name.clone());
        CountedSlice { model, version, ends: stored.window.ends, slices, at, counts }.store(db)?;
        changed += 1;
    }
    Ok(changed)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::Duration;

    use driftline_alerts::{Objective, Pace, Period, Reading};
    use driftline_detectors::{Detector, Noise};

    use super::*;
    use crate::pipeline::series::ClosedColumn;
    use crate::pipeline::slis::{HOUR_MICROS, SliCounts};

    fn slices(below: Option<f64>, columns: &[&str]) -> Slices {
        let columns = columns.iter().map(|column| (*column).to_owned()).collect();
        Slices { name: "drift".into(), score: Detector::Psi, below, columns }
    }

    /// A window of columns with an effect of psi and its verdict each, and with missing values throughout.
    fn window(columns: &[(&str, f64, Verdict)]) -> ClosedWindow {
        let score = |detector, effect, verdict| Score {
            detector,
            value: effect,
            upper: effect,
            effect,
            interval: (effect, effect),
            null_mean: 0.0,
            n_reference: 1000,
            n_window: 500,
            p_value: 0.5,
            noise: Noise { independent: 0.05, blocks: None, budget: None },
            threshold: 0.25,
            verdict,
        };
        let column = |(name, effect, verdict): &(&str, f64, Verdict)| ClosedColumn {
            column: (*name).to_owned(),
            scores: vec![score(Detector::Psi, *effect, *verdict), score(Detector::MissingShare, 1.0, Verdict::Drift)],
            causes: Vec::new(),
            bars: Vec::new(),
            beside: Vec::new(),
        };
        ClosedWindow {
            starts: 0,
            ends: HOUR_MICROS,
            rows: 500,
            filled: 1,
            panes: 1,
            columns: columns.iter().map(column).collect(),
            profiles: Vec::new(),
            segments: Vec::new(),
        }
    }

    fn stored(window: ClosedWindow) -> StoredWindow {
        StoredWindow { model: "m".into(), version: "1".into(), reference: String::new(), window }
    }

    const GOOD: Counts = Counts { good: 1, valid: 1, unknown: 0 };
    const BAD: Counts = Counts { good: 0, valid: 1, unknown: 0 };
    const UNKNOWN: Counts = Counts { good: 0, valid: 0, unknown: 1 };

    #[test]
    fn a_window_is_good_below_its_limit_bad_from_there_on_and_unknown_without_a_verdict() {
        let own = slices(Some(0.2), &[]);
        let of = |columns: &[(&str, f64, Verdict)]| judged(&own, &window(columns));
        assert_eq!(of(&[("x", 0.19, Verdict::Ok)]), GOOD);
        assert_eq!(of(&[("x", 0.2, Verdict::Ok)]), BAD);
        assert_eq!(of(&[("x", 9.0, Verdict::NotEnoughData)]), UNKNOWN);
        assert_eq!(of(&[]), UNKNOWN);
        assert_eq!(of(&[("x", 0.1, Verdict::Ok), ("y", 9.0, Verdict::NotEnoughData)]), GOOD, "one has a verdict");
        assert_eq!(of(&[("x", 0.1, Verdict::Ok), ("y", 0.3, Verdict::Drift)]), BAD, "any of them");
        let named = |columns: &[(&str, f64, Verdict)]| judged(&slices(Some(0.2), &["x"]), &window(columns));
        assert_eq!(named(&[("x", 0.1, Verdict::Ok), ("y", 0.3, Verdict::Drift)]), GOOD, "y is not asked for");
        assert_eq!(named(&[("y", 0.3, Verdict::Drift)]), UNKNOWN);
    }

    #[test]
    fn without_a_limit_the_verdict_decides() {
        let of = |effect, verdict| judged(&slices(None, &[]), &window(&[("x", effect, verdict)]));
        assert_eq!((of(0.24, Verdict::Ok), of(0.26, Verdict::Drift)), (GOOD, BAD));
    }

    #[test]
    fn a_month_of_windows_has_the_budget_that_paper_and_pencil_give_it() {
        let db = crate::store::in_memory().unwrap();
        let mut counts = SliCounts::default();
        let own = slices(Some(0.2), &[]);
        // 720 hours: the last nine drift, and of twenty nothing could be said.
        for hour in 0..720 {
            let verdict = if hour < 20 { Verdict::NotEnoughData } else { Verdict::Ok };
            let effect = if hour >= 711 { 0.5 } else { 0.1 };
            let events = judged(&own, &window(&[("x", effect, verdict)]));
            counts.count("m", SLICES_SLI, &own.name, (hour + 1) * HOUR_MICROS, events);
        }
        counts.store(&db).unwrap();
        let objective = Objective::new(0.95, Period::Rolling(Duration::from_secs(30 * 86_400))).unwrap();
        let now = 720 * HOUR_MICROS;
        let readings = slis::burn(&db, "m", SLICES_SLI, (&objective, Pace::Slow), now).unwrap();
        let [(label, Reading::Burn { period, long, short })] = &readings[..] else { panic!("{readings:?}") };
        assert_eq!((label.as_str(), *period), ("drift", Counts { good: 691, valid: 700, unknown: 20 }));
        // 5 % of 700 are 35 bad ones, of which nine are spent.
        assert!((objective.budget(*period).left - 26.0 / 35.0).abs() < 1e-9);
        // A day and three of them, from their first moment to their last: 25 and 73 ends of windows; two hours, and six.
        assert_eq!([long[0].valid, long[1].valid, short[0].valid, short[1].valid], [25, 73, 3, 7]);
        assert_eq!([long[0].bad(), long[1].bad(), short[0].bad(), short[1].bad()], [9, 9, 3, 7]);
        // 9 of 25 of a twentieth burn at 7.2: more than 3, and no chance.
        let pair = objective.pairs(Pace::Slow)[0];
        assert!((objective.burn_rate(long[0]).unwrap() - 7.2).abs() < 1e-9);
        assert!(objective.burns(&pair, long[0], short[0]));
    }

    #[test]
    fn a_window_that_is_made_again_counts_as_what_it_is_now_and_once() {
        let db = crate::store::in_memory().unwrap();
        let own = slices(Some(0.2), &[]);
        let now = 50 * HOUR_MICROS;
        let of = |effect: f64| stored(window(&[("x", effect, Verdict::Ok)]));
        let both = |from| {
            let count = |sums: BTreeMap<String, Counts>| sums.get("drift").copied().unwrap_or_default();
            count(slis::sums(&db, "m", SLICES_SLI, from, now).unwrap())
        };
        // By its slice alone, and by the whole hour.
        let counted = || [both(HOUR_MICROS), both(0)];
        let again = |window: &StoredWindow, was_stored| {
            recount(&db, std::slice::from_ref(&own), (window, was_stored), now).unwrap()
        };
        assert_eq!(again(&of(0.1), false), 1, "one that was not there before");
        assert_eq!(counted(), [GOOD; 2]);
        assert_eq!(again(&of(0.1), true), 0, "it is as it was");
        assert_eq!(again(&of(0.3), true), 1);
        assert_eq!(counted(), [BAD; 2]);
        assert_eq!((again(&stored(window(&[])), true), counted()), (1, [UNKNOWN; 2]));
        assert_eq!((again(&of(0.1), true), counted()), (1, [GOOD; 2]));
    }

    #[test]
    fn a_window_that_counted_before_that_was_kept_stays_as_it_counted() {
        let db = crate::store::in_memory().unwrap();
        let own = slices(Some(0.2), &[]);
        let now = 50 * HOUR_MICROS;
        let stored = stored(window(&[("x", 0.3, Verdict::Ok)]));
        let mut counts = SliCounts::default();
        counts.count("m", SLICES_SLI, "drift", HOUR_MICROS, GOOD);
        counts.store(&db).unwrap();
        let again = |name: &str, now| {
            let slices = Slices { name: name.to_owned(), ..own.clone() };
            recount(&db, &[slices], (&stored, true), now).unwrap()
        };
        assert_eq!(again("drift", now), 0, "how it counted is not known, and that it did is");
        assert_eq!(slis::sums(&db, "m", SLICES_SLI, 0, now).unwrap()["drift"], GOOD);
        assert_eq!(again("new", now), 1, "what was asked for since then never counted it");
        assert_eq!(slis::sums(&db, "m", SLICES_SLI, 0, now).unwrap()["new"], BAD);
        // Slices are not kept for so long, and hours are.
        assert_eq!(again("late", now + 8 * 24 * HOUR_MICROS), 1);
        let rows = |table: &str| {
            let query = format!("SELECT count(*) FROM {table} WHERE label = 'late'");
            db.query_row(&query, [], |row| row.get::<_, i64>(0)).unwrap()
        };
        assert_eq!((rows("sli_counts"), rows("sli_hours")), (0, 1));
    }
}
