//! One model version in event time: panes that fill, windows that close.

use std::collections::BTreeMap;
use std::time::Instant;

use driftline_detectors::causes::Cause;
use driftline_detectors::{Bar, Derivation, Profile, Reference, Score};

use super::counting;
use super::earlier::{Against, Beside};
use super::table::Finished;
use crate::config::{Scoring, Windows};
use crate::segments::{ClosedSegment, Closing, ModelSegments, SegmentPane};

/// A model's references, ready to count on.
#[derive(Debug, Default)]
pub(crate) struct References {
    pub(crate) columns: Vec<Reference>,
    /// How some of them are derived.
    pub(crate) derived: Vec<Derivation>,
    /// Identity of the file they are from; empty without one. Profiles of another file do not add up with these.
    pub(crate) identity: String,
    /// Parts of the rows that are compared with themselves.
    pub(crate) segments: Option<ModelSegments>,
    /// Columns that every one of its rows had, by their names in the archive.
    pub(crate) required: Vec<String>,
}

/// What the wall clock shows, in microseconds since the Unix epoch, and what that says of event time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wall {
    /// Event time is the request's: it has come as far as the wall clock, with or without rows.
    IsEventTime(i64),
    /// Event time is a column's. It may be years behind, in a replay of the past; what lies ahead of the wall clock may
    /// still come.
    BesideEventTime(i64),
}

/// A pane: the rows of a slice of event time.
#[derive(Debug)]
pub(crate) struct Pane {
    pub(crate) rows: u64,
    /// One for each of the references.
    pub(crate) profiles: Vec<Profile>,
    /// One for each of the model's segments; empty without any.
    pub(crate) segments: Vec<SegmentPane>,
    dirty: bool,
}

/// A model version's panes and windows.
#[derive(Debug)]
pub(crate) struct Series {
    windows: Windows,
    panes: BTreeMap<i64, Pane>,
    newest_event: Option<i64>,
    /// Rows before this are late: windows that should have held them are closed.
    closed_through: Option<i64>,
    /// Rows counted, ever.
    pub(crate) rows: u64,
    /// Rows that came too late, ever.
    pub(crate) late_rows: u64,
    last_row: Instant,
    dirty: bool,
}

/// A window that closed, with its scores.
#[derive(Debug, Clone)]
pub(crate) struct ClosedWindow {
    pub(crate) starts: i64,
    pub(crate) ends: i64,
    pub(crate) rows: u64,
    /// Panes that hold rows.
    pub(crate) filled: u32,
    /// Panes there are.
    pub(crate) panes: u32,
    pub(crate) columns: Vec<ClosedColumn>,
    /// What it held of each column, until it was compared with earlier windows.
    pub(crate) profiles: Vec<Profile>,
    /// The model's segments, in their order.
    pub(crate) segments: Vec<ClosedSegment>,
}

impl ClosedWindow {
    /// A column of the window's rows, or of those of one segment.
    pub(crate) fn column(&self, segment: Option<&str>, name: &str) -> Option<&ClosedColumn> {
        let columns = match segment {
            None => &self.columns,
            Some(segment) => &self.segments.iter().find(|own| own.name == segment)?.columns,
        };
        columns.iter().find(|column| column.column == name)
    }
}

/// One column of a closed window.
#[derive(Debug, Clone)]
pub(crate) struct ClosedColumn {
    pub(crate) column: String,
    pub(crate) scores: Vec<Score>,
    /// What the drift looks like; empty when no score drifts.
    pub(crate) causes: Vec<Cause>,
    pub(crate) bars: Vec<Bar>,
    /// The same beside earlier windows.
    pub(crate) beside: Vec<Beside>,
}

impl ClosedColumn {
    /// The score that rules know by this name.
    pub(crate) fn score(&self, name: &str) -> Option<&Score> {
        if let Some((against, detector)) = Against::of_score(name) {
            let beside = self.beside.iter().find(|beside| beside.against == against)?;
            return beside.scores.iter().find(|score| score.detector == detector);
        }
        self.scores.iter().find(|score| score.detector.name() == name)
    }
}

/// Where a series stands, as it is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SeriesProgress {
    pub(crate) newest_event: i64,
    pub(crate) closed_through: Option<i64>,
    pub(crate) rows: u64,
    pub(crate) late_rows: u64,
}

impl Series {
    pub(crate) fn new(windows: Windows, stored: Option<SeriesProgress>) -> Self {
        Self {
            windows,
            panes: BTreeMap::new(),
            newest_event: stored.map(|stored| stored.newest_event),
            closed_through: stored.and_then(|stored| stored.closed_through),
            rows: stored.map_or(0, |stored| stored.rows),
            late_rows: stored.map_or(0, |stored| stored.late_rows),
            last_row: Instant::now(),
            dirty: false,
        }
    }

