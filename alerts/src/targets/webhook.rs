//! Any receiver of webhooks, in the form that Alertmanager's receivers know (version 4 of its body).
//!
//! With a secret every request is signed: `X-Driftline-Signature: t=SECONDS,v1=HEX`, where HEX is the HMAC-SHA256 of
//! `SECONDS.BODY`. A repetition has the same `Idempotency-Key`.

use std::time::{SystemTime, UNIX_EPOCH};

use hmac::{Hmac, KeyInit, Mac};
use reqwest::header::{HeaderMap, HeaderValue};
use serde_json::{Value, json};
use sha2::Sha256;

use super::Delivery;
use super::http::{Http, retry, secret};
use crate::notification::{Action, Notification, time_rfc3339};
use crate::secret::{Secret, SecretSource};

/// The time of an alert that has not ended.
const NOT_ENDED: &str = "0001-01-01T00:00:00Z";

/// An address that takes webhooks.
#[derive(Debug)]
pub struct Webhook {
    url: SecretSource,
    /// By which requests are signed.
    signing_key: Option<SecretSource>,
    http: Http,
}

impl Webhook {
    /// A target that posts to this address, and signs what it posts if it has a key.
    ///
    /// # Errors
    /// When no HTTPS client can be made.
    pub fn new(url: SecretSource, signing_key: Option<SecretSource>) -> Result<Self, String> {
        Ok(Self { url, signing_key, http: Http::new()? })
    }

    pub(super) async fn deliver(&self, notification: &Notification) -> Delivery {
        let sent = async {
            let url = secret(&self.url)?;
            let body = body(notification).to_string();
            let mut headers = HeaderMap::new();
            headers.insert("idempotency-key", plain(&notification.key())?);
            if let Some(key) = &self.signing_key {
                let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
                headers.insert("x-driftline-signature", plain(&signature(&secret(key)?, now, &body))?);
            }
            self.http.post(url.reveal(), headers, body).await
        };
        sent.await.map_or_else(|delivery| delivery, |answer| answer.delivery())
    }
}

fn plain(text: &str) -> Result<HeaderValue, Delivery> {
    HeaderValue::from_str(text).map_err(|_| retry("an identity has characters that no header may have".to_owned()))
}

/// The value of `X-Driftline-Signature`.
pub(crate) fn signature(key: &Secret, seconds: u64, body: &str) -> String {
    let mac = <Hmac<Sha256>>::new_from_slice(key.reveal().as_bytes());
    // A key of any length is one.
    let Ok(mut mac) = mac else { return String::new() };
    mac.update(format!("{seconds}.{body}").as_bytes());
    let hex: String = mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("t={seconds},v1={hex}")
}

/// One alert, as Alertmanager tells its receivers of it.
fn body(notification: &Notification) -> Value {
    let status = match notification.action {
        Action::Trigger | Action::Remind | Action::Acknowledge => "firing",
        Action::Resolve => "resolved",
    };
    let (labels, annotations) = (labels(notification), annotations(notification));
    json!({
        "version": "4",
        "groupKey": notification.episode,
        "truncatedAlerts": 0,
        "status": status,
        "receiver": "driftline",
        "groupLabels": { "alertname": notification.rule },
        "commonLabels": labels,
        "commonAnnotations": annotations,
        "externalURL": notification.page_url,
        "alerts": [{
            "status": status,
            "labels": labels,
            "annotations": annotations,
            "startsAt": time_rfc3339(notification.started_at),
            "endsAt": notification.resolved_at.map_or(NOT_ENDED.to_owned(), time_rfc3339),
            "generatorURL": notification.page_url,
            "fingerprint": notification.episode,
        }],
    })
}

/// What tells alerts apart: the rule, how urgent it is, and what it is about.
pub(super) fn labels(notification: &Notification) -> Value {
    let mut labels = json!(notification.labels);
    labels["alertname"] = json!(notification.rule);
    labels["severity"] = json!(notification.severity.name());
    labels
}

/// What a person is to read of it.
pub(super) fn annotations(notification: &Notification) -> Value {
    let mut annotations = json!({
        "summary": notification.summary,
        "description": notification.description(),
        "runbook_url": notification.runbook_url,
    });
    if let Some(address) = &notification.dashboard_url {
        annotations["dashboard_url"] = json!(address);
    }
    annotations
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::notification::tests::notification;

    #[test]
    fn a_body_is_alertmanagers() {
        let firing = body(&notification(Action::Trigger));
        assert_eq!((&firing["version"], &firing["status"]), (&json!("4"), &json!("firing")));
        let alert = &firing["alerts"][0];
        assert_eq!(alert["labels"], json!({ "alertname": "FeatureDrift", "severity": "ticket", "model": "flights" }));
        assert_eq!((&alert["startsAt"], &alert["endsAt"]), (&json!("2013-07-10T23:46:40Z"), &json!(NOT_ENDED)));
        let resolved = body(&notification(Action::Resolve));
        assert_eq!(resolved["alerts"][0]["endsAt"], "2013-07-12T03:33:20Z");
        assert_eq!(resolved["groupKey"], firing["groupKey"]);
    }

    #[test]
    fn a_signature_is_the_hmac_of_time_and_body() {
        // By `printf '1.{}' | openssl dgst -sha256 -hmac key`.
        let expected = "t=1,v1=1ba6b8171186efc613e8bcc0cbdab2748f24984d7c5a84faa2637afa0e40d224";
        assert_eq!(signature(&Secret::new("key"), 1, "{}"), expected);
    }
}
