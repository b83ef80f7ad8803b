//! Rows as JSON lines.

use axum::body::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::EXPECTED;
use super::row::{Gathered, Row, bad};
use crate::ingest::refused::Refused;

/// One row, as it is sent.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SentRow<'a> {
    /// What the model was asked: columns by name. Numbers, texts, booleans and nulls; objects and arrays in it become
    /// columns of their own.
    #[serde(borrow)]
    #[schema(value_type = Object)]
    features: &'a RawValue,
    /// What it answered: a value, or several by name. Without it, the features alone count.
    #[schema(value_type = Option<Object>)]
    prediction: Option<&'a RawValue>,
    /// By which an outcome finds the row.
    id: Option<String>,
    /// When it happened; when it came, without it.
    timestamp: Option<String>,
    model: Option<String>,
    version: Option<String>,
}

/// Takes in a row of each line.
pub(super) fn read(bytes: &Bytes, gathered: &mut Gathered<'_>) -> Result<(), Refused> {
    let text = std::str::from_utf8(bytes).map_err(|error| bad(format!("the body is not UTF-8: {error}")))?;
    for (index, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let place = index + 1;
        let row = row(line).map_err(|why| bad(format!("line {place}: {why}; {EXPECTED}")))?;
        gathered.add(format_args!("line {place}"), row)?;
    }
    Ok(())
}

fn row(line: &str) -> Result<Row<'_>, String> {
    let sent: SentRow<'_> = serde_json::from_str(line).map_err(|error| error.to_string())?;
    let SentRow { features, prediction, id, timestamp, model, version } = sent;
    let at = timestamp.map(|time| time.parse::<jiff::Timestamp>()).transpose();
    let at = at.map_err(|error| format!("timestamp: {error}"))?;
    Ok(Row {
        features: features.get(),
        prediction: prediction.map(RawValue::get),
        id,
        at_micros: at.map(|at| at.as_microsecond()),
        model,
        version,
    })
}
