//! What stands beside a recorded exchange is what is read in it: by the word of its sender and its receiver, not by ours.
//! See `testdata`.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::{Path, PathBuf};

use driftline_protocol::{
    Body, Cell, Exchange, Header, MAX_DECOMPRESSED_BYTES, Naming, Role, TensorNaming, decode_rows,
};
use prost::Message;
use serde_json::Value;

fn testdata() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata")
}

/// What an exchange says, as its recording wrote it down.
#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Expected {
    outcome: u32,
    id: Option<String>,
    version: Option<String>,
    naming: Names,
    /// Why there are no rows, where there are none.
    reason: Option<String>,
    #[serde(default)]
    columns: Vec<Column>,
}

/// What the configuration says of columns that the bodies do not name.
#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
#[derive(Default)]
struct Names {
    features: Vec<String>,
    tensors: BTreeMap<String, Vec<String>>,
}

#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Column {
    name: String,
    role: String,
    #[serde(rename = "type")]
    kind: String,
    cells: Vec<Value>,
}

impl Names {
    fn naming(self) -> Naming {
        let tensors = self.tensors.into_iter().map(|(name, columns)| (name, TensorNaming::Columns(columns))).collect();
        Naming { features: self.features, tensors, ..Naming::default() }
    }
}

/// A cell as it is written: its type and its value. What is missing has no type.
fn written(cell: &Cell<'_>) -> (&'static str, Value) {
    match cell {
        Cell::Missing => ("missing", Value::Null),
        Cell::Integer(value) => ("integer", (*value).into()),
        Cell::Number(value) if value.is_nan() => ("number", "nan".into()),
        Cell::Number(value) if value.is_infinite() => ("number", if *value > 0.0 { "inf" } else { "-inf" }.into()),
        Cell::Number(value) => ("number", (*value).into()),
        Cell::Boolean(value) => ("boolean", (*value).into()),
        Cell::Text(text) => ("text", text.as_ref().into()),
        Cell::Field(text) => ("field", text.as_ref().into()),
        Cell::Embedding(vector) => ("embedding", vector.iter().copied().map(f64::from).collect()),
    }
}

fn check(name: &str) {
    let read = |end: &str| std::fs::read(testdata().join(format!("{name}.{end}"))).expect(name);
    let expected: Expected = serde_json::from_slice(&read("json")).unwrap_or_else(|error| panic!("{name}: {error}"));
    let exchange = Exchange::decode(read("exchange").as_slice()).expect(name);
    assert_eq!(exchange.outcome(), expected.outcome, "{name}");
    let naming = expected.naming.naming();
    let rows = match decode_rows(&exchange, &naming) {
        Ok(rows) => rows,
        Err(error) => return assert_eq!(Some(error.reason()), expected.reason.as_deref(), "{name}: {error}"),
    };
    assert_eq!(expected.reason, None, "{name} has rows");
    assert_eq!(
        (rows.id.as_deref(), rows.model_version.as_deref()),
        (expected.id.as_deref(), expected.version.as_deref()),
        "{name}"
    );
    let names: Vec<_> = rows.columns.iter().map(|column| (&*column.name, column.role)).collect();
    let role = |column: &Column| if column.role == "feature" { Role::Feature } else { Role::Prediction };
    let wanted: Vec<_> = expected.columns.iter().map(|column| (&*column.name, role(column))).collect();
    assert_eq!(names, wanted, "{name}");
    for (column, wanted) in rows.columns.iter().zip(&expected.columns) {
        let cells: Vec<_> = column.cells.iter().map(|cell| written(&cell)).collect();
        let kind = |cell: &Value| if cell.is_null() { "missing" } else { &*wanted.kind };
        let wanted: Vec<_> = wanted.cells.iter().map(|cell| (kind(cell), cell.clone())).collect();
        assert_eq!(cells, wanted, "{name}, {}", column.name);
    }
}

/// All recordings that say what is in them.
fn names() -> Vec<String> {
    let files = std::fs::read_dir(testdata()).expect("a folder").map(|file| file.expect("a file").path());
    let with_word = files.filter(|path| path.extension().is_some_and(|end| end == "json"));
    let names = with_word.filter_map(|path| Some(path.file_stem()?.to_string_lossy().into_owned()));
    let mut names: Vec<_> = names.collect();
    names.sort();
    names
}

#[test]
fn every_recorded_exchange_is_read_as_its_recording_says() {
    let names = names();
    names.iter().for_each(|name| check(name));
    for server in ["kserve_", "litserve_", "mlflow_", "sagemaker_", "seldon_", "tensorflow_", "torchserve_"] {
        assert!(names.iter().any(|name| name.starts_with(server)), "there is none of {server}");
    }
}

fn gzip(plain: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(plain).and_then(|()| encoder.finish()).expect("memory takes everything")
}

fn zstd(plain: &[u8]) -> Vec<u8> {
    zstd::bulk::compress(plain, 1).expect("memory takes everything")
}

/// A body as a server sends it that compresses.
fn replace(body: &mut Option<Body>, headers: &mut Vec<Header>, coding: &str, content: Vec<u8>) {
    headers.push(Header { name: "content-encoding".to_owned(), value: coding.to_owned() });
    *body = Some(Body { size: content.len() as u64, content: content.into(), ..Body::default() });
}

/// The bodies of gRPC are compressed message by message; real clients do so in `tests/python/test_protocols.py`.
#[test]
fn bodies_of_every_server_may_be_compressed_and_none_is_a_bomb() {
    let zeros = vec![0; MAX_DECOMPRESSED_BYTES + 1];
    let bombs = [("gzip", gzip(&zeros)), ("zstd", zstd(&zeros))];
    let mut servers = BTreeSet::new();
    for name in names() {
        let exchange = Exchange::decode(std::fs::read(testdata().join(format!("{name}.exchange"))).unwrap().as_slice());
        let mut plain = exchange.expect(&name);
        // They say where messages end in what passed.
        (plain.request_messages, plain.response_messages) = (None, None);
        let headers = [&plain.request_headers, &plain.response_headers].into_iter().flatten();
        let says = |header: &Header| header.name == "content-encoding" || header.value.starts_with("application/grpc");
        let (Some(request), Some(response), false) = (&plain.request, &plain.response, headers.clone().any(says))
        else {
            continue;
        };
        servers.extend(name.split('_').next().map(str::to_owned));
        let read = |exchange: &Exchange| {
            let rows = decode_rows(exchange, &Naming::default()).map(|rows| format!("{rows:?}"));
            rows.map_err(|error| error.reason())
        };
        for (coding, compress) in [("gzip", gzip as fn(&[u8]) -> Vec<u8>), ("zstd", zstd)] {
            let mut sent = plain.clone();
            replace(&mut sent.request, &mut sent.request_headers, coding, compress(&request.content));
            replace(&mut sent.response, &mut sent.response_headers, coding, compress(&response.content));
            assert_eq!(read(&sent), read(&plain), "{name}, {coding}");
        }
        for (coding, bomb) in &bombs {
            let mut sent = plain.clone();
            replace(&mut sent.request, &mut sent.request_headers, coding, bomb.clone());
            assert_eq!(read(&sent), Err("decompressed_size"), "{name}, {coding}");
        }
    }
    let expected = ["kserve", "litserve", "mlflow", "sagemaker", "seldon", "tensorflow", "torchserve"];
    assert!(servers.iter().map(String::as_str).eq(expected), "{servers:?}");
}
