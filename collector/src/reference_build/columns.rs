//! From what was gathered of each column to its reference, as many columns at a time as there are cores.

use std::io;
use std::num::NonZero;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

use driftline_detectors::{
    BuildError, ColumnKind, Derivation, Derived, Learning, Reference, RowValue, Rows, SourceValue, WindowShape,
};

use super::ReferencePlan;
use super::aside::{Aside, Lane, Reader, no_room};
use super::parting::{Parted, SharedColumn};
use super::values::Value;
use crate::config::Windows;
use crate::pipeline::cells::number_category;

/// Columns that are made references at a time, at the most. Each holds a profile for every pane, and a million values.
const MAX_THREADS: usize = 8;
/// Bytes of what is derived from a column that stay in memory.
const DERIVED_BYTES: usize = 32 << 20;

/// What a column's values are taken for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Numeric,
    Categorical,
    /// True and false, in whatever case a file without types spells them.
    Boolean,
    /// What is scored of these and the next is derived.
    Timestamp,
    Text,
    Embedding,
}

/// A column of all sources.
#[derive(Debug)]
pub(super) struct Gathered {
    pub(super) name: String,
    pub(super) kind: Kind,
    pub(super) lane: Lane,
}

/// What was made of a column.
#[derive(Debug, PartialEq)]
pub(super) struct Made {
    pub(super) references: Vec<Reference>,
    /// How they are derived from it, if they are.
    pub(super) derivation: Option<Derivation>,
    /// Those of the references that are looked at in segments.
    pub(super) segments: Vec<SharedColumn>,
}

/// What is made of columns, in their order. Each is the work of one thread on its rows in their order, so that it is the
/// same to the bit however many threads there are.
pub(super) fn build(
    columns: &[&Gathered],
    aside: &Aside,
    times: &Lane,
    parted: &Parted,
    plan: &ReferencePlan,
) -> Result<Vec<Made>, String> {
    let windows = plan.time.as_ref().map(|(_, windows)| windows);
    let threads = thread::available_parallelism().map_or(1, NonZero::get).min(MAX_THREADS).min(columns.len());
    let times = Times { lane: times, aside, windows };
    side_by_side(columns, threads, &|column| one(column, aside, times, parted))
}

/// What `make` makes of each item, in their order, by so many threads; or the first item's error.
fn side_by_side<T: Sync, R: Send>(
    items: &[T],
    threads: usize,
    make: &(dyn Fn(&T) -> Result<R, String> + Sync),
) -> Result<Vec<R>, String> {
    let (next, made) = (AtomicUsize::new(0), Mutex::new(Vec::with_capacity(items.len())));
    let work = || {
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some(item) = items.get(index) else { break };
            let result = make(item);
            made.lock().unwrap_or_else(PoisonError::into_inner).push((index, result));
        }
    };
    thread::scope(|scope| (0..threads).for_each(|_| drop(scope.spawn(work))));
    let mut made = made.into_inner().unwrap_or_else(PoisonError::into_inner);
    made.sort_unstable_by_key(|(index, _)| *index);
    made.into_iter().map(|(_, result)| result).collect()
}

fn one(column: &Gathered, aside: &Aside, times: Times<'_>, parted: &Parted) -> Result<Made, String> {
    let rows = |kind| LaneRows { lane: &column.lane, kind, aside, times };
    let learning = match column.kind {
        Kind::Numeric | Kind::Categorical | Kind::Boolean => {
            let rows = rows(column.kind);
            let reference = rows.reference(&column.name).map_err(|error| error.to_string())?;
            let shared = parted.column(&reference, &rows, times.shape()).map_err(|error| error.to_string())?;
            return Ok(Made { references: vec![reference], derivation: None, segments: shared.into_iter().collect() });
        }
        Kind::Timestamp => Learning::Timestamp,
        Kind::Text => Learning::text(),
        Kind::Embedding => Learning::embedding(),
    };
    let (of_rows, derivation) = learn(column, aside, learning)?;
    let mut own = Aside::holding(DERIVED_BYTES);
    let lanes = derive(column, aside, times, &of_rows, &mut own)?;
    let (mut references, mut segments) = (Vec::new(), Vec::new());
    for ((name, kind), lane) in derivation.columns().iter().zip(&lanes) {
        let rows = match kind {
            ColumnKind::Vectors => rows(column.kind),
            ColumnKind::Numeric => LaneRows { lane, kind: Kind::Numeric, aside: &own, times },
            _ => LaneRows { lane, kind: Kind::Categorical, aside: &own, times },
        };
        match rows.reference(name) {
            Ok(reference) => {
                let shared = parted.column(&reference, &rows, times.shape());
                segments.extend(shared.map_err(|error| error.to_string())?);
                references.push(reference);
            }
            Err(BuildError::Empty { .. }) => tracing::info!(column = %name, "not derived: no row has a value of it"),
            Err(error) => return Err(error.to_string()),
        }
    }
    if references.is_empty() {
        return Err(format!("column '{}' has no usable value; leave it out, or check its name and type", column.name));
    }
    Ok(Made { references, derivation: Some(derivation), segments })
}

