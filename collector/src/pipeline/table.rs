//! Rows of one model, version, pane and partition, gathered column by column until they are counted and archived.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use arrow_array::builder::{
    BooleanBuilder, Float64Builder, StringBuilder, TimestampMicrosecondBuilder, UInt16Builder, UInt32Builder,
};
use arrow_array::{Array, ArrayRef, RecordBatch};
use arrow_schema::{ArrowError, DataType, Field, Schema, TimeUnit as ArrowTimeUnit};
use driftline_protocol::{Cell, Cells, Column};

use super::cells::Builder;
use crate::config::{ColumnType, TimeUnit};

/// Columns that every archived row has, whatever its model.
pub(crate) const META_COLUMNS: [&str; 12] = [
    "event_time",
    "request_id",
    "row_id",
    "status",
    "end_state",
    "weight",
    "in_sample",
    "latency_ms",
    "first_message_ms",
    "messages",
    "instance",
    "received_at",
];

/// Bytes that a row takes besides its texts and the model's columns.
const ROW_BYTES: usize = 80;
/// Bytes that a cell takes besides its text.
const CELL_BYTES: usize = 9;
/// Bytes that a column takes before its first cell.
const COLUMN_BYTES: usize = 256;

/// What all rows of an exchange say besides their columns.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ExchangeMeta<'a> {
    pub(crate) request_id: &'a str,
    pub(crate) status: u16,
    pub(crate) end_state: &'static str,
    /// None where nobody measured it.
    pub(crate) latency_micros: Option<u64>,
    pub(crate) instance: &'a str,
    pub(crate) received_at: i64,
    pub(crate) capture: Capture,
}

/// What a row says besides its columns.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RowMeta<'a> {
    pub(crate) event_time: i64,
    pub(crate) request_id: &'a str,
    pub(crate) row_id: &'a str,
    pub(crate) status: u16,
    pub(crate) end_state: &'static str,
    /// None where nobody measured it.
    pub(crate) latency_micros: Option<u64>,
    pub(crate) instance: &'a str,
    pub(crate) received_at: i64,
}

/// How a row's exchange was kept, and what its answer was besides one body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Capture {
    /// How many exchanges it stands for.
    pub(crate) weight: u32,
    /// Whether the sample drew it.
    pub(crate) in_sample: bool,
    /// Time to the first message of an answer that is a stream of them.
    pub(crate) first_message_micros: Option<u64>,
    /// Messages of such an answer.
    pub(crate) messages: Option<u32>,
}

impl Default for Capture {
    /// Where every exchange is kept, and answers are single bodies.
    fn default() -> Self {
        Self { weight: 1, in_sample: true, first_message_micros: None, messages: None }
    }
}

/// Rows with the same columns in the same order of arrival.
///
/// Builders begin without room: those of Arrow begin with room for a thousand rows, and most tables have a few.
#[derive(Debug)]
pub(crate) struct Table {
    rows: usize,
    bytes: usize,
    event_time: TimestampMicrosecondBuilder,
    request_id: StringBuilder,
    row_id: StringBuilder,
    status: UInt16Builder,
    end_state: StringBuilder,
    weight: UInt32Builder,
    in_sample: BooleanBuilder,
    latency_ms: Float64Builder,
    first_message_ms: Float64Builder,
    messages: UInt32Builder,
    instance: StringBuilder,
    received_at: TimestampMicrosecondBuilder,
    columns: Vec<TableColumn>,
    index: HashMap<String, usize>,
    /// Exchanges have their columns in one order, so the next is usually the one after the last.
    guess: usize,
}

impl Default for Table {
    fn default() -> Self {
        Self {
            rows: 0,
            bytes: 0,
            event_time: TimestampMicrosecondBuilder::with_capacity(0),
            request_id: StringBuilder::with_capacity(0, 0),
            row_id: StringBuilder::with_capacity(0, 0),
            status: UInt16Builder::with_capacity(0),
            end_state: StringBuilder::with_capacity(0, 0),
            weight: UInt32Builder::with_capacity(0),
            in_sample: BooleanBuilder::with_capacity(0),
            latency_ms: Float64Builder::with_capacity(0),
            first_message_ms: Float64Builder::with_capacity(0),
            messages: UInt32Builder::with_capacity(0),
            instance: StringBuilder::with_capacity(0, 0),
            received_at: TimestampMicrosecondBuilder::with_capacity(0),
            columns: Vec::new(),
            index: HashMap::new(),
            guess: 0,
        }
    }
}

#[derive(Debug)]
struct TableColumn {
    name: String,
    builder: Builder,
    unit: TimeUnit,
    /// Rows in which it held something that its type does not.
    wrong_type: u64,
    /// Rows that had it, whatever it held.
    came: u64,
}

