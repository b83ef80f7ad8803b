//! `POST /invocations`, as MLflow's scoring server and SageMaker's containers have it.
//!
//! ```json
//! {"dataframe_split": {"columns": ["temp", "carrier"], "data": [[39.02, "UA"], [41.0, "DL"]]}}
//! {"predictions": [0.25, 0.5]}
//! ```
//!
//! Keys tell MLflow's forms (`dataframe_split`, `dataframe_records`, `inputs`, `instances`; `params` is of no row), and the
//! content type SageMaker's: CSV, with a header line or without, and JSON lines. Its own algorithms wrap a row's values in
//! `{"features": […]}` or `{"data": {"features": {"values": […]}}}`, sparse ones with their `keys` and `shape`.

use std::borrow::Cow;

use crate::bodies::Bodies;
use crate::decode::{DecodeError, Naming};
use crate::flatten::{self, Unnamed};
use crate::format::Format;
use crate::generic::{self, Dialect};
use crate::json::{Entries, Value, take};
use crate::rows::{Cell, ColumnsByName, MAX_COLUMNS, Role, Rows};
use crate::{openai, v1};

const INVOCATIONS: Dialect =
    Dialect { opened: |body, _| Ok(body), features, predictions: v1::predictions, unwrapped, text_is_csv: true };

pub(crate) fn rows<'a>(bodies: &Bodies<'a>, naming: &'a Naming) -> Result<Rows<'a>, DecodeError> {
    // MLflow serves chat models, too, by OpenAI's bodies.
    if naming.body.is_none() && bodies.format(Role::Feature) == Ok(Format::Json) && openai::is_chat(bodies.request) {
        return openai::rows(bodies);
    }
    generic::rows_of(bodies, naming, &INVOCATIONS)
}

fn features<'a>(request: &mut Entries<'a>, naming: &'a Naming) -> Result<Option<ColumnsByName<'a>>, DecodeError> {
    let unnamed = Unnamed::Features(naming);
    if let Some(Value::Object(mut split)) = take(request, "dataframe_split") {
        return self::split(&mut split, unnamed);
    }
    if let Some(Value::Array(records)) = take(request, "dataframe_records") {
        return flatten::rows(records, unnamed).map(Some);
    }
    match take(request, "instances") {
        Some(Value::Array(instances)) => {
            return flatten::rows(instances.into_iter().map(unwrapped), unnamed).map(Some);
        }
        Some(instances) => return flatten::rows_or_columns(instances, unnamed).map(Some),
        None => {}
    }
    match v1::features(request, naming)? {
        Some(columns) => Ok(Some(columns)),
        // Before MLflow 2 a frame was the whole body.
        None if request.iter().any(|(name, _)| name == "columns") => split(request, unnamed),
        None => Ok(None),
    }
}

/// A frame as pandas splits it; none without its rows.
fn split<'a>(frame: &mut Entries<'a>, unnamed: Unnamed<'a>) -> Result<Option<ColumnsByName<'a>>, DecodeError> {
    let names = match take(frame, "columns") {
        Some(Value::Array(names)) => names.into_iter().map(name).collect(),
        _ => Vec::new(),
    };
    let Some(Value::Array(data)) = take(frame, "data") else { return Ok(None) };
    let mut columns = ColumnsByName::default();
    for values in data {
        columns.next_row()?;
        let Value::Array(values) = values else {
            flatten::set_row(&mut columns, values, unnamed)?;
            continue;
        };
        if !names.is_empty() && values.len() != names.len() {
            let what = format!("a row has {} values, and the frame {} columns", values.len(), names.len());
            return Err(DecodeError::Malformed { role: Role::Feature, what });
        }
        for (index, value) in values.into_iter().enumerate() {
            let name = names.get(index).cloned().unwrap_or_else(|| unnamed.at(index));
            flatten::set_named(&mut columns, name, value)?;
        }
    }
    Ok(Some(columns))
}

