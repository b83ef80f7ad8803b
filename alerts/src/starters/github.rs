//! GitHub's `repository_dispatch`: workflows of the default branch that listen for an event's type. GitHub does not
//! recognise repetitions, so whatever may have arrived is not sent again.

use reqwest::header::{HeaderMap, HeaderValue};
use serde_json::{Value, json};

use super::{Beginning, Order, header, secret};
use crate::secret::SecretSource;
use crate::targets::http::{Answer, Http};

/// A repository.
#[derive(Debug)]
pub struct GitHubDispatch {
    url: String,
    repository: String,
    event_type: String,
    token: SecretSource,
    http: Http,
}

impl GitHubDispatch {
    /// Longest type of an event, in characters.
    pub const MAX_EVENT_TYPE: usize = 100;

    /// Events of one type to a repository (`OWNER/NAME`), at an API's address.
    ///
    /// # Errors
    /// When no HTTPS client can be made.
    pub fn new(url: &str, repository: String, event_type: String, token: SecretSource) -> Result<Self, String> {
        Ok(Self { url: url.trim_end_matches('/').to_owned(), repository, event_type, token, http: Http::new()? })
    }

    pub(super) async fn start(&self, order: &Order) -> Beginning {
        let headers = match self.headers() {
            Ok(headers) => headers,
            Err(beginning) => return beginning,
        };
        let url = format!("{}/repos/{}/dispatches", self.url, self.repository);
        match self.http.ask(&url, headers, body(&self.event_type, order).to_string()).await {
            Ok(answer) => meaning(&answer),
            Err(none) if none.may_have_arrived => Beginning::Unknown { why: none.why },
            Err(none) => none.into(),
        }
    }

    fn headers(&self) -> Result<HeaderMap, Beginning> {
        let mut headers = header("authorization", &format!("Bearer {}", secret(&self.token)?.reveal()))?;
        headers.insert("accept", HeaderValue::from_static("application/vnd.github+json"));
        headers.insert("x-github-api-version", HeaderValue::from_static("2022-11-28"));
        // GitHub answers nobody who does not say who they are.
        headers.insert("user-agent", HeaderValue::from_static("driftline"));
        Ok(headers)
    }
}

/// A payload of GitHub's has ten names at most; ours is under one.
fn body(event_type: &str, order: &Order) -> Value {
    json!({ "event_type": event_type, "client_payload": { "driftline": order.payload() } })
}

fn meaning(answer: &Answer) -> Beginning {
    match answer.status.as_u16() {
        204 => Beginning::Started { reference: None },
        // The server, or what is before it, failed with a request that it had.
        500.. => Beginning::Unknown { why: answer.why() },
        400 | 413 | 422 => Beginning::Refused { why: answer.why() },
        _ => Beginning::Retry { after: answer.after, why: answer.why() },
    }
}

#[cfg(test)]
mod tests {
    use reqwest::StatusCode;

    use super::*;
    use crate::starters::tests::order;

    #[test]
    fn a_payload_has_one_name() {
        let body = body("retrain", &order());
        assert_eq!(body.as_object().unwrap().len(), 2);
        assert_eq!(body["client_payload"].as_object().unwrap().len(), 1);
        assert_eq!(body["client_payload"]["driftline"]["approved_by"], "ada");
    }

    #[test]
    fn what_may_have_arrived_is_not_sent_again() {
        let said = |status: u16| {
            let answer = Answer {
                status: StatusCode::from_u16(status).unwrap(),
                text: String::new(),
                after: None,
                withheld: Default::default(),
            };
            match meaning(&answer) {
                Beginning::Started { .. } => "started",
                Beginning::Retry { .. } => "retry",
                Beginning::Refused { .. } => "refused",
                Beginning::Unknown { .. } => "unknown",
            }
        };
        let statuses = [204, 401, 403, 404, 422, 429, 500, 502, 503];
        let expected = ["started", "retry", "retry", "retry", "refused", "retry", "unknown", "unknown", "unknown"];
        assert_eq!(statuses.map(said), expected);
    }
}
