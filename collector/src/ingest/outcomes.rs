//! `POST /v1/outcomes`: the truth about rows, when it is known.

use std::collections::BTreeMap;

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;

use super::refused::Refused;
use super::{Ingest, MAX_FIELD_BYTES};
use crate::store::journal;
use crate::store::outcomes::{self, Outcome};
use crate::times::now_micros;

/// Outcomes that one request may bring.
const MAX_OUTCOMES: usize = 100_000;
/// Largest body of outcomes.
const MAX_OUTCOME_BYTES: usize = 16 << 20;

/// One outcome, as it is sent.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct SentOutcome {
    model: String,
    row_id: String,
    outcome: serde_json::Value,
    observed_at: Option<String>,
}

/// `POST /v1/outcomes`: JSON lines, one outcome each. All of them are stored, or none.
pub(crate) async fn outcomes(State(ingest): State<Ingest>, request: Request) -> Response {
    match store_outcomes(&ingest, request).await {
        Ok(stored) => (StatusCode::OK, axum::Json(serde_json::json!({ "stored": stored }))).into_response(),
        Err(refused) => ingest.refuse("outcomes", refused),
    }
}

async fn store_outcomes(ingest: &Ingest, request: Request) -> Result<usize, Refused> {
    let pass = ingest.let_in(&request)?;
    let (bytes, _room) = ingest.body(request, MAX_OUTCOME_BYTES).await?;
    let sent = parse_outcomes(&bytes).map_err(|why| Refused::Bad(StatusCode::BAD_REQUEST, why))?;
    let mut counts: BTreeMap<String, u64> = BTreeMap::new();
    for outcome in &sent {
        *counts.entry(outcome.model.clone()).or_default() += 1;
    }
    for model in counts.keys() {
        ingest.admit(&pass, model)?;
    }
    let (stored, received_at) = (sent.len(), now_micros());
    let models: Vec<String> = counts.keys().cloned().collect();
    let written = ingest.store.writer.write(move |db| {
        models.iter().try_for_each(|model| journal::remember_model(db, model, received_at))?;
        outcomes::store(db, &sent, received_at)
    });
    let written = written.await;
    written.map_err(|error| Refused::NotNow(format!("the outcomes could not be stored: {error}")))?;
    for (model, count) in counts {
        ingest.metrics.outcomes.with_label_values(&[&model]).inc_by(count);
    }
    Ok(stored)
}

fn parse_outcomes(bytes: &[u8]) -> Result<Vec<Outcome>, String> {
    let text = std::str::from_utf8(bytes).map_err(|error| format!("the body is not UTF-8: {error}"))?;
    let mut outcomes = Vec::new();
    for (index, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let place = format!("line {}", index + 1);
        let expected = r#"expected {"model": "…", "row_id": "…", "outcome": …, "observed_at": "2013-01-01T05:00:00Z"}"#;
        let sent: SentOutcome = serde_json::from_str(line).map_err(|error| format!("{place}: {error}; {expected}"))?;
        if !(sent.outcome.is_number() || sent.outcome.is_string() || sent.outcome.is_boolean()) {
            return Err(format!("{place}: the outcome is no number, text or boolean; {expected}"));
        }
        let observed_at = match sent.observed_at.map(|time| time.parse::<jiff::Timestamp>()) {
            None => None,
            Some(Ok(time)) => Some(time.as_microsecond()),
            Some(Err(error)) => return Err(format!("{place}: observed_at: {error}; {expected}")),
        };
        let outcome = sent.outcome.to_string();
        if sent.row_id.is_empty() || sent.row_id.len() > MAX_FIELD_BYTES || outcome.len() > MAX_FIELD_BYTES {
            return Err(format!("{place}: row_id is empty, or a field has more than {MAX_FIELD_BYTES} bytes"));
        }
        outcomes.push(Outcome { model: sent.model, row_id: sent.row_id, outcome, observed_at });
        if outcomes.len() > MAX_OUTCOMES {
            return Err(format!("more than {MAX_OUTCOMES} outcomes; send them in several requests"));
        }
    }
    Ok(outcomes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outcomes_say_what_is_wrong_and_where() {
        let good = r#"{"model": "m", "row_id": "1", "outcome": true, "observed_at": "2013-01-01T05:00:00Z"}"#;
        assert_eq!(parse_outcomes(format!("{good}\n\n{good}\n").as_bytes()).unwrap().len(), 2);
        for (line, says) in [
            ("{", "line 2"),
            (r#"{"model": "m", "row_id": "1", "outcome": [1]}"#, "no number, text or boolean"),
            (r#"{"model": "m", "row_id": "", "outcome": 1}"#, "row_id is empty"),
            (r#"{"model": "m", "row_id": "1", "outcome": 1, "when": 2}"#, "unknown field `when`"),
            (r#"{"model": "m", "row_id": "1", "outcome": 1, "observed_at": "soon"}"#, "observed_at"),
        ] {
            let error = parse_outcomes(format!("{good}\n{line}").as_bytes()).unwrap_err();
            assert!(error.contains(says) && error.contains("line 2"), "{error}");
        }
    }
}
