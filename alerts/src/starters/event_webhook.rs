//! Any receiver of CloudEvents by webhook: Argo Events, a gateway before SageMaker, a service of one's own.
//!
//! The event is CloudEvents 1.0 in its structured form. A repetition has the same `id` and the same `Idempotency-Key`. With a
//! secret every request is signed as notifications are.

use std::time::{SystemTime, UNIX_EPOCH};

use reqwest::header::{HeaderMap, HeaderValue};
use serde_json::{Value, json};

use super::{Beginning, Order, field, header, not_started, secret};
use crate::notification::time_rfc3339;
use crate::secret::SecretSource;
use crate::targets::http::Http;
use crate::targets::webhook_signature;

/// An address that takes events.
#[derive(Debug)]
pub struct EventWebhook {
    url: SecretSource,
    /// What is shown as `Authorization: Bearer …`.
    token: Option<SecretSource>,
    /// By which requests are signed.
    signing_key: Option<SecretSource>,
    http: Http,
}

impl EventWebhook {
    /// Events to this address, with a token if there is one, signed if there is a key.
    ///
    /// # Errors
    /// When no HTTPS client can be made.
    pub fn new(
        url: SecretSource,
        token: Option<SecretSource>,
        signing_key: Option<SecretSource>,
    ) -> Result<Self, String> {
        Ok(Self { url, token, signing_key, http: Http::new()? })
    }

    pub(super) async fn start(&self, order: &Order) -> Beginning {
        let begun = async {
            let url = secret(&self.url)?;
            let body = event(order).to_string();
            let mut headers = HeaderMap::new();
            if let Some(key) = &self.signing_key {
                let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
                let signature = webhook_signature(&secret(key)?, now, &body);
                headers = header("x-driftline-signature", &signature)?;
            }
            if let Some(token) = &self.token {
                headers.extend(header("authorization", &format!("Bearer {}", secret(token)?.reveal()))?);
            }
            headers.extend(header("idempotency-key", &order.key())?);
            headers.insert("content-type", HeaderValue::from_static("application/cloudevents+json"));
            Ok::<_, Beginning>(self.http.ask(url.reveal(), headers, body).await?)
        };
        match begun.await {
            Ok(answer) if answer.status.is_success() => Beginning::Started { reference: field(&answer, "id") },
            Ok(answer) => not_started(&answer),
            Err(beginning) => beginning,
        }
    }
}

fn event(order: &Order) -> Value {
    json!({
        "specversion": "1.0",
        "id": order.key(),
        "source": order.page_url,
        "type": "dev.driftline.reaction.start.v1",
        "subject": order.reaction,
        "time": time_rfc3339(order.since),
        "datacontenttype": "application/json",
        "data": order.payload(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::starters::tests::order;

    #[test]
    fn an_event_is_the_same_for_every_attempt_and_has_what_cloud_events_need() {
        let event = event(&order());
        assert_eq!(event, super::event(&order()));
        for name in ["specversion", "id", "source", "type"] {
            assert!(!event[name].as_str().unwrap().is_empty(), "{name}");
        }
        assert_eq!(event["data"]["reaction"], "retrain");
    }
}
