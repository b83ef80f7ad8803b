//! Rows parted into segments, as windows will be: whose each row is, set aside beside the columns.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use arrow_array::builder::{Float64Builder, StringBuilder, TimestampMicrosecondBuilder};
use arrow_array::{ArrayRef, RecordBatch};
use driftline_detectors::{
    BuildError, Parting, Reference, RowValue, Rows, Segment, SegmentColumn, Segmentation, Timeline, WindowShape,
};

use super::aside::{Aside, Lane, Reader, no_room};
use super::columns::{Gathered, Kind, category, lost, number};
use super::values::{CHUNK_ROWS, Value};
use crate::config::SegmentBy;
use crate::pipeline::cells::number_category;
use crate::pipeline::columns::{archived_name, name_of_archived};
use crate::segments::Split;

/// Distinct values of a column that parts the rows. One with more has no segments that anybody would look at.
const MAX_VALUES: usize = 1 << 16;
/// Longest value that names a segment, in bytes; longer ones are of the rest.
const MAX_VALUE_BYTES: usize = 100;
/// Bytes of what says whose rows are that stay in memory.
const PARTING_BYTES: usize = 64 << 20;

/// How all rows are parted.
#[derive(Debug)]
pub(super) struct Parted {
    ways: Vec<Way>,
    aside: Aside,
}

#[derive(Debug)]
struct Way {
    parting: Parting,
    /// The place of each row's segment; missing where it is of none.
    lane: Lane,
    /// How many rows each segment has.
    rows: Vec<u64>,
}

/// A column on the cells that segments share: of all rows, and of each segment of each way.
#[derive(Debug, PartialEq)]
pub(super) struct SharedColumn {
    pub(super) whole: Reference,
    pub(super) segments: Vec<Vec<SegmentColumn>>,
}

/// The columns that rows are parted by, under their callers' names.
///
/// # Errors
/// When a condition cannot be read.
pub(super) fn columns(by: &[SegmentBy]) -> Result<Vec<String>, String> {
    let mut names = Vec::new();
    for by in by {
        match by {
            SegmentBy::Column { name, .. } => names.push(name.clone()),
            SegmentBy::Condition { name, holds } => {
                let split = Split::new(&Parting::Condition { name: name.clone(), holds: holds.clone() })?;
                names.extend(split.columns().into_iter().map(|archived| name_of_archived(archived).to_owned()));
            }
        }
    }
    Ok(names)
}

impl Parted {
    /// Parts rows by what was gathered of their columns.
    ///
    /// # Errors
    /// When there is no such column, or one with too many values.
    pub(super) fn new(by: &[SegmentBy], columns: &[Gathered], aside: &Aside, rows: u64) -> Result<Self, String> {
        let mut own = Aside::holding(PARTING_BYTES);
        let ways = by.iter().map(|by| way(by, columns, aside, rows, &mut own)).collect::<Result<_, String>>()?;
        Ok(Self { ways, aside: own })
    }

    /// A column in segments, of the same rows in the same order; none for one that is not looked at in segments.
    pub(super) fn column(
        &self,
        reference: &Reference,
        rows: &dyn Rows,
        window: Option<WindowShape>,
    ) -> Result<Option<SharedColumn>, BuildError> {
        if self.ways.is_empty() {
            return Ok(None);
        }
        let Some(whole) = reference.in_segments(rows)? else {
            tracing::info!(column = %reference.column, "not looked at in segments: only numbers and few categories are");
            return Ok(None);
        };
        let unread = |why| BuildError::Rows { column: reference.column.clone(), why };
        let timeline = window.map(|shape| Timeline::of(rows, shape)).transpose().map_err(unread)?.flatten();
        let of_way = |way: &Way| {
            let rows = |place| SegmentRows { rows, of: &way.lane, aside: &self.aside, place };
            (0..way.rows.len()).map(|place| whole.of_segment(&rows(place), timeline.as_ref())).collect()
        };
        let segments = self.ways.iter().map(of_way).collect::<Result<_, BuildError>>()?;
        Ok(Some(SharedColumn { whole, segments }))
    }

    /// The segments as a reference file holds them; none when the rows are not parted.
    pub(super) fn finish(self, columns: Vec<SharedColumn>) -> Option<driftline_detectors::Segments> {
        if self.ways.is_empty() {
            return None;
        }
        let mut by: Vec<Segmentation> = Vec::new();
        for Way { parting, rows, .. } in self.ways {
            let segments = rows.into_iter().map(|rows| Segment { rows, columns: Vec::new() }).collect();
            by.push(Segmentation { parting, segments });
        }
        let mut shared = Vec::new();
        for column in columns {
            shared.push(column.whole);
            for (way, segments) in by.iter_mut().zip(column.segments) {
                way.segments.iter_mut().zip(segments).for_each(|(segment, column)| segment.columns.push(column));
            }
        }
        Some(driftline_detectors::Segments { columns: shared, by })
    }
}

