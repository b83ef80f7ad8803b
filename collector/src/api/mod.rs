//! The JSON API under `/api/v1`: what the pages show, for everybody, and what people say of alerts.
//!
//! Times are RFC 3339 in UTC; shares are from 0 to 1; latencies are in milliseconds. What is not known is null, never 0.

mod acknowledging;
mod alerts;
mod archive;
mod beside;
mod deliveries;
mod drills;
mod error;
mod events;
mod maintenance;
mod models;
mod objectives;
mod openapi;
mod postmortem;
mod reactions;
mod scores;
mod segments;
mod silences;
mod status;
mod ticking;
mod traffic;
mod waiting;
mod writing;

use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::from_fn;
use axum::routing::{delete, get, post};

pub(crate) use self::beside::{BesideView, REFERENCE};
pub(crate) use self::reactions::{Answer, answer};
pub(crate) use self::scores::{CauseView, ScoreView};
use crate::config::Config;
use crate::feeds::Feeds;
use crate::metrics::Metrics;
use crate::references::LoadedReferences;
use crate::runbooks::Runbooks;
use crate::store::Store;

/// What the API answers from.
#[derive(Debug, Clone)]
pub(crate) struct Api {
    pub(crate) store: Store,
    pub(crate) config: Arc<Config>,
    pub(crate) references: Arc<LoadedReferences>,
    pub(crate) runbooks: Arc<Runbooks>,
    pub(crate) feeds: Arc<Feeds>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) started_at: i64,
}

/// Most items that one answer lists.
const MAX_LIMIT: u32 = 1000;

/// The routes.
pub(crate) fn routes(api: Api) -> Router {
    let writing = Router::new()
        .route("/api/v1/alerts/{id}/acknowledgement", post(acknowledging::acknowledge))
        .route("/api/v1/deliveries/{id}", delete(deliveries::dismiss))
        .route("/api/v1/deliveries/{id}/resend", post(deliveries::resend))
        .route("/api/v1/alerts/{id}/steps/{step}", post(ticking::tick))
        .route("/api/v1/drills", post(drills::begin))
        .route("/api/v1/reactions/{id}/approval", post(reactions::approve))
        .route("/api/v1/reactions/{id}/result", post(reactions::report))
        .route("/api/v1/maintenance", post(maintenance::create))
        .route("/api/v1/maintenance/{id}", delete(maintenance::end))
        .route("/api/v1/silences", post(silences::create))
        .route("/api/v1/silences/{id}", delete(silences::end))
        .route_layer(from_fn(writing::let_writers_in))
        .layer(DefaultBodyLimit::max(writing::MAX_BODY_BYTES));
    Router::new()
        .route("/api/v1/models", get(models::list))
        .route("/api/v1/models/{model}", get(models::one))
        .route("/api/v1/models/{model}/scores", get(scores::matrix))
        .route("/api/v1/models/{model}/columns/{column}", get(scores::column))
        .route("/api/v1/models/{model}/segments", get(segments::list))
        .route("/api/v1/models/{model}/segments/{segment}", get(segments::one))
        .route("/api/v1/models/{model}/traffic", get(traffic::traffic))
        .route("/api/v1/alerts", get(alerts::list))
        .route("/api/v1/alerts/{id}", get(alerts::one))
        .route("/api/v1/alerts/{id}/picture", get(alerts::picture))
        .route("/api/v1/alerts/{id}/postmortem", get(postmortem::draft))
        .route("/api/v1/deliveries", get(deliveries::list))
        .route("/api/v1/drills/{episode}", get(drills::one))
        .route("/api/v1/reactions", get(reactions::list))
        .route("/api/v1/maintenance", get(maintenance::list))
        .route("/api/v1/silences", get(silences::list))
        .route("/api/v1/archive", get(archive::list))
        .route("/api/v1/events", get(events::list))
        .route("/api/v1/status", get(status::status))
        .route("/api/v1/openapi.json", get(openapi::document))
        .merge(writing)
        .route("/api/v1/{*rest}", get(error::no_such_path))
        .with_state(api)
}
