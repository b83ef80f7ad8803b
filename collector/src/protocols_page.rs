//! Holds `docs/protocols.md` to the decoders: each of its examples gives the rows that it shows.
//!
//! An example is a run of fenced blocks. The second word after a fence says what its block is:
//!
//! | block | what it is |
//! |---|---|
//! | `yaml model` | what the configuration says of the model; optional, before the request |
//! | `http request` | the request's line, and headers if they matter; a third word is the protocol of its route |
//! | `http response` | the status line, and headers; without one it is 200 and has none |
//! | `json request`, `json response` | a body, without the line break at its end |
//! | `text request`, `text response` | a body, with every line break |
//! | `hex request`, `hex response` | bytes in hexadecimal, with spaces, line breaks and comments behind `#` |
//! | `rows` | the rows that come of it, each as a JSON object; ends the example |
//!
//! A body may be made of several blocks: one follows the other. Numbers have a fraction, integers none.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use driftline_protocol::{Body, Cell, Column, Exchange, Header, Rows, decode_rows};

use crate::config::{Config, Model};

/// An exchange of the page, as far as its blocks have been read.
struct Example {
    exchange: Exchange,
    request: Vec<u8>,
    response: Option<Vec<u8>>,
    model: Model,
}

impl Default for Example {
    fn default() -> Self {
        let exchange = Exchange { status: 200, ..Exchange::default() };
        Self { exchange, request: Vec::new(), response: None, model: Model::undescribed("example") }
    }
}

impl Example {
    /// Takes in a block that is no `rows`.
    fn add(&mut self, language: &str, kind: &str, content: &str, line: usize) {
        match (language, kind) {
            ("yaml", "model") => self.model = model(content, line),
            ("http", kind) if kind.starts_with("request") => {
                self.exchange.protocol = kind.trim_start_matches("request").trim_start().to_owned();
                let (first, headers) = head(content);
                let (method, target) = first.split_once(' ').unwrap_or_else(|| panic!("line {line}: no request line"));
                (self.exchange.method, self.exchange.target) = (method.to_owned(), target.to_owned());
                self.exchange.request_headers = headers;
            }
            ("http", "response") => {
                let (first, headers) = head(content);
                let status = first.split(' ').find_map(|word| word.parse().ok());
                self.exchange.status = status.unwrap_or_else(|| panic!("line {line}: no status"));
                self.exchange.response_headers = headers;
                self.response.get_or_insert_default();
            }
            (_, "request") => self.request.extend(bytes(language, content, line)),
            (_, "response") => self.response.get_or_insert_default().extend(bytes(language, content, line)),
            _ => panic!("line {line}: a block cannot be '{language} {kind}'"),
        }
    }

    /// The rows that it gives, one in a line.
    fn rows(mut self, line: usize) -> String {
        let body = |content: Vec<u8>| Body { size: content.len() as u64, content: content.into(), ..Body::default() };
        self.exchange.request = Some(body(self.request));
        self.exchange.response = self.response.map(body);
        let naming = self.model.naming;
        let rows = decode_rows(&self.exchange, &naming);
        written(&rows.unwrap_or_else(|error| panic!("line {line}: the example above has no rows: {error}")))
    }
}

/// The first line, and the headers under it.
fn head(content: &str) -> (&str, Vec<Header>) {
    let mut lines = content.lines();
    let first = lines.next().unwrap_or_default();
    let header = |line: &str| {
        let (name, value) = line.split_once(": ")?;
        Some(Header { name: name.to_ascii_lowercase(), value: value.to_owned() })
    };
    (first, lines.filter_map(header).collect())
}

fn model(content: &str, line: usize) -> Model {
    let fields = content.lines().fold(String::new(), |fields, line| fields + "    " + line + "\n");
    let text = format!("models:\n  - name: example\n{fields}");
    let config = Config::parse("docs/protocols.md", &text, Path::new(""));
    config.unwrap_or_else(|problems| panic!("line {line}: {problems}")).model("example")
}

fn bytes(language: &str, content: &str, line: usize) -> Vec<u8> {
    match language {
        "json" => content.trim_end_matches('\n').into(),
        "hex" => {
            let digits: String = content.lines().filter_map(|line| line.split('#').next()).collect();
            let digits: Vec<u8> = digits.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
            let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
            let bytes: Option<Vec<u8>> = digits.chunks(2).map(byte).collect();
            bytes.unwrap_or_else(|| panic!("line {line}: not hexadecimal"))
        }
        _ => content.into(),
    }
}

fn written(rows: &Rows<'_>) -> String {
    let mut text = String::new();
    for row in 0..rows.count {
        let cell = |column: &Column<'_>| format!("{:?}: {}", column.name, cell(&column.cells.get(row).unwrap()));
        let cells = rows.columns.iter().map(cell);
        writeln!(text, "{{{}}}", cells.collect::<Vec<_>>().join(", ")).unwrap();
    }
    text
}

fn cell(cell: &Cell<'_>) -> String {
    match cell {
        Cell::Missing => "null".to_owned(),
        Cell::Integer(value) => value.to_string(),
        Cell::Number(value) => format!("{value:?}"),
        Cell::Boolean(value) => value.to_string(),
        Cell::Text(value) | Cell::Field(value) => format!("{value:?}"),
        Cell::Embedding(vector) => format!("{vector:?}"),
    }
}

/// The page with the rows that its examples give, and how many examples there are.
fn with_rows(page: &str) -> (String, usize) {
    let (mut text, mut examples) = (String::new(), 0);
    let mut example = Example::default();
    let mut lines = page.split_inclusive('\n').enumerate();
    while let Some((number, line)) = lines.next() {
        text.push_str(line);
        let Some(fence) = line.trim_end().strip_prefix("```") else { continue };
        let content: String =
            lines.by_ref().map(|(_, line)| line).take_while(|line| line.trim_end() != "```").collect();
        match fence.split_once(' ') {
            None if fence == "rows" => {
                text.push_str(&std::mem::take(&mut example).rows(number + 1));
                examples += 1;
            }
            Some((language, kind)) => {
                example.add(language, kind, &content, number + 1);
                text.push_str(&content);
            }
            None => text.push_str(&content),
        }
        text.push_str("```\n");
    }
    (text, examples)
}

#[test]
fn each_example_gives_the_rows_that_the_page_shows() {
    let path = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/protocols.md"));
    let page = std::fs::read_to_string(&path).unwrap();
    let (expected, examples) = with_rows(&page);
    assert!(examples > 0, "the page has no examples");
    if std::env::var_os("DRIFTLINE_UPDATE_DOCS").is_some() {
        std::fs::write(&path, expected).unwrap();
        return;
    }
    for (number, (shown, given)) in page.lines().zip(expected.lines()).enumerate() {
        assert_eq!(shown, given, "docs/protocols.md:{}: run the test with DRIFTLINE_UPDATE_DOCS=1", number + 1);
    }
    assert_eq!(page.len(), expected.len(), "docs/protocols.md: run the test with DRIFTLINE_UPDATE_DOCS=1");
}
