//! A model server that speaks the Open Inference Protocol, V2: health, metadata, inference.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::flights::{Flight, WEATHER};
use crate::model::Model;

/// Inputs that it takes and does not look at: they are for whoever watches.
const PASSED_THROUGH: [&str; 3] = ["flight_id", "scheduled_at", "weather_at"];

/// Half of the requests take less than this, as a small tabular model behind a feature store would.
const MEDIAN_LATENCY_MICROS: f64 = 4_000.0;
/// Spread of the latency's logarithm: one request in a hundred takes over three times the median.
const LATENCY_SPREAD: f64 = 0.5;

/// The prediction's name.
pub(crate) const OUTPUT: &str = "late_probability";

#[derive(Debug, Clone)]
struct Server {
    model: Arc<Model>,
    requests: Arc<AtomicU64>,
}

/// The routes.
pub(crate) fn routes(model: Arc<Model>) -> Router {
    let server = Server { model, requests: Arc::default() };
    Router::new()
        .route("/v2/health/live", get(|| async { StatusCode::OK }))
        .route("/v2/health/ready", get(|| async { StatusCode::OK }))
        .route(
            "/v2",
            get(|| async {
                Json(json!({"name": "driftline-demo", "version": env!("CARGO_PKG_VERSION"), "extensions": []}))
            }),
        )
        .route("/v2/models/{name}", get(metadata))
        .route("/v2/models/{name}/ready", get(model_ready))
        .route("/v2/models/{name}/infer", post(infer))
        .with_state(server)
}

/// A flight as the numbers and codes that the model takes.
pub(crate) fn row_of(model: &Model, flight: &Flight) -> Vec<Option<f64>> {
    let value = |(index, feature): (usize, &crate::model::Feature)| match feature.name.as_str() {
        "carrier" => model.code(index, &flight.carrier),
        "origin" => model.code(index, &flight.origin),
        "dest" => model.code(index, &flight.dest),
        "distance" => Some(f64::from(flight.distance)),
        "hour" => Some(f64::from(flight.hour)),
        name => WEATHER.iter().position(|known| *known == name).and_then(|i| flight.weather[i]),
    };
    model.features.iter().enumerate().map(value).collect()
}

/// An error as the protocol has it.
fn problem(status: StatusCode, why: impl Into<String>) -> Response {
    (status, Json(json!({ "error": why.into() }))).into_response()
}

impl Server {
    /// The answer to a question about another model.
    fn other_model(&self, name: &str) -> Option<Response> {
        (name != self.model.name).then(|| problem(StatusCode::NOT_FOUND, format!("there is no model '{name}'")))
    }
}

async fn model_ready(State(server): State<Server>, Path(name): Path<String>) -> Response {
    server.other_model(&name).unwrap_or_else(|| StatusCode::OK.into_response())
}

async fn metadata(State(server): State<Server>, Path(name): Path<String>) -> Response {
    if let Some(problem) = server.other_model(&name) {
        return problem;
    }
    let input = |name: &str, is_text: bool| json!({ "name": name, "datatype": if is_text { "BYTES" } else { "FP64" }, "shape": [-1] });
    let inputs: Vec<Value> = server
        .model
        .features
        .iter()
        .map(|feature| input(&feature.name, feature.categories.is_some()))
        .chain(PASSED_THROUGH.iter().map(|name| input(name, true)))
        .collect();
    Json(json!({
        "name": server.model.name,
        "versions": [server.model.version],
        "platform": "scikit-learn",
        "inputs": inputs,
        "outputs": [input(OUTPUT, false)],
    }))
    .into_response()
}

#[derive(Debug, Deserialize)]
struct Request {
    id: Option<String>,
    inputs: Vec<Tensor>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Tensor {
    name: String,
    shape: Vec<usize>,
    datatype: String,
    data: Vec<Value>,
}

async fn infer(State(server): State<Server>, Path(name): Path<String>, body: String) -> Response {
    if let Some(problem) = server.other_model(&name) {
        return problem;
    }
    let request: Request = match serde_json::from_str(&body) {
        Ok(request) => request,
        Err(error) => return problem(StatusCode::BAD_REQUEST, format!("the request cannot be read: {error}")),
    };
    let rows = match rows(&server.model, &request) {
        Ok(rows) => rows,
        Err(why) => return problem(StatusCode::BAD_REQUEST, why),
    };
    let predictions: Vec<Value> = rows.iter().map(|row| json!(server.model.predict(row))).collect();
    tokio::time::sleep(latency(server.requests.fetch_add(1, Ordering::Relaxed))).await;
    Json(json!({
        "model_name": server.model.name,
        "model_version": server.model.version,
        "id": request.id,
        "outputs": [Tensor {
            name: OUTPUT.to_owned(),
            shape: vec![predictions.len()],
            datatype: "FP64".to_owned(),
            data: predictions,
        }],
    }))
    .into_response()
}

/// The rows of a request, with category codes for names.
fn rows(model: &Model, request: &Request) -> Result<Vec<Vec<Option<f64>>>, String> {
    let tensors: BTreeMap<&str, &Tensor> = request.inputs.iter().map(|tensor| (tensor.name.as_str(), tensor)).collect();
    let count = request.inputs.first().map_or(0, |tensor| tensor.data.len());
    let mut rows = vec![vec![None; model.features.len()]; count];
    for (index, feature) in model.features.iter().enumerate() {
        let tensor =
            tensors.get(feature.name.as_str()).ok_or_else(|| format!("input '{}' is missing", feature.name))?;
        if tensor.data.len() != count || tensor.shape.first() != Some(&count) {
            return Err(format!("input '{}' does not have {count} values", feature.name));
        }
        for (row, value) in rows.iter_mut().zip(&tensor.data) {
            row[index] = match value {
                Value::Null => None,
                Value::String(category) => model.code(index, category),
                value => Some(value.as_f64().ok_or_else(|| format!("input '{}' holds {value}", feature.name))?),
            };
        }
    }
    Ok(rows)
}

/// A log-normal latency, the same for the same number in every run.
fn latency(number: u64) -> Duration {
    let mut state = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x2545_f491_4f6c_dd1d;
    let mut uniform = || {
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        (state.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 11) as f64 / (1u64 << 53) as f64
    };
    // Box and Muller's normal.
    let normal = (-2.0 * uniform().max(f64::MIN_POSITIVE).ln()).sqrt() * (std::f64::consts::TAU * uniform()).cos();
    Duration::from_micros((MEDIAN_LATENCY_MICROS * (LATENCY_SPREAD * normal).exp()).min(200_000.0) as u64)
}
