//! Rows of one model, version, pane and partition, gathered column by column until they are counted and archived.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use arrow_array::builder::{
    BooleanBuilder, Float64Builder, Int64Builder, StringBuilder, TimestampMicrosecondBuilder, UInt16Builder,
};
use arrow_array::{ArrayRef, RecordBatch};
use arrow_schema::{ArrowError, DataType, Field, Schema, TimeUnit as ArrowTimeUnit};
use driftline_protocol::{Cell, Column};

use crate::config::{ColumnType, TimeUnit};

/// Columns that every archived row has, whatever its model.
pub(crate) const META_COLUMNS: [&str; 8] =
    ["event_time", "request_id", "row_id", "status", "end_state", "latency_ms", "instance", "received_at"];

/// What a row says besides its columns.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RowMeta<'a> {
    pub(crate) event_time: i64,
    pub(crate) request_id: &'a str,
    pub(crate) row_id: &'a str,
    pub(crate) status: u16,
    pub(crate) end_state: &'static str,
    pub(crate) latency_micros: u64,
    pub(crate) instance: &'a str,
    pub(crate) received_at: i64,
}

/// Rows with the same columns in the same order of arrival.
#[derive(Debug, Default)]
pub(crate) struct Table {
    rows: usize,
    event_time: TimestampMicrosecondBuilder,
    request_id: StringBuilder,
    row_id: StringBuilder,
    status: UInt16Builder,
    end_state: StringBuilder,
    latency_ms: Float64Builder,
    instance: StringBuilder,
    received_at: TimestampMicrosecondBuilder,
    columns: Vec<TableColumn>,
    index: HashMap<String, usize>,
}

#[derive(Debug)]
struct TableColumn {
    name: String,
    builder: Builder,
    unit: TimeUnit,
    /// Rows in which it held something that its type does not.
    wrong_type: u64,
}

#[derive(Debug)]
enum Builder {
    Number(Float64Builder),
    Integer(Int64Builder),
    Boolean(BooleanBuilder),
    Text(StringBuilder),
    Timestamp(TimestampMicrosecondBuilder),
}

/// A finished table.
#[derive(Debug)]
pub(crate) struct Finished {
    /// The meta columns, then the model's.
    pub(crate) batch: RecordBatch,
    /// Rows of the wrong type, by column.
    pub(crate) wrong_type: HashMap<String, u64>,
}

impl Table {
    pub(crate) fn rows(&self) -> usize {
        self.rows
    }

    /// Begins a row. Its columns are added by [`Self::push`].
    pub(crate) fn begin_row(&mut self, meta: RowMeta<'_>) {
        self.rows += 1;
        self.event_time.append_value(meta.event_time);
        self.request_id.append_value(meta.request_id);
        self.row_id.append_value(meta.row_id);
        self.status.append_value(meta.status);
        self.end_state.append_value(meta.end_state);
        self.latency_ms.append_value(meta.latency_micros as f64 / 1000.0);
        self.instance.append_value(meta.instance);
        self.received_at.append_value(meta.received_at);
    }

    /// Adds the cells of one column for the rows that were begun last.
    pub(crate) fn push(&mut self, column: &Column<'_>, kind: ColumnType, unit: TimeUnit, cells: Range<usize>) {
        let index = match self.index.get(&*column.name) {
            Some(index) => *index,
            None => {
                self.index.insert(column.name.to_string(), self.columns.len());
                self.columns.push(TableColumn {
                    name: column.name.to_string(),
                    builder: Builder::new(kind),
                    unit,
                    wrong_type: 0,
                });
                self.columns.len() - 1
            }
        };
        let target = &mut self.columns[index];
        target.builder.fill_to(self.rows - cells.len());
        for cell in &column.cells[cells] {
            if !target.builder.append(cell, target.unit) {
                target.builder.append_null();
                target.wrong_type += 1;
            }
        }
    }