/// How columns are derived: of these rows, and of all others.
fn learn(column: &Gathered, aside: &Aside, mut learning: Learning) -> Result<(Derivation, Derivation), String> {
    let (mut values, mut row) = (column.lane.reader(aside), 0);
    while let Some(value) = values.next().map_err(lost)? {
        learning.add(row, source(&value, column.kind));
        row += 1;
    }
    Ok(learning.finish(&column.name))
}

/// The derived columns, set aside by themselves.
fn derive(
    column: &Gathered,
    aside: &Aside,
    times: Times<'_>,
    derivation: &Derivation,
    own: &mut Aside,
) -> Result<Vec<Lane>, String> {
    let mut lanes: Vec<Lane> = derivation.columns().iter().map(|_| Lane::default()).collect();
    let (mut values, mut times) = (column.lane.reader(aside), times.reader());
    while let Some(value) = values.next().map_err(lost)? {
        let derived = derivation.derive(source(&value, column.kind), times.next()?);
        for (lane, derived) in lanes.iter_mut().zip(derived) {
            let value = match derived {
                Derived::Number(number) => Value::Number(number),
                Derived::Name(name) => Value::Text(name.into()),
                // It is where it came from.
                Derived::Itself => continue,
                Derived::Missing => Value::Missing,
                Derived::WrongType => Value::Other,
            };
            lane.push(&value, own).map_err(no_room)?;
        }
    }
    Ok(lanes)
}

/// A value as others are derived from it.
fn source<'v>(value: &'v Value<'_>, kind: Kind) -> SourceValue<'v> {
    match value {
        Value::Missing => SourceValue::Missing,
        Value::Time(time) => SourceValue::Time(*time),
        Value::Vector(vector) => SourceValue::Vector(vector),
        Value::Text(text) | Value::Field(text) if kind == Kind::Timestamp => {
            text.parse().map_or(SourceValue::Other, |time: jiff::Timestamp| SourceValue::Time(time.as_microsecond()))
        }
        Value::Text(text) | Value::Field(text) => SourceValue::Text(text),
        Value::Number(_) | Value::Boolean(_) | Value::Other => SourceValue::Other,
    }
}

pub(super) fn lost(error: io::Error) -> String {
    format!("what was set aside cannot be read: {error}")
}

/// When rows happened.
#[derive(Debug, Clone, Copy)]
pub(super) struct Times<'l> {
    pub(super) lane: &'l Lane,
    pub(super) aside: &'l Aside,
    pub(super) windows: Option<&'l Windows>,
}

impl<'l> Times<'l> {
    pub(super) fn reader(self) -> TimesReader<'l> {
        TimesReader(self.lane.reader(self.aside))
    }

    /// The pane of a row that happened then.
    pub(super) fn pane(self, time: Option<i64>) -> Option<i64> {
        let windows = self.windows?;
        Some(windows.pane_start(time?).div_euclid(windows.pane_micros()))
    }

    /// The windows to come.
    pub(super) fn shape(self) -> Option<WindowShape> {
        self.windows.map(Windows::shape)
    }
}

pub(super) struct TimesReader<'l>(Reader<'l>);

impl TimesReader<'_> {
    /// When the next row happened, if that is known.
    pub(super) fn next(&mut self) -> Result<Option<i64>, String> {
        match self.0.next().map_err(lost)? {
            Some(Value::Time(time)) => Ok(Some(time)),
            _ => Ok(None),
        }
    }
}

/// A column's rows, as they were set aside.
struct LaneRows<'l> {
    lane: &'l Lane,
    kind: Kind,
    aside: &'l Aside,
    times: Times<'l>,
}