    /// Puts back a pane that was stored.
    pub(crate) fn restore(&mut self, start: i64, rows: u64, profiles: Vec<Profile>, segments: Vec<SegmentPane>) {
        self.panes.insert(start, Pane { rows, profiles, segments, dirty: false });
    }

    /// How many panes are open.
    pub(crate) fn panes(&self) -> usize {
        self.panes.len()
    }

    /// Whether a row of this time comes too late to be counted.
    pub(crate) fn is_late(&self, event_time: i64) -> bool {
        self.closed_through.is_some_and(|closed| event_time < closed)
    }

    pub(crate) fn count_late(&mut self, rows: u64) {
        self.late_rows += rows;
        self.dirty = true;
    }

    /// Counts rows that all lie in the pane that starts here.
    pub(crate) fn count(
        &mut self,
        pane_start: i64,
        newest: i64,
        table: &Finished,
        references: &References,
        now: Instant,
    ) {
        let pane = self.panes.entry(pane_start).or_insert_with(|| Pane {
            rows: 0,
            profiles: references.columns.iter().map(Reference::empty_profile).collect(),
            segments: Vec::new(),
            dirty: false,
        });
        let rows = table.batch.num_rows() as u64;
        pane.rows += rows;
        pane.dirty = true;
        counting::count(table, references, &mut pane.profiles);
        if let Some(segments) = &references.segments {
            segments.count(table, &mut pane.segments);
        }
        self.rows += rows;
        self.newest_event = Some(self.newest_event.map_or(newest, |known| known.max(newest)));
        self.last_row = now;
        self.dirty = true;
    }

    /// Closes every window that nothing in time can change any more: its end lies further back than the allowed lateness
    /// behind the newest row. When no row has come for a while, the wall clock has its say: where it is event time's, that
    /// moves on without rows; where it is not, the last pane is taken for complete once the wall clock has left it too. It
    /// has no say before: what sidecars held back while the collector was away is still to come.
    pub(crate) fn close_windows(
        &mut self,
        references: &References,
        scoring: &Scoring,
        now: Instant,
        wall: Wall,
    ) -> Vec<ClosedWindow> {
        let Some(newest) = self.newest_event else { return Vec::new() };
        let lateness = self.windows.lateness.as_micros() as i64;
        let mut watermark = newest - lateness;
        if now.duration_since(self.last_row) >= self.windows.close_when_idle {
            watermark = watermark.max(match wall {
                Wall::IsEventTime(wall) => wall - lateness,
                Wall::BesideEventTime(wall) => {
                    let last_pane_ends = self.windows.pane_start(newest) + self.windows.pane_micros();
                    last_pane_ends.min(wall - lateness)
                }
            });
        }
        self.close_through(watermark, references, scoring)
    }

    /// Closes every window that ends by this time, in their order.
    pub(crate) fn close_through(
        &mut self,
        watermark: i64,
        references: &References,
        scoring: &Scoring,
    ) -> Vec<ClosedWindow> {
        let mut closed = Vec::new();
        while let Some(ends) = self.next_end() {
            if ends > watermark {
                break;
            }
            closed.extend(self.close(ends, references, scoring));
            self.closed_through = Some(ends);
            self.dirty = true;
            let keep_from = ends + self.windows.every_micros() - self.windows.window_micros();
            self.panes = self.panes.split_off(&keep_from);
        }
        closed
    }

    /// The end of the next window that holds a row; stretches without any are passed over.
    fn next_end(&self) -> Option<i64> {
        let windows = &self.windows;
        let end_after = |pane: i64| windows.first_end_from(pane + windows.pane_micros());
        let first_end = end_after(*self.panes.first_key_value()?.0);
        let next = match self.closed_through {
            None => first_end,
            Some(closed) => (closed + windows.every_micros()).max(first_end),
        };
        // The first pane may lie before what the next window covers, if it is only kept for rows that were late.
        let start = next - windows.window_micros();
        match self.panes.range(start..next).next() {
            Some(_) => Some(next),
            None => self.panes.range(next..).next().map(|(pane, _)| end_after(*pane)),
        }
    }

