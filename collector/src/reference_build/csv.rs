//! Rows from CSV files: a header line, commas, quotes where needed. An empty field is missing.
//!
//! A CSV file has no types. A column is numeric when all of its fields are numbers, and boolean when all of them are true
//! and false in any case: pandas writes `True`, R writes `TRUE`, and a model's JSON says `true`. One that is named
//! as categorical is taken letter by letter.

use std::path::Path;

use super::values::{Chunk, Values};

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
        let is_free = !categorical.iter().any(|categorical| categorical == name);
        (
            name.to_owned(),
            Values::Fields {
                are_numbers: is_free && are_numbers(&texts),
                texts: if is_free { lower_case_if_boolean(texts) } else { texts },
            },
        )
    });
    take(chunk.collect())
}

fn are_numbers(texts: &[Option<String>]) -> bool {
    let mut there = texts.iter().flatten().peekable();
    there.peek().is_some() && there.all(|text| text.parse::<f64>().is_ok())
}

fn lower_case_if_boolean(texts: Vec<Option<String>>) -> Vec<Option<String>> {
    let is_boolean = |text: &String| text.eq_ignore_ascii_case("true") || text.eq_ignore_ascii_case("false");
    if !texts.iter().flatten().all(is_boolean) {
        return texts;
    }
    texts.into_iter().map(|text| text.map(|text| text.to_ascii_lowercase())).collect()
}
