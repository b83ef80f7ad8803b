//! Rows of files in the place of an archive: each becomes what the pipeline would have kept of it.
//!
//! ```text
//!   Parquet, CSV, JSON lines ─▶ chunks ─▶ rows of a stretch of time, in columns of the model's types ─▶ windows
//! ```
//!
//! Rows may come in any order. A file is read in every stretch of time that it has rows of, so that no more of it is in
//! memory than the stretch's panes: one of all time is read again for each, one for each month or day hardly more than once.

use std::collections::BTreeSet;
use std::path::PathBuf;

use driftline_protocol::{Cell, Column, EndState, Role};

use crate::config::TimeUnit;
use crate::pipeline::UNVERSIONED;
use crate::pipeline::cells::time_micros;
use crate::pipeline::columns::{Columns, Kept};
use crate::pipeline::rebuild::{Rebuild, Rebuilding};
use crate::pipeline::table::{Capture, META_COLUMNS, RowMeta, Table};
use crate::reference_build::{Chunk, Value, read_rows};

/// Files with rows of one model.
#[derive(Debug)]
pub(crate) struct Files<'f> {
    pub(crate) paths: &'f [PathBuf],
    /// The column that says when a row happened, and how.
    pub(crate) time: (String, TimeUnit),
    /// The column that tells rows apart, which is no feature.
    pub(crate) row_id: Option<&'f str>,
    /// What the model's reference has a column of is one of the model, even where archived rows have one of that name.
    pub(crate) of_model: BTreeSet<&'f str>,
}

impl Files<'_> {
    /// Hands their rows to a rebuild, and takes the windows that close, the earliest first. Gives how many rows have no
    /// usable time; these are in no window.
    ///
    /// # Errors
    /// What is wrong with a file, or what `take` said.
    pub(crate) fn rebuild(
        &self,
        columns: &mut Columns,
        rebuild: &mut Rebuild,
        take: &mut dyn Rebuilding,
    ) -> Result<u64, String> {
        let embeddings = columns.embeddings();
        let mut known: Vec<Option<Times>> = self.paths.iter().map(|_| None).collect();
        for (begins, ends) in rebuild.stretches() {
            for (path, known) in self.paths.iter().zip(&mut known) {
                if known.as_ref().is_some_and(|times| times.first >= ends || times.last < begins) {
                    continue;
                }
                let mut times = Times::default();
                read_rows(path, &embeddings, &mut |chunk| {
                    let rows = self.rows_of(chunk, &mut times, (begins, ends))?;
                    self.count(chunk, &rows, columns, (rebuild, take))
                })
                .map_err(|why| format!("{}: {why}", path.display()))?;
                *known = Some(times);
            }
            rebuild.close(ends).into_iter().try_for_each(|rebuilt| take.window(rebuilt))?;
            take.through(ends)?;
        }
        Ok(known.into_iter().flatten().map(|times| times.unusable).sum())
    }

    /// The rows of a chunk that lie in a stretch of time, each with its time.
    fn rows_of(
        &self,
        chunk: &Chunk<'_>,
        times: &mut Times,
        (begins, ends): (i64, i64),
    ) -> Result<Vec<(usize, i64)>, String> {
        let (name, unit) = &self.time;
        let Some(values) = chunk.column(name) else {
            let known: Vec<&str> = chunk.columns.iter().map(|(name, _)| &**name).collect();
            return Err(format!(
                "there is no column '{name}' that says when a row happened; there are {}",
                known.join(", ")
            ));
        };
        let mut rows = Vec::new();
        for (row, value) in values.iter().enumerate() {
            let time = match value {
                Value::Time(time) => Some(*time),
                value => time_micros(&cell(value), *unit),
            };
            let Some(time) = time else {
                times.unusable += 1;
                continue;
            };
            times.first = times.first.min(time);
            times.last = times.last.max(time);
            if (begins..ends).contains(&time) {
                rows.push((row, time));
            }
        }
        Ok(rows)
    }

    /// Counts rows of a chunk.
    fn count(
        &self,
        chunk: &Chunk<'_>,
        rows: &[(usize, i64)],
        columns: &mut Columns,
        (rebuild, take): (&mut Rebuild, &mut dyn Rebuilding),
    ) -> Result<(), String> {
        if rows.is_empty() {
            return Ok(());
        }
        let mut table = Table::default();
        let calls = self.calls(chunk);
        for (row, time) in rows {
            match &calls {
                Some(calls) => calls.begin(&mut table, *row, *time),
                None => table.begin_row_of(meta(*time), Capture::default()),
            }
        }
        for (name, values) in &chunk.columns {
            let is_of_calls = calls.is_some() && self.is_of_calls(name);
            if is_of_calls || *name == self.time.0 || self.row_id == Some(&**name) {
                continue;
            }
            let cells: Vec<Cell<'_>> = rows.iter().map(|(row, _)| cell(&values[*row])).collect();
            let are_times = rows.iter().any(|(row, _)| matches!(values[*row], Value::Time(_)));
            let column = Column { name: (&**name).into(), role: Role::Feature, cells: cells.into() };
            if let Kept::As(known) = columns.keep(&column) {
                let unit = if are_times { TimeUnit::Microseconds } else { known.unit };
                table.push_as(&known.archived, &column, known.kind, unit, 0..rows.len());
            }
        }
        let finished = table.finish().map_err(|error| error.to_string())?;
        take.rows(&finished.batch)?;
        rebuild.take(UNVERSIONED, &finished.batch)
    }

    /// What a chunk says of its rows' calls, if it has the columns of `driftline samples` that say how they went.
    fn calls<'c>(&self, chunk: &'c Chunk<'_>) -> Option<Calls<'c>> {
        let column = |name: &str| chunk.column(name).filter(|_| self.is_of_calls(name));
        Some(Calls {
            status: column("status")?,
            end_state: column("end_state")?,
            latency_ms: column("latency_ms")?,
            request_id: column("request_id"),
            weight: column("weight"),
            in_sample: column("in_sample"),
            first_message_ms: column("first_message_ms"),
            messages: column("messages"),
        })
    }

    /// Whether a column is one that every archived row has, and not one of the model.
    fn is_of_calls(&self, name: &str) -> bool {
        META_COLUMNS.contains(&name) && !self.of_model.contains(name)
    }
}

