//! Scores over time, and one column against its reference.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use driftline_detectors::causes::Cause;
use driftline_detectors::{Detector, Noise, Score, Verdict};
use rusqlite::{Connection, OptionalExtension, Row, params};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::beside::{BesideView, REFERENCE, StandingView, against, standing};
use super::error::{ApiError, Params, Segments};
use super::models::check_known;
use super::{Api, MAX_LIMIT};
use crate::causes::{self, HISTORY_WINDOWS, Past};
use crate::pipeline::HEADLINE;
use crate::pipeline::earlier::{Against, stored};
use crate::times::rfc3339;

/// Which scores.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct ScoresQuery {
    /// The score: `psi`, `ks`, `jensen_shannon`, … Without it the headline score, psi.
    detector: Option<String>,
    /// What windows are held against: `reference`, or earlier windows, `recent` or `same_hour`, where the model is compared
    /// with them. Without it the reference. Beside earlier windows there are `psi`, `ks`, `wasserstein` and `missing_share`.
    against: Option<String>,
    /// The model's version. Without it the one whose window closed last.
    version: Option<String>,
    /// How many of the last windows, 1 to 1000. Without it 60.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u32>,
}

/// One score of all columns over the last windows.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ScoreMatrix {
    detector: String,
    /// `reference`, `recent` or `same_hour`.
    against: String,
    /// What its effect is, when that is not its value.
    effect_unit: Option<String>,
    version: Option<String>,
    /// The windows, the oldest first.
    windows: Vec<Window>,
    /// The columns by name; each has one cell for each window.
    columns: Vec<ColumnScores>,
}

/// A window that closed.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Window {
    starts: String,
    ends: String,
    pub(super) rows: u64,
    filled: u32,
    panes: u32,
}

/// One column's scores.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ColumnScores {
    column: String,
    /// Null where the score was not taken.
    cells: Vec<Option<ScoreView>>,
}

/// A score with what it takes to believe it.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct ScoreView {
    detector: String,
    /// As the literature defines it; the lower end when it lies in an interval.
    value: f64,
    /// The interval's upper end; equal to the value when that is exact.
    upper: f64,
    /// On the scale of the limit.
    pub(crate) effect: f64,
    /// Between these the effect of the two populations lies in nineteen of twenty pairs of samples, rows being independent.
    interval_low: f64,
    interval_high: f64,
    /// The effect's mean when nothing has drifted.
    null_mean: f64,
    /// What the effect is, when that is not the value.
    effect_unit: Option<String>,
    /// Above this the verdict is drift: what matters, or what chance reaches, whichever is larger.
    pub(crate) limit: f64,
    /// From which effect on it matters.
    threshold: f64,
    /// What independent rows reach by chance, once in a thousand.
    noise_independent: f64,
    /// What the reference's own stretches of time reach; null when it was built without times.
    noise_blocks: Option<f64>,
    /// What the budget of false pages allows, in the place of both; null without a budget, or without the times it needs.
    noise_budget: Option<f64>,
    /// Probability of as much under no drift with independent rows, or an upper bound of it.
    p_value: f64,
    n_reference: u64,
    n_window: u64,
    /// `ok`, `drift` or `not_enough_data`.
    pub(crate) verdict: String,
}

/// One column in one window.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ColumnDetail {
    column: String,
    version: String,
    window: Window,
    /// All its scores.
    scores: Vec<ScoreView>,
    /// What the drift looks like, the likeliest first; empty when nothing drifts.
    causes: Vec<CauseView>,
    /// Since when it drifts, by the history of the first of its scores that does; null when nothing drifts, or when its history
    /// does not reach back to before.
    since: Option<SinceView>,
    /// Reference and window side by side.
    bars: Vec<BarView>,
    /// The same beside earlier windows; empty where the model is not compared with them.
    beside: Vec<BesideView>,
    /// What reference and recent windows say together; null when one of them could not be told.
    standing: Option<StandingView>,
}

/// What a drift looks like.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct CauseView {
    /// In words.
    says: String,
    /// How much of the change it accounts for, from 0 to 1.
    share: f64,
    /// `kind` (`unit_change`, `shift`, `spread`, `default_fill`, `stuck_value`, `new_categories`, `renamed_categories`,
    /// `gone_categories`, `missing`, `mix_shift`, `associations` or `unexplained`) with its numbers.
    #[schema(value_type = Object)]
    change: serde_json::Value,
}

