//! Exchanges that were recorded with real model servers and clients give the rows that were sent and answered. See `testdata`.

use std::path::Path;

use driftline_protocol::{Cell, Exchange, Naming, Rows, TensorNaming, decode_rows};
use prost::Message;

fn exchange(name: &str) -> Exchange {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata").join(format!("{name}.exchange"));
    let bytes = std::fs::read(path).expect("it was recorded");
    Exchange::decode(bytes.as_slice()).expect("it is an exchange")
}

fn naming() -> Naming {
    let names = ["a", "b", "c"].map(str::to_owned).to_vec();
    let tensors = [("x", TensorNaming::Columns(names)), ("vector", TensorNaming::Embedding)];
    Naming { tensors: tensors.map(|(name, naming)| (name.to_owned(), naming)).into(), ..Naming::default() }
}

fn row<'a>(rows: &Rows<'a>, index: usize) -> Vec<Cell<'a>> {
    rows.columns.iter().filter_map(|column| Some(column.cells.get(index)?.into_owned())).collect()
}

#[test]
fn mlserver_answers_in_every_form_with_the_same_rows() {
    let naming = naming();
    for (name, count, id) in [
        ("mlserver_rest_json", 2, Some("json")),
        ("mlserver_rest_gzip", 40, Some("json")),
        ("mlserver_grpc_raw", 2, Some("raw")),
        ("mlserver_grpc_typed", 2, Some("typed")),
        ("mlserver_grpc_stream", 2, None),
    ] {
        let exchange = exchange(name);
        let rows = decode_rows(&exchange, &naming).unwrap_or_else(|error| panic!("{name}: {error}"));
        let names: Vec<&str> = rows.columns.iter().map(|column| &*column.name).collect();
        assert_eq!(names, ["a", "b", "c", "total", "rounded", "is_high", "label", "vector"], "{name}");
        assert_eq!((rows.count, rows.id.as_deref(), rows.model_version.as_deref()), (count, id, Some("v1")), "{name}");
        let number = Cell::Number;
        let high = [
            vec![number(1.0), number(0.5), number(0.25), number(1.75), Cell::Integer(2), Cell::Boolean(true)],
            vec![Cell::Text("höher".into()), Cell::Embedding([1.75, 0.875, 0.4375, 0.21875].into())],
        ];
        let low = [
            vec![number(0.125), number(0.0), number(-1.0), number(-0.875), Cell::Integer(-1), Cell::Boolean(false)],
            vec![Cell::Text("low".into()), Cell::Embedding([-0.875, -0.4375, -0.21875, -0.109375].into())],
        ];
        for index in 0..count {
            let expected = if index % 2 == 0 { high.concat() } else { low.concat() };
            assert_eq!(row(&rows, index), expected, "{name}, row {index}");
        }
    }
}

#[test]
fn a_call_that_failed_has_features_and_no_predictions() {
    let (exchange, naming) = (exchange("mlserver_grpc_failed"), naming());
    assert_eq!((exchange.status, exchange.outcome()), (200, 404));
    let rows = decode_rows(&exchange, &naming).unwrap();
    assert_eq!((rows.count, rows.columns.len()), (2, 3));
}

#[test]
fn tritons_client_sends_binary_tensors_that_are_rows() {
    for name in ["tritonclient_binary_plain", "tritonclient_binary_deflate"] {
        let (exchange, naming) = (exchange(name), Naming::default());
        let rows = decode_rows(&exchange, &naming).unwrap_or_else(|error| panic!("{name}: {error}"));
        let names: Vec<&str> = rows.columns.iter().map(|column| &*column.name).collect();
        let expected = ["int16", "fp32", "plain_0", "plain_1", "fp16", "bool", "bytes", "half", "count", "label"];
        assert_eq!((names.as_slice(), rows.model_version.as_deref()), (&expected[..], Some("3")), "{name}");
        let (integer, number) = (Cell::Integer, Cell::Number);
        let text = |text: &'static str| Cell::Text(text.into());
        let features = [integer(1), number(1.0), integer(1), integer(2), number(1.0), Cell::Boolean(true), text("a")];
        assert_eq!(row(&rows, 0), [&features[..], &[number(0.5), integer(7), text("höher")]].concat(), "{name}");
        let features = [integer(0), number(0.0), integer(3), integer(4), number(0.0), Cell::Boolean(false), text("ö")];
        assert_eq!(row(&rows, 1), [&features[..], &[number(-2.0), integer(255), text("")]].concat(), "{name}");
    }
}

#[test]
fn tensorflows_messages_are_rows() {
    let (exchange, naming) = (exchange("tensorflow_predict"), Naming::default());
    let rows = decode_rows(&exchange, &naming).unwrap_or_else(|error| panic!("{error}"));
    let names: Vec<&str> = rows.columns.iter().map(|column| &*column.name).collect();
    let expected = ["carrier", "gate", "is_weekend", "minute", "pressure", "wind_0", "wind_1", "rate"];
    assert_eq!(names, [&expected[..], &["half", "label", "late", "threshold"]].concat());
    assert_eq!((rows.count, rows.model_version.as_deref()), (3, Some("3")));
    let (integer, number, text) = (Cell::Integer, Cell::Number, |text: &'static str| Cell::Text(text.into()));
    let features = [text("\u{f6}"), integer(255), Cell::Boolean(false), integer(-1), number(-0.5), number(3.0)];
    let rest = [number(-0.25), number(0.5), number(-2.0), text(""), number(0.5), number(0.75)];
    assert_eq!(row(&rows, 1), [features, rest].concat());
    assert_eq!(row(&rows, 2)[2..4], [Cell::Boolean(false), integer((1 << 53) + 1)], "the last value is repeated");
    let failed = self::exchange("tensorflow_predict_failed");
    let rows = decode_rows(&failed, &naming).unwrap();
    assert_eq!((failed.outcome(), rows.count, rows.columns.len()), (404, 1, 1));
}
