//! Laws of all decoders of bodies without tensors: a table that was written in a protocol's form is read as it was.

use base64::Engine;
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
    let row = |row: usize| names.iter().map(|name| format!("{:?}", column(name).cells.get(row).unwrap())).collect();
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
    fn an_answer_is_read_as_it_was_given_in_every_form(table in tables()) {
        let height = table.rows.len();
        let instances = json!({ "instances": vec![0; height] }).to_string();
        let inputs = json!({ "inputs": vec![0; height] }).to_string();
        let records = json!({ "dataframe_records": vec![json!({ "x": 0 }); height] }).to_string();
        let predictions = json!({ "predictions": table.records() }).to_string();
        let outputs = json!({ "outputs": table.by_column() }).to_string();
        let list = json!(table.records()).to_string();
        for (target, request, content_type, answer) in [
            ("/v1/models/m:predict", &instances, JSON, &predictions),
            ("/v1/models/m:predict", &inputs, JSON, &outputs),
            ("/invocations", &records, JSON, &predictions),
            ("/invocations", &records, JSON, &list),
            ("/invocations", &records, LINES, &table.lines()),
            ("/predictions/m", &instances, JSON, &list),
        ] {
            let exchange = exchange(target, (JSON, request), (content_type, answer));
            prop_assert_eq!(read(&exchange, &Naming::default(), &table.names), table.cells(true), "{}", answer);
        }
    }

    #[test]
    fn examples_and_the_scores_of_their_classes_come_back(
        table in tables(), scores in proptest::collection::vec((-1e9..1e9, -1e9..1e9), 6..7), context in "[a-z]{1,8}"
    ) {
        let scores = &scores[..table.rows.len()];
        let request = json!({ "context": { "context": context }, "examples": table.records() }).to_string();
        let classes: Vec<_> = scores.iter().map(|(cat, dog)| json!([["cat", cat], ["dog", dog]])).collect();
        let values: Vec<f64> = scores.iter().map(|(value, _)| *value).collect();
        let classified = exchange("/v1/models/m:classify", (JSON, &request), (JSON, &json!({ "results": classes }).to_string()));
        let regressed = exchange("/v1/models/m:regress", (JSON, &request), (JSON, &json!({ "result": values }).to_string()));
        for (exchange, names) in [(classified, vec!["cat", "dog"]), (regressed, vec!["prediction"])] {
            prop_assert_eq!(read(&exchange, &Naming::default(), &table.names), table.cells(true));
            let names: Vec<String> = names.into_iter().chain(["context"]).map(str::to_owned).collect();
            let number = |value: f64| format!("{:?}", Cell::Number(value));
            let context = format!("{:?}", Cell::Text(context.as_str().into()));
            let expected = scores.iter().map(|(cat, dog)| {
                let scores = if names.len() == 3 { vec![number(*cat), number(*dog)] } else { vec![number(*cat)] };
                scores.into_iter().chain([context.clone()]).collect()
            });
            prop_assert_eq!(read(&exchange, &Naming::default(), &names), expected.collect::<Vec<Vec<_>>>());
        }
    }

    #[test]
    fn rows_come_out_of_whatever_sagemaker_wraps_them_in(
        rows in (1..6usize).prop_flat_map(|width| {
            let value = prop_oneof![Just(0.0), proptest::num::f64::NORMAL];
            proptest::collection::vec(proptest::collection::vec(value, width), 1..6)
        })
    ) {
        let sparse = |row: &Vec<f64>| {
            let (keys, values): (Vec<usize>, Vec<f64>) = row.iter().copied().enumerate().filter(|(_, value)| *value != 0.0).unzip();
            json!({ "data": { "features": { "keys": keys, "shape": [row.len()], "values": values } } })
        };
        let wrappings: [fn(&Vec<f64>) -> Value; 3] = [
            |row| json!(row),
            |row| json!({ "features": row }),
            |row| json!({ "data": { "features": { "values": row } } }),
        ];
        let wrapped = wrappings.iter().map(|wrapped| rows.iter().map(wrapped).collect());
        let names: Vec<String> = (0..rows[0].len()).map(|index| format!("feature_{index}")).collect();
        let cells = |row: &Vec<f64>| row.iter().map(|value| format!("{:?}", Cell::Number(*value))).collect();
        let expected: Vec<Vec<String>> = rows.iter().map(cells).collect();
        let answer = json!({ "predictions": vec![0.5; rows.len()] }).to_string();
        for rows in wrapped.chain([rows.iter().map(sparse).collect::<Vec<Value>>()]) {
            let lines: String = rows.iter().map(|row| format!("{row}\n")).collect();
            let instances = json!({ "instances": rows }).to_string();
            for (content_type, body) in [(LINES, &lines), (JSON, &instances)] {
                let exchange = exchange("/invocations", (content_type, body), (JSON, &answer));
                prop_assert_eq!(read(&exchange, &Naming::default(), &names), expected.clone(), "{}", body);
            }
        }
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
    fn a_streamed_completion_and_response_come_to_the_whole_ones(words in proptest::collection::vec("\\PC{0,8}", 1..12), tokens in 0..1000u32) {
        let text = words.concat();
        let counted = json!({ "input_tokens": 7, "output_tokens": tokens, "total_tokens": 7 + tokens });
        let usage = json!({ "prompt_tokens": 7, "completion_tokens": tokens });
        let choice = |text: &str, reason: Option<&str>| json!({ "id": "c", "model": "m", "choices": [{ "index": 0, "text": text, "finish_reason": reason }] });
        let mut completion = choice(&text, Some("length"));
        completion["usage"] = usage.clone();
        let mut chunks: Vec<Value> = words.iter().map(|word| choice(word, None)).collect();
        chunks.push(choice("", Some("length")));
        chunks.push(json!({ "id": "c", "model": "m", "choices": [], "usage": usage }));

        let content = json!([{ "type": "output_text", "text": text }]);
        let response = json!({ "id": "r", "model": "m", "status": "completed", "usage": counted,
            "output": [{ "type": "message", "content": content }, { "type": "function_call", "call_id": "f", "arguments": "{}" }] });
        let mut events = vec![json!({ "type": "response.created", "response": { "id": "r", "model": "m", "status": "in_progress", "output": [] } })];
        events.extend(words.iter().map(|word| json!({ "type": "response.output_text.delta", "delta": word })));
        events.push(json!({ "type": "response.completed", "response": response }));

        let prompt = json!({ "prompt": words }).to_string();
        let input = json!({ "input": text }).to_string();
        for (target, request, whole, chunks) in [
            ("/v1/completions", prompt, completion, chunks),
            ("/v1/responses", input, response, events),
        ] {
            let read = |content_type: &str, body: &str| {
                let rows = crate::recorded::rows(&exchange(target, (JSON, &request), (content_type, body)), &Naming::default());
                rows.unwrap().join("").replace(&format!(" chunk_count={}", chunks.len()), "")
            };
            let row = read(JSON, &whole.to_string());
            let stream: String = chunks.iter().map(|chunk| format!("data: {chunk}\n\n")).collect();
            prop_assert_eq!(read(EVENTS, &stream), row.clone());
            let chars = text.chars().count();
            prop_assert!(row.contains(&format!(" prompt_chars={chars} ")), "{}", row);
            prop_assert!(row.contains(&format!(" completion_chars={chars} ")), "{}", row);
            prop_assert!(row.contains(&format!(" completion_tokens={tokens} ")), "{}", row);
        }
    }

    #[test]
    fn embeddings_have_the_size_that_they_were_made_with(vectors in (1..40usize).prop_flat_map(|width| {
        proptest::collection::vec(proptest::collection::vec(proptest::num::f32::NORMAL, width), 1..5)
    })) {
        let texts: Vec<String> = (0..vectors.len()).map(|index| format!("text {index}")).collect();
        let encoded = |vector: &Vec<f32>| {
            let bytes: Vec<u8> = vector.iter().flat_map(|value| value.to_le_bytes()).collect();
            json!(base64::engine::general_purpose::STANDARD.encode(bytes))
        };
        let forms: [Vec<Value>; 2] = [vectors.iter().map(|vector| json!(vector)).collect(), vectors.iter().map(encoded).collect()];
        for form in forms {
            let data: Vec<_> = form.iter().enumerate().map(|(index, value)| json!({ "index": index, "embedding": value })).collect();
            let (request, answer) = (json!({ "input": texts }).to_string(), json!({ "model": "e", "data": data }).to_string());
            let row = crate::recorded::rows(&exchange("/v1/embeddings", (JSON, &request), (JSON, &answer)), &Naming::default());
            let expected = format!("input_count={0} prompt_chars={1} attachment_count=0 embedding_count={0} embedding_dimensions={2}", texts.len(), 6 * texts.len(), vectors[0].len());
            let row = row.unwrap().join("");
            prop_assert!(row.ends_with(&expected), "{} does not end with {}", row, expected);
        }
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