impl From<&Cause> for CauseView {
    fn from(cause: &Cause) -> Self {
        Self {
            says: causes::in_words(cause),
            share: cause.share,
            change: serde_json::to_value(&cause.kind).unwrap_or_default(),
        }
    }
}

/// Since when a score drifts.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SinceView {
    detector: String,
    /// End of the first window that drifted, the most likely one.
    first: String,
    /// The earliest that it may be. Up to `latest` it is so with a probability of 95 %.
    earliest: String,
    latest: String,
}

/// One bar of a histogram.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct BarView {
    label: String,
    from: Option<f64>,
    to: Option<f64>,
    /// Share of the reference.
    reference: f64,
    /// Share of the window.
    window: f64,
}

/// Which window of a column.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct ColumnQuery {
    /// The model's version. Without it the one whose window closed last.
    pub(super) version: Option<String>,
    /// The window that ends at this time (RFC 3339). Without it the last.
    pub(super) ends: Option<String>,
}

/// A score of all columns over the last windows.
#[utoipa::path(get, path = "/api/v1/models/{model}/scores", tag = "drift",
    params(("model" = String, Path, description = "The model's name"), ScoresQuery),
    responses((status = 200, body = ScoreMatrix), (status = 400, body = super::error::Problem),
              (status = 404, body = super::error::Problem)))]
pub(crate) async fn matrix(
    State(api): State<Api>,
    Segments(model): Segments<String>,
    Params(query): Params<ScoresQuery>,
) -> Result<Json<ScoreMatrix>, ApiError> {
    check_known(&api, &model).await?;
    let name = query.detector.as_deref().unwrap_or(HEADLINE.name());
    let detector = Detector::named(name).ok_or_else(|| {
        let names: Vec<&str> = Detector::ALL.into_iter().map(Detector::name).collect();
        ApiError::bad_request(format!("'{name}' is no score; the scores are {}", names.join(", ")))
    })?;
    let against = against(query.against.as_deref(), detector)?;
    let limit = query.limit.unwrap_or(60);
    if !(1..=MAX_LIMIT).contains(&limit) {
        return Err(ApiError::bad_request(format!("limit is {limit}; allowed is 1 to {MAX_LIMIT}")));
    }
    let matrix = api
        .store
        .read(move |db| {
            let version = match query.version {
                Some(version) => Some(version),
                None => last_version(db, &model)?,
            };
            read_matrix(db, &model, version, (against, detector), limit)
        })
        .await?;
    Ok(Json(matrix))
}

/// One column against its reference, in one window.
#[utoipa::path(get, path = "/api/v1/models/{model}/columns/{column}", tag = "drift",
    params(("model" = String, Path, description = "The model's name"),
           ("column" = String, Path, description = "The column's name"), ColumnQuery),
    responses((status = 200, body = ColumnDetail), (status = 400, body = super::error::Problem),
              (status = 404, body = super::error::Problem)))]
pub(crate) async fn column(
    State(api): State<Api>,
    Segments((model, column)): Segments<(String, String)>,
    Params(query): Params<ColumnQuery>,
) -> Result<Json<ColumnDetail>, ApiError> {
    check_known(&api, &model).await?;
    let ends = time_of(query.ends.as_deref())?;
    let missing = format!("no window of column '{column}' of model '{model}' has closed, or not at that time");
    let detail = api.store.read(move |db| read_column(db, &model, &column, query.version, ends)).await?;
    detail.map(Json).ok_or_else(|| ApiError::not_found(missing))
}

/// The time at which a window that is asked for ends.
pub(super) fn time_of(ends: Option<&str>) -> Result<Option<i64>, ApiError> {
    match ends.map(str::parse::<jiff::Timestamp>) {
        None => Ok(None),
        Some(Ok(time)) => Ok(Some(time.as_microsecond())),
        Some(Err(error)) => Err(ApiError::bad_request(format!("ends is no time like 2013-01-01T05:00:00Z: {error}"))),
    }
}

pub(super) fn last_version(db: &Connection, model: &str) -> rusqlite::Result<Option<String>> {
    db.prepare_cached("SELECT version FROM windows WHERE model = ?1 ORDER BY ends DESC LIMIT 1")?
        .query_row([model], |row| row.get(0))
        .optional()
}

