//! Bodies whose protocol leaves open what is in them: any JSON, JSON lines, CSV and text.
//!
//! Where the rows are, the model's mapping says. Without one, an object is a row, taken field by field; a list of objects
//! or of lists is a row for each, and a list of plain values one row. An answer has as many results as the request has
//! rows; to one row, whatever was answered is its result.

use std::borrow::Cow;

use crate::bodies::Bodies;
use crate::csv_body;
use crate::decode::{DecodeError, Naming, joined};
use crate::flatten::{self, Unnamed};
use crate::format::Format;
use crate::json::{self, Entries, Value};
use crate::mapping::{Mapping, Pointer};
use crate::rows::{Cell, ColumnsByName, Role, Rows};

/// What a protocol knows of such bodies by itself.
pub(crate) struct Dialect {
    /// A body without what the protocol has around all of it. Mappings are of whole bodies.
    pub(crate) opened: for<'a> fn(Value<'a>, Role) -> Result<Value<'a>, DecodeError>,
    /// Rows of an object with the protocol's own keys; none where it has none of them.
    pub(crate) features: for<'a> fn(&mut Entries<'a>, &'a Naming) -> Result<Option<ColumnsByName<'a>>, DecodeError>,
    /// The same of the answer.
    pub(crate) predictions: for<'a> fn(&mut Entries<'a>) -> Result<Option<ColumnsByName<'a>>, DecodeError>,
    /// One row, or one result, without what the protocol wraps it in.
    pub(crate) unwrapped: for<'a> fn(Value<'a>) -> Value<'a>,
    /// Whether text without a type is CSV.
    pub(crate) text_is_csv: bool,
}

/// JSON with a mapping, or as it comes.
const GENERIC: Dialect = Dialect {
    opened: |body, _| Ok(body),
    features: |_, _| Ok(None),
    predictions: |_| Ok(None),
    unwrapped: |value| value,
    text_is_csv: false,
};

pub(crate) fn rows<'a>(bodies: &Bodies<'a>, naming: &'a Naming) -> Result<Rows<'a>, DecodeError> {
    rows_of(bodies, naming, &GENERIC)
}

pub(crate) fn rows_of<'a>(bodies: &Bodies<'a>, naming: &'a Naming, dialect: &Dialect) -> Result<Rows<'a>, DecodeError> {
    let format = format(bodies, Role::Feature, dialect)?;
    let Format::Csv { header } = format else {
        return json_rows(bodies, value(bodies.request, format, Role::Feature)?, naming, dialect);
    };
    let with = |has_header| {
        let features = csv_body::rows(bodies.request, has_header, Unnamed::Features(naming))?;
        let predictions = predictions(bodies, features.rows(), naming, dialect)?;
        joined(features, predictions.columns)
    };
    let has_header = header.unwrap_or_else(|| csv_body::seems_to_have_header(bodies.request, naming));
    match with(has_header) {
        // What the first line is was a guess, and the answer knows better.
        Err(DecodeError::RowMismatch { .. }) if header.is_none() => with(!has_header),
        rows => rows,
    }
}

fn json_rows<'a>(
    bodies: &Bodies<'a>,
    request: Value<'a>,
    naming: &'a Naming,
    dialect: &Dialect,
) -> Result<Rows<'a>, DecodeError> {
    rows_with(request, |rows| predictions(bodies, rows, naming, dialect), naming, dialect)
}

/// The rows of bodies that were read by somebody else.
pub(crate) fn rows_of_values<'a>(
    request: Value<'a>,
    response: Option<Value<'a>>,
    naming: &'a Naming,
    dialect: &Dialect,
) -> Result<Rows<'a>, DecodeError> {
    let predictions = |rows| match response {
        Some(response) => predictions_of(response, rows, naming, dialect),
        None => Ok(Predictions::default()),
    };
    rows_with(request, predictions, naming, dialect)
}

fn rows_with<'a>(
    request: Value<'a>,
    predictions: impl FnOnce(usize) -> Result<Predictions<'a>, DecodeError>,
    naming: &'a Naming,
    dialect: &Dialect,
) -> Result<Rows<'a>, DecodeError> {
    let mapping = naming.body.as_ref();
    let id = mapping.and_then(|mapping| text_at(mapping.id.as_ref(), &request));
    let features = features(request, naming, dialect)?;
    let predictions = predictions(features.rows())?;
    let mut rows = joined(features, predictions.columns)?;
    rows.id = id.or(predictions.id);
    rows.model_version = predictions.model_version;
    Ok(rows)
}

