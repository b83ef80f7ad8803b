use std::cell::RefCell;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use driftline_detectors::{ColumnKind, ReferenceBuilder};
use driftline_protocol::{Cells, Column, Role};
use proptest::prelude::*;

use super::*;
use crate::config::{ColumnType, TimeUnit};
use crate::pipeline::series::{Series, Wall};
use crate::pipeline::table::{Finished, RowMeta, Table};

const HOUR: i64 = 3_600_000_000;
const DAY: i64 = 24 * HOUR;

fn windows(pane_micros: i64, panes: u32, every: u32) -> Windows {
    Windows {
        pane: Duration::from_micros(pane_micros as u64),
        panes,
        every,
        min_filled: 1,
        lateness: Duration::ZERO,
        ..Windows::default()
    }
}

fn references() -> References {
    let mut builder = ReferenceBuilder::new("x", ColumnKind::Numeric);
    (0..4000).for_each(|i| builder.number(None, f64::from(i % 40)));
    References { columns: vec![builder.build(None).unwrap()], identity: "r".into(), ..References::default() }
}

fn table(values: &[f64]) -> Finished {
    let mut table = Table::default();
    for value in values {
        table.begin_row(RowMeta {
            event_time: 0,
            request_id: "",
            row_id: "",
            status: 200,
            end_state: "complete",
            latency_micros: Some(0),
            instance: "",
            received_at: 0,
        });
        let column = Column { name: "x".into(), role: Role::Feature, cells: Cells::Numbers(vec![*value]) };
        table.push(&column, ColumnType::Number, TimeUnit::Rfc3339, 0..1);
    }
    table.finish().unwrap()
}

/// A model version whose windows are compared, and kept as the database keeps them.
struct Version {
    windows: Windows,
    with: CompareWith,
    references: References,
    series: Series,
    comparing: Comparing,
    kept: RefCell<BTreeMap<i64, Vec<u8>>>,
    accepted: Vec<(i64, String)>,
}

impl Version {
    fn new(with: CompareWith, windows: Windows) -> Self {
        Self {
            series: Series::new(windows.clone(), None),
            comparing: Comparing::new(with, windows.clone()),
            windows,
            with,
            references: references(),
            kept: RefCell::default(),
            accepted: Vec::new(),
        }
    }

    /// Everything that is not stored is lost.
    fn restart(&mut self) {
        self.comparing = Comparing::new(self.with, self.windows.clone());
    }

    /// Counts a pane's rows, and gives the windows that close.
    fn count(&mut self, pane: i64, values: &[f64]) -> Vec<ClosedWindow> {
        let (now, start) = (Instant::now(), pane * self.windows.pane_micros());
        self.series.count(start, start, &table(values), &self.references, now);
        let wall = Wall::BesideEventTime(i64::MAX / 2);
        let mut closed = self.series.close_windows(&self.references, &Scoring::default(), now, wall);
        for window in &mut closed {
            let shelf = |ends: i64| EarlierWindow::unpacked(self.kept.borrow().get(&ends)?);
            let compared = self.comparing.compare(window, &self.references, &Scoring::default(), &shelf);
            let keep = compared.keep.map(|keep| (window.ends, keep.packed()));
            let mut kept = self.kept.borrow_mut();
            kept.extend(keep);
            *kept = kept.split_off(&self.comparing.keep_from(window.ends));
            self.accepted.extend(compared.accepted.into_iter().map(|column| (window.ends, column)));
        }
        closed
    }
}

/// Whether a window's PSI is beyond its limit: against the reference, and beside the recent windows.
fn verdicts(window: &ClosedWindow) -> (Verdict, Option<Verdict>) {
    let verdict = |name| window.columns[0].score(name).map(|score| score.verdict);
    (verdict("psi").unwrap(), verdict("recent_psi"))
}

/// A day's rows in some unit.
fn day(unit: f64) -> Vec<f64> {
    (0..800).map(|i| f64::from(i % 40) * unit).collect()
}

const WEEK: CompareWith = CompareWith { recent: Some(7), same_hour: None };

#[test]
fn a_change_is_new_for_a_week_and_what_is_normal_from_then_on() {
    let mut version = Version::new(WEEK, windows(DAY, 1, 1));
    let mut said = Vec::new();
    for number in 0..40 {
        let unit = if (12..30).contains(&number) { 2.5 } else { 1.0 };
        said.extend(version.count(number, &day(unit)).iter().map(verdicts));
    }
    let (quiet, drift) = (Some(Verdict::Ok), Some(Verdict::Drift));
    assert!(said[..5].iter().all(|verdicts| *verdicts == (Verdict::Ok, None)), "a week is not there yet: {said:?}");
    assert!(said[5..12].iter().all(|verdicts| *verdicts == (Verdict::Ok, quiet)), "{said:?}");
    assert!(said[12..19].iter().all(|verdicts| *verdicts == (Verdict::Drift, drift)), "new: {said:?}");
    assert!(said[19..30].iter().all(|verdicts| *verdicts == (Verdict::Drift, quiet)), "the reference is old: {said:?}");
    assert!(said[30..37].iter().all(|verdicts| *verdicts == (Verdict::Ok, drift)), "back, which is new, too: {said:?}");
    assert!(said[37..].iter().all(|verdicts| *verdicts == (Verdict::Ok, quiet)), "{said:?}");
    assert_eq!(version.accepted, [(20 * DAY, "x".to_owned()), (38 * DAY, "x".to_owned())], "it is said once");
}

