use proptest::prelude::*;
use prost::Message;

use super::*;
use crate::grpc::framed;
use crate::raw::writing;
use crate::v2::tests::{Written, columns, expected, tensors};

/// `inference.ModelInferRequest`, and `ModelInferResponse` with the number of its raw contents.
#[derive(Clone, PartialEq, Message)]
struct Request {
    #[prost(string, tag = "1")]
    model_name: String,
    #[prost(string, tag = "2")]
    model_version: String,
    #[prost(string, tag = "3")]
    id: String,
    #[prost(message, repeated, tag = "5")]
    inputs: Vec<Input>,
    #[prost(bytes = "vec", repeated, tag = "7")]
    raw_input_contents: Vec<Vec<u8>>,
}

#[derive(Clone, PartialEq, Message)]
struct Response {
    #[prost(string, tag = "1")]
    model_name: String,
    #[prost(string, tag = "2")]
    model_version: String,
    #[prost(string, tag = "3")]
    id: String,
    #[prost(message, repeated, tag = "5")]
    outputs: Vec<Input>,
    #[prost(bytes = "vec", repeated, tag = "6")]
    raw_output_contents: Vec<Vec<u8>>,
}

/// Triton's `inference.ModelStreamInferResponse`.
#[derive(Clone, PartialEq, Message)]
struct Wrapped {
    #[prost(string, tag = "1")]
    error_message: String,
    #[prost(message, optional, tag = "2")]
    infer_response: Option<Response>,
}

#[derive(Clone, PartialEq, Message)]
struct Input {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    datatype: String,
    #[prost(int64, repeated, tag = "3")]
    shape: Vec<i64>,
    #[prost(message, optional, tag = "5")]
    contents: Option<Contents>,
}

#[derive(Clone, PartialEq, Message)]
struct Contents {
    #[prost(bool, repeated, tag = "1")]
    bools: Vec<bool>,
    #[prost(int32, repeated, tag = "2")]
    ints: Vec<i32>,
    #[prost(int64, repeated, packed = "false", tag = "3")]
    int64s: Vec<i64>,
    #[prost(uint32, repeated, tag = "4")]
    uints: Vec<u32>,
    #[prost(uint64, repeated, tag = "5")]
    uint64s: Vec<u64>,
    #[prost(float, repeated, packed = "false", tag = "6")]
    fp32s: Vec<f32>,
    #[prost(double, repeated, tag = "7")]
    fp64s: Vec<f64>,
    #[prost(bytes = "vec", repeated, tag = "8")]
    texts: Vec<Vec<u8>>,
}

