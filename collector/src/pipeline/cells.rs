//! Cells as what their column's type makes of them: values of Arrow, categories, times.

use arrow_array::builder::{
    BooleanBuilder, Float32Builder, Float64Builder, Int64Builder, ListBuilder, StringBuilder,
    TimestampMicrosecondBuilder,
};
use driftline_protocol::Cell;

use super::fields::{boolean_of_field, number_of_field};
use crate::config::{ColumnType, TimeUnit};

/// A column of one type that grows.
#[derive(Debug)]
pub(super) enum Builder {
    Number(Float64Builder),
    Integer(Int64Builder),
    Boolean(BooleanBuilder),
    Text(StringBuilder),
    Timestamp(TimestampMicrosecondBuilder),
    Embedding(ListBuilder<Float32Builder>),
}

impl Builder {
    pub(super) fn new(kind: ColumnType) -> Self {
        match kind {
            ColumnType::Number => Self::Number(Float64Builder::with_capacity(0)),
            ColumnType::Integer => Self::Integer(Int64Builder::with_capacity(0)),
            ColumnType::Boolean => Self::Boolean(BooleanBuilder::with_capacity(0)),
            ColumnType::Text => Self::Text(StringBuilder::with_capacity(0, 0)),
            ColumnType::Timestamp => Self::Timestamp(TimestampMicrosecondBuilder::with_capacity(0)),
            ColumnType::Embedding => Self::Embedding(ListBuilder::with_capacity(Float32Builder::with_capacity(0), 0)),
        }
    }

    pub(super) fn len(&self) -> usize {
        use arrow_array::builder::ArrayBuilder;
        match self {
            Self::Number(builder) => builder.len(),
            Self::Integer(builder) => builder.len(),
            Self::Boolean(builder) => builder.len(),
            Self::Text(builder) => builder.len(),
            Self::Timestamp(builder) => builder.len(),
            Self::Embedding(builder) => builder.len(),
        }
    }

    pub(super) fn append_null(&mut self) {
        match self {
            Self::Number(builder) => builder.append_null(),
            Self::Integer(builder) => builder.append_null(),
            Self::Boolean(builder) => builder.append_null(),
            Self::Text(builder) => builder.append_null(),
            Self::Timestamp(builder) => builder.append_null(),
            Self::Embedding(builder) => builder.append_null(),
        }
    }

    /// Rows in which the column did not appear hold nothing.
    pub(super) fn fill_to(&mut self, rows: usize) {
        for _ in self.len()..rows {
            self.append_null();
        }
    }

    /// Adds a cell; false, and nothing added, when it is of another type.
    pub(super) fn append(&mut self, cell: &Cell<'_>, unit: TimeUnit) -> bool {
        match (self, cell) {
            (builder, Cell::Missing) => builder.append_null(),
            (Self::Timestamp(builder), cell) => match time_micros(cell, unit) {
                Some(micros) => builder.append_value(micros),
                None => return false,
            },
            (builder, Cell::Field(field)) => return builder.append_field(field),
            (Self::Number(builder), Cell::Number(value)) => builder.append_value(*value),
            (Self::Number(builder), Cell::Integer(value)) => builder.append_value(*value as f64),
            (Self::Number(builder), Cell::Boolean(value)) => builder.append_value(f64::from(u8::from(*value))),
            (Self::Integer(builder), Cell::Integer(value)) => builder.append_value(*value),
            (Self::Integer(builder), Cell::Number(value)) if is_whole(*value) => builder.append_value(*value as i64),
            (Self::Boolean(builder), Cell::Boolean(value)) => builder.append_value(*value),
            (Self::Embedding(builder), Cell::Embedding(vector)) => {
                builder.values().append_slice(vector);
                builder.append(true);
            }
            (_, Cell::Embedding(_)) => return false,
            (Self::Text(builder), Cell::Text(value)) => builder.append_value(value),
            (Self::Text(builder), cell) => builder.append_value(category(cell)),
            _ => return false,
        }
        true
    }

    /// Adds a field without a type, as the column's type reads it; false, and nothing added, when that cannot.
    fn append_field(&mut self, field: &str) -> bool {
        let (number, boolean) = (|| number_of_field(field), || boolean_of_field(field));
        match self {
            Self::Number(builder) => {
                number().or_else(|| boolean().map(f64::from)).map(|value| builder.append_value(value)).is_some()
            }
            Self::Integer(builder) => {
                let whole = || number().filter(|value| is_whole(*value)).map(|value| value as i64);
                let exact = field.trim().parse().ok();
                exact.or_else(whole).map(|value| builder.append_value(value)).is_some()
            }
            Self::Boolean(builder) => boolean().map(|value| builder.append_value(value)).is_some(),
            Self::Text(builder) => {
                builder.append_value(category(&Cell::Field(field.into())));
                true
            }
            Self::Timestamp(_) | Self::Embedding(_) => false,
        }
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
        // As references have them that were built from CSV.
        Cell::Field(value) => boolean_of_field(value).map_or_else(|| value.to_string(), |value| value.to_string()),
        // No vector is a category: no column of text takes one, and none names a row.
        Cell::Embedding(_) => String::new(),
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
        (Cell::Field(field), None) => time_micros(&Cell::Text(field.trim().into()), unit),
        (Cell::Field(field), Some(_)) => {
            let exact = field.trim().parse().ok().map(Cell::Integer);
            time_micros(&exact.or_else(|| number_of_field(field).map(Cell::Number))?, unit)
        }
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
    use super::*;

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
