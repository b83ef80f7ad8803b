//! From columns of rows to profiles.

use arrow_array::cast::AsArray;
use arrow_array::types::{Float32Type, Float64Type, Int64Type, TimestampMicrosecondType};
use arrow_array::{Array, ArrayRef, PrimitiveArray};
use arrow_schema::DataType;
use driftline_detectors::{Derivation, Derived, Profile, Reference, SourceValue};

use super::columns::archived_name;
use super::series::References;
use super::table::{Finished, number_category};

/// Counts a table's rows on the cells of the references, one profile for each.
pub(crate) fn count(table: &Finished, references: &References, profiles: &mut [Profile]) {
    let rows = table.batch.num_rows() as u64;
    for (reference, profile) in references.columns.iter().zip(&mut *profiles) {
        if references.derived.iter().any(|derivation| derivation.gives(&reference.column)) {
            continue;
        }
        match there(table, &reference.column, reference, profile) {
            Some(column) => count_column(column, reference, profile),
            None => reference.count_missing(profile, rows),
        }
    }
    for derivation in &references.derived {
        count_derived(table, derivation, &references.columns, profiles);
    }
}

/// The column of this name, if the table has it. What is not there in it is counted.
fn there<'t>(table: &'t Finished, name: &str, reference: &Reference, profile: &mut Profile) -> Option<&'t ArrayRef> {
    let archived = archived_name(name);
    let column = table.batch.column_by_name(&archived)?;
    let wrong_type = table.wrong_type.get(&*archived).copied().unwrap_or(0);
    reference.count_wrong_type(profile, wrong_type);
    reference.count_missing(profile, column.null_count() as u64 - wrong_type);
    Some(column)
}

/// Counts what is derived from a column.
fn count_derived(table: &Finished, derivation: &Derivation, references: &[Reference], profiles: &mut [Profile]) {
    let rows = table.batch.num_rows();
    let place = |(name, _): &(String, _)| references.iter().position(|reference| reference.column == *name);
    let places: Vec<Option<usize>> = derivation.columns().iter().map(place).collect();
    let mut source = None;
    for place in places.iter().flatten() {
        let (reference, profile) = (&references[*place], &mut profiles[*place]);
        source = there(table, derivation.column(), reference, profile);
        if source.is_none() {
            reference.count_missing(profile, rows as u64);
        }
    }
    let Some(column) = source else { return };
    let event_times = table.batch.column_by_name("event_time").and_then(|times| times.as_primitive_opt());
    let event_time =
        |times: &PrimitiveArray<TimestampMicrosecondType>, row| times.is_valid(row).then(|| times.value(row));
    let mut numbers: Vec<Vec<f64>> = places.iter().map(|_| Vec::new()).collect();
    for row in (0..rows).filter(|row| column.is_valid(*row)) {
        let event_time = event_times.and_then(|times| event_time(times, row));
        let derived = with_source(column, row, &mut |value| derivation.derive(value, event_time));
        for ((place, derived), numbers) in places.iter().zip(derived).zip(&mut numbers) {
            let Some(place) = place else { continue };
            let (reference, profile) = (&references[*place], &mut profiles[*place]);
            match derived {
                Derived::Number(number) => numbers.push(number),
                Derived::Name(name) => reference.count_category(profile, name),
                Derived::Missing => reference.count_missing(profile, 1),
                Derived::WrongType => reference.count_wrong_type(profile, 1),
            }
        }
    }
    for (place, numbers) in places.into_iter().zip(numbers) {
        if let Some(place) = place {
            references[place].count_numbers(&mut profiles[place], &numbers);
        }
    }
}

