//! Seldon Core's protocol, version 1: `POST /api/v1.0/predictions`.
//!
//! ```json
//! {"data": {"names": ["temp", "wind"], "ndarray": [[39.02, 12], [41.0, 3]]}}
//! {"data": {"names": ["late"], "tensor": {"shape": [2, 1], "values": [0.25, 0.5]}}, "meta": {"puid": "k2c"}}
//! ```
//!
//! Instead of `data` there may be any JSON (`jsonData`), a text (`strData`) or bytes in base64 (`binData`). What is inside
//! is put as rows by their names, and then read as it comes; see [`crate::generic`].

use std::borrow::Cow;

use serde::Deserialize;

use crate::bodies::Bodies;
use crate::coding::MAX_DECOMPRESSED_BYTES;
use crate::decode::{DecodeError, Naming};
use crate::generic::{self, Dialect};
use crate::json::{Entries, Text, Value, take, typed};
use crate::rows::{Cell, Role, Rows};

const SELDON: Dialect = Dialect {
    opened,
    features: |_, _| Ok(None),
    predictions: |_| Ok(None),
    unwrapped: |value| value,
    text_is_csv: false,
};

pub(crate) fn rows<'a>(bodies: &Bodies<'a>, naming: &'a Naming) -> Result<Rows<'a>, DecodeError> {
    let mut rows = generic::rows_of(bodies, naming, &SELDON)?;
    if rows.id.is_none() {
        rows.id = bodies.response.and_then(id).or_else(|| id(bodies.request));
    }
    Ok(rows)
}

/// The rows of messages that were read as their JSON form would be.
pub(crate) fn rows_of_messages<'a>(
    request: Value<'a>,
    response: Option<Value<'a>>,
    naming: &'a Naming,
) -> Result<Rows<'a>, DecodeError> {
    generic::rows_of_values(request, response, naming, &SELDON)
}

/// The id that Seldon gives every request, and its answer repeats.
fn id(body: &[u8]) -> Option<Cow<'_, str>> {
    #[derive(Deserialize)]
    struct Message<'a> {
        #[serde(borrow)]
        meta: Option<Meta<'a>>,
    }
    #[derive(Deserialize)]
    struct Meta<'a> {
        #[serde(borrow)]
        puid: Option<Text<'a>>,
    }
    typed::<Message<'_>>(body).ok()?.meta?.puid.map(|Text(id)| id).filter(|id| !id.is_empty())
}

/// What a message holds, without what Seldon has around it.
fn opened(message: Value<'_>, role: Role) -> Result<Value<'_>, DecodeError> {
    let malformed = |what: &str| DecodeError::Malformed { role, what: what.to_owned() };
    let Value::Object(mut message) = message else { return Err(malformed("it is no object")) };
    if let Some(Value::Object(data)) = take(&mut message, "data") {
        return table(data).map_err(malformed);
    }
    ["jsonData", "strData", "binData"]
        .into_iter()
        .find_map(|name| take(&mut message, name))
        .ok_or_else(|| malformed("it has none of 'data', 'jsonData', 'strData' and 'binData'"))
}

/// The rows of a `DefaultData`.
fn table(mut data: Entries<'_>) -> Result<Value<'_>, &'static str> {
    let names: Vec<Cow<'_, str>> = match take(&mut data, "names") {
        Some(Value::Array(names)) => names.into_iter().map(name).collect::<Result<_, _>>()?,
        _ => Vec::new(),
    };
    let values = match (take(&mut data, "ndarray"), take(&mut data, "tensor")) {
        (Some(Value::Array(rows)), _) => rows,
        (_, Some(Value::Object(tensor))) => rows_of_tensor(tensor)?,
        _ => return Err("its data has neither an 'ndarray' nor a 'tensor'"),
    };
    // A name with escapes is written again for each row.
    let written = names.iter().map(|name| if let Cow::Owned(name) = name { name.len() } else { 0 }).sum::<usize>();
    if written.saturating_mul(values.len()) > MAX_DECOMPRESSED_BYTES {
        return Err("its names, written for each row, have more bytes than a body may have");
    }
    let is_flat = values.iter().all(|value| matches!(value, Value::Scalar(_)));
    // As many values as names are one row of them.
    if is_flat && names.len() > 1 && names.len() == values.len() {
        return Ok(Value::Array(vec![named(&names, Value::Array(values))]));
    }
    Ok(Value::Array(values.into_iter().map(|row| named(&names, row)).collect()))
}

