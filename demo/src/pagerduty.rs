//! A receiver that stands in for PagerDuty: it checks events as the Events API v2 does, and keeps what it accepted.

use std::sync::{Arc, Mutex};

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};
use serde::Serialize;
use serde_json::{Value, json};

/// An event that was accepted.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Received {
    /// `trigger` or `resolve`.
    pub(crate) action: String,
    pub(crate) dedup_key: String,
    /// What happened; empty for a resolve.
    pub(crate) summary: String,
}

/// What was accepted so far.
#[derive(Debug, Clone, Default)]
pub(crate) struct Receiver {
    events: Arc<Mutex<Vec<Received>>>,
}

impl Receiver {
    /// All events, in their order.
    pub(crate) fn events(&self) -> Vec<Received> {
        self.events.lock().map(|events| events.clone()).unwrap_or_default()
    }

    /// The routes.
    pub(crate) fn routes(&self) -> Router {
        Router::new().route("/v2/enqueue", post(enqueue)).with_state(self.clone())
    }
}

async fn enqueue(State(receiver): State<Receiver>, Json(event): Json<Value>) -> Response {
    match read(&event) {
        Ok(received) => {
            let dedup_key = received.dedup_key.clone();
            if let Ok(mut events) = receiver.events.lock() {
                events.push(received);
            }
            let answer = json!({ "status": "success", "message": "Event processed", "dedup_key": dedup_key });
            (StatusCode::ACCEPTED, Json(answer)).into_response()
        }
        Err(why) => {
            let answer = json!({ "status": "invalid event", "message": "Event object is invalid", "errors": [why] });
            (StatusCode::BAD_REQUEST, Json(answer)).into_response()
        }
    }
}

fn read(event: &Value) -> Result<Received, String> {
    let text = |value: &Value, name: &str| {
        value[name]
            .as_str()
            .filter(|text| !text.is_empty())
            .map(str::to_owned)
            .ok_or_else(|| format!("'{name}' is missing or blank"))
    };
    if text(event, "routing_key")?.len() != 32 {
        return Err("'routing_key' must have 32 characters".to_owned());
    }
    let action = text(event, "event_action")?;
    let dedup_key = text(event, "dedup_key")?;
    let summary = match action.as_str() {
        "trigger" => {
            let payload = &event["payload"];
            text(payload, "source")?;
            if !["critical", "error", "warning", "info"].contains(&text(payload, "severity")?.as_str()) {
                return Err("'severity' is none of critical, error, warning and info".to_owned());
            }
            text(payload, "summary")?
        }
        "resolve" => String::new(),
        other => return Err(format!("'event_action' is '{other}'")),
    };
    Ok(Received { action, dedup_key, summary })
}