fn way(by: &SegmentBy, columns: &[Gathered], aside: &Aside, rows: u64, own: &mut Aside) -> Result<Way, String> {
    let find = |name: &str| {
        columns.iter().find(|column| column.name == name).ok_or_else(|| {
            format!("no input has a column '{name}', by which rows are to be parted into segments; check its name")
        })
    };
    let parting = match by {
        SegmentBy::Column { name, most } => {
            let values = values(find(name)?, aside)?;
            let values = values.into_iter().map(|(value, _)| value).take(usize::try_from(*most).unwrap_or(usize::MAX));
            Parting::Column { name: name.clone(), values: values.collect() }
        }
        SegmentBy::Condition { name, holds } => Parting::Condition { name: name.clone(), holds: holds.clone() },
    };
    let split = Split::new(&parting)?;
    let mut sources = Vec::new();
    // A condition may name a column more than once.
    for archived in split.columns().into_iter().collect::<BTreeSet<_>>() {
        let column = find(name_of_archived(archived))?;
        sources.push((column, column.lane.reader(aside)));
    }
    let (mut lane, mut counts, mut left) = (Lane::default(), vec![0; parting.segments().len()], rows);
    while left > 0 {
        let chunk = left.min(CHUNK_ROWS as u64);
        left -= chunk;
        for place in split.places(&batch(&mut sources, chunk as usize)?) {
            let value = place.map_or(Value::Missing, |place| Value::Number(place as f64));
            lane.push(&value, own).map_err(no_room)?;
            if let Some(place) = place {
                counts[place] += 1;
            }
        }
    }
    Ok(Way { parting, lane, rows: counts })
}

/// A column's values that may name a segment, the most frequent first.
fn values(column: &Gathered, aside: &Aside) -> Result<Vec<(String, u64)>, String> {
    let (mut counts, mut values) = (HashMap::<String, u64>::new(), column.lane.reader(aside));
    while let Some(value) = values.next().map_err(lost)? {
        named(&value, column.kind, &mut |name| match counts.get_mut(name) {
            Some(count) => *count += 1,
            None => drop(counts.insert(name.to_owned(), 1)),
        });
        if counts.len() > MAX_VALUES {
            return Err(format!(
                "column '{}' has more than {MAX_VALUES} values; rows are parted into segments by columns with few, or by a condition",
                column.name
            ));
        }
    }
    let may_name = |(name, _): &(String, u64)| name.len() <= MAX_VALUE_BYTES && Parting::may_name(name);
    let mut counts: Vec<(String, u64)> = counts.into_iter().filter(may_name).collect();
    if counts.is_empty() {
        return Err(format!(
            "column '{}' has no value that names a segment; name another column, or part the rows by a condition",
            column.name
        ));
    }
    counts.sort_unstable_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    Ok(counts)
}

/// Hands out the name of a value, as the collector will have it.
fn named(value: &Value<'_>, kind: Kind, take: &mut dyn FnMut(&str)) {
    if kind != Kind::Numeric {
        return category(value, kind == Kind::Boolean, &mut |value| {
            if let RowValue::Category(name) = value {
                take(name);
            }
        });
    }
    if let RowValue::Number(number) = number(value) {
        take(&number_category(number));
    }
}

/// The next rows of some columns, as the collector would hold them.
fn batch(sources: &mut [(&Gathered, Reader<'_>)], rows: usize) -> Result<RecordBatch, String> {
    let column = |(column, values): &mut (&Gathered, Reader<'_>)| {
        let array = array(column.kind, values, rows).map_err(lost)?;
        Ok((archived_name(&column.name).into_owned(), array, true))
    };
    let columns: Vec<(String, ArrayRef, bool)> = sources.iter_mut().map(column).collect::<Result<_, String>>()?;
    RecordBatch::try_from_iter_with_nullable(columns).map_err(|error| error.to_string())
}

fn array(kind: Kind, values: &mut Reader<'_>, rows: usize) -> std::io::Result<ArrayRef> {
    let (mut numbers, mut texts, mut times) =
        (Float64Builder::new(), StringBuilder::new(), TimestampMicrosecondBuilder::new());
    for _ in 0..rows {
        let value = values.next()?.unwrap_or(Value::Missing);
        match kind {
            Kind::Numeric => numbers.append_option(match number(&value) {
                RowValue::Number(number) => Some(number),
                _ => None,
            }),
            Kind::Timestamp => times.append_option(match &value {
                Value::Time(time) => Some(*time),
                Value::Text(text) | Value::Field(text) => text.parse().ok().map(jiff::Timestamp::as_microsecond),
                _ => None,
            }),
            Kind::Categorical | Kind::Boolean | Kind::Text | Kind::Embedding => {
                let mut is_there = false;
                named(&value, kind, &mut |name| {
                    texts.append_value(name);
                    is_there = true;
                });
                if !is_there {
                    texts.append_null();
                }
            }
        }
    }
    Ok(match kind {
        Kind::Numeric => Arc::new(numbers.finish()),
        Kind::Timestamp => Arc::new(times.finish()),
        _ => Arc::new(texts.finish()),
    })
}

/// The rows of one segment.
struct SegmentRows<'r> {
    rows: &'r dyn Rows,
    of: &'r Lane,
    aside: &'r Aside,
    place: usize,
}

impl Rows for SegmentRows<'_> {
    fn each(&self, take: &mut dyn FnMut(Option<i64>, RowValue<'_>)) -> Result<(), String> {
        let (mut places, mut failed) = (self.of.reader(self.aside), None);
        self.rows.each(&mut |pane, value| match places.next() {
            Ok(Some(Value::Number(place))) if place as usize == self.place => take(pane, value),
            Ok(_) => {}
            Err(error) => failed = Some(lost(error)),
        })?;
        failed.map_or(Ok(()), Err)
    }
}