/// A finished table.
#[derive(Debug)]
pub(crate) struct Finished {
    /// The meta columns, then the model's.
    pub(crate) batch: RecordBatch,
    /// Rows of the wrong type, by column.
    pub(crate) wrong_type: HashMap<String, u64>,
    /// Rows that had a column at all, by column.
    pub(crate) came: HashMap<String, u64>,
}

impl Table {
    /// About how much memory it takes.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Begins a row of an exchange that is like most. Its columns are added by [`Self::push_as`].
    #[cfg(test)]
    pub(crate) fn begin_row(&mut self, meta: RowMeta<'_>) {
        self.begin_row_of(meta, Capture::default());
    }

    /// Begins a row. Its columns are added by [`Self::push_as`].
    pub(crate) fn begin_row_of(&mut self, meta: RowMeta<'_>, capture: Capture) {
        let RowMeta { event_time, request_id, row_id, status, end_state, latency_micros, instance, received_at } = meta;
        let of = ExchangeMeta { request_id, status, end_state, latency_micros, instance, received_at, capture };
        self.begin_rows(of, &[event_time], |_, id| id.push_str(row_id));
    }

    /// Begins the rows of an exchange that happened at these times. The ids of each, by its place among them, are written into a
    /// text that is empty. What they share is added to its columns at once.
    pub(crate) fn begin_rows(
        &mut self,
        of: ExchangeMeta<'_>,
        times: &[i64],
        mut write_id: impl FnMut(usize, &mut String),
    ) {
        let (rows, capture) = (times.len(), of.capture);
        self.rows += rows;
        self.guess = 0;
        self.bytes += rows * (ROW_BYTES + of.request_id.len() + of.instance.len());
        self.event_time.append_slice(times);
        self.request_id.append_value_n(of.request_id, rows);
        let mut id = String::new();
        for row in 0..rows {
            id.clear();
            write_id(row, &mut id);
            self.bytes += id.len();
            self.row_id.append_value(&id);
        }
        self.status.append_value_n(of.status, rows);
        self.end_state.append_value_n(of.end_state, rows);
        self.weight.append_value_n(capture.weight, rows);
        self.in_sample.append_n(rows, capture.in_sample);
        let millis = |micros: u64| micros as f64 / 1000.0;
        match of.latency_micros {
            Some(micros) => self.latency_ms.append_value_n(millis(micros), rows),
            None => self.latency_ms.append_nulls(rows),
        }
        match capture.first_message_micros {
            Some(micros) => self.first_message_ms.append_value_n(millis(micros), rows),
            None => self.first_message_ms.append_nulls(rows),
        }
        match capture.messages {
            Some(messages) => self.messages.append_value_n(messages, rows),
            None => self.messages.append_nulls(rows),
        }
        self.instance.append_value_n(of.instance, rows);
        self.received_at.append_value_n(of.received_at, rows);
    }

    /// Adds the cells of one column under its own name.
    #[cfg(test)]
    pub(crate) fn push(&mut self, column: &Column<'_>, kind: ColumnType, unit: TimeUnit, cells: Range<usize>) {
        self.push_as(&column.name, column, kind, unit, cells);
    }

