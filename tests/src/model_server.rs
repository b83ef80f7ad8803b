//! A model server for the tests: it answers in the protocol that it is asked in, one prediction a row.

use std::net::SocketAddr;

use axum::extract::DefaultBodyLimit;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{any, post};
use axum::{Json, Router};
use serde_json::{Value, json};

/// A running model server.
#[derive(Debug)]
pub struct ModelServer {
    address: SocketAddr,
}

impl ModelServer {
    /// Starts one on a free port; it runs until the test's runtime ends.
    ///
    /// # Panics
    /// When there is no free port.
    pub async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("a bound address");
        let routes = Router::new()
            .route("/v2/models/{name}/infer", post(v2))
            .route("/v1/models/{call}", post(v1))
            .route("/status/{code}", any(answer_with))
            .layer(DefaultBodyLimit::disable());
        tokio::spawn(async move { axum::serve(listener, routes).await });
        Self { address }
    }

    /// Host and port.
    #[must_use]
    pub fn address(&self) -> String {
        self.address.to_string()
    }
}

async fn v2(Json(request): Json<Value>) -> Response {
    let Some(rows) = request["inputs"][0]["shape"][0].as_u64() else {
        return (StatusCode::BAD_REQUEST, Json(json!({ "error": "no inputs" }))).into_response();
    };
    let data: Vec<f64> = (0..rows).map(|_| 0.5).collect();
    Json(json!({
        "model_name": "m", "model_version": "1", "id": request["id"],
        "outputs": [{ "name": "score", "shape": [rows], "datatype": "FP64", "data": data }],
    }))
    .into_response()
}

async fn v1(Json(request): Json<Value>) -> Response {
    let rows = request["instances"].as_array().map_or(0, Vec::len);
    Json(json!({ "predictions": vec![0.5; rows] })).into_response()
}

async fn answer_with(axum::extract::Path(code): axum::extract::Path<u16>) -> StatusCode {
    StatusCode::from_u16(code).unwrap_or(StatusCode::IM_A_TEAPOT)
}
