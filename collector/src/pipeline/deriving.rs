//! From columns of rows to the profiles of what is derived from them.

use arrow_array::cast::AsArray;
use arrow_array::types::{Float32Type, Float64Type, Int64Type, TimestampMicrosecondType};
use arrow_array::{Array, ArrayRef, PrimitiveArray};
use arrow_schema::DataType;
use driftline_detectors::{Derivation, Derived, Names, Profile, Reference, SourceValue};

use super::cells::number_category;
use super::columns::archived_name;
use super::counting::there;
use super::table::Finished;

/// What is derived of rows, on its way to its profiles.
pub(crate) struct Deriving<'p> {
    derivation: &'p Derivation,
    references: &'p [Reference],
    profiles: &'p mut [Profile],
    /// Of each derived column the place of its reference, and the numbers that wait to be counted in one go.
    columns: Vec<(Option<usize>, Vec<f64>)>,
}

impl<'p> Deriving<'p> {
    pub(crate) fn new(derivation: &'p Derivation, references: &'p [Reference], profiles: &'p mut [Profile]) -> Self {
        let place = |name: &str| references.iter().position(|reference| reference.column == *name);
        let columns = derivation.columns().iter().map(|(name, _)| (place(name), Vec::new())).collect();
        Self { derivation, references, profiles, columns }
    }

    /// Derives a value for each column.
    pub(crate) fn take(&mut self, source: SourceValue<'_>, event_time: Option<i64>) {
        let values = self.derivation.derive(source, event_time);
        for ((place, numbers), value) in self.columns.iter_mut().zip(values) {
            let Some(place) = *place else { continue };
            let (reference, profile) = (&self.references[place], &mut self.profiles[place]);
            match value {
                Derived::Number(number) => numbers.push(number),
                Derived::Name(name) => reference.count_category(profile, name),
                Derived::Itself => match source {
                    SourceValue::Row(row) => reference.count_row(profile, row),
                    SourceValue::Vector(vector) => reference.count_vector(profile, vector),
                    _ => reference.count_wrong_type(profile, 1),
                },
                Derived::Missing => reference.count_missing(profile, 1),
                Derived::WrongType => reference.count_wrong_type(profile, 1),
            }
        }
    }

    /// Counts what waits.
    pub(crate) fn finish(self) {
        for (place, numbers) in self.columns {
            if let Some(place) = place {
                self.references[place].count_numbers(&mut self.profiles[place], &numbers);
            }
        }
    }
}

/// Counts what is derived from columns of a table.
pub(super) fn count_derived(
    table: &Finished,
    derivation: &Derivation,
    references: &[Reference],
    profiles: &mut [Profile],
) {
    match derivation {
        Derivation::Joint { joint } => {
            let sources = joint.sources().iter().map(|name| numbers(table, name)).collect();
            of_several(table, sources, derivation, references, profiles);
        }
        Derivation::Names { names } => {
            let sources = (0..names.sources().len()).map(|column| codes(table, names, column)).collect();
            of_several(table, sources, derivation, references, profiles);
        }
        _ => of_one(table, derivation, references, profiles),
    }
}

fn of_one(table: &Finished, derivation: &Derivation, references: &[Reference], profiles: &mut [Profile]) {
    let rows = table.batch.num_rows();
    let mut source = None;
    for (reference, profile) in references.iter().zip(&mut *profiles) {
        if derivation.gives(&reference.column) {
            source = there(table, derivation.column(), reference, profile);
            if source.is_none() {
                reference.count_missing(profile, rows as u64);
            }
        }
    }
    let Some(column) = source else { return };
    let event_times = table.batch.column_by_name("event_time").and_then(|times| times.as_primitive_opt());
    let event_time =
        |times: &PrimitiveArray<TimestampMicrosecondType>, row| times.is_valid(row).then(|| times.value(row));
    let mut deriving = Deriving::new(derivation, references, profiles);
    for row in (0..rows).filter(|row| column.is_valid(*row)) {
        let event_time = event_times.and_then(|times| event_time(times, row));
        with_source(column, row, &mut |value| deriving.take(value, event_time));
    }
    deriving.finish();
}

/// Hands over a value that others are derived from.
fn with_source(column: &ArrayRef, row: usize, take: &mut dyn FnMut(SourceValue<'_>)) {
    match column.data_type() {
        DataType::Utf8 => take(SourceValue::Text(column.as_string::<i32>().value(row))),
        DataType::Timestamp(..) => match column.as_primitive_opt::<TimestampMicrosecondType>() {
            Some(times) => take(SourceValue::Time(times.value(row))),
            None => take(SourceValue::Other),
        },
        DataType::List(_) => match column.as_list::<i32>().value(row).as_primitive_opt::<Float32Type>() {
            Some(vector) => take(SourceValue::Vector(vector.values())),
            None => take(SourceValue::Other),
        },
        _ => take(SourceValue::Other),
    }
}

fn of_several(
    table: &Finished,
    sources: Vec<Option<Vec<f64>>>,
    derivation: &Derivation,
    references: &[Reference],
    profiles: &mut [Profile],
) {
    let mut deriving = Deriving::new(derivation, references, profiles);
    let mut values = vec![f64::NAN; sources.len()];
    for row in 0..table.batch.num_rows() {
        for (value, source) in values.iter_mut().zip(&sources) {
            *value = source.as_ref().map_or(f64::NAN, |numbers| numbers[row]);
        }
        deriving.take(SourceValue::Row(&values), None);
    }
    deriving.finish();
}

/// A column's numbers, NaN where it has none; nothing when the table has no such column.
fn numbers(table: &Finished, name: &str) -> Option<Vec<f64>> {
    let column = table.batch.column_by_name(&archived_name(name))?;
    let or_none = |number: Option<f64>| number.unwrap_or(f64::NAN);
    match column.data_type() {
        DataType::Float64 => Some(column.as_primitive::<Float64Type>().iter().map(or_none).collect()),
        DataType::Int64 => {
            let number = |value: Option<i64>| or_none(value.map(|value| value as f64));
            Some(column.as_primitive::<Int64Type>().iter().map(number).collect())
        }
        DataType::Boolean => {
            let number = |value: Option<bool>| or_none(value.map(|value| f64::from(u8::from(value))));
            Some(column.as_boolean().iter().map(number).collect())
        }
        _ => None,
    }
}

/// The codes of a column's names, NaN where it has none; nothing when the table has no such column.
fn codes(table: &Finished, names: &Names, column: usize) -> Option<Vec<f64>> {
    let array = table.batch.column_by_name(&archived_name(&names.sources()[column]))?;
    let code = |name: Option<&str>| name.map_or(f64::NAN, |name| names.code(column, name));
    match array.data_type() {
        DataType::Utf8 => Some(array.as_string::<i32>().iter().map(code).collect()),
        DataType::Boolean => {
            let name = |value: bool| if value { "true" } else { "false" };
            Some(array.as_boolean().iter().map(|value| code(value.map(name))).collect())
        }
        DataType::Int64 => {
            let values = array.as_primitive::<Int64Type>().iter();
            Some(values.map(|value| code(value.map(|value| value.to_string()).as_deref())).collect())
        }
        DataType::Float64 => {
            let values = array.as_primitive::<Float64Type>().iter();
            Some(values.map(|value| code(value.map(number_category).as_deref())).collect())
        }
        _ => None,
    }
}
