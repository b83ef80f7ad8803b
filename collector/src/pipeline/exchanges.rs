//! One exchange: its indicators, its rows, and where each of them belongs.

use std::collections::HashMap;
use std::fmt::Write;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use driftline_alerts::Counts;
use driftline_protocol::{Batch, Cell, Column, DecodeError, Exchange, Rows, decode};
use tracing::debug;

use super::calls::{Call, Judged, count_call, weight};
use super::cells::{category, time_micros};
use super::columns::Kept;
use super::series::Series;
use super::slis::SliCounts;
use super::table::{Capture, ExchangeMeta, Table};
use super::{ModelState, Pipeline, Purpose};
use crate::alerting::changes::{Change, ChangeKind};
use crate::archive::layout::partition_start;
use crate::config::{DECODED_SLI, EventTime, FIRST_MESSAGE_SLI, Partition, SCHEMA_SLI};
use crate::metrics::SliMetrics;

/// Rows that are gathered before they are counted in between: bounds the memory of one stretch of the journal.
const MAX_GATHERED_ROWS: usize = 16_384;
/// The same in bytes. Columns of text count their bytes in 32 bits, so it must also stay far below two gigabytes.
const MAX_GATHERED_BYTES: usize = 64 << 20;
/// Rows of one exchange that are gathered between two looks at how much there is.
const LOOK_ROWS: usize = 4096;
/// Longest id and longest instance's name that rows carry; every row of an exchange repeats them.
const MAX_ID_BYTES: usize = 1024;
/// How far ahead of its arrival a row may have happened. A clock that is wrong by more would close everybody's windows.
const MAX_AHEAD_MICROS: i64 = 3_600_000_000;
/// Nothing happened before this: 1900-01-01T00:00:00Z. Birthdays and the beginnings of contracts lie after it; what lies
/// before it is a mistake in a unit, or no time at all.
const EARLIEST_MICROS: i64 = -2_208_988_800_000_000;
/// A clock may be a little off without making a feature look older or newer than it is.
const FRESHNESS_SKEW_MICROS: i64 = 60_000_000;

/// Rows that are counted and archived together.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct TableKey {
    pub(super) model: Arc<str>,
    pub(super) version: Arc<str>,
    pub(super) pane: i64,
    pub(super) partition: i64,
    /// Whether they are counted.
    pub(super) count: bool,
    /// Whether they are archived.
    pub(super) archive: bool,
}

/// A table, and the time of its newest row.
#[derive(Debug)]
pub(super) struct Gathered {
    pub(super) table: Table,
    pub(super) newest: i64,
    /// When the last of its exchanges is counted by indicators.
    pub(super) indicated_at: i64,
}

/// What was gathered, and how much it is.
#[derive(Debug, Default)]
pub(super) struct Gathering {
    tables: HashMap<TableKey, Gathered>,
    rows: usize,
    bytes: usize,
}

impl Gathering {
    fn is_large(&self) -> bool {
        self.rows >= MAX_GATHERED_ROWS || self.bytes >= MAX_GATHERED_BYTES
    }

    /// Everything; nothing is left.
    pub(super) fn take(&mut self) -> HashMap<TableKey, Gathered> {
        std::mem::take(self).tables
    }

    /// Adds rows to a table.
    fn add(&mut self, key: TableKey, rows: usize, (newest, indicated_at): (i64, i64), fill: impl FnOnce(&mut Table)) {
        let new = || Gathered { table: Table::default(), newest: i64::MIN, indicated_at };
        let gathered = self.tables.entry(key).or_insert_with(new);
        let before = gathered.table.bytes();
        gathered.newest = gathered.newest.max(newest);
        gathered.indicated_at = gathered.indicated_at.max(indicated_at);
        fill(&mut gathered.table);
        self.rows += rows;
        self.bytes += gathered.table.bytes() - before;
    }
}

/// One exchange, as the pipeline goes through it.
struct Taken<'a> {
    batch: &'a Batch,
    exchange: &'a Exchange,
    position: i64,
    received_at: i64,
    /// When its request began, as far as that can be believed.
    began_at: i64,
    /// What its answer came to; see [`Call::outcome`].
    outcome: u32,
    purpose: Purpose,
}

impl Taken<'_> {
    fn call(&self) -> Call<'_> {
        Call { exchange: self.exchange, outcome: self.outcome }
    }

    fn succeeded(&self) -> bool {
        self.call().succeeded()
    }

    /// Whether its rows are counted in windows: what the sample did not draw would be over-represented.
    fn is_counted(&self) -> bool {
        self.purpose.count && self.succeeded() && !self.exchange.outside_sample
    }

    fn weight(&self) -> u64 {
        weight(self.exchange)
    }

    /// When its indicators are counted: a sidecar whose clock is fast must not hide them in the future.
    fn indicated_at(&self) -> i64 {
        self.began_at.min(self.received_at)
    }
}

