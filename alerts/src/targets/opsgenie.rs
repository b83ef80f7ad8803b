//! Opsgenie, and what speaks its API: an alert with an alias, closed by it. It is not sold any more and ends in April 2027; new
//! teams take [`Webhook`](super::Webhook) or PagerDuty.

use reqwest::StatusCode;
use serde_json::{Value, json};

use super::Delivery;
use super::http::{Http, secret, secret_header};
use crate::notification::{Action, Notification, shorten};
use crate::rule::Severity;
use crate::secret::SecretSource;

/// Where its API is unless the configuration says otherwise.
const DEFAULT_URL: &str = "https://api.opsgenie.com";
/// Its limits, in characters.
const MAX_MESSAGE: usize = 130;
const MAX_DESCRIPTION: usize = 15_000;

/// An integration with its API.
#[derive(Debug)]
pub struct Opsgenie {
    url: String,
    api_key: SecretSource,
    http: Http,
}

impl Opsgenie {
    /// A target that sends to `url` (Opsgenie's own unless given) with this integration's key.
    ///
    /// # Errors
    /// When no HTTPS client can be made.
    pub fn new(url: Option<String>, api_key: SecretSource) -> Result<Self, String> {
        let url = url.unwrap_or_else(|| DEFAULT_URL.to_owned());
        Ok(Self { url: format!("{}/v2/alerts", url.trim_end_matches('/')), api_key, http: Http::new()? })
    }

    pub(super) async fn deliver(&self, notification: &Notification) -> Delivery {
        let sent = async {
            let headers = secret_header("authorization", &format!("GenieKey {}", secret(&self.api_key)?.reveal()))?;
            let (url, body) = match notification.action {
                // One that is there is counted once more.
                Action::Trigger | Action::Remind => (self.url.clone(), alert(notification)),
                Action::Acknowledge => self.change(notification, "acknowledge"),
                Action::Resolve => self.change(notification, "close"),
            };
            self.http.post(&url, headers, body.to_string()).await
        };
        match sent.await {
            Err(delivery) => delivery,
            // Somebody has closed it already, and deleted it.
            Ok(answer)
                if matches!(notification.action, Action::Acknowledge | Action::Resolve)
                    && answer.status == StatusCode::NOT_FOUND =>
            {
                Delivery::Accepted { receipt: None }
            }
            Ok(answer) => answer.delivery(),
        }
    }

    /// Where an alert that is there is changed, and what is said of it.
    fn change(&self, notification: &Notification, how: &str) -> (String, Value) {
        let note =
            notification.acknowledged.as_ref().map_or_else(|| notification.summary.clone(), |said| said.in_words());
        (
            // An episode's id is made of letters, digits and hyphens: it needs no escaping in an address.
            format!("{}/{}/{how}?identifierType=alias", self.url, notification.episode),
            json!({ "source": "driftline", "note": shorten(&note, MAX_DESCRIPTION) }),
        )
    }
}

fn alert(notification: &Notification) -> Value {
    let priority = match notification.severity {
        Severity::Page => "P1",
        Severity::Ticket => "P3",
        Severity::Info => "P5",
    };
    json!({
        "message": shorten(&notification.summary, MAX_MESSAGE),
        "alias": notification.episode,
        "description": shorten(&notification.description(), MAX_DESCRIPTION),
        "details": notification.labels,
        "entity": notification.labels.get("model"),
        "tags": [notification.rule, notification.severity.name()],
        "priority": priority,
        "source": "driftline",
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::notification::tests::notification;

    #[test]
    fn an_alert_keeps_within_the_limits_and_is_known_by_its_episode() {
        let mut long = notification(Action::Trigger);
        long.summary = "ü".repeat(500);
        let alert = alert(&long);
        assert_eq!(alert["message"].as_str().unwrap().chars().count(), MAX_MESSAGE);
        assert_eq!((&alert["alias"], &alert["priority"]), (&json!("episode-1"), &json!("P3")));
    }
}
