//! V1, as TensorFlow Serving and KServe speak it.
//!
//! ```json
//! {"signature_name": "serving_default", "instances": [{"temp": 39.02, "carrier": "UA"}, {"temp": 41.0, "carrier": "DL"}]}
//! {"predictions": [0.25, 0.5]}
//! ```
//!
//! Besides rows (`instances`, `predictions`) there are columns (`inputs`, `outputs`: one tensor, or an object of them) and
//! what `:classify` and `:regress` take and give (`examples` with their `context`, `results`). A class's score is a column
//! by its label.

use std::borrow::Cow;

use crate::bodies::Bodies;
use crate::decode::{DecodeError, Naming, joined};
use crate::flatten::{self, Unnamed};
use crate::json::{self, Entries, Value, take};
use crate::rows::{Cell, ColumnsByName, Role, Rows};

pub(crate) fn rows<'a>(bodies: &Bodies<'a>, naming: &'a Naming) -> Result<Rows<'a>, DecodeError> {
    let missing = |role, what: &str| DecodeError::Malformed { role, what: format!("it has none of {what}") };
    let features = features(&mut object(bodies.request, Role::Feature)?, naming)?
        .ok_or_else(|| missing(Role::Feature, "'instances', 'inputs' and 'examples'"))?;
    let predictions = match bodies.response {
        None => None,
        Some(body) => Some(
            predictions(&mut object(body, Role::Prediction)?)?
                .ok_or_else(|| missing(Role::Prediction, "'predictions', 'outputs' and 'results'"))?,
        ),
    };
    joined(features, predictions)
}

fn object(body: &[u8], role: Role) -> Result<Entries<'_>, DecodeError> {
    match json::read(body, role)? {
        Value::Object(entries) => Ok(entries),
        _ => Err(DecodeError::Malformed { role, what: "it is no object".to_owned() }),
    }
}

/// The rows of a request; none when it has no key of V1's.
pub(crate) fn features<'a>(
    request: &mut Entries<'a>,
    naming: &'a Naming,
) -> Result<Option<ColumnsByName<'a>>, DecodeError> {
    let unnamed = Unnamed::Features(naming);
    if let Some(value) = take(request, "instances").or_else(|| take(request, "inputs")) {
        return flatten::rows_or_columns(value, unnamed).map(Some);
    }
    let Some(Value::Array(examples)) = take(request, "examples") else { return Ok(None) };
    let mut columns = flatten::rows(examples, unnamed)?;
    if let Some(context) = take(request, "context") {
        columns.share(flatten::rows(vec![context], unnamed)?, Role::Feature)?;
    }
    Ok(Some(columns))
}

/// The rows of a response; none when it has no key of V1's.
pub(crate) fn predictions<'a>(response: &mut Entries<'a>) -> Result<Option<ColumnsByName<'a>>, DecodeError> {
    if let Some(value) = take(response, "predictions").or_else(|| take(response, "outputs")) {
        return flatten::rows_or_columns(value, Unnamed::Predictions).map(Some);
    }
    // The documentation says `result`; the server, `results`.
    match take(response, "results").or_else(|| take(response, "result")) {
        Some(Value::Array(results)) => flatten::rows(results.into_iter().map(classes), Unnamed::Predictions).map(Some),
        _ => Ok(None),
    }
}

/// A list of labels with their scores as an object; anything else as it is.
fn classes(result: Value<'_>) -> Value<'_> {
    let is_pair = |value: &Value<'_>| {
        let Value::Array(pair) = value else { return false };
        matches!(pair.as_slice(), [Value::Scalar(Cell::Text(_)), Value::Scalar(Cell::Number(_) | Cell::Integer(_))])
    };
    match result {
        Value::Array(pairs) if !pairs.is_empty() && pairs.iter().all(is_pair) => {
            Value::Object(pairs.into_iter().enumerate().filter_map(class).collect())
        }
        result => result,
    }
}