impl Pipeline {
    /// Takes in one exchange, whose model's state is there.
    pub(super) fn exchange(
        &mut self,
        batch: &Batch,
        exchange: &Exchange,
        (position, received_at): (i64, i64),
        purpose: Purpose,
    ) {
        let naming = self.models.get(batch.model.as_str()).map(|model| Arc::clone(&model.naming));
        let Some(naming) = naming else { return };
        let decoded = decode(exchange, &naming);
        let began_at = usable(exchange.started_at_micros, received_at).unwrap_or(received_at);
        let taken = Taken { batch, exchange, position, received_at, began_at, outcome: decoded.outcome, purpose };
        if purpose.count {
            self.indicate(&taken);
            self.note_decoded(&taken, decoded.rows.as_ref().err());
        }
        let rows = match decoded.rows {
            Ok(rows) => rows,
            Err(error) => {
                if purpose.count {
                    self.parts.metrics.undecodable(error.reason()).inc();
                    if !matches!(error, DecodeError::UnknownProtocol { .. }) {
                        self.miss_rows(&taken);
                    }
                    debug!(model = batch.model, request = %exchange.request_id, %error, "an exchange has no rows");
                }
                return;
            }
        };
        let Some(model) = self.models.get(batch.model.as_str()) else { return };
        let places = places(model, &rows, &taken);
        let version = self.version(&taken, rows.model_version.as_deref());
        if purpose.count {
            if let Some(model) = self.models.get_mut(batch.model.as_str()) {
                model.watermarks.see(&rows, received_at);
            }
            self.parts.metrics.event_times_unusable.inc_by(places.unusable);
            if taken.succeeded()
                && let Some(model) = self.models.get(batch.model.as_str())
            {
                freshness(model, &rows, &places.times, &taken, &mut self.next.slis);
            }
        }
        let (late, not_counted) = self.gather(&rows, &places.times, &version, &taken);
        if purpose.count {
            let Some(model) = self.models.get_mut(batch.model.as_str()) else { return };
            if late > 0 {
                model.metrics.rows_late.inc_by(late);
                if let Some(series) = model.series.get_mut(&version) {
                    series.count_late(late);
                }
            }
            model.metrics.rows_not_counted.inc_by(not_counted);
        }
    }

    /// Counts an exchange's indicators, for all those that it stands for.
    fn indicate(&mut self, taken: &Taken<'_>) {
        let Some(model) = self.models.get_mut(taken.batch.model.as_str()) else { return };
        model.heard_at = model.heard_at.max(taken.received_at);
        let (exchange, metrics) = (taken.exchange, &model.metrics);
        let (at, weight) = (taken.indicated_at(), taken.weight());
        metrics.exchanges_received.inc();
        if exchange.unmeasured {
            return;
        }
        let of_call = (&*model.name, taken.call(), &model.config.slis);
        let took = count_call(&mut self.next.slis, of_call, (at, weight), |sli, counts| match sli {
            "latency" => metrics.latency.count(counts),
            FIRST_MESSAGE_SLI => metrics.first_message.iter().for_each(|metrics| metrics.count(counts)),
            _ => metrics.availability.count(counts),
        });
        if took {
            metrics.request_duration.observe(exchange.duration_micros as f64 / 1e6);
        }
    }

    /// Counts whether an answer's bodies gave rows. What the owner's rules withhold, and what is no inference's, is not to give
    /// any; of what the sidecar had no memory for nobody knows.
    fn note_decoded(&mut self, taken: &Taken<'_>, error: Option<&DecodeError>) {
        let Some(model) = self.models.get_mut(taken.batch.model.as_str()) else { return };
        let judged = match error {
            _ if !taken.call().is_answer() => return,
            Some(DecodeError::UnknownProtocol { .. } | DecodeError::Withheld { .. }) => return,
            Some(DecodeError::Budget) => Judged::Unknown,
            error => Judged::of(error.is_none()),
        };
        let counts = judged.counts(taken.weight());
        if let Some(error) = error {
            model.reasons.unread.note(error.reason(), taken.weight(), taken.received_at);
        }
        self.next.slis.count(&model.name, DECODED_SLI, "", taken.indicated_at(), counts);
        model.metrics.decoded.count(counts);
    }