    /// The rows as Arrow columns. The table is empty afterwards.
    ///
    /// # Errors
    /// Arrow's own, if columns had different lengths; they have not.
    pub(crate) fn finish(mut self) -> Result<Finished, ArrowError> {
        let timestamp = || DataType::Timestamp(ArrowTimeUnit::Microsecond, Some("UTC".into()));
        let utc =
            |mut builder: TimestampMicrosecondBuilder| -> ArrayRef { Arc::new(builder.finish().with_timezone("UTC")) };
        let mut fields = vec![
            Field::new(META_COLUMNS[0], timestamp(), false),
            Field::new(META_COLUMNS[1], DataType::Utf8, false),
            Field::new(META_COLUMNS[2], DataType::Utf8, false),
            Field::new(META_COLUMNS[3], DataType::UInt16, false),
            Field::new(META_COLUMNS[4], DataType::Utf8, false),
            Field::new(META_COLUMNS[5], DataType::Float64, false),
            Field::new(META_COLUMNS[6], DataType::Utf8, false),
            Field::new(META_COLUMNS[7], timestamp(), false),
        ];
        let mut arrays: Vec<ArrayRef> = vec![
            utc(self.event_time),
            Arc::new(self.request_id.finish()),
            Arc::new(self.row_id.finish()),
            Arc::new(self.status.finish()),
            Arc::new(self.end_state.finish()),
            Arc::new(self.latency_ms.finish()),
            Arc::new(self.instance.finish()),
            utc(self.received_at),
        ];
        let mut wrong_type = HashMap::new();
        for mut column in self.columns {
            column.builder.fill_to(self.rows);
            let array: ArrayRef = match column.builder {
                Builder::Number(mut builder) => Arc::new(builder.finish()),
                Builder::Integer(mut builder) => Arc::new(builder.finish()),
                Builder::Boolean(mut builder) => Arc::new(builder.finish()),
                Builder::Text(mut builder) => Arc::new(builder.finish()),
                Builder::Timestamp(builder) => utc(builder),
            };
            if column.wrong_type > 0 {
                wrong_type.insert(column.name.clone(), column.wrong_type);
            }
            fields.push(Field::new(column.name, array.data_type().clone(), true));
            arrays.push(array);
        }
        let batch = RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays)?;
        Ok(Finished { batch, wrong_type })
    }
}

impl Builder {
    fn new(kind: ColumnType) -> Self {
        match kind {
            ColumnType::Number => Self::Number(Float64Builder::new()),
            ColumnType::Integer => Self::Integer(Int64Builder::new()),
            ColumnType::Boolean => Self::Boolean(BooleanBuilder::new()),
            ColumnType::Text => Self::Text(StringBuilder::new()),
            ColumnType::Timestamp => Self::Timestamp(TimestampMicrosecondBuilder::new()),
        }
    }

    fn len(&self) -> usize {
        use arrow_array::builder::ArrayBuilder;
        match self {
            Self::Number(builder) => builder.len(),
            Self::Integer(builder) => builder.len(),
            Self::Boolean(builder) => builder.len(),
            Self::Text(builder) => builder.len(),
            Self::Timestamp(builder) => builder.len(),
        }
    }

    fn append_null(&mut self) {
        match self {
            Self::Number(builder) => builder.append_null(),
            Self::Integer(builder) => builder.append_null(),
            Self::Boolean(builder) => builder.append_null(),
            Self::Text(builder) => builder.append_null(),
            Self::Timestamp(builder) => builder.append_null(),
        }
    }

    /// Rows in which the column did not appear hold nothing.
    fn fill_to(&mut self, rows: usize) {
        for _ in self.len()..rows {
            self.append_null();
        }
    }

    /// Adds a cell; false, and nothing added, when it is of another type.
    fn append(&mut self, cell: &Cell<'_>, unit: TimeUnit) -> bool {
        match (self, cell) {
            (builder, Cell::Missing) => builder.append_null(),
            (Self::Number(builder), Cell::Number(value)) => builder.append_value(*value),
            (Self::Number(builder), Cell::Integer(value)) => builder.append_value(*value as f64),
            (Self::Number(builder), Cell::Boolean(value)) => builder.append_value(f64::from(u8::from(*value))),
            (Self::Integer(builder), Cell::Integer(value)) => builder.append_value(*value),
            (Self::Integer(builder), Cell::Number(value)) if is_whole(*value) => builder.append_value(*value as i64),
            (Self::Boolean(builder), Cell::Boolean(value)) => builder.append_value(*value),
            (Self::Text(builder), Cell::Text(value)) => builder.append_value(value),
            (Self::Text(builder), cell) => builder.append_value(category(cell)),
            (Self::Timestamp(builder), cell) => match time_micros(cell, unit) {
                Some(micros) => builder.append_value(micros),
                None => return false,
            },
            _ => return false,
        }
        true
    }
}

fn is_whole(value: f64) -> bool {
    value.fract() == 0.0 && value.abs() < 9.007_199_254_740_992e15
}

