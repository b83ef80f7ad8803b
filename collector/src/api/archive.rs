//! What is archived.

use axum::Json;
use axum::extract::State;
use rusqlite::params;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::error::{ApiError, Params};
use super::{Api, MAX_LIMIT};
use crate::config::ArchivePlace;
use crate::times::rfc3339;

/// Which files.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct ArchiveQuery {
    /// Only those of this model.
    model: Option<String>,
    /// How many, 1 to 1000. Without it 100.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u32>,
}

/// The archive.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ArchiveView {
    /// Where it lies: a folder with its whole path, or `s3://bucket/prefix`.
    place: String,
    /// Files in all.
    files: u64,
    /// Rows in all.
    rows: u64,
    /// Bytes in all.
    bytes: u64,
    /// The newest files first.
    newest: Vec<FileView>,
}

/// A file.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct FileView {
    path: String,
    model: String,
    version: String,
    rows: u64,
    bytes: u64,
    first_event: String,
    last_event: String,
    made_at: String,
}

/// What is archived, with the newest files.
#[utoipa::path(get, path = "/api/v1/archive", tag = "archive", params(ArchiveQuery),
    responses((status = 200, body = ArchiveView), (status = 400, body = super::error::Problem)))]
pub(crate) async fn list(
    State(api): State<Api>,
    Params(query): Params<ArchiveQuery>,
) -> Result<Json<ArchiveView>, ApiError> {
    let limit = query.limit.unwrap_or(100);
    if !(1..=MAX_LIMIT).contains(&limit) {
        return Err(ApiError::bad_request(format!("limit is {limit}; allowed is 1 to {MAX_LIMIT}")));
    }
    let place = match &api.config.archive.place {
        // Whoever reads it stands in another folder.
        ArchivePlace::Folder(folder) => {
            std::path::absolute(folder).unwrap_or_else(|_| folder.clone()).display().to_string()
        }
        ArchivePlace::S3 { bucket, prefix, .. } => format!("s3://{bucket}/{prefix}"),
    };
    let view = api
        .store
        .read(move |db| {
            let (files, rows, bytes) = db
                .prepare_cached(
                    "SELECT count(*), coalesce(sum(rows), 0), coalesce(sum(bytes), 0) FROM archive_files
                     WHERE is_expired = 0 AND (?1 IS NULL OR model = ?1)",
                )?
                .query_row([&query.model], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
            let newest = db
                .prepare_cached(
                    "SELECT path, model, version, rows, bytes, first_event, last_event, made_at FROM archive_files
                     WHERE is_expired = 0 AND (?1 IS NULL OR model = ?1) ORDER BY made_at DESC, path DESC LIMIT ?2",
                )?
                .query_map(params![query.model, limit], |row| {
                    Ok(FileView {
                        path: row.get(0)?,
                        model: row.get(1)?,
                        version: row.get(2)?,
                        rows: row.get::<_, i64>(3)? as u64,
                        bytes: row.get::<_, i64>(4)? as u64,
                        first_event: rfc3339(row.get(5)?),
                        last_event: rfc3339(row.get(6)?),
                        made_at: rfc3339(row.get(7)?),
                    })
                })?
                .collect::<rusqlite::Result<_>>()?;
            Ok(ArchiveView { place, files, rows, bytes, newest })
        })
        .await?;
    Ok(Json(view))
}
