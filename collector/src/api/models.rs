//! Models: what is watched, and how it is.

use std::collections::BTreeSet;

use axum::Json;
use axum::extract::State;
use driftline_alerts::Counts;
use driftline_detectors::{ColumnKind, ReferenceFile};
use rusqlite::{Connection, OptionalExtension, params};
use serde::Serialize;
use utoipa::ToSchema;

use super::Api;
use super::error::{ApiError, Segments};
use super::objectives::{self, ObjectiveView};
use crate::alerting::drills::IS_REAL;
use crate::config::{CompareWith, EventTime, Model, SLIS, Watermark, watched};
use crate::feeds::WatchedFeed;
use crate::pipeline::HEADLINE;
use crate::pipeline::columns::role_name;
use crate::pipeline::earlier::Against;
use crate::pipeline::slis::{self, LatencyCounts};
use crate::pipeline::watermarks::{self, WatermarkState};
use crate::store::{journal, outcomes};
use crate::times::{now_micros, rfc3339};

/// Indicators on the summary are of the last hour.
const SUMMARY_MICROS: i64 = 3_600_000_000;

/// One model at a glance.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ModelSummary {
    name: String,
    /// Versions that the model's answers named, the one that was seen last first.
    versions: Vec<String>,
    /// Rows counted in windows since the beginning.
    rows: u64,
    /// Rows that came after their windows had closed.
    late_rows: u64,
    /// Event time of the newest row.
    newest_event: Option<String>,
    /// Requests of the last hour.
    requests: u64,
    latency: Latency,
    /// Indicators of the last hour.
    slis: Vec<Sli>,
    /// The reference that it is compared with; null without one.
    reference: Option<ReferenceSummary>,
    /// The last window that closed.
    window: Option<WindowSummary>,
    /// Columns whose headline score is drift in that window, the worst first.
    drifting: Vec<DriftingColumn>,
    /// Alerts that fire now.
    alerts_firing: u64,
    /// Rows whose outcome is known.
    outcomes: u64,
}

/// Latencies of the last hour, in milliseconds; null without requests.
#[derive(Debug, Default, Serialize, ToSchema)]
pub(crate) struct Latency {
    p50_ms: Option<f64>,
    p90_ms: Option<f64>,
    p99_ms: Option<f64>,
}

/// Good of valid events, and those that could not be judged.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Sli {
    /// `latency`, `first_message`, `availability`, `freshness`, `capture`, `schema`, `decoded`, `heard`, `sidecars`, `feeds`,
    /// `feeds_listed`, `outcomes`, `slices` or `watermark`.
    sli: String,
    good: u64,
    valid: u64,
    /// Events that were seen, and lost or unreadable before they could be judged.
    unknown: u64,
    /// Share of good events; null without valid ones.
    share: Option<f64>,
}

/// Where a reference comes from.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ReferenceSummary {
    rows: u64,
    columns: usize,
    built_at: String,
    sources: Vec<String>,
}

/// A window.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct WindowSummary {
    version: String,
    starts: String,
    ends: String,
    rows: u64,
    /// Panes that hold rows.
    filled: u32,
    /// Panes there are.
    panes: u32,
}

/// A column that drifts.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct DriftingColumn {
    column: String,
    score: String,
    effect: f64,
    limit: f64,
}

/// One model in full.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ModelDetail {
    #[serde(flatten)]
    summary: ModelSummary,
    /// `request`, or the column that holds the event time.
    event_time: String,
    windows: WindowSettings,
    /// Earlier windows that its windows are compared with: `recent`, `same_hour`; none unless it is configured.
    compare_with: Vec<String>,
    /// Requests faster than this are good, in milliseconds.
    latency_objective_ms: f64,
    /// Streams whose first message comes sooner than this are good, in milliseconds; null where they may begin when they like.
    first_message_objective_ms: Option<f64>,
    /// How the objectives of rules on budgets stand.
    objectives: Vec<ObjectiveView>,
    /// Files of others that must keep coming.
    feeds: Vec<FeedView>,
    /// How old the newest outcome may be, in seconds; null where outcomes may come as they like.
    outcomes_max_age_seconds: Option<u64>,
    /// When the newest outcome became known.
    newest_outcome: Option<String>,
    /// The newest time of each column that is known to hold times.
    watermarks: Vec<WatermarkView>,
    columns: Vec<ColumnSummary>,
}

