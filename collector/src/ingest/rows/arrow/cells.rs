//! A table's cells as JSON, and the fields of rows that are none.

use std::fmt::Write;

use arrow_array::Array;
use arrow_array::cast::AsArray;
use arrow_array::types::{
    ArrowPrimitiveType, Date32Type, Date64Type, Decimal128Type, Decimal256Type, Float16Type, Float32Type, Float64Type,
    Int8Type, Int16Type, Int32Type, Int64Type, TimestampMicrosecondType, TimestampMillisecondType,
    TimestampNanosecondType, TimestampSecondType, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use arrow_schema::{DataType, TimeUnit};
use jiff::Timestamp;

/// Longest row. A short table can spell long rows: a dictionary's word may be in each of its columns.
const MAX_ROW_BYTES: usize = 4 << 20;

/// Writes a cell as JSON. Numbers are written to the last bit, and those that JSON has not as Python writes them.
pub(super) fn write_cell(column: &dyn Array, row: usize, text: &mut String) -> Result<(), String> {
    if text.len() > MAX_ROW_BYTES {
        return Err(format!("the row has more than {MAX_ROW_BYTES} bytes"));
    }
    if is_null(column, row) {
        text.push_str("null");
        return Ok(());
    }
    match column.data_type() {
        DataType::Boolean => push(text, column.as_boolean().value(row)),
        DataType::Float16 => push_number(text, column.as_primitive::<Float16Type>().value(row).to_f64()),
        DataType::Float32 => push_number(text, column.as_primitive::<Float32Type>().value(row).into()),
        DataType::Float64 => push_number(text, column.as_primitive::<Float64Type>().value(row)),
        DataType::Decimal128(..) => push(text, column.as_primitive::<Decimal128Type>().value_as_string(row)),
        DataType::Decimal256(..) => push(text, column.as_primitive::<Decimal256Type>().value_as_string(row)),
        DataType::Timestamp(..) => push_text(text, &time(column, row)?.to_string()),
        DataType::Date32 | DataType::Date64 => push_text(text, &time(column, row)?.strftime("%Y-%m-%d").to_string()),
        DataType::Dictionary(..) => {
            let dictionary = column.as_any_dictionary();
            return write_cell(dictionary.values().as_ref(), key(dictionary.keys(), row)?, text);
        }
        DataType::Struct(fields) => {
            for (index, (field, own)) in fields.iter().zip(column.as_struct().columns()).enumerate() {
                text.push_str(if index == 0 { "{" } else { ", " });
                push_text(text, field.name());
                text.push_str(": ");
                write_cell(own.as_ref(), row, text)?;
            }
            text.push_str(if fields.is_empty() { "{}" } else { "}" });
        }
        DataType::List(_) => write_list(column.as_list::<i32>().value(row).as_ref(), text)?,
        DataType::LargeList(_) => write_list(column.as_list::<i64>().value(row).as_ref(), text)?,
        DataType::FixedSizeList(..) => write_list(column.as_fixed_size_list().value(row).as_ref(), text)?,
        _ => match (whole(column, row), utf8(column, row)) {
            (Some(value), _) => push(text, value),
            (None, Some(value)) => push_text(text, value),
            (None, None) => return Err(format!("its type {} cannot be read", column.data_type())),
        },
    }
    Ok(())
}

/// Whether a cell is missing. A column of nothing else says so by its type.
pub(super) fn is_null(column: &dyn Array, row: usize) -> bool {
    *column.data_type() == DataType::Null || column.is_null(row)
}

fn write_list(values: &dyn Array, text: &mut String) -> Result<(), String> {
    text.push('[');
    for index in 0..values.len() {
        if index > 0 {
            text.push_str(", ");
        }
        write_cell(values, index, text)?;
    }
    text.push(']');
    Ok(())
}

/// Adds a text as JSON.
pub(super) fn push_text(text: &mut String, value: &str) {
    push(text, serde_json::Value::from(value));
}

fn push(text: &mut String, value: impl std::fmt::Display) {
    // Writing to a string does not fail.
    write!(text, "{value}").ok();
}

fn push_number(text: &mut String, value: f64) {
    if value.is_finite() {
        write!(text, "{value:?}").ok();
    } else {
        text.push_str(if value.is_nan() {
            "NaN"
        } else if value > 0.0 {
            "Infinity"
        } else {
            "-Infinity"
        });
    }
}

/// The value of a dictionary that a row has.
fn key(keys: &dyn Array, row: usize) -> Result<usize, String> {
    whole(keys, row).and_then(|key| usize::try_from(key).ok()).ok_or_else(|| "a dictionary's key is none".to_owned())
}

/// The value of a column of integers.
fn whole(column: &dyn Array, row: usize) -> Option<i128> {
    fn value<T: ArrowPrimitiveType<Native: Into<i128>>>(column: &dyn Array, row: usize) -> Option<i128> {
        Some(column.as_primitive_opt::<T>()?.value(row).into())
    }
    match column.data_type() {
        DataType::Int8 => value::<Int8Type>(column, row),
        DataType::Int16 => value::<Int16Type>(column, row),
        DataType::Int32 => value::<Int32Type>(column, row),
        DataType::Int64 => value::<Int64Type>(column, row),
        DataType::UInt8 => value::<UInt8Type>(column, row),
        DataType::UInt16 => value::<UInt16Type>(column, row),
        DataType::UInt32 => value::<UInt32Type>(column, row),
        DataType::UInt64 => value::<UInt64Type>(column, row),
        _ => None,
    }
}

fn utf8(column: &dyn Array, row: usize) -> Option<&str> {
    match column.data_type() {
        DataType::Utf8 => Some(column.as_string::<i32>().value(row)),
        DataType::LargeUtf8 => Some(column.as_string::<i64>().value(row)),
        DataType::Utf8View => Some(column.as_string_view().value(row)),
        _ => None,
    }
}

/// A field of a row that is a text: an id, a model, a version. Whole numbers are taken, too.
pub(super) fn word(column: &dyn Array, row: usize) -> Result<Option<String>, String> {
    if is_null(column, row) {
        return Ok(None);
    }
    if let Some(dictionary) = column.as_any_dictionary_opt() {
        return word(dictionary.values().as_ref(), key(dictionary.keys(), row)?);
    }
    let own = utf8(column, row).map(str::to_owned).or_else(|| whole(column, row).map(|value| value.to_string()));
    own.map(Some).ok_or_else(|| format!("it is of type {}; allowed are texts and integers", column.data_type()))
}

/// When a row happened, in microseconds since the Unix epoch. A time without a zone is UTC.
pub(super) fn time_micros(column: &dyn Array, row: usize) -> Result<Option<i64>, String> {
    if is_null(column, row) {
        return Ok(None);
    }
    match column.data_type() {
        DataType::Timestamp(..) => time(column, row).map(|time| Some(time.as_microsecond())),
        data_type => {
            let word = utf8(column, row);
            let word = word.ok_or_else(|| format!("it is of type {data_type}; allowed are timestamps and texts"))?;
            let time = word.parse::<Timestamp>().map_err(|error| error.to_string())?;
            Ok(Some(time.as_microsecond()))
        }
    }
}

fn time(column: &dyn Array, row: usize) -> Result<Timestamp, String> {
    const DAY_SECONDS: i64 = 86_400;
    let time = match column.data_type() {
        DataType::Timestamp(TimeUnit::Second, _) => {
            Timestamp::from_second(column.as_primitive::<TimestampSecondType>().value(row))
        }
        DataType::Timestamp(TimeUnit::Millisecond, _) => {
            Timestamp::from_millisecond(column.as_primitive::<TimestampMillisecondType>().value(row))
        }
        DataType::Timestamp(TimeUnit::Microsecond, _) => {
            Timestamp::from_microsecond(column.as_primitive::<TimestampMicrosecondType>().value(row))
        }
        DataType::Timestamp(TimeUnit::Nanosecond, _) => {
            Timestamp::from_nanosecond(column.as_primitive::<TimestampNanosecondType>().value(row).into())
        }
        DataType::Date32 => {
            Timestamp::from_second(i64::from(column.as_primitive::<Date32Type>().value(row)) * DAY_SECONDS)
        }
        DataType::Date64 => Timestamp::from_millisecond(column.as_primitive::<Date64Type>().value(row)),
        data_type => return Err(format!("it is of type {data_type}, and no time")),
    };
    time.map_err(|error| error.to_string())
}
