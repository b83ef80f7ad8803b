//! Alerts: what fires, what fired, and what was said to whom.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use driftline_alerts::{Alert, Mute, Notification, Standing};
use rusqlite::{Connection, OptionalExtension, Row, params};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::acknowledging::AcknowledgementView;
use super::deliveries::DeliveryView;
use super::error::{ApiError, Params, Segments};
use super::reactions::{ReactionView, of_episode};
use super::ticking::{self, StepView, TickView};
use super::waiting::{self, WaitingView};
use super::{Api, MAX_LIMIT};
use crate::alerting::drills::IS_REAL;
use crate::alerting::news::mute_text;
use crate::alerting::{dead_letters, entries, ticks};
use crate::config::Config;
use crate::times::{now_micros, rfc3339};

/// Which alerts.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct AlertsQuery {
    /// `firing`, `resolved` or `all`. Without it all.
    state: Option<String>,
    /// Only those of this model.
    model: Option<String>,
    /// Drills, too. Without it none: nothing is wrong where they are.
    drills: Option<bool>,
    /// How many, 1 to 1000. Without it 100.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u32>,
}

/// One firing of an alert, from its beginning to its end.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Episode {
    id: String,
    rule: String,
    /// `page`, `ticket` or `info`.
    severity: String,
    /// `firing` or `resolved`.
    state: String,
    summary: String,
    labels: std::collections::BTreeMap<String, String>,
    started_at: String,
    resolved_at: Option<String>,
    runbook: String,
    runbook_url: String,
    /// The owner's dashboard of what it is about; null where nobody said where that is.
    dashboard_url: Option<String>,
    /// How it stands while it fires: `firing`, `recovering` (nothing is over any more, but not for long enough) or `no_data`
    /// (what was over says nothing any more, which is no end); null when it is resolved.
    standing: Option<String>,
    /// Whether it began so often lately that it is resolved only after a longer quiet.
    flapping: bool,
    /// Why nobody is told of it at the moment; empty when it is told.
    muted_by: Vec<MuteView>,
    /// Who is on it; null as long as nobody said so.
    acknowledged: Option<AcknowledgementView>,
    /// Whether somebody made it up, to see who is told.
    drill: bool,
}

/// Why an alert is not told.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct MuteView {
    /// `silence`, `maintenance`, `alert`: another alert that explains it; or `schedule`: nobody is to be told before it is on.
    by: String,
    /// The silence's id, the maintenance window's or schedule's name, or the id of the other alert's episode.
    id: String,
}

/// One firing in full.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct EpisodeDetail {
    #[serde(flatten)]
    episode: Episode,
    /// The rule's condition in words.
    condition: String,
    /// What its runbook says first: whether it is real, who is hurt, what to do first. Empty where it has no such list.
    briefing: Vec<Fact>,
    facts: Vec<Fact>,
    members: Vec<MemberView>,
    more_members: u64,
    picture: Option<PictureView>,
    /// Alerts that fire, and that this one explains: nobody is told of them as long as it fires.
    explains: Vec<Episode>,
    /// The steps of its runbook, and which of them are done.
    steps: Vec<StepView>,
    /// Who ticked off which step when, and took it back, in that order.
    ticks: Vec<TickView>,
    /// Since when there has been no verdict on it; null where there is one, and when it is resolved.
    no_verdict: Option<NoVerdictView>,
    /// Who is still to be told, in their hours.
    waiting: Vec<WaitingView>,
    /// What was sent to whom.
    deliveries: Vec<DeliveryView>,
    /// What was started because of it, or is to be.
    reactions: Vec<ReactionView>,
}

/// What was over its limit says nothing any more.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct NoVerdictView {
    /// When it said something last.
    since: String,
    /// Windows without a verdict after it, where its rule is of windows.
    windows: u32,
    /// After how many seconds of such windows it ends without one; null when it does not.
    ends_after_seconds: Option<u64>,
}

/// A fact about an alert.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Fact {
    name: String,
    value: String,
}

/// A column or version that was over its limit when the alert began.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct MemberView {
    what: String,
    value: String,
    limit: String,
    n: String,
    /// The last windows as block characters.
    sparkline: String,
}