/// A value as a category's name: the same for a JSON number and a Parquet integer.
pub(crate) fn category(cell: &Cell<'_>) -> String {
    match cell {
        Cell::Missing => String::new(),
        Cell::Integer(value) => value.to_string(),
        Cell::Number(value) => number_category(*value),
        Cell::Boolean(value) => value.to_string(),
        Cell::Text(value) => value.to_string(),
    }
}

/// A number as a category's name: whole ones without a fraction.
pub(crate) fn number_category(value: f64) -> String {
    if is_whole(value) { (value as i64).to_string() } else { value.to_string() }
}

/// A cell as a time, in microseconds since the Unix epoch.
pub(crate) fn time_micros(cell: &Cell<'_>, unit: TimeUnit) -> Option<i64> {
    match (cell, unit.micros()) {
        (Cell::Text(text), None) => text.parse::<jiff::Timestamp>().ok().map(jiff::Timestamp::as_microsecond),
        (Cell::Integer(value), Some(factor)) => value.checked_mul(factor as i64),
        (Cell::Number(value), Some(factor)) => {
            let micros = value * factor;
            (micros.is_finite() && micros.abs() < 9e18).then_some(micros.round() as i64)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use arrow_array::cast::AsArray;
    use arrow_array::types::Float64Type;
    use driftline_protocol::Role;

    use super::*;

    fn meta() -> RowMeta<'static> {
        RowMeta {
            event_time: 1,
            request_id: "r",
            row_id: "r/0",
            status: 200,
            end_state: "complete",
            latency_micros: 1500,
            instance: "pod",
            received_at: 2,
        }
    }

    fn column<'a>(name: &'a str, cells: Vec<Cell<'a>>) -> Column<'a> {
        Column { name: name.into(), role: Role::Feature, cells }
    }

    #[test]
    fn columns_that_come_and_go_are_null_where_they_were_not() {
        let mut table = Table::default();
        table.begin_row(meta());
        table.push(&column("a", vec![Cell::Number(1.0)]), ColumnType::Number, TimeUnit::Rfc3339, 0..1);
        table.begin_row(meta());
        table.begin_row(meta());
        let b = column("b", vec![Cell::Text("x".into()), Cell::Missing, Cell::Number(3.0)]);
        table.push(&b, ColumnType::Text, TimeUnit::Rfc3339, 1..3);
        let Finished { batch, wrong_type } = table.finish().unwrap();
        let a = batch.column_by_name("a").unwrap().as_primitive::<Float64Type>();
        assert_eq!(a.iter().collect::<Vec<_>>(), [Some(1.0), None, None]);
        let b = batch.column_by_name("b").unwrap().as_string::<i32>();
        assert_eq!(b.iter().collect::<Vec<_>>(), [None, None, Some("3")]);
        assert!(wrong_type.is_empty());
    }

    #[test]
    fn what_does_not_fit_is_null_and_counted() {
        let mut table = Table::default();
        table.begin_row(meta());
        table.begin_row(meta());
        let warm = column("temp", vec![Cell::Text("warm".into()), Cell::Integer(7)]);
        table.push(&warm, ColumnType::Number, TimeUnit::Rfc3339, 0..2);
        let when = column("when", vec![Cell::Text("yesterday".into()), Cell::Text("2013-01-01T05:00:00Z".into())]);
        table.push(&when, ColumnType::Timestamp, TimeUnit::Rfc3339, 0..2);
        let Finished { batch, wrong_type } = table.finish().unwrap();
        assert_eq!((wrong_type["temp"], wrong_type["when"]), (1, 1));
        assert_eq!(batch.column_by_name("temp").unwrap().null_count(), 1);
        assert_eq!(batch.num_rows(), 2);
    }

    #[test]
    fn times_come_in_units() {
        let millis = time_micros(&Cell::Integer(1_357_016_400_000), TimeUnit::Milliseconds);
        assert_eq!(millis, time_micros(&Cell::Text("2013-01-01T05:00:00Z".into()), TimeUnit::Rfc3339));
        assert_eq!(time_micros(&Cell::Number(1.5), TimeUnit::Seconds), Some(1_500_000));
        assert_eq!(time_micros(&Cell::Number(f64::INFINITY), TimeUnit::Seconds), None);
        assert_eq!(time_micros(&Cell::Integer(i64::MAX), TimeUnit::Seconds), None);
        assert_eq!(time_micros(&Cell::Text("1".into()), TimeUnit::Seconds), None);
    }
}