    fn close(&self, ends: i64, references: &References, scoring: &Scoring) -> Option<ClosedWindow> {
        let starts = ends - self.windows.window_micros();
        let panes: Vec<&Pane> =
            self.panes.range(starts..ends).map(|(_, pane)| pane).filter(|pane| pane.rows > 0).collect();
        if panes.is_empty() {
            return None;
        }
        let filled = panes.len() as u32;
        let is_covered = filled >= self.windows.min_filled;
        let column = |(index, reference): (usize, &Reference)| {
            let mut total = reference.empty_profile();
            for pane in &panes {
                total.merge(&pane.profiles[index]);
            }
            let detectors = scoring.detectors(reference.kind());
            let scores = reference.scores_of(detectors, &total, &scoring.thresholds, is_covered);
            let closed = ClosedColumn {
                column: reference.column.clone(),
                causes: reference.causes(&total, &scores),
                bars: reference.histogram(&total),
                scores,
                beside: Vec::new(),
            };
            (closed, total)
        };
        let (mut columns, profiles): (Vec<ClosedColumn>, Vec<Profile>) =
            references.columns.iter().enumerate().map(column).unzip();
        let segments = references.segments.as_ref().map(|segments| {
            let panes: Vec<&[SegmentPane]> = panes.iter().map(|pane| pane.segments.as_slice()).collect();
            segments.close(&panes, Closing { scoring, min_filled: self.windows.min_filled }, &mut columns)
        });
        Some(ClosedWindow {
            starts,
            ends,
            rows: panes.iter().map(|pane| pane.rows).sum(),
            filled,
            panes: self.windows.panes,
            columns,
            profiles,
            segments: segments.unwrap_or_default(),
        })
    }

    /// Panes that changed since this was last asked, with their starts; and where the series stands, if that changed.
    pub(crate) fn take_dirty(&mut self) -> (Vec<(i64, &Pane)>, Option<SeriesProgress>) {
        let progress = if std::mem::take(&mut self.dirty) { self.progress() } else { None };
        let dirty = self
            .panes
            .iter_mut()
            .filter_map(|(start, pane)| std::mem::take(&mut pane.dirty).then_some((*start, &*pane)));
        (dirty.collect(), progress)
    }

    fn progress(&self) -> Option<SeriesProgress> {
        Some(SeriesProgress {
            // A series of nothing but late rows has been seen before; it has a newest row.
            newest_event: self.newest_event?,
            closed_through: self.closed_through,
            rows: self.rows,
            late_rows: self.late_rows,
        })
    }

