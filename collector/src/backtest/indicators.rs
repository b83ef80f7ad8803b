//! A model's indicators, counted again from its archived rows, and looked at in virtual time.
//!
//! ```text
//!   archived rows ─▶ calls ─▶ slices and hours, as the pipeline counts them, in a database in memory ─▶ rules by the clock
//! ```
//!
//! Counting, adding up and judging are the pipeline's own; what differs is told to whoever asks. The status of an archived call
//! is what its answer came to, an error in an answer of success included. A call is in the archive only if it had rows, so that
//! what was answered without a body that can be read is missing here. Indicators of what is not rows (captures, signs of life,
//! the collector's own) cannot be counted again, nor can the form of rows: the archive keeps as missing what was of another type.

use std::collections::BTreeSet;

use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, Int64Type, TimestampMicrosecondType, UInt16Type, UInt32Type};
use arrow_array::{Array, ArrayRef, Float64Array, RecordBatch, StringArray, UInt32Array};
use driftline_alerts::{Condition, Counts, Micros, Observation};
use driftline_protocol::{Cell, EndState, Exchange, Messages};
use rusqlite::Connection;

use crate::config::{EventTime, FIRST_MESSAGE_SLI, Freshness, Model, SLICES_SLI, Slis, TimeUnit};
use crate::pipeline::calls::{Call, count_call, weight};
use crate::pipeline::cells::time_micros;
use crate::pipeline::columns::archived_name;
use crate::pipeline::exchanges::is_fresh;
use crate::pipeline::series::ClosedWindow;
use crate::pipeline::slis::{SLICE_MICROS, SliCounts};
use crate::pipeline::time_slices::judged;
use crate::pipeline::{evaluating, expressions, tidying};
use crate::store::in_memory;
use crate::vocabulary::Named;

/// Indicators that rows say all of, or the windows that they make.
pub(super) const OF_ROWS: [&str; 5] = ["latency", FIRST_MESSAGE_SLI, "availability", "freshness", SLICES_SLI];
/// Rules are looked at so often at the most: each look adds up what is stored, some of it of a month.
const MAX_LOOKS: i64 = 100_000;

/// What is counted of a model's calls.
pub(crate) struct Indicators {
    db: Connection,
    model: String,
    slis: Slis,
    counts: SliCounts,
    /// Which indicators were counted at all.
    known: BTreeSet<&'static str>,
    /// The call whose row came last.
    last: Option<CallKey>,
    /// When rules are looked at next, and up to when.
    looks: (Micros, Micros),
    /// From one look to the next.
    every: Micros,
    /// Whether rows say when the model was called; windows count in any case.
    has_calls: bool,
}

/// What the rows of one call have in common, and those of another have not.
#[derive(PartialEq)]
struct CallKey {
    request: String,
    instance: String,
    event_time: i64,
    received_at: i64,
}

impl Indicators {
    /// Those of a model, looked at after `from` and by `to`, one `interval` after the other. Where rows say when something
    /// happened, nothing says when the model was called, and only its windows are counted.
    ///
    /// # Errors
    /// When there is no memory for a database.
    pub(crate) fn of(model: &Model, (from, to): (Micros, Micros), interval: Micros) -> Result<Self, String> {
        let db = in_memory().map_err(unkept)?;
        let wanted = interval.max(to.saturating_sub(from) / MAX_LOOKS).max(1);
        let every = (wanted.saturating_add(SLICE_MICROS - 1) / SLICE_MICROS).saturating_mul(SLICE_MICROS);
        Ok(Self {
            db,
            model: model.name.clone(),
            slis: model.slis.clone(),
            counts: SliCounts::default(),
            known: BTreeSet::new(),
            last: None,
            looks: (last_of_slice(from).saturating_add(every), to),
            every,
            has_calls: model.event_time == EventTime::Request,
        })
    }

    /// Whether calls are counted, or windows alone.
    pub(super) fn has_calls(&self) -> bool {
        self.has_calls
    }