fn features<'a>(request: Value<'a>, naming: &'a Naming, dialect: &Dialect) -> Result<ColumnsByName<'a>, DecodeError> {
    let unnamed = Unnamed::Features(naming);
    if let Some(mapping) = &naming.body {
        let mut columns = mapped(&request, &mapping.rows, &mapping.features, unnamed)?;
        let mut shared = ColumnsByName::default();
        shared.next_row()?;
        set_mapped(&mut shared, &request, &mapping.shared)?;
        columns.share(shared, Role::Feature)?;
        return Ok(columns);
    }
    match (dialect.opened)(request, Role::Feature)? {
        Value::Object(mut entries) => match (dialect.features)(&mut entries, naming)? {
            Some(columns) => Ok(columns),
            None => flatten::rows(vec![(dialect.unwrapped)(Value::Object(entries))], unnamed),
        },
        Value::Array(values) if values.iter().any(|value| !matches!(value, Value::Scalar(_))) => {
            flatten::rows(values.into_iter().map(dialect.unwrapped), unnamed)
        }
        value => flatten::rows(vec![value], unnamed),
    }
}

/// What a response says.
#[derive(Default)]
struct Predictions<'a> {
    columns: Option<ColumnsByName<'a>>,
    id: Option<Cow<'a, str>>,
    model_version: Option<Cow<'a, str>>,
}

fn predictions<'a>(
    bodies: &Bodies<'a>,
    rows: usize,
    naming: &'a Naming,
    dialect: &Dialect,
) -> Result<Predictions<'a>, DecodeError> {
    // 204 has no body, and an endpoint that only takes note of something answers with none.
    let Some(body) = bodies.response.filter(|body| !body.is_empty()) else { return Ok(Predictions::default()) };
    let format = format(bodies, Role::Prediction, dialect)?;
    if matches!(format, Format::Csv { .. }) {
        return Ok(Predictions { columns: Some(csv_body::predictions(body, rows)?), ..Predictions::default() });
    }
    predictions_of(value(body, format, Role::Prediction)?, rows, naming, dialect)
}

/// What a response says that is no CSV.
fn predictions_of<'a>(
    response: Value<'a>,
    rows: usize,
    naming: &'a Naming,
    dialect: &Dialect,
) -> Result<Predictions<'a>, DecodeError> {
    let mapping = naming.body.as_ref();
    let (id, model_version) = mapping.map_or((None, None), |mapping| {
        (text_at(mapping.id.as_ref(), &response), text_at(mapping.model_version.as_ref(), &response))
    });
    let columns = match mapping {
        Some(mapping) => results(at(&response, &mapping.results, Role::Prediction)?, rows, mapping)?,
        None => match (dialect.opened)(response, Role::Prediction)? {
            Value::Object(mut entries) => match (dialect.predictions)(&mut entries)? {
                Some(columns) => columns,
                None => unmapped_results(Value::Object(entries), rows)?,
            },
            response => unmapped_results(response, rows)?,
        },
    };
    Ok(Predictions { columns: Some(columns), id, model_version })
}

/// The results of an answer, as a mapping has them.
fn results<'a>(value: &Value<'a>, rows: usize, mapping: &'a Mapping) -> Result<ColumnsByName<'a>, DecodeError> {
    match value {
        Value::Array(values) if values.len() == rows => mapped_rows(values, &mapping.predictions, Unnamed::Predictions),
        value if rows == 1 => mapped_rows(std::slice::from_ref(value), &mapping.predictions, Unnamed::Predictions),
        value => Err(DecodeError::RowMismatch { request: rows, response: count(value) }),
    }
}

