//! What the targets that are spoken to over HTTP have in common: one client, and what an answer means.

use std::time::{Duration, SystemTime};

use driftline_retry_after::retry_after;
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Client, StatusCode};

use super::Delivery;
use crate::notification::shorten;
use crate::secret::{Secret, SecretSource, Withheld};

/// How much of an answer is kept for the person who reads why.
const MAX_ANSWER_CHARS: usize = 300;
/// How much of an answer is read: none that anybody gives is longer.
const MAX_ANSWER_BYTES: usize = 64 << 10;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// A client for JSON bodies.
#[derive(Debug, Clone)]
pub(crate) struct Http(Client);

/// What came back.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) text: String,
    /// For how long it asks to be left alone.
    pub(crate) after: Option<Duration>,
    /// What it was sent and nobody is to read.
    pub(crate) withheld: Withheld,
}

/// That nothing came back.
#[derive(Debug)]
pub(crate) struct NoAnswer {
    pub(crate) why: String,
    /// Whether the request may have arrived all the same.
    pub(crate) may_have_arrived: bool,
}

impl Http {
    /// # Errors
    /// When no TLS provider is installed, or the system's certificates cannot be read.
    pub(crate) fn new() -> Result<Self, String> {
        // Followed, a redirect would carry the secrets of one address to another.
        let client = Client::builder().connect_timeout(CONNECT_TIMEOUT).redirect(reqwest::redirect::Policy::none());
        client.build().map(Self).map_err(|error| format!("no HTTPS client: {error}"))
    }

    /// Posts JSON. Without an answer the delivery is to be tried again.
    pub(super) async fn post(&self, url: &str, headers: HeaderMap, body: String) -> Result<Answer, Delivery> {
        let NoAnswer { why, may_have_arrived } = match self.ask(url, headers, body).await {
            Ok(answer) => return Ok(answer),
            Err(none) => none,
        };
        Err(Delivery::Retry { after: None, why, in_doubt: may_have_arrived })
    }

    /// Posts JSON, to where it matters whether what was not answered may have arrived.
    pub(crate) async fn ask(&self, url: &str, headers: HeaderMap, body: String) -> Result<Answer, NoAnswer> {
        let withheld = withheld(url, &headers);
        let request = self.0.post(url).header(CONTENT_TYPE, "application/json").headers(headers).body(body);
        let mut response = request.send().await.map_err(|error| {
            let may_have_arrived = !error.is_connect() && !error.is_builder();
            NoAnswer { why: without_url(error), may_have_arrived }
        })?;
        let status = response.status();
        let after = retry_after(response.headers(), SystemTime::now());
        let mut text = Vec::new();
        while let Ok(Some(chunk)) = response.chunk().await {
            text.extend_from_slice(&chunk[..chunk.len().min(MAX_ANSWER_BYTES - text.len())]);
            if text.len() == MAX_ANSWER_BYTES {
                break;
            }
        }
        let text = String::from_utf8_lossy(&text).into_owned();
        Ok(Answer { status, text, after, withheld })
    }
}

impl Answer {
    /// Taken when it says so. Only what will never be right is refused: a wrong key, an address that is not there yet
    /// and a target that is busy may be put right.
    pub(super) fn delivery(&self) -> Delivery {
        match self.status {
            status if status.is_success() => Delivery::Accepted { receipt: None },
            StatusCode::BAD_REQUEST | StatusCode::PAYLOAD_TOO_LARGE | StatusCode::UNPROCESSABLE_ENTITY => {
                Delivery::Refused { why: self.why() }
            }
            _ => self.retry(),
        }
    }

    /// Not now, whatever the status says. A server that fails may have taken it before.
    pub(super) fn retry(&self) -> Delivery {
        Delivery::Retry { after: self.after, why: self.why(), in_doubt: self.status.is_server_error() }
    }

    /// The answer, where its request bore a secret in its body.
    pub(crate) fn withholding(mut self, secret: &Secret) -> Self {
        self.withheld.add(secret.reveal());
        self
    }

    /// The answer as a person reads it: without the secrets that it was sent, which some servers repeat.
    pub(crate) fn why(&self) -> String {
        format!("{}: {}", self.status, shorten(self.withheld.out_of(self.text.trim()).trim(), MAX_ANSWER_CHARS))
    }
}

/// What a request bears that nobody is to read: the values of headers that are marked so, and its address.
fn withheld(url: &str, headers: &HeaderMap) -> Withheld {
    let mut withheld = Withheld::default();
    withheld.add_address(url);
    for value in headers.values().filter(|value| value.is_sensitive()) {
        let value = value.to_str().unwrap_or_default();
        withheld.add(value);
        // Behind "Bearer", "GenieKey" or "Basic".
        withheld.add(value.split_once(' ').map_or("", |(_, value)| value));
    }
    withheld
}

/// Not now: something has to be put right before it can be sent.
pub(super) fn retry(why: String) -> Delivery {
    Delivery::Retry { after: None, why, in_doubt: false }
}

/// A secret's value, or why the delivery has to wait for it.
pub(super) fn secret(source: &SecretSource) -> Result<Secret, Delivery> {
    source.read().map_err(retry)
}

/// A header whose value never shows in debug output. A value that is no header's has to be put right first.
pub(crate) fn secret_header(name: &'static str, value: &str) -> Result<HeaderMap, Delivery> {
    let mut value = HeaderValue::from_str(value)
        .map_err(|_| retry(format!("the secret for the header {name} has characters that no header may have")))?;
    value.set_sensitive(true);
    Ok(HeaderMap::from_iter([(HeaderName::from_static(name), value)]))
}

/// What went wrong, without the address: a webhook's address may be a secret.
fn without_url(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut text = error.to_string();
    let mut source = std::error::Error::source(&error);
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_with_a_line_end_makes_no_header_and_is_not_told_of() {
        for secret in ["Bearer a\r\nX-Evil: 1", "a\nb", "a\0b"] {
            let Err(Delivery::Retry { why, in_doubt: false, .. }) = secret_header("authorization", secret) else {
                panic!("somebody can put it right, and nothing was sent");
            };
            assert!(why.contains("authorization") && !why.contains(secret) && !why.contains("Evil"), "{why}");
        }
        let headers = secret_header("authorization", "Bearer right").unwrap();
        assert!(!format!("{headers:?}").contains("right"));
    }

    #[test]
    fn what_can_be_put_right_is_tried_again_and_what_was_not_taken_is_in_no_doubt() {
        let answer = |status: u16| Answer {
            status: StatusCode::from_u16(status).unwrap(),
            text: "ü".repeat(1000),
            after: Some(Duration::from_secs(7)),
            withheld: Withheld::default(),
        };
        for (status, in_doubt) in [(401, false), (403, false), (404, false), (429, false), (500, true), (503, true)] {
            let Delivery::Retry { after, why, in_doubt: is_in_doubt } = answer(status).delivery() else {
                panic!("{status}")
            };
            assert_eq!((after, is_in_doubt), (Some(Duration::from_secs(7)), in_doubt), "{status}");
            assert!(why.chars().count() < 2 * MAX_ANSWER_CHARS, "an answer is cut between characters");
        }
        for status in [400, 413, 422] {
            assert!(matches!(answer(status).delivery(), Delivery::Refused { .. }), "{status}");
        }
        assert_eq!(answer(202).delivery(), Delivery::Accepted { receipt: None });
    }
}
