use proptest::prelude::*;
use prost::Message;

use super::*;
use crate::decode::decode_rows;
use crate::exchange::{Body, Exchange};
use crate::grpc::framed;
use crate::recorded::JSON;

/// `google.protobuf.Value`.
#[derive(Clone, PartialEq, Message)]
struct Any {
    #[prost(oneof = "Kind", tags = "1, 2, 3, 4, 5, 6")]
    kind: Option<Kind>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
enum Kind {
    #[prost(int32, tag = "1")]
    Null(i32),
    #[prost(double, tag = "2")]
    Number(f64),
    #[prost(string, tag = "3")]
    Text(String),
    #[prost(bool, tag = "4")]
    Boolean(bool),
    #[prost(message, tag = "5")]
    Object(Struct),
    #[prost(message, tag = "6")]
    List(ListValue),
}

#[derive(Clone, PartialEq, Message)]
struct Struct {
    #[prost(btree_map = "string, message", tag = "1")]
    fields: std::collections::BTreeMap<String, Any>,
}

#[derive(Clone, PartialEq, Message)]
struct ListValue {
    #[prost(message, repeated, tag = "1")]
    values: Vec<Any>,
}

#[derive(Clone, PartialEq, Message)]
struct Tensor {
    #[prost(int32, repeated, tag = "1")]
    shape: Vec<i32>,
    #[prost(double, repeated, tag = "2")]
    values: Vec<f64>,
}

#[derive(Clone, PartialEq, Message)]
struct DefaultData {
    #[prost(string, repeated, tag = "1")]
    names: Vec<String>,
    #[prost(message, optional, tag = "2")]
    tensor: Option<Tensor>,
    #[prost(message, optional, tag = "3")]
    ndarray: Option<ListValue>,
}

#[derive(Clone, PartialEq, Message)]
struct Meta {
    #[prost(string, tag = "1")]
    puid: String,
}

#[derive(Clone, PartialEq, Message)]
struct SeldonMessage {
    #[prost(message, optional, tag = "2")]
    meta: Option<Meta>,
    #[prost(message, optional, tag = "3")]
    data: Option<DefaultData>,
    #[prost(bytes = "vec", optional, tag = "4")]
    bin_data: Option<Vec<u8>>,
    #[prost(string, optional, tag = "5")]
    str_data: Option<String>,
    #[prost(message, optional, tag = "6")]
    json_data: Option<Any>,
}

/// A JSON value as `google.protobuf.Value` has it.
fn any_of(value: &serde_json::Value) -> Any {
    let kind = match value {
        serde_json::Value::Null => Kind::Null(0),
        serde_json::Value::Bool(value) => Kind::Boolean(*value),
        serde_json::Value::Number(value) => Kind::Number(value.as_f64().unwrap()),
        serde_json::Value::String(value) => Kind::Text(value.clone()),
        serde_json::Value::Array(values) => Kind::List(list(values)),
        serde_json::Value::Object(entries) => {
            Kind::Object(Struct { fields: entries.iter().map(|(name, value)| (name.clone(), any_of(value))).collect() })
        }
    };
    Any { kind: Some(kind) }
}

fn list(values: &[serde_json::Value]) -> ListValue {
    ListValue { values: values.iter().map(any_of).collect() }
}

/// A message in JSON as the same over gRPC.
fn message(json: &str) -> Vec<u8> {
    let json: serde_json::Value = serde_json::from_str(json).unwrap();
    let numbers = |value: &serde_json::Value| value.as_array().unwrap().iter().map(|v| v.as_f64().unwrap()).collect();
    let tensor = |tensor: &serde_json::Value| {
        let shape: Vec<f64> = numbers(&tensor["shape"]);
        Tensor { shape: shape.into_iter().map(|size| size as i32).collect(), values: numbers(&tensor["values"]) }
    };
    let data = json.get("data").map(|data| DefaultData {
        names: data["names"].as_array().into_iter().flatten().map(|name| name.as_str().unwrap().to_owned()).collect(),
        tensor: data.get("tensor").map(tensor),
        ndarray: data.get("ndarray").map(|rows| list(rows.as_array().unwrap())),
    });
    let text = |name: &str| json.get(name).map(|text| text.as_str().unwrap().to_owned());
    let made = SeldonMessage {
        meta: json.get("meta").map(|meta| Meta { puid: meta["puid"].as_str().unwrap().to_owned() }),
        data,
        bin_data: text("binData").map(String::into_bytes),
        str_data: text("strData"),
        json_data: json.get("jsonData").map(any_of),
    };
    made.encode_to_vec()
}

fn exchange(request: &[u8], response: &[u8]) -> Exchange {
    let body = |message: &[u8]| {
        let content = framed(0, message);
        Some(Body { size: content.len() as u64, content: content.into(), ..Body::default() })
    };
    let target = "/seldon.protos.Seldon/Predict".to_owned();
    let (request, response) = (body(request), body(response));
    Exchange { method: "POST".into(), target, status: 200, request, response, ..Exchange::default() }
}

/// The rows of both forms, by the names of their columns: over gRPC, objects have no order.
fn both(request: &str, response: &str) -> [Result<Vec<Vec<String>>, &'static str>; 2] {
    let naming = Naming::default();
    let read = |exchange: &Exchange| {
        let rows = decode_rows(exchange, &naming).map_err(|error| error.reason())?;
        let mut columns: Vec<_> = rows.columns.iter().collect();
        columns.sort_by_key(|column| (column.role == Role::Prediction, column.name.clone()));
        let row = |row: usize| {
            columns.iter().map(|column| format!("{}={:?}", column.name, column.cells.get(row).unwrap())).collect()
        };
        Ok((0..rows.count).map(row).collect())
    };
    let json = crate::recorded::exchange("/api/v1.0/predictions", (JSON, request), (JSON, response));
    [read(&json), read(&exchange(&message(request), &message(response)))]
}

#[test]
fn messages_have_the_rows_of_their_json_form() {
    let answer = r#"{"data": {"names": ["late"], "tensor": {"shape": [2, 1], "values": [0.25, 0.5]}}}"#;
    for (request, response) in [
        (r#"{"data": {"names": ["temp", "carrier"], "ndarray": [[39.02, "UA"], [41, null]]}}"#, answer),
        (r#"{"data": {"names": ["temp"], "tensor": {"shape": [2], "values": [39.02, 41]}}}"#, answer),
        (r#"{"data": {"ndarray": [[1, true], [2, false]]}}"#, r#"{"data": {"ndarray": [0, 1]}}"#),
        (r#"{"data": {"names": ["a", "b"], "ndarray": [1, 2]}}"#, r#"{"strData": "yes"}"#),
        (r#"{"jsonData": {"age": 39, "address": {"city": "Oslo"}, "w": [1, [2]]}}"#, r#"{"jsonData": {"score": 0.5}}"#),
        (r#"{"jsonData": [{"age": 39}, {"age": 52}]}"#, r#"{"jsonData": [0.5, 0.25]}"#),
        (r#"{"strData": "a film"}"#, r#"{"binData": "good"}"#),
    ] {
        let [json, grpc] = both(request, response);
        assert!(json.is_ok(), "{request} {json:?}");
        assert_eq!(json, grpc, "{request}");
    }
    for request in [
        "{}",
        r#"{"data": {}}"#,
        r#"{"data": {"tensor": {"shape": [2, 2], "values": [1]}}}"#,
        r#"{"data": {"tensor": {"shape": [-1], "values": [1]}}}"#,
        r#"{"data": {"ndarray": [[1], [2], [3]]}}"#,
    ] {
        let [json, grpc] = both(request, answer);
        assert!(json.is_err(), "{request}");
        assert_eq!(json, grpc, "{request}");
    }
}

#[test]
fn the_id_is_the_answers_and_else_the_requests() {
    let plain = message(r#"{"data": {"ndarray": [[1]]}}"#);
    let named = message(r#"{"data": {"ndarray": [[1]]}, "meta": {"puid": "k2c"}}"#);
    let other = message(r#"{"data": {"ndarray": [[1]]}, "meta": {"puid": "x"}}"#);
    let id = |request: &[u8], response: &[u8]| {
        decode_rows(&exchange(request, response), &Naming::default()).unwrap().id.map(Cow::into_owned)
    };
    assert_eq!(id(&plain, &named).as_deref(), Some("k2c"));
    assert_eq!(id(&other, &named).as_deref(), Some("k2c"));
    assert_eq!(id(&other, &plain).as_deref(), Some("x"));
    assert_eq!(id(&plain, &plain), None);
}

#[test]
fn a_short_message_makes_no_more_than_is_allowed() {
    let naming = Naming::default();
    let read = |request: &[u8]| decode_rows(&exchange(request, b""), &naming).map(|rows| rows.count);
    let data = |data: DefaultData| SeldonMessage { data: Some(data), ..SeldonMessage::default() }.encode_to_vec();
    let nulls = ListValue { values: vec![Any::default(); MAX_CELLS + 1] };
    assert_eq!(
        read(&data(DefaultData { ndarray: Some(nulls), ..DefaultData::default() })),
        Err(DecodeError::TooManyCells)
    );
    let tensor = Tensor { shape: vec![0; MAX_CELLS + 1], values: vec![] };
    assert_eq!(
        read(&data(DefaultData { tensor: Some(tensor), ..DefaultData::default() })),
        Err(DecodeError::TooManyCells)
    );
    let deep = format!(r#"{{"jsonData": {}1{}}}"#, "[".repeat(40), "]".repeat(40));
    assert_eq!(read(&message(&deep)).map_err(|error| error.reason()), Err("malformed"));
    let names = vec!["n".repeat(1001)];
    let named = data(DefaultData { names, ndarray: Some(ListValue { values: vec![any_of(&1.into())] }), tensor: None });
    assert_eq!(read(&named).map_err(|error| error.reason()), Err("malformed"));
}

proptest! {
    #[test]
    fn tables_come_back_as_from_json(
        rows in (1..5usize).prop_flat_map(|width| proptest::collection::vec(
            proptest::collection::vec(prop_oneof![
                proptest::num::f64::NORMAL.prop_map(serde_json::Value::from),
                "\\PC{0,5}".prop_map(serde_json::Value::from),
                any::<bool>().prop_map(serde_json::Value::from),
                Just(serde_json::Value::Null),
            ], width), 1..6)),
        is_named in any::<bool>()
    ) {
        let names: Vec<String> = (0..if is_named { rows[0].len() } else { 0 }).map(|index| format!("c{index}")).collect();
        let request = serde_json::json!({ "data": { "names": names, "ndarray": rows } }).to_string();
        let response = serde_json::json!({ "data": { "ndarray": vec![0.5; rows.len()] } }).to_string();
        let [json, grpc] = both(&request, &response);
        prop_assert!(json.is_ok());
        prop_assert_eq!(json, grpc);
    }

    #[test]
    fn any_bytes_are_refused_or_decoded_without_a_panic(
        request in proptest::collection::vec(any::<u8>(), 0..60), response in proptest::collection::vec(any::<u8>(), 0..60)
    ) {
        if let Err(error) = decode_rows(&exchange(&request, &response), &Naming::default()) {
            prop_assert!(DecodeError::REASONS.contains(&error.reason()));
        }
    }
}
