//! The answers to `Classify`, `Regress` and `MultiInference`.
//!
//! A class's score is a column by its label, as in the REST API's answers; the value of a regression is `prediction`. Of
//! several results each has the name of its signature before its columns', which tells them apart.

use std::borrow::Cow;

use super::{Call, SIGNATURE_NAME, version};
use crate::decode::DecodeError;
use crate::protobuf::{Fields, Value};
use crate::rows::{Cell, ColumnsByName, MAX_CELLS, MAX_COLUMNS, MAX_NAME_BYTES, Role};
use crate::tensors::Side;

/// Reads a `ClassificationResponse`, a `RegressionResponse` or a `MultiInferenceResponse`.
pub(super) fn response(message: &[u8], call: Call) -> Result<Side<'_>, DecodeError> {
    let mut side = Side::default();
    if call != Call::MultiInference {
        let numbers = if call == Call::Classify { [2, 1, 0] } else { [2, 0, 1] };
        add(&mut side, Outcome::read(message, numbers).map_err(malformed)?, false)?;
        return Ok(side);
    }
    for field in Fields(message) {
        if let (1, value) = field.map_err(malformed)? {
            let result = value.bytes().and_then(|value| Outcome::read(value, [1, 2, 3])).map_err(malformed)?;
            add(&mut side, result, true)?;
        }
    }
    Ok(side)
}

fn malformed(what: &str) -> DecodeError {
    DecodeError::Malformed { role: Role::Prediction, what: what.to_owned() }
}

/// One result, as it lies.
#[derive(Debug, Default)]
struct Outcome<'a> {
    model_version: Option<Cow<'a, str>>,
    signature: Cow<'a, str>,
    classifications: Option<&'a [u8]>,
    regressions: Option<&'a [u8]>,
}

impl<'a> Outcome<'a> {
    /// The fields of such a message have these numbers: the model's, a classification's and a regression's. No field is 0.
    fn read(message: &'a [u8], [model_spec, classifications, regressions]: [u32; 3]) -> Result<Self, &'static str> {
        let mut read = Self::default();
        for field in Fields(message) {
            let (number, value) = field?;
            if number == model_spec {
                let spec = value.bytes()?;
                read.model_version = version(spec)?.or(read.model_version);
                for field in Fields(spec) {
                    if let (SIGNATURE_NAME, value) = field? {
                        read.signature = String::from_utf8_lossy(value.bytes()?);
                    }
                }
            } else if number == classifications {
                read.classifications = Some(value.bytes()?);
            } else if number == regressions {
                read.regressions = Some(value.bytes()?);
            }
        }
        if read.signature.len() > MAX_NAME_BYTES {
            return Err("the name of a signature has more than 1000 bytes");
        }
        Ok(read)
    }

    fn columns(&self) -> Result<Option<ColumnsByName<'a>>, DecodeError> {
        match (self.classifications, self.regressions) {
            (Some(result), _) => classes(result).map(Some),
            (None, Some(result)) => values(result).map(Some),
            (None, None) => Ok(None),
        }
    }
}

/// Puts a result's columns beside those that are there.
fn add<'a>(side: &mut Side<'a>, result: Outcome<'a>, is_one_of_several: bool) -> Result<(), DecodeError> {
    let Some(columns) = result.columns()? else { return Ok(()) };
    let rows = columns.rows();
    match side.rows {
        Some(before) if before != rows => {
            return Err(malformed(&format!("a result has {rows} rows, and those before it {before}")));
        }
        _ => side.rows = Some(rows),
    }
    let mut columns = columns.finish(Role::Prediction);
    let count = side.columns.len() + columns.len();
    if count > MAX_COLUMNS {
        return Err(DecodeError::TooManyColumns);
    }
    if rows.saturating_mul(count.max(1)) > MAX_CELLS {
        return Err(DecodeError::TooManyCells);
    }
    if is_one_of_several && !result.signature.is_empty() {
        columns.iter_mut().for_each(|column| column.name = format!("{}.{}", result.signature, column.name).into());
    }
    side.columns.extend(columns);
    side.model_version = result.model_version.or(side.model_version.take());
    Ok(())
}

/// Reads a `ClassificationResult`: the classes of each row.
fn classes(result: &[u8]) -> Result<ColumnsByName<'_>, DecodeError> {
    let mut columns = ColumnsByName::default();
    for field in Fields(result) {
        let (1, value) = field.map_err(malformed)? else { continue };
        columns.next_row()?;
        let mut index = 0;
        for field in Fields(value.bytes().map_err(malformed)?) {
            let (1, value) = field.map_err(malformed)? else { continue };
            let (label, score) = value.bytes().and_then(class).map_err(malformed)?;
            // Models without a vocabulary have no labels.
            let name = if label.is_empty() { format!("prediction_{index}").into() } else { label };
            columns.set(name, Cell::Number(score))?;
            index += 1;
        }
    }
    Ok(columns)
}

/// A `Class`: its label and score. A score that is not there is zero.
fn class(class: &[u8]) -> Result<(Cow<'_, str>, f64), &'static str> {
    let (mut label, mut score) = (Cow::default(), 0.0);
    for field in Fields(class) {
        match field? {
            (1, value) => label = String::from_utf8_lossy(value.bytes()?),
            (2, value) => score = number(value)?,
            _ => {}
        }
    }
    if label.len() > MAX_NAME_BYTES { Err("a label has more than 1000 bytes") } else { Ok((label, score)) }
}

/// Reads a `RegressionResult`: the value of each row. One that is not there is zero.
fn values(result: &[u8]) -> Result<ColumnsByName<'_>, DecodeError> {
    let mut columns = ColumnsByName::default();
    for field in Fields(result) {
        let (1, value) = field.map_err(malformed)? else { continue };
        columns.next_row()?;
        let mut own = 0.0;
        for field in Fields(value.bytes().map_err(malformed)?) {
            if let (1, value) = field.map_err(malformed)? {
                own = number(value).map_err(malformed)?;
            }
        }
        columns.set("prediction".into(), Cell::Number(own))?;
    }
    Ok(columns)
}

fn number(value: Value<'_>) -> Result<f64, &'static str> {
    let mut number = 0.0;
    value.fixed32s(|bits| {
        number = f32::from_bits(bits).into();
        Ok(())
    })?;
    Ok(number)
}