pub(super) fn window(row: &Row<'_>) -> rusqlite::Result<(i64, Window)> {
    let ends: i64 = row.get("ends")?;
    let window = Window {
        starts: rfc3339(row.get("starts")?),
        ends: rfc3339(ends),
        rows: row.get::<_, i64>("rows")? as u64,
        filled: row.get("filled")?,
        panes: row.get("panes")?,
    };
    Ok((ends, window))
}

fn read_matrix(
    db: &Connection,
    model: &str,
    version: Option<String>,
    (against, detector): (Option<Against>, Detector),
    limit: u32,
) -> rusqlite::Result<ScoreMatrix> {
    let mut matrix = ScoreMatrix {
        detector: detector.name().to_owned(),
        against: against.map_or(REFERENCE, Against::name).to_owned(),
        effect_unit: detector.effect_unit().map(str::to_owned),
        version: version.clone(),
        windows: Vec::new(),
        columns: Vec::new(),
    };
    let Some(version) = version else { return Ok(matrix) };
    let mut windows: Vec<(i64, Window)> = db
        .prepare_cached(
            "SELECT ends, starts, rows, filled, panes FROM windows WHERE model = ?1 AND version = ?2
             ORDER BY ends DESC LIMIT ?3",
        )?
        .query_map(params![model, version, limit], window)?
        .collect::<rusqlite::Result<_>>()?;
    windows.reverse();
    let mut columns: BTreeMap<String, Vec<Option<ScoreView>>> = BTreeMap::new();
    let mut take = |ends: i64, column: String, score: &Score| {
        let Ok(index) = windows.binary_search_by_key(&ends, |(ends, _)| *ends) else { return };
        columns.entry(column).or_insert_with(|| vec![None; windows.len()])[index] = Some(ScoreView::from(score));
    };
    if let (Some((first, _)), Some((last, _))) = (windows.first(), windows.last()) {
        let (ends, version) = ((*first, *last), (model, version.as_str()));
        match against {
            None => scores_over(db, version, detector, ends, take)?,
            Some(against) => stored::comparisons(db, version, against, ends, |ends, column, beside| {
                let score = beside.scores.iter().find(|score| score.detector == detector);
                score.into_iter().for_each(|score| take(ends, column.clone(), score));
            })?,
        }
    }
    matrix.windows = windows.into_iter().map(|(_, window)| window).collect();
    matrix.columns = columns.into_iter().map(|(column, cells)| ColumnScores { column, cells }).collect();
    Ok(matrix)
}

/// A score of a version's columns against their reference, over these ends of windows: end, column, score.
fn scores_over(
    db: &Connection,
    (model, version): (&str, &str),
    detector: Detector,
    (first, last): (i64, i64),
    mut take: impl FnMut(i64, String, &Score),
) -> rusqlite::Result<()> {
    let mut statement = db.prepare_cached(
        "SELECT * FROM scores WHERE model = ?1 AND version = ?2 AND ends BETWEEN ?3 AND ?4 AND detector = ?5",
    )?;
    let mut rows = statement.query(params![model, version, first, last, detector.name()])?;
    while let Some(row) = rows.next()? {
        take(row.get("ends")?, row.get("column_name")?, &score(row, detector)?);
    }
    Ok(())
}

fn read_column(
    db: &Connection,
    model: &str,
    column: &str,
    version: Option<String>,
    ends: Option<i64>,
) -> rusqlite::Result<Option<ColumnDetail>> {
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
    let Some((ends, window)) = found else { return Ok(None) };
    let bars: Option<String> = db
        .prepare_cached(
            "SELECT bars FROM histograms WHERE model = ?1 AND version = ?2 AND ends = ?3 AND column_name = ?4",
        )?
        .query_row(params![model, version, ends, column], |row| row.get(0))
        .optional()?;
    let Some(bars) = bars else { return Ok(None) };
    let mut statement =
        db.prepare_cached("SELECT * FROM scores WHERE model = ?1 AND version = ?2 AND ends = ?3 AND column_name = ?4")?;
    let mut rows = statement.query(params![model, version, ends, column])?;
    let mut scores = Vec::new();
    while let Some(row) = rows.next()? {
        let name: String = row.get("detector")?;
        if let Some(detector) = Detector::named(&name) {
            scores.push(score(row, detector)?);
        }
    }
    scores.sort_by_key(|score| Detector::ALL.iter().position(|detector| *detector == score.detector));
    let drifts = scores.iter().find(|score| score.verdict == Verdict::Drift);
    let since = match drifts {
        Some(score) => read_since(db, (model, &version, column), ends, score)?,
        None => None,
    };
    let beside = stored::of_column(db, (model, &version), column, ends)?;
    Ok(Some(ColumnDetail {
        standing: standing(&scores, &beside),
        beside: beside.iter().map(BesideView::from).collect(),
        causes: read_causes(db, model, &version, ends, column)?,
        since,
        column: column.to_owned(),
        version,
        window,
        scores: scores.iter().map(ScoreView::from).collect(),
        bars: serde_json::from_str(&bars).unwrap_or_default(),
    }))
}