#[test]
fn a_bad_day_is_no_part_of_what_the_next_is_measured_by() {
    let mut version = Version::new(WEEK, windows(DAY, 1, 1));
    let mut last = Vec::new();
    for number in 0..17 {
        last = version.count(number, &day(if (11..14).contains(&number) { 2.5 } else { 1.0 }));
    }
    let beside = &last[0].columns[0].beside[0];
    assert_eq!(verdicts(&last[0]), (Verdict::Ok, Some(Verdict::Ok)));
    assert_eq!(
        (beside.windows, beside.needed, beside.span),
        (7, 5, Some((5 * DAY, 15 * DAY))),
        "with the bad days between"
    );
}

#[test]
fn windows_that_slide_are_beside_days_that_ended_before_they_began() {
    let mut version = Version::new(WEEK, windows(6 * HOUR, 4, 1));
    let closed: Vec<ClosedWindow> = (0..60).flat_map(|pane| version.count(pane, &day(1.0))).collect();
    for window in &closed {
        let Some((_, last)) = window.columns[0].beside[0].span else { continue };
        assert!(last <= window.starts && last > window.starts - DAY && last % DAY == 0, "{last}: {}", window.starts);
    }
    assert_eq!(version.kept.borrow().len(), 14, "only windows side by side are kept");
}

#[test]
fn the_same_hour_has_its_own_past() {
    // Nights are unlike days: beside the last windows every one is new, beside those of its hour none is.
    let with = CompareWith { recent: Some(4), same_hour: Some(3) };
    let mut version = Version::new(with, windows(6 * HOUR, 1, 1));
    let closed: Vec<ClosedWindow> =
        (0..4 * 7 * 4).flat_map(|pane| version.count(pane, &day(if pane % 4 == 0 { 2.5 } else { 1.0 }))).collect();
    let verdict = |window: &ClosedWindow, name| window.columns[0].score(name).map(|score| score.verdict);
    let after_three_weeks = &closed[3 * 7 * 4..];
    assert!(after_three_weeks.iter().all(|window| verdict(window, "same_hour_psi") == Some(Verdict::Ok)));
    assert!(after_three_weeks.iter().any(|window| verdict(window, "recent_psi") == Some(Verdict::Drift)));
    let beside = &closed.last().unwrap().columns[0].beside[1];
    assert_eq!((beside.against, beside.windows, beside.scores[0].n_reference), (Against::SameHour, 3, 2400));
    assert!(version.kept.borrow().len() as u32 <= 3 * 7 * 4 + 1);
}

#[test]
fn a_restart_changes_no_score_by_a_bit() {
    let with = CompareWith { recent: Some(3), same_hour: Some(1) };
    let said = |restarts: bool| -> Vec<String> {
        let mut version = Version::new(with, windows(6 * HOUR, 4, 1));
        let mut said = Vec::new();
        for pane in 0..80 {
            let values: Vec<f64> = (0..97).map(|row| f64::from(row * 13 + pane as i32 * 7) * 0.37 % 43.0).collect();
            said.extend(version.count(pane, &values).iter().map(|window| format!("{window:?}")));
            if restarts {
                version.restart();
            }
        }
        said
    };
    assert_eq!(said(true), said(false));
}

#[test]
fn names_of_scores_are_read_as_they_are_written() {
    for against in Against::ALL {
        for detector in COMPARED {
            assert_eq!(Against::of_score(&against.score_name(detector)), Some((against, detector)));
        }
    }
    for name in ["psi", "recent", "recent_", "recent_energy", "same_psi", ""] {
        assert_eq!(Against::of_score(name), None, "{name}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Whatever came, a window is held against the very rows of the windows that it says: as if they were counted at once.
    #[test]
    fn earlier_windows_are_the_exact_sum_of_their_rows(
        panes in proptest::collection::vec(proptest::collection::vec(-5i32..60, 0..40), 20..40),
    ) {
        let with = CompareWith { recent: Some(3), same_hour: None };
        let mut version = Version::new(with, windows(HOUR, 2, 1));
        for (pane, values) in (0..).zip(&panes) {
            let values: Vec<f64> = values.iter().copied().map(f64::from).collect();
            if values.is_empty() {
                continue;
            }
            for window in version.count(pane, &values) {
                let beside = &window.columns[0].beside[0];
                let Some((first, last)) = beside.span.filter(|span| span.1 - span.0 == i64::from(beside.windows) * 2 * HOUR)
                else { continue };
                let reference = &version.references.columns[0];
                let profile = |from: i64, to: i64| {
                    let rows = panes[(from / HOUR).max(0) as usize..(to / HOUR) as usize].concat();
                    let mut profile = reference.empty_profile();
                    reference.count_numbers(&mut profile, &rows.into_iter().map(f64::from).collect::<Vec<_>>());
                    profile
                };
                let (earlier, own) = (profile(first, last), profile(window.starts, window.ends));
                let earlier = Earlier { profile: &earlier, windows: beside.windows };
                let expected =
                    reference.scores_beside(COMPARED, earlier, &own, &Scoring::default().thresholds, true);
                if !beside.scores.is_empty() {
                    prop_assert_eq!(&beside.scores, &expected);
                }
            }
        }
    }
}
