//! Where reactions are started: one file for each kind of scheduler.
//!
//! A start is recorded before it is made, and made again when nobody knows whether it arrived: most schedulers recognise a
//! repetition by the order's [key](Order::key). One that does not is never asked twice.

mod airflow;
mod databricks;
mod event_webhook;
mod github;

use std::time::Duration;

use reqwest::header::HeaderMap;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

pub use airflow::{AirflowDag, AirflowLogin, AirflowVersion};
pub use databricks::DatabricksJob;
pub use event_webhook::EventWebhook;
pub use github::GitHubDispatch;

use crate::notification::time_rfc3339;
use crate::rule::Labels;
use crate::secret::{Secret, SecretSource};
use crate::state::Micros;
use crate::targets::http::{Answer, NoAnswer, secret_header};

/// No scheduler may hold a start up for longer.
const START_TIMEOUT: Duration = Duration::from_secs(30);

/// Something that starts jobs.
#[derive(Debug)]
pub enum Starter {
    /// Airflow's REST API.
    Airflow(AirflowDag),
    /// GitHub's `repository_dispatch`.
    GitHub(GitHubDispatch),
    /// Databricks' Jobs API.
    Databricks(DatabricksJob),
    /// Anything that takes CloudEvents by webhook.
    Webhook(EventWebhook),
}

/// What is to be started, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    /// Identity of the reaction to the episode.
    pub id: String,
    /// The reaction's name.
    pub reaction: String,
    /// The episode.
    pub episode: String,
    /// The rule that fires.
    pub rule: String,
    /// What the alert is about.
    pub labels: Labels,
    /// One line: what, where, how much.
    pub summary: String,
    /// Since when the episode is open.
    pub since: Micros,
    /// Who approved; none where nobody need.
    pub approved_by: Option<String>,
    /// The page of the alert.
    pub page_url: String,
    /// Where the job may report what became of it.
    pub result_url: String,
}

/// How a start went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Beginning {
    /// It is started, or was before.
    Started {
        /// What the scheduler calls the run.
        reference: Option<String>,
    },
    /// It is not started, or if it is, a repetition is recognised.
    Retry {
        /// How long the scheduler asks to wait.
        after: Option<Duration>,
        /// What happened, for a person to read.
        why: String,
    },
    /// It will never be started like this.
    Refused {
        /// What the scheduler said.
        why: String,
    },
    /// It may have been started, and a repetition would start it again.
    Unknown {
        /// What happened.
        why: String,
    },
}

impl Order {
    /// What schedulers recognise a repetition by: 42 letters, digits and hyphens, the same for every attempt.
    pub fn key(&self) -> String {
        let digest = Sha256::digest(self.id.as_bytes());
        let hex: String = digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
        format!("driftline-{hex}")
    }

    /// What the job is told.
    fn payload(&self) -> Value {
        json!({
            "id": self.id,
            "reaction": self.reaction,
            "episode": self.episode,
            "rule": self.rule,
            "labels": self.labels,
            "summary": self.summary,
            "since": time_rfc3339(self.since),
            "approved_by": self.approved_by,
            "page_url": self.page_url,
            "result_url": self.result_url,
        })
    }
}

impl Starter {
    /// Whether a repetition of an order starts nothing more.
    pub fn recognises_repetitions(&self) -> bool {
        !matches!(self, Self::GitHub(_))
    }

    /// Makes one attempt.
    ///
    /// # Cancel safety
    /// A dropped attempt may have started the job: it may be made again where repetitions are recognised, and only there.
    pub async fn start(&self, order: &Order) -> Beginning {
        let begun = async {
            match self {
                Self::Airflow(starter) => starter.start(order).await,
                Self::GitHub(starter) => starter.start(order).await,
                Self::Databricks(starter) => starter.start(order).await,
                Self::Webhook(starter) => starter.start(order).await,
            }
        };
        let why = || format!("no answer within {START_TIMEOUT:?}");
        match tokio::time::timeout(START_TIMEOUT, begun).await {
            Ok(beginning) => beginning,
            Err(_) if self.recognises_repetitions() => Beginning::Retry { after: None, why: why() },
            Err(_) => Beginning::Unknown { why: why() },
        }
    }
}

impl From<NoAnswer> for Beginning {
    fn from(none: NoAnswer) -> Self {
        Self::Retry { after: None, why: none.why }
    }
}

/// What an answer that is no success means where repetitions are recognised. As for notifications, only what will never be
/// right is refused: a job that is not there yet, and a token that is wrong, may be put right.
fn not_started(answer: &Answer) -> Beginning {
    match answer.status.as_u16() {
        400 | 413 | 422 => Beginning::Refused { why: answer.why() },
        _ => Beginning::Retry { after: answer.after, why: answer.why() },
    }
}

/// A secret's value, or why the start has to wait for it.
fn secret(source: &SecretSource) -> Result<Secret, Beginning> {
    source.read().map_err(|why| Beginning::Retry { after: None, why })
}

/// A header whose value never shows in debug output. A value that is no header's has to be put right first.
fn header(name: &'static str, value: &str) -> Result<HeaderMap, Beginning> {
    let why = || format!("the value of the header {name} has characters that no header may have");
    secret_header(name, value).map_err(|_| Beginning::Retry { after: None, why: why() })
}

/// A field of an answer's JSON, in words.
fn field(answer: &Answer, name: &str) -> Option<String> {
    let value: Value = serde_json::from_str(&answer.text).ok()?;
    match value.get(name)? {
        Value::String(text) => Some(crate::notification::shorten(&answer.withheld.out_of(text), 200)),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn order() -> Order {
        Order {
            id: "retrain.featuredrift-2013-1f".into(),
            reaction: "retrain".into(),
            episode: "featuredrift-2013-1f".into(),
            rule: "FeatureDrift".into(),
            labels: [("model".to_owned(), "flights".to_owned())].into(),
            summary: "flights: temp has drifted".into(),
            since: 1_373_500_000_000_000,
            approved_by: Some("ada".into()),
            page_url: "http://driftline/alerts/featuredrift-2013-1f".into(),
            result_url: "http://driftline/api/v1/reactions/retrain.featuredrift-2013-1f/result".into(),
        }
    }

    #[test]
    fn a_key_is_short_plain_and_of_one_order_alone() {
        let key = order().key();
        assert_eq!(key.len(), 42);
        assert!(key.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-'), "{key}");
        let other = Order { summary: "later".into(), ..order() };
        assert_eq!(other.key(), key, "every attempt has it");
        assert_ne!(Order { id: "retrain.other".into(), ..order() }.key(), key);
    }
}