/// The name of a frame's column: a text, a number, or several of them where columns have levels.
fn name(value: Value<'_>) -> Cow<'_, str> {
    match value {
        Value::Scalar(Cell::Text(text)) => text,
        Value::Scalar(Cell::Integer(number)) => number.to_string().into(),
        Value::Scalar(Cell::Number(number)) => number.to_string().into(),
        Value::Scalar(Cell::Boolean(value)) => value.to_string().into(),
        Value::Array(levels) => levels.into_iter().map(name).collect::<Vec<_>>().join(".").into(),
        _ => Cow::Borrowed(""),
    }
}

/// A row's values without what SageMaker's algorithms wrap them in.
fn unwrapped(row: Value<'_>) -> Value<'_> {
    let Value::Object(entries) = &row else { return row };
    let values = match entries.as_slice() {
        [(key, values @ Value::Array(_))] if key == "features" => Some(values.clone()),
        [(key, Value::Object(data))] if key == "data" => match data.iter().find(|(key, _)| key == "features") {
            Some((_, Value::Object(tensor))) => values_of(tensor),
            _ => None,
        },
        _ => None,
    };
    values.unwrap_or(row)
}

/// The values of one row's tensor, which may be sparse; none where it is neither.
fn values_of<'a>(tensor: &Entries<'a>) -> Option<Value<'a>> {
    let list = |name: &str| match tensor.iter().find(|(key, _)| key == name) {
        Some((_, Value::Array(values))) => Some(values),
        _ => None,
    };
    match list("keys") {
        Some(keys) => dense(keys, list("values")?, list("shape")?).map(Value::Array),
        None => list("values").map(|values| Value::Array(values.clone())),
    }
}

