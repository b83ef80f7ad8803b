//! PagerDuty's Events API v2.

use reqwest::header::HeaderMap;
use serde_json::{Map, Value, json};

use super::Delivery;
use super::http::{Http, secret};
use crate::notification::{Action, Notification, shorten, time_rfc3339};
use crate::rule::Severity;
use crate::secret::SecretSource;

/// Where events go unless the configuration says otherwise.
const DEFAULT_URL: &str = "https://events.pagerduty.com/v2/enqueue";
/// PagerDuty's limits.
const MAX_SUMMARY_CHARS: usize = 1024;
const MAX_BODY_BYTES: usize = 512_000;

/// An integration of a PagerDuty service.
#[derive(Debug)]
pub struct PagerDuty {
    url: String,
    routing_key: SecretSource,
    http: Http,
}

impl PagerDuty {
    /// A target that sends to `url` (PagerDuty's own unless given) with this integration key.
    ///
    /// # Errors
    /// When no TLS provider is installed, or the system's certificates cannot be read.
    pub fn new(url: Option<String>, routing_key: SecretSource) -> Result<Self, String> {
        Ok(Self { url: url.unwrap_or_else(|| DEFAULT_URL.to_owned()), routing_key, http: Http::new()? })
    }

    pub(super) async fn deliver(&self, notification: &Notification) -> Delivery {
        let sent = async {
            let body = body(notification, secret(&self.routing_key)?.reveal());
            self.http.post(&self.url, HeaderMap::new(), body).await
        };
        sent.await.map_or_else(|delivery| delivery, |answer| answer.delivery())
    }
}

/// The event. When it is too large, the rows go first: what remains still says what is wrong.
fn body(notification: &Notification, routing_key: &str) -> String {
    let mut rows = notification.rows.len();
    loop {
        let text = event(notification, routing_key, rows).to_string();
        if text.len() <= MAX_BODY_BYTES || rows == 0 {
            return text;
        }
        rows /= 2;
    }
}

fn event(notification: &Notification, routing_key: &str, rows: usize) -> Value {
    let mut event = json!({
        "routing_key": routing_key,
        "event_action": match notification.action {
            // The same key again adds to the incident, and wakes nobody who has acknowledged it.
            Action::Trigger | Action::Remind => "trigger",
            Action::Acknowledge => "acknowledge",
            Action::Resolve => "resolve",
        },
        "dedup_key": shorten(&notification.episode, 255),
    });
    if matches!(notification.action, Action::Acknowledge | Action::Resolve) {
        return event;
    }
    let mut details: Map<String, Value> = Map::new();
    details.insert("condition".into(), json!(notification.condition));
    for (name, value) in &notification.facts {
        details.insert(name.clone(), json!(value));
    }
    let members: Vec<Value> = notification
        .rows
        .iter()
        .take(rows)
        .map(|row| {
            json!({ "what": row.what, "value": row.value, "threshold": row.threshold, "n": row.n, "last_windows": row.sparkline })
        })
        .collect();
    if !members.is_empty() {
        details.insert("members".into(), json!(members));
    }
    let hidden = notification.more_rows + (notification.rows.len() - rows) as u64;
    if hidden > 0 {
        details.insert("more_members".into(), json!(hidden));
    }
    let mut payload = json!({
        "summary": shorten(&notification.summary, MAX_SUMMARY_CHARS),
        "source": notification.labels.get("model").map_or("driftline", String::as_str),
        "severity": match notification.severity {
            Severity::Page => "critical",
            Severity::Ticket => "warning",
            Severity::Info => "info",
        },
        "timestamp": time_rfc3339(notification.started_at),
        "class": notification.rule,
        "custom_details": details,
    });
    if let Some(model) = notification.labels.get("model") {
        payload["component"] = json!(model);
    }
    event["payload"] = payload;
    event["client"] = json!("Driftline");
    event["client_url"] = json!(notification.page_url);
    event["links"] = json!([
        { "href": notification.runbook_url, "text": "Runbook" },
        { "href": notification.page_url, "text": "Alert in Driftline" },
    ]);
    event
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::notification::tests::notification;

    #[test]
    fn a_trigger_says_what_where_and_how_much_and_a_resolve_only_which() {
        let trigger: Value = serde_json::from_str(&body(&notification(Action::Trigger), "key")).unwrap();
        assert_eq!(trigger["payload"]["severity"], "warning");
        assert_eq!(trigger["payload"]["custom_details"]["members"][0]["what"], "temp");
        assert_eq!(trigger["links"][0]["text"], "Runbook");
        let resolve: Value = serde_json::from_str(&body(&notification(Action::Resolve), "key")).unwrap();
        assert_eq!(resolve["dedup_key"], trigger["dedup_key"]);
        assert_eq!(resolve.as_object().unwrap().len(), 3);
    }

    #[test]
    fn a_reminder_is_the_incident_once_more_and_an_acknowledgement_its_own() {
        let action = |action| event(&notification(action), "key", 0)["event_action"].clone();
        assert_eq!((action(Action::Remind), action(Action::Acknowledge)), (json!("trigger"), json!("acknowledge")));
        assert!(event(&notification(Action::Acknowledge), "key", 0).get("payload").is_none());
    }

    #[test]
    fn what_is_too_large_shrinks_until_it_fits() {
        let mut huge = notification(Action::Trigger);
        huge.summary = "ü".repeat(5000);
        huge.rows = vec![huge.rows[0].clone(); 20];
        for row in &mut huge.rows {
            row.what = "€".repeat(20_000);
        }
        let text = body(&huge, "key");
        let event: Value = serde_json::from_str(&text).unwrap();
        assert!(text.len() <= MAX_BODY_BYTES);
        assert_eq!(event["payload"]["summary"].as_str().unwrap().chars().count(), MAX_SUMMARY_CHARS);
        assert!(event["payload"]["custom_details"]["more_members"].as_u64().unwrap() >= 10);
    }
}
