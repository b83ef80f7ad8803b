//! What happened, line by line.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use rusqlite::params;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::error::{ApiError, Params};
use super::{Api, MAX_LIMIT};
use crate::times::rfc3339;

/// How often a waiting request looks again.
const LOOK_INTERVAL: Duration = Duration::from_millis(200);
const MAX_WAIT_MILLIS: u32 = 30_000;

/// Which events.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct EventsQuery {
    /// Only those after this id, the oldest first. Without it the newest, the newest first.
    #[param(minimum = 0)]
    after: Option<i64>,
    /// How many, 1 to 1000. Without it 100.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u32>,
    /// With `after`: wait up to so many milliseconds, at most 30000, for one to happen.
    #[param(minimum = 0, maximum = 30000)]
    wait_ms: Option<u32>,
}

/// Something that happened.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct EventView {
    id: i64,
    at: String,
    /// `window`, `drift`, `alert_fired`, `acknowledged`, `silence`, `alert_resolved`, `drill`, `type_change` or `archived`.
    kind: String,
    model: String,
    text: String,
}

/// What happened. The last ten thousand lines are kept.
#[utoipa::path(get, path = "/api/v1/events", tag = "events", params(EventsQuery),
    responses((status = 200, body = [EventView]), (status = 400, body = super::error::Problem)))]
pub(crate) async fn list(
    State(api): State<Api>,
    Params(query): Params<EventsQuery>,
) -> Result<Json<Vec<EventView>>, ApiError> {
    let limit = query.limit.unwrap_or(100);
    if !(1..=MAX_LIMIT).contains(&limit) {
        return Err(ApiError::bad_request(format!("limit is {limit}; allowed is 1 to {MAX_LIMIT}")));
    }
    if query.after.is_some_and(|after| after < 0) {
        return Err(ApiError::bad_request("after is negative; allowed is 0 or the id of an event"));
    }
    let wait = query.wait_ms.unwrap_or(0);
    if wait > MAX_WAIT_MILLIS {
        return Err(ApiError::bad_request(format!("wait_ms is {wait}; allowed is 0 to {MAX_WAIT_MILLIS}")));
    }
    let deadline = tokio::time::Instant::now() + Duration::from_millis(u64::from(wait));
    loop {
        let after = query.after;
        let events: Vec<EventView> = api
            .store
            .read(move |db| {
                let order = if after.is_some() { "ASC" } else { "DESC" };
                db.prepare(&format!(
                    "SELECT id, at, kind, model, text FROM events WHERE id > ?1 ORDER BY id {order} LIMIT ?2"
                ))?
                .query_map(params![after.unwrap_or(0), limit], |row| {
                    Ok(EventView {
                        id: row.get(0)?,
                        at: rfc3339(row.get(1)?),
                        kind: row.get(2)?,
                        model: row.get(3)?,
                        text: row.get(4)?,
                    })
                })?
                .collect()
            })
            .await?;
        if !events.is_empty() || after.is_none() || tokio::time::Instant::now() >= deadline {
            return Ok(Json(events));
        }
        tokio::time::sleep(LOOK_INTERVAL).await;
    }
}