fn name(value: Value<'_>) -> Result<Cow<'_, str>, &'static str> {
    match value {
        Value::Scalar(Cell::Text(name)) => Ok(name),
        _ => Err("a name is no text"),
    }
}

/// A row by the names of its values, where there are as many.
fn named<'a>(names: &[Cow<'a, str>], row: Value<'a>) -> Value<'a> {
    match row {
        Value::Array(values) if values.len() == names.len() && !names.is_empty() => {
            Value::Object(names.iter().cloned().zip(values).collect())
        }
        Value::Scalar(cell) if names.len() == 1 => Value::Object(vec![(names[0].clone(), Value::Scalar(cell))]),
        row => row,
    }
}

/// The rows of values that lie one after another: the first dimension counts them.
fn rows_of_tensor(mut tensor: Entries<'_>) -> Result<Vec<Value<'_>>, &'static str> {
    const NO_FIT: &str = "its tensor's shape does not hold its values";
    let shape = match take(&mut tensor, "shape") {
        Some(Value::Array(sizes)) => sizes.into_iter().map(size).collect::<Option<Vec<usize>>>(),
        _ => None,
    };
    let (Some(shape), Some(Value::Array(values))) = (shape, take(&mut tensor, "values")) else {
        return Err("its tensor has no 'shape' of whole numbers, or no 'values'");
    };
    let (count, rest) = shape.split_first().ok_or(NO_FIT)?;
    let width = rest.iter().try_fold(1usize, |product, size| product.checked_mul(*size)).ok_or(NO_FIT)?;
    if count.checked_mul(width) != Some(values.len()) {
        return Err(NO_FIT);
    }
    if rest.is_empty() || values.is_empty() {
        return Ok(values);
    }
    let mut values = values.into_iter();
    Ok((0..*count).map(|_| Value::Array(values.by_ref().take(width).collect())).collect())
}