    /// How long a time there is from one look to the next.
    pub(super) fn every(&self) -> Micros {
        self.every
    }

    /// Whether anything was counted of an indicator.
    pub(super) fn knows(&self, sli: &str) -> bool {
        self.known.contains(sli)
    }

    /// Counts the calls of archived rows, which come call by call.
    ///
    /// # Errors
    /// When they are no rows of an archive.
    pub(super) fn take(&mut self, batch: &RecordBatch) -> Result<(), String> {
        if !self.has_calls {
            return Ok(());
        }
        let calls = Calls::of(batch).ok_or("there are not the columns that every archived row has")?;
        let fresh: Vec<(Freshness, Option<ArrayRef>)> =
            self.slis.freshness.iter().map(|of| (of.clone(), column(batch, &archived_name(&of.column)))).collect();
        for row in 0..batch.num_rows() {
            let (exchange, key) = (calls.exchange(row), calls.key(row));
            let at = (key.event_time.min(key.received_at), weight(&exchange));
            let time = key.event_time;
            if self.last.as_ref() != Some(&key) {
                self.last = Some(key);
                if !exchange.unmeasured {
                    self.count(&exchange, at);
                }
            }
            if Call::archived(&exchange).succeeded() {
                self.count_fresh(&fresh, (row, time), at);
            }
        }
        Ok(())
    }

    fn count(&mut self, exchange: &Exchange, at: (i64, u64)) {
        let known = &mut self.known;
        let of_call = (&*self.model, Call::archived(exchange), &self.slis);
        count_call(&mut self.counts, of_call, at, |sli, _| {
            known.insert(sli);
        });
    }

    fn count_fresh(
        &mut self,
        columns: &[(Freshness, Option<ArrayRef>)],
        (row, time): (usize, i64),
        (at, weight): (i64, u64),
    ) {
        for (freshness, array) in columns {
            let of = array.as_ref().and_then(|array| time_of(array, row, freshness.unit));
            let good = u64::from(is_fresh(of, time, freshness.max_age)) * weight;
            self.counts.count(
                &self.model,
                "freshness",
                &freshness.column,
                at,
                Counts { good, valid: weight, unknown: 0 },
            );
            self.known.insert("freshness");
        }
    }

    /// Counts a window that closes, at once: rules may look before the next rows are handed in.
    ///
    /// # Errors
    /// The database's.
    pub(super) fn take_window(&mut self, window: &ClosedWindow) -> Result<(), String> {
        let mut counts = SliCounts::default();
        for slices in &self.slis.slices {
            counts.count(&self.model, SLICES_SLI, &slices.name, window.ends, judged(slices, window));
            self.known.insert(SLICES_SLI);
        }
        counts.store(&self.db).map_err(unkept)
    }

    /// Stores what was counted of all rows before a time, so that it is seen, and forgets what is older than it is kept.
    ///
    /// # Errors
    /// The database's.
    pub(super) fn settle(&mut self, through: Micros) -> Result<(), String> {
        let counts = std::mem::take(&mut self.counts);
        let stored = self.db.transaction().and_then(|transaction| {
            counts.store(&transaction)?;
            // What is looked at next is of the stretch that was just handed in.
            while tidying::tidy(&transaction, self.looks.0.min(through))? {}
            transaction.commit()
        });
        stored.map_err(unkept)
    }

    /// When rules are looked at next, by a time.
    pub(super) fn next_look(&self, by: Micros) -> Option<Micros> {
        let (next, last) = self.looks;
        (next <= last.min(by)).then_some(next)
    }

    /// The look is done.
    pub(super) fn looked(&mut self) {
        self.looks.0 = self.looks.0.saturating_add(self.every);
    }

    /// What a rule that is looked at by the clock is told at a time.
    ///
    /// # Errors
    /// The database's.
    pub(super) fn observations(
        &self,
        (condition, sli): (&Condition, &str),
        now: Micros,
    ) -> Result<Vec<Observation>, String> {
        evaluating::indicator_observations(&self.db, &self.model, (condition, sli), now).map_err(unkept)
    }

