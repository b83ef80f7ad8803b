//! The OpenAPI document of the API, made from the code that answers.

use axum::Json;
use utoipa::OpenApi;

use super::{
    acknowledging, alerts, archive, deliveries, drills, events, maintenance, models, postmortem, reactions, scores,
    segments, silences, status, ticking, traffic,
};
use crate::ingest::rows;

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Driftline",
        description = "What Driftline's collector knows of the models that it watches. Times are RFC 3339 in UTC; shares \
                       are from 0 to 1; latencies are in milliseconds. What is not known is null, never 0.",
        license(name = "Apache-2.0", identifier = "Apache-2.0")
    ),
    paths(
        models::list,
        models::one,
        scores::matrix,
        scores::column,
        segments::list,
        segments::one,
        traffic::traffic,
        alerts::list,
        alerts::one,
        alerts::picture,
        postmortem::draft,
        acknowledging::acknowledge,
        deliveries::list,
        deliveries::resend,
        deliveries::dismiss,
        drills::begin,
        drills::one,
        ticking::tick,
        reactions::list,
        reactions::approve,
        reactions::report,
        maintenance::list,
        maintenance::create,
        maintenance::end,
        silences::list,
        silences::create,
        silences::end,
        archive::list,
        events::list,
        status::status,
        rows::rows,
        document
    ),
    components(schemas(rows::SentRow<'_>))
)]
struct Document;

/// This document.
#[utoipa::path(get, path = "/api/v1/openapi.json", tag = "status",
    responses((status = 200, content_type = "application/json", description = "The OpenAPI document")))]
pub(crate) async fn document() -> Json<utoipa::openapi::OpenApi> {
    Json(Document::openapi())
}