/// The newest time of a column.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct WatermarkView {
    column: String,
    /// `fresh` or `stale`; `unknown` before anything came, or when it lies ahead of the clock; null where no age is asked of it.
    state: Option<String>,
    /// How old it may be, in seconds; null where no age is asked of it.
    max_age_seconds: Option<u64>,
    /// The newest time; null when none was ever seen.
    newest: Option<String>,
    /// Since when it stands: when the row was received that brought it.
    moved_at: Option<String>,
    /// How old it is now, in seconds; below zero when it lies ahead of the clock.
    age_seconds: Option<f64>,
}

impl WatermarkView {
    /// All of a model's.
    fn all(db: &Connection, model: &Model, now: i64) -> rusqlite::Result<Vec<Self>> {
        let first_seen = journal::first_seen(db, &model.name)?;
        let view = |Watermark { column, max_age, .. }: Watermark| {
            let mark = watermarks::stored(db, &model.name, &column)?;
            let state = max_age.map(|max_age| WatermarkState::of(mark, first_seen, max_age, now));
            Ok(Self {
                column,
                state: state.map(|state| state.name().to_owned()),
                max_age_seconds: max_age.map(|max_age| max_age.as_secs()),
                newest: mark.map(|mark| rfc3339(mark.newest)),
                moved_at: mark.map(|mark| rfc3339(mark.moved_at)),
                age_seconds: mark.map(|mark| now.saturating_sub(mark.newest) as f64 / 1e6),
            })
        };
        watched(&model.slis, &model.event_time).into_iter().map(view).collect()
    }
}

/// A feed, and what is known of its files.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct FeedView {
    name: String,
    /// Its folder, or its bucket and prefix.
    place: String,
    /// `fresh`, `stale`, or `unknown` when it cannot be listed and what was seen before is too old to tell.
    state: String,
    max_age_seconds: u64,
    /// The columns that it brings, which are all that its alerts explain; empty where it names none, and may bring any.
    columns: Vec<String>,
    /// Its newest file, under the place; null when there is none.
    newest: Option<String>,
    /// When that was written, by the store's clock.
    written_at: Option<String>,
    /// When it was last listed to its end.
    listed_at: Option<String>,
    /// Why the last listing was not whole.
    trouble: Option<String>,
}

impl FeedView {
    fn of(watched: &WatchedFeed, now: i64) -> Self {
        let (feed, seen) = (&watched.feed, watched.seen());
        Self {
            name: feed.name.clone(),
            place: feed.place.to_string(),
            state: seen.state(feed.max_age, now).name().to_owned(),
            max_age_seconds: feed.max_age.as_secs(),
            columns: feed.columns.iter().cloned().collect(),
            newest: seen.newest.as_ref().map(|newest| newest.name.clone()),
            written_at: seen.newest.as_ref().map(|newest| rfc3339(newest.written_at)),
            listed_at: seen.listed_at.map(rfc3339),
            trouble: seen.trouble.clone(),
        }
    }
}

/// How the model's event time is cut.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct WindowSettings {
    pane_seconds: u64,
    panes: u32,
    every_panes: u32,
    lateness_seconds: u64,
    min_filled_panes: u32,
}

/// A column of the model.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ColumnSummary {
    name: String,
    /// `feature` or `prediction`.
    role: String,
    /// How it is archived: `number`, `integer`, `boolean`, `text`, `timestamp` or `embedding`.
    #[serde(rename = "type")]
    #[schema(rename = "type")]
    kind: Option<String>,
    /// How it is scored: `numeric` or `categorical`; null when it is not in the reference.
    scored_as: Option<String>,
}

/// Models that are described or were seen, by name.
#[utoipa::path(get, path = "/api/v1/models", tag = "models", responses((status = 200, body = [ModelSummary])))]
pub(crate) async fn list(State(api): State<Api>) -> Result<Json<Vec<ModelSummary>>, ApiError> {
    let described: BTreeSet<String> = api.config.models.iter().map(|model| model.name.clone()).collect();
    let references = std::sync::Arc::clone(&api.references);
    let summaries = api
        .store
        .read(move |db| {
            let mut names = described;
            names.extend(journal::known_models(db)?);
            names.into_iter().map(|name| summary(db, &name, references.file(&name))).collect()
        })
        .await?;
    Ok(Json(summaries))
}

/// One model.
#[utoipa::path(get, path = "/api/v1/models/{model}", tag = "models",
    params(("model" = String, Path, description = "The model's name")),
    responses((status = 200, body = ModelDetail), (status = 404, body = super::error::Problem)))]