    /// Adds the cells of one column under a name, for the rows that were begun last. A second column of one name is left
    /// out: it would be longer than its table, and cost every other column its rows.
    pub(crate) fn push_as(
        &mut self,
        name: &str,
        column: &Column<'_>,
        kind: ColumnType,
        unit: TimeUnit,
        cells: Range<usize>,
    ) {
        let index = if self.columns.get(self.guess).is_some_and(|column| column.name == name) {
            self.guess
        } else if let Some(index) = self.index.get(name) {
            *index
        } else {
            self.index.insert(name.to_owned(), self.columns.len());
            let name = name.to_owned();
            self.columns.push(TableColumn { name, builder: Builder::new(kind), unit, wrong_type: 0, came: 0 });
            self.bytes += COLUMN_BYTES;
            self.columns.len() - 1
        };
        self.guess = index + 1;
        let target = &mut self.columns[index];
        let before = self.rows.saturating_sub(cells.len());
        if target.builder.len() > before {
            return;
        }
        self.bytes += CELL_BYTES * (self.rows - target.builder.len());
        target.builder.fill_to(before);
        target.came += cells.len() as u64;
        match (&column.cells, &mut target.builder) {
            (Cells::Numbers(numbers), Builder::Number(builder)) => builder.append_slice(&numbers[cells]),
            (Cells::Numbers(numbers), _) => {
                numbers[cells].iter().for_each(|number| target.append(&Cell::Number(*number)));
            }
            (Cells::Any(any), _) => {
                for cell in &any[cells] {
                    self.bytes += match cell {
                        Cell::Text(text) | Cell::Field(text) => text.len(),
                        Cell::Embedding(vector) => size_of_val(&**vector),
                        _ => 0,
                    };
                    target.append(cell);
                }
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
            Field::new(META_COLUMNS[5], DataType::UInt32, false),
            Field::new(META_COLUMNS[6], DataType::Boolean, false),
            Field::new(META_COLUMNS[7], DataType::Float64, true),
            Field::new(META_COLUMNS[8], DataType::Float64, true),
            Field::new(META_COLUMNS[9], DataType::UInt32, true),
            Field::new(META_COLUMNS[10], DataType::Utf8, false),
            Field::new(META_COLUMNS[11], timestamp(), false),
        ];
        let mut arrays: Vec<ArrayRef> = vec![
            utc(self.event_time),
            Arc::new(self.request_id.finish()),
            Arc::new(self.row_id.finish()),
            Arc::new(self.status.finish()),
            Arc::new(self.end_state.finish()),
            Arc::new(self.weight.finish()),
            Arc::new(self.in_sample.finish()),
            Arc::new(self.latency_ms.finish()),
            Arc::new(self.first_message_ms.finish()),
            Arc::new(self.messages.finish()),
            Arc::new(self.instance.finish()),
            utc(self.received_at),
        ];
        let (mut wrong_type, mut came) = (HashMap::new(), HashMap::new());
        for mut column in self.columns {
            column.builder.fill_to(self.rows);
            let array: ArrayRef = match column.builder {
                Builder::Number(mut builder) => Arc::new(builder.finish()),
                Builder::Integer(mut builder) => Arc::new(builder.finish()),
                Builder::Boolean(mut builder) => Arc::new(builder.finish()),
                Builder::Text(mut builder) => Arc::new(builder.finish()),
                Builder::Timestamp(builder) => utc(builder),
                Builder::Embedding(mut builder) => Arc::new(builder.finish()),
            };
            if column.wrong_type > 0 {
                wrong_type.insert(column.name.clone(), column.wrong_type);
            }
            came.insert(column.name.clone(), column.came);
            fields.push(Field::new(column.name, array.data_type().clone(), true));
            arrays.push(array);
        }
        // What was finished keeps the room that its builder had grown to, and is held until its cut.
        arrays.iter_mut().for_each(Array::shrink_to_fit);
        let batch = RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays)?;
        Ok(Finished { batch, wrong_type, came })
    }
}

