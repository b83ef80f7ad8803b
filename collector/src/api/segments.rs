//! Segments of a model's rows in one window: how many rows each has, and how far it is from itself in the reference.

use axum::Json;
use axum::extract::State;
use driftline_detectors::causes::Cause;
use driftline_detectors::{Detector, MIN_SEGMENT_ROWS, Score, Verdict};
use rusqlite::{Connection, OptionalExtension, params};
use serde::Serialize;
use utoipa::ToSchema;

use super::Api;
use super::error::{ApiError, Params, Segments};
use super::models::check_known;
use super::scores::{CauseView, ColumnQuery, ScoreView, Window, last_version, score, time_of, window};
use crate::segments::beyond;

/// The segments of a window, the worst first.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SegmentList {
    /// Null when no window has closed yet.
    version: Option<String>,
    window: Option<Window>,
    /// Empty of a model without segments, and of windows whose segments are not kept any more.
    segments: Vec<SegmentView>,
}

/// One segment in one window.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SegmentView {
    segment: String,
    rows: u64,
    /// Its share of the window's rows.
    share: f64,
    reference_rows: u64,
    /// Whether the reference has rows enough of it to compare with.
    is_scored: bool,
    /// `drift` when any score of any column drifts; `not_enough_data` when none says anything.
    verdict: String,
    /// How many columns drift.
    drifting: u64,
    /// The score that is furthest beyond its limit, or nearest to it; null when none says anything.
    worst: Option<WorstView>,
}

/// The worst score of a segment.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct WorstView {
    column: String,
    score: ScoreView,
    /// How many times the limit it is; above 1 it drifts.
    limits: f64,
    /// What the column's drift looks like in the segment, the likeliest first.
    causes: Vec<CauseView>,
}

/// One segment in one window, with all its scores.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SegmentDetail {
    version: String,
    window: Window,
    #[serde(flatten)]
    segment: SegmentView,
    /// The columns by name.
    columns: Vec<SegmentColumnView>,
}

/// One column of a segment.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SegmentColumnView {
    column: String,
    scores: Vec<ScoreView>,
    /// What the drift looks like, the likeliest first; empty when nothing drifts.
    causes: Vec<CauseView>,
}

/// A segment as it is stored.
struct Stored {
    name: String,
    rows: u64,
    reference_rows: u64,
    /// By column, in the order of their names.
    scores: Vec<(String, Score)>,
}

/// A window of a version.
#[derive(Clone, Copy)]
struct Place<'p> {
    model: &'p str,
    version: &'p str,
    ends: i64,
}

/// The segments of a window, the worst first.
#[utoipa::path(get, path = "/api/v1/models/{model}/segments", tag = "drift",
    params(("model" = String, Path, description = "The model's name"), ColumnQuery),
    responses((status = 200, body = SegmentList), (status = 400, body = super::error::Problem),
              (status = 404, body = super::error::Problem)))]
pub(crate) async fn list(
    State(api): State<Api>,
    Segments(model): Segments<String>,
    Params(query): Params<ColumnQuery>,
) -> Result<Json<SegmentList>, ApiError> {
    check_known(&api, &model).await?;
    let ends = time_of(query.ends.as_deref())?;
    let list = api.store.read(move |db| read_list(db, &model, query.version, ends)).await?;
    Ok(Json(list))
}

/// One segment in one window, with all its scores.
#[utoipa::path(get, path = "/api/v1/models/{model}/segments/{segment}", tag = "drift",
    params(("model" = String, Path, description = "The model's name"),
           ("segment" = String, Path, description = "The segment's name, as in origin=JFK"), ColumnQuery),
    responses((status = 200, body = SegmentDetail), (status = 400, body = super::error::Problem),
              (status = 404, body = super::error::Problem)))]
pub(crate) async fn one(
    State(api): State<Api>,
    Segments((model, segment)): Segments<(String, String)>,
    Params(query): Params<ColumnQuery>,
) -> Result<Json<SegmentDetail>, ApiError> {
    check_known(&api, &model).await?;
    let ends = time_of(query.ends.as_deref())?;
    let missing =
        format!("model '{model}' has no segment '{segment}' in a window that has closed, or not at that time");
    let detail = api.store.read(move |db| read_one(db, &model, &segment, query.version, ends)).await?;
    detail.map(Json).ok_or_else(|| ApiError::not_found(missing))
}

fn read_list(
    db: &Connection,
    model: &str,
    version: Option<String>,
    ends: Option<i64>,
) -> rusqlite::Result<SegmentList> {
    let Some((version, ends, window)) = find_window(db, model, version, ends)? else {
        return Ok(SegmentList { version: None, window: None, segments: Vec::new() });
    };
    let place = Place { model, version: &version, ends };
    let mut segments = Vec::new();
    for stored in read_segments(db, place, None)? {
        segments.push(stored.view(db, place, window.rows)?);
    }
    let limits = |view: &SegmentView| view.worst.as_ref().map_or(-1.0, |worst| worst.limits);
    segments.sort_by(|a, b| limits(b).total_cmp(&limits(a)).then_with(|| a.segment.cmp(&b.segment)));
    Ok(SegmentList { version: Some(version), window: Some(window), segments })
}