/// What a value gives that others are derived from.
fn with_source(column: &ArrayRef, row: usize, take: &mut dyn FnMut(SourceValue<'_>) -> Vec<Derived>) -> Vec<Derived> {
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

/// Counts the values of a column that are there.
fn count_column(column: &ArrayRef, reference: &Reference, profile: &mut Profile) {
    match column.data_type() {
        DataType::Float64 => {
            let column = column.as_primitive::<Float64Type>();
            match reference.normal {
                driftline_detectors::Normal::Numeric { .. } if column.null_count() == 0 => {
                    reference.count_numbers(profile, column.values());
                }
                driftline_detectors::Normal::Numeric { .. } => {
                    let values: Vec<f64> = column.iter().flatten().collect();
                    reference.count_numbers(profile, &values);
                }
                driftline_detectors::Normal::Categorical { .. } => {
                    for value in column.iter().flatten() {
                        reference.count_category(profile, &number_category(value));
                    }
                }
            }
        }
        DataType::Int64 => {
            let column = column.as_primitive::<Int64Type>();
            match reference.normal {
                driftline_detectors::Normal::Numeric { .. } => {
                    let values: Vec<f64> = column.iter().flatten().map(|value| value as f64).collect();
                    reference.count_numbers(profile, &values);
                }
                driftline_detectors::Normal::Categorical { .. } => {
                    for value in column.iter().flatten() {
                        reference.count_category(profile, &value.to_string());
                    }
                }
            }
        }
        DataType::Boolean => {
            let column = column.as_boolean();
            match reference.normal {
                driftline_detectors::Normal::Numeric { .. } => {
                    let values: Vec<f64> = column.iter().flatten().map(|value| f64::from(u8::from(value))).collect();
                    reference.count_numbers(profile, &values);
                }
                driftline_detectors::Normal::Categorical { .. } => {
                    for value in column.iter().flatten() {
                        reference.count_category(profile, if value { "true" } else { "false" });
                    }
                }
            }
        }
        DataType::Utf8 => {
            for value in column.as_string::<i32>().iter().flatten() {
                reference.count_category(profile, value);
            }
        }
        // What is scored of a time or a vector is derived from it.
        _ => reference.count_wrong_type(profile, (column.len() - column.null_count()) as u64),
    }
}

#[cfg(test)]
mod tests {
    use driftline_detectors::{Learning, ReferenceBuilder};
    use driftline_protocol::{Cell, Column, Role};

    use super::*;
    use crate::config::{ColumnType, TimeUnit};
    use crate::pipeline::table::{RowMeta, Table};

    /// Rows of a time in whole seconds and a vector, each an hour after its time.
    const ROWS: i64 = 60;

    fn time(row: i64) -> i64 {
        row * 5_000_000_000
    }

    fn vector(row: i64) -> [f32; 3] {
        [row as f32, (row * row % 17) as f32, 1.0]
    }

    fn table() -> Finished {
        let mut table = Table::default();
        for row in 0..ROWS {
            table.begin_row(RowMeta {
                event_time: time(row) + 3_600_000_000,
                request_id: "r",
                row_id: "r",
                status: 200,
                end_state: "complete",
                latency_micros: None,
                instance: "",
                received_at: 0,
            });
            let column =
                |name: &'static str, cell| Column { name: name.into(), role: Role::Feature, cells: vec![cell].into() };
            let booked = column("booked", Cell::Integer(time(row) / 1_000_000));
            table.push(&booked, ColumnType::Timestamp, TimeUnit::Seconds, 0..1);
            let wrong = Cell::Text("none".into());
            let place = column("place", if row == 7 { wrong } else { Cell::Embedding(vector(row).into()) });
            table.push(&place, ColumnType::Embedding, TimeUnit::Rfc3339, 0..1);
        }
        table.finish().unwrap()
    }

    /// How columns are derived, and their references, of the same rows.
    fn references() -> References {
        let mut learning = Learning::embedding();
        (0..ROWS).for_each(|row| learning.add(row as u64, SourceValue::Vector(&vector(row))));
        let derived = vec![Derivation::Timestamp { column: "booked".into() }, learning.finish("place").1];
        let mut columns = Vec::new();
        for derivation in &derived {
            let named = derivation.columns();
            let mut builders: Vec<ReferenceBuilder> =
                named.iter().map(|(name, kind)| ReferenceBuilder::new(name, *kind)).collect();
            for row in 0..ROWS {
                let (vector, time) = (vector(row), time(row));
                let source = match derivation {
                    Derivation::Timestamp { .. } => SourceValue::Time(time),
                    _ => SourceValue::Vector(&vector),
                };
                let values = derivation.derive(source, Some(time + 3_600_000_000));
                for (builder, value) in builders.iter_mut().zip(values) {
                    match value {
                        Derived::Number(number) => builder.number(None, number),
                        Derived::Name(name) => builder.category(None, name),
                        Derived::Missing | Derived::WrongType => builder.missing(None),
                    }
                }
            }
            columns.extend(builders.into_iter().map(|builder| builder.build(None).unwrap()));
        }
        References { columns, derived, ..References::default() }
    }

    #[test]
    fn a_window_is_derived_as_its_reference_was() {
        let references = references();
        let mut profiles: Vec<Profile> = references.columns.iter().map(Reference::empty_profile).collect();
        count(&table(), &references, &mut profiles);
        for (reference, profile) in references.columns.iter().zip(&profiles) {
            assert_eq!(profile.rows(), ROWS as u64, "{}", reference.column);
            match (reference.profile(), profile) {
                (Profile::Numeric(known), Profile::Numeric(counted)) if reference.column.starts_with("place.") => {
                    let apart: u64 = known.cells.iter().zip(&counted.cells).map(|(a, b)| a - b).sum();
                    assert_eq!((apart, counted.wrong_type), (1, 1), "{}", reference.column);
                }
                (known, counted) => assert_eq!(&known, counted, "{}", reference.column),
            }
        }
    }

    #[test]
    fn what_would_be_derived_of_an_absent_column_is_missing() {
        let mut references = references();
        references.derived[0] = Derivation::Timestamp { column: "gone".into() };
        references.columns.iter_mut().for_each(|column| column.column = column.column.replace("booked.", "gone."));
        let mut profiles: Vec<Profile> = references.columns.iter().map(Reference::empty_profile).collect();
        count(&table(), &references, &mut profiles);
        assert!(profiles[..3].iter().all(|profile| (profile.rows(), profile.usable()) == (ROWS as u64, 0)));
    }
}
