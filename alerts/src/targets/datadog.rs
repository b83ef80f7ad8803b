//! Datadog's events, where an episode's trigger and resolve share one aggregation key.

use serde_json::{Value, json};

use super::Delivery;
use super::http::{Http, secret, secret_header};
use crate::notification::{Action, Notification, shorten};
use crate::rule::Severity;
use crate::secret::SecretSource;

/// Datadog's limits, in characters.
const MAX_TITLE: usize = 500;
const MAX_TEXT: usize = 4000;
const MAX_KEY: usize = 100;
const MAX_TAG: usize = 200;
/// Of a link, so that there is room for three and for what is said besides.
const MAX_ADDRESS_BYTES: usize = 1000;

/// An organisation's events.
#[derive(Debug)]
pub struct Datadog {
    url: String,
    api_key: SecretSource,
    http: Http,
}

impl Datadog {
    /// A target that sends to a site such as `datadoghq.eu`, or to a `url` of its own.
    ///
    /// # Errors
    /// When no HTTPS client can be made.
    pub fn new(site: &str, url: Option<String>, api_key: SecretSource) -> Result<Self, String> {
        let url = url.unwrap_or_else(|| format!("https://api.{site}"));
        Ok(Self { url: format!("{}/api/v1/events", url.trim_end_matches('/')), api_key, http: Http::new()? })
    }

    pub(super) async fn deliver(&self, notification: &Notification) -> Delivery {
        let sent = async {
            let headers = secret_header("dd-api-key", secret(&self.api_key)?.reveal())?;
            self.http.post(&self.url, headers, event(notification).to_string()).await
        };
        sent.await.map_or_else(|delivery| delivery, |answer| answer.delivery())
    }
}

fn event(notification: &Notification) -> Value {
    let kind = match (notification.action, notification.severity) {
        (Action::Resolve, _) => "success",
        (Action::Acknowledge, _) | (_, Severity::Info) => "info",
        (_, Severity::Page) => "error",
        (_, Severity::Ticket) => "warning",
    };
    // Cut, an address leads nowhere.
    let links = notification.links().into_iter().filter(|(_, address)| address.len() <= MAX_ADDRESS_BYTES);
    let links = links.map(|(name, address)| format!("[{name}]({address})"));
    let links = links.collect::<Vec<_>>().join(" · ");
    let room = MAX_TEXT.saturating_sub(links.chars().count() + 20);
    let text = format!("%%% \n{}\n\n{links}\n %%%", shorten(&notification.description(), room));
    let tags = notification.labels.iter().map(|(name, value)| shorten(&format!("{name}:{value}"), MAX_TAG));
    let own = [("rule", notification.rule.as_str()), ("severity", notification.severity.name())];
    let own = own.into_iter().map(|(name, value)| format!("{name}:{value}"));
    json!({
        "title": shorten(&notification.title(), MAX_TITLE),
        "text": text,
        "alert_type": kind,
        "aggregation_key": shorten(&notification.episode, MAX_KEY),
        "date_happened": notification.resolved_at.unwrap_or(notification.started_at) / 1_000_000,
        "priority": if notification.severity == Severity::Page { "normal" } else { "low" },
        "source_type_name": "driftline",
        "tags": tags.chain(own).collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::notification::tests::notification;

    #[test]
    fn both_ends_of_an_episode_share_its_key_and_the_links_are_never_cut() {
        let mut huge = notification(Action::Trigger);
        huge.facts = vec![("fact".into(), "ü".repeat(3000)); 9];
        huge.dashboard_url = Some(format!("https://grafana/{}", "d".repeat(5000)));
        let (trigger, resolve) = (event(&huge), event(&notification(Action::Resolve)));
        assert_eq!(trigger["aggregation_key"], resolve["aggregation_key"]);
        assert_eq!((&trigger["alert_type"], &resolve["alert_type"]), (&json!("warning"), &json!("success")));
        let text = trigger["text"].as_str().unwrap();
        assert!(
            text.chars().count() <= MAX_TEXT && text.contains("[Runbook](http://driftline/runbooks/feature-drift)")
        );
    }
}
