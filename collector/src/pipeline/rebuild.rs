//! Windows again, from rows that were archived: the counting and the scores are those of the pipeline.
//!
//! ```text
//!   archived rows ─▶ which were counted ─▶ panes ─▶ windows ─▶ scores
//! ```
//!
//! No clock, no database and no archive: rows are handed in stretch by stretch of event time, in any order within one, and
//! a stretch that is complete closes its windows. Nothing comes late here: what the live pipeline left out because its
//! window had closed is in the window in which it belongs.
//!
//! A window of rows that all came in time has the scores that it had, to the bit. Sums of floating-point numbers depend on
//! their order; where a pane lies in several partitions its rows come in another than they came in, and Wasserstein's
//! distance may differ in its last digits.
//!
//! Where windows are compared with earlier ones, those are made first, as far back as any of them is compared with, and not
//! given. What was a change before that is not known here, so it counts as quiet.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Instant;

use arrow_array::cast::AsArray;
use arrow_array::types::{TimestampMicrosecondType, UInt16Type};
use arrow_array::{Array, RecordBatch, UInt32Array};
use arrow_select::take::take_record_batch;
use driftline_protocol::EndState;

use super::earlier::{Comparing, EarlierWindow};
use super::judging;
use super::series::{ClosedWindow, References, Series, SeriesProgress};
use super::table::Finished;
use crate::config::{CompareWith, Model, Scoring, Windows};

/// Panes of event time that are read and counted at once. Each open pane holds a profile of every column.
const STRETCH_PANES: i64 = 240;

/// A model's windows that end in a stretch of time, made again.
#[derive(Debug)]
pub(crate) struct Rebuild {
    windows: Windows,
    scoring: Scoring,
    references: Arc<References>,
    series: BTreeMap<Arc<str>, Series>,
    /// None where windows are compared with their reference alone.
    compare_with: Option<CompareWith>,
    earlier: BTreeMap<Arc<str>, Kept>,
    /// The first and the last end of a window, those included that are only compared with.
    ends: (i64, i64),
    /// The first end of a window that is given.
    given_from: i64,
    begun: Instant,
    pub(crate) rows: Rows,
}

/// A version's windows that later ones are compared with.
#[derive(Debug)]
struct Kept {
    comparing: Comparing,
    /// By their ends, packed.
    windows: BTreeMap<i64, Vec<u8>>,
}

/// What a rebuild hands on as it goes through the rows. Whatever takes windows alone is one.
pub(crate) trait Rebuilding {
    /// Rows as they are archived, before the windows that they are in.
    fn rows(&mut self, _batch: &RecordBatch) -> Result<(), String> {
        Ok(())
    }

    /// A window that closes, the earliest first.
    fn window(&mut self, rebuilt: Rebuilt) -> Result<(), String>;

    /// All rows before this time were handed in, and the windows that end by it.
    fn through(&mut self, _time: i64) -> Result<(), String> {
        Ok(())
    }
}

impl<F: FnMut(Rebuilt) -> Result<(), String>> Rebuilding for F {
    fn window(&mut self, rebuilt: Rebuilt) -> Result<(), String> {
        self(rebuilt)
    }
}

/// What became of the rows that were handed in. Of windows that are only compared with, they are not counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Rows {
    pub(crate) counted: u64,
    /// Not of the sample, or of a call that failed: the live pipeline counts them in no window either.
    pub(crate) not_counted: u64,
}

/// A window that was made again.
#[derive(Debug)]
pub(crate) struct Rebuilt {
    pub(crate) version: Arc<str>,
    pub(crate) window: ClosedWindow,
}

impl Rebuild {
    /// The windows that end after `from`, and by `to` at the latest. None when no window ends there.
    pub(crate) fn new(model: &Model, references: Arc<References>, from: i64, to: i64) -> Option<Self> {
        let windows = model.windows.clone();
        let compare_with = model.compare_with;
        let given_from = windows.first_end_from(from + 1);
        let reach = Comparing::new(compare_with, windows.clone()).reach();
        let first = windows.first_end_from(given_from - reach);
        let last = windows.first_end_from(to + 1) - windows.every_micros();
        (given_from <= last).then(|| Self {
            windows,
            scoring: model.scoring.clone(),
            references,
            series: BTreeMap::new(),
            compare_with: Some(compare_with).filter(|with| *with != CompareWith::default()),
            earlier: BTreeMap::new(),
            ends: (first, last),
            given_from,
            begun: Instant::now(),
            rows: Rows::default(),
        })
    }