pub(crate) async fn one(
    State(api): State<Api>,
    Segments(name): Segments<String>,
) -> Result<Json<ModelDetail>, ApiError> {
    let config = check_known(&api, &name).await?;
    let references = std::sync::Arc::clone(&api.references);
    let (now, api_config) = (now_micros(), std::sync::Arc::clone(&api.config));
    let (summary, objectives, columns, newest_outcome, watermarks) = api
        .store
        .read({
            let (name, config) = (name.clone(), config.clone());
            move |db| {
                let file = references.file(&name);
                let objectives = objectives::of_model(db, &api_config.alerting.rules, &name, now)?;
                let watermarks = WatermarkView::all(db, &config, now)?;
                let columns = columns(db, &name, file)?;
                Ok((summary(db, &name, file)?, objectives, columns, outcomes::newest(db, &name)?, watermarks))
            }
        })
        .await?;
    let windows = &config.windows;
    Ok(Json(ModelDetail {
        summary,
        event_time: match &config.event_time {
            EventTime::Request => "request".to_owned(),
            EventTime::Column { name, .. } => name.clone(),
        },
        windows: WindowSettings {
            pane_seconds: windows.pane.as_secs(),
            panes: windows.panes,
            every_panes: windows.every,
            lateness_seconds: windows.lateness.as_secs(),
            min_filled_panes: windows.min_filled,
        },
        compare_with: compare_with(&config),
        latency_objective_ms: config.slis.latency.as_secs_f64() * 1000.0,
        first_message_objective_ms: config.slis.first_message.map(|limit| limit.as_secs_f64() * 1000.0),
        objectives,
        feeds: api.feeds.of(&name).iter().map(|watched| FeedView::of(watched, now)).collect(),
        outcomes_max_age_seconds: config.slis.outcomes.map(|max_age| max_age.as_secs()),
        newest_outcome: newest_outcome.map(rfc3339),
        watermarks,
        columns,
    }))
}

fn compare_with(config: &Model) -> Vec<String> {
    let CompareWith { recent, same_hour } = config.compare_with;
    let configured = [(Against::Recent, recent), (Against::SameHour, same_hour)].into_iter();
    configured.filter(|(_, windows)| windows.is_some()).map(|(against, _)| against.name().to_owned()).collect()
}

/// The configuration of a model, if there is such a model.
pub(super) async fn check_known(api: &Api, name: &str) -> Result<Model, ApiError> {
    let is_described = api.config.models.iter().any(|model| model.name == name);
    let wanted = name.to_owned();
    if !is_described && !api.store.read(move |db| Ok(journal::known_models(db)?.contains(&wanted))).await? {
        return Err(ApiError::not_found(format!("there is no model '{name}'; /api/v1/models lists those there are")));
    }
    Ok(api.config.model(name))
}

fn summary(db: &Connection, name: &str, reference: Option<&ReferenceFile>) -> rusqlite::Result<ModelSummary> {
    let from = now_micros() - SUMMARY_MICROS;
    let mut versions: Vec<(String, i64, u64, u64)> = db
        .prepare_cached("SELECT version, newest_event, rows, late_rows FROM window_progress WHERE model = ?1 ORDER BY newest_event DESC")?
        .query_map([name], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get::<_, i64>(2)? as u64, row.get::<_, i64>(3)? as u64))
        })?
        .collect::<rusqlite::Result<_>>()?;
    versions.sort_by_key(|(_, newest, ..)| std::cmp::Reverse(*newest));
    let latencies = latencies(db, name, from)?;
    let slis = SLIS
        .into_iter()
        .map(|sli| {
            let sums = slis::sums(db, name, sli, from, now_micros())?;
            let mut sum = Counts::default();
            sums.into_values().for_each(|of_label| sum += of_label);
            let Counts { good, valid, unknown } = sum;
            let share = (valid > 0).then(|| good as f64 / valid as f64);
            Ok(Sli { sli: sli.to_owned(), good, valid, unknown, share })
        })
        .collect::<rusqlite::Result<_>>()?;
    let window = last_window(db, name)?;
    let drifting = match &window {
        Some((version, ends, _)) => drifting(db, name, version, *ends)?,
        None => Vec::new(),
    };
    let alerts_firing = db
        .prepare_cached(&format!(
            "SELECT count(*) FROM episodes
             WHERE resolved_at IS NULL AND json_extract(notification, '$.labels.model') = ?1 AND {IS_REAL}"
        ))?
        .query_row([name], |row| row.get(0))?;
    Ok(ModelSummary {
        name: name.to_owned(),
        rows: versions.iter().map(|(_, _, rows, _)| rows).sum(),
        late_rows: versions.iter().map(|(_, _, _, late)| late).sum(),
        newest_event: versions.iter().map(|(_, newest, ..)| *newest).max().map(rfc3339),
        versions: versions.into_iter().map(|(version, ..)| version).collect(),
        requests: latencies.total(),
        latency: Latency {
            p50_ms: latencies.quantile_ms(0.5),
            p90_ms: latencies.quantile_ms(0.9),
            p99_ms: latencies.quantile_ms(0.99),
        },
        slis,
        reference: reference.map(|file| ReferenceSummary {
            rows: file.rows,
            columns: file.columns.len(),
            built_at: file.built_at.clone(),
            sources: file.sources.iter().map(|source| source.path.clone()).collect(),
        }),
        window: window.map(|(_, _, window)| window),
        drifting,
        alerts_firing,
        outcomes: outcomes::count(db, name)?,
    })
}

