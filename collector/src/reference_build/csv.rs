//! Rows from CSV files: a header line, commas, quotes where needed. An empty field is missing.

use std::path::Path;

use super::{Chunk, Values};

/// Reads a file whole: whether a column is numeric shows only at its last row.
pub(super) fn read(
    path: &Path,
    categorical: &[String],
    take: &mut dyn FnMut(Chunk) -> Result<(), String>,
) -> Result<(), String> {
    let mut reader = csv::ReaderBuilder::new().from_path(path).map_err(|error| error.to_string())?;
    let header = reader.headers().map_err(|error| error.to_string())?.clone();
    if header.iter().any(str::is_empty) {
        return Err("a column has no name; the first line must name all columns".to_owned());
    }
    let mut columns: Vec<Vec<Option<String>>> = vec![Vec::new(); header.len()];
    for record in reader.records() {
        // The error names the line.
        let record = record.map_err(|error| error.to_string())?;
        for (column, field) in columns.iter_mut().zip(&record) {
            column.push((!field.is_empty()).then(|| field.to_owned()));
        }
    }
    let chunk = header.iter().zip(columns).map(|(name, texts)| {
        let may_be_numeric = !categorical.iter().any(|categorical| categorical == name);
        (name.to_owned(), if may_be_numeric { numbers_if_all(texts) } else { Values::Texts(texts) })
    });
    take(chunk.collect())
}

fn numbers_if_all(texts: Vec<Option<String>>) -> Values {
    let number = |text: &Option<String>| match text {
        None => Some(None),
        Some(text) => text.parse::<f64>().ok().map(Some),
    };
    match texts.iter().map(number).collect::<Option<Vec<_>>>() {
        Some(numbers) if numbers.iter().any(Option::is_some) => Values::Numbers(numbers),
        _ => Values::Texts(texts),
    }
}