/// How the calls went that a chunk's rows are of.
struct Calls<'c> {
    status: &'c [Value<'c>],
    end_state: &'c [Value<'c>],
    latency_ms: &'c [Value<'c>],
    request_id: Option<&'c [Value<'c>]>,
    weight: Option<&'c [Value<'c>]>,
    in_sample: Option<&'c [Value<'c>]>,
    first_message_ms: Option<&'c [Value<'c>]>,
    messages: Option<&'c [Value<'c>]>,
}

impl Calls<'_> {
    fn begin(&self, table: &mut Table, row: usize, time: i64) {
        let text = |values: &'_ [Value<'_>]| match &values[row] {
            Value::Text(text) | Value::Field(text) => text.to_string(),
            _ => String::new(),
        };
        let end = EndState::named(&text(self.end_state)).unwrap_or_default();
        let micros = |values: &'_ [Value<'_>]| {
            let millis = number(&values[row]).filter(|millis| *millis >= 0.0)?;
            Some((millis * 1000.0).round() as u64)
        };
        let request_id = self.request_id.map(text).unwrap_or_default();
        let of_call = RowMeta {
            request_id: &request_id,
            status: number(&self.status[row]).unwrap_or(0.0) as u16,
            end_state: end.name(),
            latency_micros: micros(self.latency_ms),
            // Without an id of the request, every row is a call of its own.
            instance: if self.request_id.is_some() { "" } else { &format!("row {row}") },
            ..meta(time)
        };
        let whole = |values: &'_ [Value<'_>]| number(&values[row]).map(|number| number as u32);
        let capture = Capture {
            weight: self.weight.and_then(whole).unwrap_or(1),
            in_sample: self.in_sample.is_none_or(|drawn| is_true(&drawn[row])),
            first_message_micros: self.first_message_ms.and_then(micros),
            messages: self.messages.and_then(whole),
        };
        table.begin_row_of(of_call, capture);
    }
}

fn number(value: &Value<'_>) -> Option<f64> {
    match value {
        Value::Number(number) => Some(*number),
        Value::Field(field) => field.trim().parse().ok(),
        _ => None,
    }
}

/// Whether a cell says so; where it says nothing, the call was drawn like all.
fn is_true(value: &Value<'_>) -> bool {
    match value {
        Value::Boolean(value) => *value,
        Value::Field(field) => !field.trim().eq_ignore_ascii_case("false"),
        _ => true,
    }
}

/// The times of a file's rows.
#[derive(Debug)]
struct Times {
    first: i64,
    last: i64,
    unusable: u64,
}

impl Default for Times {
    fn default() -> Self {
        Self { first: i64::MAX, last: i64::MIN, unusable: 0 }
    }
}

/// What a row of a file says of its call: it was answered.
fn meta(event_time: i64) -> RowMeta<'static> {
    RowMeta {
        event_time,
        request_id: "",
        row_id: "",
        status: 200,
        end_state: driftline_protocol::EndState::Complete.name(),
        latency_micros: None,
        instance: "",
        received_at: event_time,
    }
}

fn cell<'v>(value: &'v Value<'_>) -> Cell<'v> {
    match value {
        Value::Missing => Cell::Missing,
        Value::Number(number) => Cell::Number(*number),
        Value::Boolean(value) => Cell::Boolean(*value),
        Value::Text(text) => Cell::Text((&**text).into()),
        Value::Field(field) => Cell::Field((&**field).into()),
        Value::Time(time) => Cell::Integer(*time),
        Value::Vector(vector) => Cell::Embedding(vector.as_slice().into()),
        // It is of no type that a column has.
        Value::Other => Cell::Embedding(Box::default()),
    }
}