    /// From where the first window begins to where the last ends.
    pub(crate) fn span(&self) -> (i64, i64) {
        (self.ends.0 - self.windows.window_micros(), self.ends.1)
    }

    /// The stretches of that span whose rows are to be handed in, one after the other.
    pub(crate) fn stretches(&self) -> impl Iterator<Item = (i64, i64)> + use<> {
        let (first, last) = self.span();
        let length = STRETCH_PANES * self.windows.pane_micros();
        let starts = std::iter::successors(Some(first), move |start| start.checked_add(length));
        starts.take_while(move |start| *start < last).map(move |start| (start, last.min(start.saturating_add(length))))
    }

    /// Counts rows of a version, as they are archived.
    ///
    /// # Errors
    /// When they are no rows of an archive.
    pub(crate) fn take(&mut self, version: &str, batch: &RecordBatch) -> Result<(), String> {
        let times = batch.column_by_name("event_time").and_then(|times| times.as_primitive_opt());
        let times: &arrow_array::PrimitiveArray<TimestampMicrosecondType> =
            times.ok_or("there is no column event_time of microseconds")?;
        let is_counted = counted(batch)?;
        let mut panes: BTreeMap<i64, Vec<u32>> = BTreeMap::new();
        for (row, time) in (0..).zip(times.values()) {
            if is_counted(row as usize) {
                panes.entry(self.windows.pane_start(*time)).or_default().push(row);
            } else if *time >= self.given_from - self.windows.window_micros() {
                self.rows.not_counted += 1;
            }
        }
        let series = self.series.entry(Arc::from(version)).or_insert_with(|| {
            // As if everything before the first window had closed.
            let before = self.ends.0 - self.windows.every_micros();
            let progress = SeriesProgress { newest_event: before, closed_through: Some(before), rows: 0, late_rows: 0 };
            Series::new(self.windows.clone(), Some(progress))
        });
        for (pane, rows) in panes {
            if pane >= self.given_from - self.windows.window_micros() {
                self.rows.counted += rows.len() as u64;
            }
            let rows = UInt32Array::from(rows);
            let batch = take_record_batch(batch, &rows).map_err(|error| error.to_string())?;
            // What was of another type than its column's is null in the archive, and as unusable as that: it is
            // of `null_share` then, and no longer of `wrong_type_share`.
            let finished = Finished { batch, wrong_type: HashMap::new(), came: HashMap::new() };
            series.count(pane, pane, &finished, &self.references, self.begun);
        }
        Ok(())
    }

    /// Closes every window that ends by this time: all rows before it have been handed in. The earliest come first.
    pub(crate) fn close(&mut self, through: i64) -> Vec<Rebuilt> {
        let mut closed = Vec::new();
        for (version, series) in &mut self.series {
            for mut window in series.close_through(through, &self.references, &self.scoring) {
                window.columns.iter_mut().for_each(|column| column.scores.retain(judging::is_finite));
                match self.compare_with {
                    Some(with) => self
                        .earlier
                        .entry(Arc::clone(version))
                        .or_insert_with(|| Kept::new(with, &self.windows))
                        .compare(&mut window, &self.references, &self.scoring),
                    None => window.profiles.clear(),
                }
                if window.ends >= self.given_from {
                    closed.push(Rebuilt { version: Arc::clone(version), window });
                }
            }
        }
        closed.sort_by(|a, b| (a.window.ends, &a.version).cmp(&(b.window.ends, &b.version)));
        closed
    }
}

impl Kept {
    fn new(with: CompareWith, windows: &Windows) -> Self {
        Self { comparing: Comparing::new(with, windows.clone()), windows: BTreeMap::new() }
    }

    fn compare(&mut self, window: &mut ClosedWindow, references: &References, scoring: &Scoring) {
        let kept = &self.windows;
        let shelf = |ends: i64| EarlierWindow::unpacked(kept.get(&ends)?);
        let keep = self.comparing.compare(window, references, scoring, &shelf).keep;
        self.windows.extend(keep.map(|keep| (window.ends, keep.packed())));
        self.windows = self.windows.split_off(&self.comparing.keep_from(window.ends));
    }
}

