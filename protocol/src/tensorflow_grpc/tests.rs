use std::collections::BTreeMap;

use proptest::prelude::*;
use prost::Message;

use super::*;
use crate::grpc::framed;
use crate::raw::writing;
use crate::v2::tests::{Written, columns, expected, tensors};

/// `tensorflow.serving.PredictRequest`; of a map, its entries.
#[derive(Clone, PartialEq, Message)]
struct Request {
    #[prost(message, optional, tag = "1")]
    model_spec: Option<ModelSpec>,
    #[prost(btree_map = "string, message", tag = "2")]
    inputs: BTreeMap<String, TensorProto>,
}

#[derive(Clone, PartialEq, Message)]
struct Response {
    #[prost(btree_map = "string, message", tag = "1")]
    outputs: BTreeMap<String, TensorProto>,
    #[prost(message, optional, tag = "2")]
    model_spec: Option<ModelSpec>,
}

#[derive(Clone, PartialEq, Message)]
struct ModelSpec {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(message, optional, tag = "2")]
    version: Option<Int64Value>,
    #[prost(string, tag = "3")]
    signature_name: String,
    #[prost(string, tag = "4")]
    version_label: String,
}

#[derive(Clone, Copy, PartialEq, Message)]
struct Int64Value {
    #[prost(int64, tag = "1")]
    value: i64,
}

#[derive(Clone, PartialEq, Message)]
struct TensorProto {
    #[prost(int32, tag = "1")]
    dtype: i32,
    #[prost(message, optional, tag = "2")]
    tensor_shape: Option<TensorShape>,
    #[prost(bytes = "vec", tag = "4")]
    tensor_content: Vec<u8>,
    #[prost(float, repeated, packed = "false", tag = "5")]
    float_val: Vec<f32>,
    #[prost(double, repeated, tag = "6")]
    double_val: Vec<f64>,
    #[prost(int32, repeated, tag = "7")]
    int_val: Vec<i32>,
    #[prost(bytes = "vec", repeated, tag = "8")]
    string_val: Vec<Vec<u8>>,
    #[prost(int64, repeated, tag = "10")]
    int64_val: Vec<i64>,
    #[prost(bool, repeated, tag = "11")]
    bool_val: Vec<bool>,
    #[prost(int32, repeated, tag = "13")]
    half_val: Vec<i32>,
    #[prost(uint32, repeated, tag = "16")]
    uint32_val: Vec<u32>,
    #[prost(uint64, repeated, packed = "false", tag = "17")]
    uint64_val: Vec<u64>,
}

#[derive(Clone, PartialEq, Message)]
struct TensorShape {
    #[prost(message, repeated, tag = "2")]
    dim: Vec<Dim>,
    #[prost(bool, tag = "3")]
    unknown_rank: bool,
}

#[derive(Clone, PartialEq, Message)]
struct Dim {
    #[prost(int64, tag = "1")]
    size: i64,
    #[prost(string, tag = "2")]
    name: String,
}

fn shape(sizes: &[i64]) -> Option<TensorShape> {
    let dim = sizes.iter().map(|size| Dim { size: *size, name: String::new() }).collect();
    Some(TensorShape { dim, unknown_rank: false })
}

/// A tensor of these values in single precision.
fn floats(sizes: &[i64], values: &[f32]) -> TensorProto {
    TensorProto { dtype: 1, tensor_shape: shape(sizes), float_val: values.to_vec(), ..TensorProto::default() }
}

fn texts(sizes: &[i64], values: &[&str]) -> TensorProto {
    let string_val = values.iter().map(|value| value.as_bytes().to_vec()).collect();
    TensorProto { dtype: 7, tensor_shape: shape(sizes), string_val, ..TensorProto::default() }
}

fn number(datatype: &str) -> i32 {
    DATATYPES.iter().find(|(_, name)| *name == datatype).unwrap().0 as i32
}

