//! Laws of all decoders of bodies without tensors: a table that was written in a protocol's form is read as it was.

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use crate::exchange::Exchange;
use crate::recorded::{CSV, EVENTS, JSON, LINES, exchange};
use crate::{Cell, DecodeError, Naming, decode_rows};

/// Columns of one length, with names of their own.
#[derive(Debug, Clone)]
struct Table {
    names: Vec<String>,
    rows: Vec<Vec<Value>>,
}

impl Table {
    fn records(&self) -> Vec<Value> {
        let record = |row: &Vec<Value>| Value::Object(self.names.iter().cloned().zip(row.iter().cloned()).collect());
        self.rows.iter().map(record).collect()
    }

    fn by_column(&self) -> Value {
        let column = |index: usize| self.rows.iter().map(|row| row[index].clone()).collect();
        let columns = self.names.iter().enumerate().map(|(index, name)| (name.clone(), Value::Array(column(index))));
        Value::Object(columns.collect::<Map<_, _>>())
    }

    /// What is read of it, field by field; of a format without types, as it is spelled.
    fn cells(&self, is_typed: bool) -> Vec<Vec<String>> {
        let cell = |value: &Value| match value {
            Value::Null => "Missing".to_owned(),
            Value::Bool(value) if is_typed => format!("{:?}", Cell::Boolean(*value)),
            Value::Number(value) if is_typed => format!("{:?}", Cell::Number(value.as_f64().unwrap())),
            Value::String(text) if text.is_empty() && !is_typed => "Missing".to_owned(),
            Value::String(text) if is_typed => format!("{:?}", Cell::Text(text.into())),
            value => format!("{:?}", Cell::Field(field(value).into())),
        };
        self.rows.iter().map(|row| row.iter().map(cell).collect()).collect()
    }

    fn csv(&self, has_header: bool) -> String {
        let mut writer = csv::Writer::from_writer(Vec::new());
        if has_header {
            writer.write_record(&self.names).unwrap();
        }
        self.rows.iter().for_each(|row| writer.write_record(row.iter().map(field)).unwrap());
        String::from_utf8(writer.into_inner().unwrap()).unwrap()
    }

    fn lines(&self) -> String {
        self.records().iter().map(|record| format!("{record}\n")).collect()
    }
}

fn field(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        value => value.to_string(),
    }
}

fn tables() -> impl Strategy<Value = Table> {
    let cell = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        proptest::num::f64::NORMAL.prop_map(Value::from),
        any::<i32>().prop_map(Value::from),
        "\\PC{0,12}".prop_map(Value::from),
    ];
    (1..5usize, 2..6usize).prop_flat_map(move |(width, height)| {
        let row = proptest::collection::vec(cell.clone(), width);
        proptest::collection::vec(row, height).prop_map(move |rows| {
            // Objects are written in the order of their names.
            Table { names: (0..width).map(|index| format!("column {index}")).collect(), rows }
        })
    })
}

/// What the features of an exchange are read as, in the order of the table's columns.
fn read(exchange: &Exchange, naming: &Naming, names: &[String]) -> Vec<Vec<String>> {
    let rows = decode_rows(exchange, naming).unwrap();
    let column = |name: &String| rows.columns.iter().find(|column| column.name == *name).unwrap();
    let row = |row: usize| names.iter().map(|name| format!("{:?}", column(name).cells[row])).collect();
    (0..rows.count).map(row).collect()
}

