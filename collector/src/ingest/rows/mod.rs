//! `POST /v1/rows`: rows from applications that have no proxy: JSON objects, one a line, or a table as an Arrow stream.
//!
//! A row becomes an exchange whose bodies are written in the V1 protocol, and goes through the same journal, decoder,
//! windows and archive as all others. All rows are stored, or none; under an `Idempotency-Key`, once.

mod arrow;
mod lines;
mod row;

use axum::body::Bytes;
use axum::extract::{Query, Request, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use utoipa::{IntoParams, ToSchema};

pub(crate) use self::lines::SentRow;
#[cfg(feature = "fuzzing")]
pub(crate) use self::row::MAX_ROWS;
use self::row::{Gathered, ModelRows, MoreRoom, bad};
use super::Ingest;
use super::refused::Refused;
use crate::store::journal;
use crate::store::received::{self, Known};
use crate::times::now_micros;

/// Largest body.
const MAX_BODY_BYTES: usize = 16 << 20;
/// What a row should have been.
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
    /// Of an Arrow table, the column that is the rows' id, if it is not called so.
    id: Option<String>,
    /// Of an Arrow table, the column that says when a row happened, if it is not called so.
    timestamp: Option<String>,
    /// Of an Arrow table, the columns that are what the model answered, with commas between them.
    prediction: Option<String>,
}

impl RowParameters {
    fn names_columns(&self) -> bool {
        self.id.is_some() || self.timestamp.is_some() || self.prediction.is_some()
    }
}

/// What was stored.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct StoredRows {
    /// Rows of this request that are durable.
    stored: usize,
    /// Whether they were durable before, under the same key.
    repeated: bool,
}

/// Rows from applications that have no proxy: one JSON object a line, or a table as an Arrow stream. The answer comes once all are on disk. With an
/// `Idempotency-Key`, a request that is sent again within a week counts once.
#[utoipa::path(post, path = "/v1/rows", tag = "ingest",
    params(RowParameters, ("Idempotency-Key" = Option<String>, Header, description = "A name of this request, up to 255 bytes")),
    request_body(content((String = "application/x-ndjson"), (Vec<u8> = "application/vnd.apache.arrow.stream")),
        description = "A row a line, each as SentRow; or a table whose columns are features, but for those that are called as SentRow's fields"),
    responses(
        (status = 200, body = StoredRows),
        (status = 400, content_type = "text/plain", body = String, description = "A row is wrong; none is stored"),
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
    let form = Form::of(request.headers());
    let context = request.extensions().get().copied();
    let (bytes, _room) = ingest.body(request, MAX_BODY_BYTES).await?;
    let size = bytes.len();
    let content: [u8; 32] = {
        let parameters = format!("{parameters:?}");
        Sha256::new().chain_update(parameters.as_bytes()).chain_update(&bytes).finalize().into()
    };
    let now = now_micros();
    let more_room = ingest.more_room();
    let batches = tokio::task::spawn_blocking(move || batches(&bytes, form, &parameters, now, &more_room)).await;
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
    let span = ingest.span_of_write(context);
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
    drop(span);
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

/// What a body is written in, and what its content type is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Lines,
    Arrow,
}

impl Form {
    /// Any type but Arrow's is taken for JSON lines: curl sends forms, and many clients nothing.
    fn of(headers: &HeaderMap) -> Self {
        let content_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let essence = content_type.split(';').next().unwrap_or_default().trim();
        // A file has the stream in it, and says so at its beginning: what is wrong with it is said there.
        let is_arrow = [arrow::MEDIA_TYPE, arrow::FILE_MEDIA_TYPE].iter().any(|own| essence.eq_ignore_ascii_case(own));
        if is_arrow { Self::Arrow } else { Self::Lines }
    }
}

fn batches(
    bytes: &Bytes,
    form: Form,
    parameters: &RowParameters,
    now: i64,
    more_room: MoreRoom<'_>,
) -> Result<Vec<ModelRows>, Refused> {
    let mut gathered = Gathered::new(parameters, now, more_room);
    match form {
        Form::Lines if parameters.names_columns() => {
            return Err(bad("?id=, ?timestamp= and ?prediction= are for Arrow; lines name their fields".to_owned()));
        }
        Form::Lines => lines::read(bytes, &mut gathered)?,
        Form::Arrow => arrow::read(bytes, parameters, &mut gathered)?,
    }
    gathered.framed()
}

/// How many rows an Arrow stream has.
#[cfg(feature = "fuzzing")]
pub(crate) fn read_arrow(bytes: &[u8]) -> Result<usize, Refused> {
    let room = std::sync::Arc::new(tokio::sync::Semaphore::new(128));
    let more = |_| std::sync::Arc::clone(&room).try_acquire_owned().map_err(|_| Refused::NoRoom);
    let parameters = RowParameters { model: Some("m".to_owned()), ..RowParameters::default() };
    let batches = batches(&Bytes::copy_from_slice(bytes), Form::Arrow, &parameters, 0, &more)?;
    Ok(batches.iter().map(|batch| batch.rows).sum())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use driftline_protocol::{Cell, Cells, Naming, decode_rows, frame};
    use tokio::sync::Semaphore;

    use super::row::MAX_ROWS;
    use super::*;

    fn read(lines: &str, model: Option<&str>) -> Result<Vec<ModelRows>, String> {
        let parameters = RowParameters { model: model.map(str::to_owned), ..RowParameters::default() };
        read_within(lines, &parameters, 1 << 30)
    }

    fn read_within(lines: &str, parameters: &RowParameters, room: usize) -> Result<Vec<ModelRows>, String> {
        let room = Arc::new(Semaphore::new(room >> 10));
        let more =
            |bytes: usize| Arc::clone(&room).try_acquire_many_owned((bytes >> 10) as u32).map_err(|_| Refused::NoRoom);
        let bytes = Bytes::from(lines.to_owned());
        batches(&bytes, Form::Lines, parameters, 7, &more).map_err(|refused| format!("{refused:?}"))
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
        let columns: Vec<(&str, &Cells<'_>)> =
            rows.columns.iter().map(|column| (&*column.name, &column.cells)).collect();
        let expected = [("temp", Cell::Number(39.02)), ("wind", Cell::Missing), ("late", Cell::Number(0.25))];
        let expected = expected.map(|(name, cell)| (name, Cells::from(vec![cell])));
        assert_eq!(columns, expected.each_ref().map(|(name, cells)| (*name, cells)));
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
        let named = RowParameters { id: Some("key".to_owned()), ..RowParameters::default() };
        assert!(read_within(good, &named, 1 << 20).err().unwrap().contains("are for Arrow"));
    }

    #[test]
    fn rows_take_the_room_that_they_come_to() {
        let parameters = RowParameters { model: Some("m".to_owned()), ..RowParameters::default() };
        let lines = "{\"features\": {}}\n".repeat(10_000);
        assert!(read_within(&lines, &parameters, 5 << 20).is_ok());
        assert_eq!(read_within(&lines, &parameters, 4 << 20).err().unwrap(), "NoRoom");
    }
}