    /// What an indicator was over a time before now; none where that is not known.
    pub(super) fn measure(&self, named: &Named, over: std::time::Duration, now: Micros) -> Option<f64> {
        expressions::measure(&self.db, &self.model, named, over, last_of_slice(now)).ok()?
    }
}

/// The columns of archived rows that tell of their call.
struct Calls<'b> {
    event_time: &'b [i64],
    received_at: &'b [i64],
    request: &'b StringArray,
    instance: &'b StringArray,
    status: &'b [u16],
    end_state: &'b StringArray,
    latency_ms: &'b Float64Array,
    /// Archives did not always say it.
    weight: Option<&'b UInt32Array>,
    /// Nor of streams when they began, and how many messages they had.
    first_message_ms: Option<&'b Float64Array>,
    messages: Option<&'b UInt32Array>,
}

impl<'b> Calls<'b> {
    fn of(batch: &'b RecordBatch) -> Option<Self> {
        let time = |name| Some(&**batch.column_by_name(name)?.as_primitive_opt::<TimestampMicrosecondType>()?.values());
        let text = |name| batch.column_by_name(name)?.as_string_opt::<i32>();
        Some(Self {
            event_time: time("event_time")?,
            received_at: time("received_at")?,
            request: text("request_id")?,
            instance: text("instance")?,
            status: batch.column_by_name("status")?.as_primitive_opt::<UInt16Type>()?.values(),
            end_state: text("end_state")?,
            latency_ms: batch.column_by_name("latency_ms")?.as_primitive_opt::<Float64Type>()?,
            weight: batch.column_by_name("weight").and_then(|weight| weight.as_primitive_opt::<UInt32Type>()),
            first_message_ms: batch
                .column_by_name("first_message_ms")
                .and_then(|first| first.as_primitive_opt::<Float64Type>()),
            messages: batch.column_by_name("messages").and_then(|count| count.as_primitive_opt::<UInt32Type>()),
        })
    }

    fn key(&self, row: usize) -> CallKey {
        CallKey {
            request: self.request.value(row).to_owned(),
            instance: self.instance.value(row).to_owned(),
            event_time: self.event_time[row],
            received_at: self.received_at[row],
        }
    }

    /// The exchange of a row, as far as it is archived.
    fn exchange(&self, row: usize) -> Exchange {
        let end = EndState::named(self.end_state.value(row)).unwrap_or_default();
        let is_measured = self.latency_ms.is_valid(row);
        let micros = micros(self.latency_ms, row).unwrap_or(0);
        let messages = self.messages.filter(|messages| messages.is_valid(row)).map(|messages| Messages {
            count: messages.value(row).into(),
            gaps_micros: self.first_message_ms.and_then(|first| self::micros(first, row)).into_iter().collect(),
            ..Messages::default()
        });
        Exchange {
            status: u32::from(self.status[row]),
            end: end.into(),
            duration_micros: micros,
            unmeasured: !is_measured,
            weight: self.weight.map_or(1, |weight| weight.value(row)),
            response_messages: messages,
            ..Exchange::default()
        }
    }
}

/// A time in milliseconds, in microseconds; none where none was measured.
fn micros(millis: &Float64Array, row: usize) -> Option<u64> {
    millis.is_valid(row).then(|| (millis.value(row) * 1000.0).round() as u64)
}

/// The last moment before the slice of a time. What is stored of that slice may be later than the time itself.
fn last_of_slice(time: Micros) -> Micros {
    time.div_euclid(SLICE_MICROS).saturating_mul(SLICE_MICROS) - 1
}

fn column(batch: &RecordBatch, name: &str) -> Option<ArrayRef> {
    batch.column_by_name(name).cloned()
}

