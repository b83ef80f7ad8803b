//! Acknowledgement: somebody says that they are on an alert.

use axum::Json;
use axum::extract::State;
use driftline_alerts::{Acknowledgement, Action};
use rusqlite::{Connection, OptionalExtension, params};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Api;
use super::error::{ApiError, Segments};
use super::writing::{Asker, Body, comment};
use crate::alerting::entries::{self, Update};
use crate::pipeline::events::{self, Event, EventKind};
use crate::times::{now_micros, rfc3339};

/// Somebody's word that they are on it.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewAcknowledgement {
    /// Who. Without it the name of the token that the request came with.
    by: Option<String>,
    /// What others should know.
    #[serde(default)]
    note: String,
}

/// Who is on an alert.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct AcknowledgementView {
    by: String,
    note: String,
    at: String,
}

impl From<Acknowledgement> for AcknowledgementView {
    fn from(said: Acknowledgement) -> Self {
        Self { by: said.by, note: said.note, at: rfc3339(said.at) }
    }
}

/// What became of an acknowledgement.
#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    Taken,
    NoSuchAlert,
    Resolved,
    /// Somebody was there before.
    TakenBefore(Acknowledgement),
}

/// Says that somebody is on an alert: nobody is reminded of it any more, or called besides. PagerDuty, Opsgenie, Slack's
/// thread and mailboxes that were told of it hear who it is. It holds until the alert is resolved.
#[utoipa::path(post, path = "/api/v1/alerts/{id}/acknowledgement", tag = "alerts", request_body = NewAcknowledgement,
    params(("id" = String, Path, description = "The episode's id")),
    responses((status = 200, body = AcknowledgementView), (status = 400, body = super::error::Problem),
              (status = 403, body = super::error::Problem), (status = 404, body = super::error::Problem),
              (status = 409, body = super::error::Problem),
              (status = 413, body = super::error::Problem), (status = 415, body = super::error::Problem),
              (status = 422, body = super::error::Problem)))]
pub(crate) async fn acknowledge(
    State(api): State<Api>,
    Segments(id): Segments<String>,
    asker: Asker,
    Body(new): Body<NewAcknowledgement>,
) -> Result<Json<AcknowledgementView>, ApiError> {
    let now = now_micros();
    let said = Acknowledgement { by: asker.name(new.by, "by")?, note: comment(new.note, "note")?, at: now };
    let hearers = api.config.alerting.hearers(Action::Acknowledge);
    let (episode, saying) = (id.clone(), said.clone());
    match api.store.writer.write(move |db| take(db, &episode, &saying, &hearers)).await? {
        Outcome::Taken => Ok(Json(said.into())),
        Outcome::NoSuchAlert => {
            Err(ApiError::not_found(format!("there is no alert '{id}'; /api/v1/alerts lists those there are")))
        }
        Outcome::Resolved => Err(ApiError::conflict("the alert is resolved: there is nothing to be on any more")),
        Outcome::TakenBefore(Acknowledgement { by, at, .. }) => {
            Err(ApiError::conflict(format!("{by} is on it since {}", rfc3339(at))))
        }
    }
}

fn take(db: &Connection, id: &str, said: &Acknowledgement, hearers: &[String]) -> rusqlite::Result<Outcome> {
    let found: Option<(Option<i64>, Option<Acknowledgement>)> = db
        .prepare_cached("SELECT * FROM episodes WHERE id = ?1")?
        .query_row([id], |row| Ok((row.get("resolved_at")?, entries::acknowledgement(row)?)))
        .optional()?;
    match found {
        None => return Ok(Outcome::NoSuchAlert),
        Some((_, Some(before))) => return Ok(Outcome::TakenBefore(before)),
        Some((Some(_), None)) => return Ok(Outcome::Resolved),
        Some((None, None)) => {}
    }
    let Acknowledgement { by, note, at } = said;
    db.prepare_cached(
        "UPDATE episodes SET acknowledged_at = ?2, acknowledged_by = ?3, acknowledged_note = ?4 WHERE id = ?1",
    )?
    .execute(params![id, at, by, note])?;
    let Some(mut notification) = entries::triggered(db, id)? else { return Ok(Outcome::Taken) };
    let model = notification.labels.get("model").cloned().unwrap_or_default();
    let text = format!("{by} is on {}: {}", notification.rule, notification.summary);
    events::store(db, &[Event { kind: EventKind::Acknowledged, model, text }], *at)?;
    notification.action = Action::Acknowledge;
    notification.acknowledged = Some(said.clone());
    entries::put_update(db, &notification, hearers, Update::Again, *at)?;
    Ok(Outcome::Taken)
}
