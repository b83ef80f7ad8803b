//! Rows from Parquet files.

use std::fs::File;
use std::path::Path;

use arrow_array::cast::AsArray;
use arrow_array::types::{
    ArrowPrimitiveType, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, TimestampMicrosecondType,
    TimestampMillisecondType, TimestampNanosecondType, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use arrow_array::{Array, ArrayRef};
use arrow_schema::{DataType, TimeUnit};
use parquet::arrow::arrow_reader::{ArrowReaderOptions, ParquetRecordBatchReaderBuilder};

use super::values::{Chunk, Values};

/// Rows that are read at once.
const BATCH_ROWS: usize = 65_536;

/// Reads a file batch by batch. Columns of types that are neither numbers, texts nor times are left out.
pub(super) fn read(path: &Path, take: &mut dyn FnMut(Chunk) -> Result<(), String>) -> Result<(), String> {
    let file = File::open(path).map_err(|error| error.to_string())?;
    // Without the writer's own Arrow types, every text is plain text: no views, no dictionaries.
    let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
    let not_parquet = |error: &dyn std::fmt::Display| format!("not a Parquet file that can be read: {error}");
    let reader = ParquetRecordBatchReaderBuilder::try_new_with_options(file, options)
        .and_then(|builder| builder.with_batch_size(BATCH_ROWS).build())
        .map_err(|error| not_parquet(&error))?;
    for batch in reader {
        let batch = batch.map_err(|error| not_parquet(&error))?;
        let schema = batch.schema();
        let columns = schema.fields().iter().zip(batch.columns());
        take(columns.filter_map(|(field, column)| Some((field.name().clone(), values(column)?))).collect())?;
    }
    Ok(())
}

fn values(column: &ArrayRef) -> Option<Values> {
    Some(match column.data_type() {
        DataType::Float64 => Values::Numbers(column.as_primitive::<Float64Type>().iter().collect()),
        DataType::Float32 => numbers::<Float32Type>(column, f64::from),
        DataType::Int8 => numbers::<Int8Type>(column, f64::from),
        DataType::Int16 => numbers::<Int16Type>(column, f64::from),
        DataType::Int32 => numbers::<Int32Type>(column, f64::from),
        DataType::Int64 => numbers::<Int64Type>(column, |value| value as f64),
        DataType::UInt8 => numbers::<UInt8Type>(column, f64::from),
        DataType::UInt16 => numbers::<UInt16Type>(column, f64::from),
        DataType::UInt32 => numbers::<UInt32Type>(column, f64::from),
        DataType::UInt64 => numbers::<UInt64Type>(column, |value| value as f64),
        DataType::Utf8 => Values::Texts(column.as_string::<i32>().iter().map(|text| text.map(str::to_owned)).collect()),
        DataType::Boolean => {
            Values::Texts(column.as_boolean().iter().map(|value| value.map(|value| value.to_string())).collect())
        }
        DataType::Timestamp(TimeUnit::Microsecond, _) => {
            Values::Times(column.as_primitive::<TimestampMicrosecondType>().iter().collect())
        }
        DataType::Timestamp(TimeUnit::Millisecond, _) => {
            let times = column.as_primitive::<TimestampMillisecondType>().iter();
            Values::Times(times.map(|time| time.and_then(|time| time.checked_mul(1000))).collect())
        }
        DataType::Timestamp(TimeUnit::Nanosecond, _) => {
            let times = column.as_primitive::<TimestampNanosecondType>().iter();
            Values::Times(times.map(|time| time.map(|time| time.div_euclid(1000))).collect())
        }
        _ => return None,
    })
}

fn numbers<T: ArrowPrimitiveType>(column: &ArrayRef, to_f64: impl Fn(T::Native) -> f64) -> Values {
    Values::Numbers(column.as_primitive::<T>().iter().map(|value| value.map(&to_f64)).collect())
}
