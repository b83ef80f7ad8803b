//! Deliveries: what was said to whom, what was given up, and what is to become of that.

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::error::{ApiError, Params, Segments};
use super::writing::Asker;
use super::{Api, MAX_LIMIT};
use crate::alerting::dead_letters::{self, Outcome, StoredDelivery};
use crate::pipeline::events::{self, Event, EventKind};
use crate::times::{now_micros, rfc3339};

/// Which deliveries.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct DeliveriesQuery {
    /// `pending`, `delivered`, `given_up` or `cancelled`. Without it `given_up`: dead letters.
    state: Option<String>,
    /// Only those to this target.
    target: Option<String>,
    /// How many, 1 to 1000. Without it 1000.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u32>,
}

/// One notification to one target.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct DeliveryView {
    id: i64,
    /// The episode that it is about; empty for a change.
    episode: String,
    target: String,
    /// `trigger`, `remind`, `acknowledge` or `resolve` of an episode; `change` tells of a change.
    action: String,
    /// `pending`, `delivered` (where `last_error` names them, to all but these), `given_up` (a dead letter: it is not tried any
    /// more) or `cancelled`.
    state: String,
    attempts: u32,
    created_at: String,
    settled_at: Option<String>,
    /// When it is tried next; none once it is settled.
    next_attempt_at: Option<String>,
    last_error: Option<String>,
    /// What it says, in a line.
    summary: String,
}

impl From<StoredDelivery> for DeliveryView {
    fn from(stored: StoredDelivery) -> Self {
        let StoredDelivery { id, episode, target, action, state, attempts, last_error, summary, .. } = stored;
        let created_at = rfc3339(stored.created_at);
        let (settled_at, next_attempt_at) = (stored.settled_at.map(rfc3339), stored.next_attempt_at.map(rfc3339));
        Self {
            id,
            episode,
            target,
            action,
            state,
            attempts,
            created_at,
            settled_at,
            next_attempt_at,
            last_error,
            summary,
        }
    }
}

/// Deliveries, the newest first: dead letters unless another state is asked for.
#[utoipa::path(get, path = "/api/v1/deliveries", tag = "alerts", params(DeliveriesQuery),
    responses((status = 200, body = [DeliveryView]), (status = 400, body = super::error::Problem)))]
pub(crate) async fn list(
    State(api): State<Api>,
    Params(query): Params<DeliveriesQuery>,
) -> Result<Json<Vec<DeliveryView>>, ApiError> {
    const STATES: [&str; 4] = ["pending", "delivered", "given_up", "cancelled"];
    let state = query.state.unwrap_or_else(|| "given_up".to_owned());
    if !STATES.contains(&state.as_str()) {
        return Err(ApiError::bad_request(format!("state is '{state}'; allowed are {}", STATES.join(", "))));
    }
    let limit = query.limit.unwrap_or(MAX_LIMIT);
    if !(1..=MAX_LIMIT).contains(&limit) {
        return Err(ApiError::bad_request(format!("limit is {limit}; allowed is 1 to {MAX_LIMIT}")));
    }
    let found = api.store.read(move |db| dead_letters::list(db, &state, query.target.as_deref(), limit)).await?;
    Ok(Json(found.into_iter().map(DeliveryView::from).collect()))
}

/// Sends a dead letter again: from now on it is tried as a new one is. Not the beginning of an alert that is over.
#[utoipa::path(post, path = "/api/v1/deliveries/{id}/resend", tag = "alerts",
    params(("id" = i64, Path, description = "The delivery's id")),
    responses((status = 200, body = DeliveryView), (status = 400, body = super::error::Problem),
              (status = 403, body = super::error::Problem), (status = 404, body = super::error::Problem),
              (status = 409, body = super::error::Problem)))]
pub(crate) async fn resend(
    State(api): State<Api>,
    asker: Asker,
    Segments(id): Segments<i64>,
) -> Result<Json<DeliveryView>, ApiError> {
    decide(&api, asker, id, ("sends again", dead_letters::send_again)).await
}

/// Dismisses a dead letter: nothing is to be done about it, and its target is not in trouble for it any more.
#[utoipa::path(delete, path = "/api/v1/deliveries/{id}", tag = "alerts",
    params(("id" = i64, Path, description = "The delivery's id")),
    responses((status = 200, body = DeliveryView), (status = 400, body = super::error::Problem),
              (status = 403, body = super::error::Problem), (status = 404, body = super::error::Problem),
              (status = 409, body = super::error::Problem)))]
pub(crate) async fn dismiss(
    State(api): State<Api>,
    asker: Asker,
    Segments(id): Segments<i64>,
) -> Result<Json<DeliveryView>, ApiError> {
    decide(&api, asker, id, ("dismisses", dead_letters::dismiss)).await
}

type Decision = fn(&rusqlite::Connection, i64, i64) -> rusqlite::Result<Outcome>;

async fn decide(
    api: &Api,
    asker: Asker,
    id: i64,
    (does, decision): (&'static str, Decision),
) -> Result<Json<DeliveryView>, ApiError> {
    let now = now_micros();
    let by = asker.name(None, "by").unwrap_or_else(|_| "somebody".to_owned());
    let decided = api.store.writer.write(move |db| {
        let outcome = decision(db, id, now)?;
        if let Outcome::Done(letter) = &outcome {
            let text = format!("{by} {does} {}", letter.name());
            events::store(db, &[Event { kind: EventKind::Delivery, model: String::new(), text }], now)?;
        }
        Ok(outcome)
    });
    match decided.await? {
        Outcome::Done(letter) => Ok(Json(letter.into())),
        Outcome::NoSuchDelivery => {
            Err(ApiError::not_found(format!("there is no delivery {id}; /api/v1/deliveries lists dead letters")))
        }
        Outcome::NotDead(found) => {
            Err(ApiError::conflict(format!("delivery {id} is {}, and no dead letter", found.state)))
        }
        Outcome::Over => {
            Err(ApiError::conflict("its alert is over, and nobody has to be told of it any more; dismiss it instead"))
        }
    }
}