/// The results of an answer, as they come.
fn unmapped_results(value: Value<'_>, rows: usize) -> Result<ColumnsByName<'_>, DecodeError> {
    match value {
        Value::Array(values) if values.len() == rows => flatten::rows(values, Unnamed::Predictions),
        value if rows == 1 => flatten::rows(vec![value], Unnamed::Predictions),
        value => Err(DecodeError::RowMismatch { request: rows, response: count(&value) }),
    }
}

fn count(value: &Value<'_>) -> usize {
    if let Value::Array(values) = value { values.len() } else { 1 }
}

/// The rows at a place, each with the columns that are mapped.
fn mapped<'a>(
    body: &Value<'a>,
    rows: &Pointer,
    fields: &'a [(String, Pointer)],
    unnamed: Unnamed<'a>,
) -> Result<ColumnsByName<'a>, DecodeError> {
    match at(body, rows, unnamed.role())? {
        Value::Array(values) => mapped_rows(values, fields, unnamed),
        value => mapped_rows(std::slice::from_ref(value), fields, unnamed),
    }
}

fn mapped_rows<'a>(
    values: &[Value<'a>],
    fields: &'a [(String, Pointer)],
    unnamed: Unnamed<'a>,
) -> Result<ColumnsByName<'a>, DecodeError> {
    if fields.is_empty() {
        return flatten::rows(values.to_vec(), unnamed);
    }
    let mut columns = ColumnsByName::default();
    for value in values {
        columns.next_row()?;
        set_mapped(&mut columns, value, fields)?;
    }
    Ok(columns)
}

/// Sets the columns of the current row. One that is not there is missing.
fn set_mapped<'a>(
    columns: &mut ColumnsByName<'a>,
    value: &Value<'a>,
    fields: &'a [(String, Pointer)],
) -> Result<(), DecodeError> {
    for (name, pointer) in fields {
        let value = pointer.of(value).cloned().unwrap_or(Value::Scalar(Cell::Missing));
        flatten::set_named(columns, Cow::Borrowed(name), value)?;
    }
    Ok(())
}

fn at<'v, 'a>(value: &'v Value<'a>, pointer: &Pointer, role: Role) -> Result<&'v Value<'a>, DecodeError> {
    pointer.of(value).ok_or_else(|| {
        let what = format!("it has nothing at '{pointer}', where the model's 'body' has its rows");
        DecodeError::Malformed { role, what }
    })
}

/// An id or a version, as text.
fn text_at<'a>(pointer: Option<&Pointer>, value: &Value<'a>) -> Option<Cow<'a, str>> {
    match pointer?.of(value)? {
        Value::Scalar(Cell::Text(text)) => Some(text.clone()),
        Value::Scalar(Cell::Integer(number)) => Some(number.to_string().into()),
        _ => None,
    }
}

fn format(bodies: &Bodies<'_>, role: Role, dialect: &Dialect) -> Result<Format, DecodeError> {
    match bodies.format(role) {
        Ok(Format::Text) if dialect.text_is_csv => Ok(Format::Csv { header: None }),
        Ok(Format::Events) => Err(DecodeError::ContentType { role, content_type: "text/event-stream".to_owned() }),
        Ok(format) => Ok(format),
        Err(content_type) => Err(DecodeError::ContentType { role, content_type: content_type.to_owned() }),
    }
}

