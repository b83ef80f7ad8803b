//! From JSON values to columns, whatever the protocol.
//!
//! An object's keys are columns. What has no name is called by its place: `feature_0`, `feature_1`, … or the names that the
//! configuration gives, `prediction_0`, … or `prediction` where there is one value. Arrays and objects inside become
//! `name_0`, … and `name.key`.

use std::borrow::Cow;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::decode::{DecodeError, Naming};
use crate::json::{Entries, Value};
use crate::rows::{Cell, ColumnsByName, Role};

/// How values are called that have no name.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Unnamed<'a> {
    /// As the configuration says, or by their places.
    Features(&'a Naming),
    /// By their places.
    Predictions,
}

impl<'a> Unnamed<'a> {
    /// The name of a row's value at this place.
    pub(crate) fn at(self, index: usize) -> Cow<'a, str> {
        match self {
            Self::Features(naming) => match naming.features.get(index) {
                Some(name) => Cow::Borrowed(name.as_str()),
                None => Cow::Owned(format!("feature_{index}")),
            },
            Self::Predictions => Cow::Owned(format!("prediction_{index}")),
        }
    }

    /// The name of a row's only value.
    pub(crate) fn single(self) -> Cow<'a, str> {
        match self {
            Self::Features(_) => self.at(0),
            Self::Predictions => Cow::Borrowed("prediction"),
        }
    }

    /// Whose values they are.
    pub(crate) fn role(self) -> Role {
        match self {
            Self::Features(_) => Role::Feature,
            Self::Predictions => Role::Prediction,
        }
    }
}

/// Rows of whatever form: a list has one for each of its values, an object one column for each.
pub(crate) fn rows_or_columns<'a>(value: Value<'a>, unnamed: Unnamed<'a>) -> Result<ColumnsByName<'a>, DecodeError> {
    match opened(value) {
        Value::Array(values) => rows(values, unnamed),
        Value::Object(entries) => columns(entries, unnamed.role()),
        scalar @ Value::Scalar(_) => rows(vec![scalar], unnamed),
    }
}

/// A row of each value.
pub(crate) fn rows<'a>(
    values: impl IntoIterator<Item = Value<'a>>,
    unnamed: Unnamed<'a>,
) -> Result<ColumnsByName<'a>, DecodeError> {
    let mut columns = ColumnsByName::default();
    for value in values {
        columns.next_row()?;
        set_row(&mut columns, value, unnamed)?;
    }
    Ok(columns)
}

/// Sets the current row to a value.
pub(crate) fn set_row<'a>(
    columns: &mut ColumnsByName<'a>,
    value: Value<'a>,
    unnamed: Unnamed<'a>,
) -> Result<(), DecodeError> {
    match opened(value) {
        Value::Scalar(cell) => columns.set(unnamed.single(), cell),
        Value::Array(values) => set_array(columns, values, &|index| unnamed.at(index), &mut 0),
        Value::Object(entries) => set_object(columns, entries, ""),
    }
}

/// Rows of values that come column by column: the first dimension counts the rows. What has none is the same in all.
pub(crate) fn columns<'a>(tensors: Entries<'a>, role: Role) -> Result<ColumnsByName<'a>, DecodeError> {
    let mut shared = ColumnsByName::default();
    shared.next_row()?;
    let mut lists: Vec<(Cow<'a, str>, std::vec::IntoIter<Value<'a>>)> = Vec::with_capacity(tensors.len());
    let mut rows = None;
    for (name, value) in tensors {
        match opened(value) {
            Value::Array(values) => {
                let (count, expected) = (values.len(), *rows.get_or_insert(values.len()));
                if count != expected {
                    let what = format!("it has {count} rows, and what stands before it {expected}");
                    return Err(DecodeError::Shape { role, column: name.into_owned(), what });
                }
                lists.push((name, values.into_iter()));
            }
            value => set_named(&mut shared, name, value)?,
        }
    }
    let mut columns = ColumnsByName::default();
    for _ in 0..rows.unwrap_or(1) {
        columns.next_row()?;
        for (name, values) in &mut lists {
            if let Some(value) = values.next() {
                set_named(&mut columns, name.clone(), value)?;
            }
        }
    }
    columns.share(shared, role)?;
    Ok(columns)
}

/// Sets a column of the current row, or several where the value has several.
pub(crate) fn set_named<'a>(
    columns: &mut ColumnsByName<'a>,
    name: Cow<'a, str>,
    value: Value<'a>,
) -> Result<(), DecodeError> {
    match opened(value) {
        Value::Scalar(cell) => columns.set(name, cell),
        Value::Array(values) => set_array(columns, values, &|index| format!("{name}_{index}").into(), &mut 0),
        Value::Object(entries) => set_object(columns, entries, &format!("{name}.")),
    }
}

