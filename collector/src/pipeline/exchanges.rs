//! One exchange: its indicators, its rows, and where each of them belongs.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use driftline_protocol::{Batch, Cell, Column, EndState, Exchange, Rows, decode_rows};
use tracing::debug;

use super::columns::{Kept, archived_name};
use super::series::Series;
use super::slis::GoodOfValid;
use super::table::{RowMeta, Table, category, time_micros};
use super::{MAX_VERSIONS, ModelState, OTHER_VERSIONS, Pipeline, Purpose, UNVERSIONED};
use crate::archive::layout::partition_start;
use crate::config::EventTime;

/// Rows that are gathered before they are counted in between: bounds the memory of one stretch of the journal.
const MAX_GATHERED_ROWS: usize = 65_536;
/// How far ahead of its arrival a row may have happened. A clock that is wrong by more would close everybody's windows.
const MAX_AHEAD_MICROS: i64 = 3_600_000_000;
/// A clock may be a little off without making a feature look older or newer than it is.
const FRESHNESS_SKEW_MICROS: i64 = 60_000_000;

/// Rows that are counted and archived together.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct TableKey {
    pub(super) model: Arc<str>,
    pub(super) version: Arc<str>,
    pub(super) pane: i64,
    pub(super) partition: i64,
    /// Whether they are counted, or only archived.
    pub(super) count: bool,
}

/// A table, and the time of its newest row.
#[derive(Debug, Default)]
pub(super) struct Gathered {
    pub(super) table: Table,
    pub(super) newest: i64,
}

/// Whether so many rows are gathered that they should be counted now.
pub(super) fn is_large(gathered: &HashMap<TableKey, Gathered>) -> bool {
    gathered.values().map(|gathered| gathered.table.rows()).sum::<usize>() >= MAX_GATHERED_ROWS
}

impl Pipeline {
    /// Takes in one exchange, whose model's state is there.
    pub(super) fn exchange(&mut self, batch: &Batch, exchange: &Exchange, received_at: i64, purpose: Purpose) {
        let Some(model) = self.models.get_mut(batch.model.as_str()) else { return };
        let succeeded = (200..300).contains(&exchange.status) && exchange.end() == EndState::Complete;
        if purpose.count {
            self.parts.metrics.exchanges_received.with_label_values(&[&model.name]).inc();
            let slis = &mut self.next.slis;
            for (sli, good) in indicators(exchange, model.config.slis.latency.as_micros() as u64) {
                slis.count(
                    &model.name,
                    sli,
                    "",
                    exchange.started_at_micros,
                    GoodOfValid { good: u64::from(good), valid: 1 },
                );
                self.parts.metrics.sli_valid.with_label_values(&[&model.name, sli]).inc();
                self.parts.metrics.sli_good.with_label_values(&[&model.name, sli]).inc_by(u64::from(good));
            }
            if exchange.status > 0 {
                slis.latency(&model.name, exchange.started_at_micros, exchange.duration_micros);
                let seconds = exchange.duration_micros as f64 / 1e6;
                self.parts.metrics.request_duration.with_label_values(&[&model.name]).observe(seconds);
            }
        }
        let naming = model.config.naming.clone();
        let rows = match decode_rows(exchange, &naming) {
            Ok(rows) => rows,
            Err(error) => {
                if purpose.count {
                    self.parts.metrics.undecodable(error.reason()).inc();
                    debug!(model = %model.name, request = %exchange.request_id, %error, "an exchange has no rows");
                }
                return;
            }
        };
        let version = version_of(model, rows.model_version.as_deref());
        let places = places(model, &rows, exchange, received_at);
        if purpose.count {
            self.parts.metrics.event_times_unusable.inc_by(places.unusable);
            if succeeded {
                freshness(model, &rows, &places.times, exchange, &mut self.next.slis, &self.parts.metrics);
            }
        }
        let (late, not_counted) =
            self.gather(&rows, &places.times, &version, exchange, batch, received_at, succeeded, purpose);
        if purpose.count {
            let Some(model) = self.models.get_mut(batch.model.as_str()) else { return };
            if late > 0 {
                self.parts.metrics.rows_late.with_label_values(&[&model.name]).inc_by(late);
                if let Some(series) = model.series.get_mut(&version) {
                    series.count_late(late);
                }
            }
            self.parts.metrics.rows_not_counted.with_label_values(&[&model.name]).inc_by(not_counted);
        }
    }