proptest! {
    #[test]
    fn a_table_is_read_as_it_was_written_in_every_form_of_json(table in tables()) {
        let predictions = json!({ "predictions": vec![0.5; table.rows.len()] }).to_string();
        let answered = |target: &str, content_type: &str, body: &str| exchange(target, (content_type, body), (JSON, &predictions));
        let split = json!({ "dataframe_split": { "columns": table.names, "data": table.rows } }).to_string();
        let records = json!({ "dataframe_records": table.records() }).to_string();
        let instances = json!({ "instances": table.records() }).to_string();
        let inputs = json!({ "inputs": table.by_column() }).to_string();
        for (target, content_type, body) in [
            ("/v1/models/m:predict", JSON, &instances),
            ("/v1/models/m:predict", JSON, &inputs),
            ("/invocations", JSON, &split),
            ("/invocations", JSON, &records),
            ("/invocations", JSON, &inputs),
            ("/invocations", LINES, &table.lines()),
            ("/predictions/m", JSON, &instances),
        ] {
            let exchange = answered(target, content_type, body);
            prop_assert_eq!(read(&exchange, &Naming::default(), &table.names), table.cells(true), "{}", body);
        }
        let ndarray = json!({ "data": { "names": table.names, "ndarray": table.rows } }).to_string();
        let values: Vec<&Value> = table.rows.iter().flatten().collect();
        let tensor = json!({ "shape": [table.rows.len(), table.names.len()], "values": values });
        let tensor = json!({ "data": { "names": table.names, "tensor": tensor } }).to_string();
        let answer = json!({ "data": { "ndarray": vec![0.5; table.rows.len()] } }).to_string();
        for body in [&ndarray, &tensor, &json!({ "jsonData": table.records() }).to_string()] {
            let exchange = exchange("/api/v1.0/predictions", (JSON, body), (JSON, &answer));
            prop_assert_eq!(read(&exchange, &Naming::default(), &table.names), table.cells(true), "{}", body);
        }
        let mapped = json!({ "a/b": [{ "items": table.records() }] }).to_string();
        let results = json!(vec![0.5; table.rows.len()]).to_string();
        let fields = table.names.iter().map(|name| (name.clone(), format!("/{name}").parse().unwrap())).collect();
        let body = crate::Mapping { rows: "/a~1b/0/items".parse().unwrap(), features: fields, ..crate::Mapping::default() };
        let exchange = Exchange { protocol: "generic".into(), ..exchange("/score", (JSON, &mapped), (JSON, &results)) };
        let naming = Naming { body: Some(body), ..Naming::default() };
        prop_assert_eq!(read(&exchange, &naming, &table.names), table.cells(true));
    }

    #[test]
    fn csv_is_read_as_it_was_spelled(table in tables(), has_header in any::<bool>()) {
        let answer = json!(vec![0.5; table.rows.len()]).to_string();
        let exchange = exchange("/invocations", (CSV, &table.csv(has_header)), (JSON, &answer));
        let naming = Naming { features: table.names.clone(), ..Naming::default() };
        prop_assert_eq!(read(&exchange, &naming, &table.names), table.cells(false));
    }

    #[test]
    fn a_stream_counts_what_the_whole_answer_holds(words in proptest::collection::vec("\\PC{0,8}", 0..12), tokens in 0..1000u32) {
        let usage = json!({ "prompt_tokens": 7, "completion_tokens": tokens });
        let whole = json!({ "model": "m", "choices": [{ "message": { "content": words.concat() }, "finish_reason": "stop" }], "usage": usage });
        let chunk = |word: &String| format!("data: {}\r\n\r\n", json!({ "model": "m", "choices": [{ "index": 0, "delta": { "content": word } }] }));
        let last = json!({ "model": "m", "choices": [{ "index": 0, "delta": {}, "finish_reason": "stop" }], "usage": usage });
        let events = words.iter().map(chunk).collect::<String>() + &format!("data: {last}\r\n\r\ndata: [DONE]\r\n\r\n");
        let request = json!({ "messages": words.iter().map(|word| json!({ "role": "user", "content": word })).collect::<Vec<_>>() }).to_string();
        let read = |content_type: &str, body: &str| {
            let rows = crate::recorded::rows(&exchange("/v1/chat/completions", (JSON, &request), (content_type, body)), &Naming::default());
            rows.unwrap().join("").replace(&format!(" chunk_count={}", words.len() + 1), "")
        };
        let row = read(JSON, &whole.to_string());
        prop_assert_eq!(read(EVENTS, &events), row.clone());
        let chars = words.concat().chars().count();
        let expected = format!(" message_count={} prompt_chars={chars} ", words.len());
        prop_assert!(row.contains(&expected) && row.contains(&format!(" completion_tokens={tokens} ")), "{}", row);
        prop_assert!(row.contains(&format!(" completion_chars={chars} ")), "{}", row);
    }

    #[test]
    fn any_bodies_are_refused_or_decoded_without_a_panic(
        target in prop_oneof![
            Just("/v1/models/m:predict"), Just("/invocations"), Just("/predictions/m"), Just("/v1/chat/completions"),
            Just("/v1/embeddings"), Just("/v1/responses"), Just("/api/v1.0/predictions"), Just("/score"),
        ],
        content_type in prop_oneof![Just(JSON), Just(CSV), Just(LINES), Just(EVENTS), Just("")],
        request in "([\\[\\]{},:\"\n]|[a-c0-9]|instances|inputs|features|ndarray|null){0,60}",
        response in "([\\[\\]{},:\"\n]|[a-c0-9]|predictions|results|data:|choices){0,60}",
    ) {
        let exchange = Exchange { protocol: if target == "/score" { "generic".into() } else { String::new() }, ..exchange(target, (content_type, &request), (content_type, &response)) };
        match decode_rows(&exchange, &Naming::default()) {
            Ok(rows) => prop_assert!(rows.columns.iter().all(|column| column.cells.len() == rows.count)),
            Err(error) => prop_assert!(DecodeError::REASONS.contains(&error.reason())),
        }
    }
}
