//! From columns of rows to profiles.

use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, Int64Type};
use arrow_array::{Array, ArrayRef};
use arrow_schema::DataType;
use driftline_detectors::{Profile, Reference};

use super::cells::number_category;
use super::columns::archived_name;
use super::deriving;
use super::series::References;
use super::table::Finished;

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
        deriving::count_derived(table, derivation, &references.columns, profiles);
    }
}

/// The column of this name, if the table has it. What is not there in it is counted.
pub(super) fn there<'t>(
    table: &'t Finished,
    name: &str,
    reference: &Reference,
    profile: &mut Profile,
) -> Option<&'t ArrayRef> {
    let archived = archived_name(name);
    let column = table.batch.column_by_name(&archived)?;
    let wrong_type = table.wrong_type.get(&*archived).copied().unwrap_or(0);
    reference.count_wrong_type(profile, wrong_type);
    reference.count_missing(profile, column.null_count() as u64 - wrong_type);
    Some(column)
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
                _ => {
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
                _ => {
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
                _ => {
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
    use driftline_detectors::{Derivation, Derived, Joint, Learning, RowValue, Rows, SourceValue};
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

    /// Of two columns that go together, the second is missing now and then.
    fn pair(row: i64) -> [f64; 2] {
        let level = row * 37 % 59;
        [level as f64 / 2.0, if row % 11 == 4 { f64::NAN } else { (level + row % 5) as f64 }]
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
            let [a, b] = pair(row);
            table.push(&column("a", Cell::Number(a)), ColumnType::Number, TimeUnit::Rfc3339, 0..1);
            let b = if b.is_nan() { Cell::Missing } else { Cell::Integer(b as i64) };
            table.push(&column("b", b), ColumnType::Integer, TimeUnit::Rfc3339, 0..1);
        }
        table.finish().unwrap()
    }

    /// One of the columns that are derived of the same rows.
    struct DerivedRows<'d> {
        derivation: &'d Derivation,
        place: usize,
    }

    impl Rows for DerivedRows<'_> {
        fn each(&self, take: &mut dyn FnMut(Option<i64>, RowValue<'_>)) -> Result<(), String> {
            for row in 0..ROWS {
                let (vector, time, pair) = (vector(row), time(row), pair(row));
                let source = match self.derivation {
                    Derivation::Timestamp { .. } => SourceValue::Time(time),
                    Derivation::Joint { .. } => SourceValue::Row(&pair),
                    _ => SourceValue::Vector(&vector),
                };
                let derived = self.derivation.derive(source, Some(time + 3_600_000_000))[self.place];
                match (derived, source) {
                    (Derived::Number(number), _) => take(None, RowValue::Number(number)),
                    (Derived::Name(name), _) => take(None, RowValue::Category(name)),
                    (Derived::Itself, SourceValue::Row(row)) => take(None, RowValue::Row(row)),
                    (Derived::Itself, SourceValue::Vector(vector)) => take(None, RowValue::Vector(vector)),
                    _ => take(None, RowValue::Missing),
                }
            }
            Ok(())
        }

        fn columns(&self) -> Vec<String> {
            vec!["a".to_owned(), "b".to_owned()]
        }
    }

    /// How columns are derived, and their references, of the same rows.
    fn references() -> References {
        let mut learning = Learning::embedding();
        (0..ROWS).for_each(|row| learning.add(row as u64, SourceValue::Vector(&vector(row))));
        let pairs = |take: &mut dyn FnMut(&[f64])| {
            (0..ROWS).for_each(|row| take(&pair(row)));
            Ok(())
        };
        let joint = Joint::of_rows(vec!["a".into(), "b".into()], &pairs).unwrap();
        let derived = vec![
            Derivation::Timestamp { column: "booked".into() },
            learning.finish("place").1,
            Derivation::Joint { joint },
        ];
        let mut columns = Vec::new();
        for derivation in &derived {
            for (place, (name, kind)) in derivation.columns().iter().enumerate() {
                columns.push(Reference::of_rows(name, *kind, &DerivedRows { derivation, place }, None).unwrap());
            }
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
                (Profile::Vectors(known), Profile::Vectors(counted)) => {
                    assert_eq!((known.rows - counted.rows, counted.wrong_type), (1, 1));
                }
                (known, counted) => assert_eq!(&known, counted, "{}", reference.column),
            }
        }
    }

    #[test]
    fn a_row_without_any_of_the_columns_that_are_looked_at_together_is_missing() {
        let mut references = references();
        let rows = |take: &mut dyn FnMut(&[f64])| {
            (0..ROWS).for_each(|row| take(&pair(row)));
            Ok(())
        };
        let joint = Joint::of_rows(vec!["gone".into(), "place".into()], &rows).unwrap();
        references.derived[2] = Derivation::Joint { joint };
        let mut profiles: Vec<Profile> = references.columns.iter().map(Reference::empty_profile).collect();
        count(&table(), &references, &mut profiles);
        let error = &profiles[references.columns.iter().position(|of| of.column == "joint.pca_error").unwrap()];
        assert_eq!((error.rows(), error.usable()), (ROWS as u64, 0));
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
