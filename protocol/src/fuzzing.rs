//! What the fuzz targets in `fuzz/` call: any bytes go in, and whatever must hold is asserted.

#![allow(missing_docs, reason = "each is a fuzz target of the same name")]

use std::collections::{BTreeMap, HashSet};
use std::sync::LazyLock;

use crate::coding;
use crate::decode::{DecodeError, decode_rows};
use crate::exchange::{Body, Exchange, Header};
use crate::mapping::Mapping;
use crate::naming::{Naming, TensorNaming};
use crate::rows::{MAX_CELLS, MAX_COLUMNS, Role};
use crate::v2::{self, JSON_LENGTH_HEADER};

/// Bytes that compressed bodies may come to here: so many that a fuzzer gets there.
const MAX_PLAIN_BYTES: usize = 64 << 10;

/// What bodies may be said to be.
const CONTENT_TYPES: [&str; 8] = [
    "application/json",
    "application/jsonlines",
    "text/csv",
    "text/csv; header=present",
    "text/event-stream",
    "text/plain",
    "image/png",
    "",
];

/// A configuration for tensors and values of a few short names.
static NAMING: LazyLock<Naming> = LazyLock::new(|| {
    let two = || vec!["first".to_owned(), "second".to_owned()];
    let tensors = [("c", TensorNaming::Columns(two())), ("e", TensorNaming::Embedding), ("i", TensorNaming::Ignored)];
    let tensors = BTreeMap::from(tensors.map(|(name, naming)| (name.to_owned(), naming)));
    let place = |text: &str| text.parse().expect("a pointer");
    let column = |name: &str| vec![(name.to_owned(), place(&format!("/{name}")))];
    let body = Mapping {
        rows: place("/a"),
        features: column("b"),
        shared: column("c"),
        results: place("/a"),
        predictions: column("b"),
        id: Some(place("/i")),
        model_version: Some(place("/v")),
    };
    Naming { features: two(), tensors, body: Some(body) }
});

/// The first two bytes say how long the JSON of both bodies is, the next two how long the request is. What of requests is
/// read in one go is what the reader of any JSON says.
pub fn decode_v2(data: &[u8]) {
    let Some((length, bodies)) = data.split_first_chunk() else { return };
    let length = u16::from_le_bytes(*length);
    let is_binary = length != u16::MAX;
    let length = Header { name: JSON_LENGTH_HEADER.to_owned(), value: length.to_string() };
    decode("/v2/models/m/infer", bodies, if is_binary { std::slice::from_ref(&length) } else { &[] });
    let Some((request, _)) = two(bodies) else { return };
    let naming = Naming::default();
    let said = (v2::request(request, None, &naming), v2::request_of_any(request, &[], &naming));
    assert_eq!(format!("{:?}", said.0), format!("{:?}", said.1));
}

/// A request and a response of gRPC messages; the first two bytes say how long the request is.
pub fn decode_v2_grpc(data: &[u8]) {
    let encoding = Header { name: "grpc-encoding".to_owned(), value: "gzip".to_owned() };
    decode("/inference.GRPCInferenceService/ModelStreamInfer", data, &[encoding]);
}

/// The same of TensorFlow Serving's messages, of every call.
pub fn decode_tensorflow_grpc(data: &[u8]) {
    let encoding = [Header { name: "grpc-encoding".to_owned(), value: "gzip".to_owned() }];
    for call in ["Predict", "Classify", "Regress", "MultiInference"] {
        decode(&format!("/tensorflow.serving.PredictionService/{call}"), data, &encoding);
    }
}

/// The first byte says which codings the rest has.
pub fn undo_codings(data: &[u8]) {
    let Some((first, bytes)) = data.split_first() else { return };
    let codings = ["gzip", "deflate", "br", "zstd", "gzip, br", "zstd, deflate"];
    let header = codings[usize::from(*first) % codings.len()];
    match coding::undone(bytes, Some(header), Role::Feature, MAX_PLAIN_BYTES) {
        Ok(plain) => assert!(plain.len() <= MAX_PLAIN_BYTES),
        Err(error) => is_counted(&error),
    }
}

pub fn decode_v1(data: &[u8]) {
    decode_typed("/v1/models/m:predict", "", data);
}

pub fn decode_invocations(data: &[u8]) {
    decode_typed("/invocations", "", data);
}

pub fn decode_openai(data: &[u8]) {
    decode_typed("/score", "openai", data);
}

pub fn decode_torchserve(data: &[u8]) {
    decode_typed("/predictions/m", "", data);
}

pub fn decode_seldon(data: &[u8]) {
    decode_typed("/api/v1.0/predictions", "", data);
}

/// A request and a response of Seldon's messages.
pub fn decode_seldon_grpc(data: &[u8]) {
    let encoding = Header { name: "grpc-encoding".to_owned(), value: "gzip".to_owned() };
    decode("/seldon.protos.Seldon/Predict", data, &[encoding]);
}

pub fn decode_generic(data: &[u8]) {
    decode_typed("/score", "generic", data);
}

/// The first byte says what both bodies are, three bits for each.
fn decode_typed(target: &str, protocol: &str, data: &[u8]) {
    let Some((types, bodies)) = data.split_first() else { return };
    let header = |index: u8| {
        let value = CONTENT_TYPES[usize::from(index) % CONTENT_TYPES.len()].to_owned();
        vec![Header { name: "content-type".to_owned(), value }]
    };
    let (request_headers, response_headers) = (header(types & 7), header(types >> 3 & 7));
    let said = Exchange { protocol: protocol.to_owned(), request_headers, response_headers, ..Exchange::default() };
    decode_exchange(target, bodies, said);
}

fn decode(target: &str, data: &[u8], headers: &[Header]) {
    let (request_headers, response_headers) = (headers.to_vec(), headers.to_vec());
    decode_exchange(target, data, Exchange { request_headers, response_headers, ..Exchange::default() });
}

/// Two bodies that lie behind each other; the first two bytes say where the second begins.
fn two(data: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, bodies) = data.split_first_chunk()?;
    Some(bodies.split_at(usize::from(u16::from_le_bytes(*length)).min(bodies.len())))
}

/// Decodes two bodies.
fn decode_exchange(target: &str, data: &[u8], said: Exchange) {
    let Some((request, response)) = two(data) else { return };
    let body =
        |content: &[u8]| Some(Body { content: content.to_vec().into(), size: content.len() as u64, ..Body::default() });
    let exchange = Exchange {
        method: "POST".to_owned(),
        target: target.to_owned(),
        status: 200,
        request: body(request),
        response: body(response),
        ..said
    };
    for naming in [&*NAMING, &Naming::default()] {
        match decode_rows(&exchange, naming) {
            Ok(rows) => {
                assert!(rows.count <= MAX_CELLS && rows.columns.len() <= 2 * MAX_COLUMNS);
                assert!(rows.columns.iter().all(|column| column.cells.len() == rows.count), "as many cells as rows");
                let names: HashSet<&str> = rows.columns.iter().map(|column| &*column.name).collect();
                assert_eq!(names.len(), rows.columns.len(), "names are told apart");
            }
            Err(error) => is_counted(&error),
        }
    }
}

fn is_counted(error: &DecodeError) {
    assert!(DecodeError::REASONS.contains(&error.reason()), "{error}");
}
