//! A bounded sample of rows as numbers, for a classifier to learn from.

use std::collections::HashMap;

use driftline_detectors::{Normal, Reference, RowSample, RowValue};

use super::RowSource;
use super::columns::{category, number};
use super::values::Value;

/// The columns of a sample, and a sample of the rows. A number is one, a category is its rank in the reference, and what
/// the reference never saw comes after all of them.
///
/// # Errors
/// Why they cannot be read.
pub(crate) fn sample(rows: &dyn RowSource, references: &[Reference]) -> Result<(Vec<String>, RowSample), String> {
    let encodings: Vec<(&str, Encoding<'_>)> = references.iter().filter_map(encoding).collect();
    let mut sample = RowSample::default();
    let mut row = vec![f64::NAN; encodings.len()];
    rows.read(&mut |chunk| {
        let columns: Vec<_> = encodings.iter().map(|(name, _)| chunk.column(name)).collect();
        for index in 0..chunk.rows {
            for ((place, (_, encoding)), values) in row.iter_mut().zip(&encodings).zip(&columns) {
                *place = values.map_or(f64::NAN, |values| encoding.of(&values[index]));
            }
            sample.add(&row);
        }
        Ok(())
    })?;
    Ok((encodings.into_iter().map(|(name, _)| name.to_owned()).collect(), sample))
}

/// How a column's values become numbers.
enum Encoding<'r> {
    Number,
    Rank { ranks: HashMap<&'r str, usize>, is_boolean: bool },
}

/// That of a column, unless it is derived of others.
fn encoding(reference: &Reference) -> Option<(&str, Encoding<'_>)> {
    let encoding = match &reference.normal {
        Normal::Numeric { .. } => Encoding::Number,
        Normal::Categorical { dictionary, .. } => {
            let names = dictionary.categories();
            let is_boolean = names.iter().all(|name| name == "true" || name == "false");
            Encoding::Rank { ranks: names.iter().map(String::as_str).zip(0..).collect(), is_boolean }
        }
        Normal::Associations { .. } | Normal::Contingencies { .. } | Normal::Vectors { .. } => return None,
    };
    Some((&reference.column, encoding))
}

impl Encoding<'_> {
    /// NaN where there is no usable value.
    fn of(&self, value: &Value<'_>) -> f64 {
        let mut encoded = f64::NAN;
        match self {
            Self::Number => {
                if let RowValue::Number(number) = number(value) {
                    encoded = number;
                }
            }
            Self::Rank { ranks, is_boolean } => category(value, *is_boolean, &mut |value| {
                if let RowValue::Category(name) = value {
                    encoded = ranks.get(name).copied().unwrap_or(ranks.len()) as f64;
                }
            }),
        }
        encoded
    }
}