fn size(value: Value<'_>) -> Option<usize> {
    if let Value::Scalar(Cell::Integer(size)) = value { usize::try_from(size).ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recorded::{JSON, exchange, rows};

    fn decoded(request: &str, response: &str) -> Result<Vec<String>, &'static str> {
        rows(&exchange("/api/v1.0/predictions", (JSON, request), (JSON, response)), &Naming::default())
    }

    #[test]
    fn arrays_and_tensors_of_the_same_values_are_the_same() {
        let expected = ["temp=39.02 wind=12.0 late=0.25", "temp=41.0 wind=3.0 late=0.5"];
        for request in [
            r#"{"data": {"names": ["temp", "wind"], "ndarray": [[39.02, 12], [41, 3]]}}"#,
            r#"{"data": {"names": ["temp", "wind"], "tensor": {"shape": [2, 2], "values": [39.02, 12, 41, 3]}}}"#,
        ] {
            for response in [
                r#"{"data": {"names": ["late"], "ndarray": [[0.25], [0.5]]}, "meta": {}}"#,
                r#"{"data": {"names": ["late"], "ndarray": [0.25, 0.5]}}"#,
                r#"{"data": {"names": ["late"], "tensor": {"shape": [2], "values": [0.25, 0.5]}}}"#,
                r#"{"data": {"names": ["late"], "tensor": {"shape": [2, 1], "values": [0.25, 0.5]}}}"#,
            ] {
                assert_eq!(decoded(request, response).unwrap(), expected, "{request} {response}");
            }
        }
    }

    #[test]
    fn what_has_no_name_is_called_by_its_place() {
        let request = r#"{"data": {"ndarray": [[1, "UA"], [2, "DL"]]}}"#;
        let response = r#"{"data": {"names": ["t:0"], "ndarray": [[0.25, 0.75], [0.5, 0.5]]}}"#;
        let expected = "feature_0=1.0 feature_1=\"UA\" prediction_0=0.25 prediction_1=0.75";
        assert_eq!(decoded(request, response).unwrap()[0], expected);
        assert_eq!(
            decoded(request, r#"{"data": {"ndarray": [0, 1]}}"#).unwrap()[1],
            "feature_0=2.0 feature_1=\"DL\" prediction=1.0"
        );
        let one = r#"{"data": {"names": ["a", "b"], "ndarray": [1, 2]}}"#;
        assert_eq!(decoded(one, r#"{"strData": "yes"}"#).unwrap(), ["a=1.0 b=2.0 prediction=\"yes\""]);
    }

    #[test]
    fn json_and_text_are_read_as_they_come() {
        let request = r#"{"jsonData": {"age": 39, "address": {"city": "Oslo"}}}"#;
        assert_eq!(
            decoded(request, r#"{"jsonData": {"score": 0.5}}"#).unwrap(),
            ["age=39.0 address.city=\"Oslo\" score=0.5"]
        );
        let request = r#"{"jsonData": [{"age": 39}, {"age": 52}]}"#;
        assert_eq!(
            decoded(request, r#"{"jsonData": [0.5, 0.25]}"#).unwrap(),
            ["age=39.0 prediction=0.5", "age=52.0 prediction=0.25"]
        );
        assert_eq!(
            decoded(r#"{"strData": "a good film"}"#, r#"{"strData": "positive"}"#).unwrap(),
            [r#"feature_0="a good film" prediction="positive""#]
        );
    }

    #[test]
    fn the_id_is_seldons_and_paths_may_name_the_deployment() {
        let path = "/seldon/models/flights/api/v1.0/predictions";
        let body = r#"{"data": {"ndarray": [[1]]}, "meta": {"puid": "k2c", "tags": {}}}"#;
        let exchange = exchange(path, (JSON, r#"{"data": {"ndarray": [[1]]}}"#), (JSON, body));
        let naming = Naming::default();
        assert_eq!(crate::decode_rows(&exchange, &naming).unwrap().id.as_deref(), Some("k2c"));
        assert_eq!(crate::inference_path("POST", path).unwrap().model, "flights");
    }

    #[test]
    fn what_does_not_add_up_is_refused_with_a_reason() {
        let answer = r#"{"data": {"ndarray": [[1]]}}"#;
        for request in [
            "[]",
            "{}",
            r#"{"data": {}}"#,
            r#"{"data": {"tftensor": {}}}"#,
            r#"{"data": {"names": [1], "ndarray": [[1]]}}"#,
            r#"{"data": {"tensor": {"shape": [2, 2], "values": [1]}}}"#,
            r#"{"data": {"tensor": {"shape": [9223372036854775807, 9223372036854775807], "values": [1]}}}"#,
            r#"{"data": {"tensor": {"shape": [-1], "values": [1]}}}"#,
            r#"{"data": {"tensor": {"values": [1]}}}"#,
        ] {
            assert_eq!(decoded(request, answer), Err("malformed"), "{request}");
        }
        let escaped =
            format!(r#"{{"data": {{"names": ["\u00f6{}"], "ndarray": [{}1]}}}}"#, "n".repeat(1 << 20), "1,".repeat(20));
        assert_eq!(decoded(&escaped, answer), Err("malformed"));
        let zero = r#"{"data": {"tensor": {"shape": [1000000000, 0], "values": []}}}"#;
        assert!(decoded(zero, answer).unwrap().len() <= 1);
        assert_eq!(decoded(r#"{"data": {"ndarray": [[1], [2]]}}"#, answer), Err("row_mismatch"));
    }
}
