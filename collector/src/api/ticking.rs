//! Ticking off: the steps of an alert's runbook, and who has done which.

use axum::Json;
use axum::extract::State;
use driftline_alerts::Notification;
use rusqlite::{Connection, OptionalExtension};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Api;
use super::error::{ApiError, Segments};
use super::writing::{Asker, Body, comment};
use crate::alerting::entries;
use crate::alerting::ticks::{self, MAX_TICKS, Tick};
use crate::runbooks::steps::{Step, steps};
use crate::runbooks::values::Values;
use crate::times::{now_micros, rfc3339};

/// Somebody's word that a step is done, or is not.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewTick {
    /// Whether it is done; false takes a tick back.
    done: bool,
    /// Who. Without it the name of the token that the request came with.
    by: Option<String>,
    /// What was found, or done.
    #[serde(default)]
    note: String,
}

/// A step of the runbook.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct StepView {
    /// Its section and its number there: `first-five-minutes-2`.
    id: String,
    /// The runbook's section.
    section: String,
    text: String,
    /// Whether it is done, by the last word.
    done: bool,
    /// The last word on it; null as long as there is none.
    tick: Option<TickView>,
}

/// A tick, or that it was taken back.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct TickView {
    step: String,
    /// What the step was about then.
    text: String,
    done: bool,
    by: String,
    note: String,
    at: String,
}

impl From<Tick> for TickView {
    fn from(tick: Tick) -> Self {
        let Tick { step, text, is_done, author, note, at } = tick;
        Self { step, text, done: is_done, by: author, note, at: rfc3339(at) }
    }
}

/// Ticks a step of the alert's runbook off, or takes that back. Both are lines of the alert's timeline and of its postmortem.
#[utoipa::path(post, path = "/api/v1/alerts/{id}/steps/{step}", tag = "alerts", request_body = NewTick,
    params(("id" = String, Path, description = "The episode's id"), ("step" = String, Path, description = "The step's id")),
    responses((status = 200, body = TickView), (status = 400, body = super::error::Problem),
              (status = 403, body = super::error::Problem), (status = 404, body = super::error::Problem),
              (status = 409, body = super::error::Problem),
              (status = 413, body = super::error::Problem), (status = 415, body = super::error::Problem),
              (status = 422, body = super::error::Problem)))]
pub(crate) async fn tick(
    State(api): State<Api>,
    Segments((id, step)): Segments<(String, String)>,
    asker: Asker,
    Body(new): Body<NewTick>,
) -> Result<Json<TickView>, ApiError> {
    let author = asker.name(new.by, "by")?;
    let note = comment(new.note, "note")?;
    let missing = format!("there is no alert '{id}'; /api/v1/alerts lists those there are");
    let episode = id.clone();
    let (runbook, said) =
        api.store.read(move |db| of_episode(db, &episode)).await?.ok_or_else(|| ApiError::not_found(missing))?;
    let known = steps_of(&api, &runbook, said.as_ref());
    let text = known.into_iter().find(|known| known.id == step).map(|known| known.text).ok_or_else(|| {
        ApiError::not_found(format!("the runbook {runbook} has no step '{step}'; the alert lists its 'steps'"))
    })?;
    let tick = Tick { step, text, is_done: new.done, author, note, at: now_micros() };
    let view = TickView::from(tick.clone());
    if !api.store.writer.write(move |db| ticks::add(db, &id, &tick)).await? {
        return Err(ApiError::conflict(format!("this alert has {MAX_TICKS} ticks; that is all there may be")));
    }
    Ok(Json(view))
}

/// The runbook of an episode, and what was said when it began, if that can be read.
fn of_episode(db: &Connection, id: &str) -> rusqlite::Result<Option<(String, Option<Notification>)>> {
    let runbook: Option<String> = db
        .prepare_cached("SELECT runbook FROM episodes WHERE id = ?1")?
        .query_row([id], |row| row.get(0))
        .optional()?;
    runbook.map(|runbook| Ok((runbook, entries::triggered(db, id)?))).transpose()
}

/// The steps of a runbook with an alert's values; none where there is no such runbook any more.
fn steps_of(api: &Api, runbook: &str, said: Option<&Notification>) -> Vec<Step> {
    let values = Values::new(&api.config.public_url, said);
    api.runbooks.find(runbook).map(|runbook| steps(&values.fill(runbook.body()))).unwrap_or_default()
}

/// The steps of an alert's runbook, each with the last word on it.
pub(super) fn views(api: &Api, runbook: &str, said: Option<&Notification>, ticks: &[TickView]) -> Vec<StepView> {
    let view = |Step { id, section, text }| {
        let tick = ticks.iter().rev().find(|tick| tick.step == id).cloned();
        StepView { id, section: section.to_owned(), text, done: tick.as_ref().is_some_and(|tick| tick.done), tick }
    };
    steps_of(api, runbook, said).into_iter().map(view).collect()
}
