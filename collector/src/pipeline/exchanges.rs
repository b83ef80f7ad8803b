//! One exchange: its indicators, its rows, and where each of them belongs.

use std::collections::HashMap;
use std::fmt::Write;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use driftline_alerts::Counts;
use driftline_protocol::{Batch, Cell, Column, DecodeError, EndState, Exchange, Rows, decode};
use tracing::debug;

use super::columns::Kept;
use super::series::Series;
use super::slis::SliCounts;
use super::table::{Capture, ExchangeMeta, Table, category, time_micros};
use super::{ModelState, Pipeline, Purpose};
use crate::alerting::changes::{Change, ChangeKind};
use crate::archive::layout::partition_start;
use crate::config::{DECODED_SLI, EventTime, FIRST_MESSAGE_SLI, Partition, SCHEMA_SLI, Slis};
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
/// Most exchanges that one stands for. A sender that claims more would drown all others, and sums end somewhere.
const MAX_WEIGHT: u64 = 1_000_000;
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
        let Some(model) = self.models.get(taken.batch.model.as_str()) else { return };
        let judged = match error {
            _ if !taken.call().is_answer() => return,
            Some(DecodeError::UnknownProtocol { .. } | DecodeError::Withheld { .. }) => return,
            Some(DecodeError::Budget) => Judged::Unknown,
            error => Judged::of(error.is_none()),
        };
        let counts = judged.counts(taken.weight());
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

/// A call, as indicators see it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Call<'a> {
    pub(crate) exchange: &'a Exchange,
    /// What its answer came to, as an HTTP status; see [`driftline_protocol::Decoded::outcome`].
    pub(crate) outcome: u32,
}

impl<'a> Call<'a> {
    /// One whose status says what it came to, as archived ones' do.
    pub(crate) fn archived(exchange: &'a Exchange) -> Self {
        Self { exchange, outcome: exchange.status }
    }

    /// Whether it was answered, and well.
    pub(crate) fn succeeded(self) -> bool {
        (200..300).contains(&self.outcome) && self.exchange.end() == EndState::Complete
    }

    /// Whether an answer of success passed to its end, whatever could be kept of it.
    fn is_answer(self) -> bool {
        answered(self.exchange) && (200..300).contains(&self.outcome)
    }
}

/// For how many exchanges one stands.
pub(crate) fn weight(exchange: &Exchange) -> u64 {
    exchange.weight().min(MAX_WEIGHT)
}

/// What a call is for an indicator that it is an event of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Judged {
    Good,
    Bad,
    /// It was seen, and what would tell was not kept.
    Unknown,
}

impl Judged {
    fn of(is_good: bool) -> Self {
        if is_good { Self::Good } else { Self::Bad }
    }

    /// As many events as the call stands for.
    fn counts(self, weight: u64) -> Counts {
        match self {
            Self::Good => Counts { good: weight, valid: weight, unknown: 0 },
            Self::Bad => Counts { good: 0, valid: weight, unknown: 0 },
            Self::Unknown => Counts { good: 0, valid: 0, unknown: weight },
        }
    }
}

