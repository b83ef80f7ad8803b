//! Airflow's REST API: a run of a DAG, named by us. A name that is taken is answered with 409, and is ours.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use reqwest::header::HeaderMap;
use serde_json::{Value, json};

use super::{Beginning, Order, field, header, not_started, secret};
use crate::notification::shorten;
use crate::secret::SecretSource;
use crate::targets::http::{Answer, Http};

/// Longest note that Airflow takes, in characters.
const MAX_NOTE: usize = 1000;

/// A DAG.
#[derive(Debug)]
pub struct AirflowDag {
    url: String,
    dag: String,
    version: AirflowVersion,
    login: AirflowLogin,
    http: Http,
}

/// Which API it has: version 3 renamed fields, and refuses those that it does not know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AirflowVersion {
    /// `/api/v1`, with passwords.
    Two,
    /// `/api/v2`, with tokens that passwords are exchanged for.
    Three,
}

/// How Airflow knows us.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AirflowLogin {
    /// A token that is valid for long enough.
    Token(SecretSource),
    /// A user and a password.
    User(String, SecretSource),
}

impl AirflowDag {
    /// Runs of a DAG of the Airflow at this address.
    ///
    /// # Errors
    /// When no HTTPS client can be made.
    pub fn new(url: &str, dag: String, version: AirflowVersion, login: AirflowLogin) -> Result<Self, String> {
        Ok(Self { url: url.trim_end_matches('/').to_owned(), dag, version, login, http: Http::new()? })
    }

    pub(super) async fn start(&self, order: &Order) -> Beginning {
        let begun = async {
            let headers = self.credentials().await?;
            let path = match self.version {
                AirflowVersion::Two => "api/v1",
                AirflowVersion::Three => "api/v2",
            };
            let url = format!("{}/{path}/dags/{}/dagRuns", self.url, self.dag);
            Ok(self.http.ask(&url, headers, body(self.version, order).to_string()).await?)
        };
        match begun.await {
            Ok(answer) if answer.status.is_success() => {
                Beginning::Started { reference: Some(field(&answer, "dag_run_id").unwrap_or_else(|| order.key())) }
            }
            Ok(answer) => match answer.status.as_u16() {
                409 => Beginning::Started { reference: Some(order.key()) },
                // A DAG that does not load, or wants another `conf`: its next deployment may put that right.
                400 => Beginning::Retry { after: answer.after, why: answer.why() },
                405 if self.version == AirflowVersion::Two => Beginning::Retry {
                    after: answer.after,
                    why: format!("{}: Airflow 3 wants 'version: 3'", answer.status),
                },
                _ => not_started(&answer),
            },
            Err(beginning) => beginning,
        }
    }

    async fn credentials(&self) -> Result<HeaderMap, Beginning> {
        let value = match (&self.login, self.version) {
            (AirflowLogin::Token(token), _) => format!("Bearer {}", secret(token)?.reveal()),
            (AirflowLogin::User(user, password), AirflowVersion::Two) => {
                format!("Basic {}", BASE64_STANDARD.encode(format!("{user}:{}", secret(password)?.reveal())))
            }
            (AirflowLogin::User(user, password), AirflowVersion::Three) => {
                let password = secret(password)?;
                let body = json!({ "username": user, "password": password.reveal() }).to_string();
                let answer = self.http.ask(&format!("{}/auth/token", self.url), HeaderMap::new(), body).await?;
                let answer = answer.withholding(&password);
                let token = serde_json::from_str::<Value>(&answer.text).ok();
                let token = token.as_ref().and_then(|said| said["access_token"].as_str());
                let token = token.filter(|_| answer.status.is_success()).ok_or_else(|| no_token(&answer))?;
                format!("Bearer {token}")
            }
        };
        header("authorization", &value)
    }
}

/// With a success comes the token. What is said of a body that it does not take, Airflow repeats it in: with the password.
fn no_token(answer: &Answer) -> Beginning {
    let said = match answer.status.as_u16() {
        200..=299 | 400 | 422 => answer.status.to_string(),
        404 => format!("{}: Airflow 2 has none, and wants 'version: 2'", answer.status),
        _ => answer.why(),
    };
    Beginning::Retry { after: answer.after, why: format!("no token from /auth/token: {said}") }
}

fn body(version: AirflowVersion, order: &Order) -> Value {
    let run = order.key();
    match version {
        AirflowVersion::Two => json!({ "dag_run_id": run, "conf": order.payload() }),
        AirflowVersion::Three => json!({
            "dag_run_id": run,
            // It must be there. A run that answers an alert is of no stretch of time.
            "logical_date": null,
            "conf": order.payload(),
            "note": shorten(&format!("Driftline: {} ({})", order.summary, order.page_url), MAX_NOTE),
        }),
    }
}

#[cfg(test)]
mod tests {
    use reqwest::StatusCode;

    use super::*;
    use crate::starters::tests::order;

    #[test]
    fn a_password_that_airflow_repeats_is_not_shown() {
        let said = |status, text: &str| {
            let answer = Answer {
                status: StatusCode::from_u16(status).unwrap(),
                text: text.to_owned(),
                after: None,
                withheld: Default::default(),
            };
            let Beginning::Retry { why, .. } = no_token(&answer) else { panic!("it is tried again") };
            why.strip_prefix("no token from /auth/token: ").unwrap().to_owned()
        };
        // As Airflow 3.3.2 puts it.
        let repeated =
            "Field required [type=missing, input_value={'user': 'ada', 'password': 's3cret'}, input_type=dict]";
        assert_eq!(said(422, &json!({ "detail": repeated }).to_string()), "422 Unprocessable Entity");
        assert_eq!(said(201, r#"{"token":"jwt"}"#), "201 Created");
        assert_eq!(
            said(401, r#"{"detail":"Invalid credentials"}"#),
            r#"401 Unauthorized: {"detail":"Invalid credentials"}"#
        );
    }

    #[test]
    fn version_3_is_sent_what_it_needs_and_nothing_that_it_refuses() {
        let body = body(AirflowVersion::Three, &order());
        let fields: Vec<&String> = body.as_object().unwrap().keys().collect();
        assert_eq!(fields, ["conf", "dag_run_id", "logical_date", "note"]);
        assert_eq!(body["logical_date"], Value::Null);
        let long = Order { summary: "ü".repeat(5000), ..order() };
        let note = super::body(AirflowVersion::Three, &long)["note"].as_str().unwrap().chars().count();
        assert_eq!(note, MAX_NOTE);
    }

    #[test]
    fn version_2_is_sent_no_note() {
        let body = body(AirflowVersion::Two, &order());
        assert_eq!(body.as_object().unwrap().len(), 2);
        assert_eq!(body["conf"]["labels"]["model"], "flights");
    }
}