/// A tensor with its values in the fields that TensorFlow puts them in.
fn typed(written: &Written, rows: usize) -> TensorProto {
    let tensor_shape = shape(&[rows as i64, written.width as i64]);
    let mut tensor = TensorProto { dtype: number(written.datatype_name), tensor_shape, ..TensorProto::default() };
    for cell in &written.cells {
        match (written.datatype, cell) {
            (Datatype::Fp16, Cell::Number(value)) => {
                tensor.half_val.push(half::f16::from_f64(*value).to_bits().into());
            }
            (Datatype::Bf16, Cell::Number(value)) => {
                tensor.half_val.push(half::bf16::from_f64(*value).to_bits().into());
            }
            (Datatype::Fp32, Cell::Number(value)) => tensor.float_val.push(*value as f32),
            (Datatype::Uint64, Cell::Number(value)) => tensor.uint64_val.push(*value as u64),
            (_, Cell::Number(value)) => tensor.double_val.push(*value),
            (Datatype::Int64, Cell::Integer(value)) => tensor.int64_val.push(*value),
            (Datatype::Uint64, Cell::Integer(value)) => tensor.uint64_val.push(*value as u64),
            (Datatype::Uint32, Cell::Integer(value)) => tensor.uint32_val.push(*value as u32),
            (_, Cell::Integer(value)) => tensor.int_val.push(*value as i32),
            (_, Cell::Boolean(value)) => tensor.bool_val.push(*value),
            (_, Cell::Text(text)) => tensor.string_val.push(text.as_bytes().to_vec()),
            (_, Cell::Missing | Cell::Field(_) | Cell::Embedding(_)) => {}
        }
    }
    tensor
}

/// The same with its values as bytes.
fn content(written: &Written, rows: usize) -> TensorProto {
    let tensor_shape = shape(&[rows as i64, written.width as i64]);
    let tensor_content = if written.datatype == Datatype::Bytes {
        let texts: Vec<&[u8]> =
            written.cells.iter().map(|cell| if let Cell::Text(text) = cell { text.as_bytes() } else { b"" }).collect();
        let mut bytes = Vec::new();
        texts.iter().for_each(|text| prost::encoding::encode_varint(text.len() as u64, &mut bytes));
        [bytes, texts.concat()].concat()
    } else {
        writing::bytes(&written.cells, written.datatype)
    };
    TensorProto { dtype: number(written.datatype_name), tensor_shape, tensor_content, ..TensorProto::default() }
}

fn inputs<const N: usize>(tensors: [(&str, TensorProto); N]) -> BTreeMap<String, TensorProto> {
    tensors.into_iter().map(|(name, tensor)| (name.to_owned(), tensor)).collect()
}

/// The rows of a call, `name=cell` in each, or the reason why there are none.
fn call<const N: usize, const M: usize>(
    request: [(&str, TensorProto); N],
    response: [(&str, TensorProto); M],
) -> Result<Vec<String>, &'static str> {
    let request = Request { inputs: inputs(request), ..Request::default() };
    let response = Response { outputs: inputs(response), ..Response::default() };
    let naming = Naming::default();
    let (request, response) = (framed(0, &request.encode_to_vec()), framed(0, &response.encode_to_vec()));
    let messages = |body, role| Messages::new(body, None, role);
    let rows =
        rows(Call::Predict, messages(&request, Role::Feature), Some(messages(&response, Role::Prediction)), &naming);
    let rows = rows.map_err(|error| error.reason())?;
    let row = |row: usize| {
        let cells = rows.columns.iter().map(|column| format!("{}={:?}", column.name, column.cells.get(row).unwrap()));
        cells.collect::<Vec<_>>().join(" ")
    };
    Ok((0..rows.count).map(row).collect())
}

#[test]
fn inputs_and_outputs_become_columns_in_the_order_of_their_names() {
    let rows = call(
        [("wind", floats(&[2, 2], &[1.0, 2.0, 3.0, 4.0])), ("carrier", texts(&[2, 1], &["UA", "DL"]))],
        [("late", floats(&[2], &[0.25, 0.5]))],
    );
    let expected = [
        "carrier=Text(\"UA\") wind_0=Number(1.0) wind_1=Number(2.0) late=Number(0.25)",
        "carrier=Text(\"DL\") wind_0=Number(3.0) wind_1=Number(4.0) late=Number(0.5)",
    ];
    assert_eq!(rows.unwrap(), expected);
}

#[test]
fn a_tensor_without_a_dimension_is_the_same_in_every_row() {
    let rate = || ("rate", floats(&[], &[0.5]));
    let rows = call([("x", floats(&[2], &[1.0, 2.0])), rate()], [("loss", floats(&[], &[7.0]))]).unwrap();
    assert_eq!(rows[1], "x=Number(2.0) rate=Number(0.5) loss=Number(7.0)");
    assert_eq!(call([rate()], [("y", floats(&[2], &[1.0, 2.0]))]).unwrap().len(), 2);
    assert_eq!(call([rate()], []).unwrap(), ["rate=Number(0.5)"]);
    let long = "x".repeat(MAX_SHARED_BYTES + 1);
    assert_eq!(call([("x", floats(&[2], &[1.0, 2.0])), ("t", texts(&[], &[&long]))], []), Err("shape"));
}

