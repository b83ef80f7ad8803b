//! Rows from JSON lines: an object for each row. What lies in objects and arrays is called as in a model's requests:
//! `name.key` and `name_0`, `name_1`, … Arrays of columns that were said to be embeddings stay whole.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use serde_json::Value as Json;

use super::values::{CHUNK_ROWS, Chunk, Take, Value};

/// Longest line that is read. A file that is no JSON lines may be one line.
const MAX_LINE_BYTES: u64 = 64 << 20;
/// Columns that rows may have in all. Keys that are data would otherwise grow without end.
const MAX_COLUMNS: usize = 2000;

pub(super) fn read(path: &Path, embeddings: &[String], take: &mut Take<'_>) -> Result<(), String> {
    let mut reader = BufReader::new(File::open(path).map_err(|error| error.to_string())?);
    let mut rows = Rows { embeddings, places: HashMap::new(), chunk: Chunk::default() };
    let mut line = Vec::new();
    for number in 1u64.. {
        line.clear();
        let read =
            (&mut reader).take(MAX_LINE_BYTES).read_until(b'\n', &mut line).map_err(|error| error.to_string())?;
        if read == 0 {
            break;
        }
        if read as u64 == MAX_LINE_BYTES {
            return Err(format!("line {number} is longer than {MAX_LINE_BYTES} bytes"));
        }
        if line.iter().all(u8::is_ascii_whitespace) {
            continue;
        }
        rows.add(&line).map_err(|why| format!("line {number}: {why}"))?;
        if rows.chunk.rows == CHUNK_ROWS {
            take(&rows.finish())?;
        }
    }
    take(&rows.finish())
}

struct Rows<'e> {
    embeddings: &'e [String],
    /// Where a column is in the chunk.
    places: HashMap<String, usize>,
    chunk: Chunk<'static>,
}

impl Rows<'_> {
    fn add(&mut self, line: &[u8]) -> Result<(), String> {
        let Json::Object(entries) = serde_json::from_slice(line).map_err(|error| error.to_string())? else {
            return Err("it is no object; a row is {\"column\": value, …}".to_owned());
        };
        self.chunk.rows += 1;
        entries.into_iter().try_for_each(|(key, value)| self.set(key, value))
    }

    fn set(&mut self, name: String, value: Json) -> Result<(), String> {
        let value = match value {
            Json::Null => Value::Missing,
            Json::Bool(value) => Value::Boolean(value),
            Json::Number(number) => Value::Number(number.as_f64().unwrap_or(f64::NAN)),
            Json::String(text) => Value::Text(text.into()),
            Json::Array(values) if self.embeddings.contains(&name) => {
                let numbers: Option<Vec<f32>> = values.iter().map(|value| Some(value.as_f64()? as f32)).collect();
                numbers.map_or(Value::Other, Value::Vector)
            }
            Json::Array(values) => {
                return values
                    .into_iter()
                    .enumerate()
                    .try_for_each(|(index, value)| self.set(format!("{name}_{index}"), value));
            }
            Json::Object(entries) => {
                return entries.into_iter().try_for_each(|(key, value)| self.set(format!("{name}.{key}"), value));
            }
        };
        let place = match self.places.get(&name) {
            Some(place) => *place,
            None if self.chunk.columns.len() == MAX_COLUMNS => {
                return Err(format!("'{name}' is one column more than {MAX_COLUMNS}; name each by the same keys"));
            }
            None => {
                self.places.insert(name.clone(), self.chunk.columns.len());
                self.chunk.columns.push((name.into(), Vec::new()));
                self.chunk.columns.len() - 1
            }
        };
        let values = &mut self.chunk.columns[place].1;
        values.resize(self.chunk.rows - 1, Value::Missing);
        values.push(value);
        Ok(())
    }

    /// The rows so far; the next have the same columns, and maybe more.
    fn finish(&mut self) -> Chunk<'static> {
        let names = self.chunk.columns.iter().map(|(name, _)| (name.clone(), Vec::new())).collect();
        let mut chunk = std::mem::replace(&mut self.chunk, Chunk { rows: 0, columns: names });
        chunk.columns.iter_mut().for_each(|(_, values)| values.resize(chunk.rows, Value::Missing));
        chunk
    }
}
