//! Rows of thirty features, as a table, and as bodies of requests.

use std::fmt::Write;

use crate::numbers::Numbers;

/// Features of a row. One in ten is a category, one a small whole number, five have two digits after the point, and three
/// are as long as a double gets.
pub(crate) const FEATURES: usize = 30;
const CATEGORIES: usize = 20;

/// Values of one row, as JSON and CSV have them, except that JSON has categories in quotes.
pub(crate) fn row(numbers: &mut Numbers) -> Vec<String> {
    let value = |feature| match feature % 10 {
        0 => numbers.below(50).to_string(),
        1..=5 => format!("{:.2}", 40.0 + 15.0 * about_normal(numbers)),
        6..=8 => (100.0 * about_normal(numbers).exp()).to_string(),
        // The first categories are the most frequent.
        _ => format!("category-{}", numbers.below(CATEGORIES).min(numbers.below(CATEGORIES))),
    };
    (0..FEATURES).map(value).collect()
}

/// A sum of four numbers by chance, less its mean, in about its standard deviations.
fn about_normal(numbers: &mut Numbers) -> f64 {
    let sum: f64 = (0..4).map(|_| numbers.below(1 << 30) as f64 / f64::from(1 << 30)).sum();
    (sum - 2.0) * 1.7
}

/// A prediction.
pub(crate) fn prediction(numbers: &mut Numbers) -> String {
    (numbers.below(1 << 30) as f64 / f64::from(1 << 30)).to_string()
}

pub(crate) fn name(feature: usize) -> String {
    format!("feature_{feature}")
}

/// A CSV file of rows with their predictions: what the reference is built from.
pub(crate) fn csv(rows: usize, numbers: &mut Numbers) -> String {
    let names: Vec<String> = (0..FEATURES).map(name).collect();
    let mut text = format!("{},prediction\n", names.join(","));
    for _ in 0..rows {
        // Writing to a string cannot fail.
        writeln!(text, "{},{}", row(numbers).join(","), prediction(numbers)).unwrap();
    }
    text
}

fn json(feature: usize, value: &str) -> String {
    if feature % 10 == 9 { format!("\"{value}\"") } else { value.to_owned() }
}

/// A V1 request: each row an object.
pub(crate) fn v1_request(rows: &[Vec<String>]) -> String {
    let field = |(feature, value): (usize, &String)| format!("\"{}\": {}", name(feature), json(feature, value));
    let object =
        |row: &Vec<String>| format!("{{{}}}", row.iter().enumerate().map(field).collect::<Vec<_>>().join(", "));
    format!("{{\"instances\": [{}]}}", rows.iter().map(object).collect::<Vec<_>>().join(", "))
}

/// A V2 request: a tensor for each feature.
pub(crate) fn v2_request(rows: &[Vec<String>]) -> String {
    let tensor = |feature: usize| {
        let datatype = match feature % 10 {
            0 => "INT64",
            9 => "BYTES",
            _ => "FP64",
        };
        let data: Vec<String> = rows.iter().map(|row| json(feature, &row[feature])).collect();
        tensor(&name(feature), datatype, &data)
    };
    format!("{{\"inputs\": [{}]}}", (0..FEATURES).map(tensor).collect::<Vec<_>>().join(", "))
}

pub(crate) fn v1_response(predictions: &[String]) -> String {
    format!("{{\"predictions\": [{}]}}", predictions.join(", "))
}

pub(crate) fn v2_response(predictions: &[String]) -> String {
    let output = tensor("prediction", "FP64", predictions);
    format!("{{\"model_name\": \"benchmark\", \"model_version\": \"1\", \"outputs\": [{output}]}}")
}

fn tensor(name: &str, datatype: &str, data: &[String]) -> String {
    let (rows, data) = (data.len(), data.join(", "));
    format!("{{\"name\": \"{name}\", \"shape\": [{rows}], \"datatype\": \"{datatype}\", \"data\": [{data}]}}")
}