/// Whether a row of a batch is one that windows count: of a call that succeeded, and drawn by the sample. Archives did not
/// always say the latter.
pub(crate) fn counted(batch: &RecordBatch) -> Result<impl Fn(usize) -> bool, String> {
    let column = |name: &str| batch.column_by_name(name);
    let status = column("status").and_then(|status| status.as_primitive_opt::<UInt16Type>());
    let status = status.ok_or("there is no column status of whole numbers")?;
    let end = column("end_state").and_then(|end| end.as_string_opt::<i32>());
    let end = end.ok_or("there is no column end_state of texts")?;
    let in_sample = column("in_sample").and_then(|drawn| drawn.as_boolean_opt());
    Ok(move |row: usize| {
        (200..300).contains(&status.value(row))
            && end.value(row) == EndState::Complete.name()
            && in_sample.is_none_or(|drawn| drawn.is_null(row) || drawn.value(row))
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use driftline_detectors::{ColumnKind, Reference, ReferenceBuilder};
    use driftline_protocol::{Cells, Column, Role};

    use super::*;
    use crate::config::{ColumnType, TimeUnit};
    use crate::pipeline::series::Wall;
    use crate::pipeline::table::{Capture, RowMeta, Table};

    const HOUR: i64 = 3_600_000_000;

    fn model(panes: u32, every: u32) -> Model {
        let windows = Windows {
            pane: Duration::from_secs(3600),
            panes,
            every,
            min_filled: 1,
            lateness: Duration::ZERO,
            ..Windows::default()
        };
        Model { windows, ..Model::undescribed("m") }
    }

    fn references() -> Arc<References> {
        let mut builder = ReferenceBuilder::new("x", ColumnKind::Numeric);
        (0..1000).for_each(|i| builder.number(None, f64::from(i % 10)));
        let columns: Vec<Reference> = vec![builder.build(None).unwrap()];
        Arc::new(References { columns, identity: "r".into(), ..References::default() })
    }

    /// Rows of these hours, with values between those that the reference knows: sums of them depend on their order.
    fn rows(hours: &[i64]) -> Finished {
        let mut table = Table::default();
        for (number, hour) in hours.iter().enumerate() {
            table.begin_row(meta(hour * HOUR, 200, "complete"));
            let value = number as f64 * 0.37 % 11.0;
            let column = Column { name: "x".into(), role: Role::Feature, cells: Cells::Numbers(vec![value]) };
            table.push(&column, ColumnType::Number, TimeUnit::Rfc3339, 0..1);
        }
        table.finish().unwrap()
    }

    fn meta(event_time: i64, status: u16, end_state: &'static str) -> RowMeta<'static> {
        RowMeta {
            event_time,
            request_id: "r",
            row_id: "r",
            status,
            end_state,
            latency_micros: None,
            instance: "",
            received_at: 0,
        }
    }

    /// All windows that end in these hours, of rows in these hours.
    fn rebuilt(model: &Model, (from, to): (i64, i64), batches: &[RecordBatch]) -> (Vec<ClosedWindow>, Rows) {
        let mut rebuild = Rebuild::new(model, references(), from * HOUR, to * HOUR).unwrap();
        let mut closed = Vec::new();
        for (begins, ends) in rebuild.stretches().collect::<Vec<_>>() {
            for batch in batches {
                let times = batch.column(0).as_primitive::<TimestampMicrosecondType>().values();
                let within: UInt32Array =
                    (0..).zip(times).filter(|(_, time)| (begins..ends).contains(*time)).map(|(row, _)| row).collect();
                rebuild.take("1", &take_record_batch(batch, &within).unwrap()).unwrap();
            }
            closed.extend(rebuild.close(ends).into_iter().map(|rebuilt| rebuilt.window));
        }
        (closed, rebuild.rows)
    }

    #[test]
    fn windows_have_the_scores_that_they_had_to_the_bit() {
        let model = model(3, 1);
        let hours: Vec<i64> = (0..2000).map(|row| row / 100).collect();
        let (mut series, references, now) = (Series::new(model.windows.clone(), None), references(), Instant::now());
        let mut live = Vec::new();
        for hour in hours.chunk_by(|a, b| a == b) {
            series.count(hour[0] * HOUR, hour[0] * HOUR, &rows(hour), &references, now);
            live.extend(series.close_windows(&references, &model.scoring, now, Wall::IsEventTime(0)));
        }
        live.iter_mut().for_each(|window| window.profiles.clear());
        let batches: Vec<RecordBatch> = hours.chunk_by(|a, b| a == b).map(|hour| rows(hour).batch).collect();
        let (again, counted) = rebuilt(&model, (0, 19), &batches);
        assert_eq!(again.len(), 19);
        assert_eq!(format!("{again:?}"), format!("{live:?}"));
        assert_eq!(counted, Rows { counted: 1900, not_counted: 0 });
    }

    #[test]
    fn earlier_windows_are_made_as_far_back_as_windows_are_compared_with_them_and_not_given() {
        let model = Model { compare_with: CompareWith { recent: Some(3), same_hour: None }, ..model(2, 1) };
        let hours: Vec<i64> = (0..6000).map(|row| row / 100).collect();
        let batches: Vec<RecordBatch> = hours.chunk_by(|a, b| a == b).map(|hour| rows(hour).batch).collect();
        let (all, _) = rebuilt(&model, (0, 60), &batches);
        let (some, counted) = rebuilt(&model, (40, 50), &batches);
        assert_eq!(counted, Rows { counted: 1100, not_counted: 0 }, "those of the windows that are given");
        let of = |windows: &[ClosedWindow]| -> Vec<String> {
            let given = windows.iter().filter(|window| (41 * HOUR..=50 * HOUR).contains(&window.ends));
            given.map(|window| format!("{window:?}")).collect()
        };
        assert_eq!((of(&some), some.len()), (of(&all), 10));
        let beside = &some[0].columns[0].beside[0];
        assert_eq!((beside.windows, beside.span), (3, Some((32 * HOUR, 38 * HOUR))), "of the window from 39 to 41");
    }

    #[test]
    fn only_windows_that_end_in_the_stretch_are_made_and_they_are_whole() {
        let hours: Vec<i64> = (0..48).collect();
        let (windows, _) = rebuilt(&model(24, 6), (24, 36), &[rows(&hours).batch]);
        let found: Vec<_> = windows.iter().map(|w| (w.starts / HOUR, w.ends / HOUR, w.rows)).collect();
        assert_eq!(found, [(6, 30, 24), (12, 36, 24)]);
        assert!(Rebuild::new(&model(24, 6), references(), 25 * HOUR, 29 * HOUR).is_none(), "none ends there");
    }

    #[test]
    fn rows_of_a_pane_may_come_in_any_order_and_none_is_late() {
        let (windows, _) = rebuilt(&model(1, 1), (0, 4), &[rows(&[3, 1, 3]).batch, rows(&[0, 1, 2]).batch]);
        let found: Vec<_> = windows.iter().map(|window| (window.ends / HOUR, window.rows)).collect();
        assert_eq!(found, [(1, 1), (2, 2), (3, 1), (4, 2)]);
    }

    #[test]
    fn stretches_lie_side_by_side() {
        let rebuild = Rebuild::new(&model(24, 1), references(), 0, 1000 * HOUR).unwrap();
        let stretches: Vec<_> = rebuild.stretches().collect();
        assert_eq!((stretches[0].0, stretches.last().unwrap().1), rebuild.span());
        assert_eq!(rebuild.span(), (-23 * HOUR, 1000 * HOUR));
        assert!(stretches.windows(2).all(|pair| pair[0].1 == pair[1].0) && stretches.len() == 5, "{stretches:?}");
    }

    #[test]
    fn what_the_pipeline_does_not_count_is_not_counted() {
        let mut table = Table::default();
        table.begin_row(meta(0, 200, "complete"));
        table.begin_row(meta(0, 503, "complete"));
        table.begin_row(meta(0, 200, "truncated"));
        table.begin_row_of(meta(0, 200, "complete"), Capture { in_sample: false, ..Capture::default() });
        let (windows, counted) = rebuilt(&model(1, 1), (0, 1), &[table.finish().unwrap().batch]);
        assert_eq!((windows[0].rows, counted), (1, Rows { counted: 1, not_counted: 3 }));
    }

    #[test]
    fn what_is_no_archive_is_refused() {
        let mut rebuild = Rebuild::new(&model(1, 1), references(), 0, HOUR).unwrap();
        let batch = RecordBatch::try_from_iter([("x", Arc::new(UInt32Array::from(vec![1])) as _)]).unwrap();
        assert!(rebuild.take("1", &batch).unwrap_err().contains("no column event_time"));
    }
}