    /// Panes that start before this will never be looked at again.
    pub(crate) fn keep_from(&self) -> Option<i64> {
        Some(self.closed_through? + self.windows.every_micros() - self.windows.window_micros())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use driftline_detectors::{ColumnKind, Detector, ReferenceBuilder, Verdict};
    use driftline_protocol::{Cells, Column, Role};

    use super::*;
    use crate::config::{ColumnType, TimeUnit};
    use crate::pipeline::table::{RowMeta, Table};

    const HOUR: i64 = 3_600_000_000;
    const MINUTE: i64 = HOUR / 60;
    /// The wall clock of a replay of the past.
    const LONG_AFTER: Wall = Wall::BesideEventTime(1_000_000 * HOUR);

    fn windows(panes: u32, every: u32) -> Windows {
        Windows {
            pane: Duration::from_secs(3600),
            panes,
            every,
            min_filled: 1,
            lateness: Duration::ZERO,
            ..Windows::default()
        }
    }

    fn references() -> References {
        let mut builder = ReferenceBuilder::new("x", ColumnKind::Numeric);
        for i in 0..1000 {
            builder.number(None, f64::from(i % 10));
        }
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

    /// Counts a thousand rows in each of these hours, and lists the windows that close: start, end, rows, in hours.
    fn closed(series: &mut Series, hours: &[i64]) -> Vec<(i64, i64, u64)> {
        let (references, now) = (references(), Instant::now());
        let mut all = Vec::new();
        for hour in hours {
            let values: Vec<f64> = (0..1000).map(|i| f64::from(i % 10)).collect();
            series.count(hour * HOUR, hour * HOUR, &table(&values), &references, now);
            all.extend(series.close_windows(&references, &Scoring::default(), now, LONG_AFTER));
        }
        all.iter().map(|window| (window.starts / HOUR, window.ends / HOUR, window.rows)).collect()
    }

    #[test]
    fn tumbling_windows_close_when_the_next_begins() {
        let mut series = Series::new(windows(2, 2), None);
        assert_eq!(closed(&mut series, &[0, 1, 2, 3, 4]), [(0, 2, 2000), (2, 4, 2000)]);
    }

    #[test]
    fn sliding_windows_share_panes() {
        let mut series = Series::new(windows(3, 1), None);
        assert_eq!(closed(&mut series, &[0, 1, 2, 3]), [(-2, 1, 1000), (-1, 2, 2000), (0, 3, 3000)]);
    }

    #[test]
    fn stretches_without_rows_are_passed_over() {
        let mut series = Series::new(windows(2, 1), None);
        assert_eq!(
            closed(&mut series, &[0, 1, 1000, 1001]),
            [(-1, 1, 1000), (0, 2, 2000), (1, 3, 1000), (999, 1001, 1000)]
        );
    }

    #[test]
    fn rows_behind_a_closed_window_are_late() {
        let mut series = Series::new(windows(2, 1), None);
        closed(&mut series, &[5, 6]);
        assert!(series.is_late(5 * HOUR) && series.is_late(6 * HOUR - 1) && !series.is_late(6 * HOUR));
    }

    /// The ends, in hours, of the windows that close when no row has come for a while and the wall clock shows this.
    fn ends_when_idle(series: &mut Series, wall: Wall) -> Vec<i64> {
        let later = Instant::now() + Duration::from_secs(3600);
        let windows = series.close_windows(&references(), &Scoring::default(), later, wall);
        windows.iter().map(|window| window.ends / HOUR).collect()
    }

    #[test]
    fn a_pane_that_the_wall_clock_is_in_stays_open_however_long_no_row_has_come() {
        for wall in [Wall::IsEventTime, Wall::BesideEventTime] {
            let mut series = Series::new(windows(2, 1), None);
            closed(&mut series, &[1, 2]);
            assert!(ends_when_idle(&mut series, wall(2 * HOUR + 15 * MINUTE)).is_empty());
            assert!(!series.is_late(2 * HOUR + 20 * MINUTE) && !series.is_late(2 * HOUR + 40 * MINUTE));
            assert_eq!(ends_when_idle(&mut series, wall(3 * HOUR)), [3]);
            assert!(series.is_late(3 * HOUR - 1) && !series.is_late(3 * HOUR));
        }
    }

    #[test]
    fn the_allowed_lateness_holds_when_idle_too() {
        for wall in [Wall::IsEventTime, Wall::BesideEventTime] {
            let lateness = Duration::from_secs(1800);
            let mut series = Series::new(Windows { lateness, ..windows(1, 1) }, None);
            closed(&mut series, &[2]);
            assert!(ends_when_idle(&mut series, wall(3 * HOUR + 29 * MINUTE)).is_empty());
            assert_eq!(ends_when_idle(&mut series, wall(3 * HOUR + 30 * MINUTE)), [3]);
        }
    }

    #[test]
    fn a_wall_clock_behind_the_rows_closes_nothing_and_opens_nothing() {
        for wall in [Wall::IsEventTime, Wall::BesideEventTime] {
            let mut series = Series::new(windows(1, 1), None);
            assert_eq!(closed(&mut series, &[1, 2]), [(1, 2, 1000)]);
            assert!(ends_when_idle(&mut series, wall(HOUR)).is_empty());
            assert!(series.is_late(2 * HOUR - 1) && !series.is_late(2 * HOUR));
        }
    }

    #[test]
    fn without_rows_for_a_while_the_last_window_of_a_replay_closes() {
        let mut series = Series::new(windows(1, 1), None);
        assert_eq!(closed(&mut series, &[0]), []);
        assert_eq!(ends_when_idle(&mut series, LONG_AFTER), [1]);
        assert!(ends_when_idle(&mut series, LONG_AFTER).is_empty());
    }

    #[test]
    fn the_wall_clock_closes_windows_only_when_no_rows_come() {
        let mut series = Series::new(windows(2, 2), None);
        closed(&mut series, &[0]);
        let (now, wall) = (Instant::now(), Wall::IsEventTime(500 * HOUR));
        assert!(series.close_windows(&references(), &Scoring::default(), now, wall).is_empty());
        assert_eq!(ends_when_idle(&mut series, wall), [2]);
    }

    #[test]
    fn a_window_that_is_hardly_covered_is_not_judged() {
        let mut series = Series::new(Windows { min_filled: 2, ..windows(3, 1) }, None);
        let (references, now) = (references(), Instant::now());
        series.count(0, 0, &table(&[77.0; 500]), &references, now);
        series.count(HOUR, HOUR, &table(&[77.0; 500]), &references, now);
        series.count(2 * HOUR, 2 * HOUR, &table(&[77.0; 500]), &references, now);
        let closed = series.close_windows(&references, &Scoring::default(), now, LONG_AFTER);
        let verdicts: Vec<Verdict> = closed
            .iter()
            .map(|window| window.columns[0].scores.iter().find(|s| s.detector == Detector::Ks).unwrap().verdict)
            .collect();
        assert_eq!(verdicts, [Verdict::NotEnoughData, Verdict::Drift]);
    }

    #[test]
    fn windows_align_to_their_origin() {
        let mut series = Series::new(Windows { origin: HOUR / 2, ..windows(24, 24) }, None);
        let (references, now) = (references(), Instant::now());
        let pane = series.windows.pane_start(10 * HOUR);
        assert_eq!(pane, 9 * HOUR + HOUR / 2);
        series.count(pane, 10 * HOUR, &table(&[1.0]), &references, now);
        series.count(series.windows.pane_start(30 * HOUR), 30 * HOUR, &table(&[1.0]), &references, now);
        let closed = series.close_windows(&references, &Scoring::default(), now, LONG_AFTER);
        assert_eq!((closed[0].starts, closed[0].ends), (HOUR / 2, 24 * HOUR + HOUR / 2));
    }
}