/// Counts a call's indicators at a time, for as many calls as it stands for, and says which. Gives whether it has a latency.
pub(crate) fn count_call(
    slis: &mut SliCounts,
    (model, call, limits): (&str, Call<'_>, &Slis),
    (at, weight): (i64, u64),
    mut say: impl FnMut(&'static str, Counts),
) -> bool {
    let limit_micros = limits.latency.as_micros() as u64;
    let begun = limits.first_message.and_then(|limit| Some((FIRST_MESSAGE_SLI, began_in_time(call, limit)?)));
    let judged = indicators(call, limit_micros).map(|(sli, is_good)| (sli, Judged::of(is_good)));
    for (sli, judged) in judged.chain(begun) {
        let counts = judged.counts(weight);
        slis.count(model, sli, "", at, counts);
        say(sli, counts);
    }
    let took = call.exchange.status > 0 || gave_up(call, limit_micros);
    if took {
        slis.latency(model, at, call.exchange.duration_micros, weight);
    }
    took
}

/// Whether what was computed at a time, if that is known, was fresh enough for a row of another.
pub(crate) fn is_fresh(of: Option<i64>, time: i64, max_age: Duration) -> bool {
    let ages = -FRESHNESS_SKEW_MICROS..=max_age.as_micros() as i64;
    of.is_some_and(|of| ages.contains(&time.saturating_sub(of)))
}

/// The indicators that an exchange is valid for, and whether it was good.
fn indicators(call: Call<'_>, latency_limit_micros: u64) -> impl Iterator<Item = (&'static str, bool)> {
    let Call { exchange, outcome: status } = call;
    let answered = answered(exchange);
    // What the caller did wrong, and what it broke off, says nothing about the model.
    let callers_doing = (400..500).contains(&status) && status != 408 && status != 429
        || matches!(exchange.end(), EndState::Cancelled | EndState::Upgraded | EndState::Unreadable);
    let available = (!callers_doing).then_some(("availability", answered && status < 400));
    let in_time = exchange.duration_micros <= latency_limit_micros;
    let timed = (call.is_answer() || gave_up(call, latency_limit_micros)).then_some(("latency", in_time));
    available.into_iter().chain(timed)
}

/// Whether a stream began in time; none of what is no stream. One message alone is none: each answer over gRPC is one. Of what
/// the caller broke off, its first message or the want of it says whether that was for the waiting. A sidecar that was out of
/// memory counted messages and kept no times: of a stream it is unknown then, unless it ended before the limit.
fn began_in_time(Call { exchange, outcome }: Call<'_>, limit: Duration) -> Option<Judged> {
    let limit_micros = limit.as_micros() as u64;
    let messages = exchange.response_messages.as_ref().filter(|_| (200..300).contains(&outcome))?;
    let is_cancelled = exchange.end() == EndState::Cancelled;
    let is_stream = (answered(exchange) || is_cancelled) && messages.count > 1;
    let took_longer = exchange.duration_micros > limit_micros;
    match messages.gaps_micros.first() {
        Some(waited) if is_stream => Some(Judged::of(*waited <= limit_micros)),
        Some(waited) => (is_cancelled && *waited > limit_micros).then_some(Judged::Bad),
        // All that passed, passed within it.
        None if is_stream && !took_longer => Some(Judged::Good),
        None if is_stream => Some(Judged::Unknown),
        None if is_cancelled && took_longer => Some(if messages.count > 0 { Judged::Unknown } else { Judged::Bad }),
        None => None,
    }
}

/// Whether the model's answer passed to its end: what the sidecar could keep of it says nothing about that.
fn answered(exchange: &Exchange) -> bool {
    matches!(exchange.end(), EndState::Complete | EndState::Truncated | EndState::Budget)
}

/// Whether the caller broke it off after the limit: whatever the answer would have been, it would have been late.
fn gave_up(Call { exchange, outcome: status }: Call<'_>, latency_limit_micros: u64) -> bool {
    exchange.end() == EndState::Cancelled
        && exchange.duration_micros > latency_limit_micros
        && (status == 0 || (200..300).contains(&status))
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

#[cfg(test)]
mod tests {
    use driftline_protocol::Messages;

    use super::*;

    fn exchange(status: u32, end: EndState, micros: u64) -> Exchange {
        Exchange { status, end: end.into(), duration_micros: micros, ..Exchange::default() }
    }

    fn indicated(status: u32, end: EndState, micros: u64) -> Vec<(&'static str, bool)> {
        indicators(Call::archived(&exchange(status, end, micros)), 1000).collect()
    }

    #[test]
    fn what_the_caller_did_is_not_held_against_the_model() {
        assert_eq!(indicated(200, EndState::Complete, 900), [("availability", true), ("latency", true)]);
        assert_eq!(indicated(200, EndState::Truncated, 1100), [("availability", true), ("latency", false)]);
        assert_eq!(indicated(200, EndState::Budget, 900), [("availability", true), ("latency", true)]);
        assert_eq!(indicated(503, EndState::Complete, 10), [("availability", false)]);
        assert_eq!(indicated(429, EndState::Complete, 10), [("availability", false)], "overload is the model's doing");
        assert_eq!(indicated(404, EndState::Complete, 10), []);
        assert_eq!(indicated(0, EndState::Cancelled, 1000), []);
        assert_eq!(indicated(0, EndState::Cancelled, 1001), [("latency", false)], "waited longer than the limit");
        assert_eq!(indicated(200, EndState::Cancelled, 1001), [("latency", false)], "amid an answer");
        assert_eq!(indicated(404, EndState::Cancelled, 1001), []);
        assert_eq!(indicated(0, EndState::UpstreamError, 10), [("availability", false)]);
    }

    #[test]
    fn a_grpc_call_that_failed_is_no_success_for_its_http_status() {
        let called = |code: &str| {
            let status = driftline_protocol::Header { name: "grpc-status".into(), value: code.into() };
            let exchange = Exchange { response_headers: vec![status], ..exchange(200, EndState::Complete, 900) };
            indicators(Call { exchange: &exchange, outcome: exchange.outcome() }, 1000).collect::<Vec<_>>()
        };
        assert_eq!(called("0"), [("availability", true), ("latency", true)]);
        assert_eq!(called("14"), [("availability", false)], "unavailable");
        assert_eq!(called("8"), [("availability", false)], "overload is the model's doing");
        assert_eq!(called("3"), [], "the caller's argument");
        assert_eq!(called("no code"), [("availability", false)]);
    }

    #[test]
    fn streams_begin_in_time_or_not_and_what_is_no_stream_does_neither() {
        let began = |end, gaps: &[u64], count, micros| {
            let messages = Messages { gaps_micros: gaps.to_vec(), count, ..Messages::default() };
            let exchange = Exchange { response_messages: Some(messages), ..exchange(200, end, micros) };
            began_in_time(Call::archived(&exchange), Duration::from_millis(1))
        };
        assert_eq!(began(EndState::Complete, &[1000, 5], 2, 9000), Some(Judged::Good), "however long it goes on");
        assert_eq!(began(EndState::Truncated, &[1001], 900, 9000), Some(Judged::Bad));
        assert_eq!(began(EndState::Complete, &[5000], 1, 5000), None, "a call over gRPC");
        assert_eq!(began(EndState::Complete, &[], 0, 5000), None, "nothing was said");
        assert_eq!(began(EndState::Cancelled, &[900, 5], 2, 9000), Some(Judged::Good), "broken off for another reason");
        assert_eq!(began(EndState::Cancelled, &[1001], 1, 1100), Some(Judged::Bad));
        assert_eq!(began(EndState::Cancelled, &[900], 1, 9000), None);
        assert_eq!(began(EndState::Cancelled, &[], 0, 1001), Some(Judged::Bad), "before the first");
        assert_eq!(began(EndState::Cancelled, &[], 0, 1000), None);
        assert_eq!(began(EndState::UpstreamError, &[5000, 5], 2, 9000), None, "availability's");
        // Messages were counted, and there was no room for their times.
        assert_eq!(began(EndState::Complete, &[], 2, 9000), Some(Judged::Unknown));
        assert_eq!(began(EndState::Budget, &[], 2, 1000), Some(Judged::Good), "all of it passed within the limit");
        assert_eq!(began(EndState::Cancelled, &[], 2, 9000), Some(Judged::Unknown));
        assert_eq!(began(EndState::Cancelled, &[], 1, 9000), Some(Judged::Unknown), "the first may have come late");
        assert_eq!(began(EndState::Cancelled, &[], 1, 900), None);
        assert_eq!(began(EndState::Complete, &[], 1, 9000), None, "no stream");
        assert_eq!(began(EndState::UpstreamError, &[], 2, 9000), None);
        let alone = exchange(200, EndState::Complete, 9000);
        assert_eq!(began_in_time(Call::archived(&alone), Duration::from_millis(1)), None);
        let failed = Exchange {
            response_messages: Some(Messages { gaps_micros: vec![5000, 1], count: 2, ..Messages::default() }),
            ..alone
        };
        assert_eq!(began_in_time(Call { exchange: &failed, outcome: 500 }, Duration::from_millis(1)), None);
    }

    #[test]
    fn an_answer_that_tells_of_an_error_is_no_success_for_its_status() {
        let exchange = exchange(200, EndState::Complete, 900);
        let called = |outcome| indicators(Call { exchange: &exchange, outcome }, 1000).collect::<Vec<_>>();
        assert_eq!(called(200), [("availability", true), ("latency", true)]);
        assert_eq!(called(500), [("availability", false)]);
        assert_eq!(called(400), [], "the caller's doing");
    }
}