/// A sparse row as its model has it: zeros, and values at the places that its keys name.
fn dense<'a>(keys: &[Value<'a>], values: &[Value<'a>], shape: &[Value<'a>]) -> Option<Vec<Value<'a>>> {
    let place = |value: &Value<'_>| match value {
        Value::Scalar(Cell::Integer(place)) => usize::try_from(*place).ok(),
        _ => None,
    };
    let [width] = shape else { return None };
    let width = place(width)?;
    // A few bytes may claim any width: what is too wide for a table is one column too wide here.
    let mut row = vec![Value::Scalar(Cell::Integer(0)); width.min(MAX_COLUMNS + 1)];
    if width <= MAX_COLUMNS {
        for (key, value) in keys.iter().zip(values) {
            *row.get_mut(place(key)?)? = value.clone();
        }
    }
    (keys.len() == values.len()).then_some(row)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recorded::{CSV, JSON, LINES, exchange, rows};

    fn decoded(request: (&str, &str), response: (&str, &str)) -> Result<Vec<String>, &'static str> {
        rows(&exchange("/invocations", request, response), &Naming::default())
    }

    const TWO: (&str, &str) = (JSON, r#"{"predictions": [0.25, 0.5]}"#);
    const EXPECTED: [&str; 2] = ["temp=39.02 carrier=\"UA\" prediction=0.25", "temp=-1.0 carrier=- prediction=0.5"];

    #[test]
    fn mlflows_forms_give_the_same_rows() {
        for request in [
            r#"{"dataframe_split": {"index": [0, 1], "columns": ["temp", "carrier"], "data": [[39.02, "UA"], [-1, null]]}}"#,
            r#"{"dataframe_records": [{"temp": 39.02, "carrier": "UA"}, {"temp": -1, "carrier": null}]}"#,
            r#"{"inputs": {"temp": [39.02, -1], "carrier": ["UA", null]}, "params": {"threshold": 0.5}}"#,
            r#"{"instances": [{"temp": 39.02, "carrier": "UA"}, {"temp": -1}]}"#,
            r#"{"columns": ["temp", "carrier"], "data": [[39.02, "UA"], [-1, null]]}"#,
            r#"[{"temp": 39.02, "carrier": "UA"}, {"temp": -1}]"#,
        ] {
            assert_eq!(decoded((JSON, request), TWO).unwrap(), EXPECTED, "{request}");
        }
        let records = r#"{"dataframe_records": [{"temp": 39.02, "carrier": "UA"}, {"temp": -1}]}"#;
        assert_eq!(decoded((JSON, records), (JSON, "[0.25, 0.5]")).unwrap(), EXPECTED, "as MLflow 1 answered");
    }

    #[test]
    fn frames_may_lack_names_and_have_levels() {
        let split = |frame: &str| {
            decoded((JSON, &format!(r#"{{"dataframe_split": {frame}}}"#)), (JSON, r#"{"predictions": [1]}"#))
        };
        assert_eq!(split(r#"{"data": [[1, 2]]}"#).unwrap(), ["feature_0=1.0 feature_1=2.0 prediction=1.0"]);
        assert_eq!(
            split(r#"{"columns": [["a", "x"], 7], "data": [[1, 2]]}"#).unwrap(),
            ["a.x=1.0 7=2.0 prediction=1.0"]
        );
        assert_eq!(split(r#"{"columns": ["a"], "data": [[1, 2]]}"#), Err("malformed"));
        assert_eq!(split(r#"{"columns": ["a"], "data": [[]]}"#), Err("malformed"));
    }

    #[test]
    fn csv_has_a_header_or_none() {
        let fields = ["temp='39.02' carrier='UA' prediction=0.25", "temp='-1' carrier=- prediction=0.5"];
        assert_eq!(decoded((CSV, "temp,carrier\n39.02,UA\n-1,\n"), TWO).unwrap(), fields);
        let unnamed: Vec<String> =
            fields.iter().map(|row| row.replace("temp", "feature_0").replace("carrier", "feature_1")).collect();
        assert_eq!(decoded((CSV, "39.02,UA\n-1,\n"), TWO).unwrap(), unnamed);
        assert_eq!(decoded(("text/csv; header=present", "temp,carrier\n39.02,UA\n-1,"), TWO).unwrap(), fields);
        let naming = Naming { features: vec!["temp".into(), "carrier".into()], ..Naming::default() };
        assert_eq!(rows(&exchange("/invocations", (CSV, "39.02,UA\n-1,\n"), TWO), &naming).unwrap(), fields);
    }

    #[test]
    fn the_answer_knows_whether_a_first_line_of_words_is_a_row() {
        let words = "carrier,origin\nUA,JFK\nDL,LGA\n";
        let below = decoded((CSV, words), (JSON, "[1, 2]")).unwrap();
        assert_eq!(below[0], "carrier='UA' origin='JFK' prediction=1.0");
        let all = decoded((CSV, words), (JSON, "[1, 2, 3]")).unwrap();
        assert_eq!(all[0], "feature_0='carrier' feature_1='origin' prediction=1.0");
        assert_eq!(decoded((CSV, words), (JSON, "[1, 2, 3, 4]")), Err("row_mismatch"));
        assert_eq!(decoded(("text/csv; header=present", words), (JSON, "[1, 2, 3]")), Err("row_mismatch"));
    }

    #[test]
    fn sagemakers_answers_come_in_its_three_formats() {
        let request = (CSV, "1,2\n3,4\n");
        let ends = |response: (&str, &str), expected: &str| {
            let last = decoded(request, response).unwrap().pop().unwrap();
            assert_eq!(last, format!("feature_0='3' feature_1='4' {expected}"), "{response:?}");
        };
        ends((CSV, "0.25\n0.5\n"), "prediction='0.5'");
        ends(("text/html; charset=utf-8", "0.25,0.5"), "prediction='0.5'");
        ends((CSV, "0,0.25\n1,0.5\n"), "prediction_0='1' prediction_1='0.5'");
        ends((LINES, "{\"score\": 0.25}\n{\"score\": 0.5}\n"), "score=0.5");
        ends(
            (JSON, r#"{"predictions": [{"score": 0.25, "predicted_label": 0}, {"score": 0.5, "predicted_label": 1}]}"#),
            "score=0.5 predicted_label=1.0",
        );
    }

    #[test]
    fn what_sagemakers_algorithms_wrap_rows_in_is_no_part_of_names() {
        let one = (JSON, r#"{"predictions": [{"score": 0.5}]}"#);
        let expected = ["feature_0=1.5 feature_1=16.0 score=0.5"];
        let features = r#"{"features": [1.5, 16.0]}"#;
        let values = r#"{"data": {"features": {"values": [1.5, 16.0]}}}"#;
        for row in [features, values, "[1.5, 16.0]"] {
            assert_eq!(decoded((LINES, &format!("{row}\n")), one).unwrap(), expected, "{row}");
            assert_eq!(decoded((JSON, &format!(r#"{{"instances": [{row}]}}"#)), one).unwrap(), expected, "{row}");
        }
    }

    #[test]
    fn sparse_rows_have_zeros_where_they_name_no_value() {
        let sparse = |tensor: &str| {
            decoded((LINES, &format!(r#"{{"data": {{"features": {tensor}}}}}"#)), (JSON, r#"{"predictions": [1]}"#))
        };
        let row = sparse(r#"{"keys": [0, 3], "shape": [4], "values": [1, 2.5]}"#).unwrap();
        assert_eq!(row, ["feature_0=1.0 feature_1=0.0 feature_2=0.0 feature_3=2.5 prediction=1.0"]);
        assert_eq!(sparse(r#"{"keys": [], "shape": [1], "values": []}"#).unwrap(), ["feature_0=0.0 prediction=1.0"]);
        for shape in ["1001", "9223372036854775807"] {
            let wide = format!(r#"{{"keys": [26, 431], "shape": [{shape}], "values": [1, 1]}}"#);
            assert_eq!(sparse(&wide), Err("too_many_columns"), "{shape}");
        }
        for odd in [
            r#"{"keys": [4], "shape": [4], "values": [1]}"#,
            r#"{"keys": [-1], "shape": [4], "values": [1]}"#,
            r#"{"keys": [0, 1], "shape": [4], "values": [1]}"#,
            r#"{"keys": [0], "shape": [2, 2], "values": [1]}"#,
            r#"{"keys": [0], "values": [1]}"#,
        ] {
            let row = sparse(odd).unwrap().join("");
            assert!(row.contains("data.features.keys_0=") && !row.contains("feature_0"), "as it came: {row}");
        }
        let many = "{\"data\": {\"features\": {\"keys\": [], \"shape\": [1000], \"values\": []}}}\n".repeat(5000);
        assert_eq!(decoded((LINES, &many), TWO), Err("too_many_cells"));
    }

    #[test]
    fn a_chat_model_on_this_path_is_a_chat() {
        let answer = r#"{"model": "agent-7", "choices": [{"message": {"content": "ok"}, "finish_reason": "stop"}]}"#;
        let rows = decoded((JSON, r#"{"messages": [{"role": "user", "content": "hi"}]}"#), (JSON, answer)).unwrap();
        assert!(rows[0].starts_with("operation=\"chat\"") && rows[0].contains("completion_chars=2"), "{rows:?}");
    }

    #[test]
    fn what_cannot_be_read_says_why() {
        assert_eq!(decoded(("application/x-npy", "\u{93}NUMPY"), TWO), Err("content_type"));
        assert_eq!(decoded((JSON, "{\"dataframe_split\": "), TWO), Err("malformed"));
        assert_eq!(decoded((LINES, "{\"a\": 1}\n{"), TWO), Err("malformed"));
        assert_eq!(decoded((CSV, "1,2\n3"), TWO), Err("malformed"));
        assert_eq!(decoded((CSV, "1\n2\n"), ("image/png", "x")), Err("content_type"));
    }
}
