//! Rows from CSV files: a header line, commas, quotes where needed. An empty field is missing.
//!
//! A CSV file has no types; whether a column holds numbers is for whoever has seen all of it.

use std::path::Path;

use super::values::{CHUNK_ROWS, Chunk, Take, Value};

pub(super) fn read(path: &Path, take: &mut Take<'_>) -> Result<(), String> {
    let mut reader = csv::ReaderBuilder::new().from_path(path).map_err(|error| error.to_string())?;
    let header = reader.headers().map_err(|error| error.to_string())?.clone();
    if header.iter().any(str::is_empty) {
        return Err("a column has no name; the first line must name all columns".to_owned());
    }
    let empty = || Chunk { rows: 0, columns: header.iter().map(|name| (name.into(), Vec::new())).collect() };
    let mut chunk = empty();
    for record in reader.records() {
        // The error names the line.
        let record = record.map_err(|error| error.to_string())?;
        for ((_, values), field) in chunk.columns.iter_mut().zip(&record) {
            values.push(if field.is_empty() { Value::Missing } else { Value::Field(field.to_owned().into()) });
        }
        chunk.rows += 1;
        if chunk.rows == CHUNK_ROWS {
            take(&chunk)?;
            chunk = empty();
        }
    }
    // Without a row it still says which columns there are.
    take(&chunk)
}
