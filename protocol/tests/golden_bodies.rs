//! What stands beside a recorded exchange is what is read in it: by the word of its sender and its receiver, not by ours.
//! See `testdata`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use driftline_protocol::{Cell, Exchange, Naming, Role, TensorNaming, decode_rows};
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

#[test]
fn every_recorded_exchange_is_read_as_its_recording_says() {
    let files = std::fs::read_dir(testdata()).unwrap().map(|file| file.unwrap().path());
    let with_word = files.filter(|path| path.extension().is_some_and(|end| end == "json"));
    let mut names: Vec<_> = with_word.map(|path| path.file_stem().unwrap().to_string_lossy().into_owned()).collect();
    names.sort();
    names.iter().for_each(|name| check(name));
    for server in ["kserve_", "litserve_", "mlflow_", "sagemaker_", "tensorflow_", "torchserve_"] {
        assert!(names.iter().any(|name| name.starts_with(server)), "there is none of {server}");
    }
}
