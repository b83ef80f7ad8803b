//! `POST /v1/rows`: rows from applications that have no proxy, one JSON object a line.
//!
//! A line becomes an exchange whose bodies are written in the V1 protocol, and goes through the same journal, decoder,
//! windows and archive as all others. All lines are stored, or none; under an `Idempotency-Key`, once.

use std::collections::BTreeMap;

use axum::body::Bytes;
use axum::extract::{Query, Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use driftline_protocol::{Batch, Body, EndState, Exchange, FrameError, ModelProtocol, frame};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};
use utoipa::{IntoParams, ToSchema};

use super::refused::Refused;
use super::{Ingest, MAX_FIELD_BYTES};
use crate::store::journal;
use crate::store::received::{self, Known};
use crate::times::now_micros;

/// Rows that one request may bring.
const MAX_ROWS: usize = 50_000;
/// Largest body.
const MAX_BODY_BYTES: usize = 16 << 20;
/// What a row takes in its batch besides its line.
const ROW_BYTES: usize = 512;
/// What a line should have been.
const EXPECTED: &str = r#"expected {"features": {"x": 1.5, …}, "prediction": …, "id": "…", "timestamp": "2013-01-01T05:00:00Z", "model": "…", "version": "…"}"#;

/// What is true of all rows that do not say otherwise.
#[derive(Debug, Clone, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct RowParameters {
    /// The model of rows that name none.
    model: Option<String>,
    /// The version of rows that name none.
    version: Option<String>,
    /// Where the rows come from: the application's instance.
    instance: Option<String>,
}

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

/// What was stored.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct StoredRows {
    /// Rows of this request that are durable.
    stored: usize,
    /// Whether they were durable before, under the same key.
    repeated: bool,
}

/// Rows from applications that have no proxy: one JSON object a line. The answer comes once all are on disk. With an
/// `Idempotency-Key`, a request that is sent again within a week counts once.
#[utoipa::path(post, path = "/v1/rows", tag = "ingest",
    params(RowParameters, ("Idempotency-Key" = Option<String>, Header, description = "A name of this request, up to 255 bytes")),
    request_body(content = String, content_type = "application/x-ndjson", description = "A row a line, each as SentRow"),
    responses(
        (status = 200, body = StoredRows),
        (status = 400, content_type = "text/plain", body = String, description = "A line is wrong; none is stored"),
        (status = 401, content_type = "text/plain", body = String, description = "A token or certificate is needed"),
        (status = 403, content_type = "text/plain", body = String, description = "The token is not for this model"),
        (status = 413, content_type = "text/plain", body = String, description = "Too much for one request"),
        (status = 422, content_type = "text/plain", body = String, description = "No model's name, or a key that was used for other rows"),
        (status = 429, content_type = "text/plain", body = String, description = "Too fast, or a model too many; Retry-After says when to come back"),
        (status = 503, content_type = "text/plain", body = String, description = "No room; Retry-After says when to come back")))]
pub(crate) async fn rows(
    State(ingest): State<Ingest>,
    Query(parameters): Query<RowParameters>,
    request: Request,
) -> Response {
    match take(&ingest, parameters, request).await {
        Ok(stored) => axum::Json(stored).into_response(),
        Err(refused) => ingest.refuse("rows", refused),
    }
}

async fn take(ingest: &Ingest, parameters: RowParameters, request: Request) -> Result<StoredRows, Refused> {
    let pass = ingest.let_in(&request)?;
    let key = key(&request)?;
    let (bytes, _room) = ingest.body(request, MAX_BODY_BYTES).await?;
    // Lines are parsed and written again, beside what they were.
    let _room_inside = ingest.room(bytes.len())?;
    let size = bytes.len();
    let content: [u8; 32] = {
        let parameters = format!("{parameters:?}");
        Sha256::new().chain_update(parameters.as_bytes()).chain_update(&bytes).finalize().into()
    };
    let now = now_micros();
    let batches = tokio::task::spawn_blocking(move || batches(&bytes, &parameters, now)).await;
    let batches = batches.map_err(|_| Refused::NotNow("the rows could not be read".to_owned()))??;
    let stored = batches.iter().map(|batch| batch.rows).sum();
    for batch in &batches {
        ingest.admit(&pass, &batch.model)?;
    }
    for batch in &batches {
        let share = size * batch.rows / usize::max(stored, 1);
        ingest.meters.take(pass.token.as_deref(), &batch.model, batch.rows as u64, share)?;
    }
    let request = key.map(|key| {
        let sender = pass.name().unwrap_or_default().as_bytes();
        let key = Sha256::new().chain_update(sender).chain_update([0]).chain_update(key).finalize().into();
        received::Request { key, content }
    });
    let frame_bytes = batches.iter().map(|batch| batch.frame.len()).sum();
    let written = ingest.store.writer.write(move |db| {
        let known = request.map(|request| received::remember(db, &request, stored as u64, now)).transpose()?;
        let known = known.unwrap_or(Known::New);
        if known == Known::New {
            for batch in &batches {
                journal::remember_model(db, &batch.model, now)?;
                journal::append_unnumbered(db, &batch.frame, now)?;
            }
        }
        Ok(known)
    });
    let written = written.await;
    match written.map_err(|error| Refused::NotNow(format!("the rows could not be stored: {error}")))? {
        Known::Other => Err(Refused::Bad(
            StatusCode::UNPROCESSABLE_ENTITY,
            "this Idempotency-Key was used for other rows; use a new one for each request".to_owned(),
        )),
        Known::Same => Ok(StoredRows { stored, repeated: true }),
        Known::New => {
            ingest.space.grew(frame_bytes);
            // Full means that the pipeline is awake already.
            ingest.wake.try_send(()).ok();
            Ok(StoredRows { stored, repeated: false })
        }
    }
}