#[test]
fn values_that_are_left_out_are_the_last_one() {
    let rows = call([("x", floats(&[3], &[1.0, 2.0]))], [("y", floats(&[3], &[]))]).unwrap();
    assert_eq!(rows[2], "x=Number(2.0) y=Number(0.0)");
    let long = "x".repeat(MAX_SHARED_BYTES + 1);
    assert_eq!(call([("t", texts(&[2], &[&long]))], []), Err("shape"));
    assert_eq!(call([("x", floats(&[5_000_000], &[1.0]))], []), Err("too_many_cells"));
}

#[test]
fn the_version_is_the_one_that_answered() {
    let version = |spec: ModelSpec| super::version(&spec.encode_to_vec()).unwrap().map(Cow::into_owned);
    let numbered =
        ModelSpec { version: Some(Int64Value { value: 7 }), version_label: "stable".into(), ..Default::default() };
    assert_eq!(version(numbered).as_deref(), Some("7"));
    assert_eq!(version(ModelSpec { version_label: "stable".into(), ..Default::default() }).as_deref(), Some("stable"));
    assert_eq!(version(ModelSpec { name: "m".into(), ..Default::default() }), None);
}

#[test]
fn messages_that_do_not_add_up_are_refused_with_a_reason() {
    let reason = |change: &dyn Fn(&mut TensorProto)| {
        let mut tensor = floats(&[2], &[1.0, 2.0]);
        change(&mut tensor);
        call([("x", tensor)], []).map(|rows| rows.len())
    };
    assert_eq!(reason(&|_| ()), Ok(2));
    assert_eq!(reason(&|tensor| tensor.dtype = 8), Err("shape"));
    assert_eq!(reason(&|tensor| tensor.dtype = 7), Err("shape"));
    assert_eq!(reason(&|tensor| tensor.tensor_shape = shape(&[1])), Err("shape"));
    assert_eq!(reason(&|tensor| tensor.tensor_shape = shape(&[-1])), Err("malformed"));
    assert_eq!(reason(&|tensor| tensor.tensor_shape = shape(&[1; 255])), Err("malformed"));
    assert_eq!(reason(&|tensor| tensor.tensor_shape = shape(&[i64::MAX, i64::MAX, 9])), Err("shape"));
    assert_eq!(reason(&|tensor| tensor.tensor_content = vec![0; 7]), Err("shape"));
    let unknown = Some(TensorShape { unknown_rank: true, dim: Vec::new() });
    assert_eq!(reason(&|tensor| tensor.tensor_shape = unknown.clone()), Err("malformed"));
    let naming = Naming::default();
    assert!(
        rows(Call::Predict, Messages::new(b"", None, Role::Feature), None, &naming).is_err(),
        "there is no message"
    );
    let pieces = [&b"\x12\x42\x0a\x00"[..], &b"\x12\x00".repeat(32)].concat();
    let error = message_of(&pieces, &naming, Role::Feature).unwrap_err().to_string();
    assert!(error.contains("pieces"), "{error}");
}

proptest! {
    #[test]
    fn tensors_come_back_from_typed_values_and_from_content((rows, tensors) in tensors(), as_content in any::<bool>()) {
        let proto = if as_content { content } else { typed };
        let inputs = tensors.iter().enumerate().map(|(index, tensor)| (format!("t{index}"), proto(tensor, rows)));
        let request = Request { inputs: inputs.collect(), ..Request::default() }.encode_to_vec();
        let naming = Naming::default();
        let read = message_of(&request, &naming, Role::Feature).unwrap().side;
        prop_assert_eq!(read.rows, Some(rows));
        prop_assert_eq!(columns(read), expected(&tensors));
    }

    #[test]
    fn any_bytes_are_refused_or_decoded_without_a_panic(
        message in proptest::collection::vec(any::<u8>(), 0..60), role in prop_oneof![Just(Role::Feature), Just(Role::Prediction)]
    ) {
        if let Err(error) = message_of(&message, &Naming::default(), role) {
            prop_assert!(DecodeError::REASONS.contains(&error.reason()));
        }
    }
}