fn latencies(db: &Connection, model: &str, from: i64) -> rusqlite::Result<LatencyCounts> {
    let mut total = LatencyCounts::default();
    let mut statement = db.prepare_cached("SELECT counts FROM latencies WHERE model = ?1 AND slice >= ?2")?;
    let slices = statement.query_map(params![model, from], |row| row.get::<_, Vec<u8>>(0))?;
    for bytes in slices {
        if let Some(counts) = LatencyCounts::from_bytes(&bytes?) {
            total.merge(&counts);
        }
    }
    Ok(total)
}

fn last_window(db: &Connection, model: &str) -> rusqlite::Result<Option<(String, i64, WindowSummary)>> {
    db.prepare_cached(
        "SELECT version, ends, starts, rows, filled, panes FROM windows WHERE model = ?1 ORDER BY ends DESC LIMIT 1",
    )?
    .query_row([model], |row| {
        let (version, ends): (String, i64) = (row.get(0)?, row.get(1)?);
        let summary = WindowSummary {
            version: version.clone(),
            starts: rfc3339(row.get(2)?),
            ends: rfc3339(ends),
            rows: row.get::<_, i64>(3)? as u64,
            filled: row.get(4)?,
            panes: row.get(5)?,
        };
        Ok((version, ends, summary))
    })
    .optional()
}

fn drifting(db: &Connection, model: &str, version: &str, ends: i64) -> rusqlite::Result<Vec<DriftingColumn>> {
    db.prepare_cached(
        "SELECT column_name, effect,
                max(threshold, coalesce(noise_budget, max(noise_independent, coalesce(noise_blocks, 0)))) AS in_force FROM scores
         WHERE model = ?1 AND version = ?2 AND ends = ?3 AND detector = ?4 AND verdict = 'drift'
         ORDER BY effect / in_force DESC",
    )?
    .query_map(params![model, version, ends, HEADLINE.name()], |row| {
        Ok(DriftingColumn {
            column: row.get(0)?,
            score: HEADLINE.name().to_owned(),
            effect: row.get(1)?,
            limit: row.get(2)?,
        })
    })?
    .collect()
}

/// The columns that came, and those of the reference that did not.
fn columns(db: &Connection, model: &str, reference: Option<&ReferenceFile>) -> rusqlite::Result<Vec<ColumnSummary>> {
    let scored_as = |name: &str| {
        let column = reference.and_then(|file| file.columns.iter().find(|column| column.column == name))?;
        Some(match column.kind() {
            ColumnKind::Numeric => "numeric".to_owned(),
            ColumnKind::Categorical => "categorical".to_owned(),
            ColumnKind::Associations => "associations".to_owned(),
            ColumnKind::Contingencies => "contingencies".to_owned(),
            ColumnKind::Vectors => "vectors".to_owned(),
        })
    };
    let mut columns: Vec<ColumnSummary> = db
        .prepare_cached("SELECT name, role, type FROM columns WHERE model = ?1 ORDER BY role, name")?
        .query_map([model], |row| {
            let name: String = row.get(0)?;
            Ok(ColumnSummary { scored_as: scored_as(&name), name, role: row.get(1)?, kind: row.get(2)? })
        })?
        .collect::<rusqlite::Result<_>>()?;
    for reference in reference.iter().flat_map(|file| &file.columns) {
        if !columns.iter().any(|column| column.name == reference.column) {
            columns.push(ColumnSummary {
                name: reference.column.clone(),
                role: role_name(driftline_protocol::Role::Feature).to_owned(),
                kind: None,
                scored_as: scored_as(&reference.column),
            });
        }
    }
    Ok(columns)
}