    /// Puts rows into their tables. Returns how many came too late, and how many are not counted for another reason.
    #[expect(clippy::too_many_arguments, reason = "all of it is one exchange, taken apart by its caller")]
    fn gather(
        &mut self,
        rows: &Rows<'_>,
        times: &[i64],
        version: &Arc<str>,
        exchange: &Exchange,
        batch: &Batch,
        received_at: i64,
        succeeded: bool,
        purpose: Purpose,
    ) -> (u64, u64) {
        let partition = self.parts.config.archive.partition;
        let Some(model) = self.models.get_mut(batch.model.as_str()) else { return (0, 0) };
        let key_of = |time: i64| {
            let is_late = model.series.get(version).is_some_and(|series| series.is_late(time));
            let key = TableKey {
                model: Arc::clone(&model.name),
                version: Arc::clone(version),
                pane: model.config.windows.pane_start(time),
                partition: partition_start(time, partition),
                count: purpose.count && succeeded && !is_late,
            };
            (key, is_late)
        };
        let keys: Vec<(TableKey, bool)> = times.iter().map(|time| key_of(*time)).collect();
        let request_id = rows.id.as_deref().unwrap_or(&exchange.request_id);
        let id_column = model.config.row_id.as_deref().and_then(|name| column(rows, name));
        let (mut late, mut not_counted) = (0, 0);
        let mut start = 0;
        for stretch in keys.chunk_by(|(a, _), (b, _)| a == b) {
            let range = start..start + stretch.len();
            start = range.end;
            let (key, is_late) = &stretch[0];
            if !succeeded {
                not_counted += range.len() as u64;
            } else if *is_late {
                late += range.len() as u64;
            }
            if !key.count && !purpose.archive {
                continue;
            }
            let gathered = self.gathered.entry(key.clone()).or_default();
            for row in range.clone() {
                gathered.newest = gathered.newest.max(times[row]);
                gathered.table.begin_row(RowMeta {
                    event_time: times[row],
                    request_id,
                    row_id: &row_id(id_column, row, request_id, rows.count),
                    status: exchange.status as u16,
                    end_state: exchange.end().name(),
                    latency_micros: exchange.duration_micros,
                    instance: &batch.instance,
                    received_at,
                });
            }
            add_columns(model, rows, range, &mut gathered.table, &self.parts.metrics);
        }
        (late, not_counted)
    }
}

/// Adds the model's columns of the rows that were begun last. What every row has already is not repeated.
fn add_columns(
    model: &mut ModelState,
    rows: &Rows<'_>,
    range: Range<usize>,
    table: &mut Table,
    metrics: &crate::metrics::Metrics,
) {
    for column in &rows.columns {
        let is_time = matches!(&model.config.event_time, EventTime::Column { name, .. } if *name == column.name);
        if is_time || model.config.row_id.as_deref() == Some(&*column.name) {
            continue;
        }
        match model.columns.keep(column) {
            Kept::As(kind, unit) => {
                let name = archived_name(&column.name);
                if name == column.name {
                    table.push(column, kind, unit, range.clone());
                } else {
                    let renamed = Column { name: name.into(), ..column.clone() };
                    table.push(&renamed, kind, unit, range.clone());
                }
            }
            Kept::Unknown => {}
            Kept::TooMany => metrics.columns_refused.inc_by(range.len() as u64),
        }
    }
}

/// The indicators that an exchange is valid for, and whether it was good.
fn indicators(exchange: &Exchange, latency_limit_micros: u64) -> impl Iterator<Item = (&'static str, bool)> {
    let status = exchange.status;
    let answered = matches!(exchange.end(), EndState::Complete | EndState::Truncated);
    // What the caller did wrong, and what it broke off, says nothing about the model.
    let callers_doing = (400..500).contains(&status) && status != 408 && status != 429
        || matches!(exchange.end(), EndState::Cancelled | EndState::Upgraded | EndState::Unreadable);
    let available = (!callers_doing).then_some(("availability", answered && status < 400));
    let in_time = (answered && (200..300).contains(&status))
        .then_some(("latency", exchange.duration_micros <= latency_limit_micros));
    available.into_iter().chain(in_time)
}

