//! The page behind a signed link: whoever has it approves of a reaction, or declines it, without a login.
//!
//! Looking at it changes nothing, for mail scanners look at every link; what decides is the button. The signature is what lets
//! somebody in, so no page from elsewhere can make a browser decide that does not have it.

use axum::Form;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use driftline_alerts::{Notification, escape_html, is_signed_approval};
use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::secured_by;
use crate::alerting::entries;
use crate::alerting::reactions::stored::{self, State as Reached, Stored, Word};
use crate::api::{Answer, Api, answer};
use crate::times::{now_micros, second};

/// In the page itself: other files are behind the gate of those who have a token.
const STYLE: &str = "body{font:16px/1.5 system-ui,sans-serif;max-width:40rem;margin:3rem auto;padding:0 1rem;color:#1c1c1c;\
                     background:#fff}h1{font-size:1.4rem}label{display:block;margin:.8rem 0}input{display:block;width:100%;\
                     box-sizing:border-box;font:inherit;padding:.4rem}button{font:inherit;padding:.5rem 1.2rem;margin:.5rem .5rem 0 0}\
                     .muted{color:#555}";

/// What a link says of itself.
#[derive(Debug, Deserialize)]
pub(super) struct Signed {
    /// Seconds since the Unix epoch.
    expires: i64,
    signature: String,
}

