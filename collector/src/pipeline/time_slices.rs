//! Windows as events of an indicator, so that drift and quality have objectives, budgets and burn rates as requests have.
//!
//! A window whose score is below its limit is good, one whose score reaches it is bad, and one without a verdict is unknown:
//! what was not judged is neither. A window is counted when it closes, at its end as events have it, in the transaction that
//! stores it; so it counts once however often the collector starts, and where the past is gone through again it counts alike.

use driftline_alerts::Counts;
use driftline_detectors::{Score, Verdict};

use super::Pipeline;
use super::series::ClosedWindow;
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
    pub(super) fn count_slices(&mut self, model: &str, window: &ClosedWindow) {
        let Some(state) = self.models.get(model) else { return };
        // One that is ahead, by somebody's clock, must not hide in the future.
        let at = window.ends.min(now_micros());
        for slices in &state.config.slis.slices {
            let counts = judged(slices, window);
            self.next.slis.count(model, SLICES_SLI, &slices.name, at, counts);
            self.parts.metrics.sli(model, SLICES_SLI, &slices.name).count(counts);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use driftline_alerts::{Objective, Pace, Period, Reading};
    use driftline_detectors::{Detector, Noise};
    use rusqlite::Connection;

    use super::*;
    use crate::pipeline::series::ClosedColumn;
    use crate::pipeline::slis::{self, HOUR_MICROS, SliCounts};

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
        let db = Connection::open_in_memory().unwrap();
        db.execute_batch(crate::store::SCHEMA).unwrap();
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
}
