//! Exchanges for tests, as a sidecar would record them, and the rows of them in a form that is easily compared.

use crate::{Body, Cell, Exchange, Header, Naming, decode_rows};

pub(crate) const JSON: &str = "application/json";
pub(crate) const LINES: &str = "application/jsonlines";
pub(crate) const CSV: &str = "text/csv";
pub(crate) const EVENTS: &str = "text/event-stream; charset=utf-8";

/// An exchange that succeeded: its path, and the content types and texts of its bodies.
pub(crate) fn exchange(target: &str, request: (&str, &str), response: (&str, &str)) -> Exchange {
    let body = |text: &str| Some(Body { content: text.to_owned().into(), size: text.len() as u64, ..Body::default() });
    let headers = |content_type: &str| vec![Header { name: "content-type".into(), value: content_type.into() }];
    Exchange {
        method: "POST".into(),
        target: target.into(),
        status: 200,
        request_headers: headers(request.0),
        response_headers: headers(response.0),
        request: body(request.1),
        response: body(response.1),
        ..Exchange::default()
    }
}

/// Each row as `name=cell name=cell`, or the reason why there are none.
pub(crate) fn rows(exchange: &Exchange, naming: &Naming) -> Result<Vec<String>, &'static str> {
    let rows = decode_rows(exchange, naming).map_err(|error| error.reason())?;
    let row = |row: usize| {
        let cells =
            rows.columns.iter().map(|column| format!("{}={}", column.name, written(&column.cells.get(row).unwrap())));
        cells.collect::<Vec<_>>().join(" ")
    };
    Ok((0..rows.count).map(row).collect())
}

fn written(cell: &Cell<'_>) -> String {
    match cell {
        Cell::Missing => "-".to_owned(),
        Cell::Integer(value) => value.to_string(),
        Cell::Number(value) => format!("{value:?}"),
        Cell::Boolean(value) => value.to_string(),
        Cell::Text(value) => format!("{value:?}"),
        Cell::Field(value) => format!("'{value}'"),
        Cell::Embedding(vector) => format!("{vector:?}"),
    }
}