/// What the form says.
#[derive(Debug, Deserialize)]
pub(super) struct Decided {
    decision: Decision,
    by: String,
    #[serde(default)]
    note: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Decision {
    Approve,
    Decline,
}

/// What a link is about.
struct Asked {
    stored: Stored,
    said: Option<Notification>,
}

/// `GET /reactions/{id}/approval?expires=…&signature=…`: what is asked, and a form.
pub(super) async fn show(State(api): State<Api>, Path(id): Path<String>, Query(signed): Query<Signed>) -> Response {
    match open(&api, &id, &signed).await {
        Ok(asked) => page(StatusCode::OK, &asked.stored.reaction, &asked.body()),
        Err(refused) => refused,
    }
}

/// `POST` to the same address: somebody has decided.
pub(super) async fn decide(
    State(api): State<Api>,
    Path(id): Path<String>,
    Query(signed): Query<Signed>,
    Form(decided): Form<Decided>,
) -> Response {
    if let Err(refused) = open(&api, &id, &signed).await {
        return refused;
    }
    let said = Answer::by_link(decided.decision == Decision::Approve, decided.by, decided.note);
    let answered = match said {
        Ok(said) => answer(&api, id.clone(), said).await,
        Err(error) => Err(error),
    };
    match answered {
        Ok(stored) => page(StatusCode::OK, &stored.reaction, &format!("<p>{}</p>", standing(&stored))),
        Err(error) => {
            let (status, why) = error.into_parts();
            page(status, "Not taken", &format!("<p>{}</p>", escape_html(&why)))
        }
    }
}

/// What a link is about, if it is one of ours and still good.
async fn open(api: &Api, id: &str, signed: &Signed) -> Result<Asked, Response> {
    let name = id.split_once('.').map_or(id, |(name, _)| name);
    let configured = api.config.alerting.reactions.iter().find(|one| one.reaction.name == name);
    let key = configured.and_then(|one| one.reaction.approval.as_ref()?.signing_key.as_ref()?.read().ok());
    if !key.is_some_and(|key| is_signed_approval(&key, id, signed.expires, &signed.signature)) {
        return Err(refused(StatusCode::FORBIDDEN, "This link is not one of Driftline's, or not whole."));
    }
    if now_micros() / 1_000_000 >= signed.expires {
        return Err(refused(StatusCode::GONE, "This link has expired."));
    }
    let id = id.to_owned();
    let found = api.store.read(move |db| {
        let Some(stored) = stored::one(db, &id)? else { return Ok(None) };
        let said = entries::triggered(db, &stored.episode)?;
        Ok(Some(Asked { stored, said }))
    });
    match found.await {
        Ok(Some(asked)) => Ok(asked),
        Ok(None) => Err(refused(StatusCode::NOT_FOUND, "What this link is about is forgotten.")),
        Err(error) => Err(refused(StatusCode::SERVICE_UNAVAILABLE, &error.to_string())),
    }
}

impl Asked {
    fn body(&self) -> String {
        let mut body = String::new();
        if let Some(said) = &self.said {
            let (page, summary) = (escape_html(&said.page_url), escape_html(&said.summary));
            body.push_str(&format!("<p><a href=\"{page}\">{}</a>: {summary}</p>", escape_html(&said.rule)));
        }
        body.push_str(&format!("<p>{}</p>", standing(&self.stored)));
        if self.stored.state == Some(Reached::Asked) {
            body.push_str(
                "<form method=\"post\"><label>Your name<input name=\"by\" required maxlength=\"100\"></label>\
                 <label>What others should know<input name=\"note\" maxlength=\"1000\"></label>\
                 <button name=\"decision\" value=\"approve\">Approve</button>\
                 <button name=\"decision\" value=\"decline\">Decline</button></form>",
            );
        }
        body
    }
}

/// How far a reaction has come, in a sentence.
fn standing(stored: &Stored) -> String {
    let name = escape_html(&stored.reaction);
    let model = escape_html(&stored.model);
    if let Some(Word { by, at, .. }) = &stored.decided {
        let what = if stored.state == Some(Reached::Declined) { "declined" } else { "approved" };
        let then =
            if stored.state == Some(Reached::Approved) { " It is started if its guards hold still." } else { "" };
        return format!("{} {what} of {name} for {model} at {} UTC.{then}", escape_html(by), second(*at));
    }
    match (stored.state, stored.good_until) {
        (Some(Reached::Asked), Some(until)) => {
            format!("<strong>{name}</strong> waits to be started for {model}, until {} UTC.", second(until))
        }
        _ => format!("{name} waits for nobody's approval any more."),
    }
}

fn refused(status: StatusCode, why: &str) -> Response {
    page(status, "Not taken", &format!("<p>{}</p>", escape_html(why)))
}

fn page(status: StatusCode, title: &str, body: &str) -> Response {
    let title = escape_html(title);
    let html = format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><title>{title} — Driftline</title>\
         <meta name=\"viewport\" content=\"width=device-width\"><style>{STYLE}</style></head>\
         <body><h1>{title}</h1>{body}</body></html>"
    );
    let style = BASE64_STANDARD.encode(Sha256::digest(STYLE.as_bytes()));
    let policy = format!(
        "default-src 'none'; style-src 'sha256-{style}'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    );
    let mut response = (status, Html(html)).into_response();
    // The address is as good as a key.
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    secured_by(&policy, response)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored(state: Reached, decided: Option<Word>) -> Stored {
        Stored {
            id: "retrain.e".to_owned(),
            reaction: "retrain".to_owned(),
            episode: "e".to_owned(),
            model: "<m>".to_owned(),
            state: Some(state),
            created_at: 0,
            good_until: Some(60_000_000),
            decided,
            started_at: None,
            attempts: 0,
            next_attempt_at: None,
            is_in_flight: false,
            settled_at: None,
            why: None,
            reference: None,
            result: None,
        }
    }

    #[test]
    fn only_what_waits_has_buttons_and_nothing_in_it_is_markup_of_others() {
        let asked = Asked { stored: stored(Reached::Asked, None), said: None }.body();
        assert!(asked.contains("<form method=\"post\">") && asked.contains("&lt;m&gt;"), "{asked}");
        let word = Word { by: "<ada>".to_owned(), note: String::new(), at: 0 };
        for state in [Reached::Approved, Reached::Declined, Reached::Started] {
            let body = Asked { stored: stored(state, Some(word.clone())), said: None }.body();
            assert!(!body.contains("<form") && body.contains("&lt;ada&gt;"), "{body}");
        }
        let lapsed = Asked { stored: stored(Reached::Lapsed, None), said: None }.body();
        assert!(!lapsed.contains("<form") && lapsed.contains("nobody's approval"), "{lapsed}");
    }
}