/// The key by which a request is known when it comes again.
fn key(request: &Request) -> Result<Option<Vec<u8>>, Refused> {
    let Some(key) = request.headers().get("idempotency-key") else { return Ok(None) };
    if key.is_empty() || key.len() > 255 {
        let why = "the Idempotency-Key is empty, or has more than 255 bytes";
        return Err(Refused::Bad(StatusCode::BAD_REQUEST, why.to_owned()));
    }
    Ok(Some(key.as_bytes().to_vec()))
}

/// The rows of one model, framed.
struct ModelRows {
    model: String,
    rows: usize,
    frame: Vec<u8>,
}

fn batches(bytes: &Bytes, parameters: &RowParameters, now: i64) -> Result<Vec<ModelRows>, Refused> {
    let bad = |why: String| Refused::Bad(StatusCode::BAD_REQUEST, why);
    let too_large = |why: String| Refused::Bad(StatusCode::PAYLOAD_TOO_LARGE, why);
    let text = std::str::from_utf8(bytes).map_err(|error| bad(format!("the body is not UTF-8: {error}")))?;
    let mut by_model: BTreeMap<String, Vec<Exchange>> = BTreeMap::new();
    let (mut rows, mut row_bytes) = (0, 0);
    let ids = uuid::Uuid::now_v7().simple().to_string();
    for (index, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        rows += 1;
        row_bytes += line.len() + ROW_BYTES;
        if rows > MAX_ROWS || row_bytes > frame::MAX_RAW_BYTES {
            return Err(too_large(format!(
                "more than {MAX_ROWS} rows, or too many bytes; send them in several requests"
            )));
        }
        let (model, mut exchange) =
            exchange(line, parameters, now).map_err(|why| bad(format!("line {}: {why}", index + 1)))?;
        if exchange.request_id.is_empty() {
            exchange.request_id = format!("{ids}-{rows}");
        }
        by_model.entry(model).or_default().push(exchange);
    }
    if rows == 0 {
        return Err(bad(format!("there is no row; {EXPECTED}")));
    }
    let instance = parameters.instance.clone().unwrap_or_default();
    let frame_of = |(model, mut exchanges): (String, Vec<Exchange>)| {
        (1..).zip(&mut exchanges).for_each(|(number, exchange)| exchange.sequence = number);
        let rows = exchanges.len();
        let batch = Batch {
            boot_id: vec![0; 16],
            model: model.clone(),
            instance: instance.clone(),
            first_sequence: 1,
            last_sequence: rows as u64,
            exchanges,
            ..Batch::default()
        };
        Ok(ModelRows { frame: frame::encode(&batch)?, model, rows })
    };
    let framed: Result<_, FrameError> = by_model.into_iter().map(frame_of).collect();
    framed.map_err(|error| too_large(format!("{error}; send the rows in several requests")))
}