/// A label and its score. Models without a vocabulary have empty labels.
fn class((index, pair): (usize, Value<'_>)) -> Option<(Cow<'_, str>, Value<'_>)> {
    let Value::Array(pair) = pair else { return None };
    let mut pair = pair.into_iter();
    let (Some(Value::Scalar(Cell::Text(label))), Some(score)) = (pair.next(), pair.next()) else { return None };
    let name = if label.is_empty() { format!("prediction_{index}").into() } else { label };
    Some((name, score))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recorded::{JSON, exchange, rows};

    fn decoded(request: &str, response: &str) -> Result<Vec<String>, &'static str> {
        rows(&exchange("/v1/models/m:predict", (JSON, request), (JSON, response)), &Naming::default())
    }

    #[test]
    fn rows_and_columns_of_the_same_tensors_are_the_same() {
        // The shapes of TensorFlow Serving's documented examples.
        let rows = r#"{"signature_name": "serving_default", "instances": [
            {"tag": "foo", "signal": [1, 2, 3, 4, 5], "sensor": [[1, 2], [3, 4]]},
            {"tag": "bar", "signal": [3, 4, 1, 2, 5], "sensor": [[4, 5], [6, 8]]}]}"#;
        let columns = r#"{"inputs": {"tag": ["foo", "bar"], "signal": [[1, 2, 3, 4, 5], [3, 4, 1, 2, 5]],
            "sensor": [[[1, 2], [3, 4]], [[4, 5], [6, 8]]]}}"#;
        let expected = decoded(rows, r#"{"predictions": [{"p": 0.5}, {"p": 0.25}]}"#);
        assert_eq!(expected, decoded(columns, r#"{"outputs": {"p": [0.5, 0.25]}}"#));
        let expected = expected.unwrap();
        assert!(expected[1].starts_with("tag=\"bar\" signal_0=3.0") && expected[1].ends_with("sensor_3=8.0 p=0.25"));
    }

    #[test]
    fn one_tensor_needs_no_name() {
        let expected = ["feature_0=1.0 feature_1=2.0 prediction=0.5", "feature_0=3.0 feature_1=4.0 prediction=0.25"];
        for outputs in ["predictions", "outputs"] {
            let response = format!(r#"{{"{outputs}": [0.5, 0.25]}}"#);
            assert_eq!(decoded(r#"{"inputs": [[1, 2], [3, 4]]}"#, &response).unwrap(), expected);
        }
    }

    #[test]
    fn classes_are_columns_by_their_labels() {
        let request =
            r#"{"signature_name": "classify", "context": {"site": "a"}, "examples": [{"x": [1.5]}, {"x": [2]}]}"#;
        let response = r#"{"results": [[["cat", 0.75], ["dog", 0.25]], [["dog", 1], ["cat", 0]]]}"#;
        let expected = ["x_0=1.5 site=\"a\" cat=0.75 dog=0.25", "x_0=2.0 site=\"a\" cat=0.0 dog=1.0"];
        assert_eq!(decoded(request, response).unwrap(), expected);
        let unlabelled = decoded(request, r#"{"result": [[["", 0.75], ["", 0.25]], [["", 1], ["", 0]]]}"#).unwrap();
        assert!(unlabelled[0].ends_with("prediction_0=0.75 prediction_1=0.25"), "{unlabelled:?}");
        assert!(decoded(request, r#"{"results": [2.5, 3]}"#).unwrap()[1].ends_with("prediction=3.0"));
    }

    #[test]
    fn what_says_nothing_is_refused() {
        let response = r#"{"predictions": [1]}"#;
        for request in ["{}", r#"{"instances": null}"#, "[]", r#"{"examples": 1}"#, r#"{"instances": [1"#] {
            assert_eq!(decoded(request, response), Err("malformed"), "{request}");
        }
        assert_eq!(decoded(r#"{"instances": [1]}"#, r#"{"error": 1}"#), Err("malformed"));
        assert_eq!(decoded(r#"{"inputs": {"a": [1, 2], "b": [1]}}"#, response), Err("shape"));
        let shared = format!(r#"{{"context": {{"s": "{}"}}, "examples": [{{}}, {{}}]}}"#, "x".repeat(2000));
        assert_eq!(decoded(&shared, r#"{"results": [1, 2]}"#), Err("shape"));
    }
}
