//! From an exchange's bodies to rows.

use std::borrow::Cow;
use std::collections::HashSet;

use foldhash::fast::RandomState;

use crate::bodies::Bodies;
use crate::coding::{self, MAX_DECOMPRESSED_BYTES};
use crate::exchange::{Body, EndState, Exchange, Redaction};
use crate::grpc::Messages;
pub(crate) use crate::naming::Naming;
use crate::paths::{InferencePath, ModelProtocol, inference_path, path_of};
use crate::rows::{Column, ColumnsByName, Role, Rows};
use crate::tensorflow_grpc::Call;
use crate::v2::JSON_LENGTH_HEADER;
use crate::{failure, generic, invocations, openai, seldon, seldon_grpc, tensorflow_grpc, torchserve, v1, v2, v2_grpc};

/// Why an exchange has no rows.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say what the fields are")]
pub enum DecodeError {
    #[error("'{target}' is not a path of a model protocol that can be decoded")]
    UnknownProtocol { target: String },
    #[error("the {} body stayed in the pod, by the sidecar's rules", side(*role))]
    Withheld { role: Role },
    #[error("the sidecar had no memory for the bodies; raise its --capture-budget")]
    Budget,
    #[error("the {} body was truncated: {kept} of {size} bytes were kept; raise the sidecar's --max-body", side(*role))]
    Truncated { role: Role, kept: usize, size: u64 },
    #[error("the {} body has content-encoding '{encoding}', which cannot be decoded", side(*role))]
    ContentEncoding { role: Role, encoding: String },
    #[error("the {} body has content-type '{content_type}', which cannot be decoded", side(*role))]
    ContentType { role: Role, content_type: String },
    #[error("the {} body decompresses to more than {MAX_DECOMPRESSED_BYTES} bytes", side(*role))]
    DecompressedSize { role: Role },
    #[error("the {} body is not what the protocol says: {what}", side(*role))]
    Malformed { role: Role, what: String },
    #[error("tensor '{column}' of the {}: {what}", side(*role))]
    Shape { role: Role, column: String, what: String },
    #[error("the request has {request} rows and the response {response}")]
    RowMismatch { request: usize, response: usize },
    #[error("the {} body has more than {most} messages", side(*role))]
    TooManyMessages { role: Role, most: usize },
    #[error("there are more than {} columns", crate::rows::MAX_COLUMNS)]
    TooManyColumns,
    #[error("there are more than {} cells, absent ones included", crate::rows::MAX_CELLS)]
    TooManyCells,
}

fn side(role: Role) -> &'static str {
    match role {
        Role::Feature => "request",
        Role::Prediction => "response",
    }
}

impl DecodeError {
    pub(crate) fn json(role: Role, error: &serde_json::Error) -> Self {
        Self::Malformed { role, what: error.to_string() }
    }

    /// The name by which metrics count it.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::UnknownProtocol { .. } => "unknown_protocol",
            Self::Withheld { .. } => "withheld",
            Self::Budget => "budget",
            Self::Truncated { .. } => "truncated",
            Self::ContentEncoding { .. } => "content_encoding",
            Self::ContentType { .. } => "content_type",
            Self::DecompressedSize { .. } => "decompressed_size",
            Self::Malformed { .. } => "malformed",
            Self::Shape { .. } => "shape",
            Self::RowMismatch { .. } => "row_mismatch",
            Self::TooManyMessages { .. } => "too_many_messages",
            Self::TooManyColumns => "too_many_columns",
            Self::TooManyCells => "too_many_cells",
        }
    }

    /// Every reason, so that counters exist before the first.
    pub const REASONS: [&'static str; 13] = [
        "unknown_protocol",
        "withheld",
        "budget",
        "truncated",
        "content_encoding",
        "content_type",
        "decompressed_size",
        "malformed",
        "shape",
        "row_mismatch",
        "too_many_messages",
        "too_many_columns",
        "too_many_cells",
    ];
}

