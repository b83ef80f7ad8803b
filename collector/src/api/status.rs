//! How the collector itself is doing.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use rusqlite::Connection;
use serde::Serialize;
use utoipa::ToSchema;

use super::Api;
use super::error::ApiError;
use crate::alerting::entries;
use crate::archive;
use crate::store::journal::{self, dropped_counts};
use crate::times::{now_micros, rfc3339};

/// The collector's state.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Status {
    version: String,
    started_at: String,
    /// Number of the last batch in the journal.
    journal_position: i64,
    /// Number of the last batch that was counted.
    counted_position: i64,
    /// Every batch up to this one is archived.
    archived_position: i64,
    /// Age of the oldest batch that is not archived, in seconds; null when all are.
    archive_lag_seconds: Option<f64>,
    notifications_pending: u64,
    /// Sidecars that were heard of, by model and instance.
    sidecars: Vec<SidecarView>,
}

/// One boot of a sidecar, by its own account.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SidecarView {
    boot: String,
    model: String,
    instance: String,
    /// Its version; null from one that says none.
    version: Option<String>,
    /// Exchanges that it was to capture when it sent its last batch.
    seen: u64,
    /// Of these, exchanges that are durable here.
    durable: u64,
    /// Exchanges that it lost, by reason.
    dropped: BTreeMap<String, u64>,
    /// Exchanges that it numbered and never delivered.
    missing: u64,
    /// Exchanges that it sent more than once.
    duplicates: u64,
    /// When its last batch came, by the collector's clock, less when it was made, by the sidecar's, in seconds: below zero
    /// the sidecar's clock is ahead; far above, it is behind, or the batch has waited. Null when it did not say.
    clock_offset_seconds: Option<f64>,
    heard_at: String,
}

/// How the collector itself is doing.
#[utoipa::path(get, path = "/api/v1/status", tag = "status", responses((status = 200, body = Status)))]
pub(crate) async fn status(State(api): State<Api>) -> Result<Json<Status>, ApiError> {
    let started_at = rfc3339(api.started_at);
    Ok(Json(api.store.read(move |db| read(db, started_at)).await?))
}

fn read(db: &Connection, started_at: String) -> rusqlite::Result<Status> {
    let number = |sql: &str| db.query_row(sql, [], |row| row.get::<_, i64>(0));
    let archived_position = archive::archived_through(db)?;
    let oldest = journal::oldest_after(db, archived_position)?;
    // The journal forgets what it does not need; the sequence remembers how far it came.
    let journal_position = number("SELECT coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'journal'), 0)")?;
    let sidecars = db
        .prepare("SELECT boot, model, instance, seen, durable_through - missing, dropped, missing, duplicates, heard_at, clock_offset, version FROM senders ORDER BY model, instance, heard_at")?
        .query_map([], |row| {
            let boot: Vec<u8> = row.get(0)?;
            let dropped: String = row.get(5)?;
            let version: String = row.get(10)?;
            Ok(SidecarView {
                boot: boot.iter().map(|byte| format!("{byte:02x}")).collect(),
                model: row.get(1)?,
                instance: row.get(2)?,
                version: Some(version).filter(|version| !version.is_empty()),
                seen: row.get::<_, i64>(3)? as u64,
                durable: row.get::<_, i64>(4)? as u64,
                dropped: dropped_counts(&dropped).map(|(reason, count)| (reason.to_owned(), count)).collect(),
                missing: row.get::<_, i64>(6)? as u64,
                duplicates: row.get::<_, i64>(7)? as u64,
                heard_at: rfc3339(row.get(8)?),
                clock_offset_seconds: row.get::<_, Option<i64>>(9)?.map(|micros| micros as f64 / 1e6),
            })
        })?
        .collect::<rusqlite::Result<_>>()?;
    Ok(Status {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        started_at,
        journal_position,
        counted_position: number("SELECT coalesce((SELECT position FROM progress WHERE consumer = 'count'), 0)")?,
        archived_position,
        archive_lag_seconds: oldest.map(|oldest| (now_micros() - oldest) as f64 / 1e6),
        notifications_pending: entries::pending(db)?,
        sidecars,
    })
}