fn read_causes(
    db: &Connection,
    model: &str,
    version: &str,
    ends: i64,
    column: &str,
) -> rusqlite::Result<Vec<CauseView>> {
    let stored: Option<String> = db
        .prepare_cached(
            "SELECT causes FROM causes WHERE model = ?1 AND version = ?2 AND ends = ?3 AND column_name = ?4",
        )?
        .query_row(params![model, version, ends, column], |row| row.get(0))
        .optional()?;
    let causes: Vec<Cause> = stored.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default();
    Ok(causes.iter().map(CauseView::from).collect())
}

/// Since when this score of the window that ends then drifts.
fn read_since(
    db: &Connection,
    (model, version, column): (&str, &str, &str),
    ends: i64,
    score: &Score,
) -> rusqlite::Result<Option<SinceView>> {
    let mut history: Vec<Past> = db
        .prepare_cached(
            "SELECT ends, effect FROM scores
             WHERE model = ?1 AND version = ?2 AND column_name = ?3 AND detector = ?4 AND ends <= ?5
             ORDER BY ends DESC LIMIT ?6",
        )?
        .query_map(params![model, version, column, score.detector.name(), ends, HISTORY_WINDOWS], |row| {
            Ok(Past { ends: row.get(0)?, effect: row.get(1)? })
        })?
        .collect::<rusqlite::Result<_>>()?;
    history.reverse();
    Ok(causes::since(&history, score.threshold_in_force()).map(|since| SinceView {
        detector: score.detector.name().to_owned(),
        first: rfc3339(since.first),
        earliest: rfc3339(since.earliest),
        latest: rfc3339(since.latest),
    }))
}

pub(super) fn score(row: &Row<'_>, detector: Detector) -> rusqlite::Result<Score> {
    let verdict: String = row.get("verdict")?;
    Ok(Score {
        detector,
        value: row.get("value")?,
        upper: row.get("upper")?,
        effect: row.get("effect")?,
        interval: (row.get("interval_low")?, row.get("interval_high")?),
        null_mean: row.get("null_mean")?,
        n_reference: row.get::<_, i64>("n_reference")? as u64,
        n_window: row.get::<_, i64>("n_window")? as u64,
        p_value: row.get("p_value")?,
        noise: Noise {
            independent: row.get("noise_independent")?,
            blocks: row.get("noise_blocks")?,
            budget: row.get("noise_budget")?,
        },
        threshold: row.get("threshold")?,
        verdict: match verdict.as_str() {
            "drift" => Verdict::Drift,
            "ok" => Verdict::Ok,
            _ => Verdict::NotEnoughData,
        },
    })
}

impl From<&Score> for ScoreView {
    fn from(score: &Score) -> Self {
        Self {
            detector: score.detector.name().to_owned(),
            value: score.value,
            upper: score.upper,
            effect: score.effect,
            interval_low: score.interval.0,
            interval_high: score.interval.1,
            null_mean: score.null_mean,
            effect_unit: score.detector.effect_unit().map(str::to_owned),
            limit: score.threshold_in_force(),
            threshold: score.threshold,
            noise_independent: score.noise.independent,
            noise_blocks: score.noise.blocks,
            noise_budget: score.noise.budget,
            p_value: score.p_value,
            n_reference: score.n_reference,
            n_window: score.n_window,
            verdict: match score.verdict {
                Verdict::Ok => "ok",
                Verdict::Drift => "drift",
                Verdict::NotEnoughData => "not_enough_data",
            }
            .to_owned(),
        }
    }
}