/// A body that is no CSV.
fn value(body: &[u8], format: Format, role: Role) -> Result<Value<'_>, DecodeError> {
    match format {
        Format::Lines => {
            let lines = body.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii).filter(|line| !line.is_empty());
            lines.map(|line| json::read(line, role)).collect::<Result<_, _>>().map(Value::Array)
        }
        Format::Text => {
            let text = std::str::from_utf8(body).unwrap_or_default().trim();
            Ok(Value::Scalar(if text.is_empty() { Cell::Missing } else { Cell::Field(text.into()) }))
        }
        _ => json::read(body, role),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exchange::Exchange;
    use crate::recorded::{CSV, EVENTS, JSON, exchange, rows};

    fn routed(request: (&str, &str), response: (&str, &str)) -> Exchange {
        Exchange { protocol: "generic".into(), ..exchange("/score", request, response) }
    }

    fn mapping(fields: [(&str, &str); 2], rows: &str, results: &str) -> Naming {
        let pointer = |text: &str| text.parse().unwrap();
        let field = |(name, place): (&str, &str)| vec![(name.to_owned(), pointer(place))];
        let mapping = Mapping {
            rows: pointer(rows),
            features: field(fields[0]),
            results: pointer(results),
            predictions: field(fields[1]),
            id: Some(pointer("/request_id")),
            model_version: Some(pointer("/model/version")),
            ..Mapping::default()
        };
        Naming { body: Some(mapping), ..Naming::default() }
    }

    #[test]
    fn a_mapping_finds_rows_results_and_names() {
        let request = r#"{"request_id": 42, "account": {"plan": "basic"},
            "data": {"items": [{"customer": {"age": 39}}, {"customer": {}}]}}"#;
        let response =
            r#"{"model": {"version": "7"}, "out": [{"result": {"score": 0.5}}, {"result": {"score": 0.25}}]}"#;
        let mut naming = mapping([("age", "/customer/age"), ("score", "/result/score")], "/data/items", "/out");
        naming.body.as_mut().unwrap().shared = vec![("plan".to_owned(), "/account/plan".parse().unwrap())];
        let exchange = routed((JSON, request), (JSON, response));
        let expected = ["age=39.0 plan=\"basic\" score=0.5", "age=- plan=\"basic\" score=0.25"];
        assert_eq!(crate::recorded::rows(&exchange, &naming).unwrap(), expected);
        let decoded = crate::decode_rows(&exchange, &naming).unwrap();
        assert_eq!((decoded.id.as_deref(), decoded.model_version.as_deref()), (Some("42"), Some("7")));
    }

    #[test]
    fn a_mapping_that_does_not_fit_says_where() {
        let naming = mapping([("age", "/age"), ("score", "/score")], "/data/items", "/out");
        let exchange = routed((JSON, r#"{"data": {}}"#), (JSON, "{}"));
        let error = crate::decode_rows(&exchange, &naming).unwrap_err().to_string();
        assert!(error.contains("nothing at '/data/items'"), "{error}");
        let one = mapping([("age", "/age"), ("score", "/score")], "", "");
        assert_eq!(
            rows(&routed((JSON, r#"{"age": 1}"#), (JSON, r#"{"score": 2}"#)), &one).unwrap(),
            ["age=1.0 score=2.0"]
        );
        let many = routed((JSON, r#"[{"age": 1}, {"age": 2}]"#), (JSON, r#"[{"score": 2}]"#));
        assert_eq!(rows(&many, &one), Err("row_mismatch"));
    }

    #[test]
    fn without_a_mapping_bodies_are_taken_field_by_field() {
        let decoded = |request, response| rows(&routed((JSON, request), (JSON, response)), &Naming::default());
        let nested = decoded(r#"{"age": 39, "address": {"city": "Oslo"}, "tags": ["a", "b"]}"#, r#"{"score": 0.5}"#);
        assert_eq!(nested.unwrap(), [r#"age=39.0 address.city="Oslo" tags_0="a" tags_1="b" score=0.5"#]);
        assert_eq!(decoded(r#"[{"a": 1}, {"a": 2}]"#, "[0.5, 0.25]").unwrap()[1], "a=2.0 prediction=0.25");
        assert_eq!(
            decoded("[1, 2]", "[0.5, 0.25]").unwrap(),
            ["feature_0=1.0 feature_1=2.0 prediction_0=0.5 prediction_1=0.25"]
        );
        assert_eq!(decoded("[]", "[]").unwrap().len(), 1, "a list of nothing is a row of nothing");
        assert_eq!(decoded(r#"[{"a": 1}, {"a": 2}]"#, r#"{"ok": true}"#), Err("row_mismatch"));
    }

    #[test]
    fn an_answer_may_be_empty_and_a_request_csv() {
        let unanswered = routed((JSON, r#"{"a": 1}"#), ("", ""));
        assert_eq!(rows(&unanswered, &Naming::default()).unwrap(), ["a=1.0"]);
        let csv = routed((CSV, "a\n1\n2\n"), (JSON, "[1, 2]"));
        assert_eq!(rows(&csv, &Naming::default()).unwrap()[1], "a='2' prediction=2.0");
        let events = routed((JSON, "{}"), (EVENTS, "data: 1\n\n"));
        assert_eq!(rows(&events, &Naming::default()), Err("content_type"));
    }
}