/// The time that a cell says, in a column of times or of what is read as one.
fn time_of(array: &ArrayRef, row: usize, unit: TimeUnit) -> Option<i64> {
    if array.is_null(row) {
        return None;
    }
    if let Some(times) = array.as_primitive_opt::<TimestampMicrosecondType>() {
        return Some(times.value(row));
    }
    let number = || Some(Cell::Number(array.as_primitive_opt::<Float64Type>()?.value(row)));
    let integer = || Some(Cell::Integer(array.as_primitive_opt::<Int64Type>()?.value(row)));
    let text = || Some(Cell::Text(array.as_string_opt::<i32>()?.value(row).into()));
    time_micros(&number().or_else(integer).or_else(text)?, unit)
}

fn unkept(error: rusqlite::Error) -> String {
    format!("indicators are counted again in memory, and that failed: {error}")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use driftline_alerts::{Labels, Reading};

    use super::*;
    use crate::pipeline::table::{Capture, RowMeta, Table};

    const SECOND: i64 = 1_000_000;

    fn model() -> Model {
        let first_message = Some(Duration::from_millis(5));
        let slis = Slis { latency: Duration::from_millis(100), first_message, ..Slis::default() };
        Model { slis, ..Model::undescribed("m") }
    }

    /// A call at a second, of so many rows.
    #[derive(Clone, Copy)]
    struct Call {
        second: i64,
        rows: usize,
        status: u16,
        end: EndState,
        latency_ms: Option<u64>,
        weight: u32,
        /// After how many milliseconds its first message came, if it was a stream.
        first_ms: Option<u64>,
    }

    const GOOD: Call = Call {
        second: 0,
        rows: 1,
        status: 200,
        end: EndState::Complete,
        latency_ms: Some(20),
        weight: 1,
        first_ms: None,
    };

    fn batch(calls: &[Call]) -> RecordBatch {
        let mut table = Table::default();
        for (number, call) in calls.iter().enumerate() {
            let request_id = number.to_string();
            let meta = RowMeta {
                event_time: call.second * SECOND,
                request_id: &request_id,
                row_id: "r",
                status: call.status,
                end_state: call.end.name(),
                latency_micros: call.latency_ms.map(|millis| millis * 1000),
                instance: "pod",
                received_at: (call.second + 1) * SECOND,
            };
            let capture = Capture {
                weight: call.weight,
                first_message_micros: call.first_ms.map(|millis| millis * 1000),
                messages: call.first_ms.map(|_| 7),
                ..Capture::default()
            };
            (0..call.rows).for_each(|_| table.begin_row_of(meta, capture));
        }
        table.finish().unwrap().batch
    }

    fn counted(calls: &[Call], sli: &str, now: i64) -> Option<(u64, u64)> {
        let mut indicators = Indicators::of(&model(), (0, 1000 * SECOND), 15 * SECOND).unwrap();
        // In two batches, as a file has them.
        let (first, rest) = calls.split_at(calls.len() / 2);
        [first, rest].iter().for_each(|calls| indicators.take(&batch(calls)).unwrap());
        indicators.settle(1000 * SECOND).unwrap();
        let over = Duration::from_secs(60);
        let condition =
            Condition::Sli { sli: sli.into(), matching: Labels::new(), below: 0.9, over, min_events: 1, few: None };
        match indicators.observations((&condition, sli), now).unwrap()[..] {
            [Observation { reading: Reading::Ratio { good, valid, .. }, .. }] => Some((good, valid)),
            [] => None,
            ref other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_call_counts_once_however_many_rows_it_has_and_for_as_many_as_it_stands_for() {
        let calls = [
            Call { rows: 3, ..GOOD },
            Call { second: 3, weight: 10, latency_ms: Some(200), ..GOOD },
            Call { second: 4, status: 503, rows: 2, ..GOOD },
            Call { second: 5, status: 404, ..GOOD },
            Call { second: 6, status: 0, end: EndState::UpstreamError, ..GOOD },
            Call { second: 7, latency_ms: None, ..GOOD },
        ];
        assert_eq!(counted(&calls, "availability", 9 * SECOND), Some((11, 13)), "nobody measured the last");
        assert_eq!(counted(&calls, "latency", 9 * SECOND), Some((1, 11)));
        assert_eq!(counted(&calls, "freshness", 9 * SECOND), None);
        assert_eq!(counted(&calls, "availability", 300 * SECOND), None, "that was long ago");
    }

    #[test]
    fn streams_begin_in_time_as_they_did() {
        let calls = [
            GOOD,
            Call { rows: 2, second: 1, first_ms: Some(5), ..GOOD },
            Call { second: 2, first_ms: Some(6), weight: 3, ..GOOD },
            Call { second: 3, first_ms: Some(1), status: 500, ..GOOD },
        ];
        assert_eq!(counted(&calls, FIRST_MESSAGE_SLI, 9 * SECOND), Some((1, 4)));
    }

    #[test]
    fn looks_are_at_the_ends_of_slices_and_not_more_than_so_many() {
        let looks = |to: i64, interval: i64| {
            let mut indicators = Indicators::of(&model(), (3 * SECOND, to), interval).unwrap();
            let next = || {
                let look = indicators.next_look(i64::MAX)?;
                indicators.looked();
                Some(look)
            };
            std::iter::from_fn(next).collect::<Vec<_>>()
        };
        assert_eq!(looks(60 * SECOND, 15 * SECOND), [20 * SECOND - 1, 40 * SECOND - 1, 60 * SECOND - 1]);
        let year = looks(366 * 86_400 * SECOND, SECOND);
        assert!((90_000..=MAX_LOOKS as usize).contains(&year.len()), "{}", year.len());
    }

    #[test]
    fn where_a_column_says_when_rows_happened_windows_are_counted_and_calls_are_not() {
        let event_time = EventTime::Column { name: "when".into(), unit: TimeUnit::Rfc3339 };
        let (name, score) = ("drift".to_owned(), driftline_detectors::Detector::Psi);
        let slices = vec![crate::config::Slices { name, score, below: None, columns: vec![] }];
        let model = Model { event_time, slis: Slis { slices, ..Slis::default() }, ..model() };
        let mut indicators = Indicators::of(&model, (0, 1000 * SECOND), SECOND).unwrap();
        indicators.take(&batch(&[GOOD])).unwrap();
        let window = ClosedWindow {
            starts: 0,
            ends: 60 * SECOND,
            rows: 1,
            filled: 1,
            panes: 1,
            columns: vec![],
            profiles: vec![],
            segments: vec![],
        };
        indicators.take_window(&window).unwrap();
        indicators.settle(1000 * SECOND).unwrap();
        assert!(!indicators.has_calls() && indicators.knows(SLICES_SLI) && !indicators.knows("latency"));
        let rules = "alerts: {rules: [
            {name: Slices, severity: ticket, runbook: feature-drift, when: {sli: slices, objective: 0.95, burns: slow}},
            {name: Both, severity: ticket, runbook: feature-drift, when: 'slices.valid[1d] > 0 and latency.valid[1d] > 0'}]}";
        let config = crate::config::Config::parse("d.yaml", rules, std::path::Path::new("/")).unwrap();
        let rule = |name: &str| config.alerting.rules.iter().find(|rule| rule.name == name).unwrap();
        let observed = indicators.observations((&rule("Slices").condition, SLICES_SLI), 100 * SECOND).unwrap();
        let unknown = Counts { unknown: 1, ..Counts::default() };
        assert!(matches!(observed[0].reading, Reading::Burn { period, .. } if period == unknown), "{observed:?}");
        let why = |name| super::super::left_out::why_left_out(rule(name), 1, indicators.has_calls());
        assert_eq!(why("Slices"), None);
        let said = why("Both").unwrap();
        assert!(said.ends_with("nothing says when the model was called, which latency is counted by"), "{said}");
    }
}
