//! The web pages: a small application that reads the JSON API, and the rendered runbooks.

mod approval;
mod runbook;

use std::hash::{DefaultHasher, Hash, Hasher};

use axum::Router;
use axum::extract::{DefaultBodyLimit, Path};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;

use crate::api::Api;

/// The names and contents of files in `dashboards/web`.
macro_rules! embedded {
    ($($name:literal),* $(,)?) => {
        &[$(($name, include_str!(concat!("../../../dashboards/web/", $name)))),*]
    };
}

/// The files of the application: its styles, and all modules that it is made of.
const ASSETS: &[(&str, &str)] = embedded![
    "alert-reactions.js",
    "alert-row.js",
    "alert-timeline.js",
    "alert-words.js",
    "api.js",
    "app.css",
    "app.js",
    "chart-axes.js",
    "chart-frame.js",
    "chart-histogram.js",
    "chart-scale.js",
    "chart-score.js",
    "chart-traffic.js",
    "charts.css",
    "clock.js",
    "collector-panel.js",
    "delivery-words.js",
    "detectors.js",
    "dom.js",
    "events-feed.js",
    "format.js",
    "heatmap-legend.js",
    "heatmap.js",
    "icons.js",
    "live.js",
    "maintenance-panel.js",
    "model-column.js",
    "model-drift.js",
    "model-header.js",
    "model-segments.js",
    "model-state.js",
    "model-table.js",
    "model-traffic.js",
    "navigate.js",
    "page-alert.js",
    "page-alerts.js",
    "page-archive.js",
    "page-deliveries.js",
    "page-model.js",
    "page-overview.js",
    "runbook-answers.js",
    "runbook-steps.js",
    "score-words.js",
    "silences-panel.js",
    "sparkline.js",
    "style.css",
    "theme.js",
    "tooltip.js",
    "window-axis.js",
];

const INDEX: &str = include_str!("../../../dashboards/web/index.html");
const ICON: &str = include_str!("../../../dashboards/web/icon.svg");

/// Nothing from elsewhere: no script, no style, no font, no picture but those that come with the data.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// Largest form that is read.
const MAX_FORM_BYTES: usize = 16 << 10;

/// The routes.
pub(crate) fn routes(api: Api) -> Router {
    Router::new()
        .route("/", get(index))
        .route("/models/{model}", get(index))
        .route("/alerts", get(index))
        .route("/alerts/{id}", get(index))
        .route("/deliveries", get(index))
        .route("/archive", get(index))
        .route("/runbooks", get(runbook::list))
        .route("/runbooks/{id}", get(runbook::page))
        .route("/assets/{name}", get(asset))
        .route("/favicon.svg", get(icon))
        .fallback(no_such_page)
        .with_state(api)
}

/// Where signed links lead: they let in who has no token.
pub(crate) fn links(api: Api) -> Router {
    Router::new()
        .route("/reactions/{id}/approval", get(approval::show).post(approval::decide))
        .layer(DefaultBodyLimit::max(MAX_FORM_BYTES))
        .with_state(api)
}

async fn index() -> Response {
    secured(Html(INDEX))
}

async fn icon() -> Response {
    secured(([(header::CONTENT_TYPE, "image/svg+xml")], ICON))
}

async fn asset(Path(name): Path<String>, request: HeaderMap) -> Response {
    let Some((name, contents)) = ASSETS.iter().find(|(own, _)| *own == name) else { return no_such_page().await };
    // Asked for each time, so that an upgrade shows at once; what has not changed is not sent again.
    let tag = tag(contents);
    let caching = [(header::CACHE_CONTROL, "no-cache"), (header::ETAG, tag.as_str())];
    if request.get(header::IF_NONE_MATCH).is_some_and(|known| known.as_bytes() == tag.as_bytes()) {
        return secured((StatusCode::NOT_MODIFIED, caching));
    }
    secured((caching, [(header::CONTENT_TYPE, media_type(name))], *contents))
}

/// What tells one content of a file from another. It need not be the same in two builds.
fn tag(contents: &str) -> String {
    let mut hasher = DefaultHasher::new();
    contents.hash(&mut hasher);
    format!("\"{:016x}\"", hasher.finish())
}

fn media_type(name: &str) -> &'static str {
    if name.ends_with(".css") { "text/css; charset=utf-8" } else { "text/javascript; charset=utf-8" }
}

async fn no_such_page() -> Response {
    (StatusCode::NOT_FOUND, "there is no such page; begin at /\n").into_response()
}

fn secured(response: impl IntoResponse) -> Response {
    secured_by(POLICY, response.into_response())
}

/// The same under a policy of a page's own.
fn secured_by(policy: &str, mut response: Response) -> Response {
    let headers = response.headers_mut();
    let policy = HeaderValue::from_str(policy).unwrap_or(HeaderValue::from_static(POLICY));
    headers.insert(header::CONTENT_SECURITY_POLICY, policy);
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(HeaderName::from_static("referrer-policy"), HeaderValue::from_static("no-referrer"));
    response
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_file_of_the_application_is_embedded() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../dashboards/web");
        let there: BTreeSet<String> = std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| name != "index.html" && name != "icon.svg")
            .collect();
        let embedded: BTreeSet<String> = ASSETS.iter().map(|(name, _)| (*name).to_owned()).collect();
        assert_eq!(there, embedded);
    }

    #[tokio::test]
    async fn an_unchanged_file_is_not_sent_again() {
        let first = asset(Path("app.js".to_owned()), HeaderMap::new()).await;
        assert_eq!(first.status(), StatusCode::OK);
        let known = HeaderMap::from_iter([(header::IF_NONE_MATCH, first.headers()[header::ETAG].clone())]);
        assert_eq!(asset(Path("app.js".to_owned()), known.clone()).await.status(), StatusCode::NOT_MODIFIED);
        assert_eq!(asset(Path("live.js".to_owned()), known).await.status(), StatusCode::OK);
    }
}