/// Decodes an exchange's rows. Predictions are read when the model answered with success; of other answers only the
/// features are.
///
/// ```
/// use driftline_protocol::{Body, Cell, Exchange, Naming, decode_rows};
///
/// let body = |text: &'static str| Some(Body { content: text.into(), size: text.len() as u64, ..Body::default() });
/// let exchange = Exchange {
///     method: "POST".into(),
///     target: "/v1/models/flights:predict".into(),
///     status: 200,
///     request: body(r#"{"instances": [{"temp": 39.02, "carrier": "UA"}, {"temp": null, "carrier": "DL"}]}"#),
///     response: body(r#"{"predictions": [0.25, 0.5]}"#),
///     ..Exchange::default()
/// };
/// let naming = Naming::default();
/// let rows = decode_rows(&exchange, &naming).unwrap();
/// assert_eq!(rows.count, 2);
/// assert_eq!(rows.columns[0].cells, [Cell::Number(39.02), Cell::Missing]);
/// assert_eq!(rows.columns[2].name, "prediction");
/// ```
///
/// # Errors
/// See [`DecodeError`]. A body that nobody can decode says nothing about the others.
pub fn decode_rows<'a>(exchange: &'a Exchange, naming: &'a Naming) -> Result<Rows<'a>, DecodeError> {
    decode(exchange, naming).rows
}

/// What an exchange's bodies say.
#[derive(Debug)]
pub struct Decoded<'a> {
    /// Its rows, or why it has none.
    pub rows: Result<Rows<'a>, DecodeError>,
    /// What the answer came to: [`Exchange::outcome`], or the status for which an error stands that an answer of success
    /// tells of. Such an answer has no predictions, and a stream of them those that came before. What cannot be read is no
    /// error: nobody knows.
    pub outcome: u32,
}

/// Decodes an exchange's rows, as [`decode_rows`] does, and looks whether its answer tells of an error.
///
/// ```
/// use driftline_protocol::{Body, Exchange, Naming, decode};
///
/// let body = |text: &'static str| Some(Body { content: text.into(), size: text.len() as u64, ..Body::default() });
/// let exchange = Exchange {
///     method: "POST".into(),
///     target: "/v1/models/flights:predict".into(),
///     status: 200,
///     request: body(r#"{"instances": [{"temp": 39.02}]}"#),
///     response: body(r#"{"error": "out of memory"}"#),
///     ..Exchange::default()
/// };
/// let naming = Naming::default();
/// let decoded = decode(&exchange, &naming);
/// assert_eq!((decoded.outcome, decoded.rows.unwrap().columns.len()), (500, 1));
/// ```
pub fn decode<'a>(exchange: &'a Exchange, naming: &'a Naming) -> Decoded<'a> {
    let (rows, failure) = match path_of_bodies(exchange) {
        Err(error) => (Err(error), None),
        Ok(_) if exchange.end() == EndState::Budget => (Err(DecodeError::Budget), None),
        Ok(path) => {
            let response = response(exchange);
            let body = response.as_ref().and_then(|response| response.as_deref().ok());
            let failure = body.and_then(|body| failure::reported(body, naming.body.as_ref()));
            let rows = rows_of_contents(exchange, path, response.filter(|_| failure.is_none()), naming);
            let in_the_middle = rows.as_ref().ok().and_then(|rows| rows.failure);
            (rows, failure.or(in_the_middle))
        }
    };
    Decoded { rows, outcome: failure.unwrap_or_else(|| exchange.outcome()) }
}

/// The body of an answer of success; none of others, and of one that was broken off, which is half a document.
fn response(exchange: &Exchange) -> Option<Result<Cow<'_, [u8]>, DecodeError>> {
    let answered = matches!(exchange.end(), EndState::Complete | EndState::Truncated | EndState::Unspecified);
    let succeeded = answered && (200..300).contains(&exchange.outcome());
    let body = exchange.response.as_ref().filter(|_| succeeded)?;
    Some(content(Some(body), exchange.response_header("content-encoding"), Role::Prediction))
}