/// The version that the answer names, if it is one of the first that the model has named.
fn version_of(model: &mut ModelState, named: Option<&str>) -> Arc<str> {
    let version = named.filter(|version| !version.is_empty() && version.len() <= 100).unwrap_or(UNVERSIONED);
    if let Some((known, _)) = model.series.get_key_value(version) {
        return Arc::clone(known);
    }
    let version: Arc<str> = Arc::from(if model.series.len() < MAX_VERSIONS { version } else { OTHER_VERSIONS });
    let windows = model.config.windows.clone();
    model.series.entry(Arc::clone(&version)).or_insert_with(|| Series::new(windows, None));
    version
}

struct Places {
    /// The event time of each row.
    times: Vec<i64>,
    /// Rows whose own time could not be used.
    unusable: u64,
}

/// When each row happened. A row whose own time is missing, unreadable or too far in the future has its request's.
fn places(model: &ModelState, rows: &Rows<'_>, exchange: &Exchange, received_at: i64) -> Places {
    let latest = received_at + MAX_AHEAD_MICROS;
    let of_request = if exchange.started_at_micros <= latest { exchange.started_at_micros } else { received_at };
    let EventTime::Column { name, unit } = &model.config.event_time else {
        return Places { times: vec![of_request; rows.count], unusable: 0 };
    };
    let column = column(rows, name);
    let mut unusable = 0;
    let times = (0..rows.count)
        .map(|row| {
            let time = column.and_then(|column| time_micros(&column.cells[row], *unit));
            time.filter(|time| *time <= latest).unwrap_or_else(|| {
                unusable += 1;
                of_request
            })
        })
        .collect();
    Places { times, unusable }
}

fn column<'r, 'a>(rows: &'r Rows<'a>, name: &str) -> Option<&'r Column<'a>> {
    rows.columns.iter().find(|column| column.name == name)
}

fn row_id(column: Option<&Column<'_>>, row: usize, request_id: &str, rows: usize) -> String {
    match column.map(|column| &column.cells[row]) {
        Some(cell) if *cell != Cell::Missing => category(cell),
        _ if rows == 1 => request_id.to_owned(),
        _ => format!("{request_id}/{row}"),
    }
}

/// Counts how many rows used features that were fresh. One without a time is not.
fn freshness(
    model: &ModelState,
    rows: &Rows<'_>,
    times: &[i64],
    exchange: &Exchange,
    slis: &mut super::slis::SliCounts,
    metrics: &crate::metrics::Metrics,
) {
    for freshness in &model.config.slis.freshness {
        let column = column(rows, &freshness.column);
        let max_age = freshness.max_age.as_micros() as i64;
        let is_fresh = |(row, time): (usize, &i64)| {
            let of = column.and_then(|column| time_micros(&column.cells[row], freshness.unit));
            of.is_some_and(|of| (-FRESHNESS_SKEW_MICROS..=max_age).contains(&(time - of)))
        };
        let good = times.iter().enumerate().filter(|row| is_fresh(*row)).count() as u64;
        let counts = GoodOfValid { good, valid: times.len() as u64 };
        slis.count(&model.name, "freshness", &freshness.column, exchange.started_at_micros, counts);
        metrics.sli_valid.with_label_values(&[&model.name, "freshness"]).inc_by(counts.valid);
        metrics.sli_good.with_label_values(&[&model.name, "freshness"]).inc_by(counts.good);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exchange(status: u32, end: EndState, micros: u64) -> Exchange {
        Exchange { status, end: end.into(), duration_micros: micros, ..Exchange::default() }
    }

    fn indicated(status: u32, end: EndState, micros: u64) -> Vec<(&'static str, bool)> {
        indicators(&exchange(status, end, micros), 1000).collect()
    }

    #[test]
    fn what_the_caller_did_is_not_held_against_the_model() {
        assert_eq!(indicated(200, EndState::Complete, 900), [("availability", true), ("latency", true)]);
        assert_eq!(indicated(200, EndState::Truncated, 1100), [("availability", true), ("latency", false)]);
        assert_eq!(indicated(503, EndState::Complete, 10), [("availability", false)]);
        assert_eq!(indicated(429, EndState::Complete, 10), [("availability", false)], "overload is the model's doing");
        assert_eq!(indicated(404, EndState::Complete, 10), []);
        assert_eq!(indicated(0, EndState::Cancelled, 10), []);
        assert_eq!(indicated(0, EndState::UpstreamError, 10), [("availability", false)]);
    }
}