fn set_array<'a>(
    columns: &mut ColumnsByName<'a>,
    values: Vec<Value<'a>>,
    position: &dyn Fn(usize) -> Cow<'a, str>,
    index: &mut usize,
) -> Result<(), DecodeError> {
    for value in values {
        match opened(value) {
            Value::Scalar(cell) => {
                columns.set(position(*index), cell)?;
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

fn set_object<'a>(columns: &mut ColumnsByName<'a>, entries: Entries<'a>, prefix: &str) -> Result<(), DecodeError> {
    for (key, value) in entries {
        let name: Cow<'a, str> = if prefix.is_empty() { key } else { format!("{prefix}{key}").into() };
        set_named(columns, name, value)?;
    }
    Ok(())
}

/// A value as its model has it. JSON knows only numbers: that some are written without a fraction says nothing about the
/// column. And `{"b64": "…"}` is how JSON writes a string of bytes.
fn opened(value: Value<'_>) -> Value<'_> {
    match value {
        Value::Scalar(Cell::Integer(value)) => Value::Scalar(Cell::Number(value as f64)),
        Value::Object(entries) => match entries.as_slice() {
            [(key, Value::Scalar(Cell::Text(encoded)))] if key == "b64" => Value::Scalar(Cell::Text(bytes(encoded))),
            _ => Value::Object(entries),
        },
        value => value,
    }
}

/// Bytes that are text as text, and others, such as those of images, as they are written.
fn bytes<'a>(encoded: &Cow<'a, str>) -> Cow<'a, str> {
    let decoded = STANDARD.decode(encoded.as_bytes()).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    decoded.map_or_else(|| encoded.clone(), Cow::Owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rows::MAX_CELLS;

    fn read(body: &str) -> Result<Vec<String>, &'static str> {
        let value = crate::json::read(body.as_bytes(), Role::Feature).unwrap();
        let naming = Naming::default();
        let columns = rows_or_columns(value, Unnamed::Features(&naming)).map_err(|error| error.reason())?;
        let columns = columns.finish(Role::Feature);
        Ok(columns.iter().map(|column| format!("{}={:?}", column.name, column.cells)).collect())
    }

    #[test]
    fn columns_and_rows_of_the_same_values_are_the_same() {
        let rows = read(r#"[{"a": 1, "b": [1, 2]}, {"a": 2, "b": [3, 4]}]"#);
        assert_eq!(rows, read(r#"{"a": [1, 2], "b": [[1, 2], [3, 4]]}"#));
        assert_eq!(rows.unwrap().len(), 3);
    }

    #[test]
    fn what_has_no_dimension_is_in_every_row() {
        let columns = read(r#"{"a": [1, 2], "plan": "basic"}"#).unwrap();
        assert_eq!(columns[1], r#"plan=[Text("basic"), Text("basic")]"#);
        assert_eq!(read(r#"{"a": 1, "plan": "basic"}"#).unwrap().len(), 2, "and alone it is a row");
        assert_eq!(read(r#"{"a": [1, 2], "b": [1]}"#), Err("shape"));
    }

    #[test]
    fn bytes_that_are_text_are_text() {
        assert_eq!(read(r#"[{"b64": "Y2Fmw6k="}]"#).unwrap(), [r#"feature_0=[Text("café")]"#]);
        assert_eq!(read(r#"[{"image": {"b64": "/9j/4A=="}}]"#).unwrap(), [r#"image=[Text("/9j/4A==")]"#]);
        assert_eq!(read(r#"[{"b64": 1}, {"b64": "a", "c": 1}]"#).unwrap().len(), 2, "these are columns");
    }

    #[test]
    fn a_short_body_cannot_claim_gigabytes() {
        let list = format!("[{}0]", "0,".repeat(100_000));
        let long = "x".repeat(2000);
        assert_eq!(read(&format!(r#"{{"a": {list}, "b": "{long}"}}"#)), Err("shape"));
        assert_eq!(read(&format!(r#"{{"a": {list}, "b": {{"c": "{long}"}}}}"#)), Err("shape"));
        let wide: Vec<String> = (0..MAX_CELLS / 100_000).map(|index| format!(r#""c{index}": 1"#)).collect();
        assert_eq!(read(&format!(r#"{{"a": {list}, {}}}"#, wide.join(","))), Err("too_many_cells"));
        assert!(read(&format!(r#"{{"a": [0], "b": "{long}"}}"#)).is_ok(), "one row repeats nothing");
        let name = "n".repeat(1001);
        let read = crate::json::read(format!(r#"{{"{name}": 1}}"#).as_bytes(), Role::Feature).map(|_| ());
        assert!(read.unwrap_err().to_string().contains("1001 bytes"));
    }
}