/// The rows of the request's body, and of the response's where it is to be read.
fn rows_of_contents<'a>(
    exchange: &'a Exchange,
    path: InferencePath<'a>,
    response: Option<Result<Cow<'a, [u8]>, DecodeError>>,
    naming: &'a Naming,
) -> Result<Rows<'a>, DecodeError> {
    let request = content(exchange.request.as_ref(), exchange.request_header("content-encoding"), Role::Feature)?;
    match (request, response.transpose()?) {
        (Cow::Borrowed(request), None) => rows_of(exchange, path, request, None, naming),
        (Cow::Borrowed(request), Some(Cow::Borrowed(response))) => {
            rows_of(exchange, path, request, Some(response), naming)
        }
        // What was decompressed goes at this function's end, and the rows must not borrow from it.
        (request, response) => rows_of(exchange, path, &request, response.as_deref(), naming).map(Rows::into_owned),
    }
}

/// The rows of bodies that are not compressed any more.
fn rows_of<'a>(
    exchange: &'a Exchange,
    path: InferencePath<'a>,
    request: &'a [u8],
    response: Option<&'a [u8]>,
    naming: &'a Naming,
) -> Result<Rows<'a>, DecodeError> {
    let bodies = Bodies { exchange, request, response };
    let mut rows = match path.protocol {
        ModelProtocol::V2 => {
            let features = v2::request(request, exchange.request_header(JSON_LENGTH_HEADER), naming)?;
            let json_length = exchange.response_header(JSON_LENGTH_HEADER);
            features.join(response.map(|response| v2::response(response, json_length, naming)).transpose()?)?
        }
        ModelProtocol::V2Grpc | ModelProtocol::TensorFlowGrpc | ModelProtocol::SeldonGrpc => {
            let requests = Messages::new(request, exchange.request_header("grpc-encoding"), Role::Feature);
            let encoding = exchange.response_header("grpc-encoding");
            let responses = response.map(|response| Messages::new(response, encoding, Role::Prediction));
            match path.protocol {
                ModelProtocol::V2Grpc => {
                    let rows = v2_grpc::rows(requests, responses, naming)?;
                    // Of a single call the status tells, and what would be an error here is a model's name there.
                    let is_stream = path_of(&exchange.target).ends_with("/ModelStreamInfer");
                    Rows { failure: rows.failure.filter(|_| is_stream), ..rows }
                }
                ModelProtocol::SeldonGrpc => seldon_grpc::rows(requests, responses, naming)?,
                _ => tensorflow_grpc::rows(Call::of(&exchange.target), requests, responses, naming)?,
            }
        }
        ModelProtocol::V1 => v1::rows(&bodies, naming)?,
        ModelProtocol::Invocations => invocations::rows(&bodies, naming)?,
        ModelProtocol::OpenAi => openai::rows(&bodies)?,
        ModelProtocol::TorchServe => torchserve::rows(&bodies, naming)?,
        ModelProtocol::Seldon => seldon::rows(&bodies, naming)?,
        ModelProtocol::Generic => generic::rows(&bodies, naming)?,
    };
    if rows.model_version.is_none() {
        rows.model_version = path.version.map(Cow::Borrowed);
    }
    rename_clashes(&mut rows.columns);
    Ok(rows)
}

/// What the path says, with the protocol that the sidecar's routes gave it, if they did.
fn path_of_bodies(exchange: &Exchange) -> Result<InferencePath<'_>, DecodeError> {
    let path = inference_path(&exchange.method, &exchange.target);
    match (ModelProtocol::named(&exchange.protocol), path) {
        (None, Some(path)) => Ok(path),
        (Some(protocol), Some(path)) => Ok(InferencePath { protocol, ..path }),
        (Some(protocol), None) => Ok(InferencePath { protocol, model: "", version: None }),
        (None, None) => Err(DecodeError::UnknownProtocol { target: exchange.target.clone() }),
    }
}