fn read_one(
    db: &Connection,
    model: &str,
    segment: &str,
    version: Option<String>,
    ends: Option<i64>,
) -> rusqlite::Result<Option<SegmentDetail>> {
    let Some((version, ends, window)) = find_window(db, model, version, ends)? else { return Ok(None) };
    let place = Place { model, version: &version, ends };
    let Some(stored) = read_segments(db, place, Some(segment))?.pop() else { return Ok(None) };
    let mut columns = Vec::new();
    for scores in stored.scores.chunk_by(|(a, _), (b, _)| a == b) {
        let column = scores[0].0.clone();
        columns.push(SegmentColumnView {
            causes: read_causes(db, place, segment, &column)?,
            scores: scores.iter().map(|(_, score)| ScoreView::from(score)).collect(),
            column,
        });
    }
    let segment = stored.view(db, place, window.rows)?;
    Ok(Some(SegmentDetail { version, window, segment, columns }))
}

/// The window that is asked for: the last without a time, of the version that closed one last without a version.
fn find_window(
    db: &Connection,
    model: &str,
    version: Option<String>,
    ends: Option<i64>,
) -> rusqlite::Result<Option<(String, i64, Window)>> {
    let version = match version {
        Some(version) => Some(version),
        None => last_version(db, model)?,
    };
    let Some(version) = version else { return Ok(None) };
    let found = db
        .prepare_cached(
            "SELECT ends, starts, rows, filled, panes FROM windows
             WHERE model = ?1 AND version = ?2 AND (?3 IS NULL OR ends = ?3) ORDER BY ends DESC LIMIT 1",
        )?
        .query_row(params![model, version, ends], window)
        .optional()?;
    Ok(found.map(|(ends, window)| (version, ends, window)))
}

/// The segments of a window, or the one of that name.
fn read_segments(db: &Connection, place: Place<'_>, name: Option<&str>) -> rusqlite::Result<Vec<Stored>> {
    let key = params![place.model, place.version, place.ends, name];
    let mut segments: Vec<Stored> = db
        .prepare_cached(
            "SELECT segment, rows, reference_rows FROM segment_windows
             WHERE model = ?1 AND version = ?2 AND ends = ?3 AND (?4 IS NULL OR segment = ?4) ORDER BY segment",
        )?
        .query_map(key, |row| {
            Ok(Stored {
                name: row.get(0)?,
                rows: row.get::<_, i64>(1)? as u64,
                reference_rows: row.get::<_, i64>(2)? as u64,
                scores: Vec::new(),
            })
        })?
        .collect::<rusqlite::Result<_>>()?;
    let mut statement = db.prepare_cached(
        "SELECT * FROM segment_scores
         WHERE model = ?1 AND version = ?2 AND ends = ?3 AND (?4 IS NULL OR segment = ?4)
         ORDER BY segment, column_name, detector",
    )?;
    let mut rows = statement.query(key)?;
    while let Some(row) = rows.next()? {
        let (segment, column, detector): (String, String, String) =
            (row.get("segment")?, row.get("column_name")?, row.get("detector")?);
        let stored = segments.binary_search_by(|stored| stored.name.as_str().cmp(&segment));
        if let (Ok(place), Some(detector)) = (stored, Detector::named(&detector)) {
            segments[place].scores.push((column, score(row, detector)?));
        }
    }
    Ok(segments)
}

impl Stored {
    fn view(&self, db: &Connection, place: Place<'_>, rows: u64) -> rusqlite::Result<SegmentView> {
        let judged = || self.scores.iter().filter(|(_, score)| score.verdict != Verdict::NotEnoughData);
        let mut drifting: Vec<&str> =
            judged().filter(|(_, score)| score.verdict == Verdict::Drift).map(|(column, _)| column.as_str()).collect();
        // A column's scores lie side by side.
        drifting.dedup();
        let worst = match judged().max_by(|(_, a), (_, b)| beyond(a).total_cmp(&beyond(b))) {
            Some((column, score)) => Some(WorstView {
                column: column.clone(),
                score: ScoreView::from(score),
                limits: beyond(score),
                causes: read_causes(db, place, &self.name, column)?,
            }),
            None => None,
        };
        let verdict = match worst {
            _ if !drifting.is_empty() => "drift",
            Some(_) => "ok",
            None => "not_enough_data",
        };
        Ok(SegmentView {
            segment: self.name.clone(),
            rows: self.rows,
            share: self.rows as f64 / rows.max(1) as f64,
            reference_rows: self.reference_rows,
            is_scored: self.reference_rows >= MIN_SEGMENT_ROWS,
            verdict: verdict.to_owned(),
            drifting: drifting.len() as u64,
            worst,
        })
    }
}

fn read_causes(db: &Connection, place: Place<'_>, segment: &str, column: &str) -> rusqlite::Result<Vec<CauseView>> {
    let stored: Option<String> = db
        .prepare_cached(
            "SELECT causes FROM segment_causes
             WHERE model = ?1 AND version = ?2 AND ends = ?3 AND segment = ?4 AND column_name = ?5",
        )?
        .query_row(params![place.model, place.version, place.ends, segment, column], |row| row.get(0))
        .optional()?;
    let causes: Vec<Cause> = stored.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default();
    Ok(causes.iter().map(CauseView::from).collect())
}