/// The contents of a tensor; none for those that only raw ones hold.
fn contents(cells: &[Cell<'_>], datatype: Datatype) -> Option<Contents> {
    let mut contents = Contents::default();
    for cell in cells {
        match (datatype, cell) {
            (Datatype::Fp16 | Datatype::Bf16, _) => return None,
            (Datatype::Int64, Cell::Integer(value)) => contents.int64s.push(*value),
            (Datatype::Uint64, Cell::Integer(value)) => contents.uint64s.push(*value as u64),
            (Datatype::Uint8 | Datatype::Uint16 | Datatype::Uint32, Cell::Integer(value)) => {
                contents.uints.push(*value as u32);
            }
            (_, Cell::Integer(value)) => contents.ints.push(*value as i32),
            (Datatype::Fp32, Cell::Number(value)) => contents.fp32s.push(*value as f32),
            (_, Cell::Number(value)) => contents.fp64s.push(*value),
            (_, Cell::Boolean(value)) => contents.bools.push(*value),
            (_, Cell::Text(text)) => contents.texts.push(text.as_bytes().to_vec()),
            (_, Cell::Missing | Cell::Field(_) | Cell::Embedding(_)) => {}
        }
    }
    Some(contents)
}

fn number(name: &str, values: &[i64]) -> Input {
    let contents = Contents { int64s: values.to_vec(), ..Contents::default() };
    Input { name: name.into(), datatype: "INT64".into(), shape: vec![values.len() as i64], contents: Some(contents) }
}

fn call(id: &str, values: &[i64]) -> Request {
    Request { id: id.into(), inputs: vec![number("x", values)], ..Request::default() }
}

fn answer(id: &str, values: &[i64]) -> Response {
    Response { id: id.into(), model_version: "7".into(), outputs: vec![number("y", values)], ..Response::default() }
}

fn wrapped(answer: Response) -> Wrapped {
    Wrapped { infer_response: Some(answer), ..Wrapped::default() }
}

fn body<M: Message>(messages: &[M]) -> Vec<u8> {
    messages.iter().flat_map(|message| framed(0, &message.encode_to_vec())).collect()
}

/// The rows of a call, column by column, or the reason why there are none.
fn call_rows(requests: &[u8], responses: &[u8]) -> Result<(Rows<'static>, String), &'static str> {
    let naming = Naming::default();
    let messages = |body, role| Messages::new(body, None, role);
    let rows = rows(messages(requests, Role::Feature), Some(messages(responses, Role::Prediction)), &naming);
    let rows = rows.map_err(|error| error.reason())?.into_owned();
    let cells = |cells: &Cells<'_>| {
        let cell = |cell: &Cell<'_>| if let Cell::Integer(value) = cell { value.to_string() } else { "-".to_owned() };
        cells.iter().map(|own| cell(&own)).collect::<Vec<_>>().join(" ")
    };
    let text = rows.columns.iter().map(|column| format!("{}: {}", column.name, cells(&column.cells)));
    let text = text.collect::<Vec<_>>().join(", ");
    Ok((rows, text))
}

#[test]
fn a_call_has_rows_an_id_and_the_version_that_answered() {
    let (rows, text) = call_rows(&body(&[call("42", &[1, 2])]), &body(&[answer("42", &[3, 4])])).unwrap();
    assert_eq!(text, "x: 1 2, y: 3 4");
    assert_eq!((rows.count, rows.id.as_deref(), rows.model_version.as_deref()), (2, Some("42"), Some("7")));
    assert_eq!(call_rows(&body(&[call("", &[1])]), &body(&[answer("", &[2, 3])])).unwrap_err(), "row_mismatch");
    assert_eq!(call_rows(&body(&[call("", &[1])]), b"").unwrap().1, "x: 1");
}

#[test]
fn messages_of_a_stream_are_put_under_each_other_by_their_ids() {
    let requests = body(&[call("a", &[1]), call("b", &[2, 3])]);
    let swapped = body(&[wrapped(answer("b", &[20, 30])), wrapped(answer("a", &[10]))]);
    let (rows, text) = call_rows(&requests, &swapped).unwrap();
    assert_eq!((text.as_str(), rows.id), ("x: 1 2 3, y: 10 20 30", None));
    // Without ids that tell them apart, the order is the requests'.
    let requests = body(&[call("", &[1]), call("", &[2])]);
    let (rows, text) = call_rows(&requests, &body(&[answer("", &[10]), answer("", &[20])])).unwrap();
    assert_eq!((text.as_str(), rows.model_version.as_deref()), ("x: 1 2, y: 10 20", Some("7")));
}

#[test]
fn an_answer_that_is_an_error_leaves_its_predictions_missing() {
    let requests = body(&[call("", &[1, 2]), call("", &[3])]);
    let failed = Wrapped { error_message: "no memory".into(), infer_response: None };
    let (_, text) = call_rows(&requests, &body(&[failed, wrapped(answer("", &[30]))])).unwrap();
    assert_eq!(text, "x: 1 2 3, y: - - 30");
}

#[test]
fn a_stream_of_nothing_but_errors_is_one() {
    let failed = || Wrapped { error_message: "no memory".into(), infer_response: None };
    let failure = |responses: &[Wrapped]| {
        let requests: Vec<Request> = responses.iter().map(|_| call("", &[1])).collect();
        call_rows(&body(&requests), &body(responses)).unwrap().0.failure
    };
    assert_eq!(failure(&[failed()]), Some(500));
    assert_eq!(failure(&[failed(), failed()]), Some(500));
    assert_eq!(failure(&[failed(), wrapped(answer("", &[30]))]), None, "which may be its caller's doing");
    assert_eq!(failure(&[wrapped(answer("", &[30]))]), None);
}

#[test]
fn a_version_is_not_taken_for_an_answer() {
    for version in ["v1", "2", "10", "2025-11-25"] {
        let plain = Response { model_version: version.into(), ..Response::default() };
        assert_eq!(call_rows(&body(&[call("", &[1])]), &body(&[plain])).unwrap().1, "x: 1", "{version}");
    }
}

#[test]
fn messages_that_do_not_add_up_are_refused_with_a_reason() {
    let reason = |change: &dyn Fn(&mut Request)| {
        let mut request = call("", &[1, 2]);
        change(&mut request);
        call_rows(&body(&[request]), b"").map(|(_, text)| text)
    };
    assert_eq!(reason(&|request| request.inputs[0].shape = vec![-2]), Err("malformed"));
    assert_eq!(reason(&|request| request.inputs[0].shape = vec![1; 33]), Err("malformed"));
    assert_eq!(reason(&|request| request.inputs[0].shape = vec![i64::MAX, i64::MAX, 9]), Err("shape"));
    assert_eq!(reason(&|request| request.inputs[0].shape = vec![3]), Err("shape"));
    assert_eq!(reason(&|request| request.inputs[0].shape = vec![1]), Err("shape"));
    assert_eq!(reason(&|request| request.inputs[0].datatype = "BYTES".into()), Err("shape"));
    assert_eq!(reason(&|request| request.raw_input_contents = vec![vec![0; 16]]), Err("shape"));
    assert_eq!(reason(&|request| request.raw_input_contents = vec![vec![]; 2]), Err("malformed"));
    assert_eq!(reason(&|request| request.inputs = vec![number("", &[1]); 1001]), Err("too_many_columns"));
    assert_eq!(call_rows(&framed(0, b"\xff"), b"").unwrap_err(), "malformed");
    assert_eq!(call_rows(&body(&[call("", &[1])])[..9], b"").unwrap_err(), "malformed");
    let pieces = [&b"\x2a\x22"[..], &b"\x2a\x00".repeat(17)].concat();
    let error = side(&pieces, &Naming::default(), Role::Feature).unwrap_err().to_string();
    assert!(error.contains("pieces"), "{error}");
}

proptest! {
    #[test]
    fn tensors_come_back_from_typed_and_from_raw_contents((rows, tensors) in tensors(), prefer_raw in any::<bool>()) {
        let typed: Option<Vec<Contents>> =
            tensors.iter().map(|tensor| contents(&tensor.cells, tensor.datatype)).collect();
        let typed = typed.filter(|_| !prefer_raw);
        let input = |(index, tensor): (usize, &Written)| Input {
            name: format!("t{index}"),
            datatype: tensor.datatype_name.to_owned(),
            shape: vec![rows as i64, tensor.width as i64],
            contents: typed.as_ref().map(|typed| typed[index].clone()),
        };
        let raw = tensors.iter().map(|tensor| writing::bytes(&tensor.cells, tensor.datatype));
        let raw: Vec<Vec<u8>> = if typed.is_some() { Vec::new() } else { raw.collect() };
        let inputs = tensors.iter().enumerate().map(input).collect();
        let request = Request { inputs, raw_input_contents: raw, ..Request::default() }.encode_to_vec();
        let naming = Naming::default();
        let read = side(&request, &naming, Role::Feature).unwrap();
        prop_assert_eq!(read.rows, Some(rows));
        prop_assert_eq!(columns(read), expected(&tensors));
    }

    #[test]
    fn any_bytes_are_refused_or_decoded_without_a_panic(
        message in proptest::collection::vec(any::<u8>(), 0..60), role in prop_oneof![Just(Role::Feature), Just(Role::Prediction)]
    ) {
        if let Err(error) = side(&message, &Naming::default(), role) {
            prop_assert!(DecodeError::REASONS.contains(&error.reason()));
        }
    }
}