/// A whole body without its coding.
fn content<'a>(body: Option<&'a Body>, encoding: Option<&str>, role: Role) -> Result<Cow<'a, [u8]>, DecodeError> {
    let Some(body) = body else { return Ok(Cow::Borrowed(&[])) };
    if body.redaction() == Redaction::Withheld {
        return Err(DecodeError::Withheld { role });
    }
    if body.is_truncated() {
        return Err(DecodeError::Truncated { role, kept: body.content.len(), size: body.size });
    }
    coding::undone(&body.content, encoding, role, MAX_DECOMPRESSED_BYTES)
}

fn same_rows(request: usize, response: Option<usize>) -> Result<usize, DecodeError> {
    match response {
        Some(response) if response != request => Err(DecodeError::RowMismatch { request, response }),
        _ => Ok(request),
    }
}

/// The rows of both sides.
pub(crate) fn joined<'a>(
    features: ColumnsByName<'a>,
    predictions: Option<ColumnsByName<'a>>,
) -> Result<Rows<'a>, DecodeError> {
    let count = same_rows(features.rows(), predictions.as_ref().map(ColumnsByName::rows))?;
    let mut columns = features.finish(Role::Feature);
    columns.extend(predictions.into_iter().flat_map(|side| side.finish(Role::Prediction)));
    Ok(Rows { count, columns, id: None, model_version: None, failure: None })
}