/// A picture.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct PictureView {
    /// A PNG in base64.
    png_base64: String,
    caption: String,
}

/// Alerts, the newest first.
#[utoipa::path(get, path = "/api/v1/alerts", tag = "alerts", params(AlertsQuery),
    responses((status = 200, body = [Episode]), (status = 400, body = super::error::Problem)))]
pub(crate) async fn list(
    State(api): State<Api>,
    Params(query): Params<AlertsQuery>,
) -> Result<Json<Vec<Episode>>, ApiError> {
    let filter = match query.state.as_deref() {
        None | Some("all") => "1",
        Some("firing") => "resolved_at IS NULL",
        Some("resolved") => "resolved_at IS NOT NULL",
        Some(other) => {
            return Err(ApiError::bad_request(format!("state is '{other}'; allowed are firing, resolved and all")));
        }
    };
    let shown = if query.drills == Some(true) { "1" } else { IS_REAL };
    let limit = query.limit.unwrap_or(100);
    if !(1..=MAX_LIMIT).contains(&limit) {
        return Err(ApiError::bad_request(format!("limit is {limit}; allowed is 1 to {MAX_LIMIT}")));
    }
    let episodes = api
        .store
        .read(move |db| {
            db.prepare(&format!(
                "SELECT * FROM episodes WHERE {filter} AND {shown}
                   AND (?1 IS NULL OR json_extract(notification, '$.labels.model') = ?1)
                 ORDER BY started_at DESC LIMIT ?2"
            ))?
            .query_map(params![query.model, limit], |row| Ok(episode(row)?.0))?
            .collect()
        })
        .await?;
    Ok(Json(episodes))
}

/// One alert, with its evidence and its deliveries.
#[utoipa::path(get, path = "/api/v1/alerts/{id}", tag = "alerts",
    params(("id" = String, Path, description = "The episode's id")),
    responses((status = 200, body = EpisodeDetail), (status = 404, body = super::error::Problem)))]
pub(crate) async fn one(
    State(api): State<Api>,
    Segments(id): Segments<String>,
) -> Result<Json<EpisodeDetail>, ApiError> {
    let missing = format!("there is no alert '{id}'; /api/v1/alerts lists those there are");
    let config = Arc::clone(&api.config);
    let read = api.store.read(move |db| Ok((read_one(db, &config, &id)?, waiting::alert_of(db, &id)?))).await?;
    let (detail, alert) = read;
    let (mut detail, said) = detail.ok_or_else(|| ApiError::not_found(missing))?;
    detail.no_verdict = alert.as_ref().and_then(|alert| no_verdict(&api.config, alert));
    detail.waiting = waiting::views(&api.config.alerting, alert.as_ref(), now_micros());
    detail.steps = ticking::views(&api, &detail.episode.runbook, said.as_ref(), &detail.ticks);
    Ok(Json(detail))
}

/// The picture of an alert, as a PNG file: for targets that show it by its address.
#[utoipa::path(get, path = "/api/v1/alerts/{id}/picture", tag = "alerts",
    params(("id" = String, Path, description = "The episode's id")),
    responses((status = 200, content_type = "image/png", description = "The picture"),
              (status = 404, body = super::error::Problem)))]
pub(crate) async fn picture(
    State(api): State<Api>,
    Segments(id): Segments<String>,
) -> Result<impl IntoResponse, ApiError> {
    let missing = format!("there is no alert '{id}' with a picture");
    let said = api.store.read(move |db| entries::triggered(db, &id)).await?;
    let png = said.and_then(|said| STANDARD.decode(said.picture?.png_base64).ok());
    png.map(|png| ([(CONTENT_TYPE, "image/png")], png)).ok_or_else(|| ApiError::not_found(missing))
}

/// Since when an alert that fires without data has had no verdict.
fn no_verdict(config: &Config, alert: &Alert) -> Option<NoVerdictView> {
    alert.open().filter(|open| open.standing == Standing::NoData)?;
    let last = alert.counting().max_by_key(|member| member.said_at)?;
    let rule = config.alerting.rules.iter().find(|rule| rule.name == alert.rule);
    let ends_after = rule.and_then(|rule| rule.recovery.without_verdict);
    Some(NoVerdictView {
        since: rfc3339(last.said_at),
        windows: last.unjudged.windows,
        ends_after_seconds: ends_after.map(|after| after.as_secs()),
    })
}