    /// Counts an answer whose rows cannot be read for the indicators of rows: as one, for nobody knows how many it had.
    fn miss_rows(&mut self, taken: &Taken<'_>) {
        let Some(model) = self.models.get(taken.batch.model.as_str()) else { return };
        if !taken.call().is_answer() {
            return;
        }
        let (at, weight) = (taken.indicated_at(), taken.weight());
        let mut miss = |sli, label: &str, unknown: u64, metrics: &SliMetrics| {
            let counts = Counts { unknown, ..Counts::default() };
            self.next.slis.count(&model.name, sli, label, at, counts);
            metrics.count(counts);
        };
        if !taken.exchange.outside_sample {
            miss(SCHEMA_SLI, "", 1, &model.metrics.schema);
        }
        for (freshness, metrics) in model.config.slis.freshness.iter().zip(&model.metrics.freshness) {
            miss("freshness", &freshness.column, weight, metrics);
        }
    }

    /// What the version is called that an answer names.
    fn version(&mut self, taken: &Taken<'_>, named: Option<&str>) -> Arc<str> {
        let Some(model) = self.models.get_mut(taken.batch.model.as_str()) else { return Arc::from(super::UNVERSIONED) };
        if !taken.purpose.count {
            return model.versions.at(named, taken.position);
        }
        let called = model.versions.call(named, taken.position, taken.received_at);
        if called.is_refused {
            self.parts.metrics.versions_refused.with_label_values(&[&model.name]).inc();
        }
        if called.is_new {
            self.next.changes.push(Change {
                at: taken.received_at,
                model: model.name.to_string(),
                kind: ChangeKind::Version,
                text: format!("version {} was seen first", called.version),
            });
        }
        if let Some(expired) = called.expired {
            model.series.remove(&expired);
            model.comparing.remove(&expired);
            model.drifting.retain(|(version, _), _| *version != expired);
            self.parts.metrics.window_rows.remove_label_values(&[&model.name, &expired]).ok();
            self.parts.metrics.forget_segments(&model.name, &expired);
            self.next.forget_versions.push((model.name.to_string(), expired.to_string()));
        }
        let windows = &model.config.windows;
        let version = called.version;
        model.series.entry(Arc::clone(&version)).or_insert_with(|| Series::new(windows.clone(), None));
        version
    }

    /// Puts rows into their tables. Returns how many came too late, and how many are not counted for another reason.
    fn gather(&mut self, rows: &Rows<'_>, times: &[i64], version: &Arc<str>, taken: &Taken<'_>) -> (u64, u64) {
        let Some(model) = self.models.get(taken.batch.model.as_str()) else { return (0, 0) };
        let partition = taken.purpose.archive.unwrap_or(Partition::Hour);
        let series = model.series.get(version);
        let place = |time: &i64| {
            let is_late = series.is_some_and(|series| series.is_late(*time));
            (model.config.windows.pane_start(*time), partition_start(*time, partition), is_late)
        };
        let places: Vec<(i64, i64, bool)> = match times {
            // Rows that have their request's time.
            [first, rest @ ..] if rest.iter().all(|time| time == first) => vec![place(first); times.len()],
            times => times.iter().map(place).collect(),
        };
        let model = Arc::clone(&model.name);
        let (mut late, mut not_counted) = (0, 0);
        let mut start = 0;
        for stretch in places.chunk_by(|a, b| a == b).flat_map(|stretch| stretch.chunks(LOOK_ROWS)) {
            let range = start..start + stretch.len();
            start = range.end;
            let (pane, partition, is_late) = stretch[0];
            if !taken.is_counted() {
                not_counted += range.len() as u64;
            } else if is_late {
                late += range.len() as u64;
            }
            let key = TableKey {
                model: Arc::clone(&model),
                version: Arc::clone(version),
                pane,
                partition,
                count: taken.is_counted() && !is_late,
                archive: taken.purpose.archive.is_some(),
            };
            if key.count || key.archive {
                self.fill(rows, times, range, key, taken);
            }
            if self.gathering.is_large() {
                self.flush();
            }
        }
        (late, not_counted)
    }

    /// Adds some of an exchange's rows to their table.
    fn fill(&mut self, rows: &Rows<'_>, times: &[i64], range: Range<usize>, key: TableKey, taken: &Taken<'_>) {
        let Some(model) = self.models.get_mut(&key.model) else { return };
        let Taken { batch, exchange, received_at, .. } = *taken;
        let request_id = bounded(rows.id.as_deref().unwrap_or(&exchange.request_id));
        let instance = bounded(&batch.instance);
        let id_column = model.config.row_id.as_deref().and_then(|name| column(rows, name));
        // A row that happened after it arrived is from a clock that is fast; it must not close everybody's windows.
        let newest = range.clone().map(|row| times[row].min(received_at)).max().unwrap_or(i64::MIN);
        self.gathering.add(key, range.len(), (newest, taken.indicated_at()), |table| {
            let meta = ExchangeMeta {
                request_id,
                // A call that failed inside an answer of 200 is no success in the archive either.
                status: taken.outcome as u16,
                end_state: exchange.end().name(),
                latency_micros: (!exchange.unmeasured).then_some(exchange.duration_micros),
                instance,
                received_at,
                capture: capture(exchange),
            };
            table.begin_rows(meta, &times[range.clone()], |row, id| {
                write_row_id(id_column, range.start + row, (request_id, rows.count), id);
                id.truncate(bounded(id).len());
            });
            add_columns(model, rows, range, table, &self.parts.metrics);
        });
    }
}