/// A prediction that is named like a feature gets a name of its own; a repeated name, a number.
fn rename_clashes(columns: &mut [Column<'_>]) {
    let mut names = HashSet::with_capacity_and_hasher(columns.len(), RandomState::default());
    if columns.iter().all(|column| names.insert(&*column.name)) {
        return;
    }
    let mut taken: HashSet<String> = HashSet::with_capacity(columns.len());
    for column in columns {
        let mut name = column.name.to_string();
        if !taken.insert(name.clone()) {
            let base = if column.role == Role::Prediction { format!("prediction.{name}") } else { name.clone() };
            name = base.clone();
            let mut number = 2;
            while !taken.insert(name.clone()) {
                name = format!("{base}.{number}");
                number += 1;
            }
            column.name = name.into();
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::rows::Cell;

    fn exchange(target: &str, request: &str, response: &str) -> Exchange {
        let body =
            |text: &str| Some(Body { content: text.to_owned().into(), size: text.len() as u64, ..Body::default() });
        Exchange {
            method: "POST".into(),
            target: target.into(),
            status: 200,
            request: body(request),
            response: body(response),
            ..Exchange::default()
        }
    }

    fn v2_exchange(request: &str, response: &str) -> Exchange {
        exchange("/v2/models/m/infer", request, response)
    }

    fn names<'a>(rows: &'a Rows<'_>) -> Vec<&'a str> {
        rows.columns.iter().map(|column| &*column.name).collect()
    }

    fn reason(exchange: &Exchange) -> &'static str {
        decode_rows(exchange, &Naming::default()).unwrap_err().reason()
    }

    const NO_OUTPUTS: &str = r#"{"model_name": "m", "outputs": []}"#;

    #[test]
    fn v2_tensors_become_columns_by_their_shape() {
        let exchange = v2_exchange(
            r#"{"id": "42", "inputs": [
                {"name": "temp", "shape": [2], "datatype": "FP64", "data": [39.02, 7]},
                {"name": "pair", "shape": [2, 2], "datatype": "INT64", "data": [[1, 2], [3, 4]]},
                {"name": "carrier", "shape": [2, 1], "datatype": "BYTES", "data": ["UA", "caf\u00e9"], "parameters": {}}]}"#,
            r#"{"model_name": "m", "model_version": "3", "id": "42",
                "outputs": [{"name": "late", "shape": [2], "datatype": "BOOL", "data": [true, 0]}]}"#,
        );
        let naming = Naming::default();
        let rows = decode_rows(&exchange, &naming).unwrap();
        assert_eq!(names(&rows), ["temp", "pair_0", "pair_1", "carrier", "late"]);
        assert_eq!(rows.columns[0].cells, [Cell::Number(39.02), Cell::Number(7.0)]);
        assert_eq!(rows.columns[2].cells, [Cell::Integer(2), Cell::Integer(4)]);
        assert_eq!(rows.columns[3].cells, [Cell::Text("UA".into()), Cell::Text("café".into())]);
        assert_eq!(rows.columns[4].cells, [Cell::Boolean(true), Cell::Boolean(false)]);
        assert_eq!((rows.count, rows.id.as_deref(), rows.model_version.as_deref()), (2, Some("42"), Some("3")));
    }

    #[test]
    fn a_short_body_cannot_claim_rows_that_are_not_there() {
        let empty = r#"{"inputs": [{"name": "x", "shape": [8589934592, 0], "datatype": "FP32", "data": []}]}"#;
        assert_eq!(reason(&v2_exchange(empty, NO_OUTPUTS)), "shape");
        let wide: Vec<String> = (0..999).map(|index| format!(r#""c{index}": 1"#)).collect();
        for body in [
            format!(r#"{{"instances": [{}{{{}}}]}}"#, "{},".repeat(100_000), wide.join(",")),
            format!(r#"{{"instances": [{{{}}}{}]}}"#, wide.join(","), ",{}".repeat(100_000)),
        ] {
            assert_eq!(reason(&exchange("/v1/models/m:predict", &body, "{}")), "too_many_cells");
        }
    }

    #[test]
    fn v2_bodies_that_do_not_add_up_are_refused_with_a_reason() {
        let tensor = |shape: &str, datatype: &str, data: &str| {
            let request = format!(
                r#"{{"inputs": [{{"name": "x", "shape": {shape}, "datatype": "{datatype}", "data": {data}}}]}}"#
            );
            reason(&v2_exchange(&request, NO_OUTPUTS))
        };
        assert_eq!(tensor("[2]", "FP32", "[1]"), "shape");
        assert_eq!(tensor("[]", "FP32", "[1]"), "shape");
        assert_eq!(tensor("[1]", "FP31", "[1]"), "shape");
        assert_eq!(tensor("[1]", "INT8", "[1.5]"), "shape");
        assert_eq!(tensor("[1]", "FP32", r#"["warm"]"#), "shape");
        assert_eq!(tensor("[1, 224, 224, 3]", "FP32", "[]"), "shape");
        assert_eq!(tensor("[1, 1001]", "BYTES", "[]"), "too_many_columns");
        assert_eq!(tensor("[8000000]", "FP32", "[]"), "too_many_cells");
        assert_eq!(tensor("[9223372036854775807, 900]", "BYTES", "[]"), "too_many_cells");
        assert_eq!(tensor("[9223372036854775807, 4294967296, 4294967296]", "FP32", "[]"), "shape");
        assert_eq!(tensor("[2, 0]", "FP32", "[]"), "shape");
        assert_eq!(reason(&v2_exchange("{\"inputs\": [", NO_OUTPUTS)), "malformed");
        assert_eq!(reason(&v2_exchange("", NO_OUTPUTS)), "malformed");
        let one_row = r#"{"inputs": [{"name": "x", "shape": [1], "datatype": "FP32", "data": [1]}]}"#;
        let two_rows = r#"{"outputs": [{"name": "y", "shape": [2], "datatype": "FP32", "data": [1, 2]}]}"#;
        assert_eq!(reason(&v2_exchange(one_row, two_rows)), "row_mismatch");
    }

    #[test]
    fn v1_rows_may_be_objects_arrays_or_single_values() {
        let decode = |request: &str, response: &str, features: &[&str]| {
            let naming =
                Naming { features: features.iter().map(|name| (*name).to_owned()).collect(), ..Naming::default() };
            let exchange = exchange("/v1/models/m:predict", request, response);
            let rows = decode_rows(&exchange, &naming).unwrap();
            (names(&rows).join(","), rows.columns.iter().map(|column| column.cells.len()).collect::<Vec<_>>())
        };
        assert_eq!(
            decode(
                r#"{"instances": [{"a": 1}, {"b": {"c": [1, 2]}}]}"#,
                r#"{"predictions": [{"p": 1}, {"p": 2}]}"#,
                &[]
            ),
            ("a,b.c_0,b.c_1,p".to_owned(), vec![2, 2, 2, 2])
        );
        assert_eq!(
            decode(r#"{"instances": [[1, "x"], [2, "y"]]}"#, r#"{"predictions": [[0.1, 0.9], [0.2, 0.8]]}"#, &["a"]),
            ("a,feature_1,prediction_0,prediction_1".to_owned(), vec![2, 2, 2, 2])
        );
        assert_eq!(
            decode(r#"{"instances": [1, 2]}"#, r#"{"predictions": [1, 2]}"#, &[]),
            ("feature_0,prediction".to_owned(), vec![2, 2])
        );
    }

    #[test]
    fn names_that_clash_are_told_apart() {
        let exchange =
            exchange("/v1/models/m:predict", r#"{"instances": [{"price": 1}]}"#, r#"{"predictions": [{"price": 2}]}"#);
        let naming = Naming::default();
        assert_eq!(names(&decode_rows(&exchange, &naming).unwrap()), ["price", "prediction.price"]);
    }

    #[test]
    fn an_error_answer_still_has_features() {
        let mut failed = v2_exchange(
            r#"{"inputs": [{"name": "x", "shape": [1], "datatype": "FP32", "data": [1]}]}"#,
            "<h1>Internal Server Error</h1>",
        );
        failed.status = 500;
        assert_eq!(names(&decode_rows(&failed, &Naming::default()).unwrap()), ["x"]);
    }

    #[test]
    fn an_error_in_an_answer_of_success_is_no_success_and_no_prediction() {
        let request = r#"{"inputs": [{"name": "x", "shape": [1], "datatype": "FP32", "data": [1]}]}"#;
        let naming = Naming::default();
        let error = r#"{"error": "out of memory"}"#;
        let mut failed = v2_exchange(request, error);
        let decoded = decode(&failed, &naming);
        assert_eq!((decoded.outcome, names(&decoded.rows.unwrap())), (500, vec!["x"]));
        // The request need not be readable to see that it failed.
        failed.request.as_mut().unwrap().size = 1 << 30;
        assert_eq!(decode(&failed, &naming).outcome, 500);
        let generic = exchange("/predictions/m", r#"{"x": 1}"#, r#"{"code": 400, "type": "T", "message": "no"}"#);
        let decoded = decode(&generic, &naming);
        assert_eq!((decoded.outcome, names(&decoded.rows.unwrap())), (400, vec!["x"]));
    }

    #[test]
    fn what_cannot_be_read_is_no_error() {
        let naming = Naming::default();
        let outcome = |exchange: &Exchange| decode(exchange, &naming).outcome;
        let request = r#"{"inputs": []}"#;
        let error = r#"{"error": "out of memory"}"#;
        assert_eq!(outcome(&v2_exchange(request, "<h1>It works</h1>")), 200);
        assert_eq!(outcome(&exchange("/anything", "{}", error)), 200, "of a protocol that nobody knows");
        let with = |change: fn(&mut Exchange)| {
            let mut exchange = v2_exchange(request, error);
            change(&mut exchange);
            outcome(&exchange)
        };
        assert_eq!(with(|exchange| exchange.response.as_mut().unwrap().size = 1 << 30), 200);
        assert_eq!(with(|exchange| exchange.response.as_mut().unwrap().set_redaction(Redaction::Withheld)), 200);
        assert_eq!(with(|exchange| exchange.set_end(EndState::Budget)), 200);
        assert_eq!(with(|exchange| exchange.set_end(EndState::Cancelled)), 200);
        assert_eq!(with(|exchange| exchange.status = 503), 503, "the status says it already");
    }

    #[test]
    fn a_request_that_was_told_of_without_its_response_has_features() {
        let mut alone =
            v2_exchange(r#"{"inputs": [{"name": "x", "shape": [1], "datatype": "FP64", "data": [1]}]}"#, "");
        alone.response = None;
        assert_eq!(names(&decode_rows(&alone, &Naming::default()).unwrap()), ["x"]);
    }

    #[test]
    fn a_response_that_was_broken_off_leaves_the_features() {
        let mut cut = v2_exchange(
            r#"{"inputs": [{"name": "x", "shape": [1], "datatype": "FP64", "data": [1]}]}"#,
            r#"{"model_name": "m", "outp"#,
        );
        cut.set_end(EndState::Cancelled);
        assert_eq!(names(&decode_rows(&cut, &Naming::default()).unwrap()), ["x"]);
    }

    #[test]
    fn what_stayed_in_the_pod_has_a_name_and_a_route_names_the_protocol() {
        let mut withheld = v2_exchange("", "");
        withheld.request = Some(Body { redaction: Redaction::Withheld.into(), size: 9, ..Body::default() });
        assert_eq!(reason(&withheld), "withheld");
        let routed = Exchange {
            protocol: "v1".into(),
            ..exchange("/score", r#"{"instances": [{"x": 1}]}"#, "{\"predictions\": [2]}")
        };
        assert_eq!(names(&decode_rows(&routed, &Naming::default()).unwrap()), ["x", "prediction"]);
        let mut starved = v2_exchange("", "");
        starved.set_end(EndState::Budget);
        assert_eq!(reason(&starved), "budget");
    }

    #[test]
    fn what_cannot_be_decoded_says_why() {
        let mut truncated = v2_exchange("{}", NO_OUTPUTS);
        truncated.request.as_mut().unwrap().size = 10;
        assert_eq!(reason(&truncated), "truncated");
        let header = |name: &str, value: &str| crate::exchange::Header { name: name.into(), value: value.into() };
        let mut gzip = v2_exchange("{}", NO_OUTPUTS);
        gzip.request_headers.push(header("content-encoding", "gzip"));
        assert_eq!(reason(&gzip), "malformed");
        gzip.request_headers[0].value = "snappy".into();
        assert_eq!(reason(&gzip), "content_encoding");
        assert_eq!(reason(&exchange("/predict", "{}", "{}")), "unknown_protocol");
        let deep = format!("{{\"instances\": [{}1{}]}}", "[".repeat(100), "]".repeat(100));
        assert_eq!(reason(&exchange("/v1/models/m:predict", &deep, "{}")), "malformed");
    }

    proptest! {
        #[test]
        fn every_double_survives_both_protocols_to_the_last_bit(value in proptest::num::f64::NORMAL | proptest::num::f64::SUBNORMAL | proptest::num::f64::ZERO) {
            let naming = Naming::default();
            let text = serde_json::to_string(&value).unwrap();
            let v1 = exchange("/v1/models/m:predict", &format!(r#"{{"instances": [[{text}]]}}"#), r#"{"predictions": [0]}"#);
            let v2 = v2_exchange(
                &format!(r#"{{"inputs": [{{"name": "x", "shape": [1], "datatype": "FP64", "data": [{text}]}}]}}"#),
                r#"{"outputs": [{"name": "y", "shape": [1], "datatype": "FP64", "data": [0]}]}"#,
            );
            for exchange in [v1, v2] {
                let rows = decode_rows(&exchange, &naming).unwrap();
                let Some(Cell::Number(read)) = rows.columns[0].cells.get(0).as_deref().cloned() else { panic!("not a number") };
                prop_assert_eq!(read.to_bits(), value.to_bits());
            }
        }

        #[test]
        fn any_bytes_are_refused_or_decoded_without_a_panic(request in ".{0,200}", response in ".{0,100}", v2 in any::<bool>()) {
            let target = if v2 { "/v2/models/m/infer" } else { "/v1/models/m:predict" };
            let exchange = exchange(target, &request, &response);
            if let Err(error) = decode_rows(&exchange, &Naming::default()) {
                prop_assert!(DecodeError::REASONS.contains(&error.reason()));
            }
        }
    }
}
