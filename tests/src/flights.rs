//! The demo's flights, as the tests need them.

use std::fs::File;
use std::path::{Path, PathBuf};

use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, Int32Type, TimestampMicrosecondType};
use arrow_array::{Array, ArrayRef, BooleanArray, RecordBatch};
use parquet::arrow::ArrowWriter;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ArrowPredicateFn, ParquetRecordBatchReaderBuilder, RowFilter};
use serde_json::{Value, json};

fn data() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../demo/data/flights.parquet")
}

/// One month's flights as columns.
#[derive(Debug)]
pub struct MonthOfFlights {
    batch: RecordBatch,
}

/// The flights of a month of 2013: 1, 2, 7 or 12.
///
/// # Panics
/// When the data cannot be read.
#[must_use]
pub fn month(number: u32) -> MonthOfFlights {
    let builder = ParquetRecordBatchReaderBuilder::try_new(File::open(data()).expect("the flights")).expect("Parquet");
    let date = ProjectionMask::columns(builder.parquet_schema(), ["date"]);
    let prefix = format!("2013-{number:02}-");
    let is_of_month = ArrowPredicateFn::new(date, move |batch| {
        Ok(batch
            .column(0)
            .as_string::<i32>()
            .iter()
            .map(|date| Some(date?.starts_with(&prefix)))
            .collect::<BooleanArray>())
    });
    let mut reader = builder
        .with_row_filter(RowFilter::new(vec![Box::new(is_of_month)]))
        .with_batch_size(1 << 20)
        .build()
        .expect("Parquet");
    let batch = reader.next().expect("rows").expect("Parquet");
    assert!(reader.next().is_none(), "a month is one batch");
    MonthOfFlights { batch }
}

/// A Parquet file of January's flights, for `driftline reference build`.
///
/// # Panics
/// When it cannot be written.
#[must_use]
pub fn january_file(folder: &Path) -> PathBuf {
    let path = folder.join("january.parquet");
    let batch = month(1).batch;
    let mut writer = ArrowWriter::try_new(File::create(&path).expect("a file"), batch.schema(), None).expect("Parquet");
    writer.write(&batch).expect("rows");
    writer.close().expect("a file");
    path
}

impl MonthOfFlights {
    /// How many there are.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.batch.num_rows()
    }

    /// A column's numbers, in the order of the rows; none where there is none.
    ///
    /// # Panics
    /// When there is no such column, or it holds no numbers.
    #[must_use]
    pub fn numbers(&self, column: &str) -> Vec<Option<f64>> {
        let column = self.batch.column_by_name(column).expect("a column");
        match column.as_primitive_opt::<Int32Type>() {
            Some(whole) => whole.iter().map(|value| value.map(f64::from)).collect(),
            None => column.as_primitive::<Float64Type>().iter().collect(),
        }
    }

    /// A column's texts, in the order of the rows.
    ///
    /// # Panics
    /// When there is no such column, or it holds no texts.
    #[must_use]
    pub fn texts(&self, column: &str) -> Vec<String> {
        let column = self.batch.column_by_name(column).expect("a column").as_string::<i32>();
        column.iter().flatten().map(str::to_owned).collect()
    }

    /// A column of names.
    ///
    /// # Panics
    /// When there is no such column of names.
    #[must_use]
    pub fn names(&self, column: &str) -> Vec<Option<&str>> {
        self.batch.column_by_name(column).expect("a column").as_string::<i32>().iter().collect()
    }

    /// Bodies of V2 requests with these columns and the scheduled departure, each of so many rows.
    #[must_use]
    pub fn v2_requests(&self, columns: &[&str], rows_each: usize) -> Vec<Value> {
        self.slices(rows_each)
            .map(|slice| {
                let tensor = |name: &str| {
                    let (datatype, data) = values(slice.column_by_name(name).expect("a column"));
                    json!({ "name": name, "shape": [data.len()], "datatype": datatype, "data": data })
                };
                let inputs: Vec<Value> = columns.iter().copied().chain(["scheduled_at"]).map(tensor).collect();
                json!({ "inputs": inputs })
            })
            .collect()
    }

    /// Bodies of V1 requests with rows as objects.
    #[must_use]
    pub fn v1_requests(&self, columns: &[&str], rows_each: usize) -> Vec<Value> {
        self.slices(rows_each)
            .map(|slice| {
                let named = columns.iter().copied().chain(["scheduled_at"]);
                let columns: Vec<(&str, Vec<Value>)> =
                    named.map(|name| (name, values(slice.column_by_name(name).expect("a column")).1)).collect();
                let instance = |row: usize| -> Value {
                    columns
                        .iter()
                        .map(|(name, data)| ((*name).to_owned(), data[row].clone()))
                        .collect::<serde_json::Map<_, _>>()
                        .into()
                };
                json!({ "instances": (0..slice.num_rows()).map(instance).collect::<Vec<_>>() })
            })
            .collect()
    }

    fn slices(&self, rows_each: usize) -> impl Iterator<Item = RecordBatch> + '_ {
        let starts = (0..self.rows()).step_by(rows_each);
        starts.map(move |start| self.batch.slice(start, rows_each.min(self.rows() - start)))
    }
}

/// A column as JSON values with V2's name for its type. Times are RFC 3339.
fn values(column: &ArrayRef) -> (&'static str, Vec<Value>) {
    if let Some(column) = column.as_primitive_opt::<Float64Type>() {
        return ("FP64", column.iter().map(|value| json!(value)).collect());
    }
    if let Some(column) = column.as_primitive_opt::<Int32Type>() {
        return ("INT64", column.iter().map(|value| json!(value)).collect());
    }
    if let Some(column) = column.as_primitive_opt::<TimestampMicrosecondType>() {
        let text =
            |row: usize| column.is_valid(row).then(|| column.value_as_datetime(row).map(|time| format!("{time:?}Z")));
        return ("BYTES", (0..column.len()).map(|row| json!(text(row).flatten())).collect());
    }
    ("BYTES", column.as_string::<i32>().iter().map(|value| json!(value)).collect())
}