/// One line as an exchange, and its model.
fn exchange(line: &str, parameters: &RowParameters, now: i64) -> Result<(String, Exchange), String> {
    let SentRow { features, prediction, id, timestamp, model, version } =
        serde_json::from_str(line).map_err(|error| format!("{error}; {EXPECTED}"))?;
    if !features.get().starts_with('{') {
        return Err(format!("the features are no object; {EXPECTED}"));
    }
    let model = model.or_else(|| parameters.model.clone());
    let model = model.ok_or_else(|| format!("it names no model, and neither does ?model=; {EXPECTED}"))?;
    let version = version.or_else(|| parameters.version.clone());
    let id = id.unwrap_or_default();
    for (name, text) in [("id", &id), ("version", version.as_ref().unwrap_or(&id))] {
        if text.len() > MAX_FIELD_BYTES {
            return Err(format!("{name} has more than {MAX_FIELD_BYTES} bytes"));
        }
    }
    if version.as_ref().is_some_and(|version| version.is_empty() || version.contains(['/', '?', '#', ':'])) {
        return Err("version is empty, or has one of / ? # :".to_owned());
    }
    let started_at_micros = match timestamp.map(|time| time.parse::<jiff::Timestamp>()) {
        None => now,
        Some(Ok(time)) => time.as_microsecond(),
        Some(Err(error)) => return Err(format!("timestamp: {error}; {EXPECTED}")),
    };
    let version = version.map(|version| format!("/versions/{version}")).unwrap_or_default();
    let exchange = Exchange {
        request_id: id,
        started_at_micros,
        method: "POST".to_owned(),
        target: format!("/v1/models/{model}{version}:predict"),
        protocol: ModelProtocol::V1.name().to_owned(),
        status: 200,
        end: EndState::Complete.into(),
        request: Some(body(format!(r#"{{"instances": [{}]}}"#, features.get()))),
        response: prediction.map(|prediction| body(format!(r#"{{"predictions": [{}]}}"#, prediction.get()))),
        unmeasured: true,
        ..Exchange::default()
    };
    Ok((model, exchange))
}

fn body(text: String) -> Body {
    Body { size: text.len() as u64, content: text.into(), ..Body::default() }
}

#[cfg(test)]
mod tests {
    use driftline_protocol::{Cell, Naming, decode_rows};

    use super::*;

    fn read(lines: &str, model: Option<&str>) -> Result<Vec<ModelRows>, String> {
        let parameters = RowParameters { model: model.map(str::to_owned), ..RowParameters::default() };
        batches(&Bytes::from(lines.to_owned()), &parameters, 7).map_err(|refused| format!("{refused:?}"))
    }

    #[test]
    fn a_line_becomes_a_row_with_its_columns_version_and_id() {
        let line = r#"{"features": {"temp": 39.02, "wind": null}, "prediction": {"late": 0.25}, "id": "r-1",
            "timestamp": "2013-01-01T05:00:00Z", "version": "v3"}"#;
        let line = line.replace('\n', " ");
        let batches =
            read(&format!("{line}\n\n{line}\n{{\"features\": {{}}, \"model\": \"other\"}}"), Some("m")).unwrap();
        assert_eq!(
            batches.iter().map(|batch| (batch.model.as_str(), batch.rows)).collect::<Vec<_>>(),
            [("m", 2), ("other", 1)]
        );
        let batch = frame::decode(&batches[0].frame).unwrap();
        let exchange = &batch.exchanges[1];
        assert_eq!((exchange.request_id.as_str(), exchange.started_at_micros), ("r-1", 1_357_016_400_000_000));
        let naming = Naming::default();
        let rows = decode_rows(exchange, &naming).unwrap();
        assert_eq!((rows.count, rows.model_version.as_deref()), (1, Some("v3")));
        let cells: Vec<(&str, &Cell<'_>)> =
            rows.columns.iter().map(|column| (&*column.name, &column.cells[0])).collect();
        assert_eq!(cells, [("temp", &Cell::Number(39.02)), ("wind", &Cell::Missing), ("late", &Cell::Number(0.25))]);
    }

    #[test]
    fn what_is_wrong_is_said_with_its_line() {
        let good = r#"{"features": {"x": 1}}"#;
        for (line, says) in [
            ("{", "EOF"),
            ("[1]", "line 2"),
            (r#"{"features": [1]}"#, "no object"),
            (r#"{"prediction": 1}"#, "missing field `features`"),
            (r#"{"features": {}, "predicton": 1}"#, "unknown field `predicton`"),
            (r#"{"features": {}, "timestamp": "soon"}"#, "timestamp"),
            (r#"{"features": {}, "version": "a/b"}"#, "version"),
        ] {
            let error = read(&format!("{good}\n{line}"), Some("m")).err().unwrap();
            assert!(error.contains(says) && error.contains("line 2"), "{error}");
        }
        assert!(read(good, None).err().unwrap().contains("names no model"));
        assert!(read(" \n", Some("m")).err().unwrap().contains("no row"));
        let many = format!("{good}\n").repeat(MAX_ROWS + 1);
        assert!(read(&many, Some("m")).err().unwrap().contains("several requests"));
    }
}
