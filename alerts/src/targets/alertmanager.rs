//! Alertmanager, by its API v2.
//!
//! It holds an alert for as long as it hears of it, so what fires is sent again every minute ([`Alertmanager::AGAIN`]) with an
//! end that lies a few minutes ahead, and to every replica: replicas tell each other of notifications, not of alerts.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use reqwest::header::HeaderMap;
use serde_json::{Value, json};

use super::Delivery;
use super::http::{Answer, Http, retry};
use super::webhook::{annotations, labels};
use crate::notification::{Notification, time_rfc3339};
use crate::state::Micros;

/// All replicas of one Alertmanager.
#[derive(Debug)]
pub struct Alertmanager {
    /// Where each is reached, such as `http://alertmanager-0:9093`.
    urls: Vec<String>,
    http: Http,
}

impl Alertmanager {
    /// How often what fires is sent again.
    pub const AGAIN: Duration = Duration::from_secs(60);
    /// For how long an alert that is not heard of any more goes on. Prometheus, too, takes four times the interval.
    const ENDS_AFTER: Duration = Duration::from_secs(4 * 60);

    /// A target that sends to all of these replicas.
    ///
    /// # Errors
    /// When no HTTPS client can be made.
    pub fn new(urls: Vec<String>) -> Result<Self, String> {
        Ok(Self { urls, http: Http::new()? })
    }

    /// It has the alert when one replica has: the others hear of it when it is sent again.
    pub(super) async fn deliver(&self, notification: &Notification) -> Delivery {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_micros() as Micros;
        let body = json!([alert(notification, now)]).to_string();
        let mut outcome = retry("no replica is configured".to_owned());
        for url in &self.urls {
            let url = format!("{}/api/v2/alerts", url.trim_end_matches('/'));
            let answer = self.http.post(&url, HeaderMap::new(), body.clone()).await;
            let delivery = answer.as_ref().map_or_else(Clone::clone, Answer::delivery);
            if !matches!(outcome, Delivery::Accepted { .. }) {
                outcome = delivery;
            }
        }
        outcome
    }
}

fn alert(notification: &Notification, now: Micros) -> Value {
    let ends = notification.resolved_at.unwrap_or(now + Alertmanager::ENDS_AFTER.as_micros() as Micros);
    json!({
        "labels": labels(notification),
        "annotations": annotations(notification),
        "startsAt": time_rfc3339(notification.started_at),
        "endsAt": time_rfc3339(ends),
        "generatorURL": notification.page_url,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::notification::Action;
    use crate::notification::tests::notification;

    #[test]
    fn what_fires_ends_a_few_minutes_ahead_and_what_is_over_when_it_ended() {
        let now = 1_373_550_000_000_000;
        let firing = alert(&notification(Action::Trigger), now);
        assert_eq!(firing["endsAt"], time_rfc3339(now + 240_000_000));
        let resolved = alert(&notification(Action::Resolve), now);
        assert_eq!(resolved["endsAt"], time_rfc3339(1_373_600_000_000_000));
        assert_eq!(resolved["labels"], firing["labels"], "or it would be another alert");
    }
}