/// How an exchange was kept, and when and in how many messages it was answered, if it was a stream of them.
fn capture(exchange: &Exchange) -> Capture {
    let messages = exchange.response_messages.as_ref();
    Capture {
        weight: exchange.weight.max(1),
        in_sample: !exchange.outside_sample,
        first_message_micros: messages.and_then(|messages| messages.gaps_micros.first().copied()),
        messages: messages.map(|messages| u32::try_from(messages.count).unwrap_or(u32::MAX)),
    }
}

/// A text of at most [`MAX_ID_BYTES`], cut between characters.
fn bounded(text: &str) -> &str {
    &text[..text.floor_char_boundary(MAX_ID_BYTES)]
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
            Kept::As(known) => table.push_as(&known.archived, column, known.kind, known.unit, range.clone()),
            Kept::Unknown => {}
            Kept::TooMany => metrics.columns_refused.inc_by(range.len() as u64),
        }
    }
}

/// Whether what was computed at a time, if that is known, was fresh enough for a row of another.
pub(crate) fn is_fresh(of: Option<i64>, time: i64, max_age: Duration) -> bool {
    let ages = -FRESHNESS_SKEW_MICROS..=max_age.as_micros() as i64;
    of.is_some_and(|of| ages.contains(&time.saturating_sub(of)))
}

struct Places {
    /// The event time of each row.
    times: Vec<i64>,
    /// Rows whose own time could not be used.
    unusable: u64,
}

/// A time that something can have happened at; none when a clock or a unit must be wrong.
fn usable(time: i64, received_at: i64) -> Option<i64> {
    (EARLIEST_MICROS..=received_at.saturating_add(MAX_AHEAD_MICROS)).contains(&time).then_some(time)
}

/// When each row happened. A row whose own time is missing, unreadable, before 1900 or too far in the future has its
/// request's.
fn places(model: &ModelState, rows: &Rows<'_>, taken: &Taken<'_>) -> Places {
    let of_request = taken.began_at;
    let EventTime::Column { name, unit } = &model.config.event_time else {
        return Places { times: vec![of_request; rows.count], unusable: 0 };
    };
    let column = column(rows, name);
    let mut unusable = 0;
    let times = (0..rows.count)
        .map(|row| {
            let time = column.and_then(|column| time_micros(&*column.cells.get(row)?, *unit));
            time.and_then(|time| usable(time, taken.received_at)).unwrap_or_else(|| {
                unusable += 1;
                of_request
            })
        })
        .collect();
    Places { times, unusable }
}

pub(super) fn column<'r, 'a>(rows: &'r Rows<'a>, name: &str) -> Option<&'r Column<'a>> {
    rows.columns.iter().find(|column| column.name == name)
}

/// Writes what a row is called: what its column says, or else its request's id, with its place where there are several.
fn write_row_id(column: Option<&Column<'_>>, row: usize, (request_id, rows): (&str, usize), id: &mut String) {
    match column.and_then(|column| column.cells.get(row)) {
        Some(cell) if !matches!(*cell, Cell::Missing | Cell::Embedding(_)) => id.push_str(&category(&cell)),
        _ => {
            id.push_str(request_id);
            if rows > 1 {
                // Writing to a string cannot fail.
                write!(id, "/{row}").ok();
            }
        }
    }
}

/// Counts how many rows used features that were fresh. One without a time is not.
fn freshness(model: &ModelState, rows: &Rows<'_>, times: &[i64], taken: &Taken<'_>, slis: &mut SliCounts) {
    let weight = taken.weight();
    for (freshness, metrics) in model.config.slis.freshness.iter().zip(&model.metrics.freshness) {
        let column = column(rows, &freshness.column);
        let is_fresh = |(row, time): (usize, &i64)| {
            let of = column.and_then(|column| time_micros(&*column.cells.get(row)?, freshness.unit));
            is_fresh(of, *time, freshness.max_age)
        };
        let good = times.iter().enumerate().filter(|row| is_fresh(*row)).count() as u64;
        let counts = Counts { good: good * weight, valid: times.len() as u64 * weight, unknown: 0 };
        slis.count(&model.name, "freshness", &freshness.column, taken.indicated_at(), counts);
        metrics.count(counts);
    }
}
