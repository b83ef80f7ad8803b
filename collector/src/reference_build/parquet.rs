//! Rows from Parquet files.

use std::fs::File;
use std::path::Path;

use arrow_array::cast::AsArray;
use arrow_array::types::{
    ArrowPrimitiveType, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, TimestampMicrosecondType,
    TimestampMillisecondType, TimestampNanosecondType, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use arrow_array::{Array, ArrayRef, RecordBatch};
use arrow_schema::{DataType, TimeUnit};
use parquet::arrow::arrow_reader::{ArrowReaderOptions, ParquetRecordBatchReaderBuilder};

use super::values::{CHUNK_ROWS, Chunk, Take, Value};

/// Reads a file batch by batch. Columns of types that are neither numbers, texts, times nor vectors are left out.
pub(super) fn read(path: &Path, take: &mut Take<'_>) -> Result<(), String> {
    let file = File::open(path).map_err(|error| error.to_string())?;
    // Without the writer's own Arrow types, every text is plain text: no views, no dictionaries.
    let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
    let not_parquet = |error: &dyn std::fmt::Display| format!("not a Parquet file that can be read: {error}");
    let reader = ParquetRecordBatchReaderBuilder::try_new_with_options(file, options)
        .and_then(|builder| builder.with_batch_size(CHUNK_ROWS).build())
        .map_err(|error| not_parquet(&error))?;
    for batch in reader {
        take(&chunk(&batch.map_err(|error| not_parquet(&error))?, &|name| Some(name)))?;
    }
    Ok(())
}

/// The columns of a batch, each under the name that `name` gives it; those without one are left out.
pub(super) fn chunk<'a>(batch: &'a RecordBatch, name: &dyn Fn(&'a str) -> Option<&'a str>) -> Chunk<'a> {
    let named = batch.schema_ref().fields().iter().zip(batch.columns());
    let columns = named.filter_map(|(field, column)| Some((name(field.name())?.into(), values(column)?))).collect();
    Chunk { rows: batch.num_rows(), columns }
}

fn values(column: &ArrayRef) -> Option<Vec<Value<'_>>> {
    Some(match column.data_type() {
        DataType::Float64 => numbers::<Float64Type>(column, |value| value),
        DataType::Float32 => numbers::<Float32Type>(column, f64::from),
        DataType::Int8 => numbers::<Int8Type>(column, f64::from),
        DataType::Int16 => numbers::<Int16Type>(column, f64::from),
        DataType::Int32 => numbers::<Int32Type>(column, f64::from),
        DataType::Int64 => numbers::<Int64Type>(column, |value| value as f64),
        DataType::UInt8 => numbers::<UInt8Type>(column, f64::from),
        DataType::UInt16 => numbers::<UInt16Type>(column, f64::from),
        DataType::UInt32 => numbers::<UInt32Type>(column, f64::from),
        DataType::UInt64 => numbers::<UInt64Type>(column, |value| value as f64),
        DataType::Utf8 => or_missing(column.as_string::<i32>().iter(), |text| Value::Text(text.into())),
        DataType::Boolean => or_missing(column.as_boolean().iter(), Value::Boolean),
        DataType::Timestamp(unit, _) => {
            let micros = |value: Option<i64>, of_unit: &dyn Fn(i64) -> Option<i64>| {
                value.and_then(of_unit).map_or(Value::Missing, Value::Time)
            };
            match unit {
                TimeUnit::Microsecond => {
                    or_missing(column.as_primitive::<TimestampMicrosecondType>().iter(), Value::Time)
                }
                TimeUnit::Millisecond => {
                    let times = column.as_primitive::<TimestampMillisecondType>().iter();
                    times.map(|time| micros(time, &|time| time.checked_mul(1000))).collect()
                }
                TimeUnit::Nanosecond => {
                    let times = column.as_primitive::<TimestampNanosecondType>().iter();
                    times.map(|time| micros(time, &|time| Some(time.div_euclid(1000)))).collect()
                }
                TimeUnit::Second => return None,
            }
        }
        DataType::List(item) if matches!(item.data_type(), DataType::Float32 | DataType::Float64) => {
            or_missing(column.as_list::<i32>().iter(), |vector| Value::Vector(vector_of(&vector)))
        }
        _ => return None,
    })
}

fn numbers<T: ArrowPrimitiveType>(column: &ArrayRef, to_f64: impl Fn(T::Native) -> f64) -> Vec<Value<'_>> {
    or_missing(column.as_primitive::<T>().iter(), |value| Value::Number(to_f64(value)))
}

fn or_missing<'a, T>(values: impl Iterator<Item = Option<T>>, value: impl Fn(T) -> Value<'a>) -> Vec<Value<'a>> {
    values.map(|there| there.map_or(Value::Missing, &value)).collect()
}

/// A vector's numbers; what is null in it is NaN, so that its length stays.
fn vector_of(vector: &ArrayRef) -> Vec<f32> {
    match vector.as_primitive_opt::<Float32Type>() {
        Some(numbers) => numbers.iter().map(|number| number.unwrap_or(f32::NAN)).collect(),
        None => {
            vector.as_primitive::<Float64Type>().iter().map(|number| number.map_or(f32::NAN, |n| n as f32)).collect()
        }
    }
}
