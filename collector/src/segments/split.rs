//! Whose a row is.

use std::collections::HashMap;

use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, Int64Type};
use arrow_array::{Array, ArrayRef, RecordBatch};
use arrow_schema::DataType;
use driftline_detectors::Parting;

use crate::filter::Filter;
use crate::pipeline::cells::number_category;
use crate::pipeline::columns::archived_name;

/// How rows are told apart. Reference and windows are parted by the same code, on columns as they are archived.
#[derive(Debug)]
pub(crate) enum Split {
    /// By a column: the places of its named values; the rest is at the last.
    Column { archived: String, places: HashMap<String, usize>, rest: usize },
    /// By a condition.
    Condition(Filter),
}

impl Split {
    /// # Errors
    /// When the condition cannot be read.
    pub(crate) fn new(parting: &Parting) -> Result<Self, String> {
        match parting {
            Parting::Column { name, values } => Ok(Self::Column {
                archived: archived_name(name).into_owned(),
                places: values.iter().enumerate().map(|(place, value)| (value.clone(), place)).collect(),
                rest: values.len(),
            }),
            Parting::Condition { name, holds } => match Filter::parse(holds) {
                Ok(filter) => Ok(Self::Condition(filter)),
                Err(why) => Err(format!("'{holds}', the condition of segment '{name}': {why}")),
            },
        }
    }

    /// The archived columns that it looks at.
    pub(crate) fn columns(&self) -> Vec<&str> {
        match self {
            Self::Column { archived, .. } => vec![archived],
            Self::Condition(filter) => filter.columns(),
        }
    }

    /// The place of each row's segment among those of the parting; none where it is of none.
    pub(crate) fn places(&self, batch: &RecordBatch) -> Vec<Option<usize>> {
        let rows = batch.num_rows();
        match self {
            Self::Condition(filter) => {
                filter.matches(batch).iter().map(|holds| (holds == Some(true)).then_some(0)).collect()
            }
            Self::Column { archived, places, rest } => match batch.column_by_name(archived) {
                None => vec![Some(*rest); rows],
                Some(column) => (0..rows)
                    .map(|row| Some(with_name(column, row, |name| places.get(name).copied()).unwrap_or(*rest)))
                    .collect(),
            },
        }
    }
}

/// What the name of a value gives, as references have it; none of what has no name.
fn with_name(column: &ArrayRef, row: usize, take: impl FnOnce(&str) -> Option<usize>) -> Option<usize> {
    if column.is_null(row) {
        return None;
    }
    match column.data_type() {
        DataType::Utf8 => take(column.as_string::<i32>().value(row)),
        DataType::Boolean => take(if column.as_boolean().value(row) { "true" } else { "false" }),
        DataType::Int64 => take(&column.as_primitive::<Int64Type>().value(row).to_string()),
        DataType::Float64 => take(&number_category(column.as_primitive::<Float64Type>().value(row))),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_array::{BooleanArray, Float64Array, Int64Array, StringArray};

    use super::*;

    fn places(values: &[&str], column: ArrayRef) -> Vec<Option<usize>> {
        let values = values.iter().map(|value| (*value).to_owned()).collect();
        let split = Split::new(&Parting::Column { name: "x".into(), values }).unwrap();
        split.places(&RecordBatch::try_from_iter([("x", column)]).unwrap())
    }

    #[test]
    fn every_row_is_of_one_segment_of_a_column_whatever_its_type() {
        let texts = Arc::new(StringArray::from(vec![Some("JFK"), Some("LGA"), Some("EWR"), None]));
        assert_eq!(places(&["EWR", "JFK"], texts), [Some(1), Some(2), Some(0), Some(2)]);
        assert_eq!(places(&["7"], Arc::new(Float64Array::from(vec![7.0, 7.5, f64::NAN]))), [Some(0), Some(1), Some(1)]);
        assert_eq!(places(&["7"], Arc::new(Int64Array::from(vec![7, 8]))), [Some(0), Some(1)]);
        assert_eq!(places(&["true"], Arc::new(BooleanArray::from(vec![true, false]))), [Some(0), Some(1)]);
        let absent = Split::new(&Parting::Column { name: "y".into(), values: vec!["1".into()] }).unwrap();
        let batch = RecordBatch::try_from_iter([("x", Arc::new(Int64Array::from(vec![1])) as ArrayRef)]).unwrap();
        assert_eq!(absent.places(&batch), [Some(1)], "what is not sent is of the rest");
    }

    #[test]
    fn rows_for_which_a_condition_does_not_hold_are_of_no_segment_of_it() {
        let parting = Parting::Condition { name: "long".into(), holds: "x > 7".into() };
        let batch = RecordBatch::try_from_iter([("x", Arc::new(Int64Array::from(vec![1, 8])) as ArrayRef)]).unwrap();
        assert_eq!(Split::new(&parting).unwrap().places(&batch), [None, Some(0)]);
    }
}
