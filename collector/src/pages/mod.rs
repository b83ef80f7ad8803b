//! The web pages: a small application that reads the JSON API, and the rendered runbooks.

mod runbook;

use axum::Router;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;

use crate::api::Api;

/// The files of the application: name, media type, contents.
const ASSETS: &[(&str, &str, &str)] = &[
    ("style.css", "text/css; charset=utf-8", include_str!("../../../dashboards/web/style.css")),
    ("app.js", "text/javascript; charset=utf-8", include_str!("../../../dashboards/web/app.js")),
];

const INDEX: &str = include_str!("../../../dashboards/web/index.html");
const ICON: &str = include_str!("../../../dashboards/web/icon.svg");

/// Nothing from elsewhere: no script, no style, no font, no picture but those that come with the data.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// The routes.
pub(crate) fn routes(api: Api) -> Router {
    Router::new()
        .route("/", get(index))
        .route("/models/{model}", get(index))
        .route("/alerts", get(index))
        .route("/alerts/{id}", get(index))
        .route("/archive", get(index))
        .route("/runbooks", get(runbook::list))
        .route("/runbooks/{id}", get(runbook::page))
        .route("/assets/{name}", get(asset))
        .route("/favicon.svg", get(icon))
        .fallback(no_such_page)
        .with_state(api)
}

async fn index() -> Response {
    secured(Html(INDEX))
}

async fn icon() -> Response {
    secured(([(header::CONTENT_TYPE, "image/svg+xml")], ICON))
}

async fn asset(axum::extract::Path(name): axum::extract::Path<String>) -> Response {
    match ASSETS.iter().find(|(own, ..)| *own == name) {
        // Revalidated each time: an upgrade shows at once, and the files are small.
        Some((_, kind, contents)) => {
            secured(([(header::CONTENT_TYPE, *kind), (header::CACHE_CONTROL, "no-cache")], *contents))
        }
        None => no_such_page().await,
    }
}

async fn no_such_page() -> Response {
    (StatusCode::NOT_FOUND, "there is no such page; begin at /\n").into_response()
}

fn secured(response: impl IntoResponse) -> Response {
    let mut response = response.into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(HeaderName::from_static("referrer-policy"), HeaderValue::from_static("no-referrer"));
    response
}
