//! Requests and latencies over the last hours.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use rusqlite::{Connection, params};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::Api;
use super::error::{ApiError, Params, Segments};
use super::models::check_known;
use crate::pipeline::slis::{LatencyCounts, SLICE_MICROS};
use crate::times::{now_micros, rfc3339};

/// Points of one answer: as many as a chart has room for.
const POINTS: i64 = 120;

/// Which stretch of time.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct TrafficQuery {
    /// How many of the last minutes, 1 to 10080 (a week). Without it 60.
    #[param(minimum = 1, maximum = 10080)]
    minutes: Option<u32>,
}

/// Requests and latencies over time.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Traffic {
    /// Seconds that each point stands for.
    step_seconds: u64,
    /// Requests faster than this are good, in milliseconds.
    latency_objective_ms: f64,
    /// Points with traffic, the oldest first.
    points: Vec<Point>,
}

/// A slice of time.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Point {
    at: String,
    requests: u64,
    p50_ms: Option<f64>,
    p90_ms: Option<f64>,
    p99_ms: Option<f64>,
    /// Share of requests that the model answered; null when none was valid.
    availability: Option<f64>,
    /// Share of answers within the objective; null without answers.
    in_time: Option<f64>,
}

/// Requests and latencies of a model, by the wall clock.
#[utoipa::path(get, path = "/api/v1/models/{model}/traffic", tag = "models",
    params(("model" = String, Path, description = "The model's name"), TrafficQuery),
    responses((status = 200, body = Traffic), (status = 400, body = super::error::Problem),
              (status = 404, body = super::error::Problem)))]
pub(crate) async fn traffic(
    State(api): State<Api>,
    Segments(model): Segments<String>,
    Params(query): Params<TrafficQuery>,
) -> Result<Json<Traffic>, ApiError> {
    let config = check_known(&api, &model).await?;
    let minutes = query.minutes.unwrap_or(60);
    if !(1..=10_080).contains(&minutes) {
        return Err(ApiError::bad_request(format!("minutes is {minutes}; allowed is 1 to 10080")));
    }
    let span = i64::from(minutes) * 60_000_000;
    let step = (span / POINTS).max(SLICE_MICROS) / SLICE_MICROS * SLICE_MICROS;
    let from = now_micros() - span;
    let points = api.store.read(move |db| points(db, &model, from, step)).await?;
    Ok(Json(Traffic {
        step_seconds: (step / 1_000_000) as u64,
        latency_objective_ms: config.slis.latency.as_secs_f64() * 1000.0,
        points,
    }))
}

#[derive(Default)]
struct Slice {
    latencies: LatencyCounts,
    availability: (u64, u64),
    latency: (u64, u64),
}

fn points(db: &Connection, model: &str, from: i64, step: i64) -> rusqlite::Result<Vec<Point>> {
    let mut slices: BTreeMap<i64, Slice> = BTreeMap::new();
    let floor = |slice: i64| slice.div_euclid(step) * step;
    let mut statement = db.prepare_cached("SELECT slice, counts FROM latencies WHERE model = ?1 AND slice >= ?2")?;
    let mut rows = statement.query(params![model, from])?;
    while let Some(row) = rows.next()? {
        let bytes: Vec<u8> = row.get(1)?;
        if let Some(counts) = LatencyCounts::from_bytes(&bytes) {
            slices.entry(floor(row.get(0)?)).or_default().latencies.merge(&counts);
        }
    }
    let mut statement = db.prepare_cached(
        "SELECT slice, sli, sum(good), sum(valid) FROM sli_counts
         WHERE model = ?1 AND slice >= ?2 AND sli IN ('availability', 'latency') GROUP BY slice, sli",
    )?;
    let mut rows = statement.query(params![model, from])?;
    while let Some(row) = rows.next()? {
        let slice = slices.entry(floor(row.get(0)?)).or_default();
        let sli: String = row.get(1)?;
        let counts = if sli == "latency" { &mut slice.latency } else { &mut slice.availability };
        counts.0 += row.get::<_, i64>(2)? as u64;
        counts.1 += row.get::<_, i64>(3)? as u64;
    }
    let share = |(good, valid): (u64, u64)| (valid > 0).then(|| good as f64 / valid as f64);
    let point = |(at, slice): (i64, Slice)| Point {
        at: rfc3339(at),
        requests: slice.latencies.total(),
        p50_ms: slice.latencies.quantile_ms(0.5),
        p90_ms: slice.latencies.quantile_ms(0.9),
        p99_ms: slice.latencies.quantile_ms(0.99),
        availability: share(slice.availability),
        in_time: share(slice.latency),
    };
    Ok(slices.into_iter().map(point).collect())
}
