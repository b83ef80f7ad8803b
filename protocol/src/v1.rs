//! V1, as TensorFlow Serving and KServe speak it: `{"instances": […]}` and `{"predictions": […]}`.
//!
//! An instance may be an object (its keys are the columns), an array (`feature_0`, `feature_1`, … or the names that the
//! configuration gives) or a single value (`feature_0`). A prediction is an object, an array (`prediction_0`, …) or a
//! single value (`prediction`). Arrays and objects inside become `name_0`, … and `name.key`.

use std::borrow::Cow;

use serde::Deserialize;

use crate::decode::{DecodeError, Naming};
use crate::json::Value;
use crate::rows::{Cell, ColumnsByName, Role};

#[derive(Deserialize)]
struct Request<'a> {
    #[serde(borrow)]
    instances: Vec<Value<'a>>,
}

#[derive(Deserialize)]
struct Response<'a> {
    #[serde(borrow)]
    predictions: Vec<Value<'a>>,
}

pub(crate) fn request<'a>(body: &'a [u8], naming: &'a Naming) -> Result<ColumnsByName<'a>, DecodeError> {
    let request: Request<'a> =
        serde_json::from_slice(body).map_err(|error| DecodeError::json(Role::Feature, &error))?;
    let position = |index: usize| match naming.features.get(index) {
        Some(name) => Cow::Borrowed(name.as_str()),
        None => Cow::Owned(format!("feature_{index}")),
    };
    rows(request.instances, &position, position(0))
}

pub(crate) fn response(body: &[u8]) -> Result<ColumnsByName<'_>, DecodeError> {
    let response: Response<'_> =
        serde_json::from_slice(body).map_err(|error| DecodeError::json(Role::Prediction, &error))?;
    rows(response.predictions, &|index| format!("prediction_{index}").into(), Cow::Borrowed("prediction"))
}

fn rows<'a>(
    instances: Vec<Value<'a>>,
    position: &dyn Fn(usize) -> Cow<'a, str>,
    single: Cow<'a, str>,
) -> Result<ColumnsByName<'a>, DecodeError> {
    let mut columns = ColumnsByName::default();
    for instance in instances {
        columns.next_row()?;
        match instance {
            Value::Scalar(cell) => columns.set(single.clone(), plain(cell))?,
            Value::Array(values) => {
                let mut index = 0;
                set_array(&mut columns, values, position, &mut index)?;
            }
            Value::Object(entries) => set_object(&mut columns, entries, "")?,
        }
    }
    Ok(columns)
}

/// JSON knows only numbers; that some are written without a fraction says nothing about the column.
fn plain(cell: Cell<'_>) -> Cell<'_> {
    match cell {
        Cell::Integer(value) => Cell::Number(value as f64),
        cell => cell,
    }
}

fn set_array<'a>(
    columns: &mut ColumnsByName<'a>,
    values: Vec<Value<'a>>,
    position: &dyn Fn(usize) -> Cow<'a, str>,
    index: &mut usize,
) -> Result<(), DecodeError> {
    for value in values {
        match value {
            Value::Scalar(cell) => {
                columns.set(position(*index), plain(cell))?;
                *index += 1;
            }
            Value::Array(values) => set_array(columns, values, position, index)?,
            Value::Object(entries) => {
                set_object(columns, entries, &format!("{}.", position(*index)))?;
                *index += 1;
            }
        }
    }
    Ok(())
}

fn set_object<'a>(
    columns: &mut ColumnsByName<'a>,
    entries: Vec<(Cow<'a, str>, Value<'a>)>,
    prefix: &str,
) -> Result<(), DecodeError> {
    for (key, value) in entries {
        let name: Cow<'a, str> = if prefix.is_empty() { key } else { format!("{prefix}{key}").into() };
        match value {
            Value::Scalar(cell) => columns.set(name, plain(cell))?,
            Value::Array(values) => {
                let mut index = 0;
                set_array(columns, values, &|index| format!("{name}_{index}").into(), &mut index)?;
            }
            Value::Object(entries) => set_object(columns, entries, &format!("{name}."))?,
        }
    }
    Ok(())
}