fn episode(row: &Row<'_>) -> rusqlite::Result<(Episode, Option<Notification>)> {
    let text: String = row.get("notification")?;
    let notification: Option<Notification> = serde_json::from_str(&text).ok();
    let resolved_at: Option<i64> = row.get("resolved_at")?;
    let said = notification.as_ref();
    let episode = Episode {
        id: row.get("id")?,
        rule: row.get("rule")?,
        severity: row.get("severity")?,
        state: if resolved_at.is_some() { "resolved" } else { "firing" }.to_owned(),
        summary: said.map(|said| said.summary.clone()).unwrap_or_default(),
        labels: said.map(|said| said.labels.clone()).unwrap_or_default(),
        started_at: rfc3339(row.get("started_at")?),
        resolved_at: resolved_at.map(rfc3339),
        runbook: row.get("runbook")?,
        runbook_url: said.map(|said| said.runbook_url.clone()).unwrap_or_default(),
        dashboard_url: said.and_then(|said| said.dashboard_url.clone()),
        standing: if resolved_at.is_none() { row.get("standing")? } else { None },
        flapping: row.get("is_flapping")?,
        muted_by: mutes(row.get("muted_by")?),
        acknowledged: entries::acknowledgement(row)?.map(AcknowledgementView::from),
        drill: said.is_some_and(|said| said.drill),
    };
    Ok((episode, notification))
}

fn mutes(stored: Option<String>) -> Vec<MuteView> {
    let mutes: Vec<Mute> = stored.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default();
    let view = |mute| {
        let (by, id) = match mute {
            Mute::Silence(id) => ("silence", id),
            Mute::Maintenance(name) => ("maintenance", name),
            Mute::Alert(episode) => ("alert", episode),
            Mute::Schedule(name) => ("schedule", name),
        };
        MuteView { by: by.to_owned(), id }
    };
    mutes.into_iter().map(view).collect()
}

/// An alert without its runbook's steps and those who wait, and what was said when it began.
fn read_one(
    db: &Connection,
    config: &Config,
    id: &str,
) -> rusqlite::Result<Option<(EpisodeDetail, Option<Notification>)>> {
    let found = db.prepare_cached("SELECT * FROM episodes WHERE id = ?1")?.query_row([id], episode).optional()?;
    let Some((episode, notification)) = found else { return Ok(None) };
    let deliveries = dead_letters::of_episode(db, id)?.into_iter().map(DeliveryView::from).collect();
    let explains = db
        .prepare_cached(
            "SELECT * FROM episodes
             WHERE resolved_at IS NULL AND muted_by IS NOT NULL
               AND EXISTS (SELECT 1 FROM json_each(muted_by) WHERE json_each.value = json(?1))
             ORDER BY started_at DESC LIMIT ?2",
        )?
        .query_map(params![mute_text(id), MAX_LIMIT], |row| Ok(self::episode(row)?.0))?
        .collect::<rusqlite::Result<_>>()?;
    let ticks = ticks::of(db, id)?.into_iter().map(TickView::from).collect();
    let fact = |(name, value)| Fact { name, value };
    let briefing = notification.iter().flat_map(|said| said.briefing.clone()).map(fact).collect();
    let (condition, facts, rows, more_members, picture) = match notification.clone() {
        Some(said) => (said.condition, said.facts, said.rows, said.more_rows, said.picture),
        None => (String::new(), Vec::new(), Vec::new(), 0, None),
    };
    let detail = EpisodeDetail {
        episode,
        condition,
        briefing,
        facts: facts.into_iter().map(fact).collect(),
        members: rows
            .into_iter()
            .map(|row| MemberView {
                what: row.what,
                value: row.value,
                limit: row.threshold,
                n: row.n,
                sparkline: row.sparkline,
            })
            .collect(),
        more_members,
        picture: picture.map(|picture| PictureView { png_base64: picture.png_base64, caption: picture.caption }),
        explains,
        steps: Vec::new(),
        ticks,
        no_verdict: None,
        waiting: Vec::new(),
        deliveries,
        reactions: of_episode(db, config, id)?,
    };
    Ok(Some((detail, notification)))
}
