//! From columns of rows to profiles.

use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, Int64Type};
use arrow_array::{Array, ArrayRef};
use arrow_schema::DataType;
use driftline_detectors::{Profile, Reference};

use super::columns::archived_name;
use super::table::{Finished, number_category};

/// Counts a table's rows on the cells of the references, one profile for each.
pub(crate) fn count(table: &Finished, references: &[Reference], profiles: &mut [Profile]) {
    let rows = table.batch.num_rows() as u64;
    for (reference, profile) in references.iter().zip(profiles) {
        let Some(column) = table.batch.column_by_name(&archived_name(&reference.column)) else {
            reference.count_missing(profile, rows);
            continue;
        };
        let wrong_type = table.wrong_type.get(&*archived_name(&reference.column)).copied().unwrap_or(0);
        reference.count_wrong_type(profile, wrong_type);
        reference.count_missing(profile, column.null_count() as u64 - wrong_type);
        count_column(column, reference, profile);
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
        // A time is scored as no column: its age is an indicator of its own.
        _ => reference.count_wrong_type(profile, (column.len() - column.null_count()) as u64),
    }
}