impl LaneRows<'_> {
    fn reference(&self, name: &str) -> Result<Reference, BuildError> {
        let kind = match self.kind {
            Kind::Numeric => ColumnKind::Numeric,
            Kind::Embedding => ColumnKind::Vectors,
            _ => ColumnKind::Categorical,
        };
        Reference::of_rows(name, kind, self, self.times.shape())
    }
}

impl Rows for LaneRows<'_> {
    fn each(&self, take: &mut dyn FnMut(Option<i64>, RowValue<'_>)) -> Result<(), String> {
        let (mut values, mut times) = (self.lane.reader(self.aside), self.times.reader());
        while let Some(value) = values.next().map_err(lost)? {
            let pane = self.times.pane(times.next()?);
            match self.kind {
                Kind::Numeric => take(pane, number(&value)),
                Kind::Embedding => take(pane, vector(&value)),
                kind => category(&value, kind == Kind::Boolean, &mut |value| take(pane, value)),
            }
        }
        Ok(())
    }
}

pub(super) fn number(value: &Value<'_>) -> RowValue<'static> {
    match value {
        Value::Missing => RowValue::Missing,
        Value::Number(number) => RowValue::Number(*number),
        Value::Boolean(value) => RowValue::Number(f64::from(u8::from(*value))),
        Value::Field(field) => field.parse().map_or(RowValue::WrongType, RowValue::Number),
        Value::Text(_) | Value::Time(_) | Value::Vector(_) | Value::Other => RowValue::WrongType,
    }
}

fn vector<'v>(value: &'v Value<'_>) -> RowValue<'v> {
    match value {
        Value::Missing => RowValue::Missing,
        Value::Vector(vector) => RowValue::Vector(vector),
        _ => RowValue::WrongType,
    }
}

pub(super) fn category(value: &Value<'_>, is_boolean: bool, take: &mut dyn FnMut(RowValue<'_>)) {
    match value {
        Value::Missing => take(RowValue::Missing),
        Value::Number(number) => take(RowValue::Category(&number_category(*number))),
        Value::Boolean(value) => take(RowValue::Category(if *value { "true" } else { "false" })),
        Value::Field(field) if is_boolean => take(RowValue::Category(&field.to_ascii_lowercase())),
        Value::Text(text) | Value::Field(text) => take(RowValue::Category(text)),
        Value::Time(_) | Value::Vector(_) | Value::Other => take(RowValue::WrongType),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reference_is_the_same_however_many_threads_make_it_and_wherever_its_rows_lie() {
        let windows = Windows { panes: 3, min_filled: 1, ..Windows::default() };
        let of = |threads: usize, memory: usize| {
            let mut aside = Aside::holding(memory);
            let (mut times, mut columns) = (Lane::default(), Vec::new());
            for row in 0..30_000i64 {
                times.push(&Value::Time(row * windows.pane_micros() / 1000), &mut aside).unwrap();
            }
            for column in 0..7i64 {
                let mut lane = Lane::default();
                for row in 0..30_000i64 {
                    let value = ((row * 7919 + column) % 9973) as f64 / 7.0;
                    lane.push(&Value::Number(value.sin() * value), &mut aside).unwrap();
                }
                columns.push(Gathered { name: format!("c{column}"), kind: Kind::Numeric, lane });
            }
            let times = Times { lane: &times, aside: &aside, windows: Some(&windows) };
            let parted = Parted::new(&[], &columns, &aside, 30_000).unwrap();
            side_by_side(&columns, threads, &|column| one(column, &aside, times, &parted)).unwrap()
        };
        let alone = of(1, usize::MAX);
        let names: Vec<&str> = alone.iter().map(|made| made.references[0].column.as_str()).collect();
        assert_eq!(names, ["c0", "c1", "c2", "c3", "c4", "c5", "c6"]);
        assert!(alone.iter().all(|made| !made.references[0].blocks.is_empty()));
        for (threads, memory) in [(2, 0), (4, 1 << 20), (7, usize::MAX)] {
            assert_eq!(of(threads, memory), alone);
        }
    }

    #[test]
    fn the_first_column_that_fails_is_named() {
        let make = |n: &u8| if n.is_multiple_of(2) { Err(n.to_string()) } else { Ok(*n) };
        let failed = side_by_side(&[1, 2, 3, 4], 3, &make);
        assert_eq!(failed, Err("2".to_owned()));
    }
}
