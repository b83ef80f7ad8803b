//! What changes something by the API: who asks, with what, and that it is no other site's page that makes a browser ask.

use axum::Json;
use axum::extract::rejection::JsonRejection;
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use serde::de::DeserializeOwned;

use super::error::ApiError;
use crate::access::Pass;

/// Largest body of a request that changes something.
pub(super) const MAX_BODY_BYTES: usize = 16 << 10;
/// Longest name of who asks, and longest comment, in characters.
const MAX_NAME_CHARS: usize = 100;
const MAX_COMMENT_CHARS: usize = 1000;

/// Refuses who may only look, and what a browser was made to ask by a page from elsewhere: it sends along what it knows, be it a
/// password or the network that it is in.
pub(super) async fn let_writers_in(request: Request, next: Next) -> Response {
    if request.extensions().get::<Pass>().is_some_and(Pass::is_read_only) {
        return ApiError::forbidden("this token is for looking only (read_only)").into_response();
    }
    if is_of_another_site(request.headers()) {
        let why = "this was asked by a page from elsewhere; only Driftline's own pages, and what is no browser, may";
        return ApiError::forbidden(why).into_response();
    }
    next.run(request).await
}

/// Browsers say by `Sec-Fetch-Site` where a request comes from; over plain HTTP only by `Origin`. What is no browser says
/// neither.
fn is_of_another_site(headers: &HeaderMap) -> bool {
    let text = |name: &str| headers.get(name).map(|value| value.to_str().unwrap_or("?"));
    match (text("sec-fetch-site"), text("origin")) {
        (Some(site), _) => !matches!(site, "same-origin" | "none"),
        (None, Some(origin)) => {
            let host = origin.split_once("://").map(|(_, host)| host);
            host.is_none() || host != text(header::HOST.as_str())
        }
        (None, None) => false,
    }
}

/// The body of a request, as JSON. A page from elsewhere cannot send that without asking first, and is not answered.
#[derive(Debug)]
pub(super) struct Body<T>(pub(super) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Body<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, Self::Rejection> {
        let Json(body) = Json::from_request(request, state)
            .await
            .map_err(|rejection: JsonRejection| ApiError::with(rejection.status(), rejection.body_text()))?;
        Ok(Self(body))
    }
}

/// Who asks, by the token that they came with; nobody where none is needed.
#[derive(Debug, Default)]
pub(super) struct Asker(Option<String>);

impl<S: Send + Sync> FromRequestParts<S> for Asker {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        Ok(Self(parts.extensions.get::<Pass>().and_then(Pass::name).map(str::to_owned)))
    }
}

impl Asker {
    /// The name that they give themselves, or else their token's.
    pub(super) fn name(self, given: Option<String>, field: &str) -> Result<String, ApiError> {
        let name = given.or(self.0).unwrap_or_default().trim().to_owned();
        if name.is_empty() {
            return Err(ApiError::bad_request(format!(
                "'{field}' is missing: whoever reads this later asks who it was"
            )));
        }
        short(name, field, MAX_NAME_CHARS)
    }
}

/// A comment of a bounded length.
pub(super) fn comment(text: String, field: &str) -> Result<String, ApiError> {
    short(text.trim().to_owned(), field, MAX_COMMENT_CHARS)
}

fn short(text: String, field: &str, most: usize) -> Result<String, ApiError> {
    if text.chars().count() > most || text.contains(|c: char| c.is_control() && c != '\n') {
        return Err(ApiError::bad_request(format!(
            "'{field}' is longer than {most} characters, or has control characters"
        )));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_let_in(headers: &[(&'static str, &'static str)]) -> bool {
        let headers = headers.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()));
        !is_of_another_site(&HeaderMap::from_iter(headers))
    }

    #[test]
    fn only_own_pages_and_what_is_no_browser_may_change_anything() {
        assert!(is_let_in(&[("host", "driftline:4600")]));
        assert!(is_let_in(&[("sec-fetch-site", "same-origin"), ("origin", "https://driftline")]));
        assert!(is_let_in(&[("sec-fetch-site", "none")]), "typed by its user");
        assert!(is_let_in(&[("host", "driftline:4600"), ("origin", "http://driftline:4600")]));
        for site in ["cross-site", "same-site", "?"] {
            assert!(!is_let_in(&[("sec-fetch-site", site), ("host", "a"), ("origin", "http://a")]), "{site}");
        }
        for origin in ["http://evil.example", "null", "http://driftline:4601"] {
            assert!(!is_let_in(&[("host", "driftline:4600"), ("origin", origin)]), "{origin}");
        }
    }

    #[test]
    fn somebody_has_a_name_and_a_token_gives_one() {
        let asker = || Asker(Some("ci".to_owned()));
        assert_eq!(asker().name(None, "by").ok().as_deref(), Some("ci"));
        assert_eq!(asker().name(Some(" ada ".to_owned()), "by").ok().as_deref(), Some("ada"));
        assert!(Asker(None).name(Some("  ".to_owned()), "by").is_err());
        assert!(Asker(None).name(Some("a\u{7}".to_owned()), "by").is_err());
    }
}
