//! What the fuzz targets in `fuzz/` call: any bytes go in, and whatever must hold is asserted.

#![allow(missing_docs, reason = "each is a fuzz target of the same name")]

use std::collections::HashSet;
use std::sync::LazyLock;

use crate::decode::{DecodeError, Naming, decode_rows};
use crate::exchange::{Body, Exchange, Header};
use crate::mapping::Mapping;
use crate::rows::{MAX_CELLS, MAX_COLUMNS};

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

/// A configuration with names that a fuzzer finds.
static MAPPED: LazyLock<Naming> = LazyLock::new(|| {
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
    Naming { features: vec!["first".to_owned(), "second".to_owned()], body: Some(body) }
});

pub fn decode_v1(data: &[u8]) {
    decode("/v1/models/m:predict", "", data);
}

pub fn decode_invocations(data: &[u8]) {
    decode("/invocations", "", data);
}

pub fn decode_openai(data: &[u8]) {
    decode("/score", "openai", data);
}

pub fn decode_torchserve(data: &[u8]) {
    decode("/predictions/m", "", data);
}

pub fn decode_generic(data: &[u8]) {
    decode("/score", "generic", data);
}

/// Decodes two bodies that lie behind each other. The first byte says what they are, three bits for each; the next two,
/// where the second begins.
fn decode(target: &str, protocol: &str, data: &[u8]) {
    let Some((&[types, low, high], bodies)) = data.split_first_chunk() else { return };
    let at = usize::from(u16::from_le_bytes([low, high])).min(bodies.len());
    let (request, response) = bodies.split_at(at);
    let body =
        |content: &[u8]| Some(Body { content: content.to_vec().into(), size: content.len() as u64, ..Body::default() });
    let header = |index: u8| {
        let value = CONTENT_TYPES[usize::from(index) % CONTENT_TYPES.len()].to_owned();
        vec![Header { name: "content-type".to_owned(), value }]
    };
    let exchange = Exchange {
        method: "POST".to_owned(),
        target: target.to_owned(),
        protocol: protocol.to_owned(),
        status: 200,
        request_headers: header(types & 7),
        response_headers: header(types >> 3 & 7),
        request: body(request),
        response: body(response),
        ..Exchange::default()
    };
    for naming in [&*MAPPED, &Naming::default()] {
        match decode_rows(&exchange, naming) {
            Ok(rows) => {
                assert!(rows.count <= MAX_CELLS && rows.columns.len() <= 2 * MAX_COLUMNS);
                assert!(rows.columns.iter().all(|column| column.cells.len() == rows.count), "as many cells as rows");
                let names: HashSet<&str> = rows.columns.iter().map(|column| &*column.name).collect();
                assert_eq!(names.len(), rows.columns.len(), "names are told apart");
            }
            Err(error) => assert!(DecodeError::REASONS.contains(&error.reason()), "{error}"),
        }
    }
}