impl TableColumn {
    /// Adds a cell; what is of another type is null, and counted.
    fn append(&mut self, cell: &Cell<'_>) {
        if !self.builder.append(cell, self.unit) {
            self.builder.append_null();
            self.wrong_type += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use arrow_array::cast::AsArray;
    use arrow_array::types::{Float32Type, Float64Type, UInt32Type};
    use driftline_protocol::Role;

    use super::*;

    fn meta() -> RowMeta<'static> {
        RowMeta {
            event_time: 1,
            request_id: "r",
            row_id: "r/0",
            status: 200,
            end_state: "complete",
            latency_micros: Some(1500),
            instance: "pod",
            received_at: 2,
        }
    }

    fn column<'a>(name: &'a str, cells: Vec<Cell<'a>>) -> Column<'a> {
        Column { name: name.into(), role: Role::Feature, cells: cells.into() }
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
        let Finished { batch, wrong_type, .. } = table.finish().unwrap();
        let a = batch.column_by_name("a").unwrap().as_primitive::<Float64Type>();
        assert_eq!(a.iter().collect::<Vec<_>>(), [Some(1.0), None, None]);
        let b = batch.column_by_name("b").unwrap().as_string::<i32>();
        assert_eq!(b.iter().collect::<Vec<_>>(), [None, None, Some("3")]);
        assert!(wrong_type.is_empty());
    }

    #[test]
    fn a_few_rows_take_little_memory() {
        let mut table = Table::default();
        table.begin_row(meta());
        for name in 0..30 {
            let x = column("x", vec![Cell::Number(1.0)]);
            table.push_as(&name.to_string(), &x, ColumnType::Number, TimeUnit::Rfc3339, 0..1);
        }
        let bytes = table.bytes();
        let held = table.finish().unwrap().batch.get_array_memory_size();
        assert!(held < 30_000, "{held} bytes");
        assert!(bytes * 4 > held, "{bytes} said, {held} held");
    }

    #[test]
    fn a_second_column_of_one_name_costs_no_rows() {
        let mut table = Table::default();
        table.begin_row(meta());
        for value in [1.0, 2.0] {
            table.push(&column("a", vec![Cell::Number(value)]), ColumnType::Number, TimeUnit::Rfc3339, 0..1);
        }
        let batch = table.finish().unwrap().batch;
        assert_eq!(batch.column_by_name("a").unwrap().as_primitive::<Float64Type>().value(0), 1.0);
    }

    #[test]
    fn meta_columns_say_how_the_exchange_was_kept() {
        let mut table = Table::default();
        table.begin_row(meta());
        let capture = Capture { weight: 20, in_sample: false, first_message_micros: Some(1500), messages: Some(7) };
        table.begin_row_of(meta(), capture);
        let batch = table.finish().unwrap().batch;
        let schema = batch.schema();
        let names: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
        assert_eq!(names, META_COLUMNS);
        let column = |name: &str| Arc::clone(batch.column_by_name(name).unwrap());
        assert_eq!(column("weight").as_primitive::<UInt32Type>().values(), &[1, 20]);
        assert_eq!(column("in_sample").as_boolean().iter().collect::<Vec<_>>(), [Some(true), Some(false)]);
        let first = column("first_message_ms");
        assert_eq!(first.as_primitive::<Float64Type>().iter().collect::<Vec<_>>(), [None, Some(1.5)]);
        assert_eq!(column("messages").as_primitive::<UInt32Type>().iter().collect::<Vec<_>>(), [None, Some(7)]);
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
        let Finished { batch, wrong_type, .. } = table.finish().unwrap();
        assert_eq!((wrong_type["temp"], wrong_type["when"]), (1, 1));
        assert_eq!(batch.column_by_name("temp").unwrap().null_count(), 1);
        assert_eq!(batch.num_rows(), 2);
    }

    #[test]
    fn fields_without_a_type_are_what_their_column_is() {
        let fields = ["39.02", "007", "True", "UA", ""];
        let kept = |kind: ColumnType, unit: TimeUnit, fields: &[&'static str]| {
            let mut table = Table::default();
            fields.iter().for_each(|_| table.begin_row(meta()));
            let cell =
                |field: &&'static str| if field.is_empty() { Cell::Missing } else { Cell::Field((*field).into()) };
            table.push(&column("x", fields.iter().map(cell).collect()), kind, unit, 0..fields.len());
            let Finished { batch, wrong_type, .. } = table.finish().unwrap();
            (Arc::clone(batch.column_by_name("x").unwrap()), wrong_type.get("x").copied().unwrap_or(0))
        };
        let unit = TimeUnit::Rfc3339;
        let (numbers, wrong) = kept(ColumnType::Number, unit, &fields);
        let numbers: Vec<_> = numbers.as_primitive::<Float64Type>().iter().collect();
        assert_eq!((numbers, wrong), (vec![Some(39.02), Some(7.0), Some(1.0), None, None], 1));
        let (texts, wrong) = kept(ColumnType::Text, unit, &fields);
        let texts: Vec<_> = texts.as_string::<i32>().iter().collect();
        assert_eq!((texts, wrong), (vec![Some("39.02"), Some("007"), Some("true"), Some("UA"), None], 0));
        assert_eq!(kept(ColumnType::Boolean, unit, &fields).1, 3);
        assert_eq!(kept(ColumnType::Integer, unit, &["9007199254740993", "1e3", "0.5"]).1, 1);
        assert_eq!(kept(ColumnType::Timestamp, unit, &["2013-01-01T05:00:00Z", "2013"]).1, 1);
        assert_eq!(kept(ColumnType::Timestamp, TimeUnit::Seconds, &["1.5", "1357016400", "soon"]).1, 1);
    }

    #[test]
    fn embeddings_are_lists_and_nothing_else_is() {
        let mut table = Table::default();
        let vector = |values: &[f32]| Cell::Embedding(values.into());
        for _ in 0..4 {
            table.begin_row(meta());
        }
        let before = table.bytes();
        let cells = vec![vector(&[1.0, 2.5]), Cell::Missing, Cell::Number(3.0), vector(&[])];
        table.push(&column("e", cells), ColumnType::Embedding, TimeUnit::Rfc3339, 0..4);
        assert!(table.bytes() >= before + 2 * size_of::<f32>());
        for (name, kind) in ColumnType::CHOICES.into_iter().filter(|(_, kind)| *kind != ColumnType::Embedding) {
            table.push(&column(name, vec![vector(&[1.0]); 4]), kind, TimeUnit::Rfc3339, 0..4);
        }
        let Finished { batch, wrong_type, .. } = table.finish().unwrap();
        let e = Arc::clone(batch.column_by_name("e").unwrap());
        let rows =
            e.as_list::<i32>().iter().map(|row| row.map(|row| row.as_primitive::<Float32Type>().values().to_vec()));
        assert_eq!(rows.collect::<Vec<_>>(), [Some(vec![1.0, 2.5]), None, None, Some(vec![])]);
        assert_eq!((wrong_type["e"], wrong_type["text"], wrong_type.len()), (1, 4, ColumnType::CHOICES.len()));
    }
}
